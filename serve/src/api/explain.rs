//! Why the listings of an event are one, and where each of its fields comes from.

use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::endpoints::OF_EVENT;
use super::event::{self, Known};
use super::problem::Problem;
use super::query::Query;
use super::{moved_to, reach, ready};
use crate::site::Site;

/// Which listings an event has, by which edges, and whence each field.
pub(super) async fn explain(
    State(site): State<Site>,
    Path(id): Path<String>,
    RawQuery(text): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let hub = &site.hub;
    let text = text.unwrap_or_default();
    let mut query = Query::new(&text, OF_EVENT)?;
    let at_least = query.position("at_least", hub.live().lineage());
    query.finish()?;
    ready(hub)?;
    reach(hub, at_least).await?;
    let (commit, known) = event::look_up(hub.live(), &id).map_err(|error| Problem::internal(&error))?;
    let event: Value = match known {
        Known::Event(json) => serde_json::from_str(&json).map_err(|error| Problem::internal(&error))?,
        Known::Redirect(to) => {
            return Ok((StatusCode::PERMANENT_REDIRECT, moved_to(&to, "/explain")).into_response());
        }
        Known::Nothing => return Err(Problem::not_found(format!("There is no event {id:?}."))),
    };
    let body = serde_json::to_vec(&explained(&event)).map_err(|error| Problem::internal(&error))?;
    let position = hub.live().position(commit);
    Ok(Answer { position, content_type: "application/json", body, link: None }.respond(&headers))
}

fn explained(event: &Value) -> Value {
    let members = event["members"].as_array().map(Vec::as_slice).unwrap_or_default();
    let name = |listing: &Value| json!({ "source": listing["source"], "externalId": listing["externalId"] });
    let edges: Vec<Value> = members
        .iter()
        .filter(|member| !member["link"]["via"].is_null())
        .map(|member| {
            let link = &member["link"];
            json!({
                "a": name(member), "b": name(&link["via"]), "similarity": link["similarity"],
                "contributions": link["contributions"], "decisions": link["decisions"],
            })
        })
        .collect();
    let fields = event["fieldSources"].as_object().into_iter().flatten().map(|(field, number)| {
        let listing = number.as_u64().and_then(|number| event["listings"].get(number as usize));
        (field.clone(), json!({ "value": value_of(event, field), "from": listing.map(name) }))
    });
    json!({
        "id": event["id"],
        "title": event["title"],
        "listings": members.iter().map(name).collect::<Vec<_>>(),
        "edges": edges,
        "fields": fields.collect::<Map<String, Value>>(),
        "gates": event["gates"],
        "moderation": event["moderation"],
    })
}

/// The value of a field; its name may be that of a part, such as `venue.name`.
fn value_of<'e>(event: &'e Value, field: &str) -> &'e Value {
    field.split('.').fold(event, |value, part| &value[part])
}
