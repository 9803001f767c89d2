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
    /// The version of the document that lacks the listing, where the withdrawal is held back.
    #[serde(skip)]
    pub held: Option<Box<Version>>,
}

/// A withdrawal that is held back, as it is written.
#[derive(Serialize, Deserialize)]
struct Held {
    document: DocumentId,
    version: Version,
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
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    held: Vec<Held>,
}

/// The same between processes, where nothing may be left out.
type Exchanged<L, C> = (ListingId, i64, i64, L, C, Vec<Held>);

impl Serialize for ListingState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let held = |claim: &Claim| Some(Held { document: claim.document, version: **claim.held.as_ref()? });
        let held: Vec<Held> = self.claims.iter().filter_map(held).collect();
        if !serializer.is_human_readable() {
            let LiveListing { id, first_seen, updated_at, listing, .. } = &*self.live;
            return (id, first_seen, updated_at, &**listing, &self.claims, held).serialize(serializer);
        }
        let record = StateRecord {
            format: FORMAT,
            id: self.live.id,
            first_seen: self.live.first_seen,
            updated_at: self.live.updated_at,
            listing: &*self.live.listing,
            claims: &self.claims,
            held,
        };
        record.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ListingState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let record = if deserializer.is_human_readable() {
            StateRecord::<Listing, Vec<Claim>>::deserialize(deserializer)?
        } else {
            let (id, first_seen, updated_at, listing, claims, held) = Exchanged::deserialize(deserializer)?;
            StateRecord { format: FORMAT, id, first_seen, updated_at, listing, claims, held }
        };
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
        let mut claims = record.claims;
        for Held { document, version } in record.held {
            let claim = claims.iter_mut().find(|claim| claim.document == document);
            claim.into_iter().for_each(|claim| claim.held = Some(Box::new(version)));
        }
        Ok(Self { live: Shared::new(live), claims })
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
        #[serde(default)]
        held: Vec<SeenClaim>,
    }
    #[derive(Deserialize)]
    struct SeenClaim {
        version: Version,
    }
    let Ok(Seen { claims, held }) = serde_json::from_slice(value) else { return Vec::new() };
    let position = |Version { topic, partition, offset, .. }| InputPosition { topic, partition, offset };
    claims.into_iter().chain(held).map(|claim| position(claim.version)).collect()
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
            held: None,
        };
        let state = ListingState { live: Shared::new(live), claims: vec![claim] };
        assert!(!serde_json::to_string(&state).unwrap().contains("held"));
        let version = Version { offset: 9, ..Version::default() };
        let held = Claim { held: Some(Box::new(version)), ..state.claims[0].clone() };
        for state in [state.clone(), ListingState { claims: vec![held], ..state }] {
            reads_back(&state);
        }
    }

    fn reads_back(state: &ListingState) {
        let state = state.clone();
        let json = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<ListingState>(&json).unwrap(), state);
        let newer = json.replacen("\"format\":1", "\"format\":9", 1);
        assert!(serde_json::from_str::<ListingState>(&newer).unwrap_err().to_string().contains("format 9"));
        let bytes = bincode::serialize(&state).unwrap();
        assert_eq!(bincode::deserialize::<ListingState>(&bytes).unwrap(), state);
        let offsets: Vec<i64> = positions(json.as_bytes()).into_iter().map(|position| position.offset).collect();
        assert_eq!(offsets.contains(&9), state.claims[0].held.is_some());
    }
}
