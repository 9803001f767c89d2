//! One suite for every implementation of the log: what `headwater::log` promises. It is long because it is one
//! suite: a promise stands beside the cases that hold it, and each implementation runs them all.
//!
//! The embedded log and the one in memory are always tested; Kafka where `KAFKA_BROKERS` names a broker.

// Clippy excepts test functions from its bans, but not the helpers that they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

#[path = "support/service.rs"]
mod service;

use headwater::log::embedded::{EmbeddedConfig, EmbeddedLog};
use headwater::log::kafka::{KafkaConfig, KafkaLog};
use headwater::log::memory::MemoryLog;
use headwater::log::{
    Cleanup, Log, LogError, LogRecord, NewRecord, Polled, Reader, Start, TopicPartition, TopicSpec, Transaction,
};

use service::service;

const MIB: usize = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(60);

// --- The logs under test. --------------------------------------------------------------------

/// A log, and the one thing that a log cannot be asked for.
trait Bench: Sync {
    fn log(&self) -> &dyn Log;
    /// A prefix for topics that nobody else uses.
    fn prefix(&self) -> &str;
    /// Removes the records before `offset` of partition 0, as retention would.
    fn expire(&self, topic: &str, offset: i64);
    /// A second, independent handle on the same log.
    fn again(&self) -> Box<dyn Log>;
}

struct Embedded {
    log: EmbeddedLog,
    directory: tempfile::TempDir,
}

impl Embedded {
    fn new() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let log = EmbeddedLog::open(&directory.path().join("log.db")).unwrap();
        Some(Self { log, directory })
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("log.db")
    }
}

impl Bench for Embedded {
    fn log(&self) -> &dyn Log {
        &self.log
    }

    fn prefix(&self) -> &str {
        "test."
    }

    fn expire(&self, topic: &str, offset: i64) {
        let file = rusqlite::Connection::open(self.path()).unwrap();
        let id: i64 = file
            .query_row(
                "SELECT p.id FROM topics t JOIN partitions p ON p.topic = t.id WHERE t.name = ? AND p.partition = 0",
                [topic],
                |row| row.get(0),
            )
            .unwrap();
        file.execute(&format!("DELETE FROM records_{id} WHERE offset < ?"), [offset]).unwrap();
        file.execute("UPDATE partitions SET low = ? WHERE id = ?", [offset, id]).unwrap();
    }

    fn again(&self) -> Box<dyn Log> {
        Box::new(EmbeddedLog::open(&self.path()).unwrap())
    }
}

struct Memory(MemoryLog);

impl Memory {
    fn new() -> Option<Self> {
        Some(Self(MemoryLog::new()))
    }
}

impl Bench for Memory {
    fn log(&self) -> &dyn Log {
        &self.0
    }

    fn prefix(&self) -> &str {
        "test."
    }

    fn expire(&self, topic: &str, offset: i64) {
        self.0.expire(topic, 0, offset).unwrap();
    }

    fn again(&self) -> Box<dyn Log> {
        Box::new(self.0.clone())
    }
}

struct Kafka {
    log: KafkaLog,
    brokers: String,
    prefix: String,
}

impl Kafka {
    fn new() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let brokers = service("KAFKA_BROKERS", "the log on Kafka")?;
        let log = KafkaLog::new(KafkaConfig { brokers: brokers.clone(), ..KafkaConfig::default() }).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        let prefix = format!("test-{now}-{}.", COUNT.fetch_add(1, Ordering::Relaxed));
        Some(Self { log, brokers, prefix })
    }

    fn admin(&self) -> rdkafka::admin::AdminClient<rdkafka::client::DefaultClientContext> {
        rdkafka::ClientConfig::new().set("bootstrap.servers", &self.brokers).create().unwrap()
    }
}

/// Runs a future of the admin client.
fn wait<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

impl Bench for Kafka {
    fn log(&self) -> &dyn Log {
        &self.log
    }

    fn prefix(&self) -> &str {
        &self.prefix
    }

    fn expire(&self, topic: &str, offset: i64) {
        let mut list = rdkafka::TopicPartitionList::new();
        list.add_partition_offset(topic, 0, rdkafka::Offset::Offset(offset)).unwrap();
        wait(self.admin().delete_records(&list, &rdkafka::admin::AdminOptions::new())).unwrap();
    }

    fn again(&self) -> Box<dyn Log> {
        Box::new(KafkaLog::new(KafkaConfig { brokers: self.brokers.clone(), ..KafkaConfig::default() }).unwrap())
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        let topics = self.log.topics(&self.prefix).unwrap_or_default();
        let names: Vec<&str> = topics.iter().map(|t| t.name.as_str()).collect();
        if !names.is_empty() {
            let _ = wait(self.admin().delete_topics(&names, &rdkafka::admin::AdminOptions::new()));
        }
    }
}

/// Declares each case for every log.
macro_rules! conformance {
    ($($case:ident),+ $(,)?) => {
        mod embedded {
            $(#[test] fn $case() { super::Embedded::new().iter().for_each(|bench| super::$case(bench)); })+
        }
        mod memory {
            $(#[test] fn $case() { super::Memory::new().iter().for_each(|bench| super::$case(bench)); })+
        }
        mod kafka {
            $(#[test] fn $case() { super::Kafka::new().iter().for_each(|bench| super::$case(bench)); })+
        }
    };
}

conformance!(
    topics_are_created_once,
    records_are_read_in_order_by_partition,
    equal_keys_share_a_partition,
    everything_in_a_record_comes_back,
    transactions_over_several_topics_are_whole,
    the_older_writer_is_fenced_and_leaves_no_trace,
    the_end_is_reported_once_each_time,
    readers_start_where_they_are_told,
    removed_offsets_are_gone,
    a_record_too_large_leaves_the_writer_usable,
    positions_are_accepted,
    large_values_come_back,
    producers_and_transactions_mix,
    partitions_are_added_while_reading,
    unknown_topics_are_errors,
    compacted_topics_want_keys,
    polls_end_in_time_and_wake_up,
    polls_are_bounded_and_fair,
);

// --- Helpers. --------------------------------------------------------------------------------

fn spec(name: &str, partitions: i32, cleanup: Cleanup) -> TopicSpec {
    TopicSpec {
        name: name.to_owned(),
        partitions,
        replication: None,
        cleanup,
        max_record_bytes: 2 * MIB,
        properties: BTreeMap::new(),
    }
}

/// Creates a topic with the bench's prefix, kept for ever, and returns its full name.
fn topic(bench: &dyn Bench, name: &str, partitions: i32) -> Arc<str> {
    let full = format!("{}{name}", bench.prefix());
    bench.log().ensure_topics(&[spec(&full, partitions, Cleanup::Delete { retention_ms: None })]).unwrap();
    full.into()
}

fn record(topic: &Arc<str>, key: &str, value: &str) -> NewRecord {
    NewRecord {
        topic: Arc::clone(topic),
        key: Some(key.to_owned().into()),
        value: Some(value.to_owned().into()),
        headers: Vec::new(),
        timestamp_ms: None,
    }
}

fn transaction(records: Vec<NewRecord>) -> Transaction {
    Transaction { records, ..Transaction::default() }
}

fn produce(bench: &dyn Bench, records: impl IntoIterator<Item = NewRecord>) {
    let mut producer = bench.log().producer().unwrap();
    for record in records {
        producer.send(record).unwrap();
    }
    producer.flush().unwrap();
}

fn partitions(topic: &Arc<str>, count: i32, start: Start) -> Vec<(TopicPartition, Start)> {
    (0..count).map(|p| (TopicPartition::new(Arc::clone(topic), p), start)).collect()
}

/// Polls until `done` says so, keeping everything in order.
fn poll_until(reader: &mut dyn Reader, mut done: impl FnMut(&[Polled]) -> bool) -> Vec<Polled> {
    let deadline = Instant::now() + PATIENCE;
    let mut all = Vec::new();
    while !done(&all) {
        assert!(Instant::now() < deadline, "gave up after {} things; the last: {:?}", all.len(), all.last());
        reader.poll(&mut all, 4 * MIB, Duration::from_millis(500)).unwrap();
    }
    all
}

/// Polls until `count` partitions have ended.
fn poll_to_ends(reader: &mut dyn Reader, count: usize) -> Vec<Polled> {
    poll_until(reader, |all| {
        let ended: BTreeSet<_> = all.iter().filter_map(end).map(|(partition, _)| partition).collect();
        ended.len() == count
    })
}

fn end(polled: &Polled) -> Option<(TopicPartition, i64)> {
    match polled {
        Polled::End { partition, next } => Some((partition.clone(), *next)),
        Polled::Record(_) => None,
    }
}

fn records(polled: &[Polled]) -> Vec<&LogRecord> {
    polled.iter().filter_map(|p| if let Polled::Record(record) = p { Some(record) } else { None }).collect()
}

fn values(polled: &[Polled]) -> Vec<String> {
    records(polled).iter().map(|r| String::from_utf8(r.value.clone().unwrap()).unwrap()).collect()
}

/// Everything in a topic, read from its beginning to its committed end.
fn read_all(log: &dyn Log, topic: &Arc<str>, count: i32) -> Vec<Polled> {
    let mut reader = log.reader(&partitions(topic, count, Start::Beginning)).unwrap();
    poll_to_ends(&mut *reader, usize::try_from(count).unwrap())
}

fn high(log: &dyn Log, topic: &str) -> i64 {
    log.watermarks(topic).unwrap().unwrap()[0].high
}

// --- Cases. ----------------------------------------------------------------------------------

fn topics_are_created_once(bench: &dyn Bench) {
    let log = bench.log();
    log.check(Duration::from_secs(10)).unwrap();
    let (a, b) = (format!("{}a", bench.prefix()), format!("{}b", bench.prefix()));
    log.ensure_topics(&[
        spec(&b, 1, Cleanup::Compact),
        spec(&a, 3, Cleanup::Delete { retention_ms: Some(86_400_000) }),
    ])
    .unwrap();
    log.ensure_topics(&[spec(&a, 5, Cleanup::Compact), spec(&b, 1, Cleanup::Compact)]).unwrap();
    let topics = bench.again().topics(bench.prefix()).unwrap();
    let found: Vec<_> = topics.iter().map(|t| (t.name.as_str(), t.partitions.len(), t.cleanup.as_str())).collect();
    assert_eq!(found, [(a.as_str(), 3, "delete"), (b.as_str(), 1, "compact")]);
    assert!(log.topics("no-such-prefix").unwrap().is_empty());
    assert_eq!(log.watermarks(&a).unwrap().unwrap().len(), 3);
    assert_eq!(log.watermarks("no-such-topic").unwrap(), None);
}

fn records_are_read_in_order_by_partition(bench: &dyn Bench) {
    let topic = topic(bench, "t", 3);
    produce(bench, (0..3_000).map(|i| record(&topic, &format!("k{}", i % 50), &i.to_string())));
    let polled = read_all(bench.log(), &topic, 3);
    let records = records(&polled);
    assert_eq!(records.len(), 3_000);
    for partition in 0..3 {
        let of: Vec<_> = records.iter().filter(|r| r.partition == partition).collect();
        assert!(!of.is_empty(), "every partition has its share of 50 keys");
        assert!(of.windows(2).all(|w| w[0].offset < w[1].offset));
        let numbers: Vec<u32> =
            of.iter().map(|r| String::from_utf8_lossy(r.value.as_ref().unwrap()).parse().unwrap()).collect();
        assert!(numbers.is_sorted(), "the order of sending is the order of reading");
    }
}

fn equal_keys_share_a_partition(bench: &dyn Bench) {
    let topic = topic(bench, "t", 4);
    // Through different writers: placement must not depend on who writes.
    produce(bench, (0..200).map(|i| record(&topic, &format!("k{}", i % 20), "produced")));
    let mut writer = bench.log().transactional(&format!("{}w", bench.prefix()), "g").unwrap();
    writer.commit(&transaction((0..20).map(|i| record(&topic, &format!("k{i}"), "committed")).collect())).unwrap();
    let polled = read_all(bench.log(), &topic, 4);
    let mut placed: BTreeMap<Vec<u8>, BTreeSet<i32>> = BTreeMap::new();
    for record in records(&polled) {
        placed.entry(record.key.clone().unwrap()).or_default().insert(record.partition);
    }
    assert_eq!(placed.len(), 20);
    assert!(placed.values().all(|partitions| partitions.len() == 1), "{placed:?}");
}

fn everything_in_a_record_comes_back(bench: &dyn Bench) {
    let topic = topic(bench, "t", 1);
    let base = NewRecord {
        topic: Arc::clone(&topic),
        key: Some("k".into()),
        value: Some("v".into()),
        headers: Vec::new(),
        timestamp_ms: Some(1_500_000_000_123),
    };
    let headers = vec![
        ("source".to_owned(), b"one".to_vec()),
        ("empty".to_owned(), Vec::new()),
        ("source".to_owned(), vec![0, 255, 1]),
    ];
    let sent = vec![
        NewRecord { headers: headers.clone(), ..base.clone() },
        NewRecord { key: None, ..base.clone() },
        NewRecord { value: None, ..base.clone() },
        NewRecord { value: Some("".into()), key: Some("".into()), ..base.clone() },
        NewRecord { key: Some(vec![0, 159, 146, 150].into()), timestamp_ms: None, ..base.clone() },
    ];
    let before = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    let mut writer = bench.log().transactional(&format!("{}w", bench.prefix()), "g").unwrap();
    let further = vec![("epoch".to_owned(), b"7".to_vec())];
    for record in &sent {
        writer.commit(&Transaction { headers: further.clone(), ..transaction(vec![record.clone()]) }).unwrap();
        produce(bench, [record.clone()]);
    }
    let polled = read_all(bench.log(), &topic, 1);
    let got = records(&polled);
    assert_eq!(got.len(), 2 * sent.len());
    let expected = sent.iter().flat_map(|record| [(record, further.as_slice()), (record, &[])]);
    for (got, (sent, further)) in got.iter().zip(expected) {
        assert_eq!((got.key.as_deref(), got.value.as_deref()), (sent.key.as_deref(), sent.value.as_deref()));
        assert_eq!(got.headers, [sent.headers.as_slice(), further].concat());
        match sent.timestamp_ms {
            Some(timestamp) => assert_eq!(got.timestamp_ms, timestamp),
            None => assert!((before..before + 60_000).contains(&got.timestamp_ms), "{}", got.timestamp_ms),
        }
    }
    assert_eq!(got[0].header("source"), Some([0, 255, 1].as_slice()));
}

/// Readers that run beside a committing writer never stand at an end inside of a transaction.
fn transactions_over_several_topics_are_whole(bench: &dyn Bench) {
    const EACH: usize = 4_000;
    const ROUNDS: usize = 5;
    let topics = ["a", "b", "c"].map(|name| topic(bench, name, 1));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut writer = bench.log().transactional(&format!("{}w", bench.prefix()), "g").unwrap();
            for round in 0..ROUNDS {
                let records = (0..EACH).flat_map(|i| topics.iter().map(move |t| (t, i)));
                let value = round.to_string();
                let records = records.map(|(topic, i)| record(topic, &i.to_string(), &value)).collect();
                writer.commit(&transaction(records)).unwrap();
            }
            done.store(true, Ordering::Release);
        });
        let all: Vec<_> = topics.iter().flat_map(|t| partitions(t, 1, Start::Beginning)).collect();
        let mut reader = bench.log().reader(&all).unwrap();
        let mut counts: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        let deadline = Instant::now() + PATIENCE;
        while counts.len() < 3 || counts.values().any(|n| *n < EACH * ROUNDS) {
            assert!(Instant::now() < deadline, "{counts:?}, writer done: {}", done.load(Ordering::Acquire));
            let mut polled = Vec::new();
            reader.poll(&mut polled, MIB, Duration::from_millis(200)).unwrap();
            for polled in polled {
                match polled {
                    Polled::Record(record) => *counts.entry(record.topic).or_default() += 1,
                    Polled::End { partition, .. } => {
                        let count = counts.get(&partition.topic).copied().unwrap_or(0);
                        assert_eq!(count % EACH, 0, "part of a transaction was seen on {}", partition.topic);
                    }
                }
            }
        }
        assert!(counts.values().all(|n| *n == EACH * ROUNDS), "{counts:?}");
    });
}

fn the_older_writer_is_fenced_and_leaves_no_trace(bench: &dyn Bench) {
    let (a, b) = (topic(bench, "a", 1), topic(bench, "b", 1));
    let id = format!("{}w", bench.prefix());
    let both = |value: &str| transaction(vec![record(&a, "k", value), record(&b, "k", value)]);
    let mut first = bench.log().transactional(&id, "g").unwrap();
    first.commit(&both("1")).unwrap();
    let mut second = bench.again().transactional(&id, "g").unwrap();
    for _ in 0..2 {
        let error = first.commit(&both("lost")).unwrap_err();
        assert!(matches!(&error, LogError::Fenced { id: fenced } if *fenced == id), "{error:?}");
    }
    second.commit(&both("2")).unwrap();
    // Another id is another writer.
    let mut other = bench.log().transactional(&format!("{id}-other"), "g").unwrap();
    other.commit(&both("3")).unwrap();
    second.commit(&both("4")).unwrap();
    for topic in [&a, &b] {
        assert_eq!(values(&read_all(bench.log(), topic, 1)), ["1", "2", "3", "4"]);
    }
}

fn the_end_is_reported_once_each_time(bench: &dyn Bench) {
    let topic = topic(bench, "t", 1);
    let mut writer = bench.log().transactional(&format!("{}w", bench.prefix()), "g").unwrap();
    let mut reader = bench.log().reader(&partitions(&topic, 1, Start::Beginning)).unwrap();
    let polled = poll_to_ends(&mut *reader, 1);
    assert_eq!(polled.iter().map(end).collect::<Vec<_>>(), [Some((TopicPartition::new(Arc::clone(&topic), 0), 0))]);

    let mut silent = Vec::new();
    reader.poll(&mut silent, MIB, Duration::from_millis(700)).unwrap();
    assert_eq!(silent, [], "nothing new, nothing to report");

    let mut reached = 0;
    for round in 0..3 {
        writer.commit(&transaction(vec![record(&topic, "k", "a"), record(&topic, "k", "b")])).unwrap();
        let polled = poll_until(&mut *reader, |all| {
            records(all).len() == 2
                && all.last().and_then(end).is_some_and(|(_, next)| next == high(bench.log(), &topic))
        });
        let ends: Vec<i64> = polled.iter().filter_map(end).map(|(_, next)| next).collect();
        let last = records(&polled).last().unwrap().offset;
        assert!(ends.iter().all(|next| *next > reached), "round {round}: {ends:?} after {reached}");
        reached = *ends.last().unwrap();
        assert!(reached > last);
    }
    // Where an end was reported is where reading goes on, markers or not.
    writer.commit(&transaction(vec![record(&topic, "k", "new")])).unwrap();
    let mut resumed = bench.log().reader(&partitions(&topic, 1, Start::Offset(reached))).unwrap();
    assert_eq!(values(&poll_to_ends(&mut *resumed, 1)), ["new"]);
    // From the very end there is an end, and nothing else.
    let at = high(bench.log(), &topic);
    let mut at_end = bench.log().reader(&partitions(&topic, 1, Start::Offset(at))).unwrap();
    let polled = poll_to_ends(&mut *at_end, 1);
    assert_eq!(polled.iter().filter_map(end).map(|(_, next)| next).collect::<Vec<_>>(), [at]);
    assert!(records(&polled).is_empty());
}

fn readers_start_where_they_are_told(bench: &dyn Bench) {
    let topic = topic(bench, "t", 1);
    produce(bench, (0..5).map(|i| record(&topic, "k", &i.to_string())));
    let read = |start| {
        let mut reader = bench.log().reader(&partitions(&topic, 1, start)).unwrap();
        values(&poll_to_ends(&mut *reader, 1))
    };
    assert_eq!(read(Start::Beginning), ["0", "1", "2", "3", "4"]);
    assert_eq!(read(Start::Offset(3)), ["3", "4"]);
    assert!(read(Start::End).is_empty());
    // The end is the one at the time of asking.
    let mut reader = bench.log().reader(&partitions(&topic, 1, Start::End)).unwrap();
    produce(bench, [record(&topic, "k", "5")]);
    let polled = poll_until(&mut *reader, |all| !records(all).is_empty());
    assert_eq!(values(&polled), ["5"]);
    // An offset that was never given out belongs to another topic of that name.
    let error = bench.log().reader(&partitions(&topic, 1, Start::Offset(1_000))).err().unwrap();
    assert!(matches!(error, LogError::Damaged { .. }), "{error:?}");
}

fn removed_offsets_are_gone(bench: &dyn Bench) {
    let topic = topic(bench, "t", 1);
    produce(bench, (0..10).map(|i| record(&topic, "k", &i.to_string())));
    let mut behind = bench.log().reader(&partitions(&topic, 1, Start::Offset(2))).unwrap();
    bench.expire(&topic, 6);
    assert_eq!(bench.log().watermarks(&topic).unwrap().unwrap()[0].low, 6);
    let gone = |error: LogError| {
        assert!(
            matches!(&error, LogError::OffsetGone { topic: t, partition: 0, offset, low: 6 }
            if **t == *topic && *offset < 6),
            "{error:?}"
        );
    };
    gone(bench.log().reader(&partitions(&topic, 1, Start::Offset(2))).err().unwrap());
    assert_eq!(values(&read_all(bench.log(), &topic, 1)), ["6", "7", "8", "9"]);
    let mut reader = bench.log().reader(&partitions(&topic, 1, Start::Offset(6))).unwrap();
    assert_eq!(values(&poll_to_ends(&mut *reader, 1)), ["6", "7", "8", "9"]);
    // A reader that has fallen behind either still had the records at hand, or says so.
    let mut polled = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while polled.iter().all(|p| end(p).is_none()) && Instant::now() < deadline {
        if let Err(error) = behind.poll(&mut polled, MIB, Duration::from_millis(200)) {
            gone(error);
            return;
        }
    }
    assert_eq!(values(&polled).first().map(String::as_str), Some("2"));
}

fn a_record_too_large_leaves_the_writer_usable(bench: &dyn Bench) {
    let topic = topic(bench, "t", 1);
    let large = NewRecord { value: Some(noise(2 * MIB + 4_096).into()), ..record(&topic, "large", "") };
    let mut writer = bench.log().transactional(&format!("{}w", bench.prefix()), "g").unwrap();
    let batch = vec![record(&topic, "k", "1"), large.clone(), record(&topic, "k", "2")];
    let error = writer.commit(&transaction(batch.clone())).unwrap_err();
    assert!(
        matches!(&error, LogError::TooLarge { index: 1, topic: t, size, limit }
        if **t == *topic && size > limit && *limit >= 2 * MIB),
        "{error:?}"
    );
    let rest = batch.into_iter().filter(|r| r.key.as_deref() != Some(b"large")).collect();
    writer.commit(&transaction(rest)).unwrap();

    let mut producer = bench.log().producer().unwrap();
    assert!(matches!(producer.send(large), Err(LogError::TooLarge { index: 0, .. })));
    producer.send(record(&topic, "k", "3")).unwrap();
    producer.flush().unwrap();
    assert_eq!(values(&read_all(bench.log(), &topic, 1)), ["1", "2", "3"]);
    // The limit itself fits.
    let exact = NewRecord { value: Some(noise(2 * MIB - 5).into()), ..record(&topic, "exact", "") };
    writer.commit(&transaction(vec![exact])).unwrap();
}

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}

fn positions_are_accepted(bench: &dyn Bench) {
    let (input, output) = (topic(bench, "in", 2), topic(bench, "out", 1));
    produce(bench, (0..10).map(|i| record(&input, &i.to_string(), "v")));
    let group = format!("{}group", bench.prefix());
    let mut writer = bench.log().transactional(&format!("{}w", bench.prefix()), &group).unwrap();
    for next in 1..4 {
        let positions = (0..2).map(|p| (TopicPartition::new(Arc::clone(&input), p), next)).collect();
        writer
            .commit(&Transaction {
                records: vec![record(&output, "k", &next.to_string())],
                positions,
                ..Transaction::default()
            })
            .unwrap();
    }
    writer.commit(&Transaction::default()).unwrap();
    assert_eq!(values(&read_all(bench.log(), &output, 1)), ["1", "2", "3"]);
}

fn large_values_come_back(bench: &dyn Bench) {
    let name = format!("{}t", bench.prefix());
    let cleanup = Cleanup::Delete { retention_ms: None };
    bench.log().ensure_topics(&[TopicSpec { max_record_bytes: 8 * MIB, ..spec(&name, 1, cleanup) }]).unwrap();
    let topic: Arc<str> = name.into();
    let value = noise(5 * MIB);
    let large = NewRecord { value: Some(value.clone().into()), ..record(&topic, "k", "") };
    let mut writer = bench.log().transactional(&format!("{}w", bench.prefix()), "g").unwrap();
    writer.commit(&transaction(vec![large.clone(), large.clone()])).unwrap();
    produce(bench, [large]);
    let polled = read_all(bench.log(), &topic, 1);
    let records = records(&polled);
    assert_eq!(records.len(), 3);
    assert!(records.iter().all(|r| r.value.as_ref() == Some(&value)));
}

fn producers_and_transactions_mix(bench: &dyn Bench) {
    let topic = topic(bench, "t", 2);
    thread::scope(|scope| {
        for producer in 0..2 {
            let topic = &topic;
            scope.spawn(move || {
                produce(bench, (0..2_000).map(|i| record(topic, &format!("p{producer}"), &i.to_string())));
            });
        }
        let mut writer = bench.log().transactional(&format!("{}w", bench.prefix()), "g").unwrap();
        for round in 0..20 {
            let records = (0..50).map(|i| record(&topic, "t", &(round * 50 + i).to_string())).collect();
            writer.commit(&transaction(records)).unwrap();
        }
    });
    let polled = read_all(bench.log(), &topic, 2);
    for (key, count) in [("p0", 2_000), ("p1", 2_000), ("t", 1_000)] {
        let of: Vec<u32> = records(&polled)
            .iter()
            .filter(|r| r.key.as_deref() == Some(key.as_bytes()))
            .map(|r| String::from_utf8_lossy(r.value.as_ref().unwrap()).parse().unwrap())
            .collect();
        assert_eq!(of, (0..count).collect::<Vec<_>>(), "{key}");
    }
}

fn partitions_are_added_while_reading(bench: &dyn Bench) {
    let (a, b) = (topic(bench, "a", 1), topic(bench, "b", 2));
    produce(bench, [record(&a, "k", "a1")]);
    let mut reader = bench.log().reader(&partitions(&a, 1, Start::Beginning)).unwrap();
    assert_eq!(values(&poll_to_ends(&mut *reader, 1)), ["a1"]);
    produce(bench, [record(&b, "k", "b1")]);
    for (partition, start) in partitions(&b, 2, Start::Beginning) {
        reader.assign(partition, start).unwrap();
    }
    assert_eq!(values(&poll_to_ends(&mut *reader, 2)), ["b1"]);
    produce(bench, [record(&a, "k", "a2"), record(&b, "k", "b2")]);
    let polled = poll_until(&mut *reader, |all| records(all).len() == 2);
    let mut got = values(&polled);
    got.sort();
    assert_eq!(got, ["a2", "b2"]);

    // A reader may begin with nothing.
    let mut empty = bench.log().reader(&[]).unwrap();
    let mut nothing = Vec::new();
    empty.poll(&mut nothing, MIB, Duration::from_millis(50)).unwrap();
    assert_eq!(nothing, []);
    empty.assign(TopicPartition::new(Arc::clone(&a), 0), Start::Beginning).unwrap();
    assert_eq!(values(&poll_to_ends(&mut *empty, 1)), ["a1", "a2"]);
}

fn unknown_topics_are_errors(bench: &dyn Bench) {
    let known = topic(bench, "known", 1);
    let unknown: Arc<str> = format!("{}unknown", bench.prefix()).into();
    let is_unknown = |error: LogError| {
        assert!(matches!(&error, LogError::UnknownTopic { topic } if **topic == *unknown), "{error:?}");
    };
    is_unknown(bench.log().reader(&partitions(&unknown, 1, Start::Beginning)).err().unwrap());
    is_unknown(bench.log().producer().unwrap().send(record(&unknown, "k", "v")).unwrap_err());
    let mut writer = bench.log().transactional(&format!("{}w", bench.prefix()), "g").unwrap();
    is_unknown(writer.commit(&transaction(vec![record(&known, "k", "v"), record(&unknown, "k", "v")])).unwrap_err());
    assert!(values(&read_all(bench.log(), &known, 1)).is_empty(), "nothing of the transaction was written");
    // A partition that the topic does not have.
    let missing = bench.log().reader(&[(TopicPartition::new(Arc::clone(&known), 7), Start::Beginning)]).err().unwrap();
    assert!(matches!(missing, LogError::UnknownTopic { .. }), "{missing:?}");
}

fn compacted_topics_want_keys(bench: &dyn Bench) {
    let name = format!("{}t", bench.prefix());
    bench.log().ensure_topics(&[spec(&name, 1, Cleanup::Compact)]).unwrap();
    let topic: Arc<str> = name.into();
    let mut writer = bench.log().transactional(&format!("{}w", bench.prefix()), "g").unwrap();
    writer.commit(&transaction(vec![record(&topic, "k", "1")])).unwrap();
    let keyless = NewRecord { key: None, ..record(&topic, "", "2") };
    let error = writer.commit(&transaction(vec![record(&topic, "k", "lost"), keyless])).unwrap_err();
    assert!(matches!(error, LogError::Failed { .. }), "{error:?}");
    assert_eq!(values(&read_all(bench.log(), &topic, 1)), ["1"]);
}

fn polls_end_in_time_and_wake_up(bench: &dyn Bench) {
    let topic = topic(bench, "t", 1);
    let mut reader = bench.log().reader(&partitions(&topic, 1, Start::Beginning)).unwrap();
    poll_to_ends(&mut *reader, 1);
    let mut producer = bench.log().producer().unwrap();
    producer.send(record(&topic, "k", "warm up")).unwrap();
    producer.flush().unwrap();
    poll_until(&mut *reader, |all| all.iter().any(|p| end(p).is_some()));

    let mut polled = Vec::new();
    let begun = Instant::now();
    reader.poll(&mut polled, MIB, Duration::from_millis(300)).unwrap();
    assert_eq!(polled, []);
    assert!((290..1_500).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    let begun = Instant::now();
    reader.poll(&mut polled, MIB, Duration::ZERO).unwrap();
    assert!(begun.elapsed() < Duration::from_millis(200), "{:?}", begun.elapsed());

    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(300));
            producer.send(record(&topic, "k", "new")).unwrap();
            producer.flush().unwrap();
        });
        let begun = Instant::now();
        reader.poll(&mut polled, MIB, Duration::from_secs(30)).unwrap();
        assert!(begun.elapsed() < Duration::from_secs(5), "woken after {:?}", begun.elapsed());
    });
    assert!(!polled.is_empty());
}

fn polls_are_bounded_and_fair(bench: &dyn Bench) {
    let (a, b) = (topic(bench, "a", 1), topic(bench, "b", 1));
    let value = "x".repeat(1_000);
    produce(bench, [&a, &b].into_iter().flat_map(|t| (0..4_000).map(|_| record(t, "k", &value))));
    let both: Vec<_> = [&a, &b].into_iter().flat_map(|t| partitions(t, 1, Start::Beginning)).collect();
    let mut reader = bench.log().reader(&both).unwrap();
    let mut all = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while all.iter().filter_map(end).count() < 2 {
        assert!(Instant::now() < deadline);
        let before = all.len();
        reader.poll(&mut all, 100_000, Duration::from_millis(500)).unwrap();
        let bytes: usize = records(&all[before..]).iter().map(|r| r.size()).sum();
        assert!(bytes < 110_000, "{bytes} bytes in one poll");
    }
    assert_eq!(records(&all).len(), 8_000);
}

// --- What only one of them has. --------------------------------------------------------------

#[test]
fn embedded_compaction_keeps_the_newest_and_tombstones_for_a_while() {
    let directory = tempfile::tempdir().unwrap();
    let config = EmbeddedConfig { path: directory.path().join("log.db"), tombstone_retention_ms: 400 };
    let log = EmbeddedLog::new(&config).unwrap();
    log.ensure_topics(&[spec("t", 2, Cleanup::Compact)]).unwrap();
    let topic: Arc<str> = "t".into();
    let mut writer = log.transactional("w", "g").unwrap();
    for version in 0..3 {
        let records = (0..100).map(|i| record(&topic, &format!("k{i}"), &version.to_string()));
        writer.commit(&transaction(records.collect())).unwrap();
    }
    let tombstone = NewRecord { value: None, ..record(&topic, "k7", "") };
    writer.commit(&transaction(vec![tombstone])).unwrap();
    let ends = log.watermarks("t").unwrap();
    let kept = |log: &EmbeddedLog| -> BTreeMap<Vec<u8>, Option<Vec<u8>>> {
        let polled = read_all(log, &topic, 2);
        let records = records(&polled);
        let map: BTreeMap<_, _> = records.iter().map(|r| (r.key.clone().unwrap(), r.value.clone())).collect();
        assert_eq!(map.len(), records.len(), "one record a key");
        map
    };
    log.clean().unwrap();
    let first = kept(&log);
    assert_eq!(first.len(), 100);
    assert_eq!(first[b"k7".as_slice()], None, "the tombstone is still there");
    assert!(first.iter().all(|(key, value)| key == b"k7" || value.as_deref() == Some(b"2")));

    thread::sleep(Duration::from_millis(500));
    writer.commit(&transaction(vec![record(&topic, "k8", "3")])).unwrap();
    log.clean().unwrap();
    let second = kept(&log);
    assert_eq!(second.len(), 99);
    assert!(!second.contains_key(b"k7".as_slice()), "its time is over");
    assert_eq!(second[b"k8".as_slice()].as_deref(), Some(b"3".as_slice()));
    let moved = log.watermarks("t").unwrap();
    let sum = |ends: Option<Vec<headwater::log::Watermarks>>| ends.unwrap().iter().map(|e| e.high).sum::<i64>();
    assert_eq!(sum(moved), sum(ends) + 1, "compaction moves no end");
}

#[test]
fn embedded_retention_removes_what_is_old() {
    let directory = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(&directory.path().join("log.db")).unwrap();
    log.ensure_topics(&[
        spec("short", 1, Cleanup::Delete { retention_ms: Some(0) }),
        spec("long", 1, Cleanup::Delete { retention_ms: Some(3_600_000) }),
    ])
    .unwrap();
    let (short, long): (Arc<str>, Arc<str>) = ("short".into(), "long".into());
    let mut writer = log.transactional("w", "g").unwrap();
    // Timestamps of the past are no reason to remove anything: what counts is when it came.
    let old = |topic| NewRecord { timestamp_ms: Some(1), ..record(topic, "k", "v") };
    writer.commit(&transaction((0..2_500).flat_map(|_| [old(&short), old(&long)]).collect())).unwrap();
    log.clean().unwrap();
    let ends = |topic: &str| log.watermarks(topic).unwrap().unwrap()[0];
    assert_eq!((ends("short").low, ends("short").high), (2_500, 2_500));
    assert_eq!((ends("long").low, ends("long").high), (0, 2_500));
    assert!(records(&read_all(&log, &short, 1)).is_empty());
    assert_eq!(records(&read_all(&log, &long, 1)).len(), 2_500);
}

#[test]
fn embedded_survives_closing_and_numbers_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("deep/er/log.db");
    let topic: Arc<str> = "t".into();
    for round in 0..3 {
        let log = EmbeddedLog::open(&path).unwrap();
        log.ensure_topics(&[spec("t", 1, Cleanup::Delete { retention_ms: None })]).unwrap();
        log.transactional("w", "g").unwrap().commit(&transaction(vec![record(&topic, "k", "v")])).unwrap();
        let polled = read_all(&log, &topic, 1);
        assert_eq!(records(&polled).iter().map(|r| r.offset).collect::<Vec<_>>(), (0..=round).collect::<Vec<_>>());
    }
}

const CHILD: &str = "LOG_CONFORMANCE_CHILD";

/// Started by [`embedded_readers_notice_other_processes`] in a process of its own.
#[test]
fn embedded_child_process() {
    let Ok(path) = std::env::var(CHILD) else { return };
    let log = EmbeddedLog::open(path.as_ref()).unwrap();
    let topic: Arc<str> = "t".into();
    let mut producer = log.producer().unwrap();
    for i in 0..1_000 {
        producer.send(record(&topic, "child", &i.to_string())).unwrap();
    }
    producer.flush().unwrap();
}

#[test]
fn embedded_readers_notice_other_processes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.db");
    let log = EmbeddedLog::open(&path).unwrap();
    log.ensure_topics(&[spec("t", 1, Cleanup::Delete { retention_ms: None })]).unwrap();
    let topic: Arc<str> = "t".into();
    let mut reader = log.reader(&partitions(&topic, 1, Start::Beginning)).unwrap();
    poll_to_ends(&mut *reader, 1);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "embedded_child_process"])
        .env(CHILD, &path)
        .spawn()
        .unwrap();
    let mut writer = log.transactional("w", "g").unwrap();
    for i in 0..100 {
        writer.commit(&transaction(vec![record(&topic, "own", &i.to_string())])).unwrap();
    }
    let polled = poll_until(&mut *reader, |all| records(all).len() == 1_100);
    assert!(child.wait().unwrap().success());
    for (key, count) in [(b"child".as_slice(), 1_000), (b"own", 100)] {
        let of = records(&polled).into_iter().filter(|r| r.key.as_deref() == Some(key));
        let numbers: Vec<u32> =
            of.map(|r| String::from_utf8_lossy(r.value.as_ref().unwrap()).parse().unwrap()).collect();
        assert_eq!(numbers, (0..count).collect::<Vec<_>>());
    }
}

#[test]
fn an_unreachable_broker_is_told_quickly_and_why() {
    // Port 1 on loopback: nothing listens there.
    let log = KafkaLog::new(KafkaConfig { brokers: "127.0.0.1:1".to_owned(), ..KafkaConfig::default() }).unwrap();
    let begun = Instant::now();
    let error = log.check(Duration::from_secs(5)).unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    assert!(
        matches!(&error, LogError::Unreachable { at, reason }
        if at == "kafka://127.0.0.1:1" && reason.contains("refused")),
        "{error:?}"
    );
}

#[test]
fn wrong_properties_are_configuration_errors_without_secrets() {
    let with = |key: &str, value: &str| {
        let properties = BTreeMap::from([(key.to_owned(), value.to_owned())]);
        KafkaLog::new(KafkaConfig { properties, ..KafkaConfig::default() }).err().unwrap()
    };
    for (key, value) in [("no.such.property", "1"), ("linger.ms", "soon"), ("isolation.level", "read_uncommitted")] {
        let error = with(key, value);
        assert!(matches!(&error, LogError::Config { reason } if reason.contains(key)), "{error:?}");
    }
    let error = with("ssl.key.password.typo", "hunter2");
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
}

// --- Figures: cargo test --release --test log_conformance -- --ignored --nocapture -----------

#[test]
#[ignore = "prints throughput; run it in release mode"]
fn throughput() {
    for bench in [Embedded::new().map(|b| Box::new(b) as Box<dyn Bench>), Kafka::new().map(|b| Box::new(b) as _)] {
        let Some(bench) = bench else { continue };
        for bytes in [100, 1_000] {
            measure(&*bench, bytes);
        }
        latency(&*bench);
    }
}

fn measure(bench: &dyn Bench, bytes: usize) {
    const EACH: usize = 10_000;
    const ROUNDS: usize = 20;
    let topic = topic(bench, &format!("size-{bytes}"), 4);
    let mut writer = bench.log().transactional(&format!("{}w{bytes}", bench.prefix()), "g").unwrap();
    let noise = noise(bytes);
    let batch = |round: usize| {
        let one =
            |i: usize| NewRecord { value: Some(noise.clone().into()), ..record(&topic, &format!("{round}-{i}"), "") };
        transaction((0..EACH).map(one).collect())
    };
    let batches: Vec<Transaction> = (0..ROUNDS).map(batch).collect();
    let begun = Instant::now();
    for batch in &batches {
        writer.commit(batch).unwrap();
    }
    let appended = begun.elapsed();
    let begun = Instant::now();
    let mut reader = bench.log().reader(&partitions(&topic, 4, Start::Beginning)).unwrap();
    let (mut count, mut polled) = (0, Vec::new());
    while count < EACH * ROUNDS {
        polled.clear();
        reader.poll(&mut polled, 4 * MIB, Duration::from_millis(500)).unwrap();
        count += records(&polled).len();
    }
    let read = begun.elapsed();
    let rate = |took: Duration| (EACH * ROUNDS) as f64 / took.as_secs_f64();
    println!(
        "{}: {bytes} B records, transactions of {EACH}: append {:.0}/s, read {:.0}/s",
        bench.log().describe(),
        rate(appended),
        rate(read)
    );
}

fn latency(bench: &dyn Bench) {
    let topic = topic(bench, "latency", 4);
    let mut writer = bench.log().transactional(&format!("{}wl", bench.prefix()), "g").unwrap();
    let mut reader = bench.log().reader(&partitions(&topic, 4, Start::End)).unwrap();
    let (mut commits, mut seen) = (Vec::new(), Vec::new());
    for i in 0..100 {
        let batch = transaction((0..200).map(|k| record(&topic, &format!("{i}-{k}"), "value")).collect());
        let begun = Instant::now();
        writer.commit(&batch).unwrap();
        commits.push(begun.elapsed());
        let mut polled = Vec::new();
        while records(&polled).len() < 200 {
            reader.poll(&mut polled, MIB, Duration::from_secs(1)).unwrap();
        }
        seen.push(begun.elapsed());
    }
    for (what, mut times) in [("committed", commits), ("read by another", seen)] {
        times.sort();
        println!("{}: 200 records {what}: p50 {:?}, p99 {:?}", bench.log().describe(), times[50], times[98]);
    }
}
