//! The scheduler alone: what a decision costs, and what a job that waits holds of memory.

use std::time::Instant;

use headwater::telemetry::resident_bytes;
use headwater::words::grouped;
use headwater_flow::{Origin, RawRecord};
use serde::Serialize;

use crate::model::{AttemptOutcome, Command};
use crate::scheduler::{Input, Scheduler, SchedulerSettings, lease_number};

/// Jobs of a step.
const STEP: u64 = 100;

/// The time of the first step, in ms since the Unix epoch.
const BEGIN_MS: i64 = 1_796_000_000_000;

/// What was measured.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SchedulerReport {
    /// Jobs that were submitted, leased and done.
    pub jobs: u64,
    /// How long that took, in seconds, with reading commands and writing rows.
    pub seconds: f64,
    /// Jobs that waited all the time.
    pub waiting: u64,
    /// Memory that they hold, in bytes each.
    pub bytes_a_waiting_job: Option<u64>,
}

impl SchedulerReport {
    pub(super) fn print(&self, json: bool) {
        if json {
            println!("{}", serde_json::to_string(self).unwrap_or_default());
            return;
        }
        let rate = self.jobs as f64 / self.seconds.max(f64::EPSILON);
        println!("{} jobs in {:.2} s: {} a second", grouped(self.jobs), self.seconds, grouped(rate as u64));
        if let Some(bytes) = self.bytes_a_waiting_job {
            println!("{} jobs wait: {} bytes each", grouped(self.waiting), grouped(bytes));
        }
    }
}

/// Submits, leases and completes `jobs` jobs beside `waiting` others of a queue without workers.
pub(super) fn measure(jobs: u64, waiting: u64) -> SchedulerReport {
    let mut bench =
        Bench { scheduler: Scheduler::new(SchedulerSettings::default()), now: BEGIN_MS, offset: 0, done: 0 };
    let before = resident_bytes();
    for first in (0..waiting).step_by(STEP as usize) {
        let until = waiting.min(first + STEP);
        bench.step((first..until).map(|n| submit("waiting", &format!("waiting-{n}"))).collect());
    }
    let held = before.zip(resident_bytes()).map(|(before, after)| after.saturating_sub(before));
    bench.step(vec![format!(r#"{{"type":"hello","worker":"w","queues":["bench"],"slots":{STEP},"for":"1 day"}}"#)]);
    let begun = Instant::now();
    for first in (0..jobs).step_by(STEP as usize) {
        let until = jobs.min(first + STEP);
        let id = |n: u64| format!("job-{n}");
        bench.step((first..until).map(|n| submit("bench", &id(n))).collect());
        let lease = lease_number(0, bench.now);
        let complete = |n| format!(r#"{{"type":"complete","id":"{}","lease":{lease},"result":{{"sum":{n}}}}}"#, id(n));
        bench.step((first..until).map(complete).collect());
    }
    SchedulerReport {
        jobs: bench.done,
        seconds: begun.elapsed().as_secs_f64(),
        waiting,
        bytes_a_waiting_job: held.filter(|_| waiting > 0).map(|held| held / waiting),
    }
}

/// A job of usual size.
pub(super) fn submit(queue: &str, id: &str) -> String {
    format!(
        r#"{{"type":"submit","id":"{id}","queue":"{queue}","kind":"mail","group":"tenant-{}","payload":{{"to":"kim@example.org","subject":"Your tickets for Friday","template":"tickets"}}}}"#,
        xxhash_rust::xxh3::xxh3_64(id.as_bytes()) % 7
    )
}

struct Bench {
    scheduler: Scheduler,
    now: i64,
    offset: i64,
    /// Jobs that were done.
    done: u64,
}

impl Bench {
    fn step(&mut self, commands: Vec<String>) {
        self.now += 25;
        let commands = commands.into_iter().filter_map(|command| {
            self.offset += 1;
            let origin = Origin {
                topic: "job-commands".into(),
                partition: 0,
                offset: self.offset,
                timestamp_ms: self.now,
                order_ms: self.now,
            };
            let record = RawRecord { origin, value: Some(command.into_bytes()), ..RawRecord::default() };
            Some((Command::read(&record).ok()?, record))
        });
        let input = Input { commands: commands.collect(), ..Input::default() };
        let changes = self.scheduler.step(self.now, input);
        self.done += changes.runs.iter().filter(|fact| fact.run.outcome == AttemptOutcome::Done).count() as u64;
        std::hint::black_box(changes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_jobs_are_done_and_others_wait() {
        let report = measure(250, 1_000);
        assert_eq!((report.jobs, report.waiting), (250, 1_000));
    }
}
