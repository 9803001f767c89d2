//! A database of one test, with the views of a topology.

#[path = "../support/service.rs"]
mod service;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use headwater::log::memory::MemoryLog;
use headwater::log::{Headers, LogRecord};
use headwater::view::{
    BatchConfig, OpenStore, PostgresConfig, PostgresStore, SqliteConfig, SqliteStore, View, ViewError, ViewHandle,
    ViewOptions, ViewSpec, ViewStatus, ViewStore,
};

use service::service;

pub const TIMEOUT: Duration = Duration::from_secs(30);

/// The prefix of all topics.
pub const PREFIX: &str = "test.";

/// Where the tables are.
pub enum Place {
    Sqlite { config: SqliteConfig, _folder: Option<tempfile::TempDir> },
    Postgres { config: PostgresConfig, schema: String },
}

/// A database of one test, gone when the test ends.
pub struct Database {
    pub place: Place,
    pub spec: Arc<ViewSpec>,
    drops: bool,
}

impl Database {
    pub fn sqlite(spec: ViewSpec) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = SqliteConfig::new(folder.path().join("views/view.sqlite"));
        let place = Place::Sqlite { config, _folder: Some(folder) };
        Self { place, spec: Arc::new(spec), drops: false }
    }

    pub fn postgres(spec: ViewSpec) -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let url = service("DATABASE_URL", "the view in Postgres")?;
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        let schema = format!("View test {} {number}", std::process::id());
        let config = PostgresConfig { schema: Some(schema.clone()), ..PostgresConfig::new(url) };
        Some(Self { place: Place::Postgres { config, schema }, spec: Arc::new(spec), drops: true })
    }

    pub fn all(spec: &ViewSpec) -> Vec<Self> {
        std::iter::once(Self::sqlite(spec.clone())).chain(Self::postgres(spec.clone())).collect()
    }

    /// The same place, with the views of another topology, or others of the same.
    pub fn with(&self, spec: ViewSpec) -> Self {
        let place = match &self.place {
            Place::Sqlite { config, .. } => Place::Sqlite { config: config.clone(), _folder: None },
            Place::Postgres { config, schema } => Place::Postgres { config: config.clone(), schema: schema.clone() },
        };
        Self { place, spec: Arc::new(spec), drops: false }
    }

    /// The same views at another place.
    pub fn at(self, place: Place) -> Self {
        Self { place, spec: Arc::clone(&self.spec), drops: false }
    }

    pub fn open(&self) -> Result<Box<dyn ViewStore>, ViewError> {
        self.opener()()
    }

    pub fn opener(&self) -> OpenStore {
        let spec = Arc::clone(&self.spec);
        match &self.place {
            Place::Sqlite { config, .. } => {
                let config = config.clone();
                Box::new(move || Ok(Box::new(SqliteStore::open(&config, &spec)?)))
            }
            Place::Postgres { config, .. } => {
                let config = config.clone();
                Box::new(move || Ok(Box::new(PostgresStore::open(&config, &spec)?)))
            }
        }
    }

    pub fn check(&self) -> Result<String, ViewError> {
        match &self.place {
            Place::Sqlite { config, .. } => config.check(&self.spec),
            Place::Postgres { config, .. } => config.check(&self.spec),
        }
    }

    pub fn is_postgres(&self) -> bool {
        matches!(self.place, Place::Postgres { .. })
    }

    /// The rows that a query gives, as text, with truth values as 0 and 1.
    pub fn query(&self, sql: &str) -> Vec<String> {
        match &self.place {
            Place::Sqlite { config, .. } => {
                let connection = rusqlite::Connection::open(&config.path).unwrap();
                connection.busy_timeout(TIMEOUT).unwrap();
                let mut statement = connection.prepare(sql).unwrap();
                let width = statement.column_count();
                let rows = statement.query_map([], |row| {
                    let cells = (0..width).map(|index| match row.get_ref(index)? {
                        rusqlite::types::ValueRef::Null => Ok("NULL".to_owned()),
                        rusqlite::types::ValueRef::Integer(number) => Ok(number.to_string()),
                        rusqlite::types::ValueRef::Real(number) => Ok(number.to_string()),
                        rusqlite::types::ValueRef::Text(text) => Ok(String::from_utf8(text.to_vec()).unwrap()),
                        rusqlite::types::ValueRef::Blob(bytes) => Ok(String::from_utf8_lossy(bytes).into_owned()),
                    });
                    cells.collect::<rusqlite::Result<Vec<String>>>()
                });
                rows.unwrap().map(|row| row.unwrap().join("|")).collect()
            }
            Place::Postgres { config, schema } => {
                let mut client = postgres::Client::connect(&config.url, postgres::NoTls).unwrap();
                client.batch_execute(&format!("SET search_path TO \"{schema}\"; SET timezone TO UTC")).unwrap();
                let messages = client.simple_query(sql).unwrap();
                let rows = messages.iter().filter_map(|message| match message {
                    postgres::SimpleQueryMessage::Row(row) => Some(row),
                    _ => None,
                });
                rows.map(|row| {
                    let cells = (0..row.len()).map(|index| match row.get(index) {
                        None => "NULL",
                        Some("t") => "1",
                        Some("f") => "0",
                        Some(text) => text,
                    });
                    cells.collect::<Vec<_>>().join("|")
                })
                .collect()
            }
        }
    }

    pub fn execute(&self, sql: &str) {
        self.query(sql);
    }

    pub fn count(&self, table: &str) -> u64 {
        self.query(&format!("SELECT count(*) FROM {table}"))[0].parse().unwrap()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let (Place::Postgres { config, schema }, true) = (&self.place, self.drops) {
            let mut client = postgres::Client::connect(&config.url, postgres::NoTls).unwrap();
            client.batch_execute(&format!("DROP SCHEMA IF EXISTS \"{schema}\" CASCADE")).unwrap();
        }
    }
}

/// A log with the topics of a topology's views, two partitions each.
pub fn log_of(spec: &ViewSpec) -> MemoryLog {
    let log = MemoryLog::new();
    for topic in spec.topics(PREFIX).all() {
        log.create(topic, 2);
    }
    log
}

/// Appends a record, and returns its offset.
pub fn append(log: &MemoryLog, topic: &str, partition: i32, key: Option<&[u8]>, value: Option<&[u8]>) -> i64 {
    append_with(log, topic, partition, key, value, Vec::new())
}

pub fn append_with(
    log: &MemoryLog,
    topic: &str,
    partition: i32,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: Headers,
) -> i64 {
    let (key, value) = (key.map(<[u8]>::to_vec), value.map(<[u8]>::to_vec));
    let topic = topic.into();
    log.put(LogRecord { topic, partition, offset: 0, timestamp_ms: 1_770_000_000_000, key, value, headers }).unwrap()
}

pub fn put(log: &MemoryLog, topic: &str, key: &str, value: &serde_json::Value) -> i64 {
    append(log, topic, partition_of(key), Some(key.as_bytes()), Some(value.to_string().as_bytes()))
}

pub fn tombstone(log: &MemoryLog, topic: &str, key: &str) -> i64 {
    append(log, topic, partition_of(key), Some(key.as_bytes()), None)
}

fn partition_of(key: &str) -> i32 {
    key.bytes().map(i32::from).sum::<i32>() % 2
}

pub fn dead_letter_headers(reason: &[u8]) -> Headers {
    let header = |name: &str, value: &[u8]| (name.to_owned(), value.to_vec());
    vec![
        header("dead-letter-code", b"json.syntax"),
        header("dead-letter-reason", reason),
        header("dead-letter-topic", b"raw.events"),
        header("dead-letter-partition", b"3"),
        header("dead-letter-offset", b"77"),
        header("dead-letter-timestamp", b"1770000000000"),
        header("source", b"a"),
    ]
}

pub fn options() -> ViewOptions {
    ViewOptions { batch: BatchConfig { interval_ms: 5, ..BatchConfig::default() }, ..ViewOptions::default() }
}

pub fn start_from(database: &Database, log: &MemoryLog, options: ViewOptions, open: OpenStore) -> ViewHandle {
    let (stop, topics) = (Arc::new(AtomicBool::new(false)), database.spec.topics(PREFIX));
    View::start("test", Arc::new(log.clone()), topics, options, open, stop).unwrap()
}

pub fn start_with(database: &Database, log: &MemoryLog, options: ViewOptions) -> ViewHandle {
    start_from(database, log, options, database.opener())
}

pub fn start(database: &Database, log: &MemoryLog) -> ViewHandle {
    start_with(database, log, options())
}

pub fn catch_up(view: &ViewHandle, log: &MemoryLog) {
    assert!(view.wait_until(&log.ends(), TIMEOUT), "{:?} {:?}", view.failure(), view.status());
    assert!(view.caught_up_to(&log.ends()));
}

/// Runs a view until it has read everything.
pub fn run_to_end(database: &Database, log: &MemoryLog) -> ViewStatus {
    let view = start(database, log);
    catch_up(&view, log);
    let status = view.status();
    view.stop().unwrap();
    status
}
