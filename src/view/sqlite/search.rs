//! The full-text index of a table, which the view keeps itself: a trigger had it written out with every row.

use std::borrow::Cow;

use rusqlite::{OptionalExtension, Statement, Transaction};
use smallvec::SmallVec;

use super::rows::{bind, delete, list_json, upsert_sql};
use crate::view::batch::Changes;
use crate::view::spec::SEARCH;
use crate::view::table::{Cell, Row, Table, quoted, quoted_list};

/// What the full-text index holds of a row: the searched columns.
type Texts<'a> = SmallVec<[Option<Cow<'a, str>>; 8]>;

/// What changes in one row of the full-text index.
struct Reindexed<'a> {
    row: i64,
    before: Option<Texts<'a>>,
    now: Option<Texts<'a>>,
}

/// Writes rows, and then the full-text index in the order of its rows: it collects what comes in
/// that order, and writes everything out where the order is broken or a statement may have to be
/// taken back, as one that fires triggers or writes several rows may.
pub(super) fn write_searched(transaction: &Transaction<'_>, changes: &Changes<'_>) -> rusqlite::Result<()> {
    let table = changes.table;
    let mut reindexed = Vec::with_capacity(changes.upserts.len() + changes.deletes.len());
    let mut lookup = transaction.prepare_cached(&lookup_sql(table))?;
    if !changes.upserts.is_empty() {
        let searched: Vec<Option<usize>> = table.searched.iter().map(|name| table.place(name)).collect();
        let mut upsert = transaction.prepare_cached(&upsert_where_wanted_sql(table))?;
        let replaces = table.columns.len() + 1;
        for row in &changes.upserts {
            bind(&mut upsert, table, row)?;
            upsert.raw_bind_parameter(replaces, false)?;
            // Most are new, and need not be looked for.
            let known = match (upsert.raw_execute()?, row.first()) {
                (0, Some(Cell::Text(key))) => known_row(&mut lookup, table, key)?,
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
    for key in &changes.deletes {
        if let Some((row, before)) = known_row(&mut lookup, table, key)? {
            reindexed.push(Reindexed { row, before: Some(before), now: None });
        }
    }
    delete(transaction, changes)?;
    reindexed.sort_by_key(|change| change.row);
    write_index(transaction, table, &reindexed)
}

fn lookup_sql(table: &Table) -> String {
    let columns = quoted_list(table.searched.iter().copied());
    let (name, key) = (quoted(table.name), quoted(table.key_column()));
    format!("SELECT {SEARCH}, {columns} FROM {name} WHERE {key} = ?1")
}

/// The upsert with one more parameter: whether a row that is known is replaced, or left alone. What is
/// bound for a first try need not be bound again for the second.
fn upsert_where_wanted_sql(table: &Table) -> String {
    upsert_sql(table) + " WHERE ?"
}

/// The row of a known key in the full-text index, and what the index holds of it.
fn known_row<'a>(lookup: &mut Statement<'_>, table: &Table, key: &str) -> rusqlite::Result<Option<(i64, Texts<'a>)>> {
    let read = |found: &rusqlite::Row<'_>| {
        let text = |column| Ok(found.get::<_, Option<String>>(column)?.map(Cow::Owned));
        let texts: rusqlite::Result<Texts<'a>> = (1..=table.searched.len()).map(text).collect();
        Ok((found.get(0)?, texts?))
    };
    lookup.query_row([key], read).optional()
}

fn texts_of<'a>(row: &'a Row<'_>, searched: &[Option<usize>]) -> rusqlite::Result<Texts<'a>> {
    let text = |place: &Option<usize>| {
        Ok(match place.and_then(|place| row.get(place)) {
            Some(Cell::Text(text)) => Some(Cow::Borrowed(&**text)),
            Some(Cell::List(items)) => Some(Cow::Owned(list_json(items)?)),
            _ => None,
        })
    };
    searched.iter().map(text).collect()
}

fn write_index(transaction: &Transaction<'_>, table: &Table, changes: &[Reindexed<'_>]) -> rusqlite::Result<()> {
    let columns = quoted_list(table.searched.iter().copied());
    let index = quoted(&table.search_index());
    let places = vec!["?"; table.searched.len() + 1].join(", ");
    let mut forget = transaction
        .prepare_cached(&format!("INSERT INTO {index} ({index}, rowid, {columns}) VALUES ('delete', {places})"))?;
    let mut learn = transaction.prepare_cached(&format!("INSERT INTO {index} (rowid, {columns}) VALUES ({places})"))?;
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
