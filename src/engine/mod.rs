//! The engine: drives one timely computation from the log's inputs to its outputs, exactly once.
//!
//! ```text
//!  source ─► (the topology's operators) ─► outputs ─► commit ─► log
//!    ▲                                                  │
//!    └────────────── committed epoch ◄──────────────────┘
//! ```
//!
//! [`start`] fences other instances, reads what was committed, restores the state at the epoch of
//! the last commit, corrects the outputs where they no longer say what the state implies, and
//! goes on from the committed positions. See "Exactly once" in ARCHITECTURE.md.

use std::any::Any;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::unbounded;
use differential_dataflow::{AsCollection, ExchangeData, VecCollection};
use headwater_operators::raw::DeadLetter;
use headwater_operators::resolve::Remembered;
use headwater_operators::window::WindowRow;
use headwater_operators::{Epoch, RawRecord};
use serde::de::DeserializeOwned;
use smallvec::SmallVec;
use timely::WorkerConfig;
use timely::dataflow::operators::Concat;
use timely::dataflow::operators::generic::operator::source as timely_source;
use timely::dataflow::operators::vec::{Filter, Map};
use timely::dataflow::{Scope, StreamVec};
use timely::worker::Worker;
use xxhash_rust::xxh3::xxh3_64;

mod cluster;
mod committer;
pub mod correction;
pub mod documents;
mod error;
pub mod lifecycle;
pub mod meters;
mod ordered;
mod orders;
pub mod output;
pub mod progress;
pub mod recovery;
mod source;
pub mod state;
pub mod tables;
mod timestamps;
pub mod upsert;
mod watermark;

pub use cluster::ClusterOptions;
pub use error::EngineError;
pub use source::{InputTopic, Pace};

use cluster::{Agreement, Cluster};
use committer::CommitterOptions;
use correction::{Held, Report};
use lifecycle::{Lifecycle, PanicGuard};
use orders::Orders;
use output::{EncodeContext, Output, Outputs, Recovery};
use recovery::{Access, Plan, Rebuild};
use source::{Growth, SourceOptions};
use state::{LinkState, ListingState, RedirectState, Versioned};
use tables::Table;
use timestamps::Timestamps;

use crate::fail_point::FailPoint;
use crate::log::{Log, LogError, LogRecord, TopicPartition, Transaction, Transactional};

/// A map keyed by ids, which are digests and need no further hashing.
pub type IdMap<K, V> = HashMap<K, V, BuildHasherDefault<IdHasher>>;

/// Takes the low 64 bits of a 128-bit id.
#[derive(Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    }
    fn write_u128(&mut self, id: u128) {
        self.0 = id as u64;
    }
}

/// Fingerprints of what decides results; recorded with the progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprints {
    /// Of everything between listings and outputs. A change corrects the outputs at the next start.
    pub results: u64,
    /// Of the extraction. A change takes effect as records come again.
    pub extraction: u64,
}

/// Full topic names.
#[derive(Debug, Clone)]
pub struct TopicNames {
    prefix: String,
    outputs: BTreeMap<Output, Arc<str>>,
}

impl TopicNames {
    /// The names under `prefix`.
    pub fn new(prefix: &str) -> Self {
        let name = |output: Output| (output, Arc::from(format!("{prefix}{}", output.name())));
        Self { prefix: prefix.to_owned(), outputs: Output::ALL.into_iter().map(name).collect() }
    }

    /// The full name of an output topic.
    pub fn output(&self, output: Output) -> &str {
        self.outputs.get(&output).map_or("", |name| name)
    }

    /// The same, shared.
    pub fn shared(&self, output: Output) -> Arc<str> {
        self.outputs.get(&output).cloned().unwrap_or_else(|| output.name().into())
    }

    /// The full name of a topic given without the prefix.
    pub fn full(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

/// A topology: what happens between inputs and outputs.
pub trait Topology: Send + Sync + 'static {
    /// Fingerprints of its configuration and operators.
    fn fingerprints(&self) -> Fingerprints;
    /// Builds its dataflow on one worker.
    fn build<'s>(&self, inputs: Inputs<'s>) -> Outputs<'s>;
}

/// What a topology builds on.
pub struct Inputs<'s> {
    /// The raw records, each once.
    pub raw: VecCollection<'s, Epoch, RawRecord>,
    /// The watermark, at each epoch at which it moves, on worker 0.
    pub watermark: StreamVec<'s, Epoch, i64>,
    /// What the threads share; counters for the outputs.
    pub lifecycle: Arc<Lifecycle>,
    scope: Scope<'s, Epoch>,
    state: StreamVec<'s, Epoch, Arc<LogRecord>>,
    tables: StreamVec<'s, Epoch, LogRecord>,
    names: Arc<TopicNames>,
    encode: EncodeContext,
    rebuilding: bool,
}

impl<'s> Inputs<'s> {
    /// The scope of the dataflow.
    pub fn scope(&self) -> Scope<'s, Epoch> {
        self.scope
    }

    /// The outputs, empty yet.
    pub fn outputs(&self) -> Outputs<'s> {
        Outputs::new(self.scope, self.encode.clone())
    }

    /// A compacted input topic as a collection. `name` is without the prefix.
    pub fn table<V: ExchangeData + DeserializeOwned>(&self, name: &str) -> Table<'s, V> {
        tables::table(self.tables.clone(), self.names.full(name), self.encode.restored.0)
    }

    /// The epoch at which the listings stand that were read again from the raw topics; `None` where
    /// they are restored.
    pub fn rebuilt_at(&self) -> Option<Epoch> {
        self.rebuilding.then_some(self.encode.restored.0)
    }

    /// Of `stream`, what belongs to records that are read for the first time: facts about records
    /// that are read again have been written before.
    pub fn first_time<D: Clone + 'static>(&self, stream: StreamVec<'s, Epoch, D>) -> StreamVec<'s, Epoch, D> {
        use timely::dataflow::channels::pact::Pipeline;
        use timely::dataflow::operators::generic::operator::Operator;
        let restored_epoch = self.encode.restored.0;
        stream.unary(Pipeline, "FirstTime", move |_capability, _info| {
            move |input, out| {
                input.for_each(|capability, data| {
                    if *capability.time() > restored_epoch {
                        out.session(&capability).give_iterator(data.drain(..));
                    }
                });
            }
        })
    }

    /// Whether this binary and configuration left the state and the outputs as they are.
    pub fn trusted(&self) -> bool {
        self.encode.restored.1 == Recovery::Trust
    }

    /// The listings that were live; none in a rebuild.
    pub fn restored_listings(&self) -> StreamVec<'s, Epoch, Arc<ListingState>> {
        self.restored(Output::Listings, |record| Ok(parse_json(record)?.map(Arc::new)))
    }

    /// The event ids that listings carried, and the ids that were retired.
    pub fn restored_links(&self) -> StreamVec<'s, Epoch, Remembered> {
        let links = self.restored(Output::Links, |record| Ok(parse_json::<LinkState>(record)?.map(Into::into)));
        let redirects =
            self.restored(Output::Redirects, |record| Ok(parse_json::<RedirectState>(record)?.map(Into::into)));
        links.concat(redirects)
    }

    /// A collection of one value that never changes.
    pub fn constant<D: ExchangeData>(&self, value: D) -> VecCollection<'s, Epoch, D> {
        let epoch = self.encode.restored.0;
        let mut value = Some(value).filter(|_| self.scope.index() == 0);
        let stream = timely_source(self.scope, "Constant", move |capability, _info| {
            let mut capability = Some(capability);
            move |out| {
                if let Some(capability) = capability.take() {
                    let capability = capability.delayed(&epoch);
                    out.session(&capability).give_iterator(value.take().map(|value| (value, epoch, 1)).into_iter());
                }
            }
        });
        stream.as_collection()
    }

    /// Tells in `/metrics` how many of each kind a collection holds, as the gauge `name` with the
    /// label `kind`.
    pub fn gauge<D: Clone + 'static>(
        &self,
        name: &'static str,
        kinds: &'static [&'static str],
        collection: VecCollection<'s, Epoch, D>,
        kind: impl Fn(&D) -> &'static str + 'static,
    ) {
        kinds.iter().for_each(|kind| metrics::gauge!(name, "kind" => *kind).increment(0.0));
        collection.inspect(move |(data, _, diff)| {
            metrics::gauge!(name, "kind" => kind(data)).increment(*diff as f64);
        });
    }

    /// The rows of windows.
    pub fn restored_windows(&self) -> StreamVec<'s, Epoch, WindowRow> {
        self.restored(Output::Metrics, |record| Ok(parse_json::<Versioned<WindowRow>>(record)?.map(|row| row.value)))
    }

    fn restored<D: Clone + 'static>(
        &self,
        output: Output,
        parse: impl Fn(&LogRecord) -> Result<Option<D>, serde_json::Error> + 'static,
    ) -> StreamVec<'s, Epoch, D> {
        let topic = self.names.shared(output);
        let lifecycle = Arc::clone(&self.lifecycle);
        let latest = latest_of(self.state.clone().filter(move |record| record.topic == topic), parse);
        let topic = self.names.output(output).to_owned();
        let rebuilding = self.rebuilding;
        latest.flat_map(move |Latest { partition, offset, parsed, .. }| match parsed {
            Ok(parsed) => parsed,
            Err(error) => {
                match rebuilding {
                    true => tracing::warn!(topic, partition, offset, error, "left out of the rebuild"),
                    false => {
                        let reason = format!("the record at partition {partition}, offset {offset}: {error}");
                        lifecycle.fail(EngineError::State { topic: topic.clone(), reason });
                    }
                }
                None
            }
        })
    }
}

/// The last record of each key: compaction may not have run yet, and where a topic has gained
/// partitions a key may be in two of them. Records are parsed as they come, beside the reading of
/// those that follow, so that their bytes need not be kept.
fn latest_of<'s, D: Clone + 'static>(
    records: StreamVec<'s, Epoch, Arc<LogRecord>>,
    parse: impl Fn(&LogRecord) -> Result<Option<D>, serde_json::Error> + 'static,
) -> StreamVec<'s, Epoch, Latest<D>> {
    use timely::dataflow::channels::pact::Exchange;
    use timely::dataflow::operators::generic::operator::Operator;
    let by_key = Exchange::new(|record: &Arc<LogRecord>| xxh3_64(record.key.as_deref().unwrap_or_default()));
    records.unary_frontier(by_key, "Latest", move |_capability, _info| {
        let mut latest: BTreeMap<Epoch, Waiting<D>> = BTreeMap::new();
        move |(input, frontier), out| {
            input.for_each(|capability, data| {
                let waiting = latest.entry(*capability.time()).or_insert_with(|| Waiting {
                    capability: capability.retain(0),
                    records: foldhash::HashMap::default(),
                });
                data.drain(..).for_each(|record| waiting.take(&record, &parse));
            });
            while let Some(first) = latest.first_entry() {
                if frontier.frontier().less_equal(first.key()) {
                    break;
                }
                let waiting = first.remove();
                out.session(&waiting.capability).give_iterator(waiting.records.into_values());
            }
        }
    })
}

/// The last record of each key.
struct Waiting<D> {
    capability: timely::dataflow::operators::Capability<Epoch>,
    /// Keys are ids of 32 digits: in the table itself they take no allocation each.
    records: foldhash::HashMap<Option<SmallVec<[u8; 32]>>, Latest<D>>,
}

/// The last record of a key, as far as is known, and what it says or what is wrong with it.
#[derive(Clone)]
struct Latest<D> {
    partition: i32,
    offset: i64,
    timestamp_ms: i64,
    /// The epoch that every output carries.
    epoch: u64,
    parsed: Result<Option<D>, String>,
}

impl<D> Latest<D> {
    fn of(record: &LogRecord, parse: impl Fn(&LogRecord) -> Result<Option<D>, serde_json::Error>) -> Self {
        Self {
            partition: record.partition,
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            epoch: correction::epoch_of(record).unwrap_or(0),
            parsed: parse(record).map_err(|error| error.to_string()),
        }
    }

    /// Whether this was written after `known`, of the same key: within a partition offsets tell,
    /// across partitions epochs.
    fn follows(&self, known: &Self) -> bool {
        match self.partition == known.partition {
            true => self.offset > known.offset,
            false => (self.epoch, self.timestamp_ms) > (known.epoch, known.timestamp_ms),
        }
    }
}

impl<D> Waiting<D> {
    fn take(&mut self, record: &LogRecord, parse: impl Fn(&LogRecord) -> Result<Option<D>, serde_json::Error>) {
        let latest = Latest::of(record, parse);
        match self.records.entry(record.key.as_deref().map(SmallVec::from_slice)) {
            Entry::Occupied(mut known) if latest.follows(known.get()) => {
                known.insert(latest);
            }
            Entry::Occupied(_) => {}
            Entry::Vacant(vacant) => {
                vacant.insert(latest);
            }
        }
    }
}

fn parse_json<D: DeserializeOwned>(record: &LogRecord) -> Result<Option<D>, serde_json::Error> {
    let parse = |value| match std::str::from_utf8(value) {
        // Checked once as a whole: cheaper than text by text.
        Ok(text) => serde_json::from_str(text),
        Err(_) => serde_json::from_slice(value),
    };
    record.value.as_deref().map(parse).transpose()
}

/// Settings of an engine.
pub struct EngineOptions {
    /// Name of the topology: its transactional id.
    pub name: String,
    /// Topic names.
    pub names: TopicNames,
    /// Raw input topics by full name.
    pub inputs: BTreeMap<Arc<str>, InputTopic>,
    /// Table input topics, without the prefix.
    pub tables: Vec<String>,
    /// Worker threads of this process.
    pub workers: usize,
    /// Epochs and limits; bytes are for all workers together.
    pub pace: Pace,
    /// Raw partitions without a record for this long have no part in the watermark.
    pub idle_after: Duration,
    /// How far timestamps may lie ahead of the clock; those that lie further count as the time of
    /// their arrival. `None`: any distance.
    pub max_timestamp_lead: Option<Duration>,
    /// How often raw topics are asked for partitions that have appeared.
    pub look_for_partitions: Duration,
    /// Largest record of each output topic, in bytes.
    pub limits: BTreeMap<Output, usize>,
    /// Corrections in one transaction, at most.
    pub correction_batch: usize,
    /// Corrections that change or remove more than this share of the events held need consent;
    /// `None`: it was given.
    pub correction_guard: Option<f64>,
    /// Whether time and records of each stage are counted.
    pub stage_metrics: bool,
    /// Compute everything anew from the raw topics, as far as they reach back.
    pub rebuild: bool,
    /// Stop when the end that every input had at the start is reached and committed.
    pub exit_when_idle: bool,
    /// The other processes of the topology; `None` where this is the only one.
    pub cluster: Option<ClusterOptions>,
    /// Serialise what the workers of one process exchange, as between processes. For tests.
    pub serialise_exchange: bool,
    /// Stop when the corrections are known; set by [`preview`].
    pub preview: bool,
}

impl EngineOptions {
    /// Worker threads of all processes.
    fn all_workers(&self) -> usize {
        self.workers.max(1) * self.cluster.as_ref().map_or(1, |cluster| cluster.addresses.len())
    }

    /// What processes have to agree on, since each takes for granted that the others do the same.
    fn agreement(&self, log: &dyn Log, fingerprints: Fingerprints) -> Agreement {
        let processes = self.cluster.as_ref().map_or(1, |cluster| cluster.addresses.len());
        let inputs: Vec<String> = self.inputs.iter().map(|(topic, input)| format!("{topic} {input:?}")).collect();
        let terms = [
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("binary", own_binary()),
            ("name", self.name.clone()),
            ("prefix", self.names.prefix.clone()),
            ("log", log.describe()),
            ("inputs", inputs.join(", ")),
            ("tables", self.tables.join(", ")),
            ("workers", self.workers.to_string()),
            ("processes", processes.to_string()),
            ("configuration of results", format!("{:016x}", fingerprints.results)),
            ("configuration of extraction", format!("{:016x}", fingerprints.extraction)),
        ];
        terms.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// A digest of the program that runs: another build may lay out what is exchanged differently.
fn own_binary() -> String {
    let bytes = std::env::current_exe().and_then(std::fs::read);
    bytes.map_or_else(|_| "unknown".to_owned(), |bytes| format!("{:016x}", xxh3_64(&bytes)))
}

/// A running engine.
pub struct Engine {
    lifecycle: Arc<Lifecycle>,
    committer: Option<JoinHandle<()>>,
    workers: Option<timely::communication::WorkerGuards<()>>,
    cluster: Option<Cluster>,
    /// What recovery found, for people; nothing where another process leads.
    pub recovery: RecoverySummary,
    /// How many raw records were waiting at the start; more than there are where offsets have gaps.
    pub backlog: u64,
}

/// What recovery found.
#[derive(Debug, Clone, Default)]
pub struct RecoverySummary {
    /// Whether there was a progress record.
    pub resumed: bool,
    /// Why the outputs were compared; `None` where they were trusted.
    pub compared: Option<&'static str>,
    /// Rows that the output tables held.
    pub held: usize,
    /// What else people should know.
    pub notes: Vec<String>,
    /// Whether everything is computed anew from the raw topics.
    pub rebuild: Option<Rebuild>,
    /// How long fencing and planning took.
    pub took: Duration,
}

/// Joins the other processes of the topology, if there are any; fences other instances and recovers,
/// or waits until process 0 has done so; and starts the workers.
///
/// # Errors
/// When the log cannot be reached, or what it holds cannot be used; when a process is missing or
/// does not fit.
pub fn start(log: Arc<dyn Log>, options: EngineOptions, topology: Arc<dyn Topology>) -> Result<Engine, EngineError> {
    let fingerprints = topology.fingerprints();
    let lifecycle = Arc::new(Lifecycle::default());
    let mut cluster = match options.cluster.clone() {
        Some(cluster) => Some(Cluster::join(cluster, &options.agreement(&*log, fingerprints), &lifecycle)?),
        None => None,
    };
    let leads = options.cluster.as_ref().is_none_or(|cluster| cluster.process == 0);
    let run = Run { log, options: Arc::new(options), lifecycle: Arc::clone(&lifecycle), fingerprints };
    let started = match leads {
        true => run.lead(cluster.as_mut(), topology),
        false => run.follow(cluster.as_mut(), topology),
    };
    match started {
        Ok(started) => Ok(Engine::of(started, cluster, &lifecycle)),
        Err(error) => {
            let Some(cluster) = cluster else { return Err(error) };
            if !lifecycle.failed() {
                lifecycle.fail(error);
            }
            cluster.finish();
            Err(lifecycle.take_failure().unwrap_or(EngineError::Interrupted))
        }
    }
}

/// What [`start`] has started.
struct Started {
    committer: Option<JoinHandle<()>>,
    workers: timely::communication::WorkerGuards<()>,
    recovery: RecoverySummary,
    backlog: u64,
}

/// What a start would correct.
#[derive(Debug, Clone)]
pub struct Preview {
    /// What recovery found.
    pub recovery: RecoverySummary,
    /// The corrections; `None` where the outputs would be trusted.
    pub report: Option<Report>,
    /// Whether a running instance has committed meanwhile, so that single rows may be told wrongly.
    pub moved: bool,
}

/// Does what [`start`] does up to the corrections, without writing anything, and without fencing:
/// it may run beside a running instance.
///
/// # Errors
/// As [`start`].
pub fn preview(log: Arc<dyn Log>, options: EngineOptions, topology: Arc<dyn Topology>) -> Result<Preview, EngineError> {
    let begun = Instant::now();
    let plan = recovery::plan(&*log, &options, topology.fingerprints(), Access::Beside)?;
    let recovery = RecoverySummary::of(&plan, begun);
    if plan.recovery == Recovery::Trust {
        return Ok(Preview { recovery, report: None, moved: false });
    }
    let (names, epoch, fingerprints) = (options.names.clone(), plan.restored_epoch, topology.fingerprints());
    let options =
        EngineOptions { correction_guard: None, exit_when_idle: false, cluster: None, preview: true, ..options };
    let lifecycle = Arc::new(Lifecycle::default());
    let run =
        Run { log: Arc::clone(&log), options: Arc::new(options), lifecycle: Arc::clone(&lifecycle), fingerprints };
    let started = run.carry_out(plan, Box::new(NoWriter), None, topology, begun)?;
    Engine::of(started, None, &lifecycle).wait()?;
    let moved = recovery.rebuild.is_none() && recovery::last_epoch(&*log, &names)? != Some(epoch);
    Ok(Preview { recovery, report: lifecycle.corrections(), moved })
}

/// Takes everything and writes nothing.
struct NoWriter;

impl Transactional for NoWriter {
    fn commit(&mut self, _transaction: &Transaction) -> Result<(), LogError> {
        Ok(())
    }

    fn check(&mut self, _positions: Vec<(TopicPartition, i64)>) -> Result<(), LogError> {
        Ok(())
    }
}

impl RecoverySummary {
    fn of(plan: &Plan, begun: Instant) -> Self {
        Self {
            resumed: plan.progress.is_some(),
            compared: plan.reason,
            held: plan.held.len(),
            notes: plan.notes.clone(),
            rebuild: plan.rebuild.clone(),
            took: begun.elapsed(),
        }
    }
}

impl Engine {
    fn of(started: Started, cluster: Option<Cluster>, lifecycle: &Arc<Lifecycle>) -> Self {
        let Started { committer, workers, recovery, backlog } = started;
        Self { lifecycle: Arc::clone(lifecycle), committer, workers: Some(workers), cluster, recovery, backlog }
    }

    /// What the engine's threads share.
    pub fn lifecycle(&self) -> &Arc<Lifecycle> {
        &self.lifecycle
    }

    /// Whether every thread has ended.
    pub fn ended(&self) -> bool {
        let workers = self.workers.iter().flat_map(|workers| workers.guards());
        self.committer.as_ref().is_none_or(JoinHandle::is_finished) && workers.into_iter().all(JoinHandle::is_finished)
    }

    /// Whether everything is done: all that was read is committed, or every thread has ended. Workers
    /// may still be freeing what they held, which takes seconds where they held much.
    pub fn settled(&self) -> bool {
        let committed = self.committer.as_ref().is_some_and(JoinHandle::is_finished) && !self.lifecycle.failed();
        // Other processes count on the workers here to end in order.
        (committed && self.cluster.is_none()) || self.ended()
    }

    /// Waits for the end like [`wait`](Self::wait), but where everything is [settled](Self::settled) not
    /// until the workers have freed what they held: for a process that ends itself.
    ///
    /// # Errors
    /// What made the engine fail.
    pub fn leave(mut self) -> Result<(), EngineError> {
        if self.settled() && !self.ended() {
            // Dropping it would wait.
            std::mem::forget(self.workers.take());
        }
        self.wait()
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// What made the engine fail.
    pub fn wait(mut self) -> Result<(), EngineError> {
        let mut panicked = None;
        for result in self.workers.take().into_iter().flat_map(timely::communication::WorkerGuards::join) {
            panicked = panicked.or(result.err());
        }
        if self.committer.take().is_some_and(|committer| committer.join().is_err()) {
            panicked.get_or_insert_with(|| "the committer panicked".to_owned());
        }
        if let Some(cluster) = self.cluster.take() {
            cluster.finish();
        }
        match (self.lifecycle.take_failure(), panicked) {
            (Some(failure), _) => Err(failure),
            (None, Some(reason)) => Err(EngineError::Panic { reason }),
            (None, None) => Ok(()),
        }
    }
}

impl Drop for Engine {
    /// An engine that nobody waits for stops in order.
    fn drop(&mut self) {
        self.lifecycle.stop();
    }
}

struct Run {
    log: Arc<dyn Log>,
    options: Arc<EngineOptions>,
    lifecycle: Arc<Lifecycle>,
    fingerprints: Fingerprints,
}

impl Run {
    /// Fences, recovers, commits: the work of process 0.
    fn lead(self, cluster: Option<&mut Cluster>, topology: Arc<dyn Topology>) -> Result<Started, EngineError> {
        let begun = Instant::now();
        FailPoint::RecoveryStart.reach();
        let writer = self.log.transactional(&self.options.name, &self.options.name)?;
        FailPoint::RecoveryFenced.reach();
        let plan = recovery::plan(&*self.log, &self.options, self.fingerprints, Access::Alone)?;
        FailPoint::RecoveryPlanned.reach();
        self.carry_out(plan, writer, cluster, topology, begun)
    }

    fn carry_out(
        self,
        plan: Plan,
        writer: Box<dyn Transactional>,
        cluster: Option<&mut Cluster>,
        topology: Arc<dyn Topology>,
        begun: Instant,
    ) -> Result<Started, EngineError> {
        let goals = input_ends(&*self.log, &self.options)?;
        let recovery = RecoverySummary::of(&plan, begun);
        let backlog = backlog(&*self.log, &self.options, plan.progress.as_ref())?;
        let workers = self.options.all_workers();
        let orders = Orders::of(&*self.log, &self.options, &plan, &goals, workers)?;
        let held = (plan.recovery == Recovery::Compare).then(|| Arc::new(plan.held));
        let (sealed, receiver) = unbounded();
        let committer = CommitterOptions {
            name: self.options.name.clone(),
            log: Arc::clone(&self.log),
            names: Arc::new(self.options.names.clone()),
            fingerprints: self.fingerprints,
            progress: plan.progress,
            held: held.clone(),
            rebuilding: orders.rebuilding,
            correction_batch: self.options.correction_batch,
            correction_guard: self.options.correction_guard,
            preview: self.options.preview,
            workers,
            published: input_topics(&self.options),
            goals: self.options.exit_when_idle.then_some(goals),
        };
        let committer = committer::start(committer, writer, receiver, Arc::clone(&self.lifecycle))?;
        if let Some(cluster) = &cluster {
            cluster.give(&orders);
        }
        let workers = self.work(cluster, (orders, held), topology, sealed)?;
        Ok(Started { committer: Some(committer), workers, recovery, backlog })
    }

    /// Works as process 0 says.
    fn follow(self, cluster: Option<&mut Cluster>, topology: Arc<dyn Topology>) -> Result<Started, EngineError> {
        let orders = cluster.as_ref().and_then(|cluster| cluster.orders()).ok_or(EngineError::Interrupted)?;
        // Everything is sealed on worker 0, which is elsewhere.
        let (sealed, _) = unbounded();
        let workers = self.work(cluster, (orders, None), topology, sealed)?;
        Ok(Started { committer: None, workers, recovery: RecoverySummary::default(), backlog: 0 })
    }

    fn work(
        self,
        cluster: Option<&mut Cluster>,
        (orders, held): (Orders, Option<Arc<Held>>),
        topology: Arc<dyn Topology>,
        sealed: crossbeam_channel::Sender<committer::Sealed>,
    ) -> Result<timely::communication::WorkerGuards<()>, EngineError> {
        let threads = self.options.workers.max(1);
        let thread = |reason| EngineError::Thread { reason };
        let (builders, others) = match cluster {
            Some(cluster) => (cluster.allocators(threads)?, Box::new(()) as Box<dyn Any + Send>),
            None if self.options.serialise_exchange => {
                timely::CommunicationConfig::ProcessBinary(threads).try_build().map_err(thread)?
            }
            None => timely::CommunicationConfig::Process(threads).try_build().map_err(thread)?,
        };
        let setup = WorkerSetup {
            logs: Mutex::new(vec![self.log; threads]),
            inputs: Arc::new(self.options.inputs.clone()),
            encode: EncodeContext {
                restored: (orders.restored_epoch, orders.recovery),
                limits: Arc::new(self.options.limits.clone()),
                held,
            },
            names: Arc::new(self.options.names.clone()),
            options: self.options,
            lifecycle: self.lifecycle,
            orders,
            topology,
            sealed,
        };
        timely::execute::execute_from(builders, others, WorkerConfig::default(), move |worker| setup.run(worker))
            .map_err(thread)
    }
}

struct WorkerSetup {
    /// One for each thread: the log closes when nobody has it any more, while the workers, which share
    /// this, may still be freeing what they held.
    logs: Mutex<Vec<Arc<dyn Log>>>,
    inputs: Arc<BTreeMap<Arc<str>, InputTopic>>,
    encode: EncodeContext,
    options: Arc<EngineOptions>,
    lifecycle: Arc<Lifecycle>,
    names: Arc<TopicNames>,
    orders: Orders,
    topology: Arc<dyn Topology>,
    sealed: crossbeam_channel::Sender<committer::Sealed>,
}

impl WorkerSetup {
    fn run(&self, worker: &mut Worker) {
        let _guard = PanicGuard::new("a worker", &self.lifecycle);
        if self.options.stage_metrics {
            self.lifecycle.stages.watch(worker);
        }
        let Some(log) = self.logs.lock().unwrap_or_else(PoisonError::into_inner).pop() else {
            return self
                .lifecycle
                .fail(EngineError::Thread { reason: "there are more workers than asked for".to_owned() });
        };
        worker.dataflow_named("Topology", |scope| self.build(scope, log));
        while worker.has_dataflows() && !self.lifecycle.failed() {
            worker.step_or_park(Some(lifecycle::PARK));
        }
        for dataflow in worker.installed_dataflows() {
            worker.drop_dataflow(dataflow);
        }
    }

    fn build(&self, scope: Scope<'_, Epoch>, log: Arc<dyn Log>) {
        let (worker, workers) = (scope.index(), scope.peers());
        let restored_epoch = self.orders.restored_epoch;
        let timestamps = Timestamps::new(self.options.max_timestamp_lead);
        let source = SourceOptions {
            share: self.orders.shares.get(worker).cloned().unwrap_or_default(),
            inputs: Arc::clone(&self.inputs),
            restored_epoch,
            rebuilding: self.orders.rebuilding,
            cut: self.orders.cut,
            pace: Pace { max_bytes: self.options.pace.max_bytes / workers, ..self.options.pace },
            timestamps,
            growth: Growth {
                dealt: self.orders.dealt.clone(),
                worker,
                workers,
                every: self.options.look_for_partitions,
            },
        };
        let streams = source::source(scope, log, source, Arc::clone(&self.lifecycle));
        let idle_after_ms = self.options.idle_after.as_millis() as u64;
        let restored = (restored_epoch, self.orders.watermark.map(|mark| timestamps.believed(mark, restored_epoch)));
        let behind = self.orders.behind();
        let watermark = watermark::watermark(streams.positions.clone(), restored, idle_after_ms, behind);
        let inputs = Inputs {
            raw: streams.raw.as_collection(),
            watermark: watermark.clone(),
            lifecycle: Arc::clone(&self.lifecycle),
            scope,
            state: streams.state,
            tables: streams.tables,
            names: Arc::clone(&self.names),
            encode: self.encode.clone(),
            rebuilding: self.orders.rebuilding,
        };
        let records = self.topology.build(inputs).into_stream();
        self.lifecycle.add_held(headwater_operators::meter::collect());
        let sealed = self.sealed.clone();
        committer::commit(scope, records, streams.positions, watermark, streams.restored, restored_epoch, sealed);
    }
}

fn partitions(log: &dyn Log, topic: &str) -> Result<Vec<(TopicPartition, i64)>, EngineError> {
    let ends = log.watermarks(topic)?.unwrap_or_default();
    Ok((0..).zip(ends).map(|(partition, ends)| (TopicPartition::new(topic, partition), ends.high)).collect())
}

fn input_ends(log: &dyn Log, options: &EngineOptions) -> Result<Vec<(TopicPartition, i64)>, EngineError> {
    let mut ends = Vec::new();
    for topic in options.inputs.keys() {
        ends.extend(partitions(log, topic)?);
    }
    for table in &options.tables {
        ends.extend(partitions(log, &options.names.full(table))?);
    }
    Ok(ends)
}

fn backlog(log: &dyn Log, options: &EngineOptions, progress: Option<&progress::Progress>) -> Result<u64, EngineError> {
    let known = progress.map(|progress| progress::Positions::from(&*progress.positions)).unwrap_or_default();
    let mut backlog = 0;
    for topic in options.inputs.keys() {
        for (partition, ends) in (0..).zip(log.watermarks(topic)?.unwrap_or_default()) {
            let next = known.next(&TopicPartition::new(Arc::clone(topic), partition)).unwrap_or(0).max(ends.low);
            backlog += u64::try_from(ends.high - next).unwrap_or(0);
        }
    }
    Ok(backlog)
}

fn input_topics(options: &EngineOptions) -> BTreeSet<String> {
    let tables = options.tables.iter().map(|table| options.names.full(table));
    options.inputs.keys().map(|topic| topic.to_string()).chain(tables).collect()
}

/// Dead letters of several origins, as one stream.
pub fn all_dead_letters<'s>(
    scope: Scope<'s, Epoch>,
    streams: impl IntoIterator<Item = StreamVec<'s, Epoch, DeadLetter>>,
) -> StreamVec<'s, Epoch, DeadLetter> {
    use timely::dataflow::operators::Concatenate;
    scope.concatenate(streams)
}
