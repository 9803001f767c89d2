//! [`CompleteEpochs`]: input that waits until its epoch is complete.
//!
//! Epochs are totally ordered. An operator that takes complete epochs in order, and emits exactly the
//! difference that each makes, is a differential operator like any other. It may keep plain hash maps
//! instead of arrangements, at a fraction of the cost.

use std::collections::BTreeMap;

use smallvec::SmallVec;
use timely::dataflow::operators::{Capability, InputCapability};
use timely::progress::frontier::{AntichainRef, MutableAntichain};

use crate::Epoch;

/// Capabilities for one epoch, one for each output of an operator.
pub type Capabilities = SmallVec<[Capability<Epoch>; 3]>;

/// Input of epochs that are not complete yet.
///
/// NB: batches arrive in any order, and state must change in the order of epochs. So an operator puts
/// its input here first and changes its state by what [`next`](Self::next) returns.
///
/// An operator that numbers what comes, in the order of epochs:
///
/// ```
/// use headwater_flow::Epoch;
/// use headwater_flow::epochs::CompleteEpochs;
/// use timely::dataflow::channels::pact::Pipeline;
/// use timely::dataflow::operators::generic::operator::Operator;
/// use timely::dataflow::operators::vec::{Delay, ToStream};
/// use timely::dataflow::operators::{Capture, capture::Extract};
///
/// let captured = timely::example(|scope| {
///     let names = ["late", "early"].to_stream(scope).delay(|name, _| if *name == "late" { 2 } else { 1 });
///     let numbered = names.unary_frontier(Pipeline, "Number", |_capability, _info| {
///         let mut epochs: CompleteEpochs<Vec<&str>> = CompleteEpochs::new(1);
///         let mut count = 0;
///         move |(input, frontier), out| {
///             input.for_each(|capability, data| epochs.now(&capability).append(data));
///             while let Some(complete) = epochs.next([frontier]) {
///                 for name in complete.input {
///                     count += 1;
///                     out.session(&complete.capabilities[0]).give((count, name));
///                 }
///             }
///         }
///     });
///     numbered.capture()
/// });
/// let all: Vec<(Epoch, Vec<(i32, &str)>)> = captured.extract();
/// assert_eq!(all, [(1, vec![(1, "early")]), (2, vec![(2, "late")])]);
/// ```
pub struct CompleteEpochs<I> {
    outputs: usize,
    waiting: BTreeMap<Epoch, (Capabilities, I)>,
}

/// The whole input of one epoch.
pub struct Complete<I> {
    /// The epoch.
    pub epoch: Epoch,
    /// By which the epoch is answered: one capability for each output.
    pub capabilities: Capabilities,
    /// What arrived for it.
    pub input: I,
}

impl<I: Default> CompleteEpochs<I> {
    /// For an operator with this number of outputs.
    pub fn new(outputs: usize) -> Self {
        Self { outputs, waiting: BTreeMap::new() }
    }

    /// The input of `epoch`, which must not lie before that of `capability`.
    pub fn at(&mut self, capability: &InputCapability<Epoch>, epoch: Epoch) -> &mut I {
        let outputs = self.outputs;
        let capabilities = || (0..outputs).map(|output| capability.delayed(&epoch, output)).collect();
        &mut self.waiting.entry(epoch).or_insert_with(|| (capabilities(), I::default())).1
    }

    /// The input of the epoch of `capability`.
    pub fn now(&mut self, capability: &InputCapability<Epoch>) -> &mut I {
        self.at(capability, *capability.time())
    }

    /// The earliest epoch, once none of the inputs behind `frontiers` can bring more of it.
    pub fn next<'f>(
        &mut self,
        frontiers: impl IntoIterator<Item = &'f MutableAntichain<Epoch>>,
    ) -> Option<Complete<I>> {
        let first = self.waiting.first_entry()?;
        if frontiers.into_iter().any(|frontier| frontier.less_equal(first.key())) {
            return None;
        }
        let (epoch, (capabilities, input)) = first.remove_entry();
        Some(Complete { epoch, capabilities, input })
    }
}

/// The least element of a frontier of totally ordered epochs; `None` when it is closed.
pub fn least(frontier: AntichainRef<'_, Epoch>) -> Option<Epoch> {
    frontier.iter().min().copied()
}

#[cfg(test)]
mod tests {
    use timely::dataflow::StreamVec;
    use timely::dataflow::channels::pact::Pipeline;
    use timely::dataflow::operators::Capture;
    use timely::dataflow::operators::capture::Extract;
    use timely::dataflow::operators::generic::operator::Operator;
    use timely::dataflow::operators::vec::ToStream;

    use super::*;

    #[test]
    fn epochs_come_whole_and_in_order_whatever_the_order_of_arrival() {
        let captured = timely::example(|scope| {
            let stream = (0..6u64).map(|n| (n % 3, n)).to_stream(scope);
            let collected: StreamVec<'_, Epoch, (Epoch, Vec<u64>)> =
                stream.unary_frontier(Pipeline, "Collect", |_capability, _info| {
                    let mut epochs: CompleteEpochs<Vec<u64>> = CompleteEpochs::new(1);
                    move |(input, frontier), out| {
                        input.for_each(|capability, data| {
                            for (epoch, n) in data.drain(..) {
                                epochs.at(&capability, epoch).push(n);
                            }
                        });
                        while let Some(complete) = epochs.next([frontier]) {
                            out.session(&complete.capabilities[0]).give((complete.epoch, complete.input));
                        }
                    }
                });
            collected.capture()
        });
        let all: Vec<_> = captured.extract().into_iter().flat_map(|(_, data)| data).collect();
        assert_eq!(all, [(0, vec![0, 3]), (1, vec![1, 4]), (2, vec![2, 5])]);
    }

    #[test]
    fn an_epoch_waits_for_every_input() {
        let mut open = MutableAntichain::new();
        open.update_iter([(5u64, 1)]);
        let closed = MutableAntichain::new();
        let mut epochs: CompleteEpochs<u32> = CompleteEpochs::new(0);
        epochs.waiting.insert(4, (Capabilities::new(), 7));
        epochs.waiting.insert(5, (Capabilities::new(), 8));
        assert_eq!(epochs.next([&open, &closed]).map(|one| (one.epoch, one.input)), Some((4, 7)));
        assert!(epochs.next([&open, &closed]).is_none());
        assert_eq!(least(open.frontier()), Some(5));
    }
}
