//! Writing a scored event as JSON, as the workers do for the topic `events`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use headwater::dataflow::buffer::json;
use headwater_operators::score::{Gates, ScoredEvent, score};
use headwater_operators::{Event, EventId};

/// The allocator of the binaries.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn event() -> Option<ScoredEvent> {
    let event: Event = serde_json::from_value(serde_json::json!({
        "id": EventId(1), "title": "Jazz in the Park", "description": "All ages welcome. ".repeat(30),
        "category": "Music", "tags": ["jazz"], "startTime": "2026-03-28T19:30:00-07:00",
        "endTime": "2026-03-28T22:00:00-07:00", "timezone": "America/Los_Angeles", "allDay": false,
        "venue": {"name": "Central Park", "city": "Davis", "country": "US", "latitude": 38.5, "longitude": -121.7},
        "online": false, "pricing": {"min": 5.0, "currency": "USD"}, "capacity": 100,
        "images": ["https://example.org/a.jpg"], "urls": ["https://example.org/"], "status": "scheduled",
        "listings": [{"source": "a", "externalId": "1", "url": null, "similarity": 1.0}], "fieldSources": {},
        "firstSeen": "2026-01-01T00:00:00Z", "updatedAt": "2026-01-01T00:00:00Z",
    }))
    .ok()?;
    let report = score(&event.view(), &Gates::default());
    Some(ScoredEvent { event: event.into(), report, moderation: None })
}

fn bench(criterion: &mut Criterion) {
    let Some(event) = event() else { return };
    let mut group = criterion.benchmark_group("encode");
    group.throughput(Throughput::Bytes(json(&event).len() as u64));
    group.bench_function("event", |bencher| bencher.iter(|| json(black_box(&event))));
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
