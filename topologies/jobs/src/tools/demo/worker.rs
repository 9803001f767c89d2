//! The worker of the demonstration: a job is to sleep.

use std::time::{Duration, Instant};

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::tools::work::work;
use crate::tools::{ApiArgs, Ended, LogArgs};
use crate::worker::{HandlerError, JobContext, LeasedJob, WorkerOptions};

/// How often a job tells how far it has come.
const TOLD_EVERY: Duration = Duration::from_millis(500);

/// What a job of the demonstration is to do.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sleep {
    /// So many milliseconds.
    pub sleep_ms: u64,
}

/// `headwater demo-worker`.
#[derive(Debug, Clone, Args)]
pub struct DemoWorkerArgs {
    /// The queue
    #[arg(long)]
    pub queue: String,
    /// Jobs at once
    #[arg(long)]
    pub slots: u32,
    /// Its name
    #[arg(long)]
    pub name: String,
    /// Where the API is.
    #[command(flatten)]
    pub api: ApiArgs,
    /// How much to log.
    #[command(flatten)]
    pub log: LogArgs,
}

impl DemoWorkerArgs {
    pub(crate) fn run(self) -> Ended {
        self.log.start("warn")?;
        let options = WorkerOptions { name: self.name, queues: vec![self.queue], slots: self.slots, wait: 20 };
        work(self.api.client()?, sleep, options, self.api.json)
    }
}

fn sleep(job: &LeasedJob, context: &JobContext) -> Result<Value, HandlerError> {
    let Sleep { sleep_ms } = serde_json::from_str(job.payload.get()).map_err(HandlerError::refuse)?;
    let (begun, whole) = (Instant::now(), Duration::from_millis(sleep_ms));
    loop {
        let left = whole.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Ok(json!({ "sleptMs": sleep_ms }));
        }
        if context.wait_cancelled(left.min(TOLD_EVERY)) {
            return Err(HandlerError::new("stopped", "it was asked to stop"));
        }
        context.progress(begun.elapsed().as_secs_f64() / whole.as_secs_f64(), "sleeps");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_sleeps_as_long_as_it_says() {
        let job: LeasedJob = serde_json::from_value(json!({
            "id": "a", "queue": "q", "lease": 1, "attempt": 1, "maxAttempts": 1, "payload": {"sleepMs": 30},
            "until": "2026-12-01T10:00:00Z", "heartbeatWithinMs": 1_000,
        }))
        .unwrap();
        let begun = Instant::now();
        assert_eq!(sleep(&job, &JobContext::detached()).unwrap(), json!({ "sleptMs": 30 }));
        assert!(begun.elapsed() >= Duration::from_millis(30));
        let wrong = LeasedJob { payload: serde_json::value::to_raw_value("x").unwrap(), ..job };
        assert!(!sleep(&wrong, &JobContext::detached()).unwrap_err().retry);
    }
}
