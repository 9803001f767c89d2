//! The broker and the database stop, start and stall under load.

use std::env;
use std::time::Duration;

use super::stream::STREAM;
use super::trial::{Feeder, PATIENCE, Process, Trial};
use super::verdict::{UNDISTURBED, differences};
use crate::support::Place;
use crate::support::services::Services;

/// An engine that may fail-stop when its broker is away for too long, and is started again.
struct Kept<'t> {
    trial: &'t Trial,
    process: Process,
    restarts: usize,
}

impl Kept<'_> {
    fn look(&mut self) {
        let Some(status) = self.process.wait(Duration::ZERO) else { return };
        let said = self.process.said();
        assert_eq!(status.code(), Some(3), "{said}");
        let lost = said.contains("has lost the state of a transaction");
        assert!(said.contains("cannot reach") || lost, "{said}");
        self.process = self.trial.start(&["--workers", "2"], None);
        self.restarts += 1;
    }
}

#[test]
fn outages_of_broker_and_database_leave_no_trace() {
    let Some(_) = Place::kafka("outages") else { return };
    let services = Services::start();
    let trial = Trial::new(Place::Kafka(services.brokers.clone()), Some(services.database.clone()));
    let feeder = Feeder::start(&trial, 4);
    let mut engine = Kept { trial: &trial, process: trial.start(&["--workers", "2"], None), restarts: 0 };
    let outages = [
        ("stop", "kafka", "start"),
        ("stop", "postgres", "start"),
        ("pause", "kafka", "resume"),
        ("pause", "postgres", "resume"),
    ];
    let rounds: usize = env::var("HEADWATER_CRASH_OUTAGES").map_or(1, |rounds| rounds.parse().unwrap());
    let portion = STREAM.len() / 12 / rounds;
    for (down, service, up) in outages.repeat(rounds) {
        feeder.allow(portion);
        feeder.rest();
        // So that there is something under way.
        feeder.allow(portion);
        services.run(&[down, service]);
        std::thread::sleep(Duration::from_secs(5));
        services.run(&[up, service]);
        feeder.rest();
        engine.look();
    }
    feeder.finish();
    engine.look();
    engine.process.signal("-TERM");
    let status = engine.process.wait(PATIENCE);
    assert_eq!(status.and_then(|status| status.code()), Some(0), "{}", engine.process.said());
    trial.settle();
    let differences = differences(&trial, &UNDISTURBED);
    println!(
        "outage summary ({}): broker and database stopped, started and stalled under load; {} restarts of the engine, \
         {} records; differences: {}",
        trial.harness.topology(),
        engine.restarts,
        STREAM.len(),
        differences.len()
    );
    assert!(differences.is_empty(), "{:#?}", differences.iter().take(20).collect::<Vec<_>>());
}
