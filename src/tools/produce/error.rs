//! Why files could not be written into a topic.

use std::path::PathBuf;

use crate::error::{Domain, Fault};
use crate::log::LogError;
use crate::tools::error::ToolError;

/// Why files could not be written into a topic.
#[derive(Debug, thiserror::Error)]
pub enum ProduceError {
    /// What any tool may fail at.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// It cannot be told what a file holds.
    #[error("{}: cannot tell its content type by its name", path.display())]
    ContentType {
        /// The file.
        path: PathBuf,
    },
    /// A record of a file cannot be written to the topic.
    #[error("{place}: {reason}")]
    Record {
        /// File and line.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// The topology would make a dead letter of every record.
    #[error("{place}: every record would become a dead letter: {reason}")]
    Refused {
        /// The file.
        place: String,
        /// Why.
        reason: String,
        /// What to do about it.
        hint: String,
    },
}

impl From<LogError> for ProduceError {
    fn from(error: LogError) -> Self {
        Self::Tool(error.into())
    }
}

impl Fault for ProduceError {
    fn domain(&self) -> Domain {
        match self {
            Self::Tool(error) => error.domain(),
            Self::ContentType { .. } | Self::Record { .. } | Self::Refused { .. } => Domain::User,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Tool(error) => error.hint(),
            Self::ContentType { .. } => Some("name it: --content-type text/calendar".to_owned()),
            Self::Record { .. } => Some("--keep-going leaves out what cannot be written".to_owned()),
            Self::Refused { hint, .. } => Some(format!("{hint}; `produce --force` writes it as it is")),
        }
    }
}
