//! Which jobs are meant.

use serde::Serialize;

use crate::model::Phase;

/// Which jobs are listed, cancelled or retried: those for which all holds that is said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JobFilter {
    /// Of this queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// In this phase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Of this group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Of this kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Whose last error has this code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// With this text in id, payload, error or result, in any case of ASCII letters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub q: Option<String>,
}

impl JobFilter {
    /// Whether all jobs are meant.
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }

    /// As parameters of a query.
    pub(super) fn pairs(&self) -> Vec<(&'static str, &str)> {
        let texts = [
            ("queue", &self.queue),
            ("group", &self.group),
            ("kind", &self.kind),
            ("error", &self.error),
            ("q", &self.q),
        ];
        let texts = texts.into_iter().filter_map(|(name, text)| Some((name, text.as_deref()?)));
        texts.chain(self.phase.map(|phase| ("phase", phase.name()))).collect()
    }
}
