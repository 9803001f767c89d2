//! Producing into a log: the pace, the headers, and a feed on a thread of its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Counts, GenerateConfig, GenerateError, Generated, Generator};
use headwater::error::Fault;
use headwater::log::{Log, NewRecord, Producer};
use headwater::topology::Companion;

/// How long to sleep between two looks at what is due.
const TICK: Duration = Duration::from_millis(20);

/// Records sent without a look at the clock and at whether to stop.
const BATCH: usize = 256;

/// A feed that arrives live.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FeedConfig {
    /// Records produced at once at the start.
    pub burst: u64,
    /// Records a second after that; 0 for none.
    pub rate: f64,
    /// Replaces the `window` of `generate`: when it is small, further descriptions of an event, and
    /// changes, follow soon.
    pub window: u32,
    /// What is generated. Its `base_date` is replaced by today's date in UTC, since records are
    /// stamped with the time at which they are produced.
    pub generate: GenerateConfig,
}

impl Default for FeedConfig {
    /// 400 records, then 50/s without end; further descriptions of an event follow the first one
    /// within seconds.
    fn default() -> Self {
        Self { burst: 400, rate: 50.0, window: 400, generate: GenerateConfig::default() }
    }
}

/// A generated feed, produced into a log on a thread of its own until stopped or dropped.
pub struct LiveFeed {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<(), GenerateError>>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    counts: Mutex<Counts>,
}

impl LiveFeed {
    /// Starts producing to `topic` (full name), which must exist. Each record carries `source`
    /// and `content-type` headers and the time at which it is produced.
    ///
    /// # Errors
    /// [`GenerateError::Config`] for a value out of its range, [`GenerateError::Log`] when the log
    /// gives no producer, [`GenerateError::Thread`] when the system gives no thread.
    pub fn start(log: &dyn Log, topic: &str, config: FeedConfig) -> Result<Self, GenerateError> {
        super::within("rate", config.rate, 0.0, 1e9)?;
        let mut generator =
            Generator::new(GenerateConfig { base_date: today(), window: config.window, ..config.generate })?;
        let mut producer = log.producer()?;
        let topic: Arc<str> = topic.into();
        let shared = Arc::new(Shared::default());
        let seen = Arc::clone(&shared);
        let mut pace = Pace::new(config.burst, Some(config.rate));
        let feed = move || {
            while !seen.stop.load(Ordering::Relaxed) {
                let sent = send_due(&mut generator, &mut *producer, &topic, &mut pace)?;
                producer.flush()?;
                *seen.counts.lock().unwrap_or_else(PoisonError::into_inner) = generator.counts();
                match sent {
                    Sent::Ended => break,
                    Sent::All => thread::park_timeout(TICK),
                    Sent::Some => {}
                }
            }
            Ok(())
        };
        let thread = thread::Builder::new().name("generated-feed".to_owned()).spawn(feed);
        let thread = thread.map_err(|error| GenerateError::Thread { what: format!("did not start: {error}") })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// What has been produced so far.
    pub fn counts(&self) -> Counts {
        *self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it has ended by itself: after `records` records, or by an error.
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Stops, waits for the end, and says what was produced.
    ///
    /// # Errors
    /// What ended the feed, if it had ended before.
    pub fn stop(mut self) -> Result<Counts, GenerateError> {
        match self.end() {
            Some(Ok(outcome)) => outcome?,
            Some(Err(_)) => return Err(GenerateError::Thread { what: "died".to_owned() }),
            None => {}
        }
        Ok(self.counts())
    }

    fn end(&mut self) -> Option<thread::Result<Result<(), GenerateError>>> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take()?;
        thread.thread().unpark();
        Some(thread.join())
    }
}

impl Companion for LiveFeed {
    fn stop(self: Box<Self>) -> Result<(), Box<dyn Fault>> {
        LiveFeed::stop(*self)?;
        Ok(())
    }
}

impl Drop for LiveFeed {
    fn drop(&mut self) {
        // Whoever wants to know how it ended calls `stop`.
        let _ = self.end();
    }
}

/// Today's date in UTC.
pub(super) fn today() -> jiff::civil::Date {
    jiff::tz::Offset::UTC.to_datetime(jiff::Timestamp::now()).date()
}

/// How many records are due: a burst, and then so many a second.
pub(super) struct Pace {
    begun: Instant,
    burst: u64,
    rate: Option<f64>,
    sent: u64,
}

impl Pace {
    /// Without a rate everything is due at once.
    pub fn new(burst: u64, rate: Option<f64>) -> Self {
        Self { begun: Instant::now(), burst, rate, sent: 0 }
    }

    /// How many more are due after `elapsed`.
    fn due_after(&self, elapsed: Duration) -> u64 {
        let Some(rate) = self.rate else { return u64::MAX };
        let total = self.burst.saturating_add((elapsed.as_secs_f64() * rate) as u64);
        total.saturating_sub(self.sent)
    }

    /// How many are due now, a batch at most.
    pub fn due(&self) -> usize {
        self.due_after(self.begun.elapsed()).min(BATCH as u64) as usize
    }

    pub fn count(&mut self) {
        self.sent += 1;
    }
}

/// What became of an attempt to send what is due.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// A full batch; more may be due.
    Some,
    /// Everything due.
    All,
    /// The generator has no more.
    Ended,
}

/// Sends what is due, a batch at most. Does not flush.
pub(super) fn send_due(
    generator: &mut Generator,
    producer: &mut dyn Producer,
    topic: &Arc<str>,
    pace: &mut Pace,
) -> Result<Sent, GenerateError> {
    let due = pace.due();
    for _ in 0..due {
        let Some(record) = generator.next() else { return Ok(Sent::Ended) };
        producer.send(new_record(topic, record))?;
        pace.count();
    }
    Ok(if due == BATCH { Sent::Some } else { Sent::All })
}

fn new_record(topic: &Arc<str>, record: Generated) -> NewRecord {
    let headers = vec![
        ("source".to_owned(), record.source.as_bytes().to_vec()),
        ("content-type".to_owned(), record.content_type.as_bytes().to_vec()),
    ];
    NewRecord {
        topic: topic.clone(),
        key: record.key.map(Into::into),
        value: record.value.map(Into::into),
        headers,
        timestamp_ms: None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::FakeLog;
    use super::*;

    #[test]
    fn a_pace_gives_the_burst_and_then_the_rate() {
        let mut pace = Pace::new(100, Some(50.0));
        assert_eq!(pace.due_after(Duration::ZERO), 100);
        (0..100).for_each(|_| pace.count());
        assert_eq!(pace.due_after(Duration::from_millis(10)), 0);
        assert_eq!(pace.due_after(Duration::from_secs(2)), 100);
        assert_eq!(Pace::new(0, None).due_after(Duration::ZERO), u64::MAX);
    }
    fn wait_until(what: impl Fn() -> bool) {
        let begun = Instant::now();
        while !what() {
            assert!(begun.elapsed() < Duration::from_secs(30), "waited too long");
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_feed_sends_its_burst_goes_on_and_stops() {
        let log = FakeLog::default();
        let config = FeedConfig { burst: 300, rate: 500.0, ..FeedConfig::default() };
        let feed = LiveFeed::start(&log, "raw.events", config).unwrap();
        wait_until(|| feed.counts().records > 320);
        assert!(!feed.is_finished());
        let counts = feed.stop().unwrap();
        let records = log.records.lock().unwrap();
        assert_eq!(counts.records, records.len() as u64);
        assert!(records.iter().all(|record| &*record.topic == "raw.events" && record.timestamp_ms.is_none()));
        assert_eq!(records[0].headers[0].0, "source");
        assert_eq!(records[0].headers[1].0, "content-type");
    }

    #[test]
    fn a_feed_ends_by_itself_with_its_records_or_an_error() {
        let generate = GenerateConfig { records: Some(50), ..GenerateConfig::default() };
        let log = FakeLog::default();
        let feed = LiveFeed::start(&log, "t", FeedConfig { generate, ..FeedConfig::default() }).unwrap();
        wait_until(|| feed.is_finished());
        assert_eq!(feed.stop().unwrap().records, 50);

        let log = FakeLog { limit: Some(10), ..FakeLog::default() };
        let feed = LiveFeed::start(&log, "t", FeedConfig::default()).unwrap();
        wait_until(|| feed.is_finished());
        assert!(matches!(feed.stop(), Err(GenerateError::Log(_))));
    }

    #[test]
    fn dropping_a_feed_stops_it() {
        let log = FakeLog::default();
        drop(LiveFeed::start(&log, "t", FeedConfig::default()).unwrap());
        let sent = log.records.lock().unwrap().len();
        thread::sleep(Duration::from_millis(60));
        assert_eq!(log.records.lock().unwrap().len(), sent);
    }
}
