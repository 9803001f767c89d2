//! A worker at work.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use headwater::error::{Backoff, Domain, Fault};
use serde::Serialize;

use super::context::JobContext;
use super::exchange::Exchange;
use super::handler::Handler;
use super::held::{HeldJobs, Key};
use super::messenger::{Message, Messenger, Post, Reply};
use super::options::WorkerOptions;
use super::report::{Left, Patience, attempt, report};
use crate::client::{Ask, ClientError, Given, LeasedJob, Report};

/// Pauses while the server is away: from here to there. The longest is well within the period of a heartbeat.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// A server that answers at once, again and again, without anything new is not asked more often.
const WITHOUT_NEWS: Duration = Duration::from_millis(100);

/// How long outcomes are reported that come after the worker was told to end at once.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How often things are put in order when nothing happens.
const TIDY: Duration = Duration::from_secs(10);

/// Why a worker cannot work.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Its options cannot be.
    #[error("{0}")]
    Options(String),
    /// The server does not want it.
    #[error(transparent)]
    Refused(#[from] ClientError),
    /// No thread can be started.
    #[error("no thread can be started")]
    Thread(#[from] io::Error),
}

impl Fault for WorkerError {
    fn domain(&self) -> Domain {
        match self {
            Self::Options(_) => Domain::User,
            Self::Refused(error) => error.domain(),
            Self::Thread(_) => Domain::External,
        }
    }

    fn may_pass(&self) -> bool {
        matches!(self, Self::Refused(error) if error.may_pass())
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Refused(error) => error.hint(),
            Self::Options(_) | Self::Thread(_) => None,
        }
    }
}

/// What a worker has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Jobs that it has done.
    pub done: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Jobs that it gave back.
    pub released: u64,
    /// Leases that it had lost before it could report.
    pub lost: u64,
}

impl Summary {
    fn count(&mut self, left: Left) {
        let counter = match left {
            Left::Done => &mut self.done,
            Left::Failed => &mut self.failed,
            Left::Released => &mut self.released,
            Left::Lost => &mut self.lost,
        };
        *counter += 1;
    }
}

/// What a worker is to see to.
pub(super) enum Event {
    /// A messenger is back.
    Reply(Reply),
    /// A job's thread has ended.
    Ended(Key, Left),
    /// A job has progress to tell.
    Progress,
    /// Take no more jobs, and end when those that run have ended.
    Stop,
    /// Stop the jobs too.
    StopNow,
}

/// Ends a worker, from any thread.
#[derive(Debug, Clone)]
pub struct Stopper(Sender<Event>);

impl Stopper {
    /// Lets the worker take no more jobs, and end when those that it has have ended.
    pub fn stop(&self) {
        // A worker that has ended needs not be told.
        let _ = self.0.send(Event::Stop);
    }

    /// Lets the worker stop its jobs, give them back, and end.
    pub fn stop_now(&self) {
        let _ = self.0.send(Event::StopNow);
    }
}

/// A worker.
pub struct Worker {
    exchange: Arc<dyn Exchange>,
    handler: Arc<dyn Handler>,
    options: WorkerOptions,
    sender: Sender<Event>,
    events: Receiver<Event>,
}

impl Worker {
    /// A worker that gets jobs from `exchange` and does them by `handler`.
    ///
    /// # Errors
    /// When the options cannot be.
    pub fn new(exchange: impl Exchange, handler: impl Handler, options: WorkerOptions) -> Result<Self, WorkerError> {
        options.check().map_err(WorkerError::Options)?;
        let (sender, events) = unbounded();
        Ok(Self { exchange: Arc::new(exchange), handler: Arc::new(handler), options, sender, events })
    }

    /// What ends it.
    pub fn stopper(&self) -> Stopper {
        Stopper(self.sender.clone())
    }

    /// Works until it is stopped. While the server is away, its jobs go on, and it asks again and again.
    ///
    /// # Errors
    /// When the server refuses its first request, and will the next, or no thread can be started.
    pub fn run(self) -> Result<Summary, WorkerError> {
        let messenger = |post| Messenger::start(post, Arc::clone(&self.exchange), self.sender.clone());
        let now = Instant::now();
        let running = Running {
            poll: messenger(Post::Poll)?,
            pulse: messenger(Post::Pulse)?,
            held: HeldJobs::default(),
            summary: Summary::default(),
            patience: Patience::default(),
            backoff: Backoff::new(PAUSES.0, PAUSES.1),
            poll_at: now,
            pulse_at: now,
            known: false,
            stopping: false,
            farewell: false,
            worker: self,
        };
        running.run()
    }
}

struct Running {
    worker: Worker,
    poll: Messenger,
    pulse: Messenger,
    held: HeldJobs,
    summary: Summary,
    patience: Patience,
    backoff: Backoff,
    /// The server is not asked for jobs before.
    poll_at: Instant,
    /// The server is not told of jobs before.
    pulse_at: Instant,
    /// Whether the server has answered once.
    known: bool,
    /// Whether it takes no more jobs.
    stopping: bool,
    /// Whether the server is to be told so.
    farewell: bool,
}

impl Running {
    fn run(mut self) -> Result<Summary, WorkerError> {
        while !(self.stopping && self.held.is_idle()) {
            self.send();
            match self.worker.events.recv_timeout(self.pause()) {
                Ok(event) => self.see(event)?,
                Err(RecvTimeoutError::Timeout) => self.held.tidy(Instant::now()),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.say_farewell();
        Ok(self.summary)
    }

    /// Sends what is due.
    fn send(&mut self) {
        let now = Instant::now();
        if !self.poll.busy && now >= self.poll_at {
            let ask = self.ask(self.worker.options.wait);
            self.poll.send(Message::Ask(ask));
        }
        if self.pulse.busy || now < self.pulse_at {
            return;
        }
        if std::mem::take(&mut self.farewell) {
            let ask = self.ask(0);
            self.pulse.send(Message::Ask(ask));
            return;
        }
        let due = self.held.to_tell(now);
        if !due.is_empty() {
            self.pulse.send(Message::Heartbeats(due));
        }
    }

    /// A worker that takes no more jobs offers no slots but those that are taken.
    fn ask(&self, wait: u32) -> Ask {
        let WorkerOptions { name, queues, slots, .. } = &self.worker.options;
        let holding = self.held.holding();
        let taken = u32::try_from(holding.len()).unwrap_or(u32::MAX);
        let slots = if self.stopping { taken } else { *slots };
        Ask { worker: name.clone(), queues: queues.clone(), slots, wait, holding }
    }

    /// Until something is due.
    fn pause(&self) -> Duration {
        let poll = (!self.poll.busy).then_some(self.poll_at);
        let farewell = self.farewell.then_some(self.pulse_at);
        let told = farewell.or_else(|| self.held.next_to_tell()).filter(|_| !self.pulse.busy);
        let told = told.map(|due| due.max(self.pulse_at));
        let due = poll.into_iter().chain(told).min();
        due.map_or(TIDY, |due| due.saturating_duration_since(Instant::now()).min(TIDY))
    }

    fn see(&mut self, event: Event) -> Result<(), WorkerError> {
        match event {
            Event::Reply(reply) => self.reply(reply)?,
            Event::Ended(key, left) => {
                self.summary.count(left);
                let reported = left != Left::Lost;
                if let Some((job, context)) = self.held.end(&key, reported, Instant::now()) {
                    self.start(job, context)?;
                }
            }
            Event::Progress => {}
            Event::Stop => self.stop(),
            Event::StopNow => {
                self.stop();
                self.patience.end_at(Instant::now() + LAST_WORDS);
                self.held.stop();
            }
        }
        Ok(())
    }

    fn stop(&mut self) {
        self.farewell |= !self.stopping;
        self.stopping = true;
    }

    fn reply(&mut self, reply: Reply) -> Result<(), WorkerError> {
        let Reply { from, answer, took } = reply;
        match from {
            Post::Poll => self.poll.busy = false,
            Post::Pulse => self.pulse.busy = false,
        }
        let now = Instant::now();
        match answer {
            Ok(given) => {
                if self.backoff.reset() {
                    tracing::info!("the server is back");
                }
                self.known = true;
                self.pulse_at = now;
                let news = self.take(given)?;
                if from == Post::Poll {
                    let in_vain = !news && took < WITHOUT_NEWS;
                    self.poll_at = if in_vain { now + WITHOUT_NEWS } else { now };
                }
                Ok(())
            }
            Err(error) if error.may_pass() || self.known => {
                let pause = self.backoff.pause();
                tracing::warn!(%error, "the server does not answer; jobs go on");
                (self.poll_at, self.pulse_at) = (now + pause, now + pause);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Sees to an answer, and says whether there was news in it.
    fn take(&mut self, given: Given) -> Result<bool, WorkerError> {
        let now = Instant::now();
        let Given { leases, cancel, lost } = given;
        let mut news = false;
        for one in &lost {
            news |= self.held.lose(one, now);
        }
        for one in &cancel {
            news |= self.held.cancel(one);
        }
        for job in leases {
            let nudge = self.worker.sender.clone();
            let context = JobContext::new(move || {
                // A worker that has ended tells nothing.
                let _ = nudge.send(Event::Progress);
            });
            let taken = self.held.take(&job, context.clone(), now);
            news |= taken.is_some();
            if taken == Some(true) {
                self.start(job, context)?;
            }
        }
        Ok(news)
    }

    /// Starts the thread of a job. One that comes after the farewell is given back.
    fn start(&self, job: LeasedJob, context: JobContext) -> Result<(), WorkerError> {
        let (exchange, handler) = (Arc::clone(&self.worker.exchange), Arc::clone(&self.worker.handler));
        let (ended, patience, give_back) = (self.worker.sender.clone(), self.patience.clone(), self.stopping);
        let work = move || {
            let begun = Instant::now();
            let outcome = if give_back { Report::Release } else { attempt(&*handler, &job, &context) };
            let ran_ms = begun.elapsed().as_millis();
            let left = report(&*exchange, &job, &context, &patience, outcome);
            tracing::info!(job = job.id, queue = job.queue, attempt = job.attempt, ?left, ran_ms, "a job has ended");
            // A worker that has ended counts nothing.
            let _ = ended.send(Event::Ended((job.id, job.lease), left));
        };
        std::thread::Builder::new().name("job".to_owned()).spawn(work)?;
        Ok(())
    }

    /// The server need not wait until what it was told last is over.
    fn say_farewell(&self) {
        let WorkerOptions { name, queues, .. } = &self.worker.options;
        let ask = Ask { worker: name.clone(), queues: queues.clone(), slots: 0, wait: 0, holding: Vec::new() };
        if let Err(error) = self.worker.exchange.lease(&ask) {
            tracing::debug!(%error, "no farewell");
        }
    }
}
