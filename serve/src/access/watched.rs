//! Files that are read again when they change, so that keys come and go without a restart.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// It cannot be read.
    #[error("it cannot be read")]
    Read(#[from] io::Error),
    /// It is not what it should be.
    #[error("{0}")]
    Content(String),
}

/// Makes something of the text of a file, or says what is wrong with it.
type Reading<T> = Box<dyn Fn(&str) -> Result<T, String> + Send + Sync>;

/// What a file looked like; another file has another one: when it was written, its length, and where the system says
/// so its number and when that changed, since a copy may keep the time.
type Stamp = Option<(SystemTime, u64, (u64, i64, i64))>;

/// What was read from a file.
pub(crate) struct Watched<T> {
    file: PathBuf,
    reading: Reading<T>,
    value: RwLock<Arc<T>>,
    seen: Mutex<Seen>,
}

struct Seen {
    /// What the file looked like when it was read.
    read: Stamp,
    /// What it looked like when it was told that it cannot be.
    told: Option<Stamp>,
}

impl<T> Watched<T> {
    /// Reads a file for the first time.
    ///
    /// # Errors
    /// When it cannot be read, or `reading` refuses it.
    pub(crate) fn open(
        file: &Path,
        reading: impl Fn(&str) -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<Self, Unusable> {
        // Looked at first and read then: what is written in between is seen the next time.
        let seen = stamp(file);
        let value = read(file, &reading)?;
        let value = RwLock::new(Arc::new(value));
        let seen = Mutex::new(Seen { read: seen, told: None });
        Ok(Self { file: file.to_owned(), reading: Box::new(reading), value, seen })
    }

    /// What was in the file when it could be read last.
    pub(crate) fn get(&self) -> Arc<T> {
        Arc::clone(&self.value.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the file again if it has changed; whether there is something new. What cannot be read changes nothing,
    /// and is told once.
    pub(crate) fn refresh(&self) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = stamp(&self.file);
        if seen.read == now {
            return false;
        }
        let file = self.file.display();
        match read(&self.file, &self.reading) {
            Ok(value) => {
                *self.value.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
                *seen = Seen { read: now, told: None };
                tracing::info!(%file, "read again, because it has changed");
                true
            }
            Err(error) => {
                // It is tried again: a permission that was missing changes no time.
                if seen.told.replace(now) != Some(now) {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(%file, error, "has changed and cannot be used; what it held before still counts");
                }
                false
            }
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("file", &self.file).field("value", &self.get()).finish_non_exhaustive()
    }
}

fn stamp(file: &Path) -> Stamp {
    let metadata = fs::metadata(file).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), identity(&metadata)))
}

#[cfg(unix)]
fn identity(metadata: &fs::Metadata) -> (u64, i64, i64) {
    use std::os::unix::fs::MetadataExt;
    (metadata.ino(), metadata.ctime(), metadata.ctime_nsec())
}

#[cfg(not(unix))]
fn identity(_metadata: &fs::Metadata) -> (u64, i64, i64) {
    (0, 0, 0)
}

fn read<T>(file: &Path, reading: impl Fn(&str) -> Result<T, String>) -> Result<T, Unusable> {
    reading(&fs::read_to_string(file)?).map_err(Unusable::Content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_becomes_unreadable_keeps_what_it_held() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("number");
        let number = |text: &str| text.trim().parse::<u32>().map_err(|error| error.to_string());
        assert!(matches!(Watched::open(&file, number), Err(Unusable::Read(_))));
        fs::write(&file, "x").unwrap();
        assert!(matches!(Watched::open(&file, number), Err(Unusable::Content(_))));
        fs::write(&file, "1").unwrap();
        let watched = Watched::open(&file, number).unwrap();
        assert_eq!((watched.refresh(), *watched.get()), (false, 1));
        fs::write(&file, "22").unwrap();
        assert_eq!((watched.refresh(), watched.refresh(), *watched.get()), (true, false, 22));
        fs::write(&file, "not").unwrap();
        assert_eq!((watched.refresh(), *watched.get()), (false, 22));
        fs::remove_file(&file).unwrap();
        assert_eq!((watched.refresh(), *watched.get()), (false, 22));
        fs::write(&file, "4444").unwrap();
        assert_eq!((watched.refresh(), *watched.get()), (true, 4444));
    }
}
