//! Marks: how an instance knows its own progress records again.

use std::hash::{BuildHasher, RandomState};

/// Header of progress records by which an instance knows its own again.
pub(super) const MARK: &str = "instance";

/// What this instance's progress records are marked with.
pub(super) struct Marks {
    instance: u64,
    pub(super) committed: u64,
}

impl Marks {
    pub(super) fn new() -> Self {
        Self { instance: RandomState::new().hash_one(std::process::id()), committed: 0 }
    }

    pub(super) fn of(&self, commit: u64) -> Vec<u8> {
        format!("{:016x}-{commit}", self.instance).into_bytes()
    }

    /// The mark of the transaction under way, or to come.
    pub(super) fn next(&self) -> Vec<u8> {
        self.of(self.committed + 1)
    }
}
