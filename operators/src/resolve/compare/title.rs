//! Comparing two titles word by word.

use super::super::billing::is_one_show;
use super::super::fingerprint::Fingerprint;
use super::super::model::{Feature, Found};
use super::super::token::{Class, Number, Token, merge_words};
use super::place::{are_at_one_place, same_city};

/// Weight of title words in common (see [`Token::agreeing`]) that is called 1: two telling words.
const TELLING: f32 = 8.0;

/// Weight of differing words (see [`Token::differing`]) that is called 1: one telling word.
const DIFFERING: f32 = 4.0;

/// What is left of the weight of differing words where page and days agree: one event under two names.
pub(in crate::resolve) const ONE_PAGE: f32 = 0.5;

/// What two titles have in common and what not, by weight of their words.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Titles {
    /// In both.
    pub(super) common: u32,
    /// Of that, what telling words make up.
    pub(super) telling: u32,
    /// In one only, for each.
    pub(super) only: [u32; 2],
    /// The same words or letters.
    pub(super) same: bool,
    /// One abbreviates the other.
    pub(super) acronym: bool,
    /// Page and days are the same.
    pub(super) one_page: bool,
}

impl Titles {
    pub(super) fn other(&self) -> u32 {
        self.only[0].min(self.only[1])
    }

    /// Whether what agrees is nothing by which an event is known.
    pub(super) fn is_plain(&self) -> bool {
        self.telling < 8 && !self.acronym
    }

    pub(super) fn find(&self, a: &Fingerprint, b: &Fingerprint, found: &mut Found) {
        let mut push = |feature, value: f32| {
            if value != 0.0 {
                found.push((feature, value));
            }
        };
        let flag = |holds: bool| if holds { 1.0 } else { 0.0 };
        let (other, most) = (self.other(), self.only[0].max(self.only[1]));
        push(Feature::TitleSame, flag(self.same));
        push(Feature::TitleCommon, (self.common as f32 / TELLING).min(1.5));
        let whole = (2 * self.common + most + other).max(1) as f32;
        push(Feature::TitleShare, (2 * self.common) as f32 / whole);
        let weight = if self.one_page { ONE_PAGE } else { 1.0 };
        push(Feature::TitleOtherAny, flag(other >= 4) * weight);
        push(Feature::TitleOther, other.min(12) as f32 / DIFFERING * weight);
        push(Feature::TitleMore, (most - other).min(12) as f32 / DIFFERING);
        push(Feature::TitleNone, flag(self.common == 0 && !self.same && !self.acronym));
        push(Feature::TitleHeld, flag(other == 0 && most > 0 && self.telling > 0));
        push(Feature::TitleAcronym, flag(self.acronym));
        push(Feature::TitlePlain, flag(self.common > 0 && self.telling == 0));
        push(Feature::TitlePart, flag(a.parts != b.parts));
        let (x, y) = (&a.numbers, &b.numbers);
        let same = x.iter().any(|number| y.iter().any(|other| number.value == other.value));
        let plain = |numbers: &[Number]| numbers.iter().any(|number| !number.ordinal);
        push(Feature::NumberSame, flag(same));
        push(Feature::NumberOther, flag(!same && !x.is_empty() && !y.is_empty()));
        push(Feature::NumberMore, flag((plain(x) && y.is_empty()) || (x.is_empty() && plain(y))));
    }
}

/// Compares the words of two titles. A word that names the other listing's place ("at
/// Indiranagar", "Berlin") is no difference; one that names the own place is, unless the other
/// listing is known to be there too. Where each title names its own venue, and the venues are two
/// ("Forestville Egg Hunt" in Forestville Park, "Egg Hunt at the Winery"), those words differ, whatever the city.
pub(super) fn title(a: &Fingerprint, b: &Fingerprint) -> Titles {
    let same_days = (a.span.first_day, a.span.last_day) == (b.span.first_day, b.span.last_day);
    let same_page = a.url.zip(b.url).is_some_and(|(x, y)| x.exact == y.exact);
    let mut titles = Titles { one_page: same_days && same_page, ..Titles::default() };
    // Of what is in one only, what common words make up.
    let mut minor = [0, 0];
    // Of the words that only name the own venue, the weight.
    let mut venues = [0, 0];
    let common = |token: Token| if token.class() == Class::Common { token.differing() } else { 0 };
    merge_words(a.title(), b.title(), |x, y| match (x, y) {
        (Some(x), Some(y)) => {
            let place = names_city(x, a) || names_city(x, b);
            let weight = if place { 1 } else { x.agreeing().max(y.agreeing()) };
            titles.common += weight;
            titles.telling += if weight > 1 { weight } else { 0 };
        }
        (Some(x), None) if !names_place(x, a, b) => {
            titles.only[0] += x.differing();
            minor[0] += common(x);
        }
        (None, Some(y)) if !names_place(y, b, a) => {
            titles.only[1] += y.differing();
            minor[1] += common(y);
        }
        (Some(x), None) if names_venue(x, a) && !names_there(x, b) => venues[0] += x.differing(),
        (None, Some(y)) if names_venue(y, b) && !names_there(y, a) => venues[1] += y.differing(),
        _ => {}
    });
    if venues.iter().all(|weight| *weight > 0) && !same_page && !are_at_one_place(a, b) {
        titles.only = [0, 1].map(|side| titles.only[side] + venues[side]);
    }
    titles.acronym = a.acronyms().iter().any(|short| b.title().iter().any(|token| token.hash() == short.hash()))
        || b.acronyms().iter().any(|short| a.title().iter().any(|token| token.hash() == short.hash()));
    let same_letters = a.letters.iter().zip(&b.letters).any(|(x, y)| *x != 0 && x == y)
        || (a.letters[0] != 0 && a.letters[0] == b.letters[1])
        || (b.letters[0] != 0 && a.letters[1] == b.letters[0]);
    titles.same = ((titles.only == [0, 0] && titles.common > 0) || same_letters) && same_numbers(a, b);
    let same_core = a.core != 0 && a.core == b.core;
    let one_show = is_one_show(&a.billing, &b.billing) && are_at_one_place(a, b);
    if same_letters || titles.acronym || same_core || one_show {
        titles.only = if same_letters || titles.acronym || one_show { [0, 0] } else { minor };
        titles.common = titles.common.max(8);
        let own = |f: &Fingerprint| f.title().iter().filter(|token| token.class() == Class::Telling).count() as u32 * 4;
        let fewer = own(a).min(own(b));
        titles.telling = titles.telling.max(fewer.max(if titles.acronym { 4 } else { 0 }));
    }
    titles
}

/// Whether neither has a number, but for ordinals, that the other lacks.
fn same_numbers(a: &Fingerprint, b: &Fingerprint) -> bool {
    let within = |these: &[Number], those: &[Number]| {
        these.iter().filter(|number| !number.ordinal).all(|one| those.iter().any(|other| one.value == other.value))
    };
    within(&a.numbers, &b.numbers) && within(&b.numbers, &a.numbers)
}

/// Whether a word is the city or the country of a listing.
fn names_city(token: Token, f: &Fingerprint) -> bool {
    let same = |word: &Token| word.hash() == token.hash();
    f.city().iter().any(same) || f.country.iter().any(same)
}

fn names_venue(token: Token, f: &Fingerprint) -> bool {
    f.venue().iter().any(|word| word.hash() == token.hash())
}

/// Whether a word names where a listing is.
fn names_there(token: Token, f: &Fingerprint) -> bool {
    names_venue(token, f) || names_city(token, f)
}

/// Whether a word in the title of `own` only names where it is.
fn names_place(token: Token, own: &Fingerprint, other: &Fingerprint) -> bool {
    names_there(token, other)
        || (names_there(token, own)
            && (same_city(own, other) == Some(true) || own.country.is_some() && own.country == other.country))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::Model;
    use super::super::super::config::ResolveConfig;
    use super::*;
    use crate::listing::{Listing, LiveListing};

    fn points(titles: &Titles) -> f64 {
        let listing = Listing::new("a", "1", "x", "2026-05-01".parse().unwrap());
        let f = Fingerprint::of(&LiveListing::new(&listing, 0, 0), &ResolveConfig::default());
        let mut found = Found::new();
        titles.find(&f, &f, &mut found);
        let model = Model::default();
        found.iter().map(|(feature, value)| model.points(*feature, *value)).sum()
    }

    /// So many telling and common words in both, and so much that only one has.
    fn titles(telling: u32, common: u32, only: [u32; 2], one_page: bool) -> Titles {
        let (telling, common) = (4 * telling, 4 * telling + common);
        Titles { common, telling, only, same: only == [0, 0] && common > 0, one_page, ..Titles::default() }
    }

    proptest! {
        /// What agrees more, or differs less, never counts less.
        #[test]
        fn the_model_is_monotone(
            (telling, common) in (0..6u32, 0..6u32),
            only in [0..16u32, 0..16u32],
            (word, one_page) in (prop::sample::select(vec![1u32, 4]), any::<bool>()),
        ) {
            let before = points(&titles(telling, common, only, one_page));
            let rounding = 1e-4;
            let agreeing = if word == 4 { (telling + 1, common) } else { (telling, common + 1) };
            let more = points(&titles(agreeing.0, agreeing.1, only, one_page));
            prop_assert!(more + rounding >= before, "one more word in common: {before} to {more}");
            let apart = points(&titles(telling, common, only.map(|weight| weight + word), one_page));
            prop_assert!(apart <= before + rounding, "one more word in each alone: {before} to {apart}");
        }
    }
}
