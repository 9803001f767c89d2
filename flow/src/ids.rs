//! Compact identities.
//!
//! Blocks, edges and arrangements hold these 16-byte stand-ins instead of names. They are BLAKE3
//! digests: part of what is hashed is chosen by whoever publishes a feed, and one source must not
//! be able to forge the identity of another one's listing.

use std::num::ParseIntError;

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

/// The 32 hexadecimal digits of an id.
pub type Digits = const_hex::Buffer<16>;

/// The 32 hexadecimal digits of `id`.
pub fn digits(id: u128) -> Digits {
    const_hex::const_encode(&id.to_be_bytes())
}

/// Reads hexadecimal digits, 32 or fewer.
///
/// # Errors
/// When they are no digits, or too many.
pub fn parse(text: &str) -> Result<u128, ParseIntError> {
    match const_hex::decode_to_array(text) {
        Ok(bytes) => Ok(u128::from_be_bytes(bytes)),
        // Fewer digits, or what is wrong with them.
        Err(_) => u128::from_str_radix(text, 16),
    }
}

/// Declares a 16-byte id type: shown as 32 hexadecimal digits, in JSON as text, elsewhere as a number.
///
/// ```
/// headwater_flow::id_type! {
///     /// Identity of a ticket.
///     TicketId
/// }
/// let id = TicketId(headwater_flow::ids::digest(&[b"ticket", b"17"]));
/// assert_eq!(id.to_string().parse(), Ok(id));
/// assert_ne!(id.route(), id.0 as u64);
/// ```
#[macro_export]
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
            fn digits(self) -> $crate::ids::Digits {
                $crate::ids::digits(self.0)
            }

            /// By what work on it is dealt over the workers: not the bits that [`IdMap`]($crate::IdMap)
            /// looks at, so that the tables of many workers stay as even as that of one.
            #[inline]
            pub fn route(self) -> u64 {
                (self.0 >> 64) as u64
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(self.digits().as_str())
            }
        }

        impl ::std::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = ::std::num::ParseIntError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $crate::ids::parse(text).map(Self)
            }
        }

        impl $crate::serde::Serialize for $name {
            fn serialize<S: $crate::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.serialize_str(self.digits().as_str())
                } else {
                    $crate::serde::Serialize::serialize(&{ self.0 }, serializer)
                }
            }
        }

        impl<'de> $crate::serde::Deserialize<'de> for $name {
            fn deserialize<D: $crate::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let text = <::std::borrow::Cow<'de, str> as $crate::serde::Deserialize>::deserialize(deserializer)?;
                    text.parse().map_err(<D::Error as $crate::serde::de::Error>::custom)
                } else {
                    <u128 as $crate::serde::Deserialize>::deserialize(deserializer).map(Self)
                }
            }
        }
    };
}

id_type! {
    /// Identity of a document: a keyed raw record, by topic, source and key.
    DocumentId
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
}
