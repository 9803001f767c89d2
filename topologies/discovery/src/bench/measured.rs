//! A log in memory that gives the input as one topic, and measures what is committed of it.
//!
//! The records of the warm-up are handed out first. When all that came of them is committed, the
//! clock starts, and the others follow: at once, or each when it is due. Records are made of the packed
//! input when they are read, and what is written is not kept, so that neither counts as memory of the
//! pipeline.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use headwater::log::memory::{Feed, MemoryLog};
use headwater::log::{LogRecord, Polled, TopicPartition, Transaction};

use super::input::{Input, Record};
use super::process::{Usage, usage};
use super::written::Written;

/// Create time of the first record in ms since the Unix epoch; each is a millisecond younger.
pub(super) const BEGAN_MS: i64 = 1_780_000_000_000;

/// The longest latency that is told apart, in microseconds: an hour.
pub(super) const LONGEST_US: u64 = 3_600_000_000;

/// Settings of the log.
pub(super) struct MeasuredOptions {
    /// Full name of the topic that it gives.
    pub topic: Arc<str>,
    /// How many records come before the clock starts.
    pub warm_up: u64,
    /// Records a second that are due after that.
    pub rate: Option<f64>,
}

/// What was measured.
pub(super) struct Measured {
    /// When the clock started, and what the process had used by then.
    pub began: Option<(Instant, Usage)>,
    /// The last commit of an input record, likewise.
    pub ended: Option<(Instant, Usage)>,
    pub latency: Histogram<u64>,
    pub written: Written,
    in_flight: BTreeMap<i32, VecDeque<Handed>>,
    /// Next offsets by partition.
    committed: Vec<usize>,
}

/// Records handed over that are not committed.
#[derive(Debug, Clone, Copy)]
struct Handed {
    last: i64,
    count: u64,
    /// When they were due, or handed over.
    at: Instant,
}

struct Shared {
    input: Input,
    options: MeasuredOptions,
    /// How many records of each partition come before the clock starts.
    warm: Vec<usize>,
    ends: Vec<usize>,
    opened: OnceLock<Instant>,
    measured: Mutex<Measured>,
}

/// The log, and what was measured on it.
pub(super) struct MeasuredLog {
    log: MemoryLog,
    shared: Arc<Shared>,
}

impl Shared {
    fn measured(&self) -> MutexGuard<'_, Measured> {
        self.measured.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When a record is due; `None` where it is at once.
    fn due(&self, opened: Instant, order: u32) -> Option<Instant> {
        let rate = self.options.rate?;
        let number = u64::from(order).saturating_sub(self.options.warm_up);
        Some(opened + Duration::from_secs_f64(number as f64 / rate))
    }

    /// Starts the clock if everything before it is committed.
    fn open(&self, measured: &mut Measured) {
        let warm = self.warm.iter().zip(&measured.committed).all(|(warm, committed)| committed >= warm);
        if warm && measured.began.is_none() {
            let now = Instant::now();
            measured.began = Some((now, usage()));
            measured.written.start_counting();
            let _ = self.opened.set(now);
        }
    }
}

impl Measured {
    fn new(partitions: usize, links: usize) -> Result<Self, hdrhistogram::CreationError> {
        Ok(Self {
            began: None,
            ended: None,
            latency: Histogram::new_with_bounds(1, LONGEST_US, 3)?,
            written: Written::with_room(links),
            in_flight: BTreeMap::new(),
            committed: vec![0; partitions],
        })
    }

    fn committed(&mut self, partition: i32, next: i64, now: Instant) {
        if let Some(committed) = self.committed.get_mut(partition as usize) {
            *committed = (*committed).max(next as usize);
        }
        let Some(waiting) = self.in_flight.get_mut(&partition) else { return };
        while let Some(handed) = waiting.front().copied().filter(|handed| handed.last < next) {
            waiting.pop_front();
            let micros = u64::try_from(now.saturating_duration_since(handed.at).as_micros()).unwrap_or(u64::MAX);
            self.latency.saturating_record_n(micros, handed.count);
        }
    }
}

impl MeasuredLog {
    pub fn new(input: Input, options: MeasuredOptions) -> Result<Self, hdrhistogram::CreationError> {
        let (warm, ends) = (input.split(options.warm_up), input.lengths());
        let measured = Measured::new(ends.len(), input.len() as usize)?;
        let topic = Arc::clone(&options.topic);
        let (opened, measured) = (OnceLock::new(), Mutex::new(measured));
        let shared = Arc::new(Shared { input, options, warm, ends, opened, measured });
        shared.open(&mut shared.measured());
        let log = MemoryLog::new();
        log.serve(&topic, Arc::clone(&shared) as Arc<dyn Feed>);
        let taking = Arc::clone(&shared);
        log.take(Box::new(move |transaction| taking.take(transaction)));
        Ok(Self { log, shared })
    }

    pub fn log(&self) -> MemoryLog {
        self.log.clone()
    }

    pub fn measured(&self) -> MutexGuard<'_, Measured> {
        self.shared.measured()
    }

    pub fn input(&self) -> &Input {
        &self.shared.input
    }
}

impl Feed for Shared {
    fn ends(&self) -> Vec<i64> {
        self.ends.iter().map(|end| *end as i64).collect()
    }

    /// Appends what of one partition may be read now, and notes when it was due.
    fn read(&self, at: &TopicPartition, next: i64, max_bytes: usize, into: &mut Vec<Polled>) -> i64 {
        let (opened, now) = (self.opened.get().copied(), Instant::now());
        let partition = at.partition as usize;
        let (warm, end) = (self.warm.get(partition).copied(), self.ends.get(partition).copied());
        let (warm, end) = (warm.unwrap_or(0), end.unwrap_or(0));
        let end = if opened.is_some() { end } else { warm.min(end) };
        let (mut next, mut bytes) = (next as usize, 0);
        let mut handed: Vec<Handed> = Vec::new();
        while bytes < max_bytes && next < end {
            let Some(record) = self.input.get(partition, next) else { break };
            let due = opened.and_then(|opened| self.due(opened, record.order));
            if due.is_some_and(|due| due > now) {
                break;
            }
            let last = next as i64;
            match handed.last_mut().filter(|_| due.is_none()) {
                Some(handed) => (handed.last, handed.count) = (last, handed.count + 1),
                None => handed.push(Handed { last, count: 1, at: due.unwrap_or(now) }),
            }
            let record = self.record(at, last, record);
            bytes += record.size();
            into.push(Polled::Record(record));
            next += 1;
        }
        // What is warm-up is not measured.
        handed.retain(|handed| handed.last >= warm as i64);
        if !handed.is_empty() {
            self.measured().in_flight.entry(at.partition).or_default().extend(handed);
        }
        next as i64
    }
}

impl Shared {
    fn record(&self, at: &TopicPartition, offset: i64, record: Record<'_>) -> LogRecord {
        let sender = &self.input.senders()[record.sender];
        let mut headers = vec![("source".to_owned(), sender.source.as_bytes().to_vec())];
        if !sender.content_type.is_empty() {
            headers.push(("content-type".to_owned(), sender.content_type.as_bytes().to_vec()));
        }
        LogRecord {
            topic: Arc::clone(&at.topic),
            partition: at.partition,
            offset,
            timestamp_ms: BEGAN_MS + i64::from(record.order),
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers,
        }
    }

    fn take(&self, transaction: &Transaction) {
        let now = Instant::now();
        let mut measured = self.measured();
        measured.written.add(transaction);
        for (at, next) in transaction.positions.iter().filter(|(at, _)| at.topic == self.options.topic) {
            measured.committed(at.partition, *next, now);
        }
        self.open(&mut measured);
        let complete = measured.committed.iter().zip(&self.ends).all(|(committed, end)| committed >= end);
        if complete && measured.ended.is_none() {
            measured.ended = Some((now, usage()));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::generate::GenerateConfig;
    use headwater::log::{Log, Reader, Start};

    use super::*;

    const WAIT: Duration = Duration::from_millis(1);

    fn log(warm_up: u64, rate: Option<f64>) -> (MeasuredLog, TopicPartition) {
        let input = Input::generated(100, GenerateConfig::default(), 1).unwrap();
        let options = MeasuredOptions { topic: "raw".into(), warm_up, rate };
        (MeasuredLog::new(input, options).unwrap(), TopicPartition::new("raw", 0))
    }

    fn poll(reader: &mut dyn Reader) -> usize {
        let mut polled = Vec::new();
        reader.poll(&mut polled, usize::MAX, WAIT).unwrap();
        polled.iter().filter(|one| matches!(one, Polled::Record(_))).count()
    }

    fn commit(log: &MeasuredLog, at: &TopicPartition, next: i64) {
        let positions = vec![(at.clone(), next)];
        log.log.transactional("t", "t").unwrap().commit(&Transaction { positions, ..Transaction::default() }).unwrap();
    }

    #[test]
    fn the_clock_starts_when_the_warm_up_is_committed() {
        let (log, at) = log(30, None);
        let mut reader = log.log.reader(&[(at.clone(), Start::Beginning)]).unwrap();
        assert_eq!((poll(&mut *reader), poll(&mut *reader)), (30, 0));
        commit(&log, &at, 29);
        assert_eq!(poll(&mut *reader), 0);
        assert!(log.measured().began.is_none());
        commit(&log, &at, 30);
        assert!(log.measured().began.is_some());
        assert_eq!(poll(&mut *reader), 70);
        commit(&log, &at, 100);
        let measured = log.measured();
        assert!(measured.ended.is_some());
        assert_eq!((measured.latency.len(), measured.written.commits), (70, 1));
    }

    #[test]
    fn latency_counts_from_the_moment_a_record_was_due() {
        let (log, at) = log(0, Some(1_000.0));
        let mut reader = log.log.reader(&[(at.clone(), Start::Beginning)]).unwrap();
        // Nobody reads for longer than it takes until all are due: the first has waited longest.
        std::thread::sleep(Duration::from_millis(150));
        assert_eq!(poll(&mut *reader), 100);
        commit(&log, &at, 100);
        let measured = log.measured();
        let (least, most) = (measured.latency.min(), measured.latency.max());
        assert_eq!(measured.latency.len(), 100);
        assert!(most >= 150_000 && (98_000..=100_500).contains(&(most - least)), "{least} {most}");
    }

    #[test]
    fn records_are_not_handed_out_before_they_are_due() {
        let (log, at) = log(0, Some(10.0));
        let mut reader = log.log.reader(&[(at, Start::Beginning)]).unwrap();
        assert_eq!(poll(&mut *reader), 1);
        assert_eq!(poll(&mut *reader), 0);
    }
}
