//! Reading state topics back: the last record of each key, as the topology reads it.

use std::collections::BTreeMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use headwater_flow::Epoch;
use smallvec::SmallVec;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::operator::Operator;
use timely::dataflow::operators::vec::{Filter, Map};
use xxhash_rust::xxh3::xxh3_64;

use super::context::{Context, Damage};
use super::record::{EPOCH, epoch_of};
use crate::log::LogRecord;
use crate::schema::{Reader, TopicId};

/// What the records of the state `topic` say, among those of all states.
pub(super) fn restored<'s, R: Clone + 'static>(
    context: &Context,
    topic: TopicId,
    reader: Reader<R>,
    states: StreamVec<'s, Epoch, Arc<LogRecord>>,
) -> StreamVec<'s, Epoch, R> {
    let name = context.names.shared(topic);
    let mut foreign = Foreign::default();
    let own = states.filter(move |record| record.topic == name && !foreign.skips(record));
    let latest = latest_of(own, reader);
    let (name, rebuilding) = (context.names.of(topic).to_owned(), context.rebuilding);
    let on_damage = Arc::clone(&context.on_damage);
    latest.flat_map(move |Latest { partition, offset, read, .. }| match read {
        Ok(read) => read,
        Err(error) if rebuilding => {
            tracing::warn!(topic = name, partition, offset, error, "left out of the rebuild");
            None
        }
        Err(error) => {
            let reason = format!("the record at partition {partition}, offset {offset}: {error}");
            on_damage(Damage { topic: name.clone(), reason });
            None
        }
    })
}

/// Records that somebody else wrote into a state topic. Everything that an engine writes names its epoch;
/// what does not says nothing of the state, whatever its key. Where it hides a record of the engine, the
/// comparison at the start finds that the topic differs from the state, and writes the record again.
#[derive(Default)]
struct Foreign {
    seen: u64,
}

impl Foreign {
    /// More of them than this are not named one by one, so that the log can be read.
    const NAMED: u64 = 20;

    /// Whether `record` is one, which is said.
    fn skips(&mut self, record: &LogRecord) -> bool {
        if epoch_of(record).is_some() {
            return false;
        }
        self.seen += 1;
        let (topic, partition, offset) = (&*record.topic, record.partition, record.offset);
        match self.seen {
            ..Self::NAMED => tracing::warn!(
                topic,
                partition,
                offset,
                "skipped a record that no topology wrote: it has no {EPOCH:?} header"
            ),
            Self::NAMED => tracing::warn!(
                topic,
                partition,
                offset,
                "skipped a record that no topology wrote; more of them are told at level debug"
            ),
            _ => tracing::debug!(topic, partition, offset, "skipped a record that no topology wrote"),
        }
        true
    }
}

/// The last record of each key: compaction may not have run yet, and where a topic has gained
/// partitions a key may be in two of them. Records are read as they come, beside the reading of
/// those that follow, so that their bytes need not be kept.
fn latest_of<'s, R: Clone + 'static>(
    records: StreamVec<'s, Epoch, Arc<LogRecord>>,
    reader: Reader<R>,
) -> StreamVec<'s, Epoch, Latest<R>> {
    let by_key = Exchange::new(|record: &Arc<LogRecord>| xxh3_64(record.key.as_deref().unwrap_or_default()));
    records.unary_frontier(by_key, "restore/Latest", move |_capability, _info| {
        let mut latest: BTreeMap<Epoch, Waiting<R>> = BTreeMap::new();
        move |(input, frontier), out| {
            input.for_each(|capability, data| {
                let waiting = latest.entry(*capability.time()).or_insert_with(|| Waiting {
                    capability: capability.retain(0),
                    records: foldhash::HashMap::default(),
                });
                data.drain(..).for_each(|record| waiting.take(&record, &reader));
            });
            while let Some(first) = latest.first_entry() {
                if frontier.frontier().less_equal(first.key()) {
                    break;
                }
                let waiting = first.remove();
                out.session(&waiting.capability).give_iterator(waiting.records.into_values());
            }
        }
    })
}

/// The last record of each key.
struct Waiting<R> {
    capability: timely::dataflow::operators::Capability<Epoch>,
    /// Keys are ids of 32 digits: in the table itself they take no allocation each.
    records: foldhash::HashMap<Option<SmallVec<[u8; 32]>>, Latest<R>>,
}

/// The last record of a key, as far as is known, and what it says or what is wrong with it.
#[derive(Clone)]
struct Latest<R> {
    partition: i32,
    offset: i64,
    timestamp_ms: i64,
    /// The epoch that every output carries.
    epoch: Epoch,
    read: Result<Option<R>, String>,
}

impl<R> Latest<R> {
    fn of(record: &LogRecord, reader: &Reader<R>) -> Self {
        let key = record.key.as_deref().unwrap_or_default();
        Self {
            partition: record.partition,
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            epoch: epoch_of(record).unwrap_or(0),
            read: record.value.as_deref().map(|value| (reader.0)(key, value)).transpose(),
        }
    }

    /// Whether this was written after `known`, of the same key: within a partition offsets tell,
    /// across partitions epochs.
    fn follows(&self, known: &Self) -> bool {
        match self.partition == known.partition {
            true => self.offset > known.offset,
            false => (self.epoch, self.timestamp_ms) > (known.epoch, known.timestamp_ms),
        }
    }
}

impl<R> Waiting<R> {
    fn take(&mut self, record: &LogRecord, reader: &Reader<R>) {
        let latest = Latest::of(record, reader);
        match self.records.entry(record.key.as_deref().map(SmallVec::from_slice)) {
            Entry::Occupied(mut known) if latest.follows(known.get()) => {
                known.insert(latest);
            }
            Entry::Occupied(_) => {}
            Entry::Vacant(vacant) => {
                vacant.insert(latest);
            }
        }
    }
}
