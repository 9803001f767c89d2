//! A topology as several processes: the same results as one, whatever ends whichever of them, with
//! other numbers of workers and processes at every start, and with partitions added while it runs.
//!
//! The suite runs over any topology, see [`Subject`].

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use headwater::error::Fault;
use headwater::log::{LogRecord, TopicPartition, Watermarks};
use headwater::schema::TopicId;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use serde_json::Value;

use crate::subject::Tested;
use crate::support::subject::{Subject, compare, letters};
use crate::support::{Input, Place, unique_name};

/// A topology under test with its log.
type Harness = crate::support::Harness<Tested>;

/// Some of everything that the topology reads.
static STREAM: LazyLock<Vec<Input>> = LazyLock::new(|| Tested::stream(3_000));

/// A topology whose partitions may be idle, as one worker and one process read them.
fn harness(place: Place) -> Harness {
    let text = format!("[engine]\nidle_partition_after = '3600 s'\n{}", Tested::sections());
    Harness::configured(place, &text)
}

/// What one worker makes of the stream in one go on the embedded log: all others are compared to it.
static REFERENCE: LazyLock<Harness> = LazyLock::new(|| {
    let harness = harness(Place::Embedded);
    harness.produce(STREAM.iter().cloned());
    harness.run(1);
    harness
});

fn assert_same(harness: &Harness, what: &str) {
    let (expected, found) = (REFERENCE.results(), harness.results());
    assert!(Tested::told(&expected).iter().all(|(_, count)| *count > 2), "{:?}", Tested::told(&expected));
    let mut all = Tested::differences(&expected, &found);
    let dead = |harness: &Harness| letters(&harness.records("dead-letters"));
    compare(&mut all, "dead letter", &dead(&REFERENCE), &dead(harness));
    assert!(all.is_empty(), "{what}: {:#?}", all.iter().take(20).collect::<Vec<_>>());
}

/// Raw records among these.
fn raw(inputs: &[Input]) -> usize {
    inputs.iter().filter(|input| input.topic == Tested::RAW).count()
}

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Addresses that nobody uses at the moment, below the ports that systems give to connections.
fn addresses(count: usize) -> Vec<String> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = || 20_000 + (std::process::id() * 131 + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
    let all = std::iter::repeat_with(|| format!("127.0.0.1:{}", next()));
    all.filter(|address| TcpListener::bind(address).is_ok()).take(count).collect()
}

/// One process of a topology; killed should the test fail while it runs.
struct Process {
    child: Child,
    errors: PathBuf,
}

impl Process {
    fn start(harness: &Harness, arguments: &[&str]) -> Self {
        let errors = harness.folder.path().join(unique_name());
        let child = Command::new(Tested::BINARY)
            .args(&harness.arguments)
            .args(["--set", "admin.listen=", "--json"])
            .args(arguments)
            .env_remove("HEADWATER_CONFIG")
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(fs::File::create(errors.with_extension("out")).unwrap())
            .stderr(fs::File::create(&errors).unwrap())
            .spawn()
            .unwrap();
        Self { child, errors }
    }

    fn errors(&self) -> String {
        fs::read_to_string(&self.errors).unwrap()
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// Waits for its end; the exit code and what it said on standard error.
    fn end(&mut self) -> (Option<i32>, String) {
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "it does not end: {}", self.errors());
            std::thread::sleep(Duration::from_millis(20));
        }
        (self.child.wait().unwrap().code(), self.errors())
    }

    fn succeed(&mut self) {
        let (code, errors) = self.end();
        assert_eq!(code, Some(0), "{errors}");
    }

    /// The summary that process 0 prints last.
    fn summary(&self) -> Value {
        let lines = fs::read_to_string(self.errors.with_extension("out")).unwrap();
        serde_json::from_str::<Value>(lines.lines().last().unwrap()).unwrap()["summary"].take()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All processes of a topology.
struct Cluster {
    addresses: Vec<String>,
    processes: Vec<Process>,
}

impl Cluster {
    fn start(harness: &Harness, processes: usize, workers: usize, arguments: &[&str]) -> Self {
        let addresses = addresses(processes);
        let (hosts, workers) = (addresses.join(","), workers.to_string());
        let start = |process: usize| {
            let process = process.to_string();
            let own = ["--process", &process, "--hosts", &hosts, "--workers", &workers];
            Process::start(harness, &[&own, arguments].concat())
        };
        // In the wrong order: those that come first wait.
        let mut all: Vec<Process> = (0..processes).rev().map(start).collect();
        all.reverse();
        Self { addresses, processes: all }
    }

    fn succeed(&mut self) -> Value {
        self.processes.iter_mut().for_each(Process::succeed);
        self.processes[0].summary()
    }
}

/// Runs until everything that is there is processed.
fn run(harness: &Harness, processes: usize, workers: usize) -> Value {
    Cluster::start(harness, processes, workers, &["--exit-when-idle"]).succeed()
}

/// Feeds a portion for each of `shapes` (processes, workers of each), with a run of its own.
fn reshaped(place: Place, shapes: &[(usize, usize)]) {
    let harness = harness(place);
    let portion = STREAM.len().div_ceil(shapes.len());
    for (inputs, (processes, workers)) in STREAM.chunks(portion).zip(shapes) {
        harness.produce(inputs.iter().cloned());
        let summary = run(&harness, *processes, *workers);
        assert_eq!(summary["records"], raw(inputs), "every record is read once: {summary}");
    }
    assert_same(&harness, &format!("processes and workers: {shapes:?}"));
}

#[test]
fn two_processes_give_the_same() {
    reshaped(Place::Embedded, &[(2, 2)]);
}

#[test]
fn processes_and_workers_come_and_go() {
    reshaped(Place::Embedded, &[(1, 2), (2, 1), (1, 3), (3, 1), (1, 1)]);
}

#[test]
fn processes_and_workers_come_and_go_on_kafka() {
    let Some(place) = Place::kafka("growing and shrinking") else { return };
    reshaped(place, &[(1, 2), (2, 1), (1, 3), (1, 1)]);
}

/// How many records a topic holds, transaction markers included.
fn size(harness: &Harness, topic: &str) -> i64 {
    marks(harness, topic).iter().map(|marks| marks.high - marks.low).sum()
}

/// The ends of a topic's partitions. A broker that has just made a topic may not know its leaders yet.
fn marks(harness: &Harness, topic: &str) -> Vec<Watermarks> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match harness.log.watermarks(&harness.config.runtime.full_name(topic)) {
            Err(error) if error.may_pass() && Instant::now() < deadline => {}
            marks => return marks.unwrap().unwrap_or_default(),
        }
    }
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Kills each of `victims` in turn, out of two processes, once something of a further portion of the
/// feed is committed.
fn killed(place: Place, victims: &[usize]) {
    let harness = harness(place);
    let portion = STREAM.len().div_ceil(victims.len() + 1);
    let mut portions = STREAM.chunks(portion);
    for victim in victims {
        let before = size(&harness, Tested::SHOWN.0);
        harness.produce(portions.next().unwrap().iter().cloned());
        let mut cluster = Cluster::start(&harness, 2, 1, &["--set", "engine.max_bytes_in_flight=64 KiB"]);
        wait_until("something is committed", || {
            for process in &mut cluster.processes {
                assert!(!ended(process), "{}", process.errors());
            }
            size(&harness, Tested::SHOWN.0) > before
        });
        cluster.processes[*victim].signal("-KILL");
        let (code, errors) = cluster.processes[1 - victim].end();
        assert_eq!(code, Some(3), "{errors}");
        let address = &cluster.addresses[*victim];
        let told = format!("error: process {victim} at {address} has gone; the topology stops");
        assert!(errors.contains(&told), "{errors}");
        assert!(errors.contains("restart all processes"), "{errors}");
        assert!(!errors.contains("panicked"), "{errors}");
    }
    harness.produce(portions.next().unwrap().iter().cloned());
    run(&harness, 2, 1);
    assert_same(&harness, &format!("killed: processes {victims:?}"));
}

#[test]
fn a_killed_process_ends_the_other_and_a_restart_goes_on_exactly() {
    killed(Place::Embedded, &[1, 0, 1, 0]);
}

#[test]
fn a_killed_process_ends_the_other_and_a_restart_goes_on_exactly_on_kafka() {
    let Some(place) = Place::kafka("killed processes") else { return };
    killed(place, &[0, 1]);
}

#[test]
fn a_process_that_falls_silent_ends_the_other_and_itself_when_it_wakes() {
    let harness = harness(Place::Embedded);
    harness.produce(STREAM[..300].iter().cloned());
    let mut cluster = Cluster::start(&harness, 2, 1, &["--set", "cluster.silent_after=5 s"]);
    wait_until("all is read", || committed(&harness, Tested::RAW));
    cluster.processes[1].signal("-STOP");
    let (code, errors) = cluster.processes[0].end();
    assert_eq!(code, Some(3), "{errors}");
    assert!(errors.contains(&format!("process 1 at {} has gone", cluster.addresses[1])), "{errors}");
    cluster.processes[1].signal("-CONT");
    let (code, errors) = cluster.processes[1].end();
    assert_eq!(code, Some(3), "{errors}");
    assert!(errors.contains("the topology stops"), "{errors}");
}

#[test]
fn a_stop_of_any_process_is_an_orderly_stop_of_all() {
    let harness = harness(Place::Embedded);
    let inputs = &STREAM[..500];
    harness.produce(inputs.iter().cloned());
    let mut cluster = Cluster::start(&harness, 2, 1, &[]);
    wait_until("all is read", || committed(&harness, Tested::RAW));
    cluster.processes[1].signal("-TERM");
    let summary = cluster.succeed();
    assert_eq!(summary["records"], raw(inputs), "{summary}");
    assert!(size(&harness, Tested::SHOWN.0) > 100);
}

#[test]
fn a_missing_process_is_waited_for_and_named() {
    let harness = harness(Place::Embedded);
    let hosts = addresses(2).join(",");
    for (process, other) in [("0", "1"), ("1", "0")] {
        let arguments = ["--process", process, "--hosts", &hosts, "--set", "cluster.wait=6 s"];
        let (code, errors) = Process::start(&harness, &arguments).end();
        assert_eq!(code, Some(3), "{errors}");
        assert!(errors.contains(&format!("waiting for process {other} at 127.0.0.1:")), "{errors}");
        assert!(errors.contains(&format!("error: process {other} at 127.0.0.1:")), "{errors}");
        assert!(errors.contains("has not come within 6 s"), "{errors}");
        assert_eq!(size(&harness, "progress"), 0, "nothing is done without it");
    }
}

#[test]
fn processes_that_differ_do_not_run_together() {
    let harness = harness(Place::Embedded);
    let hosts = addresses(2).join(",");
    let same = ["--hosts", &hosts, "--set", "cluster.wait=20 s"];
    let mut first = Process::start(&harness, &[&same[..], &["--process", "0", "--workers", "1"]].concat());
    let differing = Tested::differing(&harness.config.runtime.prefix);
    let differing: Vec<&str> = differing.iter().map(String::as_str).collect();
    let other = ["--process", "1", "--workers", "2"];
    let (code, errors) = Process::start(&harness, &[&same[..], &other, &differing].concat()).end();
    assert_eq!(code, Some(2), "{errors}");
    for told in ["refuses this process", "configuration of results: ", "workers: 1 on process 0, 2 on process 1"] {
        assert!(errors.contains(told), "{told}: {errors}");
    }
    // Process 0 goes on waiting, and takes the right one.
    let mut second = Process::start(&harness, &[&same[..], &["--process", "1", "--workers", "1"]].concat());
    wait_until("both run", || {
        first.errors().contains("refused") && size(&harness, "progress") > 0 || ended(&mut second)
    });
    first.signal("-TERM");
    first.succeed();
    second.succeed();
}

fn ended(process: &mut Process) -> bool {
    process.child.try_wait().unwrap().is_some()
}

/// Whether everything that `topic` holds is read and committed.
fn committed(harness: &Harness, topic: &str) -> bool {
    if size(harness, "progress") == 0 {
        return false;
    }
    let records: Vec<LogRecord> = harness.records("progress");
    let Some(last) = records.last().and_then(|record| record.value.as_deref()) else { return false };
    let progress: Value = serde_json::from_slice(last).unwrap();
    let marks = marks(harness, topic);
    let topic = harness.config.runtime.full_name(topic);
    let positions = progress["positions"].as_array().unwrap();
    (0..).zip(marks).all(|(partition, marks)| {
        let at = TopicPartition::new(topic.as_str(), partition);
        let is_it = |position: &&Value| position["topic"] == *at.topic && position["partition"] == at.partition;
        positions.iter().find(is_it).map_or(0, |position| position["next"].as_i64().unwrap()) >= marks.high
    })
}

fn grow(brokers: &str, harness: &Harness, topics: &[&str], partitions: usize) {
    let mut client = rdkafka::ClientConfig::new();
    let admin: AdminClient<DefaultClientContext> = client.set("bootstrap.servers", brokers).create().unwrap();
    let names: Vec<String> = topics.iter().map(|topic| harness.config.runtime.full_name(topic)).collect();
    let wanted: Vec<NewPartitions<'_>> = names.iter().map(|name| NewPartitions::new(name, partitions)).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let done = runtime.block_on(admin.create_partitions(&wanted, &AdminOptions::new())).unwrap();
    done.into_iter().for_each(|topic| drop(topic.unwrap()));
    let count = |name: &String| harness.log.watermarks(name).ok().flatten().map_or(0, |marks| marks.len());
    let all_there = || names.iter().all(|name| count(name) == partitions);
    wait_until("the partitions are there", all_there);
}

#[test]
fn added_partitions_are_read_from_their_beginning() {
    let Some(place) = Place::kafka("added partitions") else { return };
    let Place::Kafka(brokers) = place.clone() else { return };
    let harness = harness(place);
    let mut portions = STREAM.chunks(STREAM.len().div_ceil(3));
    let mut produce = || harness.produce(portions.next().unwrap().iter().cloned());

    produce();
    let arguments = ["--set", "engine.look_for_partitions=100 ms", "--log-level", "headwater=info"];
    let mut cluster = Cluster::start(&harness, 2, 1, &arguments);
    wait_until("the first portion is committed", || committed(&harness, Tested::RAW));
    grow(&brokers, &harness, &[Tested::RAW], 7);
    let found = |cluster: &Cluster| -> usize {
        let lines = |process: &Process| process.errors().matches("a partition has appeared").count();
        cluster.processes.iter().map(lines).sum()
    };
    wait_until("the partitions are found", || found(&cluster) >= 3);
    produce();
    wait_until("the second portion is committed", || committed(&harness, Tested::RAW));
    cluster.processes[0].signal("-TERM");
    cluster.succeed();
    assert_eq!(found(&cluster), 3, "each is found once");

    // The topics that hold the state may grow too, and what was written before is still found.
    grow(&brokers, &harness, &[Tested::RAW], 8);
    let catalog = harness.catalog();
    let rows = catalog.topics().filter(|(id, topic)| topic.is_compacted() && *id != TopicId::PROGRESS);
    grow(&brokers, &harness, &rows.map(|(_, topic)| &*topic.name).collect::<Vec<_>>(), 6);
    produce();
    run(&harness, 1, 2);
    let summary = run(&harness, 1, 3);
    assert_eq!(summary["records"], 0, "{summary}");
    assert_same(&harness, "with added partitions");
}
