//! The fuzz targets of discovery without a fuzzer, see `fuzz/`.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../../../fuzz/src/discovery.rs"]
mod discovery;
#[path = "../../../fuzz/src/drive.rs"]
mod drive;
#[path = "../../../fuzz/src/records.rs"]
mod records;
#[path = "../../../fuzz/src/views.rs"]
mod views;

use drive::drive;

#[test]
fn configuration_files() {
    drive("config", discovery::config);
}

#[test]
fn records_that_views_read() {
    drive("view_records", views::view_records);
}

#[test]
fn records_of_state() {
    drive("state_records", records::state_records);
}

#[test]
fn records_of_tables() {
    drive("table_records", records::table_records);
}
