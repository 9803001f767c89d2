//! The registrations topology: how many there are for each event, hour by hour.

use std::process::ExitCode;

use registrations::Registrations;

fn main() -> ExitCode {
    headwater::main::<Registrations>()
}
