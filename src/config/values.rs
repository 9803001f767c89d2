//! Values as people write them: durations, lifetimes, sizes.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A length of time, written with units: `"100ms"`, `"5 min"`, `"1h 30m"`, `"30 days"`, `"2 weeks"`.
///
/// A day is 24 hours and a week is 7 days; months and years are refused because their length varies.
/// The grammar is jiff's "friendly" duration format (and ISO 8601, `"PT5M"`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Period(Duration);

impl Period {
    /// `n` milliseconds.
    pub const fn from_millis(n: u64) -> Self {
        Self(Duration::from_millis(n))
    }

    /// `n` seconds.
    pub const fn from_secs(n: u64) -> Self {
        Self(Duration::from_secs(n))
    }

    /// `n` days of 24 hours.
    pub const fn from_days(n: u64) -> Self {
        Self(Duration::from_secs(n * 86_400))
    }

    /// The period as a duration.
    pub const fn get(self) -> Duration {
        self.0
    }

    /// Whole milliseconds; at most `i64::MAX`.
    pub fn as_millis_i64(self) -> i64 {
        i64::try_from(self.0.as_millis()).unwrap_or(i64::MAX)
    }
}

/// Why a text is not a [`Period`], [`Lifetime`] or [`Size`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ValueError(String);

impl FromStr for Period {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let span: jiff::Span = text.parse().map_err(|_| {
            ValueError(format!("{text:?} is not a duration; write for instance \"100ms\" or \"30 days\""))
        })?;
        if span.get_years() != 0 || span.get_months() != 0 {
            return Err(ValueError(format!("{text:?}: months and years vary in length; use days or weeks")));
        }
        let signed = span
            .to_duration(jiff::SpanRelativeTo::days_are_24_hours())
            .map_err(|_| ValueError(format!("{text:?} is too long")))?;
        let duration = Duration::try_from(signed).map_err(|_| ValueError(format!("{text:?} is negative")))?;
        Ok(Self(duration))
    }
}

impl fmt::Display for Period {
    /// The largest unit that divides the period: `30 days`, `90 min`, `100 ms`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u128, &str); 5] = [
            (86_400_000_000_000, "days"),
            (3_600_000_000_000, "h"),
            (60_000_000_000, "min"),
            (1_000_000_000, "s"),
            (1_000_000, "ms"),
        ];
        let nanos = self.0.as_nanos();
        if nanos == 0 {
            return f.write_str("0 s");
        }
        match UNITS.iter().find(|(unit, _)| nanos.is_multiple_of(*unit)) {
            Some((unit, name)) => write!(f, "{} {name}", nanos / unit),
            None => write!(f, "{nanos} ns"),
        }
    }
}

/// How long something is kept: a [`Period`], or `"forever"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// For this long.
    For(Period),
    /// Without end.
    Forever,
}

impl Lifetime {
    /// The duration; `None` is for ever.
    pub fn get(self) -> Option<Duration> {
        match self {
            Self::For(period) => Some(period.get()),
            Self::Forever => None,
        }
    }

    /// Whole milliseconds; `None` is for ever.
    pub fn as_millis_i64(self) -> Option<i64> {
        match self {
            Self::For(period) => Some(period.as_millis_i64()),
            Self::Forever => None,
        }
    }
}

impl FromStr for Lifetime {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if text.trim().eq_ignore_ascii_case("forever") { Ok(Self::Forever) } else { text.parse().map(Self::For) }
    }
}

impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::For(period) => period.fmt(f),
            Self::Forever => f.write_str("forever"),
        }
    }
}

/// A number of bytes, written with a unit: `"512 KiB"`, `"16 MiB"`, `"1 GB"`; a bare integer is bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Size(u64);

impl Size {
    /// `n` bytes.
    pub const fn bytes(n: u64) -> Self {
        Self(n)
    }

    /// `n` times 1024 bytes.
    pub const fn kib(n: u64) -> Self {
        Self(n << 10)
    }

    /// `n` times 1024 × 1024 bytes.
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// Bytes; at most `usize::MAX`.
    pub fn get(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl FromStr for Size {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        text.trim().parse::<bytesize::ByteSize>().map(|size| Self(size.0)).map_err(|_| {
            ValueError(format!("{text:?} is not a size in bytes; write for instance \"512 KiB\" or \"16 MiB\""))
        })
    }
}

impl fmt::Display for Size {
    /// Exact: the largest binary unit that divides the size.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        match UNITS.iter().find(|(unit, _)| self.0 != 0 && self.0.is_multiple_of(*unit)) {
            Some((unit, name)) => write!(f, "{} {name}", self.0 / unit),
            None => write!(f, "{} B", self.0),
        }
    }
}

/// Accepts a string that parses, and says what was expected otherwise.
struct Parsed<T> {
    expected: &'static str,
    integer: Option<fn(u64) -> T>,
    marker: std::marker::PhantomData<T>,
}

impl<T> Parsed<T> {
    fn new(expected: &'static str, integer: Option<fn(u64) -> T>) -> Self {
        Self { expected, integer, marker: std::marker::PhantomData }
    }
}

impl<T: FromStr<Err = ValueError>> Visitor<'_> for Parsed<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, n: i64) -> Result<T, E> {
        match u64::try_from(n) {
            Ok(n) => self.visit_u64(n),
            Err(_) => Err(E::invalid_type(de::Unexpected::Signed(n), &self)),
        }
    }

    fn visit_u64<E: de::Error>(self, n: u64) -> Result<T, E> {
        match self.integer {
            Some(make) => Ok(make(n)),
            None => Err(E::invalid_type(de::Unexpected::Unsigned(n), &self)),
        }
    }
}

macro_rules! text_form {
    ($type:ty, $expected:literal, $integer:expr) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Parsed::new($expected, $integer))
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

text_form!(Period, "a duration with a unit, such as \"100ms\" or \"30 days\"", None);
text_form!(Lifetime, "a duration with a unit, such as \"30 days\", or \"forever\"", None);
text_form!(Size, "a size, such as \"16 MiB\" or a number of bytes", Some(Size));

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn periods_are_read_with_units() {
        for (text, millis) in [
            ("100ms", 100),
            ("100 ms", 100),
            ("1.5s", 1500),
            ("5 min", 300_000),
            ("1h 30m", 5_400_000),
            ("30 days", 2_592_000_000),
            ("1 day", 86_400_000),
            ("2 weeks", 1_209_600_000),
            ("0s", 0),
        ] {
            assert_eq!(text.parse::<Period>().unwrap(), Period::from_millis(millis), "{text}");
        }
    }

    #[test]
    fn periods_refuse_what_has_no_fixed_length() {
        for text in ["", "5", "1 month", "1 year", "-3s", "soon", "99999999999 days"] {
            assert!(text.parse::<Period>().is_err(), "{text}");
        }
    }

    #[test]
    fn lifetimes_may_be_for_ever() {
        assert_eq!("forever".parse::<Lifetime>().unwrap().get(), None);
        assert_eq!("90 days".parse::<Lifetime>().unwrap().get(), Some(Duration::from_secs(90 * 86_400)));
    }

    #[test]
    fn sizes_are_read_with_units_or_as_bytes() {
        assert_eq!("16 MiB".parse::<Size>().unwrap(), Size::mib(16));
        assert_eq!("1 MB".parse::<Size>().unwrap(), Size::bytes(1_000_000));
        assert_eq!("12".parse::<Size>().unwrap(), Size::bytes(12));
        assert!("lots".parse::<Size>().is_err());
        #[derive(Deserialize)]
        struct Holder {
            size: Size,
        }
        assert_eq!(toml::from_str::<Holder>("size = 2048").unwrap().size, Size::kib(2));
        assert!(toml::from_str::<Holder>("size = -1").is_err());
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(millis in 0u64..10_000_000_000_000, bytes in 0u64..(1 << 50)) {
            let period = Period::from_millis(millis);
            prop_assert_eq!(period.to_string().parse::<Period>().unwrap(), period);
            let size = Size::bytes(bytes);
            prop_assert_eq!(size.to_string().parse::<Size>().unwrap(), size);
        }
    }
}
