//! Following: from committed topics to commits.
//!
//! ```text
//!  events   ──┐
//!  listings ──┼─► reader ─► records by commit ─► whole? ─► writer ─► hub
//!  links    ──┤
//!  progress ──┘
//! ```
//!
//! All topics are read from the beginning. What was committed by then is restored part by part, and nobody is
//! told. From then on records are gathered by commit. The progress record of a commit says how many records it has
//! written to each topic, so a commit is applied once all of them are there: on Kafka, where the partitions of a
//! transaction become visible one after the other, as well as on the embedded log.
//!
//! Compaction may remove a progress record before it is read. That commit is applied once a later one is
//! recorded and every partition has been read to its end.
//!
//! Where the log turns out to be another one (its lineage differs, or offsets have gone), everything is read again.
//!
//! The topic `redirects` is not read: `events` holds the same redirects, for those who hold ids.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use headwater::dataflow::{CommitId, Lineage, epoch_of};
use headwater::engine::progress::Progress;
use headwater::engine::recovery::{last_progress_record, progress_of};
use headwater::error::{Domain, Fault};
use headwater::log::{Log, LogError, LogRecord, Polled, Reader, Start, TopicPartition};
use jiff::Timestamp;

use crate::commit::{Change, Commit, Topic};
use crate::live::{ApplyError, Writer};
use crate::stream::Hub;
use crate::timeline::Timeline;

/// How much is read at a time.
const BATCH_BYTES: usize = 4 << 20;

/// How long a poll waits where nothing is known to come.
const IDLE: Duration = Duration::from_millis(50);

/// How long a poll waits for the rest of a commit.
const REST: Duration = Duration::from_millis(2);

/// How long restoring waits for the rest of the last commit. Compaction may have removed it, so it may never come.
const SETTLE: Duration = Duration::from_secs(2);

/// So many records are restored at a time.
const PART: usize = 2_000;

/// How often topics are looked for that are not there yet, and partitions that were added.
const LOOK: Duration = Duration::from_secs(5);

/// The pause before the log is read again after it has failed.
const PAUSE: Duration = Duration::from_secs(2);

/// How long tombstones stay in a topic at least: as long as a view may be away, see
/// `views.rebuild_after_secs`.
const TOMBSTONES_STAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The topic of progress records, without prefix.
const PROGRESS: &str = "progress";

/// Why following has ended.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The log failed.
    #[error("cannot read the events from the log")]
    Log(#[from] LogError),
    /// What was read cannot be served.
    #[error("cannot serve what was read")]
    Apply(#[from] ApplyError),
    /// A progress record cannot be read, so nobody knows what its commit holds.
    #[error("cannot read a progress record: {reason}")]
    Progress {
        /// What is wrong with it.
        reason: String,
    },
    /// The log was made anew.
    #[error("the log has commits of the lineage {found}, and those that are served are of {served}")]
    OtherLineage {
        /// The lineage of what is served.
        served: Lineage,
        /// The other one.
        found: Lineage,
    },
}

impl Fault for FollowError {
    fn domain(&self) -> Domain {
        match self {
            Self::Log(error) => error.domain(),
            Self::Apply(ApplyError::NewerFormat { .. }) | Self::Progress { .. } => Domain::User,
            Self::Apply(ApplyError::Pack(_)) | Self::OtherLineage { .. } => Domain::External,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Log(error) => error.hint(),
            Self::Apply(ApplyError::NewerFormat { .. }) | Self::Progress { .. } => {
                Some("start a newer version of this program".to_owned())
            }
            Self::Apply(ApplyError::Pack(_)) | Self::OtherLineage { .. } => None,
        }
    }
}

impl FollowError {
    /// Whether it helps to read the log from its beginning.
    fn wants_new_reader(&self) -> bool {
        match self {
            Self::Log(error) => error.domain() != Domain::User || matches!(error, LogError::Damaged { .. }),
            Self::OtherLineage { .. } => true,
            Self::Apply(_) | Self::Progress { .. } => false,
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
    loop {
        match follow_once(log, prefix, &mut writer, hub, stop) {
            Err(error) if error.wants_new_reader() => {
                tracing::warn!(%error, "the log is read again from its beginning");
                writer.forget();
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

fn follow_once(
    log: &dyn Log,
    prefix: &str,
    writer: &mut Writer,
    hub: &Hub,
    stop: &AtomicBool,
) -> Result<(), FollowError> {
    let Some(mut following) = Following::begin(log, prefix, stop)? else { return Ok(()) };
    following.restore(writer, stop)?;
    // Streams that are there have what another log held.
    hub.begin_again();
    while !stop.load(Ordering::Relaxed) {
        following.poll()?;
        writer.set_lineage(following.gathered.lineage);
        for commit in following.gathered.whole() {
            let changes = writer.apply(commit)?;
            hub.publish(&changes);
        }
        following.look_for_partitions(log)?;
    }
    Ok(())
}

/// What a topic holds.
#[derive(Debug, Clone, Copy)]
enum Followed {
    Changes(Topic),
    Progress,
}

/// A reader of all topics, and what it has read.
struct Following {
    reader: Box<dyn Reader>,
    polled: Vec<Polled>,
    gathered: Gathered,
    looked: Instant,
}

impl Following {
    /// Waits until all topics are there; `None` where `stop` was set before.
    fn begin(log: &dyn Log, prefix: &str, stop: &AtomicBool) -> Result<Option<Self>, FollowError> {
        let full = |name: &str| Arc::<str>::from(format!("{prefix}{name}"));
        let mut topics: HashMap<Arc<str>, Followed> =
            Topic::ALL.into_iter().map(|topic| (full(topic.name()), Followed::Changes(topic))).collect();
        topics.insert(full(PROGRESS), Followed::Progress);
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
        let mut gathered = Gathered { topics, ..Gathered::default() };
        let last = last_progress_record(log, &full(PROGRESS))?;
        if let Some(progress) = last.as_ref().and_then(progress_of) {
            gathered.begin_after(&progress.map_err(|reason| FollowError::Progress { reason })?);
        }
        let starts: Vec<_> = partitions.iter().map(|at| (at.clone(), Start::Beginning)).collect();
        let reader = log.reader(&starts)?;
        gathered.at_end = partitions.into_iter().map(|at| (at, false)).collect();
        Ok(Some(Self { reader, polled: Vec::new(), gathered, looked: Instant::now() }))
    }

    /// Reads what was committed before.
    fn restore(&mut self, writer: &mut Writer, stop: &AtomicBool) -> Result<(), FollowError> {
        let began = Instant::now();
        let mut settling = None;
        let (mut records, mut timeline) = (0, Timeline::default());
        while !stop.load(Ordering::Relaxed) {
            if self.gathered.all_read() {
                let settling = settling.get_or_insert_with(Instant::now);
                if self.gathered.last_is_whole() || settling.elapsed() > SETTLE {
                    break;
                }
            }
            self.poll()?;
            // The order of the log holds within a key; commits of different keys may mix.
            let mut changes = std::mem::take(&mut self.gathered.restored);
            records += changes.len();
            while !changes.is_empty() {
                let rest = changes.split_off(changes.len().min(PART));
                let part = std::mem::replace(&mut changes, rest);
                part.iter().for_each(|(change, ms)| timeline.note(change.commit, *ms));
                writer.restore(part.into_iter().map(|(change, _)| change).collect())?;
            }
        }
        let stay = i64::try_from(TOMBSTONES_STAY.as_millis()).unwrap_or(i64::MAX);
        let gone_after = timeline.first_since(Timestamp::now().as_millisecond().saturating_sub(stay));
        let commit = self.gathered.shown;
        writer.set_lineage(self.gathered.lineage);
        writer.begin(commit, timeline, gone_after.unwrap_or(commit));
        let events = writer.live().read().index.len();
        tracing::info!(records, events, commit, seconds = began.elapsed().as_secs_f64(), "the events are there");
        Ok(())
    }

    fn poll(&mut self) -> Result<(), FollowError> {
        let wait = if self.gathered.pending.is_empty() { IDLE } else { REST };
        self.reader.poll(&mut self.polled, BATCH_BYTES, wait)?;
        self.gathered.ask();
        for polled in self.polled.drain(..) {
            match polled {
                Polled::Record(record) => self.gathered.take(record)?,
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
        for at in partitions(log, self.gathered.topics.keys())?.unwrap_or_default() {
            if !self.gathered.at_end.contains_key(&at) {
                self.reader.assign(at.clone(), Start::Beginning)?;
                self.gathered.at_end.insert(at, false);
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
    topics: HashMap<Arc<str>, Followed>,
    /// Whether a partition was read to its end.
    at_end: HashMap<TopicPartition, bool>,
    lineage: Lineage,
    /// All commits up to this one are restored or given out.
    shown: u64,
    /// Records of commits up to `shown`, with their times, while they are restored.
    restored: Vec<(Change, i64)>,
    restoring: bool,
    /// What is to come of the commit `shown` while restoring, and how much of it was there.
    last: (u64, u64),
    /// The last commit that is recorded.
    recorded: u64,
    pending: BTreeMap<u64, Pending>,
    /// Records of commits that are given out: they come with the next one.
    late: Vec<Change>,
}

/// A commit that may not be whole.
#[derive(Default)]
struct Pending {
    changes: Vec<Change>,
    /// Number of records that it has written to the topics that are followed, once that is known.
    written: Option<u64>,
    ms: i64,
    /// How often the log was asked since.
    asked: u32,
}

impl Pending {
    fn is_whole(&self) -> bool {
        self.written.is_some_and(|written| self.changes.len() as u64 >= written)
    }
}

impl Gathered {
    /// What was committed with `progress` is restored.
    fn begin_after(&mut self, progress: &Progress) {
        self.lineage = progress.lineage.unwrap_or_default();
        (self.shown, self.recorded) = (progress.commit, progress.commit);
        self.last = (self.written_by(progress), 0);
        self.restoring = true;
    }

    /// How many records a commit has written to the topics that are followed.
    fn written_by(&self, progress: &Progress) -> u64 {
        let followed = |topic: &str| matches!(self.topics.get(topic), Some(Followed::Changes(_)));
        progress.written.iter().filter(|(topic, _)| followed(topic)).map(|(_, records)| records).sum()
    }

    fn all_read(&self) -> bool {
        self.at_end.values().all(|at_end| *at_end)
    }

    /// Whether the last commit that is restored is there. All before it are: a transaction begins after the former
    /// one can be read.
    fn last_is_whole(&self) -> bool {
        self.last.1 >= self.last.0 || self.recorded > self.shown
    }

    /// Notes that the log was asked.
    fn ask(&mut self) {
        self.pending.values_mut().for_each(|pending| pending.asked += 1);
    }

    fn end(&mut self, partition: TopicPartition) {
        if let Some(at_end) = self.at_end.get_mut(&partition) {
            *at_end = true;
        }
    }

    fn take(&mut self, record: LogRecord) -> Result<(), FollowError> {
        if let Some(at_end) = self.at_end.get_mut(&TopicPartition::new(Arc::clone(&record.topic), record.partition)) {
            *at_end = false;
        }
        match self.topics.get(&record.topic) {
            Some(Followed::Changes(topic)) => self.take_change(*topic, record),
            Some(Followed::Progress) => self.take_progress(&record),
            None => Ok(()),
        }
    }

    fn take_change(&mut self, topic: Topic, record: LogRecord) -> Result<(), FollowError> {
        let commit = self.commit_of(&record)?;
        let ms = epoch_of(&record).and_then(|epoch| i64::try_from(epoch).ok()).unwrap_or(0);
        let Some(key) = record.key.and_then(|key| String::from_utf8(key).ok()) else {
            tracing::error!(topic = &*record.topic, offset = record.offset, "skipped a record whose key is not text");
            return Ok(());
        };
        let change = Change { topic, key: key.into(), value: record.value, commit };
        if commit > self.shown {
            let pending = self.pending.entry(commit).or_default();
            pending.changes.push(change);
            pending.ms = ms;
        } else if self.restoring {
            self.last.1 += u64::from(commit == self.shown);
            self.restored.push((change, ms));
        } else {
            if self.late.is_empty() {
                tracing::warn!(topic = &*record.topic, commit, shown = self.shown, "a record came after its commit");
            }
            self.late.push(change);
        }
        Ok(())
    }

    /// The commit that wrote a record; 0 for one of a former release, or of a former lineage.
    fn commit_of(&mut self, record: &LogRecord) -> Result<u64, FollowError> {
        let Some(commit) = CommitId::of(record) else { return Ok(0) };
        if self.lineage == Lineage::default() {
            self.lineage = commit.lineage;
        }
        match commit.lineage == self.lineage {
            true => Ok(commit.number),
            false if self.restoring => Ok(0),
            false => Err(FollowError::OtherLineage { served: self.lineage, found: commit.lineage }),
        }
    }

    fn take_progress(&mut self, record: &LogRecord) -> Result<(), FollowError> {
        let Some(progress) = progress_of(record) else { return Ok(()) };
        let progress = progress.map_err(|reason| FollowError::Progress { reason })?;
        if progress.lineage.is_none() {
            return Ok(());
        }
        let number = self.commit_of(record)?;
        self.recorded = self.recorded.max(number);
        if number > self.shown {
            let written = self.written_by(&progress);
            let pending = self.pending.entry(number).or_default();
            pending.written = Some(written);
            pending.ms = i64::try_from(progress.epoch).unwrap_or(0);
        }
        Ok(())
    }

    /// Takes the commits that are whole, in their order.
    fn whole(&mut self) -> Vec<Commit> {
        self.restoring = false;
        let mut whole = Vec::new();
        let all_read = self.all_read();
        while let Some(first) = self.pending.first_entry() {
            let (number, pending) = (*first.key(), first.get());
            let overtaken = self.recorded > number && all_read && pending.asked > 0;
            if !pending.is_whole() && !overtaken {
                break;
            }
            let pending = first.remove();
            let mut changes = std::mem::take(&mut self.late);
            changes.extend(pending.changes);
            changes.iter_mut().for_each(|change| change.commit = number);
            self.shown = number;
            whole.push(Commit { number, ms: pending.ms, changes });
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINEAGE: &str = "00000007";

    fn record(topic: &str, key: &str, value: Option<&str>, commit: &str) -> LogRecord {
        LogRecord {
            topic: topic.into(),
            partition: 0,
            offset: 0,
            timestamp_ms: 0,
            key: Some(key.into()),
            value: value.map(Into::into),
            headers: vec![("epoch".to_owned(), b"5000".to_vec()), ("commit".to_owned(), commit.into())],
        }
    }

    fn event(key: &str, commit: u64) -> LogRecord {
        record("events", key, None, &format!("{LINEAGE}-{commit}"))
    }

    /// The progress record of a commit that has written so many events.
    fn progress(commit: u64, events: u64) -> LogRecord {
        let value = format!(
            r#"{{"format":2,"epoch":5000,"positions":[],"watermark":null,"results":1,"extraction":1,"ends":[],
            "lineage":"{LINEAGE}","commit":{commit},"written":{{"events":{events},"metrics":9}}}}"#
        );
        record("progress", "progress", Some(&value), &format!("{LINEAGE}-{commit}"))
    }

    fn gathered() -> Gathered {
        let topics = [("events", Followed::Changes(Topic::Events)), ("progress", Followed::Progress)];
        let at_end = topics.iter().map(|(topic, _)| (TopicPartition::new(*topic, 0), true)).collect();
        let topics = topics.into_iter().map(|(name, followed)| (name.into(), followed)).collect();
        Gathered { topics, at_end, ..Gathered::default() }
    }

    fn numbers(commits: &[Commit]) -> Vec<(u64, usize)> {
        commits.iter().map(|commit| (commit.number, commit.changes.len())).collect()
    }

    #[test]
    fn a_commit_is_whole_once_it_has_what_it_has_written() {
        let mut gathered = gathered();
        gathered.take(event("a", 1)).unwrap();
        assert!(gathered.whole().is_empty());
        gathered.take(progress(1, 2)).unwrap();
        gathered.ask();
        assert!(gathered.whole().is_empty(), "a record is to come");
        // Of the next one everything is there, but it waits for its turn.
        gathered.take(progress(2, 0)).unwrap();
        gathered.take(progress(3, 1)).unwrap();
        gathered.take(event("c", 3)).unwrap();
        assert!(gathered.whole().is_empty());
        gathered.take(event("b", 1)).unwrap();
        let whole = gathered.whole();
        assert_eq!(numbers(&whole), [(1, 2), (2, 0), (3, 1)]);
        assert_eq!((whole[0].ms, gathered.lineage.to_string()), (5_000, LINEAGE.to_owned()));
    }

    #[test]
    fn a_commit_whose_progress_record_is_gone_is_whole_once_a_later_one_is_recorded() {
        let mut gathered = gathered();
        let end = |topic: &str| TopicPartition::new(topic, 0);
        gathered.take(event("a", 1)).unwrap();
        gathered.end(end("events"));
        gathered.ask();
        assert!(gathered.whole().is_empty());
        gathered.take(progress(2, 0)).unwrap();
        assert!(gathered.whole().is_empty(), "not everything is read");
        gathered.end(end("progress"));
        assert_eq!(numbers(&gathered.whole()), [(1, 1), (2, 0)]);
    }

    #[test]
    fn what_was_committed_is_restored_and_what_comes_late_is_in_the_next_commit() {
        let mut gathered = gathered();
        gathered.begin_after(&progress_of(&progress(4, 2)).unwrap().unwrap());
        gathered.take(record("events", "old", None, "00000001-9")).unwrap();
        gathered.take(event("a", 4)).unwrap();
        gathered.take(event("b", 5)).unwrap();
        assert_eq!(gathered.restored.len(), 2, "a former lineage is restored too");
        assert!(!gathered.last_is_whole());
        gathered.take(progress(5, 1)).unwrap();
        assert!(gathered.last_is_whole());
        assert_eq!(numbers(&gathered.whole()), [(5, 1)]);
        gathered.take(event("c", 4)).unwrap();
        gathered.take(progress(6, 0)).unwrap();
        assert_eq!(numbers(&gathered.whole()), [(6, 1)]);
        let newer = record("progress", "progress", Some(r#"{"format":200}"#), &format!("{LINEAGE}-7"));
        assert!(matches!(gathered.take(newer), Err(FollowError::Progress { .. })));
        let other = gathered.take(record("events", "x", None, "00000009-1"));
        assert!(matches!(other, Err(FollowError::OtherLineage { .. })));
    }
}
