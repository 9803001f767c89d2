//! What editors say of events: over merges, withdrawals, restarts and rebuilds.

use headwater::dataflow::Recovery;
use headwater::driver::Driver;
use headwater_operators::ListingId;
use serde_json::{Value, json};

use super::Discovery;
use crate::config::Config;

fn driver(workers: usize) -> Driver {
    Driver::of::<Discovery>(&Config::default()).unwrap().workers(workers)
}

/// Tells of an event; of nothing, where there is no title.
fn say(driver: &mut Driver, source: &str, title: Option<&str>) {
    driver.produce("raw.events", |record| {
        let record = record.source(source).content_type("application/ld+json").key(source);
        let event = |title| json!({"@type": "Event", "@id": "1", "name": title, "startDate": "2099-03-28T19:30:00Z"});
        match title {
            Some(title) => record.json(&event(title)),
            None => record,
        }
    });
    step(driver);
}

fn step(driver: &mut Driver) {
    let next = driver.epoch() + 1_000;
    driver.advance_to(next);
}

fn moderate(driver: &mut Driver, key: &str, source: &str, word: &str, at: u32) {
    let listing = json!({"source": source, "externalId": "1"});
    let said = json!({"listing": listing, "moderation": word, "who": "kim", "why": "spam",
        "at": format!("2026-03-28T19:30:{at:02}Z")});
    driver.put("decisions", key, json!({ "moderate": said }));
    step(driver);
}

fn decide(driver: &mut Driver, says: &str, at: u32) {
    let listing = |source: &str| json!({"source": source, "externalId": "1"});
    let ruling = json!({"a": listing("city"), "b": listing("town"), "who": "kim", "why": null,
        "at": format!("2026-03-28T19:30:{at:02}Z")});
    driver.put("decisions", "pair", json!({ says: ruling }));
    step(driver);
}

fn withdraw(driver: &mut Driver, key: &str) {
    driver.remove("decisions", key);
    step(driver);
}

/// What is said of the event that has a listing of this source; `None` where there is none.
fn said_of(driver: &Driver, source: &str) -> Option<Value> {
    let has = |event: &Value| event["listings"].as_array().into_iter().flatten().any(|one| one["source"] == source);
    driver.rows("events").into_values().find(has).map(|event| event.get("moderation").cloned().unwrap_or_default())
}

fn state(driver: &Driver, source: &str) -> Value {
    let reports = driver.rows("decision-reports");
    reports.get(&ListingId::of(source, "1").to_string()).map(|report| report["state"].clone()).unwrap_or_default()
}

/// Nothing of this may depend on what a process remembers.
fn starts_again(driver: &mut Driver) {
    let events = driver.rows("events");
    let reports = driver.rows("decision-reports");
    for recovery in [Recovery::Trust, Recovery::Compare] {
        driver.restart(recovery).unwrap();
        assert_eq!(driver.differences(), []);
    }
    driver.compact("decisions");
    driver.rebuild();
    assert_eq!((driver.differences(), driver.rows("events")), (&[][..], events));
    assert_eq!(driver.rows("decision-reports"), reports);
}

#[test]
fn an_event_has_the_gravest_word_of_its_listings() {
    for workers in [1, 3] {
        let mut driver = driver(workers);
        say(&mut driver, "city", Some("Jazz in the Old Mill"));
        say(&mut driver, "town", Some("Pottery for Beginners"));
        assert_eq!((said_of(&driver, "city"), state(&driver, "city")), (Some(Value::Null), Value::Null));
        moderate(&mut driver, "c", "city", "approved", 1);
        moderate(&mut driver, "t", "town", "rejected", 1);
        assert_eq!(
            [said_of(&driver, "city"), said_of(&driver, "town")],
            [Some(json!("approved")), Some(json!("rejected"))]
        );
        assert_eq!(state(&driver, "city"), "holds");
        starts_again(&mut driver);

        decide(&mut driver, "same", 1);
        assert_eq!(driver.rows("events").values().filter(|event| event.get("title").is_some()).count(), 1);
        assert_eq!(said_of(&driver, "city"), Some(json!("rejected")), "the gravest");
        moderate(&mut driver, "t", "town", "flagged", 2);
        assert_eq!(said_of(&driver, "city"), Some(json!("flagged")));
        starts_again(&mut driver);
        decide(&mut driver, "different", 2);
        assert_eq!(
            [said_of(&driver, "city"), said_of(&driver, "town")],
            [Some(json!("approved")), Some(json!("flagged"))]
        );

        withdraw(&mut driver, "t");
        withdraw(&mut driver, "c");
        assert_eq!([said_of(&driver, "city"), said_of(&driver, "town")], [Some(Value::Null), Some(Value::Null)]);
        assert_eq!((state(&driver, "town"), driver.letters().len()), (Value::Null, 0));
        starts_again(&mut driver);
    }
}

#[test]
fn a_word_waits_for_its_listing_and_the_newest_counts() {
    let mut driver = driver(2);
    moderate(&mut driver, "desk", "city", "rejected", 2);
    assert_eq!((said_of(&driver, "city"), state(&driver, "city")), (None, json!("waits")));
    starts_again(&mut driver);
    say(&mut driver, "city", Some("Jazz in the Old Mill"));
    assert_eq!((said_of(&driver, "city"), state(&driver, "city")), (Some(json!("rejected")), json!("holds")));
    say(&mut driver, "city", Some("Jazz in the New Mill"));
    assert_eq!(said_of(&driver, "city"), Some(json!("rejected")), "whatever its source says");

    moderate(&mut driver, "night desk", "city", "approved", 1);
    assert_eq!(said_of(&driver, "city"), Some(json!("rejected")), "it is older, although it came later");
    withdraw(&mut driver, "desk");
    assert_eq!(said_of(&driver, "city"), Some(json!("approved")));
    say(&mut driver, "city", None);
    assert_eq!((said_of(&driver, "city"), state(&driver, "city")), (None, json!("waits")));
    say(&mut driver, "city", Some("Jazz in the Old Mill"));
    assert_eq!((said_of(&driver, "city"), state(&driver, "city")), (Some(json!("approved")), json!("holds")));
    starts_again(&mut driver);

    let before = driver.rows("events");
    moderate(&mut driver, "night desk", "city", "maybe", 3);
    assert_eq!(said_of(&driver, "city"), Some(Value::Null), "what cannot be read replaces what its key said");
    assert_eq!(
        driver.letters().last().map(|letter| letter.code.as_str().to_owned()),
        Some("invalid-control".to_owned())
    );
    assert_ne!(driver.rows("events"), before);
}
