//! Comparing two places: venues, addresses, cities.

use super::super::fingerprint::Fingerprint;
use super::super::token::{Class, Token, merge_words};

/// How two venues compare.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Venue {
    Same,
    /// The same house in the same street.
    Address,
    /// One name holds the other: a room and its building.
    Held,
    /// This share of the telling words in common.
    Part(f32),
    /// Another house of the same kind.
    Branch,
    Other,
}

pub(super) fn venue(a: &Fingerprint, b: &Fingerprint) -> Option<Venue> {
    let names = names_alike(a.venue(), b.venue());
    if matches!(names, Some(Venue::Same | Venue::Held)) {
        return names;
    }
    if same_house(a.address(), b.address()) {
        return Some(Venue::Address);
    }
    let held = |name: &[Token], address: &[Token]| {
        let telling = |word: &&Token| word.class() == Class::Telling;
        let count = name.iter().filter(telling).count();
        count > 0 && name.iter().filter(telling).all(|word| address.iter().any(|other| other.hash() == word.hash()))
    };
    if held(a.venue(), b.address()) || held(b.venue(), a.address()) {
        return Some(Venue::Held);
    }
    names
}

/// Whether the venues are one house, or one in the other.
pub(in crate::resolve) fn are_at_one_place(a: &Fingerprint, b: &Fingerprint) -> bool {
    matches!(venue(a, b), Some(Venue::Same | Venue::Address | Venue::Held))
}

fn names_alike(a: &[Token], b: &[Token]) -> Option<Venue> {
    if a.is_empty() || b.is_empty() {
        return None;
    }
    let weight = |tokens: &[Token]| tokens.iter().map(|token| token.agreeing()).sum::<u32>();
    let (mut common, mut telling) = (0, 0);
    merge_words(a, b, |x, y| {
        if let (Some(x), Some(_)) = (x, y) {
            common += x.agreeing();
            telling += if x.class() == Class::Telling { 4 } else { 0 };
        }
    });
    let (weight_a, weight_b) = (weight(a), weight(b));
    let tellings = |tokens: &[Token]| tokens.iter().filter(|token| token.class() == Class::Telling).count() as u32 * 4;
    let fewer = tellings(a).min(tellings(b));
    Some(if common == weight_a && common == weight_b {
        Venue::Same
    } else if telling > 0 && telling == fewer {
        Venue::Held
    } else if telling > 0 {
        Venue::Part(telling as f32 / fewer as f32)
    } else if common > 0 && fewer > 0 {
        Venue::Branch
    } else {
        Venue::Other
    })
}

/// Whether two addresses have a house number and a telling word in common.
fn same_house(a: &[Token], b: &[Token]) -> bool {
    let (mut number, mut street) = (false, false);
    merge_words(a, b, |x, y| {
        if let (Some(x), Some(_)) = (x, y) {
            number |= x.class() == Class::Kind;
            street |= x.class() == Class::Telling;
        }
    });
    number && street
}

/// Whether what one listing calls its city is in the venue or the address of the other: a resort, a
/// suburb.
pub(super) fn lies_in(a: &Fingerprint, b: &Fingerprint) -> bool {
    a.city().iter().all(|word| b.venue().iter().chain(b.address()).any(|other| other.hash() == word.hash()))
}

pub(super) fn same_city(a: &Fingerprint, b: &Fingerprint) -> Option<bool> {
    if a.city().is_empty() || b.city().is_empty() {
        return None;
    }
    Some(a.city().iter().any(|token| b.city().iter().any(|other| other.hash() == token.hash())))
}
