//! The tools beside a topology: write records, read records, list topics. They work on either log.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Subcommand;
use serde::Serialize;

use crate::cli::{ConfigArgs, fail};
use crate::config::{Config, LogKind, suggest};
use crate::error::Fault;
use crate::log::embedded::EmbeddedLog;
use crate::log::kafka::KafkaLog;
use crate::log::{Log, LogError};

pub mod check;
pub mod consume;
pub mod dead_letters;
pub mod decide;
mod error;
pub mod evaluate;
pub mod explain;
pub mod produce;
pub mod topics;
pub mod train;

pub use error::ToolError;

/// The tools that work on a log.
#[derive(Debug, Clone, Subcommand)]
pub enum ToolArgs {
    /// Write files into a topic
    Produce(produce::ProduceArgs),
    /// Print the records of a topic
    Consume(consume::ConsumeArgs),
    /// List the topics
    Topics(topics::TopicsArgs),
    /// List, show and replay what could not be used
    #[command(subcommand)]
    DeadLetters(dead_letters::DeadLettersArgs),
    /// Say that two listings are one event or not, take it back, list what was said
    #[command(subcommand)]
    Decide(decide::DecideArgs),
    /// Tell how well listings were resolved, by labelled pairs
    Evaluate(evaluate::EvaluateArgs),
    /// Train what comparisons count by labelled pairs
    #[command(subcommand)]
    Train(train::TrainArgs),
    /// Explain why two listings are one event, or why they are not
    Explain(explain::ExplainArgs),
}

impl ToolArgs {
    /// Runs the tool; errors are printed. The exit code is 0, that of the error's domain, or 130
    /// for a replay that was stopped.
    pub fn run(self) -> ExitCode {
        let done = |()| ExitCode::SUCCESS;
        let outcome = match self {
            Self::Produce(args) => args.run().map(done),
            Self::Consume(args) => args.run().map(done),
            Self::Topics(args) => args.run().map(done),
            Self::Decide(args) => args.run().map(done),
            Self::Evaluate(args) => args.run().map(done),
            Self::Train(args) => args.run().map(done),
            Self::Explain(args) => args.run().map(done),
            Self::DeadLetters(args) => args.run(),
        };
        outcome.unwrap_or_else(|error| fail(error.as_ref()))
    }
}

/// What a tool of the command line came to.
pub type Outcome = Result<(), Box<dyn Fault>>;

/// The configuration and its log, which has to be there already.
///
/// # Errors
/// What is wrong with the configuration, and as [`open_written_log`].
pub fn opened(args: &ConfigArgs) -> Result<(Config, Arc<dyn Log>), Box<dyn Fault>> {
    args.start_logging("warn")?;
    let config = args.load()?.config;
    let log = open_written_log(&config)?;
    Ok((config, log))
}

/// The configuration and its log, for a tool that may do without what is in it.
///
/// # Errors
/// What is wrong with the configuration, and as [`open_log`].
pub fn opened_or_made(args: &ConfigArgs) -> Result<(Config, Arc<dyn Log>), Box<dyn Fault>> {
    args.start_logging("warn")?;
    let config = args.load()?.config;
    let log = open_log(&config).map_err(ToolError::from)?;
    Ok((config, log))
}

/// Prints a line.
///
/// # Errors
/// When it cannot be printed.
pub fn print_line(line: &str) -> Outcome {
    still_read(writeln!(io::stdout(), "{line}"))?;
    Ok(())
}

/// Prints a result, as text or as JSON.
///
/// # Errors
/// When it cannot be printed.
pub fn print_result<T: Serialize + Display>(result: &T, json: bool) -> Outcome {
    print_line(&if json { serde_json::json!(result).to_string() } else { result.to_string() })
}

/// Whether somebody still takes what is printed. Whoever reads it may have enough of it and go, which
/// is no error.
///
/// # Errors
/// When it cannot be printed for another reason.
pub fn still_read(printed: io::Result<()>) -> Result<bool, ToolError> {
    match printed {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(ToolError::Output(error)),
    }
}

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

/// The error for a topic that is not there, with a suggestion from those that are.
pub fn no_topic(log: &dyn Log, config: &Config, topic: String) -> ToolError {
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
