//! Serving beside a measured engine: what is lost where people read along.

use std::sync::Arc;
use std::thread;
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

/// What serving has not shown so long after the last commit, it never shows.
const PATIENCE: Duration = Duration::from_secs(60);

/// Serves what is on the log that `config` names, on a free port of this machine.
pub(super) fn serve(config: &Config) -> Result<Serving, Box<dyn Fault>> {
    let log = open_log(&config.runtime)?;
    let means = Means { log, config: config.runtime.clone(), examine: None, preview: None };
    let settings = ServeConfig { listen: "127.0.0.1:0".to_owned(), ..ServeConfig::default() };
    Ok(Serving::start(means, &settings, None)?)
}

/// Waits until so many events are shown; how many ms after `committed` that is.
pub(super) fn shown_after(serving: &Serving, events: i64, committed: Instant) -> Result<f64, BenchError> {
    let live = Arc::clone(serving.live());
    loop {
        let shown = live.read().index.len() as i64;
        if shown == events {
            return Ok(committed.elapsed().as_secs_f64() * 1000.0);
        }
        if serving.has_ended() || committed.elapsed() > PATIENCE {
            return Err(BenchError::NotShown { shown, events });
        }
        thread::sleep(LOOK);
    }
}
