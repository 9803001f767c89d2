//! Schedules: when which job is submitted.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use headwater_serve::api::body::{Small, fresh, json};
use headwater_serve::api::problem::Problem;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::answer::accepted;
use super::command::{Fields, of_job};
use super::site::Site;
use super::store::State as Known;
use crate::model::{Schedule, ScheduleRow, check_id};

/// The longest name of a schedule in bytes: the ids of its jobs begin with it.
const LONGEST_NAME: usize = 100;

/// A schedule as it is told.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'s> {
    name: &'s str,
    /// As it was written; `None` where it cannot be read.
    definition: Option<&'s RawValue>,
    next: Option<Timestamp>,
    last_job: Option<&'s Arc<str>>,
    decided: Option<Timestamp>,
    submitted: u64,
    skipped: u64,
}

fn told<'s>(state: &'s Known, name: &'s str, definition: &'s Bytes) -> Told<'s> {
    let row: Option<&ScheduleRow> = state.schedule_rows.get(name);
    Told {
        name,
        definition: serde_json::from_slice(definition).ok(),
        next: row.and_then(|row| row.next),
        last_job: row.and_then(|row| row.last_job.as_ref()),
        decided: row.map(|row| row.decided),
        submitted: row.map_or(0, |row| row.submitted),
        skipped: row.map_or(0, |row| row.skipped),
    }
}

fn unknown(name: &str) -> Problem {
    Problem::not_found(format!("There is no schedule {name:?}."))
}

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::with_code(StatusCode::UNPROCESSABLE_ENTITY, "invalid-schedule", detail)
}

/// `GET /api/schedules`.
pub(super) async fn all(State(site): State<Site>) -> Result<Response, Problem> {
    let state = site.ready()?.read();
    let all = state.schedules.iter().map(|(name, definition)| told(&state, name, definition));
    fresh(&all.collect::<Vec<_>>())
}

/// `GET /api/schedules/{name}`.
pub(super) async fn one(State(site): State<Site>, Path(name): Path<String>) -> Result<Response, Problem> {
    let state = site.ready()?.read();
    let (name, definition) = state.schedules.get_key_value(name.as_str()).ok_or_else(|| unknown(&name))?;
    fresh(&told(&state, name, definition))
}

/// `PUT /api/schedules/{name}`.
pub(super) async fn put(
    State(site): State<Site>,
    Path(name): Path<String>,
    headers: HeaderMap,
    Small(body): Small,
) -> Result<Response, Problem> {
    check_id(&name).map_err(|wrong| invalid(format!("the name of a schedule: {wrong}")))?;
    if name.len() > LONGEST_NAME {
        return Err(invalid(format!("the name has {} bytes; {LONGEST_NAME} are possible", name.len())));
    }
    let definition: Box<RawValue> = json(&headers, &body)?;
    let schedule: Schedule = serde_json::from_str(definition.get()).map_err(|error| invalid(error.to_string()))?;
    let calendar = schedule.calendar(&name).map_err(invalid)?;
    site.ready()?;
    let value = Bytes::from(definition.get().as_bytes().to_vec());
    site.writing.write(vec![site.writing.schedule(&name, Some(value))]).await?;
    let next = if schedule.paused { None } else { calendar.next_after(Timestamp::now()) };
    Ok(accepted(json!({"name": name, "next": next})))
}

/// `DELETE /api/schedules/{name}`.
pub(super) async fn delete(State(site): State<Site>, Path(name): Path<String>) -> Result<Response, Problem> {
    if !site.ready()?.read().schedules.contains_key(name.as_str()) {
        return Err(unknown(&name));
    }
    site.writing.write(vec![site.writing.schedule(&name, None)]).await?;
    Ok(accepted(json!({"name": name})))
}

/// `POST /api/schedules/{name}/run`.
pub(super) async fn run(State(site): State<Site>, Path(name): Path<String>) -> Result<Response, Problem> {
    #[derive(Deserialize)]
    struct Scheduled {
        job: Fields,
    }
    let definition = site.ready()?.read().schedules.get(name.as_str()).cloned();
    let definition = definition.ok_or_else(|| unknown(&name))?;
    let Scheduled { mut job } = serde_json::from_slice(&definition)
        .map_err(|error| invalid(format!("the schedule cannot be read: {error}")))?;
    job.remove("type");
    // With milliseconds, which the times of a schedule do not have: the job is not that of such a time.
    let id = format!("{name}@{:.3}", Timestamp::now());
    site.writing.write(vec![of_job(&site.writing, "submit", &id, job)?]).await?;
    Ok(accepted(json!({"id": id})))
}
