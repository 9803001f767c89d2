//! Clustering: from matches to groups of listings that are one event each.
//!
//! [`refine`] is the logic: what the clusters of one connected component are, as a function of
//! nothing but the component. [`Graph`] keeps the matches and says which components changed.
//!
//! Refining is ordered agglomeration: matches from the strongest to the weakest, ties by listing
//! ids, each joining the two groups that it connects if
//! - no pair between the groups is vetoed or decided to be different, and
//! - the mean similarity over all pairs between them that can be compared reaches `cohesion`.
//!
//! So A~B, B~C with A unlike C does not become one event. "Same" decisions join before all matches,
//! whatever the comparison says; those that cannot hold together are sorted out in [`rulings`]
//! before.
//!
//! A component over the limit is tightened: its weaker matches are left out in fixed steps until
//! what is left falls apart into components within the limit. What is over the limit even at
//! similarity 1 is not judged at all: its listings stay single, but for decisions.
//!
//! [`rulings`]: super::rulings

use std::collections::BTreeMap;
use std::sync::Arc;

use differential_dataflow::{AsCollection, VecCollection};
use foldhash::{HashMap, HashMapExt, HashSet, HashSetExt};
use smallvec::{SmallVec, smallvec};
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::Stat;
use super::block::MatchChange;
use super::compare::{Comparer, Contribution, Contributions, Field, Points, log_odds};
use super::config::ResolveConfig;
use super::decision::{Decision, DecisionReport, Pair};
use super::epochs::{Pending, Sender};
use super::fingerprint::{Fingerprint, Presence};
use super::identity::{Carrier, ClusterChanges, Identity, IdentityRegistry, Remembered};
use super::merge::{Assigned, Assignment};
use super::rulings::{Overruled, ReportChange, Rulings, settle};
use crate::Epoch;
use crate::ids::{EventId, ListingId};
use crate::listing::Ratio;
use crate::meter::Held;
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
    fn listing(&self, node: usize) -> Option<ListingId> {
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
    let all: Vec<usize> = (0..component.nodes.len()).collect();
    let mut groups = Vec::new();
    let stat = tighten(component, all, 0, comparer, config, &mut groups);
    groups.sort_unstable();
    Refined { clusters: memberships(component, &groups), stat }
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
        for a in 0..self.nodes.len() {
            for b in a + 1..self.nodes.len() {
                let node = |at: usize| self.nodes.get(at).and_then(|node| component.nodes.get(*node));
                let Some((x, y)) = node(a).zip(node(b)) else { continue };
                let comparison = comparer.compare(x, y);
                let vetoed = comparison.veto.is_some();
                let sum = comparison.points.clamp(-MOST_POINTS, MOST_POINTS);
                self.set(a, b, Between { sum, count: 1, vetoed, different: false });
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

/// The listings that have matches or decisions, and those.
#[derive(Debug, Default)]
pub struct Graph {
    nodes: HashMap<ListingId, Node>,
    rulings: Rulings,
    /// Components that were tightened, by each epoch's smallest listing in them.
    tightened: HashMap<ListingId, Stat>,
}

#[derive(Debug)]
struct Node {
    fingerprint: Shared<Fingerprint>,
    matches: SmallVec<[(ListingId, Ratio); 1]>,
    /// Whether it is kept for a decision that names it.
    named: bool,
}

/// What goes into the graph in one epoch.
#[derive(Debug, Default)]
pub struct GraphChanges {
    /// Matches that came or went.
    pub matches: Vec<MatchChange>,
    /// Live listings that are named (1) by a decision, or no longer (-1).
    pub named: Vec<(Shared<Fingerprint>, i8)>,
    /// Decisions that came or went.
    pub decisions: Vec<(Pair, Shared<Decision>, isize)>,
}

/// What comes out of it.
#[derive(Debug, Default)]
pub struct Affected {
    /// The components as they are now that a change has touched.
    pub components: Vec<Component>,
    /// Touched listings that are in no component now.
    pub leftover: Vec<Carrier>,
    /// What is to be told of decisions, where that changes.
    reports: Vec<ReportChange>,
}

impl Graph {
    /// Applies the changes of an epoch and returns what they touched.
    pub fn apply(&mut self, changes: GraphChanges) -> Affected {
        let mut touched: HashMap<ListingId, Option<i64>> = HashMap::new();
        let mut pairs: HashSet<Pair> = HashSet::new();
        for (pair, decision, diff) in changes.decisions {
            self.rulings.rule(pair, decision, diff);
            pairs.insert(pair);
        }
        for (named, _) in &changes.named {
            let listing = named.listing;
            pairs.extend(self.rulings.partners(listing).map(|other| (listing.min(other), listing.max(other))));
        }
        for listing in pairs.iter().flat_map(|&(a, b)| [a, b]) {
            touched.entry(listing).or_default();
        }
        let matches = consolidate(changes.matches);
        // All that goes before all that comes: a changed listing does both.
        for change in matches.iter().filter(|change| change.diff < 0) {
            self.unmatch(change);
        }
        self.nodes.reserve(matches.len());
        for change in matches.iter().filter(|change| change.diff > 0) {
            self.connect(change);
        }
        for side in matches.iter().flat_map(|change| [&change.a, &change.b]) {
            touched.insert(side.listing, Some(side.first_seen));
        }
        self.name(changes.named, &mut touched);
        let mut affected = self.collect(touched);
        affected.reports = self.review(pairs, &affected.components);
        affected
    }

    /// What is to be told of `pairs`, and of those whose decisions compete within a component.
    fn review(&mut self, mut pairs: HashSet<Pair>, components: &[Component]) -> Vec<ReportChange> {
        let mut overruled: HashMap<Pair, Vec<Pair>> = HashMap::new();
        for component in components.iter().filter(|c| !c.same.is_empty() || !c.overruled.is_empty()) {
            let ids = |&(a, b): &(usize, usize)| Some((component.listing(a)?, component.listing(b)?));
            pairs.extend(component.same.iter().filter_map(ids));
            for one in &component.overruled {
                let Some(pair) = ids(&one.same) else { continue };
                pairs.insert(pair);
                overruled.insert(pair, one.by.iter().filter_map(ids).collect());
            }
        }
        let nodes = &self.nodes;
        self.rulings.review(pairs, &overruled, |listing| nodes.contains_key(&listing))
    }

    fn unmatch(&mut self, change: &MatchChange) {
        let (a, b) = (change.a.listing, change.b.listing);
        for (from, to) in [(a, b), (b, a)] {
            if let Some(node) = self.nodes.get_mut(&from) {
                node.matches.retain(|(other, _)| *other != to);
                if node.matches.is_empty() && !node.named {
                    self.nodes.remove(&from);
                }
            }
        }
    }

    fn connect(&mut self, change: &MatchChange) {
        for (from, to) in [(&change.a, &change.b), (&change.b, &change.a)] {
            self.node(from).matches.push((to.listing, change.score));
        }
    }

    fn node(&mut self, fingerprint: &Shared<Fingerprint>) -> &mut Node {
        let node = self.nodes.entry(fingerprint.listing).or_insert_with(|| Node {
            fingerprint: fingerprint.clone(),
            matches: SmallVec::new(),
            named: false,
        });
        if !node.fingerprint.ptr_eq(fingerprint) {
            node.fingerprint = fingerprint.clone();
        }
        node
    }

    fn name(&mut self, mut named: Vec<(Shared<Fingerprint>, i8)>, touched: &mut HashMap<ListingId, Option<i64>>) {
        named.sort_unstable_by_key(|(_, diff)| *diff);
        for (fingerprint, diff) in named {
            touched.insert(fingerprint.listing, Some(fingerprint.first_seen));
            if diff > 0 {
                self.node(&fingerprint).named = true;
            } else if let Some(node) = self.nodes.get_mut(&fingerprint.listing) {
                node.named = false;
                if node.matches.is_empty() {
                    self.nodes.remove(&fingerprint.listing);
                }
            }
        }
    }

    fn collect(&self, touched: HashMap<ListingId, Option<i64>>) -> Affected {
        let mut affected = Affected::default();
        let mut seen: HashSet<ListingId> = HashSet::with_capacity(touched.len() * 2);
        for (listing, first_seen) in touched {
            if seen.contains(&listing) {
                continue;
            }
            if self.nodes.contains_key(&listing) {
                affected.components.push(self.component(listing, &mut seen));
            } else {
                affected.leftover.extend(first_seen.map(|first_seen| Carrier { first_seen, listing }));
            }
        }
        affected
    }

    fn component(&self, start: ListingId, seen: &mut HashSet<ListingId>) -> Component {
        let mut ids: SmallVec<[ListingId; 8]> = smallvec![start];
        seen.insert(start);
        let mut next = 0;
        while let Some(&listing) = ids.get(next) {
            next += 1;
            self.for_each_neighbour(listing, |other| {
                if seen.insert(other) {
                    ids.push(other);
                }
            });
        }
        ids.sort_unstable();
        let mut component = Component::default();
        for (a, listing) in ids.iter().enumerate() {
            let Some(node) = self.nodes.get(listing) else { continue };
            component.nodes.push(node.fingerprint.clone());
            for (other, score) in node.matches.iter().filter(|(other, _)| other > listing) {
                let Ok(b) = ids.binary_search(other) else { continue };
                component.edges.push(Edge { a, b, score: *score });
            }
        }
        self.add_decisions(&ids, &mut component);
        component
    }

    fn for_each_neighbour(&self, listing: ListingId, mut visit: impl FnMut(ListingId)) {
        if let Some(node) = self.nodes.get(&listing) {
            node.matches.iter().for_each(|(other, _)| visit(*other));
        }
        for other in self.rulings.partners(listing) {
            let same = self.rulings.on(listing, other).is_some_and(|decision| decision.is_same());
            if same && self.nodes.contains_key(&other) {
                visit(other);
            }
        }
    }

    fn add_decisions(&self, ids: &[ListingId], component: &mut Component) {
        let (mut same, mut different) = (Vec::new(), Vec::new());
        for (a, x) in ids.iter().enumerate() {
            for y in self.rulings.partners(*x).filter(|y| y > x) {
                let Ok(b) = ids.binary_search(&y) else { continue };
                match self.rulings.on(*x, y).map(|decision| &**decision) {
                    Some(Decision::Same(ruling)) => same.push((ruling.at, a, b)),
                    Some(Decision::Different(_)) => different.push((a, b)),
                    None => {}
                }
            }
        }
        different.sort_unstable();
        component.edges.retain(|edge| different.binary_search(&(edge.a, edge.b)).is_err());
        (component.same, component.overruled) = settle(ids.len(), same, &different);
        component.different = different;
    }

    /// Notes how the touched components were treated; returns what changed in the counts.
    fn note(&mut self, affected: &Affected, treatments: &[Option<Stat>]) -> Vec<(Stat, isize)> {
        let mut changes = Vec::new();
        if !self.tightened.is_empty() {
            let listings = affected.components.iter().flat_map(|component| &component.nodes).map(|node| node.listing);
            for listing in listings.chain(affected.leftover.iter().map(|carrier| carrier.listing)) {
                changes.extend(self.tightened.remove(&listing).map(|stat| (stat, -1)));
            }
        }
        for (component, stat) in affected.components.iter().zip(treatments) {
            if let (Some(stat), Some(first)) = (stat, component.nodes.first()) {
                self.tightened.insert(first.listing, *stat);
                changes.push((*stat, 1));
            }
        }
        changes
    }
}

/// Sums the changes of each match. Most matches change once.
pub(super) fn consolidate(mut changes: Vec<MatchChange>) -> Vec<MatchChange> {
    let version =
        |change: &MatchChange| (change.a.listing, change.b.listing, change.a.hash_code(), change.b.hash_code());
    changes.sort_unstable_by_key(version);
    changes
        .chunk_by(|x, y| version(x) == version(y))
        .filter_map(|same| {
            let sum: i32 = same.iter().map(|change| i32::from(change.diff)).sum();
            let first = same.first().filter(|_| sum != 0)?;
            Some(MatchChange { diff: if sum > 0 { 1 } else { -1 }, ..first.clone() })
        })
        .collect()
}

/// Graph and identities together: the part of `resolve` that runs on one worker.
#[derive(Debug)]
struct Clusters {
    graph: Graph,
    registry: IdentityRegistry,
    comparer: Comparer,
    config: Arc<ResolveConfig>,
}

#[derive(Debug, Default)]
struct ClustersInput {
    graph: GraphChanges,
    arrived: Vec<Carrier>,
    gone: Vec<ListingId>,
    remembered: Vec<Remembered>,
}

#[derive(Debug, Default)]
struct ClustersOutput {
    assigned: Vec<Assigned>,
    redirects: Vec<((EventId, EventId), isize)>,
    stats: Vec<(Stat, isize)>,
    reports: Vec<ReportChange>,
}

impl ClustersInput {
    fn note(&mut self, presence: Presence) {
        match presence {
            Presence::Arrived(carrier) => self.arrived.push(carrier),
            Presence::Gone(listing) => self.gone.push(listing),
            Presence::Named(fingerprint, diff) => self.graph.named.push((fingerprint, diff)),
        }
    }
}

impl Clusters {
    fn new(config: &Arc<ResolveConfig>) -> Self {
        Self {
            graph: Graph::default(),
            registry: IdentityRegistry::default(),
            comparer: Comparer::new(config),
            config: Arc::clone(config),
        }
    }

    fn apply(&mut self, input: ClustersInput) -> ClustersOutput {
        input.remembered.into_iter().for_each(|remembered| self.registry.remember(remembered));
        let affected = self.graph.apply(input.graph);
        let refined: Vec<Refined> =
            affected.components.iter().map(|component| refine(component, &self.comparer, &self.config)).collect();
        let treatments: Vec<Option<Stat>> = refined.iter().map(|refined| refined.stat).collect();
        let stats = self.graph.note(&affected, &treatments);

        let clusters: Vec<Cluster> = refined.into_iter().flat_map(|refined| refined.clusters).collect();
        let gone: HashSet<ListingId> = input.gone.iter().copied().collect();
        let (left, leftover): (Vec<Carrier>, Vec<Carrier>) =
            affected.leftover.into_iter().partition(|carrier| gone.contains(&carrier.listing));
        let carriers = clusters.iter().map(|cluster| cluster.iter().map(carrier).collect());
        let changes = ClusterChanges {
            clusters: carriers.chain(leftover.iter().map(|alone| vec![*alone])).collect(),
            arrived: input.arrived,
            gone: input.gone,
        };
        let outcome = self.registry.apply(&changes);

        // Plain listings are not known to the registry; where decisions named them, they were assigned.
        let forgotten = outcome.forgotten.iter().copied().chain(left.iter().map(|carrier| carrier.listing));
        let mut assigned: Vec<Assigned> = forgotten.map(|listing| (listing, None)).collect();
        let (of_clusters, of_singles) = outcome.identities.split_at(clusters.len().min(outcome.identities.len()));
        for (cluster, identity) in clusters.iter().zip(of_clusters) {
            assigned
                .extend(cluster.iter().map(|member| (member.node.listing, self.assign(cluster, member, *identity))));
        }
        for (alone, identity) in leftover.iter().chain(&outcome.singles).zip(of_singles) {
            let plain = alone.own() == *identity;
            assigned.push((alone.listing, (!plain).then(|| Arc::new(Assignment::alone(*identity)))));
        }
        let redirects = outcome.redirects.into_iter().map(|(from, to, diff)| ((from, to), diff)).collect();
        ClustersOutput { assigned, redirects, stats, reports: affected.reports }
    }

    /// Where a member of a cluster belongs; `None` for a plain listing.
    fn assign(&self, cluster: &Cluster, member: &Membership, identity: Identity) -> Option<Arc<Assignment>> {
        let decisions = self.graph.rulings.reports_on(member.node.listing);
        if cluster.len() == 1 && carrier(member).own() == identity && decisions.is_empty() {
            return None;
        }
        let other = member.via.and_then(|via| cluster.iter().find(|other| other.node.listing == via));
        let contributions = match other {
            None => Contributions::new(),
            Some(_) if member.decided => smallvec![BY_DECISION],
            Some(other) => self.comparer.compare(&member.node, &other.node).contributions,
        };
        let Membership { similarity, via, .. } = *member;
        Some(Arc::new(Assignment { identity, similarity, via, contributions, decisions }))
    }
}

/// More than any comparison can say.
const BY_DECISION: Contribution = Contribution { field: Field::Decision, points: Points::DECIDED };

fn carrier(member: &Membership) -> Carrier {
    Carrier { first_seen: member.node.first_seen, listing: member.node.listing }
}

/// How much is held.
struct Meters {
    listings: Held,
    decided_pairs: Held,
    identities: Held,
    redirects: Held,
}

impl Meters {
    fn new() -> Self {
        Self {
            listings: Held::new("resolve-matched-listings"),
            decided_pairs: Held::new("resolve-decided-pairs"),
            identities: Held::new("resolve-identities"),
            redirects: Held::new("resolve-redirects"),
        }
    }

    fn set(&self, clusters: &Clusters) {
        self.listings.set(clusters.graph.nodes.len());
        self.decided_pairs.set(clusters.graph.rulings.len());
        self.identities.set(clusters.registry.len());
        self.redirects.set(clusters.registry.redirects());
    }
}

/// Streams out of [`clusters`].
pub(super) struct ClusterStreams<'s> {
    pub(super) assigned: Stream<'s, Epoch, Vec<Assigned>>,
    pub(super) redirects: VecCollection<'s, Epoch, (EventId, EventId)>,
    pub(super) stats: VecCollection<'s, Epoch, Stat>,
    pub(super) reports: VecCollection<'s, Epoch, (Pair, Shared<DecisionReport>)>,
}

/// Wires [`Graph`], [`refine`] and [`IdentityRegistry`], all on one worker.
///
/// That one worker is no bottleneck before the committer, which also is one: of a listing that has
/// no match it sees an id and a timestamp, which it looks up in small tables and drops; of a match
/// it sees two pointers. In return a component is in one place whatever it grows into, and an id
/// can be known to be free.
pub(super) fn clusters<'s>(
    matches: Stream<'s, Epoch, Vec<MatchChange>>,
    presence: Stream<'s, Epoch, Vec<Presence>>,
    decisions: VecCollection<'s, Epoch, Decision>,
    history: Stream<'s, Epoch, Vec<Remembered>>,
    config: &Arc<ResolveConfig>,
) -> ClusterStreams<'s> {
    let mut builder = OperatorBuilder::new("ResolveClusters".to_owned(), matches.scope());
    let decisions = decisions.flat_map(|decision| decision.pair().map(|pair| (pair, Shared::new(decision))));
    let mut matches = builder.new_input(matches, Exchange::new(|_: &MatchChange| 0));
    let mut presence = builder.new_input(presence, Exchange::new(|_: &Presence| 0));
    let mut decisions = builder.new_input(decisions.inner, Exchange::new(|_: &(_, Epoch, isize)| 0));
    let mut history = builder.new_input(history, Exchange::new(|_: &Remembered| 0));
    let (assigned_out, assigned) = builder.new_output();
    let (redirects_out, redirects) = builder.new_output();
    let (stats_out, stats) = builder.new_output();
    let (reports_out, reports) = builder.new_output();
    let mut assigned_out = Sender::from(assigned_out);
    let (mut redirects_out, mut stats_out) = (Sender::from(redirects_out), Sender::from(stats_out));
    let mut reports_out = Sender::from(reports_out);
    let mut clusters = Clusters::new(config);
    let meters = Meters::new();
    builder.build(move |_| {
        let mut pending = Pending::<ClustersInput>::new(4);
        move |frontiers| {
            matches.for_each(|capability, data| pending.now(&capability).graph.matches.append(data));
            presence.for_each(|capability, data| {
                let input = pending.now(&capability);
                data.drain(..).for_each(|presence| input.note(presence));
            });
            decisions.for_each(|capability, data| {
                for ((pair, decision), epoch, diff) in data.drain(..) {
                    pending.at(&capability, epoch).graph.decisions.push((pair, decision, diff));
                }
            });
            history.for_each(|capability, data| pending.now(&capability).remembered.append(data));
            while let Some(complete) = pending.complete(frontiers) {
                let out = clusters.apply(complete.input);
                meters.set(&clusters);
                assigned_out.send(&complete.capabilities, 0, out.assigned);
                redirects_out.send_updates(&complete.capabilities, 1, out.redirects);
                stats_out.send_updates(&complete.capabilities, 2, out.stats);
                reports_out.send_updates(&complete.capabilities, 3, out.reports);
            }
        }
    });
    ClusterStreams {
        assigned,
        redirects: redirects.as_collection(),
        stats: stats.as_collection(),
        reports: reports.as_collection(),
    }
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
        let lax = ResolveConfig { cohesion: 0.5, ..config };
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
