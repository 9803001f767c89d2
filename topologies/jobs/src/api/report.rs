//! Reports: what a worker says of a lease.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use headwater_serve::api::body::{Small, fresh, json};
use headwater_serve::api::problem::Problem;
use serde::Deserialize;
use serde_json::json;

use super::answer::accepted;
use super::command::{Fields, of_job, unusable};
use super::jobs;
use super::lease::{BEHIND, Standing, heartbeat_of, standing};
use super::site::Site;
use super::workers::{Due, Holding};
use crate::model::Phase;

/// What ends a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Complete,
    Fail,
    Release,
}

impl End {
    fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Fail => "fail",
            Self::Release => "release",
        }
    }
}

fn lease_of(fields: &Fields) -> Result<u32, Problem> {
    let lease = fields.get("lease").ok_or_else(|| unusable("the number of the `lease` is missing"))?;
    serde_json::from_str(lease.get()).map_err(|error| unusable(format!("lease: {error}")))
}

/// Waits until a job is known, for a while: another server may have given it away that has read more.
async fn until_known(site: &Site, id: &str) {
    let (mut bell, mut stopping) = (site.store.jobs.listen(id), site.stopping());
    let known = async { while site.store.read().job(id).is_none() && bell.changed().await.is_ok() {} };
    tokio::select! {
        _ = tokio::time::timeout(BEHIND, known) => {}
        _ = stopping.wait_for(|stop| *stop) => {}
    }
}

/// There is no such job, unless everything is being read again just now.
fn unknown(site: &Site, id: &str) -> Problem {
    site.ready().err().unwrap_or_else(|| jobs::unknown(id))
}

fn stale(id: &str, lease: u32) -> Problem {
    let detail =
        format!("The lease {lease} of the job {id:?} is in force no more. What was done under it does not count.");
    Problem::with_code(StatusCode::CONFLICT, "stale-lease", detail)
}

/// `POST /api/jobs/{id}/complete`, `fail` and `release`.
pub(super) async fn end(
    kind: End,
    State(site): State<Site>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Small(body): Small,
) -> Result<Response, Problem> {
    let fields: Fields = json(&headers, &body)?;
    let lease = lease_of(&fields)?;
    let store = site.ready()?;
    let record = of_job(&site.writing, kind.name(), &id, fields)?;
    until_known(&site, &id).await;
    let stands = {
        let state = store.read();
        let entry = state.job(&id);
        let is_done = entry.is_some_and(|entry| entry.head.phase == Phase::Done && entry.head.lease_number == lease);
        // The same was said before, and its answer was lost.
        if is_done && kind == End::Complete {
            return fresh(&json!({"id": id, "phase": Phase::Done}));
        }
        standing(entry, lease, None)
    };
    match stands {
        Standing::Unknown => return Err(unknown(&site, &id)),
        Standing::Over => return Err(stale(&id, lease)),
        Standing::InForce { .. } | Standing::Ahead => {}
    }
    let of = (id, lease);
    // One that is still being written may come to nothing, as its client may have gone: it is written again. The engine
    // takes the first one.
    if !site.workers.has_written_report(&of) {
        site.workers.report(&of);
        if let Err(error) = site.writing.write(vec![record]).await {
            site.workers.unreport(&of);
            return Err(error.into());
        }
        site.workers.report_written(of.clone());
    }
    Ok(accepted(json!({"id": of.0})))
}

/// What a worker says with a heartbeat.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Beating {
    lease: u32,
    #[serde(default)]
    progress: Option<f64>,
    #[serde(default)]
    message: Option<String>,
}

/// `POST /api/jobs/{id}/heartbeat`.
pub(super) async fn heartbeat(
    State(site): State<Site>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Small(body): Small,
) -> Result<Response, Problem> {
    let Beating { lease, progress, message } = json(&headers, &body)?;
    let store = site.ready()?;
    let holding = Holding { id: id.clone(), lease, progress, message };
    let record = heartbeat_of(&site, &holding)?;
    until_known(&site, &id).await;
    let (stands, held) = {
        let state = store.read();
        let entry = state.job(&id);
        (standing(entry, lease, None), entry.and_then(|entry| entry.head.lease.clone()))
    };
    let held = match (stands, held) {
        (Standing::Unknown, _) => return Err(unknown(&site, &id)),
        (Standing::InForce { .. }, Some(held)) => held,
        (stands, _) => {
            let is_lost = stands != Standing::Ahead;
            return fresh(&json!({"cancel": false, "lost": is_lost, "until": null}));
        }
    };
    if site.workers.beat_by_itself(&holding, &held) == Due::Now
        && let Err(error) = site.writing.write(vec![record]).await
    {
        site.workers.unbeat(&id);
        return Err(error.into());
    }
    fresh(&json!({"cancel": held.cancelling, "lost": false, "until": held.until}))
}
