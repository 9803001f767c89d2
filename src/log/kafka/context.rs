//! What librdkafka tells while it runs: log lines, errors, and the fate of each record.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, DeliveryResult, Headers as _, Message as _};
use rdkafka::producer::ProducerContext;

use crate::log::{Headers, NewRecord};

/// A broker that is away is reported at most this often by each client.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// Locks, also after a panic elsewhere: everything behind these locks is whole at any time.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps what a client last complained about, and passes its log lines to `tracing`.
#[derive(Default)]
pub(super) struct Watch {
    reason: Mutex<Option<String>>,
    all_down: AtomicBool,
    troubled: Mutex<Option<Instant>>,
    reported: Mutex<Option<Reported>>,
}

struct Reported {
    at: Instant,
    since: u64,
}

impl Watch {
    /// Of a client that is made because another one was in trouble, which has been reported.
    pub(super) fn of_trouble(at: Instant, reason: Option<String>) -> Self {
        let reported = Mutex::new(Some(Reported { at, since: 0 }));
        Self { reason: Mutex::new(reason), troubled: Mutex::new(Some(at)), reported, ..Self::default() }
    }

    /// The last reason why a broker could not be reached, or the like.
    pub(super) fn reason(&self) -> Option<String> {
        lock(&self.reason).clone()
    }

    /// Whether every known broker has failed since this was asked last.
    pub(super) fn take_all_down(&self) -> bool {
        self.all_down.swap(false, Ordering::Relaxed)
    }

    /// Whether a broker could not be reached at some time in the last `span`.
    pub(super) fn was_troubled_within(&self, span: Duration) -> bool {
        lock(&self.troubled).is_some_and(|at| at.elapsed() < span)
    }

    /// Warns of trouble that librdkafka retries by itself, at most once in [`REPORT_EVERY`].
    pub(super) fn warn(&self, reason: &str) {
        let mut reported = lock(&self.reported);
        match reported.as_mut() {
            Some(last) if last.at.elapsed() < REPORT_EVERY => {
                last.since += 1;
                tracing::debug!(target: "headwater::kafka", "{reason}");
            }
            last => {
                let unsaid = last.map(|l| l.since).filter(|unsaid| *unsaid > 0);
                tracing::warn!(target: "headwater::kafka", unsaid, "{reason}");
                *reported = Some(Reported { at: Instant::now(), since: 0 });
            }
        }
    }
}

impl ClientContext for Watch {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            // Consumer settings given to a producer and the like: true of every shared property.
            _ if facility == "CONFWARN" => tracing::debug!(target: "headwater::kafka", facility, "{message}"),
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => self.warn(message),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                tracing::info!(target: "headwater::kafka", facility, "{message}");
            }
            RDKafkaLogLevel::Debug => tracing::debug!(target: "headwater::kafka", facility, "{message}"),
        }
    }

    fn stats_raw(&self, statistics: &[u8]) {
        tracing::trace!(target: "headwater::kafka", "{}", String::from_utf8_lossy(statistics));
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        if code != Some(RDKafkaErrorCode::PartitionEOF) {
            *lock(&self.troubled) = Some(Instant::now());
        }
        match code {
            // Not an error: the consumer has enabled the signal.
            Some(RDKafkaErrorCode::PartitionEOF) => {}
            Some(RDKafkaErrorCode::AllBrokersDown) => {
                self.all_down.store(true, Ordering::Relaxed);
                self.warn(reason);
            }
            _ => {
                *lock(&self.reason) = Some(reason.to_owned());
                self.warn(reason);
            }
        }
    }
}

impl ConsumerContext for Watch {}

/// A record that did not reach the log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Undelivered {
    /// The number that the record was sent under.
    pub(super) index: usize,
    /// Why.
    pub(super) code: RDKafkaErrorCode,
}

/// A record that did not reach the log, with all that was in it.
#[derive(Debug)]
pub(super) struct Returned {
    pub(super) why: Undelivered,
    pub(super) record: NewRecord,
}

/// A producer's context: also keeps the first record that failed.
#[derive(Default)]
pub(super) struct Deliveries {
    pub(super) watch: Watch,
    failed: AtomicBool,
    /// How many records have reached the log.
    delivered: AtomicU64,
    first: Mutex<Option<Undelivered>>,
    /// Where whoever sends keeps no copies: every record that failed.
    returned: Option<Mutex<Vec<Returned>>>,
}

impl Deliveries {
    /// Keeps every record that failed, for [`Deliveries::take_returned`].
    pub(super) fn that_keep_records() -> Self {
        Self { returned: Some(Mutex::default()), ..Self::default() }
    }

    /// Takes the failure and all records that failed, in the order they were sent, and begins anew.
    pub(super) fn take_returned(&self) -> Vec<Returned> {
        let mut returned = self.returned.as_ref().map(|kept| std::mem::take(&mut *lock(kept))).unwrap_or_default();
        returned.sort_by_key(|r| r.why.index);
        self.take();
        returned
    }

    /// How many records have reached the log.
    pub(super) fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// Whether a record has failed since [`Deliveries::take`].
    pub(super) fn failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Takes the failure, and begins anew.
    pub(super) fn take(&self) -> Option<Undelivered> {
        let taken = lock(&self.first).take();
        self.failed.store(false, Ordering::Release);
        taken
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.watch.log(level, facility, message);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.watch.stats_raw(statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.watch.error(error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, index: usize) {
        let Err((error, message)) = result else {
            self.delivered.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
        if let Some(returned) = &self.returned {
            lock(returned).push(Returned { why: Undelivered { index, code }, record: sent_again(message) });
        }
        let mut first = lock(&self.first);
        // Records purged by an abort are a consequence; keep the cause when there is one.
        if first.is_none_or(|kept| is_purge(kept.code) && !is_purge(code)) {
            *first = Some(Undelivered { index, code });
        }
        self.failed.store(true, Ordering::Release);
    }
}

/// The record that a message was made of.
fn sent_again(message: &BorrowedMessage<'_>) -> NewRecord {
    let headers = message.headers().map(|headers| {
        headers.iter().map(|h| (h.key.to_owned(), h.value.unwrap_or_default().to_vec())).collect::<Headers>()
    });
    NewRecord {
        topic: message.topic().into(),
        key: message.key().map(Bytes::copy_from_slice),
        value: message.payload().map(Bytes::copy_from_slice),
        headers: headers.unwrap_or_default(),
        timestamp_ms: message.timestamp().to_millis(),
    }
}

/// Whether a record failed only because it was thrown out of the queue.
pub(super) fn is_purge(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight)
}
