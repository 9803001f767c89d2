//! [`Decision`]: a person's word on whether two listings are the same event.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::ListingId;
use crate::moment::rfc3339_ms;

/// A listing by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListingName {
    /// Its source.
    pub source: Arc<str>,
    /// The source's id for it.
    pub external_id: Arc<str>,
}

impl ListingName {
    /// The listing `external_id` of `source`.
    pub fn new(source: &str, external_id: &str) -> Self {
        Self { source: source.into(), external_id: external_id.into() }
    }

    /// The compact stand-in.
    pub fn id(&self) -> ListingId {
        ListingId::of(&self.source, &self.external_id)
    }
}

/// What was decided on which pair, by whom, why and when.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ruling {
    /// One listing.
    pub a: ListingName,
    /// The other one.
    pub b: ListingName,
    /// Who decided.
    pub who: Arc<str>,
    /// Why.
    pub why: Option<String>,
    /// When, in ms since the Unix epoch.
    #[serde(with = "rfc3339_ms")]
    pub at: i64,
}

/// A person's word on two listings. The newest on a pair holds.
///
/// ```
/// use headwater_operators::resolve::Decision;
/// let text = r#"{"different": {"a": {"source": "x", "externalId": "1"},
///     "b": {"source": "y", "externalId": "7"}, "who": "kim", "why": null, "at": "2026-03-28T19:30:00Z"}}"#;
/// let decision: Decision = serde_json::from_str(text).unwrap();
/// assert!(matches!(decision, Decision::Different(ruling) if &*ruling.b.external_id == "7"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Decision {
    /// The two are one event.
    Same(Ruling),
    /// The two are not.
    Different(Ruling),
}

impl Decision {
    /// What was decided on which pair.
    pub fn ruling(&self) -> &Ruling {
        match self {
            Self::Same(ruling) | Self::Different(ruling) => ruling,
        }
    }

    /// The pair in the order of ids; `None` for a listing and itself.
    pub fn pair(&self) -> Option<(ListingId, ListingId)> {
        let (a, b) = (self.ruling().a.id(), self.ruling().b.id());
        (a != b).then(|| (a.min(b), a.max(b)))
    }

    /// The verdict without the words.
    pub fn verdict(&self) -> Verdict {
        Verdict { at: self.ruling().at, same: matches!(self, Self::Same(_)) }
    }
}

/// A verdict on a pair; of several, the greatest holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Verdict {
    /// When, in ms since the Unix epoch.
    pub at: i64,
    /// Whether the two are the same event.
    pub same: bool,
}
