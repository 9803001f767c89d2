//! The options of `headwater bench pipeline`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Where records come from and results go to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum BenchLogKind {
    /// Memory: neither disk nor broker.
    #[default]
    None,
    /// A SQLite file in the temporary directory.
    Embedded,
    /// The brokers of the configuration, or those of the variable KAFKA_BROKERS.
    Kafka,
}

/// What one process of a benchmark does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Part {
    /// One run of the pipeline.
    Pipeline,
    /// One run of the floor.
    Floor,
    /// One run of the plain program.
    Plain,
}

/// Options of `headwater bench pipeline`.
#[derive(Debug, Clone, Args)]
pub struct PipelineArgs {
    /// How many records, warm-up included
    #[arg(long, value_name = "N", default_value_t = 200_000)]
    pub records: u64,
    /// Worker threads
    #[arg(long, value_name = "W", default_value_t = 2)]
    pub workers: usize,
    /// Share of the listings that describe an event which another source has already, 0 to 0.6
    #[arg(long, value_name = "SHARE", default_value_t = 0.3)]
    pub duplicates: f64,
    /// Share of the records that repeat an earlier one unchanged
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub repeats: f64,
    /// Share of the records that change a listing
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub updates: f64,
    /// The same seed gives the same records
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// Share of the records that are processed before the clock starts; their listings stay
    #[arg(long, value_name = "SHARE", default_value_t = 0.1)]
    pub warmup: f64,
    /// How often to measure, each time in a new process; the run of the median rate is told
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub runs: u32,
    /// Also run, on the same records, the floor (a hand-written program of the unavoidable work) and the plain
    /// program (all of the work, by the same functions, without the dataflow)
    #[arg(long)]
    pub floor: bool,
    /// Where records come from and results go to
    #[arg(long, value_enum, default_value_t, value_name = "LOG")]
    pub log: BenchLogKind,
    /// Serve the events over HTTP meanwhile, in the same process; needs a log that is a file or a broker
    #[arg(long)]
    pub serve: bool,
    /// Records a second offered, whether or not they are taken; latency counts from the moment at
    /// which a record was due [default: as fast as they are taken]
    #[arg(long, value_name = "R")]
    pub rate: Option<f64>,
    /// Records from a file of JSON lines instead of generated ones; --config says how to read them
    #[arg(long, value_name = "FILE", requires = "source")]
    pub input: Option<PathBuf>,
    /// Source of the records of --input
    #[arg(long, value_name = "NAME", requires = "input")]
    pub source: Option<String>,
    /// JSON Pointer to the key of a record of --input [default: no keys]
    #[arg(long, value_name = "POINTER", requires = "input")]
    pub key: Option<String>,
    /// Configuration file [default: built-in defaults]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Set one value of the configuration, such as engine.epoch_interval=50ms; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// One JSON object instead of a table
    #[arg(long)]
    pub json: bool,
    /// What a process that was started to measure does
    #[arg(long, value_enum, hide = true)]
    pub(super) part: Option<Part>,
    /// Threads of the floor
    #[arg(long, hide = true, default_value_t = 1)]
    pub(super) floor_threads: usize,
}

impl PipelineArgs {
    /// How many of `records` records come before the clock starts.
    pub(super) fn warm_up(&self, records: u64) -> u64 {
        (records as f64 * self.warmup.clamp(0.0, 0.95)) as u64
    }
}
