//! Typed parsing of the three generated shapes, borrowing what it can.

use std::borrow::Cow;
use std::collections::HashMap;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// Text that borrows from the record unless it holds escapes.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

/// What is kept of a listing.
#[derive(Debug, Clone, Default)]
pub(super) struct Listing<'a> {
    pub title: Text<'a>,
    pub description: Text<'a>,
    /// Minutes since the Unix epoch, in UTC; for whole days midnight of the day.
    pub start: i64,
    pub end: Option<i64>,
    pub whole_days: bool,
    pub timezone: Option<Text<'a>>,
    pub venue: Option<Text<'a>>,
    pub street: Option<Text<'a>>,
    pub postal_code: Option<Text<'a>>,
    pub city: Text<'a>,
    pub region: Option<Text<'a>>,
    pub country: Option<Text<'a>>,
    /// Latitude and longitude.
    pub point: Option<(f64, f64)>,
    pub organizer: Text<'a>,
    pub organizer_url: Option<Text<'a>>,
    pub price: Option<(f64, f64)>,
    pub currency: Option<Text<'a>>,
    pub category: Option<Text<'a>>,
    pub image: Option<Text<'a>>,
    pub url: Text<'a>,
    pub seats: i64,
    pub status: Text<'a>,
}

/// Which of the shapes a source writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Tickets,
    Circle,
    Campus,
}

impl Shape {
    /// By the name of the source; copies are numbered.
    pub fn of_source(source: &str) -> Option<Self> {
        [("ticket-office", Self::Tickets), ("meet-circle", Self::Circle), ("campus-board", Self::Campus)]
            .into_iter()
            .find(|(name, _)| source.starts_with(name))
            .map(|(_, shape)| shape)
    }
}

#[derive(Deserialize)]
struct Tickets<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    info: Text<'a>,
    #[serde(borrow)]
    dates: TicketDates<'a>,
    #[serde(borrow)]
    place: TicketPlace<'a>,
    #[serde(borrow)]
    promoter: Promoter<'a>,
    #[serde(borrow)]
    tickets: Option<TicketPrice<'a>>,
    #[serde(borrow, default)]
    pictures: Vec<Picture<'a>>,
    #[serde(borrow)]
    genre: Text<'a>,
    #[serde(borrow)]
    link: Text<'a>,
    seats: i64,
    #[serde(borrow)]
    state: Text<'a>,
}

#[derive(Deserialize)]
struct TicketDates<'a> {
    #[serde(borrow)]
    start: Text<'a>,
    #[serde(borrow)]
    end: Option<Text<'a>>,
    #[serde(borrow)]
    timezone: Text<'a>,
}

#[derive(Deserialize)]
struct TicketPlace<'a> {
    #[serde(borrow)]
    label: Option<Text<'a>>,
    #[serde(borrow)]
    street: Text<'a>,
    #[serde(borrow)]
    postcode: Text<'a>,
    #[serde(borrow)]
    town: Text<'a>,
    #[serde(borrow)]
    region: Text<'a>,
    #[serde(borrow)]
    country: Text<'a>,
    geo: Option<Point>,
}

#[derive(Deserialize)]
struct Point {
    lat: f64,
    lng: f64,
}

#[derive(Deserialize)]
struct Promoter<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    site: Text<'a>,
}

#[derive(Deserialize)]
struct TicketPrice<'a> {
    from: f64,
    to: f64,
    #[serde(borrow)]
    currency: Text<'a>,
}

#[derive(Deserialize)]
struct Picture<'a> {
    #[serde(borrow)]
    href: Text<'a>,
}

#[derive(Deserialize)]
struct Circle<'a> {
    #[serde(borrow)]
    title: Text<'a>,
    #[serde(borrow)]
    body_html: Text<'a>,
    #[serde(borrow)]
    starts: Text<'a>,
    #[serde(borrow)]
    ends: Option<Text<'a>>,
    #[serde(borrow)]
    tz: Text<'a>,
    #[serde(borrow)]
    venue_name: Option<Text<'a>>,
    #[serde(borrow)]
    venue_street: Option<Text<'a>>,
    #[serde(borrow)]
    venue_zip: Text<'a>,
    #[serde(borrow)]
    venue_city: Text<'a>,
    #[serde(borrow)]
    venue_country: Text<'a>,
    lat: Option<f64>,
    lon: Option<f64>,
    #[serde(borrow)]
    group_name: Text<'a>,
    #[serde(borrow)]
    group_url: Text<'a>,
    fee: Option<f64>,
    fee_max: Option<f64>,
    #[serde(borrow)]
    fee_currency: Option<Text<'a>>,
    max_attendees: i64,
    #[serde(borrow)]
    photo: Option<Text<'a>>,
    #[serde(borrow)]
    topics: Vec<Text<'a>>,
    #[serde(borrow)]
    permalink: Text<'a>,
    #[serde(borrow)]
    status: Text<'a>,
}

#[derive(Deserialize)]
struct Campus<'a> {
    #[serde(borrow)]
    headline: Text<'a>,
    #[serde(borrow, rename = "abstract")]
    text: Text<'a>,
    #[serde(borrow)]
    when: CampusWhen<'a>,
    #[serde(borrow, rename = "where")]
    place: CampusWhere<'a>,
    #[serde(borrow)]
    institute: Text<'a>,
    #[serde(borrow)]
    kind: Text<'a>,
    admission: Option<f64>,
    seats: i64,
    #[serde(borrow)]
    picture: Option<Text<'a>>,
    #[serde(borrow)]
    link: Text<'a>,
    #[serde(borrow)]
    note: Text<'a>,
}

#[derive(Deserialize)]
struct CampusWhen<'a> {
    #[serde(borrow)]
    from: Text<'a>,
    #[serde(borrow)]
    until: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct CampusWhere<'a> {
    #[serde(borrow)]
    building: Option<Text<'a>>,
    #[serde(borrow)]
    address: Option<Text<'a>>,
    #[serde(borrow)]
    city: Text<'a>,
    /// Longitude first.
    coordinates: Option<(f64, f64)>,
}

/// Zones by name, looked up once each.
#[derive(Debug, Default)]
pub(super) struct Zones(HashMap<Box<str>, TimeZone>);

/// A time as it is written: the day since the Unix epoch, and the minute of the day.
type Written = (Date, Option<i64>);

impl Zones {
    /// Minutes since the Unix epoch, and whether it is a whole day.
    fn minutes(&mut self, (date, minute): Written, zone: &str) -> Option<(i64, bool)> {
        let Some(minute) = minute else { return Some((day_number(date) * DAY, true)) };
        if !self.0.contains_key(zone) {
            self.0.insert(zone.into(), TimeZone::get(zone).ok()?);
        }
        let time = date.at((minute / 60) as i8, (minute % 60) as i8, 0, 0);
        let instant = self.0.get(zone)?.to_ambiguous_timestamp(time).compatible().ok()?;
        Some((instant.as_second() / 60, false))
    }
}

/// Minutes of a day.
pub(super) const DAY: i64 = 1_440;

fn day_number(date: Date) -> i64 {
    const EPOCH: Date = jiff::civil::date(1970, 1, 1);
    date.duration_since(EPOCH).as_hours() / 24
}

fn number(text: &str, from: usize, digits: usize) -> Option<i64> {
    let digits = text.as_bytes().get(from..from + digits)?;
    digits.iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))
}

fn date_of(year: Option<i64>, month: Option<i64>, day: Option<i64>) -> Option<Date> {
    Date::new(i16::try_from(year?).ok()?, i8::try_from(month?).ok()?, i8::try_from(day?).ok()?).ok()
}

fn clock(text: &str) -> Option<i64> {
    Some(number(text, 11, 2)? * 60 + number(text, 14, 2)?)
}

/// `2026-06-01`, `2026-06-01 18:30` or `2026-06-01T18:30:00Z`.
fn year_first(text: &str) -> Option<Written> {
    Some((date_of(number(text, 0, 4), number(text, 5, 2), number(text, 8, 2))?, clock(text)))
}

/// `01.06.2026` or `01.06.2026 18:30`.
fn day_first(text: &str) -> Option<Written> {
    Some((date_of(number(text, 6, 4), number(text, 3, 2), number(text, 0, 2))?, clock(text)))
}

/// Reads a record; `None` where it cannot be used.
pub(super) fn parse<'a>(shape: Shape, value: &'a [u8], zones: &mut Zones) -> Option<Listing<'a>> {
    match shape {
        Shape::Tickets => tickets(serde_json::from_slice(value).ok()?, zones),
        Shape::Circle => circle(serde_json::from_slice(value).ok()?, zones),
        Shape::Campus => campus(serde_json::from_slice(value).ok()?, zones),
    }
}

fn tickets<'a>(raw: Tickets<'a>, zones: &mut Zones) -> Option<Listing<'a>> {
    let (start, whole_days) = zones.minutes(year_first(&raw.dates.start.0)?, "UTC")?;
    let end = raw.dates.end.and_then(|end| zones.minutes(year_first(&end.0)?, "UTC")).map(|(end, _)| end);
    Some(Listing {
        title: raw.name,
        description: raw.info,
        start,
        end,
        whole_days,
        timezone: Some(raw.dates.timezone),
        venue: raw.place.label,
        street: Some(raw.place.street),
        postal_code: Some(raw.place.postcode),
        city: raw.place.town,
        region: Some(raw.place.region),
        country: Some(raw.place.country),
        point: raw.place.geo.map(|point| (point.lat, point.lng)),
        organizer: raw.promoter.name,
        organizer_url: Some(raw.promoter.site),
        price: raw.tickets.as_ref().map(|price| (price.from, price.to)),
        currency: raw.tickets.map(|price| price.currency),
        category: Some(raw.genre),
        image: raw.pictures.into_iter().next().map(|picture| picture.href),
        url: raw.link,
        seats: raw.seats,
        status: raw.state,
    })
}

fn circle<'a>(raw: Circle<'a>, zones: &mut Zones) -> Option<Listing<'a>> {
    let (start, whole_days) = zones.minutes(year_first(&raw.starts.0)?, &raw.tz.0)?;
    let end = raw.ends.and_then(|end| zones.minutes(year_first(&end.0)?, &raw.tz.0)).map(|(end, _)| end);
    Some(Listing {
        title: raw.title,
        description: raw.body_html,
        start,
        end,
        whole_days,
        timezone: Some(raw.tz),
        venue: raw.venue_name,
        street: raw.venue_street,
        postal_code: Some(raw.venue_zip),
        city: raw.venue_city,
        region: None,
        country: Some(raw.venue_country),
        point: raw.lat.zip(raw.lon),
        organizer: raw.group_name,
        organizer_url: Some(raw.group_url),
        price: raw.fee.map(|fee| (fee, raw.fee_max.unwrap_or(fee))),
        currency: raw.fee_currency,
        category: raw.topics.into_iter().next(),
        image: raw.photo,
        url: raw.permalink,
        seats: raw.max_attendees,
        status: raw.status,
    })
}

fn campus<'a>(raw: Campus<'a>, zones: &mut Zones) -> Option<Listing<'a>> {
    const ZONE: &str = "Europe/Berlin";
    let (start, whole_days) = zones.minutes(day_first(&raw.when.from.0)?, ZONE)?;
    let end = raw.when.until.and_then(|end| zones.minutes(day_first(&end.0)?, ZONE)).map(|(end, _)| end);
    let fixed = |text| Some(Text(Cow::Borrowed(text)));
    Some(Listing {
        title: raw.headline,
        description: raw.text,
        start,
        end,
        whole_days,
        timezone: fixed(ZONE),
        venue: raw.place.building,
        street: raw.place.address,
        postal_code: None,
        city: raw.place.city,
        region: None,
        country: fixed("DE"),
        point: raw.place.coordinates.map(|(lon, lat)| (lat, lon)),
        organizer: raw.institute,
        organizer_url: None,
        price: raw.admission.map(|price| (price, price)),
        currency: fixed("EUR"),
        category: Some(raw.kind),
        image: raw.picture,
        url: raw.link,
        seats: raw.seats,
        status: raw.note,
    })
}

#[cfg(test)]
mod tests {
    use crate::generate::{GenerateConfig, bench_records};

    use super::*;

    #[test]
    fn every_generated_record_can_be_read() {
        let config = GenerateConfig {
            update_share: 0.1,
            withdraw_share: 0.0,
            malformed_share: 0.0,
            ..GenerateConfig::default()
        };
        let mut zones = Zones::default();
        for record in bench_records(2_000, config).unwrap() {
            let shape = Shape::of_source(&record.source).unwrap();
            let value = record.value.unwrap();
            let listing = parse(shape, &value, &mut zones).expect("readable");
            assert!(!listing.title.0.is_empty() && !listing.url.0.is_empty());
        }
    }

    #[test]
    fn times_are_read_in_their_zones() {
        let mut zones = Zones::default();
        let mut minutes = |written: Option<Written>, zone: &str| zones.minutes(written.unwrap(), zone).unwrap();
        let noon = 20_605 * DAY + 720;
        assert_eq!(minutes(year_first("2026-06-01T12:00:00Z"), "UTC"), (noon, false));
        assert_eq!(minutes(year_first("2026-06-01 14:00"), "Europe/Berlin"), (noon, false));
        assert_eq!(minutes(day_first("01.06.2026 14:00"), "Europe/Berlin"), (noon, false));
        assert_eq!(minutes(day_first("01.06.2026"), "Europe/Berlin"), (noon - 720, true));
    }
}
