//! Inputs: which raw topics there are, what of them a worker reads, and how far it has come.

use std::sync::Arc;

use headwater_flow::{Origin, RawRecord};
use smol_str::SmolStr;

use super::progress::Reached;
use crate::log::{LogRecord, TopicPartition};

/// A raw input topic.
#[derive(Debug, Clone)]
pub struct InputTopic {
    /// Source of records without a `source` header.
    pub source: Option<SmolStr>,
    /// Content type of records without a `content-type` header.
    pub content_type: Option<SmolStr>,
}

impl InputTopic {
    /// The raw record that `record` of the topic `input` is; `None` is a topic without defaults.
    /// `order_ms`: the greatest timestamp of its partition so far.
    pub fn raw_record(input: Option<&Self>, record: LogRecord, order_ms: i64) -> RawRecord {
        // A header that is no text is no reason to take the record for another source's.
        let text = |name: &str, of_topic: Option<&SmolStr>| match record.header(name) {
            Some(bytes) => std::str::from_utf8(bytes).ok().map(SmolStr::from),
            None => of_topic.cloned(),
        };
        RawRecord {
            source: text("source", input.and_then(|i| i.source.as_ref())),
            content_type: text("content-type", input.and_then(|i| i.content_type.as_ref())),
            origin: Origin {
                topic: record.topic,
                partition: record.partition,
                offset: record.offset,
                timestamp_ms: record.timestamp_ms,
                order_ms,
            },
            key: record.key,
            value: record.value,
            headers: record.headers,
        }
    }
}

/// What one worker reads.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Share {
    /// Partitions of the state topics, read once to their ends.
    pub state: Vec<TopicPartition>,
    /// Partitions of the table topics, with the position up to which they were known.
    pub tables: Vec<(TopicPartition, i64)>,
    /// Partitions of the raw topics, and how far they have been read (`None`: not at all).
    pub raw: Vec<(TopicPartition, Option<Reached>)>,
}

/// How far a partition has been read at the end of an epoch.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PositionReport {
    /// Full topic name.
    pub topic: Arc<str>,
    /// Partition.
    pub partition: i32,
    /// How far.
    pub reached: Reached,
    /// The end that a partition found while running had then: what the watermark waits for.
    pub found_with_end: Option<i64>,
}
