//! What a topology's readers make rows with: records in JSON, with the number of their format.

use std::borrow::Cow;
use std::fmt;

use headwater_flow::json::STORABLE_MS;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

use super::table::{Cell, TableRow};

/// Makes a row of a key and a value: a pure function, called for the last record of each key of a batch.
/// Neither text holds a NUL character. The first cell of the row is the key.
///
/// A record without a value is not read: it deletes the rows of its key.
pub type ReadRecord = for<'a> fn(key: &'a str, value: &'a str) -> Result<TableRow<'a>, Unread>;

/// Why a record gave no row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread {
    /// It was written in a format newer than the reader knows. The view ends: the program is too old.
    Format {
        /// The format found.
        found: u64,
        /// The newest format that the reader knows.
        known: u64,
    },
    /// It cannot be read; why. The record is logged, counted as skipped, and changes nothing.
    Malformed(String),
}

impl Unread {
    /// It cannot be read, for this reason.
    pub fn malformed(reason: impl Into<String>) -> Self {
        Self::Malformed(reason.into())
    }
}

/// The value of a record, with the number of its format.
pub trait Versioned {
    /// The newest format that this type reads.
    const KNOWN: u64 = 1;

    /// The format of this value, its field `format`.
    fn format(&self) -> u64;
}

#[derive(Deserialize)]
struct FormatOnly {
    format: u64,
}

/// Reads a value, and refuses newer formats whether or not they happen to look like this one.
///
/// # Errors
/// [`Unread::Format`] and [`Unread::Malformed`].
pub fn parse<'a, T: Deserialize<'a> + Versioned>(text: &'a str) -> Result<T, Unread> {
    let newer = |found| Unread::Format { found, known: T::KNOWN };
    match serde_json::from_str::<T>(text) {
        Ok(value) if value.format() > T::KNOWN => Err(newer(value.format())),
        Ok(value) => Ok(value),
        Err(error) => match serde_json::from_str::<FormatOnly>(text) {
            Ok(only) if only.format > T::KNOWN => Err(newer(only.format)),
            _ => Err(Unread::Malformed(error.to_string())),
        },
    }
}

/// Text that borrows from its JSON document where it has no escapes (a plain `Option<Cow<str>>`
/// never borrows in serde). Fields of this type need `#[serde(borrow)]` at the first of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text<'a>(pub Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }
            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

impl<'a> From<Text<'a>> for Cell<'a> {
    fn from(text: Text<'a>) -> Self {
        Self::Text(text.0)
    }
}

/// Whether a view can store this instant, in ms since the Unix epoch: those of the years 1 to 9999.
pub fn is_storable(ms: i64) -> bool {
    STORABLE_MS.contains(&ms)
}

/// The cell of an instant; NULL where there is none.
///
/// # Errors
/// [`Unread::Malformed`] where it is outside of the years 1 to 9999.
pub fn time_cell(at: Option<Timestamp>) -> Result<Cell<'static>, Unread> {
    match at.map(Timestamp::as_millisecond) {
        Some(ms) if !is_storable(ms) => Err(Unread::malformed("a time of it is outside of the years 1 to 9999")),
        ms => Ok(ms.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Named<'a> {
        format: u64,
        #[serde(borrow)]
        name: Text<'a>,
    }

    impl Versioned for Named<'_> {
        const KNOWN: u64 = 2;

        fn format(&self) -> u64 {
            self.format
        }
    }

    #[test]
    fn text_borrows_where_it_has_no_escapes() {
        let name = |text| parse::<Named<'_>>(text).unwrap().name.0;
        assert!(matches!(name(r#"{"format":1,"name":"Ann"}"#), Cow::Borrowed("Ann")));
        assert!(matches!(name(r#"{"format":2,"name":"A\nn"}"#), Cow::Owned(text) if text == "A\nn"));
    }

    #[test]
    fn newer_formats_are_told_whatever_they_look_like() {
        for text in [r#"{"format":3,"name":"Ann"}"#, r#"{"format":3,"name":{"first":"Ann"}}"#] {
            assert_eq!(parse::<Named<'_>>(text).unwrap_err(), Unread::Format { found: 3, known: 2 });
        }
        for text in ["", "null", "[]", "{", r#"{"format":1}"#, r#"{"name":"Ann"}"#, r#"{"format":-1,"name":"Ann"}"#] {
            assert!(matches!(parse::<Named<'_>>(text), Err(Unread::Malformed(_))), "{text}");
        }
    }

    #[test]
    fn times_that_no_database_orders_are_refused() {
        let cell = |text: &str| time_cell(Some(text.parse().unwrap()));
        assert_eq!(cell("2026-01-01T00:00:00Z"), Ok(Cell::Int(1_767_225_600_000)));
        assert_eq!(cell("9999-12-30T22:00:00Z").map(|_| ()), Ok(()));
        assert!(cell("-000001-01-01T00:00:00Z").is_err());
        assert_eq!(time_cell(None), Ok(Cell::Null));
    }
}
