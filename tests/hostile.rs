//! The fuzz targets of the runtime without a fuzzer, see `fuzz/`.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../fuzz/src/drive.rs"]
mod drive;
#[path = "../fuzz/src/runtime.rs"]
mod runtime;

use drive::drive;

#[test]
fn cells_of_the_embedded_log() {
    drive("stored_log", runtime::stored_log);
}

#[test]
fn a_damaged_file_of_the_embedded_log() {
    drive("damaged_file", runtime::damaged_file);
}

#[test]
fn records_of_progress() {
    drive("progress_records", runtime::progress_records);
}
