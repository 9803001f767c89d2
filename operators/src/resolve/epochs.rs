//! What the operators of `resolve` share: sending, and what an epoch's changes come to.
//!
//! They keep plain hash maps instead of arrangements. Epochs are totally ordered, so an operator
//! that takes complete epochs in order, and emits exactly the difference that each makes, is a
//! differential operator like any other, at a fraction of the cost.

use headwater_flow::epochs::Capabilities;
use smallvec::SmallVec;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::channels::pushers::Output;
use timely::dataflow::operators::generic::OutputBuilder;

use crate::Epoch;
use crate::ids::ListingId;
use crate::listing::LiveListing;
use crate::shared::Shared;

/// An output of vectors.
pub(super) struct Sender<D: Clone + 'static>(OutputBuilder<Epoch, CapacityContainerBuilder<Vec<D>>>);

impl<D: Clone + 'static> From<Output<Epoch, Vec<D>>> for Sender<D> {
    fn from(output: Output<Epoch, Vec<D>>) -> Self {
        Self(OutputBuilder::from(output))
    }
}

impl<D: Clone + 'static> Sender<D> {
    /// Sends all the data at the epoch of the capability for this output, the `output`th.
    pub(super) fn send(&mut self, capabilities: &Capabilities, output: usize, data: Vec<D>) {
        if let (false, Some(capability)) = (data.is_empty(), capabilities.get(output)) {
            self.0.activate().session(capability).give_iterator(data.into_iter());
        }
    }
}

impl<D: Clone + 'static> Sender<(D, Epoch, isize)> {
    /// Sends updates of a collection.
    pub(super) fn send_updates(&mut self, capabilities: &Capabilities, output: usize, updates: Vec<(D, isize)>) {
        if let (false, Some(capability)) = (updates.is_empty(), capabilities.get(output)) {
            let epoch = *capability.time();
            let updates = updates.into_iter().map(|(data, diff)| (data, epoch, diff));
            self.0.activate().session(capability).give_iterator(updates);
        }
    }
}

type Update = (Shared<LiveListing>, Epoch, isize);

/// Sends each listing to the worker that knows its id.
pub(super) fn by_listing() -> Exchange<Update, impl FnMut(&Update) -> u64 + 'static> {
    Exchange::new(|(live, _, _): &Update| live.id.route())
}

/// The changes of one listing: one where it is new, two where it is updated.
type Changes = SmallVec<[(Shared<LiveListing>, isize); 2]>;

/// What an epoch's changes come to for each listing that they concern: its new content, or `None`
/// for one that is gone.
pub(super) fn net_changes(changes: Vec<(Shared<LiveListing>, isize)>) -> Vec<(ListingId, Option<Shared<LiveListing>>)> {
    let mut places: foldhash::HashMap<ListingId, usize> = foldhash::HashMap::default();
    places.reserve(changes.len());
    let mut listings: Vec<Changes> = Vec::with_capacity(changes.len());
    for change in changes {
        let place = *places.entry(change.0.id).or_insert(listings.len());
        match listings.get_mut(place) {
            Some(listing) => listing.push(change),
            None => listings.push(std::iter::once(change).collect()),
        }
    }
    listings.iter().filter_map(|changes| net_change(changes)).collect()
}

fn net_change(changes: &[(Shared<LiveListing>, isize)]) -> Option<(ListingId, Option<Shared<LiveListing>>)> {
    let net = |live: &Shared<LiveListing>| -> isize {
        changes.iter().filter(|(other, _)| other == live).map(|(_, diff)| *diff).sum()
    };
    let (first, _) = changes.first()?;
    if changes.iter().all(|(live, _)| net(live) == 0) {
        return None;
    }
    let new = changes.iter().map(|(live, _)| live).filter(|live| net(live) > 0).max();
    Some((first.id, new.cloned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::Listing;

    fn live(id: &str, updated_at: i64) -> Shared<LiveListing> {
        let listing = Listing::new("s", id, "t", "2026-03-28".parse().unwrap());
        Shared::new(LiveListing::new(&listing, 0, updated_at))
    }

    #[test]
    fn changes_of_an_epoch_are_summed() {
        let (old, new) = (live("1", 1), live("1", 2));
        let id = old.id;
        assert_eq!(net_changes(vec![(new.clone(), 1), (old.clone(), -1)]), [(id, Some(new.clone()))]);
        assert_eq!(net_changes(vec![(old.clone(), -1)]), [(id, None)]);
        assert_eq!(net_changes(vec![(new.clone(), 1), (old.clone(), -1), (new, -1), (old, 1)]), []);
        assert_eq!(net_changes(vec![(live("1", 1), 1), (live("2", 1), 1)]).len(), 2);
    }
}
