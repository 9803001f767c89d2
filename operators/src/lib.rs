//! Headwater's domain and its dataflow operators.
//!
//! Nothing in this crate knows that a log, a file, a socket or a clock exists. Each operator is
//! one file: plain logic on plain data first, then an extension trait that wires the logic into
//! a differential dataflow, then tests.
//!
//! Timestamps of collections are `u64` epochs in milliseconds; see the runtime for who stamps them.

pub mod categorize;
pub mod event;
pub mod extract;
pub mod gazetteer;
pub mod geocode;
pub mod ids;
pub mod listing;
pub mod moment;
mod online;
mod packed;
pub mod raw;
pub mod resolve;
pub mod sanitize;
pub mod score;
mod web;
pub mod window;
pub mod words;
mod zones;

pub use event::{Event, EventId};
pub use headwater_flow::{Epoch, Shared, meter, shared};
pub use ids::ListingId;
pub use listing::{Listing, LiveListing, PackedListing};
pub use moment::Moment;
pub use raw::{DeadLetter, Document, RawRecord};
