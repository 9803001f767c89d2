//! What the dataflow of a topology needs to know of the start that it is part of.

use std::sync::Arc;

use bytes::Bytes;
use headwater_flow::{DeadLetterCode, Epoch};
use serde::{Deserialize, Serialize};

use super::dead_letter;
use super::held::HeldRows;
use super::names::TopicNames;
use super::record::{ENGINE_HEADER_BYTES, OutRecord};
use crate::schema::{Catalog, Gauges, Kind, TopicId};

/// How the restored epoch is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Recovery {
    /// The outputs are as the state implies: what the restored epoch yields is not even serialised.
    Trust,
    /// The outputs are compared with what the state implies.
    Compare,
}

/// A record of a state topic that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Full topic name.
    pub topic: String,
    /// Where the record is, and what is wrong with it.
    pub reason: String,
}

/// What is told of state records that cannot be read.
pub type OnDamage = Arc<dyn Fn(Damage) + Send + Sync>;

/// What is told of notes for people.
pub type OnNote = Arc<dyn Fn(String) + Send + Sync>;

/// See the module's documentation.
#[derive(Clone)]
pub struct Context {
    /// What the topology has declared.
    pub catalog: Arc<Catalog>,
    /// Full names of its topics.
    pub names: Arc<TopicNames>,
    /// The epoch at which the state is restored: that of the last commit.
    pub restored_epoch: Epoch,
    /// How that epoch is treated.
    pub recovery: Recovery,
    /// Whether the raw topics are read again from their beginning.
    pub rebuilding: bool,
    /// Largest record of each topic in bytes, by the index of its id.
    pub limits: Arc<[usize]>,
    /// What the output topics hold, where they are compared: a row that is held as it is implied
    /// goes no further. Without it the committer compares.
    pub held: Option<Arc<HeldRows>>,
    /// The numbers that the topology counts.
    pub gauges: Gauges,
    /// Called for state records that cannot be read.
    pub on_damage: OnDamage,
    /// Called for notes on what was restored.
    pub on_note: OnNote,
}

impl Context {
    /// Of `record`, of `epoch`, what is to be written: nothing of what the outputs hold already.
    pub(super) fn news(&self, epoch: Epoch, record: OutRecord) -> Option<OutRecord> {
        let Some(held) = self.held.as_ref().filter(|_| epoch == self.restored_epoch) else { return Some(record) };
        held.meet(&record)?;
        // The few that differ wait until all are compared, and must not keep the memory of the others.
        let alone = |bytes: Bytes| Bytes::copy_from_slice(&bytes);
        Some(OutRecord { key: record.key.map(alone), value: record.value.map(alone), ..record })
    }

    /// Whether what `epoch` yields needs not be serialised.
    pub(super) fn skips(&self, epoch: Epoch) -> bool {
        epoch == self.restored_epoch && self.recovery == Recovery::Trust
    }

    fn limit(&self, topic: TopicId) -> usize {
        self.limits.get(topic.index()).copied().unwrap_or(usize::MAX)
    }

    /// The record itself or, where it exceeds its topic's limit, a dead letter with as much of the bytes
    /// as fits, and a tombstone where the topic holds rows.
    pub(super) fn checked(&self, record: OutRecord) -> impl Iterator<Item = OutRecord> + use<> {
        let limit = self.limit(record.topic);
        if record.size() + ENGINE_HEADER_BYTES <= limit {
            return [Some(record), None].into_iter().flatten();
        }
        let topic = self.catalog.topic(record.topic);
        let letter = dead_letter::of_too_large(&record, &topic.name, limit, self.limit(TopicId::DEAD_LETTERS));
        let is_row = matches!(topic.kind, Kind::Rows | Kind::State);
        let tombstone = is_row.then_some(OutRecord { value: None, ..record });
        [tombstone, Some(letter)].into_iter().flatten()
    }

    /// A dead letter of a fact whose topic cannot be: `member` is its name in the family `topic`.
    pub(super) fn misnamed(&self, mut record: OutRecord, reason: String) -> OutRecord {
        let member = record.member.take().unwrap_or_default();
        let name = format!("{}{member}", self.catalog.name(record.topic));
        record.headers.extend(dead_letter::of_output(&name, DeadLetterCode::INVALID_TOPIC, reason));
        OutRecord { topic: TopicId::DEAD_LETTERS, ..record }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Schema, Spec, json_codec};

    #[test]
    fn a_row_over_its_limit_becomes_a_tombstone_and_a_dead_letter() {
        let mut schema = Schema::default();
        schema.rows("events", json_codec::<String, i64>().0, Spec::default());
        let catalog = schema.freeze().unwrap();
        let events = catalog.find("events").unwrap();
        let context = Context {
            names: Arc::new(TopicNames::new("t.", &catalog)),
            catalog,
            restored_epoch: 0,
            recovery: Recovery::Trust,
            rebuilding: false,
            limits: Arc::from([5_000, usize::MAX, 101]),
            held: None,
            gauges: Gauges::default(),
            on_damage: Arc::new(|_| {}),
            on_note: Arc::new(|_| {}),
        };
        let record = OutRecord::row(events, Bytes::from_static(b"k"), Some(vec![b'x'; 100].into()));
        let out: Vec<_> = context.checked(record).collect();
        assert_eq!(out.len(), 2);
        assert_eq!((out[0].topic, &out[0].value), (events, &None));
        assert_eq!(out[1].topic, TopicId::DEAD_LETTERS);
        assert_eq!(out[1].value.as_ref().unwrap().len(), 100);
        let tombstone = |limit: usize| {
            let limits = Arc::from([5_000, usize::MAX, limit]);
            let record = OutRecord::row(events, Bytes::from_static(b"k"), Some(vec![b'x'; 100].into()));
            Context { limits, ..context.clone() }.checked(record).any(|record| record.value.is_none())
        };
        assert!(tombstone(100 + ENGINE_HEADER_BYTES), "the log counts the key and the engine's headers");
        assert!(!tombstone(101 + ENGINE_HEADER_BYTES));
    }
}
