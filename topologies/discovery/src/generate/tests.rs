use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::Value;

use super::*;

fn feed(records: u64) -> GenerateConfig {
    GenerateConfig { records: Some(records), window: 2000, ..GenerateConfig::default() }
}

fn all(config: GenerateConfig) -> Vec<Generated> {
    Generator::new(config).unwrap().collect()
}

fn text(record: &Generated) -> &str {
    std::str::from_utf8(record.value.as_deref().unwrap()).unwrap()
}

fn usable(record: &&Generated) -> bool {
    record.kind != Kind::Malformed && record.value.is_some()
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let first = all(feed(3000));
    assert_eq!(first, all(feed(3000)));
    let other = all(GenerateConfig { seed: 2, ..feed(3000) });
    let values = |records: &[Generated]| -> HashSet<Vec<u8>> {
        let whole = records.iter().filter(usable).filter_map(|record| record.value.clone());
        whole.collect()
    };
    assert!(values(&first).is_disjoint(&values(&other)));
}

#[test]
fn the_bytes_are_the_same_on_every_machine() {
    let digest = |config| {
        let mut hasher = xxhash_rust::xxh3::Xxh3Default::new();
        for record in all(config) {
            hasher.update(record.source.as_bytes());
            hasher.update(record.key.as_deref().unwrap_or(b"-"));
            hasher.update(record.value.as_deref().unwrap_or(b"-"));
        }
        hasher.digest()
    };
    // Changes whenever the feed's words or habits are changed on purpose, and only then.
    assert_eq!(format!("{:016x}", digest(feed(2000))), "062c85a4aed16399");
}

#[test]
fn a_longer_feed_begins_like_a_shorter_one() {
    let long = all(feed(500));
    assert_eq!(all(feed(200)), long[..200]);
}

#[test]
fn shares_are_as_configured() {
    let config = GenerateConfig {
        duplicate_share: 0.35,
        update_share: 0.08,
        withdraw_share: 0.03,
        repeat_share: 0.2,
        malformed_share: 0.02,
        ..feed(10_000)
    };
    let mut generator = Generator::new(config.clone()).unwrap();
    let mut kinds: HashMap<Kind, f64> = HashMap::new();
    for record in generator.by_ref() {
        *kinds.entry(record.kind).or_default() += 1.0 / 10_000.0;
    }
    for (kind, share) in [
        (Kind::Update, config.update_share),
        (Kind::Withdrawal, config.withdraw_share),
        (Kind::Repeat, config.repeat_share),
        (Kind::Malformed, config.malformed_share),
    ] {
        assert!((kinds[&kind] - share).abs() < 0.005, "{kind:?} {}", kinds[&kind]);
    }
    let counts = generator.counts();
    assert_eq!(counts.records, 10_000);
    assert_eq!(counts.malformed as f64, (kinds[&Kind::Malformed] * 10_000.0).round());
    let duplicates = (counts.listings - counts.events) as f64 / counts.listings as f64;
    assert!((duplicates - 0.35).abs() < 0.01, "{duplicates}");
}

/// Applies records as the engine does: a key stands for a set of listings, the rest upserts.
pub(super) fn live_listings(records: &[Generated]) -> BTreeSet<(String, String, u64)> {
    let mut documents: HashMap<_, Vec<(String, u64)>> = HashMap::new();
    for record in records.iter().filter(|record| record.kind != Kind::Malformed) {
        let source = record.source.to_string();
        let truth = if record.value.is_some() { record.truth.clone() } else { Vec::new() };
        match &record.key {
            Some(key) => drop(documents.insert((source, key.clone()), truth)),
            None => truth.into_iter().for_each(|(id, event)| {
                documents.insert((source.clone(), id.clone().into_bytes()), vec![(id, event)]);
            }),
        }
    }
    let rows = documents
        .into_iter()
        .flat_map(|((source, _), listings)| listings.into_iter().map(move |(id, event)| (source.clone(), id, event)));
    rows.collect()
}

#[test]
fn the_truth_is_what_the_records_say() {
    let config = GenerateConfig { window: 300, withdraw_share: 0.06, ..feed(6000) };
    let mut generator = Generator::new(config).unwrap().with_truth();
    let mut records = Vec::new();
    let mut rows = Vec::new();
    while let Some(record) = generator.next() {
        records.push(record);
        rows.extend(generator.settled_truth());
    }
    assert!(!rows.is_empty());
    rows.extend(generator.remaining_truth());
    let live: BTreeSet<_> = rows
        .iter()
        .filter(|row| row.live)
        .map(|row| (row.source.to_string(), row.external_id.clone(), row.event))
        .collect();
    assert_eq!(live, live_listings(&records));
    let ids: HashSet<_> = rows.iter().map(|row| (row.source.clone(), row.external_id.clone())).collect();
    assert_eq!(ids.len(), rows.len(), "one row a listing");
    assert!(rows.iter().any(|row| !row.live));

    let written = |all| {
        let mut out = Vec::new();
        write_truth(&mut out, &rows, all).unwrap();
        String::from_utf8(out).unwrap()
    };
    assert_eq!(written(true).lines().count(), rows.len());
    assert_eq!(written(false).lines().count(), live.len());
    assert!(written(true).lines().all(|line| line.split(',').count() == 3 && !line.contains('"')));
}

#[test]
fn kinds_mean_what_they_say() {
    let records = all(GenerateConfig { withdraw_share: 0.05, ..feed(8000) });
    let mut last: HashMap<(Arc<str>, String), Option<Vec<u8>>> = HashMap::new();
    let mut tellers: HashMap<u64, BTreeSet<Arc<str>>> = HashMap::new();
    for record in records.iter().filter(|record| record.kind != Kind::Malformed) {
        for (id, event) in &record.truth {
            let before = last.insert((record.source.clone(), id.clone()), record.value.clone());
            let told = tellers.entry(*event).or_default();
            match record.kind {
                Kind::New => assert!(told.is_empty() && before.is_none()),
                Kind::Duplicate => assert!(!told.is_empty() && !told.contains(&record.source) && before.is_none()),
                Kind::Repeat => assert_eq!(before.as_ref(), Some(&record.value)),
                Kind::Update | Kind::Withdrawal => assert!(before.is_some_and(|before| before != record.value)),
                Kind::Malformed => {}
            }
            told.insert(record.source.clone());
        }
    }
    let most = tellers.values().map(BTreeSet::len).max();
    assert_eq!(most, Some(3));
    assert!(records.iter().any(|record| record.kind == Kind::Withdrawal && record.value.is_some()));
    assert!(records.iter().filter(|record| record.value.is_none()).all(|record| record.key.is_some()));
}

#[test]
fn json_records_parse_and_have_the_size_of_life() {
    let records = all(feed(6000));
    let mut sizes: HashMap<Arc<str>, Vec<usize>> = HashMap::new();
    for record in records.iter().filter(usable).filter(|record| record.content_type != CALENDAR) {
        let value: Value = serde_json::from_str(text(record)).unwrap();
        let listings = value.get("@graph").and_then(Value::as_array).map_or(1, Vec::len);
        assert_eq!(listings, record.truth.len());
        if record.content_type == JSON_LD {
            let event = value.pointer("/@graph/0").unwrap_or(&value);
            assert_eq!(event["identifier"], Value::from(record.truth[0].0.as_str()));
            assert!(event["name"].is_string() && event["startDate"].is_string());
            assert_eq!(value["@context"], "https://schema.org");
        }
        if listings == 1 {
            sizes.entry(record.source.clone()).or_default().push(text(record).len());
        }
    }
    assert_eq!(sizes.len(), 5);
    let all: Vec<usize> = sizes.values().flatten().copied().collect();
    let mean = all.iter().sum::<usize>() / all.len();
    assert!((1100..1400).contains(&mean), "{mean}");
}

/// The content lines of a calendar, unfolded.
fn lines(calendar: &str) -> Vec<String> {
    assert!(calendar.split("\r\n").all(|line| line.len() <= 75 && !line.contains(['\r', '\n'])));
    calendar.replace("\r\n ", "").split_terminator("\r\n").map(str::to_owned).collect()
}

#[test]
fn calendars_are_well_formed() {
    let records = all(feed(10_000));
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for record in records.iter().filter(usable).filter(|record| record.content_type == CALENDAR) {
        let lines = lines(text(record));
        assert_eq!(
            (lines.first().unwrap().as_str(), lines.last().unwrap().as_str()),
            ("BEGIN:VCALENDAR", "END:VCALENDAR")
        );
        assert!(
            lines.iter().all(|line| line.split_once([':', ';']).is_some_and(|(name, _)| name == name.to_uppercase()))
        );
        let count = |start: &str| lines.iter().filter(|line| line.starts_with(start)).count();
        let events = count("BEGIN:VEVENT");
        for once in ["END:VEVENT", "UID:", "SUMMARY:", "DTSTART", "DTSTAMP:", "SEQUENCE:", "STATUS:"] {
            assert_eq!(count(once), events, "{once}");
        }
        assert_eq!(count("BEGIN:"), events + 1);
        let instances = if count("RRULE:FREQ=WEEKLY;COUNT=") == 1 {
            let rule = lines.iter().find_map(|line| line.strip_prefix("RRULE:FREQ=WEEKLY;COUNT=")).unwrap();
            rule.parse::<usize>().unwrap() - count("EXDATE")
        } else {
            events
        };
        assert_eq!(instances, record.truth.len());
        for what in ["RRULE", "EXDATE", "DTSTART;VALUE=DATE", "DTSTART;TZID", "DTSTART:", "DURATION", "DTEND", "GEO"] {
            *seen.entry(what).or_default() += usize::from(count(what) > 0);
        }
        *seen.entry("several").or_default() += usize::from(events > 1);
    }
    assert!(seen.values().all(|count| *count > 2), "{seen:?}");
}

#[test]
fn malformed_records_are_of_many_kinds_and_harm_no_listing() {
    let records = all(GenerateConfig { malformed_share: 0.3, ..feed(3000) });
    let keys: HashSet<_> = records.iter().filter(usable).map(|record| (&record.source, &record.key)).collect();
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for record in records.iter().filter(|record| record.kind == Kind::Malformed) {
        assert!(record.key.is_none() || !keys.contains(&(&record.source, &record.key)));
        let bytes = record.value.as_deref().unwrap();
        let json = record.content_type != CALENDAR;
        let kind = match std::str::from_utf8(bytes) {
            _ if record.content_type == "text/csv" => "content type",
            Err(_) if json => "not UTF-8",
            Ok("") => "empty",
            Ok("42") => "number",
            Ok(text) if text.starts_with("[[[") => "deep",
            Ok(text) if text.starts_with("<!DOCTYPE") => "error page",
            Ok(text) if json && serde_json::from_str::<Value>(text).is_err() => "truncated",
            Ok(text) if text.contains("31 June at teatime") => "bad date",
            Ok(text) if text.contains("X-START") || text.contains("\"x\":\"") => "no start",
            Ok(text) if json && text.contains(":null") => "no title",
            other => panic!("{} {other:?}", record.source),
        };
        *kinds.entry(kind).or_default() += 1;
    }
    assert_eq!(kinds.len(), 10, "{kinds:?}");
}

#[test]
fn few_sources_and_cities_are_enough() {
    for sources in 1..=7 {
        let config = GenerateConfig { sources, cities: 1, venues_per_city: 1, days: 1, ..feed(500) };
        assert_eq!(all(config).len(), 500);
    }
    let mut one = Generator::new(GenerateConfig { sources: 1, ..feed(500) }).unwrap();
    assert_eq!(one.by_ref().filter(|record| record.kind == Kind::Duplicate).count(), 0);
}

#[test]
fn values_out_of_range_are_refused() {
    let bad = [
        GenerateConfig { duplicate_share: 0.7, ..feed(1) },
        GenerateConfig { update_share: f64::NAN, ..feed(1) },
        GenerateConfig { repeat_share: 0.5, update_share: 0.5, ..feed(1) },
        GenerateConfig { sources: 0, ..feed(1) },
        GenerateConfig { shapes: vec![], ..feed(1) },
        GenerateConfig { cities: 25, ..feed(1) },
        GenerateConfig { days: 0, ..feed(1) },
        GenerateConfig { window: 1, ..feed(1) },
    ];
    for config in bad {
        let error = config.check().unwrap_err();
        assert_eq!(error.domain(), Domain::User);
        assert!(Generator::new(config).is_err(), "{error}");
    }
}

#[test]
fn the_configuration_is_toml() {
    let config: GenerateConfig =
        toml::from_str("records = 5\nshapes = [\"mapped\"]\nbase_date = \"2026-03-01\"").unwrap();
    assert_eq!((config.records, config.shapes, config.base_date), (Some(5), vec![Shape::Mapped], date(2026, 3, 1)));
    assert!(toml::from_str::<GenerateConfig>("record = 5").is_err());
}

#[test]
fn bench_records_are_mapped_json() {
    let records: Vec<_> = bench_records(1000, GenerateConfig::default()).unwrap().collect();
    assert_eq!(records.len(), 1000);
    assert!(records.iter().filter(usable).all(|record| record.content_type == JSON && record.key.is_some()));
}
