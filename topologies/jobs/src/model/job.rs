//! A job as the topic `jobs` holds it.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// It waits for its parents.
    Blocked,
    /// It waits for its time.
    Delayed,
    /// It waits for a worker.
    Waiting,
    /// A worker has it.
    Leased,
    /// An attempt has failed, and it waits for the next.
    Failed,
    /// It was completed.
    Done,
    /// All its attempts have failed, or it cannot be done in time.
    Dead,
    /// It was cancelled.
    Cancelled,
}

impl Phase {
    /// All of them, in the order of a job's life.
    pub const ALL: [Self; 8] = [
        Self::Blocked,
        Self::Delayed,
        Self::Waiting,
        Self::Leased,
        Self::Failed,
        Self::Done,
        Self::Dead,
        Self::Cancelled,
    ];

    /// Whether nothing happens to it any more by itself.
    pub fn is_settled(self) -> bool {
        matches!(self, Self::Done | Self::Dead | Self::Cancelled)
    }

    /// Its name, such as `waiting`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Delayed => "delayed",
            Self::Waiting => "waiting",
            Self::Leased => "leased",
            Self::Failed => "failed",
            Self::Done => "done",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A job.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// Its id.
    pub id: Arc<str>,
    /// Its queue.
    pub queue: Arc<str>,
    /// The order of submission, among the jobs that are there: it decides where all else is equal.
    pub number: u64,
    /// What kind of work it is, such as `send-mail`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Arc<str>>,
    /// Groups of a queue take turns; such as a tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Arc<str>>,
    /// Higher goes first; 0 for most.
    #[serde(default)]
    pub priority: i16,
    /// Where it stands.
    pub phase: Phase,
    /// What the worker is to do.
    pub payload: Box<RawValue>,
    /// When it was submitted.
    pub submitted_at: Timestamp,
    /// When it may be leased: of a delayed or failed job when its time comes, later since when it has waited.
    pub ready_at: Timestamp,
    /// How many attempts count: those that were begun and not given back.
    pub attempt: u32,
    /// What bounds it.
    pub limits: Limits,
    /// The jobs that it waits for, settled or not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<Arc<str>>,
    /// Those of its parents that have not been settled since it was submitted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open_parents: Vec<Arc<str>>,
    /// What becomes of it when a parent is dead or cancelled.
    #[serde(default)]
    pub on_parent_failure: OnParentFailure,
    /// Channels that are told when it is settled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notify: Vec<Arc<str>>,
    /// The number of its last lease, 0 before the first: each lease has a higher one than those before, also of a job that
    /// had the same id and has left.
    #[serde(default)]
    pub lease_number: u32,
    /// Of a leased job: who has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// How far its worker has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// Whether its worker is to stop.
    #[serde(default, skip_serializing_if = "is_false")]
    pub cancelling: bool,
    /// Of a job that is done: what it gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Box<RawValue>>,
    /// Why the last attempt failed, or the job cannot be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// Its newest attempts, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<Attempt>,
    /// Of a settled job: how it came to that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled: Option<Settled>,
    /// The schedule that submitted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Arc<str>>,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// What bounds a job. Times are in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// The most attempts; 1 or more.
    pub max_attempts: u32,
    /// The pause between attempts.
    pub backoff: Backoff,
    /// A lease ends when nothing is heard of its worker for so long.
    pub heartbeat_within_ms: i64,
    /// It is dead when no worker has begun so long after it could.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_within_ms: Option<i64>,
    /// An attempt fails when it takes longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish_within_ms: Option<i64>,
    /// It stays so long after it was done; `None` is as the configuration says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_ms: Option<i64>,
}

/// The pause between attempts: `initial` after the first, each time twice as long, at most `max`, in
/// milliseconds. A fifth more or less keeps jobs that failed together apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Backoff {
    /// After the first attempt.
    pub initial_ms: i64,
    /// The longest.
    pub max_ms: i64,
}

/// Who has a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// Its number: who completes the job has to name it.
    pub number: u32,
    /// The worker.
    pub worker: Arc<str>,
    /// Which of the worker's slots, from 0.
    pub slot: u32,
    /// Since when.
    pub since: Timestamp,
    /// It ends then, unless a heartbeat comes before.
    pub until: Timestamp,
}

/// How far a worker has come with a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// From 0 to 1.
    pub fraction: f64,
    /// In words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When it said so.
    pub at: Timestamp,
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// A stable name, such as `lease-expired`; workers give their own. Dead jobs are grouped by it.
    pub code: String,
    /// What happened, for people.
    pub message: String,
}

/// An attempt that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// Its number, from 1.
    pub attempt: u32,
    /// The number of its lease.
    pub lease: u32,
    /// The worker.
    pub worker: Arc<str>,
    /// How long the job had waited, in milliseconds.
    pub waited_ms: i64,
    /// When it began.
    pub began: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

/// How an attempt has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttemptOutcome {
    /// The job is done.
    Done,
    /// The worker said that it failed.
    Failed,
    /// Nothing was heard of the worker.
    LeaseExpired,
    /// It took too long.
    TimedOut,
    /// It was cancelled.
    Cancelled,
    /// The worker gave the job back; it does not count.
    Released,
}

/// What becomes of a job when one of its parents is dead or cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnParentFailure {
    /// It is cancelled.
    #[default]
    Cancel,
    /// It runs all the same, once all parents are settled.
    Run,
}

/// When a job was settled, and how long it had taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settled {
    /// When.
    pub at: Timestamp,
    /// It leaves then.
    pub leaves_at: Timestamp,
}
