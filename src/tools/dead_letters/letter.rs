//! Dead letters as they are read, what is left to be done with each, and which are meant.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::error::LettersError;
use super::id::LetterId;
use crate::config::{Period, Runtime, topic};
use crate::dataflow::dead_letter::header;
use crate::log::{Log, LogRecord, read_to_end};
use crate::tools::open::no_topic;

/// Header of a replayed record: `PARTITION/OFFSET/TIMESTAMP` of the record that it repeats.
pub(super) const REPLAY_OF: &str = "replay-of";

/// Where the record was read that a dead letter is of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// Full topic name.
    pub topic: Arc<str>,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
}

/// A record's place among those of its document: later in the same partition is newer; elsewhere,
/// with a later timestamp. In text `PARTITION/OFFSET/TIMESTAMP`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// In ms since the Unix epoch.
    pub timestamp_ms: i64,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.partition, self.offset, self.timestamp_ms)
    }
}

impl FromStr for Version {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.splitn(3, '/');
        let mut next = || parts.next().unwrap_or_default();
        Ok(Self { partition: next().parse()?, offset: next().parse()?, timestamp_ms: next().parse()? })
    }
}

/// A dead letter without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Where it is.
    pub id: LetterId,
    /// When it was written, in ms since the Unix epoch.
    pub written_ms: i64,
    /// Stable code.
    pub code: String,
    /// What is wrong.
    pub reason: String,
    /// Source of the record.
    pub source: Option<String>,
    /// Its content type.
    pub content_type: Option<String>,
    /// Which part of the record.
    pub part: Option<String>,
    /// Whether the value is less than that of the record.
    pub excerpt: bool,
    /// The record; `None` for what was no record of an input (an output that was too large).
    pub origin: Option<Origin>,
    /// The record's timestamp.
    pub record_ms: Option<i64>,
    /// Place of the record or, where that repeats another one, of the first.
    pub version: Option<Version>,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// How often the record was replayed before.
    pub attempts: u32,
    /// Bytes of the value.
    pub size: usize,
}

pub(super) fn text(record: &LogRecord, name: &str) -> Option<String> {
    record.header(name).map(|value| String::from_utf8_lossy(value).into_owned())
}

pub(super) fn number<N: FromStr>(record: &LogRecord, name: &str) -> Option<N> {
    std::str::from_utf8(record.header(name)?).ok()?.parse().ok()
}

impl Letter {
    /// What a record of the topic says.
    pub fn of(record: &LogRecord) -> Self {
        let place = number(record, header::PARTITION).zip(number(record, header::OFFSET));
        let origin = text(record, header::TOPIC).zip(place);
        let record_ms = number(record, header::TIMESTAMP);
        let own = place.zip(record_ms);
        let own = own.map(|((partition, offset), timestamp_ms)| Version { partition, offset, timestamp_ms });
        Self {
            id: LetterId { partition: record.partition, offset: record.offset },
            written_ms: record.timestamp_ms,
            code: text(record, header::CODE).unwrap_or_default(),
            reason: text(record, header::REASON).unwrap_or_default(),
            source: text(record, "source"),
            content_type: text(record, "content-type"),
            part: text(record, header::PART),
            excerpt: record.header(header::EXCERPT).is_some(),
            origin: origin.map(|(topic, (partition, offset))| Origin { topic: topic.into(), partition, offset }),
            record_ms,
            version: number(record, REPLAY_OF).or(own),
            key: record.key.clone(),
            attempts: number(record, header::ATTEMPTS).unwrap_or(0),
            size: record.value.as_ref().map_or(0, Vec::len),
        }
    }

    /// When it went wrong, by its place among the others.
    pub(super) fn order(&self) -> (i64, LetterId) {
        (self.written_ms, self.id)
    }
}

/// What is left to be done with a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Standing {
    /// Neither replayed nor given up.
    New,
    /// Put back on a topic; if it failed again, there is another dead letter of it.
    Replayed,
    /// The record has failed too often; it is replayed only on request.
    Parked,
}

impl Standing {
    /// As printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Replayed => "replayed",
            Self::Parked => "parked",
        }
    }
}

/// Which dead letters are meant; what is empty or `None` lets all pass.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// These ones.
    pub ids: Vec<LetterId>,
    /// Of these codes.
    pub codes: Vec<String>,
    /// Of these sources.
    pub sources: Vec<String>,
    /// Of records of this topic (full name).
    pub topic: Option<String>,
    /// Of records of this partition of it.
    pub partition: Option<i32>,
    /// Of the record at this offset.
    pub offset: Option<i64>,
    /// Written at or after this time, in ms since the Unix epoch.
    pub since_ms: Option<i64>,
    /// Written before this time.
    pub until_ms: Option<i64>,
}

impl Filter {
    /// Whether `letter` is meant.
    pub fn lets(&self, letter: &Letter) -> bool {
        let origin = letter.origin.as_ref();
        let one_of = |list: &[String], value: Option<&str>| {
            list.is_empty() || value.is_some_and(|value| list.iter().any(|one| one == value))
        };
        (self.ids.is_empty() || self.ids.contains(&letter.id))
            && one_of(&self.codes, Some(&letter.code))
            && one_of(&self.sources, letter.source.as_deref())
            && self.topic.as_ref().is_none_or(|topic| origin.is_some_and(|origin| *origin.topic == **topic))
            && self.partition.is_none_or(|partition| origin.is_some_and(|origin| origin.partition == partition))
            && self.offset.is_none_or(|offset| origin.is_some_and(|origin| origin.offset == offset))
            && self.since_ms.is_none_or(|since| letter.written_ms >= since)
            && self.until_ms.is_none_or(|until| letter.written_ms < until)
    }
}

/// Reads a point in time: RFC 3339, or how long ago, such as `2h` or `3 days`. In ms since the Unix
/// epoch.
///
/// # Errors
/// What is wrong with the text.
pub fn parse_time(text: &str) -> Result<i64, String> {
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Ok(at.as_millisecond());
    }
    let ago: Period = text.parse().map_err(|_| {
        "write a time such as 2026-03-28T19:30:00Z, or how long ago, such as 2h or \"3 days\"".to_owned()
    })?;
    Ok(jiff::Timestamp::now().as_millisecond().saturating_sub(ago.as_millis_i64()))
}

/// A record of the topic `replays`: dead letters whose records one transaction has put back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReplayNote {
    format: u8,
    /// Offsets by partition of the topic `dead-letters`.
    letters: BTreeMap<i32, Vec<i64>>,
    /// Full name of the topic that they were put on, where that is not the one they came from.
    to_topic: Option<String>,
}

impl ReplayNote {
    const FORMAT: u8 = 1;

    pub(super) fn new(letters: impl IntoIterator<Item = LetterId>, to_topic: Option<String>) -> Self {
        let mut note = Self { format: Self::FORMAT, letters: BTreeMap::new(), to_topic };
        for letter in letters {
            note.letters.entry(letter.partition).or_default().push(letter.offset);
        }
        note
    }
}

/// The dead letters that were replayed.
#[derive(Debug, Default)]
pub(super) struct Done(BTreeSet<LetterId>);

impl Done {
    pub(super) fn read(log: &dyn Log, config: &Runtime) -> Result<Self, LettersError> {
        let mut done = Self::default();
        let topic = config.full_name(topic::REPLAYS);
        read_to_end(log, &topic, |record| -> Result<(), LettersError> {
            let value = record.value.as_deref().unwrap_or_default();
            let note: ReplayNote = serde_json::from_slice(value).map_err(|error| LettersError::Damaged {
                topic: topic.clone(),
                at: LetterId { partition: record.partition, offset: record.offset },
                reason: error.to_string(),
            })?;
            for (partition, offsets) in note.letters {
                done.0.extend(offsets.into_iter().map(|offset| LetterId { partition, offset }));
            }
            Ok(())
        })?;
        Ok(done)
    }

    pub(super) fn standing(&self, letter: &Letter, max_attempts: u32) -> Standing {
        match self.0.contains(&letter.id) {
            true => Standing::Replayed,
            false if letter.attempts >= max_attempts => Standing::Parked,
            false => Standing::New,
        }
    }
}

/// Hands every dead letter to `each`, with what is left to be done with it.
pub(super) fn each_letter(
    log: &dyn Log,
    config: &Runtime,
    done: &Done,
    mut each: impl FnMut(Letter, Standing),
) -> Result<(), LettersError> {
    let topic = config.full_name(topic::DEAD_LETTERS);
    if log.watermarks(&topic)?.is_none() {
        return Err(no_topic(log, config, topic).into());
    }
    read_to_end(log, &topic, |record| {
        let letter = Letter::of(&record);
        let standing = done.standing(&letter, config.dead_letters.max_attempts);
        each(letter, standing);
        Ok(())
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::tools::dead_letters) fn letter(headers: &[(&str, &str)]) -> LogRecord {
        LogRecord {
            topic: "headwater.dead-letters".into(),
            partition: 1,
            offset: 5,
            timestamp_ms: 1_000,
            key: None,
            value: Some(b"xyz".to_vec()),
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect(),
        }
    }

    #[test]
    fn a_letter_is_what_its_headers_say() {
        let record = letter(&[
            ("source", "a"),
            ("dead-letter-code", "malformed"),
            ("dead-letter-topic", "t"),
            ("dead-letter-partition", "2"),
            ("dead-letter-offset", "9"),
            ("dead-letter-attempts", "3"),
        ]);
        let read = Letter::of(&record);
        assert_eq!(read.origin, Some(Origin { topic: "t".into(), partition: 2, offset: 9 }));
        assert_eq!((read.attempts, read.excerpt, read.size, read.source.as_deref()), (3, false, 3, Some("a")));
        assert_eq!(Letter::of(&letter(&[("dead-letter-topic", "events")])).origin, None);
    }

    #[test]
    fn filters_join_with_and_and_their_values_with_or() {
        let one = Letter::of(&letter(&[("source", "a"), ("dead-letter-code", "malformed")]));
        let lets = |filter: Filter| filter.lets(&one);
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        assert!(lets(Filter::default()));
        assert!(lets(Filter { codes: texts(&["x", "malformed"]), sources: texts(&["a"]), ..Filter::default() }));
        assert!(!lets(Filter { codes: texts(&["malformed"]), sources: texts(&["b"]), ..Filter::default() }));
        assert!(lets(Filter { since_ms: Some(1_000), until_ms: Some(1_001), ..Filter::default() }));
        assert!(!lets(Filter { until_ms: Some(1_000), ..Filter::default() }));
        assert!(!lets(Filter { topic: Some("t".to_owned()), ..Filter::default() }));
        assert!(lets(Filter { ids: vec![LetterId { partition: 1, offset: 5 }], ..Filter::default() }));
    }

    #[test]
    fn ids_and_times_are_read() {
        assert_eq!("3/17".parse(), Ok(LetterId { partition: 3, offset: 17 }));
        assert!("17".parse::<LetterId>().is_err());
        assert_eq!(parse_time("1970-01-01T00:00:01Z"), Ok(1_000));
        let (now, ago) = (jiff::Timestamp::now().as_millisecond(), parse_time("2h").unwrap());
        assert!((now - ago - 7_200_000).abs() < 60_000);
        assert!(parse_time("yesterday").is_err());
    }
}
