//! The command line of jobs: to submit and to look, to work, and to try it all.

mod api;
pub mod demo;
pub mod jobs;
pub mod queues;
pub mod schedules;
mod show;
pub mod verify;
pub mod work;

use std::process::ExitCode;

use clap::Subcommand;
use headwater::cli::fail;
use headwater::error::Fault;
use headwater::topology::Tools;

pub use api::{ApiArgs, LogArgs, UsageError};

/// What a tool of jobs came to: an exit code, or an error to be told.
pub(crate) type Ended = Result<ExitCode, Box<dyn Fault>>;

/// The tools of jobs beside those of the runtime.
#[derive(Debug, Clone, Subcommand)]
pub enum JobsTools {
    /// Take jobs of queues, and do each by a command, in any language
    Work(work::WorkArgs),
    /// Submit, list, show, watch, cancel and retry jobs
    #[command(subcommand)]
    Jobs(Box<jobs::JobsArgs>),
    /// Show queues; pause, resume and drain them
    Queues(queues::QueuesArgs),
    /// Show schedules; set, remove and run them
    Schedules(schedules::SchedulesArgs),
    /// Show what it can do, on this machine alone
    #[command(subcommand)]
    Demo(demo::DemoArgs),
    /// Check the whole log: no job lost, doubled, or leased twice at once
    Verify(verify::VerifyArgs),
    /// Does the jobs of the demonstration
    #[command(hide = true)]
    DemoWorker(demo::DemoWorkerArgs),
}

impl Tools for JobsTools {
    fn run(self) -> ExitCode {
        let ended = match self {
            Self::Work(args) => args.run(),
            Self::Jobs(args) => args.run(),
            Self::Queues(args) => args.run(),
            Self::Schedules(args) => args.run(),
            Self::Demo(args) => args.run(),
            Self::Verify(args) => args.run(),
            Self::DemoWorker(args) => args.run(),
        };
        ended.unwrap_or_else(|error| fail(error.as_ref()))
    }
}
