//! What an undisturbed run comes to, and in what another one differs from it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use headwater::log::LogRecord;

use super::stream::STREAM;
use super::trial::{Trial, configuration};
use crate::subject::Tested;
use crate::support::subject::{Subject, Told, compare, letters};
use crate::support::{Harness, Place, header};

/// What a run has come to.
pub struct Outcome {
    results: <Tested as Subject>::Results,
    letters: BTreeMap<[String; 6], usize>,
}

impl Outcome {
    fn of(harness: &Harness<Tested>) -> Self {
        Self { results: harness.results(), letters: letters(&harness.records("dead-letters")) }
    }

    /// What there is to compare.
    pub fn told(&self) -> Told {
        let mut told = Tested::told(&self.results);
        told.push(("dead letters", self.letters.values().sum()));
        told
    }

    fn check(&self) {
        let told = self.told();
        assert!(told.iter().all(|(_, count)| *count > 2), "there is something of everything to compare: {told:?}");
    }
}

/// What everything comes to that is fed at once and then read by one engine, on the embedded log.
pub static UNDISTURBED: LazyLock<Outcome> = LazyLock::new(|| {
    let harness = Harness::configured(Place::Embedded, &configuration(""));
    harness.produce(STREAM.iter().cloned());
    harness.run(1);
    let outcome = Outcome::of(&harness);
    outcome.check();
    outcome
});

/// Everything in which the outcome of a trial differs from `expected`.
pub fn differences(trial: &Trial, expected: &Outcome) -> Vec<String> {
    let found = Outcome::of(&trial.harness);
    found.check();
    let mut all = Tested::differences(&expected.results, &found.results);
    compare(&mut all, "dead letter", &expected.letters, &found.letters);
    all.extend(out_of_order(trial));
    all.extend(trial.view_differences());
    all
}

/// Within a partition epochs never go back: nobody has written who was fenced.
fn out_of_order(trial: &Trial) -> Vec<String> {
    let epoch = |record: &LogRecord| header(record, "epoch").parse::<u64>().unwrap();
    // The suite itself takes rows away.
    let written = |record: &LogRecord| record.value.is_some() || record.header("epoch").is_some();
    let mut found = Vec::new();
    for (_, topic) in trial.harness.catalog().topics() {
        let records: Vec<LogRecord> = trial.harness.records(&topic.name).into_iter().filter(written).collect();
        for pair in records.windows(2) {
            let [before, after] = pair else { continue };
            if before.partition == after.partition && epoch(before) > epoch(after) {
                found.push(format!("{}/{}, offset {}: epoch goes back", topic.name, after.partition, after.offset));
            }
        }
    }
    found
}
