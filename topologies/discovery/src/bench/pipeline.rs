//! One run of the whole pipeline on the log in memory.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use crate::config::{Config, Sections};
use crate::generate::{GenerateConfig, Shape, source_config_toml};
use hdrhistogram::Histogram;
use headwater::config::{Lifetime, Sources, load};
use headwater::engine::lifecycle::Lifecycle;
use headwater::engine::start;
use headwater::error::Fault;
use headwater::log::Log;
use headwater::telemetry::Metrics;
use headwater_operators::extract::SourceConfig;
use serde::{Deserialize, Serialize};

use super::BenchError;
use super::args::PipelineArgs;
use super::input::{Input, Lines, Sender};
use super::measured::{MeasuredLog, MeasuredOptions};
use super::process::{Usage, forget_peak, peak, usage};
use super::quality::{Quality, quality};
use crate::discovery::Discovery;
use crate::figures::Figures;
use headwater::run::{Declared, declare, engine_options};

/// How many sources generated records come from.
const SOURCES: u32 = 6;

/// What one run came to. Counts and times leave out the warm-up.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunReport {
    /// Records processed.
    pub records: u64,
    /// Worker threads.
    pub workers: usize,
    /// From the end of the warm-up to the last commit.
    pub seconds: f64,
    /// Records a second.
    pub records_per_second: f64,
    /// The same, for each worker.
    pub records_per_second_per_worker: f64,
    /// Records for each second of processor time, of all threads together: records a second and
    /// core, even where other programs take their share.
    pub records_per_cpu_second: Option<f64>,
    /// Bytes of the values of all records, warm-up included.
    pub input_bytes: u64,
    /// Bytes written: keys and values.
    pub output_bytes: u64,
    /// Those of them that are events.
    pub event_bytes: u64,
    /// Records written.
    pub output_records: u64,
    /// Transactions.
    pub commits: u64,
    /// Milliseconds from the moment at which a record was due (without a rate: handed over) until
    /// it was committed, or seen by a consumer.
    pub latency_ms: Option<Percentiles>,
    /// Of how many records that was measured.
    pub latency_samples: u64,
    /// Records that no consumer has seen, though they should have changed an event.
    pub never_seen: u64,
    /// Milliseconds from the last commit until serving shows all events; `None` without serving.
    pub shown_after_ms: Option<f64>,
    /// Peak resident memory of the process in bytes, records and measuring included.
    pub peak_memory_bytes: Option<u64>,
    /// Resident memory before the engine started: mostly the records.
    pub memory_before_bytes: Option<u64>,
    /// By how much resident memory has grown at the end, for each live listing.
    pub bytes_per_listing: Option<f64>,
    /// How well listings were brought together; `None` without a truth.
    pub quality: Option<Quality>,
    /// Share of the workers' busy time by stage, warm-up included.
    pub stages: BTreeMap<String, f64>,
    /// What is live at the end.
    pub figures: Figures,
}

/// Percentiles in milliseconds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
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

impl Percentiles {
    /// Of latencies in microseconds; `None` where there are none.
    pub(super) fn of(latency: &Histogram<u64>) -> Option<Self> {
        let at = |quantile| latency.value_at_quantile(quantile) as f64 / 1_000.0;
        (!latency.is_empty()).then(|| Self { p50: at(0.5), p95: at(0.95), p99: at(0.99), p999: at(0.999) })
    }
}

/// The records of `args`, dealt to so many partitions.
pub(super) fn input(args: &PipelineArgs, partitions: usize) -> Result<Input, BenchError> {
    if let (Some(file), Some(source)) = (&args.input, &args.source) {
        return lines(args, file, source, partitions);
    }
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
    Input::generated(args.records, generate, partitions)
}

fn lines(args: &PipelineArgs, file: &Path, source: &str, partitions: usize) -> Result<Input, BenchError> {
    let sender = Sender { source: source.into(), content_type: "".into() };
    let input = Input::lines(&Lines { file, sender, key: args.key.as_deref(), limit: args.records }, partitions)?;
    if input.len() == 0 { Err(BenchError::Empty { path: file.to_owned() }) } else { Ok(input) }
}

/// What is configured, with the generated sources, and nothing of theirs leaving because it is past.
pub(super) fn config(args: &PipelineArgs) -> Result<Config, Box<dyn Fault>> {
    #[derive(Deserialize)]
    struct Generated {
        sources: BTreeMap<String, SourceConfig>,
    }
    let mut config = load::<Sections>(&Sources::of_process(args.config.clone(), args.set.clone()))?.config;
    config.runtime.workers = args.workers.max(1);
    if args.input.is_none() {
        let text = source_config_toml(SOURCES, &[Shape::Mapped]);
        let generated: Generated = toml::from_str(&text).map_err(BenchError::Sources)?;
        for (name, source) in generated.sources {
            config.topology.sources.entry(name).or_insert(source);
        }
        config.topology.retention.past_events = Lifetime::Forever;
    }
    Ok(config)
}

/// Runs the pipeline once on the log in memory.
pub(super) fn in_memory(args: &PipelineArgs) -> Result<RunReport, Box<dyn Fault>> {
    let metrics = Metrics::install().ok();
    let config = config(args)?;
    let input = input(args, args.workers.max(1))?;
    let warm_up = args.warm_up(input.len());
    let options = MeasuredOptions { topic: config.runtime.full_name("raw.events").into(), warm_up, rate: args.rate };
    let Declared { catalog, program } = declare::<Discovery>(&config).map_err(BenchError::Config)?;
    let measured_log = MeasuredLog::new(input, options).map_err(BenchError::from)?;
    let log: Arc<dyn Log> = Arc::new(measured_log.log());
    log.ensure_topics(&config.runtime.topic_specs())?;
    forget_peak();
    let before = usage();
    let started = Instant::now();
    let engine = start(log, engine_options(&config.runtime, &catalog, true, true), program)?;
    let lifecycle = Arc::clone(engine.lifecycle());
    engine.wait()?;
    let end = usage();
    let measured = measured_log.measured();
    let (began, used) = measured.began.unwrap_or((started, before));
    let (ended, used_at_end) = measured.ended.unwrap_or((Instant::now(), end));
    let timing = Timing { seconds: ended.duration_since(began).as_secs_f64(), from: used, to: used_at_end };
    let figures = Figures::of(&lifecycle);
    let records = figures.records.saturating_sub(warm_up);
    // Not after the engine has ended: by then it has given back what it held.
    let grown = used_at_end.resident.zip(before.resident);
    let grown = grown.map(|(end, before)| end.saturating_sub(before).saturating_sub(measured.written.own_bytes()));
    let truth = measured_log.input().truth.as_ref();
    Ok(RunReport {
        input_bytes: measured_log.input().value_bytes,
        output_bytes: measured.written.bytes,
        event_bytes: measured.written.event_bytes,
        output_records: measured.written.records,
        commits: measured.written.commits,
        latency_ms: Percentiles::of(&measured.latency),
        latency_samples: measured.latency.len(),
        memory_before_bytes: before.resident,
        bytes_per_listing: grown.map(|grown| grown as f64 / figures.listings.max(1) as f64),
        quality: truth.map(|truth| quality(truth, &measured.written.events())),
        ..timing.report(args.workers.max(1), records, figures, stages(&lifecycle, metrics.as_ref()))
    })
}

/// How long a run lasted, and what the process had used when it began and when it ended.
pub(super) struct Timing {
    pub seconds: f64,
    pub from: Usage,
    pub to: Usage,
}

impl Timing {
    /// A report of what follows from time and counts alone.
    pub fn report(&self, workers: usize, records: u64, figures: Figures, stages: BTreeMap<String, f64>) -> RunReport {
        let rate = records as f64 / self.seconds;
        let processor = self.to.since(self.from);
        RunReport {
            records,
            workers,
            seconds: self.seconds,
            records_per_second: rate,
            records_per_second_per_worker: rate / workers as f64,
            records_per_cpu_second: processor.filter(|used| *used > 0.0).map(|used| records as f64 / used),
            input_bytes: 0,
            output_bytes: 0,
            event_bytes: 0,
            output_records: 0,
            commits: 0,
            latency_ms: None,
            latency_samples: 0,
            never_seen: 0,
            shown_after_ms: None,
            peak_memory_bytes: peak(),
            memory_before_bytes: None,
            bytes_per_listing: None,
            quality: None,
            stages,
            figures,
        }
    }
}

/// Share of the workers' busy time by stage; empty where the engine does not count it.
pub(super) fn stages(lifecycle: &Lifecycle, metrics: Option<&Metrics>) -> BTreeMap<String, f64> {
    let Some(metrics) = metrics else { return BTreeMap::new() };
    lifecycle.publish();
    shares(&metrics.render())
}

fn shares(metrics: &str) -> BTreeMap<String, f64> {
    let stage = |line: &str| {
        let rest = line.strip_prefix("headwater_stage_busy_milliseconds_total{stage=\"")?;
        let (name, value) = rest.split_once("\"} ")?;
        Some((name.to_owned(), value.parse::<f64>().ok()?))
    };
    let busy: BTreeMap<String, f64> = metrics.lines().filter_map(stage).collect();
    let all: f64 = busy.values().sum();
    busy.into_iter().filter(|_| all > 0.0).map(|(name, ms)| (name, ms / all)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_stages_add_up() {
        let text = "# TYPE x counter\nheadwater_stage_busy_milliseconds_total{stage=\"read\"} 30\n\
                    headwater_stage_busy_milliseconds_total{stage=\"merge\"} 10\nother 4\n";
        assert_eq!(shares(text), [("merge".to_owned(), 0.25), ("read".to_owned(), 0.75)].into());
        assert!(shares("").is_empty());
    }

    #[test]
    fn percentiles_are_in_milliseconds() {
        let mut latency = Histogram::new_with_bounds(1, 1_000_000, 3).unwrap();
        assert!(Percentiles::of(&latency).is_none());
        (1..=1_000).for_each(|ms| latency.record(ms * 100).unwrap());
        let found = Percentiles::of(&latency).unwrap();
        assert!((found.p50 - 50.0).abs() < 0.1 && (found.p99 - 99.0).abs() < 0.1, "{found:?}");
    }
}
