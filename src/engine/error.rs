//! What can end an engine.

use crate::error::{Domain, Fault};
use crate::log::LogError;

/// An error that ends the engine; the next start goes on from the last commit.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A state topic holds something that cannot be used.
    #[error("the state in topic {topic:?} cannot be used: {reason}")]
    State {
        /// Full topic name.
        topic: String,
        /// What is wrong, and where.
        reason: String,
    },
    /// The outputs would be corrected more than was agreed to.
    #[error("{corrections} corrections for {rows} rows of output are more than the configured share")]
    TooManyCorrections {
        /// Corrections that would be written.
        corrections: usize,
        /// Rows that the outputs hold.
        rows: usize,
    },
    /// A thread could not be started.
    #[error("cannot start a thread: {reason}")]
    Thread {
        /// What the system said.
        reason: String,
    },
    /// A defect.
    #[error("the engine failed: {reason}")]
    Panic {
        /// What is known of it.
        reason: String,
    },
}

impl Fault for EngineError {
    fn domain(&self) -> Domain {
        match self {
            Self::Log(error) => error.domain(),
            Self::State { .. } | Self::Thread { .. } => Domain::External,
            Self::TooManyCorrections { .. } => Domain::User,
            Self::Panic { .. } => Domain::Internal,
        }
    }

    fn retryable(&self) -> bool {
        matches!(self, Self::Log(error) if error.retryable())
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Log(error) => error.hint(),
            Self::State { .. } => Some(
                "it was written by another version, or damaged: use the version that wrote it, or restore the topic"
                    .to_owned(),
            ),
            Self::TooManyCorrections { .. } => {
                Some("start with --yes if the change of configuration is meant to change so much".to_owned())
            }
            Self::Thread { .. } => None,
            Self::Panic { .. } => Some("this is a defect: please report it with the message above".to_owned()),
        }
    }
}
