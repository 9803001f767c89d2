//! Headwater's runtime: everything that touches the outside world or the clock.

pub mod console;
pub mod engine;
pub mod error;
pub mod log;
pub mod view;
