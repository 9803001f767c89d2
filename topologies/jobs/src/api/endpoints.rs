//! The endpoints: one table that the router and the description of the API are made of.

use axum::http::Method;
use headwater_serve::access::keys::Scope;
use headwater_serve::api::parameters::Parameter;

use super::jobs::{self, Bulk};
use super::live;
use super::queues::Change;
use super::report::End;
use super::submit;

/// An endpoint.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    pub(super) method: Method,
    /// Its path, with placeholders such as `{name}`.
    pub(super) path: &'static str,
    pub(super) operation: Operation,
}

/// What an endpoint does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Submit,
    List,
    Errors,
    Bulk(Bulk),
    One,
    LiveJob,
    Cancel,
    Retry,
    Lease,
    Heartbeat,
    End(End),
    Workers,
    Queues,
    Queue,
    Change(Change),
    Stats,
    Schedules,
    Schedule,
    SetSchedule,
    RemoveSchedule,
    RunSchedule,
    LiveChannel,
    Notify,
    Live,
    Ready,
    OpenApi,
}

impl Operation {
    /// What it does, in a sentence.
    pub(super) fn summary(self) -> &'static str {
        match self {
            Self::Submit => {
                "Submits a job, an array of jobs, or one on each line (`application/x-ndjson`). A job that is known \
                 already is not submitted again"
            }
            Self::List => "Jobs, the newest first",
            Self::Errors => "Dead jobs by queue and error code, the most first",
            Self::Bulk(Bulk::Cancel) => "Cancels jobs: those of `ids`, or those that a filter finds",
            Self::Bulk(Bulk::Retry) => {
                "Retries jobs: those of `ids`, or those that a filter finds. Without `phase`, a filter means those that \
                 are dead or cancelled"
            }
            Self::One => "One job, with its attempts",
            Self::LiveJob => "A job and what becomes of it, as server-sent events, until it is settled",
            Self::Cancel => "Cancels a job; the worker of a leased one is told to stop",
            Self::Retry => "Lets a job run again, with another payload if there is one",
            Self::Lease => "What a worker is to do and to stop; waits until there is something",
            Self::Heartbeat => "Says that a worker is at it, and how far it has come",
            Self::End(End::Complete) => "A job is done",
            Self::End(End::Fail) => "An attempt has failed",
            Self::End(End::Release) => "A worker gives a job back; the attempt does not count",
            Self::Workers => "The workers that this server has heard of, and what each has",
            Self::Queues => "All queues: how many jobs there are in each phase, how long they waited and ran",
            Self::Queue => "One queue",
            Self::Change(Change::Pause) => "Leases no more jobs of a queue; those that run go on",
            Self::Change(Change::Resume) => "Leases jobs of a queue again",
            Self::Change(Change::Drain) => "Cancels all jobs of a queue that have not begun",
            Self::Stats => "How many jobs there are, in the words that other systems of jobs use",
            Self::Schedules => "All schedules, and when each is due next",
            Self::Schedule => "One schedule",
            Self::SetSchedule => "Sets a schedule",
            Self::RemoveSchedule => "Removes a schedule",
            Self::RunSchedule => "Submits the job of a schedule now",
            Self::LiveChannel => "What a channel is told, as server-sent events",
            Self::Notify => "Tells a channel something",
            Self::Live => "Queues and the ids of jobs that change, as server-sent events, at most twice a second",
            Self::Ready => "Whether the jobs have been read: 503 before",
            Self::OpenApi => "This document",
        }
    }

    /// What a client has to be allowed to do; `None` where everybody is answered.
    pub(super) fn scope(self) -> Option<Scope> {
        match self {
            Self::List
            | Self::Errors
            | Self::One
            | Self::LiveJob
            | Self::Workers
            | Self::Queues
            | Self::Queue
            | Self::Stats
            | Self::Schedules
            | Self::Schedule
            | Self::LiveChannel
            | Self::Live => Some(Scope::Read),
            Self::Submit | Self::Notify => Some(Scope::Produce),
            Self::Lease | Self::Heartbeat | Self::End(_) => Some(Scope::Work),
            Self::Bulk(_)
            | Self::Cancel
            | Self::Retry
            | Self::Change(_)
            | Self::SetSchedule
            | Self::RemoveSchedule
            | Self::RunSchedule => Some(Scope::Admin),
            Self::Ready | Self::OpenApi => None,
        }
    }

    /// Its query parameters.
    pub(super) fn parameters(self) -> &'static [Parameter] {
        match self {
            Self::Submit => submit::PARAMETERS,
            Self::List => jobs::LIST,
            Self::Errors => jobs::ERRORS,
            Self::LiveJob => live::JOB,
            Self::LiveChannel => live::CHANNEL,
            Self::Live => live::LIVE,
            _ => &[],
        }
    }

    /// Whether its answer goes on.
    pub(super) fn is_stream(self) -> bool {
        matches!(self, Self::LiveJob | Self::LiveChannel | Self::Live)
    }
}

/// All endpoints. A word of the API goes before the name of a queue or the id of a job.
pub(super) fn endpoints() -> Vec<Endpoint> {
    let one = |method, path, operation| Endpoint { method, path, operation };
    let get = |path, operation| one(Method::GET, path, operation);
    let post = |path, operation| one(Method::POST, path, operation);
    vec![
        post("/api/jobs/{name}", Operation::Submit),
        get("/api/jobs", Operation::List),
        get("/api/jobs/errors", Operation::Errors),
        post("/api/jobs/cancel", Operation::Bulk(Bulk::Cancel)),
        post("/api/jobs/retry", Operation::Bulk(Bulk::Retry)),
        get("/api/jobs/{name}", Operation::One),
        get("/api/jobs/{name}/live", Operation::LiveJob),
        one(Method::DELETE, "/api/jobs/{name}", Operation::Cancel),
        post("/api/jobs/{name}/cancel", Operation::Cancel),
        post("/api/jobs/{name}/retry", Operation::Retry),
        post("/api/jobs/lease", Operation::Lease),
        post("/api/jobs/{name}/heartbeat", Operation::Heartbeat),
        post("/api/jobs/{name}/complete", Operation::End(End::Complete)),
        post("/api/jobs/{name}/fail", Operation::End(End::Fail)),
        post("/api/jobs/{name}/release", Operation::End(End::Release)),
        get("/api/workers", Operation::Workers),
        get("/api/queues", Operation::Queues),
        get("/api/queues/{queue}", Operation::Queue),
        post("/api/queues/{queue}/pause", Operation::Change(Change::Pause)),
        post("/api/queues/{queue}/resume", Operation::Change(Change::Resume)),
        post("/api/queues/{queue}/drain", Operation::Change(Change::Drain)),
        get("/api/stats", Operation::Stats),
        get("/api/schedules", Operation::Schedules),
        get("/api/schedules/{name}", Operation::Schedule),
        one(Method::PUT, "/api/schedules/{name}", Operation::SetSchedule),
        one(Method::DELETE, "/api/schedules/{name}", Operation::RemoveSchedule),
        post("/api/schedules/{name}/run", Operation::RunSchedule),
        get("/api/notifications/{channel}", Operation::LiveChannel),
        post("/api/notifications/{channel}", Operation::Notify),
        get("/api/live", Operation::Live),
        get("/api/ready", Operation::Ready),
        get("/api/openapi.json", Operation::OpenApi),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn places_are_unique() {
        let endpoints = endpoints();
        let places: BTreeSet<(&str, &str)> = endpoints.iter().map(|one| (one.method.as_str(), one.path)).collect();
        assert_eq!(places.len(), endpoints.len());
    }

    #[test]
    fn whatever_writes_needs_more_than_reading() {
        for Endpoint { method, path, operation } in endpoints() {
            let open = matches!(operation, Operation::Ready | Operation::OpenApi);
            let may_read = operation.scope() == Some(Scope::Read);
            assert_eq!(method == Method::GET, may_read || open, "{method} {path}");
        }
    }
}
