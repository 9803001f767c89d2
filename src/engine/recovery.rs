//! Recovery: what was committed, whether the outputs still say so, and whether it can be used.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use headwater_flow::Epoch;
use serde::Deserialize;

use super::error::EngineError;
use super::gap::{Gap, gaps};
use super::options::EngineOptions;
use super::progress::{FORMAT, OutputEnd, PROGRESS_KEY, Position, Positions, Progress, Reached, Rebuilding};
use crate::dataflow::dead_letter::header;
use crate::dataflow::{HeldRows, Recovery, TopicNames, epoch_of};
use crate::fail_point::FailPoint;
use crate::log::{Log, LogError, LogRecord, Start, TopicPartition, Watermarks, read_last, read_to_end};
use crate::program::Fingerprints;
use crate::schema::{Catalog, InputPosition, Kind, Topic, TopicId, WhenLost, topic_digest};
use crate::words::grouped;

/// How to start.
pub struct Plan {
    /// What was committed last; after a rebuild of lost progress, what can be said of it.
    pub progress: Option<Progress>,
    /// The epoch at which the state is restored: that of the last commit.
    pub restored_epoch: Epoch,
    /// How the restored epoch is treated.
    pub recovery: Recovery,
    /// Why the outputs are compared, for people.
    pub reason: Option<&'static str>,
    /// What else people should know.
    pub notes: Vec<String>,
    /// Where the raw topics are read again from the beginning; `None` where the state is read back.
    pub rebuild: Option<Rebuild>,
    /// Raw partitions that are read on from another place than where reading ended.
    pub skipped: Vec<Gap>,
    /// What the output tables hold, where they are compared.
    pub held: HeldRows,
}

impl Plan {
    /// Where reading goes on.
    pub fn positions(&self) -> Positions {
        let mut positions =
            self.progress.as_ref().map(|progress| Positions::from(&*progress.positions)).unwrap_or_default();
        for gap in &self.skipped {
            positions.move_to(&gap.at, gap.first);
        }
        positions
    }
}

/// How the state is computed anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuild {
    /// How many raw records are read again; more than there are where offsets have gaps.
    pub records: u64,
    /// Timestamp of the oldest record left (ms since the Unix epoch).
    pub reaches_back_to: Option<i64>,
    /// Whether the raw topics have lost records: what only those said is gone.
    pub incomplete: bool,
}

/// How the plan is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Alone: other instances are fenced.
    Alone,
    /// Beside an instance that may be running: of the outputs only what was committed up to the
    /// progress record counts.
    Beside,
}

/// Reads the last progress record and decides how to start.
///
/// # Errors
/// When the log fails; when progress or state is damaged, gone, or of a newer format, unless the
/// options say that everything is to be rebuilt.
pub fn plan(
    log: &dyn Log,
    options: &EngineOptions,
    fingerprints: Fingerprints,
    access: Access,
) -> Result<Plan, EngineError> {
    let names = &options.names;
    let found = last_progress(log, names);
    FailPoint::RecoveryProgress.reach();
    if options.rebuild || found.as_ref().is_ok_and(|found| found.as_ref().is_some_and(|one| one.rebuilding.is_some())) {
        return plan_rebuild(log, options, found, access);
    }
    let progress = found?;
    let ends = output_ends(log, &options.catalog, names)?;
    let Some(progress) = progress else {
        return plan_first(log, options, &ends);
    };
    let skipped = gaps(log, options.inputs.keys(), &progress.positions)?;
    if !skipped.is_empty() && !options.skip_gaps {
        return Err(EngineError::Gaps { gaps: skipped });
    }
    let mut notes = emptied(&progress, &ends, &options.catalog, names)?;
    notes.extend(skipped.iter().map(|gap| format!("{gap}; reading goes on at offset {}", gap.first)));
    let reason = if progress.results != fingerprints.results {
        Some("configuration or operators changed")
    } else if !same_ends(&progress.ends, &ends) {
        Some("output topics differ from the last stop")
    } else if tables_moved(log, options, &progress)? {
        // Compaction may have removed what a newer record of a key replaces, and with it what the
        // outputs were computed from.
        Some("tables were written to meanwhile")
    } else {
        None
    };
    let restored_epoch = progress.epoch;
    let (recovery, held) = match reason {
        Some(_) => (Recovery::Compare, HeldRows::read(log, &options.catalog, names, access.cut(restored_epoch))?),
        None => (Recovery::Trust, HeldRows::default()),
    };
    FailPoint::RecoveryHeld.reach();
    notes.extend(missing_targets(&held, options)?);
    Ok(Plan { progress: Some(progress), restored_epoch, recovery, reason, notes, rebuild: None, skipped, held })
}

impl Access {
    fn cut(self, epoch: Epoch) -> Option<Epoch> {
        (self == Self::Beside).then_some(epoch)
    }
}

/// The very first start; outputs of a topology without its progress are state that nobody can account for.
/// Records that somebody else wrote are none.
fn plan_first(log: &dyn Log, options: &EngineOptions, ends: &[OutputEnd]) -> Result<Plan, EngineError> {
    // A first start that was killed may have left markers of its transaction, but no records.
    let written: BTreeSet<&str> = ends.iter().filter(|e| e.watermarks.high > 0).map(|e| e.topic.as_str()).collect();
    for topic in written {
        let mut first = None;
        read_to_end(log, topic, |record| {
            if epoch_of(&record).is_some() {
                first.get_or_insert((record.partition, record.offset));
            }
            Ok::<(), EngineError>(())
        })?;
        if let Some((partition, offset)) = first {
            let reason = format!(
                "it has no progress record, although topic {topic:?} holds records (partition {partition}, offset {offset})"
            );
            return Err(EngineError::State { topic: options.names.of(TopicId::PROGRESS).to_owned(), reason });
        }
    }
    Ok(Plan {
        progress: None,
        restored_epoch: 0,
        recovery: Recovery::Compare,
        reason: Some("no progress record"),
        notes: Vec::new(),
        rebuild: None,
        skipped: Vec::new(),
        held: HeldRows::read(log, &options.catalog, &options.names, None)?,
    })
}

/// Whether the ends are those that were recorded, in whatever order of the topics.
fn same_ends(recorded: &[OutputEnd], found: &[OutputEnd]) -> bool {
    let sorted = |ends: &[OutputEnd]| {
        let mut ends: Vec<_> = ends.iter().map(|end| (end.topic.clone(), end.partition, end.watermarks)).collect();
        ends.sort_unstable_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        ends
    };
    sorted(recorded) == sorted(found)
}

/// Which topics end before they did: an error for state that nothing else tells, notes for what can be
/// filled again.
fn emptied(
    progress: &Progress,
    ends: &[OutputEnd],
    catalog: &Catalog,
    names: &TopicNames,
) -> Result<Vec<String>, EngineError> {
    let now: BTreeMap<(&str, i32), i64> =
        ends.iter().map(|end| ((end.topic.as_str(), end.partition), end.watermarks.high)).collect();
    let declared: BTreeMap<&str, &Topic> = catalog.topics().map(|(id, topic)| (names.of(id), topic)).collect();
    let mut notes = BTreeMap::new();
    for end in &progress.ends {
        let high = now.get(&(end.topic.as_str(), end.partition)).copied().unwrap_or(0);
        // What a former version of the topology wrote is nobody's loss.
        let Some(topic) = declared.get(end.topic.as_str()).filter(|_| high < end.watermarks.high) else { continue };
        if topic.is_essential() {
            let reason = format!(
                "partition {} ends at offset {high}, but {} had been written: it was emptied or made anew",
                end.partition, end.watermarks.high
            );
            return Err(EngineError::State { topic: end.topic.clone(), reason });
        }
        let lost = match topic.spec.when_lost {
            WhenLost::Note(lost) if topic.kind == Kind::State && !lost.is_empty() => format!(": {lost}"),
            _ => String::new(),
        };
        notes.insert(end.topic.clone(), format!("topic {:?} was emptied or made anew{lost}", end.topic));
    }
    Ok(notes.into_values().collect())
}

/// A row and the row that it refers to are written together; a row without its target is a target that
/// was lost.
fn missing_targets(held: &HeldRows, options: &EngineOptions) -> Result<Vec<String>, EngineError> {
    let mut notes = Vec::new();
    for (id, topic) in options.catalog.topics() {
        let Some(target) = topic.spec.refers_to else { continue };
        let missing = held.missing(id, target);
        if missing == 0 {
            continue;
        }
        let (rows, of) = (held.rows(id), options.catalog.name(target));
        let lost = options.names.of(target).to_owned();
        let reason = format!("it lacks {missing} of the {rows} {of} that {:?} names", options.names.of(id));
        match options.correction_guard {
            Some(guard) if missing as f64 > guard * rows as f64 => {
                return Err(EngineError::State { topic: lost, reason });
            }
            _ => notes.push(format!("topic {lost:?}: {reason}; their rows are removed")),
        }
    }
    Ok(notes)
}

/// A rebuild: the states that a rebuild makes come from the raw topics, from their beginning up to where
/// they had been read; whatever else can be read is kept.
fn plan_rebuild(
    log: &dyn Log,
    options: &EngineOptions,
    found: Result<Option<Progress>, EngineError>,
    access: Access,
) -> Result<Plan, EngineError> {
    let names = &options.names;
    let mut notes = Vec::new();
    let mut progress = match found {
        Ok(Some(progress)) => progress,
        Ok(None) => found_progress(log, options)?,
        Err(error @ EngineError::State { .. }) => {
            notes.push(error.to_string());
            found_progress(log, options)?
        }
        Err(error) => return Err(error),
    };
    let mut rebuild = Rebuild { records: 0, reaches_back_to: None, incomplete: false };
    for topic in options.inputs.keys() {
        for (partition, ends) in (0..).zip(log.watermarks(topic)?.unwrap_or_default()) {
            let at = TopicPartition::new(topic.clone(), partition);
            rebuild.look_at(log, &at, ends, &mut progress.positions)?;
        }
    }
    let restored_epoch = progress.epoch;
    let held = HeldRows::read(log, &options.catalog, names, access.cut(restored_epoch))?;
    Ok(Plan {
        progress: Some(progress),
        restored_epoch,
        recovery: Recovery::Compare,
        reason: Some("everything is computed anew from the raw topics"),
        notes,
        rebuild: Some(rebuild),
        skipped: Vec::new(),
        held,
    })
}

impl fmt::Display for Rebuild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rebuild from {} raw records", grouped(self.records))?;
        let since = self.reaches_back_to.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        if let Some(since) = since {
            write!(f, ", the oldest of {since:.0}")?;
        }
        match self.incomplete {
            true => f.write_str("; older ones are gone, and what only they said is removed"),
            false => f.write_str("; none is missing"),
        }
    }
}

impl Rebuild {
    /// Takes in a raw partition; its position is moved to where there is something.
    fn look_at(
        &mut self,
        log: &dyn Log,
        at: &TopicPartition,
        ends: Watermarks,
        positions: &mut [Position],
    ) -> Result<(), EngineError> {
        let position = positions.iter_mut().find(|one| *one.topic == *at.topic && one.partition == at.partition);
        let Some(position) = position else { return Ok(()) };
        self.incomplete |= ends.low > 0 || ends.high < position.next;
        if !(ends.low..=ends.high).contains(&position.next) {
            position.next = position.next.clamp(ends.low, ends.high);
            position.last = None;
        }
        self.records += u64::try_from(position.next - ends.low).unwrap_or(0);
        let first = first_timestamp(log, at, ends)?;
        self.reaches_back_to = self.reaches_back_to.into_iter().chain(first).min();
        Ok(())
    }
}

fn first_timestamp(log: &dyn Log, at: &TopicPartition, ends: Watermarks) -> Result<Option<i64>, EngineError> {
    if ends.low >= ends.high {
        return Ok(None);
    }
    let mut reader = log.reader(&[(at.clone(), Start::Beginning)])?;
    let mut batch = Vec::new();
    while batch.is_empty() {
        reader.poll(&mut batch, 1, std::time::Duration::from_millis(200))?;
    }
    Ok(batch.into_iter().find_map(|polled| match polled {
        crate::log::Polled::Record(record) => Some(record.timestamp_ms),
        crate::log::Polled::End { .. } => None,
    }))
}

/// What any progress record says, whatever its format.
#[derive(Deserialize)]
struct SeenProgress {
    positions: Vec<Position>,
}

/// What can be said of the progress where its record cannot be used. No output was written by a
/// record beyond what this finds: older progress records, dead letters and states name records
/// that had been read, and nothing is committed out of order within a partition. So what had been
/// counted or was a dead letter before is so only once.
fn found_progress(log: &dyn Log, options: &EngineOptions) -> Result<Progress, EngineError> {
    let names = &options.names;
    let mut read = Positions::default();
    let mut epoch = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    let digests: BTreeMap<u32, &str> = options.inputs.keys().map(|topic| (topic_digest(topic), &**topic)).collect();
    for (id, topic) in options.catalog.topics().filter(|(_, topic)| topic.kind != Kind::Family) {
        read_to_end(log, names.of(id), |record| {
            epoch = epoch.max(epoch_of(&record).unwrap_or(0));
            for (topic, partition, offset) in records_read(id, topic, &record, &digests) {
                read.advance(TopicPartition::new(topic, partition), Reached { next: offset + 1, ..Reached::default() });
            }
            Ok::<(), EngineError>(())
        })?;
    }
    for topic in options.inputs.keys() {
        for (partition, ends) in (0..).zip(log.watermarks(topic)?.unwrap_or_default()) {
            read.advance(
                TopicPartition::new(topic.clone(), partition),
                Reached { next: ends.low, ..Reached::default() },
            );
        }
    }
    for table in options.table_topics() {
        for (at, high) in partitions(log, &table)? {
            read.advance(at, Reached { next: high, ..Reached::default() });
        }
    }
    Ok(Progress {
        format: FORMAT,
        epoch,
        positions: read.to_vec(),
        watermark: None,
        results: 0,
        extraction: 0,
        ends: Vec::new(),
        rebuilding: Some(Rebuilding::Begun),
        agreed: None,
        // Readers begin anew: which commit was the last one is not known.
        lineage: None,
        commit: 0,
        written: BTreeMap::new(),
    })
}

/// Input records that had been read when `record` of `topic` was written: topic, partition, offset.
fn records_read(
    id: TopicId,
    topic: &Topic,
    record: &LogRecord,
    digests: &BTreeMap<u32, &str>,
) -> Vec<(String, i32, i64)> {
    let text = |name: &str| record.header(name).and_then(|value| std::str::from_utf8(value).ok());
    let value = record.value.as_deref().unwrap_or_default();
    match (id, topic.spec.positions) {
        (TopicId::PROGRESS, _) => {
            let seen = serde_json::from_slice::<SeenProgress>(value).map(|seen| seen.positions).unwrap_or_default();
            seen.into_iter().map(|one| (one.topic, one.partition, one.next - 1)).collect()
        }
        (TopicId::DEAD_LETTERS, _) => {
            let number = |name: &str| text(name)?.parse::<i64>().ok();
            let topic = text(header::TOPIC).map(str::to_owned);
            let (partition, offset) = (number(header::PARTITION), number(header::OFFSET));
            let known = topic.zip(partition).zip(offset);
            known.map(|((topic, partition), offset)| (topic, partition as i32, offset)).into_iter().collect()
        }
        (_, Some(positions)) => {
            let known = |at: InputPosition| Some(((*digests.get(&at.topic)?).to_owned(), at.partition, at.offset));
            positions(value).into_iter().filter_map(known).collect()
        }
        (_, None) => Vec::new(),
    }
}

fn tables_moved(log: &dyn Log, options: &EngineOptions, progress: &Progress) -> Result<bool, EngineError> {
    let known = Positions::from(&*progress.positions);
    for table in options.table_topics() {
        for (at, high) in partitions(log, &table)? {
            if high > known.next(&at).unwrap_or(0) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// The last progress record on `topic`. Reads backwards from the end, since one is written with every commit and
/// compaction comes late.
///
/// # Errors
/// When the log fails.
pub fn last_progress_record(log: &dyn Log, topic: &str) -> Result<Option<LogRecord>, LogError> {
    let mut last: Option<LogRecord> = None;
    for (partition, ends) in (0..).zip(log.watermarks(topic)?.unwrap_or_default()) {
        let found = read_last(log, &TopicPartition::new(topic, partition), ends, is_progress)?;
        // Where the topic was given partitions, the record that was written last counts.
        if found.as_ref().map(epoch_of) > last.as_ref().map(epoch_of) {
            last = found;
        }
    }
    Ok(last)
}

/// Whether the engine has written it as its progress: what somebody else wrote says nothing.
fn is_progress(record: &LogRecord) -> bool {
    record.key.as_deref() == Some(PROGRESS_KEY) && epoch_of(record).is_some()
}

fn last_progress(log: &dyn Log, names: &TopicNames) -> Result<Option<Progress>, EngineError> {
    let topic = names.of(TopicId::PROGRESS);
    let Some(record) = last_progress_record(log, topic)? else { return Ok(None) };
    progress_of(&record).transpose().map_err(|reason| {
        let reason =
            format!("the progress record at partition {}, offset {}: {reason}", record.partition, record.offset);
        EngineError::State { topic: topic.to_owned(), reason }
    })
}

/// What a record of the topic `progress` says, or what is wrong with it; `None` where the engine did not write it.
pub fn progress_of(record: &LogRecord) -> Option<Result<Progress, String>> {
    record.value.as_deref().filter(|_| is_progress(record)).map(parse_progress)
}

/// Reads a progress record of any known format.
///
/// # Errors
/// What is wrong with it.
pub fn parse_progress(bytes: &[u8]) -> Result<Progress, String> {
    #[derive(Deserialize)]
    struct Format {
        format: u64,
    }
    let format = serde_json::from_slice::<Format>(bytes).map_err(|error| error.to_string())?.format;
    if !(1..=u64::from(FORMAT)).contains(&format) {
        return Err(format!("it is of format {format}; this version reads formats up to {FORMAT}"));
    }
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

/// The epoch of the last progress record.
///
/// # Errors
/// When the log fails, or the record cannot be used.
pub fn last_epoch(log: &dyn Log, names: &TopicNames) -> Result<Option<Epoch>, EngineError> {
    Ok(last_progress(log, names)?.map(|progress| progress.epoch))
}

/// The ends of all output partitions but those of `progress` and of families.
///
/// # Errors
/// When the log fails.
pub fn output_ends(log: &dyn Log, catalog: &Catalog, names: &TopicNames) -> Result<Vec<OutputEnd>, EngineError> {
    let mut ends = Vec::new();
    for (id, topic) in catalog.topics().filter(|(_, topic)| !matches!(topic.kind, Kind::Progress | Kind::Family)) {
        let name = names.of(id);
        for (partition, mut watermarks) in (0..).zip(log.watermarks(name)?.unwrap_or_default()) {
            if !topic.is_compacted() {
                // Retention moves it, and nothing follows from that.
                watermarks.low = 0;
            }
            ends.push(OutputEnd { topic: name.to_owned(), partition, watermarks });
        }
    }
    Ok(ends)
}

/// The partitions of a topic with their ends; none where there is no such topic.
///
/// # Errors
/// When the log fails.
pub fn partitions(log: &dyn Log, topic: &str) -> Result<Vec<(TopicPartition, i64)>, EngineError> {
    let ends = log.watermarks(topic)?.unwrap_or_default();
    Ok((0..).zip(ends).map(|(partition, ends)| (TopicPartition::new(topic, partition), ends.high)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Schema, Spec, json_codec};

    #[test]
    fn progress_of_the_former_format_is_read_and_of_a_newer_one_refused() {
        let former = br#"{"format":1,"epoch":7,"positions":[{"topic":"raw","partition":0,"next":3,"maxTimestamp":5}],
            "watermark":null,"results":1,"extraction":2,"ends":[{"topic":"events","partition":0,"low":0,"high":4}]}"#;
        let progress = parse_progress(former).unwrap();
        assert_eq!((progress.epoch, progress.rebuilding, progress.agreed), (7, None, None));
        assert!(parse_progress(br#"{"format":9}"#).unwrap_err().contains("format 9"));
        assert!(parse_progress(b"{}").is_err());
        assert!(parse_progress(b"\xff").is_err());
    }

    /// A catalog of a state that nothing can replace, of one that can be filled again, and of rows.
    fn catalog() -> std::sync::Arc<Catalog> {
        let mut schema = Schema::default();
        let (codec, reader) = json_codec::<String, i64>();
        schema.state("listings", codec.clone(), reader.clone(), Spec::default());
        let when_lost = WhenLost::Note("ids are given anew");
        schema.state("links", codec.clone(), reader, Spec { when_lost, ..Spec::default() });
        schema.rows("events", codec, Spec::default());
        schema.freeze().unwrap()
    }

    #[test]
    fn an_emptied_topic_is_noted_and_emptied_state_is_an_error() {
        let catalog = catalog();
        let names = TopicNames::new("t.", &catalog);
        let end = |topic: &str, high| OutputEnd {
            topic: topic.to_owned(),
            partition: 0,
            watermarks: Watermarks { low: 0, high },
        };
        let mut progress = parse_progress(
            br#"{"format":1,"epoch":7,"positions":[],"watermark":null,"results":1,"extraction":2,"ends":[]}"#,
        )
        .unwrap();
        progress.ends = vec![end("t.events", 9), end("t.links", 9), end("t.listings", 9), end("t.former", 9)];
        let now = [end("t.events", 0), end("t.links", 8), end("t.listings", 12)];
        let expected = [
            "topic \"t.events\" was emptied or made anew",
            "topic \"t.links\" was emptied or made anew: ids are given anew",
        ];
        assert_eq!(emptied(&progress, &now, &catalog, &names).unwrap(), expected);
        let error = emptied(&progress, &now[..2], &catalog, &names).unwrap_err().to_string();
        assert!(error.contains("t.listings") && error.contains("offset 0, but 9"), "{error}");
    }

    #[test]
    fn ends_are_the_same_in_any_order() {
        let end = |topic: &str, high| OutputEnd {
            topic: topic.to_owned(),
            partition: 0,
            watermarks: Watermarks { low: 0, high },
        };
        assert!(same_ends(&[end("a", 1), end("b", 2)], &[end("b", 2), end("a", 1)]));
        assert!(!same_ends(&[end("a", 1), end("b", 2)], &[end("b", 2), end("a", 2)]));
        assert!(!same_ends(&[end("a", 1)], &[end("a", 1), end("b", 0)]));
    }
}
