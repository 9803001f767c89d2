//! What a running job and its worker tell each other.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::client::Held;

/// Longest message of progress, in bytes.
const LONGEST_MESSAGE: usize = 1 << 10;

/// Why a job is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancellation {
    /// Somebody has cancelled it.
    Cancelled,
    /// The lease has ended: another worker may have the job, and nothing that is reported counts.
    Lost,
    /// The worker is to end at once; the job is given back.
    Stopping,
}

#[derive(Debug, Default)]
struct State {
    cancellation: Option<Cancellation>,
    progress: Option<f64>,
    message: Option<String>,
    /// Whether progress has changed since it was told.
    changed: bool,
    /// Whether there is no time to clean up.
    hurried: bool,
}

type Nudge = Box<dyn Fn() + Send + Sync>;

struct Shared {
    state: Mutex<State>,
    cancelled: Condvar,
    nudge: Nudge,
}

/// What a running job and its worker tell each other. Clones are of the same job.
#[derive(Clone)]
pub struct JobContext(Arc<Shared>);

impl JobContext {
    /// A context that calls `nudge` when there is progress to be told.
    pub(super) fn new(nudge: impl Fn() + Send + Sync + 'static) -> Self {
        let shared = Shared { state: Mutex::default(), cancelled: Condvar::new(), nudge: Box::new(nudge) };
        Self(Arc::new(shared))
    }

    /// A context of no worker, to try a handler in tests.
    pub fn detached() -> Self {
        Self::new(|| {})
    }

    /// Tells how far the job has come: `fraction` from 0 to 1, and the same in words, up to 1 KiB. It is shown within
    /// a second or two; what is told in between is not.
    pub fn progress(&self, fraction: f64, message: impl Into<String>) {
        if !fraction.is_finite() {
            return;
        }
        let fraction = fraction.clamp(0.0, 1.0);
        let message = Some(shortened(message.into(), LONGEST_MESSAGE)).filter(|message| !message.is_empty());
        let mut state = self.state();
        if state.progress == Some(fraction) && state.message == message {
            return;
        }
        (state.progress, state.message) = (Some(fraction), message);
        let first = !std::mem::replace(&mut state.changed, true);
        drop(state);
        if first {
            (self.0.nudge)();
        }
    }

    /// Whether the job is to stop.
    pub fn is_cancelled(&self) -> bool {
        self.cancellation().is_some()
    }

    /// Why the job is to stop, if it is.
    pub fn cancellation(&self) -> Option<Cancellation> {
        self.state().cancellation
    }

    /// Whether a job that is to stop is to end at once, without time to clean up.
    pub fn is_hurried(&self) -> bool {
        self.state().hurried
    }

    /// Waits up to `timeout`, and says then or before whether the job is to stop.
    pub fn wait_cancelled(&self, timeout: Duration) -> bool {
        let goes_on = |state: &mut State| state.cancellation.is_none();
        let waited = self.0.cancelled.wait_timeout_while(self.state(), timeout, goes_on);
        waited.unwrap_or_else(PoisonError::into_inner).0.cancellation.is_some()
    }

    /// Asks the job to stop. A lease that is lost stays lost.
    pub(super) fn cancel(&self, why: Cancellation) {
        let mut state = self.state();
        if state.cancellation != Some(Cancellation::Lost) {
            state.cancellation = Some(why);
        }
        drop(state);
        self.0.cancelled.notify_all();
    }

    /// Leaves a job that is to stop no time to clean up.
    pub(super) fn hurry(&self) {
        self.state().hurried = true;
    }

    /// Whether there is progress that was not told.
    pub(super) fn has_changed(&self) -> bool {
        self.state().changed
    }

    /// What is told of the job.
    pub(super) fn held(&self, id: &str, lease: u32) -> Held {
        let state = self.state();
        Held { id: id.to_owned(), lease, progress: state.progress, message: state.message.clone() }
    }

    /// The server was told this. What has come in the meantime is still to be told.
    pub(super) fn told(&self, held: &Held) {
        let mut state = self.state();
        if state.progress == held.progress && state.message == held.message {
            state.changed = false;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for JobContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("JobContext").field(&*self.state()).finish()
    }
}

/// A text of at most `longest` bytes.
pub(super) fn shortened(mut text: String, longest: usize) -> String {
    let end = (0..=longest.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.truncate(end.unwrap_or(0));
    text
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn the_worker_is_nudged_once_until_progress_is_told() {
        let nudges = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&nudges);
        let context = JobContext::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        context.progress(f64::NAN, "no");
        assert!(!context.has_changed());
        context.progress(0.1, "a");
        context.progress(7.0, "ä".repeat(1_000));
        assert_eq!(nudges.load(Ordering::Relaxed), 1);
        let held = context.held("j", 3);
        assert_eq!((held.progress, held.message.as_ref().map(String::len)), (Some(1.0), Some(1_024)));
        context.told(&Held { progress: Some(0.9), ..held.clone() });
        assert!(context.has_changed());
        context.told(&held);
        context.progress(1.0, "ä".repeat(1_000));
        assert!(!context.has_changed());
        context.progress(1.0, "");
        assert_eq!(nudges.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn who_waits_is_woken_and_a_lost_lease_stays_lost() {
        let context = JobContext::detached();
        assert!(!context.wait_cancelled(Duration::from_millis(1)));
        let other = context.clone();
        let waits = std::thread::spawn(move || other.wait_cancelled(Duration::from_secs(60)));
        context.cancel(Cancellation::Cancelled);
        assert!(waits.join().unwrap());
        context.cancel(Cancellation::Lost);
        context.cancel(Cancellation::Stopping);
        assert_eq!(context.cancellation(), Some(Cancellation::Lost));
    }
}
