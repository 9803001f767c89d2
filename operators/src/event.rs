//! [`Event`]: the real-world thing that one or more listings describe.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;
use smol_str::SmolStr;

pub use crate::ids::EventId;
use crate::listing::{LiveListing, Organizer, Pricing, Ratio, Status, Texts, Venue, VenueView};
use crate::moment::{Moment, rfc3339_ms};
use crate::shared::Shared;

/// An event: what users consume. Merged field by field from its listings.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Stable identity.
    pub id: EventId,
    /// What it is called.
    pub title: SmolStr,
    /// Longer text.
    pub description: Option<Arc<str>>,
    /// Category in the configured taxonomy.
    pub category: Option<SmolStr>,
    /// Labels, sorted.
    pub tags: Vec<SmolStr>,
    /// When it begins.
    pub start_time: Moment,
    /// When it ends.
    pub end_time: Option<Moment>,
    /// IANA name of the zone of the times.
    pub timezone: Option<SmolStr>,
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
    pub images: Texts,
    /// Web addresses.
    pub urls: Texts,
    /// Whether it takes place.
    pub status: Status,
    /// The listings it is made of, by source and external id.
    pub listings: Vec<Member>,
    /// Which listing each field was taken from, as an index into `listings`.
    pub field_sources: FieldSources,
    /// Record timestamp at which the event was first seen: that of the listing which founded it, or
    /// of an older one that has joined it.
    #[serde(with = "rfc3339_ms")]
    pub first_seen: i64,
    /// Record timestamp of the newest change among its listings.
    #[serde(with = "rfc3339_ms")]
    pub updated_at: i64,
}

impl Event {
    /// The event `id` of a single listing, first seen at `born` (ms since the Unix epoch) or with the
    /// listing, whichever was earlier. `similarity` is that of the listing as a member.
    pub fn of_listing(id: EventId, born: i64, live: &LiveListing, similarity: Ratio) -> Self {
        let listing = &live.listing;
        Self {
            id,
            title: listing.title.clone(),
            description: listing.description.clone(),
            category: listing.category.clone(),
            tags: sorted_tags(listing.tags.iter().chain(&listing.labels).cloned()),
            start_time: listing.start,
            end_time: listing.end,
            timezone: listing.timezone.clone(),
            all_day: listing.start.is_day(),
            venue: Venue { geo: live.geo(), ..listing.venue.clone() },
            online: listing.online,
            organizer: listing.organizer.clone(),
            pricing: listing.pricing.clone(),
            capacity: listing.capacity,
            images: listing.images.clone(),
            urls: listing.urls.clone(),
            status: listing.status,
            listings: vec![Member::of(live, similarity)],
            field_sources: FieldSources::default(),
            first_seen: born.min(live.first_seen),
            updated_at: live.updated_at,
        }
    }
}

/// The fields of an event whose origin is recorded, in the order of their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "they are the fields of Event")]
pub enum EventField {
    Capacity,
    Category,
    Description,
    EndTime,
    Geo,
    Images,
    Online,
    Organizer,
    Pricing,
    StartTime,
    Status,
    Tags,
    Title,
    Urls,
    Venue,
}

/// Which listing of an event each of its fields was taken from. In text formats a map from the name
/// of the field to the index of the listing.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldSources(Box<[(EventField, u16)]>);

impl FieldSources {
    /// The index of the listing that `field` was taken from, if that is known.
    pub fn get(&self, field: EventField) -> Option<usize> {
        self.0.iter().find(|(known, _)| *known == field).map(|(_, listing)| usize::from(*listing))
    }

    /// Whether nothing is known, as for an event of one listing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<BTreeMap<EventField, u16>> for FieldSources {
    fn from(sources: BTreeMap<EventField, u16>) -> Self {
        Self(sources.into_iter().collect())
    }
}

impl Serialize for FieldSources {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(field, listing)| (field, listing)))
    }
}

impl<'de> Deserialize<'de> for FieldSources {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BTreeMap::<EventField, u16>::deserialize(deserializer).map(Self::from)
    }
}

/// An [`Event`] to read, without texts of its own. It is written as the event would be.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "see the fields of Event")]
pub struct EventView<'a> {
    pub id: EventId,
    pub title: &'a str,
    pub description: Option<&'a str>,
    pub category: Option<&'a str>,
    pub tags: SmallVec<[&'a str; 8]>,
    pub start_time: Moment,
    pub end_time: Option<Moment>,
    pub timezone: Option<&'a str>,
    pub all_day: bool,
    pub venue: VenueView<'a>,
    pub online: bool,
    pub organizer: Option<&'a Organizer>,
    pub pricing: Option<&'a Pricing>,
    pub capacity: Option<i64>,
    pub images: &'a [SmolStr],
    pub urls: &'a [SmolStr],
    pub status: Status,
    pub listings: SmallVec<[MemberView<'a>; 2]>,
    pub field_sources: Cow<'a, FieldSources>,
    #[serde(with = "rfc3339_ms")]
    pub first_seen: i64,
    #[serde(with = "rfc3339_ms")]
    pub updated_at: i64,
}

/// A [`Member`] to read.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "see the fields of Member")]
pub struct MemberView<'a> {
    pub source: &'a str,
    pub external_id: &'a str,
    pub url: Option<&'a str>,
    pub similarity: Ratio,
}

impl Event {
    /// The event, to read.
    pub fn view(&self) -> EventView<'_> {
        EventView {
            id: self.id,
            title: &self.title,
            description: self.description.as_deref(),
            category: self.category.as_deref(),
            tags: self.tags.iter().map(|tag| &**tag).collect(),
            start_time: self.start_time,
            end_time: self.end_time,
            timezone: self.timezone.as_deref(),
            all_day: self.all_day,
            venue: self.venue.view(self.venue.geo),
            online: self.online,
            organizer: self.organizer.as_ref(),
            pricing: self.pricing.as_ref(),
            capacity: self.capacity,
            images: &self.images,
            urls: &self.urls,
            status: self.status,
            listings: self.listings.iter().map(Member::view).collect(),
            field_sources: Cow::Borrowed(&self.field_sources),
            first_seen: self.first_seen,
            updated_at: self.updated_at,
        }
    }
}

impl<'a> EventView<'a> {
    /// [`Event::of_listing`], to read.
    fn of_listing(id: EventId, born: i64, live: &'a LiveListing, similarity: Ratio) -> Self {
        let listing = &live.listing;
        let mut tags: SmallVec<[&str; 8]> = listing.tags.iter().chain(&listing.labels).map(|tag| &**tag).collect();
        tags.sort_unstable();
        tags.dedup();
        Self {
            id,
            title: &listing.title,
            description: listing.description.as_deref(),
            category: listing.category.as_deref(),
            tags,
            start_time: listing.start,
            end_time: listing.end,
            timezone: listing.timezone.as_deref(),
            all_day: listing.start.is_day(),
            venue: listing.venue.view(live.geo()),
            online: listing.online,
            organizer: listing.organizer.as_ref(),
            pricing: listing.pricing.as_ref(),
            capacity: listing.capacity,
            images: &listing.images,
            urls: &listing.urls,
            status: listing.status,
            listings: std::iter::once(MemberView::of(live, similarity)).collect(),
            field_sources: Cow::Owned(FieldSources::default()),
            first_seen: born.min(live.first_seen),
            updated_at: live.updated_at,
        }
    }
}

impl<'a> MemberView<'a> {
    fn of(live: &'a LiveListing, similarity: Ratio) -> Self {
        Self {
            source: &live.listing.source,
            external_id: &live.listing.external_id,
            url: live.listing.urls.first().map(SmolStr::as_str),
            similarity,
        }
    }
}

/// Tags of sources and labels of the taxonomy in one list.
pub(crate) fn sorted_tags(tags: impl Iterator<Item = SmolStr>) -> Vec<SmolStr> {
    let mut tags: Vec<SmolStr> = tags.collect();
    tags.sort_unstable();
    tags.dedup();
    tags
}

/// An event as it goes from operator to operator.
///
/// Most events have one listing, and say what it says. They are kept as that listing, so that its
/// texts are in memory once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Composed {
    /// [`Event::of_listing`] with a similarity of 1.
    Single {
        /// Identity.
        id: EventId,
        /// When the event was first seen, in ms since the Unix epoch.
        born: i64,
        /// The listing.
        live: Shared<LiveListing>,
    },
    /// Any other.
    Merged(Shared<Event>),
}

impl Composed {
    /// The event `id` of a single listing, first seen at `born` or with the listing, whichever was
    /// earlier.
    pub fn single(id: EventId, born: i64, live: &Shared<LiveListing>) -> Self {
        Self::Single { id, born: born.min(live.first_seen), live: live.clone() }
    }

    /// The event.
    pub fn event(&self) -> Cow<'_, Event> {
        match self {
            Self::Single { id, born, live } => Cow::Owned(Event::of_listing(*id, *born, live, Ratio::ONE)),
            Self::Merged(event) => Cow::Borrowed(event),
        }
    }

    /// The event, to read.
    pub fn view(&self) -> EventView<'_> {
        match self {
            Self::Single { id, born, live } => EventView::of_listing(*id, *born, live, Ratio::ONE),
            Self::Merged(event) => event.view(),
        }
    }

    /// Its category.
    pub fn category(&self) -> Option<&SmolStr> {
        match self {
            Self::Single { live, .. } => live.listing.category.as_ref(),
            Self::Merged(event) => event.category.as_ref(),
        }
    }

    /// The source of each of its listings.
    pub fn sources(&self) -> impl Iterator<Item = &SmolStr> + Clone {
        let (single, merged) = match self {
            Self::Single { live, .. } => (Some(&live.listing.source), None),
            Self::Merged(event) => (None, Some(&event.listings)),
        };
        single.into_iter().chain(merged.into_iter().flatten().map(|member| &member.source))
    }
}

impl From<Event> for Composed {
    fn from(event: Event) -> Self {
        Self::Merged(Shared::new(event))
    }
}

/// A listing as part of an event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Source of the listing.
    pub source: SmolStr,
    /// The source's id for it.
    pub external_id: SmolStr,
    /// The listing's own page.
    pub url: Option<SmolStr>,
    /// Similarity of the best edge that holds it in the event; 1 for the only listing of an event.
    pub similarity: Ratio,
}

impl Member {
    fn view(&self) -> MemberView<'_> {
        MemberView {
            source: &self.source,
            external_id: &self.external_id,
            url: self.url.as_deref(),
            similarity: self.similarity,
        }
    }

    /// `live` as part of an event.
    pub fn of(live: &LiveListing, similarity: Ratio) -> Self {
        Self {
            source: live.listing.source.clone(),
            external_id: live.listing.external_id.clone(),
            url: live.listing.urls.first().cloned(),
            similarity,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::{Amount, Geo, GeoPrecision, GeoProvenance, Listing, Point};

    fn live() -> LiveListing {
        let mut listing = Listing::new("a", "1", "Jazz", "2026-05-01T20:00:00+02:00".parse().unwrap());
        listing.description = Some("All ages".into());
        listing.category = Some("Music".into());
        listing.tags = vec!["live".into(), "jazz".into()];
        listing.labels = vec!["jazz".into(), "evening".into()];
        listing.end = Some("2026-05-01T22:00:00+02:00".parse().unwrap());
        listing.timezone = Some("Europe/Paris".into());
        listing.venue = Venue { name: Some("Hall".into()), city: Some("Paris".into()), ..Venue::default() };
        listing.organizer = Some(Organizer { name: "City".into(), url: None });
        listing.pricing = Some(Pricing { min: Some(Amount(5_000)), ..Pricing::default() });
        listing.capacity = Some(100);
        listing.images = ["https://example.org/a.jpg".into()].into();
        listing.urls = vec!["https://example.org/".into(), "https://example.com/".into()].into();
        let mut live = LiveListing::new(listing, 1_000, 2_000);
        live.located = Point::from_degrees(48.8, 2.3).map(|point| Geo {
            point,
            precision: GeoPrecision::City,
            provenance: GeoProvenance::Gazetteer,
        });
        live
    }

    #[test]
    fn a_view_is_written_as_the_event_itself() {
        let plain = LiveListing::new(Listing::new("b", "2", "Talk", "2026-05-01".parse().unwrap()), 5, 6);
        for live in [live(), plain].map(Shared::new) {
            let single = Composed::single(EventId(7), 500, &live);
            let mut event = Event::of_listing(EventId(7), 500, &live, Ratio::new(0.5));
            event.field_sources = BTreeMap::from([(EventField::Title, 1), (EventField::Geo, 0)]).into();
            for composed in [single, event.into()] {
                let expected = serde_json::to_string(&*composed.event()).unwrap();
                assert_eq!(serde_json::to_string(&composed.view()).unwrap(), expected);
                assert_eq!(serde_json::from_str::<Event>(&expected).unwrap(), *composed.event());
            }
        }
    }

    #[test]
    fn sources_of_fields_are_a_map_by_name() {
        let sources: FieldSources = BTreeMap::from([(EventField::StartTime, 2), (EventField::EndTime, 0)]).into();
        let json = serde_json::to_string(&sources).unwrap();
        assert_eq!(json, r#"{"endTime":0,"startTime":2}"#);
        assert_eq!(serde_json::from_str::<FieldSources>(&json).unwrap(), sources);
        assert_eq!(bincode::deserialize::<FieldSources>(&bincode::serialize(&sources).unwrap()).unwrap(), sources);
        assert_eq!((sources.get(EventField::StartTime), sources.get(EventField::Title)), (Some(2), None));
    }
}
