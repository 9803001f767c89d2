//! The parts of `resolve` one by one, and the whole on small batches. For a million listings see
//! the ignored tests in `operators/src/resolve/speed.rs`.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use differential_dataflow::input::InputSession;
use headwater_operators::listing::Ratio;
use headwater_operators::resolve::identity::Identity;
use headwater_operators::resolve::merge::merge;
use headwater_operators::resolve::{Batch, Comparer, Decision, Fingerprint, Remembered, Resolve, ResolveConfig};
use headwater_operators::{Epoch, EventId, Listing, LiveListing, Moment, Shared};
use timely::dataflow::ProbeHandle;
use timely::dataflow::operators::Input;

const BATCH: usize = 10_000;

/// Three in ten say again what an earlier one says.
fn listings(count: usize) -> Vec<Shared<LiveListing>> {
    (0..count)
        .map(|n| {
            let event = if n % 10 >= 7 { n - 7 } else { n };
            let title = format!("Harvest Jazz {} Festival at Old Mill {}", event * 7919 % 10_007, event % 97);
            let ms = 1_777_000_000_000 + (event as i64 * 37 % 500_000) * 3_600_000;
            let start = Moment::Instant { ms, offset_min: -420 };
            let mut listing = Listing::new(["a", "b", "c"][n % 3], &n.to_string(), &title, start);
            listing.venue.name = Some(format!("Old Mill Theatre {}", event % 997).into());
            listing.venue.city = Some("Davis".into());
            listing.urls = [format!("https://www.example.org/events/{n}?utm_source=feed").into()].into();
            Shared::new(LiveListing::new(&listing, n as i64, n as i64))
        })
        .collect()
}

fn resolve_all(listings: Vec<Shared<LiveListing>>) {
    timely::execute_directly(move |worker| {
        let probe = ProbeHandle::new();
        let (mut input, mut decisions) = (InputSession::new(), InputSession::<Epoch, Decision, isize>::new());
        let history = worker.dataflow::<Epoch, _, _>(|scope| {
            let (history, remembered) = scope.new_input::<Vec<Remembered>>();
            let decided = decisions.to_collection(scope);
            let resolved = input.to_collection(scope).resolve(&Arc::new(ResolveConfig::default()), decided, remembered);
            resolved.events.probe_with(&probe);
            history
        });
        listings.into_iter().for_each(|live| input.insert(live));
        input.close();
        decisions.close();
        history.close();
        worker.step_while(|| !probe.done());
    });
}

fn resolve(criterion: &mut Criterion) {
    let config = ResolveConfig::default();
    let all = listings(BATCH);
    let mut group = criterion.benchmark_group("resolve");

    group.bench_function("fingerprint", |bencher| bencher.iter(|| Fingerprint::of(black_box(&all[42]), &config)));

    let comparer = Comparer::new(&config);
    let [a, b, c] = [10, 17, 11].map(|n| Fingerprint::of(&all[n], &config));
    group.bench_function("compare/duplicates", |bencher| {
        bencher.iter(|| comparer.matches(black_box(&a), black_box(&b)))
    });
    group.bench_function("compare/others", |bencher| bencher.iter(|| comparer.matches(black_box(&a), black_box(&c))));

    let identity = Identity { born: 0, event: EventId(1) };
    let three = [10, 17, 11].map(|n: usize| (all[n].clone(), Ratio::ONE));
    let merged = || merge(identity, black_box(three.clone()), &config).map(|merged| merged.view().title.len());
    group.bench_function("merge/three listings", |bencher| bencher.iter(merged));

    group.throughput(Throughput::Elements(BATCH as u64)).sample_size(20);
    group.bench_function("blocks, comparisons and clusters without the dataflow", |bencher| {
        bencher.iter(|| Batch::resolve(all.iter().map(|live| &**live), &[], &config));
    });
    group.bench_function("dataflow", |bencher| {
        bencher.iter_batched(|| all.clone(), resolve_all, BatchSize::LargeInput);
    });
    group.finish();
}

criterion_group!(benches, resolve);
criterion_main!(benches);
