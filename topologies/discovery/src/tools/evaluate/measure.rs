//! The measures: plain functions of labelled pairs and of who is with whom.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::truth::{Label, Name, Pair};

/// How well labelled pairs were decided. Pairs without a label are never counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Pairs that are one event, and were found to be.
    pub found: usize,
    /// Pairs that are one event, and were not found.
    pub missed: usize,
    /// Pairs that are two events, and were merged.
    pub merged: usize,
    /// Pairs that are two events, and were kept apart.
    pub apart: usize,
    /// Pairs on whose date the sources disagree.
    pub conflicts: usize,
    /// Those of them that were merged.
    pub conflicts_merged: usize,
}

fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

impl Counts {
    /// Counts a pair that was (`same`) or was not put into one event.
    pub fn add(&mut self, label: Label, same: bool) {
        match (label, same) {
            (Label::Positive, true) => self.found += 1,
            (Label::Positive, false) => self.missed += 1,
            (Label::Negative, true) => self.merged += 1,
            (Label::Negative, false) => self.apart += 1,
            (Label::DateConflict, same) => {
                self.conflicts += 1;
                self.conflicts_merged += usize::from(same);
            }
            (Label::Ambiguous, _) => {}
        }
    }

    /// Of the labelled pairs that were merged, the share that are one event.
    pub fn precision(&self) -> Option<f64> {
        share(self.found, self.found + self.merged)
    }

    /// Of the pairs that are one event, the share that were merged.
    pub fn recall(&self) -> Option<f64> {
        share(self.found, self.found + self.missed)
    }

    /// Harmonic mean of precision and recall.
    pub fn f1(&self) -> Option<f64> {
        let positives = self.found + self.missed;
        share(2 * self.found, self.found + self.merged + positives).filter(|_| positives > 0)
    }

    /// Of the pairs that are two events, the share that were merged. Unlike precision it does not
    /// depend on how many pairs of each label there are.
    pub fn false_positive_rate(&self) -> Option<f64> {
        share(self.merged, self.merged + self.apart)
    }
}

/// Precision and recall averaged over listings (B³; Bagga and Baldwin 1998).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct BCubed {
    /// Over the labelled listings, the mean share of an event's listings that belong there.
    pub precision: f64,
    /// Over the labelled listings, the mean share of the true event's listings that are there.
    pub recall: f64,
    /// Harmonic mean of the two.
    pub f1: f64,
}

/// B³ over the listings that `pairs` name, and `further` ones. What is one event by the labels is followed through
/// (if A is B and B is C, A is C); two listings of whose relation the labels say nothing are left
/// out of each other's shares. `None` where there is no positive pair.
pub fn b_cubed(pairs: &[&Pair], further: &[Name], together: impl Fn(&Name, &Name) -> bool) -> Option<BCubed> {
    let mut names: Vec<Name> = Vec::new();
    let mut index: HashMap<Name, usize> = HashMap::new();
    let mut number = |name: Name| {
        *index.entry(name).or_insert_with_key(|name| {
            names.push(name.clone());
            names.len() - 1
        })
    };
    let numbered: Vec<(usize, usize, Label)> = pairs
        .iter()
        .map(|pair| {
            let (a, b) = pair.names();
            (number(a), number(b), pair.label)
        })
        .collect();
    further.iter().cloned().for_each(|name| {
        number(name);
    });
    let positives = || numbered.iter().filter(|(_, _, label)| *label == Label::Positive);
    positives().next()?;
    let truth = components(names.len(), positives().map(|(a, b, _)| (*a, *b)));
    let mut members: HashMap<usize, Vec<usize>> = HashMap::new();
    truth.iter().enumerate().for_each(|(listing, event)| members.entry(*event).or_default().push(listing));
    let mut rivals: HashMap<usize, Vec<usize>> = HashMap::new();
    for (a, b, _) in numbered.iter().filter(|(_, _, label)| *label == Label::Negative) {
        rivals.entry(*a).or_default().push(*b);
        rivals.entry(*b).or_default().push(*a);
    }
    let same = |a: usize, b: usize| a == b || names.get(a).zip(names.get(b)).is_some_and(|(a, b)| together(a, b));
    let (mut precision, mut recall) = (0.0, 0.0);
    for (listing, event) in truth.iter().enumerate() {
        let event = members.get(event).map_or(&[][..], Vec::as_slice);
        let right = event.iter().filter(|other| same(listing, **other)).count();
        let others = rivals.get(&listing).map_or(&[][..], Vec::as_slice);
        let wrong = others.iter().filter(|other| !event.contains(other) && same(listing, **other)).count();
        precision += share(right, right + wrong).unwrap_or(1.0);
        recall += share(right, event.len()).unwrap_or(1.0);
    }
    let count = truth.len() as f64;
    let (precision, recall) = (precision / count, recall / count);
    Some(BCubed { precision, recall, f1: 2.0 * precision * recall / (precision + recall) })
}

/// For each of `size` things the smallest one that it is connected with.
fn components(size: usize, edges: impl Iterator<Item = (usize, usize)>) -> Vec<usize> {
    let mut parent: Vec<usize> = (0..size).collect();
    fn root(parent: &[usize], mut at: usize) -> usize {
        while let Some(next) = parent.get(at).filter(|next| **next != at) {
            at = *next;
        }
        at
    }
    for (a, b) in edges {
        let (a, b) = (root(&parent, a), root(&parent, b));
        if let Some(slot) = parent.get_mut(a.max(b)) {
            *slot = a.min(b);
        }
    }
    (0..size).map(|at| root(&parent, at)).collect()
}

/// How many clusters there are of each size.
pub fn sizes(clusters: impl IntoIterator<Item = usize>) -> BTreeMap<usize, usize> {
    let mut sizes = BTreeMap::new();
    for size in clusters {
        *sizes.entry(size).or_default() += 1;
    }
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(a: &str, b: &str, label: Label) -> Pair {
        let name = |text: &str| (text.to_owned(), text.to_owned());
        let ((source_a, id_a), (source_b, id_b)) = (name(a), name(b));
        Pair { source_a, id_a, source_b, id_b, label, how: String::new(), group: String::new(), note: String::new() }
    }

    #[test]
    fn pairs_are_counted_by_label() {
        let mut counts = Counts::default();
        assert_eq!((counts.precision(), counts.recall(), counts.f1()), (None, None, None));
        for (label, same, times) in [
            (Label::Positive, true, 6),
            (Label::Positive, false, 2),
            (Label::Negative, true, 1),
            (Label::Negative, false, 3),
            (Label::DateConflict, true, 1),
            (Label::Ambiguous, true, 9),
        ] {
            (0..times).for_each(|_| counts.add(label, same));
        }
        assert_eq!(counts.precision(), Some(6.0 / 7.0));
        assert_eq!(counts.recall(), Some(0.75));
        assert_eq!(counts.f1(), Some(0.8));
        assert_eq!(counts.false_positive_rate(), Some(0.25));
        assert_eq!((counts.conflicts, counts.conflicts_merged), (1, 1));
    }

    #[test]
    fn b_cubed_follows_the_labels_through() {
        // Truth: {a, b, c}, {d}; found: {a, b, d}, {c}.
        let pairs = [pair("a", "b", Label::Positive), pair("b", "c", Label::Positive), pair("a", "d", Label::Negative)];
        let pairs: Vec<&Pair> = pairs.iter().collect();
        let found = |name: &Name| name.0 == "c";
        let result = b_cubed(&pairs, &[], |a, b| found(a) == found(b)).unwrap();
        // a: 2 right of 3 known; b: of d nothing is known to it; c: alone; d: 1 right, a is wrong.
        assert!((result.precision - (2.0 / 3.0 + 1.0 + 1.0 + 0.5) / 4.0).abs() < 1e-12);
        assert!((result.recall - (2.0 / 3.0 + 2.0 / 3.0 + 1.0 / 3.0 + 1.0) / 4.0).abs() < 1e-12);
        assert_eq!(b_cubed(&[], &[], |_, _| true), None);
    }

    #[test]
    fn sizes_are_counted() {
        assert_eq!(sizes([1, 2, 2, 5]), BTreeMap::from([(1, 1), (2, 2), (5, 1)]));
    }
}
