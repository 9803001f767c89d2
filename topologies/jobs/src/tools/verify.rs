//! `jobs verify`: the invariants, checked over the whole log.

use std::process::ExitCode;

use clap::Args;
use headwater::cli::ConfigArgs;
use headwater::config::Period;
use headwater::tools::{open_log, print_result};

use super::Ended;
use crate::Settings;
use crate::scheduler::EVERY_QUEUE;
use crate::verify::verify;

/// `jobs verify`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
It reads what was asked for, what became of it and every attempt, and checks that no job is lost, that a job has one \
lease at a time, that it is done once, and that within a queue and a group the job that is first is leased first.

Examples:
  headwater verify
  headwater verify --config config/jobs.toml --json

Exit codes: 0 all is well, 1 something is not as it may be, 2 something to mend in the configuration, 3 the log failed.")]
pub struct VerifyArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl VerifyArgs {
    /// Checks the log, and prints what was found.
    ///
    /// # Errors
    /// When the configuration is wrong, or the log cannot be read.
    pub fn run(&self) -> Ended {
        self.config.start_logging("warn")?;
        let config = self.config.load::<Settings>()?.config;
        let ageing = config.topology.queues.get(EVERY_QUEUE).and_then(|queue| queue.ageing);
        let ageing_ms = ageing.unwrap_or(Period::from_secs(60)).as_millis_i64();
        let log = open_log(&config.runtime)?;
        let report = verify(&*log, &config.runtime.prefix, ageing_ms)?;
        print_result(&report, self.json)?;
        Ok(if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
