//! The committer: one transaction for everything that complete epochs hold.
//!
//! ```text
//!  encoded records ─┐ exchanged                ┌─ committer thread ─┐
//!  positions ───────┼─ to worker 0 ─► Commit ──┤ begin, append,     ├─► log
//!  watermark ───────┘ (by epoch)     (sealed)  │ progress, commit   │
//!                                              └─ committed epoch ──┴─► sources (backpressure)
//! ```
//!
//! No worker ever waits for the log: the operator hands sealed epochs over a channel, whose
//! content is bounded by the sources' limit on bytes in flight.
//!
//! # Invariants
//!
//! 1. Epochs are committed in their order, each record in one transaction: after the restored epoch nothing is
//!    taken that is not later than what was committed. (An assertion in `Committer::take`; test
//!    `every_record_is_in_one_transaction_and_nothing_goes_back`.)
//! 2. Positions and watermark never go back, and are in the transaction of the records that follow from what
//!    was read up to them. (The same test.)
//! 3. No record is written before every worker has restored its share and the corrections are; what comes of
//!    a state that was read in part is dropped. (An assertion in `Committer::commit`; tests
//!    `nothing_is_written_before_every_share_is_restored`, `corrections_come_first`.)
//! 4. The fingerprint of the results is recorded when the last correction is written, so that a start after a
//!    crash on the way compares again. (Test `corrections_come_first`.)
//! 5. Every record carries the epoch of its transaction, which is that of its progress record. (Test
//!    `every_record_is_in_one_transaction_and_nothing_goes_back`.)
//! 6. Ends are recorded only where the outputs are what the state implies: when they were not compared any
//!    more, nothing was written since the ends were read, and no row was too large. (An assertion in
//!    `Committer::record_ends`; test `ends_are_recorded_when_nothing_is_left_to_say`.)
//! 7. One transaction is under way at a time. It is repeated as it is until its fate is known, and appended
//!    once. (Test `a_transaction_is_repeated_until_its_fate_is_known`; in tests/engine.rs
//!    `a_lost_writer_is_opened_anew_and_nothing_is_lost_or_doubled`.)
//! 8. After somebody else has committed, nothing is. (In tests/engine.rs
//!    `a_lost_writer_that_was_overtaken_is_not_opened_anew` and `a_second_instance_fences_the_first`.)

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use headwater_flow::{DeadLetterCode, Epoch};

use super::correction::{Corrections, Report};
use super::error::EngineError;
use super::lifecycle::{Lifecycle, PanicGuard};
use super::marks::{MARK, Marks};
use super::members::Members;
use super::meters::SourceLabels;
use super::progress::{FORMAT, OutputEnd, PROGRESS_KEY, Positions, Progress, Rebuilding};
use super::recovery::{last_progress_record, output_ends, parse_progress};
use super::seal::Sealed;
use super::shrink::shrink;
use crate::dataflow::dead_letter::header;
use crate::dataflow::{COMMIT, CommitId, EPOCH, HeldRows, Lineage, OutRecord, TopicNames};
use crate::error::{Backoff, Failure, Fatal, Fault, Transient};
use crate::fail_point::FailPoint;
use crate::log::{Headers, Log, LogError, LogRecord, NewRecord, TopicPartition, Transaction, Transactional};
use crate::program::Fingerprints;
use crate::schema::{Catalog, TopicId};

/// Settings of the committer thread.
pub struct CommitterOptions {
    /// The topology's name: the id of its writer, and the group of its positions.
    pub name: String,
    /// The log.
    pub log: Arc<dyn Log>,
    /// What the topology has declared.
    pub catalog: Arc<Catalog>,
    /// Full names of its topics.
    pub names: Arc<TopicNames>,
    /// How topics of families are made.
    pub members: Members,
    /// Fingerprints to record.
    pub fingerprints: Fingerprints,
    /// What was committed last.
    pub progress: Option<Progress>,
    /// Where reading goes on: from there, or where a gap is skipped.
    pub positions: Positions,
    /// What the tables hold; `None` where they are trusted.
    pub held: Option<Arc<HeldRows>>,
    /// Whether the state is computed anew from the raw topics.
    pub rebuilding: bool,
    /// Corrections in one transaction, at most.
    pub correction_batch: usize,
    /// Above this share of the events held, corrections need a person's consent; `None`: given.
    pub correction_guard: Option<f64>,
    /// Stop once the corrections are known.
    pub preview: bool,
    /// Topics whose positions are published for lag tools.
    pub published: BTreeSet<String>,
    /// Number of workers of all processes, each of which restores a share of the state.
    pub workers: usize,
    /// Stop once these positions are committed.
    pub goals: Option<Vec<(TopicPartition, i64)>>,
}

/// Starts the committer thread.
///
/// # Errors
/// When no thread can be started.
pub fn start(
    options: CommitterOptions,
    writer: Box<dyn Transactional>,
    sealed: Receiver<Sealed>,
    lifecycle: Arc<Lifecycle>,
) -> Result<JoinHandle<()>, EngineError> {
    let work = move || {
        let _guard = PanicGuard::new("the committer", &lifecycle);
        metrics::counter!("headwater_commit_retries_total").increment(0);
        let mut committer = Committer::new(options, writer, Arc::clone(&lifecycle));
        if let Err(error) = committer.run(&sealed) {
            lifecycle.fail(error);
        }
    };
    std::thread::Builder::new()
        .name("committer".to_owned())
        .spawn(work)
        .map_err(|error| EngineError::Thread { reason: error.to_string() })
}

struct Committer {
    options: CommitterOptions,
    writer: Box<dyn Transactional>,
    lifecycle: Arc<Lifecycle>,
    epoch: Epoch,
    lineage: Lineage,
    /// Number of the last commit of the lineage.
    commits: u64,
    positions: Positions,
    /// Whether reading goes on elsewhere than the last progress record says, and none has said so yet.
    moved: bool,
    watermark: Option<i64>,
    results: u64,
    ends: Vec<OutputEnd>,
    ends_are_current: bool,
    rebuilding: Option<Rebuilding>,
    agreed: Option<u64>,
    /// Whether a row was too large for its topic: the outputs are not what the state implies, so a
    /// later start has to compare them.
    oversized: bool,
    sources_restored: usize,
    last_commit: Instant,
    /// When the log was last heard to know this instance as the newest.
    last_heard: Instant,
    marks: Marks,
}

/// What the log says of a transaction whose writer was lost.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Committed,
    NotCommitted,
}

/// Once nothing was committed for this long, the ends are recorded, so that a later start can
/// trust the outputs.
const QUIET: Duration = Duration::from_secs(1);

/// An idle instance asks this often whether a newer one has fenced it.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// Pauses between attempts at a transaction while the log is away.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// For one transaction a writer whose state was lost is opened anew at most so many times. One that is
/// stranded is as often as it takes, like any other wait for the log.
const MOST_REOPENINGS: usize = 5;

/// Asked to stop, an attempt that does not succeed is given up after this long.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// How long the committer goes without looking whether it is to stop.
const TICK: Duration = Duration::from_millis(50);

/// A transaction takes in further sealed epochs up to about this many bytes.
const TRANSACTION_BYTES: usize = 32 << 20;

impl Committer {
    fn new(options: CommitterOptions, writer: Box<dyn Transactional>, lifecycle: Arc<Lifecycle>) -> Self {
        let progress = options.progress.as_ref();
        let positions = options.positions.clone();
        let moved = progress.is_some_and(|progress| Positions::from(&*progress.positions) != positions);
        // An input without anything new is not behind, though nothing may be committed for long.
        lifecycle.set_positions(positions.offsets());
        Self {
            epoch: progress.map_or(0, |progress| progress.epoch),
            lineage: progress.and_then(|progress| progress.lineage).unwrap_or_else(Lineage::draw),
            commits: progress.map_or(0, |progress| progress.commit),
            positions,
            watermark: progress.and_then(|progress| progress.watermark),
            // Until the outputs are corrected they are those of the former fingerprint.
            results: progress.map_or(0, |progress| progress.results),
            ends: progress.map(|progress| progress.ends.clone()).unwrap_or_default(),
            ends_are_current: options.held.is_none(),
            moved,
            rebuilding: progress.and_then(|progress| progress.rebuilding),
            agreed: progress.and_then(|progress| progress.agreed),
            oversized: false,
            sources_restored: 0,
            last_commit: Instant::now(),
            last_heard: Instant::now(),
            marks: Marks::new(),
            options,
            writer,
            lifecycle,
        }
    }

    fn run(&mut self, sealed: &Receiver<Sealed>) -> Result<(), EngineError> {
        if self.options.rebuilding {
            self.rebuilding.get_or_insert(Rebuilding::Asked);
            self.commit(Vec::new())?;
        }
        loop {
            match sealed.recv_timeout(QUIET) {
                Ok(first) => {
                    let last = self.take(first, sealed)?;
                    if last {
                        return if self.options.held.is_none() { self.record_ends() } else { Ok(()) };
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            if self.last_commit.elapsed() > QUIET && self.options.held.is_none() {
                self.record_ends()?;
            }
            if self.last_heard.elapsed() > HEARTBEAT {
                self.check()?;
            }
        }
    }

    /// Ends an instance that was fenced although it has nothing to write.
    fn check(&mut self) -> Result<(), EngineError> {
        let mut positions = self.published();
        if positions.is_empty() {
            // Nothing was read yet; that is a position too.
            positions.extend(self.options.published.iter().map(|topic| (TopicPartition::new(topic.as_str(), 0), 0)));
        }
        let asked = Instant::now();
        match self.writer.check(positions).map_err(Fault::judged) {
            // The next commit sees to that: opening takes the id from whoever has it, and an instance that
            // has nothing to write should not.
            Err(Failure::Fatal(Fatal(error))) if error.wants_new_writer() => {
                tracing::debug!(%error, "the writer is lost");
            }
            Err(Failure::Fatal(Fatal(error))) => return Err(error.into()),
            Err(Failure::Transient(error)) => tracing::debug!(%error, "the log does not answer"),
            Ok(()) => self.heard(asked),
        }
        Ok(())
    }

    /// The log has answered what was asked at that moment, so this instance was the newest then.
    fn heard(&mut self, asked: Instant) {
        self.last_heard = Instant::now();
        self.lifecycle.set_heard(asked);
    }

    fn published(&self) -> Vec<(TopicPartition, i64)> {
        let mut positions = self.positions.offsets();
        positions.retain(|(at, _)| self.options.published.contains(&*at.topic));
        positions
    }

    /// Commits a sealed stretch, together with what else has been sealed meanwhile.
    fn take(&mut self, first: Sealed, more: &Receiver<Sealed>) -> Result<bool, EngineError> {
        let mut all = first;
        let mut bytes: usize = all.records.iter().map(OutRecord::size).sum();
        while all.frontier.is_some() && bytes < TRANSACTION_BYTES {
            let Ok(next) = more.try_recv() else { break };
            bytes += next.records.iter().map(OutRecord::size).sum::<usize>();
            all = all.joined(next);
        }
        let restored_is_complete = all.frontier.is_none_or(|frontier| frontier > self.epoch);
        if !restored_is_complete {
            // Only the restored epoch itself can be incomplete. What is sealed before it is a rebuild,
            // which gives nothing yet, and may go on reading.
            debug_assert!(all.restored.is_empty() && all.records.is_empty(), "nothing is given yet");
            self.lifecycle.set_committed(all.frontier.map_or(0, |frontier| frontier.saturating_sub(1)));
            return Ok(false);
        }
        self.sources_restored += all.sources_restored;
        if self.sources_restored < self.options.workers {
            // Stopped before the state was read whole: there is nothing to compare with.
            return Ok(all.frontier.is_none());
        }
        self.correct(std::mem::take(&mut all.restored))?;
        if self.options.preview {
            self.lifecycle.stop();
            return Ok(true);
        }
        self.lifecycle.set_recovered();
        debug_assert!(all.first.is_none_or(|first| first > self.epoch), "{:?} after {}", all.first, self.epoch);
        self.epoch = self.epoch.max(all.epoch).max(all.frontier.map_or(0, |frontier| frontier.saturating_sub(1)));
        let mut moved = std::mem::take(&mut self.moved) || self.watermark < all.watermark;
        self.watermark = self.watermark.max(all.watermark);
        for report in all.positions {
            let at = TopicPartition { topic: report.topic, partition: report.partition };
            moved |= self.positions.advance(at, report.reached);
        }
        if moved || !all.records.is_empty() {
            self.commit(all.records)?;
            self.measure_epoch(all.first);
        }
        self.lifecycle.set_committed(self.epoch);
        FailPoint::CommitFedBack.reach();
        self.stop_at_goal();
        Ok(all.frontier.is_none())
    }

    fn stop_at_goal(&mut self) {
        if self.options.goals.as_ref().is_some_and(|goals| self.positions.have_reached(goals)) {
            self.options.goals = None;
            self.lifecycle.stop();
        }
    }

    /// Brings the tables to what the restored state implies, if they are to be compared.
    fn correct(&mut self, implied: Vec<OutRecord>) -> Result<(), EngineError> {
        let Some(held) = self.options.held.take() else { return Ok(()) };
        let Corrections { records, mut report } = Corrections::of(&held, implied, &self.options.catalog);
        let batches = Corrections::batches(records, self.options.correction_batch.max(1), TRANSACTION_BYTES);
        report.transactions = batches.len();
        FailPoint::CorrectionCompared.reach();
        if !self.options.preview {
            self.write_corrections(batches, &report)?;
        }
        tracing::info!(corrections = %report, "outputs compared with the restored state");
        self.lifecycle.set_corrections(report);
        Ok(())
    }

    fn write_corrections(&mut self, batches: Vec<Vec<OutRecord>>, report: &Report) -> Result<(), EngineError> {
        let results = self.options.fingerprints.results;
        let guard = self.options.correction_guard.filter(|guard| report.share() > *guard);
        if let Some(guard) = guard.filter(|_| self.agreed != Some(results)) {
            self.withdraw_rebuild()?;
            return Err(EngineError::TooManyCorrections { report: Box::new(report.clone()), guard });
        }
        self.agreed = Some(results);
        self.rebuilding = self.rebuilding.map(|_| Rebuilding::Begun);
        for batch in batches {
            FailPoint::CorrectionBatch.reach();
            self.commit(batch)?;
            FailPoint::CorrectionBatchWritten.reach();
        }
        // Last, so that a start after a crash on the way compares again.
        let settled = (self.rebuilding, self.results) == (None, results);
        (self.results, self.rebuilding, self.agreed) = (results, None, None);
        if !settled || report.total() > 0 {
            FailPoint::CorrectionCorrected.reach();
            self.commit(Vec::new())?;
            FailPoint::CorrectionRecorded.reach();
        }
        Ok(())
    }

    /// A rebuild that is not agreed to has changed nothing yet, so the state is as it was.
    fn withdraw_rebuild(&mut self) -> Result<(), EngineError> {
        if self.rebuilding == Some(Rebuilding::Asked) {
            self.rebuilding = None;
            self.commit(Vec::new())?;
        }
        Ok(())
    }

    fn record_ends(&mut self) -> Result<(), EngineError> {
        if self.ends_are_current || self.oversized {
            return Ok(());
        }
        debug_assert!(self.options.held.is_none(), "the outputs are what the state implies");
        FailPoint::EndsBegun.reach();
        // On Kafka the end of a partition moves only when the marker of a transaction is written,
        // after the commit has returned; the next transaction has to wait for that.
        self.commit(Vec::new())?;
        FailPoint::EndsSettled.reach();
        match output_ends(&*self.options.log, &self.options.catalog, &self.options.names).map_err(Fault::judged) {
            Ok(ends) => self.ends = ends,
            // They are recorded after the next quiet second.
            Err(Failure::Transient(error)) => {
                tracing::warn!(%error, "the ends of the outputs are not known");
                return Ok(());
            }
            Err(Failure::Fatal(Fatal(error))) => return Err(error),
        }
        FailPoint::EndsRead.reach();
        self.commit(Vec::new())?;
        FailPoint::EndsRecorded.reach();
        self.ends_are_current = true;
        Ok(())
    }

    fn commit(&mut self, records: Vec<OutRecord>) -> Result<(), EngineError> {
        debug_assert!(
            records.is_empty() || (self.options.held.is_none() && self.sources_restored >= self.options.workers),
            "the state is restored and the outputs are compared before anything is written"
        );
        let started = Instant::now();
        self.ends_are_current &= records.is_empty();
        self.count(&records);
        let mut transaction = Transaction {
            records: Vec::with_capacity(records.len() + 1),
            headers: vec![
                (EPOCH.to_owned(), self.epoch.to_string().into_bytes()),
                (COMMIT.to_owned(), self.next_commit().to_string().into_bytes()),
            ],
            positions: self.published(),
        };
        transaction.records.extend(records.into_iter().map(|record| self.new_record(record)));
        transaction.records.push(self.progress_record(&transaction.records));
        self.make_members()?;
        FailPoint::CommitPrepared.reach();
        self.append(&mut transaction)?;
        self.marks.committed += 1;
        self.commits += 1;
        self.last_commit = Instant::now();
        self.heard(started);
        self.lifecycle.set_positions(self.positions.offsets());
        self.lifecycle.counters.commits.fetch_add(1, Ordering::Relaxed);
        metrics::histogram!("headwater_commit_seconds").record(started.elapsed().as_secs_f64());
        metrics::counter!("headwater_commits_total").increment(1);
        metrics::histogram!("headwater_transaction_records").record(transaction.records.len() as f64);
        Ok(())
    }

    /// Makes the topics of families that are written to for the first time.
    fn make_members(&mut self) -> Result<(), EngineError> {
        let missing = self.options.members.take_new();
        if missing.is_empty() {
            return Ok(());
        }
        let log = Arc::clone(&self.options.log);
        self.patiently(|| Ok(log.ensure_topics(&missing)?))
    }

    /// Appends the transaction; a record that the log finds too large is replaced by a dead letter.
    fn append(&mut self, transaction: &mut Transaction) -> Result<(), EngineError> {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut reopenings = 0;
        loop {
            let Err(error) = self.writer.commit(transaction) else {
                if backoff.reset() {
                    tracing::info!("the log takes transactions again");
                }
                return Ok(());
            };
            let error = match error.judged() {
                Failure::Transient(error) => {
                    self.wait(error, &mut backoff)?;
                    continue;
                }
                Failure::Fatal(Fatal(error))
                    if matches!(error, LogError::Stranded { .. })
                        || (error.wants_new_writer() && reopenings < MOST_REOPENINGS) =>
                {
                    reopenings += 1;
                    if self.reopen(&error)? == Fate::Committed {
                        return Ok(());
                    }
                    continue;
                }
                Failure::Fatal(Fatal(error)) => error,
            };
            let LogError::TooLarge { index, .. } = error else { return Err(error.into()) };
            if index + 1 == transaction.records.len() {
                // The progress record: nothing can stand in for it.
                return Err(error.into());
            }
            let Some(record) = transaction.records.get_mut(index) else { return Err(error.into()) };
            let letter = shrink(record, &self.options.names.shared(TopicId::DEAD_LETTERS), error)?;
            if let Some(letter) = letter {
                self.lifecycle.counters.dead_letters.fetch_add(1, Ordering::Relaxed);
                self.count_letter(&letter.headers);
                // Before the progress record, which is the last one.
                transaction.records.pop();
                transaction.records.push(letter);
                transaction.records.push(self.progress_record(&transaction.records));
            }
        }
    }

    /// Opens the writer anew, and finds out what became of the transaction under way.
    ///
    /// Opening fences whoever holds the id, so it is done only while nobody else has committed; and what
    /// is found afterwards cannot change any more. NB: a newer instance that has not committed anything
    /// yet is not seen, and is fenced: one of the two goes on, and nothing is doubled.
    ///
    /// # Errors
    /// [`LogError::Fenced`] where another instance has gone on from here.
    fn reopen(&mut self, lost: &LogError) -> Result<Fate, EngineError> {
        tracing::warn!(error = %lost, "the writer is opened anew");
        metrics::counter!("headwater_commit_retries_total").increment(1);
        let name = &*self.options.name;
        let writer = self.patiently(|| {
            self.fate_now()?;
            Ok(self.options.log.transactional(name, name)?)
        })?;
        let former = std::mem::replace(&mut self.writer, writer);
        // It may wait long for connections that it has lost.
        let _ = std::thread::Builder::new().name("former writer".to_owned()).spawn(|| drop(former));
        let fate = self.patiently(|| self.fate_now())?;
        tracing::info!(committed = fate == Fate::Committed, "the writer is open again");
        Ok(fate)
    }

    /// Asks until the log answers.
    fn patiently<T>(&self, ask: impl Fn() -> Result<T, EngineError>) -> Result<T, EngineError> {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            match ask().map_err(Fault::judged) {
                Ok(answer) => return Ok(answer),
                Err(Failure::Transient(error)) => self.wait(error, &mut backoff)?,
                Err(Failure::Fatal(Fatal(error))) => return Err(error),
            }
        }
    }

    /// What the log says now of the transaction under way; an error where somebody else has committed.
    fn fate_now(&self) -> Result<Fate, EngineError> {
        let found = last_progress_record(&*self.options.log, self.options.names.of(TopicId::PROGRESS))?;
        self.fate(found.as_ref()).ok_or_else(|| LogError::Fenced { id: self.options.name.clone() }.into())
    }

    /// `None` where the last progress record is somebody else's.
    fn fate(&self, found: Option<&LogRecord>) -> Option<Fate> {
        let mark = found.and_then(|record| record.header(MARK));
        if mark == Some(&*self.marks.next()) {
            return Some(Fate::Committed);
        }
        let is_last = match self.marks.committed {
            // This instance has committed nothing: what it began with must still be the last word.
            0 => {
                let value = found.and_then(|record| record.value.as_deref());
                value.map(parse_progress).transpose().ok().is_some_and(|found| found == self.options.progress)
            }
            committed => mark == Some(&*self.marks.of(committed)),
        };
        is_last.then_some(Fate::NotCommitted)
    }

    /// Waits before the next attempt at the same transaction. As long as it takes: reading pauses
    /// meanwhile. Only who asks for the end is not kept waiting for ever.
    fn wait<E>(&self, error: Transient<E>, backoff: &mut Backoff) -> Result<(), EngineError>
    where
        E: std::error::Error + Into<EngineError>,
    {
        let pause = backoff.pause();
        tracing::warn!(%error, pause_ms = pause.as_millis() as u64, "the transaction will be tried again");
        metrics::counter!("headwater_commit_retries_total").increment(1);
        let until = Instant::now() + pause;
        while Instant::now() < until {
            if self.lifecycle.failed() || self.lifecycle.stopping_for() > STOP_PATIENCE {
                return Err(error.0.into());
            }
            std::thread::sleep(TICK.min(pause));
        }
        Ok(())
    }

    fn count(&mut self, records: &[OutRecord]) {
        let counters = &self.lifecycle.counters;
        let letters = records.iter().filter(|record| record.topic == TopicId::DEAD_LETTERS).count();
        counters.dead_letters.fetch_add(letters as u64, Ordering::Relaxed);
        counters.outputs.fetch_add(records.len() as u64, Ordering::Relaxed);
        let mut by_topic: BTreeMap<TopicId, (u64, u64)> = BTreeMap::new();
        for record in records {
            let (count, bytes) = by_topic.entry(record.topic).or_default();
            *count += 1;
            *bytes += record.size() as u64;
        }
        metrics::histogram!("headwater_transaction_bytes")
            .record(by_topic.values().map(|(_, bytes)| *bytes).sum::<u64>() as f64);
        for (topic, (count, bytes)) in by_topic {
            let of = |name: &'static str| {
                let topic = Arc::clone(&self.options.catalog.topic(topic).name);
                metrics::counter!(name, "topic" => topic)
            };
            of("headwater_output_records_total").increment(count);
            of("headwater_output_bytes_total").increment(bytes);
        }
        for record in records.iter().filter(|record| record.topic == TopicId::DEAD_LETTERS) {
            self.count_letter(&record.headers);
        }
    }

    fn count_letter(&mut self, headers: &Headers) {
        let text = |wanted: &str| {
            let found = headers.iter().find(|(name, _)| name == wanted);
            found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
        };
        let code = text(header::CODE).unwrap_or_default();
        let source = text("source").unwrap_or_else(|| SourceLabels::UNKNOWN.to_owned());
        let source = self.lifecycle.sources.of(source);
        self.oversized |= code == DeadLetterCode::OUTPUT_TOO_LARGE.as_str();
        metrics::counter!("headwater_dead_letters_total", "code" => code, "source" => source).increment(1);
    }

    /// Tells how long the oldest epoch of a transaction took from its opening to its commit.
    fn measure_epoch(&self, first: Option<Epoch>) {
        if let Some(first) = first {
            let ms = self.lifecycle.now_ms().saturating_sub(first);
            metrics::histogram!("headwater_epoch_seconds").record(ms as f64 / 1000.0);
        }
        if let Some(watermark) = self.watermark {
            metrics::gauge!("headwater_watermark_timestamp_seconds").set(watermark as f64 / 1000.0);
        }
    }

    fn new_record(&mut self, record: OutRecord) -> NewRecord {
        NewRecord {
            topic: match record.member {
                Some(member) => self.options.members.topic(record.topic, &member),
                None => self.options.names.shared(record.topic),
            },
            key: record.key,
            value: record.value,
            headers: record.headers,
            timestamp_ms: None,
        }
    }

    /// The commit under way, or to come.
    fn next_commit(&self) -> CommitId {
        CommitId { lineage: self.lineage, number: self.commits + 1 }
    }

    /// What is written last, after `records`.
    fn progress_record(&self, records: &[NewRecord]) -> NewRecord {
        let mut written: BTreeMap<&str, u64> = BTreeMap::new();
        for record in records {
            *written.entry(&record.topic).or_default() += 1;
        }
        let progress = Progress {
            format: FORMAT,
            epoch: self.epoch,
            positions: self.positions.to_vec(),
            watermark: self.watermark,
            results: self.results,
            extraction: self.options.fingerprints.extraction,
            ends: self.ends.clone(),
            rebuilding: self.rebuilding,
            agreed: self.agreed,
            lineage: Some(self.lineage),
            commit: self.commits + 1,
            written: written.into_iter().map(|(topic, records)| (topic.to_owned(), records)).collect(),
        };
        NewRecord {
            topic: self.options.names.shared(TopicId::PROGRESS),
            key: Some(PROGRESS_KEY.into()),
            value: Some(crate::dataflow::buffer::json(&progress)),
            headers: vec![(MARK.to_owned(), self.marks.next())],
            timestamp_ms: None,
        }
    }
}

#[cfg(test)]
mod tests;
