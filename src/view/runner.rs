//! The thread that keeps one store up to date.
//!
//! It works in sessions. A session opens the store, claims it, reads the offsets, decides whether
//! to resume or to rebuild, opens a reader there, and applies batches until it is stopped or
//! something fails. After a failure that may pass, the next session begins after a pause; it
//! trusts nothing but what the store then says.
//!
//! Where a store takes several writers, the partitions are dealt out among them, each writer with
//! its own connection, reader and transactions: a key is in one partition, so that writers share no
//! row, and the offsets of a partition move with its rows as ever. What one of them cannot go on
//! with ends the session of all.
//!
//! A writer that is behind reads ahead: while the store takes one batch, another thread reads the
//! next one and makes rows of it, and goes on reading until the store is free or the batch is full.
//! The more is unread, the larger the batches are, and the fewer of their records need be written:
//! of each key the last one.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::rows::{Batch, Step, ends_of, make_storable};
use super::{BatchConfig, Generation, OpenStore, Preparation, Stored, ViewError, ViewOptions, ViewStore, ViewTopics};
use crate::error::{Backoff, Failure, Fatal, Fault, Transient};
use crate::fail_point::FailPoint;
use crate::log::{Log, LogError, LogRecord, Polled, Reader, Start, TopicPartition, Watermarks};

/// Pause before the second attempt; doubled with each further one, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How long the thread goes without looking whether it is to stop.
const TICK: Duration = Duration::from_millis(50);

/// A view that is to stop still writes so many records that it has read; more would take too long.
const LAST_RECORDS: usize = 5_000;

/// How long the end of a view is waited for: its database may have stalled.
const END_PATIENCE: Duration = Duration::from_secs(10);

/// Batches that are read ahead before the view looks at everything else again. The records of all
/// of them are in memory meanwhile.
const BATCHES_AHEAD: usize = 3;

/// The most that is asked of the reader at once, so that batches do not become much larger than
/// they may be.
const POLL_BYTES: usize = 4 << 20;

/// How often offsets are refreshed although nothing came, so that the store knows how long the
/// view was away; the lag is measured and old dead letters are dropped as often.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Starts views.
pub struct View;

impl View {
    /// Starts the view `name` on threads of its own. `stop` may be shared: setting it stops the view.
    ///
    /// # Errors
    /// [`ViewError::Failed`] when the system gives no thread. Everything else (an unreachable
    /// database, say) shows in [`ViewHandle::status`] and [`ViewHandle::failure`].
    pub fn start(
        name: &str,
        log: Arc<dyn Log>,
        topics: ViewTopics,
        options: ViewOptions,
        open: OpenStore,
        stop: Arc<AtomicBool>,
    ) -> Result<ViewHandle, ViewError> {
        let shared = Arc::new(Shared { topics: topics.clone(), state: Mutex::default(), changed: Condvar::new() });
        let meters = Meters::new(name);
        let common = Common {
            name: name.to_owned(),
            log,
            topics,
            options,
            stop: Arc::clone(&stop),
            shared: Arc::clone(&shared),
            meters,
            backoff: Mutex::new(Backoff::new(FIRST_PAUSE, LONGEST_PAUSE)),
        };
        let runner = Runner { common, open, generation: None, rebuild: None };
        let thread = std::thread::Builder::new()
            .name(format!("view-{name}"))
            .spawn(move || runner.run())
            .map_err(|error| ViewError::Failed { doing: "starting the thread of a view", reason: error.to_string() })?;
        Ok(ViewHandle { name: name.to_owned(), shared, stop, thread: Some(thread) })
    }
}

/// What a view has done and how it is.
#[derive(Debug, Clone, Default)]
pub struct ViewStatus {
    /// For each partition, the offset before which every record shows in the tables.
    pub positions: BTreeMap<TopicPartition, i64>,
    /// Offsets between the positions and the ends of the topics when that was last looked at.
    pub lag: u64,
    /// Records applied.
    pub records: u64,
    /// Rows written and deleted.
    pub rows: u64,
    /// Records that could not be read or stored, and were left out.
    pub skipped: u64,
    /// How often the tables were emptied and read anew.
    pub rebuilds: u64,
    /// Why the view makes no progress at the moment, while it tries again.
    pub trouble: Option<String>,
}

/// Looks at a view.
#[derive(Clone)]
pub struct ViewWatch {
    name: String,
    shared: Arc<Shared>,
}

impl ViewWatch {
    /// The name of the view.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The topics that it reads.
    pub fn topics(&self) -> [&Arc<str>; 5] {
        self.shared.topics.all()
    }

    /// What it has done and how it is.
    pub fn status(&self) -> ViewStatus {
        self.shared.lock().status.clone()
    }

    /// Whether it has ended by an error.
    pub fn has_failed(&self) -> bool {
        self.shared.lock().failure.is_some()
    }
}

/// A running view.
pub struct ViewHandle {
    name: String,
    shared: Arc<Shared>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl ViewHandle {
    /// The name of the view.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Something to look at it with, for others.
    pub fn watch(&self) -> ViewWatch {
        ViewWatch { name: self.name.clone(), shared: Arc::clone(&self.shared) }
    }

    /// What it has done and how it is.
    pub fn status(&self) -> ViewStatus {
        self.shared.lock().status.clone()
    }

    /// Why it ended; `None` while it works or tries again.
    pub fn failure(&self) -> Option<Arc<ViewError>> {
        self.shared.lock().failure.clone()
    }

    /// Whether the tables show everything before `ends`. Partitions of topics that no view reads
    /// do not count.
    pub fn caught_up_to(&self, ends: &[(TopicPartition, i64)]) -> bool {
        let state = self.shared.lock();
        self.shared.reached(&state, ends)
    }

    /// Waits until [`caught_up_to`](Self::caught_up_to), for at most `timeout`; whether it is so.
    /// Returns early when the view has ended.
    pub fn wait_until(&self, ends: &[(TopicPartition, i64)], timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut state = self.shared.lock();
        loop {
            if self.shared.reached(&state, ends) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let ended = self.thread.as_ref().is_none_or(JoinHandle::is_finished);
            if left.is_zero() || ended {
                return false;
            }
            let waited = self.shared.changed.wait_timeout(state, left.min(TICK));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Stops the view after the batch that is being written, and says why it had ended before, if it had.
    pub fn stop(mut self) -> Result<(), Arc<ViewError>> {
        self.end();
        self.failure().map_or(Ok(()), Err)
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let deadline = Instant::now() + END_PATIENCE;
        while self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            if Instant::now() >= deadline {
                tracing::warn!(view = self.name, "the view hangs and is left behind; its transaction may yet succeed");
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!(view = self.name, "the view's thread ended by a panic");
        }
    }
}

impl Drop for ViewHandle {
    fn drop(&mut self) {
        self.end();
    }
}

/// How one of the writers of a view is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct WriterState {
    /// Offsets between its positions and the ends of its partitions.
    lag: u64,
    /// Whether it has written something since the session began, or has nothing to write.
    works: bool,
}

impl State {
    fn set_writers(&mut self, writers: Vec<WriterState>) {
        self.writers = writers;
        self.status.lag = self.writers.iter().map(|writer| writer.lag).sum();
    }

    fn set_lag(&mut self, writer: usize, lag: u64) {
        if let Some(of_writer) = self.writers.get_mut(writer) {
            of_writer.lag = lag;
        }
        self.status.lag = self.writers.iter().map(|writer| writer.lag).sum();
    }

    /// Notes that a writer works; whether now all of them do.
    fn set_works(&mut self, writer: usize) -> bool {
        if let Some(writer) = self.writers.get_mut(writer) {
            writer.works = true;
        }
        self.writers.iter().all(|writer| writer.works)
    }
}

struct Shared {
    topics: ViewTopics,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    status: ViewStatus,
    /// The writers of the session.
    writers: Vec<WriterState>,
    failure: Option<Arc<ViewError>>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn reached(&self, state: &State, ends: &[(TopicPartition, i64)]) -> bool {
        let own = self.topics.all();
        ends.iter()
            .filter(|(partition, _)| own.contains(&&partition.topic))
            .all(|(partition, end)| state.status.positions.get(partition).is_some_and(|next| next >= end))
    }
}

/// Why the tables are made anew.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Rebuild {
    New,
    Foreign(TopicPartition),
    Beyond { partition: TopicPartition, next: i64, high: i64 },
    Gone { partition: TopicPartition, next: i64, low: i64 },
    Away { partition: TopicPartition, age: Duration },
}

impl fmt::Display for Rebuild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New => write!(f, "nothing was read yet"),
            Self::Foreign(at) => write!(f, "the tables reflect {}/{}, which is not there", at.topic, at.partition),
            Self::Beyond { partition: at, next, high } => {
                write!(f, "{}/{} ends at {high}, before offset {next}: it was recreated", at.topic, at.partition)
            }
            Self::Gone { partition: at, next, low } => {
                write!(f, "{}/{} begins at {low}, after offset {next}: records are gone", at.topic, at.partition)
            }
            Self::Away { partition: at, age } => write!(
                f,
                "the view was away from {}/{} for {} s: it may have missed tombstones",
                at.topic,
                at.partition,
                age.as_secs()
            ),
        }
    }
}

/// Whether what the store holds can be continued with what the log holds.
fn why_rebuild(
    stored: &BTreeMap<TopicPartition, Stored>,
    marks: &BTreeMap<TopicPartition, Watermarks>,
    rebuild_after: Duration,
) -> Option<Rebuild> {
    if stored.is_empty() {
        return Some(Rebuild::New);
    }
    stored.iter().find_map(|(partition, &Stored { next, age })| {
        let Some(&Watermarks { low, high }) = marks.get(partition) else {
            return Some(Rebuild::Foreign(partition.clone()));
        };
        let partition = partition.clone();
        if next > high {
            return Some(Rebuild::Beyond { partition, next, high });
        }
        if next < low {
            return Some(Rebuild::Gone { partition, next, low });
        }
        // Where nothing is unread, no tombstone can have been missed.
        (age > rebuild_after && next < high).then_some(Rebuild::Away { partition, age })
    })
}

/// What the sessions of a view, and the writers of a session, have in common.
struct Common {
    name: String,
    log: Arc<dyn Log>,
    topics: ViewTopics,
    options: ViewOptions,
    stop: Arc<AtomicBool>,
    shared: Arc<Shared>,
    meters: Meters,
    backoff: Mutex<Backoff>,
}

impl Common {
    fn stopping(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn sleep(&self, pause: Duration) {
        let until = Instant::now() + pause;
        while !self.stopping() && Instant::now() < until {
            std::thread::sleep(TICK.min(until.saturating_duration_since(Instant::now())));
        }
    }

    fn backoff(&self) -> MutexGuard<'_, Backoff> {
        self.backoff.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a writer works. The trouble is over when all of them do: one that fails again and
    /// again must not be tried ever sooner because the others have no trouble.
    fn works(&self, state: &mut State, writer: usize) {
        if state.set_works(writer) {
            state.status.trouble = None;
            if self.backoff().reset() {
                tracing::info!(view = self.name, "the view works again");
            }
        }
    }

    fn applied(&self, writer: usize, records: usize, rows: usize, skipped: usize, took: Duration) {
        let Self { meters, shared, .. } = self;
        meters.records.increment(records as u64);
        meters.rows.increment(rows as u64);
        meters.skipped.increment(skipped as u64);
        meters.seconds.record(took.as_secs_f64());
        shared.update(|state| {
            let status = &mut state.status;
            status.records += records as u64;
            status.rows += rows as u64;
            status.skipped += skipped as u64;
            self.works(state, writer);
        });
    }

    fn watermarks(&self) -> Result<BTreeMap<TopicPartition, Watermarks>, ViewError> {
        let mut marks = BTreeMap::new();
        for topic in self.topics.all() {
            let of_topic =
                self.log.watermarks(topic)?.ok_or_else(|| LogError::UnknownTopic { topic: topic.to_string() })?;
            for (watermarks, partition) in of_topic.into_iter().zip(0..) {
                marks.insert(TopicPartition::new(Arc::clone(topic), partition), watermarks);
            }
        }
        Ok(marks)
    }
}

struct Runner {
    common: Common,
    open: OpenStore,
    generation: Option<Generation>,
    /// Set when reading showed that the offsets are no good.
    rebuild: Option<Rebuild>,
}

impl Runner {
    fn run(mut self) {
        while !self.common.stopping() {
            let Err(error) = self.session() else { return };
            let Common { name, shared, meters, .. } = &self.common;
            let error = match error.judged() {
                Failure::Fatal(Fatal(error)) => {
                    tracing::error!(view = name, %error, "the view has ended");
                    shared.update(|state| state.failure = Some(Arc::new(error)));
                    return;
                }
                Failure::Transient(Transient(error)) => error,
            };
            let pause = self.common.backoff().pause();
            meters.retries.increment(1);
            tracing::warn!(view = name, %error, pause_ms = pause.as_millis() as u64, "the view will try again");
            shared.update(|state| state.status.trouble = Some(error.to_string()));
            self.note_gone(&error);
            self.common.sleep(pause);
        }
    }

    fn note_gone(&mut self, error: &ViewError) {
        if let ViewError::Log(LogError::OffsetGone { topic, partition, offset, low }) = error {
            let partition = TopicPartition::new(topic.as_str(), *partition);
            self.rebuild = Some(Rebuild::Gone { partition, next: *offset, low: *low });
        }
    }

    /// Works until it is told to stop.
    fn session(&mut self) -> Result<(), ViewError> {
        let mut store = (self.open)()?;
        FailPoint::ViewOpened.reach();
        let generation = store.claim(self.generation)?;
        self.generation = Some(generation);
        FailPoint::ViewClaimed.reach();
        let marks = self.common.watermarks()?;
        let mut stored = store.offsets()?;
        let why = self.rebuild.take().or_else(|| why_rebuild(&stored, &marks, self.common.options.rebuild_after));
        if let Some(why) = why {
            self.announce(&why);
            if let Err(error) = store.reset() {
                self.rebuild = Some(why);
                return Err(error);
            }
            FailPoint::ViewReset.reach();
            stored.clear();
        }
        let widest = marks.keys().map(|at| at.partition.unsigned_abs() as usize + 1).max().unwrap_or(1);
        let stores = self.writers(store, generation, widest)?;
        let over = AtomicBool::new(false);
        let writers = stores.len();
        self.common.shared.update(|state| {
            state.status.positions = stored.iter().map(|(at, stored)| (at.clone(), stored.next)).collect();
            let next = |at: &TopicPartition| stored.get(at).map(|stored| stored.next);
            let lag = |number| lag(&marks, next, Share { number, writers });
            state.set_writers((0..writers).map(|number| WriterState { lag: lag(number), works: false }).collect());
        });
        let sessions = stores.into_iter().enumerate().map(|(number, store)| {
            Session::new(&self.common, &over, Share { number, writers }, store, &stored, &marks)
        });
        work_together(&self.common.name, sessions.collect::<Result<_, _>>()?)
    }

    /// As many connections as the store makes use of, and at most one for each of `partitions`.
    fn writers(
        &mut self,
        first: Box<dyn ViewStore>,
        generation: Generation,
        partitions: usize,
    ) -> Result<Vec<Box<dyn ViewStore>>, ViewError> {
        let wanted = first.writers().min(partitions);
        let mut stores = vec![first];
        while stores.len() < wanted {
            match (self.open)() {
                Ok(mut store) => {
                    store.claim(Some(generation))?;
                    stores.push(store);
                }
                // Such as a server that has no connection left: slower is better than not at all.
                Err(error) => {
                    tracing::warn!(view = self.common.name, %error, writers = stores.len(), "fewer writers than wanted");
                    break;
                }
            }
        }
        Ok(stores)
    }

    fn announce(&self, why: &Rebuild) {
        let Common { name, meters, shared, .. } = &self.common;
        if *why == Rebuild::New {
            tracing::info!(view = name, "the view reads the topics from the beginning");
            return;
        }
        tracing::warn!(view = name, %why, "the view empties its tables and reads the topics from the beginning");
        meters.rebuilds.increment(1);
        shared.update(|state| state.status.rebuilds += 1);
    }
}

/// How many offsets of the partitions of `share` are not read: those from `next` on.
fn lag(
    marks: &BTreeMap<TopicPartition, Watermarks>,
    next: impl Fn(&TopicPartition) -> Option<i64>,
    share: Share,
) -> u64 {
    let unread = |(at, marks): (&TopicPartition, &Watermarks)| marks.high - next(at).unwrap_or(marks.low);
    marks.iter().filter(|(at, _)| share.has(at)).map(unread).map(|unread| unread.max(0).unsigned_abs()).sum()
}

/// Runs every session on a thread of its own, the last one on this thread, until all have ended.
fn work_together(name: &str, mut sessions: Vec<Session<'_>>) -> Result<(), ViewError> {
    let Some(mut last) = sessions.pop() else { return Ok(()) };
    std::thread::scope(|scope| {
        let mut threads = Vec::with_capacity(sessions.len());
        for (mut session, number) in sessions.into_iter().zip(1..) {
            let thread = std::thread::Builder::new().name(format!("view-{name}-{number}"));
            threads.push(thread.spawn_scoped(scope, move || session.work()));
        }
        // A thread that could not be started has dropped its session, which ends the others.
        let of_last = last.work();
        drop(last);
        let failed = |reason: String| ViewError::Failed { doing: "writing a view by several threads", reason };
        let of_others = threads.into_iter().map(|thread| match thread.map(|thread| thread.join()) {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(failed("a thread ended by a panic".to_owned())),
            Err(error) => Err(failed(error.to_string())),
        });
        // All are waited for, whatever the first ones say.
        let results: Vec<_> = std::iter::once(of_last).chain(of_others).collect();
        results.into_iter().collect()
    })
}

/// The partitions of one of several writers.
#[derive(Debug, Clone, Copy)]
struct Share {
    number: usize,
    writers: usize,
}

impl Share {
    fn has(self, at: &TopicPartition) -> bool {
        at.partition.unsigned_abs() as usize % self.writers == self.number
    }

    /// Of what may be in memory.
    fn limits(self, all: &BatchConfig) -> BatchConfig {
        BatchConfig { records: all.records / self.writers, bytes: all.bytes / self.writers, ..all.clone() }
    }
}

/// Records from the log, and how far they have been read.
struct Reading {
    reader: Box<dyn Reader>,
    prepare: Preparation,
    limits: BatchConfig,
    /// Where reading goes on once `pending` is applied.
    next: BTreeMap<TopicPartition, i64>,
    /// Partitions read to their end, as far as is known.
    at_end: HashMap<TopicPartition, bool>,
    /// Records read and not yet applied.
    pending: Vec<LogRecord>,
    pending_bytes: usize,
    pending_since: Instant,
    polled: Vec<Polled>,
}

impl Reading {
    fn push(&mut self, record: LogRecord) {
        if self.pending.is_empty() {
            self.pending_since = Instant::now();
        }
        self.pending_bytes += record.size();
        // The partition is known but for one that appears while running; one map entry each.
        let at = TopicPartition::new(Arc::clone(&record.topic), record.partition);
        self.next.insert(at.clone(), record.offset + 1);
        self.at_end.insert(at, false);
        self.pending.push(record);
    }

    fn poll(&mut self) -> Result<(), ViewError> {
        let interval = Duration::from_millis(self.limits.interval_ms);
        let wait = if self.pending.is_empty() {
            TICK
        } else {
            interval.saturating_sub(self.pending_since.elapsed()).clamp(Duration::from_millis(1), TICK)
        };
        let bytes = self.limits.bytes.saturating_sub(self.pending_bytes).clamp(1, POLL_BYTES);
        let mut polled = std::mem::take(&mut self.polled);
        self.reader.poll(&mut polled, bytes, wait)?;
        for item in polled.drain(..) {
            match item {
                Polled::Record(record) => self.push(record),
                Polled::End { partition, next } => {
                    self.next.insert(partition.clone(), next);
                    self.at_end.insert(partition, true);
                }
            }
        }
        self.polled = polled;
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.pending.len() >= self.limits.records.max(1) || self.pending_bytes >= self.limits.bytes
    }

    fn has_waited(&self) -> bool {
        !self.pending.is_empty() && self.pending_since.elapsed() >= Duration::from_millis(self.limits.interval_ms)
    }

    fn batch_is_due(&self) -> bool {
        !self.pending.is_empty() && (self.is_full() || self.has_waited())
    }

    fn all_read(&self) -> bool {
        self.at_end.values().all(|at_end| *at_end)
    }

    /// What is pending, storable.
    fn take(&mut self, topics: &ViewTopics) -> Vec<LogRecord> {
        let mut records = std::mem::take(&mut self.pending);
        self.pending_bytes = 0;
        make_storable(&mut records, topics);
        records
    }

    /// Reads as many batches as there are `slots` for their records, or what is there, and sends
    /// their rows away; `written` brings them back. Where the other end is `idle`, a batch is sent once
    /// it has waited for long enough; else it grows until it is full.
    fn read_ahead<'a>(
        &mut self,
        slots: &'a mut [Vec<LogRecord>],
        sender: &SyncSender<Rows<'a>>,
        written: &Receiver<Rows<'a>>,
        topics: &ViewTopics,
        idle: &AtomicBool,
        ending: impl Fn() -> bool,
    ) -> Result<(), ViewError> {
        for slot in slots {
            while !(self.is_full() || idle.load(Ordering::SeqCst) && self.has_waited()) {
                if ending() {
                    return Ok(());
                }
                if self.all_read() && !self.pending.is_empty() {
                    break;
                }
                self.poll()?;
                // Nothing is there at the moment, whether or not that is all.
                if self.pending.is_empty() && (self.all_read() || idle.load(Ordering::SeqCst)) {
                    return Ok(());
                }
            }
            *slot = self.take(topics);
            for records in slot.chunks(self.limits.records.max(1)) {
                let rows = Rows::read(records, topics, self.prepare)?;
                // The other end is gone when it has failed.
                if sender.send(rows).is_err() {
                    return Ok(());
                }
                // What was allocated here is freed here, which is also time that the writer has for writing.
                written.try_iter().for_each(drop);
            }
        }
        Ok(())
    }
}

/// How much was written of what was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    /// All but what is pending: the positions read are those written.
    Whole,
    /// Less than that: the session cannot go on.
    Partly,
}

/// Records, with the rows that they make; the offsets are not set yet.
struct Rows<'a> {
    records: &'a [LogRecord],
    batch: Batch<'a>,
}

impl<'a> Rows<'a> {
    fn read(records: &'a [LogRecord], topics: &ViewTopics, prepare: Preparation) -> Result<Self, ViewError> {
        let mut batch = Batch::read(records, topics, Vec::new())?;
        batch.changes.iter_mut().for_each(prepare);
        Ok(Self { records, batch })
    }
}

/// What is written to a store, and how far.
struct Writing<'r> {
    common: &'r Common,
    /// Its number among the writers.
    number: usize,
    store: Box<dyn ViewStore>,
    /// The offsets that the store holds.
    stored: HashMap<TopicPartition, i64>,
}

impl Writing<'_> {
    fn step(&self, partition: &TopicPartition, next: i64) -> Step {
        Step { partition: partition.clone(), expected: self.stored.get(partition).copied(), next }
    }

    fn written(&mut self, steps: Vec<Step>) {
        self.stored.extend(steps.into_iter().map(|step| (step.partition, step.next)));
    }

    /// Applies `records`, in batches of at most `limit` of them.
    fn write_all(&mut self, records: &[LogRecord], limit: usize) -> Result<(), ViewError> {
        for records in records.chunks(limit.max(1)) {
            self.read_and_write(records)?;
        }
        Ok(())
    }

    fn read_and_write(&mut self, records: &[LogRecord]) -> Result<(), ViewError> {
        self.write(&mut Rows::read(records, &self.common.topics, self.store.preparation())?)
    }

    /// Applies the rows of `records`. When the store does not take them, halves find the one that
    /// it is, and that one is left out: a single value must not hold back all others for ever.
    fn write(&mut self, rows: &mut Rows<'_>) -> Result<(), ViewError> {
        let Rows { records, batch } = rows;
        batch.steps = ends_of(records).iter().map(|(at, next)| self.step(at, *next)).collect();
        let started = Instant::now();
        let result = self.store.apply(batch);
        match result {
            Ok(()) => {
                FailPoint::ViewCommitted.reach();
                self.common.applied(self.number, records.len(), batch.rows(), batch.skipped, started.elapsed());
                self.written(std::mem::take(&mut batch.steps));
                Ok(())
            }
            Err(error @ ViewError::Rejected { .. }) if records.len() > 1 => {
                tracing::debug!(%error, records = records.len(), "looking for the record that the store rejects");
                let (first, second) = records.split_at(records.len() / 2);
                self.read_and_write(first)?;
                self.read_and_write(second)
            }
            Err(error @ ViewError::Rejected { .. }) => {
                if let Some(record) = records.first() {
                    tracing::error!(
                        view = self.common.name, topic = &*record.topic, partition = record.partition,
                        offset = record.offset, %error, "left out a record that the store rejects"
                    );
                }
                let nothing = Batch { steps: std::mem::take(&mut batch.steps), ..Batch::default() };
                self.store.apply(&nothing)?;
                self.common.applied(self.number, 1, 0, 1, started.elapsed());
                self.written(nothing.steps);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

struct Session<'r> {
    common: &'r Common,
    share: Share,
    /// Set when a session ends; the others end too.
    over: &'r AtomicBool,
    reading: Reading,
    writing: Writing<'r>,
    heartbeat: Instant,
    /// Lowest offsets of the dead-letters topic that were told to the store.
    forgotten: HashMap<TopicPartition, i64>,
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
    }
}

impl<'r> Session<'r> {
    /// A session that reads its share of the partitions in `marks`, from where they are `stored`.
    fn new(
        common: &'r Common,
        over: &'r AtomicBool,
        share: Share,
        store: Box<dyn ViewStore>,
        stored: &BTreeMap<TopicPartition, Stored>,
        marks: &BTreeMap<TopicPartition, Watermarks>,
    ) -> Result<Self, ViewError> {
        let own: Vec<&TopicPartition> = marks.keys().filter(|at| share.has(at)).collect();
        let start = |at| stored.get(at).map_or(Start::Beginning, |stored| Start::Offset(stored.next));
        let starts: Vec<(TopicPartition, Start)> = own.iter().map(|at| ((*at).clone(), start(at))).collect();
        let offset = |at: &&TopicPartition| stored.get(*at).map(|stored| ((*at).clone(), stored.next));
        let now = Instant::now();
        let reading = Reading {
            reader: common.log.reader(&starts)?,
            prepare: store.preparation(),
            limits: share.limits(&common.options.batch),
            next: own.iter().filter_map(offset).collect(),
            at_end: own.iter().map(|at| ((*at).clone(), false)).collect(),
            pending: Vec::new(),
            pending_bytes: 0,
            pending_since: now,
            polled: Vec::new(),
        };
        let writing = Writing { common, number: share.number, store, stored: own.iter().filter_map(offset).collect() };
        Ok(Self { common, share, over, reading, writing, heartbeat: now, forgotten: HashMap::new() })
    }

    fn ending(&self) -> bool {
        self.common.stopping() || self.over.load(Ordering::SeqCst)
    }

    fn work(&mut self) -> Result<(), ViewError> {
        while !self.ending() {
            self.reading.poll()?;
            if self.reading.batch_is_due() {
                let written = if self.reading.all_read() { self.flush() } else { self.catch_up() };
                if written? == Written::Partly {
                    return Ok(());
                }
            }
            if self.reading.pending.is_empty() {
                self.publish();
            }
            if self.heartbeat.elapsed() >= HEARTBEAT {
                self.beat()?;
            }
        }
        // What is left unwritten is read again; only a little of it is worth the time.
        if !self.common.stopping() || self.reading.pending.len() > LAST_RECORDS {
            return Ok(());
        }
        self.flush()?;
        self.touch(Vec::new())
    }

    /// Applies everything pending.
    fn flush(&mut self) -> Result<Written, ViewError> {
        let mut records = self.reading.take(&self.common.topics);
        self.writing.write_all(&records, self.reading.limits.records)?;
        records.clear();
        self.reading.pending = records;
        Ok(Written::Whole)
    }

    /// Applies what is pending and what follows, while another thread reads ahead. Where the view is to
    /// stop, what has been read ahead is left.
    fn catch_up(&mut self) -> Result<Written, ViewError> {
        let Self { common, over, reading, writing, .. } = self;
        let (common, over) = (*common, *over);
        let ending = || common.stopping() || over.load(Ordering::SeqCst);
        let mut slots: [Vec<LogRecord>; BATCHES_AHEAD] = Default::default();
        let slots = &mut slots;
        let idle = AtomicBool::new(true);
        let idle = &idle;
        let failed = |reason: String| ViewError::Failed { doing: "reading ahead for a view", reason };
        let written = std::thread::scope(|scope| {
            let (sender, receiver) = sync_channel(0);
            let (give_back, given_back) = channel();
            let thread = std::thread::Builder::new().name(format!("view-{}-read", common.name));
            let reads = thread.spawn_scoped(scope, move || {
                reading.read_ahead(slots, &sender, &given_back, &common.topics, idle, ending)
            });
            let Ok(reads) = reads else { return Ok(None) };
            let mut written = Ok(Written::Whole);
            while written.is_ok() {
                let Ok(mut rows) = receiver.recv() else { break };
                if ending() {
                    written = Ok(Written::Partly);
                    break;
                }
                idle.store(false, Ordering::SeqCst);
                written = writing.write(&mut rows).map(|()| Written::Whole);
                // Nobody is there once all has been read.
                let _ = give_back.send(rows);
                idle.store(true, Ordering::SeqCst);
            }
            drop(receiver);
            let read = reads.join().unwrap_or_else(|_| Err(failed("its thread ended by a panic".to_owned())));
            let written = written?;
            read.map(|()| Some(written))
        })?;
        match written {
            Some(written) => Ok(written),
            // The system has no thread to spare: then one after the other.
            None => self.flush(),
        }
    }

    fn publish(&self) {
        let Self { common, reading, share, .. } = self;
        let all_read = reading.all_read();
        let changed = {
            let state = common.shared.lock();
            let own = state.writers.get(share.number);
            reading.next.iter().any(|(at, next)| state.status.positions.get(at) != Some(next))
                || (all_read && own != Some(&WriterState { lag: 0, works: true }))
        };
        if !changed {
            return;
        }
        common.shared.update(|state| {
            state.status.positions.extend(reading.next.iter().map(|(at, next)| (at.clone(), *next)));
            if all_read {
                state.set_lag(share.number, 0);
                common.works(state, share.number);
            }
        });
    }

    /// Measures the lag, begins to read partitions that have appeared, refreshes the offsets of what
    /// is read to its end, and lets go of dead letters that the log no longer has.
    fn beat(&mut self) -> Result<(), ViewError> {
        self.heartbeat = Instant::now();
        let mut marks = self.common.watermarks()?;
        marks.retain(|at, _| self.share.has(at));
        for at in marks.keys().filter(|at| !self.reading.at_end.contains_key(*at)).cloned().collect::<Vec<_>>() {
            tracing::info!(view = self.common.name, topic = &*at.topic, at.partition, "a partition has appeared");
            self.reading.reader.assign(at.clone(), Start::Beginning)?;
            self.reading.at_end.insert(at, false);
        }
        let lag = lag(&marks, |at| self.reading.next.get(at).copied(), self.share);
        self.common.shared.update(|state| state.set_lag(self.share.number, lag));
        let dead_letters = &self.common.topics.dead_letters;
        let forget: Vec<(TopicPartition, i64)> = marks
            .into_iter()
            .filter(|(at, marks)| at.topic == *dead_letters && marks.low > 0)
            .map(|(at, marks)| (at, marks.low))
            .filter(|(at, low)| self.forgotten.get(at) != Some(low))
            .collect();
        self.touch(forget)
    }

    /// Writes the offsets of partitions that are read to their end. Nothing may be pending.
    fn touch(&mut self, forget: Vec<(TopicPartition, i64)>) -> Result<(), ViewError> {
        if !self.reading.pending.is_empty() {
            self.flush()?;
        }
        let Self { reading, writing, .. } = self;
        let read_to_end = reading.next.iter().filter(|(at, _)| reading.at_end.get(*at) == Some(&true));
        let steps: Vec<Step> = read_to_end.map(|(at, next)| writing.step(at, *next)).collect();
        if steps.is_empty() && forget.is_empty() {
            return Ok(());
        }
        let batch = Batch { steps, forget, ..Batch::default() };
        writing.store.apply(&batch)?;
        writing.written(batch.steps);
        self.forgotten.extend(batch.forget);
        Ok(())
    }
}

/// The metrics of a view, all labelled with its name.
struct Meters {
    records: metrics::Counter,
    rows: metrics::Counter,
    skipped: metrics::Counter,
    retries: metrics::Counter,
    rebuilds: metrics::Counter,
    seconds: metrics::Histogram,
}

impl Meters {
    fn new(view: &str) -> Self {
        let view = view.to_owned();
        Self {
            records: metrics::counter!("headwater_view_records_total", "view" => view.clone()),
            rows: metrics::counter!("headwater_view_rows_total", "view" => view.clone()),
            skipped: metrics::counter!("headwater_view_skipped_total", "view" => view.clone()),
            retries: metrics::counter!("headwater_view_retries_total", "view" => view.clone()),
            rebuilds: metrics::counter!("headwater_view_rebuilds_total", "view" => view.clone()),
            seconds: metrics::histogram!("headwater_view_apply_seconds", "view" => view),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn at(partition: i32) -> TopicPartition {
        TopicPartition::new("t", partition)
    }

    fn stored(next: i64, age: Duration) -> BTreeMap<TopicPartition, Stored> {
        BTreeMap::from([(at(0), Stored { next, age })])
    }

    fn marks(low: i64, high: i64) -> BTreeMap<TopicPartition, Watermarks> {
        BTreeMap::from([(at(0), Watermarks { low, high }), (at(1), Watermarks { low: 0, high: 9 })])
    }

    #[test]
    fn a_view_resumes_only_where_it_cannot_have_missed_anything() {
        let soon = Duration::from_secs(5);
        assert_eq!(why_rebuild(&stored(7, soon), &marks(7, 7), DAY), None);
        assert_eq!(why_rebuild(&stored(7, soon), &marks(0, 9), DAY), None);
        assert_eq!(why_rebuild(&BTreeMap::new(), &marks(0, 9), DAY), Some(Rebuild::New));
        let gone = Rebuild::Gone { partition: at(0), next: 7, low: 8 };
        assert_eq!(why_rebuild(&stored(7, soon), &marks(8, 9), DAY), Some(gone));
        let beyond = Rebuild::Beyond { partition: at(0), next: 7, high: 6 };
        assert_eq!(why_rebuild(&stored(7, soon), &marks(0, 6), DAY), Some(beyond));
        assert_eq!(why_rebuild(&stored(7, soon), &BTreeMap::new(), DAY), Some(Rebuild::Foreign(at(0))));
    }

    #[test]
    fn being_away_matters_only_where_something_is_unread() {
        let away = Rebuild::Away { partition: at(0), age: DAY * 2 };
        assert_eq!(why_rebuild(&stored(7, DAY * 2), &marks(0, 9), DAY), Some(away));
        assert_eq!(why_rebuild(&stored(7, DAY * 2), &marks(0, 7), DAY), None);
    }

    #[test]
    fn all_writers_count_for_lag_and_trouble() {
        let shares = [0, 1].map(|number| Share { number, writers: 2 });
        let unread = shares.map(|share| lag(&marks(2, 9), |at| (at.partition == 1).then_some(4), share));
        assert_eq!(unread, [7, 5]);
        let mut state = State::default();
        state.set_writers(unread.map(|lag| WriterState { lag, works: false }).to_vec());
        assert_eq!(state.status.lag, 12);
        state.set_lag(0, 0);
        assert_eq!(
            (state.status.lag, state.set_works(0), state.set_works(0), state.set_works(1)),
            (5, false, false, true)
        );
    }

    #[test]
    fn every_partition_has_one_writer() {
        for writers in 1..5 {
            let shares: Vec<Share> = (0..writers).map(|number| Share { number, writers }).collect();
            for partition in 0..9 {
                assert_eq!(shares.iter().filter(|share| share.has(&at(partition))).count(), 1);
            }
            assert!(shares.iter().all(|share| (0..4).any(|partition| share.has(&at(partition)))));
        }
    }
}
