//! [`MergedEvent`]: one event out of several listings, field by field.
//!
//! For each field, of the listings that have it, the one wins whose source is trusted most; then
//! the one that says it most completely; then the one that changed last; then the first by
//! (source, external id). What belongs together is taken together: start with time zone, the
//! venue's name with its address. Labels, pictures and addresses are united.
//!
//! Some fields have a value that says nothing, and that nobody's word gives way to. "Scheduled" and
//! "not online" are what a listing has that is silent: a cancellation, a new date, a move to the web hold
//! against it, the newest statement first. And an event of several days is not shortened by a
//! listing that knows only when it begins.

use std::borrow::Cow;
use std::cmp::Reverse;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::{EventField, EventId, EventView, FieldSources, MemberView, sorted_tags};
use crate::listing::{GeoPrecision, ListingView, LiveListing, PricingView, Ratio, Status, TextList, VenueView};
use crate::moment::{DAY_MS, Moment};
use crate::shared::Shared;

/// The listings of an event. What the event says follows from them, and is worked out when it is
/// read: most events are read once or twice, and texts of their own would take a kilobyte each.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct MergedEvent {
    id: EventId,
    born: i64,
    part_of: Option<EventId>,
    /// One or more.
    members: Box<[MergedMember]>,
}

/// A [`MergedEvent`] as it is read, which may lack members.
#[derive(Deserialize)]
struct Unchecked {
    id: EventId,
    born: i64,
    part_of: Option<EventId>,
    members: Box<[MergedMember]>,
}

impl TryFrom<Unchecked> for MergedEvent {
    type Error = &'static str;

    fn try_from(read: Unchecked) -> Result<Self, Self::Error> {
        let event = Self::new(read.id, read.born, read.members).ok_or("a merged event without listings")?;
        Ok(event.with_part_of(read.part_of))
    }
}

/// A listing of an event, and what counts when it is merged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MergedMember {
    /// The listing.
    pub live: Shared<LiveListing>,
    /// Similarity of the best edge that holds it in the event.
    pub similarity: Ratio,
    /// How far its source is trusted.
    pub trust: Ratio,
}

impl MergedEvent {
    /// The event `id`, first seen at `born` (ms since the Unix epoch) or with its oldest listing, whichever
    /// was earlier. `members` are in ascending order of (source, external id). `None` without any.
    pub fn new(id: EventId, born: i64, members: Box<[MergedMember]>) -> Option<Self> {
        (!members.is_empty()).then_some(Self { id, born, part_of: None, members })
    }

    /// The same event, as a part of the event `run`.
    #[must_use]
    pub fn with_part_of(self, run: Option<EventId>) -> Self {
        Self { part_of: run, ..self }
    }

    /// The event, to read. This costs some microseconds: ask once.
    ///
    /// `field_sources` says for each field which listing it came from; it is left empty for an event
    /// of a single listing, where it could say nothing.
    pub fn view(&self) -> EventView<'_> {
        // There is a first one: neither `new` nor reading lets it be otherwise.
        let MergedMember { live, similarity, .. } = &self.members[0];
        let mut event = EventView::of_listing(self.id, self.born, live, *similarity);
        event.part_of = self.part_of;
        if self.members.len() > 1 {
            Merger::new(&self.members).fill(&mut event);
            // A listing that is older than the id joined later, or was read later.
            let oldest = self.members.iter().map(|member| member.live.first_seen).min();
            event.first_seen = event.first_seen.min(oldest.unwrap_or(i64::MAX));
        }
        event
    }

    /// Its category, and the source of each of its listings.
    pub(super) fn category_and_sources(&self) -> (Option<&str>, SmallVec<[&str; 2]>) {
        let mut sources = SmallVec::new();
        let ranked = self.members.iter().enumerate().filter_map(|(index, member)| {
            let listing = &member.live.listing;
            let (source, category) = listing.source_and_category();
            sources.push(source);
            Some((member.rank(listing.category_confidence(), index), category?))
        });
        let category = ranked.max_by(|(a, _), (b, _)| a.cmp(b)).map(|(_, category)| category);
        (category, sources)
    }

    /// Whether both may say the same: they have the same listings, held there alike, and have changed
    /// at the same time. Nearly always this is known without reading them.
    pub(crate) fn may_say_as(&self, other: &Self) -> bool {
        let same = |(a, b): (&MergedMember, &MergedMember)| a.live.id == b.live.id && a.similarity == b.similarity;
        let updated_at = |event: &Self| event.members.iter().map(|member| member.live.updated_at).max();
        self.part_of == other.part_of
            && self.members.len() == other.members.len()
            && self.members.iter().zip(&other.members).all(same)
            && updated_at(self) == updated_at(other)
    }
}

impl MergedMember {
    /// What wins a field, where `completeness` is how completely it says it and `index` its place in the
    /// event: the greatest.
    fn rank<K>(&self, completeness: K, index: usize) -> (Ratio, K, i64, Reverse<usize>) {
        (self.trust, completeness, self.live.updated_at, Reverse(index))
    }
}

/// The listings of an event, and what is picked from which.
struct Merger<'a> {
    candidates: SmallVec<[Candidate<'a>; 4]>,
    /// Their indices, those of the most trusted and newest first.
    order: SmallVec<[usize; 8]>,
    sources: FieldSources,
}

/// A listing of the event, to read.
struct Candidate<'a> {
    member: &'a MergedMember,
    listing: ListingView<'a>,
}

impl<'a> Merger<'a> {
    fn new(members: &'a [MergedMember]) -> Self {
        let mut order: SmallVec<[usize; 8]> = (0..members.len()).collect();
        order.sort_unstable_by_key(|index| Reverse(members[*index].rank((), *index)));
        let candidates = members.iter().map(|member| Candidate { member, listing: member.live.view() });
        Self { candidates: candidates.collect(), order, sources: FieldSources::default() }
    }

    /// The listing that says a field best, by `completeness`: `None` for a listing without it.
    fn best<K: Ord>(
        &mut self,
        field: EventField,
        completeness: impl Fn(&ListingView<'a>) -> Option<K>,
    ) -> Option<&ListingView<'a>> {
        let ranked = self.candidates.iter().enumerate().filter_map(|(index, Candidate { member, listing })| {
            Some((member.rank(completeness(listing)?, index), listing))
        });
        let ((_, _, _, Reverse(index)), listing) = ranked.max_by(|(a, _), (b, _)| a.cmp(b))?;
        self.sources.set(field, index);
        Some(listing)
    }

    /// All items, those of the most trusted and newest listings first.
    fn all(&mut self, field: EventField, items: impl Fn(&ListingView<'a>) -> TextList<'a>) -> SmallVec<[&'a str; 8]> {
        let lists = self.order.iter().map(|index| (*index, items(&self.candidates[*index].listing)));
        let lists: SmallVec<[_; 4]> = lists.filter(|(_, list)| !list.is_empty()).collect();
        if let Some((index, _)) = lists.first() {
            self.sources.set(field, *index);
        }
        lists.into_iter().flat_map(|(_, list)| list).collect()
    }

    /// Each of all items once.
    fn united(
        &mut self,
        field: EventField,
        items: impl Fn(&ListingView<'a>) -> TextList<'a>,
    ) -> SmallVec<[&'a str; 2]> {
        let mut seen = foldhash::HashSet::default();
        self.all(field, items).into_iter().filter(|item| seen.insert(*item)).collect()
    }

    fn category(&mut self) -> Option<&'a str> {
        self.best(EventField::Category, |listing| listing.category.map(|_| listing.category_confidence))?.category
    }

    fn fill(mut self, event: &mut EventView<'a>) {
        if let Some(best) = self.best(EventField::Title, |listing| (!listing.title.is_empty()).then_some(())) {
            event.title = best.title;
        }
        let length = |text: Option<&str>| text.map(str::len).filter(|length| *length > 0);
        event.description = self.best(EventField::Description, |l| length(l.description)).and_then(|l| l.description);
        event.category = self.category();
        let labels = self.all(EventField::Tags, |listing| listing.labels);
        let tags = self.all(EventField::Tags, |listing| listing.tags);
        event.tags = sorted_tags(tags.into_iter().chain(labels));
        self.fill_time(event);
        self.fill_place(event);
        event.organizer = self
            .best(EventField::Organizer, |listing| listing.organizer.map(|organizer| organizer.url.is_some()))
            .and_then(|listing| listing.organizer);
        event.pricing = self
            .best(EventField::Pricing, |listing| listing.pricing.as_ref().map(known_prices))
            .and_then(|listing| listing.pricing);
        event.capacity =
            self.best(EventField::Capacity, |listing| listing.capacity.map(|_| ())).and_then(|l| l.capacity);
        event.images = self.united(EventField::Images, |listing| listing.images);
        event.urls = self.united(EventField::Urls, |listing| listing.urls);
        event.status = self.status();
        event.listings =
            self.candidates.iter().map(|one| MemberView::of(&one.listing, one.member.similarity)).collect();
        event.updated_at =
            self.candidates.iter().map(|one| one.member.live.updated_at).max().unwrap_or(event.updated_at);
        event.field_sources = Cow::Owned(self.sources);
    }

    /// The newest statement that it does not take place as planned, whatever its source is trusted for.
    fn status(&mut self) -> Status {
        let stated = self.candidates.iter().enumerate().filter(|(_, one)| one.listing.status != Status::Scheduled);
        let newest = stated.max_by_key(|(index, one)| (one.member.live.updated_at, one.member.trust, Reverse(*index)));
        let (index, status) = newest.map_or((0, Status::Scheduled), |(index, one)| (index, one.listing.status));
        if status != Status::Scheduled {
            self.sources.set(EventField::Status, index);
        }
        status
    }

    fn fill_time(&mut self, event: &mut EventView<'a>) {
        // Whatever a source is trusted for, that it gives no end does not end an event on its first day.
        let long = self.candidates.iter().filter(|one| lasts_days(&one.listing)).map(|one| one.listing.start);
        let first_day = long.map(|start| start.local_day_number()).min();
        let shortens = |listing: &ListingView<'_>| {
            !lasts_days(listing) && first_day.is_some_and(|day| day <= listing.start.local_day_number())
        };
        let time = |listing: &ListingView<'_>| {
            let known = (!listing.start.is_day(), listing.timezone.is_some(), listing.end.is_some());
            (!shortens(listing)).then_some(known)
        };
        if let Some(best) = self.best(EventField::StartTime, time) {
            event.start_time = best.start;
            event.timezone = best.timezone;
            event.all_day = best.start.is_day();
        }
        let start = event.start_time;
        let after = |listing: &ListingView<'_>| {
            let end = listing.end.filter(|end| end.is_day() == start.is_day() && is_after(*end, start))?;
            if shortens(listing) || !leaves_half(listing, end, start) {
                return None;
            }
            // The end that was given together with this start fits it best.
            Some((listing.start == start, !end.is_day()))
        };
        event.end_time = self.best(EventField::EndTime, after).and_then(|listing| listing.end);
    }

    fn fill_place(&mut self, event: &mut EventView<'a>) {
        let known = |listing: &ListingView<'_>| Some(known_parts(&listing.venue)).filter(|known| *known > (false, 0));
        if let Some(best) = self.best(EventField::Venue, known) {
            event.venue = best.venue;
        }
        // The centre of a city, which the gazetteer knows for every source, must not hide a point that one states.
        let finest_first = [GeoPrecision::Venue, GeoPrecision::Street, GeoPrecision::City];
        event.venue.geo = finest_first.into_iter().find_map(|precision| {
            let exact = |listing: &ListingView<'a>| listing.venue.geo.filter(|geo| geo.precision == precision);
            self.best(EventField::Geo, |listing| exact(listing).map(|_| ()))?.venue.geo
        });
        event.online = self.best(EventField::Online, |listing| listing.online.then_some(())).is_some();
    }
}

/// Whether it ends on a later day than it begins, and more than a day after it.
fn lasts_days(listing: &ListingView<'_>) -> bool {
    listing.end.is_some_and(|end| {
        let longer = end.earliest_ms(None).saturating_sub(listing.start.earliest_ms(None));
        if end.is_day() && listing.start.is_day() { end > listing.start } else { longer > DAY_MS }
    })
}

/// Both of one kind: days are whole, instants exact.
fn is_after(end: Moment, start: Moment) -> bool {
    if end.is_day() { end >= start } else { end.earliest_ms(None) > start.earliest_ms(None) }
}

/// Whether a start leaves at least half of what a listing lasts by its own start: an end that was given with an
/// earlier start is otherwise no end of this one.
fn leaves_half(listing: &ListingView<'_>, end: Moment, start: Moment) -> bool {
    let until_end = |from: Moment| end.latest_ms(None).saturating_sub(from.earliest_ms(None));
    until_end(start).saturating_mul(2) >= until_end(listing.start)
}

fn known_parts(venue: &VenueView<'_>) -> (bool, usize) {
    let parts = [venue.name, venue.address, venue.city, venue.region, venue.postal_code, venue.country];
    (venue.name.is_some(), parts.iter().filter(|part| part.is_some()).count())
}

fn known_prices(pricing: &PricingView<'_>) -> usize {
    [pricing.min.is_some(), pricing.max.is_some(), pricing.currency.is_some(), pricing.free.is_some()]
        .iter()
        .filter(|known| **known)
        .count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::{Event, Member};
    use crate::listing::{Geo, GeoProvenance, Listing, Point};

    const TRUST: Ratio = Ratio::ZERO;

    fn live(source: &str, updated_at: i64, change: impl FnOnce(&mut Listing)) -> LiveListing {
        let mut listing = Listing::new(source, "1", "Title", "2026-03-28T19:30:00Z".parse().unwrap());
        change(&mut listing);
        LiveListing::new(&listing, 5, updated_at)
    }

    fn member(live: LiveListing, trust: Ratio) -> MergedMember {
        MergedMember { live: Shared::new(live), similarity: Ratio::ONE, trust }
    }

    /// Of listings that are all trusted alike.
    fn merged<const N: usize>(lives: [LiveListing; N]) -> Event {
        of_members(lives.map(|live| member(live, TRUST)))
    }

    fn of_members<const N: usize>(members: [MergedMember; N]) -> Event {
        Event::from(&MergedEvent::new(EventId(7), 1, members.into()).unwrap().view())
    }

    #[test]
    fn an_event_without_listings_is_refused() {
        assert_eq!(MergedEvent::new(EventId(7), 1, Box::default()), None);
        let one = [member(live("a", 9, |_| ()), TRUST)];
        for (members, good) in [(&one[..], true), (&[], false)] {
            let bytes = bincode::serialize(&(EventId(7), 1_i64, None::<EventId>, members)).unwrap();
            assert_eq!(bincode::deserialize::<MergedEvent>(&bytes).is_ok(), good);
        }
    }

    #[test]
    fn a_single_listing_is_taken_as_it_is() {
        let only = live("a", 9, |listing| listing.capacity = Some(3));
        let event = merged([only.clone()]);
        assert_eq!((event.first_seen, event.updated_at, event.capacity), (1, 9, Some(3)));
        assert!(event.field_sources.is_empty());
        assert_eq!(event.listings, [Member::from(&MemberView::of(&only.view(), Ratio::ONE))]);
    }

    #[test]
    fn fields_come_from_trust_then_completeness_then_recency() {
        let a = live("a", 1, |listing| {
            listing.title = "From a".into();
            listing.description = Some("a longer description".into());
        });
        let b = live("b", 2, |listing| {
            listing.title = "From b".into();
            listing.description = Some("short".into());
            listing.status = Status::Cancelled;
        });
        let event = merged([a.clone(), b.clone()]);
        assert_eq!((event.title.as_str(), event.status), ("From b", Status::Cancelled));
        assert_eq!(event.description.as_deref(), Some("a longer description"));
        assert_eq!(event.field_sources.get(EventField::Title), Some(1));
        assert_eq!(event.field_sources.get(EventField::Description), Some(0));
        assert_eq!(event.field_sources.get(EventField::Pricing), None);
        let trusted = of_members([member(a, TRUST), member(b, Ratio::new(0.9))]);
        assert_eq!(trusted.description.as_deref(), Some("short"));
    }

    #[test]
    fn a_time_of_day_beats_a_day_and_ends_after_it() {
        let day = live("a", 9, |listing| {
            listing.start = "2026-03-28".parse().unwrap();
            listing.end = Some("2026-03-28".parse().unwrap());
        });
        let early = live("b", 8, |listing| listing.end = Some("2026-03-28T12:00:00Z".parse().unwrap()));
        let timed = live("c", 1, |listing| listing.end = Some("2026-03-28T21:00:00Z".parse().unwrap()));
        let event = merged([day, early, timed]);
        assert!(!event.all_day);
        assert_eq!(event.end_time, Some("2026-03-28T21:00:00Z".parse().unwrap()));
        assert_eq!(event.field_sources.get(EventField::EndTime), Some(2));
    }

    #[test]
    fn coordinates_may_come_from_another_listing_than_the_venue() {
        let point = Point::from_degrees(38.5, -121.7).unwrap();
        let named = live("a", 1, |listing| listing.venue.name = Some("Sudwerk".into()));
        let located = live("b", 2, |listing| {
            listing.venue.geo = Some(Geo { point, precision: GeoPrecision::Venue, provenance: GeoProvenance::Places });
        });
        let event = merged([named, located]);
        assert_eq!(event.venue.name.as_deref(), Some("Sudwerk"));
        assert_eq!(event.venue.geo.map(|geo| geo.point), Some(point));
    }

    #[test]
    fn the_point_of_a_venue_is_not_hidden_by_the_centre_of_its_city() {
        let at = |source: &str, latitude: f64, precision| {
            live(source, 1, |listing| {
                let point = Point::from_degrees(latitude, -87.6).unwrap();
                listing.venue.geo = Some(Geo { point, precision, provenance: GeoProvenance::Gazetteer });
            })
        };
        let exact = member(at("a", 41.88, GeoPrecision::Venue), TRUST);
        let trusted = member(at("b", 41.85, GeoPrecision::City), Ratio::new(0.9));
        let event = of_members([exact, trusted]);
        assert_eq!(event.venue.geo.map(|geo| geo.precision), Some(GeoPrecision::Venue));
        assert_eq!(event.field_sources.get(EventField::Geo), Some(0));
    }

    #[test]
    fn labels_and_addresses_are_united() {
        let a = live("a", 1, |listing| {
            listing.tags = vec!["x".into(), "z".into()];
            listing.urls = vec!["https://a".into(), "https://both".into()].into();
        });
        let b = live("b", 2, |listing| {
            listing.tags = vec!["a".into(), "x".into()];
            listing.urls = ["https://both".into()].into();
        });
        let event = merged([a, b]);
        let tags: Vec<&str> = event.tags.iter().map(|tag| &**tag).collect();
        assert_eq!(tags, ["a", "x", "z"]);
        assert_eq!(*event.urls, ["https://both", "https://a"]);
    }

    #[test]
    fn silence_takes_no_statement_back() {
        let said = |source: &str, updated_at, status| live(source, updated_at, |listing| listing.status = status);
        let silent = |source: &str| said(source, 9, Status::Scheduled);
        for status in
            [Status::Cancelled, Status::Postponed, Status::MovedOnline, Status::Rescheduled, Status::Tentative]
        {
            let event = merged([said("a", 1, status), silent("b")]);
            assert_eq!((event.status, event.field_sources.get(EventField::Status)), (status, Some(0)));
        }
        let trusted =
            of_members([member(said("a", 1, Status::Cancelled), TRUST), member(silent("b"), Ratio::new(0.9))]);
        assert_eq!(trusted.status, Status::Cancelled);
        let newest = merged([said("a", 3, Status::Postponed), said("b", 2, Status::Cancelled), silent("c")]);
        assert_eq!(newest.status, Status::Postponed);
        let none = merged([silent("a"), silent("b")]);
        assert_eq!((none.status, none.field_sources.get(EventField::Status)), (Status::Scheduled, None));
    }

    #[test]
    fn who_says_nothing_of_the_web_does_not_take_an_event_off_it() {
        let online = live("a", 1, |listing| listing.online = true);
        let hall = live("b", 9, |listing| listing.venue.name = Some("Odd Fellows Hall".into()));
        let event = merged([online, hall]);
        assert!(event.online);
        assert_eq!(event.venue.name.as_deref(), Some("Odd Fellows Hall"));
    }

    #[test]
    fn a_start_alone_does_not_shorten_an_event_of_days() {
        let days = live("a", 1, |listing| {
            listing.start = "2026-03-28".parse().unwrap();
            listing.end = Some("2026-03-30".parse().unwrap());
        });
        let doors = live("b", 9, |_| ());
        for trust in [0.0, 0.9] {
            let event = of_members([member(days.clone(), TRUST), member(doors.clone(), Ratio::new(trust))]);
            let expected = ("2026-03-28".parse().unwrap(), Some("2026-03-30".parse().unwrap()), true);
            assert_eq!((event.start_time, event.end_time, event.all_day), expected);
        }
        let timed = live("c", 1, |listing| listing.end = Some("2026-03-30T18:00:00Z".parse().unwrap()));
        let event = merged([days, doors, timed]);
        assert_eq!(event.start_time, "2026-03-28T19:30:00Z".parse().unwrap());
        assert_eq!(event.end_time, Some("2026-03-30T18:00:00Z".parse().unwrap()));
    }

    #[test]
    fn the_end_of_an_earlier_start_does_not_shorten_an_event_to_nothing() {
        let at = |source: &str, start: &str, end: Option<&str>| {
            live(source, 1, |listing| {
                listing.start = start.parse().unwrap();
                listing.end = end.map(|end| end.parse().unwrap());
            })
        };
        let show = at("a", "2026-03-28T19:30:00Z", None);
        let doors = at("b", "2026-03-28T18:30:00Z", Some("2026-03-28T19:31:00Z"));
        let event = of_members([member(show.clone(), Ratio::ONE), member(doors, TRUST)]);
        assert_eq!((event.start_time, event.end_time), ("2026-03-28T19:30:00Z".parse().unwrap(), None));
        let doors = at("b", "2026-03-28T19:00:00Z", Some("2026-03-28T22:00:00Z"));
        let event = of_members([member(show, Ratio::ONE), member(doors, TRUST)]);
        assert_eq!(event.end_time, Some("2026-03-28T22:00:00Z".parse().unwrap()));
        // Nor does the end of an evening end a run, however much it is trusted.
        let run = at("a", "2026-03-28T10:00:00Z", Some("2026-04-06T18:00:00Z"));
        let evening = at("b", "2026-03-28T20:00:00Z", Some("2026-03-28T22:00:00Z"));
        let event = of_members([member(run, TRUST), member(evening, Ratio::ONE)]);
        assert_eq!(event.end_time, Some("2026-04-06T18:00:00Z".parse().unwrap()));
    }

    /// A listing of some day or hour of a week, mostly with an end.
    fn some_time() -> impl Strategy<Value = (Moment, Option<Moment>, u8, i64)> {
        let when = (any::<bool>(), 1..8u8, 0..24u8, prop::option::of((0..6u8, 0..24u8)));
        (when, 0..3u8, 0..4i64).prop_map(|((timed, day, hour, end), trust, updated_at)| {
            let moment = |day: u8, hour: u8| -> Moment {
                let text =
                    if timed { format!("2026-03-{day:02}T{hour:02}:00:00Z") } else { format!("2026-03-{day:02}") };
                text.parse().unwrap()
            };
            let start = moment(day, hour);
            let end = end.map(|(days, hour)| moment(day + days, hour)).filter(|end| is_after(*end, start));
            (start, end, trust, updated_at)
        })
    }

    fn is_long(start: Moment, end: Option<Moment>) -> bool {
        let mut listing = Listing::new("a", "1", "Title", start);
        listing.end = end;
        lasts_days(&LiveListing::new(&listing, 0, 0).view())
    }

    proptest! {
        #[test]
        fn a_merge_never_shortens_an_event_to_nothing(times in prop::collection::vec(some_time(), 1..5)) {
            let members = times.iter().zip(["a", "b", "c", "d"]).map(|((start, end, trust, updated_at), source)| {
                let live = live(source, *updated_at, |listing| (listing.start, listing.end) = (*start, *end));
                member(live, Ratio::new(f64::from(*trust) / 2.0))
            });
            let event = MergedEvent::new(EventId(7), 1, members.collect()).unwrap();
            let event = Event::from(&event.view());
            let (from, until) = (event.start_time, event.end_time);
            if let Some(until) = until {
                prop_assert!(until.is_day() == from.is_day() && is_after(until, from), "{event:?}");
                let length = |from: Moment| until.latest_ms(None) - from.earliest_ms(None);
                let own = times.iter().filter(|(_, end, ..)| *end == Some(until)).map(|(start, ..)| length(*start)).min();
                prop_assert!(own.is_some_and(|own| 2 * length(from) >= own), "{event:?}");
            }
            let days = |start: &Moment| start.local_day_number();
            let longest = times.iter().filter(|(start, end, ..)| is_long(*start, *end)).map(|(start, ..)| days(start)).min();
            if longest.is_some_and(|first| times.iter().all(|(start, ..)| first <= days(start))) {
                prop_assert!(is_long(from, until), "{event:?}");
            }
        }
    }
}
