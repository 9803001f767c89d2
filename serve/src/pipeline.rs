//! How the topology is doing: its figures now, and the last hour of them.
//!
//! Figures of the engine are those of the process that serves: a replica has none. They are kept in memory, one
//! sample every ten seconds, so that the last hour can be seen without Prometheus.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use headwater::admin::{Phase, Readiness};
use headwater::telemetry::{Figures, Metrics};
use jiff::Timestamp;
use serde::Serialize;

/// How far apart samples are.
pub(crate) const STEP: Duration = Duration::from_secs(10);

/// Samples of an hour, and one to begin with.
const MOST_SAMPLES: usize = 361;

/// The stages in the order in which records pass them; those that a topology has beside them come before `encode`.
const STAGES: [&str; 14] = [
    "read",
    "restore",
    "extract",
    "upsert",
    "geocode",
    "fingerprint",
    "block",
    "cluster",
    "merge",
    "score",
    "window",
    "encode",
    "commit",
    "other",
];

/// The engine in this process.
pub struct Engine {
    metrics: Metrics,
    readiness: Arc<Readiness>,
    workers: usize,
}

impl Engine {
    /// The engine with these metrics, on so many workers of this process.
    pub fn new(metrics: Metrics, readiness: Arc<Readiness>, workers: usize) -> Self {
        Self { metrics, readiness, workers }
    }
}

/// How the topology is doing.
#[derive(Default)]
pub struct Pipeline {
    engine: Option<Engine>,
    samples: Mutex<VecDeque<Sample>>,
}

/// What is kept of a moment.
#[derive(Debug, Clone, Default)]
struct Sample {
    ms: i64,
    records: f64,
    lag_seconds: f64,
    listings: f64,
    events: f64,
    dead_letters: f64,
    commit_seconds: f64,
    commits: f64,
    paused_ms: f64,
    /// Time that workers have spent, and records that went in, by stage.
    stages: BTreeMap<String, (f64, f64)>,
}

impl Sample {
    fn of(figures: &Figures, ms: i64) -> Self {
        let sum = |name: &str| figures.sum(name).unwrap_or(0.0);
        let records = figures.by("headwater_stage_records_in_total", "stage");
        let busy = figures.by("headwater_stage_busy_milliseconds_total", "stage");
        let stages = busy
            .into_iter()
            .map(|(stage, busy)| (stage.to_owned(), (busy, records.get(stage).copied().unwrap_or(0.0))));
        Self {
            ms,
            records: sum("headwater_input_records_total"),
            lag_seconds: figures.greatest("headwater_input_lag_seconds").unwrap_or(0.0),
            listings: sum("headwater_listings"),
            events: sum("headwater_events"),
            dead_letters: sum("headwater_dead_letters_total"),
            commit_seconds: sum("headwater_commit_seconds_sum"),
            commits: sum("headwater_commit_seconds_count"),
            paused_ms: sum("headwater_input_paused_milliseconds_total"),
            stages: stages.collect(),
        }
    }

    fn seconds_since(&self, earlier: &Self) -> f64 {
        (self.ms - earlier.ms) as f64 / 1e3
    }
}

/// The engine, as `/api/pipeline/status` shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EngineStatus {
    #[serde(flatten)]
    phase: Phase,
    workers: usize,
    /// Raw records read.
    records: f64,
    records_per_second: f64,
    lag_records: f64,
    lag_seconds: f64,
    /// The share of the time in which reading paused, because too much was in flight.
    paused_share: f64,
    stages: Vec<StageStatus>,
    /// The stage that takes most of the workers' time, where it takes more than half of one worker's.
    bottleneck: Option<String>,
    /// Dead letters since the start of the process.
    dead_letters: f64,
}

/// A stage of the flow.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct StageStatus {
    stage: String,
    records_per_second: f64,
    /// The share of all workers' time.
    busy_share: f64,
}

/// A stretch of the history; all series are equally long, the oldest value first.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Series {
    step_seconds: u64,
    until: Timestamp,
    series: BTreeMap<&'static str, Vec<Option<f64>>>,
}

impl Pipeline {
    /// How `engine` is doing; of none where it runs in other processes.
    pub fn of(engine: Option<Engine>) -> Self {
        Self { engine, ..Self::default() }
    }

    fn samples(&self) -> MutexGuard<'_, VecDeque<Sample>> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a sample every [`STEP`], for ever.
    pub(crate) async fn sample(self: Arc<Self>) {
        let Some(engine) = &self.engine else { return };
        let mut ticks = tokio::time::interval(STEP);
        loop {
            ticks.tick().await;
            self.keep(Sample::of(&engine.metrics.figures(), Timestamp::now().as_millisecond()));
        }
    }

    fn keep(&self, sample: Sample) {
        let mut samples = self.samples();
        if samples.len() >= MOST_SAMPLES {
            samples.pop_front();
        }
        samples.push_back(sample);
    }

    /// The engine now; `None` where it runs in other processes.
    pub(crate) fn engine(&self) -> Option<EngineStatus> {
        let engine = self.engine.as_ref()?;
        let figures = engine.metrics.figures();
        let now = Sample::of(&figures, Timestamp::now().as_millisecond());
        let before = self.samples().iter().rev().find(|one| now.seconds_since(one) >= 2.0).cloned();
        let lag_records = figures.sum("headwater_input_lag_records").unwrap_or(0.0);
        Some(status(engine.readiness.phase(), engine.workers, lag_records, &now, before.as_ref()))
    }

    /// How far the engine has come; `None` where it runs in other processes.
    pub(crate) fn phase(&self) -> Option<Phase> {
        self.engine.as_ref().map(|engine| engine.readiness.phase())
    }

    /// Raw records read by source, since the start of the process; `None` where the engine runs in other processes.
    pub(crate) fn records_by_source(&self) -> Option<BTreeMap<String, f64>> {
        let figures = self.engine.as_ref()?.metrics.figures();
        let by_source = figures.by("headwater_source_records_total", "source");
        // The label of all that are beyond the number of labels.
        let named = by_source.into_iter().filter(|(source, _)| *source != "other");
        Some(named.map(|(source, records)| (source.to_owned(), records)).collect())
    }

    /// The last `timeframe` of the history.
    pub(crate) fn series(&self, timeframe: Duration) -> Series {
        let samples = self.samples();
        let count = (timeframe.as_secs() / STEP.as_secs()) as usize;
        let kept = samples.iter().skip(samples.len().saturating_sub(count + 1)).collect::<Vec<_>>();
        let steps = kept.windows(2).filter_map(|pair| Some((*pair.first()?, *pair.last()?)));
        let missing = count.saturating_sub(kept.len().saturating_sub(1));
        let mut series: BTreeMap<&'static str, Vec<Option<f64>>> =
            FIGURES.into_iter().map(|(name, _)| (name, vec![None; missing])).collect();
        for (before, now) in steps {
            for (name, value) in FIGURES {
                series.entry(name).or_default().push(value(before, now).map(rounded));
            }
        }
        Series { step_seconds: STEP.as_secs(), until: Timestamp::now(), series }
    }
}

/// What a step of the history shows.
type Figure = fn(&Sample, &Sample) -> Option<f64>;

const FIGURES: [(&str, Figure); 6] = [
    ("recordsPerSecond", |before, now| Some(rate(before.records, now.records, now.seconds_since(before)))),
    ("lagSeconds", |_, now| Some(now.lag_seconds)),
    ("listings", |_, now| Some(now.listings)),
    ("events", |_, now| Some(now.events)),
    ("deadLetters", |before, now| Some((now.dead_letters - before.dead_letters).max(0.0))),
    ("commitSeconds", |before, now| {
        let commits = now.commits - before.commits;
        (commits > 0.0).then(|| (now.commit_seconds - before.commit_seconds) / commits)
    }),
];

fn rate(before: f64, now: f64, seconds: f64) -> f64 {
    if seconds > 0.0 { ((now - before) / seconds).max(0.0) } else { 0.0 }
}

/// Three digits after the point: more would be noise.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

fn status(phase: Phase, workers: usize, lag_records: f64, now: &Sample, before: Option<&Sample>) -> EngineStatus {
    let unchanged = Sample { ms: now.ms - 1, ..now.clone() };
    let before = before.unwrap_or(&unchanged);
    let seconds = now.seconds_since(before);
    let worker_ms = seconds * 1e3 * workers.max(1) as f64;
    let share = |ms: f64| rounded((ms / worker_ms).clamp(0.0, 1.0));
    let mut stages: Vec<StageStatus> = now
        .stages
        .iter()
        .map(|(stage, (busy, records))| {
            let (busy_before, records_before) = before.stages.get(stage).copied().unwrap_or((0.0, 0.0));
            StageStatus {
                stage: stage.clone(),
                records_per_second: rounded(rate(records_before, *records, seconds)),
                busy_share: share(busy - busy_before),
            }
        })
        .collect();
    stages.sort_by_key(|stage| place(&stage.stage));
    let busiest = stages.iter().max_by(|a, b| a.busy_share.total_cmp(&b.busy_share));
    let bottleneck = busiest.filter(|stage| stage.busy_share * workers.max(1) as f64 > 0.5);
    EngineStatus {
        phase,
        workers,
        records: now.records,
        records_per_second: rounded(rate(before.records, now.records, seconds)),
        lag_records,
        lag_seconds: rounded(now.lag_seconds),
        paused_share: share(now.paused_ms - before.paused_ms),
        bottleneck: bottleneck.map(|stage| stage.stage.clone()),
        stages,
        dead_letters: now.dead_letters,
    }
}

/// Where a stage stands in the flow.
fn place(stage: &str) -> (usize, String) {
    let unknown = STAGES.len() - 3;
    let known = STAGES.iter().position(|known| *known == stage);
    let place = known.map_or(unknown, |place| if place >= unknown { place + 1 } else { place });
    (place, stage.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(ms: i64, records: f64, busy: f64) -> Sample {
        let stages = [("block", busy), ("commit", 0.0), ("count", 0.0), ("read", busy / 10.0)];
        Sample {
            ms,
            records,
            stages: stages.map(|(stage, busy)| (stage.to_owned(), (busy, records))).into(),
            ..Sample::default()
        }
    }

    #[test]
    fn rates_and_shares_are_those_since_the_last_sample() {
        let status =
            status(Phase::Running, 2, 7.0, &sample(20_000, 700.0, 9_000.0), Some(&sample(10_000, 200.0, 1_000.0)));
        assert_eq!((status.records_per_second, status.lag_records), (50.0, 7.0));
        let stages: Vec<(&str, f64)> = status.stages.iter().map(|one| (one.stage.as_str(), one.busy_share)).collect();
        assert_eq!(stages, [("read", 0.04), ("block", 0.4), ("count", 0.0), ("commit", 0.0)]);
        assert_eq!(status.bottleneck.as_deref(), Some("block"));
    }

    #[test]
    fn the_history_is_as_long_as_it_was_asked_for() {
        let pipeline = Pipeline::default();
        (0..400).for_each(|step| pipeline.keep(sample(step * 10_000, step as f64 * 100.0, 0.0)));
        let minute = pipeline.series(Duration::from_secs(60));
        assert_eq!(minute.series["recordsPerSecond"], vec![Some(10.0); 6]);
        assert_eq!(minute.series["commitSeconds"], vec![None; 6]);
        assert_eq!(pipeline.series(Duration::from_secs(3600)).series["events"].len(), 360);
        let young = Pipeline::default();
        (0..3).for_each(|step| young.keep(sample(step * 10_000, 0.0, 0.0)));
        assert_eq!(
            young.series(Duration::from_secs(50)).series["lagSeconds"],
            [None, None, None, Some(0.0), Some(0.0)]
        );
    }
}
