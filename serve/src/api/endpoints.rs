//! The endpoints: one table that the router and the description of the API are made of.

use axum::http::Method;

use super::format::Format;
use super::parameters::{
    ACTION, AGENDA, ANSWER, AT, DECISIONS, FILTER, INBOUND, LETTERS, LIST, PLACES, Parameter, RECORDS, REVIEW, STREAM,
    SUGGEST, TIMEFRAME,
};
use crate::access::guard::SOCKET;
use crate::access::keys::Scope;

/// An endpoint.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// How it is asked.
    pub method: Method,
    /// Its path, with placeholders such as `{id}`.
    pub path: String,
    /// What it does.
    pub operation: Operation,
    /// Its query parameters.
    pub parameters: &'static [&'static [Parameter]],
}

/// What an endpoint does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A list of events, in this form; in none, the client chooses.
    List(Option<Format>),
    /// One event.
    Event,
    /// Where the fields of an event come from, and why its listings are one.
    Explain,
    /// A live stream.
    Live,
    /// Live streams on a WebSocket.
    Socket,
    /// A list of places, in this form.
    Places(Format),
    /// One place.
    Place,
    /// What is on at a place.
    PlaceStatus,
    /// What many people are about to go to.
    Trending,
    /// Suggestions for what was typed.
    Suggest,
    /// The description of the API.
    OpenApi,
    /// How the topology is doing, by the parameter `action`.
    Pipeline,
    /// How it is doing now.
    Status,
    /// Whether it does its work.
    Health,
    /// Its figures of the last hour.
    Metrics,
    /// What records would give, or a saved subscription.
    Act,
    /// Who the client is.
    Session,
    /// Shows a key, and gives a cookie.
    SignIn,
    /// Forgets the cookie.
    SignOut,
    /// Gives a ticket.
    Ticket,
    /// Takes a record in.
    Inbound,
    /// Withdraws a document.
    Withdraw,
    /// What each source gives.
    Sources,
    /// The topics.
    Topics,
    /// Records of a topic.
    Records,
    /// Dead letters.
    Letters,
    /// Dead letters by code and source.
    LettersSummary,
    /// One dead letter.
    Letter,
    /// Replays dead letters.
    Replay,
    /// Pairs that a person should look at.
    Review,
    /// Decisions.
    Decisions,
    /// Decides on two listings.
    Decide,
    /// Takes a decision back.
    Undecide,
    /// Approves, flags or rejects an event.
    Moderate,
    /// What is set while the topology runs.
    Controls,
    /// Sets it.
    Control,
}

impl Operation {
    /// What it does, in a sentence.
    pub fn summary(self) -> String {
        if let Self::List(Some(format)) = self {
            return format!("Events as {}", format.media_type());
        }
        match self {
            Self::List(_) => "Events, in the form that the header Accept asks for",
            Self::Event => "One event, with the records of its listings and why they belong to it",
            Self::Explain => "Where each field of an event comes from, and why its listings are one",
            Self::Live => "Events and what becomes of them, as server-sent events",
            Self::Socket => "Many live streams on one WebSocket",
            Self::Places(Format::GeoJson) => "Places as application/geo+json",
            Self::Places(_) => "Places: the venues of events",
            Self::Place => "One place, with its next events",
            Self::PlaceStatus => "What is on at a place",
            Self::Trending => "Not there yet: events that many people are about to go to",
            Self::Suggest => "Words, places, tags and events that begin with what was typed",
            Self::OpenApi => "This document",
            Self::Pipeline => "How the topology is doing: status, health or metrics",
            Self::Status => "How the topology is doing now",
            Self::Health => "Whether the topology does its work: 503 where it does not",
            Self::Metrics => "Figures of the last hour, one every ten seconds",
            Self::Act => "What records would give, without writing them; or a saved subscription",
            Self::Session => "Who the client is, and what it may do",
            Self::SignIn => "Shows a key once, and gives a cookie for the browser",
            Self::SignOut => "Ends the session of the cookie",
            Self::Ticket => "A ticket that opens one stream within 30 seconds",
            Self::Inbound => "Takes a raw record in; it is durable when this is answered",
            Self::Withdraw => "Withdraws all listings of a document",
            Self::Sources => "What each source gives",
            Self::Topics => "The topics, their partitions and ends",
            Self::Records => "Records of a topic",
            Self::Letters => "Dead letters, the newest first",
            Self::LettersSummary => "Dead letters counted by code and source, with what to change",
            Self::Letter => "One dead letter with its bytes",
            Self::Replay => "Puts the records of dead letters back on their topics, or says what that would do",
            Self::Review => "Pairs of listings that are one event by the smallest margin",
            Self::Decisions => "Decisions of people, and what became of each",
            Self::Decide => "Decides whether two listings are one event",
            Self::Undecide => "Takes a decision back",
            Self::Moderate => "Approves, flags or rejects an event, or takes that back",
            Self::Controls => "The gates in force, and the records that change them",
            Self::Control => "Changes gates while the topology runs, or takes a change back",
        }
        .to_owned()
    }

    /// What a client has to be allowed to do; `None` where everybody is answered, or where the endpoint looks itself.
    pub fn scope(self) -> Option<Scope> {
        match self {
            Self::List(_)
            | Self::Event
            | Self::Explain
            | Self::Live
            | Self::Socket
            | Self::Places(_)
            | Self::Place
            | Self::PlaceStatus
            | Self::Trending
            | Self::Suggest
            | Self::Ticket => Some(Scope::Read),
            Self::Pipeline
            | Self::Status
            | Self::Metrics
            | Self::Act
            | Self::Sources
            | Self::Topics
            | Self::Records
            | Self::Letters
            | Self::LettersSummary
            | Self::Letter
            | Self::Review
            | Self::Decisions
            | Self::Controls => Some(Scope::Ops),
            Self::Replay => Some(Scope::Replay),
            Self::Decide | Self::Undecide | Self::Moderate => Some(Scope::Decide),
            Self::Control => Some(Scope::Admin),
            Self::OpenApi
            | Self::Health
            | Self::Session
            | Self::SignIn
            | Self::SignOut
            | Self::Inbound
            | Self::Withdraw => None,
        }
    }
}

/// The parameters of a list.
pub const OF_LIST: &[&[Parameter]] = &[FILTER, LIST, ANSWER];
/// The parameters of one event.
pub const OF_EVENT: &[&[Parameter]] = &[ANSWER];
/// The parameters of a live stream.
pub const OF_STREAM: &[&[Parameter]] = &[FILTER, FIELDS, STREAM];
/// The parameters of a list of places.
pub const OF_PLACES: &[&[Parameter]] = &[PLACES, AT, ANSWER];
/// The parameters of one place.
pub const OF_PLACE: &[&[Parameter]] = &[AGENDA, AT, ANSWER];
/// The parameters of what is on at a place.
pub const OF_PLACE_STATUS: &[&[Parameter]] = &[AT, ANSWER];
/// The parameters of suggestions.
pub const OF_SUGGESTIONS: &[&[Parameter]] = &[SUGGEST, ANSWER];
/// The parameters of the pipeline.
pub const OF_PIPELINE: &[&[Parameter]] = &[ACTION, TIMEFRAME];
/// The parameters of its figures.
pub const OF_METRICS: &[&[Parameter]] = &[TIMEFRAME];
/// The parameters of records.
pub const OF_RECORDS: &[&[Parameter]] = &[RECORDS];
/// The parameters of dead letters.
pub const OF_LETTERS: &[&[Parameter]] = &[LETTERS];
/// The parameters of what is to be reviewed.
pub const OF_REVIEW: &[&[Parameter]] = &[REVIEW];
/// The parameters of decisions.
pub const OF_DECISIONS: &[&[Parameter]] = &[DECISIONS];
/// The parameters of records that come in.
pub const OF_INBOUND: &[&[Parameter]] = &[INBOUND];

/// All endpoints.
pub fn endpoints() -> Vec<Endpoint> {
    let one =
        |method, path: &str, operation, parameters| Endpoint { method, path: path.to_owned(), operation, parameters };
    let get = |path: &str, operation, parameters| one(Method::GET, path, operation, parameters);
    let list = |path: &str, format| get(path, Operation::List(format), OF_LIST);
    let mut all = vec![list("/api/events", None)];
    let suffixed = Format::ALL.into_iter().filter(|format| !format.suffix().is_empty());
    all.extend(suffixed.map(|format| list(&format!("/api/events{}", format.suffix()), Some(format))));
    all.push(list("/api/events/discovered", None));
    all.extend([
        get("/api/events/live", Operation::Live, OF_STREAM),
        get(SOCKET, Operation::Socket, &[]),
        get("/api/events/{id}", Operation::Event, OF_EVENT),
        get("/api/events/{id}/explain", Operation::Explain, OF_EVENT),
        get("/api/places", Operation::Places(Format::Json), OF_PLACES),
        get("/api/places.geojson", Operation::Places(Format::GeoJson), OF_PLACES),
        get("/api/places/{key}", Operation::Place, OF_PLACE),
        get("/api/places/{key}/status", Operation::PlaceStatus, OF_PLACE_STATUS),
        get("/api/trending", Operation::Trending, &[]),
        get("/api/suggest", Operation::Suggest, OF_SUGGESTIONS),
        get("/api/pipeline", Operation::Pipeline, OF_PIPELINE),
        one(Method::POST, "/api/pipeline", Operation::Act, &[]),
        get("/api/pipeline/status", Operation::Status, &[]),
        get("/api/pipeline/health", Operation::Health, &[]),
        get("/api/pipeline/metrics", Operation::Metrics, OF_METRICS),
        get("/api/session", Operation::Session, &[]),
        one(Method::POST, "/api/session", Operation::SignIn, &[]),
        one(Method::DELETE, "/api/session", Operation::SignOut, &[]),
        one(Method::POST, "/api/ticket", Operation::Ticket, &[]),
        one(Method::POST, "/api/in/{source}", Operation::Inbound, OF_INBOUND),
        one(Method::DELETE, "/api/in/{source}", Operation::Withdraw, OF_INBOUND),
        get("/api/admin/sources", Operation::Sources, &[]),
        get("/api/admin/topics", Operation::Topics, &[]),
        get("/api/admin/topics/{topic}/records", Operation::Records, OF_RECORDS),
        get("/api/admin/dead-letters", Operation::Letters, OF_LETTERS),
        get("/api/admin/dead-letters/summary", Operation::LettersSummary, &[]),
        get("/api/admin/dead-letters/{partition}/{offset}", Operation::Letter, &[]),
        one(Method::POST, "/api/admin/dead-letters/replay", Operation::Replay, &[]),
        get("/api/admin/review", Operation::Review, OF_REVIEW),
        get("/api/admin/decisions", Operation::Decisions, OF_DECISIONS),
        one(Method::POST, "/api/admin/decisions", Operation::Decide, &[]),
        one(Method::DELETE, "/api/admin/decisions", Operation::Undecide, &[]),
        one(Method::POST, "/api/admin/events/moderate", Operation::Moderate, &[]),
        get("/api/admin/control", Operation::Controls, &[]),
        one(Method::POST, "/api/admin/control", Operation::Control, &[]),
        get("/openapi.json", Operation::OpenApi, &[]),
    ]);
    all
}

/// The parameter `fields` alone.
const FIELDS: &[Parameter] = &[LIST[1]];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique() {
        assert_eq!(FIELDS[0].name, "fields");
        let endpoints = endpoints();
        let places: BTreeSet<(&str, &str)> =
            endpoints.iter().map(|endpoint| (endpoint.method.as_str(), endpoint.path.as_str())).collect();
        assert_eq!(places.len(), endpoints.len());
        for endpoint in endpoints {
            let parameters = endpoint.parameters.concat();
            let names: BTreeSet<&str> = parameters.iter().map(|parameter| parameter.name).collect();
            assert_eq!(names.len(), parameters.len(), "{}", endpoint.path);
        }
    }

    #[test]
    fn whatever_writes_or_shows_more_than_events_needs_more_than_reading() {
        for endpoint in endpoints() {
            let scope = endpoint.operation.scope();
            let open = ["/api/session", "/api/in/{source}", "/api/pipeline/health", "/openapi.json"];
            if open.contains(&endpoint.path.as_str()) {
                assert_eq!(scope, None, "{}", endpoint.path);
            } else if endpoint.path.starts_with("/api/admin") || endpoint.path.starts_with("/api/pipeline") {
                assert!(scope.is_some_and(|scope| scope != Scope::Read), "{}", endpoint.path);
            } else {
                assert_eq!(scope, Some(Scope::Read), "{}", endpoint.path);
            }
        }
    }
}
