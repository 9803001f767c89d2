//! The operator of clustering: graph, refinement and identities, all on one worker.

use std::sync::Arc;

use differential_dataflow::{AsCollection, VecCollection};
use foldhash::{HashMap, HashSet};
use smallvec::smallvec;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::Stat;
use super::block::MatchChange;
use super::cluster::{Cluster, Membership, Refined, refine};
use super::compare::Comparer;
use super::config::ResolveConfig;
use super::decision::{Decision, DecisionReport, Pair};
use super::epochs::Sender;
use super::field::Field;
use super::fingerprinting::Presence;
use super::graph::{Graph, GraphChanges};
use super::identity::{Carrier, ClusterChanges, Identity, IdentityRegistry, Remembered};
use super::merge::{Assigned, Assignment};
use super::points::{Contribution, Contributions, Points};
use super::rulings::ReportChange;
use crate::Epoch;
use crate::ids::{EventId, ListingId};
use crate::shared::Shared;
use headwater_flow::epochs::CompleteEpochs;
use headwater_flow::meter::EntryMeter;

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
    /// Each with a hash of what it says.
    arrived: Vec<(Carrier, u64)>,
    gone: Vec<(Carrier, u64)>,
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
            Presence::Arrived(carrier, content) => self.arrived.push((carrier, content)),
            Presence::Gone(carrier, content) => self.gone.push((carrier, content)),
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
        let gone: HashSet<ListingId> = input.gone.iter().map(|(carrier, _)| carrier.listing).collect();
        let (left, leftover): (Vec<Carrier>, Vec<Carrier>) =
            affected.leftover.into_iter().partition(|carrier| gone.contains(&carrier.listing));
        let carriers = clusters.iter().map(|cluster| cluster.iter().map(carrier).collect());
        let changes = ClusterChanges {
            clusters: carriers.chain(leftover.iter().map(|alone| vec![*alone])).collect(),
            successors: successors(&input.arrived, &input.gone),
            arrived: input.arrived.into_iter().map(|(carrier, _)| carrier).collect(),
            gone: input.gone.into_iter().map(|(carrier, _)| carrier.listing).collect(),
        };
        let outcome = self.registry.apply(&changes);

        // Plain listings are not known to the registry; where decisions named them, they were assigned.
        let forgotten = outcome.forgotten.iter().copied().chain(left.iter().map(|carrier| carrier.listing));
        let mut assigned: Vec<Assigned> = forgotten.map(|listing| (listing, None)).collect();
        let (of_clusters, of_singles) = outcome.identities.split_at(clusters.len().min(outcome.identities.len()));
        for (cluster, identity) in clusters.iter().zip(of_clusters) {
            let part_of = self.run_around(cluster, *identity);
            assigned.extend(
                cluster.iter().map(|member| (member.node.listing, self.assign(cluster, member, *identity, part_of))),
            );
        }
        for (alone, identity) in leftover.iter().chain(&outcome.singles).zip(of_singles) {
            let plain = alone.own() == *identity;
            assigned.push((alone.listing, (!plain).then(|| Arc::new(Assignment::alone(*identity)))));
        }
        let redirects = outcome.redirects.into_iter().map(|(from, to, diff)| ((from, to), diff)).collect();
        ClustersOutput { assigned, redirects, stats, reports: affected.reports }
    }

    /// The event of several days that a cluster is a part of: of the run that is most like one of its
    /// listings, ties to the smallest id.
    fn run_around(&self, cluster: &Cluster, identity: Identity) -> Option<EventId> {
        let is_other = |run| self.registry.event_of(run) != identity.event;
        let runs = cluster.iter().filter_map(|member| self.graph.run_around(member.node.listing, is_other));
        let best = runs.map(|(score, run)| (score, std::cmp::Reverse(run))).max()?;
        Some(self.registry.event_of(best.1.0))
    }

    /// Where a member of a cluster belongs; `None` for a plain listing.
    fn assign(
        &self,
        cluster: &Cluster,
        member: &Membership,
        identity: Identity,
        part_of: Option<EventId>,
    ) -> Option<Arc<Assignment>> {
        let decisions = self.graph.rulings.reports_on(member.node.listing);
        let own = cluster.len() == 1 && carrier(member).own() == identity;
        if own && decisions.is_empty() && part_of.is_none() {
            return None;
        }
        let other = member.via.and_then(|via| cluster.iter().find(|other| other.node.listing == via));
        let contributions = match other {
            None => Contributions::new(),
            Some(_) if member.decided => smallvec![BY_DECISION],
            Some(other) => self.comparer.compare(&member.node, &other.node).contributions,
        };
        let Membership { similarity, via, .. } = *member;
        Some(Arc::new(Assignment { identity, part_of, similarity, via, contributions, decisions }))
    }
}

/// Which arrived listing takes the place of which gone one: they are of one source and say the same, as
/// where a source exports its entries with new ids. Of several that say the same, the oldest with the oldest.
fn successors(arrived: &[(Carrier, u64)], gone: &[(Carrier, u64)]) -> Vec<(ListingId, Carrier)> {
    if arrived.is_empty() || gone.is_empty() {
        return Vec::new();
    }
    let mut former: HashMap<u64, Vec<Carrier>> = HashMap::default();
    for (carrier, content) in gone {
        former.entry(*content).or_default().push(*carrier);
    }
    former.values_mut().for_each(|carriers| carriers.sort_unstable_by_key(|carrier| std::cmp::Reverse(*carrier)));
    let mut arrived: Vec<&(Carrier, u64)> = arrived.iter().collect();
    arrived.sort_unstable();
    let successor = |(carrier, content): &(Carrier, u64)| Some((carrier.listing, former.get_mut(content)?.pop()?));
    arrived.into_iter().filter_map(successor).collect()
}

/// More than any comparison can say.
const BY_DECISION: Contribution = Contribution { field: Field::Decision, points: Points::DECIDED };

fn carrier(member: &Membership) -> Carrier {
    Carrier { first_seen: member.node.first_seen, listing: member.node.listing }
}

/// How much is held.
struct Meters {
    listings: EntryMeter,
    decided_pairs: EntryMeter,
    identities: EntryMeter,
    redirects: EntryMeter,
}

impl Meters {
    fn new() -> Self {
        Self {
            listings: EntryMeter::new("resolve-matched-listings"),
            decided_pairs: EntryMeter::new("resolve-decided-pairs"),
            identities: EntryMeter::new("resolve-identities"),
            redirects: EntryMeter::new("resolve-redirects"),
        }
    }

    fn set(&self, clusters: &Clusters) {
        self.listings.set(clusters.graph.len());
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
    let mut builder = OperatorBuilder::new("cluster/Clusters".to_owned(), matches.scope());
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
        let mut epochs = CompleteEpochs::<ClustersInput>::new(4);
        move |frontiers| {
            matches.for_each(|capability, data| epochs.now(&capability).graph.matches.append(data));
            presence.for_each(|capability, data| {
                let input = epochs.now(&capability);
                data.drain(..).for_each(|presence| input.note(presence));
            });
            decisions.for_each(|capability, data| {
                for ((pair, decision), epoch, diff) in data.drain(..) {
                    epochs.at(&capability, epoch).graph.decisions.push((pair, decision, diff));
                }
            });
            history.for_each(|capability, data| epochs.now(&capability).remembered.append(data));
            while let Some(complete) = epochs.next(frontiers) {
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
