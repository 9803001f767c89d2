//! The engine: drives one timely computation from the log's inputs to its outputs, exactly once.
//!
//! ```text
//!  source ─► (the topology's operators) ─► outputs ─► commit ─► log
//!    ▲                                                  │
//!    └────────────── committed epoch ◄──────────────────┘
//! ```
//!
//! [`start`] fences other instances, reads what was committed, restores the state at the epoch of
//! the last commit, corrects the outputs where they no longer say what the state implies, and
//! goes on from the committed positions. See "Exactly once" in ARCHITECTURE.md.
//!
//! | file | what |
//! | --- | --- |
//! | `start`, `options`, `running` | a start, its settings, and what it gives |
//! | `recovery`, `gap`, `orders`, `progress` | what was committed, and what follows from it |
//! | `correction` | what the outputs lack of what the state implies |
//! | `worker`, `watermark`, `timestamps` | the dataflow, and time in it |
//! | `source`, `reading`, `input`, `pace`, `growth` | from the log into the dataflow |
//! | `seal`, `committer`, `marks`, `members`, `shrink` | from the dataflow into the log |
//! | `lifecycle`, `meters` | what the threads share and what they count |
//! | `cluster` | several processes |

mod cluster;
mod committer;
pub mod correction;
mod error;
pub mod gap;
mod growth;
pub(crate) mod input;
pub mod lifecycle;
mod marks;
mod members;
pub mod meters;
mod options;
mod orders;
mod pace;
pub mod progress;
mod reading;
pub mod recovery;
mod running;
mod seal;
mod shrink;
mod source;
mod start;
pub(crate) mod timestamps;
pub(crate) mod watermark;
mod worker;

pub use cluster::options::ClusterOptions;
pub use error::EngineError;
pub use input::InputTopic;
pub use members::SpecOf;
pub use options::EngineOptions;
pub use pace::Pace;
pub use running::{Engine, RecoverySummary};

pub use start::{Preview, preview, start};
