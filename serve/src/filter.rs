//! Filters: which events are asked for.
//!
//! A filter says the same of an event whether it is looked up in the index or asked of the event itself.
//! It is canonical: two filters that ask for the same by the same values are equal.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};

use xxhash_rust::xxh3::Xxh3;

use crate::document::{Attribute, Facts, REJECTED, Row};
use crate::geo::{Bounds, Circle};
use crate::text::TextQuery;

/// Which events are asked for: those of which everything that it says holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Filter {
    /// For each attribute here, one of these values; they are keys, see [`Attribute::key`].
    pub any_of: BTreeMap<Attribute, BTreeSet<Box<str>>>,
    /// For each attribute here, none of these values.
    pub none_of: BTreeMap<Attribute, BTreeSet<Box<str>>>,
    /// Whether it can be attended online.
    pub online: Option<bool>,
    /// It is not over by then.
    pub from: Option<Bound>,
    /// It has begun by then.
    pub until: Option<Bound>,
    /// It lies in this circle.
    pub circle: Option<Circle>,
    /// It lies in this rectangle.
    pub bounds: Option<Bounds>,
    /// It is known to cost no more.
    pub price: Option<Price>,
    /// Its quality is this or better, in ten-thousandths.
    pub min_quality: Option<u16>,
    /// It changed at or after this.
    pub updated_since: Option<Since>,
    /// It has these words.
    pub text: Option<TextQuery>,
}

/// A bound in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bound {
    /// A day of the event's own calendar, inclusively, as days since 1970-01-01.
    Day(i32),
    /// An instant in ms since the Unix epoch.
    Instant(i64),
}

/// What an event may cost at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Price {
    /// Nothing.
    Free,
    /// Its lowest price is at most this, in thousandths of its currency's unit.
    AtMost(i64),
}

/// Since when an event has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Since {
    /// Its listings changed at this instant or later, in ms since the Unix epoch.
    Instant(i64),
    /// It was written by a commit after this one.
    Commit(u64),
}

impl Filter {
    /// What is shown to whoever does not ask for a moderation: all but what editors rejected.
    pub fn shown() -> Self {
        let rejected = BTreeSet::from([Box::from(REJECTED)]);
        Self { none_of: BTreeMap::from([(Attribute::Moderation, rejected)]), ..Self::default() }
    }

    /// Whether an event that the commit `commit` wrote last is asked for.
    pub fn admits(&self, facts: &Facts, commit: u64) -> bool {
        self.admits_terms(facts)
            && self.admits_row(&facts.row, commit)
            && self.text.as_ref().is_none_or(|text| text.score(&facts.words).is_some())
    }

    fn admits_terms(&self, facts: &Facts) -> bool {
        let has = |(attribute, keys): (&Attribute, &BTreeSet<Box<str>>)| {
            facts.terms.iter().any(|term| term.attribute == *attribute && keys.contains(&term.key))
        };
        self.any_of.iter().all(has) && !self.none_of.iter().any(has)
    }

    /// Whether all holds that is tested of a row.
    pub(crate) fn admits_row(&self, row: &Row, commit: u64) -> bool {
        self.online.is_none_or(|online| row.online == online)
            && self.from.is_none_or(|from| is_not_over(row, from))
            && self.until.is_none_or(|until| has_begun(row, until))
            && self.min_quality.is_none_or(|least| row.quality >= least)
            && self.price.is_none_or(|price| costs_at_most(row, price))
            && self.updated_since.is_none_or(|since| has_changed(row, commit, since))
            && self.circle.is_none_or(|circle| row.point.is_some_and(|point| circle.contains(point)))
            && self.bounds.is_none_or(|bounds| row.point.is_some_and(|point| bounds.contains(point)))
    }

    /// Whether anything but times is to be tested of rows.
    pub(crate) fn tests_rows_beside_times(&self) -> bool {
        self.online.is_some()
            || self.min_quality.is_some()
            || self.price.is_some()
            || self.updated_since.is_some()
            || self.circle.is_some()
            || self.bounds.is_some()
    }

    /// A number that tells filters apart, the same in every process of this version.
    pub fn digest(&self) -> u64 {
        let mut hasher = Xxh3::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

fn is_not_over(row: &Row, from: Bound) -> bool {
    match from {
        Bound::Day(day) => row.last_day >= day,
        // An event without an end is over once it has begun.
        Bound::Instant(ms) => row.end_ms > ms || row.start_ms >= ms,
    }
}

fn has_begun(row: &Row, until: Bound) -> bool {
    match until {
        Bound::Day(day) => row.first_day <= day,
        Bound::Instant(ms) => row.start_ms <= ms,
    }
}

fn costs_at_most(row: &Row, price: Price) -> bool {
    match price {
        Price::Free => row.free,
        Price::AtMost(most) => row.free || row.price <= most,
    }
}

fn has_changed(row: &Row, commit: u64, since: Since) -> bool {
    match since {
        Since::Instant(ms) => row.updated_ms >= ms,
        Since::Commit(number) => commit > number,
    }
}
