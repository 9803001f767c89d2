//! A log in memory, with what tests need to break it: gaps, lost beginnings, recreated topics and
//! times of being unreachable.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use headwater::log::{
    Headers, Log, LogError, LogRecord, NewRecord, Polled, Producer, Reader, Start, TopicInfo, TopicPartition,
    TopicSpec, Transactional, Watermarks,
};

#[derive(Default)]
struct Partition {
    low: i64,
    high: i64,
    records: Vec<LogRecord>,
}

type Topics = BTreeMap<String, Vec<Partition>>;

#[derive(Clone, Default)]
pub struct MemoryLog {
    topics: Arc<Mutex<Topics>>,
    away: Arc<AtomicBool>,
}

impl MemoryLog {
    pub fn create(&self, topic: &str, partitions: usize) {
        let empty = std::iter::repeat_with(Partition::default).take(partitions).collect();
        self.topics.lock().unwrap().insert(topic.to_owned(), empty);
    }

    /// Adds a partition.
    pub fn grow(&self, topic: &str) {
        self.topics.lock().unwrap().get_mut(topic).unwrap().push(Partition::default());
    }

    /// Appends a record and returns its offset.
    pub fn append(&self, topic: &str, partition: usize, key: Option<&[u8]>, value: Option<&[u8]>) -> i64 {
        self.append_with(topic, partition, key, value, Vec::new())
    }

    pub fn append_with(
        &self,
        topic: &str,
        partition: usize,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: Headers,
    ) -> i64 {
        let mut topics = self.topics.lock().unwrap();
        let into = &mut topics.get_mut(topic).unwrap()[partition];
        let offset = into.high;
        into.records.push(LogRecord {
            topic: topic.into(),
            partition: partition as i32,
            offset,
            timestamp_ms: 1_770_000_000_000 + offset,
            key: key.map(<[u8]>::to_vec),
            value: value.map(<[u8]>::to_vec),
            headers,
        });
        into.high += 1;
        offset
    }

    /// Takes offsets without a record, as transaction markers do.
    pub fn skip(&self, topic: &str, partition: usize, offsets: i64) {
        self.topics.lock().unwrap().get_mut(topic).unwrap()[partition].high += offsets;
    }

    /// Removes what lies below `low`, as retention does.
    pub fn expire_below(&self, topic: &str, partition: usize, low: i64) {
        let mut topics = self.topics.lock().unwrap();
        let partition = &mut topics.get_mut(topic).unwrap()[partition];
        partition.low = low;
        partition.records.retain(|record| record.offset >= low);
    }

    /// Removes every record of `key`, as compaction does once a tombstone has become old.
    pub fn compact_away(&self, topic: &str, key: &[u8]) {
        for partition in self.topics.lock().unwrap().get_mut(topic).unwrap() {
            partition.records.retain(|record| record.key.as_deref() != Some(key));
        }
    }

    /// Makes every call fail, or work again.
    pub fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }

    pub fn ends(&self) -> Vec<(TopicPartition, i64)> {
        let topics = self.topics.lock().unwrap();
        let ends = topics.iter().flat_map(|(topic, partitions)| {
            let ends = partitions.iter().zip(0..);
            ends.map(|(partition, number)| (TopicPartition::new(topic.as_str(), number), partition.high))
        });
        ends.collect()
    }

    fn reachable(&self) -> Result<(), LogError> {
        if self.away.load(Ordering::SeqCst) {
            return Err(LogError::Unreachable { at: self.describe(), reason: "switched off".to_owned() });
        }
        Ok(())
    }
}

struct MemoryReader {
    log: MemoryLog,
    positions: Vec<(TopicPartition, i64)>,
    reported: BTreeMap<TopicPartition, i64>,
}

impl Reader for MemoryReader {
    fn poll(&mut self, into: &mut Vec<Polled>, max_bytes: usize, wait: Duration) -> Result<(), LogError> {
        self.log.reachable()?;
        let before = into.len();
        {
            let topics = self.log.topics.lock().unwrap();
            let mut bytes = 0;
            for (at, position) in &mut self.positions {
                let Some(partition) = topics.get(&*at.topic).and_then(|all| all.get(at.partition as usize)) else {
                    return Err(LogError::UnknownTopic { topic: at.topic.to_string() });
                };
                if *position < partition.low {
                    let (topic, offset) = (at.topic.to_string(), *position);
                    return Err(LogError::OffsetGone { topic, partition: at.partition, offset, low: partition.low });
                }
                let from = partition.records.partition_point(|record| record.offset < *position);
                for record in &partition.records[from..] {
                    if bytes >= max_bytes {
                        break;
                    }
                    bytes += record.size();
                    *position = record.offset + 1;
                    into.push(Polled::Record(record.clone()));
                }
                let rest = partition.records.last().is_some_and(|last| last.offset >= *position);
                if !rest && self.reported.get(at) != Some(&partition.high) {
                    *position = partition.high;
                    self.reported.insert(at.clone(), partition.high);
                    into.push(Polled::End { partition: at.clone(), next: partition.high });
                }
            }
        }
        if into.len() == before {
            std::thread::sleep(wait.min(Duration::from_millis(5)));
        }
        Ok(())
    }

    fn assign(&mut self, partition: TopicPartition, start: Start) -> Result<(), LogError> {
        let marks = self.log.watermarks(&partition.topic)?.unwrap_or_default();
        let Some(marks) = marks.get(partition.partition as usize) else {
            return Err(LogError::UnknownTopic { topic: partition.topic.to_string() });
        };
        let position = match start {
            Start::Beginning => marks.low,
            Start::End => marks.high,
            Start::Offset(offset) => offset,
        };
        self.positions.push((partition, position));
        Ok(())
    }
}

impl Log for MemoryLog {
    fn describe(&self) -> String {
        "memory".to_owned()
    }

    fn check(&self, _timeout: Duration) -> Result<(), LogError> {
        self.reachable()
    }

    fn ensure_topics(&self, specs: &[TopicSpec]) -> Result<(), LogError> {
        for spec in specs {
            self.create(&spec.name, spec.partitions as usize);
        }
        Ok(())
    }

    fn topics(&self, _prefix: &str) -> Result<Vec<TopicInfo>, LogError> {
        Err(LogError::Failed { doing: "listing topics", reason: "not part of this log".to_owned() })
    }

    fn watermarks(&self, topic: &str) -> Result<Option<Vec<Watermarks>>, LogError> {
        self.reachable()?;
        let topics = self.topics.lock().unwrap();
        let marks = |partition: &Partition| Watermarks { low: partition.low, high: partition.high };
        Ok(topics.get(topic).map(|partitions| partitions.iter().map(marks).collect()))
    }

    fn reader(&self, partitions: &[(TopicPartition, Start)]) -> Result<Box<dyn Reader>, LogError> {
        self.reachable()?;
        let mut reader = MemoryReader { log: self.clone(), positions: Vec::new(), reported: BTreeMap::new() };
        for (partition, start) in partitions {
            reader.assign(partition.clone(), *start)?;
        }
        Ok(Box::new(reader))
    }

    fn producer(&self) -> Result<Box<dyn Producer>, LogError> {
        Ok(Box::new(self.clone()))
    }

    fn transactional(&self, _id: &str, _group: &str) -> Result<Box<dyn Transactional>, LogError> {
        Err(LogError::Failed { doing: "opening a transaction", reason: "not part of this log".to_owned() })
    }
}

impl Producer for MemoryLog {
    fn send(&mut self, record: NewRecord) -> Result<(), LogError> {
        self.append_with(&record.topic, 0, record.key.as_deref(), record.value.as_deref(), record.headers);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), LogError> {
        Ok(())
    }
}
