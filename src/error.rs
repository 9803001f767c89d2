//! What every error of the runtime can say about itself.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::time::Duration;

/// Whose error it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    /// Something the user wrote or asked for: configuration, flags, files.
    User,
    /// A system outside: broker, database, file system, network.
    External,
    /// Nobody's: another instance has taken over, as it should.
    Superseded,
    /// A defect in Headwater.
    Internal,
}

impl Domain {
    /// The process's exit code for an error of this domain (2 user, 3 external, 4 superseded, 70
    /// internal).
    pub fn exit_code(self) -> u8 {
        match self {
            Self::User => 2,
            Self::External => 3,
            Self::Superseded => 4,
            Self::Internal => 70,
        }
    }

    /// Whose error it is that a file cannot be read or written: a path that is wrong is for a person to mend,
    /// a disk that is full or fails is not.
    pub fn of_file(error: &io::Error) -> Self {
        use io::ErrorKind as Kind;
        match error.kind() {
            Kind::NotFound
            | Kind::PermissionDenied
            | Kind::IsADirectory
            | Kind::NotADirectory
            | Kind::AlreadyExists
            | Kind::InvalidInput
            | Kind::InvalidFilename
            | Kind::ReadOnlyFilesystem => Self::User,
            _ => Self::External,
        }
    }
}

/// An error that knows its domain, whether trying again can help, and what a person can do.
pub trait Fault: std::error::Error {
    /// Whose error it is.
    fn domain(&self) -> Domain;
    /// Whether the same call may succeed later. Whoever tries again asks [`judged`](Self::judged).
    fn may_pass(&self) -> bool {
        false
    }
    /// Tells by its type whether trying again can help.
    fn judged(self) -> Failure<Self>
    where
        Self: Sized,
    {
        match self.may_pass() {
            true => Failure::Transient(Transient(self)),
            false => Failure::Fatal(Fatal(self)),
        }
    }
    /// What to do about it.
    fn hint(&self) -> Option<String> {
        None
    }
}

impl<E: Fault + 'static> From<E> for Box<dyn Fault> {
    fn from(error: E) -> Self {
        Box::new(error)
    }
}

/// An error that may pass: the same call may succeed later.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Transient<E>(pub E);

/// An error that does not pass: whoever meets it stops.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Fatal<E>(pub E);

/// An error of one of the two kinds. Loops that try again take the transient ones and give out
/// the fatal ones, so that a type says what was seen to.
#[derive(Debug)]
pub enum Failure<E> {
    /// To be tried again, after a pause.
    Transient(Transient<E>),
    /// To stop at.
    Fatal(Fatal<E>),
}

/// Pauses between attempts: each twice as long as the one before, up to a limit, with jitter over the
/// upper half, so that many who wait for the same do not come back at once.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    attempts: u32,
}

impl Backoff {
    /// Pauses from `first` to `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, attempts: 0 }
    }

    /// How long to wait before the next attempt.
    pub fn pause(&mut self) -> Duration {
        let full = self.first.saturating_mul(1 << self.attempts.min(16)).min(self.longest);
        self.attempts = self.attempts.saturating_add(1);
        let random = RandomState::new().hash_one(self.attempts) % 1_000;
        full / 2 + full.mul_f64(random as f64 / 2_000.0)
    }

    /// Something has succeeded: the next pause is a short one. Whether there had been any.
    pub fn reset(&mut self) -> bool {
        std::mem::take(&mut self.attempts) > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_begin_anew() {
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(30));
        let mut backoff = Backoff::new(first, longest);
        assert!(!backoff.reset());
        for attempt in 0..40 {
            let full = first.saturating_mul(1 << attempt.min(16)).min(longest);
            let pause = backoff.pause();
            assert!(pause >= full / 2 && pause <= full, "{attempt}: {pause:?}");
        }
        assert!(backoff.reset());
        assert!(backoff.pause() <= first);
    }
}
