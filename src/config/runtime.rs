//! The runtime's sections of the configuration: those that any topology has.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::net::{SocketAddr, ToSocketAddrs};

use serde::Deserialize;

use super::cluster::ClusterSection;
use super::document::join;
use super::explain::suggest;
use super::problem::Invalid;
use super::roles::TopicRoles;
use super::values::{Lifetime, Period, Size};
use crate::log::embedded::EmbeddedConfig;
use crate::log::kafka::KafkaConfig;
use crate::log::{LONGEST_TOPIC, is_legal_topic};
use crate::view::ViewsConfig;

/// The sections that any topology has.
///
/// [`Default`] knows no topology, and so neither a name nor inputs; the default of
/// [`Config`](super::Config) has both.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Runtime {
    /// Name of the topology: the id of its transactions on the log, so one running instance a name.
    pub name: String,
    /// What the names of all topics begin with, so that several topologies may share a cluster.
    pub prefix: String,
    /// Worker threads of each process, 1 or more. Results do not depend on it. Default: one per core.
    pub workers: usize,
    /// The topology as several processes.
    pub cluster: ClusterSection,
    /// Which log, and where it is.
    pub log: LogSection,
    /// How topics are made when they are missing.
    pub topics: TopicsSection,
    /// The topics that raw records are read from.
    pub inputs: Vec<Input>,
    /// Epochs, limits, corrections.
    pub engine: EngineSection,
    /// When dead letters are given up.
    pub dead_letters: DeadLettersSection,
    /// The admin server.
    pub admin: AdminSection,
    /// Where results are shown: tables in Postgres, in SQLite.
    pub views: ViewsConfig,
    /// How the topology uses its topics. It says so itself; no key of the configuration does.
    #[serde(skip)]
    pub roles: TopicRoles,
}

impl Default for Runtime {
    fn default() -> Self {
        Self {
            name: String::new(),
            prefix: "headwater.".to_owned(),
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            cluster: ClusterSection::default(),
            log: LogSection::default(),
            topics: TopicsSection::default(),
            inputs: Vec::new(),
            engine: EngineSection::default(),
            dead_letters: DeadLettersSection::default(),
            admin: AdminSection::default(),
            views: ViewsConfig::default(),
            roles: TopicRoles::default(),
        }
    }
}

/// Which log there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogKind {
    /// One SQLite file, with nothing to install.
    #[default]
    Embedded,
    /// A Kafka cluster.
    Kafka,
}

/// `[log]`: which log, and where it is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSection {
    /// `"embedded"` (default) or `"kafka"`.
    pub kind: LogKind,
    /// Used when `kind = "embedded"`.
    pub embedded: EmbeddedConfig,
    /// Used when `kind = "kafka"`.
    pub kafka: KafkaConfig,
}

/// `[topics]`: how topics are made when they are missing. Topics that exist are left as they are.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TopicsSection {
    /// Partitions of every topic but `progress`, which has one. 1 to 10,000.
    pub partitions: i32,
    /// How long raw records are kept: as far back as a rebuild can reach.
    pub raw_retention: Lifetime,
    /// How long dead letters are kept.
    pub dead_letter_retention: Lifetime,
    /// Largest raw record, with key and headers. Dead letters may be larger by 1 MiB, so that every
    /// raw record fits in one with its reason.
    pub max_raw_record: Size,
    /// Largest record of all other topics.
    pub max_record: Size,
    /// Further properties of every topic, by Kafka's names. The embedded log ignores them.
    pub properties: BTreeMap<String, String>,
    /// Exceptions, by topic name without the prefix.
    pub only: BTreeMap<String, TopicOverride>,
}

impl Default for TopicsSection {
    fn default() -> Self {
        Self {
            partitions: 4,
            raw_retention: Lifetime::For(Period::from_days(30)),
            dead_letter_retention: Lifetime::For(Period::from_days(30)),
            max_raw_record: Size::mib(16),
            max_record: Size::mib(4),
            properties: BTreeMap::new(),
            only: BTreeMap::new(),
        }
    }
}

/// `[topics.only.NAME]`: what is different for one topic.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TopicOverride {
    /// Partitions.
    pub partitions: Option<i32>,
    /// How long records are kept. Of no effect on compacted topics.
    pub retention: Option<Lifetime>,
    /// Largest record.
    pub max_record: Option<Size>,
    /// Further properties, by Kafka's names.
    pub properties: BTreeMap<String, String>,
}

/// `[[inputs]]`: a topic that raw records are read from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Topic name, without the prefix. Default: the one that the topology reads.
    pub topic: String,
    /// Source of records without a `source` header.
    #[serde(default)]
    pub source: Option<String>,
    /// Content type of records without a `content-type` header.
    #[serde(default)]
    pub content_type: Option<String>,
}

impl Input {
    /// The topic of this name, and nothing said of its records.
    pub fn of(topic: &str) -> Self {
        Self { topic: topic.to_owned(), source: None, content_type: None }
    }
}

/// `[engine]`: epochs, limits, corrections.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EngineSection {
    /// How long an epoch stays open. Under load it closes when it holds a quarter of
    /// `max_bytes_in_flight` (1 MiB a worker at least); where `max_epochs_in_flight` are, it stays open longer. The shorter, the
    /// sooner results are seen and the more transactions there are. 1 ms or more.
    pub epoch_interval: Period,
    /// How many closed epochs a worker may have that are not committed. 1 or more.
    pub max_epochs_in_flight: usize,
    /// How many bytes all workers together may have read that are not committed. 64 KiB or more.
    pub max_bytes_in_flight: Size,
    /// A partition without records for this long does not hold the watermark back.
    pub idle_partition_after: Period,
    /// How far the timestamp of a record may lie ahead of the clock; `"forever"` for any distance. One
    /// that lies further, or before 1970, counts as the time at which the record was read.
    pub max_timestamp_lead: Lifetime,
    /// How often raw topics are asked for partitions that have been added to them. 10 ms or more.
    pub look_for_partitions: Period,
    /// Corrections of the output topics at start-up that go into one transaction, at most. 1 or more.
    pub correction_batch: usize,
    /// Corrections at start-up that change or remove more than this share of the events (0 to 1) wait
    /// for a person's word, `--yes`.
    pub correction_guard: f64,
    /// Whether time and records of each stage show in `/metrics`.
    pub stage_metrics: bool,
}

impl Default for EngineSection {
    fn default() -> Self {
        Self {
            epoch_interval: Period::from_millis(100),
            max_epochs_in_flight: 8,
            max_bytes_in_flight: Size::mib(32),
            idle_partition_after: Period::from_secs(30),
            max_timestamp_lead: Lifetime::For(Period::from_days(1)),
            look_for_partitions: Period::from_secs(10),
            correction_batch: 10_000,
            correction_guard: 0.2,
            stage_metrics: true,
        }
    }
}

/// `[dead_letters]`: when dead letters are given up.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeadLettersSection {
    /// A record that was replayed so often and fails again is parked: it is replayed only on
    /// request. 1 or more.
    pub max_attempts: u32,
}

impl Default for DeadLettersSection {
    fn default() -> Self {
        Self { max_attempts: 5 }
    }
}

/// `[admin]`: `/health`, `/ready` and `/metrics`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdminSection {
    /// `address:port` to listen on; port 0 takes a free one; empty for no admin server.
    pub listen: String,
}

impl Default for AdminSection {
    fn default() -> Self {
        Self { listen: Self::LISTEN.to_owned() }
    }
}

impl AdminSection {
    /// Default of `listen` where a topology has none of its own.
    pub const LISTEN: &'static str = "127.0.0.1:8080";

    /// The address to listen on; `None` for no admin server, or when it cannot be resolved (which
    /// [`Runtime::validate`] reports).
    pub fn address(&self) -> Option<SocketAddr> {
        self.listen.to_socket_addrs().ok()?.next()
    }
}

/// Notes what is wrong.
#[derive(Default)]
struct Findings(Vec<Invalid>);

impl Findings {
    fn unless(&mut self, holds: bool, key: &str, message: &str) {
        if !holds {
            self.0.push(Invalid::new(key, message));
        }
    }

    fn range<T: PartialOrd + Display>(&mut self, key: &str, value: T, least: T, most: T) {
        self.0.extend(Invalid::outside(key, value, least, most));
    }

    /// How long something is kept: not for nothing.
    fn kept(&mut self, key: &str, lifetime: Lifetime) {
        if let Lifetime::For(period) = lifetime {
            self.range(key, period, SECOND, CENTURY);
        }
    }
}

const SECOND: Period = Period::from_secs(1);
const DAY: Period = Period::from_days(1);
/// Longer than anybody waits for anything.
const CENTURY: Period = Period::from_days(36_525);

impl Runtime {
    /// The full name of `topic`: with the prefix, unless it is there already.
    pub fn full_name(&self, topic: &str) -> String {
        if topic.starts_with(&self.prefix) { topic.to_owned() } else { format!("{}{topic}", self.prefix) }
    }

    /// Everything that is wrong; empty when it can be used.
    pub fn validate(&self) -> Vec<Invalid> {
        let mut found = Findings::default();
        found.unless(!self.name.is_empty(), "name", "is empty");
        found.unless(
            is_legal_topic(&self.prefix),
            "prefix",
            "may hold letters, digits, `.`, `_` and `-` only, as topic names do",
        );
        found.range("workers", self.workers, 1, 1024);
        self.validate_cluster(&mut found);
        self.validate_log(&mut found);
        self.validate_topics(&mut found);
        self.validate_inputs(&mut found);
        self.validate_engine(&mut found);
        self.validate_admin(&mut found);
        found.0.extend(self.views.validate());
        found.0
    }

    fn validate_cluster(&self, found: &mut Findings) {
        let problems = self.cluster.problems().into_iter();
        found.0.extend(problems.map(|(key, message)| Invalid::new(format!("cluster.{key}"), message)));
        let shared = self.log.kind == LogKind::Kafka || self.cluster.is_local();
        let message = "an embedded log is a file, which only the processes of one machine can share";
        found.unless(shared, "cluster.hosts", message);
    }

    fn validate_log(&self, found: &mut Findings) {
        match self.log.kind {
            LogKind::Embedded => {
                let EmbeddedConfig { path, tombstone_retention_ms } = &self.log.embedded;
                found.unless(!path.as_os_str().is_empty(), "log.embedded.path", "is empty");
                found.range("log.embedded.tombstone_retention_ms", *tombstone_retention_ms, 0, CENTURY.as_millis_i64());
            }
            LogKind::Kafka => {
                found.unless(!self.log.kafka.brokers.trim().is_empty(), "log.kafka.brokers", "is empty");
                if let Some(replication) = self.log.kafka.replication {
                    found.range("log.kafka.replication", replication, 1, i32::from(i16::MAX));
                }
            }
        }
    }

    fn validate_topics(&self, found: &mut Findings) {
        /// Below the first, not even small records fit.
        const RECORD: (Size, Size) = (Size::kib(1), Size::mib(1024));
        const MOST_PARTITIONS: i32 = 10_000;
        found.range("topics.partitions", self.topics.partitions, 1, MOST_PARTITIONS);
        found.range("topics.max_raw_record", self.topics.max_raw_record, RECORD.0, RECORD.1);
        found.range("topics.max_record", self.topics.max_record, RECORD.0, RECORD.1);
        found.kept("topics.raw_retention", self.topics.raw_retention);
        found.kept("topics.dead_letter_retention", self.topics.dead_letter_retention);
        let names: BTreeSet<&str> =
            self.roles.names().chain(self.inputs.iter().map(|input| input.topic.as_str())).collect();
        for (name, only) in &self.topics.only {
            let key = join("topics.only", name);
            if !names.contains(name.as_str()) {
                let known: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
                let hint = match suggest(name, &known) {
                    Some(alike) => format!("did you mean `{alike}`?"),
                    None => format!("topics: {}", known.join(", ")),
                };
                found.0.push(Invalid::new(key.clone(), "is no topic of this topology").hint(hint));
            }
            if let Some(partitions) = only.partitions {
                found.range(&format!("{key}.partitions"), partitions, 1, MOST_PARTITIONS);
            }
            if let Some(size) = only.max_record {
                found.range(&format!("{key}.max_record"), size, RECORD.0, RECORD.1);
            }
            if let Some(retention) = only.retention {
                found.kept(&format!("{key}.retention"), retention);
            }
        }
    }

    fn validate_inputs(&self, found: &mut Findings) {
        found.unless(!self.inputs.is_empty(), "inputs", "is empty; there is nothing to read");
        let mut seen = BTreeSet::new();
        for (index, input) in self.inputs.iter().enumerate() {
            let key = format!("inputs[{index}].topic");
            let full = self.full_name(&input.topic);
            found.unless(!input.topic.is_empty(), &key, "is empty");
            found.unless(
                is_legal_topic(&input.topic) && full.len() <= LONGEST_TOPIC,
                &key,
                "may hold letters, digits, `.`, `_` and `-` only, and 249 of them with the prefix",
            );
            found.unless(
                self.roles.names().all(|own| own != input.topic),
                &key,
                "is a topic that the topology itself uses",
            );
            found.unless(seen.insert(full), &key, "is named twice");
        }
    }

    fn validate_engine(&self, found: &mut Findings) {
        const LONGEST_EPOCH: Period = Period::from_secs(60);
        let engine = &self.engine;
        found.range("engine.epoch_interval", engine.epoch_interval, Period::from_millis(1), LONGEST_EPOCH);
        found.range("engine.max_epochs_in_flight", engine.max_epochs_in_flight, 1, 10_000);
        found.range("engine.max_bytes_in_flight", engine.max_bytes_in_flight, Size::kib(64), Size::mib(1 << 20));
        found.range("engine.idle_partition_after", engine.idle_partition_after, Period::from_millis(0), CENTURY);
        if let Lifetime::For(lead) = engine.max_timestamp_lead {
            found.range("engine.max_timestamp_lead", lead, Period::from_millis(0), CENTURY);
        }
        found.range("engine.look_for_partitions", engine.look_for_partitions, Period::from_millis(10), DAY);
        found.range("engine.correction_batch", engine.correction_batch, 1, 1_000_000);
        found.range("engine.correction_guard", engine.correction_guard, 0.0, 1.0);
        found.range("dead_letters.max_attempts", self.dead_letters.max_attempts, 1, 1_000_000);
    }

    fn validate_admin(&self, found: &mut Findings) {
        let listen = &self.admin.listen;
        if listen.is_empty() || self.admin.address().is_some() {
            return;
        }
        let message = format!("{listen:?} is not an address to listen on");
        let hint = "write address:port, such as \"127.0.0.1:8080\", or \"\" for no admin server";
        found.0.push(Invalid::new("admin.listen", message).hint(hint));
    }
}
