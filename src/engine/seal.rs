//! Sealing: everything between two frontiers in one piece, on worker 0.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crossbeam_channel::Sender;
use headwater_flow::Epoch;
use headwater_flow::epochs::least;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, StreamVec};

use super::input::PositionReport;
use super::source::Restored;
use crate::dataflow::OutRecord;

/// Everything between two frontiers.
#[derive(Debug, Default)]
pub struct Sealed {
    /// The frontier: everything before it is here or has been sealed before. `None`: the end.
    pub frontier: Option<Epoch>,
    /// Records of the restored epoch.
    pub restored: Vec<OutRecord>,
    /// Records of later epochs, in the order of epochs. What a topology gives before the restored epoch, in
    /// a rebuild, is in none.
    pub records: Vec<OutRecord>,
    /// Positions reached.
    pub positions: Vec<PositionReport>,
    /// The watermark, where it moved.
    pub watermark: Option<i64>,
    /// The greatest epoch in here.
    pub epoch: Epoch,
    /// The smallest one after the restored one.
    pub first: Option<Epoch>,
    /// How many sources have read their whole shares of the state.
    pub sources_restored: usize,
}

impl Sealed {
    /// This and what was sealed after it, in one.
    pub fn joined(mut self, next: Self) -> Self {
        debug_assert!(self.frontier <= next.frontier || next.frontier.is_none(), "sealed in the order of epochs");
        self.frontier = next.frontier;
        self.restored.extend(next.restored);
        self.records.extend(next.records);
        self.positions.extend(next.positions);
        self.watermark = self.watermark.max(next.watermark);
        self.epoch = self.epoch.max(next.epoch);
        self.first = self.first.or(next.first);
        self.sources_restored += next.sources_restored;
        self
    }
}

#[derive(Default)]
struct EpochContent {
    records: Vec<OutRecord>,
    positions: Vec<PositionReport>,
    watermark: Option<i64>,
    sources_restored: usize,
}

/// Brings outputs, positions and watermark to worker 0 and seals complete epochs there.
pub fn seal<'s>(
    scope: Scope<'s, Epoch>,
    records: StreamVec<'s, Epoch, OutRecord>,
    positions: StreamVec<'s, Epoch, PositionReport>,
    watermark: StreamVec<'s, Epoch, i64>,
    restored: StreamVec<'s, Epoch, Restored>,
    restored_epoch: Epoch,
    sealed: Sender<Sealed>,
) {
    let mut builder = OperatorBuilder::new("commit/Seal".to_owned(), scope);
    let mut records = builder.new_input(records, Exchange::new(|_: &OutRecord| 0));
    let mut positions = builder.new_input(positions, Exchange::new(|_: &PositionReport| 0));
    let mut watermark = builder.new_input(watermark, Exchange::new(|_: &i64| 0));
    let mut restored = builder.new_input(restored, Exchange::new(|_: &Restored| 0));
    let mine = scope.index() == 0;
    builder.build(move |_capabilities| {
        let mut waiting: BTreeMap<Epoch, EpochContent> = BTreeMap::new();
        let mut sealed_to = Some(0);
        move |frontiers| {
            records.for_each(|at, data| waiting.entry(*at.time()).or_default().records.append(data));
            positions.for_each(|at, data| waiting.entry(*at.time()).or_default().positions.append(data));
            watermark.for_each(|at, data| {
                let content = waiting.entry(*at.time()).or_default();
                content.watermark = content.watermark.max(data.drain(..).max());
            });
            restored.for_each(|at, data| waiting.entry(*at.time()).or_default().sources_restored += data.len());
            let frontier = frontiers.iter().filter_map(|frontier| least(frontier.frontier())).min();
            if !mine || sealed_to.is_none() || frontier == sealed_to {
                return;
            }
            sealed_to = frontier;
            // The receiver is gone only when the committer has failed; the failure is reported there.
            let _ = sealed.send(sealed_up_to(&mut waiting, frontier, restored_epoch));
        }
    });
}

fn sealed_up_to(waiting: &mut BTreeMap<Epoch, EpochContent>, frontier: Option<Epoch>, restored_epoch: Epoch) -> Sealed {
    let later = frontier.map(|frontier| waiting.split_off(&frontier)).unwrap_or_default();
    let complete = std::mem::replace(waiting, later);
    let mut sealed = Sealed { frontier, ..Sealed::default() };
    for (epoch, mut content) in complete {
        match epoch.cmp(&restored_epoch) {
            Ordering::Less if content.records.is_empty() => {}
            Ordering::Less => {
                let records = content.records.len();
                tracing::warn!(epoch, records, "the topology gave records before the restored epoch: they are dropped");
            }
            Ordering::Equal => sealed.restored.append(&mut content.records),
            Ordering::Greater => {
                sealed.first.get_or_insert(epoch);
                sealed.records.append(&mut content.records);
            }
        }
        sealed.positions.append(&mut content.positions);
        sealed.watermark = sealed.watermark.max(content.watermark);
        sealed.sources_restored += content.sources_restored;
        sealed.epoch = epoch;
    }
    sealed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::TopicId;

    fn content(records: usize) -> EpochContent {
        let record = || OutRecord::row(TopicId::DEAD_LETTERS, "k".into(), None);
        EpochContent { records: (0..records).map(|_| record()).collect(), ..EpochContent::default() }
    }

    #[test]
    fn what_is_sealed_is_everything_before_the_frontier_less_what_came_too_early() {
        let mut waiting: BTreeMap<Epoch, EpochContent> =
            [(5, 1), (7, 2), (8, 3), (9, 4)].map(|(at, n)| (at, content(n))).into();
        let sealed = sealed_up_to(&mut waiting, Some(9), 7);
        assert_eq!((sealed.restored.len(), sealed.records.len()), (2, 3));
        assert_eq!((sealed.first, sealed.epoch, sealed.frontier), (Some(8), 8, Some(9)));
        let rest = sealed_up_to(&mut waiting, None, 7);
        assert_eq!((rest.restored.len(), rest.records.len(), rest.first, rest.frontier), (0, 4, Some(9), None));
    }
}
