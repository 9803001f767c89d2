//! The endpoints: one table that the router and the description of the API are made of.

use super::format::Format;
use super::parameters::{ANSWER, FILTER, LIST, Parameter, STREAM, SUGGEST};

/// An endpoint. All of them are read with GET.
#[derive(Debug, Clone)]
pub struct Endpoint {
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
    /// A live stream.
    Live,
    /// Suggestions for what was typed.
    Suggest,
    /// The description of the API.
    OpenApi,
}

impl Operation {
    /// What it does, in a sentence.
    pub fn summary(self) -> String {
        match self {
            Self::List(None) => "Events, in the form that the header Accept asks for".to_owned(),
            Self::List(Some(format)) => format!("Events as {}", format.media_type()),
            Self::Event => "One event, with the records of its listings and why they belong to it".to_owned(),
            Self::Live => "Events and what becomes of them, as server-sent events".to_owned(),
            Self::Suggest => "Words, places, tags and events that begin with what was typed".to_owned(),
            Self::OpenApi => "This document".to_owned(),
        }
    }
}

/// The parameters of a list.
pub const OF_LIST: &[&[Parameter]] = &[FILTER, LIST, ANSWER];
/// The parameters of one event.
pub const OF_EVENT: &[&[Parameter]] = &[ANSWER];
/// The parameters of a live stream.
pub const OF_STREAM: &[&[Parameter]] = &[FILTER, FIELDS, STREAM];
/// The parameters of suggestions.
pub const OF_SUGGESTIONS: &[&[Parameter]] = &[SUGGEST, ANSWER];

/// All endpoints.
pub fn endpoints() -> Vec<Endpoint> {
    let other = |path: &str, operation, parameters| Endpoint { path: path.to_owned(), operation, parameters };
    let list = |path: &str, format| other(path, Operation::List(format), OF_LIST);
    let mut all = vec![list("/api/events", None)];
    let suffixed = Format::ALL.into_iter().filter(|format| !format.suffix().is_empty());
    all.extend(suffixed.map(|format| list(&format!("/api/events{}", format.suffix()), Some(format))));
    all.push(list("/api/events/discovered", None));
    all.push(other("/api/events/live", Operation::Live, OF_STREAM));
    all.push(other("/api/events/{id}", Operation::Event, OF_EVENT));
    all.push(other("/api/suggest", Operation::Suggest, OF_SUGGESTIONS));
    all.push(other("/openapi.json", Operation::OpenApi, &[]));
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
        let paths: BTreeSet<&str> = endpoints.iter().map(|endpoint| endpoint.path.as_str()).collect();
        assert_eq!(paths.len(), endpoints.len());
        for endpoint in endpoints {
            let parameters = endpoint.parameters.concat();
            let names: BTreeSet<&str> = parameters.iter().map(|parameter| parameter.name).collect();
            assert_eq!(names.len(), parameters.len(), "{}", endpoint.path);
        }
    }
}
