//! What people do while a topology runs, with the binaries: decide, and replay dead letters.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use discovery::generate::{Shape, source_config_toml};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Place, delete_topics, unique_name};

/// A folder with a configuration, and the topics that it names.
struct Workplace {
    folder: TempDir,
    place: Place,
}

impl Workplace {
    fn new(place: Place) -> Self {
        let (folder, name) = (TempDir::new().unwrap(), unique_name());
        let log = match &place {
            Place::Embedded => "[log.embedded]\npath = 'log.db'\n".to_owned(),
            Place::Kafka(brokers) => format!("[log]\nkind = 'kafka'\n[log.kafka]\nbrokers = '{brokers}'\n"),
        };
        let text = format!(
            "name = '{name}'\nprefix = '{name}.'\n{log}[topics]\npartitions = 2\n[retention]\npast_events = 'forever'\n\
             [admin]\nlisten = ''\n[views.sqlite]\npath = 'view.db'\n"
        );
        fs::write(folder.path().join("topology.toml"), text).unwrap();
        Self { folder, place }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, binary: &str, arguments: &[&str]) -> Command {
        let path = match binary {
            "discovery" => env!("CARGO_BIN_EXE_discovery"),
            _ => env!("CARGO_BIN_EXE_headwater"),
        };
        let mut command = Command::new(path);
        command.current_dir(self.folder.path()).args(arguments).args(["--config", "topology.toml"]);
        command.env_remove("HEADWATER_CONFIG").env_remove("RUST_LOG").stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command("headwater", arguments).output().unwrap()
    }

    /// The output of a command that succeeds.
    fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn lines(&self, arguments: &[&str]) -> Vec<Value> {
        self.succeed(arguments).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Runs the topology on all that is there. A broker that has just made the topics may not know
    /// their leaders yet; then it ends, and is started again.
    fn catch_up(&self) {
        until(|| {
            let ended = self.command("discovery", &["--exit-when-idle"]).output().unwrap();
            if ended.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&ended.stderr).into_owned()) }
        });
    }

    /// Tells of an event as `source` does.
    fn say(&self, source: &str, id: &str, title: &str, hour: u32, place: &str) {
        let start = format!("2026-09-19T{hour}:00:00Z");
        let listing = json!({"@type": "Event", "@id": id, "name": title, "startDate": start, "location": {
            "@type": "Place", "name": place, "address": {"@type": "PostalAddress", "addressLocality": "Ely"}}});
        fs::write(self.path("listing.jsonl"), listing.to_string()).unwrap();
        let kind = ["--source", source, "--content-type", "application/ld+json"];
        self.succeed(&[&["produce", "raw.events", "listing.jsonl"][..], &kind].concat());
    }

    /// A compacted topic as a table; empty while it is not there.
    fn table(&self, topic: &str) -> BTreeMap<String, Value> {
        let output = self.run(&["consume", topic, "--json", "--exit-at-end"]);
        let mut table = BTreeMap::new();
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let record: Value = serde_json::from_str(line).unwrap();
            let key = record["key"].as_str().unwrap().to_owned();
            match &record["value"] {
                Value::Null => drop(table.remove(&key)),
                value => drop(table.insert(key, value.clone())),
            }
        }
        table
    }

    /// The listings of each event on the topic, `source/id` joined by `+`, in order.
    fn groups(&self) -> Vec<String> {
        let name = |one: &Value| format!("{}/{}", one["source"].as_str().unwrap(), one["externalId"].as_str().unwrap());
        let events = self.table("events");
        let live = events.values().filter_map(|event| event["listings"].as_array());
        let mut groups: Vec<String> = live.map(|all| all.iter().map(name).collect::<Vec<_>>().join("+")).collect();
        groups.sort();
        groups
    }

    /// The id of the event that has the listing `source/id`.
    fn event_with(&self, listing: &str) -> String {
        let has = |link: &&Value| {
            format!("{}/{}", link["source"].as_str().unwrap(), link["externalId"].as_str().unwrap()) == listing
        };
        self.table("links").values().find(has).unwrap()["eventId"].as_str().unwrap().to_owned()
    }

    /// How many listings each event of the view has, in order.
    fn view(&self) -> Vec<i64> {
        let Ok(view) = rusqlite::Connection::open(self.path("view.db")) else { return Vec::new() };
        let Ok(mut rows) = view.prepare("SELECT listing_count FROM events ORDER BY listing_count") else {
            return Vec::new();
        };
        rows.query_map([], |row| row.get(0)).unwrap().filter_map(Result::ok).collect()
    }

    /// Waits until the events on the topic and in the view have these listings.
    fn wait_for(&self, groups: &[&str]) {
        let mut counts: Vec<i64> = groups.iter().map(|group| group.split('+').count() as i64).collect();
        counts.sort_unstable();
        until(|| {
            let (found, view) = (self.groups(), self.view());
            if found == groups && view == counts { Ok(()) } else { Err(format!("{found:?}, view {view:?}")) }
        });
    }

    /// The state of each decision, by what it says and of whom.
    fn states(&self) -> BTreeMap<String, String> {
        let name = |one: &Value| format!("{}/{}", one["source"].as_str().unwrap(), one["externalId"].as_str().unwrap());
        let listed = self.lines(&["decide", "list", "--json"]);
        let state = |one: &Value| {
            let (says, ruling) = one["decision"].as_object().unwrap().iter().next().unwrap();
            let pair = format!("{says} {} {}", name(&ruling["a"]), name(&ruling["b"]));
            (pair, one["state"].as_str().unwrap().to_owned())
        };
        listed.iter().map(state).collect()
    }

    fn wait_for_states(&self, expected: &[(&str, &str)]) {
        let expected: BTreeMap<String, String> =
            expected.iter().map(|(pair, state)| ((*pair).to_owned(), (*state).to_owned())).collect();
        until(|| {
            let found = self.states();
            if found == expected { Ok(()) } else { Err(format!("{found:?}")) }
        });
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        if let Place::Kafka(brokers) = &self.place {
            let output = self.run(&["topics", "--json"]);
            let topics: Vec<Value> = String::from_utf8_lossy(&output.stdout)
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok())
                .collect();
            let names: Vec<&str> = topics.iter().filter_map(|topic| topic["name"].as_str()).collect();
            delete_topics(brokers, &names);
        }
    }
}

fn until(mut done: impl FnMut() -> Result<(), String>) {
    let deadline = Instant::now() + Duration::from_secs(90);
    while let Err(found) = done() {
        assert!(Instant::now() < deadline, "it does not come: {found}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A process that is killed at the end of the test at the latest.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a process whose standard error is the test's.
fn start(mut command: Command) -> Running {
    Running(command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().unwrap())
}

fn decisions_split_and_join_live(place: Place) {
    let workplace = Workplace::new(place);
    workplace.say("a", "1", "Harvest Supper", 18, "Village Hall");
    workplace.say("b", "1", "Harvest Supper", 18, "Village Hall");
    workplace.say("a", "2", "Autumn Concert of the Silver Band", 15, "Village Hall");
    workplace.say("b", "2", "Brass in the Afternoon", 10, "Church Hall");
    workplace.catch_up();
    let _running = start(workplace.command("discovery", &["--workers", "2"]));
    workplace.wait_for(&["a/1+b/1", "a/2", "b/2"]);
    let whole = workplace.event_with("a/1");

    workplace.succeed(&["decide", "different", "a/1", "b/1", "--by", "kim", "--because", "two suppers"]);
    workplace.wait_for(&["a/1", "a/2", "b/1", "b/2"]);
    workplace.succeed(&["decide", "same", "b/2", "a/2", "--by", "kim", "--because", "asked the band"]);
    workplace.wait_for(&["a/1", "a/2+b/2", "b/1"]);
    workplace.wait_for_states(&[("different a/1 b/1", "holds"), ("same b/2 a/2", "holds")]);
    for link in workplace.table("links").values() {
        let decision = &link["decisions"][0];
        assert_eq!((&decision["state"], link["decisions"].as_array().unwrap().len()), (&"holds".into(), 1), "{link}");
        let says = if link["externalId"] == "1" { "different" } else { "same" };
        assert_eq!(decision["decision"][says]["who"], "kim", "{link}");
    }

    // A later word on the pair, the other way round, takes the place of the first.
    workplace.succeed(&["decide", "same", "b/1", "a/1", "--by", "ann"]);
    workplace.wait_for(&["a/1+b/1", "a/2+b/2"]);
    workplace.wait_for_states(&[("same b/1 a/1", "holds"), ("same b/2 a/2", "holds")]);
    assert_eq!(workplace.event_with("a/1"), whole, "ids outlive a split");

    // Three words that cannot all hold: the oldest "same" gives way, until the "different" goes.
    workplace.succeed(&["decide", "same", "b/1", "a/2", "--by", "kim"]);
    workplace.wait_for(&["a/1+a/2+b/1+b/2"]);
    workplace.succeed(&["decide", "different", "a/1", "a/2", "--by", "kim"]);
    workplace.wait_for(&["a/1", "a/2+b/1+b/2"]);
    let others = [("same b/2 a/2", "holds"), ("same b/1 a/2", "holds"), ("different a/1 a/2", "holds")];
    workplace.wait_for_states(&[&[("same b/1 a/1", "overruled")][..], &others].concat());
    let listed = workplace.lines(&["decide", "list", "--json", "--open"]);
    assert_eq!((listed.len(), &listed[0]["overruledBy"][0]["different"]["who"]), (1, &"kim".into()), "{listed:?}");
    workplace.succeed(&["decide", "withdraw", "a/2", "a/1"]);
    workplace.wait_for(&["a/1+a/2+b/1+b/2"]);

    // Without a word everything is as it was.
    for (a, b) in [("b/1", "a/2"), ("a/1", "b/1"), ("a/2", "b/2")] {
        workplace.succeed(&["decide", "withdraw", a, b]);
    }
    workplace.wait_for(&["a/1+b/1", "a/2", "b/2"]);
    assert_eq!(workplace.states(), BTreeMap::new());
    until(|| {
        let reports = workplace.table("decision-reports");
        if reports.is_empty() { Ok(()) } else { Err(format!("{reports:?}")) }
    });
}

#[test]
fn decisions_split_and_join_live_on_the_embedded_log() {
    decisions_split_and_join_live(Place::Embedded);
}

#[test]
fn decisions_split_and_join_live_on_kafka() {
    let Some(place) = Place::kafka("decisions") else { return };
    decisions_split_and_join_live(place);
}

#[test]
fn a_decision_waits_for_its_listings_and_a_malformed_one_is_a_dead_letter() {
    let workplace = Workplace::new(Place::Embedded);
    workplace.say("a", "1", "Harvest Supper", 18, "Village Hall");
    let _running = start(workplace.command("discovery", &["--workers", "1"]));
    workplace.wait_for(&["a/1"]);
    workplace.succeed(&["decide", "different", "a/1", "b/1", "--by", "kim"]);
    workplace.wait_for_states(&[("different a/1 b/1", "waits")]);
    let table = workplace.succeed(&["decide", "list"]);
    assert!(table.contains("not live: b/1"), "{table}");
    workplace.say("b", "1", "Harvest Supper", 18, "Village Hall");
    workplace.wait_for(&["a/1", "b/1"]);
    workplace.wait_for_states(&[("different a/1 b/1", "holds")]);
    fs::write(workplace.path("wrong.jsonl"), r#"{"same": {"a": {"source": "a"}}}"#).unwrap();
    workplace.succeed(&["produce", "decisions", "wrong.jsonl", "--key-value", "x"]);
    until(|| {
        let found = workplace.succeed(&["dead-letters", "list", "--code", "invalid-control", "--json"]);
        if found.lines().count() == 1 { Ok(()) } else { Err(found) }
    });
    for (arguments, word) in [
        (&["decide", "withdraw", "a/1", "c/1"][..], "there is no decision on a/1 and c/1"),
        (&["decide", "same", "a/1", "a/1", "--by", "kim"], "two listings"),
        (&["decide", "same", "a/1", "b", "--by", "kim"], "SOURCE/ID"),
        (&["dead-letters", "show", "0/9999"], "there is no dead letter 0/9999"),
        (&["dead-letters", "replay", "0/9999"], "there is no dead letter 0/9999"),
    ] {
        let output = workplace.run(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(word), "{arguments:?}: {stderr}");
    }
}

fn a_killed_replay_goes_on(place: Place) {
    const RECORDS: usize = 120;
    let workplace = Workplace::new(place);
    let lines: String = (0..RECORDS).map(|n| format!("{{\"n\": {n}}}\n")).collect();
    fs::write(workplace.path("bad.jsonl"), lines).unwrap();
    let arguments = ["produce", "raw.events", "bad.jsonl", "--source", "a", "--key", "/n"];
    workplace.succeed(&[&arguments[..], &["--content-type", "application/json"]].concat());
    workplace.catch_up();
    let replayed = || {
        let records = workplace.lines(&["consume", "raw.events", "--json", "--exit-at-end"]);
        let again: Vec<String> = records
            .iter()
            .filter(|record| record["headers"]["replay-of"].is_string())
            .map(|record| record["key"].to_string())
            .collect();
        again
    };
    for _ in 0..3 {
        let before = replayed().len();
        let mut running = start(workplace.command("headwater", &["dead-letters", "replay", "--rate", "10"]));
        until(|| match replayed().len() > before || running.0.try_wait().unwrap().is_some() {
            true => Ok(()),
            false => Err("nothing is replayed".to_owned()),
        });
        drop(running);
    }
    assert!(replayed().len() < RECORDS, "it was killed on the way");
    let done = workplace.lines(&["dead-letters", "replay", "--json"]);
    let mut keys = replayed();
    assert_eq!(keys.len(), RECORDS, "{done:?}");
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), RECORDS, "each once");
    assert_eq!((&done[0]["complete"], done[0]["records"].as_u64() < Some(RECORDS as u64)), (&true.into(), true));
}

#[test]
fn a_killed_replay_goes_on_on_the_embedded_log() {
    a_killed_replay_goes_on(Place::Embedded);
}

#[test]
fn a_killed_replay_goes_on_on_kafka() {
    let Some(place) = Place::kafka("replaying") else { return };
    a_killed_replay_goes_on(place);
}

/// What the listings say, without when they were heard.
fn said(workplace: &Workplace) -> Vec<String> {
    let mut said: Vec<String> =
        workplace.table("listings").values().map(|state| state["listing"].to_string()).collect();
    said.sort();
    said
}

#[test]
fn what_is_mended_and_replayed_ends_as_if_it_had_been_right_at_once() {
    let (mended, right) = (Workplace::new(Place::Embedded), Workplace::new(Place::Embedded));
    let configure = |workplace: &Workplace| {
        let mut text = fs::read_to_string(workplace.path("topology.toml")).unwrap();
        text.push_str(&source_config_toml(6, &Shape::ALL));
        fs::write(workplace.path("topology.toml"), text).unwrap();
    };
    let records = ["generate", "--records", "500", "--seed", "3", "--malformed", "0.03", "--base-date", "2026-06-01"];
    for workplace in [&mended, &right] {
        workplace.succeed(&[&records[..], &["--to-topic", "raw.events"]].concat());
    }
    // Three of six sources cannot be read without their mappings.
    mended.catch_up();
    configure(&mended);
    let done = mended.lines(&["dead-letters", "replay", "--json"]).remove(0);
    assert!(done["records"].as_u64() > Some(100) && done["skipped"]["outdated"].as_u64() > Some(5), "{done}");
    mended.catch_up();
    configure(&right);
    right.catch_up();
    let (mended, right) = (said(&mended), said(&right));
    assert!(right.len() > 300);
    assert_eq!(mended.len(), right.len());
    assert!(mended == right, "listings differ");
}
