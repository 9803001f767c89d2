//! Lists as iCalendar (RFC 5545). Times are given in UTC, so no zone needs to be described; days are days.

use headwater_operators::Moment;
use jiff::Timestamp;

use super::super::found::Found;
use crate::document::{self, EventValue};

/// The content type.
pub const CONTENT_TYPE: &str = "text/calendar; charset=utf-8";

/// Lines are folded after so many bytes (RFC 5545, 3.1).
const LONGEST_LINE: usize = 75;

pub(super) fn write(found: &Found) -> Vec<u8> {
    let mut lines = Lines::default();
    lines.add("BEGIN", "VCALENDAR");
    lines.add("VERSION", "2.0");
    lines.add("PRODID", "-//Headwater//headwater-serve//EN");
    for event in &found.events {
        if let Ok(value) = document::value(&event.document) {
            add_event(&mut lines, &event.id, &value);
        }
    }
    lines.add("END", "VCALENDAR");
    lines.0.into_bytes()
}

fn add_event(lines: &mut Lines, id: &str, event: &EventValue<'_>) {
    let Some(start) = event.start_time else { return };
    lines.add("BEGIN", "VEVENT");
    lines.text("UID", id);
    let updated = event.updated_at.unwrap_or_default();
    lines.add("DTSTAMP", &utc(updated.as_millisecond()));
    lines.add("LAST-MODIFIED", &utc(updated.as_millisecond()));
    lines.time("DTSTART", start, false);
    if let Some(end) = event.end_time {
        lines.time("DTEND", end, true);
    }
    lines.optional("SUMMARY", event.title.as_ref().map(|title| &*title.0));
    lines.optional("DESCRIPTION", event.description.as_ref().map(|text| &*text.0));
    lines.optional("LOCATION", location(event).as_deref());
    let venue = event.venue.as_ref();
    if let Some((latitude, longitude)) = venue.and_then(|venue| venue.latitude.zip(venue.longitude)) {
        lines.add("GEO", &format!("{latitude};{longitude}"));
    }
    let categories = event.category.iter().chain(&event.tags).map(|text| escaped(&text.0)).collect::<Vec<_>>();
    if !categories.is_empty() {
        lines.add("CATEGORIES", &categories.join(","));
    }
    // A URL is no text: nothing in it is escaped.
    if let Some(url) = event.urls.first().filter(|url| !url.0.contains(char::is_control)) {
        lines.add("URL", &url.0);
    }
    lines.add("STATUS", status(event.status.as_ref().map(|status| &*status.0)));
    lines.add("END", "VEVENT");
}

/// The name of the place and its address, as people write them.
pub(super) fn location(event: &EventValue<'_>) -> Option<String> {
    let venue = event.venue.as_ref()?;
    let parts = [&venue.name, &venue.address, &venue.city, &venue.region, &venue.country];
    let parts: Vec<&str> = parts.iter().filter_map(|part| part.as_ref().map(|text| &*text.0)).collect();
    // Many an address begins with the name of the place and ends with the city.
    let told_elsewhere = |at: usize, part: &str| {
        let others = (0..).zip(&parts).filter(|(other, _)| *other != at);
        others.into_iter().any(|(other, text)| text.contains(part) && (text.len() > part.len() || other < at))
    };
    let parts: Vec<&str> =
        (0..).zip(&parts).filter(|(at, part)| !told_elsewhere(*at, part)).map(|(_, part)| *part).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn status(status: Option<&str>) -> &'static str {
    match status {
        Some("cancelled" | "postponed") => "CANCELLED",
        Some("tentative") => "TENTATIVE",
        _ => "CONFIRMED",
    }
}

fn utc(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map(|at| at.strftime("%Y%m%dT%H%M%SZ").to_string()).unwrap_or_default()
}

/// Text as a value (RFC 5545, 3.3.11). Control characters have no place in it.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | ';' | ',' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push(c),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

#[derive(Default)]
struct Lines(String);

impl Lines {
    /// Adds a line, folded where it is long, never within a character.
    fn add(&mut self, name: &str, value: &str) {
        let mut length = 0;
        for c in name.chars().chain([':']).chain(value.chars()) {
            if length + c.len_utf8() > LONGEST_LINE {
                self.0.push_str("\r\n ");
                length = 1;
            }
            self.0.push(c);
            length += c.len_utf8();
        }
        self.0.push_str("\r\n");
    }

    fn text(&mut self, name: &str, text: &str) {
        self.add(name, &escaped(text));
    }

    fn optional(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }

    /// Adds a time. The last day of an event is included in documents, and is not in calendars.
    fn time(&mut self, name: &str, at: Moment, end: bool) {
        match at {
            Moment::Instant { ms, .. } => self.add(name, &utc(ms)),
            Moment::Day(day) => {
                let day = if end { day.tomorrow().unwrap_or(day) } else { day };
                self.add(&format!("{name};VALUE=DATE"), &day.strftime("%Y%m%d").to_string());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_folded_between_characters() {
        let mut lines = Lines::default();
        lines.text("SUMMARY", &"Ł".repeat(80));
        assert!(lines.0.lines().all(|line| line.len() <= LONGEST_LINE), "{}", lines.0);
        assert_eq!(lines.0.replace("\r\n ", ""), format!("SUMMARY:{}\r\n", "Ł".repeat(80)));
    }

    #[test]
    fn a_place_is_told_once() {
        let at = |venue: &str| {
            let document = format!(r#"{{"format":1,"venue":{venue}}}"#);
            location(&document::value(&document).unwrap())
        };
        let venue = r#"{"name":"Library","address":"Library, 5 Market Row, Bonn","city":"Bonn","country":"DE"}"#;
        assert_eq!(at(venue).as_deref(), Some("Library, 5 Market Row, Bonn, DE"));
        assert_eq!(at(r#"{"name":"Bonn","city":"Bonn"}"#).as_deref(), Some("Bonn"));
        assert_eq!(at("{}"), None);
    }

    #[test]
    fn text_cannot_leave_its_line() {
        assert_eq!(escaped("a;b,c\\d\r\nEND:VEVENT"), "a\\;b\\,c\\\\d\\nEND:VEVENT");
    }
}
