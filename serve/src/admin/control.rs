//! The topic `control`: configuration that changes while a topology runs.
//!
//! A record is taken in by the same type as the topology reads it by, so that what is refused there is refused here.
//! Which gates are in force is for the topology to say: its state `gates` holds what the last readable record of
//! each key sets, also where compaction has removed that record. Of those the one that was written last counts.

use std::collections::BTreeMap;

use headwater::config::Runtime;
use headwater::dataflow::buffer::json;
use headwater::log::{Log, LogError, LogRecord, NewRecord, read_to_end};
use headwater::schema::Versioned;
use headwater_flow::{LogPosition, Positioned};
use headwater_operators::score::{Control, Gates, GatesPatch};
use serde::Serialize;
use serde_json::Value;

/// The topic of such records, without the prefix.
const CONTROL: &str = "control";

/// The state of the topology, without the prefix.
const GATES: &str = "gates";

/// A record that the topic holds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ControlRecord {
    key: String,
    partition: i32,
    offset: i64,
    /// What it says, as it was written; a text where that is no JSON.
    value: Value,
    /// Why it changes nothing, if that is so.
    problem: Option<String>,
}

/// The gates in force.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InForce {
    /// All of them.
    gates: GatesPatch,
    /// The key of the record that is laid over the configuration, if there is one.
    set_by: Option<String>,
    /// The keys of the configuration that it sets, and which have no effect for as long.
    overridden: Vec<String>,
}

/// What the topic holds, and what of it is in force.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Controls {
    records: Vec<ControlRecord>,
    /// As of the last commit; `None` where the configuration is not known.
    in_force: Option<InForce>,
}

/// Reads all of it. `configured` is what records are laid over.
///
/// # Errors
/// When the log fails.
pub(crate) fn controls(log: &dyn Log, config: &Runtime, configured: Option<&Gates>) -> Result<Controls, LogError> {
    let records = latest(log, &config.full_name(CONTROL))?.into_values().map(control_record).collect();
    let in_force = match configured {
        Some(configured) => Some(in_force(newest(log, &config.full_name(GATES))?, configured)),
        None => None,
    };
    Ok(Controls { records, in_force })
}

/// What the record of a key says; `None` where there is none.
///
/// # Errors
/// When the log fails.
pub(crate) fn said(log: &dyn Log, config: &Runtime, key: &str) -> Result<Option<Value>, LogError> {
    let found = latest(log, &config.full_name(CONTROL))?.remove(key.as_bytes());
    Ok(found.map(|record| value(&record)))
}

/// The record that says `control` under a key, or that takes back what was said.
pub(crate) fn record(config: &Runtime, key: &str, control: Option<&Value>) -> NewRecord {
    NewRecord {
        topic: config.full_name(CONTROL).into(),
        key: Some(key.as_bytes().to_vec().into()),
        value: control.map(json),
        headers: Vec::new(),
        timestamp_ms: None,
    }
}

/// Makes the topic where it is missing.
///
/// # Errors
/// When the log fails.
pub(crate) fn ensure_topic(log: &dyn Log, config: &Runtime) -> Result<(), LogError> {
    log.ensure_topics(&[config.topic_spec(CONTROL)])
}

/// The latest record of every key of a topic; empty where there is no such topic.
fn latest(log: &dyn Log, topic: &str) -> Result<BTreeMap<Vec<u8>, LogRecord>, LogError> {
    let mut table = BTreeMap::new();
    read_to_end(log, topic, |record| -> Result<(), LogError> {
        match (&record.key, &record.value) {
            (Some(key), Some(_)) => drop(table.insert(key.clone(), record)),
            (Some(key), None) => drop(table.remove(key)),
            (None, _) => {}
        }
        Ok(())
    })?;
    Ok(table)
}

fn value(record: &LogRecord) -> Value {
    let bytes = record.value.as_deref().unwrap_or_default();
    serde_json::from_slice(bytes).unwrap_or_else(|_| String::from_utf8_lossy(bytes).into_owned().into())
}

fn control_record(record: LogRecord) -> ControlRecord {
    let read = serde_json::from_slice::<Control>(record.value.as_deref().unwrap_or_default());
    ControlRecord {
        key: String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned(),
        partition: record.partition,
        offset: record.offset,
        value: value(&record),
        problem: read.err().map(|error| error.to_string()),
    }
}

/// What the topology keeps of the record that was written last, and its key.
fn newest(log: &dyn Log, topic: &str) -> Result<Option<(String, Control)>, LogError> {
    let kept = latest(log, topic)?.into_iter().filter_map(|(key, record)| {
        let state: Versioned<Positioned<Control>> = serde_json::from_slice(record.value.as_deref()?).ok()?;
        Some((state.value.position, String::from_utf8_lossy(&key).into_owned(), state.value.value))
    });
    let newest = kept.max_by_key(|(position, key, _): &(LogPosition, String, Control)| (*position, key.clone()));
    Ok(newest.map(|(_, key, control)| (key, control)))
}

fn in_force(newest: Option<(String, Control)>, configured: &Gates) -> InForce {
    let (set_by, set) = newest.map(|(key, control)| (Some(key), control.gates)).unwrap_or_default();
    InForce {
        gates: GatesPatch::from(&set.over(configured)),
        set_by,
        overridden: set.keys().iter().map(|key| format!("score.{key}")).collect(),
    }
}

#[cfg(test)]
mod tests {
    use headwater_operators::listing::Ratio;

    use super::*;

    #[test]
    fn a_record_is_laid_over_the_configuration() {
        let configured = Gates { pass: Ratio::new(0.4), ..Gates::default() };
        assert_eq!(in_force(None, &configured).gates.over(&Gates::default()), configured);
        let control: Control = serde_json::from_str(r#"{"gates": {"grades": {"b": 0.85}}}"#).unwrap();
        let found = in_force(Some(("desk".to_owned(), control)), &configured);
        assert_eq!((found.gates.pass, found.gates.grades.b), (Some(Ratio::new(0.4)), Some(Ratio::new(0.85))));
        assert_eq!(
            (found.set_by.as_deref(), &found.overridden[..]),
            (Some("desk"), &["score.grades.b".to_owned()][..])
        );
    }
}
