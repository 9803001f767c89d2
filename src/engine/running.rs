//! A running engine, and what its start has found.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::cluster::Cluster;
use super::error::EngineError;
use super::lifecycle::Lifecycle;
use super::recovery::{Plan, Rebuild};

/// A running engine.
pub struct Engine {
    lifecycle: Arc<Lifecycle>,
    committer: Option<JoinHandle<()>>,
    workers: Option<timely::communication::WorkerGuards<()>>,
    cluster: Option<Cluster>,
    /// What recovery found, for people; nothing where another process leads.
    pub recovery: RecoverySummary,
    /// How many raw records were waiting at the start; more than there are where offsets have gaps.
    pub backlog: u64,
}

/// What recovery found.
#[derive(Debug, Clone, Default)]
pub struct RecoverySummary {
    /// Whether there was a progress record.
    pub resumed: bool,
    /// Why the outputs were compared; `None` where they were trusted.
    pub compared: Option<&'static str>,
    /// Rows that the output tables held.
    pub held: usize,
    /// What else people should know.
    pub notes: Vec<String>,
    /// Whether everything is computed anew from the raw topics.
    pub rebuild: Option<Rebuild>,
    /// How long fencing and planning took.
    pub took: Duration,
}

impl RecoverySummary {
    pub(super) fn of(plan: &Plan, begun: Instant) -> Self {
        Self {
            resumed: plan.progress.is_some(),
            compared: plan.reason,
            held: plan.held.len(),
            notes: plan.notes.clone(),
            rebuild: plan.rebuild.clone(),
            took: begun.elapsed(),
        }
    }
}

/// What [`start`](super::start) has started.
pub(super) struct Started {
    pub(super) committer: Option<JoinHandle<()>>,
    pub(super) workers: timely::communication::WorkerGuards<()>,
    pub(super) recovery: RecoverySummary,
    pub(super) backlog: u64,
}

impl Engine {
    pub(super) fn of(started: Started, cluster: Option<Cluster>, lifecycle: &Arc<Lifecycle>) -> Self {
        let Started { committer, workers, recovery, backlog } = started;
        Self { lifecycle: Arc::clone(lifecycle), committer, workers: Some(workers), cluster, recovery, backlog }
    }

    /// What the engine's threads share.
    pub fn lifecycle(&self) -> &Arc<Lifecycle> {
        &self.lifecycle
    }

    /// Whether every thread has ended.
    pub fn ended(&self) -> bool {
        let workers = self.workers.iter().flat_map(|workers| workers.guards());
        self.committer.as_ref().is_none_or(JoinHandle::is_finished) && workers.into_iter().all(JoinHandle::is_finished)
    }

    /// Whether everything is done: all that was read is committed, or every thread has ended. Workers
    /// may still be freeing what they held, which takes seconds where they held much.
    pub fn settled(&self) -> bool {
        let committed = self.committer.as_ref().is_some_and(JoinHandle::is_finished) && !self.lifecycle.failed();
        // Other processes count on the workers here to end in order.
        (committed && self.cluster.is_none()) || self.ended()
    }

    /// Waits for the end like [`wait`](Self::wait), but where everything is [settled](Self::settled) not
    /// until the workers have freed what they held: for a process that ends itself.
    ///
    /// # Errors
    /// What made the engine fail.
    pub fn leave(mut self) -> Result<(), EngineError> {
        if self.settled() && !self.ended() {
            // Dropping it would wait.
            std::mem::forget(self.workers.take());
        }
        self.wait()
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// What made the engine fail.
    pub fn wait(mut self) -> Result<(), EngineError> {
        let mut panicked = None;
        for result in self.workers.take().into_iter().flat_map(timely::communication::WorkerGuards::join) {
            panicked = panicked.or(result.err());
        }
        if self.committer.take().is_some_and(|committer| committer.join().is_err()) {
            panicked.get_or_insert_with(|| "the committer panicked".to_owned());
        }
        if let Some(cluster) = self.cluster.take() {
            cluster.finish();
        }
        match (self.lifecycle.take_failure(), panicked) {
            (Some(failure), _) => Err(failure),
            (None, Some(reason)) => Err(EngineError::Panic { reason }),
            (None, None) => Ok(()),
        }
    }
}

impl Drop for Engine {
    /// An engine that nobody waits for stops in order.
    fn drop(&mut self) {
        self.lifecycle.stop();
    }
}
