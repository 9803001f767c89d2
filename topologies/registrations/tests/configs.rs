//! The configuration that comes with the topology, and the page that walks through it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use headwater::config::{Config, LogKind, Sources, load};
use headwater::view::PostgresConfig;
use registrations::Settings;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn loaded(file: PathBuf) -> Config<Settings> {
    match load::<Settings>(&Sources { file: Some(file), ..Sources::default() }) {
        Ok(loaded) => loaded.config,
        Err(errors) => panic!("{errors}"),
    }
}

#[test]
fn what_is_shown_as_defaults_are_the_defaults() {
    let mut config = loaded(repository("config/registrations.toml"));
    assert_eq!(config.runtime.log.kind, LogKind::Kafka);
    config.runtime.log.kind = LogKind::Embedded;
    let postgres = config.runtime.views.postgres.take().unwrap();
    // By default it is called as the topology's views.
    assert_eq!(postgres.schema.as_deref(), Some("registrations"));
    let default = PostgresConfig { schema: postgres.schema.clone(), ..PostgresConfig::new(postgres.url.clone()) };
    assert_eq!(format!("{postgres:?}"), format!("{default:?}"));
    assert_eq!(format!("{config:#?}"), format!("{:#?}", Config::<Settings>::default()));
}

#[test]
fn what_is_left_out_is_right_too() {
    let text = std::fs::read_to_string(repository("config/registrations.toml")).unwrap();
    let is_option = |line: &str| line.starts_with(|c: char| c.is_ascii_lowercase() || matches!(c, '[' | '"'));
    let options = text.lines().map(|line| line.strip_prefix('#').filter(|l| is_option(l)).unwrap_or(line));
    let options: Vec<&str> = options.filter(|line| !line.starts_with("include")).collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("registrations.toml");
    std::fs::write(&file, options.join("\n")).unwrap();
    let config = loaded(file);
    assert_eq!(config.runtime.topics.only.get("raw.registrations").unwrap().partitions, Some(12));
    assert_eq!(config.runtime.inputs[0].source.as_deref(), Some("desk"));
    assert!(config.runtime.views.sqlite.is_some());
}

#[test]
fn what_is_wrong_has_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.toml");
    let text = "events = ''\n[mapping]\nevent = 'event'\nregisterd = []\n[retention]\nkeep = '1 year'\n";
    std::fs::write(&file, text).unwrap();
    let errors = load::<Settings>(&Sources { file: Some(file), ..Sources::default() }).unwrap_err().to_string();
    let shown = errors.replace(&format!("{}/", folder.path().display()), "");
    for line in [
        "c.toml:3:9: mapping.event: \"event\" is no JSON Pointer",
        "c.toml:4:1: mapping.registerd: unknown key\n  hint: did you mean `registered`?",
        "c.toml:6:8: retention.keep: ",
    ] {
        assert!(shown.contains(line), "{line}\nis not in\n{shown}");
    }
}

/// Every piece of Rust on the page "Write a topology" stands in the sources, line for line.
#[test]
fn the_page_shows_the_code_as_it_is() {
    let page = std::fs::read_to_string(repository("docs/topologies.md")).unwrap();
    let lines = |text: &str| text.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>();
    let sources: Vec<Vec<String>> =
        ["src/lib.rs", "src/config.rs", "src/table.rs", "src/tests.rs", "src/bin/registrations.rs"]
            .map(|file| lines(&std::fs::read_to_string(repository("topologies/registrations").join(file)).unwrap()))
            .into();
    let mut pieces = 0;
    for piece in page.split("```rust\n").skip(1) {
        let piece = lines(piece.split("```").next().unwrap());
        let stands = |source: &Vec<String>| source.windows(piece.len()).any(|lines| lines == piece);
        assert!(sources.iter().any(stands), "this is not in the sources:\n{}", piece.join("\n"));
        pieces += 1;
    }
    assert!(pieces >= 6, "{pieces} pieces of code");
}
