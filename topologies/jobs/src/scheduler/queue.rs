//! A queue: which of its jobs is next.
//!
//! Groups take turns. Each group has a *turn*, a number that grows by one with each job of it that is leased; the
//! group with the smallest turn is next (start-time fair queueing, Goyal, Vin and Cheng 1996, with jobs of cost
//! one). A group that had nothing to do comes back at the turn of the queue: it does not save up turns. Within a group, the job with the smallest
//! [`order`](Ordered::order_ms) is next: the time at which it became ready, moved ahead by its priority.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use foldhash::HashMap;
use headwater_flow::Timers;

use super::histogram::Histogram;
use super::rate::Gcra;
use super::settings::QueueLimits;
use super::worker::{JobNo, WorkerNo};
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
    /// Workers that take one more, the one first that was given one the longest ago.
    pub(super) free: BTreeSet<(u64, WorkerNo)>,
    pub(super) rate: Gcra,
    groups: HashMap<GroupName, Group>,
    /// Groups that may be given a lease, by turn.
    turns: BTreeSet<(u64, GroupName)>,
    /// The turn of the group that was served last.
    turn: u64,
    /// Groups without jobs that are ahead of their turn, by turn: what they were given is not forgotten.
    ahead: BTreeSet<(u64, GroupName)>,
}

/// The jobs of a queue that take turns with others.
#[derive(Debug, Default)]
struct Group {
    waiting: BTreeMap<Ordered, JobNo>,
    leased: u32,
    turn: u64,
    /// Whether it stands among the turns.
    stands: bool,
    rate: Gcra,
}

impl Group {
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.leased == 0
    }
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
            free: BTreeSet::new(),
            rate: Gcra::default(),
            groups: HashMap::default(),
            turns: BTreeSet::new(),
            turn: 0,
            ahead: BTreeSet::new(),
        }
    }

    pub(super) fn count(&self, phase: Phase) -> u64 {
        self.counts[phase as usize]
    }

    /// Whether there is nothing to tell of it.
    pub(super) fn is_empty(&self) -> bool {
        !self.paused && self.counts.iter().all(|count| *count == 0)
    }

    /// When it may lease a job as far as its own limits say; `None` where only another event lets it.
    pub(super) fn may_lease_at(&self, now: i64) -> Option<i64> {
        if self.paused || self.count(Phase::Leased) >= u64::from(self.limits.concurrency) || self.turns.is_empty() {
            return None;
        }
        Some(self.limits.pace.map_or(now, |pace| self.rate.allowed_at(pace).max(now)))
    }

    /// The job that is next.
    pub(super) fn next(&self) -> Option<JobNo> {
        let (_, name) = self.turns.first()?;
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
        let (pace, group_pace) = (self.limits.pace, self.limits.group_pace);
        if let Some(pace) = pace {
            self.rate.take(pace, now);
        }
        self.stand_back(group);
        let served = self.group(group);
        let turn = served.turn;
        served.turn += 1;
        if let Some(pace) = group_pace {
            served.rate.take(pace, now);
        }
        self.turn = self.turn.max(turn);
        while self.ahead.first().is_some_and(|(turn, _)| *turn <= self.turn) {
            let Some((_, name)) = self.ahead.pop_first() else { break };
            if self.groups.get(&name).is_some_and(Group::is_idle) {
                self.groups.remove(&name);
            }
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

    /// Lets a group stand among the turns, or not, as it is now. Returns when it may stand there again, where only
    /// time is to pass.
    pub(super) fn settle(&mut self, name: &GroupName, now: i64) -> Option<i64> {
        let (limits, turn) = (self.limits, self.turn);
        let group = self.group(name);
        let allowed_at = limits.group_pace.map_or(now, |pace| group.rate.allowed_at(pace));
        let wants = !group.waiting.is_empty() && group.leased < limits.group_concurrency;
        let stands = wants && allowed_at <= now;
        if stands && !group.stands {
            group.turn = group.turn.max(turn);
            group.stands = true;
            let key = (group.turn, name.clone());
            self.turns.insert(key);
        } else if !stands {
            let (is_idle, own_turn) = (group.is_idle() && allowed_at <= now, group.turn);
            self.stand_back(name);
            match is_idle {
                true if own_turn > turn => drop(self.ahead.insert((own_turn, name.clone()))),
                true => drop(self.groups.remove(name)),
                false => {}
            }
        }
        (!stands && allowed_at > now).then_some(allowed_at)
    }

    fn stand_back(&mut self, name: &GroupName) {
        let Some(group) = self.groups.get_mut(name).filter(|group| group.stands) else { return };
        group.stands = false;
        let key = (group.turn, name.clone());
        self.turns.remove(&key);
    }

    fn group(&mut self, name: &GroupName) -> &mut Group {
        self.groups.entry(name.clone()).or_default()
    }
}

/// Alarms of queues and groups whose rate holds them back.
pub(super) type Wakes = Timers<(u32, Option<GroupName>)>;
