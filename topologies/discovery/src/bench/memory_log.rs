//! A log in memory that gives one topic and takes everything.
//!
//! The records of the warm-up are handed out first. When all that came of them is committed, the
//! clock starts, and the others follow: at once, or each when it is due.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use headwater::log::{
    Log, LogError, LogRecord, NewRecord, Polled, Producer, Reader, Start, TopicInfo, TopicPartition, TopicSpec,
    Transaction, Transactional, Watermarks,
};

use super::input::Input;
use super::pipeline::LONGEST_US;
use super::process::{Usage, usage};
use super::written::Written;

/// Create time of the first record in ms since the Unix epoch; each is a millisecond younger.
pub(super) const BEGAN_MS: i64 = 1_780_000_000_000;

/// Settings of the log.
pub(super) struct MemoryOptions {
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
    options: MemoryOptions,
    /// How many records of each partition come before the clock starts.
    warm: Vec<usize>,
    ends: Vec<usize>,
    opened: OnceLock<Instant>,
    measured: Mutex<Measured>,
    changed: Condvar,
}

/// The log.
pub(super) struct MemoryLog(Arc<Shared>);

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
            self.changed.notify_all();
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

impl MemoryLog {
    pub fn new(input: Input, options: MemoryOptions) -> Result<Self, hdrhistogram::CreationError> {
        let (warm, ends) = (input.split(options.warm_up), input.lengths());
        let measured = Measured::new(ends.len(), input.len() as usize)?;
        let shared = Shared {
            input,
            options,
            warm,
            ends,
            opened: OnceLock::new(),
            measured: Mutex::new(measured),
            changed: Condvar::new(),
        };
        shared.open(&mut shared.measured());
        Ok(Self(Arc::new(shared)))
    }

    pub fn measured(&self) -> MutexGuard<'_, Measured> {
        self.0.measured()
    }

    pub fn input(&self) -> &Input {
        &self.0.input
    }
}

impl Log for MemoryLog {
    fn describe(&self) -> String {
        "memory".to_owned()
    }

    fn check(&self, _timeout: Duration) -> Result<(), LogError> {
        Ok(())
    }

    fn ensure_topics(&self, _specs: &[TopicSpec]) -> Result<(), LogError> {
        Ok(())
    }

    fn topics(&self, _prefix: &str) -> Result<Vec<TopicInfo>, LogError> {
        Ok(Vec::new())
    }

    fn watermarks(&self, topic: &str) -> Result<Option<Vec<Watermarks>>, LogError> {
        Ok(Some(match topic == &*self.0.options.topic {
            true => self.0.ends.iter().map(|high| Watermarks { low: 0, high: *high as i64 }).collect(),
            false => vec![Watermarks { low: 0, high: 0 }],
        }))
    }

    fn reader(&self, partitions: &[(TopicPartition, Start)]) -> Result<Box<dyn Reader>, LogError> {
        let mut reader = MemoryReader { shared: Arc::clone(&self.0), partitions: Vec::new() };
        partitions.iter().for_each(|(at, _)| reader.add(at.clone()));
        Ok(Box::new(reader))
    }

    fn producer(&self) -> Result<Box<dyn Producer>, LogError> {
        Ok(Box::new(Discard))
    }

    fn transactional(&self, _id: &str, _group: &str) -> Result<Box<dyn Transactional>, LogError> {
        Ok(Box::new(MemoryWriter(Arc::clone(&self.0))))
    }
}

struct Cursor {
    at: TopicPartition,
    next: usize,
    end: usize,
    told: bool,
}

struct MemoryReader {
    shared: Arc<Shared>,
    partitions: Vec<Cursor>,
}

impl MemoryReader {
    fn add(&mut self, at: TopicPartition) {
        let shared = &self.shared;
        let ends = (at.topic == shared.options.topic).then(|| shared.ends.get(at.partition as usize)).flatten();
        self.partitions.push(Cursor { end: ends.copied().unwrap_or(0), at, next: 0, told: false });
    }
}

/// Appends what of one partition may be read now; the due times of what was handed over.
fn read(shared: &Shared, cursor: &mut Cursor, into: &mut Vec<Polled>, max_bytes: usize) -> Vec<Handed> {
    let (opened, now) = (shared.opened.get().copied(), Instant::now());
    let partition = cursor.at.partition as usize;
    let warm = shared.warm.get(partition).copied().unwrap_or(0);
    let end = if opened.is_some() { cursor.end } else { warm.min(cursor.end) };
    let mut bytes = 0;
    let mut handed: Vec<Handed> = Vec::new();
    while bytes < max_bytes && cursor.next < end {
        let Some(record) = shared.input.get(partition, cursor.next) else { break };
        let due = opened.and_then(|opened| shared.due(opened, record.order));
        if due.is_some_and(|due| due > now) {
            break;
        }
        let last = cursor.next as i64;
        match handed.last_mut().filter(|_| due.is_none()) {
            Some(handed) => (handed.last, handed.count) = (last, handed.count + 1),
            None => handed.push(Handed { last, count: 1, at: due.unwrap_or(now) }),
        }
        let sender = &shared.input.senders()[record.sender];
        let mut headers = vec![("source".to_owned(), sender.source.as_bytes().to_vec())];
        if !sender.content_type.is_empty() {
            headers.push(("content-type".to_owned(), sender.content_type.as_bytes().to_vec()));
        }
        let record = LogRecord {
            topic: Arc::clone(&cursor.at.topic),
            partition: cursor.at.partition,
            offset: last,
            timestamp_ms: BEGAN_MS + i64::from(record.order),
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers,
        };
        bytes += record.size();
        into.push(Polled::Record(record));
        cursor.next += 1;
    }
    // What is warm-up is not measured.
    handed.retain(|handed| handed.last >= warm as i64);
    handed
}

impl Reader for MemoryReader {
    fn poll(&mut self, into: &mut Vec<Polled>, max_bytes: usize, wait: Duration) -> Result<(), LogError> {
        let before = into.len();
        for cursor in &mut self.partitions {
            let handed = read(&self.shared, cursor, into, max_bytes);
            if !handed.is_empty() {
                let mut measured = self.shared.measured();
                measured.in_flight.entry(cursor.at.partition).or_default().extend(handed);
            }
            if cursor.next >= cursor.end && !cursor.told {
                cursor.told = true;
                into.push(Polled::End { partition: cursor.at.clone(), next: cursor.next as i64 });
            }
        }
        if into.len() > before {
            return Ok(());
        }
        let measured = self.shared.measured();
        let pause = match (measured.began.is_some(), self.shared.options.rate) {
            // The next one is due soon.
            (true, Some(_)) => wait.min(Duration::from_millis(1)),
            _ => wait,
        };
        drop(self.shared.changed.wait_timeout(measured, pause).unwrap_or_else(PoisonError::into_inner));
        Ok(())
    }

    fn assign(&mut self, partition: TopicPartition, _start: Start) -> Result<(), LogError> {
        self.add(partition);
        Ok(())
    }
}

struct MemoryWriter(Arc<Shared>);

impl Transactional for MemoryWriter {
    fn commit(&mut self, transaction: &Transaction) -> Result<(), LogError> {
        let shared = &self.0;
        let now = Instant::now();
        let mut measured = shared.measured();
        measured.written.add(transaction);
        for (at, next) in transaction.positions.iter().filter(|(at, _)| at.topic == shared.options.topic) {
            measured.committed(at.partition, *next, now);
        }
        shared.open(&mut measured);
        let complete = measured.committed.iter().zip(&shared.ends).all(|(committed, end)| committed >= end);
        if complete && measured.ended.is_none() {
            measured.ended = Some((now, usage()));
        }
        Ok(())
    }

    fn check(&mut self, _positions: Vec<(TopicPartition, i64)>) -> Result<(), LogError> {
        Ok(())
    }
}

struct Discard;

impl Producer for Discard {
    fn send(&mut self, _record: NewRecord) -> Result<(), LogError> {
        Ok(())
    }

    fn flush(&mut self) -> Result<(), LogError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::generate::GenerateConfig;

    use super::*;

    const WAIT: Duration = Duration::from_millis(1);

    fn log(warm_up: u64, rate: Option<f64>) -> (MemoryLog, TopicPartition) {
        let input = Input::generated(100, GenerateConfig::default(), 1).unwrap();
        let options = MemoryOptions { topic: "raw".into(), warm_up, rate };
        (MemoryLog::new(input, options).unwrap(), TopicPartition::new("raw", 0))
    }

    fn poll(reader: &mut dyn Reader) -> usize {
        let mut polled = Vec::new();
        reader.poll(&mut polled, usize::MAX, WAIT).unwrap();
        polled.iter().filter(|one| matches!(one, Polled::Record(_))).count()
    }

    fn commit(log: &MemoryLog, at: &TopicPartition, next: i64) {
        let positions = vec![(at.clone(), next)];
        log.transactional("t", "t").unwrap().commit(&Transaction { positions, ..Transaction::default() }).unwrap();
    }

    #[test]
    fn the_clock_starts_when_the_warm_up_is_committed() {
        let (log, at) = log(30, None);
        let mut reader = log.reader(&[(at.clone(), Start::Beginning)]).unwrap();
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
        let mut reader = log.reader(&[(at.clone(), Start::Beginning)]).unwrap();
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
        let mut reader = log.reader(&[(at, Start::Beginning)]).unwrap();
        assert_eq!(poll(&mut *reader), 1);
        assert_eq!(poll(&mut *reader), 0);
    }
}
