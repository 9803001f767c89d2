//! Reading: records of `place-requests` and `jobs`, and the results of jobs.

use std::borrow::Cow;
use std::sync::Arc;

use headwater::schema::{FORMAT, Versioned, read_json};
use headwater_operators::geocode::{Place, PlaceRequest};
use jobs::model::Phase;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// So much of what is wrong with a result is told, in characters.
const SHOWN: usize = 300;

/// Why a record cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    /// A newer program has written it.
    #[error("a job has the format {0}; this program reads {FORMAT}")]
    Newer(u32),
    /// It is not what the topic holds.
    #[error("{0}")]
    Malformed(String),
}

/// A job about a place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PlaceJob {
    /// The place.
    pub(super) key: Arc<str>,
    /// The order of all jobs.
    pub(super) number: u64,
    /// How it stands.
    pub(super) standing: Standing,
}

/// How a job stands, as far as it matters here.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Standing {
    /// No worker has it.
    Unbegun,
    /// A worker has it.
    Leased,
    /// It is done, with this place; or with something else, and what is wrong with that.
    Done(Result<Place, String>),
    /// It cannot be done.
    Dead,
    /// It was cancelled.
    Cancelled,
}

#[derive(Deserialize)]
struct ReadJob<'a> {
    #[serde(default)]
    format: Option<u32>,
    number: u64,
    #[serde(borrow)]
    queue: Cow<'a, str>,
    phase: Phase,
    #[serde(borrow)]
    payload: &'a RawValue,
    #[serde(default, borrow)]
    result: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct OfPlace<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
}

/// Reads a record of `place-requests`.
pub(super) fn request(value: &[u8]) -> Result<PlaceRequest, Unreadable> {
    let request: Versioned<PlaceRequest> = read_json(value).map_err(Unreadable::Malformed)?;
    Ok(request.value)
}

/// Reads a record of `jobs`; `None` where the job is of another queue than `queue`, or names no place.
pub(super) fn job(value: &[u8], queue: &str) -> Result<Option<PlaceJob>, Unreadable> {
    let malformed = |error: serde_json::Error| Unreadable::Malformed(error.to_string());
    let job: ReadJob<'_> = serde_json::from_slice(value).map_err(malformed)?;
    if let Some(newer) = job.format.filter(|format| *format > u32::from(FORMAT)) {
        return Err(Unreadable::Newer(newer));
    }
    if job.queue != queue {
        return Ok(None);
    }
    let Ok(OfPlace { key }) = serde_json::from_str(job.payload.get()) else { return Ok(None) };
    let standing = match job.phase {
        Phase::Blocked | Phase::Delayed | Phase::Waiting | Phase::Failed => Standing::Unbegun,
        Phase::Leased => Standing::Leased,
        Phase::Done => Standing::Done(place(&key, job.result)),
        Phase::Dead => Standing::Dead,
        Phase::Cancelled => Standing::Cancelled,
    };
    Ok(Some(PlaceJob { key: key.into(), number: job.number, standing }))
}

/// The place that a result tells of, or what is wrong with it. The key may be left out.
fn place(key: &str, result: Option<&RawValue>) -> Result<Place, String> {
    let result = result.map_or("null", RawValue::get);
    let Ok(Value::Object(mut fields)) = serde_json::from_str(result) else {
        return Err(format!("it is no object: {}", shown(result)));
    };
    match fields.insert("key".to_owned(), key.into()) {
        Some(other) if other != *key => Err(shown(&format!("it is about another place: {other}"))),
        _ => serde_json::from_value(Value::Object(fields)).map_err(|error| shown(&error.to_string())),
    }
}

fn shown(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const KEY: &str = "old mill||ely|GB";

    fn record(phase: &str, more: &Value) -> Vec<u8> {
        let mut job = json!({"format": 1, "id": "x", "queue": "places", "number": 7, "phase": phase,
            "payload": {"key": KEY, "venue": "Old Mill"}});
        job.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        job.to_string().into_bytes()
    }

    fn standing(phase: &str, more: &Value) -> Standing {
        let read = job(&record(phase, more), "places").unwrap().unwrap();
        assert_eq!((&*read.key, read.number), (KEY, 7));
        read.standing
    }

    fn refused(result: &Value) -> String {
        match standing("done", &json!({ "result": result })) {
            Standing::Done(Err(reason)) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_phase_has_its_standing() {
        for phase in Phase::ALL {
            let expected = match phase.name() {
                "leased" => Standing::Leased,
                "done" => Standing::Done(Err("it is no object: null".to_owned())),
                "dead" => Standing::Dead,
                "cancelled" => Standing::Cancelled,
                _ => Standing::Unbegun,
            };
            assert_eq!(standing(phase.name(), &json!({})), expected);
        }
    }

    #[test]
    fn a_result_is_a_place_with_or_without_its_key() {
        let found = json!({"found": true, "latitude": 52.4, "longitude": 0.26, "provider": "osm"});
        let place = |result: Value| match standing("done", &json!({ "result": result })) {
            Standing::Done(Ok(place)) => place,
            other => panic!("{other:?}"),
        };
        let one = place(found.clone());
        assert_eq!((&*one.key.0, one.point.map(|point| point.latitude())), (KEY, Some(52.4)));
        let mut keyed = found;
        keyed["key"] = KEY.into();
        assert_eq!(place(keyed), one);
        assert_eq!(place(json!({"found": false})).point, None);
    }

    #[test]
    fn what_is_no_place_is_told() {
        assert_eq!(refused(&json!("here")), "it is no object: \"here\"");
        assert_eq!(refused(&json!({"output": "x"})), "missing field `found`");
        assert!(refused(&json!({"found": true, "latitude": 99.0, "longitude": 1.0})).contains("in range"));
        assert!(refused(&json!({"found": true, "key": "other"})).contains("another place: \"other\""));
        assert_eq!(refused(&json!("x".repeat(1_000))).chars().count(), "it is no object: ".len() + SHOWN);
    }

    #[test]
    fn other_jobs_are_passed_over() {
        assert_eq!(job(&record("done", &json!({})), "other"), Ok(None));
        assert_eq!(job(&record("done", &json!({"payload": {"venue": "Old Mill"}})), "places"), Ok(None));
        assert_eq!(job(&record("done", &json!({"payload": "text"})), "places"), Ok(None));
        assert_eq!(job(&record("done", &json!({"format": 2})), "places"), Err(Unreadable::Newer(2)));
        assert!(matches!(job(b"[]", "places"), Err(Unreadable::Malformed(_))));
        assert!(matches!(request(b"{\"format\":1}"), Err(Unreadable::Malformed(_))));
    }
}
