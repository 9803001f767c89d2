//! Documents cut down to fields, or with a distance: without reading more of them than that takes.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// A document with `distanceKm` before its own fields, where a distance is known.
pub fn with_distance(document: &str, distance_m: Option<f64>) -> String {
    match (document.strip_prefix('{'), distance_m) {
        (Some(rest), Some(metres)) => format!("{{\"distanceKm\":{:.3},{rest}", metres / 1000.0),
        _ => document.to_owned(),
    }
}

/// The fields `fields` and `id` of a document, in the order of their names.
pub fn project(document: &str, fields: &[String]) -> String {
    let Ok(mut all) = serde_json::from_str::<BTreeMap<String, &RawValue>>(document) else { return document.to_owned() };
    all.retain(|name, _| name == "id" || fields.contains(name));
    serde_json::to_string(&all).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_cut_down_to_fields() {
        let document = r#"{"format":1,"id":"e1","title":"Jazz \"Night\"","venue":{"city":"Napa"}}"#;
        assert_eq!(
            project(document, &["venue".to_owned(), "none".to_owned()]),
            r#"{"id":"e1","venue":{"city":"Napa"}}"#
        );
        assert_eq!(with_distance(r#"{"id":"e1"}"#, Some(1234.5)), r#"{"distanceKm":1.234,"id":"e1"}"#);
    }
}
