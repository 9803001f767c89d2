//! What is fed in: the same records, at the same times, in every run.

use std::collections::{BTreeMap, BTreeSet};

use discovery::generate::{GenerateConfig, Generated, Generator, TruthRow};
use serde_json::{Value, json};

use super::{Discovery, Harness};
use crate::support::subject::Subject;
use crate::support::{Input, Place};

/// 2026-06-01T00:00:00Z.
const BEGAN_MS: i64 = 1_780_272_000_000;
/// Raw records are two seconds apart.
const STEP_MS: i64 = 2_000;

/// Inserts, updates, withdrawals, unchanged repeats and malformed records of six sources, and
/// between them decisions, places and a control record, some of them replaced, withdrawn, malformed.
pub fn stream(raw: usize) -> Vec<Input> {
    let config = GenerateConfig {
        seed: 11,
        records: Some(raw as u64),
        update_share: 0.10,
        withdraw_share: 0.05,
        repeat_share: 0.10,
        malformed_share: 0.03,
        ..GenerateConfig::default()
    };
    let mut generator = Generator::new(config).unwrap().with_truth();
    let records: Vec<Generated> = generator.by_ref().collect();
    let mut truth = generator.settled_truth();
    truth.extend(generator.remaining_truth());
    let raw: Vec<Input> = records.into_iter().enumerate().map(|(n, record)| self::raw(n, record)).collect();
    let tables = tables(&truth, &places_asked_for(&raw));
    interleaved(raw, tables)
}

fn raw(number: usize, record: Generated) -> Input {
    Input {
        topic: "raw.events".to_owned(),
        source: Some(record.source.to_string()),
        content_type: Some(record.content_type.to_owned()),
        key: record.key,
        value: record.value,
        timestamp_ms: BEGAN_MS + number as i64 * STEP_MS,
    }
}

/// Keys of places that nobody has located.
fn places_asked_for(raw: &[Input]) -> Vec<String> {
    let harness = Harness::configured(Place::Embedded, &Discovery::sections());
    harness.produce(raw.iter().cloned());
    harness.run(1);
    harness.table("place-requests").into_keys().collect()
}

/// A record for one of the tables; `None` withdraws.
fn table(topic: &str, key: &str, value: Option<Value>) -> Input {
    let value = value.map(|value| value.to_string().into_bytes());
    let key = Some(key.as_bytes().to_vec());
    Input { topic: topic.to_owned(), source: None, content_type: None, key, value, timestamp_ms: BEGAN_MS }
}

fn ruling(verdict: &str, a: &TruthRow, b: &TruthRow, minute: usize) -> Value {
    let name = |row: &TruthRow| json!({"source": &*row.source, "externalId": row.external_id});
    let at = format!("2026-06-01T12:{minute:02}:00Z");
    json!({ verdict: {"a": name(a), "b": name(b), "who": "kim", "why": "asked them", "at": at} })
}

fn tables(truth: &[TruthRow], places: &[String]) -> Vec<Input> {
    let mut by_event: BTreeMap<u64, Vec<&TruthRow>> = BTreeMap::new();
    let sorted: BTreeSet<&TruthRow> = truth.iter().filter(|row| row.live).collect();
    sorted.into_iter().for_each(|row| by_event.entry(row.event).or_default().push(row));
    let several: Vec<&Vec<&TruthRow>> = by_event.values().filter(|rows| rows.len() > 1).take(8).collect();
    let single: Vec<&TruthRow> =
        by_event.values().filter(|rows| rows.len() == 1).map(|rows| rows[0]).take(16).collect();
    assert!(several.len() == 8 && single.len() == 16 && places.len() >= 8, "the feed is too small");
    let mut tables = Vec::new();
    for (n, rows) in several.iter().enumerate() {
        tables.push(table("decisions", &format!("apart-{n}"), Some(ruling("different", rows[0], rows[1], n))));
    }
    for (n, pair) in single.chunks(2).enumerate() {
        tables.push(table("decisions", &format!("together-{n}"), Some(ruling("same", pair[0], pair[1], n))));
    }
    for (n, key) in places.iter().take(8).enumerate() {
        let located = json!({"key": key, "found": true, "latitude": 50.0 + n as f64 / 100.0, "longitude": 8.5,
            "precision": "venue", "provider": "hand"});
        tables.push(table("places", key, Some(located)));
    }
    tables.push(table("control", "gates", Some(json!({"gates": {"pass": 0.8}}))));
    tables.push(table("decisions", "nonsense", Some(json!({"perhaps": 1}))));
    tables.push(table("places", "nonsense", Some(json!("nowhere"))));
    // Replaced, withdrawn.
    tables.push(table("decisions", "apart-0", Some(ruling("same", several[0][0], several[0][1], 30))));
    tables.push(table("decisions", "apart-1", None));
    tables.push(table("decisions", "together-1", None));
    tables.push(table("places", &places[1], None));
    tables.push(table("places", &places[2], Some(json!({"key": places[2], "found": false}))));
    tables.push(table("control", "gates", Some(json!({"gates": {"pass": 0.75}}))));
    // In the end the gates are those of the configuration.
    tables.push(table("control", "gates", None));
    tables
}

/// The records of tables at equal distances, from the middle of the stream on.
fn interleaved(raw: Vec<Input>, tables: Vec<Input>) -> Vec<Input> {
    let (begin, step) = (raw.len() / 2, raw.len() / 2 / (tables.len() + 1));
    let mut tables = tables.into_iter();
    let mut all = Vec::new();
    for (n, input) in raw.into_iter().enumerate() {
        if n >= begin && (n - begin).is_multiple_of(step) {
            let at = input.timestamp_ms;
            all.extend(tables.next().map(|table| Input { timestamp_ms: at, ..table }));
        }
        all.push(input);
    }
    assert!(tables.next().is_none());
    all
}
