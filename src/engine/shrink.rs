//! What becomes of a record that the log finds too large.

use std::sync::Arc;

use bytes::Bytes;
use headwater_flow::DeadLetterCode;

use super::error::EngineError;
use crate::dataflow::dead_letter::{self, header};
use crate::log::{LogError, NewRecord};

/// Turns a table record into a tombstone and returns the dead letter that says so; halves a
/// dead letter in place. An error where neither is possible.
pub(super) fn shrink(
    record: &mut NewRecord,
    letters: &Arc<str>,
    too_large: LogError,
) -> Result<Option<NewRecord>, EngineError> {
    let value = record.value.take().filter(|value| !value.is_empty());
    let is_letter = record.topic == *letters;
    let Some(mut value) = value else {
        let before = record.headers.len();
        record.headers.retain(|(name, _)| name.starts_with(header::PREFIX));
        record.value = Some(Bytes::new());
        return if is_letter && record.headers.len() < before { Ok(None) } else { Err(too_large.into()) };
    };
    if is_letter {
        value.truncate(value.len() / 2);
        record.value = Some(value);
        record.headers.retain(|(name, _)| name != header::EXCERPT);
        record.headers.push((header::EXCERPT.to_owned(), b"true".to_vec()));
        return Ok(None);
    }
    Ok(Some(NewRecord {
        topic: Arc::clone(letters),
        key: record.key.clone(),
        headers: dead_letter::of_output(&record.topic, DeadLetterCode::OUTPUT_TOO_LARGE, too_large.to_string()),
        value: Some(value),
        timestamp_ms: None,
    }))
}
