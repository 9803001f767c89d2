//! The configurations that come with Headwater.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use discovery::config::{Config, Sections};
use discovery::place_jobs::JobsSection;
use headwater::config::{LogKind, Sources, load};
use headwater::view::PostgresConfig;

/// Which allocator there is, is for a program to choose: this one does not link where a library has chosen.
#[global_allocator]
static ALLOCATOR: std::alloc::System = std::alloc::System;

fn configuration(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config").join(name)
}

fn loaded(file: PathBuf) -> Config {
    match load::<Sections>(&Sources { file: Some(file), ..Sources::default() }) {
        Ok(loaded) => loaded.config,
        Err(errors) => panic!("{errors}"),
    }
}

#[test]
fn the_quickstart_needs_nothing_but_itself() {
    let config = loaded(configuration("quickstart.toml"));
    assert_eq!(config.runtime.log.kind, LogKind::Embedded);
    assert!(
        config.topology.generate.is_some()
            && config.runtime.views.sqlite.is_some()
            && config.runtime.views.postgres.is_none()
    );
    assert_eq!(config.topology.sources.len(), 6);
}

#[test]
fn what_discovery_shows_as_defaults_are_the_defaults() {
    let mut config = loaded(configuration("discovery.toml"));
    assert_eq!(config.runtime.log.kind, LogKind::Kafka);
    config.runtime.log.kind = LogKind::Embedded;
    let postgres = config.runtime.views.postgres.take().unwrap();
    // By default it is called as the topology's views.
    assert_eq!(postgres.schema.as_deref(), Some("headwater"));
    let default = PostgresConfig { schema: postgres.schema.clone(), ..PostgresConfig::new(postgres.url.clone()) };
    assert_eq!(format!("{postgres:?}"), format!("{default:?}"));
    assert_eq!(format!("{config:#?}"), format!("{:#?}", Config::default()));
}

#[test]
fn what_discovery_leaves_out_is_right_too() {
    let text = std::fs::read_to_string(configuration("discovery.toml")).unwrap();
    let is_option = |line: &str| line.starts_with(|c: char| c.is_ascii_lowercase() || matches!(c, '[' | '"'));
    let mut options: Vec<&str> =
        text.lines().map(|line| line.strip_prefix('#').filter(|l| is_option(l)).unwrap_or(line)).collect();
    assert!(options.iter().filter(|line| line.starts_with("include")).count() == 1);
    options.retain(|line| !line.starts_with("include"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("discovery.toml");
    std::fs::write(&file, options.join("\n")).unwrap();
    let config = loaded(file);
    let only = BTreeMap::from_iter(config.runtime.topics.only.clone());
    assert_eq!(only.get("raw.events").unwrap().partitions, Some(12));
    assert!(config.topology.sources.contains_key("city") && config.topology.sources.contains_key("town-hall"));
    assert_eq!(config.topology.taxonomy.categories.len(), 2);
    assert!(config.runtime.views.sqlite.is_some() && config.topology.generate.is_some());
    assert_eq!(config.topology.jobs, Some(JobsSection::default()));
}

/// The configuration in the ConfigMap, which is a text in a YAML file.
#[test]
fn the_stateful_set_has_a_process_for_each_replica() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/kubernetes/headwater.yaml");
    let yaml = std::fs::read_to_string(file).unwrap();
    let inside = yaml.lines().skip_while(|line| line.trim() != "discovery.toml: |").skip(1);
    let toml: Vec<&str> = inside.take_while(|line| *line != "---").map(|line| line.get(4..).unwrap_or("")).collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("discovery.toml");
    std::fs::write(&file, toml.join("\n")).unwrap();
    let variables = [("HEADWATER_DATABASE_URL", "postgres://db/x"), ("HEADWATER__CLUSTER__PROCESS", "1")];
    let environment = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let sources = Sources { file: Some(file), environment, ..Sources::default() };
    let config = load::<Sections>(&sources).unwrap_or_else(|errors| panic!("{errors}")).config;
    let cluster = config.runtime.cluster.options(&Arc::default()).unwrap();
    assert_eq!((cluster.process, cluster.listen.as_str()), (1, "0.0.0.0:2101"));
    assert!(yaml.contains(&format!("replicas: {}\n", cluster.addresses.len())), "{:?}", cluster.addresses);
    assert!(config.runtime.views.postgres.is_some() && config.runtime.admin.address().is_some());
}

#[test]
fn problems_of_every_section_have_their_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.toml");
    let text = "[limits]\nmax_nesting = 0\n[sources.a]\ntimezone = 'Mars/Olympus'\ntrust = 2\n\
                [extract.defaults]\ntimezone = 'Nowhere'\n[resolve]\nthreshold = 1.5\n[score]\npas = 0.5\npass = 7\n\
                [generate.generate]\ncities = 99\n[[taxonomy.categories]]\nname = 'A'\nparent = 'B'\n\
                [window]\nsize_ms = 0\n[sources.b.mapping]\nid = 'id'\n";
    std::fs::write(&file, text).unwrap();
    let errors = load::<Sections>(&Sources { file: Some(file), ..Sources::default() }).unwrap_err().to_string();
    let shown = errors.replace(&format!("{}/", folder.path().display()), "");
    for line in [
        "c.toml:2:15: limits.max_nesting: ",
        "c.toml:4:12: sources.a.timezone: ",
        "c.toml:5:9: sources.a.trust: must be between 0 and 1",
        "c.toml:7:12: extract.defaults.timezone: ",
        "c.toml:9:13: resolve.threshold: 1.5 is not in 0..=1",
        "c.toml:11:1: score.pas: unknown key\n  hint: did you mean `pass`?",
        "c.toml:12:8: score.pass: 7 is not between 0 and 1",
        "c.toml:14:10: generate.generate.cities: ",
        "c.toml:15:1: taxonomy.categories[0]: parent \"B\" of category \"A\" is not a category",
        "c.toml:19:11: window.size_ms: must be from 1 to 4294967295, and is 0",
        "c.toml:21:6: sources.b.mapping.id: ",
    ] {
        assert!(shown.contains(line), "{line}\nis not in\n{shown}");
    }
    assert!(shown.starts_with("the configuration has 14 problems"), "{shown}");
}
