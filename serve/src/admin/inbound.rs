//! Raw records that come in over HTTP: many requests at once, one wait for the log.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use headwater::log::{Log, LogError, NewRecord, Producer};
use tokio::sync::{mpsc, oneshot};

/// Records that wait for the log.
const MOST_WAITING: usize = 4_096;

/// Records that are written before the log is waited for.
const MOST_AT_ONCE: usize = 1_024;

/// Why a record was not written.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum InboundError {
    /// The log has failed.
    #[error("the log does not take it")]
    Log(#[source] Arc<LogError>),
    /// Too many records wait for the log, or the server ends.
    #[error("too many records wait for the log")]
    Busy,
}

/// What becomes of a record, told once the log has it.
type Answer = oneshot::Sender<Result<(), Arc<LogError>>>;

/// Takes records in. Its thread ends with it.
pub(crate) struct Inbound {
    log: Arc<dyn Log>,
    sender: Mutex<Option<mpsc::Sender<(NewRecord, Answer)>>>,
}

impl Inbound {
    pub(super) fn new(log: Arc<dyn Log>) -> Self {
        Self { log, sender: Mutex::default() }
    }

    /// Writes a record, and returns once the log has it.
    pub(crate) async fn write(&self, record: NewRecord) -> Result<(), InboundError> {
        let (answer, answered) = oneshot::channel();
        let sender = self.sender().ok_or(InboundError::Busy)?;
        sender.try_send((record, answer)).map_err(|_| InboundError::Busy)?;
        answered.await.map_err(|_| InboundError::Busy)?.map_err(InboundError::Log)
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
        if !write_batch(log, &mut producer, batch) {
            // What it still holds would be written later, and its senders were told that it was not.
            producer = None;
        }
    }
}

/// Whether the producer can be used again.
fn write_batch(log: &dyn Log, producer: &mut Option<Box<dyn Producer>>, batch: Vec<(NewRecord, Answer)>) -> bool {
    let opened = match producer {
        Some(producer) => Ok(producer),
        None => log.producer().map(|opened| producer.insert(opened)),
    };
    let producer = match opened {
        Ok(producer) => producer,
        Err(error) => {
            let error = Arc::new(error);
            batch.into_iter().for_each(|(_, answer)| drop(answer.send(Err(Arc::clone(&error)))));
            return false;
        }
    };
    let sent: Vec<(Answer, Result<(), LogError>)> =
        batch.into_iter().map(|(record, answer)| (answer, producer.send(record))).collect();
    let flushed = producer.flush().map_err(Arc::new);
    let works = flushed.is_ok();
    for (answer, sent) in sent {
        // Whoever does not wait any more has gone.
        let _ = answer.send(sent.map_err(Arc::new).and_then(|()| flushed.clone()));
    }
    works
}
