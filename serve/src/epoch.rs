//! Commit numbers and the lineage, for as long as records do not carry them.
//!
//! Every record of an output topic has a header `epoch`: what one transaction wrote, in ms since the Unix
//! epoch. Records of one epoch count as one commit, and the epoch is its number. This is the one place that
//! knows so. What it cannot give, until the engine writes a commit number and a lineage of its own:
//!
//! - Corrections at a start carry the epoch of the last commit: several transactions with one number.
//! - A log that was made anew under the same name is not told from the former one.

use headwater::dataflow::epoch_of;
use headwater::log::LogRecord;

use crate::position::Lineage;

/// The commit that wrote a record; 0 where it does not say so.
pub fn commit_of(record: &LogRecord) -> u64 {
    epoch_of(record).unwrap_or(0)
}

/// The lineage of the topics that begin with `prefix` on the log that calls itself `log`.
pub fn lineage_of(log: &str, prefix: &str) -> Lineage {
    Lineage::named(&format!("{log} {prefix}"))
}

/// The last commit before a time in ms since the Unix epoch.
pub fn last_commit_before(ms: i64) -> u64 {
    u64::try_from(ms.saturating_sub(1)).unwrap_or(0)
}
