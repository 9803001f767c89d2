//! Listing dead letters, and showing one of them.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::error::LettersError;
use super::id::LetterId;
use super::letter::{Done, Filter, Letter, Standing, each_letter};
use crate::config::{Runtime, topic};
use crate::dataflow::dead_letter::header;
use crate::dataflow::{COMMIT, EPOCH};
use crate::log::{Log, LogRecord, Polled, Start, TopicPartition};
use crate::tools::open::no_topic;
use crate::tools::print::still_read;
use crate::words::grouped;

/// Widest reason in the table, in characters.
const REASON_WIDTH: usize = 80;
/// Of a value, so many bytes are shown; all of them with [`ShowForm::Raw`].
const SHOWN_BYTES: usize = 16 << 10;
/// Bytes in a line of a hex dump.
const HEX_LINE: usize = 16;

/// What is listed, and how.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    /// Which dead letters.
    pub filter: Filter,
    /// Only those of this standing.
    pub standing: Option<Standing>,
    /// The oldest first, not the newest.
    pub oldest_first: bool,
    /// At most so many; `None` is all.
    pub limit: Option<usize>,
    /// One JSON object a line.
    pub json: bool,
}

/// Lists dead letters.
///
/// # Errors
/// When there is no such topic, the log fails, or nothing can be printed.
pub fn list(log: &dyn Log, config: &Runtime, options: &ListOptions, out: &mut dyn Write) -> Result<(), LettersError> {
    let (found, total) = find(log, config, options)?;
    if options.json {
        still_read(print_lines(&found, out))?;
        return Ok(());
    }
    if !still_read(print_table(&found, out))? {
        return Ok(());
    }
    match (found.len() as u64, total) {
        (0, _) => eprintln!("no dead letters"),
        (shown, total) if shown < total => {
            eprintln!("{} of {} dead letters; --limit shows more, summary counts them", grouped(shown), grouped(total));
        }
        _ => {}
    }
    Ok(())
}

/// Dead letters as [`list`] shows them, and how many there are beyond the limit.
///
/// # Errors
/// When there is no such topic, or the log fails.
pub fn find(
    log: &dyn Log,
    config: &Runtime,
    options: &ListOptions,
) -> Result<(Vec<(Letter, Standing)>, u64), LettersError> {
    let done = Done::read(log, config)?;
    let mut found: Vec<(Letter, Standing)> = Vec::new();
    let mut total = 0_u64;
    let most = options.limit.unwrap_or(usize::MAX);
    each_letter(log, config, &done, |letter, standing| {
        if options.filter.lets(&letter) && options.standing.is_none_or(|only| only == standing) {
            total += 1;
            found.push((letter, standing));
        }
        if found.len() > most.saturating_mul(2).saturating_add(1_000) {
            arrange(&mut found, options.oldest_first, most);
        }
    })?;
    arrange(&mut found, options.oldest_first, most);
    Ok((found, total))
}

fn arrange(found: &mut Vec<(Letter, Standing)>, oldest_first: bool, most: usize) {
    found.sort_by_key(|(letter, _)| letter.order());
    if !oldest_first {
        found.reverse();
    }
    found.truncate(most);
}

/// A dead letter as `--json` shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown<'l> {
    id: LetterId,
    state: Standing,
    written: Option<String>,
    code: &'l str,
    reason: &'l str,
    source: Option<&'l str>,
    content_type: Option<&'l str>,
    part: Option<&'l str>,
    /// Whether the value is less than that of the record.
    excerpt: bool,
    attempts: u32,
    topic: Option<&'l str>,
    partition: Option<i32>,
    offset: Option<i64>,
    /// The record's.
    timestamp: Option<String>,
    key: Option<Value>,
    bytes: usize,
}

impl<'l> Shown<'l> {
    /// What is shown of a dead letter.
    pub fn of(letter: &'l Letter, state: Standing) -> Self {
        let origin = letter.origin.as_ref();
        Self {
            id: letter.id,
            state,
            written: time(letter.written_ms),
            code: &letter.code,
            reason: &letter.reason,
            source: letter.source.as_deref(),
            content_type: letter.content_type.as_deref(),
            part: letter.part.as_deref(),
            excerpt: letter.excerpt,
            attempts: letter.attempts,
            topic: origin.map(|origin| &*origin.topic),
            partition: origin.map(|origin| origin.partition),
            offset: origin.map(|origin| origin.offset),
            timestamp: letter.record_ms.and_then(time),
            key: letter.key.as_deref().map(text_or_base64),
            bytes: letter.size,
        }
    }
}

/// RFC 3339 in UTC, with milliseconds.
fn time(ms: i64) -> Option<String> {
    jiff::Timestamp::from_millisecond(ms).ok().map(|at| format!("{at:.3}"))
}

fn text_or_base64(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::from(text),
        Err(_) => json!({ "base64": STANDARD.encode(bytes) }),
    }
}

fn print_lines(found: &[(Letter, Standing)], out: &mut dyn Write) -> io::Result<()> {
    for (letter, standing) in found {
        serde_json::to_writer(&mut *out, &Shown::of(letter, *standing))?;
        writeln!(out)?;
    }
    out.flush()
}

/// Columns as wide as they need to be; the last one is not filled up.
fn columns(rows: &[Vec<String>], out: &mut dyn Write) -> io::Result<()> {
    let count = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..count).map(|column| width(column).unwrap_or(0)).collect();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:width$}  "));
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// One line of text that cannot do anything to a terminal.
fn tame(text: &str, most: usize) -> String {
    let mut tame: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(most).collect();
    if text.chars().nth(most).is_some() {
        tame.push('…');
    }
    tame
}

fn print_table(found: &[(Letter, Standing)], out: &mut dyn Write) -> io::Result<()> {
    if found.is_empty() {
        return Ok(());
    }
    let titles = ["ID", "WRITTEN", "STATE", "TRIES", "CODE", "SOURCE", "RECORD", "PART", "REASON"];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    for (letter, standing) in found {
        let origin = letter.origin.as_ref();
        let record = origin.map(|origin| format!("{}/{}/{}", origin.topic, origin.partition, origin.offset));
        rows.push(vec![
            letter.id.to_string(),
            time(letter.written_ms).unwrap_or_default(),
            standing.as_str().to_owned(),
            letter.attempts.to_string(),
            tame(&letter.code, 40),
            tame(letter.source.as_deref().unwrap_or("-"), 40),
            record.unwrap_or_else(|| "-".to_owned()),
            tame(letter.part.as_deref().unwrap_or("-"), 30),
            tame(&letter.reason, REASON_WIDTH),
        ]);
    }
    columns(&rows, out)?;
    out.flush()
}

/// How many dead letters there are of a code and a source.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// The code.
    pub code: String,
    /// The source, where one is known.
    pub source: Option<String>,
    /// All of them.
    pub letters: u64,
    /// Those that are new.
    pub new: u64,
    /// Those that were replayed.
    pub replayed: u64,
    /// Those that have failed too often.
    pub parked: u64,
    /// When the first one was written (RFC 3339).
    pub first: Option<String>,
    /// When the last one was written.
    pub last: Option<String>,
    /// The last one.
    pub example: Option<LetterId>,
    #[serde(skip)]
    span: Option<(i64, i64)>,
}

/// Counts dead letters by code and source, the most frequent first.
///
/// # Errors
/// As [`list`].
pub fn summary(
    log: &dyn Log,
    config: &Runtime,
    filter: &Filter,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), LettersError> {
    let tallies = tallies(log, config, filter)?;
    let printed = if json { print_tally_lines(&tallies, out) } else { print_tallies(&tallies, out) };
    still_read(printed)?;
    Ok(())
}

/// The counts that [`summary`] prints.
///
/// # Errors
/// When the log fails.
pub fn tallies(log: &dyn Log, config: &Runtime, filter: &Filter) -> Result<Vec<Tally>, LettersError> {
    let done = Done::read(log, config)?;
    let mut tallies: BTreeMap<(String, Option<String>), Tally> = BTreeMap::new();
    each_letter(log, config, &done, |letter, standing| {
        if filter.lets(&letter) {
            let tally = tallies.entry((letter.code.clone(), letter.source.clone())).or_default();
            tally.count(&letter, standing);
        }
    })?;
    let mut tallies: Vec<Tally> = tallies
        .into_iter()
        .map(|((code, source), tally)| Tally {
            code,
            source,
            first: tally.span.and_then(|(first, _)| time(first)),
            last: tally.span.and_then(|(_, last)| time(last)),
            ..tally
        })
        .collect();
    tallies.sort_by_key(|tally| std::cmp::Reverse(tally.letters));
    Ok(tallies)
}

impl Tally {
    fn count(&mut self, letter: &Letter, standing: Standing) {
        self.letters += 1;
        match standing {
            Standing::New => self.new += 1,
            Standing::Replayed => self.replayed += 1,
            Standing::Parked => self.parked += 1,
        }
        let (first, last) = self.span.unwrap_or((i64::MAX, i64::MIN));
        if letter.written_ms >= last {
            self.example = Some(letter.id);
        }
        self.span = Some((first.min(letter.written_ms), last.max(letter.written_ms)));
    }
}

fn print_tally_lines(tallies: &[Tally], out: &mut dyn Write) -> io::Result<()> {
    for tally in tallies {
        serde_json::to_writer(&mut *out, tally)?;
        writeln!(out)?;
    }
    out.flush()
}

fn print_tallies(tallies: &[Tally], out: &mut dyn Write) -> io::Result<()> {
    let titles = ["LETTERS", "NEW", "REPLAYED", "PARKED", "CODE", "SOURCE", "FIRST", "LAST"];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    let numbers = |tally: &Tally| [tally.letters, tally.new, tally.replayed, tally.parked].map(|n| format!("{n:>7}"));
    for tally in tallies {
        let mut row = numbers(tally).to_vec();
        row.extend([
            tame(&tally.code, 40),
            tame(tally.source.as_deref().unwrap_or("-"), 40),
            tally.first.clone().unwrap_or_default(),
            tally.last.clone().unwrap_or_default(),
        ]);
        rows.push(row);
    }
    let sum = |of: fn(&Tally) -> u64| format!("{:>7}", tallies.iter().map(of).sum::<u64>());
    let mut total = vec![sum(|t| t.letters), sum(|t| t.new), sum(|t| t.replayed), sum(|t| t.parked)];
    total.extend(["in all", "", "", ""].map(str::to_owned));
    rows.push(total);
    columns(&rows, out)
}

/// How a dead letter is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ShowForm {
    /// For people: all that is known, then the bytes as text or as a hex dump.
    #[default]
    Text,
    /// One JSON object.
    Json,
    /// The bytes as they are, and nothing else.
    Raw,
}

/// Shows one dead letter.
///
/// # Errors
/// When there is no such topic or dead letter, the log fails, or nothing can be printed.
pub fn show(
    log: &dyn Log,
    config: &Runtime,
    id: LetterId,
    form: ShowForm,
    out: &mut dyn Write,
) -> Result<(), LettersError> {
    let record = record_at(log, config, id)?;
    let standing = Done::read(log, config)?.standing(&Letter::of(&record), config.dead_letters.max_attempts);
    let printed = match form {
        ShowForm::Raw => out.write_all(record.value.as_deref().unwrap_or_default()).and_then(|()| out.flush()),
        ShowForm::Json => print_object(&record, standing, out),
        ShowForm::Text => print_text(&record, standing, out),
    };
    still_read(printed)?;
    Ok(())
}

fn record_at(log: &dyn Log, config: &Runtime, id: LetterId) -> Result<LogRecord, LettersError> {
    let topic = config.full_name(topic::DEAD_LETTERS);
    let Some(partitions) = log.watermarks(&topic)? else { return Err(no_topic(log, config, topic).into()) };
    let ends = usize::try_from(id.partition).ok().and_then(|partition| partitions.get(partition));
    let Some(_) = ends.filter(|ends| (ends.low..ends.high).contains(&id.offset)) else {
        return Err(LettersError::NoLetter { id });
    };
    let at = TopicPartition::new(topic, id.partition);
    let mut reader = log.reader(&[(at, Start::Offset(id.offset))])?;
    let mut polled = Vec::new();
    loop {
        reader.poll(&mut polled, 1, Duration::from_millis(100))?;
        match polled.drain(..).next() {
            Some(Polled::Record(record)) if record.offset == id.offset => return Ok(record),
            Some(_) => return Err(LettersError::NoLetter { id }),
            None => {}
        }
    }
}

/// Headers of the record itself, as far as they are no field of their own.
fn other_headers(record: &LogRecord) -> impl Iterator<Item = &(String, Vec<u8>)> {
    let own =
        |name: &str| name.starts_with(header::PREFIX) || ["source", "content-type", EPOCH, COMMIT].contains(&name);
    record.headers.iter().filter(move |(name, _)| !own(name))
}

fn print_object(record: &LogRecord, standing: Standing, out: &mut dyn Write) -> io::Result<()> {
    let letter = Letter::of(record);
    let mut object = serde_json::to_value(Shown::of(&letter, standing))?;
    let headers: Map<String, Value> =
        other_headers(record).map(|(name, value)| (name.clone(), text_or_base64(value))).collect();
    if let Some(fields) = object.as_object_mut() {
        fields.insert("headers".to_owned(), Value::Object(headers));
        fields.insert("value".to_owned(), text_or_base64(record.value.as_deref().unwrap_or_default()));
    }
    writeln!(out, "{object}")
}

fn print_text(record: &LogRecord, standing: Standing, out: &mut dyn Write) -> io::Result<()> {
    let letter = Letter::of(record);
    let value = record.value.as_deref().unwrap_or_default();
    let none = || "-".to_owned();
    let record_text = letter.origin.as_ref().map(|origin| {
        let at = letter.record_ms.and_then(time).map(|at| format!(", {at}")).unwrap_or_default();
        format!("{}, partition {}, offset {}{at}", origin.topic, origin.partition, origin.offset)
    });
    let holds = if letter.excerpt { "a part of the record" } else { "the whole record" };
    let key = letter.key.as_deref().map(|key| tame(&String::from_utf8_lossy(key), 200));
    for (name, text) in [
        ("dead letter", letter.id.to_string()),
        ("written", time(letter.written_ms).unwrap_or_else(none)),
        ("state", format!("{}, replayed {} times before", standing.as_str(), letter.attempts)),
        ("code", tame(&letter.code, 100)),
        ("reason", tame(&letter.reason, 2_000)),
        ("source", letter.source.as_deref().map_or_else(none, |source| tame(source, 300))),
        ("content type", letter.content_type.as_deref().map_or_else(none, |kind| tame(kind, 300))),
        ("record", record_text.unwrap_or_else(none)),
        ("key", key.unwrap_or_else(none)),
        ("part", letter.part.as_deref().map_or_else(none, |part| tame(part, 1_100))),
        ("holds", format!("{holds}, {} bytes", grouped(value.len() as u64))),
    ] {
        writeln!(out, "{name:<13} {text}")?;
    }
    for (name, value) in other_headers(record) {
        writeln!(out, "{:<13} {}: {}", "header", tame(name, 100), tame(&String::from_utf8_lossy(value), 300))?;
    }
    writeln!(out)?;
    print_bytes(value, out)
}

/// Text as it is where it is text, a hex dump where it is not.
fn print_bytes(bytes: &[u8], out: &mut dyn Write) -> io::Result<()> {
    let printable = |text: &str| text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\r' | '\t'));
    let shown = match std::str::from_utf8(bytes) {
        Ok(text) if printable(text) => {
            let end = (0..=SHOWN_BYTES.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
            writeln!(out, "{}", text.get(..end).unwrap_or_default().trim_end_matches(['\r', '\n']))?;
            end
        }
        _ => {
            let shown = bytes.len().min(SHOWN_BYTES / 4);
            hex_dump(bytes.get(..shown).unwrap_or_default(), out)?;
            shown
        }
    };
    if shown < bytes.len() {
        writeln!(out, "… and {} more bytes; --raw writes them all", grouped((bytes.len() - shown) as u64))?;
    }
    Ok(())
}

fn hex_dump(bytes: &[u8], out: &mut dyn Write) -> io::Result<()> {
    for (line, chunk) in bytes.chunks(HEX_LINE).enumerate() {
        let hex: Vec<String> = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
        let text: String =
            chunk.iter().map(|b| if b.is_ascii_graphic() || *b == b' ' { *b as char } else { '.' }).collect();
        writeln!(out, "{:08x}  {:47}  {text}", line * HEX_LINE, hex.join(" "))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::letter::tests::letter;
    use super::*;

    fn shown(value: &[u8]) -> String {
        let mut record = letter(&[
            ("source", "a"),
            ("dead-letter-code", "malformed"),
            ("dead-letter-reason", "not \u{1b}[31mJSON"),
            ("dead-letter-topic", "t"),
            ("dead-letter-partition", "2"),
            ("dead-letter-offset", "9"),
            ("trace", "x1"),
            ("epoch", "5"),
        ]);
        record.value = Some(value.to_vec());
        let mut out = Vec::new();
        print_text(&record, Standing::New, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_is_shown_as_it_is_and_reasons_cannot_colour_the_terminal() {
        let text = shown("{\"Ümlaut\":\n1}\n".as_bytes());
        assert!(text.ends_with("\n\n{\"Ümlaut\":\n1}\n"), "{text}");
        assert!(text.contains("reason        not  [31mJSON\n") && text.contains("header        trace: x1\n"), "{text}");
        assert!(!text.contains("epoch"));
    }

    #[test]
    fn bytes_are_shown_in_hex_and_never_too_many() {
        let text = shown(b"\xff\x00A\n");
        let dump = format!("\n\n00000000  {:47}  ..A.\n", "ff 00 41 0a");
        assert!(text.ends_with(&dump), "{text}");
        let text = shown(&vec![b'x'; SHOWN_BYTES + 5]);
        assert!(text.ends_with("… and 5 more bytes; --raw writes them all\n"));
        assert!(shown(b"").ends_with("the whole record, 0 bytes\nheader        trace: x1\n\n\n"));
    }
}
