//! Replaying: putting the records of dead letters back on the topics that they came from.
//!
//! - **Each once.** A transaction holds some records and a note of the dead letters that they are of.
//!   Whatever interrupts a replay, the next one reads the notes and goes on. Two at a time cannot be:
//!   the later one fences the earlier one.
//! - **The same bytes.** Of a dead letter that holds less than its record (one listing of a document)
//!   the record is read again from its topic: a part of a document, taken for its next version, would
//!   withdraw all the others. Parts of one record are replayed by one record.
//! - **Nothing newer is undone.** A record goes to the end of its topic, and there it would be the
//!   newest word. So it is left out where the topic has a newer one: of the same document, or, without
//!   a key, of a listing that it describes. A replayed record counts there with the place of the
//!   first one, not with its own. What arrives in the milliseconds between the last look and the
//!   transaction cannot be seen.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use headwater_operators::ListingId;
use headwater_operators::extract::Extractor;
use headwater_operators::raw::{self, DeadLetterCode, RawRecord};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use serde::Serialize;
use smol_str::SmolStr;

use super::{
    Done, Filter, Letter, LetterId, LettersError, Origin, ReplayNote, Standing, Version, each_letter, number, text,
};
use crate::config::{Config, ConfigErrors, Place, Problem, topic};
use crate::console::{counted, grouped};
use crate::engine::output::{Output, dead_letter, json};
use crate::log::{Headers, Log, LogError, LogRecord, NewRecord, Polled, Reader, Start, TopicPartition};
use crate::log::{Transaction, Transactional};
use crate::tools::ToolError;
use crate::tools::produce::{CONTENT_TYPE_HEADER, SOURCE_HEADER};

/// Header of a replayed record: `PARTITION/OFFSET/TIMESTAMP` of the record that it repeats.
pub(super) const REPLAY_OF: &str = "replay-of";

/// More records than these are only replayed on a person's word.
const CONSENT_ABOVE: usize = 1_000;
/// Most records of one transaction.
const BATCH_RECORDS: usize = 500;
/// A transaction takes no further records when it holds this much.
const BATCH_BYTES: usize = 4 << 20;
/// How long a poll waits; so long may it take until a signal is heeded.
const WAIT: Duration = Duration::from_millis(100);
/// How long to wait for newer records before each transaction, where there seem to be none.
const LAST_LOOK: Duration = Duration::from_millis(50);
/// How long to follow a topic that never comes to rest, before each transaction.
const LONGEST_LOOK: Duration = Duration::from_millis(500);

/// What to replay, and how.
#[derive(Debug, Clone, Default)]
pub struct ReplayOptions {
    /// Which dead letters.
    pub filter: Filter,
    /// At most so many records, the oldest dead letters first.
    pub limit: Option<usize>,
    /// Put them on this topic (with or without the prefix), not on those that they came from.
    pub to_topic: Option<String>,
    /// Also what was replayed before.
    pub again: bool,
    /// Also what is parked.
    pub parked: bool,
    /// Also where the topic has newer records.
    pub force: bool,
    /// Change nothing, only say what would be done.
    pub dry_run: bool,
    /// Consent to any number.
    pub yes: bool,
    /// Records a second, at most.
    pub rate: Option<u32>,
    /// Show a progress bar on a terminal.
    pub progress: bool,
}

/// Why dead letters that were meant were left out; numbers of dead letters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Skipped {
    /// They were replayed before.
    pub replayed: u64,
    /// Their records have failed too often.
    pub parked: u64,
    /// The topic has a newer record of the same document or listing.
    pub outdated: u64,
    /// They hold a part of a record, and the record is no longer on its topic.
    pub gone: u64,
    /// They are of an output that was too large, not of a record of an input.
    pub no_record: u64,
    /// With what a replay adds, the record is larger than its topic takes.
    pub too_large: u64,
}

/// How records would fare that a dry run looks at, with the configuration as it is now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outlook {
    /// Records that would be read without a failure.
    pub readable: u64,
    /// Failures that there would be again, by code.
    pub failures: BTreeMap<&'static str, u64>,
}

/// What a replay has done; of a dry run, what it would have done.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Replayed {
    /// Whether it was a dry run.
    pub dry_run: bool,
    /// Whether it came to its end, and was not stopped before.
    pub complete: bool,
    /// Dead letters that were replayed.
    pub letters: u64,
    /// Records written.
    pub records: u64,
    /// Bytes of their values.
    pub bytes: u64,
    /// Records written, by topic.
    pub topics: BTreeMap<String, u64>,
    /// What was left out.
    pub skipped: Skipped,
    /// Of a dry run, how the records would fare.
    pub outlook: Option<Outlook>,
    /// Seconds that it took.
    pub seconds: f64,
}

/// Replays dead letters until all that are meant are done or `stop` is set.
///
/// # Errors
/// When one that is named is not there, when there are too many without consent, when another replay begins meanwhile, or when the
/// configuration or the log fails.
pub fn replay(
    log: &dyn Log,
    config: &Config,
    options: &ReplayOptions,
    stop: &AtomicBool,
) -> Result<Replayed, LettersError> {
    let begun = Instant::now();
    let (extractor, _) = config.compile().map_err(|invalid| {
        let problem = |one: crate::config::Invalid| Problem {
            place: Place::Default,
            key: one.key,
            message: one.message,
            hint: one.hint,
        };
        ToolError::Config(ConfigErrors(invalid.into_iter().map(problem).collect()))
    })?;
    let mut plan = Plan::read(log, config, options)?;
    if plan.works.len() > CONSENT_ABOVE && !options.yes && !options.dry_run {
        return Err(LettersError::NeedsConsent { records: plan.works.len() });
    }
    let writer = match options.dry_run {
        true => None,
        false => {
            log.ensure_topics(&[config.topic_spec(topic::REPLAYS)])?;
            let id = format!("{}-replay", config.name);
            let writer = log.transactional(&id, &id)?;
            // Only now can no other replay write any more.
            plan = Plan::read(log, config, options)?;
            Some(writer)
        }
    };
    let bar = if options.progress { bar(plan.works.len()) } else { ProgressBar::hidden() };
    let to_topic = options.to_topic.as_ref().map(|topic| config.full_name(topic));
    let newest = Newest::new(log, config, &extractor, &plan, options, to_topic.as_deref())?;
    let done = Replayed {
        dry_run: options.dry_run,
        skipped: plan.skipped,
        outlook: options.dry_run.then(Outlook::default),
        ..Replayed::default()
    };
    let mut sending = Sending {
        config,
        options,
        extractor: &extractor,
        works: &plan.works,
        to_topic,
        writer,
        newest,
        notes: config.full_name(topic::REPLAYS).into(),
        batch: Vec::new(),
        batch_bytes: 0,
        begun: None,
        bar,
        done,
    };
    let ended = sending.run(log, stop);
    sending.bar.finish_and_clear();
    ended?;
    Ok(Replayed { seconds: begun.elapsed().as_secs_f64(), ..sending.done })
}

fn bar(records: usize) -> ProgressBar {
    let template = "{bar:30} {pos}/{len} records {per_sec} {wide_msg}";
    // The template is constant; were it wrong, the usual style would do.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(records as u64).with_style(style)
}

/// A record to be replayed.
#[derive(Debug, Clone)]
struct Work {
    origin: Origin,
    /// Place of the record that it repeats, or its own.
    version: Version,
    source: Option<String>,
    key: Option<Vec<u8>>,
    attempts: u32,
    /// Whether its bytes have to be read from its topic.
    excerpt: bool,
    /// The dead letters that are done with it, the first of them one that was meant.
    letters: Vec<LetterId>,
    order: (i64, LetterId),
}

/// What is to be replayed.
#[derive(Debug, Default)]
struct Plan {
    works: Vec<Work>,
    skipped: Skipped,
}

impl Plan {
    fn read(log: &dyn Log, config: &Config, options: &ReplayOptions) -> Result<Self, LettersError> {
        let done = Done::read(log, config)?;
        let mut plan = Self::default();
        let mut works: BTreeMap<Origin, Work> = BTreeMap::new();
        // Parts that were not meant are done too when their record is replayed.
        let mut siblings: HashMap<Origin, Vec<LetterId>> = HashMap::new();
        let mut unknown: BTreeSet<LetterId> = options.filter.ids.iter().copied().collect();
        each_letter(log, config, &done, |letter, standing| {
            let skipped = &mut plan.skipped;
            unknown.remove(&letter.id);
            let (id, origin) = (letter.id, letter.origin.clone());
            if !options.filter.lets(&letter) {
                if let Some(origin) = origin.filter(|_| letter.excerpt && standing != Standing::Replayed) {
                    siblings.entry(origin).or_default().push(id);
                }
                return;
            }
            match standing {
                Standing::Replayed if !options.again => return skipped.replayed += 1,
                Standing::Parked if !options.parked => return skipped.parked += 1,
                _ => {}
            }
            let whole = letter.code != DeadLetterCode::OutputTooLarge.as_str();
            let Some((origin, version)) = origin.zip(letter.version).filter(|_| whole) else {
                return skipped.no_record += 1;
            };
            let order = letter.order();
            let work = works.entry(origin.clone()).or_insert_with(|| Work::new(origin, version, &letter));
            work.letters.push(id);
            work.excerpt &= letter.excerpt;
            work.order = work.order.min(order);
        })?;
        if let Some(id) = unknown.pop_first() {
            return Err(LettersError::NoLetter { id });
        }
        plan.works = works.into_values().collect();
        plan.works.sort_by_key(|work| work.order);
        plan.works.truncate(options.limit.unwrap_or(usize::MAX));
        for work in &mut plan.works {
            work.letters.extend(siblings.remove(&work.origin).unwrap_or_default());
        }
        Ok(plan)
    }
}

impl Work {
    fn new(origin: Origin, version: Version, letter: &Letter) -> Self {
        Self {
            origin,
            version,
            source: letter.source.clone(),
            key: letter.key.clone(),
            attempts: letter.attempts,
            excerpt: true,
            letters: Vec::new(),
            order: letter.order(),
        }
    }

    fn place(&self) -> TopicPartition {
        TopicPartition::new(Arc::clone(&self.origin.topic), self.origin.partition)
    }
}

/// The record as extraction takes it.
fn raw_record(record: &LogRecord, config: &Config) -> RawRecord {
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

/// The newest records of some documents and listings, as far as they were looked for.
struct Newest<'a> {
    config: &'a Config,
    extractor: &'a Extractor,
    /// None where nothing has to be looked for.
    reader: Option<Box<dyn Reader>>,
    /// Partitions whose end has not been seen.
    open: BTreeSet<TopicPartition>,
    documents: HashMap<Document, Vec<Version>>,
    /// Sources of records without a key, by topic.
    keyless: HashSet<(Arc<str>, Option<String>)>,
    listings: HashMap<ListingId, Vec<Version>>,
}

/// What is a document's own: topic, source, key.
type Document = (Arc<str>, Option<String>, Vec<u8>);

impl<'a> Newest<'a> {
    fn new(
        log: &dyn Log,
        config: &'a Config,
        extractor: &'a Extractor,
        plan: &Plan,
        options: &ReplayOptions,
        to_topic: Option<&str>,
    ) -> Result<Self, LettersError> {
        let mut newest = Self {
            config,
            extractor,
            reader: None,
            open: BTreeSet::new(),
            documents: HashMap::new(),
            keyless: HashSet::new(),
            listings: HashMap::new(),
        };
        let mut first: BTreeMap<Arc<str>, BTreeMap<i32, i64>> = BTreeMap::new();
        let returns = |work: &&Work| to_topic.is_none_or(|topic| topic == &*work.origin.topic);
        for work in plan.works.iter().filter(returns).filter(|_| !options.force) {
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
    fn catch_up(&mut self, stop: &AtomicBool) -> Result<(), LettersError> {
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
            for listing in listings(self.extractor, raw) {
                version.note_in(self.listings.entry(listing).or_default());
            }
        }
    }

    /// Whether there is a newer record than that of `work`, which is `record`.
    fn has_newer(&self, work: &Work, record: &LogRecord) -> bool {
        let newer = |seen: &Vec<Version>| seen.iter().any(|other| other.is_newer_than(&work.version));
        match &work.key {
            Some(key) => {
                let document = (Arc::clone(&work.origin.topic), work.source.clone(), key.clone());
                self.documents.get(&document).is_some_and(newer)
            }
            None if self.listings.is_empty() => false,
            None => {
                let described = listings(self.extractor, raw_record(record, self.config));
                described.iter().any(|listing| self.listings.get(listing).is_some_and(newer))
            }
        }
    }
}

/// The listings that a record describes, as far as it can be read.
fn listings(extractor: &Extractor, raw: RawRecord) -> Vec<ListingId> {
    let document = extractor.extract(raw).document;
    document.into_iter().flat_map(|document| document.listings).map(|one| one.listing.id()).collect()
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

/// Reads chosen records of some partitions, once each.
struct Feed {
    reader: Box<dyn Reader>,
    wanted: BTreeMap<TopicPartition, BTreeMap<i64, usize>>,
    polled: Vec<Polled>,
}

impl Feed {
    /// `wanted` is where each record is, and the number that it is known by.
    fn new(
        log: &dyn Log,
        wanted: impl Iterator<Item = (TopicPartition, i64, usize)>,
    ) -> Result<Option<Self>, LettersError> {
        let mut by_partition: BTreeMap<TopicPartition, BTreeMap<i64, usize>> = BTreeMap::new();
        for (at, offset, number) in wanted {
            by_partition.entry(at).or_default().insert(offset, number);
        }
        let mut assigned = Vec::new();
        for (at, offsets) in &by_partition {
            let partitions = log.watermarks(&at.topic)?.unwrap_or_default();
            let ends = usize::try_from(at.partition).ok().and_then(|partition| partitions.get(partition));
            if let (Some(ends), Some((first, _))) = (ends, offsets.first_key_value()) {
                assigned.push((at.clone(), Start::Offset((*first).max(ends.low).min(ends.high))));
            }
        }
        by_partition.retain(|at, _| assigned.iter().any(|(assigned, _)| assigned == at));
        if assigned.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self { reader: log.reader(&assigned)?, wanted: by_partition, polled: Vec::new() }))
    }

    fn is_done(&self) -> bool {
        self.wanted.is_empty()
    }

    /// The next of the records, each with its number.
    fn next(&mut self) -> Result<Vec<(usize, LogRecord)>, LettersError> {
        self.reader.poll(&mut self.polled, BATCH_BYTES, WAIT)?;
        let mut found = Vec::new();
        for one in self.polled.drain(..) {
            match one {
                Polled::Record(record) => {
                    let at = TopicPartition::new(Arc::clone(&record.topic), record.partition);
                    let Some(offsets) = self.wanted.get_mut(&at) else { continue };
                    found.extend(offsets.remove(&record.offset).map(|number| (number, record)));
                    if offsets.is_empty() {
                        self.wanted.remove(&at);
                    }
                }
                Polled::End { partition, .. } => drop(self.wanted.remove(&partition)),
            }
        }
        Ok(found)
    }
}

/// A record on its way back.
struct Outgoing {
    work: usize,
    record: NewRecord,
    /// The same as it would be read.
    as_read: LogRecord,
}

struct Sending<'a> {
    config: &'a Config,
    options: &'a ReplayOptions,
    extractor: &'a Extractor,
    works: &'a [Work],
    to_topic: Option<String>,
    /// None for a dry run.
    writer: Option<Box<dyn Transactional>>,
    newest: Newest<'a>,
    /// Full name of the topic of notes.
    notes: Arc<str>,
    batch: Vec<Outgoing>,
    batch_bytes: usize,
    /// When the first transaction was due.
    begun: Option<Instant>,
    bar: ProgressBar,
    done: Replayed,
}

impl Sending<'_> {
    fn run(&mut self, log: &dyn Log, stop: &AtomicBool) -> Result<(), LettersError> {
        let letters = self.config.full_name(Output::DeadLetters.name());
        let numbered = || self.works.iter().enumerate();
        let whole = numbered().filter(|(_, work)| !work.excerpt).filter_map(|(number, work)| {
            let letter = work.letters.first()?;
            Some((TopicPartition::new(letters.as_str(), letter.partition), letter.offset, number))
        });
        let parts = numbered().filter(|(_, work)| work.excerpt);
        let parts = parts.map(|(number, work)| (work.place(), work.origin.offset, number));
        let feeds = [Feed::new(log, whole)?, Feed::new(log, parts)?];
        let mut missing: BTreeSet<usize> = (0..self.works.len()).collect();
        for mut feed in feeds.into_iter().flatten() {
            while !feed.is_done() {
                if stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
                for (number, record) in feed.next()? {
                    missing.remove(&number);
                    self.take(number, record, stop)?;
                    if stop.load(Ordering::Relaxed) {
                        return Ok(());
                    }
                }
            }
        }
        self.flush(stop)?;
        let gone = missing.iter().filter_map(|number| self.works.get(*number));
        self.done.skipped.gone += gone.map(|work| work.letters.len() as u64).sum::<u64>();
        self.done.complete = !stop.load(Ordering::Relaxed);
        Ok(())
    }

    fn take(&mut self, number: usize, record: LogRecord, stop: &AtomicBool) -> Result<(), LettersError> {
        let Some(work) = self.works.get(number) else { return Ok(()) };
        let headers = replayed_headers(work, &record);
        let size = record.size();
        let origin = &work.origin;
        let as_read = LogRecord {
            topic: Arc::clone(&origin.topic),
            partition: origin.partition,
            offset: origin.offset,
            headers: headers.clone(),
            ..record
        };
        let record = NewRecord {
            topic: self.to_topic.as_deref().map_or_else(|| Arc::clone(&origin.topic), Arc::from),
            key: as_read.key.clone().map(Into::into),
            value: as_read.value.clone().map(Into::into),
            headers,
            timestamp_ms: None,
        };
        self.batch.push(Outgoing { work: number, record, as_read });
        self.batch_bytes += size;
        let most = self.options.rate.map_or(BATCH_RECORDS, |rate| BATCH_RECORDS.min(rate.max(1) as usize));
        if self.batch.len() >= most || self.batch_bytes >= BATCH_BYTES {
            self.flush(stop)?;
        }
        Ok(())
    }

    fn flush(&mut self, stop: &AtomicBool) -> Result<(), LettersError> {
        self.newest.catch_up(stop)?;
        let begun = *self.begun.get_or_insert_with(Instant::now);
        if stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.batch_bytes = 0;
        let mut batch = std::mem::take(&mut self.batch);
        self.bar.inc(batch.len() as u64);
        let works = self.works;
        batch.retain(|out| {
            let Some(work) = works.get(out.work) else { return false };
            let outdated = self.newest.has_newer(work, &out.as_read);
            if outdated {
                self.done.skipped.outdated += work.letters.len() as u64;
            }
            !outdated
        });
        match self.writer.take() {
            None => self.foresee(&batch),
            Some(mut writer) => {
                self.commit(&mut *writer, &mut batch)?;
                self.writer = Some(writer);
            }
        }
        for out in &batch {
            self.done.records += 1;
            self.done.letters += works.get(out.work).map_or(0, |work| work.letters.len() as u64);
            self.done.bytes += out.record.value.as_ref().map_or(0, |value| value.len() as u64);
            *self.done.topics.entry(out.record.topic.to_string()).or_default() += 1;
        }
        self.keep_to_rate(begun, stop);
        Ok(())
    }

    /// Writes the records with a note of their dead letters. What its topic does not take is left out.
    fn commit(&mut self, writer: &mut dyn Transactional, batch: &mut Vec<Outgoing>) -> Result<(), LettersError> {
        while !batch.is_empty() {
            let letters = batch.iter().filter_map(|out| self.works.get(out.work)).flat_map(|work| work.letters.clone());
            let note = NewRecord {
                topic: Arc::clone(&self.notes),
                key: None,
                value: Some(json(&ReplayNote::new(letters, self.to_topic.clone()))),
                headers: Vec::new(),
                timestamp_ms: None,
            };
            let records = batch.iter().map(|out| out.record.clone()).chain([note]).collect();
            match writer.commit(&Transaction { records, ..Transaction::default() }) {
                Ok(()) => return Ok(()),
                Err(LogError::TooLarge { index, .. }) if index < batch.len() => {
                    let out = batch.remove(index);
                    let letters = self.works.get(out.work).map_or(0, |work| work.letters.len());
                    self.done.skipped.too_large += letters as u64;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn foresee(&mut self, batch: &[Outgoing]) {
        let Some(outlook) = &mut self.done.outlook else { return };
        let is_raw = |topic: &str| self.config.inputs.iter().any(|input| self.config.full_name(&input.topic) == topic);
        for out in batch.iter().filter(|out| is_raw(&out.as_read.topic)) {
            let extraction = self.extractor.extract(raw_record(&out.as_read, self.config));
            outlook.readable += u64::from(extraction.failures.is_empty());
            for failure in extraction.failures {
                *outlook.failures.entry(failure.code.as_str()).or_default() += 1;
            }
        }
    }

    fn keep_to_rate(&self, begun: Instant, stop: &AtomicBool) {
        let Some(rate) = self.options.rate.filter(|_| !self.options.dry_run) else { return };
        let due = Duration::from_secs_f64(self.done.records as f64 / f64::from(rate.max(1)));
        while begun.elapsed() < due && !stop.load(Ordering::Relaxed) {
            std::thread::sleep(WAIT.min(due.saturating_sub(begun.elapsed())));
        }
    }
}

/// The record's own headers, and what a replay adds.
fn replayed_headers(work: &Work, record: &LogRecord) -> Headers {
    let mut headers = record.headers.clone();
    if !work.excerpt {
        let assumed = text(record, dead_letter::ASSUMED).unwrap_or_default();
        // The engine's own is the last one of its name.
        if let Some(at) = headers.iter().rposition(|(name, _)| name == "epoch") {
            headers.remove(at);
        }
        headers.retain(|(name, _)| !assumed.split(',').any(|assumed| assumed == name));
        headers.retain(|(name, _)| !name.starts_with(dead_letter::PREFIX));
    }
    headers.retain(|(name, _)| name != dead_letter::ATTEMPTS && name != REPLAY_OF);
    let attempts = work.attempts.saturating_add(1).to_string();
    headers.push((dead_letter::ATTEMPTS.to_owned(), attempts.into_bytes()));
    headers.push((REPLAY_OF.to_owned(), work.version.to_string().into_bytes()));
    headers
}

impl std::fmt::Display for Replayed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let verb = if self.dry_run { "would replay" } else { "replayed" };
        let (letters, records) = (counted(self.letters, "dead letter"), counted(self.records, "record"));
        write!(f, "{verb} {letters} as {records} ({})", HumanBytes(self.bytes))?;
        for (topic, records) in &self.topics {
            write!(f, "\n  {:>9}  to {topic}", grouped(*records))?;
        }
        if let Some(outlook) = &self.outlook {
            write!(f, "\n  {:>9}  can be read with the configuration as it is now", grouped(outlook.readable))?;
            for (code, failures) in &outlook.failures {
                write!(f, "\n  {:>9}  would fail again: {code}", grouped(*failures))?;
            }
        }
        let Skipped { replayed, parked, outdated, gone, no_record, too_large } = self.skipped;
        for (count, why) in [
            (replayed, "were replayed before (--again replays them)"),
            (parked, "are parked: they failed too often (--parked replays them)"),
            (outdated, "left out: their topic has a newer record of the same document or listing (--force)"),
            (gone, "left out: they hold a part of a record that is no longer on its topic"),
            (no_record, "left out: they are of an output that was too large, not of a record"),
            (too_large, "left out: too large for their topic with the headers of a replay"),
        ] {
            if count > 0 {
                write!(f, "\n  {:>9}  {why}", grouped(count))?;
            }
        }
        if !self.complete {
            write!(f, "\nstopped before the end; the same command goes on where this one ended")?;
        }
        Ok(())
    }
}
