//! Following: from committed topics to commits.
//!
//! ```text
//!  events   ──┐
//!  listings ──┼─► reader ─► records by commit ─► whole? ─► writer ─► hub
//!  links    ──┘
//! ```
//!
//! All topics are read from the beginning; what they hold by then is restored part by part, and nobody is
//! told. From then on records are gathered by commit. A commit counts as whole once
//!
//! 1. every partition has been read to its end, or to a later commit, and
//! 2. the log was asked once more after the first of its records was seen.
//!
//! On the embedded log that is exact: a transaction is seen whole or not at all. On Kafka the partitions of
//! a transaction become visible one after the other, within milliseconds. Records that come after their
//! commit was applied are applied as a commit of their own, with the next number. The counts of records that
//! the engine will write with each commit make this exact too.
//!
//! The topic `redirects` is not read: `events` holds the same redirects, for those who hold ids.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use headwater::error::{Domain, Fault};
use headwater::log::{Log, LogError, LogRecord, Polled, Reader, Start, TopicPartition};
use jiff::Timestamp;

use crate::commit::{Change, Commit, Topic};
use crate::epoch::{commit_of, last_commit_before};
use crate::live::{ApplyError, Writer};
use crate::stream::Hub;

/// How much is read at a time.
const BATCH_BYTES: usize = 4 << 20;

/// How long a poll waits where nothing is known to come.
const IDLE: Duration = Duration::from_millis(50);

/// How long a poll waits for the rest of a commit.
const REST: Duration = Duration::from_millis(2);

/// So many records are restored at a time.
const PART: usize = 2_000;

/// How often topics are looked for that are not there yet, and partitions that were added.
const LOOK: Duration = Duration::from_secs(5);

/// How long tombstones stay in a topic at least: as long as a view may be away, see
/// `views.rebuild_after_secs`.
const TOMBSTONES_STAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Why following has ended.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The log failed.
    #[error("cannot read the events from the log")]
    Log(#[from] LogError),
    /// What was read cannot be served.
    #[error("cannot serve what was read")]
    Apply(#[from] ApplyError),
}

impl Fault for FollowError {
    fn domain(&self) -> Domain {
        match self {
            Self::Log(error) => error.domain(),
            Self::Apply(ApplyError::NewerFormat { .. }) => Domain::User,
            Self::Apply(ApplyError::Pack(_)) => Domain::External,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Log(error) => error.hint(),
            Self::Apply(ApplyError::NewerFormat { .. }) => Some("start a newer version of this program".to_owned()),
            Self::Apply(ApplyError::Pack(_)) => None,
        }
    }
}

/// Follows the topics that begin with `prefix`, until `stop` is set.
///
/// # Errors
/// When the log fails for good, or a record has a format that is not known.
pub fn follow(
    log: &dyn Log,
    prefix: &str,
    mut writer: Writer,
    hub: &Hub,
    stop: &AtomicBool,
) -> Result<(), FollowError> {
    let Some(mut following) = Following::begin(log, prefix, stop)? else { return Ok(()) };
    following.restore(&mut writer, stop)?;
    while !stop.load(Ordering::Relaxed) {
        following.poll()?;
        let shown = writer.live().read().index.commit();
        for commit in following.gathered.whole(shown) {
            let changes = writer.apply(commit)?;
            hub.publish(&changes);
        }
        following.look_for_partitions(log)?;
    }
    Ok(())
}

/// A reader of all topics, and what it has read.
struct Following {
    topics: HashMap<Arc<str>, Topic>,
    reader: Box<dyn Reader>,
    polled: Vec<Polled>,
    gathered: Gathered,
    looked: Instant,
}

impl Following {
    /// Waits until all topics are there; `None` where `stop` was set before.
    fn begin(log: &dyn Log, prefix: &str, stop: &AtomicBool) -> Result<Option<Self>, FollowError> {
        let named = |topic: Topic| (Arc::<str>::from(format!("{prefix}{}", topic.name())), topic);
        let topics: HashMap<Arc<str>, Topic> = Topic::ALL.into_iter().map(named).collect();
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
        let gathered = Gathered {
            partitions: partitions.into_iter().map(|at| (at, Read::default())).collect(),
            ..Gathered::default()
        };
        Ok(Some(Self { topics, reader, polled: Vec::new(), gathered, looked: Instant::now() }))
    }

    /// Reads what is there.
    fn restore(&mut self, writer: &mut Writer, stop: &AtomicBool) -> Result<(), FollowError> {
        let began = Instant::now();
        let mut records = 0;
        while !self.gathered.all_read() && !stop.load(Ordering::Relaxed) {
            self.poll()?;
            // The order of the log holds within a key; commits of different keys may mix.
            let read = std::mem::take(&mut self.gathered.pending);
            let mut changes: Vec<Change> = read.into_values().flat_map(|pending| pending.changes).collect();
            records += changes.len();
            while !changes.is_empty() {
                let rest = changes.split_off(changes.len().min(PART));
                let part = std::mem::replace(&mut changes, rest);
                let number = part.iter().map(|change| change.commit).max().unwrap_or(0);
                writer.restore(Commit { number, changes: part })?;
            }
        }
        let stay = i64::try_from(TOMBSTONES_STAY.as_millis()).unwrap_or(i64::MAX);
        writer.begin(last_commit_before(Timestamp::now().as_millisecond().saturating_sub(stay)));
        let events = writer.live().read().index.len();
        tracing::info!(records, events, seconds = began.elapsed().as_secs_f64(), "the events are there");
        Ok(())
    }

    fn poll(&mut self) -> Result<(), FollowError> {
        let wait = if self.gathered.pending.is_empty() { IDLE } else { REST };
        self.reader.poll(&mut self.polled, BATCH_BYTES, wait)?;
        self.gathered.ask();
        for polled in self.polled.drain(..) {
            match polled {
                Polled::Record(record) => self.gathered.take(&self.topics, record),
                Polled::End { partition, .. } => self.gathered.end(partition),
            }
        }
        Ok(())
    }

    /// Begins to read partitions that have been added.
    fn look_for_partitions(&mut self, log: &dyn Log) -> Result<(), FollowError> {
        if self.looked.elapsed() < LOOK {
            return Ok(());
        }
        self.looked = Instant::now();
        for at in partitions(log, self.topics.keys())?.unwrap_or_default() {
            if !self.gathered.partitions.contains_key(&at) {
                self.reader.assign(at.clone(), Start::Beginning)?;
                self.gathered.partitions.insert(at, Read::default());
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

/// Records by commit, until each commit is whole.
#[derive(Default)]
struct Gathered {
    partitions: HashMap<TopicPartition, Read>,
    pending: BTreeMap<u64, Pending>,
}

/// How far a partition was read.
#[derive(Default)]
struct Read {
    at_end: bool,
    last: u64,
}

/// A commit that may not be whole.
#[derive(Default)]
struct Pending {
    changes: Vec<Change>,
    /// How often the log was asked since.
    asked: u32,
}

impl Gathered {
    fn all_read(&self) -> bool {
        self.partitions.values().all(|read| read.at_end)
    }

    /// Notes that the log was asked.
    fn ask(&mut self) {
        self.pending.values_mut().for_each(|pending| pending.asked += 1);
    }

    fn take(&mut self, topics: &HashMap<Arc<str>, Topic>, record: LogRecord) {
        let commit = commit_of(&record);
        if let Some(read) = self.partitions.get_mut(&TopicPartition::new(Arc::clone(&record.topic), record.partition)) {
            read.at_end = false;
            read.last = read.last.max(commit);
        }
        let key = record.key.and_then(|key| String::from_utf8(key).ok());
        let (Some(topic), Some(key)) = (topics.get(&record.topic), key) else {
            tracing::error!(topic = &*record.topic, offset = record.offset, "skipped a record whose key is not text");
            return;
        };
        let change = Change { topic: *topic, key: key.into(), value: record.value, commit };
        self.pending.entry(commit).or_default().changes.push(change);
    }

    fn end(&mut self, partition: TopicPartition) {
        if let Some(read) = self.partitions.get_mut(&partition) {
            read.at_end = true;
        }
    }

    /// Takes the commits that are whole, in their order. `shown` is the last one that was applied.
    fn whole(&mut self, shown: u64) -> Vec<Commit> {
        let mut whole = Vec::new();
        let mut shown = shown;
        while let Some(first) = self.pending.first_entry() {
            let commit = *first.key();
            let read = self.partitions.values().all(|read| read.at_end || read.last > commit);
            if !read || first.get().asked == 0 {
                break;
            }
            let mut changes = first.remove().changes;
            // Later than its commit was applied: then it is a commit of its own.
            let number = commit.max(shown + 1);
            changes.iter_mut().for_each(|change| change.commit = number);
            shown = number;
            whole.push(Commit { number, changes });
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(topic: &str, partition: i32, key: &str, epoch: u64) -> LogRecord {
        LogRecord {
            topic: topic.into(),
            partition,
            offset: 0,
            timestamp_ms: 0,
            key: Some(key.into()),
            value: None,
            headers: vec![("epoch".to_owned(), epoch.to_string().into_bytes())],
        }
    }

    fn gathered() -> (Gathered, HashMap<Arc<str>, Topic>) {
        let partitions = (0..2).map(|number| (TopicPartition::new("events", number), Read { at_end: true, last: 0 }));
        let gathered = Gathered { partitions: partitions.collect(), ..Gathered::default() };
        (gathered, HashMap::from([("events".into(), Topic::Events)]))
    }

    fn numbers(commits: &[Commit]) -> Vec<(u64, usize)> {
        commits.iter().map(|commit| (commit.number, commit.changes.len())).collect()
    }

    #[test]
    fn a_commit_is_whole_once_all_partitions_are_past_it() {
        let (mut gathered, topics) = gathered();
        gathered.take(&topics, record("events", 0, "a", 5));
        gathered.end(TopicPartition::new("events", 0));
        assert!(gathered.whole(0).is_empty(), "the log was not asked since");
        gathered.ask();
        gathered.take(&topics, record("events", 1, "b", 5));
        assert!(gathered.whole(0).is_empty(), "partition 1 is not at its end");
        gathered.take(&topics, record("events", 1, "c", 6));
        assert_eq!(numbers(&gathered.whole(0)), [(5, 2)], "partition 1 is past it");
        gathered.ask();
        gathered.end(TopicPartition::new("events", 1));
        assert_eq!(numbers(&gathered.whole(5)), [(6, 1)]);
    }

    #[test]
    fn what_comes_late_is_a_commit_of_its_own() {
        let (mut gathered, topics) = gathered();
        gathered.take(&topics, record("events", 0, "a", 5));
        gathered.end(TopicPartition::new("events", 0));
        gathered.ask();
        let late = gathered.whole(9);
        assert_eq!(numbers(&late), [(10, 1)]);
        assert_eq!(late[0].changes[0].commit, 10);
    }
}
