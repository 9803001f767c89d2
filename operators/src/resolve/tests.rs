//! The dataflow against an oracle that starts from scratch, on every epoch of random histories.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use differential_dataflow::input::InputSession;
use proptest::prelude::*;
use timely::dataflow::operators::Input;

use super::cluster::{Component, Edge, refine};
use super::identity::Identity;
use super::*;
use crate::listing::{Geo, GeoPrecision, GeoProvenance, Listing, Point, Ratio};

/// One thing that happens.
#[derive(Debug, Clone)]
enum Step {
    /// Listing `slot` now says this.
    Say {
        slot: usize,
        variant: Variant,
    },
    Withdraw {
        slot: usize,
    },
    /// A decision on two listings: same, different, or none any more.
    Decide {
        a: usize,
        b: usize,
        same: Option<bool>,
    },
}

/// Few values of everything, near to each other, so that much almost matches.
#[derive(Debug, Clone)]
struct Variant {
    title: usize,
    start: usize,
    hours: Option<i64>,
    venue: usize,
    url: Option<usize>,
    text: usize,
}

const TITLES: [&str; 10] = [
    "Harvest Jazz Festival",
    "Jazz Harvest Festival Davis",
    "Harvest Jazz",
    "Jazz Festival",
    "Harvest Moon Jazz Picnic Festival",
    "Moon Picnic",
    "Trivia Night",
    "Harvest Jazz Festival 2026",
    "Harvest Jazz Festival 2025",
    "Moon Picnic Harvest",
];
const STARTS: [&str; 9] = [
    "2026-05-01T18:00:00Z",
    "2026-05-01T18:20:00Z",
    "2026-05-01T18:45:00Z",
    "2026-05-01T19:10:00Z",
    "2026-05-01T23:50:00Z",
    "2026-05-02T00:05:00Z",
    "2026-05-01",
    "2026-05-02",
    "2026-05-01T11:00:00-07:00",
];
const SLOTS: usize = 11;
const SOURCES: [&str; 3] = ["a", "b", "c"];

fn name(slot: usize) -> ListingName {
    ListingName::new(SOURCES[slot % SOURCES.len()], &slot.to_string())
}

fn live(slot: usize, variant: &Variant, first_seen: i64, updated_at: i64) -> Shared<LiveListing> {
    let ListingName { source, external_id } = name(slot);
    let mut listing =
        Listing::new(&source, &external_id, TITLES[variant.title], STARTS[variant.start].parse().unwrap());
    listing.end = variant.hours.and_then(|hours| match listing.start {
        crate::Moment::Instant { ms, offset_min } => {
            Some(crate::Moment::Instant { ms: ms + hours * 3_600_000, offset_min })
        }
        crate::Moment::Day(day) => Some(crate::Moment::Day(day.tomorrow().unwrap())),
    });
    let geo = |lat, lon, precision| {
        let point = Point::from_degrees(lat, lon).unwrap();
        Some(Geo { point, precision, provenance: GeoProvenance::Source })
    };
    let venue = &mut listing.venue;
    match variant.venue {
        0 => venue.name = Some("Sudwerk".to_owned()),
        1 => (venue.name, venue.city) = (Some("Sudwerk Brewery".to_owned()), Some("Davis".to_owned())),
        2 => (venue.name, venue.city) = (Some("Odd Fellows Hall".to_owned()), Some("Davis".to_owned())),
        3 => venue.city = Some("Napa".to_owned()),
        4 => venue.geo = geo(38.5500, -121.7000, GeoPrecision::Venue),
        5 => venue.geo = geo(38.5503, -121.7099, GeoPrecision::Venue),
        6 => venue.geo = geo(38.5500, -121.7000, GeoPrecision::City),
        _ => {}
    }
    listing.urls.extend(variant.url.map(|page| format!("https://example.org/{page}")));
    listing.description = Some("x".repeat(variant.text));
    Shared::new(LiveListing { id: listing.id(), first_seen, updated_at, listing })
}

fn variant() -> impl Strategy<Value = Variant> {
    let url = prop::option::weighted(0.3, 0..2usize);
    let hours = prop::option::weighted(0.4, 1..4i64);
    (0..TITLES.len(), 0..STARTS.len(), hours, 0..8usize, url, 0..4usize)
        .prop_map(|(title, start, hours, venue, url, text)| Variant { title, start, hours, venue, url, text })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..SLOTS, variant()).prop_map(|(slot, variant)| Step::Say { slot, variant }),
        4 => (0..SLOTS).prop_map(|slot| Step::Withdraw { slot }),
        1 => (0..SLOTS, 0..SLOTS, prop::option::of(any::<bool>())).prop_map(|(a, b, same)| Step::Decide { a, b, same }),
    ]
}

fn history() -> impl Strategy<Value = Vec<Vec<Step>>> {
    prop::collection::vec(prop::collection::vec(step(), 0..12), 1..10)
}

fn config() -> impl Strategy<Value = ResolveConfig> {
    let caps = (prop_oneof![Just(2), Just(3), Just(100)], prop_oneof![Just(2), Just(4), Just(200)]);
    (caps, prop_oneof![Just(0.7), Just(0.85)], any::<bool>()).prop_map(
        |((block_cap, component_cap), threshold, strict)| ResolveConfig {
            block_cap,
            component_cap,
            threshold,
            duplicate_free: strict.then(|| "a".to_owned()).into_iter().collect(),
            trust: [("b".to_owned(), 0.9)].into(),
            ..ResolveConfig::default()
        },
    )
}

/// What is true after some steps.
#[derive(Debug, Clone, Default)]
struct World {
    listings: BTreeMap<usize, Shared<LiveListing>>,
    decisions: BTreeMap<(usize, usize), Decision>,
}

impl World {
    fn take(&mut self, step: &Step, now: i64) {
        match step {
            Step::Say { slot, variant } => {
                let first_seen = self.listings.get(slot).map_or(now, |known| known.first_seen);
                self.listings.insert(*slot, live(*slot, variant, first_seen, now));
            }
            Step::Withdraw { slot } => {
                self.listings.remove(slot);
            }
            Step::Decide { a, b, same } => {
                let pair = (*a.min(b), *a.max(b));
                let ruling = Ruling { a: name(*a), b: name(*b), who: "kim".into(), why: None, at: now };
                match same {
                    Some(true) => self.decisions.insert(pair, Decision::Same(ruling)),
                    Some(false) => self.decisions.insert(pair, Decision::Different(ruling)),
                    None => self.decisions.remove(&pair),
                };
            }
        }
    }
}

/// The state of the world after each epoch; epoch 0 is empty.
fn worlds(history: &[Vec<Step>]) -> Vec<World> {
    let mut worlds = vec![World::default()];
    for (epoch, steps) in history.iter().enumerate() {
        let mut world = worlds[epoch].clone();
        for (i, step) in steps.iter().enumerate() {
            world.take(step, (epoch * 100 + i) as i64);
        }
        worlds.push(world);
    }
    worlds
}

type Updates<D> = Vec<(D, Epoch, isize)>;

#[derive(Debug, Default, Clone)]
struct Captured {
    events: Updates<(EventId, Shared<Event>)>,
    links: Updates<(ListingId, Shared<Link>)>,
    redirects: Updates<(EventId, EventId)>,
    stats: Updates<Stat>,
}

/// Runs the dataflow from world to world, one epoch each.
fn run(config: &ResolveConfig, worlds: &[World], memory: &[Remembered], workers: usize) -> Captured {
    let captured = Arc::new(Mutex::new(Captured::default()));
    let shared = (Arc::new(config.clone()), worlds.to_vec(), memory.to_vec(), Arc::clone(&captured));
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        let (config, worlds, memory, captured) = &shared;
        let mut listings = InputSession::new();
        let mut decisions = InputSession::new();
        let probe = timely::dataflow::ProbeHandle::new();
        let mut history = worker.dataflow::<Epoch, _, _>(|scope| {
            let (history, remembered) = scope.new_input::<Vec<Remembered>>();
            let decided = decisions.to_collection(scope);
            let resolved = listings.to_collection(scope).resolve(config, decided, remembered);
            macro_rules! capture {
                ($name:ident) => {
                    let captured = Arc::clone(captured);
                    let push = move |update: &(_, _, _)| captured.lock().unwrap().$name.push(update.clone());
                    resolved.$name.inspect(push).probe_with(&probe);
                };
            }
            capture!(events);
            capture!(links);
            capture!(redirects);
            capture!(stats);
            history
        });
        if worker.index() == 0 {
            memory.iter().for_each(|remembered| history.send(*remembered));
        }
        let (peers, index) = (worker.peers(), worker.index());
        let mine = |slot: usize| slot % peers == index;
        for (epoch, pair) in worlds.windows(2).enumerate() {
            let (before, after) = (&pair[0], &pair[1]);
            for (world, diff) in [(after, 1), (before, -1)] {
                for (_, live) in world.listings.iter().filter(|(slot, _)| mine(**slot)) {
                    listings.update(live.clone(), diff);
                }
                for (_, decision) in world.decisions.iter().filter(|((a, _), _)| mine(a + 1)) {
                    decisions.update(decision.clone(), diff);
                }
            }
            let next = epoch as Epoch + 1;
            listings.advance_to(next);
            decisions.advance_to(next);
            history.advance_to(next);
            listings.flush();
            decisions.flush();
            // Some epochs are worked off alone, some together with the next.
            if epoch % 3 != 0 {
                worker.step_while(|| probe.less_than(&next));
            }
        }
    })
    .unwrap();
    guards.join().into_iter().for_each(|result| result.unwrap());
    let captured = captured.lock().unwrap();
    captured.clone()
}

/// A collection as it is after an epoch; multiplicities have to be 1.
fn at<D: Ord + Clone + std::fmt::Debug>(updates: &Updates<D>, epoch: Epoch) -> BTreeSet<D> {
    let counted = counts(updates, epoch);
    assert!(counted.values().all(|count| *count == 1), "multiplicities in epoch {epoch}: {counted:?}");
    counted.into_keys().collect()
}

fn counts<D: Ord + Clone>(updates: &Updates<D>, epoch: Epoch) -> BTreeMap<D, isize> {
    let mut counts = BTreeMap::new();
    for (data, _, diff) in updates.iter().filter(|(_, time, _)| *time <= epoch) {
        *counts.entry(data.clone()).or_default() += diff;
    }
    counts.retain(|_, count| *count != 0);
    counts
}

/// A listing with what holds it in its cluster.
type Held = (ListingId, Ratio, Option<ListingId>);

/// The clusters of a world and what went over a limit, computed from scratch.
fn oracle(world: &World, config: &ResolveConfig) -> (BTreeSet<BTreeSet<Held>>, BTreeMap<Stat, isize>) {
    let mut nodes: Vec<Shared<Fingerprint>> =
        world.listings.values().map(|live| Shared::new(Fingerprint::of(live, config))).collect();
    nodes.sort_by_key(|node| node.listing);
    let mut stats = blocks_over_cap(&nodes, config);
    let comparer = Comparer::new(config);
    let verdict = |a: &Fingerprint, b: &Fingerprint| {
        world.decisions.values().find(|d| d.pair() == Some((a.listing, b.listing))).map(Decision::verdict)
    };
    let (mut edges, mut same, mut different) = (Vec::new(), Vec::new(), Vec::new());
    let mut linked = Vec::new();
    for a in 0..nodes.len() {
        for b in a + 1..nodes.len() {
            let (x, y) = (&nodes[a], &nodes[b]);
            let score = comparer.matches(x, y).filter(|_| is_candidate(x, y, &nodes, config));
            let verdict = verdict(x, y);
            if score.is_some() || verdict.is_some_and(|verdict| verdict.same) {
                linked.push((a, b));
            }
            match verdict {
                Some(Verdict { same: true, at }) => same.push((at, a, b)),
                Some(_) => different.push((a, b)),
                None => {}
            }
            if let (Some(score), true) = (score, verdict.is_none_or(|verdict| verdict.same)) {
                edges.push(Edge { a, b, score });
            }
        }
    }
    let mut clusters = BTreeSet::new();
    for members in components(nodes.len(), &linked) {
        let local = |node: &usize| members.iter().position(|member| member == node);
        let pair = |a: &usize, b: &usize| Some((local(a)?, local(b)?));
        let component = Component {
            nodes: members.iter().map(|node| nodes[*node].clone()).collect(),
            edges: edges.iter().filter_map(|e| pair(&e.a, &e.b).map(|(a, b)| Edge { a, b, score: e.score })).collect(),
            same: same.iter().filter_map(|(at, a, b)| pair(a, b).map(|(a, b)| (*at, a, b))).collect(),
            different: different.iter().filter_map(|(a, b)| pair(a, b)).collect(),
        };
        let refined = refine(&component, &comparer, config);
        refined.stat.into_iter().for_each(|stat| *stats.entry(stat).or_default() += 1);
        for cluster in refined.clusters {
            clusters.insert(cluster.iter().map(|m| (m.node.listing, m.similarity, m.via)).collect());
        }
    }
    (clusters, stats)
}

fn components(size: usize, linked: &[(usize, usize)]) -> Vec<Vec<usize>> {
    let mut label: Vec<usize> = (0..size).collect();
    for _ in 0..size {
        for (a, b) in linked {
            let least = label[*a].min(label[*b]);
            (label[*a], label[*b]) = (least, least);
        }
    }
    let mut components: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    label.into_iter().enumerate().for_each(|(node, label)| components.entry(label).or_default().push(node));
    components.into_values().collect()
}

fn words_of(fingerprint: &Fingerprint) -> BTreeSet<u32> {
    fingerprint.title.iter().map(|token| token.hash()).collect()
}

/// The definition at the top of `block`, word by word.
fn is_candidate(a: &Fingerprint, b: &Fingerprint, all: &[Shared<Fingerprint>], config: &ResolveConfig) -> bool {
    let keys = |f: &Fingerprint| f.keys.iter().copied().collect::<BTreeSet<u64>>();
    let Some(key) = keys(a).intersection(&keys(b)).min().copied() else { return false };
    let block: Vec<_> = all.iter().filter(|f| keys(f).contains(&key)).collect();
    if block.len() <= config.block_cap {
        return true;
    }
    let Some(word) = words_of(a).intersection(&words_of(b)).min().copied() else { return false };
    let part: Vec<_> = block.into_iter().filter(|f| words_of(f).contains(&word)).collect();
    if part.len() <= config.block_cap {
        return true;
    }
    let which = block::moment_and_place(a);
    let here = part.iter().filter(|f| block::moment_and_place(f) == which).count();
    block::moment_and_place(b) == which && here <= config.block_cap
}

fn blocks_over_cap(all: &[Shared<Fingerprint>], config: &ResolveConfig) -> BTreeMap<Stat, isize> {
    let mut sizes: BTreeMap<(u64, Option<u32>, Option<u64>), usize> = BTreeMap::new();
    for fingerprint in all {
        for key in fingerprint.keys.iter().copied() {
            *sizes.entry((key, None, None)).or_default() += 1;
            for word in words_of(fingerprint) {
                *sizes.entry((key, Some(word), None)).or_default() += 1;
                *sizes.entry((key, Some(word), Some(block::moment_and_place(fingerprint)))).or_default() += 1;
            }
        }
    }
    let mut stats = BTreeMap::new();
    for ((_, word, moment), _) in sizes.into_iter().filter(|(_, size)| *size > config.block_cap) {
        let stat = match (word, moment) {
            (None, _) => Stat::SplitBlock,
            (_, None) => Stat::SplitPart,
            _ => Stat::SkippedPart,
        };
        *stats.entry(stat).or_default() += 1;
    }
    stats
}

fn check(captured: &Captured, world: &World, epoch: Epoch, config: &ResolveConfig) {
    let links = at(&captured.links, epoch);
    let lives: BTreeMap<ListingId, &Shared<LiveListing>> =
        world.listings.values().map(|live| (live.id, live)).collect();
    assert_eq!(links.iter().map(|(id, _)| *id).collect::<Vec<_>>(), lives.keys().copied().collect::<Vec<_>>());
    let mut clusters: BTreeMap<EventId, BTreeSet<Held>> = BTreeMap::new();
    for (listing, link) in &links {
        assert_eq!((link.listing, &*link.source), (*listing, &*lives[listing].listing.source));
        let via = link.via.as_ref().map(|via| via.listing);
        clusters.entry(link.event_id).or_default().insert((*listing, link.similarity, via));
    }
    let (expected, stats) = oracle(world, config);
    assert_eq!(clusters.values().cloned().collect::<BTreeSet<_>>(), expected, "clusters in epoch {epoch}");
    assert_eq!(clusters.len(), expected.len(), "an id is used twice in epoch {epoch}");
    assert_eq!(counts(&captured.stats, epoch), stats, "statistics in epoch {epoch}");

    let events = at(&captured.events, epoch);
    assert_eq!(events.len(), clusters.len(), "events in epoch {epoch}");
    for (id, event) in &events {
        let born: BTreeSet<i64> =
            links.iter().filter(|(_, l)| l.event_id == *id).map(|(_, l)| l.event_first_seen).collect();
        assert_eq!(born.len(), 1);
        let mut members: Vec<(&LiveListing, Ratio)> =
            clusters[id].iter().map(|(listing, similarity, _)| (&**lives[listing], *similarity)).collect();
        members.sort_by_key(|(live, _)| (live.listing.source.clone(), live.listing.external_id.clone()));
        let identity = Identity { born: *born.first().unwrap(), event: *id };
        assert_eq!(Some((**event).clone()), merge::merge(identity, &members, config));
    }
    let ids: BTreeSet<EventId> = clusters.into_keys().collect();
    let retired: BTreeSet<EventId> = at(&captured.redirects, epoch)
        .into_iter()
        .inspect(|(retired, survivor)| {
            assert!(ids.contains(survivor) && !ids.contains(retired), "redirect {retired} to {survivor}");
        })
        .map(|(retired, _)| retired)
        .collect();
    assert_eq!(retired.len(), at(&captured.redirects, epoch).len(), "an id redirects to two");
}

fn memory(captured: &Captured, epoch: Epoch) -> Vec<Remembered> {
    let links = at(&captured.links, epoch).into_iter().map(|(listing, link)| Remembered::Link {
        listing,
        event: link.event_id,
        born: link.event_first_seen,
    });
    let redirects = at(&captured.redirects, epoch).into_iter();
    links.chain(redirects.map(|(retired, survivor)| Remembered::Redirect { retired, survivor })).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, ..ProptestConfig::default() })]

    #[test]
    fn every_epoch_is_what_a_batch_computation_gives(history in history(), config in config(), workers in 1..4usize) {
        let worlds = worlds(&history);
        let captured = run(&config, &worlds, &[], workers);
        for (epoch, world) in worlds.iter().skip(1).enumerate() {
            check(&captured, world, epoch as Epoch, &config);
        }
    }

    #[test]
    fn a_restart_changes_nothing(history in history(), config in config(), at_epoch in 0..10usize, workers in 1..4usize) {
        let worlds = worlds(&history);
        let captured = run(&config, &worlds, &[], 2);
        let stop = 1 + at_epoch % (worlds.len() - 1);
        let memory = memory(&captured, stop as Epoch - 1);
        let rest: Vec<World> = std::iter::once(World::default()).chain(worlds[stop..].iter().cloned()).collect();
        let again = run(&config, &rest, &memory, workers);
        for epoch in stop..worlds.len() {
            let (whole, part) = (epoch as Epoch - 1, (epoch - stop) as Epoch);
            prop_assert_eq!(at(&again.links, part), at(&captured.links, whole));
            prop_assert_eq!(at(&again.redirects, part), at(&captured.redirects, whole));
            prop_assert_eq!(at(&again.events, part), at(&captured.events, whole));
        }
    }

    /// Identities after a change of configuration: still unique, and the rest as from scratch.
    #[test]
    fn a_restart_with_other_settings_heals(history in history(), before in config(), after in config()) {
        let worlds = worlds(&history);
        let captured = run(&before, &worlds, &[], 1);
        let last = worlds.len() - 1;
        let memory = memory(&captured, last as Epoch - 1);
        let again = run(&after, &[World::default(), worlds[last].clone()], &memory, 2);
        check(&again, &worlds[last], 0, &after);
    }
}
