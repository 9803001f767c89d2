//! What reaches the scheduler's worker, from others by their threads or, between processes, as bytes.

use std::sync::Arc;

use headwater_flow::RawRecord;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::model::{Command, Job, ScheduleRow, ScheduleText};
use crate::scheduler::QueueTold;

/// What reaches the scheduler.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Message {
    Command(Box<Received>),
    Job(Box<AsJson<Job>>),
    Queue(Arc<str>, QueueTold),
    ScheduleRow(AsJson<ScheduleRow>),
    Schedule(Arc<str>, ScheduleText, isize),
}

/// A command with its record. Between processes only the record passes, and is read again.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) command: Command,
    pub(crate) record: RawRecord,
}

impl Serialize for Received {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.record.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Received {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let record = RawRecord::deserialize(deserializer)?;
        let command = Command::read(&record).map_err(|unusable| de::Error::custom(unusable.reason))?;
        Ok(Self { command, record })
    }
}

/// What passes between processes as JSON, whatever the format around it: for types that a format without names of
/// fields cannot hold.
#[derive(Debug, Clone)]
pub(crate) struct AsJson<T>(pub(crate) T);

impl<T: Serialize> Serialize for AsJson<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::to_string(&self.0).map_err(ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for AsJson<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        serde_json::from_str(&text).map(Self).map_err(de::Error::custom)
    }
}
