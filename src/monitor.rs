//! The monitor: how far the engine and the views are behind what the log holds.
//!
//! It looks for itself, on a thread of its own, so that a lag shows although what lags hangs in a
//! call to a broker or a database.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::engine::lifecycle::Lifecycle;
use crate::log::{Log, LogError, TopicPartition, Watermarks};
use crate::view::ViewWatch;

/// How often it looks.
const EVERY: Duration = Duration::from_secs(2);

/// How soon it notices that it is to stop.
const TICK: Duration = Duration::from_millis(100);

/// So many ends of a partition are remembered; of more, every other one is forgotten.
const MOST_ENDS: usize = 512;

/// What is watched.
pub struct Watched {
    /// The log.
    pub log: Arc<dyn Log>,
    /// Full names of the raw input topics.
    pub inputs: Vec<Arc<str>>,
    /// The engine that reads them.
    pub lifecycle: Arc<Lifecycle>,
    /// The views.
    pub views: Vec<ViewWatch>,
}

/// A running monitor; ends when it is dropped.
pub struct Monitor {
    stop: Arc<AtomicBool>,
}

impl Monitor {
    /// Starts to watch.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(watched: Watched) -> Result<Self, LogError> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let work = move || {
            let mut lags = Lags::default();
            while !stopping.load(Ordering::Relaxed) {
                lags.look(&watched);
                let next = Instant::now() + EVERY;
                while Instant::now() < next && !stopping.load(Ordering::Relaxed) {
                    std::thread::sleep(TICK);
                }
            }
        };
        std::thread::Builder::new()
            .name("monitor".to_owned())
            .spawn(work)
            .map_err(|error| LogError::Failed { doing: "starting the monitor", reason: error.to_string() })?;
        Ok(Self { stop })
    }
}

impl Drop for Monitor {
    /// The thread is not waited for: it may hang in a question to a broker that is away.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// How far somebody is behind the end of a partition.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Lag {
    offsets: i64,
    seconds: f64,
}

/// The ends that a partition had, with the moments at which they were seen first.
#[derive(Debug, Default)]
struct Ends(VecDeque<(Instant, i64)>);

impl Ends {
    /// The lag of whoever has come to `position`, now that the partition ends at `end`. The time is
    /// that since the first end was seen which lies behind the position.
    fn lag(&mut self, now: Instant, end: i64, position: i64) -> Lag {
        while self.0.front().is_some_and(|(_, seen)| *seen <= position) {
            self.0.pop_front();
        }
        if end > position && self.0.back().is_none_or(|(_, seen)| *seen < end) {
            self.0.push_back((now, end));
        }
        if self.0.len() > MOST_ENDS {
            let mut index = 0;
            self.0.retain(|_| {
                index += 1;
                index % 2 == 1
            });
        }
        let seconds = self.0.front().map_or(0.0, |(seen, _)| now.duration_since(*seen).as_secs_f64());
        Lag { offsets: (end - position).max(0), seconds }
    }
}

#[derive(Default)]
struct Lags {
    inputs: BTreeMap<TopicPartition, Ends>,
    views: BTreeMap<String, BTreeMap<TopicPartition, Ends>>,
}

impl Lags {
    fn look(&mut self, watched: &Watched) {
        let reachable = match self.inputs(watched).and_then(|()| self.views(watched)) {
            Ok(()) => 1.0,
            Err(error) => {
                tracing::debug!(%error, "the lag is not known");
                0.0
            }
        };
        metrics::gauge!("headwater_log_reachable").set(reachable);
    }

    fn inputs(&mut self, watched: &Watched) -> Result<(), LogError> {
        let mut total = 0;
        for topic in &watched.inputs {
            for (at, ends) in partitions(&*watched.log, topic)? {
                let position = watched.lifecycle.position(&at).unwrap_or(ends.low).max(ends.low);
                let known = self.inputs.entry(at.clone()).or_default();
                let lag = known.lag(Instant::now(), ends.high, position);
                total += lag.offsets;
                let labels = [("topic", at.topic.to_string()), ("partition", at.partition.to_string())];
                metrics::gauge!("headwater_input_lag_records", &labels).set(lag.offsets as f64);
                metrics::gauge!("headwater_input_lag_seconds", &labels).set(lag.seconds);
            }
        }
        watched.lifecycle.counters.lag.store(total, Ordering::Relaxed);
        Ok(())
    }

    fn views(&mut self, watched: &Watched) -> Result<(), LogError> {
        let mut ends: BTreeMap<Arc<str>, Vec<(TopicPartition, Watermarks)>> = BTreeMap::new();
        for view in &watched.views {
            let status = view.status();
            let of_view = self.views.entry(view.name().to_owned()).or_default();
            let mut total = Lag::default();
            for topic in view.topics() {
                if !ends.contains_key(topic) {
                    ends.insert(Arc::clone(topic), partitions(&*watched.log, topic)?);
                }
                for (at, ends) in ends.get(topic).into_iter().flatten() {
                    let position = status.positions.get(at).copied().unwrap_or(ends.low);
                    let lag = of_view.entry(at.clone()).or_default().lag(Instant::now(), ends.high, position);
                    total.offsets += lag.offsets;
                    total.seconds = total.seconds.max(lag.seconds);
                }
            }
            let name = view.name().to_owned();
            metrics::gauge!("headwater_view_lag_records", "view" => name.clone()).set(total.offsets as f64);
            metrics::gauge!("headwater_view_lag_seconds", "view" => name.clone()).set(total.seconds);
            let working = status.trouble.is_none() && !view.has_failed();
            metrics::gauge!("headwater_view_working", "view" => name).set(f64::from(u8::from(working)));
        }
        Ok(())
    }
}

fn partitions(log: &dyn Log, topic: &Arc<str>) -> Result<Vec<(TopicPartition, Watermarks)>, LogError> {
    let ends = log.watermarks(topic)?.unwrap_or_default();
    Ok((0..).zip(ends).map(|(partition, ends)| (TopicPartition::new(Arc::clone(topic), partition), ends)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lag_in_time_is_the_age_of_the_first_end_not_reached() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut ends = Ends::default();
        assert_eq!(ends.lag(at(0), 10, 10), Lag::default());
        assert_eq!(ends.lag(at(2), 20, 10), Lag { offsets: 10, seconds: 0.0 });
        assert_eq!(ends.lag(at(4), 30, 15), Lag { offsets: 15, seconds: 2.0 });
        assert_eq!(ends.lag(at(6), 30, 20), Lag { offsets: 10, seconds: 2.0 });
        assert_eq!(ends.lag(at(8), 30, 30), Lag::default());
    }

    #[test]
    fn a_long_stall_does_not_fill_the_memory() {
        let start = Instant::now();
        let mut ends = Ends::default();
        for second in 0..100_000 {
            ends.lag(start + Duration::from_secs(second), second as i64 + 1, 0);
        }
        assert!(ends.0.len() <= MOST_ENDS);
        assert_eq!(ends.lag(start + Duration::from_secs(100_000), 100_000, 0).seconds, 100_000.0);
    }
}
