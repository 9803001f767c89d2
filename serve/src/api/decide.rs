//! Decisions of people on pairs of listings.

use std::sync::PoisonError;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use headwater_operators::resolve::ListingRef;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::body::{Small, admin, blocking, fresh, invalid, json as body_json, unknown, writing};
use super::endpoints::OF_DECISIONS;
use super::problem::Problem;
use super::query::Query;
use crate::access::Identity;
use crate::admin::{Act, Admin};
use crate::decisions::{self, Change, DecideError, Decided, NewDecision, Say, parse_listing};
use crate::site::Site;

/// Lists them.
pub(super) async fn list(State(site): State<Site>, RawQuery(text): RawQuery) -> Result<Response, Problem> {
    let text = text.unwrap_or_default();
    let mut query = Query::new(&text, OF_DECISIONS)?;
    let open = query.boolean("open").unwrap_or(false);
    let listing = query.text("listing").and_then(|text| match parse_listing(&text) {
        Ok(listing) => Some(listing),
        Err(reason) => {
            query.refuse("listing", "unknown-value", format!("{text:?}: {reason}."));
            None
        }
    });
    query.finish()?;
    let admin = admin(&site)?;
    let (listed, unreadable) =
        blocking(move || decisions::decisions(&*admin.log, &admin.config).map_err(|error| Problem::fault(&error)))
            .await?;
    let listed: Vec<_> = listed.into_iter().filter(|one| one.is_meant(listing.as_ref(), open)).collect();
    fresh(&json!({ "decisions": listed, "unreadable": unreadable }))
}

/// The body of a decision.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Decide {
    say: Say,
    a: String,
    b: String,
    because: Option<String>,
}

/// The body of taking one back.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Undecide {
    a: String,
    b: String,
}

/// Decides on two listings.
pub(super) async fn decide(
    State(site): State<Site>,
    Extension(identity): Extension<Identity>,
    headers: HeaderMap,
    Small(body): Small,
) -> Result<Response, Problem> {
    let asked: Decide = body_json(&headers, &body)?;
    let new = NewDecision {
        say: asked.say,
        listings: [listing("a", &asked.a)?, listing("b", &asked.b)?],
        who: identity.who().to_owned(),
        why: asked.because.clone(),
        at_ms: jiff::Timestamp::now().as_millisecond(),
    };
    let admin = admin(&site)?;
    let decided = writing(&admin.clone(), move || {
        let _deciding = admin.deciding.lock().unwrap_or_else(PoisonError::into_inner);
        let change = decisions::decide(&*admin.log, &admin.config, new).map_err(|error| problem(&error))?;
        write(&admin, &identity, "decide", json!(asked), change)
    })
    .await?;
    fresh(&decided)
}

/// Takes a decision back.
pub(super) async fn undecide(
    State(site): State<Site>,
    Extension(identity): Extension<Identity>,
    headers: HeaderMap,
    Small(body): Small,
) -> Result<Response, Problem> {
    let asked: Undecide = body_json(&headers, &body)?;
    let listings = [listing("a", &asked.a)?, listing("b", &asked.b)?];
    let admin = admin(&site)?;
    let decided = writing(&admin.clone(), move || {
        let _deciding = admin.deciding.lock().unwrap_or_else(PoisonError::into_inner);
        let change = decisions::withdraw(&*admin.log, &admin.config, listings).map_err(|error| problem(&error))?;
        write(&admin, &identity, "withdraw", json!(asked), change)
    })
    .await?;
    fresh(&decided)
}

fn listing(field: &str, text: &str) -> Result<ListingRef, Problem> {
    parse_listing(text).map_err(|reason| invalid(format!("`{field}`: {text:?}: {reason}.")))
}

fn write(
    admin: &Admin,
    identity: &Identity,
    action: &str,
    request: serde_json::Value,
    change: Change,
) -> Result<Decided, Problem> {
    let Change { decided, records } = change;
    let act =
        Act { who: identity.who(), action, request, before: json!(decided.replaced), after: json!(decided.decision) };
    admin.write(records, &act).map_err(|error| unknown(&error))?;
    Ok(decided)
}

fn problem(error: &DecideError) -> Problem {
    match error {
        DecideError::OneListing => invalid(format!("{error}.")),
        DecideError::NoDecision { .. } | DecideError::NoModeration { .. } => Problem::not_found(format!("{error}.")),
        DecideError::Tool(error) => Problem::fault(error),
    }
}
