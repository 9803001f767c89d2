//! The graph of matches and decisions, and which of its components a change touches.

use foldhash::{HashMap, HashMapExt, HashSet, HashSetExt};
use smallvec::{SmallVec, smallvec};

use super::Stat;
use super::block::MatchChange;
use super::compare::Relation;
use super::component::{Component, Edge};
use super::decision::{Decision, Pair};
use super::fingerprint::Fingerprint;
use super::identity::Carrier;
use super::rulings::{ReportChange, Rulings, settle};
use crate::ids::ListingId;
use crate::listing::Ratio;
use crate::shared::Shared;

/// The listings that have matches or decisions, and those.
#[derive(Debug, Default)]
pub struct Graph {
    nodes: HashMap<ListingId, Node>,
    pub(super) rulings: Rulings,
    /// Components that were tightened, by each epoch's smallest listing in them.
    tightened: HashMap<ListingId, Stat>,
}

#[derive(Debug)]
struct Node {
    fingerprint: Shared<Fingerprint>,
    matches: SmallVec<[(ListingId, Ratio); 1]>,
    /// Runs of several days that it is a part of, and parts of it as a run.
    runs: SmallVec<[(ListingId, Ratio); 0]>,
    parts: SmallVec<[ListingId; 0]>,
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
    pub(super) reports: Vec<ReportChange>,
}

impl Node {
    fn is_idle(&self) -> bool {
        self.matches.is_empty() && self.runs.is_empty() && self.parts.is_empty() && !self.named
    }

    /// Takes in that `other` is `relation` to it.
    fn relate(&mut self, relation: Relation, other: ListingId, score: Ratio) {
        match relation {
            Relation::Same => self.matches.push((other, score)),
            Relation::PartAndRun => self.runs.push((other, score)),
            Relation::RunAndPart => self.parts.push(other),
        }
    }

    fn part(&mut self, relation: Relation, other: ListingId) {
        match relation {
            Relation::Same => self.matches.retain(|(known, _)| *known != other),
            Relation::PartAndRun => self.runs.retain(|(known, _)| *known != other),
            Relation::RunAndPart => self.parts.retain(|known| *known != other),
        }
    }
}

impl Graph {
    /// The run of several days that is most like `listing`, of those that it is a part of and that `counts`.
    pub(super) fn run_around(
        &self,
        listing: ListingId,
        counts: impl Fn(ListingId) -> bool,
    ) -> Option<(Ratio, ListingId)> {
        let runs = self.nodes.get(&listing)?.runs.iter().filter(|(run, _)| counts(*run));
        let best = runs.map(|(run, score)| (*score, std::cmp::Reverse(*run))).max()?;
        Some((best.0, best.1.0))
    }

    /// Number of listings that have matches or decisions.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

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
        for (from, to, relation) in [(a, b, change.relation), (b, a, change.relation.reversed())] {
            if let Some(node) = self.nodes.get_mut(&from) {
                node.part(relation, to);
                if node.is_idle() {
                    self.nodes.remove(&from);
                }
            }
        }
    }

    fn connect(&mut self, change: &MatchChange) {
        let (a, b, relation) = (&change.a, &change.b, change.relation);
        for (from, to, relation) in [(a, b, relation), (b, a, relation.reversed())] {
            self.node(from).relate(relation, to.listing, change.score);
        }
    }

    fn node(&mut self, fingerprint: &Shared<Fingerprint>) -> &mut Node {
        let node = self.nodes.entry(fingerprint.listing).or_insert_with(|| Node {
            fingerprint: fingerprint.clone(),
            matches: SmallVec::new(),
            runs: SmallVec::new(),
            parts: SmallVec::new(),
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
                if node.is_idle() {
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
        self.collect_parts(&mut affected, &mut seen);
        affected
    }

    /// Takes along what is a part of a touched run: it says in which event the run is.
    fn collect_parts(&self, affected: &mut Affected, seen: &mut HashSet<ListingId>) {
        let touched = affected.components.iter().flat_map(|component| &component.nodes);
        let runs = touched.filter_map(|node| self.nodes.get(&node.listing));
        let parts: Vec<ListingId> = runs.flat_map(|run| run.parts.iter().copied()).collect();
        for part in parts {
            if !seen.contains(&part) && self.nodes.contains_key(&part) {
                affected.components.push(self.component(part, seen));
            }
        }
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
                    Some(Decision::Moderate(_)) | None => {}
                }
            }
        }
        different.sort_unstable();
        component.edges.retain(|edge| different.binary_search(&(edge.a, edge.b)).is_err());
        (component.same, component.overruled) = settle(ids.len(), same, &different);
        component.different = different;
    }

    /// Notes how the touched components were treated; returns what changed in the counts.
    pub(super) fn note(&mut self, affected: &Affected, treatments: &[Option<Stat>]) -> Vec<(Stat, isize)> {
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
