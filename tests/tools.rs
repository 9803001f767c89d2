//! The tools against the embedded log.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use headwater::admin::AdminServer;
use headwater::config::{Config, Input, Invalid, Role, Runtime, Section, Size, Sources, TopicRole};
use headwater::error::{Domain, Fault};
use headwater::log::embedded::EmbeddedLog;
use headwater::log::{Log, NewRecord};
use headwater::telemetry::Metrics;
use headwater::tools::ToolError;
use headwater::tools::check::check;
use headwater::tools::consume::{ConsumeOptions, consume};
use headwater::tools::dead_letters::{Examine, Objection, ReplayOptions, replay};
use headwater::tools::open_log;
use headwater::tools::produce::{KeyRule, ProduceError, ProduceOptions, Produced, SourceRule, produce};
use headwater::tools::topics::topics;
use headwater::view::ViewSpec;
use headwater_flow::raw::RawRecord;
use serde_json::Value;
use tempfile::TempDir;

/// A topology without sections of its own.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Plain {}

impl Section for Plain {
    const NAME: &'static str = "plain";
    const PREFIX: &'static str = "headwater.";
    const INPUT: &'static str = "raw.events";

    fn topics(&self) -> Vec<TopicRole> {
        vec![("events".into(), Role::Compacted), ("sold.".into(), Role::Family), ("prices".into(), Role::Table)]
    }

    fn validate(&self, _runtime: &Runtime) -> Vec<Invalid> {
        Vec::new()
    }
}

fn runtime() -> Runtime {
    Config::<Plain>::default().runtime
}

/// A topology that reads everything but what it is said to be rot.
struct Picky;

impl Examine for Picky {
    fn subjects(&self, _record: RawRecord) -> Vec<u128> {
        Vec::new()
    }

    fn failures(&self, _record: RawRecord) -> Vec<&'static str> {
        Vec::new()
    }

    fn objection(&self, record: RawRecord) -> Option<Objection> {
        let rotten = record.source.as_deref() == Some("rot") || record.content_type.as_deref() == Some("text/rot");
        rotten.then(|| Objection { reason: "it is rot".to_owned(), hint: "send something fresh".to_owned() })
    }
}

/// A folder with a log and files to produce.
struct Bench {
    folder: TempDir,
    config: Runtime,
    log: EmbeddedLog,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = EmbeddedLog::open(&folder.path().join("log.db")).unwrap();
        Self { config: runtime(), log, folder }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn produce(&self, options: ProduceOptions) -> Result<Produced, ProduceError> {
        self.produce_to("raw.events", options)
    }

    fn produce_to(&self, topic: &str, options: ProduceOptions) -> Result<Produced, ProduceError> {
        produce(&self.log, &self.config, Some(&Picky), &ProduceOptions { topic: topic.to_owned(), ..options })
    }

    /// All records of the topic, each as `--json` shows it, by value.
    fn records(&self) -> Vec<Value> {
        let options = ConsumeOptions {
            topic: "raw.events".to_owned(),
            exit_at_end: true,
            json: true,
            ..ConsumeOptions::default()
        };
        let mut records: Vec<Value> =
            self.consume(&options).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        records.sort_by_key(|record| record["value"].to_string());
        records
    }

    fn consume(&self, options: &ConsumeOptions) -> String {
        let mut out = Vec::new();
        consume(&self.log, &self.config, options, &AtomicBool::new(false), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }
}

#[test]
fn json_lines_are_records_without_a_key() {
    let bench = Bench::new();
    let file = bench.file("a.jsonl", "{\"id\":1}\r\n\n{\"id\":2}");
    let source = SourceRule::Name("meetup".to_owned());
    let done = bench.produce(ProduceOptions { files: vec![file], source, ..Default::default() }).unwrap();
    assert_eq!((done.topic.as_str(), done.files, done.records, done.bytes), ("headwater.raw.events", 1, 2, 16));
    let records = bench.records();
    assert_eq!(records.len(), 2);
    assert_eq!(records[0]["value"]["id"], 1);
    assert_eq!(records[0]["key"], Value::Null);
    assert_eq!(records[0]["topic"], "headwater.raw.events");
    assert_eq!(records[0]["headers"], serde_json::json!({"source": "meetup", "content-type": "application/json"}));
}

#[test]
fn whole_files_are_documents_keyed_by_name() {
    let bench = Bench::new();
    bench.file("feeds/one.ics", "BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n");
    bench.file("feeds/deeper/two.json", "{\n  \"n\": 1\n}\n");
    bench.file("feeds/.hidden", "x");
    let lines = bench.file("three.json", "{\"n\":2}\n{\"n\":3}\n");
    let files = vec![bench.folder.path().join("feeds"), lines];
    let done = bench.produce(ProduceOptions { files, source: SourceRule::FileName, ..Default::default() }).unwrap();
    assert_eq!((done.files, done.records), (3, 4));
    let by_value: BTreeMap<String, Value> =
        bench.records().into_iter().map(|record| (record["value"].to_string(), record)).collect();
    let calendar = &by_value["\"BEGIN:VCALENDAR\\r\\nEND:VCALENDAR\\r\\n\""];
    assert_eq!((&calendar["key"], &calendar["headers"]["source"]), (&"one".into(), &"one".into()));
    assert_eq!(calendar["headers"]["content-type"], "text/calendar");
    assert_eq!(by_value["{\"n\":1}"]["key"], "two");
    assert_eq!(by_value["{\"n\":2}"]["key"], Value::Null);
    assert_eq!(by_value["{\"n\":3}"]["headers"]["source"], "three");
}

#[test]
fn keys_come_from_where_they_are_asked_for() {
    let bench = Bench::new();
    let file = bench.file("a.jsonl", "{\"a\":{\"id\":7}}\n");
    let calendar = bench.file("b.ics", "x");
    for key in [KeyRule::Pointer("/a/id".to_owned()), KeyRule::Text("fixed".to_owned()), KeyRule::None] {
        bench.produce(ProduceOptions { files: vec![file.clone()], key, ..Default::default() }).unwrap();
    }
    let key = KeyRule::None;
    bench.produce(ProduceOptions { files: vec![calendar], key, ..Default::default() }).unwrap();
    let mut keys: Vec<String> = bench.records().iter().map(|record| record["key"].to_string()).collect();
    keys.sort();
    assert_eq!(keys, ["\"7\"", "\"fixed\"", "null", "null"]);
}

#[test]
fn a_line_without_its_key_is_named_and_not_sent() {
    let bench = Bench::new();
    let file = bench.file("a.jsonl", "{\"id\":1}\n{\"id\":\n{\"no\":1}\n{\"id\":[]}\n{\"id\":5}\n");
    let key = KeyRule::Pointer("/id".to_owned());
    let options = ProduceOptions { files: vec![file.clone()], key, ..Default::default() };
    let error = bench.produce(options.clone()).unwrap_err();
    assert!(error.to_string().starts_with(&format!("{}:2: not JSON: EOF", file.display())), "{error}");
    assert_eq!(error.domain(), Domain::User);
    assert_eq!(bench.records().len(), 1);
    let done = bench.produce(ProduceOptions { keep_going: true, ..options }).unwrap();
    assert_eq!((done.records, done.left_out), (2, 3));
}

#[test]
fn a_record_that_is_too_large_is_named() {
    let mut bench = Bench::new();
    bench.config.topics.max_raw_record = Size::kib(1);
    let file = bench.file("a.jsonl", &format!("\"{}\"\n\"small\"\n", "x".repeat(2000)));
    let options = ProduceOptions { files: vec![file], ..Default::default() };
    let error = bench.produce(options.clone()).unwrap_err().to_string();
    assert!(error.contains("a.jsonl:1: ") && error.contains("takes up to 1024"), "{error}");
    let done = bench.produce(ProduceOptions { keep_going: true, ..options }).unwrap();
    assert_eq!((done.records, done.left_out), (1, 1));
}

#[test]
fn a_configured_content_type_is_not_overruled_by_a_guess() {
    let mut bench = Bench::new();
    bench.config.inputs =
        vec![Input { content_type: Some("application/ld+json".to_owned()), ..Input::of("raw.events") }];
    let file = bench.file("a.jsonl", "1\n");
    let options = ProduceOptions { files: vec![file], ..Default::default() };
    bench.produce(options.clone()).unwrap();
    bench.produce(ProduceOptions { content_type: Some("application/x-ndjson".to_owned()), ..options }).unwrap();
    let types: Vec<Value> = bench.records().iter().map(|record| record["headers"]["content-type"].clone()).collect();
    assert!(types.contains(&Value::Null) && types.contains(&"application/json".into()), "{types:?}");
}

#[test]
fn topics_that_the_topology_writes_are_refused_and_tables_are_not() {
    let bench = Bench::new();
    let file = bench.file("a.jsonl", "{}\n");
    let to = |topic: &str| {
        let (files, key) = (vec![file.clone()], KeyRule::Text("k".to_owned()));
        bench.produce_to(topic, ProduceOptions { files, key, create: true, force: true, ..Default::default() })
    };
    let own = ["events", "headwater.events", "sold.tickets", "dead-letters", "replays", "progress"];
    for topic in own {
        let error = to(topic).unwrap_err();
        assert!(matches!(&error, ProduceError::Tool(ToolError::OwnTopic { .. })), "{topic}: {error}");
        let named =
            format!("\"headwater.{}\" is a topic that the topology itself writes", topic.replace("headwater.", ""));
        assert!(error.to_string().starts_with(&named), "{error}");
        assert!(
            error
                .hint()
                .unwrap()
                .starts_with("write raw records, and the tables that it reads, such as raw.events, prices;")
        );
        assert_eq!(error.domain(), Domain::User);
    }
    assert!(bench.log.topics("").unwrap().is_empty(), "nothing was made");
    for topic in ["prices", "raw.events", "elsewhere"] {
        assert_eq!(to(topic).unwrap().records, 1, "{topic}");
    }
    let error = bench.produce_to("prices", ProduceOptions { files: vec![file], ..Default::default() }).unwrap_err();
    assert_eq!(
        (error.domain(), error.to_string().contains("a.jsonl:1: headwater.prices is a table")),
        (Domain::User, true),
        "{error}"
    );
}

#[test]
fn a_broken_json_file_is_one_record_and_lines_with_a_broken_one_are_lines() {
    let bench = Bench::new();
    let broken = "[\n  {\"id\": 1},\n  {\"id\": 2,}\n]\n";
    let files = vec![bench.file("broken.json", broken), bench.file("lines.json", "{\"id\":1}\n{\"id\":\n{\"id\":3}\n")];
    let done = bench.produce(ProduceOptions { files, ..Default::default() }).unwrap();
    assert_eq!((done.files, done.records), (2, 4));
    let keyed: Vec<Value> = bench.records().into_iter().filter(|record| !record["key"].is_null()).collect();
    assert_eq!((keyed.len(), &keyed[0]["key"], &keyed[0]["value"]), (1, &"broken".into(), &broken.into()));
}

#[test]
fn a_content_type_decides_how_a_file_is_cut() {
    let bench = Bench::new();
    let file = bench.file("a.json", "{\"n\":1}\n{\"n\":2}\n");
    let produced = |content_type: &str| {
        let options = ProduceOptions {
            files: vec![file.clone()],
            content_type: Some(content_type.to_owned()),
            ..Default::default()
        };
        bench.produce(options).unwrap().records
    };
    assert_eq!(["text/calendar", "application/x-ndjson", "application/ld+json"].map(produced), [1, 2, 2]);
}

#[test]
fn tombstones_are_written_under_their_keys() {
    let bench = Bench::new();
    let tombstones = vec!["a".to_owned(), "b".to_owned()];
    let source = SourceRule::Name("city".to_owned());
    let done = bench.produce(ProduceOptions { tombstones, source, ..Default::default() }).unwrap();
    assert_eq!((done.files, done.records, done.tombstones), (0, 2, 2));
    assert_eq!(done.to_string(), "2 tombstones to headwater.raw.events");
    let records = bench.records();
    let mut keys: Vec<&Value> = records.iter().map(|record| &record["key"]).collect();
    keys.sort_by_key(|key| key.to_string());
    assert_eq!(keys, ["a", "b"]);
    assert!(records.iter().all(|record| record["value"].is_null() && record["headers"]["source"] == "city"));
}

#[test]
fn an_empty_file_is_counted_and_no_record() {
    let bench = Bench::new();
    let files = ["a.ics", "b.json", "c.jsonl"].map(|name| bench.file(name, " \n\n")).to_vec();
    let done = bench.produce(ProduceOptions { files, ..Default::default() }).unwrap();
    assert_eq!((done.files, done.empty, done.records), (3, 3, 0));
    assert!(done.to_string().ends_with("; 3 empty"), "{done}");
}

#[test]
fn what_the_topology_would_not_look_at_is_refused_before_anything_is_written() {
    let mut bench = Bench::new();
    let files = vec![bench.file("a.jsonl", "1\n"), bench.file("b.ics", "x")];
    let rot = Some("text/rot".to_owned());
    let by_type = ProduceOptions { files: files.clone(), content_type: rot.clone(), ..Default::default() };
    let by_source =
        ProduceOptions { files: files.clone(), source: SourceRule::Name("rot".to_owned()), ..Default::default() };
    let withdrawn = ProduceOptions { tombstones: vec!["k".to_owned()], files: Vec::new(), ..by_source.clone() };
    for options in [&by_type, &by_source, &withdrawn] {
        let error = bench.produce(options.clone()).unwrap_err();
        assert!(error.to_string().ends_with("every record would become a dead letter: it is rot"), "{error}");
        assert_eq!(error.hint().unwrap(), "send something fresh; `produce --force` writes it as it is");
        assert_eq!(error.domain(), Domain::User);
    }
    assert!(bench.log.topics("").unwrap().is_empty());
    let keyed = ProduceOptions { key: KeyRule::Text("k".to_owned()), ..by_source.clone() };
    assert_eq!(bench.produce_to("prices", keyed).unwrap().records, 2, "a table is no input");
    assert_eq!(bench.produce(ProduceOptions { force: true, ..by_source }).unwrap().records, 2);
    // What the topic is configured with counts as what the record says.
    bench.config.inputs = vec![Input { source: Some("rot".to_owned()), ..Input::of("raw.events") }];
    assert!(bench.produce(ProduceOptions { files, ..Default::default() }).is_err());
}

#[test]
fn files_of_one_name_have_their_paths_as_keys() {
    let bench = Bench::new();
    for path in ["north/events.ics", "south/events.ics", "south/only.ics", "south/events.jsonl"] {
        bench.file(path, "1\n");
    }
    let files = vec![bench.folder.path().join("north"), bench.folder.path().join("south")];
    bench.produce(ProduceOptions { files: files.clone(), ..Default::default() }).unwrap();
    let records = bench.records();
    let mut keys: Vec<String> = records.iter().filter_map(|record| Some(record["key"].as_str()?.to_owned())).collect();
    keys.sort();
    let path = |name: &str| bench.folder.path().join(name).display().to_string();
    assert_eq!(keys, [path("north/events.ics"), path("south/events.ics"), "only".to_owned()]);
}

#[test]
fn the_latest_records_are_one_a_key_in_the_order_of_keys() {
    let bench = Bench::new();
    let file = bench.file(
        "a.jsonl",
        "{\"k\":\"b\",\"n\":1}\n{\"k\":\"a\",\"n\":2}\n{\"k\":\"b\",\"n\":3}\n{\"k\":\"c\",\"n\":4}\n",
    );
    let key = KeyRule::Pointer("/k".to_owned());
    bench.produce_to("prices", ProduceOptions { files: vec![file], key, ..Default::default() }).unwrap();
    bench.produce_to("prices", ProduceOptions { tombstones: vec!["c".to_owned()], ..Default::default() }).unwrap();
    let options = ConsumeOptions { topic: "prices".to_owned(), latest: true, ..Default::default() };
    assert_eq!(bench.consume(&options), "{\"k\":\"a\",\"n\":2}\n{\"k\":\"b\",\"n\":3}\n");
    let first = ConsumeOptions { max: Some(1), ..options.clone() };
    assert_eq!(bench.consume(&first).lines().count(), 1);
    let all = ConsumeOptions { latest: false, exit_at_end: true, ..options };
    assert_eq!(bench.consume(&all).lines().filter(|line| *line == "{\"tombstone\":\"c\"}").count(), 1);
}

#[test]
fn an_unknown_kind_of_file_stops_everything_before_anything_is_written() {
    let bench = Bench::new();
    let files = vec![bench.file("a.jsonl", "1\n"), bench.file("b.dat", "x")];
    let error = bench.produce(ProduceOptions { files, ..Default::default() }).unwrap_err();
    assert!(matches!(error, ProduceError::ContentType { .. }), "{error}");
    assert!(bench.log.topics("").unwrap().is_empty());
}

#[test]
fn consuming_stops_where_it_should() {
    let bench = Bench::new();
    let lines: String = (0..100).map(|n| format!("{n}\n")).collect();
    let file = bench.file("a.jsonl", &lines);
    bench.produce(ProduceOptions { files: vec![file], ..Default::default() }).unwrap();
    let options = ConsumeOptions { topic: "raw.events".to_owned(), exit_at_end: true, ..Default::default() };
    assert_eq!(bench.consume(&options).lines().count(), 100);
    let some = ConsumeOptions { max: Some(7), from_beginning: true, exit_at_end: false, ..options };
    assert_eq!(bench.consume(&some).lines().count(), 7);
}

/// An output whose reader has gone.
struct Gone;

impl Write for Gone {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let bench = Bench::new();
    let file = bench.file("a.jsonl", "1\n");
    bench.produce(ProduceOptions { files: vec![file], ..Default::default() }).unwrap();
    let options = ConsumeOptions { topic: "raw.events".to_owned(), from_beginning: true, ..Default::default() };
    consume(&bench.log, &bench.config, &options, &AtomicBool::new(false), &mut Gone).unwrap();
}

#[test]
fn a_missing_topic_is_an_error_with_a_suggestion() {
    let bench = Bench::new();
    let file = bench.file("a.jsonl", "1\n");
    bench.produce(ProduceOptions { files: vec![file], ..Default::default() }).unwrap();
    let options = ConsumeOptions { topic: "raw.event".to_owned(), ..Default::default() };
    let error = consume(&bench.log, &bench.config, &options, &AtomicBool::new(false), &mut Vec::new()).unwrap_err();
    assert_eq!(error.hint().unwrap(), "did you mean \"headwater.raw.events\"?");
    let mut out = Vec::new();
    topics(&bench.log, &bench.config, false, &mut out).unwrap();
    let table = String::from_utf8(out).unwrap();
    assert!(table.contains("headwater.raw.events           4  delete"), "{table}");
}

/// A record of one topic, with headers.
fn record(topic: &str, key: Option<&str>, headers: &[(&str, &str)]) -> NewRecord {
    NewRecord {
        topic: format!("headwater.{topic}").into(),
        key: key.map(|key| key.to_owned().into()),
        value: Some("bytes".into()),
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect(),
        timestamp_ms: Some(1_000),
    }
}

/// What looks into records is the topology's. Without it, documents are known by their keys.
#[test]
fn a_replay_for_a_topology_that_tells_nothing_of_records_knows_documents() {
    let mut bench = Bench::new();
    bench.config.topics.partitions = 1;
    let topics = ["raw.events", "dead-letters"].map(|topic| bench.config.topic_spec(topic));
    bench.log.ensure_topics(&topics).unwrap();
    let mut producer = bench.log.producer().unwrap();
    for key in [Some("a"), None, Some("b"), Some("a"), None] {
        producer.send(record("raw.events", key, &[])).unwrap();
    }
    // The first three could not be used; of the document `a` there is a newer version.
    for (offset, key) in [("0", Some("a")), ("1", None), ("2", Some("b"))] {
        let place = [("dead-letter-topic", "headwater.raw.events"), ("dead-letter-partition", "0")];
        let rest = [("dead-letter-offset", offset), ("dead-letter-timestamp", "1000"), ("dead-letter-code", "x")];
        producer.send(record("dead-letters", key, &[&place[..], &rest].concat())).unwrap();
    }
    producer.flush().unwrap();
    let (stop, dry) = (AtomicBool::new(false), ReplayOptions { dry_run: true, ..ReplayOptions::default() });
    let told = replay(&bench.log, &bench.config, None, &dry, &stop).unwrap();
    assert_eq!((told.letters, told.skipped.outdated, told.outlook), (2, 1, None));
    let done = replay(&bench.log, &bench.config, None, &ReplayOptions::default(), &stop).unwrap();
    assert_eq!((done.records, done.skipped.outdated), (2, 1));
    let replayed: Vec<Value> =
        bench.records().into_iter().filter(|record| record["headers"]["replay-of"].is_string()).collect();
    let mut keys: Vec<String> = replayed.iter().map(|record| record["key"].to_string()).collect();
    keys.sort();
    assert_eq!(keys, ["\"b\"", "null"]);
}

fn checked(folder: &Path, text: &str) -> (u8, String) {
    let file = folder.join("c.toml");
    fs::write(&file, text).unwrap();
    let report = check::<Plain>(&Sources { file: Some(file), ..Sources::default() }, &ViewSpec::new("x"));
    let (mut out, mut err) = (Vec::new(), Vec::new());
    report.print(false, &mut out, &mut err).unwrap();
    let shown = String::from_utf8([out, err].concat()).unwrap();
    (report.exit_code(), shown.replace(&format!("{}/", folder.display()), ""))
}

#[test]
fn a_check_tries_the_admin_port() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let path = folder.path().join("log.db");
    let text = format!("[log.embedded]\npath = '{}'\n[admin]\nlisten = '{address}'", path.display());
    let (code, shown) = checked(folder.path(), &text);
    let expected =
        format!("error: c.toml:4:10: admin.listen: cannot listen on {address} (admin.listen)\n  hint: another process");
    assert!(code == 2 && shown.contains(&expected), "{code}: {shown}");
    let (code, shown) = checked(folder.path(), &text.replace(&address.to_string(), ""));
    assert!(code == 0 && !shown.contains("admin"), "{shown}");
    drop(taken);
    let (code, shown) = checked(folder.path(), &text);
    assert!(code == 0 && shown.contains(&format!("ok: http://{address}: free")), "{shown}");
    let running = AdminServer::start(address, Arc::default(), Metrics::detached()).unwrap();
    let (code, shown) = checked(folder.path(), &text);
    assert!(code == 0 && shown.contains(&format!("ok: http://{address}: an instance that is running")), "{shown}");
    drop(running);
}

#[test]
fn a_check_lists_what_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log.db");
    let text = format!("[log.embedded]\npath = '{}'\n[admin]\nlisten = '127.0.0.1:0'", log.display());
    let (code, shown) = checked(folder.path(), &text);
    assert_eq!(code, 0, "{shown}");
    let expected = "ok: c.toml: the configuration is right\nok: embedded://log.db: to be created\n\
                    ok: http://127.0.0.1:0: free for the admin server\n";
    assert_eq!(shown, expected);
    assert!(!log.exists(), "a check makes nothing");
    let log = format!("[embedded]\npath = '{}'", log.display());
    let log = toml::from_str(&log).unwrap();
    open_log(&Runtime { log, ..runtime() }).unwrap();
    let (code, shown) = checked(folder.path(), &text);
    assert_eq!((code, shown.contains("0 topics begin with \"headwater.\"")), (0, true), "{shown}");
}

#[test]
fn a_check_lists_configuration_log_and_database_at_once() {
    let folder = tempfile::tempdir().unwrap();
    // Port 1 of this machine: nobody listens there.
    let text = "workers = 0\nnam = 'x'\n[log]\nkind = 'kafka'\nkafka.brokers = '127.0.0.1:1'\n\
                [views.postgres]\nurl = 'postgres://me:hunter2@127.0.0.1:1/x'\n[admin]\nlisten = ''\n";
    let (code, shown) = checked(folder.path(), text);
    assert_eq!(code, 2, "{shown}");
    for line in [
        "error: c.toml:1:11: workers: must be from 1 to 1024",
        "error: c.toml:2:1: nam: unknown key\n  hint: did you mean `name`?",
        "error: c.toml:5:17: log.kafka.brokers: cannot reach the log at kafka://127.0.0.1:1",
        "error: c.toml:7:7: views.postgres.url: cannot reach postgres://",
    ] {
        assert!(shown.contains(line), "{line}\nis not in\n{shown}");
    }
    assert!(!shown.contains("hunter2"), "{shown}");
    let (code, shown) = checked(folder.path(), &text.replace("workers = 0\nnam = 'x'\n", ""));
    assert_eq!(code, 3, "{shown}");
}
