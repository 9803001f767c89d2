//! Blocking: which pairs of listings are compared at all.
//!
//! A listing is in a few blocks, each a 64-bit key: its page on a day, its venue on a day, its
//! geographic cell on a day, a telling word of its title on a day. Keys sort by kind in that
//! order. A pair is compared in exactly one place, which both sides can work out alone:
//!
//! 1. Its block is the *smallest key* that both have. With at most `block_cap` listings in it,
//!    they are compared there.
//! 2. A block over the cap is split by the words of titles: the pair's part is the smallest word
//!    that both titles have. Without a common word, or with a part over the cap:
//! 3. A part over the cap is split by (start, place): the two must agree in both, and what is
//!    over the cap even then compares nothing.
//!
//! So candidates are a function of what is present, never of the order in which it came, and no
//! listing is ever compared with more than `block_cap` others per key or word.

use std::sync::Arc;

use differential_dataflow::{AsCollection, VecCollection};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::Stat;
use super::compare::{Comparer, Relation};
use super::config::ResolveConfig;
use super::epochs::Sender;
use super::fingerprint::Fingerprint;
use super::fingerprinting::BlockChange;
use super::keys::moment_and_place;
use super::screen::Screen;
use super::sketch::Glance;
use super::token::Token;
use crate::Epoch;
use crate::ids::ListingId;
use crate::listing::Ratio;
use crate::shared::Shared;
use headwater_flow::epochs::CompleteEpochs;
use headwater_flow::meter::EntryMeter;

/// The smallest element of two ascending lists.
fn smallest_common<T: Ord + Copy>(a: &[T], b: &[T]) -> Option<T> {
    let (mut a, mut b) = (a.iter(), b.iter());
    let (mut x, mut y) = (a.next()?, b.next()?);
    loop {
        match x.cmp(y) {
            std::cmp::Ordering::Less => x = a.next()?,
            std::cmp::Ordering::Greater => y = b.next()?,
            std::cmp::Ordering::Equal => return Some(*x),
        }
    }
}

/// The smallest word of two ascending lists, whatever it tells in each.
fn smallest_common_word(a: &[Token], b: &[Token]) -> Option<u32> {
    a.iter().map(|token| token.hash()).find(|hash| b.iter().any(|token| token.hash() == *hash))
}

/// A match that has come or gone, or a run of several days with a part of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MatchChange {
    /// The listing with the smaller id.
    pub a: Shared<Fingerprint>,
    /// The other one.
    pub b: Shared<Fingerprint>,
    /// What they are to each other.
    pub relation: Relation,
    /// Their similarity.
    pub score: Ratio,
    /// 1 or -1.
    pub diff: i8,
}

/// What changed in the blocks.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Matches; the same one may come and go several times.
    pub(super) matches: Vec<MatchChange>,
    /// Blocks over the cap.
    pub(super) stats: Vec<(Stat, isize)>,
    /// How many pairs were compared in full, however often and to whatever end.
    pub(super) compared: u64,
}

/// The blocks of one worker.
#[derive(Debug)]
pub(super) struct Blocks {
    blocks: foldhash::HashMap<u64, Block>,
    judge: Judge,
}

/// Nearly all blocks hold one listing; those cost no more than that.
#[derive(Debug)]
enum Block {
    One(Shared<Fingerprint>),
    Many(Box<Group>),
}

/// A listing in a block with others, with what tells most pairs apart without looking at the
/// fingerprints, which lie elsewhere in memory.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    fingerprint: Shared<Fingerprint>,
    glance: Glance,
}

impl From<Shared<Fingerprint>> for Entry {
    fn from(fingerprint: Shared<Fingerprint>) -> Self {
        Self { glance: fingerprint.sketch.glance, fingerprint }
    }
}

/// Listings that share a key. Either compared pair by pair, or divided into parts.
#[derive(Debug, Default)]
struct Group {
    members: Vec<Entry>,
    divided: Option<Box<Divided>>,
}

/// What a group over the cap has.
#[derive(Debug, Default)]
struct Divided {
    parts: foldhash::HashMap<u64, Group>,
    /// Where in `members` the entries of a listing are: looking through a large group for each that
    /// leaves would cost its size squared when all of them do.
    places: foldhash::HashMap<ListingId, SmallVec<[usize; 1]>>,
}

impl Divided {
    fn moved(&mut self, listing: ListingId, from: usize, to: Option<usize>) {
        let Some(places) = self.places.get_mut(&listing) else { return };
        places.retain(|place| *place != from);
        places.extend(to);
        if places.is_empty() {
            self.places.remove(&listing);
        }
    }
}

/// The way from a block down to a group: the block's key, and the word of its part.
#[derive(Debug, Clone, Copy)]
enum Level {
    Block { key: u64 },
    Word { key: u64, word: u64 },
    Moment { key: u64, word: u64 },
}

impl Level {
    /// Whether a pair of members is compared here and nowhere else.
    fn owns(self, a: &Fingerprint, b: &Fingerprint) -> bool {
        match self {
            Self::Block { key } => smallest_common(&a.keys, &b.keys) == Some(key),
            Self::Word { key, word } | Self::Moment { key, word } => {
                smallest_common(&a.keys, &b.keys) == Some(key)
                    && smallest_common_word(a.title(), b.title()).is_some_and(|hash| u64::from(hash) == word)
            }
        }
    }

    /// The parts that a listing belongs to when a group of this level is over the cap.
    fn parts(self, fingerprint: &Fingerprint) -> SmallVec<[(u64, Self); 8]> {
        match self {
            Self::Block { key } => fingerprint
                .title()
                .iter()
                .map(|token| u64::from(token.hash()))
                .map(|word| (word, Self::Word { key, word }))
                .collect(),
            Self::Word { key, word } => {
                std::iter::once((moment_and_place(fingerprint), Self::Moment { key, word })).collect()
            }
            Self::Moment { .. } => SmallVec::new(),
        }
    }

    fn over_cap(self) -> Stat {
        match self {
            Self::Block { .. } => Stat::SplitBlock,
            Self::Word { .. } => Stat::SplitPart,
            Self::Moment { .. } => Stat::SkippedPart,
        }
    }
}

#[derive(Debug)]
struct Judge {
    comparer: Comparer,
    screen: Screen,
    cap: usize,
}

impl Judge {
    fn pair(&self, level: Level, a: &Entry, b: &Entry, diff: i8, out: &mut Changes) {
        if !self.screen.may_meet(&a.glance, &b.glance) {
            return;
        }
        let (a, b) = (&a.fingerprint, &b.fingerprint);
        if !self.screen.may_match(&a.sketch, &b.sketch) || !level.owns(a, b) {
            return;
        }
        out.compared += 1;
        if let Some((relation, score)) = self.comparer.relation(a, b) {
            let in_order = a.listing <= b.listing;
            let (a, b, relation) = if in_order { (a, b, relation) } else { (b, a, relation.reversed()) };
            out.matches.push(MatchChange { a: a.clone(), b: b.clone(), relation, score, diff });
        }
    }
}

impl Group {
    fn insert(&mut self, level: Level, new: &Entry, judge: &Judge, out: &mut Changes) {
        if self.members.len() == judge.cap {
            self.all_pairs(level, -1, judge, out);
            self.divide(level, judge, out);
        }
        if self.members.len() == self.members.capacity() {
            // By half: most groups are small for ever, and their room is a large part of all memory.
            self.members.reserve_exact((self.members.len() / 2).max(1));
        }
        self.members.push(new.clone());
        if let Some(divided) = &mut self.divided {
            divided.places.entry(new.fingerprint.listing).or_default().push(self.members.len() - 1);
            for (part, level) in level.parts(&new.fingerprint) {
                divided.parts.entry(part).or_default().insert(level, new, judge, out);
            }
        } else {
            let others = self.members.len() - 1;
            for other in self.members.iter().take(others) {
                judge.pair(level, other, new, 1, out);
            }
        }
    }

    fn remove(&mut self, level: Level, old: &Entry, judge: &Judge, out: &mut Changes) {
        if !self.take(old) {
            return;
        }
        let Some(divided) = &mut self.divided else {
            for other in &self.members {
                judge.pair(level, other, old, -1, out);
            }
            return;
        };
        for (part, level) in level.parts(&old.fingerprint) {
            let Some(group) = divided.parts.get_mut(&part) else { continue };
            group.remove(level, old, judge, out);
            if group.members.is_empty() {
                divided.parts.remove(&part);
            }
        }
        if self.members.len() == judge.cap {
            self.unite(level, judge, out);
        }
    }

    /// Takes `old` out of the members; whether it was among them.
    fn take(&mut self, old: &Entry) -> bool {
        let Some(divided) = &mut self.divided else {
            let found = self.members.iter().position(|member| member.fingerprint == old.fingerprint);
            return found.map(|position| self.members.swap_remove(position)).is_some();
        };
        let listing = old.fingerprint.listing;
        let places = divided.places.get(&listing).into_iter().flatten();
        let holds = |place: &usize| self.members.get(*place).is_some_and(|one| one.fingerprint == old.fingerprint);
        let Some(position) = places.copied().find(holds) else { return false };
        self.members.swap_remove(position);
        divided.moved(listing, position, None);
        if let Some(last) = self.members.get(position) {
            divided.moved(last.fingerprint.listing, self.members.len(), Some(position));
        }
        true
    }

    fn divide(&mut self, level: Level, judge: &Judge, out: &mut Changes) {
        out.stats.push((level.over_cap(), 1));
        let mut divided = Divided::default();
        for (place, member) in self.members.iter().enumerate() {
            divided.places.entry(member.fingerprint.listing).or_default().push(place);
            for (part, level) in level.parts(&member.fingerprint) {
                divided.parts.entry(part).or_default().insert(level, member, judge, out);
            }
        }
        self.divided = Some(Box::new(divided));
    }

    fn unite(&mut self, level: Level, judge: &Judge, out: &mut Changes) {
        out.stats.push((level.over_cap(), -1));
        let members = self.members.clone();
        let mut parts = self.divided.take().unwrap_or_default().parts;
        for member in &members {
            for (part, level) in level.parts(&member.fingerprint) {
                if let Some(group) = parts.get_mut(&part) {
                    group.remove(level, member, judge, out);
                }
            }
        }
        self.all_pairs(level, 1, judge, out);
    }

    fn all_pairs(&self, level: Level, diff: i8, judge: &Judge, out: &mut Changes) {
        for (i, a) in self.members.iter().enumerate() {
            for b in self.members.iter().skip(i + 1) {
                judge.pair(level, a, b, diff, out);
            }
        }
    }
}

impl Blocks {
    /// No blocks yet.
    pub(super) fn new(config: &ResolveConfig) -> Self {
        let judge = Judge { comparer: Comparer::new(config), screen: Screen::new(config), cap: config.block_cap };
        Self { blocks: foldhash::HashMap::default(), judge }
    }

    /// Applies the changes of an epoch. All that leaves goes first, so that nothing is compared
    /// with what is on its way out. What comes is taken block by block: of many, as a restart brings
    /// them, those of one block are then compared while they lie in the processor's cache.
    pub(super) fn apply(&mut self, changes: Vec<Vec<BlockChange>>) -> Changes {
        let mut out = Changes::default();
        let (mut coming, mut going) = (Vec::with_capacity(changes.iter().map(Vec::len).sum()), Vec::new());
        for change in changes.into_iter().flatten() {
            if change.diff > 0 { coming.push(change) } else { going.push(change) }
        }
        for change in going {
            self.remove(change.key, &change.fingerprint, &mut out);
        }
        coming.sort_unstable_by_key(|change| change.key);
        // To grow step by step would copy the table many times at a restart.
        self.blocks.reserve(coming.chunk_by(|a, b| a.key == b.key).count());
        for change in coming {
            self.insert(change.key, change.fingerprint, &mut out);
        }
        out
    }

    /// Puts a listing into a block that it is not in yet.
    fn insert(&mut self, key: u64, new: Shared<Fingerprint>, out: &mut Changes) {
        use std::collections::hash_map::Entry as Slot;
        let level = Level::Block { key };
        let block = match self.blocks.entry(key) {
            Slot::Vacant(vacant) => {
                vacant.insert(Block::One(new));
                return;
            }
            Slot::Occupied(occupied) => occupied.into_mut(),
        };
        match block {
            Block::One(other) => {
                let (other, new) = (Entry::from(other.clone()), Entry::from(new));
                self.judge.pair(level, &other, &new, 1, out);
                *block = Block::Many(Box::new(Group { members: vec![other, new], divided: None }));
            }
            Block::Many(group) => group.insert(level, &Entry::from(new), &self.judge, out),
        }
    }

    /// Takes a listing out of a block.
    fn remove(&mut self, key: u64, old: &Shared<Fingerprint>, out: &mut Changes) {
        let Some(block) = self.blocks.get_mut(&key) else { return };
        match block {
            Block::One(only) if only == old => {
                self.blocks.remove(&key);
            }
            Block::One(_) => {}
            Block::Many(group) => {
                group.remove(Level::Block { key }, &Entry::from(old.clone()), &self.judge, out);
                if let [only] = group.members.as_slice() {
                    let only = only.fingerprint.clone();
                    *block = Block::One(only);
                }
            }
        }
    }
}

/// Wires [`Blocks`]: listings entering and leaving blocks, to matches that come and go and to what
/// is over the cap.
pub(super) fn matches<'s>(
    changes: Stream<'s, Epoch, Vec<BlockChange>>,
    config: &Arc<ResolveConfig>,
) -> (Stream<'s, Epoch, Vec<MatchChange>>, VecCollection<'s, Epoch, Stat>) {
    let mut builder = OperatorBuilder::new("block/Blocks".to_owned(), changes.scope());
    let mut input = builder.new_input(changes, Exchange::new(|change: &BlockChange| change.key));
    let (matches_out, matches) = builder.new_output();
    let (stats_out, stats) = builder.new_output();
    let (mut matches_out, mut stats_out) = (Sender::from(matches_out), Sender::from(stats_out));
    let mut blocks = Blocks::new(config);
    let (held, entries) = (EntryMeter::new("resolve-blocks"), EntryMeter::new("resolve-block-entries"));
    builder.build(move |_| {
        // Kept as they come: there are several for each listing, and a restart brings all at once.
        let mut epochs = CompleteEpochs::<Vec<Vec<BlockChange>>>::new(2);
        move |frontiers| {
            input.for_each(|capability, data| epochs.now(&capability).push(std::mem::take(data)));
            while let Some(complete) = epochs.next(frontiers) {
                entries.add(complete.input.iter().flatten().map(|change| i64::from(change.diff)).sum());
                let out = blocks.apply(complete.input);
                held.set(blocks.blocks.len());
                matches_out.send(&complete.capabilities, 0, out.matches);
                stats_out.send_updates(&complete.capabilities, 1, out.stats);
            }
        }
    });
    (matches, stats.as_collection())
}

#[cfg(test)]
mod tests {
    use super::super::fingerprinting::into_blocks;
    use super::*;
    use crate::listing::{Listing, LiveListing};

    fn entry(config: &ResolveConfig, id: usize, title: &str, start: &str) -> Entry {
        let mut listing = Listing::new(&format!("s{id}"), "1", title, start.parse().unwrap());
        listing.venue.name = Some("Sudwerk".into());
        let live = LiveListing::new(&listing, 0, 0);
        let fingerprint = Shared::new(Fingerprint::of(&live, config));
        Entry::from(fingerprint)
    }

    fn changes(entry: &Entry, diff: i8) -> impl Iterator<Item = BlockChange> + '_ {
        into_blocks(&entry.fingerprint, diff)
    }

    fn share_a_block(a: &str, b: &str) -> bool {
        let config = ResolveConfig::default();
        let (a, b) = (entry(&config, 1, "Harvest Jazz", a), entry(&config, 2, "Harvest Jazz", b));
        smallest_common(&a.fingerprint.keys, &b.fingerprint.keys).is_some()
    }

    #[test]
    fn a_pair_is_compared_once_however_many_blocks_it_shares() {
        let config = ResolveConfig::default();
        let [a, b] = [1, 2].map(|id| entry(&config, id, "Harvest Moon Jazz Picnic", "2026-05-01T18:00:00Z"));
        let mut blocks = Blocks::new(&config);
        let out = blocks.apply(vec![changes(&a, 1).collect(), changes(&b, 1).collect()]);
        assert_eq!(out.matches.len(), 1);
        let out = blocks.apply(vec![changes(&a, -1).collect()]);
        assert_eq!(out.matches.iter().map(|change| change.diff).collect::<Vec<_>>(), [-1]);
        blocks.apply(vec![changes(&b, -1).collect()]);
        assert!(blocks.blocks.is_empty());
    }

    #[test]
    fn neighbours_across_midnight_meet() {
        assert!(share_a_block("2026-05-01T23:50:00Z", "2026-05-02T00:10:00Z"));
        assert!(share_a_block("2026-05-01T23:50:00-07:00", "2026-05-01"));
        assert!(share_a_block("2026-05-01T00:10:00+10:00", "2026-05-01"));
        assert!(!share_a_block("2026-05-01T12:00:00Z", "2026-05-02T12:00:00Z"));
    }

    #[test]
    fn a_hot_block_is_not_quadratic() {
        let config = ResolveConfig { block_cap: 10, ..ResolveConfig::default() };
        let mut blocks = Blocks::new(&config);
        let entries: Vec<Entry> =
            (0..300).map(|id| entry(&config, id, "Harvest Jazz", "2026-05-01T18:00:00Z")).collect();
        let came = blocks.apply(entries.iter().map(|entry| changes(entry, 1).collect()).collect());
        assert!(came.matches.len() < 2 * 300 * 10, "{}", came.matches.len());
        let sum = |changes: &Changes| changes.matches.iter().map(|change| isize::from(change.diff)).sum::<isize>();
        assert_eq!(sum(&came), 0, "300 equal listings are over every cap");
        assert!(came.stats.contains(&(Stat::SkippedPart, 1)));
        let went = blocks.apply(entries.iter().skip(5).map(|entry| changes(entry, -1).collect()).collect());
        assert_eq!(sum(&went), 10, "the five that are left match pair by pair");
        assert_eq!(
            went.stats.iter().map(|(_, diff)| diff).sum::<isize>(),
            -came.stats.iter().map(|(_, d)| d).sum::<isize>()
        );
    }
}
