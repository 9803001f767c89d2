//! What tools work on: the configuration, its log, and topics of it.

use std::sync::Arc;

use super::error::ToolError;
use crate::cli::ConfigArgs;
use crate::config::{Config, Loaded, LogKind, Places, Role, Runtime, Section, suggest};
use crate::error::Fault;
use crate::log::embedded::EmbeddedLog;
use crate::log::kafka::KafkaLog;
use crate::log::{Log, LogError};

/// What a tool works on.
pub struct Opened<S> {
    /// The configuration.
    pub config: Config<S>,
    /// Where each of its values was written.
    pub places: Places,
    /// The log that it names.
    pub log: Arc<dyn Log>,
}

/// Starts log lines, reads the configuration, and opens its log, which has to be there already.
///
/// # Errors
/// What is wrong with the configuration, and as [`open_written_log`].
pub fn opened<S: Section>(args: &ConfigArgs) -> Result<Opened<S>, Box<dyn Fault>> {
    args.start_logging("warn")?;
    let Loaded { config, places } = args.load::<S>()?;
    let log = open_written_log(&config.runtime)?;
    Ok(Opened { config, places, log })
}

/// As [`opened`], for a tool that may do without what is in the log.
///
/// # Errors
/// What is wrong with the configuration, and as [`open_log`].
pub fn opened_or_made<S: Section>(args: &ConfigArgs) -> Result<Opened<S>, Box<dyn Fault>> {
    args.start_logging("warn")?;
    let Loaded { config, places } = args.load::<S>()?;
    let log = open_log(&config.runtime).map_err(ToolError::from)?;
    Ok(Opened { config, places, log })
}

/// Opens the log that `config` names. Kafka is not connected to yet; [`Log::check`] does that.
///
/// # Errors
/// As [`EmbeddedLog::new`] and [`KafkaLog::new`].
pub fn open_log(config: &Runtime) -> Result<Arc<dyn Log>, LogError> {
    Ok(match config.log.kind {
        LogKind::Embedded => Arc::new(EmbeddedLog::new(&config.log.embedded)?),
        LogKind::Kafka => Arc::new(KafkaLog::new(config.log.kafka.clone())?),
    })
}

/// Opens the log that `config` names, for a tool that only works with what is there already.
///
/// # Errors
/// [`ToolError::NoLog`] where it is a file that is not there; else as [`open_log`].
pub fn open_written_log(config: &Runtime) -> Result<Arc<dyn Log>, ToolError> {
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
/// [`ToolError::OwnTopic`] where the topology alone writes it; [`ToolError::StrayTopic`] where the
/// configuration does not know it; else when the log fails.
pub fn ensure_topic(log: &dyn Log, config: &Runtime, topic: &str, any: bool) -> Result<String, ToolError> {
    let full = config.full_name(topic);
    let name = full.strip_prefix(&config.prefix).unwrap_or(&full);
    if config.roles.of(name).is_written_by_the_topology() {
        return Err(ToolError::OwnTopic { open: open_topics(config), topic: full });
    }
    let known: Vec<String> = config.topic_specs().into_iter().map(|spec| spec.name).collect();
    if !any && !known.contains(&full) && log.watermarks(&full)?.is_none() {
        let alike = suggest(&full, &known).map(str::to_owned);
        return Err(ToolError::StrayTopic { topic: full, alike });
    }
    log.ensure_topics(&[config.topic_spec(name)])?;
    Ok(full)
}

/// The topics that others than the topology write, without the prefix.
fn open_topics(config: &Runtime) -> Vec<String> {
    let tables = config.roles.names().filter(|name| config.roles.of(name) == Role::Table);
    let inputs = config.inputs.iter().map(|input| input.topic.as_str());
    inputs.chain(tables).map(str::to_owned).collect()
}

/// The error for a topic that is not there, with a suggestion from those that are.
pub fn no_topic(log: &dyn Log, config: &Runtime, topic: String) -> ToolError {
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
