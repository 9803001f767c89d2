//! Requests and their answers.

use std::error::Error as _;
use std::time::Duration;

use reqwest::blocking::{ClientBuilder, RequestBuilder, Response};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::error::ClientError;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);

/// How long an answer may take, beside what a request waits for.
const ANSWER: Duration = Duration::from_secs(30);

/// How long a stream may say nothing. A server sends a comment more often.
const SILENT: Duration = Duration::from_secs(60);

/// So much of an answer that is no problem document is shown.
const SHOWN: usize = 200;

/// A client of the API. Clones share connections.
#[derive(Debug, Clone)]
pub struct Client {
    base: Url,
    http: reqwest::blocking::Client,
    streams: reqwest::blocking::Client,
}

#[derive(Deserialize)]
struct Problem {
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    detail: Option<String>,
    #[serde(default)]
    errors: Vec<Wrong>,
}

#[derive(Deserialize)]
struct Wrong {
    #[serde(default)]
    parameter: String,
    #[serde(default)]
    detail: String,
}

impl Client {
    /// A client of the API at `url`, such as `http://127.0.0.1:8084`, which shows `key` if there is one. A path is
    /// put before the paths of the API.
    ///
    /// # Errors
    /// When the address or the key cannot be used.
    pub fn new(url: &str, key: Option<&str>) -> Result<Self, ClientError> {
        let wrong = |reason: String| ClientError::Address { url: without_credentials(url), reason };
        let base: Url = url.parse().map_err(|error| wrong(format!("{error}")))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(wrong(format!("its scheme is {:?}, not http or https", base.scheme())));
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(wrong(
                "a user name and a password have no place in it; a key stands in HEADWATER_KEY".to_owned(),
            ));
        }
        let headers = headers(key)?;
        let build = |timeout: Duration| {
            let built = builder(&base).default_headers(headers.clone()).timeout(timeout).build();
            built.map_err(|error| ClientError::Prepare(reason(&error)))
        };
        Ok(Self { http: build(ANSWER)?, streams: build(SILENT)?, base })
    }

    /// The address that it asks.
    pub fn url(&self) -> &str {
        self.base.as_str()
    }

    /// The address of a path, whose `segments` may hold any characters.
    pub(super) fn at(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        // An address of HTTP always has segments.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// A request that waits up to `wait` beside the usual time.
    pub(super) fn request(&self, method: Method, url: Url, wait: Duration) -> RequestBuilder {
        self.http.request(method, url).timeout(ANSWER + wait)
    }

    /// Sends a request whose answer is one JSON document.
    pub(super) fn ask<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let text = self.text(request)?;
        serde_json::from_str(&text).map_err(|error| self.unreadable(&error.to_string()))
    }

    /// Sends a request whose answer says no more than that it was taken.
    pub(super) fn tell(&self, request: RequestBuilder) -> Result<(), ClientError> {
        self.text(request).map(drop)
    }

    /// Sends a request, and gives the text of its answer.
    pub(super) fn text(&self, request: RequestBuilder) -> Result<String, ClientError> {
        let response = self.send(request)?;
        response.text().map_err(|error| self.away(&error))
    }

    /// Opens a stream of events.
    pub(super) fn stream(&self, url: Url, last: Option<&str>) -> Result<Response, ClientError> {
        let mut request = self.streams.get(url).header(ACCEPT, "text/event-stream");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        self.send(request)
    }

    /// Sends a request, and gives the answer of one that was not refused.
    pub(super) fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let response = request.send().map_err(|error| self.away(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let is_problem = response.headers().get(CONTENT_TYPE).is_some_and(is_problem);
        let text = response.text().unwrap_or_default();
        Err(refusal(status, is_problem.then_some(text.as_str()), &text))
    }

    pub(super) fn away(&self, error: &reqwest::Error) -> ClientError {
        ClientError::Away { url: self.url().to_owned(), reason: reason(error) }
    }

    pub(super) fn unreadable(&self, reason: &str) -> ClientError {
        ClientError::Answer { url: self.url().to_owned(), reason: reason.to_owned() }
    }
}

fn headers(key: Option<&str>) -> Result<HeaderMap, ClientError> {
    let mut headers = HeaderMap::new();
    if let Some(key) = key {
        let mut value = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| ClientError::Key)?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(headers)
}

fn builder(base: &Url) -> ClientBuilder {
    let builder = reqwest::blocking::Client::builder()
        .user_agent(concat!("headwater-jobs/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT);
    // A proxy of the network cannot reach what listens on this machine alone.
    if is_local(base) { builder.no_proxy() } else { builder }
}

fn is_local(base: &Url) -> bool {
    let host = base.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether a content type is that of problem documents.
fn is_problem(content_type: &HeaderValue) -> bool {
    let essence = content_type.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/problem+json")
}

/// A URL as it may be shown: what stands before an `@` in its authority may be a password.
fn without_credentials(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (&url[..scheme.len() + 3], rest));
    let authority = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..authority].rfind('@') {
        Some(at) => format!("{scheme}…{}", &rest[at..]),
        None => url.to_owned(),
    }
}

/// What the server said no with.
fn refusal(status: reqwest::StatusCode, problem: Option<&str>, text: &str) -> ClientError {
    let title = status.canonical_reason().unwrap_or("refused");
    let read = problem.and_then(|problem| serde_json::from_str::<Problem>(problem).ok());
    let (code, detail) = match read {
        Some(Problem { code, title: said, detail, errors }) => {
            let each = errors.iter().map(|wrong| format!(" {}: {}", wrong.parameter, wrong.detail));
            let detail = detail.or(said).unwrap_or_else(|| title.to_owned());
            (code, detail + &each.collect::<Vec<_>>().join(";"))
        }
        None => (None, text.trim().chars().take(SHOWN).collect()),
    };
    // It is shown on terminals.
    let detail = detail.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    ClientError::Refused { status: status.as_u16(), code, detail }
}

/// The innermost cause, which says most, and no address.
fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut cause = error.source();
    let mut text = error.to_string();
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use headwater::error::Fault;
    use reqwest::StatusCode;

    use super::*;

    #[test]
    fn what_stands_in_a_path_is_quoted_and_goes_behind_the_path_of_the_address() {
        let client = Client::new("http://localhost:1/x/", None).unwrap();
        assert_eq!(client.at(&["api", "jobs", "a/b c"]).as_str(), "http://localhost:1/x/api/jobs/a%2Fb%20c");
        assert_eq!(Client::new("http://h", None).unwrap().at(&["api", "queues"]).as_str(), "http://h/api/queues");
    }

    #[test]
    fn addresses_and_keys_that_cannot_be_are_told() {
        for bad in ["", "127.0.0.1:8084", "ftp://host", "unix:/x"] {
            let error = Client::new(bad, None).unwrap_err();
            assert!(matches!(error, ClientError::Address { .. }), "{bad}: {error}");
            assert!(error.hint().is_some());
        }
        assert!(matches!(Client::new("http://h", Some("a\nb")), Err(ClientError::Key)));
    }

    #[test]
    fn passwords_in_addresses_are_refused_and_not_shown() {
        for bad in
            ["http://kim:pass-word@host/x", "https://pass-word@host", "kim:pass-word@host", "http://a:pass-word@h:x"]
        {
            let error = Client::new(bad, None).unwrap_err().to_string();
            assert!(error.contains("is not a valid API URL") && !error.contains("pass-word"), "{error}");
        }
        assert_eq!(without_credentials("http://a@b:c@host/@x"), "http://…@host/@x");
        assert!(Client::new("http://host/@x", None).is_ok());
    }

    #[test]
    fn problems_are_read_and_other_answers_shown() {
        let text = r#"{"type":"about:blank","status":400,"code":"invalid-parameters","detail":"Wrong.",
            "errors":[{"parameter":"phase","code":"unknown-value","detail":"no such phase"}]}"#;
        let error = refusal(StatusCode::BAD_REQUEST, Some(text), text);
        assert_eq!(error.to_string(), "400 invalid-parameters: Wrong. phase: no such phase");
        assert!(!error.may_pass() && error.domain().exit_code() == 2);
        let error = refusal(StatusCode::BAD_GATEWAY, None, "<html>nginx");
        assert_eq!(error.to_string(), "502 Bad Gateway: <html>nginx");
        assert!(error.may_pass() && error.domain().exit_code() == 3);
        assert!(refusal(StatusCode::TOO_MANY_REQUESTS, None, "").may_pass());
        assert_eq!(refusal(StatusCode::NOT_FOUND, None, "a\u{1b}[31mb").to_string(), "404 Not Found: a [31mb");
    }

    #[test]
    fn only_the_api_says_that_a_lease_is_lost() {
        let gone = |code: &str| format!("{{\"code\":\"{code}\",\"detail\":\"Gone.\"}}");
        let is_lost = |text: Option<&str>| refusal(StatusCode::NOT_FOUND, text, text.unwrap_or("")).is_of_lease();
        assert!(is_lost(Some(&gone("not-found"))) && is_lost(Some(&gone("stale-lease"))));
        assert!(!is_lost(Some(&gone("no-route"))) && !is_lost(Some("{}")) && !is_lost(None));
        let is = |text: &'static str| is_problem(&HeaderValue::from_static(text));
        assert!(is("application/problem+json") && is("Application/Problem+JSON; charset=utf-8"));
        assert!(!is("application/json") && !is("text/html"));
    }

    #[test]
    fn only_this_machine_is_asked_without_a_proxy() {
        let local = |url: &str| is_local(&url.parse().unwrap());
        assert!(local("http://127.0.0.1:1") && local("http://[::1]:1") && local("http://localhost"));
        assert!(!local("http://10.0.0.1") && !local("https://jobs.example"));
    }
}
