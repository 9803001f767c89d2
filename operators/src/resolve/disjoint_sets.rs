//! Disjoint sets of numbers: which of them have been joined.

/// Disjoint sets of the numbers below a size.
#[derive(Debug, Default)]
pub(super) struct DisjointSets {
    parent: Vec<usize>,
}

impl DisjointSets {
    pub(super) fn new(size: usize) -> Self {
        Self { parent: (0..size).collect() }
    }

    pub(super) fn root(&mut self, node: usize) -> usize {
        let mut at = node;
        while let Some(&parent) = self.parent.get(at).filter(|parent| **parent != at) {
            let above = self.parent.get(parent).copied().unwrap_or(parent);
            if let Some(slot) = self.parent.get_mut(at) {
                *slot = above;
            }
            at = above;
        }
        at
    }

    /// Joins two sets under the smaller root.
    pub(super) fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        if let Some(slot) = self.parent.get_mut(a.max(b)) {
            *slot = a.min(b);
        }
    }
}
