//! [`Event`]: the real-world thing that one or more listings describe.

mod merge;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;
use smol_str::SmolStr;

pub use self::merge::{MergedEvent, MergedMember};
pub use crate::ids::EventId;
use crate::listing::{
    ListingView, LiveListing, Organizer, OrganizerView, Pricing, PricingView, Ratio, Status, Texts, Venue, VenueView,
};
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
    pub description: Option<SmolStr>,
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
    /// The event of several days that this one is a session, an opening or a day of. Text formats leave
    /// it out where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part_of: Option<EventId>,
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

impl EventField {
    const COUNT: usize = Self::Venue as usize + 1;
}

/// Which listing of an event each of its fields was taken from. In text formats a map from the name
/// of the field to the index of the listing.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldSources(SmallVec<[(EventField, u16); EventField::COUNT]>);

impl FieldSources {
    /// The index of the listing that `field` was taken from, if that is known.
    pub fn get(&self, field: EventField) -> Option<usize> {
        self.0.iter().find(|(known, _)| *known == field).map(|(_, listing)| usize::from(*listing))
    }

    /// Takes in that `field` was taken from the listing at `index`.
    pub(crate) fn set(&mut self, field: EventField, index: usize) {
        let Ok(index) = u16::try_from(index) else { return };
        match self.0.binary_search_by_key(&field, |(known, _)| *known) {
            Ok(at) => self.0[at].1 = index,
            Err(at) => self.0.insert(at, (field, index)),
        }
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
    pub organizer: Option<OrganizerView<'a>>,
    pub pricing: Option<PricingView<'a>>,
    pub capacity: Option<i64>,
    pub images: SmallVec<[&'a str; 2]>,
    pub urls: SmallVec<[&'a str; 2]>,
    pub status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part_of: Option<EventId>,
    pub listings: SmallVec<[MemberView<'a>; 2]>,
    pub field_sources: Cow<'a, FieldSources>,
    #[serde(with = "rfc3339_ms")]
    pub first_seen: i64,
    #[serde(with = "rfc3339_ms")]
    pub updated_at: i64,
}

/// A [`Member`] to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
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
            tags: self.tags.iter().map(SmolStr::as_str).collect(),
            start_time: self.start_time,
            end_time: self.end_time,
            timezone: self.timezone.as_deref(),
            all_day: self.all_day,
            venue: self.venue.view(),
            online: self.online,
            organizer: self.organizer.as_ref().map(Organizer::view),
            pricing: self.pricing.as_ref().map(Pricing::view),
            capacity: self.capacity,
            images: self.images.iter().map(SmolStr::as_str).collect(),
            urls: self.urls.iter().map(SmolStr::as_str).collect(),
            status: self.status,
            part_of: self.part_of,
            listings: self.listings.iter().map(Member::view).collect(),
            field_sources: Cow::Borrowed(&self.field_sources),
            first_seen: self.first_seen,
            updated_at: self.updated_at,
        }
    }
}

impl From<&EventView<'_>> for Event {
    fn from(view: &EventView<'_>) -> Self {
        Self {
            id: view.id,
            title: view.title.into(),
            description: view.description.map(SmolStr::from),
            category: view.category.map(SmolStr::from),
            tags: view.tags.iter().map(|tag| SmolStr::from(*tag)).collect(),
            start_time: view.start_time,
            end_time: view.end_time,
            timezone: view.timezone.map(SmolStr::from),
            all_day: view.all_day,
            venue: Venue::from(&view.venue),
            online: view.online,
            organizer: view.organizer.map(Organizer::from),
            pricing: view.pricing.map(Pricing::from),
            capacity: view.capacity,
            images: view.images.iter().map(|image| SmolStr::from(*image)).collect(),
            urls: view.urls.iter().map(|url| SmolStr::from(*url)).collect(),
            status: view.status,
            part_of: view.part_of,
            listings: view.listings.iter().map(Member::from).collect(),
            field_sources: FieldSources::clone(&view.field_sources),
            first_seen: view.first_seen,
            updated_at: view.updated_at,
        }
    }
}

impl<'a> EventView<'a> {
    /// The event `id` of a single listing, first seen at `born` (ms since the Unix epoch) or with the
    /// listing, whichever was earlier. `similarity` is that of the listing as a member.
    pub fn of_listing(id: EventId, born: i64, live: &'a LiveListing, similarity: Ratio) -> Self {
        let listing = live.view();
        Self {
            id,
            title: listing.title,
            description: listing.description,
            category: listing.category,
            tags: sorted_tags(listing.tags.iter().chain(listing.labels)),
            start_time: listing.start,
            end_time: listing.end,
            timezone: listing.timezone,
            all_day: listing.start.is_day(),
            venue: listing.venue,
            online: listing.online,
            organizer: listing.organizer,
            pricing: listing.pricing,
            capacity: listing.capacity,
            images: listing.images.iter().collect(),
            urls: listing.urls.iter().collect(),
            status: listing.status,
            part_of: None,
            listings: std::iter::once(MemberView::of(&listing, similarity)).collect(),
            field_sources: Cow::Owned(FieldSources::default()),
            first_seen: born.min(live.first_seen),
            updated_at: live.updated_at,
        }
    }
}

impl<'a> MemberView<'a> {
    /// `listing` as part of an event.
    pub fn of(listing: &ListingView<'a>, similarity: Ratio) -> Self {
        Self { source: listing.source, external_id: listing.external_id, url: listing.urls.first(), similarity }
    }
}

/// Tags of sources and labels of the taxonomy in one list.
pub(crate) fn sorted_tags<'a>(tags: impl Iterator<Item = &'a str>) -> SmallVec<[&'a str; 8]> {
    let mut tags: SmallVec<[&str; 8]> = tags.collect();
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
    /// [`EventView::of_listing`] with a similarity of 1.
    Single {
        /// Identity.
        id: EventId,
        /// When the event was first seen, in ms since the Unix epoch.
        born: i64,
        /// The listing.
        live: Shared<LiveListing>,
    },
    /// Of several listings, or of one that is held there by less, or is a part of another event.
    Merged(Shared<MergedEvent>),
    /// As it is.
    Given(#[serde(with = "whole")] Shared<Event>),
}

impl Composed {
    /// The event `id` of a single listing, first seen at `born` or with the listing, whichever was
    /// earlier.
    pub fn single(id: EventId, born: i64, live: &Shared<LiveListing>) -> Self {
        Self::Single { id, born: born.min(live.first_seen), live: live.clone() }
    }

    /// The event.
    pub fn event(&self) -> Event {
        Event::from(&self.view())
    }

    /// The event, to read.
    pub fn view(&self) -> EventView<'_> {
        match self {
            Self::Single { id, born, live } => EventView::of_listing(*id, *born, live, Ratio::ONE),
            Self::Merged(event) => event.view(),
            Self::Given(event) => event.view(),
        }
    }

    /// Its category, and the source of each of its listings.
    pub fn category_and_sources(&self) -> (Option<&str>, SmallVec<[&str; 2]>) {
        match self {
            Self::Single { live, .. } => {
                let (source, category) = live.listing.source_and_category();
                (category, std::iter::once(source).collect())
            }
            Self::Merged(event) => event.category_and_sources(),
            Self::Given(event) => {
                (event.category.as_deref(), event.listings.iter().map(|member| member.source.as_str()).collect())
            }
        }
    }
}

/// Events in binary formats, which cannot leave fields out.
mod whole {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Event;
    use crate::shared::Shared;

    pub(super) fn serialize<S: Serializer>(event: &Shared<Event>, serializer: S) -> Result<S::Ok, S::Error> {
        let e = &**event;
        let what = (e.id, &e.title, &e.description, &e.category, &e.tags, &e.organizer, &e.pricing, e.capacity);
        let when = (e.start_time, e.end_time, &e.timezone, e.all_day, e.status, e.part_of);
        let rest = (&e.venue, e.online, &e.images, &e.urls, &e.listings, &e.field_sources, e.first_seen, e.updated_at);
        (what, when, rest).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Shared<Event>, D::Error> {
        let (what, when, rest) = Deserialize::deserialize(deserializer)?;
        let (id, title, description, category, tags, organizer, pricing, capacity) = what;
        let (start_time, end_time, timezone, all_day, status, part_of) = when;
        let (venue, online, images, urls, listings, field_sources, first_seen, updated_at) = rest;
        Ok(Shared::new(Event {
            id,
            title,
            description,
            category,
            tags,
            start_time,
            end_time,
            timezone,
            all_day,
            venue,
            online,
            organizer,
            pricing,
            capacity,
            images,
            urls,
            status,
            part_of,
            listings,
            field_sources,
            first_seen,
            updated_at,
        }))
    }
}

impl From<Event> for Composed {
    fn from(event: Event) -> Self {
        Self::Given(Shared::new(event))
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
}

impl From<&MemberView<'_>> for Member {
    fn from(view: &MemberView<'_>) -> Self {
        Self {
            source: view.source.into(),
            external_id: view.external_id.into(),
            url: view.url.map(SmolStr::from),
            similarity: view.similarity,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::listing::test_support::any_listing;
    use crate::listing::{Geo, GeoPrecision, GeoProvenance, Listing, Point};

    fn any_member() -> impl Strategy<Value = MergedMember> {
        let ratio = || prop::sample::select(vec![0.2, 0.7, 1.0]).prop_map(Ratio::new);
        let times = (400..600_i64, 1_000..1_003_i64);
        (any_listing(), times, ratio(), ratio(), any::<bool>()).prop_map(
            |(listing, (first_seen, updated_at), similarity, trust, found)| {
                let mut live = LiveListing::new(&listing, first_seen, updated_at);
                live.located = Point::from_degrees(48.8, 2.3).filter(|_| found).map(|point| Geo {
                    point,
                    precision: GeoPrecision::City,
                    provenance: GeoProvenance::Gazetteer,
                });
                MergedMember { live: Shared::new(live), similarity, trust }
            },
        )
    }

    proptest! {
        #[test]
        fn however_an_event_is_kept_it_says_the_same(
            members in prop::collection::vec(any_member(), 1..4),
        ) {
            let single = Composed::single(EventId(7), 500, &members[0].live);
            let merged = Composed::Merged(Shared::new(MergedEvent::new(EventId(7), 500, members.into()).unwrap()));
            for composed in [single, merged] {
                let event = composed.event();
                let given = Composed::from(event.clone());
                prop_assert_eq!(composed.view(), given.view());
                prop_assert_eq!(composed.category_and_sources(), given.category_and_sources());
                let expected = serde_json::to_string(&event).unwrap();
                prop_assert_eq!(&serde_json::to_string(&composed.view()).unwrap(), &expected);
                for composed in [composed.clone(), given] {
                    let bytes = bincode::serialize(&composed).unwrap();
                    prop_assert_eq!(&bincode::deserialize::<Composed>(&bytes).unwrap(), &composed);
                }
            }
        }
    }

    #[test]
    fn a_listing_becomes_an_event() {
        let mut listing = Listing::new("a", "1", "Jazz", "2026-05-01T20:00:00+02:00".parse().unwrap());
        listing.tags = vec!["live".into(), "jazz".into()];
        listing.labels = vec!["jazz".into(), "evening".into()];
        listing.urls = ["https://example.org/".into()].into();
        let mut live = LiveListing::new(&listing, 1_000, 2_000);
        live.located = Point::from_degrees(48.8, 2.3).map(|point| Geo {
            point,
            precision: GeoPrecision::City,
            provenance: GeoProvenance::Gazetteer,
        });
        let event = EventView::of_listing(EventId(7), 500, &live, Ratio::ONE);
        assert_eq!(*event.tags, ["evening", "jazz", "live"]);
        assert_eq!((event.first_seen, event.updated_at, event.all_day), (500, 2_000, false));
        assert_eq!(event.venue.geo, live.located);
        assert_eq!(event.listings[0].url, Some("https://example.org/"));
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
