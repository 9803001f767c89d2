//! Raw records as they are read, and dead letters: records, or parts of them, that could not be used.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
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

/// Why something could not be used. The text forms are stable: tools filter by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeadLetterCode {
    /// Neither a `source` header nor a configured source, or one that is not configured.
    UnknownSource,
    /// No adapter for the content type.
    UnknownContentType,
    /// No value and no key, or an empty value.
    EmptyRecord,
    /// Larger than the limit.
    RecordTooLarge,
    /// Not what the content type promises: syntax, encoding.
    Malformed,
    /// Nested more deeply than the limit.
    NestedTooDeeply,
    /// A field that a listing cannot do without is missing.
    MissingField,
    /// A field that cannot be read: a date that is none, a wrong type.
    InvalidField,
    /// A string longer than the limit where cutting it would change its meaning (an id, a URL).
    StringTooLong,
    /// More listings, or more instances of a series, than the limit.
    TooManyListings,
    /// The result is larger than its topic takes.
    OutputTooLarge,
    /// A record of a table, such as `decisions` or `places`, that cannot be read.
    InvalidControl,
    /// The topology names a topic for a record, and no topic can have that name.
    InvalidTopic,
}

impl DeadLetterCode {
    /// The stable text form, such as `missing-field`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownSource => "unknown-source",
            Self::UnknownContentType => "unknown-content-type",
            Self::EmptyRecord => "empty-record",
            Self::RecordTooLarge => "record-too-large",
            Self::Malformed => "malformed",
            Self::NestedTooDeeply => "nested-too-deeply",
            Self::MissingField => "missing-field",
            Self::InvalidField => "invalid-field",
            Self::StringTooLong => "string-too-long",
            Self::TooManyListings => "too-many-listings",
            Self::OutputTooLarge => "output-too-large",
            Self::InvalidControl => "invalid-control",
            Self::InvalidTopic => "invalid-topic",
        }
    }
}
