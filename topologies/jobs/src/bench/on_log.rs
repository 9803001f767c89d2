//! An engine in this process, on a log of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use headwater::config::{Config, LogKind, Period};
use headwater::engine::{Engine, start};
use headwater::error::Fault;
use headwater::log::kafka::KafkaLog;
use headwater::log::{Log, NewRecord};
use headwater::run::{Declared, declare, engine_options};

use super::{BenchError, BenchJobsArgs, JobsLog};
use crate::{Jobs, Settings};

pub(super) type Outcome<T> = Result<T, Box<dyn Fault>>;

/// Measures with a configuration that names a log of its own, and removes that log.
pub(super) fn on_log<T>(args: &BenchJobsArgs, measure: impl FnOnce(&Config<Settings>) -> Outcome<T>) -> Outcome<T> {
    let mut config = Config::<Settings>::default();
    static LOGS: AtomicU32 = AtomicU32::new(0);
    let own = format!("bench-jobs-{}-{}", std::process::id(), LOGS.fetch_add(1, Ordering::Relaxed));
    config.runtime.name.clone_from(&own);
    config.runtime.prefix = format!("{own}.");
    config.runtime.workers = 1;
    config.runtime.engine.epoch_interval = Period::from_millis(args.epoch_ms);
    let folder = std::env::temp_dir().join(&own);
    match args.log {
        JobsLog::Embedded => {
            config.runtime.log.kind = LogKind::Embedded;
            config.runtime.log.embedded.path = folder.join("log.db");
        }
        JobsLog::Kafka => {
            config.runtime.log.kind = LogKind::Kafka;
            if let Ok(brokers) = std::env::var("KAFKA_BROKERS") {
                config.runtime.log.kafka.brokers = brokers;
            }
        }
    }
    let outcome = measure(&config);
    // What is left is in the temporary directory.
    let _ = std::fs::remove_dir_all(&folder);
    if args.log == JobsLog::Kafka {
        remove_topics(&config)?;
    }
    outcome
}

fn remove_topics(config: &Config<Settings>) -> Outcome<()> {
    let log = KafkaLog::new(config.runtime.log.kafka.clone())?;
    let names: Vec<String> = log.topics(&config.runtime.prefix)?.into_iter().map(|topic| topic.name).collect();
    Ok(log.delete_topics(&names.iter().map(String::as_str).collect::<Vec<_>>())?)
}

/// Starts the engine.
pub(super) fn engine(config: &Config<Settings>, log: &Arc<dyn Log>) -> Outcome<Engine> {
    log.ensure_topics(&config.runtime.topic_specs())?;
    let Declared { catalog, program } = declare::<Jobs>(config).map_err(BenchError::Config)?;
    let options = engine_options(&config.runtime, &catalog, false, true);
    Ok(start(Arc::clone(log), options, program)?)
}

/// A command for the topology whose topics begin with `prefix`.
pub(super) fn command(prefix: &str, key: &str, value: String) -> NewRecord {
    NewRecord {
        topic: format!("{prefix}job-commands").into(),
        key: Some(key.to_owned().into()),
        value: Some(value.into()),
        headers: Vec::new(),
        timestamp_ms: None,
    }
}
