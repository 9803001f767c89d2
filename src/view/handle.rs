//! Starting a view, looking at it, and stopping it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::context::{Context, TICK};
use super::error::ViewError;
use super::options::ViewOptions;
use super::runner::Runner;
use super::spec::ViewTopics;
use super::status::{Shared, ViewStatus};
use super::store::OpenStore;
use crate::log::{Log, TopicPartition};

/// How long the end of a view is waited for: its database may have stalled.
const END_PATIENCE: Duration = Duration::from_secs(10);

/// Starts views.
pub struct View;

impl View {
    /// Starts the view `name` on threads of its own. `stop` may be shared: setting it stops the view.
    ///
    /// # Errors
    /// [`ViewError::Failed`] when the system gives no thread. Everything else (an unreachable
    /// database, say) shows in [`ViewHandle::status`] and [`ViewHandle::failure`].
    pub fn start(
        name: &str,
        log: Arc<dyn Log>,
        topics: ViewTopics,
        options: ViewOptions,
        open: OpenStore,
        stop: Arc<AtomicBool>,
    ) -> Result<ViewHandle, ViewError> {
        let shared = Arc::new(Shared::new(topics));
        let context = Context::new(name, log, options, Arc::clone(&stop), Arc::clone(&shared));
        let runner = Runner::new(context, open);
        let thread = std::thread::Builder::new()
            .name(format!("view-{name}"))
            .spawn(move || runner.run())
            .map_err(|error| ViewError::Failed { doing: "starting the thread of a view", reason: error.to_string() })?;
        Ok(ViewHandle { name: name.to_owned(), shared, stop, thread: Some(thread) })
    }
}

/// Looks at a view.
#[derive(Clone)]
pub struct ViewWatch {
    name: String,
    shared: Arc<Shared>,
}

impl ViewWatch {
    /// The name of the view.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The topics that it reads.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<str>> {
        self.shared.topics.all()
    }

    /// What it has done and how it is.
    pub fn status(&self) -> ViewStatus {
        self.shared.lock().status.clone()
    }

    /// Whether it has ended by an error.
    pub fn has_failed(&self) -> bool {
        self.shared.lock().failure.is_some()
    }
}

/// A running view.
pub struct ViewHandle {
    name: String,
    shared: Arc<Shared>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl ViewHandle {
    /// The name of the view.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Something to look at it with, for others.
    pub fn watch(&self) -> ViewWatch {
        ViewWatch { name: self.name.clone(), shared: Arc::clone(&self.shared) }
    }

    /// What it has done and how it is.
    pub fn status(&self) -> ViewStatus {
        self.shared.lock().status.clone()
    }

    /// Why it ended; `None` while it works or tries again.
    pub fn failure(&self) -> Option<Arc<ViewError>> {
        self.shared.lock().failure.clone()
    }

    /// Whether the tables show everything before `ends`. Partitions of topics that no view reads
    /// do not count.
    pub fn caught_up_to(&self, ends: &[(TopicPartition, i64)]) -> bool {
        let state = self.shared.lock();
        self.shared.reached(&state, ends)
    }

    /// Waits until [`caught_up_to`](Self::caught_up_to), for at most `timeout`; whether it is so.
    /// Returns early when the view has ended.
    pub fn wait_until(&self, ends: &[(TopicPartition, i64)], timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut state = self.shared.lock();
        loop {
            if self.shared.reached(&state, ends) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let ended = self.thread.as_ref().is_none_or(JoinHandle::is_finished);
            if left.is_zero() || ended {
                return false;
            }
            state = self.shared.wait(state, left.min(TICK));
        }
    }

    /// Stops the view after the batch that is being written, and says why it had ended before, if it had.
    pub fn stop(mut self) -> Result<(), Arc<ViewError>> {
        self.end();
        self.failure().map_or(Ok(()), Err)
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let deadline = Instant::now() + END_PATIENCE;
        while self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            if Instant::now() >= deadline {
                tracing::warn!(view = self.name, "the view hangs and is left behind; its transaction may yet succeed");
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!(view = self.name, "the view's thread ended by a panic");
        }
    }
}

impl Drop for ViewHandle {
    fn drop(&mut self) {
        self.end();
    }
}
