//! What can go wrong with dead letters.

use super::id::LetterId;
use crate::error::{Domain, Fault};
use crate::log::LogError;
use crate::tools::error::ToolError;

/// Why dead letters could not be listed, shown or replayed.
#[derive(Debug, thiserror::Error)]
pub enum LettersError {
    /// What any tool may fail at.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// There is no such dead letter.
    #[error("there is no dead letter {id}")]
    NoLetter {
        /// Its place.
        id: LetterId,
    },
    /// More is to be replayed than is done without being told twice.
    #[error("{records} records would be replayed")]
    NeedsConsent {
        /// How many.
        records: usize,
    },
    /// A record of a topic of our own cannot be read.
    #[error("{topic}, record {at}: {reason}")]
    Damaged {
        /// Full name.
        topic: String,
        /// Partition and offset.
        at: LetterId,
        /// What is wrong.
        reason: String,
    },
}

impl From<LogError> for LettersError {
    fn from(error: LogError) -> Self {
        Self::Tool(error.into())
    }
}

impl Fault for LettersError {
    fn domain(&self) -> Domain {
        match self {
            Self::Tool(error) => error.domain(),
            // A restart would find the same: somebody has to look.
            Self::NoLetter { .. } | Self::NeedsConsent { .. } | Self::Damaged { .. } => Domain::User,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Tool(error) => error.hint(),
            Self::NoLetter { .. } => Some("`headwater dead-letters list` shows those there are".to_owned()),
            Self::NeedsConsent { .. } => {
                Some("--dry-run says more; --yes replays them; --limit and the filters make them fewer".to_owned())
            }
            Self::Damaged { .. } => Some("was it written by a newer version?".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_restart_would_find_again_is_for_a_person() {
        let at = "0/1".parse().unwrap();
        let damaged = LettersError::Damaged { topic: "replays".to_owned(), at, reason: "no JSON".to_owned() };
        assert_eq!(damaged.domain(), Domain::User);
        let unreachable = LogError::Unreachable { at: "kafka://a".to_owned(), reason: "refused".to_owned() };
        assert_eq!(LettersError::from(unreachable).domain(), Domain::External);
    }
}
