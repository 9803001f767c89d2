//! Sessions: one writer of a view at work, with a reader, a store and its share of the partitions.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{channel, sync_channel};
use std::time::{Duration, Instant};

use super::context::{Context, Share, lag};
use super::error::ViewError;
use super::reading::Reading;
use super::status::WriterState;
use super::store::{Stored, ViewStore};
use super::writing::Writing;
use crate::log::{LogRecord, TopicPartition, Watermarks};

/// A view that is to stop still writes so many records that it has read; more would take too long.
const LAST_RECORDS: usize = 5_000;

/// Batches that are read ahead before the view looks at everything else again. The records of all
/// of them are in memory meanwhile.
const BATCHES_AHEAD: usize = 3;

/// How often offsets are refreshed although nothing came, so that the store knows how long the
/// view was away; the lag is measured and old dead letters are dropped as often.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How much was written of what was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    /// All but what is pending: the positions read are those written.
    Whole,
    /// Less than that: the session cannot go on.
    Partly,
}

/// One writer of a view at work.
pub(super) struct Session<'r> {
    context: &'r Context,
    share: Share,
    /// Set when a session ends; the others end too.
    over: &'r AtomicBool,
    reading: Reading,
    writing: Writing<'r>,
    heartbeat: Instant,
    /// Lowest offsets of the dead-letters topic that were told to the store.
    forgotten: HashMap<TopicPartition, i64>,
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
    }
}

impl<'r> Session<'r> {
    /// A session that reads its share of the partitions in `marks`, from where they are `stored`.
    pub fn new(
        context: &'r Context,
        over: &'r AtomicBool,
        share: Share,
        store: Box<dyn ViewStore>,
        stored: &BTreeMap<TopicPartition, Stored>,
        marks: &BTreeMap<TopicPartition, Watermarks>,
    ) -> Result<Self, ViewError> {
        let own: Vec<&TopicPartition> = marks.keys().filter(|at| share.has(at)).collect();
        let limits = share.limits(&context.options.batch);
        let reading = Reading::new(&*context.log, store.preparation(), limits, &own, stored)?;
        let writing = Writing::new(context, share, store, stored);
        let now = Instant::now();
        Ok(Self { context, share, over, reading, writing, heartbeat: now, forgotten: HashMap::new() })
    }

    fn ending(&self) -> bool {
        self.context.stopping() || self.over.load(Ordering::SeqCst)
    }

    /// Works until the view is to stop, or another writer has ended.
    fn work(&mut self) -> Result<(), ViewError> {
        while !self.ending() {
            self.reading.poll()?;
            if self.reading.batch_is_due() {
                let written = if self.reading.all_read() { self.flush() } else { self.catch_up() };
                if written? == Written::Partly {
                    return Ok(());
                }
            }
            if self.reading.pending() == 0 {
                self.publish();
            }
            if self.heartbeat.elapsed() >= HEARTBEAT {
                self.beat()?;
            }
        }
        // What is left unwritten is read again; only a little of it is worth the time.
        if !self.context.stopping() || self.reading.pending() > LAST_RECORDS {
            return Ok(());
        }
        self.flush()?;
        self.touch(Vec::new())
    }

    /// Applies everything pending.
    fn flush(&mut self) -> Result<Written, ViewError> {
        let records = self.reading.take(self.context.topics());
        self.writing.write_all(&records, self.reading.batch_records())?;
        self.reading.reuse(records);
        Ok(Written::Whole)
    }

    /// Applies what is pending and what follows, while another thread reads ahead. Where the view is to
    /// stop, what has been read ahead is left.
    fn catch_up(&mut self) -> Result<Written, ViewError> {
        let Self { context, over, reading, writing, .. } = self;
        let (context, over) = (*context, *over);
        let ending = || context.stopping() || over.load(Ordering::SeqCst);
        let mut slots: [Vec<LogRecord>; BATCHES_AHEAD] = Default::default();
        let slots = &mut slots;
        let idle = AtomicBool::new(true);
        let idle = &idle;
        let failed = |reason: String| ViewError::Failed { doing: "reading ahead for a view", reason };
        let written = std::thread::scope(|scope| {
            let (sender, receiver) = sync_channel(0);
            let (give_back, given_back) = channel();
            let thread = std::thread::Builder::new().name(format!("view-{}-read", context.name));
            let reads = thread.spawn_scoped(scope, move || {
                reading.read_ahead(slots, &sender, &given_back, context.topics(), idle, ending)
            });
            let Ok(reads) = reads else { return Ok(None) };
            let mut written = Ok(Written::Whole);
            while written.is_ok() {
                let Ok(mut rows) = receiver.recv() else { break };
                if ending() {
                    written = Ok(Written::Partly);
                    break;
                }
                idle.store(false, Ordering::SeqCst);
                written = writing.write(&mut rows).map(|()| Written::Whole);
                // Nobody is there once all has been read.
                let _ = give_back.send(rows);
                idle.store(true, Ordering::SeqCst);
            }
            drop(receiver);
            let read = reads.join().unwrap_or_else(|_| Err(failed("its thread ended by a panic".to_owned())));
            let written = written?;
            read.map(|()| Some(written))
        })?;
        match written {
            Some(written) => Ok(written),
            // The system has no thread to spare: then one after the other.
            None => self.flush(),
        }
    }

    /// Shows how far the tables are. Nothing may be pending.
    fn publish(&self) {
        let Self { context, reading, writing, share, .. } = self;
        debug_assert!(reading.pending() == 0, "invariant 5: what is pending is not written");
        debug_assert!(
            reading.positions().iter().all(|(at, next)| reading.is_at_end(at) || writing.holds(at, *next)),
            "invariant 5: {:?} is not what is written",
            reading.positions()
        );
        let all_read = reading.all_read();
        let changed = {
            let state = context.shared.lock();
            let own = state.writers.get(share.number);
            reading.positions().iter().any(|(at, next)| state.status.positions.get(at) != Some(next))
                || (all_read && own != Some(&WriterState { lag: 0, works: true }))
        };
        if !changed {
            return;
        }
        context.shared.update(|state| {
            state.status.positions.extend(reading.positions().iter().map(|(at, next)| (at.clone(), *next)));
            if all_read {
                state.set_lag(share.number, 0);
                context.works(state, share.number);
            }
        });
    }

    /// Measures the lag, begins to read partitions that have appeared, refreshes the offsets of what
    /// is read to its end, and lets go of dead letters that the log no longer has.
    fn beat(&mut self) -> Result<(), ViewError> {
        self.heartbeat = Instant::now();
        let mut marks = self.context.watermarks()?;
        marks.retain(|at, _| self.share.has(at));
        let appeared: Vec<TopicPartition> = marks.keys().filter(|at| !self.reading.reads(at)).cloned().collect();
        for at in appeared {
            tracing::info!(view = self.context.name, topic = &*at.topic, at.partition, "a partition has appeared");
            self.reading.begin(at)?;
        }
        let lag = lag(&marks, |at| self.reading.positions().get(at).copied(), self.share);
        self.context.shared.update(|state| state.set_lag(self.share.number, lag));
        let dead_letters = self.context.topics().dead_letters();
        let forget: Vec<(TopicPartition, i64)> = marks
            .into_iter()
            .filter(|(at, marks)| at.topic == *dead_letters && marks.low > 0)
            .map(|(at, marks)| (at, marks.low))
            .filter(|(at, low)| self.forgotten.get(at) != Some(low))
            .collect();
        self.touch(forget)
    }

    /// Writes the offsets of partitions that are read to their end.
    fn touch(&mut self, forget: Vec<(TopicPartition, i64)>) -> Result<(), ViewError> {
        if self.reading.pending() > 0 {
            self.flush()?;
        }
        let positions = self.reading.positions().iter();
        let read_to_end = positions.filter(|(at, _)| self.reading.is_at_end(at)).map(|(at, next)| (at, *next));
        let read_to_end: Vec<_> = read_to_end.collect();
        if read_to_end.is_empty() && forget.is_empty() {
            return Ok(());
        }
        self.writing.move_offsets(read_to_end, forget.clone())?;
        self.forgotten.extend(forget);
        Ok(())
    }
}

/// Runs every session on a thread of its own, the last one on this thread, until all have ended.
pub(super) fn work_together(name: &str, mut sessions: Vec<Session<'_>>) -> Result<(), ViewError> {
    let Some(mut last) = sessions.pop() else { return Ok(()) };
    std::thread::scope(|scope| {
        let mut threads = Vec::with_capacity(sessions.len());
        for (mut session, number) in sessions.into_iter().zip(1..) {
            let thread = std::thread::Builder::new().name(format!("view-{name}-{number}"));
            threads.push(thread.spawn_scoped(scope, move || session.work()));
        }
        // A thread that could not be started has dropped its session, which ends the others.
        let of_last = last.work();
        drop(last);
        let failed = |reason: String| ViewError::Failed { doing: "writing a view by several threads", reason };
        let of_others = threads.into_iter().map(|thread| match thread.map(|thread| thread.join()) {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(failed("a thread ended by a panic".to_owned())),
            Err(error) => Err(failed(error.to_string())),
        });
        // All are waited for, whatever the first ones say.
        let results: Vec<_> = std::iter::once(of_last).chain(of_others).collect();
        results.into_iter().collect()
    })
}
