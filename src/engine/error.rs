//! What can end an engine.

use std::time::Duration;

use super::correction::Report;
use super::gap::Gap;
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
    #[error(
        "{}, more than engine.correction_guard allows ({:.1} %); nothing was written\n{}",
        report.extent(), guard * 100.0, report.table(false)
    )]
    TooManyCorrections {
        /// What would be written.
        report: Box<Report>,
        /// The share of rows that may change without consent, 0 to 1.
        guard: f64,
    },
    /// A topic of another topology, which this one reads, is not there.
    #[error("there is no topic {topic:?}, which this topology reads as a table")]
    MissingTable {
        /// Full topic name.
        topic: String,
    },
    /// A thread could not be started.
    #[error("cannot start a thread: {reason}")]
    Thread {
        /// What the system said.
        reason: String,
    },
    /// Another process of the topology did not come.
    #[error("process {process} at {address} has not come within {} s: {reason}", waited.as_secs())]
    PeerMissing {
        /// Its number.
        process: usize,
        /// Where it was expected.
        address: String,
        /// How long it was waited for.
        waited: Duration,
        /// What the last attempt came to.
        reason: String,
    },
    /// Another process of the topology ended without a word, or does not answer any more.
    #[error("process {process} at {address} has gone; the topology stops")]
    PeerGone {
        /// Its number.
        process: usize,
        /// Its address.
        address: String,
    },
    /// Another process of the topology failed.
    #[error("process {process} at {address} has failed, and the topology stops: {reason}")]
    PeerFailed {
        /// Its number.
        process: usize,
        /// Its address.
        address: String,
        /// What it said.
        reason: String,
    },
    /// Another process of the topology does not take this one.
    #[error("process {process} at {address} refuses this process: {reason}")]
    Refused {
        /// Its number.
        process: usize,
        /// Its address.
        address: String,
        /// What it said.
        reason: String,
    },
    /// The other processes cannot be listened to.
    #[error("cannot listen for other processes at {address}: {reason}")]
    Listen {
        /// The address.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// Raw topics do not hold what follows on what was read of them.
    #[error("raw records are missing: {}", listed(gaps))]
    Gaps {
        /// Where.
        gaps: Vec<Gap>,
    },
    /// Asked to end while waiting for the other processes.
    #[error("stopped while waiting for the other processes")]
    Interrupted,
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
            Self::Thread { .. }
            | Self::PeerMissing { .. }
            | Self::PeerGone { .. }
            | Self::PeerFailed { .. }
            | Self::Interrupted => Domain::External,
            // A restart would find the same: somebody has to decide.
            Self::State { .. }
            | Self::Gaps { .. }
            | Self::MissingTable { .. }
            | Self::TooManyCorrections { .. }
            | Self::Refused { .. }
            | Self::Listen { .. } => Domain::User,
            Self::Panic { .. } => Domain::Internal,
        }
    }

    fn may_pass(&self) -> bool {
        matches!(self, Self::Log(error) if error.may_pass())
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Log(error) => error.hint(),
            Self::State { .. } => Some(
                "use the version that wrote it or restore the topic from a backup; or start once with --rebuild, \
                 which computes everything anew from the raw topics, as far back as they reach \
                 (--plan --rebuild says first what would change)"
                    .to_owned(),
            ),
            Self::Gaps { .. } => Some(
                "start once with --skip-gaps, which keeps everything and goes on with the first record that is there; \
                 or with --rebuild, which computes everything anew from the records that are there, and removes what \
                 only missing ones said (--plan with either says first what would change)"
                    .to_owned(),
            ),
            Self::TooManyCorrections { .. } => {
                Some("--plan shows examples; start with --yes if so much is meant to change".to_owned())
            }
            Self::MissingTable { .. } => Some(
                "it is written by another topology: start that first, or set its name in the configuration".to_owned(),
            ),
            Self::PeerMissing { .. } => {
                Some("start all processes of the topology; `hosts` has to name each of them, in order".to_owned())
            }
            Self::PeerGone { .. } | Self::PeerFailed { .. } => {
                Some("restart all processes; they go on from the last commit".to_owned())
            }
            Self::Refused { .. } => {
                Some("give all processes the same binary and configuration, but for `process`".to_owned())
            }
            Self::Listen { .. } => Some(
                "give cluster.listen, or this process's place in cluster.hosts, a free port of this machine".into(),
            ),
            Self::Thread { .. } | Self::Interrupted => None,
            Self::Panic { .. } => Some("this is a defect: please report it with the message above".to_owned()),
        }
    }
}

/// How many gaps are named; the partitions of a topic are mostly missing for one reason.
const NAMED_GAPS: usize = 3;

fn listed(gaps: &[Gap]) -> String {
    let mut named: Vec<String> = gaps.iter().take(NAMED_GAPS).map(Gap::to_string).collect();
    if let more @ 1.. = gaps.len().saturating_sub(NAMED_GAPS) {
        named.push(format!("and {more} more"));
    }
    named.join("; ")
}
