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
//! | `submit`, `jobs`, `queues`, `schedules` | what people and programs ask |
//! | `lease`, `report`, `workers` | what workers ask |
//! | `stream`, `live` | server-sent events |

mod answer;
mod bells;
mod channels;
mod command;
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
use axum::response::Response;
use axum::routing::{delete, get, post, put};
use headwater::error::Fault;
use headwater::http::HttpError;
use headwater::log::Log;
use headwater::topology::Companion;
use headwater_serve::access::keys::Scope;
use headwater_serve::access::{Access, KeysError};
use headwater_serve::api::body::fresh;
use headwater_serve::api::problem::Problem;
use headwater_serve::api::{Routes, allowed, guarded, session};
use headwater_serve::config::ServeConfig;
use headwater_serve::console;
use headwater_serve::server::{Application, Listening, SERVICE, Server, ServerError};
use serde_json::json;
use tokio::sync::watch;

pub use self::follow::FollowError;
use self::follow::follow;
use self::jobs::Bulk;
use self::queues::Change;
use self::report::End;
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

/// All that is answered. A word of the API goes before the name of a queue or the id of a job.
fn routes(access: &Arc<Access>) -> Routes<Site> {
    let only = |scope, handler| allowed(scope, access, handler);
    let read = |handler| only(Scope::Read, handler);
    let produce = |handler| only(Scope::Produce, handler);
    let work = |handler| only(Scope::Work, handler);
    let admin = |handler| only(Scope::Admin, handler);
    let compressed = Router::new()
        .route("/api/ready", get(ready))
        .route("/api/jobs", read(get(jobs::all)))
        .route("/api/jobs/errors", read(get(jobs::errors)))
        .route("/api/jobs/cancel", admin(post(|site, headers, body| jobs::bulk(Bulk::Cancel, site, headers, body))))
        .route("/api/jobs/retry", admin(post(|site, headers, body| jobs::bulk(Bulk::Retry, site, headers, body))))
        .route("/api/jobs/lease", work(post(lease::lease)))
        .route("/api/jobs/{name}", read(get(jobs::one)))
        .route("/api/jobs/{name}", produce(post(submit::submit)))
        .route("/api/jobs/{name}", admin(delete(jobs::cancel)))
        .route("/api/jobs/{name}/cancel", admin(post(jobs::cancel)))
        .route("/api/jobs/{name}/retry", admin(post(jobs::retry)))
        .route("/api/jobs/{name}/heartbeat", work(post(report::heartbeat)))
        .route("/api/jobs/{name}/complete", work(post(|s, p, h, b| report::end(End::Complete, s, p, h, b))))
        .route("/api/jobs/{name}/fail", work(post(|s, p, h, b| report::end(End::Fail, s, p, h, b))))
        .route("/api/jobs/{name}/release", work(post(|s, p, h, b| report::end(End::Release, s, p, h, b))))
        .route("/api/queues", read(get(queues::all)))
        .route("/api/queues/{queue}", read(get(queues::one)))
        .route("/api/queues/{queue}/pause", admin(post(|site, path| queues::change(Change::Pause, site, path))))
        .route("/api/queues/{queue}/resume", admin(post(|site, path| queues::change(Change::Resume, site, path))))
        .route("/api/queues/{queue}/drain", admin(post(|site, path| queues::change(Change::Drain, site, path))))
        .route("/api/stats", read(get(queues::stats)))
        .route("/api/schedules", read(get(schedules::all)))
        .route("/api/schedules/{name}", read(get(schedules::one)))
        .route("/api/schedules/{name}", admin(put(schedules::put)))
        .route("/api/schedules/{name}", admin(delete(schedules::delete)))
        .route("/api/schedules/{name}/run", admin(post(schedules::run)))
        .route("/api/workers", read(get(lease::workers)))
        .merge(session::routes(access))
        .merge(console::routes(TOPOLOGY));
    let streams = Router::new()
        .route("/api/jobs/{name}/live", read(get(live::job)))
        .route("/api/notifications/{channel}", read(get(live::channel)))
        .route("/api/notifications/{channel}", produce(post(live::notify)))
        .route("/api/live", read(get(live::all)));
    Routes { compressed, streams, described_at: "docs/jobs.md" }
}

/// `GET /api/ready`.
async fn ready(State(site): State<Site>) -> Result<Response, Problem> {
    site.ready()?;
    fresh(&json!({"ready": true}))
}
