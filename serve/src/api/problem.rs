//! Problems: what a client did wrong, as `application/problem+json` (RFC 9457).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use headwater::error::{Domain, Fault};
use serde::Serialize;

/// A problem. Its `code` is stable: programs may depend on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Always `about:blank`: the code says what it is.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The status of the answer.
    status: u16,
    /// What is wrong, for programs.
    pub code: &'static str,
    /// What is wrong, for people.
    pub detail: String,
    /// Every wrong parameter.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Wrong>,
}

/// A wrong parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Wrong {
    /// Its name.
    pub parameter: String,
    /// What is wrong, for programs.
    pub code: &'static str,
    /// What is wrong and what would be right, for people.
    pub detail: String,
}

/// Every code that a wrong parameter may have. They never change their meaning.
pub const PARAMETER_CODES: &[&str] = &[
    "unknown-parameter",
    "repeated-parameter",
    "missing-parameter",
    "conflicting-parameters",
    "empty-value",
    "too-long",
    "too-many-values",
    "unknown-value",
    "not-a-number",
    "out-of-range",
    "not-a-boolean",
    "not-a-time",
    "not-a-position",
    "other-lineage",
    "not-a-rectangle",
    "invalid-cursor",
];

/// Every code that a problem may have.
pub const CODES: &[&str] = &[
    "invalid-parameters",
    "query-too-long",
    "not-found",
    "method-not-allowed",
    "not-acceptable",
    "not-ready",
    "position-not-reached",
    "unauthorized",
    "forbidden",
    "wrong-host",
    "wrong-origin",
    "too-many-requests",
    "upgrade-required",
    "unsupported-media-type",
    "body-too-large",
    "too-slow",
    "invalid-body",
    "refused",
    "needs-consent",
    "unavailable",
    "not-implemented",
    "internal",
];

impl Problem {
    /// A problem with this status, and one of the [`CODES`].
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        debug_assert!(CODES.contains(&code), "{code}");
        Self::with_code(status, code, detail)
    }

    /// A problem with this status, and a code that only one topology has.
    pub fn with_code(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or_default();
        Self { kind: "about:blank", title, status: status.as_u16(), code, detail: detail.into(), errors: Vec::new() }
    }

    /// Wrong parameters, all of them.
    pub fn parameters(errors: Vec<Wrong>) -> Self {
        let names: Vec<&str> = errors.iter().map(|wrong| wrong.parameter.as_str()).collect();
        let detail = format!("These parameters are wrong: {}.", names.join(", "));
        Self { errors, ..Self::new(StatusCode::BAD_REQUEST, "invalid-parameters", detail) }
    }

    /// There is nothing at this address.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", detail)
    }

    /// A fault of what the answer was to be made of. What is down may be up again later; the rest is for a person.
    pub fn fault(fault: &dyn Fault) -> Self {
        let hint = fault.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
        match fault.domain() {
            Domain::User => Self::new(StatusCode::CONFLICT, "refused", format!("{fault}{hint}")),
            Domain::External | Domain::Superseded => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", format!("{fault}{hint}"))
            }
            Domain::Internal => Self::internal(&Told(fault.to_string())),
        }
    }

    /// Something failed inside. What, is in the log.
    pub fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error, "a request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "The answer could not be made.")
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// What was said of a fault.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Told(String);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (self.status(), body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::SERVICE_UNAVAILABLE.as_u16() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        response
    }
}
