//! [`Span`]: when a listing takes place, as `resolve` compares it.

use serde::{Deserialize, Serialize};

use crate::moment::Moment;

const MINUTE_MS: i64 = 60_000;

pub(super) const DAY_MIN: i64 = 1_440;

/// Starts that differ by at most so many minutes are the same.
pub(super) const SAME_MINUTES: u32 = 5;

/// Starts that differ by at most so many minutes are near: doors and show.
pub(super) const NEAR_MINUTES: u32 = 30;

/// Runs of more days than this take weeks.
const WEEK_DAYS: u32 = 13;

/// When, as precisely as the source said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Span {
    /// First local day, in days since 1970-01-01.
    pub first_day: i32,
    /// Last local day; the first one where no end is known.
    pub last_day: i32,
    /// Start in minutes since the Unix epoch, where the source gave a time of day.
    pub start_min: Option<i32>,
    /// Minutes by which the clock at the place is ahead of UTC at the start; 0 where only days are
    /// known.
    pub offset_min: i16,
    /// End in minutes since the Unix epoch, where the source gave a time of day.
    pub end_min: Option<i32>,
    /// Whether the source gave an end (one that does not lie before the start).
    pub has_end: bool,
    /// Whether the time is of a known zone. One in UTC is not: so sources write that they know none.
    pub zoned: bool,
}

impl Span {
    /// From `start` to `end`, in the zone of that IANA name. `midnight_is_no_time` says of the source
    /// that it writes 00:00 where it knows no time of day.
    pub fn new(start: Moment, end: Option<Moment>, zone: Option<&str>, midnight_is_no_time: bool) -> Self {
        let first_day = start.local_day_number();
        let start_min = minute(start).filter(|_| !is_whole_day(start, end, midnight_is_no_time));
        let offset_min = match start {
            Moment::Instant { offset_min, .. } if start_min.is_some() => offset_min,
            _ => 0,
        };
        let in_utc = |zone: &str| matches!(zone, "UTC" | "Etc/UTC" | "GMT" | "Etc/GMT" | "Z");
        let zoned = start_min.is_some() && (offset_min != 0 || zone.is_some_and(|zone| !in_utc(zone)));
        let alone =
            Self { first_day, last_day: first_day, start_min, offset_min, end_min: None, has_end: false, zoned };
        let Some(end) = end else { return alone };
        let end_min = minute(end);
        // Ends are exclusive for instants: one at midnight does not touch the day that begins there.
        let last_day = match end {
            Moment::Instant { ms, offset_min } => {
                let local_min = ms.div_euclid(MINUTE_MS) + i64::from(offset_min) - 1;
                i32::try_from(local_min.div_euclid(DAY_MIN)).unwrap_or(first_day)
            }
            Moment::Day(_) => end.local_day_number(),
        };
        let backwards = matches!((start_min, end_min), (Some(start), Some(end)) if end <= start);
        if backwards || last_day < first_day {
            return alone;
        }
        Self { last_day, end_min, has_end: true, ..alone }
    }

    /// The start as the clock at the place shows it, in minutes.
    pub fn clock(&self) -> Option<i32> {
        self.start_min.map(|start| start.saturating_add(i32::from(self.offset_min)))
    }

    /// By how many minutes two starts differ; `None` unless both have a time. Where a source has
    /// given the right time of the wrong zone (or of UTC), the clocks agree, and the instants do not:
    /// the lesser difference counts. Where both know their zone, that is so only at `one_place`:
    /// elsewhere equal clocks are two regions.
    pub fn apart(&self, other: &Self, one_place: impl FnOnce() -> bool) -> Option<u32> {
        let instants = self.start_min?.abs_diff(other.start_min?);
        let clocks = self.clock()?.abs_diff(other.clock()?);
        let counts = clocks < instants && (!self.zoned || !other.zoned || one_place());
        Some(if counts { clocks } else { instants })
    }

    /// Whether it lasts longer than a day. A night that ends after midnight does not.
    pub fn is_long(&self) -> bool {
        match self.start_min.zip(self.end_min) {
            Some((start, end)) => i64::from(end) - i64::from(start) > DAY_MIN,
            None => self.days() > 1,
        }
    }

    /// Whether `part` is a session, an opening or a single day within this run of several days, or a
    /// much shorter run within it. A listing that says nothing but the day on which a run begins is
    /// the run; so is one that says at what time, unless the run takes weeks. Of two days, the second
    /// may be all that a source knows of.
    pub fn is_run_around(&self, part: &Self) -> bool {
        let within = self.first_day <= part.first_day && part.last_day <= self.last_day;
        if !self.is_long() || !within {
            return false;
        }
        let (weeks, much_shorter) = (self.days() > WEEK_DAYS, self.days() >= 3 * part.days());
        if part.is_long() {
            return weeks && much_shorter;
        }
        let session = part.start_min.is_some() && part.has_end;
        let opening = weeks && (part.start_min.is_some() || part.has_end);
        session || opening || (part.first_day != self.first_day && (much_shorter || part.start_min.is_some()))
    }

    /// Whether both begin at the same time, as far as both say it: the same day where one has no time.
    pub fn starts_with(&self, other: &Self) -> bool {
        match self.start_min.zip(other.start_min) {
            Some((start, other)) => start == other,
            None => self.first_day == other.first_day,
        }
    }

    /// How many local days it touches.
    pub fn days(&self) -> u32 {
        self.last_day.abs_diff(self.first_day) + 1
    }
}

/// Whether it begins at midnight of the place and lasts a day, or no time at all: that is how sources
/// write that they know no time of day. Midnight alone says it only where the source is known for it.
fn is_whole_day(start: Moment, end: Option<Moment>, midnight_is_no_time: bool) -> bool {
    let Moment::Instant { ms, offset_min } = start else { return false };
    let at_midnight = (ms.div_euclid(MINUTE_MS) + i64::from(offset_min)).rem_euclid(DAY_MIN) == 0;
    at_midnight
        && match end {
            Some(Moment::Instant { ms: end, .. }) => end <= ms || end - ms >= (DAY_MIN - 1) * MINUTE_MS,
            _ => midnight_is_no_time,
        }
}

fn minute(moment: Moment) -> Option<i32> {
    match moment {
        Moment::Instant { ms, .. } => i32::try_from(ms.div_euclid(MINUTE_MS)).ok(),
        Moment::Day(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: Moment, end: Option<Moment>) -> Span {
        Span::new(start, end, None, false)
    }

    #[test]
    fn ends_before_starts_are_no_ends() {
        let at = |text: &str| text.parse::<Moment>().unwrap();
        let backwards = span(at("2026-03-28T19:00:00Z"), Some(at("2026-03-28T18:00:00Z")));
        assert!(!backwards.has_end && backwards.days() == 1);
        let until_midnight = span(at("2026-03-28T19:00:00Z"), Some(at("2026-03-29T00:00:00Z")));
        assert_eq!(until_midnight.days(), 1);
        assert_eq!(span(at("2026-03-28"), Some(at("2026-03-30"))).days(), 3);
    }

    #[test]
    fn a_whole_day_from_midnight_has_no_time() {
        let at = |text: &str| text.parse::<Moment>().unwrap();
        let midnight = at("2026-03-28T00:00:00-07:00");
        assert_eq!(Span::new(midnight, None, None, true).start_min, None);
        assert!(span(midnight, None).start_min.is_some(), "midnight is a time of day");
        assert_eq!(span(midnight, Some(at("2026-03-29T00:00:00-07:00"))).start_min, None);
        assert!(span(midnight, Some(at("2026-03-28T02:00:00-07:00"))).start_min.is_some());
    }

    #[test]
    fn the_right_time_of_the_wrong_zone_is_the_same_time() {
        let at = |text: &str| span(text.parse().unwrap(), None);
        let pacific = at("2026-03-28T19:30:00-07:00");
        assert_eq!(pacific.apart(&at("2026-03-28T19:30:00-04:00"), || true), Some(0));
        assert_eq!(pacific.apart(&at("2026-03-29T02:30:00Z"), || true), Some(0));
        assert_eq!(pacific.apart(&at("2026-03-28T18:30:00-07:00"), || true), Some(60));
        assert_eq!(pacific.apart(&at("2026-03-28"), || true), None);
        assert_eq!(pacific.apart(&at("2026-03-28T19:30:00-04:00"), || false), Some(180), "two regions");
        assert_eq!(pacific.apart(&at("2026-03-28T19:30:00Z"), || false), Some(0), "UTC is no zone");
    }

    #[test]
    fn a_night_that_ends_after_midnight_is_not_long() {
        let at = |from: &str, to: &str| span(from.parse().unwrap(), Some(to.parse().unwrap()));
        let night = at("2026-03-28T22:00:00Z", "2026-03-29T04:00:00Z");
        assert_eq!((night.days(), night.is_long()), (2, false));
        assert!(at("2026-03-28T22:00:00Z", "2026-03-30T04:00:00Z").is_long());
        assert!(at("2026-03-28", "2026-03-29").is_long() && !at("2026-03-28", "2026-03-28").is_long());
    }

    #[test]
    fn a_session_or_a_day_of_a_run_is_not_the_run() {
        let at = |from: &str, to: &str| {
            span(from.parse().unwrap(), Some(to).filter(|to| !to.is_empty()).map(|to| to.parse().unwrap()))
        };
        let (weeks, days) = (at("2026-03-28", "2026-05-10"), at("2026-03-28", "2026-03-30"));
        for (part, of_weeks, of_days) in [
            (at("2026-03-28T19:00:00Z", "2026-03-28T21:00:00Z"), true, true),
            (at("2026-03-28T19:00:00Z", ""), true, false),
            (at("2026-03-28", "2026-03-28"), true, false),
            (at("2026-03-28", ""), false, false),
            (at("2026-03-29", ""), true, true),
            (at("2026-03-29", "2026-03-30"), true, false),
            (at("2026-03-27", ""), false, false),
            (at("2026-03-28", "2026-05-09"), false, false),
            (weeks, false, false),
        ] {
            assert_eq!((weeks.is_run_around(&part), days.is_run_around(&part)), (of_weeks, of_days), "{part:?}");
        }
    }
}
