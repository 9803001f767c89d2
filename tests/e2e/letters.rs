//! Dead letters: listed, shown and replayed, each once and with the bytes as they were.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use discovery::config::Config;
use headwater::log::{Headers, LogRecord, NewRecord};
use headwater::tools::dead_letters::{
    Filter, LetterId, LettersError, ListOptions, ReplayOptions, Replayed, ShowForm, Skipped, Standing, list, replay,
    show,
};
use serde_json::{Value, json};

use crate::subject::Harness;
use crate::support::{Place, header, tests_folder};
use discovery::tools::Examiner;

/// Where records without a content type of their own cannot be read.
fn harness(place: Place) -> Harness {
    Harness::new(place, &tests_folder("golden/config.toml"), &["topics.partitions=2", "dead_letters.max_attempts=2"])
}

fn kafka_too(test: impl Fn(Place)) {
    test(Place::Embedded);
    if let Some(place) = Place::kafka("replaying") {
        test(place);
    }
}

fn headers(pairs: &[(&str, &[u8])]) -> Headers {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect()
}

fn produce(harness: &Harness, key: Option<&str>, value: Option<&[u8]>, headers: Headers) {
    let mut producer = harness.log.producer().unwrap();
    let topic: Arc<str> = harness.config.runtime.full_name("raw.events").into();
    let (key, value) = (key.map(|key| key.as_bytes().to_vec()), value.map(<[u8]>::to_vec));
    producer
        .send(NewRecord { topic, key: key.map(Into::into), value: value.map(Into::into), headers, timestamp_ms: None })
        .unwrap();
    producer.flush().unwrap();
}

/// A listing as JSON-LD of `source`.
fn say(harness: &Harness, key: Option<&str>, source: &str, id: &str, title: &str) {
    let value = json!({"@type": "Event", "@id": id, "name": title, "startDate": "2026-09-19T18:00:00+01:00"});
    let headers = headers(&[("source", source.as_bytes()), ("content-type", b"application/ld+json")]);
    produce(harness, key, Some(value.to_string().as_bytes()), headers);
}

fn again(harness: &Harness, config: &Config, options: ReplayOptions) -> Replayed {
    let examine = Examiner::of(config).unwrap();
    replay(&*harness.log, &config.runtime, examine.as_deref(), &options, &AtomicBool::new(false)).unwrap()
}

/// The records of the raw topic that a replay has written.
fn replayed(harness: &Harness) -> Vec<LogRecord> {
    let mut records = harness.records("raw.events");
    records.retain(|record| record.header("replay-of").is_some());
    records
}

fn letters(harness: &Harness, options: &ListOptions) -> Vec<Value> {
    let mut out = Vec::new();
    let options = ListOptions { json: true, ..options.clone() };
    list(&*harness.log, &harness.config.runtime, &options, &mut out).unwrap();
    String::from_utf8(out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn titles(harness: &Harness) -> Vec<String> {
    let mut titles: Vec<String> =
        harness.results().live_events().map(|(_, event)| event["title"].as_str().unwrap().to_owned()).collect();
    titles.sort();
    titles
}

/// A record without what a replay adds and without its place and time.
fn essence(record: &LogRecord) -> (Option<Vec<u8>>, Option<Vec<u8>>, Headers) {
    let mut headers = record.headers.clone();
    headers.retain(|(name, _)| !["dead-letter-attempts", "replay-of"].contains(&name.as_str()));
    headers.sort();
    (record.key.clone(), record.value.clone(), headers)
}

#[test]
fn what_is_replayed_is_what_was_sent() {
    kafka_too(|place| {
        let harness = harness(place);
        let unreadable: (&str, &[u8]) = ("content-type", b"application/x-unknown");
        let source: (&str, &[u8]) = ("source", b"a");
        let big: Vec<u8> = (0..1_200_000_u32).map(|n| n as u8).collect();
        produce(&harness, Some("bytes"), Some(b"\xff\xfe\x00 not text"), headers(&[source, unreadable]));
        produce(
            &harness,
            Some("empty"),
            Some(b""),
            headers(&[source, unreadable, ("epoch", b"mine"), ("commit", b"mine")]),
        );
        produce(&harness, None, Some(b"no key"), headers(&[("trace", b"\xf0"), source, unreadable]));
        produce(&harness, Some("big"), Some(&big), headers(&[source, unreadable]));
        produce(&harness, None, Some(b"no source"), headers(&[unreadable]));
        harness.run(2);
        let mut sent: Vec<_> = harness.records("raw.events").iter().map(essence).collect();
        let done = again(&harness, &harness.config, ReplayOptions::default());
        assert_eq!((done.letters, done.records, done.complete), (5, 5, true), "{done}");
        let records = replayed(&harness);
        assert!(records.iter().all(|record| record.header("dead-letter-attempts") == Some(b"1")));
        let mut put_back: Vec<_> = records.iter().map(essence).collect();
        sent.sort();
        put_back.sort();
        assert!(sent == put_back, "records differ");
        // Nothing is left to be done until they fail again.
        let done = again(&harness, &harness.config, ReplayOptions::default());
        assert_eq!((done.records, done.skipped.replayed), (0, 5));
        // The bytes that are shown are those of the record, too.
        for letter in letters(&harness, &ListOptions::default()) {
            let id: LetterId = letter["id"].as_str().unwrap().parse().unwrap();
            let mut out = Vec::new();
            show(&*harness.log, &harness.config.runtime, id, ShowForm::Raw, &mut out).unwrap();
            let key = letter["key"].as_str().map(|key| key.as_bytes().to_vec());
            assert!(sent.iter().any(|record| record.0 == key && record.1.as_ref() == Some(&out)), "{letter}");
        }
    });
}

#[test]
fn a_record_that_keeps_failing_is_parked() {
    let harness = harness(Place::Embedded);
    produce(&harness, Some("k"), Some(b"x"), headers(&[("source", b"a"), ("content-type", b"application/x-unknown")]));
    for attempts in 0..2 {
        harness.run(1);
        let new = letters(&harness, &ListOptions { standing: Some(Standing::New), ..ListOptions::default() });
        assert_eq!(new.len(), 1, "{new:?}");
        assert_eq!((&new[0]["attempts"], &new[0]["state"]), (&attempts.into(), &"new".into()));
        assert_eq!(again(&harness, &harness.config, ReplayOptions::default()).records, 1);
    }
    harness.run(1);
    let parked = letters(&harness, &ListOptions { standing: Some(Standing::Parked), ..ListOptions::default() });
    assert_eq!((parked.len(), &parked[0]["attempts"]), (1, &2.into()));
    let done = again(&harness, &harness.config, ReplayOptions::default());
    assert_eq!((done.records, done.skipped), (0, Skipped { replayed: 2, parked: 1, ..Skipped::default() }));
    let done = again(&harness, &harness.config, ReplayOptions { parked: true, ..ReplayOptions::default() });
    assert_eq!((done.records, done.skipped.parked), (1, 0));
    harness.run(1);
    assert_eq!(letters(&harness, &ListOptions::default()).len(), 4);
}

#[test]
fn nothing_newer_is_undone() {
    kafka_too(|place| {
        let mut harness = harness(place);
        harness.config.topology.extract.unknown_sources = serde_json::from_value(json!("reject")).unwrap();
        say(&harness, Some("one"), "a", "1", "Old One");
        say(&harness, Some("two"), "a", "2", "Two");
        say(&harness, None, "a", "3", "Old Three");
        say(&harness, None, "a", "4", "Four");
        harness.run(2);
        let results = harness.results();
        assert_eq!((results.events.len(), results.dead_letters.len()), (0, 4));
        harness.config.topology.extract.unknown_sources = serde_json::from_value(json!("accept")).unwrap();
        say(&harness, Some("one"), "a", "1", "New One");
        say(&harness, None, "a", "3", "New Three");
        harness.run(2);
        assert_eq!(titles(&harness), ["New One", "New Three"]);
        let dry = again(&harness, &harness.config, ReplayOptions { dry_run: true, ..ReplayOptions::default() });
        let outlook = dry.outlook.unwrap();
        assert_eq!((dry.records, dry.skipped.outdated, outlook.readable), (2, 2, 2));
        assert!(replayed(&harness).is_empty(), "a dry run writes nothing");
        let done = again(&harness, &harness.config, ReplayOptions::default());
        assert_eq!((done.records, done.skipped.outdated), (2, 2), "{done}");
        harness.run(2);
        assert_eq!(titles(&harness), ["Four", "New One", "New Three", "Two"]);
        let forced = again(&harness, &harness.config, ReplayOptions { force: true, ..ReplayOptions::default() });
        assert_eq!((forced.records, forced.skipped.replayed), (2, 2));
        harness.run(2);
        assert_eq!(titles(&harness), ["Four", "Old One", "Old Three", "Two"]);
    });
}

#[test]
fn parts_of_a_document_are_replayed_with_all_of_it_once() {
    let harness = harness(Place::Embedded);
    let event =
        |uid: &str, start: &str| format!("BEGIN:VEVENT\r\nUID:{uid}\r\nSUMMARY:Event {uid}\r\n{start}END:VEVENT\r\n");
    let good = "DTSTART:20260919T180000Z\r\n";
    let events = [event("1", good), event("2", ""), event("3", "DTSTART:never\r\n"), event("4", good)].concat();
    let calendar = format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\n{events}END:VCALENDAR\r\n");
    let kind: (&str, &[u8]) = ("content-type", b"text/calendar");
    produce(&harness, Some("calendar"), Some(calendar.as_bytes()), headers(&[("source", b"a"), kind]));
    harness.run(1);
    let found = letters(&harness, &ListOptions::default());
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|letter| letter["excerpt"] == true && letter["bytes"].as_u64() < Some(200)), "{found:?}");
    // Whoever asks for one of them gets the record, and the other one is done, too.
    let code = found[0]["code"].as_str().unwrap().to_owned();
    let filter = Filter { codes: vec![code], ..Filter::default() };
    let done = again(&harness, &harness.config, ReplayOptions { filter, ..ReplayOptions::default() });
    assert_eq!((done.letters, done.records), (2, 1), "{done}");
    assert_eq!(replayed(&harness)[0].value.as_deref(), Some(calendar.as_bytes()));
    assert_eq!(again(&harness, &harness.config, ReplayOptions::default()).records, 0);
    harness.run(1);
    assert_eq!(titles(&harness), ["Event 1", "Event 4"], "nothing is withdrawn by it");
    assert_eq!(letters(&harness, &ListOptions::default()).len(), 4);
    assert_eq!(header(&replayed(&harness)[0], "dead-letter-attempts"), "1");
}

#[test]
fn many_records_need_a_word_and_a_stop_is_heeded() {
    let harness = harness(Place::Embedded);
    let mut producer = harness.log.producer().unwrap();
    for n in 0..1_500 {
        producer
            .send(NewRecord {
                topic: harness.config.runtime.full_name("raw.events").into(),
                key: Some(format!("k{n}").into()),
                value: Some("x".into()),
                headers: headers(&[("source", b"a"), ("content-type", b"application/x-unknown")]),
                timestamp_ms: None,
            })
            .unwrap();
    }
    producer.flush().unwrap();
    harness.run(2);
    let refused =
        replay(&*harness.log, &harness.config.runtime, None, &ReplayOptions::default(), &AtomicBool::new(false));
    assert!(matches!(refused, Err(LettersError::NeedsConsent { records: 1_500 })));
    let limited = again(&harness, &harness.config, ReplayOptions { limit: Some(40), ..ReplayOptions::default() });
    assert_eq!((limited.records, limited.complete), (40, true));
    let yes = ReplayOptions { yes: true, ..ReplayOptions::default() };
    let stopped = replay(&*harness.log, &harness.config.runtime, None, &yes, &AtomicBool::new(true)).unwrap();
    assert_eq!((stopped.records, stopped.complete), (0, false));
    let done = again(&harness, &harness.config, yes);
    assert_eq!((done.records, done.skipped.replayed), (1_460, 40));
    let mut keys: Vec<_> = replayed(&harness).into_iter().map(|record| record.key).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 1_500, "each once");
    assert_eq!(replayed(&harness).len(), 1_500);
}
