//! Records of topics, to be looked at.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use headwater::log::{Log, LogError, LogRecord, Polled, Start, TopicPartition, Watermarks};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// The most records that are read for one answer.
const MOST_SCANNED: u64 = 50_000;

/// How long reading for one answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Of a value, so many bytes are shown.
const SHOWN_BYTES: usize = 64 << 10;

/// How much is read at a time.
const BATCH_BYTES: usize = 1 << 20;

/// Which records.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    /// Of this partition; of all without.
    pub(crate) partition: Option<i32>,
    /// From this offset on; counted from the end where it is negative.
    pub(crate) offset: Option<i64>,
    /// With this key.
    pub(crate) key: Option<String>,
    /// Whose key or value holds this text.
    pub(crate) contains: Option<String>,
    /// Written at this time or after it, in ms since the Unix epoch.
    pub(crate) since_ms: Option<i64>,
    /// At most so many.
    pub(crate) limit: usize,
}

impl Wanted {
    fn is_filtered(&self) -> bool {
        self.key.is_some() || self.contains.is_some() || self.since_ms.is_some()
    }

    /// Whether the newest ones are asked for, and not those after a place.
    fn wants_newest(&self) -> bool {
        self.partition.is_none() || (self.is_filtered() && self.offset.is_none())
    }

    fn lets(&self, record: &LogRecord) -> bool {
        let holds = |text: &String| {
            let parts = [record.key.as_deref(), record.value.as_deref()];
            parts.into_iter().flatten().any(|part| memchr::memmem::find(part, text.as_bytes()).is_some())
        };
        self.key.as_ref().is_none_or(|key| record.key.as_deref() == Some(key.as_bytes()))
            && self.contains.as_ref().is_none_or(holds)
            && self.since_ms.is_none_or(|since| record.timestamp_ms >= since)
    }
}

/// Records, and how much of the topic was looked at.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Found {
    records: Vec<Value>,
    /// Where to read on in a partition that was asked for.
    next: Option<Next>,
    scanned: u64,
    /// Whether all was looked at that was asked for.
    complete: bool,
}

#[derive(Debug, Serialize)]
struct Next {
    partition: i32,
    offset: i64,
}

/// Reads records of `topic` (full name); `None` where there is no such topic or partition.
pub(crate) fn find(log: &dyn Log, topic: &str, wanted: &Wanted) -> Result<Option<Found>, LogError> {
    let Some(ends) = log.watermarks(topic)? else { return Ok(None) };
    let topic: Arc<str> = topic.into();
    let all = (0..).zip(ends).filter(|(partition, _)| wanted.partition.is_none_or(|only| only == *partition));
    let all: Vec<(i32, Watermarks)> = all.collect();
    if all.is_empty() {
        return Ok(None);
    }
    let each = (MOST_SCANNED / all.len() as u64) as i64;
    let begin = |ends: &Watermarks| begin(wanted, *ends, each);
    let complete =
        all.iter().all(|(_, ends)| !wanted.is_filtered() || wanted.offset.is_some() || begin(ends) <= ends.low);
    let parts: Vec<(TopicPartition, i64, i64)> = all
        .iter()
        .filter(|(_, ends)| ends.low < ends.high)
        .map(|(partition, ends)| (TopicPartition::new(Arc::clone(&topic), *partition), begin(ends), ends.high))
        .collect();
    let mut reading = Reading { wanted, records: Vec::new(), scanned: 0, last: None, is_cut: false };
    reading.read(log, &parts)?;
    let Reading { mut records, scanned, last, is_cut, .. } = reading;
    if wanted.wants_newest() {
        newest(&mut records, wanted.limit);
    }
    let next = last.filter(|_| wanted.partition.is_some()).map(|(partition, offset)| Next { partition, offset });
    Ok(Some(Found { records: records.iter().map(shown).collect(), next, scanned, complete: complete && !is_cut }))
}

/// Where to begin in a partition.
fn begin(wanted: &Wanted, ends: Watermarks, each: i64) -> i64 {
    let limit = i64::try_from(wanted.limit).unwrap_or(i64::MAX);
    let from = match wanted.offset {
        Some(offset) if offset >= 0 => offset,
        Some(back) => ends.high.saturating_add(back),
        None if wanted.is_filtered() => ends.high.saturating_sub(each),
        None => ends.high.saturating_sub(limit),
    };
    from.clamp(ends.low, ends.high)
}

struct Reading<'w> {
    wanted: &'w Wanted,
    records: Vec<LogRecord>,
    scanned: u64,
    /// The partition that was read last, and where it goes on.
    last: Option<(i32, i64)>,
    /// Whether there was not enough time.
    is_cut: bool,
}

impl Reading<'_> {
    fn read(&mut self, log: &dyn Log, parts: &[(TopicPartition, i64, i64)]) -> Result<(), LogError> {
        if parts.is_empty() {
            return Ok(());
        }
        let starts: Vec<_> = parts.iter().map(|(at, from, _)| (at.clone(), Start::Offset(*from))).collect();
        let mut open: Vec<&TopicPartition> =
            parts.iter().filter(|(_, from, end)| from < end).map(|(at, ..)| at).collect();
        let mut reader = log.reader(&starts)?;
        let deadline = Instant::now() + PATIENCE;
        let mut polled = Vec::new();
        while !open.is_empty() {
            if Instant::now() >= deadline {
                self.is_cut = true;
                return Ok(());
            }
            reader.poll(&mut polled, BATCH_BYTES, Duration::from_millis(50))?;
            for one in polled.drain(..) {
                match one {
                    Polled::Record(record) => {
                        if self.take(record) {
                            return Ok(());
                        }
                    }
                    Polled::End { partition, .. } => open.retain(|at| **at != partition),
                }
            }
        }
        Ok(())
    }

    /// Whether there are enough.
    fn take(&mut self, record: LogRecord) -> bool {
        self.scanned += 1;
        self.last = Some((record.partition, record.offset + 1));
        if self.wanted.lets(&record) {
            self.records.push(record);
        }
        if self.wanted.wants_newest() && self.records.len() > self.wanted.limit.saturating_mul(2).max(100) {
            newest(&mut self.records, self.wanted.limit);
        }
        self.is_cut |= self.scanned >= MOST_SCANNED;
        self.is_cut || (!self.wanted.wants_newest() && self.records.len() >= self.wanted.limit)
    }
}

/// Leaves the newest records, the newest first.
fn newest(records: &mut Vec<LogRecord>, limit: usize) {
    records.sort_by_key(|record| std::cmp::Reverse((record.timestamp_ms, record.partition, record.offset)));
    records.truncate(limit);
}

fn shown(record: &LogRecord) -> Value {
    let headers: Map<String, Value> =
        record.headers.iter().map(|(name, value)| (name.clone(), text_or_base64(value))).collect();
    let bytes = record.value.as_ref().map_or(0, Vec::len);
    let value = record.value.as_deref().map(|value| text_or_base64(value.get(..SHOWN_BYTES).unwrap_or(value)));
    json!({
        "topic": &*record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": Timestamp::from_millisecond(record.timestamp_ms).ok(),
        "key": record.key.as_deref().map(text_or_base64),
        "headers": headers,
        "value": value,
        "bytes": bytes,
        "cut": bytes > SHOWN_BYTES,
    })
}

/// Text where it is text but for an end that was cut, else Base64.
pub(crate) fn text_or_base64(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::from(text),
        Err(error) if error.error_len().is_none() && bytes.len() == SHOWN_BYTES => {
            let whole = bytes.get(..error.valid_up_to()).unwrap_or_default();
            Value::from(String::from_utf8_lossy(whole))
        }
        Err(_) => json!({ "base64": STANDARD.encode(bytes) }),
    }
}

#[cfg(test)]
mod tests {
    use headwater::log::memory::MemoryLog;
    use headwater::log::{Cleanup, NewRecord, TopicSpec};

    use super::*;

    fn log() -> MemoryLog {
        let log = MemoryLog::default();
        let spec = TopicSpec {
            name: "t".to_owned(),
            partitions: 1,
            replication: None,
            cleanup: Cleanup::Delete { retention_ms: None },
            max_record_bytes: 1 << 20,
            properties: Default::default(),
        };
        log.ensure_topics(&[spec]).unwrap();
        let mut producer = log.producer().unwrap();
        for number in 0..100 {
            let value = if number == 42 { vec![0xff, 0] } else { format!("value {number}").into_bytes() };
            let key = Some(format!("k{}", number % 3).into());
            let record = NewRecord {
                topic: "t".into(),
                key,
                value: Some(value.into()),
                headers: Vec::new(),
                timestamp_ms: Some(number),
            };
            producer.send(record).unwrap();
        }
        producer.flush().unwrap();
        log
    }

    fn offsets(found: &Found) -> Vec<i64> {
        found.records.iter().map(|record| record["offset"].as_i64().unwrap()).collect()
    }

    #[test]
    fn records_are_found_by_place_key_text_and_time() {
        let log = log();
        let find = |wanted: Wanted| find(&log, "t", &Wanted { limit: 3, ..wanted }).unwrap().unwrap();
        let page = find(Wanted { partition: Some(0), offset: Some(41), ..Wanted::default() });
        assert_eq!(offsets(&page), [41, 42, 43]);
        assert_eq!(page.next.as_ref().map(|next| next.offset), Some(44));
        assert_eq!(page.records[1]["value"]["base64"], "/wA=");
        assert_eq!(offsets(&find(Wanted { partition: Some(0), offset: Some(-2), ..Wanted::default() })), [98, 99]);
        assert_eq!(offsets(&find(Wanted::default())), [99, 98, 97], "without a place, the newest");
        assert_eq!(offsets(&find(Wanted { key: Some("k1".to_owned()), ..Wanted::default() })), [97, 94, 91]);
        let text = find(Wanted { contains: Some("value 7".to_owned()), ..Wanted::default() });
        assert_eq!((offsets(&text), text.scanned, text.complete), (vec![79, 78, 77], 100, true));
        assert_eq!(offsets(&find(Wanted { since_ms: Some(99), ..Wanted::default() })), [99]);
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        let log = log();
        assert!(find(&log, "x", &Wanted::default()).unwrap().is_none());
        assert!(find(&log, "t", &Wanted { partition: Some(5), ..Wanted::default() }).unwrap().is_none());
    }
}
