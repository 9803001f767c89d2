//! Complete epochs, in order: the building block of every stateful operator of the engine.

use std::collections::BTreeMap;

use headwater_operators::Epoch;
use timely::dataflow::operators::Capability;
use timely::progress::Antichain;
use timely::progress::frontier::AntichainRef;

/// Input that waits for its epoch to be complete.
///
/// NB: state must be changed in the order of epochs, and batches arrive in any order.
pub struct Stash<D> {
    waiting: BTreeMap<Epoch, (Vec<Capability<Epoch>>, Vec<D>)>,
}

impl<D> Default for Stash<D> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new() }
    }
}

impl<D> Stash<D> {
    /// Keeps `data` of `epoch`; `capabilities` are asked for once an epoch, one per output port.
    pub fn push(
        &mut self,
        epoch: Epoch,
        capabilities: impl FnOnce() -> Vec<Capability<Epoch>>,
        data: impl IntoIterator<Item = D>,
    ) {
        self.waiting.entry(epoch).or_insert_with(|| (capabilities(), Vec::new())).1.extend(data);
    }

    /// The earliest epoch that is complete at `frontier`, with what was kept of it.
    pub fn next_complete(
        &mut self,
        frontier: AntichainRef<'_, Epoch>,
    ) -> Option<(Epoch, Vec<Capability<Epoch>>, Vec<D>)> {
        let first = self.waiting.first_entry()?;
        if frontier.less_equal(first.key()) {
            return None;
        }
        let (epoch, (capabilities, data)) = first.remove_entry();
        Some((epoch, capabilities, data))
    }
}

/// The least element of a frontier of totally ordered epochs; `None` when it is closed.
pub fn least(frontier: AntichainRef<'_, Epoch>) -> Option<Epoch> {
    frontier.iter().min().copied()
}

/// The lower one of two frontiers.
pub fn lower(a: AntichainRef<'_, Epoch>, b: AntichainRef<'_, Epoch>) -> Antichain<Epoch> {
    a.iter().chain(b.iter()).copied().collect()
}
