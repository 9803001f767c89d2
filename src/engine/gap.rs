//! Gaps: raw partitions that do not hold what follows on what has been read of them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::progress::{LastRead, Position};
use crate::log::{Log, LogError, Polled, Start, TopicPartition, Watermarks};

/// A raw partition whose reading cannot go on where it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The partition.
    pub at: TopicPartition,
    /// Where reading was to go on.
    pub next: i64,
    /// The first record that is there: where it can go on.
    pub first: i64,
    /// How the gap came about.
    pub cause: Cause,
}

/// How a gap came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Retention removed records that had not been read.
    Removed,
    /// The partition ends before what had been read of it: its topic was made anew.
    Shorter {
        /// Where it ends.
        high: i64,
    },
    /// Another record lies where the last one was read: its topic was made anew, and has more records by now.
    Another {
        /// The offset of that record.
        offset: i64,
    },
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at: TopicPartition { topic, partition }, next, first, cause } = self;
        match cause {
            Cause::Removed => write!(
                f,
                "partition {partition} of {topic:?}: offsets {next} to {} were removed before they were read",
                first - 1
            ),
            Cause::Shorter { high } => write!(
                f,
                "partition {partition} of {topic:?} ends at offset {high}, but was read up to {next}: the topic was \
                 deleted and made anew"
            ),
            Cause::Another { offset } => write!(
                f,
                "partition {partition} of {topic:?} holds another record at offset {offset} than was read there: the \
                 topic was deleted and made anew"
            ),
        }
    }
}

/// The gaps of the input `topics`, which have been read up to `positions`.
///
/// # Errors
/// When the log fails.
pub fn gaps<'t>(
    log: &dyn Log,
    topics: impl Iterator<Item = &'t Arc<str>>,
    positions: &[Position],
) -> Result<Vec<Gap>, LogError> {
    let mut gaps = Vec::new();
    let mut to_compare = BTreeMap::new();
    for topic in topics {
        let ends = log.watermarks(topic)?.unwrap_or_default();
        for position in positions.iter().filter(|position| *position.topic == **topic) {
            let at = TopicPartition::new(Arc::clone(topic), position.partition);
            let ends = usize::try_from(position.partition).ok().and_then(|number| ends.get(number).copied());
            let ends = ends.unwrap_or(Watermarks { low: 0, high: 0 });
            match (gap_in_offsets(&at, position.next, ends), position.last) {
                (Some(gap), _) => gaps.push(gap),
                (None, Some(last)) if last.offset >= ends.low => {
                    let cause = Cause::Another { offset: last.offset };
                    let gap = Gap { at: at.clone(), next: position.next, first: ends.low, cause };
                    to_compare.insert(at, (last, gap));
                }
                (None, _) => {}
            }
        }
    }
    gaps.extend(replaced(log, to_compare)?);
    gaps.sort_unstable_by(|a, b| a.at.cmp(&b.at));
    Ok(gaps)
}

fn gap_in_offsets(at: &TopicPartition, next: i64, ends: Watermarks) -> Option<Gap> {
    let cause = match next {
        next if next > ends.high => Cause::Shorter { high: ends.high },
        next if next < ends.low => Cause::Removed,
        _ => return None,
    };
    Some(Gap { at: at.clone(), next, first: ends.low, cause })
}

/// What is known of a partition: its last record, and the gap that there is if that has been replaced.
type Known = (LastRead, Gap);

/// The gaps of those partitions that hold another record where the last one was read. A record that
/// compaction has removed tells nothing.
fn replaced(log: &dyn Log, mut known: BTreeMap<TopicPartition, Known>) -> Result<Vec<Gap>, LogError> {
    let mut gaps = Vec::new();
    if known.is_empty() {
        return Ok(gaps);
    }
    let starts: Vec<_> = known.iter().map(|(at, (last, _))| (at.clone(), Start::Offset(last.offset))).collect();
    let mut reader = log.reader(&starts)?;
    let mut polled = Vec::new();
    while !known.is_empty() {
        reader.poll(&mut polled, COMPARED_BYTES, Duration::from_millis(200))?;
        for one in polled.drain(..) {
            match one {
                Polled::End { partition, .. } => drop(known.remove(&partition)),
                Polled::Record(record) => {
                    let at = TopicPartition::new(Arc::clone(&record.topic), record.partition);
                    let compared = known.remove(&at);
                    let differs = |last: LastRead| record.offset == last.offset && last.is_replaced_by(&record);
                    gaps.extend(compared.filter(|(last, _)| differs(*last)).map(|(_, gap)| gap));
                }
            }
        }
    }
    Ok(gaps)
}

/// How much is read at a time of what follows on a record that is compared.
const COMPARED_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::LogRecord;
    use crate::log::memory::MemoryLog;

    fn record(value: &str, timestamp_ms: i64) -> LogRecord {
        LogRecord {
            topic: "raw".into(),
            partition: 0,
            offset: 0,
            timestamp_ms,
            key: None,
            value: Some(value.as_bytes().to_vec()),
            headers: Vec::new(),
        }
    }

    /// A log with a record for each of the `values`.
    fn log(values: &[(&str, i64)]) -> MemoryLog {
        let log = MemoryLog::new();
        log.create("raw", 1);
        fill(&log, values);
        log
    }

    fn fill(log: &MemoryLog, values: &[(&str, i64)]) {
        for (value, timestamp_ms) in values {
            log.put(record(value, *timestamp_ms)).unwrap();
        }
    }

    /// That everything in `log` has been read.
    fn read(log: &MemoryLog) -> Vec<Position> {
        let records = log.records("raw").unwrap();
        let last = records[0].last().map(LastRead::of);
        let next = log.watermarks("raw").unwrap().unwrap()[0].high;
        vec![Position { topic: "raw".to_owned(), partition: 0, next, max_timestamp: None, last }]
    }

    fn found(log: &MemoryLog, positions: &[Position]) -> Option<(Cause, i64)> {
        let found = gaps(log, [Arc::from("raw")].iter(), positions).unwrap();
        assert!(found.len() <= 1, "{found:?}");
        found.first().map(|gap| (gap.cause, gap.first))
    }

    const THREE: [(&str, i64); 3] = [("a", 1), ("b", 2), ("c", 3)];

    #[test]
    fn what_goes_on_is_no_gap() {
        let log = log(&THREE);
        let positions = read(&log);
        assert_eq!(found(&log, &positions), None);
        fill(&log, &[("d", 4)]);
        assert_eq!(found(&log, &positions), None);
        // Retention may remove what was read, up to where reading goes on.
        log.expire("raw", 0, 3).unwrap();
        assert_eq!(found(&log, &positions), None);
    }

    #[test]
    fn records_that_were_removed_unread_are_a_gap() {
        let log = log(&THREE);
        let positions = read(&log);
        fill(&log, &[("d", 4), ("e", 5)]);
        log.expire("raw", 0, 4).unwrap();
        assert_eq!(found(&log, &positions), Some((Cause::Removed, 4)));
        let gap = &gaps(&log, [Arc::from("raw")].iter(), &positions).unwrap()[0];
        assert_eq!(gap.to_string(), "partition 0 of \"raw\": offsets 3 to 3 were removed before they were read");
    }

    #[test]
    fn a_topic_made_anew_is_a_gap_whether_it_has_fewer_records_or_more() {
        let log = log(&THREE);
        let positions = read(&log);
        log.create("raw", 1);
        assert_eq!(found(&log, &positions), Some((Cause::Shorter { high: 0 }, 0)));
        fill(&log, &[("x", 7), ("y", 8)]);
        assert_eq!(found(&log, &positions), Some((Cause::Shorter { high: 2 }, 0)));
        fill(&log, &[("z", 9)]);
        assert_eq!(found(&log, &positions), Some((Cause::Another { offset: 2 }, 0)));
        fill(&log, &[("w", 10)]);
        assert_eq!(found(&log, &positions), Some((Cause::Another { offset: 2 }, 0)));
    }

    #[test]
    fn another_record_of_the_same_time_is_told_by_its_size_and_its_bytes() {
        let log = log(&THREE);
        let positions = read(&log);
        for other in ["other", "z"] {
            log.create("raw", 1);
            fill(&log, &[("a", 1), ("b", 2), (other, 3)]);
            assert_eq!(found(&log, &positions), Some((Cause::Another { offset: 2 }, 0)), "{other}");
        }
        log.create("raw", 1);
        fill(&log, &THREE);
        assert_eq!(found(&log, &positions), None, "the same records again say the same");
    }

    #[test]
    fn what_compaction_has_removed_and_what_a_former_release_read_tell_nothing() {
        let without_digest = |last: LastRead| LastRead { digest: None, ..last };
        let kept = log(&THREE);
        let mut positions = read(&kept);
        positions[0].last = positions[0].last.map(without_digest);
        assert_eq!(found(&kept, &positions), None, "a former release kept no digest");
        let former = log(&[("x", 9), ("y", 9), ("z", 9)]);
        let position = Position { last: None, ..read(&former).remove(0) };
        assert_eq!(found(&former, &[position]), None);
        let log = MemoryLog::new();
        log.create("raw", 1);
        log.put(LogRecord { key: Some(b"k".to_vec()), ..record("a", 1) }).unwrap();
        let positions = read(&log);
        log.put(record("b", 2)).unwrap();
        log.compact_away("raw", b"k").unwrap();
        assert_eq!(found(&log, &positions), None);
    }
}
