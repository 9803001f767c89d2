//! The discovery topology in this process, on a log of its own: records in, topics out.

pub mod feed;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use discovery::Figures;
use discovery::config::{Config, Sections};
use discovery::discovery::Discovery;
use headwater::config::{Sources, load};
use headwater::engine::progress::Progress;
use headwater::engine::{EngineOptions, start};
use headwater::log::{Log, LogRecord, NewRecord, Polled, Start, TopicPartition};
use headwater::run::{Declared, declare, engine_options};
use headwater::tools::open_log;
use serde_json::Value;
use tempfile::TempDir;

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
        let brokers = std::env::var("KAFKA_BROKERS").ok();
        if brokers.is_none() {
            println!("skipped: {what} on Kafka, since KAFKA_BROKERS is not set");
        }
        brokers.map(Self::Kafka)
    }
}

/// A name that no other test and no other run has.
pub fn unique_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    format!("test-{now}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A topology with its log, topics and folder; all gone when it is dropped.
pub struct Harness {
    pub config: Config,
    pub log: Arc<dyn Log>,
    /// What a binary has to be told to run this topology.
    pub arguments: Vec<String>,
    place: Place,
    pub folder: TempDir,
}

impl Harness {
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
        let own = folder.path().join("topology.toml");
        std::fs::copy(file, &own).unwrap();
        let mut arguments = vec!["--config".to_owned(), own.display().to_string()];
        arguments.extend(flags.iter().flat_map(|flag| ["--set".to_owned(), flag.clone()]));
        let sources = Sources { file: Some(file.to_owned()), environment: BTreeMap::new(), flags };
        let config = load::<Sections>(&sources).unwrap_or_else(|errors| panic!("{errors}")).config;
        let log = open_log(&config.runtime).unwrap();
        log.ensure_topics(&config.runtime.topic_specs()).unwrap();
        Self { config, log, arguments, place, folder }
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
        let Declared { catalog, program } =
            declare::<Discovery>(&config).unwrap_or_else(|invalid| panic!("{invalid:?}"));
        let options =
            EngineOptions { serialise_exchange: serialised, ..engine_options(&config.runtime, &catalog, true, true) };
        let engine = start(Arc::clone(&self.log), options, program).unwrap();
        let lifecycle = Arc::clone(engine.lifecycle());
        engine.wait().unwrap();
        Figures::of(&lifecycle)
    }

    /// How many input records are read and committed, of how many there are.
    pub fn progress(&self) -> (i64, i64) {
        let inputs = self.config.runtime.inputs.iter().map(|input| input.topic.as_str()).chain([
            "places",
            "decisions",
            "control",
        ]);
        let ends = inputs
            .flat_map(|topic| self.log.watermarks(&self.config.runtime.full_name(topic)).unwrap().unwrap_or_default());
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
    pub fn results(&self) -> Results {
        let results = Results {
            events: self.table("events"),
            listings: self.table("listings"),
            links: self.table("links"),
            redirects: self.table("redirects"),
            metrics: self.table("metrics"),
            place_requests: self.table("place-requests"),
            dead_letters: self.records("dead-letters"),
        };
        results.check();
        results
    }
}

impl Drop for Harness {
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
    pub fn into_record(self, config: &Config) -> NewRecord {
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

/// The output topics, read to their ends.
pub struct Results {
    pub events: BTreeMap<String, Value>,
    pub listings: BTreeMap<String, Value>,
    pub links: BTreeMap<String, Value>,
    pub redirects: BTreeMap<String, Value>,
    pub metrics: BTreeMap<String, Value>,
    pub place_requests: BTreeMap<String, Value>,
    pub dead_letters: Vec<LogRecord>,
}

/// A listing by name.
pub type Name = (String, String);

/// The listing that a JSON object with `source` and `externalId` names.
pub fn name(value: &Value) -> Name {
    (text(&value["source"]), text(&value["externalId"]))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

impl Results {
    /// The records of `events` that are events, not redirects.
    pub fn live_events(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.events.iter().filter(|(_, event)| event.get("redirectTo").is_none())
    }

    /// The listings of each event.
    pub fn groups(&self) -> BTreeMap<String, BTreeSet<Name>> {
        let members = |event: &Value| event["listings"].as_array().unwrap().iter().map(name).collect();
        self.live_events().map(|(id, event)| (id.clone(), members(event))).collect()
    }

    /// The live listings without what the engine keeps beside them.
    pub fn normal_listings(&self) -> BTreeMap<&String, [&Value; 3]> {
        let facts = |state| ["firstSeen", "updatedAt", "listing"].map(|field| Value::get(state, field).unwrap());
        self.listings.iter().map(|(id, state)| (id, facts(state))).collect()
    }

    /// The events without their ids, which are history, in the order of their listings.
    pub fn normal_events(&self) -> Vec<Value> {
        let mut events: Vec<Value> = self.live_events().map(|(_, event)| event.clone()).collect();
        for event in &mut events {
            let fields = event.as_object_mut().unwrap();
            fields.remove("id");
            fields.remove("format");
        }
        events.sort_by_key(|event| event["listings"].as_array().unwrap().iter().map(name).min());
        events
    }

    /// How many dead letters there are of each code.
    pub fn dead_by_code(&self) -> BTreeMap<String, usize> {
        let mut codes = BTreeMap::new();
        for letter in &self.dead_letters {
            *codes.entry(header(letter, "dead-letter-code")).or_default() += 1;
        }
        codes
    }

    /// What must hold of any results: live listings, links and events tell the same story.
    fn check(&self) {
        let listed: BTreeSet<&String> = self.listings.keys().collect();
        let linked: BTreeSet<&String> = self.links.keys().collect();
        let none: [&&String; 0] = [];
        assert_eq!(Vec::from_iter(listed.difference(&linked)), none, "listings without a link");
        assert_eq!(Vec::from_iter(linked.difference(&listed)), none, "links without a listing");
        let mut by_links: BTreeMap<String, BTreeSet<Name>> = BTreeMap::new();
        for (key, link) in &self.links {
            assert_eq!(name(link), name(&self.listings[key]["listing"]), "a link names its listing");
            by_links.entry(text(&link["eventId"])).or_default().insert(name(link));
        }
        assert_eq!(by_links, self.groups(), "links and events name the same groups");
        for (id, event) in &self.events {
            assert_eq!(&text(&event["id"]), id, "the key of an event is its id");
        }
        let in_events: BTreeMap<&String, &Value> =
            self.events.iter().filter(|(_, event)| event.get("redirectTo").is_some()).collect();
        assert_eq!(in_events, self.redirects.iter().collect(), "events and redirects name the same retired ids");
        for redirect in self.redirects.values() {
            let survivor = &self.events[&text(&redirect["redirectTo"])];
            assert!(survivor.get("redirectTo").is_none(), "a redirect leads to an event: {redirect}");
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
