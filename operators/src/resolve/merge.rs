//! Merging: one event out of the listings of a cluster, field by field.
//!
//! For each field, of the listings that have it, the one wins whose source is trusted most; then
//! the one that says it most completely; then the one that changed last; then the first by
//! (source, external id). What belongs together is taken together: start with time zone, the
//! venue's name with its address. Labels, pictures and addresses are united.

use std::borrow::Cow;
use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use differential_dataflow::{AsCollection, VecCollection};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::compare::{Contribution, Contributions};
use super::config::ResolveConfig;
use super::decision::DecisionReport;
use super::epochs::{Pending, Sender, by_listing, net_changes};
use super::identity::{Identity, own_id};
use crate::Epoch;
use crate::event::{Composed, Event, EventField, Member, sorted_tags};
use crate::ids::{EventId, ListingId};
use crate::listing::{Listing, LiveListing, Pricing, Ratio, Venue};
use crate::meter::Held;
use crate::moment::{Moment, rfc3339_ms};
use crate::shared::Shared;

/// A listing's membership in an event, and what holds it there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Link {
    /// Source of the listing.
    pub source: SmolStr,
    /// The source's id for it.
    pub external_id: SmolStr,
    /// Stand-in of the two.
    pub listing: ListingId,
    /// The event.
    pub event_id: EventId,
    /// When the event was first seen, in ms since the Unix epoch.
    #[serde(with = "rfc3339_ms")]
    pub event_first_seen: i64,
    /// Similarity of the best edge that holds it in the event; 1 for the only listing of an event.
    pub similarity: Ratio,
    /// The listing at the other end of that edge.
    pub via: Option<Via>,
    /// What each field contributed to that edge.
    pub contributions: Vec<Contribution>,
    /// The decisions that name the listing, whether they hold it here, keep it apart from others,
    /// wait, or are overruled.
    pub decisions: Vec<Shared<DecisionReport>>,
}

/// The other end of an edge.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Via {
    /// Source of the listing.
    pub source: SmolStr,
    /// The source's id for it.
    pub external_id: SmolStr,
    /// Stand-in of the two.
    pub listing: ListingId,
}

impl Link {
    /// The link of the only listing of an event.
    pub fn single(live: &LiveListing, identity: Identity) -> Self {
        Self {
            source: live.listing.source.clone(),
            external_id: live.listing.external_id.clone(),
            listing: live.id,
            event_id: identity.event,
            event_first_seen: identity.born,
            similarity: Ratio::ONE,
            via: None,
            contributions: Vec::new(),
            decisions: Vec::new(),
        }
    }
}

/// A link as it goes from operator to operator.
///
/// Most listings are the only one of their event, and their links follow from the two: they take no memory of
/// their own. Links are compared by what they say, so the listing's content does not count.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Linked {
    /// [`Link::single`].
    Single {
        /// The listing.
        live: Shared<LiveListing>,
        /// The event.
        identity: Identity,
    },
    /// Any other.
    Other(Shared<Link>),
}

impl Linked {
    /// The link.
    pub fn link(&self) -> Cow<'_, Link> {
        match self {
            Self::Single { live, identity } => Cow::Owned(Link::single(live, *identity)),
            Self::Other(link) => Cow::Borrowed(link),
        }
    }

    /// What tells links apart. An id stands for source and external id.
    fn said(&self) -> Result<(ListingId, Identity), &Shared<Link>> {
        match self {
            Self::Single { live, identity } => Ok((live.id, *identity)),
            Self::Other(link) => Err(link),
        }
    }
}

impl PartialEq for Linked {
    fn eq(&self, other: &Self) -> bool {
        self.said() == other.said()
    }
}

impl Eq for Linked {}

impl PartialOrd for Linked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Linked {
    fn cmp(&self, other: &Self) -> Ordering {
        self.said().cmp(&other.said())
    }
}

/// Merges the listings of an event, each with the similarity that holds it there, given in
/// ascending order of (source, external id). `None` without any.
///
/// `field_sources` says for each field which listing it came from; it is left empty for an event
/// of a single listing, where it could say nothing.
pub fn merge(identity: Identity, members: &[(&LiveListing, Ratio)], config: &ResolveConfig) -> Option<Event> {
    match members {
        [] => None,
        [(only, similarity)] => Some(Event::of_listing(identity.event, identity.born, only, *similarity)),
        [(first, similarity), ..] => {
            let mut event = Event::of_listing(identity.event, identity.born, first, *similarity);
            Merger::new(members, config).fill(&mut event);
            // A listing that is older than the id joined later, or was read later.
            let oldest = members.iter().map(|(live, _)| live.first_seen).min();
            event.first_seen = event.first_seen.min(oldest.unwrap_or(i64::MAX));
            Some(event)
        }
    }
}

struct Merger<'a> {
    members: &'a [(&'a LiveListing, Ratio)],
    trust: Vec<Ratio>,
    sources: BTreeMap<EventField, u16>,
}

impl<'a> Merger<'a> {
    fn new(members: &'a [(&'a LiveListing, Ratio)], config: &ResolveConfig) -> Self {
        let trust = members.iter().map(|(live, _)| Ratio::new(config.trust_of(&live.listing.source))).collect();
        Self { members, trust, sources: BTreeMap::new() }
    }

    /// The listing that says a field best, by `completeness`: `None` for a listing without it.
    fn best<K: Ord>(&mut self, field: EventField, completeness: impl Fn(&Listing) -> Option<K>) -> Option<&'a Listing> {
        self.best_live(field, |live| completeness(&live.listing)).map(|live| &*live.listing)
    }

    fn best_live<K: Ord>(
        &mut self,
        field: EventField,
        completeness: impl Fn(&LiveListing) -> Option<K>,
    ) -> Option<&'a LiveListing> {
        let ranked = self.members.iter().zip(&self.trust).enumerate().filter_map(|(index, ((live, _), trust))| {
            let rank = (*trust, completeness(live)?, live.updated_at, Reverse(index));
            Some((rank, *live))
        });
        let (rank, live) = ranked.max_by(|(a, _), (b, _)| a.cmp(b))?;
        self.record(field, rank.3.0);
        Some(live)
    }

    fn record(&mut self, field: EventField, index: usize) {
        if let Ok(index) = u16::try_from(index) {
            self.sources.insert(field, index);
        }
    }

    /// All distinct items, those of the most trusted and newest listings first.
    fn united<T: Clone + Ord>(&mut self, field: EventField, items: impl Fn(&Listing) -> &[T]) -> Vec<T> {
        let mut order: Vec<usize> = (0..self.members.len()).collect();
        let newest = |index: &usize| self.members.get(*index).map(|(live, _)| live.updated_at);
        order.sort_by_key(|index| (Reverse(self.trust.get(*index).copied()), Reverse(newest(index)), *index));
        let listings = order.into_iter().filter_map(|index| Some((index, &self.members.get(index)?.0.listing)));
        let (mut seen, mut all, mut first) = (BTreeSet::new(), Vec::new(), None);
        for (index, listing) in listings {
            for item in items(listing) {
                first = first.or(Some(index));
                if seen.insert(item) {
                    all.push(item.clone());
                }
            }
        }
        if let Some(index) = first {
            self.record(field, index);
        }
        all
    }

    fn fill(mut self, event: &mut Event) {
        if let Some(best) = self.best(EventField::Title, |listing| (!listing.title.is_empty()).then_some(())) {
            event.title = best.title.clone();
        }
        let length = |text: &Option<Arc<str>>| text.as_ref().map(|text| text.len()).filter(|length| *length > 0);
        event.description =
            self.best(EventField::Description, |l| length(&l.description)).and_then(|l| l.description.clone());
        event.category = self
            .best(EventField::Category, |listing| listing.category.as_ref().map(|_| listing.category_confidence))
            .and_then(|listing| listing.category.clone());
        let labels = self.united(EventField::Tags, |listing| &listing.labels);
        let tags = self.united(EventField::Tags, |listing| &listing.tags);
        event.tags = sorted_tags(tags.into_iter().chain(labels));
        self.fill_time(event);
        self.fill_place(event);
        event.organizer = self
            .best(EventField::Organizer, |listing| listing.organizer.as_ref().map(|organizer| organizer.url.is_some()))
            .and_then(|listing| listing.organizer.clone());
        event.pricing = self
            .best(EventField::Pricing, |listing| listing.pricing.as_ref().map(known_prices))
            .and_then(|listing| listing.pricing.clone());
        event.capacity =
            self.best(EventField::Capacity, |listing| listing.capacity.map(|_| ())).and_then(|l| l.capacity);
        event.images = self.united(EventField::Images, |listing| &listing.images).into_iter().collect();
        event.urls = self.united(EventField::Urls, |listing| &listing.urls).into_iter().collect();
        if let Some(best) = self.best(EventField::Status, |_| Some(())) {
            event.status = best.status;
        }
        event.listings = self.members.iter().map(|(live, similarity)| Member::of(live, *similarity)).collect();
        event.updated_at = self.members.iter().map(|(live, _)| live.updated_at).max().unwrap_or(event.updated_at);
        event.field_sources = self.sources.into();
    }

    fn fill_time(&mut self, event: &mut Event) {
        let time =
            |listing: &Listing| Some((!listing.start.is_day(), listing.timezone.is_some(), listing.end.is_some()));
        if let Some(best) = self.best(EventField::StartTime, time) {
            event.start_time = best.start;
            event.timezone = best.timezone.clone();
            event.all_day = best.start.is_day();
        }
        let start = event.start_time;
        let after = |listing: &Listing| {
            let end = listing.end.filter(|end| end.is_day() == start.is_day() && is_after(*end, start))?;
            // The end that was given together with this start fits it best.
            Some((listing.start == start, !end.is_day()))
        };
        event.end_time = self.best(EventField::EndTime, after).and_then(|listing| listing.end);
    }

    fn fill_place(&mut self, event: &mut Event) {
        let known = |listing: &Listing| Some(known_parts(&listing.venue)).filter(|known| *known > (false, 0));
        if let Some(best) = self.best(EventField::Venue, known) {
            event.venue = Venue { geo: None, ..best.venue.clone() };
        }
        event.venue.geo =
            self.best_live(EventField::Geo, |live| live.geo().map(|geo| geo.precision)).and_then(LiveListing::geo);
        if let Some(best) = self.best(EventField::Online, |_| Some(())) {
            event.online = best.online;
        }
    }
}

/// Both of one kind: days are whole, instants exact.
fn is_after(end: Moment, start: Moment) -> bool {
    if end.is_day() { end >= start } else { end.earliest_ms(None) > start.earliest_ms(None) }
}

fn known_parts(venue: &Venue) -> (bool, usize) {
    let parts = [&venue.name, &venue.address, &venue.city, &venue.region, &venue.postal_code, &venue.country];
    (venue.name.is_some(), parts.iter().filter(|part| part.is_some()).count())
}

fn known_prices(pricing: &Pricing) -> usize {
    [pricing.min.is_some(), pricing.max.is_some(), pricing.currency.is_some(), pricing.free.is_some()]
        .iter()
        .filter(|known| **known)
        .count()
}

/// Where a listing belongs that is not alone under its own id, or that decisions name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Assignment {
    pub(super) identity: Identity,
    pub(super) similarity: Ratio,
    pub(super) via: Option<ListingId>,
    pub(super) contributions: Contributions,
    pub(super) decisions: Vec<Shared<DecisionReport>>,
}

impl Assignment {
    /// The only listing of an event, which no decision names.
    pub(super) fn alone(identity: Identity) -> Self {
        Self { identity, similarity: Ratio::ONE, via: None, contributions: Contributions::new(), decisions: Vec::new() }
    }
}

/// A listing that joins (1) or leaves (-1) an event that it did not found alone.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Joining {
    part: Part,
    diff: i8,
}

/// A listing of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Part {
    live: Shared<LiveListing>,
    assignment: Arc<Assignment>,
}

impl Part {
    /// Its link; `parts` are all the listings of the event.
    fn link(&self, parts: &[Self]) -> Linked {
        let assignment = &self.assignment;
        if **assignment == Assignment::alone(assignment.identity) {
            return Linked::Single { live: self.live.clone(), identity: assignment.identity };
        }
        let via = assignment.via.and_then(|via| parts.iter().find(|part| part.live.id == via));
        let link = Link {
            similarity: assignment.similarity,
            via: via.map(|part| Via {
                source: part.live.listing.source.clone(),
                external_id: part.live.listing.external_id.clone(),
                listing: part.live.id,
            }),
            contributions: assignment.contributions.to_vec(),
            decisions: assignment.decisions.clone(),
            ..Link::single(&self.live, assignment.identity)
        };
        Linked::Other(Shared::new(link))
    }
}

/// Changes of events and links of one epoch.
#[derive(Debug, Default)]
struct Outputs {
    events: Vec<((EventId, Composed), isize)>,
    links: Vec<((ListingId, Linked), isize)>,
    joining: Vec<Joining>,
}

/// All live listings of one worker, and where those belong that are not plain.
#[derive(Debug, Default)]
struct Places {
    places: foldhash::HashMap<ListingId, Place>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Place {
    live: Option<Shared<LiveListing>>,
    assignment: Option<Arc<Assignment>>,
}

/// Where a listing belongs from now on; `None` for a plain one.
pub(super) type Assigned = (ListingId, Option<Arc<Assignment>>);

impl Places {
    fn apply(&mut self, listings: Vec<(Shared<LiveListing>, isize)>, assigned: Vec<Assigned>, out: &mut Outputs) {
        let mut assigned: foldhash::HashMap<ListingId, Option<Arc<Assignment>>> = assigned.into_iter().collect();
        self.places.reserve(listings.len());
        for (listing, live) in net_changes(listings) {
            let assignment = assigned.remove(&listing);
            self.change(listing, Some(live), assignment, out);
        }
        for (listing, assignment) in assigned {
            self.change(listing, None, Some(assignment), out);
        }
    }

    fn change(
        &mut self,
        listing: ListingId,
        live: Option<Option<Shared<LiveListing>>>,
        assignment: Option<Option<Arc<Assignment>>>,
        out: &mut Outputs,
    ) {
        let place = self.places.entry(listing).or_default();
        let before = place.clone();
        if let Some(live) = live {
            place.live = live;
        }
        if let Some(assignment) = assignment {
            place.assignment = assignment;
        }
        if *place != before {
            before.put(-1, out);
            place.put(1, out);
        }
        if *place == Place::default() {
            self.places.remove(&listing);
        }
    }
}

impl Place {
    fn put(&self, diff: i8, out: &mut Outputs) {
        let Some(live) = &self.live else { return };
        if let Some(assignment) = &self.assignment {
            let part = Part { live: live.clone(), assignment: assignment.clone() };
            out.joining.push(Joining { part, diff });
            return;
        }
        let identity = Identity { born: live.first_seen, event: own_id(live.id) };
        let event = Composed::single(identity.event, identity.born, live);
        out.events.push(((identity.event, event), isize::from(diff)));
        out.links.push(((live.id, Linked::Single { live: live.clone(), identity }), isize::from(diff)));
    }
}

/// The events of one worker that have more than one listing, or an id that is not their listing's.
#[derive(Debug)]
struct Merged {
    events: foldhash::HashMap<EventId, Vec<Part>>,
    config: Arc<ResolveConfig>,
}

impl Merged {
    fn apply(&mut self, mut joining: Vec<Joining>, out: &mut Outputs) {
        // All that leaves before all that joins: a changed listing does both.
        joining.sort_by_key(|change| (change.part.assignment.identity.event, change.diff));
        for changes in joining.chunk_by(|a, b| a.part.assignment.identity.event == b.part.assignment.identity.event) {
            let Some(first) = changes.first() else { continue };
            self.change(first.part.assignment.identity.event, changes, out);
        }
    }

    fn change(&mut self, event: EventId, changes: &[Joining], out: &mut Outputs) {
        let before = self.events.remove(&event).unwrap_or_default();
        let mut after = before.clone();
        for Joining { part, diff } in changes {
            if *diff < 0 {
                after.retain(|known| known.live.id != part.live.id);
            } else {
                after.push(part.clone());
            }
        }
        after.sort_by(|a, b| name_of(a).cmp(&name_of(b)));
        let (old, new) = (self.event(&before), self.event(&after));
        if old != new {
            out.events.extend(old.map(|old| ((event, old), -1)));
            out.events.extend(new.map(|new| ((event, new), 1)));
        }
        let links = |parts: &[Part]| -> BTreeMap<ListingId, Linked> {
            parts.iter().map(|part| (part.live.id, part.link(parts))).collect()
        };
        let (old, new) = (links(&before), links(&after));
        let differ = |a: &BTreeMap<ListingId, Linked>, listing: &ListingId, link: &Linked| a.get(listing) != Some(link);
        for (listing, link) in old.iter().filter(|(listing, link)| differ(&new, listing, link)) {
            out.links.push(((*listing, link.clone()), -1));
        }
        for (listing, link) in new.into_iter().filter(|(listing, link)| differ(&old, listing, link)) {
            out.links.push(((listing, link), 1));
        }
        if !after.is_empty() {
            self.events.insert(event, after);
        }
    }

    fn event(&self, parts: &[Part]) -> Option<Composed> {
        if let [Part { live, assignment }] = parts
            && assignment.similarity == Ratio::ONE
        {
            let Identity { event, born } = assignment.identity;
            return Some(Composed::single(event, born, live));
        }
        let members: Vec<(&LiveListing, Ratio)> =
            parts.iter().map(|part| (&*part.live, part.assignment.similarity)).collect();
        merge(parts.first()?.assignment.identity, &members, &self.config).map(Composed::from)
    }
}

fn name_of(part: &Part) -> (&str, &str) {
    (&part.live.listing.source, &part.live.listing.external_id)
}

/// Events and links.
pub(super) type EventsAndLinks<'s> =
    (VecCollection<'s, Epoch, (EventId, Composed)>, VecCollection<'s, Epoch, (ListingId, Linked)>);

#[derive(Default)]
struct PlacesInput {
    listings: Vec<(Shared<LiveListing>, isize)>,
    assigned: Vec<Assigned>,
}

/// Wires [`merge`]: listings and where they belong, to events and links. Plain listings become
/// events where they are; the others meet on the worker of their event.
pub(super) fn merged<'s>(
    listings: VecCollection<'s, Epoch, Shared<LiveListing>>,
    assigned: Stream<'s, Epoch, Vec<Assigned>>,
    config: &Arc<ResolveConfig>,
) -> EventsAndLinks<'s> {
    let mut builder = OperatorBuilder::new("ResolvePlaces".to_owned(), listings.inner.scope());
    let mut listings = builder.new_input(listings.inner, by_listing());
    let mut assigned = builder.new_input(assigned, Exchange::new(|(listing, _): &Assigned| listing.0 as u64));
    let (events_out, events) = builder.new_output();
    let (links_out, links) = builder.new_output();
    let (joining_out, joining) = builder.new_output();
    let (mut events_out, mut links_out) = (Sender::from(events_out), Sender::from(links_out));
    let mut joining_out = Sender::from(joining_out);
    let held = Held::new("resolve-places");
    builder.build(move |_| {
        let mut places = Places::default();
        let mut pending = Pending::<PlacesInput>::new(3);
        move |frontiers| {
            listings.for_each(|capability, data| {
                for (live, epoch, diff) in data.drain(..) {
                    pending.at(&capability, epoch).listings.push((live, diff));
                }
            });
            assigned.for_each(|capability, data| pending.now(&capability).assigned.append(data));
            while let Some(complete) = pending.complete(frontiers) {
                let mut out = Outputs::default();
                places.apply(complete.input.listings, complete.input.assigned, &mut out);
                held.set(places.places.len());
                events_out.send_updates(&complete.capabilities, 0, out.events);
                links_out.send_updates(&complete.capabilities, 1, out.links);
                joining_out.send(&complete.capabilities, 2, out.joining);
            }
        }
    });
    let (more_events, more_links) = joined(joining, config);
    (events.as_collection().concat(more_events), links.as_collection().concat(more_links))
}

fn joined<'s>(joining: Stream<'s, Epoch, Vec<Joining>>, config: &Arc<ResolveConfig>) -> EventsAndLinks<'s> {
    let by_event = Exchange::new(|change: &Joining| change.part.assignment.identity.event.0 as u64);
    let mut builder = OperatorBuilder::new("ResolveMerge".to_owned(), joining.scope());
    let mut input = builder.new_input(joining, by_event);
    let (events_out, events) = builder.new_output();
    let (links_out, links) = builder.new_output();
    let (mut events_out, mut links_out) = (Sender::from(events_out), Sender::from(links_out));
    let mut merged = Merged { events: foldhash::HashMap::default(), config: Arc::clone(config) };
    let held = Held::new("resolve-merged-events");
    builder.build(move |_| {
        let mut pending = Pending::<Vec<Joining>>::new(2);
        move |frontiers| {
            input.for_each(|capability, data| pending.now(&capability).append(data));
            while let Some(complete) = pending.complete(frontiers) {
                let mut out = Outputs::default();
                merged.apply(complete.input, &mut out);
                held.set(merged.events.len());
                events_out.send_updates(&complete.capabilities, 0, out.events);
                links_out.send_updates(&complete.capabilities, 1, out.links);
            }
        }
    });
    (events.as_collection(), links.as_collection())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::{Geo, GeoPrecision, GeoProvenance, Point, Status};

    fn live(source: &str, updated_at: i64, change: impl FnOnce(&mut Listing)) -> LiveListing {
        let mut listing = Listing::new(source, "1", "Title", "2026-03-28T19:30:00Z".parse().unwrap());
        change(&mut listing);
        LiveListing::new(listing, 5, updated_at)
    }

    fn merged(lives: &[LiveListing], config: &ResolveConfig) -> Event {
        let mut members: Vec<_> = lives.iter().map(|live| (live, Ratio::ONE)).collect();
        members.sort_by_key(|(live, _)| (live.listing.source.clone(), live.listing.external_id.clone()));
        merge(Identity { born: 1, event: EventId(7) }, &members, config).unwrap()
    }

    #[test]
    fn a_single_listing_is_taken_as_it_is() {
        let only = live("a", 9, |listing| listing.capacity = Some(3));
        let event = merged(std::slice::from_ref(&only), &ResolveConfig::default());
        assert_eq!((event.first_seen, event.updated_at, event.capacity), (1, 9, Some(3)));
        assert!(event.field_sources.is_empty());
        assert_eq!(event.listings, [Member::of(&only, Ratio::ONE)]);
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
        let event = merged(&[a.clone(), b.clone()], &ResolveConfig::default());
        assert_eq!((event.title.as_str(), event.status), ("From b", Status::Cancelled));
        assert_eq!(event.description.as_deref(), Some("a longer description"));
        assert_eq!(event.field_sources.get(EventField::Title), Some(1));
        assert_eq!(event.field_sources.get(EventField::Description), Some(0));
        assert_eq!(event.field_sources.get(EventField::Pricing), None);
        let config = ResolveConfig { trust: [("b".to_owned(), 0.9)].into(), ..ResolveConfig::default() };
        assert_eq!(merged(&[a, b], &config).description.as_deref(), Some("short"));
    }

    #[test]
    fn a_time_of_day_beats_a_day_and_ends_after_it() {
        let day = live("a", 9, |listing| {
            listing.start = "2026-03-28".parse().unwrap();
            listing.end = Some("2026-03-28".parse().unwrap());
        });
        let early = live("b", 8, |listing| listing.end = Some("2026-03-28T12:00:00Z".parse().unwrap()));
        let timed = live("c", 1, |listing| listing.end = Some("2026-03-28T21:00:00Z".parse().unwrap()));
        let event = merged(&[day, early, timed], &ResolveConfig::default());
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
        let event = merged(&[named, located], &ResolveConfig::default());
        assert_eq!(event.venue.name.as_deref(), Some("Sudwerk"));
        assert_eq!(event.venue.geo.map(|geo| geo.point), Some(point));
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
        let event = merged(&[a, b], &ResolveConfig::default());
        let tags: Vec<&str> = event.tags.iter().map(|tag| &**tag).collect();
        assert_eq!(tags, ["a", "x", "z"]);
        assert_eq!(*event.urls, ["https://both", "https://a"]);
    }

    #[test]
    fn links_read_and_write() {
        let live = live("a", 1, |_| ());
        let mut link = Link::single(&live, Identity { born: 0, event: EventId(1) });
        link.via = Some(Via { source: "b".into(), external_id: "3".into(), listing: ListingId(2) });
        let json = serde_json::to_value(&link).unwrap();
        assert_eq!(json["via"]["externalId"], "3");
        assert_eq!(serde_json::from_value::<Link>(json).unwrap(), link);
    }
}
