//! The broker and the database stop, start and stall under load.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use tempfile::TempDir;

use crate::stream::STREAM;
use crate::support::{Place, tests_folder};
use crate::trial::{Feeder, PATIENCE, Process, Trial};
use crate::verdict::{UNDISTURBED, differences};

/// A broker and a database of the test's own.
struct Services {
    folder: TempDir,
    brokers: String,
    database: String,
}

impl Services {
    fn start() -> Self {
        let mut services = Self { folder: TempDir::new().unwrap(), brokers: String::new(), database: String::new() };
        services.run(&["up"]);
        let output = services.run(&["env"]);
        let text = String::from_utf8(output.stdout).unwrap();
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("export {name}=")));
            line.unwrap_or_else(|| panic!("no {name} in {text}")).replace(['\'', '\\'], "")
        };
        (services.brokers, services.database) = (value("KAFKA_BROKERS"), value("DATABASE_URL"));
        services
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let script: PathBuf = tests_folder("../scripts/services.sh");
        let mut command = Command::new(script);
        command.args(arguments).env("HEADWATER_SERVICES_DIR", self.folder.path());
        for given in ["KAFKA_BROKERS", "DATABASE_URL", "HEADWATER_KAFKA_PORT", "HEADWATER_POSTGRES_PORT"] {
            command.env_remove(given);
        }
        command
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        for arguments in [&["resume", "kafka"][..], &["resume", "postgres"], &["down"]] {
            let _ = self.command(arguments).output();
        }
    }
}

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
    for (down, service, up) in outages {
        feeder.allow(STREAM.len() / 12);
        feeder.rest();
        // So that there is something under way.
        feeder.allow(STREAM.len() / 12);
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
        "outage summary: broker and database stopped, started and stalled under load; {} restarts of the engine, \
         {} records; differences: {}",
        engine.restarts,
        STREAM.len(),
        differences.len()
    );
    assert!(differences.is_empty(), "{:#?}", differences.iter().take(20).collect::<Vec<_>>());
}
