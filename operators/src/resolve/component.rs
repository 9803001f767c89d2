//! [`Component`]: listings that matches and decisions connect.

use super::fingerprint::Fingerprint;
use super::rulings::Overruled;
use crate::ids::ListingId;
use crate::listing::Ratio;
use crate::shared::Shared;

/// A connected component of the graph of matches and decisions.
#[derive(Debug, Clone, Default)]
pub struct Component {
    /// Its listings, ascending by id.
    pub nodes: Vec<Shared<Fingerprint>>,
    /// Its matches.
    pub edges: Vec<Edge>,
    /// Pairs decided to be the same, where that can hold.
    pub same: Vec<(usize, usize)>,
    /// Pairs decided to be different.
    pub different: Vec<(usize, usize)>,
    /// Pairs decided to be the same where that cannot hold.
    pub overruled: Vec<Overruled>,
}

impl Component {
    pub(super) fn listing(&self, node: usize) -> Option<ListingId> {
        self.nodes.get(node).map(|node| node.listing)
    }
}

/// A match between two nodes of a component, by their index; `a` is less than `b`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// Index of the one.
    pub a: usize,
    /// Index of the other.
    pub b: usize,
    /// Their similarity.
    pub score: Ratio,
}
