//! A topology in this process, on a log of its own: records in, topics out.

#[path = "../../support/service.rs"]
mod service;
pub mod services;
pub mod subject;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use headwater::config::{Config, Section, Sources, load};
use headwater::console::Figures;
use headwater::engine::progress::Progress;
use headwater::engine::{EngineOptions, start};
use headwater::log::{Log, LogRecord, NewRecord, Polled, Start, TopicPartition};
use headwater::run::{Declared, declare, engine_options};
use headwater::schema::Catalog;
use headwater::tools::open_log;
use serde_json::Value;
use tempfile::TempDir;

pub use service::service;
use subject::Subject;

/// Where a topology keeps its topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a file of its own.
    Embedded,
    /// On the brokers of this address.
    Kafka(String),
}

impl Place {
    /// The brokers that `KAFKA_BROKERS` names; without, says that `what` is skipped.
    pub fn kafka(what: &str) -> Option<Self> {
        service("KAFKA_BROKERS", what).map(Self::Kafka)
    }
}

/// Bytes that look like noise, and are no UTF-8: the same for the same `number`.
pub fn noise(number: usize, length: usize) -> Vec<u8> {
    let mut state = number as u64 ^ 0x9E37_79B9_7F4A_7C15;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8 | 0x80
    };
    (0..length).map(step).collect()
}

/// A name that no other test and no other run has.
pub fn unique_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    format!("test-{now}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A topology with its log, topics and folder; all gone when it is dropped.
pub struct Harness<T: Subject> {
    pub config: Config<T::Config>,
    pub log: Arc<dyn Log>,
    /// What a binary has to be told to run this topology.
    pub arguments: Vec<String>,
    place: Place,
    pub folder: TempDir,
}

impl<T: Subject> Harness<T> {
    /// A topology with the configuration file `file`, under a name and prefix of its own, with its
    /// topics made. Flags are as for `--set`.
    pub fn new(place: Place, file: &Path, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let name = unique_name();
        let mut flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        flags.push(format!("name={name}"));
        flags.push(format!("prefix={name}."));
        // Records of tests bear old timestamps, and Kafka counts retention from those.
        flags.push("topics.raw_retention=forever".to_owned());
        flags.push("topics.dead_letter_retention=forever".to_owned());
        // And may be ahead of the clock of this machine.
        flags.insert(0, "engine.max_timestamp_lead=forever".to_owned());
        match &place {
            Place::Embedded => flags.push(format!("log.embedded.path={}", folder.path().join("log.db").display())),
            Place::Kafka(brokers) => {
                flags.extend(["log.kind=kafka".to_owned(), format!("log.kafka.brokers={brokers}")]);
            }
        }
        flags.extend(T::flags(&format!("{name}.")));
        let own = folder.path().join("topology.toml");
        std::fs::copy(file, &own).unwrap();
        let mut arguments = vec!["--config".to_owned(), own.display().to_string()];
        arguments.extend(flags.iter().flat_map(|flag| ["--set".to_owned(), flag.clone()]));
        let sources = Sources { file: Some(file.to_owned()), environment: BTreeMap::new(), flags };
        let config = load::<T::Config>(&sources).unwrap_or_else(|errors| panic!("{errors}")).config;
        let log = open_log(&config.runtime).unwrap();
        log.ensure_topics(&config.runtime.topic_specs()).unwrap();
        let harness = Self { config, log, arguments, place, folder };
        T::prepare(&harness);
        harness
    }

    /// The same, with a configuration file of this text.
    pub fn configured(place: Place, text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("configuration.toml");
        std::fs::write(&file, text).unwrap();
        Self::new(place, &file, &[])
    }

    /// Appends records, in order.
    pub fn produce(&self, records: impl IntoIterator<Item = Input>) {
        let mut producer = self.log.producer().unwrap();
        for record in records {
            producer.send(record.into_record(&self.config)).unwrap();
        }
        producer.flush().unwrap();
    }

    /// Runs the engine on `workers` workers until everything that is there is processed.
    pub fn run(&self, workers: usize) -> Figures {
        self.run_with(workers, false)
    }

    /// The same; workers exchange bytes, as processes do, where `serialised`.
    pub fn run_with(&self, workers: usize, serialised: bool) -> Figures {
        let mut config = self.config.clone();
        config.runtime.workers = workers;
        let Declared { catalog, program } = declare::<T>(&config).unwrap_or_else(|invalid| panic!("{invalid:?}"));
        let options =
            EngineOptions { serialise_exchange: serialised, ..engine_options(&config.runtime, &catalog, true, true) };
        let engine = start(Arc::clone(&self.log), options, program).unwrap();
        let lifecycle = Arc::clone(engine.lifecycle());
        engine.wait().unwrap();
        Figures::of(&lifecycle)
    }

    /// How many input records are read and committed, of how many there are.
    pub fn progress(&self) -> (i64, i64) {
        let runtime = &self.config.runtime;
        let inputs = runtime.inputs.iter().map(|input| runtime.full_name(&input.topic));
        let catalog = self.catalog();
        let tables = catalog.tables().iter().map(|table| table.full_name(&runtime.prefix));
        let ends = inputs.chain(tables).flat_map(|topic| self.log.watermarks(&topic).unwrap().unwrap_or_default());
        let positions = self.last_progress().map(|progress| progress.positions).unwrap_or_default();
        (positions.iter().map(|at| at.next).sum(), ends.map(|ends| ends.high).sum())
    }

    /// The watermark at the last commit.
    pub fn watermark(&self) -> i64 {
        self.last_progress().and_then(|progress| progress.watermark).unwrap_or(i64::MIN)
    }

    fn last_progress(&self) -> Option<Progress> {
        let last = self.records("progress").pop()?;
        serde_json::from_slice(&last.value?).unwrap()
    }

    /// What the topology is called.
    pub fn topology(&self) -> &'static str {
        T::Config::NAME
    }

    /// What the topology declares.
    pub fn catalog(&self) -> Arc<Catalog> {
        declare::<T>(&self.config).unwrap_or_else(|invalid| panic!("{invalid:?}")).catalog
    }

    /// Every record of a topic, partition by partition.
    pub fn records(&self, topic: &str) -> Vec<LogRecord> {
        read_to_end(&*self.log, &self.config.runtime.full_name(topic))
    }

    /// A compacted topic as the table that it stands for. Where a topic has gained partitions, the
    /// later epoch tells.
    pub fn table(&self, topic: &str) -> BTreeMap<String, Value> {
        let mut table = BTreeMap::new();
        let mut records = self.records(topic);
        records.sort_by_key(|record| header(record, "epoch").parse::<u64>().unwrap_or(0));
        for record in records {
            let key = String::from_utf8(record.key.unwrap()).unwrap();
            match record.value {
                Some(value) => table.insert(key, value),
                None => table.remove(&key),
            };
        }
        table.into_iter().map(|(key, value)| (key, serde_json::from_slice(&value).unwrap())).collect()
    }

    /// What the topology has come to, checked against itself.
    pub fn results(&self) -> T::Results {
        T::results(self)
    }
}

impl<T: Subject> Drop for Harness<T> {
    fn drop(&mut self) {
        let Place::Kafka(brokers) = &self.place else { return };
        let topics = self.log.topics(&self.config.runtime.prefix).unwrap_or_default();
        let names: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
        delete_topics(brokers, &names);
    }
}

/// Deletes topics of a broker, if it can.
pub fn delete_topics(brokers: &str, names: &[&str]) {
    let mut client = rdkafka::ClientConfig::new();
    let admin: rdkafka::admin::AdminClient<rdkafka::client::DefaultClientContext> =
        client.set("bootstrap.servers", brokers).create().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _ = runtime.block_on(admin.delete_topics(names, &rdkafka::admin::AdminOptions::new()));
}

/// Every record of a topic, partition by partition.
pub fn read_to_end(log: &dyn Log, topic: &str) -> Vec<LogRecord> {
    let partitions = log.watermarks(topic).unwrap().unwrap_or_default().len();
    let mut left: BTreeSet<TopicPartition> = (0..partitions as i32).map(|p| TopicPartition::new(topic, p)).collect();
    let assigned: Vec<_> = left.iter().map(|at| (at.clone(), Start::Beginning)).collect();
    let mut reader = log.reader(&assigned).unwrap();
    let (mut polled, mut records) = (Vec::new(), Vec::new());
    while !left.is_empty() {
        reader.poll(&mut polled, 1 << 20, Duration::from_millis(100)).unwrap();
        for one in polled.drain(..) {
            match one {
                Polled::Record(record) => records.push(record),
                Polled::End { partition, .. } => {
                    left.remove(&partition);
                }
            }
        }
    }
    records.sort_by_key(|record| (record.partition, record.offset));
    records
}

/// A record to be produced.
#[derive(Debug, Clone)]
pub struct Input {
    pub topic: String,
    pub source: Option<String>,
    pub content_type: Option<String>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub timestamp_ms: i64,
}

impl Input {
    pub fn into_record<S: Section>(self, config: &Config<S>) -> NewRecord {
        let header = |name: &str, value: Option<String>| value.map(|value| (name.to_owned(), value.into_bytes()));
        let headers = [header("source", self.source), header("content-type", self.content_type)];
        NewRecord {
            topic: config.runtime.full_name(&self.topic).into(),
            key: self.key.map(Into::into),
            value: self.value.map(Into::into),
            headers: headers.into_iter().flatten().collect(),
            timestamp_ms: Some(self.timestamp_ms),
        }
    }
}

/// A header as text; empty where there is none.
pub fn header(record: &LogRecord, name: &str) -> String {
    String::from_utf8_lossy(record.header(name).unwrap_or_default()).into_owned()
}

/// A path below `tests`.
pub fn tests_folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests").join(path)
}
