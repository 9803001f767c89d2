//! How tables are laid out in a database, and which version of the layout it has.
//!
//! Where a topology writes the SQL by itself, versions count from 1. Else the layout follows from the
//! declared columns, and its version is a number that two different layouts, and two topologies, do not
//! share: the upper half is a hash of the topology's name, the lower one of the SQL. The upper half is
//! never 0, as it is of versions that count.

use std::borrow::Cow;

use xxhash_rust::xxh3::xxh3_64;

use super::error::ViewError;
use super::spec::{Migrations, OWN_TABLES, SEARCH, ViewSpec};
use super::table::{Column, Kind, Table, quoted, quoted_list};

/// A kind of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Database {
    Postgres,
    Sqlite,
}

/// The layout of a view's tables in one kind of database.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// SQL, each with the version that it makes, in order. The first makes all tables.
    steps: Vec<(i64, Cow<'static, str>)>,
    /// Every table, in the order of their creation.
    tables: Vec<String>,
}

/// What is to be done to tables that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing is there yet.
    Absent,
    /// They are as they should be.
    Current,
    /// The SQL of newer versions is to be run.
    Older,
    /// They were laid out otherwise, and are to be made anew.
    Different,
}

impl Layout {
    /// # Errors
    /// [`ViewError::Config`] where the declarations are wrong.
    pub(super) fn new(spec: &ViewSpec, database: Database) -> Result<Self, ViewError> {
        spec.check()?;
        let tables = spec.tables();
        let searched = |table: &&&Table| database == Database::Sqlite && !table.searched.is_empty();
        let indexes = tables.iter().filter(searched).map(|table| table.search_index());
        let names = tables.iter().map(|table| table.name.to_owned()).chain(indexes);
        let names = names.chain(OWN_TABLES.iter().map(|name| (*name).to_owned())).collect();
        let steps = match spec.migrations() {
            Some(Migrations { postgres, sqlite }) => {
                let written = if database == Database::Postgres { postgres } else { sqlite };
                (1..).zip(written.iter().map(|sql| Cow::Borrowed(*sql))).collect()
            }
            None => {
                let sql = derived(&tables, database);
                vec![(derived_version(spec.name(), &sql), Cow::Owned(sql))]
            }
        };
        Ok(Self { steps, tables: names })
    }

    /// The newest version.
    pub(super) fn version(&self) -> i64 {
        self.steps.last().map_or(0, |(version, _)| *version)
    }

    /// The SQL that follows `version`, each with the version that it makes.
    pub(super) fn steps_after(&self, version: i64) -> impl Iterator<Item = &(i64, Cow<'static, str>)> {
        self.steps.iter().filter(move |(step, _)| *step > version)
    }

    /// The names of all tables, those of the runtime too.
    pub(super) fn tables(&self) -> &[String] {
        &self.tables
    }

    /// What is to be done where `found` is the version of the tables, 0 where none is there.
    ///
    /// # Errors
    /// [`ViewError::NewerSchema`], and [`ViewError::Foreign`] where the tables are another topology's.
    pub(super) fn judge(&self, found: i64, at: &str) -> Result<State, ViewError> {
        let known = self.version();
        match (found, topology_of(known)) {
            (0, _) => Ok(State::Absent),
            (_, own) if topology_of(found) != own => Err(ViewError::Foreign { at: at.to_owned() }),
            (_, 0) if found > known => Err(ViewError::NewerSchema { at: at.to_owned(), found, known }),
            (_, 0) if found < known => Ok(State::Older),
            _ if found == known => Ok(State::Current),
            _ => Ok(State::Different),
        }
    }

    /// The same for people.
    ///
    /// # Errors
    /// As [`Layout::judge`].
    pub(super) fn describe(&self, found: i64, at: &str) -> Result<String, ViewError> {
        Ok(match self.judge(found, at)? {
            State::Absent => "to be created".to_owned(),
            State::Different => "laid out otherwise, to be made anew".to_owned(),
            State::Current | State::Older if topology_of(found) == 0 => format!("version {found}"),
            State::Current | State::Older => "laid out as declared".to_owned(),
        })
    }
}

/// The half of a version that stands for the topology; 0 where versions count.
fn topology_of(version: i64) -> i64 {
    version >> 32
}

fn derived_version(name: &str, sql: &str) -> i64 {
    let topology = (xxh3_64(name.as_bytes()) % (i32::MAX as u64 - 1) + 1) as i64;
    topology << 32 | i64::from(xxh3_64(sql.as_bytes()) as u32)
}

/// SQL that makes the tables as they are declared, and those of the runtime.
fn derived(tables: &[&Table], database: Database) -> String {
    let mut sql = String::from(match database {
        Database::Postgres => POSTGRES_OWN,
        Database::Sqlite => SQLITE_OWN,
    });
    for table in tables {
        sql.push_str(&match database {
            Database::Postgres => postgres_table(table),
            Database::Sqlite => sqlite_table(table),
        });
        for columns in table.indexes {
            let name = quoted(&format!("{}_{}", table.name, columns.join("_")));
            let columns = quoted_list(columns.iter().copied());
            sql.push_str(&format!("CREATE INDEX {name} ON {} ({columns});\n", quoted(table.name)));
        }
    }
    sql
}

const POSTGRES_OWN: &str = "\
CREATE TABLE view_owner (
    single boolean PRIMARY KEY DEFAULT true CHECK (single), generation bigint NOT NULL, claimed_at timestamptz NOT NULL
);
INSERT INTO view_owner (generation, claimed_at) VALUES (0, now());
CREATE TABLE view_offsets (
    topic text COLLATE \"C\" NOT NULL, partition integer NOT NULL, next_offset bigint NOT NULL,
    updated_at timestamptz NOT NULL, PRIMARY KEY (topic, partition)
);
";

const SQLITE_OWN: &str = "\
CREATE TABLE view_owner (
    single INTEGER PRIMARY KEY CHECK (single = 1), generation INTEGER NOT NULL, claimed_at TEXT NOT NULL
) STRICT;
INSERT INTO view_owner VALUES (1, 0, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'));
CREATE TABLE view_offsets (
    topic TEXT NOT NULL, partition INTEGER NOT NULL, next_offset INTEGER NOT NULL, updated_at TEXT NOT NULL,
    PRIMARY KEY (topic, partition)
) STRICT, WITHOUT ROWID;
";

/// A tsvector holds at most 1 MB, so only the beginning of overlong text is searched.
const SEARCHED_CHARACTERS: usize = 100_000;

fn key(table: &Table) -> impl Iterator<Item = &'static str> {
    table.columns.iter().take(table.key).map(|column| column.name)
}

fn postgres_table(table: &Table) -> String {
    let kind = |kind| match kind {
        Kind::Text => "text",
        Kind::List => "text[]",
        Kind::Int => "bigint",
        Kind::Real => "double precision",
        Kind::Money => "numeric(20, 3)",
        Kind::Bool => "boolean",
        Kind::Time => "timestamptz",
        Kind::Date => "date",
        Kind::Json => "jsonb",
        Kind::Bytes => "bytea",
    };
    let column = |(place, column): (usize, &Column)| {
        // Keys are compared, and need no language for that.
        let collation = if place < table.key && column.kind == Kind::Text { " COLLATE \"C\"" } else { "" };
        format!("    {} {}{collation}", quoted(column.name), kind(column.kind))
    };
    let mut lines: Vec<String> = table.columns.iter().enumerate().map(column).collect();
    if !table.searched.is_empty() {
        // "simple" does no stemming: nobody knows the language.
        let texts: Vec<String> = table.searched.iter().map(|name| format!("coalesce({}, '')", quoted(name))).collect();
        let text = format!("left({}, {SEARCHED_CHARACTERS})", texts.join(" || ' ' || "));
        lines.push(format!("    {SEARCH} tsvector GENERATED ALWAYS AS (to_tsvector('simple', {text})) STORED"));
    }
    lines.push(format!("    PRIMARY KEY ({})", quoted_list(key(table))));
    let name = quoted(table.name);
    let mut sql = format!("CREATE TABLE {name} (\n{}\n);\n", lines.join(",\n"));
    if !table.searched.is_empty() {
        sql.push_str(&format!("CREATE INDEX {} ON {name} USING gin ({SEARCH});\n", quoted(&table.search_index())));
    }
    sql
}

fn sqlite_table(table: &Table) -> String {
    let kind = |kind| match kind {
        Kind::Text | Kind::List | Kind::Time | Kind::Date | Kind::Json => "TEXT",
        Kind::Int | Kind::Bool => "INTEGER",
        Kind::Real | Kind::Money => "REAL",
        Kind::Bytes => "BLOB",
    };
    let column = |(place, column): (usize, &Column)| {
        let required = if place < table.key { " NOT NULL" } else { "" };
        format!("    {} {}{required}", quoted(column.name), kind(column.kind))
    };
    let mut lines: Vec<String> = table.columns.iter().enumerate().map(column).collect();
    let name = quoted(table.name);
    if table.searched.is_empty() {
        lines.push(format!("    PRIMARY KEY ({})", quoted_list(key(table))));
        return format!("CREATE TABLE {name} (\n{}\n) STRICT;\n", lines.join(",\n"));
    }
    lines.push(format!("    {SEARCH} INTEGER PRIMARY KEY"));
    lines.push(format!("    UNIQUE ({})", quoted_list(key(table))));
    let index = quoted(&table.search_index());
    // As much memory as a batch needs, and merges of more segments at a time, since every row is written
    // again with each merge.
    format!(
        "CREATE TABLE {name} (\n{}\n) STRICT;\n\
         CREATE VIRTUAL TABLE {index} USING fts5 (\n    {},\n    \
         content = '{}', content_rowid = '{SEARCH}', tokenize = 'unicode61 remove_diacritics 2'\n);\n\
         INSERT INTO {index} ({index}, rank) VALUES ('hashsize', 67108864);\n\
         INSERT INTO {index} ({index}, rank) VALUES ('automerge', 8);\n",
        lines.join(",\n"),
        quoted_list(table.searched.iter().copied()),
        table.name,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{TableRow, Unread};

    crate::tables! {
        /// Talks.
        pub static TALKS = "talks", key 1 { id: Text, title: Text, seats: Int }
        index [seats, title]
        search [title]
        /// Talks with a column more.
        pub static LONGER_TALKS = "talks", key 1 { id: Text, title: Text, seats: Int, room: Text }
    }

    fn nothing<'a>(_key: &'a str, _value: &'a str) -> Result<TableRow<'a>, Unread> {
        Err(Unread::malformed("nothing is read here"))
    }

    fn layout(name: &str, table: &'static Table, database: Database) -> Layout {
        Layout::new(&ViewSpec::new(name).follow("talks", [table], nothing), database).unwrap()
    }

    fn written() -> Layout {
        let migrations = Migrations { postgres: &["A"], sqlite: &["A", "B"] };
        Layout::new(&ViewSpec::new("talks").laid_out_by(migrations), Database::Sqlite).unwrap()
    }

    #[test]
    fn a_derived_layout_holds_columns_keys_and_indexes() {
        let sql = derived(&[&TALKS], Database::Postgres);
        assert!(sql.contains("\"id\" text COLLATE \"C\",") && sql.contains("PRIMARY KEY (\"id\")"), "{sql}");
        assert!(sql.contains("CREATE INDEX \"talks_seats_title\" ON \"talks\" (\"seats\", \"title\")"), "{sql}");
        assert!(sql.contains("to_tsvector('simple', left(coalesce(\"title\", ''), 100000))"), "{sql}");
        let sql = derived(&[&TALKS], Database::Sqlite);
        assert!(sql.contains("search INTEGER PRIMARY KEY") && sql.contains("fts5"), "{sql}");
        assert_eq!(
            layout("talks", &TALKS, Database::Sqlite).tables(),
            ["talks", "dead_letters", "talks_search", "view_offsets", "view_owner", "view_migrations"]
        );
    }

    #[test]
    fn a_changed_declaration_is_told_from_another_topology() {
        let own = layout("talks", &TALKS, Database::Postgres);
        let changed = layout("talks", &LONGER_TALKS, Database::Postgres);
        let other = layout("walks", &TALKS, Database::Postgres);
        assert_eq!(own.judge(0, "x").unwrap(), State::Absent);
        assert_eq!(own.judge(own.version(), "x").unwrap(), State::Current);
        assert_eq!(own.judge(changed.version(), "x").unwrap(), State::Different);
        for foreign in [other.version(), 1] {
            assert!(matches!(own.judge(foreign, "x"), Err(ViewError::Foreign { .. })));
        }
        assert!(matches!(written().judge(own.version(), "x"), Err(ViewError::Foreign { .. })));
    }

    #[test]
    fn written_layouts_count_their_versions() {
        let written = written();
        assert_eq!(written.version(), 2);
        assert_eq!(written.judge(1, "x").unwrap(), State::Older);
        assert_eq!(written.judge(2, "x").unwrap(), State::Current);
        assert!(matches!(written.judge(99, "x"), Err(ViewError::NewerSchema { found: 99, known: 2, .. })));
        assert_eq!(written.steps_after(1).map(|(version, sql)| (*version, &**sql)).collect::<Vec<_>>(), [(2, "B")]);
    }
}
