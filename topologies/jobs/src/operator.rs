//! The scheduler in a dataflow: one operator that works on the first worker.
//!
//! It takes complete epochs in their order. Where no record arrives, it holds its capability at the frontier and steps
//! once that epoch is complete, if something is due. So each epoch is decided once, and each row changes at most once in
//! it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use headwater_flow::epochs::{CompleteEpochs, least};
use headwater_flow::{DeadLetter, Epoch};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use crate::message::{Message, Received};
use crate::model::{Notification, Phase, RunFact, ScheduleText};
use crate::scheduler::{Changes, Input, Scheduler, SchedulerSettings};

/// Changes of rows, by key.
type RowChanges<'s, K> = StreamVec<'s, Epoch, (K, Option<Bytes>)>;

/// What the scheduler gives.
pub(crate) struct Scheduled<'s> {
    pub(crate) jobs: RowChanges<'s, Arc<str>>,
    pub(crate) leases: RowChanges<'s, String>,
    pub(crate) queues: RowChanges<'s, Arc<str>>,
    pub(crate) settings: RowChanges<'s, Arc<str>>,
    pub(crate) schedules: RowChanges<'s, Arc<str>>,
    pub(crate) runs: StreamVec<'s, Epoch, RunFact>,
    pub(crate) notifications: StreamVec<'s, Epoch, Notification>,
    pub(crate) letters: StreamVec<'s, Epoch, DeadLetter>,
    /// By how many the jobs of a phase have changed.
    pub(crate) phases: StreamVec<'s, Epoch, (Phase, i64)>,
}

/// How many outputs there are.
const OUTPUTS: usize = 9;

/// What is complete of an epoch.
#[derive(Default)]
struct Batch {
    input: Input,
    restored: Vec<Message>,
    schedules: BTreeMap<Arc<str>, Texts>,
}

/// What has come (1) and gone (-1) of a schedule. An epoch may hold several words on one, and the epoch that restores
/// holds all that the log has.
type Texts = BTreeMap<ScheduleText, isize>;

/// The text that has come and has not gone again.
fn standing(texts: Texts) -> Option<ScheduleText> {
    texts.into_iter().find(|(_, diff)| *diff > 0).map(|(text, _)| text)
}

impl Batch {
    fn push(&mut self, message: Message) {
        match message {
            Message::Command(received) => {
                let Received { command, record } = *received;
                self.input.commands.push((command, record));
            }
            Message::Schedule(name, text, diff) => {
                *self.schedules.entry(name).or_default().entry(text).or_default() += diff;
            }
            restored => self.restored.push(restored),
        }
    }

    /// The input, with what became of each schedule.
    fn into_input(mut self) -> Input {
        for (name, texts) in self.schedules {
            // One that is as it was before has not changed.
            if texts.values().any(|diff| *diff != 0) {
                self.input.schedules.push((name, standing(texts)));
            }
        }
        self.input
    }
}

/// Restores the scheduler, and tells the rows that follow.
fn restore(scheduler: &mut Scheduler, batch: Batch) -> Changes {
    let Batch { restored, schedules, .. } = batch;
    for message in restored {
        match message {
            Message::Job(job) => scheduler.restore_job(job.0),
            Message::Queue(name, told) => scheduler.restore_queue(&name, told),
            Message::ScheduleRow(row) => scheduler.restore_schedule(row.0),
            Message::Command(_) | Message::Schedule(..) => {}
        }
    }
    let texts = schedules.into_iter().filter_map(|(name, texts)| Some((name, standing(texts)?)));
    texts.for_each(|(name, text)| scheduler.restore_definition(name, text));
    scheduler.restored()
}

/// Lets a scheduler decide on `messages`. What comes at `restored_epoch` is what was there before.
pub(crate) fn schedule<'s>(
    messages: StreamVec<'s, Epoch, (Message, Epoch)>,
    settings: SchedulerSettings,
    restored_epoch: Epoch,
) -> Scheduled<'s> {
    let scope = messages.scope();
    let works_here = scope.index() == 0;
    let mut builder = OperatorBuilder::new("jobs/Scheduler".to_owned(), scope);
    let mut input = builder.new_input(messages, Exchange::new(|_: &(Message, Epoch)| 0));
    let (jobs_out, jobs) = builder.new_output();
    let (leases_out, leases) = builder.new_output();
    let (queues_out, queues) = builder.new_output();
    let (settings_out, queue_settings) = builder.new_output();
    let (schedules_out, schedules) = builder.new_output();
    let (runs_out, runs) = builder.new_output();
    let (notifications_out, notifications) = builder.new_output();
    let (letters_out, letters) = builder.new_output();
    let (phases_out, phases) = builder.new_output();
    builder.build(move |capabilities| {
        let mut jobs_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(jobs_out);
        let mut leases_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(leases_out);
        let mut queues_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(queues_out);
        let mut settings_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(settings_out);
        let mut schedules_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(schedules_out);
        let mut runs_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(runs_out);
        let mut notifications_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(notifications_out);
        let mut letters_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(letters_out);
        let mut phases_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(phases_out);
        let mut give = move |at: &[Capability<Epoch>], changes: Changes| {
            macro_rules! give {
                ($out:ident, $place:literal, $rows:expr) => {
                    let rows = $rows;
                    if let Some(capability) = at.get($place).filter(|_| !rows.is_empty()) {
                        $out.activate().session(capability).give_iterator(rows.into_iter());
                    }
                };
            }
            give!(jobs_out, 0, changes.jobs);
            give!(leases_out, 1, changes.leases);
            give!(queues_out, 2, changes.queues);
            give!(settings_out, 3, changes.settings);
            give!(schedules_out, 4, changes.schedules);
            give!(runs_out, 5, changes.runs);
            give!(notifications_out, 6, changes.notifications);
            give!(letters_out, 7, changes.letters);
            give!(phases_out, 8, changes.phases);
        };
        let mut epochs: CompleteEpochs<Batch> = CompleteEpochs::new(OUTPUTS);
        let mut scheduler = Scheduler::new(settings);
        // Held at the frontier, so that something may happen although no record arrives.
        let mut held = if works_here { capabilities } else { Vec::new() };
        move |frontiers| {
            input.for_each(|capability, data| {
                data.drain(..).for_each(|(message, epoch)| epochs.at(&capability, epoch).push(message));
            });
            let now = frontiers.first().and_then(|frontier| least(frontier.frontier()));
            let quiet = held.first().map(|held| *held.time()).filter(|held| *held > restored_epoch);
            let mut quiet = quiet.filter(|held| now.is_none_or(|now| *held < now));
            let mut step_quiet =
                |scheduler: &mut Scheduler, give: &mut dyn FnMut(&[Capability<Epoch>], Changes), before| {
                    let Some(epoch) = quiet.take().filter(|epoch| *epoch < before) else { return };
                    if scheduler.next_due().is_some_and(|due| due <= epoch as i64) {
                        give(&held, scheduler.step(epoch as i64, Input::default()));
                    }
                };
            while let Some(complete) = epochs.next(frontiers) {
                step_quiet(&mut scheduler, &mut give, complete.epoch);
                let changes = if complete.epoch <= restored_epoch {
                    restore(&mut scheduler, complete.input)
                } else {
                    scheduler.step(complete.epoch as i64, complete.input.into_input())
                };
                give(&complete.capabilities, changes);
            }
            step_quiet(&mut scheduler, &mut give, Epoch::MAX);
            match now {
                Some(now) => held.iter_mut().for_each(|held| held.downgrade(&now)),
                None => held.clear(),
            }
        }
    });
    Scheduled { jobs, leases, queues, settings: queue_settings, schedules, runs, notifications, letters, phases }
}
