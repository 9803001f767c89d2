//! The log and the tables that the release before has left: the present binary goes on from them.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;

use rusqlite::Connection;
use rusqlite::types::Value;
use tempfile::TempDir;

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

/// All rows of all tables, and the version of their layout.
fn contents(view: PathBuf) -> (i64, Vec<Vec<Vec<Value>>>) {
    let view = Connection::open(view).unwrap();
    let version = view.query_row("SELECT max(version) FROM view_migrations", [], |row| row.get(0)).unwrap();
    let rows = |(table, order): (&str, &str)| {
        let mut query = view.prepare(&format!("SELECT * FROM {table} ORDER BY {order}")).unwrap();
        let columns = query.column_count();
        let row =
            |row: &rusqlite::Row<'_>| (0..columns).map(|column| row.get(column)).collect::<Result<Vec<Value>, _>>();
        query.query_map([], row).unwrap().map(Result::unwrap).collect()
    };
    (version, TABLES.map(rows).into())
}

#[test]
fn a_plan_on_the_log_of_the_release_before_corrects_nothing() {
    let folder = left_behind();
    let plan = discovery(folder.path(), &["--plan"]).pop().unwrap();
    assert_eq!((&plan["corrections"], &plan["needsConsent"]), (&0.into(), &false.into()), "{plan}");
    assert_eq!(plan["notes"], serde_json::json!([]));
}

#[test]
fn the_log_and_the_tables_of_the_release_before_are_continued() {
    let folder = left_behind();
    let view = || folder.path().join("view.db");
    let before = contents(view());
    assert!(before.1.iter().filter(|table| !table.is_empty()).count() >= 4);
    let summary = discovery(folder.path(), &["--exit-when-idle"]).pop().unwrap();
    let figures = &summary["summary"];
    assert_eq!((&figures["records"], &figures["events"], &figures["listings"]), (&0.into(), &40.into(), &50.into()));
    assert_eq!(summary["corrections"], 0);
    assert_eq!(contents(view()), before);
}
