//! Dispatch: jobs that wait are given to workers that have room.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::state::{State, at};
use super::worker::{JobNo, QueueNo, WorkerNo};
use crate::model::{Lease, Phase};

/// The most leases of a step: what is left is given in the next one.
const MOST_LEASES: usize = 10_000;

/// Gives what can be given at `now`. Queues that share workers take turns: the one first that was served the longest ago.
pub(super) fn dispatch(state: &mut State, now: i64) {
    let mut queues: Vec<QueueNo> = std::mem::take(&mut state.stirred).into_iter().collect();
    queues.retain(|queue| state.has_queue(*queue));
    queues.sort_by_key(|queue| (state.queue(*queue).served, *queue));
    let mut queues = VecDeque::from(queues);
    let mut leases = 0;
    while leases < MOST_LEASES {
        let Some(queue) = queues.pop_front() else { break };
        if lease_next(state, queue, now) {
            leases += 1;
            queues.push_back(queue);
        }
    }
    // What leasing itself has stirred was looked at until nothing more could be given.
    state.stirred = if leases < MOST_LEASES { BTreeSet::new() } else { queues.into_iter().collect() };
}

/// Gives the next job of a queue; whether there was one to give.
fn lease_next(state: &mut State, queue_no: QueueNo, now: i64) -> bool {
    let queue = state.queue(queue_no);
    let Some(allowed_at) = queue.may_lease_at(now) else { return false };
    let Some((_, worker)) = queue.free.first().copied() else { return false };
    if allowed_at > now {
        state.wakes.set(allowed_at, (queue_no, None));
        return false;
    }
    let Some(job) = queue.next() else { return false };
    lease(state, job, queue_no, worker, now);
    true
}

fn lease(state: &mut State, no: JobNo, queue_no: QueueNo, worker_no: WorkerNo, now: i64) {
    let group = state.job(no).group.clone();
    state.given += 1;
    let given = state.given;
    let queue = state.queue_mut(queue_no);
    queue.serve(&group, now);
    queue.served = given;
    let worker = &state.workers[worker_no as usize];
    let (name, slot) = (Arc::clone(&worker.name), worker.free_slot());
    state.change_worker(worker_no, |worker| worker.given = given);
    state.change(no, now, |job| {
        job.phase = Phase::Leased;
        job.attempt += 1;
        job.lease_number = lease_number(job.lease_number, now);
        job.lease = Some(Lease {
            number: job.lease_number,
            worker: name,
            slot,
            since: at(now),
            until: at(now.saturating_add(job.limits.heartbeat_within_ms)),
        });
        job.progress = None;
        job.error = None;
    });
}

/// The beginning of the numbers of leases, in ms since the Unix epoch: 2026.
const FIRST_LEASE_MS: i64 = 1_767_225_600_000;

/// The number of the next lease: one more, and not less than the seconds since 2026, so that a report on a job that has
/// left does not fit one that was submitted later with the same id.
pub(crate) fn lease_number(last: u32, now: i64) -> u32 {
    let seconds = u32::try_from((now - FIRST_LEASE_MS).max(0) / 1_000).unwrap_or(u32::MAX - 1);
    last.saturating_add(1).max(seconds)
}
