//! The demonstration.

use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use headwater::cli::stop_on_signals;
use headwater::config::Period;
use headwater::error::Fault;
use headwater::log::embedded::EmbeddedLog;
use headwater::tools::{ToolError, print_result};
use headwater::words::counted;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::value::to_raw_value;

use super::DemoJobsArgs;
use super::engine::{PREFIX, Process, ProcessError, config, free_port};
use super::totals::Totals;
use super::worker::Sleep;
use crate::client::{Client, ClientError, MOST_IN_A_REQUEST, NewJob, QueueStatus};
use crate::model::Phase;
use crate::tools::Ended;
use crate::tools::api::UsageError;
use crate::trace::{TraceJob, made_up_trace, read_trace};

/// The queue of the demonstration.
const QUEUE: &str = "trace";

/// So many jobs are made up unless told otherwise.
const MADE_UP: usize = 200;

/// How often it is looked what is due.
const TICK: Duration = Duration::from_millis(20);

/// How often progress is shown.
const SHOWN_EVERY: Duration = Duration::from_millis(250);

/// So long the engine may take to start.
const START: Duration = Duration::from_secs(60);

/// So long processes may take to end.
const END: Duration = Duration::from_secs(15);

/// A worker that was killed is missed so soon.
const HEARTBEAT: Period = Period::from_secs(3);

/// Kills use up attempts: as many as are possible.
const ATTEMPTS: u32 = 1_000;

/// The exit code when not each job was done once.
const WRONG: u8 = 1;

pub(super) fn run(args: DemoJobsArgs) -> Ended {
    args.log.start("warn")?;
    let trace = trace(&args)?;
    let stop = stop_on_signals()?;
    let place = Place::of(args.folder.as_deref())?;
    let mut demo = Demo::start(&args, trace, place.path(), stop)?;
    let begun = Instant::now();
    demo.play()?;
    let took = begun.elapsed();
    let (submitted, killed) = demo.end();
    let log = EmbeddedLog::open(&place.log())?;
    let mut totals = Totals::read(&log, PREFIX, &submitted)?;
    (totals.killed, totals.took_ms) = (killed, u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
    print_result(&totals, args.json)?;
    Ok(if totals.is_right() { ExitCode::SUCCESS } else { ExitCode::from(WRONG) })
}

fn trace(args: &DemoJobsArgs) -> Result<Vec<TraceJob>, Box<dyn Fault>> {
    let mut trace = match &args.trace {
        None => made_up_trace(args.seed, args.jobs.unwrap_or(MADE_UP)),
        Some(path) if path == Path::new("-") => read_trace(io::stdin().lock())?,
        Some(path) => {
            let reading = |source| ToolError::Reading { path: path.clone(), source };
            read_trace(File::open(path).map_err(reading)?)?
        }
    };
    trace.truncate(args.jobs.unwrap_or(usize::MAX));
    if trace.is_empty() {
        return Err(UsageError::new("the trace has no jobs").into());
    }
    Ok(trace)
}

/// The folder of the demonstration.
enum Place {
    Named(PathBuf),
    Temporary(tempfile::TempDir),
}

impl Place {
    fn of(folder: Option<&Path>) -> Result<Self, Box<dyn Fault>> {
        let Some(folder) = folder else {
            let made = tempfile::Builder::new().prefix("headwater-demo-").tempdir();
            let failed = |source| ToolError::Writing { path: std::env::temp_dir(), source };
            return Ok(Self::Temporary(made.map_err(failed)?));
        };
        let failed = |source| ToolError::Writing { path: folder.to_owned(), source };
        fs::create_dir_all(folder).map_err(failed)?;
        let folder = folder.canonicalize().map_err(failed)?;
        let place = Self::Named(folder);
        if place.log().exists() {
            let what = format!("there is a log already: {}", place.log().display());
            return Err(UsageError::with_hint(what, "name another folder, or remove it").into());
        }
        Ok(place)
    }

    fn path(&self) -> &Path {
        match self {
            Self::Named(path) => path,
            Self::Temporary(folder) => folder.path(),
        }
    }

    fn log(&self) -> PathBuf {
        log_in(self.path())
    }
}

fn log_in(folder: &Path) -> PathBuf {
    folder.join("log.db")
}

/// What runs.
struct Demo {
    client: Client,
    engine: Process,
    crew: Crew,
    due: VecDeque<TraceJob>,
    first: u64,
    speed: u64,
    submitted: BTreeSet<String>,
    total: u64,
    stop: Arc<AtomicBool>,
}

impl Demo {
    fn start(
        args: &DemoJobsArgs,
        trace: Vec<TraceJob>,
        folder: &Path,
        stop: Arc<AtomicBool>,
    ) -> Result<Self, Box<dyn Fault>> {
        let port = free_port()?;
        let own = std::env::current_exe()
            .map_err(|source| ProcessError::Prepare { what: "this program".to_owned(), source })?;
        let file = folder.join("jobs.toml");
        let writing = |source| ToolError::Writing { path: file.clone(), source };
        fs::write(&file, config(&log_in(folder), port)).map_err(writing)?;
        let client = Client::new(&format!("http://127.0.0.1:{port}"), None)?;
        eprintln!("{} at {} times their speed, with {}", counted(trace.len() as u64, "job"), args.speed, workers(args));
        eprintln!("  folder  {}", folder.display());
        eprintln!("  api     {}api/jobs", client.url());
        let arguments = ["--config".as_ref(), file.as_os_str()];
        let mut engine = Process::start("engine", &own.with_file_name("headwater-jobs"), &arguments, folder)?;
        wait_until_ready(&client, &mut engine, &stop)?;
        let crew = Crew::start(args, own, folder, client.url())?;
        Ok(Self {
            client,
            engine,
            crew,
            first: trace.first().map_or(0, |job| job.submit),
            total: trace.len() as u64,
            due: trace.into(),
            speed: args.speed.into(),
            submitted: BTreeSet::new(),
            stop,
        })
    }

    /// Submits, kills and shows until all jobs are settled, or a signal comes.
    fn play(&mut self) -> Result<(), Box<dyn Fault>> {
        let (begun, bar) = (Instant::now(), bar(self.total));
        let mut shown: Option<Instant> = None;
        while !self.stop.load(Ordering::Relaxed) {
            self.engine.check()?;
            self.submit(begun.elapsed())?;
            self.crew.see_to(self.due.is_empty())?;
            if shown.is_none_or(|shown| shown.elapsed() >= SHOWN_EVERY) {
                shown = Some(Instant::now());
                if self.show(&bar) {
                    break;
                }
            }
            std::thread::sleep(TICK);
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// Submits what was submitted in the trace by now.
    fn submit(&mut self, elapsed: Duration) -> Result<(), Box<dyn Fault>> {
        let now_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let (first, speed) = (self.first, self.speed);
        let is_due = |job: &TraceJob| scaled_ms(job.submit - first, speed) <= now_ms;
        let mut jobs = Vec::new();
        while jobs.len() < MOST_IN_A_REQUEST && self.due.front().is_some_and(is_due) {
            jobs.extend(self.due.pop_front().map(|job| new_job(&job, speed)).transpose()?);
        }
        if jobs.is_empty() {
            return Ok(());
        }
        while let Err(error) = self.client.submit_all(QUEUE, &mut jobs) {
            if !error.may_pass() || self.stop.load(Ordering::Relaxed) {
                return Err(error.into());
            }
            // The jobs have ids: what was taken before is not submitted again.
            self.engine.check()?;
            std::thread::sleep(SHOWN_EVERY);
        }
        self.submitted.extend(jobs.into_iter().filter_map(|job| job.id));
        Ok(())
    }

    /// Shows how far it has come. Whether all is settled.
    fn show(&self, bar: &ProgressBar) -> bool {
        let queue = match self.client.queue(QUEUE) {
            Ok(queue) => queue,
            // There is no queue before its first job; what is away comes back.
            Err(error) => {
                tracing::debug!(%error, "the queue cannot be shown");
                return false;
            }
        };
        let settled = settled(&queue);
        bar.set_position(settled);
        let (waiting, leased) = (queue.count(Phase::Waiting), queue.count(Phase::Leased));
        let failed = queue.count(Phase::Failed);
        bar.set_message(format!("{waiting} wait, {leased} run, {failed} failed, {} killed", self.crew.killed));
        self.due.is_empty() && settled >= self.total
    }

    /// Ends all processes in order. Gives the ids that were submitted, and how many workers were killed.
    fn end(self) -> (BTreeSet<String>, u64) {
        let Self { engine, crew, submitted, .. } = self;
        let killed = crew.killed;
        crew.end();
        engine.ask_to_end();
        engine.end(END);
        (submitted, killed)
    }
}

fn workers(args: &DemoJobsArgs) -> String {
    let crew = counted(args.workers.into(), "worker");
    match args.kill_every.get().is_zero() {
        true => crew,
        false => format!("{crew}, one of which is killed every {}", args.kill_every),
    }
}

/// Milliseconds that so many seconds of the trace take.
fn scaled_ms(seconds: u64, speed: u64) -> u64 {
    seconds.saturating_mul(1_000) / speed
}

fn new_job(job: &TraceJob, speed: u64) -> Result<NewJob, ClientError> {
    let sleep = Sleep { sleep_ms: scaled_ms(job.run, speed) };
    let payload = to_raw_value(&sleep).map_err(|error| ClientError::Prepare(error.to_string()))?;
    Ok(NewJob {
        id: Some(format!("trace-{}", job.number)),
        payload: Some(payload),
        group: job.user.map(|user| format!("user-{user}")),
        heartbeat_within: Some(HEARTBEAT),
        attempts: Some(ATTEMPTS),
        backoff: Some(Period::from_millis(100)),
        max_backoff: Some(Period::from_secs(1)),
        keep: Some(Period::from_days(1)),
        ..NewJob::default()
    })
}

fn settled(queue: &QueueStatus) -> u64 {
    queue.counts.iter().filter(|(phase, _)| phase.is_settled()).map(|(_, count)| count).sum()
}

fn bar(total: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{elapsed} {bar:30} {pos} of {len}  {msg}");
    let bar = ProgressBar::new(total);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Waits until the engine serves.
fn wait_until_ready(client: &Client, engine: &mut Process, stop: &AtomicBool) -> Result<(), Box<dyn Fault>> {
    let until = Instant::now() + START;
    loop {
        engine.check()?;
        let Err(error) = client.queues() else { return Ok(()) };
        if Instant::now() >= until || stop.load(Ordering::Relaxed) || !error.may_pass() {
            return Err(ProcessError::Silent { name: "engine".to_owned(), reason: error.to_string() }.into());
        }
        std::thread::sleep(TICK);
    }
}

/// The workers.
struct Crew {
    program: PathBuf,
    folder: PathBuf,
    url: String,
    slots: u32,
    kill_every: Duration,
    next_kill: Instant,
    workers: VecDeque<Process>,
    started: u32,
    killed: u64,
}

impl Crew {
    fn start(args: &DemoJobsArgs, program: PathBuf, folder: &Path, url: &str) -> Result<Self, ProcessError> {
        let kill_every = args.kill_every.get();
        let mut crew = Self {
            program,
            folder: folder.to_owned(),
            url: url.to_owned(),
            slots: args.slots,
            kill_every,
            next_kill: Instant::now() + kill_every,
            workers: VecDeque::new(),
            started: 0,
            killed: 0,
        };
        for _ in 0..args.workers {
            crew.hire()?;
        }
        Ok(crew)
    }

    /// Each has a name of its own, as after any restart.
    fn hire(&mut self) -> Result<(), ProcessError> {
        self.started += 1;
        let (name, slots) = (format!("worker-{}", self.started), self.slots.to_string());
        let arguments = ["demo-worker", "--queue", QUEUE, "--name", &name, "--slots", &slots, "--url", &self.url];
        self.workers.push_back(Process::start(&name, &self.program, &arguments, &self.folder)?);
        Ok(())
    }

    /// Kills the oldest when it is time, and starts another one. The first is spared, unless it is the only one: what
    /// takes longer than the others live is done in the end. Where `is_last`, kills get ever rarer for the same reason.
    fn see_to(&mut self, is_last: bool) -> Result<(), ProcessError> {
        for worker in &mut self.workers {
            worker.check()?;
        }
        if self.kill_every.is_zero() || Instant::now() < self.next_kill {
            return Ok(());
        }
        if is_last {
            self.kill_every *= 2;
        }
        self.next_kill = Instant::now() + self.kill_every;
        let oldest = usize::from(self.workers.len() > 1);
        if let Some(worker) = self.workers.remove(oldest) {
            worker.kill();
            self.killed += 1;
            self.hire()?;
        }
        Ok(())
    }

    fn end(self) {
        self.workers.iter().for_each(Process::ask_to_end);
        self.workers.into_iter().for_each(|worker| worker.end(END));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_trace_is_divided() {
        assert_eq!([scaled_ms(436, 1_000), scaled_ms(1, 3_000), scaled_ms(u64::MAX, 1_000)][..2], [436, 0]);
        let job = TraceJob { number: 7, run: 90, ..made_up_trace(1, 1)[0].clone() };
        let new = new_job(&job, 1_000).unwrap();
        assert_eq!(new.id.as_deref(), Some("trace-7"));
        assert_eq!(new.payload.unwrap().get(), "{\"sleepMs\":90}");
    }

    #[test]
    fn a_folder_with_a_log_is_not_used_again() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::of(Some(folder.path())).unwrap();
        fs::write(place.log(), "").unwrap();
        let Err(error) = Place::of(Some(folder.path())) else { panic!("used") };
        assert!(error.hint().is_some());
    }
}
