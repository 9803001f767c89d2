//! The figures of a run of discovery, as its summary gives them.

use headwater::console;
use headwater::engine::lifecycle::Lifecycle;
use serde::{Deserialize, Serialize};

/// What discovery has counted, at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// Raw records read since the start.
    pub records: u64,
    /// Live listings.
    pub listings: i64,
    /// Live listings that are not alone in their event.
    pub merged: i64,
    /// Events.
    pub events: i64,
    /// Dead letters written since the start.
    pub dead_letters: u64,
}

impl Figures {
    /// Reads the counters of all processes.
    pub fn of(lifecycle: &Lifecycle) -> Self {
        let figures = console::Figures::of(lifecycle);
        let of = |key| figures.get(key).unwrap_or(0);
        Self {
            records: figures.records,
            listings: of("listings"),
            merged: of("merged"),
            events: of("events"),
            dead_letters: figures.dead_letters,
        }
    }
}
