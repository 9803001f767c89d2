//! Heads: what of a job is looked at often, read once.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use serde::Deserialize;

use crate::model::Phase;

/// The newest form of a job that this program reads.
const FORMAT: u32 = 1;

/// What of a job is looked at often.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) id: Arc<str>,
    /// The order of all jobs.
    pub(super) number: u64,
    pub(super) queue: Arc<str>,
    pub(super) phase: Phase,
    pub(super) kind: Option<Arc<str>>,
    pub(super) group: Option<Arc<str>>,
    pub(super) schedule: Option<Arc<str>>,
    /// The code of why the last attempt failed.
    pub(super) error: Option<Arc<str>>,
    /// The number of the last lease.
    pub(super) lease_number: u32,
    pub(super) lease: Option<Box<LeaseHead>>,
    /// When it was settled.
    pub(super) settled_at: Option<Timestamp>,
}

/// Who has a job.
#[derive(Debug, Clone)]
pub(super) struct LeaseHead {
    pub(super) number: u32,
    pub(super) worker: Arc<str>,
    pub(super) until: Timestamp,
    /// When this server has seen it begin or be renewed; `None` where it has not seen that.
    pub(super) renewed: Option<Instant>,
    pub(super) heartbeat_within_ms: i64,
    pub(super) cancelling: bool,
}

/// Why a record of the topic `jobs` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    /// A newer program has written it.
    #[error("a job has the format {0}; this program reads {FORMAT}")]
    Newer(u32),
    /// It is no job.
    #[error("a record is no job: {0}")]
    NoJob(String),
    /// It is a job, and its key is that of another one.
    #[error("a record has the key of another job than it holds")]
    OtherKey,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Read<'a> {
    #[serde(default)]
    format: Option<u32>,
    #[serde(borrow)]
    id: Cow<'a, str>,
    number: u64,
    #[serde(borrow)]
    queue: Cow<'a, str>,
    phase: Phase,
    #[serde(default, borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    group: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    schedule: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    error: Option<Code<'a>>,
    limits: ReadLimits,
    #[serde(default)]
    lease_number: u32,
    #[serde(default, borrow)]
    lease: Option<ReadLease<'a>>,
    #[serde(default)]
    cancelling: bool,
    #[serde(default)]
    settled: Option<ReadSettled>,
}

#[derive(Deserialize)]
struct Code<'a> {
    #[serde(borrow)]
    code: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReadLimits {
    heartbeat_within_ms: i64,
}

#[derive(Deserialize)]
struct ReadLease<'a> {
    number: u32,
    #[serde(borrow)]
    worker: Cow<'a, str>,
    until: Timestamp,
}

#[derive(Deserialize)]
struct ReadSettled {
    at: Timestamp,
}

impl Head {
    /// The head of a job as its topic has it. Names that many jobs have are there once.
    pub(super) fn read(key: &str, document: &[u8], names: &mut Names) -> Result<Self, Unreadable> {
        let read: Read<'_> = serde_json::from_slice(document).map_err(|error| Unreadable::NoJob(error.to_string()))?;
        if let Some(newer) = read.format.filter(|format| *format > FORMAT) {
            return Err(Unreadable::Newer(newer));
        }
        if read.id != key {
            return Err(Unreadable::OtherKey);
        }
        let ReadLimits { heartbeat_within_ms } = read.limits;
        let lease = read.lease.map(|ReadLease { number, worker, until }| {
            let worker = names.one(&worker);
            let cancelling = read.cancelling;
            Box::new(LeaseHead { number, worker, until, renewed: None, heartbeat_within_ms, cancelling })
        });
        let mut some = |name: Option<Cow<'_, str>>| name.map(|name| names.one(&name));
        let (kind, group, schedule) = (some(read.kind), some(read.group), some(read.schedule));
        let error = some(read.error.map(|error| error.code));
        Ok(Self {
            id: read.id.as_ref().into(),
            number: read.number,
            queue: names.one(&read.queue),
            phase: read.phase,
            kind,
            group,
            schedule,
            error,
            lease_number: read.lease_number,
            lease,
            settled_at: read.settled.map(|settled| settled.at),
        })
    }
}

/// A job's document without the field `format`, which is in front.
pub(super) fn without_format(document: &[u8]) -> Vec<u8> {
    match document.strip_prefix(br#"{"format":1,"#) {
        Some(rest) => [b"{", rest].concat(),
        None => document.to_vec(),
    }
}

/// So many names are there before those are looked for that no job has any more.
const FIRST_SWEEP: usize = 4_096;

/// Names of queues, workers, groups and the like, each once.
#[derive(Debug, Default)]
pub(super) struct Names {
    all: HashSet<Arc<str>>,
    sweep_at: usize,
}

impl Names {
    /// The name, shared with all that have it.
    pub(super) fn one(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.all.get(name) {
            return Arc::clone(known);
        }
        if self.all.len() >= self.sweep_at.max(FIRST_SWEEP) {
            self.all.retain(|name| Arc::strong_count(name) > 1);
            self.sweep_at = self.all.len() * 2;
        }
        let name: Arc<str> = name.into();
        self.all.insert(Arc::clone(&name));
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = r#"{"format":1,"id":"a","queue":"mail","number":7,"group":"x","priority":0,"phase":"leased",
        "payload":{"format":1,"id":"no"},"submittedAt":"2026-12-01T10:00:00Z","readyAt":"2026-12-01T10:00:00Z","attempt":1,
        "limits":{"maxAttempts":3,"backoff":{"initialMs":1,"maxMs":2},"heartbeatWithinMs":30000},"leaseNumber":2,
        "lease":{"number":2,"worker":"w","slot":0,"since":"2026-12-01T10:00:00Z","until":"2026-12-01T10:00:30Z"},
        "error":{"code":"exit-1","message":"it \"failed\""},"cancelling":true}"#;

    #[test]
    fn a_head_has_what_the_job_has() {
        let mut names = Names::default();
        let head = Head::read("a", JOB.as_bytes(), &mut names).unwrap();
        assert_eq!((&*head.id, head.number, &*head.queue, head.phase), ("a", 7, "mail", Phase::Leased));
        assert_eq!((head.kind, head.group.as_deref(), head.error.as_deref()), (None, Some("x"), Some("exit-1")));
        let lease = head.lease.unwrap();
        assert_eq!((lease.number, &*lease.worker, lease.heartbeat_within_ms, lease.cancelling), (2, "w", 30_000, true));
        assert!(without_format(JOB.as_bytes()).starts_with(br#"{"id":"a","queue""#));
        let newer = JOB.replacen(r#""format":1"#, r#""format":2"#, 1);
        assert_eq!(Head::read("a", newer.as_bytes(), &mut names).unwrap_err(), Unreadable::Newer(2));
        assert!(matches!(Head::read("a", b"[]", &mut names), Err(Unreadable::NoJob(_))));
        assert_eq!(Head::read("b", JOB.as_bytes(), &mut names).unwrap_err(), Unreadable::OtherKey);
    }

    #[test]
    fn names_that_nobody_has_are_forgotten() {
        let mut names = Names::default();
        let kept = names.one("kept");
        for number in 0..FIRST_SWEEP * 3 {
            names.one(&number.to_string());
        }
        assert!(names.all.len() <= FIRST_SWEEP + 1);
        assert!(Arc::ptr_eq(&kept, &names.one("kept")));
    }
}
