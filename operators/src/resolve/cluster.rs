//! Clustering: from matches to groups of listings that are one event each.
//!
//! [`refine`] is the logic: what the clusters of one connected component are, as a function of
//! nothing but the component. Which components a change touches is said by the `graph`.
//!
//! Of the matches between the sessions of two sources, only those with the nearest one count
//! (`sessions`).
//!
//! Refining is ordered agglomeration: matches from the strongest to the weakest, ties by listing
//! ids, each joining the two groups that it connects if
//! - no pair between the groups is vetoed or decided to be different, and
//! - the mean similarity over all pairs between them that can be compared reaches `cohesion`.
//!
//! So A~B, B~C with A unlike C does not become one event. "Same" decisions join before all matches,
//! whatever the comparison says; those that cannot hold together are sorted out before, in `rulings`.
//!
//! A component over the limit is tightened: its weaker matches are left out in fixed steps until
//! what is left falls apart into components within the limit. What is over the limit even at
//! similarity 1 is not judged at all: its listings stay single, but for decisions.

use std::borrow::Cow;
use std::collections::BTreeMap;

use foldhash::{HashMap, HashSet};
use smallvec::{SmallVec, smallvec};

use super::Stat;
use super::compare::Comparer;
use super::component::{Component, Edge};
use super::config::ResolveConfig;
use super::disjoint_sets::DisjointSets;
use super::fingerprint::Fingerprint;
use super::points::log_odds;
use super::sessions::{are_acts_of, crossed};
use crate::ids::ListingId;
use crate::listing::Ratio;
use crate::shared::Shared;

/// A listing in a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The listing.
    pub node: Shared<Fingerprint>,
    /// Similarity of the best edge that holds it; 1 where it is alone.
    pub similarity: Ratio,
    /// The listing at the other end of that edge.
    pub via: Option<ListingId>,
    /// Whether that edge is a decision.
    pub decided: bool,
}

/// The listings of one event, ascending by id.
pub type Cluster = Vec<Membership>;

/// What a component comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refined {
    /// Its clusters.
    pub clusters: Vec<Cluster>,
    /// How it had to be treated, if it was over the limit.
    pub stat: Option<Stat>,
}

/// Divides a component into clusters.
pub fn refine(component: &Component, comparer: &Comparer, config: &ResolveConfig) -> Refined {
    if let ([_, _], [edge], [], []) = (&*component.nodes, &*component.edges, &*component.same, &*component.different) {
        let groups = vec![smallvec![edge.a, edge.b]];
        return Refined { clusters: memberships(component, &groups), stat: None };
    }
    let component = &without_crossed(component);
    let all: Vec<usize> = (0..component.nodes.len()).collect();
    let mut groups = Vec::new();
    let stat = tighten(component, all, 0, comparer, config, &mut groups);
    groups.sort_unstable();
    Refined { clusters: memberships(component, &groups), stat }
}

/// The component without the matches that join a session of one source with another one of the other
/// source than its counterpart: those are different.
fn without_crossed(component: &Component) -> Cow<'_, Component> {
    let crossed = crossed(component);
    if !crossed.contains(&true) {
        return Cow::Borrowed(component);
    }
    let mut rest = component.clone();
    let (across, along): (Vec<_>, Vec<_>) = component.edges.iter().zip(crossed).partition(|(_, crossed)| *crossed);
    rest.edges = along.into_iter().map(|(edge, _)| *edge).collect();
    rest.different.extend(across.into_iter().map(|(edge, _)| (edge.a, edge.b)));
    Cow::Owned(rest)
}

type GroupOfNodes = SmallVec<[usize; 4]>;

/// Clusters `nodes`, leaving out what is weaker than `step` steps above the threshold.
fn tighten(
    component: &Component,
    nodes: Vec<usize>,
    step: u32,
    comparer: &Comparer,
    config: &ResolveConfig,
    groups: &mut Vec<GroupOfNodes>,
) -> Option<Stat> {
    let least = config.threshold + f64::from(step) * config.tighten_step;
    if nodes.len() <= config.component_cap {
        let pairs = Pairs::of(component, nodes, Ratio::new(least), comparer);
        groups.extend(agglomerate(pairs, config.cohesion));
        return (step > 0).then_some(Stat::TightenedComponent);
    }
    // The step before last may still ask for less than 1; the last one asks for 1 exactly.
    let next = config.threshold + f64::from(step + 1) * config.tighten_step;
    if least >= 1.0 {
        groups.extend(by_decisions(component, nodes));
        return Some(Stat::DissolvedComponent);
    }
    let mut worst = Stat::TightenedComponent;
    for part in connected(component, &nodes, Ratio::new(next.min(1.0))) {
        let stat = tighten(component, part, step + 1, comparer, config, groups);
        worst = worst.max(stat.unwrap_or(worst));
    }
    Some(worst)
}

/// The connected components among `nodes` over matches of at least `least`, and decisions.
fn connected(component: &Component, nodes: &[usize], least: Ratio) -> Vec<Vec<usize>> {
    let mut sets = DisjointSets::new(component.nodes.len());
    let present: HashSet<usize> = nodes.iter().copied().collect();
    let strong = component.edges.iter().filter(|edge| edge.score >= least).map(|edge| (edge.a, edge.b));
    for (a, b) in strong.chain(component.same.iter().copied()) {
        if present.contains(&a) && present.contains(&b) {
            sets.join(a, b);
        }
    }
    let mut parts: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for &node in nodes {
        parts.entry(sets.root(node)).or_default().push(node);
    }
    parts.into_values().collect()
}

/// Nothing but the "same" decisions.
fn by_decisions(component: &Component, nodes: Vec<usize>) -> Vec<GroupOfNodes> {
    let mut sets = DisjointSets::new(component.nodes.len());
    component.same.iter().for_each(|&(a, b)| sets.join(a, b));
    let mut groups: BTreeMap<usize, GroupOfNodes> = BTreeMap::new();
    for node in nodes {
        groups.entry(sets.root(node)).or_default().push(node);
    }
    groups.into_values().collect()
}

/// No single pair counts for more than this: one sure match must not carry many doubtful ones.
const MOST_POINTS: f64 = 6.0;

/// What stands between two groups.
#[derive(Debug, Clone, Copy, Default)]
struct Between {
    /// Sum of the log-odds, each within [`MOST_POINTS`].
    sum: f64,
    /// Over how many pairs.
    count: u32,
    /// Whether a comparison vetoes the two.
    vetoed: bool,
    /// Whether a decision separates them.
    different: bool,
}

impl Between {
    fn plus(self, other: Self) -> Self {
        Self {
            sum: self.sum + other.sum,
            count: self.count + other.count,
            vetoed: self.vetoed || other.vetoed,
            different: self.different || other.different,
        }
    }
}

/// All pairs of a part of a component.
struct Pairs {
    nodes: Vec<usize>,
    between: Vec<Between>,
    edges: Vec<Edge>,
    same: Vec<(usize, usize)>,
}

impl Pairs {
    /// The pairs among `nodes`, with matches of at least `least`.
    fn of(component: &Component, nodes: Vec<usize>, least: Ratio, comparer: &Comparer) -> Self {
        let place: HashMap<usize, usize> = nodes.iter().enumerate().map(|(place, node)| (*node, place)).collect();
        let local = |a: usize, b: usize| Some((*place.get(&a)?, *place.get(&b)?));
        let size = nodes.len();
        let mut pairs =
            Self { nodes, between: vec![Between::default(); size * size], edges: Vec::new(), same: Vec::new() };
        for edge in &component.edges {
            let Some((a, b)) = local(edge.a, edge.b) else { continue };
            if edge.score >= least {
                pairs.edges.push(Edge { a, b, score: edge.score });
            }
        }
        pairs.compare_all(component, comparer);
        for &(a, b) in &component.different {
            if let Some((a, b)) = local(a, b) {
                pairs.set(a, b, Between { different: true, ..Between::default() });
            }
        }
        pairs.same = component.same.iter().filter_map(|&(a, b)| local(a, b)).collect();
        pairs.edges.sort_unstable_by_key(|edge| (std::cmp::Reverse(edge.score), edge.a, edge.b));
        pairs
    }

    fn compare_all(&mut self, component: &Component, comparer: &Comparer) {
        let bills: Vec<&Fingerprint> =
            component.nodes.iter().map(|node| &**node).filter(|node| !node.acts.is_empty()).collect();
        for a in 0..self.nodes.len() {
            for b in a + 1..self.nodes.len() {
                let node = |at: usize| self.nodes.get(at).and_then(|node| component.nodes.get(*node));
                let Some((x, y)) = node(a).zip(node(b)) else { continue };
                let comparison = comparer.compare(x, y);
                let vetoed = comparison.veto.is_some();
                // How alike two acts of one show are, each listed by itself, says nothing.
                let (sum, count) = match bills.iter().any(|bill| are_acts_of(bill, x, y)) {
                    true => (0.0, 0),
                    false => (comparison.points.clamp(-MOST_POINTS, MOST_POINTS), 1),
                };
                self.set(a, b, Between { sum, count, vetoed, different: false });
            }
        }
    }

    fn get(&self, a: usize, b: usize) -> Between {
        self.between.get(a * self.nodes.len() + b).copied().unwrap_or_default()
    }

    fn set(&mut self, a: usize, b: usize, value: Between) {
        let size = self.nodes.len();
        for at in [a * size + b, b * size + a] {
            if let Some(slot) = self.between.get_mut(at) {
                *slot = value;
            }
        }
    }

    /// Adds what stands between `gone` and every other group to what stands between `kept` and it.
    fn fold(&mut self, kept: usize, gone: usize) {
        for other in 0..self.nodes.len() {
            if other != kept && other != gone {
                self.set(kept, other, self.get(kept, other).plus(self.get(gone, other)));
            }
        }
    }
}

fn agglomerate(mut pairs: Pairs, cohesion: f64) -> Vec<GroupOfNodes> {
    let least = log_odds(cohesion);
    let mut sets = DisjointSets::new(pairs.nodes.len());
    for (a, b) in std::mem::take(&mut pairs.same) {
        join_if(&mut pairs, &mut sets, a, b, |_| true);
    }
    let holds = |between: Between| {
        !between.different && !between.vetoed && between.sum >= least * f64::from(between.count) - 1e-9
    };
    for edge in std::mem::take(&mut pairs.edges) {
        join_if(&mut pairs, &mut sets, edge.a, edge.b, holds);
    }
    let mut groups: BTreeMap<usize, GroupOfNodes> = BTreeMap::new();
    for (place, node) in pairs.nodes.iter().enumerate() {
        groups.entry(sets.root(place)).or_default().push(*node);
    }
    groups.into_values().collect()
}

fn join_if(pairs: &mut Pairs, sets: &mut DisjointSets, a: usize, b: usize, holds: impl Fn(Between) -> bool) {
    let (a, b) = (sets.root(a), sets.root(b));
    if a != b && holds(pairs.get(a, b)) {
        sets.join(a, b);
        pairs.fold(a.min(b), a.max(b));
    }
}

/// Finds for each listing the best edge within its group; ties go to the smaller id.
fn memberships(component: &Component, groups: &[GroupOfNodes]) -> Vec<Cluster> {
    let mut group_of = vec![usize::MAX; component.nodes.len()];
    for (group, nodes) in groups.iter().enumerate() {
        for &node in nodes {
            if let Some(slot) = group_of.get_mut(node) {
                *slot = group;
            }
        }
    }
    type Best = (bool, Ratio, std::cmp::Reverse<usize>);
    let mut best: Vec<Option<Best>> = vec![None; component.nodes.len()];
    let mut offer = |a: usize, b: usize, decided: bool, score: Ratio| {
        if group_of.get(a) == group_of.get(b) {
            for (node, via) in [(a, b), (b, a)] {
                if let Some(slot) = best.get_mut(node) {
                    *slot = (*slot).max(Some((decided, score, std::cmp::Reverse(via))));
                }
            }
        }
    };
    component.edges.iter().for_each(|edge| offer(edge.a, edge.b, false, edge.score));
    component.same.iter().for_each(|&(a, b)| offer(a, b, true, Ratio::ONE));
    let member = |node: usize| {
        let fingerprint = component.nodes.get(node)?.clone();
        let (decided, similarity, via) = match best.get(node).copied().flatten() {
            Some((decided, score, via)) => (decided, score, component.listing(via.0)),
            None => (false, Ratio::ONE, None),
        };
        Some(Membership { node: fingerprint, similarity, via, decided })
    };
    groups.iter().map(|nodes| nodes.iter().filter_map(|node| member(*node)).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::{Listing, LiveListing};

    /// Listings of one evening at one place, told apart by their titles.
    fn component(titles: &[&str], config: &ResolveConfig) -> Component {
        let mut nodes: Vec<Shared<Fingerprint>> = titles
            .iter()
            .enumerate()
            .map(|(i, title)| {
                let start = "2026-05-01T18:00:00Z".parse().unwrap();
                let mut listing = Listing::new(&format!("s{i}"), "1", title, start);
                listing.venue.name = Some("Sudwerk".into());
                // The order of the ids is the order of the titles.
                let live = LiveListing { id: ListingId(i as u128), ..LiveListing::new(&listing, i as i64, 0) };
                Shared::new(Fingerprint::of(&live, config))
            })
            .collect();
        nodes.sort_by_key(|node| node.listing);
        let comparer = Comparer::new(config);
        let mut edges = Vec::new();
        for a in 0..nodes.len() {
            for b in a + 1..nodes.len() {
                edges.extend(comparer.matches(&nodes[a], &nodes[b]).map(|score| Edge { a, b, score }));
            }
        }
        Component { nodes, edges, ..Component::default() }
    }

    fn groups(component: &Component, config: &ResolveConfig) -> Vec<Vec<u128>> {
        let refined = refine(component, &Comparer::new(config), config);
        refined.clusters.iter().map(|cluster| cluster.iter().map(|m| m.node.listing.0).collect()).collect()
    }

    const CHAIN: [&str; 3] = ["Amber Birch Cedar", "Amber Birch Cedar Dahlia Elder Fir", "Dahlia Elder Fir"];

    #[test]
    fn what_only_chains_is_cut() {
        let config = ResolveConfig { cohesion: 0.95, ..ResolveConfig::default() };
        let chain = component(&CHAIN, &config);
        let ends: Vec<(usize, usize)> = chain.edges.iter().map(|edge| (edge.a, edge.b)).collect();
        assert_eq!(ends, [(0, 1), (1, 2)], "A~B, B~C, A unlike C");
        assert_eq!(groups(&chain, &config), [vec![0, 1], vec![2]]);
        let lax = ResolveConfig { cohesion: 0.05, ..config };
        assert_eq!(groups(&chain, &lax), [vec![0, 1, 2]]);
    }

    #[test]
    fn decisions_are_stronger_than_comparisons() {
        let config = ResolveConfig { cohesion: 0.95, ..ResolveConfig::default() };
        let mut chain = component(&CHAIN, &config);
        chain.same = vec![(0, 2)];
        assert_eq!(groups(&chain, &config), [vec![0, 1, 2]]);
        let mut apart = component(&["Amber Birch Cedar"; 2], &config);
        apart.different = vec![(0, 1)];
        assert_eq!(groups(&apart, &config), [[0], [1]]);
    }

    #[test]
    fn a_component_over_the_limit_is_tightened_or_dissolved() {
        let config = ResolveConfig { component_cap: 3, cohesion: 0.0, ..ResolveConfig::default() };
        let titles = [
            "Amber Birch Cedar Dahlia",
            "Amber Birch Cedar Dahlia",
            "Amber Birch Cedar Elder",
            "Amber Birch Cedar Elder",
        ];
        let near = component(&titles, &config);
        let refined = refine(&near, &Comparer::new(&config), &config);
        assert_eq!(refined.stat, Some(Stat::TightenedComponent));
        assert_eq!(groups(&near, &config), [[0, 1], [2, 3]]);
        let mut equal = component(&["Amber Birch Cedar"; 4], &config);
        assert_eq!(refine(&equal, &Comparer::new(&config), &config).stat, Some(Stat::TightenedComponent));
        assert_eq!(groups(&equal, &config), [[0], [1], [2], [3]]);
        equal.same = vec![(1, 2)];
        assert_eq!(groups(&equal, &config), [vec![0], vec![1, 2], vec![3]]);
    }

    #[test]
    fn members_know_their_best_edge() {
        let config = ResolveConfig { cohesion: 0.5, ..ResolveConfig::default() };
        let chain = component(&CHAIN, &config);
        let refined = refine(&chain, &Comparer::new(&config), &config);
        let best = chain.edges.iter().max_by_key(|edge| (edge.score, std::cmp::Reverse(edge.a))).unwrap();
        let member = &refined.clusters[0][best.a];
        assert_eq!((member.similarity, member.via), (best.score, Some(ListingId(best.b as u128))));
    }
}
