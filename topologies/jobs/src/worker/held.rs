//! The jobs that a worker has.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use super::context::{Cancellation, JobContext};
use crate::client::{Held, LeaseRef, LeasedJob};

/// A job that was reported is named so long at most: until then the server has said that the worker has it no more.
const NAMED_AFTER: Duration = Duration::from_secs(60);

/// So long an answer may be on its way that gives a lease once more.
const REMEMBERED: Duration = Duration::from_secs(600);

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
    /// Its outcome was taken then.
    Reported(Instant),
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
            Some(entry) if reported && !entry.lost => entry.phase = Phase::Reported(now),
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

    fn forget(&mut self, key: &Key, now: Instant) {
        self.entries.remove(key);
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
            Phase::Queued(_) | Phase::Reported(_) => {
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

    /// All jobs are to stop, and to be given back.
    pub fn stop(&mut self) {
        for entry in self.entries.values() {
            entry.context.cancel(Cancellation::Stopping);
        }
    }

    /// Whether no job runs or waits.
    pub fn is_idle(&self) -> bool {
        self.entries.values().all(|entry| matches!(entry.phase, Phase::Reported(_)))
    }

    /// What the server is told of: all jobs that it may take for those of this worker.
    pub fn holding(&self) -> Vec<Held> {
        let named = self.entries.iter().filter(|(_, entry)| !entry.lost);
        named.map(|((id, lease), entry)| entry.context.held(id, *lease)).collect()
    }

    /// The jobs whose heartbeat is due or whose progress is to be told; they count as told.
    pub fn due_now(&mut self, now: Instant) -> Vec<Held> {
        let mut due = Vec::new();
        for ((id, lease), entry) in &mut self.entries {
            if entry.is_due(now) {
                due.push(entry.context.held(id, *lease));
                entry.context.told();
                entry.told = now;
            }
        }
        due
    }

    /// When the next is to be told.
    pub fn next_to_tell(&self) -> Option<Instant> {
        self.entries.values().filter_map(Entry::due).min()
    }

    /// Lets go what has been remembered long enough.
    pub fn tidy(&mut self, now: Instant) {
        self.ended.retain(|_, (_, at)| now.duration_since(*at) < REMEMBERED);
        let old = |entry: &Entry| matches!(entry.phase, Phase::Reported(at) if now.duration_since(at) > NAMED_AFTER);
        let old: Vec<Key> = self.entries.iter().filter(|(_, entry)| old(entry)).map(|(key, _)| key.clone()).collect();
        old.iter().for_each(|key| self.forget(key, now));
    }
}

impl Entry {
    fn due(&self) -> Option<Instant> {
        if self.lost || matches!(self.phase, Phase::Reported(_)) {
            return None;
        }
        let heartbeat = self.told + self.between_heartbeats;
        let progress = self.context.has_changed().then(|| self.told + BETWEEN_TELLING);
        Some(progress.map_or(heartbeat, |progress| progress.min(heartbeat)))
    }

    fn is_due(&self, now: Instant) -> bool {
        self.due().is_some_and(|due| due <= now)
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
        assert_eq!(held.next_to_tell(), Some(after(10_000)));
        assert_eq!(held.due_now(after(9_999)), []);
        assert_eq!(held.due_now(after(10_000)).len(), 1);
        context.progress(0.5, "");
        assert_eq!(held.due_now(after(10_999)), []);
        assert_eq!(held.due_now(after(11_000))[0].progress, Some(0.5));
        assert_eq!(held.next_to_tell(), Some(after(21_000)));
        held.end(&key("a", 1), true, after(12_000));
        assert_eq!(held.next_to_tell(), None);
    }

    #[test]
    fn what_was_reported_and_never_lost_is_let_go_in_the_end() {
        let (mut held, now) = (HeldJobs::default(), Instant::now());
        held.take(&job("a", 1), JobContext::detached(), now);
        held.end(&key("a", 1), true, now);
        held.tidy(now + NAMED_AFTER);
        assert_eq!(held.holding().len(), 1);
        held.tidy(now + NAMED_AFTER * 2);
        assert_eq!(held.holding().len(), 0);
        held.tidy(now + NAMED_AFTER * 2 + REMEMBERED);
        assert!(held.ended.is_empty());
    }
}
