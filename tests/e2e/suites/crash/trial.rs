//! A topology with a view, run as processes that may end at any moment, and fed all the while.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use headwater::error::Fault;
use headwater::fail_point;
use headwater::log::{NewRecord, TopicPartition, Watermarks};
use headwater::topology::Topology;
use headwater::view::{Table, View, ViewTopics, ViewsConfig};
use serde_json::Value;
use tempfile::TempDir;

use super::stream::STREAM;
use crate::subject::Tested;
use crate::support::subject::Subject;
use crate::support::{Harness, Input, Place, unique_name};

/// Long enough for anything that ends at all, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// SIGKILL, on every Unix.
pub const SIGKILL: i32 = 9;

/// Numbers that look random and are the same for the same seed (SplitMix64).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound.max(1)
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at as u64 + 1) as usize);
        }
    }
}

/// A configuration of short epochs and small transactions, so that there are many steps to die at.
pub fn configuration(views: &str) -> String {
    format!(
        "[topics]\npartitions = 3\n[admin]\nlisten = '127.0.0.1:0'\n\
         [engine]\nepoch_interval = '20 ms'\ncorrection_batch = 25\nidle_partition_after = '3600 s'\n\
         {views}\n{}",
        Tested::sections()
    )
}

/// Where a view has its tables.
pub enum Store {
    Sqlite(PathBuf),
    Postgres { url: String, schema: String },
}

impl Store {
    fn section(&self, prefix: &str) -> String {
        let batch = "batch = { records = 40, bytes = 1_000_000, interval_ms = 10 }\n";
        match self {
            Self::Sqlite(path) => format!("[{prefix}sqlite]\npath = '{}'\n{batch}", path.display()),
            Self::Postgres { url, schema } => {
                format!("[{prefix}postgres]\nurl = '{url}'\nschema = '{schema}'\n{batch}")
            }
        }
    }

    /// Removes all tables.
    pub fn remove(&self) {
        match self {
            Self::Sqlite(path) => {
                for end in ["", "-wal", "-shm"] {
                    let _ = fs::remove_file(format!("{}{end}", path.display()));
                }
            }
            Self::Postgres { url, schema } => {
                let mut client = postgres::Client::connect(url, postgres::NoTls).unwrap();
                client.batch_execute(&format!("DROP SCHEMA IF EXISTS {schema} CASCADE")).unwrap();
            }
        }
    }

    /// Every row of every table, as text, in some order that does not depend on history.
    fn rows(&self) -> BTreeMap<&'static str, Vec<String>> {
        let mut tables = BTreeMap::new();
        for table in Tested::views().tables() {
            let mut rows = match self {
                Self::Sqlite(path) => sqlite_rows(path, table),
                Self::Postgres { url, schema } => {
                    let mut client = postgres::Client::connect(url, postgres::NoTls).unwrap();
                    let query = format!("SELECT row_to_json(t)::text FROM {schema}.{} t", table.name);
                    client.query(&query, &[]).unwrap().iter().map(|row| row.get(0)).collect()
                }
            };
            rows.sort();
            tables.insert(table.name, rows);
        }
        tables
    }
}

fn sqlite_rows(path: &Path, table: &Table) -> Vec<String> {
    let connection = rusqlite::Connection::open(path).unwrap();
    let mut statement = connection.prepare(&format!("SELECT * FROM {}", table.name)).unwrap();
    // The number in the full-text index is the order in which rows came.
    let columns: Vec<usize> = (0..statement.column_count())
        .filter(|column| table.searched.is_empty() || statement.column_name(*column).unwrap() != "search")
        .collect();
    let rows = statement.query_map([], |row| {
        let cells: Vec<String> = columns.iter().map(|column| format!("{:?}", row.get_ref(*column).unwrap())).collect();
        Ok(cells.join(" | "))
    });
    rows.unwrap().map(Result::unwrap).collect()
}

pub struct Trial {
    pub harness: Harness<Tested>,
    pub view: Store,
    folder: TempDir,
    starts: AtomicUsize,
}

impl Trial {
    /// With a view in SQLite, or in Postgres where `database` names one.
    pub fn new(place: Place, database: Option<String>) -> Self {
        let folder = TempDir::new().unwrap();
        let view = match database {
            Some(url) => Store::Postgres { url, schema: unique_name().replace('-', "_") },
            None => Store::Sqlite(folder.path().join("view.db")),
        };
        let harness = Harness::configured(place, &configuration(&view.section("views.")));
        Self { harness, view, folder, starts: AtomicUsize::new(0) }
    }

    /// How many processes were started.
    pub fn starts(&self) -> usize {
        self.starts.load(Ordering::Relaxed)
    }

    /// Writes tombstones for one in `share` of the rows that follow from the state, as somebody else would.
    pub fn bury_rows(&self, share: usize) {
        let mut producer = self.harness.log.producer().unwrap();
        for topic in Tested::ROWS {
            for key in self.harness.table(topic).into_keys().step_by(share) {
                let topic = self.harness.config.runtime.full_name(topic).into();
                let (key, value, headers) = (Some(key.into()), None, Vec::new());
                producer.send(NewRecord { topic, key, value, headers, timestamp_ms: None }).unwrap();
            }
        }
        producer.flush().unwrap();
    }

    /// Starts the topology; `arm` is a fail point as [`fail_point::VARIABLE`] takes it.
    pub fn start(&self, arguments: &[&str], arm: Option<&str>) -> Process {
        let number = self.starts.fetch_add(1, Ordering::Relaxed);
        let stderr = self.folder.path().join(format!("{number}.err"));
        let mut command = Command::new(Tested::BINARY);
        command.args(["--json", "--yes"]).args(&self.harness.arguments).args(arguments);
        command.env_remove("HEADWATER_CONFIG").env_remove("RUST_LOG");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&stderr).unwrap());
        match arm {
            Some(point) => command.env(fail_point::VARIABLE, point),
            None => command.env_remove(fail_point::VARIABLE),
        };
        Process { child: command.spawn().unwrap(), stderr }
    }

    /// Runs undisturbed until everything is committed and shown.
    pub fn settle(&self) {
        let mut process = self.start(&["--exit-when-idle", "--workers", "2"], None);
        let status = process.wait(PATIENCE);
        assert_eq!(status.and_then(|status| status.code()), Some(0), "{}", process.said());
    }

    /// Whether everything fed in is committed and shows in the view, as far as counts can tell.
    pub fn view_is_current(&self) -> bool {
        let raw = |record: &Input| record.topic == Tested::RAW;
        let records = STREAM.iter().filter(|record| raw(record)).count() as i64;
        let progress = self.harness.records("progress").pop().and_then(|record| record.value).unwrap_or_default();
        let progress: Value = serde_json::from_slice(&progress).unwrap_or_default();
        let positions = progress["positions"].as_array().cloned().unwrap_or_default();
        let of_raw =
            positions.iter().filter(|at| at["topic"].as_str().is_some_and(|topic| topic.ends_with(Tested::RAW)));
        let read: i64 = of_raw.filter_map(|at| at["next"].as_i64()).sum();
        let rows = self.view.rows();
        let (topic, table) = Tested::SHOWN;
        read == records && rows[table].len() == self.harness.table(topic).len()
    }

    /// In what the view differs from one that is made anew of the same topics.
    pub fn view_differences(&self) -> Vec<String> {
        let fresh = match &self.view {
            Store::Sqlite(_) => Store::Sqlite(self.folder.path().join("fresh.db")),
            Store::Postgres { url, schema } => Store::Postgres { url: url.clone(), schema: format!("{schema}_fresh") },
        };
        fresh.remove();
        let views: ViewsConfig = toml::from_str(&fresh.section("")).unwrap();
        let spec = Arc::new(Tested::views());
        let topics = spec.topics(&self.harness.config.runtime.prefix);
        for (name, open, options) in views.views(&spec) {
            let log = Arc::clone(&self.harness.log);
            let view = View::start(name, log, topics.clone(), options, open, Arc::default()).unwrap();
            assert!(view.wait_until(&self.ends(&topics), PATIENCE), "{:?}", view.status());
            view.stop().unwrap();
        }
        let (found, expected) = (self.view.rows(), fresh.rows());
        fresh.remove();
        assert!(expected[Tested::SHOWN.1].len() > 100, "there is something to compare");
        let tables = expected.iter().filter(|(table, rows)| found[*table] != **rows);
        tables.map(|(table, rows)| difference(table, rows, &found[table])).collect()
    }

    /// The ends of a topic's partitions, which a broker may not know while it settles.
    pub fn watermarks(&self, topic: &str) -> Vec<Watermarks> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.harness.log.watermarks(topic) {
                Err(error) if error.may_pass() && Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(100));
                }
                marks => return marks.unwrap().unwrap(),
            }
        }
    }

    fn ends(&self, topics: &ViewTopics) -> Vec<(TopicPartition, i64)> {
        let of = |topic: &Arc<str>| {
            let marks = self.watermarks(topic);
            let topic = Arc::clone(topic);
            (0..).zip(marks).map(move |(n, marks)| (TopicPartition::new(Arc::clone(&topic), n), marks.high))
        };
        topics.all().flat_map(of).collect()
    }
}

fn difference(table: &str, expected: &[String], found: &[String]) -> String {
    let missing = expected.iter().find(|row| !found.contains(row));
    let surplus = found.iter().find(|row| !expected.contains(row));
    format!("table {table}: {} rows, not {}; missing: {missing:?}; surplus: {surplus:?}", found.len(), expected.len())
}

impl Drop for Trial {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // What the processes said may tell why.
            let kept = std::mem::replace(&mut self.folder, TempDir::new().unwrap()).keep();
            println!("kept: {}", kept.display());
        } else {
            self.view.remove();
        }
    }
}

/// A process of the topology, killed when it is dropped.
pub struct Process {
    child: Child,
    stderr: PathBuf,
}

impl Process {
    /// Waits for its end, for at most so long.
    pub fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            let status = self.child.try_wait().unwrap();
            if status.is_some() || Instant::now() >= deadline {
                return status;
            }
            std::thread::sleep(Duration::from_millis(3));
        }
    }

    /// Waits, for at most so long, until it is stopped as by SIGSTOP; whether it is.
    pub fn wait_until_stopped(&mut self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline && self.child.try_wait().unwrap().is_none() {
            let status = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
            // After the name in brackets comes the state.
            if status.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(3));
        }
        false
    }

    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Kills it, which must not have ended by itself.
    pub fn kill(mut self) {
        let ended = self.child.try_wait().unwrap();
        assert!(ended.is_none(), "ended by itself with {ended:?}: {}", self.said());
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        assert_eq!(status.signal(), Some(SIGKILL), "{}", self.said());
    }

    /// What it wrote to stderr.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes the stream, in small portions with pauses, as far as it is allowed to.
pub struct Feeder {
    allowed: Arc<AtomicUsize>,
    sent: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

impl Feeder {
    pub fn start(trial: &Trial, seed: u64) -> Self {
        let (allowed, sent) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (may, has) = (Arc::clone(&allowed), Arc::clone(&sent));
        let (log, config) = (Arc::clone(&trial.harness.log), trial.harness.config.clone());
        let mut dice = Dice::new(seed);
        let work = move || {
            let mut producer = log.producer().unwrap();
            let mut at = 0;
            while at < STREAM.len() {
                let until = may.load(Ordering::Acquire).min(at + 1 + dice.below(8) as usize);
                for input in STREAM.iter().take(until).skip(at) {
                    producer.send(input.clone().into_record(&config)).unwrap();
                }
                producer.flush().unwrap();
                at = at.max(until);
                has.store(at, Ordering::Release);
                std::thread::sleep(Duration::from_millis(5 + dice.below(30)));
            }
        };
        Self { allowed, sent, thread: std::thread::spawn(work) }
    }

    /// Allows so many records more.
    pub fn allow(&self, records: usize) {
        self.allowed.fetch_add(records.min(STREAM.len()), Ordering::AcqRel);
    }

    /// Waits until everything that is allowed is written.
    pub fn rest(&self) {
        while self.sent.load(Ordering::Acquire) < self.allowed.load(Ordering::Acquire).min(STREAM.len()) {
            assert!(
                !self.thread.is_finished() || self.sent.load(Ordering::Acquire) == STREAM.len(),
                "the feeder failed"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Writes what is left.
    pub fn finish(self) {
        self.allow(STREAM.len());
        self.thread.join().unwrap();
    }
}
