//! [`ResolveConfig`]: everything about `resolve` that an operator of the system may set.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::field::Field;
use super::model::Model;

/// Raised whenever code changes what the same configuration gives, so that a restart compares
/// its outputs again.
const LOGIC_VERSION: u64 = 6;

/// How duplicates are found, held together and merged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ResolveConfig {
    /// By how much the points of each field are multiplied.
    pub weights: Weights,
    /// Two listings match at this likelihood or above, 0..=1.
    pub threshold: f64,
    /// Two groups of listings are joined only if the mean of the log-odds of all pairs between
    /// them is that of this likelihood or above, 0..=1.
    pub cohesion: f64,
    /// A block with more listings than this is split by a second key, and its parts by a third;
    /// a part of a part that is larger still compares nothing. At least 2.
    pub block_cap: usize,
    /// A connected component of matches with more listings than this is tightened. At least 2.
    pub component_cap: usize,
    /// By how much the threshold rises with each step of tightening, 0.01..=1.
    pub tighten_step: f64,
    /// Starts on the clock that differ by more minutes than this are different sessions, whatever
    /// else agrees.
    pub session_gap_minutes: u32,
    /// An event of at most this many days is found by each of its days, a longer one only by its
    /// first. 1..=31.
    pub short_event_days: u32,
    /// Distance in metres up to which two places are the same.
    pub same_place_m: f64,
    /// Distance in metres from which two places have nothing in common.
    pub other_place_m: f64,
    /// Distance in metres beyond which two points are in different cities.
    pub other_city_m: f64,
    /// Sources that never list an event twice: two ids of one of them are never one event.
    pub duplicate_free: BTreeSet<String>,
    /// Sources that write midnight where they know no time of day. Elsewhere 00:00 is midnight, unless
    /// the entry takes a whole day.
    pub midnight_is_no_time: BTreeSet<String>,
    /// The parameters of comparison, by feature; those that come with the crate where nothing is
    /// said. `headwater train resolve` writes them.
    pub model: Option<Model>,
    /// How far each source is trusted when fields disagree, 0..=1; 0.5 where nothing is said.
    pub trust: BTreeMap<String, f64>,
}

/// By how much the points of each field are multiplied, 0..=10: 1 is what the model says, 0 leaves
/// the field out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Weights {
    /// Words of the title.
    pub title: f64,
    /// Start and end.
    pub time: f64,
    /// Coordinates, venue and city.
    pub place: f64,
    /// The listing's own web address.
    pub url: f64,
}

impl Default for Weights {
    fn default() -> Self {
        Self { title: 1.0, time: 1.0, place: 1.0, url: 1.0 }
    }
}

impl Default for ResolveConfig {
    fn default() -> Self {
        Self {
            weights: Weights::default(),
            threshold: 0.5,
            cohesion: 0.5,
            block_cap: 100,
            component_cap: 200,
            tighten_step: 0.03,
            session_gap_minutes: 75,
            short_event_days: 7,
            same_place_m: 150.0,
            other_place_m: 1_500.0,
            other_city_m: 40_000.0,
            duplicate_free: BTreeSet::new(),
            midnight_is_no_time: BTreeSet::new(),
            model: None,
            trust: BTreeMap::new(),
        }
    }
}

/// What is wrong with one setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct ConfigProblem {
    /// The setting, relative to the table of `resolve`.
    pub key: String,
    /// What is wrong, and what would be right.
    pub problem: String,
}

impl ResolveConfig {
    /// All that is wrong with it; empty if it can be used.
    pub fn validate(&self) -> Vec<ConfigProblem> {
        let mut problems = Vec::new();
        self.check_ranges(&mut problems);
        self.check_relations(&mut problems);
        problems
    }

    fn check_ranges(&self, problems: &mut Vec<ConfigProblem>) {
        let weights = &self.weights;
        let ranges = [
            ("weights.title", weights.title, 0.0, 10.0),
            ("weights.time", weights.time, 0.0, 10.0),
            ("weights.place", weights.place, 0.0, 10.0),
            ("weights.url", weights.url, 0.0, 10.0),
            ("threshold", self.threshold, 0.0, 1.0),
            ("cohesion", self.cohesion, 0.0, 1.0),
            ("tighten_step", self.tighten_step, 0.01, 1.0),
            ("block_cap", self.block_cap as f64, 2.0, 10_000.0),
            ("component_cap", self.component_cap as f64, 2.0, 10_000.0),
            ("session_gap_minutes", f64::from(self.session_gap_minutes), 0.0, 1_440.0),
            ("short_event_days", f64::from(self.short_event_days), 1.0, 31.0),
            ("same_place_m", self.same_place_m, 0.0, 1e6),
            ("other_place_m", self.other_place_m, 1.0, 1e6),
            ("other_city_m", self.other_city_m, 1.0, 2.1e7),
        ];
        for (key, value, least, most) in ranges {
            require(problems, key, (least..=most).contains(&value), || format!("{value} is not in {least}..={most}"));
        }
        for (source, trust) in &self.trust {
            let key = format!("trust.{source}");
            require(problems, &key, (0.0..=1.0).contains(trust), || format!("{trust} is not in 0..=1"));
        }
    }

    fn check_relations(&self, problems: &mut Vec<ConfigProblem>) {
        require(problems, "other_place_m", self.other_place_m > self.same_place_m, || {
            "must be greater than same_place_m".to_owned()
        });
    }

    /// A number that differs between configurations, and between versions of the logic, that may
    /// give different results.
    pub fn fingerprint(&self) -> u64 {
        // Only maps with string keys and finite numbers: serialising cannot fail, and if it did,
        // an empty text would only mean one comparison of outputs too many.
        let text = serde_json::to_vec(self).unwrap_or_default();
        xxh3_64(&text) ^ LOGIC_VERSION
    }

    /// The model, with its points multiplied by the weights.
    pub(super) fn weighted_model(&self) -> Model {
        let weights = &self.weights;
        self.model.clone().unwrap_or_default().weighted(|field| match field {
            Field::Title => weights.title,
            Field::Time => weights.time,
            Field::Place => weights.place,
            Field::Url => weights.url,
            Field::Base | Field::Source | Field::Decision => 1.0,
        })
    }

    /// Trust in a source, 0..=1.
    pub fn trust_of(&self, source: &str) -> f64 {
        self.trust.get(source).copied().unwrap_or(0.5)
    }
}

fn require(problems: &mut Vec<ConfigProblem>, key: &str, holds: bool, problem: impl FnOnce() -> String) {
    if !holds {
        problems.push(ConfigProblem { key: key.to_owned(), problem: problem() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid() {
        assert_eq!(ResolveConfig::default().validate(), []);
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let mut config = ResolveConfig { threshold: f64::NAN, block_cap: 1, ..ResolveConfig::default() };
        config.trust.insert("x".to_owned(), 2.0);
        let keys: Vec<_> = config.validate().into_iter().map(|problem| problem.key).collect();
        assert_eq!(keys, ["threshold", "block_cap", "trust.x"]);
    }

    #[test]
    fn the_fingerprint_follows_the_settings() {
        let config = ResolveConfig::default();
        let other = ResolveConfig { threshold: 0.9, ..config.clone() };
        assert_eq!(config.fingerprint(), config.clone().fingerprint());
        assert_ne!(config.fingerprint(), other.fingerprint());
    }
}
