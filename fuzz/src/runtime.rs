//! Targets of the crate `headwater`: everything that is read back from the log.
//!
//! What the log holds may be damaged, or written by somebody else: it must be taken as it is or
//! refused with an error, and never end the process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a target fails by panicking")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use discovery::discovery::documents::Documents;
use discovery::discovery::state::{LinkState, ListingState, RedirectState};
use discovery::discovery::upsert::{Change, Emitted, Register, Retention};
use headwater::engine::progress::{Position, Positions, Progress};
use headwater::log::embedded::EmbeddedLog;
use headwater::log::{Cleanup, Log, LogError, LogRecord, NewRecord, Polled, Start, TopicPartition, TopicSpec};
use headwater_operators::extract::Extraction;
use headwater_operators::geocode::Place;
use headwater_operators::resolve::{Decision, Remembered};
use headwater_operators::score::Gates;
use headwater_operators::window::{WindowConfig, WindowInput, WindowRow, Windows};
use serde::Serialize;
use serde::de::DeserializeOwned;
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

/// What reads must be written so that it reads as the same again.
fn round_trip<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(data: &[u8]) -> Option<T> {
    let value: T = serde_json::from_slice(data).ok()?;
    let json = serde_json::to_vec(&value).unwrap();
    let again: T = serde_json::from_slice(&json).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&json)));
    assert_eq!(again, value);
    let bytes = bincode::serialize(&value).unwrap();
    if let Ok(again) = bincode::deserialize::<T>(&bytes) {
        assert_eq!(again, value);
    }
    Some(value)
}

/// Records of the topics in which the engine finds itself again.
pub fn state_records(data: &[u8]) {
    if let Some(state) = round_trip::<ListingState>(data) {
        restore(state);
    }
    if let Ok(progress) = serde_json::from_slice::<Progress>(data) {
        let json = serde_json::to_vec(&progress).unwrap();
        assert_eq!(serde_json::from_slice::<Progress>(&json).unwrap(), progress);
        let positions: &[Position] = &progress.positions;
        let _reached = Positions::from(positions).reached(&[]);
    }
    if let Some(row) = round_trip::<WindowRow>(data) {
        let mut windows = Windows::new(WindowConfig::default());
        let mark = row.window_start;
        windows.apply([WindowInput::Restored(row.clone()), WindowInput::Restored(row), WindowInput::Watermark(mark)]);
        windows.apply([WindowInput::Watermark(i64::MAX)]);
    }
    let _link = serde_json::from_slice::<LinkState>(data).map(Remembered::from);
    let _redirect = serde_json::from_slice::<RedirectState>(data).map(Remembered::from);
}

fn restore(state: ListingState) {
    for past_events_ms in [None, Some(1_000)] {
        let retention = Retention { past_events_ms, assumed_duration_ms: 1_000 };
        let nothing = |_| Extraction { document: None, failures: Vec::new(), timeless: true };
        let mut documents = Documents::new(retention, 0, Arc::new(nothing));
        let mut register = Register::new(retention, Arc::new(|_| ()));
        let mut emitted = Emitted::default();
        let leaves_at = retention.leaves_at(state.live.listing.start(), state.live.listing.end());
        for claim in &state.claims {
            documents.restore(claim.document, state.live.id, claim.version, leaves_at);
        }
        register.apply(state.live.id, Change::Restore(Arc::new(state.clone())), 1_000, &mut emitted);
        assert_eq!(register.len(), 1);
        documents.expire(i64::MAX);
        register.expire(i64::MAX, &mut emitted);
        assert_eq!(register.is_empty(), retention.past_events_ms.is_some() && leaves_at < i64::MAX);
    }
}

/// Records that people and programs write: places, decisions, gates.
pub fn table_records(data: &[u8]) {
    let _place = round_trip::<Place>(data);
    if let Some(decision) = round_trip::<Decision>(data) {
        let _pair = decision.pair();
    }
    let _gates = round_trip::<Gates>(data);
}
