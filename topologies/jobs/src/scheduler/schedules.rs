//! Schedules: jobs that are submitted when their time comes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use headwater::schema::versioned;
use headwater_flow::Timers;
use jiff::Timestamp;

use super::commands::submit_job;
use super::state::{State, at};
use crate::model::{Calendar, Missed, OnParentFailure, Overlap, Schedule, ScheduleRow, ScheduleText};

/// A time that is met so much later counts as missed.
const LATE_MS: i64 = 60_000;

/// The most jobs that a schedule submits for times that were missed.
const MOST_MISSED: usize = 1_000;

/// All schedules.
#[derive(Default)]
pub(super) struct Schedules {
    entries: BTreeMap<Arc<str>, Entry>,
    /// Rows of before the restart whose schedule has not been read yet.
    restored: BTreeMap<Arc<str>, ScheduleRow>,
    due: Timers<Arc<str>>,
    touched: BTreeSet<Arc<str>>,
}

struct Entry {
    schedule: Schedule,
    calendar: Calendar,
    row: ScheduleRow,
}

impl Schedules {
    /// A row of before the restart.
    pub(super) fn restore(&mut self, row: ScheduleRow) {
        self.restored.insert(Arc::clone(&row.schedule), row);
    }

    /// A schedule is as `text` says from `now` on; `None` where there is none any more.
    pub(super) fn change(&mut self, name: &Arc<str>, text: Option<&ScheduleText>, now: i64) {
        let before = self.entries.remove(name);
        if let Some(before) = &before {
            self.due.remove(due(&before.row), Arc::clone(name));
        }
        self.touched.insert(Arc::clone(name));
        // What is in the table was read before, so it can be read.
        let Some(schedule) = text.and_then(|text| text.schedule().ok()) else { return };
        let Ok(calendar) = schedule.calendar(name) else { return };
        let fresh = || ScheduleRow {
            schedule: Arc::clone(name),
            decided: at(now),
            next: None,
            last_job: None,
            submitted: 0,
            skipped: 0,
        };
        let mut row = match (before, self.restored.remove(name)) {
            // A change does not bring times back that are over.
            (Some(before), _) => ScheduleRow { decided: at(now), ..before.row },
            (None, Some(restored)) => restored,
            (None, None) => fresh(),
        };
        row.next = next(&schedule, &calendar, row.decided);
        self.due.set(due(&row), Arc::clone(name));
        self.entries.insert(Arc::clone(name), Entry { schedule, calendar, row });
    }

    /// Rows of schedules that are not there any more leave.
    pub(super) fn begin(&mut self) {
        let gone = std::mem::take(&mut self.restored);
        self.touched.extend(gone.into_keys());
    }

    /// The earliest time at which one is due.
    pub(super) fn next_due(&self) -> Option<i64> {
        self.due.next_due()
    }

    /// Submits what is due at `now`.
    pub(super) fn fire(&mut self, state: &mut State, now: i64) {
        while let Some((_, name)) = self.due.pop(now) {
            let Some(entry) = self.entries.get_mut(&name) else { continue };
            entry.fire(state, now);
            self.due.set(due(&entry.row), Arc::clone(&name));
            self.touched.insert(name);
        }
    }

    /// Rows that have changed.
    pub(super) fn take_changes(&mut self) -> Vec<(Arc<str>, Option<bytes::Bytes>)> {
        let row = |name: Arc<str>| {
            let row = self.entries.get(&name).map(|entry| versioned(&entry.row));
            (name, row)
        };
        std::mem::take(&mut self.touched).into_iter().map(row).collect()
    }
}

impl Entry {
    fn fire(&mut self, state: &mut State, now: i64) {
        let most = if self.schedule.missed == Missed::All { MOST_MISSED } else { 2 };
        let times = self.calendar.due_between(self.row.decided, at(now), most);
        let Some(last) = times.last().copied() else {
            self.row.decided = at(now);
            self.row.next = next(&self.schedule, &self.calendar, self.row.decided);
            return;
        };
        let is_late = now.saturating_sub(last.as_millisecond()) > LATE_MS;
        let runs = match self.schedule.missed {
            Missed::All => times.len(),
            Missed::Skip if is_late => 0,
            Missed::Skip | Missed::Once => 1,
        };
        let (missed, run) = times.split_at(times.len() - runs);
        self.row.skipped += missed.len() as u64;
        for time in run {
            self.submit(state, *time, now);
        }
        self.row.decided = last;
        self.row.next = next(&self.schedule, &self.calendar, last);
    }

    fn submit(&mut self, state: &mut State, time: Timestamp, now: i64) {
        let runs_still = self.row.last_job.clone().filter(|job| {
            let before = state.find(job).map(|no| state.job(no).phase);
            before.is_some_and(|phase| !phase.is_settled())
        });
        let mut submit = self.schedule.job.0.clone();
        let name = &self.row.schedule;
        let id: Arc<str> = format!("{name}@{time}").into();
        submit.id = Some(id.to_string());
        match (runs_still, self.schedule.overlap) {
            (Some(_), Overlap::Skip) => {
                self.row.skipped += 1;
                return;
            }
            (Some(before), Overlap::Queue) => {
                submit.parents = vec![before.to_string()];
                submit.on_parent_failure = OnParentFailure::Run;
            }
            (Some(_), Overlap::Allow) | (None, _) => {}
        }
        if let Some(no) = submit_job(state, submit, time.as_millisecond().min(now), now) {
            state.change(no, now, |job| job.schedule = Some(Arc::clone(name)));
        }
        self.row.submitted += 1;
        self.row.last_job = Some(id);
    }
}

fn next(schedule: &Schedule, calendar: &Calendar, decided: Timestamp) -> Option<Timestamp> {
    if schedule.paused { None } else { calendar.next_after(decided) }
}

fn due(row: &ScheduleRow) -> i64 {
    row.next.map_or(Timers::<Arc<str>>::NEVER, Timestamp::as_millisecond)
}
