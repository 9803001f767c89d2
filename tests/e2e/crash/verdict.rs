//! What an undisturbed run comes to, and in what another one differs from it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::LazyLock;

use headwater::log::LogRecord;
use serde_json::Value;

use crate::stream::STREAM;
use crate::support::{Harness, Place, Results, header};
use crate::trial::Trial;

/// What everything comes to that is fed at once and then read by one engine, on the embedded log.
pub static UNDISTURBED: LazyLock<Results> = LazyLock::new(|| {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("topology.toml");
    std::fs::write(&file, crate::trial::configuration("")).unwrap();
    let harness = Harness::new(Place::Embedded, &file, &[]);
    harness.produce(STREAM.iter().cloned());
    harness.run(1);
    let results = harness.results();
    let some = [results.listings.len(), results.dead_letters.len(), closed_windows(&results)];
    assert!(some.iter().all(|count| *count > 2), "there is something of everything to compare: {some:?}");
    results
});

/// Everything in which the outcome of a trial differs from `expected`.
pub fn differences(trial: &Trial, expected: &Results) -> Vec<String> {
    let found = trial.harness.results();
    let mut all = Vec::new();
    compare(&mut all, "listing", &expected.normal_listings(), &found.normal_listings());
    compare(&mut all, "group", &groups(expected), &groups(&found));
    compare(&mut all, "event", &events(expected), &events(&found));
    compare(&mut all, "link", &links(expected), &links(&found));
    compare(&mut all, "count", &counts(expected), &counts(&found));
    compare(&mut all, "place request", &expected.place_requests, &found.place_requests);
    compare(&mut all, "dead letter", &letters(expected), &letters(&found));
    assert!(closed_windows(&found) > 2, "there are closed windows to compare");
    all.extend(out_of_order(trial));
    all.extend(trial.view_differences());
    all
}

fn compare<K: Ord + Debug, V: PartialEq + Debug>(
    all: &mut Vec<String>,
    what: &str,
    expected: &BTreeMap<K, V>,
    found: &BTreeMap<K, V>,
) {
    let keys: BTreeSet<&K> = expected.keys().chain(found.keys()).collect();
    for key in keys.into_iter().filter(|key| expected.get(key) != found.get(key)) {
        all.push(format!("{what} {key:?}: expected {:?}, found {:?}", expected.get(key), found.get(key)));
    }
}

/// Groups of listings. An event's id is history: it comes from the listing that was read first.
fn groups(results: &Results) -> BTreeMap<BTreeSet<(String, String)>, usize> {
    let mut groups = BTreeMap::new();
    results.groups().into_values().for_each(|group| *groups.entry(group).or_default() += 1);
    groups
}

/// Events by their first listing, less what is history: the id, and when it was first seen, which
/// depends on which of its listings was read first and on some that have gone since.
fn events(results: &Results) -> BTreeMap<String, Value> {
    let without = |mut event: Value| {
        event.as_object_mut().unwrap().remove("firstSeen").unwrap();
        (event["listings"].to_string(), event)
    };
    results.normal_events().into_iter().map(without).collect()
}

fn links(results: &Results) -> BTreeMap<String, Value> {
    let without = |(key, link): (&String, &Value)| {
        let mut link = link.clone();
        for history in ["eventId", "eventFirstSeen"] {
            link.as_object_mut().unwrap().remove(history).unwrap();
        }
        (key.clone(), link)
    };
    results.links.iter().map(without).collect()
}

/// The records of this source have no key. They lie in all partitions, and whether one of them is
/// the first of its listing, or changes it, depends on which partition is read first.
const UNKEYED: &str = "town-crier";

/// The exact counts of each window, source and category. Of the source without keys, what does not
/// depend on the order of partitions: what was seen and what was dead by window, the rest in sum.
fn counts(results: &Results) -> BTreeMap<String, [u64; 6]> {
    let mut counts: BTreeMap<String, [u64; 6]> = BTreeMap::new();
    for (key, row) in &results.metrics {
        let field = |name: &str| row[name].as_u64().unwrap();
        let [seen, discovered, updated, unchanged, withdrawn, dead] =
            ["seen", "discovered", "updated", "unchanged", "withdrawn", "dead"].map(field);
        assert_eq!(row["late"], 0, "nothing is late: {row}");
        if row["source"] == UNKEYED {
            counts.insert(key.clone(), [seen, 0, 0, 0, 0, dead]);
            let sum = counts.entry(UNKEYED.to_owned()).or_default();
            [discovered, updated + unchanged, withdrawn].into_iter().zip(&mut sum[1..]).for_each(|(n, sum)| *sum += n);
        } else {
            counts.insert(key.clone(), [seen, discovered, updated, unchanged, withdrawn, dead]);
        }
    }
    counts
}

pub fn closed_windows(results: &Results) -> usize {
    results.metrics.values().filter(|row| row["closed"] == true).count()
}

/// How often each dead letter is there.
fn letters(results: &Results) -> BTreeMap<[String; 6], usize> {
    let mut letters = BTreeMap::new();
    for letter in &results.dead_letters {
        let text = |bytes: &Option<Vec<u8>>| format!("{:?}", bytes.as_deref().map(String::from_utf8_lossy));
        let names = ["dead-letter-code", "dead-letter-part", "source", "content-type"];
        let [code, part, source, content_type] = names.map(|name| header(letter, name));
        let identity = [code, part, source, content_type, text(&letter.key), text(&letter.value)];
        *letters.entry(identity).or_default() += 1;
    }
    letters
}

/// Within a partition epochs never go back: nobody has written who was fenced.
fn out_of_order(trial: &Trial) -> Vec<String> {
    let outputs = ["events", "listings", "links", "redirects", "metrics", "place-requests", "dead-letters", "progress"];
    let epoch = |record: &LogRecord| header(record, "epoch").parse::<u64>().unwrap();
    let mut found = Vec::new();
    for topic in outputs {
        for pair in trial.harness.records(topic).windows(2) {
            let [before, after] = pair else { continue };
            if before.partition == after.partition && epoch(before) > epoch(after) {
                found.push(format!("{topic}/{}, offset {}: epoch goes back", after.partition, after.offset));
            }
        }
    }
    found
}
