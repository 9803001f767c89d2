//! The truth: which listings are one event.

use std::io::{self, Write};
use std::sync::Arc;

/// One listing and the true event it describes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TruthRow {
    /// The source.
    pub source: Arc<str>,
    /// The listing's external id, as extraction gives it.
    pub external_id: String,
    /// Number of the true event. Rows with equal numbers are one event.
    pub event: u64,
    /// Whether the listing stands; `false` once it has been withdrawn.
    pub live: bool,
}

/// The first line of a truth file.
pub(super) const HEADER: &str = "source,external_id,event";

/// Writes `rows` as lines `source,external_id,event`; those of withdrawn listings only with `all`.
/// The header `source,external_id,event` is not written. No value needs quotes: names and ids are
/// made of letters, digits and `-./@#:`.
///
/// # Errors
/// What the writer reports.
pub fn write_truth(out: &mut dyn Write, rows: &[TruthRow], all: bool) -> io::Result<()> {
    for row in rows.iter().filter(|row| all || row.live) {
        writeln!(out, "{},{},{}", row.source, row.external_id, row.event)?;
    }
    Ok(())
}
