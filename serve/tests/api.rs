//! The REST API, over real sockets.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeSet;

use headwater_serve::api::endpoints::{Endpoint, endpoints};
use headwater_serve::api::openapi;
use headwater_serve::api::{Origins, problem};
use headwater_serve::commit::Topic;
use serde_json::{Value, json};

use support::http::{Running, request};

const NAPA: (f64, f64) = (38.2975, -122.2869);

fn event(id: &str, title: &str, start: &str) -> Value {
    json!({
        "format": 1, "id": id, "title": title, "description": "An evening, with music; and more",
        "category": "music", "tags": ["live"], "startTime": start, "endTime": null, "timezone": "America/Los_Angeles",
        "venue": {"name": "Blue Note", "address": "1030 Main St", "city": "Napa", "region": "CA", "country": "US",
            "latitude": NAPA.0, "longitude": NAPA.1},
        "online": false, "organizer": {"name": "BN"}, "pricing": {"min": 12.5, "max": 20.0, "currency": "USD", "free": null},
        "urls": ["https://example.org/?a=1,2;3"], "status": "scheduled",
        "listings": [{"source": "city-guide", "externalId": "7"}], "updatedAt": "2026-11-01T10:00:00Z",
        "qualityScore": 0.9, "qualityGrade": "A",
    })
}

/// Three events: e1 and e2 in Napa, e3 in Paris and without more.
fn three() -> Running {
    let mut running = Running::start();
    let mut workshop = event("e2", "Letterpress workshop", "2026-12-02");
    workshop["endTime"] = "2026-12-03".into();
    workshop["category"] = "classes".into();
    let plain = json!({
        "format": 1, "id": "e3", "title": "Jazz, bar \"Le Duc\" <b>\u{1f3b7}</b>", "description": null, "category": null,
        "tags": [], "startTime": "2026-12-05T20:00:00+01:00", "venue": {"city": "Paris"}, "status": "cancelled",
        "listings": [{"source": "town", "externalId": "x"}], "updatedAt": "2026-11-02T10:00:00Z", "qualityScore": 0.2,
    });
    let first = event("e1", "Jazz Night", "2026-12-01T19:30:00-08:00");
    running.commit(&[("e1", Some(first)), ("e2", Some(workshop)), ("e3", Some(plain))]);
    running
}

#[test]
fn events_are_filtered() {
    let running = three();
    for (query, expected) in [
        ("", &["e1", "e2", "e3"][..]),
        ("q=jaz", &["e1", "e3"]),
        ("q=letterpres+worksop", &["e2"]),
        ("category=music,none", &["e1"]),
        ("category=music&category=classes", &["e1", "e2"]),
        ("city=NAPA&source=city-guide", &["e1", "e2"]),
        ("startDate=2026-12-02&endDate=2026-12-02", &["e2"]),
        ("startDate=2026-12-03", &["e2", "e3"]),
        ("endDate=2026-12-02T03:30:00Z", &["e1"]),
        ("lat=38.3&lng=-122.3&radius=5", &["e1", "e2"]),
        ("bbox=-123,38,-122,39", &["e1", "e2"]),
        ("price=15", &["e1", "e2"]),
        ("price=10", &[]),
        ("price=free", &[]),
        ("grade=a,B", &["e1", "e2"]),
        ("minQuality=0.5", &["e1", "e2"]),
        ("status=cancelled", &["e3"]),
        ("online=false", &["e1", "e2", "e3"]),
        ("updatedSince=2026-11-02", &["e3"]),
        ("limit=1&offset=1", &["e2"]),
    ] {
        let answer = running.get(&format!("/api/events?{query}"));
        assert_eq!(answer.status, 200, "{query}: {}", answer.text());
        let mut ids = answer.ids();
        ids.sort();
        assert_eq!(ids, expected, "{query}");
    }
}

#[test]
fn nobody_sees_how_rejected_events_spell_a_value() {
    let mut running = three();
    let tagged = |id: &str, tag: &str, rejected: bool| {
        let mut event = event(id, "Reed Weaving", "2026-12-04");
        event["tags"] = json!([tag]);
        if rejected {
            event["moderation"] = "rejected".into();
        }
        Some(event)
    };
    let spellings = |running: &Running| running.get("/api/events?facets=tag&q=weaving").json()["facets"]["tag"].clone();
    running.commit(&[
        ("r1", tagged("r1", "BASKETS !!!", true)),
        ("r2", tagged("r2", "BASKETS !!!", true)),
        ("r3", tagged("r3", "Baskets", false)),
    ]);
    assert_eq!(spellings(&running), json!([{"value": "Baskets", "count": 1}]));
    running.commit(&[("r1", None), ("r3", tagged("r3", "Baskets", true))]);
    running.commit(&[("r3", tagged("r3", "Baskets", false))]);
    assert_eq!(spellings(&running), json!([{"value": "Baskets", "count": 1}]));
}

#[test]
fn what_editors_rejected_is_for_those_who_ask() {
    let mut running = three();
    let commit = |running: &mut Running, word: Option<&str>| {
        let mut event = event("e1", "Jazz Night", "2026-12-01T19:30:00-08:00");
        event["tags"] = json!(["midnight"]);
        word.into_iter().for_each(|word| event["moderation"] = word.into());
        running.commit(&[("e1", Some(event))]);
    };
    commit(&mut running, Some("rejected"));
    let mut flagged = event("e2", "Letterpress workshop", "2026-12-02");
    flagged["moderation"] = "flagged".into();
    running.commit(&[("e2", Some(flagged))]);
    for (query, expected) in [
        ("", &["e2", "e3"][..]),
        ("q=jaz", &["e3"]),
        ("city=Napa", &["e2"]),
        ("moderation=rejected", &["e1"]),
        ("moderation=Rejected,flagged", &["e1", "e2"]),
        ("moderation=none&moderation=approved", &["e3"]),
        ("moderation=approved,flagged,rejected,none&sort=start", &["e1", "e2", "e3"]),
    ] {
        assert_eq!(running.get(&format!("/api/events?{query}")).ids(), expected, "{query}");
    }
    let listed = running.get("/api/events?facets=moderation,tag").json();
    assert_eq!(
        (&listed["total"], listed["facets"]["moderation"].as_array().unwrap().len()),
        (&json!(2), 2),
        "{listed}"
    );
    assert!(!listed["facets"]["tag"].to_string().contains("midnight"), "{listed}");
    for suffix in [".ics", ".rss", ".csv", ".geojson"] {
        assert!(!running.get(&format!("/api/events{suffix}")).text().contains("Jazz Night"), "{suffix}");
        assert!(running.get(&format!("/api/events{suffix}?moderation=rejected")).text().contains("Jazz Night"));
    }
    let typed = running.get("/api/suggest?q=midn").json();
    assert_eq!((&typed["tags"], &typed["words"]), (&json!([]), &json!([])), "{typed}");
    let typed = running.get("/api/suggest?q=jaz").json();
    assert_eq!((&typed["words"][0]["count"], typed["events"].as_array().unwrap().len()), (&json!(1), 1), "{typed}");
    // Whoever has the id is told what became of it.
    assert_eq!(running.get("/api/events/e1").json()["moderation"], "rejected");
    let wrong = running.get("/api/events?moderation=maybe").json();
    assert_eq!(
        (&wrong["errors"][0]["parameter"], &wrong["errors"][0]["code"]),
        (&json!("moderation"), &json!("unknown-value"))
    );
    let since = running.position();
    commit(&mut running, None);
    assert_eq!(running.get("/api/events").ids(), ["e1", "e2", "e3"]);
    commit(&mut running, Some("rejected"));
    let pulled = running.get(&format!("/api/events?updatedSince={since}")).json();
    assert_eq!((&pulled["removed"], &pulled["total"]), (&json!(["e1"]), &json!(0)), "{pulled}");
}

#[test]
fn a_list_tells_its_total_distances_facets_and_fields() {
    let running = three();
    let path = "/api/events?lat=38.3&lng=-122.3&sort=distance&facets=category,city&fields=title&limit=2";
    let json = running.get(path).json();
    assert_eq!((&json["total"], &json["hasMore"]), (&json!(3), &json!(true)));
    assert_eq!(json["facets"]["city"], json!([{"value": "Napa", "count": 2}, {"value": "Paris", "count": 1}]));
    assert_eq!(json["facets"]["category"].as_array().unwrap().len(), 2);
    let first = json["events"][0].as_object().unwrap();
    assert_eq!(first.keys().collect::<Vec<_>>(), ["distanceKm", "id", "title"]);
    assert!((first["distanceKm"].as_f64().unwrap() - 1.18).abs() < 0.02, "{first:?}");
}

#[test]
fn pages_go_on_although_events_come_and_go() {
    let mut running = three();
    let first = running.get("/api/events?limit=1&facets=city").json();
    let cursor = first["nextCursor"].as_str().unwrap();
    // Before the place of the cursor, at it, and after it.
    running.commit(&[
        ("e0", Some(event("e0", "Earlier", "2026-11-30T19:30:00-08:00"))),
        ("e1", None),
        ("e25", Some(event("e25", "Between", "2026-12-04"))),
    ]);
    let rest = running.get(&format!("/api/events?limit=10&cursor={cursor}"));
    assert_eq!(rest.ids(), ["e2", "e25", "e3"]);
    assert!(rest.json()["nextCursor"].is_null());
    let other = running.get(&format!("/api/events?limit=10&q=jazz&cursor={cursor}"));
    assert_eq!((other.status, &other.json()["errors"][0]["code"]), (400, &json!("invalid-cursor")));
    // The link says the same, for every form.
    let link = running.get("/api/events.csv?limit=1&city=Napa").headers["link"].clone();
    let path = link.strip_prefix('<').unwrap().split('>').next().unwrap();
    assert!(path.starts_with("/api/events.csv?"), "{path}");
    assert!(running.get(path).text().contains("e2,"), "{path}");
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let running = three();
    let query = "lat=91&lng=x&radius=-1&catgory=music&limit=0&limit=3&startDate=soon&grade=Z&online=yes&q=%20&\
                 bbox=1,2,3&price=cheap&cursor=abc&offset=3&sort=best&at_least=1&minQuality=NaN&tag=a,,b&status=";
    let answer = running.get(&format!("/api/events?{query}"));
    assert_eq!((answer.status, answer.headers["content-type"].as_str()), (400, "application/problem+json"));
    let json = answer.json();
    assert_eq!(
        (&json["code"], &json["status"], &json["title"]),
        (&json!("invalid-parameters"), &json!(400), &json!("Bad Request"))
    );
    let errors = json["errors"].as_array().unwrap();
    let told: BTreeSet<(&str, &str)> =
        errors.iter().map(|error| (error["parameter"].as_str().unwrap(), error["code"].as_str().unwrap())).collect();
    let expected = BTreeSet::from([
        ("lat", "out-of-range"),
        ("lng", "not-a-number"),
        ("radius", "out-of-range"),
        ("catgory", "unknown-parameter"),
        ("limit", "repeated-parameter"),
        ("limit", "out-of-range"),
        ("startDate", "not-a-time"),
        ("grade", "unknown-value"),
        ("online", "not-a-boolean"),
        ("q", "empty-value"),
        ("bbox", "not-a-rectangle"),
        ("price", "not-a-number"),
        ("cursor", "invalid-cursor"),
        ("offset", "conflicting-parameters"),
        ("sort", "unknown-value"),
        ("at_least", "not-a-position"),
        ("minQuality", "not-a-number"),
        ("tag", "empty-value"),
        ("status", "empty-value"),
    ]);
    assert_eq!(told, expected);
    let hint = errors.iter().find(|error| error["parameter"] == "catgory").unwrap();
    assert!(hint["detail"].as_str().unwrap().contains("Did you mean \"category\"?"), "{hint}");
    assert!(told.iter().all(|(_, code)| problem::PARAMETER_CODES.contains(code)));
    for (query, parameter, code) in [
        ("lat=1", "lng", "missing-parameter"),
        ("radius=1", "lat", "missing-parameter"),
        ("sort=distance", "sort", "missing-parameter"),
        ("sort=relevance", "sort", "missing-parameter"),
        ("startDate=2026-12-02&endDate=2026-12-01", "endDate", "conflicting-parameters"),
        ("at_least=00000000-1", "at_least", "other-lineage"),
        ("updatedSince=yesterday", "updatedSince", "not-a-position"),
    ] {
        let error = running.get(&format!("/api/events?{query}")).json()["errors"][0].clone();
        assert_eq!((&error["parameter"], &error["code"]), (&json!(parameter), &json!(code)), "{query}");
    }
    let long = running.get(&format!("/api/events?q={}", "a".repeat(9_000)));
    assert_eq!((long.status, &long.json()["code"]), (414, &json!("query-too-long")));
}

#[test]
fn unknown_addresses_and_methods_are_problems() {
    let running = three();
    let nothing = running.get("/api/evnts");
    assert_eq!((nothing.status, &nothing.json()["code"]), (404, &json!("not-found")));
    let post = request(running.server.address(), "POST", "/api/events", &[("Content-Length", "0")]);
    assert_eq!((post.status, post.headers["allow"].as_str()), (405, "GET,HEAD"));
    let image = running.get_with("/api/events", &[("Accept", "image/png")]);
    assert_eq!((image.status, &image.json()["code"]), (406, &json!("not-acceptable")));
}

#[test]
fn an_unchanged_answer_is_not_sent_again() {
    let mut running = three();
    let first = running.get("/api/events?city=Napa");
    let tag = first.headers["etag"].clone();
    assert!(tag.starts_with("W/\""), "{tag}");
    let again = running.get_with("/api/events?city=Napa", &[("If-None-Match", &format!("\"x\", {tag}"))]);
    assert_eq!((again.status, again.body.len(), &again.headers["etag"]), (304, 0, &tag));
    // A change elsewhere changes the position alone.
    running.commit(&[("e3", None)]);
    let again = running.get_with("/api/events?city=Napa", &[("If-None-Match", &tag)]);
    assert_eq!((again.status, &again.headers["headwater-position"]), (304, &running.position()));
    running.commit(&[("e1", None)]);
    assert_eq!(running.get_with("/api/events?city=Napa", &[("If-None-Match", &tag)]).status, 200);
}

#[test]
fn a_reader_waits_for_what_it_wrote() {
    let mut running = three();
    let address = running.server.address();
    let next = running.live().position(running.commit + 1).to_string();
    let path = format!("/api/events/e9?at_least={next}");
    let waiting = std::thread::spawn(move || support::http::get(address, &path, &[]));
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert!(!waiting.is_finished());
    running.commit(&[("e9", Some(event("e9", "New", "2026-12-09")))]);
    let answer = waiting.join().unwrap();
    assert_eq!((answer.status, &answer.headers["headwater-position"]), (200, &next));
}

#[test]
fn pull_sync_tells_what_has_left() {
    let mut running = three();
    let position = running.position();
    let mut moved = event("e1", "Jazz Night", "2026-12-01T19:30:00-08:00");
    moved["venue"]["city"] = "Oakland".into();
    running.commit(&[("e1", Some(moved)), ("e2", None)]);
    let json = running.get(&format!("/api/events?city=Napa,Oakland&updatedSince={position}"));
    assert_eq!((json.ids(), &json.json()["removed"]), (vec!["e1".to_owned()], &json!(["e2"])));
    let json = running.get(&format!("/api/events?city=Napa&updatedSince={position}")).json();
    assert_eq!(
        (&json["total"], &json["removed"], &json["removedComplete"]),
        (&json!(0), &json!(["e2", "e1"]), &json!(true))
    );
}

#[test]
fn one_event_comes_with_its_records_and_retired_ids_lead_to_it() {
    let mut running = three();
    let key = headwater_operators::ListingId::of("city-guide", "7").to_string();
    running.commit_to(Topic::Listings, &[(&key, Some(json!({"format": 1, "listing": {"title": "As sent"}})))]);
    running.commit_to(Topic::Links, &[(&key, Some(json!({"format": 1, "eventId": "e1", "similarity": 0.93})))]);
    let redirect = |from: &str, to: &str| Some(json!({"format": 1, "id": from, "redirectTo": to}));
    running.commit(&[("r1", redirect("r1", "r2")), ("r2", redirect("r2", "e1"))]);
    let json = running.get("/api/events/e1").json();
    assert_eq!(json["title"], "Jazz Night");
    assert_eq!(json["members"][0]["listing"]["listing"]["title"], "As sent");
    assert_eq!(json["members"][0]["link"]["similarity"], 0.93);
    let moved = running.get("/api/events/r1");
    assert_eq!((moved.status, moved.headers["location"].as_str()), (308, "/api/events/e1"));
    assert_eq!(moved.json(), json!({"id": "r1", "redirectTo": "e1"}));
    assert_eq!(running.get("/api/events/none").status, 404);
}

#[test]
fn suggestions_begin_with_what_was_typed() {
    let running = three();
    let json = running.get("/api/suggest?q=le").json();
    assert_eq!(json["words"], json!([{"text": "le", "count": 1}, {"text": "letterpress", "count": 1}]));
    assert_eq!(running.get("/api/suggest?q=nap").json()["cities"], json!([{"text": "Napa", "count": 2}]));
    assert_eq!(running.get("/api/suggest?q=jazz+nig").json()["events"], json!([{"id": "e1", "title": "Jazz Night"}]));
    assert_eq!(running.get("/api/suggest").json()["errors"][0]["code"], "missing-parameter");
}

#[test]
fn the_calendar_is_read_by_the_extractor() {
    let running = three();
    let by_suffix = running.get("/api/events.ics");
    assert_eq!(by_suffix.headers["content-type"], "text/calendar; charset=utf-8");
    let by_accept = running.get_with("/api/events", &[("Accept", "text/calendar")]);
    assert_eq!(by_accept.body, by_suffix.body);
    let listings = support::extract::calendar(&by_suffix.body);
    let json = running.get("/api/events").json();
    for event in json["events"].as_array().unwrap() {
        let id = event["id"].as_str().unwrap();
        let listing = listings.iter().find(|listing| listing.external_id == id).unwrap_or_else(|| panic!("{id}"));
        let moment = |name: &str| event[name].as_str().map(|text| text.parse::<headwater_operators::Moment>().unwrap());
        let same = |a: Option<headwater_operators::Moment>, b: Option<headwater_operators::Moment>| {
            assert_eq!(
                a.map(|at| (at.is_day(), at.earliest_ms(None))),
                b.map(|at| (at.is_day(), at.earliest_ms(None))),
                "{id}"
            );
        };
        assert_eq!(listing.title, event["title"].as_str().unwrap());
        assert_eq!(listing.description.as_deref(), event["description"].as_str());
        same(Some(listing.start), moment("startTime"));
        same(listing.end, moment("endTime"));
        assert_eq!(listing.urls.first().map(|url| url.as_str()), event["urls"][0].as_str());
        let cancelled = listing.status == headwater_operators::listing::Status::Cancelled;
        assert_eq!(cancelled, event["status"] == "cancelled", "{id}");
    }
    assert_eq!(listings.len(), 3);
}

#[test]
fn other_forms_hold_the_same_events() {
    let running = three();
    let geo = running.get("/api/events.geojson?lat=38&lng=-122");
    assert_eq!(geo.headers["content-type"], "application/geo+json");
    let geo = geo.json();
    assert_eq!(geo["features"][0]["geometry"], json!({"type": "Point", "coordinates": [NAPA.1, NAPA.0]}));
    assert!(geo["features"][0]["properties"]["distanceKm"].is_number());
    assert!(geo["features"][2]["geometry"].is_null());
    let csv = running.get("/api/events.csv").text();
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!((rows.len(), &rows[2][1]), (3, "Jazz, bar \"Le Duc\" <b>\u{1f3b7}</b>"));
    let rss = running.get("/api/events.rss").text();
    assert!(rss.contains("<title>Jazz, bar \"Le Duc\" &lt;b&gt;"), "{rss}");
    assert_eq!(rss.matches("<item>").count(), 3);
}

#[test]
fn pages_of_other_origins_read_by_configuration_only() {
    let ask = |running: &Running| {
        let answer = running.get_with("/api/events", &[("Origin", "https://a.example")]);
        answer.headers.get("access-control-allow-origin").cloned()
    };
    assert_eq!(ask(&Running::start()), None);
    assert_eq!(ask(&Running::start_for(&Origins::Any)).as_deref(), Some("*"));
    let only = Origins::Only(vec!["https://a.example".parse().unwrap()]);
    assert_eq!(ask(&Running::start_for(&only)).as_deref(), Some("https://a.example"));
    let other = Origins::Only(vec!["https://b.example".parse().unwrap()]);
    assert_eq!(ask(&Running::start_for(&other)), None);
}

#[test]
fn answers_are_compressed_for_those_who_ask() {
    let running = three();
    let answer = running.get_with("/api/events", &[("Accept-Encoding", "gzip")]);
    assert_eq!(answer.headers.get("content-encoding").map(String::as_str), Some("gzip"));
    assert_eq!(answer.body[..2], [0x1f, 0x8b]);
}

#[test]
fn the_description_is_the_golden_one_and_knows_every_parameter() {
    let running = Running::start();
    let served = running.get("/openapi.json").json();
    assert_eq!(served, openapi::document());
    let with_parameters = |endpoint: &Endpoint| endpoint.method == "GET" && !endpoint.parameters.is_empty();
    for endpoint in endpoints().into_iter().filter(with_parameters) {
        let parameters = served["paths"][&endpoint.path]["get"]["parameters"].as_array().unwrap();
        let described: BTreeSet<&str> =
            parameters.iter().filter(|one| one["in"] == "query").map(|one| one["name"].as_str().unwrap()).collect();
        let path = endpoint.path.replace("{id}", "none").replace("{topic}", "none").replace("{key}", "none");
        // What is described is known, and nothing else is.
        for name in described.iter().chain([&"nonsense"]) {
            let codes = running.get(&format!("{path}?{name}=%00&certainly-wrong=1")).json();
            let unknown = codes["errors"].as_array().is_some_and(|errors| {
                errors.iter().any(|error| error["parameter"] == **name && error["code"] == "unknown-parameter")
            });
            assert_eq!(unknown, *name == "nonsense", "{path} {name} {codes}");
        }
    }
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    let text = format!("{}\n", serde_json::to_string_pretty(&served).unwrap());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(golden, &text).unwrap();
    }
    assert!(std::fs::read_to_string(golden).unwrap() == text, "run with UPDATE_GOLDEN=1 and read the difference");
}
