//! What a driver is given: records of raw topics and of tables, in the order in which they came.

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater_flow::{Epoch, RawRecord};
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

use super::crew::Given;
use crate::engine::input::{InputTopic, PositionReport};
use crate::engine::progress::Reached;
use crate::engine::timestamps::Timestamps;
use crate::log::{LogRecord, TopicPartition};

/// A record to be read, as a test describes it.
#[derive(Debug, Clone, Default)]
pub struct Record {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Vec<u8>)>,
    timestamp_ms: Option<i64>,
    partition: i32,
}

impl Record {
    /// Its key; without, it has none.
    pub fn key(self, key: impl Into<Vec<u8>>) -> Self {
        Self { key: Some(key.into()), ..self }
    }

    /// Its value; without, it is a tombstone.
    pub fn value(self, value: impl Into<Vec<u8>>) -> Self {
        Self { value: Some(value.into()), ..self }
    }

    /// Its value, as JSON.
    pub fn json(self, value: &impl Serialize) -> Self {
        self.value(crate::dataflow::buffer::json(value))
    }

    /// A header.
    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The header `source`.
    pub fn source(self, source: &str) -> Self {
        self.header("source", source)
    }

    /// The header `content-type`.
    pub fn content_type(self, content_type: &str) -> Self {
        self.header("content-type", content_type)
    }

    /// Its timestamp in ms since the Unix epoch; without, that of the epoch in which it is read.
    pub fn at(self, timestamp_ms: i64) -> Self {
        Self { timestamp_ms: Some(timestamp_ms), ..self }
    }

    /// Its partition, 0 without. Each partition is read by one worker, in its order.
    pub fn partition(self, partition: i32) -> Self {
        Self { partition, ..self }
    }
}

/// Records in the order in which they came, and how many of them have been read.
#[derive(Default)]
pub(super) struct Read {
    records: Vec<LogRecord>,
    read: usize,
}

impl Read {
    fn take(&mut self) -> &[LogRecord] {
        let before = std::mem::replace(&mut self.read, self.records.len());
        self.records.get(before..).unwrap_or_default()
    }

    fn known(&self) -> &[LogRecord] {
        self.records.get(..self.read).unwrap_or_default()
    }
}

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Inbox {
    raw: Read,
    tables: Read,
    ends: BTreeMap<TopicPartition, i64>,
    /// The greatest timestamp of each raw partition.
    greatest: BTreeMap<TopicPartition, i64>,
}

impl Inbox {
    /// Appends a record, which is read at epoch `now`.
    pub(super) fn push(&mut self, topic: &str, is_table: bool, record: Record, now: Epoch) {
        let at = TopicPartition::new(topic, record.partition);
        let end = self.ends.entry(at.clone()).or_default();
        let timestamp_ms = record.timestamp_ms.unwrap_or(now as i64);
        let record = LogRecord {
            topic: at.topic,
            partition: at.partition,
            offset: *end,
            timestamp_ms: Timestamps::new(None).believed(timestamp_ms, now),
            key: record.key,
            value: record.value,
            headers: record.headers,
        };
        *end += 1;
        if is_table { self.tables.records.push(record) } else { self.raw.records.push(record) }
    }

    /// How many raw records have been read.
    pub(super) fn raw_read(&self) -> usize {
        self.raw.read
    }

    /// What has not been read yet, for each of `workers` workers, and how far that goes.
    pub(super) fn take(
        &mut self,
        inputs: &BTreeMap<Arc<str>, InputTopic>,
        workers: usize,
    ) -> (Vec<Given>, Vec<PositionReport>) {
        let mut given: Vec<Given> = (0..workers).map(|_| Given::default()).collect();
        let mut reports = Vec::new();
        for record in self.raw.take() {
            let at = TopicPartition::new(Arc::clone(&record.topic), record.partition);
            let mine = worker_of(&at, workers);
            let raw = raw_record(inputs, record, &mut self.greatest);
            reports.push(PositionReport {
                topic: at.topic,
                partition: at.partition,
                reached: Reached { next: raw.origin.offset + 1, max_timestamp: Some(raw.origin.order_ms), last: None },
                found_with_end: None,
            });
            given.get_mut(mine).into_iter().for_each(|given| given.raw.push(raw.clone()));
        }
        for record in self.tables.take() {
            let mine = worker_of(&TopicPartition::new(Arc::clone(&record.topic), record.partition), workers);
            given.get_mut(mine).into_iter().for_each(|given| given.tables.push(record.clone()));
        }
        (given, reports)
    }

    /// Of the records of a table that have been read, leaves the last of each key in each partition.
    pub(super) fn compact(&mut self, topic: &str) {
        let Read { records, read } = &mut self.tables;
        let unread = records.split_off(*read);
        let mut last = BTreeMap::new();
        for record in records.iter().filter(|record| *record.topic == *topic) {
            last.insert((record.partition, record.key.clone()), record.offset);
        }
        let is_last = |record: &LogRecord| last.get(&(record.partition, record.key.clone())) == Some(&record.offset);
        records.retain(|record| *record.topic != *topic || is_last(record));
        *read = records.len();
        records.extend(unread);
    }

    /// The table records that have been read.
    pub(super) fn known_tables(&self) -> &[LogRecord] {
        self.tables.known()
    }

    /// The raw records that have been read, with the worker of each.
    pub(super) fn read_again(
        &self,
        inputs: &BTreeMap<Arc<str>, InputTopic>,
        workers: usize,
    ) -> Vec<(usize, RawRecord)> {
        let mut greatest = BTreeMap::new();
        let again = self.raw.known().iter().map(|record| {
            let at = TopicPartition::new(Arc::clone(&record.topic), record.partition);
            (worker_of(&at, workers), raw_record(inputs, record, &mut greatest))
        });
        again.collect()
    }
}

/// The worker that reads a partition.
pub(super) fn worker_of(at: &TopicPartition, workers: usize) -> usize {
    let turn = xxh3_64(at.topic.as_bytes()).wrapping_add(at.partition.unsigned_abs().into());
    (turn % workers.max(1) as u64) as usize
}

fn raw_record(
    inputs: &BTreeMap<Arc<str>, InputTopic>,
    record: &LogRecord,
    greatest: &mut BTreeMap<TopicPartition, i64>,
) -> RawRecord {
    let at = TopicPartition::new(Arc::clone(&record.topic), record.partition);
    let order_ms = greatest.entry(at).or_insert(record.timestamp_ms);
    *order_ms = (*order_ms).max(record.timestamp_ms);
    InputTopic::raw_record(inputs.get(&record.topic), record.clone(), *order_ms)
}
