//! The log: ordered, durable, partitioned topics, and transactions that append to several at once.
//!
//! Everything Headwater knows enters and leaves through this trait. Three implementations exist:
//! [`kafka`] for a broker, [`embedded`] for one SQLite file, and [`memory`] for tests and measurements.
//! Nothing above this module knows which of them it is on, and one conformance suite
//! (`tests/log_conformance.rs`) holds all to the same behaviour.
//!
//! # What every implementation promises
//!
//! 1. A partition is a sequence of records with strictly increasing offsets. Offsets may have
//!    gaps (compaction, transaction markers), so nobody may count with them: the end of a
//!    partition is what [`Reader::poll`] reports as [`Polled::End`].
//! 2. Readers see committed records only, in offset order, and never part of a transaction.
//! 3. [`Transactional::commit`] is all or nothing. Opening a second [`Transactional`] under the
//!    same id fences the first: its next commit fails with [`LogError::Fenced`] and leaves no trace.
//! 4. Records with equal keys go to the same partition of a topic.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

pub mod embedded;
mod error;
pub mod kafka;
pub mod memory;
mod read;

pub use error::LogError;
pub use read::{read_last, read_to_end};

/// Longest name of a topic, as Kafka has it.
pub const LONGEST_TOPIC: usize = 249;

/// Whether a topic's name may hold these characters, as Kafka has it: letters, digits, `.`, `_` and `-`.
pub fn is_legal_topic(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

/// Name, value pairs carried beside a record; names may repeat, order is kept.
pub type Headers = Vec<(String, Vec<u8>)>;

/// One partition of one topic. Topic names here are *full* names, prefix included.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct TopicPartition {
    /// Full topic name.
    pub topic: Arc<str>,
    /// Partition number, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// Partition `partition` of `topic`.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

/// A record as read from a topic.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LogRecord {
    /// Full name of the topic it was read from.
    pub topic: Arc<str>,
    /// Partition it was read from.
    pub partition: i32,
    /// Its offset in that partition.
    pub offset: i64,
    /// Milliseconds since the Unix epoch: the producer's create time, or the log's append time.
    pub timestamp_ms: i64,
    /// The key; `None` where the producer gave none.
    pub key: Option<Vec<u8>>,
    /// The value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Headers in the order they were written.
    pub headers: Headers,
}

impl LogRecord {
    /// The last header of this name.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.as_slice())
    }

    /// Size in bytes as counted by backpressure: key, value and headers.
    pub fn size(&self) -> usize {
        self.key.as_ref().map_or(0, Vec::len)
            + self.value.as_ref().map_or(0, Vec::len)
            + self.headers.iter().map(|(n, v)| n.len() + v.len()).sum::<usize>()
    }
}

/// A record to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// Full topic name.
    pub topic: Arc<str>,
    /// The key; decides the partition. Without one, the log chooses a partition.
    pub key: Option<Bytes>,
    /// The value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// Headers.
    pub headers: Headers,
    /// Create time in ms since the Unix epoch; `None` means now.
    pub timestamp_ms: Option<i64>,
}

impl NewRecord {
    /// Size in bytes as counted by limits: key, value and headers.
    pub fn size(&self) -> usize {
        self.key.as_ref().map_or(0, Bytes::len)
            + self.value.as_ref().map_or(0, Bytes::len)
            + self.headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
    }
}

/// How a topic keeps its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cleanup {
    /// Keep the newest record of each key (tombstones for a while).
    Compact,
    /// Keep everything for this long; `None` is for ever.
    Delete {
        /// Retention in milliseconds.
        retention_ms: Option<i64>,
    },
}

/// A topic as it should be when it has to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Full name.
    pub name: String,
    /// Number of partitions (1 or more).
    pub partitions: i32,
    /// Replicas of each partition (Kafka only; `None` leaves the broker's default).
    pub replication: Option<i32>,
    /// Cleanup policy.
    pub cleanup: Cleanup,
    /// Largest record in bytes, key and headers included (`max.message.bytes`).
    pub max_record_bytes: usize,
    /// Further topic properties, passed to Kafka as they are and ignored by the embedded log.
    pub properties: BTreeMap<String, String>,
}

/// A topic as it is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicInfo {
    /// Full name.
    pub name: String,
    /// One entry per partition: first offset still there, and the offset after the last
    /// committed record.
    pub partitions: Vec<Watermarks>,
    /// "compact", "delete" or what the broker says.
    pub cleanup: String,
}

/// The ends of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Watermarks {
    /// The first offset that may still be read.
    pub low: i64,
    /// The offset after the last committed one (the "last stable offset").
    pub high: i64,
}

/// The error for reading on at `offset` of a partition with these ends, if it is one.
fn outside(at: &TopicPartition, offset: i64, ends: Watermarks) -> Option<LogError> {
    let Watermarks { low, high } = ends;
    if offset < low {
        return Some(LogError::OffsetGone { topic: at.topic.to_string(), partition: at.partition, offset, low });
    }
    (offset > high).then(|| LogError::Damaged {
        at: format!("{}/{}", at.topic, at.partition),
        reason: format!("offset {offset} was asked for, but it ends at {high}: it was recreated or has lost records"),
    })
}

/// Where a reader begins in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The first record still there.
    Beginning,
    /// Only what is appended from now on.
    End,
    /// This offset, or the next one that exists. Below the low watermark (retention removed it)
    /// it is an error, [`LogError::OffsetGone`]; so is one beyond the end, which the topic has
    /// never given out: [`LogError::Damaged`].
    Offset(i64),
}

/// One thing that polling yields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Polled {
    /// The next record of some partition.
    Record(LogRecord),
    /// Everything committed so far in this partition has been delivered; `next` is where reading
    /// goes on (it may be past the last record plus one). Reported again after each time that new
    /// records have been read to the end.
    End {
        /// The partition.
        partition: TopicPartition,
        /// The offset at which reading goes on.
        next: i64,
    },
}

/// Reads committed records of assigned partitions, in order within each.
pub trait Reader: Send {
    /// Appends to `into` what is there, at most about `max_bytes` of records; waits up to `wait`
    /// when nothing is there. Transient trouble (a broker that is away) is logged, retried inside
    /// and shows as an empty poll; an error is final.
    fn poll(&mut self, into: &mut Vec<Polled>, max_bytes: usize, wait: Duration) -> Result<(), LogError>;

    /// Adds a partition while running.
    fn assign(&mut self, partition: TopicPartition, start: Start) -> Result<(), LogError>;
}

/// Appends outside of transactions: for tools, generators and tests. At least once, in order.
pub trait Producer: Send {
    /// Queues a record. Blocks while too much is queued.
    fn send(&mut self, record: NewRecord) -> Result<(), LogError>;
    /// Waits until everything queued is durable.
    fn flush(&mut self) -> Result<(), LogError>;
}

/// What one transaction holds.
#[derive(Debug, Default)]
pub struct Transaction {
    /// Records in order.
    pub records: Vec<NewRecord>,
    /// Headers that each of the records gets after its own.
    pub headers: Headers,
    /// Input positions to publish for lag tools under the group `group`: next offset by partition.
    /// The log may ignore them; they are never read back.
    pub positions: Vec<(TopicPartition, i64)>,
}

/// The single writer of a topology.
pub trait Transactional: Send {
    /// Appends everything in `transaction`, or nothing.
    ///
    /// # Errors
    /// [`LogError::Fenced`] when a newer instance has opened the same id;
    /// [`LogError::TooLarge`] when a record exceeds the topic's limit (nothing was written, and
    /// the transaction may be committed again without it). After an error that
    /// [may pass](crate::error::Failure) it is not known whether it was committed: call again, with
    /// the same transaction, until that is known; what was committed is not appended twice. After any
    /// other error: stop, and start again from what is committed.
    fn commit(&mut self, transaction: &Transaction) -> Result<(), LogError>;

    /// Asks whether this writer still holds its id, and appends no record. An idle writer that
    /// asks now and then learns soon that it was fenced. `positions` are published along.
    ///
    /// # Errors
    /// As [`Transactional::commit`].
    fn check(&mut self, positions: Vec<(TopicPartition, i64)>) -> Result<(), LogError>;
}

/// A log: see the module's documentation for what is promised.
pub trait Log: Send + Sync {
    /// A name for messages, without secrets: `kafka://host:9092` or `embedded:///path`.
    fn describe(&self) -> String;

    /// Whether the log can be reached, within `timeout`.
    fn check(&self, timeout: Duration) -> Result<(), LogError>;

    /// Creates those of `specs` that are missing; existing topics are left as they are.
    fn ensure_topics(&self, specs: &[TopicSpec]) -> Result<(), LogError>;

    /// All topics whose full name begins with `prefix`, by name.
    fn topics(&self, prefix: &str) -> Result<Vec<TopicInfo>, LogError>;

    /// The watermarks of a topic's partitions, in order; `None` when there is no such topic.
    fn watermarks(&self, topic: &str) -> Result<Option<Vec<Watermarks>>, LogError>;

    /// A reader of committed records.
    fn reader(&self, partitions: &[(TopicPartition, Start)]) -> Result<Box<dyn Reader>, LogError>;

    /// A producer outside of transactions.
    fn producer(&self) -> Result<Box<dyn Producer>, LogError>;

    /// Opens the transactional writer `id`, fencing whoever held it, and waits until what the
    /// former one left open is settled. `group` is where positions are published for lag tools.
    fn transactional(&self, id: &str, group: &str) -> Result<Box<dyn Transactional>, LogError>;
}
