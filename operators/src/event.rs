//! [`Event`]: the real-world thing that one or more listings describe.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use crate::ids::EventId;
use crate::listing::{Organizer, Pricing, Ratio, Status, Venue};
use crate::moment::{Moment, rfc3339_ms};

/// An event: what users consume. Merged field by field from its listings.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Stable identity.
    pub id: EventId,
    /// What it is called.
    pub title: String,
    /// Longer text.
    pub description: Option<String>,
    /// Category in the configured taxonomy.
    pub category: Option<Arc<str>>,
    /// Labels, sorted.
    pub tags: Vec<Arc<str>>,
    /// When it begins.
    pub start_time: Moment,
    /// When it ends.
    pub end_time: Option<Moment>,
    /// IANA name of the zone of the times.
    pub timezone: Option<Arc<str>>,
    /// Whether the times are days without a time of day.
    pub all_day: bool,
    /// Where it is.
    pub venue: Venue,
    /// Whether it can be attended online.
    pub online: bool,
    /// Who is behind it.
    pub organizer: Option<Organizer>,
    /// What it costs.
    pub pricing: Option<Pricing>,
    /// How many people it takes.
    pub capacity: Option<i64>,
    /// Image addresses.
    pub images: Vec<String>,
    /// Web addresses.
    pub urls: Vec<String>,
    /// Whether it takes place.
    pub status: Status,
    /// The listings it is made of, by source and external id.
    pub listings: Vec<Member>,
    /// Which listing each field was taken from: field name, then index into `listings`.
    pub field_sources: BTreeMap<Arc<str>, u32>,
    /// Record timestamp at which the event was first seen: that of the listing which founded it, or
    /// of an older one that has joined it.
    #[serde(with = "rfc3339_ms")]
    pub first_seen: i64,
    /// Record timestamp of the newest change among its listings.
    #[serde(with = "rfc3339_ms")]
    pub updated_at: i64,
}

/// A listing as part of an event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Source of the listing.
    pub source: Arc<str>,
    /// The source's id for it.
    pub external_id: Arc<str>,
    /// The listing's own page.
    pub url: Option<String>,
    /// Similarity of the best edge that holds it in the event; 1 for the only listing of an event.
    pub similarity: Ratio,
}
