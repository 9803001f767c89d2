//! What follows from the jobs: rows and facts.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::job::{Attempt, Phase};

/// A row of `queues`: how a queue is doing. All numbers follow from the jobs that are there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueRow {
    /// Its name.
    pub queue: Arc<str>,
    /// Whether no job of it is leased.
    pub paused: bool,
    /// How many jobs there are in each phase; those with none are left out.
    pub counts: BTreeMap<Phase, u64>,
    /// Since when the job has waited that waits longest.
    pub oldest_waiting: Option<Timestamp>,
    /// How long the jobs that are done had waited.
    pub wait_ms: Option<Quantiles>,
    /// How long they ran.
    pub run_ms: Option<Quantiles>,
}

/// Quantiles in milliseconds, at most a sixteenth too high.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Quantiles {
    /// Half took no longer.
    pub p50: i64,
    /// 95 of 100 took no longer.
    pub p95: i64,
}

/// A row of `job-leases`: what a slot of a worker has. The key is the worker and the slot, as `worker/slot`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeaseRow {
    /// The worker.
    pub worker: Arc<str>,
    /// The slot, from 0.
    pub slot: u32,
    /// The job.
    pub job: Arc<str>,
    /// Its queue.
    pub queue: Arc<str>,
    /// The number of the lease.
    pub lease: u32,
    /// Which attempt it is, from 1.
    pub attempt: u32,
    /// It ends then, unless a heartbeat comes before.
    pub until: Timestamp,
    /// What the worker is to do.
    pub payload: Box<RawValue>,
}

/// A fact of `job-runs`: an attempt that has ended. The key is the job and the lease, as `job/lease`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunFact {
    /// The job.
    pub job: Arc<str>,
    /// Its queue.
    pub queue: Arc<str>,
    /// What kind of work it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Arc<str>>,
    /// Its group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Arc<str>>,
    /// How long it ran, in milliseconds.
    pub ran_ms: i64,
    /// The attempt.
    pub run: Attempt,
}

/// A fact of `notifications`. The key is the channel.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    /// The channel.
    pub channel: Arc<str>,
    /// When.
    pub at: Timestamp,
    /// The job that was settled, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<Arc<str>>,
    /// Of a job: how it was settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// What the channel is told: of a job its result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Box<RawValue>>,
}

/// A row of `schedule-runs`: how far a schedule has come. The key is its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleRow {
    /// Its name.
    pub schedule: Arc<str>,
    /// The time up to which everything that was due is decided.
    pub decided: Timestamp,
    /// When it is due next; `None` where it is paused or never due again.
    pub next: Option<Timestamp>,
    /// The job that it submitted last.
    pub last_job: Option<Arc<str>>,
    /// How many times it has submitted a job.
    pub submitted: u64,
    /// How many times it was due and submitted none: it was missed, or the job before still ran.
    pub skipped: u64,
}
