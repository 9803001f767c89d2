//! Workers against a server that speaks the contract.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jobs::client::{Client, ClientError};
use jobs::worker::{
    Cancellation, Handler, HandlerError, JobContext, LeasedJob, Stopper, Summary, Worker, WorkerError, WorkerOptions,
};
use serde_json::{Value, json};
use support::Fake;

/// A worker that runs on a thread.
struct Running {
    stopper: Stopper,
    thread: JoinHandle<Result<Summary, WorkerError>>,
}

impl Running {
    fn start(fake: &Fake, slots: u32, handler: impl Handler) -> Self {
        Self::waiting(fake, slots, 20, handler)
    }

    /// One whose requests wait so many seconds.
    fn waiting(fake: &Fake, slots: u32, wait: u32, handler: impl Handler) -> Self {
        let options = WorkerOptions { name: "w".to_owned(), slots, wait, ..WorkerOptions::of_queues(["q"]).unwrap() };
        let worker = Worker::new(Client::new(&fake.url(), None).unwrap(), handler, options).unwrap();
        Self { stopper: worker.stopper(), thread: std::thread::spawn(move || worker.run()) }
    }

    /// Ends it in order.
    fn stop(self) -> Summary {
        self.stopper.stop();
        self.end()
    }

    fn end(self) -> Summary {
        self.thread.join().unwrap().unwrap()
    }
}

/// Goes on until it is told to stop, and says why it was.
fn patient(_job: &LeasedJob, context: &JobContext) -> Result<Value, HandlerError> {
    assert!(context.wait_cancelled(Duration::from_secs(30)), "nobody has stopped it");
    Err(HandlerError::new("stopped", format!("{:?}", context.cancellation())))
}

fn echo(job: &LeasedJob, _context: &JobContext) -> Result<Value, HandlerError> {
    Ok(serde_json::from_str(job.payload.get()).unwrap())
}

#[test]
fn jobs_are_done_once_each_and_reported_once() {
    let fake = Fake::start();
    for number in 0..50 {
        fake.add(&format!("j{number}"), "q", json!({"n": number}));
    }
    fake.add("other", "another-queue", json!(1));
    let ran: Arc<Mutex<BTreeMap<String, u32>>> = Arc::default();
    let counted = Arc::clone(&ran);
    let worker = Running::start(&fake, 4, move |job: &LeasedJob, context: &JobContext| {
        *counted.lock().unwrap().entry(job.id.clone()).or_default() += 1;
        echo(job, context)
    });
    fake.wait("all done", |known| known.jobs.values().filter(|job| job.phase == "done").count() == 50);
    let summary = worker.stop();
    assert_eq!(summary, Summary { done: 50, ..Summary::default() });
    assert!(ran.lock().unwrap().len() == 50 && ran.lock().unwrap().values().all(|times| *times == 1));
    assert_eq!(fake.job("j7").result, Some(json!({"n": 7})));
    assert_eq!(fake.job("other").phase, "waiting");
    let known = fake.known();
    assert_eq!(known.reports.len(), 50);
    assert_eq!(known.slots["w"].last(), Some(&0), "a farewell");
    assert_eq!(known.slots["w"].first(), Some(&4));
}

#[test]
fn a_fast_worker_does_not_name_all_that_it_has_done() {
    let fake = Fake::start();
    for number in 0..600 {
        fake.add(&format!("j{number}"), "q", json!(number));
    }
    let worker = Running::start(&fake, 4, echo);
    fake.wait("all done", |known| known.jobs.values().all(|job| job.phase == "done"));
    assert_eq!(worker.stop(), Summary { done: 600, ..Summary::default() });
    let most = fake.known().most_held;
    assert!(most < 300, "{most} jobs in one request");
}

#[test]
fn a_server_that_takes_few_requests_hears_of_each_job() {
    let fake = Fake::start();
    fake.known().heartbeats_in_a_row = Some(5);
    let ids: Vec<String> = (10..22).map(|number| format!("j{number}")).collect();
    for id in &ids {
        fake.add(id, "q", json!(null));
        fake.change(id, |job| job.heartbeat_ms = 900);
    }
    let worker = Running::start(&fake, 12, patient);
    fake.wait("all heard", |known| ids.iter().all(|id| known.heartbeats.contains_key(id)));
    worker.stopper.stop_now();
    assert_eq!(worker.end().released, 12);
}

#[test]
fn what_a_proxy_does_not_find_is_not_lost() {
    let fake = Fake::start();
    fake.add("a", "q", json!(1));
    fake.change("a", |job| job.heartbeat_ms = 300);
    let worker = Running::start(&fake, 1, |job: &LeasedJob, context: &JobContext| {
        assert!(!context.wait_cancelled(Duration::from_millis(600)), "stopped for nothing");
        echo(job, context)
    });
    fake.wait_for("a", "leased");
    fake.known().astray = true;
    std::thread::sleep(Duration::from_millis(1_000));
    fake.known().astray = false;
    fake.wait_for("a", "done");
    assert_eq!(worker.stop(), Summary { done: 1, ..Summary::default() });
}

#[test]
fn a_worker_whose_key_is_refused_for_long_ends_once_no_job_runs() {
    let fake = Fake::start();
    fake.add("a", "q", json!(1));
    let worker = Running::waiting(&fake, 2, 1, |job: &LeasedJob, context: &JobContext| {
        context.wait_cancelled(Duration::from_secs(12));
        echo(job, context)
    });
    fake.wait_for("a", "leased");
    let begun = Instant::now();
    fake.known().key = Some("another".to_owned());
    let error = worker.thread.join().unwrap().unwrap_err();
    assert!(matches!(&error, WorkerError::Refused(ClientError::Refused { status: 401, .. })), "{error}");
    assert_eq!(headwater::error::Fault::domain(&error).exit_code(), 2);
    assert!(begun.elapsed() > Duration::from_secs(11) && begun.elapsed() < Duration::from_secs(30), "jobs are ended");
    assert_eq!(fake.job("a").phase, "leased");
}

#[test]
fn a_key_that_is_refused_for_a_moment_stops_nothing() {
    let fake = Fake::start();
    let worker = Running::waiting(&fake, 1, 1, echo);
    fake.wait("there", |known| !known.slots.is_empty());
    fake.known().key = Some("another".to_owned());
    std::thread::sleep(Duration::from_millis(2_000));
    fake.known().key = None;
    fake.add("a", "q", json!(1));
    fake.wait_for("a", "done");
    assert_eq!(worker.stop().done, 1);
}

#[test]
fn failures_panics_and_results_that_are_too_large_have_codes() {
    let fake = Fake::start();
    let kinds = ["fails", "refuses", "panics", "large"];
    kinds.iter().for_each(|kind| fake.add(kind, "q", json!(kind)));
    let worker = Running::start(&fake, 2, |job: &LeasedJob, _: &JobContext| match job.id.as_str() {
        "fails" => Err(HandlerError::new("no-disk", "full").retry_in(Duration::from_secs(9))),
        "refuses" => Err(HandlerError::refuse("no such file")),
        "panics" => panic!("a defect"),
        _ => Ok(json!("x".repeat(1 << 20))),
    });
    kinds.iter().for_each(|kind| fake.wait_for(kind, "dead"));
    assert_eq!(worker.stop().failed, 4);
    let told = |id: &str| {
        let job = fake.job(id);
        (job.error.unwrap()["code"].as_str().unwrap().to_owned(), job.retry.unwrap())
    };
    assert_eq!(told("fails"), ("no-disk".to_owned(), true));
    assert_eq!(told("refuses"), ("refused".to_owned(), false));
    assert_eq!(told("panics"), ("panic".to_owned(), true));
    assert_eq!(told("large"), ("result-too-large".to_owned(), false));
    assert_eq!(fake.job("panics").error.unwrap()["message"], "a defect");
}

#[test]
fn cancel_reaches_the_handler() {
    let fake = Fake::start();
    fake.add("a", "q", json!(null));
    let worker = Running::start(&fake, 1, patient);
    fake.wait_for("a", "leased");
    let begun = Instant::now();
    fake.change("a", |job| job.cancelling = true);
    fake.wait_for("a", "cancelled");
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(fake.job("a").error.unwrap()["message"], "Some(Cancelled)");
    assert_eq!(worker.stop().failed, 1);
}

#[test]
fn a_lost_lease_stops_the_handler_and_nothing_is_reported() {
    let fake = Fake::start();
    fake.add("a", "q", json!(null));
    let why: Arc<Mutex<Option<Cancellation>>> = Arc::default();
    let seen = Arc::clone(&why);
    let worker = Running::start(&fake, 1, move |job: &LeasedJob, context: &JobContext| {
        let ended = patient(job, context);
        *seen.lock().unwrap() = context.cancellation();
        ended
    });
    fake.wait_for("a", "leased");
    fake.change("a", |job| (job.lease, job.worker) = (job.lease + 1, Some("another".to_owned())));
    fake.wait("stopped", |_| why.lock().unwrap().is_some());
    assert_eq!(worker.stop(), Summary { lost: 1, ..Summary::default() });
    assert_eq!(*why.lock().unwrap(), Some(Cancellation::Lost));
    assert_eq!(fake.known().reports, Vec::<String>::new());
}

#[test]
fn a_job_that_is_leased_again_to_the_same_worker_waits_for_its_lost_attempt() {
    let fake = Fake::start();
    fake.add("a", "q", json!(null));
    let (at_once, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let (now, peak) = (Arc::clone(&at_once), Arc::clone(&most));
    let worker = Running::start(&fake, 2, move |job: &LeasedJob, context: &JobContext| {
        peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        if job.lease == 1 {
            context.wait_cancelled(Duration::from_secs(30));
            std::thread::sleep(Duration::from_millis(200));
        }
        now.fetch_sub(1, Ordering::SeqCst);
        Ok(json!(job.lease))
    });
    fake.wait_for("a", "leased");
    fake.change("a", |job| (job.phase, job.worker) = ("waiting", None));
    fake.wait_for("a", "done");
    assert_eq!(worker.stop(), Summary { done: 1, lost: 1, ..Summary::default() });
    assert_eq!((fake.job("a").result, most.load(Ordering::SeqCst)), (Some(json!(2)), 1));
    assert_eq!(fake.known().reports, ["a/2 complete"]);
}

#[test]
fn progress_and_heartbeats_come_while_the_poll_waits() {
    let fake = Fake::start();
    fake.add("a", "q", json!(null));
    fake.change("a", |job| job.heartbeat_ms = 600);
    let worker = Running::start(&fake, 1, |job: &LeasedJob, context: &JobContext| {
        context.progress(0.4, "almost half");
        patient(job, context)
    });
    fake.wait("progress", |known| known.jobs["a"].progress == Some(0.4) && known.heartbeats["a"] >= 4);
    assert_eq!(fake.job("a").message.as_deref(), Some("almost half"));
    let polls = fake.known().requests.iter().filter(|line| line.ends_with("/lease")).count();
    assert!(polls <= 3, "{polls} polls");
    fake.change("a", |job| job.cancelling = true);
    fake.wait_for("a", "cancelled");
    worker.stop();
}

#[test]
fn jobs_go_on_while_the_server_is_away_and_are_reported_when_it_is_back() {
    let mut fake = Fake::start();
    fake.add("a", "q", json!(1));
    fake.add("b", "q", json!(2));
    let ran = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&ran);
    let worker = Running::start(&fake, 2, move |job: &LeasedJob, context: &JobContext| {
        counted.fetch_add(1, Ordering::SeqCst);
        assert!(!context.wait_cancelled(Duration::from_millis(400)), "stopped for nothing");
        echo(job, context)
    });
    fake.wait_for("b", "leased");
    fake.restart(Duration::from_millis(900));
    fake.wait_for("a", "done");
    fake.wait_for("b", "done");
    // The server may answer 503 too.
    fake.known().away = true;
    fake.add("c", "q", json!(3));
    std::thread::sleep(Duration::from_millis(300));
    fake.known().away = false;
    fake.wait_for("c", "done");
    assert_eq!(worker.stop(), Summary { done: 3, ..Summary::default() });
    assert_eq!((ran.load(Ordering::SeqCst), fake.known().reports.len()), (3, 3));
}

#[test]
fn an_answer_that_was_lost_is_no_second_report() {
    let fake = Fake::start();
    fake.known().lose_answers = 1;
    fake.add("a", "q", json!(1));
    let worker = Running::start(&fake, 1, echo);
    fake.wait_for("a", "done");
    fake.add("b", "q", json!(2));
    fake.wait_for("b", "done");
    worker.stop();
    assert_eq!(fake.known().reports, ["a/1 complete", "b/1 complete"]);
}

#[test]
fn a_worker_that_stops_takes_no_more_and_ends_what_it_has() {
    let fake = Fake::start();
    fake.add("a", "q", json!(1));
    let worker = Running::start(&fake, 2, |job: &LeasedJob, context: &JobContext| {
        context.wait_cancelled(Duration::from_millis(500));
        echo(job, context)
    });
    fake.wait_for("a", "leased");
    worker.stopper.stop();
    fake.wait("told", |known| known.slots["w"].last() == Some(&0));
    fake.add("b", "q", json!(2));
    assert_eq!(worker.end(), Summary { done: 1, ..Summary::default() });
    assert_eq!((fake.job("a").phase, fake.job("b").phase), ("done", "waiting"));
    assert_eq!(fake.known().slots["w"].last(), Some(&0));
}

#[test]
fn a_worker_that_stops_at_once_gives_its_jobs_back() {
    let fake = Fake::start();
    fake.add("a", "q", json!(1));
    let worker = Running::start(&fake, 1, patient);
    fake.wait_for("a", "leased");
    let begun = Instant::now();
    worker.stopper.stop_now();
    assert_eq!(worker.end(), Summary { released: 1, ..Summary::default() });
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!((fake.job("a").phase, fake.job("a").attempt), ("waiting", 0));
    assert_eq!(fake.known().reports, ["a/1 release"]);
}

#[test]
fn a_worker_that_stops_at_once_does_not_wait_long_for_a_server_that_is_away() {
    let fake = Fake::start();
    fake.add("a", "q", json!(1));
    let worker = Running::start(&fake, 1, patient);
    fake.wait_for("a", "leased");
    fake.known().away = true;
    let begun = Instant::now();
    worker.stopper.stop_now();
    assert_eq!(worker.end().lost, 1);
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[test]
fn a_worker_that_is_not_wanted_ends_with_the_reason() {
    let fake = Fake::start();
    fake.known().key = Some("secret".to_owned());
    let worker = Running::start(&fake, 1, echo);
    let error = worker.thread.join().unwrap().unwrap_err();
    assert!(matches!(&error, WorkerError::Refused(ClientError::Refused { status: 401, .. })), "{error}");
}
