//! Scored events as text and as bytes.

use std::cell::RefCell;

use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use smallvec::SmallVec;

use super::gates::Grade;
use super::reason::{Reason, Reasons};
use super::report::{GateName, GateReport, Report, ScoredEvent};
use crate::event::Event;
use crate::listing::Ratio;
use crate::resolve::Moderation;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FlatEvent<E, G> {
    #[serde(flatten)]
    event: E,
    quality_score: Ratio,
    quality_grade: Grade,
    passed: bool,
    gates: G,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    moderation: Option<Moderation>,
}

impl Serialize for ScoredEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return (&self.event, &self.report, self.moderation).serialize(serializer);
        }
        let Report { score, grade, passed, gates } = &self.report;
        FlatEvent {
            event: self.event.view(),
            quality_score: *score,
            quality_grade: *grade,
            passed: *passed,
            gates: GateTexts(gates),
            moderation: self.moderation,
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ScoredEvent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            let (event, report, moderation) = Deserialize::deserialize(deserializer)?;
            return Ok(Self { event, report, moderation });
        }
        let flat = FlatEvent::<Event, [GateReport; 5]>::deserialize(deserializer)?;
        let report =
            Report { score: flat.quality_score, grade: flat.quality_grade, passed: flat.passed, gates: flat.gates };
        Ok(Self { event: flat.event.into(), report, moderation: flat.moderation })
    }
}

/// A gate's report as text: reasons spelt out, and recommendations, which follow from them.
#[derive(Serialize, Deserialize)]
struct GateText<R> {
    gate: GateName,
    score: Ratio,
    passed: bool,
    reasons: R,
    #[serde(skip_deserializing)]
    recommendations: SmallVec<[&'static str; 8]>,
}

/// The gates' reports as text. There are few different ones, and each is mostly the same words: each
/// thread remembers what it has written.
struct GateTexts<'a>(&'a [GateReport; 5]);

thread_local! {
    static WRITTEN: RefCell<foldhash::HashMap<GateReport, Box<RawValue>>> = RefCell::default();
}

/// No more than so many are remembered: scores by length make some thousands.
const MAX_WRITTEN: usize = 8192;

impl Serialize for GateTexts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        WRITTEN.with_borrow_mut(|written| {
            if written.len() + self.0.len() > MAX_WRITTEN {
                written.clear();
            }
            for report in self.0.iter() {
                if !written.contains_key(report) {
                    let text = serde_json::value::to_raw_value(report).map_err(S::Error::custom)?;
                    written.insert(*report, text);
                }
            }
            serializer.collect_seq(self.0.iter().filter_map(|report| written.get(report)))
        })
    }
}

struct ReasonTexts(Reasons);

impl Serialize for ReasonTexts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|code| ReasonText { code, text: code.text() }))
    }
}

#[derive(Serialize, Deserialize)]
struct ReasonText {
    code: Reason,
    #[serde(skip_deserializing)]
    text: &'static str,
}

impl Serialize for GateReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return (self.gate, self.score, self.passed, self.reasons).serialize(serializer);
        }
        let mut recommendations: SmallVec<_> = self.reasons.iter().map(|reason| reason.recommendation()).collect();
        recommendations.dedup();
        GateText {
            gate: self.gate,
            score: self.score,
            passed: self.passed,
            reasons: ReasonTexts(self.reasons),
            recommendations,
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for GateReport {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return Deserialize::deserialize(deserializer).map(|(gate, score, passed, reasons)| Self {
                gate,
                score,
                passed,
                reasons,
            });
        }
        let text = GateText::<Vec<ReasonText>>::deserialize(deserializer)?;
        let reasons = text.reasons.into_iter().map(|reason| reason.code).collect();
        Ok(Self { gate: text.gate, score: text.score, passed: text.passed, reasons })
    }
}
