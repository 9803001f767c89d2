//! Writing: records of many requests, and one wait for the log.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use axum::http::StatusCode;
use bytes::Bytes;
use headwater::log::{Log, LogError, NewRecord, Producer};
use headwater_serve::api::problem::Problem;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// Requests that wait for the log.
const MOST_WAITING: usize = 4_096;

/// Records that are written before the log is waited for; one request may have more.
const MOST_AT_ONCE: usize = 4_096;

/// Bytes that wait for the log, at most.
const MOST_BYTES: usize = 128 << 20;

/// Why records may not have been written.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum WriteError {
    /// The log has refused one.
    #[error("the log rejected the record")]
    Refused(#[source] Arc<LogError>),
    /// The log has failed for one of the records that were written together.
    #[error("it is not known whether the log has it")]
    Unknown,
    /// Too much waits for the log, or the server ends.
    #[error("too much waits for the log")]
    Busy,
}

impl From<WriteError> for Problem {
    fn from(error: WriteError) -> Self {
        let advice = match &error {
            WriteError::Refused(cause) => return Self::fault(&**cause),
            WriteError::Unknown => "To send it again does no harm where it names its id",
            WriteError::Busy => "Send it again later",
        };
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", format!("{error}. {advice}."))
    }
}

/// Records of a request.
struct Request {
    records: Vec<NewRecord>,
    answer: oneshot::Sender<Result<(), WriteError>>,
    /// The room that they take until the log has them, also where the client has gone.
    room: OwnedSemaphorePermit,
}

/// Writes records. Its thread ends with it.
pub(super) struct Writing {
    log: Arc<dyn Log>,
    commands: Arc<str>,
    schedules: Arc<str>,
    sender: Mutex<Option<mpsc::Sender<Request>>>,
    bytes: Arc<Semaphore>,
}

impl Writing {
    /// To the topics that begin with `prefix`.
    pub(super) fn new(log: Arc<dyn Log>, prefix: &str) -> Self {
        let full = |name: &str| format!("{prefix}{name}").into();
        let (commands, schedules) = (full("job-commands"), full("schedules"));
        Self { log, commands, schedules, sender: Mutex::default(), bytes: Arc::new(Semaphore::new(MOST_BYTES)) }
    }

    /// The record of a command.
    pub(super) fn command(&self, key: impl Into<String>, value: impl Into<Bytes>) -> NewRecord {
        record(&self.commands, key.into(), Some(value.into()))
    }

    /// The record of a schedule; without a value, it removes it.
    pub(super) fn schedule(&self, name: &str, value: Option<Bytes>) -> NewRecord {
        record(&self.schedules, name.to_owned(), value)
    }

    /// Writes records in their order, and returns once the log has them.
    pub(super) async fn write(&self, records: Vec<NewRecord>) -> Result<(), WriteError> {
        if records.is_empty() {
            return Ok(());
        }
        self.submit(records)?.await.map_err(|_| WriteError::Unknown)?
    }

    /// Hands records to the thread that writes. What is received says whether the log has them.
    fn submit(&self, records: Vec<NewRecord>) -> Result<oneshot::Receiver<Result<(), WriteError>>, WriteError> {
        let bytes = records.iter().map(NewRecord::size).sum::<usize>().min(MOST_BYTES);
        let room = Arc::clone(&self.bytes).try_acquire_many_owned(u32::try_from(bytes).unwrap_or(u32::MAX));
        let room = room.map_err(|_| WriteError::Busy)?;
        let (answer, answered) = oneshot::channel();
        let sender = self.sender().ok_or(WriteError::Busy)?;
        sender.try_send(Request { records, answer, room }).map_err(|_| WriteError::Busy)?;
        Ok(answered)
    }

    /// Writes a small record soon, without waiting for the log. Whether it is on its way.
    pub(super) fn post(&self, record: NewRecord) -> bool {
        self.submit(vec![record]).is_ok()
    }

    /// To the thread that writes, which is started with the first record.
    fn sender(&self) -> Option<mpsc::Sender<Request>> {
        let mut sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        if sender.as_ref().is_none_or(mpsc::Sender::is_closed) {
            let (to, from) = mpsc::channel(MOST_WAITING);
            let log = Arc::clone(&self.log);
            let work = move || write_all(&*log, from);
            thread::Builder::new().name("jobs-write".to_owned()).spawn(work).ok()?;
            *sender = Some(to);
        }
        sender.clone()
    }
}

fn record(topic: &Arc<str>, key: String, value: Option<Bytes>) -> NewRecord {
    NewRecord { topic: Arc::clone(topic), key: Some(key.into()), value, headers: Vec::new(), timestamp_ms: None }
}

fn write_all(log: &dyn Log, mut requests: mpsc::Receiver<Request>) {
    let mut producer: Option<Box<dyn Producer>> = None;
    while let Some(first) = requests.blocking_recv() {
        let mut size = first.records.len();
        let mut batch = vec![first];
        while size < MOST_AT_ONCE
            && let Ok(next) = requests.try_recv()
        {
            size += next.records.len();
            batch.push(next);
        }
        if !write_batch(log, &mut producer, batch)
            && let Some(failed) = producer.take()
        {
            // It may wait long for what it still holds, and nobody else is to wait with it.
            let _ = thread::Builder::new().name("former producer".to_owned()).spawn(move || drop(failed));
        }
    }
}

/// Whether the producer can be used again. A failure may be that of an earlier record, so all of the batch are told
/// of it.
fn write_batch(log: &dyn Log, producer: &mut Option<Box<dyn Producer>>, batch: Vec<Request>) -> bool {
    let opened = match producer {
        Some(producer) => Ok(producer),
        None => log.producer().map(|opened| producer.insert(opened)),
    };
    let Ok(producer) = opened else {
        batch.into_iter().for_each(|request| drop(request.answer.send(Err(WriteError::Busy))));
        return false;
    };
    let mut refused = None;
    let mut answers = Vec::with_capacity(batch.len());
    for Request { records, answer, room } in batch {
        if refused.is_none() {
            let sent = records.into_iter().try_for_each(|record| producer.send(record));
            refused = sent.err().map(|error| (answers.len(), Arc::new(error)));
        }
        answers.push((answer, room));
    }
    let works = refused.is_none() && producer.flush().is_ok();
    for (number, (answer, _room)) in answers.into_iter().enumerate() {
        let told = match &refused {
            None if works => Ok(()),
            Some((at, error)) if *at == number => Err(WriteError::Refused(Arc::clone(error))),
            _ => Err(WriteError::Unknown),
        };
        // Whoever does not wait any more has gone.
        let _ = answer.send(told);
    }
    works
}

#[cfg(test)]
mod tests {
    use headwater::log::embedded::EmbeddedLog;

    use super::*;

    #[test]
    fn records_take_their_room_also_when_the_client_has_gone() {
        let folder = tempfile::tempdir().unwrap();
        let log = Arc::new(EmbeddedLog::open(&folder.path().join("log.db")).unwrap());
        let writing = Writing::new(log, "t.");
        // In place of the thread that writes, which is slow.
        let (sender, mut waiting) = mpsc::channel(MOST_WAITING);
        *writing.sender.lock().unwrap() = Some(sender);
        let large = || vec![writing.command("a", vec![b'x'; MOST_BYTES / 3])];
        for _ in 0..2 {
            let mut write = Box::pin(writing.write(large()));
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(write.as_mut().poll(&mut context).is_pending());
        }
        assert!(writing.bytes.available_permits() < MOST_BYTES / 2);
        let larger = vec![writing.command("a", vec![b'x'; MOST_BYTES / 2])];
        assert!(matches!(writing.submit(larger), Err(WriteError::Busy)));
        while waiting.try_recv().is_ok() {}
        assert_eq!(writing.bytes.available_permits(), MOST_BYTES);
    }
}
