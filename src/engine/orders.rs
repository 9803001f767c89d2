//! Orders: what every worker has to know before it reads anything.
//!
//! They follow from what was committed last, and are given once, to all workers of all processes.

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater_flow::Epoch;
use serde::{Deserialize, Serialize};

use super::error::EngineError;
use super::input::Share;
use super::options::EngineOptions;
use super::recovery::{Plan, partitions};

use super::watermark::Behind;
use crate::dataflow::Recovery;
use crate::log::{Log, TopicPartition};

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orders {
    /// The epoch at which the state is restored: that of the last commit.
    pub restored_epoch: Epoch,
    /// How the restored epoch is treated.
    pub recovery: Recovery,
    /// Whether the raw topics are read again up to the positions.
    pub rebuilding: bool,
    /// Whether state records of later epochs than the restored one are left out.
    pub cut: bool,
    /// The watermark at the last commit.
    pub watermark: Option<i64>,
    /// What each worker reads.
    pub shares: Vec<Share>,
    /// Raw partitions that hold more than has been read, with their ends.
    behind: Vec<(TopicPartition, i64)>,
    /// How many partitions each raw topic has; those that appear later are not in any share.
    pub dealt: BTreeMap<Arc<str>, i32>,
}

impl Orders {
    /// What follows from `plan`, for `workers` workers. `ends` are those of the inputs at the start.
    ///
    /// # Errors
    /// When the log fails.
    pub fn of(
        log: &dyn Log,
        options: &EngineOptions,
        plan: &Plan,
        ends: &[(TopicPartition, i64)],
        workers: usize,
    ) -> Result<Self, EngineError> {
        let known = plan.positions();
        let mut deal = Deal { shares: vec![Share::default(); workers], next: 0 };
        let mut dealt: BTreeMap<Arc<str>, i32> = options.inputs.keys().map(|topic| (Arc::clone(topic), 0)).collect();
        let mut behind = Vec::new();
        for (at, end) in ends {
            let next = known.next(at);
            let Some(count) = dealt.get_mut(&at.topic) else {
                deal.give(|share| share.tables.push((at.clone(), next.unwrap_or(0))));
                continue;
            };
            *count += 1;
            deal.give(|share| share.raw.push((at.clone(), known.reached(at))));
            if next.unwrap_or(0) < *end {
                behind.push((at.clone(), *end));
            }
        }
        let rebuilding = plan.rebuild.is_some();
        let states = options.catalog.states().filter(|(_, topic)| !rebuilding || !topic.spec.rebuilt);
        for (id, _) in states {
            for (at, _) in partitions(log, options.names.of(id))? {
                deal.give(|share| share.state.push(at));
            }
        }
        Ok(Self {
            restored_epoch: plan.restored_epoch,
            recovery: plan.recovery,
            rebuilding,
            cut: options.preview,
            watermark: plan.progress.as_ref().and_then(|progress| progress.watermark),
            shares: deal.shares,
            behind,
            dealt,
        })
    }

    /// Raw partitions that hold more than has been read.
    pub fn behind(&self) -> Behind {
        self.behind.iter().map(|(at, end)| ((Arc::clone(&at.topic), at.partition), *end)).collect()
    }
}

/// Deals partitions over the workers, in turn.
struct Deal {
    shares: Vec<Share>,
    next: usize,
}

impl Deal {
    fn give(&mut self, add: impl FnOnce(&mut Share)) {
        let turn = self.next % self.shares.len().max(1);
        self.next += 1;
        if let Some(share) = self.shares.get_mut(turn) {
            add(share);
        }
    }
}
