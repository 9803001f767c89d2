//! Records on their way to the log.

use bytes::Bytes;
use headwater_flow::Epoch;
use serde::{Deserialize, Serialize};

use super::commit_id::{COMMIT, CommitId};
use crate::log::LogRecord;
use crate::schema::TopicId;

/// Header of every output record: the epoch that wrote it.
pub const EPOCH: &str = "epoch";

/// A record for an output topic, serialised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutRecord {
    /// Which topic.
    pub topic: TopicId,
    /// Of a family, which of its topics.
    pub member: Option<Box<str>>,
    /// Key.
    pub key: Option<Bytes>,
    /// Value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// Headers.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl OutRecord {
    /// A row of `topic`; without a value, its tombstone.
    pub fn row(topic: TopicId, key: Bytes, value: Option<Bytes>) -> Self {
        Self { topic, member: None, key: Some(key), value, headers: Vec::new() }
    }

    /// Size in bytes: key, value and headers.
    pub fn size(&self) -> usize {
        self.key.as_ref().map_or(0, Bytes::len)
            + self.value.as_ref().map_or(0, Bytes::len)
            + self.headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
    }
}

/// What the engine's headers add to the size of a record, at most: names, the epoch as a number of 64 bits in
/// decimal digits, and the commit. The log counts them too.
pub const ENGINE_HEADER_BYTES: usize = EPOCH.len() + 20 + COMMIT.len() + CommitId::LONGEST;

/// The epoch that wrote `record`, as its header says.
pub fn epoch_of(record: &LogRecord) -> Option<Epoch> {
    std::str::from_utf8(record.header(EPOCH)?).ok()?.parse().ok()
}
