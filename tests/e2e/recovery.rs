//! Recovery that heals, for discovery: the suite of any topology, changed configuration, links, and the state of
//! the former format.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use discovery::Figures;
use discovery::config::{Config, Sections};
use headwater::config::{Sources, load};
use headwater::engine::EngineError;
use headwater::engine::correction::Report;
use headwater::error::Fault;
use headwater::log::NewRecord;
use headwater_operators::listing::Ratio;
use serde_json::{Value, json};

use crate::subject::{Harness, Results};
use crate::suites::recovery::{
    Damage, FEED, Outcome, REBUILD, UNASKED, Way, assert_same, bury, empty, ends, fed, forget_raw_records, key, mended,
    plan, refused, run, started,
};
use crate::support::{Place, tests_folder};

/// The tables whose rows follow from the state, by topic.
fn tables(results: &Results) -> BTreeMap<&'static str, &BTreeMap<String, Value>> {
    BTreeMap::from([
        ("events", &results.events),
        ("listings", &results.listings),
        ("links", &results.links),
        ("redirects", &results.redirects),
        ("place-requests", &results.place_requests),
    ])
}

/// Keys whose rows differ.
fn differing(a: &BTreeMap<String, Value>, b: &BTreeMap<String, Value>) -> BTreeSet<String> {
    a.keys().chain(b.keys()).filter(|key| a.get(*key) != b.get(*key)).cloned().collect()
}

/// Events without what is history: their ids and, where several listings made them, their age.
fn normal(results: &Results) -> Vec<Value> {
    let mut events = results.normal_events();
    for event in &mut events {
        event.as_object_mut().unwrap().remove("firstSeen").unwrap();
    }
    events
}

fn assert_changes_exactly_what_differs(what: &str, change: impl Fn(&mut Config)) {
    let mut harness = fed(Place::Embedded);
    let before = harness.results();
    let written: BTreeMap<String, i64> = ends(&harness).into_iter().collect();
    change(&mut harness.config);
    harness.config.runtime.engine.correction_batch = 10;
    let planned = plan(&harness, UNASKED).unwrap().report.unwrap();
    let report = run(&harness, Way { consent: true, ..UNASKED }).unwrap().unwrap();
    let now: BTreeMap<String, i64> = ends(&harness).into_iter().collect();
    let after = harness.results();
    let mut total = 0;
    for ((topic, before), (_, after)) in tables(&before).into_iter().zip(tables(&after)) {
        let differing = differing(before, after);
        let told = report.topics.iter().find(|told| told.topic == topic).unwrap();
        assert_eq!((told.rows, told.total()), (before.len(), differing.len()), "{topic}, {what}");
        let records = now[topic] - written[topic];
        assert_eq!(records, differing.len() as i64, "{topic} is written row by row, {what}");
        total += differing.len();
    }
    assert!(total > 0, "{what} changes something");
    assert_eq!(report.total(), total);
    assert_eq!(report.transactions, total.div_ceil(10), "ten rows in a transaction, {what}");
    let progress = now["progress"] - written["progress"];
    assert!(progress >= report.transactions as i64, "{progress} progress records, {what}");
    assert_eq!(Report { transactions: report.transactions, ..planned }, report, "as planned, {what}");
    assert_eq!(before.metrics, after.metrics, "{what}");
    assert_eq!(before.dead_letters.len(), after.dead_letters.len(), "{what}");

    let mut scratch = empty(Place::Embedded);
    change(&mut scratch.config);
    scratch.produce(FEED.iter().cloned());
    scratch.run(1);
    let scratch = scratch.results();
    assert_eq!(scratch.normal_listings(), after.normal_listings(), "as from scratch, {what}");
    assert_eq!(normal(&scratch), normal(&after), "as from scratch, {what}");

    let settled = ends(&harness);
    assert_eq!(run(&harness, UNASKED).unwrap(), None, "{what} is settled");
    assert_eq!(ends(&harness), settled, "{what} is settled");
}

#[test]
fn changed_gates_correct_exactly_the_events_that_differ() {
    assert_changes_exactly_what_differs("another pass mark and weight", |config| {
        config.topology.score.pass = Ratio::new(0.9);
        config.topology.score.content_quality.weight = Ratio::new(0.15);
    });
}

#[test]
fn a_changed_threshold_corrects_exactly_the_rows_that_differ() {
    assert_changes_exactly_what_differs("a lower threshold", |config| config.topology.resolve.threshold = 0.01);
    assert_changes_exactly_what_differs("a higher threshold", |config| config.topology.resolve.threshold = 0.999);
}

#[test]
fn a_changed_taxonomy_corrects_exactly_the_rows_that_differ() {
    assert_changes_exactly_what_differs("another taxonomy", |config| {
        config.topology.taxonomy.categories.retain(|category| category.name != "Music");
    });
}

#[test]
fn above_the_guard_nothing_is_written_without_consent() {
    let mut harness = fed(Place::Embedded);
    let before = Outcome::of(&harness);
    harness.config.topology.score.grades.a = Ratio::new(0.999);
    harness.config.topology.score.grades.b = Ratio::new(0.998);
    harness.config.topology.score.grades.c = Ratio::new(0.997);
    let share = plan(&harness, UNASKED).unwrap().report.unwrap().share();
    assert!(share > harness.config.runtime.engine.correction_guard, "{share}");
    let error = run(&harness, UNASKED).unwrap_err();
    let said = format!("{error}; {}", error.hint().unwrap());
    assert!(matches!(error, EngineError::TooManyCorrections { .. }), "{said}");
    assert!(said.contains("--yes") && said.contains("--plan") && said.contains("CHANGED"), "{said}");
    assert_same(&before, &Outcome::of(&harness), "without consent");
    let report = run(&harness, Way { consent: true, ..UNASKED }).unwrap().unwrap();
    assert!(report.total() > 0);
}

/// Which ids events took over from former ones is known from the links alone.
#[test]
fn emptied_links_are_filled_again_with_other_ids() {
    let harness = fed(Place::Embedded);
    let before = harness.results();
    bury(&harness, "links", 1);
    run(&harness, Way { consent: true, ..UNASKED }).unwrap();
    assert_eq!(normal(&before), normal(&harness.results()));
}

#[test]
fn damaged_links_and_missing_listings_are_told() {
    let harness = fed(Place::Embedded);
    let before = Outcome::of(&harness);
    let damages: [Damage<'_>; 1] = [("links", key(&harness, "links"), Some(br#"{"format":1}"#), "offset")];
    mended(&harness, &damages);
    bury(&harness, "listings", 2);
    refused(&harness, UNASKED, "listings", &["lacks"]);
    run(&harness, REBUILD).unwrap();
    assert_same(&before, &Outcome::of(&harness), "after a rebuild of buried listings");
}

#[test]
fn listings_that_are_left_keep_the_ids_of_their_events() {
    let harness = fed(Place::Embedded);
    let ids =
        |results: &Results| results.links.iter().map(|(id, link)| (id.clone(), link["eventId"].clone())).collect();
    let was: BTreeMap<String, Value> = ids(&harness.results());
    forget_raw_records(&harness, 0.5);
    run(&harness, REBUILD).unwrap();
    let is: BTreeMap<String, Value> = ids(&harness.results());
    let kept = is.iter().filter(|(id, event)| was.get(*id) == Some(event)).count();
    assert!(kept * 10 > is.len() * 9, "{kept} of {} listings kept their event's id", is.len());
}

/// A record of a fixture.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    topic: String,
    offset: i64,
    timestamp_ms: i64,
    key: Option<String>,
    value: Option<String>,
    headers: Vec<(String, String)>,
}

/// A topology as an older version left it.
fn left_behind(folder: &str) -> Harness {
    let folder = tests_folder(folder);
    let mut harness = Harness::new(Place::Embedded, &folder.join("topology.toml"), &[]);
    let config = load::<Sections>(&Sources {
        file: Some(folder.join("topology.toml")),
        environment: BTreeMap::new(),
        flags: vec![format!("log.embedded.path={}", harness.config.runtime.log.embedded.path.display())],
    });
    harness.config = config.unwrap_or_else(|errors| panic!("{errors}")).config;
    harness.log.ensure_topics(&harness.config.runtime.topic_specs()).unwrap();
    let mut producer = harness.log.producer().unwrap();
    let mut next: BTreeMap<String, i64> = BTreeMap::new();
    for line in std::fs::read_to_string(folder.join("records.jsonl")).unwrap().lines() {
        let stored: Stored = serde_json::from_str(line).unwrap();
        let topic: Arc<str> = harness.config.runtime.full_name(&stored.topic).into();
        let next = next.entry(stored.topic).or_insert(0);
        while *next < stored.offset {
            // What compaction had removed.
            let (topic, key) = (Arc::clone(&topic), Some(b"compacted".to_vec()));
            producer
                .send(NewRecord {
                    topic,
                    key: key.map(Into::into),
                    value: None,
                    headers: Vec::new(),
                    timestamp_ms: None,
                })
                .unwrap();
            *next += 1;
        }
        *next += 1;
        let headers = stored.headers.into_iter().map(|(name, value)| (name, value.into_bytes())).collect();
        let (key, value) = (stored.key.map(String::into_bytes), stored.value.map(String::into_bytes));
        producer
            .send(NewRecord {
                topic,
                key: key.map(Into::into),
                value: value.map(Into::into),
                headers,
                timestamp_ms: Some(stored.timestamp_ms),
            })
            .unwrap();
    }
    producer.flush().unwrap();
    harness
}

#[test]
fn the_state_of_the_former_format_is_read() {
    let harness = left_behind("fixtures/state-v1");
    let before = harness.results();
    assert!(before.links.len() == 21 && before.dead_letters.len() == 12 && !before.metrics.is_empty());
    // Not a record is read again. Operators have learnt since, so that somebody has to agree to other coordinates.
    let engine = started(&harness, Way { consent: true, ..UNASKED });
    assert!(engine.recovery.resumed);
    let lifecycle = Arc::clone(engine.lifecycle());
    engine.wait().unwrap();
    assert_eq!(Figures::of(&lifecycle).records, 0);
    let after = harness.results();
    assert_eq!(before.groups(), after.groups(), "the same events of the same listings, under the same ids");
    assert_eq!(before.redirects, after.redirects);
    assert_eq!(before.metrics, after.metrics);
    assert_eq!(before.dead_letters.len(), after.dead_letters.len());
    let listings = |results: &Results| {
        let told = |state: &Value| json!([state["firstSeen"], state["updatedAt"], state["listing"]["title"]]);
        results.listings.iter().map(|(id, state)| (id.clone(), told(state))).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(listings(&before), listings(&after));
    // It goes on from there: the first record again is a repeat, and in a rebuild nothing differs.
    run(&harness, REBUILD).unwrap();
    let rebuilt = harness.results();
    assert_eq!(after.groups(), rebuilt.groups());
    assert_eq!(listings(&after), listings(&rebuilt));
}
