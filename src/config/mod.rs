//! Typed configuration.
//!
//! One TOML file describes how a topology runs; every key has a default, so that the file says
//! only what is different. [`loader`] reads it, with environment variables and flags laid over it,
//! and lists everything that is wrong with it at once. `config/discovery.toml` shows every option
//! with its meaning and default.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, ToSocketAddrs};

use headwater_operators::categorize::{Taxonomy, TaxonomyConfig, TaxonomyProblem};
use headwater_operators::extract::{ExtractConfig, Extractor, Limits, SourceConfig, UnknownSources};
use headwater_operators::geocode::GeocodeConfig;
use headwater_operators::resolve::ResolveConfig;
use headwater_operators::sanitize::SanitizeConfig;
use headwater_operators::score::Gates;
use headwater_operators::window::WindowConfig;
use serde::Deserialize;

use crate::generate::{FeedConfig, GenerateError};
use crate::log::embedded::EmbeddedConfig;
use crate::log::kafka::KafkaConfig;
use crate::log::{Cleanup, TopicSpec};
use crate::view::ViewsConfig;

mod cluster;
mod document;
mod explain;
pub mod loader;
mod problem;
mod reference;
mod values;

pub use cluster::ClusterSection;
pub use explain::suggest;
pub use loader::{Attempt, Loaded, Places, Sources, attempt, load};
pub use problem::{ConfigErrors, Invalid, Place, Position, Problem, Validate};
pub use values::{Lifetime, Period, Size, ValueError};

/// The configuration of a topology, as `discovery` uses it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
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
    /// How long events stay when they are over.
    pub retention: RetentionSection,
    /// When dead letters are given up.
    pub dead_letters: DeadLettersSection,
    /// The admin server.
    pub admin: AdminSection,
    /// What becomes of sources that are not named here, and what holds for all.
    pub extract: ExtractSection,
    /// The sources, by name: how their records are read.
    pub sources: BTreeMap<String, SourceConfig>,
    /// Bounds on what one record may cost.
    pub limits: Limits,
    /// Limits of texts and lists in a listing.
    pub sanitize: SanitizeConfig,
    /// Categories and tags, and the words that speak for them.
    pub taxonomy: TaxonomyConfig,
    /// How listings without coordinates are located.
    pub geocode: GeocodeConfig,
    /// How duplicates are found, held together and merged.
    pub resolve: ResolveConfig,
    /// The quality gates.
    pub score: Gates,
    /// How windows of metrics are cut.
    pub window: WindowConfig,
    /// Where results are shown: tables in Postgres, in SQLite.
    pub views: ViewsConfig,
    /// A generated feed that arrives live in the first of the inputs; none without this section.
    pub generate: Option<FeedConfig>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "discovery".to_owned(),
            prefix: "headwater.".to_owned(),
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            cluster: ClusterSection::default(),
            log: LogSection::default(),
            topics: TopicsSection::default(),
            inputs: vec![Input::default()],
            engine: EngineSection::default(),
            retention: RetentionSection::default(),
            dead_letters: DeadLettersSection::default(),
            admin: AdminSection::default(),
            extract: ExtractSection::default(),
            sources: BTreeMap::new(),
            limits: Limits::default(),
            sanitize: SanitizeConfig::default(),
            taxonomy: TaxonomyConfig::default(),
            geocode: GeocodeConfig::default(),
            resolve: ResolveConfig::default(),
            score: Gates::default(),
            window: WindowConfig::default(),
            views: ViewsConfig::default(),
            generate: None,
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
    /// Partitions of every topic but `progress`, which has one. 1 or more.
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
#[serde(deny_unknown_fields, default)]
pub struct Input {
    /// Topic name, without the prefix.
    pub topic: String,
    /// Source of records without a `source` header.
    pub source: Option<String>,
    /// Content type of records without a `content-type` header.
    pub content_type: Option<String>,
}

impl Default for Input {
    fn default() -> Self {
        Self { topic: "raw.events".to_owned(), source: None, content_type: None }
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

/// `[extract]`: what becomes of sources that are not named, and what holds for all.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExtractSection {
    /// What becomes of records of a source that is not named under `[sources]`.
    pub unknown_sources: UnknownSources,
    /// How to read sources that are not named. Its `format`, `content_type` and `timezone` also
    /// hold for named sources that leave them out.
    pub defaults: SourceConfig,
}

/// `[retention]`: how long events stay when they are over.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionSection {
    /// Listings leave this long after their event's end: `"30 days"`, or `"forever"`.
    pub past_events: Lifetime,
}

impl Default for RetentionSection {
    fn default() -> Self {
        Self { past_events: Lifetime::For(Period::from_days(30)) }
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
        Self { listen: "127.0.0.1:8080".to_owned() }
    }
}

impl AdminSection {
    /// The address to listen on; `None` for no admin server, or when it cannot be resolved (which
    /// [`Config::validate`] reports).
    pub fn address(&self) -> Option<SocketAddr> {
        self.listen.to_socket_addrs().ok()?.next()
    }
}

/// Names of the topics that a topology reads beside those of raw records, without the prefix.
/// Those that it writes are named by [`Output`].
pub mod topic {
    /// Resolved places, by place key.
    pub const PLACES: &str = "places";
    /// People's words.
    pub const DECISIONS: &str = "decisions";
    /// Configuration that changes while running.
    pub const CONTROL: &str = "control";
    /// Which dead letters were replayed. Only `headwater dead-letters` reads and writes it.
    pub const REPLAYS: &str = "replays";

    /// All of them.
    pub const TABLES: [&str; 3] = [PLACES, DECISIONS, CONTROL];
}

const OUTPUTS: [&str; 9] = [
    "events", "listings", "links", "redirects", "decision-reports", "metrics", "dead-letters", "place-requests", "progress",
];

/// The topics that a topology uses whatever its inputs are.
fn own_topics<'t>() -> impl Iterator<Item = &'t str> {
    OUTPUTS.into_iter().chain(topic::TABLES).chain([topic::REPLAYS])
}

/// How a topic is used, which decides how it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Raw,
    Table,
    DeadLetters,
    Progress,
}

impl Role {
    fn of(topic: &str) -> Self {
        match OUTPUTS.into_iter().find(|output| *output == topic) {
            Some("dead-letters") => Self::DeadLetters,
            Some("progress") => Self::Progress,
            Some(_) => Self::Table,
            None if topic::TABLES.contains(&topic) => Self::Table,
            // Kept as long as what it tells of.
            None if topic == topic::REPLAYS => Self::DeadLetters,
            None => Self::Raw,
        }
    }
}

/// What a dead letter may need beyond the raw record that it holds.
const DEAD_LETTER_OVERHEAD: usize = 1 << 20;

impl Config {
    /// The full name of `topic`: with the prefix, unless it is there already.
    pub fn full_name(&self, topic: &str) -> String {
        if topic.starts_with(&self.prefix) { topic.to_owned() } else { format!("{}{topic}", self.prefix) }
    }

    /// How a topic should be when it has to be made. `topic` is its name without the prefix; what
    /// is no topic of the topology's own is taken for one of raw records.
    pub fn topic_spec(&self, topic: &str) -> TopicSpec {
        let section = &self.topics;
        let only = section.only.get(topic).cloned().unwrap_or_default();
        let role = Role::of(topic);
        let cleanup = match role {
            Role::Raw => delete(only.retention.unwrap_or(section.raw_retention)),
            Role::DeadLetters => delete(only.retention.unwrap_or(section.dead_letter_retention)),
            Role::Table | Role::Progress => Cleanup::Compact,
        };
        let max_record = match role {
            Role::Raw => section.max_raw_record.get(),
            Role::DeadLetters => section.max_raw_record.get().saturating_add(DEAD_LETTER_OVERHEAD),
            Role::Table | Role::Progress => section.max_record.get(),
        };
        let partitions = if role == Role::Progress { 1 } else { section.partitions };
        let mut properties = section.properties.clone();
        properties.extend(only.properties);
        TopicSpec {
            name: self.full_name(topic),
            partitions: only.partitions.unwrap_or(partitions),
            replication: None,
            cleanup,
            max_record_bytes: only.max_record.map_or(max_record, Size::get),
            properties,
        }
    }

    /// All topics that the topology reads and writes, as they should be.
    pub fn topic_specs(&self) -> Vec<TopicSpec> {
        let inputs = self.inputs.iter().map(|input| input.topic.as_str());
        own_topics().chain(inputs).map(|topic| self.topic_spec(topic)).collect()
    }
}

impl Config {
    /// What the operators need that takes some compiling.
    ///
    /// # Errors
    /// Everything that is wrong with sources, limits, extraction and taxonomy.
    pub fn compile(&self) -> Result<(Extractor, Taxonomy), Vec<Invalid>> {
        match (Extractor::new(&self.extract_config()), Taxonomy::new(&self.taxonomy)) {
            (Ok(extractor), Ok(taxonomy)) => Ok((extractor, taxonomy)),
            (extractor, taxonomy) => {
                let extraction = extractor.err().unwrap_or_default().into_iter();
                let extraction = extraction.map(|problem| Invalid::new(extraction_key(&problem.path), problem.message));
                let taxonomy = taxonomy.err().unwrap_or_default().into_iter();
                let taxonomy = taxonomy.map(|problem| Invalid::new(self.taxonomy_key(&problem), problem.to_string()));
                Err(extraction.chain(taxonomy).collect())
            }
        }
    }

    /// How records become listings, in one piece.
    fn extract_config(&self) -> ExtractConfig {
        ExtractConfig {
            limits: self.limits.clone(),
            unknown_sources: self.extract.unknown_sources,
            defaults: self.extract.defaults.clone(),
            sources: self.sources.clone(),
        }
    }

    /// `[resolve]` with what the sources say of themselves, where it says nothing of them.
    pub fn resolve_config(&self) -> ResolveConfig {
        let mut resolve = self.resolve.clone();
        for (name, source) in &self.sources {
            if source.duplicate_free {
                resolve.duplicate_free.insert(name.clone());
            }
            if source.trust != resolve.trust_of(name) {
                resolve.trust.entry(name.clone()).or_insert(source.trust);
            }
        }
        resolve
    }

    /// The key that a problem of the taxonomy is about.
    fn taxonomy_key(&self, problem: &TaxonomyProblem) -> String {
        let categories = &self.taxonomy.categories;
        let position = match problem {
            TaxonomyProblem::Unnamed(number) => number.checked_sub(1),
            TaxonomyProblem::UnknownParent { category, .. }
            | TaxonomyProblem::Cycle(category)
            | TaxonomyProblem::Duplicate(category) => categories.iter().rposition(|one| &one.name == category),
            TaxonomyProblem::OutOfRange { .. } | TaxonomyProblem::EmptyPhrase { .. } => None,
        };
        position.map_or_else(|| "taxonomy".to_owned(), |index| format!("taxonomy.categories[{index}]"))
    }
}

/// Where the sections of extraction stand in the file.
fn extraction_key(path: &str) -> String {
    let own_section = ["sources.", "limits."].iter().any(|section| path.starts_with(section));
    if own_section { path.to_owned() } else { format!("extract.{path}") }
}

fn delete(retention: Lifetime) -> Cleanup {
    Cleanup::Delete { retention_ms: retention.as_millis_i64() }
}

/// Kafka's limit on the length of a topic's name.
const LONGEST_TOPIC: usize = 249;

fn legal_topic(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
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
}

impl Validate for Config {
    fn validate(&self) -> Vec<Invalid> {
        const MOST_WORKERS: usize = 1024;
        let mut found = Findings::default();
        found.unless(!self.name.is_empty(), "name", "is empty");
        found.unless(
            legal_topic(&self.prefix),
            "prefix",
            "may hold letters, digits, `.`, `_` and `-` only, as topic names do",
        );
        found.unless((1..=MOST_WORKERS).contains(&self.workers), "workers", "must be from 1 to 1024");
        self.validate_cluster(&mut found);
        self.validate_log(&mut found);
        self.validate_topics(&mut found);
        self.validate_inputs(&mut found);
        self.validate_engine(&mut found);
        self.validate_admin(&mut found);
        self.validate_operators(&mut found);
        found.0
    }
}

impl Config {
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
                found.unless(!self.log.embedded.path.as_os_str().is_empty(), "log.embedded.path", "is empty");
            }
            LogKind::Kafka => {
                found.unless(!self.log.kafka.brokers.trim().is_empty(), "log.kafka.brokers", "is empty");
            }
        }
    }

    fn validate_topics(&self, found: &mut Findings) {
        /// Below this, not even small records fit.
        const LEAST_RECORD: Size = Size::kib(1);
        let at_least = "must be 1 KiB or more";
        found.unless(self.topics.partitions >= 1, "topics.partitions", "must be 1 or more");
        found.unless(self.topics.max_raw_record >= LEAST_RECORD, "topics.max_raw_record", at_least);
        found.unless(self.topics.max_record >= LEAST_RECORD, "topics.max_record", at_least);
        let names: BTreeSet<&str> = own_topics().chain(self.inputs.iter().map(|input| input.topic.as_str())).collect();
        for (name, only) in &self.topics.only {
            let key = document::join("topics.only", name);
            if !names.contains(name.as_str()) {
                let known: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
                let hint = match suggest(name, &known) {
                    Some(alike) => format!("did you mean `{alike}`?"),
                    None => format!("topics: {}", known.join(", ")),
                };
                found.0.push(Invalid::new(key.clone(), "is no topic of this topology").hint(hint));
            }
            found.unless(only.partitions.is_none_or(|n| n >= 1), &format!("{key}.partitions"), "must be 1 or more");
            let large = only.max_record.is_none_or(|size| size >= LEAST_RECORD);
            found.unless(large, &format!("{key}.max_record"), at_least);
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
                legal_topic(&input.topic) && full.len() <= LONGEST_TOPIC,
                &key,
                "may hold letters, digits, `.`, `_` and `-` only, and 249 of them with the prefix",
            );
            found.unless(own_topics().all(|own| own != input.topic), &key, "is a topic that the topology itself uses");
            found.unless(seen.insert(full), &key, "is named twice");
        }
    }

    fn validate_engine(&self, found: &mut Findings) {
        const LONGEST_EPOCH: Period = Period::from_secs(60);
        let engine = &self.engine;
        let interval = (Period::from_millis(1)..=LONGEST_EPOCH).contains(&engine.epoch_interval);
        found.unless(interval, "engine.epoch_interval", "must be from 1 ms to 60 s");
        found.unless(engine.max_epochs_in_flight >= 1, "engine.max_epochs_in_flight", "must be 1 or more");
        let bytes = engine.max_bytes_in_flight >= Size::kib(64);
        found.unless(bytes, "engine.max_bytes_in_flight", "must be 64 KiB or more");
        let look = engine.look_for_partitions >= Period::from_millis(10);
        found.unless(look, "engine.look_for_partitions", "must be 10 ms or more");
        found.unless(engine.correction_batch >= 1, "engine.correction_batch", "must be 1 or more");
        let guard = (0.0..=1.0).contains(&engine.correction_guard);
        found.unless(guard, "engine.correction_guard", "is a share: from 0 to 1");
        found.unless(self.dead_letters.max_attempts >= 1, "dead_letters.max_attempts", "must be 1 or more");
    }

    fn validate_operators(&self, found: &mut Findings) {
        found.0.extend(self.compile().err().unwrap_or_default());
        let resolve = self.resolve.validate().into_iter();
        found.0.extend(resolve.map(|wrong| Invalid::new(format!("resolve.{}", wrong.key), wrong.problem)));
        found.unless(self.window.size_ms >= 1, "window.size_ms", "must be 1 or more");
        let generate = self.generate.as_ref().and_then(|feed| feed.generate.check().err());
        found.0.extend(generate.map(|error| match &error {
            GenerateError::Config { name, .. } => Invalid::new(format!("generate.generate.{name}"), error.to_string()),
            _ => Invalid::new("generate", error.to_string()),
        }));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(Config::default().validate(), []);
    }

    #[test]
    fn names_get_the_prefix_once() {
        let config = Config::default();
        assert_eq!(config.full_name("events"), "headwater.events");
        assert_eq!(config.full_name("headwater.events"), "headwater.events");
    }

    #[test]
    fn dead_letters_take_every_raw_record() {
        let config = Config::default();
        let raw = config.topic_spec("raw.events");
        let dead = config.topic_spec("dead-letters");
        assert!(dead.max_record_bytes > raw.max_record_bytes);
        assert_eq!(config.topic_spec("events").cleanup, Cleanup::Compact);
        assert_eq!(config.topic_spec("progress").partitions, 1);
    }

    #[test]
    fn a_topic_may_be_an_exception() {
        let only = TopicOverride { partitions: Some(12), retention: Some(Lifetime::Forever), ..Default::default() };
        let mut config = Config::default();
        config.topics.only.insert("raw.events".to_owned(), only);
        let spec = config.topic_spec("raw.events");
        assert_eq!((spec.partitions, spec.cleanup), (12, Cleanup::Delete { retention_ms: None }));
        assert_eq!(config.validate(), []);
    }

    #[test]
    fn every_wrong_value_is_found() {
        let mut config = Config { workers: 0, prefix: "a b".to_owned(), inputs: Vec::new(), ..Config::default() };
        config.engine.correction_guard = f64::NAN;
        config.admin.listen = "8080".to_owned();
        let keys: Vec<String> = config.validate().into_iter().map(|invalid| invalid.key).collect();
        assert_eq!(keys, ["prefix", "workers", "inputs", "engine.correction_guard", "admin.listen"]);
    }
}
