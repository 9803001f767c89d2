//! The topology's own sections of the configuration.

use std::collections::BTreeMap;

use headwater::config::{Invalid, Runtime, Section, TopicRole};
use headwater::schema::roles;
use headwater_serve::config::ServeConfig;
use serde::Deserialize;

use crate::Jobs;
use crate::api::LISTEN;
use crate::scheduler::{QueueSettings, Retention, SchedulerSettings};

/// The topology's own keys.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How queues work, by name; `"*"` holds for all.
    pub queues: BTreeMap<String, QueueSettings>,
    /// How long settled jobs stay.
    pub retention: Retention,
    /// Whether jobs are served over HTTP, and to whom.
    pub serve: ServeConfig,
}

/// The largest record of a job: its payload, its result, its parents, and why its attempts failed.
const LARGEST_JOB: usize = 3 * crate::model::LARGEST;

impl Default for Settings {
    fn default() -> Self {
        let serve = ServeConfig { listen: LISTEN.to_owned(), ..ServeConfig::default() };
        Self { queues: BTreeMap::new(), retention: Retention::default(), serve }
    }
}

impl Settings {
    /// What the scheduler goes by.
    pub fn scheduler(&self) -> SchedulerSettings {
        SchedulerSettings { queues: self.queues.clone(), retention: self.retention.clone() }
    }
}

impl Section for Settings {
    const NAME: &'static str = "jobs";
    const BINARY: &'static str = "headwater-jobs";
    const PREFIX: &'static str = "jobs.";
    const INPUT: &'static str = "job-commands";
    const ADMIN: &'static str = "127.0.0.1:8083";

    fn topics(&self) -> Vec<TopicRole> {
        roles(|schema| drop(Jobs::of(self, schema)))
    }

    fn validate(&self, runtime: &Runtime) -> Vec<Invalid> {
        let mut found = self.scheduler().validate();
        if runtime.topic_spec("jobs").max_record_bytes < LARGEST_JOB {
            let what =
                format!("must be {LARGEST_JOB} bytes or more: a job has its payload and its result in one record");
            found.push(Invalid::new("topics.max_record", what));
        }
        found.extend(self.serve.validate());
        found
    }
}
