//! The fuzz targets of jobs without a fuzzer, see `fuzz/`.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../../../fuzz/src/drive.rs"]
mod drive;
#[path = "../../../fuzz/src/jobs.rs"]
mod targets;

use drive::drive;

#[test]
fn commands() {
    drive("job_commands", targets::job_commands);
}

#[test]
fn schedules() {
    drive("schedules", targets::schedules);
}
