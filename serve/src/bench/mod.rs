//! `headwater bench serve`: how many live streams there can be, how late their frames are, and what that costs.
//!
//! ```text
//!  this process                         a process of its own
//!  connections ◄── frames ◄── hub ◄── commits of made-up events, on a clock
//!      └─► latency: when it was read, less when it was committed
//! ```
//!
//! Every load has a server of its own, so that none finds what another one has left. Both processes share the
//! machine: with two cores, a client that reads ten thousand sockets takes about as much as the server.

mod certificate;
mod client;
mod load;
mod report;
mod server;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::time::Duration;

use clap::{Args, ValueEnum};
use headwater::cli::fail;
use headwater::error::{Domain, Fault};

use self::client::Target;
use self::load::{Load, Transport};
use self::report::{Measured, Report, Row};
use self::server::{Begun, Used};

/// `headwater bench serve`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Latency is the time from a commit to the moment at which a client has read its frame, on one clock. Each connection \
needs a file descriptor in each process: see `ulimit -n`.

Examples:
  headwater bench serve
  headwater bench serve --connections 2000 --load all-match --seconds 30
  headwater bench serve --load idle --load hundred --transport websocket --tls
  headwater bench serve --load rest --events 1000000 --json")]
pub struct ServeBenchArgs {
    /// Connections
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub connections: u32,
    /// Events that are served
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub events: u32,
    /// How long each load lasts
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub seconds: u32,
    /// Only this load; may be repeated [default: all]
    #[arg(long, value_name = "LOAD", value_enum)]
    pub load: Vec<Load>,
    /// How streams are sent; lists are asked for over HTTP all the same
    #[arg(long, value_enum, default_value_t = Transport::Sse)]
    pub transport: Transport,
    /// Encrypt connections, with a certificate that is made for the run
    #[arg(long)]
    pub tls: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Be the server of a load.
    #[arg(long, hide = true, value_enum)]
    part: Option<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Server,
}

/// What keeps a benchmark from running.
#[derive(Debug, thiserror::Error)]
enum BenchError {
    #[error("the server of the benchmark: {reason}")]
    Server { reason: String },
    #[error("connection {number} of {all} could not be made")]
    Connection { number: u32, all: u32, source: std::io::Error },
    #[error("no TLS with the server of the benchmark")]
    Tls(#[from] openssl::error::ErrorStack),
    #[error("the system gives no thread or no process")]
    System(#[from] std::io::Error),
}

impl Fault for BenchError {
    fn domain(&self) -> Domain {
        Domain::External
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Connection { .. } => Some("fewer --connections, or a greater `ulimit -n`".to_owned()),
            Self::Server { .. } | Self::Tls(_) | Self::System(_) => None,
        }
    }
}

impl ServeBenchArgs {
    /// Runs the benchmark and prints its report.
    pub fn run(self) -> ExitCode {
        let outcome = match (self.part, self.load.as_slice()) {
            (Some(Part::Server), [load]) => server::run(*load, &self).map(|()| None),
            _ => self.measure().map(Some),
        };
        match outcome {
            Ok(Some(report)) if self.json => println!("{}", serde_json::json!(report)),
            Ok(Some(report)) => print!("{report}"),
            Ok(None) => {}
            Err(error) => return fail(&error),
        }
        ExitCode::SUCCESS
    }

    fn measure(&self) -> Result<Report, BenchError> {
        let loads = if self.load.is_empty() { Load::value_variants().to_vec() } else { self.load.clone() };
        let mut rows = Vec::new();
        for load in loads {
            eprintln!("{}: {} …", load.name(), load.about());
            rows.push(self.measure_one(load)?);
        }
        Ok(Report { connections: self.connections, events: self.events, seconds: self.seconds, rows })
    }

    fn measure_one(&self, load: Load) -> Result<Row, BenchError> {
        let mut server = ServerProcess::start(load, self)?;
        let Begun { address, resident_bytes, certificate } = server.hear()?;
        let tls = certificate.as_deref().map(certificate::connector).transpose()?;
        let target = Target { address, transport: self.transport, tls };
        let kernel_before = kernel_bytes();
        let clients = client::connect(load, &target, self.connections)?;
        let kernel_bytes = kernel_bytes().saturating_sub(kernel_before);
        let connected: Used = server.ask("connected")?;
        server.say("go")?;
        let seen = clients.read_for(Duration::from_secs(self.seconds.into()));
        let used: Used = server.ask("end")?;
        let clients = clients_of(load, self.connections);
        Ok(Row::of(&Measured {
            load,
            transport: self.transport,
            tls: self.tls,
            clients,
            resident_before: resident_bytes,
            connected,
            used,
            kernel_bytes,
            seen,
        }))
    }
}

fn clients_of(load: Load, connections: u32) -> u32 {
    if load == Load::Rest { client::REST_CLIENTS } else { connections }
}

/// Kernel memory of all TCP sockets, in bytes (Linux); of both ends of each connection.
fn kernel_bytes() -> u64 {
    const PAGE: u64 = 4_096;
    let text = std::fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("TCP:")).unwrap_or_default();
    let mut words = line.split_whitespace().skip_while(|word| *word != "mem").skip(1);
    words.next().and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * PAGE
}

/// The server, in a process of its own. It is told what to do line by line, and answers in lines of JSON.
struct ServerProcess {
    process: Child,
    answers: BufReader<ChildStdout>,
}

impl ServerProcess {
    fn start(load: Load, args: &ServeBenchArgs) -> Result<Self, BenchError> {
        let numbers = [args.connections, args.events, args.seconds].map(|number| number.to_string());
        let [connections, events, seconds] = &numbers;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bench", "serve", "--part", "server", "--load", load.name()]);
        command.args(["--connections", connections, "--events", events, "--seconds", seconds]);
        if args.tls {
            command.arg("--tls");
        }
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let answers = process.stdout.take().ok_or_else(|| silent("it has no output"))?;
        Ok(Self { process, answers: BufReader::new(answers) })
    }

    fn say(&mut self, word: &str) -> Result<(), BenchError> {
        let input = self.process.stdin.as_mut().ok_or_else(|| silent("it has no input"))?;
        Ok(writeln!(input, "{word}")?)
    }

    fn hear<T: serde::de::DeserializeOwned>(&mut self) -> Result<T, BenchError> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        serde_json::from_str(&line).map_err(|error| silent(&format!("{error}: {line:?}")))
    }

    fn ask<T: serde::de::DeserializeOwned>(&mut self, word: &str) -> Result<T, BenchError> {
        self.say(word)?;
        self.hear()
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn silent(reason: &str) -> BenchError {
    BenchError::Server { reason: reason.to_owned() }
}
