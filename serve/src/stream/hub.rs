//! The hub: from the changes of a commit to the queues of all streams that can see them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use super::classes::{Classes, rarest};
use super::frame;
use super::queue::SharedQueue;
use super::subject::Subject;
use crate::history::Changes;
use crate::live::Live;

/// Passes on what changes.
pub struct Hub {
    live: Arc<Live>,
    topology: String,
    state: Mutex<State>,
    ending: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    classes: Classes,
    ended: bool,
}

impl Hub {
    /// A hub for what `live` serves.
    pub fn new(live: Arc<Live>) -> Arc<Self> {
        Self::named(live, String::new())
    }

    /// A hub for what `live` serves of a topology.
    pub fn named(live: Arc<Live>, topology: String) -> Arc<Self> {
        Arc::new(Self { live, topology, state: Mutex::default(), ending: watch::Sender::default() })
    }

    /// The name of the topology; empty where it has none.
    pub fn topology(&self) -> &str {
        &self.topology
    }

    /// What it passes on the changes of.
    pub fn live(&self) -> &Arc<Live> {
        &self.live
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins the class of a subject, which all of its streams share. Frames come from the next commit on.
    pub(super) fn join(&self, subject: Subject) -> (Arc<Subject>, SharedQueue) {
        let queue = SharedQueue::default();
        let by = {
            let served = self.live.read();
            rarest(&subject.filter, |attribute, value| served.index.frequency(attribute, value))
        };
        let mut state = self.state();
        if state.ended {
            queue.end();
        }
        let subject = state.classes.join(subject, &queue, by);
        (subject, queue)
    }

    /// Passes on the changes of a commit that the index shows.
    pub fn publish(&self, changes: &Changes) {
        let position = self.live.position(changes.commit);
        self.state().classes.for_each(changes, |subject, seen, queues| {
            let frame = frame::of_commit(subject, seen.iter().copied(), position).map(Bytes::from);
            queues.iter().for_each(|queue| queue.push(changes.commit, frame.as_ref()));
        });
    }

    /// Lets all streams begin again: what is served is another log.
    pub fn begin_again(&self) {
        self.state().classes.queues().for_each(|queue| queue.drop_all());
    }

    /// Number of streams.
    pub fn streams(&self) -> usize {
        self.state().classes.queues().count()
    }

    /// Whether all streams end, or have ended, and when that changes.
    pub(crate) fn ending(&self) -> watch::Receiver<bool> {
        self.ending.subscribe()
    }

    /// Ends all streams once what waits is sent.
    pub fn end(&self) {
        let mut state = self.state();
        state.ended = true;
        state.classes.queues().for_each(|queue| queue.end());
        drop(state);
        self.ending.send_replace(true);
    }
}
