//! Dates and times as feeds write them.

use jiff::civil::{Date, DateTime, Time};
use jiff::fmt::rfc2822;
use jiff::fmt::strtime::BrokenDownTime;
use jiff::fmt::temporal::Pieces;
use jiff::tz::{Offset, TimeZone};
use jiff::{Span, Timestamp, Zoned};

use super::text_range;
use super::zone::Zone;
use crate::moment::Moment;
use crate::zones;

/// Years that a listing may lie in.
const YEARS: std::ops::RangeInclusive<i16> = 1900..=2200;

/// A date or time as written, before a zone is known.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum When {
    /// A date, or several days.
    Days(Date, Option<Date>),
    /// What clocks on site show.
    Local(DateTime),
    /// An instant, with the offset it was written with, where that says more than UTC.
    Instant(Timestamp, Option<Offset>),
}

impl When {
    /// Adds a time of day to a date that has none.
    pub(crate) fn with_time(self, time: Option<Time>) -> Self {
        match (self, time) {
            (Self::Days(date, None), Some(time)) => Self::Local(date.to_datetime(time)),
            (other, _) => other,
        }
    }

    /// The moment at which it begins, with `zone` for times that name no offset.
    pub(crate) fn begin(&self, zone: &Zone) -> Option<Moment> {
        match *self {
            Self::Days(date, _) => Some(Moment::Day(date)),
            Self::Local(local) => zone.moment(local),
            Self::Instant(instant, None) => Some(zone.at(instant)),
            Self::Instant(instant, Some(offset)) => {
                let offset_min = i16::try_from(offset.seconds() / 60).ok()?;
                Some(Moment::Instant { ms: instant.as_millisecond(), offset_min })
            }
        }
    }

    /// The last day of several days.
    pub(crate) fn last_day(&self) -> Option<Moment> {
        match *self {
            Self::Days(_, last) => last.map(Moment::Day),
            _ => None,
        }
    }

    /// Whether `zone` is the zone that it is told in, as far as the offset shows.
    pub(crate) fn fits(&self, zone: &Zone) -> bool {
        match *self {
            Self::Instant(instant, Some(offset)) => zone.has_offset(offset, instant),
            _ => true,
        }
    }

    /// Milliseconds since the Unix epoch, for stamps.
    pub(crate) fn epoch_ms(&self, zone: &Zone) -> Option<i64> {
        self.begin(zone).map(|moment| moment.earliest_ms(None))
    }
}

/// Whether a moment lies in the years that make sense for an event: 1900 to 2200.
pub(crate) fn in_range(moment: &Moment) -> bool {
    YEARS.contains(&moment.local_date().year())
}

/// The last day of an event that begins on a day and was given with an instant as its end.
pub(crate) fn last_day(end: Moment) -> Moment {
    match end {
        Moment::Instant { ms, offset_min } => Moment::Day(Moment::Instant { ms: ms - 1, offset_min }.local_date()),
        day => day,
    }
}

/// The end of what begins at `start`, where it is given as `end`. What seems to end before it begins ends
/// in the night after it, if it begins on the same day and lasts no more than [`MAX_NIGHT_MS`]; or else the
/// end is none. `zone` is the name of the place's zone.
pub(crate) fn end_after(start: &Moment, end: Moment, zone: Option<&str>) -> Option<Moment> {
    match (*start, end) {
        (Moment::Instant { ms: begin, .. }, Moment::Instant { ms, .. }) if ms < begin => {
            let next = next_day(end, zone)?;
            let most = if is_midnight(&end) { MAX_EVENING_MS } else { MAX_NIGHT_MS };
            let night = (1..=most).contains(&(next.earliest_ms(None) - begin));
            (night && start.local_date() == end.local_date()).then_some(next)
        }
        (_, Moment::Day(day)) if day < start.local_date() => None,
        _ => Some(end),
    }
}

/// Longest time from an evening to an end that was written with the date of the evening: from 22:00 to
/// 10:00.
const MAX_NIGHT_MS: i64 = 12 * 3_600_000;

/// Longest time from a start to the midnight after it. Some write 00:00 where they do not know the end.
const MAX_EVENING_MS: i64 = 6 * 3_600_000;

/// The same time on the next day.
fn next_day(moment: Moment, zone: Option<&str>) -> Option<Moment> {
    let Moment::Instant { ms, offset_min } = moment else { return None };
    match zone.and_then(zones::zone) {
        Some(zone) => {
            let local =
                zone.to_datetime(Timestamp::from_millisecond(ms).ok()?).checked_add(Span::new().days(1)).ok()?;
            Some(Moment::from_zoned(&zone.to_zoned(local).ok()?))
        }
        None => Some(Moment::Instant { ms: ms.checked_add(crate::moment::DAY_MS)?, offset_min }),
    }
}

/// Whether clocks show 00:00.
pub(crate) fn is_midnight(moment: &Moment) -> bool {
    match *moment {
        Moment::Instant { ms, offset_min } => {
            (ms + i64::from(offset_min) * 60_000).rem_euclid(crate::moment::DAY_MS) == 0
        }
        Moment::Day(_) => false,
    }
}

/// A way to write dates.
#[derive(Debug, Clone)]
pub(crate) enum DateFormat {
    /// ISO 8601 and RFC 3339.
    Iso8601,
    /// `Sat, 28 Mar 2026 19:30:00 -0700`.
    Rfc2822,
    /// Seconds since the Unix epoch.
    EpochSeconds,
    /// Milliseconds since the Unix epoch.
    EpochMillis,
    /// English text, see [`text_range`].
    TextRange,
    /// A strptime pattern.
    Pattern(String),
}

impl DateFormat {
    /// The format of this name, or the pattern, after a check that dates can be read with it.
    pub(crate) fn compile(name: &str) -> Result<Self, String> {
        match name {
            "iso8601" => Ok(Self::Iso8601),
            "rfc2822" => Ok(Self::Rfc2822),
            "epoch-seconds" => Ok(Self::EpochSeconds),
            "epoch-millis" => Ok(Self::EpochMillis),
            "text-range" => Ok(Self::TextRange),
            pattern if pattern.contains('%') => check_pattern(pattern).map(|()| Self::Pattern(pattern.to_owned())),
            other => Err(format!("{other:?} is neither a known date format nor a strptime pattern")),
        }
    }

    /// What `text` says; `year` is for dates without one.
    pub(crate) fn read(&self, text: &str, year: Option<i16>) -> Option<When> {
        match self {
            Self::Iso8601 => iso8601(text),
            Self::Rfc2822 => read_rfc2822(text),
            Self::EpochSeconds => epoch(text, 1_000.0),
            Self::EpochMillis => epoch(text, 1.0),
            Self::TextRange => text_range::read(text, year).map(|(first, last)| When::Days(first, last)),
            Self::Pattern(pattern) => read_pattern(pattern, text, year),
        }
    }
}

/// Formats a sample and reads it back: what fails in either is no pattern for dates.
fn check_pattern(pattern: &str) -> Result<(), String> {
    let sample = Zoned::new(Timestamp::UNIX_EPOCH, TimeZone::UTC);
    let text = BrokenDownTime::from(&sample).to_string(pattern).map_err(|error| error.to_string())?;
    read_pattern(pattern, &text, Some(1970)).map(|_| ()).ok_or_else(|| format!("{pattern:?} does not give a date"))
}

fn read_pattern(pattern: &str, text: &str, year: Option<i16>) -> Option<When> {
    let mut parts = BrokenDownTime::parse(pattern, text.trim()).ok()?;
    if let Some(offset) = parts.offset() {
        let instant = parts.to_timestamp().ok()?;
        return Some(When::Instant(instant, (offset != Offset::UTC).then_some(offset)));
    }
    if let Ok(instant) = parts.to_timestamp() {
        return Some(When::Instant(instant, None));
    }
    if parts.year().is_none() {
        parts.set_year(year).ok()?;
    }
    let date = parts.to_date().ok()?;
    match parts.hour() {
        Some(_) => Some(When::Local(date.to_datetime(parts.to_time().ok()?))),
        None => Some(When::Days(date, None)),
    }
}

/// Reads ISO 8601 and RFC 3339: a date, a local time, or a time with its offset.
pub(crate) fn iso8601(text: &str) -> Option<When> {
    let text = text.trim();
    if text.len() == 10 {
        return text.parse().ok().map(|date| When::Days(date, None));
    }
    let pieces = Pieces::parse(text).ok()?;
    let Some(time) = pieces.time() else { return Some(When::Days(pieces.date(), None)) };
    let local = pieces.date().to_datetime(time);
    let Some(offset) = pieces.to_numeric_offset() else { return Some(When::Local(local)) };
    let instant = offset.to_timestamp(local).ok()?;
    Some(When::Instant(instant, (offset != Offset::UTC).then_some(offset)))
}

/// The zone that a time names in brackets (RFC 9557): `2026-12-05T19:00:00+01:00[Europe/Berlin]`.
pub(crate) fn annotation(text: &str) -> Option<&str> {
    let (_, name) = text.trim().strip_suffix(']')?.split_once('[')?;
    let name = name.trim_start_matches('!');
    // What follows may be another calendar: `[Europe/Berlin][u-ca=gregory]`.
    name.split(']').next().filter(|name| !name.contains('='))
}

/// Reads what is nearly ISO 8601, and dates in English: `2026-12-12T7:30pm`, `2026-12-16T19:30 +0100`,
/// `2026-12-18T19:30 Europe/London`, `December 9, 2026 7:00 PM`, `2026-12-14T24:00`.
pub(crate) fn loose(text: &str) -> Option<When> {
    let text = text.trim();
    iso8601(text)
        .or_else(|| date_and_clock(text))
        .or_else(|| zoned(text))
        .or_else(|| read_rfc2822(text))
        .or_else(|| text_range::read(text, None).map(|(first, last)| When::Days(first, last)))
}

/// A date, and a time of day as people write it.
fn date_and_clock(text: &str) -> Option<When> {
    let (date, clock) = match text.split_once(['T', ' ']).filter(|(date, _)| date.len() == 10) {
        Some(parts) => parts,
        None => {
            let at = text.find(':').and_then(|colon| text.get(..colon)?.rfind(' '))?;
            (text.get(..at)?.trim_end_matches([' ', ',', '-']).trim_end_matches(" at"), text.get(at + 1..)?)
        }
    };
    let date = match date.parse() {
        Ok(date) => date,
        Err(_) => text_range::read(date, None).filter(|(_, last)| last.is_none())?.0,
    };
    match clock.trim() {
        "24:00" | "24:00:00" => Some(When::Local(date.tomorrow().ok()?.at(0, 0, 0, 0))),
        clock => time_of_day(clock).map(|time| When::Local(date.to_datetime(time))),
    }
}

/// A local time with a zone or an offset after it.
fn zoned(text: &str) -> Option<When> {
    let after_date = text.get(10..).filter(|rest| rest.starts_with(['T', ' ']))?;
    let begin = after_date.get(1..)?.find(|c: char| !(c.is_ascii_digit() || matches!(c, ':' | '.')))? + 11;
    let (local, zone) = (text.get(..begin)?, text.get(begin..)?.trim());
    let local = match iso8601(local).or_else(|| date_and_clock(local))? {
        When::Local(local) => local,
        _ => return None,
    };
    match Zone::resolve(zone)?.moment(local)? {
        Moment::Instant { ms, offset_min } => {
            let offset = Offset::from_seconds(i32::from(offset_min) * 60).ok()?;
            Some(When::Instant(Timestamp::from_millisecond(ms).ok()?, (offset != Offset::UTC).then_some(offset)))
        }
        Moment::Day(_) => None,
    }
}

fn read_rfc2822(text: &str) -> Option<When> {
    let zoned = rfc2822::parse(text.trim()).ok()?;
    let offset = zoned.offset();
    Some(When::Instant(zoned.timestamp(), (offset != Offset::UTC).then_some(offset)))
}

fn epoch(text: &str, to_ms: f64) -> Option<When> {
    let ms = text.trim().parse::<f64>().ok()? * to_ms;
    // Beyond this an f64 no longer counts milliseconds one by one, and no date is meant.
    if ms.is_nan() || ms.abs() > 9.0e15 {
        return None;
    }
    Timestamp::from_millisecond(ms.round() as i64).ok().map(|instant| When::Instant(instant, None))
}

/// Reads a time of day: `19:30`, `19:30:15`, `7:30 PM`, `7pm`.
pub(crate) fn time_of_day(text: &str) -> Option<Time> {
    let text = text.trim().to_ascii_lowercase().replace("a.m.", "am").replace("p.m.", "pm");
    let (clock, half) = match text.strip_suffix("pm") {
        Some(clock) => (clock, Some(12)),
        None => text.strip_suffix("am").map_or((text.as_str(), None), |clock| (clock, Some(0))),
    };
    let mut parts = clock.trim().split(':');
    let hour: i8 = parts.next()?.parse().ok()?;
    let minute: Option<i8> = parts.next().map(str::parse).transpose().ok()?;
    let second: i8 = parts.next().map_or(Ok(0), str::parse).ok()?;
    if parts.next().is_some() || (half.is_none() && minute.is_none()) {
        return None;
    }
    let hour = match half {
        Some(shift) if (1..=12).contains(&hour) => hour % 12 + shift,
        Some(_) => return None,
        None => hour,
    };
    Time::new(hour, minute.unwrap_or(0), second, 0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(format: &str, text: &str) -> Option<String> {
        let zone = Zone::resolve("America/New_York").unwrap();
        let when = DateFormat::compile(format).unwrap().read(text, None)?;
        Some(when.begin(&zone)?.to_string())
    }

    #[test]
    fn every_format_reads_its_dates() {
        for (format, text, expected) in [
            ("iso8601", "2026-03-28", "2026-03-28"),
            ("iso8601", "20260328", "2026-03-28"),
            ("iso8601", "2026-03-28T19:30", "2026-03-28T19:30:00-04:00"),
            ("iso8601", "2026-03-28 19:30:00", "2026-03-28T19:30:00-04:00"),
            ("iso8601", "2026-03-28T19:30:00Z", "2026-03-28T15:30:00-04:00"),
            ("iso8601", "2026-03-28T19:30:00.000+02:00", "2026-03-28T19:30:00+02:00"),
            ("iso8601", "2026-03-28T19:30:00+0200", "2026-03-28T19:30:00+02:00"),
            ("rfc2822", "Sat, 28 Mar 2026 19:30:00 -0700", "2026-03-28T19:30:00-07:00"),
            ("epoch-seconds", "1774740600", "2026-03-28T19:30:00-04:00"),
            ("epoch-millis", "1774740600000", "2026-03-28T19:30:00-04:00"),
            ("text-range", "17–19 March 2026", "2026-03-17"),
            ("%d.%m.%Y %H:%M", "28.03.2026 19:30", "2026-03-28T19:30:00-04:00"),
            ("%m/%d/%Y", "03/28/2026", "2026-03-28"),
            ("%Y-%m-%d %H:%M %z", "2026-03-28 19:30 -0700", "2026-03-28T19:30:00-07:00"),
            ("%s", "1774740600", "2026-03-28T19:30:00-04:00"),
        ] {
            assert_eq!(shown(format, text).as_deref(), Some(expected), "{format} {text}");
        }
        for (format, text) in [
            ("iso8601", "2026-02-30"),
            ("iso8601", "TBD"),
            ("epoch-seconds", "NaN"),
            ("epoch-millis", "1e300"),
            ("%d.%m.%Y", "28.03."),
        ] {
            assert_eq!(shown(format, text), None, "{format} {text}");
        }
    }

    #[test]
    fn what_is_nearly_a_date_is_read() {
        let zone = Zone::resolve("America/New_York").unwrap();
        for (text, expected) in [
            ("2026-12-12T7:30pm", Some("2026-12-12T19:30:00-05:00")),
            ("2026-12-12 7 PM", Some("2026-12-12T19:00:00-05:00")),
            ("2026-12-16T19:30:00 +0100", Some("2026-12-16T19:30:00+01:00")),
            ("2026-12-16T19:30:00+01", Some("2026-12-16T19:30:00+01:00")),
            ("2026-12-18T19:30 Europe/Lisbon", Some("2026-12-18T19:30:00Z")),
            ("2026-12-18T19:30:00JST", Some("2026-12-18T19:30:00+09:00")),
            ("2026-12-14T24:00", Some("2026-12-15T00:00:00-05:00")),
            ("2026-12-14T24:00:00Z", Some("2026-12-15T00:00:00Z")),
            ("May 9, 2026 7:00 PM", Some("2026-05-09T19:00:00-04:00")),
            ("Saturday, 9 May 2026 at 19:00", Some("2026-05-09T19:00:00-04:00")),
            ("9 May 2026", Some("2026-05-09")),
            ("Sat, 28 Mar 2026 19:30:00 -0700", Some("2026-03-28T19:30:00-07:00")),
            ("2026-12", None),
            ("7:30pm", None),
            ("2026-12-18T19:30 Atlantis", None),
            ("TBD", None),
        ] {
            let found = loose(text).and_then(|when| when.begin(&zone));
            let expected = expected.map(|text| text.parse::<Moment>().unwrap());
            assert_eq!(found.map(|at| at.earliest_ms(None)), expected.map(|at| at.earliest_ms(None)), "{text}");
        }
    }

    #[test]
    fn bad_formats_are_refused() {
        for format in ["iso", "%Q7", "%H:%M", "%Y", "%"] {
            assert!(DateFormat::compile(format).is_err(), "{format}");
        }
        assert!(DateFormat::compile("%d %b").is_ok(), "the year may come from elsewhere");
    }

    #[test]
    fn times_of_day() {
        for (text, expected) in [
            ("19:30", Some("19:30:00")),
            ("7:30 PM", Some("19:30:00")),
            ("7pm", Some("19:00:00")),
            ("12 a.m.", Some("00:00:00")),
            ("12:15pm", Some("12:15:00")),
            ("08:05:59", Some("08:05:59")),
            ("13pm", None),
            ("7", None),
            ("25:00", None),
            ("noon", None),
        ] {
            assert_eq!(time_of_day(text).map(|time| time.to_string()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn an_end_at_midnight_belongs_to_the_day_before() {
        let end: Moment = "2026-03-29T00:00:00-04:00".parse().unwrap();
        assert!(is_midnight(&end));
        assert_eq!(last_day(end).to_string(), "2026-03-28");
        let late: Moment = "2026-03-29T04:00:00-04:00".parse().unwrap();
        assert!(!is_midnight(&late), "midnight is meant on site, not in UTC");
    }
}
