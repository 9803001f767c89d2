//! Views: tables in Postgres or SQLite that follow the committed output topics.
//!
//! ```text
//!  a topic of ───┐                          ┌─► its tables
//!  the topology  │   reader ─► batch ─► one ├─► ...
//!  another one ──┼─►            transaction ├─► ...
//!  ...           │                          ├─► dead_letters
//!  dead-letters ─┘                          └─► view_offsets
//! ```
//!
//! What a view shows, a topology declares: a [`ViewSpec`] names topics, [tables](Table) and the functions
//! that make [rows](TableRow) of records. Dead letters are the runtime's, and in every view.
//!
//! A view runs on threads of its own, at its own pace: a slow or absent database never stalls the
//! engine. Rows and offsets are written in one transaction, so that after any crash the view goes
//! on where its tables are. The offsets are moved by compare-and-set, under the lock of one row
//! that names the instance which may write: a second instance takes the view over, and the first
//! cannot write any more.
//!
//! The tables hold nothing that the topics do not: dropped, they are made anew. A view whose
//! offsets cannot be right any more (its topic was recreated, its records are gone, or it was away
//! for longer than the log keeps tombstones, so that it may have missed some) empties its tables
//! and reads the topics from the beginning. So it does where a topology declares other columns.
//!
//! Several topologies may share a database of Postgres, each with a schema of its own, which is called
//! as the topology by default. A file of SQLite belongs to one topology. Tables of another topology are
//! never touched: a view that finds some ends with an error.
//!
//! NB: a topic that was deleted, created again and filled beyond the old offset while the view was
//! away looks like the old one. Reset the view (drop its tables) when doing such a thing.
//!
//! ```text
//!  handle ─► runner ─► session ─► reading, writing ─► context ─► status
//!                                        │
//!  config ─► postgres, sqlite ─► layout  ├─► store ─► batch ─► spec ─► dead_letters, read ─► table
//! ```

mod batch;
mod config;
mod context;
mod dead_letters;
mod error;
mod handle;
mod layout;
mod options;
pub mod postgres;
mod read;
mod reading;
mod rebuild;
mod runner;
mod session;
mod spec;
pub mod sqlite;
mod status;
mod store;
mod table;
mod writing;

pub use batch::{Batch, Changes, Step, make_storable};
pub use config::ViewsConfig;
pub use dead_letters::DEAD_LETTERS;
pub use error::ViewError;
pub use handle::{View, ViewHandle, ViewWatch};
pub use options::{BatchConfig, ViewOptions};
pub use postgres::{PostgresConfig, PostgresStore};
pub use read::{ReadRecord, Text, Unread, Versioned, is_storable, parse, time_cell};
pub use spec::{Migrations, ViewSpec, ViewTopic, ViewTopics};
pub use sqlite::{SqliteConfig, SqliteStore};
pub use status::ViewStatus;
pub use store::{Generation, OpenStore, Preparation, Stored, ViewStore};
pub use table::{Cell, Column, Kind, Row, Table, TableRow};
