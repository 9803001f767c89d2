//! The REST API.
//!
//! ```text
//!  parameters ─┬─► query ─► request ─► found ─► format ─► answer
//!              └─► endpoints ─► router, described ─► openapi, docs
//! ```
//!
//! What a client does wrong it is told at once, all of it, with codes that do not change ([`problem`]). Every
//! answer about events shows one commit, and names it.
//!
//! | file | endpoints |
//! | --- | --- |
//! | `mod` | events, live streams, suggestions |
//! | `places` | places, and what is on there |
//! | `socket` | many live streams on one WebSocket |
//! | `explain` | why the listings of an event are one |
//! | `pipeline` | how the topology is doing, what records would give |
//! | `session` | signing in, tickets |
//! | `inbound` | records that come in |
//! | `operate`, `letters`, `decide`, `control` | what operators and editors do |

pub(crate) mod answer;
pub mod body;
mod control;
mod cursor;
mod decide;
pub mod described;
pub mod endpoints;
mod event;
mod explain;
pub mod format;
mod found;
mod inbound;
mod letters;
pub mod openapi;
mod operate;
pub mod parameters;
mod pipeline;
mod places;
pub mod problem;
pub mod query;
mod request;
pub mod session;
mod socket;
mod suggest;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post};
use axum::{Extension, Router};
use tower_http::compression::CompressionLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};

use self::answer::{Answer, POSITION};
use self::endpoints::{Endpoint, OF_EVENT, OF_LIST, OF_STREAM, OF_SUGGESTIONS, Operation, endpoints};
use self::event::Known;
use self::format::Format;
use self::problem::Problem;
use self::query::Query;
use crate::access::keys::Scope;
use crate::access::{Access, Basis, Identity, guard};
use crate::site::Site;
use crate::stream::{Hub, Streaming, Subject};
use headwater::dataflow::CommitId;

/// How long a request waits for a position.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who may read from pages of other origins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Origins {
    /// Nobody.
    #[default]
    None,
    /// Everybody.
    Any,
    /// These, such as `https://example.org`.
    Only(Vec<HeaderValue>),
}

/// The API of `site`, with `pages` beside it.
pub fn router(site: Site, origins: &Origins, pages: Router<Site>) -> Router {
    let access = Arc::clone(&site.access);
    let route = |router: Router<Site>, one: &Endpoint| {
        let handler = handler(one);
        let Some(scope) = one.operation.scope() else { return router.route(&one.path, handler) };
        router.route(&one.path, allowed(scope, &access, handler))
    };
    // Streams are not compressed, and what could compress them is most of what they would hold.
    let (streams, others): (Vec<_>, Vec<_>) =
        endpoints().into_iter().partition(|one| matches!(one.operation, Operation::Live | Operation::Socket));
    let compressed = others.iter().fold(Router::new(), route).merge(pages);
    let streams = streams.iter().fold(Router::new(), route);
    guarded(Routes { compressed, streams, described_at: "/openapi.json" }, site, access, origins)
}

/// What a server answers.
pub struct Routes<S> {
    /// Answers that end. They are compressed for clients that can read that.
    pub compressed: Router<S>,
    /// Answers that go on.
    pub streams: Router<S>,
    /// Where what there is is described: whoever asks for something else is told.
    pub described_at: &'static str,
}

/// Routes behind the guard: names, origins, keys and limits are looked at before any of them, pages of other `origins`
/// may read, and where there is nothing, a problem says so.
pub fn guarded<S>(routes: Routes<S>, state: S, access: Arc<Access>, origins: &Origins) -> Router
where
    S: Clone + Send + Sync + 'static,
{
    let Routes { compressed, streams, described_at } = routes;
    let router = compressed.layer(CompressionLayer::new()).merge(streams);
    let router = router.fallback(move |uri: Uri| nothing_here(uri, described_at));
    let router = router.method_not_allowed_fallback(move |method: Method, uri: Uri| not_so(method, uri, described_at));
    let router = router.with_state(state).layer(middleware::from_fn_with_state(access, guard::admit));
    match cors(origins) {
        Some(cors) => router.layer(cors),
        None => router,
    }
}

/// A route of a method for those who may do `scope`.
pub fn allowed<S>(scope: Scope, access: &Arc<Access>, handler: MethodRouter<S>) -> MethodRouter<S>
where
    S: Clone + Send + Sync + 'static,
{
    let access = Arc::clone(access);
    let allow = move |request, next| guard::allow(scope, Arc::clone(&access), request, next);
    handler.layer(middleware::from_fn(allow))
}

fn handler(endpoint: &Endpoint) -> MethodRouter<Site> {
    match endpoint.operation {
        Operation::List(format) => get(move |state, uri, query, headers| list(format, state, uri, query, headers)),
        Operation::Event => get(one_event),
        Operation::Explain => get(explain::explain),
        Operation::Live => get(live_stream),
        Operation::Socket => get(socket::open),
        Operation::Places(format) => {
            get(move |state, uri, query, headers| places::list(format, state, uri, query, headers))
        }
        Operation::Place => get(places::one),
        Operation::PlaceStatus => get(places::status),
        Operation::Trending => get(trending),
        Operation::Suggest => get(suggestions),
        Operation::OpenApi => get(|| async { axum::Json(openapi::document()) }),
        Operation::Pipeline => get(pipeline::pipeline),
        Operation::Status => get(pipeline::status),
        Operation::Health => get(pipeline::health),
        Operation::Metrics => get(pipeline::metrics),
        Operation::Act => post(pipeline::act),
        Operation::Session => get(session::who),
        Operation::SignIn => post(session::sign_in),
        Operation::SignOut => delete(session::sign_out),
        Operation::Ticket => post(session::ticket),
        Operation::Inbound => post(inbound::take),
        Operation::Withdraw => delete(inbound::withdraw),
        Operation::Sources => get(operate::sources),
        Operation::Topics => get(operate::topics),
        Operation::Records => get(operate::records),
        Operation::Letters => get(letters::list),
        Operation::LettersSummary => get(letters::summary),
        Operation::Letter => get(letters::one),
        Operation::Replay => post(letters::replay),
        Operation::Review => get(operate::review),
        Operation::Decisions => get(decide::list),
        Operation::Decide => post(decide::decide),
        Operation::Undecide => delete(decide::undecide),
        Operation::Moderate => post(decide::moderate),
        Operation::Controls => get(control::list),
        Operation::Control => post(control::change),
    }
}

fn cors(origins: &Origins) -> Option<CorsLayer> {
    let allowed = match origins {
        Origins::None => return None,
        Origins::Any => AllowOrigin::any(),
        Origins::Only(origins) => AllowOrigin::list(origins.iter().cloned()),
    };
    let methods = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE];
    let layer = CorsLayer::new().allow_origin(allowed).allow_methods(methods);
    let asked = [
        header::ACCEPT,
        header::AUTHORIZATION,
        header::CONTENT_TYPE,
        header::HeaderName::from_static("x-api-key"),
        header::IF_NONE_MATCH,
        header::HeaderName::from_static("last-event-id"),
    ];
    Some(
        layer
            .allow_headers(asked)
            .expose_headers([POSITION, header::ETAG, header::LINK])
            .max_age(Duration::from_secs(3600)),
    )
}

async fn nothing_here(uri: Uri, described_at: &'static str) -> Problem {
    Problem::not_found(format!("There is nothing at {}. {described_at} says what there is.", uri.path()))
}

async fn not_so(method: Method, uri: Uri, described_at: &'static str) -> Problem {
    let detail = format!("{method} is not possible at {}. {described_at} says what is.", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail)
}

fn ready(hub: &Hub) -> Result<(), Problem> {
    if hub.live().read().ready {
        return Ok(());
    }
    Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", "The events are still being read from the log."))
}

/// Waits until the position `at_least` is shown.
async fn reach(hub: &Hub, at_least: Option<CommitId>) -> Result<(), Problem> {
    let Some(position) = at_least else { return Ok(()) };
    let mut commits = hub.live().commits();
    match tokio::time::timeout(PATIENCE, commits.wait_for(|commit| *commit >= position.number)).await {
        Ok(Ok(_)) => Ok(()),
        _ => {
            let shown = hub.live().position(hub.live().read().index.commit());
            let detail = format!("{position} was not reached in {} s; {shown} is shown.", PATIENCE.as_secs());
            Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, "position-not-reached", detail))
        }
    }
}

async fn list(
    format: Option<Format>,
    State(hub): State<Arc<Hub>>,
    uri: Uri,
    RawQuery(text): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let format = format.map_or_else(|| Format::accepted(&headers), Ok)?;
    let text = text.unwrap_or_default();
    let mut query = Query::new(&text, OF_LIST)?;
    let at_least = query.position("at_least", hub.live().lineage());
    let request = request::list(&mut query, hub.live().lineage());
    let rest = query.without(&["cursor", "offset", "at_least"]);
    query.finish()?;
    ready(&hub)?;
    reach(&hub, at_least).await?;
    let found = found::find(hub.live(), &request).map_err(|error| Problem::internal(&error))?;
    let cursor = found.next.as_ref().map(|place| cursor::encode(place, request.digest));
    let body = format.write(&found, &request, cursor.as_deref());
    let link = cursor.map(|cursor| next_page(&uri, &rest, &cursor));
    let position = hub.live().position(found.commit);
    Ok(Answer { position, content_type: format.content_type(), body, link }.respond(&headers))
}

/// Where the page after a cursor is; `rest` is what else was asked for.
fn next_page(uri: &Uri, rest: &str, cursor: &str) -> String {
    let joint = if rest.is_empty() { "" } else { "&" };
    format!("{}?{rest}{joint}cursor={cursor}", uri.path())
}

async fn one_event(
    State(hub): State<Arc<Hub>>,
    Path(id): Path<String>,
    RawQuery(text): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let text = text.unwrap_or_default();
    let mut query = Query::new(&text, OF_EVENT)?;
    let at_least = query.position("at_least", hub.live().lineage());
    query.finish()?;
    ready(&hub)?;
    reach(&hub, at_least).await?;
    let (commit, known) = event::look_up(hub.live(), &id).map_err(|error| Problem::internal(&error))?;
    let position = hub.live().position(commit);
    let mut response = match known {
        Known::Event(json) => {
            let body = json.into_bytes();
            return Ok(Answer { position, content_type: "application/json", body, link: None }.respond(&headers));
        }
        Known::Redirect(to) => moved(&id, &to),
        Known::Nothing => Problem::not_found(format!("There is no event {id:?}.")).into_response(),
    };
    if let Ok(position) = HeaderValue::from_str(&position.to_string()) {
        response.headers_mut().insert(POSITION, position);
    }
    Ok(response)
}

/// Where what took the place of an id is found.
fn moved_to(to: &str, rest: &str) -> [(header::HeaderName, String); 2] {
    let path: String = url::form_urlencoded::byte_serialize(to.as_bytes()).collect();
    [(header::LOCATION, format!("/api/events/{path}{rest}")), (header::CACHE_CONTROL, "no-cache".to_owned())]
}

/// The answer for an id that was retired. It may come back, so nobody is to remember it for ever.
fn moved(id: &str, to: &str) -> Response {
    let body = axum::Json(serde_json::json!({ "id": id, "redirectTo": to }));
    (StatusCode::PERMANENT_REDIRECT, moved_to(to, ""), body).into_response()
}

/// Nobody counts yet who looks at events or goes to them.
async fn trending() -> Problem {
    let detail = "Popularity is not counted yet. /api/events has sort=start, distance and relevance; /api/places has \
                  sort=events.";
    Problem::new(StatusCode::NOT_IMPLEMENTED, "not-implemented", detail)
}

async fn suggestions(
    State(hub): State<Arc<Hub>>,
    RawQuery(text): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    const MOST: usize = 5;
    let text = text.unwrap_or_default();
    let mut query = Query::new(&text, OF_SUGGESTIONS)?;
    let at_least = query.position("at_least", hub.live().lineage());
    let most = query.integer("limit").unwrap_or(MOST);
    let typed = query.text("q").filter(|typed| crate::text::TextQuery::new(typed).is_some());
    if typed.is_none() {
        let code = if query.has("q") { "empty-value" } else { "missing-parameter" };
        query.refuse("q", code, "It has to hold a word.");
    }
    query.finish()?;
    ready(&hub)?;
    reach(&hub, at_least).await?;
    let found = suggest::suggest(hub.live(), &typed.unwrap_or_default(), most);
    let (commit, suggestions) = found.map_err(|error| Problem::internal(&error))?;
    let body = serde_json::to_vec(&suggestions).map_err(|error| Problem::internal(&error))?;
    let position = hub.live().position(commit);
    Ok(Answer { position, content_type: "application/json", body, link: None }.respond(&headers))
}

async fn live_stream(
    State(site): State<Site>,
    Extension(identity): Extension<Identity>,
    RawQuery(text): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut body = stream_of(&site.hub, &text.unwrap_or_default(), &headers)?;
    if identity.basis != Basis::Nothing {
        let access = Arc::clone(&site.access);
        body = body.while_allowed(move || access.lasts(&identity).is_some());
    }
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-cache"),
        // Proxies of nginx's kind hold answers back otherwise.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Body::new(body)).into_response())
}

/// The stream that a query asks for.
fn stream_of(hub: &Arc<Hub>, text: &str, headers: &HeaderMap) -> Result<Streaming, Problem> {
    let mut query = Query::new(text, OF_STREAM)?;
    let (filter, _) = request::filter(&mut query, hub.live().lineage());
    let snapshot = query.boolean("snapshot").unwrap_or(true);
    let fields = query.has("fields").then(|| query.values("fields"));
    let after = last_event_id(&mut query, headers);
    query.finish()?;
    ready(hub)?;
    Ok(Streaming::new(hub, Subject { filter, fields }, after, snapshot))
}

/// The position that a client has. One of another lineage is no mistake of the client's: it begins anew.
fn last_event_id(query: &mut Query<'_>, headers: &HeaderMap) -> Option<CommitId> {
    let header = headers.get("last-event-id").and_then(|id| id.to_str().ok()).filter(|id| !id.is_empty());
    let given = match header {
        Some(id) => id.to_owned(),
        None => query.text("lastEventId")?,
    };
    let position = given.parse();
    if position.is_err() {
        query.refuse("lastEventId", "not-a-position", format!("{given:?} is no position."));
    }
    position.ok()
}
