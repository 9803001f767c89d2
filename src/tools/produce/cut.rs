//! A file's records.

use std::io::{BufRead, BufReader, Read};

use serde::de::IgnoredAny;
use serde_json::Value;

use super::door;
use super::error::ProduceError;
use super::input::{Framing, Input, inputs};
use super::options::{KeyRule, ProduceOptions};
use super::{CONTENT_TYPE_HEADER, SOURCE_HEADER};
use crate::config::Runtime;
use crate::log::Headers;
use crate::tools::dead_letters::Examine;

/// A record as it is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// File and, where it is one of several, line.
    pub place: String,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Source and content type, where they are known.
    pub headers: Headers,
    /// How many bytes of its file were read for it.
    pub read: u64,
}

/// What becomes of the records of files.
pub(super) trait Sink {
    /// A file is begun.
    fn begin(&mut self, name: &str);
    /// A record.
    fn record(&mut self, cut: Cut) -> Result<(), ProduceError>;
    /// A record that cannot be made: the place, and why.
    fn unusable(&mut self, place: String, reason: String) -> Result<(), ProduceError>;
    /// A file was read to its end; `empty`: there was nothing in it.
    fn end(&mut self, name: &str, empty: bool);
}

/// Hands `each` the records that [`produce`](super::produce) would write; what is said to people goes to
/// stderr. Nothing is written. Returns how many files were read.
///
/// # Errors
/// When a file cannot be read or its content type not be told, when the topology would look at none of its
/// records (see [`produce`](super::produce)), and when a record has no key where one was asked for.
pub fn cut(
    config: &Runtime,
    options: &ProduceOptions,
    examine: Option<&dyn Examine>,
    each: &mut dyn FnMut(Cut),
) -> Result<u64, ProduceError> {
    let mut handing = Handing { each, files: 0 };
    Prepared::new(config, options, examine)?.read(options, &mut handing)?;
    Ok(handing.files)
}

struct Handing<'e> {
    each: &'e mut dyn FnMut(Cut),
    files: u64,
}

impl Sink for Handing<'_> {
    fn begin(&mut self, _name: &str) {}

    fn record(&mut self, cut: Cut) -> Result<(), ProduceError> {
        (self.each)(cut);
        Ok(())
    }

    fn unusable(&mut self, place: String, reason: String) -> Result<(), ProduceError> {
        Err(ProduceError::Record { place, reason })
    }

    fn end(&mut self, name: &str, empty: bool) {
        self.files += 1;
        if empty {
            eprintln!("empty: {name}");
        }
    }
}

/// The files of a call, checked before any is read.
pub(super) struct Prepared {
    pub(super) inputs: Vec<Input>,
}

impl Prepared {
    /// Checks files and, where the topology says what it looks at, sources and content types. What people
    /// should know of keys is said.
    pub(super) fn new(
        config: &Runtime,
        options: &ProduceOptions,
        examine: Option<&dyn Examine>,
    ) -> Result<Self, ProduceError> {
        let (inputs, notes) = inputs(options, config)?;
        if let Some(examine) = examine.filter(|_| !options.force) {
            door::check(config, options, &inputs, examine)?;
        }
        notes.iter().for_each(|note| eprintln!("note: {note}"));
        Ok(Self { inputs })
    }

    /// Hands all records to `sink`, tombstones last.
    pub(super) fn read(&self, options: &ProduceOptions, sink: &mut dyn Sink) -> Result<(), ProduceError> {
        for input in &self.inputs {
            sink.begin(&input.name());
            let source = options.source.of_file(input.stem());
            let mut cutting =
                Cutting { input, key: &options.key, headers: headers(source, input.content_type.clone()), sink };
            let empty = !cutting.file()?;
            sink.end(&input.name(), empty);
        }
        for key in &options.tombstones {
            let (place, key) = (format!("the tombstone {key:?}"), Some(key.clone().into_bytes()));
            let headers = headers(options.source.of_file(None), None);
            sink.record(Cut { place, key, value: None, headers, read: 0 })?;
        }
        Ok(())
    }
}

fn headers(source: Option<String>, content_type: Option<String>) -> Headers {
    let header = |name: &str, value: Option<String>| value.map(|value| (name.to_owned(), value.into_bytes()));
    header(SOURCE_HEADER, source).into_iter().chain(header(CONTENT_TYPE_HEADER, content_type)).collect()
}

/// Cuts one file.
struct Cutting<'c> {
    input: &'c Input,
    key: &'c KeyRule,
    headers: Headers,
    sink: &'c mut dyn Sink,
}

impl Cutting<'_> {
    /// Whether there was anything in it.
    fn file(&mut self) -> Result<bool, ProduceError> {
        let mut reader = BufReader::with_capacity(1 << 16, self.input.open()?);
        match self.input.framing {
            Framing::Lines => self.lines(&[], &mut reader),
            Framing::Whole => {
                let bytes = self.rest(Vec::new(), &mut reader)?;
                self.whole(bytes)
            }
            // What arrives line by line goes out line by line: its end may be far away.
            Framing::Told if self.input.path.is_none() => {
                let mut first = Vec::new();
                while first.trim_ascii().is_empty() && self.line(&mut first, &mut reader)? > 0 {}
                if is_json(&first) { self.lines(&first, &mut reader) } else { self.told(first, &mut reader) }
            }
            Framing::Told => self.told(Vec::new(), &mut reader),
        }
    }

    fn told(&mut self, begun: Vec<u8>, reader: &mut dyn BufRead) -> Result<bool, ProduceError> {
        let bytes = self.rest(begun, reader)?;
        if is_json_lines(&bytes) { self.lines(&[], &mut bytes.as_slice()) } else { self.whole(bytes) }
    }

    fn rest(&self, mut begun: Vec<u8>, reader: &mut dyn BufRead) -> Result<Vec<u8>, ProduceError> {
        reader.read_to_end(&mut begun).map_err(|error| self.input.unreadable(error))?;
        Ok(begun)
    }

    fn line(&self, into: &mut Vec<u8>, reader: &mut dyn BufRead) -> Result<usize, ProduceError> {
        reader.read_until(b'\n', into).map_err(|error| self.input.unreadable(error))
    }

    /// A record a line of what was read already and of what comes.
    fn lines(&mut self, begun: &[u8], reader: &mut dyn BufRead) -> Result<bool, ProduceError> {
        let mut reader = begun.chain(reader);
        let mut any = false;
        for number in 1u64.. {
            let mut line = Vec::new();
            let read = self.line(&mut line, &mut reader)?;
            if read == 0 {
                break;
            }
            let value = line.trim_ascii();
            if value.is_empty() {
                continue;
            }
            any = true;
            let place = format!("{}:{number}", self.input.name());
            let key = match self.key {
                KeyRule::Usual | KeyRule::None => Ok(None),
                KeyRule::Text(text) => Ok(Some(text.clone().into_bytes())),
                KeyRule::Pointer(pointer) => pointed(value, pointer).map(Some),
            };
            self.give(place, key, value.to_vec(), read as u64)?;
        }
        Ok(any)
    }

    /// The file as one record. One that holds nothing is none.
    fn whole(&mut self, bytes: Vec<u8>) -> Result<bool, ProduceError> {
        if bytes.trim_ascii().is_empty() {
            return Ok(false);
        }
        let key = match self.key {
            KeyRule::None => Ok(None),
            KeyRule::Text(text) => Ok(Some(text.clone().into_bytes())),
            KeyRule::Pointer(pointer) => pointed(&bytes, pointer).map(Some),
            KeyRule::Usual => Ok(self.input.document.clone().map(String::into_bytes)),
        };
        let read = bytes.len() as u64;
        self.give(self.input.name(), key, bytes, read)?;
        Ok(true)
    }

    fn give(
        &mut self,
        place: String,
        key: Result<Option<Vec<u8>>, String>,
        value: Vec<u8>,
        read: u64,
    ) -> Result<(), ProduceError> {
        match key {
            Ok(key) => self.sink.record(Cut { place, key, value: Some(value), headers: self.headers.clone(), read }),
            Err(reason) => self.sink.unusable(place, reason),
        }
    }
}

fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
}

/// Whether the bytes are JSON lines, and not one JSON value or one that is broken: most of the lines that
/// hold anything are JSON values by themselves. Few lines of a value that is written over several lines are.
fn is_json_lines(bytes: &[u8]) -> bool {
    if is_json(bytes) {
        return false;
    }
    let lines = || bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    lines().filter(|line| is_json(line)).count() * 2 > lines().count()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_value_is_no_lines_and_lines_with_a_broken_one_are() {
        for (text, lines) in [
            ("{\"a\": 1}\n{\"a\": 2}\n", true),
            ("{\"a\": 1}\n\n{\"a\": \n{\"a\": 3}\n", true),
            ("{\"a\": 1}\n", false),
            ("{\n  \"a\": 1,\n}\n", false),
            ("[\n{\"a\": 1},\n{\"a\": 2},\n{\"a\": 3}\n", false),
            ("{\"a\": 1};\n", false),
            ("{\"a\": 1}\n;\n", false),
            ("// first\n{\"a\": 1}\n", false),
            ("", false),
        ] {
            assert_eq!(is_json_lines(text.as_bytes()), lines, "{text}");
        }
    }
}
