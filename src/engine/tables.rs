//! Tables: compacted input topics (`places`, `decisions`, `control`) as collections.

use std::collections::HashMap;

use differential_dataflow::{AsCollection, ExchangeData, VecCollection};
use headwater_operators::raw::{DeadLetterCode, Origin};
use headwater_operators::{DeadLetter, Epoch};
use serde::de::DeserializeOwned;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::operator::Operator;
use timely::dataflow::operators::vec::{Filter, Map};
use xxhash_rust::xxh3::xxh3_64;

use super::ordered::Stash;
use crate::log::LogRecord;

/// A table and what of it could not be read.
pub struct Table<'s, V: 'static> {
    /// The latest value of every key.
    pub rows: VecCollection<'s, Epoch, V>,
    /// Records that are no JSON of the expected form, or have no key.
    pub failures: StreamVec<'s, Epoch, DeadLetter>,
}

type Row<V> = (Vec<u8>, (i32, i64), Option<V>);

/// The latest value of every key of `topic`, as a collection that follows it.
pub fn table<'s, V: ExchangeData + DeserializeOwned>(
    records: StreamVec<'s, Epoch, LogRecord>,
    topic: String,
    restored_epoch: Epoch,
) -> Table<'s, V> {
    let mine = records.filter(move |record| *record.topic == *topic);
    let parsed = mine.map(parse::<V>);
    let good = parsed.clone().flat_map(|(row, _)| row);
    // What was known at the last commit has been reported before.
    let bad = parsed.unary(Pipeline, "NewFailures", move |_capability, _info| {
        move |input, out| {
            input.for_each(|capability, data| {
                if *capability.time() > restored_epoch {
                    let letters = data.drain(..).filter_map(|(_, letter)| letter.map(|letter| *letter));
                    out.session(&capability).give_iterator(letters);
                }
            });
        }
    });
    let exchange = Exchange::new(|(key, _, _): &Row<V>| xxh3_64(key));
    let rows = good.unary_frontier(exchange, "Table", |_capability, _info| {
        let mut stash = Stash::default();
        let mut latest: HashMap<Vec<u8>, V> = HashMap::new();
        move |(input, frontier), out| {
            input.for_each(|capability, data| {
                stash.push(*capability.time(), || vec![capability.retain(0)], data.drain(..));
            });
            while let Some((epoch, capabilities, mut rows)) = stash.next_complete(frontier.frontier()) {
                rows.sort_by_key(|(_, at, _)| *at);
                let Some(capability) = capabilities.first() else { continue };
                let mut session = out.session(capability);
                for (key, _, value) in rows {
                    let before = match value.clone() {
                        Some(value) => latest.insert(key, value),
                        None => latest.remove(&key),
                    };
                    session.give_iterator(before.into_iter().map(|before| (before, epoch, -1)));
                    session.give_iterator(value.into_iter().map(|value| (value, epoch, 1)));
                }
            }
        }
    });
    Table { rows: rows.as_collection(), failures: bad }
}

/// The row that a record stands for, and what is wrong with it. A value that cannot be read takes
/// its key away, as it would after compaction has removed the former one.
type Parsed<V> = (Option<Row<V>>, Option<Box<DeadLetter>>);

fn parse<V: DeserializeOwned>(record: LogRecord) -> Parsed<V> {
    let at = (record.partition, record.offset);
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
        code: DeadLetterCode::InvalidControl,
        reason,
        part: None,
        bytes: record.value.unwrap_or_default(),
        excerpt: false,
        headers: record.headers,
    })
}
