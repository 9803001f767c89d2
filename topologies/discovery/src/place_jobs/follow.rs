//! Following: from committed topics to the reconciler, and from it to the log.
//!
//! Nothing is done before both topics were read to their ends. Where the log fails, all is read anew after a pause:
//! what was not written then is found again.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use headwater::dataflow::buffer::json;
use headwater::error::Backoff;
use headwater::log::{Log, LogError, LogRecord, NewRecord, Polled, Producer, Reader, Start, TopicPartition};

use super::read::{self, Unreadable};
use super::reconcile::{Action, Reconciler};

/// The topic of commands, without the prefix of jobs.
pub(super) const COMMANDS: &str = "job-commands";

/// How much is read at a time.
const BATCH_BYTES: usize = 4 << 20;

/// How long a poll waits where nothing comes; also how soon the end of the program is seen.
const IDLE: Duration = Duration::from_millis(100);

/// How often partitions are looked for that were added, and topics that are not there yet.
const LOOK: Duration = Duration::from_secs(2);

/// So many actions are written before the log is waited for.
const AT_ONCE: usize = 1_000;

/// The shortest and the longest pause after a failure.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Why all has to be read anew.
#[derive(Debug, thiserror::Error)]
enum Interrupted {
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A newer program has written a job.
    #[error("{0}: start a newer version of this program")]
    Newer(Unreadable),
}

/// The topics, by their full names.
pub(super) struct Topics {
    requests: Arc<str>,
    places: Arc<str>,
    jobs: Arc<str>,
    commands: Arc<str>,
}

impl Topics {
    /// `own` gives the full names of topics of discovery; those of jobs begin with `prefix`.
    pub(super) fn of(own: &dyn Fn(&str) -> String, prefix: &str) -> Self {
        Self {
            requests: own("place-requests").into(),
            places: own("places").into(),
            jobs: format!("{prefix}jobs").into(),
            commands: format!("{prefix}{COMMANDS}").into(),
        }
    }
}

/// Follows the topics until it is stopped.
pub(super) struct Follower {
    log: Arc<dyn Log>,
    topics: Topics,
    /// The prefix of the topology, which tells its jobs from those of others.
    topology: String,
    queue: Arc<str>,
}

impl Follower {
    pub(super) fn new(log: Arc<dyn Log>, topics: Topics, topology: String, queue: Arc<str>) -> Self {
        Self { log, topics, topology, queue }
    }

    /// Follows until `stop` is set, through all failures.
    pub(super) fn run(&self, stop: &AtomicBool) {
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        while !stop.load(Ordering::Relaxed) {
            let Err(error) = self.follow(stop, &mut backoff) else { return };
            let pause = backoff.pause();
            let again_in_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(%error, again_in_ms, "place requests do not become jobs for now");
            wait(pause, stop);
        }
    }

    fn follow(&self, stop: &AtomicBool, backoff: &mut Backoff) -> Result<(), Interrupted> {
        if !self.topics_are_there(stop)? {
            return Ok(());
        }
        let mut reconciler = Reconciler::new(self.topology.clone(), Arc::clone(&self.queue));
        let mut following = Following::begin(&*self.log, &self.topics)?;
        let mut producer = self.log.producer()?;
        let mut ready = false;
        while !stop.load(Ordering::Relaxed) {
            for record in following.poll(&*self.log)? {
                self.take(&mut reconciler, record)?;
            }
            if !following.is_at_end() {
                continue;
            }
            let actions = reconciler.actions();
            self.carry_out(actions, &mut *producer, stop)?;
            if !std::mem::replace(&mut ready, true) {
                backoff.reset();
                tracing::info!(queue = &*self.queue, open = reconciler.open(), "place requests become jobs");
            }
        }
        Ok(())
    }

    /// Waits until all topics are there; `false` where `stop` was set before.
    fn topics_are_there(&self, stop: &AtomicBool) -> Result<bool, LogError> {
        let Topics { requests, places, jobs, commands } = &self.topics;
        let mut told = false;
        while !stop.load(Ordering::Relaxed) {
            let mut missing = Vec::new();
            for topic in [requests, places, jobs, commands] {
                if self.log.watermarks(topic)?.is_none() {
                    missing.push(&**topic);
                }
            }
            if missing.is_empty() {
                return Ok(true);
            }
            if !std::mem::replace(&mut told, true) {
                let topics = missing.join(", ");
                tracing::warn!(topics, "place requests wait for topics of jobs that are not there yet");
            }
            wait(LOOK, stop);
        }
        Ok(false)
    }

    fn take(&self, reconciler: &mut Reconciler, record: LogRecord) -> Result<(), Interrupted> {
        let LogRecord { topic, partition, offset, key, value, .. } = record;
        let skipped = |reason: &str| {
            tracing::error!(topic = &*topic, partition, offset, reason, "skipped a record that cannot be read");
        };
        let Some(key) = key.and_then(|key| String::from_utf8(key).ok()) else {
            skipped("its key is not text");
            return Ok(());
        };
        if topic == self.topics.requests {
            match value.as_deref().map(read::request).transpose() {
                Ok(request) => reconciler.take_request(&key, request),
                Err(error) => skipped(&error.to_string()),
            }
            return Ok(());
        }
        match value.as_deref().map(|value| read::job(value, &self.queue)).transpose() {
            Ok(job) => reconciler.take_job(&key, job.flatten()),
            Err(newer @ Unreadable::Newer(_)) => return Err(Interrupted::Newer(newer)),
            Err(error) => skipped(&error.to_string()),
        }
        Ok(())
    }

    /// Writes what is to be done, and returns once the log has it; or before, when `stop` is set.
    fn carry_out(&self, actions: Vec<Action>, producer: &mut dyn Producer, stop: &AtomicBool) -> Result<(), LogError> {
        let mut actions = actions.into_iter().peekable();
        while actions.peek().is_some() && !stop.load(Ordering::Relaxed) {
            for action in actions.by_ref().take(AT_ONCE) {
                if let Some(record) = self.record(action) {
                    producer.send(record)?;
                }
            }
            producer.flush()?;
        }
        Ok(())
    }

    fn record(&self, action: Action) -> Option<NewRecord> {
        let (topic, key, value) = match action {
            Action::Command { job, value } => (&self.topics.commands, Bytes::from(job), value),
            Action::Answer(place) => {
                let key = Bytes::copy_from_slice(place.key.0.as_bytes());
                (&self.topics.places, key, json(&place))
            }
            Action::Refuse { job, key, reason } => {
                tracing::warn!(
                    job = &*job,
                    key = &*key,
                    reason,
                    "the result of a job is no place; submit another job with its payload, or write the place yourself"
                );
                return None;
            }
        };
        let (topic, key, value) = (Arc::clone(topic), Some(key), Some(value));
        Some(NewRecord { topic, key, value, headers: Vec::new(), timestamp_ms: None })
    }
}

/// Waits so long, or until `stop` is set.
fn wait(pause: Duration, stop: &AtomicBool) {
    let began = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        match pause.checked_sub(began.elapsed()) {
            // Whoever sets `stop` wakes the thread.
            Some(left) if !left.is_zero() => thread::park_timeout(left),
            _ => return,
        }
    }
}

/// A reader of both topics.
struct Following {
    topics: [Arc<str>; 2],
    reader: Box<dyn Reader>,
    polled: Vec<Polled>,
    /// Whether a partition was read to its end.
    at_end: HashMap<TopicPartition, bool>,
    looked: Instant,
}

impl Following {
    fn begin(log: &dyn Log, topics: &Topics) -> Result<Self, LogError> {
        let topics = [Arc::clone(&topics.requests), Arc::clone(&topics.jobs)];
        let partitions = partitions(log, &topics)?;
        let starts: Vec<_> = partitions.iter().map(|at| (at.clone(), Start::Beginning)).collect();
        let reader = log.reader(&starts)?;
        let at_end = partitions.into_iter().map(|at| (at, false)).collect();
        Ok(Self { topics, reader, polled: Vec::new(), at_end, looked: Instant::now() })
    }

    /// Whether each partition was read to its end once.
    fn is_at_end(&self) -> bool {
        self.at_end.values().all(|at_end| *at_end)
    }

    /// What has come.
    fn poll(&mut self, log: &dyn Log) -> Result<Vec<LogRecord>, LogError> {
        self.look_for_partitions(log)?;
        self.reader.poll(&mut self.polled, BATCH_BYTES, IDLE)?;
        let mut records = Vec::new();
        for polled in self.polled.drain(..) {
            match polled {
                Polled::Record(record) => records.push(record),
                Polled::End { partition, .. } => {
                    self.at_end.insert(partition, true);
                }
            }
        }
        Ok(records)
    }

    /// Begins to read partitions that have been added.
    fn look_for_partitions(&mut self, log: &dyn Log) -> Result<(), LogError> {
        if self.looked.elapsed() < LOOK {
            return Ok(());
        }
        self.looked = Instant::now();
        for at in partitions(log, &self.topics)? {
            if !self.at_end.contains_key(&at) {
                self.reader.assign(at.clone(), Start::Beginning)?;
                self.at_end.insert(at, false);
            }
        }
        Ok(())
    }
}

/// All partitions of the topics.
fn partitions(log: &dyn Log, topics: &[Arc<str>]) -> Result<Vec<TopicPartition>, LogError> {
    let mut partitions = Vec::new();
    for topic in topics {
        let ends = log.watermarks(topic)?.unwrap_or_default();
        partitions.extend((0..).take(ends.len()).map(|number| TopicPartition::new(Arc::clone(topic), number)));
    }
    Ok(partitions)
}

#[cfg(test)]
mod tests {
    use headwater::log::memory::MemoryLog;
    use headwater::log::read_to_end;
    use serde_json::{Value, json};

    use super::super::reconcile::job_id;
    use super::*;

    const KEY: &str = "old mill||ely|GB";

    fn write(log: &MemoryLog, topic: &str, key: &str, value: &Value) {
        let (key, value) = (Some(Bytes::from(key.to_owned())), Some(Bytes::from(value.to_string())));
        let mut producer = log.producer().unwrap();
        producer.send(NewRecord { topic: topic.into(), key, value, headers: Vec::new(), timestamp_ms: None }).unwrap();
        producer.flush().unwrap();
    }

    /// Waits until a topic has `count` records, and gives their keys and values.
    fn await_records(log: &MemoryLog, topic: &str, count: usize) -> Vec<(String, Value)> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let mut records = Vec::new();
            let read = |record: LogRecord| {
                let value = serde_json::from_slice(&record.value.unwrap()).unwrap();
                records.push((String::from_utf8(record.key.unwrap()).unwrap(), value));
                Ok::<_, LogError>(())
            };
            read_to_end(log, topic, read).unwrap();
            if records.len() >= count {
                return records;
            }
            assert!(Instant::now() < deadline, "{topic}: {records:?}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    #[test]
    fn missing_topics_bad_records_and_outages_are_outlived() {
        let log = MemoryLog::new();
        log.create("d.place-requests", 2);
        log.create("d.places", 2);
        let topics = Topics::of(&|name| format!("d.{name}"), "j.");
        let follower = Follower::new(Arc::new(log.clone()), topics, "d.".to_owned(), "places".into());
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let running = thread::spawn(move || follower.run(&seen));
        write(&log, "d.place-requests", "broken", &json!("no request"));
        write(&log, "d.place-requests", KEY, &json!({"format": 1, "key": KEY, "venue": "Old Mill"}));
        thread::sleep(Duration::from_millis(200));
        log.create("j.jobs", 2);
        log.create("j.job-commands", 1);
        let id = job_id("d.", KEY);
        let commands = await_records(&log, "j.job-commands", 1);
        assert_eq!((&commands[0].0, &commands[0].1["type"]), (&id, &json!("submit")));

        // While it is away, it is asked for partitions, which fails.
        log.set_away(true);
        thread::sleep(LOOK + Duration::from_millis(500));
        log.set_away(false);
        write(&log, "j.jobs", "broken", &json!([]));
        let result = json!({"found": true, "latitude": 52.4, "longitude": 0.26});
        let job = json!({"format": 1, "id": id, "queue": "places", "number": 1, "phase": "done",
            "payload": {"key": KEY}, "result": result});
        write(&log, "j.jobs", &id, &job);
        let (key, place) = await_records(&log, "d.places", 1).remove(0);
        assert_eq!((key.as_str(), place["key"].as_str(), place["latitude"].as_f64()), (KEY, Some(KEY), Some(52.4)));
        stop.store(true, Ordering::Relaxed);
        running.thread().unpark();
        running.join().unwrap();
        // Whatever was said twice was said of the same job.
        assert!(await_records(&log, "j.job-commands", 1).iter().all(|(key, _)| *key == id));
    }
}
