//! The HTTP API: jobs, leases, queues, schedules and notifications.
//!
//! ```text
//!  committed topics ─► follow ─► store ─► handlers, streams
//!                                  └─► bells ─► who waits
//!  job-commands ◄─ write ◄─ command ◄─ handlers
//! ```
//!
//! What is asked for is answered from memory; what is to be done becomes a command on the log, and is answered once the
//! log has it. Decisions are the engine's. Keys, limits and the console are those of `headwater-serve`.
//!
//! | file | what |
//! | --- | --- |
//! | `follow`, `store`, `head`, `channels` | the committed topics in memory |
//! | `bells` | who waits for something is woken |
//! | `list` | lists and searches |
//! | `command`, `write` | commands for the engine |
//! | `answer` | answers that several give |
//! | `endpoints`, `describe` | all endpoints in one table, of which the router, `/api/openapi.json` and `/docs` are made |
//! | `submit`, `jobs`, `queues`, `schedules` | what people and programs ask |
//! | `lease`, `report`, `workers` | what workers ask |
//! | `stream`, `live` | server-sent events |

mod answer;
mod bells;
mod channels;
mod command;
mod describe;
mod endpoints;
mod follow;
mod head;
mod jobs;
mod lease;
mod list;
mod live;
mod queues;
mod report;
mod schedules;
mod site;
mod store;
mod stream;
mod submit;
mod workers;
mod write;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use axum::Router;
use axum::extract::State;
use axum::http::Method;
use axum::response::Response;
use axum::routing::{MethodRouter, delete, get, post, put};
use headwater::error::Fault;
use headwater::http::HttpError;
use headwater::log::Log;
use headwater::topology::Companion;
use headwater_serve::access::{Access, KeysError};
use headwater_serve::api::body::fresh;
use headwater_serve::api::problem::Problem;
use headwater_serve::api::{Routes, allowed, guarded, session};
use headwater_serve::config::ServeConfig;
use headwater_serve::console;
use headwater_serve::docs::routes_of;
use headwater_serve::server::{Application, Listening, SERVICE, Server, ServerError};
use serde_json::json;
use tokio::sync::watch;

use self::endpoints::{Endpoint, Operation, endpoints};
pub use self::follow::FollowError;
use self::follow::follow;
use self::site::Site;
use self::store::Store;
use self::write::Writing;

/// Where it listens unless told otherwise.
pub const LISTEN: &str = "127.0.0.1:8084";

/// The topology, as pages know it.
const TOPOLOGY: &str = "jobs";

/// Serving: a server, and a thread that follows the log.
pub struct Serving {
    server: Server,
    store: Arc<Store>,
    stop: Arc<AtomicBool>,
    follower: Option<JoinHandle<Result<(), FollowError>>>,
}

impl Serving {
    /// Serves the jobs on `log`, whose topics begin with `prefix`, as `config` says, which is valid; without an address,
    /// on [`LISTEN`]. It listens at once, and answers once it has read the jobs.
    ///
    /// # Errors
    /// When the address cannot be listened on, the certificate or a file with keys cannot be used, or no thread can be
    /// started.
    pub fn start(log: Arc<dyn Log>, prefix: &str, config: &ServeConfig) -> Result<Self, ServerError> {
        let store = Arc::new(Store::default());
        let config = &settings(config);
        let access = Arc::new(access(config)?);
        let no_address = || {
            let source = io::Error::new(io::ErrorKind::InvalidInput, format!("{:?} is not an address", config.listen));
            HttpError::Start { service: SERVICE, source }
        };
        let address = config.address().ok_or_else(no_address)?;
        let (stopping, is_stopping) = watch::channel(false);
        let writing = Writing::new(Arc::clone(&log), prefix);
        let site = Site::new(Arc::clone(&store), writing, Arc::clone(&access), is_stopping);
        let listening = Listening::of(config, address);
        let application = Application {
            routes: guarded(routes(&access), site, Arc::clone(&access), &listening.origins),
            background: vec![Box::pin(access.follow_files())],
            on_stop: Box::new(move || {
                stopping.send_replace(true);
            }),
        };
        let server = Server::run(&listening, application)?;
        let stop = Arc::new(AtomicBool::new(false));
        let (own_store, own_stop, prefix) = (Arc::clone(&store), Arc::clone(&stop), prefix.to_owned());
        let work = move || {
            let _panics = ForgetsOnPanic(&own_store);
            let ended = follow(&*log, &prefix, &own_store, &own_stop);
            if let Err(error) = &ended {
                tracing::error!(%error, "serving does not follow the log any more");
                own_store.forget();
            }
            ended
        };
        let follower = std::thread::Builder::new().name("jobs-follow".to_owned()).spawn(work);
        let follower = Some(follower.map_err(|source| HttpError::Start { service: SERVICE, source })?);
        Ok(Self { server, store, stop, follower })
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Where browsers find it.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Whether all that was committed when it started has been read. Before, it answers 503.
    pub fn is_ready(&self) -> bool {
        self.store.is_ready()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&self) -> bool {
        self.follower.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Ends it.
    ///
    /// # Errors
    /// Why it had ended before.
    pub fn end(mut self) -> Result<(), FollowError> {
        self.stop_following()
    }

    fn stop_following(&mut self) -> Result<(), FollowError> {
        self.stop.store(true, Ordering::Relaxed);
        match self.follower.take().map(JoinHandle::join) {
            Some(Ok(ended)) => ended,
            Some(Err(_)) => {
                tracing::error!("the thread that follows the log has panicked");
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Its error is in the log.
        let _ = self.stop_following();
    }
}

impl Companion for Serving {
    fn stop(self: Box<Self>) -> Result<(), Box<dyn Fault>> {
        Ok(self.end()?)
    }
}

/// Who may ask for what. Payloads of jobs are not for the public: without a key, nobody reads them from afar unless the
/// configuration says so.
fn access(config: &ServeConfig) -> Result<Access, KeysError> {
    let access = config.access()?;
    Ok(if config.anonymous.is_none() { access.closed_to_strangers() } else { access })
}

/// What nobody follows any more is not to be told as if it were true now, also where the thread has panicked.
struct ForgetsOnPanic<'s>(&'s Store);

impl Drop for ForgetsOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.forget();
        }
    }
}

/// The configuration, with [`LISTEN`] where it names no address.
pub fn settings(config: &ServeConfig) -> ServeConfig {
    let mut settings = config.clone();
    if settings.listen.is_empty() {
        LISTEN.clone_into(&mut settings.listen);
    }
    settings
}

/// All that is answered.
fn routes(access: &Arc<Access>) -> Routes<Site> {
    let route = |router: Router<Site>, one: &Endpoint| {
        let handler = handler(one);
        let Some(scope) = one.operation.scope() else { return router.route(one.path, handler) };
        router.route(one.path, allowed(scope, access, handler))
    };
    let (streams, others): (Vec<_>, Vec<_>) = endpoints().into_iter().partition(|one| one.operation.is_stream());
    let compressed = others.iter().fold(Router::new(), route);
    let pages = session::routes(access).merge(console::routes(TOPOLOGY)).merge(routes_of(&describe::PAGE));
    let streams = streams.iter().fold(Router::new(), route);
    Routes { compressed: compressed.merge(pages), streams, described_at: "/api/openapi.json" }
}

fn handler(endpoint: &Endpoint) -> MethodRouter<Site> {
    match endpoint.operation {
        Operation::Submit => post(submit::submit),
        Operation::List => get(jobs::all),
        Operation::Errors => get(jobs::errors),
        Operation::Bulk(bulk) => post(move |site, headers, body| jobs::bulk(bulk, site, headers, body)),
        Operation::One => get(jobs::one),
        Operation::LiveJob => get(live::job),
        Operation::Cancel if endpoint.method == Method::DELETE => delete(jobs::cancel),
        Operation::Cancel => post(jobs::cancel),
        Operation::Retry => post(jobs::retry),
        Operation::Lease => post(lease::lease),
        Operation::Heartbeat => post(report::heartbeat),
        Operation::End(end) => post(move |site, path, headers, body| report::end(end, site, path, headers, body)),
        Operation::Workers => get(lease::workers),
        Operation::Queues => get(queues::all),
        Operation::Queue => get(queues::one),
        Operation::Change(change) => post(move |site, path| queues::change(change, site, path)),
        Operation::Stats => get(queues::stats),
        Operation::Schedules => get(schedules::all),
        Operation::Schedule => get(schedules::one),
        Operation::SetSchedule => put(schedules::put),
        Operation::RemoveSchedule => delete(schedules::delete),
        Operation::RunSchedule => post(schedules::run),
        Operation::LiveChannel => get(live::channel),
        Operation::Notify => post(live::notify),
        Operation::Live => get(live::all),
        Operation::Ready => get(ready),
        Operation::OpenApi => get(|| async { axum::Json(describe::document()) }),
    }
}

/// `GET /api/ready`.
async fn ready(State(site): State<Site>) -> Result<Response, Problem> {
    site.ready()?;
    fresh(&json!({"ready": true}))
}
