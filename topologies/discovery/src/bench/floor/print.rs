//! What comparing needs of a listing, the blocks it is in, and the comparison.

use smallvec::SmallVec;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use xxhash_rust::xxh3::xxh3_64;

use super::parse::{DAY, Listing};

/// Words that say nothing.
const COMMON: [&str; 13] = ["a", "an", "and", "at", "by", "in", "live", "of", "or", "presents", "the", "with", "w"];

/// Starts may differ by so many minutes.
const APART: i64 = 60;

/// Listings that are at least so similar are one event.
const SIMILAR: f64 = 0.8;

/// Side of a geographic cell in degrees.
const CELL: f64 = 0.01;

/// Hashes of distinct words, ascending.
type Words = SmallVec<[u32; 12]>;

/// The compact form of a listing.
#[derive(Debug, Clone, Default)]
pub(super) struct Print {
    start: i64,
    whole_days: bool,
    title: Words,
    venue: Words,
    city: u32,
    point: Option<(f32, f32)>,
}

/// The blocks of a listing: two long words of the title, and the venue or the cell, each on its day.
pub(super) type Keys = SmallVec<[u64; 3]>;

impl Print {
    /// The compact form of `listing`, and its blocks.
    pub fn of(listing: &Listing<'_>) -> (Self, Keys) {
        let day = listing.start.div_euclid(DAY);
        let mut lengths = SmallVec::<[(u8, u32); 12]>::new();
        let title = words(&listing.title.0, &mut |length, word| lengths.push((length, word)));
        let venue = words(listing.venue.as_ref().map_or("", |venue| &venue.0), &mut |_, _| ());
        lengths.sort_unstable_by(|a, b| b.cmp(a));
        lengths.dedup();
        let mut keys: Keys = lengths.iter().take(2).map(|(_, word)| key(1, day, u64::from(*word))).collect();
        let place = match (venue.is_empty(), listing.point) {
            (false, _) => Some(key(2, day, venue.iter().fold(0, |sum, word| mixed(sum ^ u64::from(*word))))),
            (true, Some((lat, lon))) => Some(key(3, day, ((lat / CELL) as i64 * 100_000 + (lon / CELL) as i64) as u64)),
            (true, None) => None,
        };
        keys.extend(place);
        let print = Self {
            start: listing.start,
            whole_days: listing.whole_days,
            title,
            venue,
            city: xxh3_64(listing.city.0.as_bytes()) as u32,
            point: listing.point.map(|(lat, lon)| (lat as f32, lon as f32)),
        };
        (print, keys)
    }

    /// Whether two listings are one event.
    pub fn is(&self, other: &Self) -> bool {
        let apart = (self.start - other.start).abs();
        if apart > APART || self.whole_days != other.whole_days || self.city != other.city {
            return false;
        }
        let time = 1.0 - apart as f64 / 120.0;
        let (found, possible) = (0.4 * overlap(&self.title, &other.title) + 0.3 * time, 0.7);
        let place = match (self.point.zip(other.point), self.venue.is_empty() || other.venue.is_empty()) {
            (Some(((lat, lon), (other_lat, other_lon))), _) => {
                let metres = f64::from((lat - other_lat).abs().max((lon - other_lon).abs())) * 111_000.0;
                Some((1.0 - (metres - 100.0).max(0.0) / 900.0).max(0.0))
            }
            (None, false) => Some(overlap(&self.venue, &other.venue)),
            (None, true) => None,
        };
        place.map_or(found / possible, |place| (found + 0.3 * place) / (possible + 0.3)) > SIMILAR
    }
}

fn mixed(value: u64) -> u64 {
    let value = value.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    value ^ (value >> 29)
}

fn key(kind: u64, day: i64, what: u64) -> u64 {
    mixed(mixed(what ^ (kind << 60)) ^ day as u64)
}

/// The distinct words of a text without case and accents; `each` is told the length of each.
fn words(text: &str, each: &mut impl FnMut(u8, u32)) -> Words {
    let mut found = Words::new();
    let mut word = SmallVec::<[u8; 32]>::new();
    let mut push = |c: char, word: &mut SmallVec<[u8; 32]>| match c {
        _ if c.is_ascii_alphanumeric() => word.push(c.to_ascii_lowercase() as u8),
        _ if c.is_alphanumeric() => c.to_lowercase().for_each(|c| {
            let mut bytes = [0; 4];
            word.extend_from_slice(c.encode_utf8(&mut bytes).as_bytes());
        }),
        '\'' | '’' => {}
        _ if is_combining_mark(c) || word.is_empty() => {}
        _ => {
            if !COMMON.iter().any(|common| common.as_bytes() == word.as_slice()) {
                let hash = xxh3_64(word) as u32;
                found.push(hash);
                each(word.len() as u8, hash);
            }
            word.clear();
        }
    };
    match text.is_ascii() {
        true => text.bytes().for_each(|byte| push(char::from(byte), &mut word)),
        false => text.nfkd().for_each(|c| push(c, &mut word)),
    }
    push(' ', &mut word);
    found.sort_unstable();
    found.dedup();
    found
}

/// The mean of the shares that the common words have of all and of the smaller set.
fn overlap(a: &[u32], b: &[u32]) -> f64 {
    let (mut left, mut right, mut both) = (a.iter().peekable(), b.iter().peekable(), 0usize);
    while let (Some(one), Some(other)) = (left.peek(), right.peek()) {
        match one.cmp(other) {
            std::cmp::Ordering::Less => drop(left.next()),
            std::cmp::Ordering::Greater => drop(right.next()),
            std::cmp::Ordering::Equal => {
                both += 1;
                left.next();
                right.next();
            }
        }
    }
    let (smaller, all) = (a.len().min(b.len()).max(1), (a.len() + b.len() - both).max(1));
    (both as f64 / smaller as f64 + both as f64 / all as f64) / 2.0
}

#[cfg(test)]
mod tests {
    use super::super::parse::Text;
    use super::*;

    fn listing(title: &'static str, start: i64) -> Listing<'static> {
        Listing { title: Text(title.into()), start, city: Text("Berlin".into()), ..Listing::default() }
    }

    #[test]
    fn case_accents_and_order_do_not_matter() {
        let (one, keys) = Print::of(&listing("Café Concert: Łódź Quartet", 600));
        let (other, other_keys) = Print::of(&listing("QUARTET – the Cafe concert (Łódź)", 600));
        assert_eq!((&one.title, keys), (&other.title, other_keys));
        assert!(one.is(&other));
    }

    #[test]
    fn other_times_words_and_places_are_other_events() {
        let base = Print::of(&listing("Jazz Quartet", 600)).0;
        assert!(base.is(&Print::of(&listing("Jazz Quartet", 630)).0));
        assert!(!base.is(&Print::of(&listing("Jazz Quartet", 700)).0));
        assert!(!base.is(&Print::of(&listing("Woodcarving Night", 600)).0));
        let elsewhere = Listing { city: Text("Paris".into()), ..listing("Jazz Quartet", 600) };
        assert!(!base.is(&Print::of(&elsewhere).0));
    }

    #[test]
    fn words_in_common_are_weighed_twice() {
        assert_eq!(overlap(&[1, 2, 3], &[2, 3, 4, 5]), (2.0 / 3.0 + 2.0 / 5.0) / 2.0);
        assert_eq!(overlap(&[], &[]), 0.0);
    }
}
