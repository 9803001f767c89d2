//! `headwater verify`: the invariants, checked over the whole log.

use std::process::ExitCode;

use clap::Args;
use headwater::cli::ConfigArgs;
use headwater::tools::{Opened, ToolError, opened, print_result};

use super::Ended;
use crate::Settings;
use crate::verify::verify;

/// `headwater verify`.
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
        let Opened { config, log, .. } = opened::<Settings>(&self.config)?;
        let topic = config.runtime.full_name("jobs");
        if log.watermarks(&topic)?.is_none() {
            let hint = "it has no topics of jobs: --config or --set log.embedded.path names another".to_owned();
            return Err(ToolError::NoTopic { topic, log: log.describe(), hint }.into());
        }
        let report = verify(&*log, &config.runtime.prefix, &config.topology.scheduler())?;
        print_result(&report, self.json)?;
        Ok(if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
