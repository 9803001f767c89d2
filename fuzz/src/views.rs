//! Targets of the crate `topologies`: records that the views of a topology read.
#![allow(clippy::unwrap_used, reason = "a target fails by panicking")]

use discovery::tables::view_spec;
use headwater::log::LogRecord;
use headwater::view::{Batch, make_storable};

/// Records of every topic that discovery's views follow: each becomes a row that fits its table, or is
/// told to be unreadable.
pub fn view_records(data: &[u8]) {
    let topics = view_spec().topics("");
    for topic in topics.all() {
        let mut records = [LogRecord {
            topic: topic.clone(),
            partition: 0,
            offset: 0,
            timestamp_ms: 0,
            key: Some(b"00110479277386a212563a7c362c790d".to_vec()),
            value: Some(data.to_vec()),
            headers: Vec::new(),
        }];
        make_storable(&mut records, &topics);
        let Ok(batch) = Batch::read(&records, &topics, Vec::new()) else { continue };
        assert_eq!(batch.skipped == 0, batch.rows() > 0);
        for changes in &batch.changes {
            for row in &changes.upserts {
                assert_eq!(row.len(), changes.table.columns.len());
                assert!(changes.table.columns.iter().zip(row).all(|(column, cell)| cell.fits(column.kind)));
            }
        }
    }
}
