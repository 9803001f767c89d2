//! Selections: the events that a filter asks for.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use headwater_operators::moment::DAY_MS;
use roaring::RoaringBitmap;

use super::{Index, SHORT_DAYS};
use crate::document::Attribute;
use crate::filter::{Bound, Filter};
use crate::geo::Bounds;
use crate::slots::Slots;
use crate::text::{Field, QueryWord};

/// The events that a filter asks for, at one commit.
pub struct Selection {
    pub(super) slots: RoaringBitmap,
    /// For each word of the query, the events that it finds by what they count for it, best first. An event
    /// counts where it is met first.
    words: Vec<BTreeMap<Reverse<u32>, RoaringBitmap>>,
}

impl Selection {
    /// Number of events.
    pub fn total(&self) -> u64 {
        self.slots.len()
    }

    /// How well each of the events answers the query, by slot; see [`crate::text`].
    pub(super) fn scores(&self) -> Vec<u32> {
        let size = self.slots.max().map_or(0, |last| last as usize + 1);
        let mut scores = vec![0; size];
        for word in &self.words {
            let mut left = self.slots.clone();
            for (Reverse(score), slots) in word {
                for slot in &left & slots {
                    if let Some(sum) = scores.get_mut(slot as usize) {
                        *sum += score;
                    }
                }
                left -= slots;
            }
        }
        scores
    }
}

/// The events that may lie in some times.
struct Times {
    /// They do, by the day on which they begin.
    sure: RoaringBitmap,
    /// Their rows tell.
    open: RoaringBitmap,
}

fn day_of(ms: i64) -> i32 {
    i32::try_from(ms.div_euclid(DAY_MS)).unwrap_or(if ms < 0 { i32::MIN } else { i32::MAX })
}

impl Index {
    /// The events that `filter` asks for.
    pub fn select(&self, filter: &Filter) -> Selection {
        let query = filter.text.as_ref().map_or(&[][..], |text| text.words());
        let words: Vec<_> = query.iter().map(|word| self.found_by(word)).collect();
        let mut sets: Vec<RoaringBitmap> =
            words.iter().map(|word| word.values().fold(RoaringBitmap::new(), or)).collect();
        sets.extend(filter.any_of.iter().map(|(attribute, keys)| self.with_any(*attribute, keys)));
        let circle = filter.circle.map(|circle| circle.bounds());
        sets.extend(circle.into_iter().chain(filter.bounds).map(|bounds| self.near(&bounds)));
        sets.sort_by_key(RoaringBitmap::len);
        let slots = sets.into_iter().reduce(|all, set| all & set);
        let within = |set: RoaringBitmap| match &slots {
            None => set,
            Some(slots) => slots & set,
        };
        let slots = match (self.times(filter), filter.tests_rows_beside_times()) {
            (None, false) => within(self.all.clone()),
            (None, true) => self.admitted(filter, &within(self.all.clone())),
            (Some(Times { sure, open }), false) => within(sure) | self.admitted(filter, &within(open)),
            (Some(Times { sure, open }), true) => self.admitted(filter, &within(sure | open)),
        };
        Selection { slots: slots - self.with_disallowed(filter), words }
    }

    /// The events that may lie in the times of `filter`; `None` where it says nothing of times.
    fn times(&self, filter: &Filter) -> Option<Times> {
        if filter.from.is_none() && filter.until.is_none() {
            return None;
        }
        // An instant is on one day or another, by the zone: a day before or after.
        let (from, from_is_sure) = match filter.from {
            None => (i32::MIN, i32::MIN),
            Some(Bound::Day(day)) => (day, day),
            Some(Bound::Instant(ms)) => (day_of(ms).saturating_sub(1), i32::MAX),
        };
        let (until, until_is_sure) = match filter.until {
            None => (i32::MAX, i32::MAX),
            Some(Bound::Day(day)) => (day, day),
            Some(Bound::Instant(ms)) => (day_of(ms).saturating_add(1), i32::MIN),
        };
        let mut times = Times { sure: RoaringBitmap::new(), open: RoaringBitmap::new() };
        self.long.add_to(&mut times.open);
        let earliest = from.saturating_sub(SHORT_DAYS);
        if earliest <= until {
            for (day, slots) in self.days.range(earliest..=until) {
                // What begins and ends on days that are asked for is not over, and has begun.
                let is_sure = (from_is_sure..=until_is_sure).contains(day);
                slots.add_to(if is_sure { &mut times.sure } else { &mut times.open });
            }
        }
        Some(times)
    }

    fn admitted(&self, filter: &Filter, slots: &RoaringBitmap) -> RoaringBitmap {
        let admitted = |slot: &u32| self.entry(*slot).is_some_and(|entry| filter.admits_row(&entry.row, entry.commit));
        // They come in their order, so appending cannot fail.
        RoaringBitmap::from_sorted_iter(slots.iter().filter(admitted)).unwrap_or_default()
    }

    pub(super) fn with_any<'k>(
        &self,
        attribute: Attribute,
        keys: impl IntoIterator<Item = &'k Box<str>>,
    ) -> RoaringBitmap {
        let terms = &self.terms[attribute as usize];
        let mut set = RoaringBitmap::new();
        keys.into_iter().filter_map(|key| terms.get(key)).for_each(|term| term.slots.add_to(&mut set));
        set
    }

    /// The events that have a value which `filter` does not allow.
    fn with_disallowed(&self, filter: &Filter) -> RoaringBitmap {
        let sets = filter.none_of.iter().map(|(attribute, keys)| self.with_any(*attribute, keys));
        sets.fold(RoaringBitmap::new(), |all, set| all | set)
    }

    /// The events in the cells that `bounds` touches: some lie outside.
    pub(super) fn near(&self, bounds: &Bounds) -> RoaringBitmap {
        let mut set = RoaringBitmap::new();
        for (_, slots) in bounds.cells().flat_map(|cells| self.cells.range(cells)) {
            slots.add_to(&mut set);
        }
        set
    }

    fn found_by(&self, query: &QueryWord) -> BTreeMap<Reverse<u32>, RoaringBitmap> {
        let mut found: BTreeMap<Reverse<u32>, RoaringBitmap> = BTreeMap::new();
        let stem = query.stem();
        let from = (std::ops::Bound::Included(stem), std::ops::Bound::Unbounded);
        for (word, fields) in self.words.range::<str, _>(from).take_while(|(word, _)| word.starts_with(stem)) {
            let Some(met) = query.meets(word) else { continue };
            for (field, slots) in Field::ALL.iter().zip(fields).filter(|(_, slots)| !slots.is_empty()) {
                slots.add_to(found.entry(Reverse(met.weight() * field.weight())).or_default());
            }
        }
        found
    }

    /// The words of all shown events that begin with `stem`, with the number of events in which each stands.
    pub fn words_with<'i>(&'i self, stem: &'i str, hidden: &'i Hidden) -> impl Iterator<Item = (&'i str, u64)> {
        let from = (std::ops::Bound::Included(stem), std::ops::Bound::Unbounded);
        let words = self.words.range::<str, _>(from).take_while(move |(word, _)| word.starts_with(stem));
        // An event has a word in one field only.
        let words = words.map(|(word, fields)| (&**word, fields.iter().map(|slots| hidden.count_others(slots)).sum()));
        words.filter(|(_, count)| *count > 0)
    }

    /// The events that are not shown to whoever does not ask for a moderation.
    pub fn hidden(&self) -> Hidden {
        Hidden(self.with_disallowed(&Filter::shown()))
    }
}

/// The events that are not shown to whoever does not ask for a moderation: few.
pub struct Hidden(RoaringBitmap);

impl Hidden {
    /// Whether the event of a slot is one of them.
    pub(super) fn contains(&self, slot: u32) -> bool {
        self.0.contains(slot)
    }

    /// How many of `slots` are shown.
    pub(super) fn count_others(&self, slots: &Slots) -> u64 {
        slots.len() - if self.0.is_empty() { 0 } else { slots.count_in(&self.0) }
    }
}

fn or(mut all: RoaringBitmap, set: &RoaringBitmap) -> RoaringBitmap {
    all |= set;
    all
}
