//! `headwater jobs submit`.

use std::io::{self, BufRead};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use headwater::config::Period;
use headwater::error::{Backoff, Fault};
use headwater::tools::{ToolError, print_line};
use headwater::words::counted;
use jiff::Timestamp;

use super::watch::{Following, follow};
use crate::client::{Client, ClientError, MOST_IN_A_REQUEST, NewJob, Submitted};
use crate::model::{OnParentFailure, check_queue};
use crate::tools::Ended;
use crate::tools::api::{ApiArgs, UsageError, json_of, json_of_file};

/// A server that is away is asked so often.
const TRIES: u32 = 5;

/// The exit code when a job did not come to what it was submitted for.
pub(super) const NOT_DONE: u8 = 1;

/// `headwater jobs submit`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
The payload is any JSON. With `-`, each line of standard input is the payload of a job of its own; the ids are printed \
as the jobs are taken, one a line. A second submit with the same --id is nothing.

Examples:
  headwater jobs submit mail '{\"to\": \"kim\"}'
  headwater jobs submit reports --file report.json --id report-2026-12 --attempts 3 --backoff '1 min'
  headwater jobs submit mail '{\"to\": \"kim\"}' --delay '10 min' --priority 5 --group acme
  headwater jobs submit video '\"intro.mp4\"' --finish-within '2 h' --wait
  cat pictures.ndjson | headwater jobs submit thumbnails - >ids

Exit codes: 0 submitted, and with --wait done; 1 with --wait: dead or cancelled; 2 something to mend in usage; \
3 something outside failed.")]
pub struct SubmitArgs {
    /// The queue
    pub queue: String,
    /// What is to be done: JSON, or `-` for a job for each line of standard input [default: null]
    pub payload: Option<String>,
    /// File with the payload
    #[arg(long, value_name = "FILE", conflicts_with = "payload")]
    pub file: Option<PathBuf>,
    /// Id of the job [default: drawn]
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
    /// What kind of work it is
    #[arg(long, value_name = "KIND")]
    pub kind: Option<String>,
    /// Group, such as a tenant: groups of a queue take turns
    #[arg(long, value_name = "GROUP")]
    pub group: Option<String>,
    /// Higher goes first, from -1000 to 1000 [default: 0]
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = clap::value_parser!(i16).range(-1_000..=1_000))]
    pub priority: Option<i16>,
    /// Begin so long after now at the earliest
    #[arg(long, value_name = "PERIOD", conflicts_with = "run_at")]
    pub delay: Option<Period>,
    /// Begin then at the earliest, such as 2026-12-24T18:00:00Z
    #[arg(long, value_name = "TIME")]
    pub run_at: Option<Timestamp>,
    /// Give up when no worker has begun so long after it could
    #[arg(long, value_name = "PERIOD")]
    pub start_within: Option<Period>,
    /// An attempt fails when it takes longer
    #[arg(long, value_name = "PERIOD")]
    pub finish_within: Option<Period>,
    /// An attempt fails when nothing is heard of its worker for so long
    #[arg(long, value_name = "PERIOD")]
    pub heartbeat_within: Option<Period>,
    /// Attempts at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub attempts: Option<u32>,
    /// Pause after the first attempt; then twice as long each time
    #[arg(long, value_name = "PERIOD")]
    pub backoff: Option<Period>,
    /// Longest pause between attempts
    #[arg(long, value_name = "PERIOD")]
    pub max_backoff: Option<Period>,
    /// Job that has to be settled before; may be repeated
    #[arg(long = "parent", value_name = "ID")]
    pub parents: Vec<String>,
    /// What becomes of it when a parent is dead or cancelled [default: cancel]
    #[arg(long, value_name = "WHAT")]
    pub on_parent_failure: Option<WhenParentsFail>,
    /// Keep it so long after it was done
    #[arg(long, value_name = "PERIOD")]
    pub keep: Option<Period>,
    /// Channel that is told when it is settled, such as user:123; may be repeated
    #[arg(long, value_name = "CHANNEL")]
    pub notify: Vec<String>,
    /// Wait until it is settled
    #[arg(long)]
    pub wait: bool,
    /// Where the API is, and how the result is printed.
    #[command(flatten)]
    pub api: ApiArgs,
}

/// What becomes of a job when a parent is dead or cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WhenParentsFail {
    /// It is cancelled
    Cancel,
    /// It runs all the same
    Run,
}

impl From<WhenParentsFail> for OnParentFailure {
    fn from(said: WhenParentsFail) -> Self {
        match said {
            WhenParentsFail::Cancel => Self::Cancel,
            WhenParentsFail::Run => Self::Run,
        }
    }
}

impl SubmitArgs {
    pub(super) fn run(self) -> Ended {
        check_queue(&self.queue).map_err(UsageError::new)?;
        let client = self.api.client()?;
        if self.payload.as_deref() == Some("-") {
            return self.submit_lines(&client);
        }
        let payload = match (&self.payload, &self.file) {
            (Some(text), _) => Some(json_of(text, "the payload")?),
            (None, Some(path)) => Some(json_of_file(path)?),
            (None, None) => None,
        };
        let mut job = NewJob { payload, ..self.job() };
        if job.id.is_none() {
            // Drawn here, so that it can be submitted again when no answer came.
            job.id = Some(crate::client::random_id()?);
        }
        let submitted = patiently(|| client.submit(&self.queue, &job, None))?;
        if self.wait {
            return self.follow(&client, &[submitted.id]);
        }
        self.print(&submitted)?;
        Ok(ExitCode::SUCCESS)
    }

    fn print(&self, submitted: &Submitted) -> Result<(), Box<dyn Fault>> {
        match self.api.json {
            true => print_line(&serde_json::json!(submitted).to_string()),
            false => print_line(&submitted.id),
        }
    }

    fn job(&self) -> NewJob {
        NewJob {
            id: self.id.clone(),
            payload: None,
            kind: self.kind.clone(),
            group: self.group.clone(),
            priority: self.priority,
            delay: self.delay,
            run_at: self.run_at,
            start_within: self.start_within,
            finish_within: self.finish_within,
            heartbeat_within: self.heartbeat_within,
            attempts: self.attempts,
            backoff: self.backoff,
            max_backoff: self.max_backoff,
            parents: self.parents.clone(),
            on_parent_failure: self.on_parent_failure.map(Into::into),
            keep: self.keep,
            notify: self.notify.clone(),
        }
    }

    /// A job for each line of standard input.
    fn submit_lines(&self, client: &Client) -> Ended {
        if self.id.is_some() {
            return Err(UsageError::new("--id is of one job; `-` submits many").into());
        }
        let mut ids = Vec::new();
        let submitted = self.read_lines(client, &mut ids);
        if self.wait && submitted.is_ok() {
            return self.follow(client, &ids);
        }
        if self.wait {
            // They are followed no more, but are submitted.
            ids.iter().try_for_each(|id| self.print_id(id))?;
        }
        submitted?;
        eprintln!("submitted {}", counted(ids.len() as u64, "job"));
        Ok(ExitCode::SUCCESS)
    }

    fn read_lines(&self, client: &Client, ids: &mut Vec<String>) -> Result<(), Box<dyn Fault>> {
        let mut jobs = Vec::new();
        for (number, line) in (1..).zip(io::stdin().lock().lines()) {
            let line = line.map_err(|source| ToolError::Reading { path: "-".into(), source })?;
            if line.trim().is_empty() {
                continue;
            }
            let place =
                format!("line {number} of standard input (after {})", counted(ids.len() as u64, "submitted job"));
            jobs.push(NewJob { payload: Some(json_of(&line, &place)?), ..self.job() });
            if jobs.len() == MOST_IN_A_REQUEST {
                self.submit_some(client, std::mem::take(&mut jobs), ids)?;
            }
        }
        self.submit_some(client, jobs, ids)
    }

    /// Submits jobs, and prints the id of each that was taken, unless it is followed. Their ids are drawn here, so that
    /// what is tried again is submitted once.
    fn submit_some(&self, client: &Client, mut jobs: Vec<NewJob>, ids: &mut Vec<String>) -> Result<(), Box<dyn Fault>> {
        let mut rest = &mut jobs[..];
        while !rest.is_empty() {
            let taken = patiently(|| client.submit_first(&self.queue, rest))?;
            rest = &mut rest[taken.len()..];
            if !self.wait {
                taken.iter().try_for_each(|id| self.print_id(id))?;
            }
            ids.extend(taken);
        }
        Ok(())
    }

    fn print_id(&self, id: &str) -> Result<(), Box<dyn Fault>> {
        self.print(&Submitted { id: id.to_owned(), phase: None })
    }

    /// Follows jobs, one after the other, until all are settled.
    fn follow(&self, client: &Client, ids: &[String]) -> Ended {
        let following = Following { json: self.api.json, end_only: ids.len() > 1, is_new: true };
        let mut all_done = true;
        for id in ids {
            let followed = follow(client, id, &following)?;
            all_done &= followed;
        }
        Ok(if all_done { ExitCode::SUCCESS } else { ExitCode::from(NOT_DONE) })
    }
}

/// Tries a few times while the server is away.
fn patiently<T>(mut ask: impl FnMut() -> Result<T, ClientError>) -> Result<T, ClientError> {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(2));
    for _ in 1..TRIES {
        match ask() {
            Err(error) if error.may_pass() => std::thread::sleep(backoff.pause()),
            ended => return ended,
        }
    }
    ask()
}
