//! Headwater's runtime: everything that touches the outside world or the clock.

pub mod admin;
pub mod app;
pub mod cli;
pub mod config;
pub mod console;
pub mod dataflow;
pub mod driver;
pub mod engine;
pub mod error;
pub mod fail_point;
pub mod http;
pub mod log;
pub mod monitor;
pub mod program;
pub mod run;
pub mod schema;
mod takeover;
pub mod telemetry;
pub mod tools;
pub mod topology;
pub mod view;
pub mod words;

pub use app::main;
