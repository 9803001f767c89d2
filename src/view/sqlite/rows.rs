//! Writing rows: one statement a row.

use std::borrow::Cow;

use jiff::fmt::temporal::DateTimePrinter;
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Statement, ToSql, Transaction};

use crate::view::batch::Changes;
use crate::view::table::{Cell, Kind, Row, Table, quoted, quoted_list};

/// Makes of cells what is bound, where that takes time.
pub(super) fn prepare(changes: &mut Changes<'_>) {
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

pub(super) fn write_rows(transaction: &Transaction<'_>, changes: &Changes<'_>) -> rusqlite::Result<()> {
    if !changes.upserts.is_empty() {
        let mut upsert = transaction.prepare_cached(&upsert_sql(changes.table))?;
        for row in &changes.upserts {
            bind(&mut upsert, changes.table, row)?;
            upsert.raw_execute()?;
        }
    }
    delete(transaction, changes)
}

pub(super) fn delete(transaction: &Transaction<'_>, changes: &Changes<'_>) -> rusqlite::Result<()> {
    if changes.deletes.is_empty() {
        return Ok(());
    }
    let (name, key) = (quoted(changes.table.name), quoted(changes.table.key_column()));
    let mut delete = transaction.prepare_cached(&format!("DELETE FROM {name} WHERE {key} = ?1"))?;
    for key in &changes.deletes {
        delete.execute([key])?;
    }
    Ok(())
}

pub(super) fn upsert_sql(table: &Table) -> String {
    let names: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
    let (key, rest) = names.split_at(table.key.min(names.len()));
    let set = rest.iter().map(|name| format!("{name} = excluded.{name}", name = quoted(name)));
    format!(
        "INSERT INTO {table} ({columns}) VALUES ({places}) ON CONFLICT ({key}) DO UPDATE SET {set}",
        table = quoted(table.name),
        columns = quoted_list(names.iter().copied()),
        places = vec!["?"; names.len()].join(", "),
        key = quoted_list(key.iter().copied()),
        set = set.collect::<Vec<_>>().join(", "),
    )
}

pub(super) fn bind(statement: &mut Statement<'_>, table: &Table, row: &Row<'_>) -> rusqlite::Result<()> {
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

pub(super) fn list_json(items: &[Cow<'_, str>]) -> rusqlite::Result<String> {
    serde_json::to_string(items).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}
