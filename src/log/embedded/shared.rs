//! What the handles of one file share within this process.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, LazyLock, Mutex, PoisonError, Weak};
use std::time::Duration;

use rusqlite::Transaction;

use super::clean::Cleaner;
use super::config::EmbeddedConfig;
use super::connection::{Failure, file_error, lock, write_in_turn};
use super::store::{Store, create_schema};
use crate::log::LogError;

/// What the handles of one file share within this process.
pub(super) struct Shared {
    path: PathBuf,
    /// One writer of this process at a time; SQLite would let the others sleep and poll.
    turn: Arc<Mutex<()>>,
    /// Counts the commits of this process.
    commits: Mutex<u64>,
    committed: Condvar,
    cleaner: Cleaner,
}

/// The open files of this process.
static OPEN: LazyLock<Mutex<HashMap<PathBuf, Weak<Shared>>>> = LazyLock::new(Mutex::default);

impl Shared {
    /// The shared state of `config.path`, created with the file when missing.
    pub(super) fn open(config: &EmbeddedConfig) -> Result<Arc<Self>, LogError> {
        let path = prepare(&config.path)?;
        let mut open = lock(&OPEN);
        open.retain(|_, shared| shared.strong_count() > 0);
        if let Some(shared) = open.get(&path).and_then(Weak::upgrade) {
            return Ok(shared);
        }
        create_schema(&path)?;
        let turn = Arc::new(Mutex::new(()));
        let cleaner = Cleaner::new(path.clone(), Arc::clone(&turn), config.tombstone_retention_ms);
        let shared =
            Arc::new(Self { path: path.clone(), turn, commits: Mutex::new(0), committed: Condvar::new(), cleaner });
        open.insert(path, Arc::downgrade(&shared));
        Ok(shared)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn cleaner(&self) -> &Cleaner {
        &self.cleaner
    }

    /// Runs `work` in a write transaction of `store`, commits, and tells the readers and the cleaner.
    pub(super) fn write<T>(
        &self,
        store: &mut Store,
        doing: &'static str,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Failure>,
    ) -> Result<T, LogError> {
        let result = write_in_turn(&self.turn, &mut store.connection, work)
            .map_err(|failure| failure.into_log_error(doing, &self.path))?;
        *lock(&self.commits) += 1;
        self.committed.notify_all();
        Ok(result)
    }

    /// The number of commits of this process so far.
    pub(super) fn commits(&self) -> u64 {
        *lock(&self.commits)
    }

    /// Waits until this process has committed more than `seen` times, at most for `timeout`.
    pub(super) fn wait(&self, seen: u64, timeout: Duration) {
        let commits = lock(&self.commits);
        let waited = self.committed.wait_timeout_while(commits, timeout, |commits| *commits == seen);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

/// The absolute path of the file; its directory exists afterwards.
fn prepare(path: &Path) -> Result<PathBuf, LogError> {
    let failed = |e: std::io::Error| file_error("opening the embedded log", path, &e);
    let absolute = std::path::absolute(path).map_err(failed)?;
    let Some((directory, name)) = absolute.parent().zip(absolute.file_name()) else {
        return Err(LogError::Config { reason: format!("{} is not the path of a file", path.display()) });
    };
    fs::create_dir_all(directory).map_err(failed)?;
    // Links resolved, so that one file has one name in this process.
    Ok(fs::canonicalize(directory).map_err(failed)?.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_opened_twice_in_a_process_is_shared() {
        let directory = tempfile::tempdir().unwrap();
        let config = EmbeddedConfig { path: directory.path().join("sub/log.db"), ..EmbeddedConfig::default() };
        let first = Shared::open(&config).unwrap();
        let dotted = EmbeddedConfig { path: directory.path().join("sub/../sub/log.db"), ..config };
        assert!(Arc::ptr_eq(&first, &Shared::open(&dotted).unwrap()));
    }
}
