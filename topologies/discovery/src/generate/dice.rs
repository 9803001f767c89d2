//! Chance that is the same on every machine.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What a stream of chance is for, so that no two uses share numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The order of things in the feed.
    Feed = 1,
    /// The venues.
    Venues,
    /// What a production is.
    Production,
    /// How one source tells of one event.
    Telling,
    /// How a record is broken.
    Breaking,
}

/// A stream of chance: ChaCha8, with integer arithmetic only above it.
///
/// Streams are cheap to open, so whatever has to be told again in the same way (an unchanged
/// repeat, an update) opens its own stream anew instead of being remembered.
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    /// The stream of `seed` for `purpose`, told apart by two numbers.
    pub fn new(seed: u64, purpose: Purpose, a: u64, b: u64) -> Self {
        let mut bytes = [0u8; 32];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip([seed, purpose as u64, a, b]) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        Self(ChaCha8Rng::from_seed(bytes))
    }

    /// A number in 0..n; 0 for n = 0.
    pub fn below(&mut self, n: u32) -> u32 {
        // The high half of the product is uniform up to one part in 2^32 / n.
        ((u64::from(self.0.next_u32()) * u64::from(n)) >> 32) as u32
    }

    /// An index in 0..len, for `len` below 2^32; 0 for an empty range.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(u32::try_from(len).unwrap_or(u32::MAX)) as usize
    }

    /// A number in low..=high.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        let span = u32::try_from(high - low + 1).unwrap_or(0);
        low + i64::from(self.below(span))
    }

    /// True in `percent` of 100 cases.
    pub fn percent(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }

    /// A number in 0..1, in steps of 2^-32.
    pub fn unit(&mut self) -> f64 {
        f64::from(self.0.next_u32()) / 4_294_967_296.0
    }

    /// One of `all`, which must not be empty.
    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.index(all.len())]
    }
}

/// A bijection on numbers below 2^40 that scatters neighbours, different for each salt: for ids
/// that say nothing about each other and never collide.
pub(super) fn scatter40(number: u64, salt: u64) -> u64 {
    const MASK: u64 = (1 << 40) - 1;
    let mut x = number & MASK;
    for round in 0..3u64 {
        // An odd factor and a shifted exclusive-or are each invertible modulo 2^40.
        x = x.wrapping_mul(0x9E_3779_B97F | 1).wrapping_add(salt.wrapping_mul(2 * round + 1)) & MASK;
        x ^= x >> 19;
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_reproducible_and_apart() {
        let draw = |a, purpose| Dice::new(1, purpose, a, 0).below(u32::MAX);
        assert_eq!(draw(1, Purpose::Telling), draw(1, Purpose::Telling));
        assert_ne!(draw(1, Purpose::Telling), draw(2, Purpose::Telling));
        assert_ne!(draw(1, Purpose::Telling), draw(1, Purpose::Production));
    }

    #[test]
    fn chance_is_the_same_on_every_machine() {
        let mut dice = Dice::new(42, Purpose::Feed, 0, 0);
        let rolls: Vec<u32> = (0..6).map(|_| dice.below(1000)).collect();
        assert_eq!(rolls, [613, 524, 769, 151, 916, 498]);
    }

    #[test]
    fn ids_do_not_collide() {
        let mut seen: Vec<u64> = (0..100_000).map(|n| scatter40(n, 7)).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 100_000);
        assert_ne!(scatter40(1, 7), scatter40(1, 8));
    }
}
