//! What a topology knows of raw records, those that dead letters hold and those that are to be written.

use headwater_flow::raw::RawRecord;

use crate::config::{Config, Invalid};

/// Looks into raw records as a topology would. A topology that has none is taken to know documents
/// only, by their keys: records without a key are then never outdated, and nobody can tell how a
/// record would fare.
pub trait Examine: Send + Sync {
    /// Ids of what a record tells of, as far as it can be read. Of two records without a key that
    /// tell of the same, the newer is the word that counts, and the older is not replayed.
    fn subjects(&self, record: RawRecord) -> Vec<u128>;

    /// Codes of the dead letters that a record would give with the configuration as it is now; none
    /// where it can be used as a whole.
    fn failures(&self, record: RawRecord) -> Vec<&'static str>;

    /// Why the topology would not look at a record of this source and content type, whatever its bytes;
    /// `None` where it would. What has a key and no value is a tombstone.
    fn objection(&self, record: RawRecord) -> Option<Objection> {
        let _ = record;
        None
    }
}

/// Why a topology would not look at a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Objection {
    /// What is wrong.
    pub reason: String,
    /// What to do about it.
    pub hint: String,
}

/// Makes the [`Examine`] of a topology; `None` where it has none.
pub type MakeExamine<S> = fn(&Config<S>) -> Result<Option<Box<dyn Examine>>, Vec<Invalid>>;
