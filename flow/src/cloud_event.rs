//! CloudEvents 1.0 in records: what is in the envelope.
//!
//! Three forms are read, by headers and content type (the Kafka protocol binding of CloudEvents 1.0.2):
//!
//! | form | how it is told | data |
//! | --- | --- | --- |
//! | structured | content type `application/cloudevents+json` | `data` or `data_base64` of the value |
//! | binary | header `ce_specversion`, or `ce-specversion` as over HTTP | the value |
//! | none | neither | the value |

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::Value;

use crate::json::{self, Pointer};
use crate::{DeadLetterCode, RawRecord, Unusable};

/// The data of a record, and what its envelope says of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Opened {
    /// The data, as JSON.
    pub data: Value,
    /// When it happened, as the envelope says.
    pub time: Option<Timestamp>,
}

/// Opens a record of any of the forms.
///
/// ```
/// use headwater_flow::{RawRecord, cloud_event};
///
/// let value = r#"{"specversion": "1.0", "id": "1", "source": "/desk", "type": "seat.sold",
///     "time": "2026-06-01T10:30:00Z", "data": {"seat": 7}}"#;
/// let record = RawRecord {
///     content_type: Some("application/cloudevents+json".into()),
///     value: Some(value.into()),
///     ..RawRecord::default()
/// };
/// let opened = cloud_event::open(&record).unwrap();
/// assert_eq!(opened.data["seat"], 7);
/// assert_eq!(opened.time.unwrap().to_string(), "2026-06-01T10:30:00Z");
/// ```
///
/// # Errors
/// What is no JSON, an envelope that lacks what CloudEvents require, and data of another content type.
pub fn open(record: &RawRecord) -> Result<Opened, Unusable> {
    let content_type = record.content_type.as_deref().map(essence).unwrap_or_default();
    if content_type == "application/cloudevents+json" {
        return structured(json::parse(record)?);
    }
    let attributes = Attributes(record);
    if attributes.get("specversion").is_some() {
        return binary(&attributes, &content_type);
    }
    check_json(&content_type)?;
    Ok(Opened { data: json::parse(record)?, time: None })
}

/// The attributes that every CloudEvent has.
const REQUIRED: [&str; 4] = ["specversion", "id", "source", "type"];

/// The version of CloudEvents that is read.
const VERSION: &str = "1.0";

fn structured(mut envelope: Value) -> Result<Opened, Unusable> {
    check_required(|name| Pointer::to(name).text(&envelope))?;
    let time = Pointer::to("time").time(&envelope)?;
    let kind = Pointer::to("datacontenttype").text(&envelope)?;
    check_json(&kind.as_deref().map(essence).unwrap_or_default())?;
    let data = match (envelope["data"].take(), &envelope["data_base64"]) {
        (Value::Null, Value::Null) => return Err(missing("data")),
        (Value::Null, Value::String(text)) => {
            let invalid = |error| Unusable::new(DeadLetterCode::INVALID_FIELD, format!("data_base64: {error}"));
            json::parse_bytes(&STANDARD.decode(text).map_err(invalid)?)?
        }
        (Value::Null, _) => return Err(Unusable::new(DeadLetterCode::INVALID_FIELD, "data_base64 is no text")),
        (data, _) => data,
    };
    Ok(Opened { data, time })
}

fn binary(attributes: &Attributes<'_>, content_type: &str) -> Result<Opened, Unusable> {
    let text = |name: &str| attributes.get(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    check_required(|name| Ok(text(name)))?;
    check_json(content_type)?;
    let time = Pointer::to("time").time(&serde_json::json!({ "time": text("time") }))?;
    Ok(Opened { data: json::parse(attributes.0)?, time })
}

/// The headers that hold a CloudEvent's attributes.
struct Attributes<'r>(&'r RawRecord);

impl Attributes<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        let is_it = |header: &str| {
            let (prefix, rest) = header.split_at_checked(3)?;
            (matches!(prefix, "ce_" | "ce-") && rest == name).then_some(())
        };
        let (_, value) = self.0.headers.iter().find(|(header, _)| is_it(header).is_some())?;
        std::str::from_utf8(value).ok()
    }
}

fn check_required(text: impl Fn(&str) -> Result<Option<String>, Unusable>) -> Result<(), Unusable> {
    for name in REQUIRED {
        let Some(value) = text(name)? else { return Err(missing(name)) };
        if name == "specversion" && value != VERSION {
            let reason = format!("a CloudEvent of version {value:?}; {VERSION} is read");
            return Err(Unusable::new(DeadLetterCode::INVALID_FIELD, reason));
        }
    }
    Ok(())
}

fn missing(name: &str) -> Unusable {
    Unusable::new(DeadLetterCode::MISSING_FIELD, format!("the CloudEvent has no {name:?}"))
}

/// A content type without its parameters.
fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Whether data of this content type is read; data that names none is taken for JSON.
fn check_json(essence: &str) -> Result<(), Unusable> {
    let batch = essence.starts_with("application/cloudevents");
    let json =
        essence.is_empty() || essence == "application/json" || essence == "text/json" || essence.ends_with("+json");
    match json && !batch {
        true => Ok(()),
        false => {
            Err(Unusable::new(DeadLetterCode::UNKNOWN_CONTENT_TYPE, format!("{essence:?} is not read here; JSON is")))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(content_type: Option<&str>, headers: &[(&str, &str)], value: &str) -> RawRecord {
        RawRecord {
            content_type: content_type.map(Into::into),
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect(),
            value: Some(value.into()),
            ..RawRecord::default()
        }
    }

    fn enveloped(change: impl FnOnce(&mut Value)) -> Result<Opened, DeadLetterCode> {
        let mut envelope = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": {"a": 1}});
        change(&mut envelope);
        let record = record(Some("Application/CloudEvents+JSON; charset=utf-8"), &[], &envelope.to_string());
        open(&record).map_err(|wrong| wrong.code)
    }

    const HEADERS: [(&str, &str); 4] =
        [("ce_specversion", "1.0"), ("ce_id", "1"), ("ce_source", "/s"), ("ce_type", "t")];

    #[test]
    fn structured_events_hold_their_data() {
        assert_eq!(enveloped(|_| {}), Ok(Opened { data: json!({"a": 1}), time: None }));
        let in_base64 = enveloped(|envelope| {
            envelope["data"].take();
            envelope["data_base64"] = json!(STANDARD.encode(r#"{"a":2}"#));
        });
        assert_eq!(in_base64.unwrap().data, json!({"a": 2}));
        let timed = enveloped(|envelope| envelope["time"] = json!("2026-06-01T12:00:00+02:00")).unwrap();
        assert_eq!(timed.time, Some("2026-06-01T10:00:00Z".parse().unwrap()));
    }

    #[test]
    fn what_an_envelope_lacks_is_told() {
        for name in ["specversion", "id", "source", "type", "data"] {
            let without = enveloped(|envelope| drop(envelope[name].take()));
            assert_eq!(without, Err(DeadLetterCode::MISSING_FIELD), "{name}");
        }
        let set = |name: &'static str, value: Value| enveloped(|envelope| envelope[name] = value);
        assert_eq!(set("specversion", json!("0.3")), Err(DeadLetterCode::INVALID_FIELD));
        assert_eq!(set("id", json!([])), Err(DeadLetterCode::INVALID_FIELD));
        assert_eq!(set("time", json!("noon")), Err(DeadLetterCode::INVALID_FIELD));
        assert_eq!(set("datacontenttype", json!("text/xml")), Err(DeadLetterCode::UNKNOWN_CONTENT_TYPE));
        let in_base64 = |value: Value| {
            enveloped(|envelope| {
                envelope["data"].take();
                envelope["data_base64"] = value;
            })
        };
        assert_eq!(in_base64(json!("%")), Err(DeadLetterCode::INVALID_FIELD));
        assert_eq!(in_base64(json!(7)), Err(DeadLetterCode::INVALID_FIELD));
        assert_eq!(in_base64(json!(STANDARD.encode("{"))), Err(DeadLetterCode::MALFORMED));
    }

    #[test]
    fn binary_events_have_their_attributes_in_headers() {
        let timed = [&HEADERS[..], &[("ce_time", "2026-06-01T10:00:00Z")]].concat();
        let opened = open(&record(Some("application/json"), &timed, r#"{"a":1}"#)).unwrap();
        assert_eq!(opened, Opened { data: json!({"a": 1}), time: Some("2026-06-01T10:00:00Z".parse().unwrap()) });
        let dashes = HEADERS.map(|(name, value)| (name.replace('_', "-"), value));
        let dashes: Vec<(&str, &str)> = dashes.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        assert_eq!(open(&record(None, &dashes, "[]")).unwrap().data, json!([]));
        let code = |kind, headers: &[_]| open(&record(kind, headers, "{}")).map_err(|wrong| wrong.code);
        assert_eq!(code(None, &HEADERS[..3]), Err(DeadLetterCode::MISSING_FIELD));
        assert_eq!(code(Some("image/png"), &HEADERS), Err(DeadLetterCode::UNKNOWN_CONTENT_TYPE));
        let late = [&HEADERS[..], &[("ce_time", "noon")]].concat();
        assert_eq!(code(None, &late), Err(DeadLetterCode::INVALID_FIELD));
    }

    #[test]
    fn plain_json_needs_no_envelope() {
        assert_eq!(open(&record(None, &[("é", "x")], "7")).unwrap(), Opened { data: json!(7), time: None });
        assert_eq!(open(&record(Some("application/x+json"), &[], "7")).unwrap().data, json!(7));
        for refused in ["text/calendar", "application/cloudevents-batch+json"] {
            let code = open(&record(Some(refused), &[], "[]")).unwrap_err().code;
            assert_eq!(code, DeadLetterCode::UNKNOWN_CONTENT_TYPE, "{refused}");
        }
    }
}
