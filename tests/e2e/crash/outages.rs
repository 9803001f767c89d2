//! The broker and the database stop, start and stall under load.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use headwater::log::kafka::{KafkaConfig, KafkaLog};
use headwater::log::{Cleanup, Log, NewRecord, Polled, Start, TopicPartition, TopicSpec};
use tempfile::TempDir;

use crate::stream::STREAM;
use crate::support::{Place, tests_folder};
use crate::trial::{Feeder, PATIENCE, Process, Trial};
use crate::verdict::{UNDISTURBED, differences};

/// A broker and a database of the test's own.
struct Services {
    folder: TempDir,
    brokers: String,
    database: String,
}

impl Services {
    fn start() -> Self {
        let mut services = Self { folder: TempDir::new().unwrap(), brokers: String::new(), database: String::new() };
        services.run(&["up"]);
        let output = services.run(&["env"]);
        let text = String::from_utf8(output.stdout).unwrap();
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("export {name}=")));
            line.unwrap_or_else(|| panic!("no {name} in {text}")).replace(['\'', '\\'], "")
        };
        (services.brokers, services.database) = (value("KAFKA_BROKERS"), value("DATABASE_URL"));
        services
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let script: PathBuf = tests_folder("../scripts/services.sh");
        let mut command = Command::new(script);
        command.args(arguments).env("HEADWATER_SERVICES_DIR", self.folder.path());
        for given in ["KAFKA_BROKERS", "DATABASE_URL", "HEADWATER_KAFKA_PORT", "HEADWATER_POSTGRES_PORT"] {
            command.env_remove(given);
        }
        command
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        for arguments in [&["resume", "kafka"][..], &["resume", "postgres"], &["down"]] {
            let _ = self.command(arguments).output();
        }
    }
}

/// An engine that may fail-stop when its broker is away for too long, and is started again.
struct Kept<'t> {
    trial: &'t Trial,
    process: Process,
    restarts: usize,
}

impl Kept<'_> {
    fn look(&mut self) {
        let Some(status) = self.process.wait(Duration::ZERO) else { return };
        let said = self.process.said();
        assert_eq!(status.code(), Some(3), "{said}");
        let lost = said.contains("has lost the state of a transaction");
        assert!(said.contains("cannot reach") || lost, "{said}");
        self.process = self.trial.start(&["--workers", "2"], None);
        self.restarts += 1;
    }
}

#[test]
fn outages_of_broker_and_database_leave_no_trace() {
    let Some(_) = Place::kafka("outages") else { return };
    let services = Services::start();
    let trial = Trial::new(Place::Kafka(services.brokers.clone()), Some(services.database.clone()));
    let feeder = Feeder::start(&trial, 4);
    let mut engine = Kept { trial: &trial, process: trial.start(&["--workers", "2"], None), restarts: 0 };
    let outages = [
        ("stop", "kafka", "start"),
        ("stop", "postgres", "start"),
        ("pause", "kafka", "resume"),
        ("pause", "postgres", "resume"),
    ];
    let rounds: usize = env::var("HEADWATER_CRASH_OUTAGES").map_or(1, |rounds| rounds.parse().unwrap());
    let portion = STREAM.len() / 12 / rounds;
    for (down, service, up) in outages.repeat(rounds) {
        feeder.allow(portion);
        feeder.rest();
        // So that there is something under way.
        feeder.allow(portion);
        services.run(&[down, service]);
        std::thread::sleep(Duration::from_secs(5));
        services.run(&[up, service]);
        feeder.rest();
        engine.look();
    }
    feeder.finish();
    engine.look();
    engine.process.signal("-TERM");
    let status = engine.process.wait(PATIENCE);
    assert_eq!(status.and_then(|status| status.code()), Some(0), "{}", engine.process.said());
    trial.settle();
    let differences = differences(&trial, &UNDISTURBED);
    println!(
        "outage summary: broker and database stopped, started and stalled under load; {} restarts of the engine, \
         {} records; differences: {}",
        engine.restarts,
        STREAM.len(),
        differences.len()
    );
    assert!(differences.is_empty(), "{:#?}", differences.iter().take(20).collect::<Vec<_>>());
}

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
