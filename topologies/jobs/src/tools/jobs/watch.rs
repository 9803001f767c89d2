//! `headwater jobs watch`: a job as it goes.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use headwater::error::{Backoff, Fault};
use headwater::tools::print_line;

use super::submit::NOT_DONE;
use crate::client::{Client, ClientError, Live};
use crate::model::{Job, Phase};
use crate::tools::Ended;
use crate::tools::api::ApiArgs;
use crate::tools::show::one_line;

/// So much of a message or a result is shown.
const SHOWN: usize = 200;

/// So long a server may be away, or not know a job that was submitted.
const PATIENCE: Duration = Duration::from_secs(10);

/// `headwater jobs watch`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  headwater jobs watch JOB
  headwater jobs watch JOB --json

Exit codes: 0 done, 1 dead or cancelled, 2 there is no such job, 3 something outside failed.")]
pub struct WatchArgs {
    /// Id of the job
    pub id: String,
    /// Where the API is, and how the job is printed.
    #[command(flatten)]
    pub api: ApiArgs,
}

impl WatchArgs {
    pub(super) fn run(self) -> Ended {
        let done = follow(&self.api.client()?, &self.id, &Following { json: self.api.json, ..Following::default() })?;
        Ok(if done { ExitCode::SUCCESS } else { ExitCode::from(NOT_DONE) })
    }
}

/// How a job is followed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Following {
    /// It is printed as JSON.
    pub json: bool,
    /// It is printed only when it is settled.
    pub end_only: bool,
    /// It was submitted just now: the server may not know it yet.
    pub is_new: bool,
}

/// Prints a job at each change. Whether it is done in the end.
pub(super) fn follow(client: &Client, id: &str, following: &Following) -> Result<bool, Box<dyn Fault>> {
    let Following { json, end_only, is_new } = *following;
    let mut live = opened(client, id, is_new)?;
    let (mut done, mut said) = (false, String::new());
    while let Some(document) = live.next_document()? {
        let unreadable =
            |error: serde_json::Error| ClientError::Answer { url: client.url().to_owned(), reason: error.to_string() };
        let job = document.job().map_err(unreadable)?;
        done = job.phase == Phase::Done;
        let line = if json { document.text().to_owned() } else { line_of(&job) };
        if line != said && (!end_only || job.phase.is_settled()) {
            print_line(&line)?;
        }
        said = line;
    }
    Ok(done)
}

/// The stream of a job, once it can be opened.
fn opened(client: &Client, id: &str, is_new: bool) -> Result<Live, ClientError> {
    let until = Instant::now() + PATIENCE;
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
    loop {
        match client.follow(id) {
            Err(error) if Instant::now() < until && (error.may_pass() || is_new && error.is_status(404)) => {
                std::thread::sleep(backoff.pause());
            }
            ended => return ended,
        }
    }
}

/// A job on a line.
fn line_of(job: &Job) -> String {
    let head = format!("{}  {}", one_line(&job.id, SHOWN), job.phase.name());
    let more = match job.phase {
        Phase::Leased => progress_of(job),
        Phase::Done => job.result.as_ref().map(|result| one_line(result.get(), SHOWN)),
        Phase::Failed | Phase::Dead => {
            job.error.as_ref().map(|error| one_line(&format!("{}: {}", error.code, error.message), SHOWN))
        }
        Phase::Blocked | Phase::Delayed | Phase::Waiting | Phase::Cancelled => None,
    };
    more.map_or_else(|| head.clone(), |more| format!("{head}  {more}"))
}

fn progress_of(job: &Job) -> Option<String> {
    let stops = if job.cancelling { "  is asked to stop" } else { "" };
    let progress = job.progress.as_ref().map(|progress| {
        let message = progress.message.as_deref().unwrap_or_default();
        format!("{:.0} %  {}", progress.fraction * 100.0, one_line(message, SHOWN)).trim_end().to_owned()
    });
    let text = progress.unwrap_or_default() + stops;
    Some(text).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_job_says_stays_on_its_line() {
        let at = "2026-12-01T10:00:00Z";
        let mut job: Job = serde_json::from_value(json!({
            "id": "a\u{1b}[2J", "queue": "q", "number": 1, "priority": 0, "phase": "dead", "payload": null,
            "submittedAt": at, "readyAt": at, "attempt": 1, "leaseNumber": 1,
            "limits": {"maxAttempts": 3, "backoff": {"initialMs": 1, "maxMs": 1}, "heartbeatWithinMs": 1},
            "error": {"code": "x\r", "message": "no\nanswer"},
        }))
        .unwrap();
        assert_eq!(line_of(&job), "a [2J  dead  x : no answer");
        job.phase = Phase::Waiting;
        assert_eq!(line_of(&job), "a [2J  waiting");
    }
}
