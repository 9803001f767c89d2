//! The register: for each listing what every document claims of it.
//!
//! The claim with the greatest version describes a listing, and it is live while one claim is left. What
//! was said before is recognised and costs nothing further. Past events leave.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use headwater_flow::{IdMap, Timers};
use headwater_operators::ids::DocumentId;
use headwater_operators::window::{Outcome, Tally};
use headwater_operators::{Listing, ListingId, LiveListing, PackedListing, Shared};

use super::change::{Change, Retention};
use super::state::{Claim, ListingState, Version};

/// What the register emits for an epoch.
#[derive(Debug, Default)]
pub struct Emitted {
    /// Differences of the live listings.
    pub listings: Vec<(Shared<LiveListing>, isize)>,
    /// State records to write, the last one for each listing; `None` is a tombstone.
    pub states: BTreeMap<ListingId, Option<Arc<ListingState>>>,
    /// What happened, for the windows.
    pub tallies: Vec<Tally>,
    /// How many listings were past when they were read.
    pub past_on_arrival: isize,
    /// How many listings have left because they are past.
    pub left_past: isize,
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
    timers: Timers<ListingId>,
    /// Claims beyond the winning ones.
    further_claims: usize,
}

/// Most claims on one listing that are kept. A source that gives a listing in a new document each
/// time, under a key of its own, must not make its state grow for ever.
pub const MAX_CLAIMS: usize = 32;

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
            timers: Timers::default(),
            further_claims: 0,
        }
    }

    /// Number of live listings.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Number of claims on all of them.
    pub fn claims(&self) -> usize {
        self.entries.len() + self.further_claims
    }

    /// Number of claims that do not describe their listing.
    #[cfg(test)]
    pub fn further_claims(&self) -> usize {
        self.further_claims
    }

    /// Number of listings that will leave.
    pub fn timers(&self) -> usize {
        self.timers.len()
    }

    /// Makes room for this many more listings.
    pub fn reserve(&mut self, listings: usize) {
        self.entries.reserve(listings);
    }

    /// Whether what is restored was enriched in the same way already, and is written as it is.
    pub fn set_trusted(&mut self, trusted: bool) {
        self.trusted = trusted;
    }

    /// Whether no listing is live.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The instant at which the next listing leaves.
    pub fn next_timer(&self) -> Option<i64> {
        self.timers.next_due()
    }

    /// Lets everything leave that is due at `now`.
    pub fn expire(&mut self, now: i64, out: &mut Emitted) {
        while let Some((_, id)) = self.timers.pop(now) {
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
            Change::HoldBack { document, version } => self.hold(id, document, Some(version), now as i64, out),
            Change::Repeat { timestamp_ms, .. } => self.told_again(id, timestamp_ms, out),
            Change::Upsert { version, timestamp_ms, document, content_hash, mut listing } => {
                if self.is_unchanged(id, document, content_hash, &version, timestamp_ms, out) {
                    self.hold(id, document, None, now as i64, out);
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
                    held: None,
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
    pub fn give_all(&self, out: &mut Emitted) {
        for (id, known) in &self.entries {
            out.listings.push((known.live.clone(), 1));
            out.states.insert(*id, Some(Arc::new(known.state())));
        }
    }

    /// Takes an entry out, with its timer.
    fn take(&mut self, id: ListingId) -> Option<Known> {
        let known = *self.entries.remove(&id)?;
        self.timers.remove(known.leaves_at, id);
        self.further_claims -= known.others.len();
        Some(known)
    }

    fn put(&mut self, id: ListingId, known: Known) {
        self.timers.set(known.leaves_at, id);
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
        let known =
            Known { live: Shared::new(live), leaves_at: Timers::<ListingId>::NEVER, winner: claim, others: Vec::new() };
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

    /// Notes which version of a document lacks the listing, or that the document has it again.
    fn hold(&mut self, id: ListingId, document: DocumentId, version: Option<Version>, now: i64, out: &mut Emitted) {
        let held = |known: &Known| Some(known.claims().find(|claim| claim.document == document)?.held.clone());
        let version = version.map(Box::new);
        if self.entries.get(&id).and_then(|known| held(known)).is_none_or(|known| known == version) {
            return;
        }
        let Some(mut known) = self.take(id) else { return };
        let before = known.live.clone();
        let further = known.others.iter_mut();
        let claim = std::iter::once(&mut known.winner).chain(further).find(|claim| claim.document == document);
        claim.into_iter().for_each(|claim| claim.held.clone_from(&version));
        self.keep(id, known, Some(before), now, out);
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
            match before {
                None => out.past_on_arrival += 1,
                Some(before) => {
                    out.left_past += 1;
                    out.listings.push((before, -1));
                    out.states.insert(id, None);
                }
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
