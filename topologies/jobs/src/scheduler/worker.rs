//! Workers: how many jobs each takes, and what it has.

use std::collections::{BTreeMap, BTreeSet};
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
    taken: BTreeMap<u32, JobNo>,
    /// Slots that are free below one that is taken.
    gaps: BTreeSet<u32>,
    /// When it was given a job last, or was first heard of: a count that all workers share.
    pub(super) given: u64,
}

impl Worker {
    pub(super) fn new(name: Arc<str>, given: u64) -> Self {
        Self { name, queues: Vec::new(), slots: 0, until: 0, taken: BTreeMap::new(), gaps: BTreeSet::new(), given }
    }

    /// Whether it takes one more.
    pub(super) fn is_free(&self) -> bool {
        (self.taken.len() as u64) < u64::from(self.slots)
    }

    /// The first slot that is free.
    pub(super) fn free_slot(&self) -> u32 {
        let after = self.taken.last_key_value().map_or(0, |(slot, _)| slot + 1);
        self.gaps.first().copied().unwrap_or(after)
    }

    /// The job that has a slot.
    pub(super) fn job(&self, slot: u32) -> Option<JobNo> {
        self.taken.get(&slot).copied()
    }

    /// A job has a slot from now on.
    pub(super) fn take(&mut self, slot: u32, job: JobNo) {
        let after = self.taken.last_key_value().map_or(0, |(slot, _)| slot + 1);
        self.gaps.extend(after..slot);
        self.gaps.remove(&slot);
        self.taken.insert(slot, job);
    }

    /// A slot is free from now on.
    pub(super) fn vacate(&mut self, slot: u32) {
        if self.taken.remove(&slot).is_none() {
            return;
        }
        self.gaps.insert(slot);
        let after = self.taken.last_key_value().map_or(0, |(slot, _)| slot + 1);
        drop(self.gaps.split_off(&after));
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
        let mut worker = Worker::new("w".into(), 1);
        assert_eq!(worker.free_slot(), 0);
        for slot in [0, 3, 1] {
            worker.take(slot, slot);
        }
        assert_eq!(worker.free_slot(), 2);
        worker.take(2, 2);
        assert_eq!((worker.free_slot(), worker.job(3)), (4, Some(3)));
        worker.vacate(1);
        assert_eq!(worker.free_slot(), 1);
        [3, 2].iter().for_each(|slot| worker.vacate(*slot));
        assert_eq!((worker.free_slot(), worker.job(3)), (1, None));
        worker.take(1, 1);
        assert_eq!(worker.free_slot(), 2);
        worker.slots = 2;
        assert!(!worker.is_free() && !worker.is_gone());
    }
}
