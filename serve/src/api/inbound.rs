//! Raw records that come in.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use headwater::error::{Domain, Fault};
use headwater::log::{LogError, NewRecord};
use headwater::tools::produce::{CONTENT_TYPE_HEADER, SOURCE_HEADER};
use headwater_operators::raw::{Origin, RawRecord};
use serde_json::json;

use super::body::{admin, blocking, fresh, invalid};
use super::endpoints::OF_INBOUND;
use super::problem::Problem;
use super::query::Query;
use crate::access::keys::Scope;
use crate::access::{Access, Identity};
use crate::admin::Admin;
use crate::admin::inbound::InboundError;
use crate::site::Site;

/// The header that says by whose key a record came in.
const RECEIVED_BY: &str = "received-by";

/// Writes a raw record.
pub(super) async fn take(
    State(site): State<Site>,
    Extension(identity): Extension<Identity>,
    Path(source): Path<String>,
    RawQuery(text): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let key = key(text.as_deref())?;
    let who = sender(&site.access, &identity, &source, &headers, &body)?;
    if body.is_empty() {
        return Err(invalid("The body is empty. DELETE with ?key=KEY withdraws a document."));
    }
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
    write(&site, Incoming { source, content_type, key, value: Some(body), who }).await
}

/// Withdraws a document.
pub(super) async fn withdraw(
    State(site): State<Site>,
    Extension(identity): Extension<Identity>,
    Path(source): Path<String>,
    RawQuery(text): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let text = text.unwrap_or_default();
    let mut query = Query::new(&text, OF_INBOUND)?;
    let key = query.text("key");
    if !query.has("key") {
        query.refuse("key", "missing-parameter", "It names the document to be withdrawn.");
    }
    query.finish()?;
    let who = sender(&site.access, &identity, &source, &headers, &Bytes::new())?;
    write(&site, Incoming { source, content_type: None, key, value: None, who }).await
}

fn key(query: Option<&str>) -> Result<Option<String>, Problem> {
    let mut query = Query::new(query.unwrap_or_default(), OF_INBOUND)?;
    let key = query.text("key");
    query.finish()?;
    Ok(key)
}

/// Who sends: a source that signs, or whoever may produce.
fn sender(
    access: &Access,
    identity: &Identity,
    source: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<String, Problem> {
    let unauthorized = |detail: String| Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail);
    let signature = access.webhooks.header(source).and_then(|name| Some((name, headers.get(name)?)));
    if let Some((name, signature)) = signature {
        let right = signature.to_str().is_ok_and(|signature| access.webhooks.is_signed(source, body, signature));
        let wrong =
            || unauthorized(format!("The signature in {name} is not that of this body with the secret of {source:?}."));
        return right.then(|| format!("signature of {source}")).ok_or_else(wrong);
    }
    if identity.may(Scope::Produce) {
        return Ok(identity.who().to_owned());
    }
    if identity.name.is_some() {
        let detail = "The key has no scope \"produce\", which this needs.";
        return Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", detail));
    }
    let detail = match access.webhooks.header(source) {
        Some(name) => format!("Sign the record, in the header {name}, or show a key with the scope \"produce\"."),
        None => "Show a key with the scope \"produce\": Authorization: Bearer KEY.".to_owned(),
    };
    Err(unauthorized(detail))
}

struct Incoming {
    source: String,
    content_type: Option<String>,
    key: Option<String>,
    /// `None` withdraws.
    value: Option<Bytes>,
    who: String,
}

async fn write(site: &Site, incoming: Incoming) -> Result<Response, Problem> {
    let admin = admin(site)?;
    let (topic, record) = blocking({
        let admin = std::sync::Arc::clone(&admin);
        move || prepared(&admin, incoming)
    })
    .await?;
    let bytes = record.value.as_ref().map_or(0, Bytes::len);
    admin.inbound.write(record).await.map_err(|error| refused(&error))?;
    let mut response = fresh(&json!({ "topic": topic, "bytes": bytes }))?;
    *response.status_mut() = StatusCode::ACCEPTED;
    Ok(response.into_response())
}

/// The record, where the topology would look at it.
fn prepared(admin: &Admin, incoming: Incoming) -> Result<(String, NewRecord), Problem> {
    let Incoming { source, content_type, key, value, who } = incoming;
    let none = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "The topology has no input.");
    let input = admin.config.inputs.first().ok_or_else(none)?;
    let topic = admin.config.full_name(&input.topic);
    let seen = RawRecord {
        origin: Origin { topic: topic.as_str().into(), partition: 0, offset: 0, timestamp_ms: 0, order_ms: 0 },
        source: Some(source.as_str().into()),
        content_type: content_type.clone().or_else(|| input.content_type.clone()).map(Into::into),
        key: key.clone().map(String::into_bytes),
        value: value.as_ref().map(|value| value.to_vec()),
        headers: Vec::new(),
    };
    if let Some(objection) = admin.examine.as_ref().and_then(|examine| examine.objection(seen)) {
        let detail = format!("{}. {}.", objection.reason, objection.hint);
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "refused", detail));
    }
    let mut headers = vec![(SOURCE_HEADER.to_owned(), source.into_bytes()), (RECEIVED_BY.to_owned(), who.into_bytes())];
    headers.extend(content_type.map(|kind| (CONTENT_TYPE_HEADER.to_owned(), kind.into_bytes())));
    let record =
        NewRecord { topic: topic.as_str().into(), key: key.map(Into::into), value, headers, timestamp_ms: None };
    Ok((topic, record))
}

fn refused(error: &InboundError) -> Problem {
    match error {
        InboundError::Log(error) => match &**error {
            LogError::TooLarge { .. } => {
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", format!("{error}."))
            }
            error if error.domain() == Domain::External => {
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", format!("{error}. Send it again later."))
            }
            error => Problem::fault(error),
        },
        InboundError::Busy => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", format!("{error}. Send it again later."))
        }
    }
}
