//! Reading a topic as far as it goes.

use std::sync::Arc;
use std::time::Duration;

use super::{Log, LogError, LogRecord, Polled, Start, TopicPartition, Watermarks};

/// How much is read at a time.
const BATCH_BYTES: usize = 4 << 20;

/// How many offsets before the end are read first by [`read_last`]. In transactions each record is followed
/// by a marker, and a commit of a quiet topology is a record.
const FIRST_STRETCH: i64 = 64;

/// How long a poll waits for records that are on their way.
const WAIT: Duration = Duration::from_millis(200);

/// Hands every record of a topic to `each`, from the beginning to the committed end that each
/// partition has when it is reached. The order holds within a partition only. A topic that is not
/// there has no records.
///
/// # Errors
/// When the log fails, and what `each` returns.
pub fn read_to_end<E: From<LogError>>(
    log: &dyn Log,
    topic: &str,
    each: impl FnMut(LogRecord) -> Result<(), E>,
) -> Result<(), E> {
    let count = log.watermarks(topic)?.map_or(0, |partitions| partitions.len());
    let topic: Arc<str> = topic.into();
    let at = |number| TopicPartition::new(Arc::clone(&topic), number);
    let starts: Vec<_> = (0..).take(count).map(|number| (at(number), Start::Beginning)).collect();
    read_partitions(log, &starts, each)
}

/// As [`read_to_end`], of partitions from where is said.
fn read_partitions<E: From<LogError>>(
    log: &dyn Log,
    starts: &[(TopicPartition, Start)],
    mut each: impl FnMut(LogRecord) -> Result<(), E>,
) -> Result<(), E> {
    let mut open: Vec<TopicPartition> = starts.iter().map(|(at, _)| at.clone()).collect();
    if open.is_empty() {
        return Ok(());
    }
    let mut reader = log.reader(starts)?;
    let mut polled = Vec::new();
    while !open.is_empty() {
        reader.poll(&mut polled, BATCH_BYTES, WAIT)?;
        for one in polled.drain(..) {
            match one {
                Polled::Record(record) => each(record)?,
                Polled::End { partition, .. } => open.retain(|at| *at != partition),
            }
        }
    }
    Ok(())
}

/// The last record of a partition with these `ends` that `is_wanted`. Reads backwards, in stretches that
/// grow: what is wanted is expected near the end.
///
/// # Errors
/// When the log fails.
pub fn read_last(
    log: &dyn Log,
    at: &TopicPartition,
    ends: Watermarks,
    is_wanted: impl Fn(&LogRecord) -> bool,
) -> Result<Option<LogRecord>, LogError> {
    let mut stretch = FIRST_STRETCH;
    loop {
        let from = ends.high.saturating_sub(stretch);
        let start = if from <= ends.low { Start::Beginning } else { Start::Offset(from) };
        let mut last = None;
        let read = read_partitions(log, &[(at.clone(), start)], |record| {
            if is_wanted(&record) {
                last = Some(record);
            }
            Ok::<(), LogError>(())
        });
        match read {
            // Retention or compaction was faster: what is left is short.
            Err(LogError::OffsetGone { .. }) if start != Start::Beginning => stretch = i64::MAX,
            Err(error) => return Err(error),
            Ok(()) if last.is_some() || start == Start::Beginning => return Ok(last),
            Ok(()) => stretch = stretch.saturating_mul(32),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::log::embedded::EmbeddedLog;
    use crate::log::{Cleanup, NewRecord, TopicSpec};

    fn log_with_records(folder: &tempfile::TempDir, records: usize) -> EmbeddedLog {
        let log = EmbeddedLog::open(&folder.path().join("log.db")).unwrap();
        let spec = TopicSpec {
            name: "t".to_owned(),
            partitions: 3,
            replication: None,
            cleanup: Cleanup::Compact,
            max_record_bytes: 1 << 20,
            properties: BTreeMap::new(),
        };
        log.ensure_topics(&[spec]).unwrap();
        let mut producer = log.producer().unwrap();
        for number in 0..records {
            let (key, value) = (format!("{number}").into_bytes(), vec![b'x'; 10]);
            let record = NewRecord {
                topic: "t".into(),
                key: Some(key.into()),
                value: Some(value.into()),
                headers: Vec::new(),
                timestamp_ms: None,
            };
            producer.send(record).unwrap();
        }
        producer.flush().unwrap();
        log
    }

    #[test]
    fn every_partition_is_read_in_its_order() {
        let folder = tempfile::tempdir().unwrap();
        let log = log_with_records(&folder, 100);
        let mut seen: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
        let read: Result<(), LogError> = read_to_end(&log, "t", |record| {
            seen.entry(record.partition).or_default().push(record.offset);
            Ok(())
        });
        read.unwrap();
        assert_eq!(seen.values().map(Vec::len).sum::<usize>(), 100);
        assert!(seen.len() > 1 && seen.values().all(|offsets| offsets.is_sorted()), "{seen:?}");
    }

    #[test]
    fn a_topic_that_is_not_there_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        let log = log_with_records(&folder, 0);
        for topic in ["t", "none"] {
            let read: Result<(), LogError> = read_to_end(&log, topic, |record| panic!("{record:?}"));
            read.unwrap();
        }
    }

    #[test]
    fn the_last_record_is_found_without_reading_those_before() {
        let folder = tempfile::tempdir().unwrap();
        let log = log_with_records(&folder, 1000);
        let at = TopicPartition::new("t", 1);
        let ends = log.watermarks("t").unwrap().unwrap()[1];
        let looked_at = std::cell::Cell::new(0);
        let last_before = |end: i64| {
            looked_at.set(0);
            let wanted = |record: &LogRecord| {
                looked_at.set(looked_at.get() + 1);
                record.offset < end
            };
            read_last(&log, &at, ends, wanted).unwrap().map(|record| record.offset)
        };
        assert!(ends.high > FIRST_STRETCH * 2, "{ends:?}");
        assert_eq!(last_before(i64::MAX), Some(ends.high - 1));
        assert_eq!(looked_at.get(), FIRST_STRETCH);
        assert_eq!(last_before(ends.low + 3), Some(ends.low + 2));
        assert_eq!(last_before(ends.low), None);
        // What compaction has removed does not count.
        assert_eq!(read_last(&log, &at, Watermarks { low: 5, high: 5 }, |_| false).unwrap(), None);
    }

    #[test]
    fn what_a_record_is_refused_for_ends_it() {
        #[derive(Debug)]
        enum Stopped {
            Here,
            Log,
        }
        impl From<LogError> for Stopped {
            fn from(_: LogError) -> Self {
                Self::Log
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let log = log_with_records(&folder, 5);
        let mut count = 0;
        let read = read_to_end(&log, "t", |_| {
            count += 1;
            if count == 2 { Err(Stopped::Here) } else { Ok(()) }
        });
        assert!(matches!(read, Err(Stopped::Here)), "{read:?}");
        assert_eq!(count, 2);
    }
}
