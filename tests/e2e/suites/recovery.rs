//! Recovery that heals: emptied and damaged topics, and rebuilds from the raw topics.
//!
//! The suite runs over any topology, see [`Subject`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use headwater::dataflow::EPOCH;
use headwater::engine::correction::Report;
use headwater::engine::{Engine, EngineError, EngineOptions, Preview, preview, start};
use headwater::error::Fault;
use headwater::log::{LogRecord, NewRecord};
use headwater::program::Program;
use headwater::run::{Declared, declare, engine_options};
use headwater::schema::Topic;
use serde_json::{Value, json};

use crate::subject::Tested;
use crate::support::subject::{Subject, compare, letters};
use crate::support::{Input, Place, delete_topics, header};

/// A topology under test with its log.
pub type Harness = crate::support::Harness<Tested>;

/// Some of everything.
pub static FEED: LazyLock<Vec<Input>> = LazyLock::new(|| Tested::stream(900));

/// The raw records among it.
fn raw() -> Vec<Input> {
    FEED.iter().filter(|input| input.topic == Tested::RAW).cloned().collect()
}

/// When the first of them was written.
fn began_ms() -> i64 {
    raw().iter().map(|input| input.timestamp_ms).min().unwrap()
}

pub fn empty(place: Place) -> Harness {
    Harness::configured(place, &format!("[engine]\nidle_partition_after = '3600 s'\n{}", Tested::sections()))
}

/// A topology that has processed the feed.
pub fn fed(place: Place) -> Harness {
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
pub struct Way {
    pub rebuild: bool,
    pub consent: bool,
}

pub const REBUILD: Way = Way { rebuild: true, consent: true };
pub const UNASKED: Way = Way { rebuild: false, consent: false };

pub fn program(harness: &Harness, way: Way) -> (EngineOptions, Program) {
    let Declared { catalog, program } =
        declare::<Tested>(&harness.config).unwrap_or_else(|invalid| panic!("{invalid:?}"));
    let mut options = engine_options(&harness.config.runtime, &catalog, true, way.consent);
    options.rebuild = way.rebuild;
    options.workers = 2;
    (options, program)
}

pub fn started(harness: &Harness, way: Way) -> Engine {
    let (options, program) = program(harness, way);
    start(Arc::clone(&harness.log), options, program).unwrap()
}

/// Runs until everything is processed; what was corrected at the start.
pub fn run(harness: &Harness, way: Way) -> Result<Option<Report>, EngineError> {
    let (options, program) = program(harness, way);
    let engine = start(Arc::clone(&harness.log), options, program)?;
    let lifecycle = Arc::clone(engine.lifecycle());
    engine.wait()?;
    Ok(lifecycle.corrections())
}

pub fn plan(harness: &Harness, way: Way) -> Result<Preview, EngineError> {
    let (options, program) = program(harness, way);
    preview(Arc::clone(&harness.log), options, program)
}

/// What the error says to do, checked to be about `topic`.
pub fn refused(harness: &Harness, way: Way, topic: &str, words: &[&str]) {
    for error in [run(harness, way).unwrap_err(), plan(harness, way).unwrap_err()] {
        let said = format!("{error}; {}", error.hint().unwrap_or_default());
        assert!(said.contains(&harness.config.runtime.full_name(topic)), "{topic}: {said}");
        assert!(said.contains("--rebuild"), "{said}");
        words.iter().for_each(|word| assert!(said.contains(word), "{word:?} in {said}"));
    }
}

pub fn ends(harness: &Harness) -> Vec<(String, i64)> {
    let end = |topic: &Topic| {
        let ends = harness.log.watermarks(&harness.config.runtime.full_name(&topic.name)).unwrap().unwrap();
        (topic.name.to_string(), ends.iter().map(|ends| ends.high).sum())
    };
    harness.catalog().topics().map(|(_, topic)| end(topic)).collect()
}

/// What a topology has come to.
pub struct Outcome {
    pub results: <Tested as Subject>::Results,
    letters: Vec<LogRecord>,
}

impl Outcome {
    pub fn of(harness: &Harness) -> Self {
        Self { results: harness.results(), letters: harness.records("dead-letters") }
    }
}

pub fn assert_same(before: &Outcome, after: &Outcome, what: &str) {
    let all = Tested::row_differences(&before.results, &after.results);
    assert!(all.is_empty(), "{what}: {:#?}", all.iter().take(20).collect::<Vec<_>>());
    let origins = |outcome: &Outcome| outcome.letters.iter().map(origin).collect::<Vec<_>>();
    assert_eq!(origins(before), origins(after), "dead letters {what}");
}

fn origin(letter: &LogRecord) -> [String; 4] {
    ["dead-letter-topic", "dead-letter-partition", "dead-letter-offset", "dead-letter-part"]
        .map(|name| header(letter, name))
}

#[test]
fn a_plan_disturbs_no_running_instance() {
    let harness = fed(Place::Embedded);
    let (options, program) = program(&harness, UNASKED);
    let running = EngineOptions { exit_when_idle: false, ..options };
    let engine = start(Arc::clone(&harness.log), running, program).unwrap();
    bury(&harness, Tested::ROWS[0], 2);
    let settled = ends(&harness);
    let planned = plan(&harness, UNASKED).unwrap();
    assert!(planned.report.unwrap().total() > 0);
    assert_eq!(ends(&harness), settled, "a plan writes nothing");
    let letters = harness.records("dead-letters").len();
    harness.produce([Input { value: Some(b"{ not JSON".to_vec()), ..raw().swap_remove(0) }]);
    let deadline = Instant::now() + Duration::from_secs(60);
    while harness.records("dead-letters").len() == letters {
        assert!(!engine.ended() && Instant::now() < deadline, "the running instance goes on");
        std::thread::sleep(Duration::from_millis(20));
    }
    engine.lifecycle().stop();
    engine.wait().unwrap();
}

/// Writes a tombstone for every key of a topic.
pub fn bury(harness: &Harness, topic: &str, share: usize) {
    let keys: BTreeSet<Vec<u8>> = harness.records(topic).into_iter().filter_map(|record| record.key).collect();
    append(harness, topic, keys.into_iter().step_by(share).map(|key| (key, None)));
}

/// Appends records as the engine would, with an epoch.
pub fn append(harness: &Harness, topic: &str, records: impl IntoIterator<Item = (Vec<u8>, Option<Vec<u8>>)>) {
    let mut producer = harness.log.producer().unwrap();
    for (key, value) in records {
        let topic = harness.config.runtime.full_name(topic).into();
        producer
            .send(NewRecord {
                topic,
                key: Some(key.into()),
                value: value.map(Into::into),
                headers: vec![(EPOCH.to_owned(), b"0".to_vec())],
                timestamp_ms: None,
            })
            .unwrap();
    }
    producer.flush().unwrap();
}

#[test]
fn an_emptied_output_topic_is_filled_again() {
    let harness = fed(Place::Embedded);
    let before = Outcome::of(&harness);
    for topic in Tested::ROWS {
        let rows = harness.table(topic).len();
        assert!(rows > 2, "{topic} holds {rows} rows");
        bury(&harness, topic, 1);
        let report = run(&harness, UNASKED).unwrap().unwrap();
        let told = report.topics.iter().find(|told| told.topic == *topic).unwrap();
        assert_eq!((report.total(), told.new), (told.new, rows), "{topic}");
        assert_same(&before, &Outcome::of(&harness), topic);
    }
    assert_eq!(run(&harness, UNASKED).unwrap(), None, "all is settled");
}

#[test]
fn output_topics_made_anew_on_kafka_are_filled_again() {
    let Some(place) = Place::kafka("emptied topics") else { return };
    let Place::Kafka(brokers) = place.clone() else { return };
    let harness = fed(place);
    let before = Outcome::of(&harness);
    let names: Vec<String> = Tested::ROWS.iter().map(|topic| harness.config.runtime.full_name(topic)).collect();
    remake(&harness, &brokers, &names);
    let planned = plan(&harness, UNASKED).unwrap();
    assert_eq!(planned.recovery.notes.len(), names.len(), "{:?}", planned.recovery.notes);
    run(&harness, UNASKED).unwrap();
    assert_same(&before, &Outcome::of(&harness), "after topics were made anew");
    remake(&harness, &brokers, &[harness.config.runtime.full_name(Tested::STATE)]);
    refused(&harness, UNASKED, Tested::STATE, &["made anew"]);
    run(&harness, REBUILD).unwrap();
    assert_same(&before, &Outcome::of(&harness), "after a rebuild");
}

/// Deletes topics and makes them anew.
fn remake(harness: &Harness, brokers: &str, names: &[String]) {
    delete_topics(brokers, &names.iter().map(String::as_str).collect::<Vec<_>>());
    let deadline = Instant::now() + Duration::from_secs(60);
    let there = |name: &String| harness.log.watermarks(name).unwrap().is_some();
    while names.iter().any(there) {
        assert!(Instant::now() < deadline, "{names:?} are not deleted");
        std::thread::sleep(Duration::from_millis(100));
    }
    harness.log.ensure_topics(&harness.config.runtime.topic_specs()).unwrap();
}

/// Topic, key, what is written there, and a word that the error must hold.
pub type Damage<'a> = (&'a str, Vec<u8>, Option<&'a [u8]>, &'a str);

/// A key of a topic.
pub fn key(harness: &Harness, topic: &str) -> Vec<u8> {
    harness.records(topic).into_iter().rev().find(|record| record.value.is_some()).unwrap().key.unwrap()
}

/// That each of these is told, and mended by a rebuild.
pub fn mended(harness: &Harness, damages: &[Damage<'_>]) {
    let before = Outcome::of(harness);
    for (topic, key, value, word) in damages {
        append(harness, topic, [(key.clone(), value.map(<[u8]>::to_vec))]);
        refused(harness, UNASKED, topic, &[word]);
        run(harness, REBUILD).unwrap();
        assert_same(&before, &Outcome::of(harness), &format!("after a rebuild: {topic}, {word}"));
        assert_eq!(run(harness, UNASKED).unwrap().map_or(0, |report| report.total()), 0);
    }
}

#[test]
fn lost_and_damaged_state_is_told_and_a_rebuild_mends_it() {
    let harness = fed(Place::Embedded);
    let before = Outcome::of(&harness);
    let key = key(&harness, Tested::STATE);
    let damages: [Damage<'_>; 5] = [
        (Tested::STATE, key.clone(), Some(b"\xff\xfe"), "offset"),
        (Tested::STATE, key, Some(br#"{"format":9,"news":true}"#), "format 9"),
        ("progress", b"progress".to_vec(), Some(b"{}"), "offset"),
        ("progress", b"progress".to_vec(), Some(br#"{"format":200}"#), "format 200"),
        ("progress", b"progress".to_vec(), None, "no progress record"),
    ];
    mended(&harness, &damages);
    bury(&harness, Tested::STATE, 2);
    run(&harness, REBUILD).unwrap();
    assert_same(&before, &Outcome::of(&harness), "after a rebuild of a buried state");
}

#[test]
fn a_rebuild_finds_what_it_would_find_and_reads_on() {
    let harness = fed(Place::Embedded);
    let before = Outcome::of(&harness);
    let settled = ends(&harness);
    let planned = plan(&harness, Way { rebuild: true, consent: false }).unwrap();
    let mut wrong = planned.report.unwrap().topics.into_iter().filter(|topic| topic.total() > 0);
    let expected = |topic: &headwater::engine::correction::TopicReport| {
        topic.topic == Tested::STATE
            && topic.total() == topic.changed
            && (0..=Tested::CHANGED_BY_REBUILDS).contains(&topic.changed)
    };
    assert!(wrong.all(|topic| expected(&topic)), "nothing was wrong");
    let rebuild = planned.recovery.rebuild.unwrap();
    assert_eq!((rebuild.records, rebuild.incomplete), (raw().len() as u64, false));
    assert_eq!(rebuild.reaches_back_to, Some(began_ms()));
    assert_eq!(ends(&harness), settled, "a plan writes nothing");
    run(&harness, Way { rebuild: true, consent: false }).unwrap();
    assert_same(&before, &Outcome::of(&harness), "after a rebuild of what was well");
    // What was not read before is read once, with all that goes with it.
    let twin = fed(Place::Embedded);
    let more: Vec<Input> = raw().into_iter().take(200).collect();
    for harness in [&harness, &twin] {
        harness.produce(more.iter().cloned());
    }
    let figures = twin.run(1);
    run(&harness, Way { rebuild: true, consent: false }).unwrap();
    assert_eq!(figures.records, more.len() as u64);
    let (rebuilt, went_on) = (Outcome::of(&harness), Outcome::of(&twin));
    let mut all = Tested::differences_when_late(&went_on.results, &rebuilt.results);
    compare(&mut all, "dead letter", &letters(&went_on.letters), &letters(&rebuilt.letters));
    assert!(all.is_empty(), "{:#?}", all.iter().take(20).collect::<Vec<_>>());
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
    let before = Outcome::of(&harness);
    // As after a crash among the corrections: half of the state is not what it should be.
    bury(&harness, Tested::STATE, 2);
    bury(&harness, Tested::ROWS[0], 3);
    set_progress(&harness, "rebuilding", json!("begun"));
    let engine = started(&harness, UNASKED);
    assert!(engine.recovery.rebuild.is_some());
    engine.wait().unwrap();
    assert_same(&before, &Outcome::of(&harness), "after an interrupted rebuild");
    assert_eq!(run(&harness, UNASKED).unwrap(), None);
    // One that is stopped while it reads begins again as well.
    let stopped = started(&harness, REBUILD);
    stopped.lifecycle().stop();
    stopped.wait().unwrap();
    let engine = started(&harness, UNASKED);
    assert!(engine.recovery.rebuild.is_some());
    engine.wait().unwrap();
    assert_same(&before, &Outcome::of(&harness), "after a stopped rebuild");
}

#[test]
fn what_raw_topics_no_longer_hold_is_gone_after_consent() {
    let harness = fed(Place::Embedded);
    let before = Outcome::of(&harness);
    let known: BTreeSet<String> = harness.table(Tested::STATE).into_keys().collect();
    forget_raw_records(&harness, 0.5);
    run(&harness, UNASKED).unwrap();
    assert_same(&before, &Outcome::of(&harness), "without a rebuild old raw records are not missed");
    let asked = Way { rebuild: true, consent: false };
    let planned = plan(&harness, asked).unwrap();
    let told = planned.recovery.rebuild.unwrap();
    assert!(told.incomplete && told.reaches_back_to.unwrap() > began_ms(), "{told}");
    assert!(told.to_string().contains("older ones are gone"), "{told}");
    let error = run(&harness, asked).unwrap_err();
    assert!(matches!(error, EngineError::TooManyCorrections { .. }), "{error}");
    run(&harness, UNASKED).unwrap();
    assert_same(&before, &Outcome::of(&harness), "a rebuild that was not agreed to leaves all as it was");
    let report = run(&harness, REBUILD).unwrap().unwrap();
    let state = report.topics.iter().find(|topic| topic.topic == Tested::STATE).unwrap();
    assert!(state.removed > 50, "{report}");
    let left: BTreeMap<String, Value> = harness.table(Tested::STATE);
    assert!(left.keys().all(|id| known.contains(id)));
    assert_eq!(left.len() + state.removed, known.len());
    assert_eq!(run(&harness, UNASKED).unwrap(), None, "all is settled");
}

/// Removes the older part of every raw partition, as retention does.
pub fn forget_raw_records(harness: &Harness, share: f64) {
    let file = rusqlite::Connection::open(&harness.config.runtime.log.embedded.path).unwrap();
    let topic = harness.config.runtime.full_name(Tested::RAW);
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
