//! The tables of discovery's views in both databases: SQLite always, Postgres where `DATABASE_URL` names
//! a server.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use database::{
    Database, Place, TIMEOUT, append_with, catch_up, dead_letter_headers, log_of, put, run_to_end, start, start_with,
    tombstone,
};
use discovery::tables::view_spec;
use headwater::log::TopicPartition;
use headwater::log::memory::MemoryLog;
use headwater::view::{ViewError, ViewOptions};
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

#[path = "../../../tests/view/database.rs"]
#[allow(dead_code, reason = "the tests of the runtime use more of it")]
mod database;

/// Full names of the topics.
const EVENTS: &str = "test.events";
const LISTINGS: &str = "test.listings";
const LINKS: &str = "test.links";
const METRICS: &str = "test.metrics";
const LETTERS: &str = "test.dead-letters";

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
        "qualityScore": 0.9231, "qualityGrade": "A", "passed": true, "partOf": id(9), "gates": []
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

/// One record of every kind.
fn fill(log: &MemoryLog) {
    put(log, EVENTS, &id(1), &event(1, "Jazz Night"));
    put(log, EVENTS, &id(2), &json!({"format": 1, "id": id(2), "redirectTo": id(1)}));
    put(log, LISTINGS, &id(11), &listing(11));
    put(log, LINKS, &id(11), &link(11, 1));
    put(log, METRICS, "2026-01-01T00:00:00Z/a/music", &metric());
    let headers = dead_letter_headers(b"no\0 JSON");
    append_with(log, LETTERS, 0, Some(b"k\0"), Some(b"\0not json"), headers);
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
                 quality_grade, passed, listing_count, {first}, {updated}, document ->> 'capacity', \
                 part_of FROM events ORDER BY id"
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
    let log = log_of(&view_spec());
    fill(&log);
    let all: Vec<_> = Database::all(&view_spec())
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
        USD|0|scheduled|0.9231|A|1|1|2026-01-01T00:00:00.000Z|2026-01-02T03:04:05.500Z|150|\
        00000000000000000000000000000009";
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
fn a_newer_schema_is_an_error_that_says_so() {
    for database in Database::all(&view_spec()) {
        drop(database.open().unwrap());
        drop(database.open().unwrap());
        let known = if database.is_postgres() { 2 } else { 5 };
        assert_eq!(database.query("SELECT max(version) FROM view_migrations"), [known.to_string()]);
        let now = if database.is_postgres() { "now()" } else { "'2026-01-01'" };
        database.execute(&format!("INSERT INTO view_migrations VALUES (99, {now})"));
        let error = database.open().map(|_| ()).unwrap_err();
        assert!(matches!(error, ViewError::NewerSchema { found: 99, known: newest, .. } if newest == known), "{error}");
        let checked = database.check();
        assert!(matches!(checked, Err(ViewError::NewerSchema { .. })), "{checked:?}");
        let view = start(&database, &log_of(&view_spec()));
        assert!(!view.wait_until(&[(TopicPartition::new(EVENTS, 0), 1)], TIMEOUT));
        assert!(matches!(*view.stop().unwrap_err(), ViewError::NewerSchema { .. }));
    }
}

#[test]
fn a_file_of_the_first_schema_is_brought_up_to_date() {
    let (database, log) = (Database::sqlite(view_spec()), log_of(&view_spec()));
    drop(database.open().unwrap());
    // As the first version left it.
    for (name, when) in [("insert", "INSERT"), ("update", "UPDATE"), ("delete", "DELETE")] {
        database.execute(&format!(
            "CREATE TRIGGER events_search_{name} AFTER {when} ON events BEGIN SELECT raise(ABORT, 'still there'); END"
        ));
    }
    database.execute("DROP INDEX events_part_of");
    database.execute("ALTER TABLE events DROP COLUMN part_of");
    database.execute("DELETE FROM view_migrations WHERE version > 1");
    put(&log, EVENTS, &id(1), &event(1, "Jazz Night"));
    let view = start(&database, &log);
    catch_up(&view, &log);
    view.stop().unwrap();
    assert_eq!(database.query("SELECT max(version) FROM view_migrations"), ["5"]);
    assert_eq!(database.query("SELECT rowid FROM events_search('jazz')"), ["1"]);
}

/// The SQL that databases in the field were laid out by: whoever changes it leaves them behind.
#[test]
fn the_migrations_of_old_stay_as_they_are() {
    let migrations = view_spec().migrations().unwrap();
    let hashes = |sql: &[&str]| sql.iter().map(|sql| format!("{:016x}", xxh3_64(sql.as_bytes()))).collect::<Vec<_>>();
    assert_eq!(hashes(migrations.postgres), ["7b632b02f8408543", "8112f6f63fe9cd77"]);
    let expected = ["904997be8e18668c", "a9e79a16466476bf", "5fb801427211f9ab", "5bb066cdfad59732", "d29eae4864543ab1"];
    assert_eq!(hashes(migrations.sqlite), expected);
}

#[test]
fn tables_without_the_column_of_parts_get_it_filled_from_their_documents() {
    for database in Database::all(&view_spec()) {
        let log = log_of(&view_spec());
        fill(&log);
        let mut whole = event(4, "Jazz Week");
        whole.as_object_mut().unwrap().remove("partOf");
        put(&log, EVENTS, &id(4), &whole);
        run_to_end(&database, &log);
        let before = contents(&database);
        // As the release before laid them out.
        database.execute("DROP INDEX events_part_of");
        database.execute("ALTER TABLE events DROP COLUMN part_of");
        let last = if database.is_postgres() { 2 } else { 5 };
        database.execute(&format!("DELETE FROM view_migrations WHERE version >= {last}"));
        let status = run_to_end(&database, &log);
        assert_eq!((status.records, status.rebuilds), (0, 0));
        assert_eq!(contents(&database), before);
        assert_eq!(database.query("SELECT id FROM events WHERE part_of IS NULL"), [id(4)]);
    }
}

/// A file as the release before the declaration of views left it: laid out by four migrations, with an
/// event, a redirect, a dead letter, and the offsets of all of them.
const LAID_OUT_BEFORE: &str = "
INSERT INTO events (id, title, description, category, tags, start_time, start_date, all_day, online, listing_count,
                    first_seen, updated_at, document)
VALUES ('00000000000000000000000000000001', 'Jazz Night', 'An évening.', 'music', '[\"live\"]',
        '2026-03-29T02:30:00.000Z', '2026-03-28', 0, 0, 1, '2026-01-01T00:00:00.000Z', '2026-01-02T03:04:05.500Z',
        '{\"title\":\"Jazz Night\",\"partOf\":\"00000000000000000000000000000009\"}');
INSERT INTO events_search (rowid, title, description, venue_name, city, organizer, category, tags)
VALUES (1, 'Jazz Night', 'An évening.', NULL, NULL, NULL, 'music', '[\"live\"]');
INSERT INTO event_redirects VALUES ('00000000000000000000000000000002', '00000000000000000000000000000001');
INSERT INTO dead_letters VALUES ('test.dead-letters', 0, 0, '2026-02-02T02:40:00.000Z', 'json.syntax', 'no JSON', NULL,
        'a', NULL, 'raw.events', 3, 77, '2026-02-02T02:40:00.000Z', X'6b', X'78');
UPDATE view_owner SET generation = 7;
";

#[test]
fn a_file_of_the_release_before_is_continued() {
    let database = Database::sqlite(view_spec());
    let Place::Sqlite { config, .. } = &database.place else { return };
    std::fs::create_dir_all(config.path.parent().unwrap()).unwrap();
    let file = rusqlite::Connection::open(&config.path).unwrap();
    let now = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')";
    file.execute_batch("CREATE TABLE view_migrations (version INTEGER PRIMARY KEY, applied_at TEXT NOT NULL) STRICT")
        .unwrap();
    for (version, sql) in (1..).zip(view_spec().migrations().unwrap().sqlite).take(4) {
        file.execute_batch(sql).unwrap();
        file.execute(&format!("INSERT INTO view_migrations VALUES (?1, {now})"), [version]).unwrap();
    }
    file.execute_batch(LAID_OUT_BEFORE).unwrap();
    let log = log_of(&view_spec());
    put(&log, EVENTS, &id(1), &event(1, "Jazz Night"));
    put(&log, EVENTS, &id(2), &json!({"format": 1, "id": id(2), "redirectTo": id(1)}));
    append_with(&log, LETTERS, 0, Some(b"k"), Some(b"x"), dead_letter_headers(b"no JSON"));
    for (at, next) in log.ends() {
        let sql = format!("INSERT INTO view_offsets VALUES (?1, ?2, ?3, {now})");
        file.execute(&sql, rusqlite::params![&*at.topic, at.partition, next]).unwrap();
    }
    drop(file);

    assert!(database.check().unwrap().contains("schema version 4"), "{:?}", database.check());
    // Newer columns are empty, or follow from the document.
    let rows = || {
        let events = "SELECT id, title, description, category, tags, start_time, start_date, all_day, online, \
                      listing_count, first_seen, updated_at, document, search FROM events";
        ["SELECT * FROM event_redirects", "SELECT * FROM dead_letters", events].map(|sql| database.query(sql))
    };
    let before = rows();
    let status = run_to_end(&database, &log);
    assert_eq!((status.records, status.rebuilds), (0, 0));
    assert_eq!(rows(), before);
    assert_eq!(database.query("SELECT part_of FROM events"), [id(9)]);
    assert_eq!(database.query("SELECT generation FROM view_owner"), ["8"]);

    put(&log, EVENTS, &id(1), &event(1, "Blues Night"));
    put(&log, EVENTS, &id(3), &event(3, "Jazz Brunch"));
    let status = run_to_end(&database, &log);
    assert_eq!((status.records, status.rebuilds), (2, 0));
    assert_eq!(database.query("SELECT title FROM events ORDER BY id"), ["Blues Night", "Jazz Brunch"]);
    let found = "SELECT title FROM events WHERE search IN (SELECT rowid FROM events_search('jazz'))";
    assert_eq!(database.query(found), ["Jazz Brunch"]);
    database.execute("INSERT INTO events_search (events_search, rank) VALUES ('integrity-check', 1)");
    assert_eq!(database.count("dead_letters"), 1);
}

#[test]
fn a_missing_table_does_not_cost_the_sql_views_of_others() {
    for database in Database::all(&view_spec()) {
        let log = log_of(&view_spec());
        fill(&log);
        run_to_end(&database, &log);
        let before = contents(&database);
        database.execute("CREATE VIEW titles AS SELECT title FROM events");
        database.execute("DROP TABLE listings");
        assert_eq!(run_to_end(&database, &log).records, 6);
        assert_eq!(contents(&database), before);
        assert_eq!(database.query("SELECT title FROM titles"), ["Jazz Night"]);
        // What was made is as complete as what was there: its indexes too.
        let plan = match database.is_postgres() {
            true => "SET enable_seqscan TO off; EXPLAIN SELECT * FROM listings WHERE external_id = 'x'",
            false => "EXPLAIN QUERY PLAN SELECT * FROM listings WHERE external_id = 'x'",
        };
        assert!(database.query(plan).join(" ").contains("listings_external_id"));
    }
}

#[test]
fn text_is_searched_and_the_search_follows_changes() {
    for database in Database::all(&view_spec()) {
        let search = |words: &str| {
            let condition = match database.is_postgres() {
                true => format!("search @@ websearch_to_tsquery('simple', '{words}')"),
                false => format!("search IN (SELECT rowid FROM events_search('{words}'))"),
            };
            database.query(&format!("SELECT title FROM events WHERE {condition} ORDER BY title"))
        };
        let log = log_of(&view_spec());
        put(&log, EVENTS, &id(1), &event(1, "Jazz Night"));
        put(&log, EVENTS, &id(2), &event(2, "Poetry Slam"));
        let view = start(&database, &log);
        catch_up(&view, &log);
        assert_eq!(search("jazz"), ["Jazz Night"]);
        assert_eq!(search("improvised napa"), ["Jazz Night", "Poetry Slam"]);
        assert_eq!(search("late"), ["Jazz Night", "Poetry Slam"]);
        put(&log, EVENTS, &id(1), &event(1, "Blues Night"));
        tombstone(&log, EVENTS, &id(2));
        catch_up(&view, &log);
        assert_eq!(search("jazz"), Vec::<String>::new());
        assert_eq!(search("improvised"), ["Blues Night"]);
        view.stop().unwrap();
    }
}

#[test]
fn indexes_serve_the_usual_queries() {
    for database in Database::all(&view_spec()) {
        drop(database.open().unwrap());
        let explain = if database.is_postgres() { "SET enable_seqscan TO off; EXPLAIN" } else { "EXPLAIN QUERY PLAN" };
        let usual = [
            ("SELECT * FROM events WHERE start_time > '2026-01-01'", "events_start_time"),
            ("SELECT * FROM events WHERE category = 'music' AND start_time > '2026-01-01'", "events_category"),
            ("SELECT * FROM events WHERE latitude > 48 AND latitude < 49 AND longitude > 2", "events_geography"),
            ("SELECT * FROM events WHERE part_of = 'x'", "events_part_of"),
            ("SELECT * FROM listings WHERE external_id = 'x'", "listings_external_id"),
            ("SELECT * FROM event_links WHERE event_id = 'x'", "event_links_event_id"),
        ];
        for (query, index) in usual {
            // Empty tables need no index: Postgres is forbidden to scan, and SQLite told which to use,
            // which fails where the index cannot serve the query.
            let plan = match &database.place {
                Place::Postgres { .. } => database.query(&format!("{explain} {query}")).join("\n"),
                Place::Sqlite { .. } => {
                    let forced = query.replacen(" WHERE", &format!(" INDEXED BY {index} WHERE"), 1);
                    database.query(&format!("{explain} {forced}")).join("\n")
                }
            };
            assert!(plan.contains(index), "{query}: {plan}");
        }
    }
}

/// Run by hand: `cargo test --release --test view -- --ignored --nocapture speed`.
#[test]
#[ignore = "measures; run it by hand"]
fn speed_of_upserts() {
    let count: usize = std::env::var("RECORDS").ok().and_then(|count| count.parse().ok()).unwrap_or(50_000);
    let text = "lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt ut labore";
    for database in Database::all(&view_spec()) {
        let log = log_of(&view_spec());
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
                put(&log, EVENTS, &key, &event);
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
