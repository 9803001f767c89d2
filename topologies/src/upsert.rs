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

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use differential_dataflow::{AsCollection, VecCollection};
use headwater_operators::ids::DocumentId;
use headwater_operators::meter::Held;
use headwater_operators::raw::{DeadLetter, RawRecord};
use headwater_operators::window::{Outcome, Tally};
use headwater_operators::{Epoch, Listing, ListingId, LiveListing, Moment, PackedListing, Shared};
use serde::{Deserialize, Serialize};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::vec::Map;
use timely::dataflow::operators::{Capability, Concat};

use super::IdMap;
use super::documents::{Read, documents};
use super::ordered::{Stash, least};
use super::state::{Claim, ListingState, LogPosition, Version};

/// How long listings stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// How long after its end a listing stays, in ms; `None` is for ever.
    pub past_events_ms: Option<i64>,
    /// How long an event without an end is taken to last after it began, in ms.
    pub assumed_duration_ms: i64,
}

impl Retention {
    /// The first instant at which a listing with this start and end is past; `i64::MAX` for never.
    pub fn leaves_at(&self, start: Moment, end: Option<Moment>) -> i64 {
        let Some(keep) = self.past_events_ms else { return i64::MAX };
        let (start, assumed_end) = match start.is_day() {
            true => (start.latest_ms(None), start.latest_ms(None)),
            false => {
                let start = start.earliest_ms(None);
                (start, start.saturating_add(self.assumed_duration_ms))
            }
        };
        let end = end.map_or(assumed_end, |end| end.latest_ms(None).max(start));
        end.saturating_add(keep)
    }
}

/// One thing that happens to one listing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Change {
    /// A document describes it.
    Upsert {
        /// Version of the description.
        version: Version,
        /// The record's timestamp.
        timestamp_ms: i64,
        /// The document.
        document: DocumentId,
        /// Hash of what the source said.
        content_hash: u64,
        /// The description.
        listing: Box<Listing>,
    },
    /// The document that described it said the same once more, byte for byte.
    Repeat {
        /// Version of the record.
        version: Version,
        /// The record's timestamp.
        timestamp_ms: i64,
    },
    /// A document no longer has it.
    Withdraw {
        /// The document.
        document: DocumentId,
        /// Version of the record that withdraws.
        version: Version,
        /// Timestamp of the record that withdraws.
        timestamp_ms: i64,
    },
    /// What was known at the last commit.
    Restore(Arc<ListingState>),
}

impl Change {
    /// Where in the log the record behind it stands, by which changes of one epoch are ordered.
    fn position(&self) -> Option<LogPosition> {
        match self {
            Self::Upsert { version, .. } | Self::Repeat { version, .. } | Self::Withdraw { version, .. } => {
                Some(version.position())
            }
            Self::Restore(_) => None,
        }
    }
}

/// What the register emits for an epoch.
#[derive(Debug, Default)]
pub struct Emitted {
    /// Differences of the live listings.
    pub listings: Vec<(Shared<LiveListing>, isize)>,
    /// State records to write, the last one for each listing; `None` is a tombstone.
    pub states: BTreeMap<ListingId, Option<Arc<ListingState>>>,
    /// What happened, for the windows.
    pub tallies: Vec<Tally>,
}

impl Emitted {
    /// A record that describes a listing counts as seen, whatever comes of it.
    fn seen(&mut self, listing: &PackedListing, origin_ms: i64, outcome: Outcome) {
        let tally = tally(listing, origin_ms, outcome);
        self.tallies.push(Tally { outcome: Outcome::Seen, ..tally.clone() });
        self.tallies.push(tally);
    }
}

fn tally(listing: &PackedListing, origin_ms: i64, outcome: Outcome) -> Tally {
    let (source, category) = listing.source_and_category();
    Tally { origin_ms, source: source.into(), category: category.map(Into::into), outcome, n: 1 }
}

/// The claims on every listing, and when it leaves.
pub struct Register {
    retention: Retention,
    enrich: Arc<dyn Fn(&mut Listing) + Send + Sync>,
    trusted: bool,
    /// Boxed: a table of large entries costs as much again whenever it grows.
    entries: IdMap<ListingId, Box<Known>>,
    /// When each listing leaves, unless never.
    timers: BTreeSet<(i64, ListingId)>,
    /// Claims beyond the winning ones.
    further_claims: usize,
}

/// Most claims on one listing that are kept. A source that gives a listing in a new document each
/// time, under a key of its own, must not make its state grow for ever.
const MAX_CLAIMS: usize = 32;

#[derive(Debug)]
struct Known {
    live: Shared<LiveListing>,
    leaves_at: i64,
    winner: Claim,
    others: Vec<Claim>,
}

impl Register {
    /// An empty register. `enrich` fills in what is computed from a description alone (category,
    /// labels); it runs only on descriptions that are new, changed or restored.
    pub fn new(retention: Retention, enrich: Arc<dyn Fn(&mut Listing) + Send + Sync>) -> Self {
        Self {
            retention,
            enrich,
            trusted: false,
            entries: IdMap::default(),
            timers: BTreeSet::new(),
            further_claims: 0,
        }
    }

    /// Number of live listings.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no listing is live.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The instant at which the next listing leaves.
    pub fn next_timer(&self) -> Option<i64> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// Lets everything leave that is due at `now`.
    pub fn expire(&mut self, now: i64, out: &mut Emitted) {
        while let Some((due, id)) = self.timers.first().copied().filter(|(due, _)| *due <= now) {
            self.timers.remove(&(due, id));
            if let Some(known) = self.take(id) {
                let before = known.live.clone();
                self.keep(id, known, Some(before), now, out);
            }
        }
    }

    /// Applies one change of one listing at epoch `now`.
    pub fn apply(&mut self, id: ListingId, change: Change, now: u64, out: &mut Emitted) {
        match change {
            Change::Restore(state) => self.restore(id, state, out),
            Change::Withdraw { document, timestamp_ms, .. } => {
                self.withdraw(id, document, timestamp_ms, now as i64, out);
            }
            Change::Repeat { timestamp_ms, .. } => self.told_again(id, timestamp_ms, out),
            Change::Upsert { version, timestamp_ms, document, content_hash, mut listing } => {
                if self.is_unchanged(id, document, content_hash, &version, timestamp_ms, out) {
                    return self.repeat(id, document, version, now as i64, out);
                }
                (self.enrich)(&mut listing);
                let claim = Claim {
                    document,
                    version,
                    content_hash,
                    first_seen: timestamp_ms,
                    updated_at: timestamp_ms,
                    listing: Some(Shared::new(PackedListing::from(&*listing))),
                };
                self.upsert(id, claim, now as i64, out);
            }
        }
    }

    fn restore(&mut self, id: ListingId, state: Arc<ListingState>, out: &mut Emitted) {
        let state = if self.trusted { state } else { self.enriched(state) };
        let Some((winner, others)) = state.claims.split_first() else { return };
        let live = state.live.clone();
        let leaves_at = self.retention.leaves_at(live.listing.start(), live.listing.end());
        let known = Known { live, leaves_at, winner: winner.clone(), others: others.to_vec() };
        out.listings.push((known.live.clone(), 1));
        // What is trusted is not written again.
        if !self.trusted {
            out.states.insert(id, Some(state));
        }
        self.put(id, known);
    }

    /// `state` with all its descriptions enriched once more; itself where that changes nothing.
    fn enriched(&self, state: Arc<ListingState>) -> Arc<ListingState> {
        let enriched = |listing: &Shared<PackedListing>| {
            let mut enriched = Listing::from(&listing.view());
            (self.enrich)(&mut enriched);
            Shared::new(PackedListing::from(&enriched))
        };
        let listing = enriched(&state.live.listing);
        let unchanged = listing == state.live.listing;
        if unchanged && state.claims.iter().all(|claim| claim.listing.is_none()) {
            return state;
        }
        let live =
            if unchanged { state.live.clone() } else { Shared::new(LiveListing { listing, ..(*state.live).clone() }) };
        let mut claims = state.claims.clone();
        for other in claims.iter_mut().filter_map(|claim| claim.listing.as_mut()) {
            *other = enriched(other);
        }
        Arc::new(ListingState { live, claims })
    }

    /// Gives out everything that is live, as if it were restored.
    fn give_all(&self, out: &mut Emitted) {
        for (id, known) in &self.entries {
            out.listings.push((known.live.clone(), 1));
            out.states.insert(*id, Some(Arc::new(known.state())));
        }
    }

    /// Takes an entry out, with its timer.
    fn take(&mut self, id: ListingId) -> Option<Known> {
        let known = *self.entries.remove(&id)?;
        self.timers.remove(&(known.leaves_at, id));
        self.further_claims -= known.others.len();
        Some(known)
    }

    fn put(&mut self, id: ListingId, known: Known) {
        if known.leaves_at != i64::MAX {
            self.timers.insert((known.leaves_at, id));
        }
        self.further_claims += known.others.len();
        self.entries.insert(id, Box::new(known));
    }

    /// A listing that nobody has any more, or that too many documents have for all of their claims
    /// to be kept, does not come back by a repeat: it says nothing new.
    fn told_again(&self, id: ListingId, timestamp_ms: i64, out: &mut Emitted) {
        if let Some(known) = self.entries.get(&id) {
            out.seen(&known.live.listing, timestamp_ms, Outcome::Unchanged);
        }
    }

    /// Whether the document says nothing new of the listing: the same as before, or something
    /// that the source itself stamps as older.
    fn is_unchanged(
        &self,
        id: ListingId,
        document: DocumentId,
        content_hash: u64,
        version: &Version,
        timestamp_ms: i64,
        out: &mut Emitted,
    ) -> bool {
        let Some(known) = self.entries.get(&id) else { return false };
        let Some(claim) = known.claims().find(|claim| claim.document == document) else { return false };
        let unchanged = claim.content_hash == content_hash || version.is_stamped_before(&claim.version);
        if unchanged {
            out.seen(&known.live.listing, timestamp_ms, Outcome::Unchanged);
        }
        unchanged
    }

    /// Records without a key may lie in any partition, so what one repeats may have been changed by
    /// another meanwhile: the repeat is the newer word. It is written only where it has to be told
    /// from other claims; that a lone claim was repeated is forgotten by a restart.
    fn repeat(&mut self, id: ListingId, document: DocumentId, version: Version, now: i64, out: &mut Emitted) {
        if !document.is_partition() {
            return;
        }
        let Some(known) = self.entries.get_mut(&id) else { return };
        if known.others.is_empty() {
            known.winner.version = known.winner.version.max(version);
            return;
        }
        let Some(mut known) = self.take(id) else { return };
        let before = known.live.clone();
        let mut claims = known.take_claims();
        if let Some(claim) = claims.iter_mut().find(|claim| claim.document == document) {
            claim.version = claim.version.max(version);
        }
        known.settle(claims);
        self.keep(id, known, Some(before), now, out);
    }

    fn upsert(&mut self, id: ListingId, claim: Claim, now: i64, out: &mut Emitted) {
        let timestamp_ms = claim.updated_at;
        let Some(mut known) = self.take(id) else {
            return self.discover(id, claim, now, out);
        };
        let before = known.live.clone();
        known.put(claim);
        let unchanged = known.live.listing == before.listing;
        let outcome = if unchanged { Outcome::Unchanged } else { Outcome::Updated };
        out.seen(&known.live.listing, timestamp_ms, outcome);
        self.keep(id, known, Some(before), now, out);
    }

    fn discover(&mut self, id: ListingId, mut claim: Claim, now: i64, out: &mut Emitted) {
        let Some(listing) = claim.listing.take() else { return };
        out.seen(&listing, claim.updated_at, Outcome::Discovered);
        let (first_seen, updated_at) = (claim.first_seen, claim.updated_at);
        let live = LiveListing { id, first_seen, updated_at, listing, located: None };
        let known = Known { live: Shared::new(live), leaves_at: i64::MAX, winner: claim, others: Vec::new() };
        self.keep(id, known, None, now, out);
    }

    fn withdraw(&mut self, id: ListingId, document: DocumentId, timestamp_ms: i64, now: i64, out: &mut Emitted) {
        let Some(mut known) = self.take(id) else { return };
        let before = known.live.clone();
        match known.drop_claim(document) {
            Dropped::Last => {
                out.tallies.push(tally(&before.listing, timestamp_ms, Outcome::Withdrawn));
                out.listings.push((before, -1));
                out.states.insert(id, None);
            }
            Dropped::OneOfSeveral => self.keep(id, known, Some(before), now, out),
            Dropped::Unknown => self.put(id, known),
        }
    }

    /// Drops claims that are past, emits what changed, and keeps the listing if a claim is left.
    fn keep(
        &mut self,
        id: ListingId,
        mut known: Known,
        before: Option<Shared<LiveListing>>,
        now: i64,
        out: &mut Emitted,
    ) {
        if !known.drop_past(&self.retention, now) {
            if let Some(before) = before {
                out.listings.push((before, -1));
                out.states.insert(id, None);
            }
            return;
        }
        known.leaves_at = self.retention.leaves_at(known.live.listing.start(), known.live.listing.end());
        if before.as_ref() != Some(&known.live) {
            out.listings.extend(before.map(|before| (before, -1)));
            out.listings.push((known.live.clone(), 1));
        }
        out.states.insert(id, Some(Arc::new(known.state())));
        self.put(id, known);
    }
}

enum Dropped {
    Last,
    OneOfSeveral,
    Unknown,
}

impl Known {
    fn claims(&self) -> impl Iterator<Item = &Claim> {
        std::iter::once(&self.winner).chain(&self.others)
    }

    fn state(&self) -> ListingState {
        ListingState { live: self.live.clone(), claims: self.claims().cloned().collect() }
    }

    /// Adds a claim, or replaces what its document said before.
    fn put(&mut self, claim: Claim) {
        let mut claims = self.take_claims();
        match claims.iter_mut().find(|known| known.document == claim.document) {
            Some(known) => *known = Claim { first_seen: known.first_seen.min(claim.first_seen), ..claim },
            None => claims.push(claim),
        }
        self.settle(claims);
    }

    fn drop_claim(&mut self, document: DocumentId) -> Dropped {
        if !self.claims().any(|claim| claim.document == document) {
            return Dropped::Unknown;
        }
        if self.others.is_empty() {
            return Dropped::Last;
        }
        let mut claims = self.take_claims();
        claims.retain(|claim| claim.document != document);
        self.settle(claims);
        Dropped::OneOfSeveral
    }

    /// Drops the claims that are past at `now`: others may still say that it is to come. Whether
    /// a claim is left.
    fn drop_past(&mut self, retention: &Retention, now: i64) -> bool {
        let is_past = |listing: &PackedListing| retention.leaves_at(listing.start(), listing.end()) <= now;
        if self.others.is_empty() {
            return !is_past(&self.live.listing);
        }
        let mut claims = self.take_claims();
        claims.retain(|claim| claim.listing.as_deref().is_none_or(|listing| !is_past(listing)));
        let left = !claims.is_empty();
        self.settle(claims);
        left
    }

    /// All claims, each with its description.
    fn take_claims(&mut self) -> Vec<Claim> {
        let mut claims = std::mem::take(&mut self.others);
        claims.push(Claim { listing: Some(self.live.listing.clone()), ..self.winner.clone() });
        claims
    }

    /// Finds the winning claim again. Of more claims than may be kept the oldest are dropped.
    fn settle(&mut self, mut claims: Vec<Claim>) {
        claims.sort_by_key(|claim| Reverse(claim.version));
        let dropped = claims.split_off(claims.len().min(MAX_CLAIMS));
        if let Some(oldest) = claims.last_mut() {
            oldest.first_seen = dropped.iter().map(|claim| claim.first_seen).fold(oldest.first_seen, i64::min);
        }
        let first_seen = claims.iter().map(|claim| claim.first_seen).min().unwrap_or(self.live.first_seen);
        let mut claims = claims.into_iter();
        let Some(mut winner) = claims.next() else { return };
        self.others = claims.collect();
        // Others may have said the same before: what the newest one repeats is not new.
        let same = self.others.iter().take_while(|claim| claim.content_hash == winner.content_hash);
        let updated_at = same.map(|claim| claim.updated_at).fold(winner.updated_at, i64::min);
        if let Some(listing) = winner.listing.take() {
            let live = LiveListing { id: self.live.id, first_seen, updated_at, listing, located: None };
            if live != *self.live {
                self.live = Shared::new(live);
            }
        }
        self.winner = winner;
    }
}

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
}

/// What the wiring of upsert needs.
#[derive(Clone)]
pub struct UpsertOptions {
    /// Reads a record, and cleans what it gives.
    pub read: Read,
    /// How long listings stay.
    pub retention: Retention,
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
        let (changes, failures) = documents(self, restored.clone(), options.retention, options.salt, read);
        let restored = restored.map(|state| (state.live.id, Change::Restore(state)));
        let (listings, states, tallies) = register(changes.concat(restored), options);
        Upserted { failures, listings, states, tallies }
    }
}

/// How much the register holds.
struct RegisterMeters {
    listings: Held,
    claims: Held,
    timers: Held,
}

impl RegisterMeters {
    fn new() -> Self {
        Self {
            listings: Held::new("upsert-listings"),
            claims: Held::new("upsert-claims"),
            timers: Held::new("upsert-timers"),
        }
    }

    fn set(&self, register: &Register) {
        self.listings.set(register.entries.len());
        self.claims.set(register.entries.len() + register.further_claims);
        self.timers.set(register.timers.len());
    }
}

type Registered<'s> = (
    VecCollection<'s, Epoch, Shared<LiveListing>>,
    StreamVec<'s, Epoch, (ListingId, Option<Arc<ListingState>>)>,
    StreamVec<'s, Epoch, Tally>,
);

fn register<'s>(changes: StreamVec<'s, Epoch, (ListingId, Change)>, options: UpsertOptions) -> Registered<'s> {
    let mut builder = OperatorBuilder::new("Register".to_owned(), changes.scope());
    let mut input = builder.new_input(changes, Exchange::new(|(id, _): &(ListingId, Change)| id.0 as u64));
    let (listings_out, listings) = builder.new_output();
    let (states_out, states) = builder.new_output();
    let (tallies_out, tallies) = builder.new_output();
    builder.build(move |capabilities| {
        let mut listings_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(listings_out);
        let mut states_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(states_out);
        let mut tallies_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(tallies_out);
        let mut register = Register::new(options.retention, options.enrich);
        register.trusted = options.trusted;
        let mut stash = Stash::default();
        let meters = RegisterMeters::new();
        let mut rebuilt_at = options.rebuilt_at;
        // Held at the frontier, so that past events can leave although no record arrives.
        let mut held = capabilities;
        move |frontiers| {
            input.for_each(|capability, data| {
                let retain = || (0..3).map(|port| capability.retain(port)).collect();
                stash.push(*capability.time(), retain, data.drain(..));
            });
            let mut give = |capabilities: &[Capability<Epoch>], emitted: Emitted| {
                let [listings, states, tallies] = capabilities else { return };
                let epoch = *listings.time();
                let differences = emitted.listings.into_iter().map(|(listing, diff)| (listing, epoch, diff));
                listings_out.activate().session(listings).give_iterator(differences);
                states_out.activate().session(states).give_iterator(emitted.states.into_iter());
                tallies_out.activate().session(tallies).give_iterator(emitted.tallies.into_iter());
            };
            let Some(frontier) = frontiers.first() else { return };
            while let Some((epoch, capabilities, mut changes)) = stash.next_complete(frontier.frontier()) {
                // They come from several workers, in any order.
                changes.sort_by_key(|(_, change)| change.position());
                if let Some(at) = rebuilt_at.filter(|at| *at < epoch) {
                    rebuilt_at = None;
                    let emitted = rebuilt(&mut register, &mut held, at);
                    give(&held, emitted);
                }
                let mut emitted = Emitted::default();
                register.entries.reserve(changes.len());
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
    (listings.as_collection(), states, tallies)
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

#[cfg(test)]
mod tests {
    use headwater_operators::Moment;
    use headwater_operators::extract::Extraction;
    use headwater_operators::raw::{Document, Extracted, Origin, SourceStamp};
    use proptest::prelude::*;

    use super::super::documents::{Documents, Said};
    use super::*;

    const FOR_EVER: Retention = Retention { past_events_ms: None, assumed_duration_ms: 0 };

    /// A record, which `read` reads back.
    #[derive(Debug, Clone, Serialize, Deserialize)]
    struct Told {
        #[serde(skip)]
        partition: i32,
        #[serde(skip)]
        offset: i64,
        #[serde(skip)]
        key: Option<String>,
        listings: Vec<(String, String, i64, String)>,
        kept: Vec<String>,
    }

    fn document(partition: i32, offset: i64, key: Option<&str>, listings: &[(&str, &str, i64)]) -> Told {
        let start = "2026-05-01T20:00:00Z".to_owned();
        let listings = listings
            .iter()
            .map(|(id, title, sequence)| ((*id).to_owned(), (*title).to_owned(), *sequence, start.clone()));
        let key = key.map(str::to_owned);
        Told { partition, offset, key, listings: listings.collect(), kept: Vec::new() }
    }

    impl Told {
        fn record(&self) -> RawRecord {
            let (partition, offset) = (self.partition, self.offset);
            RawRecord {
                origin: Origin { topic: "raw".into(), partition, offset, timestamp_ms: offset, order_ms: offset },
                source: Some("s".into()),
                content_type: None,
                key: self.key.as_ref().map(|key| key.as_bytes().to_vec()),
                value: Some(serde_json::to_vec(self).unwrap()),
                headers: Vec::new(),
            }
        }
    }

    fn read(record: RawRecord) -> Extraction {
        let told: Told = serde_json::from_slice(record.value.as_deref().unwrap()).unwrap();
        let extracted = |(id, title, sequence, start): &(String, String, i64, String)| Extracted {
            listing: Listing::new("s", id, title, start.parse::<Moment>().unwrap()),
            stamp: SourceStamp { sequence: *sequence, modified_ms: 0 },
        };
        let document = Document {
            id: record.document(),
            origin: record.origin,
            source: "s".into(),
            listings: told.listings.iter().map(extracted).collect(),
            kept: told.kept.iter().map(|id| ListingId::of("s", id)).collect(),
        };
        Extraction { document: Some(document), failures: Vec::new(), timeless: true }
    }

    /// The same without the cheap path of repeats.
    fn read_always(record: RawRecord) -> Extraction {
        Extraction { timeless: false, ..read(record) }
    }

    struct Upserts {
        documents: Documents,
        register: Register,
        live: BTreeMap<Shared<LiveListing>, isize>,
        states: BTreeMap<ListingId, Option<Arc<ListingState>>>,
        tallies: Vec<Outcome>,
    }

    impl Upserts {
        fn new(retention: Retention) -> Self {
            Self::reading(retention, read)
        }

        fn reading(retention: Retention, read: fn(RawRecord) -> Extraction) -> Self {
            Self {
                documents: Documents::new(retention, 1, Arc::new(read)),
                register: Register::new(retention, Arc::new(|_| {})),
                live: BTreeMap::new(),
                states: BTreeMap::new(),
                tallies: Vec::new(),
            }
        }

        fn take(&mut self, emitted: Emitted) {
            for (listing, diff) in emitted.listings {
                *self.live.entry(listing).or_default() += diff;
            }
            self.live.retain(|_, count| *count != 0);
            self.states.extend(emitted.states);
            let outcomes = emitted.tallies.into_iter().map(|tally| tally.outcome);
            self.tallies.extend(outcomes.filter(|outcome| *outcome != Outcome::Seen));
        }

        fn apply(&mut self, told: Told, now: u64) {
            let mut said = Said::default();
            let record = told.record();
            self.documents.apply(record.document(), record, now as i64, &mut said);
            let mut emitted = Emitted::default();
            for (id, change) in said.changes {
                self.register.apply(id, change, now, &mut emitted);
            }
            self.take(emitted);
        }

        fn titles(&self) -> Vec<&str> {
            assert!(self.live.values().all(|count| *count == 1), "one row a listing");
            let mut titles: Vec<&str> = self.live.keys().map(|live| live.listing.view().title).collect();
            titles.sort_unstable();
            titles
        }

        /// What a restart would find in the `listings` topic.
        fn restarted(&self, retention: Retention) -> Self {
            let mut fresh = Self::new(retention);
            let mut emitted = Emitted::default();
            for (id, state) in &self.states {
                let Some(state) = state else { continue };
                for claim in &state.claims {
                    fresh.documents.restore(claim.document, *id, claim.version, i64::MAX);
                }
                fresh.register.apply(*id, Change::Restore(Arc::clone(state)), 0, &mut emitted);
            }
            fresh.take(emitted);
            fresh
        }
    }

    #[test]
    fn a_repeat_in_another_partition_changes_nothing() {
        let mut upserts = Upserts::new(FOR_EVER);
        for (partition, offset, title) in [(0, 1, "A"), (1, 2, "A"), (1, 3, "B"), (0, 4, "B"), (2, 5, "B")] {
            upserts.apply(document(partition, offset, None, &[("a", title, 0)]), 1);
        }
        use Outcome::{Discovered, Unchanged, Updated};
        assert_eq!(upserts.tallies, [Discovered, Unchanged, Updated, Unchanged, Unchanged]);
        let live: Vec<_> = upserts.live.keys().map(|live| (live.first_seen, live.updated_at)).collect();
        assert_eq!(live, [(1, 3)]);
    }

    #[test]
    fn the_next_version_of_a_document_replaces_its_listings() {
        let mut upserts = Upserts::new(FOR_EVER);
        upserts.apply(document(0, 1, Some("cal"), &[("a", "A", 0), ("b", "B", 0)]), 1);
        upserts.apply(document(0, 2, Some("cal"), &[("a", "A", 0), ("c", "C", 0)]), 2);
        assert_eq!(upserts.titles(), ["A", "C"]);
        upserts.apply(document(0, 3, Some("cal"), &[]), 3);
        assert!(upserts.titles().is_empty());
        use Outcome::{Discovered, Unchanged, Withdrawn};
        assert_eq!(upserts.tallies, [Discovered, Discovered, Unchanged, Discovered, Withdrawn, Withdrawn, Withdrawn]);
    }

    #[test]
    fn a_part_that_could_not_be_read_keeps_what_it_said() {
        let mut upserts = Upserts::new(FOR_EVER);
        upserts.apply(document(0, 1, Some("cal"), &[("a", "A", 0), ("b", "B", 0)]), 1);
        let mut next = document(0, 2, Some("cal"), &[("a", "A2", 0)]);
        next.kept = vec!["b".to_owned()];
        upserts.apply(next, 2);
        assert_eq!(upserts.titles(), ["A2", "B"]);
    }

    #[test]
    fn unchanged_repeats_write_nothing() {
        let mut upserts = Upserts::new(FOR_EVER);
        upserts.apply(document(0, 1, None, &[("a", "A", 0)]), 1);
        upserts.states.clear();
        upserts.apply(document(0, 2, None, &[("a", "A", 0)]), 2);
        assert!(upserts.states.is_empty());
        assert_eq!(upserts.tallies, [Outcome::Discovered, Outcome::Unchanged]);
    }

    #[test]
    fn a_repeat_is_not_read_until_its_listings_leave() {
        fn refuse(_: RawRecord) -> Extraction {
            Extraction { document: None, failures: Vec::new(), timeless: true }
        }
        let day = 86_400_000;
        let retention = Retention { past_events_ms: Some(day), assumed_duration_ms: 0 };
        let leaves = "2026-05-02T20:00:00Z".parse::<Moment>().unwrap().earliest_ms(None) as u64;
        let mut upserts = Upserts::new(retention);
        let one = [("a", "A", 0)];
        upserts.apply(document(0, 1, Some("k"), &one), 1);
        upserts.documents.set_read(Arc::new(refuse));
        upserts.apply(document(0, 2, Some("k"), &one), 1);
        upserts.apply(document(0, 3, Some("k"), &one), leaves - 1);
        // Read, in vain: another text, an older record, and one when the listing is past.
        upserts.apply(document(0, 4, Some("k"), &[("a", "B", 0)]), 1);
        upserts.apply(document(0, 2, Some("k"), &one), 1);
        upserts.apply(document(0, 5, Some("k"), &one), leaves);
        use Outcome::{Discovered, Unchanged};
        assert_eq!(upserts.tallies, [Discovered, Unchanged, Unchanged]);
    }

    #[test]
    fn what_was_stamped_as_older_is_read_again_once_the_newer_has_left() {
        let day = 86_400_000;
        let retention = Retention { past_events_ms: Some(day), assumed_duration_ms: 0 };
        let stale = |offset| {
            let mut told = document(0, offset, Some("k"), &[("a", "in June", 3)]);
            told.listings[0].3 = "2026-06-01T20:00:00Z".to_owned();
            told
        };
        let leaves = "2026-05-02T20:00:00Z".parse::<Moment>().unwrap().earliest_ms(None);
        let mut upserts = Upserts::new(retention);
        upserts.apply(document(0, 1, Some("k"), &[("a", "in May", 5)]), 1);
        upserts.apply(stale(2), 1);
        upserts.apply(stale(3), 1);
        assert_eq!(upserts.titles(), ["in May"]);
        let mut emitted = Emitted::default();
        upserts.register.expire(leaves, &mut emitted);
        upserts.take(emitted);
        assert!(upserts.titles().is_empty());
        upserts.apply(stale(4), leaves as u64);
        assert_eq!(upserts.titles(), ["in June"]);
    }

    #[test]
    fn a_repeat_without_a_key_is_the_newest_word() {
        let mut upserts = Upserts::new(FOR_EVER);
        for (partition, offset, title) in [(0, 1, "A"), (1, 2, "B"), (0, 3, "A")] {
            upserts.apply(document(partition, offset, None, &[("a", title, 0)]), 1);
        }
        assert_eq!(upserts.titles(), ["A"]);
        assert_eq!(upserts.restarted(FOR_EVER).titles(), ["A"]);
    }

    #[test]
    fn a_greater_stamp_wins_over_a_later_record() {
        let mut upserts = Upserts::new(FOR_EVER);
        upserts.apply(document(0, 1, None, &[("a", "revised", 7)]), 1);
        upserts.apply(document(0, 2, None, &[("a", "stale", 3)]), 2);
        assert_eq!(upserts.titles(), ["revised"]);
    }

    #[test]
    fn past_events_leave_and_do_not_come_back() {
        let day = 86_400_000;
        let retention = Retention { past_events_ms: Some(day), assumed_duration_ms: 3_600_000 };
        let mut upserts = Upserts::new(retention);
        let begins: i64 = "2026-05-01T20:00:00Z".parse::<Moment>().unwrap().earliest_ms(None);
        upserts.apply(document(0, 1, None, &[("a", "A", 0)]), begins as u64);
        let leaves = begins + 3_600_000 + day;
        assert_eq!(upserts.register.next_timer(), Some(leaves));
        let mut emitted = Emitted::default();
        upserts.register.expire(leaves - 1, &mut emitted);
        assert!(emitted.listings.is_empty());
        upserts.register.expire(leaves, &mut emitted);
        upserts.take(emitted);
        assert!(upserts.titles().is_empty());
        assert_eq!(upserts.states.values().collect::<Vec<_>>(), [&None]);
        upserts.apply(document(0, 2, None, &[("a", "A again", 0)]), leaves as u64);
        assert!(upserts.titles().is_empty());
        assert!(upserts.register.is_empty());
    }

    #[test]
    fn a_known_end_counts_and_not_the_assumed_one() {
        let retention = Retention { past_events_ms: Some(0), assumed_duration_ms: 3_600_000 };
        let leaves = |start: &str, end: Option<&str>| {
            let end = end.map(|end| end.parse().unwrap());
            let eight = "2026-05-01T20:00:00Z".parse::<Moment>().unwrap().earliest_ms(None);
            retention.leaves_at(start.parse().unwrap(), end) - eight
        };
        assert_eq!(leaves("2026-05-01T20:00:00Z", Some("2026-05-01T20:10:00Z")), 600_000);
        assert_eq!(leaves("2026-05-01T20:00:00Z", None), 3_600_000);
        assert_eq!(leaves("2026-05-01T20:00:00Z", Some("2026-05-01T19:00:00Z")), 0);
        assert_eq!(leaves("2026-05-01", None), 4 * 3_600_000);
    }

    #[test]
    fn what_comes_again_and_again_has_one_timer_and_leaves_none() {
        let retention = Retention { past_events_ms: Some(0), ..FOR_EVER };
        let mut upserts = Upserts::new(retention);
        let start = |upserts: &mut Upserts, offset: i64, key: Option<&str>, day: &str| {
            let mut next = document(0, offset, key, &[("a", &format!("A{offset}"), 0)]);
            next.listings[0].3 = day.to_owned();
            upserts.apply(next, 1);
        };
        for offset in 1..100 {
            start(&mut upserts, offset, Some("cal"), if offset % 2 == 0 { "2026-05-01" } else { "2026-05-02" });
            assert_eq!((upserts.documents.timers(), upserts.register.timers.len()), (1, 1));
        }
        start(&mut upserts, 100, None, "2026-05-03");
        assert_eq!((upserts.register.timers.len(), upserts.register.further_claims), (1, 1));
        upserts.apply(document(0, 101, Some("cal"), &[]), 1);
        assert!(upserts.documents.timers() == 0 && upserts.documents.is_empty());
        assert_eq!((upserts.register.timers.len(), upserts.register.further_claims), (1, 0));
        let mut emitted = Emitted::default();
        upserts.register.expire(i64::MAX - 1, &mut emitted);
        assert!(upserts.register.is_empty() && upserts.register.timers.is_empty());
    }

    #[test]
    fn an_update_into_the_past_takes_the_listing_away() {
        let retention = Retention { past_events_ms: Some(0), ..FOR_EVER };
        let mut upserts = Upserts::new(retention);
        upserts.apply(document(0, 1, None, &[("a", "A", 0)]), 1);
        assert_eq!(upserts.titles(), ["A"]);
        let mut next = document(0, 2, None, &[("a", "A moved", 0)]);
        next.listings[0].3 = "1970-01-01T00:00:00Z".to_owned();
        upserts.apply(next, 86_400_000);
        assert!(upserts.titles().is_empty());
        assert_eq!(upserts.states.values().collect::<Vec<_>>(), [&None]);
    }

    /// A record: partition, document key (0: none), which of four listings with which title.
    type Step = (i32, u8, Vec<(u8, u8)>);

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let listings = prop::collection::vec((0u8..4, 0u8..3), 0..3);
        prop::collection::vec((0i32..2, 0u8..3, listings), 1..24)
    }

    /// Keys stay in one partition, as producers keep them.
    fn records(steps: &[Step]) -> Vec<Told> {
        let make = |(offset, (partition, key, listings)): (i64, &Step)| {
            let partition = if *key == 0 { *partition } else { i32::from(*key) % 2 };
            // Extraction leaves one listing for each id.
            let named: BTreeMap<String, String> =
                listings.iter().map(|(id, title)| (format!("l{id}"), format!("t{title}"))).collect();
            let listings: Vec<(&str, &str, i64)> =
                named.iter().map(|(id, title)| (id.as_str(), title.as_str(), 0)).collect();
            let key = (*key != 0).then(|| format!("k{key}"));
            document(partition, offset, key.as_deref(), &listings)
        };
        (1..).zip(steps).map(make).collect()
    }

    /// The records of two partitions, each in its order, as `seed` interleaves them.
    fn interleaved(records: Vec<Told>, seed: u64) -> Vec<Told> {
        let mut partitions: [Vec<Told>; 2] = [Vec::new(), Vec::new()];
        records.into_iter().rev().for_each(|record| partitions[record.partition as usize].push(record));
        let (mut bits, mut order) = (seed, Vec::new());
        while !partitions.iter().all(Vec::is_empty) {
            let pick = usize::from(bits & 1 == 1);
            bits = bits.rotate_right(1);
            let pick = if partitions[pick].is_empty() { 1 - pick } else { pick };
            order.extend(partitions[pick].pop());
        }
        order
    }

    #[test]
    fn claims_on_one_listing_are_bounded() {
        let mut upserts = Upserts::new(FOR_EVER);
        for offset in 0..200 {
            let (key, title) = (format!("key {offset}"), format!("title {offset}"));
            upserts.apply(document(0, offset, Some(&key), &[("1", &title, 0)]), 1);
        }
        let state = upserts.states.values().next().unwrap().clone().unwrap();
        assert_eq!(state.claims.len(), MAX_CLAIMS);
        assert_eq!((state.live.listing.view().title, state.live.first_seen), ("title 199", 0));
    }

    proptest! {
        #[test]
        fn any_interleaving_of_partitions_ends_in_the_same_listings(steps in steps(), seed in any::<u64>()) {
            let records = records(&steps);
            let mut in_order = Upserts::new(FOR_EVER);
            records.iter().for_each(|record| in_order.apply(record.clone(), 1));
            let mut shuffled = Upserts::new(FOR_EVER);
            for record in interleaved(records, seed) {
                shuffled.apply(record, 1);
            }
            prop_assert_eq!(&in_order.live, &shuffled.live);
        }

        #[test]
        fn past_claims_leave_the_others_in_any_interleaving(steps in steps(), seed in any::<u64>()) {
            let retention = Retention { past_events_ms: Some(0), assumed_duration_ms: 0 };
            let mut records = records(&steps);
            for one in records.iter_mut().flat_map(|record| &mut record.listings) {
                if one.1 == "t0" {
                    one.3 = "1970-01-01T00:00:00Z".to_owned();
                }
            }
            let now = 86_400_000;
            let mut in_order = Upserts::new(retention);
            records.iter().for_each(|record| in_order.apply(record.clone(), now));
            let mut shuffled = Upserts::new(retention);
            for record in interleaved(records, seed) {
                shuffled.apply(record, now);
            }
            prop_assert_eq!(&in_order.live, &shuffled.live);
        }

        #[test]
        fn repeats_count_and_change_as_if_they_were_read(steps in steps(), again in any::<u64>()) {
            let mut quick = Upserts::new(FOR_EVER);
            let mut thorough = Upserts::reading(FOR_EVER, read_always);
            let mut offset = 0;
            for (index, record) in records(&steps).into_iter().enumerate() {
                for _ in 0..1 + (again >> (2 * index % 64) & 3) {
                    offset += 1;
                    let record = Told { offset, ..record.clone() };
                    quick.apply(record.clone(), 1);
                    thorough.apply(record, 1);
                }
            }
            prop_assert_eq!(&quick.live, &thorough.live);
            prop_assert_eq!(&quick.states, &thorough.states);
            prop_assert_eq!(&quick.tallies, &thorough.tallies);
        }

        #[test]
        fn a_restart_anywhere_changes_nothing(steps in steps(), at in 0usize..24) {
            let records = records(&steps);
            let mut undisturbed = Upserts::new(FOR_EVER);
            let mut restarted = Upserts::new(FOR_EVER);
            for (index, record) in records.into_iter().enumerate() {
                if index == at {
                    restarted = Upserts { states: restarted.states.clone(), ..restarted.restarted(FOR_EVER) };
                }
                undisturbed.apply(record.clone(), 1);
                restarted.apply(record, 1);
            }
            prop_assert_eq!(&undisturbed.live, &restarted.live);
        }
    }
}
