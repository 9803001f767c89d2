//! The views against a log in memory: SQLite always, Postgres where `DATABASE_URL` names a server.

// Clippy's leave for tests covers test functions only, not what they share.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use headwater::error::{Domain, Fault};
use headwater::log::{Headers, LogRecord, TopicPartition};
use headwater::view::{
    Batch, BatchConfig, OpenStore, PostgresConfig, PostgresStore, SqliteConfig, SqliteStore, Step, View, ViewError,
    ViewHandle, ViewOptions, ViewStore, ViewTopics, make_storable,
};
use memory_log::MemoryLog;
use proptest::prelude::*;
use serde_json::{Value, json};

#[path = "view/memory_log.rs"]
mod memory_log;

const TIMEOUT: Duration = Duration::from_secs(30);

/// A database of one test, gone when the test ends.
enum Database {
    Sqlite { config: SqliteConfig, _folder: tempfile::TempDir },
    Postgres { config: PostgresConfig },
}

impl Database {
    fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = SqliteConfig::new(folder.path().join("views/view.sqlite"));
        Self::Sqlite { config, _folder: folder }
    }

    fn postgres() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let Ok(url) = std::env::var("DATABASE_URL") else {
            println!("skipped on Postgres: DATABASE_URL is not set");
            return None;
        };
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        let schema = format!("View test {} {number}", std::process::id());
        Some(Self::Postgres { config: PostgresConfig { schema, ..PostgresConfig::new(url) } })
    }

    fn all() -> Vec<Self> {
        std::iter::once(Self::sqlite()).chain(Self::postgres()).collect()
    }

    fn open(&self) -> Result<Box<dyn ViewStore>, ViewError> {
        Ok(match self {
            Self::Sqlite { config, .. } => Box::new(SqliteStore::open(config)?),
            Self::Postgres { config } => Box::new(PostgresStore::open(config)?),
        })
    }

    fn opener(&self) -> OpenStore {
        match self {
            Self::Sqlite { config, .. } => {
                let config = config.clone();
                Box::new(move || Ok(Box::new(SqliteStore::open(&config)?)))
            }
            Self::Postgres { config } => {
                let config = config.clone();
                Box::new(move || Ok(Box::new(PostgresStore::open(&config)?)))
            }
        }
    }

    fn is_postgres(&self) -> bool {
        matches!(self, Self::Postgres { .. })
    }

    /// The rows that a query gives, as text, with truth values as 0 and 1.
    fn query(&self, sql: &str) -> Vec<String> {
        match self {
            Self::Sqlite { config, .. } => {
                let connection = rusqlite::Connection::open(&config.path).unwrap();
                connection.busy_timeout(TIMEOUT).unwrap();
                let mut statement = connection.prepare(sql).unwrap();
                let width = statement.column_count();
                let rows = statement.query_map([], |row| {
                    let cells = (0..width).map(|index| match row.get_ref(index)? {
                        rusqlite::types::ValueRef::Null => Ok("NULL".to_owned()),
                        rusqlite::types::ValueRef::Integer(number) => Ok(number.to_string()),
                        rusqlite::types::ValueRef::Real(number) => Ok(number.to_string()),
                        rusqlite::types::ValueRef::Text(text) => Ok(String::from_utf8(text.to_vec()).unwrap()),
                        rusqlite::types::ValueRef::Blob(bytes) => Ok(String::from_utf8_lossy(bytes).into_owned()),
                    });
                    cells.collect::<rusqlite::Result<Vec<String>>>()
                });
                rows.unwrap().map(|row| row.unwrap().join("|")).collect()
            }
            Self::Postgres { config } => {
                let mut client = postgres::Client::connect(&config.url, postgres::NoTls).unwrap();
                client
                    .batch_execute(&format!("SET search_path TO \"{}\"; SET timezone TO UTC", config.schema))
                    .unwrap();
                let messages = client.simple_query(sql).unwrap();
                let rows = messages.iter().filter_map(|message| match message {
                    postgres::SimpleQueryMessage::Row(row) => Some(row),
                    _ => None,
                });
                rows.map(|row| {
                    let cells = (0..row.len()).map(|index| match row.get(index) {
                        None => "NULL",
                        Some("t") => "1",
                        Some("f") => "0",
                        Some(text) => text,
                    });
                    cells.collect::<Vec<_>>().join("|")
                })
                .collect()
            }
        }
    }

    fn execute(&self, sql: &str) {
        self.query(sql);
    }

    fn count(&self, table: &str) -> u64 {
        self.query(&format!("SELECT count(*) FROM {table}"))[0].parse().unwrap()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Self::Postgres { config } = self {
            let mut client = postgres::Client::connect(&config.url, postgres::NoTls).unwrap();
            client.batch_execute(&format!("DROP SCHEMA IF EXISTS \"{}\" CASCADE", config.schema)).unwrap();
        }
    }
}

fn topics() -> ViewTopics {
    ViewTopics::with_prefix("test.")
}

fn log() -> MemoryLog {
    let log = MemoryLog::default();
    for topic in topics().all() {
        log.create(topic, 2);
    }
    log
}

fn id(number: usize) -> String {
    format!("{number:032x}")
}

fn event(number: usize, title: &str) -> Value {
    json!({
        "format": 1, "id": id(number), "title": title, "description": "An évening of <b>improvised</b> music.",
        "category": "music", "tags": ["live", "late \"night\""],
        "startTime": "2026-03-28T19:30:00-07:00", "endTime": "2026-03-28T22:00:00-07:00",
        "timezone": "America/Los_Angeles", "allDay": false,
        "venue": {"name": "Blue Note", "address": "1030 Main St", "city": "Napa", "region": "CA", "postalCode": "94559",
                  "country": "US", "latitude": 38.2995, "longitude": -122.2862, "geoPrecision": "venue",
                  "geoProvenance": "source"},
        "online": false, "organizer": {"name": "Blue Note Napa", "url": null},
        "pricing": {"min": 12.5, "max": 40.0, "currency": "USD", "free": false}, "capacity": 150,
        "images": [], "urls": ["https://example.org/1"], "status": "scheduled",
        "listings": [{"source": "a", "externalId": "1", "url": null, "similarity": 1.0}],
        "fieldSources": {"title": 0}, "firstSeen": "2026-01-01T00:00:00Z", "updatedAt": "2026-01-02T03:04:05.5Z",
        "qualityScore": 0.9231, "qualityGrade": "A", "passed": true, "gates": []
    })
}

fn listing(number: usize) -> Value {
    json!({
        "format": 1, "id": id(number), "firstSeen": "2026-01-01T00:00:00Z", "updatedAt": "2026-01-02T00:00:00Z",
        "version": {}, "contentHash": "0", "document": null,
        "listing": {
            "source": "a", "externalId": format!("a-{number}"), "title": "Market", "description": null,
            "sourceCategories": [], "category": null, "categoryConfidence": 0.0, "tags": [],
            "start": "2026-03-29", "end": null, "timezone": "Europe/Paris",
            "venue": {"name": null, "address": null, "city": "Lyon", "region": null, "postalCode": null,
                      "country": "FR", "latitude": null, "longitude": null, "geoPrecision": null, "geoProvenance": null},
            "online": false, "organizer": null, "pricing": null, "capacity": null, "images": [], "urls": [],
            "status": "cancelled"
        }
    })
}

fn link(listing: usize, event: usize) -> Value {
    json!({
        "format": 1, "listing": id(listing), "source": "a", "externalId": format!("a-{listing}"), "eventId": id(event),
        "eventFirstSeen": "2026-01-01T00:00:00Z", "similarity": 0.93, "via": {"source": "b", "externalId": "9"},
        "contributions": [{"field": "title", "similarity": 0.9, "weight": 0.4}]
    })
}

fn metric() -> Value {
    json!({
        "format": 1, "windowStart": "2026-01-01T00:00:00Z", "windowEnd": "2026-01-01T00:01:00Z", "source": "a",
        "category": "music", "seen": 5, "discovered": 1, "updated": 2, "unchanged": 2, "withdrawn": 0, "dead": 0,
        "late": 0, "closed": false, "duplicates": null, "rejected": null, "meanScore": null, "openEvents": null
    })
}

fn put(log: &MemoryLog, topic: &Arc<str>, key: &str, value: &Value) -> i64 {
    log.append(topic, partition_of(key), Some(key.as_bytes()), Some(value.to_string().as_bytes()))
}

fn tombstone(log: &MemoryLog, topic: &Arc<str>, key: &str) -> i64 {
    log.append(topic, partition_of(key), Some(key.as_bytes()), None)
}

fn partition_of(key: &str) -> usize {
    key.bytes().map(usize::from).sum::<usize>() % 2
}

fn dead_letter_headers(reason: &[u8]) -> Headers {
    let header = |name: &str, value: &[u8]| (name.to_owned(), value.to_vec());
    vec![
        header("dead-letter-code", b"json.syntax"),
        header("dead-letter-reason", reason),
        header("dead-letter-topic", b"raw.events"),
        header("dead-letter-partition", b"3"),
        header("dead-letter-offset", b"77"),
        header("dead-letter-timestamp", b"1770000000000"),
        header("source", b"a"),
    ]
}

/// One record of every kind.
fn fill(log: &MemoryLog) {
    let topics = topics();
    put(log, &topics.events, &id(1), &event(1, "Jazz Night"));
    put(log, &topics.events, &id(2), &json!({"format": 1, "id": id(2), "redirectTo": id(1)}));
    put(log, &topics.listings, &id(11), &listing(11));
    put(log, &topics.links, &id(11), &link(11, 1));
    put(log, &topics.metrics, "2026-01-01T00:00:00Z/a/music", &metric());
    let headers = dead_letter_headers(b"no\0 JSON");
    log.append_with(&topics.dead_letters, 0, Some(b"k\0"), Some(b"\0not json"), headers);
}

fn options() -> ViewOptions {
    ViewOptions { batch: BatchConfig { interval_ms: 5, ..BatchConfig::default() }, ..ViewOptions::default() }
}

fn start_with(database: &Database, log: &MemoryLog, options: ViewOptions) -> ViewHandle {
    let stop = Arc::new(AtomicBool::new(false));
    View::start("test", Arc::new(log.clone()), topics(), options, database.opener(), stop).unwrap()
}

fn start(database: &Database, log: &MemoryLog) -> ViewHandle {
    start_with(database, log, options())
}

fn catch_up(view: &ViewHandle, log: &MemoryLog) {
    assert!(view.wait_until(&log.ends(), TIMEOUT), "{:?} {:?}", view.failure(), view.status());
    assert!(view.caught_up_to(&log.ends()));
}

/// Runs a view until it has read everything.
fn run_to_end(database: &Database, log: &MemoryLog) -> headwater::view::ViewStatus {
    let view = start(database, log);
    catch_up(&view, log);
    let status = view.status();
    view.stop().unwrap();
    status
}

/// Every row of every table, in columns that read the same in both databases.
fn contents(database: &Database) -> BTreeMap<&'static str, Vec<String>> {
    let time = |column: &str| match database.is_postgres() {
        true => format!("to_char({column}, 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"),
        false => column.to_owned(),
    };
    let (start, end, first, updated) = (time("start_time"), time("end_time"), time("first_seen"), time("updated_at"));
    let (list, number) = match database.is_postgres() {
        true => ("replace(to_json(tags)::text, ', ', ',')", "::float8"),
        false => ("tags", ""),
    };
    let queries = [
        (
            "events",
            format!(
                "SELECT id, title, description, category, {list}, {start}, start_date, {end}, timezone, all_day, \
                 venue_name, address, city, region, postal_code, country, latitude, longitude, geo_precision, online, \
                 organizer, price_min{number}, price_max{number}, currency, free, status, quality_score, \
                 quality_grade, passed, listing_count, {first}, {updated}, document ->> 'capacity' \
                 FROM events ORDER BY id"
            ),
        ),
        ("event_redirects", "SELECT id, redirect_to FROM event_redirects ORDER BY id".to_owned()),
        (
            "listings",
            format!(
                "SELECT id, source, external_id, title, category, {start}, start_date, {end}, timezone, all_day, \
                 venue_name, city, country, latitude, longitude, status, url, {first}, {updated}, \
                 document ->> 'externalId' FROM listings ORDER BY id"
            ),
        ),
        (
            "event_links",
            format!(
                "SELECT listing_id, source, external_id, event_id, {}, similarity, via_source, via_external_id, \
                 contributions -> 0 ->> 'field' FROM event_links ORDER BY listing_id",
                time("event_first_seen")
            ),
        ),
        (
            "window_metrics",
            format!(
                "SELECT key, {}, {}, source, category, seen, discovered, updated, unchanged, withdrawn, dead, late, \
                 closed, duplicates, rejected, mean_score, open_events FROM window_metrics ORDER BY key",
                time("window_start"),
                time("window_end")
            ),
        ),
        (
            "dead_letters",
            format!(
                "SELECT topic, partition, record_offset, {}, code, reason, part, source, content_type, raw_topic, \
                 raw_partition, raw_offset, {}, length(raw_key), length(raw_value) FROM dead_letters \
                 ORDER BY topic, partition, record_offset",
                time("recorded_at"),
                time("raw_time")
            ),
        ),
    ];
    queries.into_iter().map(|(table, sql)| (table, database.query(&sql))).collect()
}

#[test]
fn every_topic_has_its_table_and_both_databases_agree() {
    let log = log();
    fill(&log);
    let all: Vec<_> = Database::all()
        .iter()
        .map(|database| {
            let status = run_to_end(database, &log);
            assert_eq!((status.records, status.skipped, status.rebuilds), (6, 0, 0));
            contents(database)
        })
        .collect();
    let expected = "00000000000000000000000000000001|Jazz Night|An évening of <b>improvised</b> music.|music|\
        [\"live\",\"late \\\"night\\\"\"]|2026-03-29T02:30:00.000Z|2026-03-28|2026-03-29T05:00:00.000Z|\
        America/Los_Angeles|0|Blue Note|1030 Main St|Napa|CA|94559|US|38.2995|-122.2862|venue|0|Blue Note Napa|12.5|40|\
        USD|0|scheduled|0.9231|A|1|1|2026-01-01T00:00:00.000Z|2026-01-02T03:04:05.500Z|150";
    assert_eq!(all[0]["events"], [expected]);
    assert_eq!(all[0]["event_redirects"], [format!("{}|{}", id(2), id(1))]);
    let listing = format!("{}|a|a-11|Market|NULL|2026-03-28T23:00:00.000Z|2026-03-29|NULL|Europe/Paris|1", id(11));
    assert!(all[0]["listings"][0].starts_with(&listing), "{:?}", all[0]["listings"]);
    let letter = "|json.syntax|no JSON|NULL|a|NULL|raw.events|3|77|2026-02-02T02:40:00.000Z|2|9";
    assert!(all[0]["dead_letters"][0].ends_with(letter), "{:?}", all[0]["dead_letters"]);
    for other in &all[1..] {
        assert_eq!(*other, all[0]);
    }
}

#[test]
fn tombstones_remove_rows_and_a_redirect_takes_the_place_of_its_event() {
    let topics = topics();
    for database in Database::all() {
        let log = log();
        fill(&log);
        let view = start(&database, &log);
        catch_up(&view, &log);
        put(&log, &topics.events, &id(1), &json!({"format": 1, "id": id(1), "redirectTo": id(5)}));
        put(&log, &topics.events, &id(2), &event(2, "Back again"));
        catch_up(&view, &log);
        assert_eq!(contents(&database)["event_redirects"], [format!("{}|{}", id(1), id(5))]);
        assert_eq!(database.query("SELECT id, title FROM events"), [format!("{}|Back again", id(2))]);
        for (topic, key) in [(&topics.events, id(1)), (&topics.events, id(2)), (&topics.listings, id(11))] {
            tombstone(&log, topic, &key);
        }
        tombstone(&log, &topics.links, &id(11));
        tombstone(&log, &topics.metrics, "2026-01-01T00:00:00Z/a/music");
        catch_up(&view, &log);
        for (table, rows) in contents(&database) {
            assert_eq!(rows.len(), usize::from(table == "dead_letters"), "{table}");
        }
        assert_eq!(view.status().lag, 0);
        view.stop().unwrap();
    }
}

#[test]
fn a_restart_goes_on_where_the_tables_are() {
    let topics = topics();
    for database in Database::all() {
        let log = log();
        fill(&log);
        run_to_end(&database, &log);
        log.skip(&topics.events, 0, 3);
        let status = run_to_end(&database, &log);
        assert_eq!((status.records, status.rebuilds), (0, 0));
        put(&log, &topics.events, &id(3), &event(3, "New"));
        let status = run_to_end(&database, &log);
        assert_eq!((status.records, status.rebuilds), (1, 0));
        assert_eq!(database.count("events"), 2);
    }
}

fn one_event(offset: i64, number: usize) -> Vec<LogRecord> {
    vec![LogRecord {
        topic: topics().events,
        partition: 0,
        offset,
        timestamp_ms: 0,
        key: Some(id(number).into_bytes()),
        value: Some(event(number, "Title").to_string().into_bytes()),
        headers: Vec::new(),
    }]
}

fn step(expected: Option<i64>, next: i64) -> Vec<Step> {
    vec![Step { partition: TopicPartition::new(topics().events, 0), expected, next }]
}

fn apply(store: &mut dyn ViewStore, records: &mut [LogRecord], steps: Vec<Step>) -> Result<(), ViewError> {
    make_storable(records, &topics());
    store.apply(&Batch::read(records, &topics(), steps)?)
}

/// Rows that the reading thread has prepared are stored as those that nobody has, be they new or known.
#[test]
fn prepared_rows_are_stored_as_others_are() {
    for (one, other) in Database::all().into_iter().zip(Database::all()) {
        let contents_of = |database: &Database, prepares: bool| {
            let mut store = database.open().unwrap();
            store.claim(None).unwrap();
            for (title, steps) in [("Old", step(None, 1)), ("New", step(Some(1), 2))] {
                let mut records = one_event(0, 1);
                let mut told = event(1, title);
                told["tags"] = serde_json::json!(["a \"b\"", title]);
                records[0].value = Some(told.to_string().into_bytes());
                let mut batch = Batch::read(&records, &topics(), steps).unwrap();
                if prepares {
                    batch.changes.iter_mut().for_each(store.preparation());
                }
                store.apply(&batch).unwrap();
            }
            database.query("SELECT * FROM events")
        };
        let prepared = contents_of(&one, true);
        assert!(prepared[0].contains("2026-") && prepared[0].contains("New"), "{prepared:?}");
        assert_eq!(prepared, contents_of(&other, false));
    }
}

#[test]
fn replayed_records_change_nothing() {
    for database in Database::all() {
        let log = log();
        fill(&log);
        run_to_end(&database, &log);
        let before = contents(&database);
        // The same records again, with offsets as if they had not been seen.
        database.execute("UPDATE view_offsets SET next_offset = 0");
        let status = run_to_end(&database, &log);
        assert_eq!((status.records, status.rebuilds), (6, 0));
        assert_eq!(contents(&database), before);
    }
}

#[test]
fn a_superseded_instance_cannot_write() {
    for database in Database::all() {
        let (mut old, mut new) = (database.open().unwrap(), database.open().unwrap());
        let first = old.claim(None).unwrap();
        apply(&mut *old, &mut one_event(0, 1), step(None, 1)).unwrap();
        assert!(new.claim(None).unwrap() > first);
        let error = apply(&mut *old, &mut one_event(1, 2), step(Some(1), 2)).unwrap_err();
        assert!(matches!(error, ViewError::Superseded { .. }), "{error}");
        assert_eq!((error.domain(), error.may_pass()), (Domain::Superseded, false));
        assert!(matches!(old.reset(), Err(ViewError::Superseded { .. })));
        assert!(matches!(old.claim(Some(first)), Err(ViewError::Superseded { .. })));
        assert_eq!(database.query("SELECT id FROM events"), [id(1)]);
        apply(&mut *new, &mut one_event(1, 3), step(Some(1), 2)).unwrap();
        assert_eq!(database.query("SELECT id FROM events ORDER BY id"), [id(1), id(3)]);
    }
}

#[test]
fn offsets_move_only_from_where_they_are_expected() {
    for database in Database::all() {
        let mut store = database.open().unwrap();
        store.claim(None).unwrap();
        apply(&mut *store, &mut one_event(0, 1), step(None, 1)).unwrap();
        for expected in [None, Some(0), Some(2)] {
            let error = apply(&mut *store, &mut one_event(1, 2), step(expected, 2)).unwrap_err();
            assert!(matches!(error, ViewError::OffsetsMoved { .. }), "{error}");
        }
        assert_eq!(database.query("SELECT id FROM events"), [id(1)]);
        let offsets = store.offsets().unwrap();
        let stored = offsets[&TopicPartition::new(topics().events, 0)];
        assert_eq!((offsets.len(), stored.next), (1, 1));
        assert!(stored.age < TIMEOUT);
    }
}

#[test]
fn of_two_racing_writers_each_offset_is_moved_by_one() {
    for database in Database::all() {
        let held = database.open().unwrap().claim(None).unwrap();
        let wins: usize = std::thread::scope(|scope| {
            let writer = |writer: usize| {
                // Both claim to be the same instance, as after a restored database.
                let mut store = database.open().unwrap();
                store.claim(Some(held)).unwrap();
                let mut wins = 0;
                for offset in 0..20_i64 {
                    let expected = (offset > 0).then_some(offset);
                    match apply(&mut *store, &mut one_event(offset, writer), step(expected, offset + 1)) {
                        Ok(()) => wins += 1,
                        Err(ViewError::OffsetsMoved { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
                wins
            };
            let threads: Vec<_> = (0..2).map(|number| scope.spawn(move || writer(number))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(wins, 20);
        assert_eq!(database.query("SELECT next_offset FROM view_offsets"), ["20"]);
    }
}

#[test]
fn the_newest_of_two_views_stays_and_the_other_says_why_it_ended() {
    let topics = topics();
    for database in Database::all() {
        let log = log();
        fill(&log);
        let old = start(&database, &log);
        catch_up(&old, &log);
        let new = start(&database, &log);
        catch_up(&new, &log);
        put(&log, &topics.events, &id(7), &event(7, "After the change"));
        catch_up(&new, &log);
        let deadline = Instant::now() + TIMEOUT;
        while old.failure().is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(matches!(*old.stop().unwrap_err(), ViewError::Superseded { .. }));
        put(&log, &topics.events, &id(8), &event(8, "Later still"));
        catch_up(&new, &log);
        new.stop().unwrap();
        assert_eq!(database.count("events"), 3);
    }
}

#[test]
fn dropped_tables_are_made_anew_while_running_and_between_runs() {
    for database in Database::all() {
        let log = log();
        fill(&log);
        let view = start(&database, &log);
        catch_up(&view, &log);
        let before = contents(&database);
        database.execute("DROP TABLE events");
        put(&log, &topics().events, &id(9), &event(9, "Another"));
        let deadline = Instant::now() + TIMEOUT;
        let events = || std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| database.count("events")));
        while view.failure().is_none() && Instant::now() < deadline && events().unwrap_or(0) < 2 {
            std::thread::sleep(Duration::from_millis(20));
        }
        catch_up(&view, &log);
        let after = contents(&database);
        assert_eq!(after["events"].len(), 2);
        assert_eq!(after["listings"], before["listings"]);
        view.stop().unwrap();

        match &database {
            Database::Sqlite { config, .. } => std::fs::remove_dir_all(config.path.parent().unwrap()).unwrap(),
            Database::Postgres { config } => database.execute(&format!("DROP SCHEMA \"{}\" CASCADE", config.schema)),
        }
        run_to_end(&database, &log);
        assert_eq!(contents(&database), after);
    }
}

#[test]
fn a_recreated_topic_is_noticed() {
    let topics = topics();
    for database in Database::all() {
        let log = log();
        fill(&log);
        for number in 20..40 {
            put(&log, &topics.events, &id(number), &event(number, "Old world"));
        }
        run_to_end(&database, &log);
        log.create(&topics.events, 2);
        put(&log, &topics.events, &id(1), &event(1, "New world"));
        let status = run_to_end(&database, &log);
        assert_eq!(status.rebuilds, 1);
        assert_eq!(database.query("SELECT title FROM events"), ["New world"]);
        assert_eq!(database.count("listings"), 1);
    }
}

#[test]
fn a_partition_that_appears_is_read_while_running_and_after_a_restart() {
    let database = Database::sqlite();
    let log = log();
    fill(&log);
    let view = start(&database, &log);
    catch_up(&view, &log);
    let before = database.count("events");
    let events = topics().events;
    log.grow(&events);
    let partition = log.ends().iter().filter(|(at, _)| at.topic == events).count() - 1;
    let append = |number: usize| {
        let value = event(number, "In a new partition").to_string();
        log.append(&events, partition, Some(id(number).as_bytes()), Some(value.as_bytes()));
    };
    append(901);
    catch_up(&view, &log);
    assert_eq!(database.count("events"), before + 1);
    view.stop().unwrap();
    append(902);
    assert_eq!(run_to_end(&database, &log).rebuilds, 0);
    assert_eq!(database.count("events"), before + 2);
}

#[test]
fn offsets_that_are_gone_lead_to_a_rebuild() {
    let topics = topics();
    for database in Database::all() {
        let log = log();
        fill(&log);
        let view = start(&database, &log);
        catch_up(&view, &log);
        view.stop().unwrap();
        for _ in 0..10 {
            log.append_with(&topics.dead_letters, 0, None, Some(b"x"), dead_letter_headers(b"r"));
        }
        log.expire_below(&topics.dead_letters, 0, 5);
        let status = run_to_end(&database, &log);
        assert_eq!(status.rebuilds, 1);
        assert_eq!(database.query("SELECT min(record_offset), count(*) FROM dead_letters"), ["5|6"]);
    }
}

#[test]
fn a_view_that_may_have_missed_tombstones_rebuilds_itself() {
    let topics = topics();
    for database in Database::all() {
        let log = log();
        fill(&log);
        run_to_end(&database, &log);
        // A tombstone comes and is compacted away while the view is not there.
        tombstone(&log, &topics.events, &id(1));
        log.compact_away(&topics.events, id(1).as_bytes());
        let hours_ago = |hours| match database.is_postgres() {
            true => format!("UPDATE view_offsets SET updated_at = now() - interval '{hours} hours'"),
            false => {
                format!("UPDATE view_offsets SET updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-{hours} hours')")
            }
        };
        database.execute(&hours_ago(25));
        let status = run_to_end(&database, &log);
        assert_eq!((status.rebuilds, database.count("events")), (1, 0));
        // Away for as long, with nothing unread: no tombstone can have been missed.
        database.execute(&hours_ago(25));
        assert_eq!(run_to_end(&database, &log).rebuilds, 0);
        // Unread records, but not away for too long.
        database.execute(&hours_ago(23));
        put(&log, &topics.events, &id(4), &event(4, "Four"));
        assert_eq!(run_to_end(&database, &log).rebuilds, 0);
    }
}

#[test]
fn a_newer_schema_is_an_error_that_says_so() {
    for database in Database::all() {
        drop(database.open().unwrap());
        drop(database.open().unwrap());
        let known = if database.is_postgres() { 1 } else { 4 };
        assert_eq!(database.query("SELECT max(version) FROM view_migrations"), [known.to_string()]);
        let now = if database.is_postgres() { "now()" } else { "'2026-01-01'" };
        database.execute(&format!("INSERT INTO view_migrations VALUES (99, {now})"));
        let error = database.open().map(|_| ()).unwrap_err();
        assert!(matches!(error, ViewError::NewerSchema { found: 99, known: newest, .. } if newest == known), "{error}");
        let checked = match &database {
            Database::Sqlite { config, .. } => config.check(),
            Database::Postgres { config } => config.check(),
        };
        assert!(matches!(checked, Err(ViewError::NewerSchema { .. })), "{checked:?}");
        let view = start(&database, &log());
        assert!(!view.wait_until(&[(TopicPartition::new(topics().events, 0), 1)], TIMEOUT));
        assert!(matches!(*view.stop().unwrap_err(), ViewError::NewerSchema { .. }));
    }
}

#[test]
fn a_file_of_the_first_schema_is_brought_up_to_date() {
    let (database, log, topics) = (Database::sqlite(), log(), topics());
    drop(database.open().unwrap());
    // As the first version left it.
    for (name, when) in [("insert", "INSERT"), ("update", "UPDATE"), ("delete", "DELETE")] {
        database.execute(&format!(
            "CREATE TRIGGER events_search_{name} AFTER {when} ON events BEGIN SELECT raise(ABORT, 'still there'); END"
        ));
    }
    database.execute("DELETE FROM view_migrations WHERE version > 1");
    put(&log, &topics.events, &id(1), &event(1, "Jazz Night"));
    let view = start(&database, &log);
    catch_up(&view, &log);
    view.stop().unwrap();
    assert_eq!(database.query("SELECT max(version) FROM view_migrations"), ["4"]);
    assert_eq!(database.query("SELECT rowid FROM events_search('jazz')"), ["1"]);
}

#[test]
fn text_is_searched_and_the_search_follows_changes() {
    let topics = topics();
    for database in Database::all() {
        let search = |words: &str| {
            let condition = match database.is_postgres() {
                true => format!("search @@ websearch_to_tsquery('simple', '{words}')"),
                false => format!("search IN (SELECT rowid FROM events_search('{words}'))"),
            };
            database.query(&format!("SELECT title FROM events WHERE {condition} ORDER BY title"))
        };
        let log = log();
        put(&log, &topics.events, &id(1), &event(1, "Jazz Night"));
        put(&log, &topics.events, &id(2), &event(2, "Poetry Slam"));
        let view = start(&database, &log);
        catch_up(&view, &log);
        assert_eq!(search("jazz"), ["Jazz Night"]);
        assert_eq!(search("improvised napa"), ["Jazz Night", "Poetry Slam"]);
        assert_eq!(search("late"), ["Jazz Night", "Poetry Slam"]);
        put(&log, &topics.events, &id(1), &event(1, "Blues Night"));
        tombstone(&log, &topics.events, &id(2));
        catch_up(&view, &log);
        assert_eq!(search("jazz"), Vec::<String>::new());
        assert_eq!(search("improvised"), ["Blues Night"]);
        view.stop().unwrap();
    }
}

#[test]
fn indexes_serve_the_usual_queries() {
    for database in Database::all() {
        drop(database.open().unwrap());
        let explain = if database.is_postgres() { "SET enable_seqscan TO off; EXPLAIN" } else { "EXPLAIN QUERY PLAN" };
        let usual = [
            ("SELECT * FROM events WHERE start_time > '2026-01-01'", "events_start_time"),
            ("SELECT * FROM events WHERE category = 'music' AND start_time > '2026-01-01'", "events_category"),
            ("SELECT * FROM events WHERE latitude > 48 AND latitude < 49 AND longitude > 2", "events_geography"),
            ("SELECT * FROM listings WHERE external_id = 'x'", "listings_external_id"),
            ("SELECT * FROM event_links WHERE event_id = 'x'", "event_links_event_id"),
        ];
        for (query, index) in usual {
            // Empty tables need no index: Postgres is forbidden to scan, and SQLite told which to use,
            // which fails where the index cannot serve the query.
            let plan = match &database {
                Database::Postgres { .. } => database.query(&format!("{explain} {query}")).join("\n"),
                Database::Sqlite { .. } => {
                    let forced = query.replacen(" WHERE", &format!(" INDEXED BY {index} WHERE"), 1);
                    database.query(&format!("{explain} {forced}")).join("\n")
                }
            };
            assert!(plan.contains(index), "{query}: {plan}");
        }
    }
}

#[test]
fn a_view_that_is_behind_reads_ahead_and_shows_the_same() {
    let topics = topics();
    for database in Database::all() {
        let log = log();
        for round in ["Old", "New"] {
            for number in 0..300 {
                put(&log, &topics.events, &id(number), &event(number, round));
            }
            let half = event(1_000, "Half").to_string().replace("\"capacity\":150", "\"capacity\":\"\\ud800\"");
            log.append(&topics.events, 1, Some(id(1_000).as_bytes()), Some(half.as_bytes()));
        }
        for number in 0..100 {
            tombstone(&log, &topics.events, &id(number));
        }
        let batch = BatchConfig { records: 40, bytes: 20_000, interval_ms: 5 };
        let view = start_with(&database, &log, ViewOptions { batch, ..ViewOptions::default() });
        catch_up(&view, &log);
        let status = view.status();
        view.stop().unwrap();
        let skipped = if database.is_postgres() { 2 } else { 0 };
        assert_eq!((status.records, status.skipped, status.lag), (702, skipped, 0));
        assert_eq!(database.query("SELECT count(*) FROM events WHERE title = 'New'"), ["200"]);
        assert_eq!(database.query("SELECT count(*) FROM events WHERE title = 'Old'"), ["0"]);
        assert_eq!(run_to_end(&database, &log).records, 0);
    }
}

#[test]
fn values_that_cannot_be_stored_are_left_out_and_the_rest_goes_on() {
    let topics = topics();
    for database in Database::all() {
        let log = log();
        let mut nul = event(1, "No\0 NUL");
        nul["description"] = json!("a\0b");
        nul["extra"] = json!({"k\0": ["\0"]});
        put(&log, &topics.events, &id(1), &nul);
        log.append(&topics.events, 0, Some(id(2).as_bytes()), Some(b"{\"format\":1,\"title\":"));
        log.append(&topics.events, 0, None, Some(event(3, "No key").to_string().as_bytes()));
        for number in 10..30 {
            put(&log, &topics.events, &id(number), &event(number, "Fine"));
        }
        // Half of a surrogate pair: JSON to some, to Postgres not.
        let half = event(4, "Half").to_string().replace("\"capacity\":150", "\"capacity\":\"\\ud800\"");
        log.append(&topics.events, 0, Some(id(4).as_bytes()), Some(half.as_bytes()));
        let status = run_to_end(&database, &log);
        assert_eq!(status.skipped, if database.is_postgres() { 3 } else { 2 });
        assert_eq!(database.query("SELECT count(*) FROM events WHERE title = 'Fine'"), ["20"]);
        let row = database.query("SELECT title, description, document ->> 'title' FROM events WHERE title LIKE 'No%'");
        assert_eq!(row, ["No NUL|ab|No NUL"]);
        assert_eq!(run_to_end(&database, &log).records, 0);
    }
}

#[test]
fn a_newer_format_ends_the_view_and_names_the_record() {
    for database in Database::all() {
        let log = log();
        let offset = put(&log, &topics().events, &id(1), &json!({"format": 7, "title": "T"}));
        let view = start(&database, &log);
        assert!(!view.wait_until(&log.ends(), TIMEOUT));
        let error = view.stop().unwrap_err();
        assert!(matches!(&*error, ViewError::NewerFormat { offset: at, format: 7, .. } if *at == offset), "{error}");
        assert_eq!(database.count("events"), 0);
    }
}

#[test]
fn a_log_that_is_away_is_waited_for() {
    for database in Database::all() {
        let log = log();
        fill(&log);
        log.set_away(true);
        let view = start(&database, &log);
        assert!(!view.wait_until(&log.ends(), Duration::from_millis(300)));
        let trouble = view.status().trouble.unwrap();
        assert!(trouble.contains("cannot reach the log"), "{trouble}");
        log.set_away(false);
        catch_up(&view, &log);
        assert_eq!((view.status().trouble, view.failure().is_none()), (None, true));
        view.stop().unwrap();
        assert_eq!(database.count("events"), 1);
    }
}

#[test]
fn an_unreachable_database_is_tried_again_and_stopping_does_not_wait_for_it() {
    let mut config = PostgresConfig::new("postgres://ann:s3cret@127.0.0.1:1/town");
    config.connect_timeout_secs = 1;
    let error = config.check().unwrap_err();
    assert!(matches!(error, ViewError::Unreachable { .. }) && error.may_pass(), "{error}");
    let message = error.to_string();
    assert!(message.starts_with("cannot reach postgres://ann@127.0.0.1:1/town: "), "{message}");
    assert!(message.contains("refused") && error.hint().is_some(), "{message}");
    let open: OpenStore = Box::new(move || Ok(Box::new(PostgresStore::open(&config)?)));
    let stop = Arc::new(AtomicBool::new(false));
    let view = View::start("test", Arc::new(log()), topics(), options(), open, stop).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert!(view.failure().is_none() && view.status().trouble.is_some());
    let started = Instant::now();
    view.stop().unwrap();
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[test]
fn refusals_of_postgres_say_what_is_wrong() {
    let Some(database) = Database::postgres() else { return };
    let Database::Postgres { config } = &database else { return };
    let found = config.check().unwrap();
    assert!(found.contains("PostgreSQL") && found.contains("to be created"), "{found}");
    let server: postgres::Config = config.url.parse().unwrap();
    let role = format!("reader_{}", std::process::id());
    database.execute(&format!("CREATE ROLE {role} LOGIN PASSWORD 'right'"));
    let other = |password: &str, database: &str| {
        let postgres::config::Host::Tcp(host) = &server.get_hosts()[0] else { panic!("not TCP") };
        let url = format!("postgres://{role}:{password}@{host}:{}/{database}", server.get_ports()[0]);
        PostgresConfig { url, ..config.clone() }.check()
    };
    let rights = other("right", server.get_dbname().unwrap());
    let missing = other("right", "no_such_database");
    let password = other("wrong", server.get_dbname().unwrap());
    database.execute(&format!("DROP ROLE {role}"));
    let denied = |result: Result<String, ViewError>| match result {
        Err(ViewError::Denied { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    assert!(denied(rights).contains("may not create it"));
    assert!(denied(missing).contains("no_such_database"));
    // A server may trust whoever comes from this machine: then there is no wrong password.
    match password {
        Err(ViewError::Denied { reason, .. }) if reason.contains("password") => {}
        other => assert!(denied(other).contains("may not create it")),
    }
}

#[test]
fn a_file_that_is_no_database_is_an_error_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let config = SqliteConfig::new(folder.path().join("notes.txt"));
    assert!(config.check().unwrap().contains("to be created"));
    std::fs::write(&config.path, "these are notes, not a database, and long enough to be read as a header").unwrap();
    assert!(matches!(config.check(), Err(ViewError::Damaged { .. })));
    assert!(matches!(SqliteStore::open(&config).map(|_| ()), Err(ViewError::Damaged { .. })));
    let below_file = SqliteConfig::new(PathBuf::from("/dev/null/view.sqlite"));
    assert!(matches!(below_file.check(), Err(ViewError::Denied { .. })));
    assert!(matches!(SqliteStore::open(&below_file).map(|_| ()), Err(ViewError::Denied { .. })));
}

#[test]
fn a_view_survives_the_loss_of_its_connection_at_any_moment() {
    let Some(database) = Database::postgres() else { return };
    let Database::Postgres { config } = &database else { return };
    // Told apart from the connections of other tests by the application's name.
    let name = format!("view_{}", std::process::id());
    let separator = if config.url.contains('?') { '&' } else { '?' };
    let config = PostgresConfig { url: format!("{}{separator}application_name={name}", config.url), ..config.clone() };
    let open: OpenStore = Box::new(move || Ok(Box::new(PostgresStore::open(&config)?)));
    let (log, topics) = (log(), topics());
    let batch = BatchConfig { records: 7, interval_ms: 1, ..BatchConfig::default() };
    let options = ViewOptions { batch, ..ViewOptions::default() };
    let stop = Arc::new(AtomicBool::new(false));
    let view = View::start("test", Arc::new(log.clone()), topics.clone(), options, open, stop).unwrap();
    let mut killed = 0;
    for number in 0..600 {
        put(&log, &topics.events, &id(number), &event(number, "Event"));
        if number % 3 == 0 {
            tombstone(&log, &topics.events, &id(number / 2));
        }
        if number % 40 == 0 {
            std::thread::sleep(Duration::from_millis(10));
            let sql =
                format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{name}'");
            killed += database.query(&sql).len();
        }
    }
    catch_up(&view, &log);
    assert!(killed > 0);
    let status = view.status();
    view.stop().unwrap();
    assert_eq!((status.rebuilds, status.skipped), (0, 0));
    let gone: std::collections::BTreeSet<usize> = (0..600).step_by(3).map(|number| number / 2).collect();
    // Each tombstone came after the event of its key.
    let expected: Vec<String> = (0..600).filter(|number| !gone.contains(number)).map(id).collect();
    assert_eq!(database.query("SELECT id FROM events ORDER BY id"), expected);
}

#[test]
fn old_dead_letters_leave_the_table_with_their_topic() {
    let topics = topics();
    for database in Database::all() {
        let log = log();
        for _ in 0..4 {
            log.append_with(&topics.dead_letters, 1, None, Some(b"x"), dead_letter_headers(b"r"));
        }
        run_to_end(&database, &log);
        let mut store = database.open().unwrap();
        store.claim(None).unwrap();
        let forget = vec![(TopicPartition::new(Arc::clone(&topics.dead_letters), 1), 3)];
        store.apply(&Batch { forget, ..Batch::default() }).unwrap();
        assert_eq!(database.query("SELECT record_offset FROM dead_letters"), ["3"]);
    }
}

/// What may happen to one of a few keys.
#[derive(Debug, Clone)]
enum Action {
    Event(u8),
    Redirect,
    Delete,
    Damage,
}

fn actions() -> impl Strategy<Value = Vec<(usize, Action)>> {
    let action = prop_oneof![
        4 => any::<u8>().prop_map(Action::Event),
        2 => Just(Action::Redirect),
        2 => Just(Action::Delete),
        1 => Just(Action::Damage),
    ];
    proptest::collection::vec((0_usize..6, action), 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// However the records are cut into batches, the tables are what the records say one by one.
    #[test]
    fn tables_are_the_fold_of_the_records(actions in actions(), size in 1_usize..20) {
        let log = log();
        let topics = topics();
        let (mut events, mut redirects) = (BTreeMap::new(), BTreeMap::new());
        for (number, action) in actions {
            let key = id(number);
            match action {
                Action::Event(title) => {
                    put(&log, &topics.events, &key, &event(number, &title.to_string()));
                    redirects.remove(&key);
                    events.insert(key, title.to_string());
                }
                Action::Redirect => {
                    put(&log, &topics.events, &key, &json!({"format": 1, "redirectTo": id(9)}));
                    events.remove(&key);
                    redirects.insert(key, id(9));
                }
                Action::Delete => {
                    tombstone(&log, &topics.events, &key);
                    events.remove(&key);
                    redirects.remove(&key);
                }
                Action::Damage => {
                    put(&log, &topics.events, &key, &json!({"format": 1}));
                }
            }
        }
        let database = Database::sqlite();
        let batch = BatchConfig { records: size, ..BatchConfig::default() };
        let view = start_with(&database, &log, ViewOptions { batch, ..ViewOptions::default() });
        catch_up(&view, &log);
        view.stop().unwrap();
        let lines = |map: BTreeMap<String, String>| map.into_iter().map(|(k, v)| format!("{k}|{v}")).collect::<Vec<_>>();
        prop_assert_eq!(database.query("SELECT id, title FROM events ORDER BY id"), lines(events));
        prop_assert_eq!(database.query("SELECT id, redirect_to FROM event_redirects ORDER BY id"), lines(redirects));
        // Fails unless the full-text index holds exactly what the table holds.
        database.execute("INSERT INTO events_search (events_search, rank) VALUES ('integrity-check', 1)");
    }
}

/// Run by hand: `cargo test --release --test view -- --ignored --nocapture speed`.
#[test]
#[ignore = "measures; run it by hand"]
fn speed_of_upserts() {
    let count: usize = std::env::var("RECORDS").ok().and_then(|count| count.parse().ok()).unwrap_or(50_000);
    let text = "lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt ut labore";
    for database in Database::all() {
        let log = log();
        for round in ["insert", "unchanged text", "changed text"] {
            for number in 0..count {
                let mut event = event(number, &format!("Concert {number} of the season"));
                let changed = if round == "changed text" { "again" } else { "" };
                let words: Vec<&str> = text.split(' ').cycle().skip(number % 14).take(60).collect();
                event["description"] = json!(format!("{} {number} {changed}", words.join(" ")));
                event["startTime"] =
                    json!(format!("2026-{:02}-{:02}T19:30:00-07:00", number % 12 + 1, number % 28 + 1));
                event["qualityScore"] = json!(if round == "insert" { 0.5 } else { 0.6 });
                let key = format!("{:032x}", (number as u128).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
                put(&log, &topics().events, &key, &event);
            }
            let view = start_with(&database, &log, ViewOptions::default());
            let started = Instant::now();
            assert!(view.wait_until(&log.ends(), Duration::from_secs(600)));
            let took = started.elapsed().as_secs_f64();
            view.stop().unwrap();
            let name = if database.is_postgres() { "Postgres" } else { "SQLite" };
            println!("{name}, {round}: {count} events in {took:.2} s, {:.0}/s", count as f64 / took);
        }
        assert_eq!(database.count("events"), count as u64);
    }
}
