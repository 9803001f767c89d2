//! Targets of the topology jobs: commands, which clients and workers send, and schedules, which people write.
//!
//! Whatever is sent, a command is taken or refused with a reason, and the scheduler
//! - writes rows that it reads again as the same, each of a job that may be;
//! - never lets a job that is done become anything else, and never gives one lease number twice;
//! - finds itself again by the jobs alone: leases and queues of after a restart are those of before.
//!
//! A schedule that is taken has times in order, and looks back on the same times as forward.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a target fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater::schema::{read_json, versioned};
use headwater_flow::{Origin, RawRecord};
use jiff::Timestamp;
use jobs::model::{Calendar, Command, Job, Phase, Schedule, ScheduleText, check_id, check_queue};
use jobs::scheduler::{Changes, Input, QueueSettings, QueueTold, Scheduler, SchedulerSettings};
use serde_json::Value;

/// 2025-03-29T23:00:00Z. Leases count from 1 until 2026, so that inputs may name them.
const NOW_MS: i64 = 1_743_289_200_000;

/// Time between two steps.
const STEP_MS: i64 = 1_000;

/// Lines are commands; an empty one lets time pass.
pub fn job_commands(data: &[u8]) {
    let mut scheduler = Scheduler::new(settings());
    let mut known = Known::default();
    let mut now = NOW_MS;
    for (line, offset) in data.split(|byte| *byte == b'\n').zip(0..) {
        let commands = command(line, offset, now).into_iter().collect();
        known.take(scheduler.step(now, Input { commands, ..Input::default() }));
        assert!(scheduler.next_due().is_none_or(|due| due > now), "what was due at {now} has not happened");
        now += if line.is_empty() { 60 * STEP_MS } else { STEP_MS };
    }
    known.restart();
}

/// Limits of each kind, all of them small.
fn settings() -> SchedulerSettings {
    let all = QueueSettings {
        concurrency: Some(3),
        group_concurrency: Some(2),
        rate: "2 / s".parse().ok(),
        burst: Some(2),
        ..QueueSettings::default()
    };
    SchedulerSettings { queues: BTreeMap::from([("*".to_owned(), all)]), ..SchedulerSettings::default() }
}

/// A command, where the bytes are one.
fn command(value: &[u8], offset: i64, now: i64) -> Option<(Command, RawRecord)> {
    let origin = Origin { topic: "c".into(), partition: 0, offset, timestamp_ms: now, order_ms: now };
    let key = value.iter().position(|byte| *byte == b'\t');
    let (key, value) = key.map_or((None, value), |tab| (Some(value[..tab].to_vec()), &value[tab + 1..]));
    let record = RawRecord { origin, key, value: Some(value.to_vec()), ..RawRecord::default() };
    let read = Command::read(&record);
    assert_eq!(format!("{read:?}"), format!("{:?}", Command::read(&record)), "reading is a function of the record");
    match read {
        Ok(command) => Some((command, record)),
        Err(unusable) => {
            assert!(!unusable.reason.is_empty());
            None
        }
    }
}

/// What the topics hold.
#[derive(Default)]
struct Known {
    jobs: BTreeMap<Arc<str>, Job>,
    leases: BTreeMap<String, Value>,
    queues: BTreeMap<Arc<str>, Value>,
    told: BTreeMap<Arc<str>, QueueTold>,
}

fn read<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> T {
    read_json(bytes).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(bytes)))
}

impl Known {
    fn take(&mut self, changes: Changes) {
        for (id, row) in changes.jobs {
            let before = self.jobs.remove(&id);
            let Some(row) = row else { continue };
            let job: Job = read(&row);
            assert_eq!(versioned(&job), row, "a row is written as it was read");
            check_step(before.as_ref(), &job);
            assert_eq!(job.id, id);
            self.jobs.insert(id, job);
        }
        change(&mut self.leases, changes.leases);
        change(&mut self.queues, changes.queues);
        for (name, row) in changes.settings {
            match row {
                Some(row) => drop(self.told.insert(name, read(&row))),
                None => drop(self.told.remove(&name)),
            }
        }
        for letter in changes.letters {
            assert!(!letter.reason.is_empty());
        }
        assert!(changes.runs.iter().all(|run| serde_json::to_vec(run).is_ok() && run.ran_ms >= 0));
        assert!(changes.notifications.iter().all(|told| serde_json::to_vec(told).is_ok()));
        let held = self.jobs.values().filter(|job| job.phase == Phase::Leased).count();
        assert_eq!(self.leases.len(), held, "each leased job has one lease");
    }

    /// A scheduler that has read the jobs says the same of leases and queues.
    fn restart(&self) {
        let mut scheduler = Scheduler::new(settings());
        self.told.iter().for_each(|(name, told)| scheduler.restore_queue(name, *told));
        self.jobs.values().for_each(|job| scheduler.restore_job(job.clone()));
        let restored = scheduler.restored();
        let mut again = Self::default();
        change(&mut again.leases, restored.leases);
        change(&mut again.queues, restored.queues);
        assert_eq!(again.leases, self.leases);
        assert_eq!(again.queues, self.queues);
    }
}

fn change<K: Ord>(rows: &mut BTreeMap<K, Value>, changes: Vec<(K, Option<impl AsRef<[u8]>>)>) {
    for (key, row) in changes {
        match row {
            Some(row) => drop(rows.insert(key, read(row.as_ref()))),
            None => drop(rows.remove(&key)),
        }
    }
}

/// From one version of a job to the next.
fn check_step(before: Option<&Job>, job: &Job) {
    check_id(&job.id).unwrap();
    check_queue(&job.queue).unwrap();
    assert_eq!(job.phase == Phase::Leased, job.lease.is_some(), "{job:?}");
    assert_eq!(job.phase.is_settled(), job.settled.is_some(), "{job:?}");
    assert!(job.attempt <= job.limits.max_attempts && job.attempt <= job.lease_number, "{job:?}");
    let Some(before) = before else { return };
    assert!(before.phase != Phase::Done || job.phase == Phase::Done, "{before:?} {job:?}");
    let leased = |job: &Job| job.lease.as_ref().map(|lease| lease.number);
    assert!(job.lease_number >= before.lease_number, "{before:?} {job:?}");
    assert!(leased(job).is_none_or(|number| leased(before) == Some(number) || number > before.lease_number));
}

/// A schedule in JSON, and its times.
pub fn schedules(data: &[u8]) {
    let Ok(schedule) = serde_json::from_slice::<Schedule>(data) else { return };
    let Ok(calendar) = schedule.calendar("name") else { return };
    // As the table has it: what is written there is the same schedule.
    let text: ScheduleText = serde_json::from_slice(data).unwrap();
    let row = serde_json::to_vec(&text).unwrap();
    assert_eq!(serde_json::from_slice::<ScheduleText>(&row).unwrap(), text);
    // Half a year apart, so that both changes of the clocks are met, and leap days.
    for from in ["2026-03-28T23:00:00Z", "2026-10-24T23:00:00.5Z", "2027-12-31T23:59:59.999Z", "1969-12-31T23:00:00Z"] {
        check_times(&calendar, from.parse().unwrap());
    }
}

fn check_times(calendar: &Calendar, from: Timestamp) {
    let mut times = Vec::new();
    let mut at = from;
    while let Some(next) = calendar.next_after(at).filter(|_| times.len() < 4) {
        assert!(next > at, "{next} comes after {at}");
        times.push(next);
        at = next;
    }
    let Some(last) = times.last() else { return };
    assert_eq!(calendar.due_between(from, *last, 10), times, "looking back from {last} to {from}");
}
