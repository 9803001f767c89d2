//! Kills: of the engine at every fail point and at random moments, and of workers.

use std::time::Duration;

use headwater::fail_point::{AVAILABLE, FailPoint};
use jobs::model::{AttemptOutcome, Phase};
use serde_json::{Value, json};

use crate::service::service;
use crate::trial::{Client, Place, Trial, Worker};

/// Queues with limits of every kind, and quick retries.
const SECTIONS: &str = "[queues.'*']\nbackoff = '100 ms'\nmax_backoff = '200 ms'\nheartbeat_within = '4 s'\nattempts = 8\n\
                        [queues.narrow]\nconcurrency = 2\ngroup_concurrency = 1\n\
                        [queues.paced]\nrate = '50 / s'\nburst = 5\n";

/// Jobs of every kind: some fail, some wait for their time or for others, some are submitted twice.
fn stream(count: usize) -> Vec<Value> {
    let job = |n: usize| {
        let queue = ["plain", "narrow", "paced"][n % 3];
        let mut submit = json!({
            "type": "submit", "id": format!("job-{n}"), "queue": queue, "group": format!("tenant-{}", n % 4),
            "priority": n % 3, "payload": {"ms": n % 40},
        });
        match n % 10 {
            3 => submit["payload"]["fails"] = json!(1),
            4 => submit["payload"]["fails"] = json!(9),
            5 => submit["delay"] = json!("200 ms"),
            6 => submit["parents"] = json!([format!("job-{}", n - 1)]),
            7 => submit["parents"] = json!([format!("job-{}", n - 3)]),
            _ => {}
        }
        submit
    };
    (0..count).flat_map(|n| vec![job(n); if n % 8 == 0 { 2 } else { 1 }]).collect()
}

fn send(client: &mut Client, commands: &[Value]) {
    for command in commands {
        client.send(command);
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What must come of [`stream`]: of ten, one is dead and one that waits for it is cancelled.
fn check(trial: &Trial, count: usize, what: &str) {
    let phases = trial.wait_settled(count);
    let of = |digit: usize| (0..count).filter(|n| n % 10 == digit).count();
    let expected = [(Phase::Done, count - of(4) - of(7)), (Phase::Dead, of(4)), (Phase::Cancelled, of(7))];
    assert_eq!(phases, expected.into(), "{what}");
    let report = trial.verify();
    assert_eq!(report.violations, Vec::<String>::new(), "{what}");
    assert_eq!(report.submitted as usize, count, "{what}");
    assert_eq!(report.attempts[&AttemptOutcome::Done] as usize, count - of(4) - of(7), "{what}");
}

/// Fail points of the engine; the topology has no views here. The two logs share them, unless `HEADWATER_CRASH_KILLS`
/// asks for more kills than there are points: then each has all.
fn points(place: &Place) -> Vec<String> {
    let of_engine = FailPoint::ALL.iter().map(|point| point.name()).filter(|name| !name.starts_with("view."));
    let all: Vec<_> =
        of_engine.map(|name| format!("{name}:{}", if name.starts_with("commit.") { 7 } else { 1 })).collect();
    let kills = std::env::var("HEADWATER_CRASH_KILLS").ok().and_then(|kills| kills.parse::<usize>().ok());
    let every = if kills.is_some_and(|kills| kills >= all.len()) { 1 } else { 2 };
    let first = usize::from(matches!(place, Place::Kafka(_))) % every;
    all.into_iter().skip(first).step_by(every).collect()
}

fn killed_at_points(place: &Place) {
    if !AVAILABLE {
        println!("skipped: this build has no fail points");
        return;
    }
    let (count, points) = (60, points(place));
    let mut reached = 0;
    for point in &points {
        let trial = Trial::new(place.clone(), SECTIONS);
        let workers = ["one", "two"].map(|name| Worker::start(&trial, name, &["plain", "narrow", "paced"], 3));
        let mut client = trial.client();
        let commands = stream(count);
        let (first, rest) = commands.split_at(count / 2);
        // A first start that ends in order, so that points of later starts are reached, too.
        let mut engine = trial.engine(None);
        send(&mut client, first);
        engine.kill();
        let mut engine = trial.engine(Some(point));
        send(&mut client, rest);
        // The ends of outputs are recorded after a quiet second.
        let ended = engine.ends_within(Duration::from_secs(3));
        reached += usize::from(ended);
        engine.kill();
        let _engine = trial.engine(None);
        check(&trial, count, point);
        drop(workers);
    }
    println!("{reached} of {} points were reached", points.len());
    assert!(2 * reached >= points.len(), "only {reached} of {} points were reached", points.len());
}

#[test]
fn killed_at_points_on_the_embedded_log() {
    killed_at_points(&Place::Embedded);
}

#[test]
fn killed_at_points_on_kafka() {
    if let Some(brokers) = service("KAFKA_BROKERS", "jobs on Kafka") {
        killed_at_points(&Place::Kafka(brokers));
    }
}

/// Engine and workers are killed again and again while jobs come.
fn killed_at_random(place: Place) {
    let count = 400;
    let trial = Trial::new(place, SECTIONS);
    let mut client = trial.client();
    let (mut engine, mut generation) = (trial.engine(None), 0);
    let start = |generation: usize| {
        let name = |n: usize| format!("worker-{n}-{generation}");
        [0, 1, 2].map(|n| Worker::start(&trial, &name(n), &["plain", "narrow", "paced"], 3))
    };
    let mut workers = start(generation);
    let commands = stream(count);
    for (number, part) in commands.chunks(30).enumerate() {
        send(&mut client, part);
        match number % 4 {
            1 => {
                engine.kill();
                std::thread::sleep(Duration::from_millis(40 * number as u64));
                engine = trial.engine(None);
            }
            3 => {
                generation += 1;
                workers = start(generation);
            }
            _ => {}
        }
    }
    check(&trial, count, "random kills");
    let report = trial.verify();
    println!("{:?}, {} stale", report.attempts, report.stale);
    drop((engine, workers));
}

#[test]
fn killed_at_random_on_the_embedded_log() {
    killed_at_random(Place::Embedded);
}

#[test]
fn killed_at_random_on_kafka() {
    if let Some(brokers) = service("KAFKA_BROKERS", "jobs on Kafka") {
        killed_at_random(Place::Kafka(brokers));
    }
}
