//! Threads that ask the server, so that nobody else waits for it.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

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
    /// What the server has said.
    pub given: Given,
    /// The heartbeats that it has heard, and when each was sent.
    pub told: Vec<(Held, Instant)>,
    /// What has ended it before its time. What was said before counts all the same.
    pub error: Option<ClientError>,
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
        let mut reply = Reply { from, given: Given::default(), told: Vec::new(), error: None, took: Duration::ZERO };
        let ended = match message {
            Message::Ask(ask) => exchange.lease(&ask).map(|given| reply.given = given),
            Message::Heartbeats(held) => heartbeats(exchange, held, &mut reply),
        };
        (reply.error, reply.took) = (ended.err(), begun.elapsed());
        if replies.send(Event::Reply(reply)).is_err() {
            return;
        }
    }
}

/// Tells of each job, until the server is away, or refuses what is not of one job alone.
fn heartbeats(exchange: &dyn Exchange, held: Vec<Held>, reply: &mut Reply) -> Result<(), ClientError> {
    for one in held {
        let (lease, sent) = (LeaseRef { id: one.id.clone(), lease: one.lease }, Instant::now());
        match exchange.heartbeat(&one) {
            Ok(answer) if answer.lost => reply.given.lost.push(lease),
            Ok(answer) if answer.cancel => reply.given.cancel.push(lease),
            Ok(_) => {}
            Err(error) if error.is_of_lease() => reply.given.lost.push(lease),
            Err(error) if error.is_of_content() => {
                tracing::warn!(job = one.id, %error, "the heartbeat of a job is refused");
            }
            Err(error) => return Err(error),
        }
        reply.told.push((one, sent));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::client::{HeartbeatAnswer, Report, Taken};

    /// Answers each heartbeat in its turn.
    struct Answers(Mutex<Vec<Result<HeartbeatAnswer, ClientError>>>);

    impl Exchange for Answers {
        fn lease(&self, _: &Ask) -> Result<Given, ClientError> {
            Ok(Given::default())
        }

        fn heartbeat(&self, _: &Held) -> Result<HeartbeatAnswer, ClientError> {
            self.0.lock().unwrap().remove(0)
        }

        fn report(&self, _: &str, _: u32, _: &Report) -> Result<Taken, ClientError> {
            Ok(Taken::Taken)
        }
    }

    fn refused(status: u16, code: Option<&str>) -> Result<HeartbeatAnswer, ClientError> {
        Err(ClientError::Refused { status, code: code.map(str::to_owned), detail: String::new() })
    }

    /// The ids that were told, those that were lost, those to cancel, and the status that has ended it.
    fn told(answers: Vec<Result<HeartbeatAnswer, ClientError>>) -> (String, String, String, Option<u16>) {
        let (sender, received) = crossbeam_channel::unbounded();
        let (messages, sent) = bounded(1);
        let held = ["a", "b", "c", "d"].map(|id| Held { id: id.to_owned(), lease: 1, progress: None, message: None });
        messages.send(Message::Heartbeats(held.into())).unwrap();
        drop(messages);
        deliver(Post::Pulse, &Answers(Mutex::new(answers)), &sent, &sender);
        let Event::Reply(Reply { given, told, error, .. }) = received.recv().unwrap() else { panic!("no reply") };
        let ids = |leases: &[LeaseRef]| leases.iter().map(|of| of.id.as_str()).collect::<String>();
        let status = error.map(|error| match error {
            ClientError::Refused { status, .. } => status,
            other => panic!("{other}"),
        });
        let told = told.iter().map(|(held, _)| held.id.as_str()).collect();
        (told, ids(&given.lost), ids(&given.cancel), status)
    }

    #[test]
    fn what_was_heard_before_a_refusal_counts() {
        let answer = |cancel, lost| Ok(HeartbeatAnswer { cancel, lost, until: None });
        let all = |told: &str, lost: &str, cancel: &str| (told.to_owned(), lost.to_owned(), cancel.to_owned());
        let (told_ids, lost, cancel, status) =
            told(vec![answer(false, true), answer(true, false), refused(429, Some("too-many-requests"))]);
        assert_eq!(((told_ids, lost, cancel), status), (all("ab", "a", "b"), Some(429)));
        let (told_ids, lost, cancel, status) = told(vec![
            refused(404, Some("not-found")),
            refused(422, Some("invalid")),
            answer(false, false),
            refused(409, Some("stale-lease")),
        ]);
        assert_eq!(((told_ids, lost, cancel), status), (all("abcd", "ad", ""), None));
        // A proxy knows nothing of jobs.
        let (told_ids, lost, _, status) = told(vec![answer(false, false), refused(404, None)]);
        assert_eq!((told_ids.as_str(), lost.as_str(), status), ("a", "", Some(404)));
    }
}
