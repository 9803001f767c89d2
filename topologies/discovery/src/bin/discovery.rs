//! The discovery topology: raw listings in; clean, deduplicated, scored events out.

use std::process::ExitCode;

use discovery::Discovery;

fn main() -> ExitCode {
    headwater::main::<Discovery>()
}
