//! The topology on the driver: records in, hours out.

use std::collections::BTreeMap;

use headwater::config::{Config, Lifetime};
use headwater::dataflow::Recovery;
use headwater::driver::{Driver, Record};
use headwater_flow::json::Pointer;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// 2026-06-01T10:00:00Z.
const TEN_MS: i64 = 1_780_308_000_000;

const EVENTS: &str = "headwater.events";
const RAW: &str = "raw.registrations";

fn driver(change: impl FnOnce(&mut Settings)) -> Driver {
    let mut config = Config::<Settings>::default();
    change(&mut config.topology);
    Driver::of::<Registrations>(&config).unwrap_or_else(|invalid| panic!("{invalid:?}"))
}

fn register(driver: &mut Driver, id: &str, event: &str, minute: i64) {
    let data = json!({"id": id, "event": event});
    driver.produce(RAW, |record| record.key(id).json(&data).at(TEN_MS + minute * 60_000));
}

fn event(driver: &mut Driver, id: &str, title: &str) {
    driver.put(EVENTS, id, json!({"format": 1, "id": id, "title": title, "listings": []}));
}

/// The hours: event, title, hour, registrations.
fn hours(driver: &Driver) -> Vec<(String, String, String, i64)> {
    let text = |row: &Value, field: &str| row[field].as_str().unwrap_or("-").to_owned();
    let hour = |row: &Value| text(row, "hour")[11..16].to_owned();
    let row = |row: &Value| (text(row, "event"), text(row, "title"), hour(row), row["registrations"].as_i64().unwrap());
    driver.rows("hours").values().map(row).collect()
}

fn row(event: &str, title: &str, hour: &str, registrations: i64) -> (String, String, String, i64) {
    (event.to_owned(), title.to_owned(), hour.to_owned(), registrations)
}

fn after_the_hour(minutes: i64) -> u64 {
    (TEN_MS + 3_600_000 + minutes * 60_000) as u64
}

#[test]
fn registrations_are_counted_by_event_and_hour() {
    let mut driver = driver(|_| {});
    event(&mut driver, "e1", "Jazz");
    for (id, event, minute) in [("r1", "e1", 0), ("r2", "e1", 59), ("r3", "e1", 60), ("r4", "e9", 5)] {
        register(&mut driver, id, event, minute);
    }
    driver.advance_to(after_the_hour(0));
    let expected = [row("e1", "Jazz", "10:00", 2), row("e1", "Jazz", "11:00", 1), row("e9", "-", "10:00", 1)];
    assert_eq!(hours(&driver), expected);
    assert_eq!(driver.gauge("headwater_registrations"), 4);
    let keys: Vec<String> = driver.rows("hours").into_keys().collect();
    assert_eq!(keys[0], "e1/2026-06-01T10:00:00Z");
}

#[test]
fn the_last_word_on_a_registration_counts() {
    let mut driver = driver(|_| {});
    for id in ["r1", "r2", "r3", "r4"] {
        register(&mut driver, id, "e1", 0);
    }
    driver.advance_to(after_the_hour(0));
    assert_eq!(hours(&driver), [row("e1", "-", "10:00", 4)]);
    // A repeat, a tombstone, a cancellation, a change of mind.
    register(&mut driver, "r1", "e1", 0);
    driver.produce(RAW, |record| record.key("r2").at(TEN_MS + 61_000));
    driver.produce(RAW, |record| record.json(&json!({"id": "r3", "status": "Cancelled"})).at(TEN_MS + 62_000));
    register(&mut driver, "r4", "e2", 2);
    driver.advance_to(after_the_hour(1));
    assert_eq!(hours(&driver), [row("e1", "-", "10:00", 1), row("e2", "-", "10:00", 1)]);
    assert_eq!(driver.gauge("headwater_registrations"), 2);
    assert_eq!(driver.letters().len(), 0);
    // What is withdrawn stays so, though an older word of another partition is read after it.
    let older = json!({"id": "r3", "event": "e1"});
    driver.produce(RAW, |record| record.json(&older).at(TEN_MS + 30_000).partition(1));
    driver.advance_to(after_the_hour(2));
    assert_eq!(hours(&driver).len(), 2);
}

#[test]
fn counts_of_merged_events_add_up_and_come_apart_again() {
    let mut driver = driver(|_| {});
    event(&mut driver, "e1", "Jazz at the Mill");
    event(&mut driver, "e2", "Jazz, Mill");
    for (id, event) in [("r1", "e1"), ("r2", "e1"), ("r3", "e2")] {
        register(&mut driver, id, event, 0);
    }
    let apart = [row("e1", "Jazz at the Mill", "10:00", 2), row("e2", "Jazz, Mill", "10:00", 1)];
    driver.advance_to(after_the_hour(0));
    assert_eq!(hours(&driver), apart);
    driver.put(EVENTS, "e2", json!({"format": 1, "id": "e2", "redirectTo": "e1"}));
    driver.advance_to(after_the_hour(1));
    assert_eq!(hours(&driver), [row("e1", "Jazz at the Mill", "10:00", 3)]);
    // Registrations for the retired id go on coming.
    register(&mut driver, "r4", "e2", 1);
    driver.advance_to(after_the_hour(2));
    assert_eq!(hours(&driver), [row("e1", "Jazz at the Mill", "10:00", 4)]);
    driver.produce(RAW, |record| record.key("r4").at(TEN_MS + 120_000));
    event(&mut driver, "e2", "Jazz, Mill");
    driver.advance_to(after_the_hour(3));
    assert_eq!(hours(&driver), apart);
}

#[test]
fn hours_leave_and_what_is_older_never_comes() {
    let mut driver = driver(|settings| settings.retention.keep = Lifetime::For("2 h".parse().unwrap()));
    register(&mut driver, "r1", "e1", 5);
    register(&mut driver, "r2", "e1", 65);
    register(&mut driver, "old", "e1", -180);
    driver.advance_to(after_the_hour(0));
    assert_eq!(hours(&driver), [row("e1", "-", "10:00", 1), row("e1", "-", "11:00", 1)]);
    driver.advance_to(after_the_hour(60));
    assert_eq!(hours(&driver), [row("e1", "-", "11:00", 1)]);
    assert_eq!(driver.rows("registrations").len(), 1);
    driver.restart(Recovery::Compare).unwrap();
    driver.advance_to(after_the_hour(120));
    assert_eq!((hours(&driver).len(), driver.rows("registrations").len()), (0, 0));
}

#[test]
fn cloud_events_are_read_and_the_envelope_gives_the_time() {
    let mut driver = driver(|settings| settings.mapping.event = Pointer::new("/for/event").unwrap());
    let envelope = json!({"specversion": "1.0", "id": "x", "source": "/desk", "type": "registration",
        "time": "2026-06-01T08:30:00Z", "data": {"id": 17, "for": {"event": "e1"}}});
    driver.produce(RAW, |record| record.content_type("application/cloudevents+json").json(&envelope).at(TEN_MS));
    let binary = |record: Record| {
        let headers = [("ce_specversion", "1.0"), ("ce_id", "y"), ("ce_source", "/desk"), ("ce_type", "registration")];
        headers.iter().fold(record, |record, (name, value)| record.header(name, *value))
    };
    let data = json!({"id": "r2", "for": {"event": "e1"}, "time": "2026-06-01T09:59:59.999Z"});
    driver.produce(RAW, |record| binary(record).json(&data).at(TEN_MS));
    driver.advance_to(after_the_hour(0));
    assert_eq!(hours(&driver), [row("e1", "-", "08:00", 1), row("e1", "-", "09:00", 1)]);
    assert!(driver.rows("registrations").contains_key("17"));
}

#[test]
fn what_cannot_be_used_is_a_dead_letter_with_its_bytes() {
    let mut driver = driver(|_| {});
    event(&mut driver, "e1", "Jazz");
    type Make = fn(Record) -> Record;
    let bad: [(&str, Make); 9] = [
        ("malformed", |record| record.key("k").value("{")),
        ("malformed", |record| record.key("k").value(vec![0xff, 0xfe])),
        ("empty-record", |record| record.key("k").value("")),
        ("missing-field", |record| record.value("{\"event\":\"e1\"}")),
        ("missing-field", |record| record.key("k").value("{}")),
        ("missing-field", |record| record),
        ("invalid-field", |record| record.key("k").value("{\"event\":\"e1\",\"status\":\"perhaps\"}")),
        ("invalid-field", |record| record.key("k").value("{\"event\":\"e1\",\"time\":\"soon\"}")),
        ("unknown-content-type", |record| record.key("k").content_type("text/calendar").value("{}")),
    ];
    for (_, make) in &bad {
        driver.produce(RAW, |record| make(record).at(TEN_MS));
    }
    driver.put(EVENTS, "e2", json!("no event"));
    driver.advance_to(after_the_hour(0));
    let mut codes: Vec<String> = driver.letters().iter().map(|letter| letter.code.clone()).collect();
    codes.sort();
    let mut expected: Vec<&str> = bad.iter().map(|(code, _)| *code).chain(["invalid-control"]).collect();
    expected.sort_unstable();
    assert_eq!(codes, expected);
    assert!(driver.records("dead-letters").iter().any(|letter| letter.value.as_deref() == Some(b"\xff\xfe")));
    assert_eq!(hours(&driver), []);
    driver.rebuild();
    driver.advance_to(after_the_hour(1));
    assert_eq!(driver.letters().len(), expected.len(), "a rebuild writes none again");
}

#[test]
fn a_time_far_ahead_of_its_record_is_a_mistake() {
    const DAY_MS: i64 = 86_400_000;
    let registered = |driver: &mut Driver, id: &str, ahead_ms: i64| {
        let time = Timestamp::from_millisecond(TEN_MS + ahead_ms).unwrap();
        let data = json!({"id": id, "event": "e1", "time": time});
        driver.produce(RAW, |record| record.json(&data).at(TEN_MS));
    };
    let mut strict = driver(|_| {});
    registered(&mut strict, "just", DAY_MS);
    registered(&mut strict, "beyond", DAY_MS + 1);
    registered(&mut strict, "typo", 7_000 * 365 * DAY_MS);
    strict.advance_to(after_the_hour(0));
    let ids: Vec<String> = strict.rows("registrations").into_keys().collect();
    assert_eq!((ids, hours(&strict).len()), (vec!["just".to_owned()], 1));
    let letters = strict.letters();
    assert_eq!(letters.len(), 2);
    for letter in letters {
        assert_eq!(letter.code, "invalid-field");
        assert!(letter.reason.contains("more than mapping.max_time_lead, 1 days, after"), "{}", letter.reason);
    }
    // A cancellation with such a time would be remembered for as long.
    let data = json!({"id": "just", "status": "cancelled", "time": "9000-01-01T00:00:00Z"});
    strict.produce(RAW, |record| record.json(&data).at(TEN_MS + 1));
    strict.advance_to(after_the_hour(1));
    assert_eq!((strict.letters().len(), hours(&strict).len()), (3, 1));
    let mut believing = driver(|settings| settings.mapping.max_time_lead = Lifetime::Forever);
    registered(&mut believing, "far", 7_000 * 365 * DAY_MS);
    believing.advance_to(after_the_hour(0));
    assert_eq!((believing.letters().len(), hours(&believing).len()), (0, 1));
}

/// What happens: a registration, its end, a merge, a split.
#[derive(Debug, Clone)]
enum Act {
    Register { id: u8, event: u8, minute: i64, partition: i32 },
    Cancel { id: u8, partition: i32, tombstone: bool },
    Redirect { from: u8, to: Option<u8> },
}

fn act() -> impl Strategy<Value = Act> {
    let register = (0u8..6, 0u8..3, 0i64..180, 0i32..2).prop_map(|(id, event, minute, partition)| Act::Register {
        id,
        event,
        minute,
        partition,
    });
    let cancel = (0u8..6, 0i32..2, any::<bool>()).prop_map(|(id, partition, tombstone)| Act::Cancel {
        id,
        partition,
        tombstone,
    });
    // Only to an event that is no redirect itself, as discovery does.
    let redirect = (1u8..3, any::<bool>()).prop_map(|(from, gone)| Act::Redirect { from, to: gone.then_some(0) });
    prop_oneof![4 => register, 2 => cancel, 1 => redirect]
}

fn perform(driver: &mut Driver, number: i64, act: &Act) {
    let at = TEN_MS + number * 1_000;
    match act {
        Act::Register { id, event, minute, partition } => {
            let time = Timestamp::from_millisecond(TEN_MS + minute * 60_000).unwrap();
            let data = json!({"id": format!("r{id}"), "event": format!("e{event}"), "time": time});
            driver.produce(RAW, |record| record.json(&data).at(at).partition(*partition));
        }
        Act::Cancel { id, partition, tombstone: true } => {
            driver.produce(RAW, |record| record.key(format!("r{id}")).at(at).partition(*partition));
        }
        Act::Cancel { id, partition, .. } => {
            let data = json!({"id": format!("r{id}"), "status": "cancelled"});
            driver.produce(RAW, |record| record.json(&data).at(at).partition(*partition));
        }
        Act::Redirect { from, to: Some(to) } => {
            let id = format!("e{from}");
            driver.put(EVENTS, id.clone(), json!({"format": 1, "id": id, "redirectTo": format!("e{to}")}));
        }
        Act::Redirect { from, to: None } => event(driver, &format!("e{from}"), "apart"),
    }
}

/// What the acts come to, by a look at all of them.
fn expected(acts: &[Act]) -> BTreeMap<(String, i64), i64> {
    let (mut words, mut redirects) = (BTreeMap::new(), BTreeMap::new());
    for act in acts {
        match act {
            Act::Register { id, event, minute, .. } => drop(words.insert(*id, Some((*event, minute / 60)))),
            Act::Cancel { id, .. } => drop(words.insert(*id, None)),
            Act::Redirect { from, to } => drop(redirects.insert(*from, *to)),
        }
    }
    let mut counts = BTreeMap::new();
    for (event, hour) in words.into_values().flatten() {
        let event = redirects.get(&event).copied().flatten().unwrap_or(event);
        *counts.entry((format!("e{event}"), hour)).or_default() += 1;
    }
    counts
}

fn counts(driver: &Driver) -> BTreeMap<(String, i64), i64> {
    let count = |(event, _, hour, count): (String, String, String, i64)| {
        ((event, hour[..2].parse::<i64>().unwrap() - 10), count)
    };
    hours(driver).into_iter().map(count).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn counts_are_exact_whatever_happens(
        acts in prop::collection::vec(act(), 1..30),
        cut in 0usize..30,
        rebuild in any::<bool>(),
        workers in 1usize..3,
    ) {
        let mut driver = driver(|_| {}).workers(workers);
        let mut now = after_the_hour(0);
        for (number, act) in acts.iter().enumerate() {
            perform(&mut driver, number as i64, act);
            if number % 3 == 0 {
                driver.advance_to(now);
                prop_assert_eq!(counts(&driver), expected(&acts[..=number]));
                now += 100;
            }
            if number == cut && number % 3 == 0 {
                if rebuild { driver.rebuild() } else { driver.restart(Recovery::Compare).unwrap() }
                prop_assert!(driver.differences().is_empty(), "{:?}", driver.differences());
            }
        }
        driver.advance_to(now);
        prop_assert_eq!(counts(&driver), expected(&acts));
        // And whatever the order in which partitions are read: one at a time.
        let mut apart = self::driver(|_| {});
        for partition in [1, 0] {
            for (number, act) in acts.iter().enumerate() {
                let own = match act {
                    Act::Register { partition: at, .. } | Act::Cancel { partition: at, .. } => *at == partition,
                    Act::Redirect { .. } => partition == 0,
                };
                if own {
                    perform(&mut apart, number as i64, act);
                }
            }
            now += 100;
            apart.advance_to(now);
        }
        prop_assert_eq!(counts(&apart), expected(&acts));
        prop_assert_eq!(apart.rows("registrations").len(), driver.rows("registrations").len());
    }
}

#[test]
fn the_declaration_holds() {
    Registrations::views().check().unwrap();
    let config = Config::<Settings>::default();
    assert_eq!(config.validate(), []);
    let names: Vec<&str> = config.runtime.roles.names().collect();
    assert!(names.contains(&"registrations") && names.contains(&"hours") && !names.contains(&EVENTS), "{names:?}");
}

#[test]
fn settings_are_checked() {
    let mut settings = Settings { events: "a b".to_owned(), ..Settings::default() };
    settings.mapping.registered.push("cancelled".to_owned());
    let found = headwater::config::Section::validate(&settings, &headwater::config::Runtime::default());
    let keys: Vec<&str> = found.iter().map(|invalid| invalid.key.as_str()).collect();
    assert_eq!(keys, ["events", "mapping.cancelled"]);
}

#[test]
fn an_hour_is_a_row_of_the_table() {
    use headwater::view::{Cell, Unread};
    let value = r#"{"format":1,"event":"e1","title":null,"hour":"2026-06-01T10:00:00Z","registrations":3}"#;
    let row = table::read("e1/2026-06-01T10:00:00Z", value).unwrap();
    let expected = [Cell::from("e1/2026-06-01T10:00:00Z"), "e1".into(), Cell::Null, Cell::Int(TEN_MS), Cell::Int(3)];
    assert_eq!(row.cells, expected);
    assert!(row.table.columns.iter().zip(&row.cells).all(|(column, cell)| cell.fits(column.kind)));
    assert!(matches!(table::read("k", "{}"), Err(Unread::Malformed(_))));
    assert!(matches!(table::read("k", r#"{"format":2}"#), Err(Unread::Format { found: 2, known: 1 })));
}
