//! What the sessions of a view, and the writers of a session, have in common.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::error::ViewError;
use super::options::{BatchConfig, ViewOptions};
use super::spec::ViewTopics;
use super::status::{Shared, State};
use crate::error::Backoff;
use crate::log::{Log, LogError, TopicPartition, Watermarks};

/// Pause before the second attempt; doubled with each further one, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// A database that has come back shall not be left alone for long, and an attempt costs it little.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long a thread goes without looking whether it is to stop.
pub(super) const TICK: Duration = Duration::from_millis(50);

/// What the sessions of a view, and the writers of a session, have in common.
pub(super) struct Context {
    pub name: String,
    pub log: Arc<dyn Log>,
    pub options: ViewOptions,
    pub shared: Arc<Shared>,
    pub meters: Meters,
    stop: Arc<AtomicBool>,
    backoff: Mutex<Backoff>,
}

impl Context {
    pub fn new(
        name: &str,
        log: Arc<dyn Log>,
        options: ViewOptions,
        stop: Arc<AtomicBool>,
        shared: Arc<Shared>,
    ) -> Self {
        let backoff = Mutex::new(Backoff::new(FIRST_PAUSE, LONGEST_PAUSE));
        Self { name: name.to_owned(), log, options, shared, meters: Meters::new(name), stop, backoff }
    }

    pub fn topics(&self) -> &ViewTopics {
        &self.shared.topics
    }

    pub fn stopping(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    pub fn sleep(&self, pause: Duration) {
        let until = Instant::now() + pause;
        while !self.stopping() && Instant::now() < until {
            std::thread::sleep(TICK.min(until.saturating_duration_since(Instant::now())));
        }
    }

    pub fn backoff(&self) -> MutexGuard<'_, Backoff> {
        self.backoff.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a writer works. The trouble is over when all of them do: one that fails again and
    /// again must not be tried ever sooner because the others have no trouble.
    pub fn works(&self, state: &mut State, writer: usize) {
        if state.set_works(writer) {
            state.status.trouble = None;
            if self.backoff().reset() {
                tracing::info!(view = self.name, "the view works again");
            }
        }
    }

    pub fn applied(&self, writer: usize, records: usize, rows: usize, skipped: usize, took: Duration) {
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

    pub fn watermarks(&self) -> Result<BTreeMap<TopicPartition, Watermarks>, ViewError> {
        let mut marks = BTreeMap::new();
        for topic in self.topics().all() {
            let of_topic =
                self.log.watermarks(topic)?.ok_or_else(|| LogError::UnknownTopic { topic: topic.to_string() })?;
            for (watermarks, partition) in of_topic.into_iter().zip(0..) {
                marks.insert(TopicPartition::new(Arc::clone(topic), partition), watermarks);
            }
        }
        Ok(marks)
    }
}

/// The partitions of one of several writers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    pub number: usize,
    pub writers: usize,
}

impl Share {
    pub fn has(self, at: &TopicPartition) -> bool {
        at.partition.unsigned_abs() as usize % self.writers == self.number
    }

    /// Of what may be in memory.
    pub fn limits(self, all: &BatchConfig) -> BatchConfig {
        BatchConfig { records: all.records / self.writers, bytes: all.bytes / self.writers, ..all.clone() }
    }
}

/// How many offsets of the partitions of `share` are not read: those from `next` on.
pub(super) fn lag(
    marks: &BTreeMap<TopicPartition, Watermarks>,
    next: impl Fn(&TopicPartition) -> Option<i64>,
    share: Share,
) -> u64 {
    let unread = |(at, marks): (&TopicPartition, &Watermarks)| marks.high - next(at).unwrap_or(marks.low);
    marks.iter().filter(|(at, _)| share.has(at)).map(unread).map(|unread| unread.max(0).unsigned_abs()).sum()
}

/// The metrics of a view, all labelled with its name.
pub(super) struct Meters {
    pub records: metrics::Counter,
    pub rows: metrics::Counter,
    pub skipped: metrics::Counter,
    pub retries: metrics::Counter,
    pub rebuilds: metrics::Counter,
    pub seconds: metrics::Histogram,
}

impl Meters {
    pub fn new(view: &str) -> Self {
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
    use super::super::spec::ViewSpec;
    use super::super::status::WriterState;
    use super::*;
    use crate::log::memory::MemoryLog;

    #[test]
    fn a_database_that_is_back_is_found_within_five_seconds() {
        let shared = Arc::new(Shared::new(ViewSpec::new("x").topics("")));
        let context = Context::new("x", Arc::new(MemoryLog::new()), ViewOptions::default(), Arc::default(), shared);
        let pauses: Vec<Duration> = (0..1_000).map(|_| context.backoff().pause()).collect();
        assert!(pauses[0] <= Duration::from_millis(100), "{:?}", pauses[0]);
        assert!(pauses.iter().all(|pause| *pause <= Duration::from_secs(5)), "{pauses:?}");
        assert!(pauses[100..].iter().all(|pause| *pause >= Duration::from_millis(2_500)), "{pauses:?}");
    }

    fn at(partition: i32) -> TopicPartition {
        TopicPartition::new("t", partition)
    }

    fn marks(low: i64, high: i64) -> BTreeMap<TopicPartition, Watermarks> {
        BTreeMap::from([(at(0), Watermarks { low, high }), (at(1), Watermarks { low: 0, high: 9 })])
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
