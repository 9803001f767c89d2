//! Rows of windows: what they are of, and what is counted in them.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::listing::Ratio;
use crate::moment::rfc3339_ms;
use crate::score::ScoredEvent;

/// How windows are cut and how long they are remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WindowConfig {
    /// Length of a window in ms; at least 1. Windows begin at multiples of it since the Unix
    /// epoch. Default one hour.
    pub size_ms: u32,
    /// How long after its end a window still takes records, in ms of watermark. Default ten
    /// minutes.
    pub allowed_lateness_ms: u32,
    /// How many closed windows are remembered, newest first. The rows of older ones are deleted. Records that
    /// come later still are counted in one row a source. Default 168, a week of hours.
    pub keep_closed: usize,
}

impl Default for WindowConfig {
    fn default() -> Self {
        Self { size_ms: 3_600_000, allowed_lateness_ms: 600_000, keep_closed: 168 }
    }
}

/// Start of the row that counts, for each source, late records of windows that are forgotten:
/// 0001-01-01T00:00:00Z.
pub const FORGOTTEN_MS: i64 = -62_135_596_800_000;

/// Timestamps outside the years 1900 to 9998 count as these, so that every window has a name.
const EARLIEST_MS: i64 = -2_208_988_800_000;

const LATEST_MS: i64 = 253_370_764_800_000;

impl WindowConfig {
    pub(super) fn start_of(&self, ms: i64) -> i64 {
        let size = self.size();
        ms.clamp(EARLIEST_MS, LATEST_MS).div_euclid(size) * size
    }

    pub(super) fn size(&self) -> i64 {
        i64::from(self.size_ms.max(1))
    }

    pub(super) fn is_closed(&self, start: i64, watermark: i64) -> bool {
        watermark >= start + self.size() + i64::from(self.allowed_lateness_ms)
    }
}

/// What became of records: a fact, never retracted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Tally {
    /// Timestamp of the record, in ms since the Unix epoch.
    pub origin_ms: i64,
    /// Its source.
    pub source: SmolStr,
    /// The category of what it says, where it has one.
    pub category: Option<SmolStr>,
    /// What became of it.
    pub outcome: Outcome,
    /// How many.
    pub n: u64,
}

/// What becomes of records and of the listings in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// Read at all.
    Seen,
    /// Gave a listing that was not known.
    Discovered,
    /// Changed a known listing.
    Updated,
    /// Repeated what was known.
    Unchanged,
    /// Ended a listing.
    Withdrawn,
    /// Could not be used.
    Dead,
}

/// What identifies a row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WindowKey {
    /// Start of the window, or [`FORGOTTEN_MS`].
    #[serde(with = "rfc3339_ms")]
    pub window_start: i64,
    /// The source.
    pub source: SmolStr,
    /// The category; `None` for what has none.
    pub category: Option<SmolStr>,
}

/// The counts of one window, source and category: a record of the `metrics` topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WindowRow {
    /// Start of the window.
    #[serde(with = "rfc3339_ms")]
    pub window_start: i64,
    /// Its end, exclusive.
    #[serde(with = "rfc3339_ms")]
    pub window_end: i64,
    /// The source.
    pub source: SmolStr,
    /// The category; `None` for what has none.
    pub category: Option<SmolStr>,
    /// Records read.
    pub seen: u64,
    /// New listings.
    pub discovered: u64,
    /// Changed listings.
    pub updated: u64,
    /// Repetitions.
    pub unchanged: u64,
    /// Listings ended.
    pub withdrawn: u64,
    /// Dead letters.
    pub dead: u64,
    /// What came after the window was closed, of any outcome, and is in no other count.
    pub late: u64,
    /// Whether the window is closed: from then on only `late` changes.
    pub closed: bool,
    /// When it closed: listings that its events were made of, beyond one an event.
    pub duplicates: Option<u64>,
    /// When it closed: events that failed their gates.
    pub rejected: Option<u64>,
    /// When it closed: mean score of the events; `None` too where there were none.
    pub mean_score: Option<Ratio>,
    /// When it closed: events there were.
    pub open_events: Option<u64>,
}

impl WindowRow {
    pub(super) fn new(key: &WindowKey, window_end: i64) -> Self {
        Self {
            window_start: key.window_start,
            window_end,
            source: key.source.clone(),
            category: key.category.clone(),
            seen: 0,
            discovered: 0,
            updated: 0,
            unchanged: 0,
            withdrawn: 0,
            dead: 0,
            late: 0,
            closed: false,
            duplicates: None,
            rejected: None,
            mean_score: None,
            open_events: None,
        }
    }

    /// What identifies the row.
    pub fn key(&self) -> WindowKey {
        WindowKey { window_start: self.window_start, source: self.source.clone(), category: self.category.clone() }
    }

    pub(super) fn count(&mut self, outcome: Outcome, n: u64) {
        let count = match outcome {
            Outcome::Seen => &mut self.seen,
            Outcome::Discovered => &mut self.discovered,
            Outcome::Updated => &mut self.updated,
            Outcome::Unchanged => &mut self.unchanged,
            Outcome::Withdrawn => &mut self.withdrawn,
            Outcome::Dead => &mut self.dead,
        };
        *count += n;
    }

    pub(super) fn close(&mut self, measures: &Measures) {
        self.closed = true;
        self.duplicates = Some(measures.duplicates.max(0) as u64);
        self.rejected = Some(measures.rejected.max(0) as u64);
        self.open_events = Some(measures.events.max(0) as u64);
        self.mean_score =
            (measures.events > 0).then(|| Ratio::new(measures.score as f64 / 10_000.0 / measures.events as f64));
    }
}

/// Running sums over the events of one source and category. An event counts once for every source
/// among its listings, whole each time: its duplicates are those of all its listings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Measures {
    /// Events.
    pub events: i64,
    /// Listings beyond one an event.
    pub duplicates: i64,
    /// Events that fail their gates.
    pub rejected: i64,
    /// Sum of the scores in steps of 1/10 000.
    pub score: i64,
}

impl Measures {
    /// What one event of so many listings adds, `count` times.
    pub(super) fn of(scored: &ScoredEvent, listings: usize, count: i64) -> Self {
        Self {
            events: count,
            duplicates: count * (listings as i64 - 1).max(0),
            rejected: count * i64::from(!scored.report.passed),
            score: count * (scored.report.score.get() * 10_000.0).round() as i64,
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.duplicates += other.duplicates;
        self.rejected += other.rejected;
        self.score += other.score;
    }
}
