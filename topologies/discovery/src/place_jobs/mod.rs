//! Jobs for open place requests: whoever works on a queue of the topology `jobs` answers them.
//!
//! ```text
//!  place-requests ──┐                  ┌─► job-commands    submit, retry, cancel
//!                   ├─► reconciler ────┤
//!  jobs ────────────┘                  └─► places          results of jobs that are done
//! ```
//!
//! A request that is open has a job, and the result of the job is written as the place. What is to be done follows
//! from both topics alone: a start reads them to their ends and finds out what is missing. Whatever is written twice
//! has the same id or the same key, so nothing is lost and nothing doubled over a kill.

mod follow;
mod read;
mod reconcile;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use headwater::config::{Invalid, Runtime};
use headwater::error::{Domain, Fault};
use headwater::log::{LONGEST_TOPIC, Log, is_legal_topic};
use headwater::topology::Companion;
use jobs::model::check_queue;
use serde::Deserialize;

use follow::{COMMANDS, Follower, Topics};

/// `[jobs]`: where jobs are submitted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JobsSection {
    /// What the topics of the topology `jobs` begin with, on the same log.
    pub prefix: String,
    /// The queue of place requests.
    pub places: String,
}

impl Default for JobsSection {
    fn default() -> Self {
        Self { prefix: "jobs.".to_owned(), places: "places".to_owned() }
    }
}

impl JobsSection {
    /// Everything that is wrong, by keys.
    pub fn validate(&self) -> Vec<Invalid> {
        let mut found = Vec::new();
        if !is_legal_topic(&self.prefix) {
            let message = format!("{:?} has characters other than letters, digits and . _ -", self.prefix);
            found.push(Invalid::new("jobs.prefix", message));
        }
        let longest = self.prefix.len() + COMMANDS.len();
        if longest > LONGEST_TOPIC {
            let message = format!("{COMMANDS} would have {longest} bytes with it; {LONGEST_TOPIC} are possible");
            found.push(Invalid::new("jobs.prefix", message));
        }
        found.extend(check_queue(&self.places).err().map(|wrong| Invalid::new("jobs.places", wrong)));
        found
    }
}

/// Why place requests do not become jobs.
#[derive(Debug, thiserror::Error)]
pub enum PlaceJobsError {
    /// The system gives no thread.
    #[error("the thread for place requests did not start")]
    Thread(#[source] io::Error),
}

impl Fault for PlaceJobsError {
    fn domain(&self) -> Domain {
        Domain::External
    }
}

/// Place requests become jobs, on a thread of its own until it is stopped or dropped.
pub struct PlaceJobs {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl PlaceJobs {
    /// Starts with the topology of `runtime`, on `log`. Topics of jobs that are not there yet are waited for.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(log: Arc<dyn Log>, runtime: &Runtime, config: &JobsSection) -> Result<Self, PlaceJobsError> {
        let topics = Topics::of(&|name| runtime.full_name(name), &config.prefix);
        let follower = Follower::new(log, topics, runtime.prefix.clone(), config.places.as_str().into());
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = thread::Builder::new().name("place-jobs".to_owned()).spawn(move || follower.run(&seen));
        Ok(Self { stop, thread: Some(thread.map_err(PlaceJobsError::Thread)?) })
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else { return };
        thread.thread().unpark();
        if thread.join().is_err() {
            tracing::error!("the thread for place requests has panicked");
        }
    }
}

impl Companion for PlaceJobs {
    fn stop(mut self: Box<Self>) -> Result<(), Box<dyn Fault>> {
        self.end();
        Ok(())
    }
}

impl Drop for PlaceJobs {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_topics_or_a_queue_is_told_by_key() {
        assert_eq!(JobsSection::default().validate(), []);
        let keys = |prefix: &str, places: &str| -> Vec<String> {
            let section = JobsSection { prefix: prefix.to_owned(), places: places.to_owned() };
            section.validate().into_iter().map(|invalid| invalid.key).collect()
        };
        assert_eq!(keys("a b", "lease"), ["jobs.prefix", "jobs.places"]);
        assert_eq!(keys(&"x".repeat(300), "geo"), ["jobs.prefix"]);
        assert_eq!(keys("", "geo"), [] as [&str; 0]);
    }
}
