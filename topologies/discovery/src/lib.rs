//! Headwater's topologies: what happens between the input topics and the output topics.
//!
//! A topology is one function that reads like the diagram of what it does; everything it needs
//! from the world is the runtime's. The binaries beside this library start them, and run the
//! tools and benchmarks.

pub mod bench;
pub mod command;
pub mod config;
pub mod discovery;
pub mod figures;
pub mod generate;
pub mod place_jobs;
pub mod tables;
pub mod tools;

pub use discovery::Discovery;
pub use figures::Figures;
