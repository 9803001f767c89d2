//! Random event documents out of few words, so that filters meet something.

use proptest::prelude::*;
use serde_json::{Value, json};

pub const WORDS: [&str; 9] =
    ["jazz", "Jazzy", "concert", "concrete", "Café", "2026", "workshop", "wrokshop", "philharmonic"];
pub const CITIES: [&str; 4] = ["Napa", "São Paulo", "Sao Paulo", "Suva"];
/// The second and third have the same words; the last one has none.
pub const VENUES: [&str; 5] = ["Hall", "Café Concert", "cafe-concert", "The Philharmonic", "–"];
pub const COUNTRIES: [&str; 2] = ["US", "Brasil"];
pub const CATEGORIES: [&str; 2] = ["Music", "Talks & Films"];
pub const TAGS: [&str; 3] = ["live", "Live", "free-entry"];
pub const SOURCES: [&str; 3] = ["city-guide", "town", "City-guide"];
pub const GRADES: [&str; 3] = ["A", "B", "F"];
pub const STATUSES: [&str; 3] = ["scheduled", "cancelled", "postponed"];
pub const MODERATIONS: [&str; 3] = ["approved", "flagged", "rejected"];
/// The last two are on both sides of the antimeridian, a few kilometres apart.
pub const POINTS: [(f64, f64); 6] =
    [(38.3, -122.28), (38.31, -122.29), (-23.55, -46.63), (89.99, 10.0), (-18.0, 179.99), (-18.0, -179.99)];
pub const TIMES: [&str; 6] = [
    "2026-12-01T20:00:00-08:00",
    "2026-12-01T23:59:00Z",
    "2026-12-02T00:00:00Z",
    "2026-12-02",
    "2026-12-03",
    "2026-12-04T09:30:00+13:00",
];
pub const UPDATED: [&str; 3] = ["2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z", "2026-11-03T00:00:00.5Z"];

fn one<const N: usize>(of: [&'static str; N]) -> impl Strategy<Value = &'static str> + Clone {
    prop::sample::select(of.to_vec())
}

fn some<const N: usize>(of: [&'static str; N]) -> impl Strategy<Value = Vec<&'static str>> {
    prop::sample::subsequence(of.to_vec(), 0..=N)
}

/// An event without its id.
pub fn any_event() -> impl Strategy<Value = Value> {
    let texts = (prop::collection::vec(one(WORDS), 1..3), prop::collection::vec(one(WORDS), 0..4));
    let what = (prop::option::of(one(CATEGORIES)), some(TAGS), some(SOURCES), prop::option::of(one(GRADES)));
    let place = (
        prop::option::weighted(0.9, one(VENUES)),
        prop::option::of(one(CITIES)),
        prop::option::of(one(COUNTRIES)),
        prop::option::of(prop::sample::select(POINTS.to_vec())),
    );
    let time = (one(TIMES), prop::option::of(one(TIMES)), prop::option::of(Just("America/Sao_Paulo")));
    let price = prop::option::of((prop::option::of(0u8..3), prop::option::of(0u8..3), prop::option::of(any::<bool>())));
    let moderation = prop::option::weighted(0.4, one(MODERATIONS));
    let rest = (one(STATUSES), any::<bool>(), 0u8..=10, one(UPDATED), moderation);
    (texts, what, place, time, price, rest).prop_map(|(texts, what, place, time, price, rest)| {
        let (title, description) = texts;
        let (category, tags, sources, grade) = what;
        let (venue, city, country, point) = place;
        let (start, end, zone) = time;
        let (status, online, quality, updated, moderation) = rest;
        let mut event = json!({
            "format": 1, "title": title.join(" "), "description": description.join(", "), "category": category,
            "tags": tags, "startTime": start, "endTime": end, "timezone": zone, "online": online, "status": status,
            "venue": {"name": venue, "city": city, "country": country,
                "latitude": point.map(|point| point.0), "longitude": point.map(|point| point.1)},
            "pricing": price.map(|(min, max, free)| json!({"min": min, "max": max, "free": free})),
            "listings": sources.iter().map(|source| json!({"source": source})).collect::<Vec<_>>(),
            "updatedAt": updated, "qualityScore": f64::from(quality) / 10.0, "qualityGrade": grade,
        });
        // The field is not there where nobody said anything.
        moderation.into_iter().for_each(|said| event["moderation"] = said.into());
        event
    })
}
