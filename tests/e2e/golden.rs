//! Golden cases: a folder a case, raw records in and expected results out.
//!
//! A case below `tests/golden` holds
//!
//! - `records.jsonl`: a JSON object a line with `timestamp` and, where there are any, `source`,
//!   `contentType`, `key`, `value` (a text as it is, any other JSON value as JSON, null or none for
//!   a tombstone) and `topic` (default `raw.events`). A line `{"restart": true}` runs the engine on
//!   what came before and stops it.
//! - `config.toml`, where the case needs one; without it nothing is configured but that past events
//!   stay.
//! - `expected.json`: the events without their ids, the titles that retired ids lead to, the dead
//!   letters by code and part, and the places asked for. `UPDATE_GOLDEN=1` writes it anew: read it
//!   before you commit it.
//!
//! Every case runs on one worker and on two.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};

#[allow(dead_code, reason = "shared with other tests")]
mod support;

#[allow(dead_code, reason = "shared with other tests")]
#[path = "subjects/discovery/mod.rs"]
mod subject;

use subject::{Harness, Results};
use support::{Input, Place, header, tests_folder};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Line {
    #[serde(default)]
    restart: bool,
    topic: Option<String>,
    source: Option<String>,
    content_type: Option<String>,
    key: Option<String>,
    #[serde(default)]
    value: Value,
    timestamp: Option<String>,
}

impl Line {
    fn input(self) -> Input {
        Input {
            topic: self.topic.unwrap_or_else(|| "raw.events".to_owned()),
            source: self.source,
            content_type: self.content_type,
            key: self.key.map(String::into_bytes),
            value: match self.value {
                Value::Null => None,
                Value::String(text) => Some(text.into_bytes()),
                value => Some(value.to_string().into_bytes()),
            },
            timestamp_ms: milliseconds(&self.timestamp.unwrap()),
        }
    }
}

/// `2026-05-01T10:00:00Z` in milliseconds since the Unix epoch.
fn milliseconds(text: &str) -> i64 {
    let moment: headwater_operators::Moment = text.parse().unwrap_or_else(|_| panic!("{text:?} is no time"));
    moment.earliest_ms(None)
}

/// Runs a case; on several workers, what they exchange passes as bytes, as between processes: every
/// type has to survive that.
fn run(case: &Path, workers: usize) -> Value {
    let own = case.join("config.toml");
    let file = if own.is_file() { own } else { tests_folder("golden/config.toml") };
    let harness = Harness::new(Place::Embedded, &file, &[]);
    let records = fs::read_to_string(case.join("records.jsonl")).unwrap();
    let mut portion = Vec::new();
    for text in records.lines().filter(|line| !line.trim().is_empty()) {
        let line: Line = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"));
        if line.restart {
            harness.produce(portion.drain(..));
            harness.run_with(workers, workers > 1);
        } else {
            portion.push(line.input());
        }
    }
    harness.produce(portion);
    harness.run_with(workers, workers > 1);
    outcome(&harness.results())
}

fn outcome(results: &Results) -> Value {
    let mut redirects: Vec<&Value> = results
        .redirects
        .values()
        .map(|redirect| &results.events[redirect["redirectTo"].as_str().unwrap()]["title"])
        .collect();
    redirects.sort_by_key(|title| title.as_str());
    let mut letters: Vec<Value> = results
        .dead_letters
        .iter()
        .map(|letter| {
            let part = letter.header("dead-letter-part").map(|_| header(letter, "dead-letter-part"));
            json!({"code": header(letter, "dead-letter-code"), "part": part, "source": header(letter, "source")})
        })
        .collect();
    letters.sort_by_key(Value::to_string);
    let places: Vec<&String> = results.place_requests.keys().collect();
    json!({
        "events": results.normal_events(),
        "redirects": redirects,
        "deadLetters": letters,
        "placeRequests": places,
    })
}

fn cases() -> Vec<PathBuf> {
    let entries = fs::read_dir(tests_folder("golden")).unwrap();
    let mut cases: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    cases.sort();
    cases
}

#[test]
fn cases_come_out_as_expected() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let cases = cases();
    assert!(cases.len() >= 12, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let found = run(&case, 1);
        let path = case.join("expected.json");
        if update {
            fs::write(&path, format!("{found:#}\n")).unwrap();
        }
        let expected: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        for (found, workers) in [(found, 1), (run(&case, 2), 2)] {
            if found != expected {
                let name = case.file_name().unwrap().display();
                wrong.push(format!("{name} on {workers} workers: {}", first_difference(&expected, &found)));
            }
        }
    }
    assert!(wrong.is_empty(), "not as expected:\n{}", wrong.join("\n"));
}

/// Where `found` first differs, with a few lines before.
fn first_difference(expected: &Value, found: &Value) -> String {
    let (expected, found) = (format!("{expected:#}"), format!("{found:#}"));
    let (expected, found): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), found.lines().collect());
    let at = expected.iter().zip(&found).take_while(|(a, b)| a == b).count();
    let shown =
        |lines: &[&str]| lines.get(at.saturating_sub(5)..lines.len().min(at + 5)).unwrap_or_default().join("\n");
    format!("expected from line {}\n{}\nfound\n{}", at + 1, shown(&expected), shown(&found))
}
