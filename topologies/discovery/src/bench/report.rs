//! What is told of all runs together.

use headwater::words::grouped;
use serde::{Deserialize, Serialize};

use super::floor::FloorReport;
use super::pipeline::RunReport;
use super::plain::PlainReport;

/// The run of the median rate, and how far the others are from it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The run of the median rate.
    #[serde(flatten)]
    pub median: RunReport,
    /// Slowest and fastest run, in records a second.
    pub spread: Spread,
    /// Records a second of every run, in the order in which they ran.
    pub runs: Vec<f64>,
    /// How far the pipeline is from the floor; with `--floor`.
    pub floor: Option<FloorComparison>,
}

/// The ends of a range.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

/// The floor beside the pipeline.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FloorComparison {
    /// With one thread.
    pub one_thread: FloorReport,
    /// With as many threads as the pipeline has workers.
    pub same_threads: FloorReport,
    /// How many times as many records a second as the pipeline, with as many threads.
    pub ratio: f64,
    /// The same by processor time instead of time on the clock, which does not depend on what else
    /// the machine does.
    pub processor_ratio: Option<f64>,
    /// The ratio by the slowest floor and the fastest pipeline, and the other way round.
    pub ratio_spread: Spread,
    /// The same work without the dataflow, on one thread.
    pub plain: PlainReport,
    /// How many times as many records as the pipeline it does for each second of processor time.
    pub plain_ratio: Option<f64>,
}

/// The middle one by `of`; of an even number the lower of the two.
pub(super) fn median_by<T: Clone>(all: &[T], of: impl Fn(&T) -> f64) -> Option<T> {
    let mut sorted: Vec<&T> = all.iter().collect();
    sorted.sort_by(|a, b| of(a).total_cmp(&of(b)));
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().cloned()
}

/// Least and most of `values`; zeros where there are none.
pub(super) fn spread(values: impl Iterator<Item = f64> + Clone) -> Spread {
    let min = values.clone().reduce(f64::min).unwrap_or(0.0);
    Spread { min, max: values.reduce(f64::max).unwrap_or(0.0) }
}

impl Report {
    /// Of one run or more; `None` without any.
    pub(super) fn of(runs: &[RunReport]) -> Option<Self> {
        let rates: Vec<f64> = runs.iter().map(|run| run.records_per_second).collect();
        let median = median_by(runs, |run| run.records_per_second)?;
        Some(Self { median, spread: spread(rates.iter().copied()), runs: rates, floor: None })
    }

    /// Adds the floor, run with one thread and with as many as there are workers, and the plain program.
    pub(super) fn compare(&mut self, one: &[FloorReport], same: &[FloorReport], plain: &[PlainReport]) {
        let rate = |floor: &FloorReport| floor.records_per_second;
        let (Some(one_thread), Some(same_threads)) = (median_by(one, rate), median_by(same, rate)) else { return };
        let Some(plain) = median_by(plain, |plain| plain.records_per_second) else { return };
        let by_processor = |other: Option<f64>| Some(other? / self.median.records_per_cpu_second?);
        let floors = spread(same.iter().map(rate));
        self.floor = Some(FloorComparison {
            ratio: same_threads.records_per_second / self.median.records_per_second,
            processor_ratio: by_processor(same_threads.records_per_cpu_second),
            plain_ratio: by_processor(plain.records_per_cpu_second),
            ratio_spread: Spread { min: floors.min / self.spread.max, max: floors.max / self.spread.min },
            one_thread,
            same_threads,
            plain,
        });
    }

    /// For people.
    pub(super) fn table(&self) -> String {
        let mut rows = self.figures();
        rows.extend(self.floor.iter().flat_map(floor_rows));
        rows.iter().map(|(name, value)| format!("{name:<28} {value:>40}\n")).collect::<String>() + &self.stage_lines()
    }

    fn figures(&self) -> Vec<(&'static str, String)> {
        let run = &self.median;
        let known = |text: Option<String>| text.unwrap_or_else(|| "unknown".to_owned());
        let megabytes = |bytes: Option<u64>| known(bytes.map(|bytes| format!("{} MB", bytes / 1_000_000)));
        let latency =
            run.latency_ms.map(|at| format!("{:.0} / {:.0} / {:.0} / {:.0} ms", at.p50, at.p95, at.p99, at.p999));
        let served = run.shown_after_ms.map(|ms| ("served after the last commit", format!("{ms:.0} ms")));
        let unseen = (run.never_seen > 0).then(|| ("never seen", grouped(run.never_seen)));
        let quality = run.quality.map(|found| format!("{:.4} / {:.4}", found.precision, found.recall));
        let rows = vec![
            ("records", grouped(run.records)),
            ("workers", run.workers.to_string()),
            ("seconds", format!("{:.2}", run.seconds)),
            ("records/s", range(run.records_per_second, self.spread, self.runs.len())),
            ("records/s per worker", grouped(run.records_per_second_per_worker as u64)),
            ("records per processor second", known(run.records_per_cpu_second.map(|rate| grouped(rate as u64)))),
            ("latency p50/p95/p99/p99.9", known(latency)),
            ("memory before", megabytes(run.memory_before_bytes)),
            ("peak memory", megabytes(run.peak_memory_bytes)),
            ("bytes per live listing", known(run.bytes_per_listing.map(|bytes| grouped(bytes as u64)))),
            ("bytes in, all records", grouped(run.input_bytes)),
            ("bytes out", grouped(run.output_bytes)),
            ("of these events", grouped(run.event_bytes)),
            ("records out", grouped(run.output_records)),
            ("transactions", grouped(run.commits)),
            ("listings", grouped(run.figures.listings.unsigned_abs())),
            ("events", grouped(run.figures.events.unsigned_abs())),
            ("dead letters", grouped(run.figures.dead_letters)),
            ("pairwise precision/recall", known(quality)),
        ];
        rows.into_iter().chain(served).chain(unseen).collect()
    }

    fn stage_lines(&self) -> String {
        let mut stages: Vec<_> = self.median.stages.iter().filter(|(_, share)| **share >= 0.005).collect();
        stages.sort_by(|a, b| b.1.total_cmp(a.1));
        let stages: Vec<String> =
            stages.iter().map(|(name, share)| format!("{name} {:.0} %", **share * 100.0)).collect();
        if stages.is_empty() { String::new() } else { format!("time by stage: {}\n", stages.join(", ")) }
    }
}

fn range(median: f64, spread: Spread, runs: usize) -> String {
    let median = grouped(median as u64);
    if runs < 2 {
        return median;
    }
    format!("{median} ({} to {} in {runs} runs)", grouped(spread.min as u64), grouped(spread.max as u64))
}

fn floor_rows(floor: &FloorComparison) -> Vec<(&'static str, String)> {
    let quality =
        |report: &FloorReport| report.quality.map(|found| format!("{:.4} / {:.4}", found.precision, found.recall));
    let (one, same) = (&floor.one_thread, &floor.same_threads);
    let [parse, find, join, write] = same.phases;
    let ends = floor.ratio_spread;
    let ratio = |ratio: Option<f64>| ratio.map_or("unknown".to_owned(), |ratio| format!("{ratio:.2}"));
    let [reading, resolving, writing] = floor.plain.phases;
    vec![
        ("floor, one thread", format!("{} records/s", grouped(one.records_per_second as u64))),
        (
            "floor, as many threads",
            format!("{} records/s on {}", grouped(same.records_per_second as u64), same.threads),
        ),
        ("floor parse/match/join/write", format!("{parse:.2} / {find:.2} / {join:.2} / {write:.2} s")),
        ("floor bytes out, all events", grouped(same.output_bytes)),
        ("floor precision/recall", quality(same).unwrap_or_else(|| "unknown".to_owned())),
        ("floor / pipeline", format!("{:.2} ({:.2} to {:.2})", floor.ratio, ends.min, ends.max)),
        ("the same by processor time", ratio(floor.processor_ratio)),
        ("plain program, one thread", format!("{} records/s", grouped(floor.plain.records_per_second as u64))),
        ("plain read/resolve/write", format!("{reading:.2} / {resolving:.2} / {writing:.2} s")),
        ("plain bytes out", grouped(floor.plain.output_bytes)),
        ("plain / pipeline, processor", ratio(floor.plain_ratio)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_one_of_the_runs() {
        assert_eq!(median_by(&[3.0, 1.0, 2.0], |x| *x), Some(2.0));
        assert_eq!(median_by(&[4.0, 1.0, 3.0, 2.0], |x| *x), Some(2.0));
        assert_eq!(median_by::<f64>(&[], |x| *x), None);
        assert_eq!(spread([2.0, 5.0, 1.0].into_iter()), Spread { min: 1.0, max: 5.0 });
    }

    #[test]
    fn a_range_is_told_only_where_there_is_one() {
        let spread = Spread { min: 900.0, max: 1_100.0 };
        assert_eq!(range(1_000.0, spread, 3), "1,000 (900 to 1,100 in 3 runs)");
        assert_eq!(range(1_000.0, spread, 1), "1,000");
    }
}
