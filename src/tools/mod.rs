//! The tools beside a topology: write records, read records, list topics. They work on either log.

use std::process::ExitCode;

use clap::Subcommand;

use crate::cli::fail;
use crate::config::Section;
use dead_letters::MakeExamine;

pub mod check;
pub mod consume;
pub mod dead_letters;
mod error;
mod open;
mod print;
pub mod produce;
pub mod topics;

pub use error::ToolError;
pub use open::{Opened, ensure_topic, no_topic, open_log, open_written_log, opened, opened_or_made};
pub use print::{Outcome, print_line, print_result, still_read};

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
}

impl ToolArgs {
    /// Runs the tool; errors are printed. `examiner` gives what the topology knows of records. The
    /// exit code is 0, that of the error's domain, or 130 for a replay that was stopped.
    pub fn run<S: Section>(self, examiner: MakeExamine<S>) -> ExitCode {
        let done = |()| ExitCode::SUCCESS;
        let outcome = match self {
            Self::Produce(args) => args.run(examiner).map(done),
            Self::Consume(args) => args.run::<S>().map(done),
            Self::Topics(args) => args.run::<S>().map(done),
            Self::DeadLetters(args) => args.run(examiner),
        };
        outcome.unwrap_or_else(|error| fail(error.as_ref()))
    }
}
