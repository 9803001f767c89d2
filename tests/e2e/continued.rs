//! The log and the tables that release 0.1 has left: the present binary goes on from them.
//!
//! Its operators see more than those of 0.1 did: coordinates of more cities, and no source for a status or a place
//! online that nobody has stated. So a first start corrects such events, and nothing else.

use std::path::{Path, PathBuf};
use std::process::Command;

use rusqlite::Connection;
use rusqlite::types::Value;
use tempfile::TempDir;

/// What operators later than 0.1 tell otherwise of an event, and a column that tables have since.
const IMPROVED: [&str; 7] =
    ["latitude", "longitude", "geo_precision", "quality_score", "quality_grade", "document", "part_of"];

/// Tables of the view, with an order of their rows.
const TABLES: [(&str, &str); 6] = [
    ("events", "id"),
    ("event_redirects", "id"),
    ("listings", "id"),
    ("event_links", "listing_id"),
    ("window_metrics", "key"),
    ("dead_letters", "topic, partition, record_offset"),
];

/// A copy of what release 0.1 has left.
fn left_behind() -> TempDir {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/release-0.1");
    let folder = TempDir::new().unwrap();
    for file in ["log.db", "view.db", "topology.toml", "generated-sources.toml"] {
        std::fs::copy(from.join(file), folder.path().join(file)).unwrap();
    }
    folder
}

/// What the binary prints with `--json`, each line as JSON.
fn discovery(folder: &Path, arguments: &[&str]) -> Vec<serde_json::Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_discovery"))
        .args(["--config", "topology.toml", "--json"])
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// All rows of all tables without what is improved of events, and the version of their layout.
fn contents(view: PathBuf) -> (i64, Vec<Vec<Vec<Value>>>) {
    let view = Connection::open(view).unwrap();
    let version = view.query_row("SELECT max(version) FROM view_migrations", [], |row| row.get(0)).unwrap();
    let rows = |(table, order): (&str, &str)| {
        let mut query = view.prepare(&format!("SELECT * FROM {table} ORDER BY {order}")).unwrap();
        let kept = |column: &str| table != "events" || !IMPROVED.contains(&column);
        let names = query.column_names().enumerate();
        let columns: Vec<usize> = names.filter(|(_, name)| kept(name)).map(|(index, _)| index).collect();
        let row =
            |row: &rusqlite::Row<'_>| columns.iter().map(|column| row.get(*column)).collect::<Result<Vec<Value>, _>>();
        query.query_map([], row).unwrap().map(Result::unwrap).collect()
    };
    (version, TABLES.map(rows).into())
}

/// What a plan says: of each topic how many rows are new or gone, and how many have changed.
fn planned(folder: &Path) -> Vec<(String, i64, i64)> {
    let plan = discovery(folder, &["--plan"]).pop().unwrap();
    assert_eq!(plan["notes"], serde_json::json!([]));
    let of = |topic: &serde_json::Value| {
        let count = |what: &str| topic[what].as_i64().unwrap();
        (topic["topic"].as_str().unwrap().to_owned(), count("new") + count("removed"), count("changed"))
    };
    plan["report"]["topics"].as_array().map(|topics| topics.iter().map(of).collect()).unwrap_or_default()
}

#[test]
fn a_plan_on_the_log_of_release_0_1_changes_events_and_neither_adds_nor_removes() {
    let folder = left_behind();
    let plan = planned(folder.path());
    assert!(plan.iter().all(|(_, come_or_gone, _)| *come_or_gone == 0), "{plan:?}");
    assert!(plan.iter().all(|(topic, _, changed)| *changed == 0 || topic == "events"), "{plan:?}");
    assert!(plan.iter().any(|(topic, ..)| topic == "events") && plan.len() == 7, "{plan:?}");
}

#[test]
fn the_log_and_the_tables_of_release_0_1_are_continued() {
    let folder = left_behind();
    let view = || folder.path().join("view.db");
    let before = contents(view());
    assert!(before.1.iter().filter(|table| !table.is_empty()).count() >= 4);
    let summary = discovery(folder.path(), &["--exit-when-idle", "--yes"]).pop().unwrap();
    let figures = &summary["summary"];
    assert_eq!((&figures["records"], &figures["events"], &figures["listings"]), (&0.into(), &40.into(), &50.into()));
    let after = contents(view());
    assert_eq!(after.1, before.1);
    assert_eq!((before.0, after.0), (4, 5));
    assert_eq!(planned(folder.path()), [], "the next start trusts the outputs");
}
