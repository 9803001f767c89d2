//! Recovery that heals: changed configuration, emptied and damaged topics, rebuilds from the raw
//! topics, and the state of the former format.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use discovery::Figures;
use discovery::config::{Config, Sections};
use discovery::discovery::Discovery;
use discovery::generate::{GenerateConfig, Generator, Shape, source_config_toml};
use headwater::config::{Sources, load};
use headwater::engine::correction::Report;
use headwater::engine::{Engine, EngineError, EngineOptions, Preview, preview, start};
use headwater::error::Fault;
use headwater::log::{LogRecord, NewRecord};
use headwater::program::Program;
use headwater::run::{Declared, declare, engine_options};
use headwater::schema::Topic;
use headwater_operators::listing::Ratio;
use serde_json::{Value, json};
use tempfile::TempDir;

#[allow(dead_code, reason = "shared with other tests")]
mod support;

use support::{Harness, Input, Place, Results, tests_folder};

/// 2026-06-01T00:00:00Z.
const BEGAN_MS: i64 = 1_780_272_000_000;

/// Some of everything, from six sources.
static FEED: LazyLock<Vec<Input>> = LazyLock::new(|| {
    let config = GenerateConfig {
        seed: 11,
        records: Some(900),
        update_share: 0.08,
        withdraw_share: 0.04,
        repeat_share: 0.08,
        malformed_share: 0.03,
        ..GenerateConfig::default()
    };
    let records = Generator::new(config).unwrap();
    let inputs = (0..).zip(records).map(|(n, record)| Input {
        topic: "raw.events".to_owned(),
        source: Some(record.source.to_string()),
        content_type: Some(record.content_type.to_owned()),
        key: record.key,
        value: record.value,
        timestamp_ms: BEGAN_MS + n * 2_000,
    });
    inputs.collect()
});

fn empty(place: Place) -> Harness {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("feed.toml");
    let head = "[retention]\npast_events = 'forever'\n[window]\nsize_ms = 600_000\nallowed_lateness_ms = 60_000\n";
    std::fs::write(&file, format!("{head}{}", source_config_toml(6, &Shape::ALL))).unwrap();
    Harness::new(place, &file, &[])
}

/// A topology that has processed the feed.
fn fed(place: Place) -> Harness {
    let harness = empty(place);
    // Two runs, so that there are ids that were retired.
    let (first, rest) = FEED.split_at(FEED.len() / 2);
    for portion in [first, rest] {
        harness.produce(portion.iter().cloned());
        harness.run(2);
    }
    harness
}

/// How to start.
#[derive(Clone, Copy, Default)]
struct Way {
    rebuild: bool,
    consent: bool,
}

const REBUILD: Way = Way { rebuild: true, consent: true };
const UNASKED: Way = Way { rebuild: false, consent: false };

fn discovery(harness: &Harness, way: Way) -> (EngineOptions, Program) {
    let Declared { catalog, program } =
        declare::<Discovery>(&harness.config).unwrap_or_else(|invalid| panic!("{invalid:?}"));
    let mut options = engine_options(&harness.config.runtime, &catalog, true, way.consent);
    options.rebuild = way.rebuild;
    options.workers = 2;
    (options, program)
}

fn started(harness: &Harness, way: Way) -> Engine {
    let (options, program) = discovery(harness, way);
    start(Arc::clone(&harness.log), options, program).unwrap()
}

/// Runs until everything is processed; what was corrected at the start.
fn run(harness: &Harness, way: Way) -> Result<Option<Report>, EngineError> {
    let (options, program) = discovery(harness, way);
    let engine = start(Arc::clone(&harness.log), options, program)?;
    let lifecycle = Arc::clone(engine.lifecycle());
    engine.wait()?;
    Ok(lifecycle.corrections())
}

fn plan(harness: &Harness, way: Way) -> Result<Preview, EngineError> {
    let (options, program) = discovery(harness, way);
    preview(Arc::clone(&harness.log), options, program)
}

/// What the error says to do, checked to be about `topic`.
fn refused(harness: &Harness, way: Way, topic: &str, words: &[&str]) {
    for error in [run(harness, way).unwrap_err(), plan(harness, way).unwrap_err()] {
        let said = format!("{error}; {}", error.hint().unwrap_or_default());
        assert!(said.contains(&harness.config.runtime.full_name(topic)), "{topic}: {said}");
        assert!(said.contains("--rebuild"), "{said}");
        words.iter().for_each(|word| assert!(said.contains(word), "{word:?} in {said}"));
    }
}

fn ends(harness: &Harness) -> Vec<(String, i64)> {
    let end = |topic: &Topic| {
        let ends = harness.log.watermarks(&harness.config.runtime.full_name(&topic.name)).unwrap().unwrap();
        (topic.name.to_string(), ends.iter().map(|ends| ends.high).sum())
    };
    declare::<Discovery>(&harness.config).unwrap().catalog.topics().map(|(_, topic)| end(topic)).collect()
}

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

fn assert_same(before: &Results, after: &Results, what: &str) {
    // Repeats without a key are counted as newer in a rebuild, which changes no listing.
    assert_eq!(before.normal_listings(), after.normal_listings(), "listings {what}");
    for ((topic, before), (_, after)) in tables(before).into_iter().zip(tables(after)) {
        let differing = differing(before, after);
        assert!(topic == "listings" || differing.is_empty(), "{topic} {what}: {differing:?}");
    }
    assert_eq!(before.metrics, after.metrics, "metrics {what}");
    let letters = |results: &Results| results.dead_letters.iter().map(origin).collect::<Vec<_>>();
    assert_eq!(letters(before), letters(after), "dead letters {what}");
}

fn origin(letter: &LogRecord) -> [String; 4] {
    ["dead-letter-topic", "dead-letter-partition", "dead-letter-offset", "dead-letter-part"]
        .map(|name| support::header(letter, name))
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
    let before = harness.results();
    harness.config.topology.score.grades.a = Ratio::new(0.999);
    harness.config.topology.score.grades.b = Ratio::new(0.998);
    harness.config.topology.score.grades.c = Ratio::new(0.997);
    let share = plan(&harness, UNASKED).unwrap().report.unwrap().share();
    assert!(share > harness.config.runtime.engine.correction_guard, "{share}");
    let error = run(&harness, UNASKED).unwrap_err();
    let said = format!("{error}; {}", error.hint().unwrap());
    assert!(matches!(error, EngineError::TooManyCorrections { .. }), "{said}");
    assert!(said.contains("--yes") && said.contains("--plan") && said.contains("CHANGED"), "{said}");
    assert_same(&before, &harness.results(), "without consent");
    let report = run(&harness, Way { consent: true, ..UNASKED }).unwrap().unwrap();
    assert!(report.total() > 0);
}

#[test]
fn a_plan_disturbs_no_running_instance() {
    let mut harness = fed(Place::Embedded);
    let (options, program) = discovery(&harness, UNASKED);
    let running = EngineOptions { exit_when_idle: false, ..options };
    let engine = start(Arc::clone(&harness.log), running, program).unwrap();
    harness.config.topology.score.pass = Ratio::new(0.9);
    let settled = ends(&harness);
    let planned = plan(&harness, UNASKED).unwrap();
    assert!(planned.report.unwrap().total() > 0);
    assert_eq!(ends(&harness), settled, "a plan writes nothing");
    let letters = harness.records("dead-letters").len();
    harness.produce([Input { value: Some(b"{ not JSON".to_vec()), ..FEED[0].clone() }]);
    let deadline = Instant::now() + Duration::from_secs(60);
    while harness.records("dead-letters").len() == letters {
        assert!(!engine.ended() && Instant::now() < deadline, "the running instance goes on");
        std::thread::sleep(Duration::from_millis(20));
    }
    engine.lifecycle().stop();
    engine.wait().unwrap();
}

/// Writes a tombstone for every key of a topic.
fn bury(harness: &Harness, topic: &str, share: usize) {
    let keys: BTreeSet<Vec<u8>> = harness.records(topic).into_iter().filter_map(|record| record.key).collect();
    append(harness, topic, keys.into_iter().step_by(share).map(|key| (key, None)));
}

fn append(harness: &Harness, topic: &str, records: impl IntoIterator<Item = (Vec<u8>, Option<Vec<u8>>)>) {
    let mut producer = harness.log.producer().unwrap();
    for (key, value) in records {
        let topic = harness.config.runtime.full_name(topic).into();
        producer
            .send(NewRecord {
                topic,
                key: Some(key.into()),
                value: value.map(Into::into),
                headers: Vec::new(),
                timestamp_ms: None,
            })
            .unwrap();
    }
    producer.flush().unwrap();
}

#[test]
fn an_emptied_output_topic_is_filled_again() {
    let harness = fed(Place::Embedded);
    let before = harness.results();
    assert!(!before.place_requests.is_empty());
    for topic in ["events", "place-requests"] {
        bury(&harness, topic, 1);
        let report = run(&harness, UNASKED).unwrap().unwrap();
        let told = report.topics.iter().find(|told| told.topic == topic).unwrap();
        assert_eq!((report.total(), told.new), (told.new, tables(&before)[topic].len()), "{topic}");
        assert_same(&before, &harness.results(), topic);
    }
    // Which ids events took over from former ones is known from the links alone.
    bury(&harness, "links", 1);
    run(&harness, Way { consent: true, ..UNASKED }).unwrap();
    let after = harness.results();
    assert_eq!(normal(&before), normal(&after));
}

#[test]
fn output_topics_made_anew_on_kafka_are_filled_again() {
    let Some(place) = Place::kafka("emptied topics") else { return };
    let Place::Kafka(brokers) = place.clone() else { return };
    let harness = fed(place);
    let before = harness.results();
    let names = ["events", "place-requests"].map(|topic| harness.config.runtime.full_name(topic));
    remake(&harness, &brokers, &names);
    let planned = plan(&harness, UNASKED).unwrap();
    assert_eq!(planned.recovery.notes.len(), 2, "{:?}", planned.recovery.notes);
    run(&harness, UNASKED).unwrap();
    assert_same(&before, &harness.results(), "after topics were made anew");
    remake(&harness, &brokers, &[harness.config.runtime.full_name("listings")]);
    refused(&harness, UNASKED, "listings", &["made anew"]);
    run(&harness, REBUILD).unwrap();
    assert_same(&before, &harness.results(), "after a rebuild");
}

/// Deletes topics and makes them anew.
fn remake(harness: &Harness, brokers: &str, names: &[String]) {
    support::delete_topics(brokers, &names.iter().map(String::as_str).collect::<Vec<_>>());
    let deadline = Instant::now() + Duration::from_secs(60);
    let there = |name: &String| harness.log.watermarks(name).unwrap().is_some();
    while names.iter().any(there) {
        assert!(Instant::now() < deadline, "{names:?} are not deleted");
        std::thread::sleep(Duration::from_millis(100));
    }
    harness.log.ensure_topics(&harness.config.runtime.topic_specs()).unwrap();
}

/// Topic, key, what is written there, and a word that the error must hold.
type Damage<'a> = (&'a str, Vec<u8>, Option<&'a [u8]>, &'a str);

#[test]
fn lost_and_damaged_state_is_told_and_a_rebuild_mends_it() {
    let harness = fed(Place::Embedded);
    let before = harness.results();
    let key = |topic: &str| harness.records(topic).into_iter().rev().find(|record| record.value.is_some()).unwrap().key;
    let damages: [Damage<'_>; 6] = [
        ("listings", key("listings").unwrap(), Some(b"\xff\xfe"), "offset"),
        ("listings", key("listings").unwrap(), Some(br#"{"format":9,"news":true}"#), "format 9"),
        ("links", key("links").unwrap(), Some(br#"{"format":1}"#), "offset"),
        ("progress", b"progress".to_vec(), Some(b"{}"), "offset"),
        ("progress", b"progress".to_vec(), Some(br#"{"format":200}"#), "format 200"),
        ("progress", b"progress".to_vec(), None, "no progress record"),
    ];
    for (topic, key, value, word) in damages {
        append(&harness, topic, [(key, value.map(<[u8]>::to_vec))]);
        refused(&harness, UNASKED, topic, &[word]);
        run(&harness, REBUILD).unwrap();
        assert_same(&before, &harness.results(), &format!("after a rebuild: {topic}, {word}"));
        assert_eq!(run(&harness, UNASKED).unwrap().map_or(0, |report| report.total()), 0);
    }
    bury(&harness, "listings", 2);
    refused(&harness, UNASKED, "listings", &["lacks"]);
    run(&harness, REBUILD).unwrap();
    assert_same(&before, &harness.results(), "after a rebuild of buried listings");
}

#[test]
fn a_rebuild_finds_what_it_would_find_and_reads_on() {
    let harness = fed(Place::Embedded);
    let before = harness.results();
    let settled = ends(&harness);
    let planned = plan(&harness, Way { rebuild: true, consent: false }).unwrap();
    let wrong = planned.report.unwrap().topics.into_iter().filter(|topic| topic.total() > 0);
    // Claims without a key that were repeated; see `Register::repeat`.
    assert!(wrong.into_iter().all(|topic| topic.topic == "listings" && topic.changed < 30), "nothing was wrong");
    let rebuild = planned.recovery.rebuild.unwrap();
    assert_eq!((rebuild.records, rebuild.incomplete), (FEED.len() as u64, false));
    assert_eq!(rebuild.reaches_back_to, Some(BEGAN_MS));
    assert_eq!(ends(&harness), settled, "a plan writes nothing");
    run(&harness, Way { rebuild: true, consent: false }).unwrap();
    assert_same(&before, &harness.results(), "after a rebuild of what was well");
    // What was not read before is read once, with all that goes with it.
    let twin = fed(Place::Embedded);
    let more: Vec<Input> = FEED.iter().take(200).cloned().collect();
    for harness in [&harness, &twin] {
        harness.produce(more.iter().cloned());
    }
    let figures = twin.run(1);
    run(&harness, Way { rebuild: true, consent: false }).unwrap();
    assert_eq!(figures.records, more.len() as u64);
    let (rebuilt, went_on) = (harness.results(), twin.results());
    assert_eq!(normal(&rebuilt), normal(&went_on));
    assert_eq!(rebuilt.dead_by_code(), went_on.dead_by_code());
    let seen = |results: &Results| results.metrics.values().map(|row| row["seen"].as_u64().unwrap()).sum::<u64>();
    assert_eq!(seen(&rebuilt), seen(&went_on));
}

/// What the progress says now, with one field set.
fn set_progress(harness: &Harness, field: &str, value: Value) {
    let last = harness.records("progress").pop().unwrap();
    let mut progress: Value = serde_json::from_slice(last.value.as_deref().unwrap()).unwrap();
    progress[field] = value;
    append(harness, "progress", [(b"progress".to_vec(), Some(progress.to_string().into_bytes()))]);
}

#[test]
fn a_rebuild_that_was_interrupted_is_finished_by_the_next_start() {
    let harness = fed(Place::Embedded);
    let before = harness.results();
    // As after a crash among the corrections: half of the listings are not what they should be.
    bury(&harness, "listings", 2);
    bury(&harness, "events", 3);
    set_progress(&harness, "rebuilding", json!("begun"));
    let engine = started(&harness, UNASKED);
    assert!(engine.recovery.rebuild.is_some());
    engine.wait().unwrap();
    assert_same(&before, &harness.results(), "after an interrupted rebuild");
    assert_eq!(run(&harness, UNASKED).unwrap(), None);
    // One that is stopped while it reads begins again as well.
    let stopped = started(&harness, REBUILD);
    stopped.lifecycle().stop();
    stopped.wait().unwrap();
    let engine = started(&harness, UNASKED);
    assert!(engine.recovery.rebuild.is_some());
    engine.wait().unwrap();
    assert_same(&before, &harness.results(), "after a stopped rebuild");
}

#[test]
fn what_raw_topics_no_longer_hold_is_gone_after_consent() {
    let harness = fed(Place::Embedded);
    let before = harness.results();
    forget_raw_records(&harness, 0.5);
    run(&harness, UNASKED).unwrap();
    assert_same(&before, &harness.results(), "without a rebuild old raw records are not missed");
    let asked = Way { rebuild: true, consent: false };
    let planned = plan(&harness, asked).unwrap();
    let told = planned.recovery.rebuild.unwrap();
    assert!(told.incomplete && told.reaches_back_to.unwrap() > BEGAN_MS, "{told}");
    assert!(told.to_string().contains("older ones are gone"), "{told}");
    let error = run(&harness, asked).unwrap_err();
    assert!(matches!(error, EngineError::TooManyCorrections { .. }), "{error}");
    run(&harness, UNASKED).unwrap();
    assert_same(&before, &harness.results(), "a rebuild that was not agreed to leaves all as it was");
    let report = run(&harness, REBUILD).unwrap().unwrap();
    assert!(report.topics[1].removed > 50, "{report}");
    let after = harness.results();
    let left: BTreeSet<&String> = after.listings.keys().collect();
    assert!(left.iter().all(|id| before.listings.contains_key(*id)));
    let ids =
        |results: &Results| results.links.iter().map(|(id, link)| (id.clone(), link["eventId"].clone())).collect();
    let (was, is): (BTreeMap<_, _>, BTreeMap<_, _>) = (ids(&before), ids(&after));
    let kept = is.iter().filter(|(id, event)| was.get(*id) == Some(event)).count();
    assert!(kept * 10 > is.len() * 9, "{kept} of {} listings kept their event's id", is.len());
}

/// Removes the older part of every raw partition, as retention does.
fn forget_raw_records(harness: &Harness, share: f64) {
    let file = rusqlite::Connection::open(&harness.config.runtime.log.embedded.path).unwrap();
    let topic = harness.config.runtime.full_name("raw.events");
    let mut query =
        file.prepare("SELECT p.id, p.next FROM partitions p JOIN topics t ON t.id = p.topic WHERE t.name = ?").unwrap();
    let partitions: Vec<(i64, i64)> =
        query.query_map([topic], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect();
    for (id, next) in partitions {
        let low = (next as f64 * share) as i64;
        file.execute(&format!("DELETE FROM records_{id} WHERE offset < ?"), [low]).unwrap();
        file.execute("UPDATE partitions SET low = ? WHERE id = ?", [low, id]).unwrap();
    }
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
    // Not a record is read again, and nobody has to agree to anything.
    let engine = started(&harness, UNASKED);
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
