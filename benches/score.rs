//! Scoring one event, and a change of the gates over many.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use differential_dataflow::input::Input;
use headwater_operators::listing::Ratio;
use headwater_operators::resolve::Moderation;
use headwater_operators::score::{Gates, ScoreEvents, score};
use headwater_operators::{Epoch, Event, EventId};
use timely::dataflow::operators::probe::Handle;

const EVENTS: u128 = 100_000;

fn event(id: u128) -> Option<Event> {
    serde_json::from_value(serde_json::json!({
        "id": EventId(id), "title": format!("Jazz in the Park {id}"), "description": "All ages welcome. ".repeat(20),
        "category": "Music", "tags": ["jazz"], "startTime": "2026-03-28T19:30:00-07:00",
        "endTime": "2026-03-28T22:00:00-07:00", "timezone": "America/Los_Angeles", "allDay": false,
        "venue": {"name": "Central Park", "city": "Davis", "country": "US", "latitude": 38.5, "longitude": -121.7},
        "online": false, "pricing": {"min": 5.0, "currency": "USD"}, "capacity": 100,
        "images": ["https://example.org/a.jpg"], "urls": ["https://example.org/"], "status": "scheduled",
        "listings": [], "fieldSources": {}, "firstSeen": "2026-01-01T00:00:00Z", "updatedAt": "2026-01-01T00:00:00Z",
    }))
    .ok()
}

fn bench(criterion: &mut Criterion) {
    let Some(one) = event(1) else { return };
    let gates = Gates::default();
    criterion.bench_function("score/one", |bencher| bencher.iter(|| score(black_box(&one.view()), &gates)));

    let mut group = criterion.benchmark_group("score");
    group.sample_size(10);
    group.bench_function("100 000 events, then stricter gates", |bencher| bencher.iter(stricter_gates));
}

fn stricter_gates() {
    timely::execute_directly(|worker| {
        let probe = Handle::new();
        let (mut events, mut gates) = worker.dataflow::<Epoch, _, _>(|scope| {
            let (events_in, events) = scope.new_collection();
            let (gates_in, gates) = scope.new_collection();
            let moderated = scope.new_collection_from(Vec::<(EventId, Moderation)>::new()).1;
            events.score(gates, moderated).probe_with(&probe);
            (events_in, gates_in)
        });
        for event in (0..EVENTS).filter_map(event) {
            events.insert((event.id, event.into()));
        }
        gates.insert(Gates { pass: Ratio::new(0.8), ..Gates::default() });
        for epoch in 1..=2 {
            events.advance_to(epoch);
            gates.advance_to(epoch);
            events.flush();
            gates.flush();
            worker.step_while(|| probe.less_than(&epoch));
            gates.insert(Gates { pass: Ratio::new(0.99), ..Gates::default() });
        }
    });
}

criterion_group!(benches, bench);
criterion_main!(benches);
