//! Checkpoints of a SQLite file beside its writer.
//!
//! What is committed lies in the write-ahead log until a checkpoint copies it into the file. SQLite does
//! that in the middle of some commit, which then takes a second. Most of the copying can be done by
//! another connection meanwhile; what it leaves is done by the writer, as ever, once the log is long.

use std::path::PathBuf;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};
use rusqlite::{Connection, OpenFlags};

/// A checkpoint is asked for after so many rows: some thirty megabytes of events.
const EVERY_ROWS: usize = 8_192;

/// A thread that checkpoints when it is told to.
pub(super) struct Checkpoints {
    /// None once the end has come.
    ask: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
    rows: usize,
}

impl Checkpoints {
    /// Starts the thread. Without it the writer does all by itself.
    pub(super) fn start(path: PathBuf) -> Self {
        let (ask, asked) = bounded(1);
        let thread = std::thread::Builder::new().name("checkpoints".to_owned()).spawn(move || {
            if let Err(error) = serve(path, &asked) {
                tracing::warn!(%error, "the SQLite view is not checkpointed beside its writer");
            }
        });
        if let Err(error) = &thread {
            tracing::warn!(%error, "the SQLite view is not checkpointed beside its writer");
        }
        Self { ask: Some(ask), thread: thread.ok(), rows: 0 }
    }

    /// So many rows were committed.
    pub(super) fn committed(&mut self, rows: usize) {
        self.rows += rows;
        if self.rows >= EVERY_ROWS {
            self.rows = 0;
            // One that is under way will do, and so will none.
            let _ = self.ask.as_ref().map(|ask| ask.try_send(()));
        }
    }
}

impl Drop for Checkpoints {
    /// The writer's connection is to be the last one: it leaves a file without a log.
    fn drop(&mut self) {
        self.ask = None;
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn serve(path: PathBuf, asked: &Receiver<()>) -> rusqlite::Result<()> {
    // Never makes a file: one that has gone is the writer's to notice.
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    while asked.recv().is_ok() {
        // Passive: it waits for nobody, and nobody for it.
        let (frames, copied): (i64, i64) =
            connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| Ok((row.get(1)?, row.get(2)?)))?;
        tracing::debug!(frames, copied, "checkpoint");
    }
    Ok(())
}
