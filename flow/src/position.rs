//! [`LogPosition`]: where a record stands among all records, and values that carry it.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::Origin;

/// Where a record stands in the log: the greater, the later its word.
///
/// Within a partition `order_ms` never falls, so offsets rule there; across partitions timestamps do. So
/// which of two records is the later one does not depend on how partitions interleave, nor on restarts.
///
/// ```
/// use headwater_flow::{LogPosition, Origin};
///
/// let origin = Origin { topic: "raw".into(), partition: 2, offset: 7, timestamp_ms: 900, order_ms: 1_000 };
/// let first = LogPosition::of(&origin);
/// assert!(first < LogPosition::of(&Origin { offset: 8, ..origin.clone() }));
/// assert!(first < LogPosition::of(&Origin { order_ms: 1_001, partition: 0, offset: 0, ..origin }));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogPosition {
    /// Timestamp that orders records, see [`Origin::order_ms`].
    pub order_ms: i64,
    /// [`topic_digest`] of the topic: decides between topics where timestamps are equal.
    pub topic: u32,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
}

impl LogPosition {
    /// The position of the record that was read at `origin`.
    pub fn of(origin: &Origin) -> Self {
        Self {
            order_ms: origin.order_ms,
            topic: topic_digest(&origin.topic),
            partition: origin.partition,
            offset: origin.offset,
        }
    }
}

/// What stands for a topic (full name) in state records: the low half of its XXH3 digest.
///
/// ```
/// use headwater_flow::position::topic_digest;
/// assert_ne!(topic_digest("raw.events"), topic_digest("raw.event"));
/// ```
pub fn topic_digest(topic: &str) -> u32 {
    xxh3_64(topic.as_bytes()) as u32
}

/// A value, and the position of the record that said it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Positioned<V> {
    /// Where the record stands.
    pub position: LogPosition,
    /// What it says.
    pub value: V,
}
