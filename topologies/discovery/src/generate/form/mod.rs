//! The forms in which sources write: bytes from [`Telling`]s.

pub(super) mod calendar;
pub(super) mod mapped;
pub(super) mod schema_org;

use super::style::Telling;
use super::text::{push_degrees, push_digits, push_json};
use super::world::{DAY, World};

/// Appends `18:30` with `between` as the colon.
fn push_clock(out: &mut String, minute: i64, between: &str) {
    let of_day = minute.rem_euclid(DAY).unsigned_abs();
    push_digits(out, of_day / 60, 10, 2);
    out.push_str(between);
    push_digits(out, of_day % 60, 10, 2);
}

/// Appends `2026-06-01T18:30:00`.
fn push_local(out: &mut String, world: &World, minute: i64) {
    out.push_str(&world.day(minute).iso);
    out.push('T');
    push_clock(out, minute, ":");
    out.push_str(":00");
}

/// Appends `2026-06-01T18:30:00+02:00`, or the day alone for an event without times.
fn push_moment(out: &mut String, telling: &Telling<'_>, minute: i64) {
    if telling.days > 0 {
        out.push_str(&telling.world.day(minute).iso);
        return;
    }
    push_local(out, telling.world, minute);
    out.push(if telling.offset < 0 { '-' } else { '+' });
    push_clock(out, telling.offset.abs(), ":");
}

/// Appends `20260601T183000`.
pub(super) fn push_compact(out: &mut String, world: &World, minute: i64) {
    out.push_str(&world.day(minute).compact);
    out.push('T');
    push_clock(out, minute, "");
    out.push_str("00");
}

/// The minute by which an end is written: for whole days it lies on the last one.
fn written_end(telling: &Telling<'_>) -> Option<i64> {
    telling.end.map(|end| if telling.days > 0 { end - DAY } else { end })
}

/// Appends `"name":"text",`.
fn field(out: &mut String, name: &str, text: &str) {
    label(out, name);
    push_json(out, text);
    out.push(',');
}

/// Appends `"name":`.
fn label(out: &mut String, name: &str) {
    out.push('"');
    out.push_str(name);
    out.push_str("\":");
}

/// Appends `"a":52.5,"b":13.4`.
fn push_point(out: &mut String, names: (&str, &str), point: (i64, i64)) {
    label(out, names.0);
    push_degrees(out, point.0);
    out.push(',');
    label(out, names.1);
    push_degrees(out, point.1);
}

/// Appends an address of the production's image.
fn push_image(out: &mut String, telling: &Telling<'_>) {
    out.push_str("https://img.");
    out.push_str(&telling.source.name);
    out.push_str(".example/");
    push_digits(out, u64::from(telling.production.image), 10, 5);
    out.push('-');
    push_digits(out, u64::from(telling.revision), 10, 1);
    out.push_str("/poster-1200x630.jpg");
}
