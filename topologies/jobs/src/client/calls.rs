//! The calls of the API.

use std::time::Duration;

use reqwest::Method;
use reqwest::blocking::RequestBuilder;
use reqwest::header::CONTENT_TYPE;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::error::ClientError;
use super::filter::JobFilter;
use super::http::Client;
use super::lease::{Ask, Given, Report, Taken};
use super::new_job::{NewJob, random_id};
use super::seen::{
    Counted, Document, ErrorGroup, HeartbeatAnswer, Page, QueueStatus, ScheduleStatus, Submitted, WorkerStatus,
};

/// So many jobs go into one request at most, and fewer if they are large.
pub const MOST_IN_A_REQUEST: usize = 1_000;

/// Of a request with many jobs: so many bytes are enough. The server takes 1 MiB.
const ENOUGH_BYTES: usize = 512 << 10;

/// No time beside the usual.
const AT_ONCE: Duration = Duration::ZERO;

#[derive(Deserialize)]
struct Ids {
    ids: Vec<String>,
}

#[derive(Serialize)]
struct OfIds<'a> {
    ids: &'a [String],
}

#[derive(Serialize)]
struct Retry<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct Heartbeat<'a> {
    lease: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
}

impl Client {
    fn get(&self, path: &[&str]) -> RequestBuilder {
        self.request(Method::GET, self.at(&[&["api"], path].concat()), AT_ONCE)
    }

    fn post(&self, path: &[&str]) -> RequestBuilder {
        self.request(Method::POST, self.at(&[&["api"], path].concat()), AT_ONCE)
    }

    /// Submits a job. With `wait`, the answer waits so long until the job is known.
    ///
    /// # Errors
    /// When it is not taken.
    pub fn submit(&self, queue: &str, job: &NewJob, wait: Option<Duration>) -> Result<Submitted, ClientError> {
        let mut url = self.at(&["api", "jobs", queue]);
        if let Some(wait) = wait {
            url.query_pairs_mut().append_pair("wait", &wait.as_secs().to_string());
        }
        self.ask(self.request(Method::POST, url, wait.unwrap_or_default()).json(job))
    }

    /// Submits many jobs in few requests, and gives their ids. Those without an id are given one here, so that
    /// whatever is asked twice is submitted once.
    ///
    /// # Errors
    /// When some are not taken: those of earlier requests may be.
    pub fn submit_all(&self, queue: &str, jobs: &mut [NewJob]) -> Result<Vec<String>, ClientError> {
        let mut ids = Vec::with_capacity(jobs.len());
        while ids.len() < jobs.len() {
            let taken = self.submit_first(queue, &mut jobs[ids.len()..])?;
            ids.extend(taken);
        }
        Ok(ids)
    }

    /// Submits as many of the first jobs as go into one request, and gives their ids. Those without an id are given
    /// one here.
    ///
    /// # Errors
    /// When they are not taken.
    pub fn submit_first(&self, queue: &str, jobs: &mut [NewJob]) -> Result<Vec<String>, ClientError> {
        let (mut lines, mut count) = (String::new(), 0);
        for job in jobs.iter_mut().take(MOST_IN_A_REQUEST) {
            if job.id.is_none() {
                job.id = Some(random_id()?);
            }
            let line = serde_json::to_string(job).map_err(|error| ClientError::Prepare(error.to_string()))?;
            if count > 0 && lines.len() + line.len() > ENOUGH_BYTES {
                break;
            }
            lines.push_str(&line);
            lines.push('\n');
            count += 1;
        }
        if count == 0 {
            return Ok(Vec::new());
        }
        let request = self.post(&["jobs", queue]).header(CONTENT_TYPE, "application/x-ndjson").body(lines);
        let Ids { ids } = self.ask(request)?;
        if ids.len() != count {
            return Err(self.unreadable(&format!("{} ids for {count} jobs", ids.len())));
        }
        Ok(ids)
    }

    /// A job.
    ///
    /// # Errors
    /// When there is none of this id: status 404.
    pub fn job(&self, id: &str) -> Result<Document, ClientError> {
        self.ask(self.get(&["jobs", id]))
    }

    /// Up to `limit` jobs, the newest first, from where a page before has ended.
    ///
    /// # Errors
    /// When they cannot be told.
    pub fn jobs(&self, filter: &JobFilter, limit: usize, cursor: Option<&str>) -> Result<Page, ClientError> {
        let limit = limit.to_string();
        let mut pairs = filter.pairs();
        pairs.push(("limit", &limit));
        pairs.extend(cursor.map(|cursor| ("cursor", cursor)));
        let mut url = self.at(&["api", "jobs"]);
        url.query_pairs_mut().extend_pairs(pairs);
        self.ask(self.request(Method::GET, url, AT_ONCE))
    }

    /// Dead jobs by queue and error.
    ///
    /// # Errors
    /// When they cannot be told.
    pub fn errors(&self, queue: Option<&str>) -> Result<Vec<ErrorGroup>, ClientError> {
        let mut url = self.at(&["api", "jobs", "errors"]);
        if let Some(queue) = queue {
            url.query_pairs_mut().append_pair("queue", queue);
        }
        self.ask(self.request(Method::GET, url, AT_ONCE))
    }

    /// Cancels a job; its worker is asked to stop.
    ///
    /// # Errors
    /// When there is no such job.
    pub fn cancel(&self, id: &str) -> Result<(), ClientError> {
        self.tell(self.post(&["jobs", id, "cancel"]))
    }

    /// Lets a job run again, with another payload if there is one.
    ///
    /// # Errors
    /// When there is no such job, or it is done or leased: status 409.
    pub fn retry(&self, id: &str, payload: Option<&RawValue>) -> Result<(), ClientError> {
        self.tell(self.post(&["jobs", id, "retry"]).json(&Retry { payload }))
    }

    /// Cancels jobs.
    ///
    /// # Errors
    /// When they cannot be cancelled.
    pub fn cancel_ids(&self, ids: &[String]) -> Result<Counted, ClientError> {
        self.ask(self.post(&["jobs", "cancel"]).json(&OfIds { ids }))
    }

    /// Cancels those jobs of `filter` that are not settled.
    ///
    /// # Errors
    /// When they cannot be cancelled.
    pub fn cancel_all(&self, filter: &JobFilter) -> Result<Counted, ClientError> {
        self.ask(self.post(&["jobs", "cancel"]).json(filter))
    }

    /// Lets jobs run again.
    ///
    /// # Errors
    /// When they cannot.
    pub fn retry_ids(&self, ids: &[String]) -> Result<Counted, ClientError> {
        self.ask(self.post(&["jobs", "retry"]).json(&OfIds { ids }))
    }

    /// Lets those jobs of `filter` run again that can.
    ///
    /// # Errors
    /// When they cannot.
    pub fn retry_all(&self, filter: &JobFilter) -> Result<Counted, ClientError> {
        self.ask(self.post(&["jobs", "retry"]).json(filter))
    }

    /// All queues.
    ///
    /// # Errors
    /// When they cannot be told.
    pub fn queues(&self) -> Result<Vec<QueueStatus>, ClientError> {
        self.ask(self.get(&["queues"]))
    }

    /// A queue.
    ///
    /// # Errors
    /// When there is none of this name: status 404.
    pub fn queue(&self, queue: &str) -> Result<QueueStatus, ClientError> {
        self.ask(self.get(&["queues", queue]))
    }

    /// Leases no more jobs of a queue.
    ///
    /// # Errors
    /// When it is not taken.
    pub fn pause(&self, queue: &str) -> Result<(), ClientError> {
        self.tell(self.post(&["queues", queue, "pause"]))
    }

    /// Leases jobs of a queue again.
    ///
    /// # Errors
    /// When it is not taken.
    pub fn resume(&self, queue: &str) -> Result<(), ClientError> {
        self.tell(self.post(&["queues", queue, "resume"]))
    }

    /// Cancels all jobs of a queue that have not begun.
    ///
    /// # Errors
    /// When it is not taken.
    pub fn drain(&self, queue: &str) -> Result<(), ClientError> {
        self.tell(self.post(&["queues", queue, "drain"]))
    }

    /// All schedules.
    ///
    /// # Errors
    /// When they cannot be told.
    pub fn schedules(&self) -> Result<Vec<ScheduleStatus>, ClientError> {
        self.ask(self.get(&["schedules"]))
    }

    /// A schedule.
    ///
    /// # Errors
    /// When there is none of this name: status 404.
    pub fn schedule(&self, name: &str) -> Result<ScheduleStatus, ClientError> {
        self.ask(self.get(&["schedules", name]))
    }

    /// Sets a schedule: the JSON of a [`Schedule`](crate::model::Schedule).
    ///
    /// # Errors
    /// What is wrong with it: status 422.
    pub fn set_schedule(&self, name: &str, schedule: &RawValue) -> Result<(), ClientError> {
        let url = self.at(&["api", "schedules", name]);
        self.tell(self.request(Method::PUT, url, AT_ONCE).json(schedule))
    }

    /// Removes a schedule. Its jobs stay.
    ///
    /// # Errors
    /// When there is none of this name: status 404.
    pub fn remove_schedule(&self, name: &str) -> Result<(), ClientError> {
        let url = self.at(&["api", "schedules", name]);
        self.tell(self.request(Method::DELETE, url, AT_ONCE))
    }

    /// Submits the job of a schedule now, and gives what the server says of it.
    ///
    /// # Errors
    /// When there is none of this name: status 404.
    pub fn run_schedule(&self, name: &str) -> Result<Submitted, ClientError> {
        self.ask(self.post(&["schedules", name, "run"]))
    }

    /// The workers that the server has heard of.
    ///
    /// # Errors
    /// When they cannot be told.
    pub fn workers(&self) -> Result<Vec<WorkerStatus>, ClientError> {
        self.ask(self.get(&["workers"]))
    }

    /// Tells a channel something.
    ///
    /// # Errors
    /// When it is not taken.
    pub fn notify(&self, channel: &str, body: &RawValue) -> Result<(), ClientError> {
        self.tell(self.post(&["notifications", channel]).json(body))
    }

    /// Asks for jobs.
    ///
    /// # Errors
    /// When there is no answer, which says nothing about the jobs that the worker has.
    pub fn lease(&self, ask: &Ask) -> Result<Given, ClientError> {
        let wait = Duration::from_secs(ask.wait.into());
        self.ask(self.request(Method::POST, self.at(&["api", "jobs", "lease"]), wait).json(ask))
    }

    /// Tells that a worker is at it.
    ///
    /// # Errors
    /// When it is not taken.
    pub fn heartbeat(
        &self,
        id: &str,
        lease: u32,
        progress: Option<f64>,
        message: Option<&str>,
    ) -> Result<HeartbeatAnswer, ClientError> {
        self.ask(self.post(&["jobs", id, "heartbeat"]).json(&Heartbeat { lease, progress, message }))
    }

    /// Tells how a lease ended.
    ///
    /// # Errors
    /// When it is not taken for another reason than that the lease had ended before.
    pub fn report(&self, id: &str, lease: u32, report: &Report) -> Result<Taken, ClientError> {
        let request = self.post(&["jobs", id, report.path()]).header(CONTENT_TYPE, "application/json");
        match self.tell(request.body(report.body(lease))) {
            Ok(()) => Ok(Taken::Taken),
            Err(error) if error.is_of_lease() => Ok(Taken::Stale),
            Err(error) => Err(error),
        }
    }
}
