//! [`Fingerprint`]: what `resolve` needs to know of a listing to find and judge its duplicates.
//!
//! Computed once per listing, shared by all its blocks and edges, and free of text: words are
//! 32-bit hashes, so that comparing two titles is merging two short sorted lists of numbers.

use std::sync::{Arc, LazyLock};

use differential_dataflow::VecCollection;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use xxhash_rust::xxh3::xxh3_64;

use super::block;
use super::config::ResolveConfig;
use super::epochs::{Pending, Sender, by_listing, net_changes};
use super::identity::Carrier;
use super::page::Page;
use super::sketch::Sketch;
use super::title::{self, Class};
use crate::Epoch;
use crate::gazetteer::{Gazetteer, country_code};
use crate::ids::ListingId;
use crate::listing::{GeoPrecision, GeoProvenance, LiveListing, Point, VenueView};
use crate::meter::Held;
use crate::moment::Moment;
use crate::shared::Shared;
use crate::words::{is_apostrophe, push_plain};

/// More words than this in one text are left out: nobody needs them to recognise a title.
pub(super) const MAX_TOKENS: usize = 32;
const MINUTE_MS: i64 = 60_000;
const DAY_MIN: i64 = 1_440;

/// A word, normalised and hashed, with what such a word can tell in its two lowest bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Token(u32);

impl Token {
    pub(super) fn new(word: &str, class: Class) -> Self {
        Self::of_hash(xxh3_64(word.as_bytes()), class)
    }

    pub(super) fn of_hash(hash: u64, class: Class) -> Self {
        Self(((hash as u32) & !3) | class as u32)
    }

    pub(super) fn with_class(self, class: Class) -> Self {
        Self(self.hash() | class as u32)
    }

    /// What the word can tell.
    pub fn class(self) -> Class {
        match self.0 & 3 {
            0 => Class::Telling,
            1 => Class::Common,
            2 => Class::Kind,
            _ => Class::Noise,
        }
    }

    /// What it counts for where both have it: a telling word as much as four common ones.
    pub fn agreeing(self) -> u32 {
        [4, 1, 1, 0][self.class() as usize]
    }

    /// What it counts for where only one has it.
    pub fn differing(self) -> u32 {
        [4, 1, 4, 0][self.class() as usize]
    }

    /// The word's hash, the same whatever it tells.
    pub fn hash(self) -> u32 {
        self.0 & !3
    }
}

/// A number in a title.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Number {
    /// The number.
    pub value: u32,
    /// Whether it is an ordinal, as editions are.
    pub ordinal: bool,
}

/// Distinct words in ascending order.
pub type Tokens = SmallVec<[Token; 8]>;

/// When, as precisely as the source said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Span {
    /// First local day, in days since 1970-01-01.
    pub first_day: i32,
    /// Last local day; the first one where no end is known.
    pub last_day: i32,
    /// Start in minutes since the Unix epoch, where the source gave a time of day.
    pub start_min: Option<i32>,
    /// Minutes by which the clock at the place is ahead of UTC at the start; 0 where only days are
    /// known.
    pub offset_min: i16,
    /// End in minutes since the Unix epoch, where the source gave a time of day.
    pub end_min: Option<i32>,
    /// Whether the source gave an end (one that does not lie before the start).
    pub has_end: bool,
}

impl Span {
    /// The start as the clock at the place shows it, in minutes.
    pub fn clock(&self) -> Option<i32> {
        self.start_min.map(|start| start.saturating_add(i32::from(self.offset_min)))
    }

    /// By how many minutes two starts differ; `None` unless both have a time. Where a source has
    /// given the right time of the wrong zone (or of UTC), the clocks agree, and the instants do not:
    /// the lesser difference counts.
    pub fn apart(&self, other: &Self) -> Option<u32> {
        let instants = self.start_min?.abs_diff(other.start_min?);
        let clocks = self.clock()?.abs_diff(other.clock()?);
        Some(instants.min(clocks))
    }

    /// How many local days it touches.
    pub fn days(&self) -> u32 {
        self.last_day.abs_diff(self.first_day) + 1
    }
}

/// What `resolve` needs to know of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fingerprint {
    /// The listing.
    pub listing: ListingId,
    /// When it was first seen, in ms since the Unix epoch.
    pub first_seen: i64,
    /// Hash of its source.
    pub source: u64,
    /// Whether its source never lists an event twice.
    pub duplicate_free: bool,
    /// Words of title, venue, address and city, and what the title may be abbreviated to.
    words: Words,
    /// Hashes of the letters of the title, as written and with codes for countries; 0 for none.
    pub letters: [u32; 2],
    /// Hash of the letters of those words of the title that tell events apart; 0 for none.
    pub core: u32,
    /// Words of the title for what is only a part of an event, by bits.
    pub parts: u32,
    /// Years in the title.
    pub years: Box<[u16]>,
    /// Other numbers in the title: editions, parts, sessions.
    pub numbers: Box<[Number]>,
    /// When.
    pub span: Span,
    /// Where.
    pub geo: Option<(Point, GeoPrecision)>,
    /// Whether the coordinates may be the centre of a whole region: the source gave them with nothing
    /// but a name that is of no known city.
    pub vague: bool,
    /// The country.
    pub country: Option<Token>,
    /// Whether it can be attended online.
    pub online: bool,
    /// Its own page.
    pub url: Option<Page>,
    /// The blocks it is in, ascending.
    pub keys: Box<[u64]>,
    /// What most pairs are told apart by; it follows from all of the above.
    pub(super) sketch: Sketch,
}

impl Fingerprint {
    /// The fingerprint of `live`.
    pub fn of(live: &LiveListing, config: &ResolveConfig) -> Self {
        let listing = live.listing.view();
        let venue = &listing.venue;
        let title = title::read(listing.title);
        let mut fingerprint = Self {
            listing: live.id,
            first_seen: live.first_seen,
            source: xxh3_64(listing.source.as_bytes()),
            duplicate_free: config.duplicate_free.contains(listing.source),
            words: Words::new([
                &distinct_words(sorted(title.tokens.iter().map(|(token, _)| *token))),
                &sorted::<[Token; 8], _>(words(venue.name.unwrap_or_default(), &VENUE_WORDS)),
                &sorted::<[Token; 8], _>(street(venue.address.unwrap_or_default())),
                &sorted::<[Token; 8], _>(words(venue.city.unwrap_or_default(), &CITY_WORDS)),
                &title.acronyms.iter().map(|hash| Token(*hash)).collect::<Tokens>(),
            ]),
            letters: title.letters,
            core: title.core,
            parts: title.parts,
            years: sorted::<[u16; 4], _>(title.years).as_slice().into(),
            numbers: sorted::<[Number; 2], _>(title.numbers).as_slice().into(),
            span: span(listing.start, listing.end),
            geo: live.geo().map(|geo| (geo.point, geo.precision)),
            vague: is_vague(venue),
            country: venue.country.and_then(country_code).map(title::country_token_of),
            online: listing.online,
            url: listing.urls.first().and_then(Page::of),
            keys: Box::default(),
            sketch: Sketch::default(),
        };
        let keys = block::keys(&fingerprint, &leading(title.tokens, &title.acronyms), config);
        fingerprint.keys = keys.as_slice().into();
        fingerprint.sketch = Sketch::of(&fingerprint);
        fingerprint
    }

    /// Words of the title, without years and numbers.
    pub fn title(&self) -> &[Token] {
        self.words.list(0)
    }

    /// Words of the venue's name.
    pub fn venue(&self) -> &[Token] {
        self.words.list(1)
    }

    /// Words and numbers of the address.
    pub fn address(&self) -> &[Token] {
        self.words.list(2)
    }

    /// Words of the city.
    pub fn city(&self) -> &[Token] {
        self.words.list(3)
    }

    /// What the title may be abbreviated to.
    pub fn acronyms(&self) -> &[Token] {
        self.words.list(4)
    }
}

/// Five lists of words in one piece of memory: there are as many as listings are live.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Words {
    tokens: Box<[Token]>,
    /// Where each list ends.
    ends: [u8; 5],
}

impl Words {
    /// Of lists that have no more than 255 words together: a title gives two for each of
    /// [`MAX_TOKENS`] at most, and four abbreviations; a venue or a city of nothing but stop words as
    /// many as there are stop words; all else one for each of [`MAX_TOKENS`].
    fn new(lists: [&[Token]; 5]) -> Self {
        let mut end = 0;
        let ends = lists.map(|list| {
            end += list.len();
            u8::try_from(end).unwrap_or(u8::MAX)
        });
        debug_assert!(end <= usize::from(u8::MAX), "{end} words");
        Self { tokens: lists.concat().into(), ends }
    }

    fn list(&self, at: usize) -> &[Token] {
        let begin = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.tokens.get(usize::from(begin)..usize::from(self.ends[at])).unwrap_or_default()
    }
}

fn is_vague(venue: &VenueView<'_>) -> bool {
    let from_source = venue.geo.is_some_and(|geo| geo.provenance == GeoProvenance::Source);
    let bare = from_source && venue.name.is_none() && venue.address.is_none();
    let city = venue.city.filter(|_| bare);
    city.is_some_and(|city| Gazetteer::embedded().city(city, venue.region, venue.country).is_none())
}

/// The telling words by which a title is looked up: its own abbreviation first, then the longest, since long
/// words are rarer.
fn leading(mut tokens: Vec<(Token, usize)>, acronyms: &[u32]) -> SmallVec<[Token; 8]> {
    tokens.retain(|(token, _)| token.class() == Class::Telling);
    tokens
        .sort_unstable_by_key(|&(token, length)| (!acronyms.contains(&token.hash()), std::cmp::Reverse(length), token));
    tokens.dedup();
    tokens.into_iter().map(|(token, _)| token).take(block::TITLE_KEYS).collect()
}

/// Each word once, as what tells most.
fn distinct_words(mut tokens: Tokens) -> Tokens {
    tokens.dedup_by_key(|token| token.hash());
    tokens
}

fn sorted<A: smallvec::Array<Item = T>, T: Ord>(items: impl IntoIterator<Item = T>) -> SmallVec<A> {
    let mut items: SmallVec<A> = items.into_iter().collect();
    items.sort_unstable();
    items.dedup();
    items
}

/// Words that carry no meaning in some kind of text, and words that carry little.
type WordTable = LazyLock<foldhash::HashMap<&'static str, Weight>>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Weight {
    None,
    Little,
}

fn word_table(stop: &[&'static str], common: &[&'static str]) -> foldhash::HashMap<&'static str, Weight> {
    let little = common.iter().map(|word| (*word, Weight::Little));
    little.chain(stop.iter().map(|word| (*word, Weight::None))).collect()
}

static VENUE_WORDS: WordTable = LazyLock::new(|| {
    let common = [
        "arena",
        "auditorium",
        "ave",
        "avenue",
        "bar",
        "branch",
        "building",
        "cafe",
        "campus",
        "center",
        "church",
        "city",
        "club",
        "college",
        "community",
        "conf",
        "convention",
        "county",
        "court",
        "floor",
        "gallery",
        "hall",
        "hotel",
        "house",
        "library",
        "museum",
        "north",
        "park",
        "plaza",
        "public",
        "regional",
        "road",
        "room",
        "school",
        "south",
        "st",
        "stage",
        "street",
        "studio",
        "suite",
        "theater",
        "univ",
    ];
    word_table(title::STOP, &common)
});
static CITY_WORDS: WordTable = LazyLock::new(|| word_table(&["city", "of", "the"], &[]));

fn words(text: &str, table: &WordTable) -> SmallVec<[Token; 8]> {
    let (mut tokens, mut skipped) = (SmallVec::new(), SmallVec::new());
    for_each_word(text, |word, _| {
        if tokens.len() >= MAX_TOKENS || number_of(word).is_some() {
            return;
        }
        let word = title::alias(stem(word));
        match table.get(word) {
            Some(Weight::None) => skipped.push(Token::new(word, Class::Common)),
            Some(Weight::Little) => tokens.push(Token::new(word, Class::Common)),
            None => tokens.push(Token::new(word, Class::Telling)),
        }
    });
    if tokens.is_empty() { skipped } else { tokens }
}

/// The words of an address up to what follows the street, with house numbers as words.
fn street(address: &str) -> SmallVec<[Token; 8]> {
    let mut tokens = SmallVec::new();
    for_each_word(address, |word, _| {
        if tokens.len() < MAX_TOKENS {
            // A venue's name in an address has to be found there as it is in the name.
            let word = title::alias(stem(word));
            let common = VENUE_WORDS.contains_key(word);
            let class = match number_of(word) {
                Some(_) => Class::Kind,
                None if common || word.len() <= 2 => Class::Common,
                None => Class::Telling,
            };
            tokens.push(Token::new(word, class));
        }
    });
    tokens
}

/// Calls `visit` with each run of letters and digits, in plain lower-case letters without accents
/// and apostrophes, and with whether it is written in capitals.
pub(super) fn for_each_word(text: &str, mut visit: impl FnMut(&str, bool)) {
    if text.is_ascii() {
        return for_each_ascii_word(text, visit);
    }
    // Decomposition never reaches across a space.
    for part in text.split(' ') {
        match part.is_ascii() {
            true => for_each_ascii_word(part, &mut visit),
            false => for_each_word_of(part.nfkd(), &mut visit),
        }
    }
}

/// The same for characters that are decomposed.
fn for_each_word_of(chars: impl Iterator<Item = char>, mut visit: impl FnMut(&str, bool)) {
    let mut word = String::with_capacity(24);
    let mut upper = true;
    for c in chars.chain([' ']) {
        if c.is_ascii_alphanumeric() {
            upper &= c.is_ascii_uppercase();
            word.push(c.to_ascii_lowercase());
        } else if c.is_alphanumeric() {
            upper &= c.is_uppercase();
            push_plain(c, &mut word);
        } else if !is_apostrophe(c) && c != '`' && !is_combining_mark(c) {
            if !word.is_empty() {
                visit(&word, upper);
                word.clear();
            }
            upper = true;
        }
    }
}

/// The same for nothing but ASCII, word by word.
fn for_each_ascii_word(text: &str, mut visit: impl FnMut(&str, bool)) {
    let is_quote = |byte: u8| matches!(byte, b'\'' | b'`');
    let mut word = String::with_capacity(24);
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.bytes().position(|byte| !byte.is_ascii_alphanumeric() && !is_quote(byte)).unwrap_or(rest.len());
        let (part, after) = rest.split_at(end);
        rest = after.get(1..).unwrap_or_default();
        word.clear();
        word.push_str(part);
        if part.bytes().any(is_quote) {
            word.retain(|c| !matches!(c, '\'' | '`'));
        }
        if word.is_empty() {
            continue;
        }
        let upper = word.bytes().all(|byte| byte.is_ascii_uppercase());
        word.make_ascii_lowercase();
        visit(&word, upper);
    }
}

/// Cuts the plural of English words, the one inflection that listings differ in all the time.
pub(super) fn stem(word: &str) -> &str {
    match word.strip_suffix('s') {
        Some(rest) if rest.len() > 2 && rest.is_ascii() && !rest.ends_with(['s', 'u', 'i']) => rest,
        _ => word,
    }
}

/// `12`, `12th`, `1st`; nothing longer than nine digits.
pub(super) fn number_of(word: &str) -> Option<u32> {
    let digits = word.trim_end_matches(|c: char| c.is_ascii_lowercase());
    let suffix = &word[digits.len()..];
    let is_number = matches!(suffix, "" | "st" | "nd" | "rd" | "th");
    if is_number && !digits.is_empty() && digits.len() <= 9 { digits.parse().ok() } else { None }
}

fn span(start: Moment, end: Option<Moment>) -> Span {
    let first_day = start.local_day_number();
    let start_min = minute(start).filter(|_| !is_whole_day(start, end));
    let offset_min = match start {
        Moment::Instant { offset_min, .. } if start_min.is_some() => offset_min,
        _ => 0,
    };
    let alone = Span { first_day, last_day: first_day, start_min, offset_min, end_min: None, has_end: false };
    let Some(end) = end else { return alone };
    let end_min = minute(end);
    // Ends are exclusive for instants: one at midnight does not touch the day that begins there.
    let last_day = match end {
        Moment::Instant { ms, offset_min } => {
            let local_min = ms.div_euclid(MINUTE_MS) + i64::from(offset_min) - 1;
            i32::try_from(local_min.div_euclid(DAY_MIN)).unwrap_or(first_day)
        }
        Moment::Day(_) => end.local_day_number(),
    };
    let backwards = matches!((start_min, end_min), (Some(start), Some(end)) if end <= start);
    if backwards || last_day < first_day {
        return alone;
    }
    Span { last_day, end_min, has_end: true, ..alone }
}

/// Whether it begins at midnight of the place and lasts a day or nobody knows how long: that is how
/// sources write that they know no time of day.
fn is_whole_day(start: Moment, end: Option<Moment>) -> bool {
    let Moment::Instant { ms, offset_min } = start else { return false };
    let at_midnight = (ms.div_euclid(MINUTE_MS) + i64::from(offset_min)).rem_euclid(DAY_MIN) == 0;
    at_midnight
        && match end {
            Some(Moment::Instant { ms: end, .. }) => end <= ms || end - ms >= (DAY_MIN - 1) * MINUTE_MS,
            _ => true,
        }
}

fn minute(moment: Moment) -> Option<i32> {
    match moment {
        Moment::Instant { ms, .. } => i32::try_from(ms.div_euclid(MINUTE_MS)).ok(),
        Moment::Day(_) => None,
    }
}

/// A listing that enters (1) or leaves (-1) a block.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct BlockChange {
    pub(super) key: u64,
    pub(super) fingerprint: Shared<Fingerprint>,
    pub(super) diff: i8,
}

/// What clustering has to know of listings beside their matches.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Presence {
    Arrived(Carrier),
    Gone(ListingId),
    /// A live listing is named by a decision (1), or no longer (-1).
    Named(Shared<Fingerprint>, i8),
}

/// The fingerprints of the live listings of one worker.
#[derive(Debug)]
struct Fingerprints {
    config: Arc<ResolveConfig>,
    live: foldhash::HashMap<ListingId, Shared<Fingerprint>>,
    /// How many decisions name a listing.
    named: foldhash::HashMap<ListingId, isize>,
}

#[derive(Debug, Default)]
struct FingerprintsInput {
    listings: Vec<(Shared<LiveListing>, isize)>,
    named: Vec<(ListingId, isize)>,
}

#[derive(Debug, Default)]
struct FingerprintsOutput {
    blocks: Vec<BlockChange>,
    presence: Vec<Presence>,
}

impl Fingerprints {
    fn apply(&mut self, input: FingerprintsInput) -> FingerprintsOutput {
        let mut out = FingerprintsOutput::default();
        let mut was_named: foldhash::HashMap<ListingId, bool> = foldhash::HashMap::default();
        for (listing, diff) in input.named {
            was_named.entry(listing).or_insert(self.named.contains_key(&listing));
            let count = self.named.entry(listing).or_default();
            *count += diff;
            if *count == 0 {
                self.named.remove(&listing);
            }
        }
        let listings = net_changes(input.listings);
        out.blocks.reserve(listings.len() * 6);
        out.presence.reserve(listings.len());
        self.live.reserve(listings.len());
        for (listing, live) in listings {
            let new = live.map(|live| Shared::new(Fingerprint::of(&live, &self.config)));
            let old = match &new {
                Some(new) => self.live.insert(listing, new.clone()),
                None => self.live.remove(&listing),
            };
            let is_named = self.named.contains_key(&listing);
            let was_named = was_named.remove(&listing).unwrap_or(is_named);
            change(listing, (old, was_named), (new, is_named), &mut out);
        }
        for (listing, was_named) in was_named {
            let here = self.live.get(&listing).cloned();
            let is_named = self.named.contains_key(&listing);
            change(listing, (here.clone(), was_named), (here, is_named), &mut out);
        }
        out
    }
}

type State = (Option<Shared<Fingerprint>>, bool);

/// Tells blocks and clustering how a listing changed.
fn change(listing: ListingId, before: State, after: State, out: &mut FingerprintsOutput) {
    if before == after {
        return;
    }
    for (state, diff) in [(&before, -1), (&after, 1)] {
        if let (Some(fingerprint), true) = state {
            out.presence.push(Presence::Named(fingerprint.clone(), diff));
        }
    }
    match (&before.0, &after.0) {
        (None, Some(new)) => out.presence.push(Presence::Arrived(Carrier { first_seen: new.first_seen, listing })),
        (Some(_), None) => out.presence.push(Presence::Gone(listing)),
        _ => {}
    }
    if before.0 != after.0 {
        for (fingerprint, diff) in [(before.0, -1), (after.0, 1)] {
            let Some(fingerprint) = fingerprint else { continue };
            out.blocks.extend(into_blocks(&fingerprint, diff));
        }
    }
}

/// A listing entering (1) or leaving (-1) all its blocks.
pub(super) fn into_blocks(fingerprint: &Shared<Fingerprint>, diff: i8) -> impl Iterator<Item = BlockChange> {
    let into = move |key: &u64| BlockChange { key: *key, fingerprint: fingerprint.clone(), diff };
    fingerprint.keys.iter().map(into)
}

/// Wires [`Fingerprint::of`]: live listings, and those that decisions name, to the blocks
/// that they enter and leave and to what clustering has to know of them.
pub(super) fn fingerprints<'s>(
    listings: VecCollection<'s, Epoch, Shared<LiveListing>>,
    named: VecCollection<'s, Epoch, ListingId>,
    config: &Arc<ResolveConfig>,
) -> (Stream<'s, Epoch, Vec<BlockChange>>, Stream<'s, Epoch, Vec<Presence>>) {
    let mut builder = OperatorBuilder::new("ResolveFingerprint".to_owned(), listings.inner.scope());
    let mut listings = builder.new_input(listings.inner, by_listing());
    let to_listing = Exchange::new(|(listing, _, _): &(ListingId, Epoch, isize)| listing.0 as u64);
    let mut named = builder.new_input(named.inner, to_listing);
    let (blocks_out, blocks) = builder.new_output();
    let (presence_out, presence) = builder.new_output();
    let (mut blocks_out, mut presence_out) = (Sender::from(blocks_out), Sender::from(presence_out));
    let mut fingerprints = Fingerprints {
        config: Arc::clone(config),
        live: foldhash::HashMap::default(),
        named: foldhash::HashMap::default(),
    };
    let held = Held::new("resolve-fingerprints");
    builder.build(move |_| {
        let mut pending = Pending::<FingerprintsInput>::new(2);
        move |frontiers| {
            listings.for_each(|capability, data| {
                for (live, epoch, diff) in data.drain(..) {
                    pending.at(&capability, epoch).listings.push((live, diff));
                }
            });
            named.for_each(|capability, data| {
                for (listing, epoch, diff) in data.drain(..) {
                    pending.at(&capability, epoch).named.push((listing, diff));
                }
            });
            while let Some(complete) = pending.complete(frontiers) {
                let out = fingerprints.apply(complete.input);
                held.set(fingerprints.live.len());
                blocks_out.send(&complete.capabilities, 0, out.blocks);
                presence_out.send(&complete.capabilities, 1, out.presence);
            }
        }
    });
    (blocks, presence)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::listing::Listing;

    proptest! {
        #[test]
        fn words_are_those_of_the_decomposed_characters(
            text in prop_oneof!["[A-Ca-c0-9 .'`-]{0,24}", "[A-Ca-c0-9 .'éß日…\u{301}\u{327}\u{a0}\u{a8}\u{345}\u{37a}\u{384}]{0,24}"]
        ) {
            let (mut by_words, mut by_chars) = (Vec::new(), Vec::new());
            for_each_word(&text, |word, upper| by_words.push((word.to_owned(), upper)));
            for_each_word_of(text.nfkd(), |word, upper| by_chars.push((word.to_owned(), upper)));
            prop_assert_eq!(by_words, by_chars);
        }
    }

    fn fingerprint(title: &str) -> Fingerprint {
        let listing = Listing::new("s", "1", title, "2026-03-28T19:30:00-07:00".parse().unwrap());
        let live = LiveListing::new(&listing, 0, 0);
        Fingerprint::of(&live, &ResolveConfig::default())
    }

    #[test]
    fn the_tables_hold_stems() {
        for (word, weight) in VENUE_WORDS.iter().chain(CITY_WORDS.iter()) {
            assert!(*weight == Weight::None || stem(word) == *word, "{word}");
        }
    }

    #[test]
    fn spelling_does_not_matter() {
        let plain = fingerprint("Cafe Munster's Jazz Nights");
        assert_eq!(plain.title(), fingerprint("CAFÉ   Münsters: jazz night!").title());
        assert_eq!(plain.title(), fingerprint("Ｃａｆé, Munster’s Jazz Night").title());
        assert_ne!(plain.title(), fingerprint("Cafe Paris Jazz Night").title());
        assert_eq!(fingerprint("Łódź Straße Ølfest").title(), fingerprint("Lodz Strasse Olfest").title());
    }

    #[test]
    fn the_longest_texts_lose_no_words() {
        let words = |form: fn(u32) -> String| (0..60).map(form).collect::<Vec<_>>().join(" ");
        let letters = |n: u32| {
            ["b", "k", "l", "m", "r"].map(|c| c.repeat(n as usize % 7 + 1)).join("o") + &"z".repeat(n as usize / 7)
        };
        let compounds = (0..60).map(|n| letters(n) + "conf").collect::<Vec<_>>().join(" ");
        let mut listing = Listing::new("s", "1", &compounds, "2026-03-28".parse().unwrap());
        listing.venue.name = Some(title::STOP.join(" ").into());
        listing.venue.address = Some(words(|n| format!("{n}th")).into());
        listing.venue.city = Some((0..60).map(letters).collect::<Vec<_>>().join(" ").into());
        let found = Fingerprint::of(&LiveListing::new(&listing, 0, 0), &ResolveConfig::default());
        assert!(found.title().len() > MAX_TOKENS && found.venue().len() > MAX_TOKENS);
        assert_eq!((found.address().len(), found.city().len()), (MAX_TOKENS, MAX_TOKENS));
        let alone = |change: fn(&mut Listing)| {
            let mut listing = listing.clone();
            change(&mut listing);
            Fingerprint::of(&LiveListing::new(&listing, 0, 0), &ResolveConfig::default())
        };
        assert_eq!(found.city(), alone(|listing| listing.title = "x".into()).city());
    }

    #[test]
    fn years_and_editions_are_not_words() {
        let found = fingerprint("12th PyCon 2026, part 3, 7pm");
        assert_eq!(*found.years, [2026]);
        assert_eq!(found.numbers.iter().map(|number| number.value).collect::<Vec<_>>(), [3, 12]);
        assert_eq!(found.title(), fingerprint("PyCon part").title());
        assert!(fingerprint("99999999999 things").numbers.is_empty());
        assert_eq!(*fingerprint("Jazz III").numbers, [Number { value: 3, ordinal: false }]);
    }

    #[test]
    fn dates_and_times_in_titles_are_compared_as_such() {
        for title in ["Rat Therapy April 30 @ 8:00 pm", "Rat Therapy, 30 April, 8pm", "Rat Therapy 8 pm"] {
            let found = fingerprint(title);
            assert_eq!((&found.title(), found.numbers.len()), (&fingerprint("Rat Therapy").title(), 0), "{title}");
        }
    }

    #[test]
    fn who_presents_says_nothing() {
        let telling = |title: &str| fingerprint(title).title().iter().map(|token| token.differing()).sum::<u32>();
        assert_eq!(telling("Golden State Bank presents: Rat Therapy"), telling("Rat Therapy"));
        assert_eq!(telling("Rat Therapy presents"), telling("Rat Therapy"));
    }

    #[test]
    fn a_title_of_stop_words_keeps_them() {
        assert_eq!(fingerprint("The The").title().len(), 1);
        assert!(fingerprint("").title().is_empty());
        assert!(fingerprint("!!! \u{0301}").title().is_empty());
    }

    #[test]
    fn ends_before_starts_are_no_ends() {
        let at = |text: &str| text.parse::<Moment>().unwrap();
        let backwards = span(at("2026-03-28T19:00:00Z"), Some(at("2026-03-28T18:00:00Z")));
        assert!(!backwards.has_end && backwards.days() == 1);
        let until_midnight = span(at("2026-03-28T19:00:00Z"), Some(at("2026-03-29T00:00:00Z")));
        assert_eq!(until_midnight.days(), 1);
        assert_eq!(span(at("2026-03-28"), Some(at("2026-03-30"))).days(), 3);
    }

    #[test]
    fn a_whole_day_from_midnight_has_no_time() {
        let at = |text: &str| text.parse::<Moment>().unwrap();
        let midnight = at("2026-03-28T00:00:00-07:00");
        assert_eq!(span(midnight, None).start_min, None);
        assert_eq!(span(midnight, Some(at("2026-03-29T00:00:00-07:00"))).start_min, None);
        assert!(span(midnight, Some(at("2026-03-28T02:00:00-07:00"))).start_min.is_some());
    }

    #[test]
    fn the_right_time_of_the_wrong_zone_is_the_same_time() {
        let at = |text: &str| span(text.parse().unwrap(), None);
        let pacific = at("2026-03-28T19:30:00-07:00");
        assert_eq!(pacific.apart(&at("2026-03-28T19:30:00-04:00")), Some(0));
        assert_eq!(pacific.apart(&at("2026-03-29T02:30:00Z")), Some(0));
        assert_eq!(pacific.apart(&at("2026-03-28T18:30:00-07:00")), Some(60));
        assert_eq!(pacific.apart(&at("2026-03-28")), None);
    }
}
