//! Discovery and jobs on one log: a script answers place requests, an export is a job, and every process is killed on
//! the way.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use jobs::client::{Client, JobFilter, NewJob};
use jobs::model::{Job, Phase};
use serde_json::value::to_raw_value;
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// More than three pages.
const CONCERTS: usize = 650;

/// The binary of jobs, which Cargo builds for the tests of its own package only. Built as all tests are: with other
/// packages selected, features and so dependencies would be others, and be built once more.
fn jobs_binary() -> PathBuf {
    let built = Command::new(env!("CARGO"))
        .args(["test", "--quiet", "--locked", "--workspace", "--test", "worker", "--no-run"])
        .args((!cfg!(debug_assertions)).then_some("--release"))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
        // scripts/test.sh sets it for the test programs. Build scripts would see another compiler.
        .env_remove("RUSTC_BOOTSTRAP")
        .status()
        .unwrap();
    assert!(built.success());
    Path::new(env!("CARGO_BIN_EXE_discovery")).with_file_name("headwater-jobs")
}

/// An address that is free now, so that what is started again has the same one.
fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// A folder with both topologies, and their processes by name.
struct Workplace {
    folder: TempDir,
    jobs_binary: PathBuf,
    jobs: String,
    events: String,
    running: BTreeMap<&'static str, Child>,
}

impl Workplace {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let (jobs, events) = (free_address(), free_address());
        let both = "[log.embedded]\npath = 'log.db'\n[topics]\npartitions = 2\n[admin]\nlisten = ''\n\
                    [engine]\nepoch_interval = '50 ms'\n";
        let discovery = format!(
            "{both}[retention]\npast_events = 'forever'\n[sources.hall]\nduplicate_free = true\n\
             [serve]\nlisten = '{events}'\n[jobs]\n"
        );
        let own =
            format!("{both}[serve]\nlisten = '{jobs}'\n[queues.'*']\nheartbeat_within = '2 s'\nbackoff = '1 s'\n");
        fs::write(folder.path().join("discovery.toml"), discovery).unwrap();
        fs::write(folder.path().join("jobs.toml"), own).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples/geocode.sh");
        // It takes its time, so that it can be killed meanwhile.
        let geocoder = format!("#!/bin/sh\necho >> begun\nsleep 1\nexec '{}' places.csv\n", script.display());
        fs::write(folder.path().join("geocoder.sh"), geocoder).unwrap();
        let places = "key,latitude,longitude\nwater mill||ely|,52.4123,0.2711\nold granary||ely|,52.3987,0.2599\n";
        fs::write(folder.path().join("places.csv"), places).unwrap();
        Self { folder, jobs_binary: jobs_binary(), jobs, events, running: BTreeMap::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.folder.path()).args(arguments).stdin(Stdio::null());
        command.env("HEADWATER_URL", format!("http://{}", self.jobs));
        command.env("HEADWATER_EVENTS_URL", format!("http://{}", self.events));
        for variable in ["HEADWATER_CONFIG", "HEADWATER_KEY", "HEADWATER_EVENTS_KEY", "HEADWATER_JOB", "RUST_LOG"] {
            command.env_remove(variable);
        }
        command
    }

    fn headwater(&self, arguments: &[&str]) -> Output {
        self.command(Path::new(env!("CARGO_BIN_EXE_headwater")), arguments).output().unwrap()
    }

    fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.headwater(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {said}\n{}", self.said());
        String::from_utf8(output.stdout).unwrap()
    }

    fn start(&mut self, name: &'static str) {
        let headwater = Path::new(env!("CARGO_BIN_EXE_headwater"));
        let export = format!("exec '{}' export --job --folder exports", headwater.display());
        let (program, arguments) = match name {
            "discovery" => (Path::new(env!("CARGO_BIN_EXE_discovery")), vec!["--config", "discovery.toml", "--json"]),
            "jobs" => (&*self.jobs_binary, vec!["--config", "jobs.toml", "--json"]),
            "geocoder" => (headwater, vec!["work", "--queue", "places", "--", "sh", "./geocoder.sh"]),
            _ => (headwater, vec!["work", "--queue", "exports", "--", "sh", "-c", &export]),
        };
        let errors = fs::File::options().create(true).append(true).open(self.path(&format!("{name}.err"))).unwrap();
        let child = self.command(program, &arguments).stdout(Stdio::null()).stderr(errors).spawn().unwrap();
        assert!(self.running.insert(name, child).is_none(), "{name} runs already");
    }

    fn kill(&mut self, name: &str) {
        let mut child = self.running.remove(name).unwrap();
        assert!(child.try_wait().unwrap().is_none(), "{name} has ended\n{}", self.said());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn stop(&mut self, name: &str) {
        let mut child = self.running.remove(name).unwrap();
        assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(0), "{name}: {}", self.said());
    }

    /// What all processes have told.
    fn said(&self) -> String {
        let names = ["discovery", "jobs", "geocoder", "exporter"];
        let of = |name| fs::read_to_string(self.path(&format!("{name}.err"))).unwrap_or_default();
        names.map(|name| format!("--- {name}\n{}", of(name))).concat()
    }

    /// Waits until `wanted` gives something.
    fn until<T>(&self, what: &str, mut wanted: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = wanted() {
                return found;
            }
            assert!(Instant::now() < deadline, "{what}\n{}", self.said());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Writes listings of a source as one document.
    fn produce(&self, key: &str, source: &str, listings: &[Value]) {
        fs::write(self.path("listings.json"), Value::from(listings).to_string()).unwrap();
        let arguments = ["produce", "raw.events", "listings.json", "--source", source, "--key-value", key];
        let more = ["--content-type", "application/ld+json", "--config", "discovery.toml"];
        self.succeed(&[&arguments[..], &more].concat());
    }

    /// The value of each key of a topic of discovery.
    fn table(&self, topic: &str) -> BTreeMap<String, Value> {
        let mut table = BTreeMap::new();
        let lines = self.succeed(&["consume", topic, "--json", "--exit-at-end", "--config", "discovery.toml"]);
        for line in lines.lines() {
            let mut record: Value = serde_json::from_str(line).unwrap();
            let key = record["key"].as_str().unwrap().to_owned();
            match record["value"].take() {
                Value::Null => drop(table.remove(&key)),
                value => drop(table.insert(key, value)),
            }
        }
        table
    }

    fn client(&self) -> Client {
        Client::new(&format!("http://{}", self.jobs), None).unwrap()
    }

    /// The jobs of a queue, the newest first; none while the server is away.
    fn jobs_of(&self, queue: &str) -> Vec<Job> {
        let filter = JobFilter { queue: Some(queue.to_owned()), ..JobFilter::default() };
        let page = self.client().jobs(&filter, 100, None);
        page.map(|page| page.jobs.iter().map(|job| job.job().unwrap()).collect()).unwrap_or_default()
    }

    /// Waits until the jobs about places are in these phases, the newest first.
    fn await_phases(&self, when: &str, expected: &[Phase]) {
        let of = |jobs: Vec<Job>| jobs.iter().map(|job| job.phase).collect::<Vec<_>>();
        self.until(&format!("{when}: {expected:?}"), || (of(self.jobs_of("places")) == expected).then_some(()));
    }

    /// Waits until the event of a title is at this latitude.
    fn await_latitude(&self, title: &str, latitude: f64) {
        self.until(&format!("{title} at {latitude}"), || {
            let events = self.table("events");
            let event = events.values().find(|event| event["title"] == title)?;
            (event["venue"]["latitude"].as_f64() == Some(latitude)).then_some(())
        });
    }

    /// Submits an export, and gives its job once it is settled.
    fn exported(&self, id: &str, payload: &Value) -> Job {
        let job =
            NewJob { id: Some(id.to_owned()), payload: Some(to_raw_value(payload).unwrap()), ..NewJob::default() };
        self.until("an export is submitted", || self.client().submit("exports", &job, None).ok());
        self.until(id, || self.client().job(id).ok()?.job().ok().filter(|job| job.phase.is_settled()))
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        for child in self.running.values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn listing(id: &str, title: &str, day: usize, place: &Value) -> Value {
    let start = format!("{}-{:02}-{:02}T19:00:00Z", 2030 + day / 336, day / 28 % 12 + 1, day % 28 + 1);
    json!({"@type": "Event", "@id": id, "name": title, "startDate": start, "location": place})
}

fn at(name: &str) -> Value {
    json!({"@type": "Place", "name": name, "address": {"@type": "PostalAddress", "addressLocality": "Ely"}})
}

#[test]
fn a_script_answers_place_requests_and_an_export_is_a_job() {
    let mut work = Workplace::new();
    work.start("discovery");
    work.until("the log is there", || work.path("log.db").exists().then_some(()));
    work.produce("mill", "town", &[listing("m", "Quartet at the mill", 1, &at("Water Mill"))]);
    let asked = work.until("a place request", || work.table("place-requests").keys().next().cloned());
    assert_eq!(asked, "water mill||ely|");
    // The topology jobs has never run.
    work.until("it is told", || work.said().contains("wait for topics of jobs").then_some(()));
    work.start("jobs");
    work.await_phases("a job for the request", &[Phase::Waiting]);
    let job = work.jobs_of("places").remove(0);
    let payload: Value = serde_json::from_str(job.payload.get()).unwrap();
    assert_eq!((payload["key"].as_str(), payload["venue"].as_str()), (Some(&*asked), Some("Water Mill")));

    // While nobody works, both die, and nothing is doubled.
    work.kill("discovery");
    work.kill("jobs");
    work.start("jobs");
    work.start("discovery");
    work.produce("granary", "town", &[listing("g", "Strings at the granary", 2, &at("Old Granary"))]);
    work.await_phases("one more", &[Phase::Waiting, Phase::Waiting]);

    // The worker dies with a job, then the engine of jobs with another; discovery is away when the first is done.
    work.start("geocoder");
    work.until("the geocoder begins", || work.path("begun").exists().then_some(()));
    work.kill("geocoder");
    work.kill("discovery");
    work.start("geocoder");
    work.until("a lease", || work.jobs_of("places").iter().any(|job| job.phase == Phase::Leased).then_some(()));
    work.kill("jobs");
    work.start("jobs");
    work.await_phases("both are done", &[Phase::Done, Phase::Done]);
    work.start("discovery");
    work.await_latitude("Quartet at the mill", 52.4123);
    work.await_latitude("Strings at the granary", 52.3987);
    work.until("no request is open", || work.table("place-requests").is_empty().then_some(()));
    assert_eq!(work.jobs_of("places").len(), 2, "each place was asked for once");

    // What the script does not know is not found, and is not asked for again.
    work.produce("barn", "town", &[listing("b", "Dance in the barn", 3, &at("Tithe Barn"))]);
    work.until("no place", || (work.table("places").get("tithe barn||ely|")?["found"] == false).then_some(()));
    // A request that is withdrawn before anybody has looked takes its job with it, and comes back with it.
    work.stop("geocoder");
    let forge = [listing("f", "Fire and iron", 4, &at("The Forge"))];
    work.produce("forge", "town", &forge);
    let before = [Phase::Done; 3];
    work.await_phases("a job to withdraw", &[&[Phase::Waiting], &before[..]].concat());
    let withdraw = ["produce", "raw.events", "--tombstone", "forge", "--source", "town", "--config", "discovery.toml"];
    work.succeed(&withdraw);
    work.await_phases("it is withdrawn", &[&[Phase::Cancelled], &before[..]].concat());
    work.produce("forge", "town", &forge);
    work.await_phases("it is back", &[&[Phase::Waiting], &before[..]].concat());
    work.succeed(&withdraw);
    work.await_phases("it is withdrawn again", &[&[Phase::Cancelled], &before[..]].concat());

    exports(&mut work);
    for name in ["exporter", "discovery", "jobs"] {
        work.stop(name);
    }
}

/// Exports of more than one page, as jobs and from the command line.
fn exports(work: &mut Workplace) {
    let hall = json!({"@type": "Place", "name": "Hall", "geo": {"latitude": 52.4, "longitude": 0.26}});
    let concerts: Vec<Value> =
        (0..CONCERTS).map(|n| listing(&format!("c{n}"), &format!("Concert, part {n}"), n + 10, &hall)).collect();
    work.produce("concerts", "hall", &concerts);
    let all = CONCERTS + 3;
    work.until("all events are there", || (work.table("events").len() == all).then_some(()));
    work.start("exporter");
    let file_of = |job: &Job| {
        let result: Value = serde_json::from_str(job.result.as_ref().unwrap().get()).unwrap();
        (PathBuf::from(result["file"].as_str().unwrap()), result["events"].as_u64().unwrap())
    };

    let job = work.exported("all-1", &json!({"format": "ndjson"}));
    assert_eq!(job.phase, Phase::Done, "{job:?}");
    let (file, events) = file_of(&job);
    assert_eq!((events as usize, file.file_name().unwrap().to_str()), (all, Some("all-1.ndjson")));
    let text = fs::read_to_string(&file).unwrap();
    let read: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut ids: Vec<&str> = read.iter().map(|event| event["id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids, work.table("events").keys().map(String::as_str).collect::<Vec<_>>(), "each event, once");

    // The query is that of the API.
    let job = work.exported("mill", &json!({"q": "mill", "city": ["Ely"], "format": "geojson"}));
    let (file, events) = file_of(&job);
    let found: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    assert_eq!((events, &found["features"][0]["properties"]["title"]), (1, &json!("Quartet at the mill")));
    assert_eq!(found["features"][0]["geometry"]["coordinates"][1], 52.4123);

    // What no other attempt would mend is tried once.
    let job = work.exported("wrong", &json!({"minQuality": 5}));
    let error = job.error.as_ref().unwrap();
    assert_eq!((job.phase, job.attempt, error.code.as_str()), (Phase::Dead, 1, "exit-65"), "{error:?}");
    assert!(error.message.contains("minQuality"), "{error:?}");

    for format in ["csv", "ics", "geojson", "ndjson"] {
        let name = format!("events.{format}");
        let told: Value = serde_json::from_str(&work.succeed(&["export", &name, "--json"])).unwrap();
        assert_eq!(told, json!({"file": name, "format": format, "events": all}));
        let text = fs::read_to_string(work.path(&name)).unwrap();
        let count = match format {
            "csv" => csv::Reader::from_reader(text.as_bytes()).records().map(Result::unwrap).count(),
            "ics" => text.matches("\r\nEND:VEVENT\r\n").count(),
            "geojson" => serde_json::from_str::<Value>(&text).unwrap()["features"].as_array().unwrap().len(),
            _ => text.lines().count(),
        };
        assert_eq!(count, all, "{format}");
    }
    let refused = work.headwater(&["export", "some.csv", "--filter", "sort=loudest"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(2) && said.contains("sort"), "{said}");
    let left: Vec<_> = fs::read_dir(work.path("")).unwrap().map(|one| one.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name != "some.csv" && !name.to_string_lossy().ends_with(".part")), "{left:?}");
}
