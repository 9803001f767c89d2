//! Following: from committed topics to the store.
//!
//! All topics are read from the beginning. Once each partition was read to its end, the store is ready; from then on
//! what is committed is there as soon as it is read. A record of `jobs` is a whole job, so there is no need to wait for
//! the rest of its commit.
//!
//! Where the log fails, or has lost what was read, everything is read anew.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use headwater::error::{Domain, Fault};
use headwater::log::{Log, LogError, LogRecord, Polled, Reader, Start, TopicPartition};

use super::head::Unreadable;
use super::store::{Record, Store, Topic};

/// How much is read at a time.
const BATCH_BYTES: usize = 4 << 20;

/// How long a poll waits where nothing comes; also how soon the end of the program is seen.
const IDLE: Duration = Duration::from_millis(50);

/// So many records are taken in before others may look.
const PART: usize = 2_000;

/// How often partitions are looked for that were added.
const LOOK: Duration = Duration::from_secs(5);

/// The pause before the log is read again after it has failed.
const PAUSE: Duration = Duration::from_secs(2);

/// Why following has ended.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The log failed.
    #[error("cannot read the jobs from the log")]
    Log(#[from] LogError),
    /// A newer program has written a job.
    #[error("cannot read the jobs: {reason}")]
    Newer {
        /// What is not known.
        reason: String,
    },
}

impl Fault for FollowError {
    fn domain(&self) -> Domain {
        match self {
            Self::Log(error) => error.domain(),
            Self::Newer { .. } => Domain::User,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Log(error) => error.hint(),
            Self::Newer { .. } => Some("start a newer version of this program".to_owned()),
        }
    }
}

impl From<Unreadable> for FollowError {
    fn from(error: Unreadable) -> Self {
        Self::Newer { reason: error.to_string() }
    }
}

impl FollowError {
    /// Whether it helps to read the log from its beginning.
    fn wants_new_reader(&self) -> bool {
        match self {
            // What retention has removed, and topics that were made anew, are no fault of the configuration.
            Self::Log(LogError::Damaged { .. } | LogError::OffsetGone { .. } | LogError::UnknownTopic { .. }) => true,
            Self::Log(error) => error.domain() != Domain::User,
            Self::Newer { .. } => false,
        }
    }
}

/// Follows the topics that begin with `prefix`, until `stop` is set.
pub(super) fn follow(log: &dyn Log, prefix: &str, store: &Store, stop: &AtomicBool) -> Result<(), FollowError> {
    loop {
        match follow_once(log, prefix, store, stop) {
            Err(error) if error.wants_new_reader() => {
                tracing::warn!(%error, "the log is read again from its beginning");
                store.forget();
                pause(stop);
            }
            ended => return ended,
        }
    }
}

fn pause(stop: &AtomicBool) {
    let began = Instant::now();
    while began.elapsed() < PAUSE && !stop.load(Ordering::Relaxed) {
        std::thread::sleep(IDLE);
    }
}

fn follow_once(log: &dyn Log, prefix: &str, store: &Store, stop: &AtomicBool) -> Result<(), FollowError> {
    let began = Instant::now();
    let Some(mut following) = Following::begin(log, prefix, stop)? else { return Ok(()) };
    let mut ready = false;
    let mut records = 0;
    while !stop.load(Ordering::Relaxed) {
        records += following.poll(store)?;
        if !ready && following.at_end.values().all(|at_end| *at_end) {
            ready = true;
            store.set_ready();
            let jobs = store.read().all().len();
            tracing::info!(records, jobs, seconds = began.elapsed().as_secs_f64(), "the jobs are there");
        }
        following.look_for_partitions(log)?;
    }
    Ok(())
}

/// A reader of all topics.
struct Following {
    topics: HashMap<Arc<str>, Topic>,
    reader: Box<dyn Reader>,
    polled: Vec<Polled>,
    /// Whether a partition was read to its end.
    at_end: HashMap<TopicPartition, bool>,
    looked: Instant,
}

impl Following {
    /// Waits until all topics are there; `None` where `stop` was set before.
    fn begin(log: &dyn Log, prefix: &str, stop: &AtomicBool) -> Result<Option<Self>, FollowError> {
        let topics: HashMap<Arc<str>, Topic> =
            Topic::ALL.into_iter().map(|topic| (format!("{prefix}{}", topic.name()).into(), topic)).collect();
        let mut told = false;
        let partitions = loop {
            if let Some(partitions) = partitions(log, topics.keys())? {
                break partitions;
            }
            if !std::mem::replace(&mut told, true) {
                tracing::warn!(prefix, "the topics are not there yet; waiting for them");
            }
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            std::thread::sleep(IDLE);
        };
        let starts: Vec<_> = partitions.iter().map(|at| (at.clone(), Start::Beginning)).collect();
        let reader = log.reader(&starts)?;
        let at_end = partitions.into_iter().map(|at| (at, false)).collect();
        Ok(Some(Self { topics, reader, polled: Vec::new(), at_end, looked: Instant::now() }))
    }

    /// Takes in what has come, and says how many records that were.
    fn poll(&mut self, store: &Store) -> Result<usize, FollowError> {
        self.reader.poll(&mut self.polled, BATCH_BYTES, IDLE)?;
        let mut records = Vec::new();
        let (mut taken, mut ends) = (0, Vec::new());
        for polled in std::mem::take(&mut self.polled) {
            match polled {
                Polled::Record(record) => records.extend(self.record(record)),
                Polled::End { partition, next } => {
                    if self.topics.get(&partition.topic) == Some(&Topic::Notifications) {
                        ends.push((partition.partition, next));
                    }
                    if let Some(at_end) = self.at_end.get_mut(&partition) {
                        *at_end = true;
                    }
                }
            }
            if records.len() >= PART {
                taken += records.len();
                store.apply(std::mem::take(&mut records))?;
            }
        }
        taken += records.len();
        if !records.is_empty() {
            store.apply(records)?;
        }
        store.reach(&ends);
        Ok(taken)
    }

    fn record(&self, record: LogRecord) -> Option<Record> {
        let LogRecord { topic, partition, offset, key, value, .. } = record;
        let known = *self.topics.get(&topic)?;
        let Some(key) = key.and_then(|key| String::from_utf8(key).ok()) else {
            tracing::error!(topic = &*topic, partition, offset, "skipped a record whose key is not text");
            return None;
        };
        Some(Record { topic: known, partition, offset, key, value })
    }

    /// Begins to read partitions that have been added.
    fn look_for_partitions(&mut self, log: &dyn Log) -> Result<(), FollowError> {
        if self.looked.elapsed() < LOOK {
            return Ok(());
        }
        self.looked = Instant::now();
        for at in partitions(log, self.topics.keys())?.unwrap_or_default() {
            if !self.at_end.contains_key(&at) {
                self.reader.assign(at.clone(), Start::Beginning)?;
                self.at_end.insert(at, false);
            }
        }
        Ok(())
    }
}

/// All partitions of the topics; `None` where one of them is not there.
fn partitions<'t>(
    log: &dyn Log,
    topics: impl Iterator<Item = &'t Arc<str>>,
) -> Result<Option<Vec<TopicPartition>>, LogError> {
    let mut partitions = Vec::new();
    for topic in topics {
        let Some(ends) = log.watermarks(topic)? else { return Ok(None) };
        partitions.extend((0..).take(ends.len()).map(|number| TopicPartition::new(Arc::clone(topic), number)));
    }
    Ok(Some(partitions))
}
