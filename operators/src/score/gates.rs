//! [`Gates`]: what is asked of an event, as configured.

use serde::{Deserialize, Serialize};

use crate::listing::Ratio;

/// The five gates and what is made of them. The defaults are those of the design.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gates {
    /// Title, start, place, address on the web, description. Weight 0.30, threshold 0.80.
    pub core_completeness: Gate,
    /// Whether what is there is well formed. Weight 0.25, threshold 0.85.
    pub format_accuracy: Gate,
    /// Whether it makes sense. Weight 0.20, threshold 0.70.
    pub business_logic: Gate,
    /// Whether it can be found on a map. Weight 0.15, threshold 0.60.
    pub geographic_data: Gate,
    /// Whether it is worth reading. Weight 0.10, threshold 0.50.
    pub content_quality: Gate,
    /// Score from which an event passes. Default 0.7.
    pub pass: Ratio,
    /// Least score for each letter.
    pub grades: Grades,
    /// Years after it was first seen at which the start of an event is absurd. Default 5.
    pub max_years_ahead: u16,
    /// Years before it was first seen at which the start of an event is absurd. Default 20.
    pub max_years_past: u16,
    /// Characters from which a description counts as full. Default 200.
    pub full_description_chars: u32,
}

impl Default for Gates {
    fn default() -> Self {
        Self {
            core_completeness: Gate::new(0.30, 0.80),
            format_accuracy: Gate::new(0.25, 0.85),
            business_logic: Gate::new(0.20, 0.70),
            geographic_data: Gate::new(0.15, 0.60),
            content_quality: Gate::new(0.10, 0.50),
            pass: Ratio::new(0.7),
            grades: Grades::default(),
            max_years_ahead: 5,
            max_years_past: 20,
            full_description_chars: 200,
        }
    }
}

impl Gates {
    /// The five gates with their names in the configuration.
    pub fn all(&self) -> [(&'static str, Gate); 5] {
        [
            ("core_completeness", self.core_completeness),
            ("format_accuracy", self.format_accuracy),
            ("business_logic", self.business_logic),
            ("geographic_data", self.geographic_data),
            ("content_quality", self.content_quality),
        ]
    }
}

/// One gate. The default lets everything pass and counts nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gate {
    /// Its share of the score, relative to the other weights, 0..=1.
    pub weight: Ratio,
    /// Score from which the gate is passed, 0..=1.
    pub threshold: Ratio,
    /// Whether an event that fails this gate fails as a whole, whatever its score.
    pub required: bool,
}

impl Gate {
    fn new(weight: f64, threshold: f64) -> Self {
        Self { weight: Ratio::new(weight), threshold: Ratio::new(threshold), required: false }
    }
}

/// Least score for each letter; what is below `d` is an F.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Grades {
    /// Default 0.9.
    pub a: Ratio,
    /// Default 0.8.
    pub b: Ratio,
    /// Default 0.7.
    pub c: Ratio,
    /// Default 0.6.
    pub d: Ratio,
}

impl Default for Grades {
    fn default() -> Self {
        Self { a: Ratio::new(0.9), b: Ratio::new(0.8), c: Ratio::new(0.7), d: Ratio::new(0.6) }
    }
}

impl Grades {
    pub(super) fn of(&self, score: Ratio) -> Grade {
        let letters = [(self.a, Grade::A), (self.b, Grade::B), (self.c, Grade::C), (self.d, Grade::D)];
        letters.into_iter().find(|(least, _)| score >= *least).map_or(Grade::F, |(_, letter)| letter)
    }
}

/// A letter for a score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the letters say it all")]
pub enum Grade {
    A,
    B,
    C,
    D,
    F,
}
