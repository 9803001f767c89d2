//! Killed at every named point and at random moments, restarted each time, and still exact.

use std::collections::{BTreeMap, VecDeque};
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use headwater::fail_point::{self, FailPoint};

use super::stream::{STREAM, wanted_kills};
use super::trial::{Dice, Feeder, SIGKILL, Trial};
use super::verdict::{UNDISTURBED, differences};
use crate::subject::Tested;
use crate::support::subject::Subject;
use crate::support::{Place, service};

/// How long a point is waited for before it is tried again.
const POINT_PATIENCE: Duration = Duration::from_secs(25);

/// How often a point is tried before the test gives up on it.
const TRIES: usize = 4;

#[derive(Debug, Clone, Copy)]
enum Kill {
    Random,
    At { point: FailPoint, tries: usize },
}

fn only_on_kafka(point: FailPoint) -> bool {
    matches!(point, FailPoint::CommitQueued | FailPoint::CommitPositions)
}

/// Every point at least once, random moments for the rest and for at least a third. Fewer kills than there are points
/// share the points with the other log, so that the two tests together have them all.
fn plan(kafka: bool, kills: usize, dice: &mut Dice) -> VecDeque<Kill> {
    let reached = FailPoint::ALL.iter().copied().enumerate().filter(|(_, at)| kafka || !only_on_kafka(*at));
    let shared = kills < reached.clone().count();
    let own = |(number, at): &(usize, FailPoint)| !shared || only_on_kafka(*at) || (number % 2 == 0) == kafka;
    let points: Vec<FailPoint> = reached.filter(own).map(|(_, at)| at).collect();
    let rounds = (kills * 2 / 3 / points.len()).max(1);
    let at = points.iter().map(|point| Kill::At { point: *point, tries: 0 });
    let mut plan: Vec<Kill> = at.cycle().take(points.len() * rounds).collect();
    plan.resize(kills.max(plan.len()), Kill::Random);
    dice.shuffle(&mut plan);
    plan.into()
}

struct Run<'t> {
    trial: &'t Trial,
    feeder: Feeder,
    dice: Dice,
    /// How long a start takes, roughly.
    start: Duration,
    quota: usize,
    at_random: usize,
    hits: BTreeMap<&'static str, usize>,
}

impl Run<'_> {
    fn kill(&mut self, kill: Kill) -> Option<Kill> {
        let workers = (1 + self.dice.below(3)).to_string();
        let mut arguments = vec!["--workers", workers.as_str()];
        let Kill::At { point, tries } = kill else {
            if self.dice.below(5) == 0 {
                self.disturb(&mut arguments);
            }
            self.feeder.allow(self.quota);
            let process = self.trial.start(&arguments, None);
            let most = (self.start * 4).as_millis() as u64;
            std::thread::sleep(Duration::from_millis(self.dice.below(most)));
            process.kill();
            self.at_random += 1;
            return None;
        };
        self.prepare(point, &mut arguments);
        let hit = if tries == 0 { 1 + self.dice.below(latest_hit(point)) } else { 1 };
        let mut process = self.trial.start(&arguments, Some(&format!("{}:{hit}", point.name())));
        match process.wait(POINT_PATIENCE) {
            Some(status) if status.signal() == Some(SIGKILL) => {
                *self.hits.entry(point.name()).or_default() += 1;
                None
            }
            Some(status) => panic!("{}: ended with {status:?}: {}", point.name(), process.said()),
            None => {
                process.kill();
                self.at_random += 1;
                assert!(tries + 1 < TRIES, "{} was not reached", point.name());
                Some(Kill::At { point, tries: tries + 1 })
            }
        }
    }

    /// Gives the next start something to correct: rows that somebody has taken away, and another configuration
    /// where that changes rows.
    fn disturb(&mut self, arguments: &mut Vec<&str>) {
        self.trial.bury_rows(1 + self.dice.below(5) as usize);
        arguments.extend(Tested::CHANGED);
    }

    /// Brings about what leads to the point.
    fn prepare(&mut self, point: FailPoint, arguments: &mut Vec<&str>) {
        use FailPoint as At;
        match point {
            // Ends are recorded once nothing comes.
            At::EndsBegun | At::EndsSettled | At::EndsRead | At::EndsRecorded => {
                self.feeder.rest();
                self.disturb(arguments);
            }
            At::CorrectionCompared
            | At::CorrectionBatch
            | At::CorrectionBatchWritten
            | At::CorrectionCorrected
            | At::CorrectionRecorded => {
                // Whatever it was last, now there is something to correct.
                self.trial.settle();
                self.disturb(arguments);
                self.feeder.allow(self.quota);
            }
            At::ViewEmptied | At::ViewReset => {
                self.trial.view.remove();
                self.feeder.allow(self.quota);
            }
            _ => self.feeder.allow(self.quota),
        }
    }
}

/// A point is let pass so often, at most, less one.
fn latest_hit(point: FailPoint) -> u64 {
    match point {
        FailPoint::CommitRecord => 40,
        FailPoint::RecoveryReading => 3,
        _ if point.name().starts_with("commit.") || point.name().starts_with("view.") => 2,
        _ => 1,
    }
}

fn survives(place: Place, database: Option<String>, kills: usize) {
    let began = Instant::now();
    let name = if place == Place::Embedded { "embedded log, SQLite" } else { "Kafka, Postgres" };
    let kafka = place != Place::Embedded;
    let seed = std::env::var("HEADWATER_CRASH_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut dice = Dice::new(seed);
    let mut plan = plan(kafka, wanted_kills().unwrap_or(kills), &mut dice);
    let trial = Trial::new(place, database);
    let feeder = Feeder::start(&trial, seed);
    let measured = Instant::now();
    trial.settle();
    let (start, quota) = (measured.elapsed(), STREAM.len().div_ceil(plan.len()));
    let mut run = Run { trial: &trial, feeder, dice, start, quota, at_random: 0, hits: BTreeMap::new() };
    while let Some(kill) = plan.pop_front() {
        plan.extend(run.kill(kill));
    }
    let Run { feeder, at_random, hits, .. } = run;
    feeder.finish();
    trial.settle();
    let expected = &*UNDISTURBED;
    let differences = differences(&trial, expected);
    let named: usize = hits.values().sum();
    let told: Vec<String> = expected.told().iter().map(|(what, count)| format!("{count} {what}")).collect();
    println!(
        "crash summary ({}, {name}; seed {seed}): {} kills ({named} at {} named points, {at_random} at random \
         moments), {} starts, {} records, {}, {} s; differences: {}",
        trial.harness.topology(),
        named + at_random,
        hits.len(),
        trial.starts(),
        STREAM.len(),
        told.join(", "),
        began.elapsed().as_secs(),
        differences.len()
    );
    println!("  {}", hits.iter().map(|(point, hits)| format!("{point} {hits}")).collect::<Vec<_>>().join(", "));
    let shown: Vec<&String> = differences.iter().take(20).collect();
    assert!(differences.is_empty(), "{shown:#?}");
}

#[test]
fn kills_on_the_embedded_log_leave_no_trace() {
    if !fail_point::AVAILABLE {
        return println!("skipped: this build has no fail points");
    }
    survives(Place::Embedded, None, 100);
}

#[test]
fn kills_on_kafka_leave_no_trace() {
    let Some(place) = Place::kafka("kills") else { return };
    if !fail_point::AVAILABLE {
        return println!("skipped: this build has no fail points");
    }
    let database = service("DATABASE_URL", "tables in Postgres");
    survives(place, database, 40);
}
