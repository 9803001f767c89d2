//! What is to be replayed: the records of the dead letters that were meant.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use headwater_flow::raw::DeadLetterCode;
use serde::Serialize;

use super::error::LettersError;
use super::id::LetterId;
use super::letter::{Done, Filter, Letter, Origin, Standing, Version, each_letter};
use crate::config::Runtime;
use crate::log::{Log, TopicPartition};

/// What to replay, and how.
#[derive(Debug, Clone, Default)]
pub struct ReplayOptions {
    /// Which dead letters.
    pub filter: Filter,
    /// At most so many records, the oldest dead letters first.
    pub limit: Option<usize>,
    /// Put them on this topic (with or without the prefix), not on those that they came from.
    pub to_topic: Option<String>,
    /// Also what was replayed before.
    pub again: bool,
    /// Also what is parked.
    pub parked: bool,
    /// Also where the topic has newer records.
    pub force: bool,
    /// Change nothing, only say what would be done.
    pub dry_run: bool,
    /// Consent to any number.
    pub yes: bool,
    /// Records a second, at most.
    pub rate: Option<u32>,
    /// Show a progress bar on a terminal.
    pub progress: bool,
}

/// Why dead letters that were meant were left out; numbers of dead letters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Skipped {
    /// They were replayed before.
    pub replayed: u64,
    /// Their records have failed too often.
    pub parked: u64,
    /// The topic has a newer record of the same document or listing.
    pub outdated: u64,
    /// They hold a part of a record, and the record is no longer on its topic.
    pub gone: u64,
    /// They are of an output that was too large, not of a record of an input.
    pub no_record: u64,
    /// With what a replay adds, the record is larger than its topic takes.
    pub too_large: u64,
}

/// A record to be replayed.
#[derive(Debug, Clone)]
pub(super) struct Work {
    pub(super) origin: Origin,
    /// Place of the record that it repeats, or its own.
    pub(super) version: Version,
    pub(super) source: Option<String>,
    pub(super) key: Option<Vec<u8>>,
    pub(super) attempts: u32,
    /// Whether its bytes have to be read from its topic.
    pub(super) excerpt: bool,
    /// The dead letters that are done with it, the first of them one that was meant.
    pub(super) letters: Vec<LetterId>,
    order: (i64, LetterId),
}

/// What is to be replayed.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) works: Vec<Work>,
    pub(super) skipped: Skipped,
}

impl Plan {
    pub(super) fn read(log: &dyn Log, config: &Runtime, options: &ReplayOptions) -> Result<Self, LettersError> {
        let done = Done::read(log, config)?;
        let mut plan = Self::default();
        let mut works: BTreeMap<Origin, Work> = BTreeMap::new();
        // Parts that were not meant are done too when their record is replayed.
        let mut siblings: HashMap<Origin, Vec<LetterId>> = HashMap::new();
        let mut unknown: BTreeSet<LetterId> = options.filter.ids.iter().copied().collect();
        each_letter(log, config, &done, |letter, standing| {
            let skipped = &mut plan.skipped;
            unknown.remove(&letter.id);
            let (id, origin) = (letter.id, letter.origin.clone());
            if !options.filter.lets(&letter) {
                if let Some(origin) = origin.filter(|_| letter.excerpt && standing != Standing::Replayed) {
                    siblings.entry(origin).or_default().push(id);
                }
                return;
            }
            match standing {
                Standing::Replayed if !options.again => return skipped.replayed += 1,
                Standing::Parked if !options.parked => return skipped.parked += 1,
                _ => {}
            }
            let whole = letter.code != DeadLetterCode::OUTPUT_TOO_LARGE.as_str();
            let Some((origin, version)) = origin.zip(letter.version).filter(|_| whole) else {
                return skipped.no_record += 1;
            };
            let order = letter.order();
            let work = works.entry(origin.clone()).or_insert_with(|| Work::new(origin, version, &letter));
            work.letters.push(id);
            work.excerpt &= letter.excerpt;
            work.order = work.order.min(order);
        })?;
        if let Some(id) = unknown.pop_first() {
            return Err(LettersError::NoLetter { id });
        }
        plan.works = works.into_values().collect();
        plan.works.sort_by_key(|work| work.order);
        plan.works.truncate(options.limit.unwrap_or(usize::MAX));
        for work in &mut plan.works {
            work.letters.extend(siblings.remove(&work.origin).unwrap_or_default());
        }
        Ok(plan)
    }
}

impl Work {
    fn new(origin: Origin, version: Version, letter: &Letter) -> Self {
        Self {
            origin,
            version,
            source: letter.source.clone(),
            key: letter.key.clone(),
            attempts: letter.attempts,
            excerpt: true,
            letters: Vec::new(),
            order: letter.order(),
        }
    }

    pub(super) fn place(&self) -> TopicPartition {
        TopicPartition::new(Arc::clone(&self.origin.topic), self.origin.partition)
    }
}
