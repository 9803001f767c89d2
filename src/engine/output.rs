//! Outputs: from collections to records, on the workers, so that the committer only hands over bytes.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::{Bytes, BytesMut};
use differential_dataflow::{ExchangeData, VecCollection};
use headwater_operators::raw::DeadLetterCode;
use headwater_operators::{DeadLetter, Epoch};
use serde::{Deserialize, Serialize};
use timely::dataflow::channels::pact::{Exchange, ParallelizationContract, Pipeline};
use timely::dataflow::operators::Concatenate;
use timely::dataflow::operators::generic::operator::Operator;
use timely::dataflow::operators::vec::Map;
use timely::dataflow::{Scope, StreamVec};

use super::correction::Held;
use super::lifecycle::{Counters, Lifecycle};
use super::ordered::Stash;

/// The topics a topology writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Output {
    /// Events and redirects, by event id.
    Events,
    /// Listing states, by listing id.
    Listings,
    /// Links, by listing id.
    Links,
    /// Retired event ids, by retired id.
    Redirects,
    /// What becomes of decisions, by pair of listings.
    DecisionReports,
    /// Window metrics, by window and dimensions.
    Metrics,
    /// What could not be used.
    DeadLetters,
    /// Place keys that nobody has resolved yet.
    PlaceRequests,
    /// Progress records.
    Progress,
}

impl Output {
    /// Every output.
    pub const ALL: [Self; 9] = [
        Self::Events,
        Self::Listings,
        Self::Links,
        Self::Redirects,
        Self::DecisionReports,
        Self::Metrics,
        Self::DeadLetters,
        Self::PlaceRequests,
        Self::Progress,
    ];

    /// Outputs whose content follows from the state, and is corrected at start-up.
    pub const TABLES: [Self; 6] =
        [Self::Events, Self::Listings, Self::Links, Self::Redirects, Self::DecisionReports, Self::PlaceRequests];

    /// Outputs from which the engine finds itself again.
    pub const STATE: [Self; 4] = [Self::Listings, Self::Links, Self::Redirects, Self::Metrics];

    /// Topic name without the prefix.
    pub fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Listings => "listings",
            Self::Links => "links",
            Self::Redirects => "redirects",
            Self::DecisionReports => "decision-reports",
            Self::Metrics => "metrics",
            Self::DeadLetters => "dead-letters",
            Self::PlaceRequests => "place-requests",
            Self::Progress => "progress",
        }
    }
}

/// A record for an output topic, serialised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutRecord {
    /// Which topic.
    pub output: Output,
    /// Key.
    pub key: Option<Bytes>,
    /// Value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// Headers.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl OutRecord {
    /// Size in bytes: key, value and headers.
    pub fn size(&self) -> usize {
        self.key.as_ref().map_or(0, Bytes::len)
            + self.value.as_ref().map_or(0, Bytes::len)
            + self.headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
    }
}

/// How the restored epoch is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Recovery {
    /// The outputs are as the state implies: what the restored epoch yields is not even serialised.
    Trust,
    /// The outputs are compared with what the state implies.
    Compare,
}

/// What encoding needs to know.
#[derive(Clone)]
pub struct EncodeContext {
    /// The restored epoch and how it is treated.
    pub restored: (Epoch, Recovery),
    /// Largest record of each output, in bytes.
    pub limits: Arc<BTreeMap<Output, usize>>,
    /// What the output tables hold, where they are compared: a row that is held as it is implied
    /// goes no further. Without it the committer compares.
    pub held: Option<Arc<Held>>,
}

impl EncodeContext {
    /// What is to be written of `record`, of `epoch`: nothing of what the outputs hold already.
    fn news(&self, epoch: Epoch, record: OutRecord) -> Option<OutRecord> {
        let Some(held) = self.held.as_ref().filter(|_| epoch == self.restored.0) else { return Some(record) };
        held.meet(&record)?;
        // The few that differ wait until all are compared, and must not keep the memory of the others.
        let alone = |bytes: Bytes| Bytes::copy_from_slice(&bytes);
        Some(OutRecord { key: record.key.map(alone), value: record.value.map(alone), ..record })
    }

    fn skips(&self, epoch: Epoch) -> bool {
        self.restored == (epoch, Recovery::Trust)
    }

    fn limit(&self, output: Output) -> usize {
        self.limits.get(&output).copied().unwrap_or(usize::MAX)
    }

    /// The record itself or, where it exceeds its topic's limit, a tombstone in its place and a
    /// dead letter with as much of the bytes as fits.
    fn checked(&self, record: OutRecord) -> impl Iterator<Item = OutRecord> + use<> {
        let limit = self.limit(record.output);
        if record.size() <= limit {
            return [Some(record), None].into_iter().flatten();
        }
        let letter = too_large(&record, limit, self.limit(Output::DeadLetters));
        let tombstone = (record.output != Output::DeadLetters).then_some(OutRecord { value: None, ..record });
        [tombstone, Some(letter)].into_iter().flatten()
    }
}

fn too_large(record: &OutRecord, limit: usize, letter_limit: usize) -> OutRecord {
    let reason = format!("{} bytes for topic {}, whose limit is {limit}", record.size(), record.output.name());
    let mut bytes = record.value.clone().unwrap_or_default();
    bytes.truncate(letter_limit.saturating_sub(4096));
    let key = record.key.clone().filter(|key| key.len() <= 1024);
    let headers = vec![
        ("dead-letter-code".to_owned(), DeadLetterCode::OutputTooLarge.as_str().into()),
        ("dead-letter-reason".to_owned(), reason.into_bytes()),
        ("dead-letter-topic".to_owned(), record.output.name().into()),
    ];
    OutRecord { output: Output::DeadLetters, key, value: Some(bytes), headers }
}

/// The records of one topology.
pub struct Outputs<'s> {
    scope: Scope<'s, Epoch>,
    context: EncodeContext,
    streams: Vec<StreamVec<'s, Epoch, OutRecord>>,
}

impl<'s> Outputs<'s> {
    /// No outputs yet.
    pub fn new(scope: Scope<'s, Epoch>, context: EncodeContext) -> Self {
        Self { scope, context, streams: Vec::new() }
    }

    /// A compacted topic that always holds what `collection` holds: one record per key.
    ///
    /// `encode` gives key and value. NB: all differences of a key must arise on one worker.
    pub fn table<K, V>(
        &mut self,
        output: Output,
        collection: VecCollection<'s, Epoch, (K, V)>,
        rows: Option<Rows<V>>,
        lifecycle: &Arc<Lifecycle>,
        encode: impl Fn(&K, Option<&V>) -> (Bytes, Option<Bytes>) + 'static,
    ) where
        K: ExchangeData,
        V: ExchangeData,
    {
        self.encoded(output, collection, Pipeline, rows, lifecycle, encode);
    }

    /// Like [`table`](Self::table), for a collection whose differences of one key may arise on
    /// several workers: `route` brings them together.
    pub fn table_by<K, V>(
        &mut self,
        output: Output,
        collection: VecCollection<'s, Epoch, (K, V)>,
        rows: Option<Rows<V>>,
        lifecycle: &Arc<Lifecycle>,
        route: impl Fn(&K) -> u64 + 'static,
        encode: impl Fn(&K, Option<&V>) -> (Bytes, Option<Bytes>) + 'static,
    ) where
        K: ExchangeData,
        V: ExchangeData,
    {
        let exchange = Exchange::new(move |((key, _), _, _): &((K, V), Epoch, isize)| route(key));
        self.encoded(output, collection, exchange, rows, lifecycle, encode);
    }

    fn encoded<K, V, P>(
        &mut self,
        output: Output,
        collection: VecCollection<'s, Epoch, (K, V)>,
        pact: P,
        rows: Option<Rows<V>>,
        lifecycle: &Arc<Lifecycle>,
        encode: impl Fn(&K, Option<&V>) -> (Bytes, Option<Bytes>) + 'static,
    ) where
        K: ExchangeData,
        V: ExchangeData,
        P: ParallelizationContract<Epoch, Vec<((K, V), Epoch, isize)>>,
    {
        let context = self.context.clone();
        let lifecycle = Arc::clone(lifecycle);
        let name = format!("Encode {}", output.name());
        let stream = collection.inner.unary_frontier(pact, &name, move |_capability, _info| {
            let mut stash = Stash::default();
            move |(input, frontier), out| {
                input.for_each(|capability, data| {
                    // Differences of a batch may lie at later epochs than its capability.
                    for ((key, value), time, diff) in data.drain(..) {
                        stash.push(time, || vec![capability.delayed(&time, 0)], [(key, value, diff)]);
                    }
                });
                while let Some((epoch, capabilities, changes)) = stash.next_complete(frontier.frontier()) {
                    if let Some(rows) = &rows {
                        (rows.gauge)(&lifecycle.counters).fetch_add(rows.change(&changes), Ordering::Relaxed);
                    }
                    if context.skips(epoch) {
                        continue;
                    }
                    let Some(capability) = capabilities.first() else { continue };
                    let mut session = out.session(capability);
                    for change in net_changes(changes) {
                        let (key, value) = encode(&change.key, change.now.as_ref());
                        let record = OutRecord { output, key: Some(key), value, headers: Vec::new() };
                        session.give_iterator(context.checked(record).filter_map(|record| context.news(epoch, record)));
                    }
                }
            }
        });
        self.streams.push(stream);
    }

    /// Records that are facts: each is written once, and never recomputed.
    pub fn facts<D: 'static>(&mut self, stream: StreamVec<'s, Epoch, D>, encode: impl Fn(D) -> OutRecord + 'static) {
        let context = self.context.clone();
        let encoded = stream.unary(Pipeline, "Encode facts", move |_capability, _info| {
            move |input, out| {
                input.for_each(|capability, data| {
                    if context.skips(*capability.time()) {
                        return;
                    }
                    let epoch = *capability.time();
                    let mut session = out.session(&capability);
                    for fact in data.drain(..) {
                        let checked = context.checked(encode(fact));
                        session.give_iterator(checked.filter_map(|record| context.news(epoch, record)));
                    }
                });
            }
        });
        self.streams.push(encoded);
    }

    /// Dead letters, with their metadata in headers.
    pub fn dead_letters(&mut self, letters: StreamVec<'s, Epoch, DeadLetter>) {
        self.facts(letters, dead_letter_record);
    }

    /// Everything in one stream.
    pub fn into_stream(self) -> StreamVec<'s, Epoch, OutRecord> {
        self.scope.concatenate(self.streams)
    }
}

/// A gauge of the rows that a table holds.
pub struct Rows<V> {
    /// The gauge.
    pub gauge: fn(&Counters) -> &AtomicI64,
    /// Which rows count.
    pub counts: fn(&V) -> bool,
}

impl<V> Rows<V> {
    /// By how many the rows that count become more.
    fn change<K>(&self, differences: &[(K, V, isize)]) -> i64 {
        differences.iter().filter(|(_, value, _)| (self.counts)(value)).map(|(_, _, diff)| *diff as i64).sum()
    }
}

struct NetChange<K, V> {
    key: K,
    now: Option<V>,
}

/// What an epoch's differences come to, key by key; keys without a net change are left out.
fn net_changes<K: Ord, V: Ord>(changes: Vec<(K, V, isize)>) -> Vec<NetChange<K, V>> {
    let mut updates: Vec<((K, V), isize)> = changes.into_iter().map(|(k, v, d)| ((k, v), d)).collect();
    differential_dataflow::consolidation::consolidate(&mut updates);
    let mut net: Vec<NetChange<K, V>> = Vec::new();
    for ((key, value), diff) in updates {
        if net.last().is_none_or(|last| last.key != key) {
            net.push(NetChange { key, now: None });
        }
        if let Some(last) = net.last_mut().filter(|_| diff > 0) {
            last.now = Some(value);
        }
    }
    net
}

/// The headers that dead letters have beside those of the record.
pub mod dead_letter {
    /// What the names of all of them begin with.
    pub const PREFIX: &str = "dead-letter-";
    /// Stable code.
    pub const CODE: &str = "dead-letter-code";
    /// What is wrong, for people.
    pub const REASON: &str = "dead-letter-reason";
    /// Which part of the record.
    pub const PART: &str = "dead-letter-part";
    /// There where the value is less than that of the record.
    pub const EXCERPT: &str = "dead-letter-excerpt";
    /// Headers that the record did not have: their values come from the configuration of its topic.
    pub const ASSUMED: &str = "dead-letter-assumed";
    /// How often the record was replayed. The only one that records on other topics have too.
    pub const ATTEMPTS: &str = "dead-letter-attempts";
    /// Full name of the topic that the record was read from.
    pub const TOPIC: &str = "dead-letter-topic";
    /// Its partition.
    pub const PARTITION: &str = "dead-letter-partition";
    /// Its offset.
    pub const OFFSET: &str = "dead-letter-offset";
    /// Its timestamp, in ms since the Unix epoch.
    pub const TIMESTAMP: &str = "dead-letter-timestamp";
}

/// A dead letter as a record: the original bytes, the original headers, and ours beside them.
pub fn dead_letter_record(letter: DeadLetter) -> OutRecord {
    let origin = &letter.origin;
    let mut headers = letter.headers;
    headers.retain(|(name, _)| !name.starts_with(dead_letter::PREFIX) || name == dead_letter::ATTEMPTS);
    let mut set = |name: &str, value: Vec<u8>| {
        let had = headers.iter().any(|(present, bytes)| present == name && *bytes == value);
        headers.retain(|(present, _)| present != name);
        headers.push((name.to_owned(), value));
        had
    };
    let mut assumed = Vec::new();
    for (name, value) in [("source", &letter.source), ("content-type", &letter.content_type)] {
        let had = value.as_ref().is_none_or(|value| set(name, value.as_bytes().to_vec()));
        assumed.extend((!had).then_some(name));
    }
    if !assumed.is_empty() {
        set(dead_letter::ASSUMED, assumed.join(",").into_bytes());
    }
    if letter.excerpt {
        set(dead_letter::EXCERPT, b"true".to_vec());
    }
    set(dead_letter::CODE, letter.code.as_str().into());
    set(dead_letter::REASON, shortened(letter.reason).into_bytes());
    if let Some(part) = letter.part {
        set(dead_letter::PART, part.into_bytes());
    }
    set(dead_letter::TOPIC, origin.topic.as_bytes().to_vec());
    set(dead_letter::PARTITION, origin.partition.to_string().into_bytes());
    set(dead_letter::OFFSET, origin.offset.to_string().into_bytes());
    set(dead_letter::TIMESTAMP, origin.timestamp_ms.to_string().into_bytes());
    OutRecord {
        output: Output::DeadLetters,
        key: letter.key.map(Bytes::from),
        value: Some(letter.bytes.into()),
        headers,
    }
}

/// What is wrong with a record may quote it: no more than this of a reason is kept, in bytes.
const LONGEST_REASON: usize = 1_000;

fn shortened(mut reason: String) -> String {
    if reason.len() > LONGEST_REASON {
        let end = (0..=LONGEST_REASON).rev().find(|at| reason.is_char_boundary(*at)).unwrap_or(0);
        reason.truncate(end);
        reason.push('…');
    }
    reason
}

/// Where the bytes of records are written. Thousands of records leave at once, made on one thread and
/// dropped on another; with an allocation for each they would take fresh memory all the time.
#[derive(Default)]
struct Paper {
    /// Where one is written before its size is known.
    draft: Draft,
    /// Where it is kept, beside others.
    sheet: BytesMut,
}

thread_local! {
    static PAPER: Cell<Paper> = Cell::default();
}

/// A record that is being written. Of what a JSON writer writes, four pieces of five are single signs,
/// a tenth of all instructions of a new listing if each goes the way of a slice.
#[derive(Default)]
struct Draft(Vec<u8>);

impl Write for Draft {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    #[inline(always)]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match bytes {
            [sign] => self.0.push(*sign),
            bytes => self.0.extend_from_slice(bytes),
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Memory is taken in such pieces; what is larger than a quarter of one gets its own.
const SHEET_BYTES: usize = 256 << 10;

/// A draft that has become larger than this is not kept.
const KEPT_DRAFT_BYTES: usize = 1 << 20;

impl Paper {
    fn kept(&mut self) -> Bytes {
        let draft = self.draft.0.as_slice();
        if draft.len() > SHEET_BYTES / 4 {
            return Bytes::copy_from_slice(draft);
        }
        if self.sheet.capacity() < draft.len() {
            self.sheet = BytesMut::with_capacity(SHEET_BYTES);
        }
        self.sheet.extend_from_slice(draft);
        self.sheet.split().freeze()
    }
}

/// What `write` writes.
fn written<E>(write: impl FnOnce(&mut Draft) -> Result<(), E>) -> Result<Bytes, E> {
    let mut paper = PAPER.take();
    paper.draft.0.clear();
    let written = write(&mut paper.draft).map(|()| paper.kept());
    if paper.draft.0.capacity() <= KEPT_DRAFT_BYTES {
        PAPER.set(paper);
    }
    written
}

/// Serialises what cannot fail to serialise: our own types, with string keys and finite numbers.
pub fn json<T: Serialize>(value: &T) -> Bytes {
    written(|draft| serde_json::to_writer(draft, value)).unwrap_or_else(|error| {
        tracing::error!(%error, "a value could not be serialised");
        Bytes::new()
    })
}

/// What `value` is displayed as: a key.
pub fn text(value: impl fmt::Display) -> Bytes {
    written(|draft| write!(draft, "{value}")).unwrap_or_default()
}

/// The stream of a collection's records, for collections that only grow by single records.
pub fn records_of<'s, D: Clone + 'static>(collection: VecCollection<'s, Epoch, D>) -> StreamVec<'s, Epoch, D> {
    collection.inner.map(|(record, _epoch, _diff)| record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn net_changes_tell_new_rows_from_changed_and_gone_ones() {
        let changes = vec![("a", 1, -1), ("a", 2, 1), ("b", 1, 1), ("c", 1, -1), ("d", 1, 1), ("d", 1, -1)];
        let rows = Rows { gauge: |counters: &Counters| &counters.events, counts: |value| *value == 1 };
        assert_eq!(rows.change(&changes), -1);
        let net = net_changes(changes);
        let told: Vec<_> = net.iter().map(|n| (n.key, n.now)).collect();
        assert_eq!(told, [("a", Some(2)), ("b", Some(1)), ("c", None)]);
    }

    #[test]
    fn what_is_written_stays_whatever_is_written_after_it() {
        let texts: Vec<String> = (0..2_000).map(|n| "x".repeat(n * 37 % 9_000)).collect();
        let large = "y".repeat(2 * SHEET_BYTES);
        let kept: Vec<Bytes> = texts.iter().chain([&large, &large]).map(json).collect();
        for (text, bytes) in texts.iter().chain([&large, &large]).zip(&kept) {
            assert_eq!(serde_json::from_slice::<String>(bytes).unwrap(), *text);
        }
        assert_eq!((&*text(17), &*text("")), (b"17".as_slice(), b"".as_slice()));
    }

    #[test]
    fn an_output_over_its_limit_becomes_a_tombstone_and_a_dead_letter() {
        let limits = BTreeMap::from([(Output::Events, 10), (Output::DeadLetters, 5_000)]);
        let context = EncodeContext { restored: (0, Recovery::Trust), limits: Arc::new(limits), held: None };
        let record = OutRecord {
            output: Output::Events,
            key: Some(Bytes::from_static(b"k")),
            value: Some(vec![b'x'; 100].into()),
            headers: Vec::new(),
        };
        let out: Vec<_> = context.checked(record).collect();
        assert_eq!(out.len(), 2);
        assert_eq!((out[0].output, &out[0].value), (Output::Events, &None));
        assert_eq!(out[1].output, Output::DeadLetters);
        assert_eq!(out[1].value.as_ref().unwrap().len(), 100);
    }
}
