//! The floor: a program written for nothing but the unavoidable work on the generated records, to
//! know how far above it the pipeline is.
//!
//! Typed parsing, words of titles, three blocks a listing, comparison within blocks, union-find,
//! events as JSON. Where a record says again, byte for byte, what its key said before, a hash finds
//! that out, and it is skipped. No dataflow, nothing is ever taken back: a changed listing takes
//! the place of the old one, but what it matched before stays matched. No links, no states, no
//! identities that outlast a run, no dead letters, no windows.
//!
//! With several threads each parses its share of the keys and looks through its share of the
//! blocks; only union-find is one thread's.

mod event;
mod parse;
mod print;

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::{Duration, Instant};

use headwater_operators::ListingId;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use self::event::Member;
use self::parse::{Listing, Shape, Zones};
use self::print::Print;
use super::BenchError;
use super::input::{Input, Sender};
use super::process::usage;
use super::quality::{Quality, quality};

/// What the floor came to.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FloorReport {
    /// Threads.
    pub threads: usize,
    /// Records after the warm-up.
    pub records: u64,
    /// How long they took.
    pub seconds: f64,
    /// Records a second.
    pub records_per_second: f64,
    /// Records for each second of processor time, of all threads together.
    pub records_per_cpu_second: Option<f64>,
    /// Seconds by phase: parse, match, join, write.
    pub phases: [f64; 4],
    /// Listings at the end.
    pub listings: u64,
    /// Records skipped because they say nothing new.
    pub skipped: u64,
    /// Events written, by size.
    pub events: u64,
    /// Bytes of the events written.
    pub output_bytes: u64,
    /// How well listings were brought together.
    pub quality: Option<Quality>,
}

/// Keys that are hashes already.
#[derive(Debug, Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64(bytes);
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

type HashedMap<V> = HashMap<u64, V, BuildHasherDefault<AsIs>>;

/// A listing: its shard in the lowest bits, its place there in the others.
type Id = u32;

/// The listings of one share of the keys.
#[derive(Debug, Default)]
struct Shard<'a> {
    /// By key: hash of the bytes, and where the listing is.
    known: HashedMap<(u64, u32)>,
    listings: Vec<Listing<'a>>,
    names: Vec<(usize, &'a [u8])>,
    prints: Vec<Print>,
    /// Those that are new or changed since events were last written.
    touched: Vec<u32>,
    /// Blocks that they entered, by the thread that looks through them.
    entered: Vec<Vec<(u64, Id)>>,
    zones: Zones,
    skipped: u64,
}

/// One share of the blocks.
#[derive(Debug, Default)]
struct Blocks {
    members: HashedMap<SmallVec<[Id; 4]>>,
    matches: Vec<(Id, Id)>,
}

/// The program with its state.
struct Floor<'a> {
    input: &'a Input,
    shapes: Vec<Shape>,
    shards: Vec<Shard<'a>>,
    blocks: Vec<Blocks>,
    parents: Vec<Vec<Id>>,
    phases: [Duration; 4],
    events: u64,
    output_bytes: u64,
}

/// Runs the floor on `input`, with a thread for each of its partitions, and measures what comes
/// after the first `warm_up` records.
pub(super) fn floor(input: &Input, warm_up: u64) -> Result<FloorReport, BenchError> {
    let mut floor = Floor::new(input)?;
    let (warm, all) = (input.split(warm_up), input.lengths());
    floor.feed(&vec![0; all.len()], &warm);
    let skipped = floor.skipped();
    (floor.phases, floor.events, floor.output_bytes) = Default::default();
    let records: usize = all.iter().zip(&warm).map(|(all, warm)| all - warm).sum();
    let (began, used) = (Instant::now(), usage());
    floor.feed(&warm, &all);
    let seconds = began.elapsed().as_secs_f64();
    let processor = usage().since(used).filter(|seconds| *seconds > 0.0);
    Ok(FloorReport {
        threads: all.len(),
        records: records as u64,
        seconds,
        records_per_second: records as f64 / seconds,
        records_per_cpu_second: processor.map(|processor| records as f64 / processor),
        phases: floor.phases.map(|phase| phase.as_secs_f64()),
        listings: floor.shards.iter().map(|shard| shard.listings.len() as u64).sum(),
        skipped: floor.skipped() - skipped,
        events: floor.events,
        output_bytes: floor.output_bytes,
        quality: input.truth.as_ref().map(|truth| quality(truth, &floor.clusters())),
    })
}

impl<'a> Floor<'a> {
    fn new(input: &'a Input) -> Result<Self, BenchError> {
        let shape = |sender: &Sender| Shape::of_source(&sender.source).ok_or(BenchError::FloorSource);
        let threads = input.lengths().len();
        // Growing would mean copying, which a program that runs for long does seldom.
        let shard = |records: usize| Shard {
            known: HashedMap::with_capacity_and_hasher(records, BuildHasherDefault::default()),
            listings: Vec::with_capacity(records),
            names: Vec::with_capacity(records),
            prints: Vec::with_capacity(records),
            touched: Vec::with_capacity(records),
            entered: vec![Vec::with_capacity(records * 3 / threads); threads],
            ..Shard::default()
        };
        Ok(Self {
            input,
            shapes: input.senders().iter().map(shape).collect::<Result<_, _>>()?,
            shards: input.lengths().into_iter().map(shard).collect(),
            blocks: (0..threads).map(|_| Blocks::default()).collect(),
            parents: vec![Vec::new(); threads],
            phases: Default::default(),
            events: 0,
            output_bytes: 0,
        })
    }

    fn skipped(&self) -> u64 {
        self.shards.iter().map(|shard| shard.skipped).sum()
    }

    /// Takes the records of each partition from one place up to another, and writes the events
    /// that they changed.
    fn feed(&mut self, from: &[usize], to: &[usize]) {
        let began = Instant::now();
        self.parse(from, to);
        let parsed = Instant::now();
        self.find();
        let matched = Instant::now();
        self.join();
        let joined = Instant::now();
        self.write();
        let written = Instant::now();
        let lasted = [parsed - began, matched - parsed, joined - matched, written - joined];
        self.phases.iter_mut().zip(lasted).for_each(|(sum, phase)| *sum += phase);
    }

    fn parse(&mut self, from: &[usize], to: &[usize]) {
        let (input, shapes, count) = (self.input, &self.shapes, self.shards.len());
        each_on_its_thread(self.shards.iter_mut(), |at, shard| {
            let range = from.get(at).copied().unwrap_or(0)..to.get(at).copied().unwrap_or(0);
            range.for_each(|index| shard.take(input, shapes, (at, index), count));
        });
    }

    fn find(&mut self) {
        let shards = &self.shards;
        each_on_its_thread(self.blocks.iter_mut(), |at, blocks| {
            let entered = shards.iter().filter_map(|shard| shard.entered.get(at)).flatten();
            entered.for_each(|(key, id)| blocks.enter(*key, *id, shards));
        });
        self.shards.iter_mut().flat_map(|shard| &mut shard.entered).for_each(Vec::clear);
    }

    fn join(&mut self) {
        let count = self.shards.len();
        for (at, (parents, shard)) in self.parents.iter_mut().zip(&self.shards).enumerate() {
            parents.extend((parents.len()..shard.listings.len()).map(|index| id(at, index, count)));
        }
        for (a, b) in self.blocks.iter_mut().flat_map(|blocks| std::mem::take(&mut blocks.matches)) {
            let (a, b) = (root(&mut self.parents, a), root(&mut self.parents, b));
            if a != b {
                set_parent(&mut self.parents, a.max(b), a.min(b));
            }
        }
    }

    fn write(&mut self) {
        let groups = self.groups();
        let (shards, senders, count) = (&self.shards, self.input.senders(), self.shards.len());
        let mut totals = vec![(0u64, 0u64); count];
        each_on_its_thread(totals.iter_mut(), |at, (events, bytes)| {
            let mut out = Vec::with_capacity(1 << 16);
            let mut members = Vec::new();
            let share = groups.chunks(groups.len().div_ceil(count).max(1)).nth(at).unwrap_or_default();
            for group in share {
                members.clear();
                members.extend(group.iter().filter_map(|id| member(shards, senders, *id)));
                out.clear();
                event::write(&members, &mut out);
                *events += 1;
                *bytes += std::hint::black_box(&out).len() as u64;
            }
        });
        self.events += totals.iter().map(|(events, _)| events).sum::<u64>();
        self.output_bytes += totals.iter().map(|(_, bytes)| bytes).sum::<u64>();
        self.shards.iter_mut().for_each(|shard| shard.touched.clear());
    }

    /// The members of every event that has a touched one.
    fn groups(&mut self) -> Vec<SmallVec<[Id; 3]>> {
        let count = self.shards.len();
        let mut of_root: HashedMap<u32> = HashedMap::default();
        for (at, shard) in self.shards.iter().enumerate() {
            for index in &shard.touched {
                let next = of_root.len() as u32;
                of_root.entry(u64::from(root(&mut self.parents, id(at, *index as usize, count)))).or_insert(next);
            }
        }
        let mut groups = vec![SmallVec::new(); of_root.len()];
        for at in 0..count {
            for index in 0..self.parents.get(at).map_or(0, Vec::len) {
                let id = id(at, index, count);
                let group = of_root.get(&u64::from(root(&mut self.parents, id)));
                if let Some(group) = group.and_then(|group| groups.get_mut(*group as usize)) {
                    group.push(id);
                }
            }
        }
        groups
    }

    /// The event of each listing.
    fn clusters(&mut self) -> HashMap<ListingId, Id> {
        let (count, senders) = (self.shards.len(), self.input.senders());
        let mut clusters = HashMap::new();
        for (at, shard) in self.shards.iter().enumerate() {
            for (index, (sender, key)) in shard.names.iter().enumerate() {
                let (source, key) = (senders.get(*sender).map_or("", |s| &*s.source), String::from_utf8_lossy(key));
                clusters.insert(ListingId::of(source, &key), root(&mut self.parents, id(at, index, count)));
            }
        }
        clusters
    }
}

impl<'a> Shard<'a> {
    fn take(&mut self, input: &'a Input, shapes: &[Shape], (at, index): (usize, usize), count: usize) {
        let Some(record) = input.get(at, index) else { return };
        let (Some(key), Some(value), Some(shape)) = (record.key, record.value, shapes.get(record.sender)) else {
            return;
        };
        let hash = xxh3_64(value);
        let known = self.known.entry(xxh3_64_with_seed(key, record.sender as u64));
        let next = self.listings.len() as u32;
        let (known_hash, place) = known.or_insert((0, next));
        if *known_hash == hash {
            self.skipped += 1;
            return;
        }
        let Some(listing) = parse::parse(*shape, value, &mut self.zones) else { return };
        *known_hash = hash;
        let place = *place;
        let (print, keys) = Print::of(&listing);
        for key in keys {
            if let Some(entered) = self.entered.get_mut((key % count as u64) as usize) {
                entered.push((key, id(at, place as usize, count)));
            }
        }
        self.touched.push(place);
        match (self.listings.get_mut(place as usize), self.prints.get_mut(place as usize)) {
            (Some(old), Some(old_print)) => (*old, *old_print) = (listing, print),
            _ => {
                self.listings.push(listing);
                self.prints.push(print);
                self.names.push((record.sender, key));
            }
        }
    }
}

impl Blocks {
    fn enter(&mut self, key: u64, id: Id, shards: &[Shard<'_>]) {
        let members = self.members.entry(key).or_default();
        if let Some(print) = print_of(shards, id) {
            let same = members.iter().filter(|other| **other != id);
            let same = same.filter(|other| print_of(shards, **other).is_some_and(|other| print.is(other)));
            self.matches.extend(same.map(|other| (id, *other)));
        }
        if !members.contains(&id) {
            members.push(id);
        }
    }
}

fn print_of<'s>(shards: &'s [Shard<'_>], id: Id) -> Option<&'s Print> {
    let count = shards.len();
    shards.get(id as usize % count)?.prints.get(id as usize / count)
}

fn member<'s>(shards: &'s [Shard<'_>], senders: &'s [Sender], id: Id) -> Option<Member<'s>> {
    let count = shards.len();
    let shard = shards.get(id as usize % count)?;
    let (sender, key) = shard.names.get(id as usize / count)?;
    Some(Member { source: &senders.get(*sender)?.source, key, listing: shard.listings.get(id as usize / count)? })
}

fn id(shard: usize, index: usize, count: usize) -> Id {
    (index * count + shard) as Id
}

fn parent(parents: &[Vec<Id>], id: Id) -> Id {
    let count = parents.len();
    parents.get(id as usize % count).and_then(|of| of.get(id as usize / count)).copied().unwrap_or(id)
}

fn set_parent(parents: &mut [Vec<Id>], id: Id, to: Id) {
    let count = parents.len();
    if let Some(slot) = parents.get_mut(id as usize % count).and_then(|of| of.get_mut(id as usize / count)) {
        *slot = to;
    }
}

/// The smallest listing of a group, halving the way there.
fn root(parents: &mut [Vec<Id>], mut id: Id) -> Id {
    loop {
        let above = parent(parents, id);
        if above == id {
            return id;
        }
        let next = parent(parents, above);
        set_parent(parents, id, next);
        id = next;
    }
}

/// Calls `work` with each item and its number, each on a thread of its own; a single one here.
fn each_on_its_thread<T: Send>(mut items: impl ExactSizeIterator<Item = T>, work: impl Fn(usize, T) + Sync) {
    if items.len() == 1 {
        items.by_ref().for_each(|item| work(0, item));
    }
    std::thread::scope(|scope| {
        for (at, item) in items.enumerate() {
            let work = &work;
            scope.spawn(move || work(at, item));
        }
    });
}

#[cfg(test)]
mod tests;
