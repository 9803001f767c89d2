//! Answers that several endpoints give.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::Value;

/// The log has it, and the engine is going to take it.
pub(super) fn accepted(answer: Value) -> Response {
    (StatusCode::ACCEPTED, axum::Json(answer)).into_response()
}

/// JSON that is written already and true now.
pub(super) fn written(status: StatusCode, json: Bytes) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, json).into_response()
}
