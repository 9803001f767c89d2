//! Growth: raw partitions that appear while running.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use crate::log::TopicPartition;

/// Raw partitions that appear while running: who reads them, and how soon they are found.
///
/// Every source looks for itself, and all come to the same, without a word between them.
#[derive(Debug, Clone)]
pub struct Growth {
    /// How many partitions each raw topic had when partitions were dealt.
    pub dealt: BTreeMap<Arc<str>, i32>,
    /// The worker that looks.
    pub worker: usize,
    /// The number of workers of all processes.
    pub workers: usize,
    /// How often it looks.
    pub every: Duration,
}

impl Growth {
    /// Whether a partition that was not dealt is this worker's to read.
    pub(super) fn takes(&self, at: &TopicPartition) -> bool {
        let dealt = self.dealt.get(&at.topic).copied().unwrap_or(0);
        let turn = xxh3_64(at.topic.as_bytes()).wrapping_add(at.partition.unsigned_abs().into());
        at.partition >= dealt && turn % self.workers.max(1) as u64 == self.worker as u64
    }
}
