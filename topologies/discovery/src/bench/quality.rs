//! How well listings were brought together: pairwise precision and recall against the truth.

use std::collections::HashMap;
use std::hash::Hash;

use headwater_operators::ListingId;
use serde::{Deserialize, Serialize};

use super::input::Truth;

/// Of pairs of listings: how many of those put together belong together, and the other way round.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// Share of the pairs put into one event that are one.
    pub precision: f64,
    /// Share of the pairs that are one event that were put into one.
    pub recall: f64,
    /// Listings that the truth knows and the result lacks; each counts as alone.
    pub missing: u64,
}

/// Compares `found`, the event of each listing, with the truth. Listings that the truth does not
/// know are left out.
pub(super) fn quality<E: Eq + Hash + Copy>(truth: &Truth, found: &HashMap<ListingId, E>) -> Quality {
    let mut both: HashMap<(E, u64), u64> = HashMap::new();
    let mut events: HashMap<E, u64> = HashMap::new();
    let mut true_events: HashMap<u64, u64> = HashMap::new();
    let mut missing = 0;
    for (listing, event) in truth {
        *true_events.entry(*event).or_default() += 1;
        match found.get(listing) {
            Some(cluster) => {
                *both.entry((*cluster, *event)).or_default() += 1;
                *events.entry(*cluster).or_default() += 1;
            }
            None => missing += 1,
        }
    }
    let together = pairs(both.values());
    Quality {
        precision: share(together, pairs(events.values())),
        recall: share(together, pairs(true_events.values())),
        missing,
    }
}

fn pairs<'a>(sizes: impl Iterator<Item = &'a u64>) -> u64 {
    sizes.map(|size| size * (size - 1) / 2).sum()
}

/// Where there is nothing to be right about, nothing is wrong.
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_counted_against_the_truth() {
        let id = |n: u128| ListingId(n);
        // Truth: {1, 2, 3}, {4, 5}, {6}; found: {1, 2}, {3, 4, 5}; 6 is missing, 9 unknown to the truth.
        let truth: Truth = [(1, 10), (2, 10), (3, 10), (4, 20), (5, 20), (6, 30)].map(|(n, e)| (id(n), e)).into();
        let found: HashMap<ListingId, char> =
            [(1, 'a'), (2, 'a'), (3, 'b'), (4, 'b'), (5, 'b'), (9, 'a')].map(|(n, e)| (id(n), e)).into();
        let measured = quality(&truth, &found);
        // Together: 12, 34, 35, 45. Right: 12, 45. True: 12, 13, 23, 45.
        assert_eq!(measured, Quality { precision: 0.5, recall: 0.5, missing: 1 });
    }

    #[test]
    fn no_pairs_are_no_mistakes() {
        let found: HashMap<ListingId, u8> = HashMap::new();
        let truth: Truth = [(ListingId(1), 1)].into();
        assert_eq!(quality(&truth, &found), Quality { precision: 1.0, recall: 1.0, missing: 1 });
    }
}
