//! `headwater bench jobs`: how fast jobs are decided on, given and done.

mod dispatch;
mod on_log;
mod restart;
mod scheduler;

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use headwater::cli::fail;
use headwater::config::Invalid;
use headwater::error::{Domain, Fault};

pub use dispatch::DispatchReport;
pub use restart::RestartReport;
pub use scheduler::SchedulerReport;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum JobsPart {
    /// Submit to lease on a log, at rates and as fast as it goes.
    Dispatch,
    /// The scheduler alone, in memory.
    Scheduler,
    /// A start with jobs that wait.
    Restart,
}

/// The log that jobs pass through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum JobsLog {
    /// A SQLite file in the temporary directory.
    Embedded,
    /// The brokers of the variable KAFKA_BROKERS, or of the default configuration.
    Kafka,
}

/// Options of `headwater bench jobs`.
#[derive(Debug, Clone, Args)]
pub struct BenchJobsArgs {
    /// What to measure
    #[arg(long, value_enum, default_value = "dispatch")]
    pub part: JobsPart,
    /// The log that jobs pass through
    #[arg(long, value_enum, default_value = "embedded")]
    pub log: JobsLog,
    /// Jobs a second; 0 is as fast as they are done
    #[arg(long, value_name = "R", value_delimiter = ',', default_value = "10,100,1000,0")]
    pub rates: Vec<u32>,
    /// How long each rate is measured
    #[arg(long, value_name = "S", default_value_t = 10)]
    pub seconds: u64,
    /// How long an epoch stays open, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 25)]
    pub epoch_ms: u64,
    /// Jobs of the part `scheduler`
    #[arg(long, value_name = "N", default_value_t = 200_000)]
    pub jobs: u64,
    /// Jobs that wait all the time in the parts `scheduler` and `restart`
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub waiting: u64,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
enum BenchError {
    #[error("the configuration of the benchmark is refused: {0:?}")]
    Config(Vec<Invalid>),
    #[error("the jobs of a step were not done within {0} s")]
    Stuck(u64),
}

impl Fault for BenchError {
    fn domain(&self) -> Domain {
        match self {
            Self::Config(_) => Domain::Internal,
            Self::Stuck(_) => Domain::External,
        }
    }
}

impl BenchJobsArgs {
    /// Measures, and prints what was found.
    pub fn run(&self) -> ExitCode {
        let outcome = match self.part {
            JobsPart::Scheduler => {
                scheduler::measure(self.jobs, self.waiting).print(self.json);
                Ok(())
            }
            JobsPart::Dispatch => dispatch::measure(self),
            JobsPart::Restart => restart::measure(self),
        };
        match outcome {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(error.as_ref()),
        }
    }
}
