//! The tables of events.

use headwater::view::{Cell, TableRow, Text, Unread, Versioned, parse, time_cell};
use headwater::{cells, tables};
use headwater_operators::listing::Amount;
use headwater_operators::moment::Moment;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Times, VenueValue};

tables! {
    /// Events.
    pub static EVENTS = "events", key 1 {
        id: Text, title: Text, description: Text, category: Text, tags: List,
        start_time: Time, start_date: Date, end_time: Time, timezone: Text, all_day: Bool,
        venue_name: Text, address: Text, city: Text, region: Text, postal_code: Text, country: Text,
        latitude: Real, longitude: Real, geo_precision: Text, online: Bool, organizer: Text,
        price_min: Money, price_max: Money, currency: Text, free: Bool, status: Text,
        quality_score: Real, quality_grade: Text, passed: Bool, listing_count: Int,
        first_seen: Time, updated_at: Time, document: Json, part_of: Text,
    }
    search [title, description, venue_name, city, organizer, category, tags]
    /// Retired event ids.
    pub static EVENT_REDIRECTS = "event_redirects", key 1 { id: Text, redirect_to: Text }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EventValue<'a> {
    format: u64,
    #[serde(borrow)]
    redirect_to: Option<Text<'a>>,
    title: Option<Text<'a>>,
    description: Option<Text<'a>>,
    category: Option<Text<'a>>,
    #[serde(default)]
    tags: Vec<Text<'a>>,
    start_time: Option<Moment>,
    end_time: Option<Moment>,
    timezone: Option<Text<'a>>,
    venue: Option<VenueValue<'a>>,
    #[serde(default)]
    online: bool,
    organizer: Option<OrganizerValue<'a>>,
    pricing: Option<PricingValue<'a>>,
    status: Option<Text<'a>>,
    #[serde(default)]
    listings: Vec<IgnoredAny>,
    first_seen: Option<Timestamp>,
    updated_at: Option<Timestamp>,
    quality_score: Option<f64>,
    quality_grade: Option<Text<'a>>,
    passed: Option<bool>,
    part_of: Option<Text<'a>>,
}

impl Versioned for EventValue<'_> {
    fn format(&self) -> u64 {
        self.format
    }
}

#[derive(Deserialize)]
struct OrganizerValue<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
}

#[derive(Deserialize, Default)]
struct PricingValue<'a> {
    min: Option<Amount>,
    max: Option<Amount>,
    #[serde(borrow)]
    currency: Option<Text<'a>>,
    free: Option<bool>,
}

/// An id is an event or a redirect.
pub(super) fn read<'a>(id: &'a str, value: &'a str) -> Result<TableRow<'a>, Unread> {
    let event: EventValue<'a> = parse(value)?;
    match event.redirect_to {
        Some(survivor) => Ok(EVENT_REDIRECTS.row(cells![id, survivor])),
        None => event_row(id, value, event),
    }
}

fn event_row<'a>(id: &'a str, document: &'a str, event: EventValue<'a>) -> Result<TableRow<'a>, Unread> {
    let title = event.title.ok_or_else(|| Unread::malformed("it has no title"))?;
    let start = event.start_time.ok_or_else(|| Unread::malformed("it has no startTime"))?;
    let times = Times::new(start, event.end_time, event.timezone.as_ref())?;
    let venue = event.venue.unwrap_or_default();
    let pricing = event.pricing.unwrap_or_default();
    Ok(EVENTS.row(cells![
        id,
        title,
        event.description,
        event.category,
        Cell::List(event.tags.into_iter().map(|tag| tag.0).collect()),
        times.start_ms,
        times.start_date(),
        times.end_ms,
        event.timezone,
        start.is_day(),
        venue.name,
        venue.address,
        venue.city,
        venue.region,
        venue.postal_code,
        venue.country,
        venue.latitude,
        venue.longitude,
        venue.geo_precision,
        event.online,
        event.organizer.and_then(|organizer| organizer.name),
        pricing.min.map(|amount| amount.0),
        pricing.max.map(|amount| amount.0),
        pricing.currency,
        pricing.free,
        event.status,
        event.quality_score,
        event.quality_grade,
        event.passed,
        i64::try_from(event.listings.len()).unwrap_or(i64::MAX),
        time_cell(event.first_seen)?,
        time_cell(event.updated_at)?,
        document,
        event.part_of,
    ]))
}

#[cfg(test)]
mod tests {
    use super::super::tests::cell;
    use super::*;

    const EVENT: &str = r#"{"format":1,"id":"e1","title":"Jazz \"Night\"","description":null,"category":"music",
        "tags":["live","jazz"],"startTime":"2026-03-28T19:30:00-07:00","endTime":null,
        "timezone":"America/Los_Angeles","allDay":false,"venue":{"name":"Blue Note","city":"Napa",
        "latitude":38.3,"longitude":-122.28,"geoPrecision":"venue"},"online":false,"organizer":{"name":"BN"},
        "pricing":{"min":12.5,"max":20,"currency":"USD"},"status":"scheduled","listings":[{},{}],
        "firstSeen":"2026-01-01T00:00:00Z","updatedAt":"2026-01-02T00:00:00Z","qualityScore":0.9,
        "qualityGrade":"A","passed":true,"gates":[]}"#;

    #[test]
    fn an_event_is_a_row() {
        let row = read("e1", EVENT).unwrap();
        assert_eq!(*row.table, EVENTS);
        assert_eq!(*cell(&row, "id"), Cell::Text("e1".into()));
        assert_eq!(*cell(&row, "title"), Cell::Text("Jazz \"Night\"".into()));
        assert_eq!(*cell(&row, "price_min"), Cell::Int(12_500));
        assert_eq!(*cell(&row, "listing_count"), Cell::Int(2));
        assert_eq!(*cell(&row, "document"), Cell::Text(EVENT.into()));
    }

    #[test]
    fn the_event_of_a_part_is_a_column() {
        let row = read("e1", EVENT).unwrap();
        assert_eq!(*cell(&row, "part_of"), Cell::Null);
        let part = EVENT.replacen('{', r#"{"partOf":"e9","#, 1);
        assert_eq!(*cell(&read("e1", &part).unwrap(), "part_of"), Cell::Text("e9".into()));
    }

    #[test]
    fn a_retired_id_is_a_redirect() {
        let row = read("e2", r#"{"format":1,"id":"e2","redirectTo":"e1"}"#).unwrap();
        assert_eq!(row, EVENT_REDIRECTS.row(cells!["e2", "e1"]));
    }

    #[test]
    fn an_event_needs_a_title_and_a_time_that_can_be_stored() {
        for value in [
            r#"{"format":1,"startTime":"2026-01-01"}"#,
            r#"{"format":1,"title":"T"}"#,
            r#"{"format":1,"title":"T","startTime":"soon"}"#,
            r#"{"format":1,"title":"T","startTime":"-001000-01-01"}"#,
            r#"{"format":-1,"title":"T","startTime":"2026-01-01"}"#,
        ] {
            assert!(matches!(read("e1", value), Err(Unread::Malformed(_))), "{value}");
        }
        let newer = r#"{"format":2,"title":{"en":"T"}}"#;
        assert_eq!(read("e1", newer), Err(Unread::Format { found: 2, known: 1 }));
    }
}
