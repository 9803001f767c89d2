//! `headwater jobs`: jobs over HTTP.

mod list;
mod many;
mod submit;
mod watch;

use clap::Subcommand;

use super::Ended;

pub use list::{FilterArgs, ListArgs, ShowArgs};
pub use many::{CancelArgs, RetryArgs};
pub use submit::SubmitArgs;
pub use watch::WatchArgs;

/// `headwater jobs`.
#[derive(Debug, Clone, Subcommand)]
#[command(after_help = "\
Examples:
  headwater jobs submit mail '{\"to\": \"kim\"}' --wait
  headwater jobs list --queue mail --phase dead
  headwater jobs show JOB
  headwater jobs retry --queue mail --phase dead --error smtp-timeout")]
pub enum JobsArgs {
    /// Submit a job, or many
    Submit(SubmitArgs),
    /// List jobs, the newest first
    List(ListArgs),
    /// Show a job with all its attempts
    Show(ShowArgs),
    /// Follow a job until it is settled
    Watch(WatchArgs),
    /// Cancel jobs; those that run are asked to stop
    Cancel(CancelArgs),
    /// Let jobs run again that are dead or cancelled, or at once those that wait for their next attempt
    Retry(RetryArgs),
}

impl JobsArgs {
    pub(super) fn run(self) -> Ended {
        match self {
            Self::Submit(args) => args.run(),
            Self::List(args) => args.run(),
            Self::Show(args) => args.run(),
            Self::Watch(args) => args.run(),
            Self::Cancel(args) => args.run(),
            Self::Retry(args) => args.run(),
        }
    }
}
