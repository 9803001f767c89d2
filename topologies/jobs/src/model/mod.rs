//! The data of the topology: what goes in, what is kept, what comes out.

mod command;
mod job;
mod name;
mod row;
mod schedule;

pub(crate) use command::cut;
pub use command::{Command, LARGEST, Notify, Outcome, QueueChange, Submit, WorkerHello};
pub use job::{
    Attempt, AttemptOutcome, Backoff, Failure, Job, Lease, Limits, OnParentFailure, Phase, Progress, Settled,
};
pub use name::{LONGEST_ID, check_channel, check_id, check_label, check_queue, check_worker};
pub use row::{LeaseRow, Notification, Quantiles, QueueRow, RunFact, ScheduleRow};
pub use schedule::{Calendar, Missed, Overlap, Schedule, ScheduleText, ScheduledJob, When};
