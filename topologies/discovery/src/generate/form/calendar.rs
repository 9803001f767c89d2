//! iCalendar (RFC 5545): a calendar of one or several VEVENTs.

use super::super::style::{Telling, Told};
use super::super::text::{push_degrees, push_int};
use super::super::world::DAY;
use super::{push_clock, push_compact};

/// How times are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// With the zone's name.
    Zoned,
    /// In UTC.
    Utc,
    /// Without a zone; the calendar names it. Only for calendars of one zone.
    Floating,
}

/// A series told as one VEVENT with a rule.
pub struct Series {
    /// How many instances the rule gives.
    pub count: usize,
    /// Local starts of the instances that do not take place.
    pub left_out: Vec<i64>,
}

/// Appends a calendar of `tellings`; with `series`, of the first one as a weekly series.
/// Lines end in CRLF and are folded after 75 octets.
pub fn push_calendar(out: &mut String, tellings: &[Telling<'_>], times: Times, series: Option<&Series>) {
    let Some(first) = tellings.first() else { return };
    out.push_str("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//");
    out.push_str(&first.source.name);
    out.push_str("//calendar 4.2//EN\r\nCALSCALE:GREGORIAN\r\nMETHOD:PUBLISH\r\n");
    line(out, "X-WR-CALNAME:", &first.venue.name);
    line(out, "X-WR-TIMEZONE:", first.city.words.zone);
    let told = if series.is_some() { 1 } else { tellings.len() };
    for telling in tellings.iter().take(told) {
        push_event(out, telling, times, series);
    }
    out.push_str("END:VCALENDAR\r\n");
}

fn push_event(out: &mut String, telling: &Telling<'_>, times: Times, series: Option<&Series>) {
    out.push_str("BEGIN:VEVENT\r\n");
    line(out, "UID:", &telling.id);
    out.push_str("DTSTAMP:");
    push_compact(out, telling.world, telling.modified);
    out.push_str("Z\r\nLAST-MODIFIED:");
    push_compact(out, telling.world, telling.modified);
    out.push_str("Z\r\nSEQUENCE:");
    push_int(out, i64::from(telling.revision));
    out.push_str("\r\n");
    push_time(out, "DTSTART", telling, telling.start, times);
    match telling.end {
        Some(end) if telling.days == 0 && telling.id.as_bytes().first().is_some_and(|byte| byte % 4 == 0) => {
            push_duration(out, end - telling.start);
        }
        Some(end) => push_time(out, "DTEND", telling, end, times),
        None => {}
    }
    if let Some(series) = series {
        out.push_str("RRULE:FREQ=WEEKLY;COUNT=");
        push_int(out, series.count as i64);
        out.push_str("\r\n");
        for start in &series.left_out {
            push_time(out, "EXDATE", telling, *start, times);
        }
    }
    line(out, "SUMMARY:", &escaped(&telling.title));
    line(out, "DESCRIPTION:", &escaped(&telling.description));
    line(out, "LOCATION:", &escaped(&location(telling)));
    if let Some((lat, lon)) = telling.point {
        out.push_str("GEO:");
        push_degrees(out, lat);
        out.push(';');
        push_degrees(out, lon);
        out.push_str("\r\n");
    }
    line(out, "CATEGORIES:", &escaped(telling.production.category.words[1]));
    let organizer = format!("{}\":mailto:office@{}.example", telling.production.host, telling.production.host_slug);
    line(out, "ORGANIZER;CN=\"", &organizer);
    line(out, "URL:", &telling.url);
    out.push_str("STATUS:");
    out.push_str(match telling.status {
        Told::Scheduled => "CONFIRMED",
        Told::Postponed => "TENTATIVE",
        Told::Cancelled => "CANCELLED",
    });
    out.push_str("\r\nEND:VEVENT\r\n");
}

fn push_time(out: &mut String, name: &str, telling: &Telling<'_>, local: i64, times: Times) {
    out.push_str(name);
    if telling.days > 0 {
        out.push_str(";VALUE=DATE:");
        out.push_str(&telling.world.day(local).compact);
        out.push_str("\r\n");
        return;
    }
    match times {
        Times::Zoned => {
            out.push_str(";TZID=");
            out.push_str(telling.city.words.zone);
            out.push(':');
            push_compact(out, telling.world, local);
        }
        Times::Utc => {
            out.push(':');
            push_compact(out, telling.world, telling.utc(local));
            out.push('Z');
        }
        Times::Floating => {
            out.push(':');
            push_compact(out, telling.world, local);
        }
    }
    out.push_str("\r\n");
}

fn push_duration(out: &mut String, minutes: i64) {
    out.push_str("DURATION:PT");
    push_clock(out, minutes.clamp(0, DAY - 1), "H");
    out.push_str("M\r\n");
}

fn location(telling: &Telling<'_>) -> String {
    let city = telling.city.words.name;
    telling.venue_name.map_or_else(|| city.to_owned(), |name| format!("{name}, {}, {city}", telling.venue.street))
}

/// Backslashes, commas, semicolons and line breaks, as RFC 5545 section 3.3.11 wants them.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '\\' | ',' | ';' => out.extend(['\\', character]),
            '\n' => out.push_str("\\n"),
            _ => out.push(character),
        }
    }
    out
}

/// Appends a content line, folded after 75 octets at a character boundary (RFC 5545 section 3.1).
fn line(out: &mut String, name: &str, value: &str) {
    out.push_str(name);
    let mut octets = name.len();
    for character in value.chars() {
        octets += character.len_utf8();
        if octets > 75 {
            out.push_str("\r\n ");
            octets = 1 + character.len_utf8();
        }
        out.push(character);
    }
    out.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_folded_between_characters() {
        let text = "ä".repeat(200);
        let mut out = String::new();
        line(&mut out, "SUMMARY:", &text);
        assert!(out.split("\r\n").all(|line| line.len() <= 75));
        assert_eq!(out.replace("\r\n ", ""), format!("SUMMARY:{text}\r\n"));
    }

    #[test]
    fn text_is_escaped() {
        assert_eq!(escaped("a, b; c\\d\ne"), "a\\, b\\; c\\\\d\\ne");
    }
}
