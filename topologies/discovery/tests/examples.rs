//! The examples of every `--help`: all are valid command lines, and those that need neither network nor much time
//! are run.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::fmt::Write as _;

use discovery::Discovery;

#[path = "../../../tests/help/mod.rs"]
mod help;

use help::{Run, Shell, assert_valid, examples};

const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater");

fn all() -> Vec<(clap::Command, Vec<String>)> {
    let commands = [discovery::command::command(), headwater::app::command::<Discovery>()];
    commands.map(|command| (command.clone(), examples(&command))).to_vec()
}

#[test]
fn every_example_is_a_valid_command_line() {
    for (command, examples) in all() {
        assert_valid(&command, &examples, 40);
    }
}

/// Whether an example is of this tool of the binary `headwater`.
fn is_of(example: &str, tool: &str) -> bool {
    let begins = |part: &str| part.starts_with(&format!("headwater {tool} ")) || part == format!("headwater {tool}");
    help::split(example, " | ").iter().any(|part| begins(help::without_variables(part)))
}

fn how(example: &str) -> Run {
    let goes_on = [
        "headwater consume events",
        "discovery consume events",
        "discovery",
        "discovery --config config/discovery.toml --workers 2",
        "discovery --config config/discovery.toml --yes",
    ];
    match example {
        _ if goes_on.contains(&example) || example.contains("--rate 500") => Run::GoesOn,
        _ if example.starts_with("headwater serve") => Run::GoesOn,
        _ if example.contains(" bench ") => Run::Not,
        // They need a server or a log of jobs: topologies/jobs/tests/tools.rs has one.
        _ if ["work", "jobs", "queues", "schedules", "demo", "verify"].iter().any(|tool| is_of(example, tool)) => {
            Run::Not
        }
        // It needs a server of events: tests/e2e/with_jobs.rs has one.
        _ if example.starts_with("headwater export") => Run::Not,
        _ if example.contains("2/1042") => Run::Names("there is no dead letter"),
        _ => Run::Works,
    }
}

/// A folder with all that examples name.
fn workplace() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| help::write(folder.path(), name, text);
    let config = "[log.embedded]\npath = \"log.db\"\n[admin]\nlisten = \"\"\n[retention]\npast_events = \"forever\"\n";
    ["config/discovery.toml", "topology.toml"].iter().for_each(|name| write(name, config));
    let words = ["amber", "brook", "cedar", "delta", "ember", "fable", "grove", "haven"];
    let titles: Vec<String> =
        words.iter().flat_map(|a| words.iter().map(move |b| format!("{a} {b} concert"))).take(45).collect();
    let event = |id: &str, title: &str| {
        format!(
            "{{\"@type\":\"Event\",\"@id\":\"{id}\",\"id\":\"{id}\",\"name\":\"{title}\",\"startDate\":\"2026-05-01T20:00:00Z\",\
             \"location\":{{\"@type\":\"Place\",\"name\":\"Old Mill\",\"address\":\"Ely\"}}}}\n"
        )
    };
    let lines: String = titles.iter().enumerate().map(|(n, title)| event(&n.to_string(), title)).collect();
    for name in ["listings.jsonl", "a.jsonl", "b.jsonl"] {
        write(name, &lines);
    }
    write("library.jsonl", &event("17", "Jazz at the Library"));
    write("paper.jsonl", &event("a-3", "Jazz at the Library"));
    let mut pairs = "source_a,id_a,source_b,id_b,label,group\n".to_owned();
    for n in 0..titles.len() {
        let other = (n + 1) % titles.len();
        writeln!(pairs, "a,{n},b,{n},positive,conf\na,{n},b,{other},negative,conf").expect("written");
    }
    write("pairs.csv", &pairs);
    for name in ["calendars/north.ics", "calendars/south.ics"] {
        write(
            name,
            "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:1\r\nSUMMARY:Fair\r\nDTSTART:20260501T200000Z\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n",
        );
    }
    folder
}

#[cfg(unix)]
#[test]
fn every_example_that_needs_no_network_runs() {
    let folder = workplace();
    let shell = Shell { folder: folder.path(), binary: HEADWATER, config: "config/discovery.toml" };
    for source in ["a", "b", "library", "paper"] {
        shell.succeed(&format!("headwater produce raw.events {source}.jsonl --source {source}"));
    }
    shell.succeed("discovery --exit-when-idle");
    // What others need comes first.
    let mut examples: Vec<String> = Vec::new();
    for example in all().into_iter().flat_map(|(_, examples)| examples) {
        // The tools of both binaries are the same.
        let twin = format!("headwater {}", example.split_once("discovery ").map_or("", |(_, rest)| rest));
        if !examples.contains(&example) && !examples.contains(&twin) {
            examples.push(example);
        }
    }
    assert!(examples.len() > 50, "{examples:?}");
    examples.sort_by_key(|example| !example.contains("headwater generate"));
    for example in &examples {
        if example.contains("decide withdraw") {
            shell.succeed("headwater decide same city-guide/1234 meetup/987 --by kim");
        }
        shell.try_example(example, how(example));
    }
}
