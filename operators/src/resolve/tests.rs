//! The dataflow against an oracle that starts from scratch, on every epoch of random histories.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use differential_dataflow::input::InputSession;
use proptest::prelude::*;
use timely::dataflow::operators::Input;

use super::cluster::refine;
use super::component::{Component, Edge};
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
    /// What a record of the decisions says from now on: same, different, or nothing any more.
    Decide {
        record: usize,
        a: usize,
        b: usize,
        same: Option<bool>,
        at: i64,
        by_id: bool,
    },
    /// What such a record says of one listing.
    Moderate {
        record: usize,
        slot: usize,
        moderation: Option<Moderation>,
        at: i64,
        by_id: bool,
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

const TITLES: [&str; 13] = [
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
    "Harvest Jazz / Moon Picnic",
    "Harvest Jazz, Moon Picnic & Trivia Night",
    "Harvest Jazz and Moon Picnic",
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

fn listing(slot: usize, by_id: bool) -> ListingRef {
    if by_id { ListingRef::Id(name(slot).id()) } else { name(slot).into() }
}

fn live(slot: usize, variant: &Variant, first_seen: i64, updated_at: i64) -> Shared<LiveListing> {
    let ListingName { source, external_id } = name(slot);
    let mut listing =
        Listing::new(&source, &external_id, TITLES[variant.title], STARTS[variant.start].parse().unwrap());
    listing.end = variant.hours.map(|hours| match listing.start {
        crate::Moment::Instant { ms, offset_min } => crate::Moment::Instant { ms: ms + hours * 3_600_000, offset_min },
        crate::Moment::Day(day) => crate::Moment::Day((0..hours).fold(day, |day, _| day.tomorrow().unwrap())),
    });
    let geo = |lat, lon, precision| {
        let point = Point::from_degrees(lat, lon).unwrap();
        Some(Geo { point, precision, provenance: GeoProvenance::Source })
    };
    let venue = &mut listing.venue;
    match variant.venue {
        0 => venue.name = Some("Sudwerk".into()),
        1 => (venue.name, venue.city) = (Some("Sudwerk Brewery".into()), Some("Davis".into())),
        2 => (venue.name, venue.city) = (Some("Odd Fellows Hall".into()), Some("Davis".into())),
        3 => venue.city = Some("Napa".into()),
        4 => venue.geo = geo(38.5500, -121.7000, GeoPrecision::Venue),
        5 => venue.geo = geo(38.5503, -121.7099, GeoPrecision::Venue),
        6 => venue.geo = geo(38.5500, -121.7000, GeoPrecision::City),
        _ => {}
    }
    listing.urls.extend(variant.url.map(|page| format!("https://example.org/{page}").into()));
    listing.description = Some("x".repeat(variant.text).into());
    Shared::new(LiveListing::new(&listing, first_seen, updated_at))
}

fn variant() -> impl Strategy<Value = Variant> {
    let url = prop::option::weighted(0.3, 0..2usize);
    let hours = prop::option::weighted(0.4, 1..4i64);
    (0..TITLES.len(), 0..STARTS.len(), hours, 0..8usize, url, 0..4usize)
        .prop_map(|(title, start, hours, venue, url, text)| Variant { title, start, hours, venue, url, text })
}

/// Steps among `slots` listings, `decisions` of 12 parts of which are decisions.
fn step(slots: usize, decisions: u32) -> impl Strategy<Value = Step> {
    let said = prop_oneof![3 => any::<bool>().prop_map(Some), 1 => Just(None)];
    let decided = (0..2 * slots, 0..slots, 0..slots, said, 0..4i64, any::<bool>());
    let moderation = prop::option::weighted(0.75, prop::sample::select(Moderation::ALL.to_vec()));
    let moderated = (0..2 * slots, 0..slots, moderation, 0..4i64, any::<bool>());
    prop_oneof![
        8 => (0..slots, variant()).prop_map(|(slot, variant)| Step::Say { slot, variant }),
        4 => (0..slots).prop_map(|slot| Step::Withdraw { slot }),
        decisions => decided.prop_map(|(record, a, b, same, at, by_id)| Step::Decide { record, a, b, same, at, by_id }),
        1 => moderated.prop_map(|(record, slot, moderation, at, by_id)| {
            Step::Moderate { record, slot, moderation, at, by_id }
        }),
    ]
}

/// Many listings and few decisions, or few listings and so many decisions that they contradict
/// each other.
fn history() -> impl Strategy<Value = Vec<Vec<Step>>> {
    prop_oneof![Just((SLOTS, 1)), Just((5, 18))].prop_flat_map(|(slots, decisions)| {
        prop::collection::vec(prop::collection::vec(step(slots, decisions), 0..12), 1..10)
    })
}

fn config() -> impl Strategy<Value = ResolveConfig> {
    let caps = (prop_oneof![Just(2), Just(3), Just(100)], prop_oneof![Just(2), Just(4), Just(200)]);
    (caps, prop_oneof![Just(0.3), Just(0.5), Just(0.9)], any::<bool>()).prop_map(
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
    /// By record: several may be on one pair or listing.
    decisions: BTreeMap<usize, Decision>,
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
            Step::Decide { record, a, b, same, at, by_id } => {
                let ruling =
                    Ruling { a: listing(*a, *by_id), b: listing(*b, *by_id), who: "kim".into(), why: None, at: *at };
                match same {
                    Some(true) => self.decisions.insert(*record, Decision::Same(ruling)),
                    Some(false) => self.decisions.insert(*record, Decision::Different(ruling)),
                    None => self.decisions.remove(record),
                };
            }
            Step::Moderate { record, slot, moderation, at, by_id } => {
                let said = |moderation: &Moderation| {
                    let listing = listing(*slot, *by_id);
                    Decision::Moderate(Moderated {
                        moderation: *moderation,
                        listing,
                        who: "kim".into(),
                        why: None,
                        at: *at,
                    })
                };
                match moderation.as_ref().map(said) {
                    Some(said) => self.decisions.insert(*record, said),
                    None => self.decisions.remove(record),
                };
            }
        }
    }

    /// The word that counts on each listing.
    fn moderations(&self) -> BTreeMap<ListingId, Decision> {
        let mut counting: BTreeMap<ListingId, Decision> = BTreeMap::new();
        for decision in self.decisions.values() {
            let Decision::Moderate(Moderated { moderation, listing, at, .. }) = decision else { continue };
            let rank = |other: &Decision| (other.at(), other.moderation(), other.clone());
            let this = (*at, Some(*moderation), decision.clone());
            if counting.get(&listing.id()).is_none_or(|other| rank(other) < this) {
                counting.insert(listing.id(), decision.clone());
            }
        }
        counting
    }

    /// What is to be told of each listing that is moderated.
    fn moderation_reports(&self) -> BTreeMap<ListingId, DecisionReport> {
        let report = |listing: ListingId, decision: Decision| {
            let is_live = self.listings.values().any(|live| live.id == listing);
            let named: Vec<ListingRef> = decision.listings().into_iter().cloned().collect();
            let (state, missing) = match is_live {
                true => (DecisionState::Holds, Vec::new()),
                false => (DecisionState::Waits, named),
            };
            DecisionReport { decision: Shared::new(decision), state, missing, overruled_by: Vec::new() }
        };
        self.moderations().into_iter().map(|(listing, decision)| (listing, report(listing, decision))).collect()
    }

    /// The decision that counts on each pair.
    fn counting(&self) -> BTreeMap<Pair, Decision> {
        let mut counting: BTreeMap<Pair, Decision> = BTreeMap::new();
        for decision in self.decisions.values() {
            let Some(pair) = decision.pair() else { continue };
            let rank = |decision: &Decision| (decision.at(), !decision.is_same(), decision.clone());
            if counting.get(&pair).is_none_or(|other| rank(other) < rank(decision)) {
                counting.insert(pair, decision.clone());
            }
        }
        counting
    }

    /// What is to be told of them, by the definition at the top of `rulings`.
    fn reports(&self) -> BTreeMap<Pair, DecisionReport> {
        let counting = self.counting();
        let live: BTreeSet<ListingId> = self.listings.values().map(|live| live.id).collect();
        let acting = |pair: &Pair| live.contains(&pair.0) && live.contains(&pair.1);
        let mut group: BTreeMap<ListingId, ListingId> = live.iter().map(|id| (*id, *id)).collect();
        let mut same: Vec<(std::cmp::Reverse<i64>, Pair)> = Vec::new();
        let mut overruled: BTreeMap<Pair, Vec<Shared<Decision>>> = BTreeMap::new();
        for (pair, decision) in counting.iter().filter(|(pair, decision)| decision.is_same() && acting(pair)) {
            same.push((std::cmp::Reverse(decision.at()), *pair));
        }
        same.sort();
        for (_, (a, b)) in same {
            let together: BTreeSet<ListingId> = [group[&a], group[&b]].into();
            let against = counting.iter().filter(|(pair, decision)| {
                let sides: Option<[ListingId; 2]> = acting(pair).then(|| [group[&pair.0], group[&pair.1]]);
                !decision.is_same() && sides.is_some_and(|sides| BTreeSet::from(sides) == together)
            });
            let against: Vec<Shared<Decision>> = against.map(|(_, decision)| Shared::new(decision.clone())).collect();
            if against.is_empty() {
                let (kept, gone) = (group[&a], group[&b]);
                group.values_mut().filter(|of| **of == gone).for_each(|of| *of = kept);
            } else {
                overruled.insert((a, b), against);
            }
        }
        let report = |pair: Pair, decision: Decision| {
            let named: Vec<ListingRef> = decision.listings().into_iter().cloned().collect();
            let overruled_by = overruled.get(&pair).cloned().unwrap_or_default();
            let state = match (acting(&pair), overruled_by.is_empty()) {
                (false, _) => DecisionState::Waits,
                (_, true) => DecisionState::Holds,
                _ => DecisionState::Overruled,
            };
            let missing = named.into_iter().filter(|listing| !live.contains(&listing.id())).collect();
            DecisionReport { decision: Shared::new(decision), state, missing, overruled_by }
        };
        counting.iter().map(|(pair, decision)| (*pair, report(*pair, decision.clone()))).collect()
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
    events: Updates<(EventId, Composed)>,
    links: Updates<(ListingId, Linked)>,
    redirects: Updates<(EventId, EventId)>,
    moderated: Updates<(EventId, Moderation)>,
    reports: Updates<(Subject, Shared<DecisionReport>)>,
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
            capture!(moderated);
            capture!(reports);
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
                for (_, decision) in world.decisions.iter().filter(|(record, _)| mine(**record)) {
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
    let reports = world.reports();
    let (mut edges, mut same, mut different) = (Vec::new(), Vec::new(), Vec::new());
    let mut linked = Vec::new();
    for a in 0..nodes.len() {
        for b in a + 1..nodes.len() {
            let (x, y) = (&nodes[a], &nodes[b]);
            let score = comparer.matches(x, y).filter(|_| is_candidate(x, y, &nodes, config));
            let report = reports.get(&(x.listing, y.listing));
            let decided_same = report.is_some_and(|report| report.decision.is_same());
            if score.is_some() || decided_same {
                linked.push((a, b));
            }
            match report {
                Some(report) if !decided_same => {
                    assert_eq!(report.state, DecisionState::Holds);
                    different.push((a, b));
                }
                Some(report) if report.state == DecisionState::Holds => same.push((a, b)),
                _ => {}
            }
            if let (Some(score), true) = (score, report.is_none() || decided_same) {
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
            same: same.iter().filter_map(|(a, b)| pair(a, b)).collect(),
            different: different.iter().filter_map(|(a, b)| pair(a, b)).collect(),
            overruled: Vec::new(),
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
    fingerprint.title().iter().map(|token| token.hash()).collect()
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
    let which = keys::moment_and_place(a);
    let here = part.iter().filter(|f| keys::moment_and_place(f) == which).count();
    keys::moment_and_place(b) == which && here <= config.block_cap
}

fn blocks_over_cap(all: &[Shared<Fingerprint>], config: &ResolveConfig) -> BTreeMap<Stat, isize> {
    let mut sizes: BTreeMap<(u64, Option<u32>, Option<u64>), usize> = BTreeMap::new();
    for fingerprint in all {
        for key in fingerprint.keys.iter().copied() {
            *sizes.entry((key, None, None)).or_default() += 1;
            for word in words_of(fingerprint) {
                *sizes.entry((key, Some(word), None)).or_default() += 1;
                *sizes.entry((key, Some(word), Some(keys::moment_and_place(fingerprint)))).or_default() += 1;
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
    let linked = at(&captured.links, epoch);
    let links: Vec<(ListingId, Link)> = linked.iter().map(|(id, linked)| (*id, linked.link().into_owned())).collect();
    let lives: BTreeMap<ListingId, &Shared<LiveListing>> =
        world.listings.values().map(|live| (live.id, live)).collect();
    assert_eq!(links.iter().map(|(id, _)| *id).collect::<Vec<_>>(), lives.keys().copied().collect::<Vec<_>>());
    for ((listing, linked), (_, link)) in linked.iter().zip(&links) {
        let identity = Identity { born: link.event_first_seen, event: link.event_id };
        let follows = *link == Link::single(lives[listing], identity);
        assert_eq!(matches!(linked, Linked::Single { .. }), follows, "two ways to say one thing");
    }
    let mut clusters: BTreeMap<EventId, BTreeSet<Held>> = BTreeMap::new();
    for (listing, link) in &links {
        assert_eq!((link.listing, &*link.source), (*listing, lives[listing].listing.name().0));
        let via = link.via.as_ref().map(|via| via.listing);
        clusters.entry(link.event_id).or_default().insert((*listing, link.similarity, via));
    }
    let reports = world.reports();
    let shared = |report: &DecisionReport| Shared::new(report.clone());
    let of_pairs = reports.iter().map(|(pair, report)| (Subject::Pair(*pair), shared(report)));
    let moderations = world.moderation_reports();
    let of_listings = moderations.iter().map(|(listing, report)| (Subject::Listing(*listing), shared(report)));
    let told: BTreeSet<_> = of_pairs.chain(of_listings).collect();
    assert_eq!(at(&captured.reports, epoch), told, "reports in epoch {epoch}");
    let mut moderated: BTreeMap<(EventId, Moderation), isize> = BTreeMap::new();
    for (listing, link) in &links {
        let word = moderations.get(listing).and_then(|report| report.decision.moderation());
        word.into_iter().for_each(|word| *moderated.entry((link.event_id, word)).or_default() += 1);
    }
    assert_eq!(counts(&captured.moderated, epoch), moderated, "moderations in epoch {epoch}");
    for (listing, link) in &links {
        let other = |pair: &Pair| if pair.0 == *listing { pair.1 } else { pair.0 };
        let mut named: Vec<_> = reports.iter().filter(|(pair, _)| [pair.0, pair.1].contains(listing)).collect();
        named.sort_by_key(|(pair, _)| other(pair));
        let expected: Vec<_> = named.into_iter().map(|(_, report)| shared(report)).collect();
        assert_eq!(link.decisions, expected, "decisions of {listing} in epoch {epoch}");
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
        let mut members: Vec<(Shared<LiveListing>, Ratio)> =
            clusters[id].iter().map(|(listing, similarity, _)| (lives[listing].clone(), *similarity)).collect();
        members.sort_by(|(a, _), (b, _)| a.listing.name().cmp(&b.listing.name()));
        let identity = Identity { born: *born.first().unwrap(), event: *id };
        let run = run_around(members.iter().map(|(live, _)| live.id), world, config, |run| {
            let link = links.iter().find(|(listing, _)| *listing == run).map(|(_, link)| link.event_id);
            link.filter(|event| event != id)
        });
        let merged = merge::merge(identity, members, config).unwrap().with_part_of(run);
        assert_eq!(event.view(), merged.view());
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

/// The event that holds the run around any of `members`: the one most alike, ties to the smallest id.
fn run_around(
    members: impl Iterator<Item = ListingId>,
    world: &World,
    config: &ResolveConfig,
    event_of: impl Fn(ListingId) -> Option<EventId>,
) -> Option<EventId> {
    let comparer = Comparer::new(config);
    let all: Vec<Shared<Fingerprint>> =
        world.listings.values().map(|live| Shared::new(Fingerprint::of(live, config))).collect();
    let mut best: Option<(Ratio, std::cmp::Reverse<ListingId>)> = None;
    for member in members {
        let Some(part) = all.iter().find(|node| node.listing == member) else { continue };
        for run in all.iter().filter(|node| node.listing != member && event_of(node.listing).is_some()) {
            if let Some((Relation::PartAndRun, score)) = comparer.relation(part, run)
                && is_candidate(part, run, &all, config)
            {
                best = best.max(Some((score, std::cmp::Reverse(run.listing))));
            }
        }
    }
    event_of(best?.1.0)
}

fn memory(captured: &Captured, epoch: Epoch) -> Vec<Remembered> {
    let links = at(&captured.links, epoch).into_iter().map(|(listing, linked)| {
        let link = linked.link();
        Remembered::Link { listing, event: link.event_id, born: link.event_first_seen }
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
            prop_assert_eq!(counts(&again.moderated, part), counts(&captured.moderated, whole));
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

/// The listing of a slot in an epoch of its own.
fn world(listings: &[(usize, Variant)]) -> World {
    World {
        listings: listings.iter().map(|(slot, said)| (*slot, live(*slot, said, 0, 0))).collect(),
        ..World::default()
    }
}

#[test]
fn an_export_with_new_ids_keeps_the_events() {
    let said = |title| Variant { title, start: 0, hours: Some(2), venue: 2, url: None, text: 0 };
    // Slots of one source.
    let (before, after) = ([(0, said(4)), (3, said(6))], [(6, said(4)), (9, said(6))]);
    let worlds = [World::default(), world(&before), world(&after)];
    let captured = run(&ResolveConfig::default(), &worlds, &[], 2);
    let events = |epoch| -> BTreeSet<EventId> { at(&captured.events, epoch).into_iter().map(|(id, _)| id).collect() };
    assert_eq!(events(0), events(1));
    check(&captured, &worlds[2], 1, &ResolveConfig::default());
    let changed = [(6, said(4)), (9, said(5))];
    let captured = run(&ResolveConfig::default(), &[World::default(), world(&before), world(&changed)], &[], 1);
    let events = |epoch| -> BTreeSet<EventId> { at(&captured.events, epoch).into_iter().map(|(id, _)| id).collect() };
    assert_eq!(events(0).intersection(&events(1)).count(), 1, "what says something else is another event");
}

#[test]
fn a_session_knows_the_run_that_it_is_a_part_of() {
    let run_of_days = Variant { title: 0, start: 6, hours: Some(3), venue: 0, url: None, text: 0 };
    let session = Variant { title: 0, start: 0, hours: Some(2), venue: 0, url: None, text: 0 };
    let config = ResolveConfig::default();
    let both = world(&[(0, run_of_days.clone()), (1, session.clone())]);
    let worlds = [
        World::default(),
        world(&[(1, session.clone())]),
        both.clone(),
        world(&[(0, run_of_days.clone()), (1, session.clone()), (2, run_of_days)]),
        both,
        world(&[(1, session)]),
    ];
    let captured = run(&config, &worlds, &[], 2);
    let part = name(1).id();
    let runs: Vec<Option<EventId>> = (0..5)
        .map(|epoch| {
            check(&captured, &worlds[epoch as usize + 1], epoch, &config);
            let events = at(&captured.events, epoch);
            let of_part = events.iter().find(|(id, _)| *id == own_id(part)).expect("the session keeps its id");
            of_part.1.view().part_of
        })
        .collect();
    let run = Some(own_id(name(0).id()));
    assert_eq!(runs, [None, run, run, run, None]);
}
