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

pub mod access;
pub mod admin;
pub mod alike;
pub mod api;
pub mod bench;
pub mod commit;
pub mod config;
pub mod console;
pub mod decisions;
pub mod docs;
pub mod document;
pub mod filter;
pub mod follow;
pub mod geo;
pub mod history;
pub mod index;
pub mod key_tool;
pub mod live;
pub mod packed;
pub mod pipeline;
pub mod projection;
pub mod server;
pub mod site;
mod slots;
pub mod stream;
pub mod text;
pub mod timeline;
pub mod tool;
