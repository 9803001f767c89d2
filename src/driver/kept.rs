//! What a topology has written: the records of every topic, and the rows that they come to.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use headwater_flow::Epoch;

use super::crew::Taken;
use crate::dataflow::{EPOCH, HeldRows, OutRecord, TopicNames};
use crate::log::LogRecord;
use crate::schema::Catalog;

/// A row that a topic holds otherwise than the state implies it, found at a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its topic, without the prefix.
    pub topic: String,
    /// Its key.
    pub key: String,
    /// What the topic held.
    pub held: Option<String>,
    /// What the state implies, which is written instead.
    pub implied: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "no row".to_owned());
        write!(f, "{} {}: {} instead of {}", self.topic, self.key, text(&self.implied), text(&self.held))
    }
}

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Kept(BTreeMap<Arc<str>, Vec<LogRecord>>);

impl Kept {
    /// Every record of a topic, in the order in which they were written.
    pub(super) fn records(&self, topic: &str) -> &[LogRecord] {
        self.0.get(topic).map_or(&[], Vec::as_slice)
    }

    /// The last value of each key that has one.
    pub(super) fn rows(&self, topic: &str) -> BTreeMap<&[u8], &[u8]> {
        let mut rows = BTreeMap::new();
        for record in self.records(topic) {
            let key = record.key.as_deref().unwrap_or_default();
            match record.value.as_deref() {
                Some(value) => rows.insert(key, value),
                None => rows.remove(key),
            };
        }
        rows
    }

    /// Commits an epoch's record.
    pub(super) fn commit(&mut self, names: &TopicNames, epoch: Epoch, record: OutRecord) {
        let topic = match &record.member {
            Some(member) => format!("{}{member}", names.of(record.topic)).into(),
            None => names.shared(record.topic),
        };
        let mut headers = record.headers;
        headers.push((EPOCH.to_owned(), epoch.to_string().into_bytes()));
        self.append(topic, epoch, record.key.map(Into::into), record.value.map(Into::into), headers);
    }

    /// Appends a record to a topic.
    pub(super) fn append(
        &mut self,
        topic: Arc<str>,
        epoch: Epoch,
        key: Option<Vec<u8>>,
        value: Option<Vec<u8>>,
        headers: Vec<(String, Vec<u8>)>,
    ) {
        let records = self.0.entry(Arc::clone(&topic)).or_default();
        let offset = records.len() as i64;
        let timestamp_ms = i64::try_from(epoch).unwrap_or(i64::MAX);
        records.push(LogRecord { topic, partition: 0, offset, timestamp_ms, key, value, headers });
    }

    /// What a start compares with what the state implies.
    pub(super) fn held(&self, catalog: &Catalog, names: &TopicNames) -> HeldRows {
        let rows = catalog.compared().flat_map(|id| {
            let rows = self.rows(names.of(id)).into_iter();
            rows.map(move |(key, value)| (id, key.to_vec(), value.to_vec()))
        });
        rows.map(|(id, key, value)| OutRecord::row(id, key.into(), Some(value.into()))).collect()
    }

    /// What `correction` makes of the row that is held.
    pub(super) fn difference(&self, catalog: &Catalog, names: &TopicNames, correction: &OutRecord) -> Difference {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let key = correction.key.as_deref().unwrap_or_default();
        Difference {
            topic: catalog.name(correction.topic).to_owned(),
            key: text(key),
            held: self.rows(names.of(correction.topic)).get(key).map(|value| text(value)),
            implied: correction.value.as_deref().map(text),
        }
    }
}

/// What is wrong where two workers wrote one key of rows in one epoch: nobody could say which is the row.
pub(super) fn clash(taken: &[Taken], catalog: &Catalog) -> Option<String> {
    let is_row = |taken: &Taken| catalog.topic(taken.record.topic).is_compacted();
    taken.windows(2).find_map(|pair| {
        let [one, other] = pair else { return None };
        let place = |taken: &Taken| (taken.epoch, taken.record.topic);
        let same = place(one) == place(other) && one.record.key == other.record.key;
        (same && is_row(one) && one.worker != other.worker).then(|| {
            let key = String::from_utf8_lossy(one.record.key.as_deref().unwrap_or_default());
            let (topic, epoch) = (catalog.name(one.record.topic), one.epoch);
            format!("workers {} and {} both wrote {key:?} of {topic:?} in epoch {epoch}", one.worker, other.worker)
        })
    })
}
