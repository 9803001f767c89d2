//! The processes of the demonstration.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use headwater::error::{Domain, Fault};
use rustix::process::{Pid, Signal, kill_process};

/// How often a process is looked at that is to end.
const TICK: Duration = Duration::from_millis(20);

/// So much of the log lines of a process that has ended is shown.
const LINES_SHOWN: usize = 10;

/// Why a process of the demonstration does not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It cannot be started.
    #[error("{} cannot be started", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What it needs cannot be prepared.
    #[error("{what} cannot be prepared")]
    Prepare {
        /// What.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// It has ended by itself.
    #[error("the {name} has ended with {status}:\n{lines}")]
    Ended {
        /// Which one.
        name: String,
        /// How.
        status: ExitStatus,
        /// The last of its log lines.
        lines: String,
    },
    /// It does not answer.
    #[error("the {name} does not answer: {reason}")]
    Silent {
        /// Which one.
        name: String,
        /// The last attempt.
        reason: String,
    },
}

impl Fault for ProcessError {
    fn domain(&self) -> Domain {
        Domain::External
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Start { .. } => Some("the binaries `jobs` and `headwater` lie in one folder".to_owned()),
            Self::Prepare { .. } | Self::Ended { .. } | Self::Silent { .. } => None,
        }
    }
}

/// A process that ends with the demonstration.
pub(super) struct Process {
    name: String,
    child: Child,
    lines: PathBuf,
}

impl Process {
    /// Starts a process whose log lines go to a file in `folder`. Signals of the terminal do not reach it.
    pub fn start<S: AsRef<OsStr>>(
        name: &str,
        program: &Path,
        arguments: &[S],
        folder: &Path,
    ) -> Result<Self, ProcessError> {
        let lines = folder.join(format!("{name}.log"));
        let prepare = |source| ProcessError::Prepare { what: lines.display().to_string(), source };
        let file = File::create(&lines).map_err(prepare)?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).process_group(0);
        command.env_remove("HEADWATER_CONFIG").env_remove("HEADWATER_URL").env_remove("HEADWATER_KEY");
        let started = command.spawn();
        let child = started.map_err(|source| ProcessError::Start { program: program.to_owned(), source })?;
        Ok(Self { name: name.to_owned(), child, lines })
    }

    /// Fails when it has ended by itself.
    pub fn check(&mut self) -> Result<(), ProcessError> {
        let Ok(Some(status)) = self.child.try_wait() else { return Ok(()) };
        let text = fs::read_to_string(&self.lines).unwrap_or_default();
        let all: Vec<&str> = text.lines().collect();
        let lines = all[all.len().saturating_sub(LINES_SHOWN)..].join("\n");
        Err(ProcessError::Ended { name: self.name.clone(), status, lines })
    }

    /// Kills it at once, as a crash would.
    pub fn kill(mut self) {
        self.end_now();
    }

    fn end_now(&mut self) {
        // It may have ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to end.
    pub fn ask_to_end(&self) {
        if let Err(error) = kill_process(Pid::from_child(&self.child), Signal::TERM) {
            tracing::debug!(name = self.name, %error, "a process cannot be asked to end");
        }
    }

    /// Waits for its end, up to `patience`; then it is killed.
    pub fn end(mut self, patience: Duration) {
        let until = Instant::now() + patience;
        while Instant::now() < until {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(TICK);
        }
        tracing::warn!(name = self.name, "a process did not end in time, and is killed");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end_now();
    }
}

/// A port of this machine that nothing listens on.
pub(super) fn free_port() -> Result<u16, ProcessError> {
    let prepare = |source| ProcessError::Prepare { what: "a port of this machine".to_owned(), source };
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(prepare)?;
    Ok(listener.local_addr().map_err(prepare)?.port())
}

/// The configuration of the engine: an embedded log in `folder`, and the API at a port of this machine.
pub(super) fn config(log: &Path, port: u16) -> String {
    let path = serde_json::Value::from(log.display().to_string());
    format!(
        "name = \"demo-jobs\"\nprefix = \"{PREFIX}\"\n\n[log]\nkind = \"embedded\"\n\n[log.embedded]\npath = {path}\n\n\
         [engine]\nepoch_interval = \"25 ms\"\n\n[admin]\nlisten = \"\"\n\n[serve]\nlisten = \"127.0.0.1:{port}\"\n"
    )
}

/// What the names of the topics begin with.
pub(super) const PREFIX: &str = "jobs.";
