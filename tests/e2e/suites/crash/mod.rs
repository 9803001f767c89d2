//! Exactly once on the worst days: the engine is killed at every step and at random moments, fenced
//! by a second instance, stopped and woken as a zombie, and loses its broker and its database. In
//! the end every output topic and every table of its view are compared with an undisturbed run.
//!
//! `HEADWATER_CRASH_KILLS` says how often each test of kills kills (default: 100 on the embedded
//! log, 40 on Kafka; fewer than there are fail points share these between the two logs), `HEADWATER_CRASH_SEED` when and where, `HEADWATER_CRASH_OUTAGES` how often broker and
//! database are each stopped and stalled (default: once).
//!
//! The suite runs over any topology, see [`Subject`](crate::support::subject::Subject).

mod fencing;
mod kills;
mod outages;
mod stream;
mod trial;
mod verdict;
