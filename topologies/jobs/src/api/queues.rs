//! Queues: how they are doing, and how they are to work.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::response::Response;
use headwater_serve::api::body::fresh;
use headwater_serve::api::problem::Problem;
use serde::Serialize;
use serde_json::json;

use super::answer::accepted;
use super::command::{Fields, command, set};
use super::site::Site;
use super::store::State as Known;
use crate::model::{Phase, Quantiles, QueueRow};

/// A queue as it is told.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Queue<'q> {
    queue: &'q str,
    paused: bool,
    counts: BTreeMap<&'static str, u64>,
    oldest_waiting: Option<jiff::Timestamp>,
    wait_ms: Option<Quantiles>,
    run_ms: Option<Quantiles>,
    done_per_minute: u64,
}

fn told<'q>(state: &Known, row: &'q QueueRow) -> Queue<'q> {
    Queue {
        queue: &row.queue,
        paused: row.paused,
        counts: row.counts.iter().map(|(phase, count)| (phase.name(), *count)).collect(),
        oldest_waiting: row.oldest_waiting,
        wait_ms: row.wait_ms,
        run_ms: row.run_ms,
        done_per_minute: state.done_per_minute(&row.queue),
    }
}

/// All queues, or the one of this name.
pub(super) fn rows<'s>(state: &'s Known, queue: Option<&str>) -> Vec<Queue<'s>> {
    let wanted = state.queues.values().filter(|row| queue.is_none_or(|queue| &*row.queue == queue));
    wanted.map(|row| told(state, row)).collect()
}

/// `GET /api/queues`.
pub(super) async fn all(State(site): State<Site>) -> Result<Response, Problem> {
    let state = site.ready()?.read();
    fresh(&rows(&state, None))
}

/// `GET /api/queues/{queue}`.
pub(super) async fn one(State(site): State<Site>, Path(queue): Path<String>) -> Result<Response, Problem> {
    let state = site.ready()?.read();
    let row = state.queues.get(queue.as_str());
    let row = row.ok_or_else(|| Problem::not_found(format!("There is no queue {queue:?}.")))?;
    fresh(&told(&state, row))
}

/// How many jobs there are, in the words that others use.
#[derive(Debug, Default, Clone, Copy, Serialize)]
struct Stats {
    waiting: usize,
    active: usize,
    completed: usize,
    failed: usize,
    delayed: usize,
    retrying: usize,
    blocked: usize,
    cancelled: usize,
}

impl Stats {
    fn add(&mut self, phase: Phase, jobs: usize) {
        let count = match phase {
            Phase::Waiting => &mut self.waiting,
            Phase::Leased => &mut self.active,
            Phase::Done => &mut self.completed,
            Phase::Dead => &mut self.failed,
            Phase::Delayed => &mut self.delayed,
            Phase::Failed => &mut self.retrying,
            Phase::Blocked => &mut self.blocked,
            Phase::Cancelled => &mut self.cancelled,
        };
        *count += jobs;
    }
}

/// `GET /api/stats`.
pub(super) async fn stats(State(site): State<Site>) -> Result<Response, Problem> {
    let state = site.ready()?.read();
    let (mut queues, mut totals) = (BTreeMap::new(), Stats::default());
    for (queue, phases) in state.by_phase() {
        let stats: &mut Stats = queues.entry(&**queue).or_default();
        for (jobs, phase) in phases.iter().zip(Phase::ALL) {
            stats.add(phase, jobs.len());
            totals.add(phase, jobs.len());
        }
    }
    fresh(&json!({"queues": queues, "totals": totals}))
}

/// How a queue is to work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Pause,
    Resume,
    Drain,
}

/// `POST /api/queues/{queue}/pause`, `resume` and `drain`.
pub(super) async fn change(
    change: Change,
    State(site): State<Site>,
    Path(queue): Path<String>,
) -> Result<Response, Problem> {
    let mut fields = Fields::new();
    set(&mut fields, "queue", &queue)?;
    match change {
        Change::Pause => set(&mut fields, "paused", &true)?,
        Change::Resume => set(&mut fields, "paused", &false)?,
        Change::Drain => set(&mut fields, "drain", &true)?,
    }
    let record = command(&site.writing, "queue", &format!("queue:{queue}"), fields)?;
    site.writing.write(vec![record]).await?;
    Ok(accepted(json!({"queue": queue})))
}
