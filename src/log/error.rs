//! What can go wrong with a log.

use crate::error::{Domain, Fault};

/// An error of the log. [`Fault`] says whose it is, whether a retry can help, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The log cannot be reached.
    #[error("cannot reach the log at {at}: {reason}")]
    Unreachable {
        /// Where it was looked for, without secrets.
        at: String,
        /// What the client said.
        reason: String,
    },
    /// A newer instance has taken over the transactional id.
    #[error("another instance of {id:?} has started; this one is fenced and must end")]
    Fenced {
        /// The transactional id.
        id: String,
    },
    /// The broker has ended a transaction that was open for too long. It says the same when a newer
    /// instance has taken over, and nothing tells the two apart.
    #[error("the broker ended a transaction of {id:?} that was open for {seconds} s, or another instance has started")]
    Expired {
        /// The transactional id.
        id: String,
        /// For how long it was open.
        seconds: u64,
    },
    /// The broker does not know any more what was under way, as after it was away in the middle of a
    /// commit: whether that was written is known to the log alone.
    #[error("the broker has lost the state of a transaction of {id:?}: {reason}")]
    Lost {
        /// The transactional id.
        id: String,
        /// What was reported.
        reason: String,
    },
    /// The client that writes reaches no broker, although others do: it has to be opened anew.
    #[error("the writer of {id:?} has reached no broker for {seconds} s, although they answer others")]
    Stranded {
        /// The transactional id.
        id: String,
        /// For how long.
        seconds: u64,
    },
    /// There is no such topic.
    #[error("there is no topic {topic:?}")]
    UnknownTopic {
        /// Full topic name.
        topic: String,
    },
    /// The offset asked for has been removed by retention.
    #[error("offset {offset} of {topic}/{partition} is gone; the first one left is {low}")]
    OffsetGone {
        /// Full topic name.
        topic: String,
        /// Partition.
        partition: i32,
        /// The offset asked for.
        offset: i64,
        /// The first offset left.
        low: i64,
    },
    /// A record is larger than its topic takes.
    #[error("record {index} of the transaction, for {topic}, is {size} bytes; the limit is {limit}")]
    TooLarge {
        /// Position in [`Transaction::records`](super::Transaction::records), or 0 for a plain producer.
        index: usize,
        /// Full topic name.
        topic: String,
        /// Size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The configuration of the log is wrong.
    #[error("the log's configuration is wrong: {reason}")]
    Config {
        /// What is wrong.
        reason: String,
    },
    /// The file of the log cannot be where it is configured to be.
    #[error("the log cannot be at {at}: {reason}")]
    Place {
        /// The path.
        at: String,
        /// What the system said.
        reason: String,
    },
    /// The broker does not allow it.
    #[error("{doing} is not allowed: {reason}")]
    Denied {
        /// What was being done.
        doing: &'static str,
        /// What was reported.
        reason: String,
    },
    /// The stored data is damaged or written by a newer version.
    #[error("{at} cannot be used: {reason}")]
    Damaged {
        /// The file or topic.
        at: String,
        /// What is wrong.
        reason: String,
    },
    /// Something final that the client library or the file system reported.
    #[error("{doing} failed: {reason}")]
    Failed {
        /// What was being done.
        doing: &'static str,
        /// What was reported.
        reason: String,
    },
}

impl LogError {
    /// Whether a writer that is opened anew may go on. What the former one had under way may have been
    /// committed: the log alone tells.
    pub fn wants_new_writer(&self) -> bool {
        matches!(self, Self::Lost { .. } | Self::Stranded { .. })
    }
}

impl Fault for LogError {
    fn domain(&self) -> Domain {
        match self {
            Self::Unreachable { .. }
            | Self::Expired { .. }
            | Self::Lost { .. }
            | Self::Stranded { .. }
            | Self::Failed { .. } => Domain::External,
            Self::Fenced { .. } => Domain::Superseded,
            // A restart would find the same: somebody has to act.
            Self::UnknownTopic { .. }
            | Self::OffsetGone { .. }
            | Self::TooLarge { .. }
            | Self::Config { .. }
            | Self::Place { .. }
            | Self::Denied { .. }
            | Self::Damaged { .. } => Domain::User,
        }
    }

    fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Unreachable { .. } => {
                "check that it is running and that the address under [log] is right; \
                 `discovery check` tests it"
            }
            Self::Fenced { .. } => "run one instance of a topology at a time, or give each its own `name`",
            Self::Expired { .. } => {
                "nothing of it was written; start again to go on from the last commit. \
                 `transaction.timeout.ms` under [log.kafka.properties] says how long a stall may last"
            }
            Self::Lost { .. } | Self::Stranded { .. } => "start again to go on from the last commit",
            Self::UnknownTopic { .. } => "`headwater topics` lists what is there; is the prefix right?",
            Self::OffsetGone { .. } => {
                "raise the topic's retention; for a raw topic, start once with --skip-gaps, which keeps everything \
                 and goes on with the first record left, or with --rebuild, which computes everything anew from \
                 what is left"
            }
            Self::TooLarge { .. } => "raise the topic's size limit, or the limits under [limits]",
            Self::Config { .. } => "see the [log] section of the configuration",
            Self::Place { .. } => "is log.embedded.path right, and may this user write there?",
            Self::Denied { .. } => "grant the rights that docs/operations.md lists under \"Rights\"",
            Self::Damaged { .. } => "restore it from a backup, or move it away and start from the raw topics",
            Self::Failed { .. } => return None,
        };
        Some(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_restart_would_find_again_is_for_a_person_and_the_rest_is_not() {
        let text = || "x".to_owned();
        let for_a_person = [
            LogError::UnknownTopic { topic: text() },
            LogError::OffsetGone { topic: text(), partition: 0, offset: 1, low: 2 },
            LogError::TooLarge { index: 0, topic: text(), size: 2, limit: 1 },
            LogError::Config { reason: text() },
            LogError::Place { at: text(), reason: text() },
            LogError::Denied { doing: "writing", reason: text() },
            LogError::Damaged { at: text(), reason: text() },
        ];
        for error in for_a_person {
            assert_eq!(error.domain().exit_code(), 2, "{error}");
            assert!(error.hint().is_some() && !error.may_pass(), "{error}");
        }
        let may_pass = [
            LogError::Unreachable { at: text(), reason: text() },
            LogError::Expired { id: text(), seconds: 1 },
            LogError::Lost { id: text(), reason: text() },
            LogError::Stranded { id: text(), seconds: 1 },
            LogError::Failed { doing: "writing", reason: text() },
        ];
        for error in may_pass {
            assert_eq!(error.domain().exit_code(), 3, "{error}");
        }
        assert_eq!(LogError::Fenced { id: text() }.domain().exit_code(), 4);
    }
}
