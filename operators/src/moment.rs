//! [`Moment`]: a point in time as precisely as the source gave it.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use jiff::fmt::temporal::DateTimePrinter;
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, Zoned};
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;

/// Milliseconds in a day.
pub const DAY_MS: i64 = 86_400_000;

/// An instant, or a day where the source gave no time.
///
/// As text: RFC 3339 with the local offset (`2026-03-28T19:30:00-07:00`), or `2026-03-28`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Moment {
    /// A local calendar day.
    Day(Date),
    /// An instant, with the offset of the place's clock at that instant.
    Instant {
        /// Milliseconds since the Unix epoch.
        ms: i64,
        /// Minutes east of Greenwich.
        offset_min: i16,
    },
}

impl Moment {
    /// The instant of a zoned time.
    pub fn from_zoned(zoned: &Zoned) -> Self {
        let offset_min = i16::try_from(zoned.offset().seconds() / 60).unwrap_or(0);
        Self::Instant { ms: zoned.timestamp().as_millisecond(), offset_min }
    }

    /// Whether it is a day only.
    pub fn is_day(&self) -> bool {
        matches!(self, Self::Day(_))
    }

    /// The local calendar day.
    pub fn local_date(&self) -> Date {
        match *self {
            Self::Day(date) => date,
            Self::Instant { ms, offset_min } => {
                let days = (ms + i64::from(offset_min) * 60_000).div_euclid(DAY_MS);
                date_from_days(days)
            }
        }
    }

    /// The local calendar day as days since 1970-01-01.
    pub fn local_day_number(&self) -> i32 {
        let days = match *self {
            Self::Day(date) => days_of(date),
            Self::Instant { ms, offset_min } => (ms + i64::from(offset_min) * 60_000).div_euclid(DAY_MS),
        };
        i32::try_from(days).unwrap_or(i32::MAX)
    }

    /// The earliest instant that it can stand for, in ms since the Unix epoch; a day begins at
    /// midnight of `zone`, or of UTC where the zone is unknown.
    pub fn earliest_ms(&self, zone: Option<&TimeZone>) -> i64 {
        match *self {
            Self::Instant { ms, .. } => ms,
            Self::Day(date) => day_start_ms(date, zone),
        }
    }

    /// The instant after the last one that it can stand for: itself, or the end of the day.
    pub fn latest_ms(&self, zone: Option<&TimeZone>) -> i64 {
        match *self {
            Self::Instant { ms, .. } => ms,
            Self::Day(date) => date.tomorrow().map_or(i64::MAX, |next| day_start_ms(next, zone)),
        }
    }
}

impl Moment {
    /// As text; `None` for an instant beyond the years that have four digits.
    fn text(&self) -> Option<Text> {
        let mut text = Text::default();
        match *self {
            Self::Day(date) => PRINTER.print_date(&date, &mut text).ok()?,
            Self::Instant { ms, offset_min } => {
                let offset = Offset::from_seconds(i32::from(offset_min) * 60).unwrap_or(Offset::UTC);
                PRINTER.print_timestamp_with_offset(&Timestamp::from_millisecond(ms).ok()?, offset, &mut text).ok()?;
            }
        }
        Some(text)
    }
}

/// The text of a time. It takes no allocation: each record has several times in it.
#[derive(Clone, Default)]
struct Text(SmallVec<[u8; 40]>);

impl Text {
    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl jiff::fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> Result<(), jiff::Error> {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Every record has several times in it, and what `Display` goes through costs more than the text.
const PRINTER: DateTimePrinter = DateTimePrinter::new();

fn days_of(date: Date) -> i64 {
    day_start_ms(date, None).div_euclid(DAY_MS)
}

fn date_from_days(days: i64) -> Date {
    Timestamp::from_millisecond(days.saturating_mul(DAY_MS)).map_or(Date::ZERO, |at| Offset::UTC.to_datetime(at).date())
}

fn day_start_ms(date: Date, zone: Option<&TimeZone>) -> i64 {
    let zone = zone.cloned().unwrap_or(TimeZone::UTC);
    date.to_zoned(zone).map_or(i64::MAX, |zoned| zoned.timestamp().as_millisecond())
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Day(date) => write!(f, "{date}"),
            Self::Instant { .. } => f.write_str(self.text().ok_or(fmt::Error)?.as_str()),
        }
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Moment {
    type Err = jiff::Error;

    /// Reads what [`Display`](fmt::Display) writes; a time needs its offset.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() <= 10 {
            return text.parse().map(Self::Day);
        }
        let pieces = jiff::fmt::temporal::Pieces::parse(text)?;
        let (at, offset) = match (pieces.time(), pieces.to_numeric_offset()) {
            (Some(time), Some(offset)) => (offset.to_timestamp(pieces.date().to_datetime(time))?, offset),
            // It cannot be one; this says why.
            (_, offset) => (text.parse::<Timestamp>()?, offset.unwrap_or(Offset::UTC)),
        };
        let offset_min = i16::try_from(offset.seconds() / 60).unwrap_or(0);
        Ok(Self::Instant { ms: at.as_millisecond(), offset_min })
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.text().ok_or_else(|| serde::ser::Error::custom("an instant beyond the year 9999"))?;
        serializer.serialize_str(text.as_str())
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read_text(deserializer, str::parse)
    }
}

/// Reads a text by `read`, without a copy of it.
fn read_text<'de, D, T, E>(deserializer: D, read: fn(&str) -> Result<T, E>) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    E: fmt::Display,
{
    struct Reader<T, E>(fn(&str) -> Result<T, E>);

    impl<T, E: fmt::Display> Visitor<'_> for Reader<T, E> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a time")
        }

        fn visit_str<X: serde::de::Error>(self, text: &str) -> Result<T, X> {
            (self.0)(text).map_err(X::custom)
        }
    }

    deserializer.deserialize_str(Reader(read))
}

/// A record timestamp (ms since the Unix epoch) as RFC 3339 in UTC, for `#[serde(with)]`.
pub mod rfc3339_ms {
    use std::cell::RefCell;

    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{PRINTER, Text, read_text};

    thread_local! {
        /// The time written last. A new listing has the same one in all that is written of it.
        static LAST: RefCell<(i64, Text)> = RefCell::default();
    }

    /// Writes `2026-03-28T19:30:00.5Z` in text formats, the number in binary ones.
    pub fn serialize<S: Serializer>(ms: &i64, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return ms.serialize(serializer);
        }
        LAST.with_borrow_mut(|(last, text)| {
            if last != ms || text.as_str().is_empty() {
                let at = Timestamp::from_millisecond(*ms).map_err(serde::ser::Error::custom)?;
                *text = Text::default();
                PRINTER.print_timestamp(&at, &mut *text).map_err(serde::ser::Error::custom)?;
                *last = *ms;
            }
            serializer.serialize_str(text.as_str())
        })
    }

    /// Reads what [`serialize`] wrote.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
        if !deserializer.is_human_readable() {
            return i64::deserialize(deserializer);
        }
        read_text(deserializer, |text| text.parse::<Timestamp>().map(Timestamp::as_millisecond))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trip_keeps_the_offset() {
        for text in ["2026-03-28T19:30:00-07:00", "2026-03-28", "2026-03-28T19:30:00+05:30", "2026-03-28T19:30:00Z"] {
            let moment: Moment = text.parse().unwrap();
            let again: Moment = moment.to_string().parse().unwrap();
            assert_eq!(moment, again, "{text}");
        }
        let moment: Moment = "2026-03-28T19:30:00-07:00".parse().unwrap();
        assert_eq!(moment.to_string(), "2026-03-28T19:30:00-07:00");
        assert_eq!(moment.local_date().to_string(), "2026-03-28");
    }

    #[test]
    fn times_without_an_offset_are_refused() {
        for text in ["2026-03-28T19:30:00", "2026-03-28T19:30", "2026-03-28T19:30:00[Europe/Berlin]", "2026-03-28Tx"] {
            assert!(text.parse::<Moment>().is_err(), "{text}");
        }
        let leap: Moment = "2026-03-28T23:59:60Z".parse().unwrap();
        assert_eq!(leap.earliest_ms(None), "2026-03-28T23:59:60Z".parse::<Timestamp>().unwrap().as_millisecond());
    }

    #[test]
    fn the_time_written_last_is_not_written_for_another() {
        #[derive(Serialize)]
        struct At(#[serde(with = "rfc3339_ms")] i64);
        let times = [0, 0, 1_000, 1_500, i64::MAX, 1_500, 0];
        let texts = times.map(|ms| serde_json::to_string(&At(ms)).ok());
        let expected = [
            Some("1970-01-01T00:00:00Z"),
            Some("1970-01-01T00:00:00Z"),
            Some("1970-01-01T00:00:01Z"),
            Some("1970-01-01T00:00:01.5Z"),
            None,
            Some("1970-01-01T00:00:01.5Z"),
            Some("1970-01-01T00:00:00Z"),
        ];
        assert_eq!(texts, expected.map(|text| text.map(|text| format!("\"{text}\""))));
    }

    #[test]
    fn the_local_day_is_not_the_utc_day() {
        let late: Moment = "2026-03-28T23:30:00-07:00".parse().unwrap();
        let day: Moment = "2026-03-28".parse().unwrap();
        assert_eq!(late.local_day_number(), day.local_day_number());
        assert!(day.is_day() && !late.is_day());
    }

    #[test]
    fn a_day_ends_at_the_next_midnight_of_its_zone() {
        let day: Moment = "2026-03-08".parse().unwrap(); // 23 hours long in Los Angeles
        let zone = TimeZone::get("America/Los_Angeles").unwrap();
        assert_eq!(day.latest_ms(Some(&zone)) - day.earliest_ms(Some(&zone)), 23 * 3_600_000);
        assert_eq!(day.latest_ms(None) - day.earliest_ms(None), DAY_MS);
    }
}
