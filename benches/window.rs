//! Counting a million records of twenty sources in a thousand epochs.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use differential_dataflow::input::Input as _;
use headwater_operators::Epoch;
use headwater_operators::window::{Outcome, Tally, WindowConfig, window};
use timely::dataflow::operators::{Input as _, Probe};

const EPOCHS: u64 = 1000;
const RECORDS: u64 = 1000;

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("window");
    group.sample_size(10).throughput(Throughput::Elements(EPOCHS * RECORDS));
    group.bench_function("1 000 000 records", |bencher| bencher.iter(count_records));
}

fn count_records() {
    timely::execute_directly(|worker| {
        let (mut tallies, mut watermarks, probe) = worker.dataflow::<Epoch, _, _>(|scope| {
            let (tallies_in, tallies) = scope.new_input();
            let (watermarks_in, watermarks) = scope.new_input();
            let events = scope.new_collection::<_, isize>().1;
            let restored = scope.new_input().1;
            let windowed = window(tallies, events, watermarks, restored, WindowConfig::default());
            (tallies_in, watermarks_in, windowed.rows.inner.probe().0)
        });
        let sources: Vec<smol_str::SmolStr> = (0..20).map(|source| format!("source-{source}").into()).collect();
        for epoch in 0..EPOCHS {
            for (record, source) in (0..RECORDS).zip(sources.iter().cycle()) {
                let origin_ms = (epoch * 10_000 + record) as i64;
                tallies.send(Tally { origin_ms, source: source.clone(), category: None, outcome: Outcome::Seen, n: 1 });
            }
            watermarks.send((epoch * 10_000) as i64);
            tallies.advance_to(epoch + 1);
            watermarks.advance_to(epoch + 1);
            worker.step_while(|| probe.less_than(&(epoch + 1)));
        }
    });
}

criterion_group!(benches, bench);
criterion_main!(benches);
