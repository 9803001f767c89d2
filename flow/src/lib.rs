//! What the runtime and the operators of Headwater share.
//!
//! | module | what |
//! | --- | --- |
//! | [`epochs`] | input that waits until its epoch is complete: the base of every stateful operator |
//! | [`timer`] | rows that come due, rows that expire |
//! | [`latest`] | of all that records say of a key, the last word |
//! | [`join`] | rows with what is known of their keys, rows that follow redirects |
//! | [`raw`] | raw records and dead letters |
//! | [`read`] | from raw records to rows, with dead letters |
//! | [`json`], [`cloud_event`] | records in JSON, fields by pointer, CloudEvents |
//! | [`position`] | where a record stands among all records |
//! | [`ids`], [`id_map`] | 16-byte identities, and maps keyed by them |
//! | [`shared`] | values that are shared and compared by hash |
//! | [`meter`] | how many entries an operator holds |
//!
//! Nothing in this crate does I/O, reads a clock, or runs asynchronously.

pub mod cloud_event;
pub mod epochs;
pub mod id_map;
pub mod ids;
pub mod join;
pub mod json;
pub mod latest;
pub mod meter;
pub mod position;
pub mod raw;
pub mod read;
pub mod shared;
pub mod timer;

pub use id_map::IdMap;
pub use join::LeftJoin;
pub use latest::Latest;
pub use position::{LogPosition, Positioned};
pub use raw::{DeadLetter, DeadLetterCode, Origin, RawRecord};
pub use read::{ReadRecords, Unusable};
pub use shared::Shared;
pub use timer::{Due, Timers};

#[doc(hidden)]
pub use serde;

/// The dataflow timestamp: an epoch, in milliseconds since the Unix epoch.
pub type Epoch = u64;
