//! Three JSON shapes of sources' own making, which the `mapped` adapter reads by configuration.

use super::super::style::{Telling, Told};
use super::super::text::{push_amount, push_int, push_json};
use super::{field, label, push_clock, push_image, push_local, push_moment, push_point, written_end};

/// Appends the shape of a ticket seller: nested, times in UTC.
pub fn push_tickets(out: &mut String, telling: &Telling<'_>) {
    out.push('{');
    field(out, "id", &telling.id);
    field(out, "name", &telling.title);
    field(out, "info", &telling.description);
    label(out, "dates");
    out.push('{');
    push_utc_field(out, "start", telling, telling.start);
    if let Some(end) = written_end(telling) {
        push_utc_field(out, "end", telling, end);
    }
    label(out, "timezone");
    push_json(out, telling.city.words.zone);
    out.push_str("},");
    push_ticket_place(out, telling);
    out.push_str(r#""promoter":{"#);
    field(out, "name", &telling.production.host);
    out.push_str(r#""site":"https://"#);
    out.push_str(&telling.production.host_slug);
    out.push_str(r#".example/"},"#);
    if let Some((lowest, highest)) = telling.price {
        out.push_str(r#""tickets":{"from":"#);
        push_amount(out, lowest);
        out.push_str(r#","to":"#);
        push_amount(out, highest);
        out.push_str(r#","currency":""#);
        out.push_str(telling.city.words.currency);
        out.push_str("\"},");
    }
    if telling.image {
        out.push_str(r#""pictures":[{"href":""#);
        push_image(out, telling);
        out.push_str(r#"","width":1200,"height":630}],"#);
    }
    field(out, "genre", telling.production.category.words[0]);
    out.push_str(r#""labels":["#);
    push_json(out, telling.production.category.words[1]);
    out.push(',');
    push_json(out, telling.city.words.name);
    out.push_str("],");
    field(out, "link", &telling.url);
    label(out, "seats");
    push_int(out, telling.production.capacity);
    out.push(',');
    field(out, "state", status(telling.status, ["on-sale", "postponed", "cancelled"]));
    push_revision(out, "rev", "changed", telling);
    out.push('}');
}

fn push_utc_field(out: &mut String, name: &str, telling: &Telling<'_>, local: i64) {
    label(out, name);
    out.push('"');
    if telling.days > 0 {
        push_moment(out, telling, local);
    } else {
        push_local(out, telling.world, telling.utc(local));
        out.push('Z');
    }
    out.push_str("\",");
}

fn push_ticket_place(out: &mut String, telling: &Telling<'_>) {
    out.push_str(r#""place":{"#);
    if let Some(name) = telling.venue_name {
        field(out, "label", name);
    }
    field(out, "street", &telling.venue.street);
    field(out, "postcode", &telling.venue.postal);
    field(out, "town", telling.city.words.name);
    field(out, "region", telling.city.words.region);
    label(out, "country");
    push_json(out, telling.city.words.code);
    if let Some(point) = telling.point {
        out.push_str(r#","geo":{"#);
        push_point(out, ("lat", "lng"), point);
        out.push('}');
    }
    out.push_str("},");
}

/// Appends the shape of a meeting site: flat, local times beside the name of their zone, HTML.
pub fn push_circle(out: &mut String, telling: &Telling<'_>) {
    out.push('{');
    label(out, "event_id");
    out.push_str(&telling.id);
    out.push(',');
    field(out, "title", &telling.title);
    field(out, "body_html", &telling.description);
    push_spaced_field(out, "starts", telling, telling.start);
    if let Some(end) = written_end(telling) {
        push_spaced_field(out, "ends", telling, end);
    }
    field(out, "tz", telling.city.words.zone);
    if let Some(name) = telling.venue_name {
        field(out, "venue_name", name);
        field(out, "venue_street", &telling.venue.street);
    }
    field(out, "venue_zip", &telling.venue.postal);
    field(out, "venue_city", telling.city.words.name);
    field(out, "venue_country", telling.city.words.country);
    if let Some(point) = telling.point {
        push_point(out, ("lat", "lon"), point);
        out.push(',');
    }
    field(out, "group_name", &telling.production.host);
    out.push_str(r#""group_url":"https://"#);
    out.push_str(&telling.production.host_slug);
    out.push_str(r#".example/","#);
    if let Some((lowest, highest)) = telling.price {
        label(out, "fee");
        push_amount(out, lowest);
        out.push_str(r#","fee_max":"#);
        push_amount(out, highest);
        out.push_str(r#","fee_currency":""#);
        out.push_str(telling.city.words.currency);
        out.push_str(r#"","is_free":"#);
        out.push_str(if highest == 0 { "true," } else { "false," });
    }
    label(out, "max_attendees");
    push_int(out, telling.production.capacity);
    out.push_str(r#","going":"#);
    push_int(out, telling.production.capacity / 3);
    out.push(',');
    if telling.image {
        label(out, "photo");
        out.push('"');
        push_image(out, telling);
        out.push_str("\",");
    }
    label(out, "topics");
    out.push('[');
    push_json(out, telling.production.category.words[2]);
    out.push_str(",\"things to do\"],");
    field(out, "permalink", &telling.url);
    field(out, "status", status(telling.status, ["active", "postponed", "cancelled"]));
    push_revision(out, "version", "updated_at", telling);
    out.push('}');
}

/// `2026-06-01 18:30`, or the day alone.
fn push_spaced_field(out: &mut String, name: &str, telling: &Telling<'_>, local: i64) {
    label(out, name);
    out.push('"');
    out.push_str(&telling.world.day(local).iso);
    if telling.days == 0 {
        out.push(' ');
        push_clock(out, local, ":");
    }
    out.push_str("\",");
}

/// Appends the shape of a university's notice board: dates with the day first, no zone.
pub fn push_campus(out: &mut String, telling: &Telling<'_>) {
    out.push('{');
    field(out, "ref", &telling.id);
    field(out, "headline", &telling.title);
    field(out, "abstract", &telling.description);
    out.push_str(r#""when":{"#);
    push_dotted_field(out, "from", telling, telling.start);
    if let Some(end) = written_end(telling) {
        push_dotted_field(out, "until", telling, end);
    }
    label(out, "weekday");
    push_json(out, super::super::vocabulary::WEEKDAYS[telling.world.day(telling.start).weekday]);
    out.push_str(r#"},"where":{"#);
    if let Some(name) = telling.venue_name {
        field(out, "building", name);
        field(out, "address", &telling.venue.street);
    }
    label(out, "city");
    push_json(out, telling.city.words.name);
    if let Some(point) = telling.point {
        out.push_str(r#","coordinates":"#);
        push_pair(out, point);
    }
    out.push_str("},");
    field(out, "institute", &telling.production.host);
    field(out, "kind", telling.production.category.words[1]);
    if let Some((lowest, _)) = telling.price {
        label(out, "admission");
        push_amount(out, lowest);
        out.push(',');
    }
    label(out, "seats");
    push_int(out, telling.production.capacity);
    out.push(',');
    if telling.image {
        label(out, "picture");
        out.push('"');
        push_image(out, telling);
        out.push_str("\",");
    }
    field(out, "link", &telling.url);
    field(out, "note", status(telling.status, ["as planned", "postponed", "cancelled"]));
    push_revision(out, "edition", "edited", telling);
    out.push('}');
}

/// `01.06.2026 18:30`, or the day alone.
fn push_dotted_field(out: &mut String, name: &str, telling: &Telling<'_>, local: i64) {
    label(out, name);
    out.push('"');
    out.push_str(&telling.world.day(local).dotted);
    if telling.days == 0 {
        out.push(' ');
        push_clock(out, local, ":");
    }
    out.push_str("\",");
}

/// `[13.4, 52.5]`: longitude first, as in GeoJSON.
fn push_pair(out: &mut String, (lat, lon): (i64, i64)) {
    out.push('[');
    super::push_degrees(out, lon);
    out.push(',');
    super::push_degrees(out, lat);
    out.push(']');
}

fn push_revision(out: &mut String, number: &str, time: &str, telling: &Telling<'_>) {
    label(out, number);
    push_int(out, i64::from(telling.revision));
    out.push(',');
    label(out, time);
    out.push('"');
    push_local(out, telling.world, telling.modified);
    out.push_str("Z\"");
}

fn status(told: Told, words: [&'static str; 3]) -> &'static str {
    let [scheduled, postponed, cancelled] = words;
    match told {
        Told::Scheduled => scheduled,
        Told::Postponed => postponed,
        Told::Cancelled => cancelled,
    }
}
