//! The reader thread of a source: polls the log, and hands over what it gives.
//!
//! It reads state and tables to their ends, in a rebuild the raw topics up to the positions, and then the
//! raw topics and tables for as long as the engine runs. How much it may read ahead is bounded by its
//! channel.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use timely::scheduling::SyncActivator;

use super::error::EngineError;
use super::growth::Growth;
use super::input::Share;
use super::lifecycle::{Lifecycle, PanicGuard};
use super::progress::Reached;
use crate::error::Fault;
use crate::fail_point::FailPoint;
use crate::log::{Log, Polled, Reader, Start, TopicPartition};

/// What a reader thread tells its source.
pub(super) enum Message {
    Batch(Vec<Polled>),
    /// State and tables have been read to their ends.
    Restored,
    /// The raw topics have been read up to the positions.
    Reread,
    /// A raw partition appeared, with this end; its records will follow.
    Found(TopicPartition, i64),
}

/// How many polls wait for the source, at most.
pub(super) const READ_AHEAD: usize = 4;

/// How many bytes one poll asks for.
const POLL_BYTES: usize = 1 << 20;

pub(super) fn spawn_reader(
    log: Arc<dyn Log>,
    readings: Readings,
    growth: Growth,
    sender: Sender<Message>,
    activator: SyncActivator,
    lifecycle: Arc<Lifecycle>,
) {
    let on_failure = Arc::clone(&lifecycle);
    let work = move || {
        let _guard = PanicGuard::new("a reader", &lifecycle);
        let feed = Feed { sender, activator, growth, lifecycle: Arc::clone(&lifecycle) };
        if let Err(error) = feed.run(&*log, &readings) {
            lifecycle.fail(error);
        }
    };
    if let Err(error) = std::thread::Builder::new().name("reader".to_owned()).spawn(work) {
        on_failure.fail(EngineError::Thread { reason: error.to_string() });
    }
}

/// What a reader thread reads.
pub(super) struct Readings {
    pub(super) share: Share,
    pub(super) rebuilding: bool,
}

struct Feed {
    sender: Sender<Message>,
    activator: SyncActivator,
    growth: Growth,
    lifecycle: Arc<Lifecycle>,
}

impl Feed {
    fn run(&self, log: &dyn Log, readings: &Readings) -> Result<(), EngineError> {
        let share = &readings.share;
        let tables = self.restore(log, share)?;
        if readings.rebuilding {
            self.reread(log, share)?;
        }
        if self.lifecycle.stopping() {
            return Ok(());
        }
        let mut starts: Vec<(TopicPartition, Start)> =
            share.raw.iter().map(|(at, known)| (at.clone(), start_of(*known))).collect();
        starts.extend(tables.into_iter().map(|(at, next)| (at, Start::Offset(next))));
        let mut known: BTreeSet<TopicPartition> = share.raw.iter().map(|(at, _)| at.clone()).collect();
        let mut looked = Instant::now();
        let mut reader = log.reader(&starts)?;
        while !self.lifecycle.stopping() {
            let batch = poll(&mut *reader)?;
            if !batch.is_empty() && !self.send(Message::Batch(batch)) {
                break;
            }
            if looked.elapsed() >= self.growth.every {
                self.grow(log, &mut *reader, &mut known)?;
                looked = Instant::now();
            }
        }
        Ok(())
    }

    /// Looks for raw partitions that have appeared, and reads those that are this worker's from
    /// their beginnings.
    fn grow(
        &self,
        log: &dyn Log,
        reader: &mut dyn Reader,
        known: &mut BTreeSet<TopicPartition>,
    ) -> Result<(), EngineError> {
        for topic in self.growth.dealt.keys() {
            let ends = match log.watermarks(topic) {
                Ok(ends) => ends.unwrap_or_default(),
                // The log is away for a while: there is a next time.
                Err(error) if error.may_pass() => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            for (partition, ends) in (0..).zip(ends) {
                let at = TopicPartition::new(Arc::clone(topic), partition);
                if !self.growth.takes(&at) || known.contains(&at) {
                    continue;
                }
                match reader.assign(at.clone(), Start::Beginning) {
                    Err(error) if error.may_pass() => return Ok(()),
                    outcome => outcome?,
                }
                tracing::info!(topic = &**topic, partition, "a partition has appeared; it is read from its beginning");
                known.insert(at.clone());
                if !self.send(Message::Found(at, ends.high)) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Reads state and tables to their ends; returns where the tables go on.
    fn restore(&self, log: &dyn Log, share: &Share) -> Result<BTreeMap<TopicPartition, i64>, EngineError> {
        let table_partitions = share.tables.iter().map(|(at, _)| at);
        let all: Vec<(TopicPartition, Start)> =
            share.state.iter().chain(table_partitions.clone()).map(|at| (at.clone(), Start::Beginning)).collect();
        let mut open: BTreeSet<TopicPartition> = all.iter().map(|(at, _)| at.clone()).collect();
        let tables: BTreeSet<TopicPartition> = table_partitions.cloned().collect();
        let mut ends = BTreeMap::new();
        if !open.is_empty() {
            let mut reader = log.reader(&all)?;
            while !open.is_empty() && !self.lifecycle.stopping() {
                let mut batch = poll(&mut *reader)?;
                FailPoint::RecoveryReading.reach();
                batch.retain(|polled| keep(polled, &open, &ends));
                for polled in &batch {
                    if let Polled::End { partition, next } = polled {
                        open.remove(partition);
                        if tables.contains(partition) {
                            ends.insert(partition.clone(), *next);
                        }
                    }
                }
                if !batch.is_empty() && !self.send(Message::Batch(batch)) {
                    break;
                }
            }
        }
        // Stopped before the ends: what was read is not the state, and nobody may take it for that.
        if open.is_empty() {
            self.send(Message::Restored);
        }
        Ok(ends)
    }

    /// Reads the raw partitions from their beginning up to the positions.
    fn reread(&self, log: &dyn Log, share: &Share) -> Result<(), EngineError> {
        let mut open = BTreeMap::new();
        for (at, known) in &share.raw {
            let low =
                log.watermarks(&at.topic)?.and_then(|ends| Some(ends.get(usize::try_from(at.partition).ok()?)?.low));
            if let Some(next) = known.map(|known| known.next).filter(|next| low.is_some_and(|low| low < *next)) {
                open.insert(at.clone(), next);
            }
        }
        let starts: Vec<_> = open.keys().map(|at| (at.clone(), Start::Beginning)).collect();
        if !starts.is_empty() {
            let mut reader = log.reader(&starts)?;
            while !open.is_empty() && !self.lifecycle.stopping() {
                let mut batch = poll(&mut *reader)?;
                batch.retain(|polled| is_before(polled, &mut open));
                if !batch.is_empty() && !self.send(Message::Batch(batch)) {
                    break;
                }
            }
        }
        if open.is_empty() {
            self.send(Message::Reread);
        }
        Ok(())
    }

    fn send(&self, message: Message) -> bool {
        let sent = self.sender.send(message).is_ok();
        sent && self.activator.activate().is_ok()
    }
}

/// Where reading goes on.
fn start_of(known: Option<Reached>) -> Start {
    known.map_or(Start::Beginning, |known| Start::Offset(known.next))
}

/// What comes after a partition's end during the restore is left to the live reader.
fn keep(polled: &Polled, open: &BTreeSet<TopicPartition>, ends: &BTreeMap<TopicPartition, i64>) -> bool {
    match polled {
        Polled::End { partition, .. } => open.contains(partition),
        Polled::Record(record) => {
            let at = TopicPartition::new(record.topic.clone(), record.partition);
            open.contains(&at) && !ends.contains_key(&at)
        }
    }
}

/// Whether a record lies before the end in `open` of its partition; takes out the partitions whose
/// ends are reached.
fn is_before(polled: &Polled, open: &mut BTreeMap<TopicPartition, i64>) -> bool {
    let (at, next, is_record) = match polled {
        Polled::Record(record) => {
            (TopicPartition::new(record.topic.clone(), record.partition), record.offset + 1, true)
        }
        Polled::End { partition, next } => (partition.clone(), *next, false),
    };
    let Some(end) = open.get(&at).copied() else { return false };
    if next >= end {
        open.remove(&at);
    }
    is_record && next <= end
}

fn poll(reader: &mut dyn Reader) -> Result<Vec<Polled>, EngineError> {
    let mut batch = Vec::new();
    reader.poll(&mut batch, POLL_BYTES, Duration::from_millis(100))?;
    Ok(batch)
}
