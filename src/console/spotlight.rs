//! The spotlight: now and then a record that is worth a look.
//!
//! It looks on a thread of its own, so that a log that is away does not hold up the console. It reads only the last
//! records of each partition: what is shown in a line costs the same, however much is written.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::Highlight;
use crate::log::{Log, LogError, LogRecord, Polled, Start, TopicPartition, Watermarks};

/// How often a record is shown at most.
const EVERY: Duration = Duration::from_secs(3);

/// How soon it notices that it is to stop.
const TICK: Duration = Duration::from_millis(100);

/// How far before the end of a partition it begins to read.
const NEAR: i64 = 32;

/// How long it waits for the records at the ends.
const PATIENCE: Duration = Duration::from_secs(2);

/// How much it reads at once.
const BATCH_BYTES: usize = 1 << 20;

/// Finds records that are worth a look, until it is dropped.
pub(super) struct Spotlight {
    found: Receiver<String>,
    stop: Arc<AtomicBool>,
}

impl Spotlight {
    /// Shows of `topic` what is appended from now on.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn start(log: Arc<dyn Log>, topic: String, highlight: Highlight) -> Result<Self, LogError> {
        // One line waits at most: an older one is of no interest.
        let (send, found) = bounded(1);
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let work = move || {
            let mut ends = Ends::new(topic);
            while !stopping.load(Ordering::Relaxed) {
                show(&*log, &mut ends, highlight, &send);
                pause(&stopping);
            }
        };
        std::thread::Builder::new()
            .name("spotlight".to_owned())
            .spawn(work)
            .map_err(|error| LogError::Failed { doing: "starting the spotlight", reason: error.to_string() })?;
        Ok(Self { found, stop })
    }

    /// What there is to show.
    pub(super) fn next(&self) -> Option<String> {
        self.found.try_recv().ok()
    }
}

impl Drop for Spotlight {
    /// The thread is not waited for: it may hang in a question to a broker that is away.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn pause(stopping: &AtomicBool) {
    let next = Instant::now() + EVERY;
    while Instant::now() < next && !stopping.load(Ordering::Relaxed) {
        std::thread::sleep(TICK);
    }
}

fn show(log: &dyn Log, ends: &mut Ends, highlight: Highlight, send: &Sender<String>) {
    match ends.newest(log) {
        Ok(records) => {
            // Where the console has not taken the last one yet, this one is left out.
            records.iter().rev().find_map(highlight).map(|text| send.try_send(text));
        }
        Err(error) => tracing::debug!(%error, "there is nothing to show"),
    }
}

/// How far the partitions of a topic have been looked at.
struct Ends {
    topic: Arc<str>,
    /// `None` before the first look.
    seen: Option<BTreeMap<i32, i64>>,
}

impl Ends {
    fn new(topic: String) -> Self {
        Self { topic: topic.into(), seen: None }
    }

    /// The last records of each partition that has grown since the last look; nothing at the first.
    fn newest(&mut self, log: &dyn Log) -> Result<Vec<LogRecord>, LogError> {
        let ends: BTreeMap<i32, Watermarks> = (0..).zip(log.watermarks(&self.topic)?.unwrap_or_default()).collect();
        let highs = ends.iter().map(|(partition, ends)| (*partition, ends.high)).collect();
        let Some(seen) = self.seen.replace(highs) else { return Ok(Vec::new()) };
        let start = |(partition, ends): (&i32, &Watermarks)| {
            let from = seen.get(partition).copied().unwrap_or(0).max(ends.high - NEAR).max(ends.low);
            let at = TopicPartition::new(Arc::clone(&self.topic), *partition);
            (from < ends.high).then_some((at, Start::Offset(from)))
        };
        read_to_ends(log, &ends.iter().filter_map(start).collect::<Vec<_>>())
    }
}

fn read_to_ends(log: &dyn Log, starts: &[(TopicPartition, Start)]) -> Result<Vec<LogRecord>, LogError> {
    let mut open: Vec<_> = starts.iter().map(|(at, _)| at).collect();
    if open.is_empty() {
        return Ok(Vec::new());
    }
    let (mut reader, mut polled, mut records) = (log.reader(starts)?, Vec::new(), Vec::new());
    let deadline = Instant::now() + PATIENCE;
    while !open.is_empty() && Instant::now() < deadline {
        reader.poll(&mut polled, BATCH_BYTES, TICK)?;
        for one in polled.drain(..) {
            match one {
                Polled::Record(record) => records.push(record),
                Polled::End { partition, .. } => open.retain(|at| **at != partition),
            }
        }
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::memory::MemoryLog;

    /// Appends records to both partitions.
    fn append(log: &MemoryLog, count: usize) {
        for n in 0..count {
            let record = LogRecord {
                topic: "t".into(),
                partition: (n % 2) as i32,
                offset: 0,
                timestamp_ms: 0,
                key: None,
                value: Some(n.to_string().into_bytes()),
                headers: Vec::new(),
            };
            log.put(record).unwrap();
        }
    }

    fn words(record: &LogRecord) -> Option<String> {
        record.value.as_deref().map(|value| String::from_utf8_lossy(value).into_owned())
    }

    #[test]
    fn only_the_ends_are_read_however_much_is_written() {
        let log = MemoryLog::new();
        log.create("t", 2);
        append(&log, 1_000);
        let spotlight = Spotlight::start(Arc::new(log.clone()), "t".to_owned(), words).unwrap();
        // The first look only finds the ends.
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!((spotlight.next(), log.records_read()), (None, 0));
        append(&log, 20_000);
        let begun = Instant::now();
        let shown = loop {
            match spotlight.next() {
                Some(shown) => break shown,
                None => assert!(begun.elapsed() < Duration::from_secs(60), "nothing is shown"),
            }
            std::thread::sleep(TICK);
        };
        assert!(shown.parse::<usize>().unwrap() >= 20_000 - 2, "the last record of a partition: {shown}");
        assert_eq!(log.records_read(), 2 * NEAR as u64);
    }

    #[test]
    fn what_was_seen_is_not_read_again() {
        let log = MemoryLog::new();
        log.create("t", 2);
        let mut ends = Ends::new("t".to_owned());
        let mut newest = |log: &MemoryLog| ends.newest(log).unwrap().iter().filter_map(words).collect::<Vec<_>>();
        append(&log, 10);
        assert_eq!(newest(&log), Vec::<String>::new());
        assert_eq!(newest(&log), Vec::<String>::new());
        append(&log, 3);
        let mut seen = newest(&log);
        seen.sort();
        assert_eq!(seen, ["0", "1", "2"]);
        assert_eq!(newest(&log), Vec::<String>::new());
        let mut nowhere = Ends::new("none".to_owned());
        assert_eq!((nowhere.newest(&log).unwrap().len(), nowhere.newest(&log).unwrap().len()), (0, 0));
    }
}
