//! The log in one SQLite file, with nothing to install.
//!
//! A partition is a table of its own with the offset as its key: appending is writing at the
//! right-hand end of a B-tree, reading is scanning one. An append is one SQLite transaction, so
//! what a reader sees is committed, all or nothing, and offsets count without gaps until
//! compaction makes some.
//!
//! - **Durability.** WAL mode with `synchronous=FULL`: a commit that has returned survives a loss
//!   of power. `NORMAL` would not do: it may lose the last commits, and a view that had already
//!   stored their offsets would then wait for offsets that are given out a second time.
//! - **Several processes** may use the file at once. Writers take turns (`BEGIN IMMEDIATE`);
//!   readers never block and never wait. Readers in the writer's process are woken by it, others
//!   look at SQLite's `data_version` every 25 ms. The file must be on a local file system: SQLite's
//!   WAL needs shared memory.
//! - **Compaction** works as Kafka's cleaner does: a thread beside the writer removes
//!   superseded records in small steps once as much is dirty as clean, and tombstones a while later.
//! - **Positions** of consumer groups are for lag tools, of which there are none here: not stored.
//! - Space that is freed is used again; the file does not shrink.

mod clean;
mod config;
mod connection;
mod reader;
mod shared;
mod store;
mod writer;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Log, LogError, Producer, Reader, Start, TopicInfo, TopicPartition, TopicSpec, Transactional, Watermarks};
pub use config::EmbeddedConfig;

use connection::lock;
use reader::EmbeddedReader;
use shared::Shared;
use store::Store;
use writer::{EmbeddedProducer, EmbeddedTransactional};

/// The log in a SQLite file.
pub struct EmbeddedLog {
    shared: Arc<Shared>,
    store: Mutex<Store>,
}

impl EmbeddedLog {
    /// Opens the log in the file `path`, creating it when missing.
    ///
    /// # Errors
    /// [`LogError::Damaged`] when the file is something else or was written by a newer version;
    /// [`LogError::Place`] when no such file can be opened or created; [`LogError::Failed`] otherwise.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        Self::new(&EmbeddedConfig { path: path.to_owned(), ..EmbeddedConfig::default() })
    }

    /// Opens the log that `config` describes. In one process the settings of whoever opened a
    /// file first hold for it.
    ///
    /// # Errors
    /// As [`EmbeddedLog::open`].
    pub fn new(config: &EmbeddedConfig) -> Result<Self, LogError> {
        let shared = Shared::open(config)?;
        let store = Store::open(shared.path())?;
        Ok(Self { shared, store: Mutex::new(store) })
    }

    /// Removes at once all that compaction and retention allow, instead of when it is worthwhile.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn clean(&self) -> Result<(), LogError> {
        self.shared.cleaner().clean_everything()
    }
}

impl Log for EmbeddedLog {
    fn describe(&self) -> String {
        format!("embedded://{}", self.shared.path().display())
    }

    fn check(&self, _timeout: Duration) -> Result<(), LogError> {
        lock(&self.store).check()
    }

    fn ensure_topics(&self, specs: &[TopicSpec]) -> Result<(), LogError> {
        self.shared.write(&mut lock(&self.store), "creating topics", |tx| store::create_topics(tx, specs))
    }

    fn topics(&self, prefix: &str) -> Result<Vec<TopicInfo>, LogError> {
        lock(&self.store).topics(prefix)
    }

    fn watermarks(&self, topic: &str) -> Result<Option<Vec<Watermarks>>, LogError> {
        lock(&self.store).watermarks(topic)
    }

    fn reader(&self, partitions: &[(TopicPartition, Start)]) -> Result<Box<dyn Reader>, LogError> {
        Ok(Box::new(EmbeddedReader::open(Arc::clone(&self.shared), partitions)?))
    }

    fn producer(&self) -> Result<Box<dyn Producer>, LogError> {
        Ok(Box::new(EmbeddedProducer::open(Arc::clone(&self.shared))?))
    }

    fn transactional(&self, id: &str, _group: &str) -> Result<Box<dyn Transactional>, LogError> {
        Ok(Box::new(EmbeddedTransactional::open(Arc::clone(&self.shared), id)?))
    }
}
