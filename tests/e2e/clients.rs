//! Clients whose only broker restarts again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use headwater::log::kafka::{KafkaConfig, KafkaLog};
use headwater::log::{Cleanup, Log, NewRecord, Polled, Start, TopicPartition, TopicSpec};

use crate::support::Place;
use crate::support::services::Services;

/// Topics, and partitions of each. The more there are, the longer a client is at work on an answer that
/// names no broker, and the oftener it loses its way; but with 240 partitions librdkafka 2.12.1 crashes in one
/// of ten restarts (<https://github.com/confluentinc/librdkafka/issues/5280>).
const MANY: (usize, i32) = (12, 3);

/// Long enough for a client to be told that it has lost its way, and to be replaced.
const UP: Duration = Duration::from_secs(45);

/// Producers and readers whose only broker restarts again and again. Their clients may lose their way
/// then, and have to be replaced.
#[test]
#[ignore = "takes ten minutes"]
fn clients_find_back_from_every_restart_of_their_only_broker() {
    let Some(_) = Place::kafka("clients") else { return };
    let services = Services::start();
    let config = KafkaConfig { brokers: services.brokers.clone(), ..KafkaConfig::default() };
    let log: Arc<dyn Log> = Arc::new(KafkaLog::new(config).unwrap());
    let topics: Vec<String> = (0..MANY.0).map(|number| format!("many-{number}")).collect();
    let spec = |name: &String| TopicSpec {
        name: name.clone(),
        partitions: MANY.1,
        replication: None,
        cleanup: Cleanup::Delete { retention_ms: None },
        max_record_bytes: 1_000_000,
        properties: BTreeMap::new(),
    };
    log.ensure_topics(&topics.iter().map(spec).collect::<Vec<_>>()).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let producers: Vec<_> = (0..3)
        .map(|number| {
            let (log, topics, stop) = (Arc::clone(&log), topics.clone(), Arc::clone(&stop));
            std::thread::spawn(move || produce(&*log, &topics, number, &stop))
        })
        .collect();
    let readers: Vec<_> = (0..3).map(|_| Reading::start(&log, &topics, &stop)).collect();
    for round in 0..9 {
        std::thread::sleep(UP);
        services.run(&["stop", "kafka"]);
        services.run(&["start", "kafka"]);
        let seen: Vec<usize> = readers.iter().map(Reading::seen).collect();
        println!("restart {round}: the readers have seen {seen:?} records");
    }
    std::thread::sleep(UP);
    stop.store(true, Ordering::Relaxed);
    let sent: BTreeSet<String> = producers.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    // What is left: the producers have flushed, and readers stop when nothing comes.
    for reader in readers {
        let seen = reader.thread.join().unwrap();
        assert_eq!(seen.difference(&sent).count(), 0, "nothing is read that was not sent");
        assert_eq!(sent.difference(&seen).count(), 0, "of {} records", sent.len());
    }
}

/// Writes a few records after each other until told to stop; what was written.
fn produce(log: &dyn Log, topics: &[String], number: usize, stop: &AtomicBool) -> Vec<String> {
    let mut producer = log.producer().unwrap();
    let mut sent = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        for topic in topics.iter().cycle().skip(sent.len() % topics.len()).take(5) {
            let text = format!("{number}/{}", sent.len());
            let (key, value) = (Some(text.clone().into()), Some(text.clone().into()));
            let record = NewRecord { topic: topic.as_str().into(), key, value, headers: vec![], timestamp_ms: None };
            producer.send(record).unwrap();
            sent.push(text);
        }
        producer.flush().unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    sent
}

/// A reader of all partitions on a thread.
struct Reading {
    seen: Arc<AtomicUsize>,
    thread: JoinHandle<BTreeSet<String>>,
}

impl Reading {
    /// Reads until it is told to stop and nothing has come for long.
    fn start(log: &Arc<dyn Log>, topics: &[String], stop: &Arc<AtomicBool>) -> Self {
        let all = topics.iter().flat_map(|topic| (0..MANY.1).map(|number| TopicPartition::new(topic.as_str(), number)));
        let all: Vec<_> = all.map(|at| (at, Start::Beginning)).collect();
        let mut reader = log.reader(&all).unwrap();
        let (seen, stop) = (Arc::new(AtomicUsize::new(0)), Arc::clone(stop));
        let count = Arc::clone(&seen);
        let work = move || {
            let (mut polled, mut texts) = (Vec::new(), BTreeSet::new());
            let mut last = Instant::now();
            while !stop.load(Ordering::Relaxed) || last.elapsed() < UP {
                reader.poll(&mut polled, 1 << 20, Duration::from_millis(200)).unwrap();
                for one in polled.drain(..) {
                    let Polled::Record(record) = one else { continue };
                    texts.insert(String::from_utf8(record.value.unwrap()).unwrap());
                    last = Instant::now();
                }
                count.store(texts.len(), Ordering::Relaxed);
            }
            texts
        };
        Self { seen, thread: std::thread::spawn(work) }
    }

    fn seen(&self) -> usize {
        self.seen.load(Ordering::Relaxed)
    }
}
