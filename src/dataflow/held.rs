//! What the output topics hold, against which a start compares what the state implies.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, Ordering};

use headwater_flow::Epoch;
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_128;

use super::names::TopicNames;
use super::record::{OutRecord, epoch_of};
use crate::log::{Log, LogError, read_to_end};
use crate::schema::{Catalog, TopicId};

/// What the output tables hold: a digest of the value for each key.
#[derive(Debug, Default)]
pub struct HeldRows {
    tables: HashMap<TopicId, HashMap<Box<[u8]>, Row>>,
}

#[derive(Debug)]
struct Row {
    /// `None` for a tombstone, while the table is being read.
    digest: Option<u128>,
    /// Where and when it was written: a topic may have gained partitions since.
    partition: i32,
    epoch: Epoch,
    /// Whether the state said something of this key.
    met: AtomicBool,
}

/// How one row has to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    /// It is missing.
    New,
    /// It says something else.
    Changed,
    /// The state does not imply it.
    Removed,
}

impl HeldRows {
    /// Reads all output tables to their committed ends, each on a thread of its own. Records of
    /// epochs after `cut` are left out.
    ///
    /// # Errors
    /// When the log fails.
    pub fn read(log: &dyn Log, catalog: &Catalog, names: &TopicNames, cut: Option<Epoch>) -> Result<Self, LogError> {
        let read = |topic: TopicId| move || Ok((topic, read_table(log, names.of(topic), cut)?));
        std::thread::scope(|scope| {
            let threads: Vec<_> = catalog.compared().map(|topic| scope.spawn(read(topic))).collect();
            let join = |thread: std::thread::ScopedJoinHandle<'_, _>| match thread.join() {
                Ok(read) => read,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            Ok(Self { tables: threads.into_iter().map(join).collect::<Result<_, LogError>>()? })
        })
    }

    /// Rows held.
    pub fn len(&self) -> usize {
        self.tables.values().map(HashMap::len).sum()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rows that the state said nothing of, by topic.
    pub fn unmet(&self) -> impl Iterator<Item = (TopicId, &[u8])> {
        self.tables.iter().flat_map(|(topic, table)| {
            let unmet = table.iter().filter(|(_, row)| !row.met.load(Ordering::Relaxed));
            unmet.map(|(key, _)| (*topic, &**key))
        })
    }

    /// Rows of one table.
    pub fn rows(&self, topic: TopicId) -> usize {
        self.tables.get(&topic).map_or(0, HashMap::len)
    }

    /// How many keys of `topic` are not among the keys of `of`.
    pub fn missing(&self, topic: TopicId, of: TopicId) -> usize {
        let Some(table) = self.tables.get(&topic) else { return 0 };
        let other = self.tables.get(&of);
        table.keys().filter(|key| !other.is_some_and(|other| other.contains_key(*key))).count()
    }

    /// Notes that the state implies `record`; says how its row has to change, if at all.
    pub fn meet(&self, record: &OutRecord) -> Option<Change> {
        let row = record.key.as_deref().and_then(|key| self.tables.get(&record.topic)?.get(key));
        match (row, &record.value) {
            (None, None) => None,
            (None, Some(_)) => Some(Change::New),
            (Some(row), value) => {
                row.met.store(true, Ordering::Relaxed);
                let Some(value) = value else { return Some(Change::Removed) };
                (row.digest != Some(xxh3_128(value))).then_some(Change::Changed)
            }
        }
    }
}

fn read_table(log: &dyn Log, topic: &str, cut: Option<Epoch>) -> Result<HashMap<Box<[u8]>, Row>, LogError> {
    let mut table = HashMap::new();
    read_to_end(log, topic, |record| {
        if cut.is_some_and(|cut| epoch_of(&record).is_some_and(|epoch| epoch > cut)) {
            return Ok(());
        }
        let epoch = epoch_of(&record).unwrap_or(0);
        let Some(key) = record.key else { return Ok(()) };
        let row = Row {
            digest: record.value.as_deref().map(xxh3_128),
            partition: record.partition,
            epoch,
            met: AtomicBool::new(false),
        };
        match table.entry(key.into_boxed_slice()) {
            Entry::Occupied(mut known) => {
                let known: &mut Row = known.get_mut();
                if row.partition == known.partition || row.epoch > known.epoch {
                    *known = row;
                }
            }
            Entry::Vacant(vacant) => {
                vacant.insert(row);
            }
        }
        Ok::<(), LogError>(())
    })?;
    table.retain(|_, row| row.digest.is_some());
    Ok(table)
}

impl FromIterator<OutRecord> for HeldRows {
    /// As if they had been read.
    fn from_iter<I: IntoIterator<Item = OutRecord>>(rows: I) -> Self {
        let mut held = Self::default();
        for row in rows {
            let digest = row.value.as_deref().map(xxh3_128);
            let key = row.key.unwrap_or_default().to_vec().into_boxed_slice();
            let read = Row { digest, partition: 0, epoch: 0, met: AtomicBool::new(false) };
            held.tables.entry(row.topic).or_default().insert(key, read);
        }
        held
    }
}
