//! Jobs: looking at them, cancelling and retrying them, one or many.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use headwater::log::NewRecord;
use headwater_serve::api::body::{Small, fresh, json};
use headwater_serve::api::parameters::{Kind, Parameter};
use headwater_serve::api::problem::Problem;
use headwater_serve::api::query::Query;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::answer::{accepted, written};
use super::command::{Fields, of_job, unusable};
use super::list::{Filter, Found, Page, Text, list, scan};
use super::site::Site;
use super::store::Store;
use super::submit::MOST;
use crate::model::{Phase, check_id};

/// Jobs of a page unless it is said otherwise.
const LIMIT: usize = 50;

const fn parameter(name: &'static str, kind: Kind, about: &'static str) -> Parameter {
    Parameter { name, kind, about }
}

/// The names of phases.
const PHASES: &[&str] = &{
    let mut names = [""; Phase::ALL.len()];
    let mut number = 0;
    while number < names.len() {
        names[number] = Phase::ALL[number].name();
        number += 1;
    }
    names
};

/// The parameters of a list.
pub(super) const LIST: &[Parameter] = &[
    parameter("queue", Kind::Text, "The queue."),
    parameter("phase", Kind::SomeOf(PHASES), "Phases, one of which is to be the job's."),
    parameter("group", Kind::Text, "The group."),
    parameter("kind", Kind::Text, "What kind of work it is."),
    parameter("error", Kind::Text, "The code of the last error."),
    parameter("schedule", Kind::Text, "The schedule that submitted it."),
    parameter("q", Kind::Text, "A text in the id, the payload, the result or the error."),
    parameter("limit", Kind::Integer { least: 1, most: 500 }, "The most jobs of the answer. Default: 50."),
    parameter("cursor", Kind::Text, "`next` of the page before."),
];

/// The parameters of dead jobs by error.
pub(super) const ERRORS: &[Parameter] = &[parameter("queue", Kind::Text, "The queue.")];

fn phases(names: &[String]) -> Vec<Phase> {
    Phase::ALL.into_iter().filter(|phase| names.iter().any(|name| name == phase.name())).collect()
}

/// `GET /api/jobs`.
pub(super) async fn all(State(site): State<Site>, RawQuery(text): RawQuery) -> Result<Response, Problem> {
    let text = text.unwrap_or_default();
    let mut query = Query::new(&text, &[LIST])?;
    let searched = query.text("q");
    let filter = Filter {
        queue: query.text("queue"),
        phases: phases(&query.values("phase")),
        group: query.text("group"),
        kind: query.text("kind"),
        error: query.text("error"),
        schedule: query.text("schedule"),
        text: searched.as_deref().and_then(Text::new),
    };
    let limit = query.integer("limit").unwrap_or(LIMIT);
    let cursor = query.text("cursor").map(|cursor| cursor.parse::<u64>());
    if let Some(Err(_)) = cursor {
        query.refuse("cursor", "invalid-cursor", "It is no cursor that an answer had as `next`.");
    }
    query.finish()?;
    let before = cursor.and_then(Result::ok);
    let Page { jobs, total, next } = if filter.looks_at_jobs() {
        site.searching(move |store| list(store, &filter, before, limit)).await?
    } else {
        list(site.ready()?, &filter, before, limit)
    };
    let mut body = Vec::with_capacity(jobs.iter().map(|job| job.len() + 1).sum::<usize>() + 64);
    body.extend(b"{\"jobs\":[");
    for (number, job) in jobs.iter().enumerate() {
        body.extend(if number == 0 { b"".as_slice() } else { b"," });
        body.extend_from_slice(job);
    }
    let next = next.map_or("null".to_owned(), |next| format!("\"{next}\""));
    body.extend(format!("],\"total\":{total},\"next\":{next}}}").into_bytes());
    Ok(written(StatusCode::OK, body.into()))
}

/// The document of a job.
pub(super) fn document(store: &Store, id: &str) -> Option<Bytes> {
    store.read().job(id).map(|entry| entry.document.clone())
}

pub(super) fn unknown(id: &str) -> Problem {
    Problem::not_found(format!("There is no job {id:?}."))
}

/// `GET /api/jobs/{id}`.
pub(super) async fn one(State(site): State<Site>, Path(id): Path<String>) -> Result<Response, Problem> {
    let document = document(site.ready()?, &id).ok_or_else(|| unknown(&id))?;
    Ok(written(StatusCode::OK, document))
}

fn phase_of(site: &Site, id: &str) -> Result<Phase, Problem> {
    site.ready()?.read().job(id).map(|entry| entry.head.phase).ok_or_else(|| unknown(id))
}

/// `DELETE /api/jobs/{id}`, `POST /api/jobs/{id}/cancel`.
pub(super) async fn cancel(State(site): State<Site>, Path(id): Path<String>) -> Result<Response, Problem> {
    let phase = phase_of(&site, &id)?;
    if phase.is_settled() {
        return fresh(&json!({"id": id, "phase": phase}));
    }
    site.writing.write(vec![of_job(&site.writing, "cancel", &id, Fields::new())?]).await?;
    Ok(accepted(json!({"id": id})))
}

/// Whether a job of this phase may be retried.
fn may_retry(phase: Phase) -> bool {
    !matches!(phase, Phase::Done | Phase::Leased)
}

/// `POST /api/jobs/{id}/retry`.
pub(super) async fn retry(
    State(site): State<Site>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Small(body): Small,
) -> Result<Response, Problem> {
    let fields: Fields = if body.is_empty() { Fields::new() } else { json(&headers, &body)? };
    let phase = phase_of(&site, &id)?;
    let record = of_job(&site.writing, "retry", &id, fields)?;
    if !may_retry(phase) {
        let detail = format!("The job {id:?} is {}: it is not run again.", phase.name());
        return Err(Problem::with_code(StatusCode::CONFLICT, "not-retryable", detail));
    }
    site.writing.write(vec![record]).await?;
    Ok(accepted(json!({"id": id})))
}

/// Which jobs: these, or those that a filter finds.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Wanted {
    ids: Option<Vec<String>>,
    queue: Option<String>,
    phase: Option<Phase>,
    group: Option<String>,
    kind: Option<String>,
    error: Option<String>,
    q: Option<String>,
}

/// What is done to many jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bulk {
    Cancel,
    Retry,
}

impl Bulk {
    fn name(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Retry => "retry",
        }
    }

    /// Whether it does something to a job of this phase.
    fn applies(self, phase: Phase) -> bool {
        match self {
            Self::Cancel => !phase.is_settled(),
            Self::Retry => may_retry(phase),
        }
    }

    /// The phases of jobs to which it does something. Of many, those that wait are not retried unless it is said.
    fn phases(self, wanted: Option<Phase>) -> Vec<Phase> {
        let is_wanted = |phase: &Phase| match (wanted, self) {
            (Some(wanted), _) => wanted == *phase && self.applies(*phase),
            (None, Self::Cancel) => self.applies(*phase),
            (None, Self::Retry) => matches!(phase, Phase::Dead | Phase::Cancelled),
        };
        Phase::ALL.into_iter().filter(is_wanted).collect()
    }
}

/// `POST /api/jobs/cancel` and `POST /api/jobs/retry`.
pub(super) async fn bulk(
    bulk: Bulk,
    State(site): State<Site>,
    headers: HeaderMap,
    Small(body): Small,
) -> Result<Response, Problem> {
    let wanted: Wanted = json(&headers, &body)?;
    site.ready()?;
    let (ids, more) = match wanted {
        Wanted { ids: Some(ids), queue: None, phase: None, group: None, kind: None, error: None, q: None } => {
            (known(&site, bulk, ids)?, false)
        }
        Wanted { ids: Some(_), .. } => return Err(unusable("either ids, or a filter")),
        Wanted { queue: None, phase: None, group: None, kind: None, error: None, q: None, .. } => {
            return Err(unusable("ids are needed, or one of queue, phase, group, kind, error and q"));
        }
        wanted => found(&site, bulk, wanted).await?,
    };
    let record = |id: &Arc<str>| of_job(&site.writing, bulk.name(), id, Fields::new());
    let records: Vec<NewRecord> = ids.iter().map(record).collect::<Result<_, _>>()?;
    site.writing.write(records).await?;
    Ok(accepted(json!({"count": ids.len(), "more": more})))
}

/// Those of the ids to which it does something.
fn known(site: &Site, bulk: Bulk, ids: Vec<String>) -> Result<Vec<Arc<str>>, Problem> {
    if ids.len() > MOST {
        return Err(unusable(format!("{} ids; {MOST} are possible in a request", ids.len())));
    }
    ids.iter().try_for_each(|id| check_id(id)).map_err(unusable)?;
    let state = site.store.read();
    let heads = ids.iter().filter_map(|id| state.job(id)).map(|entry| &entry.head);
    let unique: BTreeMap<&Arc<str>, Phase> = heads.map(|head| (&head.id, head.phase)).collect();
    Ok(unique.into_iter().filter(|(_, phase)| bulk.applies(*phase)).map(|(id, _)| Arc::clone(id)).collect())
}

/// Those that a filter finds, and whether there are more than fit into a request.
async fn found(site: &Site, bulk: Bulk, wanted: Wanted) -> Result<(Vec<Arc<str>>, bool), Problem> {
    let Wanted { queue, phase, group, kind, error, q, .. } = wanted;
    let phases = bulk.phases(phase);
    if phases.is_empty() {
        return Ok((Vec::new(), false));
    }
    let text = q.as_deref().and_then(Text::new);
    let filter = Filter { queue, phases, group, kind, error, schedule: None, text };
    site.searching(move |store| {
        let (mut ids, mut more) = (Vec::new(), false);
        scan(store, &filter, |Found { id, .. }| {
            more = ids.len() == MOST;
            if !more {
                ids.push(Arc::clone(id));
            }
            !more
        });
        (ids, more)
    })
    .await
}

/// Dead jobs with one error.
#[derive(Debug, Serialize)]
struct Dead {
    queue: Arc<str>,
    code: Option<Arc<str>>,
    count: usize,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    message: String,
    example: Arc<str>,
}

/// `GET /api/jobs/errors`.
pub(super) async fn errors(State(site): State<Site>, RawQuery(text): RawQuery) -> Result<Response, Problem> {
    let text = text.unwrap_or_default();
    let mut query = Query::new(&text, &[ERRORS])?;
    let queue = query.text("queue");
    query.finish()?;
    let dead = site.searching(move |store| dead(store, queue)).await?;
    fresh(&dead)
}

fn dead(store: &Store, queue: Option<String>) -> Vec<Dead> {
    let filter = Filter { queue, phases: vec![Phase::Dead], ..Filter::default() };
    let mut groups: BTreeMap<_, (Dead, Bytes)> = BTreeMap::new();
    scan(store, &filter, |Found { id, queue, error, settled_at, document, .. }| {
        let group = groups.entry((Arc::clone(queue), error.clone())).or_insert_with(|| {
            let (queue, code, example) = (Arc::clone(queue), error.clone(), Arc::clone(id));
            let (first, last, message) = (*settled_at, *settled_at, String::new());
            (Dead { queue, code, count: 0, first, last, message, example }, document.clone())
        });
        let (dead, newest) = group;
        dead.count += 1;
        dead.first = dead.first.min(*settled_at);
        if *settled_at > dead.last {
            (dead.last, dead.example, *newest) = (*settled_at, Arc::clone(id), document.clone());
        }
        true
    });
    let told = |(dead, newest): (Dead, Bytes)| Dead { message: message_of(&newest).unwrap_or_default(), ..dead };
    let mut dead: Vec<Dead> = groups.into_values().map(told).collect();
    dead.sort_by_key(|dead| std::cmp::Reverse(dead.count));
    dead
}

/// The message of a job's last error.
fn message_of(document: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Failed {
        error: Option<crate::model::Failure>,
    }
    serde_json::from_slice::<Failed>(document).ok()?.error.map(|error| error.message)
}
