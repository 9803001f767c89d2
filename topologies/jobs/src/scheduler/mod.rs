//! The scheduler: a pure function of state, commands and time.
//!
//! ```text
//!  commands ──┐                                        ┌─► jobs, queues, leases
//!  schedules ─┼─► step(now): follow ► due ► dispatch ──┼─► runs, notifications
//!  time ──────┘                                        └─► dead letters
//! ```
//!
//! One scheduler decides for all queues, in the order of the log. So parents may be in any queue, a worker may serve
//! several, and every decision is made once. It has no clock and does no I/O.
//!
//! # Invariants
//!
//! 1. A job has at most one lease, and each lease has a higher number than the one before.
//! 2. A job is settled once: only a person's retry takes it out of `dead` or `cancelled`, nothing out of `done`.
//! 3. What can be leased at the end of a step is leased: no job waits where a worker has room and no limit holds it.
//! 4. Everything that is kept follows from the jobs, so a restart at any time changes nothing but that leases get a
//!    full period, groups stand in another line, and rates forget what was leased of jobs that have left.
//!
//! `tests` compares it with a scheduler that looks at all jobs for each decision.

mod changes;
mod commands;
mod dispatch;
mod histogram;
mod life;
mod queue;
mod rate;
mod schedules;
mod settings;
mod state;
#[cfg(test)]
mod tests;
mod worker;

use std::sync::Arc;

use headwater_flow::{LogPosition, RawRecord};

pub use changes::Changes;
pub use commands::{NOT_RETRYABLE, STALE_LEASE, UNKNOWN_JOB};
pub(crate) use dispatch::lease_number;
pub use rate::Rate;
use schedules::Schedules;
pub use settings::{EVERY_QUEUE, QueueSettings, Retention, SchedulerSettings};
pub use state::QueueTold;
use state::State;

use crate::model::{Command, Job, Phase, ScheduleRow, ScheduleText};

/// The most alarms of a step: what is left is done in the next one.
const MOST_ALARMS: usize = 10_000;

/// Decides what happens to jobs.
pub struct Scheduler {
    state: State,
    schedules: Schedules,
    /// Schedules of before a restart, until the first step.
    definitions: Vec<(Arc<str>, ScheduleText)>,
    /// Whether the first step after a restart has been made.
    begun: bool,
    /// When the engine was there again after it had been away, until the next step.
    back_at: Option<i64>,
}

/// What comes in at a step.
#[derive(Debug, Default)]
pub struct Input {
    /// Commands with their records, in any order.
    pub commands: Vec<(Command, RawRecord)>,
    /// Schedules that have changed: `None` is one that was removed.
    pub schedules: Vec<(Arc<str>, Option<ScheduleText>)>,
}

impl Scheduler {
    /// A scheduler without jobs.
    pub fn new(settings: SchedulerSettings) -> Self {
        Self {
            state: State::new(settings),
            schedules: Schedules::default(),
            definitions: Vec::new(),
            begun: false,
            back_at: None,
        }
    }

    /// Takes in a job of before a restart.
    pub fn restore_job(&mut self, job: Job) {
        self.state.next_number = self.state.next_number.max(job.number + 1);
        self.state.insert(job, 0);
    }

    /// Takes in what a queue was told before a restart.
    pub fn restore_queue(&mut self, name: &Arc<str>, told: QueueTold) {
        let no = self.state.queue_no(name);
        self.state.pause(no, told.paused);
    }

    /// Takes in how far a schedule had come before a restart.
    pub fn restore_schedule(&mut self, row: ScheduleRow) {
        self.schedules.restore(row);
    }

    /// Takes in a schedule that was there before a restart.
    pub fn restore_definition(&mut self, name: Arc<str>, text: ScheduleText) {
        self.definitions.push((name, text));
    }

    /// All rows that follow from what was restored.
    pub fn restored(&mut self) -> Changes {
        self.state.remember_leases();
        self.state.keep_written_jobs();
        let mut changes = self.state.take_changes();
        changes.settings.clear();
        changes
    }

    /// Everything that happens at `now`, in ms since the Unix epoch; times never go back.
    pub fn step(&mut self, now: i64, mut input: Input) -> Changes {
        if self.back_at.take_if(|back_at| *back_at <= now).is_some() {
            self.renew_leases(now);
        }
        if !std::mem::replace(&mut self.begun, true) {
            self.begin(now);
        }
        self.wake(now);
        // What was due comes before what changes it.
        self.schedules.fire(&mut self.state, now);
        input.commands.sort_by_cached_key(|(_, record)| LogPosition::of(&record.origin));
        for (command, record) in input.commands {
            commands::follow(&mut self.state, command, record, now);
        }
        for (name, text) in &input.schedules {
            self.schedules.change(name, text.as_ref(), now);
        }
        self.come_due(now);
        dispatch::dispatch(&mut self.state, now);
        self.state.forget_queues(now);
        let mut changes = self.state.take_changes();
        changes.schedules = self.schedules.take_changes();
        changes
    }

    /// When something happens next by itself, in ms; `None` where nothing does.
    pub fn next_due(&self) -> Option<i64> {
        let State { alarms, worker_alarms, wakes, .. } = &self.state;
        let due = [alarms.next_due(), worker_alarms.next_due(), wakes.next_due(), self.schedules.next_due()];
        let has_begun = self.begun || (self.definitions.is_empty() && !self.state.has_leases());
        let first = (!has_begun).then_some(0);
        // What one step had no room for.
        let left = (self.begun && !self.state.stirred.is_empty()).then_some(0);
        due.into_iter().chain([first, left, self.back_at]).flatten().min()
    }

    /// The engine was away until `back_at`, or could not read or write: no heartbeat could be heard, and the first step
    /// from then on gives every lease a full period.
    pub fn was_away(&mut self, back_at: i64) {
        self.back_at = Some(back_at);
    }

    fn renew_leases(&mut self, now: i64) {
        let leased: Vec<_> =
            self.state.jobs().filter(|(_, job)| job.phase == Phase::Leased).map(|(no, _)| no).collect();
        for no in leased {
            self.state.change(no, now, |job| life::renew(job, now));
        }
    }

    fn begin(&mut self, now: i64) {
        self.renew_leases(now);
        for (name, text) in std::mem::take(&mut self.definitions) {
            self.schedules.change(&name, Some(&text), now);
        }
        self.schedules.begin();
    }

    /// Queues and groups that a rate held back may go on.
    fn wake(&mut self, now: i64) {
        while let Some((_, (queue, group))) = self.state.wakes.pop(now) {
            match group {
                Some(group) => self.state.stir(queue, &group, now),
                None => self.state.wake(queue),
            }
        }
    }

    fn come_due(&mut self, now: i64) {
        while let Some((_, worker)) = self.state.worker_alarms.pop(now) {
            self.state.change_worker(worker, |worker| worker.slots = 0);
        }
        self.schedules.fire(&mut self.state, now);
        for _ in 0..MOST_ALARMS {
            let Some((due, (number, no))) = self.state.alarms.pop(now) else { break };
            // The alarm is put back, so that the change finds it where it was.
            self.state.alarms.set(due, (number, no));
            life::come_due(&mut self.state, no, now);
        }
    }
}
