//! The view's tables in a SQLite file, in WAL mode: any number of readers beside the one writer.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::fmt::temporal::DateTimePrinter;
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, Statement, ToSql, Transaction, TransactionBehavior, params,
};
use serde::Deserialize;

use super::checkpoints::Checkpoints;
use super::rows::{Cell, Changes, EVENTS, Kind, Row, TABLES, Table};
use super::{Batch, BatchConfig, Generation, Preparation, Step, Stored, ViewError, ViewStore};
use crate::fail_point::FailPoint;
use crate::log::TopicPartition;

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

    /// Whether the view can work: reads the file where there is one. Changes nothing. Says what
    /// was found, for people.
    pub fn check(&self) -> Result<String, ViewError> {
        let at = describe(&self.path);
        if self.path.exists() {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(&self.path, flags).map_err(|error| failure(&at, &error))?;
            let version = schema_version(&connection, &at)?;
            return Ok(format!("{at}: SQLite {}, schema version {version}", rusqlite::version()));
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

/// Each entry is one version of the schema, from 1.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/sqlite/0001_tables.sql"),
    include_str!("migrations/sqlite/0002_search_by_batch.sql"),
    include_str!("migrations/sqlite/0003_larger_search_batches.sql"),
    include_str!("migrations/sqlite/0004_fewer_merges.sql"),
];

/// How long a statement waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// See the module's documentation.
pub struct SqliteStore {
    at: String,
    // Before the connection, which is to be closed last.
    checkpoints: Checkpoints,
    connection: Connection,
    generation: Generation,
}

impl SqliteStore {
    /// Opens the file, and creates or updates its tables.
    ///
    /// # Errors
    /// [`ViewError::NewerSchema`], [`ViewError::Denied`], [`ViewError::Damaged`],
    /// [`ViewError::Unreachable`].
    pub fn open(config: &SqliteConfig) -> Result<Self, ViewError> {
        let at = describe(&config.path);
        if let Some(folder) = config.path.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|error| ViewError::Denied { at: at.clone(), reason: error.to_string() })?;
        }
        let mut connection = connect(&config.path).map_err(|error| failure(&at, &error))?;
        migrate(&mut connection, &at)?;
        let checkpoints = Checkpoints::start(config.path.clone());
        Ok(Self { at, checkpoints, connection, generation: Generation(0) })
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
        |changes| {
            for row in &mut changes.upserts {
                for (column, cell) in changes.table.columns.iter().zip(row) {
                    // What cannot be written as text is told where it is bound.
                    let text = match (Bound { kind: column.kind, cell }).to_sql() {
                        Ok(ToSqlOutput::Owned(Value::Text(text))) => text,
                        _ => continue,
                    };
                    *cell = Cell::Text(text.into());
                }
            }
        }
    }

    fn claim(&mut self, held: Option<Generation>) -> Result<Generation, ViewError> {
        let at = self.at.clone();
        let fail = |error| failure(&at, &error);
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fail)?;
        let owner: i64 =
            transaction.query_row("SELECT generation FROM view_owner", [], |row| row.get(0)).map_err(fail)?;
        let generation = next_generation(owner, held).ok_or_else(|| ViewError::Superseded { at: at.clone() })?;
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
            write_changes(&transaction, changes).map_err(fail)?;
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
        let (at, held) = (self.at.clone(), self.generation);
        let transaction = self.begin()?;
        rebuild_tables(&transaction, &at)?;
        FailPoint::ViewEmptied.reach();
        transaction
            .execute("UPDATE view_owner SET generation = ?1", [held.0])
            .and_then(|_| transaction.commit())
            .map_err(|error| failure(&at, &error))
    }
}

/// The generation that an instance gets which holds `held`, where `owner` is the newest known:
/// none when it was superseded. A store that knows less than the instance was made anew.
pub(super) fn next_generation(owner: i64, held: Option<Generation>) -> Option<Generation> {
    match held {
        None => Some(Generation(owner.saturating_add(1))),
        Some(held) if owner <= held.0 => Some(held),
        Some(_) => None,
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

fn migrate(connection: &mut Connection, at: &str) -> Result<(), ViewError> {
    let fail = |error| failure(at, &error);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fail)?;
    let version = schema_version(&transaction, at)?;
    if version > 0 && !tables_complete(&transaction).map_err(fail)? {
        tracing::warn!(at, "tables of the view are missing; making all of them anew");
        rebuild_tables(&transaction, at)?;
    } else {
        run_migrations(&transaction, version).map_err(fail)?;
    }
    transaction.commit().map_err(fail)
}

fn schema_version(connection: &Connection, at: &str) -> Result<i64, ViewError> {
    let read = || -> rusqlite::Result<i64> {
        let known: Option<i64> = connection
            .query_row("SELECT 1 FROM sqlite_schema WHERE name = 'view_migrations'", [], |row| row.get(0))
            .optional()?;
        match known {
            Some(_) => {
                connection.query_row("SELECT coalesce(max(version), 0) FROM view_migrations", [], |row| row.get(0))
            }
            None => Ok(0),
        }
    };
    let version = read().map_err(|error| failure(at, &error))?;
    let known = MIGRATIONS.len() as i64;
    if version > known {
        return Err(ViewError::NewerSchema { at: at.to_owned(), found: version, known });
    }
    Ok(version)
}

fn run_migrations(transaction: &Transaction<'_>, from: i64) -> rusqlite::Result<()> {
    transaction.execute_batch(
        "CREATE TABLE IF NOT EXISTS view_migrations (version INTEGER PRIMARY KEY, applied_at TEXT NOT NULL) STRICT",
    )?;
    for (sql, version) in MIGRATIONS.iter().zip(1..).skip_while(|(_, version)| *version <= from) {
        transaction.execute_batch(sql)?;
        transaction
            .execute("INSERT INTO view_migrations VALUES (?1, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))", [version])?;
    }
    Ok(())
}

fn own_tables() -> impl Iterator<Item = &'static str> {
    TABLES.iter().map(|table| table.name).chain(["events_search", "view_offsets", "view_owner", "view_migrations"])
}

fn tables_complete(transaction: &Transaction<'_>) -> rusqlite::Result<bool> {
    let mut lookup = transaction.prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1")?;
    for name in own_tables() {
        if !lookup.exists([name])? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Drops everything and creates it again: far quicker than deleting rows one by one with their
/// entries in the full-text index.
fn rebuild_tables(transaction: &Transaction<'_>, at: &str) -> Result<(), ViewError> {
    let run = || -> rusqlite::Result<()> {
        for name in own_tables() {
            transaction.execute_batch(&format!("DROP TABLE IF EXISTS {name}"))?;
        }
        run_migrations(transaction, 0)
    };
    run().map_err(|error| failure(at, &error))
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

fn write_changes(transaction: &Transaction<'_>, changes: &Changes<'_>) -> rusqlite::Result<()> {
    if changes.table.name == EVENTS.name {
        return write_events(transaction, changes);
    }
    if !changes.upserts.is_empty() {
        let mut upsert = transaction.prepare_cached(&upsert_sql(changes.table))?;
        for row in &changes.upserts {
            bind(&mut upsert, changes.table, row)?;
            upsert.raw_execute()?;
        }
    }
    delete(transaction, changes)
}

fn delete(transaction: &Transaction<'_>, changes: &Changes<'_>) -> rusqlite::Result<()> {
    if changes.deletes.is_empty() {
        return Ok(());
    }
    let Table { name, columns, .. } = changes.table;
    let key = columns.first().map_or("rowid", |column| column.name);
    let mut delete = transaction.prepare_cached(&format!("DELETE FROM {name} WHERE {key} = ?1"))?;
    for key in &changes.deletes {
        delete.execute([key])?;
    }
    Ok(())
}

/// The columns of an event that the full-text index holds.
const SEARCHED: [&str; 7] = ["title", "description", "venue_name", "city", "organizer", "category", "tags"];

/// What the full-text index holds of an event.
type Texts<'a> = [Option<Cow<'a, str>>; SEARCHED.len()];

/// What changes in one row of the full-text index.
struct Reindexed<'a> {
    row: i64,
    before: Option<Texts<'a>>,
    now: Option<Texts<'a>>,
}

/// Writes events, and then the full-text index in the order of its rows: it collects what comes in
/// that order, and writes everything out where the order is broken or a statement may have to be
/// taken back, as one that fires triggers or writes several rows may.
fn write_events(transaction: &Transaction<'_>, changes: &Changes<'_>) -> rusqlite::Result<()> {
    let mut reindexed = Vec::with_capacity(changes.upserts.len() + changes.deletes.len());
    let searched = searched_columns();
    let mut lookup =
        transaction.prepare_cached(&format!("SELECT search, {} FROM events WHERE id = ?1", SEARCHED.join(", ")))?;
    if !changes.upserts.is_empty() {
        let mut upsert = transaction.prepare_cached(&upsert_where_wanted_sql(changes.table))?;
        let replaces = changes.table.columns.len() + 1;
        for row in &changes.upserts {
            bind(&mut upsert, changes.table, row)?;
            upsert.raw_bind_parameter(replaces, false)?;
            // Most are new, and need not be looked for.
            let known = match (upsert.raw_execute()?, row.first()) {
                (0, Some(Cell::Text(id))) => known_event(&mut lookup, id)?,
                _ => None,
            };
            let (row_number, before) = match known {
                Some((number, texts)) => {
                    upsert.raw_bind_parameter(replaces, true)?;
                    upsert.raw_execute()?;
                    (number, Some(texts))
                }
                None => (transaction.last_insert_rowid(), None),
            };
            let now = Some(texts_of(row, &searched)?);
            if before != now {
                reindexed.push(Reindexed { row: row_number, before, now });
            }
        }
    }
    for id in &changes.deletes {
        if let Some((row, before)) = known_event(&mut lookup, id)? {
            reindexed.push(Reindexed { row, before: Some(before), now: None });
        }
    }
    delete(transaction, changes)?;
    reindexed.sort_by_key(|change| change.row);
    write_index(transaction, &reindexed)
}

/// The row of a known event in the full-text index, and what the index holds of it.
fn known_event(lookup: &mut Statement<'_>, id: &str) -> rusqlite::Result<Option<(i64, Texts<'static>)>> {
    let read = |found: &rusqlite::Row<'_>| {
        let mut texts = Texts::default();
        for (column, text) in texts.iter_mut().enumerate() {
            *text = found.get::<_, Option<String>>(column + 1)?.map(Cow::Owned);
        }
        Ok((found.get(0)?, texts))
    };
    lookup.query_row([id], read).optional()
}

/// Where the cells of [`SEARCHED`] are in a row.
fn searched_columns() -> [Option<usize>; SEARCHED.len()] {
    SEARCHED.map(|name| EVENTS.columns.iter().position(|column| column.name == name))
}

fn texts_of<'a>(row: &'a Row<'_>, searched: &[Option<usize>]) -> rusqlite::Result<Texts<'a>> {
    let mut texts = Texts::default();
    for (text, column) in texts.iter_mut().zip(searched) {
        *text = match column.and_then(|column| row.get(column)) {
            Some(Cell::Text(text)) => Some(Cow::Borrowed(&**text)),
            Some(Cell::List(items)) => Some(Cow::Owned(list_json(items)?)),
            _ => None,
        };
    }
    Ok(texts)
}

fn write_index(transaction: &Transaction<'_>, changes: &[Reindexed<'_>]) -> rusqlite::Result<()> {
    let columns = SEARCHED.join(", ");
    let mut forget = transaction.prepare_cached(&format!(
        "INSERT INTO events_search (events_search, rowid, {columns}) VALUES ('delete', ?, ?, ?, ?, ?, ?, ?, ?)"
    ))?;
    let mut learn = transaction
        .prepare_cached(&format!("INSERT INTO events_search (rowid, {columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"))?;
    for change in changes {
        for (statement, texts) in [(&mut forget, &change.before), (&mut learn, &change.now)] {
            let Some(texts) = texts else { continue };
            statement.raw_bind_parameter(1, change.row)?;
            for (place, text) in (2..).zip(texts) {
                statement.raw_bind_parameter(place, text.as_deref())?;
            }
            statement.raw_execute()?;
        }
    }
    Ok(())
}

fn upsert_sql(table: &Table) -> String {
    let names: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
    let places = vec!["?"; names.len()].join(", ");
    let key = names.get(..table.key).unwrap_or_default().join(", ");
    let mut sql = format!(
        "INSERT INTO {} ({}) VALUES ({places}) ON CONFLICT ({key}) DO UPDATE SET ",
        table.name,
        names.join(", ")
    );
    for (index, name) in names.iter().skip(table.key).enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        // Writing to a String cannot fail.
        let _ = write!(sql, "{comma}{name} = excluded.{name}");
    }
    sql
}

/// The upsert with one more parameter: whether a row that is known is replaced, or left alone. What is
/// bound for a first try need not be bound again for the second.
fn upsert_where_wanted_sql(table: &Table) -> String {
    upsert_sql(table) + " WHERE ?"
}

fn bind(statement: &mut Statement<'_>, table: &Table, row: &Row<'_>) -> rusqlite::Result<()> {
    for (index, (column, cell)) in table.columns.iter().zip(row).enumerate() {
        statement.raw_bind_parameter(index + 1, Bound { kind: column.kind, cell })?;
    }
    Ok(())
}

/// Times of one length sort as text. A row has several, and what `Display` goes through costs more
/// than the text.
const TIMES: DateTimePrinter = DateTimePrinter::new().precision(Some(3));

fn time_text(ms: i64) -> rusqlite::Result<String> {
    jiff::Timestamp::from_millisecond(ms)
        .map(|at| TIMES.timestamp_to_string(&at))
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

/// A cell as SQLite stores it.
struct Bound<'a> {
    kind: Kind,
    cell: &'a Cell<'a>,
}

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match (self.cell, self.kind) {
            (Cell::Null, _) => ToSqlOutput::Borrowed(ValueRef::Null),
            (Cell::Text(text), _) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            (Cell::List(items), _) => ToSqlOutput::Owned(Value::Text(list_json(items)?)),
            (Cell::Int(ms), Kind::Time) => ToSqlOutput::Owned(Value::Text(time_text(*ms)?)),
            (Cell::Int(thousandths), Kind::Money) => ToSqlOutput::Owned(Value::Real(*thousandths as f64 / 1000.0)),
            (Cell::Int(number), _) => ToSqlOutput::Owned(Value::Integer(*number)),
            (Cell::Real(number), _) => ToSqlOutput::Owned(Value::Real(*number)),
            (Cell::Bool(truth), _) => ToSqlOutput::Owned(Value::Integer(i64::from(*truth))),
            (Cell::Bytes(bytes), _) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
        })
    }
}

fn list_json(items: &[Cow<'_, str>]) -> rusqlite::Result<String> {
    serde_json::to_string(items).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

fn describe(path: &Path) -> String {
    format!("sqlite://{}", path.display())
}

/// What an error of SQLite means for the view.
fn failure(at: &str, error: &rusqlite::Error) -> ViewError {
    let (at, reason) = (at.to_owned(), error.to_string());
    if reason.contains("no such table") {
        return ViewError::TablesMissing { at, reason };
    }
    match error.sqlite_error_code() {
        Some(
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::DiskFull | ErrorCode::SystemIoFailure,
        ) => ViewError::Unreachable { at, reason },
        Some(ErrorCode::SchemaChanged) => ViewError::TablesMissing { at, reason },
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            ViewError::Denied { at, reason }
        }
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => ViewError::Damaged { at, reason },
        Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch) => {
            ViewError::Rejected { at, reason }
        }
        _ => ViewError::Failed { doing: "writing the SQLite view", reason },
    }
}
