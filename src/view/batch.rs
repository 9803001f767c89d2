//! Batches: from records of the topics to what changes in the tables.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::Value;

use super::dead_letters::{self, DEAD_LETTERS};
use super::error::ViewError;
use super::read::Unread;
use super::spec::{ViewTopic, ViewTopics};
use super::table::{Cell, Row, Table};
use crate::log::{LogRecord, TopicPartition};

/// What changes in one table. No key occurs twice.
#[derive(Debug)]
pub struct Changes<'a> {
    /// The table.
    pub table: &'static Table,
    /// Rows to insert or to replace.
    pub upserts: Vec<Row<'a>>,
    /// Keys (values of the first column) of rows to delete.
    pub deletes: Vec<&'a str>,
}

impl Changes<'_> {
    /// Puts the rows, which came last to first, into the order of their keys: neighbours in a
    /// table's largest index are written one after the other.
    fn sort(&mut self) {
        fn key<'r>(row: &'r Row<'_>) -> &'r str {
            match row.first() {
                Some(Cell::Text(text)) => text,
                _ => "",
            }
        }
        self.upserts.reverse();
        self.upserts.sort_by(|a, b| key(a).cmp(key(b)));
        self.deletes.sort_unstable();
    }
}

/// The move of one partition's offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The partition.
    pub partition: TopicPartition,
    /// What the store must hold now; `None` where it must hold nothing.
    pub expected: Option<i64>,
    /// What it holds afterwards: the offset at which reading goes on.
    pub next: i64,
}

/// Rows and offsets to be written in one transaction.
#[derive(Debug, Default)]
pub struct Batch<'a> {
    /// Changes, at most one entry for each table.
    pub changes: Vec<Changes<'a>>,
    /// Moves of offsets, at most one for each partition.
    pub steps: Vec<Step>,
    /// Dead letters below these offsets of their topic are gone from the log, and leave the table.
    pub forget: Vec<(TopicPartition, i64)>,
    /// Records whose value could not be read. They change nothing.
    pub skipped: usize,
}

impl<'a> Batch<'a> {
    /// Reads `records` (in the order of the log within each partition, and made [storable]) into
    /// rows. Of several records with one key the last readable one counts.
    ///
    /// [storable]: make_storable
    ///
    /// # Errors
    /// [`ViewError::NewerFormat`]. A value that cannot be read for another reason is logged,
    /// counted in `skipped` and changes nothing: the engine mends damaged topics by writing the
    /// key again, and a view that stopped here would never get to see that.
    pub fn read(records: &'a [LogRecord], topics: &ViewTopics, steps: Vec<Step>) -> Result<Self, ViewError> {
        let mut batch = Self { steps, ..Self::default() };
        let mut seen: HashSet<(&str, &[u8])> = HashSet::with_capacity(records.len());
        for record in records.iter().rev() {
            let keyed = record.topic != *topics.dead_letters();
            let key = (&*record.topic, record.key.as_deref().unwrap_or_default());
            if keyed && seen.contains(&key) {
                continue;
            }
            match batch.add(record, topics) {
                Ok(()) => {
                    seen.insert(key);
                }
                Err(Unread::Format { found, known }) => return Err(newer_format(record, found, known)),
                Err(Unread::Malformed(reason)) => {
                    batch.skipped += 1;
                    tracing::error!(
                        topic = &*record.topic,
                        partition = record.partition,
                        offset = record.offset,
                        reason,
                        "skipped a record of an output topic that cannot be read"
                    );
                }
            }
        }
        for changes in &mut batch.changes {
            changes.sort();
        }
        Ok(batch)
    }

    /// Number of rows written and deleted.
    pub fn rows(&self) -> usize {
        self.changes.iter().map(|changes| changes.upserts.len() + changes.deletes.len()).sum()
    }

    fn add(&mut self, record: &'a LogRecord, topics: &ViewTopics) -> Result<(), Unread> {
        if record.topic == *topics.dead_letters() {
            self.changes_of(&DEAD_LETTERS).upserts.push(dead_letters::row(record));
            return Ok(());
        }
        let topic = topics.declared(&record.topic);
        let topic = topic.ok_or_else(|| Unread::malformed("the view does not read this topic"))?;
        let key = key_of(record)?;
        let written = match value_of(record)? {
            Some(value) => Some(self.upsert(topic, key, value)?),
            None => None,
        };
        for table in topic.tables.iter().copied().filter(|table| Some(*table) != written) {
            self.changes_of(table).deletes.push(key);
        }
        Ok(())
    }

    /// Adds the row of a record, and returns its table.
    fn upsert(&mut self, topic: &ViewTopic, key: &'a str, value: &'a str) -> Result<&'static Table, Unread> {
        let row = (topic.read)(key, value)?;
        let table = row.table;
        debug_assert!(topic.tables.contains(&table), "{} gives a row of {}", topic.topic, table.name);
        debug_assert!(row.cells.len() == table.columns.len(), "a row of {} does not fit it", table.name);
        debug_assert!(row.cells.first().is_some_and(|cell| *cell == Cell::from(key)), "a row without its key");
        debug_assert!(
            table.columns.iter().zip(&row.cells).all(|(column, cell)| cell.fits(column.kind)),
            "a cell does not fit its column of {}: {:?}",
            table.name,
            row.cells
        );
        self.changes_of(table).upserts.push(row.cells);
        Ok(table)
    }

    fn changes_of(&mut self, table: &'static Table) -> &mut Changes<'a> {
        let index = self.changes.iter().position(|changes| changes.table == table);
        let index = index.unwrap_or_else(|| {
            self.changes.push(Changes { table, upserts: Vec::new(), deletes: Vec::new() });
            self.changes.len() - 1
        });
        &mut self.changes[index]
    }
}

fn newer_format(record: &LogRecord, format: u64, known: u64) -> ViewError {
    ViewError::NewerFormat {
        topic: record.topic.to_string(),
        partition: record.partition,
        offset: record.offset,
        format,
        known,
    }
}

/// Removes NUL characters, which Postgres cannot hold, from the values of `records` but dead
/// letters.
pub fn make_storable(records: &mut [LogRecord], topics: &ViewTopics) {
    let keyed = records.iter_mut().filter(|record| record.topic != *topics.dead_letters());
    keyed.for_each(rewrite_without_nul);
}

/// Rewrites a JSON value without NUL characters. In JSON they are always written as escapes, and
/// the engine escapes nothing else in this way but other control characters, so this is rare.
fn rewrite_without_nul(record: &mut LogRecord) {
    let Some(value) = &mut record.value else { return };
    if !std::str::from_utf8(value).is_ok_and(|text| text.contains("\\u0000")) {
        return;
    }
    if let Ok(mut json) = serde_json::from_slice::<Value>(value) {
        strip_nul(&mut json);
        *value = json.to_string().into_bytes();
    }
}

/// NB: recursion is bounded by the nesting limit of `serde_json`, which read the value.
fn strip_nul(json: &mut Value) {
    match json {
        Value::String(text) => text.retain(|c| c != '\0'),
        Value::Array(items) => items.iter_mut().for_each(strip_nul),
        Value::Object(fields) => {
            let cleaned = std::mem::take(fields).into_iter().map(|(mut name, mut value)| {
                name.retain(|c| c != '\0');
                strip_nul(&mut value);
                (name, value)
            });
            *fields = cleaned.collect();
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn key_of(record: &LogRecord) -> Result<&str, Unread> {
    let key = record.key.as_deref().ok_or_else(|| Unread::malformed("it has no key"))?;
    match std::str::from_utf8(key) {
        Ok(key) if !key.contains('\0') => Ok(key),
        _ => Err(Unread::malformed("its key is not text")),
    }
}

fn value_of(record: &LogRecord) -> Result<Option<&str>, Unread> {
    let value = record.value.as_deref().map(std::str::from_utf8).transpose();
    value.map_err(|_| Unread::malformed("its value is not UTF-8"))
}

/// The partitions that `records` come from, with the offset after the last of each.
pub(super) fn ends_of(records: &[LogRecord]) -> Vec<(TopicPartition, i64)> {
    let mut ends: Vec<(TopicPartition, i64)> = Vec::new();
    for record in records {
        let known = ends.iter_mut().find(|(at, _)| at.partition == record.partition && at.topic == record.topic);
        match known {
            Some((_, next)) => *next = record.offset + 1,
            None => ends.push((TopicPartition::new(Arc::clone(&record.topic), record.partition), record.offset + 1)),
        }
    }
    ends
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::view::{TableRow, Text, Versioned, ViewSpec, parse};

    crate::tables! {
        /// Things.
        pub static THINGS = "things", key 1 { id: Text, name: Text }
        /// Things that are others now.
        pub static ALIASES = "aliases", key 1 { id: Text, of: Text }
    }

    #[derive(Deserialize)]
    struct Thing<'a> {
        format: u64,
        #[serde(borrow)]
        name: Option<Text<'a>>,
        of: Option<Text<'a>>,
    }

    impl Versioned for Thing<'_> {
        fn format(&self) -> u64 {
            self.format
        }
    }

    fn thing<'a>(id: &'a str, value: &'a str) -> Result<TableRow<'a>, Unread> {
        let thing: Thing<'a> = parse(value)?;
        match (thing.of, thing.name) {
            (Some(of), _) => Ok(ALIASES.row(crate::cells![id, of])),
            (None, Some(name)) => Ok(THINGS.row(crate::cells![id, name])),
            (None, None) => Err(Unread::malformed("it has no name")),
        }
    }

    fn topics() -> ViewTopics {
        ViewSpec::new("x").follow("things", [&THINGS, &ALIASES], thing).topics("t.")
    }

    fn record(offset: i64, key: &str, value: Option<&str>) -> LogRecord {
        LogRecord {
            topic: "t.things".into(),
            partition: 0,
            offset,
            timestamp_ms: 0,
            key: Some(key.into()),
            value: value.map(Into::into),
            headers: Vec::new(),
        }
    }

    fn read(records: &[LogRecord]) -> Batch<'_> {
        Batch::read(records, &topics(), Vec::new()).unwrap()
    }

    fn changes<'b>(batch: &'b Batch<'_>, table: &Table) -> (Vec<Row<'b>>, Vec<&'b str>) {
        let of_table = batch.changes.iter().find(|changes| changes.table == table);
        of_table.map(|changes| (changes.upserts.clone(), changes.deletes.clone())).unwrap_or_default()
    }

    const JAZZ: &str = r#"{"format":1,"name":"Jazz"}"#;

    #[test]
    fn the_last_readable_record_of_a_key_counts() {
        let records = [
            record(0, "a", Some(JAZZ)),
            record(1, "a", None),
            record(2, "a", Some(r#"{"format":1,"name":"Blues"}"#)),
            record(3, "a", Some(r#"{"format":1,"name":7}"#)),
            record(4, "b", Some(JAZZ)),
            record(5, "b", None),
        ];
        let batch = read(&records);
        assert_eq!(batch.skipped, 1);
        assert_eq!(changes(&batch, &THINGS), (vec![crate::cells!["a", "Blues"]], vec!["b"]));
        assert_eq!(changes(&batch, &ALIASES), (vec![], vec!["a", "b"]));
    }

    #[test]
    fn a_key_is_in_one_table_and_ceases_to_be_in_the_others() {
        let records = [record(0, "a", Some(r#"{"format":1,"of":"b"}"#)), record(1, "b", Some(JAZZ))];
        let batch = read(&records);
        assert_eq!(changes(&batch, &THINGS), (vec![crate::cells!["b", "Jazz"]], vec!["a"]));
        assert_eq!(changes(&batch, &ALIASES), (vec![crate::cells!["a", "b"]], vec!["b"]));
        assert_eq!(batch.rows(), 4);
    }

    #[test]
    fn newer_formats_are_an_error_that_names_the_record() {
        for value in [r#"{"format":2,"name":"T"}"#, r#"{"format":2,"name":{"en":"T"}}"#] {
            let records = [record(41, "a", Some(value))];
            let error = Batch::read(&records, &topics(), Vec::new()).unwrap_err();
            assert!(matches!(&error, ViewError::NewerFormat { offset: 41, format: 2, known: 1, .. }), "{error}");
            assert!(error.to_string().contains("offset 41 of t.things/0"), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_read_changes_nothing() {
        let broken = ["", "null", "[]", "7", "{", r#"{"format":1}"#, r#"{"name":"no format"}"#];
        for value in broken {
            let records = [record(0, "a", Some(value))];
            let batch = read(&records);
            assert_eq!((batch.skipped, batch.rows()), (1, 0), "{value}");
        }
        let mut records = [record(0, "e\0", Some(JAZZ)), record(1, "", Some(JAZZ)), record(2, "a", Some(JAZZ))];
        records[1].key = None;
        records[2].topic = "t.others".into();
        let batch = read(&records);
        assert_eq!((batch.skipped, batch.rows()), (3, 0));
    }

    #[test]
    fn nul_characters_are_removed_everywhere() {
        let mut json = serde_json::json!({"a\0": ["x\0y", {"b": "\0"}], "n": 1});
        strip_nul(&mut json);
        assert_eq!(json, serde_json::json!({"a": ["xy", {"b": ""}], "n": 1}));
    }

    #[test]
    fn dead_letters_are_rows_whatever_they_hold() {
        let mut records = [record(0, "a", Some("\0")), record(1, "a", None)];
        for record in &mut records {
            record.topic = Arc::clone(topics().dead_letters());
        }
        make_storable(&mut records, &topics());
        let batch = read(&records);
        let (upserts, deletes) = changes(&batch, &DEAD_LETTERS);
        assert_eq!((upserts.len(), deletes.len(), batch.skipped), (2, 0, 0));
    }
}
