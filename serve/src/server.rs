//! The server: connections, TLS and threads around the API.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use headwater::error::{Domain, Fault};
use headwater::http::{HttpError, Service};
use hyper::body::Incoming;
use hyper::server::conn::http1::{self, UpgradeableConnection};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use openssl::ssl::{Ssl, SslAcceptor, SslAcceptorBuilder, SslFiletype, SslMethod};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio_openssl::SslStream;
use tower_service::Service as _;

use crate::access::KeysError;
use crate::access::guard::{Held, Peer};
use crate::api::{Origins, router};
use crate::config::{LimitsConfig, ServeConfig, TlsConfig};
use crate::site::Site;
use crate::{console, docs};

/// What the server is called.
pub const SERVICE: Service = Service { name: "serve", key: "serve.listen" };

/// How long requests under way may take once the server is asked to stop.
const GRACE: Duration = Duration::from_secs(1);

/// How long a client may take to send the headers of a request, or to agree on TLS.
const HEADER_PATIENCE: Duration = Duration::from_secs(10);

/// The most that is read of a connection before it is looked at.
const READ_BUFFER: usize = 16 << 10;

/// How long to wait where no further connection can be taken, such as without file descriptors.
const BREATH: Duration = Duration::from_millis(50);

/// Why a server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// It cannot listen, or has no threads.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The certificate or its key cannot be used.
    #[error("cannot use {} (serve.tls.{key})", file.display())]
    Tls {
        /// Which key of the configuration names the file.
        key: &'static str,
        /// The file.
        file: PathBuf,
        /// What is wrong.
        source: openssl::error::ErrorStack,
    },
    /// A file with keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
}

impl Fault for ServerError {
    fn domain(&self) -> Domain {
        match self {
            Self::Http(error) => error.domain(),
            Self::Keys(error) => error.domain(),
            Self::Tls { .. } => Domain::User,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Http(error) => error.hint(),
            Self::Tls { .. } => {
                Some("a certificate and its private key, both in PEM, readable by the user that runs it".to_owned())
            }
            Self::Keys(error) => error.hint(),
        }
    }
}

/// How a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listening {
    /// The address; port 0 takes a free one.
    pub address: SocketAddr,
    /// Who may read from pages of other origins.
    pub origins: Origins,
    /// The certificate, if any.
    pub tls: Option<TlsConfig>,
    /// Connections at once.
    pub connections: usize,
    /// Connections at once of one address, but for this machine.
    pub connections_per_address: usize,
}

impl Listening {
    /// As `config` says, which is valid, on `address`.
    pub fn of(config: &ServeConfig, address: SocketAddr) -> Self {
        let LimitsConfig { connections, connections_per_address, .. } = config.limits;
        Self { address, origins: config.origins(), tls: config.tls.clone(), connections, connections_per_address }
    }
}

/// What a server does until it stops.
pub type Background = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What lets streams end once a server stops, since it waits for them.
pub type OnStop = Box<dyn FnOnce() + Send + Sync>;

/// What a server is made of, but for connections.
pub struct Application {
    /// What it answers: all of [`guarded`](crate::api::guarded), or what answers everybody.
    pub routes: Router,
    /// What it does beside answering.
    pub background: Vec<Background>,
    /// Ends streams.
    pub on_stop: OnStop,
}

impl Application {
    /// The API of events, the console and the documentation.
    fn of(site: Site, origins: &Origins) -> Self {
        let hub = Arc::clone(&site.hub);
        let (pipeline, access) = (Arc::clone(&site.pipeline), Arc::clone(&site.access));
        let pages = console::routes(hub.topology()).merge(docs::routes());
        Self {
            routes: router(site, origins, pages),
            background: vec![Box::pin(pipeline.sample()), Box::pin(access.follow_files())],
            on_stop: Box::new(move || hub.end()),
        }
    }
}

/// A running server. It ends when it is dropped.
pub struct Server {
    address: SocketAddr,
    secure: bool,
    on_stop: Option<OnStop>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens, and answers from `site`.
    ///
    /// # Errors
    /// When the address cannot be listened on, the certificate cannot be used, or no thread can be started.
    pub fn start(listening: &Listening, site: Site) -> Result<Self, ServerError> {
        Self::run(listening, Application::of(site, &listening.origins))
    }

    /// Listens, and answers as `application` says.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn run(listening: &Listening, application: Application) -> Result<Self, ServerError> {
        let tls = listening.tls.as_ref().map(acceptor).transpose()?;
        Self::run_with(tls, listening, application)
    }

    /// As [`Server::start`], with a certificate that is in no file.
    pub(crate) fn start_with(tls: Option<SslAcceptor>, listening: &Listening, site: Site) -> Result<Self, ServerError> {
        Self::run_with(tls, listening, Application::of(site, &listening.origins))
    }

    fn run_with(
        tls: Option<SslAcceptor>,
        listening: &Listening,
        application: Application,
    ) -> Result<Self, ServerError> {
        let Listening { address, connections, connections_per_address, .. } = *listening;
        let Application { routes, background, on_stop } = application;
        let secure = tls.is_some();
        let listener = listener(address).map_err(|source| HttpError::Listen { service: SERVICE, address, source })?;
        let bound = listener.local_addr().map_err(|source| HttpError::Listen { service: SERVICE, address, source })?;
        let failed = |source| HttpError::Start { service: SERVICE, source };
        let runtime = tokio::runtime::Builder::new_multi_thread().thread_name(SERVICE.name).enable_all().build();
        let runtime = runtime.map_err(failed)?;
        let (stop, stopping) = watch::channel(false);
        let connections = Connections {
            routes,
            tls,
            most: Arc::new(Semaphore::new(within_files(connections))),
            of_addresses: Arc::new(Addresses { most: connections_per_address, open: Mutex::default() }),
            stopping,
        };
        let work = move || {
            for work in background {
                runtime.spawn(work);
            }
            if let Err(error) = runtime.block_on(connections.accept(listener)) {
                tracing::error!(server = SERVICE.name, %error, "the server has ended");
            }
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name(SERVICE.name.to_owned()).spawn(work).map_err(failed)?;
        Ok(Self { address: bound, secure, on_stop: Some(on_stop), stop, thread: Some(thread) })
    }

    /// The address that it listens on, with the port that was taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where browsers find it.
    pub fn url(&self) -> String {
        format!("{}://{}/", if self.secure { "https" } else { "http" }, self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Streams go on until they are ended: the server waits for them.
        if let Some(on_stop) = self.on_stop.take() {
            on_stop();
        }
        // Nobody listens any more when the server has ended by itself.
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(server = SERVICE.name, "the thread of the server has panicked");
        }
    }
}

fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// TLS 1.2 and 1.3 with the ciphers that Mozilla recommends (intermediate, version 5).
pub(crate) fn acceptor_builder() -> Result<SslAcceptorBuilder, openssl::error::ErrorStack> {
    SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())
}

fn acceptor(tls: &TlsConfig) -> Result<SslAcceptor, ServerError> {
    let certificate = |source| ServerError::Tls { key: "certificate", file: tls.certificate.clone(), source };
    let mut builder = acceptor_builder().map_err(certificate)?;
    builder.set_certificate_chain_file(&tls.certificate).map_err(certificate)?;
    let key = |source| ServerError::Tls { key: "key", file: tls.key.clone(), source };
    builder.set_private_key_file(&tls.key, SslFiletype::PEM).map_err(key)?;
    builder.check_private_key().map_err(key)?;
    Ok(builder.build())
}

/// What connections are answered by.
struct Connections {
    routes: Router,
    tls: Option<SslAcceptor>,
    most: Arc<Semaphore>,
    of_addresses: Arc<Addresses>,
    stopping: watch::Receiver<bool>,
}

impl Connections {
    /// Takes connections until the end, and lets those under way finish.
    async fn accept(self, listener: TcpListener) -> io::Result<()> {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let mut stopping = self.stopping.clone();
        let (ended, mut all_ended) = tokio::sync::mpsc::channel::<Infallible>(1);
        loop {
            // Those beyond the limit wait in the queue of the system, and then the system refuses them.
            let permit = tokio::select! {
                permit = Arc::clone(&self.most).acquire_owned() => permit.map_err(io::Error::other)?,
                () = stopped(&mut stopping) => break,
            };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stopped(&mut stopping) => break,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Of one connection, or there are no file descriptors left: others may end.
                    tracing::debug!(%error, "a connection could not be taken");
                    tokio::time::sleep(BREATH).await;
                    continue;
                }
            };
            let Some(counted) = Addresses::count(&self.of_addresses, peer.ip()) else {
                tracing::debug!(%peer, "too many connections of one address");
                continue;
            };
            // Frames are small, and nobody is to wait for the next one.
            let _ = stream.set_nodelay(true);
            let answering = Answering {
                routes: self.routes.clone(),
                peer,
                held: Held(Arc::new((counted, permit, ended.clone()))),
                stopping: self.stopping.clone(),
            };
            match &self.tls {
                None => drop(tokio::spawn(answering.answer(stream))),
                Some(tls) => drop(tokio::spawn(answering.agree_and_answer(tls.clone(), stream))),
            }
        }
        drop(ended);
        // A request that takes longer is cut off.
        let _ = tokio::time::timeout(GRACE, all_ended.recv()).await;
        Ok(())
    }
}

/// A connection on its own. As many of these are in memory as there are clients.
struct Answering {
    routes: Router,
    peer: SocketAddr,
    held: Held,
    stopping: watch::Receiver<bool>,
}

impl Answering {
    async fn agree_and_answer(self, tls: SslAcceptor, stream: TcpStream) {
        let peer = self.peer;
        let agreed = tokio::time::timeout(HEADER_PATIENCE, agree(&tls, stream)).await;
        match agreed {
            Ok(Ok(stream)) => self.answer(stream).await,
            Ok(Err(error)) => tracing::debug!(%peer, %error, "no TLS"),
            Err(_) => tracing::debug!(%peer, "TLS took too long"),
        }
    }

    async fn answer<S>(self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { routes, peer, held, mut stopping } = self;
        let mut connection = connection(stream, routes, peer, held);
        let outcome = tokio::select! {
            outcome = &mut connection => outcome,
            () = stopped(&mut stopping) => {
                Pin::new(&mut connection).graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = outcome {
            tracing::debug!(%peer, %error, "a connection has ended");
        }
    }
}

/// What answers the requests of a connection.
fn connection<S>(
    stream: S,
    routes: Router,
    peer: SocketAddr,
    held: Held,
) -> UpgradeableConnection<TokioIo<S>, impl HttpService<Incoming, ResBody = Body, Error = Infallible, Future: Send>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (mut routes, held) = (routes.clone(), held.clone());
        // In a box: hyper keeps the place of this for as long as the connection lasts.
        Box::pin(async move {
            let mut request: Request = request.map(Body::new);
            request.extensions_mut().insert(Peer(peer));
            request.extensions_mut().insert(held);
            routes.call(request).await
        })
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_PATIENCE).max_buf_size(READ_BUFFER);
    http.serve_connection(TokioIo::new(stream), service).with_upgrades()
}

/// The connections of each address.
struct Addresses {
    most: usize,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// A connection that is counted until this is dropped.
struct Counted {
    of: Arc<Addresses>,
    address: Option<IpAddr>,
}

impl Addresses {
    /// Counts a connection; `None` where there are too many. Those of this machine are not counted.
    fn count(of: &Arc<Self>, address: IpAddr) -> Option<Counted> {
        let address = Some(address.to_canonical()).filter(|address| !address.is_loopback());
        if let Some(address) = address {
            let mut open = of.open.lock().unwrap_or_else(PoisonError::into_inner);
            let count = open.entry(address).or_default();
            if *count >= of.most {
                return None;
            }
            *count += 1;
        }
        Some(Counted { of: Arc::clone(of), address })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let Some(address) = self.address else { return };
        let mut open = self.of.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&address);
            }
        }
    }
}

/// File descriptors that are left to everything but connections.
const OTHER_FILES: usize = 256;

/// So many connections, or as many as the system lets this process open (Linux): an engine in the same process is
/// not to run out of files.
fn within_files(connections: usize) -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let files = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    let most = files.map_or(connections, |files| files.saturating_sub(OTHER_FILES).max(1));
    if most < connections {
        tracing::warn!(
            most,
            "the limit on open files (ulimit -n) lets fewer connections in than serve.limits.connections"
        );
    }
    most.min(connections)
}

async fn agree(tls: &SslAcceptor, stream: TcpStream) -> io::Result<SslStream<TcpStream>> {
    let ssl = Ssl::new(tls.context())?;
    let mut stream = SslStream::new(ssl, stream)?;
    Pin::new(&mut stream).accept().await.map_err(io::Error::other)?;
    Ok(stream)
}

/// Returns once the handle has asked for the end, or is gone.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stop| *stop).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_counted_by_address() {
        let all = Arc::new(Addresses { most: 2, open: Mutex::default() });
        let count = |address: &str| Addresses::count(&all, address.parse().unwrap());
        let held = [count("192.0.2.1"), count("::ffff:192.0.2.1")];
        assert!(held.iter().all(Option::is_some) && count("192.0.2.1").is_none() && count("192.0.2.2").is_some());
        drop(held);
        assert!(all.open.lock().unwrap().is_empty());
        let here: Vec<_> = (0..5).map(|_| count("127.0.0.1")).collect();
        assert!(here.iter().all(Option::is_some), "this machine is not counted");
        assert_eq!(within_files(10), 10);
    }
}
