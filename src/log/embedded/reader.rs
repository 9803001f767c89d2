//! Reading: short scans, each in a read transaction of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bincode::Options;
use rusqlite::{Connection, Row, TransactionBehavior};

use super::connection::{Failure, table};
use super::shared::Shared;
use super::store::Store;
use crate::log::{Headers, LogError, LogRecord, Polled, Reader, Start, TopicPartition, Watermarks, outside};

/// At most this much of one partition before the next one has its turn.
const QUANTUM_BYTES: usize = 1 << 20;

/// While waiting, other processes' commits are looked for this often.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// One partition that is being read.
struct Assigned {
    at: TopicPartition,
    id: i64,
    /// Selects its records from an offset on.
    query: String,
    /// The next offset to read.
    next: i64,
    /// The end reported last.
    reported: Option<i64>,
}

/// A reader on the embedded log.
pub(super) struct EmbeddedReader {
    shared: Arc<Shared>,
    store: Store,
    assigned: Vec<Assigned>,
    /// Whose turn it is.
    turn: usize,
    /// SQLite's `data_version` up to which everything has been read and reported.
    exhausted: Option<i64>,
}

impl EmbeddedReader {
    pub(super) fn open(shared: Arc<Shared>, partitions: &[(TopicPartition, Start)]) -> Result<Self, LogError> {
        let store = Store::open(shared.path())?;
        store.connection.pragma_update(None, "query_only", true).map_err(store.error("opening a reader"))?;
        let mut reader = Self { shared, store, assigned: Vec::new(), turn: 0, exhausted: None };
        for (at, start) in partitions {
            reader.assign(at.clone(), *start)?;
        }
        Ok(reader)
    }

    /// A number that changes with every commit to the file, by whomever.
    fn data_version(&self) -> Result<i64, LogError> {
        self.store
            .connection
            .prepare_cached("PRAGMA data_version")
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
            .map_err(self.store.error("looking for new records"))
    }

    /// Reads from the partitions in turn, all from one snapshot. True when all were read to their ends.
    fn scan(&mut self, into: &mut Vec<Polled>, max_bytes: usize) -> Result<bool, LogError> {
        let Self { store, assigned, turn, .. } = self;
        let snapshot = store
            .connection
            .transaction_with_behavior(TransactionBehavior::Deferred)
            .map_err(|e| Failure::from(e).into_log_error("reading", &store.path))?;
        read_in_turn(&snapshot, assigned, turn, into, max_bytes)
            .map_err(|failure| failure.into_log_error("reading", &store.path))
    }
}

impl Reader for EmbeddedReader {
    fn poll(&mut self, into: &mut Vec<Polled>, max_bytes: usize, wait: Duration) -> Result<(), LogError> {
        let deadline = Instant::now() + wait;
        let before = into.len();
        loop {
            // Asked for first: a commit from here on either shows in the scan or ends the wait.
            let commits = self.shared.commits();
            let version = self.data_version()?;
            if self.exhausted != Some(version) {
                let all = self.scan(into, max_bytes)?;
                self.exhausted = all.then_some(version);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if into.len() > before || left.is_zero() {
                return Ok(());
            }
            self.shared.wait(commits, left.min(LOOK_EVERY));
        }
    }

    fn assign(&mut self, at: TopicPartition, start: Start) -> Result<(), LogError> {
        let (id, ends) = self.store.partition(&at)?;
        let next = match start {
            Start::Beginning => ends.low,
            Start::End => ends.high,
            Start::Offset(offset) => match outside(&at, offset, ends) {
                Some(error) => return Err(error),
                None => offset,
            },
        };
        let query = format!(
            "SELECT offset, timestamp_ms, key, value, headers FROM {} WHERE offset >= ? ORDER BY offset",
            table(id)
        );
        self.assigned.push(Assigned { at, id, query, next, reported: None });
        self.exhausted = None;
        Ok(())
    }
}

fn read_in_turn(
    snapshot: &Connection,
    assigned: &mut [Assigned],
    turn: &mut usize,
    into: &mut Vec<Polled>,
    max_bytes: usize,
) -> Result<bool, Failure> {
    let count = assigned.len();
    let mut left = max_bytes;
    let mut ended = 0;
    // Ended when that many in a row had nothing left.
    while ended < count {
        if left == 0 {
            return Ok(false);
        }
        *turn = (*turn + 1) % count;
        let Some(partition) = assigned.get_mut(*turn) else { break };
        let (bytes, at_end) = read(snapshot, partition, into, left.min(QUANTUM_BYTES))?;
        left = left.saturating_sub(bytes);
        ended = if at_end { ended + 1 } else { 0 };
    }
    Ok(true)
}

/// Reads up to about `max_bytes` of one partition. Returns how much, and whether it was the end.
fn read(
    snapshot: &Connection,
    partition: &mut Assigned,
    into: &mut Vec<Polled>,
    max_bytes: usize,
) -> Result<(usize, bool), Failure> {
    let ends = snapshot
        .prepare_cached("SELECT low, next FROM partitions WHERE id = ?")?
        .query_row([partition.id], |row| Ok(Watermarks { low: row.get(0)?, high: row.get(1)? }))?;
    if let Some(error) = outside(&partition.at, partition.next, ends) {
        return Err(error.into());
    }
    let end = ends.high;
    let mut bytes = 0;
    if partition.next < end {
        let mut statement = snapshot.prepare_cached(&partition.query)?;
        let mut rows = statement.query([partition.next])?;
        while let Some(row) = rows.next()? {
            let record = record(&partition.at, row)?;
            partition.next = record.offset + 1;
            bytes += record.size().max(1);
            into.push(Polled::Record(record));
            if bytes >= max_bytes {
                return Ok((bytes, false));
            }
        }
        partition.next = end;
    }
    if partition.reported != Some(end) {
        partition.reported = Some(end);
        into.push(Polled::End { partition: partition.at.clone(), next: end });
    }
    Ok((bytes, true))
}

fn record(at: &TopicPartition, row: &Row<'_>) -> Result<LogRecord, Failure> {
    let headers: Option<Vec<u8>> = row.get(4)?;
    Ok(LogRecord {
        topic: Arc::clone(&at.topic),
        partition: at.partition,
        offset: row.get(0)?,
        timestamp_ms: row.get(1)?,
        key: row.get(2)?,
        value: row.get(3)?,
        headers: headers.map(|bytes| decode_headers(at, &bytes)).transpose()?.unwrap_or_default(),
    })
}

fn decode_headers(at: &TopicPartition, bytes: &[u8]) -> Result<Headers, LogError> {
    // As `bincode::serialize` writes, and nothing after it.
    bincode::DefaultOptions::new().with_fixint_encoding().deserialize(bytes).map_err(|e| LogError::Damaged {
        at: format!("{}/{}", at.topic, at.partition),
        reason: format!("a record's headers cannot be read: {e}"),
    })
}
