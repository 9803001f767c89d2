//! The table of listings.

use headwater::view::{TableRow, Text, Unread, Versioned, parse, time_cell};
use headwater::{cells, tables};
use headwater_operators::moment::Moment;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Times, VenueValue};

tables! {
    /// Listings.
    pub static LISTINGS = "listings", key 1 {
        id: Text, source: Text, external_id: Text, title: Text, category: Text,
        start_time: Time, start_date: Date, end_time: Time, timezone: Text, all_day: Bool,
        venue_name: Text, city: Text, country: Text, latitude: Real, longitude: Real,
        status: Text, url: Text, first_seen: Time, updated_at: Time, document: Json,
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListingState<'a> {
    format: u64,
    first_seen: Timestamp,
    updated_at: Timestamp,
    #[serde(borrow)]
    listing: &'a RawValue,
}

impl Versioned for ListingState<'_> {
    fn format(&self) -> u64 {
        self.format
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListingValue<'a> {
    #[serde(borrow)]
    source: Text<'a>,
    external_id: Text<'a>,
    title: Text<'a>,
    category: Option<Text<'a>>,
    start: Moment,
    end: Option<Moment>,
    timezone: Option<Text<'a>>,
    venue: Option<VenueValue<'a>>,
    #[serde(default)]
    urls: Vec<Text<'a>>,
    status: Option<Text<'a>>,
}

pub(super) fn read<'a>(id: &'a str, text: &'a str) -> Result<TableRow<'a>, Unread> {
    let state: ListingState<'a> = parse(text)?;
    let document = state.listing.get();
    let listing: ListingValue<'a> =
        serde_json::from_str(document).map_err(|error| Unread::Malformed(error.to_string()))?;
    let times = Times::new(listing.start, listing.end, listing.timezone.as_ref())?;
    let venue = listing.venue.unwrap_or_default();
    Ok(LISTINGS.row(cells![
        id,
        listing.source,
        listing.external_id,
        listing.title,
        listing.category,
        times.start_ms,
        times.start_date(),
        times.end_ms,
        listing.timezone,
        listing.start.is_day(),
        venue.name,
        venue.city,
        venue.country,
        venue.latitude,
        venue.longitude,
        listing.status,
        listing.urls.into_iter().next(),
        time_cell(Some(state.first_seen))?,
        time_cell(Some(state.updated_at))?,
        document,
    ]))
}

#[cfg(test)]
mod tests {
    use headwater::view::Cell;

    use super::super::tests::cell;
    use super::*;

    const LISTING: &str = r#"{"format":1,"id":"l1","firstSeen":"2026-01-01T00:00:00Z",
        "updatedAt":"2026-01-02T00:00:00Z","listing":{"source":"s","externalId":"7","title":"T",
        "start":"2026-03-28","end":"2026-03-29","timezone":"Europe/Paris","urls":["https://a.example"]}}"#;

    #[test]
    fn days_begin_and_end_at_midnight_of_their_zone() {
        // Clocks change in Paris in the night to 2026-03-29, which is therefore 23 hours long.
        let row = read("l1", LISTING).unwrap();
        let ms = |text: &str| Cell::Int(text.parse::<Timestamp>().unwrap().as_millisecond());
        assert_eq!(*cell(&row, "start_time"), ms("2026-03-27T23:00:00Z"));
        assert_eq!(*cell(&row, "end_time"), ms("2026-03-29T22:00:00Z"));
        assert_eq!(*cell(&row, "start_date"), Cell::Text("2026-03-28".into()));
        assert_eq!(*cell(&row, "url"), Cell::Text("https://a.example".into()));
        assert_eq!(*cell(&row, "all_day"), Cell::Bool(true));
    }
}
