//! Tables: compacted topics that others write, as collections.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use differential_dataflow::{AsCollection, ExchangeData, VecCollection};
use headwater_flow::epochs::CompleteEpochs;
use headwater_flow::{DeadLetter, DeadLetterCode, Epoch, Origin};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::operator::Operator;
use timely::dataflow::operators::vec::{Filter, Map};
use xxhash_rust::xxh3::xxh3_64;

use crate::log::LogRecord;

/// A table and what of it could not be read.
pub(super) struct FollowedTable<'s, V: 'static> {
    /// The latest value of every key.
    pub(super) rows: VecCollection<'s, Epoch, V>,
    /// Records that are no JSON of the expected form, or have no key.
    pub(super) failures: StreamVec<'s, Epoch, DeadLetter>,
}

/// Key, place and value of a record.
type Row<V> = (Vec<u8>, Place, Option<V>);

/// Which of two records of a key is the newer one. Within a partition the offset tells. Across partitions,
/// where partitions were added and a key is in two of them, the greatest timestamp up to the record does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Place {
    order_ms: i64,
    partition: i32,
    offset: i64,
}

/// The latest value of every key of `topic`, as a collection that follows it.
pub(super) fn table<'s, V: ExchangeData + DeserializeOwned>(
    records: StreamVec<'s, Epoch, LogRecord>,
    topic: String,
    restored_epoch: Epoch,
) -> FollowedTable<'s, V> {
    let mine = records.filter(move |record| *record.topic == *topic);
    let mut order = Order::default();
    let parsed = mine.map(move |record| parse::<V>(order.place(&record), record));
    let good = parsed.clone().flat_map(|(row, _)| row);
    // What was known at the last commit has been reported before.
    let bad = parsed.unary(Pipeline, "restore/NewFailures", move |_capability, _info| {
        move |input, out| {
            input.for_each(|capability, data| {
                if *capability.time() > restored_epoch {
                    let letters = data.drain(..).filter_map(|(_, letter)| letter.map(|letter| *letter));
                    out.session(&capability).give_iterator(letters);
                }
            });
        }
    });
    let by_key = Exchange::new(|(key, _, _): &Row<V>| xxh3_64(key));
    let rows = good.unary_frontier(by_key, "restore/Table", |_capability, _info| {
        let mut epochs: CompleteEpochs<Vec<Row<V>>> = CompleteEpochs::new(1);
        let mut latest: HashMap<Vec<u8>, (Place, V)> = HashMap::new();
        move |(input, frontier), out| {
            input.for_each(|capability, data| epochs.now(&capability).append(data));
            while let Some(mut complete) = epochs.next([frontier]) {
                complete.input.sort_by_key(|(_, place, _)| *place);
                let Some(capability) = complete.capabilities.first() else { continue };
                let mut session = out.session(capability);
                let epoch = complete.epoch;
                for (key, place, value) in complete.input {
                    if latest.get(&key).is_some_and(|(known, _)| *known > place) {
                        continue;
                    }
                    let before = match value.clone() {
                        Some(value) => latest.insert(key, (place, value)),
                        None => latest.remove(&key),
                    };
                    session.give_iterator(before.into_iter().map(|(_, before)| (before, epoch, -1)));
                    session.give_iterator(value.into_iter().map(|value| (value, epoch, 1)));
                }
            }
        }
    });
    FollowedTable { rows: rows.as_collection(), failures: bad }
}

/// The greatest timestamp of each partition so far. Each is read by one worker, in its order.
#[derive(Default)]
struct Order(BTreeMap<(Arc<str>, i32), i64>);

impl Order {
    fn place(&mut self, record: &LogRecord) -> Place {
        let greatest = self.0.entry((Arc::clone(&record.topic), record.partition)).or_insert(i64::MIN);
        *greatest = (*greatest).max(record.timestamp_ms);
        Place { order_ms: *greatest, partition: record.partition, offset: record.offset }
    }
}

/// The row that a record stands for, and what is wrong with it. A value that cannot be read takes
/// its key away, as it would after compaction has removed the former one.
type Parsed<V> = (Option<Row<V>>, Option<Box<DeadLetter>>);

fn parse<V: DeserializeOwned>(at: Place, record: LogRecord) -> Parsed<V> {
    let Some(key) = record.key.clone() else {
        return (None, Some(failure(record, "a record of this topic needs a key".to_owned())));
    };
    let Some(value) = &record.value else { return (Some((key, at, None)), None) };
    match serde_json::from_slice(value) {
        Ok(value) => (Some((key, at, Some(value))), None),
        Err(error) => (Some((key, at, None)), Some(failure(record, error.to_string()))),
    }
}

fn failure(record: LogRecord, reason: String) -> Box<DeadLetter> {
    Box::new(DeadLetter {
        origin: Origin {
            topic: record.topic,
            partition: record.partition,
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            order_ms: record.timestamp_ms,
        },
        source: None,
        content_type: None,
        key: record.key,
        code: DeadLetterCode::INVALID_CONTROL,
        reason,
        part: None,
        bytes: record.value.unwrap_or_default(),
        excerpt: false,
        headers: record.headers,
    })
}
