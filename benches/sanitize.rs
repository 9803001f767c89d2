//! Sanitizing text: plain, accented, and marked up.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use headwater_operators::sanitize::{SanitizeConfig, sanitize};
use headwater_operators::{Listing, Moment};

const SENTENCE: &str = "An evening of jazz standards with the house trio, doors at seven, all ages welcome. ";

fn listing(start: Moment, description: String) -> Listing {
    let mut listing = Listing::new("venue", "17", "Jazz in the Park", start);
    listing.description = Some(description.into());
    listing.urls = ["https://example.org/jazz".into()].into();
    listing.tags = vec!["jazz".into(), "live music".into()];
    listing
}

fn bench(criterion: &mut Criterion) {
    let Ok(start) = "2026-03-28".parse() else { return };
    let cases = [
        ("plain", SENTENCE.repeat(12)),
        ("accented", SENTENCE.replace("evening", "soirée").repeat(12)),
        ("html", format!("<p>{}</p><br/>&amp;", SENTENCE.replace("jazz", "<b>jazz</b>")).repeat(10)),
    ];
    let mut group = criterion.benchmark_group("sanitize");
    for (name, text) in cases {
        let listing = listing(start, text.trim_end().to_owned());
        let config = SanitizeConfig::default();
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(
                || listing.clone(),
                |listing| sanitize(black_box(listing), &config),
                criterion::BatchSize::SmallInput,
            );
        });
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
