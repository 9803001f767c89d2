//! Serving beside a real engine: on Kafka and on the embedded log, through kills and cuts.

#[allow(dead_code, reason = "shared with the tests of serving")]
#[path = "../../../serve/tests/support/http.rs"]
mod http;
#[allow(dead_code, reason = "shared with the tests of serving")]
#[path = "../../../serve/tests/support/sse.rs"]
mod sse;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use self::http::{get, send};
use self::sse::Client;
use crate::operations::{Running, Workplace};
use crate::support::service;

const PATIENCE: Duration = Duration::from_secs(120);

/// Kills unless HEADWATER_SERVE_KILLS says otherwise.
const KILLS: u32 = 3;

/// Cuts between two kills unless HEADWATER_SERVE_CUTS says otherwise.
const CUTS: u32 = 12;

/// Records that come in for each cut: 200 a second come in while a cut takes about a tenth of one.
const RECORDS: u32 = 21;

/// Where the API is, as the process says.
fn address(running: &Running) -> SocketAddr {
    let began = Instant::now();
    loop {
        let said = running.said();
        let found = said.lines().find_map(|line| line.split_once("api     http://")?.1.split('/').next());
        if let Some(address) = found {
            return address.parse().unwrap();
        }
        assert!(began.elapsed() < PATIENCE, "it does not serve: {said}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn until<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "not reached: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// All events of the list, page by page.
fn listed(address: SocketAddr) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    let mut cursor = String::new();
    loop {
        let page = get(address, &format!("/api/events?limit=200{cursor}"), &[]).json();
        for event in page["events"].as_array().unwrap() {
            all.insert(event["id"].as_str().unwrap().to_owned(), event.clone());
        }
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

/// A number that the environment may give.
fn given(name: &str, usual: u32) -> u32 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

fn feed(workplace: &Workplace, seed: u32, cuts: u32) -> Child {
    let (seed, records) = (seed.to_string(), (cuts * RECORDS).to_string());
    let arguments = ["generate", "--records", &records, "--seed", &seed, "--rate", "200", "--to-topic", "raw.events"];
    let times = ["--base-date", "2026-06-01", "--malformed", "0.02"];
    let mut command = workplace.command("headwater", &[&arguments[..], &times[..]].concat());
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn serves(brokers: Option<&str>) {
    let (kills, cuts_each) = (given("HEADWATER_SERVE_KILLS", KILLS), given("HEADWATER_SERVE_CUTS", CUTS));
    let workplace = Workplace::new(brokers, "[serve]\nlisten = '127.0.0.1:0'\n");
    workplace.headwater(&["generate", "--records", "20", "--seed", "1", "--to-topic", "raw.events"]);
    let mut client = Client::default();
    let mut cuts = 0;
    for part in 0..kills {
        let running = Running::start(&workplace);
        let address = address(&running);
        until("it is ready", || (get(address, "/api/events?limit=1", &[]).status == 200).then_some(()));
        let mut feeding = feed(&workplace, 10 + part, cuts_each);
        for cut in 0..cuts_each {
            client.connect(address, "");
            client.step_until_live_or(1 + u64::from(cut * 7 % 11) * 10);
            client.cut();
            cuts += 1;
            std::thread::sleep(Duration::from_millis(100));
        }
        // In the middle of what comes in, as like as not.
        running.kill();
        let _ = feeding.wait();
    }
    let running = Running::start(&workplace);
    let address = address(&running);
    // The kill may have come after the last commit: this start gets something to read of its own.
    assert!(feed(&workplace, 10 + kills, CUTS).wait().unwrap().success());
    running.wait_until("all is committed", |metrics| {
        metrics.sum("headwater_input_records_total") > 0.0 && metrics.sum("headwater_input_lag_records") == 0.0
    });
    let shown = || get(address, "/api/events?limit=1", &[]).headers.get("headwater-position").cloned();
    let committed = || {
        let progress = workplace.records("progress").pop().map(|record| record["value"].clone())?;
        Some(format!("{}-{}", progress["lineage"].as_str()?, progress["commit"]))
    };
    until("the last commit is shown", || (shown()? == committed()?).then_some(()));
    client.connect(address, "");
    client.until("live");
    let listed = listed(address);
    assert!(listed.len() > 100, "{}", listed.len());
    assert!(client.map == listed, "the map of {} events is not the list of {}", client.map.len(), listed.len());
    println!("{kills} kills, {cuts} cuts: {} events, the same in the stream and in the list", listed.len());
    brings_in_and_decides(address, &listed);
    running.stop(&workplace);
}

/// A record that comes in over HTTP is an event, which can be rejected, and a decision splits one.
fn brings_in_and_decides(address: SocketAddr, listed: &BTreeMap<String, Value>) {
    let title = "Reading by Lamplight of the Otter Choir";
    let record = json!([{"@type": "Event", "@id": "lamp-1", "name": title, "startDate": "2026-06-05T19:00:00-07:00"}]);
    let kind = [("Content-Type", "application/ld+json")];
    let body = record.to_string();
    let taken = http::send_bytes(address, "POST", "/api/in/lamplight", body.as_bytes(), &kind);
    assert_eq!(taken.status, 202, "{}", taken.text());
    let found = || get(address, "/api/events?q=lamplight+otter", &[]).json()["events"][0].clone();
    let event = until("what came in is an event", || Some(found()).filter(|event| !event.is_null()));
    assert_eq!((&event["title"], &event["listings"][0]["source"]), (&json!(title), &json!("lamplight")));
    let kind = "application/ld+json";
    let nameless = json!({"@type": "Event", "@id": "7", "startDate": "2026-06-05"});
    let validated =
        json!({"action": "validate", "source": "fireside", "contentType": kind, "events": [nameless, record[0]]});
    let said = send(address, "POST", "/api/pipeline", &validated, &[]).json();
    assert_eq!(said["events"][0]["failures"][0]["code"], "missing-field", "{said}");
    let alike = &said["events"][1]["listings"][0]["duplicates"][0];
    assert_eq!((&alike["event"], &alike["matched"]), (&event["id"], &json!(true)), "{said}");

    is_rejected_and_taken_back(address, event["id"].as_str().unwrap());

    let several = |event: &&Value| event["listings"].as_array().is_some_and(|listings| listings.len() == 2);
    let event = listed.values().find(several).expect("two listings are one event");
    let name = |at: usize| {
        let listing = &event["listings"][at];
        format!("{}/{}", listing["source"].as_str().unwrap(), listing["externalId"].as_str().unwrap())
    };
    let body = json!({"say": "different", "a": name(0), "b": name(1), "because": "two stages"});
    let decided = send(address, "POST", "/api/admin/decisions", &body, &[]);
    assert_eq!(decided.status, 200, "{}", decided.text());
    let id = event["id"].as_str().unwrap();
    until("the event is split", || {
        let event = get(address, &format!("/api/events/{id}"), &[]);
        (event.status != 200 || event.json()["listings"].as_array()?.len() == 1).then_some(())
    });
    until("the decision holds", || {
        let listed = get(address, "/api/admin/decisions", &[]).json();
        (listed["decisions"][0]["state"] == "holds").then_some(())
    });
    let audit = get(address, "/api/admin/topics/audit/records", &[]).json();
    assert_eq!(audit["records"].as_array().map(Vec::len), Some(3), "{audit}");
}

/// What an editor says of an event takes effect, and goes when it is taken back.
fn is_rejected_and_taken_back(address: SocketAddr, id: &str) {
    let moderate = |word: &str| {
        let body = json!({"event": id, "moderation": word, "because": "spam"});
        let decided = send(address, "POST", "/api/admin/events/moderate", &body, &[]);
        assert_eq!(decided.status, 200, "{}", decided.text());
        decided.json()
    };
    let listed = |query: &str| {
        let found = get(address, &format!("/api/events?q=lamplight+otter{query}"), &[]).json();
        found["events"].as_array().unwrap().iter().any(|event| event["id"] == id)
    };
    let mut client = Client::default();
    client.connect(address, "q=lamplight+otter");
    client.until("live");
    assert!(client.map.contains_key(id));
    assert_eq!(moderate("rejected")["decided"][0]["replaced"], json!([]));
    until("the rejected event is not listed", || (!listed("")).then_some(()));
    assert!(listed("&moderation=rejected") && !listed("&moderation=none"));
    assert_eq!(client.until("leave").last().map(|sent| sent.data["id"].clone()), Some(json!(id)));
    assert_eq!(get(address, &format!("/api/events/{id}"), &[]).json()["moderation"], "rejected");
    let report = |state: &str| {
        let reports = get(address, "/api/admin/decisions?listing=lamplight/lamp-1", &[]).json();
        (reports["decisions"][0]["state"] == state).then_some(())
    };
    until("the rejection holds", || report("holds"));
    assert_eq!(moderate("none")["decided"][0]["replaced"][0]["moderate"]["why"], "spam");
    until("the event is listed again", || listed("").then_some(()));
    assert_eq!(client.until("enter").last().map(|sent| sent.data["id"].clone()), Some(json!(id)));
    assert_eq!(get(address, &format!("/api/events/{id}"), &[]).json()["moderation"], Value::Null);
}

#[test]
fn serving_survives_kills_on_the_embedded_log() {
    serves(None);
}

#[test]
fn serving_survives_kills_on_kafka() {
    let Some(brokers) = service("KAFKA_BROKERS", "serving on Kafka") else { return };
    serves(Some(&brokers));
}
