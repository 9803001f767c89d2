//! `headwater bench pipeline`: how fast the whole discovery dataflow is, bytes in to bytes out.
//!
//! The records are generated beforehand and lie in memory; a log without a disk or a broker hands
//! them to the engine and takes its transactions, so that what is measured is the dataflow with its
//! sources, serialisation and committer. Latency is from the moment at which a batch of records is
//! handed over to the commit of what came of it; the input is as fast as the engine takes it, so
//! it shows how long batches queue at full load, not how soon a single record is seen.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use hdrhistogram::Histogram;
use headwater::cli::fail;
use headwater::config::{Config, Invalid, Lifetime};
use headwater::console::{Figures, grouped};
use headwater::engine::start;
use headwater::error::{Domain, Fault};
use headwater::generate::{GenerateConfig, Generated, Shape, bench_records, source_config_toml};
use headwater::log::{
    Log, LogError, LogRecord, NewRecord, Polled, Producer, Reader, Start, TopicInfo, TopicPartition, TopicSpec,
    Transaction, Transactional, Watermarks,
};
use headwater_operators::extract::SourceConfig;
use serde::{Deserialize, Serialize};

use crate::discovery::Discovery;
use crate::run::engine_options;

/// What can be measured.
#[derive(Debug, Clone, Subcommand)]
pub enum BenchArgs {
    /// The whole discovery dataflow, JSON bytes in to JSON bytes out, without a broker
    #[command(after_help = "\
Examples:
  headwater bench pipeline --records 1000000 --workers 2
  headwater bench pipeline --records 200000 --workers 1 --repeats 0.9 --json")]
    Pipeline(PipelineArgs),
}

/// Options of `headwater bench pipeline`.
#[derive(Debug, Clone, Args)]
pub struct PipelineArgs {
    /// How many records
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
    /// One JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}

/// What a run came to.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PipelineReport {
    /// Records read.
    pub records: u64,
    /// Worker threads.
    pub workers: usize,
    /// From the start of the engine to its last commit.
    pub seconds: f64,
    /// Records a second.
    pub records_per_second: f64,
    /// The same, for each worker.
    pub records_per_second_per_worker: f64,
    /// Bytes of the records read: values only.
    pub input_bytes: u64,
    /// Bytes written: keys and values.
    pub output_bytes: u64,
    /// Records written.
    pub output_records: u64,
    /// Transactions.
    pub commits: u64,
    /// Milliseconds from hand-over to commit.
    pub latency_ms: Percentiles,
    /// Peak resident memory of the process in bytes, the generated input included.
    pub peak_memory_bytes: Option<u64>,
    /// Resident memory before the engine started: mostly the generated input.
    pub memory_before_bytes: Option<u64>,
    /// What is live at the end.
    pub figures: Figures,
}

/// Percentiles in milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Percentiles {
    /// Half of the records are faster.
    pub p50: f64,
    /// 95 of 100 are.
    pub p95: f64,
    /// 99 of 100 are.
    pub p99: f64,
    /// 999 of 1000 are.
    pub p999: f64,
}

/// How many sources the records come from.
const SOURCES: u32 = 6;

/// The longest latency that is told apart, in microseconds: an hour.
const LONGEST_US: u64 = 3_600_000_000;

/// What keeps a benchmark from running.
#[derive(Debug, thiserror::Error)]
enum BenchError {
    #[error("the generated sources cannot be read: {0}")]
    Sources(#[from] toml::de::Error),
    #[error("no histogram: {0}")]
    Histogram(#[from] hdrhistogram::CreationError),
    #[error("the configuration of the benchmark is wrong: {}", .0.iter().map(|i| format!("{}: {}", i.key, i.message)).collect::<Vec<_>>().join("; "))]
    Config(Vec<Invalid>),
}

impl Fault for BenchError {
    fn domain(&self) -> Domain {
        Domain::Internal
    }
}

impl BenchArgs {
    /// Runs the benchmark and prints its report.
    pub fn run(self) -> ExitCode {
        let Self::Pipeline(args) = self;
        match pipeline(&args) {
            Ok(report) if args.json => println!("{}", serde_json::json!(report)),
            Ok(report) => print!("{}", table(&report)),
            Err(error) => return fail(error.as_ref()),
        }
        ExitCode::SUCCESS
    }
}

/// Measures the whole pipeline once.
///
/// # Errors
/// When an option is out of its range, or the engine fails.
pub fn pipeline(args: &PipelineArgs) -> Result<PipelineReport, Box<dyn Fault>> {
    let config = bench_config(args.workers.max(1))?;
    let generate = GenerateConfig {
        seed: args.seed,
        sources: SOURCES,
        duplicate_share: args.duplicates,
        update_share: args.updates,
        repeat_share: args.repeats,
        withdraw_share: 0.0,
        malformed_share: 0.0,
        venues_per_city: 1024,
        cities: 24,
        days: 730,
        ..GenerateConfig::default()
    };
    let partitions = args.workers.max(1);
    let topic: Arc<str> = config.full_name("raw.events").into();
    let records = bench_records(args.records, generate)?;
    let latency = Histogram::new_with_bounds(1, LONGEST_US, 3).map_err(BenchError::from)?;
    let log = Arc::new(BenchLog::new(topic, partitions, latency, records));
    let input_bytes = log.input_bytes;
    let memory_before_bytes = memory("VmRSS:");
    let discovery = Discovery::new(&config).map_err(BenchError::Config)?;
    let options = engine_options(&config, true, true);
    let started = Instant::now();
    let engine = start(Arc::clone(&log) as Arc<dyn Log>, options, Arc::new(discovery))?;
    let lifecycle = Arc::clone(engine.lifecycle());
    engine.wait()?;
    let seconds = started.elapsed().as_secs_f64();
    let figures = Figures::of(&lifecycle);
    let measured = log.measured();
    let rate = figures.records as f64 / seconds;
    Ok(PipelineReport {
        records: figures.records,
        workers: args.workers.max(1),
        seconds,
        records_per_second: rate,
        records_per_second_per_worker: rate / args.workers.max(1) as f64,
        input_bytes,
        output_bytes: measured.output_bytes,
        output_records: measured.output_records,
        commits: measured.commits,
        latency_ms: measured.percentiles(),
        peak_memory_bytes: memory("VmHWM:"),
        memory_before_bytes,
        figures,
    })
}

/// The defaults, with the generated sources, and nothing leaving because it is past.
fn bench_config(workers: usize) -> Result<Config, BenchError> {
    #[derive(Deserialize)]
    struct Sources {
        sources: BTreeMap<String, SourceConfig>,
    }
    let sources: Sources = toml::from_str(&source_config_toml(SOURCES, &[Shape::Mapped]))?;
    let mut config = Config { sources: sources.sources, workers, ..Config::default() };
    config.retention.past_events = Lifetime::Forever;
    Ok(config)
}

fn table(report: &PipelineReport) -> String {
    let megabytes = |bytes: Option<u64>| bytes.map_or("unknown".to_owned(), |b| format!("{} MB", b / 1_000_000));
    let latency = &report.latency_ms;
    let rows = [
        ("records", grouped(report.records)),
        ("workers", report.workers.to_string()),
        ("seconds", format!("{:.2}", report.seconds)),
        ("records/s", grouped(report.records_per_second as u64)),
        ("records/s per worker", grouped(report.records_per_second_per_worker as u64)),
        (
            "latency p50/p95/p99/p99.9",
            format!("{:.0} / {:.0} / {:.0} / {:.0} ms", latency.p50, latency.p95, latency.p99, latency.p999),
        ),
        ("memory before", megabytes(report.memory_before_bytes)),
        ("peak memory", megabytes(report.peak_memory_bytes)),
        ("bytes in", grouped(report.input_bytes)),
        ("bytes out", grouped(report.output_bytes)),
        ("records out", grouped(report.output_records)),
        ("transactions", grouped(report.commits)),
        ("listings", grouped(report.figures.listings.unsigned_abs())),
        ("events", grouped(report.figures.events.unsigned_abs())),
        ("dead letters", grouped(report.figures.dead_letters)),
    ];
    rows.iter().map(|(name, value)| format!("{name:<26} {value:>24}\n")).collect()
}

fn memory(field: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// A log in memory that gives one topic and takes everything.
struct BenchLog {
    topic: Arc<str>,
    ends: Vec<i64>,
    input_bytes: u64,
    input: Mutex<Vec<VecDeque<LogRecord>>>,
    measured: Arc<Mutex<Measured>>,
}

struct Measured {
    handed_over: BTreeMap<i32, VecDeque<(i64, u64, Instant)>>,
    latency: Histogram<u64>,
    output_bytes: u64,
    output_records: u64,
    commits: u64,
}

impl Measured {
    fn percentiles(&self) -> Percentiles {
        let at = |quantile| self.latency.value_at_quantile(quantile) as f64 / 1_000.0;
        Percentiles { p50: at(0.5), p95: at(0.95), p99: at(0.99), p999: at(0.999) }
    }

    fn committed(&mut self, partition: i32, next: i64) {
        let Some(waiting) = self.handed_over.get_mut(&partition) else { return };
        while waiting.front().is_some_and(|(last, _, _)| *last < next) {
            if let Some((_, count, at)) = waiting.pop_front() {
                let micros = u64::try_from(at.elapsed().as_micros()).unwrap_or(u64::MAX);
                self.latency.saturating_record_n(micros, count);
            }
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl BenchLog {
    fn new(
        topic: Arc<str>,
        partitions: usize,
        latency: Histogram<u64>,
        records: impl Iterator<Item = Generated>,
    ) -> Self {
        let mut input: Vec<VecDeque<LogRecord>> = vec![VecDeque::new(); partitions];
        let mut input_bytes = 0;
        let began = 1_780_000_000_000;
        for (at, generated) in (0i64..).zip(records) {
            let key = generated.key.unwrap_or_default();
            // Versions of one document stay in one partition, as a producer would keep them.
            let hash = xxhash_rust::xxh3::xxh3_64(&key) ^ xxhash_rust::xxh3::xxh3_64(generated.source.as_bytes());
            let partition = (hash % partitions as u64) as usize;
            let Some(queue) = input.get_mut(partition) else { continue };
            input_bytes += generated.value.as_ref().map_or(0, Vec::len) as u64;
            queue.push_back(LogRecord {
                topic: Arc::clone(&topic),
                partition: partition as i32,
                offset: queue.len() as i64,
                timestamp_ms: began + at,
                key: Some(key),
                value: generated.value,
                headers: vec![
                    ("source".to_owned(), generated.source.as_bytes().to_vec()),
                    ("content-type".to_owned(), generated.content_type.as_bytes().to_vec()),
                ],
            });
        }
        let measured =
            Measured { handed_over: BTreeMap::new(), latency, output_bytes: 0, output_records: 0, commits: 0 };
        Self {
            topic,
            ends: input.iter().map(|queue| queue.len() as i64).collect(),
            input_bytes,
            input: Mutex::new(input),
            measured: Arc::new(Mutex::new(measured)),
        }
    }

    fn measured(&self) -> MutexGuard<'_, Measured> {
        locked(&self.measured)
    }
}

impl Log for BenchLog {
    fn describe(&self) -> String {
        "memory".to_owned()
    }

    fn check(&self, _timeout: Duration) -> Result<(), LogError> {
        Ok(())
    }

    fn ensure_topics(&self, _specs: &[TopicSpec]) -> Result<(), LogError> {
        Ok(())
    }

    fn topics(&self, _prefix: &str) -> Result<Vec<TopicInfo>, LogError> {
        Ok(Vec::new())
    }

    fn watermarks(&self, topic: &str) -> Result<Option<Vec<Watermarks>>, LogError> {
        Ok(Some(match topic == &*self.topic {
            true => self.ends.iter().map(|high| Watermarks { low: 0, high: *high }).collect(),
            false => vec![Watermarks { low: 0, high: 0 }],
        }))
    }

    fn reader(&self, partitions: &[(TopicPartition, Start)]) -> Result<Box<dyn Reader>, LogError> {
        let mut queues = Vec::new();
        for (at, _) in partitions {
            let queue = match at.topic == self.topic {
                true => locked(&self.input).get_mut(at.partition as usize).map(std::mem::take),
                false => None,
            };
            queues.push((at.clone(), queue.unwrap_or_default(), false));
        }
        Ok(Box::new(BenchReader { queues, measured: Arc::clone(&self.measured) }))
    }

    fn producer(&self) -> Result<Box<dyn Producer>, LogError> {
        Ok(Box::new(Discard))
    }

    fn transactional(&self, _id: &str, _group: &str) -> Result<Box<dyn Transactional>, LogError> {
        Ok(Box::new(BenchWriter { measured: Arc::clone(&self.measured) }))
    }
}

struct BenchReader {
    queues: Vec<(TopicPartition, VecDeque<LogRecord>, bool)>,
    measured: Arc<Mutex<Measured>>,
}

impl Reader for BenchReader {
    fn poll(&mut self, into: &mut Vec<Polled>, max_bytes: usize, wait: Duration) -> Result<(), LogError> {
        let before = into.len();
        for (at, queue, ended) in &mut self.queues {
            let (mut bytes, mut count, mut last) = (0, 0, None);
            while bytes < max_bytes
                && let Some(record) = queue.pop_front()
            {
                bytes += record.size();
                count += 1;
                last = Some(record.offset);
                into.push(Polled::Record(record));
            }
            if let Some(last) = last {
                let mut measured = locked(&self.measured);
                measured.handed_over.entry(at.partition).or_default().push_back((last, count, Instant::now()));
            } else if !*ended {
                *ended = true;
                into.push(Polled::End { partition: at.clone(), next: 0 });
            }
        }
        if into.len() == before {
            std::thread::sleep(wait);
        }
        Ok(())
    }

    fn assign(&mut self, partition: TopicPartition, _start: Start) -> Result<(), LogError> {
        self.queues.push((partition, VecDeque::new(), false));
        Ok(())
    }
}

struct BenchWriter {
    measured: Arc<Mutex<Measured>>,
}

impl Transactional for BenchWriter {
    fn commit(&mut self, transaction: &Transaction) -> Result<(), LogError> {
        let size =
            |record: &NewRecord| record.key.as_ref().map_or(0, Vec::len) + record.value.as_ref().map_or(0, Vec::len);
        let mut measured = locked(&self.measured);
        measured.commits += 1;
        measured.output_records += transaction.records.len() as u64;
        measured.output_bytes += transaction.records.iter().map(size).sum::<usize>() as u64;
        for (at, next) in transaction.positions.iter().filter(|(at, _)| at.topic.ends_with("raw.events")) {
            measured.committed(at.partition, *next);
        }
        Ok(())
    }

    fn check(&mut self, _positions: Vec<(TopicPartition, i64)>) -> Result<(), LogError> {
        Ok(())
    }
}

struct Discard;

impl Producer for Discard {
    fn send(&mut self, _record: NewRecord) -> Result<(), LogError> {
        Ok(())
    }

    fn flush(&mut self) -> Result<(), LogError> {
        Ok(())
    }
}
