//! What stands before each request.

use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::keys::Scope;
use super::limits::{Client, Quota};
use super::tokens::Tokens;
use super::{Access, Basis, Identity};
use crate::api::problem::Problem;

/// Where a request comes from. The server adds it.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// What counts a connection, and lets the server wait for it, for as long as it lasts. Who takes a connection over,
/// as a WebSocket does, holds this.
#[derive(Clone)]
pub struct Held(#[expect(dead_code, reason = "it is held, not read")] pub(crate) Arc<dyn Any + Send + Sync>);

/// The header that holds a key, for programs that cannot set `Authorization`.
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// What proxies add.
const FORWARDED: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];

/// The cookie of a session.
pub(crate) const COOKIE: &str = "headwater_session";

/// The path of the WebSocket.
pub(crate) const SOCKET: &str = "/api/ws";

/// When somebody may show another token who has shown too many that are wrong.
const GUESS_AGAIN: Duration = Duration::from_secs(1);

/// Whether a ticket opens a path, of any topology: to read a stream, and nothing else.
fn is_stream(method: &Method, path: &str) -> bool {
    let is_one = |segments: &[&str]| match segments {
        ["live"] | ["events", "live"] => true,
        ["jobs", id, "live"] => !id.is_empty(),
        ["notifications", channel] => !channel.is_empty(),
        _ => false,
    };
    *method == Method::GET && (path == SOCKET || is_one(&segments(path)))
}

/// Whether a request is one that only workers of jobs make, to lease them and to report on them. There are as many of
/// these as there are jobs, and a worker that waits for its turn to send a heartbeat loses the job.
fn is_work(method: &Method, path: &str) -> bool {
    let is_one = |segments: &[&str]| match segments {
        ["jobs", "lease"] => true,
        ["jobs", id, "heartbeat" | "complete" | "fail" | "release"] => !id.is_empty(),
        _ => false,
    };
    *method == Method::POST && is_one(&segments(path))
}

/// What a path of the API consists of, without `/api`; nothing of other paths.
fn segments(path: &str) -> Vec<&str> {
    path.strip_prefix("/api/").map(|rest| rest.split('/').collect()).unwrap_or_default()
}

/// Lets a request in: names and origins are right, a key that is shown is known, and the client has not asked too
/// often. What it may do, [`allow`] says.
pub async fn admit(State(access): State<Arc<Access>>, mut request: Request, next: Next) -> Response {
    if is_guessing(&access, &request) {
        return refuse(GUESS_AGAIN);
    }
    let admitted = check_host(&access, request.headers(), request.uri())
        .and_then(|()| check_origin(&access, &request))
        .and_then(|()| identify(&access, &request));
    let identity = match admitted {
        Ok(identity) => identity,
        Err(problem) => {
            // Guesses count, too.
            let peer = stranger(peer(&request)).zip(access.limiter.as_ref());
            let wait = peer.map(|(client, limiter)| limiter.take(client).wait).unwrap_or_default();
            return if wait.is_zero() { problem.into_response() } else { refuse(wait) };
        }
    };
    let is_counted = !(identity.may(Scope::Work) && is_work(request.method(), request.uri().path()));
    let client = client_of(&identity, peer(&request)).filter(|_| is_counted);
    let quota = access.limiter.as_ref().zip(client).map(|(limiter, client)| (limiter.take(client), limiter.policy()));
    if let Some((Quota { wait, .. }, _)) = quota
        && !wait.is_zero()
    {
        return refuse(wait);
    }
    request.extensions_mut().insert(identity);
    let mut response = next.run(request).await;
    if let Some((quota, policy)) = quota {
        tell_quota(response.headers_mut(), quota, policy);
    }
    response
}

/// Whether a token is shown from an address that has asked too often without a valid key or token: to verify a
/// signature costs more than to refuse.
fn is_guessing(access: &Access, request: &Request) -> bool {
    let shows_token = shown_key(request.headers()).is_some_and(Tokens::is_like);
    let address = access.limiter.as_ref().filter(|_| shows_token).zip(stranger(peer(request)));
    address.is_some_and(|(limiter, client)| limiter.has_used_up(&client))
}

/// Lets a request through whose client may do `scope`.
pub async fn allow(scope: Scope, access: Arc<Access>, request: Request, next: Next) -> Response {
    let identity = request.extensions().get::<Identity>();
    match identity {
        Some(identity) if identity.may(scope) => next.run(request).await,
        Some(Identity { name: Some(name), .. }) => {
            let detail = format!("{name:?} has no scope {scope:?}, which this needs.", scope = scope.to_string());
            Problem::new(StatusCode::FORBIDDEN, "forbidden", detail).into_response()
        }
        _ if !access.knows_somebody() => {
            let detail = format!("Nobody may {scope} here: no key is configured ([[serve.keys]]).");
            Problem::new(StatusCode::FORBIDDEN, "forbidden", detail).into_response()
        }
        _ => unauthorized("Show a key: Authorization: Bearer KEY, or X-API-Key: KEY. Browsers sign in at /console/."),
    }
}

fn unauthorized(detail: &str) -> Response {
    let mut response = Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail).into_response();
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

/// Who asks, by a key, a token, a session or a ticket. A key that is wrong is no stranger: its owner wants to know.
fn identify(access: &Access, request: &Request) -> Result<Identity, Problem> {
    let headers = request.headers();
    let unknown = |detail: &str| Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail);
    if let Some(key) = shown_key(headers) {
        return access.identity(key).map_err(|detail| unknown(&detail));
    }
    if let Some(ticket) = ticket(request.method(), request.uri()) {
        let detail = "This ticket is not known, was used, or is too old: a ticket opens one stream within 30 seconds.";
        return access.of_ticket(&ticket).ok_or_else(|| unknown(detail));
    }
    // A browser sends the cookie from pages of neighbouring origins, too.
    let shown_cookie = cookie(headers).filter(|_| !is_foreign(headers) || is_listed(access, headers));
    if let Some(identity) = shown_cookie.and_then(|secret| access.of_session(secret)) {
        return Ok(identity);
    }
    let from_afar = is_forwarded(headers) || is_foreign(headers);
    let scopes = if from_afar { &access.forwarded } else { &access.anonymous };
    Ok(Identity { name: None, scopes: Arc::clone(scopes), basis: Basis::Nothing })
}

/// Whether a proxy passes a request on: it comes from farther away than it seems to.
fn is_forwarded(headers: &HeaderMap) -> bool {
    FORWARDED.iter().any(|name| headers.contains_key(*name))
}

fn shown_key(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| {
        let (scheme, key) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    });
    bearer.or_else(|| headers.get(API_KEY)?.to_str().ok())
}

/// The secret of a session.
pub(crate) fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies.flat_map(|value| value.split(';')).find_map(|one| {
        let (name, value) = one.trim().split_once('=')?;
        (name == COOKIE).then_some(value)
    })
}

fn ticket(method: &Method, uri: &Uri) -> Option<String> {
    if !is_stream(method, uri.path()) {
        return None;
    }
    let mut pairs = url::form_urlencoded::parse(uri.query()?.as_bytes());
    pairs.find(|(name, _)| name == "ticket").map(|(_, value)| value.into_owned())
}

/// Whether a page of another origin asks.
fn is_foreign(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ORIGIN) && !is_own(text(headers, header::ORIGIN), text(headers, header::HOST))
}

/// A header, if it is text.
fn text(headers: &HeaderMap, name: HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Whether an origin is that of the server itself.
fn is_own(origin: &str, host: &str) -> bool {
    origin.split_once("://").is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(host))
}

/// Who is counted; nobody where this machine asks without a key, be it for itself or as a proxy, which has limits of
/// its own. Forwarded addresses are not read: anybody can write them.
pub(crate) fn client_of(identity: &Identity, peer: Option<&Peer>) -> Option<Client> {
    if let Some(name) = &identity.name {
        return Some(Client::Key(Arc::clone(name)));
    }
    stranger(peer)
}

fn peer(request: &Request) -> Option<&Peer> {
    request.extensions().get()
}

/// The client by its address, where that is not this machine.
fn stranger(peer: Option<&Peer>) -> Option<Client> {
    let address = peer.map(|peer| peer.0.ip().to_canonical());
    address.filter(|address| !address.is_loopback()).map(Client::at)
}

/// Refuses a page whose name was made to lead to this machine: it could read and write without a key otherwise.
fn check_host(access: &Access, headers: &HeaderMap, uri: &Uri) -> Result<(), Problem> {
    if !access.only_local_names {
        return Ok(());
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| uri.authority().map(|authority| authority.as_str())).unwrap_or_default();
    if is_local(host) {
        return Ok(());
    }
    let detail = format!("Without keys only names of this machine are answered, such as localhost, not {host:?}.");
    Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, "wrong-host", detail))
}

/// Whether a host, with or without a port, is a name of this machine.
fn is_local(host: &str) -> bool {
    let Ok(url) = url::Url::parse(&format!("http://{host}/")) else { return false };
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Refuses what a page of another origin does in a visitor's browser: writes, and WebSockets, whose answers a
/// browser shows to every page. A page with a ticket was let in before.
fn check_origin(access: &Access, request: &Request) -> Result<(), Problem> {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let is_socket = request.uri().path() == SOCKET;
    let headers = request.headers();
    let may_read = is_socket && (access.every_origin_reads || ticket(request.method(), request.uri()).is_some());
    if (is_read && !is_socket) || may_read || !is_foreign(headers) || is_listed(access, headers) {
        return Ok(());
    }
    let what = if is_socket { "open no WebSocket" } else { "not write" };
    let detail = format!("Pages of {:?} may {what} here.", text(headers, header::ORIGIN));
    Err(Problem::new(StatusCode::FORBIDDEN, "wrong-origin", detail))
}

/// Whether the configuration names the origin of the page that asks.
fn is_listed(access: &Access, headers: &HeaderMap) -> bool {
    access.origins.iter().any(|allowed| allowed == text(headers, header::ORIGIN))
}

/// That a client has to wait.
pub(crate) fn too_many(wait: Duration) -> Problem {
    let seconds = seconds(wait);
    let detail = format!("There were too many requests of this client; the next one is answered in {seconds} s.");
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", detail)
}

fn refuse(wait: Duration) -> Response {
    let mut response = too_many(wait).into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds(wait)));
    response
}

fn seconds(wait: Duration) -> u64 {
    wait.as_secs_f64().ceil() as u64
}

/// The fields `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10).
fn tell_quota(headers: &mut HeaderMap, quota: Quota, (burst, window): (u32, u64)) {
    let mut set = |name: &'static str, value: String| {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    set("ratelimit-policy", format!("\"client\";q={burst};w={window}"));
    set("ratelimit", format!("\"client\";r={};t={window}", quota.remaining));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_this_machine_are_known() {
        let local = ["localhost", "LOCALHOST:8081", "127.0.0.1:80", "[::1]:8081", "app.localhost"];
        let foreign = ["", "example.org", "127.0.0.1.example.org", "localhost.example.org", "10.0.0.1", "a b"];
        assert!(local.iter().all(|host| is_local(host)));
        assert!(foreign.iter().all(|host| !is_local(host)));
    }

    #[test]
    fn keys_cookies_and_tickets_are_found() {
        let headers = |pairs: &[(HeaderName, &str)]| -> HeaderMap {
            pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
        };
        assert_eq!(shown_key(&headers(&[(header::AUTHORIZATION, "bearer  abc")])), Some("abc"));
        assert_eq!(shown_key(&headers(&[(header::AUTHORIZATION, "Basic abc"), (API_KEY, "k")])), Some("k"));
        assert_eq!(cookie(&headers(&[(header::COOKIE, "a=b; headwater_session=s=1")])), Some("s=1"));
        assert_eq!(cookie(&headers(&[(header::COOKIE, "xheadwater_session=s")])), None);
        let shown = |method: &Method, path: &'static str| ticket(method, &Uri::from_static(path));
        assert_eq!(shown(&Method::GET, "/api/ws?a=1&ticket=t%20x"), Some("t x".to_owned()));
    }

    #[test]
    fn a_ticket_opens_streams_alone() {
        let ticket = |method: &Method, path: &str| ticket(method, &format!("{path}?ticket=t").parse().unwrap());
        for path in ["/api/live", "/api/events/live", "/api/jobs/a/live", "/api/notifications/user:1", SOCKET] {
            assert_eq!(ticket(&Method::GET, path), Some("t".to_owned()), "{path}");
            for method in [Method::POST, Method::PUT, Method::DELETE, Method::HEAD] {
                assert_eq!(ticket(&method, path), None, "{method} {path}");
            }
        }
        let others = ["/api/events", "/api/jobs/live/cancel", "/live", "/api/jobs/live", "/api/queues/live"];
        let deeper =
            ["/api/schedules/live", "/api/jobs//live", "/api/jobs/a/b/live", "/api/notifications/", "//api/live"];
        for path in others.into_iter().chain(deeper) {
            assert_eq!(ticket(&Method::GET, path), None, "{path}");
        }
    }

    #[test]
    fn work_is_what_workers_ask() {
        for path in ["/api/jobs/lease", "/api/jobs/a/heartbeat", "/api/jobs/heartbeat/complete", "/api/jobs/a/release"]
        {
            assert!(is_work(&Method::POST, path) && !is_work(&Method::GET, path), "{path}");
        }
        for path in ["/api/jobs/mail", "/api/jobs/complete", "/api/jobs/a/cancel", "/api/jobs/a/b/fail", "/jobs/lease"]
        {
            assert!(!is_work(&Method::POST, path), "{path}");
        }
    }
}
