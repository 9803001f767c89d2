//! Billing: how a title names who plays, with guests or on a tour.
//!
//! One source bills a show as "Headliner: Some Tour", another as "Headliner with Support". What stands
//! before the first separator is the headliner in both, and all other words differ. So the headliner is
//! kept by itself, with what the rest of the title names. Of two shows at one place and hour, the same
//! headliner is the same show where one title names a tour and the other guests: only then do the
//! other words not contradict each other, as those of two workshops of one series would.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::separator::Separators;
use super::token::{Class, for_each_word, stem};
use super::vocabulary::{alias, sense};

/// Who plays, and what else a title names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Billing {
    /// Hash of the headliner's letters; 0 where the title has no more than that, or tells too little.
    pub headliner: u32,
    /// Whether the rest is of a tour, an album or the like.
    pub tour: bool,
    /// Whether the rest names guests or further acts.
    pub guests: bool,
}

/// Words that a tour or another frame of a concert has.
const TOUR: &[&str] =
    &["album", "anniversary", "ep", "farewell", "live", "record", "release", "residency", "tour", "unplugged", "world"];

/// Separators after which guests are named.
const GUESTS: Separators = Separators::new(&[
    " w/",
    " with ",
    " feat. ",
    " feat ",
    " ft. ",
    " ft ",
    " featuring ",
    " + ",
    " / ",
    ", ",
    " plus ",
    " mit ",
]);

/// Separators after which anything may follow.
const OTHERS: Separators = Separators::new(&[": ", " - ", " – ", " — ", " | ", " presents "]);

/// Reads the billing of a title.
pub(super) fn billing(title: &str) -> Billing {
    let (guests, other) = (GUESTS.first_in(title), OTHERS.first_in(title));
    let Some((at, length)) = guests.into_iter().chain(other).min() else { return Billing::default() };
    let rest = title.get(at + length..).unwrap_or_default();
    let mut tour = false;
    for_each_word(rest, |word, _| tour |= TOUR.binary_search(&stem(word)).is_ok());
    let Some(headliner) = headliner(title.get(..at).unwrap_or_default()) else { return Billing::default() };
    Billing { headliner, tour, guests: guests.is_some() }
}

/// A name has a telling word.
fn headliner(text: &str) -> Option<u32> {
    let (mut letters, mut telling) = (String::with_capacity(text.len()), false);
    for_each_word(text, |word, _| {
        telling |= sense(alias(stem(word))).class == Some(Class::Telling);
        letters.push_str(word);
    });
    telling.then(|| (xxh3_64(letters.as_bytes()) as u32).max(1))
}

/// Whether both bill one headliner, the one on a tour and the other with guests.
pub(super) fn is_one_show(a: &Billing, b: &Billing) -> bool {
    a.headliner != 0 && a.headliner == b.headliner && ((a.tour && b.guests) || (a.guests && b.tour))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tour_and_a_support_act_are_one_show() {
        assert!(TOUR.is_sorted());
        for (a, b, one) in [
            ("Marsh Owls: The Quiet Water Tour", "Marsh Owls w/ Tin Kettle", true),
            ("MARSH OWLS - World Tour", "Marsh Owls, Tin Kettle, Ada Brook", true),
            ("Marsh Owls (Album Release) with Reeds", "Marsh Owls - Farewell Tour", false),
            ("Basket Weaving with Ana", "Basket Weaving with Ben", false),
            ("Basket Weaving: Willow", "Basket Weaving: Reed", false),
            ("Basket Weaving: Willow", "Basket Weaving with Ben", false),
            ("Night with Ana", "Night: Summer Tour", false),
            ("Marsh Owls", "Marsh Owls", false),
        ] {
            assert_eq!(is_one_show(&billing(a), &billing(b)), one, "{a} / {b}");
            assert_eq!(is_one_show(&billing(b), &billing(a)), one, "{b} / {a}");
        }
    }
}
