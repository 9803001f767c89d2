//! What the server tells.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::model::{Job, Phase, Quantiles};

/// A job as the server told it, to be read or passed on as it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Document(pub Box<RawValue>);

impl Document {
    /// Its JSON.
    pub fn text(&self) -> &str {
        self.0.get()
    }

    /// The job.
    ///
    /// # Errors
    /// When it is none.
    pub fn job(&self) -> Result<Job, serde_json::Error> {
        serde_json::from_str(self.text())
    }
}

/// What was submitted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Submitted {
    /// The id of the job.
    pub id: String,
    /// Where it stands, if that is known already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
}

/// Jobs that are listed.
#[derive(Debug, Clone, Deserialize)]
pub struct Page {
    /// The jobs, the newest first.
    pub jobs: Vec<Document>,
    /// How many there are in all.
    pub total: u64,
    /// Where the next page begins; `None` for the last one.
    #[serde(default)]
    pub next: Option<String>,
}

/// How many jobs something was asked of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// So many.
    pub count: u64,
    /// Whether there are more, of which it was not asked: a request has a limit.
    #[serde(default)]
    pub more: bool,
}

/// Dead jobs with one error.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ErrorGroup {
    /// Their queue.
    pub queue: String,
    /// The code of the error, if it has one.
    #[serde(default)]
    pub code: Option<String>,
    /// How many there are.
    pub count: u64,
    /// When the first of them died, if that is known.
    #[serde(default)]
    pub first: Option<Timestamp>,
    /// When the last of them died, if that is known.
    #[serde(default)]
    pub last: Option<Timestamp>,
    /// What one of them says.
    pub message: String,
    /// Its id.
    pub example: String,
}

/// The answer to a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct HeartbeatAnswer {
    /// Whether the worker is to stop the job.
    pub cancel: bool,
    /// Whether the worker has it no more.
    pub lost: bool,
    /// The lease ends then, unless a heartbeat comes before.
    #[serde(default)]
    pub until: Option<Timestamp>,
}

/// How a queue is doing.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueStatus {
    /// Its name.
    pub queue: Arc<str>,
    /// Whether no job of it is leased.
    pub paused: bool,
    /// How many jobs there are in each phase.
    #[serde(default)]
    pub counts: BTreeMap<Phase, u64>,
    /// Since when the job has waited that waits longest.
    #[serde(default)]
    pub oldest_waiting: Option<Timestamp>,
    /// How long the jobs that are done had waited.
    #[serde(default)]
    pub wait_ms: Option<Quantiles>,
    /// How long they ran.
    #[serde(default)]
    pub run_ms: Option<Quantiles>,
    /// How many were done in the last minute.
    #[serde(default)]
    pub done_per_minute: Option<f64>,
}

impl QueueStatus {
    /// How many jobs of it are in a phase.
    pub fn count(&self, phase: Phase) -> u64 {
        self.counts.get(&phase).copied().unwrap_or(0)
    }
}

/// A schedule and how far it has come.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleStatus {
    /// Its name.
    pub name: String,
    /// As it was set: a [`Schedule`](crate::model::Schedule) in JSON.
    #[serde(default)]
    pub definition: Option<Box<RawValue>>,
    /// When it is due next; `None` where it is paused or never due again.
    #[serde(default)]
    pub next: Option<Timestamp>,
    /// The job that it submitted last.
    #[serde(default)]
    pub last_job: Option<String>,
    /// How many times it has submitted a job.
    #[serde(default)]
    pub submitted: u64,
    /// How many times it was due and submitted none.
    #[serde(default)]
    pub skipped: u64,
}

/// A worker as a server heard of it. A server that has started a moment ago may know no more than what it has.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// Its name.
    pub worker: String,
    /// The queues that it takes jobs of, if it was heard of.
    #[serde(default)]
    pub queues: Option<Vec<String>>,
    /// How many jobs it has at once at most, if it was heard of.
    #[serde(default)]
    pub slots: Option<u32>,
    /// When it was heard of last, if it was.
    #[serde(default)]
    pub seen: Option<Timestamp>,
    /// The jobs that it has.
    #[serde(default)]
    pub leased: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_does_not_know_may_be_null() {
        let worker = r#"{"worker":"w","queues":null,"slots":null,"seen":null,"leased":["a"]}"#;
        let WorkerStatus { queues, slots, seen, leased, .. } = serde_json::from_str(worker).unwrap();
        assert_eq!((queues, slots, seen, leased), (None, None, None, vec!["a".to_owned()]));
        let group = r#"{"queue":"q","code":null,"count":2,"first":null,"last":null,"message":"","example":"a"}"#;
        let ErrorGroup { code, first, last, .. } = serde_json::from_str(group).unwrap();
        assert_eq!((code, first, last), (None, None, None));
        let counted = |text| serde_json::from_str::<Counted>(text).unwrap().more;
        assert!(counted(r#"{"count":1,"more":true}"#) && !counted(r#"{"count":1}"#));
    }
}
