//! What operators rely on: metrics that are documented and there, and stalls that pass by themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use discovery::generate::{Shape, source_config_toml};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{delete_topics, service, tests_folder, unique_name};

const PATIENCE: Duration = Duration::from_secs(180);

/// More than the process may hold beyond what it held before a stall: ten times the bytes in flight,
/// what readers fetch ahead, and room for an allocator's habits in a debug build.
const STALL_MAY_ADD: f64 = 300e6;

/// A topology of its own in a folder of its own.
pub(crate) struct Workplace {
    folder: TempDir,
    name: String,
    brokers: Option<String>,
}

impl Workplace {
    pub(crate) fn new(brokers: Option<&str>, more: &str) -> Self {
        let (folder, name) = (TempDir::new().unwrap(), unique_name());
        let log = match brokers {
            None => "[log.embedded]\npath = 'log.db'\n".to_owned(),
            Some(brokers) => format!("[log]\nkind = 'kafka'\n[log.kafka]\nbrokers = '{brokers}'\n"),
        };
        let text = format!(
            "name = '{name}'\nprefix = '{name}.'\n{log}[topics]\npartitions = 2\n[retention]\npast_events = 'forever'\n\
             [admin]\nlisten = '127.0.0.1:0'\n[window]\nsize_ms = 1000\nallowed_lateness_ms = 0\n{}\n{more}",
            source_config_toml(6, &Shape::ALL)
        );
        fs::write(folder.path().join("topology.toml"), text).unwrap();
        Self { folder, name, brokers: brokers.map(str::to_owned) }
    }

    pub(crate) fn command(&self, binary: &str, arguments: &[&str]) -> Command {
        let path = match binary {
            "discovery" => env!("CARGO_BIN_EXE_discovery"),
            _ => env!("CARGO_BIN_EXE_headwater"),
        };
        let mut command = Command::new(path);
        command.args(arguments).args(["--config", "topology.toml"]).current_dir(self.folder.path());
        command.env_remove("RUST_LOG");
        command
    }

    pub(crate) fn headwater(&self, arguments: &[&str]) -> String {
        let output = self.command("headwater", arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Generates records that no later one changes, so that what comes of them does not depend on order.
    fn generate(&self, records: u32, seed: u32) {
        let (records, seed) = (records.to_string(), seed.to_string());
        let shares = ["--updates", "0", "--repeats", "0", "--withdrawals", "0", "--malformed", "0.05"];
        let rest = ["--base-date", "2026-06-01", "--to-topic", "raw.events"];
        let first = ["generate", "--records", &records, "--seed", &seed];
        self.headwater(&first.into_iter().chain(shares).chain(rest).collect::<Vec<_>>());
    }

    pub(crate) fn records(&self, topic: &str) -> Vec<Value> {
        let text = self.headwater(&["consume", topic, "--json", "--exit-at-end"]);
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The listings of each event.
    fn groups(&self) -> BTreeSet<BTreeSet<String>> {
        let mut links: BTreeMap<String, Value> = BTreeMap::new();
        for record in self.records("links") {
            links.insert(record["key"].to_string(), record["value"].clone());
        }
        let mut groups: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (listing, link) in links.into_iter().filter(|(_, link)| !link.is_null()) {
            groups.entry(link["eventId"].to_string()).or_default().insert(listing);
        }
        groups.into_values().collect()
    }

    /// Everything that there is, processed without a disturbance.
    fn run_to_the_end(&self) {
        let status = self.command("discovery", &["--exit-when-idle", "--json"]).output().unwrap();
        assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        let Some(brokers) = &self.brokers else { return };
        let topics = self.command("headwater", &["topics", "--json"]).output().unwrap();
        let topics = String::from_utf8_lossy(&topics.stdout).into_owned();
        let names: Vec<Value> = topics.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let names: Vec<&str> = names.iter().filter_map(|topic| topic["name"].as_str()).collect();
        delete_topics(brokers, &names);
    }
}

/// A running topology.
pub(crate) struct Running {
    process: Child,
    address: String,
    /// The file of what it says.
    errors: PathBuf,
}

impl Running {
    pub(crate) fn start(workplace: &Workplace) -> Self {
        let mut command = workplace.command("discovery", &["--workers", "2"]);
        let errors = workplace.folder.path().join("stderr");
        let log = fs::File::create(&errors).unwrap();
        let mut process = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let address = loop {
            let mut line = String::new();
            assert!(stdout.read_line(&mut line).unwrap() > 0, "it did not start");
            if let Some((_, rest)) = line.split_once("http://") {
                break rest.trim().trim_end_matches("/metrics").to_owned();
            }
        };
        std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        Self { process, address, errors }
    }

    fn metrics(&self) -> Metrics {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        Metrics::read(&answer)
    }

    /// Waits until the metrics are so, and gives them.
    pub(crate) fn wait_until(&self, what: &str, is_so: impl Fn(&Metrics) -> bool) -> Metrics {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let metrics = self.metrics();
            if is_so(&metrics) {
                return metrics;
            }
            if Instant::now() >= deadline {
                let said = fs::read_to_string(&self.errors).unwrap_or_default();
                panic!("not reached: {what}; it said:\n{said}\n{:?}", metrics.sums);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// What it has said so far.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.errors).unwrap_or_default()
    }

    /// Ends it at once.
    pub(crate) fn kill(self) {
        drop(self);
    }

    pub(crate) fn stop(mut self, workplace: &Workplace) {
        assert!(Command::new("kill").arg(self.process.id().to_string()).status().unwrap().success());
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(50));
        };
        let said = fs::read_to_string(workplace.folder.path().join("stderr")).unwrap();
        assert_eq!(status.code(), Some(0), "{said}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What `/metrics` says.
pub(crate) struct Metrics {
    types: BTreeMap<String, String>,
    labels: BTreeMap<String, BTreeSet<String>>,
    values: BTreeSet<(String, String)>,
    /// Values added up over labels; of histograms the number of samples.
    sums: BTreeMap<String, f64>,
}

impl Metrics {
    fn read(text: &str) -> Self {
        let mut metrics =
            Self { types: BTreeMap::new(), labels: BTreeMap::new(), values: BTreeSet::new(), sums: BTreeMap::new() };
        for line in text.lines() {
            if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
                metrics.types.insert(name.to_owned(), kind.to_owned());
                metrics.labels.entry(name.to_owned()).or_default();
            }
        }
        for line in text.lines().filter(|line| line.starts_with("headwater_") || line.starts_with("process_")) {
            metrics.sample(line);
        }
        metrics
    }

    fn sample(&mut self, line: &str) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| {
            let base = name.strip_suffix(suffix)?;
            (self.types.get(base)? == "histogram").then_some((base, *suffix))
        });
        let (name, counts) = of_histogram.map_or((name, true), |(base, suffix)| (base, suffix == "_count"));
        for pair in labels.trim_end_matches('}').split(',').filter_map(|label| label.split_once('=')) {
            if pair.0 != "le" {
                self.labels.entry(name.to_owned()).or_default().insert(pair.0.to_owned());
                self.values.insert((pair.0.to_owned(), pair.1.trim_matches('"').to_owned()));
            }
        }
        if counts {
            *self.sums.entry(name.to_owned()).or_default() += value.parse::<f64>().unwrap();
        }
    }

    pub(crate) fn sum(&self, name: &str) -> f64 {
        self.sums.get(name).copied().unwrap_or(0.0)
    }
}

/// The tables of docs/operations.md: name, type and labels of each metric.
fn documented() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let text = fs::read_to_string(tests_folder("../docs/operations.md")).unwrap();
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let name = cells.first()?.strip_prefix('`')?.strip_suffix('`')?;
        let is_metric = (name.starts_with("headwater_") || name.starts_with("process_")) && cells.len() == 4;
        let labels = cells.get(2)?.split(',').map(|label| label.trim().to_owned());
        let labels = labels.filter(|label| !label.is_empty()).collect();
        is_metric.then(|| (name.to_owned(), ((*cells.get(1).unwrap()).to_owned(), labels)))
    });
    rows.collect()
}

/// What is above zero only when something is out of the ordinary, or at moments.
const MAY_BE_ZERO: [&str; 17] = [
    "headwater_reread_records_total",
    "headwater_input_lag_records",
    "headwater_input_lag_seconds",
    "headwater_input_paused_milliseconds_total",
    "headwater_bytes_in_flight",
    "headwater_epochs_in_flight",
    "headwater_commit_retries_total",
    "headwater_corrections_total",
    "headwater_listings_left_past",
    "headwater_listings_past_on_arrival",
    "headwater_overruled_decisions",
    "headwater_over_limit",
    "headwater_view_lag_records",
    "headwater_view_lag_seconds",
    "headwater_view_skipped_total",
    "headwater_view_retries_total",
    "headwater_view_rebuilds_total",
];

#[test]
fn every_documented_metric_is_there_and_moves() {
    let workplace = Workplace::new(None, "[views.sqlite]\npath = 'view.db'\n");
    workplace.generate(200, 1);
    workplace.run_to_the_end();
    workplace.generate(200, 2);
    let running = Running::start(&workplace);
    let documented = documented();
    assert!(documented.len() > 30, "{documented:?}");
    let moving: Vec<&String> = documented.keys().filter(|name| !MAY_BE_ZERO.contains(&name.as_str())).collect();
    let metrics = running.wait_until("everything documented is there and moves", |metrics| {
        documented.keys().all(|name| metrics.types.contains_key(name))
            && moving.iter().all(|name| metrics.sum(name) > 0.0)
    });
    let told: BTreeMap<String, (String, BTreeSet<String>)> = metrics
        .types
        .iter()
        .filter(|(name, _)| name.starts_with("headwater_") || name.starts_with("process_"))
        .map(|(name, kind)| (name.clone(), (kind.clone(), metrics.labels[name].clone())))
        .collect();
    assert_eq!(documented, told, "what is documented, and what /metrics tells");
    let text = fs::read_to_string(tests_folder("../docs/operations.md")).unwrap();
    for (label, value) in metrics.values.iter().filter(|(label, _)| ["stage", "what", "kind"].contains(&&**label)) {
        assert!(text.contains(&format!("`{value}`")), "{label}={value} is not documented");
    }
    running.stop(&workplace);
}

/// Passes bytes on to `target`, unless it is told to stall.
struct Proxy {
    address: String,
    stalled: Arc<AtomicBool>,
}

impl Proxy {
    fn start(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let stalled = Arc::new(AtomicBool::new(false));
        let stall = Arc::clone(&stalled);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(&target).unwrap());
                let (from_client, from_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let (one, other) = (Arc::clone(&stall), Arc::clone(&stall));
                std::thread::spawn(move || pass(from_client, server, &one));
                std::thread::spawn(move || pass(from_server, client, &other));
            }
        });
        Self { address, stalled }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, stalled: &AtomicBool) {
    let mut buffer = [0; 16 << 10];
    while let Ok(count) = from.read(&mut buffer) {
        while stalled.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(10));
        }
        if count == 0 || to.write_all(buffer.get(..count).unwrap()).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}

#[test]
fn a_stalled_database_holds_nobody_up_and_is_caught_up_with() {
    let Some(url) = service("DATABASE_URL", "a stalled database") else { return };
    let (before, rest) = url.split_once('@').unwrap();
    let (target, path) = rest.split_once('/').unwrap();
    let proxy = Proxy::start(target.to_owned());
    let through = format!("{before}@{}/{path}", proxy.address);
    let workplace = Workplace::new(None, "");
    let schema = workplace.name.replace('-', "_");
    let view = format!("[views.postgres]\nurl = '{through}'\nschema = '{schema}'\n");
    let file = workplace.folder.path().join("topology.toml");
    fs::write(&file, fs::read_to_string(&file).unwrap() + &view).unwrap();

    workplace.generate(300, 1);
    let running = Running::start(&workplace);
    let caught_up = |metrics: &Metrics| {
        metrics.sum("headwater_view_lag_records") == 0.0 && metrics.sum("headwater_view_records_total") > 0.0
    };
    let calm = running.wait_until("the view has caught up", |metrics| {
        metrics.sum("headwater_input_records_total") > 250.0
            && metrics.sum("headwater_input_lag_records") == 0.0
            && caught_up(metrics)
    });
    proxy.stalled.store(true, Ordering::Relaxed);
    for seed in 2..6 {
        workplace.generate(1_000, seed);
    }
    let stalled = running.wait_until("the engine goes on, and the view lags", |metrics| {
        metrics.sum("headwater_input_records_total") > 3_500.0
            && metrics.sum("headwater_input_lag_records") == 0.0
            && metrics.sum("headwater_view_lag_records") > 1_000.0
            && metrics.sum("headwater_view_lag_seconds") > 0.0
    });
    let added = stalled.sum("process_resident_memory_bytes") - calm.sum("process_resident_memory_bytes");
    println!("database stalled: {:.0} MB more than before", added / 1e6);
    assert!(added < STALL_MAY_ADD, "{added} bytes more");
    proxy.stalled.store(false, Ordering::Relaxed);
    running.wait_until("the view has caught up again", caught_up);
    running.stop(&workplace);

    let mut client = postgres::Client::connect(&url, postgres::NoTls).unwrap();
    let count = |client: &mut postgres::Client, table: &str| -> i64 {
        client.query_one(&format!("SELECT count(*) FROM {schema}.{table}"), &[]).unwrap().get(0)
    };
    let groups = workplace.groups();
    let listings: usize = groups.iter().map(BTreeSet::len).sum();
    assert_eq!(count(&mut client, "events"), groups.len() as i64);
    assert_eq!(count(&mut client, "event_links"), listings as i64);
    assert_eq!(count(&mut client, "dead_letters"), workplace.records("dead-letters").len() as i64);
    client.batch_execute(&format!("DROP SCHEMA {schema} CASCADE")).unwrap();
}

/// A broker of the test's own.
struct Broker {
    folder: TempDir,
    address: String,
}

impl Broker {
    /// None where services do not run natively: another user's process cannot be stopped.
    fn start(database: &str) -> Option<Self> {
        let mut broker = Self { folder: TempDir::new().unwrap(), address: String::new() };
        let output = broker.services(&["up"], database);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        if broker.fact("kafka") != "native" {
            println!("skipped: a stalled broker, since it does not run natively");
            return None;
        }
        broker.address = format!("127.0.0.1:{}", broker.fact("kafka-port"));
        Some(broker)
    }

    fn services(&self, arguments: &[&str], database: &str) -> std::process::Output {
        let script: PathBuf = tests_folder("../scripts/services.sh");
        let mut command = Command::new(script);
        command.args(arguments).env("HEADWATER_SERVICES_DIR", self.folder.path()).env("DATABASE_URL", database);
        command.env_remove("KAFKA_BROKERS").env_remove("HEADWATER_KAFKA_PORT").output().unwrap()
    }

    fn fact(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join("state").join(name)).unwrap_or_default().trim().to_owned()
    }

    /// Prints the end of the broker's log: whether the broker or its client has gone astray.
    fn tell(&self) {
        let log = fs::read_to_string(self.folder.path().join("kafka/kafka.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        println!("the broker said at the end:\n{}", lines[lines.len().saturating_sub(60)..].join("\n"));
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.fact("kafka-pid")]).status().unwrap().success());
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell();
        }
        let pid = self.fact("kafka-pid");
        if Path::new("/proc").join(&pid).exists() && !pid.is_empty() {
            self.signal("-CONT");
        }
        self.services(&["down"], "postgres://nobody@127.0.0.1:1/none");
    }
}

#[test]
fn a_stalled_broker_pauses_reading_and_nothing_is_lost_or_doubled() {
    let of = |name| service(name, "a stalled broker");
    let (Some(_), Some(database)) = (of("KAFKA_BROKERS"), of("DATABASE_URL")) else { return };
    let Some(broker) = Broker::start(&database) else { return };
    let limits = "[engine]\nmax_bytes_in_flight = '2 MiB'\nmax_epochs_in_flight = 4\n";
    let workplace = Workplace::new(Some(&broker.address), limits);
    workplace.generate(12_000, 7);
    let running = Running::start(&workplace);
    let calm = running.wait_until("it commits", |metrics| {
        metrics.sum("headwater_input_records_total") > 1_000.0 && metrics.sum("headwater_commits_total") > 2.0
    });
    broker.signal("-STOP");
    let paused = "headwater_input_paused_milliseconds_total";
    let (mut most, mut stalled) = (0.0f64, running.metrics());
    // Two calls to the coordinator run out meanwhile.
    for _ in 0..250 {
        stalled = running.metrics();
        most = most.max(stalled.sum("process_resident_memory_bytes"));
        std::thread::sleep(Duration::from_millis(100));
    }
    let later = running.metrics();
    assert_eq!(stalled.sum("headwater_commits_total"), later.sum("headwater_commits_total"), "no commit in a stall");
    assert!(later.sum("headwater_bytes_in_flight") <= (2 << 20) as f64 + 1e6, "{:?}", later.sums);
    let added = most - calm.sum("process_resident_memory_bytes");
    println!(
        "broker stalled: {:.0} MB more than before, reading paused for {:.0} s, {:.0} records to go",
        added / 1e6,
        (later.sum(paused) - calm.sum(paused)) / 1e3,
        later.sum("headwater_input_lag_records")
    );
    assert!(later.sum(paused) > calm.sum(paused) && later.sum("headwater_input_lag_records") > 0.0);
    assert!(added < STALL_MAY_ADD, "{added} bytes more");
    broker.signal("-CONT");
    running.wait_until("all is committed", |metrics| {
        metrics.sum("headwater_input_records_total") >= 12_000.0 && metrics.sum("headwater_input_lag_records") == 0.0
    });
    running.stop(&workplace);

    let undisturbed = Workplace::new(None, "");
    undisturbed.generate(12_000, 7);
    undisturbed.run_to_the_end();
    assert_eq!(workplace.groups(), undisturbed.groups());
    assert_eq!(workplace.records("dead-letters").len(), undisturbed.records("dead-letters").len());
}
