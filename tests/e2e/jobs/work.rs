//! The real thing: the engine serves, workers run scripts, people use the tools; engine and workers are killed.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::served::{Served, runs};
use crate::service::service;
use crate::trial::Place;

/// How long the long job takes, in seconds; [`LONG_JOB`] says something else.
const LONG: u64 = 20;

/// The variable with the seconds that the long job takes, such as 600.
const LONG_JOB: &str = "HEADWATER_LONG_JOB_SECONDS";

fn on_kafka(test: fn(&Place)) {
    if let Some(brokers) = service("KAFKA_BROKERS", "workers of jobs on Kafka") {
        test(&Place::Kafka(brokers));
    }
}

/// Limits of all queues.
fn limits(heartbeat_within: Duration) -> String {
    format!("[queues.'*']\nheartbeat_within = '{} ms'\nbackoff = '100 ms'\n", heartbeat_within.as_millis())
}

/// How each attempt of a job has ended.
fn outcomes(job: &Value) -> Vec<&str> {
    job["runs"].as_array().unwrap().iter().map(|run| run["outcome"].as_str().unwrap()).collect()
}

fn unix_now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// A script that does a job, another that is cancelled, and workers that are ended by Ctrl-C.
fn scripts(place: &Place) {
    let served = Served::start(place, &limits(Duration::from_secs(5)));
    does_a_job(&served);
    is_cancelled(&served);
    ends_in_order(&served);
    let report = served.verify();
    assert_eq!((report.submitted, report.stale), (6, 0));
}

fn does_a_job(served: &Served) {
    served.submit("sums", "sum", &["--kind", "add"]);
    served.wait_for("sum", "waiting");
    let mut events = served.events("/api/jobs/sum/live", None);
    let script = "payload=$(cat); echo progress 0.5 halfway; sleep 1.3; echo \"result {\\\"of\\\": $payload, \\\"attempt\\\": $HEADWATER_ATTEMPT}\"";
    let worker = served.work("adder", "sums", 1, script);
    let (mut phases, mut progress) = (Vec::new(), Vec::new());
    let last = loop {
        let (name, job) = events.next().unwrap();
        if name == "settled" {
            break job;
        }
        phases.push(job["phase"].as_str().unwrap().to_owned());
        progress.extend(job["progress"]["message"].as_str().map(str::to_owned));
    };
    phases.dedup();
    assert_eq!(phases, ["waiting", "leased", "done"]);
    assert!(progress.contains(&"halfway".to_owned()), "{progress:?}");
    assert_eq!((last, events.next()), (json!({"id": "sum", "phase": "done"}), None));
    let shown: Value = serde_json::from_str(&served.tool(&["jobs", "show", "sum", "--json"], "")).unwrap();
    assert_eq!(shown["result"], json!({"of": {"n": 1}, "attempt": 1}));
    assert_eq!((&shown["runs"][0]["worker"], outcomes(&shown)), (&json!("adder"), vec!["done"]));
    drop(worker);
}

fn is_cancelled(served: &Served) {
    let told = served.trial.file("told");
    let script = format!(
        "trap 'date +%s.%N >> {}; exit 1' TERM; echo progress 0.1; while :; do sleep 0.05; done",
        told.display()
    );
    let _worker = served.work("patient", "endless", 1, &script);
    let mut took = Vec::new();
    for number in 0..3 {
        let id = format!("endless-{number}");
        served.submit("endless", &id, &[]);
        served.wait_for_progress(&id);
        let begun = unix_now();
        served.tool(&["jobs", "cancel", &id], "");
        let job = served.wait_for(&id, "cancelled");
        assert_eq!(outcomes(&job), ["cancelled"], "{job}");
        let lines = served.lines("told");
        assert_eq!(lines.len(), number + 1, "the script was told once");
        took.push(lines[number].parse::<f64>().unwrap() - begun);
    }
    println!("from `jobs cancel` to SIGTERM in the script: {took:.3?} s");
    assert!(took.iter().all(|took| (0.0..2.0).contains(took)), "{took:?}");
}

fn ends_in_order(served: &Served) {
    let script =
        "echo progress 0.1; if [ $HEADWATER_JOB = first ]; then sleep 1.5; else while :; do sleep 0.05; done; fi";
    let worker = served.work("modest", "orders", 1, script);
    served.submit("orders", "first", &[]);
    served.wait_for_progress("first");
    served.submit("orders", "second", &[]);
    worker.interrupt();
    let (code, summary) = worker.ended();
    assert_eq!((code, &summary["done"], &summary["released"]), (Some(0), &json!(1), &json!(0)), "{summary}");
    served.wait_for("first", "done");
    assert_eq!(served.job("second")["phase"], "waiting");

    let worker = served.work("hasty", "orders", 1, script);
    served.wait_for_progress("second");
    worker.interrupt();
    std::thread::sleep(Duration::from_millis(100));
    worker.interrupt();
    let (code, summary) = worker.ended();
    assert_eq!((code, &summary["released"]), (Some(130), &json!(1)), "{summary}");
    let second = served.wait_for("second", "waiting");
    assert_eq!((&second["attempt"], outcomes(&second)), (&json!(0), vec!["released"]));
    let _worker = served.work("third", "orders", 1, "echo 'result 3'");
    assert_eq!(served.wait_for("second", "done")["result"], 3);
}

#[test]
fn scripts_on_the_embedded_log() {
    scripts(&Place::Embedded);
}

#[test]
fn scripts_on_kafka() {
    on_kafka(scripts);
}

/// A worker is killed: what it had is done by another one, once, and it is given nothing more.
fn a_killed_worker(place: &Place) {
    let heartbeat = Duration::from_secs(3);
    let served = Served::start(place, &limits(heartbeat));
    let file = |name: &str| served.trial.file(name).display().to_string();
    let script = format!(
        "echo $HEADWATER_JOB $HEADWATER_ATTEMPT $$ >> {}\n\
         if [ $HEADWATER_JOB/$HEADWATER_ATTEMPT = slow/1 ]; then while :; do echo progress 0.5; sleep 0.1; done; fi\n\
         echo $HEADWATER_JOB $HEADWATER_ATTEMPT >> {}",
        file("begun"),
        file("ended")
    );
    let dies = served.work("dies", "plain", 4, &script);
    served.submit("plain", "slow", &[]);
    served.wait_for_progress("slow");
    let _lives = served.work("lives", "plain", 4, &script);
    served.wait_for_worker("lives");
    dies.kill();
    let killed = Instant::now();
    // Four slots of the dead worker would be free, and it was given a job the longest ago.
    served.tool(&["jobs", "submit", "plain", "-"], &"{}\n".repeat(20));
    let done = || served.get("/api/stats")["totals"]["completed"] == 20;
    served.wait_until("all but the slow one are done", heartbeat, done);
    let quick = killed.elapsed();
    let slow = served.wait_for("slow", "done");
    let moved = killed.elapsed();
    println!("after a worker was killed: 20 new jobs done in {quick:.2?}, its own by another one in {moved:.2?}");
    assert!(moved < heartbeat + Duration::from_secs(2), "{moved:?}");
    assert_eq!((outcomes(&slow), &slow["runs"][1]["worker"]), (vec!["lease-expired", "done"], &json!("lives")));
    let of_slow =
        |name| -> Vec<String> { served.lines(name).into_iter().filter(|line| line.starts_with("slow")).collect() };
    assert_eq!(of_slow("ended"), ["slow 2"]);
    let begun = of_slow("begun");
    assert_eq!(begun.len(), 2, "{begun:?}");
    // Nobody hears its script, so its next line ends it.
    let script_of_dead = begun[0].split(' ').next_back().unwrap();
    served.wait_soon("the script of the dead worker ends", || !runs(script_of_dead));
    let report = served.verify();
    assert_eq!((report.submitted, report.attempts.values().sum::<u64>(), report.stale), (21, 22, 0), "{report:?}");
}

#[test]
fn a_killed_worker_on_the_embedded_log() {
    a_killed_worker(&Place::Embedded);
}

#[test]
fn a_killed_worker_on_kafka() {
    on_kafka(a_killed_worker);
}

/// Two long jobs. The engine is killed and is away for longer than a heartbeat may be: both go on. Then the worker of
/// one is killed: another one goes on from where its script had come.
fn long_jobs(place: &Place) {
    let seconds: u64 = std::env::var(LONG_JOB).map_or(LONG, |text| text.parse().unwrap());
    let heartbeat = Duration::from_secs(if seconds >= 300 { 30 } else { 8 });
    let mut served = Served::start(place, &limits(heartbeat));
    let folder = served.trial.file("").display().to_string();
    let script = format!(
        "cd {folder}; echo $HEADWATER_ATTEMPT $$ >> begun-$HEADWATER_JOB; n=$(cat $HEADWATER_JOB 2>/dev/null || echo 0)\n\
         while [ $n -lt {seconds} ]; do\n\
         printf 'progress 0.%03d %s\\n' $((n * 1000 / {seconds})) \"step $n\"; sleep 1; n=$((n + 1)); echo $n > $HEADWATER_JOB\n\
         done; echo \"result $$\""
    );
    let mut workers: Vec<_> = ["stays", "moves"].map(|name| served.work(name, name, 1, &script)).into();
    let begun = Instant::now();
    let part = |percent: u64| Duration::from_millis(seconds * 10 * percent);
    let sleep_until = |at: Duration| std::thread::sleep(at.saturating_sub(begun.elapsed()));
    ["stays", "moves"].iter().for_each(|job| served.submit(job, job, &[]));
    ["stays", "moves"].iter().for_each(|job| served.wait_for_progress(job));

    sleep_until(part(30));
    served.kill();
    let killed = begun.elapsed();
    std::thread::sleep(heartbeat + Duration::from_secs(1));
    served.start_again();
    let back = begun.elapsed();
    let step = |job: &Value| job["progress"]["message"].as_str().unwrap_or_default().to_owned();
    let before = step(&served.job("stays"));
    served.wait_soon("progress goes on", || step(&served.job("stays")) != before);
    println!(
        "the engine was killed after {killed:.1?}, back after {back:.1?}, heard of the job after {:.1?}",
        begun.elapsed()
    );

    sleep_until(part(80));
    workers.pop().unwrap().kill();
    let worker_killed = begun.elapsed();
    workers.push(served.work("takes-over", "moves", 1, &script));
    let patience = part(200) + heartbeat * 3;
    let done = |id: &str| {
        served.wait_until(id, patience, || served.job(id)["phase"] == "done");
        println!("{id} was done after {:.1?}", begun.elapsed());
        served.job(id)
    };
    let stayed = done("stays");
    println!("the worker of `moves` was killed after {worker_killed:.1?}");
    let moved = done("moves");
    let pids = |job: &str| -> Vec<String> {
        let lines = served.lines(&format!("begun-{job}"));
        lines.iter().map(|line| line.split(' ').next_back().unwrap().to_owned()).collect()
    };
    assert_eq!((outcomes(&stayed), &stayed["runs"][0]["worker"]), (vec!["done"], &json!("stays")));
    assert_eq!(pids("stays"), [stayed["result"].to_string()], "one script, from begin to end");
    assert_eq!((outcomes(&moved), &moved["attempt"]), (vec!["lease-expired", "done"], &json!(2)));
    assert_eq!(pids("moves")[1..], [moved["result"].to_string()]);
    let report = served.verify();
    println!("{report}");
    assert_eq!((report.submitted, report.stale), (2, 0));
}

#[test]
fn long_jobs_on_the_embedded_log() {
    long_jobs(&Place::Embedded);
}

#[test]
fn long_jobs_on_kafka() {
    on_kafka(long_jobs);
}

/// A channel is read on where it was left, though the server was another one then.
fn notifications(place: &Place) {
    let mut served = Served::start(place, &limits(Duration::from_secs(10)));
    let mut events = served.events("/api/notifications/user:1", None);
    let worker = served.work("w", "mail", 1, "echo \"result \\\"$HEADWATER_JOB\\\"\"");
    let tell = ["--notify", "user:1"];
    served.submit("mail", "one", &tell);
    let (name, told) = events.next().unwrap();
    assert_eq!(
        (name.as_str(), &told["job"], &told["phase"]),
        ("notification", &json!("one"), &json!("done")),
        "{told}"
    );
    assert_eq!(told["body"], "one");
    served.kill();
    assert_eq!(events.next(), None);
    // Whoever writes to the log needs no server.
    let two = json!({"type": "submit", "id": "two", "queue": "mail", "notify": ["user:1"]});
    served.trial.client().send(&two);
    served.start_again();
    served.wait_for("two", "done");
    served.submit("mail", "three", &tell);
    served.wait_for("three", "done");
    let mut resumed = served.events("/api/notifications/user:1", Some(&events.id));
    let jobs = [(); 2].map(|()| resumed.next().unwrap().1["job"].clone());
    assert_eq!(jobs, ["two", "three"]);
    let mut anew = served.events("/api/notifications/user:1", Some(&resumed.id));
    served.submit("mail", "four", &tell);
    assert_eq!(anew.next().unwrap().1["job"], "four");
    worker.interrupt();
    assert_eq!(worker.ended().1["done"], 4, "the worker was the same all the time");
    assert_eq!(served.verify().submitted, 4);
}

#[test]
fn notifications_on_the_embedded_log() {
    notifications(&Place::Embedded);
}

#[test]
fn notifications_on_kafka() {
    on_kafka(notifications);
}
