//! What discovery's views show: the tables, and how records become their rows.
//!
//! | topic | tables |
//! | --- | --- |
//! | `events` | `events`, `event_redirects` |
//! | `listings` | `listings` |
//! | `links` | `event_links` |
//! | `metrics` | `window_metrics` |

use headwater::view::{Cell, Migrations, Text, Unread, ViewSpec, is_storable};
use headwater_operators::moment::Moment;
use jiff::tz::TimeZone;
use serde::Deserialize;

mod events;
mod links;
mod listings;
mod metrics;

pub use events::{EVENT_REDIRECTS, EVENTS};
pub use links::EVENT_LINKS;
pub use listings::LISTINGS;
pub use metrics::WINDOW_METRICS;

/// The SQL of the tables, older than layouts that follow from declarations.
const MIGRATIONS: Migrations = Migrations {
    postgres: &[
        include_str!("migrations/postgres/0001_tables.sql"),
        include_str!("migrations/postgres/0002_part_of.sql"),
    ],
    sqlite: &[
        include_str!("migrations/sqlite/0001_tables.sql"),
        include_str!("migrations/sqlite/0002_search_by_batch.sql"),
        include_str!("migrations/sqlite/0003_larger_search_batches.sql"),
        include_str!("migrations/sqlite/0004_fewer_merges.sql"),
        include_str!("migrations/sqlite/0005_part_of.sql"),
    ],
};

/// What discovery's views show. Their schema in Postgres is called `headwater` by default.
pub fn view_spec() -> ViewSpec {
    ViewSpec::new("headwater")
        .follow("events", [&EVENTS, &EVENT_REDIRECTS], events::read)
        .follow("listings", [&LISTINGS], listings::read)
        .follow("links", [&EVENT_LINKS], links::read)
        .follow("metrics", [&WINDOW_METRICS], metrics::read)
        .laid_out_by(MIGRATIONS)
}

/// A place, as events and listings write it.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct VenueValue<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
    address: Option<Text<'a>>,
    city: Option<Text<'a>>,
    region: Option<Text<'a>>,
    postal_code: Option<Text<'a>>,
    country: Option<Text<'a>>,
    latitude: Option<f64>,
    longitude: Option<f64>,
    geo_precision: Option<Text<'a>>,
}

/// When something takes place, as instants.
struct Times {
    start_ms: i64,
    end_ms: Option<i64>,
    start: Moment,
}

impl Times {
    /// Days begin at midnight of `zone` (UTC where it is not known) and end at the next one.
    fn new(start: Moment, end: Option<Moment>, zone: Option<&Text<'_>>) -> Result<Self, Unread> {
        let needs_zone = start.is_day() || end.is_some_and(|end| end.is_day());
        let zone = zone.filter(|_| needs_zone).and_then(|name| TimeZone::get(&name.0).ok());
        let times = Self {
            start_ms: start.earliest_ms(zone.as_ref()),
            end_ms: end.map(|end| end.latest_ms(zone.as_ref())),
            start,
        };
        if is_storable(times.start_ms) && times.end_ms.is_none_or(is_storable) {
            return Ok(times);
        }
        Err(Unread::malformed("its time is outside of the years 1 to 9999"))
    }

    fn start_date(&self) -> Cell<'static> {
        self.start.local_date().to_string().into()
    }
}

#[cfg(test)]
mod tests {
    use headwater::log::LogRecord;
    use headwater::view::{Batch, ReadRecord, TableRow};

    use super::*;

    /// The cells of a row, by the names of their columns, once they are seen to fit.
    pub(super) fn cell<'r>(row: &'r TableRow<'_>, column: &str) -> &'r Cell<'r> {
        assert_eq!(row.cells.len(), row.table.columns.len(), "{}", row.table.name);
        for (column, cell) in row.table.columns.iter().zip(&row.cells) {
            assert!(cell.fits(column.kind), "{}.{}: {cell:?}", row.table.name, column.name);
        }
        let place = row.table.columns.iter().position(|known| known.name == column).unwrap();
        &row.cells[place]
    }

    #[test]
    fn the_declaration_holds() {
        let spec = view_spec();
        spec.check().unwrap();
        let tables: Vec<_> = spec.tables().iter().map(|table| table.name).collect();
        let expected = ["events", "event_redirects", "listings", "event_links", "window_metrics", "dead_letters"];
        assert_eq!(tables, expected);
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let readers: [ReadRecord; 4] = [events::read, listings::read, links::read, metrics::read];
        for read in readers {
            for value in ["", "null", "[]", "7", "{", r#"{"format":1}"#, r#"{"title":"no format"}"#] {
                assert!(matches!(read("k", value), Err(Unread::Malformed(_))), "{value}");
            }
            assert_eq!(read("k", r#"{"format":2}"#), Err(Unread::Format { found: 2, known: 1 }));
        }
    }

    #[test]
    fn every_topic_has_its_reader() {
        let topics = view_spec().topics("t.");
        let names: Vec<String> = topics.all().map(ToString::to_string).collect();
        for name in names {
            let record = LogRecord {
                topic: name.as_str().into(),
                partition: 0,
                offset: 0,
                timestamp_ms: 0,
                key: Some(b"k".to_vec()),
                value: None,
                headers: Vec::new(),
            };
            let records = [record];
            let batch = Batch::read(&records, &topics, Vec::new()).unwrap();
            let expected = if name == "t.events" { 2 } else { 1 };
            assert_eq!((batch.rows(), batch.skipped), (expected, 0), "{name}");
        }
    }
}
