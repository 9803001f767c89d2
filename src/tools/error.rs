//! Why a tool could not do its work, as far as it may happen to any of them.

use std::io;
use std::path::PathBuf;

use crate::config::ConfigErrors;
use crate::error::{Domain, Fault};
use crate::log::LogError;

/// What any tool may fail at: configuration, log, files, what is printed. A tool that may fail in
/// ways of its own has an error of its own around this one.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// There is no such topic.
    #[error("there is no topic {topic:?} on {log}")]
    NoTopic {
        /// Full name.
        topic: String,
        /// The log.
        log: String,
        /// The topic that may have been meant, or what topics there are.
        hint: String,
    },
    /// There is no embedded log.
    #[error("there is no log at {}", path.display())]
    NoLog {
        /// The file.
        path: PathBuf,
    },
    /// A topic to write to is missing, and nothing would read it.
    #[error("there is no topic {topic:?}, and the configuration knows none of that name")]
    StrayTopic {
        /// Full name.
        topic: String,
        /// The topic that may have been meant.
        alike: Option<String>,
    },
    /// A topic that the topology alone writes.
    #[error("{topic:?} is a topic that the topology itself writes: a record from elsewhere would be taken for its own")]
    OwnTopic {
        /// Full name.
        topic: String,
        /// The topics that are for others to write: raw topics and tables.
        open: Vec<String>,
    },
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Reading {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Writing {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Nobody takes what is printed, for another reason than that the reader has gone.
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
}

impl Fault for ToolError {
    fn domain(&self) -> Domain {
        match self {
            Self::Config(error) => error.domain(),
            Self::Log(error) => error.domain(),
            Self::NoTopic { .. } | Self::NoLog { .. } | Self::StrayTopic { .. } | Self::OwnTopic { .. } => Domain::User,
            Self::Reading { source, .. } | Self::Writing { source, .. } => Domain::of_file(source),
            Self::Output(_) => Domain::External,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Config(error) => error.hint(),
            Self::Log(error) => error.hint(),
            Self::NoTopic { hint, .. } => Some(hint.clone()),
            Self::NoLog { .. } => Some(
                "is it the right configuration (--config)? `discovery` makes the log, and so does `headwater produce`"
                    .to_owned(),
            ),
            Self::StrayTopic { alike, .. } => {
                let mend = match alike {
                    Some(alike) => format!("did you mean {alike:?}?"),
                    None => "name it under [[inputs]]; is it the right configuration (--config)?".to_owned(),
                };
                Some(format!("{mend} `headwater produce --create` makes a topic all the same"))
            }
            Self::OwnTopic { open, .. } => Some(format!(
                "write raw records, and the tables that it reads, such as {}; a dead letter goes back in by \
                 `headwater dead-letters replay`",
                open.join(", ")
            )),
            Self::Reading { .. } | Self::Writing { .. } | Self::Output(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_path_is_for_a_person_and_a_failing_disk_is_not() {
        let reading = |kind: io::ErrorKind| ToolError::Reading { path: "x".into(), source: kind.into() };
        let writing = |kind: io::ErrorKind| ToolError::Writing { path: "x".into(), source: kind.into() };
        assert_eq!(reading(io::ErrorKind::NotFound).domain(), Domain::User);
        assert_eq!(writing(io::ErrorKind::PermissionDenied).domain(), Domain::User);
        assert_eq!(writing(io::ErrorKind::StorageFull).domain(), Domain::External);
        assert_eq!(reading(io::ErrorKind::TimedOut).domain(), Domain::External);
    }
}
