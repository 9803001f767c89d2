//! Workers: how many jobs each takes, and what it has.

use std::collections::BTreeMap;
use std::sync::Arc;

/// A job in memory.
pub(super) type JobNo = u32;

/// A queue in memory.
pub(super) type QueueNo = u32;

/// A worker in memory.
pub(super) type WorkerNo = u32;

/// A worker.
#[derive(Debug, Clone)]
pub(super) struct Worker {
    pub(super) name: Arc<str>,
    /// The queues that it takes jobs of.
    pub(super) queues: Vec<QueueNo>,
    /// The most jobs at once.
    pub(super) slots: u32,
    /// What it said holds until then, in ms.
    pub(super) until: i64,
    /// What it has, by slot.
    pub(super) taken: BTreeMap<u32, JobNo>,
    /// When it was given a job last, or was first heard of: a count that all workers share.
    pub(super) given: u64,
}

impl Worker {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self { name, queues: Vec::new(), slots: 0, until: 0, taken: BTreeMap::new(), given: 0 }
    }

    /// Whether it takes one more.
    pub(super) fn is_free(&self) -> bool {
        (self.taken.len() as u64) < u64::from(self.slots)
    }

    /// The first slot that is free.
    pub(super) fn free_slot(&self) -> u32 {
        let taken = self.taken.keys().zip(0..).find(|(slot, at)| **slot != *at).map(|(_, at)| at);
        taken.unwrap_or(self.taken.len() as u32)
    }

    /// Whether nothing is known of it that matters.
    pub(super) fn is_gone(&self) -> bool {
        self.slots == 0 && self.taken.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_gap_is_the_free_slot() {
        let mut worker = Worker::new("w".into());
        assert_eq!(worker.free_slot(), 0);
        for slot in [0, 1, 3] {
            worker.taken.insert(slot, slot);
        }
        assert_eq!(worker.free_slot(), 2);
        worker.taken.insert(2, 2);
        assert_eq!(worker.free_slot(), 4);
        worker.slots = 4;
        assert!(!worker.is_free() && !worker.is_gone());
    }
}
