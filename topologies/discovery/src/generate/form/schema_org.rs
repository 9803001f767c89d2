//! schema.org JSON-LD: one event, or a `@graph` of several.

use super::super::style::{Telling, Told};
use super::super::text::{push_amount, push_json};
use super::{field, label, push_image, push_moment, push_point, written_end};

/// Appends one event as a document of its own.
pub fn push_event(out: &mut String, telling: &Telling<'_>) {
    out.push_str(r#"{"@context":"https://schema.org","#);
    push_fields(out, telling);
}

/// Appends all events as a `@graph`.
pub fn push_graph(out: &mut String, tellings: &[Telling<'_>]) {
    out.push_str(r#"{"@context":"https://schema.org","@graph":["#);
    for (index, telling) in tellings.iter().enumerate() {
        out.push_str(if index == 0 { "{" } else { ",{" });
        push_fields(out, telling);
    }
    out.push_str("]}");
}

fn push_fields(out: &mut String, telling: &Telling<'_>) {
    field(out, "@type", telling.production.category.schema_type);
    field(out, "identifier", &telling.id);
    field(out, "name", &telling.title);
    field(out, "description", &telling.description);
    label(out, "startDate");
    out.push('"');
    push_moment(out, telling, telling.start);
    out.push_str("\",");
    if let Some(end) = written_end(telling) {
        label(out, "endDate");
        out.push('"');
        push_moment(out, telling, end);
        out.push_str("\",");
    }
    out.push_str(r#""eventStatus":"https://schema.org/Event"#);
    out.push_str(match telling.status {
        Told::Scheduled => "Scheduled",
        Told::Postponed => "Postponed",
        Told::Cancelled => "Cancelled",
    });
    out.push_str(r#"","eventAttendanceMode":"https://schema.org/OfflineEventAttendanceMode","#);
    push_location(out, telling);
    push_organizer(out, telling);
    push_offer(out, telling);
    if telling.image {
        out.push_str(r#""image":[""#);
        push_image(out, telling);
        out.push_str("\"],");
    }
    label(out, "keywords");
    out.push('"');
    out.push_str(telling.production.category.words[2]);
    out.push_str(", ");
    out.push_str(telling.city.words.name);
    out.push_str("\",");
    label(out, "url");
    push_json(out, &telling.url);
    out.push('}');
}

fn push_location(out: &mut String, telling: &Telling<'_>) {
    out.push_str(r#""location":{"@type":"Place","#);
    if let Some(name) = telling.venue_name {
        field(out, "name", name);
    }
    out.push_str(r#""address":{"@type":"PostalAddress","#);
    if telling.venue_name.is_some() {
        field(out, "streetAddress", &telling.venue.street);
        field(out, "postalCode", &telling.venue.postal);
    }
    field(out, "addressLocality", telling.city.words.name);
    field(out, "addressRegion", telling.city.words.region);
    label(out, "addressCountry");
    push_json(out, telling.city.words.code);
    out.push('}');
    if let Some(point) = telling.point {
        out.push_str(r#","geo":{"@type":"GeoCoordinates","#);
        push_point(out, ("latitude", "longitude"), point);
        out.push('}');
    }
    out.push_str("},");
}

fn push_organizer(out: &mut String, telling: &Telling<'_>) {
    out.push_str(r#""organizer":{"@type":"Organization","#);
    field(out, "name", &telling.production.host);
    out.push_str(r#""url":"https://"#);
    out.push_str(&telling.production.host_slug);
    out.push_str(r#".example/"},"#);
}

fn push_offer(out: &mut String, telling: &Telling<'_>) {
    let Some((lowest, highest)) = telling.price else { return };
    if highest == 0 {
        out.push_str(r#""isAccessibleForFree":true,"#);
        return;
    }
    out.push_str(r#""offers":{"@type":"AggregateOffer","lowPrice":""#);
    push_amount(out, lowest);
    out.push_str(r#"","highPrice":""#);
    push_amount(out, highest);
    out.push_str(r#"","priceCurrency":""#);
    out.push_str(telling.city.words.currency);
    out.push_str(r#"","availability":"https://schema.org/InStock","url":"#);
    push_json(out, &telling.url);
    out.push_str("},");
}
