//! Raw records as they are read, and dead letters: records, or parts of them, that could not be used.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Deserializer, Serialize};
use smol_str::SmolStr;

use crate::ids::DocumentId;

/// Bytes exactly as a source sent them, with provenance.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct RawRecord {
    /// Where it was read.
    pub origin: Origin,
    /// The source: its `source` header, or else the one its topic is configured with.
    pub source: Option<SmolStr>,
    /// The content type: its `content-type` header, or else its topic's.
    pub content_type: Option<SmolStr>,
    /// The record's key.
    pub key: Option<Vec<u8>>,
    /// The bytes; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// The record's headers as they were, for dead letters.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl RawRecord {
    /// Which document it is a version of; `None` without a key or a source.
    pub fn document(&self) -> Option<DocumentId> {
        let (source, key) = (self.source.as_ref()?, self.key.as_ref()?);
        Some(DocumentId::of(&self.origin.topic, source, key))
    }
}

/// Where a record was read, and when it was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Origin {
    /// Full topic name.
    pub topic: Arc<str>,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// The record's timestamp in ms since the Unix epoch.
    pub timestamp_ms: i64,
    /// The greatest timestamp of this partition up to and including this record. Versions order
    /// by it, so that within a partition the order of offsets rules, whatever clocks say.
    pub order_ms: i64,
}

/// A raw record, or a part of one, that could not be used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Where the record was read.
    pub origin: Origin,
    /// Its source, where known.
    pub source: Option<SmolStr>,
    /// Its content type, where known.
    pub content_type: Option<SmolStr>,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Stable code.
    pub code: DeadLetterCode,
    /// What is wrong, for people.
    pub reason: String,
    /// Which part of the record, such as a VEVENT's UID; `None` for the whole.
    pub part: Option<String>,
    /// The original bytes of the record or of the part.
    pub bytes: Vec<u8>,
    /// Whether those are less than the record's value.
    pub excerpt: bool,
    /// The record's headers as they were.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl DeadLetter {
    /// Of the whole of `record`.
    pub fn of(record: RawRecord, code: DeadLetterCode, reason: impl Into<String>) -> Self {
        Self {
            origin: record.origin,
            source: record.source,
            content_type: record.content_type,
            key: record.key,
            code,
            reason: reason.into(),
            part: None,
            bytes: record.value.unwrap_or_default(),
            excerpt: false,
            headers: record.headers,
        }
    }
}

/// Why something could not be used: a name in kebab case. Names are stable: tools filter by them.
///
/// A topology may have codes of its own:
///
/// ```
/// use headwater_flow::DeadLetterCode;
/// const SOLD_OUT: DeadLetterCode = DeadLetterCode::named("sold-out");
/// assert_eq!(SOLD_OUT.as_str(), "sold-out");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct DeadLetterCode(&'static str);

impl DeadLetterCode {
    /// Neither a `source` header nor a configured source, or one that is not configured.
    pub const UNKNOWN_SOURCE: Self = Self("unknown-source");
    /// No adapter for the content type.
    pub const UNKNOWN_CONTENT_TYPE: Self = Self("unknown-content-type");
    /// No value and no key, or an empty value.
    pub const EMPTY_RECORD: Self = Self("empty-record");
    /// Larger than the limit.
    pub const RECORD_TOO_LARGE: Self = Self("record-too-large");
    /// Not what the content type promises: syntax, encoding.
    pub const MALFORMED: Self = Self("malformed");
    /// Nested more deeply than the limit.
    pub const NESTED_TOO_DEEPLY: Self = Self("nested-too-deeply");
    /// A field that a record cannot do without is missing.
    pub const MISSING_FIELD: Self = Self("missing-field");
    /// A field that cannot be read: a date that is none, a wrong type.
    pub const INVALID_FIELD: Self = Self("invalid-field");
    /// A string longer than the limit where cutting it would change its meaning (an id, a URL).
    pub const STRING_TOO_LONG: Self = Self("string-too-long");
    /// The result is larger than its topic takes.
    pub const OUTPUT_TOO_LARGE: Self = Self("output-too-large");
    /// A record of a table, such as `decisions` or `places`, that cannot be read.
    pub const INVALID_CONTROL: Self = Self("invalid-control");
    /// The topology names a topic for a record, and no topic can have that name.
    pub const INVALID_TOPIC: Self = Self("invalid-topic");

    /// The code of this name, in kebab case.
    pub const fn named(name: &'static str) -> Self {
        Self(name)
    }

    /// Its name, such as `missing-field`.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

impl<'de> Deserialize<'de> for DeadLetterCode {
    /// Codes come from another process of the same program, so there are few: each name is kept once.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
        let name = String::deserialize(deserializer)?;
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = names.get(name.as_str()) {
            return Ok(Self(known));
        }
        let kept: &'static str = name.leak();
        names.insert(kept);
        Ok(Self(kept))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_names_in_json_and_between_processes() {
        let code = DeadLetterCode::named("sold-out");
        assert_eq!(serde_json::to_string(&code).unwrap(), "\"sold-out\"");
        let bytes = bincode::serialize(&code).unwrap();
        let read: Vec<DeadLetterCode> = (0..2).map(|_| bincode::deserialize(&bytes).unwrap()).collect();
        assert_eq!(read, [code, code]);
        assert_eq!(read[0].as_str().as_ptr(), read[1].as_str().as_ptr(), "kept once");
    }
}
