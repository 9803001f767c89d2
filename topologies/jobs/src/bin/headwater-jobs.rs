//! The jobs topology: queues, schedules and workers.

use std::process::ExitCode;

use jobs::Jobs;

/// Jobs and commands are small and move between threads all the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    headwater::main::<Jobs>()
}
