//! The generated feed that whole runs are compared on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use discovery::Discovery;
use discovery::generate::{GenerateConfig, Generated, Generator, TruthRow};
use serde_json::Value;

use super::{Harness, Results};
use crate::support::subject::Subject;
use crate::support::{Input, Place};

/// 2026-06-01T00:00:00Z.
const BEGAN_MS: i64 = 1_780_272_000_000;
/// Records are two seconds apart.
const STEP_MS: i64 = 2_000;

pub struct Feed {
    pub inputs: Vec<Input>,
    pub truth: Vec<TruthRow>,
}

/// The feed of all tests: a hundred minutes of six sources.
pub static FEED: LazyLock<Feed> = LazyLock::new(|| {
    let config = GenerateConfig {
        seed: 7,
        records: Some(3_000),
        update_share: 0.08,
        withdraw_share: 0.04,
        repeat_share: 0.08,
        malformed_share: 0.03,
        ..GenerateConfig::default()
    };
    let mut generator = Generator::new(config).unwrap().with_truth();
    let records: Vec<Generated> = generator.by_ref().collect();
    let mut truth = generator.settled_truth();
    truth.extend(generator.remaining_truth());
    let times = (0..).map(|n| BEGAN_MS + n * STEP_MS);
    let inputs = records.into_iter().zip(times).map(|(record, timestamp_ms)| Input {
        topic: "raw.events".to_owned(),
        source: Some(record.source.to_string()),
        content_type: Some(record.content_type.to_owned()),
        key: record.key,
        value: record.value,
        timestamp_ms,
    });
    Feed { inputs: inputs.collect(), truth }
});

/// What one worker makes of the feed in one go on the embedded log: all others are compared to it.
pub static REFERENCE: LazyLock<Results> = LazyLock::new(|| in_portions(Place::Embedded, &[1]));

pub fn harness(place: Place) -> Harness {
    Harness::configured(place, &Discovery::sections())
}

/// Feeds as many equal portions as there are worker counts, with a run of its own for each.
pub fn in_portions(place: Place, workers: &[usize]) -> Results {
    let harness = harness(place);
    let portion = FEED.inputs.len().div_ceil(workers.len());
    for (inputs, workers) in FEED.inputs.chunks(portion).zip(workers) {
        harness.produce(inputs.iter().cloned());
        let figures = harness.run(*workers);
        assert_eq!(figures.records, inputs.len() as u64, "every record is read once");
    }
    harness.results()
}

/// Counts by source: seen, discovered, updated, unchanged, withdrawn, dead.
///
/// The records of one source lie in all partitions without a key. Whether such a record changes
/// something depends on which partitions were read before it; so for this source the updated and
/// the unchanged are counted together.
pub type Counts = BTreeMap<String, [u64; 6]>;

const UNKEYED: &str = "town-crier";

pub fn settled(mut counts: Counts) -> Counts {
    if let Some(counts) = counts.get_mut(UNKEYED) {
        counts[3] += std::mem::take(&mut counts[2]);
    }
    counts
}

pub fn metrics(results: &Results) -> Counts {
    let mut counts = Counts::new();
    for row in results.metrics.values() {
        let sums = counts.entry(row["source"].as_str().unwrap().to_owned()).or_default();
        let fields = ["seen", "discovered", "updated", "unchanged", "withdrawn", "dead"];
        for (sum, field) in sums.iter_mut().zip(fields) {
            *sum += row[field].as_u64().unwrap();
        }
        assert_eq!(row["late"], 0, "nothing is late: {row}");
    }
    settled(counts)
}

pub fn assert_same(results: &Results, what: &str) {
    assert_eq!(results.listings.len(), REFERENCE.listings.len(), "listings, {what}");
    for (expected, found) in REFERENCE.normal_listings().iter().zip(&results.normal_listings()) {
        assert_eq!(expected, found, "listing, {what}");
    }
    let (expected, found) = (events(&REFERENCE), events(results));
    let groups = |results: &Results| results.groups().into_values().collect::<BTreeSet<_>>();
    assert_eq!(groups(results), groups(&REFERENCE), "groups, {what}");
    for (expected, found) in expected.iter().zip(&found) {
        assert_eq!(differences(expected, found), Vec::<String>::new(), "event, {what}");
    }
    assert_eq!(results.dead_by_code(), REFERENCE.dead_by_code(), "dead letters, {what}");
    assert_eq!(metrics(results), metrics(&REFERENCE), "counts, {what}");
    assert_eq!(results.place_requests, REFERENCE.place_requests, "place requests, {what}");
}

/// The events less what is history: when an event was first seen depends on which of its listings
/// was read first, and on listings that have gone in the meantime.
fn events(results: &Results) -> Vec<Value> {
    let mut events = results.normal_events();
    for event in &mut events {
        event.as_object_mut().unwrap().remove("firstSeen").unwrap();
    }
    events
}

/// The fields in which two events differ.
fn differences(a: &Value, b: &Value) -> Vec<String> {
    let (a, b) = (a.as_object().unwrap(), b.as_object().unwrap());
    let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let differing = keys.into_iter().filter(|key| a.get(*key) != b.get(*key));
    differing.map(|key| format!("{key}: {:?} is {:?}; title {}", a.get(key), b.get(key), a["title"])).collect()
}
