//! The admin server: is the process alive, is it ready, and how is it doing.
//!
//! - `GET /health`: 200 as long as the process can answer.
//! - `GET /ready`: 200 when the engine has recovered and runs, otherwise 503; JSON that says why.
//! - `GET /metrics`: all metrics in Prometheus's text format.
//!
//! The server has a thread of its own, so that it answers while the workers are busy.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

use crate::http::{HttpError, HttpServer, Service};
use crate::telemetry::Metrics;

/// What `/health` answers.
const ALIVE: &str = r#"{"alive":true}"#;

/// How long another instance is waited for that is asked whether it is there.
const ASK_TIMEOUT: Duration = Duration::from_millis(500);

/// So many bytes are read of its answer.
const MOST_ANSWERED: u64 = 4 << 10;

/// How often samples of histograms are folded together.
const TIDY_EVERY: Duration = Duration::from_secs(5);

/// How far the engine has come.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase", tag = "phase")]
pub enum Phase {
    /// The process has just begun.
    #[default]
    Starting,
    /// State is read from the topics.
    Recovering {
        /// How far that has come, for people.
        reason: String,
    },
    /// Records are read and results committed.
    Running,
    /// The last epoch is being finished.
    Stopping,
    /// The engine has ended with an error.
    Failed {
        /// The error.
        reason: String,
    },
}

/// The phase, shared between the engine that sets it and the server that tells it.
#[derive(Debug, Default)]
pub struct Readiness(Mutex<Phase>);

impl Readiness {
    /// Sets the phase.
    pub fn set(&self, phase: Phase) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    /// The phase.
    pub fn phase(&self) -> Phase {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What the server is called.
const SERVICE: Service = Service { name: "admin", key: "admin.listen" };

/// The admin server.
pub struct AdminServer;

impl AdminServer {
    /// Whether `address` can be listened on now. Nothing stays open.
    ///
    /// # Errors
    /// [`HttpError::Listen`] where it cannot.
    pub fn check(address: SocketAddr) -> Result<(), HttpError> {
        HttpServer::check(SERVICE, address)
    }

    /// Whether the admin server of an instance that is running answers at `address`.
    pub fn answers(address: SocketAddr) -> bool {
        let ask = || -> io::Result<String> {
            let mut stream = TcpStream::connect_timeout(&address, ASK_TIMEOUT)?;
            stream.set_read_timeout(Some(ASK_TIMEOUT))?;
            write!(stream, "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.take(MOST_ANSWERED).read_to_string(&mut answer)?;
            Ok(answer)
        };
        ask().is_ok_and(|answer| answer.ends_with(ALIVE))
    }

    /// Listens on `address` (port 0 takes a free one) and answers until what this gives is dropped.
    ///
    /// # Errors
    /// When the address cannot be listened on, or no thread can be started.
    pub fn start(address: SocketAddr, readiness: Arc<Readiness>, metrics: Metrics) -> Result<HttpServer, HttpError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|source| HttpError::Start { service: SERVICE, source })?;
        HttpServer::start(SERVICE, address, runtime, move || {
            tokio::spawn(tidy(metrics.clone()));
            routes(Shared { readiness, metrics })
        })
    }
}

#[derive(Clone)]
struct Shared {
    readiness: Arc<Readiness>,
    metrics: Metrics,
}

fn routes(shared: Shared) -> Router {
    Router::new()
        .route("/health", get(|| async { ([(header::CONTENT_TYPE, "application/json")], ALIVE) }))
        .route("/ready", get(ready))
        .route("/metrics", get(render))
        .with_state(shared)
}

async fn tidy(metrics: Metrics) {
    loop {
        tokio::time::sleep(TIDY_EVERY).await;
        metrics.tidy();
    }
}

/// What `/ready` answers.
#[derive(Serialize)]
struct Ready {
    ready: bool,
    #[serde(flatten)]
    phase: Phase,
}

async fn ready(State(shared): State<Shared>) -> impl IntoResponse {
    let phase = shared.readiness.phase();
    let ready = phase == Phase::Running;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Ready { ready, phase }))
}

async fn render(State(shared): State<Shared>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], shared.metrics.render())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::error::{Domain, Fault};

    fn start(readiness: &Arc<Readiness>) -> HttpServer {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        AdminServer::start(address, Arc::clone(readiness), Metrics::detached()).unwrap()
    }

    fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn readiness_follows_the_phase() {
        let readiness = Arc::new(Readiness::default());
        let server = start(&readiness);
        assert!(get(server.address(), "/health").starts_with("HTTP/1.1 200"));
        readiness.set(Phase::Recovering { reason: "12 of 30 records".to_owned() });
        let answer = get(server.address(), "/ready");
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.ends_with(r#"{"ready":false,"phase":"recovering","reason":"12 of 30 records"}"#), "{answer}");
        readiness.set(Phase::Running);
        let answer = get(server.address(), "/ready");
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.ends_with(r#"{"ready":true,"phase":"running"}"#),
            "{answer}"
        );
        assert!(get(server.address(), "/metrics").contains("content-type: text/plain; version=0.0.4"));
        assert!(get(server.address(), "/nothing").starts_with("HTTP/1.1 404"));
    }

    #[test]
    fn a_busy_port_is_an_error_that_names_the_key() {
        let readiness = Arc::new(Readiness::default());
        let first = start(&readiness);
        let error = AdminServer::start(first.address(), readiness, Metrics::detached()).err().unwrap();
        assert!(error.to_string().contains("admin.listen"), "{error}");
        assert!(error.hint().unwrap().contains("another process"));
        assert_eq!(error.domain(), Domain::User);
    }

    #[test]
    fn it_stops_although_a_connection_is_open() {
        let server = start(&Arc::new(Readiness::default()));
        let address = server.address();
        let mut idle = TcpStream::connect(address).unwrap();
        write!(idle, "GET /health HTTP/1.1\r\n").unwrap();
        let begun = Instant::now();
        drop(server);
        assert!(begun.elapsed() < crate::http::GRACE * 3);
        assert!(TcpStream::connect(address).is_err());
    }
}
