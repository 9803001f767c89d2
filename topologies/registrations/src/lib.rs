//! Registrations: how many there are for each event, hour by hour.
//!
//! ```text
//!  raw.registrations ─► read ─► latest ─► registrations (the state)
//!                                 │
//!                                 ▼
//!  discovery's events ─────► redirected ─► count ─► left_join ─► hours
//! ```
//!
//! docs/topologies.md writes this topology step by step.

mod config;
mod table;

use differential_dataflow::operators::CountTotal;
use headwater::config::{Config, Invalid};
use headwater::dataflow::Flow;
use headwater::dataflow::buffer::{json, text};
use headwater::program::Fingerprints;
use headwater::schema::{Codec, Guard, InputPosition, Rows, Schema, Spec, State, Table, text_codec, versioned};
use headwater::topology::{NoTools, Showcase, Topology};
use headwater::view::ViewSpec;
use headwater_flow::{Latest, LeftJoin, Positioned, ReadRecords};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

pub use config::{Mapping, Retention, Settings};
pub use table::HOURS;

/// Changes whenever the same configuration and input would give other outputs than before.
const VERSION: u64 = 1;

const HOUR_MS: i64 = 3_600_000;

/// What a record says of a registration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Registration {
    /// The event; `None` where the registration is withdrawn.
    pub event: Option<String>,
    /// When it was made.
    pub time: Timestamp,
}

/// A row of discovery's events: an event, or where to find what took its place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EventRow {
    id: String,
    title: Option<String>,
    redirect_to: Option<String>,
}

/// The registrations for an event in an hour.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Hour {
    event: String,
    title: Option<String>,
    hour: Timestamp,
    registrations: i64,
}

/// The registrations topology, ready to be built.
pub struct Registrations {
    events: Table<EventRow>,
    registrations: State<String, Positioned<Registration>>,
    hours: Rows<(String, Timestamp), Hour>,
    mapping: Mapping,
    keep_ms: Option<i64>,
    fingerprints: Fingerprints,
}

impl Topology for Registrations {
    const ABOUT: &'static str = "Count registrations for each event, hour by hour";
    const HELP: &'static str = "\
Examples:
  registrations check --config config/registrations.toml
  registrations --config config/registrations.toml
  registrations --config config/registrations.toml --plan            what a start would correct
  registrations --config config/registrations.toml --rebuild --plan  the same for a rebuild from the raw topics

Exit codes: 0 ended in order, 2 something to mend in configuration or usage, 3 something outside \
failed, 4 another instance has taken over, 70 a defect.";
    const SHOWCASE: Showcase = Showcase {
        topic: "hours",
        command: "registrations",
        query: "select title, hour, registrations from hours order by registrations desc limit 10",
        highlight: None,
    };
    type Config = Settings;
    type Tools = NoTools;

    fn declare(config: &Config<Settings>, schema: &mut Schema) -> Result<Self, Vec<Invalid>> {
        Ok(Self::of(&config.topology, schema))
    }

    fn fingerprints(&self) -> Fingerprints {
        self.fingerprints
    }

    fn build<'s>(&self, flow: &mut Flow<'s>) {
        let (mapping, keep_ms) = (self.mapping.clone(), self.keep_ms);
        let (said, unusable) = flow.raw().read(move |record| mapping.read(record));
        let leaves = move |said: &Registration| keep_ms.map(|keep| start_of_hour(said.time).saturating_add(keep));
        let latest = said.latest(flow.restored_rows(&self.registrations), leaves);
        flow.write(&self.registrations, latest.clone());

        let rows = flow.table(&self.events);
        let redirects = rows.clone().flat_map(|row| Some((row.id, row.redirect_to?)));
        let titles = rows.flat_map(|row| Some((row.id, row.title?)));
        let live = latest.flat_map(|(_, said)| Some((said.value.event?, start_of_hour(said.value.time))));
        let counts = live.redirected(redirects).count_total().map(|((event, hour), count)| (event, (hour, count)));
        flow.write(&self.hours, counts.left_join(titles).flat_map(hour));
        flow.dead_letters(unusable);
    }

    fn views() -> ViewSpec {
        ViewSpec::new("registrations").follow("hours", [&HOURS], table::read)
    }
}

impl Registrations {
    fn of(settings: &Settings, schema: &mut Schema) -> Self {
        let (codec, reader) = text_codec();
        let state = Spec {
            rebuilt: true,
            guard: Guard::Removed,
            positions: Some(InputPosition::of_positioned),
            ..Spec::default()
        };
        let live = schema.gauge("headwater_registrations", "Registrations that count.");
        schema.figure("registrations", "registrations", move |of| of(live));
        let key = Codec::new(|(event, hour)| text(format_args!("{event}/{hour}")), |_, hour| versioned(hour));
        Self {
            events: schema.foreign_table(&settings.events),
            registrations: schema
                .state("registrations", codec, reader, state)
                .counted(live, |said: &Positioned<Registration>| said.value.event.is_some()),
            hours: schema.rows("hours", key, Spec::default()),
            mapping: settings.mapping.clone(),
            keep_ms: settings.retention.keep.as_millis_i64(),
            fingerprints: Fingerprints {
                results: xxh3_64(&json(&settings.events)) ^ VERSION,
                extraction: xxh3_64(&json(&settings.mapping)),
            },
        }
    }
}

/// The hour of a time, in ms since the Unix epoch.
fn start_of_hour(time: Timestamp) -> i64 {
    time.as_millisecond().div_euclid(HOUR_MS) * HOUR_MS
}

/// The row of an hour.
fn hour((event, (start, count), title): (String, (i64, isize), Option<String>)) -> Option<((String, Timestamp), Hour)> {
    let hour = Timestamp::from_millisecond(start).ok()?;
    Some(((event.clone(), hour), Hour { event, title, hour, registrations: count as i64 }))
}

#[cfg(test)]
mod tests;
