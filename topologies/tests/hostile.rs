//! The fuzz targets of topologies without a fuzzer, see `fuzz/`.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "../../fuzz/src/drive.rs"]
mod drive;
#[path = "../../fuzz/src/views.rs"]
mod views;

#[test]
fn records_that_views_read() {
    drive::drive("view_records", views::view_records);
}
