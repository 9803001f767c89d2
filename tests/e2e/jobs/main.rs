//! Jobs from end to end: an engine that is killed at every step, workers that die, a log that is checked as a whole.
#![cfg(unix)]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod crash;
mod served;
#[path = "../../support/service.rs"]
mod service;
mod trial;
mod work;
