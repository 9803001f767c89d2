//! `headwater bench pipeline`: how fast the whole discovery dataflow is, bytes in to bytes out.
//!
//! The records lie in memory (`input`); a log without a disk or a broker (`measured`) hands them
//! to the engine and takes its transactions, so that what is measured is the dataflow with its
//! sources, serialisation and committer; or a real log does (`on_log`). Every run is a process of its own (`runs`); the median of
//! several is told with its spread (`report`), beside the [`floor`]: what a hand-written program
//! of the unavoidable work does with the same records, and the plain program (`plain`): the pipeline's
//! own functions without the dataflow.
//!
//! Without a rate the input is as fast as the engine takes it, and latency shows how long batches
//! queue at full load. With one, records are due at fixed times whether or not they are taken, and
//! latency counts from then, so that queueing is not hidden.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::generate::GenerateError;
use clap::Subcommand;
use headwater::cli::fail;
use headwater::config::Invalid;
use headwater::error::{Domain, Fault};
use headwater_serve::bench::ServeBenchArgs;
use jobs::bench::BenchJobsArgs;
use serde::Serialize;

mod args;
pub mod floor;
mod input;
mod measured;
mod observed;
mod on_log;
mod pipeline;
mod plain;
mod process;
mod quality;
mod report;
mod runs;
mod served;
mod written;

pub use args::{BenchLogKind, PipelineArgs};
pub use floor::FloorReport;
pub use pipeline::{Percentiles, RunReport};
pub use plain::PlainReport;
pub use quality::Quality;
pub use report::{FloorComparison, Report, Spread};

use args::Part;

/// What can be measured.
#[derive(Debug, Clone, Subcommand)]
pub enum BenchArgs {
    /// The whole discovery dataflow, JSON bytes in to JSON bytes out
    #[command(after_help = "\
Examples:
  headwater bench pipeline --records 1000000 --workers 2 --floor
  headwater bench pipeline --records 200000 --workers 1 --repeats 0.9 --json
  headwater bench pipeline --records 60000 --rate 2000 --log kafka
  headwater bench pipeline --records 100000 --log embedded --serve
  headwater bench pipeline --input feed.jsonl --source city --config discovery.toml")]
    Pipeline(Box<PipelineArgs>),
    /// Live streams and lists over HTTP: how many, how late, and what they cost
    Serve(ServeBenchArgs),
    /// Jobs: what a decision costs, how soon they are given, how many a queue does, and restarts
    #[command(after_help = "\
Examples:
  headwater bench jobs
  headwater bench jobs --log kafka --rates 10,100,1000,0 --seconds 20
  headwater bench jobs --part scheduler --jobs 100000 --waiting 1000000
  headwater bench jobs --part restart --waiting 1000000")]
    Jobs(BenchJobsArgs),
}

/// What keeps a benchmark from running.
#[derive(Debug, thiserror::Error)]
enum BenchError {
    #[error("the generated sources cannot be read: {0}")]
    Sources(#[from] toml::de::Error),
    #[error("no histogram: {0}")]
    Histogram(#[from] hdrhistogram::CreationError),
    #[error("the configuration of the benchmark is wrong: {}", .0.iter().map(|i| format!("{}: {}", i.key, i.message)).collect::<Vec<_>>().join("; "))]
    Config(Vec<Invalid>),
    #[error(transparent)]
    Generate(#[from] GenerateError),
    #[error("cannot read {}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{} holds no records", path.display())]
    Empty { path: PathBuf },
    #[error("the floor is written for generated records alone")]
    FloorSource,
    #[error("--serve needs a log that can be read: --log none has none")]
    NothingToServe,
    #[error("serving shows {shown} events of {events}")]
    NotShown { shown: i64, events: i64 },
    #[error("a run failed with exit code {}", code.map_or("unknown".to_owned(), |code| code.to_string()))]
    Failed { code: Option<i32> },
    #[error("a run told nothing: {reason}")]
    Child { reason: String },
}

impl Fault for BenchError {
    fn domain(&self) -> Domain {
        match self {
            Self::Generate(error) => error.domain(),
            Self::File { .. } | Self::Empty { .. } | Self::FloorSource | Self::NothingToServe | Self::Config(_) => {
                Domain::User
            }
            // What was wrong the run itself has said, by its exit code too.
            Self::Failed { code: Some(2) } => Domain::User,
            Self::Failed { code: Some(3) } => Domain::External,
            Self::Sources(_)
            | Self::Histogram(_)
            | Self::Failed { .. }
            | Self::Child { .. }
            | Self::NotShown { .. } => Domain::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Generate(error) => error.hint(),
            Self::FloorSource => Some("leave out --floor, or --input".to_owned()),
            Self::NothingToServe => Some("give --log embedded or --log kafka".to_owned()),
            _ => None,
        }
    }
}

impl BenchArgs {
    /// Runs the benchmark and prints its report.
    pub fn run(self) -> ExitCode {
        let args = match self {
            Self::Pipeline(args) => args,
            Self::Serve(args) => return args.run(),
            Self::Jobs(args) => return args.run(),
        };
        let outcome = match args.part {
            Some(Part::Pipeline) => one_run(&args).map(|report| json(&report)),
            Some(Part::Floor) => one_floor(&args).map(|report| json(&report)),
            Some(Part::Plain) => one_plain(&args).map(|report| json(&report)),
            None => runs::measure(&args).map(|report| if args.json { json(&report) } else { report.table() }),
        };
        match outcome {
            Ok(text) => print!("{text}"),
            Err(error) => return fail(error.as_ref()),
        }
        ExitCode::SUCCESS
    }
}

fn json(report: &impl Serialize) -> String {
    format!("{}\n", serde_json::json!(report))
}

fn one_run(args: &PipelineArgs) -> Result<RunReport, Box<dyn Fault>> {
    match args.log {
        BenchLogKind::None if args.serve => Err(Box::new(BenchError::NothingToServe)),
        BenchLogKind::None => pipeline::in_memory(args),
        BenchLogKind::Embedded | BenchLogKind::Kafka => on_log::on_log(args),
    }
}

fn one_floor(args: &PipelineArgs) -> Result<FloorReport, Box<dyn Fault>> {
    let input = pipeline::input(args, args.floor_threads.max(1))?;
    Ok(floor::floor(&input, args.warm_up(input.len()))?)
}

fn one_plain(args: &PipelineArgs) -> Result<PlainReport, Box<dyn Fault>> {
    Ok(plain::plain(&pipeline::input(args, 1)?, &pipeline::config(args)?)?)
}
