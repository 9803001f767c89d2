//! Serving follows a log: what was there, what comes, and again after a restart.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use headwater::config::Runtime;
use headwater::log::embedded::EmbeddedLog;
use headwater::log::memory::MemoryLog;
use headwater::log::{Cleanup, Log, NewRecord, TopicSpec, Transaction, Transactional};
use headwater_serve::admin::Means;
use headwater_serve::config::ServeConfig;
use headwater_serve::tool::Serving;
use serde_json::{Value, json};

use support::http::get;
use support::sse::Client;

fn make_topics(log: &dyn Log) {
    let spec = |name: &str| TopicSpec {
        name: format!("t.{name}"),
        partitions: 3,
        replication: None,
        cleanup: Cleanup::Compact,
        max_record_bytes: 1 << 20,
        properties: BTreeMap::new(),
    };
    log.ensure_topics(&["events", "listings", "links", "progress"].map(spec)).unwrap();
}

fn event(id: &str, title: &str) -> Value {
    json!({"format": 1, "id": id, "title": title, "startTime": "2026-12-01T20:00:00Z",
        "listings": [{"source": "town", "externalId": id}]})
}

/// Commits records of topics as the engine does: one transaction with its epoch, its number, and what it has written.
struct Committing {
    writer: Box<dyn Transactional>,
    lineage: &'static str,
    number: u64,
}

impl Committing {
    fn commit(&mut self, epoch: u64, records: &[(&str, &str, Option<Value>)]) {
        self.number += 1;
        let record = |(topic, key, value): &(&str, &str, Option<Value>)| NewRecord {
            topic: format!("t.{topic}").into(),
            key: Some((*key).to_owned().into()),
            value: value.as_ref().map(|value| value.to_string().into()),
            headers: Vec::new(),
            timestamp_ms: None,
        };
        let mut written = BTreeMap::<String, u64>::new();
        records.iter().for_each(|(topic, ..)| *written.entry(format!("t.{topic}")).or_default() += 1);
        let progress = json!({"format": 2, "epoch": epoch, "positions": [], "watermark": null, "results": 1,
            "extraction": 1, "ends": [], "lineage": self.lineage, "commit": self.number, "written": written});
        let all = records.iter().cloned().chain([("progress", "progress", Some(progress))]);
        let header = |name: &str, value: String| (name.to_owned(), value.into_bytes());
        let commit = format!("{}-{}", self.lineage, self.number);
        let headers = vec![header("epoch", epoch.to_string()), header("commit", commit)];
        let records = all.map(|one| record(&one)).collect();
        self.writer.commit(&Transaction { records, headers, positions: Vec::new() }).unwrap();
    }
}

fn serve(log: &Arc<dyn Log>) -> Serving {
    let config = Runtime { prefix: "t.".to_owned(), ..Runtime::default() };
    let means = Means { log: Arc::clone(log), config, examine: None, preview: None };
    let serve = ServeConfig { listen: "127.0.0.1:0".to_owned(), ..ServeConfig::default() };
    Serving::start(means, &serve, None).unwrap()
}

fn wait_for(serving: &Serving, commit: u64) {
    let began = Instant::now();
    while !serving.live().read().ready || serving.live().read().index.commit() < commit {
        assert!(began.elapsed() < Duration::from_secs(20), "commit {commit} is not shown");
        assert!(!serving.has_ended());
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn follows(log: Arc<dyn Log>) {
    let serving = serve(&log);
    assert_eq!(get(serving.address(), "/api/events", &[]).status, 503, "the topics are not there");
    make_topics(&*log);
    let writer = log.transactional("t", "t").unwrap();
    let mut topology = Committing { writer, lineage: "00000001", number: 0 };
    wait_for(&serving, 0);
    topology.commit(1_000, &[("events", "a", Some(event("a", "One"))), ("events", "b", Some(event("b", "Two")))]);
    wait_for(&serving, 1);
    let mut client = Client::default();
    client.connect(serving.address(), "");
    client.until("live");
    let link = headwater_operators::ListingId::of("town", "a").to_string();
    topology.commit(
        2_000,
        &[
            ("events", "a", Some(event("a", "One again"))),
            ("events", "b", Some(json!({"format": 1, "id": "b", "redirectTo": "a"}))),
            ("links", &link, Some(json!({"format": 1, "eventId": "a"}))),
        ],
    );
    client.until("leave");
    let answer = get(serving.address(), "/api/events/a", &[]);
    assert!(answer.headers["headwater-position"] == "00000001-2", "{answer:?}");
    assert_eq!(answer.json()["members"][0]["link"]["eventId"], "a");
    assert_eq!(get(serving.address(), "/api/events/b", &[]).status, 308);
    client.cut();
    serving.end().unwrap();
    topology.commit(3_000, &[("events", "c", Some(event("c", "Three"))), ("events", "a", None)]);

    // A client outlives the server. What went before the topics' tombstones are sure to be there is not known:
    // these epochs are of 1970.
    let serving = serve(&log);
    wait_for(&serving, 3);
    client.connect(serving.address(), "");
    assert_eq!(client.until("live").last().unwrap().data["resumed"], "reset");
    assert_eq!(client.map.keys().collect::<Vec<_>>(), ["c"]);
    client.cut();
    serving.end().unwrap();
    let now = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap();
    topology.commit(now, &[("events", "d", Some(event("d", "Four"))), ("events", "e", Some(event("e", "Five")))]);
    let serving = serve(&log);
    wait_for(&serving, 4);
    client.connect(serving.address(), "");
    client.until("live");
    client.cut();
    serving.end().unwrap();
    topology.commit(now + 1, &[("events", "d", None), ("events", "e", Some(event("e", "Five again")))]);
    let serving = serve(&log);
    wait_for(&serving, 5);
    client.connect(serving.address(), "");
    let missed = client.until("live");
    assert_eq!(missed.last().unwrap().data["resumed"], "state");
    assert_eq!(client.map.keys().collect::<Vec<_>>(), ["c", "e"]);

    // The topics are made anew while it serves: another lineage, and lower numbers.
    topology.commit(now + 2, &[("events", "f", Some(event("f", "Six")))]);
    client.until("enter");
    topology = Committing { lineage: "00000002", number: 0, ..topology };
    topology.commit(now + 3, &[("events", "c", None), ("events", "e", Some(event("e", "Five once more")))]);
    assert!(client.until("reset").last().is_some());
    client.until("live");
    assert_eq!(client.map.keys().collect::<Vec<_>>(), ["e", "f"]);
    assert_eq!(serving.live().position(1).to_string(), "00000002-1");
    serving.end().unwrap();
}

#[test]
fn it_follows_the_embedded_log() {
    let folder = tempfile::tempdir().unwrap();
    follows(Arc::new(EmbeddedLog::open(&folder.path().join("log.db")).unwrap()));
}

#[test]
fn it_follows_the_log_in_memory() {
    follows(Arc::new(MemoryLog::new()));
}
