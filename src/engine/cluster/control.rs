//! The control connections while the topology runs.
//!
//! What is said is the state of the sender, again and again: nothing is lost when one message
//! follows another, and silence is a sign too.

use std::net::TcpStream;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::options::ClusterOptions;
use super::wire::{Beat, Failure, Incoming, Message, send};
use crate::engine::error::EngineError;
use crate::engine::lifecycle::Lifecycle;
use crate::engine::orders::Orders;

/// The state is said at least this often.
const BEAT: Duration = Duration::from_millis(200);

/// The threads of all control connections.
pub struct Control {
    outboxes: Vec<Sender<Message>>,
    orders: Receiver<Orders>,
    readers: Vec<JoinHandle<()>>,
    writers: Vec<JoinHandle<()>>,
    lifecycle: Arc<Lifecycle>,
}

impl Control {
    /// Starts to speak and to listen.
    pub fn start(
        connections: Vec<(usize, TcpStream)>,
        options: &Arc<ClusterOptions>,
        lifecycle: &Arc<Lifecycle>,
    ) -> Result<Self, EngineError> {
        let (sender, orders) = unbounded();
        let mut control = Self {
            outboxes: Vec::new(),
            orders,
            readers: Vec::new(),
            writers: Vec::new(),
            lifecycle: Arc::clone(lifecycle),
        };
        let thread = |error: std::io::Error| EngineError::Thread { reason: error.to_string() };
        for (process, stream) in connections {
            let (outbox, messages) = unbounded();
            let peer = Peer { process, options: Arc::clone(options), lifecycle: Arc::clone(lifecycle) };
            stream.set_write_timeout(Some(options.silent_after)).map_err(thread)?;
            let incoming = Incoming::new(stream.try_clone().map_err(thread)?).map_err(thread)?;
            let orders = sender.clone();
            let listener = peer.clone();
            let reader = std::thread::Builder::new().name(format!("listen-{process}"));
            control.readers.push(reader.spawn(move || listener.listen(incoming, &orders)).map_err(thread)?);
            let writer = std::thread::Builder::new().name(format!("speak-{process}"));
            control.writers.push(writer.spawn(move || peer.speak(stream, &messages)).map_err(thread)?);
            control.outboxes.push(outbox);
        }
        Ok(control)
    }

    /// Says `orders` to everybody.
    pub fn give(&self, orders: &Orders) {
        self.tell(&Message::Start(Box::new(orders.clone())));
    }

    /// The orders, if they come within `wait`.
    pub fn orders(&self, wait: Duration) -> Option<Orders> {
        self.orders.recv_timeout(wait).ok()
    }

    fn tell(&self, message: &Message) {
        for outbox in &self.outboxes {
            // A thread that is gone has said why.
            let _ = outbox.send(message.clone());
        }
        self.lifecycle.wake();
    }

    /// Says how this process ended; returns when the others have said it too. Process 0 speaks
    /// last: its word is that everything is committed.
    pub fn finish(self, is_first: bool, lifecycle: &Lifecycle) {
        let goodbye = Message::Ended(lifecycle.own_totals());
        if !is_first && !lifecycle.failed() {
            self.tell(&goodbye);
        }
        let Self { outboxes, readers, writers, .. } = self;
        join(readers);
        if !lifecycle.failed() {
            for outbox in &outboxes {
                let _ = outbox.send(goodbye.clone());
            }
        }
        lifecycle.wake();
        join(writers);
    }
}

fn join(threads: Vec<JoinHandle<()>>) {
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("a thread of the control connections has panicked");
        }
    }
}

/// The process at the other end.
#[derive(Clone)]
struct Peer {
    process: usize,
    options: Arc<ClusterOptions>,
    lifecycle: Arc<Lifecycle>,
}

impl Peer {
    fn speak(&self, mut stream: TcpStream, messages: &Receiver<Message>) {
        let mut seen = 0;
        loop {
            for message in messages.try_iter() {
                if send(&mut stream, &message).is_err() || matches!(message, Message::Ended(_)) {
                    return;
                }
            }
            if let Some(failure) = self.lifecycle.with_failure(|error| self.failure(error)) {
                let _ = send(&mut stream, &Message::Failed(failure));
                return;
            }
            if send(&mut stream, &Message::Beat(self.beat())).is_err() {
                // The listener notices too, unless the goodbye is still to be read.
                return;
            }
            seen = self.lifecycle.wait_for_change(seen, BEAT);
        }
    }

    fn beat(&self) -> Beat {
        Beat {
            committed: self.lifecycle.committed(),
            recovered: self.lifecycle.recovered(),
            stopping: self.lifecycle.stopping(),
            now_ms: self.lifecycle.now_ms(),
            totals: self.lifecycle.own_totals(),
        }
    }

    /// What to say of a failure: where it began, as far as is known here.
    fn failure(&self, error: &EngineError) -> Failure {
        match error {
            EngineError::PeerGone { process, .. } => Failure { process: *process, gone: true, reason: String::new() },
            EngineError::PeerFailed { process, reason, .. } => {
                Failure { process: *process, gone: false, reason: reason.clone() }
            }
            error => Failure { process: self.options.process, gone: false, reason: error.to_string() },
        }
    }

    fn listen(&self, mut incoming: Incoming, orders: &Sender<Orders>) {
        let mut heard = Instant::now();
        while !self.lifecycle.failed() {
            match incoming.receive() {
                Ok(Some(Message::Ended(totals))) => return self.lifecycle.set_totals(self.process, totals),
                Ok(Some(Message::Failed(failure))) => return self.lifecycle.fail(self.error(failure)),
                Ok(Some(Message::Start(given))) => {
                    let _ = orders.send(*given);
                }
                Ok(Some(Message::Beat(beat))) => self.heed(&beat),
                Ok(Some(_)) => {}
                Ok(None) if heard.elapsed() < self.options.silent_after => continue,
                Ok(None) | Err(_) => {
                    let failure = Failure { process: self.process, gone: true, reason: String::new() };
                    return self.lifecycle.fail(self.error(failure));
                }
            }
            heard = Instant::now();
        }
    }

    fn error(&self, failure: Failure) -> EngineError {
        let Failure { process, gone, reason } = failure;
        let address = self.options.address(process);
        match gone {
            true => EngineError::PeerGone { process, address },
            false => EngineError::PeerFailed { process, address, reason },
        }
    }

    fn heed(&self, beat: &Beat) {
        if beat.stopping && !self.lifecycle.stopping() {
            self.lifecycle.stop();
        }
        if self.options.process == 0 {
            self.lifecycle.set_totals(self.process, beat.totals.clone());
            return;
        }
        self.lifecycle.set_clock(beat.now_ms);
        if beat.recovered {
            self.lifecycle.set_recovered();
        }
        if beat.committed > self.lifecycle.committed() {
            self.lifecycle.set_committed(beat.committed);
        }
    }
}
