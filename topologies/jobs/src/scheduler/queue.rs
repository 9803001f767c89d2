//! A queue: which of its jobs is next.
//!
//! Groups take turns (round robin): a group that may be given a lease stands in line, at the end when it comes, and again
//! when it was served. So it waits for one lease of each group before it at most, however many jobs others have. Within a
//! group, the job with the smallest [`order`](Ordered::order_ms) is next: the time at which it became ready, moved ahead
//! by its priority.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use foldhash::HashMap;
use headwater_flow::Timers;

use super::histogram::Histogram;
use super::rate::Gcra;
use super::settings::QueueLimits;
use super::worker::{JobNo, QueueNo, WorkerNo};
use crate::model::Phase;

/// The name of a group; jobs without one are a group of their own.
pub(super) type GroupName = Option<Arc<str>>;

/// Where a waiting job stands in its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ordered {
    /// When it became ready, moved ahead by its priority, in ms.
    pub(super) order_ms: i64,
    /// The order of submission.
    pub(super) number: u64,
}

/// A queue.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) name: Arc<str>,
    pub(super) limits: QueueLimits,
    pub(super) paused: bool,
    pub(super) counts: [u64; Phase::ALL.len()],
    pub(super) waits: Histogram,
    pub(super) runs: Histogram,
    /// Since when jobs wait, and their numbers.
    pub(super) waiting_since: BTreeSet<(i64, u64)>,
    /// How many workers take jobs of it.
    pub(super) workers: u32,
    /// Workers that take one more, the one first that was given one the longest ago.
    pub(super) free: BTreeSet<(u64, WorkerNo)>,
    pub(super) rate: Gcra,
    groups: HashMap<GroupName, Group>,
    /// Groups that may be given a lease, in line.
    line: BTreeMap<u64, GroupName>,
    /// The end of the line.
    next_place: u64,
    /// When it was served last: a count that all queues share.
    pub(super) served: u64,
}

/// The jobs of a queue that take turns with others.
#[derive(Debug, Default)]
struct Group {
    waiting: BTreeMap<Ordered, JobNo>,
    leased: u32,
    /// Where it stands in line.
    place: Option<u64>,
    rate: Gcra,
}

impl Queue {
    pub(super) fn new(name: Arc<str>, limits: QueueLimits) -> Self {
        Self {
            name,
            limits,
            paused: false,
            counts: [0; Phase::ALL.len()],
            waits: Histogram::default(),
            runs: Histogram::default(),
            waiting_since: BTreeSet::new(),
            workers: 0,
            free: BTreeSet::new(),
            rate: Gcra::default(),
            groups: HashMap::default(),
            line: BTreeMap::new(),
            next_place: 0,
            served: 0,
        }
    }

    pub(super) fn count(&self, phase: Phase) -> u64 {
        self.counts[phase as usize]
    }

    /// Whether there is nothing to tell of it.
    pub(super) fn is_empty(&self) -> bool {
        !self.paused && self.counts.iter().all(|count| *count == 0)
    }

    /// From when on its rates hold nothing back that has not come yet.
    pub(super) fn rests_from(&self, now: i64) -> i64 {
        let own = self.limits.pace.map(|_| self.rate.rests_at());
        let rests_at = |_| self.groups.values().map(|group| group.rate.rests_at()).max();
        let of_groups = self.limits.group_pace.and_then(rests_at);
        own.max(of_groups).unwrap_or(now)
    }

    /// When it may lease a job as far as its own limits say; `None` where only another event lets it.
    pub(super) fn may_lease_at(&self, now: i64) -> Option<i64> {
        if self.paused || self.count(Phase::Leased) >= u64::from(self.limits.concurrency) || self.line.is_empty() {
            return None;
        }
        Some(self.limits.pace.map_or(now, |pace| self.rate.allowed_at(pace).max(now)))
    }

    /// The job that is next.
    pub(super) fn next(&self) -> Option<JobNo> {
        let (_, name) = self.line.first_key_value()?;
        self.groups.get(name)?.waiting.values().next().copied()
    }

    /// A job waits from now on.
    pub(super) fn wait(&mut self, group: &GroupName, at: Ordered, job: JobNo) {
        self.group(group).waiting.insert(at, job);
    }

    /// A job waits no more.
    pub(super) fn wait_no_more(&mut self, group: &GroupName, at: Ordered) {
        self.group(group).waiting.remove(&at);
    }

    /// A job is leased from `now` on, and its group has had its turn. NB: not for leases of before a restart.
    pub(super) fn serve(&mut self, group: &GroupName, now: i64) {
        if let Some(pace) = self.limits.pace {
            self.rate.take(pace, now);
        }
        self.stand_back(group);
        if let Some(pace) = self.limits.group_pace {
            self.group(group).rate.take(pace, now);
        }
    }

    /// A lease of before a restart, with those of each group in the order of their times.
    pub(super) fn remember_lease(&mut self, group: &GroupName, since: i64) {
        if let Some(pace) = self.limits.pace {
            self.rate.take(pace, since);
        }
        if let Some(pace) = self.limits.group_pace {
            self.group(group).rate.take(pace, since);
        }
    }

    pub(super) fn lease_begins(&mut self, group: &GroupName) {
        self.group(group).leased += 1;
    }

    pub(super) fn lease_ends(&mut self, group: &GroupName) {
        self.group(group).leased -= 1;
    }

    /// Lets a group stand in line, or not, as it is now. Returns when to look again, where only time is to pass.
    pub(super) fn settle(&mut self, name: &GroupName, now: i64) -> Option<i64> {
        let (limits, end) = (self.limits, self.next_place);
        let group = self.group(name);
        let allowed_at = limits.group_pace.map_or(now, |pace| group.rate.allowed_at(pace));
        let wants = !group.waiting.is_empty() && group.leased < limits.group_concurrency;
        if wants && allowed_at <= now {
            if group.place.is_none() {
                group.place = Some(end);
                self.next_place += 1;
                self.line.insert(end, name.clone());
            }
            return None;
        }
        let is_idle = group.waiting.is_empty() && group.leased == 0;
        let rests_at = limits.group_pace.map_or(now, |_| group.rate.rests_at());
        self.stand_back(name);
        if is_idle && rests_at <= now {
            self.groups.remove(name);
        }
        let again = if is_idle { rests_at } else { allowed_at };
        (again > now).then_some(again)
    }

    fn stand_back(&mut self, name: &GroupName) {
        let place = self.groups.get_mut(name).and_then(|group| group.place.take());
        if let Some(place) = place {
            self.line.remove(&place);
        }
    }

    fn group(&mut self, name: &GroupName) -> &mut Group {
        self.groups.entry(name.clone()).or_default()
    }
}

/// Alarms of queues and groups whose rate holds them back.
pub(super) type Wakes = Timers<(QueueNo, Option<GroupName>)>;
