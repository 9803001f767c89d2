//! The table of links.

use headwater::view::{TableRow, Text, Unread, Versioned, parse, time_cell};
use headwater::{cells, tables};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

tables! {
    /// Which listing belongs to which event.
    pub static EVENT_LINKS = "event_links", key 1 {
        listing_id: Text, source: Text, external_id: Text, event_id: Text, event_first_seen: Time,
        similarity: Real, via_source: Text, via_external_id: Text, contributions: Json,
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LinkValue<'a> {
    format: u64,
    #[serde(borrow)]
    source: Text<'a>,
    external_id: Text<'a>,
    event_id: Text<'a>,
    event_first_seen: Option<Timestamp>,
    similarity: Option<f64>,
    via: Option<ViaValue<'a>>,
    contributions: Option<&'a RawValue>,
}

impl Versioned for LinkValue<'_> {
    fn format(&self) -> u64 {
        self.format
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ViaValue<'a> {
    #[serde(borrow)]
    source: Text<'a>,
    external_id: Text<'a>,
}

pub(super) fn read<'a>(listing_id: &'a str, text: &'a str) -> Result<TableRow<'a>, Unread> {
    let link: LinkValue<'a> = parse(text)?;
    let (via_source, via_external_id) = link.via.map(|via| (via.source, via.external_id)).unzip();
    Ok(EVENT_LINKS.row(cells![
        listing_id,
        link.source,
        link.external_id,
        link.event_id,
        time_cell(link.event_first_seen)?,
        link.similarity,
        via_source,
        via_external_id,
        link.contributions.map(RawValue::get),
    ]))
}

#[cfg(test)]
mod tests {
    use headwater::view::Cell;

    use super::super::tests::cell;
    use super::*;

    const LINK: &str = r#"{"format":1,"listing":"l1","source":"s","externalId":"7","eventId":"e1",
        "eventFirstSeen":"2026-01-01T00:00:00Z","similarity":0.93,"via":{"source":"t","externalId":"8"},
        "contributions":[{"field":"title"}]}"#;

    #[test]
    fn a_link_is_a_row() {
        let row = read("l1", LINK).unwrap();
        assert_eq!(*cell(&row, "event_id"), Cell::Text("e1".into()));
        assert_eq!(*cell(&row, "via_external_id"), Cell::Text("8".into()));
        assert_eq!(*cell(&row, "contributions"), Cell::Text(r#"[{"field":"title"}]"#.into()));
        let alone = read("l1", r#"{"format":1,"source":"s","externalId":"7","eventId":"e1"}"#).unwrap();
        assert_eq!((cell(&alone, "via_source"), cell(&alone, "contributions")), (&Cell::Null, &Cell::Null));
    }
}
