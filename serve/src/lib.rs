//! Serving: clean events for people and programs, from memory.
//!
//! ```text
//!  committed topics ─► follow ─► commits ─► writer ─► index ─► REST ─► console
//!                                             │
//!                                             └─► changes ─► live streams
//! ```
//!
//! Serving is a view like any other: it reads committed topics, holds nothing that they do not, and is made
//! anew at every start. It lives in memory, so that filters, full text and live streams see a commit as soon
//! as it is read, and see it whole.

pub mod api;
pub mod commit;
pub mod config;
mod console;
pub mod document;
pub mod filter;
pub mod follow;
pub mod geo;
pub mod history;
pub mod index;
pub mod live;
pub mod packed;
pub mod projection;
pub mod server;
mod slots;
pub mod stream;
pub mod text;
pub mod timeline;
pub mod tool;
