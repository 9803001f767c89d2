//! A log in memory: for tests, and for measurements without a disk or a broker.
//!
//! It keeps every promise of [`Log`], for as long as the process lives. Handles of one log are clones.
//! Beyond the trait it does what a test wants to happen to a log: records of one's own in a chosen
//! partition, offsets without records, lost beginnings, compaction, recreated topics, and times of
//! being unreachable.
//!
//! For measurements a topic may be [served](MemoryLog::serve) by a [`Feed`], which makes records when
//! they are read, and transactions may be [taken](MemoryLog::take) by somebody who only looks at them.
//! What a log keeps would else be counted among the memory of what is measured, and two workers that
//! read would wait for each other.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use xxhash_rust::xxh3::xxh3_64;

use super::{
    Cleanup, Headers, Log, LogError, LogRecord, NewRecord, Polled, Producer, Reader, Start, TopicInfo, TopicPartition,
    TopicSpec, Transaction, Transactional, Watermarks, outside,
};

/// At most this much of one partition before the next one has its turn.
const QUANTUM_BYTES: usize = 1 << 20;

/// A feed may give something at any time, and tells nobody: it is asked this often.
const ASK_FEED_EVERY: Duration = Duration::from_millis(1);

/// The largest record of a topic that [`MemoryLog::create`] made, in bytes.
const MAX_RECORD_BYTES: usize = 16 << 20;

/// Records of a topic that somebody else holds, made when they are read.
pub trait Feed: Send + Sync {
    /// The offset after the last record, for each partition. It does not change.
    fn ends(&self) -> Vec<i64>;

    /// Appends to `into` the records of partition `at` from offset `next` on that may be read now, at
    /// most about `max_bytes` of them, and returns where reading goes on.
    fn read(&self, at: &TopicPartition, next: i64, max_bytes: usize, into: &mut Vec<Polled>) -> i64;
}

/// Looks at transactions.
pub type Take = Box<dyn Fn(&Transaction) + Send + Sync>;

/// See the module's documentation.
#[derive(Clone, Default)]
pub struct MemoryLog(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: RwLock<State>,
    take: OnceLock<Take>,
    /// How often something has changed.
    changes: Mutex<u64>,
    changed: Condvar,
    away: AtomicBool,
    records_read: AtomicU64,
}

#[derive(Default)]
struct State {
    topics: BTreeMap<String, Topic>,
    feeds: BTreeMap<String, Arc<dyn Feed>>,
    /// The newest instance of each transactional id.
    writers: HashMap<String, u64>,
    /// Partition for the next records without a key; moves on with every append.
    keyless: usize,
}

struct Topic {
    cleanup: Cleanup,
    max_record_bytes: usize,
    partitions: Vec<Partition>,
}

#[derive(Clone, Default)]
struct Partition {
    low: i64,
    high: i64,
    /// In the order of their offsets, which may have gaps.
    records: Vec<LogRecord>,
}

impl Partition {
    fn watermarks(&self) -> Watermarks {
        Watermarks { low: self.low, high: self.high }
    }
}

impl Topic {
    fn new(partitions: usize, cleanup: Cleanup, max_record_bytes: usize) -> Self {
        Self { cleanup, max_record_bytes, partitions: vec![Partition::default(); partitions] }
    }

    /// The partition of a record, as on the embedded log: XXH3 of the key, modulo their number.
    fn place(&self, key: Option<&[u8]>, keyless: usize) -> usize {
        let count = self.partitions.len().max(1);
        match key {
            Some(key) => (xxh3_64(key) % count as u64) as usize,
            None => keyless % count,
        }
    }

    /// Refuses what the topic does not take.
    fn check(&self, index: usize, record: &NewRecord, further: &Headers) -> Result<(), LogError> {
        let size = record.size() + further.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        if size > self.max_record_bytes {
            let (topic, limit) = (record.topic.to_string(), self.max_record_bytes);
            return Err(LogError::TooLarge { index, topic, size, limit });
        }
        if self.cleanup == Cleanup::Compact && record.key.is_none() {
            let reason = format!("{} is compacted: its records need keys", record.topic);
            return Err(LogError::Failed { doing: "writing a record", reason });
        }
        Ok(())
    }
}

impl State {
    fn topic(&self, name: &str) -> Result<&Topic, LogError> {
        self.topics.get(name).ok_or_else(|| unknown(name))
    }

    fn partition_mut(&mut self, topic: &str, partition: i32) -> Result<&mut Partition, LogError> {
        let partitions = self.topics.get_mut(topic).map(|topic| &mut topic.partitions);
        let index = usize::try_from(partition).map_err(|_| unknown(topic))?;
        partitions.and_then(|all| all.get_mut(index)).ok_or_else(|| unknown(topic))
    }

    fn watermarks(&self, topic: &str) -> Option<Vec<Watermarks>> {
        if let Some(feed) = self.feeds.get(topic) {
            return Some(feed.ends().into_iter().map(|high| Watermarks { low: 0, high }).collect());
        }
        Some(self.topics.get(topic)?.partitions.iter().map(Partition::watermarks).collect())
    }

    /// Appends all of `records`, or none.
    fn append(&mut self, records: &[NewRecord], further: &Headers) -> Result<(), LogError> {
        for (index, record) in records.iter().enumerate() {
            self.topic(&record.topic)?.check(index, record, further)?;
        }
        let (now, keyless) = (now_ms(), self.keyless);
        self.keyless = keyless.wrapping_add(1);
        for record in records {
            let Some(topic) = self.topics.get_mut(&*record.topic) else { continue };
            let partition = topic.place(record.key.as_deref(), keyless);
            let Some(into) = topic.partitions.get_mut(partition) else { continue };
            into.records.push(LogRecord {
                topic: Arc::clone(&record.topic),
                partition: partition as i32,
                offset: into.high,
                timestamp_ms: record.timestamp_ms.unwrap_or(now),
                key: record.key.as_deref().map(<[u8]>::to_vec),
                value: record.value.as_deref().map(<[u8]>::to_vec),
                headers: record.headers.iter().chain(further).cloned().collect(),
            });
            into.high += 1;
        }
        Ok(())
    }
}

impl Shared {
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something and wakes those who wait for it.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state: RwLockWriteGuard<'_, State> = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut state);
        drop(state);
        *self.changes() += 1;
        self.changed.notify_all();
        changed
    }

    fn changes(&self) -> MutexGuard<'_, u64> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there are more than `known` changes, for at most `patience`.
    fn wait(&self, known: u64, patience: Duration) {
        let changes = self.changes();
        let waited = self.changed.wait_timeout_while(changes, patience, |changes| *changes == known);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    fn is_away(&self) -> bool {
        self.away.load(Ordering::SeqCst)
    }

    fn reachable(&self) -> Result<(), LogError> {
        if self.is_away() {
            let reason = "it was switched off".to_owned();
            return Err(LogError::Unreachable { at: "memory".to_owned(), reason });
        }
        Ok(())
    }
}

impl MemoryLog {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a topic that keeps everything; one that is there is replaced, as a topic that is deleted
    /// and created again.
    pub fn create(&self, topic: &str, partitions: usize) {
        let empty = Topic::new(partitions, Cleanup::Delete { retention_ms: None }, MAX_RECORD_BYTES);
        self.0.change(|state| state.topics.insert(topic.to_owned(), empty));
    }

    /// Adds a partition to a topic.
    ///
    /// # Errors
    /// [`LogError::UnknownTopic`].
    pub fn grow(&self, topic: &str) -> Result<(), LogError> {
        self.0.change(|state| {
            state.topics.get_mut(topic).ok_or_else(|| unknown(topic))?.partitions.push(Partition::default());
            Ok(())
        })
    }

    /// Appends a record at the end of its partition, and returns its offset; the one that it brings does
    /// not count.
    ///
    /// # Errors
    /// [`LogError::UnknownTopic`].
    pub fn put(&self, record: LogRecord) -> Result<i64, LogError> {
        self.0.change(|state| {
            let into = state.partition_mut(&record.topic, record.partition)?;
            let offset = into.high;
            into.records.push(LogRecord { offset, ..record });
            into.high += 1;
            Ok(offset)
        })
    }

    /// Uses up `offsets` offsets without a record, as the markers of transactions do.
    ///
    /// # Errors
    /// [`LogError::UnknownTopic`].
    pub fn skip(&self, topic: &str, partition: i32, offsets: i64) -> Result<(), LogError> {
        self.0.change(|state| {
            state.partition_mut(topic, partition)?.high += offsets;
            Ok(())
        })
    }

    /// Removes what lies before offset `low`, as retention does.
    ///
    /// # Errors
    /// [`LogError::UnknownTopic`].
    pub fn expire(&self, topic: &str, partition: i32, low: i64) -> Result<(), LogError> {
        self.0.change(|state| {
            let partition = state.partition_mut(topic, partition)?;
            partition.low = low;
            partition.high = partition.high.max(low);
            partition.records.retain(|record| record.offset >= low);
            Ok(())
        })
    }

    /// Removes every record of `key`, as compaction does when a tombstone has become old.
    ///
    /// # Errors
    /// [`LogError::UnknownTopic`].
    pub fn compact_away(&self, topic: &str, key: &[u8]) -> Result<(), LogError> {
        self.0.change(|state| {
            let topic = state.topics.get_mut(topic).ok_or_else(|| unknown(topic))?;
            for partition in &mut topic.partitions {
                partition.records.retain(|record| record.key.as_deref() != Some(key));
            }
            Ok(())
        })
    }

    /// Takes the log away, or brings it back. While it is away, calls fail with
    /// [`LogError::Unreachable`], and readers that are open see nothing.
    pub fn set_away(&self, away: bool) {
        self.0.change(|_| self.0.away.store(away, Ordering::SeqCst));
    }

    /// Serves `topic` from a feed. Nothing can be appended to it.
    pub fn serve(&self, topic: &str, feed: Arc<dyn Feed>) {
        self.0.change(|state| state.feeds.insert(topic.to_owned(), feed));
    }

    /// Shows every transaction to `take`, and keeps none. The first one that takes does so for good.
    pub fn take(&self, take: Take) {
        let _ = self.0.take.set(take);
    }

    /// How many records all readers have been given.
    pub fn records_read(&self) -> u64 {
        self.0.records_read.load(Ordering::Relaxed)
    }

    /// The ends of all partitions of all topics.
    pub fn ends(&self) -> Vec<(TopicPartition, i64)> {
        let state = self.0.read();
        let ends = |topic: &String| {
            let (name, marks) = (Arc::<str>::from(topic.as_str()), state.watermarks(topic).unwrap_or_default());
            (0..).zip(marks).map(move |(number, marks)| (TopicPartition::new(Arc::clone(&name), number), marks.high))
        };
        state.topics.keys().flat_map(ends).collect()
    }

    /// The records of a topic that are still there, by partition.
    ///
    /// # Errors
    /// [`LogError::UnknownTopic`].
    pub fn records(&self, topic: &str) -> Result<Vec<Vec<LogRecord>>, LogError> {
        let state = self.0.read();
        Ok(state.topic(topic)?.partitions.iter().map(|partition| partition.records.clone()).collect())
    }
}

fn unknown(topic: &str) -> LogError {
    LogError::UnknownTopic { topic: topic.to_owned() }
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

impl Log for MemoryLog {
    fn describe(&self) -> String {
        "memory".to_owned()
    }

    fn check(&self, _timeout: Duration) -> Result<(), LogError> {
        self.0.reachable()
    }

    fn ensure_topics(&self, specs: &[TopicSpec]) -> Result<(), LogError> {
        self.0.reachable()?;
        self.0.change(|state| {
            for spec in specs {
                let topic = || Topic::new(spec.partitions.max(1) as usize, spec.cleanup, spec.max_record_bytes);
                state.topics.entry(spec.name.clone()).or_insert_with(topic);
            }
        });
        Ok(())
    }

    fn topics(&self, prefix: &str) -> Result<Vec<TopicInfo>, LogError> {
        self.0.reachable()?;
        let state = self.0.read();
        let info = |(name, topic): (&String, &Topic)| {
            let cleanup = if topic.cleanup == Cleanup::Compact { "compact" } else { "delete" };
            let partitions = state.watermarks(name).unwrap_or_default();
            TopicInfo { name: name.clone(), partitions, cleanup: cleanup.to_owned() }
        };
        Ok(state.topics.iter().filter(|(name, _)| name.starts_with(prefix)).map(info).collect())
    }

    fn watermarks(&self, topic: &str) -> Result<Option<Vec<Watermarks>>, LogError> {
        self.0.reachable()?;
        Ok(self.0.read().watermarks(topic))
    }

    fn reader(&self, partitions: &[(TopicPartition, Start)]) -> Result<Box<dyn Reader>, LogError> {
        self.0.reachable()?;
        let mut reader =
            MemoryReader { shared: Arc::clone(&self.0), cursors: Vec::new(), turn: 0, exhausted: None, feeds: false };
        for (at, start) in partitions {
            reader.assign(at.clone(), *start)?;
        }
        Ok(Box::new(reader))
    }

    fn producer(&self) -> Result<Box<dyn Producer>, LogError> {
        self.0.reachable()?;
        Ok(Box::new(MemoryProducer(Arc::clone(&self.0))))
    }

    fn transactional(&self, id: &str, _group: &str) -> Result<Box<dyn Transactional>, LogError> {
        self.0.reachable()?;
        let epoch = self.0.change(|state| {
            let epoch = state.writers.entry(id.to_owned()).or_default();
            *epoch += 1;
            *epoch
        });
        Ok(Box::new(MemoryWriter { shared: Arc::clone(&self.0), id: id.to_owned(), epoch }))
    }
}

/// One partition that is being read.
struct Cursor {
    at: TopicPartition,
    feed: Option<Arc<dyn Feed>>,
    /// The end of what the feed gives.
    fed_until: i64,
    next: i64,
    /// The end reported last.
    reported: Option<i64>,
}

impl Cursor {
    /// Reads up to about `max_bytes`. Returns how much, and whether nothing more is there now.
    fn read(&mut self, state: &State, into: &mut Vec<Polled>, max_bytes: usize) -> Result<(usize, bool), LogError> {
        let partition = usize::try_from(self.at.partition).ok();
        let partition = partition.and_then(|index| state.topics.get(&*self.at.topic)?.partitions.get(index));
        let partition = partition.ok_or_else(|| unknown(&self.at.topic))?;
        if let Some(error) = outside(&self.at, self.next, partition.watermarks()) {
            return Err(error);
        }
        let mut bytes = 0;
        let from = partition.records.partition_point(|record| record.offset < self.next);
        for record in partition.records.get(from..).unwrap_or_default() {
            if bytes >= max_bytes {
                return Ok((bytes, false));
            }
            self.next = record.offset + 1;
            bytes += record.size().max(1);
            into.push(Polled::Record(record.clone()));
        }
        self.next = partition.high;
        self.report_end(partition.high, into);
        Ok((bytes, true))
    }

    fn read_feed(&mut self, feed: &dyn Feed, into: &mut Vec<Polled>, max_bytes: usize) -> usize {
        let before = into.len();
        self.next = feed.read(&self.at, self.next, max_bytes, into);
        let read = into.iter().skip(before);
        let bytes = read.map(|one| if let Polled::Record(record) = one { record.size() } else { 0 }).sum();
        if self.next >= self.fed_until {
            self.report_end(self.fed_until, into);
        }
        bytes
    }

    fn report_end(&mut self, end: i64, into: &mut Vec<Polled>) {
        if self.reported != Some(end) {
            self.reported = Some(end);
            into.push(Polled::End { partition: self.at.clone(), next: end });
        }
    }
}

struct MemoryReader {
    shared: Arc<Shared>,
    cursors: Vec<Cursor>,
    /// Whose turn it is.
    turn: usize,
    /// The number of changes up to which everything has been read and reported.
    exhausted: Option<u64>,
    /// Whether it reads from a feed.
    feeds: bool,
}

impl MemoryReader {
    /// Reads from the partitions in turn. True when all were read to their ends.
    fn scan(&mut self, into: &mut Vec<Polled>, max_bytes: usize) -> Result<bool, LogError> {
        let Self { shared, cursors, turn, .. } = self;
        let count = cursors.len();
        let (mut left, mut ended) = (max_bytes, 0);
        // Ended when that many in a row had nothing left.
        while ended < count {
            if left == 0 {
                return Ok(false);
            }
            *turn = (*turn + 1) % count;
            let Some(cursor) = cursors.get_mut(*turn) else { break };
            let quantum = left.min(QUANTUM_BYTES);
            let (bytes, at_end) = match cursor.feed.clone() {
                // Without a lock: a feed does not change.
                Some(feed) => {
                    let bytes = cursor.read_feed(&*feed, into, quantum);
                    (bytes, bytes < quantum)
                }
                None => cursor.read(&shared.read(), into, quantum)?,
            };
            left = left.saturating_sub(bytes);
            ended = if at_end { ended + 1 } else { 0 };
        }
        Ok(true)
    }
}

impl Reader for MemoryReader {
    fn poll(&mut self, into: &mut Vec<Polled>, max_bytes: usize, wait: Duration) -> Result<(), LogError> {
        let deadline = Instant::now() + wait;
        let before = into.len();
        loop {
            // Looked at first: a change from here on either shows in the scan or ends the wait.
            let changes = *self.shared.changes();
            if !self.shared.is_away() && (self.feeds || self.exhausted != Some(changes)) {
                let all = self.scan(into, max_bytes)?;
                self.exhausted = all.then_some(changes);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if into.len() > before || left.is_zero() {
                let records = into.iter().skip(before).filter(|one| matches!(one, Polled::Record(_))).count();
                self.shared.records_read.fetch_add(records as u64, Ordering::Relaxed);
                return Ok(());
            }
            self.shared.wait(changes, if self.feeds { left.min(ASK_FEED_EVERY) } else { left });
        }
    }

    fn assign(&mut self, at: TopicPartition, start: Start) -> Result<(), LogError> {
        let state = self.shared.read();
        let marks = state.watermarks(&at.topic).unwrap_or_default();
        let ends = usize::try_from(at.partition).ok().and_then(|index| marks.get(index).copied());
        let ends = ends.ok_or_else(|| unknown(&at.topic))?;
        let next = match start {
            Start::Beginning => ends.low,
            Start::End => ends.high,
            Start::Offset(offset) => match outside(&at, offset, ends) {
                Some(error) => return Err(error),
                None => offset,
            },
        };
        let feed = state.feeds.get(&*at.topic).cloned();
        drop(state);
        self.feeds |= feed.is_some();
        self.cursors.push(Cursor { at, feed, fed_until: ends.high, next, reported: None });
        self.exhausted = None;
        Ok(())
    }
}

struct MemoryProducer(Arc<Shared>);

impl Producer for MemoryProducer {
    fn send(&mut self, record: NewRecord) -> Result<(), LogError> {
        self.0.reachable()?;
        self.0.change(|state| state.append(std::slice::from_ref(&record), &Headers::new()))
    }

    fn flush(&mut self) -> Result<(), LogError> {
        self.0.reachable()
    }
}

struct MemoryWriter {
    shared: Arc<Shared>,
    id: String,
    epoch: u64,
}

impl MemoryWriter {
    /// Refuses to go on when somebody has opened the id since.
    fn check_epoch(&self, state: &State) -> Result<(), LogError> {
        let newest = state.writers.get(&self.id).copied();
        if newest == Some(self.epoch) { Ok(()) } else { Err(LogError::Fenced { id: self.id.clone() }) }
    }
}

impl Transactional for MemoryWriter {
    fn commit(&mut self, transaction: &Transaction) -> Result<(), LogError> {
        self.shared.reachable()?;
        self.shared.change(|state| {
            self.check_epoch(state)?;
            if self.shared.take.get().is_some() {
                return Ok(());
            }
            state.append(&transaction.records, &transaction.headers)
        })?;
        if let Some(take) = self.shared.take.get() {
            take(transaction);
            // What a feed holds back may wait for what was taken.
            self.shared.change(|_| ());
        }
        Ok(())
    }

    fn check(&mut self, _positions: Vec<(TopicPartition, i64)>) -> Result<(), LogError> {
        self.shared.reachable()?;
        self.check_epoch(&self.shared.read())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(value: &str) -> LogRecord {
        LogRecord {
            topic: "t".into(),
            partition: 0,
            offset: 0,
            timestamp_ms: 0,
            key: Some(b"k".to_vec()),
            value: Some(value.into()),
            headers: Vec::new(),
        }
    }

    fn poll(reader: &mut dyn Reader) -> Vec<(String, i64)> {
        let mut polled = Vec::new();
        reader.poll(&mut polled, 1 << 20, Duration::ZERO).unwrap();
        let told = polled.into_iter().map(|one| match one {
            Polled::Record(record) => (String::from_utf8(record.value.unwrap_or_default()).unwrap(), record.offset),
            Polled::End { next, .. } => ("end".to_owned(), next),
        });
        told.collect()
    }

    fn beginning(log: &MemoryLog) -> Box<dyn Reader> {
        log.reader(&[(TopicPartition::new("t", 0), Start::Beginning)]).unwrap()
    }

    #[test]
    fn gaps_lost_beginnings_and_compaction_look_as_on_a_broker() {
        let log = MemoryLog::new();
        log.create("t", 1);
        assert_eq!((log.put(record("a")).unwrap(), log.put(record("b")).unwrap()), (0, 1));
        log.skip("t", 0, 3).unwrap();
        assert_eq!(log.put(record("c")).unwrap(), 5);
        let mut reader = beginning(&log);
        let all = [("a", 0), ("b", 1), ("c", 5), ("end", 6)].map(|(told, at)| (told.to_owned(), at));
        assert_eq!(poll(&mut *reader), all);
        log.skip("t", 0, 1).unwrap();
        assert_eq!(poll(&mut *reader), [("end".to_owned(), 7)]);
        log.expire("t", 0, 2).unwrap();
        assert_eq!(poll(&mut *beginning(&log))[0], ("c".to_owned(), 5));
        log.compact_away("t", b"k").unwrap();
        assert_eq!(poll(&mut *beginning(&log)), [("end".to_owned(), 7)]);
        assert_eq!(log.ends(), [(TopicPartition::new("t", 0), 7)]);
    }

    #[test]
    fn a_log_that_is_away_fails_and_its_readers_see_nothing() {
        let log = MemoryLog::new();
        log.create("t", 1);
        let mut reader = beginning(&log);
        log.put(record("a")).unwrap();
        log.set_away(true);
        assert!(matches!(log.watermarks("t"), Err(LogError::Unreachable { .. })));
        assert!(matches!(log.transactional("w", "g").map(|_| ()), Err(LogError::Unreachable { .. })));
        assert_eq!(poll(&mut *reader), []);
        log.set_away(false);
        assert_eq!(poll(&mut *reader).len(), 2);
    }

    struct Numbers(AtomicBool);

    impl Feed for Numbers {
        fn ends(&self) -> Vec<i64> {
            vec![3]
        }

        fn read(&self, _at: &TopicPartition, next: i64, _max_bytes: usize, into: &mut Vec<Polled>) -> i64 {
            let end = if self.0.load(Ordering::SeqCst) { 3 } else { 1 };
            into.extend((next..end).map(|offset| Polled::Record(LogRecord { offset, ..record("n") })));
            end.max(next)
        }
    }

    #[test]
    fn a_feed_may_hold_back_until_something_is_taken() {
        let log = MemoryLog::new();
        let feed = Arc::new(Numbers(AtomicBool::new(false)));
        log.serve("t", Arc::clone(&feed) as Arc<dyn Feed>);
        log.take(Box::new(move |transaction| feed.0.store(transaction.records.is_empty(), Ordering::SeqCst)));
        let mut reader = beginning(&log);
        assert_eq!(poll(&mut *reader), [("n".to_owned(), 0)]);
        assert_eq!(poll(&mut *reader), []);
        log.transactional("w", "g").unwrap().commit(&Transaction::default()).unwrap();
        let rest = [("n", 1), ("n", 2), ("end", 3)].map(|(told, at)| (told.to_owned(), at));
        assert_eq!(poll(&mut *reader), rest);
        assert!(poll(&mut *reader).is_empty());
    }
}
