//! The HTTP API over real sockets. Jobs are written on the topics by hand, as an engine would.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use headwater::log::embedded::EmbeddedLog;
use headwater::log::{
    Cleanup, Log, LogError, NewRecord, Polled, Producer, Reader, Start, TopicInfo, TopicPartition, TopicSpec,
    Transactional, Watermarks, read_to_end,
};
use headwater_serve::access::keys::{KeyConfig, Scope, generate};
use headwater_serve::config::{LimitsConfig, ServeConfig};
use jiff::{SignedDuration, Timestamp};
use jobs::api::Serving;
use reqwest::blocking::{Client, Response};
use serde_json::{Value, json};
use tempfile::TempDir;

const TOPICS: [&str; 6] = ["job-commands", "jobs", "queues", "schedules", "schedule-runs", "notifications"];

/// How long something may take that happens at once.
const SOON: Duration = Duration::from_secs(10);

fn make_topics(log: &dyn Log) {
    let spec = |name: &str| TopicSpec {
        name: format!("t.{name}"),
        partitions: 3,
        replication: None,
        cleanup: if name == "job-commands" { Cleanup::Delete { retention_ms: None } } else { Cleanup::Compact },
        max_record_bytes: 2 << 20,
        properties: BTreeMap::new(),
    };
    log.ensure_topics(&TOPICS.map(spec)).unwrap();
}

/// A document as the engine writes it: the format is in front.
fn versioned(value: &Value) -> String {
    let mut value = value.clone();
    let format = value.as_object_mut().and_then(|fields| fields.remove("format"));
    match format {
        Some(format) => value.to_string().replacen('{', &format!("{{\"format\":{format},"), 1),
        None => value.to_string(),
    }
}

/// A log, and a server of what is on it.
struct Running {
    log: Arc<dyn Log>,
    serving: Serving,
    client: Client,
    config: ServeConfig,
    _folder: TempDir,
}

/// What a log does wrong.
#[derive(Debug, Default)]
struct Faults {
    /// The next read fails, and is to be begun again.
    fails: AtomicBool,
    /// The next read panics.
    panics: AtomicBool,
    /// Writes take until this ends.
    holds: AtomicBool,
    /// Writes fail, and what was to be written is lost.
    loses: AtomicBool,
}

/// A log with faults.
struct Failing {
    log: EmbeddedLog,
    faults: Arc<Faults>,
}

struct FailingReader {
    reader: Box<dyn Reader>,
    faults: Arc<Faults>,
}

struct FailingProducer {
    producer: Box<dyn Producer>,
    faults: Arc<Faults>,
    records: Vec<NewRecord>,
}

impl Producer for FailingProducer {
    fn send(&mut self, record: NewRecord) -> Result<(), LogError> {
        self.records.push(record);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), LogError> {
        while self.faults.holds.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(2));
        }
        let records = std::mem::take(&mut self.records);
        if self.faults.loses.load(Ordering::Relaxed) {
            return Err(LogError::Failed { doing: "writing", reason: "the disk is gone".to_owned() });
        }
        records.into_iter().try_for_each(|record| self.producer.send(record))?;
        self.producer.flush()
    }
}

impl Reader for FailingReader {
    fn poll(&mut self, into: &mut Vec<Polled>, max_bytes: usize, wait: Duration) -> Result<(), LogError> {
        assert!(!self.faults.panics.swap(false, Ordering::Relaxed), "it was told to");
        if self.faults.fails.swap(false, Ordering::Relaxed) {
            return Err(LogError::Failed { doing: "reading", reason: "the disk is gone".to_owned() });
        }
        self.reader.poll(into, max_bytes, wait)
    }

    fn assign(&mut self, partition: TopicPartition, start: Start) -> Result<(), LogError> {
        self.reader.assign(partition, start)
    }
}

impl Log for Failing {
    fn describe(&self) -> String {
        self.log.describe()
    }

    fn check(&self, timeout: Duration) -> Result<(), LogError> {
        self.log.check(timeout)
    }

    fn ensure_topics(&self, specs: &[TopicSpec]) -> Result<(), LogError> {
        self.log.ensure_topics(specs)
    }

    fn topics(&self, prefix: &str) -> Result<Vec<TopicInfo>, LogError> {
        self.log.topics(prefix)
    }

    fn watermarks(&self, topic: &str) -> Result<Option<Vec<Watermarks>>, LogError> {
        self.log.watermarks(topic)
    }

    fn reader(&self, partitions: &[(TopicPartition, Start)]) -> Result<Box<dyn Reader>, LogError> {
        let reader = self.log.reader(partitions)?;
        Ok(Box::new(FailingReader { reader, faults: Arc::clone(&self.faults) }))
    }

    fn producer(&self) -> Result<Box<dyn Producer>, LogError> {
        let (producer, faults) = (self.log.producer()?, Arc::clone(&self.faults));
        Ok(Box::new(FailingProducer { producer, faults, records: Vec::new() }))
    }

    fn transactional(&self, id: &str, group: &str) -> Result<Box<dyn Transactional>, LogError> {
        self.log.transactional(id, group)
    }
}

fn client() -> Client {
    Client::builder().timeout(Duration::from_secs(30)).build().unwrap()
}

fn local() -> ServeConfig {
    ServeConfig { listen: "127.0.0.1:0".to_owned(), ..ServeConfig::default() }
}

impl Running {
    fn start() -> Self {
        Self::start_as(local())
    }

    fn start_as(config: ServeConfig) -> Self {
        Self::start_failing(config, Arc::default())
    }

    /// Its log has faults.
    fn start_failing(config: ServeConfig, faults: Arc<Faults>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = EmbeddedLog::open(&folder.path().join("log.db")).unwrap();
        let log: Arc<dyn Log> = Arc::new(Failing { log, faults });
        make_topics(&*log);
        let serving = Serving::start(Arc::clone(&log), "t.", &config).unwrap();
        let running = Self { log, serving, client: client(), config, _folder: folder };
        running.wait_until_ready();
        running
    }

    fn wait_until_ready(&self) {
        let began = Instant::now();
        while !self.serving.is_ready() {
            assert!(began.elapsed() < SOON);
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Another server in place of this one.
    fn restart(&mut self) {
        self.serving = Serving::start(Arc::clone(&self.log), "t.", &self.config).unwrap();
        self.wait_until_ready();
    }

    fn write(&self, topic: &str, records: &[(&str, Option<Value>)]) {
        let mut producer = self.log.producer().unwrap();
        for (key, value) in records {
            let record = NewRecord {
                topic: format!("t.{topic}").into(),
                key: Some((*key).to_owned().into()),
                value: value.as_ref().map(|value| versioned(value).into()),
                headers: Vec::new(),
                timestamp_ms: None,
            };
            producer.send(record).unwrap();
        }
        producer.flush().unwrap();
    }

    /// Writes jobs, and waits until the server has them.
    fn jobs(&self, jobs: &[Value]) {
        let id = |job: &Value| job["id"].as_str().unwrap().to_owned();
        let ids: Vec<String> = jobs.iter().map(id).collect();
        let records: Vec<_> = ids.iter().zip(jobs).map(|(id, job)| (id.as_str(), Some(job.clone()))).collect();
        self.write("jobs", &records);
        for (id, job) in ids.iter().zip(jobs) {
            self.wait_for(|| self.get(&format!("/api/jobs/{id}")).1["phase"] == job["phase"]);
        }
    }

    fn wait_for(&self, is_so: impl Fn() -> bool) {
        let began = Instant::now();
        while !is_so() {
            assert!(began.elapsed() < SOON, "it did not come");
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.serving.address())
    }

    fn get(&self, path: &str) -> (u16, Value) {
        answer(self.client.get(self.url(path)).send().unwrap())
    }

    fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        answer(self.client.post(self.url(path)).json(body).send().unwrap())
    }

    fn send(&self, method: &str, path: &str, content_type: &str, body: &str) -> (u16, Value) {
        let request = self.client.request(method.parse().unwrap(), self.url(path)).header("content-type", content_type);
        answer(request.body(body.to_owned()).send().unwrap())
    }

    /// The commands on the log, with their keys, in the order of the log.
    fn commands(&self) -> Vec<(String, Value)> {
        self.records("job-commands").into_iter().map(|(key, value)| (key, value.unwrap())).collect()
    }

    fn records(&self, topic: &str) -> Vec<(String, Option<Value>)> {
        let mut found = Vec::new();
        read_to_end::<LogError>(&*self.log, &format!("t.{topic}"), |record| {
            let value = record.value.map(|value| serde_json::from_slice(&value).unwrap());
            found.push((String::from_utf8(record.key.unwrap()).unwrap(), value));
            Ok(())
        })
        .unwrap();
        found
    }

    fn commands_of(&self, kind: &str) -> Vec<(String, Value)> {
        self.commands().into_iter().filter(|(_, command)| command["type"] == kind).collect()
    }

    fn stream(&self, path: &str, last_id: Option<&str>) -> Stream {
        let mut request = client().get(self.url(path));
        if let Some(id) = last_id {
            request = request.header("last-event-id", id);
        }
        let response = request.send().unwrap();
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Stream { lines: BufReader::new(response), id: String::new() }
    }
}

fn answer(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.text().unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// A stream that is read.
struct Stream {
    lines: BufReader<Response>,
    /// What a browser would come back with.
    id: String,
}

impl Stream {
    /// The next event; `None` at the end.
    fn next(&mut self) -> Option<(String, Value)> {
        let (mut name, mut data, mut line) = (String::new(), String::new(), String::new());
        loop {
            line.clear();
            if self.lines.read_line(&mut line).unwrap_or(0) == 0 {
                return None;
            }
            match line.trim_end_matches('\n').split_once(": ") {
                Some(("id", id)) => id.clone_into(&mut self.id),
                Some(("event", event)) => event.clone_into(&mut name),
                Some(("data", json)) => json.clone_into(&mut data),
                _ if line == "\n" && !data.is_empty() => return Some((name, serde_json::from_str(&data).unwrap())),
                _ => {}
            }
        }
    }

    /// Reads until a position has come.
    fn until_position(&mut self) {
        let mut line = String::new();
        while self.id.is_empty() {
            line.clear();
            assert!(self.lines.read_line(&mut line).unwrap() > 0);
            if let Some(("id", id)) = line.trim_end().split_once(": ") {
                id.clone_into(&mut self.id);
            }
        }
    }
}

fn job(id: &str, number: u64, phase: &str) -> Value {
    let at = "2026-12-01T10:00:00Z";
    json!({"format": 1, "id": id, "queue": "mail", "number": number, "priority": 0, "phase": phase,
        "payload": {"to": format!("{id}@example.org")}, "submittedAt": at, "readyAt": at, "attempt": 0,
        "limits": {"maxAttempts": 3, "backoff": {"initialMs": 1000, "maxMs": 9000}, "heartbeatWithinMs": 30_000}})
}

/// A job that a worker has, whose lease was renewed just now.
fn leased(id: &str, number: u64, lease: u32, worker: &str) -> Value {
    let now = Timestamp::now();
    let mut job = job(id, number, "leased");
    (job["leaseNumber"], job["attempt"]) = (lease.into(), 1.into());
    job["lease"] = json!({"number": lease, "worker": worker, "slot": 0, "since": now, "until": now + SignedDuration::from_secs(30)});
    job
}

fn ids(answer: &Value) -> Vec<&str> {
    answer["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap()).collect()
}

#[test]
fn nothing_is_answered_before_the_topics_were_read() {
    let folder = tempfile::tempdir().unwrap();
    let log: Arc<dyn Log> = Arc::new(EmbeddedLog::open(&folder.path().join("log.db")).unwrap());
    let serving = Serving::start(Arc::clone(&log), "t.", &local()).unwrap();
    let url = |path: &str| format!("http://{}{path}", serving.address());
    let client = client();
    for path in ["/api/ready", "/api/jobs", "/api/jobs/a", "/api/queues", "/api/stats", "/api/live", "/api/workers"] {
        let response = client.get(url(path)).send().unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["retry-after"]),
            (503, &"2".parse().unwrap()),
            "{path}"
        );
        assert_eq!(answer(response).1["code"], "not-ready");
    }
    assert_eq!(answer(client.post(url("/api/jobs/mail")).json(&json!({})).send().unwrap()).0, 503);
    make_topics(&*log);
    let began = Instant::now();
    while client.get(url("/api/ready")).send().unwrap().status() != 200 {
        assert!(began.elapsed() < SOON);
    }
    assert_eq!(answer(client.get(url("/api")).send().unwrap()).1, json!({"topology": "jobs"}));
    let page = client.get(url("/")).send().unwrap();
    assert!(page.url().path() == "/console/" && page.text().unwrap().contains("<!doctype html>"));
    assert_eq!(answer(client.get(url("/api/session")).send().unwrap()).1["keysNeeded"], false);
    serving.end().unwrap();
}

#[test]
fn jobs_are_submitted_as_they_were_written() {
    let running = Running::start();
    let (status, one) =
        running.send("POST", "/api/jobs/mail", "application/json", r#"{"payload":{"n":1.10},"delay":"10 s"}"#);
    let id = one["id"].as_str().unwrap();
    assert!(status == 202 && id.len() == 32 && id.chars().all(|c| c.is_ascii_hexdigit()), "{one}");
    let mut raw = Vec::new();
    read_to_end::<LogError>(&*running.log, "t.job-commands", |record| {
        raw.push(String::from_utf8(record.value.unwrap()).unwrap());
        Ok(())
    })
    .unwrap();
    assert!(raw.len() == 1 && raw[0].contains(r#"{"n":1.10}"#), "{raw:?}");
    let command = running.commands().remove(0);
    assert_eq!(command.0, id);
    let fields = (&command.1["type"], &command.1["queue"], &command.1["id"], &command.1["delay"]);
    assert_eq!(fields, (&json!("submit"), &json!("mail"), &json!(id), &json!("10 s")));

    running.jobs(&[job("known", 1, "waiting")]);
    let (status, known) = running.post("/api/jobs/mail", &json!({"id": "known"}));
    assert_eq!((status, &known["id"], &known["phase"]), (200, &json!("known"), &json!("waiting")));
    let (status, many) = running.post("/api/jobs/mail", &json!([{"id": "a"}, {"id": "known"}, {"id": "b"}]));
    assert_eq!((status, many), (202, json!({"ids": ["a", "known", "b"]})));
    let (status, lines) =
        running.send("POST", "/api/jobs/mail", "application/x-ndjson", "{\"id\":\"c\"}\n\n{\"id\":\"d\"}\n");
    assert_eq!((status, lines), (202, json!({"ids": ["c", "d"]})));
    let keys: BTreeSet<String> = running.commands().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, [id, "a", "b", "c", "d"].map(str::to_owned).into());

    for (path, body, status) in [
        ("/api/jobs/mail", json!({"id": "a/b"}), 422),
        ("/api/jobs/mail", json!({"queue": "other"}), 422),
        ("/api/jobs/mail", json!({"type": "cancel"}), 422),
        ("/api/jobs/mail", json!({"priority": 5000}), 422),
        ("/api/jobs/mail", json!({"prio": 5}), 422),
        ("/api/jobs/a%20b", json!({}), 422),
        ("/api/jobs/mail", json!([{"id": "x"}, {"attempts": 0}]), 422),
        ("/api/jobs/mail", json!("text"), 400),
        ("/api/jobs/mail?wait=5", json!([]), 400),
        ("/api/jobs/mail?wait=99", json!({}), 400),
    ] {
        let (got, problem) = running.post(path, &body);
        assert!(got == status && problem["detail"].is_string(), "{path} {body}: {problem}");
    }
    assert_eq!(running.send("POST", "/api/jobs/mail", "text/plain", "{}").0, 415);
    let large = format!(r#"{{"payload":"{}"}}"#, "x".repeat(1 << 20));
    assert_eq!(running.send("POST", "/api/jobs/mail", "application/json", &large).0, 413);
    assert_eq!(running.commands().len(), 5, "what is wrong writes nothing");
}

#[test]
fn a_submission_is_answered_with_the_job_once_it_is_known() {
    let running = Running::start();
    thread::scope(|scope| {
        let asked = scope.spawn(|| running.post("/api/jobs/mail?wait=20", &json!({"id": "a"})));
        running.wait_for(|| !running.commands().is_empty());
        running.write("jobs", &[("a", Some(job("a", 1, "waiting")))]);
        let (status, known) = asked.join().unwrap();
        assert_eq!((status, &known["number"], &known["format"]), (201, &json!(1), &Value::Null));
    });
    assert_eq!(running.post("/api/jobs/mail?wait=0.05", &json!({"id": "b"})), (202, json!({"id": "b"})));
}

#[test]
fn lists_are_filtered_searched_and_paged() {
    let running = Running::start();
    let mut jobs: Vec<Value> = (0..30).map(|number| job(&format!("j{number:02}"), number, "waiting")).collect();
    for (number, job) in jobs.iter_mut().enumerate() {
        job["phase"] = ["waiting", "done", "dead"][number % 3].into();
        job["queue"] = ["mail", "print"][number % 2].into();
        if number % 5 == 0 {
            (job["group"], job["kind"]) = ("acme".into(), "send".into());
        }
        if number % 3 == 2 {
            job["error"] = json!({"code": "exit-1", "message": format!("No Paper {number}")});
        }
    }
    running.jobs(&jobs);
    let naive = |lets: &dyn Fn(usize) -> bool| -> Vec<String> {
        (0..30).rev().filter(|number| lets(*number)).map(|number| format!("j{number:02}")).collect()
    };
    type Lets = Box<dyn Fn(usize) -> bool>;
    let cases: Vec<(&str, Lets)> = vec![
        ("", Box::new(|_| true)),
        ("queue=mail", Box::new(|n| n % 2 == 0)),
        ("phase=dead", Box::new(|n| n % 3 == 2)),
        ("phase=dead,done&queue=print", Box::new(|n| n % 3 != 0 && n % 2 == 1)),
        ("group=acme&kind=send", Box::new(|n| n % 5 == 0)),
        ("error=exit-1&queue=mail", Box::new(|n| n % 3 == 2 && n % 2 == 0)),
        ("q=NO%20paper", Box::new(|n| n % 3 == 2)),
        ("q=J07%40example", Box::new(|n| n == 7)),
        ("q=submittedAt", Box::new(|_| false)),
        ("schedule=none", Box::new(|_| false)),
    ];
    for (query, lets) in cases {
        let expected = naive(&*lets);
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let (status, page) = running.get(&format!("/api/jobs?{query}&limit=4{cursor}"));
            assert_eq!((status, page["total"].as_u64()), (200, Some(expected.len() as u64)), "{query} {page}");
            found.extend(ids(&page).into_iter().map(str::to_owned));
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(found, expected, "{query}");
    }
    assert_eq!(running.get("/api/jobs?phase=gone").0, 400);
    assert_eq!(running.get("/api/jobs?cursor=x").0, 400);
    assert_eq!(running.get("/api/jobs/none").0, 404);
    running.write("jobs", &[("j29", None)]);
    running.wait_for(|| running.get("/api/jobs?limit=1").1["total"] == 29);

    let (_, errors) = running.get("/api/jobs/errors");
    let group = &errors.as_array().unwrap()[0];
    assert_eq!((errors.as_array().unwrap().len(), &group["code"], &group["count"]), (2, &json!("exit-1"), &json!(5)));
    assert!(group["message"].as_str().unwrap().starts_with("No Paper"));
    assert_eq!(running.get("/api/jobs/errors?queue=mail").1.as_array().unwrap().len(), 1);
    let (_, stats) = running.get("/api/stats");
    let totals = (&stats["totals"]["waiting"], &stats["totals"]["completed"], &stats["totals"]["failed"]);
    assert_eq!(totals, (&json!(10), &json!(10), &json!(9)));
    assert_eq!(stats["queues"]["mail"]["failed"], 5);
}

#[test]
fn a_worker_is_woken_by_its_lease_and_not_by_those_of_others() {
    let running = Running::start();
    let ask = json!({"worker": "w1", "queues": ["mail"], "slots": 2, "wait": 20});
    let mut took = Vec::new();
    for number in 1..=7u64 {
        let id = format!("j{number}");
        thread::scope(|scope| {
            let holding: Vec<Value> =
                (1..number).map(|number| json!({"id": format!("j{number}"), "lease": 1})).collect();
            let mut ask = ask.clone();
            ask["holding"] = holding.into();
            let running = &running;
            let asked = scope.spawn(move || (running.post("/api/jobs/lease", &ask), Instant::now()));
            thread::sleep(Duration::from_millis(60));
            running.write("jobs", &[("other", Some(leased("other", 100, 1, "w2")))]);
            thread::sleep(Duration::from_millis(30));
            assert!(!asked.is_finished(), "a lease of another worker is none of its business");
            let began = Instant::now();
            running.write("jobs", &[(id.as_str(), Some(leased(&id, number, 1, "w1")))]);
            let ((status, told), at) = asked.join().unwrap();
            took.push(at - began);
            let lease = &told["leases"][0];
            assert_eq!((status, told["leases"].as_array().unwrap().len()), (200, 1), "{told}");
            assert_eq!((&lease["id"], &lease["lease"], &lease["queue"]), (&json!(id), &json!(1), &json!("mail")));
            assert_eq!(
                (&lease["payload"]["to"], &lease["maxAttempts"]),
                (&json!(format!("{id}@example.org")), &json!(3))
            );
            assert_eq!((&lease["attempt"], &lease["heartbeatWithinMs"]), (&json!(1), &json!(30_000)));
        });
    }
    took.sort_unstable();
    assert!(took[took.len() / 2] < Duration::from_millis(50), "{took:?}");
    let hellos = running.commands_of("hello");
    assert_eq!(hellos.len(), 1, "the same is not written again: {hellos:?}");
    let hello = json!({"type": "hello", "worker": "w1", "queues": ["mail"], "slots": 2, "for": "10000 ms"});
    assert_eq!(hellos[0], ("worker:w1".to_owned(), hello));
    let (_, workers) = running.get("/api/workers");
    assert_eq!((&workers[0]["worker"], &workers[0]["slots"]), (&json!("w1"), &json!(2)));
    assert_eq!(workers[0]["leased"].as_array().unwrap().len(), 7);
    assert_eq!((&workers[1]["worker"], &workers[1]["leased"]), (&json!("w2"), &json!(["other"])));
}

/// A worker that polls with two slots, and dies when it is dropped.
struct Dying(std::net::TcpStream);

impl Dying {
    fn poll(running: &Running, wait: u32) -> Self {
        let body = json!({"worker": "w", "queues": ["mail"], "slots": 2, "wait": wait}).to_string();
        let mut socket = std::net::TcpStream::connect(running.serving.address()).unwrap();
        let (address, length) = (running.serving.address(), body.len());
        let head = format!(
            "POST /api/jobs/lease HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {length}"
        );
        socket.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).unwrap();
        Self(socket)
    }

    fn answer(&mut self) -> String {
        let mut bytes = [0; 4_096];
        let read = self.0.read(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..read]).into_owned()
    }
}

/// The slots of each hello.
fn slots(running: &Running) -> Vec<u64> {
    running.commands_of("hello").iter().map(|(_, hello)| hello["slots"].as_u64().unwrap()).collect()
}

#[test]
fn a_worker_that_dies_while_it_waits_is_given_nothing_more() {
    let running = Running::start();
    let worker = Dying::poll(&running, 30);
    running.wait_for(|| slots(&running) == [2]);
    let began = Instant::now();
    drop(worker);
    running.wait_for(|| slots(&running) == [2, 0]);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    let farewell = json!({"type": "hello", "worker": "w", "queues": [], "slots": 0, "for": "10000 ms"});
    assert_eq!(running.commands_of("hello")[1], ("worker:w".to_owned(), farewell));
    assert_eq!(running.get("/api/workers").1[0]["slots"], 0);

    // It was only its connection: a poll that comes first is not undone by the end of the one before.
    let first = Dying::poll(&running, 30);
    running.wait_for(|| slots(&running) == [2, 0, 2]);
    let mut second = Dying::poll(&running, 1);
    thread::sleep(Duration::from_millis(200));
    drop(first);
    assert!(second.answer().starts_with("HTTP/1.1 200"));
    drop(second);
    thread::sleep(Duration::from_millis(200));
    assert_eq!(slots(&running), [2, 0, 2], "who was answered may come again");
    let last = Dying::poll(&running, 30);
    thread::sleep(Duration::from_millis(200));
    drop(last);
    running.wait_for(|| slots(&running) == [2, 0, 2, 0]);
}

#[test]
fn a_worker_that_waits_says_hello_again_and_again() {
    let running = Running::start();
    let ask = |slots: u32, wait: u32| {
        let ask = json!({"worker": "w", "queues": ["mail"], "slots": slots, "wait": wait});
        running.post("/api/jobs/lease", &ask)
    };
    thread::scope(|scope| {
        let asked = scope.spawn(|| ask(2, 9));
        let began = Instant::now();
        running.wait_for(|| slots(&running).len() == 2);
        let after = began.elapsed();
        assert!(after > Duration::from_millis(3_500) && after < Duration::from_secs(6), "{after:?}");
        // One that takes no more jobs has said so, and what it said before is not said again.
        assert_eq!(ask(0, 0).0, 200);
        assert_eq!(asked.join().unwrap().0, 200);
    });
    assert_eq!(slots(&running), [2, 2, 0]);
}

#[test]
fn a_worker_is_told_what_to_stop_and_what_it_has_lost() {
    let running = Running::start();
    running.jobs(&[leased("a", 1, 1, "w"), leased("b", 2, 3, "w"), leased("c", 3, 1, "w")]);
    let holding = json!([{"id": "a", "lease": 1}, {"id": "b", "lease": 3, "progress": 0.5, "message": "half"}]);
    let ask = |wait: f64, holding: &Value| json!({"worker": "w", "queues": ["mail"], "slots": 3, "wait": wait, "holding": holding});
    let lease = |wait: f64, holding: &Value| running.post("/api/jobs/lease", &ask(wait, holding)).1;
    assert_eq!(lease(5.0, &holding)["leases"][0]["id"], "c");
    let beats = running.commands_of("heartbeat");
    let beat = json!({"type": "heartbeat", "id": "b", "lease": 3, "progress": 0.5, "message": "half"});
    assert_eq!(beats, [("b".to_owned(), beat)], "the others are fresh");

    let mut holding = holding;
    holding.as_array_mut().unwrap().push(json!({"id": "c", "lease": 1}));
    let began = Instant::now();
    assert_eq!(lease(0.2, &holding), json!({"leases": [], "cancel": [], "lost": []}));
    assert!(began.elapsed() >= Duration::from_millis(200));
    thread::scope(|scope| {
        let asked = scope.spawn(|| lease(20.0, &holding));
        thread::sleep(Duration::from_millis(50));
        let mut cancelled = leased("a", 1, 1, "w");
        cancelled["cancelling"] = true.into();
        running.write("jobs", &[("a", Some(cancelled))]);
        assert_eq!(asked.join().unwrap(), json!({"leases": [], "cancel": [{"id": "a", "lease": 1}], "lost": []}));
    });
    let began = Instant::now();
    assert_eq!(lease(0.3, &holding)["cancel"][0]["id"], "a");
    assert!(began.elapsed() > Duration::from_millis(250), "what it was told a moment ago does not answer at once");
    thread::scope(|scope| {
        let asked = scope.spawn(|| lease(20.0, &holding));
        thread::sleep(Duration::from_millis(50));
        let mut other = leased("b", 2, 4, "w2");
        other["leaseNumber"] = 4.into();
        running.write("jobs", &[("b", Some(other))]);
        let told = asked.join().unwrap();
        assert_eq!(told["lost"], json!([{"id": "b", "lease": 3}]));
    });
    // A job that is not known may be known to another server: for a while it is not lost.
    let began = Instant::now();
    let told = lease(10.0, &json!([{"id": "a", "lease": 1}, {"id": "c", "lease": 2}, {"id": "gone", "lease": 1}]));
    assert_eq!(told["leases"][0]["id"], "c", "a lease that it does not name is new to it");
    assert_eq!((&told["lost"], began.elapsed() < Duration::from_secs(1)), (&json!([]), true));
    let told = lease(10.0, &json!([{"id": "c", "lease": 1}, {"id": "gone", "lease": 1}]));
    assert_eq!(told["lost"], json!([{"id": "gone", "lease": 1}]));
    let hellos = slots(&running).len();
    lease(0.0, &json!([{"id": "c", "lease": 1}]));
    assert_eq!(slots(&running).len(), hellos + 1, "the engine gives nothing to a worker whose lease has expired");

    let began = Instant::now();
    let farewell = json!({"worker": "w", "queues": [], "slots": 0, "wait": 20});
    assert_eq!(running.post("/api/jobs/lease", &farewell).1["leases"], json!([]));
    assert!(began.elapsed() < Duration::from_secs(2));
    assert_eq!(running.commands_of("hello").last().unwrap().1["slots"], 0);
    for wrong in [
        json!({"worker": "w", "slots": 1, "queues": vec!["q"; 101]}),
        json!({"worker": "a b", "slots": 1}),
        json!({"worker": "w", "slots": 1, "wait": 31}),
        json!({"slots": 1}),
    ] {
        assert!(matches!(running.post("/api/jobs/lease", &wrong).0, 400 | 422), "{wrong}");
    }
}

#[test]
fn what_is_cancelled_before_its_worker_gets_it_is_given_back_once() {
    let running = Running::start();
    let cancelling = |id: &str, number| {
        let mut job = leased(id, number, 1, "w");
        job["cancelling"] = true.into();
        job
    };
    running.jobs(&[cancelling("a", 1), cancelling("held", 2)]);
    let holding = json!([{"id": "held", "lease": 1}]);
    let ask =
        |wait: f64| json!({"worker": "w", "queues": ["mail"], "slots": 3, "wait": wait, "holding": holding.clone()});
    let told = running.post("/api/jobs/lease", &ask(0.0)).1;
    assert_eq!(told, json!({"leases": [], "cancel": [{"id": "held", "lease": 1}], "lost": []}));
    thread::scope(|scope| {
        let asked = scope.spawn(|| running.post("/api/jobs/lease", &ask(0.9)).1);
        thread::sleep(Duration::from_millis(100));
        running.write("jobs", &[("b", Some(cancelling("b", 3)))]);
        assert_eq!(asked.join().unwrap()["leases"], json!([]));
    });
    running.wait_for(|| running.commands_of("release").len() == 2);
    running.post("/api/jobs/lease", &ask(0.0));
    running.post("/api/jobs/lease", &json!({"worker": "w", "queues": [], "slots": 0, "holding": holding}));
    let given_back: BTreeMap<String, Value> = running.commands_of("release").into_iter().collect();
    let release = |id: &str| (id.to_owned(), json!({"type": "release", "id": id, "lease": 1}));
    assert_eq!(given_back, [release("a"), release("b")].into());
    assert_eq!(running.commands_of("release").len(), 2);
}

#[test]
fn reports_count_under_the_lease_in_force_only() {
    let running = Running::start();
    running.jobs(&[leased("a", 1, 2, "w"), leased("b", 2, 1, "w"), leased("c", 3, 1, "w")]);
    for (path, lease) in [("complete", 1), ("fail", 1), ("release", 1)] {
        let body = json!({"lease": lease, "error": {"message": "x"}});
        let (status, problem) = running.post(&format!("/api/jobs/a/{path}"), &body);
        assert_eq!((status, &problem["code"]), (409, &json!("stale-lease")), "{path}");
    }
    assert_eq!(running.post("/api/jobs/none/complete", &json!({"lease": 1})).0, 404);
    assert_eq!(running.post("/api/jobs/a/complete", &json!({})).0, 422);
    assert_eq!(running.post("/api/jobs/a/fail", &json!({"lease": 2})).0, 422, "a failure has an error");
    assert!(running.commands().is_empty());

    assert_eq!(running.post("/api/jobs/a/complete", &json!({"lease": 2, "result": {"pages": 3}})).0, 202);
    assert_eq!(running.post("/api/jobs/a/complete", &json!({"lease": 2, "result": {"pages": 3}})).0, 202);
    let failure = json!({"lease": 1, "error": {"code": "exit-1", "message": "no"}, "retry": false});
    assert_eq!(running.post("/api/jobs/b/fail", &failure).0, 202);
    // This server may be behind another one.
    assert_eq!(running.post("/api/jobs/c/release", &json!({"lease": 2})).0, 202);
    let commands: BTreeMap<String, Value> = running.commands().into_iter().collect();
    assert_eq!(running.commands().len(), 3, "what was said before is not written again");
    assert_eq!(commands["a"], json!({"type": "complete", "id": "a", "lease": 2, "result": {"pages": 3}}));
    assert_eq!(
        commands["b"],
        json!({"type": "fail", "id": "b", "lease": 1, "error": {"code": "exit-1", "message": "no"}, "retry": false})
    );
    assert_eq!(commands["c"], json!({"type": "release", "id": "c", "lease": 2}));

    // What was reported on is not given out again, though the log shows it still.
    let ask = json!({"worker": "w", "queues": ["mail"], "slots": 3, "wait": 0});
    let told = running.post("/api/jobs/lease", &ask).1;
    let told: Vec<&Value> = told["leases"].as_array().unwrap().iter().map(|lease| &lease["id"]).collect();
    assert_eq!(told, ["c"]);
    running.jobs(&[leased("a", 1, 3, "w")]);
    running.wait_for(|| running.post("/api/jobs/lease", &ask).1["leases"].as_array().unwrap().len() == 2);

    let mut done = job("b", 2, "done");
    done["leaseNumber"] = 1.into();
    running.jobs(&[done]);
    assert_eq!(running.post("/api/jobs/b/complete", &json!({"lease": 1})).0, 200, "it is done");
}

#[test]
fn a_report_that_may_not_have_been_written_is_written_again() {
    let faults = Arc::<Faults>::default();
    let running = Running::start_failing(local(), Arc::clone(&faults));
    running.jobs(&[leased("a", 1, 1, "w"), leased("b", 2, 1, "w")]);
    let complete = |id: &str| running.post(&format!("/api/jobs/{id}/complete"), &json!({"lease": 1}));
    // The client goes while the report is being written, and then that fails.
    faults.holds.store(true, Ordering::Relaxed);
    let impatient = Client::builder().timeout(Duration::from_millis(300)).build().unwrap();
    let asked = impatient.post(running.url("/api/jobs/a/complete")).json(&json!({"lease": 1})).send();
    assert!(asked.is_err_and(|error| error.is_timeout()));
    let ask = json!({"worker": "w", "queues": [], "slots": 0, "holding": [{"id": "b", "lease": 1}]});
    thread::scope(|scope| {
        let again = scope.spawn(|| complete("a"));
        let hello = scope.spawn(|| running.post("/api/jobs/lease", &ask));
        thread::sleep(Duration::from_millis(200));
        assert!(!again.is_finished(), "the log does not have it");
        faults.loses.store(true, Ordering::Relaxed);
        faults.holds.store(false, Ordering::Relaxed);
        assert_eq!(again.join().unwrap().0, 503);
        hello.join().unwrap();
    });
    assert_eq!(complete("b").0, 503);
    faults.loses.store(false, Ordering::Relaxed);
    assert!(running.commands().is_empty());
    assert_eq!((complete("a").0, complete("b").0, complete("a").0), (202, 202, 202));
    let written: Vec<String> = running.commands_of("complete").into_iter().map(|(key, _)| key).collect();
    assert_eq!(written.iter().collect::<BTreeSet<_>>().len(), 2);
    assert_eq!(written.len(), 2, "what the log has is not written again");
}

#[test]
fn a_server_that_is_behind_waits_for_a_job_before_it_is_unknown() {
    let running = Running::start();
    for (path, status) in [("complete", 202), ("heartbeat", 200)] {
        thread::scope(|scope| {
            let asked = scope.spawn(|| running.post(&format!("/api/jobs/{path}/{path}"), &json!({"lease": 1})));
            thread::sleep(Duration::from_millis(300));
            running.write("jobs", &[(path, Some(leased(path, 1, 1, "w")))]);
            let (got, told) = asked.join().unwrap();
            assert_eq!(got, status, "{told}");
        });
    }
    let began = Instant::now();
    assert_eq!(running.post("/api/jobs/none/fail", &json!({"lease": 1, "error": {"message": "x"}})).0, 404);
    assert!(began.elapsed() < Duration::from_secs(4));
}

#[test]
fn heartbeats_renew_and_tell() {
    let running = Running::start();
    let mut cancelling = leased("b", 2, 1, "w");
    cancelling["cancelling"] = true.into();
    // The clock of the engine is ahead of this one by more than the period.
    let mut ahead = leased("c", 3, 1, "w");
    ahead["limits"]["heartbeatWithinMs"] = 900.into();
    ahead["lease"]["until"] = json!(Timestamp::now() + SignedDuration::from_secs(40));
    running.jobs(&[leased("a", 1, 2, "w"), cancelling, ahead]);
    thread::sleep(Duration::from_millis(350));
    let beat = |id: &str, body: Value| running.post(&format!("/api/jobs/{id}/heartbeat"), &body);
    let (status, told) = beat("a", json!({"lease": 2}));
    assert_eq!((status, &told["cancel"], &told["lost"]), (200, &json!(false), &json!(false)));
    assert!(told["until"].is_string() && running.commands().is_empty(), "it is fresh");
    assert_eq!(beat("b", json!({"lease": 1, "progress": 0.1})).1["cancel"], true);
    beat("b", json!({"lease": 1, "progress": 0.2}));
    beat("c", json!({"lease": 1}));
    let beats = running.commands_of("heartbeat");
    let said: BTreeSet<String> = beats.iter().map(|(key, value)| format!("{key} {}", value["progress"])).collect();
    assert_eq!(said, ["b 0.1", "c null"].map(str::to_owned).into(), "progress at most once a second");
    assert_eq!(beat("a", json!({"lease": 1})).1["lost"], true);
    assert_eq!(beat("a", json!({"lease": 3})).1["lost"], false, "this server may be behind");
    assert_eq!(beat("none", json!({"lease": 1})).0, 404);
    assert_eq!(beat("a", json!({"lease": 2, "progress": 7})).0, 422);
}

#[test]
fn jobs_are_cancelled_and_retried_one_or_many() {
    let running = Running::start();
    let mut jobs: Vec<Value> = (0..20).map(|number| job(&format!("w{number}"), number, "waiting")).collect();
    for number in 0..10 {
        let mut dead = job(&format!("d{number}"), 100 + number, "dead");
        dead["error"] = json!({"code": if number < 6 { "exit-1" } else { "exit-2" }, "message": "no"});
        jobs.push(dead);
    }
    jobs.extend([job("done", 200, "done"), leased("l", 201, 1, "w")]);
    running.jobs(&jobs);
    let delete = |id: &str| running.send("DELETE", &format!("/api/jobs/{id}"), "text/plain", "");
    assert_eq!(delete("w0"), (202, json!({"id": "w0"})));
    assert_eq!(running.post("/api/jobs/l/cancel", &json!({})).0, 202);
    assert_eq!(delete("done"), (200, json!({"id": "done", "phase": "done"})));
    assert_eq!(delete("none").0, 404);
    assert_eq!(running.commands_of("cancel").len(), 2);

    assert_eq!(running.send("POST", "/api/jobs/d0/retry", "text/plain", "").0, 202);
    assert_eq!(running.post("/api/jobs/d1/retry", &json!({"payload": [1]})).0, 202);
    assert_eq!(running.post("/api/jobs/done/retry", &json!({})).0, 409);
    assert_eq!(running.post("/api/jobs/l/retry", &json!({})).0, 409);
    assert_eq!(running.post("/api/jobs/d1/retry", &json!({"queue": "x"})).0, 422);
    let retries: BTreeMap<String, Value> = running.commands_of("retry").into_iter().collect();
    assert_eq!((retries.len(), &retries["d1"]["payload"]), (2, &json!([1])));

    let bulk = |what: &str, body: Value| running.post(&format!("/api/jobs/{what}"), &body);
    assert_eq!(bulk("retry", json!({"error": "exit-1"})).1["count"], 6);
    assert_eq!(bulk("retry", json!({"queue": "mail"})).1["count"], 10, "those that wait are not meant");
    assert_eq!(bulk("retry", json!({"ids": ["d0", "d0", "done", "none", "w1"]})).1["count"], 2);
    assert_eq!(bulk("cancel", json!({"queue": "mail", "phase": "waiting", "q": "w1"})).1["count"], 11);
    assert_eq!(bulk("cancel", json!({"phase": "dead"})).1["count"], 0);
    assert_eq!(running.commands_of("cancel").len(), 13);
    for wrong in [json!({}), json!({"ids": ["a"], "queue": "x"}), json!({"ids": ["a/b"]}), json!({"q": 1})] {
        assert!(matches!(bulk("cancel", wrong.clone()).0, 400 | 422), "{wrong}");
    }
}

#[test]
fn queues_are_told_and_changed() {
    let running = Running::start();
    let row = json!({"format": 1, "queue": "mail", "paused": false, "counts": {"waiting": 3, "dead": 1},
        "oldestWaiting": "2026-12-01T10:00:00Z", "waitMs": {"p50": 5, "p95": 50}, "runMs": null});
    running.write("queues", &[("mail", Some(row))]);
    let mut done = job("a", 1, "done");
    done["settled"] = json!({"at": Timestamp::now(), "leavesAt": Timestamp::now()});
    running.jobs(&[done]);
    running.wait_for(|| running.get("/api/queues/mail").0 == 200);
    let (_, queue) = running.get("/api/queues/mail");
    assert_eq!((&queue["counts"], &queue["waitMs"]["p95"]), (&json!({"waiting": 3, "dead": 1}), &json!(50)));
    assert_eq!((&queue["donePerMinute"], &queue["paused"]), (&json!(1), &json!(false)));
    assert_eq!(running.get("/api/queues").1.as_array().unwrap(), &[queue]);
    assert_eq!(running.get("/api/queues/none").0, 404);
    for what in ["pause", "resume", "drain"] {
        assert_eq!(running.post(&format!("/api/queues/mail/{what}"), &json!({})).0, 202);
    }
    let commands: Vec<(String, Value)> = running.commands();
    let expected = [json!({"paused": true}), json!({"paused": false}), json!({"drain": true})].map(|mut command| {
        (command["type"], command["queue"]) = ("queue".into(), "mail".into());
        ("queue:mail".to_owned(), command)
    });
    assert_eq!(commands, expected);
    assert_eq!(running.post("/api/queues/a%20b/pause", &json!({})).0, 422);
}

#[test]
fn schedules_are_written_told_and_run() {
    let running = Running::start();
    let definition =
        json!({"cron": "0 7 * * *", "zone": "Europe/Berlin", "job": {"queue": "reports", "payload": {"a": 1}}});
    let put = |name: &str, body: &Value| {
        running.send("PUT", &format!("/api/schedules/{name}"), "application/json", &body.to_string())
    };
    let (status, told) = put("morning", &definition);
    assert!(status == 202 && told["next"].is_string(), "{told}");
    running.wait_for(|| running.get("/api/schedules/morning").0 == 200);
    let row = json!({"format": 1, "schedule": "morning", "decided": "2026-12-01T10:00:00Z", "next": "2026-12-02T06:00:00Z",
        "lastJob": "morning@x", "submitted": 4, "skipped": 1});
    running.write("schedule-runs", &[("morning", Some(row))]);
    running.wait_for(|| running.get("/api/schedules").1[0]["submitted"] == 4);
    let (_, told) = running.get("/api/schedules/morning");
    let fields = (&told["definition"], &told["next"], &told["lastJob"], &told["skipped"]);
    assert_eq!(fields, (&definition, &json!("2026-12-02T06:00:00Z"), &json!("morning@x"), &json!(1)));

    let (status, run) = running.post("/api/schedules/morning/run", &json!({}));
    let id = run["id"].as_str().unwrap();
    assert!(status == 202 && id.starts_with("morning@") && id.contains('.'), "{run}");
    let expected = json!({"type": "submit", "id": id, "queue": "reports", "payload": {"a": 1}});
    assert_eq!(running.commands(), [(id.to_owned(), expected)]);

    for wrong in [
        json!({"cron": "0 7 * *", "job": {"queue": "reports"}}),
        json!({"every": "10 ms", "job": {"queue": "reports"}}),
        json!({"cron": "0 7 * * *", "zone": "Mars/Base", "job": {"queue": "reports"}}),
        json!({"cron": "0 7 * * *", "job": {"queue": "a b"}}),
        json!({"cron": "0 7 * * *"}),
    ] {
        let (status, problem) = put("wrong", &wrong);
        assert_eq!((status, &problem["code"]), (422, &json!("invalid-schedule")), "{wrong}");
    }
    assert_eq!(put("a%20b", &definition).0, 422);
    assert_eq!(running.send("DELETE", "/api/schedules/morning", "text/plain", "").0, 202);
    running.wait_for(|| running.get("/api/schedules/morning").0 == 404);
    assert_eq!(running.send("DELETE", "/api/schedules/morning", "text/plain", "").0, 404);
    assert_eq!(running.post("/api/schedules/morning/run", &json!({})).0, 404);
    assert_eq!(running.records("schedules").last().unwrap(), &("morning".to_owned(), None));
}

#[test]
fn a_job_is_watched_until_it_is_settled() {
    let running = Running::start();
    running.jobs(&[job("a", 1, "waiting")]);
    assert_eq!(running.get("/api/jobs/none/live").0, 404);
    let mut stream = running.stream("/api/jobs/a/live", None);
    assert_eq!(stream.next().unwrap().1["phase"], "waiting");
    let mut progress = leased("a", 1, 1, "w");
    progress["progress"] = json!({"fraction": 0.4, "message": "page 4", "at": "2026-12-01T10:00:01Z"});
    running.write("jobs", &[("a", Some(progress)), ("b", Some(job("b", 2, "waiting")))]);
    let (name, told) = stream.next().unwrap();
    assert_eq!((name.as_str(), &told["progress"]["message"], stream.id.as_str()), ("job", &json!("page 4"), "2"));
    running.write("jobs", &[("a", Some(job("a", 1, "done")))]);
    assert_eq!(stream.next().unwrap().1["phase"], "done");
    assert_eq!(stream.next(), Some(("settled".to_owned(), json!({"id": "a", "phase": "done"}))));
    assert_eq!(stream.next(), None);
}

#[test]
fn notifications_are_resumed_also_at_another_server() {
    let mut running = Running::start();
    let notify = |running: &Running, bodies: &[u32]| {
        let one = |body: &u32| {
            ("user:1", Some(json!({"format": 1, "channel": "user:1", "at": "2026-12-01T10:00:00Z", "body": body})))
        };
        running.write(
            "notifications",
            &[&[("user:2", Some(json!({"body": "other"})))][..], &bodies.iter().map(one).collect::<Vec<_>>()].concat(),
        );
    };
    notify(&running, &[1]);
    thread::sleep(Duration::from_millis(100));
    let mut stream = running.stream("/api/notifications/user:1", None);
    stream.until_position();
    let before_any = stream.id.clone();
    notify(&running, &[2, 3]);
    assert_eq!(stream.next().unwrap().1["body"], 2);
    let after_two = stream.id.clone();
    let (name, told) = stream.next().unwrap();
    assert_eq!(
        (name.as_str(), told),
        ("notification", json!({"channel": "user:1", "at": "2026-12-01T10:00:00Z", "body": 3}))
    );
    drop(stream);
    notify(&running, &[4]);
    running.restart();
    let read = |id: &str, count: usize| -> Vec<Value> {
        let mut stream = running.stream("/api/notifications/user:1", Some(id));
        (0..count).map(|_| stream.next().unwrap().1["body"].clone()).collect()
    };
    assert_eq!(read(&after_two, 2), [3, 4]);
    assert_eq!(read(&before_any, 3), [2, 3, 4]);
    assert_eq!(read("0", 4), [1, 2, 3, 4]);
    assert_eq!(running.get("/api/notifications/user:1?lastEventId=x").0, 400);
    assert_eq!(running.get("/api/notifications/a%20b").0, 422);
    assert_eq!(running.post("/api/notifications/user:1", &json!({"hello": [1]})).0, 202);
    let notify = json!({"type": "notify", "channel": "user:1", "body": {"hello": [1]}});
    assert_eq!(running.commands(), [("channel:user:1".to_owned(), notify)]);
}

#[test]
fn a_client_is_told_that_it_has_missed_notifications() {
    let running = Running::start();
    let notify = |from: u32, to: u32| {
        let one = |body| ("user:1", Some(json!({"channel": "user:1", "body": body})));
        running.write("notifications", &(from..to).map(one).collect::<Vec<_>>());
    };
    notify(0, 2);
    let mut stream = running.stream("/api/notifications/user:1", Some("0"));
    let first = (0..2).map(|_| stream.next().unwrap().1["body"].clone()).collect::<Vec<_>>();
    assert_eq!(first, [0, 1]);
    let position = stream.id.clone();
    drop(stream);
    // A channel keeps a thousand.
    notify(2, 1_100);
    let mut newest = running.stream("/api/notifications/user:1", Some(&position));
    let mut names = BTreeMap::<String, u32>::new();
    let mut last = Value::Null;
    while last["body"] != 1_099 {
        let (name, told) = newest.next().unwrap();
        assert!(name == "notification" || told == json!({"channel": "user:1"}), "{name} {told}");
        *names.entry(name).or_default() += 1;
        last = told;
    }
    assert_eq!(names.get("gap"), Some(&1), "{names:?}");
    let mut stream = running.stream("/api/notifications/user:1", Some(&newest.id));
    notify(1_100, 1_101);
    assert_eq!(stream.next().unwrap(), ("notification".to_owned(), json!({"channel": "user:1", "body": 1_100})));
    drop(stream);

    // Another server has read more than this one: its position is waited for.
    let partitions: Vec<i64> = newest.id.split('-').map(|offset| offset.parse().unwrap()).collect();
    let ahead: Vec<String> =
        partitions.iter().map(|offset| (offset + i64::from(*offset > 0) * 2).to_string()).collect();
    let mut stream = running.stream("/api/notifications/user:1", Some(&ahead.join("-")));
    stream.until_position();
    thread::sleep(Duration::from_millis(300));
    notify(1_101, 1_103);
    assert_eq!(stream.next().unwrap(), ("notification".to_owned(), json!({"channel": "user:1", "body": 1_102})));
    drop(stream);
    let mut stream = running.stream("/api/notifications/user:1", Some("999999"));
    assert_eq!(stream.next().unwrap().0, "gap", "it is of another log");
    assert_eq!(stream.next().unwrap().1["body"], 103);
}

#[test]
fn all_that_changes_is_told_now_and_then() {
    let running = Running::start();
    let row = |queue: &str, waiting: u64| json!({"queue": queue, "paused": false, "counts": {"waiting": waiting}, "oldestWaiting": null, "waitMs": null, "runMs": null});
    running.write("queues", &[("mail", Some(row("mail", 1)))]);
    running.wait_for(|| running.get("/api/queues/mail").0 == 200);
    let mut stream = running.stream("/api/live?queue=mail", None);
    assert_eq!(stream.next().unwrap().1[0]["counts"]["waiting"], 1);
    let mut other = job("other", 9, "waiting");
    other["queue"] = "print".into();
    let began = Instant::now();
    for number in 0..20 {
        running.write("queues", &[("mail", Some(row("mail", number + 2)))]);
        let id = format!("j{number}");
        running.write("jobs", &[(id.as_str(), Some(job(&id, number, "waiting"))), ("other", Some(other.clone()))]);
    }
    let (mut named, mut queues, mut last) = (BTreeSet::new(), 0, Value::Null);
    while named.len() < 20 || last != 21 {
        let (name, told) = stream.next().unwrap();
        match name.as_str() {
            "jobs" => named.extend(told["ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned())),
            _ => {
                queues += 1;
                last = told[0]["counts"]["waiting"].clone();
            }
        }
    }
    assert!(queues as u128 <= 2 + began.elapsed().as_millis() / 500, "{queues} in {:?}", began.elapsed());
    assert!(!named.contains("other") && named.len() == 20);
}

#[test]
fn a_key_opens_what_its_scopes_say() {
    let scopes = [Scope::Read, Scope::Produce, Scope::Work, Scope::Admin];
    let keys: Vec<(String, String)> = scopes.iter().map(|_| generate().unwrap()).collect();
    let configured = scopes.iter().zip(&keys).map(|(scope, (_, hash))| KeyConfig {
        name: scope.to_string(),
        hash: hash.clone(),
        scopes: vec![*scope],
    });
    let running = Running::start_as(ServeConfig { keys: configured.collect(), ..local() });
    let cases: &[(&str, &str, Scope)] = &[
        ("GET", "/api/jobs", Scope::Read),
        ("GET", "/api/jobs/a", Scope::Read),
        ("GET", "/api/jobs/errors", Scope::Read),
        ("GET", "/api/jobs/a/live", Scope::Read),
        ("GET", "/api/queues", Scope::Read),
        ("GET", "/api/queues/mail", Scope::Read),
        ("GET", "/api/stats", Scope::Read),
        ("GET", "/api/schedules", Scope::Read),
        ("GET", "/api/schedules/a", Scope::Read),
        ("GET", "/api/workers", Scope::Read),
        ("GET", "/api/notifications/a%20b", Scope::Read),
        ("GET", "/api/live?x=1", Scope::Read),
        ("POST", "/api/jobs/mail", Scope::Produce),
        ("POST", "/api/notifications/a", Scope::Produce),
        ("POST", "/api/jobs/lease", Scope::Work),
        ("POST", "/api/jobs/a/heartbeat", Scope::Work),
        ("POST", "/api/jobs/a/complete", Scope::Work),
        ("POST", "/api/jobs/a/fail", Scope::Work),
        ("POST", "/api/jobs/a/release", Scope::Work),
        ("DELETE", "/api/jobs/a", Scope::Admin),
        ("POST", "/api/jobs/a/cancel", Scope::Admin),
        ("POST", "/api/jobs/a/retry", Scope::Admin),
        ("POST", "/api/jobs/cancel", Scope::Admin),
        ("POST", "/api/jobs/retry", Scope::Admin),
        ("POST", "/api/queues/mail/pause", Scope::Admin),
        ("POST", "/api/queues/mail/resume", Scope::Admin),
        ("POST", "/api/queues/mail/drain", Scope::Admin),
        ("PUT", "/api/schedules/a", Scope::Admin),
        ("DELETE", "/api/schedules/a", Scope::Admin),
        ("POST", "/api/schedules/a/run", Scope::Admin),
    ];
    for (method, path, needed) in cases {
        let ask = |key: Option<&str>| {
            let mut request = running.client.request(method.parse().unwrap(), running.url(path));
            if let Some(key) = key {
                request = request.bearer_auth(key);
            }
            request.send().unwrap().status().as_u16()
        };
        assert_eq!(ask(None), 401, "{method} {path}");
        for (scope, (key, _)) in scopes.iter().zip(&keys) {
            let status = ask(Some(key));
            assert_eq!(status == 403, scope != needed, "{method} {path} with {scope}: {status}");
            assert_ne!(status, 401);
        }
    }
    running.write("jobs", &[("a", Some(job("a", 1, "waiting")))]);
    for path in ["/api/live", "/api/notifications/user:1", "/api/jobs/a/live"] {
        let asked = running.client.post(running.url("/api/ticket")).bearer_auth(&keys[0].0).send().unwrap();
        let (_, ticket) = answer(asked);
        let path = format!("{path}?ticket={}", ticket["ticket"].as_str().unwrap());
        drop(running.stream(&path, None));
        assert_eq!(running.get(&path).0, 401, "a ticket is for once");
    }
    assert_eq!(running.get("/api").0, 200);
    assert_eq!(running.get("/api/ready").0, 200);
    let (status, problem) = running.get("/api/nothing");
    assert!(status == 404 && problem["code"] == "not-found");
    assert_eq!(running.send("PATCH", "/api/jobs", "text/plain", "").0, 405);
}

#[test]
fn work_is_not_counted_by_the_limit_of_requests() {
    let (key, hash) = generate().unwrap();
    let keys = vec![KeyConfig { name: "workers".to_owned(), hash, scopes: vec![Scope::Work] }];
    let limits = LimitsConfig { requests_per_second: 1, burst: 2, ..LimitsConfig::default() };
    let running = Running::start_as(ServeConfig { keys, limits, ..local() });
    let post = |path: &str| running.client.post(running.url(path)).bearer_auth(&key).send().unwrap().status().as_u16();
    for path in ["lease", "a/heartbeat", "a/complete", "a/fail", "a/release"] {
        assert!((0..5).all(|_| post(&format!("/api/jobs/{path}")) == 415), "{path}");
    }
    assert_eq!([(); 3].map(|()| post("/api/jobs/a/cancel")), [403, 403, 429]);
}

#[test]
fn strangers_see_no_jobs_unless_the_configuration_says_so() {
    let afar = |running: &Running| {
        let request = running.client.get(running.url("/api/jobs")).header("x-forwarded-for", "192.0.2.1");
        request.send().unwrap().status().as_u16()
    };
    let running = Running::start();
    assert_eq!((afar(&running), running.get("/api/jobs").0), (403, 200));
    let running = Running::start_as(ServeConfig { insecure: true, ..local() });
    assert_eq!((afar(&running), running.get("/api/jobs").0), (403, 403), "a proxy is before it");
    let anonymous = Some(vec![Scope::Read]);
    let running = Running::start_as(ServeConfig { insecure: true, anonymous, ..local() });
    assert_eq!((afar(&running), running.get("/api/jobs").0), (200, 200));
}

#[test]
fn a_ticket_opens_no_writes() {
    let (key, hash) = generate().unwrap();
    let keys = vec![KeyConfig { name: "all".to_owned(), hash, scopes: Scope::ALL.to_vec() }];
    let running = Running::start_as(ServeConfig { keys, ..local() });
    for path in ["/api/notifications/user:1", "/api/jobs/live"] {
        let ticket = answer(running.client.post(running.url("/api/ticket")).bearer_auth(&key).send().unwrap()).1;
        let path = format!("{path}?ticket={}", ticket["ticket"].as_str().unwrap());
        assert_eq!(running.post(&path, &json!({})).0, 401, "{path}");
    }
    assert!(running.commands().is_empty());
}

#[test]
fn what_is_not_followed_any_more_is_not_told() {
    let faults = Arc::<Faults>::default();
    let running = Running::start_failing(local(), Arc::clone(&faults));
    running.jobs(&[job("a", 1, "waiting")]);
    faults.panics.store(true, Ordering::Relaxed);
    running.wait_for(|| running.serving.has_ended());
    assert_eq!([running.get("/api/ready").0, running.get("/api/jobs/a").0], [503, 503]);
}

#[test]
fn a_log_that_fails_is_read_again_and_nobody_loses_anything() {
    let faults = Arc::<Faults>::default();
    let running = Running::start_failing(local(), Arc::clone(&faults));
    running.jobs(&[job("a", 1, "waiting"), job("gone", 2, "waiting"), leased("l", 3, 1, "w")]);
    running.jobs(&[leased("a", 1, 1, "w2")]);
    let mut watched = running.stream("/api/jobs/a/live", None);
    assert_eq!(watched.next().unwrap().1["phase"], "leased");
    let mut channel = running.stream("/api/notifications/user:1", None);
    channel.until_position();
    let ask = json!({"worker": "w", "queues": ["mail"], "slots": 1, "wait": 20, "holding": [{"id": "l", "lease": 1}]});
    thread::scope(|scope| {
        let asked = scope.spawn(|| running.post("/api/jobs/lease", &ask));
        running.wait_for(|| !running.commands_of("hello").is_empty());
        faults.fails.store(true, Ordering::Relaxed);
        running.wait_for(|| running.get("/api/ready").0 == 503);
        running.write("jobs", &[("gone", None)]);
        running.write("notifications", &[("user:1", Some(json!({"channel": "user:1", "body": 1})))]);
        assert_eq!(running.get("/api/jobs/l").0, 503);
        running.wait_until_ready();
        let (status, told) = asked.join().unwrap();
        assert!(status == 503 || told["lost"] == json!([]), "{told}");
    });
    assert_eq!(running.get("/api/jobs/gone").0, 404);
    assert_eq!(running.get("/api/jobs/l").1["phase"], "leased");
    assert_eq!(channel.next().unwrap().1["body"], 1);
    running.write("jobs", &[("a", Some(job("a", 1, "dead")))]);
    assert_eq!(watched.next().unwrap().1["phase"], "dead", "what it was before is not told again");
    assert_eq!(watched.next().unwrap().0, "settled");
}

#[test]
fn a_server_ends_at_once_though_clients_wait() {
    let running = Running::start();
    running.jobs(&[job("a", 1, "waiting")]);
    let mut stream = running.stream("/api/jobs/a/live", None);
    stream.next().unwrap();
    let url = running.url("/api/jobs/lease");
    let asked = thread::spawn(move || {
        let ask = json!({"worker": "w", "queues": ["mail"], "slots": 1, "wait": 30});
        answer(client().post(url).json(&ask).send().unwrap())
    });
    running.wait_for(|| !running.commands().is_empty());
    let began = Instant::now();
    let Running { serving, .. } = running;
    serving.end().unwrap();
    assert!(began.elapsed() < Duration::from_millis(900), "{:?}", began.elapsed());
    assert_eq!(stream.next(), None);
    assert_eq!(asked.join().unwrap().1["leases"], json!([]));
}
