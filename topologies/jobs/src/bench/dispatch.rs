//! From submit to lease on a real log: an engine in this process, a client that submits, a worker that reads the
//! topic of leases and completes what it is given at once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use headwater::config::Config;
use headwater::engine::Engine;
use headwater::log::{Log, LogError, Polled, Producer, Start, TopicPartition};
use headwater::tools::open_log;
use headwater::words::grouped;
use serde::{Deserialize, Serialize};

use super::on_log::{Outcome, command, engine, on_log};
use super::{BenchError, BenchJobsArgs};
use crate::Settings;

/// How often the client looks what is due.
const TICK: Duration = Duration::from_millis(1);

/// What comes before the clock starts.
const WARM_UP: Duration = Duration::from_secs(2);
const WARM_UP_RATE: u32 = 100;

/// Jobs that the worker has at once, at most.
const SLOTS: u64 = 2_000;

/// What is not done so long after the last submit is stuck.
const PATIENCE: Duration = Duration::from_secs(30);

/// The longest latency that is told apart, in µs.
const LONGEST_US: u64 = 600_000_000;

/// What was measured at a rate.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DispatchReport {
    /// Jobs a second that were submitted; `None` is as fast as they were done.
    pub rate: Option<u32>,
    /// Jobs.
    pub jobs: u64,
    /// Jobs a second that were done.
    pub done_per_second: f64,
    /// From submit to lease, in ms.
    pub p50_ms: f64,
    /// The same of 99 of 100.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

/// Measures at each rate, on a log of its own.
pub(super) fn measure(args: &BenchJobsArgs) -> Outcome<()> {
    for rate in &args.rates {
        let report = measure_rate(args, *rate)?;
        if args.json {
            println!("{}", serde_json::to_string(&report).unwrap_or_default());
        } else {
            let rate = report.rate.map_or_else(|| "as fast as it goes".to_owned(), |rate| format!("{rate} jobs/s"));
            println!(
                "{rate:>20}: {} jobs, {:.0} done a second; submit to lease p50 {:.0} ms, p99 {:.0} ms, max {:.0} ms",
                grouped(report.jobs),
                report.done_per_second,
                report.p50_ms,
                report.p99_ms,
                report.max_ms
            );
        }
    }
    Ok(())
}

fn measure_rate(args: &BenchJobsArgs, rate: u32) -> Outcome<DispatchReport> {
    on_log(args, |config| Bench::new(config)?.run(rate, args.seconds))
}

struct Bench {
    log: Arc<dyn Log>,
    engine: Engine,
    prefix: String,
    shared: Arc<Shared>,
}

/// What client and worker share.
#[derive(Default)]
struct Shared {
    sent: AtomicU64,
    done: AtomicU64,
    stop: AtomicBool,
    /// Whether the warm-up is over.
    measures: AtomicBool,
    submitted: Mutex<HashMap<u64, Instant>>,
}

#[derive(Deserialize)]
struct Lease<'a> {
    job: &'a str,
    lease: u32,
}

impl Bench {
    fn new(config: &Config<Settings>) -> Outcome<Self> {
        let log: Arc<dyn Log> = open_log(&config.runtime)?;
        let engine = engine(config, &log)?;
        Ok(Self { log, engine, prefix: config.runtime.prefix.clone(), shared: Arc::default() })
    }

    fn run(self, rate: u32, seconds: u64) -> Outcome<DispatchReport> {
        let mut producer = self.log.producer()?;
        let hello = format!(r#"{{"type":"hello","worker":"w","queues":["bench"],"slots":{SLOTS},"for":"1 day"}}"#);
        producer.send(command(&self.prefix, "worker:w", hello))?;
        producer.flush()?;
        let worker = self.worker()?;
        // Clients of a broker find their way with the first records.
        let outcome = self.submit(&mut *producer, WARM_UP_RATE, WARM_UP).and_then(|()| self.wait());
        self.shared.measures.store(true, Ordering::Relaxed);
        let begun = Instant::now();
        let time = Duration::from_secs(seconds);
        let outcome = outcome.and_then(|()| self.submit(&mut *producer, rate, time));
        let settled = outcome.and_then(|()| self.wait());
        let elapsed = begun.elapsed().as_secs_f64();
        self.shared.stop.store(true, Ordering::Relaxed);
        let latencies = worker.join().map_err(|_| BenchError::Stuck(0))??;
        settled?;
        self.engine.lifecycle().stop();
        self.engine.wait()?;
        let (jobs, ms) = (latencies.len(), |percentile| latencies.value_at_quantile(percentile) as f64 / 1_000.0);
        Ok(DispatchReport {
            rate: (rate > 0).then_some(rate),
            jobs,
            done_per_second: jobs as f64 / elapsed,
            p50_ms: ms(0.5),
            p99_ms: ms(0.99),
            max_ms: ms(1.0),
        })
    }

    /// Submits jobs when they are due, or as many as the worker takes at once.
    fn submit(&self, producer: &mut dyn Producer, rate: u32, time: Duration) -> Outcome<()> {
        let (begun, before) = (Instant::now(), self.shared.sent.load(Ordering::Relaxed));
        while begun.elapsed() < time {
            let sent = self.shared.sent.load(Ordering::Relaxed);
            let due = match rate {
                0 => self.shared.done.load(Ordering::Relaxed) + SLOTS,
                rate => before + (begun.elapsed().as_secs_f64() * f64::from(rate)) as u64,
            };
            for number in sent..due.max(sent) {
                self.lock().insert(number, Instant::now());
                let payload = r#"{"to":"kim@example.org","template":"tickets"}"#;
                let submit = format!(r#"{{"type":"submit","id":"job-{number}","queue":"bench","payload":{payload}}}"#);
                producer.send(command(&self.prefix, &format!("job-{number}"), submit))?;
            }
            if due > sent {
                producer.flush()?;
                self.shared.sent.store(due, Ordering::Relaxed);
            }
            thread::sleep(TICK);
        }
        Ok(())
    }

    fn wait(&self) -> Outcome<()> {
        let begun = Instant::now();
        while self.shared.done.load(Ordering::Relaxed) < self.shared.sent.load(Ordering::Relaxed) {
            if begun.elapsed() > PATIENCE {
                return Err(BenchError::Stuck(PATIENCE.as_secs()).into());
            }
            thread::sleep(TICK);
        }
        Ok(())
    }

    /// A worker that completes at once what it is given.
    fn worker(&self) -> Outcome<thread::JoinHandle<Result<Histogram<u64>, LogError>>> {
        let topic: Arc<str> = format!("{}job-leases", self.prefix).into();
        let partitions = self.log.watermarks(&topic)?.map_or(0, |partitions| partitions.len());
        let at = |number| (TopicPartition::new(Arc::clone(&topic), number), Start::Beginning);
        let starts: Vec<_> = (0..).take(partitions).map(at).collect();
        let (mut reader, mut producer) = (self.log.reader(&starts)?, self.log.producer()?);
        let (shared, prefix) = (Arc::clone(&self.shared), self.prefix.clone());
        let work = move || {
            let mut latencies = Histogram::new_with_bounds(1, LONGEST_US, 3).unwrap_or_else(|_| unreachable!());
            let mut polled = Vec::new();
            while !shared.stop.load(Ordering::Relaxed) {
                reader.poll(&mut polled, 1 << 20, Duration::from_millis(20))?;
                let mut done = 0;
                for one in polled.drain(..) {
                    let Polled::Record(record) = one else { continue };
                    let lease =
                        record.value.as_deref().and_then(|value| serde_json::from_slice::<Lease<'_>>(value).ok());
                    let Some(Lease { job, lease }) = lease else { continue };
                    let number = job.strip_prefix("job-").and_then(|number| number.parse().ok());
                    let submitted = shared.submitted.lock().unwrap_or_else(PoisonError::into_inner);
                    let since = number.and_then(|number: u64| submitted.get(&number).copied());
                    drop(submitted);
                    if let Some(since) = since.filter(|_| shared.measures.load(Ordering::Relaxed)) {
                        latencies.saturating_record(since.elapsed().as_micros() as u64);
                    }
                    let complete = format!(r#"{{"type":"complete","id":"{job}","lease":{lease}}}"#);
                    producer.send(command(&prefix, job, complete))?;
                    done += 1;
                }
                if done > 0 {
                    producer.flush()?;
                    shared.done.fetch_add(done, Ordering::Relaxed);
                }
            }
            Ok(latencies)
        };
        Ok(thread::spawn(work))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Instant>> {
        self.shared.submitted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
