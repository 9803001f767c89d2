//! Records in JSON: values, and fields that a configuration names by JSON Pointer.

use std::fmt;

use jiff::Timestamp;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::{DeadLetterCode, RawRecord, Unusable};

/// The JSON of a record.
///
/// # Errors
/// A record without a value, and what is not the JSON of a `T`.
pub fn parse<T: DeserializeOwned>(record: &RawRecord) -> Result<T, Unusable> {
    match record.value.as_deref() {
        None | Some([]) => Err(Unusable::new(DeadLetterCode::EMPTY_RECORD, "there is no value")),
        Some(value) => parse_bytes(value),
    }
}

/// `bytes` as JSON.
///
/// # Errors
/// What is not the JSON of a `T`, or is nested more deeply than 127 levels.
pub fn parse_bytes<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Unusable> {
    // Checked once as a whole: cheaper than text by text.
    let parsed = match std::str::from_utf8(bytes) {
        Ok(text) => serde_json::from_str(text),
        Err(_) => serde_json::from_slice(bytes),
    };
    parsed.map_err(|error| Unusable::new(DeadLetterCode::MALFORMED, format!("not the JSON that is read here: {error}")))
}

/// Where a field is in a JSON document: a JSON Pointer (RFC 6901), such as `/attendee/id`. The empty one is
/// the document itself.
///
/// ```
/// use headwater_flow::json::Pointer;
///
/// let pointer: Pointer = serde_json::from_str(r#""/attendee/id""#).unwrap();
/// let record = serde_json::json!({"attendee": {"id": 17}});
/// assert_eq!(pointer.id(&record).unwrap().as_deref(), Some("17"));
/// assert!(serde_json::from_str::<Pointer>(r#""attendee.id""#).is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Pointer(String);

/// The instants that every table can store, in ms since the Unix epoch: those of the years 1 to 9999. Databases
/// order these as text and as time.
pub const STORABLE_MS: std::ops::RangeInclusive<i64> = -62_135_596_800_000..=253_402_300_799_999;

/// Longest id in bytes: it is a record's key, and the key of tables and indexes.
const LONGEST_ID: usize = 512;

impl Pointer {
    /// The pointer of this text.
    ///
    /// # Errors
    /// When it is none.
    pub fn new(text: impl Into<String>) -> Result<Self, String> {
        let text = text.into();
        match text.is_empty() || text.starts_with('/') {
            true => Ok(Self(text)),
            false => Err(format!("{text:?} is no JSON Pointer; write for instance \"/data/id\"")),
        }
    }

    /// The pointer to the member `name` of the document.
    pub fn to(name: &str) -> Self {
        Self(format!("/{}", name.replace('~', "~0").replace('/', "~1")))
    }

    /// What is there; `None` where nothing is, or `null`.
    pub fn find<'d>(&self, document: &'d Value) -> Option<&'d Value> {
        document.pointer(&self.0).filter(|value| !value.is_null())
    }

    /// The text or number there, as text without space around it; `None` where nothing is, or an empty text.
    ///
    /// # Errors
    /// When something else is there.
    pub fn text(&self, document: &Value) -> Result<Option<String>, Unusable> {
        let text = match self.find(document) {
            None => return Ok(None),
            Some(Value::String(text)) => text.trim().to_owned(),
            Some(Value::Number(number)) => number.to_string(),
            Some(other) => return Err(self.invalid(format_args!("text is expected, not {}", kind(other)))),
        };
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    /// The id there: as [`text`](Self::text), and such as a record may have for its key: of 512 bytes at most,
    /// without control characters.
    ///
    /// # Errors
    /// When it is no such text.
    pub fn id(&self, document: &Value) -> Result<Option<String>, Unusable> {
        self.text(document)?.map(|id| check_id(&id).map(|()| id).map_err(|wrong| self.at(wrong))).transpose()
    }

    /// The time there: RFC 3339 text, or a whole number of milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// When it is neither, or outside of the years 1 to 9999.
    pub fn time(&self, document: &Value) -> Result<Option<Timestamp>, Unusable> {
        let time = match self.find(document) {
            None => return Ok(None),
            Some(Value::String(text)) => text.trim().parse().map_err(|error: jiff::Error| error.to_string()),
            Some(Value::Number(number)) => match number.as_i64() {
                Some(ms) => Timestamp::from_millisecond(ms).map_err(|error| error.to_string()),
                None => Err(format!("{number} is no whole number of milliseconds")),
            },
            Some(other) => Err(format!("a time is expected, not {}", kind(other))),
        };
        time.and_then(in_range).map(Some).map_err(|wrong| self.invalid(wrong))
    }

    fn invalid(&self, wrong: impl fmt::Display) -> Unusable {
        self.at(Unusable::new(DeadLetterCode::INVALID_FIELD, wrong.to_string()))
    }

    fn at(&self, wrong: Unusable) -> Unusable {
        Unusable { reason: format!("at {:?}: {}", self.0, wrong.reason), ..wrong }
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Pointer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Whether a record may have `id` for its key, and a table for that of a row.
///
/// ```
/// use headwater_flow::json::check_id;
/// assert!(check_id("r-17").is_ok() && check_id("").is_err() && check_id("a\u{0}b").is_err());
/// ```
///
/// # Errors
/// When it is empty, longer than 512 bytes, or holds control characters.
pub fn check_id(id: &str) -> Result<(), Unusable> {
    if id.len() > LONGEST_ID {
        let reason = format!("an id of {} bytes, more than {LONGEST_ID}", id.len());
        return Err(Unusable::new(DeadLetterCode::STRING_TOO_LONG, reason));
    }
    if id.is_empty() || id.chars().any(char::is_control) {
        return Err(Unusable::new(DeadLetterCode::INVALID_FIELD, "an id that is empty or holds control characters"));
    }
    Ok(())
}

/// `time`, if all tables can store it.
///
/// # Errors
/// When it is outside of the years 1 to 9999.
pub fn in_range(time: Timestamp) -> Result<Timestamp, String> {
    let storable = STORABLE_MS.contains(&time.as_millisecond());
    storable.then_some(time).ok_or_else(|| format!("{time} is outside of the years 1 to 9999"))
}

/// What a value is, for people.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pointer(text: &str) -> Pointer {
        Pointer::new(text).unwrap()
    }

    #[test]
    fn fields_are_found_where_pointers_lead() {
        let document = json!({"a": {"b/c": [" x ", 7, null, "", true]}});
        let text = |at: &str| pointer(at).text(&document);
        assert_eq!(text("/a/b~1c/0").unwrap().as_deref(), Some("x"));
        assert_eq!(text("/a/b~1c/1").unwrap().as_deref(), Some("7"));
        for nothing in ["/a/b~1c/2", "/a/b~1c/3", "/a/b~1c/9", "/b"] {
            assert_eq!(text(nothing), Ok(None), "{nothing}");
        }
        let wrong = text("/a/b~1c/4").unwrap_err();
        assert_eq!(wrong.code, DeadLetterCode::INVALID_FIELD);
        assert!(wrong.reason.contains("/a/b~1c/4") && wrong.reason.contains("true or false"), "{}", wrong.reason);
        assert_eq!(Pointer::to("b/c").find(&document["a"]), Some(&document["a"]["b/c"]));
    }

    #[test]
    fn times_are_texts_or_milliseconds() {
        let time = |value: Value| Pointer::to("at").time(&json!({ "at": value }));
        let expected: Timestamp = "2026-06-01T10:30:00Z".parse().unwrap();
        assert_eq!(time(json!("2026-06-01T12:30:00+02:00")), Ok(Some(expected)));
        assert_eq!(time(json!(expected.as_millisecond())), Ok(Some(expected)));
        assert_eq!(time(Value::Null), Ok(None));
        for wrong in
            [json!("tomorrow"), json!(1.5), json!(i64::MAX), json!([]), json!("-000001-01-01T00:00:00Z"), json!("")]
        {
            assert_eq!(time(wrong.clone()).unwrap_err().code, DeadLetterCode::INVALID_FIELD, "{wrong}");
        }
    }

    #[test]
    fn ids_are_short_and_printable() {
        let id = |value: Value| Pointer::to("id").id(&json!({ "id": value })).map_err(|wrong| wrong.code);
        assert_eq!(id(json!("r-ü")), Ok(Some("r-ü".to_owned())));
        assert_eq!(id(json!("x".repeat(513))), Err(DeadLetterCode::STRING_TOO_LONG));
        assert_eq!(id(json!("a\u{7}b")), Err(DeadLetterCode::INVALID_FIELD));
    }

    #[test]
    fn what_is_no_json_is_refused() {
        let code = |value: Option<&[u8]>| {
            let record = RawRecord { value: value.map(<[u8]>::to_vec), ..RawRecord::default() };
            parse::<Value>(&record).map_err(|wrong| wrong.code)
        };
        assert_eq!(code(Some(b"{\"a\":1}")), Ok(json!({"a": 1})));
        assert_eq!(code(None), Err(DeadLetterCode::EMPTY_RECORD));
        assert_eq!(code(Some(b"")), Err(DeadLetterCode::EMPTY_RECORD));
        for malformed in [b"{".as_slice(), b"\xff\xfe", b"{} {}", &[b'['; 100_000]] {
            assert_eq!(code(Some(malformed)), Err(DeadLetterCode::MALFORMED));
        }
    }
}
