//! The generated feed through extraction and resolution: the truth file says what these two say.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use differential_dataflow::input::Input;
use discovery::generate::{GenerateConfig, Generated, Generator, Kind, source_config_toml};
use headwater_operators::extract::{ExtractConfig, Extractor};
use headwater_operators::raw::{Origin, RawRecord};
use headwater_operators::resolve::{Decision, Remembered, Resolve, ResolveConfig};
use headwater_operators::{Listing, LiveListing, Shared};
use timely::dataflow::operators::Input as _;

/// Source and external id.
type Name = (String, String);

fn config(records: u64) -> GenerateConfig {
    GenerateConfig { records: Some(records), malformed_share: 0.05, ..GenerateConfig::default() }
}

fn extractor(config: &GenerateConfig) -> Extractor {
    let config: ExtractConfig = toml::from_str(&source_config_toml(config.sources, &config.shapes)).unwrap();
    Extractor::new(&config).unwrap()
}

fn raw(record: &Generated, config: &GenerateConfig) -> RawRecord {
    let midnight = config.base_date.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_millisecond();
    RawRecord {
        origin: Origin {
            topic: "raw.events".into(),
            partition: 0,
            offset: 0,
            timestamp_ms: midnight,
            order_ms: midnight,
        },
        source: Some(record.source.clone().into()),
        content_type: Some(record.content_type.into()),
        key: record.key.clone(),
        value: record.value.clone(),
        headers: Vec::new(),
    }
}

/// What is live in the end, by name, and the number of the true event of each name.
fn live(config: GenerateConfig) -> (BTreeMap<Name, Listing>, HashMap<Name, u64>) {
    let extractor = extractor(&config);
    let mut generator = Generator::new(config.clone()).unwrap().with_truth();
    let mut documents: HashMap<_, Vec<Listing>> = HashMap::new();
    for record in generator.by_ref() {
        if record.kind == Kind::Malformed {
            continue;
        }
        let document = extractor.extract(raw(&record, &config)).document.unwrap();
        let listings: Vec<Listing> = document.listings.into_iter().map(|extracted| extracted.listing).collect();
        match record.key {
            Some(key) => drop(documents.insert((record.source, key), listings)),
            None => listings.into_iter().for_each(|listing| {
                documents.insert((record.source.clone(), listing.external_id.as_bytes().to_vec()), vec![listing]);
            }),
        }
    }
    let mut rows = generator.settled_truth();
    rows.extend(generator.remaining_truth());
    let name = |source: &str, id: &str| (source.to_owned(), id.to_owned());
    let live = documents.into_values().flatten().map(|listing| (name(&listing.source, &listing.external_id), listing));
    let standing = rows.iter().filter(|row| row.live);
    (live.collect(), standing.map(|row| (name(&row.source, &row.external_id), row.event)).collect())
}

#[test]
fn extraction_reads_what_is_meant_to_be_read_and_nothing_else() {
    let config = GenerateConfig { sources: 8, ..config(6000) };
    let extractor = extractor(&config);
    let mut codes = BTreeSet::new();
    for record in Generator::new(config.clone()).unwrap() {
        let extraction = extractor.extract(raw(&record, &config));
        if record.kind == Kind::Malformed {
            assert!(extraction.document.is_none(), "{} {:?}", record.source, record.value.map(String::from_utf8));
            codes.extend(extraction.failures.iter().map(|failure| failure.code.as_str()));
            continue;
        }
        assert!(extraction.failures.is_empty(), "{:?}", extraction.failures);
        let found = extraction.document.unwrap().listings;
        let found: BTreeSet<&str> = found.iter().map(|extracted| &*extracted.listing.external_id).collect();
        let meant = record.truth.iter().filter(|_| record.value.is_some()).map(|(id, _)| id.as_str());
        assert_eq!(found, meant.collect());
    }
    let expected =
        ["empty-record", "invalid-field", "malformed", "missing-field", "nested-too-deeply", "unknown-content-type"];
    assert_eq!(codes, BTreeSet::from(expected));
}

#[test]
fn sources_agree_on_when_and_where() {
    let (live, truth) = live(config(6000));
    assert_eq!(live.keys().collect::<BTreeSet<_>>(), truth.keys().collect());
    let mut events: HashMap<u64, Vec<&Listing>> = HashMap::new();
    live.iter().for_each(|(name, listing)| events.entry(truth[name]).or_default().push(listing));
    let mut compared = 0;
    for listings in events.values() {
        for pair in listings.windows(2) {
            compared += 1;
            let [a, b] = pair else { continue };
            assert_eq!(a.start.is_day(), b.start.is_day());
            let apart = (a.start.earliest_ms(None) - b.start.earliest_ms(None)).abs();
            assert!(apart <= 30 * 60_000, "{a:?} {b:?}");
            if let Some((a, b)) = a.venue.geo.zip(b.venue.geo) {
                assert!(a.point.distance_m(&b.point) < 60.0);
            }
        }
    }
    assert!(compared > 1000);
}

#[test]
fn resolution_finds_the_true_events() {
    let (live, truth) = live(config(6000));
    let listings: Vec<_> = live.into_values().map(|listing| Shared::new(LiveListing::new(&listing, 0, 0))).collect();
    let changes = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&changes);
    timely::execute_directly(move |worker| {
        worker.dataflow::<u64, _, _>(|scope| {
            let listings = scope.new_collection_from(listings).1;
            let decisions = scope.new_collection_from(Vec::<Decision>::new()).1;
            let history = scope.new_input::<Vec<Remembered>>().1;
            let resolved = listings.resolve(&Arc::new(ResolveConfig::default()), decisions, history);
            resolved.events.inspect(move |((_, event), _, diff)| seen.lock().unwrap().push((event.clone(), *diff)));
        });
    });
    let mut events: HashMap<_, isize> = HashMap::new();
    changes.lock().unwrap().drain(..).for_each(|(event, diff)| *events.entry(event).or_default() += diff);
    let pairs = |size: u64| size * size.saturating_sub(1) / 2;
    let (mut joined, mut right) = (0, 0);
    for (event, _) in events.iter().filter(|(_, diff)| **diff > 0) {
        let mut by_truth: HashMap<u64, u64> = HashMap::new();
        let event = event.event();
        for member in &event.listings {
            *by_truth.entry(truth[&(member.source.to_string(), member.external_id.to_string())]).or_default() += 1;
        }
        joined += pairs(event.listings.len() as u64);
        right += by_truth.into_values().map(pairs).sum::<u64>();
    }
    let mut sizes: HashMap<u64, u64> = HashMap::new();
    truth.values().for_each(|event| *sizes.entry(*event).or_default() += 1);
    let wanted: u64 = sizes.into_values().map(pairs).sum();
    let (recall, precision) = (right as f64 / wanted as f64, right as f64 / joined as f64);
    assert!(recall > 0.98 && precision > 0.99, "recall {recall} of {wanted}, precision {precision} of {joined}");
}
