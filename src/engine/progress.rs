//! The progress record: the truth about what has been done.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::dataflow::Lineage;
use crate::log::{LogRecord, TopicPartition, Watermarks};

/// The format version of progress records. Format 1 lacks `rebuilding` and `agreed`; it is read too. Records of
/// format 2 that a former release wrote lack `lineage`, `commit` and `written`.
pub const FORMAT: u8 = 2;

/// Key of the record on the `progress` topic.
pub const PROGRESS_KEY: &[u8] = b"progress";

/// How far a topology has come. Written in the same transaction as the outputs it accounts for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Format version, [`FORMAT`].
    pub format: u8,
    /// Everything stamped with this epoch or an earlier one is committed.
    pub epoch: u64,
    /// How far each input partition has been read.
    pub positions: Vec<Position>,
    /// The watermark: windows that end before it (less the allowed lateness) are closed.
    pub watermark: Option<i64>,
    /// Fingerprint of everything that decides results: configuration and version of the operators.
    pub results: u64,
    /// Fingerprint of the extraction.
    pub extraction: u64,
    /// The ends of the output partitions before this transaction. Equal to the ends found at
    /// start-up only after an orderly stop; anything else is looked into.
    pub ends: Vec<OutputEnd>,
    /// Set while the state is being computed anew from the raw topics: a start that finds this
    /// begins the rebuild again.
    #[serde(default)]
    pub rebuilding: Option<Rebuilding>,
    /// Corrections for this fingerprint of results have begun, and need no further consent.
    #[serde(default)]
    pub agreed: Option<u64>,
    /// Which history its commits belong to.
    #[serde(default)]
    pub lineage: Option<Lineage>,
    /// The number of the transaction that wrote this record.
    #[serde(default)]
    pub commit: u64,
    /// How many records this transaction has written to each topic but this one, by name. A reader that has as
    /// many of the commit has it whole.
    #[serde(default)]
    pub written: BTreeMap<String, u64>,
}

/// How far a rebuild has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Rebuilding {
    /// It was asked for and nothing is changed: without consent to what it comes to, all stays as
    /// it was.
    Asked,
    /// There is no way back: the state was not usable, or is half replaced.
    Begun,
}

/// How far one input partition has been read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Position {
    /// Full topic name.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Where reading goes on.
    pub next: i64,
    /// Greatest record timestamp read so far (ms since the Unix epoch).
    pub max_timestamp: Option<i64>,
    /// The record that was read last; `None` where none was, or a former release read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<LastRead>,
}

/// What is known of the record of a partition that was read last. Where another one is found at its offset,
/// the topic was made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastRead {
    /// Its offset.
    pub offset: i64,
    /// Its timestamp as the log gives it (ms since the Unix epoch).
    pub timestamp: i64,
    /// Size of key, value and headers in bytes.
    pub bytes: u64,
    /// XXH3 of key and value; `None` where a former release read it.
    // Not left out where it is `None`: processes tell each other in bincode, which knows fields by their places.
    #[serde(default)]
    pub digest: Option<u64>,
}

impl LastRead {
    /// What is kept of `record`.
    pub fn of(record: &LogRecord) -> Self {
        let key = record.key.as_deref().map_or(0, xxh3_64);
        let digest = xxh3_64_with_seed(record.value.as_deref().unwrap_or_default(), key);
        Self {
            offset: record.offset,
            timestamp: record.timestamp_ms,
            bytes: record.size() as u64,
            digest: Some(digest),
        }
    }

    /// Whether `found`, which lies at the same offset, is another record.
    pub fn is_replaced_by(&self, found: &LogRecord) -> bool {
        let found = Self::of(found);
        let former = self.digest.is_none();
        *self != if former { Self { digest: None, ..found } } else { found }
    }
}

/// The ends of one output partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutputEnd {
    /// Full topic name.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Its watermarks.
    #[serde(flatten)]
    pub watermarks: Watermarks,
}

/// How far one partition has been read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// Where reading goes on.
    pub next: i64,
    /// Greatest record timestamp read so far (ms since the Unix epoch); `None` for tables, which have no part
    /// in the watermark.
    pub max_timestamp: Option<i64>,
    /// The record that was read last.
    pub last: Option<LastRead>,
}

impl Reached {
    /// Takes in a report, and says whether it moved anything; a position never goes back.
    pub fn advance(&mut self, to: Self) -> bool {
        let before = (self.next, self.max_timestamp);
        if to.next > self.next {
            self.last = to.last.or(self.last);
        }
        self.next = self.next.max(to.next);
        self.max_timestamp = self.max_timestamp.max(to.max_timestamp);
        before != (self.next, self.max_timestamp)
    }
}

/// Positions by partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Positions(BTreeMap<TopicPartition, Reached>);

impl Positions {
    /// Takes in a report; positions never go back.
    pub fn advance(&mut self, partition: TopicPartition, to: Reached) -> bool {
        self.0.entry(partition).or_default().advance(to)
    }

    /// Reading of `partition` goes on at `next`, wherever it had been: what was read last is no longer there.
    pub fn move_to(&mut self, partition: &TopicPartition, next: i64) {
        if let Some(reached) = self.0.get_mut(partition) {
            *reached = Reached { next, last: None, ..*reached };
        }
    }

    /// Where reading of `partition` goes on.
    pub fn next(&self, partition: &TopicPartition) -> Option<i64> {
        self.0.get(partition).map(|reached| reached.next)
    }

    /// How far `partition` has been read.
    pub fn reached(&self, partition: &TopicPartition) -> Option<Reached> {
        self.0.get(partition).copied()
    }

    /// As written into the progress record.
    pub fn to_vec(&self) -> Vec<Position> {
        self.0
            .iter()
            .map(|(at, reached)| Position {
                topic: at.topic.to_string(),
                partition: at.partition,
                next: reached.next,
                max_timestamp: reached.max_timestamp,
                last: reached.last,
            })
            .collect()
    }

    /// As published for lag tools.
    pub fn offsets(&self) -> Vec<(TopicPartition, i64)> {
        self.0.iter().map(|(at, reached)| (at.clone(), reached.next)).collect()
    }

    /// Whether every partition of `goals` has been read up to its goal.
    pub fn have_reached(&self, goals: &[(TopicPartition, i64)]) -> bool {
        goals.iter().all(|(at, goal)| self.next(at).unwrap_or(0) >= *goal)
    }
}

impl From<&[Position]> for Positions {
    fn from(list: &[Position]) -> Self {
        let reached = |p: &Position| Reached { next: p.next, max_timestamp: p.max_timestamp, last: p.last };
        Self(list.iter().map(|p| (TopicPartition::new(p.topic.as_str(), p.partition), reached(p))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_can_tell_each_other_what_a_former_release_read() {
        let last = LastRead { offset: 8, timestamp: 5, bytes: 1, digest: None };
        let told = vec![Reached { next: 9, max_timestamp: Some(5), last: Some(last) }; 2];
        let heard: Vec<Reached> = bincode::deserialize(&bincode::serialize(&told).unwrap()).unwrap();
        assert_eq!(heard, told);
        let former = r#"{"offset":8,"timestamp":5,"bytes":1}"#;
        assert_eq!(serde_json::from_str::<LastRead>(former).unwrap(), last);
    }

    #[test]
    fn positions_never_go_back() {
        let at = TopicPartition::new("t", 0);
        let mut positions = Positions::default();
        let last = |offset| Some(LastRead { offset, timestamp: 5, bytes: 1, digest: None });
        let to = |next, max_timestamp, last| Reached { next, max_timestamp, last };
        assert!(positions.advance(at.clone(), to(9, Some(5), last(8))));
        assert!(!positions.advance(at.clone(), to(7, Some(3), last(6))));
        // The end of a partition may lie behind its last record.
        assert!(positions.advance(at.clone(), to(10, None, None)));
        assert_eq!(positions.to_vec()[0].last, last(8));
        assert_eq!(positions.next(&at), Some(10));
        assert_eq!(positions.reached(&at).unwrap().max_timestamp, Some(5));
        assert!(positions.have_reached(&[(at.clone(), 10)]));
        assert!(!positions.have_reached(&[(at, 11)]));
    }
}
