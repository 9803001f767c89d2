//! `headwater key`: makes a key for the API.

use clap::Args;
use headwater::error::{Domain, Fault};
use headwater::tools::{Outcome, print_result};
use serde::Serialize;

use crate::access::keys::{Scope, generate};

/// `headwater key`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
The key is printed once and kept nowhere. The configuration holds its hash only, so that whoever reads it cannot use \
the key. Scopes: read (events and streams), ops (how the topology is doing, topics, dead letters), produce (send \
records, submit jobs), work (lease jobs and report on them), decide (decide on listings), replay (replay dead letters), \
admin (change gates, queues and schedules).

Examples:
  headwater key web --scope read
  headwater key kim --scope read --scope ops --scope decide --json")]
pub struct KeyArgs {
    /// Who gets the key; the name stands beside everything that is written with it
    pub name: String,
    /// What may be done with it; may be repeated
    #[arg(long, value_name = "SCOPE", value_enum, required = true)]
    pub scope: Vec<Scope>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// The system gives no random numbers.
#[derive(Debug, thiserror::Error)]
#[error("no key can be made")]
struct NoKey(#[from] openssl::error::ErrorStack);

impl Fault for NoKey {
    fn domain(&self) -> Domain {
        Domain::External
    }

    fn hint(&self) -> Option<String> {
        None
    }
}

/// A key that was made.
#[derive(Serialize)]
struct Made {
    name: String,
    key: String,
    hash: String,
    scopes: Vec<Scope>,
}

impl std::fmt::Display for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, key, hash, scopes } = self;
        let scopes: Vec<String> = scopes.iter().map(|scope| format!("\"{scope}\"")).collect();
        writeln!(f, "The key of {name}, which is not shown again:\n\n  {key}\n\nFor the configuration:\n")?;
        writeln!(f, "[[serve.keys]]\nname = {name:?}\nhash = \"{hash}\"")?;
        write!(f, "scopes = [{}]", scopes.join(", "))
    }
}

impl KeyArgs {
    /// Runs the tool.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn run(self) -> Outcome {
        let (key, hash) = generate().map_err(NoKey)?;
        let mut scopes = self.scope;
        scopes.sort_unstable();
        scopes.dedup();
        print_result(&Made { name: self.name, key, hash, scopes }, self.json)
    }
}
