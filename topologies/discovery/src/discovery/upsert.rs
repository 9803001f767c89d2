//! Upsert: from records to the listings that are live.
//!
//! ```text
//! records ───► Documents ──(upserts, repeats, withdrawals)──► Register ──► live listings
//!              by document                                    by listing   state records
//! restored ──► (members)                                      (entries)    tallies
//! ```
//!
//! [`documents`](super::documents) turns records into what happens to single listings. `Register`
//! keeps, for each listing, what every document claims of it: the claim with the greatest version
//! describes it, and it is live while one claim is left. It recognises what was said before, which
//! costs nothing further, and lets past events leave. Complete epochs are processed in order, and
//! what happens in one in the order of the log, so that what is emitted is a function of the log
//! alone, save for the moment at which a past event leaves: that is the clock's, through the epoch.

use std::sync::Arc;

use differential_dataflow::{AsCollection, VecCollection};
use headwater_flow::epochs::{Complete, CompleteEpochs, least};
use headwater_flow::meter::EntryMeter;
use headwater_operators::raw::{DeadLetter, RawRecord};
use headwater_operators::window::Tally;
use headwater_operators::{Epoch, Listing, ListingId, LiveListing, Shared};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::vec::Map;
use timely::dataflow::operators::{Capability, Concat};

use super::change::{Change, Retention};
use super::documents::{HoldBack, Read, documents};
use super::register::{Emitted, Register};
use super::state::ListingState;

/// The live listings, and what goes with their changes.
pub struct Upserted<'s> {
    /// Records, or parts of them, that could not be used.
    pub failures: VecCollection<'s, Epoch, DeadLetter>,
    /// The listings that are live.
    pub listings: VecCollection<'s, Epoch, Shared<LiveListing>>,
    /// State records for the `listings` topic.
    pub states: StreamVec<'s, Epoch, (ListingId, Option<Arc<ListingState>>)>,
    /// What happened to listings, for the windows.
    pub tallies: StreamVec<'s, Epoch, Tally>,
    /// One for each listing that was past when it was read, each time, or has left because it is past.
    pub past: VecCollection<'s, Epoch, Past>,
}

/// When a listing was found to be past.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Past {
    /// When it was read: it never was live.
    OnArrival,
    /// Later.
    Later,
}

/// What the wiring of upsert needs.
#[derive(Clone)]
pub struct UpsertOptions {
    /// Reads a record, and cleans what it gives.
    pub read: Read,
    /// How long listings stay.
    pub retention: Retention,
    /// How much less than before a version of a document may give.
    pub hold_back: HoldBack,
    /// Salt of content hashes: the fingerprint of the extraction.
    pub salt: u64,
    /// Fills in what is computed from a description alone, see [`Register::new`].
    pub enrich: Arc<dyn Fn(&mut Listing) + Send + Sync>,
    /// Whether what is restored is trusted: it was enriched in the same way already, and is written as
    /// it is.
    pub trusted: bool,
    /// In a rebuild, what happens before this epoch is not told: at this epoch all that is live then
    /// is given out at once, as it would be if it were restored.
    pub rebuilt_at: Option<Epoch>,
}

/// From records to the listings that are live.
pub trait Upsert<'s> {
    /// The listings that the records leave live, going on from what is `restored`.
    fn upsert(self, restored: StreamVec<'s, Epoch, Arc<ListingState>>, options: UpsertOptions) -> Upserted<'s>;
}

impl<'s> Upsert<'s> for VecCollection<'s, Epoch, RawRecord> {
    fn upsert(self, restored: StreamVec<'s, Epoch, Arc<ListingState>>, options: UpsertOptions) -> Upserted<'s> {
        let read = Arc::clone(&options.read);
        let staying = (options.retention, options.hold_back.clone());
        let (changes, failures) = documents(self, restored.clone(), staying, options.salt, read);
        let restored = restored.map(|state| (state.live.id, Change::Restore(state)));
        let (listings, states, tallies, past) = register(changes.concat(restored), options);
        Upserted { failures, listings, states, tallies, past }
    }
}

/// How much the register holds.
struct RegisterMeters {
    listings: EntryMeter,
    claims: EntryMeter,
    timers: EntryMeter,
}

impl RegisterMeters {
    fn new() -> Self {
        Self {
            listings: EntryMeter::new("upsert-listings"),
            claims: EntryMeter::new("upsert-claims"),
            timers: EntryMeter::new("upsert-timers"),
        }
    }

    fn set(&self, register: &Register) {
        self.listings.set(register.len());
        self.claims.set(register.claims());
        self.timers.set(register.timers());
    }
}

type Registered<'s> = (
    VecCollection<'s, Epoch, Shared<LiveListing>>,
    StreamVec<'s, Epoch, (ListingId, Option<Arc<ListingState>>)>,
    StreamVec<'s, Epoch, Tally>,
    VecCollection<'s, Epoch, Past>,
);

fn register<'s>(changes: StreamVec<'s, Epoch, (ListingId, Change)>, options: UpsertOptions) -> Registered<'s> {
    let mut builder = OperatorBuilder::new("upsert/Register".to_owned(), changes.scope());
    let mut input = builder.new_input(changes, Exchange::new(|(id, _): &(ListingId, Change)| id.route()));
    let (listings_out, listings) = builder.new_output();
    let (states_out, states) = builder.new_output();
    let (tallies_out, tallies) = builder.new_output();
    let (past_out, past) = builder.new_output();
    builder.build(move |capabilities| {
        let mut listings_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(listings_out);
        let mut states_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(states_out);
        let mut tallies_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(tallies_out);
        let mut past_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(past_out);
        let mut register = Register::new(options.retention, options.enrich);
        register.set_trusted(options.trusted);
        let mut epochs: CompleteEpochs<Vec<(ListingId, Change)>> = CompleteEpochs::new(4);
        let meters = RegisterMeters::new();
        let mut rebuilt_at = options.rebuilt_at;
        // Held at the frontier, so that past events can leave although no record arrives.
        let mut held = capabilities;
        move |frontiers| {
            input.for_each(|capability, data| epochs.now(&capability).append(data));
            let mut give = |capabilities: &[Capability<Epoch>], emitted: Emitted| {
                let [listings, states, tallies, past] = capabilities else { return };
                let epoch = *listings.time();
                let differences = emitted.listings.into_iter().map(|(listing, diff)| (listing, epoch, diff));
                listings_out.activate().session(listings).give_iterator(differences);
                states_out.activate().session(states).give_iterator(emitted.states.into_iter());
                tallies_out.activate().session(tallies).give_iterator(emitted.tallies.into_iter());
                let counts = [(Past::OnArrival, emitted.past_on_arrival), (Past::Later, emitted.left_past)];
                let counts = counts.into_iter().filter(|(_, count)| *count > 0);
                past_out.activate().session(past).give_iterator(counts.map(|(when, count)| (when, epoch, count)));
            };
            let Some(frontier) = frontiers.first() else { return };
            while let Some(Complete { epoch, capabilities, input: mut changes }) = epochs.next([frontier]) {
                // They come from several workers, in any order.
                changes.sort_by_key(|(_, change)| change.position());
                if let Some(at) = rebuilt_at.filter(|at| *at < epoch) {
                    rebuilt_at = None;
                    let emitted = rebuilt(&mut register, &mut held, at);
                    give(&held, emitted);
                }
                let mut emitted = Emitted::default();
                register.reserve(changes.len());
                for (id, change) in changes {
                    register.apply(id, change, epoch, &mut emitted);
                }
                meters.set(&register);
                if rebuilt_at.is_none() {
                    give(&capabilities, emitted);
                }
            }
            let Some(now) = least(frontier.frontier()) else {
                held.clear();
                return;
            };
            if let Some(at) = rebuilt_at.filter(|at| *at < now) {
                rebuilt_at = None;
                let emitted = rebuilt(&mut register, &mut held, at);
                give(&held, emitted);
            }
            for capability in &mut held {
                capability.downgrade(&now);
            }
            if rebuilt_at.is_some() {
                register.expire(now as i64, &mut Emitted::default());
                return;
            }
            if register.next_timer().is_some_and(|due| due <= now as i64) {
                let mut emitted = Emitted::default();
                register.expire(now as i64, &mut emitted);
                meters.set(&register);
                give(&held, emitted);
            }
        }
    });
    (listings.as_collection(), states, tallies, past.as_collection())
}

/// What a rebuild has come to at epoch `at`, to which `held` is brought.
fn rebuilt(register: &mut Register, held: &mut [Capability<Epoch>], at: Epoch) -> Emitted {
    for capability in held {
        capability.downgrade(&at);
    }
    register.expire(at as i64, &mut Emitted::default());
    let mut emitted = Emitted::default();
    register.give_all(&mut emitted);
    emitted
}
