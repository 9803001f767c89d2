//! [`Epochs`]: what has arrived for epochs that are not complete yet.

use std::collections::BTreeMap;

use timely::dataflow::operators::Capability;
use timely::progress::frontier::MutableAntichain;

use crate::Epoch;

/// Updates by epoch, each epoch with the capability to answer it.
///
/// Operators whose answer depends on everything that an epoch holds put their input here, and
/// take whole epochs out, in order, once no input can bring more for them.
pub(crate) struct Epochs<B> {
    pending: BTreeMap<Epoch, (Capability<Epoch>, B)>,
}

impl<B> Default for Epochs<B> {
    fn default() -> Self {
        Self { pending: BTreeMap::new() }
    }
}

impl<B: Default> Epochs<B> {
    /// What is held for `epoch`; `capability` is asked for the first time only.
    pub(crate) fn at(&mut self, epoch: Epoch, capability: impl FnOnce() -> Capability<Epoch>) -> &mut B {
        &mut self.pending.entry(epoch).or_insert_with(|| (capability(), B::default())).1
    }

    /// The earliest epoch that lies before all `frontiers`.
    pub(crate) fn next_complete(&mut self, frontiers: &[&MutableAntichain<Epoch>]) -> Option<(Capability<Epoch>, B)> {
        let entry = self.pending.first_entry()?;
        if frontiers.iter().any(|frontier| frontier.less_equal(entry.key())) {
            return None;
        }
        Some(entry.remove())
    }
}
