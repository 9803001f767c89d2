//! Dispatch: jobs that wait are given to workers that have room.

use std::collections::VecDeque;
use std::sync::Arc;

use super::state::{State, at};
use super::worker::{JobNo, QueueNo, WorkerNo};
use crate::model::{Lease, Phase};

/// Gives what can be given at `now`. Queues that share workers take turns.
pub(super) fn dispatch(state: &mut State, now: i64) {
    let mut queues: VecDeque<QueueNo> = std::mem::take(&mut state.stirred).into_iter().collect();
    while let Some(queue) = queues.pop_front() {
        if lease_next(state, queue, now) {
            queues.push_back(queue);
        }
    }
    // What leasing itself has stirred was looked at until nothing more could be given.
    state.stirred.clear();
}

/// Gives the next job of a queue; whether there was one to give.
fn lease_next(state: &mut State, queue_no: QueueNo, now: i64) -> bool {
    let queue = &state.queues[queue_no as usize];
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
    state.queues[queue_no as usize].serve(&group, now);
    let worker = &state.workers[worker_no as usize];
    let (name, slot) = (Arc::clone(&worker.name), worker.free_slot());
    state.given += 1;
    let given = state.given;
    state.change_worker(worker_no, |worker| worker.given = given);
    state.change(no, now, |job| {
        job.phase = Phase::Leased;
        job.attempt += 1;
        job.lease_number += 1;
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
