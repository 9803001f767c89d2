//! Lists as GeoJSON (RFC 7946): a feature for each event, with its document as properties.

use super::super::found::Found;
use crate::document;
use crate::projection::with_distance;

pub(super) fn write(found: &Found) -> Vec<u8> {
    let mut out = String::from("{\"type\":\"FeatureCollection\",\"features\":[");
    for (event, number) in found.events.iter().zip(0..) {
        if number > 0 {
            out.push(',');
        }
        let venue = document::value(&event.document).ok().and_then(|value| value.venue);
        let at = venue.and_then(|venue| venue.longitude.zip(venue.latitude));
        let geometry = at.map_or_else(
            || "null".to_owned(),
            |(longitude, latitude)| format!("{{\"type\":\"Point\",\"coordinates\":[{longitude},{latitude}]}}"),
        );
        let id = serde_json::Value::from(&*event.id);
        let properties = with_distance(&event.document, event.distance_m);
        out.push_str(&format!(
            "{{\"type\":\"Feature\",\"id\":{id},\"geometry\":{geometry},\"properties\":{properties}}}"
        ));
    }
    out.push_str("]}");
    out.into_bytes()
}
