//! The server: sockets and threads around the API.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use headwater::error::{Domain, Fault};
use tokio::sync::watch;

use crate::api::{Origins, router};
use crate::stream::Hub;

/// How long requests under way may take once the server is asked to stop.
const GRACE: Duration = Duration::from_secs(1);

/// Why the server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address} (serve.listen)")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// No thread or event loop could be made.
    #[error("cannot start the server of the API")]
    Start(#[source] io::Error),
}

impl Fault for ServerError {
    fn domain(&self) -> Domain {
        match self {
            Self::Listen { .. } => Domain::User,
            Self::Start(_) => Domain::External,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse => Some(
                "another process listens there; give `serve.listen` another port, or 0 for any free one".to_owned(),
            ),
            Self::Listen { .. } => Some("give `serve.listen` an address of this machine".to_owned()),
            Self::Start(_) => None,
        }
    }
}

/// A running server. It ends when it is dropped.
pub struct Server {
    address: SocketAddr,
    hub: Arc<Hub>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens on `address` (port 0 takes a free one) and answers for what `hub` serves.
    ///
    /// # Errors
    /// When the address cannot be listened on, or no thread can be started.
    pub fn start(address: SocketAddr, hub: Arc<Hub>, origins: &Origins) -> Result<Self, ServerError> {
        let listen = |source| ServerError::Listen { address, source };
        let listener = TcpListener::bind(address).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let bound = listener.local_addr().map_err(listen)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().thread_name("serve").enable_all().build();
        let runtime = runtime.map_err(ServerError::Start)?;
        let routes = router(Arc::clone(&hub), origins);
        let (stop, stopping) = watch::channel(false);
        let serve = move || {
            if let Err(error) = runtime.block_on(serve(listener, routes, stopping)) {
                tracing::error!(%error, "the server of the API has ended");
            }
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("serve".to_owned()).spawn(serve).map_err(ServerError::Start)?;
        Ok(Self { address: bound, hub, stop, thread: Some(thread) })
    }

    /// The address that it listens on, with the port that was taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.hub.end();
        // Nobody listens any more when the server has ended by itself.
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the API's server has panicked");
        }
    }
}

async fn serve(listener: TcpListener, routes: axum::Router, stopping: watch::Receiver<bool>) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let server = axum::serve(listener, routes).with_graceful_shutdown(until_stopped(stopping.clone()));
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
