//! Settings of an engine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use super::cluster::options::{Agreement, ClusterOptions};
use super::input::InputTopic;
use super::members::SpecOf;
use super::pace::Pace;
use crate::dataflow::TopicNames;
use crate::log::Log;
use crate::program::Fingerprints;
use crate::schema::Catalog;

/// Settings of an engine.
pub struct EngineOptions {
    /// Name of the topology: its transactional id.
    pub name: String,
    /// What the topology has declared.
    pub catalog: Arc<Catalog>,
    /// Full names of its topics.
    pub names: Arc<TopicNames>,
    /// Raw input topics by full name.
    pub inputs: BTreeMap<Arc<str>, InputTopic>,
    /// Worker threads of this process.
    pub workers: usize,
    /// Epochs and limits; bytes are for all workers together.
    pub pace: Pace,
    /// Raw partitions without a record for this long have no part in the watermark.
    pub idle_after: Duration,
    /// How far timestamps may lie ahead of the clock; those that lie further count as the time of
    /// their arrival. `None`: any distance.
    pub max_timestamp_lead: Option<Duration>,
    /// How often raw topics are asked for partitions that have appeared.
    pub look_for_partitions: Duration,
    /// Largest record of each topic in bytes, by the index of its id.
    pub limits: Arc<[usize]>,
    /// How topics of families are made.
    pub member_spec: SpecOf,
    /// Corrections in one transaction, at most.
    pub correction_batch: usize,
    /// Corrections that change or remove more than this share of the events held need consent;
    /// `None`: it was given.
    pub correction_guard: Option<f64>,
    /// Whether time and records of each stage are counted.
    pub stage_metrics: bool,
    /// Compute everything anew from the raw topics, as far as they reach back.
    pub rebuild: bool,
    /// Go on with the first record that is there where a raw partition lacks what follows on what was read.
    pub skip_gaps: bool,
    /// Stop when the end that every input had at the start is reached and committed.
    pub exit_when_idle: bool,
    /// The other processes of the topology; `None` where this is the only one.
    pub cluster: Option<ClusterOptions>,
    /// Serialise what the workers of one process exchange, as between processes. For tests.
    pub serialise_exchange: bool,
    /// Stop when the corrections are known; set by [`preview`](super::preview).
    pub preview: bool,
}

impl EngineOptions {
    /// Worker threads of all processes.
    pub(super) fn all_workers(&self) -> usize {
        self.workers.max(1) * self.cluster.as_ref().map_or(1, |cluster| cluster.addresses.len())
    }

    /// Full names of the topics that are read as tables.
    pub fn table_topics(&self) -> impl Iterator<Item = String> {
        self.catalog.tables().iter().map(|table| table.full_name(self.names.prefix()))
    }

    /// Full names of all topics that are read.
    pub(super) fn input_topics(&self) -> BTreeSet<String> {
        self.inputs.keys().map(|topic| topic.to_string()).chain(self.table_topics()).collect()
    }

    /// What processes have to agree on, since each takes for granted that the others do the same.
    pub(super) fn agreement(&self, log: &dyn Log, fingerprints: Fingerprints) -> Agreement {
        let processes = self.cluster.as_ref().map_or(1, |cluster| cluster.addresses.len());
        let inputs: Vec<String> = self.inputs.iter().map(|(topic, input)| format!("{topic} {input:?}")).collect();
        let terms = [
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("binary", own_binary()),
            ("name", self.name.clone()),
            ("prefix", self.names.prefix().to_owned()),
            ("log", log.describe()),
            ("inputs", inputs.join(", ")),
            ("tables", self.table_topics().collect::<Vec<_>>().join(", ")),
            ("workers", self.workers.to_string()),
            ("processes", processes.to_string()),
            ("configuration of results", format!("{:016x}", fingerprints.results)),
            ("configuration of extraction", format!("{:016x}", fingerprints.extraction)),
        ];
        terms.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// A digest of the program that runs: another build may lay out what is exchanged differently.
fn own_binary() -> String {
    let bytes = std::env::current_exe().and_then(std::fs::read);
    bytes.map_or_else(|_| "unknown".to_owned(), |bytes| format!("{:016x}", xxh3_64(&bytes)))
}
