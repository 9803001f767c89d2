//! Decisions of people on pairs of listings, and of editors on events.

use std::sync::PoisonError;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use headwater_operators::resolve::{ListingRef, Moderation};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::body::{Small, admin, blocking, fresh, invalid, json as body_json, unknown, writing};
use super::endpoints::OF_DECISIONS;
use super::event::{self, Named};
use super::problem::Problem;
use super::query::Query;
use super::ready;
use crate::access::Identity;
use crate::admin::{Act, Admin};
use crate::decisions::{self, Change, DecideError, Decided, NewDecision, NewModeration, Say, parse_listing};
use crate::site::Site;

/// The most bytes of a reason.
const LONGEST_REASON: usize = 2_000;

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
    check_reason(asked.because.as_deref())?;
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

/// A reason is written to a record for each listing, and again to the topic `audit`.
fn check_reason(because: Option<&str>) -> Result<(), Problem> {
    match because {
        Some(reason) if reason.len() > LONGEST_REASON => {
            Err(invalid(format!("`because` has {} bytes, and {LONGEST_REASON} are the most.", reason.len())))
        }
        _ => Ok(()),
    }
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

/// The body of an editor's word on an event.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Moderate {
    event: String,
    moderation: Said,
    because: Option<String>,
}

/// What an editor says of an event.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
enum Said {
    Approved,
    Flagged,
    Rejected,
    /// What was said before is taken back.
    None,
}

impl Said {
    fn moderation(self) -> Option<Moderation> {
        match self {
            Self::Approved => Some(Moderation::Approved),
            Self::Flagged => Some(Moderation::Flagged),
            Self::Rejected => Some(Moderation::Rejected),
            Self::None => None,
        }
    }
}

/// Approves, flags or rejects an event, or takes that back: one record for each of its listings.
pub(super) async fn moderate(
    State(site): State<Site>,
    Extension(identity): Extension<Identity>,
    headers: HeaderMap,
    Small(body): Small,
) -> Result<Response, Problem> {
    let asked: Moderate = body_json(&headers, &body)?;
    check_reason(asked.because.as_deref())?;
    let admin = admin(&site)?;
    ready(&site.hub)?;
    let listings = listings_of(&site, &asked.event)?;
    let decided = writing(&admin.clone(), move || {
        let _deciding = admin.deciding.lock().unwrap_or_else(PoisonError::into_inner);
        let changes = match asked.moderation.moderation() {
            Some(moderation) => {
                let (who, why) = (identity.who().to_owned(), asked.because.clone());
                let at_ms = jiff::Timestamp::now().as_millisecond();
                let new = NewModeration { moderation, listings, who, why, at_ms };
                decisions::moderate(&*admin.log, &admin.config, new)
            }
            None => decisions::unmoderate(&*admin.log, &admin.config, &listings),
        };
        write_all(&admin, &identity, json!(asked), changes.map_err(|error| problem(&error))?)
    })
    .await?;
    fresh(&json!({ "decided": decided }))
}

/// The listings of an event.
fn listings_of(site: &Site, id: &str) -> Result<Vec<ListingRef>, Problem> {
    match event::listings(site.hub.live(), id).map_err(|error| Problem::internal(&error))? {
        Named::Event(listings) => Ok(listings.into_iter().map(ListingRef::from).collect()),
        // Whoever decides has not seen what the other event is.
        Named::Redirect(to) => {
            let detail = format!("The event {id:?} is now a part of {to:?}: look at that one.");
            Err(Problem::new(StatusCode::CONFLICT, "refused", detail))
        }
        Named::Nothing => Err(Problem::not_found(format!("There is no event {id:?}."))),
    }
}

/// Writes changes of editors' words in one transaction.
fn write_all(
    admin: &Admin,
    identity: &Identity,
    request: serde_json::Value,
    changes: Vec<Change>,
) -> Result<Vec<Decided>, Problem> {
    let (decided, records): (Vec<_>, Vec<_>) =
        changes.into_iter().map(|change| (change.decided, change.records)).unzip();
    let before: Vec<_> = decided.iter().flat_map(|one| &one.replaced).collect();
    let after: Vec<_> = decided.iter().filter_map(|one| one.decision.as_ref()).collect();
    let act = Act { who: identity.who(), action: "moderate", request, before: json!(before), after: json!(after) };
    admin.write(records.concat(), &act).map_err(|error| unknown(&error))?;
    Ok(decided)
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
