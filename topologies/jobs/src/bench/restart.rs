//! A start with jobs that wait: how long it takes, and what it holds of memory.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use headwater::config::Config;
use headwater::engine::Engine;
use headwater::log::Log;
use headwater::telemetry::resident_bytes;
use headwater::tools::open_log;
use headwater::words::grouped;
use serde::Serialize;

use super::BenchJobsArgs;
use super::on_log::{Outcome, command, engine, on_log};
use super::scheduler::submit;
use crate::Settings;

/// How often it is looked whether the engine is ready.
const LOOK: Duration = Duration::from_millis(1);

/// What was measured.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RestartReport {
    /// Jobs that waited.
    pub waiting: u64,
    /// Jobs a second that were taken in before.
    pub submitted_per_second: f64,
    /// From the start to the first decision, in seconds.
    pub restart_seconds: f64,
    /// Memory that the process holds afterwards, in bytes.
    pub resident_bytes: Option<u64>,
}

/// Submits jobs, stops the engine, and starts it again.
pub(super) fn measure(args: &BenchJobsArgs) -> Outcome<()> {
    let report = on_log(args, |config| run(config, args.waiting))?;
    if args.json {
        println!("{}", serde_json::to_string(&report).unwrap_or_default());
        return Ok(());
    }
    println!(
        "{} jobs wait: submitted at {:.0} a second; started again in {:.2} s; {} MB of memory",
        grouped(report.waiting),
        report.submitted_per_second,
        report.restart_seconds,
        grouped(report.resident_bytes.unwrap_or(0) / 1_000_000)
    );
    Ok(())
}

fn run(config: &Config<Settings>, waiting: u64) -> Outcome<RestartReport> {
    let log: Arc<dyn Log> = open_log(&config.runtime)?;
    let before = engine(config, &log)?;
    let begun = Instant::now();
    let mut producer = log.producer()?;
    for number in 0..waiting {
        let id = format!("waiting-{number}");
        producer.send(command(&config.runtime.prefix, &id, submit("waiting", &id)))?;
    }
    producer.flush()?;
    drop(producer);
    while before.lifecycle().totals().records < waiting && !before.ended() {
        thread::sleep(LOOK);
    }
    stop(before)?;
    let submitted_per_second = waiting as f64 / begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    let again = engine(config, &log)?;
    while !again.lifecycle().recovered() && !again.ended() {
        thread::sleep(LOOK);
    }
    let restart_seconds = begun.elapsed().as_secs_f64();
    let resident_bytes = resident_bytes();
    stop(again)?;
    Ok(RestartReport { waiting, submitted_per_second, restart_seconds, resident_bytes })
}

fn stop(engine: Engine) -> Outcome<()> {
    engine.lifecycle().stop();
    Ok(engine.wait()?)
}
