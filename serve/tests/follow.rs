//! Serving follows a log: what was there, what comes, and again after a restart.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use headwater::log::embedded::EmbeddedLog;
use headwater::log::memory::MemoryLog;
use headwater::log::{Cleanup, Log, NewRecord, TopicSpec, Transaction, Transactional};
use headwater_serve::api::Origins;
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
    log.ensure_topics(&["events", "listings", "links"].map(spec)).unwrap();
}

fn event(id: &str, title: &str) -> Value {
    json!({"format": 1, "id": id, "title": title, "startTime": "2026-12-01T20:00:00Z",
        "listings": [{"source": "town", "externalId": id}]})
}

/// Commits records of topics as the engine does: one transaction, one epoch.
fn commit(writer: &mut dyn Transactional, epoch: u64, records: &[(&str, &str, Option<Value>)]) {
    let record = |(topic, key, value): &(&str, &str, Option<Value>)| NewRecord {
        topic: format!("t.{topic}").into(),
        key: Some((*key).to_owned().into()),
        value: value.as_ref().map(|value| value.to_string().into()),
        headers: Vec::new(),
        timestamp_ms: None,
    };
    let headers = vec![("epoch".to_owned(), epoch.to_string().into_bytes())];
    let records = records.iter().map(record).collect();
    writer.commit(&Transaction { records, headers, positions: Vec::new() }).unwrap();
}

fn serve(log: &Arc<dyn Log>) -> Serving {
    Serving::start(Arc::clone(log), "t.", SocketAddr::from(([127, 0, 0, 1], 0)), &Origins::None).unwrap()
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
    let mut writer = log.transactional("t", "t").unwrap();
    wait_for(&serving, 0);
    commit(&mut *writer, 1_000, &[("events", "a", Some(event("a", "One"))), ("events", "b", Some(event("b", "Two")))]);
    wait_for(&serving, 1_000);
    let mut client = Client::default();
    client.connect(serving.address(), "");
    client.until("live");
    let link = headwater_operators::ListingId::of("town", "a").to_string();
    commit(
        &mut *writer,
        2_000,
        &[
            ("events", "a", Some(event("a", "One again"))),
            ("events", "b", Some(json!({"format": 1, "id": "b", "redirectTo": "a"}))),
            ("links", &link, Some(json!({"format": 1, "eventId": "a"}))),
        ],
    );
    client.until("leave");
    let answer = get(serving.address(), "/api/events/a", &[]);
    assert!(answer.headers["headwater-position"].ends_with("-2000"), "{answer:?}");
    assert_eq!(answer.json()["members"][0]["link"]["eventId"], "a");
    assert_eq!(get(serving.address(), "/api/events/b", &[]).status, 308);
    client.cut();
    serving.end().unwrap();
    commit(&mut *writer, 3_000, &[("events", "c", Some(event("c", "Three"))), ("events", "a", None)]);

    // A client outlives the server. What went before the topics' tombstones are sure to be there is not known:
    // these epochs are of 1970.
    let serving = serve(&log);
    wait_for(&serving, 3_000);
    client.connect(serving.address(), "");
    assert_eq!(client.until("live").last().unwrap().data["resumed"], "reset");
    assert_eq!(client.map.keys().collect::<Vec<_>>(), ["c"]);
    client.cut();
    serving.end().unwrap();
    let now = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap();
    commit(&mut *writer, now, &[("events", "d", Some(event("d", "Four"))), ("events", "e", Some(event("e", "Five")))]);
    let serving = serve(&log);
    wait_for(&serving, now);
    client.connect(serving.address(), "");
    client.until("live");
    client.cut();
    serving.end().unwrap();
    commit(&mut *writer, now + 1, &[("events", "d", None), ("events", "e", Some(event("e", "Five again")))]);
    let serving = serve(&log);
    wait_for(&serving, now + 1);
    client.connect(serving.address(), "");
    let missed = client.until("live");
    assert_eq!(missed.last().unwrap().data["resumed"], "state");
    assert_eq!(client.map.keys().collect::<Vec<_>>(), ["c", "e"]);
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
