//! Recovery: what was committed, and whether the outputs still say so.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use headwater_operators::Epoch;
use xxhash_rust::xxh3::xxh3_128;

use super::output::{OutRecord, Output, Recovery};
use super::progress::{OutputEnd, PROGRESS_KEY, Positions, Progress};
use super::state::FORMAT;
use super::{EngineError, EngineOptions, Fingerprints, TopicNames};
use crate::fail_point::FailPoint;
use crate::log::{Log, LogRecord, Polled, Start, TopicPartition};

/// How to start.
pub struct Plan {
    /// What was committed last.
    pub progress: Option<Progress>,
    /// The epoch at which the state is restored: that of the last commit.
    pub restored_epoch: Epoch,
    /// How the restored epoch is treated.
    pub recovery: Recovery,
    /// Why the outputs are compared, for people.
    pub reason: Option<&'static str>,
    /// What the output tables hold, where they are compared.
    pub held: Held,
}

/// Reads the last progress record and decides how to start.
///
/// # Errors
/// When the log fails, or when the progress record is damaged or of a newer format.
pub fn plan(log: &dyn Log, options: &EngineOptions, fingerprints: Fingerprints) -> Result<Plan, EngineError> {
    let names = &options.names;
    let progress = last_progress(log, names)?;
    FailPoint::RecoveryProgress.reach();
    let reason = match &progress {
        None => Some("no progress record"),
        Some(progress) if progress.results != fingerprints.results => Some("configuration or operators changed"),
        Some(progress) if progress.ends != output_ends(log, names)? => Some("output topics differ from the last stop"),
        // Compaction may have removed what a newer record of a key replaces, and with it what the
        // outputs were computed from.
        Some(progress) if tables_moved(log, options, progress)? => Some("tables were written to meanwhile"),
        Some(_) => None,
    };
    let recovery = if reason.is_some() { Recovery::Compare } else { Recovery::Trust };
    let held = match recovery {
        Recovery::Compare => Held::read(log, names)?,
        Recovery::Trust => Held::default(),
    };
    FailPoint::RecoveryHeld.reach();
    let restored_epoch = progress.as_ref().map_or(0, |progress| progress.epoch);
    Ok(Plan { progress, restored_epoch, recovery, reason, held })
}

fn tables_moved(log: &dyn Log, options: &EngineOptions, progress: &Progress) -> Result<bool, EngineError> {
    let known = Positions::from(&*progress.positions);
    for table in &options.tables {
        for (at, high) in super::partitions(log, &options.names.full(table))? {
            if high > known.next(&at).unwrap_or(0) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn last_progress(log: &dyn Log, names: &TopicNames) -> Result<Option<Progress>, EngineError> {
    let topic = names.output(Output::Progress);
    let mut last = None;
    read_to_end(log, &[topic], |record| {
        if record.key.as_deref() == Some(PROGRESS_KEY) {
            last = record.value;
        }
    })?;
    let Some(bytes) = last else { return Ok(None) };
    let damaged = |reason: String| EngineError::State { topic: topic.to_owned(), reason };
    let format = serde_json::from_slice::<serde_json::Value>(&bytes)
        .map_err(|error| damaged(error.to_string()))?
        .get("format")
        .and_then(serde_json::Value::as_u64);
    if format != Some(u64::from(FORMAT)) {
        return Err(damaged(format!("progress record of format {format:?}, not {FORMAT}")));
    }
    serde_json::from_slice(&bytes).map(Some).map_err(|error| damaged(error.to_string()))
}

/// The ends of all output partitions but those of `progress`.
///
/// # Errors
/// When the log fails.
pub fn output_ends(log: &dyn Log, names: &TopicNames) -> Result<Vec<OutputEnd>, EngineError> {
    let mut ends = Vec::new();
    for output in Output::ALL.into_iter().filter(|output| *output != Output::Progress) {
        let topic = names.output(output);
        for (partition, mut watermarks) in (0..).zip(log.watermarks(topic)?.unwrap_or_default()) {
            if output == Output::DeadLetters {
                // Retention moves it, and nothing follows from that.
                watermarks.low = 0;
            }
            ends.push(OutputEnd { topic: topic.to_owned(), partition, watermarks });
        }
    }
    Ok(ends)
}

/// What the output tables hold: a hash of the value for each key.
#[derive(Default)]
pub struct Held(HashMap<(Output, Vec<u8>), u128>);

impl Held {
    fn read(log: &dyn Log, names: &TopicNames) -> Result<Self, EngineError> {
        let by_name: BTreeMap<&str, Output> =
            Output::TABLES.into_iter().map(|output| (names.output(output), output)).collect();
        let topics: Vec<&str> = by_name.keys().copied().collect();
        let mut held = HashMap::new();
        read_to_end(log, &topics, |record| {
            let (Some(output), Some(key)) = (by_name.get(&*record.topic), record.key) else { return };
            match record.value {
                Some(value) => held.insert((*output, key), xxh3_128(&value)),
                None => held.remove(&(*output, key)),
            };
        })?;
        Ok(Self(held))
    }

    /// Rows held.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Of what the state implies, what has to be written: rows that are missing or differ, then
    /// tombstones for rows that the state does not imply.
    pub fn corrections(mut self, implied: Vec<OutRecord>) -> Vec<OutRecord> {
        let mut corrections: Vec<OutRecord> = Vec::new();
        // Dead letters belong to the records they came from, not to the state.
        for record in implied.into_iter().filter(|record| record.output != Output::DeadLetters) {
            let held = record.key.clone().and_then(|key| self.0.remove(&(record.output, key)));
            if held != record.value.as_deref().map(xxh3_128) {
                corrections.push(record);
            }
        }
        let mut gone: Vec<(Output, Vec<u8>)> = self.0.into_keys().collect();
        gone.sort_unstable();
        corrections.extend(gone.into_iter().map(|(output, key)| OutRecord {
            output,
            key: Some(key),
            value: None,
            headers: Vec::new(),
        }));
        corrections
    }
}

/// Reads topics from the beginning to their committed ends.
fn read_to_end(log: &dyn Log, topics: &[&str], mut each: impl FnMut(LogRecord)) -> Result<(), EngineError> {
    let mut open: Vec<TopicPartition> = Vec::new();
    for topic in topics {
        let count = log.watermarks(topic)?.map_or(0, |partitions| partitions.len());
        open.extend((0..count).map(|partition| TopicPartition::new(*topic, partition as i32)));
    }
    let starts: Vec<_> = open.iter().map(|at| (at.clone(), Start::Beginning)).collect();
    if starts.is_empty() {
        return Ok(());
    }
    let mut reader = log.reader(&starts)?;
    let mut batch = Vec::new();
    while !open.is_empty() {
        reader.poll(&mut batch, 4 << 20, Duration::from_millis(200))?;
        for polled in batch.drain(..) {
            match polled {
                Polled::Record(record) => each(record),
                Polled::End { partition, .. } => open.retain(|at| *at != partition),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: &str, value: Option<&str>) -> OutRecord {
        OutRecord { output: Output::Events, key: Some(key.into()), value: value.map(Into::into), headers: Vec::new() }
    }

    #[test]
    fn only_differences_are_corrected() {
        let held = Held(HashMap::from([
            ((Output::Events, b"same".to_vec()), xxh3_128(b"1")),
            ((Output::Events, b"other".to_vec()), xxh3_128(b"1")),
            ((Output::Events, b"gone".to_vec()), xxh3_128(b"1")),
        ]));
        let implied = vec![row("same", Some("1")), row("other", Some("2")), row("new", Some("3"))];
        let corrections = held.corrections(implied);
        assert_eq!(corrections, [row("other", Some("2")), row("new", Some("3")), row("gone", None)]);
    }

    #[test]
    fn a_tombstone_for_what_is_not_there_is_no_correction() {
        assert!(Held::default().corrections(vec![row("x", None)]).is_empty());
    }
}
