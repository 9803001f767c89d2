//! A program: a declared topology, as the engine runs it.

use std::fmt;
use std::sync::Arc;

use crate::dataflow::Flow;

/// Fingerprints of what decides results; recorded with the progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprints {
    /// Of everything between the raw records, once they are read, and the outputs. A change corrects the
    /// outputs at the next start.
    pub results: u64,
    /// Of how raw records are read. A change takes effect as records come again.
    pub extraction: u64,
}

/// What builds a topology's dataflow on a worker.
type Build = Arc<dyn for<'s> Fn(&mut Flow<'s>) + Send + Sync>;

/// What an engine runs: how to build the dataflow, and what its results depend on.
#[derive(Clone)]
pub struct Program {
    /// What its results depend on.
    pub fingerprints: Fingerprints,
    build: Build,
}

impl Program {
    /// A program whose dataflow `build` builds on each worker.
    pub fn new(fingerprints: Fingerprints, build: impl for<'s> Fn(&mut Flow<'s>) + Send + Sync + 'static) -> Self {
        Self { fingerprints, build: Arc::new(build) }
    }

    /// Builds the dataflow on one worker.
    pub fn build(&self, flow: &mut Flow<'_>) {
        (self.build)(flow);
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("fingerprints", &self.fingerprints).finish_non_exhaustive()
    }
}
