//! Records into the log.

use std::sync::Arc;
use std::time::Instant;

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use serde::Serialize;

use super::cut::{Cut, Prepared, Sink};
use super::error::ProduceError;
use super::input::Input;
use super::options::ProduceOptions;
use crate::config::{Role, Runtime};
use crate::log::{Log, LogError, NewRecord, Producer};
use crate::tools::dead_letters::Examine;
use crate::tools::error::ToolError;
use crate::tools::open::ensure_topic;
use crate::words::{counted, grouped};

/// What was written.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Produced {
    /// Full name of the topic.
    pub topic: String,
    /// Files read.
    pub files: u64,
    /// Files that held nothing, so that nothing was written of them.
    pub empty: u64,
    /// Records written, tombstones included.
    pub records: u64,
    /// Tombstones written.
    pub tombstones: u64,
    /// Bytes of the values.
    pub bytes: u64,
    /// Records left out because they could not be written.
    pub left_out: u64,
    /// Seconds that it took.
    pub seconds: f64,
}

impl std::fmt::Display for Produced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.files == 0 && self.tombstones > 0 {
            return write!(f, "{} to {}", counted(self.tombstones, "tombstone"), self.topic);
        }
        let (records, files) = (counted(self.records, "record"), counted(self.files, "file"));
        let bytes = HumanBytes(self.bytes);
        write!(f, "{records} ({bytes}) from {files} to {} in {:.1} s", self.topic, self.seconds)?;
        if self.left_out > 0 {
            write!(f, "; {} left out", grouped(self.left_out))?;
        }
        if self.empty > 0 {
            write!(f, "; {} empty", grouped(self.empty))?;
        }
        Ok(())
    }
}

/// Writes files into a topic, which is created when missing. What was left out, and which files were empty, is
/// said on stderr, and so is, when a file or record ends it, how much was written before. `examine`: what the
/// topology looks at; without it, records of any source and content type are written.
///
/// # Errors
/// When nothing would read the topic (unless `create`), when the topology alone writes it, when a file cannot be
/// read or its content type not be told, when the topology would look at none of its records (unless `force`),
/// when a record cannot be written (unless `keep_going`), or when the log fails. What was read before is written
/// all the same.
pub fn produce(
    log: &dyn Log,
    config: &Runtime,
    examine: Option<&dyn Examine>,
    options: &ProduceOptions,
) -> Result<Produced, ProduceError> {
    let begun = Instant::now();
    let prepared = Prepared::new(config, options, examine)?;
    let topic = ensure_topic(log, config, &options.topic, options.create)?;
    let name = topic.strip_prefix(&config.prefix).unwrap_or(&topic);
    let mut writing = Writing {
        options,
        needs_keys: config.roles.of(name) == Role::Table,
        topic: topic.as_str().into(),
        producer: log.producer()?,
        bar: if options.progress { bar(&prepared.inputs) } else { ProgressBar::hidden() },
        done: Produced { topic, files: 0, empty: 0, records: 0, tombstones: 0, bytes: 0, left_out: 0, seconds: 0.0 },
    };
    let written = prepared.read(options, &mut writing);
    let flushed = writing.producer.flush();
    writing.bar.finish_and_clear();
    // Where the log itself has failed, nobody knows.
    if flushed.is_ok() && written.as_ref().is_err_and(|error| !matches!(error, ProduceError::Tool(ToolError::Log(_)))) {
        let Produced { records, topic, .. } = &writing.done;
        eprintln!("written before: {} to {topic}", counted(*records, "record"));
    }
    written?;
    flushed?;
    Ok(Produced { seconds: begun.elapsed().as_secs_f64(), ..writing.done })
}

/// Bytes read of all bytes, where those are known.
fn bar(inputs: &[Input]) -> ProgressBar {
    let sizes = inputs.iter().map(|input| Some(std::fs::metadata(input.path.as_ref()?).ok()?.len()));
    let bar = match sizes.sum::<Option<u64>>() {
        Some(total) => ProgressBar::new(total),
        None => ProgressBar::new_spinner(),
    };
    let template = "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {wide_msg}";
    // The template is constant; were it wrong, the usual style would do.
    bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()))
}

struct Writing<'o> {
    options: &'o ProduceOptions,
    topic: Arc<str>,
    /// Whether a record without a key would say nothing.
    needs_keys: bool,
    producer: Box<dyn Producer>,
    bar: ProgressBar,
    done: Produced,
}

impl Sink for Writing<'_> {
    fn begin(&mut self, name: &str) {
        self.bar.set_message(name.to_owned());
    }

    fn record(&mut self, cut: Cut) -> Result<(), ProduceError> {
        self.bar.inc(cut.read);
        if self.needs_keys && cut.key.is_none() {
            let reason = format!("{} is a table, so its records need keys: --key /id or --key-value TEXT", self.topic);
            return self.unusable(cut.place, reason);
        }
        let bytes = cut.value.as_ref().map(|value| value.len() as u64);
        let record = NewRecord {
            topic: self.topic.clone(),
            key: cut.key.map(Into::into),
            value: cut.value.map(Into::into),
            headers: cut.headers,
            timestamp_ms: self.options.timestamp_ms,
        };
        match self.producer.send(record) {
            Ok(()) => {
                self.done.records += 1;
                self.done.tombstones += u64::from(bytes.is_none());
                self.done.bytes += bytes.unwrap_or(0);
                Ok(())
            }
            Err(LogError::TooLarge { size, limit, .. }) => {
                let reason = format!("{size} bytes with key and headers; {} takes up to {limit}", self.topic);
                self.unusable(cut.place, reason)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn unusable(&mut self, place: String, reason: String) -> Result<(), ProduceError> {
        if !self.options.keep_going {
            return Err(ProduceError::Record { place, reason });
        }
        self.done.left_out += 1;
        self.bar.suspend(|| eprintln!("left out: {place}: {reason}"));
        Ok(())
    }

    fn end(&mut self, name: &str, empty: bool) {
        self.done.files += 1;
        if empty {
            self.done.empty += 1;
            let words = "nothing was written, and what it gave before stays; --tombstone KEY withdraws it";
            self.bar.suspend(|| eprintln!("empty: {name}: {words}"));
        }
    }
}
