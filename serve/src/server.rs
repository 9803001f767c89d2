//! The server: sockets and threads around the API.

use std::net::SocketAddr;
use std::sync::Arc;

use headwater::http::{HttpError, HttpServer, Service};

use crate::api::{Origins, router};
use crate::stream::Hub;

/// What the server is called.
pub(crate) const SERVICE: Service = Service { name: "serve", key: "serve.listen" };

/// A running server. It ends when it is dropped.
pub struct Server {
    http: HttpServer,
    hub: Arc<Hub>,
}

impl Server {
    /// Listens on `address` (port 0 takes a free one) and answers for what `hub` serves.
    ///
    /// # Errors
    /// When the address cannot be listened on, or no thread can be started.
    pub fn start(address: SocketAddr, hub: Arc<Hub>, origins: &Origins) -> Result<Self, HttpError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().thread_name(SERVICE.name).enable_all().build();
        let runtime = runtime.map_err(|source| HttpError::Start { service: SERVICE, source })?;
        let routes = router(Arc::clone(&hub), origins);
        Ok(Self { http: HttpServer::start(SERVICE, address, runtime, move || routes)?, hub })
    }

    /// The address that it listens on, with the port that was taken.
    pub fn address(&self) -> SocketAddr {
        self.http.address()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Streams go on until they are ended: the server waits for them.
        self.hub.end();
    }
}
