//! [`Fingerprint`]: what `resolve` needs to know of a listing to find and judge its duplicates.
//!
//! Computed once per listing, shared by all its blocks and edges, and free of text: words are
//! 32-bit hashes, so that comparing two titles is merging two short sorted lists of numbers.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64;

use super::billing::Billing;
use super::designation::Designation;
use super::identity::Carrier;
use super::page::Page;
use super::sketch::Sketch;
use super::span::Span;
use super::token::{Number, Token};
use crate::ids::ListingId;
use crate::listing::{GeoPrecision, Point};

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
    /// Words of title, venue, address and city, what the title may be abbreviated to, and words of the
    /// organizer.
    pub(super) words: Words,
    /// Hashes of the letters of the title, as written, with codes for countries, and of all its words; 0
    /// for none.
    pub letters: [u32; 3],
    /// Hash of the letters of all words of the title after the first "and"; 0 for none.
    pub tail: u32,
    /// Hash of the letters of those words of the title that tell events apart; 0 for none.
    pub core: u32,
    /// Words of the title for what is only a part of an event, by bits.
    pub parts: u32,
    /// Hash of the series that it is an instance of; 0 for none.
    pub series: u32,
    /// Whom the title bills.
    pub billing: Billing,
    /// Hash of the letters of all words of the title: its name where a bill has it as an act; 0 for none.
    pub act: u32,
    /// The acts of a title that bills several, as hashes of their letters, ascending; else none.
    pub acts: Box<[u32]>,
    /// Parts that the title names.
    pub designations: Box<[Designation]>,
    /// Rooms that the venue's name names.
    pub rooms: Box<[Designation]>,
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

    /// Words of the organizer's name.
    pub fn organizer(&self) -> &[Token] {
        self.words.list(5)
    }

    /// It, as a carrier of an event's id.
    pub(super) fn carrier(&self) -> Carrier {
        Carrier { first_seen: self.first_seen, listing: self.listing }
    }

    /// A hash of its source and of what it says of what, when and where. That tells which listing takes
    /// the place of which where a source gives its entries new ids.
    pub(super) fn content(&self) -> u64 {
        let mut bytes: SmallVec<[u8; 192]> = SmallVec::new();
        let span = &self.span;
        bytes.extend_from_slice(&self.source.to_le_bytes());
        let numbers = self.numbers.iter().map(|number| number.value);
        let years = self.years.iter().map(|year| u32::from(*year));
        let parts = self.designations.iter().chain(&self.rooms).flat_map(|(sort, value)| [*sort, *value]);
        let times =
            [span.first_day, span.last_day, span.start_min.unwrap_or(i32::MIN), span.end_min.unwrap_or(i32::MIN)];
        let when = times.into_iter().map(|time| time as u32);
        for number in self.letters.into_iter().chain(when).chain(numbers).chain(years).chain(parts) {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for list in [self.title(), self.venue(), self.address(), self.city()] {
            bytes.push(u8::try_from(list.len()).unwrap_or(u8::MAX));
            list.iter().for_each(|token| bytes.extend_from_slice(&token.hash().to_le_bytes()));
        }
        xxh3_64(&bytes)
    }

    /// Whether anything is known of where it is.
    pub fn is_placed(&self) -> bool {
        self.geo.is_some() || !self.venue().is_empty() || !self.city().is_empty() || !self.address().is_empty()
    }
}

/// Six lists of words in one piece of memory: there are as many as listings are live.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Words {
    tokens: Box<[Token]>,
    /// Where each list ends.
    ends: [u8; 6],
}

impl Words {
    /// Of lists that have no more than 255 words together: a title gives two for each of
    /// [`MAX_TOKENS`](super::token::MAX_TOKENS) at most, and four abbreviations; a venue or a city of nothing but stop words as
    /// many as there are stop words; all else one for each of [`MAX_TOKENS`](super::token::MAX_TOKENS).
    pub(super) fn new(lists: [&[Token]; 6]) -> Self {
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
