//! The kinds of hostile records: how one is made, and what must come of it.

use serde_json::{Value, json};

use super::CALENDAR;
use crate::support::noise;
use crate::support::subject::{Fate, GOOD, Kind, Poison};

/// 2026-03-26T00:00:00Z.
const NOW_MS: i64 = 1_774_483_200_000;

/// Raw records.
const RAW: &str = "raw.registrations";

/// The id of a record of this kind.
fn id(kind: &str, number: usize) -> String {
    format!("{kind} {number}")
}

/// The source of the registration of this id.
pub fn source_of(id: &str) -> String {
    format!("poison {}", id.rsplit_once(' ').map_or(id, |(kind, _)| kind))
}

fn sent(key: Option<&str>, content_type: Option<&str>, value: Option<Vec<u8>>) -> Poison {
    let headers = content_type.map(|kind| ("content-type".to_owned(), kind.as_bytes().to_vec()));
    Poison {
        topic: RAW,
        key: key.map(|key| key.as_bytes().to_vec()),
        value,
        headers: headers.into_iter().collect(),
        timestamp_ms: NOW_MS,
    }
}

/// A record of these bytes under the id of its kind and number.
fn bytes(kind: &str, number: usize, value: impl Into<Vec<u8>>) -> Poison {
    sent(Some(&id(kind, number)), None, Some(value.into()))
}

/// A good registration with other members in it.
fn changed(kind: &str, number: usize, members: Value) -> Poison {
    let mut data = json!({"id": id(kind, number), "event": format!("e{}", number % 40)});
    for (name, value) in members.as_object().into_iter().flatten() {
        data[name] = value.clone();
    }
    bytes(kind, number, data.to_string())
}

fn enveloped(kind: &str, number: usize, members: Value) -> Poison {
    let data = json!({"id": id(kind, number), "event": format!("e{}", number % 40)});
    let mut envelope = json!({"specversion": "1.0", "id": "1", "source": "/desk", "type": "t", "data": data});
    for (name, value) in members.as_object().into_iter().flatten() {
        envelope[name] = value.clone();
    }
    let value = envelope.to_string().into_bytes();
    sent(Some(&id(kind, number)), Some("application/cloudevents+json"), Some(value))
}

fn dead(code: &'static str) -> Fate {
    Fate { dead: vec![(code, 1)], live: Vec::new() }
}

fn live(kind: &str, number: usize) -> Fate {
    Fate { dead: Vec::new(), live: vec![(id(kind, number), format!("e{}", number % 40))] }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:expr, $per_100k:literal: $make:expr => $fate:expr;)+) => {
        pub const KINDS: &[Kind] = &[$(Kind { name: $name, per_100k: $per_100k, make: $make, fate: $fate }),+];
    };
}

kinds! {
    GOOD, 6_000: |n| changed(GOOD, n, json!({})) => |n| live(GOOD, n);
    "truncated", 14_000:
        |n| {
            let whole = json!({"id": id("truncated", n), "event": "e1", "note": "ä".repeat(n % 50)}).to_string();
            bytes("truncated", n, &whole.as_bytes()[..1 + n % (whole.len() - 1)])
        } => |_| dead("malformed");
    "noise", 14_000: |n| bytes("noise", n, noise(n, 1 + n % 300)) => |_| dead("malformed");
    "empty", 8_000: |n| bytes("empty", n, "") => |_| dead("empty-record");
    "no JSON object", 8_000:
        |n| bytes("no JSON object", n, ["null", "7", "\"text\"", "[]", "true"][n % 5]) => |_| dead("missing-field");
    "nested deeply", 1_000:
        |n| bytes("nested deeply", n, "[".repeat(200 + n % 5_000)) => |_| dead("malformed");
    "huge numbers", 2_000:
        |n| bytes("huge numbers", n, format!("{{\"id\": 1e{}, \"event\": \"e\"}}", 400 + n)) => |_| dead("malformed");
    "lone surrogates", 3_000:
        |n| bytes("lone surrogates", n, r#"{"event": "\ud800"}"#) => |_| dead("malformed");
    "nothing at all", 2_000: |_| sent(None, None, None) => |_| dead("missing-field");
    "key of noise", 2_000:
        |n| Poison { key: Some(noise(n, 20)), ..sent(None, None, None) } => |_| dead("invalid-field");
    "withdrawn before it came", 3_000: |n| sent(Some(&id("withdrawn before it came", n)), None, None) => |_| Fate::default();
    "long ids", 2_000:
        |n| changed("long ids", n, json!({"id": "x".repeat(513 + n % 4_000)})) => |_| dead("string-too-long");
    "control characters", 3_000:
        |n| changed("control characters", n, json!({"event": format!("e{}\u{0}", n)})) => |_| dead("invalid-field");
    "ids of other kinds", 3_000:
        |n| changed("ids of other kinds", n, json!({ "id": ([json!([]), json!({}), json!(true)][n % 3]) })) => |_| dead("invalid-field");
    "no event", 4_000: |n| changed("no event", n, json!({"event": ""})) => |_| dead("missing-field");
    "unknown status", 4_000:
        |n| changed("unknown status", n, json!({"status": format!("perhaps {n}")})) => |_| dead("invalid-field");
    "no times", 4_000:
        |n| {
            let times = [json!("soon"), json!(1.5), json!(i64::MAX), json!("-000009-01-01T00:00:00Z"), json!([])];
            changed("no times", n, json!({ "time": times[n % 5] }))
        } => |_| dead("invalid-field");
    "far times", 3_000:
        |n| changed("far times", n, json!({ "time": (["0001-01-01T00:00:00Z", "9999-12-30T00:00:00Z"][n % 2]) }))
        => |n| if n % 2 == 0 { live("far times", n) } else { dead("invalid-field") };
    "timestamps from elsewhere", 2_000:
        |n| {
            let timestamp_ms = [0, 253_402_300_799_999, NOW_MS * 50][n % 3];
            Poison { timestamp_ms, ..changed("timestamps from elsewhere", n, json!({})) }
        } => |n| live("timestamps from elsewhere", n);
    "other content types", 3_000:
        |n| {
            let kind = ["text/calendar", "application/cloudevents-batch+json", "\u{1f389}"][n % 3];
            sent(Some(&id("other content types", n)), Some(kind), Some(b"[]".to_vec()))
        } => |_| dead("unknown-content-type");
    "envelopes that lack something", 3_000:
        |n| {
            let name = ["specversion", "id", "source", "type", "data"][n % 5];
            enveloped("envelopes that lack something", n, json!({ name: null }))
        } => |_| dead("missing-field");
    "envelopes of other versions", 2_000:
        |n| enveloped("envelopes of other versions", n, json!({"specversion": "0.3"})) => |_| dead("invalid-field");
    "bad base64", 2_000:
        |n| enveloped("bad base64", n, json!({"data": null, "data_base64": "%%%"})) => |_| dead("invalid-field");
    "large", 200:
        |n| changed("large", n, json!({"note": "x".repeat(200_000 + n % 7 * 100_000)})) => |n| live("large", n);
    "binary envelopes", 2_000:
        |n| {
            let mut poison = changed("binary envelopes", n, json!({}));
            let attributes = [("ce_specversion", "1.0"), ("ce_id", "1"), ("ce-source", "/s"), ("ce_type", "t")];
            poison.headers = attributes.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).into();
            poison
        } => |n| live("binary envelopes", n);
    "tables of nonsense", 800:
        |n| {
            let mut poison = bytes("tables of nonsense", n, [&b"{"[..], b"[]", b"\xff", b"{\"title\":1}"][n % 4]);
            poison.topic = CALENDAR;
            poison
        } => |_| dead("invalid-control");
}
