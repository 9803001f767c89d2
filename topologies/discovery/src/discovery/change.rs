//! What happens to single listings, and how long they stay.

use std::sync::Arc;

use headwater::config::Lifetime;
use headwater_flow::Timers;
use headwater_operators::ids::DocumentId;
use headwater_operators::{Listing, Moment};
use serde::{Deserialize, Serialize};

use super::state::{ListingState, LogPosition, Version};
use crate::config::RetentionSection;

/// How long an event lasts that does not say when it ends.
const ASSUMED_DURATION_MS: i64 = 3 * 3_600_000;

/// How long listings stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// How long after its end a listing stays, in ms; `None` is for ever.
    pub past_events_ms: Option<i64>,
    /// How long an event without an end is taken to last after it began, in ms.
    pub assumed_duration_ms: i64,
}

impl Retention {
    /// As configured.
    pub fn of(section: &RetentionSection) -> Self {
        let past_events_ms = match section.past_events {
            Lifetime::Forever => None,
            Lifetime::For(period) => Some(i64::try_from(period.get().as_millis()).unwrap_or(i64::MAX)),
        };
        Self { past_events_ms, assumed_duration_ms: ASSUMED_DURATION_MS }
    }

    /// The first instant at which a listing with this start and end is past; [`Timers::NEVER`] for never.
    pub fn leaves_at(&self, start: Moment, end: Option<Moment>) -> i64 {
        self.leaves_after(self.ends_at(start, end))
    }

    /// The first instant at which a listing is past that ends at `end`.
    pub fn leaves_after(&self, end: i64) -> i64 {
        self.past_events_ms.map_or(Timers::<()>::NEVER, |keep| end.saturating_add(keep))
    }

    /// When a listing with this start and end is over.
    pub fn ends_at(&self, start: Moment, end: Option<Moment>) -> i64 {
        let (start, assumed_end) = match start.is_day() {
            true => (start.latest_ms(None), start.latest_ms(None)),
            false => {
                let start = start.earliest_ms(None);
                (start, start.saturating_add(self.assumed_duration_ms))
            }
        };
        end.map_or(assumed_end, |end| end.latest_ms(None).max(start))
    }
}

/// One thing that happens to one listing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Change {
    /// A document describes it.
    Upsert {
        /// Version of the description.
        version: Version,
        /// The record's timestamp.
        timestamp_ms: i64,
        /// The document.
        document: DocumentId,
        /// Hash of what the source said.
        content_hash: u64,
        /// The description.
        listing: Box<Listing>,
    },
    /// The document that described it said the same once more, byte for byte.
    Repeat {
        /// Version of the record.
        version: Version,
        /// The record's timestamp.
        timestamp_ms: i64,
    },
    /// The newest version of the document lacks it, and gives so little that nothing is withdrawn yet.
    HoldBack {
        /// The document.
        document: DocumentId,
        /// Version of the record that lacks it.
        version: Version,
    },
    /// A document no longer has it.
    Withdraw {
        /// The document.
        document: DocumentId,
        /// Version of the record that withdraws.
        version: Version,
        /// Timestamp of the record that withdraws.
        timestamp_ms: i64,
    },
    /// What was known at the last commit.
    Restore(Arc<ListingState>),
}

impl Change {
    /// Where in the log the record behind it stands, by which changes of one epoch are ordered.
    pub fn position(&self) -> Option<LogPosition> {
        match self {
            Self::Upsert { version, .. }
            | Self::Repeat { version, .. }
            | Self::HoldBack { version, .. }
            | Self::Withdraw { version, .. } => Some(version.position()),
            Self::Restore(_) => None,
        }
    }
}
