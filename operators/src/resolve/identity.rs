//! Identity: which event id a cluster carries. The one part of `resolve` that depends on history.
//!
//! - A cluster takes the oldest id that its members carry and that is its to take, else one
//!   derived from its first-seen listing.
//! - A listing that takes the place of one that goes (of the same source, saying the same: a new id
//!   for the same entry) carries what that one carried.
//! - Where the members of an event part, the part with most of them keeps its id; ties go to the
//!   part with the member first seen.
//! - An id is never used by two events at once. A listing whose own id is in use by others (they
//!   kept it when it left) founds an event under a derived one.
//! - An id that a live event gives up redirects to the event that its members went to, for as long
//!   as that event has listings. An id that comes into use again is no redirect any more.
//!
//! A listing that is alone under its own id, and has always been, is not stored here at all. Such
//! *plain* listings are the great majority.

use foldhash::{HashMap, HashSet};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::ids::{EventId, ListingId, digest};

/// The id of an event founded by `listing`: the same 128 bits of digest, with the halves swapped
/// so that the two are not taken for each other. Distinct listings have distinct ids of their own.
pub fn own_id(listing: ListingId) -> EventId {
    EventId(listing.0.rotate_left(64))
}

/// The `n`th id, from 1, for an event founded by `listing` when its own id is in use.
fn derived_id(listing: ListingId, n: u64) -> EventId {
    EventId(digest(&[b"event", &listing.0.to_be_bytes(), &n.to_be_bytes()]))
}

/// What a former run knew, as restored from the topics `links` and `redirects`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Remembered {
    /// A listing carried an event's id.
    Link {
        /// The listing.
        listing: ListingId,
        /// The id it carried.
        event: EventId,
        /// When that event was first seen, in ms since the Unix epoch.
        born: i64,
    },
    /// An id had been given up for another one.
    Redirect {
        /// The id given up.
        retired: EventId,
        /// The id to follow.
        survivor: EventId,
    },
}

/// An event's id with its age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// When the event was first seen, in ms since the Unix epoch. First, so that the oldest is the
    /// least.
    pub born: i64,
    /// Its id.
    pub event: EventId,
}

/// A listing in a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Carrier {
    /// When the listing was first seen. First, so that the first seen is the least.
    pub first_seen: i64,
    /// The listing.
    pub listing: ListingId,
}

impl Carrier {
    /// Its identity when it is alone and always has been.
    pub fn own(self) -> Identity {
        Identity { born: self.first_seen, event: own_id(self.listing) }
    }
}

/// What happened in one epoch.
#[derive(Debug, Clone, Default)]
pub struct ClusterChanges {
    /// Listings that were not live before and are now.
    pub arrived: Vec<Carrier>,
    /// Listings that were live before and are not now.
    pub gone: Vec<ListingId>,
    /// Arrived listings that take the place of gone ones.
    pub successors: Vec<(ListingId, Carrier)>,
    /// The new clusters of all live listings whose cluster may have changed. All live members of a
    /// former cluster are in here if one of them is.
    pub clusters: Vec<Vec<Carrier>>,
}

/// What follows from [`ClusterChanges`].
#[derive(Debug, Default, PartialEq, Eq)]
pub struct IdentityChanges {
    /// The identity of each of the given clusters, in their order, followed by those of
    /// `singles`.
    pub identities: Vec<Identity>,
    /// Listings beyond the given clusters whose identity had to be looked at, each alone.
    pub singles: Vec<Carrier>,
    /// Gone listings that were not plain.
    pub forgotten: Vec<ListingId>,
    /// Redirects, (retired, survivor), that come (1) and go (-1).
    pub redirects: Vec<(EventId, EventId, isize)>,
}

#[derive(Debug)]
struct Holding {
    born: i64,
    holders: SmallVec<[ListingId; 2]>,
}

/// Who carries which id, for all listings that are not plain.
#[derive(Debug, Default)]
pub struct IdentityRegistry {
    carried: HashMap<ListingId, EventId>,
    events: HashMap<EventId, Holding>,
    redirects: HashMap<EventId, EventId>,
    /// The redirects backwards.
    aliases: HashMap<EventId, SmallVec<[EventId; 1]>>,
    memory: Memory,
}

/// What was remembered and has not been claimed yet.
#[derive(Debug, Default)]
struct Memory {
    links: HashMap<ListingId, Identity>,
    /// Ids remembered by a listing that is not the one they derive from.
    shared: HashSet<EventId>,
    redirects: Vec<(EventId, EventId)>,
}

/// One vote of a cluster's member for the id it carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Vote {
    event: EventId,
    cluster: usize,
    carrier: Carrier,
    born: i64,
}

impl IdentityRegistry {
    /// Takes in what a former run knew. All of it has to come before, or in, the first epoch with
    /// listings, and that epoch has to bring all the listings: what no listing has claimed by
    /// then is dropped.
    pub fn remember(&mut self, remembered: Remembered) {
        match remembered {
            Remembered::Link { listing, event, born } => {
                if event != own_id(listing) {
                    self.memory.shared.insert(event);
                }
                self.memory.links.insert(listing, Identity { born, event });
            }
            Remembered::Redirect { retired, survivor } => self.memory.redirects.push((retired, survivor)),
        }
    }

    /// Number of listings whose id is kept: all that are not plain.
    pub fn len(&self) -> usize {
        self.carried.len()
    }

    /// Whether every listing is plain.
    pub fn is_empty(&self) -> bool {
        self.carried.is_empty()
    }

    /// Number of retired ids.
    pub fn redirects(&self) -> usize {
        self.redirects.len()
    }

    /// The event that a live listing is in.
    pub fn event_of(&self, listing: ListingId) -> EventId {
        self.carried.get(&listing).copied().unwrap_or_else(|| own_id(listing))
    }

    /// What a live listing carries.
    fn identity_of(&self, carrier: Carrier) -> Identity {
        let carried = self.carried.get(&carrier.listing);
        let held = carried.and_then(|event| Some(Identity { born: self.events.get(event)?.born, event: *event }));
        held.unwrap_or_else(|| carrier.own())
    }

    /// Whether `listing`, alone, is to be called by its own id without asking further.
    fn is_plain(&self, carrier: Carrier) -> bool {
        let own = carrier.own();
        self.memory.links.get(&carrier.listing).is_none_or(|link| *link == own)
            && !self.memory.shared.contains(&own.event)
            && !self.events.contains_key(&own.event)
            && !self.redirects.contains_key(&own.event)
    }

    /// Takes the changes of one epoch into account.
    pub fn apply(&mut self, changes: &ClusterChanges) -> IdentityChanges {
        let mut redirects = RedirectLog::default();
        if !changes.arrived.is_empty() {
            for (retired, survivor) in std::mem::take(&mut self.memory.redirects) {
                self.redirect(retired, Some(survivor), &mut redirects);
            }
        }
        let restored: Vec<EventId> = redirects.before.keys().copied().collect();

        let successors = changes.successors.iter();
        let inherited: HashMap<ListingId, Identity> =
            successors.map(|(listing, former)| (*listing, self.identity_of(*former))).collect();
        let (vacated, forgotten) = self.release(&changes.gone);
        let singles = self.singles(changes, &inherited);
        let alone: Vec<[Carrier; 1]> = singles.iter().map(|carrier| [*carrier]).collect();
        let clusters: Vec<&[Carrier]> =
            changes.clusters.iter().map(Vec::as_slice).chain(alone.iter().map(<[_; 1]>::as_slice)).collect();

        let votes = self.votes(&clusters, &changes.arrived, &inherited);
        let (identities, retired) = self.elect(&clusters, &votes);
        self.settle(&clusters, &identities);
        for identity in &identities {
            self.redirect(identity.event, None, &mut redirects);
        }
        for (event, survivor) in retired {
            self.retire(event, survivor, &mut redirects);
        }
        for event in vacated {
            let continued = self.events.contains_key(&event) || votes.binary_search_by_key(&event, |v| v.event).is_ok();
            if !continued {
                self.forget_aliases(event, &mut redirects);
            }
        }
        if !changes.arrived.is_empty() {
            self.drop_dangling(&restored, &changes.arrived, &mut redirects);
            self.memory = Memory::default();
        }
        IdentityChanges { identities, singles, forgotten, redirects: redirects.changes(&self.redirects) }
    }

    /// Lets go of the listings that left; returns the ids that they carried, and which of them
    /// were not plain.
    fn release(&mut self, gone: &[ListingId]) -> (Vec<EventId>, Vec<ListingId>) {
        let (mut vacated, mut forgotten) = (Vec::new(), Vec::new());
        for &listing in gone {
            if let Some(event) = self.let_go(listing) {
                forgotten.push(listing);
                vacated.push(event);
            } else if self.aliases.contains_key(&own_id(listing)) {
                vacated.push(own_id(listing));
            }
        }
        (vacated, forgotten)
    }

    fn let_go(&mut self, listing: ListingId) -> Option<EventId> {
        let event = self.carried.remove(&listing)?;
        if let Some(holding) = self.events.get_mut(&event) {
            holding.holders.retain(|holder| *holder != listing);
            if holding.holders.is_empty() {
                self.events.remove(&event);
            }
        }
        Some(event)
    }

    /// Arrived listings outside the given clusters that are not plain.
    fn singles(&self, changes: &ClusterChanges, inherited: &HashMap<ListingId, Identity>) -> Vec<Carrier> {
        let is_plain = |carrier: &Carrier| !inherited.contains_key(&carrier.listing) && self.is_plain(*carrier);
        let mut singles: Vec<Carrier> = changes.arrived.iter().copied().filter(|carrier| !is_plain(carrier)).collect();
        if !singles.is_empty() {
            let clustered: HashSet<ListingId> =
                changes.clusters.iter().flatten().map(|carrier| carrier.listing).collect();
            singles.retain(|carrier| !clustered.contains(&carrier.listing));
        }
        singles
    }

    /// Who carried what, sorted by event. Takes the carriers out of the registry.
    fn votes(
        &mut self,
        clusters: &[&[Carrier]],
        arrived: &[Carrier],
        inherited: &HashMap<ListingId, Identity>,
    ) -> Vec<Vote> {
        let arrived: HashSet<ListingId> = arrived.iter().map(|carrier| carrier.listing).collect();
        let mut votes = Vec::new();
        for (cluster, carriers) in clusters.iter().enumerate() {
            for &carrier in *carriers {
                let born = self.carried.get(&carrier.listing).and_then(|event| self.events.get(event)).map(|h| h.born);
                let former = match self.let_go(carrier.listing) {
                    Some(event) => Some(Identity { born: born.unwrap_or(carrier.first_seen), event }),
                    None if arrived.contains(&carrier.listing) => {
                        let remembered = self.memory.links.get(&carrier.listing);
                        remembered.or_else(|| inherited.get(&carrier.listing)).copied()
                    }
                    None => Some(carrier.own()),
                };
                votes.extend(former.map(|Identity { born, event }| Vote { event, cluster, carrier, born }));
            }
        }
        // An id that others still hold is theirs.
        votes.retain(|vote| !self.events.contains_key(&vote.event));
        votes.sort_unstable();
        votes
    }

    /// Gives each cluster an identity; also returns the ids given up, each with its survivor.
    fn elect(&self, clusters: &[&[Carrier]], votes: &[Vote]) -> (Vec<Identity>, Vec<(EventId, EventId)>) {
        let mut taken: Vec<Option<Identity>> = vec![None; clusters.len()];
        let mut keepers: Vec<(EventId, usize)> = Vec::new();
        for ballot in votes.chunk_by(|a, b| a.event == b.event) {
            let (Some(keeper), Some(born)) = (majority(ballot), ballot.iter().map(|vote| vote.born).min()) else {
                continue;
            };
            let Some(first) = ballot.first() else { continue };
            let kept = Identity { born, event: first.event };
            keepers.push((kept.event, keeper));
            if let Some(slot) = taken.get_mut(keeper) {
                *slot = Some(slot.map_or(kept, |older| older.min(kept)));
            }
        }
        let mut used: HashSet<EventId> = keepers.iter().map(|(event, _)| *event).collect();
        let identities: Vec<Identity> = taken
            .into_iter()
            .zip(clusters)
            .map(|(kept, carriers)| kept.unwrap_or_else(|| self.found(carriers, &mut used)))
            .collect();
        let retired = keepers
            .into_iter()
            .filter_map(|(event, keeper)| Some((event, identities.get(keeper)?.event)))
            .filter(|(event, survivor)| event != survivor)
            .collect();
        (identities, retired)
    }

    /// A new identity, from the listing first seen.
    fn found(&self, carriers: &[Carrier], used: &mut HashSet<EventId>) -> Identity {
        let founder =
            carriers.iter().min().copied().unwrap_or(Carrier { first_seen: 0, listing: ListingId::default() });
        let mut event = own_id(founder.listing);
        let mut n = 0;
        while self.events.contains_key(&event) || used.contains(&event) {
            n += 1;
            event = derived_id(founder.listing, n);
        }
        used.insert(event);
        Identity { born: founder.first_seen, event }
    }

    fn settle(&mut self, clusters: &[&[Carrier]], identities: &[Identity]) {
        for (carriers, identity) in clusters.iter().zip(identities) {
            if matches!(carriers, [only] if only.own() == *identity) {
                continue;
            }
            self.carried.extend(carriers.iter().map(|carrier| (carrier.listing, identity.event)));
            let holders = carriers.iter().map(|carrier| carrier.listing).collect();
            self.events.insert(identity.event, Holding { born: identity.born, holders });
        }
    }

    fn redirect(&mut self, retired: EventId, survivor: Option<EventId>, log: &mut RedirectLog) {
        let before = match survivor {
            Some(survivor) => self.redirects.insert(retired, survivor),
            None => self.redirects.remove(&retired),
        };
        if before == survivor {
            return;
        }
        log.before.entry(retired).or_insert(before);
        if let Some(before) = before {
            self.drop_alias(before, retired);
        }
        if let Some(survivor) = survivor {
            self.aliases.entry(survivor).or_default().push(retired);
        }
    }

    fn drop_alias(&mut self, survivor: EventId, retired: EventId) {
        if let Some(aliases) = self.aliases.get_mut(&survivor) {
            aliases.retain(|alias| *alias != retired);
            if aliases.is_empty() {
                self.aliases.remove(&survivor);
            }
        }
    }

    /// Redirects `event`, and all that redirected to it, to `survivor`.
    fn retire(&mut self, event: EventId, survivor: EventId, log: &mut RedirectLog) {
        for alias in self.aliases.get(&event).cloned().unwrap_or_default() {
            self.redirect(alias, Some(survivor), log);
        }
        self.redirect(event, Some(survivor), log);
    }

    fn forget_aliases(&mut self, event: EventId, log: &mut RedirectLog) {
        for alias in self.aliases.get(&event).cloned().unwrap_or_default() {
            self.redirect(alias, None, log);
        }
    }

    /// Drops restored redirects to events that no longer have a listing.
    fn drop_dangling(&mut self, restored: &[EventId], arrived: &[Carrier], log: &mut RedirectLog) {
        if restored.is_empty() {
            return;
        }
        let plain: HashSet<EventId> = arrived
            .iter()
            .filter(|carrier| !self.carried.contains_key(&carrier.listing))
            .map(|carrier| own_id(carrier.listing))
            .filter(|event| self.aliases.contains_key(event))
            .collect();
        for &retired in restored {
            let Some(survivor) = self.redirects.get(&retired).copied() else { continue };
            if !plain.contains(&survivor) && !self.events.contains_key(&survivor) {
                self.redirect(retired, None, log);
            }
        }
    }
}

/// What redirects were before the epoch, for those that were touched.
#[derive(Debug, Default)]
struct RedirectLog {
    before: HashMap<EventId, Option<EventId>>,
}

impl RedirectLog {
    fn changes(self, now: &HashMap<EventId, EventId>) -> Vec<(EventId, EventId, isize)> {
        let mut changes = Vec::new();
        for (retired, before) in self.before {
            let after = now.get(&retired).copied();
            if before != after {
                changes.extend(before.map(|survivor| (retired, survivor, -1)));
                changes.extend(after.map(|survivor| (retired, survivor, 1)));
            }
        }
        changes.sort_unstable();
        changes
    }
}

/// The cluster with most of the votes; ties go to the member first seen.
fn majority(ballot: &[Vote]) -> Option<usize> {
    ballot
        .chunk_by(|a, b| a.cluster == b.cluster)
        .filter_map(|votes| {
            let earliest = votes.iter().map(|vote| vote.carrier).min()?;
            Some((std::cmp::Reverse(votes.len()), earliest, votes.first()?.cluster))
        })
        .min()
        .map(|(_, _, cluster)| cluster)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    /// A registry with all that a user sees of it.
    #[derive(Debug, Default)]
    struct Observed {
        registry: IdentityRegistry,
        live: BTreeMap<u128, (Carrier, usize)>,
        ids: BTreeMap<u128, Identity>,
        redirects: BTreeMap<EventId, EventId>,
    }

    fn own(listing: u128) -> EventId {
        own_id(ListingId(listing))
    }

    impl Observed {
        /// Goes over to the given clusters; listings first seen now get `now`.
        fn step(&mut self, now: i64, clusters: &[&[u128]]) {
            let before = std::mem::take(&mut self.live);
            for (label, listing) in clusters.iter().enumerate().flat_map(|(i, c)| c.iter().map(move |l| (i, *l))) {
                let new = Carrier { first_seen: now, listing: ListingId(listing) };
                let carrier = before.get(&listing).map_or(new, |(carrier, _)| *carrier);
                self.live.insert(listing, (carrier, label));
            }
            let size = |live: &BTreeMap<u128, (Carrier, usize)>, listing: &u128| {
                live.get(listing).map_or(0, |(_, label)| live.values().filter(|(_, other)| other == label).count())
            };
            let touched = |listing: &u128| size(&before, listing) > 1 || size(&self.live, listing) > 1;
            let changes = ClusterChanges {
                arrived: self.live.iter().filter(|(l, _)| !before.contains_key(l)).map(|(_, (c, _))| *c).collect(),
                gone: before.keys().filter(|l| !self.live.contains_key(l)).map(|l| ListingId(*l)).collect(),
                successors: Vec::new(),
                clusters: clusters
                    .iter()
                    .filter(|cluster| cluster.iter().any(touched))
                    .map(|cluster| cluster.iter().map(|l| self.live[l].0).collect())
                    .collect(),
            };
            let outcome = self.registry.apply(&changes);
            self.take(&changes, &outcome);
        }

        fn take(&mut self, changes: &ClusterChanges, outcome: &IdentityChanges) {
            self.ids.retain(|listing, _| self.live.contains_key(listing));
            for carrier in &changes.arrived {
                self.ids.insert(carrier.listing.0, carrier.own());
            }
            let alone = outcome.singles.iter().map(std::slice::from_ref);
            let clusters = changes.clusters.iter().map(Vec::as_slice).chain(alone);
            for (carriers, identity) in clusters.zip(&outcome.identities) {
                self.ids.extend(carriers.iter().map(|carrier| (carrier.listing.0, *identity)));
            }
            let (came, went): (Vec<_>, Vec<_>) = outcome.redirects.iter().partition(|(_, _, diff)| *diff > 0);
            for (retired, survivor, _) in went {
                assert_eq!(self.redirects.remove(&retired), Some(survivor));
            }
            for (retired, survivor, _) in came {
                assert_eq!(self.redirects.insert(retired, survivor), None);
            }
        }

        fn id(&self, listing: u128) -> EventId {
            self.ids[&listing].event
        }

        /// The same after the end of the process, from what the topics hold.
        fn restarted(&self) -> Self {
            let mut fresh = Self::default();
            for (listing, Identity { born, event }) in &self.ids {
                fresh.registry.remember(Remembered::Link { listing: ListingId(*listing), event: *event, born: *born });
            }
            for (retired, survivor) in &self.redirects {
                fresh.registry.remember(Remembered::Redirect { retired: *retired, survivor: *survivor });
            }
            let mut clusters: BTreeMap<usize, Vec<Carrier>> = BTreeMap::new();
            for (carrier, label) in self.live.values() {
                clusters.entry(*label).or_default().push(*carrier);
            }
            fresh.live = self.live.clone();
            let changes = ClusterChanges {
                arrived: self.live.values().map(|(carrier, _)| *carrier).collect(),
                gone: Vec::new(),
                successors: Vec::new(),
                clusters: clusters.into_values().filter(|cluster| cluster.len() > 1).collect(),
            };
            let outcome = fresh.registry.apply(&changes);
            fresh.take(&changes, &outcome);
            fresh
        }

        fn check(&self) {
            let mut by_id: BTreeMap<EventId, BTreeSet<usize>> = BTreeMap::new();
            let mut by_label: BTreeMap<usize, BTreeSet<Identity>> = BTreeMap::new();
            for (listing, (_, label)) in &self.live {
                by_id.entry(self.id(*listing)).or_default().insert(*label);
                by_label.entry(*label).or_default().insert(self.ids[listing]);
            }
            assert!(by_id.values().all(|labels| labels.len() == 1), "an id is used twice: {self:?}");
            assert!(by_label.values().all(|ids| ids.len() == 1), "an event has two ids: {self:?}");
            for (retired, survivor) in &self.redirects {
                assert!(!by_id.contains_key(retired) && by_id.contains_key(survivor), "{self:?}");
            }
        }
    }

    #[test]
    fn the_first_seen_listing_founds_and_the_oldest_id_wins() {
        let mut seen = Observed::default();
        seen.step(1, &[&[5]]);
        seen.step(2, &[&[5], &[3]]);
        assert_eq!((seen.id(5), seen.id(3)), (own(5), own(3)));
        seen.step(3, &[&[5, 3]]);
        assert_eq!((seen.id(5), seen.id(3)), (own(5), own(5)));
        assert_eq!(seen.redirects, [(own(3), own(5))].into());
        seen.check();
    }

    #[test]
    fn listings_that_arrive_together_leave_no_redirect() {
        let mut seen = Observed::default();
        seen.step(1, &[&[5, 3]]);
        assert_eq!(seen.id(5), own(3));
        assert!(seen.redirects.is_empty());
    }

    #[test]
    fn the_greater_part_keeps_the_id() {
        let mut seen = Observed::default();
        seen.step(1, &[&[1, 2, 3]]);
        seen.step(2, &[&[1], &[2, 3]]);
        assert_eq!((seen.id(2), seen.id(3)), (own(1), own(1)));
        assert_ne!(seen.id(1), own(1), "the founder left and needs another id");
        seen.check();
        let founder = seen.id(1);
        seen.step(3, &[&[1]]);
        assert_eq!(seen.id(1), founder, "and keeps that when its own is free again");
    }

    #[test]
    fn ties_go_to_the_first_seen() {
        let mut seen = Observed::default();
        seen.step(1, &[&[9]]);
        seen.step(2, &[&[9, 1]]);
        seen.step(3, &[&[9], &[1]]);
        assert_eq!((seen.id(9), seen.id(1)), (own(9), own(1)));
    }

    #[test]
    fn an_event_outlives_its_founder_and_the_founder_returns_under_another_id() {
        let mut seen = Observed::default();
        seen.step(1, &[&[1, 2]]);
        seen.step(2, &[&[2]]);
        assert_eq!(seen.ids[&2], Identity { born: 1, event: own(1) });
        seen.step(3, &[&[2], &[1]]);
        assert_eq!(seen.id(2), own(1));
        assert_eq!(seen.id(1), derived_id(ListingId(1), 1));
        seen.check();
    }

    #[test]
    fn redirects_are_compressed_and_end_with_their_survivor() {
        let mut seen = Observed::default();
        seen.step(1, &[&[1]]);
        seen.step(2, &[&[1], &[2]]);
        seen.step(3, &[&[1], &[2], &[3]]);
        seen.step(4, &[&[1], &[2, 3]]);
        seen.step(5, &[&[1, 2, 3]]);
        assert_eq!(seen.redirects, [(own(2), own(1)), (own(3), own(1))].into());
        seen.step(6, &[&[1]]);
        assert_eq!(seen.redirects.len(), 2);
        seen.step(7, &[]);
        assert!(seen.redirects.is_empty());
        assert!(
            seen.registry.carried.is_empty() && seen.registry.events.is_empty() && seen.registry.aliases.is_empty()
        );
    }

    #[test]
    fn a_revived_id_is_no_redirect() {
        let mut seen = Observed::default();
        seen.step(1, &[&[1], &[2]]);
        seen.step(2, &[&[1, 2]]);
        assert_eq!(seen.redirects.len(), 1);
        seen.step(3, &[&[1]]);
        seen.step(4, &[&[1], &[2]]);
        assert_eq!(seen.id(2), own(2));
        assert!(seen.redirects.is_empty());
    }

    proptest! {
        #[test]
        fn ids_are_unique_stable_and_survive_restarts(
            labels in prop::collection::vec(prop::collection::vec(prop::option::weighted(0.75, 0..4usize), 8), 1..14),
            restart in prop::collection::vec(any::<bool>(), 14),
        ) {
            let mut seen = Observed::default();
            for (now, (labels, restart)) in labels.iter().zip(restart).enumerate() {
                let mut clusters: BTreeMap<usize, Vec<u128>> = BTreeMap::new();
                for (slot, label) in labels.iter().enumerate() {
                    if let Some(label) = label {
                        // Label 0 stands for being alone.
                        let cluster = if *label == 0 { 100 + slot } else { *label };
                        clusters.entry(cluster).or_default().push(slot as u128 + 1);
                    }
                }
                let before = (seen.live.clone(), seen.ids.clone());
                let clusters: Vec<&[u128]> = clusters.values().map(Vec::as_slice).collect();
                seen.step(now as i64, &clusters);
                seen.check();
                check_stability(&before.0, &before.1, &seen, &clusters);
                if restart {
                    let again = seen.restarted();
                    prop_assert_eq!(&again.ids, &seen.ids);
                    prop_assert_eq!(&again.redirects, &seen.redirects);
                    seen = again;
                }
            }
        }
    }

    /// A cluster whose members have only stayed, left or newly arrived keeps its id.
    fn check_stability(
        live: &BTreeMap<u128, (Carrier, usize)>,
        ids: &BTreeMap<u128, Identity>,
        now: &Observed,
        clusters: &[&[u128]],
    ) {
        for cluster in clusters {
            let former: BTreeSet<EventId> = cluster.iter().filter_map(|l| ids.get(l)).map(|i| i.event).collect();
            let [id] = former.into_iter().collect::<Vec<_>>()[..] else { continue };
            let staying = live.keys().filter(|l| ids[l].event == id && now.live.contains_key(l));
            if staying.clone().all(|listing| cluster.contains(listing)) {
                assert!(cluster.iter().all(|listing| now.id(*listing) == id), "{id} was not kept: {now:?}");
            }
        }
    }

    #[test]
    fn who_takes_the_place_of_another_carries_its_id() {
        let mut registry = IdentityRegistry::default();
        let carrier = |listing: u128, first_seen| Carrier { first_seen, listing: ListingId(listing) };
        let arrived = |carriers: &[Carrier]| ClusterChanges { arrived: carriers.to_vec(), ..ClusterChanges::default() };
        registry.apply(&arrived(&[carrier(1, 5), carrier(2, 6)]));
        let renamed = ClusterChanges {
            gone: vec![ListingId(1)],
            successors: vec![(ListingId(3), carrier(1, 5))],
            ..arrived(&[carrier(3, 9), carrier(4, 9)])
        };
        let outcome = registry.apply(&renamed);
        assert_eq!(outcome.singles, [carrier(3, 9)]);
        assert_eq!(outcome.identities, [Identity { born: 5, event: own(1) }]);
        assert_eq!((registry.event_of(ListingId(3)), registry.event_of(ListingId(4))), (own(1), own(4)));
        // What it took over goes on with whoever follows next.
        let again = ClusterChanges {
            gone: vec![ListingId(3)],
            successors: vec![(ListingId(5), carrier(3, 9))],
            ..arrived(&[carrier(5, 12)])
        };
        assert_eq!(registry.apply(&again).identities, [Identity { born: 5, event: own(1) }]);
    }

    #[test]
    fn an_id_that_others_still_hold_is_not_taken_over() {
        let mut registry = IdentityRegistry::default();
        let carrier = |listing: u128, first_seen| Carrier { first_seen, listing: ListingId(listing) };
        let pair = vec![carrier(1, 5), carrier(2, 6)];
        registry.apply(&ClusterChanges { arrived: pair.clone(), clusters: vec![pair], ..ClusterChanges::default() });
        let renamed = ClusterChanges {
            arrived: vec![carrier(3, 9)],
            gone: vec![ListingId(1)],
            successors: vec![(ListingId(3), carrier(1, 5))],
            ..ClusterChanges::default()
        };
        registry.apply(&renamed);
        assert_eq!((registry.event_of(ListingId(2)), registry.event_of(ListingId(3))), (own(1), own(3)));
    }
}
