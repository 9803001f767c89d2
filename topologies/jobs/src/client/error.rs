//! Why a request came to nothing.

use headwater::error::{Domain, Fault};

/// What a request may fail at.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClientError {
    /// The address is none of HTTP.
    #[error("{url:?} is not a valid API URL: {reason}")]
    Address {
        /// As it was given, but without a user name and a password.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The key cannot be sent.
    #[error("the key has characters that a header cannot hold")]
    Key,
    /// Nothing could be prepared to ask with, such as certificates.
    #[error("cannot set up the HTTP client: {0}")]
    Prepare(String),
    /// The server cannot be reached, or does not answer in time.
    #[error("{url} cannot be reached: {reason}")]
    Away {
        /// Its address.
        url: String,
        /// What the system said.
        reason: String,
    },
    /// The server says no.
    #[error("{status} {}: {detail}", code.as_deref().unwrap_or_else(|| usual(*status)))]
    Refused {
        /// The status of the answer.
        status: u16,
        /// What is wrong, for programs. `None` where it is not the API that has answered, but a proxy for instance.
        code: Option<String>,
        /// What is wrong, for people.
        detail: String,
    },
    /// The answer is not what it should be.
    #[error("unexpected response from {url}: {reason}")]
    Answer {
        /// Its address.
        url: String,
        /// What is wrong with the answer.
        reason: String,
    },
}

impl ClientError {
    /// Whether the server has refused the request with this status.
    pub fn is_status(&self, wanted: u16) -> bool {
        matches!(self, Self::Refused { status, .. } if *status == wanted)
    }

    /// Whether the API says that a worker has a lease no more. A job that has left is as good as one that somebody
    /// else has.
    pub(crate) fn is_of_lease(&self) -> bool {
        matches!(self, Self::Refused { code: Some(code), .. } if code == "stale-lease" || code == "not-found")
    }

    /// Whether the server would refuse the same content again, but may take another.
    pub(crate) fn is_of_content(&self) -> bool {
        matches!(self, Self::Refused { status: 400 | 409 | 413 | 415 | 422, .. })
    }

    /// Whether the server does not know the key, or the key may not do this.
    pub(crate) fn is_of_key(&self) -> bool {
        self.is_status(401) || self.is_status(403)
    }
}

/// What a status means.
fn usual(status: u16) -> &'static str {
    let status = reqwest::StatusCode::from_u16(status).ok();
    status.and_then(|status| status.canonical_reason()).unwrap_or("refused")
}

impl Fault for ClientError {
    fn domain(&self) -> Domain {
        match self {
            Self::Address { .. } | Self::Key => Domain::User,
            Self::Refused { status: 400..=499, .. } if !self.may_pass() => Domain::User,
            Self::Prepare(_) | Self::Away { .. } | Self::Refused { .. } | Self::Answer { .. } => Domain::External,
        }
    }

    fn may_pass(&self) -> bool {
        match self {
            Self::Away { .. } => true,
            Self::Refused { status, .. } => matches!(status, 408 | 425 | 429 | 500..),
            Self::Address { .. } | Self::Key | Self::Prepare(_) | Self::Answer { .. } => false,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Address { .. } => "write for instance --url http://127.0.0.1:8084",
            Self::Away { .. } => "does `headwater-jobs` run, and is it served there? --url or HEADWATER_URL says where",
            Self::Refused { status: 401, .. } => "name a key in HEADWATER_KEY; `headwater key` makes one",
            Self::Refused { status: 403, .. } => {
                "the key may not do this: read looks, produce submits, work leases, admin does the rest"
            }
            Self::Answer { .. } | Self::Refused { status: 404, code: None, .. } => {
                "is it the API of jobs that listens there, and of this version?"
            }
            Self::Key | Self::Prepare(_) | Self::Refused { .. } => return None,
        };
        Some(hint.to_owned())
    }
}
