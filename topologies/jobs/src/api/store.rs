//! The store: what the committed topics hold, in memory.
//!
//! ```text
//!  follow ─► apply ─► jobs by number, by queue and phase, by worker ─► lists, leases
//!                 ├─► queues, schedules, channels
//!                 └─► bells: who waits is woken once the lock is free
//! ```
//!
//! A job is its document as the topic has it, and a head that is read once. Lists go through numbers downwards in
//! parts, so that a search over a million jobs keeps nobody from being told of a lease.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::watch;

use super::bells::Bells;
use super::channels::Channels;
use super::head::{Head, Names, Unreadable, without_format};
use crate::model::{Phase, QueueRow, ScheduleRow};

/// So many changes are remembered for those who watch all jobs.
const CHANGES: usize = 10_000;

/// Over so many seconds the jobs that are done are counted.
const RATE_SECONDS: i64 = 60;

/// What the committed topics hold.
#[derive(Debug, Default)]
pub(super) struct Store {
    state: RwLock<State>,
    names: Mutex<Names>,
    /// By job.
    pub(super) jobs: Bells,
    /// By worker.
    pub(super) workers: Bells,
    /// By channel.
    pub(super) channels: Bells,
    /// The number of changes so far.
    changed: watch::Sender<u64>,
    ready: watch::Sender<bool>,
}

/// A record of a topic. Without a value it is a tombstone.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) topic: Topic,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) key: String,
    pub(super) value: Option<Vec<u8>>,
}

/// A topic that is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Topic {
    Jobs,
    Queues,
    Schedules,
    ScheduleRuns,
    Notifications,
}

impl Topic {
    pub(super) const ALL: [Self; 5] =
        [Self::Jobs, Self::Queues, Self::Schedules, Self::ScheduleRuns, Self::Notifications];

    /// Its name without the prefix.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Jobs => "jobs",
            Self::Queues => "queues",
            Self::Schedules => "schedules",
            Self::ScheduleRuns => "schedule-runs",
            Self::Notifications => "notifications",
        }
    }
}

/// What a record changes. It is read before anybody is kept out.
#[derive(Debug)]
enum Change {
    /// A job, or that there is none any more.
    Job(String, Option<Entry>),
    Queue(String, Option<QueueRow>),
    Schedule(String, Option<Bytes>),
    ScheduleRow(String, Option<ScheduleRow>),
    Notification {
        channel: String,
        partition: i32,
        offset: i64,
        document: Option<Bytes>,
    },
}

impl Change {
    /// What a record changes; nothing where it cannot be read.
    ///
    /// # Errors
    /// Where a newer program has written it.
    fn read(record: Record, names: &mut Names) -> Result<Option<Self>, Unreadable> {
        let Record { topic, partition, offset, key, value } = record;
        let value = value.filter(|value| !value.is_empty());
        Ok(match topic {
            Topic::Jobs => {
                let Some(value) = value else { return Ok(Some(Self::Job(key, None))) };
                match Head::read(&key, &value, names) {
                    Ok(head) => Some(Self::Job(key, Some(Entry { head, document: without_format(&value).into() }))),
                    Err(newer @ Unreadable::Newer(_)) => return Err(newer),
                    Err(error) => {
                        tracing::error!(job = key, %error, "skipped a record of the topic jobs");
                        None
                    }
                }
            }
            Topic::Queues => row(&key, value.as_deref()).map(|row| Self::Queue(key, row)),
            Topic::ScheduleRuns => row(&key, value.as_deref()).map(|row| Self::ScheduleRow(key, row)),
            Topic::Schedules => Some(Self::Schedule(key, value.map(Bytes::from))),
            Topic::Notifications => {
                let document = value.map(|value| without_format(&value).into());
                Some(Self::Notification { channel: key, partition, offset, document })
            }
        })
    }
}

/// A row, or that there is none any more; nothing where it cannot be read.
fn row<R: serde::de::DeserializeOwned>(key: &str, value: Option<&[u8]>) -> Option<Option<R>> {
    match value.map(serde_json::from_slice).transpose() {
        Ok(row) => Some(row),
        Err(error) => {
            tracing::error!(key, %error, "skipped a row that cannot be read");
            None
        }
    }
}

/// Takes a row in, or away.
fn set<R>(rows: &mut BTreeMap<Arc<str>, R>, key: String, row: Option<R>) {
    match row {
        Some(row) => drop(rows.insert(key.into(), row)),
        None => drop(rows.remove(key.as_str())),
    }
}

/// The place of a job in the order of all: its number, and where it is kept.
pub(super) type Place = (u64, u32);

/// Jobs in their order.
pub(super) type Index = BTreeSet<Place>;

/// A job.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) head: Head,
    /// As it is told.
    pub(super) document: Bytes,
}

/// What is known at a moment.
#[derive(Debug, Default)]
pub(super) struct State {
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    by_id: HashMap<Arc<str>, u32>,
    all: Index,
    by_phase: HashMap<Arc<str>, [Index; Phase::ALL.len()]>,
    by_worker: HashMap<Arc<str>, BTreeSet<u32>>,
    pub(super) queues: BTreeMap<Arc<str>, QueueRow>,
    /// Definitions as they were written.
    pub(super) schedules: BTreeMap<Arc<str>, Bytes>,
    pub(super) schedule_rows: BTreeMap<Arc<str>, ScheduleRow>,
    pub(super) channels: Channels,
    changes: VecDeque<(u64, Arc<str>, Arc<str>)>,
    change: u64,
    /// By second: how many jobs of each queue were done in it.
    done: BTreeMap<i64, HashMap<Arc<str>, u64>>,
    /// Whether everything that there was has been read: what changes now is new.
    is_live: bool,
}

/// Who is to be told of changes.
#[derive(Debug, Default)]
struct Told {
    jobs: BTreeSet<Arc<str>>,
    workers: BTreeSet<Arc<str>>,
    channels: BTreeSet<Arc<str>>,
    others: bool,
}

impl Store {
    /// What is known now. Whoever holds this keeps changes out: not for long.
    pub(super) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes records in, in their order, and wakes who waits for what they change.
    ///
    /// # Errors
    /// Where a newer program has written one.
    pub(super) fn apply(&self, records: Vec<Record>) -> Result<(), Unreadable> {
        let (changes, applied) = self.read_changes(records);
        let mut told = Told::default();
        let mut state = self.write();
        changes.into_iter().for_each(|change| state.take(change, &mut told));
        let change = state.change;
        drop(state);
        let is_news = !told.jobs.is_empty() || told.others;
        self.jobs.ring(&told.jobs);
        self.workers.ring(&told.workers);
        self.channels.ring(&told.channels);
        if is_news {
            self.changed.send_replace(change);
        }
        applied
    }

    /// The topic of notifications goes on at these offsets of its partitions.
    pub(super) fn reach(&self, ends: &[(i32, i64)]) {
        if !ends.is_empty() {
            let mut state = self.write();
            let is_live = state.is_live;
            ends.iter().for_each(|(partition, next)| state.channels.reach(*partition, *next, is_live));
        }
    }

    /// What records change, up to the first one that a newer program has written.
    fn read_changes(&self, records: Vec<Record>) -> (Vec<Change>, Result<(), Unreadable>) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changes = Vec::with_capacity(records.len());
        for record in records {
            match Change::read(record, &mut names) {
                Ok(change) => changes.extend(change),
                Err(newer) => return (changes, Err(newer)),
            }
        }
        (changes, Ok(()))
    }

    /// Forgets everything: it is read anew.
    pub(super) fn forget(&self) {
        self.ready.send_replace(false);
        let mut state = self.write();
        // Who watches changes is not to take new ones for those that it has seen.
        let change = state.change + 1;
        let former = std::mem::replace(&mut *state, State { change, ..State::default() });
        drop(state);
        drop(former);
    }

    /// Everything that there was has been read.
    pub(super) fn set_ready(&self) {
        self.write().is_live = true;
        self.ready.send_replace(true);
        self.jobs.ring_all();
        self.workers.ring_all();
        self.channels.ring_all();
        let change = self.read().change;
        self.changed.send_replace(change);
    }

    pub(super) fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// Tells of each change of jobs and queues by its number.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

impl State {
    fn take(&mut self, change: Change, told: &mut Told) {
        match change {
            Change::Job(id, entry) => return self.take_job(&id, entry, told),
            Change::Queue(queue, row) => set(&mut self.queues, queue, row),
            Change::ScheduleRow(schedule, row) => set(&mut self.schedule_rows, schedule, row),
            Change::Schedule(schedule, definition) => set(&mut self.schedules, schedule, definition),
            Change::Notification { channel, partition, offset, document } => {
                let told_of = self.channels.take(&channel, partition, offset, document, self.is_live);
                told.channels.extend(told_of);
                return;
            }
        }
        self.change += 1;
        told.others = true;
    }

    fn take_job(&mut self, id: &str, mut entry: Option<Entry>, told: &mut Told) {
        let former = self.remove(id);
        let head = entry.as_ref().map(|entry| &entry.head);
        let Some((id, queue)) = head.or(former.as_ref()).map(|head| (Arc::clone(&head.id), Arc::clone(&head.queue)))
        else {
            return;
        };
        let workers = [former.as_ref(), head].into_iter().flatten().filter_map(|head| head.lease.as_deref());
        told.workers.extend(workers.map(|lease| Arc::clone(&lease.worker)));
        told.jobs.insert(Arc::clone(&id));
        self.change += 1;
        self.changes.push_back((self.change, id, queue));
        if self.changes.len() > CHANGES {
            self.changes.pop_front();
        }
        if let Some(lease) = entry.as_mut().and_then(|entry| entry.head.lease.as_mut()) {
            let former = former.as_ref().and_then(|former| former.lease.as_ref());
            let same = former.filter(|former| (former.number, former.until) == (lease.number, lease.until));
            // How long ago what was read at first was renewed is not known: clocks differ.
            lease.renewed = same.map_or_else(|| self.is_live.then(Instant::now), |former| former.renewed);
        }
        if let Some(entry) = entry {
            if entry.head.phase == Phase::Done && former.is_none_or(|former| former.phase != Phase::Done) {
                self.count_done(&entry.head);
            }
            self.insert(entry);
        }
    }

    fn insert(&mut self, entry: Entry) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            (self.entries.len() - 1) as u32
        });
        let Head { id, number, queue, phase, lease, .. } = &entry.head;
        let place = (*number, slot);
        self.by_id.insert(Arc::clone(id), slot);
        self.all.insert(place);
        self.by_phase.entry(Arc::clone(queue)).or_default()[*phase as usize].insert(place);
        if let Some(lease) = lease {
            self.by_worker.entry(Arc::clone(&lease.worker)).or_default().insert(slot);
        }
        if let Some(kept) = self.entries.get_mut(slot as usize) {
            *kept = Some(entry);
        }
    }

    fn remove(&mut self, id: &str) -> Option<Head> {
        let slot = self.by_id.remove(id)?;
        let entry = self.entries.get_mut(slot as usize)?.take()?;
        self.free.push(slot);
        let place = (entry.head.number, slot);
        self.all.remove(&place);
        if let Some(phases) = self.by_phase.get_mut(&entry.head.queue) {
            phases[entry.head.phase as usize].remove(&place);
            if phases.iter().all(BTreeSet::is_empty) {
                self.by_phase.remove(&entry.head.queue);
            }
        }
        if let Some(lease) = &entry.head.lease
            && let Some(slots) = self.by_worker.get_mut(&lease.worker)
        {
            slots.remove(&slot);
            if slots.is_empty() {
                self.by_worker.remove(&lease.worker);
            }
        }
        Some(entry.head)
    }

    fn count_done(&mut self, head: &Head) {
        let now = Timestamp::now().as_second();
        while let Some(oldest) = self.done.first_entry().filter(|oldest| *oldest.key() <= now - RATE_SECONDS) {
            oldest.remove();
        }
        let second = head.settled_at.map_or(i64::MIN, Timestamp::as_second).min(now);
        if second > now - RATE_SECONDS {
            *self.done.entry(second).or_default().entry(Arc::clone(&head.queue)).or_default() += 1;
        }
    }

    /// How many jobs of a queue were done in the last minute.
    pub(super) fn done_per_minute(&self, queue: &str) -> u64 {
        let since = Timestamp::now().as_second() - RATE_SECONDS;
        self.done.range(since + 1..).filter_map(|(_, queues)| queues.get(queue)).sum()
    }

    /// A job.
    pub(super) fn job(&self, id: &str) -> Option<&Entry> {
        self.entry(*self.by_id.get(id)?)
    }

    /// The job that is kept at a place.
    pub(super) fn entry(&self, slot: u32) -> Option<&Entry> {
        self.entries.get(slot as usize)?.as_ref()
    }

    /// What a worker has.
    pub(super) fn leased_by(&self, worker: &str) -> impl Iterator<Item = &Entry> {
        let slots = self.by_worker.get(worker).into_iter().flatten();
        slots.filter_map(|slot| self.entry(*slot))
    }

    /// All workers that have something.
    pub(super) fn leasing_workers(&self) -> impl Iterator<Item = &Arc<str>> {
        self.by_worker.keys()
    }

    /// All jobs.
    pub(super) fn all(&self) -> &Index {
        &self.all
    }

    /// The jobs of each queue by their phases, in the order of [`Phase::ALL`].
    pub(super) fn by_phase(&self) -> impl Iterator<Item = (&Arc<str>, &[Index; Phase::ALL.len()])> {
        self.by_phase.iter()
    }

    /// The jobs of a queue by their phases.
    pub(super) fn phases_of(&self, queue: &str) -> Option<&[Index; Phase::ALL.len()]> {
        self.by_phase.get(queue)
    }

    /// The number of the last change.
    pub(super) fn change(&self) -> u64 {
        self.change
    }

    /// The jobs that have changed after a change, with their queues; `None` where that is too long ago.
    pub(super) fn changed_after(&self, after: u64) -> Option<impl Iterator<Item = (&Arc<str>, &Arc<str>)>> {
        let is_whole = self.changes.len() < CHANGES || self.changes.front().is_some_and(|first| first.0 <= after + 1);
        let begin = self.changes.partition_point(|(change, ..)| *change <= after);
        is_whole.then(|| self.changes.range(begin..).map(|(_, id, queue)| (id, queue)))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    pub(in crate::api) fn document(id: &str, number: u64, queue: &str, phase: Phase, worker: Option<&str>) -> Vec<u8> {
        let at = "2026-12-01T10:00:00Z";
        let mut job = json!({"format": 1, "id": id, "queue": queue, "number": number, "priority": 0, "phase": phase,
            "payload": {"n": number}, "submittedAt": at, "readyAt": at, "attempt": 1, "leaseNumber": 1,
            "limits": {"maxAttempts": 3, "backoff": {"initialMs": 1, "maxMs": 2}, "heartbeatWithinMs": 30_000}});
        if let Some(worker) = worker {
            job["lease"] = json!({"number": 1, "worker": worker, "slot": 0, "since": at, "until": at});
        }
        if phase == Phase::Done {
            job["settled"] = json!({"at": Timestamp::now(), "leavesAt": null});
        }
        job.to_string().into_bytes()
    }

    pub(in crate::api) fn record(id: &str, value: Option<Vec<u8>>) -> Record {
        Record { topic: Topic::Jobs, partition: 0, offset: 0, key: id.to_owned(), value }
    }

    type Known = BTreeMap<u8, (u64, u8, Phase, Option<u8>)>;

    proptest! {
        #[test]
        fn indexes_hold_what_the_jobs_are(
            steps in prop::collection::vec((0u8..8, 0u8..3, 0usize..9, 0u8..3), 0..60)
        ) {
            let store = Store::default();
            let mut known = Known::new();
            for ((id, queue, phase, worker), number) in steps.into_iter().zip(0u64..) {
                let value = Phase::ALL.get(phase).map(|phase| {
                    let worker = (*phase == Phase::Leased).then_some(worker);
                    known.insert(id, (number, queue, *phase, worker));
                    let worker = worker.map(|worker| format!("w{worker}"));
                    document(&format!("j{id}"), number, &format!("q{queue}"), *phase, worker.as_deref())
                });
                if value.is_none() {
                    known.remove(&id);
                }
                store.apply(vec![record(&format!("j{id}"), value)]).unwrap();
            }
            let state = store.read();
            prop_assert_eq!(state.all.len(), known.len());
            let mut counted = 0;
            for (queue, phases) in state.by_phase() {
                for (index, phase) in phases.iter().zip(Phase::ALL) {
                    counted += index.len();
                    for (number, slot) in index {
                        let head = &state.entry(*slot).unwrap().head;
                        prop_assert_eq!((head.number, &head.queue, head.phase), (*number, queue, phase));
                    }
                }
            }
            prop_assert_eq!(counted, known.len());
            for (id, (number, queue, phase, worker)) in &known {
                let head = &state.job(&format!("j{id}")).unwrap().head;
                prop_assert_eq!((head.number, &*head.queue, head.phase), (*number, &*format!("q{queue}"), *phase));
                if let Some(worker) = worker {
                    let has = state.leased_by(&format!("w{worker}")).any(|entry| entry.head.id == head.id);
                    prop_assert!(has);
                }
            }
            let leased = known.values().filter(|(_, _, phase, _)| *phase == Phase::Leased).count();
            prop_assert_eq!(state.by_worker.values().map(BTreeSet::len).sum::<usize>(), leased);
        }
    }

    #[test]
    fn those_who_wait_are_told_and_changes_are_remembered_for_a_while() {
        let store = Store::default();
        let (mut job, worker) = (store.jobs.listen("a"), store.workers.listen("w"));
        store.apply(vec![record("a", Some(document("a", 1, "q", Phase::Leased, Some("w"))))]).unwrap();
        assert!(job.has_changed().unwrap() && worker.has_changed().unwrap());
        job.mark_unchanged();
        store.apply(vec![record("a", None), record("none", None)]).unwrap();
        assert!(job.has_changed().unwrap() && store.read().job("a").is_none());
        let ids = |after| -> Option<Vec<String>> {
            let state = store.read();
            let changed = state.changed_after(after)?;
            Some(changed.map(|(id, queue)| format!("{queue}/{id}")).collect())
        };
        assert_eq!(ids(1), Some(vec!["q/a".to_owned()]));
        for number in 0..CHANGES as u64 {
            store.apply(vec![record("b", Some(document("b", number, "q", Phase::Done, None)))]).unwrap();
        }
        assert_eq!((ids(1), ids(2).map(|ids| ids.len())), (None, Some(CHANGES)));
        let newer = br#"{"format":9,"id":"a","queue":"q","number":1,"phase":"done","limits":{"heartbeatWithinMs":1}}"#;
        assert!(matches!(store.apply(vec![record("a", Some(newer.to_vec()))]), Err(Unreadable::Newer(9))));
    }
    #[test]
    fn what_is_done_is_counted_for_a_minute() {
        let store = Store::default();
        let done = |id: &str, queue: &str| record(id, Some(document(id, 1, queue, Phase::Done, None)));
        store.apply((0..50).map(|number| done(&format!("j{number}"), &format!("q{number}"))).collect()).unwrap();
        store.apply(vec![done("x", "q1"), record("x", None), done("j1", "q1")]).unwrap();
        assert_eq!([store.read().done_per_minute("q1"), store.read().done_per_minute("none")], [2, 0]);
        let mut state = store.write();
        // As if a minute had passed.
        state.done = std::mem::take(&mut state.done).into_iter().map(|(at, of)| (at - RATE_SECONDS, of)).collect();
        assert_eq!(state.done_per_minute("q1"), 0);
        drop(state);
        store.apply(vec![done("y", "q2")]).unwrap();
        let state = store.read();
        assert_eq!(state.done.values().map(HashMap::len).sum::<usize>(), 1, "queues that have gone are forgotten");
    }

    #[test]
    fn a_lease_is_as_old_as_it_was_seen_to_change() {
        let store = Store::default();
        let renewed = |store: &Store| store.read().job("a").unwrap().head.lease.as_ref().unwrap().renewed;
        let leased = |until: &str| {
            let text = String::from_utf8(document("a", 1, "q", Phase::Leased, Some("w"))).unwrap();
            let until = format!(r#""until":"{until}""#);
            record("a", Some(text.replace(r#""until":"2026-12-01T10:00:00Z""#, &until).into_bytes()))
        };
        store.apply(vec![leased("2026-12-01T10:00:10Z")]).unwrap();
        store.set_ready();
        assert_eq!(renewed(&store), None);
        store.apply(vec![leased("2026-12-01T10:00:10Z")]).unwrap();
        assert_eq!(renewed(&store), None, "it was not renewed");
        store.apply(vec![leased("2026-12-01T10:00:20Z")]).unwrap();
        let first = renewed(&store).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(2));
        store.apply(vec![leased("2026-12-01T10:00:20Z")]).unwrap();
        assert_eq!(renewed(&store), Some(first));
        store.apply(vec![leased("2026-12-01T10:00:30Z")]).unwrap();
        assert!(renewed(&store).unwrap() > first);
    }
}
