//! What discovery keeps in topics to find itself again: listing states and their versions.

use headwater::schema::{FORMAT, InputPosition, known_format, topic_digest};
use headwater_operators::ids::DocumentId;
use headwater_operators::moment::rfc3339_ms;
use headwater_operators::raw::{Origin, SourceStamp};
use headwater_operators::resolve::Remembered;
use headwater_operators::{EventId, Listing, ListingId, LiveListing, PackedListing, Shared};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Orders the descriptions of one listing; the greatest wins, whatever the order of arrival.
///
/// First the source's own stamp, then the record's place in the log. Within a partition
/// `order_ms` never falls, so offsets rule there; across partitions timestamps do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// The source's revision number, see [`SourceStamp::sequence`].
    pub sequence: i64,
    /// The source's modification time, see [`SourceStamp::modified_ms`].
    pub modified_ms: i64,
    /// Timestamp that orders records, see [`Origin::order_ms`].
    pub order_ms: i64,
    /// Digest of the topic's name: decides between topics where all else is equal.
    pub topic: u32,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
}

impl Version {
    /// The version of what the record at `origin` says, with the source's `stamp`.
    pub fn new(origin: &Origin, stamp: SourceStamp) -> Self {
        Self {
            sequence: stamp.sequence,
            modified_ms: stamp.modified_ms,
            order_ms: origin.order_ms,
            topic: topic_digest(&origin.topic),
            partition: origin.partition,
            offset: origin.offset,
        }
    }

    /// Where the record stands in the log: the version without the source's stamp.
    pub fn position(&self) -> LogPosition {
        LogPosition { order_ms: self.order_ms, topic: self.topic, partition: self.partition, offset: self.offset }
    }

    /// Whether the source itself calls this one older than `other`.
    pub fn is_stamped_before(&self, other: &Self) -> bool {
        (self.sequence, self.modified_ms) < (other.sequence, other.modified_ms)
    }
}

/// Where a record stands in the log, see the fields of [`Version`]: the greater, the later it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct LogPosition {
    order_ms: i64,
    topic: u32,
    partition: i32,
    offset: i64,
}

/// One document's claim on a listing: what it last said of it, and since when.
///
/// A claim changes only with the records of its document, which lie in one partition; so what
/// the claims come to does not depend on how partitions interleave, nor on restarts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// The document; for records without a key a stand-in for their partition.
    pub document: DocumentId,
    /// Version of the description: that of the record which last changed it.
    pub version: Version,
    /// Hash of what the source said, salted with the fingerprint of the extraction.
    #[serde(with = "hex_u64")]
    pub content_hash: u64,
    /// Timestamp of the claim's first record (ms since the Unix epoch).
    #[serde(with = "rfc3339_ms")]
    pub first_seen: i64,
    /// Timestamp of the record that last changed the description.
    #[serde(with = "rfc3339_ms")]
    pub updated_at: i64,
    /// The description; `None` for the winning claim, whose description is the listing's.
    pub listing: Option<Shared<PackedListing>>,
}

/// A record of the `listings` topic: a live listing and what the engine must remember of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListingState {
    /// The listing, as the winning claim describes it.
    pub live: Shared<LiveListing>,
    /// All claims on it, the winning one first. Nearly always there is just one.
    pub claims: Vec<Claim>,
}

/// How a [`ListingState`] is written: one flat record with a format version.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StateRecord<L, C> {
    #[serde(deserialize_with = "known_format")]
    format: u8,
    id: ListingId,
    #[serde(with = "rfc3339_ms")]
    first_seen: i64,
    #[serde(with = "rfc3339_ms")]
    updated_at: i64,
    listing: L,
    claims: C,
}

impl Serialize for ListingState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let record = StateRecord {
            format: FORMAT,
            id: self.live.id,
            first_seen: self.live.first_seen,
            updated_at: self.live.updated_at,
            listing: &*self.live.listing,
            claims: &self.claims,
        };
        record.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ListingState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let record = StateRecord::<Listing, Vec<Claim>>::deserialize(deserializer)?;
        if record.id != record.listing.id() {
            return Err(D::Error::custom("listing state under the id of another listing"));
        }
        if record.claims.is_empty() {
            return Err(D::Error::custom("listing state without a claim"));
        }
        let live = LiveListing {
            id: record.id,
            first_seen: record.first_seen,
            updated_at: record.updated_at,
            listing: Shared::new(PackedListing::from(&record.listing)),
            located: None,
        };
        Ok(Self { live: Shared::new(live), claims: record.claims })
    }
}

/// What the engine reads back of a record of the `links` topic.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LinkState {
    #[serde(rename = "format", deserialize_with = "known_format")]
    _format: u8,
    listing: ListingId,
    event_id: EventId,
    #[serde(with = "rfc3339_ms")]
    event_first_seen: i64,
}

impl From<LinkState> for Remembered {
    fn from(link: LinkState) -> Self {
        Self::Link { listing: link.listing, event: link.event_id, born: link.event_first_seen }
    }
}

/// What the engine reads back of a record of the `redirects` topic.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RedirectState {
    #[serde(rename = "format", deserialize_with = "known_format")]
    _format: u8,
    id: EventId,
    redirect_to: EventId,
}

impl From<RedirectState> for Remembered {
    fn from(redirect: RedirectState) -> Self {
        Self::Redirect { retired: redirect.id, survivor: redirect.redirect_to }
    }
}

/// The input records that the state of a listing proves to have been read, from its JSON.
pub fn positions(value: &[u8]) -> Vec<InputPosition> {
    #[derive(Deserialize)]
    struct Seen {
        claims: Vec<SeenClaim>,
    }
    #[derive(Deserialize)]
    struct SeenClaim {
        version: Version,
    }
    let claims = serde_json::from_slice::<Seen>(value).map(|seen| seen.claims).unwrap_or_default();
    let position = |Version { topic, partition, offset, .. }| InputPosition { topic, partition, offset };
    claims.into_iter().map(|claim| position(claim.version)).collect()
}

mod hex_u64 {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    pub(super) fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(&format_args!("{value:016x}"))
        } else {
            value.serialize(serializer)
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        if !deserializer.is_human_readable() {
            return u64::deserialize(deserializer);
        }
        let text = String::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use headwater_operators::Moment;

    use super::*;

    #[test]
    fn states_survive_json_and_refuse_other_formats() {
        let listing = Listing::new("a", "1", "Jazz", "2026-05-01".parse::<Moment>().unwrap());
        let live = LiveListing::new(&listing, 1_000, 2_000);
        let claim = Claim {
            document: DocumentId(7),
            version: Version { offset: 7, ..Version::default() },
            content_hash: u64::MAX,
            first_seen: 1_000,
            updated_at: 2_000,
            listing: None,
        };
        let state = ListingState { live: Shared::new(live), claims: vec![claim] };
        let json = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<ListingState>(&json).unwrap(), state);
        let newer = json.replacen("\"format\":1", "\"format\":9", 1);
        assert!(serde_json::from_str::<ListingState>(&newer).unwrap_err().to_string().contains("format 9"));
        let bytes = bincode::serialize(&state).unwrap();
        assert_eq!(bincode::deserialize::<ListingState>(&bytes).unwrap(), state);
    }
}
