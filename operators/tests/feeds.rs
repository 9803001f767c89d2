//! Extraction on feeds that nobody in this project wrote. They are not part of the project: the
//! test looks for them in the folder that `HEADWATER_DATA` names, or in `../shared/data` beside the
//! workspace, and is skipped where there are none.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use headwater_operators::extract::{ExtractConfig, Extraction, Extractor, SourceConfig};
use headwater_operators::raw::{DeadLetter, Origin, RawRecord};

/// 2026-03-26T12:00:00Z: about when the calendars were gathered.
const GATHERED_MS: i64 = 1_774_526_400_000;

/// Towns elsewhere than on the Pacific coast of the United States, and their zones.
const ZONES: [(&str, &str); 2] = [("lancaster", "America/New_York"), ("montclair", "America/New_York")];

#[derive(Default)]
struct Tally {
    records: usize,
    listings: usize,
    codes: BTreeMap<&'static str, usize>,
    time: Duration,
}

impl Tally {
    fn add(&mut self, extraction: &Extraction, time: Duration) {
        self.records += 1;
        self.listings += extraction.document.as_ref().map_or(0, |document| document.listings.len());
        for failure in &extraction.failures {
            *self.codes.entry(failure.code.as_str()).or_default() += 1;
        }
        self.time += time;
    }

    fn print(&self, name: &str) {
        let each = self.time.as_secs_f64() * 1e6 / self.records.max(1) as f64;
        let (records, listings, codes) = (self.records, self.listings, &self.codes);
        println!("{name:20} records {records:6} listings {listings:6} {each:9.1} µs/record  dead letters {codes:?}");
    }
}

fn data() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let folder = std::env::var_os("HEADWATER_DATA").map_or(beside, PathBuf::from);
    if !folder.is_dir() {
        println!("skipped: there are no feeds in {}", folder.display());
        return None;
    }
    Some(folder)
}

fn feeds() -> ExtractConfig {
    toml::from_str(include_str!("../../config/feeds.toml")).unwrap()
}

fn record(source: &str, content_type: &str, key: &str, value: Vec<u8>) -> RawRecord {
    RawRecord {
        origin: Origin {
            topic: "raw.feeds".into(),
            partition: 0,
            offset: 0,
            timestamp_ms: GATHERED_MS,
            order_ms: GATHERED_MS,
        },
        source: Some(source.into()),
        content_type: Some(content_type.into()),
        key: Some(key.into()),
        value: Some(value),
        headers: Vec::new(),
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
    let mut towns: Vec<PathBuf> =
        fs::read_dir(folder.join("calendars")).unwrap().map(|town| town.unwrap().path()).collect();
    towns.sort();
    let (mut events, mut failed) = (0, 0);
    for town in &towns {
        let name = town.file_name().unwrap().to_str().unwrap();
        let zone = ZONES.iter().find(|(town, _)| *town == name).map_or("America/Los_Angeles", |(_, zone)| zone);
        let defaults = SourceConfig { timezone: Some(zone.to_owned()), ..SourceConfig::default() };
        let extractor = Extractor::new(&ExtractConfig { defaults, ..ExtractConfig::default() }).unwrap();
        let mut tally = Tally::default();
        for path in fs::read_dir(town).unwrap().map(|file| file.unwrap().path()) {
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
