//! An engine as a process of its own, a client and workers on its log.

use std::collections::{BTreeMap, HashMap};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use headwater::config::{Config, Sources, load};
use headwater::fail_point::VARIABLE;
use headwater::log::{Log, NewRecord, Polled, Producer, Start, TopicPartition, read_to_end};
use headwater::tools::open_log;
use jobs::Settings;
use jobs::model::{Job, Phase};
use jobs::verify::{Report, verify};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Where the log is.
#[derive(Debug, Clone)]
pub enum Place {
    Embedded,
    Kafka(String),
}

/// What is not settled so long after the engine was started is lost.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Trial {
    pub log: Arc<dyn Log>,
    pub prefix: String,
    arguments: Vec<String>,
    place: Place,
    folder: TempDir,
}

fn unique_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    format!("test-jobs-{now}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

impl Trial {
    /// With an engine that does not serve.
    pub fn new(place: Place, sections: &str) -> Self {
        Self::listening(place, "", sections)
    }

    /// With an engine that serves at `listen`.
    pub fn listening(place: Place, listen: &str, sections: &str) -> Self {
        let (folder, name) = (tempfile::tempdir().unwrap(), unique_name());
        let path = |file: &str| folder.path().join(file).display().to_string();
        let log = match &place {
            Place::Embedded => format!("[log.embedded]\npath = '{}'\n", path("log.db")),
            Place::Kafka(brokers) => format!("[log]\nkind = 'kafka'\n[log.kafka]\nbrokers = '{brokers}'\n"),
        };
        let text = format!(
            "name = '{name}'\nprefix = '{name}.'\n{log}[engine]\nepoch_interval = '25 ms'\n[admin]\nlisten = ''\n\
             [serve]\nlisten = '{listen}'\n{sections}"
        );
        let file = path("jobs.toml");
        std::fs::write(&file, text).unwrap();
        let sources = Sources { file: Some(file.clone().into()), ..Sources::default() };
        let config: Config<Settings> = load(&sources).unwrap_or_else(|errors| panic!("{errors}")).config;
        let log = open_log(&config.runtime).unwrap();
        log.ensure_topics(&config.runtime.topic_specs()).unwrap();
        let arguments = vec!["--config".to_owned(), file, "--workers".to_owned(), "2".to_owned()];
        Self { log, prefix: format!("{name}."), arguments, place, folder }
    }

    /// Starts the engine, which ends at a fail point where one is named.
    pub fn engine(&self, fail_point: Option<&str>) -> Engine {
        let output = || std::fs::File::options().create(true).append(true).open(self.file("engine.txt")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_headwater-jobs"));
        command.args(&self.arguments).stdin(Stdio::null()).stdout(output()).stderr(output());
        match fail_point {
            // With settings that differ, so that rows are compared and corrected.
            Some(point) => command.env(VARIABLE, point).env("HEADWATER__RETENTION__DEAD", "29 days"),
            None => command.env_remove(VARIABLE),
        };
        Engine(command.spawn().unwrap())
    }

    /// A file that goes with the trial.
    pub fn file(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// What engines have said.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.file("engine.txt")).unwrap_or_default()
    }

    pub fn client(&self) -> Client {
        Client { producer: self.log.producer().unwrap(), prefix: self.prefix.clone() }
    }

    /// The jobs, as they were written last.
    pub fn jobs(&self) -> BTreeMap<String, Job> {
        let mut jobs = BTreeMap::new();
        read_to_end(&*self.log, &format!("{}jobs", self.prefix), |record| {
            let id = String::from_utf8(record.key.unwrap()).unwrap();
            match record.value {
                Some(value) => drop(jobs.insert(id, serde_json::from_slice(&value).unwrap())),
                None => drop(jobs.remove(&id)),
            }
            Ok::<_, headwater::log::LogError>(())
        })
        .unwrap();
        jobs
    }

    /// Waits until so many jobs are there and all of them settled.
    pub fn wait_settled(&self, count: usize) -> BTreeMap<Phase, usize> {
        let begun = Instant::now();
        loop {
            let jobs = self.jobs();
            let mut phases = BTreeMap::new();
            jobs.values().for_each(|job| *phases.entry(job.phase).or_default() += 1);
            if jobs.len() == count && jobs.values().all(|job| job.phase.is_settled()) {
                return phases;
            }
            assert!(begun.elapsed() < PATIENCE, "{phases:?} of {count} jobs\n{}", self.said());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What the program finds that checks the whole log.
    pub fn verify(&self) -> Report {
        verify(&*self.log, &self.prefix, &jobs::scheduler::SchedulerSettings::default()).unwrap()
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        let Place::Kafka(brokers) = &self.place else { return };
        let topics = self.log.topics(&self.prefix).unwrap_or_default();
        let names: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
        let mut config = headwater::log::kafka::KafkaConfig::default();
        config.brokers.clone_from(brokers);
        let _ = headwater::log::kafka::KafkaLog::new(config).and_then(|log| log.delete_topics(&names));
    }
}

/// A running engine; killed when it is dropped.
pub struct Engine(Child);

impl Engine {
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Waits up to `time` for it to end by itself; whether it has.
    pub fn ends_within(&mut self, time: Duration) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < time {
            if self.0.try_wait().unwrap().is_some() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sends commands.
pub struct Client {
    producer: Box<dyn Producer>,
    prefix: String,
}

impl Client {
    pub fn send(&mut self, command: &Value) {
        let key = command.get("id").or_else(|| command.get("worker")).and_then(Value::as_str).unwrap_or("other");
        let record = NewRecord {
            topic: format!("{}job-commands", self.prefix).into(),
            key: Some(key.to_owned().into()),
            value: Some(command.to_string().into()),
            headers: Vec::new(),
            timestamp_ms: None,
        };
        self.producer.send(record).unwrap();
        self.producer.flush().unwrap();
    }
}

/// A worker on a thread: it runs each lease for as many milliseconds as its payload says, and fails where it says so.
pub struct Worker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    pub fn start(trial: &Trial, name: &str, queues: &[&str], slots: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let topic: Arc<str> = format!("{}job-leases", trial.prefix).into();
        let partitions = trial.log.watermarks(&topic).unwrap().unwrap().len() as i32;
        let starts: Vec<_> =
            (0..partitions).map(|number| (TopicPartition::new(Arc::clone(&topic), number), Start::Beginning)).collect();
        let mut working = Working {
            reader: trial.log.reader(&starts).unwrap(),
            client: trial.client(),
            name: name.to_owned(),
            hello: json!({"type": "hello", "worker": name, "queues": queues, "slots": slots, "for": "2 s"}),
            running: HashMap::new(),
            seen: HashMap::new(),
        };
        let asked = Arc::clone(&stop);
        let thread = std::thread::spawn(move || working.work(&asked));
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Worker {
    /// As if it had been killed: it says nothing.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking());
        }
    }
}

struct Working {
    reader: Box<dyn headwater::log::Reader>,
    client: Client,
    name: String,
    hello: Value,
    /// Leases, and when each ends.
    running: HashMap<(String, u64), (Instant, bool)>,
    /// The newest lease of each slot that was seen.
    seen: HashMap<String, (String, u64)>,
}

impl Working {
    fn work(&mut self, stop: &AtomicBool) {
        let (mut polled, mut greeted) = (Vec::new(), None::<Instant>);
        while !stop.load(Ordering::Relaxed) {
            if greeted.is_none_or(|greeted| greeted.elapsed() > Duration::from_millis(500)) {
                let hello = self.hello.clone();
                self.client.send(&hello);
                greeted = Some(Instant::now());
            }
            self.reader.poll(&mut polled, 1 << 20, Duration::from_millis(10)).unwrap();
            for one in polled.drain(..) {
                if let Polled::Record(record) = one {
                    self.take(&record.key.unwrap(), record.value.as_deref());
                }
            }
            self.report();
        }
    }

    fn take(&mut self, slot: &[u8], lease: Option<&[u8]>) {
        let slot = String::from_utf8(slot.to_vec()).unwrap();
        let Some(lease) = lease.map(|lease| serde_json::from_slice::<Value>(lease).unwrap()) else { return };
        if lease["worker"] != self.name.as_str() {
            return;
        }
        let of = (lease["job"].as_str().unwrap().to_owned(), lease["lease"].as_u64().unwrap());
        if self.seen.insert(slot, of.clone()) == Some(of.clone()) {
            return;
        }
        let takes = Duration::from_millis(lease["payload"]["ms"].as_u64().unwrap_or(0));
        let fails = lease["payload"]["fails"].as_u64().unwrap_or(0) >= lease["attempt"].as_u64().unwrap();
        self.running.insert(of, (Instant::now() + takes, fails));
    }

    fn report(&mut self) {
        let now = Instant::now();
        let over: Vec<_> = self
            .running
            .iter()
            .filter(|(_, (ends, _))| *ends <= now)
            .map(|(of, (_, fails))| (of.clone(), *fails))
            .collect();
        for ((id, lease), fails) in over {
            let report = if fails {
                json!({"type": "fail", "id": id, "lease": lease, "error": {"code": "own", "message": "as it was told"}})
            } else {
                json!({"type": "complete", "id": id, "lease": lease, "result": {"by": self.name}})
            };
            self.client.send(&report);
            self.running.remove(&(id, lease));
        }
    }
}
