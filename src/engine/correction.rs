//! Corrections: what a start has to write so that the outputs say what the state implies.
//!
//! Invariants:
//!
//! 1. A row comes after the row that it refers to, and leaves before it, so that between two transactions
//!    none names a row that is not there. (`what_is_referred_to_comes_first_and_leaves_last`)
//! 2. Dead letters are never corrected: they belong to records, not to the state.
//!    (`only_differences_are_corrected`)
//! 3. Batches lose nothing, and each is bounded. (`batches_are_bounded_and_lose_nothing`)

use std::fmt;

use bytes::Bytes;
use serde::Serialize;

use crate::dataflow::{Change, HeldRows, OutRecord};
use crate::schema::{Catalog, Guard, TopicId};
use crate::words::grouped;

/// How many examples of each topic a report names.
const EXAMPLES: usize = 3;

/// What has to be written so that the outputs say what the state implies.
#[derive(Debug)]
pub struct Corrections {
    /// The records.
    pub records: Vec<OutRecord>,
    /// How many of which.
    pub report: Report,
}

impl Corrections {
    /// Of what the state implies, what has to be written: rows that are missing or differ, and
    /// tombstones for rows that the state does not imply.
    pub fn of(held: &HeldRows, implied: Vec<OutRecord>, catalog: &Catalog) -> Self {
        let implied = implied.into_iter().filter(|record| record.topic != TopicId::DEAD_LETTERS);
        let mut records: Vec<_> =
            implied.filter_map(|record| held.meet(&record).map(|change| (change, record))).collect();
        let unmet = held.unmet().map(|(topic, key)| OutRecord::row(topic, Bytes::copy_from_slice(key), None));
        records.extend(unmet.map(|record| (Change::Removed, record)));
        let order = |record: &OutRecord| {
            let depth = catalog.depth(record.topic) as isize;
            let removed = record.value.is_none();
            (removed, if removed { -depth } else { depth }, record.topic)
        };
        records.sort_unstable_by(|(_, a), (_, b)| order(a).cmp(&order(b)).then_with(|| a.key.cmp(&b.key)));
        let mut report = Report::new(held, catalog);
        records.iter().for_each(|(change, record)| report.count(record, *change, catalog));
        Self { records: records.into_iter().map(|(_, record)| record).collect(), report }
    }

    /// The records in batches of at most `rows` records and about `bytes` bytes; a record that is
    /// larger is a batch of its own.
    pub fn batches(records: Vec<OutRecord>, rows: usize, bytes: usize) -> Vec<Vec<OutRecord>> {
        let mut batches: Vec<Vec<OutRecord>> = Vec::new();
        let mut filled = 0;
        for record in records {
            let size = record.size();
            match batches.last_mut() {
                Some(batch) if batch.len() < rows && filled + size <= bytes => {
                    filled += size;
                    batch.push(record);
                }
                _ => {
                    filled = size;
                    batches.push(vec![record]);
                }
            }
        }
        batches
    }
}

/// Corrections in numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Each topic that is compared, in the order in which they were declared.
    pub topics: Vec<TopicReport>,
    /// Rows that all tables held before.
    pub rows: usize,
    /// Transactions in which the corrections are written.
    pub transactions: usize,
}

/// Corrections of one topic in numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicReport {
    /// Topic name without the prefix.
    pub topic: String,
    /// Which of the corrections need consent.
    #[serde(skip)]
    guard: Guard,
    /// Rows held before.
    pub rows: usize,
    /// Rows that are missing.
    pub new: usize,
    /// Rows that say something else.
    pub changed: usize,
    /// Rows that have to go.
    pub removed: usize,
    /// A few of them.
    pub examples: Vec<Example>,
}

/// One correction, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Example {
    /// What happens to the row.
    pub change: Change,
    /// Its key.
    pub key: String,
    /// A few words on what it is to say, where there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
}

impl TopicReport {
    /// Corrections of this topic.
    pub fn total(&self) -> usize {
        self.new + self.changed + self.removed
    }

    /// Of the rows held, the share of those whose corrections need consent, 0 to 1.
    fn share(&self) -> f64 {
        let rows = match self.guard {
            Guard::None => 0,
            Guard::Removed => self.removed,
            Guard::ChangedOrRemoved => self.changed + self.removed,
        };
        rows as f64 / self.rows.max(1) as f64
    }
}

impl Report {
    /// Nothing to correct yet.
    fn new(held: &HeldRows, catalog: &Catalog) -> Self {
        let topic = |topic: TopicId| TopicReport {
            topic: catalog.name(topic).to_owned(),
            guard: catalog.guard(topic),
            rows: held.rows(topic),
            new: 0,
            changed: 0,
            removed: 0,
            examples: Vec::new(),
        };
        Self { topics: catalog.compared().map(topic).collect(), rows: held.len(), transactions: 0 }
    }

    fn count(&mut self, record: &OutRecord, change: Change, catalog: &Catalog) {
        let declared = catalog.topic(record.topic);
        let Some(topic) = self.topics.iter_mut().find(|topic| *topic.topic == *declared.name) else { return };
        let count = match change {
            Change::New => &mut topic.new,
            Change::Changed => &mut topic.changed,
            Change::Removed => &mut topic.removed,
        };
        *count += 1;
        let alike = topic.examples.iter().filter(|example| example.change == change).count();
        if alike < EXAMPLES {
            let key = String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned();
            let title = declared.spec.example.zip(record.value.as_deref()).and_then(|(words, value)| words(value));
            topic.examples.push(Example { change, key, title });
        }
    }

    /// Corrections of all topics.
    pub fn total(&self) -> usize {
        self.topics.iter().map(TopicReport::total).sum()
    }

    /// The share that the guard looks at, 0 to 1: that of the topic of which the greatest share changes in
    /// a way that needs consent.
    pub fn share(&self) -> f64 {
        self.worst().map_or(0.0, TopicReport::share)
    }

    /// What changes most, for people: `12.5 % of events would change or go`.
    pub fn extent(&self) -> String {
        let Some(worst) = self.worst() else { return "nothing would change".to_owned() };
        let how = if worst.guard == Guard::Removed { "go" } else { "change or go" };
        format!("{:.1} % of {} would {how}", worst.share() * 100.0, worst.topic)
    }

    fn worst(&self) -> Option<&TopicReport> {
        self.topics.iter().max_by(|a, b| a.share().total_cmp(&b.share()))
    }

    /// A table of all topics, with examples where `examples` says so.
    pub fn table(&self, examples: bool) -> String {
        let mut text = format!("{:<16} {:>12} {:>10} {:>10} {:>10}", "TOPIC", "ROWS", "NEW", "CHANGED", "REMOVED");
        for topic in &self.topics {
            let [rows, new, changed, removed] =
                [topic.rows, topic.new, topic.changed, topic.removed].map(|count| grouped(count as u64));
            text.push_str(&format!("\n{:<16} {rows:>12} {new:>10} {changed:>10} {removed:>10}", topic.topic));
            for example in topic.examples.iter().filter(|_| examples) {
                text.push_str(&format!("\n    {example}"));
            }
        }
        text
    }
}

impl fmt::Display for Example {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let change = match self.change {
            Change::New => "new",
            Change::Changed => "changed",
            Change::Removed => "removed",
        };
        write!(f, "{change:<8} {}", self.key)?;
        self.title.as_ref().map_or(Ok(()), |title| write!(f, "  {title}"))
    }
}

impl fmt::Display for Report {
    /// Such as `12 events, 3 links of 40,120 rows, in 1 transaction`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self
            .topics
            .iter()
            .filter(|topic| topic.total() > 0)
            .map(|topic| match topic.total() {
                1 => format!("1 {}", topic.topic.strip_suffix('s').unwrap_or(&topic.topic)),
                total => format!("{} {}", grouped(total as u64), topic.topic),
            })
            .collect();
        let rows = grouped(self.rows as u64);
        if parts.is_empty() {
            return write!(f, "nothing of {rows} rows");
        }
        write!(f, "{} of {rows} rows, in {} transaction", parts.join(", "), grouped(self.transactions as u64))?;
        if self.transactions == 1 { Ok(()) } else { f.write_str("s") }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::schema::{RowTopic, Schema, Spec, json_codec};

    /// A catalog of events, of listings, and of links that refer to listings.
    fn catalog() -> (Arc<Catalog>, [TopicId; 3]) {
        let mut schema = Schema::default();
        let codec = || json_codec::<String, i64>().0;
        let events = schema.rows("events", codec(), Spec { guard: Guard::ChangedOrRemoved, ..Spec::default() }).id();
        let listings = schema.rows("listings", codec(), Spec { guard: Guard::Removed, ..Spec::default() }).id();
        let links = schema.rows("links", codec(), Spec { refers_to: Some(listings), ..Spec::default() }).id();
        (schema.freeze().unwrap(), [events, listings, links])
    }

    fn row(topic: TopicId, key: &str, value: Option<&str>) -> OutRecord {
        let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        OutRecord::row(topic, bytes(key), value.map(bytes))
    }

    fn held(rows: &[OutRecord]) -> HeldRows {
        rows.iter().cloned().collect()
    }

    #[test]
    fn only_differences_are_corrected() {
        let (catalog, [events, ..]) = catalog();
        let event = |key, value| row(events, key, value);
        let held = held(&["same", "other", "gone"].map(|key| event(key, Some("1"))));
        let letter = row(TopicId::DEAD_LETTERS, "same", Some("bytes"));
        let implied = vec![event("same", Some("1")), event("other", Some("2")), event("new", Some("3")), letter];
        // Workers have met the rows before the committer does.
        let met: Vec<_> = implied.iter().take(3).map(|record| held.meet(record)).collect();
        assert_eq!(met, [None, Some(Change::Changed), Some(Change::New)]);
        let corrections = Corrections::of(&held, implied, &catalog);
        assert_eq!(corrections.records, [event("new", Some("3")), event("other", Some("2")), event("gone", None)]);
        let of_events = &corrections.report.topics[0];
        assert_eq!((of_events.new, of_events.changed, of_events.removed), (1, 1, 1));
        assert_eq!(corrections.report.share(), 2.0 / 3.0);
        assert_eq!(corrections.report.extent(), "66.7 % of events would change or go");
        let report = Report { transactions: 2, ..corrections.report };
        assert_eq!(report.to_string(), "3 events of 3 rows, in 2 transactions");
    }

    #[test]
    fn a_tombstone_for_what_is_not_there_is_no_correction() {
        let (catalog, [events, ..]) = catalog();
        let corrections = Corrections::of(&HeldRows::default(), vec![row(events, "x", None)], &catalog);
        assert_eq!((corrections.records.len(), corrections.report.to_string().as_str()), (0, "nothing of 0 rows"));
    }

    #[test]
    fn consent_is_needed_for_what_a_topic_guards() {
        let (catalog, [events, listings, links]) = catalog();
        let report = |held: &[OutRecord], implied| Corrections::of(&self::held(held), implied, &catalog).report;
        let (link, event) = (row(links, "a", Some("1")), row(events, "a", Some("1")));
        let filled = report(std::slice::from_ref(&link), vec![event, link.clone()]);
        assert_eq!((filled.total(), filled.share()), (1, 0.0));
        assert_eq!(report(&[link], vec![]).share(), 0.0);
        let listing = row(listings, "a", Some("1"));
        assert_eq!(report(std::slice::from_ref(&listing), vec![row(listings, "a", Some("2"))]).share(), 0.0);
        let gone = report(&[listing], vec![]);
        assert_eq!((gone.share(), gone.extent().as_str()), (1.0, "100.0 % of listings would go"));
    }

    #[test]
    fn what_is_referred_to_comes_first_and_leaves_last() {
        let (catalog, [events, listings, links]) = catalog();
        let old = [listings, links].map(|topic| row(topic, "old", Some("1")));
        let new = [links, events, listings].map(|topic| row(topic, "new", Some("1")));
        let corrections = Corrections::of(&held(&old), new.to_vec(), &catalog);
        let order: Vec<_> = corrections.records.iter().map(|one| (one.topic, one.value.is_some())).collect();
        let expected = [(events, true), (listings, true), (links, true), (links, false), (listings, false)];
        assert_eq!(order, expected);
    }

    proptest! {
        #[test]
        fn batches_are_bounded_and_lose_nothing(sizes in prop::collection::vec(0usize..50, 0..60), rows in 1usize..9, bytes in 1usize..99) {
            let records: Vec<_> = sizes.iter().map(|size| row(TopicId::PROGRESS, "k", Some(&"x".repeat(*size)))).collect();
            let batches = Corrections::batches(records.clone(), rows, bytes);
            for batch in &batches {
                prop_assert!(!batch.is_empty() && batch.len() <= rows);
                let size: usize = batch.iter().map(OutRecord::size).sum();
                prop_assert!(size <= bytes || batch.len() == 1);
            }
            prop_assert_eq!(batches.concat(), records);
        }
    }
}
