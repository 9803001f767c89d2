//! [`Sketch`]: the few bytes of a listing by which most pairs are told apart.
//!
//! A listing meets many others of its day that share a word of its title, and is the same event as
//! hardly any of them. A full comparison looks through two fingerprints; a sketch gives an *upper
//! bound* of what the comparison would find, and where even that is below the threshold, nothing else
//! is looked at. What is made of it is in [`screen`](super::screen).
//!
//! Five pairs of six are of other sessions or other cities. That much can be told by a [`Glance`],
//! which lies in the block itself; sketches lie with the fingerprints, once for each listing.

use serde::{Deserialize, Serialize};

use super::token::{Class, Token};

/// Titles of more words than this are always compared in full.
pub(super) const WORDS: usize = 8;
/// Abbreviations and spellings without spaces: see [`acronyms`](super::Fingerprint::acronyms),
/// [`letters`](super::Fingerprint::letters), [`core`](super::Fingerprint::core) and
/// [`billing`](super::Fingerprint::billing).
pub(super) const SHORT: usize = 9;

pub(super) const OPEN: u8 = 1;
pub(super) const ONLINE: u8 = 2;
pub(super) const VENUE: u8 = 4;
pub(super) const POINT: u8 = 8;
pub(super) const PLACED: u8 = 16;
pub(super) const PAGE: u8 = 32;
pub(super) const CITY: u8 = 64;
pub(super) const REGION: u8 = 128;

/// Start where another start is no veto.
pub(super) const ANY_START: i32 = i32::MIN;

/// What a [`Screen`](super::screen::Screen) looks at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Glance {
    /// Start in minutes since the Unix epoch; `ANY_START` where only days count.
    pub(super) start: i32,
    /// See [`Span::offset_min`](super::span::Span::offset_min).
    pub(super) offset: i16,
    pub(super) flags: u8,
    /// A bit for each word of the city.
    pub(super) city: u32,
    /// Latitude in 1e-7 degrees.
    pub(super) lat_e7: i32,
}

/// What a [`Screen`](super::screen::Screen) looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sketch {
    pub(super) glance: Glance,
    /// Which words of the title name the own place, by position.
    pub(super) own_place: u8,
    /// The words of the title; the first [`len`](Self::len) of them.
    pub(super) title: [Token; WORDS],
    pub(super) len: u8,
    pub(super) short: [u16; SHORT],
    /// A bit for each of `short`, and for each word of the title or of `short`.
    pub(super) short_bits: u64,
    pub(super) title_bits: u64,
    /// A bit for each word of venue, city and country.
    pub(super) place: u32,
    /// A bit for each word of venue and address.
    pub(super) house: u32,
    /// Of the page's address, and of its site; 0 for none.
    pub(super) page: u16,
    pub(super) family: u16,
}

/// One of 32 bits for a word.
pub(super) fn bit(hash: u32) -> u32 {
    1 << (hash >> 27)
}

pub(super) fn bits(tokens: &[Token]) -> u32 {
    tokens.iter().fold(0, |all, token| all | bit(token.hash()))
}

/// The upper half of a hash, but 0 only for 0.
pub(super) fn half(hash: u32) -> u16 {
    if hash == 0 { 0 } else { ((hash >> 16) as u16).max(1) }
}

impl std::hash::Hash for Sketch {
    /// It follows from the rest of the fingerprint, and adds nothing to its hash.
    fn hash<H: std::hash::Hasher>(&self, _state: &mut H) {}
}

impl Glance {
    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The clock at the place, in minutes.
    pub(super) fn clock(&self) -> i32 {
        self.start.saturating_add(i32::from(self.offset))
    }
}

impl Default for Sketch {
    /// The sketch of nothing.
    fn default() -> Self {
        Self {
            glance: Glance { start: ANY_START, offset: 0, flags: 0, city: 0, lat_e7: 0 },
            own_place: 0,
            title: [Token::of_hash(0, Class::Noise); WORDS],
            len: 0,
            short: [0; SHORT],
            short_bits: 0,
            title_bits: 0,
            place: 0,
            house: 0,
            page: 0,
            family: 0,
        }
    }
}

impl Sketch {
    pub(super) fn has(&self, flag: u8) -> bool {
        self.glance.has(flag)
    }

    fn words(&self) -> &[Token] {
        self.title.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// Where in the title a word is, a bit for each position. All positions are looked at, whatever
    /// the length, so that this is a handful of vector instructions and no jumps.
    fn places_of(&self, word: Token) -> u8 {
        let found = (0u8..).zip(&self.title).fold(0, |all, (at, own)| all | u8::from(own.hash() == word.hash()) << at);
        found & ((1u16 << self.len) - 1) as u8
    }

    /// The least that the words which only this title has can weigh: those that may name where
    /// either listing is may not count at all.
    fn alone(&self, shared: u8, other: &Self) -> u32 {
        let uncounted = self.own_place | shared;
        let counts =
            |(position, token): &(u32, &Token)| uncounted >> position & 1 == 0 && other.place & bit(token.hash()) == 0;
        (0u32..).zip(self.words()).filter(counts).map(|(_, token)| token.differing()).sum()
    }

    /// Whether one title may be the other's abbreviation, or the same without its spaces.
    pub(super) fn may_abbreviate(&self, other: &Self) -> bool {
        if self.short_bits & other.title_bits == 0 {
            return false;
        }
        let short = |hash: &u16| *hash != 0;
        self.short
            .iter()
            .copied()
            .filter(short)
            .any(|hash| other.short.contains(&hash) || other.words().iter().any(|token| half(token.hash()) == hash))
    }
}

/// What two titles can have in common at most, and what at least they do not.
pub(super) struct Words {
    pub(super) common: u32,
    pub(super) telling: u32,
    /// Whether a word in common counts for certain.
    pub(super) certain: bool,
    pub(super) alone: [u32; 2],
}

impl Words {
    pub(super) fn of(a: &Sketch, b: &Sketch) -> Self {
        let (mut common, mut telling, mut certain, mut shared_a, mut shared_b) = (0, 0, false, 0u8, 0u8);
        for (i, x) in a.words().iter().enumerate() {
            let at = b.places_of(*x);
            if at == 0 {
                continue;
            }
            let weight = b.title.get(at.trailing_zeros() as usize).map_or(0, |y| x.agreeing().max(y.agreeing()));
            // A word that tells nothing counts where it names a place.
            common += weight.max(1);
            certain |= weight > 0;
            telling += if weight > 1 { weight } else { 0 };
            (shared_a, shared_b) = (shared_a | 1 << i, shared_b | at);
        }
        Self { common, telling, certain, alone: [a.alone(shared_a, b), b.alone(shared_b, a)] }
    }
}
