//! `headwater jobs cancel` and `headwater jobs retry`: of some jobs, or of all that are meant.

use std::process::ExitCode;

use clap::Args;
use headwater::tools::print_result;
use headwater::words::counted;
use serde::Serialize;

use super::list::FilterArgs;
use super::submit::NOT_DONE;
use crate::client::{Counted, JobFilter};
use crate::tools::Ended;
use crate::tools::api::{ApiArgs, UsageError, json_of};

/// Which jobs something is done to.
#[derive(Debug, Clone, Args)]
pub struct Meant {
    /// Ids of the jobs
    #[arg(value_name = "ID")]
    pub ids: Vec<String>,
    /// Or all jobs of which this holds.
    #[command(flatten)]
    pub filter: FilterArgs,
}

enum Which {
    One(String),
    These(Vec<String>),
    All(JobFilter),
}

impl Meant {
    fn which(self) -> Result<Which, UsageError> {
        let Self { mut ids, filter } = self;
        let filter = JobFilter::from(filter);
        match (ids.len(), filter.is_all()) {
            (0, true) => {
                let hint = "name ids, or say which: --queue mail --phase dead";
                Err(UsageError::with_hint("no jobs are named", hint))
            }
            (0, false) => Ok(Which::All(filter)),
            (_, false) => Err(UsageError::new("either ids or a filter says which jobs are meant, not both")),
            (1, true) => Ok(Which::One(ids.remove(0))),
            (_, true) => Ok(Which::These(ids)),
        }
    }
}

#[derive(Serialize)]
struct Asked {
    #[serde(skip)]
    what: &'static str,
    #[serde(flatten)]
    counted: Counted,
}

impl std::fmt::Display for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} requested for {}", self.what, counted(self.counted.count, "job"))
    }
}

impl Asked {
    /// Prints it, and how to go on where one request could not hold all jobs.
    fn end(self, json: bool) -> Ended {
        print_result(&self, json)?;
        if !self.counted.more {
            return Ok(ExitCode::SUCCESS);
        }
        eprintln!("there are more jobs than one request can hold: run the same command again until it exits with 0");
        Ok(ExitCode::from(NOT_DONE))
    }
}

/// One job, which was asked of by its id.
const ONE: Counted = Counted { count: 1, more: false };

/// `headwater jobs cancel`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  headwater jobs cancel JOB
  headwater jobs cancel --queue mail --phase waiting --group acme
  headwater jobs cancel JOB OTHER --json

Exit codes: 0 all are requested, 1 there are more jobs than one request can hold, 2 something to mend in usage, \
3 something outside failed.")]
pub struct CancelArgs {
    /// Which jobs.
    #[command(flatten)]
    pub meant: Meant,
    /// Where the API is, and how the result is printed.
    #[command(flatten)]
    pub api: ApiArgs,
}

impl CancelArgs {
    pub(super) fn run(self) -> Ended {
        let which = self.meant.which()?;
        let client = self.api.client()?;
        let counted = match which {
            Which::One(id) => client.cancel(&id).map(|()| ONE)?,
            Which::These(ids) => client.cancel_ids(&ids)?,
            Which::All(filter) => client.cancel_all(&filter)?,
        };
        Asked { what: "cancel", counted }.end(self.api.json)
    }
}

/// `headwater jobs retry`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  headwater jobs retry JOB
  headwater jobs retry JOB --payload '{\"to\": \"kim@example.org\"}'
  headwater jobs retry --queue mail --phase dead --error smtp-timeout

Exit codes: 0 all are requested, 1 there are more jobs than one request can hold, 2 something to mend in usage, \
3 something outside failed.")]
pub struct RetryArgs {
    /// Which jobs.
    #[command(flatten)]
    pub meant: Meant,
    /// Another payload for one job: JSON
    #[arg(long, value_name = "JSON")]
    pub payload: Option<String>,
    /// Where the API is, and how the result is printed.
    #[command(flatten)]
    pub api: ApiArgs,
}

impl RetryArgs {
    pub(super) fn run(self) -> Ended {
        let which = self.meant.which()?;
        let payload = self.payload.map(|text| json_of(&text, "the payload")).transpose()?;
        if payload.is_some() && !matches!(which, Which::One(_)) {
            return Err(UsageError::new("--payload is of one job").into());
        }
        let client = self.api.client()?;
        let counted = match which {
            Which::One(id) => client.retry(&id, payload.as_deref()).map(|()| ONE)?,
            Which::These(ids) => client.retry_ids(&ids)?,
            Which::All(filter) => client.retry_all(&filter)?,
        };
        Asked { what: "retry", counted }.end(self.api.json)
    }
}
