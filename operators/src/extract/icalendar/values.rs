//! The values of the properties of a component.

use calcard::icalendar::{
    ICalendarComponent, ICalendarDuration, ICalendarEntry, ICalendarParameterName, ICalendarStatus, ICalendarValue, Uri,
};
use calcard::{Entry, Parser};
use smol_str::SmolStr;

use super::super::record::source_geo;
use super::super::words;
use crate::listing::{Geo, Organizer, Status};

pub(super) fn parse_component(text: &str) -> Vec<ICalendarComponent> {
    match Parser::new(text).entry() {
        Entry::ICalendar(calendar) => calendar.components,
        _ => Vec::new(),
    }
}

fn value_text(value: &ICalendarValue) -> Option<&str> {
    match value {
        ICalendarValue::Text(text) | ICalendarValue::Uri(Uri::Location(text)) => {
            Some(text.trim()).filter(|text| !text.is_empty())
        }
        _ => None,
    }
}

pub(super) fn texts_of(entry: &ICalendarEntry) -> impl Iterator<Item = &str> {
    entry.values.iter().filter_map(value_text)
}

pub(super) fn text_of(entry: &ICalendarEntry) -> Option<String> {
    texts_of(entry).next().map(str::to_owned)
}

/// What stands in an entry, for people.
pub(super) fn value_shown(entry: &ICalendarEntry) -> String {
    match entry.values.first() {
        Some(ICalendarValue::PartialDateTime(value)) => {
            let part = |part: Option<u8>| part.map_or_else(|| "?".to_owned(), |part| format!("{part:02}"));
            let year = value.year.map_or_else(|| "?".to_owned(), |year| format!("{year:04}"));
            format!("{year}-{}-{} {}:{}", part(value.month), part(value.day), part(value.hour), part(value.minute))
        }
        _ => text_of(entry).unwrap_or_default(),
    }
}

pub(super) fn integer_of(entry: &ICalendarEntry) -> Option<i64> {
    entry.values.first().and_then(ICalendarValue::as_integer)
}

pub(super) fn duration_of(entry: &ICalendarEntry) -> Option<ICalendarDuration> {
    entry.values.iter().find_map(|value| match value {
        ICalendarValue::Duration(duration) => Some(duration.clone()),
        _ => None,
    })
}

/// `latitude;longitude`, or with the comma that some write.
pub(super) fn geo_of(entry: &ICalendarEntry) -> Option<Geo> {
    let number = |value: &ICalendarValue| match value {
        ICalendarValue::Float(number) => vec![*number],
        other => value_text(other)
            .into_iter()
            .flat_map(|text| text.split([',', ';']))
            .filter_map(|n| n.trim().parse().ok())
            .collect(),
    };
    let numbers: Vec<f64> = entry.values.iter().flat_map(number).collect();
    match numbers.as_slice() {
        [latitude, longitude] => source_geo(*latitude, *longitude),
        _ => None,
    }
}

/// The name of the organizer; mail addresses stand in for names in some feeds and are none.
pub(super) fn organizer_of(entry: &ICalendarEntry) -> Option<Organizer> {
    let name = entry.parameters(&ICalendarParameterName::Cn).find_map(|value| value.as_text())?.trim();
    let url = text_of(entry).filter(|url| url.starts_with("http"));
    (!name.is_empty() && !name.contains('@')).then(|| Organizer { name: name.into(), url: url.map(SmolStr::from) })
}

pub(super) fn is_image(entry: &ICalendarEntry) -> bool {
    let kind = entry.parameters(&ICalendarParameterName::Fmttype).find_map(|value| value.as_text());
    if let Some(kind) = kind {
        return kind.starts_with("image/");
    }
    let address = text_of(entry).unwrap_or_default().to_lowercase();
    let path = address.split(['?', '#']).next().unwrap_or_default();
    [".jpg", ".jpeg", ".png", ".gif", ".webp"].iter().any(|ending| path.ends_with(ending))
}

pub(super) fn status_of(entry: &ICalendarEntry) -> Option<Status> {
    match entry.values.first()? {
        ICalendarValue::Status(ICalendarStatus::Cancelled) => Some(Status::Cancelled),
        ICalendarValue::Status(ICalendarStatus::Tentative) => Some(Status::Tentative),
        ICalendarValue::Text(word) => words::status(word),
        _ => None,
    }
}

/// The coordinates of an X-APPLE-STRUCTURED-LOCATION: `geo:latitude,longitude`.
pub(super) fn structured_geo_of(entry: &ICalendarEntry) -> Option<Geo> {
    // Where a line was torn, the address may have come to stand before it, or in several values.
    let text = texts_of(entry).find(|text| text.contains("geo:"))?;
    let (_, numbers) = text.rsplit_once("geo:")?;
    let (latitude, longitude) = numbers.split(';').next()?.split_once(',')?;
    source_geo(latitude.trim().parse().ok()?, longitude.trim().parse().ok()?)
}
