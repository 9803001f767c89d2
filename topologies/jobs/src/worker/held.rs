//! The jobs that a worker has.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::context::{Cancellation, JobContext};
use crate::client::{Held, LeaseRef, LeasedJob};

/// A job that was reported is named so long at most: a server that is behind does not give its lease once more then.
const NAMED_AFTER: Duration = Duration::from_secs(2);

/// So many jobs that were reported are named at most: a request names all jobs of a worker, and is bounded.
const MOST_NAMED_AFTER: usize = 256;

/// So many bytes of messages go into one request that names all jobs. What is left out is told in heartbeats.
const MOST_MESSAGES: usize = 256 << 10;

/// So long an answer may be on its way that gives a lease once more: twice as long as a request may take.
const REMEMBERED: Duration = Duration::from_secs(120);

/// Progress of a job is told so often at most.
const BETWEEN_TELLING: Duration = Duration::from_secs(1);

/// The shortest pause between heartbeats.
const SHORTEST_BETWEEN_HEARTBEATS: Duration = Duration::from_millis(50);

/// A job and its lease.
pub(super) type Key = (String, u32);

enum Phase {
    /// It waits until a lost attempt of the same job has ended.
    Queued(Box<LeasedJob>),
    Running,
    /// Its outcome was taken.
    Reported,
}

struct Entry {
    phase: Phase,
    context: JobContext,
    lost: bool,
    between_heartbeats: Duration,
    told: Instant,
}

/// The jobs that a worker has.
#[derive(Default)]
pub(super) struct HeldJobs {
    entries: BTreeMap<Key, Entry>,
    /// The jobs whose outcome was taken, the oldest first, and when; some may have been let go since.
    reported: VecDeque<(Instant, Key)>,
    /// The highest lease of each job that has ended here, and when.
    ended: HashMap<String, (u32, Instant)>,
}

impl HeldJobs {
    /// Takes a job, unless it was taken before. Whether it is new, and whether it may start now.
    pub fn take(&mut self, job: &LeasedJob, context: JobContext, now: Instant) -> Option<bool> {
        let key = (job.id.clone(), job.lease);
        let over = self.ended.get(&job.id).is_some_and(|(lease, _)| job.lease <= *lease);
        if over || self.entries.contains_key(&key) {
            return None;
        }
        let free = !self.of_job(&job.id).any(|entry| matches!(entry.phase, Phase::Running));
        let phase = if free { Phase::Running } else { Phase::Queued(Box::new(job.clone())) };
        let between = Duration::from_millis(job.heartbeat_within_ms / 3).max(SHORTEST_BETWEEN_HEARTBEATS);
        let entry = Entry { phase, context, lost: false, between_heartbeats: between, told: now };
        self.entries.insert(key, entry);
        Some(free)
    }

    fn of_job<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries.range((id.to_owned(), 0)..=(id.to_owned(), u32::MAX)).map(|(_, entry)| entry)
    }

    /// A job's thread has ended. Gives the one of the same job that has waited for it.
    pub fn end(&mut self, key: &Key, reported: bool, now: Instant) -> Option<(LeasedJob, JobContext)> {
        match self.entries.get_mut(key) {
            Some(entry) if reported && !entry.lost => {
                entry.phase = Phase::Reported;
                self.reported.push_back((now, key.clone()));
                self.forget_reported(now);
            }
            Some(_) => self.forget(key, now),
            None => {}
        }
        let waits = |entry: &mut Entry| match std::mem::replace(&mut entry.phase, Phase::Running) {
            Phase::Queued(job) => Some((*job, entry.context.clone())),
            other => {
                entry.phase = other;
                None
            }
        };
        self.entries.range_mut((key.0.clone(), 0)..=(key.0.clone(), u32::MAX)).find_map(|(_, entry)| waits(entry))
    }

    /// Names jobs no more that were reported long ago, or before many others.
    fn forget_reported(&mut self, now: Instant) {
        let is_over = |(at, _): &(Instant, Key)| now.duration_since(*at) > NAMED_AFTER;
        while self.reported.len() > MOST_NAMED_AFTER || self.reported.front().is_some_and(is_over) {
            if let Some((_, key)) = self.reported.pop_front() {
                self.forget(&key, now);
            }
        }
    }

    fn forget(&mut self, key: &Key, now: Instant) {
        if self.entries.remove(key).is_none() {
            return;
        }
        let (lease, at) = self.ended.entry(key.0.clone()).or_insert((key.1, now));
        (*lease, *at) = ((*lease).max(key.1), now);
    }

    /// The server says that the worker has a job no more. Whether that was news.
    pub fn lose(&mut self, lost: &LeaseRef, now: Instant) -> bool {
        let key = (lost.id.clone(), lost.lease);
        let Some(entry) = self.entries.get_mut(&key) else { return false };
        match entry.phase {
            Phase::Running => {
                entry.context.cancel(Cancellation::Lost);
                !std::mem::replace(&mut entry.lost, true)
            }
            Phase::Queued(_) | Phase::Reported => {
                self.forget(&key, now);
                true
            }
        }
    }

    /// The server says that a job is to stop. Whether that was news.
    pub fn cancel(&mut self, cancelled: &LeaseRef) -> bool {
        let entry = self.entries.get(&(cancelled.id.clone(), cancelled.lease));
        let Some(entry) = entry.filter(|entry| !entry.context.is_cancelled()) else { return false };
        entry.context.cancel(Cancellation::Cancelled);
        true
    }

    /// All jobs are to end at once, without time to clean up.
    pub fn hurry(&mut self) {
        self.entries.values().for_each(|entry| entry.context.hurry());
    }

    /// All jobs are to stop, and to be given back.
    pub fn stop(&mut self) {
        for entry in self.entries.values() {
            entry.context.cancel(Cancellation::Stopping);
        }
    }

    /// Whether no job runs or waits.
    pub fn is_idle(&self) -> bool {
        self.entries.values().all(|entry| matches!(entry.phase, Phase::Reported))
    }

    /// What the server is told of: all jobs that it may take for those of this worker.
    pub fn holding(&self) -> Vec<Held> {
        let mut left = MOST_MESSAGES;
        let named = self.entries.iter().filter(|(_, entry)| !entry.lost);
        let held = named.map(|((id, lease), entry)| {
            let held = entry.context.held(id, *lease);
            match left.checked_sub(held.message.as_ref().map_or(0, String::len)) {
                Some(rest) => {
                    left = rest;
                    held
                }
                None => Held { message: None, ..held },
            }
        });
        held.collect()
    }

    /// The jobs whose heartbeat is due or whose progress is to be told, the longest due first.
    pub fn due(&self, now: Instant) -> Vec<Held> {
        let when = |entry: &Entry| entry.due().filter(|due| *due <= now);
        let mut due: Vec<_> = self.entries.iter().filter_map(|(key, entry)| Some((when(entry)?, key, entry))).collect();
        due.sort_by_key(|(when, ..)| *when);
        due.into_iter().map(|(_, (id, lease), entry)| entry.context.held(id, *lease)).collect()
    }

    /// The server was told this of a job, at `time`.
    pub fn told(&mut self, held: &Held, time: Instant) {
        if let Some(entry) = self.entries.get_mut(&(held.id.clone(), held.lease)) {
            entry.context.told(held);
            entry.told = time;
        }
    }

    /// When the next is to be told.
    pub fn next_to_tell(&self) -> Option<Instant> {
        self.entries.values().filter_map(Entry::due).min()
    }

    /// Lets go what has been remembered long enough.
    pub fn tidy(&mut self, now: Instant) {
        self.forget_reported(now);
        self.ended.retain(|_, (_, at)| now.duration_since(*at) < REMEMBERED);
    }
}

impl Entry {
    fn due(&self) -> Option<Instant> {
        if self.lost || matches!(self.phase, Phase::Reported) {
            return None;
        }
        let heartbeat = self.told + self.between_heartbeats;
        let progress = self.context.has_changed().then(|| self.told + BETWEEN_TELLING);
        Some(progress.map_or(heartbeat, |progress| progress.min(heartbeat)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(id: &str, lease: u32) -> LeasedJob {
        serde_json::from_value(serde_json::json!({
            "id": id, "queue": "q", "lease": lease, "attempt": 1, "maxAttempts": 3, "payload": null,
            "until": "2026-12-01T10:00:00Z", "heartbeatWithinMs": 30_000,
        }))
        .unwrap()
    }

    fn key(id: &str, lease: u32) -> Key {
        (id.to_owned(), lease)
    }

    fn reference(id: &str, lease: u32) -> LeaseRef {
        LeaseRef { id: id.to_owned(), lease }
    }

    #[test]
    fn a_lease_is_taken_once_also_after_it_has_ended() {
        let (mut held, now) = (HeldJobs::default(), Instant::now());
        let take = |held: &mut HeldJobs, lease| held.take(&job("a", lease), JobContext::detached(), now);
        assert_eq!(take(&mut held, 2), Some(true));
        assert_eq!(take(&mut held, 2), None);
        assert!(held.end(&key("a", 2), true, now).is_none());
        assert_eq!((held.holding().len(), held.is_idle()), (1, true));
        assert!(held.lose(&reference("a", 2), now) && !held.lose(&reference("a", 2), now));
        assert_eq!(held.holding(), []);
        assert_eq!(take(&mut held, 2), None);
        assert_eq!(take(&mut held, 1), None);
        assert_eq!(take(&mut held, 3), Some(true));
    }

    #[test]
    fn a_new_lease_of_a_lost_job_waits_until_the_old_attempt_has_ended() {
        let (mut held, now) = (HeldJobs::default(), Instant::now());
        let context = JobContext::detached();
        held.take(&job("a", 1), context.clone(), now);
        assert!(held.lose(&reference("a", 1), now));
        assert_eq!(context.cancellation(), Some(Cancellation::Lost));
        assert_eq!(held.take(&job("a", 2), JobContext::detached(), now), Some(false));
        assert_eq!(held.holding().iter().map(|held| held.lease).collect::<Vec<_>>(), [2]);
        let (next, _) = held.end(&key("a", 1), false, now).unwrap();
        assert_eq!(next.lease, 2);
        assert!(!held.is_idle() && held.end(&key("a", 2), true, now).is_none() && held.is_idle());
    }

    #[test]
    fn jobs_are_told_a_third_of_their_period_apart_and_progress_once_a_second() {
        let (mut held, now) = (HeldJobs::default(), Instant::now());
        let context = JobContext::detached();
        held.take(&job("a", 1), context.clone(), now);
        let after = |ms| now + Duration::from_millis(ms);
        let tell = |held: &mut HeldJobs, ms| {
            let due = held.due(after(ms));
            due.iter().for_each(|one| held.told(one, after(ms)));
            due
        };
        assert_eq!(held.next_to_tell(), Some(after(10_000)));
        assert_eq!(tell(&mut held, 9_999), []);
        assert_eq!(tell(&mut held, 10_000).len(), 1);
        context.progress(0.5, "");
        assert_eq!(tell(&mut held, 10_999), []);
        assert_eq!(tell(&mut held, 11_000)[0].progress, Some(0.5));
        assert_eq!(held.next_to_tell(), Some(after(21_000)));
        held.end(&key("a", 1), true, after(12_000));
        assert_eq!(held.next_to_tell(), None);
    }

    #[test]
    fn what_was_not_told_stays_due_and_the_longest_due_comes_first() {
        let (mut held, now) = (HeldJobs::default(), Instant::now());
        let after = |ms| now + Duration::from_millis(ms);
        let context = JobContext::detached();
        held.take(&job("a", 1), context.clone(), after(500));
        held.take(&job("b", 1), JobContext::detached(), now);
        let ids = |due: Vec<Held>| due.into_iter().map(|held| held.id).collect::<Vec<_>>();
        let due = held.due(after(11_000));
        held.told(&due[0], after(11_000));
        assert_eq!(
            (ids(due), ids(held.due(after(11_000)))),
            (vec!["b".to_owned(), "a".to_owned()], vec!["a".to_owned()])
        );
        context.progress(0.1, "");
        let due = held.due(after(11_000));
        context.progress(0.2, "");
        held.told(&due[0], after(11_000));
        assert!(context.has_changed(), "what came while it was told is told next");
        assert_eq!(held.next_to_tell(), Some(after(12_000)));
    }

    #[test]
    fn what_was_reported_is_let_go_soon_and_its_lease_not_taken_again() {
        let (mut held, now) = (HeldJobs::default(), Instant::now());
        held.take(&job("a", 1), JobContext::detached(), now);
        held.end(&key("a", 1), true, now);
        held.tidy(now + NAMED_AFTER);
        assert_eq!(held.holding().len(), 1);
        let later = now + NAMED_AFTER * 2;
        held.tidy(later);
        assert_eq!(held.holding().len(), 0);
        assert_eq!(held.take(&job("a", 1), JobContext::detached(), later), None);
        held.tidy(later + REMEMBERED);
        assert!(held.ended.is_empty());
    }

    #[test]
    fn requests_do_not_grow_with_the_jobs_that_were_done_nor_with_their_messages() {
        let (mut held, now) = (HeldJobs::default(), Instant::now());
        for number in 0..2_000 {
            let id = number.to_string();
            held.take(&job(&id, 1), JobContext::detached(), now);
            held.end(&key(&id, 1), true, now);
        }
        assert_eq!(held.holding().len(), MOST_NAMED_AFTER);
        assert_eq!(held.take(&job("0", 1), JobContext::detached(), now), None);
        for number in 0..1_000 {
            let context = JobContext::detached();
            context.progress(0.5, "x".repeat(1_024));
            held.take(&job(&format!("told-{number}"), 1), context, now);
        }
        let messages: usize = held.holding().iter().filter_map(|held| held.message.as_ref()).map(String::len).sum();
        assert_eq!((messages, held.due(now + BETWEEN_TELLING).len()), (MOST_MESSAGES, 1_000));
    }
}
