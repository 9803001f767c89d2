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

/// Requests that wait for their search. Clients that come too many are told at once.
const MOST_WAITING: usize = 64;

/// All that requests are answered from.
#[derive(Clone)]
pub(super) struct Site {
    pub(super) store: Arc<Store>,
    pub(super) writing: Arc<Writing>,
    pub(super) workers: Arc<Workers>,
    pub(super) access: Arc<Access>,
    searches: Arc<Semaphore>,
    /// Searches and those that wait for theirs.
    asked: Arc<Semaphore>,
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
        let asked = Arc::new(Semaphore::new(SEARCHES + MOST_WAITING));
        Self { store, writing: Arc::new(writing), workers: Arc::default(), access, searches, asked, stopping }
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
    /// 503 where too many wait already; 500 where it panics.
    pub(super) async fn searching<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let ended = |_| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "The server ends.");
        let busy = |_| {
            let detail = "Too many searches wait. Send it again later.";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
        };
        let _asked = self.asked.try_acquire().map_err(busy)?;
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use axum::extract::{RawQuery, State};
    use headwater::log::embedded::EmbeddedLog;

    use super::super::jobs::all;
    use super::*;

    /// A site without jobs, which is ready.
    fn site(folder: &tempfile::TempDir) -> Site {
        let log = Arc::new(EmbeddedLog::open(&folder.path().join("log.db")).unwrap());
        let store = Arc::new(Store::default());
        store.set_ready();
        Site::new(store, Writing::new(log, "t."), Arc::new(Access::open()), watch::channel(false).1)
    }

    #[test]
    fn searches_wait_for_each_other_and_lists_do_not_wait_for_them() {
        let folder = tempfile::tempdir().unwrap();
        let site = site(&folder);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (end, ended) = mpsc::channel::<()>();
        let ended = Arc::new(std::sync::Mutex::new(ended));
        let search = || {
            let (site, ended) = (site.clone(), Arc::clone(&ended));
            runtime.spawn(async move { site.searching(move |_| ended.lock().unwrap().recv().is_ok()).await })
        };
        let searches: Vec<_> = (0..SEARCHES + MOST_WAITING).map(|_| search()).collect();
        let list = |query: &str| {
            let answer = all(State(site.clone()), RawQuery(Some(query.to_owned())));
            let answer = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(5), answer).await });
            answer.unwrap().map_or_else(|problem| problem.code, |_| "listed")
        };
        while site.asked.available_permits() > 0 {
            std::thread::yield_now();
        }
        assert_eq!((list("queue=mail&phase=done"), list("q=a")), ("listed", "unavailable"));
        drop(end);
        for search in searches {
            assert!(runtime.block_on(search).unwrap().is_ok());
        }
        assert_eq!(list("q=a"), "listed");
    }
}
