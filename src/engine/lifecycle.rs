//! What the threads of an engine share: how far it has come, and whether it goes on.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use timely::scheduling::SyncActivator;

use super::EngineError;

/// Shared by workers, committer and the thread that waits for them.
#[derive(Default)]
pub struct Lifecycle {
    committed: AtomicU64,
    stopping: AtomicBool,
    failure: Mutex<Option<EngineError>>,
    failed: AtomicBool,
    activators: Mutex<Vec<SyncActivator>>,
    restored_sources: AtomicUsize,
    /// Counters for people and metrics.
    pub counters: Counters,
}

/// Running totals since the start of the process, and gauges of what is live.
#[derive(Default)]
pub struct Counters {
    /// Raw records read.
    pub records: AtomicU64,
    /// Their bytes.
    pub bytes: AtomicU64,
    /// Dead letters written.
    pub dead_letters: AtomicU64,
    /// Live listings.
    pub listings: AtomicI64,
    /// Events.
    pub events: AtomicI64,
    /// Transactions committed.
    pub commits: AtomicU64,
    /// Records written to output topics.
    pub outputs: AtomicU64,
    /// State records read at start-up.
    pub restored: AtomicU64,
    /// Corrections written at start-up.
    pub corrections: AtomicU64,
    /// Bytes read and not committed.
    pub bytes_in_flight: AtomicI64,
}

impl Counters {
    /// Gives the figures to the metrics recorder.
    pub fn publish(&self) {
        let total = |value: &AtomicU64| value.load(Ordering::Relaxed);
        let level = |value: &AtomicI64| value.load(Ordering::Relaxed) as f64;
        metrics::counter!("headwater_input_records_total").absolute(total(&self.records));
        metrics::counter!("headwater_input_bytes_total").absolute(total(&self.bytes));
        metrics::counter!("headwater_restored_records_total").absolute(total(&self.restored));
        metrics::counter!("headwater_corrections_total").absolute(total(&self.corrections));
        metrics::gauge!("headwater_listings").set(level(&self.listings));
        metrics::gauge!("headwater_events").set(level(&self.events));
        metrics::gauge!("headwater_bytes_in_flight").set(level(&self.bytes_in_flight));
    }
}

impl Lifecycle {
    /// Every epoch up to this one is committed.
    pub fn committed(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }

    /// Says that every epoch up to `epoch` is committed, and wakes the sources.
    pub fn set_committed(&self, epoch: u64) {
        self.committed.fetch_max(epoch, Ordering::AcqRel);
        self.wake();
    }

    /// Says that one source has read its share of the state.
    pub fn source_restored(&self) {
        self.restored_sources.fetch_add(1, Ordering::AcqRel);
    }

    /// How many sources have read their share of the state.
    pub fn restored_sources(&self) -> usize {
        self.restored_sources.load(Ordering::Acquire)
    }

    /// Asks for an orderly stop: finish the epoch, commit, end.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.wake();
    }

    /// Whether an orderly stop was asked for.
    pub fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Ends everything at once; the first failure is the one that is reported.
    pub fn fail(&self, error: EngineError) {
        tracing::error!(%error, "the engine stops");
        locked(&self.failure).get_or_insert(error);
        self.failed.store(true, Ordering::Release);
        self.stop();
    }

    /// Whether something failed.
    pub fn failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Takes the failure.
    pub fn take_failure(&self) -> Option<EngineError> {
        locked(&self.failure).take()
    }

    /// Registers a source to be woken when something here changes.
    pub fn register(&self, activator: SyncActivator) {
        locked(&self.activators).push(activator);
    }

    fn wake(&self) {
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

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long a parked worker sleeps at most before it looks at the lifecycle again.
pub const PARK: Duration = Duration::from_millis(200);
