//! Registrations from end to end, alone and beside discovery.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[cfg(unix)]
mod side_by_side;
#[path = "subjects/registrations/mod.rs"]
mod subject;
#[allow(dead_code, reason = "shared with the tests of other topologies")]
mod suites;
#[allow(dead_code, reason = "shared with the tests of other topologies")]
mod support;
