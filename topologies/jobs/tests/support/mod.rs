//! A server that speaks the API of jobs as far as workers and tools need it, with jobs that a test sets.
#![allow(dead_code, reason = "not every test uses all of it")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use serde_json::{Value, json};
use tokio::sync::oneshot;

/// A job of the server.
#[derive(Debug, Clone)]
pub struct FakeJob {
    pub queue: String,
    pub payload: Value,
    /// What was submitted, as it came.
    pub submitted: Value,
    pub phase: &'static str,
    pub attempt: u32,
    pub lease: u32,
    pub worker: Option<String>,
    pub cancelling: bool,
    pub heartbeat_ms: u64,
    pub progress: Option<f64>,
    pub message: Option<String>,
    pub result: Option<Value>,
    pub error: Option<Value>,
    pub retry: Option<bool>,
}

impl FakeJob {
    fn document(&self, id: &str) -> Value {
        let at = "2026-12-01T10:00:00Z";
        let mut document = json!({
            "id": id, "queue": self.queue, "number": 1, "priority": 0, "phase": self.phase, "payload": self.payload,
            "submittedAt": at, "readyAt": at, "attempt": self.attempt, "leaseNumber": self.lease,
            "limits": {"maxAttempts": 3, "backoff": {"initialMs": 1, "maxMs": 1}, "heartbeatWithinMs": self.heartbeat_ms},
        });
        let set = [("result", self.result.clone()), ("error", self.error.clone())];
        for (name, value) in set.into_iter().filter_map(|(name, value)| Some((name, value?))) {
            document[name] = value;
        }
        if let Some(fraction) = self.progress {
            document["progress"] = json!({"fraction": fraction, "message": self.message, "at": at});
        }
        document
    }

    fn is_settled(&self) -> bool {
        ["done", "dead", "cancelled"].contains(&self.phase)
    }
}

/// What the server knows.
#[derive(Debug, Default)]
pub struct Known {
    pub jobs: BTreeMap<String, FakeJob>,
    /// Requests, as `POST /api/jobs/lease`.
    pub requests: Vec<String>,
    /// Slots of each worker, as they were told.
    pub slots: BTreeMap<String, Vec<u32>>,
    /// Reports, as `id/lease complete`.
    pub reports: Vec<String>,
    /// How many heartbeats were heard of each job.
    pub heartbeats: BTreeMap<String, u64>,
    /// Leases that were reported on, and when.
    pub reported: BTreeMap<(String, u32), Instant>,
    /// The most jobs that one request has named.
    pub most_held: usize,
    /// Whether a proxy answers every request with a plain 404.
    pub astray: bool,
    /// Of so many heartbeats in a row the next one is refused with 429.
    pub heartbeats_in_a_row: Option<u64>,
    row: u64,
    /// So many requests with jobs are taken; those after are refused.
    pub submits_left: Option<u32>,
    /// The most jobs that a bulk request is of.
    pub most_in_bulk: Option<usize>,
    pub schedules: BTreeMap<String, Value>,
    pub paused: Vec<String>,
    /// Whether every request is answered with 503.
    pub away: bool,
    /// So many answers to reports get lost after they were taken.
    pub lose_answers: u32,
    pub key: Option<String>,
}

/// So long a lease that was reported on is told neither as one that is new nor as one that is lost.
const REPORT_LASTS: Duration = Duration::from_secs(60);

type Shared = Arc<Mutex<Known>>;

/// The server; it ends when it is dropped.
pub struct Fake {
    known: Shared,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Fake {
    pub fn start() -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)), Shared::default())
    }

    fn at(address: SocketAddr, known: Shared) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (told, address_of) = std::sync::mpsc::channel();
        let app = router(Arc::clone(&known));
        let serve = async move {
            let listener = tokio::net::TcpListener::bind(address).await.expect("a port");
            told.send(listener.local_addr().expect("an address")).expect("heard");
            // Connections are cut, as when a server is killed.
            tokio::select! {
                served = axum::serve(listener, app) => served.expect("served"),
                _ = stopped => {}
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let thread = std::thread::spawn(move || runtime.block_on(serve));
        let address = address_of.recv().expect("an address");
        Self { known, address, stop: Some(stop), thread: Some(thread) }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("no panic")
    }

    pub fn job(&self, id: &str) -> FakeJob {
        self.known().jobs.get(id).expect("a job").clone()
    }

    pub fn add(&self, id: &str, queue: &str, payload: Value) {
        self.known().jobs.insert(id.to_owned(), job(queue, payload, Value::Null));
    }

    pub fn change(&self, id: &str, change: impl FnOnce(&mut FakeJob)) {
        change(self.known().jobs.get_mut(id).expect("a job"));
    }

    /// Waits until something holds.
    pub fn wait(&self, what: &str, holds: impl Fn(&Known) -> bool) {
        let until = Instant::now() + Duration::from_secs(20);
        while !holds(&self.known()) {
            assert!(Instant::now() < until, "{what}: {:#?}", self.known());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn wait_for(&self, id: &str, phase: &str) {
        self.wait(&format!("{id} {phase}"), |known| known.jobs.get(id).is_some_and(|job| job.phase == phase));
    }

    /// Cuts all connections, is away for a while, and comes back at the same address.
    pub fn restart(&mut self, pause: Duration) {
        self.end();
        std::thread::sleep(pause);
        *self = Self::at(self.address, Arc::clone(&self.known));
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("ended");
        }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.end();
    }
}

fn job(queue: &str, payload: Value, submitted: Value) -> FakeJob {
    FakeJob {
        queue: queue.to_owned(),
        payload,
        submitted,
        phase: "waiting",
        attempt: 0,
        lease: 0,
        worker: None,
        cancelling: false,
        heartbeat_ms: 30_000,
        progress: None,
        message: None,
        result: None,
        error: None,
        retry: None,
    }
}

fn router(known: Shared) -> Router {
    Router::new()
        .route("/api/jobs", get(list))
        .route("/api/jobs/lease", post(lease))
        .route("/api/jobs/cancel", post(bulk))
        .route("/api/jobs/retry", post(bulk))
        .route("/api/jobs/{id}", get(one).post(submit).delete(cancel))
        .route("/api/jobs/{id}/cancel", post(cancel))
        .route("/api/jobs/{id}/retry", post(retry))
        .route("/api/jobs/{id}/live", get(live))
        .route("/api/jobs/{id}/heartbeat", post(heartbeat))
        .route("/api/jobs/{id}/complete", post(complete))
        .route("/api/jobs/{id}/fail", post(fail))
        .route("/api/jobs/{id}/release", post(release))
        .route("/api/queues", get(queues))
        .route("/api/queues/{queue}/pause", post(pause))
        .route("/api/schedules", get(schedules))
        .route("/api/schedules/{name}", get(schedule).put(set_schedule))
        .route("/api/schedules/{name}", delete(remove_schedule))
        .layer(from_fn_with_state(Arc::clone(&known), guard))
        .with_state(known)
}

fn problem(status: StatusCode, code: &str, detail: &str) -> Response {
    let body = json!({"type": "about:blank", "status": status.as_u16(), "code": code, "detail": detail}).to_string();
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response()
}

fn answer(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

fn unknown() -> Response {
    problem(StatusCode::NOT_FOUND, "not-found", "There is no such thing.")
}

async fn guard(State(known): State<Shared>, request: Request, next: Next) -> Response {
    {
        let mut known = known.lock().expect("no panic");
        let line = format!("{} {}", request.method(), request.uri());
        known.requests.push(line);
        if known.away {
            return problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Not now.");
        }
        if known.astray {
            return (StatusCode::NOT_FOUND, "<html>no route</html>").into_response();
        }
        let shown = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        if known.key.as_ref().is_some_and(|key| shown != Some(&format!("Bearer {key}"))) {
            return problem(StatusCode::UNAUTHORIZED, "unauthorized", "A key is needed.");
        }
    }
    next.run(request).await
}

async fn list(State(known): State<Shared>, RawQuery(query): RawQuery) -> Response {
    let url = reqwest::Url::parse(&format!("http://x/?{}", query.unwrap_or_default())).expect("a query");
    let query: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
    let known = known.lock().expect("no panic");
    let is = |name: &str, value: &str| query.get(name).is_none_or(|wanted| wanted == value);
    let meant = known.jobs.iter().filter(|(_, job)| is("queue", &job.queue) && is("phase", job.phase));
    let all: Vec<Value> = meant.map(|(id, job)| job.document(id)).collect();
    let from: usize = query.get("cursor").map_or(0, |cursor| cursor.parse().expect("a cursor"));
    let limit: usize = query.get("limit").map_or(50, |limit| limit.parse().expect("a limit"));
    let end = (from + limit).min(all.len());
    let next = (end < all.len()).then(|| end.to_string());
    answer(StatusCode::OK, &json!({"jobs": &all[from..end], "total": all.len(), "next": next}))
}

async fn one(State(known): State<Shared>, Path(id): Path<String>) -> Response {
    let known = known.lock().expect("no panic");
    known.jobs.get(&id).map_or_else(unknown, |job| answer(StatusCode::OK, &job.document(&id)))
}

async fn submit(State(known): State<Shared>, Path(queue): Path<String>, body: Bytes) -> Response {
    let text = String::from_utf8(body.to_vec()).expect("a text");
    let read = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
    let many = text.ends_with('\n');
    let all: Vec<Value> = if many { text.lines().map(read).collect() } else { vec![read(&text)] };
    let mut known = known.lock().expect("no panic");
    if known.submits_left == Some(0) {
        return problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "No more of these.");
    }
    known.submits_left = known.submits_left.map(|left| left - 1);
    let mut ids = Vec::new();
    for submitted in all {
        let drawn = format!("drawn-{}", known.jobs.len());
        let id = submitted["id"].as_str().map_or(drawn, str::to_owned);
        if let (Some(job), false) = (known.jobs.get(&id), many) {
            return answer(StatusCode::OK, &json!({"id": id, "phase": job.phase}));
        }
        let new = job(&queue, submitted["payload"].clone(), submitted);
        known.jobs.entry(id.clone()).or_insert(new);
        ids.push(id);
    }
    answer(StatusCode::ACCEPTED, &if many { json!({"ids": ids}) } else { json!({"id": ids[0]}) })
}

async fn cancel(State(known): State<Shared>, Path(id): Path<String>) -> Response {
    let mut known = known.lock().expect("no panic");
    let Some(job) = known.jobs.get_mut(&id) else { return unknown() };
    match job.phase {
        "leased" => job.cancelling = true,
        _ => job.phase = "cancelled",
    }
    answer(StatusCode::ACCEPTED, &json!({"id": id}))
}

async fn retry(State(known): State<Shared>, Path(id): Path<String>, body: Bytes) -> Response {
    let mut known = known.lock().expect("no panic");
    let Some(job) = known.jobs.get_mut(&id) else { return unknown() };
    if job.phase == "done" || job.phase == "leased" {
        return problem(StatusCode::CONFLICT, "not-retryable", "It cannot run again.");
    }
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    if let Some(payload) = body.get("payload") {
        job.payload = payload.clone();
    }
    job.phase = "waiting";
    answer(StatusCode::ACCEPTED, &json!({"id": id}))
}

async fn bulk(State(known): State<Shared>, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    let known = known.lock().expect("no panic");
    let is = |name: &str, value: &str| body[name].as_str().is_none_or(|wanted| wanted == value);
    let meant = known.jobs.values().filter(|job| is("queue", &job.queue) && is("phase", job.phase)).count();
    let all = body["ids"].as_array().map_or(meant, Vec::len);
    let count = all.min(known.most_in_bulk.unwrap_or(usize::MAX));
    answer(StatusCode::ACCEPTED, &json!({"count": count, "more": count < all}))
}

/// The stream of a job, in one piece once it is settled; before, it is cut off after each change.
async fn live(State(known): State<Shared>, Path(id): Path<String>) -> Response {
    let document = || {
        let known = known.lock().expect("no panic");
        known.jobs.get(&id).map(|job| (job.document(&id), job.is_settled()))
    };
    let Some((first, mut settled)) = document() else { return unknown() };
    let mut said = first.clone();
    let mut text = format!(": hello\n\nid: 1\nevent: job\ndata: {first}\n\n");
    if !settled {
        // What was said is sent when it changes; the client has to come again.
        let until = Instant::now() + Duration::from_millis(200);
        while said == first && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let Some(now) = document() else { break };
            (said, settled) = now;
        }
        if said != first {
            text.push_str(&format!("id: 2\nevent: job\ndata: {said}\n\n"));
        }
    }
    if settled {
        text.push_str("id: 3\nevent: settled\ndata: {}\n\n");
    }
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from(text)).into_response()
}

async fn lease(State(known): State<Shared>, body: Bytes) -> Response {
    let asked: Value = serde_json::from_slice(&body).expect("JSON");
    let worker = asked["worker"].as_str().expect("a name").to_owned();
    let slots = u32::try_from(asked["slots"].as_u64().expect("slots")).expect("few");
    {
        let mut known = known.lock().expect("no panic");
        known.slots.entry(worker.clone()).or_default().push(slots);
        known.most_held = known.most_held.max(asked["holding"].as_array().map_or(0, Vec::len));
    }
    let until = Instant::now() + Duration::from_secs(asked["wait"].as_u64().unwrap_or(20));
    let holding: Vec<(String, u32)> = asked["holding"].as_array().map_or_else(Vec::new, |held| {
        held.iter().map(|one| (one["id"].as_str().unwrap().to_owned(), one["lease"].as_u64().unwrap() as u32)).collect()
    });
    loop {
        let told = news(&mut known.lock().expect("no panic"), &worker, &asked["queues"], &holding);
        let empty = ["leases", "cancel", "lost"].iter().all(|name| told[name].as_array().is_none_or(Vec::is_empty));
        if !empty || slots == 0 || Instant::now() >= until {
            return answer(StatusCode::OK, &told);
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Leases what may be leased, and tells what a worker does not know.
fn news(known: &mut Known, worker: &str, queues: &Value, holding: &[(String, u32)]) -> Value {
    let slots = *known.slots[worker].last().expect("told");
    let has = |job: &FakeJob| job.phase == "leased" && job.worker.as_deref() == Some(worker);
    let mut leased = known.jobs.values().filter(|job| has(job)).count() as u32;
    for job in known.jobs.values_mut() {
        let is_wanted = queues.as_array().is_some_and(|queues| queues.contains(&json!(job.queue)));
        if leased < slots && is_wanted && job.phase == "waiting" {
            (job.phase, job.worker) = ("leased", Some(worker.to_owned()));
            job.lease += 1;
            job.attempt += 1;
            leased += 1;
        }
    }
    known.reported.retain(|_, at| at.elapsed() < REPORT_LASTS);
    let mut told = json!({"leases": [], "cancel": [], "lost": []});
    let mut tell = |name: &str, value: Value| told[name].as_array_mut().expect("a list").push(value);
    for (id, lease) in holding {
        if known.reported.contains_key(&(id.clone(), *lease)) {
            continue;
        }
        let job = known.jobs.get(id).filter(|job| has(job) && job.lease == *lease);
        match job {
            None => tell("lost", json!({"id": id, "lease": lease})),
            Some(job) if job.cancelling => tell("cancel", json!({"id": id, "lease": lease})),
            Some(_) => {}
        }
    }
    for (id, job) in known.jobs.iter().filter(|(_, job)| has(job)) {
        let of = (id.clone(), job.lease);
        if !holding.contains(&of) && !job.cancelling && !known.reported.contains_key(&of) {
            let lease = json!({
                "id": id, "queue": job.queue, "lease": job.lease, "attempt": job.attempt, "maxAttempts": 3,
                "payload": job.payload, "until": "2026-12-01T10:00:30Z", "heartbeatWithinMs": job.heartbeat_ms,
                "finishWithinMs": null,
            });
            tell("leases", lease);
        }
    }
    told
}

async fn heartbeat(State(known): State<Shared>, Path(id): Path<String>, body: Bytes) -> Response {
    let said: Value = serde_json::from_slice(&body).expect("JSON");
    let mut known = known.lock().expect("no panic");
    if known.heartbeats_in_a_row.is_some_and(|most| known.row >= most) {
        known.row = 0;
        return problem(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", "Slower.");
    }
    known.row += 1;
    *known.heartbeats.entry(id.clone()).or_default() += 1;
    let Some(job) = known.jobs.get_mut(&id) else { return unknown() };
    let lost = job.phase != "leased" || said["lease"].as_u64() != Some(job.lease.into());
    if !lost {
        job.progress = said["progress"].as_f64().or(job.progress);
        job.message = said["message"].as_str().map(str::to_owned);
    }
    let told = json!({"cancel": job.cancelling, "lost": lost, "until": "2026-12-01T10:00:30Z"});
    answer(StatusCode::OK, &told)
}

async fn complete(State(known): State<Shared>, Path(id): Path<String>, body: Bytes) -> Response {
    end(&known, &id, &body, "complete", |job, said| {
        job.phase = "done";
        job.result = said.get("result").cloned();
    })
}

async fn fail(State(known): State<Shared>, Path(id): Path<String>, body: Bytes) -> Response {
    end(&known, &id, &body, "fail", |job, said| {
        job.phase = if job.cancelling { "cancelled" } else { "dead" };
        job.error = said.get("error").cloned();
        job.retry = said["retry"].as_bool();
    })
}

async fn release(State(known): State<Shared>, Path(id): Path<String>, body: Bytes) -> Response {
    end(&known, &id, &body, "release", |job, _| {
        if job.cancelling {
            job.phase = "cancelled";
            return;
        }
        (job.phase, job.worker) = ("waiting", None);
        job.attempt -= 1;
    })
}

fn end(known: &Shared, id: &str, body: &[u8], kind: &str, change: fn(&mut FakeJob, &Value)) -> Response {
    let said: Value = serde_json::from_slice(body).expect("JSON");
    let mut known = known.lock().expect("no panic");
    let Some(job) = known.jobs.get_mut(id) else { return unknown() };
    let is_last = said["lease"].as_u64() == Some(job.lease.into());
    if is_last && kind == "complete" && job.phase == "done" {
        return answer(StatusCode::OK, &json!({"id": id, "phase": "done"}));
    }
    if job.phase != "leased" || !is_last {
        return problem(StatusCode::CONFLICT, "stale-lease", "Another one has it.");
    }
    change(job, &said);
    let lease = job.lease;
    known.reports.push(format!("{id}/{lease} {kind}"));
    known.reported.insert((id.to_owned(), lease), Instant::now());
    if known.lose_answers > 0 {
        known.lose_answers -= 1;
        return problem(StatusCode::BAD_GATEWAY, "bad-gateway", "The answer was lost.");
    }
    answer(StatusCode::ACCEPTED, &json!({"id": id}))
}

async fn queues(State(known): State<Shared>) -> Response {
    let known = known.lock().expect("no panic");
    let mut all: BTreeMap<&str, BTreeMap<&str, u64>> = BTreeMap::new();
    for job in known.jobs.values() {
        *all.entry(&job.queue).or_default().entry(job.phase).or_default() += 1;
    }
    let rows = all.iter().map(|(queue, counts)| {
        json!({
            "queue": queue, "paused": known.paused.iter().any(|paused| paused == queue), "counts": counts,
            "oldestWaiting": "2026-12-01T10:00:00Z", "waitMs": {"p50": 20, "p95": 1_500}, "runMs": null,
            "donePerMinute": 3,
        })
    });
    answer(StatusCode::OK, &rows.collect())
}

async fn pause(State(known): State<Shared>, Path(queue): Path<String>) -> Response {
    known.lock().expect("no panic").paused.push(queue);
    answer(StatusCode::ACCEPTED, &json!({}))
}

fn schedule_told(name: &str, definition: &Value) -> Value {
    json!({
        "name": name, "definition": definition, "next": "2099-12-01T10:00:00Z", "lastJob": "x@1", "submitted": 4,
        "skipped": 1,
    })
}

async fn schedules(State(known): State<Shared>) -> Response {
    let known = known.lock().expect("no panic");
    let all = known.schedules.iter().map(|(name, definition)| schedule_told(name, definition));
    answer(StatusCode::OK, &all.collect())
}

async fn schedule(State(known): State<Shared>, Path(name): Path<String>) -> Response {
    let known = known.lock().expect("no panic");
    let found = known.schedules.get(&name);
    found.map_or_else(unknown, |definition| answer(StatusCode::OK, &schedule_told(&name, definition)))
}

async fn set_schedule(State(known): State<Shared>, Path(name): Path<String>, body: Bytes) -> Response {
    let definition = serde_json::from_slice(&body).expect("JSON");
    known.lock().expect("no panic").schedules.insert(name, definition);
    answer(StatusCode::ACCEPTED, &json!({}))
}

async fn remove_schedule(State(known): State<Shared>, Path(name): Path<String>) -> Response {
    match known.lock().expect("no panic").schedules.remove(&name) {
        Some(_) => answer(StatusCode::ACCEPTED, &json!({})),
        None => unknown(),
    }
}
