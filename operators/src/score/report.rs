//! The verdict on an event.

use serde::{Deserialize, Serialize};

use super::gates::Grade;
use super::reason::Reasons;
use crate::event::Composed;
use crate::listing::Ratio;
use crate::resolve::Moderation;

/// Which gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GateName {
    /// Is everything there that an event cannot do without?
    CoreCompleteness,
    /// Is what is there well formed?
    FormatAccuracy,
    /// Does it make sense?
    BusinessLogic,
    /// Can it be found on a map?
    GeographicData,
    /// Is it worth reading?
    ContentQuality,
}

/// The verdict on an event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Report {
    /// Mean of the gates' scores by their weights.
    pub score: Ratio,
    /// Its letter.
    pub grade: Grade,
    /// Whether the score suffices and every required gate is passed.
    pub passed: bool,
    /// The gates, in the order of [`GateName`].
    pub gates: [GateReport; 5],
}

/// The verdict of one gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GateReport {
    /// Which gate.
    pub gate: GateName,
    /// Its score.
    pub score: Ratio,
    /// Whether the score reaches the threshold.
    pub passed: bool,
    /// Everything that costs points, whether or not the gate is passed.
    pub reasons: Reasons,
}

/// An event with its report and what editors say of it. As JSON, the fields of the event with `qualityScore`,
/// `qualityGrade`, `passed` and `gates` beside them, and `moderation` where anybody said anything.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScoredEvent {
    /// The event.
    pub event: Composed,
    /// Its report.
    pub report: Report,
    /// The gravest of what editors said of its listings.
    pub moderation: Option<Moderation>,
}
