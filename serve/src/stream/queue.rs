//! Queues: frames on their way from the hub to one connection.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use bytes::Bytes;

/// A queue holds at most so many bytes: then its connection is too slow to get every change.
pub(super) const MOST_BYTES: usize = 256 << 10;

/// Frames on their way to one connection.
#[derive(Debug, Default)]
pub(super) struct Queue(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<(u64, Bytes)>,
    bytes: usize,
    /// Frames were dropped.
    overflowed: bool,
    /// The last commit that was looked at, whether or not it gave a frame.
    seen: u64,
    ended: bool,
    waker: Option<Waker>,
}

/// What a connection finds in its queue.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The frame of a commit.
    Frame(u64, Bytes),
    /// Frames were dropped: read from the index what has become of all.
    Overflowed,
    /// All is told up to this commit.
    Nothing(u64),
    /// No frame comes any more.
    Ended,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of a commit, and of the frame that it gave, if it gave one.
    pub fn push(&self, commit: u64, frame: Option<&Bytes>) {
        let mut state = self.state();
        state.seen = commit;
        let Some(frame) = frame.filter(|_| !state.overflowed) else { return };
        state.bytes += frame.len();
        // One frame may be larger than all that may wait.
        if state.bytes > MOST_BYTES && !state.frames.is_empty() {
            state.frames = VecDeque::new();
            state.bytes = 0;
            state.overflowed = true;
        } else {
            state.frames.push_back((commit, frame.clone()));
        }
        if let Some(waker) = state.waker.take() {
            drop(state);
            waker.wake();
        }
    }

    /// Drops all that waits, as if it had been too much: what is served is another log.
    pub fn drop_all(&self) {
        let mut state = self.state();
        (state.frames, state.bytes, state.overflowed) = (VecDeque::new(), 0, true);
        // The other log begins to count anew.
        state.seen = 0;
        if let Some(waker) = state.waker.take() {
            drop(state);
            waker.wake();
        }
    }

    /// Ends the stream once all is sent.
    pub fn end(&self) {
        let mut state = self.state();
        state.ended = true;
        if let Some(waker) = state.waker.take() {
            drop(state);
            waker.wake();
        }
    }

    /// Takes what comes next. Where nothing is there, `waker` is woken once that changes.
    pub fn next(&self, waker: &Waker) -> Next {
        let mut state = self.state();
        if std::mem::take(&mut state.overflowed) {
            return Next::Overflowed;
        }
        if let Some((commit, frame)) = state.frames.pop_front() {
            state.bytes -= frame.len();
            return Next::Frame(commit, frame);
        }
        if state.ended {
            return Next::Ended;
        }
        if !state.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            state.waker = Some(waker.clone());
        }
        Next::Nothing(state.seen)
    }
}

/// Shared between the hub and the connection; the hub forgets it when the connection has gone.
pub(super) type SharedQueue = Arc<Queue>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_in_order_and_a_queue_that_is_full_is_emptied() {
        let queue = Queue::default();
        let waker = Waker::noop();
        let frame = |size: usize| Bytes::from(vec![b'x'; size]);
        queue.push(1, Some(&frame(10)));
        queue.push(2, None);
        assert_eq!(queue.next(waker), Next::Frame(1, frame(10)));
        assert_eq!(queue.next(waker), Next::Nothing(2));
        queue.push(3, Some(&frame(MOST_BYTES * 2)));
        assert_eq!(queue.next(waker), Next::Frame(3, frame(MOST_BYTES * 2)), "one frame always has a place");
        queue.push(4, Some(&frame(MOST_BYTES)));
        queue.push(5, Some(&frame(1)));
        queue.push(6, Some(&frame(1)));
        assert_eq!(queue.next(waker), Next::Overflowed);
        assert_eq!(queue.next(waker), Next::Nothing(6));
        queue.drop_all();
        assert_eq!(queue.next(waker), Next::Overflowed);
        assert_eq!(queue.next(waker), Next::Nothing(0), "commits of another log have other numbers");
        queue.push(7, Some(&frame(1)));
        queue.end();
        assert_eq!(queue.next(waker), Next::Frame(7, frame(1)));
        assert_eq!(queue.next(waker), Next::Ended);
    }
}
