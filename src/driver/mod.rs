//! A test driver: any topology, with a clock of one's own, in milliseconds a case.
//!
//! Records go in, "advance to t" lets time pass, records come out. There is no log, no thread of an engine
//! and no clock; what the topology gives is a function of what it was given. A [`Driver`] keeps what was
//! committed as the log would, so a [restart](Driver::restart) finds the state again, compares the outputs
//! with it and goes on, and a [rebuild](Driver::rebuild) reads all raw records again, by the same code as
//! a start of the engine.
//!
//! ```
//! use headwater::driver::Driver;
//! use headwater::schema::{Codec, Spec};
//!
//! let codec = || Codec::<String, isize>::new(|key| key.clone().into(), |_, n| n.to_string().into());
//! let mut driver = Driver::build(
//!     |schema| schema.rows("visits", codec(), Spec::default()),
//!     |visits, flow| {
//!         let pages = flow.raw().flat_map(|record| String::from_utf8(record.value?).ok());
//!         flow.write(visits, pages.count());
//!     },
//! )
//! .unwrap();
//! driver.produce("raw.visits", |record| record.value("home"));
//! driver.produce("raw.visits", |record| record.value("home"));
//! driver.advance_to(1_000);
//! assert_eq!(driver.rows("visits")["home"], 2);
//! ```
//!
//! What the driver does not test is the engine: how epochs are cut, positions, transactions, fencing. The
//! golden cases run through both.
//!
//! | file | what |
//! | --- | --- |
//! | `mod` | [`Driver`] |
//! | `given` | what it was given: records of raw topics and tables |
//! | `kept` | what the topology has written |
//! | `crew` | the workers |

mod crew;
mod given;
mod kept;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use headwater_flow::Epoch;
use serde::Serialize;
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

use crate::config::{Config, Invalid, Runtime};
use crate::dataflow::{Context, Damage, EPOCH, Flow, HeldRows, OutRecord, Recovery, TopicNames};
use crate::engine::correction::Corrections;
use crate::engine::input::{InputTopic, PositionReport};
use crate::engine::watermark::{Behind, Watermark};
use crate::log::{LogRecord, TopicPartition};
use crate::program::{Fingerprints, Program};
use crate::run::{declare, engine_options};
use crate::schema::{Catalog, Gauges, Schema, TopicId};
use crate::tools::dead_letters::Letter;
use crate::topology::Topology;
use crew::{Crew, Given, Taken};
pub use given::Record;
use given::{Inbox, worker_of};
pub use kept::Difference;
use kept::Kept;

/// A topology under test. See the module's documentation.
///
/// What a test does wrong (a topic that is not read, a time that has passed) panics, and so does a topology
/// that breaks a rule of the dataflow.
pub struct Driver {
    catalog: Arc<Catalog>,
    program: Program,
    names: Arc<TopicNames>,
    /// `None`: every topic that is not declared is a raw topic.
    inputs: Option<BTreeMap<Arc<str>, InputTopic>>,
    limits: Arc<[usize]>,
    idle_after_ms: u64,
    workers: usize,
    inbox: Inbox,
    kept: Kept,
    /// The first epoch that is not complete.
    epoch: Epoch,
    watermark: Option<i64>,
    raised: Option<i64>,
    differences: Vec<Difference>,
    notes: Arc<Mutex<Vec<String>>>,
    /// `None` until the first start.
    running: Option<Running>,
}

/// What a start has made.
struct Running {
    crew: Crew,
    gauges: Gauges,
    follows: Watermark,
}

/// How a start begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begin {
    /// From the state.
    Restore(Recovery),
    /// From the raw records.
    Rebuild,
}

impl Driver {
    /// A driver of a topology as `config` describes it, on one worker whatever that says.
    ///
    /// # Errors
    /// Everything that is wrong with the topology's sections, and names of topics that are declared twice.
    pub fn of<T: Topology>(config: &Config<T::Config>) -> Result<Self, Vec<Invalid>> {
        let declared = declare::<T>(config)?;
        let options = engine_options(&config.runtime, &declared.catalog, false, true);
        let driver = Self::new(declared.catalog, declared.program);
        Ok(Self {
            names: options.names,
            inputs: Some(options.inputs),
            limits: options.limits,
            idle_after_ms: options.idle_after.as_millis() as u64,
            ..driver
        })
    }

    /// A driver of `program`, which was made with `catalog`. Topics have no prefix, records no limit, and
    /// every topic that is not declared is a raw topic.
    pub fn new(catalog: Arc<Catalog>, program: Program) -> Self {
        Self {
            names: Arc::new(TopicNames::new("", &catalog)),
            inputs: None,
            limits: vec![usize::MAX; catalog.len()].into(),
            idle_after_ms: Runtime::default().engine.idle_partition_after.get().as_millis() as u64,
            workers: 1,
            inbox: Inbox::default(),
            kept: Kept::default(),
            epoch: 1,
            watermark: None,
            raised: None,
            differences: Vec::new(),
            notes: Arc::default(),
            running: None,
            catalog,
            program,
        }
    }

    /// A driver of a topology of two functions: `declare` declares topics and returns their handles, `build`
    /// builds the dataflow with them.
    ///
    /// # Errors
    /// Names of topics that are declared twice.
    pub fn build<H: Send + Sync + 'static>(
        declare: impl FnOnce(&mut Schema) -> H,
        build: impl for<'s> Fn(&H, &mut Flow<'s>) + Send + Sync + 'static,
    ) -> Result<Self, Vec<Invalid>> {
        let mut schema = Schema::default();
        let handles = declare(&mut schema);
        let fingerprints = Fingerprints { results: 0, extraction: 0 };
        Ok(Self::new(schema.freeze()?, Program::new(fingerprints, move |flow| build(&handles, flow))))
    }

    /// Runs on this many workers from the next start on. What they exchange passes as bytes.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers.max(1);
        self
    }

    /// Appends a record to a raw topic or to a table, named without the prefix. It is read when time
    /// [advances](Self::advance_to).
    #[track_caller]
    pub fn produce(&mut self, topic: &str, record: impl FnOnce(Record) -> Record) {
        let table = self.catalog.tables().iter().find(|table| *table.name == *topic);
        let full = table.map_or_else(|| self.names.full(topic), |table| table.full_name(self.names.prefix()));
        let known = |inputs: &BTreeMap<Arc<str>, InputTopic>| inputs.contains_key(&*full);
        assert!(
            table.is_some() || (self.inputs.as_ref().is_none_or(known) && self.catalog.find(topic).is_none()),
            "{topic:?} is not read: neither a raw topic nor a table of the topology"
        );
        self.inbox.push(&full, table.is_some(), record(Record::default()), self.epoch);
    }

    /// Puts a row into a table: `value` as JSON.
    #[track_caller]
    pub fn put(&mut self, table: &str, key: impl Into<Vec<u8>>, value: impl Serialize) {
        self.produce(table, |record| record.key(key).json(&value));
    }

    /// Takes a row out of a table.
    #[track_caller]
    pub fn remove(&mut self, table: &str, key: impl Into<Vec<u8>>) {
        self.produce(table, |record| record.key(key));
    }

    /// Compacts a table as a log does: of each key only the last record stays, of those that have been read.
    #[track_caller]
    pub fn compact(&mut self, table: &str) {
        let declared = self.catalog.tables().iter().find(|declared| *declared.name == *table);
        assert!(declared.is_some(), "no table is declared as {table:?}");
        declared.into_iter().for_each(|table| self.inbox.compact(&table.full_name(self.names.prefix())));
    }

    /// The first epoch that is not complete: time has advanced to just before it.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Raises the watermark to `ms`, with the next epoch. Otherwise it follows the timestamps of raw
    /// records, as it does in the engine.
    pub fn watermark(&mut self, ms: i64) {
        self.raised = self.raised.max(Some(ms));
    }

    /// Writes to an output topic, as another version of the topology would: `None` is a tombstone. The next
    /// start finds it.
    #[track_caller]
    pub fn write(&mut self, topic: &str, key: impl Into<Vec<u8>>, value: Option<&str>) {
        assert!(self.catalog.find(topic).is_some(), "the topology does not write {topic:?}");
        let full = self.names.full(topic).into();
        let headers = vec![(EPOCH.to_owned(), (self.epoch - 1).to_string().into_bytes())];
        self.kept.append(full, self.epoch - 1, Some(key.into()), value.map(|value| value.into()), headers);
    }

    /// Lets time pass until epoch `ms`, which is complete then: everything that was given has been read,
    /// before anything else happened, timers that are due by then have fired, and what all that gave is
    /// committed. The first time starts the topology.
    #[track_caller]
    pub fn advance_to(&mut self, ms: Epoch) {
        assert!(ms >= self.epoch, "epoch {ms} is over: epoch {} comes next", self.epoch);
        if self.running.is_none() {
            let started = self.start(Begin::Restore(Recovery::Compare));
            assert!(started.is_ok(), "the state cannot be read: {:?}", started.err());
        }
        let Some(mut running) = self.running.take() else { return };
        let inputs = self.inputs.clone().unwrap_or_default();
        let (mut given, reports) = self.inbox.take(&inputs, running.crew.workers());
        set_watermark(&mut given, self.moved_watermark(&mut running.follows, &reports, self.epoch));
        running.crew.give(given);
        if self.epoch < ms {
            let taken = running.crew.advance(ms);
            self.commit(taken);
            let mut given = nothing(running.crew.workers());
            set_watermark(&mut given, self.moved_watermark(&mut running.follows, &[], ms));
            running.crew.give(given);
        }
        let taken = running.crew.advance(ms + 1);
        self.commit(taken);
        self.epoch = ms + 1;
        self.running = Some(running);
    }

    /// Stops the topology and starts it again: on the state that it has written, and on the tables. What was
    /// given and not read is read afterwards.
    ///
    /// With [`Recovery::Trust`] as after an orderly stop; with [`Recovery::Compare`] as after a change of the
    /// configuration: the outputs are compared with what the state implies, and corrected. See
    /// [`differences`](Self::differences).
    ///
    /// # Errors
    /// A record of the state that cannot be read.
    #[track_caller]
    pub fn restart(&mut self, recovery: Recovery) -> Result<(), Damage> {
        self.start(Begin::Restore(recovery))
    }

    /// Stops the topology and computes everything anew: reads all raw records again, compares the outputs
    /// with what comes of them, and corrects them. See [`differences`](Self::differences).
    #[track_caller]
    pub fn rebuild(&mut self) {
        // What cannot be read is left out of a rebuild, and says so in the log of the process.
        let rebuilt = self.start(Begin::Rebuild);
        debug_assert!(rebuilt.is_ok(), "a rebuild refuses nothing");
    }

    /// What the last start found different, and has corrected. A healthy topology that is restarted or
    /// rebuilt has none.
    pub fn differences(&self) -> &[Difference] {
        &self.differences
    }

    /// What the topology had to say to people at the last start, see [`Flow::note`].
    pub fn notes(&self) -> Vec<String> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The rows that a topic holds now: the last value of each key, JSON or else text.
    #[track_caller]
    pub fn rows(&self, topic: &str) -> BTreeMap<String, Value> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let value = |bytes: &[u8]| serde_json::from_slice(bytes).unwrap_or_else(|_| Value::String(text(bytes)));
        self.known(topic);
        let rows = self.kept.rows(&self.names.full(topic));
        rows.into_iter().map(|(key, bytes)| (text(key), value(bytes))).collect()
    }

    /// All records that were written to a topic, in the order of their epochs, and within an epoch of their
    /// keys. Each carries its epoch in a header.
    #[track_caller]
    pub fn records(&self, topic: &str) -> &[LogRecord] {
        self.known(topic);
        self.kept.records(&self.names.full(topic))
    }

    /// The dead letters.
    pub fn letters(&self) -> Vec<Letter> {
        self.kept.records(self.names.of(TopicId::DEAD_LETTERS)).iter().map(Letter::of).collect()
    }

    /// The value of the gauge of this metric, since the last start.
    #[track_caller]
    pub fn gauge(&self, metric: &str) -> i64 {
        let at = self.catalog.gauges().iter().position(|gauge| gauge.metric == metric);
        assert!(at.is_some(), "no gauge is declared as {metric:?}");
        self.gauges().get(at.unwrap_or_default()).copied().unwrap_or(0)
    }

    /// The value of the figure of this key, since the last start.
    #[track_caller]
    pub fn figure(&self, key: &str) -> i64 {
        let figure = self.catalog.figures().iter().find(|figure| figure.key == key);
        assert!(figure.is_some(), "no figure is declared as {key:?}");
        figure.map_or(0, |figure| figure.value(&self.gauges()))
    }

    fn gauges(&self) -> Vec<i64> {
        self.running.as_ref().map(|running| running.gauges.values()).unwrap_or_default()
    }

    /// That a topic is written: one of the catalog, or of a family.
    #[track_caller]
    fn known(&self, topic: &str) {
        let written = self.catalog.topics().any(|(_, one)| match one.kind {
            crate::schema::Kind::Family => topic.starts_with(&*one.name),
            _ => *one.name == *topic,
        });
        assert!(written, "the topology does not write {topic:?}");
    }

    /// Where the watermark has moved to by epoch `now`, if it has moved.
    fn moved_watermark(&mut self, follows: &mut Watermark, reports: &[PositionReport], now: Epoch) -> Option<i64> {
        reports.iter().for_each(|report| follows.observe(report, now));
        let moved = follows.advance(now).max(self.raised.take());
        if moved <= self.watermark {
            return None;
        }
        self.watermark = moved;
        moved
    }

    #[track_caller]
    fn commit(&mut self, taken: Vec<Taken>) {
        let clash = kept::clash(&taken, &self.catalog);
        assert!(clash.is_none(), "{}: all differences of a key must arise on one worker", clash.unwrap_or_default());
        for Taken { epoch, record, .. } in taken {
            self.kept.commit(&self.names, epoch, record);
        }
    }

    #[track_caller]
    fn start(&mut self, begin: Begin) -> Result<(), Damage> {
        // The former workers end first, as a process does.
        self.running = None;
        let restored_epoch = self.epoch - 1;
        let rebuilding = begin == Begin::Rebuild;
        let recovery = match begin {
            Begin::Restore(recovery) => recovery,
            Begin::Rebuild => Recovery::Compare,
        };
        let held = (recovery == Recovery::Compare).then(|| Arc::new(self.kept.held(&self.catalog, &self.names)));
        let damage = Arc::new(Mutex::new(None));
        self.notes = Arc::default();
        let context = self.context(restored_epoch, recovery, rebuilding, held.clone(), Arc::clone(&damage));
        let again = if rebuilding { self.inbox.raw_read() as Epoch } else { 0 };
        let first = restored_epoch - again.min(restored_epoch);
        let mut crew = Crew::start(self.workers, &self.program, &context, first);
        crew.give(self.restored(crew.workers(), rebuilding));
        if rebuilding {
            self.read_again(&mut crew, first, restored_epoch);
        }
        let implied = crew.advance(restored_epoch + 1);
        if let Some(damage) = damage.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(damage);
        }
        self.differences = Vec::new();
        if let Some(held) = held {
            self.correct(&held, implied, restored_epoch);
        }
        let follows = Watermark::new(self.watermark, self.idle_after_ms, Behind::new());
        self.running = Some(Running { crew, gauges: context.gauges, follows });
        Ok(())
    }

    fn context(
        &self,
        restored_epoch: Epoch,
        recovery: Recovery,
        rebuilding: bool,
        held: Option<Arc<HeldRows>>,
        damage: Arc<Mutex<Option<Damage>>>,
    ) -> Context {
        let notes = Arc::clone(&self.notes);
        Context {
            catalog: Arc::clone(&self.catalog),
            names: Arc::clone(&self.names),
            restored_epoch,
            recovery,
            rebuilding,
            limits: Arc::clone(&self.limits),
            held,
            gauges: Gauges::new(self.catalog.gauges().len()),
            on_damage: Arc::new(move |one| {
                damage.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(one);
            }),
            on_note: Arc::new(move |note| notes.lock().unwrap_or_else(PoisonError::into_inner).push(note)),
        }
    }

    /// What every worker is given at the restored epoch.
    fn restored(&self, workers: usize, rebuilding: bool) -> Vec<Given> {
        let mut given = nothing(workers);
        let mut give = |worker: usize, add: &mut dyn FnMut(&mut Given)| given.get_mut(worker).into_iter().for_each(add);
        let states = self.catalog.states().filter(|(_, topic)| !rebuilding || !topic.spec.rebuilt);
        for record in states.flat_map(|(id, _)| self.kept.records(self.names.of(id))) {
            // As if the topic had many partitions.
            let worker = xxh3_64(record.key.as_deref().unwrap_or_default()) % workers as u64;
            give(worker as usize, &mut |given| given.states.push(record.clone()));
        }
        for record in self.inbox.known_tables() {
            let at = TopicPartition::new(Arc::clone(&record.topic), record.partition);
            give(worker_of(&at, workers), &mut |given| given.tables.push(record.clone()));
        }
        set_watermark(&mut given, self.watermark);
        given
    }

    /// Gives all raw records that were read before again, one an epoch, before the restored epoch.
    #[track_caller]
    fn read_again(&self, crew: &mut Crew, first: Epoch, restored_epoch: Epoch) {
        let inputs = self.inputs.clone().unwrap_or_default();
        for (at, (worker, record)) in (first..).zip(self.inbox.read_again(&inputs, crew.workers())) {
            let mut given = nothing(crew.workers());
            given.get_mut(worker).into_iter().for_each(|given| given.raw.push(record.clone()));
            // Where there are fewer epochs than records, the last takes in all that are left.
            let early = crew.advance(at.min(restored_epoch.saturating_sub(1)));
            assert!(early.is_empty(), "{}", EARLY);
            crew.give(given);
        }
        let early = crew.advance(restored_epoch);
        assert!(early.is_empty(), "{}", EARLY);
    }

    fn correct(&mut self, held: &HeldRows, implied: Vec<Taken>, epoch: Epoch) {
        let implied: Vec<OutRecord> = implied.into_iter().map(|taken| taken.record).collect();
        let corrections = Corrections::of(held, implied, &self.catalog).records;
        let difference = |record: &OutRecord| self.kept.difference(&self.catalog, &self.names, record);
        self.differences = corrections.iter().map(difference).collect();
        for record in corrections {
            self.kept.commit(&self.names, epoch, record);
        }
    }
}

/// What a topology has done wrong that gives something before the restored epoch.
const EARLY: &str = "the topology gave records before the restored epoch of a rebuild, where they are dropped: \
                     an operator on `raw_as_read` holds back until `rebuilt_at`";

fn nothing(workers: usize) -> Vec<Given> {
    (0..workers).map(|_| Given::default()).collect()
}

/// The watermark comes on worker 0.
fn set_watermark(given: &mut [Given], watermark: Option<i64>) {
    given.first_mut().into_iter().for_each(|first| first.watermark = watermark);
}
