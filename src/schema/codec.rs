//! Codecs: how rows become records, and how records of a state are read back.

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use bytes::Bytes;
use foldhash::quality::FixedState;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};

use crate::dataflow::buffer::{json, text};

/// The format version in front of every row and state record.
pub const FORMAT: u8 = 1;

/// Writes the value of a row.
type ValueOf<K, V> = dyn Fn(&K, &V) -> Bytes + Send + Sync;

/// Reads a key and a value.
type Read<R> = dyn Fn(&[u8], &[u8]) -> Result<R, String> + Send + Sync;

/// How a row becomes a record. `route` gives where all differences of a key are brought together.
pub struct Codec<K, V> {
    pub(crate) route: Arc<dyn Fn(&K) -> u64 + Send + Sync>,
    pub(crate) key: Arc<dyn Fn(&K) -> Bytes + Send + Sync>,
    pub(crate) value: Arc<ValueOf<K, V>>,
}

impl<K, V> Clone for Codec<K, V> {
    fn clone(&self) -> Self {
        Self { route: Arc::clone(&self.route), key: Arc::clone(&self.key), value: Arc::clone(&self.value) }
    }
}

impl<K: Hash + 'static, V: 'static> Codec<K, V> {
    /// A codec of two functions; keys are routed by their hash.
    ///
    /// ```
    /// use headwater::schema::Codec;
    /// let codec = Codec::<u32, String>::new(|key| key.to_string().into(), |_, value| value.clone().into());
    /// ```
    pub fn new(
        key: impl Fn(&K) -> Bytes + Send + Sync + 'static,
        value: impl Fn(&K, &V) -> Bytes + Send + Sync + 'static,
    ) -> Self {
        let hasher = FixedState::default();
        Self { route: Arc::new(move |key| hasher.hash_one(key)), key: Arc::new(key), value: Arc::new(value) }
    }
}

impl<K: 'static, V: 'static> Codec<K, V> {
    /// The same, routed by `route`. All differences of a key must have the same route.
    pub fn routed(self, route: impl Fn(&K) -> u64 + Send + Sync + 'static) -> Self {
        Self { route: Arc::new(route), ..self }
    }
}

/// How records of a state are read back.
pub struct Reader<R>(pub(crate) Arc<Read<R>>);

impl<R> Clone for Reader<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R> Reader<R> {
    /// A reader of key and value.
    pub fn new(read: impl Fn(&[u8], &[u8]) -> Result<R, String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// A reader of values that are JSON.
    ///
    /// ```
    /// use headwater::schema::Reader;
    /// let _: Reader<u32> = Reader::of_json_value(|text: u32| text);
    /// ```
    pub fn of_json_value<T: DeserializeOwned>(convert: impl Fn(T) -> R + Send + Sync + 'static) -> Self {
        Self::new(move |_, value| read_json(value).map(&convert))
    }
}

/// Reads JSON.
///
/// # Errors
/// What is wrong with it.
pub fn read_json<T: DeserializeOwned>(value: &[u8]) -> Result<T, String> {
    let read = match std::str::from_utf8(value) {
        // Checked once as a whole: cheaper than text by text.
        Ok(text) => serde_json::from_str(text),
        Err(_) => serde_json::from_slice(value),
    };
    read.map_err(|error| error.to_string())
}

/// A codec of keys and values that are JSON, and its reader. The value has the format version in front.
///
/// ```
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Count { registrations: i64 }
///
/// let (codec, reader) = headwater::schema::json_codec::<(String, i64), Count>();
/// ```
pub fn json_codec<K, V>() -> (Codec<K, V>, Reader<(K, V)>)
where
    K: Hash + Serialize + DeserializeOwned + 'static,
    V: Serialize + DeserializeOwned + 'static,
{
    let codec = Codec::new(|key| json(key), |_, value| versioned(value));
    let reader = Reader::new(|key, value| {
        let value: Versioned<V> = read_json(value)?;
        Ok((read_json(key)?, value.value))
    });
    (codec, reader)
}

/// A codec of keys that are text, as it is, and of values that are JSON, and its reader. The value has the format
/// version in front.
///
/// ```
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Seat { taken: bool }
///
/// let (codec, reader) = headwater::schema::text_codec::<Seat>();
/// ```
pub fn text_codec<V: Serialize + DeserializeOwned + 'static>() -> (Codec<String, V>, Reader<(String, V)>) {
    let codec = Codec::new(|key: &String| text(key), |_, value| versioned(value));
    let reader = Reader::new(|key, value| {
        let key = std::str::from_utf8(key).map_err(|error| format!("its key: {error}"))?;
        let value: Versioned<V> = read_json(value)?;
        Ok((key.to_owned(), value.value))
    });
    (codec, reader)
}

/// `value` as JSON, with the format version in front.
pub fn versioned<T: Serialize>(value: &T) -> Bytes {
    #[derive(Serialize)]
    struct Written<'a, T> {
        format: u8,
        #[serde(flatten)]
        value: &'a T,
    }
    json(&Written { format: FORMAT, value })
}

/// A record with its format version in front, as [`versioned`] writes it.
#[derive(Debug, Deserialize)]
pub struct Versioned<T> {
    #[serde(rename = "format", deserialize_with = "known_format")]
    _format: u8,
    /// What it says.
    #[serde(flatten)]
    pub value: T,
}

/// Reads a format version, and refuses those that this program does not know.
///
/// # Errors
/// When it is not [`FORMAT`].
pub fn known_format<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    let format = u8::deserialize(deserializer)?;
    if format == FORMAT {
        return Ok(format);
    }
    Err(D::Error::custom(format_args!("it is of format {format}; this version reads format {FORMAT}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Count {
        count: i64,
    }

    #[test]
    fn what_is_written_is_read_and_other_formats_are_refused() {
        let (codec, reader) = json_codec::<(String, i64), Count>();
        let key = ("e1".to_owned(), 7);
        let (k, v) = ((codec.key)(&key), (codec.value)(&key, &Count { count: 3 }));
        assert_eq!((&*k, &*v), (br#"["e1",7]"#.as_slice(), br#"{"format":1,"count":3}"#.as_slice()));
        assert_eq!((reader.0)(&k, &v), Ok((key, Count { count: 3 })));
        let newer = (reader.0)(&k, br#"{"format":9,"count":3}"#).unwrap_err();
        assert!(newer.contains("format 9"), "{newer}");
        assert!((reader.0)(b"\xff", &v).is_err());
    }
    #[test]
    fn keys_of_text_are_written_as_they_are() {
        let (codec, reader) = text_codec::<Count>();
        let key = "seat \"7\"".to_owned();
        let (k, v) = ((codec.key)(&key), (codec.value)(&key, &Count { count: 3 }));
        assert_eq!(&*k, key.as_bytes());
        assert_eq!((reader.0)(&k, &v), Ok((key, Count { count: 3 })));
        assert!((reader.0)(b"\xff", &v).is_err_and(|error| error.contains("key")));
        assert!((reader.0)(&k, br#"{"format":9,"count":3}"#).is_err_and(|error| error.contains("format 9")));
    }
}
