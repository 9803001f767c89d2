//! Categorizing a listing with 1 KB of text by the embedded taxonomy.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use headwater_operators::Listing;
use headwater_operators::categorize::{Taxonomy, TaxonomyConfig};

const SENTENCE: &str = "An evening of jazz standards with the house trio, doors at seven, all ages welcome. ";

fn bench(criterion: &mut Criterion) {
    let Ok(taxonomy) = Taxonomy::new(&TaxonomyConfig::default()) else { return };
    let Ok(start) = "2026-03-28".parse() else { return };
    let mut listing = Listing::new("venue", "17", "Jazz in the Park", start);
    listing.source_categories = ["Music".into()].into();
    criterion.bench_function("categorize/title", |bencher| {
        bencher.iter(|| taxonomy.categorize(black_box(&listing)));
    });
    listing.description = Some(SENTENCE.repeat(12).into());
    criterion.bench_function("categorize/1KB", |bencher| {
        bencher.iter(|| taxonomy.categorize(black_box(&listing)));
    });
    listing.description = Some(SENTENCE.replace("evening", "soirée").repeat(12).into());
    criterion.bench_function("categorize/1KB accented", |bencher| {
        bencher.iter(|| taxonomy.categorize(black_box(&listing)));
    });
}

criterion_group!(benches, bench);
criterion_main!(benches);
