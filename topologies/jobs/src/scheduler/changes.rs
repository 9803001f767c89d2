//! What a step has changed.

use std::sync::Arc;

use bytes::Bytes;
use headwater_flow::DeadLetter;

use crate::model::{Notification, Phase, RunFact};

/// What a step has changed, ready to be written. Rows are JSON, `None` where there is no row any more.
#[derive(Debug, Default)]
pub struct Changes {
    /// Rows of `jobs`, by id.
    pub jobs: Vec<(Arc<str>, Option<Bytes>)>,
    /// Rows of `job-leases`, by worker and slot.
    pub leases: Vec<(String, Option<Bytes>)>,
    /// Rows of `queues`, by name.
    pub queues: Vec<(Arc<str>, Option<Bytes>)>,
    /// Rows of `queue-settings`, by name.
    pub settings: Vec<(Arc<str>, Option<Bytes>)>,
    /// Rows of `schedule-runs`, by name.
    pub schedules: Vec<(Arc<str>, Option<Bytes>)>,
    /// Attempts that have ended.
    pub runs: Vec<RunFact>,
    /// What channels are told.
    pub notifications: Vec<Notification>,
    /// Commands that could not be followed.
    pub letters: Vec<DeadLetter>,
    /// By how many the jobs of a phase have changed.
    pub phases: Vec<(Phase, i64)>,
}
