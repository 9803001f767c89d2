//! Leases: what a worker gets to do, and what it is to stop.
//!
//! A worker polls, and says what it has. It is answered as soon as there is something for it; its bell wakes the
//! request, so nothing is asked again and again.
//!
//! With its poll it says hello, which lets it be given jobs. A hello holds for a short time, and is said again while the
//! poll waits. Where the client goes while it waits, its worker is given nothing more until it polls again.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use headwater::log::NewRecord;
use headwater_serve::api::body::{Small, fresh, json};
use headwater_serve::api::problem::Problem;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::command::{command, of_job, set, unusable};
use super::site::Site;
use super::store::{Entry, Store};
use super::workers::{Due, HELLO_HOLDS, Holding, OfLease};
use crate::model::{Job, check_id};

/// How long a request waits unless it says something else, and at most.
const WAIT: f64 = 20.0;
const LONGEST_WAIT: f64 = 30.0;

/// A request is answered at the latest when a heartbeat is due, but not sooner than this.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);

/// So long a job may be held that this server does not know: it may be behind another one.
pub(super) const BEHIND: Duration = Duration::from_secs(2);

/// The most jobs of a worker.
const MOST_SLOTS: u32 = 10_000;

/// What a worker asks.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Asked {
    worker: String,
    #[serde(default)]
    queues: Vec<String>,
    slots: u32,
    #[serde(default)]
    wait: Option<f64>,
    #[serde(default)]
    holding: Vec<Holding>,
}

/// What a worker is told.
#[derive(Debug, Default, Serialize)]
struct Told {
    leases: Vec<Leased>,
    cancel: Vec<Of>,
    lost: Vec<Of>,
}

#[derive(Debug, Serialize)]
struct Of {
    id: String,
    lease: u32,
}

/// A job that the worker is to do.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Leased {
    id: std::sync::Arc<str>,
    queue: std::sync::Arc<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<std::sync::Arc<str>>,
    lease: u32,
    attempt: u32,
    max_attempts: u32,
    payload: Box<RawValue>,
    until: Timestamp,
    heartbeat_within_ms: i64,
    finish_within_ms: Option<i64>,
}

impl Asked {
    fn check(&self) -> Result<Duration, Problem> {
        let wait = self.wait.unwrap_or(WAIT);
        if !(0.0..=LONGEST_WAIT).contains(&wait) {
            return Err(unusable(format!("wait is {wait}; 0 to {LONGEST_WAIT} seconds are possible")));
        }
        if self.slots > MOST_SLOTS || self.holding.len() > MOST_SLOTS as usize {
            return Err(unusable(format!("a worker has at most {MOST_SLOTS} slots")));
        }
        self.holding.iter().try_for_each(|holding| check_id(&holding.id)).map_err(unusable)?;
        Ok(Duration::from_secs_f64(wait))
    }
}

/// `POST /api/jobs/lease`.
pub(super) async fn lease(
    State(site): State<Site>,
    headers: HeaderMap,
    Small(body): Small,
) -> Result<Response, Problem> {
    let asked: Asked = json(&headers, &body)?;
    let wait = asked.check()?;
    site.ready()?;
    let mut poll = Poll::begin(&site, &asked)?;
    let answer = answer(&site, &asked, wait, &poll).await;
    if answer.is_err() {
        // It is not known what of it was written.
        site.workers.unhear(&asked.worker);
    }
    poll.is_answered = true;
    answer
}

/// A poll of a worker. Dropped without an answer, its client has gone.
struct Poll<'p> {
    site: &'p Site,
    worker: &'p str,
    number: u64,
    hello: NewRecord,
    /// Whether its hello is to be written at first.
    says_hello: bool,
    is_answered: bool,
}

impl<'p> Poll<'p> {
    fn begin(site: &'p Site, asked: &'p Asked) -> Result<Self, Problem> {
        let Asked { worker, queues, slots, .. } = asked;
        let hello = hello(site, worker, queues, *slots)?;
        let (number, says_hello) = site.workers.hear(worker, queues, *slots);
        Ok(Self { site, worker, number, hello, says_hello, is_answered: false })
    }

    /// Says hello again when it is time. How long it may wait until the next time.
    fn stay(&self) -> Duration {
        self.site.workers.stay(self.worker, self.number, || self.site.writing.post(self.hello.clone()))
    }

    /// Gives jobs back that were cancelled before their worker got them. It does not know of them, so it would not stop
    /// them, and they would stay until their heartbeat is missed.
    fn release_undelivered(&self, asked: &Asked) -> Result<(), Problem> {
        let Self { site, worker, number, .. } = *self;
        // A newer poll knows better what the worker has.
        if !site.workers.is_newest(worker, number) {
            return Ok(());
        }
        for of in undelivered(site, asked) {
            let mut fields = super::command::Fields::new();
            set(&mut fields, "lease", &of.1)?;
            let record = of_job(&site.writing, "release", &of.0, fields)?;
            // Once: what was reported on is not looked at again before that has had its time.
            site.workers.report(&of);
            if !site.writing.post(record) {
                site.workers.unreport(&of);
            }
        }
        Ok(())
    }
}

impl Drop for Poll<'_> {
    fn drop(&mut self) {
        if self.is_answered {
            return;
        }
        let Self { site, worker, number, .. } = *self;
        tracing::debug!(worker, "a worker has gone while it waited");
        let say = || hello(site, worker, &[], 0).is_ok_and(|farewell| site.writing.post(farewell));
        site.workers.leave(worker, number, say);
    }
}

/// Leases of a worker that are to stop, and of which it does not know.
fn undelivered(site: &Site, asked: &Asked) -> Vec<OfLease> {
    let state = site.store.read();
    let leased =
        state.leased_by(&asked.worker).filter_map(|entry| Some((&entry.head.id, entry.head.lease.as_deref()?)));
    let mut cancelled = leased.filter(|(_, lease)| lease.cancelling).peekable();
    if cancelled.peek().is_none() {
        return Vec::new();
    }
    let held = held(asked);
    let is_undelivered = |id: &str, lease| !held.contains(&(id, lease)) && !site.workers.has_reported(id, lease);
    let undelivered = cancelled.filter(|(id, lease)| is_undelivered(id, lease.number));
    undelivered.map(|(id, lease)| (id.to_string(), lease.number)).collect()
}

/// What a worker says that it has.
fn held(asked: &Asked) -> HashSet<(&str, u32)> {
    asked.holding.iter().map(|one| (one.id.as_str(), one.lease)).collect()
}

async fn answer(site: &Site, asked: &Asked, wait: Duration, poll: &Poll<'_>) -> Result<Response, Problem> {
    let store = site.ready()?;
    let began = Instant::now();
    // Listened to before anything is read, so that nothing is missed in between.
    let mut bell = store.workers.listen(&asked.worker);
    let due = tell_the_log(site, asked, poll).await?;
    if asked.slots == 0 {
        poll.release_undelivered(asked)?;
        let told = told(site, store, asked, false);
        return fresh(&Told { leases: Vec::new(), ..told });
    }
    let ends = began + due.map_or(wait, |due| due.max(SHORTEST_WAIT).min(wait));
    let mut stopping = site.stopping();
    loop {
        bell.mark_unchanged();
        poll.release_undelivered(asked)?;
        let told = told(site, store, asked, began.elapsed() < BEHIND);
        // While everything is read again nothing is lost, and who asks is to come back.
        site.ready()?;
        let now = Instant::now();
        let to_stop =
            told.cancel.iter().chain(&told.lost).map(|of| (of.id.clone(), of.lease)).collect::<Vec<OfLease>>();
        let is_news = site.workers.tell(&asked.worker, &to_stop);
        if !told.leases.is_empty() || is_news || now >= ends || *stopping.borrow() {
            if !told.lost.is_empty() {
                // A worker whose lease has expired is given nothing more until it says hello.
                site.workers.unhear(&asked.worker);
            }
            return fresh(&told);
        }
        let look = if asked.holding.is_empty() { ends } else { ends.min(now + BEHIND) };
        let look = look.min(now + poll.stay());
        tokio::select! {
            _ = bell.changed() => {}
            () = tokio::time::sleep_until(look.into()) => {}
            _ = stopping.wait_for(|stop| *stop) => {}
        }
    }
}

/// Writes the hello and the heartbeats that are due; says when the next heartbeat is.
async fn tell_the_log(site: &Site, asked: &Asked, poll: &Poll<'_>) -> Result<Option<Duration>, Problem> {
    let mut records = Vec::new();
    let (mut beaten, mut next) = (Vec::new(), None);
    for one in &asked.holding {
        match due(site, &asked.worker, one) {
            Some(Due::Now) => {
                records.push(heartbeat_of(site, one)?);
                beaten.push(one.id.as_str());
            }
            Some(Due::After(wait)) => next = Some(next.map_or(wait, |next: Duration| next.min(wait))),
            None => {}
        }
    }
    records.extend(poll.says_hello.then(|| poll.hello.clone()));
    let written = site.writing.write(records).await;
    if written.is_err() {
        beaten.into_iter().for_each(|id| site.workers.unbeat(id));
    }
    written?;
    Ok(next)
}

fn hello(site: &Site, worker: &str, queues: &[String], slots: u32) -> Result<NewRecord, Problem> {
    let mut fields = super::command::Fields::new();
    set(&mut fields, "worker", &worker)?;
    set(&mut fields, "queues", &queues)?;
    set(&mut fields, "slots", &slots)?;
    set(&mut fields, "for", &format!("{} ms", HELLO_HOLDS.as_millis()))?;
    command(&site.writing, "hello", &format!("worker:{worker}"), fields)
}

fn due(site: &Site, worker: &str, holding: &Holding) -> Option<Due> {
    let state = site.store.read();
    let lease = state.job(&holding.id)?.head.lease.as_deref()?;
    let is_own = lease.number == holding.lease && &*lease.worker == worker;
    is_own.then(|| site.workers.beat(holding, lease))
}

/// The record of a heartbeat.
pub(super) fn heartbeat_of(site: &Site, holding: &Holding) -> Result<NewRecord, Problem> {
    let mut fields = super::command::Fields::new();
    set(&mut fields, "lease", &holding.lease)?;
    if let Some(progress) = holding.progress {
        set(&mut fields, "progress", &progress)?;
    }
    if let Some(message) = &holding.message {
        set(&mut fields, "message", message)?;
    }
    of_job(&site.writing, "heartbeat", &holding.id, fields)
}

/// How a lease stands that somebody names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is in force; whether its worker is to stop.
    InForce { cancelling: bool },
    /// It is newer than what this server has read.
    Ahead,
    /// It is in force no more.
    Over,
    /// There is no such job.
    Unknown,
}

/// How the lease `lease` of a job stands; of a worker, if one is named.
pub(super) fn standing(entry: Option<&Entry>, lease: u32, worker: Option<&str>) -> Standing {
    let Some(Entry { head, .. }) = entry else { return Standing::Unknown };
    match &head.lease {
        Some(held) if held.number == lease && worker.is_none_or(|worker| &*held.worker == worker) => {
            Standing::InForce { cancelling: held.cancelling }
        }
        _ if head.lease_number < lease => Standing::Ahead,
        _ => Standing::Over,
    }
}

/// What there is for a worker now. A job that is not known may be known to another server: with `patient`, it is not
/// told as lost.
fn told(site: &Site, store: &Store, asked: &Asked, patient: bool) -> Told {
    let state = store.read();
    let held = held(asked);
    let is_new = |entry: &&Entry| {
        entry.head.lease.as_ref().is_some_and(|lease| {
            !held.contains(&(&*entry.head.id, lease.number))
                && !lease.cancelling
                && !site.workers.has_reported(&entry.head.id, lease.number)
        })
    };
    let mut told =
        Told { leases: state.leased_by(&asked.worker).filter(is_new).filter_map(leased).collect(), ..Told::default() };
    for Holding { id, lease, .. } in &asked.holding {
        let of = || Of { id: id.clone(), lease: *lease };
        match standing(state.job(id), *lease, Some(&asked.worker)) {
            Standing::InForce { cancelling: false } | Standing::Ahead => {}
            Standing::Unknown if patient => {}
            // What was reported on is not held any more, whatever the worker has said at the same time.
            _ if site.workers.has_reported(id, *lease) => {}
            Standing::InForce { cancelling: true } => told.cancel.push(of()),
            Standing::Over | Standing::Unknown => told.lost.push(of()),
        }
    }
    told
}

fn leased(entry: &Entry) -> Option<Leased> {
    let job: Job = serde_json::from_slice(&entry.document)
        .inspect_err(|error| tracing::error!(job = &*entry.head.id, %error, "a leased job cannot be read"))
        .ok()?;
    let lease = job.lease?;
    Some(Leased {
        id: job.id,
        queue: job.queue,
        kind: job.kind,
        lease: lease.number,
        attempt: job.attempt,
        max_attempts: job.limits.max_attempts,
        payload: job.payload,
        until: lease.until,
        heartbeat_within_ms: job.limits.heartbeat_within_ms,
        finish_within_ms: job.limits.finish_within_ms,
    })
}

/// `GET /api/workers`.
pub(super) async fn workers(State(site): State<Site>) -> Result<Response, Problem> {
    let heard = site.workers.all();
    let state = site.ready()?.read();
    let names = heard.keys().map(String::as_str).chain(state.leasing_workers().map(|name| &**name));
    let names: std::collections::BTreeSet<&str> = names.collect();
    let one = |name: &&str| {
        let known = heard.get(*name);
        let leased: Vec<&str> = state.leased_by(name).map(|entry| &*entry.head.id).collect();
        json!({"worker": name, "queues": known.map(|known| &known.queues), "slots": known.map(|known| known.slots),
            "seen": known.map(|known| known.seen), "leased": leased})
    };
    fresh(&names.iter().map(one).collect::<Vec<_>>())
}
