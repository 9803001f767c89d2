//! Headwater's runtime: everything that touches the outside world or the clock.

pub mod config;
pub mod error;
pub mod log;
