//! Jobs: queues, schedules and workers.
//!
//! ```text
//!  job-commands ──► read ──┐                    ┌─► jobs, queue-settings, schedule-runs (the state)
//!                          ├─► scheduler ───────┼─► job-leases, queues (rows)
//!  schedules ──────────────┘                    └─► job-runs, notifications, dead-letters (facts)
//! ```
//!
//! Decisions are dataflow, effects are workers, and an effect's outcome comes back as a record. docs/jobs.md tells how
//! to use it.

pub mod api;
pub mod bench;
pub mod client;
mod config;
mod message;
pub mod model;
mod operator;
pub mod scheduler;
mod table;
pub mod tools;
pub mod trace;
pub mod verify;
pub mod worker;

use std::sync::Arc;

use bytes::Bytes;
use differential_dataflow::AsCollection;
use headwater::config::{Config, Invalid};
use headwater::dataflow::Flow;
use headwater::dataflow::buffer::{json, text};
use headwater::error::Fault;
use headwater::program::Fingerprints;
use headwater::schema::{
    Codec, Fact, Facts, Gauge, Reader, Rows, Schema, Spec, State, Table, read_json, text_codec, versioned,
};
use headwater::tools::open_log;
use headwater::topology::{Beside, Companion, Showcase, Topology};
use headwater::view::ViewSpec;
use headwater_flow::{Positioned, ReadRecords};
use timely::dataflow::operators::Concatenate;
use timely::dataflow::operators::vec::Map;
use xxhash_rust::xxh3::xxh3_64;

pub use config::Settings;
use message::{AsJson, Message, Received};
use model::{Command, Job, Notification, Phase, RunFact, ScheduleRow, ScheduleText};
use operator::{Scheduled, schedule};
use scheduler::{QueueTold, SchedulerSettings};
pub use table::{JOB_RUNS, JOBS, QUEUES};

/// Changes whenever the same configuration and input would give other outputs than before.
const VERSION: u64 = 1;

/// Where epochs take longer, in ms, the engine could not hear workers: its log was away, or its machine slept.
const AWAY_AFTER_MS: u64 = 5_000;

/// Rows that the scheduler has written out.
type Written = Rows<Arc<str>, Bytes>;

/// The jobs topology, ready to be built.
pub struct Jobs {
    settings: SchedulerSettings,
    schedules: Table<ScheduleText>,
    schedules_kept: State<String, Positioned<ScheduleText>>,
    jobs: State<Arc<str>, Bytes, Job>,
    queue_settings: State<Arc<str>, Bytes, (Arc<str>, QueueTold)>,
    schedule_runs: State<Arc<str>, Bytes, ScheduleRow>,
    leases: Rows<String, Bytes>,
    queues: Written,
    runs: Facts<RunFact>,
    notifications: Facts<Notification>,
    gauges: [(Phase, Gauge); 4],
    /// So long may epochs take, in ms, until nothing could be heard meanwhile.
    away_after: u64,
    fingerprints: Fingerprints,
}

impl Topology for Jobs {
    const ABOUT: &'static str = "Queues, schedules and workers: who does what when, decided exactly once";
    const HELP: &'static str = "\
Examples:
  headwater-jobs                                          on an embedded log, served at http://127.0.0.1:8084
  headwater-jobs check --config config/jobs.toml
  headwater-jobs --config config/jobs.toml
  headwater-jobs --config config/jobs.toml --plan         what a start would correct

Exit codes: 0 ended in order, 2 something to mend in configuration or usage, 3 something outside \
failed, 4 another instance has taken over, 70 a defect.";
    const SHOWCASE: Showcase = Showcase {
        topic: "jobs",
        command: "headwater-jobs",
        query: "select queue, phase, count(*) from jobs group by 1, 2",
        highlight: None,
    };
    type Config = Settings;
    type Tools = tools::JobsTools;

    fn declare(config: &Config<Settings>, schema: &mut Schema) -> Result<Self, Vec<Invalid>> {
        let epoch_ms = config.runtime.engine.epoch_interval.as_millis_i64().unsigned_abs();
        Ok(Self { away_after: AWAY_AFTER_MS.max(4 * epoch_ms), ..Self::of(&config.topology, schema) })
    }

    fn fingerprints(&self) -> Fingerprints {
        self.fingerprints
    }

    fn build<'s>(&self, flow: &mut Flow<'s>) {
        let (commands, unusable) = flow.raw().read(|record| {
            let command = Command::read(record)?;
            Ok(Received { command, record: record.clone() })
        });
        // The state holds what the commands of before have done.
        let commands = flow.first_time(commands.inner);
        let commands = commands.map(|(received, epoch, _)| (Message::Command(Box::new(received)), epoch));
        let definitions = flow.steady_table(&self.schedules, &self.schedules_kept);
        let definitions = definitions
            .inner
            .map(|((name, definition), epoch, diff)| (Message::Schedule(name.into(), definition.value, diff), epoch));
        let restored_epoch = flow.restored_epoch();
        let at_restored = move |message| (message, restored_epoch);
        let jobs = flow.restored(&self.jobs).map(move |job| at_restored(Message::Job(Box::new(AsJson(job)))));
        let told = flow.restored(&self.queue_settings);
        let told = told.map(move |(name, told)| at_restored(Message::Queue(name, told)));
        let rows = flow.restored(&self.schedule_runs).map(move |row| at_restored(Message::ScheduleRow(AsJson(row))));
        let messages = flow.scope().concatenate([commands, definitions, jobs, told, rows]);

        let scheduled = schedule(messages, self.settings.clone(), restored_epoch, self.away_after);
        let Scheduled { jobs, leases, queues, settings, schedules, runs, notifications, letters, phases } = scheduled;
        flow.write_changes(&self.jobs, jobs);
        flow.write_changes(&self.leases, leases);
        flow.write_changes(&self.queues, queues);
        flow.write_changes(&self.queue_settings, settings);
        flow.write_changes(&self.schedule_runs, schedules);
        flow.write_facts(&self.runs, runs);
        flow.write_facts(&self.notifications, notifications);
        flow.dead_letters(flow.scope().concatenate([unusable, letters]));
        self.count(flow, phases.map(|(phase, diff)| (phase, 0, diff as isize)).as_collection());
    }

    /// Jobs over HTTP, on a connection to the log of its own.
    fn companions(config: &Config<Settings>, _beside: &Beside<'_>) -> Result<Vec<Box<dyn Companion>>, Box<dyn Fault>> {
        let serve = &config.topology.serve;
        if serve.address().is_none() {
            return Ok(Vec::new());
        }
        let serving = api::Serving::start(open_log(&config.runtime)?, &config.runtime.prefix, serve)?;
        let url = serving.url();
        eprintln!("  console {url}\n  api     {url}api/jobs   (explained at /docs)");
        Ok(vec![Box::new(serving)])
    }

    fn views() -> ViewSpec {
        ViewSpec::new("jobs")
            .follow("jobs", [&JOBS], table::read_job)
            .follow("job-runs", [&JOB_RUNS], table::read_run)
            .follow("queues", [&QUEUES], table::read_queue)
    }
}

impl Jobs {
    fn of(settings: &Settings, schema: &mut Schema) -> Self {
        // The scheduler finds itself again by these, and nothing else gives them.
        let state = || Spec { compared: false, ..Spec::default() };
        let told = Reader::new(|key: &[u8], value| {
            let name = std::str::from_utf8(key).map_err(|error| error.to_string())?;
            Ok((name.into(), read_json::<QueueTold>(value)?))
        });
        let (kept, kept_reader) = text_codec();
        let gauge = |schema: &mut Schema, phase, metric, help| (phase, schema.gauge(metric, help));
        let gauges = [
            gauge(schema, Phase::Waiting, "headwater_jobs_waiting", "Jobs that wait for a worker."),
            gauge(schema, Phase::Leased, "headwater_jobs_leased", "Jobs that a worker has."),
            gauge(schema, Phase::Done, "headwater_jobs_done", "Jobs that are done and kept."),
            gauge(schema, Phase::Dead, "headwater_jobs_dead", "Jobs that are dead and kept."),
        ];
        for (phase, gauge) in gauges {
            schema.figure(phase.name(), phase.name(), move |of| of(gauge));
        }
        let scheduler = settings.scheduler();
        let results = xxh3_64(&json(&scheduler)) ^ VERSION;
        Self {
            settings: scheduler,
            schedules: schema.table("schedules"),
            schedules_kept: schema.state("schedules-kept", kept, kept_reader, Spec::default()),
            jobs: schema.state("jobs", written(), Reader::of_json_value(|job: Job| job), state()),
            queue_settings: schema.state("queue-settings", written(), told, state()),
            schedule_runs: schema.state("schedule-runs", written(), Reader::of_json_value(|row| row), state()),
            leases: schema.rows(
                "job-leases",
                Codec::new(|key: &String| text(key), |_, row: &Bytes| row.clone()),
                Spec::default(),
            ),
            queues: schema.rows("queues", written(), Spec::default()),
            runs: schema.facts("job-runs", run_fact, Spec::default()),
            notifications: schema.facts("notifications", notification_fact, Spec::default()),
            gauges,
            away_after: AWAY_AFTER_MS,
            fingerprints: Fingerprints { results, extraction: 0 },
        }
    }

    fn count<'s>(
        &self,
        flow: &Flow<'s>,
        phases: differential_dataflow::VecCollection<'s, headwater_flow::Epoch, Phase>,
    ) {
        for (counted, gauge) in self.gauges {
            flow.count(gauge, phases.clone().filter(move |phase| *phase == counted));
        }
    }
}

/// Rows that come ready to be written.
fn written() -> Codec<Arc<str>, Bytes> {
    Codec::new(|key: &Arc<str>| text(key), |_, row: &Bytes| row.clone())
}

fn run_fact(fact: RunFact) -> Fact {
    let key = text(format_args!("{}/{}", fact.job, fact.run.lease));
    Fact { key: Some(key), value: Some(versioned(&fact)), ..Fact::default() }
}

fn notification_fact(fact: Notification) -> Fact {
    Fact { key: Some(text(&fact.channel)), value: Some(versioned(&fact)), ..Fact::default() }
}

/// The examples of the guide.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/jobs.md")]
struct Guide;

#[cfg(test)]
mod tests;
