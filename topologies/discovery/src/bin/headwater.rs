//! The tools beside the topologies.

use std::process::ExitCode;

fn main() -> ExitCode {
    discovery::command::main()
}
