//! Registrations as several processes.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![cfg(unix)]

#[allow(dead_code, reason = "shared with other tests")]
#[path = "../../../tests/e2e/support/mod.rs"]
mod support;

#[allow(dead_code, reason = "shared with other tests")]
#[path = "../../../tests/e2e/subjects/registrations/mod.rs"]
mod subject;

#[path = "../../../tests/e2e/suites/cluster.rs"]
mod cluster;
