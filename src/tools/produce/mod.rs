//! Writes files into a topic.
//!
//! A file of JSON lines goes in a record a line, without a key: each line adds or updates listings.
//! Any other file is one record. Such a record is a *document*: its next version replaces all the
//! listings that it gave. So it needs a key that stays the same from version to version, which is the
//! file's name without its extension unless another one is asked for. A tombstone under that key
//! withdraws the document.
//!
//! | file | what |
//! | --- | --- |
//! | `args`, `options` | what is asked for |
//! | `input` | which files there are, and how each is read |
//! | `cut` | a file's records |
//! | `door` | what the topology would not look at is not written |
//! | `write` | records into the log |

mod args;
mod cut;
mod door;
mod error;
mod input;
mod options;
mod write;

pub use args::ProduceArgs;
pub use cut::{Cut, cut};
pub use error::ProduceError;
pub use options::{KeyRule, ProduceOptions, SourceRule};
pub use write::{Produced, produce};

/// The header that names a record's source.
pub const SOURCE_HEADER: &str = "source";
/// The header that names a record's content type.
pub const CONTENT_TYPE_HEADER: &str = "content-type";
