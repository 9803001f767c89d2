//! What this server has heard of workers: enough not to write the same again and again.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Deserialize;

use super::head::LeaseHead;

/// A hello is not written again before this has passed, unless it says something else.
const HELLO_AGAIN: Duration = Duration::from_secs(5);

/// A worker that was not heard of is shown for so long after its last hello holds.
const SHOWN: Duration = Duration::from_secs(600);

/// Progress of a job is written at most so often.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// What a worker was told of a job that is to stop is told again after this.
const TOLD_AGAIN: Duration = Duration::from_secs(1);

/// A report that was written and has no effect is forgotten after this: the log may be another one.
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
    beats: Mutex<Kept<String, Beat>>,
    reported: Mutex<Kept<OfLease, Instant>>,
}

/// A worker.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    pub(super) queues: Vec<String>,
    pub(super) slots: u32,
    pub(super) seen: Timestamp,
    /// When its last hello was written, and until when that holds.
    written: Instant,
    until: Instant,
    /// Which of its jobs it was told to stop, and when.
    told: HashMap<OfLease, Instant>,
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

impl Workers {
    /// Notes that a worker is there, and whether its hello is to be written, which holds for `holds`. One that says
    /// the same as one a moment ago is not, unless that holds too short for a poll of `wait`.
    pub(super) fn hear(&self, worker: &str, queues: &[String], slots: u32, wait: Duration, holds: Duration) -> bool {
        let now = Instant::now();
        let mut heard = lock(&self.heard);
        let known = heard.map.get_mut(worker);
        let is_known = known.as_ref().is_some_and(|known| {
            let same = known.queues == queues && known.slots == slots;
            same && now < known.written + HELLO_AGAIN && known.until >= now + wait
        });
        let seen = Timestamp::now();
        match known {
            Some(known) if is_known => known.seen = seen,
            known => {
                let told = known.map(|known| std::mem::take(&mut known.told)).unwrap_or_default();
                let (queues, until) = (queues.to_vec(), now + holds);
                let hello = Heard { queues, slots, seen, written: now, until, told };
                heard.insert(worker.to_owned(), hello, |heard| now < heard.until + SHOWN);
            }
        }
        !is_known
    }

    /// Forgets that the hello of a worker was written: it was not.
    pub(super) fn unhear(&self, worker: &str) {
        if let Some(known) = lock(&self.heard).map.get_mut(worker) {
            known.until = known.written;
        }
    }

    /// All workers that were heard of.
    pub(super) fn all(&self) -> BTreeMap<String, Heard> {
        let now = Instant::now();
        let heard = lock(&self.heard);
        let shown = heard.map.iter().filter(|(_, heard)| now < heard.until + SHOWN);
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
        let now = Instant::now();
        let period = Duration::from_millis(u64::try_from(lease.heartbeat_within_ms).unwrap_or(0));
        // The log knows of heartbeats to other servers: with each, the lease ends a period later.
        let left = lease.until.duration_since(Timestamp::now()).unsigned_abs();
        let left = if lease.until > Timestamp::now() { left } else { Duration::ZERO };
        let age_by_log = period.saturating_sub(left);
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
        if age < period / 3 && !says_more {
            return Due::After(period / 3 - age);
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

    /// Notes that a worker has reported on a lease: it is not to be given to it again before the log knows.
    pub(super) fn report(&self, of: OfLease) {
        let now = Instant::now();
        lock(&self.reported).insert(of, now, |at| now.duration_since(*at) < REPORT_LASTS);
    }

    /// Forgets a report: it was not written.
    pub(super) fn unreport(&self, of: &OfLease) {
        lock(&self.reported).map.remove(of);
    }

    /// Whether a lease was reported on.
    pub(super) fn has_reported(&self, id: &str, lease: u32) -> bool {
        let reported = lock(&self.reported);
        let at = reported.map.get(&(id.to_owned(), lease));
        at.is_some_and(|at| at.elapsed() < REPORT_LASTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_hello_is_written_again_when_it_says_something_else_or_ends() {
        let workers = Workers::default();
        let queues = ["a".to_owned()];
        let hear = |slots, wait: u32| workers.hear("w", &queues, slots, SECOND * wait, SECOND * (wait + 10));
        assert!(hear(2, 5) && !hear(2, 5) && !hear(2, 14));
        assert!(hear(2, 30), "the first one ends before that");
        assert!(
            hear(3, 5) && workers.hear("w", &[], 3, SECOND, SECOND) && workers.hear("x", &queues, 3, SECOND, SECOND)
        );
        workers.unhear("x");
        assert!(workers.hear("x", &queues, 3, SECOND, SECOND));
        assert_eq!(workers.all().keys().collect::<Vec<_>>(), ["w", "x"]);
    }

    #[test]
    fn a_heartbeat_is_written_at_a_third_of_its_period_or_with_progress() {
        let workers = Workers::default();
        let lease = |left: i64| {
            let until = Timestamp::now() + jiff::SignedDuration::from_millis(left);
            LeaseHead { number: 1, worker: "w".into(), until, heartbeat_within_ms: 30_000, cancelling: false }
        };
        let holding = |id: &str, progress| Holding { id: id.to_owned(), lease: 1, progress, message: None };
        let Due::After(wait) = workers.beat(&holding("a", None), &lease(29_000)) else { panic!("a second ago") };
        assert!(wait > SECOND * 8 && wait <= SECOND * 9, "{wait:?}");
        assert_eq!(workers.beat(&holding("a", None), &lease(19_000)), Due::Now);
        assert_ne!(workers.beat(&holding("a", None), &lease(19_000)), Due::Now, "it is on its way to the log");
        assert_eq!(workers.beat(&holding("b", Some(0.5)), &lease(30_000)), Due::Now);
        assert_ne!(workers.beat(&holding("b", Some(0.6)), &lease(30_000)), Due::Now, "once a second");
        workers.unbeat("b");
        assert_eq!(workers.beat(&holding("b", Some(0.6)), &lease(-5)), Due::Now);
    }

    #[test]
    fn what_is_to_stop_is_told_once_a_second() {
        let workers = Workers::default();
        workers.hear("w", &[], 1, SECOND, SECOND);
        let of = |id: &str| (id.to_owned(), 1);
        assert!(!workers.tell("w", &[]));
        assert!(workers.tell("w", &[of("a")]) && !workers.tell("w", &[of("a")]));
        assert!(workers.tell("w", &[of("a"), of("b")]) && !workers.tell("w", &[of("b")]));
        workers.report(of("a"));
        assert!(workers.has_reported("a", 1) && !workers.has_reported("a", 2));
        workers.unreport(&of("a"));
        assert!(!workers.has_reported("a", 1));
    }
}
