//! Why something cannot be used.

use crate::raw::DeadLetterCode;

/// Why a record or a part of one cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) code: DeadLetterCode,
    pub(crate) reason: String,
}

impl Problem {
    pub(crate) fn new(code: DeadLetterCode, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }

    pub(crate) fn missing(field: &str) -> Self {
        Self::new(DeadLetterCode::MISSING_FIELD, format!("there is no {field}"))
    }

    pub(crate) fn invalid(field: &str, value: &str) -> Self {
        let shown: String = value.chars().take(80).collect();
        Self::new(DeadLetterCode::INVALID_FIELD, format!("{field} cannot be read: {shown:?}"))
    }
}
