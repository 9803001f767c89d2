//! Writing: batches into a store, and how far it is.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use super::batch::{Batch, Step, ends_of};
use super::context::{Context, Share};
use super::error::ViewError;
use super::reading::ReadRows;
use super::store::{Stored, ViewStore};
use crate::fail_point::FailPoint;
use crate::log::{LogRecord, TopicPartition};

/// What is written to a store, and how far.
pub(super) struct Writing<'r> {
    context: &'r Context,
    /// Its share of the partitions.
    share: Share,
    store: Box<dyn ViewStore>,
    /// The offsets that the store holds.
    stored: HashMap<TopicPartition, i64>,
}

impl<'r> Writing<'r> {
    /// Writes to `store`, which holds the offsets `stored`.
    pub fn new(
        context: &'r Context,
        share: Share,
        store: Box<dyn ViewStore>,
        stored: &BTreeMap<TopicPartition, Stored>,
    ) -> Self {
        let own = stored.iter().filter(|(at, _)| share.has(at));
        let stored = own.map(|(at, stored)| (at.clone(), stored.next)).collect();
        Self { context, share, store, stored }
    }

    /// Whether the store holds this offset of a partition.
    pub fn holds(&self, partition: &TopicPartition, next: i64) -> bool {
        self.stored.get(partition) == Some(&next)
    }

    fn step(&self, partition: &TopicPartition, next: i64) -> Step {
        let expected = self.stored.get(partition).copied();
        debug_assert!(self.share.has(partition), "invariant 3: {partition:?} belongs to another writer");
        debug_assert!(expected.is_none_or(|held| held <= next), "invariant 2: {partition:?} goes back to {next}");
        Step { partition: partition.clone(), expected, next }
    }

    fn written(&mut self, steps: Vec<Step>) {
        self.stored.extend(steps.into_iter().map(|step| (step.partition, step.next)));
    }

    /// Applies `records`, in batches of at most `limit` of them.
    pub fn write_all(&mut self, records: &[LogRecord], limit: usize) -> Result<(), ViewError> {
        for records in records.chunks(limit.max(1)) {
            self.read_and_write(records)?;
        }
        Ok(())
    }

    fn read_and_write(&mut self, records: &[LogRecord]) -> Result<(), ViewError> {
        self.write(&mut ReadRows::read(records, self.context.topics(), self.store.preparation())?)
    }

    /// Applies the rows of `records`. When the store does not take them, halves find the one that
    /// it is, and that one is left out: a single value must not hold back all others for ever.
    pub fn write(&mut self, rows: &mut ReadRows<'_>) -> Result<(), ViewError> {
        let ReadRows { records, batch } = rows;
        batch.steps = ends_of(records).iter().map(|(at, next)| self.step(at, *next)).collect();
        let started = Instant::now();
        let result = self.store.apply(batch);
        match result {
            Ok(()) => {
                FailPoint::ViewCommitted.reach();
                self.context.applied(self.share.number, records.len(), batch.rows(), batch.skipped, started.elapsed());
                self.written(std::mem::take(&mut batch.steps));
                Ok(())
            }
            Err(error @ ViewError::Rejected { .. }) if records.len() > 1 => {
                tracing::debug!(%error, records = records.len(), "looking for the record that the store rejects");
                let (first, second) = records.split_at(records.len() / 2);
                self.read_and_write(first)?;
                self.read_and_write(second)
            }
            Err(error @ ViewError::Rejected { .. }) => {
                if let Some(record) = records.first() {
                    tracing::error!(
                        view = self.context.name, topic = &*record.topic, partition = record.partition,
                        offset = record.offset, %error, "left out a record that the store rejects"
                    );
                }
                let nothing = Batch { steps: std::mem::take(&mut batch.steps), ..Batch::default() };
                self.store.apply(&nothing)?;
                self.context.applied(self.share.number, 1, 0, 1, started.elapsed());
                self.written(nothing.steps);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
    /// Writes offsets without rows, and lets go of dead letters that the log no longer has.
    pub fn move_offsets(
        &mut self,
        offsets: Vec<(&TopicPartition, i64)>,
        forget: Vec<(TopicPartition, i64)>,
    ) -> Result<(), ViewError> {
        let steps = offsets.into_iter().map(|(at, next)| self.step(at, next)).collect();
        let batch = Batch { steps, forget, ..Batch::default() };
        self.store.apply(&batch)?;
        self.written(batch.steps);
        Ok(())
    }
}
