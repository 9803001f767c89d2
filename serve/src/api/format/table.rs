//! Lists as CSV (RFC 4180).
//!
//! Cells that a spreadsheet would run as a formula get an apostrophe before them (OWASP, CSV injection):
//! the texts are those of strangers.

use super::super::found::Found;
use crate::document::{self, EventValue};

const COLUMNS: [&str; 20] = [
    "id",
    "title",
    "category",
    "tags",
    "startTime",
    "endTime",
    "venue",
    "address",
    "city",
    "region",
    "country",
    "latitude",
    "longitude",
    "online",
    "organizer",
    "priceMin",
    "priceMax",
    "currency",
    "status",
    "url",
];

pub(super) fn write(found: &Found) -> Vec<u8> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    // Writing to memory cannot fail, nor do rows differ in length.
    let _ = writer.write_record(COLUMNS);
    for event in &found.events {
        if let Ok(value) = document::value(&event.document) {
            let _ = writer.write_record(row(&event.id, &value).map(harmless));
        }
    }
    writer.into_inner().unwrap_or_default()
}

fn row(id: &str, event: &EventValue<'_>) -> [String; COLUMNS.len()] {
    let text = |text: Option<&headwater::view::Text<'_>>| text.map(|text| text.0.to_string()).unwrap_or_default();
    let number = |number: Option<f64>| number.map(|number| number.to_string()).unwrap_or_default();
    let time = |at: Option<headwater_operators::Moment>| at.map(|at| at.to_string()).unwrap_or_default();
    let (venue, pricing) = (event.venue.as_ref(), event.pricing.as_ref());
    let tags: Vec<&str> = event.tags.iter().map(|tag| &*tag.0).collect();
    [
        id.to_owned(),
        text(event.title.as_ref()),
        text(event.category.as_ref()),
        tags.join("; "),
        time(event.start_time),
        time(event.end_time),
        text(venue.and_then(|venue| venue.name.as_ref())),
        text(venue.and_then(|venue| venue.address.as_ref())),
        text(venue.and_then(|venue| venue.city.as_ref())),
        text(venue.and_then(|venue| venue.region.as_ref())),
        text(venue.and_then(|venue| venue.country.as_ref())),
        number(venue.and_then(|venue| venue.latitude)),
        number(venue.and_then(|venue| venue.longitude)),
        event.online.to_string(),
        text(event.organizer.as_ref().and_then(|organizer| organizer.name.as_ref())),
        number(pricing.and_then(|pricing| pricing.min)),
        number(pricing.and_then(|pricing| pricing.max)),
        text(pricing.and_then(|pricing| pricing.currency.as_ref())),
        text(event.status.as_ref()),
        text(event.urls.first()),
    ]
}

fn harmless(cell: String) -> String {
    let formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']) && cell.parse::<f64>().is_err();
    if formula { format!("'{cell}") } else { cell }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_text() {
        assert_eq!(harmless("=HYPERLINK(1)".to_owned()), "'=HYPERLINK(1)");
        assert_eq!(harmless("-122.28".to_owned()), "-122.28");
        assert_eq!(harmless("Jazz".to_owned()), "Jazz");
    }
}
