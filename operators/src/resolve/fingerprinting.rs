//! The operator that keeps the fingerprints of live listings: what enters and leaves blocks, and
//! what clustering has to know of listings beside their matches.

use std::sync::Arc;

use differential_dataflow::VecCollection;
use serde::{Deserialize, Serialize};
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::config::ResolveConfig;
use super::epochs::{Sender, by_listing, net_changes};
use super::fingerprint::Fingerprint;
use super::identity::Carrier;
use crate::Epoch;
use crate::ids::ListingId;
use crate::listing::LiveListing;
use crate::shared::Shared;
use headwater_flow::epochs::CompleteEpochs;
use headwater_flow::meter::EntryMeter;

/// A listing that enters (1) or leaves (-1) a block.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct BlockChange {
    pub(super) key: u64,
    pub(super) fingerprint: Shared<Fingerprint>,
    pub(super) diff: i8,
}

/// What clustering has to know of listings beside their matches.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Presence {
    /// With a hash of what it says.
    Arrived(Carrier, u64),
    Gone(Carrier, u64),
    /// A live listing is named by a decision (1), or no longer (-1).
    Named(Shared<Fingerprint>, i8),
}

/// The fingerprints of the live listings of one worker.
#[derive(Debug)]
struct Fingerprints {
    config: Arc<ResolveConfig>,
    live: foldhash::HashMap<ListingId, Shared<Fingerprint>>,
    /// How many decisions name a listing.
    named: foldhash::HashMap<ListingId, isize>,
}

#[derive(Debug, Default)]
struct FingerprintsInput {
    listings: Vec<(Shared<LiveListing>, isize)>,
    named: Vec<(ListingId, isize)>,
}

#[derive(Debug, Default)]
struct FingerprintsOutput {
    blocks: Vec<BlockChange>,
    presence: Vec<Presence>,
}

impl Fingerprints {
    fn apply(&mut self, input: FingerprintsInput) -> FingerprintsOutput {
        let mut out = FingerprintsOutput::default();
        let mut was_named: foldhash::HashMap<ListingId, bool> = foldhash::HashMap::default();
        for (listing, diff) in input.named {
            was_named.entry(listing).or_insert(self.named.contains_key(&listing));
            let count = self.named.entry(listing).or_default();
            *count += diff;
            if *count == 0 {
                self.named.remove(&listing);
            }
        }
        let listings = net_changes(input.listings);
        out.blocks.reserve(listings.len() * 6);
        out.presence.reserve(listings.len());
        self.live.reserve(listings.len());
        for (listing, live) in listings {
            let new = live.map(|live| Shared::new(Fingerprint::of(&live, &self.config)));
            let old = match &new {
                Some(new) => self.live.insert(listing, new.clone()),
                None => self.live.remove(&listing),
            };
            let is_named = self.named.contains_key(&listing);
            let was_named = was_named.remove(&listing).unwrap_or(is_named);
            change((old, was_named), (new, is_named), &mut out);
        }
        for (listing, was_named) in was_named {
            let here = self.live.get(&listing).cloned();
            let is_named = self.named.contains_key(&listing);
            change((here.clone(), was_named), (here, is_named), &mut out);
        }
        out
    }
}

type State = (Option<Shared<Fingerprint>>, bool);

/// Tells blocks and clustering how a listing changed.
fn change(before: State, after: State, out: &mut FingerprintsOutput) {
    if before == after {
        return;
    }
    for (state, diff) in [(&before, -1), (&after, 1)] {
        if let (Some(fingerprint), true) = state {
            out.presence.push(Presence::Named(fingerprint.clone(), diff));
        }
    }
    match (&before.0, &after.0) {
        (None, Some(new)) => out.presence.push(Presence::Arrived(new.carrier(), new.content())),
        (Some(old), None) => out.presence.push(Presence::Gone(old.carrier(), old.content())),
        _ => {}
    }
    if before.0 != after.0 {
        for (fingerprint, diff) in [(before.0, -1), (after.0, 1)] {
            let Some(fingerprint) = fingerprint else { continue };
            out.blocks.extend(into_blocks(&fingerprint, diff));
        }
    }
}

/// A listing entering (1) or leaving (-1) all its blocks.
pub(super) fn into_blocks(fingerprint: &Shared<Fingerprint>, diff: i8) -> impl Iterator<Item = BlockChange> {
    let into = move |key: &u64| BlockChange { key: *key, fingerprint: fingerprint.clone(), diff };
    fingerprint.keys.iter().map(into)
}

/// Wires [`Fingerprint::of`]: live listings, and those that decisions name, to the blocks
/// that they enter and leave and to what clustering has to know of them.
pub(super) fn fingerprints<'s>(
    listings: VecCollection<'s, Epoch, Shared<LiveListing>>,
    named: VecCollection<'s, Epoch, ListingId>,
    config: &Arc<ResolveConfig>,
) -> (Stream<'s, Epoch, Vec<BlockChange>>, Stream<'s, Epoch, Vec<Presence>>) {
    let mut builder = OperatorBuilder::new("fingerprint/Fingerprint".to_owned(), listings.inner.scope());
    let mut listings = builder.new_input(listings.inner, by_listing());
    let to_listing = Exchange::new(|(listing, _, _): &(ListingId, Epoch, isize)| listing.route());
    let mut named = builder.new_input(named.inner, to_listing);
    let (blocks_out, blocks) = builder.new_output();
    let (presence_out, presence) = builder.new_output();
    let (mut blocks_out, mut presence_out) = (Sender::from(blocks_out), Sender::from(presence_out));
    let mut fingerprints = Fingerprints {
        config: Arc::clone(config),
        live: foldhash::HashMap::default(),
        named: foldhash::HashMap::default(),
    };
    let held = EntryMeter::new("resolve-fingerprints");
    builder.build(move |_| {
        let mut epochs = CompleteEpochs::<FingerprintsInput>::new(2);
        move |frontiers| {
            listings.for_each(|capability, data| {
                for (live, epoch, diff) in data.drain(..) {
                    epochs.at(&capability, epoch).listings.push((live, diff));
                }
            });
            named.for_each(|capability, data| {
                for (listing, epoch, diff) in data.drain(..) {
                    epochs.at(&capability, epoch).named.push((listing, diff));
                }
            });
            while let Some(complete) = epochs.next(frontiers) {
                let out = fingerprints.apply(complete.input);
                held.set(fingerprints.live.len());
                blocks_out.send(&complete.capabilities, 0, out.blocks);
                presence_out.send(&complete.capabilities, 1, out.presence);
            }
        }
    });
    (blocks, presence)
}
