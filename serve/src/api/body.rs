//! Bodies of requests, and answers that are not kept.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::problem::Problem;
use crate::admin::{Admin, AuditError};
use crate::site::Site;

/// The largest body in JSON.
const MOST: usize = 1 << 20;

/// How long a client may take to send a body.
const PATIENCE: Duration = Duration::from_secs(30);

/// The bytes of a body of at most 1 MiB.
pub struct Small(pub Bytes);

impl<S: Sync> FromRequest<S> for Small {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        read(request.into_body(), MOST).await.map(Self)
    }
}

/// Reads a body of at most so many bytes.
///
/// # Errors
/// Where it has more, or comes too slowly.
pub async fn read(body: Body, most: usize) -> Result<Bytes, Problem> {
    let slow = |_| Problem::new(StatusCode::REQUEST_TIMEOUT, "too-slow", "The body took more than 30 s.");
    let large = |_| {
        let detail = format!("The body is cut off, or has more than {most} bytes.");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", detail)
    };
    tokio::time::timeout(PATIENCE, to_bytes(body, most)).await.map_err(slow)?.map_err(large)
}

/// Reads a body in JSON. Its content type has to say so: a form of another page cannot.
///
/// # Errors
/// Where it is something else.
pub fn json<T: DeserializeOwned>(headers: &HeaderMap, body: &Bytes) -> Result<T, Problem> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        let detail = "The body has to be JSON, with the header Content-Type: application/json.";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail));
    }
    serde_json::from_slice(body).map_err(|error| invalid(error.to_string()))
}

/// The body says something that cannot be.
pub fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid-body", detail)
}

/// An answer in JSON that is true now, and is not to be kept.
///
/// # Errors
/// Where `value` has no form in JSON.
pub fn fresh(value: &impl Serialize) -> Result<Response, Problem> {
    let body = serde_json::to_vec(value).map_err(|error| Problem::internal(&error))?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, body).into_response())
}

/// Does what blocks on a thread where that disturbs nobody.
///
/// # Errors
/// What `work` gives, and where it panics.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Problem::internal(&error))?
}

/// As [`blocking`], of a write; refused while many wait for the log.
pub(super) async fn writing<T: Send + 'static>(
    admin: &Admin,
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let busy =
        |_| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Many writes wait for the log already.");
    let _permit = admin.writes.try_acquire().map_err(busy)?;
    blocking(work).await
}

/// The log has failed in the middle of a write.
pub(super) fn unknown(error: &AuditError) -> Problem {
    let detail = format!("{error}: {}. Look before you repeat it.", error.0);
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
}

/// What operators and editors do, where this server can.
pub(super) fn admin(site: &Site) -> Result<std::sync::Arc<Admin>, Problem> {
    let none = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "This server shows events only.");
    site.admin.clone().ok_or_else(none)
}
