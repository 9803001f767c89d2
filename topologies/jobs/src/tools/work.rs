//! `headwater work`: jobs done by a command.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use headwater::cli::SignalError;
use headwater::config::Period;
use headwater::tools::print_result;
use headwater::words::counted;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

use super::Ended;
use super::api::{ApiArgs, LogArgs, UsageError};
use crate::client::Client;
use crate::worker::command::CommandHandler;
use crate::worker::{Handler, MOST_SLOTS, Stopper, Summary, Worker, WorkerOptions, worker_name};

/// What a shell tells of a process that SIGINT has ended.
const INTERRUPTED: u8 = 130;

/// `headwater work`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
For each job, the command gets the payload on stdin, and HEADWATER_JOB, HEADWATER_QUEUE, HEADWATER_ATTEMPT and \
HEADWATER_LEASE in its environment. A line `progress 0.4 text` on stdout tells how far it has come; the last line \
`result JSON` is the result, or else the last 64 KiB of its output are.
Its exit code: 0 the job is done, 65 it failed and no other attempt helps, all others failed (75: for now).
A job that is cancelled, or that this worker has lost, gets SIGTERM, and SIGKILL after --grace; whatever its exit code \
is then, it is not done.
Ctrl-C takes no more jobs and waits for those that run; a second one stops them and gives them back; a third one gives \
them no time. SIGTERM, SIGHUP (a terminal that is closed) and SIGQUIT do the same. After SIGKILL commands go on without \
a worker.

Examples:
  headwater work --queue reports -- ./report.sh
  headwater work --queue mail --queue sms --slots 8 -- python3 send.py
  HEADWATER_KEY=KEY headwater work --queue video --grace '1 min' --url https://jobs.example -- nice ./encode --fast

Exit codes: 0 ended in order, 2 something to mend in usage, 3 something outside failed, 130 jobs were stopped by a \
second signal.")]
pub struct WorkArgs {
    /// Queue to take jobs of; may be repeated
    #[arg(long = "queue", short, value_name = "QUEUE", required = true)]
    pub queues: Vec<String>,
    /// Jobs at once at most
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_SLOTS)))]
    pub slots: u32,
    /// Name of this worker [default: machine, process and chance]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Time between SIGTERM and SIGKILL
    #[arg(long, value_name = "PERIOD", default_value = "10 s")]
    pub grace: Period,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
    /// Where the API is, and how the result is printed.
    #[command(flatten)]
    pub api: ApiArgs,
    /// How much to log.
    #[command(flatten)]
    pub log: LogArgs,
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { done, failed, released, lost } = self;
        write!(f, "{} done, {failed} failed, {released} given back, {lost} lost", counted(*done, "job"))
    }
}

impl WorkArgs {
    pub(super) fn run(self) -> Ended {
        let Some((program, arguments)) = self.command.split_first() else {
            return Err(UsageError::new("there is no command behind --").into());
        };
        if !can_be_found(program) {
            let what = format!("there is no command {:?}", program.display().to_string());
            return Err(UsageError::with_hint(what, "name one behind -- that is in PATH, or its path").into());
        }
        let name = match self.name {
            Some(name) => name,
            None => worker_name()?,
        };
        let options = WorkerOptions { name, queues: self.queues, slots: self.slots, wait: 20 };
        let handler = CommandHandler::new(program, arguments.to_vec(), self.grace.get());
        self.log.start("info")?;
        work(self.api.client()?, handler, options, self.api.json)
    }
}

/// Works until signals end it, and prints what was done.
pub(super) fn work(client: Client, handler: impl Handler, options: WorkerOptions, json: bool) -> Ended {
    let url = client.url().to_owned();
    let (name, queues, slots) = (options.name.clone(), options.queues.join(", "), options.slots);
    let worker = Worker::new(client, handler, options)?;
    let signals = EndOnSignals::of(worker.stopper())?;
    tracing::info!(worker = name, queues, slots, url, "worker started");
    let summary = worker.run()?;
    print_result(&summary, json)?;
    Ok(if signals.was_twice() { ExitCode::from(INTERRUPTED) } else { ExitCode::SUCCESS })
}

/// The first signal lets a worker end when its jobs have, the second at once, the third without time for jobs to clean
/// up. A command is no part of the worker's process group: where a terminal is closed, nobody else ends it.
struct EndOnSignals {
    handle: Handle,
    twice: Arc<AtomicBool>,
}

impl EndOnSignals {
    fn of(stopper: Stopper) -> Result<Self, SignalError> {
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGQUIT])?;
        let handle = signals.handle();
        let twice = Arc::new(AtomicBool::new(false));
        let set = Arc::clone(&twice);
        let work = move || {
            let mut came = signals.forever();
            if came.next().is_none() {
                return;
            }
            tracing::info!("takes no more jobs and waits for those that run; a second signal stops them");
            stopper.stop();
            if came.next().is_none() {
                return;
            }
            tracing::info!("stops its jobs and gives them back; a third signal kills them");
            set.store(true, Ordering::Relaxed);
            stopper.stop_now();
            if came.next().is_none() {
                return;
            }
            tracing::info!("kills its jobs");
            stopper.kill();
        };
        std::thread::Builder::new().name("worker-signals".to_owned()).spawn(work)?;
        Ok(Self { handle, twice })
    }

    fn was_twice(&self) -> bool {
        self.twice.load(Ordering::Relaxed)
    }
}

impl Drop for EndOnSignals {
    fn drop(&mut self) {
        self.handle.close();
    }
}

/// Whether the system would find a program of this name.
fn can_be_found(program: &OsString) -> bool {
    let path = Path::new(program);
    if path.components().count() != 1 || path.is_absolute() {
        return path.is_file();
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).map(|folder: PathBuf| folder.join(path)).any(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_as_the_system_finds_them() {
        assert!(can_be_found(&"sh".into()) && can_be_found(&"/bin/sh".into()));
        assert!(!can_be_found(&"no-such-command-here".into()) && !can_be_found(&"./no/such".into()));
    }
}
