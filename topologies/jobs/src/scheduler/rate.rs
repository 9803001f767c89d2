//! Rates: so many in so long, kept by one number (the generic cell rate algorithm, ITU-T I.371).

use std::fmt;
use std::str::FromStr;

use headwater::config::Period;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// So many in so long, written `"100 / min"` or `"1 / 2 s"`.
///
/// ```
/// use jobs::scheduler::Rate;
/// let rate: Rate = "1 / 2 s".parse().unwrap();
/// assert_eq!(rate.interval_us(), 2_000_000);
/// assert!("0 / s".parse::<Rate>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    period: Period,
}

impl Rate {
    /// The pause between two, on average, in microseconds.
    pub fn interval_us(self) -> i64 {
        (self.period.as_millis_i64().saturating_mul(1_000) / i64::from(self.count)).max(1)
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no rate; write for instance \"100 / min\" or \"1 / 2 s\"");
        let (count, period) = text.split_once('/').ok_or_else(wrong)?;
        let count: u32 = count.trim().parse().map_err(|_| wrong())?;
        let period = period.trim();
        let one =
            if period.starts_with(|c: char| c.is_ascii_digit()) { period.to_owned() } else { format!("1 {period}") };
        let period: Period = one.parse().map_err(|_| wrong())?;
        if count == 0 || period.as_millis_i64() == 0 {
            return Err(wrong());
        }
        Ok(Self { count, period })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} / {}", self.count, self.period)
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// How a rate stands: the time at which everything that was taken would be spread evenly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Gcra {
    /// The theoretical arrival time of the next, in microseconds since the Unix epoch.
    arrival_us: i64,
}

/// A rate, and how many may come at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    pub(super) interval_us: i64,
    pub(super) burst: u32,
}

/// Leases are given in steps: a burst holds what comes in so long, unless it is configured, in µs.
const STEP_US: i64 = 250_000;

impl Pace {
    /// A rate with its burst.
    pub(super) fn new(rate: Rate, burst: Option<u32>) -> Self {
        let interval_us = rate.interval_us();
        let of_a_step = u32::try_from(1 + STEP_US / interval_us).unwrap_or(u32::MAX);
        Self { interval_us, burst: burst.unwrap_or(of_a_step) }
    }
}

impl Gcra {
    /// From when on the next may come, in ms since the Unix epoch.
    pub(super) fn allowed_at(self, pace: Pace) -> i64 {
        let tolerance = pace.interval_us.saturating_mul(i64::from(pace.burst.max(1) - 1));
        let allowed_us = self.arrival_us.saturating_sub(tolerance);
        allowed_us.div_euclid(1_000) + i64::from(allowed_us.rem_euclid(1_000) != 0)
    }

    /// From when on it is as if none had come, in ms since the Unix epoch.
    pub(super) fn rests_at(self) -> i64 {
        self.arrival_us.div_euclid(1_000) + i64::from(self.arrival_us.rem_euclid(1_000) != 0)
    }

    /// One comes.
    pub(super) fn take(&mut self, pace: Pace, now_ms: i64) {
        self.arrival_us = self.arrival_us.max(now_ms.saturating_mul(1_000)).saturating_add(pace.interval_us);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_written_as_people_write_them() {
        let interval = |text: &str| text.parse::<Rate>().map(Rate::interval_us);
        assert_eq!(interval("100 / min"), Ok(600_000));
        assert_eq!(interval("3/s"), Ok(333_333));
        assert_eq!(interval("1 / 2 s"), Ok(2_000_000));
        for wrong in ["", "5", "0 / s", "-1 / s", "1 / month", "1 / 0 s", "x / s"] {
            assert!(interval(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_quick_rate_is_reached_in_steps() {
        let pace = Pace::new("50 / s".parse().unwrap(), None);
        let (mut gcra, mut taken) = (Gcra::default(), 0);
        for now in (1_000_000..1_010_000).step_by(100) {
            while gcra.allowed_at(pace) <= now {
                gcra.take(pace, now);
                taken += 1;
            }
        }
        assert!((490..=513).contains(&taken), "{taken} in ten seconds");
        assert_eq!(Pace::new("1 / 2 s".parse().unwrap(), None).burst, 1);
        assert_eq!(Pace::new("50 / s".parse().unwrap(), Some(1)).burst, 1);
    }

    #[test]
    fn a_burst_comes_at_once_and_then_one_an_interval() {
        let pace = Pace { interval_us: 2_000_000, burst: 3 };
        let (mut gcra, mut now, mut taken) = (Gcra::default(), 1_000_000, Vec::new());
        for _ in 0..6 {
            now = now.max(gcra.allowed_at(pace));
            gcra.take(pace, now);
            taken.push(now - 1_000_000);
        }
        assert_eq!(taken, [0, 0, 0, 2_000, 4_000, 6_000]);
    }
}
