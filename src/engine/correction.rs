//! Corrections: what the output tables hold against what the state implies.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use headwater_operators::Epoch;
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_128;

use super::output::{OutRecord, Output};
use super::{EngineError, TopicNames};
use crate::console::grouped;
use crate::log::{Log, LogRecord};

/// How many examples of each topic a report names.
const EXAMPLES: usize = 3;

/// What the output tables hold: a digest of the value for each key.
#[derive(Debug, Default)]
pub struct Held {
    tables: HashMap<Output, HashMap<Box<[u8]>, Row>>,
}

#[derive(Debug)]
struct Row {
    /// `None` for a tombstone, while the table is being read.
    digest: Option<u128>,
    /// Where and when it was written: a topic may have gained partitions since.
    partition: i32,
    epoch: Epoch,
    /// Whether the state said something of this key.
    met: AtomicBool,
}

/// How one row has to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    /// It is missing.
    New,
    /// It says something else.
    Changed,
    /// The state does not imply it.
    Removed,
}

impl Held {
    /// Reads all output tables to their committed ends, each on a thread of its own. Records of
    /// epochs after `cut` are left out.
    pub(super) fn read(log: &dyn Log, names: &TopicNames, cut: Option<Epoch>) -> Result<Self, EngineError> {
        let read = |output: Output| move || Ok((output, read_table(log, names.output(output), cut)?));
        std::thread::scope(|scope| {
            let threads: Vec<_> = Output::TABLES.into_iter().map(|output| scope.spawn(read(output))).collect();
            let tables = threads.into_iter().map(|thread| {
                let panicked = |_| EngineError::Panic { reason: "reading the outputs panicked".to_owned() };
                thread.join().map_err(panicked)?
            });
            Ok(Self { tables: tables.collect::<Result<_, EngineError>>()? })
        })
    }

    /// Rows held.
    pub fn len(&self) -> usize {
        self.tables.values().map(HashMap::len).sum()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rows of one table.
    pub fn rows(&self, output: Output) -> usize {
        self.tables.get(&output).map_or(0, HashMap::len)
    }

    /// How many keys of `output` are not among the keys of `of`.
    pub fn missing(&self, output: Output, of: Output) -> usize {
        let Some(table) = self.tables.get(&output) else { return 0 };
        let other = self.tables.get(&of);
        table.keys().filter(|key| !other.is_some_and(|other| other.contains_key(*key))).count()
    }

    /// Notes that the state implies `record`; says how its row has to change, if at all.
    pub fn meet(&self, record: &OutRecord) -> Option<Change> {
        let row = record.key.as_deref().and_then(|key| self.tables.get(&record.output)?.get(key));
        match (row, &record.value) {
            (None, None) => None,
            (None, Some(_)) => Some(Change::New),
            (Some(row), value) => {
                row.met.store(true, Ordering::Relaxed);
                let Some(value) = value else { return Some(Change::Removed) };
                (row.digest != Some(xxh3_128(value))).then_some(Change::Changed)
            }
        }
    }

    /// Of what the state implies, what has to be written: rows that are missing or differ, and
    /// tombstones for rows that the state does not imply.
    ///
    /// Listings come first and leave last, so that between two transactions no other table names a
    /// listing that is not there.
    pub fn corrections(&self, implied: Vec<OutRecord>) -> Corrections {
        // Dead letters belong to the records they came from, not to the state.
        let implied = implied.into_iter().filter(|record| record.output != Output::DeadLetters);
        let mut records: Vec<_> =
            implied.filter_map(|record| self.meet(&record).map(|change| (change, record))).collect();
        for (output, table) in &self.tables {
            for (key, _) in table.iter().filter(|(_, row)| !row.met.load(Ordering::Relaxed)) {
                let key = Some(Bytes::copy_from_slice(key));
                records.push((Change::Removed, OutRecord { output: *output, key, value: None, headers: Vec::new() }));
            }
        }
        let turn = |record: &OutRecord| match (record.output, record.value.is_some()) {
            (Output::Listings, true) => 0,
            (_, true) => 1,
            (_, false) => 2 + u8::from(record.output == Output::Listings),
        };
        let order = |record: &OutRecord| (turn(record), record.output);
        records.sort_unstable_by(|(_, a), (_, b)| order(a).cmp(&order(b)).then_with(|| a.key.cmp(&b.key)));
        let mut report = Report::new(self);
        records.iter().for_each(|(change, record)| report.count(record, *change));
        Corrections { records: records.into_iter().map(|(_, record)| record).collect(), report }
    }
}

/// What has to be written so that the outputs say what the state implies.
#[derive(Debug)]
pub struct Corrections {
    /// The records.
    pub records: Vec<OutRecord>,
    /// How many of which.
    pub report: Report,
}

impl Corrections {
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
    /// Each output table, in the order of [`Output::TABLES`].
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
    pub topic: &'static str,
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
    /// The title in what it is to say, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
}

impl TopicReport {
    /// Corrections of this topic.
    pub fn total(&self) -> usize {
        self.new + self.changed + self.removed
    }

    fn share(&self, rows: usize) -> f64 {
        rows as f64 / self.rows.max(1) as f64
    }
}

impl Report {
    /// Nothing to correct yet.
    pub fn new(held: &Held) -> Self {
        let topic = |output: Output| TopicReport {
            topic: output.name(),
            rows: held.rows(output),
            new: 0,
            changed: 0,
            removed: 0,
            examples: Vec::new(),
        };
        Self { topics: Output::TABLES.into_iter().map(topic).collect(), rows: held.len(), transactions: 0 }
    }

    fn count(&mut self, record: &OutRecord, change: Change) {
        let Some(topic) = self.topics.iter_mut().find(|topic| topic.topic == record.output.name()) else { return };
        let count = match change {
            Change::New => &mut topic.new,
            Change::Changed => &mut topic.changed,
            Change::Removed => &mut topic.removed,
        };
        *count += 1;
        let alike = topic.examples.iter().filter(|example| example.change == change).count();
        if alike < EXAMPLES {
            let key = String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned();
            topic.examples.push(Example { change, key, title: title(record) });
        }
    }

    /// Corrections of all topics.
    pub fn total(&self) -> usize {
        self.topics.iter().map(TopicReport::total).sum()
    }

    /// The share that the guard looks at, 0 to 1: of the events held, those that change or go, or of
    /// the listings held, those that go, whichever is greater. To fill in what is missing harms
    /// nobody, and why listings are linked is told to few.
    pub fn share(&self) -> f64 {
        let of = |output: Output| self.topics.iter().find(|topic| topic.topic == output.name());
        let events = of(Output::Events).map_or(0.0, |topic| topic.share(topic.changed + topic.removed));
        let listings = of(Output::Listings).map_or(0.0, |topic| topic.share(topic.removed));
        events.max(listings)
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
                1 => format!("1 {}", topic.topic.strip_suffix('s').unwrap_or(topic.topic)),
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

fn title(record: &OutRecord) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(record.value.as_deref()?).ok()?;
    let title = value.get("title").or_else(|| value.get("listing")?.get("title"))?;
    title.as_str().map(str::to_owned)
}

/// The epoch that wrote `record`, as its header says.
pub(super) fn epoch_of(record: &LogRecord) -> Option<Epoch> {
    std::str::from_utf8(record.header("epoch")?).ok()?.parse().ok()
}

fn read_table(log: &dyn Log, topic: &str, cut: Option<Epoch>) -> Result<HashMap<Box<[u8]>, Row>, EngineError> {
    let mut table = HashMap::new();
    read_to_end(log, topic, |record| {
        if cut.is_some_and(|cut| epoch_of(&record).is_some_and(|epoch| epoch > cut)) {
            return;
        }
        let epoch = epoch_of(&record).unwrap_or(0);
        let Some(key) = record.key else { return };
        let row = Row {
            digest: record.value.as_deref().map(xxh3_128),
            partition: record.partition,
            epoch,
            met: AtomicBool::new(false),
        };
        match table.entry(key.into_boxed_slice()) {
            Entry::Occupied(mut known) => {
                let known: &mut Row = known.get_mut();
                if row.partition == known.partition || row.epoch > known.epoch {
                    *known = row;
                }
            }
            Entry::Vacant(vacant) => {
                vacant.insert(row);
            }
        }
    })?;
    table.retain(|_, row| row.digest.is_some());
    Ok(table)
}

/// Reads a topic from the beginning to its committed end.
pub(super) fn read_to_end(log: &dyn Log, topic: &str, mut each: impl FnMut(LogRecord)) -> Result<(), EngineError> {
    crate::log::read_to_end(log, topic, |record| {
        each(record);
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(output: Output, key: &str, value: Option<&str>) -> OutRecord {
        let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        OutRecord { output, key: Some(bytes(key)), value: value.map(bytes), headers: Vec::new() }
    }

    fn event(key: &str, value: Option<&str>) -> OutRecord {
        row(Output::Events, key, value)
    }

    fn held(rows: &[OutRecord]) -> Held {
        let mut held = Held::default();
        for row in rows {
            let digest = row.value.as_deref().map(xxh3_128);
            let key = row.key.clone().unwrap().to_vec().into_boxed_slice();
            let row = (row.output, Row { digest, partition: 0, epoch: 0, met: AtomicBool::new(false) });
            held.tables.entry(row.0).or_default().insert(key, row.1);
        }
        held
    }

    #[test]
    fn only_differences_are_corrected() {
        let held = held(&["same", "other", "gone"].map(|key| event(key, Some("1"))));
        let implied = vec![event("same", Some("1")), event("other", Some("2")), event("new", Some("3"))];
        // Workers have met the rows before the committer does.
        let met: Vec<_> = implied.iter().map(|record| held.meet(record)).collect();
        assert_eq!(met, [None, Some(Change::Changed), Some(Change::New)]);
        let corrections = held.corrections(implied);
        assert_eq!(corrections.records, [event("new", Some("3")), event("other", Some("2")), event("gone", None)]);
        let events = &corrections.report.topics[0];
        assert_eq!((events.new, events.changed, events.removed), (1, 1, 1));
        assert_eq!(corrections.report.share(), 2.0 / 3.0);
        let report = Report { transactions: 2, ..corrections.report };
        assert_eq!(report.to_string(), "3 events of 3 rows, in 2 transactions");
    }

    #[test]
    fn a_tombstone_for_what_is_not_there_is_no_correction() {
        let corrections = Held::default().corrections(vec![event("x", None)]);
        assert_eq!((corrections.records.len(), corrections.report.to_string().as_str()), (0, "nothing of 0 rows"));
    }

    #[test]
    fn filling_an_empty_topic_needs_no_consent() {
        let held = held(&[row(Output::Links, "a", Some("1"))]);
        let report = held.corrections(vec![event("a", Some("1")), row(Output::Links, "a", Some("1"))]).report;
        assert_eq!((report.total(), report.share()), (1, 0.0));
    }

    #[test]
    fn listings_come_first_and_leave_last() {
        let old = [Output::Listings, Output::Links].map(|output| row(output, "old", Some("1")));
        let new = vec![row(Output::Links, "new", Some("1")), row(Output::Listings, "new", Some("1"))];
        let order: Vec<_> =
            held(&old).corrections(new).records.into_iter().map(|one| (one.output, one.value.is_some())).collect();
        let expected =
            [(Output::Listings, true), (Output::Links, true), (Output::Links, false), (Output::Listings, false)];
        assert_eq!(order, expected);
    }

    proptest! {
        #[test]
        fn batches_are_bounded_and_lose_nothing(sizes in prop::collection::vec(0usize..50, 0..60), rows in 1usize..9, bytes in 1usize..99) {
            let records: Vec<_> = sizes.iter().map(|size| event("k", Some(&"x".repeat(*size)))).collect();
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
