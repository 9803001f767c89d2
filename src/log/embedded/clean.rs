//! Compaction and retention, in small steps beside the writers.
//!
//! Compaction works without an index of keys, which would cost every append a random write: a pass
//! collects the newest offset of each key among the records that are new since the last pass, then
//! scans the partition once and removes what those supersede. It runs when as much is new as was
//! kept, so that its cost for each record appended is bounded.
//!
//! A tombstone goes once it was in a cleaned partition for the configured time: by then every older
//! record of its key is gone, and whoever reads at least that often has seen it.
//!
//! All steps are idempotent, so that two processes may clean one file.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension, params};
use xxhash_rust::xxh3::xxh3_128;

use super::connection::{Failure, connect, lock, now_ms, sqlite_error, table, write_in_turn};
use crate::log::LogError;

/// The cleaner looks at the partitions this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// After a failure (a full disk, say) it waits longer.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Fewer new records than this are not worth a pass before [`PASS_AT_LEAST_MS`].
const LEAST_DIRTY: i64 = 20_000;

/// A partition with anything to remove is cleaned at least this often, in milliseconds.
const PASS_AT_LEAST_MS: i64 = 60 * 60 * 1000;

/// Keys held in memory by one pass (about 50 bytes each); what is beyond waits for the next one.
const MOST_KEYS: usize = 1_000_000;

/// Rows looked at by one read transaction.
const SCAN_ROWS: i64 = 20_000;

/// Rows removed by one write transaction, so that a writer waits for milliseconds only.
const REMOVE_ROWS: i64 = 1_000;

/// Marks kept for the time that something is retained: that many steps is how exact ages are.
const MARKS: i64 = 50;

/// The kinds of marks, as the schema explains.
const APPENDED: i64 = 0;
const CLEANED: i64 = 1;

/// The cleaner of one file. Its thread runs once somebody writes, and ends with this.
pub(super) struct Cleaner {
    job: Job,
    running: Mutex<Option<Running>>,
}

struct Running {
    /// Dropped to end the thread's wait.
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Cleaner {
    pub(super) fn new(path: PathBuf, turn: Arc<Mutex<()>>, tombstone_retention_ms: i64) -> Self {
        let job = Job { path, turn, tombstone_retention_ms, stopping: Arc::default() };
        Self { job, running: Mutex::new(None) }
    }

    /// Removes at once all that compaction and retention allow.
    pub(super) fn clean_everything(&self) -> Result<(), LogError> {
        self.job.look(&mut connect(&self.job.path)?, true)
    }

    /// Starts the thread, if it does not run.
    pub(super) fn start(&self) {
        let mut running = lock(&self.running);
        if running.is_some() {
            return;
        }
        let (stop, stopped) = channel();
        let job = self.job.clone();
        match thread::Builder::new().name("log-cleaner".to_owned()).spawn(move || job.run(&stopped)) {
            Ok(thread) => *running = Some(Running { stop, thread }),
            Err(error) => tracing::warn!(%error, "the embedded log is not cleaned: no thread"),
        }
    }
}

impl Drop for Cleaner {
    fn drop(&mut self) {
        self.job.stopping.store(true, Ordering::Relaxed);
        if let Some(Running { stop, thread }) = lock(&self.running).take() {
            drop(stop);
            if thread.join().is_err() {
                tracing::warn!("the thread that cleans the embedded log had panicked");
            }
        }
    }
}

#[derive(Clone)]
struct Job {
    path: PathBuf,
    turn: Arc<Mutex<()>>,
    tombstone_retention_ms: i64,
    stopping: Arc<AtomicBool>,
}

/// A partition as the cleaner sees it.
struct Partition {
    id: i64,
    compact: bool,
    retention_ms: Option<i64>,
    low: i64,
    next: i64,
    clean: i64,
    kept: i64,
    tombstones: i64,
}

impl Job {
    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    fn run(&self, stopped: &Receiver<()>) {
        let mut connection = match connect(&self.path) {
            Ok(connection) => connection,
            Err(error) => {
                tracing::warn!(%error, "the embedded log is not cleaned");
                return;
            }
        };
        // What is lost with the power is cleaned again: no need to wait for the disk.
        if let Err(error) = connection.pragma_update(None, "synchronous", "NORMAL") {
            tracing::debug!(%error, "the cleaner syncs more than it needs to");
        }
        let mut wait = LOOK_EVERY;
        while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(wait) {
            wait = LOOK_EVERY;
            if let Err(error) = self.look(&mut connection, false) {
                tracing::warn!(%error, "cleaning the embedded log failed; it is tried again");
                wait = LOOK_AGAIN;
            }
        }
    }

    /// Cleans each partition for which it is worthwhile, or all of them.
    fn look(&self, connection: &mut Connection, all: bool) -> Result<(), LogError> {
        let doing = "cleaning the embedded log";
        for partition in partitions(connection).map_err(|e| sqlite_error(doing, &self.path, &e))? {
            if self.is_stopping() {
                return Ok(());
            }
            self.clean(connection, &partition, all).map_err(|failure| failure.into_log_error(doing, &self.path))?;
        }
        Ok(())
    }

    fn clean(&self, connection: &mut Connection, partition: &Partition, all: bool) -> Result<(), Failure> {
        if partition.compact {
            if all || self.is_worthwhile(connection, partition)? {
                self.compact(connection, partition)?;
            }
            return Ok(());
        }
        match partition.retention_ms {
            Some(retention_ms) if retention_ms >= 0 => self.retain(connection, partition, retention_ms),
            _ => Ok(()),
        }
    }

    fn is_worthwhile(&self, connection: &Connection, partition: &Partition) -> Result<bool, Failure> {
        let dirty = partition.next - partition.clean;
        if dirty >= LEAST_DIRTY.max(partition.kept) {
            return Ok(true);
        }
        if dirty == 0 && partition.tombstones == 0 {
            return Ok(false);
        }
        let interval = PASS_AT_LEAST_MS.min(self.tombstone_retention_ms.max(1_000));
        let last = newest_mark(connection, partition.id, CLEANED)?;
        Ok(last.is_none_or(|(at_ms, _)| at_ms <= now_ms() - interval))
    }

    /// One pass over a compacted partition.
    fn compact(&self, connection: &mut Connection, partition: &Partition) -> Result<(), Failure> {
        let now = now_ms();
        let horizon = marked_until(connection, partition.id, CLEANED, now - self.tombstone_retention_ms)?;
        let (newest, upto) = self.newest_offsets(connection, partition)?;
        let (mut kept, mut tombstones, mut from) = (0, 0, 0);
        loop {
            let rows = scan(connection, partition.id, from, upto)?;
            let Some(last) = rows.last() else { break };
            from = last.offset + 1;
            let (remove, keep): (Vec<&Scanned>, Vec<&Scanned>) =
                rows.iter().partition(|row| is_removable(row, &newest, horizon));
            kept += i64::try_from(keep.len()).unwrap_or(i64::MAX);
            tombstones += i64::try_from(keep.iter().filter(|row| row.tombstone).count()).unwrap_or(i64::MAX);
            self.remove(connection, partition.id, &remove)?;
            if self.is_stopping() {
                return Ok(());
            }
        }
        let step = self.tombstone_retention_ms / MARKS;
        write_in_turn(&self.turn, connection, |tx| {
            tx.execute(
                "UPDATE partitions SET clean = max(clean, ?), kept = ?, tombstones = ? WHERE id = ?",
                params![upto, kept, tombstones, partition.id],
            )?;
            mark(tx, partition.id, CLEANED, now, upto, step)?;
            // Of the marks that are old enough, the newest says all.
            tx.execute(
                "DELETE FROM marks WHERE partition = ?1 AND kind = ?2 AND at_ms <
                 (SELECT max(at_ms) FROM marks WHERE partition = ?1 AND kind = ?2 AND at_ms <= ?3)",
                params![partition.id, CLEANED, now - self.tombstone_retention_ms],
            )?;
            Ok(())
        })
    }

    /// The newest offset of each key among the new records, and where the pass ends.
    fn newest_offsets(
        &self,
        connection: &Connection,
        partition: &Partition,
    ) -> rusqlite::Result<(HashMap<u128, i64>, i64)> {
        let mut newest = HashMap::new();
        let mut from = partition.clean;
        loop {
            let rows = scan(connection, partition.id, from, partition.next)?;
            let Some(last) = rows.last() else { return Ok((newest, partition.next)) };
            from = last.offset + 1;
            newest.extend(rows.iter().map(|row| (row.key, row.offset)));
            if newest.len() >= MOST_KEYS || self.is_stopping() {
                return Ok((newest, from));
            }
        }
    }

    fn remove(&self, connection: &mut Connection, id: i64, rows: &[&Scanned]) -> Result<(), Failure> {
        let delete = format!("DELETE FROM {} WHERE offset = ?", table(id));
        for chunk in rows.chunks(usize::try_from(REMOVE_ROWS).unwrap_or(usize::MAX)) {
            let begun = Instant::now();
            write_in_turn(&self.turn, connection, |tx| {
                let mut statement = tx.prepare_cached(&delete)?;
                for row in chunk {
                    statement.execute([row.offset])?;
                }
                Ok(())
            })?;
            // Half of the time is the writers'.
            thread::sleep(begun.elapsed());
        }
        Ok(())
    }

    /// Removes what a partition has held for longer than `retention_ms`.
    fn retain(&self, connection: &mut Connection, partition: &Partition, retention_ms: i64) -> Result<(), Failure> {
        let now = now_ms();
        let newest = newest_mark(connection, partition.id, APPENDED)?;
        let step = retention_ms / MARKS;
        if newest.is_none_or(|(at_ms, upto)| upto < partition.next && at_ms <= now - step) {
            write_in_turn(&self.turn, connection, |tx| {
                mark(tx, partition.id, APPENDED, now, partition.next, step)?;
                Ok(())
            })?;
        }
        let expired = marked_until(connection, partition.id, APPENDED, now - retention_ms)?;
        let delete = format!("DELETE FROM {} WHERE offset < ?", table(partition.id));
        let mut low = partition.low;
        while low < expired && !self.is_stopping() {
            low = expired.min(low + REMOVE_ROWS);
            write_in_turn(&self.turn, connection, |tx| {
                tx.prepare_cached(&delete)?.execute([low])?;
                tx.execute("UPDATE partitions SET low = max(low, ?) WHERE id = ?", [low, partition.id])?;
                tx.execute(
                    "DELETE FROM marks WHERE partition = ? AND kind = ? AND upto <= ?",
                    [partition.id, APPENDED, low],
                )?;
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// A row of a partition without its value.
struct Scanned {
    offset: i64,
    key: u128,
    tombstone: bool,
}

/// Whether a newer record of the key exists, or the row is a tombstone of before `horizon`.
fn is_removable(row: &Scanned, newest: &HashMap<u128, i64>, horizon: i64) -> bool {
    newest.get(&row.key).is_some_and(|offset| *offset > row.offset) || (row.tombstone && row.offset < horizon)
}

fn partitions(connection: &Connection) -> rusqlite::Result<Vec<Partition>> {
    connection
        .prepare_cached(
            "SELECT p.id, t.compact, t.retention_ms, p.low, p.next, p.clean, p.kept, p.tombstones
             FROM topics t JOIN partitions p ON p.topic = t.id",
        )?
        .query_map([], |row| {
            Ok(Partition {
                id: row.get(0)?,
                compact: row.get(1)?,
                retention_ms: row.get(2)?,
                low: row.get(3)?,
                next: row.get(4)?,
                clean: row.get(5)?,
                kept: row.get(6)?,
                tombstones: row.get(7)?,
            })
        })?
        .collect()
}

/// Up to [`SCAN_ROWS`] rows with offsets in `from..upto`.
fn scan(connection: &Connection, id: i64, from: i64, upto: i64) -> rusqlite::Result<Vec<Scanned>> {
    let query = format!(
        "SELECT offset, key, value IS NULL FROM {} WHERE offset >= ? AND offset < ? ORDER BY offset LIMIT ?",
        table(id)
    );
    connection
        .prepare_cached(&query)?
        .query_map([from, upto, SCAN_ROWS], |row| {
            let key = row.get_ref(1)?.as_blob_or_null()?.unwrap_or_default();
            Ok(Scanned { offset: row.get(0)?, key: xxh3_128(key), tombstone: row.get(2)? })
        })?
        .collect()
}

/// Time and offset of the newest mark.
fn newest_mark(connection: &Connection, id: i64, kind: i64) -> rusqlite::Result<Option<(i64, i64)>> {
    connection
        .prepare_cached("SELECT at_ms, upto FROM marks WHERE partition = ? AND kind = ? ORDER BY at_ms DESC LIMIT 1")?
        .query_row([id, kind], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

/// The offset below which everything had happened at `at_ms`; 0 when nothing is known.
fn marked_until(connection: &Connection, id: i64, kind: i64, at_ms: i64) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("SELECT coalesce(max(upto), 0) FROM marks WHERE partition = ? AND kind = ? AND at_ms <= ?")?
        .query_row([id, kind, at_ms], |row| row.get(0))
}

/// Sets a mark, unless the newest one is younger than `step`: marks would otherwise pile up.
fn mark(tx: &Connection, id: i64, kind: i64, at_ms: i64, upto: i64, step: i64) -> rusqlite::Result<()> {
    if newest_mark(tx, id, kind)?.is_some_and(|(newest, _)| newest > at_ms - step) {
        return Ok(());
    }
    tx.execute(
        "INSERT INTO marks (partition, kind, at_ms, upto) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (partition, kind, at_ms) DO UPDATE SET upto = max(upto, ?4)",
        [id, kind, at_ms, upto],
    )?;
    Ok(())
}
