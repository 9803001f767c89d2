//! Laying out the tables in a file.

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use super::failure::failure;
use crate::view::error::ViewError;
use crate::view::layout::{Layout, State};
use crate::view::table::quoted;

/// Makes tables that are not there, and those of a file of which some are missing; runs the SQL of newer
/// versions. What is laid out otherwise is left to whoever claims the file.
pub(super) fn migrate(connection: &mut Connection, layout: &Layout, at: &str) -> Result<(), ViewError> {
    let fail = |error| failure(at, &error);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fail)?;
    let version = version(&transaction, at)?;
    match layout.judge(version, at)? {
        State::Different if exists(&transaction, "view_owner").map_err(fail)? => return Ok(()),
        State::Different => rebuild(&transaction, layout).map_err(fail)?,
        State::Current | State::Older if !complete(&transaction, layout).map_err(fail)? => {
            tracing::warn!(at, "tables of the view are missing; making all of them anew");
            rebuild(&transaction, layout).map_err(fail)?;
        }
        State::Absent | State::Current | State::Older => run(&transaction, layout, version).map_err(fail)?,
    }
    transaction.commit().map_err(fail)
}

/// The version of the tables in a file; 0 where there are none.
pub(super) fn version(connection: &Connection, at: &str) -> Result<i64, ViewError> {
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
    read().map_err(|error| failure(at, &error))
}

fn run(transaction: &Transaction<'_>, layout: &Layout, from: i64) -> rusqlite::Result<()> {
    transaction.execute_batch(
        "CREATE TABLE IF NOT EXISTS view_migrations (version INTEGER PRIMARY KEY, applied_at TEXT NOT NULL) STRICT",
    )?;
    for (version, sql) in layout.steps_after(from) {
        transaction.execute_batch(sql)?;
        transaction
            .execute("INSERT INTO view_migrations VALUES (?1, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))", [version])?;
    }
    Ok(())
}

fn exists(transaction: &Transaction<'_>, table: &str) -> rusqlite::Result<bool> {
    transaction.prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1")?.exists([table])
}

fn complete(transaction: &Transaction<'_>, layout: &Layout) -> rusqlite::Result<bool> {
    for name in layout.tables() {
        if !exists(transaction, name)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Drops everything and creates it again: far quicker than deleting rows one by one with their
/// entries in the full-text index. The owner stays.
pub(super) fn rebuild(transaction: &Transaction<'_>, layout: &Layout) -> rusqlite::Result<()> {
    let owner: Option<i64> = match exists(transaction, "view_owner")? {
        true => transaction.query_row("SELECT generation FROM view_owner", [], |row| row.get(0)).optional()?,
        false => None,
    };
    for name in layout.tables() {
        transaction.execute_batch(&format!("DROP TABLE IF EXISTS {}", quoted(name)))?;
    }
    run(transaction, layout, 0)?;
    if let Some(owner) = owner {
        transaction.execute("UPDATE view_owner SET generation = ?1", [owner])?;
    }
    Ok(())
}
