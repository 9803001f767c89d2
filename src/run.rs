//! Running a topology: from the command line to the summary.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::RecvTimeoutError;

use crate::admin::{AdminServer, Phase, Readiness};
use crate::cli::{TopologyArgs, fail, outlive_the_terminal, stop_on_signals};
use crate::config::{Config, ConfigErrors, Invalid, Lifetime, Places, Runtime, load, topic};
use crate::console::{Console, ConsoleOptions, config_flag};
use crate::dataflow::TopicNames;
use crate::engine::correction::Report;
use crate::engine::lifecycle::Lifecycle;
use crate::engine::{Engine, EngineError, EngineOptions, InputTopic, Pace, Preview, RecoverySummary, preview, start};
use crate::error::{Domain, Fault};
use crate::http::HttpServer;
use crate::log::{Log, TopicPartition};
use crate::monitor::{Monitor, Watched};
use crate::program::Program;
use crate::schema::{Catalog, Schema};
use crate::takeover;
use crate::telemetry::Metrics;
use crate::tools::open_log;
use crate::topology::{Beside, Companion, Topology};
use crate::view::{OpenStore, View, ViewError, ViewHandle, ViewOptions, ViewSpec};
use crate::words::grouped;

type Outcome<T> = Result<T, Box<dyn Fault>>;

/// How often the console is refreshed and signals are looked at.
const TICK: Duration = Duration::from_millis(100);

/// How long a start that is asked to stop may take to end by itself.
const FAREWELL: Duration = Duration::from_secs(1);

/// How long a view is waited for before something is said.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs the topology `T`, or says what a start would correct; errors are printed.
pub fn run_topology<T: Topology>(args: &TopologyArgs) -> ExitCode {
    let outcome = if args.plan { plan::<T>(args) } else { run::<T>(args) };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(error.as_ref()),
    }
}

fn run<T: Topology>(args: &TopologyArgs) -> Outcome<()> {
    args.config.start_logging("warn")?;
    let loaded = load::<T::Config>(&args.sources())?;
    let (config, runtime) = (&loaded.config, &loaded.config.runtime);
    let log = open_log(runtime)?;
    // Before signals are caught: Ctrl-C is an answer too.
    if runtime.cluster.leads() && !args.yes {
        takeover::ask(&*log, &runtime.name, &runtime.full_name(topic::PROGRESS))?;
    }
    let stop = stop_on_signals()?;
    outlive_the_terminal()?;
    let readiness = Arc::new(Readiness::default());
    let admin_address = runtime.admin.address();
    let metrics = admin_address.map(|_| Metrics::install()).transpose()?;
    let admin = match admin_address.zip(metrics.clone()) {
        Some((address, metrics)) => Some(AdminServer::start(address, Arc::clone(&readiness), metrics)?),
        None => None,
    };
    let declared = declared::<T>(config, &loaded.places)?;
    let cluster = runtime.cluster.options(&stop);
    let consent = args.yes;
    let options = EngineOptions {
        cluster,
        rebuild: args.rebuild,
        skip_gaps: args.skip_gaps,
        ..engine_options(runtime, &declared.catalog, args.exit_when_idle, consent)
    };
    let topics = if runtime.cluster.leads() { runtime.topic_specs() } else { Vec::new() };
    let starting = {
        let log = Arc::clone(&log);
        move || {
            if !topics.is_empty() {
                log.ensure_topics(&topics)?;
            }
            start(log, options, declared.program)
        }
    };
    let Some(engine) = unless_stopped(&stop, starting)? else { return Ok(()) };
    engine.lifecycle().describe();
    readiness.set(Phase::Recovering { reason: started(&engine.recovery) });
    let views = Arc::new(T::views());
    let session = Session::<T> { config, args, log: &log, stop: &stop, readiness: &readiness, metrics, views };
    session.greet(&engine, admin.as_ref());
    let outcome = if runtime.cluster.leads() { session.follow(engine) } else { session.assist(engine) };
    drop(admin);
    outcome
}

/// What `start` gives; `None` where a signal asks for the end first. The start may wait for the log for
/// long, so it is then left behind on its thread: it has committed nothing that the next start would not
/// go on from, as after a kill.
fn unless_stopped<E: Send + 'static>(
    stop: &AtomicBool,
    start: impl FnOnce() -> Result<E, EngineError> + Send + 'static,
) -> Result<Option<E>, EngineError> {
    let (sender, receiver) = crossbeam_channel::bounded(1);
    let work = move || {
        // Nobody receives it after a stop.
        let _ = sender.send(start());
    };
    let thread = std::thread::Builder::new().name("start".to_owned()).spawn(work);
    thread.map_err(|error| EngineError::Thread { reason: error.to_string() })?;
    let mut asked = None;
    loop {
        match receiver.recv_timeout(TICK) {
            Ok(Err(EngineError::Interrupted)) => return Ok(None),
            Ok(started) => return started.map(Some),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(EngineError::Panic { reason: "the start panicked".to_owned() });
            }
            Err(RecvTimeoutError::Timeout) if !stop.load(Ordering::Relaxed) => {}
            // Other processes are told, if that goes quickly.
            Err(RecvTimeoutError::Timeout) if asked.get_or_insert_with(Instant::now).elapsed() < FAREWELL => {}
            Err(RecvTimeoutError::Timeout) => {
                tracing::info!("stopped before the engine was started");
                return Ok(None);
            }
        }
    }
}

/// A declared topology.
pub struct Declared {
    /// Its topics.
    pub catalog: Arc<Catalog>,
    /// What the engine runs.
    pub program: Program,
}

/// Declares the topology that `config` describes.
///
/// # Errors
/// Everything that is wrong with its sections, and names of topics that are declared twice.
pub fn declare<T: Topology>(config: &Config<T::Config>) -> Result<Declared, Vec<Invalid>> {
    let mut schema = Schema::default();
    let topology = T::declare(config, &mut schema)?;
    let catalog = schema.freeze()?;
    let program = Program::new(topology.fingerprints(), move |flow| topology.build(flow));
    Ok(Declared { catalog, program })
}

fn declared<T: Topology>(config: &Config<T::Config>, places: &Places) -> Outcome<Declared> {
    let problems = |invalid: Vec<Invalid>| ConfigErrors(invalid.into_iter().map(|one| places.problem(one)).collect());
    Ok(declare::<T>(config).map_err(problems)?)
}

/// Says what a start would correct.
fn plan<T: Topology>(args: &TopologyArgs) -> Outcome<()> {
    args.config.start_logging("warn")?;
    let loaded = load::<T::Config>(&args.sources())?;
    let runtime = &loaded.config.runtime;
    let log = open_log(runtime)?;
    let declared = declared::<T>(&loaded.config, &loaded.places)?;
    let mut options = engine_options(runtime, &declared.catalog, false, args.yes);
    options.rebuild = args.rebuild;
    options.skip_gaps = args.skip_gaps;
    let preview = preview(log, options, declared.program)?;
    let guard = runtime.engine.correction_guard;
    let text = match args.json {
        true => planned_json(&preview, guard).to_string(),
        false => planned(&preview, guard),
    };
    let _ = writeln!(std::io::stdout(), "{text}");
    Ok(())
}

fn planned_json(preview: &Preview, guard: f64) -> serde_json::Value {
    let report = preview.report.as_ref();
    serde_json::json!({
        "start": started(&preview.recovery),
        "notes": preview.recovery.notes,
        "corrections": report.map_or(0, Report::total),
        "report": report,
        "share": report.map_or(0.0, Report::share),
        "needsConsent": report.is_some_and(|report| report.share() > guard),
        "moved": preview.moved,
    })
}

fn planned(preview: &Preview, guard: f64) -> String {
    let mut lines = vec![format!("start: {}", started(&preview.recovery))];
    lines.extend(preview.recovery.notes.iter().map(|note| format!("note: {note}")));
    match &preview.report {
        None => {
            lines.push("Nothing to correct: nothing has touched the outputs since the last orderly stop.".to_owned())
        }
        Some(report) => {
            lines.push(format!("would be corrected: {report}"));
            lines.push(report.table(true));
            if report.share() > guard {
                lines.push(format!(
                    "{}, more than engine.correction_guard allows ({:.1} %): a start would need --yes.",
                    report.extent(),
                    guard * 100.0
                ));
            }
        }
    }
    if preview.moved {
        lines.push("A running instance has committed meanwhile: single rows may be told wrongly.".to_owned());
    }
    lines.push("Nothing was written.".to_owned());
    lines.join("\n")
}

/// The settings of an engine that runs the topics of `catalog` as `runtime` says. `consent` is to more
/// corrections at the start than the configuration allows.
pub fn engine_options(runtime: &Runtime, catalog: &Arc<Catalog>, exit_when_idle: bool, consent: bool) -> EngineOptions {
    let input = |input: &crate::config::Input| {
        let topic = InputTopic {
            source: input.source.as_deref().map(Into::into),
            content_type: input.content_type.as_deref().map(Into::into),
        };
        (Arc::from(runtime.full_name(&input.topic)), topic)
    };
    let limit = |topic: &crate::schema::Topic| {
        let of_topic = runtime.topic_spec(&topic.name).max_record_bytes;
        topic.spec.limit.map_or(of_topic, |limit| limit.min(of_topic))
    };
    let members = runtime.clone();
    let engine = &runtime.engine;
    EngineOptions {
        name: runtime.name.clone(),
        catalog: Arc::clone(catalog),
        names: Arc::new(TopicNames::new(&runtime.prefix, catalog)),
        inputs: runtime.inputs.iter().map(input).collect(),
        workers: runtime.workers,
        pace: Pace {
            interval: engine.epoch_interval.get(),
            max_epochs: engine.max_epochs_in_flight,
            max_bytes: engine.max_bytes_in_flight.get(),
        },
        idle_after: engine.idle_partition_after.get(),
        max_timestamp_lead: match engine.max_timestamp_lead {
            Lifetime::Forever => None,
            Lifetime::For(lead) => Some(lead.get()),
        },
        look_for_partitions: engine.look_for_partitions.get(),
        limits: catalog.topics().map(|(_, topic)| limit(topic)).collect(),
        member_spec: Arc::new(move |name| members.topic_spec(name)),
        correction_batch: engine.correction_batch,
        correction_guard: (!consent).then_some(engine.correction_guard),
        stage_metrics: engine.stage_metrics,
        rebuild: false,
        skip_gaps: false,
        exit_when_idle,
        cluster: None,
        serialise_exchange: false,
        preview: false,
    }
}

/// How often a view is taken back: two topologies that write to one schema must not do so for ever.
const RECLAIMS: u32 = 3;

/// A view that is taken back when an older instance takes it.
struct KeptView {
    handle: ViewHandle,
    /// When it was seen that another instance has it.
    superseded: Option<Instant>,
    /// How often it may still be taken back.
    reclaims: u32,
}

/// A running topology and those who watch it.
struct Session<'a, T: Topology> {
    config: &'a Config<T::Config>,
    args: &'a TopologyArgs,
    log: &'a Arc<dyn Log>,
    stop: &'a Arc<AtomicBool>,
    readiness: &'a Arc<Readiness>,
    metrics: Option<Metrics>,
    views: Arc<ViewSpec>,
}

impl<T: Topology> Session<'_, T> {
    /// Says where to look.
    fn greet(&self, engine: &Engine, admin: Option<&HttpServer>) {
        if self.args.json {
            return;
        }
        let mut lines =
            vec![format!("Headwater {} · topology {:?}", env!("CARGO_PKG_VERSION"), self.config.runtime.name)];
        let processes = self.config.runtime.cluster.addresses();
        if processes.len() > 1 {
            let process = self.config.runtime.cluster.process;
            lines.push(format!("  process {process} of 0 to {}, all are there", processes.len() - 1));
        }
        let file = self.args.config.sources().file;
        let config = file.as_ref().map_or_else(|| "built-in defaults".to_owned(), |file| file.display().to_string());
        lines.push(format!("  config  {config}"));
        lines.push(format!("  log     {}", self.log.describe()));
        let topics: Vec<&str> = self.config.runtime.inputs.iter().map(|input| input.topic.as_str()).collect();
        lines.push(format!("  input   {}   (topics begin with {:?})", topics.join(", "), self.config.runtime.prefix));
        if !self.config.runtime.cluster.leads() {
            lines.push("  figures and views are those of process 0".to_owned());
            let _ = writeln!(std::io::stdout(), "{}\n", lines.join("\n"));
            return;
        }
        if let Some(sqlite) = &self.config.runtime.views.sqlite {
            lines.push(format!("  view    sqlite3 {} \"{}\"", sqlite.path.display(), T::SHOWCASE.query));
        }
        if let Some(postgres) = &self.config.runtime.views.postgres {
            lines.push(format!("  view    {} schema {:?}", postgres.describe(), postgres.schema_of(&self.views)));
        }
        if let Some(admin) = admin {
            lines.push(format!("  admin   http://{}/metrics", admin.address()));
        }
        let config = config_flag(file.as_deref());
        lines.push(format!("  watch   {} consume {}{config}", T::SHOWCASE.command, T::SHOWCASE.topic));
        lines.push(format!("  start   {}", started(&engine.recovery)));
        lines.extend(engine.recovery.notes.iter().map(|note| format!("  note    {note}")));
        if std::io::stderr().is_terminal() {
            lines.push("  stop    Ctrl-C".to_owned());
        }
        let _ = writeln!(std::io::stdout(), "{}\n", lines.join("\n"));
    }

    fn follow(&self, engine: Engine) -> Outcome<()> {
        let mut views = self.start_views()?;
        let mut _monitor = Monitor::start(self.watched(&engine, &views))?;
        let companions = match self.args.exit_when_idle {
            true => Vec::new(),
            false => T::companions(self.config, &self.beside())?,
        };
        let topic = self.config.runtime.full_name(T::SHOWCASE.topic);
        let options = ConsoleOptions {
            json: self.args.json,
            goal: self.args.exit_when_idle.then_some(engine.backlog),
            highlight: T::SHOWCASE.highlight.filter(|_| !self.args.exit_when_idle).map(|words| (topic, words)),
            config: self.args.config.sources().file,
            command: T::SHOWCASE.command,
        };
        let mut console = Console::new(Arc::clone(engine.lifecycle()), self.log, options)?;
        while !engine.settled() {
            self.look_at(engine.lifecycle());
            console.tick();
            if self.reclaim(&mut views, engine.lifecycle())? {
                _monitor = Monitor::start(self.watched(&engine, &views))?;
            }
            std::thread::sleep(TICK);
        }
        companions.into_iter().try_for_each(Companion::stop)?;
        let outcome = engine.leave();
        if outcome.is_ok() && self.args.exit_when_idle {
            self.wait_for_views(&views)?;
        }
        console.finish(outcome.is_ok());
        let stopped: Vec<_> = views.into_iter().map(|view| view.handle.stop()).collect();
        // Where both have failed, the engine's reason is the cause: a fenced instance has lost its views too.
        outcome?;
        Ok(stopped.into_iter().collect::<Result<(), _>>().map_err(SharedFault)?)
    }

    fn beside(&self) -> Beside<'_> {
        Beside { log: &**self.log, metrics: self.metrics.clone(), readiness: Arc::clone(self.readiness) }
    }

    /// Works for process 0, which tells of it and serves the views.
    fn assist(&self, engine: Engine) -> Outcome<()> {
        while !engine.ended() {
            self.look_at(engine.lifecycle());
            std::thread::sleep(TICK);
        }
        Ok(engine.wait()?)
    }

    /// Passes a signal on to the engine, and tells how far the engine has come.
    fn look_at(&self, lifecycle: &Lifecycle) {
        if self.stop.load(Ordering::Relaxed) {
            lifecycle.stop();
        }
        if lifecycle.stopping() {
            self.readiness.set(Phase::Stopping);
        } else if lifecycle.recovered() {
            self.readiness.set(Phase::Running);
        }
        lifecycle.publish();
    }

    fn watched(&self, engine: &Engine, views: &[KeptView]) -> Watched {
        let inputs =
            self.config.runtime.inputs.iter().map(|input| Arc::from(self.config.runtime.full_name(&input.topic)));
        Watched {
            log: Arc::clone(self.log),
            inputs: inputs.collect(),
            lifecycle: Arc::clone(engine.lifecycle()),
            views: views.iter().map(|view| view.handle.watch()).collect(),
        }
    }

    fn start_views(&self) -> Outcome<Vec<KeptView>> {
        let start = |view| Ok(KeptView { handle: self.start_view(view)?, superseded: None, reclaims: RECLAIMS });
        self.config.runtime.views.views(&self.views).into_iter().map(start).collect()
    }

    fn start_view(&self, (name, open, options): (&'static str, OpenStore, ViewOptions)) -> Outcome<ViewHandle> {
        let topics = self.views.topics(&self.config.runtime.prefix);
        Ok(View::start(name, Arc::clone(self.log), topics, options, open, Arc::default())?)
    }

    /// Takes views back that an older instance has taken over: one that was paused before it
    /// claimed its view claims it when it wakes, before it finds that its engine is fenced. Which
    /// instance is the older, the log says: the engine has to hear from it again. Whether there
    /// was any.
    fn reclaim(&self, views: &mut [KeptView], lifecycle: &Lifecycle) -> Outcome<bool> {
        let mut any = false;
        for view in views {
            let superseded = view.handle.failure().is_some_and(|error| matches!(*error, ViewError::Superseded { .. }));
            if !superseded || view.reclaims == 0 {
                continue;
            }
            let since = *view.superseded.get_or_insert_with(Instant::now);
            let own =
                self.config.runtime.views.views(&self.views).into_iter().find(|(name, ..)| *name == view.handle.name());
            if let Some(own) = own.filter(|_| lifecycle.heard().is_some_and(|heard| heard > since)) {
                tracing::warn!(view = own.0, "an older instance had taken the view over; taking it back");
                *view = KeptView { handle: self.start_view(own)?, superseded: None, reclaims: view.reclaims - 1 };
                any = true;
            }
        }
        Ok(any)
    }

    /// Waits until the views show everything that is committed, or a signal comes.
    fn wait_for_views(&self, views: &[KeptView]) -> Outcome<()> {
        let ends = self.view_ends()?;
        for view in views.iter().map(|view| &view.handle) {
            let mut told = Instant::now();
            while !view.wait_until(&ends, TICK) {
                if told.elapsed() > PATIENCE {
                    told = Instant::now();
                    let trouble = view.status().trouble.unwrap_or_else(|| "it has still records to read".to_owned());
                    eprintln!("waiting for the view {:?}: {trouble}", view.name());
                }
                if self.stop.load(Ordering::Relaxed) || view.failure().is_some() {
                    break;
                }
            }
        }
        Ok(())
    }

    fn view_ends(&self) -> Outcome<Vec<(TopicPartition, i64)>> {
        let mut ends = Vec::new();
        for topic in self.views.topics(&self.config.runtime.prefix).all() {
            let watermarks = self.log.watermarks(topic)?.unwrap_or_default();
            ends.extend((0..).zip(watermarks).map(|(p, w)| (TopicPartition::new(Arc::clone(topic), p), w.high)));
        }
        Ok(ends)
    }
}

fn started(recovery: &RecoverySummary) -> String {
    if let Some(rebuild) = &recovery.rebuild {
        return format!("{rebuild}; {} rows are compared", grouped(recovery.held as u64));
    }
    match (recovery.resumed, recovery.compared) {
        (false, _) => "from the beginning of the input".to_owned(),
        (true, None) => "from the last commit".to_owned(),
        (true, Some(reason)) => {
            format!("from the last commit; {reason}, so {} rows are compared", grouped(recovery.held as u64))
        }
    }
}

/// A view's failure, which others may hold too.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct SharedFault(Arc<ViewError>);

impl Fault for SharedFault {
    fn domain(&self) -> Domain {
        self.0.domain()
    }
    fn may_pass(&self) -> bool {
        self.0.may_pass()
    }
    fn hint(&self) -> Option<String> {
        self.0.hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_that_waits_for_the_log_hears_that_it_is_to_stop() {
        let stop = Arc::new(AtomicBool::new(false));
        let asks = Arc::clone(&stop);
        let begun = Instant::now();
        let outcome = unless_stopped(&stop, move || {
            asks.store(true, Ordering::Relaxed);
            std::thread::sleep(Duration::from_secs(600));
            Ok(())
        });
        assert!(matches!(outcome, Ok(None)), "{outcome:?}");
        assert!(begun.elapsed() >= FAREWELL, "the start may end by itself");
    }

    #[test]
    fn what_a_start_gives_is_passed_on() {
        let stop = AtomicBool::new(false);
        assert!(matches!(unless_stopped(&stop, || Ok(7)), Ok(Some(7))));
        assert!(matches!(unless_stopped::<()>(&stop, || Err(EngineError::Interrupted)), Ok(None)));
        let failed = unless_stopped::<()>(&stop, || Err(EngineError::Thread { reason: "none left".to_owned() }));
        assert!(matches!(failed, Err(EngineError::Thread { .. })));
        let panicked = unless_stopped::<()>(&stop, || panic!("in the start"));
        assert!(matches!(panicked, Err(EngineError::Panic { .. })));
    }
}
