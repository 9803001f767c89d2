//! How fast the views take what a real run of the engine writes: all tables, all indexes, the
//! full text too, rows and offsets in one transaction.
//!
//! ```text
//! cargo bench --locked -p topologies --bench views -- [--records N] [--store postgres|sqlite]
//!                                                     [--topics all|events] [--batch N] [--runs N]
//! ```
//!
//! The discovery topology makes events, listings, links and metrics of N generated records (30 % of
//! them duplicates, 30 % updates), and the output topics are kept in memory, with as many partitions
//! as they have by default. Then a view, as in a running instance, reads them from the beginning
//! into an empty database: once all of them, and once the events alone. Postgres is the one of `DATABASE_URL`, in a schema that is dropped
//! afterwards; SQLite is a file in the folder for temporary files.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "a benchmark fails by panicking")]

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use discovery::Discovery;
use discovery::config::Config;
use discovery::generate::{GenerateConfig, Shape, bench_records, source_config_toml};
use discovery::run::engine_options;
use headwater::config::Lifetime;
use headwater::engine::start;
use headwater::log::{
    Log, LogError, LogRecord, NewRecord, Polled, Producer, Reader, Start, TopicInfo, TopicPartition, TopicSpec,
    Transaction, Transactional, Watermarks,
};
use headwater::view::{
    BatchConfig, OpenStore, PostgresConfig, PostgresStore, SqliteConfig, SqliteStore, View, ViewOptions, ViewTopics,
};

const SOURCES: u32 = 6;
const TIMEOUT: Duration = Duration::from_secs(3_600);

fn main() {
    let options = Options::of_command_line();
    let written = run_engine(options.records);
    let everything = Outputs::of(&written, |_| true);
    let events = Outputs::of(&written, |topic| topic.ends_with(".events"));
    println!(
        "{} event records for {} events; {} records in all; batches of {}",
        events.records, everything.event_ids, everything.records, options.batch.records
    );
    println!(
        "{:<10} {:<8} {:>9} {:>9} {:>10} {:>10} {:>10}",
        "store", "topics", "seconds", "cpu s", "events/s", "records/s", "rows/s"
    );
    for store in &options.stores {
        let topics = [("all", &everything), ("events", &events)];
        for (name, outputs) in
            topics.into_iter().filter(|(name, _)| options.topics.as_deref().is_none_or(|t| t == *name))
        {
            for _ in 0..options.runs {
                let Measured { seconds, cpu_seconds, rows } = measure(store, outputs, &options);
                let rate = |count: u64| (count as f64 / seconds).round() as u64;
                println!(
                    "{store:<10} {name:<8} {seconds:>9.2} {cpu_seconds:>9.2} {:>10} {:>10} {:>10}",
                    rate(events.records),
                    rate(outputs.records),
                    rate(rows)
                );
            }
        }
    }
}

struct Options {
    records: u64,
    runs: u32,
    batch: BatchConfig,
    stores: Vec<String>,
    /// All, or the events alone; both where it is not said.
    topics: Option<String>,
}

impl Options {
    fn of_command_line() -> Self {
        let mut options =
            Self { records: 100_000, runs: 3, batch: BatchConfig::default(), stores: Vec::new(), topics: None };
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            let mut value = || arguments.next().unwrap_or_else(|| panic!("{name} needs a value"));
            match &*name {
                "--records" => options.records = value().parse().unwrap(),
                "--runs" => options.runs = value().parse().unwrap(),
                "--batch" => options.batch.records = value().parse().unwrap(),
                "--store" => options.stores.push(value()),
                "--topics" => options.topics = Some(value()),
                "--bench" => {}
                other => panic!("unknown option {other}"),
            }
        }
        if options.stores.is_empty() {
            options.stores = vec!["sqlite".to_owned(), "postgres".to_owned()];
        }
        options
    }
}

/// Output records by topic, and how many there are.
struct Outputs {
    log: MemoryLog,
    records: u64,
    event_ids: usize,
}

impl Outputs {
    fn of(written: &Topics, wanted: impl Fn(&str) -> bool) -> Self {
        let mut topics = Topics::new();
        for topic in ViewTopics::with_prefix(&Config::default().runtime.prefix).all() {
            let records = if wanted(topic) { written.get(topic).cloned() } else { None };
            topics.insert(Arc::clone(topic), records.unwrap_or_else(no_records));
        }
        let events = topics.iter().filter(|(topic, _)| topic.ends_with(".events")).flat_map(|(_, records)| records);
        let event_ids = events.flatten().map(|record| &record.key).collect::<HashSet<_>>().len();
        let records = topics.values().flatten().map(|records| records.len() as u64).sum();
        Self { log: MemoryLog::new(topics), records, event_ids }
    }
}

struct Measured {
    /// Until a new view showed everything.
    seconds: f64,
    /// What this process, without the server of Postgres, spent on it; of both processors.
    cpu_seconds: f64,
    /// Rows written and deleted.
    rows: u64,
}

/// Seconds of processor time that this process has used: in hundredths, as Linux tells it.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn measure(store: &str, outputs: &Outputs, options: &Options) -> Measured {
    let folder = tempfile::tempdir().unwrap();
    let postgres = PostgresConfig {
        schema: format!("bench_views_{}", std::process::id()),
        ..PostgresConfig::new(std::env::var("DATABASE_URL").unwrap_or_default())
    };
    let open: OpenStore = match store {
        "sqlite" => {
            let config = SqliteConfig::new(folder.path().join("view.sqlite"));
            Box::new(move || Ok(Box::new(SqliteStore::open(&config)?)))
        }
        "postgres" if postgres.url.is_empty() => panic!("DATABASE_URL names no Postgres"),
        "postgres" => {
            let config = postgres.clone();
            Box::new(move || Ok(Box::new(PostgresStore::open(&config)?)))
        }
        other => panic!("unknown store {other}"),
    };
    let log = Arc::new(outputs.log.clone());
    let ends = log.ends();
    let topics = ViewTopics::with_prefix(&Config::default().runtime.prefix);
    let view_options = ViewOptions { batch: options.batch.clone(), ..ViewOptions::default() };
    let (started, cpu_before) = (Instant::now(), cpu_seconds());
    let view = View::start(store, log, topics, view_options, open, Arc::new(AtomicBool::new(false))).unwrap();
    assert!(view.wait_until(&ends, TIMEOUT), "{:?}", view.failure());
    let (seconds, cpu_seconds) = (started.elapsed().as_secs_f64(), cpu_seconds() - cpu_before);
    let status = view.status();
    assert_eq!((status.records, status.skipped), (outputs.records, 0));
    view.stop().unwrap();
    if store == "postgres" {
        let mut client = postgres::Client::connect(&postgres.url, postgres::NoTls).unwrap();
        client.batch_execute(&format!("DROP SCHEMA {} CASCADE; CHECKPOINT", postgres.schema)).unwrap();
    }
    Measured { seconds, cpu_seconds, rows: status.rows }
}

/// What the discovery topology writes for generated records.
fn run_engine(records: u64) -> Topics {
    #[derive(serde::Deserialize)]
    struct Sources {
        sources: BTreeMap<String, headwater_operators::extract::SourceConfig>,
    }
    let sources: Sources = toml::from_str(&source_config_toml(SOURCES, &[Shape::Mapped])).unwrap();
    let mut config = Config::default();
    config.topology.sources = sources.sources;
    config.runtime.workers = 2;
    config.topology.retention.past_events = Lifetime::Forever;
    let generate = GenerateConfig {
        sources: SOURCES,
        update_share: 0.3,
        withdraw_share: 0.01,
        malformed_share: 0.001,
        venues_per_city: 1024,
        cities: 24,
        days: 730,
        ..GenerateConfig::default()
    };
    let raw: Arc<str> = config.runtime.full_name("raw.events").into();
    let inputs = bench_records(records, generate).unwrap().zip(0..).map(|(generated, offset)| LogRecord {
        topic: Arc::clone(&raw),
        partition: 0,
        offset,
        timestamp_ms: 1_780_000_000_000 + offset,
        key: generated.key,
        value: generated.value,
        headers: vec![
            ("source".to_owned(), generated.source.as_bytes().to_vec()),
            ("content-type".to_owned(), generated.content_type.as_bytes().to_vec()),
        ],
    });
    let log = MemoryLog::new(Topics::from([(Arc::clone(&raw), vec![inputs.collect()])]));
    let discovery = Discovery::new(&config).unwrap();
    let engine = start(Arc::new(log.clone()), engine_options(&config, true, true), Arc::new(discovery)).unwrap();
    engine.wait().unwrap();
    std::mem::take(&mut *log.topics.lock().unwrap())
}

/// The records of each partition of each topic.
type Topics = BTreeMap<Arc<str>, Vec<Vec<LogRecord>>>;

fn no_records() -> Vec<Vec<LogRecord>> {
    vec![Vec::new(); Config::default().runtime.topics.partitions as usize]
}

/// A log in memory.
#[derive(Clone)]
struct MemoryLog {
    topics: Arc<Mutex<Topics>>,
}

impl MemoryLog {
    fn new(topics: Topics) -> Self {
        Self { topics: Arc::new(Mutex::new(topics)) }
    }

    fn ends(&self) -> Vec<(TopicPartition, i64)> {
        let topics = self.topics.lock().unwrap();
        let all = topics.iter().flat_map(|(topic, partitions)| {
            let ends = partitions.iter().map(|records| records.len() as i64);
            (0..).zip(ends).map(|(partition, end)| (TopicPartition::new(Arc::clone(topic), partition), end))
        });
        all.collect()
    }
}

impl Log for MemoryLog {
    fn describe(&self) -> String {
        "memory".to_owned()
    }

    fn check(&self, _timeout: Duration) -> Result<(), LogError> {
        Ok(())
    }

    fn ensure_topics(&self, _specs: &[TopicSpec]) -> Result<(), LogError> {
        Ok(())
    }

    fn topics(&self, _prefix: &str) -> Result<Vec<TopicInfo>, LogError> {
        Ok(Vec::new())
    }

    fn watermarks(&self, topic: &str) -> Result<Option<Vec<Watermarks>>, LogError> {
        let topics = self.topics.lock().unwrap();
        let ends = |partitions: &Vec<Vec<LogRecord>>| {
            partitions.iter().map(|records| Watermarks { low: 0, high: records.len() as i64 }).collect()
        };
        Ok(Some(topics.get(topic).map_or_else(|| vec![Watermarks { low: 0, high: 0 }], ends)))
    }

    fn reader(&self, partitions: &[(TopicPartition, Start)]) -> Result<Box<dyn Reader>, LogError> {
        let places = partitions.iter().map(|(at, _)| Place { at: at.clone(), next: 0, reported: None }).collect();
        Ok(Box::new(MemoryReader { log: self.clone(), places }))
    }

    fn producer(&self) -> Result<Box<dyn Producer>, LogError> {
        Ok(Box::new(self.clone()))
    }

    fn transactional(&self, _id: &str, _group: &str) -> Result<Box<dyn Transactional>, LogError> {
        Ok(Box::new(self.clone()))
    }
}

impl Transactional for MemoryLog {
    fn commit(&mut self, transaction: &Transaction) -> Result<(), LogError> {
        transaction.records.iter().try_for_each(|record| {
            let headers = record.headers.iter().chain(&transaction.headers).cloned().collect();
            self.send(NewRecord { headers, ..record.clone() })
        })
    }

    fn check(&mut self, _positions: Vec<(TopicPartition, i64)>) -> Result<(), LogError> {
        Ok(())
    }
}

impl Producer for MemoryLog {
    fn send(&mut self, record: NewRecord) -> Result<(), LogError> {
        let NewRecord { topic, key, value, headers, timestamp_ms } = record;
        let mut topics = self.topics.lock().unwrap();
        let partitions = topics.entry(Arc::clone(&topic)).or_insert_with(no_records);
        let partition = BuildHasherDefault::<DefaultHasher>::default().hash_one(&key) as usize % partitions.len();
        let into = &mut partitions[partition];
        let (offset, timestamp_ms) = (into.len() as i64, timestamp_ms.unwrap_or(1_780_000_000_000));
        let (key, value) = (key.map(Into::into), value.map(Into::into));
        into.push(LogRecord { topic, partition: partition as i32, offset, timestamp_ms, key, value, headers });
        Ok(())
    }

    fn flush(&mut self) -> Result<(), LogError> {
        Ok(())
    }
}

struct Place {
    at: TopicPartition,
    next: usize,
    reported: Option<usize>,
}

struct MemoryReader {
    log: MemoryLog,
    places: Vec<Place>,
}

impl Reader for MemoryReader {
    /// Every partition that has something gets an equal share of `max_bytes`.
    fn poll(&mut self, into: &mut Vec<Polled>, max_bytes: usize, wait: Duration) -> Result<(), LogError> {
        let before = into.len();
        let share = max_bytes / self.places.len().max(1);
        {
            let topics = self.log.topics.lock().unwrap();
            for place in &mut self.places {
                let partitions = topics.get(&place.at.topic);
                let records = partitions.and_then(|all| all.get(place.at.partition as usize));
                let records = records.map_or(&[][..], |records| records);
                let mut bytes = 0;
                while let Some(record) = records.get(place.next).filter(|_| bytes <= share) {
                    bytes += record.size();
                    place.next += 1;
                    into.push(Polled::Record(record.clone()));
                }
                if place.next == records.len() && place.reported != Some(place.next) {
                    place.reported = Some(place.next);
                    into.push(Polled::End { partition: place.at.clone(), next: place.next as i64 });
                }
            }
        }
        if into.len() == before {
            std::thread::sleep(wait.min(Duration::from_millis(1)));
        }
        Ok(())
    }

    fn assign(&mut self, at: TopicPartition, _start: Start) -> Result<(), LogError> {
        self.places.push(Place { at, next: 0, reported: None });
        Ok(())
    }
}
