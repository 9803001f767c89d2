//! Writes files into a topic.
//!
//! JSON goes in line by line, a record a line, without a key: each line adds or updates listings.
//! Any other file is one record, and so is a JSON file that is one JSON value as a whole. Such a
//! record is a *document*: its next version replaces all the listings that it gave. So it needs a
//! key that stays the same from version to version, which is the file's name without its extension
//! unless another one is asked for.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::Value;

use super::error::ToolError;
use super::open::{Opened, ensure_topic, opened_or_made};
use super::print::{Outcome, print_result};
use crate::cli::ConfigArgs;
use crate::config::{Runtime, Section};
use crate::error::{Domain, Fault};
use crate::log::{Headers, Log, LogError, NewRecord, Producer};
use crate::words::{counted, grouped};

/// The header that names a record's source.
pub const SOURCE_HEADER: &str = "source";
/// The header that names a record's content type.
pub const CONTENT_TYPE_HEADER: &str = "content-type";

const JSON: &str = "application/json";

/// Where a record's source comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SourceRule {
    /// From the configuration of the topic.
    #[default]
    Topic,
    /// This one.
    Name(String),
    /// The file's name without its extension.
    FileName,
}

/// Where a record's key comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum KeyRule {
    /// None for lines, the file's name without its extension for whole files.
    #[default]
    Usual,
    /// From this place in each record: a JSON Pointer such as `/id`.
    Pointer(String),
    /// This text.
    Text(String),
    /// No key.
    None,
}

/// What to write.
#[derive(Debug, Clone, Default)]
pub struct ProduceOptions {
    /// The topic, with or without the prefix.
    pub topic: String,
    /// Files; `-` is standard input, and of a folder all files below it are taken. None at all is
    /// standard input.
    pub files: Vec<PathBuf>,
    /// The source.
    pub source: SourceRule,
    /// The content type; `None` tells it by each file's name.
    pub content_type: Option<String>,
    /// The key.
    pub key: KeyRule,
    /// Create time of all records, in ms since the Unix epoch; `None` is now.
    pub timestamp_ms: Option<i64>,
    /// Leave out what cannot be written, instead of stopping there.
    pub keep_going: bool,
    /// Create the topic also where the configuration does not know it.
    pub create: bool,
    /// Show a progress bar on a terminal.
    pub progress: bool,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Produced {
    /// Full name of the topic.
    pub topic: String,
    /// Files read.
    pub files: u64,
    /// Records written.
    pub records: u64,
    /// Bytes of their values.
    pub bytes: u64,
    /// Records left out because they could not be written.
    pub left_out: u64,
    /// Seconds that it took.
    pub seconds: f64,
}

impl std::fmt::Display for Produced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (records, files) = (counted(self.records, "record"), counted(self.files, "file"));
        let bytes = HumanBytes(self.bytes);
        write!(f, "{records} ({bytes}) from {files} to {} in {:.1} s", self.topic, self.seconds)?;
        if self.left_out > 0 {
            write!(f, "; {} left out", grouped(self.left_out))?;
        }
        Ok(())
    }
}

/// Why files could not be written into a topic.
#[derive(Debug, thiserror::Error)]
pub enum ProduceError {
    /// What any tool may fail at.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// It cannot be told what a file holds.
    #[error("{}: cannot tell its content type by its name", path.display())]
    ContentType {
        /// The file.
        path: PathBuf,
    },
    /// A record of a file cannot be written to the topic.
    #[error("{place}: {reason}")]
    Record {
        /// File and line.
        place: String,
        /// What is wrong.
        reason: String,
    },
}

impl From<LogError> for ProduceError {
    fn from(error: LogError) -> Self {
        Self::Tool(error.into())
    }
}

impl Fault for ProduceError {
    fn domain(&self) -> Domain {
        match self {
            Self::Tool(error) => error.domain(),
            Self::ContentType { .. } | Self::Record { .. } => Domain::User,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Tool(error) => error.hint(),
            Self::ContentType { .. } => Some("name it: --content-type text/calendar".to_owned()),
            Self::Record { .. } => Some("--keep-going leaves out what cannot be written".to_owned()),
        }
    }
}

/// Writes files into a topic, which is created when missing. What was left out is told on stderr,
/// and so is, when a file or record ends it, how much was written before.
///
/// # Errors
/// When nothing would read the topic (unless `create`), when a file cannot be read or its content
/// type not be told, when a record cannot be written (unless `keep_going`), or when the log fails.
/// What was read before is written all the same.
pub fn produce(log: &dyn Log, config: &Runtime, options: &ProduceOptions) -> Result<Produced, ProduceError> {
    let begun = Instant::now();
    let inputs = inputs(options, config)?;
    let topic = ensure_topic(log, config, &options.topic, options.create)?;
    let mut writing = Writing {
        options,
        topic: topic.as_str().into(),
        producer: log.producer()?,
        bar: if options.progress { bar(&inputs) } else { ProgressBar::hidden() },
        done: Produced { topic, files: 0, records: 0, bytes: 0, left_out: 0, seconds: 0.0 },
    };
    let written = inputs.iter().try_for_each(|input| writing.file(input));
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

/// `headwater produce`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
JSON is written a record a line, without a key. Any other file is one record, and so is a .json \
file that is one JSON value; its key is the file's name without its extension, so that a newer \
version of the file replaces all the listings of the older one.

Examples:
  headwater produce raw.events listings.jsonl --source meetup
  headwater produce raw.events calendars/*.ics --source-from-file-name
  curl -s https://example.org/events.ics |
    headwater produce raw.events - --source example --content-type text/calendar
  headwater produce decisions decisions.jsonl --key /id")]
pub struct ProduceArgs {
    /// Topic, with or without the prefix; one that the configuration knows is created when missing
    pub topic: String,
    /// Files or folders; - or none is standard input
    pub files: Vec<PathBuf>,
    /// A file, as among FILES; may be repeated
    #[arg(long = "file", value_name = "FILE")]
    pub more_files: Vec<PathBuf>,
    /// Source of the records
    #[arg(long, value_name = "NAME", conflicts_with = "source_from_file_name")]
    pub source: Option<String>,
    /// Take each file's name without its extension as the source of its records
    #[arg(long)]
    pub source_from_file_name: bool,
    /// Content type of the records [default: by each file's name]
    #[arg(long, value_name = "TYPE")]
    pub content_type: Option<String>,
    /// Take the key from this place in each JSON record, a JSON Pointer such as /id
    #[arg(long, value_name = "POINTER", group = "key_rule", value_parser = pointer)]
    pub key: Option<String>,
    /// Give all records this key
    #[arg(long, value_name = "TEXT", group = "key_rule")]
    pub key_value: Option<String>,
    /// Give no record a key
    #[arg(long, group = "key_rule")]
    pub no_key: bool,
    /// Say that the records were written at this time, such as 2026-03-26T00:00:00Z; on Kafka the
    /// retention of the topic counts from it [default: now]
    #[arg(long, value_name = "TIME")]
    pub timestamp: Option<jiff::Timestamp>,
    /// Leave out records that cannot be written, instead of stopping there
    #[arg(long)]
    pub keep_going: bool,
    /// Create the topic also where the configuration does not know it
    #[arg(long)]
    pub create: bool,
    /// Print the counts as JSON
    #[arg(long)]
    pub json: bool,
    /// Which configuration, and how much to log.
    #[command(flatten)]
    pub config: ConfigArgs,
}

fn pointer(text: &str) -> Result<String, String> {
    if text.starts_with('/') { Ok(text.to_owned()) } else { Err("a JSON Pointer begins with /".to_owned()) }
}

impl ProduceArgs {
    fn options(&self) -> ProduceOptions {
        let source = match (&self.source, self.source_from_file_name) {
            (Some(name), _) => SourceRule::Name(name.clone()),
            (None, true) => SourceRule::FileName,
            (None, false) => SourceRule::Topic,
        };
        let key = match (&self.key, &self.key_value, self.no_key) {
            (Some(pointer), _, _) => KeyRule::Pointer(pointer.clone()),
            (None, Some(text), _) => KeyRule::Text(text.clone()),
            (None, None, true) => KeyRule::None,
            (None, None, false) => KeyRule::Usual,
        };
        ProduceOptions {
            topic: self.topic.clone(),
            files: self.files.iter().chain(&self.more_files).cloned().collect(),
            source,
            content_type: self.content_type.clone(),
            key,
            timestamp_ms: self.timestamp.map(jiff::Timestamp::as_millisecond),
            keep_going: self.keep_going,
            create: self.create,
            progress: !self.json,
        }
    }

    /// Runs the tool.
    ///
    /// # Errors
    /// When it cannot do its work.
    pub fn run<S: Section>(self) -> Outcome {
        let Opened { config, log, .. } = opened_or_made::<S>(&self.config)?;
        let produced = produce(log.as_ref(), &config.runtime, &self.options())?;
        print_result(&produced, self.json)
    }
}

/// How a file is cut into records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// A record a line.
    Lines,
    /// One record if it is one JSON value as a whole, or else a record a line.
    WholeOrLines,
    /// One record.
    Whole,
}

/// A file to read; without a path, standard input.
#[derive(Debug, Clone)]
struct Input {
    path: Option<PathBuf>,
    framing: Framing,
    /// The header to send.
    content_type: Option<String>,
}

impl Input {
    fn name(&self) -> String {
        self.path.as_ref().map_or_else(|| "standard input".to_owned(), |path| path.display().to_string())
    }

    /// The file's name without its extension.
    fn stem(&self) -> Option<String> {
        self.path.as_ref()?.file_stem().map(|stem| stem.to_string_lossy().into_owned())
    }

    fn open(&self) -> io::Result<Box<dyn Read>> {
        match &self.path {
            None => Ok(Box::new(io::stdin())),
            Some(path) => Ok(Box::new(File::open(path)?)),
        }
    }

    fn unreadable(&self, source: io::Error) -> ProduceError {
        ToolError::Reading { path: self.path.clone().unwrap_or_else(|| "-".into()), source }.into()
    }
}

/// All files, with folders opened, and what is in them. Nothing is read yet, so that a name that
/// is wrong stops everything before anything is written.
fn inputs(options: &ProduceOptions, config: &Runtime) -> Result<Vec<Input>, ProduceError> {
    let full = config.full_name(&options.topic);
    let configured = config.inputs.iter().find(|input| config.full_name(&input.topic) == full);
    let known = configured.is_some_and(|input| input.content_type.is_some());
    if options.files.is_empty() {
        return Ok(vec![input(None, options, known)?]);
    }
    let mut inputs = Vec::new();
    for path in &options.files {
        if path == Path::new("-") {
            inputs.push(input(None, options, known)?);
            continue;
        }
        let metadata = std::fs::metadata(path).map_err(|source| ToolError::Reading { path: path.clone(), source })?;
        let files = if metadata.is_dir() { files_in(path)? } else { vec![path.clone()] };
        for file in files {
            inputs.push(input(Some(file), options, known)?);
        }
    }
    Ok(inputs)
}

/// The files in a folder and its folders, by path, without hidden ones. Links to folders are not
/// followed.
fn files_in(folder: &Path) -> Result<Vec<PathBuf>, ToolError> {
    let unreadable = |source| ToolError::Reading { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        if entry.file_type().map_err(unreadable)?.is_dir() {
            files.extend(files_in(&entry.path())?);
        } else if entry.path().is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

/// `known`: the topic's content type is configured, so that a guess must not overrule it.
fn input(path: Option<PathBuf>, options: &ProduceOptions, known: bool) -> Result<Input, ProduceError> {
    let extension = path.as_ref().and_then(|path| path.extension()).map(|e| e.to_string_lossy().to_ascii_lowercase());
    let by_name = match (&path, extension.as_deref()) {
        (None, _) => Some((JSON, Framing::Lines)),
        (_, Some("jsonl" | "ndjson")) => Some((JSON, Framing::Lines)),
        (_, Some("json")) => Some((JSON, Framing::WholeOrLines)),
        (_, Some("jsonld")) => Some(("application/ld+json", Framing::WholeOrLines)),
        (_, Some("ics" | "ical")) => Some(("text/calendar", Framing::Whole)),
        (_, Some("html" | "htm")) => Some(("text/html", Framing::Whole)),
        (_, Some("xml" | "rss" | "atom")) => Some(("application/xml", Framing::Whole)),
        (_, Some("csv")) => Some(("text/csv", Framing::Whole)),
        _ => None,
    };
    let Some(given) = &options.content_type else {
        let Some((content_type, framing)) = by_name else {
            return Err(ProduceError::ContentType { path: path.unwrap_or_default() });
        };
        return Ok(Input { path, framing, content_type: (!known).then(|| content_type.to_owned()) });
    };
    let essence = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let lines = matches!(essence.as_str(), "application/jsonl" | "application/x-ndjson" | "application/ndjson");
    let json = lines || essence.ends_with("/json") || essence.ends_with("+json");
    let framing = match by_name {
        _ if !json => Framing::Whole,
        _ if lines => Framing::Lines,
        Some((_, framing @ (Framing::Lines | Framing::WholeOrLines))) => framing,
        _ => Framing::WholeOrLines,
    };
    let content_type = if lines { JSON.to_owned() } else { given.clone() };
    Ok(Input { path, framing, content_type: Some(content_type) })
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
    topic: std::sync::Arc<str>,
    producer: Box<dyn Producer>,
    bar: ProgressBar,
    done: Produced,
}

impl Writing<'_> {
    fn file(&mut self, input: &Input) -> Result<(), ProduceError> {
        self.bar.set_message(input.name());
        let headers = self.headers(input);
        let file = input.open().map_err(|error| input.unreadable(error))?;
        match input.framing {
            Framing::Lines => self.lines(input, &headers, &mut BufReader::with_capacity(1 << 16, file))?,
            Framing::Whole | Framing::WholeOrLines => self.whole(input, &headers, file)?,
        }
        self.done.files += 1;
        Ok(())
    }

    fn headers(&self, input: &Input) -> Headers {
        let source = match &self.options.source {
            SourceRule::Topic => None,
            SourceRule::Name(name) => Some(name.clone()),
            SourceRule::FileName => input.stem(),
        };
        let source = source.map(|source| (SOURCE_HEADER.to_owned(), source.into_bytes()));
        let content_type = input.content_type.clone().map(|t| (CONTENT_TYPE_HEADER.to_owned(), t.into_bytes()));
        source.into_iter().chain(content_type).collect()
    }

    fn lines(&mut self, input: &Input, headers: &Headers, reader: &mut dyn BufRead) -> Result<(), ProduceError> {
        for number in 1u64.. {
            let mut line = Vec::new();
            let read = reader.read_until(b'\n', &mut line).map_err(|error| input.unreadable(error))?;
            if read == 0 {
                break;
            }
            self.bar.inc(read as u64);
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            let place = || format!("{}:{number}", input.name());
            match self.line_key(line) {
                Ok(key) => self.send(key, line.to_vec(), headers, &place)?,
                Err(reason) => self.leave_out(&place, reason)?,
            }
        }
        Ok(())
    }

    fn whole(&mut self, input: &Input, headers: &Headers, mut file: Box<dyn Read>) -> Result<(), ProduceError> {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|error| input.unreadable(error))?;
        let one = input.framing == Framing::Whole || serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).is_ok();
        if !one {
            return self.lines(input, headers, &mut bytes.as_slice());
        }
        self.bar.inc(bytes.len() as u64);
        let place = || input.name();
        match self.file_key(input, &bytes) {
            Ok(key) => self.send(key, bytes, headers, &place),
            Err(reason) => self.leave_out(&place, reason),
        }
    }

    fn line_key(&self, line: &[u8]) -> Result<Option<Vec<u8>>, String> {
        match &self.options.key {
            KeyRule::Usual | KeyRule::None => Ok(None),
            KeyRule::Text(text) => Ok(Some(text.clone().into_bytes())),
            KeyRule::Pointer(pointer) => pointed(line, pointer).map(Some),
        }
    }

    fn file_key(&self, input: &Input, bytes: &[u8]) -> Result<Option<Vec<u8>>, String> {
        match &self.options.key {
            KeyRule::None => Ok(None),
            KeyRule::Text(text) => Ok(Some(text.clone().into_bytes())),
            KeyRule::Pointer(pointer) => pointed(bytes, pointer).map(Some),
            KeyRule::Usual => Ok(self.document(input).map(String::into_bytes)),
        }
    }

    /// What document a whole file is a version of. Standard input has no name but its source.
    fn document(&self, input: &Input) -> Option<String> {
        input.stem().or_else(|| match &self.options.source {
            SourceRule::Name(name) => Some(name.clone()),
            SourceRule::Topic | SourceRule::FileName => None,
        })
    }

    fn send(
        &mut self,
        key: Option<Vec<u8>>,
        value: Vec<u8>,
        headers: &Headers,
        place: &dyn Fn() -> String,
    ) -> Result<(), ProduceError> {
        let bytes = value.len() as u64;
        let topic = self.topic.clone();
        let timestamp_ms = self.options.timestamp_ms;
        let (key, value) = (key.map(Into::into), Some(value.into()));
        let record = NewRecord { topic, key, value, headers: headers.clone(), timestamp_ms };
        match self.producer.send(record) {
            Ok(()) => {
                self.done.records += 1;
                self.done.bytes += bytes;
                Ok(())
            }
            Err(LogError::TooLarge { size, limit, .. }) => {
                let reason = format!("{size} bytes with key and headers; {} takes up to {limit}", self.topic);
                self.leave_out(place, reason)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn leave_out(&mut self, place: &dyn Fn() -> String, reason: String) -> Result<(), ProduceError> {
        if !self.options.keep_going {
            return Err(ProduceError::Record { place: place(), reason });
        }
        self.done.left_out += 1;
        self.bar.suspend(|| eprintln!("left out: {}: {reason}", place()));
        Ok(())
    }
}

/// The key that a record names itself: a text as it is, a number or a truth value as JSON.
fn pointed(json: &[u8], pointer: &str) -> Result<Vec<u8>, String> {
    let record: Value = serde_json::from_slice(json).map_err(|error| format!("not JSON: {error}"))?;
    match record.pointer(pointer) {
        Some(Value::String(text)) => Ok(text.clone().into_bytes()),
        Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(value.to_string().into_bytes()),
        Some(Value::Null) | None => Err(format!("nothing at {pointer} to make a key of")),
        Some(Value::Array(_) | Value::Object(_)) => Err(format!("what is at {pointer} is no text or number")),
    }
}
