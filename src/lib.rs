//! Headwater's runtime: everything that touches the outside world or the clock.

pub mod error;
pub mod generate;
pub mod log;
