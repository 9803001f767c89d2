//! Streams: of one job, of a channel, and of all that changes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use headwater_serve::access::Identity;
use headwater_serve::api::body::{Small, json};
use headwater_serve::api::parameters::{Kind, Parameter};
use headwater_serve::api::problem::Problem;
use headwater_serve::api::query::Query;
use serde_json::json;
use serde_json::value::RawValue;

use super::answer::accepted;
use super::channels::{News, Read};
use super::command::{Fields, command, set, unusable};
use super::jobs::unknown;
use super::lease::BEHIND;
use super::queues::rows;
use super::site::Site;
use super::store::Store;
use super::stream::{Gone, Out, stream};
use crate::model::{Phase, check_channel};

/// All that changes is told at most so often.
const PAUSE: Duration = Duration::from_millis(500);

/// How often it is looked whether a position is reached.
const LOOK: Duration = Duration::from_millis(50);

/// So many jobs that have changed are named at a time.
const MOST_NAMED: usize = 1_000;

const TICKET: Parameter =
    Parameter { name: "ticket", kind: Kind::Text, about: "A ticket of POST /api/ticket, for pages of other origins." };

/// The parameters of the stream of a job.
pub(super) const JOB: &[Parameter] = &[TICKET];

/// The parameters of the stream of all that changes.
pub(super) const LIVE: &[Parameter] = &[Parameter { name: "queue", kind: Kind::Text, about: "The queue." }, TICKET];

/// The parameters of the stream of a channel.
pub(super) const CHANNEL: &[Parameter] = &[
    Parameter {
        name: "lastEventId",
        kind: Kind::Text,
        about: "The id of the last event that is known, for who cannot send the header Last-Event-ID.",
    },
    TICKET,
];

/// `GET /api/jobs/{id}/live`.
pub(super) async fn job(
    State(site): State<Site>,
    Extension(identity): Extension<Identity>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let store = Arc::clone(site.ready()?);
    if store.read().job(&id).is_none() {
        return Err(unknown(&id));
    }
    Ok(stream(&site, identity, |out| follow_job(store, id, out)))
}

async fn follow_job(store: Arc<Store>, id: String, out: Out) -> Result<(), Gone> {
    let mut bell = store.jobs.listen(&id);
    let mut sent = None;
    let mut events = 0;
    loop {
        bell.mark_unchanged();
        // While everything is read again, what a job was passes by; once it is read, all bells ring.
        if !store.is_ready() {
            bell.changed().await.map_err(|_| Gone)?;
            continue;
        }
        // Both at one moment: a job that is settled in between would be so before its last document.
        let (document, phase) = store.read().job(&id).map(|job| (job.document.clone(), job.head.phase)).unzip();
        if let Some(document) = document.filter(|document| sent.as_ref() != Some(document)) {
            events += 1;
            out.event("job", events, &document).await?;
            sent = Some(document);
        }
        // What was changed in between is looked at first.
        let has_changed = bell.has_changed().unwrap_or(false) || !store.is_ready();
        if phase.is_none_or(Phase::is_settled) && !has_changed {
            return out.event("settled", events + 1, json!({"id": id, "phase": phase}).to_string().as_bytes()).await;
        }
        bell.changed().await.map_err(|_| Gone)?;
    }
}

/// `GET /api/notifications/{channel}`.
pub(super) async fn channel(
    State(site): State<Site>,
    Extension(identity): Extension<Identity>,
    Path(channel): Path<String>,
    RawQuery(text): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let text = text.unwrap_or_default();
    let mut query = Query::new(&text, &[CHANNEL])?;
    let header = headers.get("last-event-id").and_then(|id| id.to_str().ok()).filter(|id| !id.is_empty());
    let given = query.text("lastEventId");
    let given = header.map(str::to_owned).or(given);
    let read = given.map(|given| given.parse::<Read>());
    if let Some(Err(error)) = read {
        query.refuse("lastEventId", "not-a-position", error.to_string());
    }
    query.finish()?;
    check_channel(&channel).map_err(unusable)?;
    let store = Arc::clone(site.ready()?);
    // From here on, and not from when the stream is asked for its first bytes.
    let read = read.and_then(Result::ok).unwrap_or_else(|| store.read().channels.now());
    Ok(stream(&site, identity, |out| follow_channel(store, channel, read, out)))
}

async fn follow_channel(store: Arc<Store>, channel: String, mut read: Read, out: Out) -> Result<(), Gone> {
    let mut bell = store.channels.listen(&channel);
    // Who is cut off before the first one comes back with this.
    out.position(&read).await?;
    loop {
        bell.mark_unchanged();
        // Half of a log says nothing of what is on it.
        if store.is_ready() {
            reach(&store, &read).await;
            let News { gap, found, next } = store.read().channels.after(&channel, &read);
            if let Some(position) = gap {
                out.event("gap", &position, json!({"channel": channel}).to_string().as_bytes()).await?;
            }
            for (position, document) in found {
                out.event("notification", &position, &document).await?;
            }
            read = next;
        }
        bell.changed().await.map_err(|_| Gone)?;
    }
}

/// Waits until a position is reached, for a while: one that is not may be of another log.
async fn reach(store: &Store, read: &Read) {
    let began = Instant::now();
    while !store.read().channels.has_reached(read) && began.elapsed() < BEHIND {
        tokio::time::sleep(LOOK).await;
    }
}

/// `POST /api/notifications/{channel}`.
pub(super) async fn notify(
    State(site): State<Site>,
    Path(channel): Path<String>,
    headers: HeaderMap,
    Small(body): Small,
) -> Result<Response, Problem> {
    let body: Box<RawValue> = json(&headers, &body)?;
    let mut fields = Fields::new();
    set(&mut fields, "channel", &channel)?;
    set(&mut fields, "body", &body)?;
    let record = command(&site.writing, "notify", &format!("channel:{channel}"), fields)?;
    site.ready()?;
    site.writing.write(vec![record]).await?;
    Ok(accepted(json!({"channel": channel})))
}

/// `GET /api/live`.
pub(super) async fn all(
    State(site): State<Site>,
    Extension(identity): Extension<Identity>,
    RawQuery(text): RawQuery,
) -> Result<Response, Problem> {
    let text = text.unwrap_or_default();
    let mut query = Query::new(&text, &[LIVE])?;
    let queue = query.text("queue");
    query.finish()?;
    let store = Arc::clone(site.ready()?);
    Ok(stream(&site, identity, |out| follow_all(store, queue, out)))
}

async fn follow_all(store: Arc<Store>, queue: Option<String>, out: Out) -> Result<(), Gone> {
    let mut changes = store.changes();
    let mut seen = store.read().change();
    let mut sent = String::new();
    loop {
        changes.mark_unchanged();
        if store.is_ready() {
            let (queues, jobs, now) = news(&store, queue.as_deref(), seen);
            seen = now;
            if queues != sent {
                out.event("queues", now, queues.as_bytes()).await?;
                sent = queues;
            }
            if let Some(jobs) = jobs {
                out.event("jobs", now, jobs.as_bytes()).await?;
            }
        }
        changes.changed().await.map_err(|_| Gone)?;
        tokio::time::sleep(PAUSE).await;
    }
}

/// The queues, the jobs that have changed after `seen` if there are any, and the last change. `complete` is false
/// where more have changed than are named.
fn news(store: &Store, queue: Option<&str>, seen: u64) -> (String, Option<String>, u64) {
    let state = store.read();
    let queues = json!(rows(&state, queue)).to_string();
    let changed: Option<BTreeSet<&Arc<str>>> = state
        .changed_after(seen)
        .map(|changed| changed.filter(|(_, of)| queue.is_none_or(|queue| ***of == *queue)).map(|(id, _)| id).collect());
    let jobs = match changed {
        Some(ids) if ids.is_empty() => None,
        Some(ids) => {
            let named: Vec<&Arc<str>> = ids.iter().copied().take(MOST_NAMED).collect();
            Some(json!({"ids": named, "complete": ids.len() <= MOST_NAMED}).to_string())
        }
        None => Some(json!({"ids": [], "complete": false}).to_string()),
    };
    (queues, jobs, state.change())
}
