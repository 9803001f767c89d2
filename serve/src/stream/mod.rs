//! Live streams: the result of a filter, and what becomes of it.
//!
//! ```text
//!  changes ─► hub ─► class (one filter, one projection): one frame a commit ─┬─► queue ─► body ─► socket
//!                                                                           └─► queue ─► body ─► socket
//! ```
//!
//! 1. A stream joins its class first and reads the index then. Frames of commits that the index showed
//!    already are passed over, so there is neither a gap nor a repeat.
//! 2. A commit is one frame for a class: changes, the last of which carries the commit's position as its
//!    id. Who is cut off within a frame still has the id of the commit before it, and gets it all again.
//! 3. A queue that has grown too large is emptied, and its stream goes on in state once it can be written to:
//!    of many changes of an event it gets the last one.
//! 4. What is in between is told by heartbeats, which carry the id of the last commit and no data.

mod body;
mod classes;
mod frame;
mod hub;
mod queue;
mod resume;
mod subject;
mod subscriptions;

pub use body::Streaming;
pub use hub::Hub;
pub use subject::Subject;
pub(crate) use subscriptions::{Subscriptions, ended};
