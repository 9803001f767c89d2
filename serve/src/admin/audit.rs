//! Writes, each in one transaction with a record of who has written what, on the topic `audit`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use headwater::config::{Runtime, topic};
use headwater::dataflow::buffer::json;
use headwater::error::{Failure, Fatal, Fault, Transient};
use headwater::log::{Log, LogError, NewRecord, Transaction, Transactional};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

/// How long a write is tried again while the log is away.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long to wait between two attempts.
const PAUSE: Duration = Duration::from_millis(200);

/// Replicas share a writer's id, so each may find it taken by another one: so often it is taken back.
const MOST_REOPENINGS: u32 = 5;

/// Something that somebody does.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Act<'a> {
    /// The name of the key, or `anonymous`.
    pub(crate) who: &'a str,
    /// What is done, such as `decide`.
    pub(crate) action: &'a str,
    /// What was asked for.
    pub(crate) request: Value,
    /// What was there before.
    pub(crate) before: Value,
    /// What is there from then on.
    pub(crate) after: Value,
}

/// A record of the topic `audit`.
#[derive(Serialize)]
struct Entry<'a> {
    format: u8,
    at: Timestamp,
    #[serde(flatten)]
    act: &'a Act<'a>,
}

/// Why a write may not have been made.
#[derive(Debug, thiserror::Error)]
#[error("it is not known whether it was written")]
pub(crate) struct AuditError(#[source] pub(crate) LogError);

/// The writer of all that is audited. It is opened when it is needed for the first time.
pub(super) struct Audited {
    log: Arc<dyn Log>,
    id: String,
    topic: Arc<str>,
    spec: headwater::log::TopicSpec,
    writer: Mutex<Option<Box<dyn Transactional>>>,
}

impl Audited {
    pub(super) fn new(log: Arc<dyn Log>, config: &Runtime) -> Self {
        Self {
            log,
            id: format!("{}-serve", config.name),
            topic: config.full_name(topic::AUDIT).into(),
            spec: config.topic_spec(topic::AUDIT),
            writer: Mutex::default(),
        }
    }

    pub(super) fn write(&self, records: Vec<NewRecord>, act: &Act<'_>) -> Result<(), AuditError> {
        let value = json(&Entry { format: 1, at: Timestamp::now(), act });
        let entry = NewRecord {
            topic: Arc::clone(&self.topic),
            key: None,
            value: Some(value),
            headers: Vec::new(),
            timestamp_ms: None,
        };
        let records = records.into_iter().chain([entry]).collect();
        self.commit(&Transaction { records, ..Transaction::default() })
    }

    fn commit(&self, transaction: &Transaction) -> Result<(), AuditError> {
        let mut writer: MutexGuard<'_, Option<_>> = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let deadline = Instant::now() + PATIENCE;
        let mut reopenings = 0;
        loop {
            let Err(error) = self.attempt(&mut writer, transaction) else { return Ok(()) };
            match error.judged() {
                Failure::Transient(_) if Instant::now() < deadline => {}
                // The next one begins with a new writer, which settles what this one has left.
                Failure::Transient(Transient(error)) => {
                    *writer = None;
                    return Err(AuditError(error));
                }
                Failure::Fatal(Fatal(error)) => {
                    *writer = None;
                    reopenings += 1;
                    // A fenced writer has written nothing. Of one that is lost, nobody knows.
                    let is_taken = matches!(error, LogError::Fenced { .. });
                    if !is_taken || reopenings > MOST_REOPENINGS {
                        return Err(AuditError(error));
                    }
                }
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn attempt(&self, writer: &mut Option<Box<dyn Transactional>>, transaction: &Transaction) -> Result<(), LogError> {
        if writer.is_none() {
            self.log.ensure_topics(std::slice::from_ref(&self.spec))?;
            *writer = Some(self.log.transactional(&self.id, &self.id)?);
        }
        writer.as_mut().map_or(Ok(()), |writer| writer.commit(transaction))
    }
}
