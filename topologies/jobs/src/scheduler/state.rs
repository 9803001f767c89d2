//! Everything that is known, and the indexes that follow from it.
//!
//! A job changes only in [`State::change`], which compares where it stood in every index with where it stands
//! now. So the indexes are right whatever a change does.

use std::collections::BTreeSet;
use std::sync::Arc;

use foldhash::{HashMap, HashSet};
use headwater::schema::versioned;
use headwater_flow::{DeadLetter, DeadLetterCode, RawRecord, Timers};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::changes::Changes;
use super::queue::{GroupName, Ordered, Queue, Wakes};
use super::settings::SchedulerSettings;
use super::worker::{JobNo, QueueNo, Worker, WorkerNo};
use crate::model::{AttemptOutcome, Job, LeaseRow, Notification, Phase, QueueRow};

/// A larger result is not told to channels: whoever needs it asks for the job.
const LARGEST_TOLD: usize = 16 << 10;

/// A time in ms since the Unix epoch.
pub(super) fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(if ms < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

/// How a queue was told to work: a row of `queue-settings`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueTold {
    /// Whether no job of it is leased.
    pub paused: bool,
}

/// Everything that is known.
pub(super) struct State {
    pub(super) settings: SchedulerSettings,
    jobs: Vec<Option<Job>>,
    vacant: Vec<JobNo>,
    by_id: HashMap<Arc<str>, JobNo>,
    /// Blocked jobs by the parents that they wait for.
    children: HashMap<Arc<str>, Vec<Arc<str>>>,
    pub(super) queues: Vec<Queue>,
    queue_numbers: HashMap<Arc<str>, QueueNo>,
    pub(super) workers: Vec<Worker>,
    vacant_workers: Vec<WorkerNo>,
    worker_numbers: HashMap<Arc<str>, WorkerNo>,
    pub(super) alarms: Timers<JobNo>,
    pub(super) worker_alarms: Timers<WorkerNo>,
    pub(super) wakes: Wakes,
    /// Queues in which something may be leased that could not before.
    pub(super) stirred: BTreeSet<QueueNo>,
    pub(super) next_number: u64,
    /// How many jobs were given to workers.
    pub(super) given: u64,
    touched: Touched,
    /// By how many the jobs of each phase have changed.
    phases: [i64; Phase::ALL.len()],
    pub(super) out: Changes,
}

/// What is to be written at the end of a step.
#[derive(Debug, Default)]
struct Touched {
    jobs: HashSet<Arc<str>>,
    queues: HashSet<QueueNo>,
    leases: HashSet<(Arc<str>, u32)>,
}

/// Where a job stands in the indexes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    phase: Phase,
    waits: Option<(Ordered, i64)>,
    lease: Option<(Arc<str>, u32)>,
    /// Of a job that is done: how long it had waited, and ran.
    times: Option<(i64, i64)>,
}

impl State {
    pub(super) fn new(settings: SchedulerSettings) -> Self {
        Self {
            settings,
            jobs: Vec::new(),
            vacant: Vec::new(),
            by_id: HashMap::default(),
            children: HashMap::default(),
            queues: Vec::new(),
            queue_numbers: HashMap::default(),
            workers: Vec::new(),
            vacant_workers: Vec::new(),
            worker_numbers: HashMap::default(),
            alarms: Timers::default(),
            worker_alarms: Timers::default(),
            wakes: Timers::default(),
            stirred: BTreeSet::new(),
            next_number: 0,
            given: 0,
            touched: Touched::default(),
            phases: [0; Phase::ALL.len()],
            out: Changes::default(),
        }
    }

    pub(super) fn find(&self, id: &str) -> Option<JobNo> {
        self.by_id.get(id).copied()
    }

    /// NB: `no` is of a job that is there.
    pub(super) fn job(&self, no: JobNo) -> &Job {
        let job = self.jobs.get(no as usize).and_then(Option::as_ref);
        job.unwrap_or_else(|| unreachable!("job {no} is in an index and not there"))
    }

    pub(super) fn jobs(&self) -> impl Iterator<Item = (JobNo, &Job)> {
        (0..).zip(&self.jobs).filter_map(|(no, job)| Some((no, job.as_ref()?)))
    }

    /// Takes in a job.
    pub(super) fn insert(&mut self, job: Job, now: i64) -> JobNo {
        let no = self.vacant.pop().unwrap_or_else(|| {
            self.jobs.push(None);
            (self.jobs.len() - 1) as JobNo
        });
        self.by_id.insert(Arc::clone(&job.id), no);
        self.touched.jobs.insert(Arc::clone(&job.id));
        if job.phase == Phase::Blocked {
            let open: Vec<_> = job.parents.iter().filter(|parent| !self.is_settled(parent)).cloned().collect();
            for parent in open {
                self.children.entry(parent).or_default().push(Arc::clone(&job.id));
            }
        }
        let queue = self.queue_no(&job.queue);
        let (place, group) = (self.place(&job), job.group.clone());
        self.alarms.set(alarm(&job), no);
        self.jobs[no as usize] = Some(job);
        self.enter(no, queue, &group, &place, now);
        no
    }

    /// Lets a job leave.
    pub(super) fn remove(&mut self, no: JobNo, now: i64) {
        let place = self.place(self.job(no));
        let Some(job) = self.jobs.get_mut(no as usize).and_then(Option::take) else { return };
        let queue = self.queue_no(&job.queue);
        self.alarms.remove(alarm(&job), no);
        self.leave(queue, &job.group, &place, now);
        self.by_id.remove(&job.id);
        self.vacant.push(no);
        self.touched.jobs.insert(job.id);
    }

    /// Changes a job.
    pub(super) fn change(&mut self, no: JobNo, now: i64, change: impl FnOnce(&mut Job)) {
        let before = self.place(self.job(no));
        let Some(job) = self.jobs.get_mut(no as usize).and_then(Option::as_mut) else { return };
        let due = alarm(job);
        change(job);
        self.alarms.move_to(no, due, alarm(job));
        let (id, queue, group) = (Arc::clone(&job.id), Arc::clone(&job.queue), job.group.clone());
        let after = self.place(self.job(no));
        self.touched.jobs.insert(id);
        if let Some(lease) = after.lease.clone() {
            self.touched.leases.insert(lease);
        }
        if before != after {
            let queue = self.queue_no(&queue);
            self.leave(queue, &group, &before, now);
            self.enter(no, queue, &group, &after, now);
        }
    }

    fn place(&self, job: &Job) -> Place {
        let queue = self.queue_numbers.get(&job.queue).and_then(|no| self.queues.get(*no as usize));
        let ageing = queue.map_or(0, |queue| queue.limits.ageing_ms);
        let ready = job.ready_at.as_millisecond();
        let ordered = Ordered {
            order_ms: ready.saturating_sub(i64::from(job.priority).saturating_mul(ageing)),
            number: job.number,
        };
        let last = job.runs.last().filter(|run| run.outcome == AttemptOutcome::Done);
        let ran = |run: &crate::model::Attempt| run.ended.as_millisecond() - run.began.as_millisecond();
        Place {
            phase: job.phase,
            waits: (job.phase == Phase::Waiting).then_some((ordered, ready)),
            lease: job.lease.as_ref().map(|lease| (Arc::clone(&lease.worker), lease.slot)),
            times: last.filter(|_| job.phase == Phase::Done).map(|run| (run.waited_ms, ran(run))),
        }
    }

    fn enter(&mut self, no: JobNo, queue_no: QueueNo, group: &GroupName, place: &Place, now: i64) {
        let worker = place.lease.as_ref().map(|(worker, slot)| (self.worker_no(worker), *slot));
        let queue = &mut self.queues[queue_no as usize];
        queue.counts[place.phase as usize] += 1;
        self.phases[place.phase as usize] += 1;
        if let Some((ordered, since)) = place.waits {
            queue.wait(group, ordered, no);
            queue.waiting_since.insert((since, ordered.number));
        }
        if let Some((waited, ran)) = place.times {
            queue.waits.add(waited);
            queue.runs.add(ran);
        }
        if let Some((worker, slot)) = worker {
            queue.lease_begins(group);
            self.set_slot(worker, slot, Some(no));
        }
        self.stir(queue_no, group, now);
    }

    fn leave(&mut self, queue_no: QueueNo, group: &GroupName, place: &Place, now: i64) {
        let worker = place.lease.as_ref().map(|(worker, slot)| (self.worker_no(worker), *slot));
        let queue = &mut self.queues[queue_no as usize];
        queue.counts[place.phase as usize] -= 1;
        self.phases[place.phase as usize] -= 1;
        if let Some((ordered, since)) = place.waits {
            queue.wait_no_more(group, ordered);
            queue.waiting_since.remove(&(since, ordered.number));
        }
        if let Some((waited, ran)) = place.times {
            queue.waits.remove(waited);
            queue.runs.remove(ran);
        }
        if let Some((worker, slot)) = worker {
            queue.lease_ends(group);
            self.set_slot(worker, slot, None);
        }
        self.stir(queue_no, group, now);
    }

    /// Something may be leased now that could not before.
    pub(super) fn stir(&mut self, queue_no: QueueNo, group: &GroupName, now: i64) {
        if let Some(wake) = self.queues[queue_no as usize].settle(group, now) {
            self.wakes.set(wake, (queue_no, Some(group.clone())));
        }
        self.stirred.insert(queue_no);
        self.touched.queues.insert(queue_no);
    }

    fn set_slot(&mut self, worker_no: WorkerNo, slot: u32, job: Option<JobNo>) {
        let worker = &mut self.workers[worker_no as usize];
        match job {
            Some(job) => worker.take(slot, job),
            None => worker.vacate(slot),
        }
        self.touched.leases.insert((Arc::clone(&worker.name), slot));
        self.settle_worker(worker_no);
    }

    /// Lets a worker stand among the free ones of its queues, or not, as it is now.
    pub(super) fn settle_worker(&mut self, worker_no: WorkerNo) {
        let Self { workers, queues, stirred, .. } = self;
        let worker = &workers[worker_no as usize];
        for queue_no in &worker.queues {
            let queue = &mut queues[*queue_no as usize];
            if worker.is_free() {
                queue.free.insert((worker.given, worker_no));
                stirred.insert(*queue_no);
            } else {
                queue.free.remove(&(worker.given, worker_no));
            }
        }
        if worker.is_gone() && self.worker_numbers.get(&worker.name) == Some(&worker_no) {
            self.worker_alarms.remove(worker.until, worker_no);
            self.worker_numbers.remove(&worker.name);
            self.vacant_workers.push(worker_no);
        }
    }

    /// Changes what a worker takes.
    pub(super) fn change_worker(&mut self, worker_no: WorkerNo, change: impl FnOnce(&mut Worker)) {
        let Self { workers, queues, .. } = self;
        let worker = &mut workers[worker_no as usize];
        for queue_no in &worker.queues {
            queues[*queue_no as usize].free.remove(&(worker.given, worker_no));
        }
        let before = worker.until;
        change(worker);
        let after = worker.until;
        self.worker_alarms.move_to(worker_no, before, after);
        self.settle_worker(worker_no);
    }

    pub(super) fn worker_no(&mut self, name: &Arc<str>) -> WorkerNo {
        if let Some(no) = self.worker_numbers.get(name) {
            return *no;
        }
        self.given += 1;
        let worker = Worker::new(Arc::clone(name), self.given);
        let no = match self.vacant_workers.pop() {
            Some(no) => {
                self.workers[no as usize] = worker;
                no
            }
            None => {
                self.workers.push(worker);
                (self.workers.len() - 1) as WorkerNo
            }
        };
        self.worker_numbers.insert(Arc::clone(name), no);
        no
    }

    pub(super) fn queue_no(&mut self, name: &Arc<str>) -> QueueNo {
        if let Some(no) = self.queue_numbers.get(name) {
            return *no;
        }
        let no = self.queues.len() as QueueNo;
        self.queues.push(Queue::new(Arc::clone(name), self.settings.queue_limits(name)));
        self.queue_numbers.insert(Arc::clone(name), no);
        no
    }

    /// Pauses a queue, or lets it go on.
    pub(super) fn pause(&mut self, queue_no: QueueNo, paused: bool) {
        let queue = &mut self.queues[queue_no as usize];
        queue.paused = paused;
        let row = (Arc::clone(&queue.name), paused.then(|| versioned(&QueueTold { paused })));
        self.out.settings.retain(|(name, _)| *name != row.0);
        self.out.settings.push(row);
        self.stirred.insert(queue_no);
        self.touched.queues.insert(queue_no);
    }

    pub(super) fn is_settled(&self, id: &str) -> bool {
        self.find(id).is_some_and(|no| self.job(no).phase.is_settled())
    }

    /// Whether a worker has a job.
    pub(super) fn has_leases(&self) -> bool {
        self.queues.iter().any(|queue| queue.count(Phase::Leased) > 0)
    }

    /// After a restart, rates are as if all leases that are known had been given by this process.
    pub(super) fn remember_leases(&mut self) {
        let rated = |queue: &Queue| queue.limits.pace.is_some() || queue.limits.group_pace.is_some();
        if !self.queues.iter().any(rated) {
            return;
        }
        let mut leases: Vec<(i64, Arc<str>, GroupName)> = Vec::new();
        for (_, job) in self.jobs() {
            let began = job.runs.iter().map(|run| run.began).chain(job.lease.as_ref().map(|lease| lease.since));
            leases.extend(began.map(|began| (began.as_millisecond(), Arc::clone(&job.queue), job.group.clone())));
        }
        leases.sort_unstable();
        for (since, queue, group) in leases {
            let queue_no = self.queue_no(&queue);
            self.queues[queue_no as usize].remember_lease(&group, since);
            self.stir(queue_no, &group, since);
        }
    }

    /// Takes out the blocked jobs that wait for a parent.
    pub(super) fn take_children(&mut self, parent: &str) -> Vec<JobNo> {
        let children = self.children.remove(parent).unwrap_or_default();
        children.iter().filter_map(|child| self.find(child)).collect()
    }

    pub(super) fn letter(&mut self, record: RawRecord, code: DeadLetterCode, reason: String) {
        self.out.letters.push(DeadLetter::of(record, code, reason));
    }

    /// What a settled job tells its channels.
    pub(super) fn tell(&mut self, no: JobNo, now: i64) {
        let job = self.job(no);
        let notification = |channel: &Arc<str>| Notification {
            channel: Arc::clone(channel),
            at: at(now),
            job: Some(Arc::clone(&job.id)),
            phase: Some(job.phase),
            body: job.result.clone().filter(|result| result.get().len() <= LARGEST_TOLD),
        };
        let told: Vec<_> = job.notify.iter().map(notification).collect();
        self.out.notifications.extend(told);
    }

    /// What was restored is written already.
    pub(super) fn keep_written_jobs(&mut self) {
        self.touched.jobs.clear();
    }

    /// What has changed since the last time, in the order of keys.
    pub(super) fn take_changes(&mut self) -> Changes {
        let touched = std::mem::take(&mut self.touched);
        let phases = std::mem::take(&mut self.phases);
        let mut changes = std::mem::take(&mut self.out);
        let row = |id: Arc<str>| {
            let row = self.find(&id).map(|no| versioned(self.job(no)));
            (id, row)
        };
        changes.jobs = touched.jobs.into_iter().map(row).collect();
        changes.leases = touched.leases.into_iter().map(|(worker, slot)| self.lease_row(&worker, slot)).collect();
        changes.queues = touched.queues.into_iter().map(|no| self.queue_row(no)).collect();
        changes.phases = Phase::ALL.into_iter().zip(phases).filter(|(_, diff)| *diff != 0).collect();
        changes.jobs.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        changes.leases.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        changes.queues.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        changes
    }

    fn lease_row(&self, worker: &Arc<str>, slot: u32) -> (String, Option<bytes::Bytes>) {
        let key = format!("{worker}/{slot}");
        let known = self.worker_numbers.get(worker).and_then(|no| self.workers.get(*no as usize));
        let job = known.and_then(|worker| worker.job(slot)).map(|no| self.job(no));
        let row = job.and_then(|job| {
            let lease = job.lease.as_ref()?;
            Some(versioned(&LeaseRow {
                worker: Arc::clone(worker),
                slot,
                job: Arc::clone(&job.id),
                queue: Arc::clone(&job.queue),
                lease: lease.number,
                attempt: job.attempt,
                until: lease.until,
                payload: job.payload.clone(),
            }))
        });
        (key, row)
    }

    fn queue_row(&self, no: QueueNo) -> (Arc<str>, Option<bytes::Bytes>) {
        let queue = &self.queues[no as usize];
        let counts = Phase::ALL.into_iter().map(|phase| (phase, queue.count(phase)));
        let row = (!queue.is_empty()).then(|| {
            versioned(&QueueRow {
                queue: Arc::clone(&queue.name),
                paused: queue.paused,
                counts: counts.filter(|(_, count)| *count > 0).collect(),
                oldest_waiting: queue.waiting_since.first().map(|(since, _)| at(*since)),
                wait_ms: queue.waits.quantiles(),
                run_ms: queue.runs.quantiles(),
            })
        });
        (Arc::clone(&queue.name), row)
    }
}

/// When something happens to a job by itself, in ms.
fn alarm(job: &Job) -> i64 {
    let never = Timers::<JobNo>::NEVER;
    let ready = job.ready_at.as_millisecond();
    match job.phase {
        Phase::Blocked => never,
        Phase::Delayed | Phase::Failed => ready,
        Phase::Waiting => match job.limits.start_within_ms {
            Some(within) if job.attempt == 0 => ready.saturating_add(within),
            _ => never,
        },
        Phase::Leased => job.lease.as_ref().map_or(never, |lease| {
            let finish = job.limits.finish_within_ms.map(|within| lease.since.as_millisecond().saturating_add(within));
            lease.until.as_millisecond().min(finish.unwrap_or(never))
        }),
        Phase::Done | Phase::Dead | Phase::Cancelled => {
            let leaves = job.settled.map(|settled| settled.leaves_at);
            leaves.filter(|leaves| *leaves != Timestamp::MAX).map_or(never, Timestamp::as_millisecond)
        }
    }
}
