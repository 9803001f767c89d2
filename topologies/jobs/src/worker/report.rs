//! How an attempt ended, told until it is taken.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use headwater::config::Period;
use headwater::error::{Backoff, Fault};
use serde_json::Value;
use serde_json::value::to_raw_value;

use super::context::{Cancellation, JobContext, shortened};
use super::exchange::Exchange;
use super::handler::{Handler, HandlerError};
use super::held::Key;
use crate::client::{ClientError, LeasedJob, Report, Taken};
use crate::model::Failure;

/// Largest result, in bytes of JSON. The server takes requests of 1 MiB; the rest is for what stands around it.
pub(super) const LARGEST_RESULT: usize = (1 << 20) - 256;

/// Longest message of a failure, in bytes.
const LONGEST_MESSAGE: usize = 16 << 10;

/// Pauses between attempts to report: from here to there.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// How often somebody who waits looks whether it is time to give up.
const TICK: Duration = Duration::from_millis(50);

/// What became of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// The job is done.
    Done,
    /// The attempt failed.
    Failed,
    /// The job was given back.
    Released,
    /// The lease had ended before, or nobody took the outcome.
    Lost,
}

/// Until when outcomes are reported, once the worker is to end at once.
#[derive(Debug, Clone, Default)]
pub(super) struct Patience(Arc<Mutex<Option<Instant>>>);

impl Patience {
    /// Reports are given up at `time`.
    pub fn end_at(&self, time: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(time);
    }

    fn has_ended(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|end| Instant::now() >= end)
    }
}

/// Runs a job; a panic is a failure.
pub(super) fn attempt(handler: &dyn Handler, job: &LeasedJob, context: &JobContext) -> Report {
    let ran = catch_unwind(AssertUnwindSafe(|| handler.run(job, context)));
    let ended = ran.unwrap_or_else(|panic| Err(HandlerError::new("panic", said(&*panic))));
    match ended {
        Ok(result) => completed(&result),
        Err(_) if context.cancellation() == Some(Cancellation::Stopping) => Report::Release,
        Err(error) => failed(error),
    }
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "the handler panicked".to_owned())
}

fn completed(result: &Value) -> Report {
    match to_raw_value(result) {
        Ok(text) if text.get().len() <= LARGEST_RESULT => Report::Complete(text),
        Ok(text) => {
            let told = format!("the result has {} bytes; {LARGEST_RESULT} are possible", text.get().len());
            failed(HandlerError::new("result-too-large", told).without_retry())
        }
        Err(error) => failed(HandlerError::new("invalid-result", error).without_retry()),
    }
}

fn failed(error: HandlerError) -> Report {
    let HandlerError { code, message, retry, retry_in } = error;
    let message = shortened(message, LONGEST_MESSAGE);
    let retry_in = retry_in.map(|pause| Period::from_millis(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX)));
    Report::Fail { error: Failure { code, message }, retry, retry_in }
}

/// Reports until the outcome is taken, the lease has ended, or patience has.
pub(super) fn report(
    exchange: &dyn Exchange,
    (job, lease): &Key,
    context: &JobContext,
    patience: &Patience,
    mut report: Report,
) -> Left {
    let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
    while context.cancellation() != Some(Cancellation::Lost) {
        match exchange.report(job, *lease, &report) {
            Ok(Taken::Taken) => return left(&report),
            Ok(Taken::Stale) => break,
            Err(error) if error.is_of_content() => {
                tracing::warn!(job, %error, "the outcome of a job is refused");
                if matches!(&report, Report::Fail { error, .. } if error.code == "outcome-refused") {
                    break;
                }
                report = failed(HandlerError::new("outcome-refused", error));
            }
            Err(error) => {
                tell(job, &error);
                if !wait(backoff.pause(), context, patience) {
                    break;
                }
            }
        }
    }
    Left::Lost
}

fn left(report: &Report) -> Left {
    match report {
        Report::Complete(_) => Left::Done,
        Report::Fail { .. } => Left::Failed,
        Report::Release => Left::Released,
    }
}

/// A server that is away comes back; what it refuses, somebody has to see to.
fn tell(job: &str, error: &ClientError) {
    const WHAT: &str = "the outcome of a job cannot be reported yet";
    match error.may_pass() {
        true => tracing::debug!(job, %error, WHAT),
        false => tracing::warn!(job, %error, hint = error.hint(), WHAT),
    }
}

/// Waits, and says whether to go on then.
fn wait(pause: Duration, context: &JobContext, patience: &Patience) -> bool {
    let until = Instant::now() + pause;
    loop {
        if patience.has_ended() || context.cancellation() == Some(Cancellation::Lost) {
            return false;
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        std::thread::sleep(left.min(TICK));
    }
}
