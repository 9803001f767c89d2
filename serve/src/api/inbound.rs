//! Raw records that come in.

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use headwater::error::{Domain, Fault};
use headwater::log::{LogError, NewRecord};
use headwater::tools::produce::{CONTENT_TYPE_HEADER, SOURCE_HEADER};
use headwater_operators::raw::{Origin, RawRecord};
use serde_json::json;

use super::body::{admin, blocking, fresh, invalid, read};
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
    body: Body,
) -> Result<Response, Problem> {
    let key = key(text.as_deref())?;
    let sender = Sender::of(&site.access, &identity, &source, &headers)?;
    if sender.is_signature() && key.is_some() {
        return Err(forbidden("A signature is of the body alone: documents with a key need a key of the API."));
    }
    let admin = admin(&site)?;
    let most = admin.config.topics.max_raw_record.get();
    let told = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    // Held until the log has the record.
    let _room = admin.inbound.room(told.unwrap_or(most).min(most)).map_err(|error| refused(&error))?;
    let body = read(body, most).await?;
    let who = sender.check(&site.access, &source, &body)?;
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
    let sender = Sender::of(&site.access, &identity, &source, &headers)?;
    if sender.is_signature() {
        return Err(forbidden("A signature is of a body: to withdraw a document takes a key of the API."));
    }
    let who = sender.check(&site.access, &source, &[])?;
    write(&site, Incoming { source, content_type: None, key, value: None, who }).await
}

fn key(query: Option<&str>) -> Result<Option<String>, Problem> {
    let mut query = Query::new(query.unwrap_or_default(), OF_INBOUND)?;
    let key = query.text("key");
    query.finish()?;
    Ok(key)
}

fn forbidden(detail: &str) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "forbidden", detail)
}

/// Who sends: a source that signs, or whoever may produce. It is told before the body is read, so that strangers
/// cost nothing.
enum Sender {
    Key(String),
    /// The header, and what it holds.
    Signature(String, String),
}

impl Sender {
    fn of(access: &Access, identity: &Identity, source: &str, headers: &HeaderMap) -> Result<Self, Problem> {
        let signature = access.webhooks.header(source).and_then(|name| Some((name, headers.get(name)?)));
        if let Some((name, signature)) = signature {
            return Ok(Self::Signature(name.to_owned(), signature.to_str().unwrap_or_default().to_owned()));
        }
        if identity.may(Scope::Produce) {
            return Ok(Self::Key(identity.who().to_owned()));
        }
        if identity.name.is_some() {
            return Err(forbidden("The key has no scope \"produce\", which this needs."));
        }
        let detail = match access.webhooks.header(source) {
            Some(name) => format!("Sign the record, in the header {name}, or show a key with the scope \"produce\"."),
            None => "Show a key with the scope \"produce\": Authorization: Bearer KEY.".to_owned(),
        };
        Err(Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail))
    }

    fn is_signature(&self) -> bool {
        matches!(self, Self::Signature(..))
    }

    /// Its name, where what it sends is signed as it says.
    fn check(self, access: &Access, source: &str, body: &[u8]) -> Result<String, Problem> {
        match self {
            Self::Key(who) => Ok(who),
            Self::Signature(_, signature) if access.webhooks.is_signed(source, body, &signature) => {
                Ok(format!("signature of {source}"))
            }
            Self::Signature(name, _) => {
                let detail = format!("The signature in {name} is not that of this body with the secret of {source:?}.");
                Err(Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail))
            }
        }
    }
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
        value: value.as_ref().map(|_| b"{}".to_vec()),
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
    let large = |error: &LogError| matches!(error, LogError::TooLarge { .. });
    match error {
        InboundError::Refused(error) if large(error) => {
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", format!("{error}."))
        }
        InboundError::Refused(error) if error.domain() != Domain::External => Problem::fault(&**error),
        error => {
            let detail = format!("{error}. Send it again later: what comes twice changes nothing.");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
        }
    }
}
