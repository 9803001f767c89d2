//! The source: reads this worker's share of the partitions and stamps epochs.
//!
//! ```text
//!  log ─► reader thread ─(bounded channel)─► Source operator ─┬─► raw records
//!         1. state and table topics to their ends             ├─► state records   (one early epoch)
//!         2. in a rebuild, raw topics up to the positions     ├─► table records   (still earlier ones)
//!         3. raw topics from the positions, tables live       └─► positions       (once an epoch)
//! ```
//!
//! In a rebuild raw records that had been read before are read again, at epochs before the one of
//! the restored state; [`Flow::raw`](crate::dataflow::Flow::raw) holds them back until then.
//!
//! An epoch closes every `interval`, or when it holds its share of the bytes that may be in flight, so that
//! one is read while others are worked on and committed; while too many epochs wait for their commit it
//! stays open and takes in more, until the bytes in flight reach their limit and reading pauses.
//!
//! # Invariants
//!
//! 1. Epochs rise: each is entered once, and nothing is given at one that was left. (An assertion in
//!    `Source::enter`.)
//! 2. State records, and table records that were known at the last commit, come at the restored epoch, all of
//!    them before [`Restored`] is given there, once. Raw records that are read again come before the restored
//!    epoch; everything else comes after it, and after `Restored`. (Assertions in `Source::go_live`,
//!    `Source::read_again` and `Source::read`; tests `state_comes_first_and_everything_live_after_it`,
//!    `a_rebuild_reads_again_before_the_restored_epoch`.)
//! 3. Records of a partition are given in the order of their offsets, none twice and none left out. (An
//!    assertion in `Source::read`; the same tests.)
//! 4. The positions of an epoch cover the records that were given in it and before, and no others; they never
//!    go back. (`Source::advance` takes the greater one; test `positions_cover_what_was_given`.)
//! 5. Of bytes that are not committed, no more are read than `max_bytes` and one record; no more than
//!    `max_epochs` closed epochs wait for their commit. (Assertions in `Source::fly` and
//!    `Source::release_committed`; test `reading_pauses_at_the_limit_until_a_commit`.)
//! 6. Timestamps that are given are such as can be: a time that cannot counts as the arrival. (Test
//!    `timestamps_that_cannot_be_count_as_the_arrival`.)

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, TryRecvError, bounded};
use headwater_flow::{Epoch, RawRecord};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, StreamVec};

use super::growth::Growth;
use super::input::{InputTopic, PositionReport, Share};
use super::lifecycle::Lifecycle;
use super::meters::InputMeters;
use super::pace::{Pace, epoch_of_clock, next_epoch};
use super::progress::{LastRead, Reached};
use super::reading::{Message, READ_AHEAD, Readings, spawn_reader};
use super::timestamps::Timestamps;
use crate::dataflow::epoch_of;
use crate::fail_point::FailPoint;
use crate::log::{Log, LogRecord, Polled, TopicPartition};

/// The streams of one source.
pub struct SourceStreams<'s> {
    /// Raw records, each once.
    pub raw: StreamVec<'s, Epoch, (RawRecord, Epoch, isize)>,
    /// Records of the state topics, all at the restored epoch. Shared, since each topic's reader takes
    /// its own from all of them.
    pub state: StreamVec<'s, Epoch, Arc<LogRecord>>,
    /// Records of the table topics.
    pub tables: StreamVec<'s, Epoch, LogRecord>,
    /// Positions that changed.
    pub positions: StreamVec<'s, Epoch, PositionReport>,
    /// One thing from every source that has read its whole share of state and tables, at the
    /// restored epoch.
    pub restored: StreamVec<'s, Epoch, Restored>,
}

/// A source has read its whole share of state and tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Restored {
    /// Its worker.
    pub worker: usize,
}

/// Settings of a source.
pub struct SourceOptions {
    /// What to read.
    pub share: Share,
    /// Raw topics by full name.
    pub inputs: Arc<BTreeMap<Arc<str>, InputTopic>>,
    /// Epoch at which restored records enter.
    pub restored_epoch: Epoch,
    /// Whether the raw topics are read again first.
    pub rebuilding: bool,
    /// Whether state records of later epochs than the restored one are left out.
    pub cut: bool,
    /// Epochs and limits.
    pub pace: Pace,
    /// Which timestamps to believe.
    pub timestamps: Timestamps,
    /// Who reads partitions that appear.
    pub growth: Growth,
}

/// What a source does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// There is more at hand: others first, then on.
    Go,
    /// The next epoch, the reader or a commit is waited for.
    Wait,
    /// Nothing.
    End,
}

/// Starts the reader thread and builds the source operator.
pub fn source<'s>(
    scope: Scope<'s, Epoch>,
    log: Arc<dyn Log>,
    options: SourceOptions,
    lifecycle: Arc<Lifecycle>,
) -> SourceStreams<'s> {
    let mut builder = OperatorBuilder::new("read/Source".to_owned(), scope);
    let info = builder.operator_info();
    let (raw_out, raw) = builder.new_output();
    let (state_out, state) = builder.new_output();
    let (table_out, tables) = builder.new_output();
    let (position_out, positions) = builder.new_output();
    let (restored_out, restored) = builder.new_output();

    let activator = scope.activator_for(Rc::clone(&info.address));
    let sync = scope.worker().sync_activator_for(info.address.to_vec());
    lifecycle.register(scope.worker().sync_activator_for(info.address.to_vec()));
    let (sender, receiver) = bounded(READ_AHEAD);
    let readings = Readings { share: options.share.clone(), rebuilding: options.rebuilding };
    spawn_reader(log, readings, options.growth.clone(), sender, sync, Arc::clone(&lifecycle));

    builder.build(move |capabilities| {
        let mut raw_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(raw_out);
        let mut state_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(state_out);
        let mut table_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(table_out);
        let mut position_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(position_out);
        let mut restored_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(restored_out);
        let interval = options.pace.interval;
        let mut source = Source::new(options, receiver, capabilities, lifecycle);
        move |_frontiers| {
            let mut outputs = Outputs {
                raw: &mut raw_out,
                state: &mut state_out,
                tables: &mut table_out,
                positions: &mut position_out,
                restored: &mut restored_out,
            };
            match source.run(&mut outputs) {
                Then::Go => activator.activate(),
                Then::Wait => activator.activate_after(source.until_next_epoch().min(interval)),
                Then::End => {}
            }
        }
    });
    SourceStreams { raw, state, tables, positions, restored }
}

type Port<D> = OutputBuilder<Epoch, CapacityContainerBuilder<Vec<D>>>;

struct Outputs<'a> {
    raw: &'a mut Port<(RawRecord, Epoch, isize)>,
    state: &'a mut Port<Arc<LogRecord>>,
    tables: &'a mut Port<LogRecord>,
    positions: &'a mut Port<PositionReport>,
    restored: &'a mut Port<Restored>,
}

struct Source {
    options: SourceOptions,
    receiver: Receiver<Message>,
    /// One capability per output; empty once the source has ended.
    capabilities: Vec<Capability<Epoch>>,
    lifecycle: Arc<Lifecycle>,
    pending: VecDeque<Polled>,
    epoch: Epoch,
    /// When epochs last moved by the interval.
    stepped: Instant,
    phase: Phase,
    /// Greatest timestamps of the records that are read again.
    reread: BTreeMap<TopicPartition, Option<i64>>,
    known_tables: BTreeMap<TopicPartition, i64>,
    state_topics: BTreeSet<Arc<str>>,
    /// Table records that were not known at the last commit: they enter with the first live epoch.
    new_tables: Vec<LogRecord>,
    positions: BTreeMap<TopicPartition, Reached>,
    changed: BTreeSet<TopicPartition>,
    /// Partitions found and not reported yet, with their ends.
    found: BTreeMap<TopicPartition, i64>,
    epoch_bytes: usize,
    in_flight: VecDeque<(Epoch, usize)>,
    in_flight_bytes: usize,
    /// Bytes and epochs in flight, as this source has told them.
    told_in_flight: (usize, usize),
    meters: InputMeters,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Restoring,
    Rereading,
    Live,
}

/// A rebuild reads at epochs from this long before the restored one. Each takes in at least a
/// batch of records, so there are enough of them; and what was past by then need not be kept.
const REREAD_EPOCHS: Epoch = 10_000_000;

impl Source {
    fn new(
        options: SourceOptions,
        receiver: Receiver<Message>,
        mut capabilities: Vec<Capability<Epoch>>,
        lifecycle: Arc<Lifecycle>,
    ) -> Self {
        let earlier = if options.rebuilding { REREAD_EPOCHS } else { 0 };
        let epoch = options.restored_epoch.saturating_sub(earlier);
        for capability in &mut capabilities {
            capability.downgrade(&epoch);
        }
        let meters = InputMeters::new(Arc::clone(&lifecycle.sources));
        let share = &options.share;
        let believed = |max: i64| options.timestamps.believed(max, epoch);
        let reached = |reached: Option<Reached>| {
            let reached = reached.unwrap_or_default();
            Reached { max_timestamp: reached.max_timestamp.map(believed), ..reached }
        };
        let positions = share.raw.iter().map(|(at, known)| (at.clone(), reached(*known))).collect();
        Self {
            known_tables: share.tables.iter().cloned().collect(),
            state_topics: share.state.iter().map(|at| at.topic.clone()).collect(),
            positions,
            options,
            receiver,
            capabilities,
            lifecycle,
            pending: VecDeque::new(),
            epoch,
            stepped: Instant::now(),
            phase: Phase::Restoring,
            reread: BTreeMap::new(),
            new_tables: Vec::new(),
            changed: BTreeSet::new(),
            found: BTreeMap::new(),
            epoch_bytes: 0,
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            told_in_flight: (0, 0),
            meters,
        }
    }

    /// One activation.
    fn run(&mut self, outputs: &mut Outputs<'_>) -> Then {
        if self.capabilities.is_empty() {
            return Then::End;
        }
        let mut then = Then::Wait;
        self.release_committed();
        let stopping = self.lifecycle.stopping();
        if self.phase == Phase::Restoring && !stopping {
            self.restore(outputs);
        }
        if self.phase == Phase::Rereading && !stopping {
            self.read_again(outputs);
        }
        if self.phase == Phase::Live {
            self.read(outputs);
            let full = self.is_full();
            if self.close_epoch(outputs) && full {
                then = Then::Go;
            }
        }
        if self.lifecycle.stopping() {
            self.send_positions(outputs);
            self.capabilities.clear();
            then = Then::End;
        }
        then
    }

    /// Whether the epoch has its share of what may be in flight, and another may follow.
    fn is_full(&self) -> bool {
        let share = (self.options.pace.max_bytes / EPOCHS_IN_FLIGHT).max(LEAST_FULL_EPOCH);
        self.epoch_bytes >= share && self.in_flight.len() < self.options.pace.max_epochs
    }

    fn until_next_epoch(&self) -> Duration {
        let interval = self.options.pace.interval.as_millis().max(1) as u64;
        // An epoch that may not close yet is waited for: commits and the reader wake the source anyway.
        let due = (self.epoch_of(self.epoch) + interval).saturating_sub(self.lifecycle.now_ms());
        Duration::from_millis(if due == 0 { interval } else { due })
    }

    fn release_committed(&mut self) {
        let committed = self.lifecycle.committed();
        while self.in_flight.front().is_some_and(|(epoch, _)| *epoch <= committed) {
            if let Some((_, bytes)) = self.in_flight.pop_front() {
                self.in_flight_bytes -= bytes;
            }
        }
        debug_assert_eq!(self.in_flight_bytes, self.in_flight.iter().map(|(_, bytes)| bytes).sum::<usize>());
    }

    fn next_polled(&mut self) -> Next {
        if let Some(polled) = self.pending.pop_front() {
            return Next::Polled(polled);
        }
        match self.receiver.try_recv() {
            Ok(Message::Batch(batch)) => {
                self.pending.extend(batch);
                self.pending.pop_front().map_or(Next::Nothing, Next::Polled)
            }
            Ok(Message::Restored | Message::Reread) => Next::PhaseEnds,
            Ok(Message::Found(at, end)) => Next::Found(at, end),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => Next::Nothing,
        }
    }

    fn restore(&mut self, outputs: &mut Outputs<'_>) {
        let restored_epoch = self.options.restored_epoch;
        let [_, states, tables, ..] = &*self.capabilities else { return };
        let (states, tables) = (states.delayed(&restored_epoch), tables.delayed(&restored_epoch));
        let (mut state_port, mut table_port) = (outputs.state.activate(), outputs.tables.activate());
        let (mut state_session, mut table_session) = (state_port.session(&states), table_port.session(&tables));
        loop {
            let record = match self.next_polled() {
                Next::Nothing => return,
                Next::PhaseEnds => break,
                Next::Found(at, end) => {
                    self.find(at, end);
                    continue;
                }
                Next::Polled(Polled::End { partition, next }) => {
                    if self.known_tables.contains_key(&partition) {
                        self.advance(&partition, Reached { next, ..Reached::default() });
                    }
                    continue;
                }
                Next::Polled(Polled::Record(record)) => record,
            };
            if self.state_topics.contains(&record.topic) {
                if !(self.options.cut && epoch_of(&record).is_some_and(|epoch| epoch > restored_epoch)) {
                    self.lifecycle.counters.restored.fetch_add(1, Ordering::Relaxed);
                    state_session.give(Arc::new(record));
                }
                continue;
            }
            let at = TopicPartition::new(record.topic.clone(), record.partition);
            match self.known_tables.get(&at) {
                Some(known) if record.offset < *known => table_session.give(record),
                _ => self.new_tables.push(record),
            }
        }
        drop((state_session, table_session));
        drop((state_port, table_port));
        match self.options.rebuilding {
            true => self.phase = Phase::Rereading,
            false => self.go_live(outputs),
        }
    }

    /// Reads again what had been read before, at epochs before the restored one.
    fn read_again(&mut self, outputs: &mut Outputs<'_>) {
        if self.in_flight.len() >= self.options.pace.max_epochs {
            return;
        }
        let restored_epoch = self.options.restored_epoch;
        debug_assert!(self.epoch < restored_epoch || restored_epoch == 0, "before the restored epoch");
        let Some(capability) = self.capabilities.first().cloned() else { return };
        let mut raw = outputs.raw.activate();
        let mut session = raw.session(&capability);
        let mut ended = false;
        while self.in_flight_bytes + self.epoch_bytes < self.options.pace.max_bytes && !ended {
            let record = match self.next_polled() {
                Next::Nothing => break,
                Next::Found(at, end) => {
                    self.find(at, end);
                    continue;
                }
                Next::Polled(Polled::End { .. }) => continue,
                Next::Polled(Polled::Record(record)) => record,
                Next::PhaseEnds => {
                    ended = true;
                    continue;
                }
            };
            self.epoch_bytes += record.size() + RECORD_OVERHEAD;
            self.lifecycle.counters.reread.fetch_add(1, Ordering::Relaxed);
            // When it arrived nobody knows any more: some time before the last commit.
            let timestamp_ms = self.options.timestamps.believed(record.timestamp_ms, restored_epoch);
            let greatest = self.reread.entry(TopicPartition::new(record.topic.clone(), record.partition)).or_default();
            *greatest = (*greatest).max(Some(timestamp_ms));
            let order_ms = greatest.unwrap_or(timestamp_ms);
            session.give((self.raw_record(LogRecord { timestamp_ms, ..record }, order_ms), self.epoch, 1));
        }
        drop(session);
        drop(raw);
        if ended {
            self.epoch_bytes = 0;
            for (at, greatest) in std::mem::take(&mut self.reread) {
                let next = self.position(&at);
                self.advance(&at, Reached { next, max_timestamp: greatest, last: None });
            }
            self.go_live(outputs);
        } else if self.epoch_bytes > 0 && self.epoch + 1 < restored_epoch {
            self.fly();
            self.enter(self.epoch + 1);
        }
    }

    fn go_live(&mut self, outputs: &mut Outputs<'_>) {
        debug_assert_ne!(self.phase, Phase::Live, "once");
        self.phase = Phase::Live;
        let restored_epoch = self.options.restored_epoch;
        let Some(capability) = self.capabilities.get(4) else { return };
        let restored = Restored { worker: self.options.growth.worker };
        outputs.restored.activate().session(&capability.delayed(&restored_epoch)).give(restored);
        FailPoint::RecoveryRestored.reach();
        let first = self.epoch_of(self.lifecycle.now_ms()).max(restored_epoch + 1);
        self.enter(first);
        let mut tables = outputs.tables.activate();
        let Some(capability) = self.capabilities.get(2) else { return };
        tables.session(capability).give_iterator(std::mem::take(&mut self.new_tables).into_iter());
    }

    fn give_table(&mut self, mut record: LogRecord, outputs: &mut Outputs<'_>) {
        record.timestamp_ms = self.options.timestamps.believed(record.timestamp_ms, self.epoch);
        outputs.tables.activate().session(&self.capabilities[2]).give(record);
    }

    fn read(&mut self, outputs: &mut Outputs<'_>) {
        debug_assert!(
            self.phase == Phase::Live && self.epoch > self.options.restored_epoch,
            "after the restored epoch"
        );
        let mut raw = outputs.raw.activate();
        let Some(capability) = self.capabilities.first().cloned() else { return };
        let mut session = raw.session(&capability);
        let mut tables = Vec::new();
        // Records of one partition come in a row; names and counts are shared with other threads, and what is
        // shared is dear to touch.
        let (mut last, mut records) = (None, 0);
        while self.in_flight_bytes + self.epoch_bytes < self.options.pace.max_bytes && !self.is_full() {
            let record = match self.next_polled() {
                Next::Nothing | Next::PhaseEnds => break,
                Next::Found(at, end) => {
                    self.find(at, end);
                    continue;
                }
                Next::Polled(Polled::End { partition, next }) => {
                    self.advance(&partition, Reached { next, ..Reached::default() });
                    continue;
                }
                Next::Polled(Polled::Record(record)) => record,
            };
            let at = partition_of(&record, &mut last);
            debug_assert!(self.position(at) <= record.offset, "{at:?} was read beyond offset {}", record.offset);
            let size = record.size();
            self.epoch_bytes += size + RECORD_OVERHEAD;
            let next = record.offset + 1;
            if self.known_tables.contains_key(at) {
                self.advance(at, Reached { next, ..Reached::default() });
                tables.push(record);
                continue;
            }
            self.meters.read(at, size);
            let timestamp_ms = self.options.timestamps.believed(record.timestamp_ms, self.epoch);
            let last = LastRead::of(&record);
            let order_ms = self.advance(at, Reached { next, max_timestamp: Some(timestamp_ms), last: Some(last) });
            records += 1;
            let record = self.raw_record(LogRecord { timestamp_ms, ..record }, order_ms);
            self.meters.read_of(record.source.as_deref());
            session.give((record, self.epoch, 1));
        }
        drop(session);
        drop(raw);
        self.lifecycle.counters.records.fetch_add(records, Ordering::Relaxed);
        if records > 0 {
            self.meters.publish_sources();
        }
        self.meters.pause(self.in_flight_bytes + self.epoch_bytes >= self.options.pace.max_bytes);
        self.count_in_flight();
        for record in tables {
            self.give_table(record, outputs);
        }
    }

    /// Notes a partition that has appeared: where reading goes on, and what the watermark waits for.
    fn find(&mut self, at: TopicPartition, end: i64) {
        self.positions.entry(at.clone()).or_default();
        self.changed.insert(at.clone());
        self.found.insert(at, end);
    }

    /// Where reading of `at` goes on.
    fn position(&self, at: &TopicPartition) -> i64 {
        self.positions.get(at).map_or(0, |reached| reached.next)
    }

    /// Notes how far `at` has been read; returns its greatest timestamp so far.
    fn advance(&mut self, at: &TopicPartition, to: Reached) -> i64 {
        let reached = match self.positions.get_mut(at) {
            Some(reached) => reached,
            None => self.positions.entry(at.clone()).or_default(),
        };
        let changed = reached.advance(to);
        let max = reached.max_timestamp.unwrap_or(0);
        if changed && !self.changed.contains(at) {
            self.changed.insert(at.clone());
        }
        max
    }

    fn raw_record(&self, record: LogRecord, order_ms: i64) -> RawRecord {
        InputTopic::raw_record(self.options.inputs.get(&record.topic), record, order_ms)
    }

    fn epoch_of(&self, ms: u64) -> Epoch {
        epoch_of_clock(ms, self.options.pace.interval)
    }

    /// Closes the epoch, if it is time; whether it was.
    fn close_epoch(&mut self, outputs: &mut Outputs<'_>) -> bool {
        let (now, interval) = (self.lifecycle.now_ms(), self.options.pace.interval);
        let next = next_epoch(self.epoch, now, interval, self.stepped.elapsed(), self.is_full());
        if next <= self.epoch || self.in_flight.len() >= self.options.pace.max_epochs {
            return false;
        }
        self.send_positions(outputs);
        self.fly();
        self.enter(next);
        true
    }

    /// From now on this epoch waits for its commit. One without records may yet have outputs:
    /// listings that leave, windows that close.
    fn fly(&mut self) {
        self.in_flight.push_back((self.epoch, self.epoch_bytes));
        self.in_flight_bytes += self.epoch_bytes;
        self.epoch_bytes = 0;
        debug_assert!(self.in_flight.len() <= self.options.pace.max_epochs);
        self.count_in_flight();
    }

    /// Tells how much is under way, if that is not what was told last.
    fn count_in_flight(&mut self) {
        let now = (self.in_flight_bytes + self.epoch_bytes, self.in_flight.len());
        let before = std::mem::replace(&mut self.told_in_flight, now);
        let counters = &self.lifecycle.counters;
        counters.bytes_in_flight.fetch_add(now.0 as i64 - before.0 as i64, Ordering::Relaxed);
        counters.epochs_in_flight.fetch_add(now.1 as i64 - before.1 as i64, Ordering::Relaxed);
    }

    fn enter(&mut self, epoch: Epoch) {
        debug_assert!(epoch > self.epoch, "epoch {epoch} comes after {}", self.epoch);
        if self.epoch_of(epoch) != self.epoch_of(self.epoch) {
            self.stepped = Instant::now();
        }
        self.epoch = epoch;
        for capability in &mut self.capabilities {
            capability.downgrade(&epoch);
        }
    }

    fn send_positions(&mut self, outputs: &mut Outputs<'_>) {
        let mut positions = outputs.positions.activate();
        let mut session = positions.session(&self.capabilities[3]);
        for at in std::mem::take(&mut self.changed) {
            let Some(reached) = self.positions.get(&at).copied() else { continue };
            session.give(PositionReport {
                found_with_end: self.found.remove(&at),
                topic: at.topic,
                partition: at.partition,
                reached,
            });
        }
    }
}

/// The partition of a record: the last one's, where it is that.
fn partition_of<'a>(record: &LogRecord, last: &'a mut Option<TopicPartition>) -> &'a TopicPartition {
    last.take_if(|last| last.partition != record.partition || last.topic != record.topic);
    last.get_or_insert_with(|| TopicPartition::new(record.topic.clone(), record.partition))
}

enum Next {
    Polled(Polled),
    PhaseEnds,
    Found(TopicPartition, i64),
    Nothing,
}

/// What a record costs in memory beyond its bytes, roughly: allocations and bookkeeping.
const RECORD_OVERHEAD: usize = 256;

/// Into so many epochs the bytes that may be in flight are divided where there is always more to read.
const EPOCHS_IN_FLIGHT: usize = 4;

/// An epoch with fewer bytes is never full: there must not be more of them than milliseconds.
const LEAST_FULL_EPOCH: usize = 1 << 20;

#[cfg(test)]
mod tests;
