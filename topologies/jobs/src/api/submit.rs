//! Submitting jobs.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use headwater::log::NewRecord;
use headwater_serve::api::body::{Small, fresh, invalid, json};
use headwater_serve::api::parameters::{Kind, Parameter};
use headwater_serve::api::problem::Problem;
use headwater_serve::api::query::Query;
use serde::Deserialize;
use serde_json::json;

use super::answer::{accepted, written};
use super::command::{Fields, of_job, set, unusable};
use super::jobs::document;
use super::site::Site;
use crate::model::check_queue;

/// The most commands of a request.
pub(super) const MOST: usize = 10_000;

/// The parameters of a submit.
pub(super) const PARAMETERS: &[Parameter] = &[Parameter {
    name: "wait",
    kind: Kind::Number { least: 0.0, most: 30.0 },
    about: "Answers once the job is known, after so many seconds at most.",
}];

/// A body: one job, or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Submitted {
    One(Fields),
    Many(Vec<Fields>),
}

/// A job that is submitted.
struct Submission {
    id: String,
    record: NewRecord,
}

/// `POST /api/jobs/{queue}`.
pub(super) async fn submit(
    State(site): State<Site>,
    Path(queue): Path<String>,
    RawQuery(text): RawQuery,
    headers: HeaderMap,
    Small(body): Small,
) -> Result<Response, Problem> {
    let text = text.unwrap_or_default();
    let mut query = Query::new(&text, &[PARAMETERS])?;
    let wait = query.number("wait");
    let submitted = read(&headers, &body)?;
    if wait.is_some() && matches!(submitted, Submitted::Many(_)) {
        query.refuse("wait", "conflicting-parameters", "Several jobs are not waited for.");
    }
    query.finish()?;
    check_queue(&queue).map_err(unusable)?;
    site.ready()?;
    match submitted {
        Submitted::One(fields) => one(&site, &queue, fields, wait.map(Duration::from_secs_f64)).await,
        Submitted::Many(all) => many(&site, &queue, all).await,
    }
}

fn read(headers: &HeaderMap, body: &Bytes) -> Result<Submitted, Problem> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/x-ndjson") {
        // What is wrong in a job is told of the job, and not of all that it might be.
        return match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'[') => json(headers, body).map(Submitted::Many),
            _ => json(headers, body).map(Submitted::One),
        };
    }
    let lines = body.split(|byte| *byte == b'\n').zip(1..).filter(|(line, _)| !line.trim_ascii().is_empty());
    let one = |(line, number): (&[u8], usize)| {
        serde_json::from_slice(line).map_err(|error| invalid(format!("line {number}: {error}")))
    };
    lines.map(one).collect::<Result<_, _>>().map(Submitted::Many)
}

async fn one(site: &Site, queue: &str, fields: Fields, wait: Option<Duration>) -> Result<Response, Problem> {
    let store = &site.store;
    let Submission { id, record } = submission(site, queue, fields)?;
    let mut bell = store.jobs.listen(&id);
    if let Some(entry) = store.read().job(&id) {
        return fresh(&json!({"id": id, "phase": entry.head.phase, "queue": entry.head.queue}));
    }
    site.writing.write(vec![record]).await?;
    let known = async {
        loop {
            if store.read().job(&id).is_some() || bell.changed().await.is_err() {
                return;
            }
        }
    };
    if let Some(wait) = wait
        && tokio::time::timeout(wait, known).await.is_ok()
        && let Some(document) = document(store, &id)
    {
        return Ok(written(StatusCode::CREATED, document));
    }
    Ok(accepted(json!({"id": id})))
}

async fn many(site: &Site, queue: &str, all: Vec<Fields>) -> Result<Response, Problem> {
    if all.len() > MOST {
        return Err(unusable(format!("{} jobs; {MOST} are possible in a request", all.len())));
    }
    let submission = |(fields, number): (Fields, usize)| {
        submission(site, queue, fields).map_err(|mut problem| {
            problem.detail = format!("job {number}: {}", problem.detail);
            problem
        })
    };
    let all: Vec<Submission> = all.into_iter().zip(1..).map(submission).collect::<Result<_, _>>()?;
    let ids: Vec<String> = all.iter().map(|one| one.id.clone()).collect();
    let records = {
        let state = site.store.read();
        all.into_iter().filter(|one| state.job(&one.id).is_none()).map(|one| one.record).collect()
    };
    site.writing.write(records).await?;
    Ok(accepted(json!({"ids": ids})))
}

fn submission(site: &Site, queue: &str, mut fields: Fields) -> Result<Submission, Problem> {
    let id = match fields.remove("id") {
        Some(id) => serde_json::from_str(id.get()).map_err(|error| unusable(format!("id: {error}")))?,
        None => random_id()?,
    };
    set(&mut fields, "queue", &queue)?;
    let record = of_job(&site.writing, "submit", &id, fields)?;
    Ok(Submission { id, record })
}

/// 16 random bytes in hexadecimal digits.
pub(super) fn random_id() -> Result<String, Problem> {
    let mut bytes = [0; 16];
    openssl::rand::rand_bytes(&mut bytes).map_err(|error| Problem::internal(&error))?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}
