//! Sessions: which listings of two sources pair off where a source has several of one thing on a day.
//!
//! Two entries of a source that do not match each other are two *sessions*. Of the matches between a
//! listing and the sessions of another source, only those with the nearest one count, and only where both
//! say so of each other. Of several at one time, the one that is most alike counts. (One that is nearer but
//! less alike, such as a show of that name at another venue, stands in nobody's way.) So the sessions of
//! two sources pair off one to one and in their order; whoever has no counterpart stays alone. Where one
//! lies halfway between two, pairs count first in which the listing begins first whose source has the
//! smaller hash, for all sessions alike. A listing without a time of day belongs to none of several
//! sessions. Acts that the listing bills, and that the other source lists one by one, are no sessions
//! (`acts`).
//!
//! What is nearest follows from the matches of a component alone, whatever the order of arrival.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use foldhash::HashMap;

use super::acts::bills;
use super::compare::are_at_one_place;
use super::component::Component;
use super::fingerprint::Fingerprint;
use super::span::Span;
use crate::listing::Ratio;

/// How near the starts of two listings are, from the nearest: minutes, and which way round.
type Nearness = (u32, bool);

/// For each match of a component, whether it joins a session with another one than its counterpart.
pub(super) fn crossed(component: &Component) -> Vec<bool> {
    let scores: HashMap<(usize, usize), Ratio> =
        component.edges.iter().map(|edge| ((edge.a, edge.b), edge.score)).collect();
    let score = |a: usize, b: usize| scores.get(&(a.min(b), a.max(b))).copied();
    let mut of_source: BTreeMap<(usize, u64), Vec<usize>> = BTreeMap::new();
    for edge in &component.edges {
        for (from, to) in [(edge.a, edge.b), (edge.b, edge.a)] {
            let Some(node) = component.nodes.get(to) else { continue };
            of_source.entry((from, node.source)).or_default().push(to);
        }
    }
    let is_crossed = |from: usize, to: usize| {
        let source = component.nodes.get(to)?.source;
        let others = of_source.get(&(from, source)).filter(|others| others.len() > 1)?;
        let rank = |node: usize| Some((nearness(component, from, node)?, Reverse(score(from, node))));
        let own = rank(to);
        let before = |other: usize| match own {
            Some(own) => rank(other).is_some_and(|rank| rank < own),
            None => have_other_times(component, to, other),
        };
        let on_one_bill = |other: usize| {
            let nodes = component.nodes.get(from).zip(component.nodes.get(to)).zip(component.nodes.get(other));
            nodes.is_some_and(|((bill, a), b)| are_acts_of(bill, a, b))
        };
        let counts = |other: &&usize| {
            let another = **other != to && score(to, **other).is_none();
            another && score(from, **other) >= score(from, to) && !on_one_bill(**other)
        };
        Some(others.iter().filter(counts).any(|other| before(*other)))
    };
    let either = |a, b| is_crossed(a, b).unwrap_or(false) || is_crossed(b, a).unwrap_or(false);
    component.edges.iter().map(|edge| either(edge.a, edge.b)).collect()
}

/// Whether `bill` names two entries of one source that begin at one time of its day at its place.
pub(super) fn are_acts_of(bill: &Fingerprint, a: &Fingerprint, b: &Fingerprint) -> bool {
    let one_day = bill.span.first_day == a.span.first_day;
    one_day && are_side_by_side(a, b) && bills(bill, a) && bills(bill, b) && are_at_one_place(bill, a)
}

/// Whether two entries of one source begin at one time at one place.
fn are_side_by_side(a: &Fingerprint, b: &Fingerprint) -> bool {
    let timed = a.span.start_min.is_some() && a.span.starts_with(&b.span);
    let placed = !a.venue().is_empty() || !a.address().is_empty();
    a.source == b.source
        && timed
        && placed
        && a.venue() == b.venue()
        && a.rooms == b.rooms
        && a.address() == b.address()
}

/// Whether both have a time of day, and not the same.
fn have_other_times(component: &Component, a: usize, b: usize) -> bool {
    let start = |node: usize| component.nodes.get(node).and_then(|node| node.span.start_min);
    start(a).zip(start(b)).is_some_and(|(a, b)| a != b)
}

/// `None` within one source, and where one has no time of day.
fn nearness(component: &Component, a: usize, b: usize) -> Option<Nearness> {
    let (a, b) = (component.nodes.get(a)?, component.nodes.get(b)?);
    let (first, then) = if a.source < b.source { (a, b) } else { (b, a) };
    if first.source == then.source {
        return None;
    }
    // That the two match says that their clocks may be trusted.
    let apart = first.span.apart(&then.span, || true)?;
    Some((apart, !begins_first(&first.span, &then.span)))
}

fn begins_first(a: &Span, b: &Span) -> bool {
    match (a.offset_min == b.offset_min, a.start_min.zip(b.start_min), a.clock().zip(b.clock())) {
        (true, Some((a, b)), _) | (false, _, Some((a, b))) => a <= b,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::super::{Batch, ResolveConfig};
    use crate::ids::ListingId;
    use crate::listing::{Listing, LiveListing};
    use crate::moment::Moment;

    const NOON_MS: i64 = 1_796_040_000_000;

    /// A show of `source` that begins so many minutes after noon.
    fn show(source: &str, minute: i64) -> LiveListing {
        let start = Moment::Instant { ms: NOON_MS + minute * 60_000, offset_min: 60 };
        let mut listing = Listing::new(source, &minute.to_string(), "Shadow Theatre of the Marsh Owls", start);
        listing.venue.name = Some("Lantern Cellar".into());
        LiveListing::new(&listing, minute, 0)
    }

    fn clusters(shows: &[LiveListing]) -> BTreeSet<BTreeSet<ListingId>> {
        let batch = Batch::resolve(shows, &[], &ResolveConfig::default());
        batch.clusters.iter().map(|cluster| cluster.iter().map(|member| member.node.listing).collect()).collect()
    }

    #[test]
    fn of_what_begins_at_one_time_the_same_titles_pair_off() {
        let offer = |source: &str, id: i64, title: &str| {
            let start = Moment::Instant { ms: NOON_MS, offset_min: 60 };
            let mut listing = Listing::new(source, &id.to_string(), title, start);
            listing.venue.name = Some("Heron Orchard".into());
            listing.urls.push("https://orchard.example.org/visits".into());
            LiveListing::new(&listing, id, 0)
        };
        let (walk, more) = ("Lantern Walk in the Orchard", "Picnic Supper and Lantern Walk in the Orchard");
        let of = |source: &str| [offer(source, 1, walk), offer(source, 2, more)];
        let offers = [of("town"), of("guide")].concat();
        let of_title = |at: usize| offers.iter().skip(at).step_by(2).map(|offer| offer.id).collect::<BTreeSet<_>>();
        assert_eq!(clusters(&offers), BTreeSet::from([of_title(0), of_title(1)]));
    }

    fn starts(most: usize) -> impl Strategy<Value = BTreeSet<i64>> {
        prop::collection::btree_set((0..40i64).prop_map(|slot| slot * 5), 0..most)
    }

    /// The definition at the top, word by word: minutes of the first source and of the second.
    fn pairs(first: &BTreeSet<i64>, second: &BTreeSet<i64>, gap: i64) -> BTreeSet<(i64, i64)> {
        let near = |a: i64, b: i64| (a - b).abs() <= gap;
        let rank = |a: i64, b: i64| ((a - b).abs(), a > b);
        let mut pairs = BTreeSet::new();
        for &a in first {
            for &b in second.iter().filter(|b| near(a, **b)) {
                let nearest_of_second =
                    second.iter().filter(|other| near(a, **other)).all(|o| rank(a, b) <= rank(a, *o));
                let nearest_of_first = first.iter().filter(|other| near(**other, b)).all(|o| rank(a, b) <= rank(*o, b));
                if nearest_of_second && nearest_of_first {
                    pairs.insert((a, b));
                }
            }
        }
        pairs
    }

    proptest! {
        #[test]
        fn sessions_of_two_sources_pair_off_one_to_one(a in starts(9), b in starts(9)) {
            let shows: Vec<LiveListing> =
                a.iter().map(|minute| show("mill", *minute)).chain(b.iter().map(|minute| show("quay", *minute))).collect();
            let config = ResolveConfig::default();
            let hash = |source: &str| xxhash_rust::xxh3::xxh3_64(source.as_bytes());
            let mill_is_first = hash("mill") < hash("quay");
            let gap = i64::from(config.session_gap_minutes);
            let pairs = if mill_is_first { pairs(&a, &b, gap) } else { pairs(&b, &a, gap) };
            let (one, two) = if mill_is_first { ("mill", "quay") } else { ("quay", "mill") };
            let expected: BTreeSet<BTreeSet<ListingId>> =
                pairs.into_iter().map(|(x, y)| [show(one, x).id, show(two, y).id].into()).collect();
            prop_assert_eq!(clusters(&shows), expected);
        }

        #[test]
        fn no_event_holds_two_sessions_of_a_source(a in starts(6), b in starts(6), c in starts(6)) {
            let of = |source: &'static str, starts: &BTreeSet<i64>| -> Vec<LiveListing> {
                starts.iter().map(|minute| show(source, *minute)).collect()
            };
            let sources = [of("mill", &a), of("quay", &b), of("barn", &c)];
            let all: Vec<LiveListing> = sources.iter().flatten().cloned().collect();
            for cluster in clusters(&all) {
                for source in &sources {
                    prop_assert!(source.iter().filter(|show| cluster.contains(&show.id)).count() <= 1);
                }
            }
            let mut turned = all;
            turned.reverse();
            prop_assert_eq!(clusters(&turned), clusters(&sources.concat()));
        }
    }

    #[test]
    fn a_show_at_another_venue_is_no_nearer_session() {
        let at = |source: &str, minute, venue: &str| {
            let mut listing = Listing::from(&show(source, minute).view());
            listing.venue.name = Some(venue.into());
            LiveListing::new(&listing, minute, 0)
        };
        let (here, there) = (at("quay", 30, "Lantern Cellar"), at("quay", 0, "Barn of Saltmarsh"));
        let shows = [show("mill", 0), here.clone(), there];
        assert_eq!(clusters(&shows), [[shows[0].id, here.id].into()].into());
    }

    #[test]
    fn hourly_shows_pair_off_in_order() {
        let shows: Vec<LiveListing> =
            (0..4).flat_map(|hour| [show("mill", hour * 60), show("quay", hour * 60 + 30)]).collect();
        assert!((3..=4).contains(&clusters(&shows).len()), "{:?}", clusters(&shows));
    }

    #[test]
    fn a_listing_without_a_time_is_none_of_several_sessions() {
        let mut day = Listing::new("quay", "day", "Shadow Theatre of the Marsh Owls", "2026-11-30".parse().unwrap());
        day.venue.name = Some("Lantern Cellar".into());
        let day = LiveListing::new(&day, 0, 0);
        assert_eq!(show("mill", 0).view().start.local_date().to_string(), "2026-11-30");
        assert_eq!(clusters(&[show("mill", 0), day.clone()]).len(), 1);
        assert_eq!(clusters(&[show("mill", 0), show("mill", 90), day]).len(), 0);
    }
}
