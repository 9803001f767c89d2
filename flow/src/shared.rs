//! [`Shared`]: an immutable value that is cheap to clone, to compare and to keep in many places.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use foldhash::quality::FixedState;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A reference-counted value with its hash computed once.
///
/// Differential operators sort and compare values all the time. Two `Shared` values are ordered
/// by hash first, so that almost every comparison ends at once, and by content only where the
/// hashes agree. The order is total but otherwise without meaning.
pub struct Shared<T>(Arc<Hashed<T>>);

struct Hashed<T> {
    hash: u64,
    value: T,
}

impl<T: Hash> Shared<T> {
    /// Wraps `value`.
    pub fn new(value: T) -> Self {
        let hash = FixedState::default().hash_one(&value);
        Self(Arc::new(Hashed { hash, value }))
    }
}

impl<T> Shared<T> {
    /// The hash by which values are ordered. Not stable between versions: never store it.
    pub fn hash_code(&self) -> u64 {
        self.0.hash
    }

    /// Whether both are the same allocation.
    pub fn ptr_eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T: Hash + Clone> Shared<T> {
    /// The value itself: moved out where this is the only holder, cloned otherwise.
    pub fn into_inner(self) -> T {
        Arc::try_unwrap(self.0).map_or_else(|shared| shared.value.clone(), |only| only.value)
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T: Eq> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.hash == other.0.hash && (self.ptr_eq(other) || self.0.value == other.0.value)
    }
}

impl<T: Eq> Eq for Shared<T> {}

impl<T: Ord> PartialOrd for Shared<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: Ord> Ord for Shared<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0
            .hash
            .cmp(&other.0.hash)
            .then_with(|| if self.ptr_eq(other) { Ordering::Equal } else { self.0.value.cmp(&other.0.value) })
    }
}

impl<T> Hash for Shared<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hash);
    }
}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.value.fmt(f)
    }
}

impl<T: Serialize> Serialize for Shared<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.value.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de> + Hash> Deserialize<'de> for Shared<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_equal_whatever_their_allocation() {
        let (a, b) = (Shared::new("x".to_owned()), Shared::new("x".to_owned()));
        assert!(!a.ptr_eq(&b));
        assert_eq!(a, b);
        assert_eq!(a.cmp(&b), Ordering::Equal);
        assert_ne!(a, Shared::new("y".to_owned()));
    }
}
