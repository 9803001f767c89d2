//! Commands: from bodies of requests to records, which the engine is going to take.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use bytes::Bytes;
use headwater::log::NewRecord;
use headwater_flow::{Origin, RawRecord};
use headwater_serve::api::problem::Problem;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::write::Writing;
use crate::model::Command;

/// The fields of a body in JSON, as they were written.
pub(super) type Fields = BTreeMap<String, Box<RawValue>>;

/// It cannot be done, because of what the client has sent.
pub(super) fn unusable(detail: impl Into<String>) -> Problem {
    Problem::with_code(StatusCode::UNPROCESSABLE_ENTITY, "invalid-command", detail)
}

/// Sets a field that the address gives.
pub(super) fn set(fields: &mut Fields, name: &str, value: &impl Serialize) -> Result<(), Problem> {
    let value = to_raw_value(value).map_err(|error| Problem::internal(&error))?;
    match fields.insert(name.to_owned(), value) {
        None => Ok(()),
        Some(_) => Err(unusable(format!("{name} is given by the address"))),
    }
}

/// The record of a command with these fields. It is checked as the engine will do it.
///
/// # Errors
/// What is wrong with it.
pub(super) fn command(writing: &Writing, kind: &str, key: &str, mut fields: Fields) -> Result<NewRecord, Problem> {
    set(&mut fields, "type", &kind)?;
    let value = serde_json::to_vec(&fields).map_err(|error| Problem::internal(&error))?;
    let record = RawRecord {
        origin: Origin::default(),
        source: None,
        content_type: None,
        key: Some(key.as_bytes().to_vec()),
        value: Some(value),
        headers: Vec::new(),
    };
    Command::read(&record).map_err(|unusable_for| unusable(unusable_for.reason))?;
    Ok(writing.command(key, Bytes::from(record.value.unwrap_or_default())))
}

/// The command `kind` on a job.
pub(super) fn of_job(writing: &Writing, kind: &str, id: &str, mut fields: Fields) -> Result<NewRecord, Problem> {
    set(&mut fields, "id", &id)?;
    command(writing, kind, id, fields)
}
