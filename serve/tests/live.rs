//! Live streams, over real sockets: a client that keeps a map has what a list gives.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use headwater_serve::stream::{Streaming, Subject};
use http_body::Body;
use serde_json::{Value, json};

use support::http::{Running, narrow};
use support::sse::Client;

fn event(id: &str, city: &str, title: &str) -> Value {
    json!({
        "format": 1, "id": id, "title": title, "startTime": "2026-12-01T20:00:00Z", "venue": {"city": city}, "tags": [],
        "listings": [{"source": "town"}], "status": "scheduled",
    })
}

/// All events of a list, by id.
fn listed(running: &Running, query: &str) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    let mut cursor = String::new();
    loop {
        let json = running.get(&format!("/api/events?limit=200&{query}{cursor}")).json();
        for event in json["events"].as_array().unwrap() {
            all.insert(event["id"].as_str().unwrap().to_owned(), event.clone());
        }
        match json["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

fn names(sent: &[support::sse::Sent]) -> Vec<(&str, &str)> {
    sent.iter().map(|sent| (sent.name.as_str(), sent.data["id"].as_str().unwrap_or_default())).collect()
}

#[test]
fn a_snapshot_is_followed_by_what_enters_changes_and_leaves() {
    let mut running = Running::start();
    running.commit(&[("a", Some(event("a", "Napa", "Jazz"))), ("b", Some(event("b", "Suva", "Jazz")))]);
    let mut client = Client::default();
    client.connect(running.server.address(), "city=Napa");
    assert_eq!(names(&client.until("live")), [("reset", ""), ("enter", "a"), ("live", "")]);
    assert_eq!(client.last_id, running.position());
    running.commit(&[("c", Some(event("c", "Napa", "Blues")))]);
    running.commit(&[("a", Some(event("a", "Napa", "More jazz")))]);
    running.commit(&[("b", Some(event("b", "Suva", "Unseen")))]);
    running.commit(&[("a", Some(event("a", "Suva", "Moved"))), ("b", Some(event("b", "Napa", "Moved")))]);
    assert_eq!(names(&client.until("enter")), [("enter", "c")]);
    assert_eq!(names(&client.until("update")), [("update", "a")]);
    assert_eq!(client.step().map(|sent| sent.name), Some("leave".to_owned()));
    let before = client.last_id.clone();
    assert_eq!(client.step().map(|sent| sent.name), Some("enter".to_owned()));
    assert_ne!(before, client.last_id, "the last change of a commit carries its id, the others do not");
    assert_eq!(client.last_id, running.position());
    running.commit(&[("c", Some(json!({"format": 1, "id": "c", "redirectTo": "b"})))]);
    let left = client.until("leave");
    assert_eq!(left[0].data, json!({"id": "c", "redirectTo": "b"}));
    assert_eq!(client.map, listed(&running, "city=Napa"));
}

#[test]
fn what_is_rejected_leaves_and_what_is_taken_back_enters() {
    let mut running = Running::start();
    let said = |word: &str| {
        let mut event = event("a", "Napa", "Jazz");
        event["moderation"] = word.into();
        Some(event)
    };
    running.commit(&[("a", Some(event("a", "Napa", "Jazz")))]);
    let (mut client, mut desk) = (Client::default(), Client::default());
    client.connect(running.server.address(), "");
    desk.connect(running.server.address(), "moderation=rejected,flagged");
    client.until("live");
    desk.until("live");
    running.commit(&[("a", said("flagged"))]);
    running.commit(&[("a", said("rejected"))]);
    assert_eq!(names(&client.until("leave")), [("update", "a"), ("leave", "a")]);
    assert_eq!(names(&desk.until("update")), [("enter", "a"), ("update", "a")]);
    assert!(client.map.is_empty() && listed(&running, "").is_empty());
    client.cut();
    running.commit(&[("a", Some(event("a", "Napa", "Jazz")))]);
    client.connect(running.server.address(), "");
    assert_eq!(names(&client.until("live")), [("enter", "a"), ("live", "")]);
    assert_eq!(names(&desk.until("leave")), [("leave", "a")]);
    assert_eq!(client.map, listed(&running, ""));
}

#[test]
fn changes_alone_and_fields_alone() {
    let mut running = Running::start();
    running.commit(&[("a", Some(event("a", "Napa", "Jazz")))]);
    let mut client = Client::default();
    client.connect(running.server.address(), "snapshot=false&fields=title");
    assert_eq!(names(&client.until("live")), [("live", "")]);
    running.commit(&[("a", Some(event("a", "Napa", "Blues")))]);
    assert_eq!(client.until("update")[0].data, json!({"id": "a", "title": "Blues"}));
}

#[test]
fn a_client_that_comes_back_gets_what_it_missed() {
    let mut running = Running::start();
    running.commit(&[("a", Some(event("a", "Napa", "1"))), ("b", Some(event("b", "Napa", "1")))]);
    let mut client = Client::default();
    client.connect(running.server.address(), "city=Napa");
    client.until("live");
    client.cut();
    running.commit(&[("a", Some(event("a", "Napa", "2")))]);
    running.commit(&[("a", Some(event("a", "Napa", "3"))), ("b", None)]);
    client.connect(running.server.address(), "city=Napa");
    let missed = client.until("live");
    assert_eq!(names(&missed), [("update", "a"), ("update", "a"), ("leave", "b"), ("live", "")]);
    assert_eq!(missed[3].data["resumed"], "exact");
    assert_eq!(client.map, listed(&running, "city=Napa"));
    client.cut();
    // Of another lineage, cut off within a snapshot, or of a future that did not come.
    for id in [
        "00000000-1",
        &running.live().position(0).to_string(),
        &running.live().position(running.commit + 1_000).to_string(),
    ] {
        id.clone_into(&mut client.last_id);
        client.connect(running.server.address(), "city=Napa");
        assert_eq!(names(&client.until("live")), [("reset", ""), ("enter", "a"), ("live", "")], "{id}");
        client.cut();
    }
    let wrong = running.get_with("/api/events/live?cty=Napa", &[("Last-Event-ID", "soon")]);
    let told: Vec<Value> = wrong.json()["errors"].as_array().unwrap().iter().map(|one| one["code"].clone()).collect();
    assert_eq!((wrong.status, told), (400, vec![json!("unknown-parameter"), json!("not-a-position")]));
}

/// Commits so many changes that no ring holds them, and some events go.
fn much(running: &mut Running, commits: u64) {
    much_of(running, commits, 20);
}

/// As [`much`], with so many bytes more in each event.
fn much_of(running: &mut Running, commits: u64, filler: usize) {
    for number in 0..commits {
        let ids: Vec<String> = (0..50).map(|one| format!("e{}", (number * 37 + one * 11) % 400)).collect();
        let city = |one: u64| if (number + one).is_multiple_of(3) { "Suva" } else { "Napa" };
        let value = |(id, one): (&String, u64)| {
            let gone = (number + one).is_multiple_of(7);
            let mut event = event(id, city(one), &format!("Title {number}"));
            event["filler"] = "x".repeat(filler).into();
            (!gone).then_some(event)
        };
        let records: Vec<(&str, Option<Value>)> =
            ids.iter().zip(0..).map(|(id, one)| (id.as_str(), value((id, one)))).collect();
        running.commit(&records);
    }
}

#[test]
fn a_client_that_was_away_for_long_resumes_in_state() {
    let mut running = Running::start();
    much(&mut running, 20);
    let mut client = Client::default();
    client.connect(running.server.address(), "city=Napa");
    client.until("live");
    client.cut();
    much(&mut running, 120);
    client.connect(running.server.address(), "city=Napa");
    let missed = client.until("live");
    assert_eq!(missed.last().unwrap().data["resumed"], "state");
    assert!(missed.iter().all(|sent| sent.name != "reset"));
    assert_eq!(client.map, listed(&running, "city=Napa"));
}

#[test]
fn a_slow_client_is_conflated_and_ends_with_the_same_map() {
    let mut running = Running::start();
    much(&mut running, 10);
    let mut client = Client::default();
    client.connect_on(narrow(running.server.address()), "city=Napa");
    // It does not read meanwhile: sockets and queue fill up.
    let began = Instant::now();
    much_of(&mut running, 120, 30_000);
    running.commit(&[("last", Some(event("last", "Napa", "Last")))]);
    let mut conflated = false;
    while !client.map.contains_key("last") {
        let sent = client.step();
        conflated |= sent.is_some_and(|sent| sent.name == "live" && sent.data["resumed"] == "state");
        assert!(client.is_connected() && began.elapsed() < Duration::from_secs(60));
    }
    // It may be among what conflation brings, which ends with "live".
    if !conflated {
        assert_eq!(client.until("live").last().unwrap().data["resumed"], "state");
    }
    assert_eq!(client.map, listed(&running, "city=Napa"));
}

#[test]
fn a_client_that_is_cut_at_random_has_the_map_of_a_list() {
    let mut running = Running::start();
    much(&mut running, 5);
    let mut client = Client::default();
    for round in 0..60u64 {
        client.connect(running.server.address(), "city=Napa&q=title");
        much(&mut running, round % 4);
        // Cut after some events, wherever that is within a commit; there is a snapshot or "live" at least.
        client.step_until_live_or((round * 7919) % 90);
        client.cut();
    }
    client.connect(running.server.address(), "city=Napa&q=title");
    client.until("live");
    assert_eq!(client.map, listed(&running, "city=Napa&q=title"));
}

#[test]
fn a_heartbeat_moves_the_id_and_tells_nothing() {
    let mut running = Running::start();
    running.commit(&[("a", Some(event("a", "Napa", "1")))]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let hub = std::sync::Arc::clone(&running.hub);
    runtime.block_on(async move {
        let napa = headwater_serve::document::Attribute::City;
        let filter = headwater_serve::filter::Filter {
            any_of: [(napa, ["napa".into()].into())].into(),
            ..headwater_serve::filter::Filter::default()
        };
        let subject = Subject { filter, fields: None };
        let body = Streaming::new(&hub, subject, None, false).beating(Duration::from_millis(50));
        let mut body = Box::pin(body);
        let mut next = async || {
            let frame = std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await.unwrap().unwrap();
            String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
        };
        assert!(next().await.starts_with("retry: "));
        assert!(next().await.contains("event: live"));
        // Nothing that it can see.
        running.commit(&[("b", Some(event("b", "Suva", "1")))]);
        assert_eq!(next().await, format!("id: {}\n\n", running.position()));
        hub.end();
        assert!(std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await.is_none());
    });
}

#[test]
fn streams_are_forgotten_when_they_end() {
    let mut running = Running::start();
    let mut client = Client::default();
    client.connect(running.server.address(), "");
    client.until("live");
    assert_eq!(running.hub.streams(), 1);
    client.cut();
    let began = Instant::now();
    while running.hub.streams() > 0 {
        running.commit(&[("a", Some(event("a", "Napa", "1")))]);
        assert!(began.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(20));
    }
}
