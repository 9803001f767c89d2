//! The views of a small topology, whose tables follow from its declarations, against a log in memory:
//! SQLite always, Postgres where `DATABASE_URL` names a server.

// Clippy's leave for tests covers test functions only, not what they share.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use database::{
    Database, PREFIX, Place, TIMEOUT, append, append_with, catch_up, dead_letter_headers, log_of, options, put,
    run_to_end, start, start_from, start_with, tombstone,
};
use headwater::error::{Domain, Fault};
use headwater::log::memory::MemoryLog;
use headwater::log::{LogRecord, TopicPartition};
use headwater::view::{
    Batch, BatchConfig, Generation, OpenStore, PostgresConfig, PostgresStore, SqliteConfig, SqliteStore, Step, Stored,
    View, ViewError, ViewOptions, ViewSpec, ViewStore, ViewTopics, make_storable,
};
use library::{later, library};
use proptest::prelude::*;
use serde_json::{Value, json};

#[path = "view/database.rs"]
mod database;
#[path = "view/library.rs"]
mod library;

/// Full names of the topics.
const WORKS: &str = "test.works";
const NOTES: &str = "test.notes";
const LETTERS: &str = "test.dead-letters";

fn topics() -> ViewTopics {
    library().topics(PREFIX)
}

fn id(number: usize) -> String {
    format!("{number:032x}")
}

fn work(title: &str) -> Value {
    json!({
        "format": 1, "title": title, "summary": "An évening of <b>improvised</b> stories.",
        "tags": ["short", "late \"night\""], "pages": 150, "weight": 0.25, "price": 12_500, "lent": false,
        "published": "2026-03-28T19:30:00.5-07:00", "bought": "2026-03-29", "capacity": 150
    })
}

/// One record of every kind.
fn fill(log: &MemoryLog) {
    put(log, WORKS, &id(1), &work("Jazz Night"));
    put(log, WORKS, &id(2), &json!({"format": 1, "alias_of": id(1)}));
    put(log, NOTES, &id(11), &json!({"format": 1, "order": 7, "text": "on the left"}));
    append_with(log, LETTERS, 0, Some(b"k\0"), Some(b"\0not json"), dead_letter_headers(b"no\0 JSON"));
}

/// Every row of every table, in columns that read the same in both databases.
fn contents(database: &Database) -> BTreeMap<&'static str, Vec<String>> {
    let time = |column: &str| match database.is_postgres() {
        true => format!("to_char({column}, 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"),
        false => column.to_owned(),
    };
    let (list, number) = match database.is_postgres() {
        true => ("replace(to_json(tags)::text, ', ', ',')", "::float8"),
        false => ("tags", ""),
    };
    let queries = [
        (
            "works",
            format!(
                "SELECT id, title, summary, {list}, pages, weight, price{number}, lent, {}, bought, \
                 document ->> 'capacity' FROM works ORDER BY id",
                time("published")
            ),
        ),
        ("aliases", "SELECT id, alias_of FROM aliases ORDER BY id".to_owned()),
        ("notes", "SELECT key, \"order\", \"select\" FROM notes ORDER BY key".to_owned()),
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
    let log = log_of(&library());
    fill(&log);
    let all: Vec<_> = Database::all(&library())
        .iter()
        .map(|database| {
            let status = run_to_end(database, &log);
            assert_eq!((status.records, status.skipped, status.rebuilds), (4, 0, 0));
            contents(database)
        })
        .collect();
    let expected = "00000000000000000000000000000001|Jazz Night|An évening of <b>improvised</b> stories.|\
        [\"short\",\"late \\\"night\\\"\"]|150|0.25|12.5|0|2026-03-29T02:30:00.500Z|2026-03-29|150";
    assert_eq!(all[0]["works"], [expected]);
    assert_eq!(all[0]["aliases"], [format!("{}|{}", id(2), id(1))]);
    assert_eq!(all[0]["notes"], [format!("{}|7|on the left", id(11))]);
    let letter = "|json.syntax|no JSON|NULL|a|NULL|raw.events|3|77|2026-02-02T02:40:00.000Z|2|9";
    assert!(all[0]["dead_letters"][0].ends_with(letter), "{:?}", all[0]["dead_letters"]);
    for other in &all[1..] {
        assert_eq!(*other, all[0]);
    }
}

#[test]
fn tombstones_remove_rows_and_an_alias_takes_the_place_of_its_work() {
    for database in Database::all(&library()) {
        let log = log_of(&library());
        fill(&log);
        let view = start(&database, &log);
        catch_up(&view, &log);
        put(&log, WORKS, &id(1), &json!({"format": 1, "alias_of": id(5)}));
        put(&log, WORKS, &id(2), &work("Back again"));
        catch_up(&view, &log);
        assert_eq!(contents(&database)["aliases"], [format!("{}|{}", id(1), id(5))]);
        assert_eq!(database.query("SELECT id, title FROM works"), [format!("{}|Back again", id(2))]);
        for (topic, key) in [(WORKS, id(1)), (WORKS, id(2)), (NOTES, id(11))] {
            tombstone(&log, topic, &key);
        }
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
    for database in Database::all(&library()) {
        let log = log_of(&library());
        fill(&log);
        run_to_end(&database, &log);
        log.skip(WORKS, 0, 3).unwrap();
        let status = run_to_end(&database, &log);
        assert_eq!((status.records, status.rebuilds), (0, 0));
        put(&log, WORKS, &id(3), &work("New"));
        let status = run_to_end(&database, &log);
        assert_eq!((status.records, status.rebuilds), (1, 0));
        assert_eq!(database.count("works"), 2);
    }
}

fn one_work(offset: i64, number: usize) -> Vec<LogRecord> {
    vec![LogRecord {
        topic: WORKS.into(),
        partition: 0,
        offset,
        timestamp_ms: 0,
        key: Some(id(number).into_bytes()),
        value: Some(work("Title").to_string().into_bytes()),
        headers: Vec::new(),
    }]
}

fn step(expected: Option<i64>, next: i64) -> Vec<Step> {
    vec![Step { partition: TopicPartition::new(WORKS, 0), expected, next }]
}

fn apply(store: &mut dyn ViewStore, records: &mut [LogRecord], steps: Vec<Step>) -> Result<(), ViewError> {
    make_storable(records, &topics());
    store.apply(&Batch::read(records, &topics(), steps)?)
}

/// Rows that the reading thread has prepared are stored as those that nobody has, be they new or known.
#[test]
fn prepared_rows_are_stored_as_others_are() {
    for (one, other) in Database::all(&library()).into_iter().zip(Database::all(&library())) {
        let contents_of = |database: &Database, prepares: bool| {
            let mut store = database.open().unwrap();
            store.claim(None).unwrap();
            for (title, steps) in [("Old", step(None, 1)), ("New", step(Some(1), 2))] {
                let mut records = one_work(0, 1);
                let mut told = work(title);
                told["tags"] = serde_json::json!(["a \"b\"", title]);
                records[0].value = Some(told.to_string().into_bytes());
                let mut batch = Batch::read(&records, &topics(), steps).unwrap();
                if prepares {
                    batch.changes.iter_mut().for_each(store.preparation());
                }
                store.apply(&batch).unwrap();
            }
            database.query("SELECT * FROM works")
        };
        let prepared = contents_of(&one, true);
        assert!(prepared[0].contains("2026-") && prepared[0].contains("New"), "{prepared:?}");
        assert_eq!(prepared, contents_of(&other, false));
    }
}

#[test]
fn replayed_records_change_nothing() {
    for database in Database::all(&library()) {
        let log = log_of(&library());
        fill(&log);
        run_to_end(&database, &log);
        let before = contents(&database);
        // The same records again, with offsets as if they had not been seen.
        database.execute("UPDATE view_offsets SET next_offset = 0");
        let status = run_to_end(&database, &log);
        assert_eq!((status.records, status.rebuilds), (4, 0));
        assert_eq!(contents(&database), before);
    }
}

#[test]
fn a_superseded_instance_cannot_write() {
    for database in Database::all(&library()) {
        let (mut old, mut new) = (database.open().unwrap(), database.open().unwrap());
        let first = old.claim(None).unwrap();
        apply(&mut *old, &mut one_work(0, 1), step(None, 1)).unwrap();
        assert!(new.claim(None).unwrap() > first);
        let error = apply(&mut *old, &mut one_work(1, 2), step(Some(1), 2)).unwrap_err();
        assert!(matches!(error, ViewError::Superseded { .. }), "{error}");
        assert_eq!((error.domain(), error.may_pass()), (Domain::Superseded, false));
        assert!(matches!(old.reset(), Err(ViewError::Superseded { .. })));
        assert!(matches!(old.claim(Some(first)), Err(ViewError::Superseded { .. })));
        assert_eq!(database.query("SELECT id FROM works"), [id(1)]);
        apply(&mut *new, &mut one_work(1, 3), step(Some(1), 2)).unwrap();
        assert_eq!(database.query("SELECT id FROM works ORDER BY id"), [id(1), id(3)]);
    }
}

#[test]
fn offsets_move_only_from_where_they_are_expected() {
    for database in Database::all(&library()) {
        let mut store = database.open().unwrap();
        store.claim(None).unwrap();
        apply(&mut *store, &mut one_work(0, 1), step(None, 1)).unwrap();
        for expected in [None, Some(0), Some(2)] {
            let error = apply(&mut *store, &mut one_work(1, 2), step(expected, 2)).unwrap_err();
            assert!(matches!(error, ViewError::OffsetsMoved { .. }), "{error}");
        }
        assert_eq!(database.query("SELECT id FROM works"), [id(1)]);
        let offsets = store.offsets().unwrap();
        let stored = offsets[&TopicPartition::new(WORKS, 0)];
        assert_eq!((offsets.len(), stored.next), (1, 1));
        assert!(stored.age < TIMEOUT);
    }
}

#[test]
fn of_two_racing_writers_each_offset_is_moved_by_one() {
    for database in Database::all(&library()) {
        let held = database.open().unwrap().claim(None).unwrap();
        let wins: usize = std::thread::scope(|scope| {
            let writer = |writer: usize| {
                // Both claim to be the same instance, as after a restored database.
                let mut store = database.open().unwrap();
                store.claim(Some(held)).unwrap();
                let mut wins = 0;
                for offset in 0..20_i64 {
                    let expected = (offset > 0).then_some(offset);
                    match apply(&mut *store, &mut one_work(offset, writer), step(expected, offset + 1)) {
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
    for database in Database::all(&library()) {
        let log = log_of(&library());
        fill(&log);
        let old = start(&database, &log);
        catch_up(&old, &log);
        let new = start(&database, &log);
        catch_up(&new, &log);
        put(&log, WORKS, &id(7), &work("After the change"));
        catch_up(&new, &log);
        let deadline = Instant::now() + TIMEOUT;
        while old.failure().is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(matches!(*old.stop().unwrap_err(), ViewError::Superseded { .. }));
        put(&log, WORKS, &id(8), &work("Later still"));
        catch_up(&new, &log);
        new.stop().unwrap();
        assert_eq!(database.count("works"), 3);
    }
}

#[test]
fn dropped_tables_are_made_anew_while_running_and_between_runs() {
    for database in Database::all(&library()) {
        let log = log_of(&library());
        fill(&log);
        let view = start(&database, &log);
        catch_up(&view, &log);
        let before = contents(&database);
        database.execute("DROP TABLE works");
        put(&log, WORKS, &id(9), &work("Another"));
        let deadline = Instant::now() + TIMEOUT;
        let events = || std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| database.count("works")));
        while view.failure().is_none() && Instant::now() < deadline && events().unwrap_or(0) < 2 {
            std::thread::sleep(Duration::from_millis(20));
        }
        catch_up(&view, &log);
        let after = contents(&database);
        assert_eq!(after["works"].len(), 2);
        assert_eq!(after["notes"], before["notes"]);
        view.stop().unwrap();

        match &database.place {
            Place::Sqlite { config, .. } => std::fs::remove_dir_all(config.path.parent().unwrap()).unwrap(),
            Place::Postgres { schema, .. } => database.execute(&format!("DROP SCHEMA \"{schema}\" CASCADE")),
        }
        run_to_end(&database, &log);
        assert_eq!(contents(&database), after);
    }
}

#[test]
fn a_recreated_topic_is_noticed() {
    for database in Database::all(&library()) {
        let log = log_of(&library());
        fill(&log);
        for number in 20..40 {
            put(&log, WORKS, &id(number), &work("Old world"));
        }
        run_to_end(&database, &log);
        log.create(WORKS, 2);
        put(&log, WORKS, &id(1), &work("New world"));
        let status = run_to_end(&database, &log);
        assert_eq!(status.rebuilds, 1);
        assert_eq!(database.query("SELECT title FROM works"), ["New world"]);
        assert_eq!(database.count("notes"), 1);
    }
}

#[test]
fn a_partition_that_appears_is_read_while_running_and_after_a_restart() {
    let database = Database::sqlite(library());
    let log = log_of(&library());
    fill(&log);
    let view = start(&database, &log);
    catch_up(&view, &log);
    let before = database.count("works");
    log.grow(WORKS).unwrap();
    let put = |number: usize| {
        let value = work("In a new partition").to_string();
        append(&log, WORKS, 2, Some(id(number).as_bytes()), Some(value.as_bytes()));
    };
    put(901);
    catch_up(&view, &log);
    assert_eq!(database.count("works"), before + 1);
    view.stop().unwrap();
    put(902);
    assert_eq!(run_to_end(&database, &log).rebuilds, 0);
    assert_eq!(database.count("works"), before + 2);
}

#[test]
fn offsets_that_are_gone_lead_to_a_rebuild() {
    for database in Database::all(&library()) {
        let log = log_of(&library());
        fill(&log);
        let view = start(&database, &log);
        catch_up(&view, &log);
        view.stop().unwrap();
        for _ in 0..10 {
            append_with(&log, LETTERS, 0, None, Some(b"x"), dead_letter_headers(b"r"));
        }
        log.expire(LETTERS, 0, 5).unwrap();
        let status = run_to_end(&database, &log);
        assert_eq!(status.rebuilds, 1);
        assert_eq!(database.query("SELECT min(record_offset), count(*) FROM dead_letters"), ["5|6"]);
    }
}

#[test]
fn a_view_that_may_have_missed_tombstones_rebuilds_itself() {
    for database in Database::all(&library()) {
        let log = log_of(&library());
        fill(&log);
        run_to_end(&database, &log);
        // A tombstone comes and is compacted away while the view is not there.
        tombstone(&log, WORKS, &id(1));
        log.compact_away(WORKS, id(1).as_bytes()).unwrap();
        let hours_ago = |hours| match database.is_postgres() {
            true => format!("UPDATE view_offsets SET updated_at = now() - interval '{hours} hours'"),
            false => {
                format!("UPDATE view_offsets SET updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-{hours} hours')")
            }
        };
        database.execute(&hours_ago(25));
        let status = run_to_end(&database, &log);
        assert_eq!((status.rebuilds, database.count("works")), (1, 0));
        // Away for as long, with nothing unread: no tombstone can have been missed.
        database.execute(&hours_ago(25));
        assert_eq!(run_to_end(&database, &log).rebuilds, 0);
        // Unread records, but not away for too long.
        database.execute(&hours_ago(23));
        put(&log, WORKS, &id(4), &work("Four"));
        assert_eq!(run_to_end(&database, &log).rebuilds, 0);
    }
}

#[test]
fn text_is_searched_and_the_search_follows_changes() {
    for database in Database::all(&library()) {
        let search = |words: &str| {
            let condition = match database.is_postgres() {
                true => format!("search @@ websearch_to_tsquery('simple', '{words}')"),
                false => format!("search IN (SELECT rowid FROM works_search('{words}'))"),
            };
            database.query(&format!("SELECT title FROM works WHERE {condition} ORDER BY title"))
        };
        let log = log_of(&library());
        put(&log, WORKS, &id(1), &work("Jazz Night"));
        put(&log, WORKS, &id(2), &work("Poetry Slam"));
        let view = start(&database, &log);
        catch_up(&view, &log);
        assert_eq!(search("jazz"), ["Jazz Night"]);
        assert_eq!(search("improvised stories"), ["Jazz Night", "Poetry Slam"]);
        // Tags are not among the searched columns.
        assert_eq!(search("short"), Vec::<String>::new());
        put(&log, WORKS, &id(1), &work("Blues Night"));
        tombstone(&log, WORKS, &id(2));
        catch_up(&view, &log);
        assert_eq!(search("jazz"), Vec::<String>::new());
        assert_eq!(search("improvised"), ["Blues Night"]);
        view.stop().unwrap();
    }
}

#[test]
fn a_view_that_is_behind_reads_ahead_and_shows_the_same() {
    for database in Database::all(&library()) {
        let log = log_of(&library());
        for round in ["Old", "New"] {
            for number in 0..300 {
                put(&log, WORKS, &id(number), &work(round));
            }
            let half = work("Half").to_string().replace("\"capacity\":150", "\"capacity\":\"\\ud800\"");
            append(&log, WORKS, 1, Some(id(1_000).as_bytes()), Some(half.as_bytes()));
        }
        for number in 0..100 {
            tombstone(&log, WORKS, &id(number));
        }
        let batch = BatchConfig { records: 40, bytes: 20_000, interval_ms: 5 };
        let view = start_with(&database, &log, ViewOptions { batch, ..ViewOptions::default() });
        catch_up(&view, &log);
        let status = view.status();
        view.stop().unwrap();
        let skipped = if database.is_postgres() { 2 } else { 0 };
        assert_eq!((status.records, status.skipped, status.lag), (702, skipped, 0));
        assert_eq!(database.query("SELECT count(*) FROM works WHERE title = 'New'"), ["200"]);
        assert_eq!(database.query("SELECT count(*) FROM works WHERE title = 'Old'"), ["0"]);
        assert_eq!(run_to_end(&database, &log).records, 0);
    }
}

#[test]
fn values_that_cannot_be_stored_are_left_out_and_the_rest_goes_on() {
    for database in Database::all(&library()) {
        let log = log_of(&library());
        let mut nul = work("No\0 NUL");
        nul["summary"] = json!("a\0b");
        nul["extra"] = json!({"k\0": ["\0"]});
        put(&log, WORKS, &id(1), &nul);
        append(&log, WORKS, 0, Some(id(2).as_bytes()), Some(b"{\"format\":1,\"title\":"));
        append(&log, WORKS, 0, None, Some(work("No key").to_string().as_bytes()));
        for number in 10..30 {
            put(&log, WORKS, &id(number), &work("Fine"));
        }
        // Half of a surrogate pair: JSON to some, to Postgres not.
        let half = work("Half").to_string().replace("\"capacity\":150", "\"capacity\":\"\\ud800\"");
        append(&log, WORKS, 0, Some(id(4).as_bytes()), Some(half.as_bytes()));
        let status = run_to_end(&database, &log);
        assert_eq!(status.skipped, if database.is_postgres() { 3 } else { 2 });
        assert_eq!(database.query("SELECT count(*) FROM works WHERE title = 'Fine'"), ["20"]);
        let row = database.query("SELECT title, summary, document ->> 'title' FROM works WHERE title LIKE 'No%'");
        assert_eq!(row, ["No NUL|ab|No NUL"]);
        assert_eq!(run_to_end(&database, &log).records, 0);
    }
}

#[test]
fn a_newer_format_ends_the_view_and_names_the_record() {
    for database in Database::all(&library()) {
        let log = log_of(&library());
        let offset = put(&log, WORKS, &id(1), &json!({"format": 7, "title": "T"}));
        let view = start(&database, &log);
        assert!(!view.wait_until(&log.ends(), TIMEOUT));
        let error = view.stop().unwrap_err();
        assert!(matches!(&*error, ViewError::NewerFormat { offset: at, format: 7, .. } if *at == offset), "{error}");
        assert_eq!(database.count("works"), 0);
    }
}

#[test]
fn a_log_that_is_away_is_waited_for() {
    for database in Database::all(&library()) {
        let log = log_of(&library());
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
        assert_eq!(database.count("works"), 1);
    }
}

#[test]
fn an_unreachable_database_is_tried_again_and_stopping_does_not_wait_for_it() {
    let mut config = PostgresConfig::new("postgres://ann:s3cret@127.0.0.1:1/town");
    config.connect_timeout_secs = 1;
    let error = config.check(&library()).unwrap_err();
    assert!(matches!(error, ViewError::Unreachable { .. }) && error.may_pass(), "{error}");
    let message = error.to_string();
    assert!(message.starts_with("cannot reach postgres://ann@127.0.0.1:1/town: "), "{message}");
    assert!(message.contains("refused") && error.hint().is_some(), "{message}");
    let open: OpenStore = Box::new(move || Ok(Box::new(PostgresStore::open(&config, &library())?)));
    let stop = Arc::new(AtomicBool::new(false));
    let view = View::start("test", Arc::new(log_of(&library())), topics(), options(), open, stop).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert!(view.failure().is_none() && view.status().trouble.is_some());
    let started = Instant::now();
    view.stop().unwrap();
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[test]
fn refusals_of_postgres_say_what_is_wrong() {
    let Some(database) = Database::postgres(library()) else { return };
    let Place::Postgres { config, .. } = &database.place else { return };
    let found = config.check(&library()).unwrap();
    assert!(found.contains("PostgreSQL") && found.contains("to be created"), "{found}");
    let server: postgres::Config = config.url.parse().unwrap();
    let role = format!("reader_{}", std::process::id());
    database.execute(&format!("CREATE ROLE {role} LOGIN PASSWORD 'right'"));
    let other = |password: &str, database: &str| {
        let postgres::config::Host::Tcp(host) = &server.get_hosts()[0] else { panic!("not TCP") };
        let url = format!("postgres://{role}:{password}@{host}:{}/{database}", server.get_ports()[0]);
        PostgresConfig { url, ..config.clone() }.check(&library())
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
    assert!(config.check(&library()).unwrap().contains("to be created"));
    std::fs::write(&config.path, "these are notes, not a database, and long enough to be read as a header").unwrap();
    assert!(matches!(config.check(&library()), Err(ViewError::Damaged { .. })));
    assert!(matches!(SqliteStore::open(&config, &library()).map(|_| ()), Err(ViewError::Damaged { .. })));
    let below_file = SqliteConfig::new(PathBuf::from("/dev/null/view.sqlite"));
    assert!(matches!(below_file.check(&library()), Err(ViewError::Denied { .. })));
    assert!(matches!(SqliteStore::open(&below_file, &library()).map(|_| ()), Err(ViewError::Denied { .. })));
}

#[test]
fn a_view_survives_the_loss_of_its_connection_at_any_moment() {
    let Some(database) = Database::postgres(library()) else { return };
    let Place::Postgres { config, .. } = &database.place else { return };
    // Told apart from the connections of other tests by the application's name.
    let name = format!("view_{}", std::process::id());
    let separator = if config.url.contains('?') { '&' } else { '?' };
    let config = PostgresConfig { url: format!("{}{separator}application_name={name}", config.url), ..config.clone() };
    let open: OpenStore = Box::new(move || Ok(Box::new(PostgresStore::open(&config, &library())?)));
    let log = log_of(&library());
    let batch = BatchConfig { records: 7, interval_ms: 1, ..BatchConfig::default() };
    let options = ViewOptions { batch, ..ViewOptions::default() };
    let stop = Arc::new(AtomicBool::new(false));
    let view = View::start("test", Arc::new(log.clone()), topics(), options, open, stop).unwrap();
    let mut killed = 0;
    for number in 0..600 {
        put(&log, WORKS, &id(number), &work("Event"));
        if number % 3 == 0 {
            tombstone(&log, WORKS, &id(number / 2));
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
    assert_eq!(database.query("SELECT id FROM works ORDER BY id"), expected);
}

#[test]
fn old_dead_letters_leave_the_table_with_their_topic() {
    for database in Database::all(&library()) {
        let log = log_of(&library());
        for _ in 0..4 {
            append_with(&log, LETTERS, 1, None, Some(b"x"), dead_letter_headers(b"r"));
        }
        run_to_end(&database, &log);
        let mut store = database.open().unwrap();
        store.claim(None).unwrap();
        let forget = vec![(TopicPartition::new(LETTERS, 1), 3)];
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
        let log = log_of(&library());
            let (mut events, mut redirects) = (BTreeMap::new(), BTreeMap::new());
        for (number, action) in actions {
            let key = id(number);
            match action {
                Action::Event(title) => {
                    put(&log, WORKS, &key, &work(&title.to_string()));
                    redirects.remove(&key);
                    events.insert(key, title.to_string());
                }
                Action::Redirect => {
                    put(&log, WORKS, &key, &json!({"format": 1, "alias_of": id(9)}));
                    events.remove(&key);
                    redirects.insert(key, id(9));
                }
                Action::Delete => {
                    tombstone(&log, WORKS, &key);
                    events.remove(&key);
                    redirects.remove(&key);
                }
                Action::Damage => {
                    put(&log, WORKS, &key, &json!({"format": 1}));
                }
            }
        }
        let database = Database::sqlite(library());
        let batch = BatchConfig { records: size, ..BatchConfig::default() };
        let view = start_with(&database, &log, ViewOptions { batch, ..ViewOptions::default() });
        catch_up(&view, &log);
        view.stop().unwrap();
        let lines = |map: BTreeMap<String, String>| map.into_iter().map(|(k, v)| format!("{k}|{v}")).collect::<Vec<_>>();
        prop_assert_eq!(database.query("SELECT id, title FROM works ORDER BY id"), lines(events));
        prop_assert_eq!(database.query("SELECT id, alias_of FROM aliases ORDER BY id"), lines(redirects));
        // Fails unless the full-text index holds exactly what the table holds.
        database.execute("INSERT INTO works_search (works_search, rank) VALUES ('integrity-check', 1)");
    }
}

/// Has the layout of its declaration changed, the tables are made anew and filled from the topics, and who
/// has written the former ones cannot write these.
#[test]
fn a_changed_declaration_makes_the_tables_anew() {
    for database in Database::all(&library()) {
        let log = log_of(&library());
        fill(&log);
        put(&log, NOTES, &id(12), &json!({"format": 1, "order": 0, "text": "in a drawer"}));
        let old = start(&database, &log);
        catch_up(&old, &log);
        let changed = database.with(later::library());
        assert!(changed.check().unwrap().contains("laid out otherwise"), "{:?}", changed.check());
        assert_eq!(run_to_end(&changed, &log).records, 5);
        assert_eq!(database.query("SELECT * FROM notes"), [format!("{}|in a drawer", id(12))]);
        assert_eq!(database.query("SELECT * FROM shelves"), [format!("{}|7", id(11))]);
        assert_eq!(database.count("works"), 1);
        assert!(changed.check().unwrap().contains("laid out as declared"), "{:?}", changed.check());
        put(&log, NOTES, &id(13), &json!({"format": 1, "order": 0, "text": "by nobody"}));
        let deadline = Instant::now() + TIMEOUT;
        while old.failure().is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(matches!(*old.stop().unwrap_err(), ViewError::Superseded { .. }));
        assert_eq!(run_to_end(&changed, &log).records, 1);
    }
}

#[test]
fn a_superseded_instance_does_not_lay_out_its_tables_again() {
    for database in Database::all(&library()) {
        let mut old = database.open().unwrap();
        let held = old.claim(None).unwrap();
        let mut new = database.with(later::library()).open().unwrap();
        assert!(new.claim(None).unwrap() > held);
        // It has lost its connection, and opens its store again.
        assert!(matches!(database.open().unwrap().claim(Some(held)), Err(ViewError::Superseded { .. })));
        assert_eq!(database.count("shelves"), 0);
    }
}

#[test]
fn the_tables_of_another_topology_are_not_touched() {
    for database in Database::all(&library()) {
        let log = log_of(&library());
        fill(&log);
        run_to_end(&database, &log);
        let before = contents(&database);
        let other = database.with(ViewSpec::new("museum"));
        for error in [other.open().map(|_| ()).unwrap_err(), other.check().map(|_| ()).unwrap_err()] {
            assert!(matches!(error, ViewError::Foreign { .. }), "{error}");
            assert_eq!((error.domain(), error.may_pass()), (Domain::User, false));
        }
        assert_eq!(contents(&database), before);
        assert_eq!(run_to_end(&database, &log).rebuilds, 0);
    }
}

/// Each in a schema that is called as the topology.
#[test]
fn two_topologies_share_a_database_of_postgres() {
    let Some(database) = Database::postgres(library()) else { return };
    let Place::Postgres { config, .. } = &database.place else { return };
    let config = PostgresConfig { schema: None, ..config.clone() };
    let name = |topology: &str| format!("{topology} of {}", std::process::id());
    let named = |topology: &str| {
        let spec = ViewSpec::new(name(topology));
        let place = Place::Postgres { config: config.clone(), schema: name(topology) };
        database.with(spec).at(place)
    };
    let databases = [named("a library"), named("a museum")];
    for (number, database) in databases.iter().enumerate() {
        let log = log_of(&database.spec);
        for _ in 0..=number {
            append_with(&log, LETTERS, 0, None, Some(b"x"), dead_letter_headers(b"r"));
        }
        run_to_end(database, &log);
    }
    let counts: Vec<u64> = databases.iter().map(|database| database.count("dead_letters")).collect();
    for topology in ["a library", "a museum"] {
        database.execute(&format!("DROP SCHEMA \"{}\" CASCADE", name(topology)));
    }
    assert_eq!(counts, [1, 2]);
}

/// A store that cannot be emptied the first time.
struct Stubborn {
    store: Box<dyn ViewStore>,
    refuses: Arc<AtomicBool>,
}

impl ViewStore for Stubborn {
    fn claim(&mut self, held: Option<Generation>) -> Result<Generation, ViewError> {
        self.store.claim(held)
    }

    fn offsets(&mut self) -> Result<BTreeMap<TopicPartition, Stored>, ViewError> {
        self.store.offsets()
    }

    fn apply(&mut self, batch: &Batch<'_>) -> Result<(), ViewError> {
        assert!(!self.refuses.load(Ordering::SeqCst), "something was written to tables that are to be emptied");
        self.store.apply(batch)
    }

    fn reset(&mut self) -> Result<(), ViewError> {
        if self.refuses.swap(false, Ordering::SeqCst) {
            return Err(ViewError::Unreachable { at: "here".to_owned(), reason: "it is stubborn".to_owned() });
        }
        self.store.reset()
    }
}

#[test]
fn a_rebuild_that_fails_is_done_by_the_next_session() {
    for database in Database::all(&library()) {
        let log = log_of(&library());
        fill(&log);
        put(&log, WORKS, &id(3), &work("Gone before long"));
        run_to_end(&database, &log);
        // A tombstone comes and goes, and with it the offsets that the view would need to see it.
        tombstone(&log, WORKS, &id(3));
        log.compact_away(WORKS, id(3).as_bytes()).unwrap();
        let end = log.ends().into_iter().filter(|(at, _)| *at.topic == *WORKS).map(|(_, end)| end).max().unwrap();
        (0..2).for_each(|partition| log.expire(WORKS, partition, end).unwrap());
        let refuses = Arc::new(AtomicBool::new(true));
        let (mut open, stubborn) = (database.opener(), Arc::clone(&refuses));
        let open: OpenStore =
            Box::new(move || Ok(Box::new(Stubborn { store: open()?, refuses: Arc::clone(&stubborn) })));
        let view = start_from(&database, &log, options(), open);
        catch_up(&view, &log);
        assert!(!refuses.load(Ordering::SeqCst));
        view.stop().unwrap();
        assert_eq!(database.count("works"), 0);
    }
}

#[test]
fn declared_indexes_serve_queries() {
    for database in Database::all(&library()) {
        drop(database.open().unwrap());
        let usual = [
            ("SELECT * FROM works WHERE published > '2026-01-01'", "works_published_pages"),
            ("SELECT * FROM works WHERE price = 7", "works_price"),
        ];
        for (query, index) in usual {
            // Empty tables need no index: Postgres is forbidden to scan, and SQLite told which to use,
            // which fails where the index cannot serve the query.
            let explain = match database.is_postgres() {
                true => format!("SET enable_seqscan TO off; EXPLAIN {query}"),
                false => {
                    format!("EXPLAIN QUERY PLAN {}", query.replacen(" WHERE", &format!(" INDEXED BY {index} WHERE"), 1))
                }
            };
            let plan = database.query(&explain).join("\n");
            assert!(plan.contains(index), "{query}: {plan}");
        }
    }
}

/// Somebody's own SQL views do not keep a view from making its tables: they stay where their tables can
/// stay, and go where these have to.
#[test]
fn own_sql_views_do_not_end_the_view() {
    for database in Database::all(&library()) {
        let log = log_of(&library());
        fill(&log);
        run_to_end(&database, &log);
        database.execute("CREATE VIEW titles AS SELECT title FROM works");
        database.execute("CREATE VIEW loud_titles AS SELECT upper(title) AS title FROM titles");
        // A table is missing; the one that the views read is not.
        database.execute("DROP TABLE notes");
        let status = run_to_end(&database, &log);
        assert_eq!((status.records, database.count("notes"), database.count("aliases")), (4, 1, 1));
        assert_eq!(database.query("SELECT title FROM loud_titles"), ["JAZZ NIGHT"]);
        // So it is while the view runs.
        let view = start(&database, &log);
        catch_up(&view, &log);
        database.execute("DROP TABLE notes");
        put(&log, NOTES, &id(12), &json!({"format": 1, "order": 1, "text": "below"}));
        let deadline = Instant::now() + TIMEOUT;
        let notes = || std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| database.count("notes")));
        while view.failure().is_none() && Instant::now() < deadline && notes().unwrap_or(0) < 2 {
            std::thread::sleep(Duration::from_millis(20));
        }
        catch_up(&view, &log);
        view.stop().unwrap();
        assert_eq!((database.count("notes"), database.count("works")), (2, 1));
        assert_eq!(database.query("SELECT title FROM loud_titles"), ["JAZZ NIGHT"]);
        // Tables that are laid out otherwise have to go, and the views of Postgres with them.
        let changed = database.with(later::library());
        assert_eq!(run_to_end(&changed, &log).records, 5);
        let views = match database.is_postgres() {
            true => "SELECT count(*) FROM pg_views WHERE schemaname = current_schema()",
            false => "SELECT count(*) FROM sqlite_schema WHERE type = 'view'",
        };
        assert_eq!(database.query(views), [if database.is_postgres() { "0" } else { "2" }]);
    }
}
