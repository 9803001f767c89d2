//! `headwater queues`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use headwater::tools::print_result;
use jiff::Timestamp;
use serde::Serialize;

use super::Ended;
use super::api::{ApiArgs, UsageError};
use super::show::{Cell, Listing, ago, millis, print_lines};
use crate::client::{Client, ClientError, QueueStatus};
use crate::model::{Phase, Quantiles, check_queue};

/// `headwater queues`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Waits and runs are those of the jobs that are done: half took no longer than the first number, 95 of 100 no longer than \
the second.

Examples:
  headwater queues
  headwater queues --json | jq .counts.waiting
  headwater queues pause mail")]
pub struct QueuesArgs {
    /// What is done; without it, all queues are shown.
    #[command(subcommand)]
    pub command: Option<QueuesCommand>,
    /// Where the API is, and how queues are printed: with --json a queue a line.
    #[command(flatten)]
    pub api: ApiArgs,
}

/// What is done to a queue.
#[derive(Debug, Clone, Subcommand)]
pub enum QueuesCommand {
    /// Lease no more jobs of a queue; those that run go on
    #[command(after_help = "\
Examples:
  headwater queues pause mail")]
    Pause(OneQueue),
    /// Lease jobs of a queue again
    #[command(after_help = "\
Examples:
  headwater queues resume mail")]
    Resume(OneQueue),
    /// Cancel all jobs of a queue that have not begun
    #[command(after_help = "\
Examples:
  headwater queues drain mail
  headwater queues drain mail --json")]
    Drain(OneQueue),
}

/// A queue.
#[derive(Debug, Clone, Args)]
pub struct OneQueue {
    /// The queue
    pub queue: String,
    /// Where the API is, and how the result is printed.
    #[command(flatten)]
    pub api: ApiArgs,
}

#[derive(Serialize)]
struct Changed {
    queue: String,
    #[serde(rename = "asked")]
    what: &'static str,
}

impl std::fmt::Display for Changed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} requested for queue {}", self.what, self.queue)
    }
}

impl QueuesArgs {
    pub(super) fn run(self) -> Ended {
        match self.command {
            None => show(&self.api.client()?.queues()?, self.api.json),
            Some(QueuesCommand::Pause(one)) => one.run("pause", Client::pause),
            Some(QueuesCommand::Resume(one)) => one.run("resume", Client::resume),
            Some(QueuesCommand::Drain(one)) => one.run("drain", Client::drain),
        }
    }
}

impl OneQueue {
    fn run(self, what: &'static str, change: fn(&Client, &str) -> Result<(), ClientError>) -> Ended {
        check_queue(&self.queue).map_err(UsageError::new)?;
        change(&self.api.client()?, &self.queue)?;
        print_result(&Changed { queue: self.queue, what }, self.api.json)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn show(queues: &[QueueStatus], json: bool) -> Ended {
    if json {
        print_lines(queues)?;
        return Ok(ExitCode::SUCCESS);
    }
    if queues.is_empty() {
        eprintln!("no queues");
        return Ok(ExitCode::SUCCESS);
    }
    let now = Timestamp::now();
    let mut listing = Listing::new([
        "QUEUE", "STATE", "WAITING", "DELAYED", "LEASED", "FAILED", "DONE", "DEAD", "OLDEST", "WAITS", "RUNS",
        "A MINUTE",
    ]);
    for queue in queues {
        listing.push(row(queue, now));
    }
    listing.print()?;
    Ok(ExitCode::SUCCESS)
}

fn row(queue: &QueueStatus, now: Timestamp) -> [Cell; 12] {
    let count = |phase| Cell::from(queue.count(phase).to_string());
    let blocked = queue.count(Phase::Blocked) + queue.count(Phase::Delayed);
    let times = |quantiles: Option<Quantiles>| {
        quantiles.map(|Quantiles { p50, p95 }| format!("{} {}", millis(p50), millis(p95))).unwrap_or_default()
    };
    [
        (&*queue.queue).into(),
        if queue.paused { "paused" } else { "open" }.into(),
        count(Phase::Waiting),
        blocked.to_string().into(),
        count(Phase::Leased),
        count(Phase::Failed),
        count(Phase::Done),
        count(Phase::Dead),
        queue.oldest_waiting.map(|since| ago(since, now)).unwrap_or_default().into(),
        times(queue.wait_ms).into(),
        times(queue.run_ms).into(),
        queue.done_per_minute.map(|rate| format!("{rate:.1}")).unwrap_or_default().into(),
    ]
}
