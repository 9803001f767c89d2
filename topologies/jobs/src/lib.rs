//! Jobs: queues, schedules and workers.
//!
//! Decisions are dataflow, effects are workers, and an effect's outcome comes back as a record.

pub mod model;
