//! Documents: which listings the current version of each keyed record gave.
//!
//! A record is read by the worker that knows its document. Most records of most feeds repeat, byte
//! for byte, what was said before: those are told by a hash of their bytes, before anything is
//! parsed. What is read is compared with what the former version gave, and comes out as upserts and
//! withdrawals of listings. Complete epochs are processed in order, and each epoch's records in the
//! order of the log, so that what is emitted is a function of the log alone.

use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroU64;
use std::sync::Arc;

use differential_dataflow::{AsCollection, VecCollection};
use headwater_flow::epochs::{Complete, CompleteEpochs};
use headwater_flow::meter::EntryMeter;
use headwater_flow::{IdMap, Timers};
use headwater_operators::extract::{Extraction, SourceConfig, content_hash};
use headwater_operators::ids::DocumentId;
use headwater_operators::raw::code::{HELD_BACK, is_remark};
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
use crate::config::Sections;

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

/// Of documents with fewer listings to come, whatever is missing is withdrawn at once.
const LEAST_HELD: usize = 10;

/// How much less than before a version of a document may give, by source.
///
/// A calendar that is suddenly empty is more often a mistake than the truth. Where a version gives less than
/// this share of what the document gave and is still to come, what it lacks stays until the next version: if
/// that gives as little, both are believed. So a second record agrees, whether it comes by itself or by a
/// person who produces the file once more or replays the dead letter. A tombstone is always believed.
#[derive(Debug, Clone, Default)]
pub struct HoldBack {
    /// The share for sources that are not named.
    pub otherwise: f64,
    /// The share for named sources.
    pub by_source: HashMap<String, f64>,
}

impl HoldBack {
    /// As the sources are configured.
    pub fn of(sections: &Sections) -> Self {
        let of_source = |(name, source): (&String, &SourceConfig)| (name.clone(), source.hold_back);
        let by_source = sections.sources.iter().map(of_source).collect();
        Self { otherwise: sections.extract.defaults.hold_back, by_source }
    }

    fn share(&self, source: &str) -> f64 {
        self.by_source.get(source).copied().unwrap_or(self.otherwise)
    }
}

/// Which listings each keyed document has now. A document is forgotten when all of its listings
/// are past, as it would be by a restart.
pub struct Documents {
    retention: Retention,
    hold_back: HoldBack,
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
    members: SmallVec<[Member; 1]>,
    /// When its last listing leaves.
    leaves_at: i64,
    /// When its first listing may leave: from then on it is read each time.
    until: i64,
    /// What a record must hash to that says the same once more; unknown after a restart, and where
    /// not everything in the record could be used.
    repeat: Option<NonZeroU64>,
}

/// A listing of a document.
#[derive(Debug, Clone, Copy)]
struct Member {
    listing: ListingId,
    /// When it is over.
    ends_at: i64,
    /// Whether the newest version lacks it.
    held: bool,
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
    pub fn new(retention: Retention, hold_back: HoldBack, salt: u64, read: Read) -> Self {
        Self { retention, hold_back, salt, read, known: IdMap::default(), timers: Timers::default() }
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

    /// Takes in that `document` claimed `listing`, which is over at `ends_at`, with `version`; and the version
    /// that lacks it, if its withdrawal is held back.
    pub fn restore(
        &mut self,
        document: DocumentId,
        listing: ListingId,
        version: Version,
        ends_at: i64,
        held: Option<Version>,
    ) {
        if document.is_partition() {
            return;
        }
        let leaves_at = self.retention.leaves_after(ends_at);
        let known = self.known.entry(document).or_default();
        let position = held.map_or(version.position(), |held| held.position().max(version.position()));
        known.position = known.position.max(position);
        known.members.push(Member { listing, ends_at, held: held.is_some() });
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
        let many = |known: &KnownDocument| known.members.len() >= LEAST_HELD;
        let may_be_held =
            record.value.is_some() && id.and_then(|id| self.known.get(&id)).is_some_and(|known| many(known));
        let original = may_be_held.then(|| record.clone());
        let Extraction { document, failures, timeless } = (self.read)(record);
        let whole = failures.iter().all(|failure| is_remark(failure.code));
        out.failures.extend(failures);
        let Some(document) = document else { return };
        let Some(id) = document.id else { return self.upsert_only(document, out) };
        let may_repeat = whole && timeless && document.kept.is_empty();
        self.replace(id, document, original, bytes.filter(|_| may_repeat), now, out);
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
        let repeat = |member: &Member| (member.listing, Change::Repeat { version, timestamp_ms });
        out.changes.extend(known.members.iter().map(repeat));
        true
    }

    fn upsert_only(&self, document: Document, out: &mut Outcome) {
        let Document { origin, listings, .. } = document;
        let partition = DocumentId::of_partition(&origin.topic, origin.partition);
        out.changes.extend(listings.into_iter().map(|one| upsert(&origin, partition, one, self.salt)));
    }

    fn replace(
        &mut self,
        id: DocumentId,
        document: Document,
        original: Option<RawRecord>,
        bytes: Option<NonZeroU64>,
        now: i64,
        out: &mut Outcome,
    ) {
        let share = self.hold_back.share(&document.source);
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
            let ends_at = self.retention.ends_at(one.listing.start, one.listing.end);
            let leaves_at = self.retention.leaves_after(ends_at);
            known.leaves_at = known.leaves_at.max(leaves_at);
            until = until.min(leaves_at);
            let change = upsert(&origin, id, one, self.salt);
            known.members.push(Member { listing: change.0, ends_at, held: false });
            out.changes.push(change);
        }
        known.until = until;
        known.repeat = bytes;
        let present: BTreeSet<ListingId> = match before.is_empty() {
            true => BTreeSet::new(),
            false => known.members.iter().map(|member| member.listing).collect(),
        };
        let retention = self.retention;
        let to_come =
            |member: &Member| member.ends_at > origin.timestamp_ms && retention.leaves_after(member.ends_at) > now;
        let lack = original.and_then(|record| Some((record, lack(&before, &known.members, &kept, share, to_come)?)));
        for member in before.iter().filter(|member| !present.contains(&member.listing)) {
            if kept.contains(&member.listing) {
                known.members.push(Member { held: false, ..*member });
            } else if lack.is_some() {
                known.members.push(Member { held: true, ..*member });
                known.leaves_at = known.leaves_at.max(retention.leaves_after(member.ends_at));
                out.changes.push((member.listing, Change::HoldBack { document: id, version }));
            } else {
                let withdrawal = Change::Withdraw { document: id, version, timestamp_ms: origin.timestamp_ms };
                out.changes.push((member.listing, withdrawal));
            }
        }
        if let Some((record, lack)) = lack {
            known.repeat = None;
            out.failures.push(held_back(record, lack));
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

/// How many listings to come a document gave, and how many its next version gives.
struct Lack {
    had: usize,
    gives: usize,
}

/// What a version of a document lacks, if that is not believed yet: `members` are the listings that it gives, and
/// `before` those that the document had, of which it names `kept` without describing them.
fn lack(
    before: &[Member],
    members: &[Member],
    kept: &[ListingId],
    share: f64,
    to_come: impl Fn(&Member) -> bool,
) -> Option<Lack> {
    let had = before.iter().filter(|member| to_come(member)).count();
    // The version before was held back: this one agrees, if it gives as little.
    if had < LEAST_HELD || before.iter().any(|member| member.held && to_come(member)) {
        return None;
    }
    let named = before.iter().filter(|member| kept.contains(&member.listing));
    let given: BTreeSet<ListingId> =
        members.iter().chain(named).filter(|member| to_come(member)).map(|member| member.listing).collect();
    let gives = given.len();
    ((gives as f64) < share * had as f64).then_some(Lack { had, gives })
}

fn held_back(record: RawRecord, Lack { had, gives }: Lack) -> DeadLetter {
    let key = record.key.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
    let reason = format!(
        "the document {key:?} gives {gives} of listings to come, where it gave {had}: what it lacks is not withdrawn \
         until one more record agrees; replay this one if it is right"
    );
    DeadLetter::of(record, HELD_BACK, reason)
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

type Membership = (DocumentId, ListingId, Version, i64, Option<Version>);

fn memberships(state: &ListingState, retention: &Retention) -> Vec<Membership> {
    let claimed = |claim: &Claim| {
        let listing = claim.listing.as_deref().unwrap_or(&state.live.listing);
        let ends_at = retention.ends_at(listing.start(), listing.end());
        (claim.document, state.live.id, claim.version, ends_at, claim.held.as_deref().copied())
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
    (retention, hold_back): (Retention, HoldBack),
    salt: u64,
    read: Read,
) -> (StreamVec<'s, Epoch, (ListingId, Change)>, VecCollection<'s, Epoch, DeadLetter>) {
    let memberships = restored.flat_map(move |state| memberships(&state, &retention));
    let mut builder = OperatorBuilder::new("extract/Documents".to_owned(), records.inner.scope());
    let by_document = Exchange::new(route);
    let by_membership = Exchange::new(|(document, ..): &Membership| document.route());
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
        let mut state = Documents::new(retention, hold_back, salt, read);
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
    for (document, listing, version, ends_at, held) in memberships {
        state.restore(document, listing, version, ends_at, held);
    }
    state.expire(now);
    versions.sort_by(|(_, a), (_, b)| place(&a.origin).cmp(&place(&b.origin)));
    let mut outcome = Outcome::default();
    for (document, record) in versions {
        state.apply(document, record, now, &mut outcome);
    }
    outcome
}
