//! Formats: many pages, as a server gives them, become one document.

use std::fmt;
use std::io::{self, Write};
use std::path::Path;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The form of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// CSV (RFC 4180) with a header
    Csv,
    /// One event a line, as JSON
    Ndjson,
    /// iCalendar (RFC 5545)
    Ics,
    /// GeoJSON (RFC 7946)
    Geojson,
}

impl Format {
    /// The one that the ending of a file names.
    pub fn of_file(file: &Path) -> Option<Self> {
        let ending = file.extension()?.to_str()?;
        Self::value_variants().iter().copied().find(|format| format.ending().eq_ignore_ascii_case(ending))
    }

    /// The ending of its files.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
            Self::Ics => "ics",
            Self::Geojson => "geojson",
        }
    }

    /// The last part of the address of its lists. Lines are made of the API's own JSON.
    pub fn address(self) -> &'static str {
        match self {
            Self::Csv => "events.csv",
            Self::Ndjson => "events",
            Self::Ics => "events.ics",
            Self::Geojson => "events.geojson",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.ending())
    }
}

/// Why a page cannot be added.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// It is not of the format.
    #[error("{0}")]
    Page(String),
    /// It cannot be written.
    #[error(transparent)]
    Writing(#[from] io::Error),
}

/// A calendar, before which others are left out, and its end.
const EVENT: &str = "BEGIN:VEVENT\r\n";
const END: &str = "END:VCALENDAR\r\n";

#[derive(Deserialize)]
struct List<'a> {
    #[serde(borrow, alias = "features")]
    events: Vec<&'a RawValue>,
}

/// Writes pages as one document.
pub struct Joiner<W> {
    format: Format,
    /// What stands before the events of a page; `None` before the first page.
    head: Option<String>,
    events: u64,
    out: W,
}

impl<W: Write> Joiner<W> {
    /// A document of this format.
    pub fn new(format: Format, out: W) -> Self {
        Self { format, head: None, events: 0, out }
    }

    /// How many events were written.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Adds a page.
    ///
    /// # Errors
    /// When it is not of the format, or cannot be written.
    pub fn add(&mut self, page: &str) -> Result<(), JoinError> {
        match self.format {
            Format::Csv => self.add_rows(page),
            Format::Ics => self.add_calendar(page),
            Format::Ndjson | Format::Geojson => self.add_values(page),
        }
    }

    /// Ends the document.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        let end = match self.format {
            Format::Csv | Format::Ndjson => "",
            Format::Ics => END,
            Format::Geojson => "\n]}\n",
        };
        self.out.write_all(end.as_bytes())?;
        self.out.flush()?;
        Ok(self.out)
    }

    /// Writes the head of the first page. Of the pages of one document it is the same.
    fn head(&mut self, head: &str) -> Result<(), JoinError> {
        match &self.head {
            Some(first) if first == head => Ok(()),
            Some(_) => Err(JoinError::Page("its pages differ: did a server of another version answer?".to_owned())),
            None => {
                self.head = Some(head.to_owned());
                Ok(self.out.write_all(head.as_bytes())?)
            }
        }
    }

    fn add_rows(&mut self, page: &str) -> Result<(), JoinError> {
        let end = page.find("\r\n").ok_or_else(|| JoinError::Page("it has no header".to_owned()))?;
        let (head, rows) = page.split_at(end + "\r\n".len());
        let mut reader = csv::Reader::from_reader(page.as_bytes());
        let mut row = csv::StringRecord::new();
        let mut count = 0;
        while reader.read_record(&mut row).map_err(|error| JoinError::Page(error.to_string()))? {
            count += 1;
        }
        self.head(head)?;
        self.out.write_all(rows.as_bytes())?;
        self.events += count;
        Ok(())
    }

    fn add_calendar(&mut self, page: &str) -> Result<(), JoinError> {
        let broken = || JoinError::Page("it is no calendar".to_owned());
        let inner = page.strip_suffix(END).filter(|inner| inner.starts_with("BEGIN:VCALENDAR\r\n"));
        let inner = inner.ok_or_else(broken)?;
        // A line in a text begins with a space, or is escaped.
        let begin = inner.find(&format!("\r\n{EVENT}")).map_or(inner.len(), |at| at + "\r\n".len());
        let (head, events) = inner.split_at(begin);
        self.head(head)?;
        self.out.write_all(events.as_bytes())?;
        self.events += events.split_inclusive("\r\n").map(|line| u64::from(line == EVENT)).sum::<u64>();
        Ok(())
    }

    fn add_values(&mut self, page: &str) -> Result<(), JoinError> {
        let List { events } = serde_json::from_str(page).map_err(|error| JoinError::Page(error.to_string()))?;
        let lines = self.format == Format::Ndjson;
        self.head(if lines { "" } else { "{\"type\":\"FeatureCollection\",\"features\":[" })?;
        for event in events {
            let before = match self.events {
                _ if lines => "",
                0 => "\n",
                _ => ",\n",
            };
            let after = if lines { "\n" } else { "" };
            write!(self.out, "{before}{}{after}", event.get())?;
            self.events += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(format: Format, pages: &[&str]) -> Result<(String, u64), JoinError> {
        let mut joiner = Joiner::new(format, Vec::new());
        pages.iter().try_for_each(|page| joiner.add(page))?;
        let events = joiner.events();
        Ok((String::from_utf8(joiner.finish()?).unwrap(), events))
    }

    #[test]
    fn rows_have_one_header() {
        let pages = ["id,title\r\n1,\"a\r\nb\"\r\n2,c\r\n", "id,title\r\n3,d\r\n"];
        let expected = "id,title\r\n1,\"a\r\nb\"\r\n2,c\r\n3,d\r\n".to_owned();
        assert_eq!(joined(Format::Csv, &pages).unwrap(), (expected, 3));
        assert_eq!(joined(Format::Csv, &["id,title\r\n"]).unwrap(), ("id,title\r\n".to_owned(), 0));
    }

    #[test]
    fn events_are_in_one_calendar() {
        let page = |events: &str| format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{events}END:VCALENDAR\r\n");
        let event = |uid: &str| format!("BEGIN:VEVENT\r\nUID:{uid}\r\nSUMMARY:a\r\n BEGIN:VEVENT\r\nEND:VEVENT\r\n");
        let (one, two) = (page(&event("1")), page(&(event("2") + &event("3"))));
        let expected = page(&(event("1") + &event("2") + &event("3")));
        assert_eq!(joined(Format::Ics, &[&one, &two]).unwrap(), (expected, 3));
        assert_eq!(joined(Format::Ics, &[&page("")]).unwrap(), (page(""), 0));
    }

    #[test]
    fn features_are_in_one_collection() {
        let page = |features: &str| format!("{{\"type\":\"FeatureCollection\",\"features\":[{features}]}}");
        let (text, events) = joined(Format::Geojson, &[&page("{\"id\":1},{\"id\":2}"), &page("{\"id\":3}")]).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((value["type"].as_str(), events), (Some("FeatureCollection"), 3));
        let ids: Vec<_> = value["features"].as_array().unwrap().iter().map(|feature| feature["id"].clone()).collect();
        assert_eq!(ids, [1, 2, 3]);
        let (none, _) = joined(Format::Geojson, &[&page("")]).unwrap();
        assert!(serde_json::from_str::<serde_json::Value>(&none).is_ok(), "{none}");
    }

    #[test]
    fn documents_are_lines_as_they_are() {
        let pages = ["{\"events\":[{\"price\":1.50}],\"total\":2}", "{\"events\":[{\"id\":2}],\"total\":2}"];
        assert_eq!(joined(Format::Ndjson, &pages).unwrap(), ("{\"price\":1.50}\n{\"id\":2}\n".to_owned(), 2));
    }

    #[test]
    fn pages_that_do_not_fit_are_refused() {
        for (format, pages) in [
            (Format::Csv, &["id,title\r\n1,a\r\n", "id,name\r\n2,b\r\n"][..]),
            (Format::Csv, &["id,title\r\n1\r\n"]),
            (Format::Csv, &["<html>"]),
            (Format::Ics, &["BEGIN:VCALENDAR\r\nEND:VCALENDAR"]),
            (Format::Ics, &["<html>"]),
            (Format::Geojson, &["{\"type\":\"FeatureCollection\"}"]),
            (Format::Ndjson, &["[]x"]),
        ] {
            assert!(matches!(joined(format, pages), Err(JoinError::Page(_))), "{format} {pages:?}");
        }
    }

    #[test]
    fn files_name_their_format() {
        assert_eq!(Format::of_file(Path::new("a/b.GeoJSON")), Some(Format::Geojson));
        assert_eq!(Format::of_file(Path::new("a.csv/b")), None);
        assert_eq!(Format::of_file(Path::new("b.json")), None);
    }
}
