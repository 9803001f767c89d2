//! Two instances of one topology: the older ends, writes nothing more, and nothing is doubled.

use std::time::{Duration, Instant};

use super::stream::STREAM;
use super::trial::{Feeder, PATIENCE, Process, Trial};
use super::verdict::{UNDISTURBED, differences};
use crate::subject::Tested;
use crate::support::subject::Subject;
use crate::support::{Place, service};

/// That the instance has ended as one that was fenced.
fn assert_fenced(instance: &mut Process, what: &str) {
    let status = instance.wait(PATIENCE);
    let said = instance.said();
    assert_eq!(status.and_then(|status| status.code()), Some(4), "{what}: {said}");
    assert!(said.contains("another instance of") && said.contains("hint: "), "{what}: {said}");
}

fn assert_exact(trial: &Trial, feeder: Feeder) {
    feeder.finish();
    trial.settle();
    let differences = differences(trial, &UNDISTURBED);
    assert!(differences.is_empty(), "{:#?}", differences.iter().take(20).collect::<Vec<_>>());
}

/// Waits until something is committed to a topic, beyond what `before` counts.
fn wait_for_more(trial: &Trial, topic: &str, before: i64) -> i64 {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let marks = trial.watermarks(&trial.harness.config.runtime.full_name(topic));
        let ends = marks.iter().map(|marks| marks.high).sum();
        if ends > before {
            return ends;
        }
        assert!(Instant::now() < deadline, "nothing more comes to {topic}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn the_older_ends(place: Place, database: Option<String>) {
    let trial = Trial::new(place, database);
    let feeder = Feeder::start(&trial, 2);
    let mut first = trial.start(&["--workers", "2"], None);
    wait_for_more(&trial, "progress", 0);
    // Idle, beyond the recording of ends.
    std::thread::sleep(Duration::from_secs(3));
    let mut second = trial.start(&["--workers", "1"], None);
    assert_fenced(&mut first, "an idle instance");
    feeder.allow(STREAM.len() / 2);
    let written = wait_for_more(&trial, Tested::SHOWN.0, 0);
    // Under load.
    let mut third = trial.start(&["--workers", "2"], None);
    assert_fenced(&mut second, "an instance at work");
    wait_for_more(&trial, Tested::SHOWN.0, written);
    third.signal("-TERM");
    let status = third.wait(PATIENCE);
    assert_eq!(status.and_then(|status| status.code()), Some(0), "{}", third.said());
    assert_exact(&trial, feeder);
}

#[test]
fn the_older_of_two_instances_ends_on_the_embedded_log() {
    the_older_ends(Place::Embedded, None);
}

#[test]
fn the_older_of_two_instances_ends_on_kafka() {
    let Some(place) = Place::kafka("two instances") else { return };
    the_older_ends(place, service("DATABASE_URL", "tables in Postgres"));
}

/// Each of `points` pauses an instance. Another one takes over and does all there is to do; then
/// the first wakes and finds itself fenced, in the engine and in the view.
fn zombies_are_fenced(place: Place, database: Option<String>, points: &[&str]) {
    if !headwater::fail_point::AVAILABLE {
        return println!("skipped: this build has no fail points");
    }
    let trial = Trial::new(place, database);
    let feeder = Feeder::start(&trial, 3);
    trial.settle();
    for point in points {
        feeder.allow(STREAM.len() / (points.len() + 1));
        let mut zombie = trial.start(&["--workers", "2"], Some(&format!("{point}:stop")));
        assert!(zombie.wait_until_stopped(PATIENCE), "{point} is not reached: {}", zombie.said());
        let mut heir = trial.start(&["--exit-when-idle", "--workers", "1"], None);
        if heir.wait(Duration::from_secs(20)).is_none() {
            // Another thread of the zombie happened to hold a lock of SQLite or Postgres.
            zombie.signal("-CONT");
        }
        let status = heir.wait(PATIENCE);
        assert_eq!(status.and_then(|status| status.code()), Some(0), "after {point}: {}", heir.said());
        zombie.signal("-CONT");
        assert_fenced(&mut zombie, point);
    }
    println!("zombies stopped and woken at {}: fenced", points.join(", "));
    assert_exact(&trial, feeder);
}

#[test]
fn zombies_are_fenced_on_the_embedded_log() {
    // Not where a lock of the log's file is held: whoever holds that is still the writer.
    let points = ["recovery.planned:1", "commit.prepared:1", "commit.prepared:3", "commit.written:2", "view.claimed:1"];
    zombies_are_fenced(Place::Embedded, None, &points);
}

#[test]
fn zombies_are_fenced_on_kafka() {
    let Some(place) = Place::kafka("zombies") else { return };
    let points = [
        "recovery.planned:1",
        "commit.prepared:2",
        "commit.begun:2",
        "commit.appended:1",
        "commit.positions:2",
        "commit.written:1",
        "view.claimed:1",
    ];
    zombies_are_fenced(place, service("DATABASE_URL", "tables in Postgres"), &points);
}

/// An instance is paused after it has fenced others and before it claims its view. When it wakes
/// it takes the view from the newer instance, which has to take it back.
fn a_view_is_taken_back(place: Place, database: Option<String>) {
    if !headwater::fail_point::AVAILABLE {
        return println!("skipped: this build has no fail points");
    }
    let trial = Trial::new(place, database);
    let feeder = Feeder::start(&trial, 5);
    trial.settle();
    let mut zombie = trial.start(&["--workers", "1"], Some("recovery.planned:1:stop"));
    assert!(zombie.wait_until_stopped(PATIENCE), "{}", zombie.said());
    let mut heir = trial.start(&["--workers", "2"], None);
    feeder.allow(STREAM.len() / 2);
    wait_for_more(&trial, Tested::SHOWN.0, 0);
    zombie.signal("-CONT");
    assert_fenced(&mut zombie, "a view's zombie");
    feeder.finish();
    let deadline = Instant::now() + PATIENCE;
    // The heir goes on to show what comes.
    while !trial.view_is_current() {
        assert!(heir.wait(Duration::ZERO).is_none(), "{}", heir.said());
        assert!(Instant::now() < deadline, "the view is not kept up: {}", heir.said());
        std::thread::sleep(Duration::from_millis(200));
    }
    heir.signal("-TERM");
    let status = heir.wait(PATIENCE);
    assert_eq!(status.and_then(|status| status.code()), Some(0), "{}", heir.said());
    assert!(heir.said().contains("taking it back"), "{}", heir.said());
    trial.settle();
    let differences = differences(&trial, &UNDISTURBED);
    assert!(differences.is_empty(), "{:#?}", differences.iter().take(20).collect::<Vec<_>>());
}

#[test]
fn a_view_that_a_zombie_took_is_taken_back() {
    a_view_is_taken_back(Place::Embedded, None);
}
