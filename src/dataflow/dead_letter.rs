//! Dead letters as records: the original bytes, and in headers what is wrong with them.

use bytes::Bytes;
use headwater_flow::{DeadLetter, DeadLetterCode};

use super::record::OutRecord;
use crate::schema::TopicId;

/// The headers that dead letters have beside those of the record.
pub mod header {
    /// What the names of all of them begin with.
    pub const PREFIX: &str = "dead-letter-";
    /// Stable code.
    pub const CODE: &str = "dead-letter-code";
    /// What is wrong, for people.
    pub const REASON: &str = "dead-letter-reason";
    /// Which part of the record.
    pub const PART: &str = "dead-letter-part";
    /// There where the value is less than that of the record.
    pub const EXCERPT: &str = "dead-letter-excerpt";
    /// Headers that the record did not have: their values come from the configuration of its topic.
    pub const ASSUMED: &str = "dead-letter-assumed";
    /// How often the record was replayed. The only one that records on other topics have too.
    pub const ATTEMPTS: &str = "dead-letter-attempts";
    /// Full name of the topic that the record was read from.
    pub const TOPIC: &str = "dead-letter-topic";
    /// Its partition.
    pub const PARTITION: &str = "dead-letter-partition";
    /// Its offset.
    pub const OFFSET: &str = "dead-letter-offset";
    /// Its timestamp, in ms since the Unix epoch.
    pub const TIMESTAMP: &str = "dead-letter-timestamp";
}

/// A dead letter as a record: the original bytes, the original headers, and ours beside them.
pub fn of_letter(letter: DeadLetter) -> OutRecord {
    let origin = &letter.origin;
    let mut headers = letter.headers;
    headers.retain(|(name, _)| !name.starts_with(header::PREFIX) || name == header::ATTEMPTS);
    let mut set = |name: &str, value: Vec<u8>| {
        let had = headers.iter().any(|(present, bytes)| present == name && *bytes == value);
        headers.retain(|(present, _)| present != name);
        headers.push((name.to_owned(), value));
        had
    };
    let mut assumed = Vec::new();
    for (name, value) in [("source", &letter.source), ("content-type", &letter.content_type)] {
        let had = value.as_ref().is_none_or(|value| set(name, value.as_bytes().to_vec()));
        assumed.extend((!had).then_some(name));
    }
    if !assumed.is_empty() {
        set(header::ASSUMED, assumed.join(",").into_bytes());
    }
    if letter.excerpt {
        set(header::EXCERPT, b"true".to_vec());
    }
    set(header::CODE, letter.code.as_str().into());
    set(header::REASON, shortened(letter.reason).into_bytes());
    if let Some(part) = letter.part {
        set(header::PART, part.into_bytes());
    }
    set(header::TOPIC, origin.topic.as_bytes().to_vec());
    set(header::PARTITION, origin.partition.to_string().into_bytes());
    set(header::OFFSET, origin.offset.to_string().into_bytes());
    set(header::TIMESTAMP, origin.timestamp_ms.to_string().into_bytes());
    OutRecord {
        topic: TopicId::DEAD_LETTERS,
        member: None,
        key: letter.key.map(Bytes::from),
        value: Some(letter.bytes.into()),
        headers,
    }
}

/// What is wrong with a record may quote it: no more than this of a reason is kept, in bytes.
const LONGEST_REASON: usize = 1_000;

fn shortened(mut reason: String) -> String {
    if reason.len() > LONGEST_REASON {
        let end = (0..=LONGEST_REASON).rev().find(|at| reason.is_char_boundary(*at)).unwrap_or(0);
        reason.truncate(end);
        reason.push('…');
    }
    reason
}

/// What becomes of a record of `topic` that is larger than `limit`: a dead letter with as much of its
/// value as fits into `letter_limit` bytes.
pub fn of_too_large(record: &OutRecord, topic: &str, limit: usize, letter_limit: usize) -> OutRecord {
    let reason = format!("{} bytes for topic {topic}, whose limit is {limit}", record.size());
    let mut bytes = record.value.clone().unwrap_or_default();
    bytes.truncate(letter_limit.saturating_sub(MOST_HEADER_BYTES));
    let key = record.key.clone().filter(|key| key.len() <= LONGEST_KEY);
    OutRecord {
        topic: TopicId::DEAD_LETTERS,
        member: None,
        key,
        value: Some(bytes),
        headers: of_output(topic, DeadLetterCode::OUTPUT_TOO_LARGE, reason),
    }
}

/// The headers of a dead letter that is of an output record of `topic`.
pub fn of_output(topic: &str, code: DeadLetterCode, reason: String) -> Vec<(String, Vec<u8>)> {
    vec![
        (header::CODE.to_owned(), code.as_str().into()),
        (header::REASON.to_owned(), reason.into_bytes()),
        (header::TOPIC.to_owned(), topic.into()),
    ]
}

/// Room for the headers of a dead letter that is of an output.
const MOST_HEADER_BYTES: usize = 4096;

/// A longer key is left out of a dead letter that is of an output.
const LONGEST_KEY: usize = 1024;
