//! Tables: compacted topics that others write, as collections.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use differential_dataflow::{AsCollection, ExchangeData, VecCollection};
use headwater_flow::epochs::CompleteEpochs;
use headwater_flow::{DeadLetter, DeadLetterCode, Epoch, LogPosition, Origin, Positioned};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::operator::{Operator, empty};
use timely::dataflow::operators::vec::{Filter, Map};
use xxhash_rust::xxh3::xxh3_64;

use crate::log::LogRecord;

/// A table and what of it could not be read.
pub(super) struct FollowedTable<'s, V: 'static> {
    /// The latest value of every key, and where its record stands.
    pub(super) rows: VecCollection<'s, Epoch, (Vec<u8>, Positioned<V>)>,
    /// Records that are no JSON of the expected form, or have no key.
    pub(super) failures: StreamVec<'s, Epoch, DeadLetter>,
}

/// What a record says of its key.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Word<V> {
    /// The key has this value.
    Is(V),
    /// The key has no value any more.
    Gone,
    /// Nothing: the record cannot be read.
    Unreadable,
}

/// Key of a record, where the record stands, what it says.
///
/// Which of two records of a key is the newer one: within a partition the offset tells. Across partitions, where
/// partitions were added and a key is in two of them, the greatest timestamp up to the record does.
type Row<V> = (Vec<u8>, LogPosition, Word<V>);

/// What an unreadable record does to its key.
pub(super) enum Unreadable<'s, V: 'static> {
    /// It takes the former value away, as compaction will.
    TakesAway,
    /// It changes nothing. Compaction may remove the former record all the same, so the values that held at the
    /// last commit come from here, at the restored epoch.
    ChangesNothing(StreamVec<'s, Epoch, (Vec<u8>, Positioned<V>)>),
}

/// The latest value of every key of `topic`, as a collection that follows it.
pub(super) fn table<'s, V: ExchangeData + DeserializeOwned>(
    records: StreamVec<'s, Epoch, LogRecord>,
    topic: String,
    restored_epoch: Epoch,
    unreadable: Unreadable<'s, V>,
) -> FollowedTable<'s, V> {
    let scope = records.scope();
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
    let takes_away = matches!(unreadable, Unreadable::TakesAway);
    let kept = match unreadable {
        Unreadable::TakesAway => empty(scope),
        Unreadable::ChangesNothing(kept) => kept,
    };
    let by_key = Exchange::new(|(key, ..): &Row<V>| xxh3_64(key));
    let kept_by_key = Exchange::new(|(key, _): &(Vec<u8>, Positioned<V>)| xxh3_64(key));
    let rows = good.binary_frontier(kept, by_key, kept_by_key, "restore/Table", move |_capability, _info| {
        let mut epochs: CompleteEpochs<Words<V>> = CompleteEpochs::new(1);
        let mut latest = Latest::new(takes_away);
        move |(rows, rows_frontier), (kept, kept_frontier), out| {
            rows.for_each(|capability, data| epochs.now(&capability).rows.append(data));
            kept.for_each(|capability, data| epochs.now(&capability).kept.append(data));
            while let Some(complete) = epochs.next([rows_frontier, kept_frontier]) {
                let Some(capability) = complete.capabilities.first() else { continue };
                let mut changes = Vec::new();
                latest.apply(complete.input, &mut changes);
                let updates = changes.into_iter().map(|(row, diff)| (row, complete.epoch, diff));
                out.session(capability).give_iterator(updates);
            }
        }
    });
    FollowedTable { rows: rows.as_collection(), failures: bad }
}

/// What an epoch brings.
struct Words<V> {
    rows: Vec<Row<V>>,
    kept: Vec<(Vec<u8>, Positioned<V>)>,
}

impl<V> Default for Words<V> {
    fn default() -> Self {
        Self { rows: Vec::new(), kept: Vec::new() }
    }
}

/// The latest value of each key.
struct Latest<V> {
    /// Whether an unreadable record takes the former value away.
    takes_away: bool,
    /// For each key the position up to which this is known, and the value.
    known: HashMap<Vec<u8>, (LogPosition, Positioned<V>)>,
}

/// A row that comes (1) or goes (-1).
type Changes<V> = Vec<((Vec<u8>, Positioned<V>), isize)>;

impl<V: Clone> Latest<V> {
    fn new(takes_away: bool) -> Self {
        Self { takes_away, known: HashMap::new() }
    }

    /// Takes in an epoch, whatever the order of its words.
    fn apply(&mut self, mut words: Words<V>, out: &mut Changes<V>) {
        words.rows.sort_by_key(|(_, at, _)| *at);
        let mut kept: HashMap<_, _> = words.kept.into_iter().collect();
        for (key, at, word) in words.rows {
            match word {
                Word::Is(value) => self.put(key, at, Some(Positioned { position: at, value }), out),
                Word::Gone => {
                    if kept.get(&key).is_some_and(|kept| kept.position < at) {
                        kept.remove(&key);
                    }
                    self.put(key, at, None, out);
                }
                Word::Unreadable if self.takes_away => self.put(key, at, None, out),
                Word::Unreadable => {
                    // Its record may be gone. Where it is not, it says the same.
                    if let Some(kept) = kept.remove(&key).filter(|kept| self.is_news(&key, kept)) {
                        self.put(key, at, Some(kept), out);
                    }
                }
            }
        }
    }

    fn is_news(&self, key: &[u8], kept: &Positioned<V>) -> bool {
        self.known.get(key).is_none_or(|(_, known)| known.position < kept.position)
    }

    /// Lets `key` have this value as of `at`, if nothing newer is known.
    fn put(&mut self, key: Vec<u8>, at: LogPosition, value: Option<Positioned<V>>, out: &mut Changes<V>) {
        if self.known.get(&key).is_some_and(|(known_at, _)| *known_at > at) {
            return;
        }
        let before = match value.clone() {
            Some(value) => self.known.insert(key.clone(), (at, value)),
            None => self.known.remove(&key),
        };
        out.extend(before.map(|(_, before)| ((key.clone(), before), -1)));
        out.extend(value.map(|value| ((key, value), 1)));
    }
}

/// The greatest timestamp of each partition so far. Each is read by one worker, in its order.
#[derive(Default)]
struct Order(BTreeMap<(Arc<str>, i32), i64>);

impl Order {
    fn place(&mut self, record: &LogRecord) -> Origin {
        let greatest = self.0.entry((Arc::clone(&record.topic), record.partition)).or_insert(i64::MIN);
        *greatest = (*greatest).max(record.timestamp_ms);
        Origin {
            topic: Arc::clone(&record.topic),
            partition: record.partition,
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            order_ms: *greatest,
        }
    }
}

/// The row that a record stands for, and what is wrong with it.
type Parsed<V> = (Option<Row<V>>, Option<Box<DeadLetter>>);

fn parse<V: DeserializeOwned>(origin: Origin, record: LogRecord) -> Parsed<V> {
    let at = LogPosition::of(&origin);
    let Some(key) = record.key.clone() else {
        return (None, Some(failure(origin, record, "a record of this topic needs a key".to_owned())));
    };
    let Some(value) = &record.value else { return (Some((key, at, Word::Gone)), None) };
    match serde_json::from_slice(value) {
        Ok(value) => (Some((key, at, Word::Is(value))), None),
        Err(error) => (Some((key, at, Word::Unreadable)), Some(failure(origin, record, error.to_string()))),
    }
}

fn failure(origin: Origin, record: LogRecord, reason: String) -> Box<DeadLetter> {
    Box::new(DeadLetter {
        origin: Origin { order_ms: origin.timestamp_ms, ..origin },
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
