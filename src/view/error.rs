//! What can go wrong with a view.

use crate::error::{Domain, Fault};
use crate::log::LogError;

/// An error of a view or of its store. [`Fault`] says whose it is, whether a retry can help, and
/// what to do.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// The database cannot be reached, or went away, or is too busy at the moment.
    #[error("cannot reach {at}: {reason}")]
    Unreachable {
        /// Which database, without secrets.
        at: String,
        /// What the client or the server said.
        reason: String,
    },
    /// The database is there but refuses: wrong password, no such database, missing rights.
    #[error("{at} refuses: {reason}")]
    Denied {
        /// Which database, without secrets.
        at: String,
        /// What the server said.
        reason: String,
    },
    /// The configuration of the view is wrong.
    #[error("the view's configuration is wrong: {reason}")]
    Config {
        /// What is wrong.
        reason: String,
    },
    /// The tables were made by a newer version of Headwater.
    #[error("{at} has schema version {found}; this program knows versions up to {known}")]
    NewerSchema {
        /// Which database, without secrets.
        at: String,
        /// The version found.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// The tables are another topology's.
    #[error("{at} holds the tables of another topology")]
    Foreign {
        /// Which database, without secrets.
        at: String,
    },
    /// A newer instance of the view has claimed the tables; this one may not write any more.
    #[error("another instance has taken over the view in {at}; this one must end")]
    Superseded {
        /// Which database, without secrets.
        at: String,
    },
    /// The offsets in the store are not those that this instance wrote: somebody edited them, or
    /// the database was restored. Nothing was written.
    #[error("the offsets in {at} were changed by somebody else")]
    OffsetsMoved {
        /// Which database, without secrets.
        at: String,
    },
    /// A table of the view is missing: somebody dropped it. Opening the store again makes it anew.
    #[error("a table of the view is missing in {at}: {reason}")]
    TablesMissing {
        /// Which database, without secrets.
        at: String,
        /// What the server said.
        reason: String,
    },
    /// The database does not take a value of the batch. Nothing was written.
    #[error("{at} does not take a value: {reason}")]
    Rejected {
        /// Which database, without secrets.
        at: String,
        /// What the server said.
        reason: String,
    },
    /// A record was written in a format newer than this program knows.
    #[error("offset {offset} of {topic}/{partition} has format {format}; this program knows formats up to {known}")]
    NewerFormat {
        /// Full topic name.
        topic: String,
        /// Partition.
        partition: i32,
        /// Offset of the record.
        offset: i64,
        /// The format found.
        format: u64,
        /// The newest format that this program knows.
        known: u64,
    },
    /// The stored file is not a database, or damaged.
    #[error("{at} is damaged: {reason}")]
    Damaged {
        /// Which database, without secrets.
        at: String,
        /// What is wrong.
        reason: String,
    },
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Something final that the database or the system reported.
    #[error("{doing} failed: {reason}")]
    Failed {
        /// What was being done.
        doing: &'static str,
        /// What was reported.
        reason: String,
    },
}

impl Fault for ViewError {
    fn domain(&self) -> Domain {
        match self {
            Self::Denied { .. }
            | Self::Config { .. }
            | Self::NewerSchema { .. }
            | Self::Foreign { .. }
            | Self::NewerFormat { .. }
            // A restart would find the same: somebody has to act.
            | Self::Damaged { .. } => Domain::User,
            Self::Superseded { .. } => Domain::Superseded,
            Self::Log(error) => error.domain(),
            Self::Unreachable { .. }
            | Self::OffsetsMoved { .. }
            | Self::TablesMissing { .. }
            | Self::Rejected { .. }
            | Self::Failed { .. } => Domain::External,
        }
    }

    fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::OffsetsMoved { .. } | Self::TablesMissing { .. } => true,
            // A topic may be created after the view has started, and be gone for a moment while
            // it is made anew; offsets that are gone lead to a rebuild.
            Self::Log(LogError::UnknownTopic { .. } | LogError::OffsetGone { .. }) => true,
            Self::Log(error) => error.may_pass(),
            _ => false,
        }
    }

    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Unreachable { .. } => {
                "check that it is running and that the address under [views] is right; `discovery check` tests it"
            }
            Self::Denied { .. } => {
                "check user, password and database in the url, and that the user may create and write the schema: \
                 GRANT CREATE ON DATABASE, or make it the owner of the schema"
            }
            Self::Config { .. } => "see the [views] section of the configuration",
            Self::NewerSchema { .. } => {
                "run the newer version, or give this one another schema or file, or drop the tables: \
                 they rebuild from the topics"
            }
            Self::Foreign { .. } => {
                "give each topology a schema or file of its own (views.postgres.schema, views.sqlite.path), \
                 or drop these tables"
            }
            Self::Superseded { .. } => "let only one topology write to a schema or file",
            Self::NewerFormat { .. } => "the topics were written by a newer version: run that one",
            Self::TablesMissing { .. } | Self::OffsetsMoved { .. } => "the view repairs itself; no need to do anything",
            Self::Rejected { .. } => "please report this with the record that it names",
            Self::Damaged { .. } => "move the file away: the view rebuilds from the topics",
            Self::Log(error) => return error.hint(),
            Self::Failed { .. } => return None,
        };
        Some(text.to_owned())
    }
}
