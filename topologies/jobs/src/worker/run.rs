//! A worker at work.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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

/// How long jobs that are to stop at once are left alone, so that the server learns first that the worker takes no more.
const FAREWELL: Duration = Duration::from_secs(1);

/// So long after that a lease may come that was decided on before: a few epochs.
const LAST_LEASE: Duration = Duration::from_millis(300);

/// A worker that takes no more jobs and has some asks so often whether they are to stop.
const BETWEEN_FAREWELLS: Duration = Duration::from_secs(1);

/// How often things are put in order, at most, and at least when nothing happens.
const TIDY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// After a job could not be started, no other one is asked for so long.
const WITHOUT_THREADS: Duration = Duration::from_secs(5);

/// A worker whose key is refused for so long ends when no job runs: a key may be about to be exchanged.
const REFUSED: Duration = Duration::from_secs(10);

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
    /// Leave the jobs no time to clean up.
    Kill,
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

    /// The same, and leaves its jobs no time to clean up: commands are killed.
    pub fn kill(&self) {
        let _ = self.0.send(Event::Kill);
    }
}

/// A worker.
pub struct Worker {
    exchange: Arc<dyn Exchange>,
    handler: Arc<dyn Handler>,
    options: WorkerOptions,
    sender: Sender<Event>,
    events: Receiver<Event>,
    /// Bytes of the stack of a job's thread; `None` is what is usual.
    stack: Option<usize>,
}

impl Worker {
    /// A worker that gets jobs from `exchange` and does them by `handler`.
    ///
    /// # Errors
    /// When the options cannot be.
    pub fn new(exchange: impl Exchange, handler: impl Handler, options: WorkerOptions) -> Result<Self, WorkerError> {
        options.check().map_err(WorkerError::Options)?;
        let (sender, events) = unbounded();
        Ok(Self { exchange: Arc::new(exchange), handler: Arc::new(handler), options, sender, events, stack: None })
    }

    /// What ends it.
    pub fn stopper(&self) -> Stopper {
        Stopper(self.sender.clone())
    }

    /// Works until it is stopped. While the server is away, its jobs go on, and it asks again and again.
    ///
    /// # Errors
    /// When the server refuses its first request, and will the next; when it refuses the key for some time, and no job
    /// runs; or when the threads that ask the server cannot be started.
    pub fn run(self) -> Result<Summary, WorkerError> {
        let messenger = |post| Messenger::start(post, Arc::clone(&self.exchange), self.sender.clone());
        let (now, patience) = (Instant::now(), Patience::default());
        let running = Running {
            poll: messenger(Post::Poll)?,
            pulse: messenger(Post::Pulse)?,
            returns: give_back(Arc::clone(&self.exchange), patience.clone(), self.sender.clone())?,
            held: HeldJobs::default(),
            summary: Summary::default(),
            patience,
            at_work: Arc::default(),
            backoff: Backoff::new(PAUSES.0, PAUSES.1),
            poll_at: now,
            pulse_at: now,
            jobs_at: now,
            tidy_at: now,
            known: false,
            refused_since: None,
            refused: None,
            stopping: false,
            farewell_at: now,
            saying_farewell: false,
            said_farewell: false,
            last_lease_until: None,
            stop_jobs_at: None,
            worker: self,
        };
        running.run()
    }
}

/// Starts the thread that gives jobs back. It ends by itself once its sender is dropped.
fn give_back(
    exchange: Arc<dyn Exchange>,
    patience: Patience,
    ended: Sender<Event>,
) -> io::Result<Sender<(Key, JobContext)>> {
    let (returns, received) = unbounded::<(Key, JobContext)>();
    let work = move || {
        for (key, context) in received {
            let left = report(&*exchange, &key, &context, &patience, Report::Release);
            // A worker that has ended counts nothing.
            let _ = ended.send(Event::Ended(key, left));
        }
    };
    std::thread::Builder::new().name("worker-returns".to_owned()).spawn(work)?;
    Ok(returns)
}

struct Running {
    worker: Worker,
    poll: Messenger,
    pulse: Messenger,
    /// The jobs that are given back without having begun.
    returns: Sender<(Key, JobContext)>,
    held: HeldJobs,
    summary: Summary,
    patience: Patience,
    /// How many handlers run.
    at_work: Arc<AtomicUsize>,
    backoff: Backoff,
    /// The server is not asked for jobs before.
    poll_at: Instant,
    /// The server is not told of jobs before.
    pulse_at: Instant,
    /// The server is not asked for jobs before, as they could not be started.
    jobs_at: Instant,
    /// Things are not put in order before.
    tidy_at: Instant,
    /// Since when the server has refused the key.
    refused_since: Option<Instant>,
    /// The worker ends because of this.
    refused: Option<ClientError>,
    /// Whether the server has answered once.
    known: bool,
    /// Whether it takes no more jobs.
    stopping: bool,
    /// Of a worker that takes no more jobs: when the server is told so next.
    farewell_at: Instant,
    /// Whether the pulse is on its way with a farewell.
    saying_farewell: bool,
    /// Whether the server has been told.
    said_farewell: bool,
    /// Of a worker that takes no more jobs: until when a lease may come all the same.
    last_lease_until: Option<Instant>,
    /// Its jobs are to stop, once the server has been told, or then.
    stop_jobs_at: Option<Instant>,
}

impl Running {
    fn run(mut self) -> Result<Summary, WorkerError> {
        while !self.has_ended() {
            self.tidy();
            self.send();
            match self.worker.events.recv_timeout(self.pause()) {
                Ok(event) => self.see(event)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.stop_jobs();
        }
        if !self.said_farewell && !self.pulse.busy {
            self.say_farewell();
        }
        self.refused.map_or(Ok(self.summary), |error| Err(error.into()))
    }

    fn tidy(&mut self) {
        let now = Instant::now();
        if now >= self.tidy_at {
            self.tidy_at = now + TIDY.0;
            self.held.tidy(now);
        }
    }

    /// Whether there is nothing left to do. A lease may be on its way that was given before the server knew that the
    /// worker takes no more: it is waited for, to be given back.
    fn has_ended(&self) -> bool {
        let waits = self.poll.busy && self.last_lease_until.is_some_and(|until| Instant::now() < until);
        self.stopping && self.held.is_idle() && !waits
    }

    /// Sends what is due.
    fn send(&mut self) {
        let now = Instant::now();
        if !self.poll.busy && !self.stopping && now >= self.next_poll() {
            let ask = self.ask(self.worker.options.slots, self.worker.options.wait);
            self.poll.send(Message::Ask(ask));
        }
        if self.pulse.busy || now < self.pulse_at {
            return;
        }
        if self.stopping && now >= self.farewell_at {
            // Without slots, it is answered at once, also with what is to stop.
            let ask = self.ask(0, 0);
            self.pulse.send(Message::Ask(ask));
            self.saying_farewell = true;
            self.farewell_at = now + BETWEEN_FAREWELLS;
            return;
        }
        let due = self.held.due(now);
        if !due.is_empty() {
            self.pulse.send(Message::Heartbeats(due));
        }
    }

    fn next_poll(&self) -> Instant {
        self.poll_at.max(self.jobs_at)
    }

    fn ask(&self, slots: u32, wait: u32) -> Ask {
        let WorkerOptions { name, queues, .. } = &self.worker.options;
        Ask { worker: name.clone(), queues: queues.clone(), slots, wait, holding: self.held.holding() }
    }

    /// Until something is due.
    fn pause(&self) -> Duration {
        let poll = (!self.poll.busy && !self.stopping).then_some(self.next_poll());
        let farewell = self.stopping.then_some(self.farewell_at);
        let told = farewell.into_iter().chain(self.held.next_to_tell()).min();
        let told = told.filter(|_| !self.pulse.busy).map(|due| due.max(self.pulse_at));
        let last = self.last_lease_until.filter(|_| self.held.is_idle());
        let due = poll.into_iter().chain(told).chain(self.stop_jobs_at).chain(last).min();
        due.map_or(TIDY.1, |due| due.saturating_duration_since(Instant::now()).min(TIDY.1))
    }

    fn see(&mut self, event: Event) -> Result<(), WorkerError> {
        match event {
            Event::Reply(reply) => self.reply(reply)?,
            Event::Ended(key, left) => {
                self.summary.count(left);
                let reported = left != Left::Lost;
                if let Some((job, context)) = self.held.end(&key, reported, Instant::now()) {
                    self.start(job, context);
                }
            }
            Event::Progress => {}
            Event::Stop => self.stop(),
            Event::StopNow => {
                self.stop();
                self.stop_jobs_at = Some(Instant::now() + FAREWELL);
            }
            Event::Kill => {
                self.stop();
                self.stop_jobs_at = Some(Instant::now());
                self.held.hurry();
            }
        }
        Ok(())
    }

    fn stop(&mut self) {
        if !std::mem::replace(&mut self.stopping, true) {
            self.farewell_at = Instant::now();
            self.last_lease_until = Some(self.farewell_at + FAREWELL);
        }
    }

    /// Stops its jobs when it is time. A job that is given back before the server knows that this worker takes no more
    /// might come back to it.
    fn stop_jobs(&mut self) {
        let now = Instant::now();
        if self.stop_jobs_at.is_some_and(|at| self.said_farewell || at <= now) {
            self.stop_jobs_at = None;
            self.patience.end_at(now + LAST_WORDS);
            self.held.stop();
        }
    }

    fn reply(&mut self, reply: Reply) -> Result<(), WorkerError> {
        let Reply { from, given, told, error, took } = reply;
        match from {
            Post::Poll => self.poll.busy = false,
            Post::Pulse => self.pulse.busy = false,
        }
        let was_farewell = from == Post::Pulse && std::mem::take(&mut self.saying_farewell);
        let now = Instant::now();
        if was_farewell && error.is_none() && !std::mem::replace(&mut self.said_farewell, true) {
            self.last_lease_until = Some(now + LAST_LEASE);
        }
        told.iter().for_each(|(held, sent)| self.held.told(held, *sent));
        let news = self.take(given);
        if let Some(error) = error {
            return self.see_error(error, now);
        }
        if self.backoff.reset() {
            tracing::info!("the server is back");
        }
        (self.known, self.refused_since) = (true, None);
        self.pulse_at = now;
        if from == Post::Poll {
            let in_vain = !news && took < WITHOUT_NEWS;
            self.poll_at = if in_vain { now + WITHOUT_NEWS } else { now };
        }
        Ok(())
    }

    /// The server is away, or refuses a request.
    fn see_error(&mut self, error: ClientError, now: Instant) -> Result<(), WorkerError> {
        if !error.may_pass() && !self.known {
            return Err(error.into());
        }
        let pause = self.backoff.pause();
        (self.poll_at, self.pulse_at) = (now + pause, now + pause);
        if error.may_pass() {
            tracing::warn!(%error, "the server does not answer; jobs go on");
            return Ok(());
        }
        tracing::error!(%error, hint = error.hint(), "the server refuses what this worker asks; jobs go on");
        if error.is_of_key() {
            let since = *self.refused_since.get_or_insert(now);
            if now.duration_since(since) >= REFUSED && self.at_work.load(Ordering::SeqCst) == 0 {
                // Nothing that jobs came to can be reported.
                self.patience.end_at(now);
                self.refused = Some(error);
                self.stop();
            }
        }
        Ok(())
    }

    /// Sees to an answer, and says whether there was news in it.
    fn take(&mut self, given: Given) -> bool {
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
                self.start(job, context);
            }
        }
        news
    }

    /// Starts the thread of a job. One that comes after the farewell, or cannot be started, is given back.
    fn start(&mut self, job: LeasedJob, context: JobContext) {
        let key = (job.id.clone(), job.lease);
        if self.stopping {
            return self.give_back(key, context);
        }
        if let Err(error) = self.spawn(job, context.clone()) {
            tracing::error!(job = key.0, %error, "no thread can be started for a job; it is given back");
            self.jobs_at = Instant::now() + WITHOUT_THREADS;
            self.give_back(key, context);
        }
    }

    fn spawn(&self, job: LeasedJob, context: JobContext) -> io::Result<()> {
        let (exchange, handler) = (Arc::clone(&self.worker.exchange), Arc::clone(&self.worker.handler));
        let (ended, patience) = (self.worker.sender.clone(), self.patience.clone());
        let at_work = AtWork::of(&self.at_work);
        let work = move || {
            let begun = Instant::now();
            let outcome = attempt(&*handler, &job, &context);
            drop(at_work);
            let ran_ms = begun.elapsed().as_millis();
            let (queue, attempt, key) = (job.queue, job.attempt, (job.id, job.lease));
            let left = report(&*exchange, &key, &context, &patience, outcome);
            tracing::info!(job = key.0, queue, attempt, ?left, ran_ms, "a job has ended");
            // A worker that has ended counts nothing.
            let _ = ended.send(Event::Ended(key, left));
        };
        let thread = std::thread::Builder::new().name("job".to_owned());
        let thread = self.worker.stack.into_iter().fold(thread, std::thread::Builder::stack_size);
        thread.spawn(work).map(drop)
    }

    fn give_back(&self, key: Key, context: JobContext) {
        // Its thread lives as long as this.
        let _ = self.returns.send((key, context));
    }

    /// The server need not wait until what it was told last is over.
    fn say_farewell(&self) {
        if let Err(error) = self.worker.exchange.lease(&self.ask(0, 0)) {
            tracing::debug!(%error, "no farewell");
        }
    }
}

/// A handler that runs, until this is dropped.
struct AtWork(Arc<AtomicUsize>);

impl AtWork {
    fn of(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use serde_json::json;

    use super::*;
    use crate::client::{HeartbeatAnswer, Held, Taken};

    /// Gives one job, and keeps what is reported.
    #[derive(Clone, Default)]
    struct OneJob {
        given: Arc<AtomicUsize>,
        reports: Arc<Mutex<Vec<Report>>>,
    }

    impl Exchange for OneJob {
        fn lease(&self, _: &Ask) -> Result<Given, ClientError> {
            let leases = match self.given.fetch_add(1, Ordering::SeqCst) {
                0 => vec![json!({
                    "id": "a", "queue": "q", "lease": 1, "attempt": 1, "maxAttempts": 3, "payload": null,
                    "until": "2026-12-01T10:00:00Z", "heartbeatWithinMs": 30_000,
                })],
                _ => Vec::new(),
            };
            Ok(serde_json::from_value(json!({ "leases": leases })).unwrap())
        }

        fn heartbeat(&self, _: &Held) -> Result<HeartbeatAnswer, ClientError> {
            Ok(HeartbeatAnswer { cancel: false, lost: false, until: None })
        }

        fn report(&self, _: &str, _: u32, report: &Report) -> Result<Taken, ClientError> {
            self.reports.lock().unwrap().push(report.clone());
            Ok(Taken::Taken)
        }
    }

    #[test]
    fn a_job_that_cannot_be_started_is_given_back_and_the_worker_goes_on() {
        let exchange = OneJob::default();
        let never = |_: &LeasedJob, _: &JobContext| panic!("it runs");
        let options = WorkerOptions::of_queues(["q"]).unwrap();
        let mut worker = Worker::new(exchange.clone(), never, options).unwrap();
        // No address space is as large.
        worker.stack = Some(1 << 50);
        let stopper = worker.stopper();
        let works = std::thread::spawn(move || worker.run());
        let until = Instant::now() + Duration::from_secs(10);
        while exchange.reports.lock().unwrap().is_empty() {
            assert!(Instant::now() < until && !works.is_finished(), "nothing was given back");
            std::thread::sleep(Duration::from_millis(5));
        }
        stopper.stop();
        assert_eq!(works.join().unwrap().unwrap(), Summary { released: 1, ..Summary::default() });
        assert!(matches!(exchange.reports.lock().unwrap()[..], [Report::Release]));
    }
}
