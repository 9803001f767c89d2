//! Bodies of requests, and answers that are not kept.

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::problem::Problem;
use crate::admin::Admin;
use crate::site::Site;

/// The largest body in JSON.
const MOST: usize = 1 << 20;

/// Reads a body in JSON. Its content type has to say so: a form of another page cannot.
pub(super) fn json<T: DeserializeOwned>(headers: &HeaderMap, body: &Bytes) -> Result<T, Problem> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        let detail = "The body has to be JSON, with the header Content-Type: application/json.";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail));
    }
    if body.len() > MOST {
        let detail = format!("The body has {} bytes; {MOST} are allowed.", body.len());
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", detail));
    }
    serde_json::from_slice(body).map_err(|error| invalid(error.to_string()))
}

/// The body says something that cannot be.
pub(super) fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid-body", detail)
}

/// An answer in JSON that is true now, and is not to be kept.
pub(super) fn fresh(value: &impl Serialize) -> Result<Response, Problem> {
    let body = serde_json::to_vec(value).map_err(|error| Problem::internal(&error))?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, body).into_response())
}

/// Does what blocks on a thread where that disturbs nobody.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Problem::internal(&error))?
}

/// What operators and editors do, where this server can.
pub(super) fn admin(site: &Site) -> Result<std::sync::Arc<Admin>, Problem> {
    let none = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "This server shows events only.");
    site.admin.clone().ok_or_else(none)
}
