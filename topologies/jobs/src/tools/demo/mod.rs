//! `headwater demo jobs`: a trace of real life at a thousand times its speed, with workers that are killed.

mod engine;
mod run;
mod totals;
mod worker;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use headwater::config::Period;

use super::{Ended, LogArgs};

pub use worker::DemoWorkerArgs;

/// `headwater demo`.
#[derive(Debug, Clone, Subcommand)]
#[command(after_help = "\
Examples:
  headwater demo jobs")]
pub enum DemoArgs {
    /// Jobs of a trace, workers that are killed, and what became of each job
    Jobs(DemoJobsArgs),
}

/// `headwater demo jobs`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
An engine on an embedded log of its own, workers, and a trace whose jobs are submitted in its own time, divided by \
--speed; a job sleeps as long as it ran, divided too. Every few seconds a worker is killed (SIGKILL), and another one \
started. The first worker is spared, and kills get rarer once all jobs are submitted: a job that takes longer than \
workers live would never be done. At the end it is told from the log what became of the jobs.
Without --trace, a trace is made up. Traces of real machines, in the Standard Workload Format, are in the Parallel \
Workloads Archive.

Examples:
  headwater demo jobs
  headwater demo jobs --jobs 1000 --speed 5000 --workers 5 --kill-every '1 s'
  headwater demo jobs --trace NASA-iPSC-1993-3.1-cln.swf.gz --jobs 2000 --folder demo --json

Exit codes: 0 each job was done, and once; 1 not so; 2 something to mend in usage; 3 something outside failed.")]
pub struct DemoJobsArgs {
    /// File with a trace, as text or in gzip; `-` is standard input [default: one that is made up]
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// How many times faster than the trace
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub speed: u32,
    /// Workers at once
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub workers: u32,
    /// Jobs at once of each worker
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub slots: u32,
    /// Time between two kills; `0 s` kills none
    #[arg(long, value_name = "PERIOD", default_value = "3 s")]
    pub kill_every: Period,
    /// Jobs at most [default: all of a file, 200 that are made up]
    #[arg(long, value_name = "N")]
    pub jobs: Option<usize>,
    /// Seed of a trace that is made up
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Folder for log and log lines, which stays [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    pub folder: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// How much to log.
    #[command(flatten)]
    pub log: LogArgs,
}

impl DemoArgs {
    pub(super) fn run(self) -> Ended {
        match self {
            Self::Jobs(args) => run::run(args),
        }
    }
}
