//! The one place that knows the documents on the topic `events`: which fields serving reads of them.
//!
//! A document is JSON, `format` 1: an event, or `{"id", "redirectTo"}` in place of an id that was retired.
//! Of an event these fields are read; whatever else it holds is passed on as it is:
//!
//! | for | fields |
//! | --- | --- |
//! | when | `startTime`, `endTime`, `timezone` |
//! | where | `venue.name`, `.address`, `.city`, `.region`, `.country`, `.latitude`, `.longitude`, `online` |
//! | what | `title`, `description`, `category`, `tags`, `organizer.name`, `status` |
//! | price | `pricing.min`, `.max`, `.free` |
//! | how good | `qualityScore`, `qualityGrade` |
//! | whether editors let it be shown | `moderation` |
//! | whence | `listings[].source`, `updatedAt` |
//! | other formats (calendars, feeds, tables) | of these, and `pricing.currency`, `urls` |

use headwater::view::{Text, Unread, Versioned, is_storable, parse};
use headwater_operators::listing::Point;
use headwater_operators::moment::Moment;
use headwater_operators::resolve::Moderation;
use headwater_operators::words::fold;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;

use crate::text::{Field, Words};

/// What a document is.
#[derive(Debug, Clone, PartialEq)]
pub enum Document {
    /// An event.
    Event(Box<Facts>),
    /// The id was retired: the id of what took its place.
    Redirect(String),
}

/// What is searched of an event.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// What is tested one by one.
    pub row: Row,
    /// What is looked up.
    pub terms: Vec<Term>,
    /// The words of its texts.
    pub words: Words,
}

impl Facts {
    /// Whether editors have rejected it.
    pub fn is_rejected(&self) -> bool {
        self.terms.iter().any(|term| term.attribute == Attribute::Moderation && &*term.key == REJECTED)
    }
}

/// A value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// The attribute.
    pub attribute: Attribute,
    /// The value as it is compared, see [`Attribute::key`].
    pub key: Box<str>,
    /// The value as the document has it.
    pub spelling: Box<str>,
}

/// What an event has few values of, out of many that are possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Attribute {
    /// The category.
    Category,
    /// A tag.
    Tag,
    /// The source of a listing.
    Source,
    /// The venue, see [`place_key`].
    Place,
    /// The city.
    City,
    /// The country, as the source writes it.
    Country,
    /// The quality's letter.
    Grade,
    /// Whether it takes place.
    Status,
    /// What editors say of it; [`UNMODERATED`] where they said nothing.
    Moderation,
}

/// What an event has as [`Attribute::Moderation`] of which no editor said anything.
pub const UNMODERATED: &str = "none";

/// What an event has there that is not to be shown.
pub const REJECTED: &str = Moderation::Rejected.name();

impl Attribute {
    /// All attributes.
    pub const ALL: [Self; 9] = [
        Self::Category,
        Self::Tag,
        Self::Source,
        Self::Place,
        Self::City,
        Self::Country,
        Self::Grade,
        Self::Status,
        Self::Moderation,
    ];

    /// Its name as a parameter and a facet.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Category => "category",
            Self::Tag => "tag",
            Self::Source => "source",
            Self::Place => "place",
            Self::City => "city",
            Self::Country => "country",
            Self::Grade => "grade",
            Self::Status => "status",
            Self::Moderation => "moderation",
        }
    }

    /// A value as it is compared. Words of people (categories, tags, cities, countries) are compared without
    /// case, accents and punctuation, grades without case; the rest are identifiers, compared as they are.
    pub fn key(self, value: &str) -> String {
        match self {
            Self::Category | Self::Tag | Self::City | Self::Country => match fold(value) {
                folded if folded.is_empty() => value.trim().to_lowercase(),
                folded => folded,
            },
            Self::Grade => value.to_ascii_uppercase(),
            Self::Source | Self::Place | Self::Status | Self::Moderation => value.to_owned(),
        }
    }
}

/// The key of a place: the folded name of the venue, a full stop, and its folded city if it has one, with a hyphen
/// between words (`blue-note.sao-paulo`). It is stable and holds letters, digits and marks alone beside these two, so
/// that it may stand in a path. `None` for a name without a letter or digit.
///
/// Two venues of one name in one city are one place.
pub fn place_key(name: &str, city: Option<&str>) -> Option<String> {
    let name = hyphenated(name);
    let city = city.map(hyphenated).filter(|city| !city.is_empty());
    let key = match city {
        Some(city) if !name.is_empty() => format!("{name}.{city}"),
        _ => name,
    };
    (!key.is_empty()).then_some(key)
}

/// The parts of a place's key: the words of its name, and its city as [`hyphenated`].
pub(crate) fn parts_of_place(key: &str) -> (std::str::Split<'_, char>, Option<&str>) {
    let (name, city) = key.split_once('.').map_or((key, None), |(name, city)| (name, Some(city)));
    (name.split('-'), city)
}

/// Folded words with hyphens between them.
pub(crate) fn hyphenated(text: &str) -> String {
    fold(text).replace(' ', "-")
}

/// What is tested of an event one by one. It is small and lies in one piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// When it begins, in ms since the Unix epoch; a day begins at midnight of its zone.
    pub start_ms: i64,
    /// When it ends, exclusively; `start_ms` or more.
    pub end_ms: i64,
    /// When its listings last changed, in ms since the Unix epoch.
    pub updated_ms: i64,
    /// Its lowest price in thousandths of its currency's unit; [`UNKNOWN_PRICE`] where it is not known.
    pub price: i64,
    /// The local day on which it begins, as days since 1970-01-01.
    pub first_day: i32,
    /// The local day on which it ends, inclusively; `first_day` or more.
    pub last_day: i32,
    /// Where it is.
    pub point: Option<Point>,
    /// Its quality in ten-thousandths.
    pub quality: u16,
    /// Whether it is known to be free.
    pub free: bool,
    /// Whether it can be attended online.
    pub online: bool,
}

/// The price of an event whose price is not known: greater than any.
pub const UNKNOWN_PRICE: i64 = i64::MAX;

/// The fields of a document that are read.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EventValue<'a> {
    format: u64,
    #[serde(borrow)]
    redirect_to: Option<Text<'a>>,
    pub title: Option<Text<'a>>,
    pub description: Option<Text<'a>>,
    pub category: Option<Text<'a>>,
    #[serde(default)]
    pub tags: Vec<Text<'a>>,
    pub start_time: Option<Moment>,
    pub end_time: Option<Moment>,
    timezone: Option<Text<'a>>,
    pub venue: Option<VenueValue<'a>>,
    #[serde(default)]
    pub online: bool,
    pub organizer: Option<OrganizerValue<'a>>,
    pub pricing: Option<PricingValue<'a>>,
    pub status: Option<Text<'a>>,
    #[serde(default)]
    pub urls: Vec<Text<'a>>,
    #[serde(default)]
    pub listings: Vec<ListingValue<'a>>,
    pub updated_at: Option<Timestamp>,
    pub quality_score: Option<f64>,
    pub quality_grade: Option<Text<'a>>,
    moderation: Option<Text<'a>>,
}

impl Versioned for EventValue<'_> {
    fn format(&self) -> u64 {
        self.format
    }
}

#[derive(Debug, Deserialize, Default)]
pub(crate) struct VenueValue<'a> {
    #[serde(borrow)]
    pub name: Option<Text<'a>>,
    pub address: Option<Text<'a>>,
    pub city: Option<Text<'a>>,
    pub region: Option<Text<'a>>,
    pub country: Option<Text<'a>>,
    pub latitude: Option<f64>,
    pub longitude: Option<f64>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct OrganizerValue<'a> {
    #[serde(borrow)]
    pub name: Option<Text<'a>>,
}

#[derive(Debug, Deserialize, Default)]
pub(crate) struct PricingValue<'a> {
    pub min: Option<f64>,
    pub max: Option<f64>,
    #[serde(borrow)]
    pub currency: Option<Text<'a>>,
    pub free: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListingValue<'a> {
    #[serde(borrow)]
    pub source: Text<'a>,
    #[serde(default)]
    pub external_id: Text<'a>,
}

/// Reads the document of an id.
///
/// # Errors
/// [`Unread::Format`] where it was written in a newer format, and [`Unread::Malformed`] where it has no title
/// or no time that can be stored.
pub fn read(value: &str) -> Result<Document, Unread> {
    let event: EventValue<'_> = parse(value)?;
    match event.redirect_to {
        Some(survivor) => Ok(Document::Redirect(survivor.0.into_owned())),
        None => Ok(Document::Event(Box::new(facts(&event)?))),
    }
}

/// The fields of an event that other formats show.
///
/// # Errors
/// As [`read`].
pub(crate) fn value(document: &str) -> Result<EventValue<'_>, Unread> {
    parse(document)
}

fn facts(event: &EventValue<'_>) -> Result<Facts, Unread> {
    let title = event.title.as_ref().ok_or_else(|| Unread::malformed("it has no title"))?;
    let start = event.start_time.ok_or_else(|| Unread::malformed("it has no startTime"))?;
    Ok(Facts { row: row(event, start)?, terms: terms(event), words: words(event, &title.0) })
}

fn row(event: &EventValue<'_>, start: Moment) -> Result<Row, Unread> {
    let days = start.is_day() || event.end_time.is_some_and(|end| end.is_day());
    let zone = event.timezone.as_ref().filter(|_| days).and_then(|name| TimeZone::get(&name.0).ok());
    let start_ms = start.earliest_ms(zone.as_ref());
    let end_ms = event.end_time.unwrap_or(start).latest_ms(zone.as_ref()).max(start_ms);
    if !is_storable(start_ms) || !is_storable(end_ms) {
        return Err(Unread::malformed("its time is outside of the years 1 to 9999"));
    }
    let first_day = start.local_day_number();
    let pricing = event.pricing.as_ref();
    let price = pricing.and_then(|pricing| pricing.min.or(pricing.max)).map_or(UNKNOWN_PRICE, thousandths);
    let at = event.venue.as_ref().and_then(|venue| venue.latitude.zip(venue.longitude));
    Ok(Row {
        start_ms,
        end_ms,
        updated_ms: event.updated_at.map_or(0, Timestamp::as_millisecond),
        price,
        first_day,
        last_day: event.end_time.map_or(first_day, last_day).max(first_day),
        point: at.and_then(|(latitude, longitude)| Point::from_degrees(latitude, longitude)),
        quality: (event.quality_score.unwrap_or(0.0).clamp(0.0, 1.0) * 10_000.0).round() as u16,
        free: pricing.is_some_and(is_free),
        online: event.online,
    })
}

/// An event that ends at midnight does not take place on the next day.
fn last_day(end: Moment) -> i32 {
    match end {
        Moment::Day(_) => end.local_day_number(),
        Moment::Instant { ms, offset_min } => Moment::Instant { ms: ms - 1, offset_min }.local_day_number(),
    }
}

fn is_free(pricing: &PricingValue<'_>) -> bool {
    pricing.free.unwrap_or(pricing.min.or(pricing.max) == Some(0.0) && pricing.max.unwrap_or(0.0) == 0.0)
}

/// Saturates; not-a-number becomes 0.
pub(crate) fn thousandths(units: f64) -> i64 {
    (units * 1000.0).round() as i64
}

fn terms(event: &EventValue<'_>) -> Vec<Term> {
    let venue = event.venue.as_ref();
    let mut terms = Vec::with_capacity(7 + event.tags.len());
    let mut put = |attribute: Attribute, value: &str| {
        let key = attribute.key(value).into_boxed_str();
        let known = |term: &Term| term.attribute == attribute && term.key == key;
        if !terms.iter().any(known) {
            terms.push(Term { attribute, key, spelling: value.into() });
        }
    };
    put(Attribute::Moderation, event.moderation.as_ref().map_or(UNMODERATED, |text| &text.0));
    let mut add = |attribute: Attribute, value: Option<&Text<'_>>| {
        let value = value.map(|text| text.0.trim()).filter(|value| !value.is_empty());
        value.into_iter().for_each(|value| put(attribute, value));
    };
    add(Attribute::Category, event.category.as_ref());
    event.tags.iter().for_each(|tag| add(Attribute::Tag, Some(tag)));
    event.listings.iter().for_each(|listing| add(Attribute::Source, Some(&listing.source)));
    add(Attribute::City, venue.and_then(|venue| venue.city.as_ref()));
    add(Attribute::Country, venue.and_then(|venue| venue.country.as_ref()));
    let name = venue.and_then(|venue| venue.name.as_ref());
    let city = venue.and_then(|venue| venue.city.as_ref()).map(|city| &*city.0);
    let place = name.and_then(|name| place_key(&name.0, city)).map(|key| Text(key.into()));
    add(Attribute::Place, place.as_ref());
    add(Attribute::Grade, event.quality_grade.as_ref());
    add(Attribute::Status, event.status.as_ref());
    terms
}

fn words(event: &EventValue<'_>, title: &str) -> Words {
    let mut words = Words::default();
    let mut add = |field, text: Option<&Text<'_>>| text.into_iter().for_each(|text| words.add(field, &text.0));
    add(Field::Body, event.description.as_ref());
    if let Some(venue) = &event.venue {
        for name in [&venue.name, &venue.address, &venue.city, &venue.region, &venue.country] {
            add(Field::Name, name.as_ref());
        }
    }
    add(Field::Name, event.organizer.as_ref().and_then(|organizer| organizer.name.as_ref()));
    add(Field::Name, event.category.as_ref());
    event.tags.iter().for_each(|tag| add(Field::Name, Some(tag)));
    words.add(Field::Title, title);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"format":1,"id":"e1","title":"Jazz \"Night\"","description":"Late","category":"music",
        "tags":["Live","jazz"],"startTime":"2026-03-28T19:30:00-07:00","endTime":"2026-03-29T00:00:00-07:00",
        "timezone":"America/Los_Angeles","allDay":false,"venue":{"name":"Blue Note","city":"São Paulo",
        "latitude":38.3,"longitude":-122.28},"online":false,"organizer":{"name":"BN"},
        "pricing":{"min":12.5,"max":20,"currency":"USD"},"status":"scheduled",
        "listings":[{"source":"b"},{"source":"a"},{"source":"b"}],
        "updatedAt":"2026-01-02T00:00:00Z","qualityScore":0.9,"qualityGrade":"A"}"#;

    fn event(value: &str) -> Facts {
        match read(value).unwrap() {
            Document::Event(facts) => *facts,
            Document::Redirect(to) => panic!("it redirects to {to}"),
        }
    }

    #[test]
    fn an_event_is_read() {
        let facts = event(EVENT);
        let keys = |attribute| {
            let own = facts.terms.iter().filter(move |term| term.attribute == attribute);
            own.map(|term| &*term.key).collect::<Vec<_>>()
        };
        assert_eq!(keys(Attribute::Tag), ["live", "jazz"]);
        assert_eq!(keys(Attribute::Source), ["b", "a"]);
        assert_eq!(keys(Attribute::City), ["sao paulo"]);
        assert_eq!(keys(Attribute::Place), ["blue-note.sao-paulo"]);
        assert_eq!(keys(Attribute::Moderation), ["none"]);
        let rejected = event(&EVENT.replacen('{', r#"{"moderation":"rejected","#, 1));
        let said = rejected.terms.iter().find(|term| term.attribute == Attribute::Moderation);
        assert_eq!(said.map(|term| &*term.key), Some(REJECTED));
        assert_eq!(facts.row.price, 12_500);
        assert_eq!(facts.row.first_day, facts.row.last_day, "it ends at midnight");
        assert_eq!((facts.row.quality, facts.row.free), (9_000, false));
        let words: Vec<_> = facts.words.iter().collect();
        assert!(words.contains(&("jazz", Field::Title)) && words.contains(&("late", Field::Body)), "{words:?}");
        assert!(words.contains(&("live", Field::Name)));
    }

    #[test]
    fn days_are_those_of_their_zone() {
        let day = event(
            r#"{"format":1,"title":"T","startTime":"2026-03-28","endTime":"2026-03-29","timezone":"Europe/Paris"}"#,
        );
        let ms = |text: &str| text.parse::<Timestamp>().unwrap().as_millisecond();
        assert_eq!(day.row.start_ms, ms("2026-03-27T23:00:00Z"));
        assert_eq!(day.row.end_ms, ms("2026-03-29T22:00:00Z"), "clocks change in this night");
        assert_eq!(day.row.last_day - day.row.first_day, 1);
    }

    #[test]
    fn free_is_what_is_said_or_what_costs_nothing() {
        let free = |pricing: &str| {
            event(&format!(r#"{{"format":1,"title":"T","startTime":"2026-03-28","pricing":{pricing}}}"#)).row.free
        };
        assert!(free(r#"{"min":0}"#) && free(r#"{"min":0,"max":0}"#) && free(r#"{"free":true}"#));
        assert!(!free(r#"{"min":0,"max":9}"#) && !free(r#"{"min":0,"free":false}"#) && !free("{}"));
    }

    #[test]
    fn the_key_of_a_place_does_not_depend_on_spelling() {
        let key = |name: &str, city: &str| place_key(name, Some(city));
        assert_eq!(key("St. John's Hall", "Łódź").as_deref(), Some("st-johns-hall.lodz"));
        assert_eq!(key("ST JOHNS HALL ", "Lodz"), key("St. John's Hall", "Łódź"));
        assert_eq!(place_key("Café 21", None), key("Cafe 21", " – "));
        assert_eq!((key("…", "Napa"), place_key("", None)), (None, None));
        let parts = |key| (parts_of_place(key).0.collect::<Vec<_>>(), parts_of_place(key).1);
        assert_eq!(parts("blue-note.sao-paulo"), (vec!["blue", "note"], Some("sao-paulo")));
        assert_eq!(parts("forum"), (vec!["forum"], None));
    }

    #[test]
    fn a_retired_id_redirects() {
        let read = read(r#"{"format":1,"id":"e2","redirectTo":"e1"}"#);
        assert_eq!(read, Ok(Document::Redirect("e1".to_owned())));
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        for value in ["", "7", r#"{"format":1,"title":"T"}"#, r#"{"format":1,"startTime":"2026-01-01"}"#] {
            assert!(matches!(read(value), Err(Unread::Malformed(_))), "{value}");
        }
        assert_eq!(read(r#"{"format":2,"title":{}}"#), Err(Unread::Format { found: 2, known: 1 }));
    }
}
