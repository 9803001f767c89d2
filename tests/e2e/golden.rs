//! Golden cases: a folder a case, raw records in and expected results out.
//!
//! A case below `tests/golden` holds
//!
//! - `records.jsonl`: a JSON object a line with `timestamp` and, where there are any, `source`,
//!   `contentType`, `key`, `value` (a text as it is, any other JSON value as JSON, null or none for
//!   a tombstone) and `topic` (default `raw.events`). A line `{"restart": true}` runs the topology on
//!   what came before, stops it and starts it again.
//! - `config.toml`, where the case needs one; without it nothing is configured but that past events
//!   stay.
//! - `expected.json`: the events without their ids, the titles that retired ids lead to, the dead
//!   letters by code and part, and the places asked for. `UPDATE_GOLDEN=1` writes it anew: read it
//!   before you commit it.
//!
//! Every case runs on the driver, on one worker and on two, in milliseconds; there it is also restarted
//! and rebuilt, which must change nothing. And every case runs through the engine on the embedded log, with
//! the same outcome.

use std::fs;
use std::path::{Path, PathBuf};

use std::collections::BTreeMap;

use discovery::Discovery;
use discovery::config::Sections;
use discovery::discovery::OPERATORS_VERSION;
use headwater::config::{Sources, load};
use headwater::dataflow::Recovery;
use headwater::driver::{Driver, Record};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::subject::{Harness, Results};
use crate::support::{Input, Place, header, tests_folder};

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

/// The records of a case, in portions: between two of them the topology is restarted.
fn portions(case: &Path) -> Vec<Vec<Input>> {
    let records = fs::read_to_string(case.join("records.jsonl")).unwrap();
    let mut portions = vec![Vec::new()];
    for text in records.lines().filter(|line| !line.trim().is_empty()) {
        let line: Line = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"));
        match line.restart {
            true => portions.push(Vec::new()),
            false => portions.last_mut().unwrap().push(line.input()),
        }
    }
    portions
}

fn config_file(case: &Path) -> PathBuf {
    let own = case.join("config.toml");
    if own.is_file() { own } else { tests_folder("golden/config.toml") }
}

/// 2026-06-01T00:00:00Z: when the driver begins. Epochs later by as much as the engine takes.
const BEGAN_MS: u64 = 1_780_272_000_000;
const PORTION_MS: u64 = 1_000;

/// Runs a case on the driver.
fn on_driver(case: &Path, workers: usize) -> Value {
    let sources = Sources { file: Some(config_file(case)), environment: BTreeMap::new(), flags: Vec::new() };
    let config = load::<Sections>(&sources).unwrap_or_else(|errors| panic!("{errors}")).config;
    let driver = Driver::of::<Discovery>(&config).unwrap_or_else(|invalid| panic!("{invalid:?}"));
    let mut driver = driver.workers(workers);
    for (at, portion) in (1..).zip(portions(case)) {
        if at > 1 {
            driver.restart(Recovery::Trust).unwrap();
        }
        for input in portion {
            let Input { topic, source, content_type, key, value, timestamp_ms } = input;
            driver.produce(&topic, |mut record| {
                record = key.into_iter().fold(record.at(timestamp_ms), Record::key);
                record = value.into_iter().fold(record, Record::value);
                record = source.iter().fold(record, |record, source| record.source(source));
                content_type.iter().fold(record, |record, content_type| record.content_type(content_type))
            });
        }
        driver.advance_to(BEGAN_MS + at * PORTION_MS);
    }
    let found = outcome(&results(&driver));
    driver.restart(Recovery::Compare).unwrap();
    assert_eq!(driver.differences(), [], "a restart of {} finds", case.display());
    driver.rebuild();
    assert_eq!(driver.differences(), [], "a rebuild of {} finds", case.display());
    found
}

fn results(driver: &Driver) -> Results {
    let results = Results {
        events: driver.rows("events"),
        listings: driver.rows("listings"),
        links: driver.rows("links"),
        redirects: driver.rows("redirects"),
        metrics: driver.rows("metrics"),
        place_requests: driver.rows("place-requests"),
        dead_letters: driver.records("dead-letters").to_vec(),
    };
    results.check();
    results
}

/// Runs a case through the engine on the embedded log; on several workers, what they exchange passes as
/// bytes, as between processes: every type has to survive that.
fn on_engine(case: &Path, workers: usize) -> Value {
    let harness = Harness::new(Place::Embedded, &config_file(case), &[]);
    for portion in portions(case) {
        harness.produce(portion);
        harness.run_with(workers, workers > 1);
    }
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

/// Runs all cases by `run` on one worker and on two; says where one does not come out as `expected` says.
fn compare(expected: impl Fn(&Path) -> Value, run: impl Fn(&Path, usize) -> Value) {
    let cases = cases();
    assert!(cases.len() >= 12, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let expected = expected(&case);
        for workers in [1, 2] {
            let found = run(&case, workers);
            if found != expected {
                let name = case.file_name().unwrap().display();
                wrong.push(format!("{name} on {workers} workers: {}", first_difference(&expected, &found)));
            }
        }
    }
    assert!(wrong.is_empty(), "not as expected:\n{}", wrong.join("\n"));
}

#[test]
fn cases_come_out_as_expected() {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        for case in cases() {
            fs::write(case.join("expected.json"), format!("{:#}\n", on_driver(&case, 1))).unwrap();
        }
    }
    compare(|case| serde_json::from_slice(&fs::read(case.join("expected.json")).unwrap()).unwrap(), on_driver);
}

#[test]
fn the_engine_gives_the_same() {
    compare(|case| on_driver(case, 1), on_engine);
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

/// The version of the operators, and a hash of what all cases expect of it.
const EXPECTATIONS: (u64, &str) = (8, "6c5d30ed0fd680c7");

#[test]
fn other_expectations_want_another_version_of_the_operators() {
    let mut folders: Vec<PathBuf> =
        fs::read_dir(tests_folder("golden")).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    let mut hasher = xxhash_rust::xxh3::Xxh3Default::new();
    folders
        .iter()
        .filter_map(|folder| fs::read(folder.join("expected.json")).ok())
        .for_each(|file| hasher.update(&file));
    let found = format!("{:016x}", hasher.digest());
    let advice = "raise OPERATORS_VERSION, so that a start corrects what older operators gave, and note both here";
    assert_eq!((OPERATORS_VERSION, found.as_str()), EXPECTATIONS, "{advice}");
}
