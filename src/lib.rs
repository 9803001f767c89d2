//! Headwater's runtime: everything that touches the outside world or the clock.

pub mod admin;
pub mod app;
pub mod cli;
pub mod config;
pub mod console;
pub mod engine;
pub mod error;
pub mod fail_point;
pub mod generate;
pub mod log;
pub mod monitor;
pub mod telemetry;
pub mod tools;
pub mod view;

pub use app::main;
