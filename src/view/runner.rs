//! The thread that keeps one store up to date.
//!
//! It works in sessions. A session opens the store, claims it, reads the offsets, decides whether
//! to resume or to rebuild, opens a reader there, and applies batches until it is stopped or
//! something fails. After a failure that may pass, the next session begins after a pause; it
//! trusts nothing but what the store then says.
//!
//! Where a store takes several writers, the partitions are dealt out among them, each writer with
//! its own connection, reader and transactions: a key is in one partition, so that writers share no
//! row, and the offsets of a partition move with its rows as ever. What one of them cannot go on
//! with ends the session of all.
//!
//! A writer that is behind reads ahead: while the store takes one batch, another thread reads the
//! next one and makes rows of it, and goes on reading until the store is free or the batch is full.
//! The more is unread, the larger the batches are, and the fewer of their records need be written:
//! of each key the last one.
//!
//! # Invariants
//!
//! 1. Rows and offsets of a batch are written in one transaction: of each partition the tables show
//!    exactly the records before its offset. (Tests `tables_are_the_fold_of_the_records`,
//!    `a_view_survives_the_loss_of_its_connection_at_any_moment`; `tests/e2e/suites/crash` kills at every step.)
//! 2. An offset moves from where this instance left it, and never back. (An assertion in `Writing::step`;
//!    tests `offsets_move_only_from_where_they_are_expected`, `of_two_racing_writers_each_offset_is_moved_by_one`.)
//! 3. A partition has one writer in a session. (An assertion in `Writing::step`; test
//!    `every_partition_has_one_writer`.)
//! 4. Records of a partition are read in the order of their offsets, none twice. (An assertion in
//!    `Reading::push`.)
//! 5. A position that is shown is one that is written, or the end of a partition with nothing unwritten before
//!    it. (An assertion in `Session::publish`.)
//! 6. Only the newest instance writes. (Tests `a_superseded_instance_cannot_write`,
//!    `the_newest_of_two_views_stays_and_the_other_says_why_it_ended`.)
//! 7. A record that is read is applied, or it is logged and counted as skipped. (Test
//!    `values_that_cannot_be_stored_are_left_out_and_the_rest_goes_on`.)
//! 8. Tables that are to be made anew are emptied before anything is written, by this session or the next.
//!    (Test `a_rebuild_that_fails_is_done_by_the_next_session`.)

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::context::{Context, Share, lag};
use super::error::ViewError;
use super::rebuild::{Rebuild, why_rebuild};
use super::session::{Session, work_together};
use super::status::WriterState;
use super::store::{Generation, OpenStore, ViewStore};
use crate::error::{Failure, Fatal, Fault, Transient};
use crate::fail_point::FailPoint;
use crate::log::{LogError, TopicPartition};

pub(super) struct Runner {
    context: Context,
    open: OpenStore,
    generation: Option<Generation>,
    /// Set when reading showed that the offsets are no good.
    rebuild: Option<Rebuild>,
}

impl Runner {
    pub fn new(context: Context, open: OpenStore) -> Self {
        Self { context, open, generation: None, rebuild: None }
    }

    /// Runs sessions until the view is to stop, or something fails for good.
    pub fn run(mut self) {
        while !self.context.stopping() {
            let Err(error) = self.session() else { return };
            let Context { name, shared, meters, .. } = &self.context;
            let error = match error.judged() {
                Failure::Fatal(Fatal(error)) => {
                    tracing::error!(view = name, %error, "the view has ended");
                    shared.update(|state| state.failure = Some(Arc::new(error)));
                    return;
                }
                Failure::Transient(Transient(error)) => error,
            };
            let pause = self.context.backoff().pause();
            meters.retries.increment(1);
            tracing::warn!(view = name, %error, pause_ms = pause.as_millis() as u64, "the view will try again");
            shared.update(|state| state.status.trouble = Some(error.to_string()));
            self.note_gone(&error);
            self.context.sleep(pause);
        }
    }

    fn note_gone(&mut self, error: &ViewError) {
        if let ViewError::Log(LogError::OffsetGone { topic, partition, offset, low }) = error {
            let partition = TopicPartition::new(topic.as_str(), *partition);
            self.rebuild = Some(Rebuild::Gone { partition, next: *offset, low: *low });
        }
    }

    /// Works until it is told to stop.
    fn session(&mut self) -> Result<(), ViewError> {
        let mut store = (self.open)()?;
        FailPoint::ViewOpened.reach();
        let generation = store.claim(self.generation)?;
        self.generation = Some(generation);
        FailPoint::ViewClaimed.reach();
        let marks = self.context.watermarks()?;
        let mut stored = store.offsets()?;
        let why = self.rebuild.take().or_else(|| why_rebuild(&stored, &marks, self.context.options.rebuild_after));
        if let Some(why) = why {
            self.announce(&why);
            if let Err(error) = store.reset() {
                self.rebuild = Some(why);
                return Err(error);
            }
            FailPoint::ViewReset.reach();
            stored.clear();
        }
        let widest = marks.keys().map(|at| at.partition.unsigned_abs() as usize + 1).max().unwrap_or(1);
        let stores = self.writers(store, generation, widest)?;
        let over = AtomicBool::new(false);
        let writers = stores.len();
        self.context.shared.update(|state| {
            state.status.positions = stored.iter().map(|(at, stored)| (at.clone(), stored.next)).collect();
            let next = |at: &TopicPartition| stored.get(at).map(|stored| stored.next);
            let lag = |number| lag(&marks, next, Share { number, writers });
            state.set_writers((0..writers).map(|number| WriterState { lag: lag(number), works: false }).collect());
        });
        let sessions = stores.into_iter().enumerate().map(|(number, store)| {
            Session::new(&self.context, &over, Share { number, writers }, store, &stored, &marks)
        });
        work_together(&self.context.name, sessions.collect::<Result<_, _>>()?)
    }

    /// As many connections as the store makes use of, and at most one for each of `partitions`.
    fn writers(
        &mut self,
        first: Box<dyn ViewStore>,
        generation: Generation,
        partitions: usize,
    ) -> Result<Vec<Box<dyn ViewStore>>, ViewError> {
        let wanted = first.writers().min(partitions);
        let mut stores = vec![first];
        while stores.len() < wanted {
            match (self.open)() {
                Ok(mut store) => {
                    store.claim(Some(generation))?;
                    stores.push(store);
                }
                // Such as a server that has no connection left: slower is better than not at all.
                Err(error) => {
                    tracing::warn!(view = self.context.name, %error, writers = stores.len(), "fewer writers than wanted");
                    break;
                }
            }
        }
        Ok(stores)
    }

    fn announce(&self, why: &Rebuild) {
        let Context { name, meters, shared, .. } = &self.context;
        if *why == Rebuild::New {
            tracing::info!(view = name, "the view reads the topics from the beginning");
            return;
        }
        tracing::warn!(view = name, %why, "the view empties its tables and reads the topics from the beginning");
        meters.rebuilds.increment(1);
        shared.update(|state| state.status.rebuilds += 1);
    }
}
