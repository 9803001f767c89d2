//! A feed of invented listings, as many sources would write them, with the truth about which of
//! them are one event.
//!
//! [`Generator`] is an iterator of raw records, the same for the same [`GenerateConfig`] on every
//! machine, with bounded memory however long it runs. Around it: [`run_generate`] for the command
//! line, [`LiveFeed`] for a feed that goes on while something else runs, and [`bench_records`]
//! for measuring.
//!
//! # How it works
//!
//! *Productions* (a concert, a run of a play, a tour, a weekly course, the sessions of a festival)
//! are functions of the seed and their number; so is the way in which a source tells of a show.
//! Only a window of recent productions is remembered: who told of them, how often it was changed,
//! what was withdrawn. Whatever comes later (another source's description, an update, an
//! unchanged repeat, a withdrawal) is about one of these, and is made from the numbers anew.
//!
//! Cities, their zones and their whereabouts are real; everything else is made up.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::civil::{Date, date};
use serde::{Deserialize, Serialize};

mod breakage;
mod dice;
mod feed;
mod form;
mod live;
mod run;
mod style;
mod text;
mod truth;
mod vocabulary;
mod world;

pub use feed::{Counts, Generator, bench_records};
pub use live::{FeedConfig, LiveFeed};
pub use run::{GenerateArgs, GenerateSummary, run_generate};
pub use style::source_config_toml;
pub use truth::{TruthRow, write_truth};

use headwater::error::{Domain, Fault};
use headwater::log::LogError;

/// The most venues that a city can have: all pairs of the names and kinds of venues.
pub const MAX_VENUES_PER_CITY: u32 = 1024;

/// The most sources.
pub const MAX_SOURCES: u32 = 64;

/// The content type of records that are schema.org JSON-LD.
pub const JSON_LD: &str = "application/ld+json";
/// The content type of records that the `mapped` adapter reads.
pub const JSON: &str = "application/json";
/// The content type of iCalendar records.
pub const CALENDAR: &str = "text/calendar";

/// What to generate. Shares are parts of all *records*, except for `duplicate_share`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GenerateConfig {
    /// The same seed (with the same other values) gives the same bytes.
    pub seed: u64,
    /// How many records; the iterator ends after them. Without it there is no end.
    pub records: Option<u64>,
    /// How many sources, 1..=[`MAX_SOURCES`]. The first six have habits of their own, further
    /// ones are copies of these under numbered names.
    pub sources: u32,
    /// Which shapes the sources write in; at least one.
    pub shapes: Vec<Shape>,
    /// Share of the *listings* that describe an event which another source has already, 0..=0.6.
    /// No event has more than three descriptions; with one source there are no duplicates.
    pub duplicate_share: f64,
    /// Share of records that change a listing.
    pub update_share: f64,
    /// Share of records that withdraw listings.
    pub withdraw_share: f64,
    /// Share of records that repeat an earlier one unchanged.
    pub repeat_share: f64,
    /// Share of records that cannot be used.
    pub malformed_share: f64,
    /// How many cities, 1..=24.
    pub cities: u32,
    /// How many venues each city has, 1..=[`MAX_VENUES_PER_CITY`]. A venue takes one production a
    /// day until all are taken, then another; give large feeds many venues.
    pub venues_per_city: u32,
    /// The date that the others are counted from, local in each city.
    pub base_date: Date,
    /// Days from the base date to the first day on which something begins, 0..=365.
    pub first_day: u32,
    /// Number of days on which something begins, 1..=730. Series, tours and postponed events go
    /// up to five weeks beyond.
    pub days: u32,
    /// How many productions are remembered for duplicates, updates, repeats and withdrawals,
    /// 16..=1 000 000. About 250 bytes each.
    pub window: u32,
}

impl Default for GenerateConfig {
    /// Six sources, twelve cities, 60 days from 2026-06-01, without end.
    fn default() -> Self {
        Self {
            seed: 1,
            records: None,
            sources: 6,
            shapes: Shape::ALL.to_vec(),
            duplicate_share: 0.3,
            update_share: 0.05,
            withdraw_share: 0.02,
            repeat_share: 0.05,
            malformed_share: 0.01,
            cities: 12,
            venues_per_city: 64,
            base_date: date(2026, 6, 1),
            first_day: 1,
            days: 60,
            window: 20_000,
        }
    }
}

impl GenerateConfig {
    /// Whether every value is in its range.
    ///
    /// # Errors
    /// [`GenerateError::Config`] for the first one that is not.
    pub fn check(&self) -> Result<(), GenerateError> {
        let share = |name, value: f64, most: f64| within(name, value, 0.0, most);
        share("duplicate_share", self.duplicate_share, 0.6)?;
        let others = [
            ("update_share", self.update_share),
            ("withdraw_share", self.withdraw_share),
            ("repeat_share", self.repeat_share),
            ("malformed_share", self.malformed_share),
        ];
        for (name, value) in others {
            share(name, value, 1.0)?;
        }
        let sum = others.iter().map(|(_, value)| value).sum();
        within("update_share + withdraw_share + repeat_share + malformed_share", sum, 0.0, 0.95)?;
        within("sources", f64::from(self.sources), 1.0, f64::from(MAX_SOURCES))?;
        within("shapes: number of entries", self.shapes.len() as f64, 1.0, 3.0)?;
        within("cities", f64::from(self.cities), 1.0, vocabulary::CITIES.len() as f64)?;
        within("venues_per_city", f64::from(self.venues_per_city), 1.0, f64::from(MAX_VENUES_PER_CITY))?;
        within("base_date: year", f64::from(self.base_date.year()), 1970.0, 2200.0)?;
        within("first_day", f64::from(self.first_day), 0.0, 365.0)?;
        within("days", f64::from(self.days), 1.0, 730.0)?;
        within("window", f64::from(self.window), 16.0, 1e6)
    }
}

fn within(name: &'static str, value: f64, low: f64, high: f64) -> Result<(), GenerateError> {
    if (low..=high).contains(&value) { Ok(()) } else { Err(GenerateError::Config { name, value, low, high }) }
}

/// A family of formats; one extraction adapter reads each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// JSON-LD after schema.org, single events and `@graph`s.
    SchemaOrg,
    /// iCalendar.
    Icalendar,
    /// JSON shapes of the sources' own.
    Mapped,
}

impl Shape {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::SchemaOrg, Self::Icalendar, Self::Mapped];
}

/// The exact form in which a source writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    JsonLd,
    JsonLdGraph,
    Calendar,
    Tickets,
    Circle,
    Campus,
}

impl Form {
    fn shape(self) -> Shape {
        match self {
            Self::JsonLd | Self::JsonLdGraph => Shape::SchemaOrg,
            Self::Calendar => Shape::Icalendar,
            Self::Tickets | Self::Circle | Self::Campus => Shape::Mapped,
        }
    }

    fn content_type(self) -> &'static str {
        match self.shape() {
            Shape::SchemaOrg => JSON_LD,
            Shape::Icalendar => CALENDAR,
            Shape::Mapped => JSON,
        }
    }

    /// Whether one record tells of all shows of a production.
    fn bundles(self) -> bool {
        matches!(self, Self::JsonLdGraph | Self::Calendar)
    }
}

/// One generated raw record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generated {
    /// Goes into the `source` header.
    pub source: Arc<str>,
    /// Goes into the `content-type` header.
    pub content_type: &'static str,
    /// The key; `None` for sources that only upsert.
    pub key: Option<Vec<u8>>,
    /// The bytes; `None` is a tombstone, which withdraws what the key stood for.
    pub value: Option<Vec<u8>>,
    /// What the record does.
    pub kind: Kind,
    /// The listings that the record describes, or, for a tombstone, withdraws: external id and
    /// number of the true event. Empty for a malformed record.
    pub truth: Vec<(String, u64)>,
}

/// What a generated record does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// Tells of an event that no source has told of.
    New,
    /// Tells of an event that another source has told of.
    Duplicate,
    /// Changes a listing.
    Update,
    /// Says again what was said, byte for byte.
    Repeat,
    /// Withdraws: a tombstone, or a calendar that comes again without one of its events.
    Withdrawal,
    /// Cannot be used.
    Malformed,
}

/// What can go wrong with generating.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// A value is out of its range.
    #[error("{name} is {value}; it must be in {low}..={high}")]
    Config {
        /// Which value.
        name: &'static str,
        /// What it is.
        value: f64,
        /// Smallest allowed.
        low: f64,
        /// Greatest allowed.
        high: f64,
    },
    /// A file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The standard output could not be written.
    #[error("cannot write to the standard output: {0}")]
    Output(std::io::Error),
    /// The log refused.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A topic to produce to was named, but there is no log.
    #[error("producing to a topic needs a configured log")]
    NoLog,
    /// The thread could not be started, or died.
    #[error("the thread of the generated feed {what}")]
    Thread {
        /// What happened to it.
        what: String,
    },
}

impl Fault for GenerateError {
    fn domain(&self) -> Domain {
        match self {
            Self::Config { .. } | Self::NoLog => Domain::User,
            Self::File { source, .. } => Domain::of_file(source),
            Self::Output(_) => Domain::External,
            Self::Log(error) => error.domain(),
            Self::Thread { .. } => Domain::Internal,
        }
    }

    fn may_pass(&self) -> bool {
        matches!(self, Self::Log(error) if error.may_pass())
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Config { .. } => Some("`headwater generate --help` lists the options and their ranges".to_owned()),
            Self::NoLog => Some("name the configuration with --config".to_owned()),
            Self::Log(error) => error.hint(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;
