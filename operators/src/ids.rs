//! Compact identities.
//!
//! Blocks, edges and arrangements hold these 16-byte stand-ins instead of names. They are BLAKE3
//! digests: part of what is hashed is chosen by whoever publishes a feed, and one source must not
//! be able to forge the identity of another one's listing.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;

/// The first 128 bits of the BLAKE3 digest of `parts`, each preceded by its length.
pub fn digest(parts: &[&[u8]]) -> u128 {
    // All in one piece: most fit into a block or two, and every step of a hasher costs as much.
    let mut whole: SmallVec<[u8; 256]> = SmallVec::new();
    for part in parts {
        whole.extend_from_slice(&(part.len() as u64).to_le_bytes());
        whole.extend_from_slice(part);
    }
    let mut first = [0u8; 16];
    first.copy_from_slice(&blake3::hash(&whole).as_bytes()[..16]);
    u128::from_be_bytes(first)
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// At addresses of eight: tables from an id to a pointer would take a third more at sixteen.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        #[repr(Rust, packed(8))]
        pub struct $name(pub u128);

        impl $name {
            /// Its 32 hexadecimal digits.
            fn digits(self) -> const_hex::Buffer<16> {
                const_hex::const_encode(&self.0.to_be_bytes())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.digits().as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = std::num::ParseIntError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match const_hex::decode_to_array(text) {
                    Ok(bytes) => Ok(Self(u128::from_be_bytes(bytes))),
                    // Fewer digits, or what is wrong with them.
                    Err(_) => u128::from_str_radix(text, 16).map(Self),
                }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.serialize_str(self.digits().as_str())
                } else {
                    { self.0 }.serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                    text.parse().map_err(serde::de::Error::custom)
                } else {
                    u128::deserialize(deserializer).map(Self)
                }
            }
        }
    };
}

id_type! {
    /// Stand-in for a listing's identity (source, external id). Shown as 32 hexadecimal digits.
    ListingId
}
id_type! {
    /// Identity of an event. Shown as 32 hexadecimal digits.
    EventId
}
id_type! {
    /// Identity of a document: a keyed raw record, by topic, source and key.
    DocumentId
}

impl ListingId {
    /// The stand-in of the listing `external_id` of `source`.
    ///
    /// ```
    /// use headwater_operators::ListingId;
    /// assert_eq!(ListingId::of("venue", "17"), ListingId::of("venue", "17"));
    /// assert_ne!(ListingId::of("venue", "17"), ListingId::of("venue1", "7"));
    /// ```
    pub fn of(source: &str, external_id: &str) -> Self {
        Self(digest(&[b"listing", source.as_bytes(), external_id.as_bytes()]))
    }
}

impl DocumentId {
    /// The document that records with this key are versions of.
    pub fn of(topic: &str, source: &str, key: &[u8]) -> Self {
        Self(digest(&[b"document", topic.as_bytes(), source.as_bytes(), key]) & !Self::PARTITION)
    }

    /// What stands for the document of records without a key: their partition.
    pub fn of_partition(topic: &str, partition: i32) -> Self {
        Self(digest(&[b"partition", topic.as_bytes(), &partition.to_le_bytes()]) | Self::PARTITION)
    }

    /// Whether it stands for a partition.
    pub fn is_partition(self) -> bool {
        self.0 & Self::PARTITION != 0
    }

    /// The bit that tells partitions from documents.
    const PARTITION: u128 = 1 << 127;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_that_of_all_parts_with_their_lengths() {
        for parts in [&[b"listing".as_slice(), b"venue", b"17"], &[b"", &[b'x'; 2_000], b"y"]] {
            let mut hasher = blake3::Hasher::new();
            for part in parts {
                hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
            }
            assert_eq!(digest(parts).to_be_bytes(), hasher.finalize().as_bytes()[..16]);
        }
    }

    #[test]
    fn ids_survive_json() {
        let id = ListingId::of("a", "b");
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, format!("\"{:032x}\"", { id.0 }));
        assert_eq!(id.to_string(), format!("{:032x}", { id.0 }));
        assert_eq!(serde_json::from_str::<ListingId>(&json).unwrap(), id);
        assert!(serde_json::from_str::<ListingId>("\"not hex\"").is_err());
    }
}
