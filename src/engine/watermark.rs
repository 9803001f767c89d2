//! The watermark: the timestamp before which nothing more is expected.
//!
//! The smallest over the raw partitions of the greatest record timestamp seen, with partitions
//! that have been idle for a while left out. It never falls. What a partition held at the start is
//! waited for, however long the others take, and so is what a partition held that appeared while
//! running: else the records of the partition that is read last
//! would all be late.

use std::collections::HashMap;
use std::sync::Arc;

use headwater_flow::Epoch;
use headwater_flow::epochs::{CompleteEpochs, least};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::operator::Operator;

use super::input::PositionReport;

/// Topic and partition.
type PartitionKey = (Arc<str>, i32);

/// Raw partitions that have not been read to the end that they had at the start, with that end.
pub type Behind = HashMap<PartitionKey, i64>;

/// The watermark as plain logic.
#[derive(Debug)]
pub struct Watermark {
    idle_after_ms: u64,
    value: Option<i64>,
    behind: Behind,
    partitions: HashMap<PartitionKey, Seen>,
}

#[derive(Debug)]
struct Seen {
    max_timestamp: i64,
    at: Epoch,
}

impl Watermark {
    /// Goes on from `value`; partitions idle for longer than `idle_after_ms` are left out, unless
    /// they are `behind`.
    pub fn new(value: Option<i64>, idle_after_ms: u64, behind: Behind) -> Self {
        Self { idle_after_ms, value, behind, partitions: HashMap::new() }
    }

    /// Takes in a report of epoch `now`.
    pub fn observe(&mut self, report: &PositionReport, now: Epoch) {
        let key = (report.topic.clone(), report.partition);
        if let Some(end) = report.found_with_end {
            self.find(&key, report.reached.next, end, now);
        }
        if self.behind.get(&key).is_some_and(|end| report.reached.next >= *end) {
            self.behind.remove(&key);
        }
        let Some(max_timestamp) = report.reached.max_timestamp else { return };
        let seen = self.partitions.entry(key).or_insert(Seen { max_timestamp, at: now });
        if max_timestamp > seen.max_timestamp {
            *seen = Seen { max_timestamp, at: now };
        }
    }

    /// A partition that appears counts as one that was heard of just now, so that its first records
    /// are not late because those of the other partitions were read before them.
    fn find(&mut self, key: &PartitionKey, next: i64, end: i64, now: Epoch) {
        if next < end {
            self.behind.insert(key.clone(), end);
        }
        if let Some(max_timestamp) = self.value {
            self.partitions.insert(key.clone(), Seen { max_timestamp, at: now });
        }
    }

    /// The new watermark at epoch `now`, if it moved.
    pub fn advance(&mut self, now: Epoch) -> Option<i64> {
        if self.behind.keys().any(|key| !self.partitions.contains_key(key)) {
            return None;
        }
        let is_active = |key: &PartitionKey, seen: &Seen| {
            now.saturating_sub(seen.at) <= self.idle_after_ms || self.behind.contains_key(key)
        };
        let active = self.partitions.iter().filter(|(key, seen)| is_active(key, seen));
        let least = active.map(|(_, seen)| seen.max_timestamp).min()?;
        if self.value.is_some_and(|value| value >= least) {
            return None;
        }
        self.value = Some(least);
        self.value
    }
}

/// The watermark at every epoch at which it moves, on worker 0; first, at the restored epoch, as it
/// was at the last commit.
pub fn watermark<'s>(
    positions: StreamVec<'s, Epoch, PositionReport>,
    restored: (Epoch, Option<i64>),
    idle_after_ms: u64,
    behind: Behind,
) -> StreamVec<'s, Epoch, i64> {
    let exchange = Exchange::new(|_: &PositionReport| 0);
    let (restored_epoch, restored) = restored;
    let mine = positions.scope().index() == 0;
    positions.unary_frontier(exchange, "read/Watermark", move |mut capability, _info| {
        capability.downgrade(&restored_epoch);
        // Windows have to know where it was before the first record is counted.
        let mut known = restored.filter(|_| mine);
        let mut held = Some(capability);
        let mut epochs: CompleteEpochs<Vec<PositionReport>> = CompleteEpochs::new(1);
        let mut state = Watermark::new(restored, idle_after_ms, behind);
        move |(input, frontier), out| {
            input.for_each(|capability, data| epochs.now(&capability).append(data));
            if let (Some(value), Some(capability)) = (known.take(), &held) {
                out.session(capability).give(value);
            }
            while let Some(complete) = epochs.next([frontier]) {
                complete.input.iter().for_each(|report| state.observe(report, complete.epoch));
                if let (Some(value), Some(capability)) = (state.advance(complete.epoch), complete.capabilities.first())
                {
                    out.session(capability).give(value);
                }
            }
            // A partition may fall idle without any report: then the clock alone moves the watermark.
            let (Some(now), Some(capability)) = (least(frontier.frontier()), held.as_mut()) else {
                held = None;
                return;
            };
            if *capability.time() < now {
                capability.downgrade(&now);
                if let Some(value) = state.advance(now) {
                    out.session(capability).give(value);
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::progress::Reached;

    fn report(partition: i32, max_timestamp: i64) -> PositionReport {
        PositionReport {
            topic: "t".into(),
            partition,
            reached: Reached { next: 1, max_timestamp: Some(max_timestamp), last: None },
            found_with_end: None,
        }
    }

    /// That `partition` has been read up to `next`, and what its timestamps came to.
    fn reached(partition: i32, next: i64, max_timestamp: Option<i64>) -> PositionReport {
        PositionReport { reached: Reached { next, max_timestamp, last: None }, ..report(partition, 0) }
    }

    #[test]
    fn the_slowest_partition_holds_it_back_until_it_is_idle() {
        let mut watermark = Watermark::new(None, 1_000, Behind::new());
        assert_eq!(watermark.advance(0), None);
        watermark.observe(&report(0, 500), 10_000);
        watermark.observe(&report(1, 100), 10_000);
        assert_eq!(watermark.advance(10_000), Some(100));
        watermark.observe(&report(0, 900), 10_900);
        assert_eq!(watermark.advance(10_900), None);
        assert_eq!(watermark.advance(11_001), Some(900));
    }

    #[test]
    fn what_was_there_at_the_start_is_waited_for() {
        let behind = Behind::from([(("t".into(), 0), 1), (("t".into(), 1), 2), (("t".into(), 2), 1)]);
        let mut watermark = Watermark::new(None, 1_000, behind);
        watermark.observe(&report(0, 900), 10_000);
        watermark.observe(&report(1, 100), 10_000);
        assert_eq!(watermark.advance(10_000), None);
        watermark.observe(&reached(2, 1, None), 10_000);
        assert_eq!(watermark.advance(10_000), Some(100));
        watermark.observe(&report(0, 950), 20_000);
        assert_eq!(watermark.advance(20_000), None, "partition 1 is not idle: it has not been read to its end");
        watermark.observe(&reached(1, 2, Some(200)), 20_000);
        assert_eq!(watermark.advance(20_000), Some(200));
        watermark.observe(&report(0, 990), 21_500);
        assert_eq!(watermark.advance(21_500), Some(990));
    }

    #[test]
    fn what_a_partition_held_when_it_was_found_is_waited_for() {
        let mut watermark = Watermark::new(None, 1_000, Behind::new());
        watermark.observe(&report(0, 900), 10_000);
        assert_eq!(watermark.advance(10_000), Some(900));
        let found = PositionReport { found_with_end: Some(2), ..reached(1, 0, None) };
        watermark.observe(&found, 10_000);
        watermark.observe(&report(0, 950), 10_000);
        assert_eq!(watermark.advance(10_000), None, "nothing of the new partition has been read");
        watermark.observe(&report(1, 910), 10_000);
        assert_eq!(watermark.advance(10_000), Some(910));
        watermark.observe(&report(0, 990), 20_000);
        assert_eq!(watermark.advance(20_000), None, "it has more than was read");
        watermark.observe(&reached(1, 2, Some(980)), 20_000);
        assert_eq!(watermark.advance(20_000), Some(980));
    }

    #[test]
    fn a_partition_found_empty_counts_until_it_is_idle() {
        let mut watermark = Watermark::new(None, 1_000, Behind::new());
        watermark.observe(&report(0, 900), 10_000);
        assert_eq!(watermark.advance(10_000), Some(900));
        let found = PositionReport { found_with_end: Some(0), ..reached(1, 0, None) };
        watermark.observe(&found, 20_000);
        watermark.observe(&report(0, 990), 20_000);
        assert_eq!(watermark.advance(20_000), None, "its first record may be older");
        watermark.observe(&report(0, 999), 21_001);
        assert_eq!(watermark.advance(21_001), Some(999), "nothing came");
    }

    #[test]
    fn it_never_falls() {
        let mut watermark = Watermark::new(Some(700), 1_000, Behind::new());
        watermark.observe(&report(0, 500), 1);
        assert_eq!(watermark.advance(1), None);
    }
}
