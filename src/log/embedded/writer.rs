//! Writing: every append is one SQLite transaction.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension, params};
use xxhash_rust::xxh3::xxh3_64;

use super::connection::{Failure, now_ms, table};
use super::shared::Shared;
use super::store::{Store, TopicRow, topic};
use crate::fail_point::FailPoint;
use crate::log::{Headers, LogError, NewRecord, Producer, TopicPartition, Transaction, Transactional};

/// A producer commits at the latest when it holds this much.
const BATCH_BYTES: usize = 8 << 20;
/// A producer commits at the latest when it holds this many records.
const BATCH_RECORDS: usize = 20_000;
/// A producer commits what it gets when its last commit is this long ago, so that a slow one is
/// seen at once and a fast one writes batches.
const LINGER: Duration = Duration::from_millis(20);

/// What a writer knows of one partition during a transaction.
struct Tail {
    insert: String,
    next: i64,
}

/// Appends records, and knows the topics it has met.
struct Appender {
    topics: HashMap<Arc<str>, TopicRow>,
    /// Partition for the next records without a key; moves on with every transaction.
    keyless: usize,
}

impl Appender {
    fn new() -> Self {
        Self { topics: HashMap::new(), keyless: 0 }
    }

    /// Looks up topics that were not written to before, and refuses what their topic does not take.
    fn check(&mut self, store: &Store, index: usize, record: &NewRecord, further: &Headers) -> Result<(), LogError> {
        if !self.topics.contains_key(&record.topic) {
            let found = topic(&store.connection, &record.topic).map_err(store.error("looking up a topic"))?;
            let found = found.ok_or_else(|| LogError::UnknownTopic { topic: record.topic.to_string() })?;
            self.topics.insert(Arc::clone(&record.topic), found);
        }
        let Some(topic) = self.topics.get(&record.topic) else { return Ok(()) };
        let size = record.size() + headers_size(further);
        if size > topic.max_record_bytes {
            let (topic, limit) = (record.topic.to_string(), topic.max_record_bytes);
            return Err(LogError::TooLarge { index, topic, size, limit });
        }
        if topic.compact && record.key.is_none() {
            let reason = format!("{} is compacted: its records need keys", record.topic);
            return Err(LogError::Failed { doing: "writing a record", reason });
        }
        Ok(())
    }

    /// Appends records that [`Appender::check`] has passed; `each` is called before each one.
    fn append(
        &mut self,
        tx: &Connection,
        records: &[NewRecord],
        further: &Headers,
        each: impl Fn(),
    ) -> Result<(), Failure> {
        let now = now_ms();
        let mut headers = EncodedHeaders::new(further)?;
        let mut tails: HashMap<i64, Tail> = HashMap::new();
        self.keyless = self.keyless.wrapping_add(1);
        for record in records {
            each();
            let Some(id) = self.topics.get(&record.topic).and_then(|topic| place(topic, record, self.keyless)) else {
                return Err(LogError::UnknownTopic { topic: record.topic.to_string() }.into());
            };
            let tail = match tails.entry(id) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(tail(tx, id)?),
            };
            tx.prepare_cached(&tail.insert)?.execute(params![
                tail.next,
                record.timestamp_ms.unwrap_or(now),
                record.key.as_deref(),
                record.value.as_deref(),
                headers.of(record)?,
            ])?;
            tail.next += 1;
        }
        let mut update = tx.prepare_cached("UPDATE partitions SET next = ? WHERE id = ?")?;
        for (id, tail) in &tails {
            update.execute(params![tail.next, id])?;
        }
        Ok(())
    }
}

fn tail(tx: &Connection, id: i64) -> Result<Tail, Failure> {
    let next = tx.prepare_cached("SELECT next FROM partitions WHERE id = ?")?.query_row([id], |row| row.get(0))?;
    let insert =
        format!("INSERT INTO {} (offset, timestamp_ms, key, value, headers) VALUES (?, ?, ?, ?, ?)", table(id));
    Ok(Tail { insert, next })
}

/// The id of the partition that a record goes to: XXH3 of the key, modulo their number.
fn place(topic: &TopicRow, record: &NewRecord, keyless: usize) -> Option<i64> {
    let count = topic.partitions.len();
    let index = match &record.key {
        Some(key) => usize::try_from(xxh3_64(key) % u64::try_from(count).ok()?.max(1)).ok()?,
        None => keyless % count.max(1),
    };
    topic.partitions.get(index).copied()
}

fn headers_size(headers: &Headers) -> usize {
    headers.iter().map(|(name, value)| name.len() + value.len()).sum()
}

/// Encodes headers, those that all records of a transaction share only once.
struct EncodedHeaders<'a> {
    further: &'a Headers,
    alone: Option<Vec<u8>>,
    latest: Vec<u8>,
}

impl<'a> EncodedHeaders<'a> {
    fn new(further: &'a Headers) -> Result<Self, LogError> {
        let mut alone = Vec::new();
        encode_headers(further.iter(), &mut alone)?;
        Ok(Self { further, alone: (!further.is_empty()).then_some(alone), latest: Vec::new() })
    }

    fn of(&mut self, record: &NewRecord) -> Result<Option<&[u8]>, LogError> {
        if record.headers.is_empty() {
            return Ok(self.alone.as_deref());
        }
        self.latest.clear();
        encode_headers(record.headers.iter().chain(self.further), &mut self.latest)?;
        Ok(Some(&self.latest))
    }
}

fn encode_headers<'a>(
    headers: impl Iterator<Item = &'a (String, Vec<u8>)>,
    into: &mut Vec<u8>,
) -> Result<(), LogError> {
    let headers: Vec<_> = headers.collect();
    bincode::serialize_into(into, &headers)
        .map_err(|e| LogError::Failed { doing: "writing headers", reason: e.to_string() })
}

/// Appends outside of transactions.
pub(super) struct EmbeddedProducer {
    shared: Arc<Shared>,
    store: Store,
    appender: Appender,
    pending: Vec<NewRecord>,
    pending_bytes: usize,
    committed: Instant,
}

impl EmbeddedProducer {
    pub(super) fn open(shared: Arc<Shared>) -> Result<Self, LogError> {
        let store = Store::open(shared.path())?;
        shared.cleaner().start();
        Ok(Self {
            shared,
            store,
            appender: Appender::new(),
            pending: Vec::new(),
            pending_bytes: 0,
            committed: Instant::now(),
        })
    }
}

impl Producer for EmbeddedProducer {
    fn send(&mut self, record: NewRecord) -> Result<(), LogError> {
        self.appender.check(&self.store, 0, &record, &Headers::new())?;
        self.pending_bytes += record.size();
        self.pending.push(record);
        let full = self.pending_bytes >= BATCH_BYTES || self.pending.len() >= BATCH_RECORDS;
        if full || self.committed.elapsed() >= LINGER { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), LogError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let Self { shared, store, appender, pending, .. } = self;
        shared.write(store, "writing records", |tx| appender.append(tx, pending, &Headers::new(), || ()))?;
        self.pending.clear();
        self.pending_bytes = 0;
        self.committed = Instant::now();
        Ok(())
    }
}

impl Drop for EmbeddedProducer {
    fn drop(&mut self) {
        if let Err(error) = self.flush() {
            tracing::warn!(%error, "records were lost when a producer closed");
        }
    }
}

/// The single writer of a topology, on the embedded log.
pub(super) struct EmbeddedTransactional {
    shared: Arc<Shared>,
    store: Store,
    appender: Appender,
    id: String,
    epoch: i64,
}

impl EmbeddedTransactional {
    pub(super) fn open(shared: Arc<Shared>, id: &str) -> Result<Self, LogError> {
        let mut store = Store::open(shared.path())?;
        let epoch = shared.write(&mut store, "opening a transactional writer", |tx| {
            Ok(tx.query_row(
                "INSERT INTO writers (id, epoch) VALUES (?, 1)
                 ON CONFLICT (id) DO UPDATE SET epoch = epoch + 1 RETURNING epoch",
                [id],
                |row| row.get(0),
            )?)
        })?;
        shared.cleaner().start();
        Ok(Self { shared, store, appender: Appender::new(), id: id.to_owned(), epoch })
    }
}

impl Drop for EmbeddedTransactional {
    /// What was committed is in the file itself after an orderly end, although readers may have been
    /// cut off before they closed theirs. Passive: a writer that was fenced must not wait for the
    /// newer one.
    fn drop(&mut self) {
        if let Err(error) = self.store.connection.execute_batch("PRAGMA wal_checkpoint(PASSIVE)") {
            tracing::debug!(%error, "the log's file is not complete without its -wal");
        }
    }
}

/// Refuses to go on when somebody has opened the id since.
fn check_epoch(tx: &Connection, id: &str, epoch: i64) -> Result<(), Failure> {
    let current: Option<i64> =
        tx.prepare_cached("SELECT epoch FROM writers WHERE id = ?")?.query_row([id], |row| row.get(0)).optional()?;
    if current == Some(epoch) { Ok(()) } else { Err(LogError::Fenced { id: id.to_owned() }.into()) }
}

impl Transactional for EmbeddedTransactional {
    fn commit(&mut self, transaction: &Transaction) -> Result<(), LogError> {
        if transaction.records.is_empty() {
            return Ok(());
        }
        for (index, record) in transaction.records.iter().enumerate() {
            self.appender.check(&self.store, index, record, &transaction.headers)?;
        }
        let Self { shared, store, appender, id, epoch } = self;
        shared.write(store, "committing a transaction", |tx| {
            check_epoch(tx, id, *epoch)?;
            FailPoint::CommitBegun.reach();
            appender.append(tx, &transaction.records, &transaction.headers, || FailPoint::CommitRecord.reach())?;
            FailPoint::CommitAppended.reach();
            Ok(())
        })?;
        FailPoint::CommitWritten.reach();
        Ok(())
    }

    fn check(&mut self, _positions: Vec<(TopicPartition, i64)>) -> Result<(), LogError> {
        check_epoch(&self.store.connection, &self.id, self.epoch)
            .map_err(|failure| failure.into_log_error("looking for newer instances", self.shared.path()))
    }
}
