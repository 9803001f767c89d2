//! Extraction on feeds that nobody in this project wrote. They are not part of the project: the
//! test is skipped where there are none, see `real::data`.

#![allow(clippy::unwrap_used)] // Helpers of tests.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use headwater_operators::extract::{Extraction, Extractor};
use headwater_operators::geocode::{GeocodeConfig, locate};
use headwater_operators::listing::{GeoProvenance, Listing};
use headwater_operators::raw::{DeadLetter, RawRecord};

use real::{calendars_of, data, feeds, record, towns};

mod real;

#[derive(Default)]
struct Tally {
    records: usize,
    listings: usize,
    codes: BTreeMap<&'static str, usize>,
    time: Duration,
    places: Places,
}

/// How many places the gazetteer finds, without the coordinates that sources give, and how far off.
#[derive(Default)]
struct Places {
    asked: usize,
    found: usize,
    compared: usize,
    near: usize,
    far: usize,
    unresolved: BTreeMap<String, usize>,
}

impl Places {
    fn add(&mut self, listing: &Listing) {
        let mut venue = listing.venue.clone();
        let own = venue.geo.take().filter(|geo| geo.provenance == GeoProvenance::Source);
        let text = [&venue.address, &venue.name, &venue.city].into_iter().flatten().next();
        let Some(text) = text.filter(|_| !listing.online) else { return };
        self.asked += 1;
        let Some(found) = locate(&venue.view(), &GeocodeConfig::default()) else {
            *self.unresolved.entry(format!("{text} / {:?} {:?}", venue.city, venue.country)).or_default() += 1;
            return;
        };
        self.found += 1;
        if let Some(own) = own {
            let distance = own.point.distance_m(&found.point);
            self.compared += 1;
            self.near += usize::from(distance < 25_000.0);
            self.far += usize::from(distance > 100_000.0);
            if distance > 100_000.0 && std::env::var_os("HEADWATER_VERBOSE").is_some() {
                println!(
                    "    {:.0} km off: {text} / {:?} {:?} {:?}",
                    distance / 1e3,
                    venue.city,
                    venue.region,
                    venue.country
                );
            }
        }
    }

    fn print(&self) {
        let Self { asked, found, compared, near, far, .. } = self;
        println!(
            "{:20} places {asked:6} found {found:6}; with coordinates {compared:6}, within 25 km {near:6}, beyond 100 km {far:4}",
            ""
        );
        if std::env::var_os("HEADWATER_VERBOSE").is_some() {
            let mut unresolved: Vec<_> = self.unresolved.iter().collect();
            unresolved.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
            unresolved
                .iter()
                .take(40)
                .for_each(|(text, count)| println!("    {count:5} {}", text.replace('\n', " | ")));
        }
    }
}

impl Tally {
    fn add(&mut self, extraction: &Extraction, time: Duration) {
        self.records += 1;
        self.listings += extraction.document.as_ref().map_or(0, |document| document.listings.len());
        extraction
            .document
            .iter()
            .flat_map(|document| &document.listings)
            .for_each(|one| self.places.add(&one.listing));
        for failure in &extraction.failures {
            *self.codes.entry(failure.code.as_str()).or_default() += 1;
        }
        self.time += time;
    }

    fn print(&self, name: &str) {
        let each = self.time.as_secs_f64() * 1e6 / self.records.max(1) as f64;
        let (records, listings, codes) = (self.records, self.listings, &self.codes);
        println!("{name:20} records {records:6} listings {listings:6} {each:9.1} µs/record  dead letters {codes:?}");
        self.places.print();
    }
}

fn extract(extractor: &Extractor, record: RawRecord, tally: &mut Tally) -> Extraction {
    let start = Instant::now();
    let extraction = extractor.extract(record);
    tally.add(&extraction, start.elapsed());
    extraction
}

/// One line for each dead letter, where `HEADWATER_VERBOSE` is set.
fn print_failures(feed: &str, failures: &[DeadLetter]) {
    if std::env::var_os("HEADWATER_VERBOSE").is_none() {
        return;
    }
    for failure in failures {
        let bytes = String::from_utf8_lossy(&failure.bytes[..failure.bytes.len().min(400)]).replace(['\r', '\n'], "|");
        println!(
            "    {feed} {} {} [{}] {bytes}",
            failure.code.as_str(),
            failure.reason,
            failure.part.as_deref().unwrap_or("")
        );
    }
}

#[test]
fn the_example_mappings_compile() {
    if let Err(problems) = Extractor::new(&feeds()) {
        panic!("{problems:?}");
    }
}

#[test]
fn lists_of_conferences() {
    let Some(folder) = data() else { return };
    let extractor = Extractor::new(&feeds()).unwrap();
    for name in feeds().sources.keys() {
        let mut tally = Tally::default();
        let text = fs::read_to_string(folder.join(format!("{name}.jsonl"))).unwrap();
        for line in text.lines() {
            let key = line.to_owned();
            let extraction = extract(&extractor, record(name, "application/json", &key, line.into()), &mut tally);
            print_failures(name, &extraction.failures);
        }
        tally.print(name);
        assert!(tally.listings * 100 >= tally.records * 90, "{name}");
    }
}

#[test]
fn calendars_of_towns() {
    let Some(folder) = data() else { return };
    let (mut events, mut failed) = (0, 0);
    for town in towns(&folder) {
        let name = town.file_name().unwrap().to_str().unwrap();
        let extractor = Extractor::new(&calendars_of(name)).unwrap();
        let mut tally = Tally::default();
        for path in fs::read_dir(&town).unwrap().map(|file| file.unwrap().path()) {
            let feed = path.file_stem().unwrap().to_str().unwrap();
            let bytes = fs::read(&path).unwrap();
            let in_feed = String::from_utf8_lossy(&bytes).lines().filter(|line| line.trim() == "BEGIN:VEVENT").count();
            let extraction = extract(&extractor, record(feed, "text/calendar", feed, bytes), &mut tally);
            print_failures(feed, &extraction.failures);
            events += in_feed;
            failed += if in_feed == 0 { 0 } else { extraction.failures.len() };
        }
        tally.print(name);
    }
    println!("VEVENTs {events}, parts that failed {failed}");
    assert!(failed * 100 < events * 3);
}
