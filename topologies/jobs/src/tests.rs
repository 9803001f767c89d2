//! The topology on the test driver.

use std::collections::BTreeMap;

use headwater::dataflow::Recovery;
use headwater::driver::Driver;
use serde_json::{Value, json};

use super::*;

const COMMANDS: &str = "job-commands";

/// An epoch in 2026.
const NOW: u64 = 1_796_000_000_000;

fn driver(settings: &str) -> Driver {
    let topology: Settings = toml::from_str(settings).unwrap();
    Driver::of::<Jobs>(&Config { topology, ..Config::default() }).unwrap()
}

fn send(driver: &mut Driver, command: Value) {
    driver.produce(COMMANDS, |record| record.at(NOW as i64).json(&command));
}

fn phases(driver: &Driver) -> BTreeMap<String, String> {
    let phase = |(id, job): (String, Value)| (id, job["phase"].as_str().unwrap().to_owned());
    driver.rows("jobs").into_iter().map(phase).collect()
}

fn phase(driver: &Driver, id: &str) -> String {
    phases(driver).remove(id).unwrap_or_default()
}

#[test]
fn a_job_is_leased_and_done() {
    let mut driver = driver("");
    driver.advance_to(NOW);
    send(&mut driver, json!({"type": "submit", "id": "a", "queue": "q", "payload": {"n": 1}}));
    driver.advance_to(NOW + 100);
    assert_eq!(phase(&driver, "a"), "waiting");
    send(&mut driver, json!({"type": "hello", "worker": "w", "queues": ["q"], "slots": 1, "for": "10 s"}));
    driver.advance_to(NOW + 200);
    assert_eq!(phase(&driver, "a"), "leased");
    let lease = &driver.rows("job-leases")["w/0"];
    assert_eq!((&lease["job"], &lease["lease"], &lease["payload"]), (&json!("a"), &json!(1), &json!({"n": 1})));
    assert_eq!(driver.rows("queues")["q"]["counts"], json!({"leased": 1}));
    send(&mut driver, json!({"type": "complete", "id": "a", "lease": 1, "result": {"sum": 3}}));
    driver.advance_to(NOW + 300);
    assert_eq!(phase(&driver, "a"), "done");
    assert!(driver.rows("job-leases").is_empty());
    assert_eq!(driver.records("job-runs").len(), 1);
    assert_eq!(driver.rows("queues")["q"]["runMs"], json!({"p50": 103, "p95": 103}));
    assert_eq!((driver.figure("done"), driver.figure("leased")), (1, 0));
    driver.advance_to(NOW + 86_400_000 + 400);
    assert!(driver.rows("jobs").is_empty() && driver.rows("queues").is_empty());
}

#[test]
fn a_late_report_is_a_dead_letter_and_a_repeat_is_nothing() {
    let mut driver = driver("");
    driver.advance_to(NOW);
    send(&mut driver, json!({"type": "submit", "id": "a", "queue": "q", "backoff": "1 s", "heartbeatWithin": "5 s"}));
    send(&mut driver, json!({"type": "hello", "worker": "w", "queues": ["q"], "slots": 1, "for": "1 h"}));
    driver.advance_to(NOW + 100);
    driver.advance_to(NOW + 5_200);
    assert_eq!(phase(&driver, "a"), "failed");
    assert_eq!(driver.rows("jobs")["a"]["error"]["code"], "lease-expired");
    send(&mut driver, json!({"type": "hello", "worker": "w", "queues": ["q"], "slots": 1, "for": "1 h"}));
    driver.advance_to(NOW + 7_000);
    assert_eq!(driver.rows("jobs")["a"]["lease"]["number"], 2);
    send(&mut driver, json!({"type": "complete", "id": "a", "lease": 1}));
    driver.advance_to(NOW + 7_100);
    assert_eq!((driver.letters()[0].code.as_str(), phase(&driver, "a").as_str()), ("stale-lease", "leased"));
    send(&mut driver, json!({"type": "complete", "id": "a", "lease": 2}));
    send(&mut driver, json!({"type": "complete", "id": "a", "lease": 2}));
    driver.advance_to(NOW + 7_200);
    assert_eq!((driver.letters().len(), phase(&driver, "a").as_str()), (1, "done"));
}

#[test]
fn a_restart_gives_every_lease_a_full_period() {
    for workers in [1, 2] {
        let mut driver = driver("").workers(workers);
        driver.advance_to(NOW);
        send(&mut driver, json!({"type": "submit", "id": "a", "queue": "q", "heartbeatWithin": "5 s"}));
        send(&mut driver, json!({"type": "submit", "id": "b", "queue": "q", "delay": "4 s"}));
        send(&mut driver, json!({"type": "queue", "queue": "other", "paused": true}));
        send(&mut driver, json!({"type": "hello", "worker": "w", "queues": ["q"], "slots": 1, "for": "1 h"}));
        driver.put("schedules", "each", json!({"every": "1 h", "job": {"queue": "q"}}));
        driver.advance_to(NOW + 100);
        driver.advance_to(NOW + 4_900);
        for recovery in [Recovery::Trust, Recovery::Compare] {
            driver.restart(recovery).unwrap();
            assert!(driver.differences().is_empty(), "{:?}", driver.differences());
        }
        driver.advance_to(NOW + 5_000);
        driver.advance_to(NOW + 9_000);
        assert_eq!((phase(&driver, "a").as_str(), phase(&driver, "b").as_str()), ("leased", "waiting"));
        assert_eq!(driver.rows("queues")["other"]["paused"], true);
        driver.rebuild();
        assert!(driver.differences().is_empty(), "{:?}", driver.differences());
        assert_eq!(driver.rows("jobs").len(), 2);
        assert!(driver.rows("schedule-runs")["each"]["next"].is_string());
        driver.advance_to(NOW + 9_100);
        driver.advance_to(NOW + 15_000);
        assert_eq!(phase(&driver, "a"), "failed");
        // The worker was not heard of since.
        assert_eq!(phase(&driver, "b"), "waiting");
    }
}

#[test]
fn the_last_word_on_a_schedule_holds_also_after_a_restart() {
    let mut driver = driver("");
    driver.advance_to(NOW);
    let each = |paused: bool| json!({"every": "1 s", "paused": paused, "job": {"queue": "q"}});
    for name in ["paused", "removed"] {
        driver.put("schedules", name, each(false));
    }
    driver.advance_to(NOW + 100);
    driver.put("schedules", "paused", each(true));
    driver.remove("schedules", "removed");
    // Three words in one epoch.
    for paused in [true, false, true] {
        driver.put("schedules", "at-once", each(paused));
    }
    driver.advance_to(NOW + 200);
    let rows = driver.rows("schedule-runs");
    assert_eq!(rows.keys().collect::<Vec<_>>(), ["at-once", "paused"]);
    assert!(rows.values().all(|row| row["next"].is_null()), "{rows:?}");
    let jobs = phases(&driver);
    driver.restart(Recovery::Trust).unwrap();
    driver.advance_to(NOW + 300);
    driver.advance_to(NOW + 5_000);
    assert_eq!(driver.rows("schedule-runs"), rows);
    assert_eq!(phases(&driver), jobs);
}

#[test]
fn what_cannot_be_read_is_a_dead_letter() {
    let mut driver = driver("");
    driver.advance_to(NOW);
    let wrong = [
        (json!({"type": "submit", "id": "a b", "queue": "q"}), "invalid-field"),
        (json!({"type": "submit", "id": "a", "queue": "q", "unknown": 1}), "invalid-field"),
        (json!({"type": "submit", "queue": "q"}), "missing-field"),
        (json!({"type": "nonsense"}), "invalid-field"),
        (json!({"type": "cancel", "id": "nobody"}), "unknown-job"),
        (json!({"type": "heartbeat", "id": "a", "lease": 1, "progress": 2}), "invalid-field"),
        (json!([1]), "invalid-field"),
    ];
    for (command, _) in &wrong {
        send(&mut driver, command.clone());
    }
    driver.produce(COMMANDS, |record| record.key("k").value("{"));
    driver.put("schedules", "bad", json!({"cron": "60 0 * * *", "job": {"queue": "q"}}));
    driver.advance_to(NOW + 100);
    let mut codes: Vec<_> = driver.letters().iter().map(|letter| letter.code.clone()).collect();
    let mut expected: Vec<_> = wrong.iter().map(|(_, code)| (*code).to_owned()).collect();
    expected.extend(["malformed".to_owned(), "invalid-control".to_owned()]);
    codes.sort_unstable();
    expected.sort_unstable();
    assert_eq!(codes, expected);
    assert!(driver.rows("jobs").is_empty());
}

#[test]
fn an_hour_of_work_outlives_a_restart_and_is_cancelled() {
    let mut driver = driver("");
    let hello = json!({"type": "hello", "worker": "w", "queues": ["q"], "slots": 1, "for": "10 h"});
    driver.advance_to(NOW);
    send(&mut driver, json!({"type": "submit", "id": "long", "queue": "q"}));
    send(&mut driver, hello.clone());
    driver.advance_to(NOW + 100);
    for tenth in 1..=360 {
        let progress = f64::from(tenth) / 360.0;
        send(&mut driver, json!({"type": "heartbeat", "id": "long", "lease": 1, "progress": progress}));
        driver.advance_to(NOW + 10_000 * tenth as u64);
        if tenth == 180 {
            driver.restart(Recovery::Trust).unwrap();
        }
    }
    assert_eq!(driver.rows("jobs")["long"]["progress"]["fraction"], 1.0);
    assert_eq!((phase(&driver, "long").as_str(), driver.rows("jobs")["long"]["attempt"].clone()), ("leased", json!(1)));
    send(&mut driver, json!({"type": "cancel", "id": "long"}));
    driver.advance_to(NOW + 3_600_100);
    assert_eq!(driver.rows("jobs")["long"]["cancelling"], true);
    send(&mut driver, json!({"type": "fail", "id": "long", "lease": 1, "error": {"message": "stopped"}}));
    driver.advance_to(NOW + 3_600_200);
    assert_eq!(phase(&driver, "long"), "cancelled");
}
