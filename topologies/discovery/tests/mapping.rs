//! docs/mapping.md: it names everything that there is, and its example does what it says.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use discovery::tables::view_spec;
use headwater_operators::extract::{Mapping, SourceConfig, SourcePlace};
use headwater_operators::listing::Status;
use serde::Serialize;

const GUIDE: &str = include_str!("../../../docs/mapping.md");

/// The part of the guide below a heading.
fn section(heading: &str) -> &'static str {
    let (_, below) = GUIDE.split_once(&format!("\n## {heading}\n")).expect(heading);
    below.split("\n## ").next().unwrap_or(below)
}

/// What stands in code marks in a section.
fn named(heading: &str) -> BTreeSet<&'static str> {
    section(heading).split('`').skip(1).step_by(2).collect()
}

fn keys(of: &impl Serialize) -> Vec<String> {
    let value = serde_json::to_value(of).expect("plain data");
    value.as_object().expect("a struct").keys().cloned().collect()
}

#[test]
fn every_field_of_a_mapping_is_in_the_guide() {
    let named: BTreeSet<_> = ["Fields", "Where a field is", "Dates and times", "Prices, status, yes and no"]
        .into_iter()
        .flat_map(named)
        .collect();
    let keys = keys(&Mapping::default());
    assert!(keys.len() > 35, "{keys:?}");
    for key in keys {
        assert!(named.contains(key.as_str()), "{key}");
    }
}

#[test]
fn every_key_of_a_source_is_in_the_guide() {
    let named = named("The source");
    for key in keys(&SourceConfig::default()).into_iter().chain(keys(&SourcePlace::default())) {
        assert!(named.contains(key.as_str()), "{key}");
    }
}

#[test]
fn every_status_is_in_the_guide() {
    use Status::{Cancelled, MovedOnline, Postponed, Rescheduled, Scheduled, SoldOut, Tentative};
    let named = named("Prices, status, yes and no");
    for status in [Scheduled, SoldOut, Tentative, Rescheduled, MovedOnline, Postponed, Cancelled] {
        let name = serde_json::to_value(status).expect("plain data");
        assert!(named.contains(name.as_str().expect("a name")), "{name}");
    }
}

#[test]
fn every_table_and_column_is_in_the_guide() {
    let spec = view_spec();
    let tables = spec.tables();
    assert!(tables.len() >= 6);
    for table in tables {
        let row = section("Tables").lines().find(|line| line.starts_with(&format!("| `{}` |", table.name)));
        let row = row.unwrap_or_else(|| panic!("there is no row for {}", table.name));
        let listed: Vec<&str> = row.rsplit(" | ").next().expect("a cell").split('`').skip(1).step_by(2).collect();
        let columns: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
        assert_eq!(listed, columns, "{}", table.name);
    }
}

/// The text of the first block of this language.
fn block(language: &str) -> &'static str {
    let (_, begun) = GUIDE.split_once(&format!("```{language}\n")).expect(language);
    begun.split("```").next().unwrap_or(begun)
}

#[test]
fn the_formats_of_dates_read_what_the_guide_says() {
    let rows = section("Dates and times").lines().filter(|line| line.starts_with("| `"));
    let rows: Vec<Vec<&str>> = rows.map(|row| row.split('`').skip(1).step_by(2).collect()).collect();
    assert_eq!(rows.len(), 5, "{rows:?}");
    let folder = tempfile::tempdir().expect("a folder");
    for row in rows {
        let (format, dates) = row.split_first().expect("a format");
        for date in dates {
            let config = format!(
                "[sources.a]\nformat = \"mapped\"\n[sources.a.mapping]\ntitle = \"/t\"\nstart = \"/s\"\ndate_formats = [\"{format}\"]\n"
            );
            fs::write(folder.path().join("topology.toml"), config).expect("written");
            fs::write(folder.path().join("a.json"), format!("{{\"t\": \"x\", \"s\": \"{date}\"}}")).expect("written");
            let shown = run(&folder, "headwater check-source a.json --source a --config topology.toml");
            assert!(
                shown.contains("1 listing of 1 record in 1 file; 0 warnings, 0 dead letters"),
                "{format} {date}: {shown}"
            );
        }
    }
}

fn run(folder: &tempfile::TempDir, line: &str) -> String {
    let mut words = line.split(' ');
    assert_eq!(words.next(), Some("headwater"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
    command.args(words).current_dir(folder.path()).env_remove("HEADWATER_CONFIG").env_remove("RUST_LOG");
    let output = command.output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(0), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_example_gives_what_the_guide_shows() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("town.json"), block("json")).expect("written");
    fs::write(folder.path().join("topology.toml"), block("toml")).expect("written");
    let (line, expected) = block("console").split_once('\n').expect("a command and what it prints");
    assert_eq!(run(&folder, line.trim_start_matches("$ ")), expected);
    for block in GUIDE.split("```console\n").skip(2) {
        let line = block.lines().next().expect("a command").trim_start_matches("$ ");
        run(&folder, line);
    }
}
