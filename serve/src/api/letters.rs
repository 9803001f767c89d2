//! Dead letters: listed, counted, shown and replayed.

use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use headwater::config::topic;
use headwater::tools::dead_letters::{
    Filter, LetterId, LettersError, ListOptions, ReplayOptions, ShowForm, Shown, Standing, find, replay as put_back,
    show,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::body::{Small, admin, blocking, fresh, invalid, json as body_json, writing};
use super::endpoints::OF_LETTERS;
use super::operate::{since, tallies};
use super::problem::Problem;
use super::query::Query;
use crate::access::Identity;
use crate::admin::{Act, Admin, letters::hint};
use crate::site::Site;

/// Dead letters of an answer unless told otherwise.
const LIMIT: usize = 50;

/// Lists them, the newest first.
pub(super) async fn list(State(site): State<Site>, RawQuery(text): RawQuery) -> Result<Response, Problem> {
    let text = text.unwrap_or_default();
    let mut query = Query::new(&text, OF_LETTERS)?;
    let standing = query.word("state").map(|state| match state.as_str() {
        "replayed" => Standing::Replayed,
        "parked" => Standing::Parked,
        _ => Standing::New,
    });
    let filter = Filter {
        codes: query.values("code"),
        sources: query.values("source"),
        since_ms: since(&mut query),
        ..Filter::default()
    };
    let limit = query.integer("limit").unwrap_or(LIMIT);
    let offset = query.integer("offset").unwrap_or(0);
    query.finish()?;
    let admin = admin(&site)?;
    let options = ListOptions { filter, standing, limit: Some(offset + limit), ..ListOptions::default() };
    let (letters, total) = blocking(move || {
        if !is_there(&admin)? {
            return Ok((Vec::new(), 0));
        }
        let (found, total) = find(&*admin.log, &admin.config, &options).map_err(|error| problem(&error))?;
        let page = found.iter().skip(offset).map(|(letter, standing)| Shown::of(letter, *standing));
        let page: Result<Vec<Value>, _> = page.map(serde_json::to_value).collect();
        Ok((page.map_err(|error| Problem::internal(&error))?, total))
    })
    .await?;
    fresh(&json!({ "deadLetters": letters, "total": total }))
}

fn is_there(admin: &Admin) -> Result<bool, Problem> {
    let topic = admin.config.full_name(topic::DEAD_LETTERS);
    Ok(admin.log.watermarks(&topic).map_err(|error| Problem::fault(&error))?.is_some())
}

/// A count with what to change.
#[derive(Serialize)]
struct Group {
    #[serde(flatten)]
    tally: headwater::tools::dead_letters::Tally,
    hint: Option<&'static str>,
}

/// Counts them by code and source.
pub(super) async fn summary(State(site): State<Site>) -> Result<Response, Problem> {
    let admin = admin(&site)?;
    let groups: Vec<Group> = blocking(move || tallies(&admin))
        .await?
        .into_iter()
        .map(|tally| Group { hint: hint(&tally.code), tally })
        .collect();
    fresh(&json!({ "groups": groups }))
}

/// Shows one of them.
pub(super) async fn one(
    State(site): State<Site>,
    Path((partition, offset)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let name = format!("{partition}/{offset}");
    let none = || Problem::not_found(format!("There is no dead letter {name:?}."));
    let id: LetterId = name.parse().map_err(|_| none())?;
    let admin = admin(&site)?;
    let shown = blocking(move || {
        let mut text = Vec::new();
        match show(&*admin.log, &admin.config, id, ShowForm::Json, &mut text) {
            Ok(()) => serde_json::from_slice::<Value>(&text).map_err(|error| Problem::internal(&error)),
            Err(error) => Err(problem(&error)),
        }
    })
    .await?;
    let hint = shown["code"].as_str().and_then(hint);
    let mut shown = shown;
    shown["hint"] = hint.into();
    fresh(&shown)
}

/// The body of a replay.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct Replay {
    ids: Vec<String>,
    code: Vec<String>,
    source: Vec<String>,
    limit: Option<usize>,
    dry_run: bool,
    again: bool,
    parked: bool,
    force: bool,
    yes: bool,
}

/// Replays them, or says what that would do.
pub(super) async fn replay(
    State(site): State<Site>,
    Extension(identity): Extension<Identity>,
    headers: HeaderMap,
    Small(body): Small,
) -> Result<Response, Problem> {
    let asked: Replay = body_json(&headers, &body)?;
    let ids = asked.ids.iter().map(|id| id.parse().map_err(|reason| invalid(format!("{id:?}: {reason}."))));
    let ids = ids.collect::<Result<Vec<LetterId>, _>>()?;
    let admin = admin(&site)?;
    let replayed = writing(&admin.clone(), move || {
        let Replay { limit, dry_run, again, parked, force, yes, .. } = asked;
        let filter = Filter { ids, codes: asked.code.clone(), sources: asked.source.clone(), ..Filter::default() };
        let options = ReplayOptions { filter, limit, again, parked, force, dry_run, yes, ..ReplayOptions::default() };
        // It goes on when the client goes, and ends with the server: each record is put back once, whatever happens.
        let examine = admin.examine.as_deref();
        let replayed = put_back(&*admin.log, &admin.config, examine, &options, &admin.stop);
        if !dry_run {
            let after = match &replayed {
                Ok(replayed) => json!(replayed),
                Err(error) => json!({ "error": error.to_string() }),
            };
            let (who, request) = (identity.who(), json!(asked));
            let audited = admin.write(Vec::new(), &Act { who, action: "replay", request, before: Value::Null, after });
            if let Err(error) = audited {
                tracing::error!(%error, who, "a replay is not on the topic audit");
            }
        }
        replayed.map_err(|error| problem(&error))
    })
    .await?;
    fresh(&replayed)
}

fn problem(error: &LettersError) -> Problem {
    match error {
        LettersError::NoLetter { .. } => Problem::not_found(format!("{error}.")),
        LettersError::NeedsConsent { .. } => {
            Problem::new(StatusCode::CONFLICT, "needs-consent", format!("{error}; `yes` consents to that."))
        }
        other => Problem::fault(other),
    }
}
