//! [`TopicId`]: a topic in the catalog.

use serde::{Deserialize, Serialize};

/// A topic that a topology writes: its index in the [`Catalog`](super::Catalog).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicId(pub(super) u16);

impl TopicId {
    /// What could not be used. The runtime's own.
    pub const DEAD_LETTERS: Self = Self(0);
    /// Progress records. The runtime's own.
    pub const PROGRESS: Self = Self(1);

    /// Its index in lists that follow the catalog.
    pub fn index(self) -> usize {
        self.0.into()
    }
}
