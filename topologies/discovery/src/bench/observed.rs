//! A real log, with an eye on what its transactional writer commits.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use headwater::log::{
    Log, LogError, Producer, Reader, Start, TopicInfo, TopicPartition, TopicSpec, Transaction, Transactional,
    Watermarks,
};

use super::written::Written;

/// What has been committed.
#[derive(Debug, Default)]
pub(super) struct Committed {
    pub written: Written,
    /// Next offsets of the inputs.
    pub positions: BTreeMap<TopicPartition, i64>,
    /// When `positions` last changed.
    pub moved: Option<Instant>,
}

/// The log.
pub(super) struct ObservedLog {
    inner: Arc<dyn Log>,
    committed: Arc<Mutex<Committed>>,
}

impl ObservedLog {
    pub fn new(inner: Arc<dyn Log>) -> Self {
        Self { inner, committed: Arc::default() }
    }

    pub fn committed(&self) -> MutexGuard<'_, Committed> {
        self.committed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether everything that `topic` holds up to `ends` is committed; if so, since when.
    pub fn committed_up_to(&self, topic: &str, ends: &[i64]) -> Option<Instant> {
        let committed = self.committed();
        let next = |partition| committed.positions.get(&TopicPartition::new(topic, partition)).copied();
        let all = (0..).zip(ends).all(|(partition, end)| next(partition).unwrap_or(0) >= *end);
        committed.moved.filter(|_| all)
    }
}

impl Log for ObservedLog {
    fn describe(&self) -> String {
        self.inner.describe()
    }
    fn check(&self, timeout: Duration) -> Result<(), LogError> {
        self.inner.check(timeout)
    }
    fn ensure_topics(&self, specs: &[TopicSpec]) -> Result<(), LogError> {
        self.inner.ensure_topics(specs)
    }
    fn topics(&self, prefix: &str) -> Result<Vec<TopicInfo>, LogError> {
        self.inner.topics(prefix)
    }
    fn watermarks(&self, topic: &str) -> Result<Option<Vec<Watermarks>>, LogError> {
        self.inner.watermarks(topic)
    }
    fn reader(&self, partitions: &[(TopicPartition, Start)]) -> Result<Box<dyn Reader>, LogError> {
        self.inner.reader(partitions)
    }
    fn producer(&self) -> Result<Box<dyn Producer>, LogError> {
        self.inner.producer()
    }
    fn transactional(&self, id: &str, group: &str) -> Result<Box<dyn Transactional>, LogError> {
        let inner = self.inner.transactional(id, group)?;
        Ok(Box::new(ObservedWriter { inner, committed: Arc::clone(&self.committed) }))
    }
}

struct ObservedWriter {
    inner: Box<dyn Transactional>,
    committed: Arc<Mutex<Committed>>,
}

impl Transactional for ObservedWriter {
    fn commit(&mut self, transaction: &Transaction) -> Result<(), LogError> {
        self.inner.commit(transaction)?;
        let now = Instant::now();
        let mut committed = self.committed.lock().unwrap_or_else(PoisonError::into_inner);
        committed.written.add(transaction);
        for (at, next) in &transaction.positions {
            if committed.positions.insert(at.clone(), *next) != Some(*next) {
                committed.moved = Some(now);
            }
        }
        Ok(())
    }

    fn check(&mut self, positions: Vec<(TopicPartition, i64)>) -> Result<(), LogError> {
        self.inner.check(positions)
    }
}
