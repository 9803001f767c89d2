//! The progress record: the truth about what has been done.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::log::{TopicPartition, Watermarks};

/// The format version of progress records. Format 1 lacks `rebuilding` and `agreed`; it is read too.
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

/// Positions by partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Positions(BTreeMap<TopicPartition, (i64, Option<i64>)>);

impl Positions {
    /// Takes in a report; positions never go back.
    pub fn advance(&mut self, partition: TopicPartition, next: i64, max_timestamp: Option<i64>) -> bool {
        let entry = self.0.entry(partition).or_insert((0, None));
        let before = *entry;
        *entry = (entry.0.max(next), entry.1.max(max_timestamp));
        *entry != before
    }

    /// Where reading of `partition` goes on.
    pub fn next(&self, partition: &TopicPartition) -> Option<i64> {
        self.0.get(partition).map(|(next, _)| *next)
    }

    /// Greatest timestamp read of `partition`.
    pub fn max_timestamp(&self, partition: &TopicPartition) -> Option<i64> {
        self.0.get(partition).and_then(|(_, max)| *max)
    }

    /// As written into the progress record.
    pub fn to_vec(&self) -> Vec<Position> {
        self.0
            .iter()
            .map(|(at, (next, max_timestamp))| Position {
                topic: at.topic.to_string(),
                partition: at.partition,
                next: *next,
                max_timestamp: *max_timestamp,
            })
            .collect()
    }

    /// As published for lag tools.
    pub fn offsets(&self) -> Vec<(TopicPartition, i64)> {
        self.0.iter().map(|(at, (next, _))| (at.clone(), *next)).collect()
    }

    /// Whether every partition of `goals` has been read up to its goal.
    pub fn reached(&self, goals: &[(TopicPartition, i64)]) -> bool {
        goals.iter().all(|(at, goal)| self.next(at).unwrap_or(0) >= *goal)
    }
}

impl From<&[Position]> for Positions {
    fn from(list: &[Position]) -> Self {
        Self(
            list.iter()
                .map(|p| (TopicPartition::new(p.topic.as_str(), p.partition), (p.next, p.max_timestamp)))
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_never_go_back() {
        let at = TopicPartition::new("t", 0);
        let mut positions = Positions::default();
        assert!(positions.advance(at.clone(), 10, Some(5)));
        assert!(!positions.advance(at.clone(), 7, Some(3)));
        assert_eq!(positions.next(&at), Some(10));
        assert_eq!(positions.max_timestamp(&at), Some(5));
        assert!(positions.reached(&[(at.clone(), 10)]));
        assert!(!positions.reached(&[(at, 11)]));
    }
}
