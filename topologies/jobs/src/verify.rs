//! Whether what is on the log is what may be there: the invariants, checked over the whole log.
//!
//! It shares no code with the scheduler but the settings. It reads what was asked for (`job-commands`), what became of it (`jobs`), and
//! every attempt (`job-runs`), and checks that
//!
//! 1. no job is lost: each that was submitted is there, or has left after it was settled;
//! 2. a job has one lease at a time, each with a higher number than the one before, and `job-leases` has just these;
//! 3. a job is done at most once, and nothing happens to it afterwards;
//! 4. within a queue and a group, the job that is first in order is leased first.
//!
//! Beside a running engine it looks at what was committed when it began. What retention has removed cannot be checked: it
//! says nothing of jobs that have left, and of submits and attempts that are older than what is kept of their traces.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use headwater::dataflow::epoch_of;
use headwater::engine::recovery::{last_progress_record, progress_of};
use headwater::log::{Log, LogError, LogRecord, read_to_end};
use headwater::schema::read_json;
use headwater::words::grouped;
use serde::{Deserialize, Serialize};

use crate::model::{AttemptOutcome, Job, LeaseRow, Phase, RunFact};
use crate::scheduler::SchedulerSettings;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Jobs that were submitted, each once.
    pub submitted: u64,
    /// Submits of jobs that were there.
    pub repeated: u64,
    /// Jobs by phase, now.
    pub phases: BTreeMap<Phase, u64>,
    /// Jobs that have left.
    pub left: u64,
    /// Attempts that have ended, by how.
    pub attempts: BTreeMap<AttemptOutcome, u64>,
    /// Reports that came too late, and were refused.
    pub stale: u64,
    /// Dead letters of other kinds.
    pub letters: u64,
    /// What may not be.
    pub violations: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phases = self.phases.iter().map(|(phase, count)| format!("{} {}", grouped(*count), phase.name()));
        let left = (self.left > 0).then(|| format!("{} left", grouped(self.left)));
        let phases: Vec<String> = phases.chain(left).collect();
        let all = self.phases.values().sum::<u64>() + self.left;
        let submitted = grouped(self.submitted);
        writeln!(f, "{} jobs, {submitted} of them submitted by commands: {}", grouped(all), phases.join(", "))?;
        let attempts = grouped(self.attempts.values().sum());
        writeln!(f, "{attempts} attempts; {} late reports were refused", grouped(self.stale))?;
        if self.violations.is_empty() {
            return f.write_str("no job is lost, doubled, leased twice at once, or leased out of order");
        }
        let wrong: Vec<String> = self.violations.iter().map(|violation| format!("wrong: {violation}")).collect();
        f.write_str(&wrong.join("\n"))
    }
}

/// So many violations are told.
const MOST_VIOLATIONS: usize = 100;

/// A queue and a group of it.
type GroupOf = (Arc<str>, Option<Arc<str>>);

/// What was read.
#[derive(Default)]
struct Seen {
    submits: HashMap<String, u64>,
    refused: BTreeSet<(String, i32, i64)>,
    jobs: HashMap<Arc<str>, Option<Job>>,
    runs: HashMap<Arc<str>, Vec<RunFact>>,
    leases: BTreeMap<String, LeaseRow>,
    /// Jobs that have changed since the epoch that is looked at.
    moved: BTreeSet<Arc<str>>,
    /// Jobs that have left at least once: another one may have their id.
    left: BTreeSet<Arc<str>>,
    /// The last epoch that is looked at.
    until: u64,
    /// How far commands were read by then.
    positions: Option<BTreeMap<(String, i32), i64>>,
    report: Report,
}

#[derive(Deserialize)]
struct Submitted {
    #[serde(rename = "type")]
    kind: String,
    id: Option<String>,
}

/// A job that has left is told by its tombstone for so long at least, in ms: half a day.
const TOMBSTONES_STAY_MS: i64 = 43_200_000;

/// Reads the topics that begin with `prefix`, and checks them by the settings of the scheduler.
///
/// # Errors
/// When the log cannot be read.
pub fn verify(log: &dyn Log, prefix: &str, settings: &SchedulerSettings) -> Result<Report, LogError> {
    let topic = |name: &str| format!("{prefix}{name}");
    let mut seen = Seen::default();
    let progress = last_progress_record(log, &topic("progress"))?.as_ref().and_then(progress_of);
    // Without one, nothing moves on meanwhile.
    seen.until = u64::MAX;
    if let Some(Ok(progress)) = progress {
        seen.until = progress.epoch;
        let next = progress.positions.iter().map(|at| ((at.topic.to_string(), at.partition), at.next));
        seen.positions = Some(next.collect());
    }
    read_to_end(log, &topic("dead-letters"), |record| seen.letter(&record))?;
    read_to_end(log, &topic("job-runs"), |record| seen.run(&record))?;
    read_to_end(log, &topic("jobs"), |record| seen.job(record))?;
    read_to_end(log, &topic("job-leases"), |record| seen.lease(&record))?;
    read_to_end(log, &topic("job-commands"), |record| seen.command(record))?;
    Ok(seen.check(settings))
}

impl Seen {
    fn violated(&mut self, what: String) {
        match self.report.violations.len() {
            MOST_VIOLATIONS => self.report.violations.push("and more".to_owned()),
            more if more > MOST_VIOLATIONS => {}
            _ => self.report.violations.push(what),
        }
    }

    /// Whether a record was committed after the epoch that is looked at.
    fn is_later(&self, record: &LogRecord) -> bool {
        epoch_of(record).is_some_and(|epoch| epoch > self.until)
    }

    fn letter(&mut self, record: &LogRecord) -> Result<(), LogError> {
        if self.is_later(record) {
            return Ok(());
        }
        let text = |name: &str| {
            let value = record.header(&format!("dead-letter-{name}"));
            value.map(|value| String::from_utf8_lossy(value).into_owned())
        };
        let number = |name: &str| text(name).and_then(|value| value.parse::<i64>().ok());
        if text("code").as_deref() == Some("stale-lease") {
            self.report.stale += 1;
        } else {
            self.report.letters += 1;
        }
        if let (Some(topic), Some(partition), Some(offset)) = (text("topic"), number("partition"), number("offset")) {
            self.refused.insert((topic, partition as i32, offset));
        }
        Ok(())
    }

    fn run(&mut self, record: &LogRecord) -> Result<(), LogError> {
        if self.is_later(record) {
            return Ok(());
        }
        match read_json::<RunFact>(record.value.as_deref().unwrap_or_default()) {
            Ok(fact) => self.runs.entry(Arc::clone(&fact.job)).or_default().push(fact),
            Err(error) => self.violated(format!("job-runs {}/{}: {error}", record.partition, record.offset)),
        }
        Ok(())
    }

    fn job(&mut self, record: LogRecord) -> Result<(), LogError> {
        let id = String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned();
        if self.is_later(&record) {
            self.moved.insert(id.into());
            return Ok(());
        }
        let job = record.value.as_deref().map(read_json::<Job>).transpose();
        match job {
            Ok(job) => {
                self.check_step(&id, job.as_ref());
                if job.is_none() {
                    self.left.insert(id.as_str().into());
                }
                self.jobs.insert(id.into(), job);
            }
            Err(error) => self.violated(format!("jobs {}/{}: {error}", record.partition, record.offset)),
        }
        Ok(())
    }

    fn lease(&mut self, record: &LogRecord) -> Result<(), LogError> {
        if self.is_later(record) {
            return Ok(());
        }
        let key = String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned();
        match record.value.as_deref().map(read_json::<LeaseRow>).transpose() {
            Ok(Some(row)) => drop(self.leases.insert(key, row)),
            Ok(None) => drop(self.leases.remove(&key)),
            Err(error) => self.violated(format!("job-leases {}/{}: {error}", record.partition, record.offset)),
        }
        Ok(())
    }

    /// From one version of a job to the next.
    fn check_step(&mut self, id: &str, now: Option<&Job>) {
        let Some(Some(before)) = self.jobs.get(id) else { return };
        let wrong = match now {
            None if !before.phase.is_settled() => {
                Some(format!("job {id} has left while it was {}", before.phase.name()))
            }
            Some(now) if before.phase == Phase::Done => Some(format!("job {id} was done, and is {}", now.phase.name())),
            Some(now) if now.lease_number < before.lease_number => Some(format!("job {id}: its lease numbers go back")),
            Some(now) if now.lease_number == before.lease_number && before.lease.is_none() && now.lease.is_some() => {
                Some(format!("job {id} has lease {} again", now.lease_number))
            }
            _ => None,
        };
        if let Some(wrong) = wrong {
            self.violated(wrong);
        }
    }

    fn command(&mut self, record: LogRecord) -> Result<(), LogError> {
        let refused = self.refused.contains(&(record.topic.to_string(), record.partition, record.offset));
        let at = (record.topic.to_string(), record.partition);
        let is_read =
            self.positions.as_ref().is_none_or(|next| next.get(&at).is_some_and(|next| record.offset < *next));
        // What has left since then may have left without a trace.
        let is_old = self.positions.is_some() && record.timestamp_ms < self.until as i64 - TOMBSTONES_STAY_MS;
        if !is_read || is_old {
            return Ok(());
        }
        let submitted = record.value.as_deref().and_then(|value| serde_json::from_slice::<Submitted>(value).ok());
        let Some(submitted) = submitted.filter(|submitted| submitted.kind == "submit" && !refused) else {
            return Ok(());
        };
        let key = || record.key.as_deref().map(|key| String::from_utf8_lossy(key).into_owned());
        if let Some(id) = submitted.id.or_else(key) {
            *self.submits.entry(id).or_default() += 1;
        }
        Ok(())
    }

    fn check(mut self, settings: &SchedulerSettings) -> Report {
        self.check_submits();
        // What is known of jobs that moved on is of two times.
        let moved = std::mem::take(&mut self.moved);
        self.jobs.retain(|id, _| !moved.contains(id));
        self.leases.retain(|_, row| !moved.contains(&row.job));
        self.check_runs();
        self.check_leases();
        self.check_order(settings);
        for job in self.jobs.values() {
            match job {
                Some(job) => *self.report.phases.entry(job.phase).or_default() += 1,
                None => self.report.left += 1,
            }
        }
        self.report
    }

    fn check_submits(&mut self) {
        self.report.submitted = self.submits.len() as u64;
        self.report.repeated = self.submits.values().map(|count| count - 1).sum();
        let known = |id: &str| self.jobs.contains_key(id) || self.moved.contains(id);
        let mut lost: Vec<_> = self.submits.keys().filter(|id| !known(id.as_str())).cloned().collect();
        lost.sort_unstable();
        lost.into_iter().for_each(|id| self.violated(format!("job {id} was submitted and is not there")));
    }

    fn check_runs(&mut self) {
        let mut wrong = Vec::new();
        for (id, runs) in &mut self.runs {
            runs.sort_by_key(|fact| fact.run.lease);
            for fact in &*runs {
                *self.report.attempts.entry(fact.run.outcome).or_default() += 1;
            }
            for pair in runs.windows(2) {
                let [one, next] = pair else { continue };
                if next.run.lease <= one.run.lease {
                    wrong.push(format!("job {id}: lease {} follows {}", next.run.lease, one.run.lease));
                }
                if next.run.began < one.run.ended {
                    wrong.push(format!("job {id}: leases {} and {} overlap", one.run.lease, next.run.lease));
                }
                if one.run.outcome == AttemptOutcome::Done && !self.left.contains(id) {
                    wrong.push(format!("job {id} was done, and leased again"));
                }
            }
            let Some(Some(job)) = self.jobs.get(id).filter(|_| !self.left.contains(id)) else { continue };
            let done = runs.iter().filter(|fact| fact.run.outcome == AttemptOutcome::Done).count();
            if (job.phase == Phase::Done) != (done == 1) || done > 1 {
                wrong.push(format!("job {id} is {} and was done {done} times", job.phase.name()));
            }
            let last = runs.last().map(|fact| (fact.run.lease, fact.run.ended));
            let held = job.lease.as_ref().map(|lease| (lease.number, lease.since));
            match (last, held) {
                (Some((ended, at)), Some((number, since))) if number <= ended || since < at => {
                    wrong.push(format!("job {id}: lease {number} is held, and {ended} has ended"));
                }
                (Some((ended, _)), None) if ended != job.lease_number => {
                    wrong.push(format!("job {id}: lease {} has no end", job.lease_number));
                }
                _ => {}
            }
        }
        wrong.sort_unstable();
        wrong.into_iter().for_each(|wrong| self.violated(wrong));
        let done_without: Vec<_> = self
            .jobs
            .iter()
            .filter(|(id, job)| {
                job.as_ref().is_some_and(|job| job.phase == Phase::Done) && !self.runs.contains_key(*id)
            })
            .map(|(id, _)| id.to_string())
            .collect();
        done_without.into_iter().for_each(|id| self.violated(format!("job {id} is done without an attempt")));
    }

    /// The slots of workers have just the leases that jobs have.
    fn check_leases(&mut self) {
        let leases = std::mem::take(&mut self.leases);
        let mut wrong = Vec::new();
        for (id, job) in &self.jobs {
            let Some(lease) = job.as_ref().and_then(|job| job.lease.as_ref()) else { continue };
            let row = leases.get(&format!("{}/{}", lease.worker, lease.slot));
            if row.is_none_or(|row| row.job != *id || row.lease != lease.number) {
                wrong.push(format!("job {id}: the slot {}/{} does not have its lease", lease.worker, lease.slot));
            }
        }
        for (slot, row) in &leases {
            let job = self.jobs.get(&row.job).and_then(Option::as_ref);
            if job.and_then(|job| job.lease.as_ref()).is_none_or(|lease| lease.number != row.lease) {
                wrong.push(format!("slot {slot} has lease {} of job {}, which has not", row.lease, row.job));
            }
        }
        wrong.sort_unstable();
        wrong.into_iter().for_each(|wrong| self.violated(wrong));
    }

    /// A job that waited when another of its queue and group was leased was not before it in order.
    fn check_order(&mut self, settings: &SchedulerSettings) {
        let mut groups: BTreeMap<GroupOf, Vec<Wait>> = BTreeMap::new();
        for (id, job) in &self.jobs {
            let Some(job) = job else { continue };
            // Attempts of a job that had its id before are not told apart.
            if self.left.contains(id) {
                continue;
            }
            let head_start = i64::from(job.priority).saturating_mul(settings.ageing_ms(&job.queue));
            let waits = groups.entry((Arc::clone(&job.queue), job.group.clone())).or_default();
            let mut free = i64::MIN;
            for fact in self.runs.get(id).into_iter().flatten() {
                let began = fact.run.began.as_millisecond();
                let ready = began - fact.run.waited_ms;
                let from = ready.max(free);
                waits.push(Wait { order: (ready - head_start, job.number), from, until: began, id: Arc::clone(id) });
                free = fact.run.ended.as_millisecond();
            }
            let ready = job.ready_at.as_millisecond();
            let open = match (job.phase, &job.lease) {
                (Phase::Waiting, _) => Some(i64::MAX),
                (_, Some(lease)) => Some(lease.since.as_millisecond()),
                _ => None,
            };
            let order = (ready - head_start, job.number);
            waits.extend(open.map(|until| Wait { order, from: ready.max(free), until, id: Arc::clone(id) }));
        }
        for ((queue, _), waits) in groups {
            for (first, second) in overtaken(waits) {
                self.violated(format!("queue {queue}: {second} was leased before {first}, which waited and is first"));
            }
        }
    }
}

/// A job waits from when to when, and is leased then.
struct Wait {
    order: (i64, u64),
    from: i64,
    until: i64,
    id: Arc<str>,
}

/// Jobs that waited when one after them in order was leased, and which.
fn overtaken(mut waits: Vec<Wait>) -> Vec<(Arc<str>, Arc<str>)> {
    let mut found = Vec::new();
    waits.sort_by_key(|wait| wait.from);
    let mut leases: Vec<usize> = (0..waits.len()).filter(|at| waits[*at].until < i64::MAX).collect();
    leases.sort_by_key(|at| waits[*at].until);
    // Those that wait, by order.
    let mut waiting: BTreeMap<((i64, u64), i64), usize> = BTreeMap::new();
    let mut come = 0;
    for together in leases.chunk_by(|one, other| waits[*one].until == waits[*other].until) {
        let now = waits[together[0]].until;
        while waits.get(come).is_some_and(|wait| wait.from <= now) {
            waiting.insert((waits[come].order, waits[come].from), come);
            come += 1;
        }
        for at in together {
            waiting.remove(&(waits[*at].order, waits[*at].from));
        }
        let last = together.iter().max_by_key(|at| waits[**at].order);
        let first = waiting.first_key_value().map(|(_, at)| *at);
        if let (Some(last), Some(first)) = (last, first)
            && waits[first].order < waits[*last].order
        {
            found.push((Arc::clone(&waits[first].id), Arc::clone(&waits[*last].id)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(id: &str, order: i64, from: i64, until: i64) -> Wait {
        Wait { order: (order, 0), from, until, id: id.into() }
    }

    #[test]
    fn who_was_overtaken_is_found() {
        let names = |waits| -> Vec<(String, String)> {
            overtaken(waits).into_iter().map(|(first, second)| (first.to_string(), second.to_string())).collect()
        };
        assert!(names(vec![wait("a", 0, 0, 5), wait("b", 1, 1, 5), wait("c", 2, 2, 9)]).is_empty());
        // One that came with a head start after the other was leased has overtaken nobody.
        assert!(names(vec![wait("a", 5, 5, 6), wait("b", 1, 7, 8)]).is_empty());
        let wrong = names(vec![wait("a", 0, 0, 9), wait("b", 1, 1, 5)]);
        assert_eq!(wrong, [("a".to_owned(), "b".to_owned())]);
        let never = names(vec![wait("a", 0, 0, i64::MAX), wait("b", 1, 1, 5)]);
        assert_eq!(never.len(), 1);
    }
}
