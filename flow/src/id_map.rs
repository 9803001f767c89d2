//! [`IdMap`]: hash maps keyed by ids, which are digests already.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map keyed by ids, which are digests and need no further hashing.
///
/// ```
/// use headwater_flow::IdMap;
/// use headwater_flow::ids::DocumentId;
///
/// let mut known: IdMap<DocumentId, u32> = IdMap::default();
/// known.insert(DocumentId::of("raw", "venue", b"17"), 1);
/// assert_eq!(known.get(&DocumentId::of("raw", "venue", b"17")), Some(&1));
/// ```
pub type IdMap<K, V> = HashMap<K, V, BuildHasherDefault<IdHasher>>;

/// Takes the low 64 bits of a 128-bit id.
#[derive(Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    }
    fn write_u128(&mut self, id: u128) {
        self.0 = id as u64;
    }
}
