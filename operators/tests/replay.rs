//! `resolve` under change: whatever the order and the batches in which listings come, and whatever
//! happens to them on the way, the events are those that a computation from scratch gives, and an
//! event keeps its id for as long as its listings stay together.
//!
//! Made-up listings are always replayed. Real ones are not part of the project: where there are any
//! (see `real::data`), two towns of them are replayed in every run, and all towns and lists with
//! `--ignored`, for which a release build is advisable. `HEADWATER_SEED` sets another order.

#![allow(clippy::unwrap_used)] // Helpers of tests.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use differential_dataflow::input::{Input as _, InputSession};
use headwater_operators::event::Composed;
use headwater_operators::extract::{ExtractConfig, Extractor};
use headwater_operators::geocode::{GeocodeConfig, locate};
use headwater_operators::resolve::{Batch, Decision, Linked, Remembered, Resolve, ResolveConfig};
use headwater_operators::sanitize::{SanitizeConfig, sanitize};
use headwater_operators::{Epoch, EventId, Listing, ListingId, LiveListing, Moment, PackedListing, Shared};
use timely::dataflow::ProbeHandle;
use timely::dataflow::operators::Input as _;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use real::{GATHERED_MS, calendars_of, data, feeds, record, towns};

mod real;

/// What is said of a listing: its content from now on, or that it is withdrawn.
type Said = (ListingId, Option<Listing>);

/// The clusters, each with its id.
type Events = BTreeMap<BTreeSet<ListingId>, EventId>;

/// An update of the live listings.
type Update = (Shared<LiveListing>, isize);

/// The live listings, with the history that is in their time stamps.
#[derive(Debug, Default)]
struct World {
    listings: BTreeMap<ListingId, Shared<LiveListing>>,
    now: i64,
}

impl World {
    fn take(&mut self, (id, said): &Said) -> Vec<Update> {
        self.now += 1;
        let updated_at = GATHERED_MS + self.now;
        let before = self.listings.remove(id);
        let first_seen = before.as_ref().map_or(updated_at, |live| live.first_seen);
        let mut updates: Vec<Update> = before.into_iter().map(|live| (live, -1)).collect();
        if let Some(listing) = said.clone() {
            let live = Shared::new(LiveListing::new(&listing, first_seen, updated_at));
            self.listings.insert(*id, live.clone());
            updates.push((live, 1));
        }
        updates
    }

    /// The clusters of what is there, computed from scratch.
    fn clusters(&self, config: &ResolveConfig) -> BTreeSet<BTreeSet<ListingId>> {
        let batch = Batch::resolve(self.listings.values().map(|live| &**live), &[], config);
        let alone = self.listings.keys().filter(|id| batch.cluster_of(**id).is_none()).map(|id| BTreeSet::from([*id]));
        let clusters = batch.clusters.iter().map(|cluster| cluster.iter().map(|member| member.node.listing).collect());
        alone.chain(clusters).collect()
    }

    fn contents(&self) -> BTreeMap<ListingId, &PackedListing> {
        self.listings.iter().map(|(id, live)| (*id, &*live.listing)).collect()
    }
}

/// What the dataflow said, by epoch.
#[derive(Debug, Default)]
struct Output {
    links: BTreeMap<Epoch, Vec<(ListingId, EventId, isize)>>,
    events: BTreeMap<EventId, isize>,
    retired: BTreeMap<EventId, isize>,
}

/// Runs the dataflow, one epoch for each element of `epochs`.
fn run(epochs: Vec<Vec<Update>>, config: &ResolveConfig, workers: usize) -> Output {
    let output = Arc::new(Mutex::new(Output::default()));
    let shared = (Arc::new(config.clone()), Arc::clone(&output));
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        let (config, output) = &shared;
        let mut listings = InputSession::new();
        let probe = ProbeHandle::new();
        worker.dataflow::<Epoch, _, _>(|scope| {
            let decisions = scope.new_collection_from(Vec::<Decision>::new()).1;
            let history = scope.new_input::<Vec<Remembered>>().1;
            let resolved = listings.to_collection(scope).resolve(config, decisions, history);
            let (links, events, retired) = (Arc::clone(output), Arc::clone(output), Arc::clone(output));
            let link = move |((listing, linked), epoch, diff): &((ListingId, Linked), Epoch, isize)| {
                links.lock().unwrap().links.entry(*epoch).or_default().push((*listing, linked.link().event_id, *diff));
            };
            resolved.links.inspect(link).probe_with(&probe);
            let event = move |((id, _), _, diff): &((EventId, Composed), Epoch, isize)| {
                *events.lock().unwrap().events.entry(*id).or_default() += diff;
            };
            resolved.events.inspect(event).probe_with(&probe);
            let redirect = move |((id, _), _, diff): &((EventId, EventId), Epoch, isize)| {
                *retired.lock().unwrap().retired.entry(*id).or_default() += diff;
            };
            resolved.redirects.inspect(redirect).probe_with(&probe);
        });
        let (peers, index) = (worker.peers() as u128, worker.index() as u128);
        for (epoch, updates) in epochs.iter().enumerate() {
            for (live, diff) in updates.iter().filter(|(live, _)| live.id.0 % peers == index) {
                listings.update(live.clone(), *diff);
            }
            let next = epoch as Epoch + 1;
            listings.advance_to(next);
            listings.flush();
            // Some epochs are worked off alone, some together with the next.
            if epoch % 3 != 0 {
                worker.step_or_park_while(Some(Duration::from_millis(10)), || probe.less_than(&next));
            }
        }
    })
    .unwrap();
    guards.join().into_iter().for_each(|result| result.unwrap());
    std::mem::take(&mut *output.lock().unwrap())
}

/// What happened to ids.
#[derive(Debug, Default)]
struct Tally {
    /// New contents of listings that were there before.
    updates: usize,
    /// Those among them whose listing stayed in a cluster of the same members.
    stayed: usize,
    /// Those among them in a cluster of several.
    stayed_in_several: usize,
    /// Those that stayed and whose event changed its id, which none may.
    renamed: usize,
    /// Listings that were there before and after an epoch, and changed their event.
    moved: usize,
    /// Events with a listing that was there before and after an epoch, whose id was given up.
    retired: usize,
}

/// Follows the links from epoch to epoch, and checks each change of an id.
#[derive(Debug, Default)]
struct Audit {
    event_of: HashMap<ListingId, EventId>,
    members: HashMap<EventId, BTreeSet<ListingId>>,
    tally: Tally,
}

impl Audit {
    fn advance(&mut self, said: &[Said], links: &[(ListingId, EventId, isize)]) {
        let mut net: BTreeMap<(ListingId, EventId), isize> = BTreeMap::new();
        links.iter().for_each(|(listing, event, diff)| *net.entry((*listing, *event)).or_default() += diff);
        net.retain(|_, diff| *diff != 0);
        let said: BTreeSet<ListingId> = said.iter().map(|(id, _)| *id).collect();
        let named = said.iter().chain(net.keys().map(|(listing, _)| listing));
        let event_before: HashMap<ListingId, EventId> =
            named.filter_map(|listing| Some((*listing, *self.event_of.get(listing)?))).collect();
        let touched: BTreeSet<EventId> = event_before.values().copied().chain(net.keys().map(|key| key.1)).collect();
        let before: HashMap<EventId, BTreeSet<ListingId>> =
            touched.iter().map(|event| (*event, self.members.get(event).cloned().unwrap_or_default())).collect();
        self.apply(&net);
        self.tally(&said, &event_before, &before);
        for event in &touched {
            self.check_kept(*event, &event_before, &before);
        }
    }

    fn apply(&mut self, net: &BTreeMap<(ListingId, EventId), isize>) {
        for ((listing, event), _) in net.iter().filter(|(_, diff)| **diff < 0) {
            assert_eq!(self.event_of.remove(listing), Some(*event), "a link of {listing} was not there");
            let members = self.members.get_mut(event).unwrap();
            members.remove(listing);
            if members.is_empty() {
                self.members.remove(event);
            }
        }
        for ((listing, event), diff) in net.iter().filter(|(_, diff)| **diff > 0) {
            assert_eq!((*diff, self.event_of.insert(*listing, *event)), (1, None), "{listing} has two links");
            self.members.entry(*event).or_default().insert(*listing);
        }
    }

    fn tally(
        &mut self,
        said: &BTreeSet<ListingId>,
        event_before: &HashMap<ListingId, EventId>,
        before: &HashMap<EventId, BTreeSet<ListingId>>,
    ) {
        let mut retired = BTreeSet::new();
        for (listing, former) in event_before {
            let Some(now) = self.event_of.get(listing) else { continue };
            if now != former {
                self.tally.moved += 1;
                retired.extend((!self.members.contains_key(former)).then_some(*former));
            }
            if said.contains(listing) {
                self.tally.updates += 1;
                if self.members[now] == before[former] {
                    self.tally.stayed += 1;
                    self.tally.stayed_in_several += usize::from(before[former].len() > 1);
                    self.tally.renamed += usize::from(now != former);
                }
            }
        }
        self.tally.retired += retired.len();
    }

    /// A cluster whose listings had one id keeps it, whoever joins or is withdrawn, unless some of
    /// those that had it are elsewhere now.
    fn check_kept(
        &self,
        event: EventId,
        event_before: &HashMap<ListingId, EventId>,
        before: &HashMap<EventId, BTreeSet<ListingId>>,
    ) {
        let Some(members) = self.members.get(&event) else { return };
        // A listing whose link did not change carries what it carried, unless it has just come.
        let carried = |listing: &ListingId| match event_before.get(listing) {
            Some(former) => Some(*former),
            None => before[&event].contains(listing).then_some(event),
        };
        let former: BTreeSet<EventId> = members.iter().filter_map(carried).collect();
        let [former] = former.into_iter().collect::<Vec<_>>()[..] else { return };
        let staying = before[&former].iter().filter(|listing| self.event_of.contains_key(listing));
        if staying.into_iter().all(|listing| members.contains(listing)) {
            assert_eq!(event, former, "an event of the listings {members:?} did not keep its id");
        }
    }

    fn events(&self) -> Events {
        self.members.iter().map(|(event, members)| (members.clone(), *event)).collect()
    }
}

/// How listings come, epoch by epoch.
struct Way {
    name: &'static str,
    epochs: Vec<Vec<Said>>,
    workers: usize,
    /// After how many epochs the clusters are compared too, beside the end.
    compared: Vec<usize>,
}

/// What a way comes to.
struct Arrived {
    world: World,
    events: Events,
    tally: Tally,
}

impl Way {
    /// Replays it, and checks all but the clusters at the end.
    fn replay(&self, config: &ResolveConfig) -> Arrived {
        let mut world = World::default();
        let updates = self.epochs.iter().map(|said| said.iter().flat_map(|said| world.take(said)).collect()).collect();
        let output = run(updates, config, self.workers);
        let (mut audit, mut then) = (Audit::default(), World::default());
        for (epoch, said) in self.epochs.iter().enumerate() {
            said.iter().for_each(|said| drop(then.take(said)));
            let links = output.links.get(&(epoch as Epoch)).map(Vec::as_slice).unwrap_or_default();
            audit.advance(said, links);
            if self.compared.contains(&epoch) {
                let name = format!("{}, epoch {epoch}", self.name);
                same_clusters(&name, &audit.events(), &then.clusters(config));
            }
        }
        let counted = |counts: &BTreeMap<EventId, isize>| -> BTreeSet<EventId> {
            let present: BTreeMap<_, _> = counts.iter().filter(|(_, count)| **count != 0).collect();
            assert!(present.values().all(|count| **count == 1), "{}: multiplicities", self.name);
            present.into_keys().copied().collect()
        };
        let (events, ids) = (audit.events(), counted(&output.events));
        assert_eq!(ids, events.values().copied().collect(), "{}: events and links differ", self.name);
        assert!(ids.is_disjoint(&counted(&output.retired)), "{}: an id is in use and retired", self.name);
        assert_eq!(audit.tally.renamed, 0, "{}: an update changed the id of its event", self.name);
        Arrived { world, events, tally: audit.tally }
    }
}

fn same_clusters(name: &str, events: &Events, expected: &BTreeSet<BTreeSet<ListingId>>) {
    let found: BTreeSet<_> = events.keys().cloned().collect();
    let (more, fewer): (Vec<_>, Vec<_>) = (found.difference(expected).collect(), expected.difference(&found).collect());
    let first = |clusters: &[&BTreeSet<ListingId>]| format!("{} {:?}", clusters.len(), clusters.first());
    assert!(more.is_empty() && fewer.is_empty(), "{name}: too many {}, missing {}", first(&more), first(&fewer));
}

fn seed() -> u64 {
    std::env::var("HEADWATER_SEED").ok().map_or(4, |seed| seed.parse().unwrap())
}

/// A number drawn for a listing.
fn draw(id: ListingId, purpose: u64) -> u64 {
    xxh3_64_with_seed(&id.0.to_le_bytes(), seed().wrapping_mul(1_000).wrapping_add(purpose))
}

/// Batches of 1 to about a 64th of them, in order.
fn batches(mut all: Vec<Said>) -> Vec<Vec<Said>> {
    let sizes = u64::from((all.len() / 64).max(2).ilog2()) + 1;
    let mut batches = Vec::new();
    while let Some((id, _)) = all.last() {
        let size = 1_usize << (draw(*id, 1) % sizes);
        batches.push(all.split_off(all.len().saturating_sub(size)));
    }
    batches.reverse();
    batches
}

/// A fifth of the listings changed or withdrawn, and put back some time later.
fn there_and_back(listings: &[Listing]) -> Vec<Said> {
    let chosen: Vec<&Listing> = listings.iter().filter(|listing| draw(listing.id(), 2).is_multiple_of(5)).collect();
    let mut moments = Vec::new();
    for (at, listing) in chosen.iter().enumerate() {
        let id = listing.id();
        let other = &chosen[(at + 1 + draw(id, 3) as usize % 50) % chosen.len()].title;
        let (one, two) = (draw(id, 4), draw(id, 5));
        moments.push(((one.min(two), id), (id, changed(listing, other))));
        moments.push(((one.max(two), id), (id, Some((*listing).clone()))));
    }
    moments.sort_by_key(|(moment, _)| *moment);
    moments.into_iter().map(|(_, said)| said).collect()
}

/// What becomes of a listing for a while.
fn changed(listing: &Listing, other: &str) -> Option<Listing> {
    let mut listing = listing.clone();
    match draw(listing.id(), 6) % 6 {
        0 => return None,
        1 => listing.title = other.into(),
        2 => listing.title = format!("CANCELED: {}", listing.title).into(),
        3 => listing.start = later(listing.start),
        4 => (listing.venue.name, listing.venue.geo) = (None, None),
        _ => listing.description = Some("Now with a description.".into()),
    }
    Some(listing)
}

fn later(start: Moment) -> Moment {
    match start {
        Moment::Instant { ms, offset_min } => Moment::Instant { ms: ms + 7_200_000, offset_min },
        Moment::Day(day) => Moment::Day(day.tomorrow().unwrap()),
    }
}

/// Replays the listings of `feeds` in three ways.
fn replay(feeds: Vec<Vec<Listing>>, config: &ResolveConfig) -> Vec<Arrived> {
    let say = |listing: &Listing| (listing.id(), Some(listing.clone()));
    let in_order: Vec<Vec<Said>> = feeds.iter().map(|feed| feed.iter().map(say).collect()).collect();
    let listings: Vec<Listing> = feeds.into_iter().flatten().collect();
    let mut shuffled: Vec<Said> = listings.iter().map(say).collect();
    shuffled.sort_by_key(|(id, _)| draw(*id, 7));
    let mut with_changes = in_order.clone();
    with_changes.extend(batches(there_and_back(&listings)));
    let half_changed = in_order.len() + (with_changes.len() - in_order.len()) / 2;
    let ways = [
        Way { name: "one town after another", epochs: in_order, workers: 1, compared: Vec::new() },
        Way { name: "shuffled", epochs: batches(shuffled), workers: 2, compared: Vec::new() },
        Way { name: "changed and put back", epochs: with_changes, workers: 1, compared: vec![half_changed] },
    ];
    let mut arrived: Vec<Arrived> = Vec::new();
    let mut expected = None;
    for way in &ways {
        let start = Instant::now();
        let this = way.replay(config);
        let expected = expected.get_or_insert_with(|| this.world.clusters(config));
        same_clusters(way.name, &this.events, expected);
        let first = arrived.first().unwrap_or(&this);
        assert!(this.world.contents() == first.world.contents(), "{} ends with other listings", way.name);
        print(way, &this, &first.events, start);
        arrived.push(this);
    }
    arrived
}

fn print(way: &Way, this: &Arrived, first: &Events, start: Instant) {
    let records: usize = way.epochs.iter().map(Vec::len).sum();
    let Tally { updates, stayed, stayed_in_several, renamed, moved, retired } = this.tally;
    let other = this.events.iter().filter(|(members, id)| first[*members] != **id).count();
    let merged = this.events.keys().filter(|members| members.len() > 1).count();
    println!("{}, {} workers, {:.1} s with all checks", way.name, way.workers, start.elapsed().as_secs_f64());
    println!(
        "    {records} records in {} epochs: {} listings, {} events ({merged} of several listings), same clusters as from scratch",
        way.epochs.len(),
        this.world.listings.len(),
        this.events.len(),
    );
    println!("    events with another id than in the first way: {other}");
    println!(
        "    listings that changed their event: {moved} ({:.4} per record); ids given up: {retired}",
        moved as f64 / records as f64
    );
    println!("    updates of listings that were there: {updates}");
    println!(
        "    those in clusters that stayed the same: {stayed}, {stayed_in_several} of them in clusters of several"
    );
    println!("    changes of id among these: {renamed}");
}

/// Listings of 90 evenings by four sources, which do not all say the same.
fn made_up() -> Vec<Vec<Listing>> {
    const NAMES: [&str; 6] =
        ["Amber Quartet", "Birch Players", "Cedar Choir", "Dahlia Dance Company", "Elder Poets", "Fir Street Band"];
    const KINDS: [&str; 5] = ["in Concert", "Workshop", "Summer Night", "Open Rehearsal", "with Guests"];
    const VENUES: [&str; 3] = ["Heron Library", "Mill Hall", "Old Depot"];
    let listing = |source: usize, n: usize| {
        let name = NAMES[n % NAMES.len()];
        let kind = KINDS[(n / 3) % KINDS.len()];
        let title = match source {
            0 => format!("{name} {kind}"),
            1 => format!("{kind}: {name}"),
            2 => name.to_owned(),
            _ => format!("{name} {kind} {}", NAMES[(n / 2) % NAMES.len()]),
        };
        let (day, minute) = (1 + n / 6 % 15, if source == 1 { 30 } else { 0 });
        let start = format!("2026-05-{day:02}T19:{minute:02}:00Z").parse().unwrap();
        let mut listing = Listing::new(&format!("source{source}"), &n.to_string(), &title, start);
        listing.venue.name = (source != 2).then(|| VENUES[n / 2 % VENUES.len()].into());
        listing.venue.city = Some("Alder".into());
        listing
    };
    (0..4).map(|source| (0..90).filter(|n| (n + source) % 4 != 0).map(|n| listing(source, n)).collect()).collect()
}

/// Reads real feeds as the pipeline does.
struct Reader {
    extractor: Extractor,
    seen: BTreeSet<ListingId>,
}

impl Reader {
    fn new(config: &ExtractConfig) -> Self {
        Self { extractor: Extractor::new(config).unwrap(), seen: BTreeSet::new() }
    }

    /// The listings of a record, each the first time that it is there.
    fn read(&mut self, source: &str, content_type: &str, key: &str, value: Vec<u8>) -> Vec<Listing> {
        let document = self.extractor.extract(record(source, content_type, key, value)).document;
        let listings = document.map(|document| document.listings).unwrap_or_default();
        let mut listings: Vec<Listing> = listings.into_iter().map(|extracted| extracted.listing).collect();
        listings.retain(|listing| self.seen.insert(listing.id()));
        for listing in &mut listings {
            sanitize(listing, &SanitizeConfig::default());
            listing.venue.geo = locate(&listing.venue.view(), &GeocodeConfig::default());
        }
        listings
    }
}

fn calendars(folder: &Path) -> Vec<Vec<Listing>> {
    let town = folder.file_name().unwrap().to_str().unwrap();
    let mut reader = Reader::new(&calendars_of(town));
    let mut feeds: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|feed| feed.unwrap().path()).collect();
    feeds.sort();
    let mut read = |path: &PathBuf| {
        let feed = path.file_stem().unwrap().to_str().unwrap();
        let source = format!("community_calendar_{town}.{feed}");
        reader.read(&source, "text/calendar", feed, fs::read(path).unwrap())
    };
    feeds.iter().map(&mut read).collect()
}

fn conferences(folder: &Path, config: &ExtractConfig) -> Vec<Vec<Listing>> {
    let mut reader = Reader::new(config);
    let mut list = |name: &String| {
        let text = fs::read_to_string(folder.join(format!("{name}.jsonl"))).unwrap();
        text.lines().flat_map(|line| reader.read(name, "application/json", line, line.into())).collect()
    };
    config.sources.keys().map(&mut list).collect()
}

#[test]
fn made_up_listings() {
    let arrived = replay(made_up(), &ResolveConfig::default());
    let merged = arrived[0].events.keys().filter(|members| members.len() > 1).count();
    assert!(merged >= 30, "there is something to get wrong: {merged}");
    assert!(arrived[2].tally.stayed_in_several > 0 && arrived[2].tally.moved > 0, "{:?}", arrived[2].tally);
}

/// Limits that are reached all the time.
#[test]
fn made_up_listings_with_low_limits() {
    let config = ResolveConfig { block_cap: 4, component_cap: 3, threshold: 0.2, ..ResolveConfig::default() };
    replay(made_up(), &config);
}

#[test]
fn calendars_of_two_towns() {
    let Some(folder) = data() else { return };
    let two = towns(&folder).into_iter().filter(|town| town.ends_with("davis") || town.ends_with("lancaster"));
    replay(two.flat_map(|town| calendars(&town)).collect(), &ResolveConfig::default());
}

#[test]
#[ignore = "takes minutes without --release"]
fn calendars_of_all_towns_and_lists_of_conferences() {
    let Some(folder) = data() else { return };
    let lists = feeds();
    let free = lists.sources.iter().filter(|(_, source)| source.duplicate_free).map(|(name, _)| name.clone());
    let config = ResolveConfig { duplicate_free: free.collect(), ..ResolveConfig::default() };
    let calendars = towns(&folder).into_iter().flat_map(|town| calendars(&town));
    replay(calendars.chain(conferences(&folder, &lists)).collect(), &config);
}
