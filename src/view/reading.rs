//! Reading: records from the log, and the rows that they make.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::{Duration, Instant};

use super::batch::{Batch, make_storable};
use super::context::TICK;
use super::error::ViewError;
use super::options::BatchConfig;
use super::spec::ViewTopics;
use super::store::{Preparation, Stored};
use crate::log::{Log, LogRecord, Polled, Reader, Start, TopicPartition};

/// The most that is asked of the reader at once, so that batches do not become much larger than
/// they may be.
const POLL_BYTES: usize = 4 << 20;

/// Records from the log, and how far they have been read.
pub(super) struct Reading {
    reader: Box<dyn Reader>,
    prepare: Preparation,
    limits: BatchConfig,
    /// Where reading goes on once `pending` is applied.
    next: BTreeMap<TopicPartition, i64>,
    /// Partitions read to their end, as far as is known.
    at_end: HashMap<TopicPartition, bool>,
    /// Records read and not yet applied.
    pending: Vec<LogRecord>,
    pending_bytes: usize,
    pending_since: Instant,
    polled: Vec<Polled>,
}

impl Reading {
    /// Reads the partitions `own`, from where they are `stored`.
    pub fn new(
        log: &dyn Log,
        prepare: Preparation,
        limits: BatchConfig,
        own: &[&TopicPartition],
        stored: &BTreeMap<TopicPartition, Stored>,
    ) -> Result<Self, ViewError> {
        let start = |at| stored.get(at).map_or(Start::Beginning, |stored| Start::Offset(stored.next));
        let starts: Vec<(TopicPartition, Start)> = own.iter().map(|at| ((*at).clone(), start(at))).collect();
        let offset = |at: &&TopicPartition| stored.get(*at).map(|stored| ((*at).clone(), stored.next));
        Ok(Self {
            reader: log.reader(&starts)?,
            prepare,
            limits,
            next: own.iter().filter_map(offset).collect(),
            at_end: own.iter().map(|at| ((*at).clone(), false)).collect(),
            pending: Vec::new(),
            pending_bytes: 0,
            pending_since: Instant::now(),
            polled: Vec::new(),
        })
    }

    /// Begins to read a partition that has appeared.
    pub fn begin(&mut self, at: TopicPartition) -> Result<(), ViewError> {
        self.reader.assign(at.clone(), Start::Beginning)?;
        self.at_end.insert(at, false);
        Ok(())
    }

    /// Whether it reads this partition.
    pub fn reads(&self, at: &TopicPartition) -> bool {
        self.at_end.contains_key(at)
    }

    /// Whether it has read all that is there of this partition.
    pub fn is_at_end(&self, at: &TopicPartition) -> bool {
        self.at_end.get(at) == Some(&true)
    }

    /// Where reading goes on in each partition, once what is pending is applied.
    pub fn positions(&self) -> &BTreeMap<TopicPartition, i64> {
        &self.next
    }

    /// How many records are read and not yet applied.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// How many records a batch holds.
    pub fn batch_records(&self) -> usize {
        self.limits.records.max(1)
    }

    fn push(&mut self, record: LogRecord) {
        if self.pending.is_empty() {
            self.pending_since = Instant::now();
        }
        self.pending_bytes += record.size();
        let at = TopicPartition::new(Arc::clone(&record.topic), record.partition);
        let before = self.next.insert(at.clone(), record.offset + 1);
        debug_assert!(
            before.is_none_or(|next| next <= record.offset),
            "invariant 4: {at:?} goes back to {}",
            record.offset
        );
        self.at_end.insert(at, false);
        self.pending.push(record);
    }

    /// Reads what is there, and waits a little where nothing is.
    pub fn poll(&mut self) -> Result<(), ViewError> {
        let interval = Duration::from_millis(self.limits.interval_ms);
        let wait = if self.pending.is_empty() {
            TICK
        } else {
            interval.saturating_sub(self.pending_since.elapsed()).clamp(Duration::from_millis(1), TICK)
        };
        let bytes = self.limits.bytes.saturating_sub(self.pending_bytes).clamp(1, POLL_BYTES);
        let mut polled = std::mem::take(&mut self.polled);
        self.reader.poll(&mut polled, bytes, wait)?;
        for item in polled.drain(..) {
            match item {
                Polled::Record(record) => self.push(record),
                Polled::End { partition, next } => {
                    self.next.insert(partition.clone(), next);
                    self.at_end.insert(partition, true);
                }
            }
        }
        self.polled = polled;
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.pending.len() >= self.batch_records() || self.pending_bytes >= self.limits.bytes
    }

    fn has_waited(&self) -> bool {
        !self.pending.is_empty() && self.pending_since.elapsed() >= Duration::from_millis(self.limits.interval_ms)
    }

    /// Whether what is pending should be written now.
    pub fn batch_is_due(&self) -> bool {
        !self.pending.is_empty() && (self.is_full() || self.has_waited())
    }

    /// Whether all partitions are read to their ends.
    pub fn all_read(&self) -> bool {
        self.at_end.values().all(|at_end| *at_end)
    }

    /// What is pending, storable.
    pub fn take(&mut self, topics: &ViewTopics) -> Vec<LogRecord> {
        let mut records = std::mem::take(&mut self.pending);
        self.pending_bytes = 0;
        make_storable(&mut records, topics);
        records
    }

    /// Takes back the memory of records that are applied.
    pub fn reuse(&mut self, mut records: Vec<LogRecord>) {
        debug_assert!(self.pending.is_empty(), "records that were read meanwhile would be lost");
        records.clear();
        self.pending = records;
    }

    /// Reads as many batches as there are `slots` for their records, or what is there, and sends
    /// their rows away; `written` brings them back. Where the other end is `idle`, a batch is sent once
    /// it has waited for long enough; else it grows until it is full.
    pub fn read_ahead<'a>(
        &mut self,
        slots: &'a mut [Vec<LogRecord>],
        sender: &SyncSender<ReadRows<'a>>,
        written: &Receiver<ReadRows<'a>>,
        topics: &ViewTopics,
        idle: &AtomicBool,
        ending: impl Fn() -> bool,
    ) -> Result<(), ViewError> {
        for slot in slots {
            while !(self.is_full() || idle.load(Ordering::SeqCst) && self.has_waited()) {
                if ending() {
                    return Ok(());
                }
                if self.all_read() && !self.pending.is_empty() {
                    break;
                }
                self.poll()?;
                // Nothing is there at the moment, whether or not that is all.
                if self.pending.is_empty() && (self.all_read() || idle.load(Ordering::SeqCst)) {
                    return Ok(());
                }
            }
            *slot = self.take(topics);
            for records in slot.chunks(self.batch_records()) {
                let rows = ReadRows::read(records, topics, self.prepare)?;
                // The other end is gone when it has failed.
                if sender.send(rows).is_err() {
                    return Ok(());
                }
                // What was allocated here is freed here, which is also time that the writer has for writing.
                written.try_iter().for_each(drop);
            }
        }
        Ok(())
    }
}

/// Records, with the rows that they make; the offsets are not set yet.
pub(super) struct ReadRows<'a> {
    pub records: &'a [LogRecord],
    pub batch: Batch<'a>,
}

impl<'a> ReadRows<'a> {
    pub fn read(records: &'a [LogRecord], topics: &ViewTopics, prepare: Preparation) -> Result<Self, ViewError> {
        let mut batch = Batch::read(records, topics, Vec::new())?;
        batch.changes.iter_mut().for_each(prepare);
        Ok(Self { records, batch })
    }
}
