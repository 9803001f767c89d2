//! Why an export came to nothing.

use std::io;
use std::path::PathBuf;

use headwater::cli::SignalError;
use headwater::error::{Domain, Fault};
use headwater::tools::ToolError;
use jobs::client::ClientError;

use super::format::Format;

/// What an export may fail at. Where there is an error, no file is written or changed, unless nobody takes
/// what is told.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The ending of the file names no format.
    #[error("the ending of {} names no format", file.display())]
    NoFormat {
        /// The file.
        file: PathBuf,
    },
    /// A parameter of the query cannot be sent.
    #[error("the parameter {name}: {reason}")]
    Parameter {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// The payload of a job is no query.
    #[error("standard input is no query: {reason}")]
    Payload {
        /// What is wrong.
        reason: String,
    },
    /// No worker has started it.
    #[error("{0}")]
    NoJob(String),
    /// The server cannot be reached, or refuses the query.
    #[error(transparent)]
    Api(#[from] ClientError),
    /// A page is not what it should be.
    #[error("{url} answers what cannot be read as {format}: {reason}")]
    Page {
        /// The server.
        url: String,
        /// The format that was asked for.
        format: Format,
        /// What is wrong.
        reason: String,
    },
    /// Standard input cannot be read.
    #[error("cannot read standard input")]
    Input(#[source] io::Error),
    /// The file cannot be written.
    #[error("cannot write {}", path.display())]
    Writing {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Nobody takes what is told.
    #[error(transparent)]
    Output(#[from] ToolError),
    /// Signals cannot be caught.
    #[error(transparent)]
    Signals(#[from] SignalError),
    /// A signal has ended it.
    #[error("stopped: no file was written")]
    Stopped,
}

impl Fault for ExportError {
    fn domain(&self) -> Domain {
        match self {
            Self::NoFormat { .. } | Self::Parameter { .. } | Self::Payload { .. } | Self::NoJob(_) => Domain::User,
            Self::Api(error) => error.domain(),
            Self::Output(error) => error.domain(),
            Self::Signals(error) => error.domain(),
            Self::Writing { source, .. } => Domain::of_file(source),
            Self::Page { .. } | Self::Input(_) | Self::Stopped => Domain::External,
        }
    }

    fn may_pass(&self) -> bool {
        matches!(self, Self::Api(error) if error.may_pass())
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoFormat { .. } => "end it with .csv, .ndjson, .ics or .geojson, or name one: --format",
            Self::Parameter { .. } | Self::Payload { .. } => {
                "the parameters are those of /api/events, which /openapi.json of the server describes"
            }
            Self::NoJob(_) => "--job is for a worker: headwater work --queue exports -- headwater export --job",
            Self::Api(error) => return of_client(error),
            Self::Page { .. } => "is it the API of events that listens there, and of this version?",
            Self::Input(_) | Self::Writing { .. } | Self::Output(_) | Self::Signals(_) | Self::Stopped => return None,
        };
        Some(hint.to_owned())
    }
}

/// What to do about a server of events. A client says it of servers of jobs.
fn of_client(error: &ClientError) -> Option<String> {
    let hint = match error {
        ClientError::Address { .. } => "write for instance --url http://127.0.0.1:8081",
        ClientError::Away { .. } => {
            "does `discovery` or `headwater serve` serve events there? --url or HEADWATER_EVENTS_URL says where"
        }
        ClientError::Refused { status: 401, .. } => {
            "name a key: --key or HEADWATER_EVENTS_KEY; `headwater key` makes one"
        }
        ClientError::Refused { status: 403, .. } => "the key needs the scope read",
        ClientError::Answer { .. } => "is it the API of events that listens there, and of this version?",
        ClientError::Key | ClientError::Prepare(_) | ClientError::Refused { .. } => return None,
    };
    Some(hint.to_owned())
}
