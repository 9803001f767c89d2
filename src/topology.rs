//! A topology: what it declares, and what the runtime makes of it.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Subcommand;

use crate::admin::Readiness;
use crate::config::{Config, Invalid, Section};
use crate::console::Highlight;
use crate::dataflow::Flow;
use crate::error::Fault;
use crate::log::Log;
use crate::program::Fingerprints;
use crate::schema::Schema;
use crate::telemetry::Metrics;
use crate::tools::dead_letters::Examine;
use crate::view::ViewSpec;

/// A topology: what happens between the topics that it reads and those that it writes.
///
/// It declares its topics and builds a dataflow; the runtime gives exactly-once, recovery, rebuilds,
/// views, tools and metrics. docs/topologies.md writes one step by step.
pub trait Topology: Sized + Send + Sync + 'static {
    /// What it does, in a line.
    const ABOUT: &'static str;
    /// What stands below the options in `--help`: what it does without any, examples, exit codes.
    const HELP: &'static str;
    /// What is worth showing to whoever starts it.
    const SHOWCASE: Showcase;
    /// Its own sections of the configuration.
    type Config: Section;
    /// Its own tools, [`NoTools`] for most.
    type Tools: Tools;

    /// Declares its topics in `schema`, and prepares what it needs to build.
    ///
    /// # Errors
    /// Everything that is wrong with its sections of the configuration.
    fn declare(config: &Config<Self::Config>, schema: &mut Schema) -> Result<Self, Vec<Invalid>>;

    /// What its results depend on, beside its inputs.
    fn fingerprints(&self) -> Fingerprints;

    /// Builds its dataflow on one worker.
    fn build<'s>(&self, flow: &mut Flow<'s>);

    /// What its views show. Without it, they show dead letters only.
    fn views() -> ViewSpec {
        ViewSpec::new(<Self::Config as Section>::NAME)
    }

    /// What runs beside the engine while it runs for long, such as a generated feed.
    ///
    /// # Errors
    /// What keeps it from starting.
    fn companions(
        config: &Config<Self::Config>,
        beside: &Beside<'_>,
    ) -> Result<Vec<Box<dyn Companion>>, Box<dyn Fault>> {
        let _ = (config, beside);
        Ok(Vec::new())
    }

    /// What it knows of raw records, for replays of dead letters. Without it, they know documents
    /// only, by their keys.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    fn examine(config: &Config<Self::Config>) -> Result<Option<Box<dyn Examine>>, Vec<Invalid>> {
        let _ = config;
        Ok(None)
    }
}

/// What is worth showing to whoever starts a topology.
#[derive(Debug, Clone, Copy)]
pub struct Showcase {
    /// The topic (without the prefix) to look at first.
    pub topic: &'static str,
    /// The command whose `consume` shows it.
    pub command: &'static str,
    /// A query on a view.
    pub query: &'static str,
    /// A few lines on a record of the topic, where it is worth them.
    pub highlight: Option<Highlight>,
}

/// The engine that something runs beside.
pub struct Beside<'a> {
    /// Its log.
    pub log: &'a dyn Log,
    /// Its metrics; `None` where they are not collected, because there is no admin server.
    pub metrics: Option<Metrics>,
    /// How far it has come.
    pub readiness: Arc<Readiness>,
}

/// Something that runs beside the engine, on threads of its own.
pub trait Companion {
    /// Stops it.
    ///
    /// # Errors
    /// Why it had ended before.
    fn stop(self: Box<Self>) -> Result<(), Box<dyn Fault>>;
}

/// Tools of a topology beside those of the runtime.
pub trait Tools: Subcommand {
    /// Runs one; errors are printed.
    fn run(self) -> ExitCode;
}

/// No tools beside those of the runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum NoTools {}

impl Tools for NoTools {
    fn run(self) -> ExitCode {
        match self {}
    }
}
