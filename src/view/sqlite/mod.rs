//! The view's tables in a SQLite file, in WAL mode: any number of readers beside the one writer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior, params};
use serde::Deserialize;

use self::checkpoints::Checkpoints;
use self::failure::failure;
use self::rows::{prepare, write_rows};
use self::search::write_searched;
use super::batch::{Batch, Step};
use super::error::ViewError;
use super::layout::{Database, Layout, State};
use super::options::BatchConfig;
use super::spec::ViewSpec;
use super::store::{Generation, Preparation, Stored, ViewStore, next_generation};
use crate::fail_point::FailPoint;
use crate::log::TopicPartition;

mod checkpoints;
mod failure;
mod rows;
mod search;
mod tables;

/// The `[views.sqlite]` section.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SqliteConfig {
    /// The file. Created when missing, with its folders.
    pub path: PathBuf,
    /// How much is written in one transaction.
    #[serde(default)]
    pub batch: BatchConfig,
}

impl SqliteConfig {
    /// A view in the file `path`, with defaults for the rest.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), batch: BatchConfig::default() }
    }

    /// Whether a view of `spec` can work: reads the file where there is one. Changes nothing. Says what
    /// was found, for people.
    ///
    /// # Errors
    /// Those of [`SqliteStore::open`].
    pub fn check(&self, spec: &ViewSpec) -> Result<String, ViewError> {
        let at = describe(&self.path);
        let layout = Layout::new(spec, Database::Sqlite)?;
        if self.path.exists() {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(&self.path, flags).map_err(|error| failure(&at, &error))?;
            let found = layout.describe(tables::version(&connection, &at)?, &at)?;
            return Ok(format!("{at}: SQLite {}, schema {found}", rusqlite::version()));
        }
        let folder = self.path.ancestors().skip(1).find(|folder| folder.exists() || folder.as_os_str().is_empty());
        let writable = folder.is_some_and(|folder| {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            folder.metadata().is_ok_and(|metadata| metadata.is_dir() && !metadata.permissions().readonly())
        });
        if writable {
            return Ok(format!("{at}: SQLite {}, to be created", rusqlite::version()));
        }
        Err(ViewError::Denied { at, reason: "its folder cannot be written".to_owned() })
    }
}

/// How long a statement waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// See the module's documentation.
pub struct SqliteStore {
    at: String,
    // Before the connection, which is to be closed last.
    checkpoints: Checkpoints,
    connection: Connection,
    layout: Layout,
    generation: Generation,
}

impl SqliteStore {
    /// Opens the file, and creates or updates its tables.
    ///
    /// # Errors
    /// [`ViewError::Config`], [`ViewError::NewerSchema`], [`ViewError::Foreign`], [`ViewError::Denied`],
    /// [`ViewError::Damaged`], [`ViewError::Unreachable`].
    pub fn open(config: &SqliteConfig, spec: &ViewSpec) -> Result<Self, ViewError> {
        let at = describe(&config.path);
        let layout = Layout::new(spec, Database::Sqlite)?;
        if let Some(folder) = config.path.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|error| ViewError::Denied { at: at.clone(), reason: error.to_string() })?;
        }
        let mut connection = connect(&config.path).map_err(|error| failure(&at, &error))?;
        tables::migrate(&mut connection, &layout, &at)?;
        let checkpoints = Checkpoints::start(config.path.clone());
        Ok(Self { at, checkpoints, connection, layout, generation: Generation(0) })
    }

    fn begin(&mut self) -> Result<Transaction<'_>, ViewError> {
        let (at, held) = (self.at.clone(), self.generation);
        let fail = |error| failure(&at, &error);
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fail)?;
        let owner: i64 =
            transaction.query_row("SELECT generation FROM view_owner", [], |row| row.get(0)).map_err(fail)?;
        if owner != held.0 {
            return Err(ViewError::Superseded { at });
        }
        Ok(transaction)
    }
}

impl ViewStore for SqliteStore {
    fn preparation(&self) -> Preparation {
        prepare
    }

    fn claim(&mut self, held: Option<Generation>) -> Result<Generation, ViewError> {
        let at = self.at.clone();
        let fail = |error| failure(&at, &error);
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fail)?;
        let owner: i64 =
            transaction.query_row("SELECT generation FROM view_owner", [], |row| row.get(0)).map_err(fail)?;
        let generation = next_generation(owner, held).ok_or_else(|| ViewError::Superseded { at: at.clone() })?;
        if self.layout.judge(tables::version(&transaction, &at)?, &at)? == State::Different {
            tracing::warn!(at, "the tables of the view are laid out otherwise; making them anew");
            tables::rebuild(&transaction, &self.layout).map_err(fail)?;
        }
        transaction
            .execute(
                "UPDATE view_owner SET generation = ?1, claimed_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')",
                [generation.0],
            )
            .map_err(fail)?;
        transaction.commit().map_err(fail)?;
        self.generation = generation;
        Ok(generation)
    }

    fn offsets(&mut self) -> Result<BTreeMap<TopicPartition, Stored>, ViewError> {
        let read = || -> rusqlite::Result<BTreeMap<TopicPartition, Stored>> {
            let mut statement = self.connection.prepare(
                "SELECT topic, partition, next_offset, (julianday('now') - julianday(updated_at)) * 86400.0 \
                 FROM view_offsets",
            )?;
            let rows = statement.query_map([], |row| {
                let at = TopicPartition::new(row.get::<_, String>(0)?, row.get(1)?);
                let age = Duration::try_from_secs_f64(row.get(3)?).unwrap_or(Duration::ZERO);
                Ok((at, Stored { next: row.get(2)?, age }))
            })?;
            rows.collect()
        };
        read().map_err(|error| failure(&self.at, &error))
    }

    fn apply(&mut self, batch: &Batch<'_>) -> Result<(), ViewError> {
        let at = self.at.clone();
        let fail = |error| failure(&at, &error);
        let transaction = self.begin()?;
        FailPoint::ViewBegun.reach();
        for step in &batch.steps {
            if !take_step(&transaction, step).map_err(fail)? {
                return Err(ViewError::OffsetsMoved { at: at.clone() });
            }
        }
        FailPoint::ViewOffsets.reach();
        for changes in &batch.changes {
            let searched = !changes.table.searched.is_empty();
            let write = if searched { write_searched } else { write_rows };
            write(&transaction, changes).map_err(fail)?;
            FailPoint::ViewRows.reach();
        }
        for (partition, low) in &batch.forget {
            transaction
                .prepare_cached("DELETE FROM dead_letters WHERE topic = ?1 AND partition = ?2 AND record_offset < ?3")
                .and_then(|mut delete| delete.execute(params![&*partition.topic, partition.partition, low]))
                .map_err(fail)?;
        }
        FailPoint::ViewWritten.reach();
        transaction.commit().map_err(fail)?;
        self.checkpoints.committed(batch.rows());
        Ok(())
    }

    fn reset(&mut self) -> Result<(), ViewError> {
        let (at, layout) = (self.at.clone(), self.layout.clone());
        let fail = |error| failure(&at, &error);
        let transaction = self.begin()?;
        tables::rebuild(&transaction, &layout).map_err(fail)?;
        FailPoint::ViewEmptied.reach();
        transaction.commit().map_err(fail)
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // Of new files. An event takes most of a page of 4 KiB, and nothing shares the rest with it.
    connection.pragma_update(None, "page_size", 16_384)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A power cut may take the newest transactions back, rows and offsets alike: they are read again.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    // KiB. What a transaction changes should fit, or pages are written twice.
    connection.pragma_update(None, "cache_size", -131_072)?;
    connection.pragma_update(None, "wal_autocheckpoint", 16_000)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Moves one offset; false when the store does not hold what is expected.
fn take_step(transaction: &Transaction<'_>, step: &Step) -> rusqlite::Result<bool> {
    let TopicPartition { topic, partition } = &step.partition;
    let changed = match step.expected {
        Some(expected) => transaction
            .prepare_cached(
                "UPDATE view_offsets SET next_offset = ?3, updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') \
                 WHERE topic = ?1 AND partition = ?2 AND next_offset = ?4",
            )?
            .execute(params![&**topic, partition, step.next, expected])?,
        None => transaction
            .prepare_cached(
                "INSERT INTO view_offsets VALUES (?1, ?2, ?3, strftime('%Y-%m-%dT%H:%M:%fZ', 'now')) \
                 ON CONFLICT DO NOTHING",
            )?
            .execute(params![&**topic, partition, step.next])?,
    };
    Ok(changed == 1)
}

fn describe(path: &Path) -> String {
    format!("sqlite://{}", path.display())
}
