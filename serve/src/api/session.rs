//! Signing in, and tickets.

use std::sync::Arc;

use axum::extract::{FromRef, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use serde::Deserialize;
use serde_json::json;

use super::allowed;
use super::body::{Small, fresh, json};
use super::problem::Problem;
use crate::access::guard::{COOKIE, Peer, cookie};
use crate::access::keys::Scope;
use crate::access::sessions::{SESSION_LASTS, TICKET_LASTS};
use crate::access::{Access, Identity};

/// The body of a sign-in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignIn {
    key: String,
}

/// Where browsers sign in and out, and get tickets: `/api/session`, `/api/ticket`.
pub fn routes<S>(access: &Arc<Access>) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Arc<Access>: FromRef<S>,
{
    Router::new()
        .route("/api/session", get(who).post(sign_in).delete(sign_out))
        .route("/api/ticket", allowed(Scope::Read, access, post(ticket)))
}

/// Who the client is, and what it may do.
pub(super) async fn who(
    State(access): State<Arc<Access>>,
    Extension(identity): Extension<Identity>,
) -> Result<Response, Problem> {
    let keys_needed = access.knows_somebody();
    fresh(&json!({ "name": identity.name, "scopes": &*identity.scopes, "keysNeeded": keys_needed }))
}

/// Shows a key once, and gives a cookie that scripts cannot read.
pub(super) async fn sign_in(
    State(access): State<Arc<Access>>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    Small(body): Small,
) -> Result<Response, Problem> {
    let SignIn { key } = json(&headers, &body)?;
    let address = peer.map(|peer| tracing::field::display(peer.0.0.ip()));
    let identity = access.identity(key.trim()).map_err(|detail| {
        tracing::warn!(address, detail, "a sign-in has failed");
        Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
    })?;
    let secret = access.sessions.begin(identity.clone()).map_err(|error| Problem::internal(&error))?;
    tracing::info!(address, key = identity.who(), "signed in");
    let mut response = fresh(&json!({ "name": identity.name, "scopes": &*identity.scopes }))?;
    set_cookie(&mut response, &access, &secret, SESSION_LASTS.as_secs());
    Ok(response)
}

/// Ends the session.
pub(super) async fn sign_out(State(access): State<Arc<Access>>, headers: HeaderMap) -> Response {
    if let Some(secret) = cookie(&headers) {
        access.end_session(secret);
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    set_cookie(&mut response, &access, "", 0);
    response
}

fn set_cookie(response: &mut Response, access: &Access, secret: &str, seconds: u64) {
    let secure = if access.secure { "; Secure" } else { "" };
    let cookie = format!("{COOKIE}={secret}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
}

/// A ticket for a stream of a page of another origin.
pub(super) async fn ticket(
    State(access): State<Arc<Access>>,
    Extension(identity): Extension<Identity>,
) -> Result<Response, Problem> {
    let ticket = access.tickets.issue(identity).map_err(|error| Problem::internal(&error))?;
    fresh(&json!({ "ticket": ticket, "expiresIn": TICKET_LASTS.as_secs() }))
}
