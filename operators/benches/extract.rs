//! How long a raw record takes to become listings, by format.

#![allow(missing_docs)] // The macros of criterion declare undocumented functions.
#![allow(clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use headwater_operators::extract::{ExtractConfig, Extractor, content_hash};
use headwater_operators::raw::{Origin, RawRecord};

const CONFIG: &str = r#"
[defaults]
timezone = "America/Los_Angeles"

[defaults.mapping]
id = "/id"
title = "/name"
description = "/description"
start = "/start"
end = "/end"
categories = "/category"
tags = "/tags"
venue = "/venue/name"
address = "/venue/address"
city = "/venue/city"
country = "/venue/country"
latitude = "/venue/lat"
longitude = "/venue/lon"
organizer = "/organizer"
price = "/price"
currency = "/currency"
capacity = "/capacity"
images = "/image"
urls = "/url"
"#;

fn text(bytes: usize) -> String {
    "An evening of chamber music with the players of the valley. ".chars().cycle().take(bytes).collect()
}

/// A listing as JSON, about 1.2 KB.
fn mapped() -> String {
    let description = text(640);
    format!(
        r#"{{"id": "venue-000017", "name": "Indiranagar Food Festival, 3rd edition", "description": "{description}",
"start": "2026-03-28T19:30:00-07:00", "end": "2026-03-28T22:00:00-07:00", "category": "food",
"tags": ["food", "outdoor", "family"], "venue": {{"name": "Indiranagar Club", "address": "9th Main Road, 4th Cross",
"city": "Bengaluru", "country": "IN", "lat": 12.9719, "lon": 77.6412}}, "organizer": "Indiranagar Residents",
"price": 250.0, "currency": "INR", "capacity": 1200, "image": "https://images.example.org/festival/2026/poster.jpg",
"url": "https://events.example.org/indiranagar-food-festival-2026", "updated": "2026-03-01T00:00:00Z"}}"#
    )
}

fn jsonld() -> String {
    let description = text(640);
    format!(
        r#"{{"@context": "https://schema.org", "@type": "MusicEvent", "@id": "https://events.example.org/17",
"name": "Spring Concert", "description": "{description}", "startDate": "2026-03-28T19:30:00-07:00",
"endDate": "2026-03-28T22:00:00-07:00", "eventStatus": "https://schema.org/EventScheduled",
"location": {{"@type": "Place", "name": "Old Mill", "address": {{"@type": "PostalAddress", "streetAddress": "1 Mill Rd",
"addressLocality": "Davis", "addressRegion": "CA", "postalCode": "95616"}}, "geo": {{"latitude": 38.5, "longitude": -121.7}}}},
"offers": {{"@type": "Offer", "price": "15.00", "priceCurrency": "USD"}}, "keywords": "strings, classical",
"organizer": {{"@type": "Organization", "name": "Strings"}}, "image": "https://images.example.org/1.jpg"}}"#
    )
}

/// A calendar of 100 events of about 1 KB each.
fn icalendar() -> String {
    let description = text(600);
    let events: String = (0..100)
        .map(|n| {
            format!(
                "BEGIN:VEVENT\r\nUID:{n}@example.org\r\nDTSTAMP:20260301T000000Z\r\nSUMMARY:Spring Concert {n}\r\n\
                 DTSTART;TZID=America/Los_Angeles:20260328T193000\r\nDTEND;TZID=America/Los_Angeles:20260328T220000\r\n\
                 DESCRIPTION:{description}\r\nLOCATION:Old Mill\\, 1 Mill Rd\\, Davis\\, CA 95616\r\n\
                 URL:https://events.example.org/{n}\r\nCATEGORIES:Music,Family\r\nSEQUENCE:1\r\nEND:VEVENT\r\n"
            )
        })
        .collect();
    format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{events}END:VCALENDAR\r\n")
}

/// A weekly series of about 60 instances within the horizon.
fn series() -> String {
    "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:1\r\nSUMMARY:Choir\r\nDTSTART;TZID=America/Los_Angeles:20240102T190000\r\n\
     DTEND;TZID=America/Los_Angeles:20240102T210000\r\nRRULE:FREQ=WEEKLY;BYDAY=TU\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
        .to_owned()
}

/// A rule that never comes true: the most that one VEVENT can cost.
fn hostile() -> String {
    series().replace("FREQ=WEEKLY;BYDAY=TU", "FREQ=HOURLY;BYMONTH=2;BYMONTHDAY=30")
}

fn record(content_type: &str, text: &str) -> RawRecord {
    RawRecord {
        origin: Origin {
            topic: "raw.bench".into(),
            partition: 0,
            offset: 0,
            timestamp_ms: 1_774_526_400_000,
            order_ms: 1_774_526_400_000,
        },
        source: Some("bench".into()),
        content_type: Some(content_type.into()),
        key: None,
        value: Some(text.into()),
        headers: Vec::new(),
    }
}

fn extract(criterion: &mut Criterion) {
    let config: ExtractConfig = toml::from_str(CONFIG).unwrap();
    let extractor = Extractor::new(&config).unwrap();
    let mut group = criterion.benchmark_group("extract");
    for (name, content_type, text) in [
        ("mapped", "application/json", mapped()),
        ("jsonld", "application/ld+json", jsonld()),
        ("icalendar-100", "text/calendar", icalendar()),
        ("icalendar-series", "text/calendar", series()),
        ("icalendar-hostile-rule", "text/calendar", hostile()),
    ] {
        let record = record(content_type, &text);
        assert!(extractor.extract(record.clone()).document.is_some(), "{name}");
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || record.clone(),
                |record| extractor.extract(black_box(record)),
                criterion::BatchSize::SmallInput,
            );
        });
    }
    group.finish();
    let document = extractor.extract(record("application/json", &mapped())).document.unwrap();
    let listing = &document.listings[0].listing;
    criterion.bench_function("content_hash", |bencher| bencher.iter(|| content_hash(black_box(listing), 1)));
}

criterion_group!(benches, extract);
criterion_main!(benches);
