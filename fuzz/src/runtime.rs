//! Targets of the crate `headwater`: everything that is read back from the log.
//!
//! What the log holds may be damaged, or written by somebody else: it must be taken as it is or
//! refused with an error, and never end the process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a target fails by panicking")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use headwater::engine::progress::{Position, Positions, Progress};
use headwater::log::embedded::EmbeddedLog;
use headwater::log::{Cleanup, Log, LogError, LogRecord, NewRecord, Polled, Start, TopicPartition, TopicSpec};
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
});

fn file(name: &str) -> PathBuf {
    let thread = format!("{:?}", std::thread::current().id());
    FOLDER.path().join(format!("{name}{}", thread.replace(|c: char| !c.is_ascii_digit(), "")))
}

fn one_topic(path: &Path) -> EmbeddedLog {
    let log = EmbeddedLog::open(path).unwrap();
    let topic = |name: &str, cleanup| TopicSpec {
        name: name.to_owned(),
        partitions: 1,
        replication: None,
        cleanup,
        max_record_bytes: 1 << 20,
        properties: BTreeMap::new(),
    };
    let specs = [topic("t", Cleanup::Delete { retention_ms: None }), topic("c", Cleanup::Compact)];
    log.ensure_topics(&specs).unwrap();
    let mut producer = log.producer().unwrap();
    for (number, topic) in ["t", "c", "t"].into_iter().enumerate() {
        let record = NewRecord {
            topic: topic.into(),
            key: Some(format!("key {number}").into()),
            value: Some("value".into()),
            headers: vec![("name".to_owned(), b"value".to_vec())],
            timestamp_ms: Some(1_000),
        };
        producer.send(record).unwrap();
    }
    producer.flush().unwrap();
    log
}

fn read(log: &dyn Log, topic: &str) -> Result<Vec<LogRecord>, LogError> {
    let mut reader = log.reader(&[(TopicPartition::new(topic, 0), Start::Beginning)])?;
    let (mut polled, mut records) = (Vec::new(), Vec::new());
    for _ in 0..8 {
        reader.poll(&mut polled, 1 << 20, Duration::ZERO)?;
        for one in polled.drain(..) {
            match one {
                Polled::Record(record) => records.push(record),
                Polled::End { .. } => return Ok(records),
            }
        }
    }
    Ok(records)
}

/// The cells of a stored record: its headers, and the bytes that come back as they are.
pub fn stored_log(data: &[u8]) {
    thread_local! {
        static LOG: RefCell<Option<(EmbeddedLog, rusqlite::Connection)>> = const { RefCell::new(None) };
    }
    LOG.with_borrow_mut(|slot| {
        let (log, connection) = slot.get_or_insert_with(|| {
            let path = file("stored.db");
            let log = one_topic(&path);
            let connection = rusqlite::Connection::open(&path).unwrap();
            connection.execute_batch("PRAGMA synchronous = OFF").unwrap();
            (log, connection)
        });
        let sql = "UPDATE records_1 SET headers = ?1, key = ?1, value = ?1";
        connection.prepare_cached(sql).unwrap().execute([data]).unwrap();
        match read(log, "t") {
            Ok(records) => {
                assert_eq!(records.len(), 2);
                for record in records {
                    assert_eq!((record.key.as_deref(), record.value.as_deref()), (Some(data), Some(data)));
                    let again = bincode::serialize(&record.headers).unwrap();
                    assert_eq!(again, data, "headers that are more than what they say");
                }
            }
            Err(error) => assert!(matches!(error, LogError::Damaged { .. }), "{error}"),
        }
    });
}

/// A log whose file is damaged: `data` is a list of places (3 bytes) and what stands there (1 byte).
pub fn damaged_file(data: &[u8]) {
    static SOUND: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let path = file("sound.db");
        drop(one_topic(&path));
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        drop(connection);
        fs::read(&path).unwrap()
    });
    let mut bytes = SOUND.clone();
    for patch in data.chunks_exact(4).take(64) {
        let at = usize::from(patch[0]) << 16 | usize::from(patch[1]) << 8 | usize::from(patch[2]);
        let length = bytes.len();
        bytes[at % length] = patch[3];
    }
    if data.len() % 4 == 1 {
        bytes.truncate(bytes.len() / 256 * usize::from(data[data.len() - 1]));
    }
    let path = file("damaged.db");
    for ending in ["", "-wal", "-shm"] {
        let mut name = path.clone().into_os_string();
        name.push(ending);
        let _gone = fs::remove_file(name);
    }
    fs::write(&path, bytes).unwrap();
    let _outcome = use_log(&path);
}

fn use_log(path: &Path) -> Result<(), LogError> {
    let log = EmbeddedLog::open(path)?;
    log.check(Duration::ZERO)?;
    let topics = log.topics("")?;
    for topic in ["t", "c"] {
        let _ends = log.watermarks(topic)?;
        let _records = read(&log, topic);
    }
    assert!(topics.len() <= 16);
    let _writer = log.transactional("x", "x")?;
    log.clean()
}

/// Progress records.
pub fn progress_records(data: &[u8]) {
    if let Ok(progress) = serde_json::from_slice::<Progress>(data) {
        let json = serde_json::to_vec(&progress).unwrap();
        assert_eq!(serde_json::from_slice::<Progress>(&json).unwrap(), progress);
        let positions: &[Position] = &progress.positions;
        let _reached = Positions::from(positions).have_reached(&[]);
    }
}
