//! Log-odds: how much each field of a comparison counts, and how likely the sum makes a match.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::field::Field;

/// Log-odds, in steps of a thousandth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "f64", into = "f64")]
pub struct Points(i32);

impl Points {
    /// What a person's decision counts: more than any comparison.
    pub const DECIDED: Self = Self(1_000_000);

    /// The nearest step; what is beyond two million is clamped, not-a-number becomes 0.
    pub fn new(value: f64) -> Self {
        Self((value * 1_000.0).round() as i32)
    }

    /// As a float.
    pub fn get(self) -> f64 {
        f64::from(self.0) / 1_000.0
    }
}

impl From<f64> for Points {
    fn from(value: f64) -> Self {
        Self::new(value)
    }
}

impl From<Points> for f64 {
    fn from(points: Points) -> Self {
        points.get()
    }
}

/// What one field said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Contribution {
    /// The field.
    pub field: Field,
    /// What it adds to the log-odds of the two being one event. The contributions of a pair add up
    /// to the logit of its similarity.
    pub points: Points,
}

/// What each field said; at most one entry a field.
pub type Contributions = SmallVec<[Contribution; 6]>;

/// The probability that has these log-odds.
pub fn likelihood(points: f64) -> f64 {
    1.0 / (1.0 + (-points).exp())
}

/// The log-odds of a probability; finite for 0 and 1 too.
pub fn log_odds(probability: f64) -> f64 {
    let probability = probability.clamp(1e-6, 1.0 - 1e-6);
    (probability / (1.0 - probability)).ln()
}
