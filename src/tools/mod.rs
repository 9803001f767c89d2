//! The tools beside a topology: write records, read records, list topics. They work on either log.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, ConfigErrors, LogKind, suggest};
use crate::error::{Domain, Fault};
use crate::log::embedded::EmbeddedLog;
use crate::log::kafka::KafkaLog;
use crate::log::{Log, LogError, LogRecord, Polled, Start, TopicPartition};

pub mod check;
pub mod consume;
pub mod dead_letters;
pub mod decide;
pub mod evaluate;
pub mod explain;
pub mod produce;
pub mod topics;
pub mod train;

/// Opens the log that `config` names. Kafka is not connected to yet; [`Log::check`] does that.
///
/// # Errors
/// As [`EmbeddedLog::new`] and [`KafkaLog::new`].
pub fn open_log(config: &Config) -> Result<Arc<dyn Log>, LogError> {
    Ok(match config.log.kind {
        LogKind::Embedded => Arc::new(EmbeddedLog::new(&config.log.embedded)?),
        LogKind::Kafka => Arc::new(KafkaLog::new(config.log.kafka.clone())?),
    })
}

/// Opens the log that `config` names, for a tool that only works with what is there already.
///
/// # Errors
/// [`ToolError::NoLog`] where it is a file that is not there; else as [`open_log`].
pub fn open_written_log(config: &Config) -> Result<Arc<dyn Log>, ToolError> {
    let path = &config.log.embedded.path;
    if config.log.kind == LogKind::Embedded && !path.exists() {
        return Err(ToolError::NoLog { path: path.clone() });
    }
    Ok(open_log(config)?)
}

/// Creates the topic that a tool is to write to, where it is missing. Only those that the
/// configuration knows are created, unless `any` are: one misspelt would never be read.
/// Returns its full name.
///
/// # Errors
/// [`ToolError::StrayTopic`] where the configuration does not know it; else when the log fails.
pub fn ensure_topic(log: &dyn Log, config: &Config, topic: &str, any: bool) -> Result<String, ToolError> {
    let full = config.full_name(topic);
    let known: Vec<String> = config.topic_specs().into_iter().map(|spec| spec.name).collect();
    if !any && !known.contains(&full) && log.watermarks(&full)?.is_none() {
        let alike = suggest(&full, &known).map(str::to_owned);
        return Err(ToolError::StrayTopic { topic: full, alike });
    }
    log.ensure_topics(&[config.topic_spec(full.strip_prefix(&config.prefix).unwrap_or(&full))])?;
    Ok(full)
}

/// Why a tool could not do its work.
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
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Writing {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
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
    /// There is no such live listing.
    #[error("there is no live listing {listing}")]
    NoListing {
        /// As it was named.
        listing: String,
    },
    /// A decision on a listing and itself.
    #[error("a decision is on two listings, not on one and itself")]
    OneListing,
    /// There is no decision to take back.
    #[error("there is no decision on {a} and {b}")]
    NoDecision {
        /// One listing.
        a: String,
        /// The other one.
        b: String,
    },
    /// A line of a file, or a record of a topic, is not what it should be.
    #[error("{place}: {reason}")]
    Truth {
        /// File or topic, and where in it.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// There is no such dead letter.
    #[error("there is no dead letter {id}")]
    NoLetter {
        /// Its place.
        id: dead_letters::LetterId,
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
        at: dead_letters::LetterId,
        /// What is wrong.
        reason: String,
    },
    /// Nobody takes what is printed, for another reason than that the reader has gone.
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
    /// Signals cannot be caught.
    #[error("cannot listen for signals")]
    Signals(#[source] io::Error),
}

impl Fault for ToolError {
    fn domain(&self) -> Domain {
        match self {
            Self::Config(_) | Self::NoTopic { .. } | Self::ContentType { .. } | Self::Record { .. } => Domain::User,
            Self::File { .. } | Self::Truth { .. } | Self::OneListing | Self::NoDecision { .. } => Domain::User,
            Self::NoListing { .. } | Self::NoLog { .. } | Self::StrayTopic { .. } => Domain::User,
            Self::NoLetter { .. } | Self::NeedsConsent { .. } | Self::Writing { .. } => Domain::User,
            Self::Damaged { .. } => Domain::External,
            Self::Log(error) => error.domain(),
            Self::Output(_) | Self::Signals(_) => Domain::External,
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
            Self::ContentType { .. } => Some("name it: --content-type text/calendar".to_owned()),
            Self::Record { .. } => Some("--keep-going leaves out what cannot be written".to_owned()),
            Self::NoListing { .. } => Some(
                "a listing is named SOURCE/ID with the source's own id; `headwater consume listings --exit-at-end --json` \
                 shows those there are"
                    .to_owned(),
            ),
            Self::NoDecision { .. } => Some("`headwater decide list` shows those there are".to_owned()),
            Self::NoLetter { .. } => Some("`headwater dead-letters list` shows those there are".to_owned()),
            Self::NeedsConsent { .. } => {
                Some("--dry-run says more; --yes replays them; --limit and the filters make them fewer".to_owned())
            }
            Self::Damaged { .. } => Some("was it written by a newer version?".to_owned()),
            Self::File { .. }
            | Self::Truth { .. }
            | Self::Writing { .. }
            | Self::OneListing
            | Self::Output(_)
            | Self::Signals(_) => None,
        }
    }
}

/// Reads a topic from the beginning to its committed end; nothing where there is no such topic.
fn read_to_end(
    log: &dyn Log,
    topic: &str,
    mut each: impl FnMut(LogRecord) -> Result<(), ToolError>,
) -> Result<(), ToolError> {
    const BATCH_BYTES: usize = 4 << 20;
    const WAIT: Duration = Duration::from_millis(100);
    let partitions = log.watermarks(topic)?.unwrap_or_default().len();
    let mut open: Vec<TopicPartition> = (0..).take(partitions).map(|n| TopicPartition::new(topic, n)).collect();
    let assigned: Vec<_> = open.iter().map(|at| (at.clone(), Start::Beginning)).collect();
    let mut reader = log.reader(&assigned)?;
    let mut polled = Vec::new();
    while !open.is_empty() {
        reader.poll(&mut polled, BATCH_BYTES, WAIT)?;
        for one in polled.drain(..) {
            match one {
                Polled::Record(record) => each(record)?,
                Polled::End { partition, .. } => open.retain(|at| *at != partition),
            }
        }
    }
    Ok(())
}

/// The error for a topic that is not there, with a suggestion from those that are.
fn no_topic(log: &dyn Log, config: &Config, topic: String) -> ToolError {
    let names: Vec<String> = match log.topics(&config.prefix) {
        Ok(topics) => topics.into_iter().map(|topic| topic.name).collect(),
        Err(error) => return error.into(),
    };
    let hint = match suggest(&topic, &names) {
        Some(alike) => format!("did you mean {alike:?}?"),
        None if names.is_empty() => {
            format!("no topic begins with {:?} yet; is the configuration right?", config.prefix)
        }
        None => format!("there are: {}", names.join(", ")),
    };
    ToolError::NoTopic { topic, log: log.describe(), hint }
}
