//! The discovery topology: raw listings in; clean, deduplicated, scored events out.

use std::process::ExitCode;

fn main() -> ExitCode {
    headwater::main::<topologies::Discovery>()
}
