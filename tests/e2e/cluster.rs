//! Discovery as several processes.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![cfg(unix)]

#[allow(dead_code, reason = "shared with other tests")]
mod support;

#[allow(dead_code, reason = "shared with other tests")]
#[path = "subjects/discovery/mod.rs"]
mod subject;

#[path = "suites/cluster.rs"]
mod cluster;
