//! [`Fingerprint`]: what `resolve` needs to know of a listing to find and judge its duplicates.
//!
//! Computed once per listing, shared by all its blocks and edges, and free of text: words are
//! 32-bit hashes, so that comparing two titles is merging two short sorted lists of numbers.

use std::sync::Arc;

use differential_dataflow::VecCollection;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use url::Url;
use xxhash_rust::xxh3::{Xxh3Default, xxh3_64};

use super::block::{self, Entry, Keys};
use super::config::ResolveConfig;
use super::epochs::{Pending, Sender, by_listing, net_changes};
use super::identity::Carrier;
use crate::Epoch;
use crate::ids::ListingId;
use crate::listing::{GeoPrecision, LiveListing, Point};
use crate::meter::Held;
use crate::moment::Moment;
use crate::shared::Shared;

/// More words than this in one text are left out: nobody needs them to recognise a title.
const MAX_TOKENS: usize = 32;
const MINUTE_MS: i64 = 60_000;
const DAY_MIN: i64 = 1_440;

/// A word, normalised and hashed. The lowest bit tells common words ("festival", "night"), which
/// say little, from telling ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Token(u32);

impl Token {
    fn new(word: &str, common: bool) -> Self {
        Self(((xxh3_64(word.as_bytes()) as u32) & !1) | u32::from(common))
    }

    /// Whether it is in the fixed table of common words.
    pub fn is_common(self) -> bool {
        self.0 & 1 == 1
    }

    /// What it counts for in a comparison: a telling word as much as four common ones.
    pub fn weight(self) -> u32 {
        if self.is_common() { 1 } else { 4 }
    }

    /// The hash.
    pub fn hash(self) -> u32 {
        self.0
    }
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
    /// End in minutes since the Unix epoch, where the source gave a time of day.
    pub end_min: Option<i32>,
    /// Whether the source gave an end (one that does not lie before the start).
    pub has_end: bool,
}

impl Span {
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
    /// Words of the title, without years and numbers.
    pub title: Tokens,
    /// Years in the title.
    pub years: SmallVec<[u16; 4]>,
    /// Other numbers in the title: editions, parts, sessions.
    pub numbers: SmallVec<[u32; 4]>,
    /// When.
    pub span: Span,
    /// Where.
    pub geo: Option<(Point, GeoPrecision)>,
    /// Words of the venue's name, or of its address where it has no name.
    pub venue: Tokens,
    /// Words of the city.
    pub city: SmallVec<[Token; 4]>,
    /// Whether it can be attended online.
    pub online: bool,
    /// Hash of the canonical address of its own page.
    pub url: Option<u64>,
    /// The blocks it is in, ascending.
    pub keys: Keys,
}

impl Fingerprint {
    /// The fingerprint of `live`.
    pub fn of(live: &LiveListing, config: &ResolveConfig) -> Self {
        let listing = &live.listing;
        let venue = &listing.venue;
        let title = words(&listing.title, &TITLE_WORDS);
        let place = venue.name.as_deref().or(venue.address.as_deref()).unwrap_or_default();
        let mut fingerprint = Self {
            listing: live.id,
            first_seen: live.first_seen,
            source: xxh3_64(listing.source.as_bytes()),
            duplicate_free: config.duplicate_free.contains(&*listing.source),
            title: sorted(title.tokens.iter().map(|(token, _)| *token)),
            years: sorted(title.years),
            numbers: sorted(title.numbers),
            span: span(listing.start, listing.end),
            geo: venue.geo.map(|geo| (geo.point, geo.precision)),
            venue: sorted(words(place, &VENUE_WORDS).tokens.into_iter().map(|(token, _)| token)),
            city: sorted(
                words(venue.city.as_deref().unwrap_or_default(), &CITY_WORDS).tokens.into_iter().map(|(t, _)| t),
            ),
            online: listing.online,
            url: listing.urls.first().and_then(|url| canonical_url(url)),
            keys: Keys::new(),
        };
        fingerprint.keys = block::keys(&fingerprint, &leading(title.tokens), config);
        fingerprint
    }
}

/// The telling words by which a title is looked up: the longest first, since long words are rarer.
fn leading(mut tokens: Vec<(Token, usize)>) -> SmallVec<[Token; 8]> {
    tokens.retain(|(token, _)| !token.is_common());
    tokens.sort_unstable_by_key(|&(token, length)| (std::cmp::Reverse(length), token));
    tokens.dedup();
    tokens.into_iter().map(|(token, _)| token).take(block::TITLE_KEYS).collect()
}

fn sorted<A: smallvec::Array<Item = T>, T: Ord>(items: impl IntoIterator<Item = T>) -> SmallVec<A> {
    let mut items: SmallVec<A> = items.into_iter().collect();
    items.sort_unstable();
    items.dedup();
    items
}

struct Words {
    /// Each word with its length in characters.
    tokens: Vec<(Token, usize)>,
    years: Vec<u16>,
    numbers: Vec<u32>,
}

/// Words that carry no meaning in some kind of text, and words that carry little.
struct WordTable {
    stop: &'static [&'static str],
    common: &'static [&'static str],
}

/// Fixed, not counted from the listings present: one arrival never re-keys others. Both lists are
/// sorted, and hold words as [`stem`] leaves them.
const STOP: &[&str] = &[
    "a",
    "am",
    "an",
    "and",
    "at",
    "au",
    "by",
    "canceled",
    "cancelled",
    "das",
    "de",
    "der",
    "des",
    "die",
    "du",
    "el",
    "en",
    "et",
    "feat",
    "featuring",
    "for",
    "from",
    "ft",
    "im",
    "in",
    "la",
    "le",
    "los",
    "of",
    "on",
    "postponed",
    "present",
    "sold",
    "the",
    "to",
    "und",
    "v",
    "vs",
    "w",
    "with",
    "y",
];
const TITLE_WORDS: WordTable = WordTable {
    stop: STOP,
    common: &[
        "annual",
        "art",
        "beginner",
        "book",
        "center",
        "chat",
        "class",
        "club",
        "com",
        "community",
        "concert",
        "conf",
        "conference",
        "course",
        "day",
        "developer",
        "drink",
        "edition",
        "evening",
        "event",
        "exhibition",
        "fair",
        "family",
        "fest",
        "festival",
        "film",
        "food",
        "free",
        "friday",
        "group",
        "holiday",
        "hour",
        "international",
        "jam",
        "karaoke",
        "kid",
        "live",
        "market",
        "meeting",
        "meetup",
        "mic",
        "monday",
        "month",
        "monthly",
        "morning",
        "movie",
        "music",
        "national",
        "new",
        "night",
        "online",
        "open",
        "out",
        "party",
        "performance",
        "public",
        "quiz",
        "saturday",
        "season",
        "series",
        "session",
        "show",
        "social",
        "special",
        "storytime",
        "summer",
        "summit",
        "sunday",
        "symposium",
        "talk",
        "thursday",
        "time",
        "tour",
        "training",
        "trivia",
        "tuesday",
        "virtual",
        "webinar",
        "wednesday",
        "week",
        "weekend",
        "weekly",
        "winter",
        "workshop",
        "world",
    ],
};
const VENUE_WORDS: WordTable = WordTable {
    stop: STOP,
    common: &[
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
        "centre",
        "church",
        "city",
        "club",
        "college",
        "community",
        "conference",
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
        "theatre",
        "university",
    ],
};
const CITY_WORDS: WordTable = WordTable { stop: &["city", "of", "the"], common: &[] };

fn words(text: &str, table: &WordTable) -> Words {
    let mut words = Words { tokens: Vec::with_capacity(8), years: Vec::new(), numbers: Vec::new() };
    let mut skipped: Vec<(Token, usize)> = Vec::new();
    for_each_word(text, |word| {
        let read = words.tokens.len() + words.numbers.len() + words.years.len() + skipped.len();
        if read >= MAX_TOKENS || is_time_of_day(word) {
            return;
        }
        if let Some(number) = number_of(word) {
            match u16::try_from(number) {
                Ok(year @ 1900..=2100) => words.years.push(year),
                _ => words.numbers.push(number),
            }
            return;
        }
        let word = stem(word);
        let length = word.chars().count();
        if table.stop.binary_search(&word).is_ok() {
            skipped.push((Token::new(word, true), length));
        } else {
            words.tokens.push((Token::new(word, table.common.binary_search(&word).is_ok()), length));
        }
    });
    if words.tokens.is_empty() {
        // A title of nothing but stop words ("The The") is still a title.
        words.tokens = skipped;
    }
    words
}

/// Calls `visit` with each run of letters and digits: NFKD, lower case, without accents and
/// apostrophes.
fn for_each_word(text: &str, mut visit: impl FnMut(&str)) {
    let mut word = String::with_capacity(24);
    let mut push = |c: char, word: &mut String| {
        if c.is_ascii_alphanumeric() {
            word.push(c.to_ascii_lowercase());
        } else if c.is_alphanumeric() {
            word.extend(c.to_lowercase());
        } else if !matches!(c, '\'' | '’' | '`') && !is_combining_mark(c) && !word.is_empty() {
            visit(word);
            word.clear();
        }
    };
    if text.is_ascii() {
        text.chars().for_each(|c| push(c, &mut word));
    } else {
        text.nfkd().for_each(|c| push(c, &mut word));
    }
    push(' ', &mut word);
}

/// Cuts the plural of English words, the one inflection that listings differ in all the time.
fn stem(word: &str) -> &str {
    match word.strip_suffix('s') {
        Some(rest) if rest.len() > 2 && rest.is_ascii() && !rest.ends_with(['s', 'u', 'i']) => rest,
        _ => word,
    }
}

/// `12`, `12th`, `1st`; nothing longer than nine digits.
fn number_of(word: &str) -> Option<u32> {
    let digits = word.trim_end_matches(|c: char| c.is_ascii_lowercase());
    let suffix = &word[digits.len()..];
    let is_number = matches!(suffix, "" | "st" | "nd" | "rd" | "th");
    if is_number && !digits.is_empty() && digits.len() <= 9 { digits.parse().ok() } else { None }
}

/// `7pm`, `1130am`: times of day are compared as times.
fn is_time_of_day(word: &str) -> bool {
    let digits = word.strip_suffix("am").or_else(|| word.strip_suffix("pm"));
    digits.is_some_and(|digits| (1..=4).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()))
}

fn span(start: Moment, end: Option<Moment>) -> Span {
    let first_day = start.local_day_number();
    let start_min = minute(start);
    let alone = Span { first_day, last_day: first_day, start_min, end_min: None, has_end: false };
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

fn minute(moment: Moment) -> Option<i32> {
    match moment {
        Moment::Instant { ms, .. } => i32::try_from(ms.div_euclid(MINUTE_MS)).ok(),
        Moment::Day(_) => None,
    }
}

/// Hash of an address without what differs between copies of it: scheme, `www.`, trailing slash,
/// fragment, tracking parameters and the order of the others. A site's front page says nothing
/// about an event and has none.
fn canonical_url(text: &str) -> Option<u64> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    let host = url.host_str()?;
    let path = url.path().trim_end_matches('/');
    let mut query: SmallVec<[&str; 8]> =
        url.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty() && !is_tracking(pair)).collect();
    if path.is_empty() && query.is_empty() {
        return None;
    }
    query.sort_unstable();
    let mut hasher = Xxh3Default::new();
    hasher.update(host.strip_prefix("www.").unwrap_or(host).as_bytes());
    hasher.update(path.as_bytes());
    for pair in query {
        hasher.update(b"&");
        hasher.update(pair.as_bytes());
    }
    Some(hasher.digest())
}

fn is_tracking(pair: &str) -> bool {
    let name = pair.split('=').next().unwrap_or_default();
    name.starts_with("utm_") || matches!(name, "fbclid" | "gclid" | "mc_cid" | "mc_eid" | "ref" | "igshid")
}

/// A listing that enters (1) or leaves (-1) a block.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct BlockChange {
    pub(super) key: u64,
    pub(super) fingerprint: Shared<Fingerprint>,
    /// See [`Entry`]; beside `diff` it takes no room of its own.
    pub(super) start: i32,
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
    let start = Entry::start_of(fingerprint);
    fingerprint.keys.iter().map(move |key| BlockChange { key: *key, fingerprint: fingerprint.clone(), start, diff })
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
    use super::*;
    use crate::listing::Listing;

    fn fingerprint(title: &str) -> Fingerprint {
        let listing = Listing::new("s", "1", title, "2026-03-28T19:30:00-07:00".parse().unwrap());
        let live = LiveListing { id: listing.id(), first_seen: 0, updated_at: 0, listing };
        Fingerprint::of(&live, &ResolveConfig::default())
    }

    #[test]
    fn the_tables_are_sorted_and_hold_stems() {
        for table in [TITLE_WORDS, VENUE_WORDS, CITY_WORDS] {
            for list in [table.stop, table.common] {
                assert!(list.is_sorted(), "{list:?}");
                assert!(list.iter().all(|word| stem(word) == *word || *word == "series"), "{list:?}");
            }
        }
    }

    #[test]
    fn spelling_does_not_matter() {
        let plain = fingerprint("Cafe Munster's Jazz Nights");
        assert_eq!(plain.title, fingerprint("CAFÉ   Münsters: jazz night!").title);
        assert_eq!(plain.title, fingerprint("Ｃａｆé, Munster’s Jazz Night").title);
        assert_ne!(plain.title, fingerprint("Cafe Paris Jazz Night").title);
    }

    #[test]
    fn years_and_editions_are_not_words() {
        let found = fingerprint("12th PyCon 2026, part 3, 7pm");
        assert_eq!(found.years.as_slice(), [2026]);
        assert_eq!(found.numbers.as_slice(), [3, 12]);
        assert_eq!(found.title, fingerprint("PyCon part").title);
        assert_eq!(fingerprint("99999999999 things").numbers.as_slice(), [0u32; 0]);
    }

    #[test]
    fn a_title_of_stop_words_keeps_them() {
        assert_eq!(fingerprint("The The").title.len(), 1);
        assert!(fingerprint("").title.is_empty());
        assert!(fingerprint("!!! \u{0301}").title.is_empty());
    }

    #[test]
    fn addresses_are_canonical() {
        let one = canonical_url("http://www.Example.org/a/?utm_source=x&b=1&a=2#top");
        assert!(one.is_some());
        assert_eq!(one, canonical_url("https://example.org/a?a=2&b=1"));
        assert_eq!(canonical_url("https://example.org/?utm_source=x"), None);
        assert_eq!(canonical_url("mailto:someone"), None);
        assert_eq!(canonical_url("not an address"), None);
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
}
