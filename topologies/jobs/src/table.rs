//! The tables of jobs, runs and queues, for views.

use headwater::view::{TableRow, Text, Unread, Versioned, parse, time_cell};
use headwater::{cells, tables};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

tables! {
    /// Jobs.
    pub static JOBS = "jobs", key 1 {
        id: Text, queue: Text, kind: Text, job_group: Text, priority: Int, phase: Text, attempt: Int,
        submitted_at: Time, ready_at: Time, worker: Text, progress: Real, error_code: Text, error_message: Text,
        settled_at: Time, schedule: Text, payload: Json, result: Json,
    }
    index [queue, phase]
    search [error_message]

    /// Attempts that have ended.
    pub static JOB_RUNS = "job_runs", key 1 {
        id: Text, job: Text, queue: Text, kind: Text, job_group: Text, attempt: Int, worker: Text, began: Time,
        ended: Time, waited_ms: Int, ran_ms: Int, outcome: Text, error_code: Text, error_message: Text,
    }
    index [queue, began]
    index [job]

    /// Queues.
    pub static QUEUES = "queues", key 1 {
        queue: Text, paused: Bool, oldest_waiting: Time, wait_p50_ms: Int, wait_p95_ms: Int, run_p50_ms: Int,
        run_p95_ms: Int, counts: Json,
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JobValue<'a> {
    format: u64,
    #[serde(borrow)]
    queue: Text<'a>,
    kind: Option<Text<'a>>,
    group: Option<Text<'a>>,
    priority: i64,
    phase: Text<'a>,
    attempt: i64,
    submitted_at: Timestamp,
    ready_at: Timestamp,
    lease: Option<LeaseValue<'a>>,
    progress: Option<ProgressValue>,
    error: Option<ErrorValue<'a>>,
    settled: Option<SettledValue>,
    schedule: Option<Text<'a>>,
    payload: &'a RawValue,
    result: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct LeaseValue<'a> {
    #[serde(borrow)]
    worker: Text<'a>,
}

#[derive(Deserialize)]
struct ProgressValue {
    fraction: f64,
}

#[derive(Deserialize)]
struct ErrorValue<'a> {
    #[serde(borrow)]
    code: Text<'a>,
    message: Text<'a>,
}

#[derive(Deserialize)]
struct SettledValue {
    at: Timestamp,
}

impl Versioned for JobValue<'_> {
    fn format(&self) -> u64 {
        self.format
    }
}

pub(crate) fn read_job<'a>(id: &'a str, text: &'a str) -> Result<TableRow<'a>, Unread> {
    let job: JobValue<'a> = parse(text)?;
    let (code, message) = job.error.map(|error| (error.code, error.message)).unzip();
    Ok(JOBS.row(cells![
        id,
        job.queue,
        job.kind,
        job.group,
        job.priority,
        job.phase,
        job.attempt,
        time_cell(Some(job.submitted_at))?,
        time_cell(Some(job.ready_at))?,
        job.lease.map(|lease| lease.worker),
        job.progress.map(|progress| progress.fraction),
        code,
        message,
        time_cell(job.settled.map(|settled| settled.at))?,
        job.schedule,
        job.payload.get(),
        job.result.map(RawValue::get),
    ]))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RunValue<'a> {
    format: u64,
    #[serde(borrow)]
    job: Text<'a>,
    queue: Text<'a>,
    kind: Option<Text<'a>>,
    group: Option<Text<'a>>,
    ran_ms: i64,
    run: AttemptValue<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AttemptValue<'a> {
    attempt: i64,
    #[serde(borrow)]
    worker: Text<'a>,
    waited_ms: i64,
    began: Timestamp,
    ended: Timestamp,
    outcome: Text<'a>,
    error: Option<ErrorValue<'a>>,
}

impl Versioned for RunValue<'_> {
    fn format(&self) -> u64 {
        self.format
    }
}

pub(crate) fn read_run<'a>(id: &'a str, text: &'a str) -> Result<TableRow<'a>, Unread> {
    let RunValue { job, queue, kind, group, ran_ms, run, .. } = parse(text)?;
    let (code, message) = run.error.map(|error| (error.code, error.message)).unzip();
    Ok(JOB_RUNS.row(cells![
        id,
        job,
        queue,
        kind,
        group,
        run.attempt,
        run.worker,
        time_cell(Some(run.began))?,
        time_cell(Some(run.ended))?,
        run.waited_ms,
        ran_ms,
        run.outcome,
        code,
        message,
    ]))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct QueueValue<'a> {
    format: u64,
    paused: bool,
    oldest_waiting: Option<Timestamp>,
    wait_ms: Option<QuantilesValue>,
    run_ms: Option<QuantilesValue>,
    #[serde(borrow)]
    counts: &'a RawValue,
}

#[derive(Deserialize)]
struct QuantilesValue {
    p50: i64,
    p95: i64,
}

impl Versioned for QueueValue<'_> {
    fn format(&self) -> u64 {
        self.format
    }
}

pub(crate) fn read_queue<'a>(queue: &'a str, text: &'a str) -> Result<TableRow<'a>, Unread> {
    let row: QueueValue<'a> = parse(text)?;
    let quantiles = |of: Option<QuantilesValue>| of.map(|of| (of.p50, of.p95)).unzip();
    let ((wait_p50, wait_p95), (run_p50, run_p95)) = (quantiles(row.wait_ms), quantiles(row.run_ms));
    Ok(QUEUES.row(cells![
        queue,
        row.paused,
        time_cell(row.oldest_waiting)?,
        wait_p50,
        wait_p95,
        run_p50,
        run_p95,
        row.counts.get(),
    ]))
}
