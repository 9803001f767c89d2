//! The server of a load: an index of made-up events, and commits on a clock.

use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use headwater::telemetry::resident_bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::load::Load;
use super::{BenchError, ServeBenchArgs, certificate, silent};
use crate::api::Origins;
use crate::commit::{Change, Commit, Topic};
use crate::live::{Live, Writer};
use crate::server::{Listening, Server};
use crate::site::Site;
use crate::stream::Hub;
use crate::timeline::Timeline;

/// Events that are taken in at once.
const PART: u32 = 5_000;

/// The field of an event's document that says when it was committed, in microseconds since the Unix epoch.
pub(super) const SENT: &str = "sentMicros";

/// A server that has begun.
#[derive(Serialize, Deserialize)]
pub(super) struct Begun {
    pub(super) address: SocketAddr,
    pub(super) resident_bytes: u64,
    /// Its certificate in PEM, where it speaks TLS.
    pub(super) certificate: Option<String>,
}

/// What a server has used and done so far.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Used {
    pub(super) resident_bytes: u64,
    pub(super) processor_ms: u64,
    pub(super) changes: u64,
    pub(super) elapsed_ms: u64,
}

/// Serves until the input ends.
pub(super) fn run(load: Load, args: &ServeBenchArgs) -> Result<(), BenchError> {
    let (live, mut writer) = Live::new();
    let classes = load.classes(args.connections);
    for begin in (0..args.events).step_by(PART as usize) {
        let part = (begin..args.events.min(begin + PART)).map(|number| change(number, classes, 0, 1)).collect();
        writer.restore(part).map_err(|error| silent(&error.to_string()))?;
    }
    writer.begin(1, Timeline::default(), 1);
    let hub = Hub::new(live);
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let connections = args.connections as usize + 1_000;
    let listening = Listening { address, origins: Origins::None, tls: None, connections, connections_per_address: 1 };
    let tls = args.tls.then(certificate::acceptor).transpose().map_err(|error| silent(&error.to_string()))?;
    let (tls, certificate) = tls.unzip();
    let server = Server::start_with(tls, &listening, Site::of(Arc::clone(&hub)));
    let server = server.map_err(|error| silent(&error.to_string()))?;
    tell(&Begun { address: server.address(), resident_bytes: resident_bytes().unwrap_or(0), certificate });
    let committed = Arc::new(AtomicU64::new(0));
    let mut committing: Option<Committing> = None;
    let mut writer = Some(writer);
    let began = Instant::now();
    for line in std::io::stdin().lock().lines() {
        match line?.as_str() {
            "go" => {
                let Some(writer) = writer.take() else { continue };
                let plan = Plan { load, classes, events: args.events };
                committing = Some(Committing::start(plan, writer, Arc::clone(&hub), Arc::clone(&committed))?);
            }
            word => {
                if word == "end" {
                    committing = None;
                }
                tell(&Used {
                    resident_bytes: resident_bytes().unwrap_or(0),
                    processor_ms: processor_ms(),
                    changes: committed.load(Ordering::Relaxed),
                    elapsed_ms: began.elapsed().as_millis() as u64,
                });
            }
        }
    }
    drop(committing);
    Ok(())
}

fn tell(answer: &impl Serialize) {
    let mut out = std::io::stdout().lock();
    // Whoever asked may be gone.
    let _ = writeln!(out, "{}", json!(answer)).and_then(|()| out.flush());
}

struct Plan {
    load: Load,
    classes: u32,
    events: u32,
}

/// Commits on a clock, until it is dropped.
struct Committing {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Committing {
    fn start(plan: Plan, writer: Writer, hub: Arc<Hub>, committed: Arc<AtomicU64>) -> Result<Self, BenchError> {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let work = move || commit_on_time(&plan, writer, &hub, &committed, &asked);
        let thread = Some(std::thread::Builder::new().name("commits".to_owned()).spawn(work)?);
        Ok(Self { stop, thread })
    }
}

impl Drop for Committing {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn commit_on_time(plan: &Plan, mut writer: Writer, hub: &Hub, committed: &AtomicU64, stop: &AtomicBool) {
    let (a_second, changes) = plan.load.commits();
    if a_second == 0 {
        return;
    }
    let step = Duration::from_secs(1) / a_second;
    let (began, mut number, mut event) = (Instant::now(), 1_u64, 0_u32);
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        // Whether or not the last one was late.
        let due = began + step * u32::try_from(number - 1).unwrap_or(u32::MAX);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let micros = now_micros();
        let next = || {
            event = (event + 1) % plan.events;
            change(event, plan.classes, micros, number)
        };
        let changes: Vec<Change> = std::iter::repeat_with(next).take(changes as usize).collect();
        let count = changes.len() as u64;
        match writer.apply(Commit { number, ms: (micros / 1_000) as i64, changes }) {
            Ok(changes) => hub.publish(&changes),
            Err(error) => tracing::error!(%error, "a commit of the benchmark failed"),
        }
        committed.fetch_add(count, Ordering::Relaxed);
    }
}

/// Microseconds since the Unix epoch.
pub(super) fn now_micros() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

/// An event as discovery would have it: some 900 bytes.
fn change(number: u32, classes: u32, micros: u64, commit: u64) -> Change {
    const WORDS: [&str; 12] = [
        "heron", "lantern", "otter", "quartet", "harbour", "meadow", "granite", "violin", "orchard", "copper",
        "thistle", "comet",
    ];
    let word = |salt: u32| WORDS[(number.wrapping_mul(2_654_435_761).rotate_left(salt) % WORDS.len() as u32) as usize];
    let id = format!("{:032x}", u128::from(number) << 64 | 0x5eed);
    let (day, hour) = (1 + number % 28, 9 + number % 12);
    let value = json!({
        "format": 1, "id": id, "title": format!("{} {} {} No. {number}", word(0), word(5), word(11)),
        "description": format!("An evening with the {} and the {}. {}", word(3), word(9), "Doors open half an hour before. ".repeat(6)),
        "category": format!("c{}", number % classes), "tags": [word(7), word(13)],
        "startTime": format!("2027-01-{day:02}T{hour:02}:00:00+01:00"), "endTime": null, "timezone": "Europe/Berlin",
        "venue": { "name": format!("{} hall", word(17)), "city": "Berlin", "country": "DE",
            "latitude": 52.4 + f64::from(number % 997) / 5_000.0, "longitude": 13.3 + f64::from(number % 991) / 5_000.0 },
        "online": false, "urls": [format!("https://example.org/{number}")], "status": "scheduled",
        "listings": [{ "source": "bench", "externalId": number.to_string() }], "updatedAt": "2026-11-01T10:00:00Z",
        "qualityScore": 0.9, "qualityGrade": "A", SENT: micros,
    });
    Change { topic: Topic::Events, key: id.into(), value: Some(value.to_string().into_bytes()), commit }
}

/// Processor time of this process in milliseconds (Linux): user and system, in ticks of ten milliseconds.
fn processor_ms() -> u64 {
    const TICK_MS: u64 = 10;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = rest.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok());
    ticks.sum::<u64>() * TICK_MS
}
