//! Time zones by the names that feeds use for them.

use std::str::FromStr;

use calcard::common::timezone::Tz;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use smol_str::SmolStr;

use crate::moment::Moment;
use crate::zones;

/// A time zone, with its IANA name where it has one.
#[derive(Debug, Clone)]
pub(crate) struct Zone {
    tz: TimeZone,
    name: Option<SmolStr>,
}

impl Zone {
    /// UTC as a stand-in where no zone is known: it has no name, since nobody said UTC.
    pub(crate) fn unknown() -> Self {
        Self { tz: TimeZone::UTC, name: None }
    }

    /// The zone that a feed calls `name`: an IANA name, possibly behind a prefix as in
    /// `/example.org/America/New_York` or with dashes as in `US-Pacific`; a Windows name; or a
    /// fixed offset such as `UTC-7`, `GMT+05:30` or `AoE` (anywhere on Earth, UTC-12).
    pub(crate) fn resolve(name: &str) -> Option<Self> {
        let name = name.trim().trim_matches('"');
        if name.is_empty() || name.len() > 200 {
            return None;
        }
        iana(name)
            .or_else(|| fixed_offset(name))
            .or_else(|| proprietary(name))
            .or_else(|| iana_suffix(name))
            .or_else(|| iana(&name.replacen('-', "/", 1)))
            .or_else(|| iana(&name.replace(' ', "_")))
    }

    /// A zone from a POSIX TZ string, such as `EST5EDT,M3.2.0,M11.1.0`.
    pub(crate) fn posix(rule: &str) -> Option<Self> {
        TimeZone::posix(rule).ok().map(|tz| Self { tz, name: None })
    }

    /// The IANA name.
    pub(crate) fn name(&self) -> Option<&SmolStr> {
        self.name.as_ref()
    }

    /// The instant at which clocks show `local`. In the gap of a change to summer time, the time
    /// as far behind the gap; in the fold of the change back, the first of the two.
    pub(crate) fn moment(&self, local: DateTime) -> Option<Moment> {
        self.tz.to_zoned(local).ok().map(|zoned| Moment::from_zoned(&zoned))
    }

    /// An instant, with the offset of this zone's clocks.
    pub(crate) fn at(&self, instant: Timestamp) -> Moment {
        let offset_min = i16::try_from(self.tz.to_offset(instant).seconds() / 60).unwrap_or(0);
        Moment::Instant { ms: instant.as_millisecond(), offset_min }
    }

    /// What clocks show at an instant.
    pub(crate) fn local(&self, instant: Timestamp) -> DateTime {
        self.tz.to_datetime(instant)
    }

    /// Whether clocks are `offset` from UTC at an instant.
    pub(crate) fn has_offset(&self, offset: Offset, instant: Timestamp) -> bool {
        self.tz.to_offset(instant) == offset
    }
}

fn iana(name: &str) -> Option<Zone> {
    let tz = zones::zone(name)?;
    let name = tz.iana_name().map(Into::into);
    Some(Zone { tz, name })
}

/// The last two or three parts of a path, as in `/example.org/20070129_1/Europe/Berlin`.
fn iana_suffix(name: &str) -> Option<Zone> {
    let cuts: Vec<usize> = name.match_indices('/').map(|(at, _)| at + 1).collect();
    cuts.iter().filter_map(|&at| name.get(at..)).filter(|rest| rest.contains('/')).find_map(iana)
}

fn proprietary(name: &str) -> Option<Zone> {
    match Tz::from_str(name).ok()? {
        Tz::Tz(zone) => iana(zone.name()),
        Tz::Fixed(offset) => fixed(offset.local_minus_utc()),
        Tz::Floating => None,
    }
}

fn fixed_offset(name: &str) -> Option<Zone> {
    if name.eq_ignore_ascii_case("AoE") {
        return fixed(-12 * 3600);
    }
    let head = name.get(..3)?;
    if !head.eq_ignore_ascii_case("UTC") && !head.eq_ignore_ascii_case("GMT") {
        return None;
    }
    let rest = name.get(3..)?.trim();
    let (sign, digits) = match rest.as_bytes().first()? {
        b'+' => (1, rest.get(1..)?),
        b'-' => (-1, rest.get(1..)?),
        _ => return None,
    };
    let (hours, minutes) = match digits.split_once(':') {
        Some((hours, minutes)) => (hours, minutes),
        None if digits.len() == 4 => (digits.get(..2)?, digits.get(2..)?),
        None => (digits, "0"),
    };
    let (hours, minutes) = (hours.parse::<u8>().ok()?, minutes.parse::<u8>().ok()?);
    if hours > 14 || minutes > 59 {
        return None;
    }
    fixed(sign * (i32::from(hours) * 3600 + i32::from(minutes) * 60))
}

fn fixed(seconds: i32) -> Option<Zone> {
    let tz = TimeZone::fixed(Offset::from_seconds(seconds).ok()?);
    Some(Zone { tz, name: None })
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn name_of(name: &str) -> Option<String> {
        Zone::resolve(name)?.name().map(|name| name.to_string())
    }

    #[test]
    fn names_of_real_feeds_resolve() {
        for (given, expected) in [
            ("America/New_York", "America/New_York"),
            ("america/los_angeles", "America/Los_Angeles"),
            ("Pacific Standard Time", "America/Los_Angeles"),
            ("W. Europe Standard Time", "Europe/Berlin"),
            ("/freeassociation.sourceforge.net/America/New_York", "America/New_York"),
            ("/freeassociation.sourceforge.net/Tzfile/America/New_York", "America/New_York"),
            ("/softwarestudio.org/Olson_20011030_5/America/Chicago", "America/Chicago"),
            ("/citadel.org/20070227_1/Europe/London", "Europe/London"),
            ("US-Pacific", "US/Pacific"),
            ("America/New York", "America/New_York"),
            ("UTC", "UTC"),
        ] {
            assert_eq!(name_of(given).as_deref(), Some(expected), "{given}");
        }
        for unknown in ["", "Nowhere", "Custom Zone 7", "/", "//"] {
            assert!(Zone::resolve(unknown).is_none(), "{unknown}");
        }
    }

    #[test]
    fn fixed_offsets_resolve() {
        let noon = date(2026, 7, 1).at(12, 0, 0, 0);
        for (given, expected) in [
            ("UTC-7", "2026-07-01T12:00:00-07:00"),
            ("UTC+5:30", "2026-07-01T12:00:00+05:30"),
            ("GMT+0200", "2026-07-01T12:00:00+02:00"),
            ("AoE", "2026-07-01T12:00:00-12:00"),
        ] {
            assert_eq!(Zone::resolve(given).unwrap().moment(noon).unwrap().to_string(), expected, "{given}");
        }
        assert!(Zone::resolve("UTC+99").is_none());
        assert!(Zone::resolve("UTC+é").is_none());
    }

    #[test]
    fn gaps_and_folds_are_resolved() {
        let zone = Zone::resolve("America/New_York").unwrap();
        let gap = zone.moment(date(2026, 3, 8).at(2, 30, 0, 0)).unwrap();
        assert_eq!(gap.to_string(), "2026-03-08T03:30:00-04:00");
        let fold = zone.moment(date(2026, 11, 1).at(1, 30, 0, 0)).unwrap();
        assert_eq!(fold.to_string(), "2026-11-01T01:30:00-04:00");
    }
}
