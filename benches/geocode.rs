//! Locating listings: the gazetteer alone, and updates of one listing among many at one place.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use differential_dataflow::input::Input;
use headwater_operators::gazetteer::Gazetteer;
use headwater_operators::geocode::{Geocode, GeocodeConfig, Place};
use headwater_operators::{Epoch, Listing, LiveListing, Shared};
use timely::dataflow::operators::probe::Handle;

const LISTINGS: u32 = 50_000;

fn live(id: u32, venue: u32, version: i64) -> Option<Shared<LiveListing>> {
    let mut listing = Listing::new("library", &id.to_string(), "Storytime", "2026-03-28".parse().ok()?);
    listing.venue.name = Some(format!("Library {venue}").into());
    listing.venue.city = Some("Petaluma".into());
    listing.venue.country = Some("US".into());
    Some(Shared::new(LiveListing::new(&listing, 0, version)))
}

fn bench(criterion: &mut Criterion) {
    let gazetteer = Gazetteer::embedded();
    criterion.bench_function("geocode/city", |bencher| {
        bencher.iter(|| gazetteer.city(black_box("Paris"), Some("Île-de-France"), Some("France")));
    });
    let mut group = criterion.benchmark_group("geocode");
    group.sample_size(10);
    for venues in [1, LISTINGS] {
        group.bench_function(format!("50 000 listings at {venues} places, then 1000 updates"), |bencher| {
            bencher.iter(|| insert_and_update(venues));
        });
    }
}

fn insert_and_update(venues: u32) {
    timely::execute_directly(move |worker| {
        let probe = Handle::new();
        let (mut listings, mut places) = worker.dataflow::<Epoch, _, _>(|scope| {
            let (listings_in, listings) = scope.new_collection();
            let (places_in, places) = scope.new_collection::<Place, isize>();
            listings.geocode(places, GeocodeConfig::default()).listings.probe_with(&probe);
            (listings_in, places_in)
        });
        let old = |id: u32| live(id, id % venues, 0);
        (0..LISTINGS).filter_map(old).for_each(|live| listings.insert(live));
        for epoch in 1..=1001 {
            listings.advance_to(epoch);
            places.advance_to(epoch);
            listings.flush();
            places.flush();
            worker.step_while(|| probe.less_than(&epoch));
            let id = epoch as u32;
            old(id).into_iter().for_each(|live| listings.remove(live));
            live(id, id % venues, 1).into_iter().for_each(|live| listings.insert(live));
        }
    });
}

criterion_group!(benches, bench);
criterion_main!(benches);
