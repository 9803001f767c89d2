//! `headwater evaluate`: how well listings were resolved, by labelled pairs or known events.

mod args;
mod error;
mod judge;
pub mod measure;
mod report;
pub mod truth;

pub use args::EvaluateArgs;
pub use error::EvaluateError;
pub use judge::{EvaluateOptions, evaluate};
pub(super) use judge::{Listings, Resolved, events_of, read_listings};
pub(super) use report::Line;
pub use report::{Blocking, Churn, Group, Mistake, MistakeKind, Report, Scores};
