//! [`Batch`]: all of `resolve` but the dataflow and the history, on listings that are all there.
//!
//! The same code decides as in the dataflow: fingerprints, blocks, comparisons, refinement. What
//! comes out are the clusters that the dataflow arrives at whatever the order of arrival, so that
//! settings can be measured, and a verdict explained, without a log.

use std::collections::{HashMap, HashSet};

use super::Stat;
use super::block::{Blocks, MatchChange};
use super::cluster::{Cluster, Refined, refine};
use super::compare::{Comparer, Relation};
use super::config::ResolveConfig;
use super::decision::Decision;
use super::fingerprint::Fingerprint;
use super::fingerprinting::{BlockChange, into_blocks};
use super::graph::{Graph, GraphChanges, consolidate};
use crate::ids::ListingId;
use crate::listing::LiveListing;
use crate::shared::Shared;

/// Listings, resolved from scratch.
#[derive(Debug, Default)]
pub struct Batch {
    /// The fingerprint of each listing.
    pub fingerprints: HashMap<ListingId, Shared<Fingerprint>>,
    /// The matches, each once, with the smaller id first.
    pub matches: Vec<MatchChange>,
    /// Runs of several days with parts of them, each pair once.
    pub parts: Vec<MatchChange>,
    /// Clusters of two or more listings.
    pub clusters: Vec<Cluster>,
    /// How many pairs were compared in full.
    pub compared: u64,
    /// What went over a limit, with its number.
    pub stats: Vec<(Stat, isize)>,
    cluster_of: HashMap<ListingId, usize>,
}

impl Batch {
    /// Resolves `listings`, each of which is in there once.
    pub fn resolve<'l>(
        listings: impl IntoIterator<Item = &'l LiveListing>,
        decisions: &[Decision],
        config: &ResolveConfig,
    ) -> Self {
        let mut batch = Self::default();
        let mut changes: Vec<BlockChange> = Vec::new();
        for live in listings {
            let fingerprint = Shared::new(Fingerprint::of(live, config));
            changes.extend(into_blocks(&fingerprint, 1));
            batch.fingerprints.insert(live.id, fingerprint);
        }
        let found = Blocks::new(config).apply(vec![changes]);
        batch.compared = found.compared;
        batch.stats = found.stats;
        (batch.matches, batch.parts) =
            consolidate(found.matches).into_iter().partition(|change| change.relation == Relation::Same);
        batch.group(decisions, config);
        batch
    }

    fn group(&mut self, decisions: &[Decision], config: &ResolveConfig) {
        let decisions: Vec<_> = decisions
            .iter()
            .filter_map(|decision| Some((decision.pair()?, Shared::new(decision.clone()), 1)))
            .collect();
        let named: HashSet<ListingId> = decisions.iter().flat_map(|((a, b), _, _)| [*a, *b]).collect();
        let named = named.iter().filter_map(|id| Some((self.fingerprints.get(id)?.clone(), 1))).collect();
        let affected = Graph::default().apply(GraphChanges { matches: self.matches.clone(), named, decisions });
        let comparer = Comparer::new(config);
        for component in &affected.components {
            let Refined { clusters, stat } = refine(component, &comparer, config);
            self.stats.extend(stat.map(|stat| (stat, 1)));
            self.clusters.extend(clusters.into_iter().filter(|cluster| cluster.len() > 1));
        }
        self.clusters.sort_unstable_by_key(|cluster| cluster.first().map(|member| member.node.listing));
        for (number, cluster) in self.clusters.iter().enumerate() {
            self.cluster_of.extend(cluster.iter().map(|member| (member.node.listing, number)));
        }
    }

    /// The index of the cluster that a listing is in; `None` where it is alone or unknown.
    pub fn cluster_of(&self, listing: ListingId) -> Option<usize> {
        self.cluster_of.get(&listing).copied()
    }

    /// The cluster that a listing is in; `None` where it is alone or unknown.
    pub fn cluster(&self, listing: ListingId) -> Option<&Cluster> {
        self.clusters.get(self.cluster_of(listing)?)
    }

    /// Whether two listings share a block.
    pub fn meet(&self, a: ListingId, b: ListingId) -> bool {
        let fingerprints = self.fingerprints.get(&a).zip(self.fingerprints.get(&b));
        fingerprints.is_some_and(|(a, b)| a.keys.iter().any(|key| b.keys.contains(key)))
    }

    /// Whether two listings are one event.
    pub fn together(&self, a: ListingId, b: ListingId) -> bool {
        a == b || self.cluster_of(a).is_some_and(|cluster| Some(cluster) == self.cluster_of(b))
    }
}
