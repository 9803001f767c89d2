//! The configuration that comes with the topology.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use headwater::config::{Config, LogKind, Sources, load};
use headwater::view::PostgresConfig;
use jobs::Settings;

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
    let mut config = loaded(repository("config/jobs.toml"));
    assert_eq!(config.runtime.log.kind, LogKind::Kafka);
    config.runtime.log.kind = LogKind::Embedded;
    // A table of queues without keys says nothing.
    assert_eq!(config.topology.queues.remove("*"), Some(jobs::scheduler::QueueSettings::default()));
    let postgres = config.runtime.views.postgres.take().unwrap();
    // By default it is called as the topology's views.
    assert_eq!(postgres.schema.as_deref(), Some("jobs"));
    let default = PostgresConfig { schema: postgres.schema.clone(), ..PostgresConfig::new(postgres.url.clone()) };
    assert_eq!(format!("{postgres:?}"), format!("{default:?}"));
    assert_eq!(format!("{config:#?}"), format!("{:#?}", Config::<Settings>::default()));
}

#[test]
fn what_is_left_out_is_right_too() {
    let text = std::fs::read_to_string(repository("config/jobs.toml")).unwrap();
    let is_option = |line: &str| line.starts_with(|c: char| c.is_ascii_lowercase() || matches!(c, '[' | '"'));
    let options = text.lines().map(|line| line.strip_prefix('#').filter(|l| is_option(l)).unwrap_or(line));
    let options: Vec<&str> = options.filter(|line| !line.starts_with("include")).collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jobs.toml");
    std::fs::write(&file, options.join("\n")).unwrap();
    let config = loaded(file);
    assert_eq!(config.runtime.topics.only.get("job-commands").unwrap().partitions, Some(12));
    assert_eq!(config.runtime.inputs[0].source.as_deref(), Some("jobs"));
    assert!(config.runtime.views.sqlite.is_some());
}

#[test]
fn what_is_wrong_has_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.toml");
    let text =
        "[queues.mail]\nrate = 'often'\nconcurency = 3\n[queues.'a b']\nattempts = 0\n[retention]\ndone = '1 year'\n";
    std::fs::write(&file, text).unwrap();
    let errors = load::<Settings>(&Sources { file: Some(file), ..Sources::default() }).unwrap_err().to_string();
    let shown = errors.replace(&format!("{}/", folder.path().display()), "");
    for line in [
        "c.toml:2:8: queues.mail.rate: \"often\" is no rate; write for instance \"100 / min\"",
        "c.toml:3:1: queues.mail.concurency: unknown key\n  hint: did you mean `concurrency`?",
        "c.toml:7:8: retention.done: ",
    ] {
        assert!(shown.contains(line), "{line}\nis not in\n{shown}");
    }
}
