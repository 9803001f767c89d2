//! One run of the whole pipeline on a real log: a file or a broker.
//!
//! Without a rate, everything lies in the log before the clock starts: first the engine takes the
//! warm-up and stops; then the other records are produced; then the engine starts again, restores
//! its listings, and the clock runs from the first record it reads to the last commit.
//!
//! With a rate, a producer sends each record when it is due, and a consumer of committed events
//! notes when each is seen.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::config::Config;
use bytes::Bytes;
use hdrhistogram::Histogram;
use headwater::config::{Lifetime, LogKind};
use headwater::engine::{Engine, start};
use headwater::error::Fault;
use headwater::log::kafka::KafkaLog;
use headwater::log::{Log, NewRecord, Polled, Start, TopicPartition};
use headwater::telemetry::Metrics;
use headwater::tools::open_log;
use headwater_operators::ListingId;
use serde::Deserialize;

use super::BenchError;
use super::args::{BenchLogKind, PipelineArgs};
use super::input::Input;
use super::measured::LONGEST_US;
use super::observed::ObservedLog;
use super::pipeline::{self, Percentiles, RunReport, Timing, stages};
use super::process::{forget_peak, usage};
use super::quality::quality;
use super::served::{Watching, serve};
use crate::discovery::Discovery;
use crate::figures::Figures;
use headwater::run::{Declared, declare, engine_options};

/// How often the engine is asked how far it has come.
const LOOK: Duration = Duration::from_millis(1);

/// How often the producer looks what is due: not for every record, which would cost more than the
/// records themselves. What this adds to latency is measured with it.
const TICK: Duration = Duration::from_millis(1);

/// What has not been seen so long after the last commit is never seen.
const PATIENCE: Duration = Duration::from_secs(3);

type Outcome<T> = Result<T, Box<dyn Fault>>;

/// Runs the pipeline once on the log that `args` name, and removes what it left there.
pub(super) fn on_log(args: &PipelineArgs) -> Outcome<RunReport> {
    let mut config = pipeline::config(args)?;
    let own = format!("bench-{}-{}", std::process::id(), now_ms());
    config.runtime.name.clone_from(&own);
    config.runtime.prefix = format!("{own}.");
    config.topology.retention.past_events = match args.input {
        Some(_) => config.topology.retention.past_events,
        None => Lifetime::Forever,
    };
    let folder = std::env::temp_dir().join(&own);
    match args.log {
        BenchLogKind::Kafka => {
            config.runtime.log.kind = LogKind::Kafka;
            if let Ok(brokers) = std::env::var("KAFKA_BROKERS") {
                config.runtime.log.kafka.brokers = brokers;
            }
        }
        _ => {
            config.runtime.log.kind = LogKind::Embedded;
            config.runtime.log.embedded.path = folder.join("log.db");
        }
    }
    let outcome = Bench::new(args, &config).and_then(|bench| bench.run());
    let _ = std::fs::remove_dir_all(&folder);
    if config.runtime.log.kind == LogKind::Kafka {
        remove_topics(&config)?;
    }
    outcome
}

fn remove_topics(config: &Config) -> Outcome<()> {
    let log = KafkaLog::new(config.runtime.log.kafka.clone())?;
    let names: Vec<String> = log.topics(&config.runtime.prefix)?.into_iter().map(|topic| topic.name).collect();
    Ok(log.delete_topics(&names.iter().map(String::as_str).collect::<Vec<_>>())?)
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

struct Bench<'a> {
    args: &'a PipelineArgs,
    config: &'a Config,
    metrics: Option<Metrics>,
    log: Arc<ObservedLog>,
    input: Input,
    /// Partition and index of each record, in order.
    order: Vec<(usize, usize)>,
    topic: Arc<str>,
    warm_up: usize,
}

impl<'a> Bench<'a> {
    fn new(args: &'a PipelineArgs, config: &'a Config) -> Outcome<Self> {
        let metrics = Metrics::install().ok();
        let log = Arc::new(ObservedLog::new(open_log(&config.runtime)?));
        log.ensure_topics(&config.runtime.topic_specs())?;
        let input = pipeline::input(args, 1)?;
        let warm_up = args.warm_up(input.len()) as usize;
        let first = config.runtime.inputs.first().map_or("raw.events", |input| input.topic.as_str());
        let topic = config.runtime.full_name(first).into();
        Ok(Self { args, config, metrics, log, order: input.in_order(), input, topic, warm_up })
    }

    fn run(&self) -> Outcome<RunReport> {
        match self.args.rate {
            None => self.at_once(),
            Some(rate) => self.at_a_rate(rate),
        }
    }

    fn engine(&self, exit_when_idle: bool) -> Outcome<Engine> {
        let Declared { catalog, program } = declare::<Discovery>(self.config).map_err(BenchError::Config)?;
        let options = engine_options(&self.config.runtime, &catalog, exit_when_idle, true);
        Ok(start(Arc::clone(&self.log) as Arc<dyn Log>, options, program)?)
    }

    fn record(&self, number: usize, at_ms: i64) -> Option<NewRecord> {
        let (partition, index) = *self.order.get(number)?;
        let record = self.input.get(partition, index)?;
        let sender = self.input.senders().get(record.sender)?;
        let mut headers = vec![("source".to_owned(), sender.source.as_bytes().to_vec())];
        if !sender.content_type.is_empty() {
            headers.push(("content-type".to_owned(), sender.content_type.as_bytes().to_vec()));
        }
        Some(NewRecord {
            topic: Arc::clone(&self.topic),
            key: record.key.map(Bytes::copy_from_slice),
            value: record.value.map(Bytes::copy_from_slice),
            headers,
            timestamp_ms: Some(at_ms),
        })
    }

    fn produce(&self, numbers: std::ops::Range<usize>) -> Outcome<()> {
        let mut producer = self.log.producer()?;
        for record in numbers.map_while(|number| self.record(number, now_ms())) {
            producer.send(record)?;
        }
        Ok(producer.flush()?)
    }

    fn ends(&self) -> Outcome<Vec<i64>> {
        let ends = self.log.watermarks(&self.topic)?.unwrap_or_default();
        Ok(ends.into_iter().map(|ends| ends.high).collect())
    }

    /// Waits until everything in the input topic is committed; when that was.
    fn wait_for_commit(&self, engine: &Engine) -> Outcome<Instant> {
        let ends = self.ends()?;
        loop {
            match self.log.committed_up_to(&self.topic, &ends) {
                Some(at) => return Ok(at),
                // Whatever ended it, `Engine::wait` tells.
                None if engine.ended() => return Ok(Instant::now()),
                None => thread::sleep(LOOK),
            }
        }
    }

    fn at_once(&self) -> Outcome<RunReport> {
        self.produce(0..self.warm_up)?;
        self.engine(true)?.wait()?;
        self.produce(self.warm_up..self.order.len())?;
        let serving = self.serving()?;
        forget_peak();
        let engine = self.engine(true)?;
        let lifecycle = Arc::clone(engine.lifecycle());
        while lifecycle.totals().records == 0 && !engine.ended() {
            thread::sleep(LOOK);
        }
        let (began, from) = (Instant::now(), usage());
        self.log.committed().written.start_counting();
        let ended = self.wait_for_commit(&engine)?;
        let timing = Timing { seconds: ended.duration_since(began).as_secs_f64(), from, to: usage() };
        engine.wait()?;
        let figures = Figures::of(&lifecycle);
        let shown = Self::shown(serving, figures, ended)?;
        let shares = stages(&lifecycle, self.metrics.as_ref());
        Ok(RunReport { shown_after_ms: shown, ..self.report(&timing, figures, shares, None) })
    }

    fn at_a_rate(&self, rate: f64) -> Outcome<RunReport> {
        self.produce(0..self.warm_up)?;
        let engine = self.engine(false)?;
        let lifecycle = Arc::clone(engine.lifecycle());
        self.wait_for_commit(&engine)?;
        let serving = self.serving()?;
        forget_peak();
        let watch = Arc::new(Watch::new()?);
        let consumer = watch.follow(&*self.log, &self.config.runtime.full_name("events"))?;
        self.log.committed().written.start_counting();
        let (began, from) = (Instant::now(), usage());
        self.send_when_due(rate, began, &watch)?;
        let ended = self.wait_for_commit(&engine)?;
        let timing = Timing { seconds: ended.duration_since(began).as_secs_f64(), from, to: usage() };
        while !watch.pending().is_empty() && ended.elapsed() < PATIENCE {
            thread::sleep(LOOK);
        }
        watch.stop.store(true, Ordering::Relaxed);
        if let Ok(Err(error)) = consumer.join() {
            return Err(Box::new(error));
        }
        engine.lifecycle().stop();
        engine.wait()?;
        let figures = Figures::of(&lifecycle);
        let shown = Self::shown(serving, figures, ended)?;
        let shares = stages(&lifecycle, self.metrics.as_ref());
        Ok(RunReport { shown_after_ms: shown, ..self.report(&timing, figures, shares, Some(&watch)) })
    }

    fn serving(&self) -> Outcome<Option<Watching>> {
        self.args.serve.then(|| serve(self.config).map(Watching::start)).transpose()
    }

    /// How long after the last commit serving shows it, in ms.
    fn shown(serving: Option<Watching>, figures: Figures, ended: Instant) -> Outcome<Option<f64>> {
        let Some(serving) = serving else { return Ok(None) };
        Ok(Some(serving.shown_after(figures.events, ended)?))
    }

    /// Sends the records after the warm-up, each when it is due.
    fn send_when_due(&self, rate: f64, began: Instant, watch: &Watch) -> Outcome<()> {
        let mut producer = self.log.producer()?;
        for number in self.warm_up..self.order.len() {
            let due = began + Duration::from_secs_f64((number - self.warm_up) as f64 / rate);
            while Instant::now() < due {
                thread::sleep(TICK);
            }
            let at_ms = now_ms();
            if let Some(listing) = self.listing(number) {
                watch.pending().entry(listing).or_insert(Pending { due, at_ms });
            }
            if let Some(record) = self.record(number, at_ms) {
                producer.send(record)?;
            }
        }
        Ok(producer.flush()?)
    }

    /// The listing that a record tells something new of. The key is its id.
    fn listing(&self, number: usize) -> Option<ListingId> {
        let (partition, index) = *self.order.get(number)?;
        let record = self.input.get(partition, index).filter(|record| record.new)?;
        let source = &self.input.senders().get(record.sender)?.source;
        Some(ListingId::of(source, std::str::from_utf8(record.key?).ok()?))
    }

    fn report(
        &self,
        timing: &Timing,
        figures: Figures,
        stages: BTreeMap<String, f64>,
        watch: Option<&Watch>,
    ) -> RunReport {
        let committed = self.log.committed();
        let records = (self.order.len() - self.warm_up) as u64;
        let latency = watch.map(Watch::latency);
        RunReport {
            input_bytes: self.input.value_bytes,
            output_bytes: committed.written.bytes,
            event_bytes: committed.written.event_bytes,
            output_records: committed.written.records,
            commits: committed.written.commits,
            latency_ms: latency.as_deref().and_then(Percentiles::of),
            latency_samples: latency.as_ref().map_or(0, |latency| latency.len()),
            never_seen: watch.map_or(0, |watch| watch.pending().len() as u64),
            quality: self.input.truth.as_ref().map(|truth| quality(truth, &committed.written.events())),
            ..timing.report(self.args.workers.max(1), records, figures, stages)
        }
    }
}

/// A record that was sent and not seen yet.
#[derive(Debug, Clone, Copy)]
struct Pending {
    due: Instant,
    /// The timestamp it was sent with.
    at_ms: i64,
}

/// Follows the committed events, and notes how long after it was due each record is seen in one.
struct Watch {
    pending: Mutex<HashMap<ListingId, Pending>>,
    latency: Mutex<Histogram<u64>>,
    stop: AtomicBool,
}

/// What of an event tells which records it shows.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Seen<'a> {
    #[serde(borrow)]
    listings: Vec<SeenListing<'a>>,
    updated_at: jiff::Timestamp,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SeenListing<'a> {
    #[serde(borrow)]
    source: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    external_id: std::borrow::Cow<'a, str>,
}

impl Watch {
    fn new() -> Result<Self, BenchError> {
        let latency = Mutex::new(Histogram::new_with_bounds(1, LONGEST_US, 3)?);
        Ok(Self { pending: Mutex::default(), latency, stop: AtomicBool::new(false) })
    }

    fn pending(&self) -> MutexGuard<'_, HashMap<ListingId, Pending>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn latency(&self) -> MutexGuard<'_, Histogram<u64>> {
        self.latency.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn follow(
        self: &Arc<Self>,
        log: &dyn Log,
        events: &str,
    ) -> Outcome<thread::JoinHandle<Result<(), headwater::log::LogError>>> {
        let partitions = log.watermarks(events)?.unwrap_or_default().into_iter();
        let from = |(partition, ends): (i32, headwater::log::Watermarks)| {
            (TopicPartition::new(events, partition), Start::Offset(ends.high))
        };
        let mut reader = log.reader(&(0..).zip(partitions).map(from).collect::<Vec<_>>())?;
        let watch = Arc::clone(self);
        Ok(thread::spawn(move || {
            let mut polled = Vec::new();
            while !watch.stop.load(Ordering::Relaxed) {
                reader.poll(&mut polled, 1 << 20, Duration::from_millis(20))?;
                let now = Instant::now();
                for one in polled.drain(..) {
                    if let Polled::Record(record) = one {
                        watch.see(record.value.as_deref().unwrap_or_default(), now);
                    }
                }
            }
            Ok(())
        }))
    }

    fn see(&self, event: &[u8], now: Instant) {
        // Tombstones and redirects show no record.
        let Ok(seen) = serde_json::from_slice::<Seen<'_>>(event) else { return };
        let mut pending = self.pending();
        for listing in &seen.listings {
            let id = ListingId::of(&listing.source, &listing.external_id);
            let Some(sent) = pending.get(&id).filter(|sent| seen.updated_at.as_millisecond() >= sent.at_ms) else {
                continue;
            };
            let micros = u64::try_from(now.saturating_duration_since(sent.due).as_micros()).unwrap_or(u64::MAX);
            self.latency().saturating_record(micros);
            pending.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_counts_from_when_a_record_was_due_to_the_first_event_that_shows_it() {
        let watch = Watch::new().unwrap();
        let now = Instant::now();
        let due = |ms| now.checked_sub(Duration::from_millis(ms)).unwrap();
        let id = |id| ListingId::of("s", id);
        watch.pending().insert(id("a"), Pending { due: due(100), at_ms: 5_000 });
        watch.pending().insert(id("b"), Pending { due: due(40), at_ms: 5_500 });
        let event = |at: &str| {
            format!(
                r#"{{"listings":[{{"source":"s","externalId":"a","url":null}},{{"source":"s","externalId":"b"}}],"updatedAt":"1970-01-01T00:00:{at}Z"}}"#
            )
        };
        // An event of before both.
        watch.see(event("04.999").as_bytes(), now);
        assert_eq!(watch.latency().len(), 0);
        // Of the first, but not yet of the second.
        watch.see(event("05.2").as_bytes(), now);
        assert_eq!((watch.latency().len(), watch.pending().len()), (1, 1));
        watch.see(event("05.5").as_bytes(), now);
        watch.see(event("05.5").as_bytes(), now);
        watch.see(b"{\"redirectTo\":\"x\"}", now);
        let latency = watch.latency();
        assert_eq!((latency.len(), watch.pending().len()), (2, 0));
        assert!((39_900..=40_100).contains(&latency.min()) && (99_900..=100_100).contains(&latency.max()));
    }
}
