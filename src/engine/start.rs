//! The start of an engine: fencing, recovery, orders, threads. And the preview of a start.

use std::any::Any;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crossbeam_channel::{Sender, unbounded};
use timely::WorkerConfig;

use super::cluster::Cluster;
use super::committer::{self, CommitterOptions};
use super::correction::Report;
use super::error::EngineError;
use super::lifecycle::Lifecycle;
use super::members::Members;
use super::options::EngineOptions;
use super::orders::Orders;
use super::progress::Positions;
use super::recovery::{self, Access, Plan, partitions};
use super::running::{Engine, RecoverySummary, Started};
use super::seal::Sealed;
use super::worker::WorkerSetup;
use crate::dataflow::{Context, Damage, HeldRows, Recovery};
use crate::fail_point::FailPoint;
use crate::log::{Log, LogError, TopicPartition, Transaction, Transactional};
use crate::program::{Fingerprints, Program};

/// Joins the other processes of the topology, if there are any; fences other instances and recovers,
/// or waits until process 0 has done so; and starts the workers.
///
/// # Errors
/// When the log cannot be reached, or what it holds cannot be used; when a process is missing or
/// does not fit.
pub fn start(log: Arc<dyn Log>, options: EngineOptions, program: Program) -> Result<Engine, EngineError> {
    let fingerprints = program.fingerprints;
    let lifecycle = Arc::new(Lifecycle::new(Arc::clone(&options.catalog)));
    let mut cluster = match options.cluster.clone() {
        Some(cluster) => Some(Cluster::join(cluster, &options.agreement(&*log, fingerprints), &lifecycle)?),
        None => None,
    };
    let leads = options.cluster.as_ref().is_none_or(|cluster| cluster.process == 0);
    let run = Run { log, options: Arc::new(options), lifecycle: Arc::clone(&lifecycle), fingerprints };
    let started = match leads {
        true => run.lead(cluster.as_mut(), program),
        false => run.follow(cluster.as_mut(), program),
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
pub fn preview(log: Arc<dyn Log>, options: EngineOptions, program: Program) -> Result<Preview, EngineError> {
    let begun = Instant::now();
    let plan = recovery::plan(&*log, &options, program.fingerprints, Access::Beside)?;
    let mut recovery = RecoverySummary::of(&plan, begun);
    if plan.recovery == Recovery::Trust {
        return Ok(Preview { recovery, report: None, moved: false });
    }
    let (names, epoch, fingerprints) = (Arc::clone(&options.names), plan.restored_epoch, program.fingerprints);
    let options =
        EngineOptions { correction_guard: None, exit_when_idle: false, cluster: None, preview: true, ..options };
    let lifecycle = Arc::new(Lifecycle::new(Arc::clone(&options.catalog)));
    let run =
        Run { log: Arc::clone(&log), options: Arc::new(options), lifecycle: Arc::clone(&lifecycle), fingerprints };
    let started = run.carry_out(plan, Box::new(NoWriter), None, program, begun)?;
    Engine::of(started, None, &lifecycle).wait()?;
    recovery.notes.extend(lifecycle.notes());
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

struct Run {
    log: Arc<dyn Log>,
    options: Arc<EngineOptions>,
    lifecycle: Arc<Lifecycle>,
    fingerprints: Fingerprints,
}

impl Run {
    /// Fences, recovers, commits: the work of process 0.
    fn lead(self, cluster: Option<&mut Cluster>, program: Program) -> Result<Started, EngineError> {
        let begun = Instant::now();
        FailPoint::RecoveryStart.reach();
        let writer = self.log.transactional(&self.options.name, &self.options.name)?;
        FailPoint::RecoveryFenced.reach();
        let plan = recovery::plan(&*self.log, &self.options, self.fingerprints, Access::Alone)?;
        FailPoint::RecoveryPlanned.reach();
        self.carry_out(plan, writer, cluster, program, begun)
    }

    fn carry_out(
        self,
        plan: Plan,
        writer: Box<dyn Transactional>,
        cluster: Option<&mut Cluster>,
        program: Program,
        begun: Instant,
    ) -> Result<Started, EngineError> {
        find_foreign_tables(&*self.log, &self.options)?;
        let goals = input_ends(&*self.log, &self.options)?;
        let recovery = RecoverySummary::of(&plan, begun);
        let positions = plan.positions();
        let backlog = backlog(&*self.log, &self.options, &positions)?;
        let workers = self.options.all_workers();
        let orders = Orders::of(&*self.log, &self.options, &plan, &goals, workers)?;
        let held = (plan.recovery == Recovery::Compare).then(|| Arc::new(plan.held));
        let (sealed, receiver) = unbounded();
        let committer = CommitterOptions {
            name: self.options.name.clone(),
            log: Arc::clone(&self.log),
            catalog: Arc::clone(&self.options.catalog),
            names: Arc::clone(&self.options.names),
            members: Members::new(Arc::clone(&self.options.names), Arc::clone(&self.options.member_spec)),
            fingerprints: self.fingerprints,
            progress: plan.progress,
            positions,
            held: held.clone(),
            rebuilding: orders.rebuilding,
            correction_batch: self.options.correction_batch,
            correction_guard: self.options.correction_guard,
            preview: self.options.preview,
            workers,
            published: self.options.input_topics(),
            goals: self.options.exit_when_idle.then_some(goals),
        };
        let committer = committer::start(committer, writer, receiver, Arc::clone(&self.lifecycle))?;
        if let Some(cluster) = &cluster {
            cluster.give(&orders);
        }
        let workers = self.work(cluster, (orders, held), program, sealed)?;
        Ok(Started { committer: Some(committer), workers, recovery, backlog })
    }

    /// Works as process 0 says.
    fn follow(self, cluster: Option<&mut Cluster>, program: Program) -> Result<Started, EngineError> {
        let orders = cluster.as_ref().and_then(|cluster| cluster.orders()).ok_or(EngineError::Interrupted)?;
        // Everything is sealed on worker 0, which is elsewhere.
        let (sealed, _) = unbounded();
        let workers = self.work(cluster, (orders, None), program, sealed)?;
        Ok(Started { committer: None, workers, recovery: RecoverySummary::default(), backlog: 0 })
    }

    fn work(
        self,
        cluster: Option<&mut Cluster>,
        (orders, held): (Orders, Option<Arc<HeldRows>>),
        program: Program,
        sealed: Sender<Sealed>,
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
        let context = self.context(&orders, held);
        let setup = WorkerSetup {
            logs: Mutex::new(vec![self.log; threads]),
            inputs: Arc::new(self.options.inputs.clone()),
            context,
            options: self.options,
            lifecycle: self.lifecycle,
            orders,
            program,
            sealed,
        };
        timely::execute::execute_from(builders, others, WorkerConfig::default(), move |worker| setup.run(worker))
            .map_err(thread)
    }

    fn context(&self, orders: &Orders, held: Option<Arc<HeldRows>>) -> Context {
        let (lifecycle, told) = (Arc::clone(&self.lifecycle), Arc::clone(&self.lifecycle));
        let preview = self.options.preview;
        Context {
            catalog: Arc::clone(&self.options.catalog),
            names: Arc::clone(&self.options.names),
            restored_epoch: orders.restored_epoch,
            recovery: orders.recovery,
            rebuilding: orders.rebuilding,
            limits: Arc::clone(&self.options.limits),
            held,
            gauges: self.lifecycle.gauges.clone(),
            on_damage: Arc::new(move |Damage { topic, reason }| lifecycle.fail(EngineError::State { topic, reason })),
            on_note: Arc::new(move |note| {
                // A preview prints what it has found.
                if !preview {
                    tracing::warn!("{note}");
                }
                told.note(note);
            }),
        }
    }
}

/// Topics of other topologies are not created here: with another one's settings they would be wrong.
fn find_foreign_tables(log: &dyn Log, options: &EngineOptions) -> Result<(), EngineError> {
    for table in options.catalog.tables().iter().filter(|table| table.foreign) {
        let topic = table.full_name(options.names.prefix());
        if log.watermarks(&topic)?.is_none() {
            return Err(EngineError::MissingTable { topic });
        }
    }
    Ok(())
}

fn input_ends(log: &dyn Log, options: &EngineOptions) -> Result<Vec<(TopicPartition, i64)>, EngineError> {
    let mut ends = Vec::new();
    for topic in options.inputs.keys() {
        ends.extend(partitions(log, topic)?);
    }
    for table in options.table_topics() {
        ends.extend(partitions(log, &table)?);
    }
    Ok(ends)
}

fn backlog(log: &dyn Log, options: &EngineOptions, known: &Positions) -> Result<u64, EngineError> {
    let mut backlog = 0;
    for topic in options.inputs.keys() {
        for (partition, ends) in (0..).zip(log.watermarks(topic)?.unwrap_or_default()) {
            let next = known.next(&TopicPartition::new(Arc::clone(topic), partition)).unwrap_or(0).max(ends.low);
            backlog += u64::try_from(ends.high - next).unwrap_or(0);
        }
    }
    Ok(backlog)
}
