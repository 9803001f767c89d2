//! The examples of every `--help`: all are valid command lines, and those that need neither network nor much time
//! are run.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use headwater::log::embedded::EmbeddedLog;
use headwater::log::{Cleanup, Log, TopicSpec};
use registrations::Registrations;

#[path = "../../../tests/help/mod.rs"]
mod help;

use help::{Run, Shell, assert_valid, examples};

const REGISTRATIONS: &str = env!("CARGO_BIN_EXE_registrations");

#[test]
fn every_example_is_a_valid_command_line() {
    let command = headwater::app::command::<Registrations>();
    let examples = examples(&command);
    assert_valid(&command, &examples, 20);
    // They are about this topology, not about the one that the tools were written beside.
    let foreign = ["headwater ", "discovery", "raw.events", "consume events", "decisions"];
    let found: Vec<&String> = examples.iter().filter(|one| foreign.iter().any(|word| one.contains(word))).collect();
    assert!(found.is_empty(), "{found:?}");
}

fn how(example: &str) -> Run {
    let goes_on = ["registrations consume hours", "registrations --config config/registrations.toml"];
    match example {
        _ if goes_on.contains(&example) => Run::GoesOn,
        _ if example.contains("2/1042") => Run::Names("there is no dead letter"),
        _ => Run::Works,
    }
}

/// A folder with all that examples name, and a log with discovery's topic of events.
fn workplace() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| help::write(folder.path(), name, text);
    let config = "[log.embedded]\npath = \"log.db\"\n[admin]\nlisten = \"\"\n";
    ["config/registrations.toml", "topology.toml"].iter().for_each(|name| write(name, config));
    write("listings.jsonl", "{\"id\":\"r1\",\"event\":\"e1\",\"time\":\"2026-06-01T10:05:00Z\"}\n");
    let calendar = "BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n";
    ["calendars/north.ics", "calendars/south.ics"].iter().for_each(|name| write(name, calendar));
    let events = TopicSpec {
        name: "headwater.events".to_owned(),
        partitions: 1,
        replication: None,
        cleanup: Cleanup::Compact,
        max_record_bytes: 1 << 20,
        properties: Default::default(),
    };
    let log = EmbeddedLog::open(&folder.path().join("log.db")).expect("a log");
    log.ensure_topics(&[events]).expect("a topic");
    folder
}

#[cfg(unix)]
#[test]
fn every_example_that_needs_no_network_runs() {
    let folder = workplace();
    let shell = Shell { folder: folder.path(), binary: REGISTRATIONS, config: "config/registrations.toml" };
    shell.succeed("registrations --exit-when-idle");
    for example in examples(&headwater::app::command::<Registrations>()) {
        shell.try_example(&example, how(&example));
    }
}
