//! `headwater jobs list` and `headwater jobs show`.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use headwater::error::Fault;
use headwater::tools::{print_line, still_read};
use headwater::words::{counted, grouped};
use jiff::Timestamp;

use crate::client::{Client, ClientError, Document, JobFilter};
use crate::model::{Job, Phase};
use crate::tools::Ended;
use crate::tools::api::ApiArgs;
use crate::tools::show::{Cell, Listing, ago, in_colour, millis, one_line, print_lines};

/// Jobs of one request at most.
const PAGE: usize = 200;

/// So much of an error or of progress is listed.
const LISTED: usize = 60;

/// Which jobs are meant.
#[derive(Debug, Clone, Default, Args)]
pub struct FilterArgs {
    /// Only of this queue
    #[arg(long, short, value_name = "QUEUE")]
    pub queue: Option<String>,
    /// Only in this phase: blocked, delayed, waiting, leased, failed, done, dead, cancelled
    #[arg(long, value_name = "PHASE", value_parser = phase)]
    pub phase: Option<Phase>,
    /// Only of this group
    #[arg(long, value_name = "GROUP")]
    pub group: Option<String>,
    /// Only of this kind
    #[arg(long, value_name = "KIND")]
    pub kind: Option<String>,
    /// Only those whose last error has this code
    #[arg(long, value_name = "CODE")]
    pub error: Option<String>,
    /// Only those with this text in id, payload, error or result
    #[arg(long, value_name = "TEXT")]
    pub search: Option<String>,
}

fn phase(text: &str) -> Result<Phase, String> {
    let names = Phase::ALL.map(Phase::name);
    let found = Phase::ALL.into_iter().find(|phase| phase.name() == text);
    found.ok_or_else(|| format!("it is one of {}", names.join(", ")))
}

impl From<FilterArgs> for JobFilter {
    fn from(args: FilterArgs) -> Self {
        let FilterArgs { queue, phase, group, kind, error, search } = args;
        Self { queue, phase, group, kind, error, q: search }
    }
}

/// `headwater jobs list`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  headwater jobs list
  headwater jobs list --queue mail --phase dead --error smtp-timeout
  headwater jobs list --search kim@example.org --limit 10
  headwater jobs list --phase leased --json | jq .lease.worker")]
pub struct ListArgs {
    /// Which jobs.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Jobs at most
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: usize,
    /// Where the API is, and how jobs are printed: with --json a document a line.
    #[command(flatten)]
    pub api: ApiArgs,
}

impl ListArgs {
    pub(super) fn run(self) -> Ended {
        let client = self.api.client()?;
        let (documents, total) = read(&client, &self.filter.into(), self.limit)?;
        if self.api.json {
            print_lines(&documents)?;
            return Ok(ExitCode::SUCCESS);
        }
        let now = Timestamp::now();
        let mut listing = Listing::new(["JOB", "QUEUE", "PHASE", "ATTEMPT", "AGE", "KIND", "GROUP", "SAYS"]);
        for document in &documents {
            listing.push(row(&job_of(&client, document)?, now));
        }
        if !documents.is_empty() {
            listing.print()?;
        }
        eprintln!("{} of {}", grouped(documents.len() as u64), counted(total, "job"));
        Ok(ExitCode::SUCCESS)
    }
}

/// Up to `limit` jobs, page by page, and how many there are.
fn read(client: &Client, filter: &JobFilter, limit: usize) -> Result<(Vec<Document>, u64), ClientError> {
    let mut documents = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let page = client.jobs(filter, (limit - documents.len()).clamp(1, PAGE), cursor.as_deref())?;
        let ended = page.jobs.is_empty();
        documents.extend(page.jobs);
        documents.truncate(limit);
        cursor = page.next;
        if ended || cursor.is_none() || documents.len() >= limit {
            return Ok((documents, page.total));
        }
    }
}

fn job_of(client: &Client, document: &Document) -> Result<Job, ClientError> {
    document.job().map_err(|error| ClientError::Answer { url: client.url().to_owned(), reason: error.to_string() })
}

fn row(job: &Job, now: Timestamp) -> [Cell; 8] {
    [
        (&*job.id).into(),
        (&*job.queue).into(),
        job.phase.into(),
        format!("{}/{}", job.attempt, job.limits.max_attempts).into(),
        ago(job.submitted_at, now).into(),
        job.kind.as_deref().unwrap_or_default().into(),
        job.group.as_deref().unwrap_or_default().into(),
        says(job).into(),
    ]
}

/// What a job has to say: its error, or how far it has come.
fn says(job: &Job) -> String {
    if let Some(error) = job.error.as_ref().filter(|_| job.phase != Phase::Done) {
        return one_line(&format!("{}: {}", error.code, error.message), LISTED);
    }
    match &job.progress {
        Some(progress) if job.phase == Phase::Leased => {
            let message = progress.message.as_deref().unwrap_or_default();
            one_line(&format!("{:.0} % {message}", progress.fraction * 100.0), LISTED)
        }
        _ => String::new(),
    }
}

/// `headwater jobs show`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  headwater jobs show JOB
  headwater jobs show JOB --json | jq .runs")]
pub struct ShowArgs {
    /// Id of the job
    pub id: String,
    /// Where the API is, and how the job is printed.
    #[command(flatten)]
    pub api: ApiArgs,
}

impl ShowArgs {
    pub(super) fn run(self) -> Ended {
        let client = self.api.client()?;
        let document = client.job(&self.id)?;
        if self.api.json {
            print_line(document.text())?;
            return Ok(ExitCode::SUCCESS);
        }
        show(&job_of(&client, &document)?)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn show(job: &Job) -> Result<(), Box<dyn Fault>> {
    let mut facts = Listing::default();
    let mut fact = |name: &str, value: Cell| facts.push([name.into(), value]);
    fact("job", (&*job.id).into());
    fact("queue", (&*job.queue).into());
    fact("phase", job.phase.into());
    let named = [("kind", &job.kind), ("group", &job.group), ("schedule", &job.schedule)];
    for (name, value) in named.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))) {
        fact(name, value.into());
    }
    fact("priority", job.priority.to_string().into());
    fact("submitted", job.submitted_at.to_string().into());
    if matches!(job.phase, Phase::Delayed | Phase::Failed) {
        fact("begins", job.ready_at.to_string().into());
    }
    fact("attempts", format!("{} of {}", job.attempt, job.limits.max_attempts).into());
    if let Some(lease) = &job.lease {
        fact("worker", format!("{} since {}, until {}", lease.worker, lease.since, lease.until).into());
    }
    if !job.parents.is_empty() {
        fact("parents", job.parents.join(", ").into());
    }
    if let Some(progress) = &job.progress {
        let message = progress.message.as_deref().unwrap_or_default();
        fact("progress", format!("{:.0} % {message}", progress.fraction * 100.0).trim_end().into());
    }
    if let Some(error) = &job.error {
        fact("error", format!("{}: {}", error.code, error.message).into());
    }
    fact("payload", job.payload.get().into());
    if let Some(result) = &job.result {
        fact("result", result.get().into());
    }
    if let Some(settled) = &job.settled {
        fact("settled", settled.at.to_string().into());
    }
    let attempts = attempts_of(job);
    let mut out = io::stdout().lock();
    let mut print = || {
        facts.write(&mut out, in_colour())?;
        let Some(attempts) = &attempts else { return Ok(()) };
        writeln!(out)?;
        attempts.write(&mut out, in_colour())
    };
    still_read(print())?;
    Ok(())
}

fn attempts_of(job: &Job) -> Option<Listing> {
    if job.runs.is_empty() {
        return None;
    }
    let mut listing = Listing::new(["ATTEMPT", "OUTCOME", "WAITED", "RAN", "BEGAN", "WORKER", "ERROR"]);
    for run in &job.runs {
        // Its name in JSON, such as `lease-expired`.
        let outcome = serde_json::json!(run.outcome).as_str().unwrap_or_default().to_owned();
        let ran = run.ended.duration_since(run.began).as_millis();
        let error = run.error.as_ref().map(|error| one_line(&format!("{}: {}", error.code, error.message), LISTED));
        listing.push([
            run.attempt.to_string().into(),
            outcome.into(),
            millis(run.waited_ms).into(),
            millis(i64::try_from(ran).unwrap_or(i64::MAX)).into(),
            run.began.to_string().into(),
            (&*run.worker).into(),
            error.unwrap_or_default().into(),
        ]);
    }
    Some(listing)
}
