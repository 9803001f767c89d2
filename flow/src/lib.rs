//! What the runtime and the operators of Headwater share.
//!
//! | module | what |
//! | --- | --- |
//! | [`epochs`] | input that waits until its epoch is complete: the base of every stateful operator |
//! | [`timer`] | rows that come due, rows that expire |
//! | [`raw`] | raw records and dead letters |
//! | [`ids`], [`id_map`] | 16-byte identities, and maps keyed by them |
//! | [`shared`] | values that are shared and compared by hash |
//! | [`meter`] | how many entries an operator holds |
//!
//! Nothing in this crate does I/O, reads a clock, or runs asynchronously.

pub mod epochs;
pub mod id_map;
pub mod ids;
pub mod meter;
pub mod raw;
pub mod shared;
pub mod timer;

pub use id_map::IdMap;
pub use raw::{DeadLetter, DeadLetterCode, Origin, RawRecord};
pub use shared::Shared;
pub use timer::{Due, Timers};

#[doc(hidden)]
pub use serde;

/// The dataflow timestamp: an epoch, in milliseconds since the Unix epoch.
pub type Epoch = u64;
