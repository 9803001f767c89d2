//! A client of the API of jobs.
//!
//! ```no_run
//! use jobs::client::{Client, NewJob};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::new("http://127.0.0.1:8084", None)?;
//! let job = NewJob { payload: Some(serde_json::value::to_raw_value(&["to", "kim"])?), ..NewJob::default() };
//! let submitted = client.submit("mail", &job, None)?;
//! let mut live = client.follow(&submitted.id)?;
//! while let Some(document) = live.next_document()? {
//!     println!("{}", document.job()?.phase.name());
//! }
//! # Ok(())
//! # }
//! ```

mod calls;
mod error;
mod filter;
mod http;
mod lease;
mod live;
mod new_job;
mod seen;
mod text;

pub use calls::MOST_IN_A_REQUEST;
pub use error::ClientError;
pub use filter::JobFilter;
pub use http::Client;
pub use lease::{Ask, Given, Held, LeaseRef, LeasedJob, Report, Taken};
pub use live::{Live, LiveEvent};
pub(crate) use new_job::random_hex;
pub use new_job::{NewJob, random_id};
pub use seen::{
    Counted, Document, ErrorGroup, HeartbeatAnswer, Page, QueueStatus, ScheduleStatus, Submitted, WorkerStatus,
};
pub use text::TextPage;

/// Where the API is unless told otherwise.
pub const USUAL_URL: &str = "http://127.0.0.1:8084";
