//! What became of the jobs, as the log tells it.

use std::collections::{BTreeMap, BTreeSet};

use headwater::error::{Domain, Fault};
use headwater::log::{Log, LogError, LogRecord, read_to_end};
use headwater::words::grouped;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::model::{AttemptOutcome, Job, Phase, RunFact};
use crate::scheduler::SchedulerSettings;
use crate::tools::show::millis;
use crate::verify::verify;

/// Why a log cannot be summed up.
#[derive(Debug, thiserror::Error)]
pub enum TotalsError {
    /// The log fails.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A record is none of the topic.
    #[error("a record of {topic} cannot be read: {reason}")]
    Record {
        /// The topic.
        topic: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Fault for TotalsError {
    fn domain(&self) -> Domain {
        match self {
            Self::Log(error) => error.domain(),
            Self::Record { .. } => Domain::Internal,
        }
    }
}

/// What became of the jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// Jobs that were submitted.
    pub submitted: u64,
    /// Jobs that the log has.
    pub jobs: u64,
    /// Those that are done.
    pub done: u64,
    /// Those that are dead or cancelled.
    pub given_up: u64,
    /// Those that are not settled.
    pub unsettled: u64,
    /// Jobs that were submitted and that the log has not.
    pub missing: u64,
    /// Jobs that were done more than once.
    pub done_twice: u64,
    /// Attempts.
    pub attempts: u64,
    /// Attempts of workers that were not heard of any more.
    pub lease_expired: u64,
    /// Reports under leases that had ended, which were refused.
    pub stale: u64,
    /// What may not be, of all that the log holds: [`verify`] tells.
    pub violations: Vec<String>,
    /// How long the attempts that are done had waited.
    pub wait_ms: Option<Waits>,
    /// Workers that were killed.
    pub killed: u64,
    /// How long it all took, in milliseconds.
    pub took_ms: u64,
}

/// How long jobs waited, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Waits {
    /// Half waited no longer.
    pub p50: i64,
    /// 95 of 100 waited no longer.
    pub p95: i64,
    /// 99 of 100 waited no longer.
    pub p99: i64,
}

impl Waits {
    fn of(mut waits: Vec<i64>) -> Option<Self> {
        waits.sort_unstable();
        let last = waits.len().checked_sub(1)?;
        let at = |hundredths: usize| waits[(waits.len() * hundredths).div_ceil(100).saturating_sub(1).min(last)];
        Some(Self { p50: at(50), p95: at(95), p99: at(99) })
    }
}

impl Totals {
    /// Reads what became of the jobs `submitted` from a log whose topics begin with `prefix`.
    ///
    /// # Errors
    /// When the log fails, or holds what cannot be read.
    pub fn read(log: &dyn Log, prefix: &str, submitted: &BTreeSet<String>) -> Result<Self, TotalsError> {
        let jobs = read_jobs(log, &format!("{prefix}jobs"))?;
        let mut totals = Self { submitted: submitted.len() as u64, jobs: jobs.len() as u64, ..Self::default() };
        totals.missing = submitted.iter().filter(|id| !jobs.contains_key(*id)).count() as u64;
        for phase in jobs.values() {
            let counter = match phase {
                Phase::Done => &mut totals.done,
                Phase::Dead | Phase::Cancelled => &mut totals.given_up,
                _ => &mut totals.unsettled,
            };
            *counter += 1;
        }
        totals.read_runs(log, &format!("{prefix}job-runs"))?;
        let report = verify(log, prefix, &SchedulerSettings::default())?;
        (totals.stale, totals.violations) = (report.stale, report.violations);
        Ok(totals)
    }

    fn read_runs(&mut self, log: &dyn Log, topic: &str) -> Result<(), TotalsError> {
        let mut waits = Vec::new();
        let mut done: BTreeMap<String, u64> = BTreeMap::new();
        read_to_end(log, topic, |record| {
            let Some(fact) = value_of::<RunFact>(&record, topic)? else { return Ok(()) };
            self.attempts += 1;
            match fact.run.outcome {
                AttemptOutcome::Done => {
                    waits.push(fact.run.waited_ms);
                    *done.entry(fact.job.to_string()).or_default() += 1;
                }
                AttemptOutcome::LeaseExpired => self.lease_expired += 1,
                _ => {}
            }
            Ok::<(), TotalsError>(())
        })?;
        self.done_twice = done.values().filter(|times| **times > 1).count() as u64;
        self.wait_ms = Waits::of(waits);
        Ok(())
    }

    /// Whether each job that was submitted is done, and once.
    pub fn is_right(&self) -> bool {
        let wrong = self.missing + self.unsettled + self.given_up + self.done_twice;
        wrong == 0 && self.done == self.submitted && self.violations.is_empty()
    }
}

/// The phase of each job.
fn read_jobs(log: &dyn Log, topic: &str) -> Result<BTreeMap<String, Phase>, TotalsError> {
    let mut jobs = BTreeMap::new();
    read_to_end(log, topic, |record| {
        let key = String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned();
        match value_of::<Job>(&record, topic)? {
            Some(job) => jobs.insert(key, job.phase),
            None => jobs.remove(&key),
        };
        Ok::<(), TotalsError>(())
    })?;
    Ok(jobs)
}

fn value_of<T: DeserializeOwned>(record: &LogRecord, topic: &str) -> Result<Option<T>, TotalsError> {
    let unreadable =
        |error: serde_json::Error| TotalsError::Record { topic: topic.to_owned(), reason: error.to_string() };
    record.value.as_deref().map(serde_json::from_slice).transpose().map_err(unreadable)
}

impl std::fmt::Display for Totals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rows = [
            ("submitted", self.submitted),
            ("done", self.done),
            ("dead or cancelled", self.given_up),
            ("not settled", self.unsettled),
            ("missing", self.missing),
            ("done twice", self.done_twice),
            ("attempts", self.attempts),
            ("lease expired", self.lease_expired),
            ("refused as stale", self.stale),
            ("workers killed", self.killed),
            ("violations", self.violations.len() as u64),
        ];
        for (name, count) in rows {
            writeln!(f, "{name:18}{:>9}", grouped(count))?;
        }
        if let Some(Waits { p50, p95, p99 }) = self.wait_ms {
            writeln!(f, "waits             p50 {}, p95 {}, p99 {}", millis(p50), millis(p95), millis(p99))?;
        }
        for violation in &self.violations {
            writeln!(f, "  {violation}")?;
        }
        write!(f, "took              {}", millis(i64::try_from(self.took_ms).unwrap_or(i64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use headwater::log::memory::MemoryLog;
    use serde_json::{Value, json};

    use super::*;

    fn put(log: &MemoryLog, topic: &str, key: &str, value: Option<Value>) {
        let value = value.map(|value| value.to_string().into());
        let record = LogRecord {
            topic: topic.into(),
            partition: 0,
            offset: 0,
            timestamp_ms: 0,
            key: Some(key.as_bytes().to_vec()),
            value,
            headers: Vec::new(),
        };
        log.put(record).unwrap();
    }

    fn job(id: &str, phase: &str) -> Value {
        json!({
            "format": 1, "id": id, "queue": "q", "number": 1, "phase": phase, "payload": null, "attempt": 1,
            "submittedAt": "2026-12-01T10:00:00Z", "readyAt": "2026-12-01T10:00:00Z",
            "limits": {"maxAttempts": 3, "backoff": {"initialMs": 1, "maxMs": 1}, "heartbeatWithinMs": 1_000},
        })
    }

    fn run(job: &str, lease: u32, waited: i64, outcome: &str) -> Value {
        json!({
            "format": 1, "job": job, "queue": "q", "ranMs": 5,
            "run": {
                "attempt": lease, "lease": lease, "worker": "w", "waitedMs": waited, "outcome": outcome,
                "began": "2026-12-01T10:00:00Z", "ended": "2026-12-01T10:00:01Z",
            },
        })
    }

    #[test]
    fn what_is_wrong_shows() {
        let log = MemoryLog::new();
        ["jobs.jobs", "jobs.job-runs"].iter().for_each(|topic| log.create(topic, 1));
        for (id, phase) in [("a", "leased"), ("a", "done"), ("b", "dead"), ("c", "waiting"), ("gone", "done")] {
            put(&log, "jobs.jobs", id, Some(job(id, phase)));
        }
        put(&log, "jobs.jobs", "gone", None);
        for (lease, waited, outcome) in [(1, 9, "lease-expired"), (2, 20, "done"), (3, 10, "done")] {
            put(&log, "jobs.job-runs", "a", Some(run("a", lease, waited, outcome)));
        }
        let submitted = ["a", "b", "c", "gone"].map(str::to_owned).into();
        let mut totals = Totals::read(&log, "jobs.", &submitted).unwrap();
        // That it was done twice, and dead without having been submitted.
        assert!(!std::mem::take(&mut totals.violations).is_empty());
        let expected = Totals {
            submitted: 4,
            jobs: 3,
            done: 1,
            given_up: 1,
            unsettled: 1,
            missing: 1,
            done_twice: 1,
            attempts: 3,
            lease_expired: 1,
            wait_ms: Some(Waits { p50: 10, p95: 20, p99: 20 }),
            ..Totals::default()
        };
        assert_eq!(totals, expected);
        assert!(!totals.is_right());
        let right = Totals { submitted: 2, jobs: 2, done: 2, ..Totals::default() };
        assert!(right.is_right());
        for wrong in [
            Totals { done_twice: 1, ..right.clone() },
            Totals { missing: 1, ..right.clone() },
            Totals { violations: vec!["a lease twice".to_owned()], ..right },
        ] {
            assert!(!wrong.is_right(), "{wrong:?}");
        }
    }

    #[test]
    fn quantiles_are_of_the_nearest_rank() {
        let waits = Waits::of((1..=100).rev().collect()).unwrap();
        assert_eq!((waits.p50, waits.p95, waits.p99), (50, 95, 99));
        assert_eq!(Waits::of(vec![7]), Some(Waits { p50: 7, p95: 7, p99: 7 }));
        assert_eq!(Waits::of(Vec::new()), None);
    }
}
