//! Raw records that come in over HTTP: many requests at once, one wait for the log.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use headwater::log::{Log, LogError, NewRecord, Producer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// Records that wait for the log.
const MOST_WAITING: usize = 4_096;

/// Records that are written before the log is waited for.
const MOST_AT_ONCE: usize = 1_024;

/// Bytes of bodies that are read or wait for the log, at most.
const MOST_BYTES: usize = 128 << 20;

/// Why a record may not have been written.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum InboundError {
    /// The log has refused this record.
    #[error("the log does not take it")]
    Refused(#[source] Arc<LogError>),
    /// The log has failed for one of the records that were written together.
    #[error("it is not known whether the log has it")]
    Unknown,
    /// Too many records wait for the log, or the server ends.
    #[error("too many records wait for the log")]
    Busy,
}

/// What becomes of a record, told once the log has it.
type Answer = oneshot::Sender<Result<(), InboundError>>;

/// Takes records in. Its thread ends with it.
pub(crate) struct Inbound {
    log: Arc<dyn Log>,
    sender: Mutex<Option<mpsc::Sender<(NewRecord, Answer)>>>,
    bytes: Arc<Semaphore>,
}

impl Inbound {
    pub(super) fn new(log: Arc<dyn Log>) -> Self {
        Self { log, sender: Mutex::default(), bytes: Arc::new(Semaphore::new(MOST_BYTES)) }
    }

    /// Room for a body of so many bytes. It is given back when what is returned is dropped.
    pub(crate) fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, InboundError> {
        let bytes = u32::try_from(bytes.min(MOST_BYTES)).unwrap_or(u32::MAX);
        Arc::clone(&self.bytes).try_acquire_many_owned(bytes).map_err(|_| InboundError::Busy)
    }

    /// Writes a record, and returns once the log has it.
    pub(crate) async fn write(&self, record: NewRecord) -> Result<(), InboundError> {
        let (answer, answered) = oneshot::channel();
        let sender = self.sender().ok_or(InboundError::Busy)?;
        sender.try_send((record, answer)).map_err(|_| InboundError::Busy)?;
        answered.await.map_err(|_| InboundError::Unknown)?
    }

    /// To the thread that writes, which is started with the first record.
    fn sender(&self) -> Option<mpsc::Sender<(NewRecord, Answer)>> {
        let mut sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        if sender.as_ref().is_none_or(mpsc::Sender::is_closed) {
            let (to, from) = mpsc::channel(MOST_WAITING);
            let log = Arc::clone(&self.log);
            let work = move || write_all(&*log, from);
            thread::Builder::new().name("serve-inbound".to_owned()).spawn(work).ok()?;
            *sender = Some(to);
        }
        sender.clone()
    }
}

fn write_all(log: &dyn Log, mut records: mpsc::Receiver<(NewRecord, Answer)>) {
    let mut producer: Option<Box<dyn Producer>> = None;
    while let Some(first) = records.blocking_recv() {
        let rest = std::iter::from_fn(|| records.try_recv().ok()).take(MOST_AT_ONCE - 1);
        let batch: Vec<(NewRecord, Answer)> = std::iter::once(first).chain(rest).collect();
        if !write_batch(log, &mut producer, batch)
            && let Some(failed) = producer.take()
        {
            // It may wait long for what it still holds, and nobody else is to wait with it.
            let _ = thread::Builder::new().name("former producer".to_owned()).spawn(move || drop(failed));
        }
    }
}

/// Whether the producer can be used again. A failure may be that of an earlier record, so all of the batch are told
/// of it: whoever sends again does no harm, since a record that comes twice changes nothing.
fn write_batch(log: &dyn Log, producer: &mut Option<Box<dyn Producer>>, batch: Vec<(NewRecord, Answer)>) -> bool {
    let opened = match producer {
        Some(producer) => Ok(producer),
        None => log.producer().map(|opened| producer.insert(opened)),
    };
    let Ok(producer) = opened else {
        batch.into_iter().for_each(|(_, answer)| drop(answer.send(Err(InboundError::Busy))));
        return false;
    };
    let mut refused = None;
    let mut answers = Vec::with_capacity(batch.len());
    for (record, answer) in batch {
        if refused.is_none() {
            refused = producer.send(record).err().map(|error| (answers.len(), Arc::new(error)));
        }
        answers.push(answer);
    }
    let works = refused.is_none() && producer.flush().is_ok();
    for (number, answer) in answers.into_iter().enumerate() {
        let told = match &refused {
            None if works => Ok(()),
            Some((at, error)) if *at == number => Err(InboundError::Refused(Arc::clone(error))),
            _ => Err(InboundError::Unknown),
        };
        // Whoever does not wait any more has gone.
        let _ = answer.send(told);
    }
    works
}
