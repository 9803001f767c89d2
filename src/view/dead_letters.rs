//! The table of dead letters, which every view has: the topic is the runtime's own.

use std::borrow::Cow;

use super::read::is_storable;
use super::table::Row;
use crate::log::LogRecord;

/// The topic of dead letters, without prefix.
pub const TOPIC: &str = "dead-letters";

crate::tables! {
    /// Dead letters, by their position in the dead-letters topic.
    pub static DEAD_LETTERS = "dead_letters", key 3 {
        topic: Text, partition: Int, record_offset: Int, recorded_at: Time,
        code: Text, reason: Text, part: Text, source: Text, content_type: Text,
        raw_topic: Text, raw_partition: Int, raw_offset: Int, raw_time: Time,
        raw_key: Bytes, raw_value: Bytes,
    }
    index [code, recorded_at]
}

/// A dead letter always gives a row: its headers are the engine's own, and its value may be
/// anything.
pub(super) fn row(record: &LogRecord) -> Row<'_> {
    let text = |name| record.header(name).map(without_nul);
    let number = |name| number_header(record, name);
    let time = |ms: Option<i64>| ms.filter(|ms| is_storable(*ms));
    crate::cells![
        &*record.topic,
        i64::from(record.partition),
        record.offset,
        time(Some(record.timestamp_ms)),
        text("dead-letter-code"),
        text("dead-letter-reason"),
        text("dead-letter-part"),
        text("source"),
        text("content-type"),
        text("dead-letter-topic"),
        number("dead-letter-partition"),
        number("dead-letter-offset"),
        time(number("dead-letter-timestamp")),
        record.key.as_deref(),
        record.value.as_deref(),
    ]
}

fn number_header(record: &LogRecord, name: &str) -> Option<i64> {
    std::str::from_utf8(record.header(name)?).ok()?.parse().ok()
}

fn without_nul(bytes: &[u8]) -> Cow<'_, str> {
    match String::from_utf8_lossy(bytes) {
        text if text.contains('\0') => Cow::Owned(text.replace('\0', "")),
        text => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::Cell;

    #[test]
    fn whatever_a_dead_letter_holds_it_gives_a_row() {
        let header = |name: &str, value: &[u8]| (name.to_owned(), value.to_vec());
        let record = LogRecord {
            topic: "t.dead-letters".into(),
            partition: 1,
            offset: 7,
            timestamp_ms: i64::MAX,
            key: None,
            value: Some(b"\0\xff".to_vec()),
            headers: vec![header("dead-letter-reason", b"a\0b\xff"), header("dead-letter-offset", b"soon")],
        };
        let row = row(&record);
        assert_eq!(row.len(), DEAD_LETTERS.columns.len());
        for (column, cell) in DEAD_LETTERS.columns.iter().zip(&row) {
            assert!(cell.fits(column.kind), "{}: {cell:?}", column.name);
        }
        assert_eq!((&row[3], &row[5]), (&Cell::Null, &Cell::Text("ab\u{fffd}".into())));
        assert_eq!((&row[11], &row[14]), (&Cell::Null, &Cell::Bytes(b"\0\xff")));
    }
}
