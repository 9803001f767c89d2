//! Headwater's runtime: everything that touches the outside world or the clock.

pub mod admin;
pub mod cli;
pub mod config;
pub mod console;
pub mod dataflow;
pub mod engine;
pub mod error;
pub mod fail_point;
pub mod generate;
pub mod log;
pub mod monitor;
pub mod program;
pub mod schema;
pub mod telemetry;
pub mod tools;
pub mod view;
pub mod words;
