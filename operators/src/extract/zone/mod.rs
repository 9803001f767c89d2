//! Time zones by the names that feeds use for them.

mod names;

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

    /// The zone that a feed calls `name`:
    /// - a name of the tz database, possibly behind a prefix as in `/example.org/America/New_York` or
    ///   with dashes as in `US-Pacific`; or the city in it (`Zurich`);
    /// - a Windows name, also numbered (`GMT Standard Time 1`) or as people see it:
    ///   `(UTC-05:00) Eastern Time (US & Canada)`, `(GMT+01.00) Sarajevo/Warsaw/Zagreb`;
    /// - an abbreviation or a name in words: `CEST`, `PDT`, `Mitteleuropäische Zeit`;
    /// - the two offsets of Exchange: `GMT +0100 (Standard) / GMT +0200 (Daylight)`;
    /// - a fixed offset such as `UTC-7`, `GMT+05:30`, `+02:00` or `AoE` (anywhere on Earth, UTC-12).
    pub(crate) fn resolve(name: &str) -> Option<Self> {
        let name = name.trim().trim_matches('"').trim();
        if name.is_empty() || name.len() > 200 {
            return None;
        }
        iana(name)
            .or_else(|| fixed_offset(name))
            .or_else(|| standard_and_daylight(name))
            .or_else(|| labelled(name))
            .or_else(|| proprietary(name))
            .or_else(|| names::meant(name).and_then(iana))
            .or_else(|| iana_suffix(name))
            .or_else(|| iana(&name.replacen('-', "/", 1)))
            .or_else(|| iana(&name.replace(' ', "_")))
            .or_else(|| Self::resolve(without_number(name)?))
    }

    /// A zone that changes its offset at these instants, from `first` on; what it is called in the tz
    /// database, if anything, is `name`. Both in seconds.
    pub(crate) fn of_transitions(first: i32, changes: &[(i64, i32)], name: Option<SmolStr>) -> Option<Self> {
        TimeZone::tzif("calendar", &tzif(first, changes)?).ok().map(|tz| Self { tz, name })
    }

    /// Whether it is more than a stand-in.
    pub(crate) fn is_known(&self) -> bool {
        self.name.is_some() || self.tz != TimeZone::UTC
    }

    /// Seconds east of Greenwich at an instant.
    pub(crate) fn offset_at(&self, instant: Timestamp) -> i32 {
        self.tz.to_offset(instant).seconds()
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
        // The offset that stands before a name: it is one in winter, and says nothing of the summer.
        Tz::Fixed(_) | Tz::Floating => None,
    }
}

fn fixed_offset(name: &str) -> Option<Zone> {
    if name.eq_ignore_ascii_case("AoE") {
        return fixed(-12 * 3600);
    }
    fixed(offset_min(name)? * 60)
}

/// Minutes east of Greenwich of `UTC+2`, `GMT +0530`, `-07:00` or `UTC+01.00`.
fn offset_min(text: &str) -> Option<i32> {
    let head = text.get(..3).filter(|head| head.eq_ignore_ascii_case("UTC") || head.eq_ignore_ascii_case("GMT"));
    let rest = head.map_or(Some(text), |_| text.get(3..))?.trim();
    let (sign, digits) = match rest.chars().next()? {
        '+' => (1, rest.get(1..)?),
        '-' => (-1, rest.get(1..)?),
        '\u{2212}' => (-1, rest.get('\u{2212}'.len_utf8()..)?),
        _ => return None,
    };
    let (hours, minutes) = match digits.split_once([':', '.']) {
        Some((hours, minutes)) => (hours, minutes),
        None if digits.len() == 4 => (digits.get(..2)?, digits.get(2..)?),
        None => (digits, "0"),
    };
    let (hours, minutes) = (hours.parse::<u8>().ok()?, minutes.parse::<u8>().ok()?);
    (hours <= 14 && minutes <= 59).then(|| sign * (i32::from(hours) * 60 + i32::from(minutes)))
}

/// `GMT +0100 (Standard) / GMT +0200 (Daylight)`, as Exchange writes zones of its own.
fn standard_and_daylight(name: &str) -> Option<Zone> {
    let (standard, daylight) = name.split_once('/')?;
    let part = |text: &str, mark: &str| offset_min(text.trim().strip_suffix(mark)?.trim());
    let (standard, daylight) = (part(standard, "(Standard)")?, part(daylight, "(Daylight)")?);
    if standard == daylight {
        return fixed(standard * 60);
    }
    names::by_offsets(standard, daylight).and_then(iana)
}

/// `(GMT+01.00) Sarajevo/Warsaw/Zagreb`: an offset in winter, and cities or a name. The first that is known
/// and has that offset counts; without any, the offset does.
fn labelled(name: &str) -> Option<Zone> {
    let (offset, label) = name.strip_prefix('(')?.split_once(')')?;
    let offset = match offset.trim() {
        "UTC" | "GMT" => Some(0),
        offset => offset_min(offset),
    };
    let label = label.trim();
    if label.is_empty() {
        return fixed(offset? * 60);
    }
    let fits = |zone: &Zone| offset.is_none_or(|minutes| zone.offsets_of_a_year().contains(&(minutes * 60)));
    let cities = label.split(['/', ',', ';']).filter_map(|city| names::of_city(city).and_then(iana));
    let named = [proprietary(label), names::meant(label).and_then(iana)].into_iter().flatten();
    let universal = || label.to_ascii_lowercase().contains("universal").then(|| iana("UTC")).flatten();
    named.chain(cities).find(fits).or_else(universal).or_else(|| fixed(offset? * 60))
}

/// `GMT Standard Time 1` without its number.
fn without_number(name: &str) -> Option<&str> {
    let (rest, last) = name.rsplit_once(' ')?;
    (!last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit())).then(|| rest.trim_end())
}

impl Zone {
    /// The offsets that clocks have in January and in July of a year, in seconds.
    fn offsets_of_a_year(&self) -> [i32; 2] {
        // 2026-01-01 and 2026-07-01.
        [1_767_225_600, 1_782_864_000]
            .map(|seconds| Timestamp::from_second(seconds).map_or(0, |instant| self.offset_at(instant)))
    }
}

/// The zone as TZif (RFC 8536, version 2), in which jiff reads zones; `None` where an offset is beyond what
/// can be one. The first version's block is empty, as the RFC allows.
fn tzif(first: i32, changes: &[(i64, i32)]) -> Option<Vec<u8>> {
    let mut offsets = vec![first];
    let mut kinds = Vec::with_capacity(changes.len());
    for (_, offset) in changes {
        let known = offsets.iter().position(|other| other == offset);
        let at = known.unwrap_or_else(|| {
            offsets.push(*offset);
            offsets.len() - 1
        });
        kinds.push(u8::try_from(at).ok()?);
    }
    let header = |times: usize, types: usize| -> Option<Vec<u8>> {
        let mut header = b"TZif2".to_vec();
        header.extend([0; 15]);
        for count in [0, 0, 0, times, types, 4] {
            header.extend(u32::try_from(count).ok()?.to_be_bytes());
        }
        Some(header)
    };
    let kind = |offset: i32, out: &mut Vec<u8>| {
        out.extend(offset.to_be_bytes());
        out.extend([0, 0]);
    };
    let mut bytes = header(0, 1)?;
    kind(0, &mut bytes);
    bytes.extend(b"LMT\0");
    bytes.extend(header(changes.len(), offsets.len())?);
    changes.iter().for_each(|(at, _)| bytes.extend(at.to_be_bytes()));
    bytes.extend(kinds);
    offsets.iter().for_each(|offset| kind(*offset, &mut bytes));
    bytes.extend(b"LMT\0\n\n");
    Some(bytes)
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
            ("US-Pacific", "America/Los_Angeles"),
            ("America/New York", "America/New_York"),
            ("UTC", "UTC"),
        ] {
            assert_eq!(name_of(given).as_deref(), Some(expected), "{given}");
        }
        let unknown =
            ["", "Nowhere", "Custom Zone 7", "/", "//", "tzone://Microsoft/Custom", "Customized Time Zone", "IST"];
        for unknown in unknown {
            assert!(Zone::resolve(unknown).is_none(), "{unknown}");
        }
    }

    /// How clocks differ from Greenwich at the beginning of January and of July, in minutes.
    fn offsets(name: &str) -> Option<[i32; 2]> {
        Some(Zone::resolve(name)?.offsets_of_a_year().map(|seconds| seconds / 60))
    }

    #[test]
    fn what_people_and_programs_call_zones() {
        for (given, expected) in [
            ("Geneva", None),
            ("Lisbon", Some([0, 60])),
            ("W. Europe Standard Time 2", Some([60, 120])),
            ("Pacific Daylight Time", Some([-480, -420])),
            ("Central European Summer Time", Some([60, 120])),
            ("MESZ", Some([60, 120])),
            ("EDT", Some([-300, -240])),
            ("bst", Some([0, 60])),
            ("AEDT", Some([660, 600])),
            ("Osteuropäische Zeit", Some([120, 180])),
            ("Heure normale d’Europe centrale", Some([60, 120])),
            ("GMT -0600 (Standard) / GMT -0500 (Daylight)", Some([-360, -300])),
            ("GMT +0330 (Standard) / GMT +0330 (Daylight)", Some([210, 210])),
            ("GMT +0310 (Standard) / GMT +0410 (Daylight)", None),
            ("(UTC+01:00) Amsterdam, Berlin, Bern, Rome, Stockholm, Vienna", Some([60, 120])),
            ("(GMT+02.00) Athens/Istanbul/Minsk", Some([120, 180])),
            ("(UTC-06:00) Central Time (US & Canada)", Some([-360, -300])),
            ("(UTC) Coordinated Universal Time", Some([0, 0])),
            ("(UTC+05:30)", Some([330, 330])),
            ("(UTC+05:30) Somewhere", Some([330, 330])),
            ("+02:00", Some([120, 120])),
            ("UTC \u{2212}3", Some([-180, -180])),
        ] {
            assert_eq!(offsets(given), expected, "{given}");
        }
    }

    #[test]
    fn zones_of_transitions_change_when_they_say() {
        let hour = 3600;
        // 2026-03-01T00:00Z and 2026-10-01T00:00Z.
        let zone = Zone::of_transitions(hour, &[(1_772_323_200, 3 * hour), (1_790_812_800, 0)], None).unwrap();
        for (local, expected) in [
            (date(2026, 1, 1).at(12, 0, 0, 0), "2026-01-01T12:00:00+01:00"),
            (date(2026, 5, 1).at(12, 0, 0, 0), "2026-05-01T12:00:00+03:00"),
            (date(2099, 5, 1).at(12, 0, 0, 0), "2099-05-01T12:00:00Z"),
        ] {
            let expected: Moment = expected.parse().unwrap();
            assert_eq!(zone.moment(local), Some(expected));
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
