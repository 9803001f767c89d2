//! The file: its schema, and its topics.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::connection::{Failure, connect, sqlite_error, table, write_in_turn};
use crate::log::{Cleanup, LogError, TopicInfo, TopicPartition, TopicSpec, Watermarks};

/// Marks the file as ours: "HWLG".
const APPLICATION_ID: i32 = 0x4857_4C47;

/// The version of the schema that this code writes and reads.
const SCHEMA_VERSION: i32 = 1;

/// `next` is the offset of the next record, `low` the first one left, `clean` the offset below
/// which every key is there once, and `kept` the number of records below `clean`.
///
/// A mark says that by `at_ms` everything below `upto` had been appended (`kind` 0) or cleaned
/// (`kind` 1). Ages are counted from marks and not from the records' own timestamps, which a
/// replay sets to the past.
const SCHEMA: &str = "
CREATE TABLE topics (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    compact INTEGER NOT NULL,
    retention_ms INTEGER,
    max_record_bytes INTEGER NOT NULL
) STRICT;
CREATE TABLE partitions (
    id INTEGER PRIMARY KEY,
    topic INTEGER NOT NULL REFERENCES topics (id),
    partition INTEGER NOT NULL,
    low INTEGER NOT NULL DEFAULT 0,
    next INTEGER NOT NULL DEFAULT 0,
    clean INTEGER NOT NULL DEFAULT 0,
    kept INTEGER NOT NULL DEFAULT 0,
    tombstones INTEGER NOT NULL DEFAULT 0,
    UNIQUE (topic, partition)
) STRICT;
CREATE TABLE marks (
    partition INTEGER NOT NULL REFERENCES partitions (id),
    kind INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    upto INTEGER NOT NULL,
    PRIMARY KEY (partition, kind, at_ms)
) STRICT, WITHOUT ROWID;
CREATE TABLE writers (
    id TEXT PRIMARY KEY,
    epoch INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

/// Makes the tables of a new file, and refuses those of others and of newer versions.
pub(super) fn create_schema(path: &Path) -> Result<(), LogError> {
    let mut connection = connect(path)?;
    let turn = Mutex::new(());
    write_in_turn(&turn, &mut connection, |tx| {
        let version: i32 = tx.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let application: i32 = tx.pragma_query_value(None, "application_id", |row| row.get(0))?;
        let tables: i64 = tx.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if tables == 0 {
            tx.execute_batch(SCHEMA)?;
            tx.pragma_update(None, "user_version", SCHEMA_VERSION)?;
            tx.pragma_update(None, "application_id", APPLICATION_ID)?;
            return Ok(());
        }
        let reason = if application != APPLICATION_ID {
            "it is another program's SQLite file".to_owned()
        } else if version > SCHEMA_VERSION {
            format!("it was written by a newer version (schema {version}; this one knows {SCHEMA_VERSION})")
        } else {
            return Ok(());
        };
        Err(LogError::Damaged { at: path.display().to_string(), reason }.into())
    })
    .map_err(|failure| failure.into_log_error("opening the embedded log", path))
}

/// Creates those of `specs` that are missing.
pub(super) fn create_topics(tx: &Transaction<'_>, specs: &[TopicSpec]) -> Result<(), Failure> {
    for spec in specs {
        if spec.partitions < 1 {
            let reason = format!("topic {} needs at least one partition", spec.name);
            return Err(LogError::Config { reason }.into());
        }
        let (compact, retention_ms) = match spec.cleanup {
            Cleanup::Compact => (true, None),
            Cleanup::Delete { retention_ms } => (false, retention_ms),
        };
        let max = i64::try_from(spec.max_record_bytes).unwrap_or(i64::MAX);
        let created = tx.execute(
            "INSERT INTO topics (name, compact, retention_ms, max_record_bytes) VALUES (?, ?, ?, ?)
             ON CONFLICT (name) DO NOTHING",
            params![spec.name, compact, retention_ms, max],
        )?;
        if created == 0 {
            continue;
        }
        let topic = tx.last_insert_rowid();
        for partition in 0..spec.partitions {
            tx.execute("INSERT INTO partitions (topic, partition) VALUES (?, ?)", params![topic, partition])?;
            // The key before the value, so that compaction need not read values.
            tx.execute_batch(&format!(
                "CREATE TABLE {} (offset INTEGER PRIMARY KEY, timestamp_ms INTEGER NOT NULL,
                                  key BLOB, value BLOB, headers BLOB) STRICT",
                table(tx.last_insert_rowid())
            ))?;
        }
        tracing::info!(topic = spec.name, "topic created");
    }
    Ok(())
}

/// A topic as a writer needs to know it.
pub(super) struct TopicRow {
    pub(super) compact: bool,
    pub(super) max_record_bytes: usize,
    /// Ids of its partitions, in order.
    pub(super) partitions: Vec<i64>,
}

/// Looks a topic up.
pub(super) fn topic(connection: &Connection, name: &str) -> Result<Option<TopicRow>, rusqlite::Error> {
    let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let found: Option<(i64, bool, i64)> = connection
        .prepare_cached("SELECT id, compact, max_record_bytes FROM topics WHERE name = ?")?
        .query_row([name], row)
        .optional()?;
    let Some((id, compact, max)) = found else { return Ok(None) };
    let partitions = connection
        .prepare_cached("SELECT id FROM partitions WHERE topic = ? ORDER BY partition")?
        .query_map([id], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok(Some(TopicRow { compact, max_record_bytes: usize::try_from(max).unwrap_or(usize::MAX), partitions }))
}

/// One handle: a connection and where it leads.
pub(super) struct Store {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
}

impl Store {
    pub(super) fn open(path: &Path) -> Result<Self, LogError> {
        Ok(Self { connection: connect(path)?, path: path.to_owned() })
    }

    pub(super) fn error(&self, doing: &'static str) -> impl Fn(rusqlite::Error) -> LogError + use<> {
        let path = self.path.clone();
        move |error| sqlite_error(doing, &path, &error)
    }

    pub(super) fn check(&self) -> Result<(), LogError> {
        self.connection
            .query_row("SELECT count(*) FROM topics", [], |_| Ok(()))
            .map_err(self.error("checking the embedded log"))
    }

    pub(super) fn topics(&self, prefix: &str) -> Result<Vec<TopicInfo>, LogError> {
        let query = || -> rusqlite::Result<Vec<TopicInfo>> {
            let mut statement = self.connection.prepare_cached(
                "SELECT t.name, t.compact, p.low, p.next FROM topics t JOIN partitions p ON p.topic = t.id
                 WHERE substr(t.name, 1, length(?1)) = ?1 ORDER BY t.name, p.partition",
            )?;
            let mut rows = statement.query([prefix])?;
            let mut topics: Vec<TopicInfo> = Vec::new();
            while let Some(row) = rows.next()? {
                let name: String = row.get(0)?;
                let ends = Watermarks { low: row.get(2)?, high: row.get(3)? };
                match topics.last_mut().filter(|t| t.name == name) {
                    Some(topic) => topic.partitions.push(ends),
                    None => {
                        let cleanup = if row.get(1)? { "compact" } else { "delete" }.to_owned();
                        topics.push(TopicInfo { name, partitions: vec![ends], cleanup });
                    }
                }
            }
            Ok(topics)
        };
        query().map_err(self.error("listing topics"))
    }

    pub(super) fn watermarks(&self, topic: &str) -> Result<Option<Vec<Watermarks>>, LogError> {
        let query = || -> rusqlite::Result<Vec<Watermarks>> {
            self.connection
                .prepare_cached(
                    "SELECT p.low, p.next FROM topics t JOIN partitions p ON p.topic = t.id
                     WHERE t.name = ? ORDER BY p.partition",
                )?
                .query_map([topic], |row| Ok(Watermarks { low: row.get(0)?, high: row.get(1)? }))?
                .collect()
        };
        let ends = query().map_err(self.error("asking for watermarks"))?;
        Ok(Some(ends).filter(|ends| !ends.is_empty()))
    }

    /// The id and the ends of one partition.
    pub(super) fn partition(&self, at: &TopicPartition) -> Result<(i64, Watermarks), LogError> {
        let found = self
            .connection
            .prepare_cached(
                "SELECT p.id, p.low, p.next FROM topics t JOIN partitions p ON p.topic = t.id
                 WHERE t.name = ? AND p.partition = ?",
            )
            .and_then(|mut statement| {
                statement
                    .query_row(params![&*at.topic, at.partition], |row| {
                        Ok((row.get(0)?, Watermarks { low: row.get(1)?, high: row.get(2)? }))
                    })
                    .optional()
            })
            .map_err(self.error("looking up a partition"))?;
        found.ok_or_else(|| LogError::UnknownTopic { topic: at.topic.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn newer_schemas_foreign_files_and_wrong_paths_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let newer = directory.path().join("newer.db");
        create_schema(&newer).unwrap();
        connect(&newer).unwrap().pragma_update(None, "user_version", SCHEMA_VERSION + 1).unwrap();
        let error = create_schema(&newer).unwrap_err();
        assert!(matches!(&error, LogError::Damaged { reason, .. } if reason.contains("newer version")), "{error}");

        let foreign = directory.path().join("foreign.db");
        Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
        assert!(matches!(create_schema(&foreign), Err(LogError::Damaged { .. })));

        // A wrong path is another matter than a disk that fails.
        let wrong = [directory.path().to_owned(), foreign.join("log.db"), directory.path().join("none/log.db")];
        for path in wrong {
            let error = create_schema(&path).unwrap_err();
            assert!(matches!(error, LogError::Place { .. }), "{error}");
        }

        let text = directory.path().join("text.db");
        fs::write(&text, "not a database, but long enough to be read as one".repeat(100)).unwrap();
        assert!(matches!(create_schema(&text), Err(LogError::Damaged { .. })));
    }
}
