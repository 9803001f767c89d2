//! The command line that all binaries share.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Args;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::config::{ConfigErrors, Loaded, Section, Sources, load};
use crate::error::{Domain, Fault};
use crate::telemetry::{LogFormat, TelemetryError, start_logging};

/// The configuration that is used when none is named and this file is there.
pub const USUAL_CONFIG: &str = "config/quickstart.toml";

/// Ends a command with an error: prints it, what caused it, and what to do about it to stderr.
pub fn fail(error: &dyn Fault) -> ExitCode {
    // Nothing is left to be done when even stderr is gone.
    let _ = write_error(error, &mut io::stderr());
    ExitCode::from(error.domain().exit_code())
}

fn write_error(error: &dyn Fault, err: &mut dyn Write) -> io::Result<()> {
    writeln!(err, "error: {error}")?;
    let mut cause = error.source();
    while let Some(inner) = cause {
        writeln!(err, "  caused by: {inner}")?;
        cause = inner.source();
    }
    match error.hint() {
        Some(hint) => writeln!(err, "  hint: {hint}"),
        None => Ok(()),
    }
}

/// Which configuration, and how much to log.
#[derive(Debug, Clone, Default, Args)]
pub struct ConfigArgs {
    /// Configuration file [default: config/quickstart.toml where it is there, or else built-in defaults]
    #[arg(long, value_name = "FILE", env = "HEADWATER_CONFIG", global = true)]
    pub config: Option<PathBuf>,
    /// Set one value of the configuration, such as engine.epoch_interval=50ms; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", global = true)]
    pub set: Vec<String>,
    /// Log lines to show: error, warn, info, debug, trace, or tracing's filter syntax [env: RUST_LOG]
    #[arg(long, value_name = "LEVEL", global = true)]
    pub log_level: Option<String>,
    /// Form of the log lines
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT", global = true)]
    pub log_format: LogFormat,
}

impl ConfigArgs {
    /// Where the configuration is read from.
    pub fn sources(&self) -> Sources {
        let usual = Path::new(USUAL_CONFIG);
        let file = self.config.clone().or_else(|| usual.is_file().then(|| usual.to_owned()));
        Sources::of_process(file, self.set.clone())
    }

    /// Reads the configuration.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load<S: Section>(&self) -> Result<Loaded<S>, ConfigErrors> {
        load(&self.sources())
    }

    /// Starts log lines, at level `default` unless told otherwise.
    ///
    /// # Errors
    /// When the filter cannot be read.
    pub fn start_logging(&self, default: &str) -> Result<(), TelemetryError> {
        start_logging(self.log_level.as_deref(), default, self.log_format)
    }
}

/// How a topology is to run.
#[derive(Debug, Clone, Default, Args)]
pub struct TopologyArgs {
    /// Which configuration, and how much to log.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Worker threads of each process [default: as configured, or one per core]
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,
    /// Processes of the topology [default: as configured, or one]
    #[arg(long, value_name = "N")]
    pub processes: Option<usize>,
    /// Which of them this is, from 0
    #[arg(long, value_name = "I")]
    pub process: Option<usize>,
    /// Where each process is found: host:port with commas, or a file with one a line [default: this machine]
    #[arg(long, value_name = "HOSTS")]
    pub hosts: Option<String>,
    /// Stop once everything is processed that the input topics hold at the start
    #[arg(long)]
    pub exit_when_idle: bool,
    /// Print JSON lines instead of text for people
    #[arg(long, global = true)]
    pub json: bool,
    /// Consent to more corrections of the outputs at the start than engine.correction_guard allows, and, at a
    /// terminal, to ending an instance that is running
    #[arg(long)]
    pub yes: bool,
    /// Say what a start would correct in the outputs, and write nothing; safe beside a running instance
    #[arg(long)]
    pub plan: bool,
    /// Compute everything anew from the raw topics, as far back as they reach, and correct the outputs
    #[arg(long)]
    pub rebuild: bool,
    /// Where a raw topic lacks records that were not read yet, since retention removed them or the topic was
    /// made anew, go on with the first record that is there, and keep what is known
    #[arg(long, conflicts_with = "rebuild")]
    pub skip_gaps: bool,
}

impl TopologyArgs {
    /// Where the configuration is read from, the flags for workers and processes included.
    pub fn sources(&self) -> Sources {
        let mut sources = self.config.sources();
        sources.flags.extend(self.workers.map(|workers| format!("workers={workers}")));
        sources.flags.extend(self.processes.map(|processes| format!("cluster.processes={processes}")));
        sources.flags.extend(self.process.map(|process| format!("cluster.process={process}")));
        sources.flags.extend(self.hosts.as_ref().map(|hosts| format!("cluster.hosts={hosts}")));
        sources
    }
}

/// Signals cannot be caught.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for signals")]
pub struct SignalError(#[from] io::Error);

impl Fault for SignalError {
    fn domain(&self) -> Domain {
        Domain::External
    }
}

/// Lets the process go on when its terminal is closed (SIGHUP): a topology that was started by hand is not
/// to end with the connection. There is nothing to read again: a changed configuration needs a restart.
///
/// # Errors
/// When signals cannot be caught.
pub fn outlive_the_terminal() -> Result<(), SignalError> {
    signal_hook::flag::register(SIGHUP, Arc::default())?;
    Ok(())
}

/// A flag that SIGINT and SIGTERM set. A second signal ends the process at once.
///
/// # Errors
/// When signals cannot be caught.
pub fn stop_on_signals() -> Result<Arc<AtomicBool>, SignalError> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // Registered first, so that it acts only on a flag that an earlier signal has set.
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}
