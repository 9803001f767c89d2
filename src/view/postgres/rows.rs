//! Writing rows: one statement a table, to which each column travels as one array.

use std::time::{Duration, SystemTime};

use postgres::types::ToSql;
use postgres::{Statement, Transaction};

use crate::view::batch::Changes;
use crate::view::table::{Cell, Column, Kind, Row, Table, quoted, quoted_list};

pub(super) fn write_changes(
    transaction: &mut Transaction<'_>,
    changes: &Changes<'_>,
    upsert: Option<&Statement>,
) -> Result<(), postgres::Error> {
    if let Some(upsert) = upsert.filter(|_| !changes.upserts.is_empty()) {
        let columns = changes.table.columns.iter().enumerate();
        let arrays: Vec<Array<'_>> = columns.map(|(index, column)| array(&changes.upserts, index, column)).collect();
        let arrays: Vec<&(dyn ToSql + Sync)> = arrays.iter().map(|array| &**array as &(dyn ToSql + Sync)).collect();
        transaction.execute(upsert, &arrays)?;
    }
    if !changes.deletes.is_empty() {
        let (name, key) = (quoted(changes.table.name), quoted(changes.table.key_column()));
        let sql = format!("DELETE FROM {name} WHERE {key} = ANY($1)");
        transaction.execute(&sql, &[&changes.deletes])?;
    }
    Ok(())
}

pub(super) fn upsert_sql(table: &Table) -> String {
    let names: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
    let parameters = table.columns.iter().zip(1..).map(|(column, n)| format!("${n}::{}", array_type(column.kind)));
    let values = table.columns.iter().map(value_sql);
    let (key, rest) = names.split_at(table.key.min(names.len()));
    let set = rest.iter().map(|name| format!("{name} = excluded.{name}", name = quoted(name)));
    format!(
        "INSERT INTO {table} ({columns}) SELECT {values} FROM unnest({parameters}) AS given ({columns}) \
         ON CONFLICT ({key}) DO UPDATE SET {set}",
        table = quoted(table.name),
        columns = quoted_list(names.iter().copied()),
        values = values.collect::<Vec<_>>().join(", "),
        parameters = parameters.collect::<Vec<_>>().join(", "),
        key = quoted_list(key.iter().copied()),
        set = set.collect::<Vec<_>>().join(", "),
    )
}

/// The type by which a column travels.
fn array_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Text | Kind::List | Kind::Date | Kind::Json => "text[]",
        Kind::Int | Kind::Money => "int8[]",
        Kind::Real => "float8[]",
        Kind::Bool => "bool[]",
        Kind::Time => "timestamptz[]",
        Kind::Bytes => "bytea[]",
    }
}

/// From what travels to what is stored.
fn value_sql(column: &Column) -> String {
    let name = quoted(column.name);
    match column.kind {
        Kind::List => format!("given.{name}::text[]"),
        Kind::Date => format!("given.{name}::date"),
        Kind::Json => format!("given.{name}::jsonb"),
        Kind::Money => format!("given.{name}::numeric / 1000"),
        Kind::Text | Kind::Int | Kind::Real | Kind::Bool | Kind::Time | Kind::Bytes => format!("given.{name}"),
    }
}

type Array<'a> = Box<dyn ToSql + Sync + 'a>;

/// One column of all rows. A cell that does not fit its column's kind is NULL; an assertion
/// where rows are made holds rows and tables together.
fn array<'a>(rows: &'a [Row<'a>], index: usize, column: &Column) -> Array<'a> {
    fn collect<'a, T>(rows: &'a [Row<'a>], index: usize, get: impl Fn(&'a Cell<'a>) -> Option<T>) -> Vec<Option<T>> {
        rows.iter().map(|row| row.get(index).and_then(&get)).collect()
    }
    match column.kind {
        Kind::Text | Kind::Date | Kind::Json => Box::new(collect(rows, index, |cell| match cell {
            Cell::Text(text) => Some(&**text),
            _ => None,
        })),
        Kind::List => Box::new(collect(rows, index, |cell| match cell {
            Cell::List(items) => Some(array_literal(items)),
            _ => None,
        })),
        Kind::Int | Kind::Money => Box::new(collect(rows, index, |cell| match cell {
            Cell::Int(number) => Some(*number),
            _ => None,
        })),
        Kind::Real => Box::new(collect(rows, index, |cell| match cell {
            Cell::Real(number) => Some(*number),
            _ => None,
        })),
        Kind::Bool => Box::new(collect(rows, index, |cell| match cell {
            Cell::Bool(truth) => Some(*truth),
            _ => None,
        })),
        Kind::Time => Box::new(collect(rows, index, |cell| match cell {
            Cell::Int(ms) => system_time(*ms),
            _ => None,
        })),
        Kind::Bytes => Box::new(collect(rows, index, |cell| match cell {
            Cell::Bytes(bytes) => Some(*bytes),
            _ => None,
        })),
    }
}

fn system_time(ms: i64) -> Option<SystemTime> {
    let distance = Duration::from_millis(ms.unsigned_abs());
    if ms < 0 { SystemTime::UNIX_EPOCH.checked_sub(distance) } else { SystemTime::UNIX_EPOCH.checked_add(distance) }
}

/// A list in the text form of Postgres arrays: `unnest` cannot make rows of arrays of arrays.
fn array_literal<S: AsRef<str>>(items: &[S]) -> String {
    let mut literal = String::from("{");
    for (index, item) in items.iter().enumerate() {
        literal.push_str(if index == 0 { "\"" } else { ",\"" });
        for c in item.as_ref().chars() {
            if matches!(c, '"' | '\\') {
                literal.push('\\');
            }
            literal.push(c);
        }
        literal.push('"');
    }
    literal.push('}');
    literal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_quoted() {
        assert_eq!(array_literal::<&str>(&[]), "{}");
        assert_eq!(array_literal(&["a", "b,\"c\\", "NULL", ""]), r#"{"a","b,\"c\\","NULL",""}"#);
    }
}
