//! Views: tables in Postgres or SQLite that follow the committed output topics.
//!
//! ```text
//!  events ───────┐                          ┌─► events, event_redirects
//!  listings ─────┤   reader ─► batch ─► one ├─► listings
//!  links ────────┼─►            transaction ├─► event_links
//!  metrics ──────┤                          ├─► window_metrics
//!  dead-letters ─┘                          ├─► dead_letters
//!                                           └─► view_offsets
//! ```
//!
//! A view runs on threads of its own, at its own pace: a slow or absent database never stalls the
//! engine. Rows and offsets are written in one transaction, so that after any crash the view goes
//! on where its tables are. The offsets are moved by compare-and-set, under the lock of one row
//! that names the instance which may write: a second instance takes the view over, and the first
//! cannot write any more.
//!
//! The tables hold nothing that the topics do not: dropped, they are made anew. A view whose
//! offsets cannot be right any more (its topic was recreated, its records are gone, or it was away
//! for longer than the log keeps tombstones, so that it may have missed some) empties its tables
//! and reads the topics from the beginning.
//!
//! NB: a topic that was deleted, created again and filled beyond the old offset while the view was
//! away looks like the old one. Reset the view (drop its tables) when doing such a thing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::log::TopicPartition;

mod checkpoints;
mod error;
pub mod postgres;
pub mod rows;
mod runner;
pub mod sqlite;

pub use error::ViewError;
pub use postgres::{PostgresConfig, PostgresStore};
pub use rows::{Batch, Changes, Step, make_storable};
pub use runner::{View, ViewHandle, ViewStatus, ViewWatch};
pub use sqlite::{SqliteConfig, SqliteStore};

/// Which views there are: the `[views]` section of the configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ViewsConfig {
    /// Tables in Postgres.
    pub postgres: Option<PostgresConfig>,
    /// Tables in a SQLite file.
    pub sqlite: Option<SqliteConfig>,
    /// A view that was away for longer than this many seconds (1 or more) rebuilds itself. It must
    /// not exceed the time for which the log keeps tombstones (`delete.retention.ms`).
    pub rebuild_after_secs: u64,
}

impl Default for ViewsConfig {
    fn default() -> Self {
        Self { postgres: None, sqlite: None, rebuild_after_secs: 24 * 60 * 60 }
    }
}

impl ViewsConfig {
    /// The configured views: name, what opens the store, and how to run it.
    pub fn views(&self) -> Vec<(&'static str, OpenStore, ViewOptions)> {
        let mut views: Vec<(&'static str, OpenStore, ViewOptions)> = Vec::new();
        if let Some(config) = self.postgres.clone() {
            let options = self.options(&config.batch);
            views.push(("postgres", Box::new(move || Ok(Box::new(PostgresStore::open(&config)?))), options));
        }
        if let Some(config) = self.sqlite.clone() {
            let options = self.options(&config.batch);
            views.push(("sqlite", Box::new(move || Ok(Box::new(SqliteStore::open(&config)?))), options));
        }
        views
    }

    fn options(&self, batch: &BatchConfig) -> ViewOptions {
        ViewOptions { batch: batch.clone(), rebuild_after: Duration::from_secs(self.rebuild_after_secs.max(1)) }
    }
}

/// How much is written in one transaction: whatever is reached first. A view that is behind lets
/// batches grow to `records` and `bytes` while its database is busy. Several writers of one view
/// share these two.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BatchConfig {
    /// Records (1 or more).
    pub records: usize,
    /// Bytes of keys, values and headers. A larger record is a batch of its own.
    pub bytes: usize,
    /// Milliseconds since the first record of the batch.
    pub interval_ms: u64,
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self { records: 20_000, bytes: 32 << 20, interval_ms: 50 }
    }
}

/// How a view runs.
#[derive(Debug, Clone)]
pub struct ViewOptions {
    /// How much is written in one transaction.
    pub batch: BatchConfig,
    /// A view that was away for longer than this rebuilds itself.
    pub rebuild_after: Duration,
}

impl Default for ViewOptions {
    fn default() -> Self {
        ViewsConfig::default().options(&BatchConfig::default())
    }
}

/// Full names of the topics that a view reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewTopics {
    /// Events and redirects.
    pub events: Arc<str>,
    /// State of listings.
    pub listings: Arc<str>,
    /// Membership of listings in events.
    pub links: Arc<str>,
    /// Windowed metrics.
    pub metrics: Arc<str>,
    /// Dead letters.
    pub dead_letters: Arc<str>,
}

impl ViewTopics {
    /// The topics under their usual names after `prefix` (such as `headwater.`).
    pub fn with_prefix(prefix: &str) -> Self {
        let name = |name: &str| Arc::from(format!("{prefix}{name}"));
        Self {
            events: name("events"),
            listings: name("listings"),
            links: name("links"),
            metrics: name("metrics"),
            dead_letters: name("dead-letters"),
        }
    }

    /// All of them.
    pub fn all(&self) -> [&Arc<str>; 5] {
        [&self.events, &self.listings, &self.links, &self.metrics, &self.dead_letters]
    }
}

/// Number of an instance of a view: greater than that of every earlier instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation(pub i64);

/// An offset as the store holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Where reading goes on.
    pub next: i64,
    /// How long ago it was last written, by the clock of the store.
    pub age: Duration,
}

/// Connects to a store, and creates or updates its tables.
pub type OpenStore = Box<dyn FnMut() -> Result<Box<dyn ViewStore>, ViewError> + Send>;

/// See [`ViewStore::preparation`].
pub type Preparation = fn(&mut Changes<'_>);

/// Where a view keeps its tables.
///
/// After an error other than [`ViewError::Rejected`] the store must be opened again: what happened
/// to the last transaction is unknown, and its offsets tell.
pub trait ViewStore: Send {
    /// Becomes the instance that may write: the first time with `None`, after reconnecting with
    /// what the instance holds.
    ///
    /// # Errors
    /// [`ViewError::Superseded`] when another instance has claimed the store since `held`.
    fn claim(&mut self, held: Option<Generation>) -> Result<Generation, ViewError>;

    /// How many connections of one instance it is worth while to write by at once (1 or more).
    /// They write different keys, and offsets of different partitions.
    fn writers(&self) -> usize {
        1
    }

    /// Makes of cells what the store writes, where that takes time: it runs on the thread that reads,
    /// beside the one that writes. A store takes rows without it too.
    fn preparation(&self) -> Preparation {
        |_changes| {}
    }

    /// The offsets that the tables reflect.
    fn offsets(&mut self) -> Result<BTreeMap<TopicPartition, Stored>, ViewError>;

    /// Writes rows and offsets in one transaction.
    ///
    /// # Errors
    /// [`ViewError::Superseded`] when another instance has claimed the store,
    /// [`ViewError::OffsetsMoved`] when the offsets are not those that the batch expects,
    /// [`ViewError::Rejected`] when a value cannot be stored. In all three nothing was written.
    fn apply(&mut self, batch: &Batch<'_>) -> Result<(), ViewError>;

    /// Empties all tables and forgets all offsets, in one transaction.
    ///
    /// # Errors
    /// [`ViewError::Superseded`] when another instance has claimed the store.
    fn reset(&mut self) -> Result<(), ViewError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_refuses_unknown_keys() {
        let read = toml::from_str::<ViewsConfig>;
        let config =
            read("[postgres]\nurl = 'postgres://u:p@h/d'\nbatch.records = 7\n[sqlite]\npath = 'a.sqlite'").unwrap();
        let names: Vec<_> = config.views().iter().map(|(name, _, options)| (*name, options.batch.records)).collect();
        assert_eq!(names, [("postgres", 7), ("sqlite", 20_000)]);
        assert!(read("[postgres]\nurl = 'x'\nscheme = 'y'").unwrap_err().to_string().contains("scheme"));
        assert!(read("[sqlite]\n").unwrap_err().to_string().contains("path"));
        assert!(read("rebuild_after = 1").is_err());
    }
}
