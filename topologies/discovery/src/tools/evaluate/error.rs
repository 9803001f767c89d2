//! What can go wrong when listings are evaluated.

use std::path::PathBuf;

use headwater::error::{Domain, Fault};
use headwater::log::LogError;
use headwater::tools::ToolError;

/// Why listings, links or labels could not be read.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// What any tool may fail at.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// A line of a file, or a record of a topic, is not what it should be.
    #[error("{place}: {reason}")]
    Truth {
        /// File or topic, and where in it.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// There are too few pairs to train on.
    #[error(
        "{}: too few pairs to train on: {needed} of each label are needed; found {positive} positive and {negative} \
         negative",
        truth.display()
    )]
    TooFewPairs {
        /// The file.
        truth: PathBuf,
        /// How many of each label are needed.
        needed: usize,
        /// Positive pairs that can be used.
        positive: usize,
        /// Negative pairs that can be used.
        negative: usize,
        /// Pairs that name listings that are not there.
        unknown: usize,
        /// Pairs that a veto decides, whatever else agrees: they teach nothing.
        vetoed: usize,
    },
}

impl From<LogError> for EvaluateError {
    fn from(error: LogError) -> Self {
        Self::Tool(error.into())
    }
}

impl Fault for EvaluateError {
    fn domain(&self) -> Domain {
        match self {
            Self::Tool(error) => error.domain(),
            Self::Truth { .. } | Self::TooFewPairs { .. } => Domain::User,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Tool(error) => error.hint(),
            Self::Truth { .. } => None,
            Self::TooFewPairs { unknown, vetoed, .. } => Some(format!(
                "label more pairs; {unknown} more name listings that are not there, and {vetoed} more are decided by \
                 a veto and teach nothing"
            )),
        }
    }
}
