//! The dataflow of a topology: from the records of the log to the records that are written.
//!
//! ```text
//!  raw records ──────┐          ┌─ write ──────────► rows     ─┐
//!  tables ───────────┤  Flow    ├─ write_changes ──► states    ├─► OutRecord ─► committer
//!  states (restored) ┤ (the     ├─ write_facts ────► facts     │
//!  watermark ────────┘ topology)└─ dead_letters ───► letters  ─┘
//! ```
//!
//! | file | what |
//! | --- | --- |
//! | `flow` | [`Flow`]: what a topology builds on |
//! | `restore`, `table` | from records of the log to collections |
//! | `encode`, `buffer`, `dead_letter` | from collections to records |
//! | `record`, `commit_id`, `names`, `context`, `held` | what these share |
//!
//! Nothing here writes to the log, and only `held` reads from it.

pub mod buffer;
mod commit_id;
mod context;
pub mod dead_letter;
mod encode;
mod flow;
mod held;
mod names;
mod record;
mod restore;
mod table;

pub use commit_id::{COMMIT, CommitId, Lineage, NoCommitId};
pub use context::{Context, Damage, OnDamage, Recovery};
pub use flow::{Flow, Inputs};
pub use held::{Change, HeldRows};
pub use names::TopicNames;
pub use record::{EPOCH, OutRecord, epoch_of};
