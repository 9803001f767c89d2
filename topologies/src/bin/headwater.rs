//! The tools beside the topologies: write records, read records, list topics.

use std::process::ExitCode;

use clap::Parser;
use headwater::cli::ToolArgs;

/// Write, read and list the topics of Headwater's log
#[derive(Parser)]
#[command(name = "headwater", version)]
struct Arguments {
    #[command(subcommand)]
    tool: ToolArgs,
}

fn main() -> ExitCode {
    Arguments::parse().tool.run()
}
