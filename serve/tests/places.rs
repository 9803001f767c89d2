//! Places, over real sockets. That they are those of a naive scan is in `index.rs`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use support::http::Running;
use support::sse::Client;

fn event(id: &str, venue: (&str, &str), start: &str, point: Option<(f64, f64)>) -> Value {
    json!({
        "format": 1, "id": id, "title": format!("Event {id}"), "startTime": start, "endTime": null, "status": "scheduled",
        "venue": {"name": venue.0, "city": venue.1, "address": format!("Street of {id}"), "country": "US",
            "latitude": point.map(|point| point.0), "longitude": point.map(|point| point.1)},
        "listings": [{"source": "town"}], "qualityScore": 0.5,
    })
}

const NAPA: (f64, f64) = (38.2975, -122.2869);
const OAKLAND: (f64, f64) = (37.8044, -122.2712);

/// Two places in Napa, one in Oakland, one of which nothing but the name is known.
fn four() -> Running {
    let mut running = Running::start();
    let mut best = event("a3", ("Blue Note", "Napa"), "2026-12-03T20:00:00Z", Some(NAPA));
    best["qualityScore"] = 0.9.into();
    let mut long = event("a2", ("The BLUE note", "Napa"), "2026-12-02T20:00:00Z", Some((38.0, -122.0)));
    long["venue"]["name"] = "BLUE note".into();
    long["endTime"] = "2026-12-02T23:00:00Z".into();
    let mut cancelled = event("a4", ("Blue Note", "Napa"), "2026-12-01T10:00:00Z", Some(NAPA));
    cancelled["status"] = "cancelled".into();
    running.commit(&[
        ("a1", Some(event("a1", ("Blue Note", "Napa"), "2026-11-01T20:00:00Z", Some(NAPA)))),
        ("a2", Some(long)),
        ("a3", Some(best)),
        ("a4", Some(cancelled)),
        ("b1", Some(event("b1", ("Opera House", "Napa"), "2026-12-05", Some((38.3, -122.29))))),
        ("c1", Some(event("c1", ("Café Note", "Oakland"), "2026-12-06", Some(OAKLAND)))),
        ("d1", Some(event("d1", ("Somewhere", ""), "2026-11-30", None))),
        ("e1", Some(event("e1", ("…", "Napa"), "2026-12-06", None))),
    ]);
    running
}

fn keys(json: &Value) -> Vec<&str> {
    json["places"].as_array().unwrap().iter().map(|place| place["key"].as_str().unwrap()).collect()
}

const AT: &str = "at=2026-12-01T00:00:00Z";

#[test]
fn places_are_filtered_and_sorted() {
    let running = four();
    for (query, expected) in [
        ("", &["blue-note.napa", "cafe-note.oakland", "opera-house.napa", "somewhere"][..]),
        ("q=not", &["blue-note.napa", "cafe-note.oakland"]),
        ("q=not+", &[]),
        ("q=note+blu", &["blue-note.napa"]),
        ("q=oprea", &["opera-house.napa"]),
        ("city=NAPA", &["blue-note.napa", "opera-house.napa"]),
        ("city=oakland,nowhere", &["cafe-note.oakland"]),
        ("sort=events", &["blue-note.napa", "cafe-note.oakland", "opera-house.napa", "somewhere"]),
        (
            "sort=events&at=2026-12-05T12:00:00Z",
            &["cafe-note.oakland", "blue-note.napa", "opera-house.napa", "somewhere"],
        ),
        (
            "lat=37.8&lng=-122.3&sort=distance",
            &["cafe-note.oakland", "blue-note.napa", "opera-house.napa", "somewhere"],
        ),
        ("lat=38.3&lng=-122.3&radius=5", &["blue-note.napa", "opera-house.napa"]),
        ("bbox=-123,37,-122,38.29", &["cafe-note.oakland"]),
        ("limit=1&offset=1", &["cafe-note.oakland"]),
    ] {
        let at = if query.contains("at=") && !query.contains("lat=") { "" } else { AT };
        let answer = running.get(&format!("/api/places?{query}&{at}"));
        assert_eq!((answer.status, keys(&answer.json())), (200, expected.to_vec()), "{query}");
    }
    // One of its events lies in the rectangle, the place does not.
    assert_eq!(running.get("/api/places?bbox=-122.1,37.9,-121.9,38.1").json()["total"], 0);
}

#[test]
fn a_place_is_what_its_events_tell() {
    let running = four();
    let answer = running.get(&format!("/api/places?q=blue&lat=38.2975&lng=-122.2869&{AT}"));
    assert_eq!(
        answer.json(),
        json!({"places": [{
            "key": "blue-note.napa", "name": "Blue Note", "address": "Street of a3", "city": "Napa", "region": null,
            "country": "US", "latitude": NAPA.0, "longitude": NAPA.1, "distanceKm": 0.0, "eventsToCome": 2,
            "nextEvent": {"id": "a2", "title": "Event a2", "startTime": "2026-12-02T20:00:00+00:00",
                "endTime": "2026-12-02T23:00:00+00:00"},
        }], "total": 1, "hasMore": false, "nextCursor": null})
    );
    assert_eq!(answer.headers["headwater-position"], running.position());
    let again = running.get_with(
        &format!("/api/places?q=blue&lat=38.2975&lng=-122.2869&{AT}"),
        &[("If-None-Match", &answer.headers["etag"])],
    );
    assert_eq!((again.status, again.body.len()), (304, 0));
    let geo = running.get("/api/places.geojson?sort=distance&lat=37.8&lng=-122.3");
    assert_eq!(geo.headers["content-type"], "application/geo+json");
    let geo = geo.json();
    assert_eq!(geo["features"][0]["id"], "cafe-note.oakland");
    assert_eq!(geo["features"][0]["geometry"], json!({"type": "Point", "coordinates": [OAKLAND.1, OAKLAND.0]}));
    assert!(geo["features"][3]["geometry"].is_null());
}

#[test]
fn pages_go_on_although_places_come_and_go() {
    let mut running = four();
    let first = running.get("/api/places?limit=2");
    let json = first.json();
    assert_eq!((keys(&json), &json["hasMore"]), (vec!["blue-note.napa", "cafe-note.oakland"], &json!(true)));
    running.commit(&[
        ("c1", None),
        ("f1", Some(event("f1", ("Arena", "Napa"), "2026-12-06", None))),
        ("g1", Some(event("g1", ("Museum", "Napa"), "2026-12-06", None))),
        ("b1", Some(json!({"format": 1, "id": "b1", "redirectTo": "a1"}))),
    ]);
    let link = first.headers["link"].strip_prefix('<').unwrap().split('>').next().unwrap().to_owned();
    let rest = running.get(&link).json();
    assert_eq!((keys(&rest), &rest["nextCursor"]), (vec!["museum.napa", "somewhere"], &Value::Null));
    let cursor = json["nextCursor"].as_str().unwrap();
    let other = running.get(&format!("/api/places?city=Napa&cursor={cursor}")).json();
    assert_eq!(other["errors"][0]["code"], "invalid-cursor");
}

#[test]
fn one_place_has_its_next_events_and_its_status() {
    let running = four();
    let json = running.get(&format!("/api/places/blue-note.napa?limit=1&{AT}")).json();
    assert_eq!((&json["key"], &json["eventsToCome"]), (&json!("blue-note.napa"), &json!(2)));
    assert_eq!(json["events"][0], running.get("/api/events?source=town&q=a2").json()["events"][0]);
    assert_eq!(json["events"].as_array().unwrap().len(), 1);
    let status = |at: &str| {
        let json = running.get(&format!("/api/places/blue-note.napa/status?at={at}")).json();
        assert_eq!((&json["openingHours"], &json["capacity"]), (&Value::Null, &Value::Null), "nobody knows");
        let ids: Vec<String> =
            json["underWay"].as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect();
        (json["state"].as_str().unwrap().to_owned(), ids, json["next"]["id"].clone(), json["at"].clone())
    };
    let told = |state: &str, on: &[&str], next: Value, at: &str| {
        (state.to_owned(), on.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>(), next, json!(at))
    };
    assert_eq!(status("2026-12-01"), told("toCome", &[], json!("a2"), "2026-12-01T00:00:00Z"));
    assert_eq!(status("2026-12-02T20:30:00Z"), told("underWay", &["a2"], json!("a3"), "2026-12-02T20:30:00Z"));
    assert_eq!(status("2026-12-02T23:00:00Z"), told("toCome", &[], json!("a3"), "2026-12-02T23:00:00Z"));
    assert_eq!(status("2026-12-31"), told("nothing", &[], Value::Null, "2026-12-31T00:00:00Z"));
    let now = running.get("/api/places/blue-note.napa/status").json()["at"].as_str().unwrap().to_owned();
    assert!(now.ends_with(":00Z"), "{now}");
    for path in ["/api/places/nowhere", "/api/places/blue-note/status"] {
        let answer = running.get(path);
        assert_eq!((answer.status, &answer.json()["code"]), (404, &json!("not-found")), "{path}");
    }
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let running = four();
    let codes = |path: &str| {
        let json = running.get(path).json();
        let errors = json["errors"].as_array().unwrap_or_else(|| panic!("{json}")).clone();
        let text = |error: &Value, name: &str| error[name].as_str().unwrap().to_owned();
        errors.iter().map(|error| (text(error, "parameter"), text(error, "code"))).collect::<BTreeSet<_>>()
    };
    let expected = |all: &[(&str, &str)]| -> BTreeSet<(String, String)> {
        all.iter().map(|(parameter, code)| ((*parameter).to_owned(), (*code).to_owned())).collect()
    };
    assert_eq!(
        codes(
            "/api/places?q=-&lat=91&radius=x&bbox=1&sort=best&limit=0&offset=1&cursor=abc&at=soon&citty=Napa&at_least=7"
        ),
        expected(&[
            ("q", "empty-value"),
            ("lat", "out-of-range"),
            ("lng", "missing-parameter"),
            ("radius", "not-a-number"),
            ("bbox", "not-a-rectangle"),
            ("sort", "unknown-value"),
            ("limit", "out-of-range"),
            ("offset", "conflicting-parameters"),
            ("cursor", "invalid-cursor"),
            ("at", "not-a-time"),
            ("citty", "unknown-parameter"),
            ("at_least", "not-a-position"),
        ])
    );
    assert_eq!(codes("/api/places?sort=distance"), expected(&[("sort", "missing-parameter")]));
    assert_eq!(
        codes("/api/places/blue-note.napa?limit=x&at=now"),
        expected(&[("limit", "not-a-number"), ("at", "not-a-time")])
    );
    assert_eq!(codes("/api/places/none/status?limit=1"), expected(&[("limit", "unknown-parameter")]));
}

#[test]
fn a_place_is_a_filter_of_lists_facets_and_live_streams() {
    let mut running = four();
    assert_eq!(running.get("/api/events?place=blue-note.napa").ids(), ["a1", "a4", "a2", "a3"]);
    let facets = running.get("/api/events?limit=1&facets=place&city=Napa").json()["facets"]["place"].clone();
    assert_eq!(facets, json!([{"value": "blue-note.napa", "count": 4}, {"value": "opera-house.napa", "count": 1}]));
    let mut client = Client::default();
    client.connect(running.server.address(), "place=opera-house.napa");
    client.until("live");
    assert_eq!(client.map.keys().collect::<Vec<_>>(), ["b1"]);
    let move_to = |id: &str, venue| Some(event(id, venue, "2026-12-07", None));
    running
        .commit(&[("a1", move_to("a1", ("Opera House!", "NAPA"))), ("b1", move_to("b1", ("Opera House", "Oakland")))]);
    client.until("leave");
    assert_eq!(client.map.keys().collect::<Vec<_>>(), ["a1"]);
}

#[test]
fn what_is_trending_is_not_known_yet() {
    let answer = four().get("/api/trending");
    assert_eq!((answer.status, &*answer.headers["content-type"]), (501, "application/problem+json"));
    let json = answer.json();
    assert_eq!(json["code"], "not-implemented");
    assert!(json["detail"].as_str().unwrap().contains("sort="), "{json}");
}
