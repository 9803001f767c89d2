//! All that requests are answered from.

use std::sync::Arc;

use axum::extract::FromRef;
use axum::http::StatusCode;
use headwater_serve::access::Access;
use headwater_serve::api::problem::Problem;
use tokio::sync::{Semaphore, watch};

use super::store::Store;
use super::workers::Workers;
use super::write::Writing;

/// Searches at once: each takes a processor.
const SEARCHES: usize = 2;

/// All that requests are answered from.
#[derive(Clone)]
pub(super) struct Site {
    pub(super) store: Arc<Store>,
    pub(super) writing: Arc<Writing>,
    pub(super) workers: Arc<Workers>,
    pub(super) access: Arc<Access>,
    searches: Arc<Semaphore>,
    stopping: watch::Receiver<bool>,
}

impl Site {
    pub(super) fn new(
        store: Arc<Store>,
        writing: Writing,
        access: Arc<Access>,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        let searches = Arc::new(Semaphore::new(SEARCHES));
        Self { store, writing: Arc::new(writing), workers: Arc::default(), access, searches, stopping }
    }

    /// The store, once everything was read.
    ///
    /// # Errors
    /// 503 before.
    pub(super) fn ready(&self) -> Result<&Arc<Store>, Problem> {
        if self.store.is_ready() {
            return Ok(&self.store);
        }
        Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", "The jobs are still being read from the log."))
    }

    /// Becomes true when the server ends.
    pub(super) fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.clone()
    }

    /// Does what goes through many jobs on a thread where that disturbs nobody.
    ///
    /// # Errors
    /// Where it panics.
    pub(super) async fn searching<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let ended = |_| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "The server ends.");
        let permit = Arc::clone(&self.searches).acquire_owned().await.map_err(ended)?;
        let store = Arc::clone(self.ready()?);
        let work = move || {
            // Also of a client that has gone, a search is one of those at once until it ends.
            let _permit = permit;
            work(&store)
        };
        tokio::task::spawn_blocking(work).await.map_err(|error| Problem::internal(&error))
    }
}

impl FromRef<Site> for Arc<Access> {
    fn from_ref(site: &Site) -> Self {
        Self::clone(&site.access)
    }
}
