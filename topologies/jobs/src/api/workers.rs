//! What this server has heard of workers: enough not to write the same again and again.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Deserialize;

use super::head::LeaseHead;

/// How long a hello holds. A worker that has died without a word is given jobs for so long at most.
pub(super) const HELLO_HOLDS: Duration = Duration::from_secs(10);

/// A poll does not write a hello where one that says the same holds for so long still.
const HELLO_ENOUGH: Duration = Duration::from_secs(5);

/// While a poll waits, its hello is written again after this.
const HELLO_AGAIN: Duration = Duration::from_secs(4);

/// A worker that was not heard of is shown for so long after its last hello holds.
const SHOWN: Duration = Duration::from_secs(600);

/// Progress of a job is written at most so often.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// What a worker was told of a job that is to stop is told again after this.
const TOLD_AGAIN: Duration = Duration::from_secs(1);

/// A report that has no effect is forgotten after this: the log may be another one.
const REPORT_LASTS: Duration = Duration::from_secs(60);

/// So many are kept before those are looked for that are over.
const FIRST_SWEEP: usize = 1_024;

/// A job and a lease of it, as a worker names it.
pub(super) type OfLease = (String, u32);

/// What a worker says of a job that it has.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Holding {
    pub(super) id: String,
    pub(super) lease: u32,
    #[serde(default)]
    pub(super) progress: Option<f64>,
    #[serde(default)]
    pub(super) message: Option<String>,
}

/// What this server has heard of workers.
#[derive(Debug, Default)]
pub(super) struct Workers {
    heard: Mutex<Kept<String, Heard>>,
    polls: AtomicU64,
    beats: Mutex<Kept<String, Beat>>,
    reported: Mutex<Kept<OfLease, Report>>,
}

/// A worker.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    pub(super) queues: Vec<String>,
    pub(super) slots: u32,
    pub(super) seen: Timestamp,
    /// When its last hello was written; `None` where that has failed.
    written: Option<Instant>,
    /// Its newest poll. An older one speaks for it no more.
    poll: u64,
    /// Which of its jobs it was told to stop, and when.
    told: HashMap<OfLease, Instant>,
}

impl Heard {
    /// How long its last hello holds still.
    fn holds(&self, now: Instant) -> Duration {
        let age = self.written.map_or(HELLO_HOLDS, |written| now.duration_since(written));
        HELLO_HOLDS.saturating_sub(age)
    }

    fn is_shown(&self) -> bool {
        Timestamp::now().duration_since(self.seen).unsigned_abs() < HELLO_HOLDS + SHOWN
    }
}

/// What a worker has said of how a lease ended.
#[derive(Debug, Clone, Copy)]
struct Report {
    at: Instant,
    /// Whether the log has it. Until then it may come to nothing, and has to be written again.
    is_written: bool,
}

impl Report {
    fn lasts(&self) -> bool {
        self.at.elapsed() < REPORT_LASTS
    }
}

/// The last heartbeat of a job.
#[derive(Debug, Clone)]
struct Beat {
    lease: u32,
    at: Instant,
    progress: Option<f64>,
    message: Option<String>,
}

/// A map from which what is over is removed when it has grown.
#[derive(Debug)]
struct Kept<K, V> {
    map: HashMap<K, V>,
    sweep_at: usize,
}

impl<K, V> Default for Kept<K, V> {
    fn default() -> Self {
        Self { map: HashMap::new(), sweep_at: FIRST_SWEEP }
    }
}

impl<K: std::hash::Hash + Eq, V> Kept<K, V> {
    fn insert(&mut self, key: K, value: V, lasts: impl Fn(&V) -> bool) {
        if self.map.len() >= self.sweep_at {
            self.map.retain(|_, value| lasts(value));
            self.sweep_at = (self.map.len() * 2).max(FIRST_SWEEP);
        }
        self.map.insert(key, value);
    }
}

/// What is to be done about the heartbeat of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Write it.
    Now,
    /// It is due after this.
    After(Duration),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Within what time a lease has to be heard of.
fn period_of(lease: &LeaseHead) -> Duration {
    Duration::from_millis(u64::try_from(lease.heartbeat_within_ms).unwrap_or(0))
}

impl Workers {
    /// Notes that a worker polls. The number of its poll, and whether its hello is to be written: one that says the
    /// same as the last one is not, while that holds long enough.
    pub(super) fn hear(&self, worker: &str, queues: &[String], slots: u32) -> (u64, bool) {
        let (now, seen) = (Instant::now(), Timestamp::now());
        let mut heard = lock(&self.heard);
        // Under the lock, so that the newest poll has the highest number.
        let poll = self.polls.fetch_add(1, Ordering::Relaxed);
        if let Some(known) = heard.map.get_mut(worker) {
            let is_same = known.queues == queues && known.slots == slots;
            let is_known = is_same && known.holds(now) >= HELLO_ENOUGH;
            (known.seen, known.poll) = (seen, poll);
            if !is_known {
                (known.queues, known.slots, known.written) = (queues.to_vec(), slots, Some(now));
            }
            return (poll, !is_known);
        }
        let new = Heard { queues: queues.to_vec(), slots, seen, written: Some(now), poll, told: HashMap::new() };
        heard.insert(worker.to_owned(), new, Heard::is_shown);
        (poll, true)
    }

    /// A poll of a worker still waits. Says its hello again when it is time, unless there is a newer poll; how long
    /// that may wait.
    pub(super) fn stay(&self, worker: &str, poll: u64, say: impl FnOnce() -> bool) -> Duration {
        let now = Instant::now();
        let mut heard = lock(&self.heard);
        let Some(known) = heard.map.get_mut(worker).filter(|known| known.poll == poll) else { return HELLO_AGAIN };
        known.seen = Timestamp::now();
        let left = known.holds(now).saturating_sub(HELLO_HOLDS - HELLO_AGAIN);
        if !left.is_zero() {
            return left;
        }
        known.written = say().then_some(now);
        HELLO_AGAIN
    }

    /// The client of a poll has gone. Unless there is a newer one, the worker is to be given nothing new: `say` is to say
    /// so. Nobody else says anything of the worker meanwhile, so that what is said last counts.
    pub(super) fn leave(&self, worker: &str, poll: u64, say: impl FnOnce() -> bool) {
        let mut heard = lock(&self.heard);
        let newest = heard.map.get_mut(worker).filter(|known| known.poll == poll && known.slots > 0);
        if let Some(known) = newest {
            (known.slots, known.written) = (0, say().then(Instant::now));
        }
    }

    /// Whether no newer poll of a worker has come.
    pub(super) fn is_newest(&self, worker: &str, poll: u64) -> bool {
        lock(&self.heard).map.get(worker).is_some_and(|known| known.poll == poll)
    }

    /// Forgets that the hello of a worker was written: it was not.
    pub(super) fn unhear(&self, worker: &str) {
        if let Some(known) = lock(&self.heard).map.get_mut(worker) {
            known.written = None;
        }
    }

    /// All workers that were heard of.
    pub(super) fn all(&self) -> BTreeMap<String, Heard> {
        let heard = lock(&self.heard);
        let shown = heard.map.iter().filter(|(_, heard)| heard.is_shown());
        shown.map(|(name, heard)| (name.clone(), heard.clone())).collect()
    }

    /// Of the jobs that a worker is to stop, whether one was not told a moment ago. Then all count as told.
    pub(super) fn tell(&self, worker: &str, stop: &[OfLease]) -> bool {
        let now = Instant::now();
        let mut heard = lock(&self.heard);
        let Some(heard) = heard.map.get_mut(worker) else { return !stop.is_empty() };
        heard.told.retain(|of, at| now < *at + TOLD_AGAIN && stop.contains(of));
        let is_news = stop.iter().any(|of| !heard.told.contains_key(of));
        if is_news {
            heard.told = stop.iter().map(|of| (of.clone(), now)).collect();
        }
        is_news
    }

    /// Whether a heartbeat of a job is to be written, which then counts as written: a third of its period has passed
    /// since the last one, or its progress is another.
    pub(super) fn beat(&self, holding: &Holding, lease: &LeaseHead) -> Due {
        self.beat_each(period_of(lease) / 3, holding, lease)
    }

    /// The same for a heartbeat that a worker sends by itself: it counts wherever in the period it comes, at most once a
    /// second.
    pub(super) fn beat_by_itself(&self, holding: &Holding, lease: &LeaseHead) -> Due {
        self.beat_each((period_of(lease) / 3).min(PROGRESS_EVERY), holding, lease)
    }

    fn beat_each(&self, each: Duration, holding: &Holding, lease: &LeaseHead) -> Due {
        let (now, period) = (Instant::now(), period_of(lease));
        // The log knows of heartbeats to other servers. When the lease ends is by the clock of the engine, so what counts
        // is when that was seen to change. What was not seen is old.
        let age_by_log = lease.renewed.map_or(period, |renewed| now.duration_since(renewed));
        let mut beats = lock(&self.beats);
        let own = beats.map.get(&holding.id).filter(|beat| beat.lease == holding.lease);
        let age = own.map_or(age_by_log, |beat| age_by_log.min(now.duration_since(beat.at)));
        let says_more = match own {
            Some(beat) => {
                let is_other = (holding.progress.is_some() && holding.progress != beat.progress)
                    || (holding.message.is_some() && holding.message != beat.message);
                is_other && now.duration_since(beat.at) >= PROGRESS_EVERY
            }
            None => holding.progress.is_some() || holding.message.is_some(),
        };
        if age < each && !says_more {
            return Due::After(each - age);
        }
        let Holding { lease, progress, ref message, .. } = *holding;
        let beat = Beat { lease, at: now, progress, message: message.clone() };
        beats.insert(holding.id.clone(), beat, |beat| now.duration_since(beat.at) < SHOWN);
        Due::Now
    }

    /// Forgets that a heartbeat was written: it was not.
    pub(super) fn unbeat(&self, id: &str) {
        lock(&self.beats).map.remove(id);
    }

    /// Notes that a worker reports on a lease: it is not to be given to it again before the log knows.
    pub(super) fn report(&self, of: &OfLease) {
        let mut reported = lock(&self.reported);
        if reported.map.get(of).is_none_or(|report| !report.is_written || !report.lasts()) {
            reported.insert(of.clone(), Report { at: Instant::now(), is_written: false }, Report::lasts);
        }
    }

    /// The log has a report.
    pub(super) fn report_written(&self, of: OfLease) {
        let written = Report { at: Instant::now(), is_written: true };
        lock(&self.reported).insert(of, written, Report::lasts);
    }

    /// Forgets a report: it was not written, unless it was by another request.
    pub(super) fn unreport(&self, of: &OfLease) {
        let mut reported = lock(&self.reported);
        if reported.map.get(of).is_some_and(|report| !report.is_written) {
            reported.map.remove(of);
        }
    }

    /// Whether a worker has reported on a lease, and the log has it or may have it.
    pub(super) fn has_reported(&self, id: &str, lease: u32) -> bool {
        self.reported_on(&(id.to_owned(), lease)).is_some()
    }

    /// Whether the log has a report on a lease.
    pub(super) fn has_written_report(&self, of: &OfLease) -> bool {
        self.reported_on(of).is_some_and(|report| report.is_written)
    }

    fn reported_on(&self, of: &OfLease) -> Option<Report> {
        lock(&self.reported).map.get(of).copied().filter(Report::lasts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// As if the last hello of `w` had been written so long ago.
    fn age(workers: &Workers, by: Duration) {
        let mut heard = lock(&workers.heard);
        let known = heard.map.get_mut("w").unwrap();
        known.written = known.written.and_then(|written| written.checked_sub(by));
    }

    #[test]
    fn a_hello_is_written_when_it_says_something_else_or_soon_ends() {
        let workers = Workers::default();
        let queues = ["a".to_owned()];
        let hear = |slots| workers.hear("w", &queues, slots).1;
        assert!(hear(2) && !hear(2));
        age(&workers, SECOND * 4);
        assert!(!hear(2), "it holds for almost six seconds");
        age(&workers, SECOND);
        assert!(hear(2) && !hear(2));
        assert!(hear(3) && workers.hear("w", &[], 3).1 && workers.hear("x", &queues, 3).1);
        workers.unhear("x");
        assert!(workers.hear("x", &queues, 3).1);
        assert_eq!(workers.all().keys().collect::<Vec<_>>(), ["w", "x"]);
    }

    #[test]
    fn a_poll_that_waits_says_hello_again_unless_there_is_a_newer_one() {
        let workers = Workers::default();
        let (first, _) = workers.hear("w", &[], 2);
        let stay = |poll| {
            let mut said = false;
            let again = workers.stay("w", poll, || {
                said = true;
                true
            });
            (said, again)
        };
        let (said, again) = stay(first);
        assert!(!said && again <= HELLO_AGAIN && again > HELLO_AGAIN - SECOND, "{again:?}");
        age(&workers, HELLO_AGAIN);
        assert_eq!(stay(first), (true, HELLO_AGAIN));
        assert!(!stay(first).0);
        let (second, _) = workers.hear("w", &[], 2);
        age(&workers, HELLO_AGAIN);
        assert_eq!(stay(first), (false, HELLO_AGAIN));
        assert!(stay(second).0);
        workers.unhear("w");
        assert!(stay(second).0, "what was not written is said at once");
    }

    #[test]
    fn who_goes_is_given_nothing_unless_it_has_come_again() {
        let workers = Workers::default();
        let (first, _) = workers.hear("w", &[], 2);
        let leave = |poll| {
            let mut said = false;
            workers.leave("w", poll, || {
                said = true;
                true
            });
            said
        };
        let (second, _) = workers.hear("w", &[], 2);
        assert!(!leave(first));
        assert!(leave(second) && !leave(second), "once");
        assert_eq!(workers.all()["w"].slots, 0);
        let (third, says_hello) = workers.hear("w", &[], 2);
        assert!(says_hello && !leave(second) && leave(third));
    }

    #[test]
    fn a_heartbeat_is_written_at_a_third_of_its_period_or_with_progress() {
        let workers = Workers::default();
        // The clock of the engine is ahead, by more than the period.
        let lease = |seconds: u32| LeaseHead {
            number: 1,
            worker: "w".into(),
            until: Timestamp::now() + jiff::SignedDuration::from_secs(40),
            renewed: Instant::now().checked_sub(SECOND * seconds),
            heartbeat_within_ms: 30_000,
            cancelling: false,
        };
        let holding = |id: &str, progress| Holding { id: id.to_owned(), lease: 1, progress, message: None };
        let Due::After(wait) = workers.beat(&holding("a", None), &lease(1)) else { panic!("a second ago") };
        assert!(wait > SECOND * 8 && wait <= SECOND * 9, "{wait:?}");
        assert_eq!(workers.beat(&holding("a", None), &lease(11)), Due::Now);
        assert_ne!(workers.beat(&holding("a", None), &lease(11)), Due::Now, "it is on its way to the log");
        assert_eq!(workers.beat(&holding("b", Some(0.5)), &lease(0)), Due::Now);
        assert_ne!(workers.beat(&holding("b", Some(0.6)), &lease(0)), Due::Now, "once a second");
        workers.unbeat("b");
        assert_eq!(workers.beat(&holding("b", Some(0.6)), &lease(30)), Due::Now);
        let unseen = LeaseHead { renewed: None, ..lease(0) };
        assert_eq!(workers.beat(&holding("c", None), &unseen), Due::Now);
        assert_ne!(workers.beat(&holding("c", None), &unseen), Due::Now);
    }

    #[test]
    fn what_is_to_stop_is_told_once_a_second() {
        let workers = Workers::default();
        workers.hear("w", &[], 1);
        let of = |id: &str| (id.to_owned(), 1);
        assert!(!workers.tell("w", &[]));
        assert!(workers.tell("w", &[of("a")]) && !workers.tell("w", &[of("a")]));
        assert!(workers.tell("w", &[of("a"), of("b")]) && !workers.tell("w", &[of("b")]));
    }

    #[test]
    fn a_report_counts_once_the_log_has_it() {
        let workers = Workers::default();
        let of = ("a".to_owned(), 1);
        workers.report(&of);
        assert!(workers.has_reported("a", 1) && !workers.has_reported("a", 2));
        assert!(!workers.has_written_report(&of), "its request may have ended with its client");
        workers.unreport(&of);
        assert!(!workers.has_reported("a", 1));
        workers.report(&of);
        workers.report_written(of.clone());
        workers.report(&of);
        workers.unreport(&of);
        assert!(workers.has_reported("a", 1) && workers.has_written_report(&of), "another request has written it");
    }
}
