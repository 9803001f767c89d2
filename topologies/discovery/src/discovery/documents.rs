//! Documents: which listings the current version of each keyed record gave.
//!
//! A record is read by the worker that knows its document. Most records of most feeds repeat, byte
//! for byte, what was said before: those are told by a hash of their bytes, before anything is
//! parsed. What is read is compared with what the former version gave, and comes out as upserts and
//! withdrawals of listings. Complete epochs are processed in order, and each epoch's records in the
//! order of the log, so that what is emitted is a function of the log alone.

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::sync::Arc;

use differential_dataflow::{AsCollection, VecCollection};
use headwater_flow::epochs::{Complete, CompleteEpochs};
use headwater_flow::meter::EntryMeter;
use headwater_flow::{IdMap, Timers};
use headwater_operators::extract::{Extraction, content_hash};
use headwater_operators::ids::DocumentId;
use headwater_operators::raw::code::is_remark;
use headwater_operators::raw::{DeadLetter, Document, Extracted, Origin, RawRecord, SourceStamp};
use headwater_operators::{Epoch, ListingId};
use smallvec::SmallVec;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::generic::operator::Operator;
use timely::dataflow::operators::vec::Map;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::change::{Change, Retention};
use super::state::{Claim, ListingState, LogPosition, Version};

/// Reads a record, and cleans what it gives.
pub type Read = Arc<dyn Fn(RawRecord) -> Extraction + Send + Sync>;

/// What comes of the records of an epoch.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What happens to listings.
    pub changes: Vec<(ListingId, Change)>,
    /// What could not be used.
    pub failures: Vec<DeadLetter>,
}

/// Which listings each keyed document has now. A document is forgotten when all of its listings
/// are past, as it would be by a restart.
pub struct Documents {
    retention: Retention,
    salt: u64,
    read: Read,
    /// Boxed: a table of large entries costs as much again whenever it grows.
    known: IdMap<DocumentId, Box<KnownDocument>>,
    /// When each known document leaves, unless never.
    timers: Timers<DocumentId>,
}

#[derive(Debug)]
struct KnownDocument {
    position: LogPosition,
    members: SmallVec<[ListingId; 1]>,
    /// When its last listing leaves.
    leaves_at: i64,
    /// When its first listing may leave: from then on it is read each time.
    until: i64,
    /// What a record must hash to that says the same once more; unknown after a restart, and where
    /// not everything in the record could be used.
    repeat: Option<NonZeroU64>,
}

impl Default for KnownDocument {
    fn default() -> Self {
        Self {
            position: LogPosition::default(),
            members: SmallVec::new(),
            leaves_at: i64::MIN,
            until: i64::MAX,
            repeat: None,
        }
    }
}

impl KnownDocument {
    fn is_repeated(&self, bytes: Option<NonZeroU64>, position: LogPosition, now: i64) -> bool {
        self.position <= position && bytes.is_some() && self.repeat == bytes && now < self.until
    }
}

impl Documents {
    /// No documents yet. `salt` is that of the content hashes: the fingerprint of the extraction.
    pub fn new(retention: Retention, salt: u64, read: Read) -> Self {
        Self { retention, salt, read, known: IdMap::default(), timers: Timers::default() }
    }

    /// Number of documents.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether no document is known.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Number of documents that will leave.
    pub fn timers(&self) -> usize {
        self.timers.len()
    }

    /// Reads otherwise from now on.
    #[cfg(test)]
    pub(super) fn set_read(&mut self, read: Read) {
        self.read = read;
    }

    /// Takes in that `document` claimed `listing` with `version`, until the listing leaves.
    pub fn restore(&mut self, document: DocumentId, listing: ListingId, version: Version, leaves_at: i64) {
        if document.is_partition() {
            return;
        }
        let known = self.known.entry(document).or_default();
        known.position = known.position.max(version.position());
        known.members.push(listing);
        known.until = known.until.min(leaves_at);
        let before = known.leaves_at;
        known.leaves_at = before.max(leaves_at);
        let now = known.leaves_at;
        self.timers.move_to(document, before, now);
    }

    /// Forgets the documents all of whose listings are past at `now`.
    pub fn expire(&mut self, now: i64) {
        while let Some((_, document)) = self.timers.pop(now) {
            self.known.remove(&document);
        }
    }

    /// Turns a record, a version of the document `id` that is read at `now`, into changes of listings.
    ///
    /// A version older than the known one changes nothing. A record without a key only upserts.
    pub fn apply(&mut self, id: Option<DocumentId>, record: RawRecord, now: i64, out: &mut Outcome) {
        debug_assert_eq!(id, record.document());
        let bytes = bytes_hash(&record);
        if id.is_some_and(|id| self.is_repeat(id, &record, bytes, now, out)) {
            return;
        }
        let Extraction { document, failures, timeless } = (self.read)(record);
        let whole = failures.iter().all(|failure| is_remark(failure.code));
        out.failures.extend(failures);
        let Some(document) = document else { return };
        let Some(id) = document.id else { return self.upsert_only(document, out) };
        let may_repeat = whole && timeless && document.kept.is_empty();
        self.replace(id, document, bytes.filter(|_| may_repeat), out);
    }

    /// The cheap path. The claims that the document made stand, so that nothing but the counts of
    /// what was seen depends on a repeat.
    fn is_repeat(
        &mut self,
        id: DocumentId,
        record: &RawRecord,
        bytes: Option<NonZeroU64>,
        now: i64,
        out: &mut Outcome,
    ) -> bool {
        let Some(known) = self.known.get_mut(&id) else { return false };
        let version = Version::new(&record.origin, SourceStamp::default());
        if !known.is_repeated(bytes, version.position(), now) {
            return false;
        }
        known.position = version.position();
        let timestamp_ms = record.origin.timestamp_ms;
        out.changes.extend(known.members.iter().map(|listing| (*listing, Change::Repeat { version, timestamp_ms })));
        true
    }

    fn upsert_only(&self, document: Document, out: &mut Outcome) {
        let Document { origin, listings, .. } = document;
        let partition = DocumentId::of_partition(&origin.topic, origin.partition);
        out.changes.extend(listings.into_iter().map(|one| upsert(&origin, partition, one, self.salt)));
    }

    fn replace(&mut self, id: DocumentId, document: Document, bytes: Option<NonZeroU64>, out: &mut Outcome) {
        let Document { origin, listings, kept, .. } = document;
        let version = Version::new(&origin, SourceStamp::default());
        let known = self.known.entry(id).or_default();
        if known.position > version.position() {
            return;
        }
        known.position = version.position();
        let timer = known.leaves_at;
        let before = std::mem::take(&mut known.members);
        if kept.is_empty() {
            known.leaves_at = i64::MIN;
        }
        // What its source stamps as older does not count: the register may go on with what the former
        // version said, and let it leave then.
        let stamped = listings.iter().any(|one| one.stamp != SourceStamp::default());
        let mut until = if stamped && !before.is_empty() { known.until } else { i64::MAX };
        for one in listings {
            let leaves_at = self.retention.leaves_at(one.listing.start, one.listing.end);
            known.leaves_at = known.leaves_at.max(leaves_at);
            until = until.min(leaves_at);
            let change = upsert(&origin, id, one, self.salt);
            known.members.push(change.0);
            out.changes.push(change);
        }
        known.until = until;
        known.repeat = bytes;
        let present: BTreeSet<ListingId> =
            if before.is_empty() { BTreeSet::new() } else { known.members.iter().copied().collect() };
        for listing in before.into_iter().filter(|listing| !present.contains(listing)) {
            match kept.contains(&listing) {
                true => known.members.push(listing),
                false => {
                    let withdrawal = Change::Withdraw { document: id, version, timestamp_ms: origin.timestamp_ms };
                    out.changes.push((listing, withdrawal));
                }
            }
        }
        let leaves_at = known.leaves_at;
        if known.members.is_empty() {
            self.known.remove(&id);
            self.timers.remove(timer, id);
            return;
        }
        self.timers.move_to(id, timer, leaves_at);
    }
}

/// Hash of all of a record on which its extraction depends, beside the document and the time. `None`
/// where there is nothing to hash: nothing repeats that.
fn bytes_hash(record: &RawRecord) -> Option<NonZeroU64> {
    let kind = record.content_type.as_deref().map_or(0, |kind| xxh3_64(kind.as_bytes()));
    NonZeroU64::new(xxh3_64_with_seed(record.value.as_deref()?, kind))
}

fn upsert(origin: &Origin, document: DocumentId, one: Extracted, salt: u64) -> (ListingId, Change) {
    let id = one.listing.id();
    let change = Change::Upsert {
        version: Version::new(origin, one.stamp),
        timestamp_ms: origin.timestamp_ms,
        document,
        content_hash: content_hash(&one.listing, salt),
        listing: Box::new(one.listing),
    };
    (id, change)
}

type Membership = (DocumentId, ListingId, Version, i64);

fn memberships(state: &ListingState, retention: &Retention) -> Vec<Membership> {
    let claimed = |claim: &Claim| {
        let listing = claim.listing.as_deref().unwrap_or(&state.live.listing);
        (claim.document, state.live.id, claim.version, retention.leaves_at(listing.start(), listing.end()))
    };
    let keyed = state.claims.iter().filter(|claim| !claim.document.is_partition());
    keyed.map(claimed).collect()
}

/// A record, and the document that it is a version of: worked out once for its way to the worker that knows
/// the document, and for the look-up there.
type Versioned = (Option<DocumentId>, RawRecord);

/// All versions of a document go to one worker; records without a key go anywhere.
fn route((document, record): &Versioned) -> u64 {
    document.map_or(record.origin.offset as u64, DocumentId::route)
}

/// Where a record stands in its partition: the order in which records are applied.
fn place(origin: &Origin) -> (&str, i32, i64) {
    (&origin.topic, origin.partition, origin.offset)
}

/// What the records say of listings, and what of them cannot be used.
pub(super) fn documents<'s>(
    records: VecCollection<'s, Epoch, RawRecord>,
    restored: StreamVec<'s, Epoch, Arc<ListingState>>,
    retention: Retention,
    salt: u64,
    read: Read,
) -> (StreamVec<'s, Epoch, (ListingId, Change)>, VecCollection<'s, Epoch, DeadLetter>) {
    let memberships = restored.flat_map(move |state| memberships(&state, &retention));
    let mut builder = OperatorBuilder::new("extract/Documents".to_owned(), records.inner.scope());
    let by_document = Exchange::new(route);
    let by_membership = Exchange::new(|(document, _, _, _): &Membership| document.route());
    let versions = records.inner.unary(Pipeline, "read/Identify", |_capability, _info| {
        |input, out| {
            input.for_each(|capability, data| {
                let versions = data.drain(..).map(|(record, _, _)| (record.document(), record));
                out.session(&capability).give_iterator(versions);
            });
        }
    });
    let mut versions = builder.new_input(versions, by_document);
    let mut restored = builder.new_input(memberships, by_membership);
    let (changes_out, changes) = builder.new_output();
    let (failures_out, failures) = builder.new_output();
    builder.build(move |_capabilities| {
        let mut changes_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(changes_out);
        let mut failures_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(failures_out);
        let mut state = Documents::new(retention, salt, read);
        let mut epochs: CompleteEpochs<Input> = CompleteEpochs::new(2);
        let meters = (EntryMeter::new("upsert-documents"), EntryMeter::new("upsert-document-timers"));
        move |frontiers| {
            versions.for_each(|capability, data| epochs.now(&capability).versions.append(data));
            restored.for_each(|capability, data| epochs.now(&capability).memberships.append(data));
            while let Some(Complete { epoch, capabilities, input }) = epochs.next(frontiers) {
                let outcome = outcome_of(&mut state, epoch as i64, input);
                meters.0.set(state.len());
                meters.1.set(state.timers());
                let [changes, failures] = capabilities.as_slice() else { continue };
                changes_out.activate().session(changes).give_iterator(outcome.changes.into_iter());
                let failed = outcome.failures.into_iter().map(|failure| (failure, epoch, 1));
                failures_out.activate().session(failures).give_iterator(failed);
            }
        }
    });
    (changes, failures.as_collection())
}

/// What arrives for an epoch.
#[derive(Default)]
struct Input {
    versions: Vec<Versioned>,
    memberships: Vec<Membership>,
}

fn outcome_of(state: &mut Documents, now: i64, input: Input) -> Outcome {
    let Input { mut versions, memberships } = input;
    state.known.reserve(versions.len() + memberships.len());
    for (document, listing, version, leaves_at) in memberships {
        state.restore(document, listing, version, leaves_at);
    }
    state.expire(now);
    versions.sort_by(|(_, a), (_, b)| place(&a.origin).cmp(&place(&b.origin)));
    let mut outcome = Outcome::default();
    for (document, record) in versions {
        state.apply(document, record, now, &mut outcome);
    }
    outcome
}
