//! What a view asks of a database.

use std::collections::BTreeMap;
use std::time::Duration;

use super::batch::{Batch, Changes};
use super::error::ViewError;
use crate::log::TopicPartition;

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
    /// what the instance holds. Makes the tables anew where they are laid out otherwise than declared.
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

/// The generation that an instance gets which holds `held`, where `owner` is the newest known:
/// none when it was superseded. A store that knows less than the instance was made anew.
pub(super) fn next_generation(owner: i64, held: Option<Generation>) -> Option<Generation> {
    match held {
        None => Some(Generation(owner.saturating_add(1))),
        Some(held) if owner <= held.0 => Some(held),
        Some(_) => None,
    }
}
