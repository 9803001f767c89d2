//! What the threads of an engine share, and through them its processes: how far it has come, and whether it goes on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use headwater_flow::meter::EntryMeter;
use serde::{Deserialize, Serialize};
use timely::scheduling::SyncActivator;

use super::EngineError;
use super::correction::Report;
use super::meters::{SourceLabels, Stages};
use crate::log::TopicPartition;
use crate::schema::{Catalog, Gauges};

/// Shared by workers, committer and the thread that waits for them.
pub struct Lifecycle {
    committed: AtomicU64,
    recovered: AtomicBool,
    stopping: AtomicBool,
    stopped_at: Mutex<Option<Instant>>,
    failure: Mutex<Option<EngineError>>,
    failed: AtomicBool,
    heard: Mutex<Option<Instant>>,
    activators: Mutex<Vec<SyncActivator>>,
    /// Counts the changes of all the above.
    changes: Mutex<u64>,
    changed: Condvar,
    /// How far the clock of process 0 is ahead of this one's, in ms.
    clock_ahead_ms: AtomicI64,
    /// What the other processes of the topology have counted.
    elsewhere: Mutex<BTreeMap<usize, Totals>>,
    /// Committed positions of the inputs.
    positions: Mutex<BTreeMap<TopicPartition, i64>>,
    meters: Mutex<Vec<EntryMeter>>,
    /// What the topology has declared.
    catalog: Arc<Catalog>,
    /// The numbers that the topology counts.
    pub gauges: Gauges,
    /// Time and records by stage.
    pub stages: Arc<Stages>,
    /// The sources that metrics name.
    pub sources: Arc<SourceLabels>,
    corrections: Mutex<Option<Report>>,
    notes: Mutex<Vec<String>>,
    /// Counters of this process, for people and metrics.
    pub counters: Counters,
}

/// Running totals since the start of the process, and what is under way.
#[derive(Default)]
pub struct Counters {
    /// Raw records read.
    pub records: AtomicU64,
    /// Dead letters written.
    pub dead_letters: AtomicU64,
    /// Transactions committed.
    pub commits: AtomicU64,
    /// Records written to output topics.
    pub outputs: AtomicU64,
    /// State records read at start-up.
    pub restored: AtomicU64,
    /// Raw records read again in a rebuild.
    pub reread: AtomicU64,
    /// Corrections written at start-up.
    pub corrections: AtomicU64,
    /// Bytes read and not committed.
    pub bytes_in_flight: AtomicI64,
    /// Closed epochs that are not committed, of all workers.
    pub epochs_in_flight: AtomicI64,
    /// Raw offsets between what is committed and what there is, when that was last looked at.
    pub lag: AtomicI64,
}

/// What counters and gauges say at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// See [`Counters::records`].
    pub records: u64,
    /// See [`Counters::dead_letters`].
    pub dead_letters: u64,
    /// The topology's gauges, in the order of the catalog.
    pub gauges: Vec<i64>,
}

impl Totals {
    fn plus(mut self, other: &Self) -> Self {
        self.records += other.records;
        self.dead_letters += other.dead_letters;
        for (sum, value) in self.gauges.iter_mut().zip(&other.gauges) {
            *sum += value;
        }
        self
    }
}

impl Counters {
    /// Gives the figures to the metrics recorder.
    pub fn publish(&self) {
        let total = |value: &AtomicU64| value.load(Ordering::Relaxed);
        let level = |value: &AtomicI64| value.load(Ordering::Relaxed) as f64;
        metrics::counter!("headwater_restored_records_total").absolute(total(&self.restored));
        metrics::counter!("headwater_reread_records_total").absolute(total(&self.reread));
        metrics::counter!("headwater_corrections_total").absolute(total(&self.corrections));
        metrics::gauge!("headwater_bytes_in_flight").set(level(&self.bytes_in_flight));
        metrics::gauge!("headwater_epochs_in_flight").set(level(&self.epochs_in_flight));
    }
}

impl Lifecycle {
    /// Nothing has begun yet; the numbers are those that `catalog` declares.
    pub fn new(catalog: Arc<Catalog>) -> Self {
        Self {
            committed: AtomicU64::default(),
            recovered: AtomicBool::default(),
            stopping: AtomicBool::default(),
            stopped_at: Mutex::default(),
            failure: Mutex::default(),
            failed: AtomicBool::default(),
            heard: Mutex::default(),
            activators: Mutex::default(),
            changes: Mutex::default(),
            changed: Condvar::default(),
            clock_ahead_ms: AtomicI64::default(),
            elsewhere: Mutex::default(),
            positions: Mutex::default(),
            meters: Mutex::default(),
            gauges: Gauges::new(catalog.gauges().len()),
            catalog,
            stages: Arc::default(),
            sources: Arc::default(),
            corrections: Mutex::default(),
            notes: Mutex::default(),
            counters: Counters::default(),
        }
    }

    /// What the topology has declared.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// Every epoch up to this one is committed.
    pub fn committed(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }

    /// Says that every epoch up to `epoch` is committed, and wakes the sources.
    pub fn set_committed(&self, epoch: u64) {
        self.committed.fetch_max(epoch, Ordering::AcqRel);
        self.wake();
    }

    /// Whether the state is restored and the outputs are what it implies: from then on, what is read is
    /// committed.
    pub fn recovered(&self) -> bool {
        self.recovered.load(Ordering::Acquire)
    }

    /// Says that the engine has recovered.
    pub fn set_recovered(&self) {
        if !self.recovered.swap(true, Ordering::AcqRel) {
            self.wake();
        }
    }

    /// Where reading would go on after a restart.
    pub fn position(&self, at: &TopicPartition) -> Option<i64> {
        locked(&self.positions).get(at).copied()
    }

    /// Says up to where the inputs are committed.
    pub fn set_positions(&self, positions: impl IntoIterator<Item = (TopicPartition, i64)>) {
        locked(&self.positions).extend(positions);
    }

    /// Takes the meters of a worker's operators.
    pub fn add_meters(&self, meters: Vec<EntryMeter>) {
        locked(&self.meters).extend(meters);
    }

    /// Says to the metrics recorder what the topology's numbers mean.
    pub fn describe(&self) {
        for gauge in self.catalog.gauges() {
            metrics::describe_gauge!(gauge.metric, gauge.help);
        }
    }

    /// Gives all figures to the metrics recorder.
    pub fn publish(&self) {
        self.counters.publish();
        self.stages.publish();
        for (gauge, value) in self.catalog.gauges().iter().zip(self.gauges.values()) {
            metrics::gauge!(gauge.metric).set(value as f64);
        }
        let mut entries: BTreeMap<&'static str, i64> = BTreeMap::new();
        for meter in locked(&self.meters).iter() {
            *entries.entry(meter.name()).or_default() += meter.entries();
        }
        for (what, entries) in entries {
            metrics::gauge!("headwater_held_entries", "what" => what).set(entries as f64);
        }
    }

    /// Says what was corrected at the start.
    pub fn set_corrections(&self, report: Report) {
        self.counters.corrections.store(report.total() as u64, Ordering::Relaxed);
        *locked(&self.corrections) = Some(report);
    }

    /// What was corrected at the start, once that is known; `None` where the outputs were trusted.
    pub fn corrections(&self) -> Option<Report> {
        locked(&self.corrections).clone()
    }

    /// Keeps a note for people on what was restored.
    pub(super) fn note(&self, note: String) {
        locked(&self.notes).push(note);
    }

    /// Notes for people on what was restored, see [`Flow::note`](crate::dataflow::Flow::note).
    pub fn notes(&self) -> Vec<String> {
        locked(&self.notes).clone()
    }

    /// Asks for an orderly stop: finish the epoch, commit, end.
    pub fn stop(&self) {
        locked(&self.stopped_at).get_or_insert_with(Instant::now);
        self.stopping.store(true, Ordering::Release);
        self.wake();
    }

    /// Says that the log knew this instance as the newest at some moment from `asked` on.
    pub fn set_heard(&self, asked: Instant) {
        *locked(&self.heard) = Some(asked);
    }

    /// A moment from which on the log knew this instance as the newest; `None` before the first.
    pub fn heard(&self) -> Option<Instant> {
        *locked(&self.heard)
    }

    /// How long ago an orderly stop was asked for; zero when it was not.
    pub fn stopping_for(&self) -> Duration {
        locked(&self.stopped_at).map_or(Duration::ZERO, |at| at.elapsed())
    }

    /// Whether an orderly stop was asked for.
    pub fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Ends everything at once; the first failure is the one that is reported.
    pub fn fail(&self, error: EngineError) {
        if !self.failed() {
            tracing::error!(%error, "the engine stops");
        }
        locked(&self.failure).get_or_insert(error);
        self.failed.store(true, Ordering::Release);
        self.stop();
    }

    /// Whether something failed.
    pub fn failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Looks at the failure.
    pub fn with_failure<R>(&self, look: impl FnOnce(&EngineError) -> R) -> Option<R> {
        locked(&self.failure).as_ref().map(look)
    }

    /// Takes the failure.
    pub fn take_failure(&self) -> Option<EngineError> {
        locked(&self.failure).take()
    }

    /// Registers a source to be woken when something here changes.
    pub fn register(&self, activator: SyncActivator) {
        locked(&self.activators).push(activator);
    }

    /// The time in ms since the Unix epoch, by the clock of process 0: epochs of processes whose
    /// clocks differ would wait for each other.
    pub fn now_ms(&self) -> u64 {
        clock_ms().saturating_add_signed(self.clock_ahead_ms.load(Ordering::Relaxed))
    }

    /// Notes what the clock of process 0 said just now.
    pub fn set_clock(&self, ms: u64) {
        let ahead = ms as i64 - clock_ms() as i64;
        // Smaller differences are mostly the time that the message took.
        if (ahead - self.clock_ahead_ms.load(Ordering::Relaxed)).abs() > CLOCK_TOLERANCE_MS {
            self.clock_ahead_ms.store(ahead, Ordering::Relaxed);
        }
    }

    /// Notes what another process has counted.
    pub fn set_totals(&self, process: usize, totals: Totals) {
        locked(&self.elsewhere).insert(process, totals);
    }

    /// What this process has counted.
    pub fn own_totals(&self) -> Totals {
        let total = |value: &AtomicU64| value.load(Ordering::Relaxed);
        Totals {
            records: total(&self.counters.records),
            dead_letters: total(&self.counters.dead_letters),
            gauges: self.gauges.values(),
        }
    }

    /// What all processes have counted.
    pub fn totals(&self) -> Totals {
        locked(&self.elsewhere).values().fold(self.own_totals(), Totals::plus)
    }

    /// Waits until something has changed since `seen`, the last value returned, for at most `timeout`.
    pub fn wait_for_change(&self, seen: u64, timeout: Duration) -> u64 {
        let changes = locked(&self.changes);
        let waited = self.changed.wait_timeout_while(changes, timeout, |changes| *changes == seen);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Wakes whoever waits for a change.
    pub fn wake(&self) {
        *locked(&self.changes) += 1;
        self.changed.notify_all();
        // A worker that has ended needs no waking.
        locked(&self.activators).retain(|activator| activator.activate().is_ok());
    }
}

/// Ends the whole engine when the thread that holds it panics: the others would wait for ever.
pub struct PanicGuard {
    who: &'static str,
    lifecycle: Arc<Lifecycle>,
}

impl PanicGuard {
    /// A guard for the thread of `who`.
    pub fn new(who: &'static str, lifecycle: &Arc<Lifecycle>) -> Self {
        Self { who, lifecycle: Arc::clone(lifecycle) }
    }
}

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let reason = format!("{} panicked; see the message above", self.who);
            self.lifecycle.fail(EngineError::Panic { reason });
        }
    }
}

/// This process's clock, in ms since the Unix epoch.
fn clock_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// Clocks of processes may differ by this much: less than an epoch usually lasts.
const CLOCK_TOLERANCE_MS: i64 = 50;

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long a parked worker sleeps at most before it looks at the lifecycle again.
pub const PARK: Duration = Duration::from_millis(200);
