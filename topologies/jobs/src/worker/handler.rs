//! What a worker does with a job.

use std::fmt::Display;
use std::time::Duration;

use serde_json::Value;

use super::context::JobContext;
use crate::client::LeasedJob;

/// What is done with jobs. One handler runs many jobs at once.
pub trait Handler: Send + Sync + 'static {
    /// Does a job, and gives its result: any JSON up to 1 MiB. Where `context` says that the job is cancelled, it is
    /// to end soon, with what it has or with an error.
    ///
    /// # Errors
    /// Why the attempt failed, and whether another may help.
    fn run(&self, job: &LeasedJob, context: &JobContext) -> Result<Value, HandlerError>;
}

impl<F> Handler for F
where
    F: Fn(&LeasedJob, &JobContext) -> Result<Value, HandlerError> + Send + Sync + 'static,
{
    fn run(&self, job: &LeasedJob, context: &JobContext) -> Result<Value, HandlerError> {
        self(job, context)
    }
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct HandlerError {
    /// A stable name: dead jobs are grouped by it.
    pub code: String,
    /// What happened, for people.
    pub message: String,
    /// Whether another attempt may help.
    pub retry: bool,
    /// The pause before it; `None` is as the job says.
    pub retry_in: Option<Duration>,
}

impl HandlerError {
    /// A failure that another attempt may mend.
    pub fn new(code: impl Into<String>, message: impl Display) -> Self {
        Self { code: code.into(), message: message.to_string(), retry: true, retry_in: None }
    }

    /// A failure that no other attempt mends, such as a payload that means nothing: code `refused`.
    pub fn refuse(message: impl Display) -> Self {
        Self::new("refused", message).without_retry()
    }

    /// The same, and no other attempt is made.
    #[must_use]
    pub fn without_retry(self) -> Self {
        Self { retry: false, ..self }
    }

    /// The same, and the next attempt comes after `pause`.
    #[must_use]
    pub fn retry_in(self, pause: Duration) -> Self {
        Self { retry: true, retry_in: Some(pause), ..self }
    }
}
