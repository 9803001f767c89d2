//! Prints the records of a topic.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::error::ToolError;
use super::open::{Opened, no_topic, opened};
use super::print::Outcome;
use crate::cli::{ConfigArgs, stop_on_signals};
use crate::config::{Runtime, Section};
use crate::log::{Headers, Log, LogRecord, Polled, Reader, Start, TopicPartition};

/// How much is read at a time.
const BATCH_BYTES: usize = 4 << 20;

/// How long a poll waits; so long may it take until a signal is heeded.
const WAIT: Duration = Duration::from_millis(100);

/// What to read, and how to print it.
#[derive(Debug, Clone, Default)]
pub struct ConsumeOptions {
    /// The topic, with or without the prefix.
    pub topic: String,
    /// Begin with the first record that is there, not with the next to come.
    pub from_beginning: bool,
    /// Stop at the end of what is there; reads from the beginning.
    pub exit_at_end: bool,
    /// Print what holds now and stop: of each key the last record, unless that is a tombstone, by key; before
    /// them the records without a key.
    pub latest: bool,
    /// Stop after so many records.
    pub max: Option<u64>,
    /// One JSON object a record, with key, headers and position, instead of the values alone.
    pub json: bool,
}

/// Prints records until the end that `options` set, until `stop` is set, or until the reader of
/// `out` has gone. Returns how many were printed.
///
/// # Errors
/// When there is no such topic, the log fails, or nothing can be printed.
pub fn consume(
    log: &dyn Log,
    config: &Runtime,
    options: &ConsumeOptions,
    stop: &AtomicBool,
    out: &mut dyn Write,
) -> Result<u64, ToolError> {
    let topic = config.full_name(&options.topic);
    let Some(partitions) = log.watermarks(&topic)? else { return Err(no_topic(log, config, topic)) };
    let all = options.from_beginning || options.exit_at_end || options.latest;
    let start = if all { Start::Beginning } else { Start::End };
    let numbers = (0..).take(partitions.len());
    let assigned: Vec<_> = numbers.map(|number| (TopicPartition::new(topic.as_str(), number), start)).collect();
    let reader = log.reader(&assigned)?;
    let unread = assigned.into_iter().map(|(partition, _)| partition.partition).collect();
    let latest = options.latest.then(Latest::default);
    let mut printing = Printing { options, out, printed: 0, unread, latest };
    match printing.run(reader, stop) {
        Err(ToolError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(printing.printed),
        ended => ended.map(|()| printing.printed),
    }
}

/// `headwater consume`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  headwater consume events                                  events as they come
  headwater consume events --latest | jq .title             what holds now, one record a key
  headwater consume events --json --exit-at-end | jq .value.title
  headwater consume dead-letters --exit-at-end --json --max 10")]
pub struct ConsumeArgs {
    /// Topic, with or without the prefix
    pub topic: String,
    /// Begin with the first record that is there, instead of the next to come
    #[arg(long)]
    pub from_beginning: bool,
    /// Print what is there, from the beginning, and stop
    #[arg(long)]
    pub exit_at_end: bool,
    /// Print what holds now, the last record of each key without tombstones, in the order of keys, and stop
    #[arg(long)]
    pub latest: bool,
    /// Stop after so many records
    #[arg(long, value_name = "N")]
    pub max: Option<u64>,
    /// One JSON object a record: topic, partition, offset, timestamp, key, headers, value
    #[arg(long)]
    pub json: bool,
    /// Which configuration, and how much to log.
    #[command(flatten)]
    pub config: ConfigArgs,
}

impl ConsumeArgs {
    /// Runs the tool.
    ///
    /// # Errors
    /// When it cannot do its work.
    pub fn run<S: Section>(self) -> Outcome {
        let Opened { config, log, .. } = opened::<S>(&self.config)?;
        let stop = stop_on_signals()?;
        let options = ConsumeOptions {
            topic: self.topic,
            from_beginning: self.from_beginning,
            exit_at_end: self.exit_at_end,
            latest: self.latest,
            max: self.max,
            json: self.json,
        };
        let stdout = io::stdout().lock();
        consume(log.as_ref(), &config.runtime, &options, &stop, &mut io::BufWriter::with_capacity(1 << 16, stdout))?;
        Ok(())
    }
}

struct Printing<'o> {
    options: &'o ConsumeOptions,
    out: &'o mut dyn Write,
    printed: u64,
    /// Partitions whose end has not been seen.
    unread: BTreeSet<i32>,
    /// The records that hold, where only those are printed.
    latest: Option<Latest>,
}

/// What a topic says now.
#[derive(Default)]
struct Latest {
    keyless: BTreeMap<(i32, i64), LogRecord>,
    by_key: BTreeMap<Vec<u8>, LogRecord>,
}

impl Latest {
    /// Within a partition the later record is the newer one, whatever clocks say. Partitions that were added
    /// may part the records of a key: of those the one with the later timestamp is.
    fn take(&mut self, record: LogRecord) {
        let Some(key) = record.key.clone() else {
            self.keyless.insert((record.partition, record.offset), record);
            return;
        };
        let newer = |before: &LogRecord| {
            before.partition == record.partition
                || (before.timestamp_ms, before.partition) < (record.timestamp_ms, record.partition)
        };
        if self.by_key.get(&key).is_none_or(newer) {
            self.by_key.insert(key, record);
        }
    }

    fn records(self) -> impl Iterator<Item = LogRecord> {
        let live = self.by_key.into_values().filter(|record| record.value.is_some());
        self.keyless.into_values().chain(live)
    }
}

impl Printing<'_> {
    fn run(&mut self, mut reader: Box<dyn Reader>, stop: &AtomicBool) -> Result<(), ToolError> {
        let mut polled = Vec::new();
        while !stop.load(Ordering::Relaxed) && !self.done() {
            reader.poll(&mut polled, BATCH_BYTES, WAIT)?;
            self.take(&mut polled).map_err(ToolError::Output)?;
        }
        // What was read half says nothing of now.
        match self.latest.take().filter(|_| self.unread.is_empty()) {
            Some(latest) => self.print_all(latest).map_err(ToolError::Output),
            None => Ok(()),
        }
    }

    fn print_all(&mut self, latest: Latest) -> io::Result<()> {
        let most = self.options.max.map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(usize::MAX));
        for record in latest.records().take(most) {
            self.print(&record)?;
            self.printed += 1;
        }
        self.out.flush()
    }

    fn done(&self) -> bool {
        let enough = self.options.max.is_some_and(|max| self.printed >= max);
        enough || ((self.options.exit_at_end || self.options.latest) && self.unread.is_empty())
    }

    fn take(&mut self, polled: &mut Vec<Polled>) -> io::Result<()> {
        for one in polled.drain(..) {
            match one {
                Polled::Record(_) if self.options.max.is_some_and(|max| self.printed >= max) => break,
                Polled::Record(record) if self.latest.is_some() => {
                    if let Some(latest) = &mut self.latest {
                        latest.take(record);
                    }
                }
                Polled::Record(record) => {
                    self.print(&record)?;
                    self.printed += 1;
                }
                Polled::End { partition, .. } => {
                    self.unread.remove(&partition.partition);
                }
            }
        }
        self.out.flush()
    }

    fn print(&mut self, record: &LogRecord) -> io::Result<()> {
        if self.options.json {
            serde_json::to_writer(&mut *self.out, &Shown::of(record))?;
        } else if let Some(value) = &record.value {
            self.out.write_all(value)?;
        } else {
            let key = record.key.as_deref().map(text_or_base64);
            serde_json::to_writer(&mut *self.out, &json!({ "tombstone": key }))?;
        }
        self.out.write_all(b"\n")
    }
}

/// A record as `--json` shows it.
#[derive(Serialize)]
struct Shown<'r> {
    topic: &'r str,
    partition: i32,
    offset: i64,
    /// RFC 3339 in UTC, with milliseconds.
    timestamp: Option<String>,
    key: Option<Value>,
    headers: Map<String, Value>,
    value: ShownValue<'r>,
}

impl<'r> Shown<'r> {
    fn of(record: &'r LogRecord) -> Self {
        let timestamp = jiff::Timestamp::from_millisecond(record.timestamp_ms).ok();
        Self {
            topic: &record.topic,
            partition: record.partition,
            offset: record.offset,
            timestamp: timestamp.map(|at| format!("{at:.3}")),
            key: record.key.as_deref().map(text_or_base64),
            headers: shown_headers(&record.headers),
            value: ShownValue::of(record.value.as_deref()),
        }
    }
}

/// JSON that is nested more deeply is shown as text: many readers of JSON refuse 128 levels, and one
/// hostile record must not spoil the output for them.
const DEEPEST: usize = 100;

/// JSON as it is, other text as a string, anything else as `{"base64": "…"}`.
#[derive(Serialize)]
#[serde(untagged)]
enum ShownValue<'r> {
    Json(&'r RawValue),
    Other(Value),
}

impl<'r> ShownValue<'r> {
    fn of(value: Option<&'r [u8]>) -> Self {
        let Some(bytes) = value else { return Self::Other(Value::Null) };
        match serde_json::from_slice::<&RawValue>(bytes) {
            Ok(raw) if nesting(raw.get()) > DEEPEST => Self::Other(text_or_base64(bytes)),
            Ok(raw) if !raw.get().contains(['\n', '\r']) => Self::Json(raw),
            // Line breaks between tokens would break the line.
            Ok(raw) => Self::Other(serde_json::from_str(raw.get()).unwrap_or_else(|_| text_or_base64(bytes))),
            Err(_) => Self::Other(text_or_base64(bytes)),
        }
    }
}

/// How many arrays and objects lie in one another at the deepest place of valid JSON.
fn nesting(json: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut inside_text, mut escaped) = (false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => inside_text = !inside_text,
            b'[' | b'{' if !inside_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !inside_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn text_or_base64(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::from(text),
        Err(_) => json!({ "base64": STANDARD.encode(bytes) }),
    }
}

/// By name; a name that comes more than once has a list of values.
fn shown_headers(headers: &Headers) -> Map<String, Value> {
    let mut shown = Map::new();
    for (name, value) in headers {
        let value = text_or_base64(value);
        match shown.get_mut(name) {
            None => {
                shown.insert(name.clone(), value);
            }
            Some(Value::Array(values)) => values.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_key_in_two_partitions_the_later_record_holds() {
        let record = |partition, offset, timestamp_ms| LogRecord {
            topic: "t".into(),
            partition,
            offset,
            timestamp_ms,
            key: Some(b"k".to_vec()),
            value: Some(Vec::new()),
            headers: Vec::new(),
        };
        let cases = [([record(3, 0, 10), record(0, 5, 20)], (0, 5)), ([record(1, 0, 20), record(1, 1, 10)], (1, 1))];
        for (records, expected) in cases {
            let mut latest = Latest::default();
            records.into_iter().for_each(|record| latest.take(record));
            let held: Vec<_> = latest.records().map(|record| (record.partition, record.offset)).collect();
            assert_eq!(held, [expected]);
        }
    }

    fn shown(value: Option<&[u8]>) -> String {
        let record = LogRecord {
            topic: "t".into(),
            partition: 1,
            offset: 2,
            timestamp_ms: 1_700_000_000_120,
            key: Some(b"k".to_vec()),
            value: value.map(<[u8]>::to_vec),
            headers: vec![
                ("a".to_owned(), b"1".to_vec()),
                ("b".to_owned(), b"2".to_vec()),
                ("a".to_owned(), vec![0xff]),
            ],
        };
        serde_json::to_string(&Shown::of(&record)).unwrap()
    }

    #[test]
    fn a_record_is_one_line_of_json() {
        assert_eq!(
            shown(Some(b"{\"n\": 1.10}")),
            "{\"topic\":\"t\",\"partition\":1,\"offset\":2,\"timestamp\":\"2023-11-14T22:13:20.120Z\",\"key\":\"k\",\
             \"headers\":{\"a\":[\"1\",{\"base64\":\"/w==\"}],\"b\":\"2\"},\"value\":{\"n\": 1.10}}"
        );
    }

    #[test]
    fn values_that_are_not_json_are_text_or_base64() {
        assert!(shown(None).ends_with("\"value\":null}"));
        assert!(shown(Some(b"BEGIN:VCALENDAR\r\n")).ends_with("\"value\":\"BEGIN:VCALENDAR\\r\\n\"}"));
        assert!(shown(Some(&[0, 0xff])).ends_with("\"value\":{\"base64\":\"AP8=\"}}"));
        assert!(shown(Some(b"{\n\"a\": 1}")).ends_with("\"value\":{\"a\":1}}"));
    }

    #[test]
    fn json_that_readers_would_refuse_is_text() {
        let nested = |levels| format!("{}\"\\\"]\"{}", "[".repeat(levels), "]".repeat(levels));
        for (levels, is_text) in [(1, false), (100, false), (101, true), (100_000, true)] {
            let line = shown(Some(nested(levels).as_bytes()));
            let record: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(record["value"].is_string(), is_text, "{levels}");
        }
    }
}
