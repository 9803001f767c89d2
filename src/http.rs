//! A server of HTTP on a thread of its own, which ends in order.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::error::{Domain, Fault};

/// How long requests under way may take once the server is asked to stop.
pub(crate) const GRACE: Duration = Duration::from_secs(1);

/// What a server is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Service {
    /// Its name in messages, and that of its thread.
    pub name: &'static str,
    /// The key of the configuration that gives its address.
    pub key: &'static str,
}

/// Why a server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address} ({})", service.key)]
    Listen {
        /// The server.
        service: Service,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// No thread or event loop could be made.
    #[error("cannot start the server {:?}", service.name)]
    Start {
        /// The server.
        service: Service,
        /// What the system said.
        source: io::Error,
    },
}

impl Fault for HttpError {
    fn domain(&self) -> Domain {
        match self {
            Self::Listen { .. } => Domain::User,
            Self::Start { .. } => Domain::External,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Listen { service, source, .. } if source.kind() == io::ErrorKind::AddrInUse => Some(format!(
                "another process listens there; give `{}` another port, 0 for any free one, or \"\" for none",
                service.key
            )),
            Self::Listen { service, .. } => Some(format!("give `{}` an address of this machine", service.key)),
            Self::Start { .. } => None,
        }
    }
}

/// A running server. It finishes requests under way, within a second, and ends when it is dropped.
pub struct HttpServer {
    service: Service,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl HttpServer {
    /// Whether `service` can listen on `address` now. Nothing stays open.
    ///
    /// # Errors
    /// [`HttpError::Listen`] where it cannot.
    pub fn check(service: Service, address: SocketAddr) -> Result<(), HttpError> {
        listener(service, address).map(drop)
    }

    /// Listens on `address` (port 0 takes a free one) and answers by `routes`, which are made on `runtime`.
    ///
    /// # Errors
    /// When the address cannot be listened on, or no thread can be started.
    pub fn start(
        service: Service,
        address: SocketAddr,
        runtime: Runtime,
        routes: impl FnOnce() -> Router + Send + 'static,
    ) -> Result<Self, HttpError> {
        let listener = listener(service, address)?;
        let bound = listener.local_addr().map_err(|source| HttpError::Listen { service, address, source })?;
        let (stop, stopping) = watch::channel(false);
        let work = move || {
            if let Err(error) = runtime.block_on(serve(listener, routes, stopping)) {
                tracing::error!(server = service.name, %error, "the server has ended");
            }
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name(service.name.to_owned()).spawn(work);
        let thread = thread.map_err(|source| HttpError::Start { service, source })?;
        Ok(Self { service, address: bound, stop, thread: Some(thread) })
    }

    /// The address that it listens on, with the port that was taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        // Nobody listens any more when the server has ended by itself.
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(server = self.service.name, "the thread of the server has panicked");
        }
    }
}

fn listener(service: Service, address: SocketAddr) -> Result<TcpListener, HttpError> {
    let failed = |source| HttpError::Listen { service, address, source };
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

async fn serve(
    listener: TcpListener,
    routes: impl FnOnce() -> Router,
    stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let server = axum::serve(listener, routes()).with_graceful_shutdown(until_stopped(stopping.clone()));
    let server = tokio::spawn(server.into_future());
    until_stopped(stopping).await;
    match tokio::time::timeout(GRACE, server).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) => Err(io::Error::other(error)),
        // A request that takes longer is cut off.
        Err(_) => Ok(()),
    }
}

/// Returns once the handle has asked for the end, or is gone.
async fn until_stopped(mut stopping: watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stop| *stop).await;
}
