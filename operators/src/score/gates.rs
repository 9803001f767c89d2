//! [`Gates`]: what is asked of an event, as configured. [`GatesPatch`]: what of it is to be different. [`Control`]: the
//! record that says so while a topology runs.

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

/// What is to be different of [`Gates`]: only what is set counts. Keys are in camelCase, or in snake_case as in the
/// configuration.
///
/// ```
/// use headwater_operators::listing::Ratio;
/// use headwater_operators::score::{Gates, GatesPatch};
///
/// let set: GatesPatch = serde_json::from_str(r#"{"geographicData": {"weight": 0.5}}"#).unwrap();
/// let gates = set.over(&Gates::default());
/// assert_eq!(gates.geographic_data.weight, Ratio::new(0.5));
/// assert_eq!(gates.geographic_data.threshold, Gates::default().geographic_data.threshold);
/// assert_eq!(set.keys(), ["geographic_data.weight"]);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct GatesPatch {
    /// See [`Gates::core_completeness`].
    #[serde(alias = "core_completeness")]
    pub core_completeness: GatePatch,
    /// See [`Gates::format_accuracy`].
    #[serde(alias = "format_accuracy")]
    pub format_accuracy: GatePatch,
    /// See [`Gates::business_logic`].
    #[serde(alias = "business_logic")]
    pub business_logic: GatePatch,
    /// See [`Gates::geographic_data`].
    #[serde(alias = "geographic_data")]
    pub geographic_data: GatePatch,
    /// See [`Gates::content_quality`].
    #[serde(alias = "content_quality")]
    pub content_quality: GatePatch,
    /// See [`Gates::pass`].
    pub pass: Option<Ratio>,
    /// See [`Gates::grades`].
    pub grades: GradesPatch,
    /// See [`Gates::max_years_ahead`].
    #[serde(alias = "max_years_ahead")]
    pub max_years_ahead: Option<u16>,
    /// See [`Gates::max_years_past`].
    #[serde(alias = "max_years_past")]
    pub max_years_past: Option<u16>,
    /// See [`Gates::full_description_chars`].
    #[serde(alias = "full_description_chars")]
    pub full_description_chars: Option<u32>,
}

/// A record of the topic `control`: configuration that changes while running. One that names anything else, or sets
/// a value out of its range, is no such record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// What it sets of the gates.
    pub gates: GatesPatch,
}

/// What is to be different of a [`Gate`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GatePatch {
    /// See [`Gate::weight`].
    pub weight: Option<Ratio>,
    /// See [`Gate::threshold`].
    pub threshold: Option<Ratio>,
    /// See [`Gate::required`].
    pub required: Option<bool>,
}

/// What is to be different of [`Grades`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs, reason = "the letters say it all")]
pub struct GradesPatch {
    pub a: Option<Ratio>,
    pub b: Option<Ratio>,
    pub c: Option<Ratio>,
    pub d: Option<Ratio>,
}

/// All of it.
impl From<&Gates> for GatesPatch {
    fn from(gates: &Gates) -> Self {
        let gate = |gate: Gate| GatePatch {
            weight: Some(gate.weight),
            threshold: Some(gate.threshold),
            required: Some(gate.required),
        };
        let Grades { a, b, c, d } = gates.grades;
        Self {
            core_completeness: gate(gates.core_completeness),
            format_accuracy: gate(gates.format_accuracy),
            business_logic: gate(gates.business_logic),
            geographic_data: gate(gates.geographic_data),
            content_quality: gate(gates.content_quality),
            pass: Some(gates.pass),
            grades: GradesPatch { a: Some(a), b: Some(b), c: Some(c), d: Some(d) },
            max_years_ahead: Some(gates.max_years_ahead),
            max_years_past: Some(gates.max_years_past),
            full_description_chars: Some(gates.full_description_chars),
        }
    }
}

impl GatesPatch {
    /// `gates` with what is set here.
    pub fn over(&self, gates: &Gates) -> Gates {
        Gates {
            core_completeness: self.core_completeness.over(gates.core_completeness),
            format_accuracy: self.format_accuracy.over(gates.format_accuracy),
            business_logic: self.business_logic.over(gates.business_logic),
            geographic_data: self.geographic_data.over(gates.geographic_data),
            content_quality: self.content_quality.over(gates.content_quality),
            pass: self.pass.unwrap_or(gates.pass),
            grades: self.grades.over(gates.grades),
            max_years_ahead: self.max_years_ahead.unwrap_or(gates.max_years_ahead),
            max_years_past: self.max_years_past.unwrap_or(gates.max_years_past),
            full_description_chars: self.full_description_chars.unwrap_or(gates.full_description_chars),
        }
    }

    /// The keys that are set, as the configuration spells them: such as `geographic_data.weight`.
    pub fn keys(&self) -> Vec<String> {
        let gates = [
            ("core_completeness", self.core_completeness),
            ("format_accuracy", self.format_accuracy),
            ("business_logic", self.business_logic),
            ("geographic_data", self.geographic_data),
            ("content_quality", self.content_quality),
        ];
        let GradesPatch { a, b, c, d } = self.grades;
        let single = [
            ("pass", self.pass.is_some()),
            ("grades.a", a.is_some()),
            ("grades.b", b.is_some()),
            ("grades.c", c.is_some()),
            ("grades.d", d.is_some()),
            ("max_years_ahead", self.max_years_ahead.is_some()),
            ("max_years_past", self.max_years_past.is_some()),
            ("full_description_chars", self.full_description_chars.is_some()),
        ];
        let of_gates = gates.into_iter().flat_map(|(gate, set)| set.keys().map(move |key| format!("{gate}.{key}")));
        let single = single.into_iter().filter(|(_, set)| *set).map(|(key, _)| key.to_owned());
        of_gates.chain(single).collect()
    }
}

impl GatePatch {
    fn over(self, gate: Gate) -> Gate {
        Gate {
            weight: self.weight.unwrap_or(gate.weight),
            threshold: self.threshold.unwrap_or(gate.threshold),
            required: self.required.unwrap_or(gate.required),
        }
    }

    fn keys(self) -> impl Iterator<Item = &'static str> {
        let keys = [
            ("weight", self.weight.is_some()),
            ("threshold", self.threshold.is_some()),
            ("required", self.required.is_some()),
        ];
        keys.into_iter().filter(|(_, set)| *set).map(|(key, _)| key)
    }
}

impl GradesPatch {
    fn over(self, grades: Grades) -> Grades {
        Grades {
            a: self.a.unwrap_or(grades.a),
            b: self.b.unwrap_or(grades.b),
            c: self.c.unwrap_or(grades.c),
            d: self.d.unwrap_or(grades.d),
        }
    }
}
