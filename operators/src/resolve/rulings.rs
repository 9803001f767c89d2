//! Rulings: the decisions that are known, which of them are followed, and what is to be told of them.
//!
//! - A decision counts while both its listings are live; until then it waits.
//! - "Different" always holds: of all ways out of an impossible set (A same B, B same C, A different
//!   C), it is the one that spoils nothing. "Same" decisions are followed from the newest to the
//!   oldest, ties by listing ids, each unless a "different" stands between two listings that it
//!   would bring together. So the oldest "same" of an impossible set is overruled, whatever the
//!   order of arrival. It takes effect as soon as what overrules it is withdrawn.

use foldhash::{HashMap, HashSet};
use smallvec::SmallVec;

use super::decision::{Decision, DecisionReport, DecisionState, Known, ListingRef, Pair};
use super::disjoint_sets::DisjointSets;
use crate::ids::ListingId;
use crate::shared::Shared;

/// A "same" decision that cannot hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overruled {
    /// Its listings, by index.
    pub same: (usize, usize),
    /// The "different" decisions that stand against it, ascending.
    pub by: Vec<(usize, usize)>,
}

/// Of the "same" decisions among `size` listings, with their times, those that hold and those that
/// are overruled. `different` is ascending.
pub fn settle(
    size: usize,
    mut same: Vec<(i64, usize, usize)>,
    different: &[(usize, usize)],
) -> (Vec<(usize, usize)>, Vec<Overruled>) {
    let (mut holding, mut overruled) = (Vec::new(), Vec::new());
    let mut sets = DisjointSets::new(size);
    same.sort_unstable_by_key(|&(at, a, b)| (std::cmp::Reverse(at), a, b));
    for (_, a, b) in same {
        let roots = ordered(sets.root(a), sets.root(b));
        let between = |&&(x, y): &&(usize, usize)| ordered(sets.root(x), sets.root(y)) == roots;
        let by: Vec<(usize, usize)> = different.iter().filter(between).copied().collect();
        if by.is_empty() {
            sets.join(a, b);
            holding.push((a, b));
        } else {
            overruled.push(Overruled { same: (a, b), by });
        }
    }
    (holding, overruled)
}

fn ordered<T: Ord>(a: T, b: T) -> (T, T) {
    if a <= b { (a, b) } else { (b, a) }
}

/// A report that comes (1) or goes (-1).
pub(super) type ReportChange = ((Pair, Shared<DecisionReport>), isize);

/// All decisions, and what was last told of them.
#[derive(Debug, Default)]
pub(super) struct Rulings {
    known: HashMap<Pair, Known>,
    /// The other sides of a listing's decisions, whether live or not.
    partners: HashMap<ListingId, SmallVec<[ListingId; 2]>>,
    reports: HashMap<Pair, Shared<DecisionReport>>,
}

impl Rulings {
    /// Number of pairs that are decided.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Takes in that a decision came or went.
    pub(super) fn rule(&mut self, pair: Pair, decision: Shared<Decision>, diff: isize) {
        let known = self.known.entry(pair).or_default();
        let was_known = !known.is_empty();
        known.change(decision, diff);
        let is_known = !known.is_empty();
        if !is_known {
            self.known.remove(&pair);
        }
        if was_known != is_known {
            self.set_partners(pair.0, pair.1, is_known);
            self.set_partners(pair.1, pair.0, is_known);
        }
    }

    fn set_partners(&mut self, from: ListingId, to: ListingId, known: bool) {
        let others = self.partners.entry(from).or_default();
        if known {
            others.push(to);
        } else {
            others.retain(|other| *other != to);
        }
        if others.is_empty() {
            self.partners.remove(&from);
        }
    }

    /// The other listings that decisions name with `listing`.
    pub(super) fn partners(&self, listing: ListingId) -> impl Iterator<Item = ListingId> {
        self.partners.get(&listing).into_iter().flatten().copied()
    }

    /// The decision that counts on `listing` and `other`.
    pub(super) fn on(&self, listing: ListingId, other: ListingId) -> Option<&Shared<Decision>> {
        self.known.get(&ordered(listing, other))?.counting()
    }

    /// Looks at `pairs` again and returns which reports change. `overruled` holds, of the "same"
    /// decisions among them, those that are, with what stands against each.
    pub(super) fn review(
        &mut self,
        pairs: HashSet<Pair>,
        overruled: &HashMap<Pair, Vec<Pair>>,
        is_live: impl Fn(ListingId) -> bool,
    ) -> Vec<ReportChange> {
        let mut changes = Vec::new();
        for pair in pairs {
            let new = self.on(pair.0, pair.1).map(|decision| self.report(pair, decision, overruled, &is_live));
            let old = match new.clone() {
                Some(new) => self.reports.insert(pair, new),
                None => self.reports.remove(&pair),
            };
            if old != new {
                changes.extend(old.map(|old| ((pair, old), -1)));
                changes.extend(new.map(|new| ((pair, new), 1)));
            }
        }
        changes
    }

    fn report(
        &self,
        pair: Pair,
        decision: &Shared<Decision>,
        overruled: &HashMap<Pair, Vec<Pair>>,
        is_live: impl Fn(ListingId) -> bool,
    ) -> Shared<DecisionReport> {
        let missing: Vec<ListingRef> =
            decision.listings().into_iter().filter(|listing| !is_live(listing.id())).cloned().collect();
        let by = overruled.get(&pair).into_iter().flatten();
        let overruled_by: Vec<Shared<Decision>> = by.filter_map(|&(a, b)| self.on(a, b).cloned()).collect();
        let state = match (missing.is_empty(), overruled_by.is_empty()) {
            (false, _) => DecisionState::Waits,
            (true, false) => DecisionState::Overruled,
            (true, true) => DecisionState::Holds,
        };
        Shared::new(DecisionReport { decision: decision.clone(), state, missing, overruled_by })
    }

    /// What is told of the decisions on `listing`, in the order of its partners.
    pub(super) fn reports_on(&self, listing: ListingId) -> Vec<Shared<DecisionReport>> {
        let mut partners: SmallVec<[ListingId; 4]> = self.partners(listing).collect();
        partners.sort_unstable();
        partners.into_iter().filter_map(|other| self.reports.get(&ordered(listing, other)).cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_impossible_set_the_oldest_same_is_overruled() {
        let different = [(0, 2)];
        let (holding, overruled) = settle(3, vec![(10, 0, 1), (20, 1, 2)], &different);
        assert_eq!(holding, [(1, 2)]);
        assert_eq!(overruled, [Overruled { same: (0, 1), by: vec![(0, 2)] }]);
        let (holding, overruled) = settle(3, vec![(20, 0, 1), (10, 1, 2)], &different);
        assert_eq!((holding, overruled.len()), (vec![(0, 1)], 1));
        let (holding, _) = settle(3, vec![(10, 1, 2), (10, 0, 1)], &different);
        assert_eq!(holding, [(0, 1)], "of one moment, the order of the listings decides");
    }

    #[test]
    fn what_is_overruled_stands_in_nobodys_way() {
        // 0-1 is overruled by 0-2; without it 1-3 holds although 0 and 3 differ.
        let (holding, overruled) = settle(4, vec![(30, 1, 2), (20, 0, 1), (10, 1, 3)], &[(0, 2), (0, 3)]);
        assert_eq!(holding, [(1, 2), (1, 3)]);
        assert_eq!(overruled, [Overruled { same: (0, 1), by: vec![(0, 2)] }]);
    }
}
