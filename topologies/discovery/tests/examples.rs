//! The examples of every `--help`: all are valid command lines, and those that need neither network nor much time
//! are run.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use discovery::Discovery;

const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater");

/// The commands below the word `Examples:` of every help text of `command`, as a shell takes them.
fn examples(command: &clap::Command) -> Vec<String> {
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let shown = help.split_once("Examples:\n").map_or("", |(_, examples)| examples);
    let mut own: Vec<String> = Vec::new();
    for line in shown.lines().take_while(|line| line.starts_with("  ")) {
        match (line.strip_prefix("    "), own.last_mut()) {
            (Some(rest), Some(begun)) => {
                *begun = format!("{} {rest}", begun.trim_end_matches('\\').trim_end());
            }
            _ => own.push(line.trim().to_owned()),
        }
    }
    own.iter_mut().for_each(|example| *example = without_remark(example));
    own.extend(command.get_subcommands().flat_map(examples));
    own
}

/// What stands behind a wide gap says what the command does.
fn without_remark(example: &str) -> String {
    let mut quoted = false;
    let gap = example.char_indices().find(|(at, c)| {
        quoted ^= *c == '\'';
        !quoted && example[*at..].starts_with("  ")
    });
    gap.map_or(example, |(at, _)| &example[..at]).to_owned()
}

/// Splits a command line where `at` stands outside of quotes.
fn split(line: &str, at: &str) -> Vec<String> {
    let (mut parts, mut part, mut quoted, mut rest) = (Vec::new(), String::new(), false, line);
    while let Some(c) = rest.chars().next() {
        if !quoted && rest.starts_with(at) {
            parts.push(std::mem::take(&mut part));
            rest = &rest[at.len()..];
            continue;
        }
        quoted ^= c == '\'';
        part.push(c);
        rest = &rest[c.len_utf8()..];
    }
    parts.push(part);
    parts
}

fn all() -> Vec<(clap::Command, Vec<String>)> {
    let commands = [discovery::command::command(), headwater::app::command::<Discovery>()];
    commands.map(|command| (command.clone(), examples(&command))).to_vec()
}

#[test]
fn every_example_is_a_valid_command_line() {
    for (command, examples) in all() {
        let name = command.get_name().to_owned();
        assert!(examples.len() > 40, "{name}: {examples:?}");
        for example in examples {
            let piped = split(&example, " | ");
            let own: Vec<&String> = piped.iter().filter(|part| part.starts_with(&name)).collect();
            assert_eq!(own.len(), 1, "{example}");
            let words = split(own[0], " ").into_iter().map(|word| word.trim_matches('\'').to_owned());
            if let Err(error) = command.clone().try_get_matches_from(words) {
                panic!("{example}: {error}");
            }
        }
    }
}

/// How an example is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Run {
    /// It does its work.
    Works,
    /// What it names is not there: exit code 2.
    Names(&'static str),
    /// It goes on until it is stopped.
    GoesOn,
    /// It measures for minutes.
    Not,
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
        _ if example.contains(" bench ") => Run::Not,
        _ if example.contains("2/1042") => Run::Names("there is no dead letter"),
        _ => Run::Works,
    }
}

/// A folder with all that examples name.
fn workplace() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    };
    let config = "[log.embedded]\npath = \"log.db\"\n[admin]\nlisten = \"\"\n[retention]\npast_events = \"forever\"\n";
    ["config/discovery.toml", "topology.toml"].iter().for_each(|name| write(name, config));
    let words = ["amber", "brook", "cedar", "delta", "ember", "fable", "grove", "haven"];
    let titles: Vec<String> =
        words.iter().flat_map(|a| words.iter().map(move |b| format!("{a} {b} concert"))).take(45).collect();
    let event = |id: &str, title: &str| {
        format!(
            "{{\"@type\":\"Event\",\"@id\":\"{id}\",\"name\":\"{title}\",\"startDate\":\"2026-05-01T20:00:00Z\",\
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
    write(
        "decisions.jsonl",
        "{\"id\":\"1\",\"same\":{\"a\":{\"source\":\"x\",\"id\":\"1\"},\"b\":{\"source\":\"y\",\"id\":\"1\"},\"who\":\"kim\",\"at\":0}}\n",
    );
    for name in ["calendars/north.ics", "calendars/south.ics"] {
        write(
            name,
            "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:1\r\nSUMMARY:Fair\r\nDTSTART:20260501T200000Z\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n",
        );
    }
    folder
}

fn shell(folder: &Path, line: &str) -> Command {
    let binaries = Path::new(HEADWATER).parent().expect("a folder");
    let path = format!("{}:{}", binaries.display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("sh");
    command
        .args(["-c", line])
        .current_dir(folder)
        .env("PATH", path)
        .env("HEADWATER_CONFIG", "config/discovery.toml")
        .env("USER", "kim");
    command.env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn succeeded(example: &str, output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{example}: {said}");
}

#[cfg(unix)]
#[test]
fn every_example_that_needs_no_network_runs() {
    let folder = workplace();
    let run = |line: &str| shell(folder.path(), line).output().expect("a shell");
    for source in ["a", "b", "library", "paper"] {
        let line = format!("headwater produce raw.events {source}.jsonl --source {source}");
        succeeded(&line, &run(&line));
    }
    let first = "discovery --exit-when-idle";
    succeeded(first, &run(first));
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
        // What shows a result to people is theirs, and so is the web.
        let shown = split(example, " | ").into_iter().filter(|part| !part.starts_with("jq ") && part != "less");
        let line = shown
            .collect::<Vec<_>>()
            .join(" | ")
            .replace("curl -s https://example.org/events.ics", "cat calendars/north.ics");
        match how(example) {
            Run::Not => {}
            Run::Works => {
                if example.contains("decide withdraw") {
                    let before = "headwater decide same city-guide/1234 meetup/987 --by kim";
                    succeeded(before, &run(before));
                }
                succeeded(example, &run(&line));
            }
            Run::Names(reason) => {
                let output = run(&line);
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.code() == Some(2) && said.contains(reason), "{example}: {said}");
            }
            Run::GoesOn => {
                let mut child = shell(folder.path(), &format!("exec {line}")).spawn().expect("a shell");
                let begun = Instant::now();
                while begun.elapsed() < Duration::from_millis(800) {
                    let ended = child.try_wait().expect("a child");
                    assert!(ended.is_none(), "{example}: {ended:?}");
                    std::thread::sleep(Duration::from_millis(50));
                }
                child.kill().expect("it runs");
                child.wait().expect("it ends");
            }
        }
    }
}
