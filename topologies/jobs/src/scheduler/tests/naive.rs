//! A scheduler that keeps nothing but a list of jobs, and looks at all of them for each decision.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::life::pause;
use super::super::rate::Pace;
use super::super::settings::SchedulerSettings;
use super::{Seen, read};
use crate::model::{Command, Limits, Outcome, Submit};

#[derive(Clone)]
struct NaiveJob {
    id: String,
    queue: String,
    group: Option<String>,
    priority: i64,
    number: u64,
    phase: &'static str,
    ready: i64,
    attempt: u32,
    limits: Limits,
    /// Parents that have not been settled.
    open: Vec<String>,
    runs_on_failure: bool,
    leases: u32,
    /// Number, worker, slot, since, until.
    lease: Option<(u32, String, u32, i64, i64)>,
    cancelling: bool,
    error: Option<String>,
    /// The leases that have ended, and how.
    runs: Vec<(u32, &'static str)>,
    leaves: i64,
}

struct NaiveWorker {
    queues: Vec<String>,
    slots: u32,
    until: i64,
    given: u64,
    heard: i64,
}

pub(super) struct Naive {
    settings: SchedulerSettings,
    jobs: Vec<NaiveJob>,
    workers: BTreeMap<String, NaiveWorker>,
    /// In the order in which they were first named.
    queues: Vec<String>,
    paused: BTreeMap<String, bool>,
    /// Groups that may be given a lease, in line.
    line: Vec<(String, Option<String>)>,
    /// When queues were served last.
    served: BTreeMap<String, u64>,
    /// When leases were given, of queues and of groups.
    leased: Vec<(i64, String, Option<String>)>,
    number: u64,
    given: u64,
    letters: Vec<&'static str>,
}

const SETTLED: [&str; 3] = ["done", "dead", "cancelled"];

impl Naive {
    pub(super) fn new(settings: SchedulerSettings) -> Self {
        Self {
            settings,
            jobs: Vec::new(),
            workers: BTreeMap::new(),
            queues: Vec::new(),
            paused: BTreeMap::new(),
            line: Vec::new(),
            served: BTreeMap::new(),
            leased: Vec::new(),
            number: 0,
            given: 0,
            letters: Vec::new(),
        }
    }

    pub(super) fn seen(&self, epoch: i64) -> BTreeMap<String, Seen> {
        let seen = |job: &NaiveJob| {
            let lease = job.lease.clone();
            let seen = Seen {
                phase: job.phase,
                attempt: job.attempt,
                ready: job.ready - epoch,
                lease: lease.map(|(number, worker, slot, _, until)| (number, worker, slot, until - epoch)),
                cancelling: job.cancelling,
                error: job.error.clone(),
                runs: job.runs.len(),
            };
            (job.id.clone(), seen)
        };
        self.jobs.iter().map(seen).collect()
    }

    pub(super) fn step(&mut self, now: i64, commands: &[Value]) -> Vec<&'static str> {
        self.let_groups_stand(now);
        for command in commands {
            self.follow(read(command, 0, now).0, now);
            self.forget_workers();
            self.let_groups_stand(now);
        }
        self.workers.values_mut().filter(|worker| worker.until <= now).for_each(|worker| worker.slots = 0);
        self.forget_workers();
        while self.one_comes_due(now) {
            self.forget_workers();
            self.let_groups_stand(now);
        }
        self.dispatch(now);
        self.forget_queues(now);
        std::mem::take(&mut self.letters)
    }

    /// A queue that nobody names and that has no jobs is forgotten, once its rates hold nothing back.
    fn forget_queues(&mut self, now: i64) {
        let is_forgotten = |queue: &String| {
            let limits = self.settings.queue_limits(queue);
            let given = |group: Option<&Option<String>>| {
                let of = |lease: &&(i64, String, Option<String>)| {
                    lease.1 == *queue && group.is_none_or(|group| lease.2 == *group)
                };
                self.leased.iter().filter(of).map(|lease| lease.0).collect::<Vec<_>>()
            };
            let mut groups = self.leased.iter().filter(|lease| lease.1 == *queue).map(|lease| &lease.2);
            !self.jobs.iter().any(|job| job.queue == *queue)
                && !self.paused.get(queue).copied().unwrap_or(false)
                && !self.workers.values().any(|worker| worker.queues.contains(queue))
                && rests_at(limits.pace, given(None).into_iter()) <= now
                && groups.all(|group| rests_at(limits.group_pace, given(Some(group)).into_iter()) <= now)
        };
        let forgotten: Vec<_> = self.queues.iter().filter(|queue| is_forgotten(queue)).cloned().collect();
        for queue in forgotten {
            self.queues.retain(|known| *known != queue);
            self.served.remove(&queue);
            self.leased.retain(|lease| lease.1 != queue);
        }
    }

    /// A worker that takes nothing and has nothing is forgotten.
    fn forget_workers(&mut self) {
        let jobs = &self.jobs;
        let has = |name: &str| jobs.iter().any(|job| job.lease.as_ref().is_some_and(|lease| lease.1 == name));
        self.workers.retain(|name, worker| worker.slots > 0 || has(name));
    }

    fn name_queue(&mut self, queue: &str) {
        if !self.queues.iter().any(|known| known == queue) {
            self.queues.push(queue.to_owned());
        }
    }

    fn at(&self, id: &str) -> Option<usize> {
        self.jobs.iter().position(|job| job.id == id)
    }

    fn follow(&mut self, command: Command, now: i64) {
        match command {
            Command::Submit(submit) => self.submit(*submit, now),
            Command::Cancel { id } => match self.at(&id) {
                Some(at) => self.cancel(at, now),
                None => self.letters.push("unknown-job"),
            },
            Command::Retry { id, .. } => self.retry(&id, now),
            Command::Hello(hello) => {
                hello.queues.iter().for_each(|queue| self.name_queue(queue));
                let until = now + hello.holds.as_millis_i64();
                let given = self.workers.get(&hello.worker).map(|worker| worker.given);
                let given = given.unwrap_or_else(|| {
                    self.given += 1;
                    self.given
                });
                let worker = NaiveWorker { queues: hello.queues, slots: hello.slots, until, given, heard: now };
                self.workers.insert(hello.worker, worker);
            }
            Command::Heartbeat { id, lease, .. } => {
                let Some(job) = self.jobs.iter_mut().find(|job| job.id == id) else { return };
                let within = job.limits.heartbeat_within_ms;
                if let Some(held) = job.lease.as_mut().filter(|held| held.0 == lease) {
                    if held.4 - now < within - (within / 5).min(1_000) {
                        held.4 = held.4.max(now + within);
                    }
                    self.workers.entry(held.1.clone()).and_modify(|worker| worker.heard = now);
                }
            }
            Command::End { id, lease, outcome } => self.end(&id, lease, &outcome, now),
            Command::Queue(change) => {
                self.name_queue(&change.queue);
                if let Some(paused) = change.paused {
                    self.paused.insert(change.queue.clone(), paused);
                }
                if change.drain {
                    let unbegun = |job: &&NaiveJob| job.queue == change.queue && !is_over(job) && job.lease.is_none();
                    let ids: Vec<_> = self.jobs.iter().filter(unbegun).map(|job| job.id.clone()).collect();
                    for id in ids {
                        let at = self.at(&id).unwrap();
                        self.cancel(at, now);
                    }
                }
            }
            Command::Notify(_) => {}
        }
    }

    fn submit(&mut self, submit: Submit, now: i64) {
        let id = submit.id.clone().unwrap();
        if let Some(at) = self.at(&id) {
            if self.jobs[at].leaves > now {
                return;
            }
            self.jobs.remove(at);
        }
        self.name_queue(&submit.queue);
        let phase_of = |id: &String| self.at(id).map(|at| self.jobs[at].phase);
        let is_open = |parent: &&String| !phase_of(parent).is_some_and(|phase| SETTLED.contains(&phase));
        let open: Vec<String> = submit.parents.iter().filter(is_open).cloned().collect();
        let failed = submit.parents.iter().any(|parent| matches!(phase_of(parent), Some("dead" | "cancelled")));
        let ready = now + submit.delay.map_or(0, |delay| delay.as_millis_i64());
        let phase = match () {
            () if !open.is_empty() => "blocked",
            () if ready > now => "delayed",
            () => "waiting",
        };
        let runs_on_failure = submit.on_parent_failure == crate::model::OnParentFailure::Run;
        self.jobs.push(NaiveJob {
            id: id.clone(),
            limits: self.settings.job_limits(&submit),
            queue: submit.queue,
            group: submit.group,
            priority: i64::from(submit.priority),
            number: self.number,
            phase,
            ready,
            attempt: 0,
            open,
            runs_on_failure,
            leases: 0,
            lease: None,
            cancelling: false,
            error: None,
            runs: Vec::new(),
            leaves: i64::MAX,
        });
        self.number += 1;
        if failed && !runs_on_failure {
            let at = self.at(&id).unwrap();
            self.settle(at, "cancelled", Some("parent-failed"), now);
        }
    }

    fn cancel(&mut self, at: usize, now: i64) {
        let job = &mut self.jobs[at];
        if job.lease.is_some() {
            job.cancelling = true;
        } else if !is_over(job) {
            self.settle(at, "cancelled", None, now);
        }
    }

    fn retry(&mut self, id: &str, now: i64) {
        let Some(at) = self.at(id) else { return self.letters.push("unknown-job") };
        let job = &mut self.jobs[at];
        match job.phase {
            "done" | "leased" => self.letters.push("not-retryable"),
            "waiting" | "blocked" => {}
            phase => {
                if SETTLED.contains(&phase) {
                    job.attempt = 0;
                }
                (job.phase, job.ready, job.leaves) = ("waiting", now, i64::MAX);
            }
        }
    }

    fn end(&mut self, id: &str, lease: u32, outcome: &Outcome, now: i64) {
        let Some(at) = self.at(id) else { return self.letters.push("unknown-job") };
        let job = &self.jobs[at];
        let said = match outcome {
            Outcome::Complete(_) => "done",
            Outcome::Release => "released",
            Outcome::Fail { .. } => "failed",
        };
        if job.lease.as_ref().is_none_or(|held| held.0 != lease) {
            let repeats = |(number, how): &(u32, &str)| {
                *number == lease && (*how == said || (*how == "cancelled" && said != "done"))
            };
            if !job.runs.iter().any(repeats) {
                self.letters.push("stale-lease");
            }
            return;
        }
        let worker = job.lease.as_ref().map(|held| held.1.clone()).unwrap();
        self.workers.entry(worker).and_modify(|worker| worker.heard = now);
        let job = &self.jobs[at];
        match outcome {
            Outcome::Complete(_) => {
                self.end_lease(at, "done");
                self.settle(at, "done", self.jobs[at].error.clone().as_deref(), now);
            }
            Outcome::Release if job.cancelling => {
                self.end_lease(at, "cancelled");
                self.settle(at, "cancelled", Some("cancelled"), now);
            }
            Outcome::Release => {
                self.end_lease(at, "released");
                let job = &mut self.jobs[at];
                (job.attempt, job.phase) = (job.attempt - 1, "waiting");
            }
            Outcome::Fail { error, retry, .. } => self.fail(at, "failed", &error.code, *retry, now),
        }
    }

    fn fail(&mut self, at: usize, how: &'static str, code: &str, retry: bool, now: i64) {
        let (cancelling, attempt) = (self.jobs[at].cancelling, self.jobs[at].attempt);
        self.end_lease(at, if cancelling { "cancelled" } else { how });
        if cancelling {
            return self.settle(at, "cancelled", Some(code), now);
        }
        if !retry || attempt >= self.jobs[at].limits.max_attempts {
            return self.settle(at, "dead", Some(code), now);
        }
        let job = &mut self.jobs[at];
        job.phase = "failed";
        job.ready = now + pause(&job.limits.backoff, &job.id, attempt);
        job.error = Some(code.to_owned());
    }

    fn end_lease(&mut self, at: usize, how: &'static str) {
        let job = &mut self.jobs[at];
        let number = job.lease.take().unwrap().0;
        job.runs.push((number, how));
        if job.runs.len() > 20 {
            job.runs.remove(0);
        }
    }

    fn settle(&mut self, at: usize, phase: &'static str, error: Option<&str>, now: i64) {
        let day = 86_400_000;
        let job = &mut self.jobs[at];
        let error = error.map(str::to_owned).or(job.error.take());
        (job.phase, job.cancelling, job.error) = (phase, false, error);
        job.leaves = now
            + match phase {
                "done" => job.limits.keep_ms.unwrap_or(day),
                "dead" => 30 * day,
                _ => day,
            };
        let id = job.id.clone();
        // One change after the other: a group whose only job leaves loses its place.
        self.let_groups_stand(now);
        let waits = |job: &&NaiveJob| job.phase == "blocked" && job.open.contains(&id);
        let children: Vec<_> = self.jobs.iter().filter(waits).map(|job| job.id.clone()).collect();
        for child in children {
            let at = self.at(&child).unwrap();
            let job = &mut self.jobs[at];
            if job.phase != "blocked" {
                continue;
            }
            job.open.retain(|open| *open != id);
            if phase != "done" && !job.runs_on_failure {
                self.settle(at, "cancelled", Some("parent-failed"), now);
            } else if job.open.is_empty() {
                job.phase = if job.ready > now { "delayed" } else { "waiting" };
                job.ready = job.ready.max(now);
                self.let_groups_stand(now);
            }
        }
    }

    /// Lets one thing happen that is due; whether there was one.
    fn one_comes_due(&mut self, now: i64) -> bool {
        let due = |job: &NaiveJob| match job.phase {
            "delayed" | "failed" => job.ready <= now,
            "waiting" | "blocked" => {
                job.leases == 0 && job.limits.start_within_ms.is_some_and(|within| job.ready + within <= now)
            }
            "leased" => {
                let (_, _, _, since, until) = job.lease.clone().unwrap();
                until <= now || job.limits.finish_within_ms.is_some_and(|within| since + within <= now)
            }
            _ => job.leaves <= now,
        };
        let when = |job: &NaiveJob| match job.phase {
            "delayed" | "failed" => job.ready,
            "waiting" | "blocked" => job.ready + job.limits.start_within_ms.unwrap(),
            "leased" => {
                let (_, _, _, since, until) = job.lease.clone().unwrap();
                until.min(since + job.limits.finish_within_ms.unwrap_or(i64::MAX - since))
            }
            _ => job.leaves,
        };
        let first =
            self.jobs.iter().enumerate().filter(|(_, job)| due(job)).min_by_key(|(_, job)| (when(job), job.number));
        let Some((at, _)) = first else { return false };
        let job = &mut self.jobs[at];
        match job.phase {
            "delayed" | "failed" => job.phase = "waiting",
            "waiting" | "blocked" => self.settle(at, "dead", Some("not-started"), now),
            "leased" if job.lease.as_ref().unwrap().4 <= now => {
                let (_, silent, _, _, until) = job.lease.clone().unwrap();
                let since = until - job.limits.heartbeat_within_ms;
                let distrust =
                    |worker: &mut NaiveWorker| worker.slots = if worker.heard <= since { 0 } else { worker.slots };
                self.workers.entry(silent).and_modify(distrust);
                self.fail(at, "lease-expired", "lease-expired", true, now)
            }
            "leased" => self.fail(at, "timed-out", "timed-out", true, now),
            _ => drop(self.jobs.remove(at)),
        }
        true
    }

    fn dispatch(&mut self, now: i64) {
        let mut queues = self.queues.clone();
        queues.sort_by_key(|queue| self.served.get(queue).copied().unwrap_or(0));
        let mut queues: std::collections::VecDeque<_> = queues.into();
        while let Some(queue) = queues.pop_front() {
            if self.lease_next(&queue, now) {
                queues.push_back(queue);
            }
            self.let_groups_stand(now);
        }
    }

    /// Groups that may be given a lease and could not before come to the end of the line; where they come together, the one
    /// first whose rate has allowed it first.
    fn let_groups_stand(&mut self, now: i64) {
        let groups: std::collections::BTreeSet<_> =
            self.jobs.iter().map(|job| (job.queue.clone(), job.group.clone())).collect();
        let standing = std::mem::take(&mut self.line);
        self.line = standing.into_iter().filter(|(queue, group)| self.may_stand(queue, group, now)).collect();
        let comes = |of: &&(String, Option<String>)| !self.line.contains(of) && self.may_stand(&of.0, &of.1, now);
        let allowed = |(queue, group): &(String, Option<String>)| {
            let given = self.leased.iter().filter(|(_, of, by)| of == queue && by == group).map(|(at, ..)| *at);
            let place = self.queues.iter().position(|known| known == queue);
            (allowed_at(self.settings.queue_limits(queue).group_pace, given), place, group.clone())
        };
        let mut come: Vec<_> = groups.iter().filter(comes).cloned().collect();
        come.sort_by_key(allowed);
        self.line.extend(come);
    }

    fn may_stand(&self, queue: &str, group: &Option<String>, now: i64) -> bool {
        let limits = self.settings.queue_limits(queue);
        let of_group = |job: &&NaiveJob| job.queue == queue && job.group == *group;
        let waits = self.jobs.iter().filter(of_group).any(|job| job.phase == "waiting");
        let leased = self.jobs.iter().filter(of_group).filter(|job| job.lease.is_some()).count();
        let given = self.leased.iter().filter(|(_, of, by)| of == queue && by == group).map(|(at, ..)| *at);
        waits && leased < limits.group_concurrency as usize && allows(limits.group_pace, given, now)
    }

    fn lease_next(&mut self, queue: &str, now: i64) -> bool {
        let limits = self.settings.queue_limits(queue);
        let leased = self.jobs.iter().filter(|job| job.queue == queue && job.lease.is_some()).count();
        let given = self.leased.iter().filter(|(_, of, _)| of == queue).map(|(at, ..)| *at);
        let is_paused = self.paused.get(queue).copied().unwrap_or(false);
        if is_paused || leased >= limits.concurrency as usize || !allows(limits.pace, given, now) {
            return false;
        }
        let standing = self.line.iter().find(|(of, _)| of == queue);
        let Some(group) = standing.map(|(_, group)| group.clone()) else { return false };
        let slots = |name: &str| -> Vec<u32> {
            let held = self.jobs.iter().filter_map(|job| job.lease.as_ref()).filter(|lease| lease.1 == *name);
            held.map(|lease| lease.2).collect()
        };
        let is_free = |(name, worker): &(&String, &NaiveWorker)| {
            worker.queues.iter().any(|of| of == queue) && slots(name).len() < worker.slots as usize
        };
        let free = self.workers.iter().filter(is_free).min_by_key(|(_, worker)| worker.given);
        let Some(name) = free.map(|(name, _)| name.clone()) else { return false };
        let slot = (0..).find(|slot| !slots(&name).contains(slot)).unwrap();
        let waiting =
            self.jobs.iter_mut().filter(|job| job.queue == queue && job.group == group && job.phase == "waiting");
        let job = waiting.min_by_key(|job| (job.ready - job.priority * limits.ageing_ms, job.number)).unwrap();
        job.leases = (job.leases + 1).max(((now - 1_767_225_600_000) / 1_000) as u32);
        (job.phase, job.attempt, job.error) = ("leased", job.attempt + 1, None);
        job.lease = Some((job.leases, name.clone(), slot, now, now + job.limits.heartbeat_within_ms));
        self.given += 1;
        self.workers.get_mut(&name).unwrap().given = self.given;
        self.leased.push((now, queue.to_owned(), group.clone()));
        self.served.insert(queue.to_owned(), self.given);
        // It comes to the end of the line, where it may be given more.
        self.line.retain(|of| *of != (queue.to_owned(), group.clone()));
        true
    }
}

fn is_over(job: &NaiveJob) -> bool {
    SETTLED.contains(&job.phase)
}

/// Whether another may come at `now`, after those that came at `given`.
fn allows(pace: Option<Pace>, given: impl Iterator<Item = i64>, now: i64) -> bool {
    allowed_at(pace, given) <= now * 1_000
}

/// When another may come, after those that came at `given`, in µs.
fn allowed_at(pace: Option<Pace>, given: impl Iterator<Item = i64>) -> i64 {
    pace.map_or(0, |pace| arrival(pace, given) - pace.interval_us * i64::from(pace.burst - 1))
}

/// When it is as if none had come, in ms.
fn rests_at(pace: Option<Pace>, given: impl Iterator<Item = i64>) -> i64 {
    pace.map_or(0, |pace| (arrival(pace, given) + 999).div_euclid(1_000))
}

fn arrival(pace: Pace, given: impl Iterator<Item = i64>) -> i64 {
    given.fold(0i64, |arrival, at| arrival.max(at * 1_000) + pace.interval_us)
}
