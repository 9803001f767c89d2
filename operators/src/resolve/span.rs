//! [`Span`]: when a listing takes place, as `resolve` compares it.

use serde::{Deserialize, Serialize};

use crate::moment::Moment;

const MINUTE_MS: i64 = 60_000;

pub(super) const DAY_MIN: i64 = 1_440;

/// Starts that differ by at most so many minutes are the same.
pub(super) const SAME_MINUTES: u32 = 5;

/// Starts that differ by at most so many minutes are near: doors and show.
pub(super) const NEAR_MINUTES: u32 = 30;

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
}

impl Span {
    /// From `start` to `end`.
    pub fn new(start: Moment, end: Option<Moment>) -> Self {
        let first_day = start.local_day_number();
        let start_min = minute(start).filter(|_| !is_whole_day(start, end));
        let offset_min = match start {
            Moment::Instant { offset_min, .. } if start_min.is_some() => offset_min,
            _ => 0,
        };
        let alone = Self { first_day, last_day: first_day, start_min, offset_min, end_min: None, has_end: false };
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
    /// the lesser difference counts.
    pub fn apart(&self, other: &Self) -> Option<u32> {
        let instants = self.start_min?.abs_diff(other.start_min?);
        let clocks = self.clock()?.abs_diff(other.clock()?);
        Some(instants.min(clocks))
    }

    /// How many local days it touches.
    pub fn days(&self) -> u32 {
        self.last_day.abs_diff(self.first_day) + 1
    }
}

/// Whether it begins at midnight of the place and lasts a day or nobody knows how long: that is how
/// sources write that they know no time of day.
fn is_whole_day(start: Moment, end: Option<Moment>) -> bool {
    let Moment::Instant { ms, offset_min } = start else { return false };
    let at_midnight = (ms.div_euclid(MINUTE_MS) + i64::from(offset_min)).rem_euclid(DAY_MIN) == 0;
    at_midnight
        && match end {
            Some(Moment::Instant { ms: end, .. }) => end <= ms || end - ms >= (DAY_MIN - 1) * MINUTE_MS,
            _ => true,
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

    #[test]
    fn ends_before_starts_are_no_ends() {
        let at = |text: &str| text.parse::<Moment>().unwrap();
        let backwards = Span::new(at("2026-03-28T19:00:00Z"), Some(at("2026-03-28T18:00:00Z")));
        assert!(!backwards.has_end && backwards.days() == 1);
        let until_midnight = Span::new(at("2026-03-28T19:00:00Z"), Some(at("2026-03-29T00:00:00Z")));
        assert_eq!(until_midnight.days(), 1);
        assert_eq!(Span::new(at("2026-03-28"), Some(at("2026-03-30"))).days(), 3);
    }

    #[test]
    fn a_whole_day_from_midnight_has_no_time() {
        let at = |text: &str| text.parse::<Moment>().unwrap();
        let midnight = at("2026-03-28T00:00:00-07:00");
        assert_eq!(Span::new(midnight, None).start_min, None);
        assert_eq!(Span::new(midnight, Some(at("2026-03-29T00:00:00-07:00"))).start_min, None);
        assert!(Span::new(midnight, Some(at("2026-03-28T02:00:00-07:00"))).start_min.is_some());
    }

    #[test]
    fn the_right_time_of_the_wrong_zone_is_the_same_time() {
        let at = |text: &str| Span::new(text.parse().unwrap(), None);
        let pacific = at("2026-03-28T19:30:00-07:00");
        assert_eq!(pacific.apart(&at("2026-03-28T19:30:00-04:00")), Some(0));
        assert_eq!(pacific.apart(&at("2026-03-29T02:30:00Z")), Some(0));
        assert_eq!(pacific.apart(&at("2026-03-28T18:30:00-07:00")), Some(60));
        assert_eq!(pacific.apart(&at("2026-03-28")), None);
    }
}
