//! Sets of slots: most hold one, a few hold very many.

use roaring::RoaringBitmap;

/// A set of slots. Half of all words occur in one event only, for which a bitmap would take several
/// allocations.
#[derive(Debug, Default)]
pub(crate) enum Slots {
    /// No slot.
    #[default]
    Empty,
    /// This one.
    One(u32),
    /// Two or more, or what is left of them.
    Many(Box<RoaringBitmap>),
}

impl Slots {
    pub fn insert(&mut self, slot: u32) {
        match self {
            Self::Empty => *self = Self::One(slot),
            Self::One(known) if *known == slot => {}
            Self::One(known) => *self = Self::Many(Box::new(RoaringBitmap::from_iter([*known, slot]))),
            Self::Many(bitmap) => {
                bitmap.insert(slot);
            }
        }
    }

    pub fn remove(&mut self, slot: u32) {
        match self {
            Self::One(known) if *known == slot => *self = Self::Empty,
            Self::Empty | Self::One(_) => {}
            Self::Many(bitmap) => {
                bitmap.remove(slot);
                if bitmap.is_empty() {
                    *self = Self::Empty;
                }
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    pub fn len(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::One(_) => 1,
            Self::Many(bitmap) => bitmap.len(),
        }
    }

    /// They, from the lowest on.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        let (one, many) = match self {
            Self::Empty => (None, None),
            Self::One(slot) => (Some(*slot), None),
            Self::Many(bitmap) => (None, Some(bitmap.iter())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// How many of them are in `within`.
    pub fn count_in(&self, within: &RoaringBitmap) -> u64 {
        match self {
            Self::Empty => 0,
            Self::One(slot) => u64::from(within.contains(*slot)),
            Self::Many(bitmap) => bitmap.intersection_len(within),
        }
    }

    /// Adds them to `set`.
    pub fn add_to(&self, set: &mut RoaringBitmap) {
        match self {
            Self::Empty => {}
            Self::One(slot) => {
                set.insert(*slot);
            }
            Self::Many(bitmap) => *set |= &**bitmap,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set(steps in prop::collection::vec((any::<bool>(), 0u32..6), 0..30)) {
            let (mut slots, mut set) = (Slots::default(), BTreeSet::new());
            for (insert, slot) in steps {
                if insert {
                    slots.insert(slot);
                    set.insert(slot);
                } else {
                    slots.remove(slot);
                    set.remove(&slot);
                }
                let mut all = RoaringBitmap::new();
                slots.add_to(&mut all);
                prop_assert_eq!(all.iter().collect::<Vec<_>>(), set.iter().copied().collect::<Vec<_>>());
                prop_assert!(slots.iter().eq(set.iter().copied()));
                prop_assert_eq!((slots.len(), slots.is_empty()), (set.len() as u64, set.is_empty()));
                let odd = RoaringBitmap::from_iter([1, 3, 5]);
                prop_assert_eq!(slots.count_in(&odd), set.iter().filter(|slot| *slot % 2 == 1).count() as u64);
            }
        }
    }
}
