//! [`Subject`]: a topology under test, as the suites see it that run over any topology.
//!
//! The suites (`tests/e2e/suites`) name `crate::subject::Tested`. Each package has test targets of its own that
//! include them, with the subject that is its topology: a test can only start the binaries of its package.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use headwater::config::Config;
use headwater::log::{LogRecord, NewRecord};
use headwater::topology::Topology;
use serde_json::Value;

use super::{Harness, Input};

/// How many there are of something, for the summary of a run.
pub type Told = Vec<(&'static str, usize)>;

/// Something by its source and its id there.
pub type Name = (String, String);

/// See the module's documentation.
pub trait Subject: Topology {
    /// Path of its binary.
    const BINARY: &'static str;
    /// Its raw topic.
    const RAW: &'static str;
    /// A compacted topic that is written to by nearly every commit, and the table of the view that shows it.
    const SHOWN: (&'static str, &'static str);
    /// A state topic that a rebuild makes.
    const STATE: &'static str;
    /// Topics of rows that follow from the state and the tables alone.
    const ROWS: &'static [&'static str];

    /// Flags of a configuration under this prefix.
    fn flags(prefix: &str) -> Vec<String> {
        let _ = prefix;
        Vec::new()
    }

    /// Makes topics that are not its own, of which it reads.
    fn prepare(harness: &Harness<Self>) {
        let _ = harness;
    }

    /// Its sections of the configuration, as the streams of the suites need them.
    fn sections() -> String;

    /// Some of everything, raw records and records of tables, `raw` raw ones at least.
    fn stream(raw: usize) -> Vec<Input>;

    /// What its topics hold.
    type Results;

    /// Reads its topics to their ends, and checks them against each other.
    fn results(harness: &Harness<Self>) -> Self::Results;

    /// In what two outcomes of the same stream differ, history aside.
    fn differences(expected: &Self::Results, found: &Self::Results) -> Vec<String>;

    /// The same where records came late, or were counted by other windows.
    fn differences_when_late(expected: &Self::Results, found: &Self::Results) -> Vec<String> {
        Self::differences(expected, found)
    }

    /// In what the rows differ that a start of the same state gives: history included.
    fn row_differences(before: &Self::Results, after: &Self::Results) -> Vec<String>;

    /// What there is to compare, each more than a few.
    fn told(results: &Self::Results) -> Told;

    /// How many rows of the state a rebuild may write in another way, which means the same.
    const CHANGED_BY_REBUILDS: usize;

    /// Flags that change rows at a start, and nothing else; none where a topology has no such settings.
    const CHANGED: &'static [&'static str];

    /// Flags under which results differ, for a topology under this prefix.
    fn differing(prefix: &str) -> Vec<String>;
}

/// A kind of record of the poison stream.
pub struct Kind {
    pub name: &'static str,
    /// About how many of 100,000.
    pub per_100k: usize,
    pub make: fn(usize) -> Poison,
    pub fate: fn(usize) -> Fate,
}

/// A record to be sent.
pub struct Poison {
    pub topic: &'static str,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
    pub timestamp_ms: i64,
}

impl Poison {
    pub fn into_record<S: headwater::config::Section>(self, config: &Config<S>) -> NewRecord {
        NewRecord {
            topic: config.runtime.full_name(self.topic).into(),
            key: self.key.map(Into::into),
            value: self.value.map(Into::into),
            headers: self.headers,
            timestamp_ms: Some(self.timestamp_ms),
        }
    }
}

/// What must come of a record.
#[derive(Default)]
pub struct Fate {
    /// Its dead letters: codes and how many of each, in order.
    pub dead: Vec<(&'static str, usize)>,
    /// What is there at the end: an id, and what is said of it.
    pub live: Vec<(String, String)>,
}

/// A subject with a poison stream.
pub trait Poisoned: Subject {
    /// The kinds of its records. The one that is not hostile is called [`GOOD`].
    const KINDS: &'static [Kind];
    /// The configuration file, below `tests`.
    const CONFIG: &'static str;

    /// What is there: by source and id, what is said of it.
    fn live(results: &Self::Results) -> BTreeMap<Name, String>;

    /// The source of a record.
    fn source(kind: &Kind, number: usize) -> String {
        let _ = number;
        format!("poison {}", kind.name)
    }

    /// Whether a dead letter with these bytes may be of a record with those, of which it is a `part` or not.
    fn is_excerpt(kept: &[u8], whole: &[u8], part: bool) -> bool {
        let _ = (kept, whole, part);
        false
    }
}

/// The kind of those that are not hostile.
pub const GOOD: &str = "good";

/// In what two tables differ, `what` their rows.
pub fn compare<K: Ord + Debug, V: PartialEq + Debug>(
    all: &mut Vec<String>,
    what: &str,
    expected: &BTreeMap<K, V>,
    found: &BTreeMap<K, V>,
) {
    let keys: BTreeSet<&K> = expected.keys().chain(found.keys()).collect();
    for key in keys.into_iter().filter(|key| expected.get(key) != found.get(key)) {
        all.push(format!("{what} {key:?}: expected {:?}, found {:?}", expected.get(key), found.get(key)));
    }
}

/// How often each dead letter is there.
pub fn letters(letters: &[LogRecord]) -> BTreeMap<[String; 6], usize> {
    let mut counts = BTreeMap::new();
    for letter in letters {
        let text = |bytes: &Option<Vec<u8>>| format!("{:?}", bytes.as_deref().map(String::from_utf8_lossy));
        let names = ["dead-letter-code", "dead-letter-part", "source", "content-type"];
        let [code, part, source, content_type] = names.map(|name| super::header(letter, name));
        let identity = [code, part, source, content_type, text(&letter.key), text(&letter.value)];
        *counts.entry(identity).or_default() += 1;
    }
    counts
}

/// Without one of its fields, which must be there.
pub fn without(mut value: Value, field: &str) -> Value {
    value.as_object_mut().unwrap().remove(field).unwrap();
    value
}
