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

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use serde::Serialize;

use super::error::LettersError;
use super::examine::Examine;
use super::letter::{REPLAY_OF, ReplayNote, text};
use super::newest::{BATCH_BYTES, Newest, WAIT, raw_record};
use super::plan::{Plan, ReplayOptions, Skipped, Work};
use crate::config::{Runtime, topic};
use crate::dataflow::buffer::json;
use crate::dataflow::dead_letter::header;
use crate::dataflow::{CommitId, EPOCH};
use crate::log::{Headers, Log, LogError, LogRecord, NewRecord, Polled, Reader, Start, TopicPartition};
use crate::log::{Transaction, Transactional};
use crate::words::{counted, grouped};

/// More records than these are only replayed on a person's word.
const CONSENT_ABOVE: usize = 1_000;
/// Most records of one transaction.
const BATCH_RECORDS: usize = 500;
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
    /// Of a dry run, how the records would fare, where the topology can tell.
    pub outlook: Option<Outlook>,
    /// Seconds that it took.
    pub seconds: f64,
}

/// Replays dead letters until all that are meant are done or `stop` is set. `examine` is what the
/// topology knows of records.
///
/// # Errors
/// When one that is named is not there, when there are too many without consent, when another replay begins
/// meanwhile, or when the log fails.
pub fn replay(
    log: &dyn Log,
    config: &Runtime,
    examine: Option<&dyn Examine>,
    options: &ReplayOptions,
    stop: &AtomicBool,
) -> Result<Replayed, LettersError> {
    let begun = Instant::now();
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
    let newest = Newest::new(log, config, examine, &plan, options, to_topic.as_deref())?;
    let done = Replayed {
        dry_run: options.dry_run,
        skipped: plan.skipped,
        outlook: examine.filter(|_| options.dry_run).map(|_| Outlook::default()),
        ..Replayed::default()
    };
    let mut sending = Sending {
        config,
        options,
        examine,
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
    config: &'a Runtime,
    options: &'a ReplayOptions,
    examine: Option<&'a dyn Examine>,
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
        let letters = self.config.full_name(topic::DEAD_LETTERS);
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
        let Some((outlook, examine)) = self.done.outlook.as_mut().zip(self.examine) else { return };
        let is_raw = |topic: &str| self.config.inputs.iter().any(|input| self.config.full_name(&input.topic) == topic);
        for out in batch.iter().filter(|out| is_raw(&out.as_read.topic)) {
            let failures = examine.failures(raw_record(&out.as_read, self.config));
            outlook.readable += u64::from(failures.is_empty());
            for code in failures {
                *outlook.failures.entry(code).or_default() += 1;
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
        let assumed = text(record, header::ASSUMED).unwrap_or_default();
        // The engine's own is the last one of its name.
        if let Some(at) = headers.iter().rposition(|(name, _)| name == EPOCH) {
            headers.remove(at);
        }
        CommitId::remove_from(&mut headers);
        headers.retain(|(name, _)| !assumed.split(',').any(|assumed| assumed == name));
        headers.retain(|(name, _)| !name.starts_with(header::PREFIX));
    }
    headers.retain(|(name, _)| name != header::ATTEMPTS && name != REPLAY_OF);
    let attempts = work.attempts.saturating_add(1).to_string();
    headers.push((header::ATTEMPTS.to_owned(), attempts.into_bytes()));
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
