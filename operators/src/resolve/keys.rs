//! Block keys: by what a listing is looked up.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64;

use super::config::ResolveConfig;
use super::fingerprint::Fingerprint;
use super::span::Span;
use super::token::{Class, Token};
use crate::listing::GeoPrecision;

/// Block keys of one listing, ascending.
pub type Keys = SmallVec<[u64; 8]>;

/// By how many words of its title a listing is looked up.
pub const TITLE_KEYS: usize = 3;

/// Side of a geographic cell in steps of 1e-7 degrees: about 1.1 km from south to north.
const CELL_E7: i64 = 100_000;

/// How near to a cell's border a point is put into the neighbour too: 110 m or less.
const CELL_MARGIN_E7: i64 = 10_000;

const DAY_MIN: i32 = 1_440;

/// Zones are at most about so far from UTC.
const HALF_DAY_MIN: i32 = DAY_MIN / 2 - 1;

/// Until when it is still the evening before for zones to the west.
const SMALL_HOURS_MIN: i32 = 180;

/// By what a block brings listings together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum KeyKind {
    /// The web page or the site on a day.
    Page = 0,
    /// The venue on a day.
    Venue = 1,
    /// The neighbourhood or the city on a day.
    Place = 2,
    /// Words of the title on a day.
    Title = 3,
}

impl std::fmt::Display for KeyKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Page => "web page",
            Self::Venue => "venue",
            Self::Place => "place",
            Self::Title => "words of the title",
        })
    }
}

/// By what two listings share blocks.
pub fn common_kinds(a: &Fingerprint, b: &Fingerprint) -> BTreeSet<KeyKind> {
    let kind = |key: &u64| match key >> 62 {
        0 => KeyKind::Page,
        1 => KeyKind::Venue,
        2 => KeyKind::Place,
        _ => KeyKind::Title,
    };
    a.keys.iter().filter(|key| b.keys.contains(key)).map(kind).collect()
}

/// SplitMix64's finaliser (Steele, Lea, Flood 2014): spreads the bits of small numbers.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn key(kind: KeyKind, day: i32, what: u64) -> u64 {
    ((kind as u64) << 62) | (mix(what ^ mix(u64::from(day as u32))) >> 2)
}

/// The keys of a listing whose title's leading words are `leading`.
pub(super) fn keys(fingerprint: &Fingerprint, leading: &[Token], config: &ResolveConfig) -> Keys {
    let mut keys = Keys::new();
    let venue = venue_signature(fingerprint);
    let cells = cells(fingerprint);
    let city = (!fingerprint.city().is_empty()).then(|| signature(fingerprint.city()));
    for day in days(&fingerprint.span, config) {
        keys.extend(fingerprint.url.map(|page| key(KeyKind::Page, day, page.exact)));
        keys.extend(venue.map(|venue| key(KeyKind::Venue, day, venue)));
        keys.extend(cells.iter().map(|&cell| key(KeyKind::Place, day, cell)));
        keys.extend(leading.iter().map(|token| key(KeyKind::Title, day, u64::from(token.hash()))));
        if leading.is_empty() && !fingerprint.title().is_empty() {
            keys.push(key(KeyKind::Title, day, signature(fingerprint.title())));
        }
        if fingerprint.span.start_min.is_none() {
            // Events of whole days are few, and their titles differ more.
            keys.extend(city.map(|city| key(KeyKind::Place, day, city)));
            keys.extend(
                fingerprint
                    .letters
                    .iter()
                    .chain([&fingerprint.core])
                    .filter(|letters| **letters != 0)
                    .map(|letters| key(KeyKind::Title, day, u64::from(*letters))),
            );
            keys.extend(
                fingerprint.url.filter(|page| page.site != 0).map(|page| key(KeyKind::Page, day, u64::from(page.site))),
            );
        }
    }
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// The days by which a listing is found: those of the clock at the place, with the neighbouring day
/// where a match may lie across midnight. A day without a time takes its neighbours along, and so
/// does a time in UTC, which is how sources write that they know no zone: the half of the world
/// in which it may be another day decides which neighbour.
fn days(span: &Span, config: &ResolveConfig) -> SmallVec<[i32; 8]> {
    let window = i32::try_from(config.session_gap_minutes).unwrap_or(DAY_MIN) / 2 + 1;
    let short = span.days() <= config.short_event_days;
    let length = if short { span.last_day.saturating_sub(span.first_day) } else { 0 };
    let (first, last) = match span.clock() {
        Some(clock) => {
            let (before, after) = match clock.rem_euclid(DAY_MIN) {
                minute if span.offset_min == 0 && minute < DAY_MIN / 2 => (HALF_DAY_MIN, window),
                _ if span.offset_min == 0 => (window, HALF_DAY_MIN),
                // In the small hours the clocks of neighbouring zones show the day before.
                minute if minute < SMALL_HOURS_MIN => (SMALL_HOURS_MIN, window),
                _ => (window, window),
            };
            let first = clock.saturating_sub(before).div_euclid(DAY_MIN);
            (first, clock.saturating_add(after).div_euclid(DAY_MIN).max(first.saturating_add(length)))
        }
        None => (span.first_day.saturating_sub(1), span.first_day.saturating_add(length).saturating_add(1)),
    };
    (first..=last).collect()
}

/// One number for a set of words, without those that tell nothing.
fn signature(tokens: &[Token]) -> u64 {
    let telling = tokens.iter().filter(|token| token.class() != Class::Noise);
    telling.fold(0, |all, token| mix(all ^ u64::from(token.hash())))
}

/// The venue by its telling words, or by all of them where none is.
fn venue_signature(fingerprint: &Fingerprint) -> Option<u64> {
    let telling: SmallVec<[Token; 8]> =
        fingerprint.venue().iter().copied().filter(|token| token.class() == Class::Telling).collect();
    let tokens = if telling.is_empty() { fingerprint.venue() } else { &telling };
    (!tokens.is_empty()).then(|| signature(tokens))
}

fn cells(fingerprint: &Fingerprint) -> SmallVec<[u64; 4]> {
    let Some((point, precision)) = fingerprint.geo else { return SmallVec::new() };
    if precision == GeoPrecision::City {
        return SmallVec::new();
    }
    let near = |e7: i32| {
        let low = (i64::from(e7) - CELL_MARGIN_E7).div_euclid(CELL_E7);
        low..=(i64::from(e7) + CELL_MARGIN_E7).div_euclid(CELL_E7)
    };
    near(point.lat_e7).flat_map(|lat| near(point.lon_e7).map(move |lon| mix(mix(lat as u64) ^ lon as u64))).collect()
}

/// The part of a part: same start, same place.
pub(super) fn moment_and_place(fingerprint: &Fingerprint) -> u64 {
    let span = &fingerprint.span;
    let when =
        span.start_min.map_or_else(|| xxh3_64(&span.first_day.to_le_bytes()), |start| mix(u64::from(start as u32)));
    let place = venue_signature(fingerprint).unwrap_or_else(|| signature(fingerprint.city()));
    mix(when ^ mix(place))
}
