//! From records to live listings: ten thousand new ones, the same again unchanged, and changed.

use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use differential_dataflow::input::InputSession;
use discovery::discovery::upsert::{Upsert, UpsertOptions};
use discovery::discovery::{HoldBack, Retention};
use headwater_operators::extract::Extraction;
use headwater_operators::raw::{Document, Extracted, Origin, RawRecord, SourceStamp};
use headwater_operators::{Epoch, Listing, Moment};
use timely::dataflow::ProbeHandle;
use timely::dataflow::operators::{Input, Probe};

/// The allocator of the binaries.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const LISTINGS: i64 = 10_000;

/// Version `version` of all records; those with the same `text` say the same.
fn records(version: i64, text: &str) -> Vec<RawRecord> {
    let record = |n: i64| {
        let timestamp_ms = 1_774_526_400_000 + version;
        RawRecord {
            origin: Origin {
                topic: "raw.bench".into(),
                partition: 0,
                offset: version * LISTINGS + n,
                timestamp_ms,
                order_ms: timestamp_ms,
            },
            source: Some("library".into()),
            content_type: None,
            key: Some(n.to_string().into_bytes()),
            value: Some(text.repeat(12).into_bytes()),
            headers: Vec::new(),
        }
    };
    (0..LISTINGS).map(record).collect()
}

/// One listing, described by the value as it is: what reading costs is another bench.
fn read(record: RawRecord) -> Extraction {
    let id = record.document();
    let key = String::from_utf8(record.key.unwrap_or_default()).unwrap_or_default();
    let start = Moment::Day(jiff::civil::date(2026, 3, 28));
    let mut listing = Listing::new("library", &key, "Storytime at the Old Mill", start);
    listing.description = record.value.and_then(|value| String::from_utf8(value).ok()).map(Into::into);
    let listings = vec![Extracted { listing, stamp: SourceStamp::default() }];
    let document = Document { origin: record.origin, source: "library".into(), id, listings, kept: Vec::new() };
    Extraction { document: Some(document), failures: Vec::new(), timeless: true }
}

/// Takes one set of records after the other.
fn upsert(sets: Vec<Vec<RawRecord>>) {
    timely::execute_directly(move |worker| {
        let probe = ProbeHandle::new();
        let mut input = InputSession::new();
        let mut restored = worker.dataflow::<Epoch, _, _>(|scope| {
            let (restored_in, restored) = scope.new_input();
            let options = UpsertOptions {
                hold_back: HoldBack::default(),
                read: Arc::new(read),
                retention: Retention { past_events_ms: None, assumed_duration_ms: 0 },
                salt: 1,
                enrich: Arc::new(|_| ()),
                trusted: false,
                rebuilt_at: None,
            };
            let upserted = input.to_collection(scope).upsert(restored, options);
            upserted.listings.probe_with(&probe);
            upserted.states.probe_with(&probe);
            upserted.tallies.probe_with(&probe);
            restored_in
        });
        for (epoch, records) in (1..).zip(sets) {
            records.into_iter().for_each(|record| input.insert(record));
            input.advance_to(epoch);
            restored.advance_to(epoch);
            input.flush();
            worker.step_while(|| probe.less_than(&epoch));
        }
    });
}

fn bench(criterion: &mut Criterion) {
    let (first, again) = (records(0, "All ages welcome. "), records(1, "All ages welcome. "));
    let changed = records(1, "Adults only, sorry. ");
    let mut group = criterion.benchmark_group("upsert");
    group.throughput(Throughput::Elements(LISTINGS as u64)).sample_size(20);
    let cases = [
        ("new", vec![first.clone()]),
        ("new, then repeated", vec![first.clone(), again]),
        ("new, then changed", vec![first, changed]),
    ];
    for (name, sets) in cases {
        group.bench_function(name, |bencher| bencher.iter_batched(|| sets.clone(), upsert, BatchSize::LargeInput));
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
