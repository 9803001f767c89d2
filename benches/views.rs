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
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use discovery::Discovery;
use discovery::config::Config;
use discovery::generate::{GenerateConfig, Shape, bench_records, source_config_toml};
use discovery::tables::view_spec;
use headwater::config::Lifetime;
use headwater::engine::start;
use headwater::log::memory::MemoryLog;
use headwater::log::{Log, LogRecord};
use headwater::run::{Declared, declare, engine_options};
use headwater::view::{
    BatchConfig, OpenStore, PostgresConfig, PostgresStore, SqliteConfig, SqliteStore, View, ViewOptions,
};

/// The allocator of the binaries.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    /// The records of the topics that are `wanted`, of those that views follow.
    fn of(written: &MemoryLog, wanted: impl Fn(&str) -> bool) -> Self {
        let outputs = MemoryLog::new();
        let mut event_ids = HashSet::new();
        let mut count = 0;
        for topic in view_spec().topics(&Config::default().runtime.prefix).all() {
            let partitions = written.records(topic).unwrap();
            outputs.create(topic, partitions.len());
            for record in partitions.into_iter().flatten().filter(|_| wanted(topic)) {
                if topic.ends_with(".events") {
                    event_ids.insert(record.key.clone());
                }
                outputs.put(record).unwrap();
                count += 1;
            }
        }
        Self { log: outputs, records: count, event_ids: event_ids.len() }
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
    let schema = format!("bench_views_{}", std::process::id());
    let spec = view_spec();
    let topics = spec.topics(&Config::default().runtime.prefix);
    let postgres = PostgresConfig {
        schema: Some(schema.clone()),
        ..PostgresConfig::new(std::env::var("DATABASE_URL").unwrap_or_default())
    };
    let open: OpenStore = match store {
        "sqlite" => {
            let config = SqliteConfig::new(folder.path().join("view.sqlite"));
            Box::new(move || Ok(Box::new(SqliteStore::open(&config, &spec)?)))
        }
        "postgres" if postgres.url.is_empty() => panic!("DATABASE_URL names no Postgres"),
        "postgres" => {
            let config = postgres.clone();
            Box::new(move || Ok(Box::new(PostgresStore::open(&config, &spec)?)))
        }
        other => panic!("unknown store {other}"),
    };
    let log = Arc::new(outputs.log.clone());
    let ends = log.ends();
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
        client.batch_execute(&format!("DROP SCHEMA {schema} CASCADE; CHECKPOINT")).unwrap();
    }
    Measured { seconds, cpu_seconds, rows: status.rows }
}

/// What the discovery topology writes for generated records.
fn run_engine(records: u64) -> MemoryLog {
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
    let log = MemoryLog::new();
    log.ensure_topics(&config.runtime.topic_specs()).unwrap();
    // One partition, whatever is configured: the order of the records is that of their making.
    log.create(&raw, 1);
    for generated in bench_records(records, generate).unwrap() {
        log.put(LogRecord {
            topic: Arc::clone(&raw),
            partition: 0,
            offset: 0,
            timestamp_ms: 1_780_000_000_000,
            key: generated.key,
            value: generated.value,
            headers: vec![
                ("source".to_owned(), generated.source.as_bytes().to_vec()),
                ("content-type".to_owned(), generated.content_type.as_bytes().to_vec()),
            ],
        })
        .unwrap();
    }
    let Declared { catalog, program } = declare::<Discovery>(&config).unwrap();
    let options = engine_options(&config.runtime, &catalog, true, true);
    let engine = start(Arc::new(log.clone()), options, program).unwrap();
    engine.wait().unwrap();
    log
}
