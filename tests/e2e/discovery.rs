//! Discovery from end to end: its binaries, its topics and its tables, on the embedded log, Kafka, SQLite and Postgres.
//!
//! One program, since each would link everything once more.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[cfg(unix)]
mod cli;
#[cfg(unix)]
mod clients;
mod continued;
mod golden;
mod letters;
#[cfg(target_os = "linux")]
mod operations;
mod people;
mod pipeline;
mod recovery;
#[cfg(target_os = "linux")]
mod serving;
#[path = "subjects/discovery/mod.rs"]
mod subject;
mod suites;
#[allow(dead_code, reason = "shared with the tests of other topologies")]
mod support;
#[cfg(unix)]
mod with_jobs;
