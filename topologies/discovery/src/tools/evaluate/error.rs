//! What can go wrong when listings are evaluated.

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
            Self::Truth { .. } => Domain::User,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Tool(error) => error.hint(),
            Self::Truth { .. } => None,
        }
    }
}
