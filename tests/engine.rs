//! The engine on the embedded log, with a small topology: the entries of documents, each a row.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use headwater::dataflow::{Flow, TopicNames};
use headwater::engine::{Engine, EngineError, EngineOptions, InputTopic, Pace, start};
use headwater::log::embedded::EmbeddedLog;
use headwater::log::memory::MemoryLog;
use headwater::log::{
    Cleanup, Log, LogError, LogRecord, NewRecord, Polled, Producer, Reader, Start, TopicInfo, TopicPartition,
    TopicSpec, Transaction, Transactional, Watermarks,
};
use headwater::program::{Fingerprints, Program};
use headwater::schema::{Catalog, Codec, Rows, Schema, Spec, State};
use headwater_flow::RawRecord;

/// A record `id=title;id=title` is a document with two entries. The next record of its key replaces it;
/// without a key it stays.
#[derive(Clone)]
struct Entries {
    documents: State<String, String>,
    events: Rows<String, String>,
    /// What its results depend on: a part of every row.
    results: u64,
}

/// A version of a document: its place in the log, and what it says.
type Version = (i64, Option<String>);

fn version(record: RawRecord) -> (String, Version) {
    let text = record.value.map(|value| String::from_utf8(value).unwrap());
    let key = record.key.map(|key| String::from_utf8(key).unwrap());
    let unkeyed = || format!("{}/{}", record.origin.partition, record.origin.offset);
    (key.unwrap_or_else(unkeyed), (record.origin.offset, text))
}

fn entries(text: &str) -> Vec<(String, String)> {
    let pairs = text.split(';').filter_map(|part| part.split_once('='));
    pairs.map(|(id, title)| (id.to_owned(), title.to_owned())).collect()
}

impl Entries {
    fn declare(results: u64) -> (Arc<Catalog>, Self) {
        let mut schema = Schema::default();
        let codec = Codec::new(
            |key: &String| key.clone().into(),
            |_, text: &String| serde_json::json!({"format": 1, "text": text}).to_string().into(),
        );
        let reader = headwater::schema::Reader::new(|key, value| {
            let value: serde_json::Value = serde_json::from_slice(value).map_err(|error| error.to_string())?;
            Ok((String::from_utf8_lossy(key).into_owned(), value["text"].as_str().unwrap_or_default().to_owned()))
        });
        let documents = schema.state("documents", codec, reader, Spec { rebuilt: true, ..Spec::default() });
        let rows = Codec::new(|id: &String| id.clone().into(), |_, title: &String| title.clone().into());
        let events = schema.rows("events", rows, Spec::default());
        (schema.freeze().unwrap(), Self { documents, events, results })
    }

    fn program(self) -> Program {
        let fingerprints = Fingerprints { results: self.results, extraction: 1 };
        Program::new(fingerprints, move |flow: &mut Flow<'_>| self.build(flow))
    }

    fn build(&self, flow: &mut Flow<'_>) {
        let results = self.results;
        // What was known is older than any record.
        let known = flow.restored_rows(&self.documents).map(|(key, text)| (key, (-1, Some(text))));
        let latest = flow.raw().map(version).concat(known).reduce(|_, versions, out: &mut Vec<(Version, isize)>| {
            out.extend(versions.last().map(|(version, _)| ((*version).clone(), 1)));
        });
        let documents = latest.flat_map(|(key, (_, text))| text.map(|text| (key, text)));
        let rows = documents.clone().flat_map(|(_, text)| entries(&text));
        flow.write(&self.documents, documents);
        flow.write(&self.events, rows.map(move |(id, title)| (id, format!("{title}/{results}"))));
    }
}

struct Bench {
    log: Arc<dyn Log>,
    _folder: Option<tempfile::TempDir>,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = EmbeddedLog::open(&folder.path().join("log.db")).unwrap();
        Self { _folder: Some(folder), ..Self::on(Arc::new(log)) }
    }

    fn on(log: Arc<dyn Log>) -> Self {
        let spec = |name: &str, partitions, cleanup| TopicSpec {
            name: format!("t.{name}"),
            partitions,
            replication: None,
            cleanup,
            max_record_bytes: 1 << 20,
            properties: BTreeMap::new(),
        };
        let mut specs = vec![spec("raw", 3, Cleanup::Delete { retention_ms: None })];
        specs.extend(Entries::declare(0).0.topics().map(|(_, topic)| spec(&topic.name, 2, Cleanup::Compact)));
        log.ensure_topics(&specs).unwrap();
        Self { log, _folder: None }
    }

    fn produce(&self, records: &[(Option<&str>, Option<&str>)]) {
        let mut producer = self.log.producer().unwrap();
        for (key, value) in records {
            producer
                .send(NewRecord {
                    topic: "t.raw".into(),
                    key: key.map(|key| key.to_owned().into()),
                    value: value.map(|value| value.to_owned().into()),
                    headers: Vec::new(),
                    timestamp_ms: None,
                })
                .unwrap();
        }
        producer.flush().unwrap();
    }

    /// Writes as somebody does who is not the engine.
    fn intrude(&self, topic: &str, records: &[(&str, Option<&str>)]) {
        let mut producer = self.log.producer().unwrap();
        for (key, value) in records {
            let (key, value) = (key.to_string().into(), value.map(|value| value.to_owned().into()));
            let topic = format!("t.{topic}").into();
            let record = NewRecord { topic, key: Some(key), value, headers: Vec::new(), timestamp_ms: None };
            producer.send(record).unwrap();
        }
        producer.flush().unwrap();
    }

    fn start(&self, workers: usize, exit_when_idle: bool, results: u64) -> Engine {
        self.start_on(Arc::clone(&self.log), workers, exit_when_idle, results)
    }

    fn start_on(&self, log: Arc<dyn Log>, workers: usize, exit_when_idle: bool, results: u64) -> Engine {
        let (options, program) = Self::options(workers, exit_when_idle, results);
        start(log, options, program).unwrap()
    }

    fn options(workers: usize, exit_when_idle: bool, results: u64) -> (EngineOptions, Program) {
        let (catalog, entries) = Entries::declare(results);
        let options = EngineOptions {
            name: "t".to_owned(),
            names: Arc::new(TopicNames::new("t.", &catalog)),
            catalog,
            inputs: BTreeMap::from([("t.raw".into(), InputTopic { source: Some("s".into()), content_type: None })]),
            workers,
            pace: Pace { interval: Duration::from_millis(20), max_epochs: 4, max_bytes: 1 << 20 },
            idle_after: Duration::from_secs(1),
            max_timestamp_lead: None,
            look_for_partitions: Duration::from_millis(100),
            limits: Arc::from([]),
            member_spec: Arc::new(|name| TopicSpec {
                name: format!("t.{name}"),
                partitions: 1,
                replication: None,
                cleanup: Cleanup::Delete { retention_ms: None },
                max_record_bytes: 1 << 20,
                properties: BTreeMap::new(),
            }),
            correction_batch: 2,
            correction_guard: None,
            stage_metrics: true,
            rebuild: false,
            skip_gaps: false,
            exit_when_idle,
            preview: false,
            cluster: None,
            serialise_exchange: true,
        };
        (options, entries.program())
    }

    /// Runs until everything produced so far is committed.
    fn run(&self, workers: usize, results: u64) -> u64 {
        let engine = self.start(workers, true, results);
        let lifecycle = Arc::clone(engine.lifecycle());
        engine.wait().unwrap();
        lifecycle.counters.corrections.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn records(&self, topic: &str) -> Vec<LogRecord> {
        let topic = format!("t.{topic}");
        let partitions = self.log.watermarks(&topic).unwrap().unwrap().len();
        let starts: Vec<_> =
            (0..partitions).map(|p| (TopicPartition::new(topic.as_str(), p as i32), Start::Beginning)).collect();
        let mut reader = self.log.reader(&starts).unwrap();
        let (mut ended, mut records) = (0, Vec::new());
        while ended < partitions {
            let mut batch = Vec::new();
            reader.poll(&mut batch, 1 << 20, Duration::from_millis(100)).unwrap();
            for polled in batch {
                match polled {
                    Polled::Record(record) => records.push(record),
                    Polled::End { .. } => ended += 1,
                }
            }
        }
        records
    }

    fn rows(&self) -> Vec<String> {
        let mut rows = BTreeMap::new();
        for record in self.records("events") {
            match record.value {
                Some(value) => rows.insert(record.key, String::from_utf8(value).unwrap()),
                None => rows.remove(&record.key),
            };
        }
        let mut rows: Vec<String> = rows.into_values().collect();
        rows.sort();
        rows
    }
}

#[test]
fn records_become_rows_and_documents_replace_theirs() {
    let bench = Bench::new();
    bench.produce(&[(Some("d1"), Some("a=A;b=B")), (None, Some("c=C")), (Some("d2"), Some("x=X"))]);
    bench.run(1, 1);
    assert_eq!(bench.rows(), ["A/1", "B/1", "C/1", "X/1"]);
    bench.produce(&[(Some("d1"), Some("a=A2")), (Some("d2"), None)]);
    bench.run(2, 1);
    assert_eq!(bench.rows(), ["A2/1", "C/1"]);
    bench.run(3, 1);
    assert_eq!(bench.rows(), ["A2/1", "C/1"]);
}

#[test]
fn an_orderly_restart_trusts_the_outputs_and_writes_nothing() {
    let bench = Bench::new();
    bench.produce(&[(Some("d1"), Some("a=A;b=B"))]);
    bench.run(1, 1);
    let before = bench.records("events");
    let engine = bench.start(2, true, 1);
    assert_eq!(engine.recovery.compared, None);
    engine.wait().unwrap();
    assert_eq!(bench.records("events"), before);
}

#[test]
fn a_restart_knows_how_far_its_inputs_are_committed_before_it_commits_anything() {
    let bench = Bench::new();
    bench.produce(&[(Some("d1"), Some("a=A")), (None, Some("b=B")), (Some("d2"), Some("c=C"))]);
    bench.run(1, 1);
    let ends = bench.log.watermarks("t.raw").unwrap().unwrap();
    let engine = bench.start(1, false, 1);
    let deadline = Instant::now() + Duration::from_secs(20);
    for (partition, ends) in (0..).zip(ends).filter(|(_, ends)| ends.high > 0) {
        let at = TopicPartition::new("t.raw", partition);
        while engine.lifecycle().position(&at) != Some(ends.high) {
            assert!(Instant::now() < deadline, "{at:?}: {:?} of {}", engine.lifecycle().position(&at), ends.high);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    assert_eq!(engine.lifecycle().counters.commits.load(std::sync::atomic::Ordering::Relaxed), 0);
    engine.lifecycle().stop();
    engine.wait().unwrap();
}

#[test]
fn a_changed_configuration_corrects_only_what_differs() {
    let bench = Bench::new();
    bench.produce(&[(Some("d1"), Some("a=A;b=B;c=C"))]);
    assert_eq!(bench.run(1, 1), 0);
    assert_eq!(bench.run(1, 2), 3);
    assert_eq!(bench.rows(), ["A/2", "B/2", "C/2"]);
    assert_eq!(bench.run(1, 2), 0);
}

#[test]
fn a_damaged_output_heals() {
    let bench = Bench::new();
    bench.produce(&[(Some("d1"), Some("a=A;b=B"))]);
    bench.run(1, 1);
    let key = String::from_utf8(bench.records("events")[0].key.clone().unwrap()).unwrap();
    bench.intrude("events", &[("nonsense", Some("x")), (&key, None)]);
    assert_eq!(bench.rows().len(), 2);
    assert_eq!(bench.run(1, 1), 2);
    assert_eq!(bench.rows(), ["A/1", "B/1"]);
}

#[test]
fn what_others_write_into_a_state_topic_is_skipped_and_written_over() {
    let bench = Bench::new();
    bench.produce(&[(Some("d1"), Some("a=A;b=B")), (Some("d2"), Some("c=C")), (Some("d3"), Some("d=D"))]);
    bench.run(2, 1);
    bench.intrude("documents", &[("d1", Some("no JSON")), ("d2", None), ("stranger", Some("{}"))]);
    assert_eq!(bench.run(2, 1), 3, "d1 and d2 are written again, the stranger is removed");
    assert_eq!(bench.rows(), ["A/1", "B/1", "C/1", "D/1"]);
    assert_eq!(bench.run(2, 2), 4, "a comparison finds the state as it was");
    assert_eq!(bench.rows(), ["A/2", "B/2", "C/2", "D/2"]);
    bench.produce(&[(Some("d1"), Some("a=A2")), (Some("d2"), None)]);
    bench.run(1, 2);
    assert_eq!(bench.rows(), ["A2/2", "D/2"]);
}

#[test]
fn what_others_have_written_does_not_keep_a_first_start_from_working() {
    let bench = Bench::new();
    bench.intrude("documents", &[("stranger", Some("no JSON"))]);
    bench.produce(&[(Some("d1"), Some("a=A"))]);
    bench.run(1, 1);
    assert_eq!(bench.rows(), ["A/1"]);
}

/// Starts with or without skipping gaps, and runs until everything is committed.
fn run_over_gaps(bench: &Bench, skip_gaps: bool) -> Result<Vec<String>, EngineError> {
    let (options, program) = Bench::options(2, true, 1);
    let engine = start(Arc::clone(&bench.log), EngineOptions { skip_gaps, ..options }, program)?;
    let notes = engine.recovery.notes.clone();
    engine.wait()?;
    Ok(notes)
}

#[test]
fn a_raw_topic_made_anew_is_told_and_what_it_holds_is_read_where_that_is_asked_for() {
    for fewer in [true, false] {
        let memory = MemoryLog::new();
        let bench = Bench::on(Arc::new(memory.clone()));
        bench.produce(&[(Some("d1"), Some("a=A")), (Some("d2"), Some("b=B")), (Some("d3"), Some("c=C"))]);
        bench.run(1, 1);
        memory.create("t.raw", 3);
        let again: Vec<_> = (0..if fewer { 0 } else { 40 }).map(|n| (format!("n{n}"), format!("n{n}=N{n}"))).collect();
        bench.produce(&again.iter().map(|(key, value)| (Some(&**key), Some(&**value))).collect::<Vec<_>>());
        let error = run_over_gaps(&bench, false).unwrap_err();
        assert!(matches!(error, EngineError::Gaps { .. }) && error.to_string().contains("made anew"), "{error}");
        let notes = run_over_gaps(&bench, true).unwrap();
        assert!(notes.iter().any(|note| note.ends_with("reading goes on at offset 0")), "{notes:?}");
        assert_eq!(bench.rows().len(), 3 + again.len(), "nothing is lost, and nothing new is skipped");
        assert_eq!(run_over_gaps(&bench, false).unwrap(), Vec::<String>::new(), "once is enough");
        bench.produce(&[(Some("d1"), Some("a=A2"))]);
        bench.run(1, 1);
        assert!(bench.rows().contains(&"A2/1".to_owned()));
    }
}

#[test]
fn records_that_retention_took_unread_are_told_and_skipped_where_that_is_asked_for() {
    let memory = MemoryLog::new();
    let bench = Bench::on(Arc::new(memory.clone()));
    bench.produce(&[(Some("d1"), Some("a=A")), (Some("d2"), Some("b=B"))]);
    bench.run(1, 1);
    bench.produce(&[(Some("d1"), Some("a=A2")), (Some("d1"), Some("a=A3"))]);
    let ends = bench.log.watermarks("t.raw").unwrap().unwrap();
    let (partition, ends) = (0..).zip(ends).max_by_key(|(_, ends)| ends.high).unwrap();
    memory.expire("t.raw", partition, ends.high).unwrap();
    let error = run_over_gaps(&bench, false).unwrap_err();
    assert!(error.to_string().contains("removed before they were read"), "{error}");
    run_over_gaps(&bench, true).unwrap();
    assert_eq!(bench.rows(), ["A/1", "B/1"], "what is known is kept");
    assert_eq!(run_over_gaps(&bench, false).unwrap(), Vec::<String>::new(), "once is enough");
}

#[test]
fn a_running_engine_follows_its_input_and_stops_in_order() {
    let bench = Bench::new();
    let engine = bench.start(2, false, 1);
    let deadline = Instant::now() + Duration::from_secs(20);
    for round in 0..10 {
        bench.produce(&[(Some("d"), Some(&format!("a=A{round}")))]);
        while bench.rows() != [format!("A{round}/1")] {
            assert!(Instant::now() < deadline, "round {round}: {:?}", bench.rows());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    engine.lifecycle().stop();
    engine.wait().unwrap();
    assert_eq!(bench.rows(), ["A9/1"]);
}

#[test]
fn a_second_instance_fences_the_first() {
    let bench = Bench::new();
    let first = bench.start(1, false, 1);
    bench.produce(&[(Some("d"), Some("a=A"))]);
    let second = bench.start(1, false, 1);
    bench.produce(&[(Some("d"), Some("a=A2"))]);
    let error = first.wait().unwrap_err();
    assert!(error.to_string().contains("fenced"), "{error}");
    let deadline = Instant::now() + Duration::from_secs(20);
    while bench.rows() != ["A2/1"] {
        assert!(Instant::now() < deadline, "{:?}", bench.rows());
        std::thread::sleep(Duration::from_millis(5));
    }
    second.lifecycle().stop();
    second.wait().unwrap();
}

/// How a writer is lost.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Loss {
    /// Before anything of the transaction is there.
    Before,
    /// The transaction is committed, but nobody says so.
    After,
    /// Another instance commits something instead.
    Overtaken,
}

/// A log whose writers are lost at every third commit.
struct Losing {
    log: Arc<dyn Log>,
    loss: Loss,
    opened: std::sync::atomic::AtomicUsize,
}

struct LosingWriter {
    writer: Box<dyn Transactional>,
    log: Arc<dyn Log>,
    loss: Loss,
    commits: usize,
    lost: bool,
}

impl Transactional for LosingWriter {
    fn commit(&mut self, transaction: &Transaction) -> Result<(), LogError> {
        assert!(!self.lost, "a lost writer was used again");
        self.commits += 1;
        if !self.commits.is_multiple_of(3) {
            return self.writer.commit(transaction);
        }
        self.lost = true;
        match self.loss {
            Loss::Before => {}
            Loss::After => self.writer.commit(transaction)?,
            Loss::Overtaken => {
                let mut progress = transaction.records.last().unwrap().clone();
                progress.headers.clear();
                let records = vec![progress];
                let headers = transaction.headers.clone();
                let overtaking = Transaction { records, headers, ..Transaction::default() };
                self.log.transactional("t", "t")?.commit(&overtaking)?;
            }
        }
        Err(LogError::Stranded { id: "t".to_owned(), seconds: 30 })
    }

    fn check(&mut self, positions: Vec<(TopicPartition, i64)>) -> Result<(), LogError> {
        self.writer.check(positions)
    }
}

impl Log for Losing {
    fn describe(&self) -> String {
        self.log.describe()
    }
    fn check(&self, timeout: Duration) -> Result<(), LogError> {
        self.log.check(timeout)
    }
    fn ensure_topics(&self, specs: &[TopicSpec]) -> Result<(), LogError> {
        self.log.ensure_topics(specs)
    }
    fn topics(&self, prefix: &str) -> Result<Vec<TopicInfo>, LogError> {
        self.log.topics(prefix)
    }
    fn watermarks(&self, topic: &str) -> Result<Option<Vec<Watermarks>>, LogError> {
        self.log.watermarks(topic)
    }
    fn reader(&self, partitions: &[(TopicPartition, Start)]) -> Result<Box<dyn Reader>, LogError> {
        self.log.reader(partitions)
    }
    fn producer(&self) -> Result<Box<dyn Producer>, LogError> {
        self.log.producer()
    }
    fn transactional(&self, id: &str, group: &str) -> Result<Box<dyn Transactional>, LogError> {
        self.opened.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let writer = self.log.transactional(id, group)?;
        Ok(Box::new(LosingWriter { writer, log: Arc::clone(&self.log), loss: self.loss, commits: 0, lost: false }))
    }
}

/// Produces round after round through writers that are lost all the time; how many writers it took.
fn with_losses(loss: Loss) -> (Bench, usize) {
    let bench = Bench::new();
    let log = Arc::new(Losing { log: Arc::clone(&bench.log), loss, opened: Default::default() });
    let engine = bench.start_on(Arc::clone(&log) as Arc<dyn Log>, 2, false, 1);
    let deadline = Instant::now() + Duration::from_secs(30);
    for round in 0..12 {
        bench.produce(&[(Some("d"), Some(&format!("a=A{round}"))), (None, Some(&format!("r{round}=R")))]);
        while !bench.rows().contains(&format!("A{round}/1")) {
            assert!(Instant::now() < deadline, "round {round}: {:?}", bench.rows());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    engine.lifecycle().stop();
    engine.wait().unwrap();
    let opened = log.opened.load(std::sync::atomic::Ordering::Relaxed);
    (bench, opened)
}

#[test]
fn a_lost_writer_is_opened_anew_and_nothing_is_lost_or_doubled() {
    for loss in [Loss::Before, Loss::After] {
        let (bench, opened) = with_losses(loss);
        assert!(opened > 3, "{loss:?}: {opened}");
        assert_eq!(bench.rows().len(), 13, "{loss:?}");
        // Every version of the listing was written once, and so was every other row.
        let events = bench.records("events");
        let mut written: Vec<_> = events.iter().map(|record| (&record.key, &record.value)).collect();
        let count = written.len();
        written.sort();
        written.dedup();
        assert_eq!(written.len(), count, "{loss:?}: rows were written twice");
        assert_eq!(bench.run(1, 1), 0, "{loss:?}: the outputs had to be corrected");
    }
}

#[test]
fn a_lost_writer_that_was_overtaken_is_not_opened_anew() {
    let bench = Bench::new();
    let log = Arc::new(Losing { log: Arc::clone(&bench.log), loss: Loss::Overtaken, opened: Default::default() });
    let engine = bench.start_on(Arc::clone(&log) as Arc<dyn Log>, 1, false, 1);
    bench.produce(&[(Some("d"), Some("a=A"))]);
    let error = engine.wait().unwrap_err();
    assert!(error.to_string().contains("fenced"), "{error}");
    assert_eq!(log.opened.load(std::sync::atomic::Ordering::Relaxed), 1);
}
