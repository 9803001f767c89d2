//! The thread that keeps one store up to date.
//!
//! It works in sessions. A session opens the store, claims it, reads the offsets, decides whether
//! to resume or to rebuild, opens a reader there, and applies batches until it is stopped or
//! something fails. After a failure that may pass, the next session begins after a pause; it
//! trusts nothing but what the store then says.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::rows::{Batch, Step, ends_of};
use super::{Generation, OpenStore, Stored, ViewError, ViewOptions, ViewStore, ViewTopics};
use crate::error::{Backoff, Failure, Fatal, Fault, Transient};
use crate::fail_point::FailPoint;
use crate::log::{Log, LogError, LogRecord, Polled, Reader, Start, TopicPartition, Watermarks};

/// Pause before the second attempt; doubled with each further one, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How long the thread goes without looking whether it is to stop.
const TICK: Duration = Duration::from_millis(50);

/// How long the end of a view is waited for: its database may have stalled.
const END_PATIENCE: Duration = Duration::from_secs(10);

/// How often offsets are refreshed although nothing came, so that the store knows how long the
/// view was away; the lag is measured and old dead letters are dropped as often.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Starts views.
pub struct View;

impl View {
    /// Starts the view `name` on its own thread. `stop` may be shared: setting it stops the view.
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
        let runner = Runner {
            name: name.to_owned(),
            log,
            topics,
            options,
            open,
            stop: Arc::clone(&stop),
            shared: Arc::clone(&shared),
            meters,
            generation: None,
            rebuild: None,
            backoff: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE),
        };
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

    /// Stops the view after the batch at hand, and says why it had ended before, if it had.
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

struct Shared {
    topics: ViewTopics,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    status: ViewStatus,
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

struct Runner {
    name: String,
    log: Arc<dyn Log>,
    topics: ViewTopics,
    options: ViewOptions,
    open: OpenStore,
    stop: Arc<AtomicBool>,
    shared: Arc<Shared>,
    meters: Meters,
    generation: Option<Generation>,
    /// Set when reading showed that the offsets are no good.
    rebuild: Option<Rebuild>,
    backoff: Backoff,
}

impl Runner {
    fn run(mut self) {
        while !self.stopping() {
            let Err(error) = self.session() else { return };
            let error = match error.judged() {
                Failure::Fatal(Fatal(error)) => {
                    tracing::error!(view = self.name, %error, "the view has ended");
                    self.shared.update(|state| state.failure = Some(Arc::new(error)));
                    return;
                }
                Failure::Transient(Transient(error)) => error,
            };
            self.note_gone(&error);
            let pause = self.backoff.pause();
            self.meters.retries.increment(1);
            tracing::warn!(view = self.name, %error, pause_ms = pause.as_millis() as u64, "the view will try again");
            self.shared.update(|state| state.status.trouble = Some(error.to_string()));
            self.sleep(pause);
        }
    }

    fn stopping(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn sleep(&self, pause: Duration) {
        let until = Instant::now() + pause;
        while !self.stopping() && Instant::now() < until {
            std::thread::sleep(TICK.min(until.saturating_duration_since(Instant::now())));
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
        self.generation = Some(store.claim(self.generation)?);
        FailPoint::ViewClaimed.reach();
        let marks = self.watermarks()?;
        let mut stored = store.offsets()?;
        let why = self.rebuild.take().or_else(|| why_rebuild(&stored, &marks, self.options.rebuild_after));
        if let Some(why) = why {
            self.announce(&why);
            if let Err(error) = store.reset() {
                self.rebuild = Some(why);
                return Err(error);
            }
            FailPoint::ViewReset.reach();
            stored.clear();
        }
        let starts: Vec<(TopicPartition, Start)> = marks
            .keys()
            .map(|at| (at.clone(), stored.get(at).map_or(Start::Beginning, |stored| Start::Offset(stored.next))))
            .collect();
        let reader = self.log.reader(&starts)?;
        let progress = Progress::new(&stored, &marks);
        Session { runner: self, store, reader, progress }.work()
    }

    fn announce(&self, why: &Rebuild) {
        if *why == Rebuild::New {
            tracing::info!(view = self.name, "the view reads the topics from the beginning");
            return;
        }
        tracing::warn!(view = self.name, %why, "the view empties its tables and reads the topics from the beginning");
        self.meters.rebuilds.increment(1);
        self.shared.update(|state| {
            state.status.rebuilds += 1;
            state.status.positions.clear();
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

/// How far a session is, by partition.
struct Progress {
    /// What the store holds.
    stored: HashMap<TopicPartition, i64>,
    /// Where reading goes on once `pending` is applied.
    next: BTreeMap<TopicPartition, i64>,
    /// Partitions read to their end, as far as is known.
    at_end: HashMap<TopicPartition, bool>,
    /// Records read and not yet applied.
    pending: Vec<LogRecord>,
    pending_bytes: usize,
    pending_since: Instant,
    heartbeat: Instant,
    /// Lowest offsets of the dead-letters topic that were told to the store.
    forgotten: HashMap<TopicPartition, i64>,
}

impl Progress {
    fn new(stored: &BTreeMap<TopicPartition, Stored>, marks: &BTreeMap<TopicPartition, Watermarks>) -> Self {
        let now = Instant::now();
        Self {
            stored: stored.iter().map(|(at, stored)| (at.clone(), stored.next)).collect(),
            next: stored.iter().map(|(at, stored)| (at.clone(), stored.next)).collect(),
            at_end: marks.keys().map(|at| (at.clone(), false)).collect(),
            pending: Vec::new(),
            pending_bytes: 0,
            pending_since: now,
            heartbeat: now,
            forgotten: HashMap::new(),
        }
    }

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

    fn step(&self, partition: &TopicPartition, next: i64) -> Step {
        Step { partition: partition.clone(), expected: self.stored.get(partition).copied(), next }
    }

    fn written(&mut self, steps: Vec<Step>) {
        self.stored.extend(steps.into_iter().map(|step| (step.partition, step.next)));
    }
}

struct Session<'r> {
    runner: &'r mut Runner,
    store: Box<dyn ViewStore>,
    reader: Box<dyn Reader>,
    progress: Progress,
}

impl Session<'_> {
    fn work(&mut self) -> Result<(), ViewError> {
        let mut polled = Vec::new();
        while !self.runner.stopping() {
            self.poll(&mut polled)?;
            if self.batch_is_due() {
                self.flush()?;
            }
            if self.progress.pending.is_empty() {
                self.publish();
            }
            if self.progress.heartbeat.elapsed() >= HEARTBEAT {
                self.beat()?;
            }
        }
        self.flush()?;
        self.touch(Vec::new())
    }

    fn poll(&mut self, polled: &mut Vec<Polled>) -> Result<(), ViewError> {
        let Self { runner, reader, progress, .. } = self;
        let limit = runner.options.batch.bytes.max(1);
        let interval = Duration::from_millis(runner.options.batch.interval_ms);
        let wait = if progress.pending.is_empty() {
            TICK
        } else {
            interval.saturating_sub(progress.pending_since.elapsed()).min(TICK)
        };
        reader.poll(polled, limit.saturating_sub(progress.pending_bytes).max(1), wait)?;
        for item in polled.drain(..) {
            match item {
                Polled::Record(record) => progress.push(record),
                Polled::End { partition, next } => {
                    progress.next.insert(partition.clone(), next);
                    progress.at_end.insert(partition, true);
                }
            }
        }
        Ok(())
    }

    fn batch_is_due(&self) -> bool {
        let Progress { pending, pending_bytes, pending_since, .. } = &self.progress;
        let limits = &self.runner.options.batch;
        !pending.is_empty()
            && (pending.len() >= limits.records.max(1)
                || *pending_bytes >= limits.bytes
                || pending_since.elapsed() >= Duration::from_millis(limits.interval_ms))
    }

    /// Applies everything pending, in batches of at most the configured number of records.
    fn flush(&mut self) -> Result<(), ViewError> {
        let mut records = std::mem::take(&mut self.progress.pending);
        self.progress.pending_bytes = 0;
        let limit = self.runner.options.batch.records.max(1);
        for part in records.chunks_mut(limit) {
            self.apply(part)?;
        }
        records.clear();
        self.progress.pending = records;
        Ok(())
    }

    /// Applies `records`. When the store does not take them, halves find the one that it is, and
    /// that one is left out: a single value must not hold back all others for ever.
    fn apply(&mut self, records: &mut [LogRecord]) -> Result<(), ViewError> {
        let ends = ends_of(records);
        let steps: Vec<Step> = ends.iter().map(|(at, next)| self.progress.step(at, *next)).collect();
        let started = Instant::now();
        let batch = Batch::read(records, &self.runner.topics, steps.clone())?;
        let (rows, skipped) = (batch.rows(), batch.skipped);
        let result = self.store.apply(&batch);
        match result {
            Ok(()) => {
                FailPoint::ViewCommitted.reach();
                self.applied(records.len(), rows, skipped, started.elapsed());
                self.progress.written(steps);
                Ok(())
            }
            Err(error @ ViewError::Rejected { .. }) if records.len() > 1 => {
                tracing::debug!(%error, records = records.len(), "looking for the record that the store rejects");
                let (first, second) = records.split_at_mut(records.len() / 2);
                self.apply(first)?;
                self.apply(second)
            }
            Err(error @ ViewError::Rejected { .. }) => {
                if let Some(record) = records.first() {
                    tracing::error!(
                        view = self.runner.name, topic = &*record.topic, partition = record.partition,
                        offset = record.offset, %error, "left out a record that the store rejects"
                    );
                }
                self.store.apply(&Batch { steps: steps.clone(), ..Batch::default() })?;
                self.applied(1, 0, 1, started.elapsed());
                self.progress.written(steps);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn applied(&mut self, records: usize, rows: usize, skipped: usize, took: Duration) {
        let runner = &mut *self.runner;
        if runner.backoff.reset() {
            tracing::info!(view = runner.name, "the view works again");
        }
        runner.meters.records.increment(records as u64);
        runner.meters.rows.increment(rows as u64);
        runner.meters.skipped.increment(skipped as u64);
        runner.meters.seconds.record(took.as_secs_f64());
        runner.shared.update(|state| {
            let status = &mut state.status;
            status.records += records as u64;
            status.rows += rows as u64;
            status.skipped += skipped as u64;
            status.trouble = None;
        });
    }

    fn publish(&mut self) {
        let Self { runner, progress, .. } = self;
        let all_read = progress.at_end.values().all(|at_end| *at_end);
        let changed = {
            let state = runner.shared.lock();
            state.status.positions != progress.next
                || (all_read && (state.status.lag > 0 || state.status.trouble.is_some()))
        };
        if !changed {
            return;
        }
        if all_read {
            runner.backoff.reset();
        }
        runner.shared.update(|state| {
            state.status.positions.clone_from(&progress.next);
            if all_read {
                state.status.lag = 0;
                state.status.trouble = None;
            }
        });
    }

    /// Measures the lag, begins to read partitions that have appeared, refreshes the offsets of what
    /// is read to its end, and lets go of dead letters that the log no longer has.
    fn beat(&mut self) -> Result<(), ViewError> {
        self.progress.heartbeat = Instant::now();
        let marks = self.runner.watermarks()?;
        for at in marks.keys().filter(|at| !self.progress.at_end.contains_key(*at)).cloned().collect::<Vec<_>>() {
            tracing::info!(view = self.runner.name, topic = &*at.topic, at.partition, "a partition has appeared");
            self.reader.assign(at.clone(), Start::Beginning)?;
            self.progress.at_end.insert(at, false);
        }
        let next = &self.progress.next;
        let lag: i64 = marks
            .iter()
            .map(|(at, marks)| marks.high.saturating_sub(next.get(at).copied().unwrap_or(marks.low)).max(0))
            .sum();
        self.runner.shared.update(|state| state.status.lag = lag.unsigned_abs());
        let dead_letters = &self.runner.topics.dead_letters;
        let forget: Vec<(TopicPartition, i64)> = marks
            .into_iter()
            .filter(|(at, marks)| at.topic == *dead_letters && marks.low > 0)
            .map(|(at, marks)| (at, marks.low))
            .filter(|(at, low)| self.progress.forgotten.get(at) != Some(low))
            .collect();
        self.touch(forget)
    }

    /// Writes the offsets of partitions that are read to their end. Nothing may be pending.
    fn touch(&mut self, forget: Vec<(TopicPartition, i64)>) -> Result<(), ViewError> {
        if !self.progress.pending.is_empty() {
            self.flush()?;
        }
        let progress = &mut self.progress;
        let steps: Vec<Step> = progress
            .next
            .iter()
            .filter(|(at, _)| progress.at_end.get(*at) == Some(&true))
            .map(|(at, next)| progress.step(at, *next))
            .collect();
        if steps.is_empty() && forget.is_empty() {
            return Ok(());
        }
        let batch = Batch { steps, forget, ..Batch::default() };
        self.store.apply(&batch)?;
        progress.forgotten.extend(batch.forget);
        progress.written(batch.steps);
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
}
