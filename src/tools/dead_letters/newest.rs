//! Whether a topic has a newer record than one that is to be replayed.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use headwater_flow::raw::{self, RawRecord};
use smol_str::SmolStr;

use super::error::LettersError;
use super::examine::Examine;
use super::letter::{REPLAY_OF, Version, number};
use super::plan::{Plan, ReplayOptions, Work};
use crate::config::Runtime;
use crate::log::{Log, LogRecord, Polled, Reader, Start, TopicPartition};
use crate::tools::produce::{CONTENT_TYPE_HEADER, SOURCE_HEADER};

/// How much is read at a time.
pub(super) const BATCH_BYTES: usize = 4 << 20;
/// How long a poll waits; so long may it take until a signal is heeded.
pub(super) const WAIT: Duration = Duration::from_millis(100);
/// How long to wait for newer records before each transaction, where there seem to be none.
const LAST_LOOK: Duration = Duration::from_millis(50);
/// How long to follow a topic that never comes to rest, before each transaction.
const LONGEST_LOOK: Duration = Duration::from_millis(500);

/// The record as a topology takes it.
pub(super) fn raw_record(record: &LogRecord, config: &Runtime) -> RawRecord {
    let input = config.inputs.iter().find(|input| config.full_name(&input.topic) == *record.topic);
    let or_input = |name: &str, configured: Option<&String>| -> Option<SmolStr> {
        let header = record.header(name).and_then(|value| std::str::from_utf8(value).ok());
        header.or(configured.map(String::as_str)).map(SmolStr::from)
    };
    RawRecord {
        origin: raw::Origin {
            topic: Arc::clone(&record.topic),
            partition: record.partition,
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            order_ms: record.timestamp_ms,
        },
        source: or_input(SOURCE_HEADER, input.and_then(|input| input.source.as_ref())),
        content_type: or_input(CONTENT_TYPE_HEADER, input.and_then(|input| input.content_type.as_ref())),
        key: record.key.clone(),
        value: record.value.clone(),
        headers: Vec::new(),
    }
}

/// The newest records of some documents and subjects, as far as they were looked for.
pub(super) struct Newest<'a> {
    config: &'a Runtime,
    examine: Option<&'a dyn Examine>,
    /// None where nothing has to be looked for.
    reader: Option<Box<dyn Reader>>,
    /// Partitions whose end has not been seen.
    open: BTreeSet<TopicPartition>,
    documents: HashMap<Document, Vec<Version>>,
    /// Sources of records without a key, by topic.
    keyless: HashSet<(Arc<str>, Option<String>)>,
    subjects: HashMap<u128, Vec<Version>>,
}

/// What is a document's own: topic, source, key.
type Document = (Arc<str>, Option<String>, Vec<u8>);

impl<'a> Newest<'a> {
    pub(super) fn new(
        log: &dyn Log,
        config: &'a Runtime,
        examine: Option<&'a dyn Examine>,
        plan: &Plan,
        options: &ReplayOptions,
        to_topic: Option<&str>,
    ) -> Result<Self, LettersError> {
        let mut newest = Self {
            config,
            examine,
            reader: None,
            open: BTreeSet::new(),
            documents: HashMap::new(),
            keyless: HashSet::new(),
            subjects: HashMap::new(),
        };
        let mut first: BTreeMap<Arc<str>, BTreeMap<i32, i64>> = BTreeMap::new();
        let returns = |work: &&Work| to_topic.is_none_or(|topic| topic == &*work.origin.topic);
        // Of what has no key, only the topology can tell what it is about.
        let comparable = |work: &&Work| work.key.is_some() || examine.is_some();
        for work in plan.works.iter().filter(returns).filter(comparable).filter(|_| !options.force) {
            let topic = Arc::clone(&work.origin.topic);
            let version = work.version;
            let start = first.entry(Arc::clone(&topic)).or_default().entry(version.partition).or_insert(i64::MAX);
            *start = (*start).min(version.offset.saturating_add(1));
            match &work.key {
                Some(key) => drop(newest.documents.entry((topic, work.source.clone(), key.clone())).or_default()),
                None => drop(newest.keyless.insert((topic, work.source.clone()))),
            }
        }
        let mut assigned = Vec::new();
        for (topic, starts) in first {
            for (partition, ends) in (0..).zip(log.watermarks(&topic)?.unwrap_or_default()) {
                let start = starts.get(&partition).map_or(ends.low, |start| ends.low.max(*start));
                let at = TopicPartition::new(Arc::clone(&topic), partition);
                newest.open.insert(at.clone());
                assigned.push((at, Start::Offset(start.min(ends.high))));
            }
        }
        if !assigned.is_empty() {
            newest.reader = Some(log.reader(&assigned)?);
        }
        Ok(newest)
    }

    /// Reads on to the ends of the topics, or until `stop` is set.
    pub(super) fn catch_up(&mut self, stop: &AtomicBool) -> Result<(), LettersError> {
        let Some(mut reader) = self.reader.take() else { return Ok(()) };
        let mut polled = Vec::new();
        let begun = Instant::now();
        loop {
            let waiting = !self.open.is_empty();
            reader.poll(&mut polled, BATCH_BYTES, if waiting { WAIT } else { LAST_LOOK })?;
            let at_rest = polled.is_empty();
            for one in polled.drain(..) {
                match one {
                    Polled::Record(record) => self.note(&record),
                    Polled::End { partition, .. } => drop(self.open.remove(&partition)),
                }
            }
            let enough = !waiting && (at_rest || begun.elapsed() >= LONGEST_LOOK);
            if enough || stop.load(Ordering::Relaxed) {
                break;
            }
        }
        self.reader = Some(reader);
        Ok(())
    }

    fn note(&mut self, record: &LogRecord) {
        let version = Version::of(record);
        let raw = raw_record(record, self.config);
        let source = raw.source.as_ref().map(ToString::to_string);
        if let Some(key) = &record.key {
            if let Some(seen) = self.documents.get_mut(&(Arc::clone(&record.topic), source, key.clone())) {
                version.note_in(seen);
            }
        } else if self.keyless.contains(&(Arc::clone(&record.topic), source)) {
            let told = self.examine.map(|examine| examine.subjects(raw)).unwrap_or_default();
            for subject in told {
                version.note_in(self.subjects.entry(subject).or_default());
            }
        }
    }

    /// Whether there is a newer record than that of `work`, which is `record`.
    pub(super) fn has_newer(&self, work: &Work, record: &LogRecord) -> bool {
        let newer = |seen: &Vec<Version>| seen.iter().any(|other| other.is_newer_than(&work.version));
        match &work.key {
            Some(key) => {
                let document = (Arc::clone(&work.origin.topic), work.source.clone(), key.clone());
                self.documents.get(&document).is_some_and(newer)
            }
            None if self.subjects.is_empty() => false,
            None => {
                let told = self.examine.map(|examine| examine.subjects(raw_record(record, self.config)));
                told.iter().flatten().any(|subject| self.subjects.get(subject).is_some_and(newer))
            }
        }
    }
}

impl Version {
    fn of(record: &LogRecord) -> Self {
        let own = Self { partition: record.partition, offset: record.offset, timestamp_ms: record.timestamp_ms };
        number(record, REPLAY_OF).unwrap_or(own)
    }

    fn is_newer_than(&self, other: &Self) -> bool {
        match self.partition == other.partition {
            true => self.offset > other.offset,
            false => self.timestamp_ms > other.timestamp_ms,
        }
    }

    /// Keeps the greatest of each partition.
    fn note_in(self, seen: &mut Vec<Self>) {
        match seen.iter_mut().find(|other| other.partition == self.partition) {
            Some(other) => {
                other.offset = other.offset.max(self.offset);
                other.timestamp_ms = other.timestamp_ms.max(self.timestamp_ms);
            }
            None => seen.push(self),
        }
    }
}
