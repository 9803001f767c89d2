//! The life of a job: what can happen to it.

use std::sync::Arc;

use headwater::config::Lifetime;
use jiff::Timestamp;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::state::{State, at};
use super::worker::JobNo;
use crate::model::{Attempt, AttemptOutcome, Backoff, Failure, Job, OnParentFailure, Phase, RunFact, Settled, cut};

/// So many attempts of a job are remembered, and so many bytes of why each failed.
const ATTEMPTS_REMEMBERED: usize = 20;
const MESSAGE_REMEMBERED: usize = 2 << 10;

/// The code of a job whose parent has failed.
const PARENT_FAILED: &str = "parent-failed";

/// Ends the lease of a job, and remembers the attempt. The phase is the caller's to change.
fn end_lease(job: &mut Job, outcome: AttemptOutcome, error: Option<Failure>, now: i64) -> Option<RunFact> {
    let lease = job.lease.take()?;
    let waited_ms = lease.since.as_millisecond().saturating_sub(job.ready_at.as_millisecond()).max(0);
    // The job remembers many; the whole message is with the fact, and with the job until its next attempt.
    let short = |error: Failure| Failure { message: cut(error.message, MESSAGE_REMEMBERED), ..error };
    let run = Attempt {
        attempt: job.attempt,
        lease: lease.number,
        worker: lease.worker,
        waited_ms,
        began: lease.since,
        ended: at(now),
        outcome,
        error,
    };
    if job.runs.len() >= ATTEMPTS_REMEMBERED {
        job.runs.remove(0);
    }
    job.runs.push(Attempt { error: run.error.clone().map(short), ..run.clone() });
    Some(RunFact {
        job: Arc::clone(&job.id),
        queue: Arc::clone(&job.queue),
        kind: job.kind.clone(),
        group: job.group.clone(),
        ran_ms: now.saturating_sub(run.began.as_millisecond()),
        run,
    })
}

/// The attempt of a leased job has ended, and the job goes on as `next` says.
fn end_attempt(
    state: &mut State,
    no: JobNo,
    outcome: AttemptOutcome,
    error: Option<Failure>,
    now: i64,
    next: impl FnOnce(&mut Job),
) {
    let mut fact = None;
    state.change(no, now, |job| {
        fact = end_lease(job, outcome, error, now);
        next(job);
    });
    state.out.runs.extend(fact);
}

/// A job is done.
pub(super) fn complete(state: &mut State, no: JobNo, result: Option<Box<serde_json::value::RawValue>>, now: i64) {
    let settled = settled(state, no, Phase::Done, now);
    end_attempt(state, no, AttemptOutcome::Done, None, now, |job| {
        job.result = result;
        settle(job, Phase::Done, settled);
    });
    was_settled(state, no, now);
}

/// An attempt has failed: the job is tried again, or dead; where it was to be cancelled, it is.
pub(super) fn fail(state: &mut State, no: JobNo, failed: Failed, now: i64) {
    let Failed { outcome, error, retry, retry_in_ms } = failed;
    let job = state.job(no);
    if job.cancelling {
        return end_as(state, no, Phase::Cancelled, AttemptOutcome::Cancelled, error, now);
    }
    if !retry || job.attempt >= job.limits.max_attempts {
        return end_as(state, no, Phase::Dead, outcome, error, now);
    }
    let pause = retry_in_ms.unwrap_or_else(|| pause(&job.limits.backoff, &job.id, job.attempt));
    end_attempt(state, no, outcome, Some(error.clone()), now, |job| {
        job.phase = Phase::Failed;
        job.ready_at = at(now.saturating_add(pause));
        job.error = Some(error);
    });
}

/// How an attempt has failed.
pub(super) struct Failed {
    pub(super) outcome: AttemptOutcome,
    pub(super) error: Failure,
    pub(super) retry: bool,
    pub(super) retry_in_ms: Option<i64>,
}

impl Failed {
    /// By what happened, not by what its worker said.
    pub(super) fn by(outcome: AttemptOutcome, code: &str, message: String) -> Self {
        Self { outcome, error: Failure { code: code.to_owned(), message }, retry: true, retry_in_ms: None }
    }
}

fn end_as(state: &mut State, no: JobNo, phase: Phase, outcome: AttemptOutcome, error: Failure, now: i64) {
    let settled = settled(state, no, phase, now);
    end_attempt(state, no, outcome, Some(error.clone()), now, |job| {
        job.error = Some(error);
        settle(job, phase, settled);
    });
    was_settled(state, no, now);
}

/// A worker gives a job back: it waits as before.
pub(super) fn release(state: &mut State, no: JobNo, now: i64) {
    if state.job(no).cancelling {
        let error =
            Failure { code: "cancelled".to_owned(), message: "it was given back while it was cancelled".to_owned() };
        return end_as(state, no, Phase::Cancelled, AttemptOutcome::Cancelled, error, now);
    }
    end_attempt(state, no, AttemptOutcome::Released, None, now, |job| {
        job.attempt -= 1;
        job.phase = Phase::Waiting;
    });
}

/// A job that has not begun is settled.
pub(super) fn settle_unbegun(state: &mut State, no: JobNo, phase: Phase, error: Option<Failure>, now: i64) {
    let settled = settled(state, no, phase, now);
    state.change(no, now, |job| {
        job.error = error;
        settle(job, phase, settled);
    });
    was_settled(state, no, now);
}

/// Cancels a job: one that runs is asked to stop.
pub(super) fn cancel(state: &mut State, no: JobNo, now: i64) {
    match state.job(no).phase {
        Phase::Leased => state.change(no, now, |job| job.cancelling = true),
        phase if phase.is_settled() => {}
        _ => settle_unbegun(state, no, Phase::Cancelled, None, now),
    }
}

/// Cancels a job whose parent has failed.
pub(super) fn cancel_for_parent(state: &mut State, no: JobNo, now: i64) {
    let error = Failure { code: PARENT_FAILED.to_owned(), message: "a parent is dead or cancelled".to_owned() };
    settle_unbegun(state, no, Phase::Cancelled, Some(error), now);
}

/// A job may be leased from now on.
pub(super) fn make_ready(state: &mut State, no: JobNo, now: i64) {
    state.change(no, now, |job| job.phase = Phase::Waiting);
}

fn settle(job: &mut Job, phase: Phase, settled: Settled) {
    job.phase = phase;
    job.cancelling = false;
    job.settled = Some(settled);
}

fn settled(state: &State, no: JobNo, phase: Phase, now: i64) -> Settled {
    let retention = &state.settings.retention;
    let keep = match phase {
        Phase::Dead => retention.dead,
        Phase::Cancelled => retention.cancelled,
        _ => retention.done,
    };
    let own = state.job(no).limits.keep_ms.filter(|_| phase == Phase::Done);
    let keep_ms = own.or(match keep {
        Lifetime::For(period) => Some(period.as_millis_i64()),
        Lifetime::Forever => None,
    });
    let leaves_at = keep_ms.map_or(Timestamp::MAX, |keep| at(now.saturating_add(keep)));
    Settled { at: at(now), leaves_at }
}

/// Tells those who wait for a job that was settled.
fn was_settled(state: &mut State, no: JobNo, now: i64) {
    state.tell(no, now);
    let (id, ended_well) = (Arc::clone(&state.job(no).id), state.job(no).phase == Phase::Done);
    for child in state.take_children(&id) {
        let job = state.job(child);
        if job.phase != Phase::Blocked {
            continue;
        }
        if !ended_well && job.on_parent_failure == OnParentFailure::Cancel {
            cancel_for_parent(state, child, now);
        } else if job.parents.iter().all(|parent| state.is_settled(parent)) {
            unblock(state, child, now);
        }
    }
}

fn unblock(state: &mut State, no: JobNo, now: i64) {
    let waits = state.job(no).ready_at.as_millisecond() > now;
    state.change(no, now, |job| {
        job.phase = if waits { Phase::Delayed } else { Phase::Waiting };
        job.ready_at = job.ready_at.max(at(now));
    });
}

/// The pause after an attempt: `initial`, twice as long each time, at most `max`, a fifth more or less by the job
/// and the attempt.
pub(super) fn pause(backoff: &Backoff, id: &str, attempt: u32) -> i64 {
    let doublings = attempt.saturating_sub(1).min(40);
    let base = backoff.initial_ms.saturating_mul(1 << doublings).clamp(0, backoff.max_ms);
    let per_mille = 800 + (xxh3_64_with_seed(id.as_bytes(), u64::from(attempt)) % 401) as i64;
    base.saturating_mul(per_mille) / 1_000
}

/// What happens to a job at `now` by itself.
pub(super) fn come_due(state: &mut State, no: JobNo, now: i64) {
    let job = state.job(no);
    match job.phase {
        Phase::Delayed | Phase::Failed => make_ready(state, no, now),
        Phase::Waiting => {
            let message =
                format!("no worker of {:?} has begun within {} ms", job.queue, job.limits.start_within_ms.unwrap_or(0));
            let error = Failure { code: "not-started".to_owned(), message };
            settle_unbegun(state, no, Phase::Dead, Some(error), now);
        }
        Phase::Leased => {
            let Some(lease) = &job.lease else { return };
            let failed = if lease.until.as_millisecond() <= now {
                // Nothing more is given to it until it says hello again.
                let silent = Arc::clone(&lease.worker);
                let message =
                    format!("nothing was heard of {} for {} ms", lease.worker, job.limits.heartbeat_within_ms);
                let silent = state.worker_no(&silent);
                state.change_worker(silent, |worker| worker.slots = 0);
                Failed::by(AttemptOutcome::LeaseExpired, "lease-expired", message)
            } else {
                let message = format!("it took longer than {} ms", job.limits.finish_within_ms.unwrap_or(0));
                Failed::by(AttemptOutcome::TimedOut, "timed-out", message)
            };
            fail(state, no, failed, now);
        }
        Phase::Done | Phase::Dead | Phase::Cancelled => state.remove(no, now),
        Phase::Blocked => {}
    }
}

/// A lease is heard of again.
pub(super) fn renew(job: &mut Job, now: i64) {
    let until = at(now.saturating_add(job.limits.heartbeat_within_ms));
    if let Some(lease) = &mut job.lease {
        lease.until = lease.until.max(until);
    }
}
