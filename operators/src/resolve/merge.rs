//! Events and links: what comes of the listings of a cluster.
//!
//! How one event is made of several listings, field by field, is [`MergedEvent`]'s.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use differential_dataflow::{AsCollection, VecCollection};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::config::ResolveConfig;
use super::decision::{Decision, DecisionReport, Moderation, Subject};
use super::epochs::{Sender, by_listing, net_changes};
use super::identity::{Identity, own_id};
use super::moderations::{ModerationChanges, Moderations};
use super::points::{Contribution, Contributions};
use crate::Epoch;
use crate::event::{Composed, MergedEvent, MergedMember};
use crate::ids::{EventId, ListingId};
use crate::listing::{LiveListing, Ratio};
use crate::moment::rfc3339_ms;
use crate::shared::Shared;
use headwater_flow::epochs::CompleteEpochs;
use headwater_flow::meter::EntryMeter;

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
        let (source, external_id) = live.listing.name();
        Self {
            source: source.into(),
            external_id: external_id.into(),
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
    fn content(&self) -> Result<(ListingId, Identity), &Shared<Link>> {
        match self {
            Self::Single { live, identity } => Ok((live.id, *identity)),
            Self::Other(link) => Err(link),
        }
    }
}

impl PartialEq for Linked {
    fn eq(&self, other: &Self) -> bool {
        self.content() == other.content()
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
        self.content().cmp(&other.content())
    }
}

/// Merges the listings of an event, each with the similarity that holds it there, given in
/// ascending order of (source, external id). `None` without any.
pub fn merge(
    identity: Identity,
    members: impl IntoIterator<Item = (Shared<LiveListing>, Ratio)>,
    config: &ResolveConfig,
) -> Option<MergedEvent> {
    let members = members.into_iter().map(|(live, similarity)| {
        let trust = Ratio::new(config.trust_of(live.listing.name().0));
        MergedMember { live, similarity, trust }
    });
    MergedEvent::new(identity.event, identity.born, members.collect())
}

/// Where a listing belongs that is not alone under its own id, or that decisions name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Assignment {
    pub(super) identity: Identity,
    /// The event of several days that this one is a part of.
    pub(super) part_of: Option<EventId>,
    pub(super) similarity: Ratio,
    pub(super) via: Option<ListingId>,
    pub(super) contributions: Contributions,
    pub(super) decisions: Vec<Shared<DecisionReport>>,
}

impl Assignment {
    /// The only listing of an event, which no decision names.
    pub(super) fn alone(identity: Identity) -> Self {
        Self {
            identity,
            part_of: None,
            similarity: Ratio::ONE,
            via: None,
            contributions: Contributions::new(),
            decisions: Vec::new(),
        }
    }

    /// Whether it is the only listing of its event, and no decision names it.
    fn is_alone(&self) -> bool {
        self.similarity == Ratio::ONE
            && self.via.is_none()
            && self.contributions.is_empty()
            && self.decisions.is_empty()
    }
}

/// A listing that joins (1) or leaves (-1) an event that it did not found alone.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct GroupChange {
    part: GroupMember,
    diff: i8,
}

/// A listing of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct GroupMember {
    live: Shared<LiveListing>,
    assignment: Arc<Assignment>,
}

impl GroupMember {
    /// Its link; `parts` are all the listings of the event.
    fn link(&self, parts: &[Self]) -> Linked {
        let assignment = &self.assignment;
        if assignment.is_alone() {
            return Linked::Single { live: self.live.clone(), identity: assignment.identity };
        }
        let via = assignment.via.and_then(|via| parts.iter().find(|part| part.live.id == via));
        let link = Link {
            similarity: assignment.similarity,
            via: via.map(GroupMember::via),
            contributions: assignment.contributions.to_vec(),
            decisions: assignment.decisions.clone(),
            ..Link::single(&self.live, assignment.identity)
        };
        Linked::Other(Shared::new(link))
    }

    /// It, as the other end of an edge.
    fn via(&self) -> Via {
        let (source, external_id) = self.live.listing.name();
        Via { source: source.into(), external_id: external_id.into(), listing: self.live.id }
    }
}

/// Changes of events and links of one epoch.
#[derive(Debug, Default)]
struct Outputs {
    events: Vec<((EventId, Composed), isize)>,
    links: Vec<((ListingId, Linked), isize)>,
    joining: Vec<GroupChange>,
}

/// All live listings of one worker, where those belong that are not plain, and what editors said of some.
#[derive(Debug, Default)]
struct Assignments {
    listings: foldhash::HashMap<ListingId, AssignedListing>,
    moderations: Moderations,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct AssignedListing {
    live: Option<Shared<LiveListing>>,
    assignment: Option<Arc<Assignment>>,
}

/// Where a listing belongs from now on; `None` for a plain one.
pub(super) type Assigned = (ListingId, Option<Arc<Assignment>>);

impl Assignments {
    fn apply(&mut self, listings: Vec<(Shared<LiveListing>, isize)>, assigned: Vec<Assigned>, out: &mut Outputs) {
        let mut assigned: foldhash::HashMap<ListingId, Option<Arc<Assignment>>> = assigned.into_iter().collect();
        self.listings.reserve(listings.len());
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
        let place = self.listings.entry(listing).or_default();
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
            self.moderations.touch(listing);
        }
        if *place == AssignedListing::default() {
            self.listings.remove(&listing);
        }
    }

    /// Takes in what editors said, and gives what of it reaches events.
    fn moderate(&mut self, decisions: Vec<ModerationChange>) -> ModerationChanges {
        for ((listing, decision), diff) in decisions {
            self.moderations.decide(listing, decision, diff);
        }
        let listings = &self.listings;
        self.moderations.review(|listing| listings.get(&listing)?.event())
    }
}

impl AssignedListing {
    /// The event of a listing that is live.
    fn event(&self) -> Option<EventId> {
        let live = self.live.as_ref()?;
        Some(self.assignment.as_ref().map_or_else(|| own_id(live.id), |assignment| assignment.identity.event))
    }

    fn put(&self, diff: i8, out: &mut Outputs) {
        let Some(live) = &self.live else { return };
        if let Some(assignment) = &self.assignment {
            let part = GroupMember { live: live.clone(), assignment: assignment.clone() };
            out.joining.push(GroupChange { part, diff });
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
    events: foldhash::HashMap<EventId, Group>,
    config: Arc<ResolveConfig>,
}

/// The listings of an event, and the event as it was given out last: it may have been made of other
/// versions of them, as long as it says the same.
#[derive(Debug, Default)]
struct Group {
    parts: Vec<GroupMember>,
    given: Option<Composed>,
}

impl Merged {
    fn apply(&mut self, mut joining: Vec<GroupChange>, out: &mut Outputs) {
        // All that leaves before all that joins: a changed listing does both.
        joining.sort_by_key(|change| (change.part.assignment.identity.event, change.diff));
        for changes in joining.chunk_by(|a, b| a.part.assignment.identity.event == b.part.assignment.identity.event) {
            let Some(first) = changes.first() else { continue };
            self.change(first.part.assignment.identity.event, changes, out);
        }
    }

    fn change(&mut self, event: EventId, changes: &[GroupChange], out: &mut Outputs) {
        let Group { parts: before, given: old } = self.events.remove(&event).unwrap_or_default();
        let mut after = before.clone();
        for GroupChange { part, diff } in changes {
            if *diff < 0 {
                after.retain(|known| known.live.id != part.live.id);
            } else {
                after.push(part.clone());
            }
        }
        after.sort_by(|a, b| a.live.listing.name().cmp(&b.live.listing.name()));
        let new = self.event(&after);
        let unchanged = match (&old, &new) {
            (Some(Composed::Merged(old)), Some(Composed::Merged(new))) => {
                old == new || (old.may_say_as(new) && old.view() == new.view())
            }
            _ => old == new,
        };
        let given = if unchanged {
            old
        } else {
            out.events.extend(old.map(|old| ((event, old), -1)));
            out.events.extend(new.clone().map(|new| ((event, new), 1)));
            new
        };
        let links = |parts: &[GroupMember]| -> BTreeMap<ListingId, Linked> {
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
            self.events.insert(event, Group { parts: after, given });
        }
    }

    fn event(&self, parts: &[GroupMember]) -> Option<Composed> {
        if let [GroupMember { live, assignment }] = parts
            && assignment.similarity == Ratio::ONE
            && assignment.part_of.is_none()
        {
            let Identity { event, born } = assignment.identity;
            return Some(Composed::single(event, born, live));
        }
        let members = parts.iter().map(|part| (part.live.clone(), part.assignment.similarity));
        let first = &parts.first()?.assignment;
        let merged = merge(first.identity, members, &self.config)?.with_part_of(first.part_of);
        Some(Composed::Merged(Shared::new(merged)))
    }
}

/// Events and links.
type EventsAndLinks<'s> =
    (VecCollection<'s, Epoch, (EventId, Composed)>, VecCollection<'s, Epoch, (ListingId, Linked)>);

/// What comes of the listings of clusters.
pub(super) struct MergedStreams<'s> {
    pub(super) events: VecCollection<'s, Epoch, (EventId, Composed)>,
    pub(super) links: VecCollection<'s, Epoch, (ListingId, Linked)>,
    /// What editors say of events, once for each listing of which they said it.
    pub(super) moderated: VecCollection<'s, Epoch, (EventId, Moderation)>,
    /// What becomes of the decisions on single listings.
    pub(super) reports: VecCollection<'s, Epoch, (Subject, Shared<DecisionReport>)>,
}

/// A decision on a single listing that comes (1) or goes (-1).
type ModerationChange = ((ListingId, Shared<Decision>), isize);

#[derive(Default)]
struct AssignmentsInput {
    listings: Vec<(Shared<LiveListing>, isize)>,
    assigned: Vec<Assigned>,
    moderations: Vec<ModerationChange>,
}

/// Wires [`merge`]: listings and where they belong, to events and links. Plain listings become
/// events where they are; the others meet on the worker of their event. What editors said of a listing is
/// known to the worker that knows the listing.
pub(super) fn merged<'s>(
    listings: VecCollection<'s, Epoch, Shared<LiveListing>>,
    assigned: Stream<'s, Epoch, Vec<Assigned>>,
    decisions: VecCollection<'s, Epoch, Decision>,
    config: &Arc<ResolveConfig>,
) -> MergedStreams<'s> {
    let moderations = decisions.flat_map(|decision| match decision.subject()? {
        Subject::Listing(listing) => Some((listing, Shared::new(decision))),
        Subject::Pair(_) => None,
    });
    let of_listing = |((listing, _), _, _): &((ListingId, Shared<Decision>), Epoch, isize)| listing.route();
    let mut builder = OperatorBuilder::new("merge/Places".to_owned(), listings.inner.scope());
    let mut listings = builder.new_input(listings.inner, by_listing());
    let mut assigned = builder.new_input(assigned, Exchange::new(|(listing, _): &Assigned| listing.route()));
    let mut moderations = builder.new_input(moderations.inner, Exchange::new(of_listing));
    let (events_out, events) = builder.new_output();
    let (links_out, links) = builder.new_output();
    let (joining_out, joining) = builder.new_output();
    let (moderated_out, moderated) = builder.new_output();
    let (reports_out, reports) = builder.new_output();
    let (mut events_out, mut links_out) = (Sender::from(events_out), Sender::from(links_out));
    let mut joining_out = Sender::from(joining_out);
    let (mut moderated_out, mut reports_out) = (Sender::from(moderated_out), Sender::from(reports_out));
    let (held, held_moderations) = (EntryMeter::new("resolve-places"), EntryMeter::new("resolve-moderated-listings"));
    builder.build(move |_| {
        let mut assignments = Assignments::default();
        let mut epochs = CompleteEpochs::<AssignmentsInput>::new(5);
        move |frontiers| {
            listings.for_each(|capability, data| {
                for (live, epoch, diff) in data.drain(..) {
                    epochs.at(&capability, epoch).listings.push((live, diff));
                }
            });
            assigned.for_each(|capability, data| epochs.now(&capability).assigned.append(data));
            moderations.for_each(|capability, data| {
                for (said, epoch, diff) in data.drain(..) {
                    epochs.at(&capability, epoch).moderations.push((said, diff));
                }
            });
            while let Some(complete) = epochs.next(frontiers) {
                let mut out = Outputs::default();
                assignments.apply(complete.input.listings, complete.input.assigned, &mut out);
                let moderated = assignments.moderate(complete.input.moderations);
                held.set(assignments.listings.len());
                held_moderations.set(assignments.moderations.len());
                events_out.send_updates(&complete.capabilities, 0, out.events);
                links_out.send_updates(&complete.capabilities, 1, out.links);
                joining_out.send(&complete.capabilities, 2, out.joining);
                moderated_out.send_updates(&complete.capabilities, 3, moderated.moderated);
                reports_out.send_updates(&complete.capabilities, 4, moderated.reports);
            }
        }
    });
    let (more_events, more_links) = joined(joining, config);
    MergedStreams {
        events: events.as_collection().concat(more_events),
        links: links.as_collection().concat(more_links),
        moderated: moderated.as_collection(),
        reports: reports.as_collection(),
    }
}

fn joined<'s>(joining: Stream<'s, Epoch, Vec<GroupChange>>, config: &Arc<ResolveConfig>) -> EventsAndLinks<'s> {
    let by_event = Exchange::new(|change: &GroupChange| change.part.assignment.identity.event.route());
    let mut builder = OperatorBuilder::new("merge/Merge".to_owned(), joining.scope());
    let mut input = builder.new_input(joining, by_event);
    let (events_out, events) = builder.new_output();
    let (links_out, links) = builder.new_output();
    let (mut events_out, mut links_out) = (Sender::from(events_out), Sender::from(links_out));
    let mut merged = Merged { events: foldhash::HashMap::default(), config: Arc::clone(config) };
    let held = EntryMeter::new("resolve-merged-events");
    builder.build(move |_| {
        let mut epochs = CompleteEpochs::<Vec<GroupChange>>::new(2);
        move |frontiers| {
            input.for_each(|capability, data| epochs.now(&capability).append(data));
            while let Some(complete) = epochs.next(frontiers) {
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
    use crate::listing::Listing;

    fn live(source: &str, updated_at: i64, change: impl FnOnce(&mut Listing)) -> Shared<LiveListing> {
        let mut listing = Listing::new(source, "1", "Title", "2026-03-28T19:30:00Z".parse().unwrap());
        change(&mut listing);
        Shared::new(LiveListing::new(&listing, 5, updated_at))
    }

    fn joining(live: &Shared<LiveListing>, diff: i8) -> GroupChange {
        let identity = Identity { born: 5, event: EventId(7) };
        let assignment = Assignment { similarity: Ratio::new(0.9), ..Assignment::alone(identity) };
        GroupChange { part: GroupMember { live: live.clone(), assignment: Arc::new(assignment) }, diff }
    }

    #[test]
    fn what_is_taken_back_is_what_was_given_out() {
        let mut merged = Merged { events: foldhash::HashMap::default(), config: Arc::new(ResolveConfig::default()) };
        let mut events = |joining: Vec<GroupChange>| {
            let mut out = Outputs::default();
            merged.apply(joining, &mut out);
            out.events
        };
        let (a, b) = (live("a", 1, |_| ()), live("b", 2, |_| ()));
        let given = events(vec![joining(&a, 1), joining(&b, 1)]);
        assert_eq!(given.iter().map(|(_, diff)| *diff).collect::<Vec<_>>(), [1]);

        // Nothing of this is in the event.
        let silent = live("a", 1, |listing| listing.source_categories = ["x".into()].into());
        assert_eq!(events(vec![joining(&a, -1), joining(&silent, 1)]), []);

        let told = live("a", 1, |listing| listing.capacity = Some(3));
        let changes = events(vec![joining(&silent, -1), joining(&told, 1)]);
        assert_eq!((&changes[0].0, changes[0].1, changes[1].1), (&given[0].0, -1, 1));
        assert_eq!(changes[1].0.1.view().capacity, Some(3));

        let gone = events(vec![joining(&told, -1), joining(&b, -1)]);
        assert_eq!(gone, [(changes[1].0.clone(), -1)]);
    }

    #[test]
    fn sources_are_trusted_as_configured() {
        let members = || [live("a", 1, |_| ()), live("b", 2, |listing| listing.title = "Other".into())];
        let title = |config: &ResolveConfig| {
            let members = members().map(|live| (live, Ratio::ONE));
            let merged = merge(Identity { born: 5, event: EventId(7) }, members, config).unwrap();
            merged.view().title.to_owned()
        };
        assert_eq!(title(&ResolveConfig::default()), "Other");
        let config = ResolveConfig { trust: [("a".to_owned(), 0.9)].into(), ..ResolveConfig::default() };
        assert_eq!(title(&config), "Title");
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
