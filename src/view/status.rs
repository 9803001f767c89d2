//! What a view has done and how it is, for those who look at it.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::error::ViewError;
use super::spec::ViewTopics;
use crate::log::TopicPartition;

/// What a view has done and how it is.
#[derive(Debug, Clone, Default)]
pub struct ViewStatus {
    /// For each partition, the offset before which every record shows in the tables.
    pub positions: BTreeMap<TopicPartition, i64>,
    /// Offsets between the positions and the ends of the topics when that was last looked at.
    pub lag: u64,
    /// Records applied.
    pub records: u64,
    /// Rows written and deleted.
    pub rows: u64,
    /// Records that could not be read or stored, and were left out.
    pub skipped: u64,
    /// How often the tables were emptied and read anew.
    pub rebuilds: u64,
    /// Why the view makes no progress at the moment, while it tries again.
    pub trouble: Option<String>,
}

/// How one of the writers of a view is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WriterState {
    /// Offsets between its positions and the ends of its partitions.
    pub lag: u64,
    /// Whether it has written something since the session began, or has nothing to write.
    pub works: bool,
}

/// The state of a view, behind the lock of [`Shared`].
#[derive(Default)]
pub(super) struct State {
    pub status: ViewStatus,
    /// The writers of the session.
    pub writers: Vec<WriterState>,
    pub failure: Option<Arc<ViewError>>,
}

impl State {
    pub fn set_writers(&mut self, writers: Vec<WriterState>) {
        self.writers = writers;
        self.status.lag = self.writers.iter().map(|writer| writer.lag).sum();
    }

    pub fn set_lag(&mut self, writer: usize, lag: u64) {
        if let Some(of_writer) = self.writers.get_mut(writer) {
            of_writer.lag = lag;
        }
        self.status.lag = self.writers.iter().map(|writer| writer.lag).sum();
    }

    /// Notes that a writer works; whether now all of them do.
    pub fn set_works(&mut self, writer: usize) -> bool {
        if let Some(writer) = self.writers.get_mut(writer) {
            writer.works = true;
        }
        self.writers.iter().all(|writer| writer.works)
    }
}

/// What the threads of a view share with those who look at it.
pub(super) struct Shared {
    pub topics: ViewTopics,
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    pub fn new(topics: ViewTopics) -> Self {
        Self { topics, state: Mutex::default(), changed: Condvar::new() }
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Whether the tables show everything before `ends`.
    pub fn reached(&self, state: &State, ends: &[(TopicPartition, i64)]) -> bool {
        ends.iter()
            .filter(|(partition, _)| self.topics.contains(&partition.topic))
            .all(|(partition, end)| state.status.positions.get(partition).is_some_and(|next| next >= end))
    }

    /// Waits for a change, for at most `patience`.
    pub fn wait<'s>(&self, state: MutexGuard<'s, State>, patience: Duration) -> MutexGuard<'s, State> {
        self.changed.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner).0
    }
}
