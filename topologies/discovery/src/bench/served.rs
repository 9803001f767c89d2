//! Serving beside a measured engine: what is lost where people read along.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use headwater::error::Fault;
use headwater::tools::open_log;
use headwater_serve::admin::Means;
use headwater_serve::config::ServeConfig;
use headwater_serve::tool::Serving;

use super::BenchError;
use crate::config::Config;

/// How often serving is asked how far it is.
const LOOK: Duration = Duration::from_millis(1);

/// How long nothing more comes until what is shown is the last.
const QUIET: Duration = Duration::from_millis(500);

/// What serving has not shown so long after the last commit, it never shows.
const PATIENCE: Duration = Duration::from_secs(60);

/// Serves what is on the log that `config` names, on a free port of this machine.
pub(super) fn serve(config: &Config) -> Result<Serving, Box<dyn Fault>> {
    let log = open_log(&config.runtime)?;
    let means = Means { log, config: config.runtime.clone(), examine: None, preview: None };
    let settings = ServeConfig { listen: "127.0.0.1:0".to_owned(), ..ServeConfig::default() };
    Ok(Serving::start(means, &settings, None)?)
}

/// Notes when serving shows what.
pub(super) struct Watching {
    serving: Serving,
    stop: Arc<AtomicBool>,
    /// When it showed its last commit.
    thread: JoinHandle<Instant>,
}

impl Watching {
    /// Watches `serving`.
    pub(super) fn start(serving: Serving) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (commits, stopped) = (serving.live().commits(), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            let (mut shown, mut at) = (*commits.borrow(), Instant::now());
            while !stopped.load(Ordering::Relaxed) {
                let now = *commits.borrow();
                if now != shown {
                    (shown, at) = (now, Instant::now());
                }
                thread::sleep(LOOK);
            }
            at
        });
        Self { serving, stop, thread }
    }

    /// Waits until so many events are shown and nothing more comes; how many ms after `committed` the last was shown.
    pub(super) fn shown_after(self, events: i64, committed: Instant) -> Result<f64, BenchError> {
        let began = Instant::now();
        let shown = || self.serving.live().read().index.len() as i64;
        while shown() != events {
            if self.serving.has_ended() || began.elapsed() > PATIENCE {
                return Err(BenchError::NotShown { shown: shown(), events });
            }
            thread::sleep(LOOK);
        }
        thread::sleep(QUIET);
        self.stop.store(true, Ordering::Relaxed);
        let failed = |_| BenchError::Child { reason: "the thread that watches serving has panicked".to_owned() };
        let at = self.thread.join().map_err(failed)?;
        Ok(at.saturating_duration_since(committed).as_secs_f64() * 1000.0)
    }
}
