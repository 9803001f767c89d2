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
    assert!(seen.registry.carried.is_empty() && seen.registry.events.is_empty() && seen.registry.aliases.is_empty());
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
