//! Discovery's own tools: what a source would give, decisions, and how well listings are resolved.

use std::process::ExitCode;

use clap::Subcommand;
use headwater::cli::fail;
use headwater::config::Invalid;
use headwater::topology::Tools;
use headwater_serve::key_tool::KeyArgs;
use headwater_serve::tool::{Known, ServeArgs};

use crate::config::{Config, Sections};

pub mod check_source;
pub mod decide;
pub mod evaluate;
mod examine;
pub mod explain;
pub mod export;
mod preview;
pub mod train;

pub use examine::Examiner;
pub use preview::Previewer;

/// Discovery's tools beside those of the runtime.
#[derive(Debug, Clone, Subcommand)]
pub enum DiscoveryTools {
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
    /// Serve the events over HTTP, without an engine: search, filters, calendars, live streams
    Serve(ServeArgs),
    /// Make a key for the API: what may be done with it, and the hash to be configured
    Key(KeyArgs),
    /// Write the events of a server to a file: CSV, NDJSON, iCalendar or GeoJSON
    Export(export::ExportArgs),
    /// Print the listings that files would give and everything that is wrong with them, without any log
    CheckSource(check_source::CheckSourceArgs),
}

/// What discovery knows of raw records.
pub fn knowledge(config: &Config) -> Result<Known, Vec<Invalid>> {
    Ok((Examiner::of(config)?, Some(Previewer::of(config)?)))
}

impl Tools for DiscoveryTools {
    fn run(self) -> ExitCode {
        let outcome = match self {
            Self::Decide(args) => args.run(),
            Self::Evaluate(args) => args.run(),
            Self::Train(args) => args.run(),
            Self::Explain(args) => args.run(),
            Self::Serve(args) => args.run::<Sections>(|sections| &sections.serve, knowledge),
            Self::Key(args) => args.run(),
            Self::Export(args) => return args.run(),
            Self::CheckSource(args) => args.run(),
        };
        match outcome {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(error.as_ref()),
        }
    }
}
