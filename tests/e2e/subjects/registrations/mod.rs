//! Registrations under test.

mod kinds;

use std::collections::BTreeMap;

use headwater::log::{Cleanup, TopicSpec};
use registrations::Registrations;
use serde_json::{Value, json};

use crate::support::Input;
use crate::support::subject::{Kind, Name, Poisoned, Subject, Told, compare, without};

/// What the suites run over.
pub type Tested = Registrations;

/// A topology of registrations with its log.
pub type Harness = crate::support::Harness<Registrations>;

/// 2026-06-01T00:00:00Z.
const BEGAN_MS: i64 = 1_780_272_000_000;
/// Records are two seconds apart.
const STEP_MS: i64 = 2_000;
/// What stands for discovery's topic of events.
pub const CALENDAR: &str = "calendar";
/// Events in it.
const EVENTS: usize = 40;

impl Subject for Registrations {
    const BINARY: &'static str = env!("CARGO_BIN_EXE_registrations");
    const RAW: &'static str = "raw.registrations";
    const SHOWN: (&'static str, &'static str) = ("hours", "hours");
    const STATE: &'static str = "registrations";
    const ROWS: &'static [&'static str] = &["hours"];
    const CHANGED_BY_REBUILDS: usize = 0;

    fn flags(prefix: &str) -> Vec<String> {
        vec![format!("events={prefix}{CALENDAR}")]
    }

    fn prepare(harness: &Harness) {
        let spec = TopicSpec {
            name: harness.config.runtime.full_name(CALENDAR),
            partitions: 3,
            replication: None,
            cleanup: Cleanup::Compact,
            max_record_bytes: 1 << 20,
            properties: BTreeMap::new(),
        };
        harness.log.ensure_topics(&[spec]).unwrap();
    }

    fn sections() -> String {
        "[retention]\nkeep = 'forever'\n".to_owned()
    }

    fn stream(raw: usize) -> Vec<Input> {
        let mut all: Vec<Input> = (0..EVENTS).map(|event| named(event, "first")).collect();
        let mut changes = calendar_changes().into_iter();
        let step = (raw / 2 / 30).max(1);
        for number in 0..raw {
            if number >= raw / 2 && number.is_multiple_of(step) {
                all.extend(changes.next().map(|change| at(number, change)));
            }
            all.push(at(number, registration(number)));
        }
        assert!(changes.next().is_none(), "the stream is too short");
        all
    }

    type Results = Results;

    fn results(harness: &Harness) -> Results {
        let results = Results { hours: harness.table("hours"), registrations: harness.table("registrations") };
        results.check(&events(harness));
        results
    }

    fn differences(expected: &Results, found: &Results) -> Vec<String> {
        let mut all = Vec::new();
        compare(&mut all, "hour", &expected.hours, &found.hours);
        // Where a record lies is the log's affair.
        compare(&mut all, "registration", &expected.words(), &found.words());
        all
    }

    fn row_differences(before: &Results, after: &Results) -> Vec<String> {
        let mut all = Vec::new();
        compare(&mut all, "hour", &before.hours, &after.hours);
        compare(&mut all, "registration", &before.registrations, &after.registrations);
        all
    }

    fn told(results: &Results) -> Told {
        let live = results.registrations.values().filter(|row| !row["value"]["event"].is_null()).count();
        let untitled = results.hours.values().filter(|row| row["title"].is_null()).count();
        vec![
            ("hours", results.hours.len()),
            ("registrations", live),
            ("withdrawn ones", results.registrations.len() - live),
            ("hours without a title", untitled),
        ]
    }

    const CHANGED: &'static [&'static str] = &[];

    fn differing(prefix: &str) -> Vec<String> {
        vec!["--set".to_owned(), format!("events={prefix}another-calendar")]
    }
}

/// The rows of the calendar, as far as they are JSON.
fn events(harness: &Harness) -> BTreeMap<String, Value> {
    let mut events = BTreeMap::new();
    for record in harness.records(CALENDAR) {
        let key = String::from_utf8_lossy(&record.key.unwrap()).into_owned();
        match record.value.and_then(|value| serde_json::from_slice(&value).ok()) {
            Some(row) => events.insert(key, row),
            None => events.remove(&key),
        };
    }
    events
}

/// A record for raw.registrations: registered, changed, cancelled, withdrawn, repeated, malformed; keyed and not;
/// plain and in an envelope.
fn registration(number: usize) -> Input {
    // Registrations come up again and again, and the event of one changes now and then.
    let (who, event) = (number * 7 % 701, (number * 13 + number / 97) % EVENTS);
    let id = format!("r{who}");
    let made = time_text(BEGAN_MS + (who as i64 * 577 % (12 * 60)) * 60_000);
    let data = match number % 11 {
        3 => json!({"id": id, "event": format!("e{event}"), "time": made, "status": "cancelled"}),
        // An event that no calendar knows.
        5 => json!({"id": id, "event": format!("unknown-{}", who % 7), "time": made}),
        _ => json!({"id": id, "event": format!("e{event}"), "time": made, "status": "Confirmed"}),
    };
    let enveloped = json!({"specversion": "1.0", "id": number.to_string(), "source": "/desk", "type": "registration",
        "time": "2026-06-01T12:00:00Z", "data": data});
    let (content_type, value) = match number % 13 {
        0 => (None, None),
        1 => (None, Some(format!("{{\"id\": \"{id}\", \"event\": "))),
        2 => (None, Some(json!({"id": id, "event": "e1", "status": "perhaps"}).to_string())),
        4 | 6 | 8 => (Some("application/cloudevents+json"), Some(enveloped.to_string())),
        _ => (Some("application/json"), Some(data.to_string())),
    };
    let keyed = value.is_none() || !number.is_multiple_of(5);
    Input {
        topic: Registrations::RAW.to_owned(),
        source: Some("desk".to_owned()),
        content_type: content_type.map(str::to_owned),
        key: keyed.then(|| id.into_bytes()),
        value: value.map(String::into_bytes),
        timestamp_ms: 0,
    }
}

/// RFC 3339 of a time on 2026-06-01.
fn time_text(ms: i64) -> String {
    let minutes = (ms - BEGAN_MS) / 60_000;
    format!("2026-06-01T{:02}:{:02}:00Z", minutes / 60, minutes % 60)
}

fn at(number: usize, input: Input) -> Input {
    Input { timestamp_ms: BEGAN_MS + number as i64 * STEP_MS, ..input }
}

/// A record for the calendar; `None` takes the event out.
fn calendar(event: usize, value: Option<Value>) -> Input {
    Input {
        topic: CALENDAR.to_owned(),
        source: None,
        content_type: None,
        key: Some(format!("e{event}").into_bytes()),
        value: value.map(|value| value.to_string().into_bytes()),
        timestamp_ms: BEGAN_MS,
    }
}

fn named(event: usize, word: &str) -> Input {
    let row =
        json!({"format": 1, "id": format!("e{event}"), "title": format!("{word} evening {event}"), "listings": []});
    calendar(event, Some(row))
}

fn merged(event: usize, survivor: usize) -> Input {
    calendar(event, Some(json!({"format": 1, "id": format!("e{event}"), "redirectTo": format!("e{survivor}")})))
}

/// Merges, splits, other titles, ends, nonsense.
fn calendar_changes() -> Vec<Input> {
    let mut changes: Vec<Input> = (1..8).map(|event| merged(event * 4, event * 4 + 1)).collect();
    changes.extend((1..4).map(|event| named(event * 4, "parted")));
    changes.extend((0..4).map(|event| named(event * 9, "renamed")));
    changes.push(calendar(3, None));
    changes.push(calendar(6, Some(json!("nonsense"))));
    changes.push(calendar(7, Some(json!({"title": "without an id"}))));
    changes.push(merged(5, 9));
    changes.push(merged(5, 13));
    changes
}

/// What the topics hold.
pub struct Results {
    pub hours: BTreeMap<String, Value>,
    pub registrations: BTreeMap<String, Value>,
}

impl Results {
    /// What is said of each registration.
    fn words(&self) -> BTreeMap<String, Value> {
        self.registrations.iter().map(|(id, row)| (id.clone(), without(row.clone(), "position"))).collect()
    }

    /// What must hold of any results: the hours are those that the live registrations give with these events.
    fn check(&self, events: &BTreeMap<String, Value>) {
        let mut expected: BTreeMap<String, Value> = BTreeMap::new();
        for row in self.registrations.values() {
            let Some(event) = row["value"]["event"].as_str() else { continue };
            let known = |id: &str| events.get(id).filter(|row| row["id"].is_string());
            let redirect = known(event).and_then(|row| row["redirectTo"].as_str());
            let event = redirect.unwrap_or(event);
            let hour = format!("{}:00:00Z", &row["value"]["time"].as_str().unwrap()[..13]);
            let title = known(event).map_or(Value::Null, |row| row["title"].clone());
            let none = json!({"format": 1, "event": event, "title": title, "hour": hour, "registrations": 0});
            let row = expected.entry(format!("{event}/{hour}")).or_insert(none);
            row["registrations"] = json!(row["registrations"].as_i64().unwrap() + 1);
        }
        let mut all = Vec::new();
        compare(&mut all, "hour", &expected, &self.hours);
        assert!(
            all.is_empty(),
            "hours and registrations tell the same: {:#?}",
            all.iter().take(20).collect::<Vec<_>>()
        );
    }
}

impl Poisoned for Registrations {
    const KINDS: &'static [Kind] = kinds::KINDS;
    const CONFIG: &'static str = "e2e/subjects/registrations/poison.toml";

    fn live(results: &Results) -> BTreeMap<Name, String> {
        let live = |(id, row): (&String, &Value)| {
            let event = row["value"]["event"].as_str()?.to_owned();
            Some(((kinds::source_of(id), id.clone()), event))
        };
        results.registrations.iter().filter_map(live).collect()
    }
}
