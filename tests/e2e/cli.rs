//! The binaries as a user runs them: a feed in, views and topics out, signals, exit codes, messages.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use discovery::generate::{Shape, source_config_toml};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Place, delete_topics, service, unique_name};

/// A folder with a configuration, `topology.toml`, for a topology of its own.
struct Workplace {
    folder: TempDir,
    name: String,
    place: Place,
    postgres: Option<String>,
}

impl Workplace {
    /// With `more` at the end of the configuration.
    fn new(place: Place, more: &str) -> Self {
        let (folder, name) = (TempDir::new().unwrap(), unique_name());
        let log = match &place {
            Place::Embedded => "[log.embedded]\npath = 'log.db'\n".to_owned(),
            Place::Kafka(brokers) => format!("[log]\nkind = 'kafka'\n[log.kafka]\nbrokers = '{brokers}'\n"),
        };
        let text = format!(
            "name = '{name}'\nprefix = '{name}.'\n{log}[topics]\npartitions = 2\n[retention]\npast_events = 'forever'\n\
             [admin]\nlisten = '127.0.0.1:0'\n{}\n{more}",
            source_config_toml(6, &Shape::ALL)
        );
        fs::write(folder.path().join("topology.toml"), text).unwrap();
        Self { folder, name, place, postgres: None }
    }

    /// With tables in a SQLite file and, where `DATABASE_URL` names a server, in a schema of Postgres.
    fn with_views(place: Place) -> Self {
        let mut workplace = Self::new(place, "[views.sqlite]\npath = 'view.db'\n");
        if let Some(url) = service("DATABASE_URL", "the view in Postgres") {
            let schema = workplace.name.replace('-', "_");
            workplace.append(&format!("[views.postgres]\nurl = '{url}'\nschema = '{schema}'\n"));
            workplace.postgres = Some(url);
        }
        workplace
    }

    fn append(&self, more: &str) {
        let mut file = fs::OpenOptions::new().append(true).open(self.path("topology.toml")).unwrap();
        file.write_all(more.as_bytes()).unwrap();
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, binary: &str, arguments: &[&str]) -> Command {
        let mut command = bare(self.folder.path(), binary, arguments);
        command.args(["--config", "topology.toml"]);
        command
    }

    fn headwater(&self, arguments: &[&str]) -> Output {
        self.command("headwater", arguments).output().unwrap()
    }

    fn discovery(&self, arguments: &[&str]) -> Output {
        self.command("discovery", arguments).output().unwrap()
    }

    /// Generates `records` records into the input topic.
    fn generate(&self, records: u32, seed: u32) {
        let (records, seed) = (records.to_string(), seed.to_string());
        let rest = ["--malformed", "0.05", "--base-date", "2026-06-01", "--to-topic", "raw.events"];
        let arguments: Vec<&str> =
            ["generate", "--records", &records, "--seed", &seed].into_iter().chain(rest).collect();
        succeeded(&self.headwater(&arguments));
    }

    /// The records of a topic as `consume --json` prints them.
    fn consume(&self, topic: &str) -> Vec<Value> {
        lines(&succeeded(&self.headwater(&["consume", topic, "--json", "--exit-at-end"])))
    }

    /// Waits, beside a running engine, until so many events are there.
    fn wait_for_events(&self, count: usize) {
        let deadline = Instant::now() + Duration::from_secs(60);
        // The engine makes the topic.
        while !self.headwater(&["consume", "events", "--exit-at-end"]).status.success() {
            assert!(Instant::now() < deadline, "there are no events");
            std::thread::sleep(Duration::from_millis(50));
        }
        let count = count.to_string();
        succeeded(&self.headwater(&["consume", "events", "--from-beginning", "--max", &count]));
    }

    /// A compacted topic as a table.
    fn table(&self, topic: &str) -> BTreeMap<String, Value> {
        let mut table = BTreeMap::new();
        for record in self.consume(topic) {
            let key = record["key"].to_string();
            match &record["value"] {
                Value::Null => table.remove(&key),
                value => table.insert(key, value.clone()),
            };
        }
        table
    }

    /// How many rows each table of a view must have.
    fn expected_rows(&self) -> BTreeMap<&'static str, i64> {
        let events = self.table("events");
        let redirects = events.values().filter(|event| event.get("redirectTo").is_some()).count();
        [
            ("events", events.len() - redirects),
            ("event_redirects", redirects),
            ("listings", self.table("listings").len()),
            ("event_links", self.table("links").len()),
            ("window_metrics", self.table("metrics").len()),
            ("dead_letters", self.consume("dead-letters").len()),
        ]
        .into_iter()
        .map(|(table, rows)| (table, rows as i64))
        .collect()
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        if let Place::Kafka(brokers) = &self.place {
            let topics = lines(&text(&self.headwater(&["topics", "--json"]).stdout));
            let names: Vec<&str> = topics.iter().filter_map(|topic| topic["name"].as_str()).collect();
            delete_topics(brokers, &names);
        }
        if let Some(url) = &self.postgres {
            let schema = self.name.replace('-', "_");
            let mut client = postgres::Client::connect(url, postgres::NoTls).unwrap();
            client.batch_execute(&format!("DROP SCHEMA IF EXISTS {schema} CASCADE")).unwrap();
        }
    }
}

fn bare(folder: &Path, binary: &str, arguments: &[&str]) -> Command {
    let path = match binary {
        "discovery" => env!("CARGO_BIN_EXE_discovery"),
        _ => env!("CARGO_BIN_EXE_headwater"),
    };
    let mut command = Command::new(path);
    command.current_dir(folder).args(arguments).env_remove("HEADWATER_CONFIG").env_remove("RUST_LOG");
    command.stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn succeeded(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}\n{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect()
}

/// The last line of `discovery --json`.
fn summary(stdout: &str) -> Value {
    lines(stdout).pop().unwrap()
}

/// A process that is killed should the test fail while it runs.
struct Running(Child);

impl Running {
    fn start(mut command: Command) -> Self {
        Self(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.0.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for its end; the exit code and what is left of its output.
    fn end(mut self) -> (Option<i32>, String, String) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.0.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
        let (mut stdout, mut stderr) = (String::new(), String::new());
        if let Some(mut pipe) = self.0.stdout.take() {
            pipe.read_to_string(&mut stdout).unwrap();
        }
        self.0.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        (self.0.wait().unwrap().code(), stdout, stderr)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn views_show_what_the_topics_hold(place: Place) {
    let workplace = Workplace::with_views(place);
    workplace.generate(500, 3);
    let stdout = succeeded(&workplace.discovery(&["--exit-when-idle", "--json", "--workers", "2"]));
    let figures = summary(&stdout)["summary"].clone();
    assert_eq!(figures["records"], 500);
    let expected = workplace.expected_rows();
    assert_eq!((&figures["events"], &figures["listings"]), (&expected["events"].into(), &expected["listings"].into()));
    assert_eq!(figures["deadLetters"], expected["dead_letters"]);
    assert!(expected["events"] > 200 && expected["dead_letters"] > 10, "{expected:?}");
    assert!(expected["listings"] > expected["events"], "{expected:?}");
    let count = |table: &str| format!("SELECT count(*) FROM {table}");
    let sqlite = rusqlite::Connection::open(workplace.path("view.db")).unwrap();
    for (table, rows) in &expected {
        let found: i64 = sqlite.query_row(&count(table), [], |row| row.get(0)).unwrap();
        assert_eq!(found, *rows, "{table} in SQLite");
    }
    if let Some(url) = &workplace.postgres {
        let schema = workplace.name.replace('-', "_");
        let mut client = postgres::Client::connect(url, postgres::NoTls).unwrap();
        for (table, rows) in &expected {
            let found: i64 = client.query_one(&count(&format!("{schema}.{table}")), &[]).unwrap().get(0);
            assert_eq!(found, *rows, "{table} in Postgres");
        }
    }
    let again = succeeded(&workplace.discovery(&["--exit-when-idle", "--json", "--workers", "1"]));
    assert_eq!((&summary(&again)["summary"]["records"], &summary(&again)["corrections"]), (&0.into(), &0.into()));
    assert_eq!(workplace.expected_rows(), expected, "a start without new records changes nothing");
}

#[test]
fn views_show_what_the_embedded_log_holds() {
    views_show_what_the_topics_hold(Place::Embedded);
}

#[test]
fn views_show_what_kafka_holds() {
    let Some(place) = Place::kafka("the binaries") else { return };
    views_show_what_the_topics_hold(place);
}

#[test]
fn a_signal_ends_it_in_order_and_nothing_is_lost_or_done_twice() {
    let workplace = Workplace::new(Place::Embedded, "");
    workplace.generate(600, 5);
    let running = Running::start(workplace.command("discovery", &["--json", "--workers", "2"]));
    // Written and read while the engine runs.
    workplace.wait_for_events(1);
    let generate = ["generate", "--records", "600", "--seed", "6", "--malformed", "0.05", "--base-date", "2026-06-01"];
    let slowly = ["--to-topic", "raw.events", "--rate", "500"];
    let feed = Running::start(workplace.command("headwater", &[&generate[..], &slowly].concat()));
    std::thread::sleep(Duration::from_millis(300));
    running.signal("-TERM");
    let (code, stdout, stderr) = running.end();
    assert_eq!(feed.end().0, Some(0));
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let first = summary(&stdout);
    assert_eq!(first["orderly"], true);
    let rest = summary(&succeeded(&workplace.discovery(&["--exit-when-idle", "--json"])));
    let records = |summary: &Value| summary["summary"]["records"].as_u64().unwrap();
    assert!(records(&rest) > 0, "it was stopped on the way: {first} {rest}");
    assert_eq!(records(&first) + records(&rest), 1200, "{first} {rest}");
    assert_eq!(rest["corrections"], 0);
    let whole = Workplace::new(Place::Embedded, "");
    whole.generate(600, 5);
    whole.generate(600, 6);
    succeeded(&whole.discovery(&["--exit-when-idle", "--json", "--workers", "1"]));
    for table in ["events", "listings", "event_links", "dead_letters"] {
        assert_eq!(workplace.expected_rows()[table], whole.expected_rows()[table], "{table}");
    }
}

#[test]
fn a_start_names_the_configuration_that_it_runs_on() {
    let workplace = Workplace::new(Place::Embedded, "");
    let said = succeeded(&workplace.discovery(&["--exit-when-idle"]));
    assert!(said.contains("\n  config  topology.toml\n"), "{said}");
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--exit-when-idle", "--set", "admin.listen=127.0.0.1:0"];
    let said = succeeded(&bare(folder.path(), "discovery", &arguments).output().unwrap());
    assert!(said.contains("\n  config  built-in defaults\n"), "{said}");
}

/// The address after `prefix` in what a topology says when it starts.
fn announced(running: &mut Running, prefix: &str) -> String {
    let mut stdout = BufReader::new(running.0.stdout.take().unwrap());
    let mut said = String::new();
    let found = loop {
        let mut line = String::new();
        assert!(stdout.read_line(&mut line).unwrap() > 0, "{prefix} is not said: {said}");
        said.push_str(&line);
        if let Some((_, rest)) = line.split_once(prefix) {
            break rest.trim().to_owned();
        }
    };
    // Whatever else it says must go somewhere.
    std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
    found
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_admin_server_answers() {
    let workplace = Workplace::new(Place::Embedded, "");
    workplace.generate(50, 1);
    let mut running = Running::start(workplace.command("discovery", &["--workers", "1"]));
    let announced = announced(&mut running, "http://");
    let address = announced.trim_end_matches("/metrics");
    workplace.wait_for_events(1);
    assert!(get(address, "/health").starts_with("HTTP/1.1 200"));
    let deadline = Instant::now() + Duration::from_secs(10);
    while !get(address, "/ready").starts_with("HTTP/1.1 200") {
        assert!(Instant::now() < deadline, "it does not get ready: {}", get(address, "/ready"));
        std::thread::sleep(Duration::from_millis(50));
    }
    let metrics = get(address, "/metrics");
    assert!(metrics.starts_with("HTTP/1.1 200"), "{metrics}");
    assert!(metrics.contains("# TYPE headwater_"), "{metrics}");
    running.signal("-INT");
    let (code, _, stderr) = running.end();
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
}

#[test]
fn all_that_is_wrong_with_a_configuration_is_listed_with_its_place() {
    let folder = TempDir::new().unwrap();
    let config = "nmae = 'x'\nworkers = 'many'\n\n[topics]\npartitions = 0\n\n[views.postgres]\n\
                  url = '${HEADWATER_NO_SUCH_VARIABLE}'\n\n[sources.a]\ntimezone = 'Mars/Olympus'\n";
    fs::write(folder.path().join("topology.toml"), config).unwrap();
    for arguments in [&["--exit-when-idle"][..], &["check"]] {
        let mut command = bare(folder.path(), "discovery", arguments);
        let output = command.args(["--config", "topology.toml"]).output().unwrap();
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        for (place, word) in [
            ("topology.toml:1", "did you mean `name`?"),
            ("topology.toml:2", "workers"),
            ("topology.toml:5", "partitions"),
            ("topology.toml:8", "HEADWATER_NO_SUCH_VARIABLE"),
            ("topology.toml:11", "Mars/Olympus"),
        ] {
            assert!(stderr.contains(place) && stderr.contains(word), "{arguments:?}: {place}, {word}: {stderr}");
        }
        assert!(!folder.path().join(".headwater").exists(), "nothing is made with a wrong configuration");
    }
}

/// An address where nobody listens.
fn nowhere() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn an_unreachable_broker_is_told_soon_and_with_a_hint() {
    let workplace = Workplace::new(Place::Embedded, "");
    let brokers = format!("log.kafka.brokers={}", nowhere());
    for arguments in [&["--exit-when-idle"][..], &["check"]] {
        let began = Instant::now();
        let flags = ["--set", "log.kind=kafka", "--set", &brokers];
        let output = workplace.discovery(&[arguments, &flags].concat());
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{arguments:?}: {stderr}");
        assert!(began.elapsed() < Duration::from_secs(15), "{arguments:?} took {:?}", began.elapsed());
        assert!(stderr.contains(brokers.trim_start_matches("log.kafka.brokers=")), "{stderr}");
        assert!(stderr.contains("hint: "), "{stderr}");
    }
}

#[test]
fn a_log_that_a_restart_would_find_the_same_is_for_a_person() {
    let workplace = Workplace::new(Place::Embedded, "");
    workplace.generate(50, 3);
    let refused = |arguments: &[&str], said: &str| {
        let output = workplace.discovery(arguments);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(said) && stderr.contains("hint: "), "{arguments:?}: {stderr}");
    };
    // A folder, and a file that is taken for a folder.
    for path in [".", "topology.toml/log.db"] {
        let flag = format!("log.embedded.path={path}");
        refused(&["--exit-when-idle", "--set", &flag], "the log cannot be at");
        refused(&["check", "--set", &flag], "the log cannot be at");
    }
    // A file that was overwritten in part.
    let mut bytes = fs::read(workplace.path("log.db")).unwrap();
    for byte in bytes.iter_mut().skip(100).step_by(3) {
        *byte ^= 0x5a;
    }
    fs::write(workplace.path("log.db"), bytes).unwrap();
    refused(&["--exit-when-idle"], "cannot be used");
}

#[test]
fn without_its_database_the_engine_goes_on() {
    let url = format!("postgres://nobody:hunter2@{}/none", nowhere());
    let workplace = Workplace::new(Place::Embedded, &format!("[views.postgres]\nurl = '{url}'\n"));
    let checked = workplace.discovery(&["check"]);
    let stderr = text(&checked.stderr);
    assert_eq!(checked.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("views.postgres.url") && stderr.contains("hint: "), "{stderr}");
    assert!(!stderr.contains("hunter2"), "{stderr}");
    workplace.generate(100, 2);
    let running = Running::start(workplace.command("discovery", &["--json"]));
    workplace.wait_for_events(20);
    running.signal("-TERM");
    let (code, stdout, stderr) = running.end();
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(summary(&stdout)["summary"]["records"], 100);
    assert!(!stderr.contains("hunter2"), "{stderr}");
}

#[test]
fn generated_files_can_be_produced_and_discovered() {
    let workplace = Workplace::new(Place::Embedded, "");
    let arguments =
        ["generate", "--records", "200", "--out", "feed", "--base-date", "2026-06-01", "--truth", "truth.csv"];
    succeeded(&workplace.headwater(&arguments));
    let truth = fs::read_to_string(workplace.path("truth.csv")).unwrap();
    assert!(truth.starts_with("source,external_id,event\n") && truth.lines().count() > 100);
    let mut produced = 0;
    for entry in fs::read_dir(workplace.path("feed")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if !path.is_dir() && path.extension().is_none_or(|extension| extension != "jsonl") {
            continue;
        }
        let path = path.to_str().unwrap();
        let done = workplace.headwater(&["produce", "raw.events", path, "--source", &name, "--json"]);
        produced += summary(&succeeded(&done))["records"].as_u64().unwrap();
    }
    let done = summary(&succeeded(&workplace.discovery(&["--exit-when-idle", "--json"])));
    assert_eq!(done["summary"]["records"], produced);
    assert!(done["summary"]["events"].as_u64().unwrap() > 80, "{done}");
    assert_eq!(workplace.consume("raw.events").len() as u64, produced);
    let topics = lines(&succeeded(&workplace.headwater(&["topics", "--json"])));
    assert!(topics.iter().any(|topic| topic["name"] == format!("{}.events", workplace.name)), "{topics:?}");
}

#[test]
fn corrections_are_planned_asked_about_and_told() {
    let workplace = Workplace::new(Place::Embedded, "");
    workplace.generate(300, 8);
    succeeded(&workplace.discovery(&["--exit-when-idle", "--json"]));
    assert!(succeeded(&workplace.discovery(&["--plan"])).contains("Nothing to correct"));
    let stricter = ["--set", "score.pass=0.999"];
    let planned = succeeded(&workplace.discovery(&[&["--plan"][..], &stricter].concat()));
    assert!(planned.contains("configuration or operators changed") && planned.contains("need --yes"), "{planned}");
    let planned = succeeded(&workplace.discovery(&[&["--plan", "--json"][..], &stricter].concat()));
    let planned = lines(&planned).pop().unwrap();
    assert_eq!(planned["needsConsent"], true);
    let refused = workplace.discovery(&[&["--exit-when-idle"][..], &stricter].concat());
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));
    assert!(text(&refused.stderr).contains("start with --yes"), "{}", text(&refused.stderr));
    let told = succeeded(&workplace.discovery(&[&["--exit-when-idle", "--yes"][..], &stricter].concat()));
    let count = planned["report"]["topics"][0]["changed"].as_u64().unwrap();
    assert!(told.contains(&format!("corrected: {count} events of ")), "{count} in {told}");
    let rebuilt = succeeded(&workplace.discovery(&[&["--exit-when-idle", "--rebuild"][..], &stricter].concat()));
    assert!(rebuilt.contains("rebuild from 300 raw records"), "{rebuilt}");
}

/// Runs a topology at a terminal, which `script` of util-linux makes, and types `answer`.
#[cfg(target_os = "linux")]
fn at_a_terminal(workplace: &Workplace, arguments: &[&str], answer: &str) -> (Option<i32>, String) {
    let line = [&[env!("CARGO_BIN_EXE_discovery"), "--config", "topology.toml"], arguments].concat().join(" ");
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--flush", "--command", &line, "/dev/null"]);
    command.current_dir(workplace.folder.path()).env_remove("HEADWATER_CONFIG").env_remove("RUST_LOG");
    let mut child =
        Running(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    child.0.stdin.take().unwrap().write_all(answer.as_bytes()).unwrap();
    let (code, stdout, _) = child.end();
    (code, stdout)
}

#[cfg(target_os = "linux")]
#[test]
fn a_person_at_a_terminal_is_asked_before_another_instance_ends() {
    let workplace = Workplace::new(Place::Embedded, "");
    workplace.generate(50, 1);
    let mut running = Running::start(workplace.command("discovery", &["--workers", "1"]));
    workplace.wait_for_events(1);
    let (code, said) = at_a_terminal(&workplace, &["--exit-when-idle"], "n\n");
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains(&format!("An instance of \"{}\" committed ", workplace.name)), "{said}");
    assert!(said.contains("--plan shows what a start would change"), "{said}");
    assert!(said.contains("error: not started: an instance of "), "{said}");
    assert!(running.0.try_wait().unwrap().is_none(), "the other one goes on");
    // A plan ends nobody, so nobody is asked.
    let (code, said) = at_a_terminal(&workplace, &["--plan"], "");
    assert!(code == Some(0) && !said.contains("Take over?"), "{said}");
    workplace.generate(10, 2);
    let (code, said) = at_a_terminal(&workplace, &["--exit-when-idle"], "y\n");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("Take over? [y/N]"), "{said}");
    let (code, _, stderr) = running.end();
    assert_eq!(code, Some(4), "the other one is fenced: {stderr}");
    // Neither --yes nor a start without a terminal asks.
    let (code, said) = at_a_terminal(&workplace, &["--exit-when-idle", "--yes"], "");
    assert!(code == Some(0) && !said.contains("Take over?"), "{said}");
    let restarted = workplace.discovery(&["--exit-when-idle"]);
    succeeded(&restarted);
    assert!(!text(&restarted.stderr).contains("Take over?"), "{}", text(&restarted.stderr));
}

#[test]
fn a_tombstone_of_produce_withdraws_a_document() {
    let workplace = Workplace::new(Place::Embedded, "");
    let event = |id: &str| {
        format!(
            "{{\"@type\":\"Event\",\"@id\":\"{id}\",\"name\":\"Fair {id}\",\"startDate\":\"2026-06-0{id}T10:00:00Z\"}}"
        )
    };
    fs::write(workplace.path("north.jsonld"), format!("[{},\n{}]", event("1"), event("2"))).unwrap();
    fs::write(workplace.path("south.jsonld"), event("3")).unwrap();
    succeeded(&workplace.headwater(&["produce", "raw.events", "north.jsonld", "south.jsonld", "--source", "town"]));
    let listings = || {
        succeeded(&workplace.discovery(&["--exit-when-idle", "--json"]));
        succeeded(&workplace.headwater(&["consume", "listings", "--latest"])).lines().count()
    };
    assert_eq!(listings(), 3);
    let wrong = workplace.headwater(&["produce", "raw.events", "--tombstone", "north"]);
    assert_eq!(wrong.status.code(), Some(2), "it names no source: {}", text(&wrong.stderr));
    let done = succeeded(&workplace.headwater(&["produce", "raw.events", "--tombstone", "north", "--source", "town"]));
    assert_eq!(done, format!("1 tombstone to {}.raw.events\n", workplace.name));
    assert_eq!(listings(), 1, "what the document gave is gone");
    let gone = succeeded(&workplace.headwater(&["consume", "listings", "--exit-at-end"]));
    assert_eq!(gone.lines().filter(|line| line.starts_with("{\"tombstone\":\"")).count(), 2, "{gone}");
}
