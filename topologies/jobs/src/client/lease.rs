//! What workers ask, are given, and report.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::model::Failure;
use headwater::config::Period;

/// A worker's request for jobs, which tells too how those are doing that it has.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ask {
    /// The worker.
    pub worker: String,
    /// The queues that it takes jobs of.
    pub queues: Vec<String>,
    /// How many jobs it has at once at most, those in `holding` counted in; 0 is a farewell.
    pub slots: u32,
    /// The answer may wait so many seconds for something to say.
    pub wait: u32,
    /// The jobs that it has.
    pub holding: Vec<Held>,
}

/// A job that a worker has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// The job.
    pub id: String,
    /// The number of its lease.
    pub lease: u32,
    /// How far it has come, from 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<f64>,
    /// The same in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The answer to an [`Ask`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Given {
    /// Jobs that the worker has and did not name.
    #[serde(default)]
    pub leases: Vec<LeasedJob>,
    /// Jobs that it is to stop.
    #[serde(default)]
    pub cancel: Vec<LeaseRef>,
    /// Jobs that it named and has no more.
    #[serde(default)]
    pub lost: Vec<LeaseRef>,
}

/// A lease of a job.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LeaseRef {
    /// The job.
    pub id: String,
    /// The number of the lease.
    pub lease: u32,
}

/// A job that a worker has been given.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeasedJob {
    /// Its id.
    pub id: String,
    /// Its queue.
    pub queue: String,
    /// What kind of work it is.
    #[serde(default)]
    pub kind: Option<String>,
    /// The number of the lease.
    pub lease: u32,
    /// Which attempt it is, from 1.
    pub attempt: u32,
    /// The most attempts.
    pub max_attempts: u32,
    /// What is to be done.
    pub payload: Box<RawValue>,
    /// The lease ends then, unless a heartbeat comes before.
    pub until: Timestamp,
    /// A lease ends when nothing is heard for so long, in milliseconds.
    pub heartbeat_within_ms: u64,
    /// An attempt fails when it takes longer, in milliseconds.
    #[serde(default)]
    pub finish_within_ms: Option<u64>,
}

/// How a lease ended.
#[derive(Debug, Clone)]
pub enum Report {
    /// The job is done, with this result.
    Complete(Box<RawValue>),
    /// The attempt failed.
    Fail {
        /// Why.
        error: Failure,
        /// Whether another attempt may help.
        retry: bool,
        /// The pause before it; `None` is as the job says.
        retry_in: Option<Period>,
    },
    /// The worker gives the job back, as if it had never had it.
    Release,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    lease: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a Failure>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_in: Option<Period>,
}

impl Report {
    /// The last segment of its path.
    pub(super) fn path(&self) -> &'static str {
        match self {
            Self::Complete(_) => "complete",
            Self::Fail { .. } => "fail",
            Self::Release => "release",
        }
    }

    /// What is sent.
    pub(super) fn body(&self, lease: u32) -> String {
        let empty = Body { lease, result: None, error: None, retry: None, retry_in: None };
        let body = match self {
            Self::Complete(result) => Body { result: Some(result), ..empty },
            Self::Fail { error, retry, retry_in } => {
                Body { error: Some(error), retry: Some(*retry), retry_in: *retry_in, ..empty }
            }
            Self::Release => empty,
        };
        // Texts, numbers and what is JSON already can always be written.
        serde_json::to_string(&body).unwrap_or_default()
    }
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// The server has written it.
    Taken,
    /// The lease has ended before: nothing was written.
    Stale,
}
