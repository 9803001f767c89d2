//! Schedules against the vectors of the Open Cron Pattern Specification, where they are there.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jobs::model::Schedule;
use serde::Deserialize;

#[derive(Deserialize)]
struct Vector {
    pattern: String,
    #[serde(default, rename = "match")]
    matches: Vec<String>,
    #[serde(default)]
    no: Vec<String>,
    #[serde(default)]
    reject: bool,
    #[serde(default)]
    accept: bool,
}

/// Whether a pattern is due at a time, in UTC.
fn is_due(schedule: &Schedule, time: &str) -> bool {
    let civil: DateTime = time.parse().unwrap();
    let time = civil.to_zoned(TimeZone::UTC).unwrap().timestamp();
    let before = time - jiff::SignedDuration::from_millis(1);
    schedule.calendar("").unwrap().next_after(before) == Some(time)
}

#[test]
fn patterns_of_the_open_specification_hold() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/jobs/cron-vectors.json");
    let Ok(text) = std::fs::read_to_string(&file) else {
        println!("skipped: {} is not there", file.display());
        return;
    };
    let vectors: Vec<Vector> = serde_json::from_str(&text).unwrap();
    let mut broken = Vec::new();
    for vector in &vectors {
        let definition = serde_json::json!({"cron": vector.pattern, "job": {"queue": "q"}});
        let schedule: Schedule = serde_json::from_value(definition).unwrap();
        let refused = schedule.calendar("").err();
        let told = refused.clone().unwrap_or_else(|| "accepted".to_owned());
        println!("{:24} {told}", vector.pattern);
        if refused.is_some() != vector.reject || (vector.accept && refused.is_some()) {
            broken.push(format!("{}: {told}", vector.pattern));
            continue;
        }
        let wrong = |times: &[String], due: bool| {
            times.iter().filter(|time| refused.is_none() && is_due(&schedule, time) != due).cloned().collect::<Vec<_>>()
        };
        for time in wrong(&vector.matches, true) {
            broken.push(format!("{} is not due at {time}", vector.pattern));
        }
        for time in wrong(&vector.no, false) {
            broken.push(format!("{} is due at {time}", vector.pattern));
        }
    }
    println!("{} patterns", vectors.len());
    assert_eq!(broken, Vec::<String>::new());
}
