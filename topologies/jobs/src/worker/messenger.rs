//! Threads that ask the server, so that nobody else waits for it.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use headwater::error::Fault;

use super::exchange::Exchange;
use super::run::Event;
use crate::client::{Ask, ClientError, Given, Held, LeaseRef};

/// What a messenger is to tell.
pub(super) enum Message {
    /// The worker takes jobs.
    Ask(Ask),
    /// The worker is at these jobs.
    Heartbeats(Vec<Held>),
}

/// What it came back with.
pub(super) struct Reply {
    /// Which of the messengers.
    pub from: Post,
    /// The answer.
    pub answer: Result<Given, ClientError>,
    /// How long it took.
    pub took: Duration,
}

/// What a messenger is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Post {
    /// It waits at the server for news.
    Poll,
    /// It tells in the meantime how jobs are doing.
    Pulse,
}

/// A thread that tells one message at a time.
pub(super) struct Messenger {
    messages: Sender<Message>,
    /// Whether a message is on its way.
    pub busy: bool,
}

impl Messenger {
    /// Starts the thread. It ends by itself after its message, once the messenger is dropped.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(from: Post, exchange: Arc<dyn Exchange>, replies: Sender<Event>) -> io::Result<Self> {
        let (messages, received) = bounded(1);
        let name = match from {
            Post::Poll => "worker-poll",
            Post::Pulse => "worker-pulse",
        };
        let work = move || deliver(from, &*exchange, &received, &replies);
        std::thread::Builder::new().name(name.to_owned()).spawn(work)?;
        Ok(Self { messages, busy: false })
    }

    /// Sends a message; there is none on its way.
    pub fn send(&mut self, message: Message) {
        self.busy = self.messages.try_send(message).is_ok();
    }
}

fn deliver(from: Post, exchange: &dyn Exchange, messages: &Receiver<Message>, replies: &Sender<Event>) {
    for message in messages {
        let begun = Instant::now();
        let answer = match message {
            Message::Ask(ask) => exchange.lease(&ask),
            Message::Heartbeats(held) => heartbeats(exchange, &held),
        };
        if replies.send(Event::Reply(Reply { from, answer, took: begun.elapsed() })).is_err() {
            return;
        }
    }
}

/// Tells of each job, until the server is away.
fn heartbeats(exchange: &dyn Exchange, held: &[Held]) -> Result<Given, ClientError> {
    let mut given = Given::default();
    for one in held {
        let lease = LeaseRef { id: one.id.clone(), lease: one.lease };
        match exchange.heartbeat(one) {
            Ok(answer) if answer.lost => given.lost.push(lease),
            Ok(answer) if answer.cancel => given.cancel.push(lease),
            Ok(_) => {}
            Err(error) if error.is_status(404) || error.is_status(409) => given.lost.push(lease),
            Err(error) if error.may_pass() => return Err(error),
            Err(error) => tracing::warn!(job = one.id, %error, "the heartbeat of a job is refused"),
        }
    }
    Ok(given)
}
