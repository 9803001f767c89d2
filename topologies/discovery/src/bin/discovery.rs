//! The discovery topology: raw listings in; clean, deduplicated, scored events out.

use std::process::ExitCode;

use discovery::Discovery;

/// Records, listings and events are small and move between threads all the time. A profile of the whole pipeline
/// spent over a quarter of its time in glibc's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    headwater::main::<Discovery>()
}
