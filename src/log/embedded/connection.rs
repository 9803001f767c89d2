//! Connections to the file, transactions in turn, and what SQLite's errors mean.

use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};

use crate::error::Domain;
use crate::log::LogError;

/// How long a writer waits for one in another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(60);

/// Prepared statements kept by a connection: a few for each partition in use.
const STATEMENTS: usize = 512;

/// Locks, also after a panic elsewhere: everything behind these locks is whole at any time.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Milliseconds since the Unix epoch.
pub(super) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// What went wrong inside a SQLite transaction: with SQLite, or with what was asked for.
#[derive(Debug)]
pub(super) enum Failure {
    Sqlite(rusqlite::Error),
    Log(LogError),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

impl Failure {
    /// As an error of the log in `path`.
    pub(super) fn into_log_error(self, doing: &'static str, path: &Path) -> LogError {
        match self {
            Self::Sqlite(error) => sqlite_error(doing, path, &error),
            Self::Log(error) => error,
        }
    }
}

/// What SQLite reported, as an error of the log in `path`.
pub(super) fn sqlite_error(doing: &'static str, path: &Path, error: &rusqlite::Error) -> LogError {
    let at = path.display().to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            LogError::Damaged { at, reason: error.to_string() }
        }
        // SQLite does not say why; the file system does.
        Some(code @ (ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied)) => {
            match OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path) {
                Ok(_) if code == ErrorCode::CannotOpen => LogError::Failed { doing, reason: format!("{at}: {error}") },
                Ok(_) => LogError::Place { at, reason: error.to_string() },
                Err(cause) => file_error(doing, path, &cause),
            }
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => LogError::Unreachable {
            at: format!("embedded://{at}"),
            reason: "another process keeps it locked".to_owned(),
        },
        _ => LogError::Failed { doing, reason: format!("{at}: {error}") },
    }
}

/// What the file system reported of the log in `path`.
pub(super) fn file_error(doing: &'static str, path: &Path, error: &io::Error) -> LogError {
    let at = path.display().to_string();
    match Domain::of_file(error) {
        Domain::User => LogError::Place { at, reason: error.to_string() },
        _ => LogError::Failed { doing, reason: format!("{at}: {error}") },
    }
}

/// Runs `work` in a transaction that holds SQLite's write lock, and commits it.
pub(super) fn write_in_turn<T>(
    turn: &Mutex<()>,
    connection: &mut Connection,
    work: impl FnOnce(&Transaction<'_>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let _turn = lock(turn);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let result = work(&transaction)?;
    transaction.commit()?;
    Ok(result)
}

/// A connection with the settings that every handle needs.
pub(super) fn connect(path: &Path) -> Result<Connection, LogError> {
    let open = || -> rusqlite::Result<Connection> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", false)?;
        // In KiB: room for the right-hand ends of many partitions.
        connection.pragma_update(None, "cache_size", -32_768)?;
        // In pages: fewer, larger checkpoints; each of them syncs the file.
        connection.pragma_update(None, "wal_autocheckpoint", 4_000)?;
        connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(connection)
    };
    open().map_err(|e| sqlite_error("opening the embedded log", path, &e))
}

/// The table of a partition, by the partition's id.
pub(super) fn table(partition: i64) -> String {
    format!("records_{partition}")
}
