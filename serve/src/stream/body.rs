//! The body of a stream: chunks of what brings the client up to date, then frames, then heartbeats.

use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use headwater::dataflow::{CommitId, Lineage};
use http_body::{Body, Frame};
use tokio::time::{Instant, Sleep, sleep};

use super::frame::heartbeat;
use super::hub::Hub;
use super::queue::{Next, SharedQueue};
use super::resume::{Begin, Resume};
use super::subject::Subject;

/// How often a stream without changes says that it lives.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Clients come back after one to three seconds, not all at once.
const RETRY_MS: (u64, u64) = (1_000, 2_000);

/// The body of a stream.
pub struct Streaming {
    hub: Arc<Hub>,
    subject: Arc<Subject>,
    queue: SharedQueue,
    /// In a box, since most of the time there is none.
    resume: Option<Box<Resume>>,
    /// What the client has once all that was given out has arrived.
    sent: u64,
    /// The lineage of that.
    lineage: Lineage,
    greeting: Option<String>,
    beat: Pin<Box<Sleep>>,
    every: Duration,
    /// Whether the client may still read.
    may_read: Option<Box<dyn Fn() -> bool + Send>>,
}

impl Streaming {
    /// The stream of a subject, for a client that has `after`, or nothing and wants all (`snapshot`), or
    /// only changes.
    pub fn new(hub: &Arc<Hub>, subject: Subject, after: Option<CommitId>, snapshot: bool) -> Self {
        // NB: joined first, read then; see the module.
        let (subject, queue) = hub.join(subject);
        let begin = match (after, snapshot) {
            (Some(position), _) => Begin::After(position),
            (None, true) => Begin::Snapshot,
            (None, false) => Begin::Now,
        };
        let resume = Resume::new(hub.live(), &subject, begin);
        let jitter = RandomState::new().hash_one(0) % RETRY_MS.1;
        // Spread over the period, so that not all beat at once.
        let first = HEARTBEAT / 2 + HEARTBEAT.mul_f64(jitter as f64 / RETRY_MS.1 as f64 / 2.0);
        Self {
            hub: Arc::clone(hub),
            subject,
            queue,
            sent: resume.commit,
            lineage: hub.live().lineage(),
            resume: Some(Box::new(resume)),
            greeting: Some(format!("retry: {}\n\n", RETRY_MS.0 + jitter)),
            beat: Box::pin(sleep(first)),
            every: HEARTBEAT,
            may_read: None,
        }
    }

    /// Ends it, at a heartbeat, once the client may not read any more.
    #[must_use]
    pub(crate) fn while_allowed(mut self, may_read: impl Fn() -> bool + Send + 'static) -> Self {
        self.may_read = Some(Box::new(may_read));
        self
    }

    /// Lets it beat so often.
    #[must_use]
    pub fn beating(mut self, every: Duration) -> Self {
        self.every = every;
        self.beat = Box::pin(sleep(every));
        self
    }

    /// Whether the client is still being brought up to date.
    pub(super) fn is_catching_up(&self) -> bool {
        self.resume.as_ref().is_some_and(|resume| !resume.is_done())
    }

    /// The next chunk of what brings the client up to date.
    fn catch_up(&mut self) -> Option<String> {
        let resume = self.resume.as_mut()?;
        match resume.chunk(self.hub.live(), &self.subject) {
            Ok(Some(chunk)) => return Some(chunk),
            Ok(None) => {}
            Err(error) => {
                tracing::error!(%error, "a stream ends: a document cannot be unpacked");
                self.queue.end();
            }
        }
        self.resume = None;
        None
    }

    /// What is to be sent now.
    pub(super) fn next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(greeting) = self.greeting.take() {
            return Poll::Ready(Some(greeting.into()));
        }
        // Asked for before anything is given, since a slow client always has something to get.
        let is_due = self.beat.as_mut().poll(context).is_ready();
        if is_due && self.may_read.as_ref().is_some_and(|may_read| !may_read()) {
            return Poll::Ready(None);
        }
        loop {
            if let Some(chunk) = self.catch_up() {
                self.told(is_due);
                return Poll::Ready(Some(chunk.into()));
            }
            match self.queue.next(context.waker()) {
                Next::Frame(commit, _) if commit <= self.sent => {}
                Next::Frame(commit, frame) => {
                    self.sent = commit;
                    self.told(is_due);
                    return Poll::Ready(Some(frame));
                }
                Next::Overflowed => {
                    let after = CommitId { lineage: self.lineage, number: self.sent };
                    self.lineage = self.hub.live().lineage();
                    let resume = Resume::new(self.hub.live(), &self.subject, Begin::Conflated(after));
                    metrics::counter!("headwater_serve_conflated_total").increment(1);
                    self.sent = resume.commit;
                    self.resume = Some(Box::new(resume));
                }
                Next::Ended => return Poll::Ready(None),
                Next::Nothing(_) if !is_due => return Poll::Pending,
                Next::Nothing(seen) => {
                    self.sent = seen.max(self.sent);
                    self.told(is_due);
                    return Poll::Ready(Some(heartbeat(self.hub.live().position(self.sent)).into()));
                }
            }
        }
    }

    /// Where the next heartbeat was due, something else does for it.
    fn told(&mut self, is_due: bool) {
        if is_due {
            self.beat.as_mut().reset(Instant::now() + self.every);
        }
    }
}

impl Body for Streaming {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.next(context).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::live::Live;
    use crate::timeline::Timeline;

    #[test]
    fn a_stream_ends_once_its_client_may_not_read_any_more() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (live, mut writer) = Live::new();
            writer.begin(0, Timeline::default(), 0);
            let allowed = Arc::new(AtomicBool::new(true));
            let asked = Arc::clone(&allowed);
            let stream = Streaming::new(&Hub::new(live), Subject::default(), None, true);
            let stream = stream.while_allowed(move || asked.load(Ordering::Relaxed));
            let mut stream = stream.beating(Duration::from_millis(1));
            let mut chunks = Vec::new();
            // When to come back, what there is, and two heartbeats.
            for _ in 0..4 {
                chunks.push(poll_fn(|context| stream.next(context)).await);
            }
            assert!(chunks.iter().all(Option::is_some), "{chunks:?}");
            allowed.store(false, Ordering::Relaxed);
            assert_eq!(poll_fn(|context| stream.next(context)).await, None);
        });
    }

    #[test]
    fn a_client_that_always_has_something_to_get_is_asked_for_its_right_too() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (live, mut writer) = Live::new();
            writer.begin(0, Timeline::default(), 0);
            let mut stream = Streaming::new(&Hub::new(live), Subject::default(), None, true)
                .while_allowed(|| false)
                .beating(Duration::from_millis(1));
            let queue = Arc::clone(&stream.queue);
            let given = async {
                for commit in 1.. {
                    queue.push(commit, Some(&Bytes::from_static(b"data: x\n\n")));
                    sleep(Duration::from_micros(100)).await;
                    if poll_fn(|context| stream.next(context)).await.is_none() {
                        return commit;
                    }
                }
                0
            };
            let commits = tokio::time::timeout(Duration::from_secs(20), given).await.unwrap();
            assert!(commits > 1, "the right is asked for at times, not for each frame");
        });
    }
}
