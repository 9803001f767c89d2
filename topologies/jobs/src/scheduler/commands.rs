//! Commands, followed one by one.

use std::sync::Arc;

use headwater_flow::{DeadLetterCode, RawRecord};
use serde_json::value::RawValue;

use super::life::{self, Failed};
use super::state::{State, at};
use super::worker::JobNo;
use crate::model::{
    AttemptOutcome, Command, Job, Notification, Outcome, Phase, Progress, QueueChange, Submit, WorkerHello,
};

/// No job has this id (any more).
pub const UNKNOWN_JOB: DeadLetterCode = DeadLetterCode::named("unknown-job");

/// A worker has reported on a lease that had ended before.
pub const STALE_LEASE: DeadLetterCode = DeadLetterCode::named("stale-lease");

/// A job that is done, or that a worker has, cannot be retried.
pub const NOT_RETRYABLE: DeadLetterCode = DeadLetterCode::named("not-retryable");

/// What a worker says holds for so long at most, in ms: a day.
const LONGEST_HELLO_MS: i64 = 86_400_000;

/// Follows a command at `now`.
pub(super) fn follow(state: &mut State, command: Command, record: RawRecord, now: i64) {
    match command {
        Command::Submit(submit) => {
            let submitted_ms = record.origin.timestamp_ms.clamp(0, now);
            submit_job(state, *submit, submitted_ms, now);
        }
        Command::Cancel { id } => {
            if let Some((no, _)) = known(state, &id, record) {
                life::cancel(state, no, now);
            }
        }
        Command::Retry { id, payload } => retry(state, &id, payload, record, now),
        Command::Hello(hello) => take_hello(state, hello, now),
        Command::Heartbeat { id, lease, progress, message } => {
            heartbeat(state, &id, lease, progress, message, now);
        }
        Command::End { id, lease, outcome } => end(state, &id, lease, outcome, record, now),
        Command::Queue(change) => change_queue(state, change, now),
        Command::Notify(notify) => state.out.notifications.push(Notification {
            channel: notify.channel.into(),
            at: at(now),
            job: None,
            phase: None,
            body: Some(notify.body),
        }),
    }
}

/// Submits a job, unless there is one with its id.
pub(super) fn submit_job(state: &mut State, submit: Submit, submitted_ms: i64, now: i64) -> Option<JobNo> {
    let id: Arc<str> = submit.id.as_deref()?.into();
    if let Some(known) = state.find(&id) {
        // One whose time is over leaves at this step anyway.
        let leaves = state.job(known).settled.is_some_and(|settled| settled.leaves_at <= at(now));
        if !leaves {
            return None;
        }
        state.remove(known, now);
    }
    let limits = state.settings.job_limits(&submit);
    let delayed = submit.delay.map(|delay| at(submitted_ms.saturating_add(delay.as_millis_i64())));
    let ready_at = submit.run_at.or(delayed).unwrap_or(at(now)).max(at(now));
    let parents: Vec<Arc<str>> = submit.parents.into_iter().map(Into::into).collect();
    let failed = parents.iter().any(|parent| {
        let phase = state.find(parent).map(|no| state.job(no).phase);
        phase.is_some_and(|phase| phase.is_settled() && phase != Phase::Done)
    });
    let open_parents: Vec<_> = parents.iter().filter(|parent| !state.is_settled(parent)).cloned().collect();
    let on_parent_failure = submit.on_parent_failure;
    let phase = match () {
        () if !open_parents.is_empty() => Phase::Blocked,
        () if ready_at > at(now) => Phase::Delayed,
        () => Phase::Waiting,
    };
    let number = state.next_number;
    state.next_number += 1;
    let job = Job {
        id,
        queue: submit.queue.into(),
        number,
        kind: submit.kind.map(Into::into),
        group: submit.group.map(Into::into),
        priority: submit.priority,
        phase,
        payload: submit.payload.unwrap_or_else(null),
        submitted_at: at(submitted_ms),
        ready_at,
        attempt: 0,
        limits,
        parents,
        open_parents,
        on_parent_failure,
        notify: submit.notify.into_iter().map(Into::into).collect(),
        lease_number: 0,
        lease: None,
        progress: None,
        cancelling: false,
        result: None,
        error: None,
        runs: Vec::new(),
        settled: None,
        schedule: None,
    };
    let no = state.insert(job, now);
    if failed && on_parent_failure == crate::model::OnParentFailure::Cancel {
        life::cancel_for_parent(state, no, now);
    }
    Some(no)
}

fn null() -> Box<RawValue> {
    RawValue::NULL.to_owned()
}

/// The job of this id, or a dead letter.
fn known(state: &mut State, id: &str, record: RawRecord) -> Option<(JobNo, RawRecord)> {
    match state.find(id) {
        Some(no) => Some((no, record)),
        None => {
            state.letter(record, UNKNOWN_JOB, format!("there is no job {id:?}, or it has left"));
            None
        }
    }
}

fn retry(state: &mut State, id: &str, payload: Option<Box<RawValue>>, record: RawRecord, now: i64) {
    let Some((no, record)) = known(state, id, record) else { return };
    let phase = state.job(no).phase;
    match phase {
        Phase::Done | Phase::Leased => {
            state.letter(record, NOT_RETRYABLE, format!("the job {id:?} is {}", phase.name()));
        }
        Phase::Waiting | Phase::Blocked => state.change(no, now, |job| replace(&mut job.payload, payload)),
        Phase::Delayed | Phase::Failed | Phase::Dead | Phase::Cancelled => state.change(no, now, |job| {
            replace(&mut job.payload, payload);
            if job.phase.is_settled() {
                job.attempt = 0;
            }
            job.phase = Phase::Waiting;
            job.ready_at = at(now);
            job.settled = None;
        }),
    }
}

fn replace(payload: &mut Box<RawValue>, by: Option<Box<RawValue>>) {
    if let Some(by) = by {
        *payload = by;
    }
}

fn take_hello(state: &mut State, hello: WorkerHello, now: i64) {
    let name: Arc<str> = hello.worker.into();
    let mut queues: Vec<_> = hello.queues.into_iter().map(|queue| state.queue_no(&queue.into())).collect();
    queues.sort_unstable();
    queues.dedup();
    let worker = state.worker_no(&name);
    state.change_worker(worker, |worker| {
        worker.queues = queues;
        worker.slots = hello.slots;
        worker.heard = now;
        worker.until = now.saturating_add(hello.holds.as_millis_i64().min(LONGEST_HELLO_MS));
    });
}

/// A heartbeat of a lease that has ended is nothing: its worker is told when it asks.
fn heartbeat(state: &mut State, id: &str, lease: u32, progress: Option<f64>, message: Option<String>, now: i64) {
    let Some(no) = state.find(id).filter(|no| holds(state.job(*no), lease)) else { return };
    hear(state, no, now);
    if progress.is_none() && message.is_none() && !needs_renewal(state.job(no), now) {
        return;
    }
    state.change(no, now, |job| {
        life::renew(job, now);
        if progress.is_some() || message.is_some() {
            let fraction = progress.or(job.progress.as_ref().map(|before| before.fraction)).unwrap_or(0.0);
            job.progress = Some(Progress { fraction, message, at: at(now) });
        }
    });
}

/// The worker of a job was heard of.
fn hear(state: &mut State, no: JobNo, now: i64) {
    if let Some(worker) = state.job(no).lease.as_ref().map(|lease| Arc::clone(&lease.worker)) {
        state.hear(&worker, now);
    }
}

/// Whether a lease is older than a moment. To renew it sooner would write its row for nothing.
fn needs_renewal(job: &Job, now: i64) -> bool {
    let within = job.limits.heartbeat_within_ms;
    let fresh = (within / 5).min(1_000);
    job.lease.as_ref().is_some_and(|lease| lease.until.as_millisecond().saturating_sub(now) < within - fresh)
}

/// Whether this is the lease of a job now.
fn holds(job: &Job, lease: u32) -> bool {
    job.lease.as_ref().is_some_and(|held| held.number == lease)
}

fn end(state: &mut State, id: &str, lease: u32, outcome: Outcome, record: RawRecord, now: i64) {
    let Some((no, record)) = known(state, id, record) else { return };
    let job = state.job(no);
    if !holds(job, lease) {
        if !was_said(job, lease, &outcome) {
            let reason = format!(
                "the lease {lease} of the job {id:?} has ended; it is {}, and its last lease is {}",
                job.phase.name(),
                job.lease_number
            );
            state.letter(record, STALE_LEASE, reason);
        }
        return;
    }
    hear(state, no, now);
    match outcome {
        Outcome::Complete(result) => life::complete(state, no, result, now),
        Outcome::Release => life::release(state, no, now),
        Outcome::Fail { error, retry, retry_in } => {
            let retry_in_ms = retry_in.map(headwater::config::Period::as_millis_i64);
            life::fail(state, no, Failed { outcome: AttemptOutcome::Failed, error, retry, retry_in_ms }, now);
        }
    }
}

/// Whether a worker repeats what it has said of a lease.
fn was_said(job: &Job, lease: u32, outcome: &Outcome) -> bool {
    let ended = job.runs.iter().rev().find(|run| run.lease == lease).map(|run| run.outcome);
    match outcome {
        Outcome::Complete(_) => ended == Some(AttemptOutcome::Done),
        Outcome::Release => matches!(ended, Some(AttemptOutcome::Released | AttemptOutcome::Cancelled)),
        Outcome::Fail { .. } => matches!(ended, Some(AttemptOutcome::Failed | AttemptOutcome::Cancelled)),
    }
}

fn change_queue(state: &mut State, change: QueueChange, now: i64) {
    let name: Arc<str> = change.queue.into();
    let queue_no = state.queue_no(&name);
    if let Some(paused) = change.paused {
        state.pause(queue_no, paused);
    }
    if change.drain {
        let unbegun = |job: &Job| {
            job.queue == name && matches!(job.phase, Phase::Blocked | Phase::Delayed | Phase::Waiting | Phase::Failed)
        };
        let mut drained: Vec<_> =
            state.jobs().filter(|(_, job)| unbegun(job)).map(|(no, job)| (job.number, no)).collect();
        drained.sort_unstable();
        for (_, no) in drained {
            // One that waited for another of these was settled with it.
            life::cancel(state, no, now);
        }
    }
}
