//! Workers: they take jobs, run them, and report how that ended.
//!
//! A [`Worker`] asks an [`Exchange`] for jobs by long poll, runs each by its [`Handler`] on a thread of its own, tells
//! the server that it is at it, and reports outcomes until they are taken. A job may run more than once: its lease
//! fences what is reported, not what the handler does.
//!
//! ```no_run
//! use jobs::client::Client;
//! use jobs::worker::{HandlerError, JobContext, LeasedJob, Worker, WorkerOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let greet = |job: &LeasedJob, context: &JobContext| {
//!     context.progress(0.5, "half way");
//!     let name: String = serde_json::from_str(job.payload.get()).map_err(HandlerError::refuse)?;
//!     Ok(serde_json::json!({ "greeting": format!("hello, {name}") }))
//! };
//! let client = Client::new("http://127.0.0.1:8084", None)?;
//! let options = WorkerOptions::of_queues(["greetings"])?;
//! Worker::new(client, greet, options)?.run()?;
//! # Ok(())
//! # }
//! ```

#[cfg(unix)]
pub mod command;
mod context;
mod exchange;
mod handler;
mod held;
mod messenger;
mod options;
#[cfg(unix)]
mod output;
mod report;
mod run;

pub use context::{Cancellation, JobContext};
pub use exchange::Exchange;
pub use handler::{Handler, HandlerError};
pub use options::{MOST_SLOTS, WorkerOptions, worker_name};
pub use run::{Stopper, Summary, Worker, WorkerError};

pub use crate::client::LeasedJob;
