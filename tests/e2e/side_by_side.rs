//! Discovery and registrations on one log and one database: counts follow when people merge events, and when they
//! take that back. With Kafka and Postgres where `KAFKA_BROKERS` and `DATABASE_URL` name them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Place, delete_topics, service, unique_name};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The binary of discovery, which Cargo builds for the tests of its own package only. Built as all tests are:
/// with other packages selected, features and so dependencies would be others, and be built once more.
fn discovery() -> PathBuf {
    let built = Command::new(env!("CARGO"))
        .args(["test", "--quiet", "--locked", "--workspace", "--test", "tables", "--no-run"])
        .args((!cfg!(debug_assertions)).then_some("--release"))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
        // scripts/test.sh sets it for the test programs. Build scripts would see another compiler.
        .env_remove("RUSTC_BOOTSTRAP")
        .status()
        .unwrap();
    assert!(built.success());
    Path::new(env!("CARGO_BIN_EXE_registrations")).with_file_name("discovery")
}

/// Where both have their topics and tables.
struct Shared {
    folder: TempDir,
    name: String,
    place: Place,
    database: Option<String>,
}

impl Shared {
    fn new() -> Self {
        let place = Place::kafka("two topologies").unwrap_or(Place::Embedded);
        let database = service("DATABASE_URL", "one Postgres for two topologies");
        Self { folder: TempDir::new().unwrap(), name: unique_name(), place, database }
    }

    fn schema(&self, topology: &str) -> String {
        format!("{}_{topology}", self.name.replace('-', "_"))
    }

    /// A configuration of `topology` with `own` sections.
    fn configure(&self, topology: &str, own: &str) {
        let log = match &self.place {
            Place::Embedded => "[log.embedded]\npath = 'log.db'\n".to_owned(),
            Place::Kafka(brokers) => format!("[log]\nkind = 'kafka'\n[log.kafka]\nbrokers = '{brokers}'\n"),
        };
        let view = match &self.database {
            None => format!("[views.sqlite]\npath = '{topology}.db'\n"),
            Some(url) => format!("[views.postgres]\nurl = '{url}'\nschema = '{}'\n", self.schema(topology)),
        };
        let name = &self.name;
        let text = format!(
            "name = '{name}-{topology}'\nprefix = '{name}.{topology}.'\n{own}{log}[topics]\npartitions = 2\n\
             raw_retention = 'forever'\n[admin]\nlisten = ''\n[engine]\nepoch_interval = '50 ms'\n{view}"
        );
        fs::write(self.folder.path().join(format!("{topology}.toml")), text).unwrap();
    }

    /// Event, title, hour and registrations of each row of the table, by title and hour.
    fn hours(&self) -> Vec<Hour> {
        let query = "SELECT event, title, CAST(hour AS text), registrations FROM";
        let mut hours: Vec<Hour> = match &self.database {
            None => {
                let path = self.folder.path().join("registrations.db");
                let Ok(file) = rusqlite::Connection::open(path) else { return Vec::new() };
                let Ok(mut query) = file.prepare(&format!("{query} hours")) else { return Vec::new() };
                let rows = query.query_map([], |row| {
                    Ok(Hour::new(row.get(0)?, row.get(1)?, &row.get::<_, String>(2)?, row.get(3)?))
                });
                rows.unwrap().map(Result::unwrap).collect()
            }
            Some(url) => {
                let mut client = postgres::Client::connect(url, postgres::NoTls).unwrap();
                client.batch_execute("SET timezone = 'UTC'").unwrap();
                let rows = client.query(&format!("{query} {}.hours", self.schema("registrations")), &[]);
                let hour =
                    |row: &postgres::Row| Hour::new(row.get(0), row.get(1), &row.get::<_, String>(2), row.get(3));
                rows.unwrap_or_default().iter().map(hour).collect()
            }
        };
        hours.sort();
        hours
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(url) = &self.database {
            let mut client = postgres::Client::connect(url, postgres::NoTls).unwrap();
            for topology in ["discovery", "registrations"] {
                client.batch_execute(&format!("DROP SCHEMA IF EXISTS {} CASCADE", self.schema(topology))).unwrap();
            }
        }
        if let Place::Kafka(brokers) = &self.place {
            let of = |topology: &str, topics: &[&str]| {
                topics.iter().map(|topic| format!("{}.{topology}.{topic}", self.name)).collect::<Vec<_>>()
            };
            let runtime = ["progress", "dead-letters", "replays"];
            let discovery = ["raw.events", "events", "listings", "links", "redirects", "decision-reports", "metrics"];
            let mut all = of(
                "discovery",
                &[&discovery[..], &runtime, &["place-requests", "places", "decisions", "control", "gates"]].concat(),
            );
            all.extend(of("registrations", &[&["raw.registrations", "registrations", "hours"][..], &runtime].concat()));
            delete_topics(brokers, &all.iter().map(String::as_str).collect::<Vec<_>>());
        }
    }
}

/// A row of the table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Hour {
    title: Option<String>,
    hour: u32,
    event: String,
    registrations: i64,
}

impl Hour {
    fn new(event: String, title: Option<String>, hour: &str, registrations: i64) -> Self {
        Self { title, hour: hour[11..13].parse().unwrap(), event, registrations }
    }
}

/// One of the topologies.
struct Side<'s> {
    shared: &'s Shared,
    topology: &'static str,
    binary: PathBuf,
    running: Option<Child>,
}

impl<'s> Side<'s> {
    fn new(shared: &'s Shared, topology: &'static str, binary: PathBuf) -> Self {
        Self { shared, topology, binary, running: None }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.current_dir(self.shared.folder.path()).args(arguments);
        command.arg("--config").arg(format!("{}.toml", self.topology));
        command.env_remove("HEADWATER_CONFIG").env_remove("RUST_LOG").stdin(Stdio::null());
        command
    }

    /// The output of a command that succeeds. A broker that has just made topics may not know their leaders yet.
    fn succeed(&self, arguments: &[&str]) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let output = self.command(arguments).output().unwrap();
            if output.status.success() {
                return String::from_utf8(output.stdout).unwrap();
            }
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.code() == Some(3) && Instant::now() < deadline, "{arguments:?}: {said}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn start(&mut self, workers: &str) {
        let folder = self.shared.folder.path();
        let errors = fs::File::create(folder.join(format!("{}.err", self.topology))).unwrap();
        let mut command = self.command(&["--workers", workers, "--json"]);
        self.running = Some(command.stdout(Stdio::null()).stderr(errors).spawn().unwrap());
    }

    fn kill(&mut self) {
        let mut running = self.running.take().unwrap();
        running.kill().unwrap();
        running.wait().unwrap();
    }

    fn stop(&mut self) {
        let mut running = self.running.take().unwrap();
        assert!(Command::new("kill").arg(running.id().to_string()).status().unwrap().success());
        assert_eq!(running.wait().unwrap().code(), Some(0), "{}", self.said());
    }

    /// What is to be told of a process that has ended by itself.
    fn ended(&mut self) -> Option<String> {
        let status = self.running.as_mut()?.try_wait().unwrap()?;
        Some(format!("{} has ended: {status}\n{}", self.topology, self.said()))
    }

    fn said(&self) -> String {
        fs::read_to_string(self.shared.folder.path().join(format!("{}.err", self.topology))).unwrap_or_default()
    }

    /// Writes records, one a line.
    fn produce(&self, topic: &str, records: &[Value], arguments: &[&str]) {
        let lines: Vec<String> = records.iter().map(Value::to_string).collect();
        fs::write(self.shared.folder.path().join("records.jsonl"), lines.join("\n")).unwrap();
        self.succeed(&[&["produce", topic, "records.jsonl"], arguments].concat());
    }

    /// The value of each key of a topic.
    fn table(&self, topic: &str) -> BTreeMap<String, Value> {
        let mut table = BTreeMap::new();
        for line in self.succeed(&["consume", topic, "--json", "--exit-at-end"]).lines() {
            let mut record: Value = serde_json::from_str(line).unwrap();
            let key = record["key"].as_str().unwrap().to_owned();
            match record["value"].take() {
                Value::Null => drop(table.remove(&key)),
                value => drop(table.insert(key, value)),
            }
        }
        table
    }
}

impl Drop for Side<'_> {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            let _ = running.kill();
            let _ = running.wait();
        }
    }
}

fn listing(id: &str, title: &str, hour: u32, place: &str) -> Value {
    json!({"@type": "Event", "@id": id, "name": title, "startDate": format!("2030-09-19T{hour:02}:00:00Z"), "location": {
        "@type": "Place", "name": place, "address": {"@type": "PostalAddress", "addressLocality": "Ely"}}})
}

/// A registration in a CloudEvents envelope.
fn registration(id: &str, event: &str, hour: u32, status: &str) -> Value {
    let time = format!("2026-06-01T{hour:02}:20:00Z");
    json!({"specversion": "1.0", "id": format!("{id}-{status}"), "source": "/desk", "type": "registration", "time": time,
        "data": {"id": id, "event": event, "status": status}})
}

/// The event of each listing, by source and id.
fn events_of(discovery: &Side<'_>) -> BTreeMap<String, String> {
    let mut events = BTreeMap::new();
    for (id, event) in discovery.table("events") {
        for listing in event["listings"].as_array().into_iter().flatten() {
            let name = ["source", "externalId"].map(|field| listing[field].as_str().unwrap().to_owned());
            events.insert(name.join("/"), id.clone());
        }
    }
    events
}

/// Waits until the table says this of titles and hours: how many registrations each has.
fn wait_for(shared: &Shared, mut sides: [&mut Side<'_>; 2], when: &str, expected: &[(&str, u32, i64)]) -> Vec<Hour> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let hours = shared.hours();
        let found: Vec<(&str, u32, i64)> =
            hours.iter().map(|row| (row.title.as_deref().unwrap_or("-"), row.hour, row.registrations)).collect();
        if found == expected {
            let rows = found.iter().map(|(title, hour, count)| format!("    {count:2} at {hour}:00  {title}"));
            println!("  {when}:\n{}", rows.collect::<Vec<_>>().join("\n"));
            return hours;
        }
        if let Some(ended) = sides.iter_mut().find_map(|side| side.ended()) {
            panic!("{when}: {ended}");
        }
        let said: String = sides.iter().map(|side| side.said()).collect();
        assert!(Instant::now() < deadline, "{when}: expected {expected:?}, found {found:?}\n{said}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn counts_follow_when_people_merge_events_and_take_that_back() {
    let shared = Shared::new();
    shared.configure("discovery", "retention = { past_events = 'forever' }\n");
    let events = format!("events = '{}.discovery.events'\nretention = {{ keep = 'forever' }}\n", shared.name);
    shared.configure("registrations", &events);
    let mut discovery = Side::new(&shared, "discovery", discovery());
    let mut desk = Side::new(&shared, "registrations", env!("CARGO_BIN_EXE_registrations").into());
    let log = if shared.place == Place::Embedded { "embedded log" } else { "Kafka" };
    let database = if shared.database.is_some() { "Postgres" } else { "SQLite" };
    println!("two topologies side by side ({log}, {database}):");

    // Two calendars that tell of one evening in words of their own, and of another evening each.
    discovery.start("2");
    let town =
        [listing("t1", "Quartet at the mill", 19, "Water Mill"), listing("t2", "Open kitchen", 12, "Market Hall")];
    let mill = [
        listing("m1", "An evening of strings", 20, "Old Granary"),
        listing("m2", "Baking for beginners", 9, "Bakehouse"),
    ];
    let ld = |source| ["--source", source, "--content-type", "application/ld+json"];
    discovery.produce("raw.events", &town, &ld("town"));
    discovery.produce("raw.events", &mill, &ld("mill"));
    let deadline = Instant::now() + PATIENCE;
    while events_of(&discovery).len() < 4 {
        assert!(Instant::now() < deadline, "{}", discovery.said());
        std::thread::sleep(Duration::from_millis(100));
    }
    let of = events_of(&discovery);
    let (quartet, strings, kitchen) = (&of["town/t1"], &of["mill/m1"], &of["town/t2"]);
    assert_ne!(quartet, strings);

    desk.start("2");
    let come = |desk: &Side<'_>, records: &[Value]| {
        desk.produce("raw.registrations", records, &["--content-type", "application/cloudevents+json"]);
    };
    let mut first: Vec<Value> = (0..5).map(|n| registration(&format!("q{n}"), quartet, 10, "registered")).collect();
    first.extend((5..7).map(|n| registration(&format!("q{n}"), quartet, 11, "registered")));
    first.extend((0..3).map(|n| registration(&format!("s{n}"), strings, 10, "registered")));
    first.extend((0..4).map(|n| registration(&format!("k{n}"), kitchen, 10, "registered")));
    first.push(first[0].clone());
    come(&desk, &first);
    // By a call of its own: of records without a key that one call writes in one millisecond, any may be the last.
    come(&desk, &[registration("k3", kitchen, 10, "cancelled")]);
    let apart = [
        ("An evening of strings", 10, 3),
        ("Open kitchen", 10, 3),
        ("Quartet at the mill", 10, 5),
        ("Quartet at the mill", 11, 2),
    ];
    let before = wait_for(&shared, [&mut discovery, &mut desk], "two events of two calendars", &apart);

    discovery.succeed(&["decide", "same", "town/t1", "mill/m1", "--by", "kim", "--because", "one evening"]);
    let deadline = Instant::now() + PATIENCE;
    let merged = loop {
        let of = events_of(&discovery);
        if of["town/t1"] == of["mill/m1"] {
            break of["town/t1"].clone();
        }
        assert!(Instant::now() < deadline, "{}", discovery.said());
    };
    let title = discovery.table("events")[&merged]["title"].as_str().unwrap().to_owned();
    let together = |ten: i64| {
        let mut rows = vec![(title.as_str(), 10, ten), (title.as_str(), 11, 2), ("Open kitchen", 10, 3)];
        rows.sort_unstable();
        rows
    };
    wait_for(&shared, [&mut discovery, &mut desk], "decide same", &together(8));
    // Registrations go on coming under both ids, and the process is killed meanwhile.
    come(&desk, &[registration("q7", quartet, 10, "registered"), registration("s3", strings, 10, "registered")]);
    desk.kill();
    desk.start("1");
    wait_for(&shared, [&mut discovery, &mut desk], "two more, after a kill", &together(10));

    discovery.succeed(&["decide", "withdraw", "town/t1", "mill/m1"]);
    let parted = apart.map(|(title, hour, count)| match (title, hour) {
        ("An evening of strings" | "Quartet at the mill", 10) => (title, hour, count + 1),
        _ => (title, hour, count),
    });
    let after = wait_for(&shared, [&mut discovery, &mut desk], "decide withdraw", &parted);
    let ids = |hours: &[Hour]| hours.iter().map(|row| row.event.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&before), ids(&after), "under the same ids as before");

    desk.stop();
    discovery.stop();
    for arguments in [&["--plan", "--json"][..], &["--rebuild", "--plan", "--json"]] {
        let plan: Value = serde_json::from_str(&desk.succeed(arguments)).unwrap();
        println!(
            "  {}: {} corrections ({})",
            arguments[..arguments.len() - 1].join(" "),
            plan["corrections"],
            plan["start"]
        );
        assert_eq!(plan["corrections"], 0, "{plan}");
    }
}
