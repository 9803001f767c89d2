//! What goes into extraction, and what comes out: raw records, documents, dead letters.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

pub use headwater_flow::raw::{DeadLetter, DeadLetterCode, Origin, RawRecord};

use crate::ids::{DocumentId, ListingId};
use crate::listing::Listing;

/// What one raw record says: listings of one source, or, without any, that there are none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Document {
    /// Where the record was read.
    pub origin: Origin,
    /// The source.
    pub source: SmolStr,
    /// Which document the record is a version of; `None` for a record without a key, which only
    /// upserts.
    pub id: Option<DocumentId>,
    /// The listings that it gives.
    pub listings: Vec<Extracted>,
    /// Listings named by parts that could not be read this time: what they said before stays.
    pub kept: Vec<ListingId>,
}

/// One listing out of a document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Extracted {
    /// The listing.
    pub listing: Listing,
    /// The source's own sequence or modification stamp.
    pub stamp: SourceStamp,
}

/// The source's own word on which of two descriptions is newer. The default, for sources that
/// give none, is below every other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct SourceStamp {
    /// A revision number such as iCalendar's SEQUENCE; 0 where there is none.
    pub sequence: i64,
    /// A modification time in ms since the Unix epoch; 0 where there is none.
    pub modified_ms: i64,
}

/// Why something could not be used, as far as it is the domain's.
pub mod code {
    use super::DeadLetterCode;

    /// A time zone that nobody knows: its times were read in another one.
    pub const UNKNOWN_TIMEZONE: DeadLetterCode = DeadLetterCode::named("unknown-timezone");
    /// Something that seems to be an event and is not read as one. It is told beside what was read.
    pub const NOT_AN_EVENT: DeadLetterCode = DeadLetterCode::named("not-an-event");
    /// Read although it is not quite what the content type promises. It is told beside what was read.
    pub const READ_LENIENTLY: DeadLetterCode = DeadLetterCode::named("read-leniently");
    /// More listings, or more instances of a series, than the limit.
    pub const TOO_MANY_LISTINGS: DeadLetterCode = DeadLetterCode::named("too-many-listings");

    /// A version of a document gives far less than the one before: what it lacks is not withdrawn until one more
    /// version lacks as much.
    pub const HELD_BACK: DeadLetterCode = DeadLetterCode::named("held-back");

    /// Whether it tells of something that was used all the same. What repeats such a record, byte for byte, has
    /// nothing new to tell.
    pub fn is_remark(code: DeadLetterCode) -> bool {
        [UNKNOWN_TIMEZONE, NOT_AN_EVENT, READ_LENIENTLY].contains(&code)
    }
}
