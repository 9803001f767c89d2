//! The configuration of a topology: the runtime's sections and its own.

use std::fmt::Debug;

use serde::de::DeserializeOwned;

use super::problem::Invalid;
use super::roles::{TopicRole, TopicRoles};
use super::runtime::{AdminSection, Input, Runtime};

/// The sections of a topology's own: a struct with a field for each of its top-level keys, with
/// `#[serde(default, deny_unknown_fields)]`. No key may be one of [`Runtime`]'s, which would be read
/// there and nowhere else.
///
/// ```
/// use headwater::config::{Config, Invalid, Period, Role, Runtime, Section, Sources, TopicRole, load};
///
/// #[derive(Debug, Clone, serde::Deserialize)]
/// #[serde(default, deny_unknown_fields)]
/// struct Counting {
///     keep: Period,
/// }
///
/// impl Default for Counting {
///     fn default() -> Self {
///         Self { keep: Period::from_days(30) }
///     }
/// }
///
/// impl Section for Counting {
///     const NAME: &'static str = "counting";
///     const PREFIX: &'static str = "counting.";
///     const INPUT: &'static str = "raw.visits";
///
///     fn topics(&self) -> Vec<TopicRole> {
///         vec![("hours".into(), Role::Compacted)]
///     }
///
///     fn validate(&self, _runtime: &Runtime) -> Vec<Invalid> {
///         let empty = self.keep == Period::default();
///         empty.then(|| Invalid::new("keep", "must be longer than nothing")).into_iter().collect()
///     }
/// }
///
/// let flags = vec!["keep=2 days".to_owned(), "workers=3".to_owned()];
/// let config: Config<Counting> = load(&Sources { flags, ..Sources::default() }).unwrap().config;
/// assert_eq!((config.runtime.name.as_str(), config.runtime.workers), ("counting", 3));
/// assert_eq!(config.topology.keep, Period::from_days(2));
/// assert_eq!(config.runtime.topic_spec("hours").name, "counting.hours");
/// ```
pub trait Section: DeserializeOwned + Default + Debug + Clone + Send + Sync + 'static {
    /// Default of the key `name`.
    const NAME: &'static str;
    /// What its binary is called.
    const BINARY: &'static str = Self::NAME;
    /// Default of the key `prefix`. No two topologies on one log may share it: each has its own topics of
    /// progress and of dead letters.
    const PREFIX: &'static str;
    /// Topic (without the prefix) of an input that does not name its own. Where the configuration
    /// has no `inputs`, this one is read.
    const INPUT: &'static str;

    /// Default of the key `admin.listen`. Topologies that run on one machine need ports of their own.
    const ADMIN: &'static str = AdminSection::LISTEN;

    /// The topics that the topology uses beside its inputs, without the prefix, and how each is
    /// used: [`roles`](crate::schema::roles) of what the topology declares. Those of the runtime itself
    /// (dead letters, replays, progress) need not be among them.
    fn topics(&self) -> Vec<TopicRole>;

    /// Everything that is wrong with the sections; empty when they can be used.
    fn validate(&self, runtime: &Runtime) -> Vec<Invalid>;
}

/// The configuration of a topology.
#[derive(Debug, Clone)]
pub struct Config<S> {
    /// The sections that any topology has.
    pub runtime: Runtime,
    /// The topology's own.
    pub topology: S,
}

impl<S: Section> Config<S> {
    /// The two halves together: the topology says how it uses its topics.
    pub fn new(mut runtime: Runtime, topology: S) -> Self {
        runtime.roles = TopicRoles::new(topology.topics());
        Self { runtime, topology }
    }

    /// Everything that is wrong; empty when it can be used.
    pub fn validate(&self) -> Vec<Invalid> {
        let mut invalid = self.runtime.validate();
        invalid.extend(self.topology.validate(&self.runtime));
        invalid
    }
}

impl<S: Section> Default for Config<S> {
    fn default() -> Self {
        let runtime = Runtime {
            name: S::NAME.to_owned(),
            prefix: S::PREFIX.to_owned(),
            inputs: vec![Input::of(S::INPUT)],
            admin: AdminSection { listen: S::ADMIN.to_owned() },
            ..Runtime::default()
        };
        Self::new(runtime, S::default())
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::config::{Lifetime, Role, TopicOverride, topic};
    use crate::log::Cleanup;

    /// A topology with no sections of its own.
    #[derive(Debug, Clone, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Plain {}

    impl Section for Plain {
        const NAME: &'static str = "plain";
        const PREFIX: &'static str = "headwater.";
        const INPUT: &'static str = "raw.events";

        fn topics(&self) -> Vec<TopicRole> {
            // A topology may name a topic of the runtime's; it stays what it is.
            vec![("events".into(), Role::Compacted), (topic::PROGRESS.into(), Role::Compacted)]
        }

        fn validate(&self, _runtime: &Runtime) -> Vec<Invalid> {
            Vec::new()
        }
    }

    fn config() -> Config<Plain> {
        Config::default()
    }

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(config().validate(), []);
        assert_eq!((config().runtime.name.as_str(), config().runtime.inputs), ("plain", vec![Input::of("raw.events")]));
    }

    #[test]
    fn names_get_the_prefix_once() {
        let runtime = config().runtime;
        assert_eq!(runtime.full_name("events"), "headwater.events");
        assert_eq!(runtime.full_name("headwater.events"), "headwater.events");
    }

    #[test]
    fn dead_letters_take_every_raw_record() {
        let runtime = config().runtime;
        let raw = runtime.topic_spec("raw.events");
        let dead = runtime.topic_spec(topic::DEAD_LETTERS);
        assert!(dead.max_record_bytes > raw.max_record_bytes);
        assert_eq!(runtime.topic_spec("events").cleanup, Cleanup::Compact);
        assert_eq!(runtime.topic_spec(topic::PROGRESS).partitions, 1);
        let names: Vec<String> = runtime.topic_specs().into_iter().map(|spec| spec.name).collect();
        let all = ["dead-letters", "replays", "progress", "audit", "events", "raw.events"];
        assert_eq!(names, all.map(|name| format!("headwater.{name}")));
    }

    #[test]
    fn a_topic_may_be_an_exception() {
        let only = TopicOverride { partitions: Some(12), retention: Some(Lifetime::Forever), ..Default::default() };
        let mut config = config();
        config.runtime.topics.only.insert("raw.events".to_owned(), only);
        let spec = config.runtime.topic_spec("raw.events");
        assert_eq!((spec.partitions, spec.cleanup), (12, Cleanup::Delete { retention_ms: None }));
        assert_eq!(config.validate(), []);
    }

    #[test]
    fn topics_are_checked_against_those_that_the_topology_uses() {
        let mut config = config();
        config.runtime.inputs = ["events", "replays", "raw.other"].map(Input::of).to_vec();
        config.runtime.topics.only.insert("evnts".to_owned(), TopicOverride::default());
        let found = config.validate();
        let told: Vec<(&str, Option<&str>)> =
            found.iter().map(|invalid| (invalid.key.as_str(), invalid.hint.as_deref())).collect();
        assert_eq!(
            told,
            [
                ("topics.only.evnts", Some("did you mean `events`?")),
                ("inputs[0].topic", None),
                ("inputs[1].topic", None)
            ]
        );
    }

    #[test]
    fn every_wrong_value_is_found() {
        let mut config = config();
        config.runtime = Runtime { workers: 0, prefix: "a b".to_owned(), inputs: Vec::new(), ..config.runtime };
        config.runtime.engine.correction_guard = f64::NAN;
        config.runtime.admin.listen = "8080".to_owned();
        let keys: Vec<String> = config.validate().into_iter().map(|invalid| invalid.key).collect();
        assert_eq!(keys, ["prefix", "workers", "inputs", "engine.correction_guard", "admin.listen"]);
    }

    /// What is wrong with a configuration of `plain`, by the keys that are set in it.
    fn wrong(toml: &str) -> Vec<String> {
        let runtime = format!("inputs = [{{ topic = 'raw.events' }}]\nname = 'n'\n{toml}");
        let runtime: Runtime = toml::from_str(&runtime).unwrap();
        Config::new(runtime, Plain {})
            .validate()
            .into_iter()
            .map(|one| format!("{}: {}", one.key, one.message))
            .collect()
    }

    #[test]
    fn every_number_has_its_range() {
        let below_and_above = [
            ("workers = 0", "workers = 1025", "workers: must be from 1 to 1024, and is "),
            ("cluster.wait = '0 s'", "cluster.wait = '2 days'", "cluster.wait: must be from 0 s to 1 days, and is "),
            (
                "cluster.silent_after = '1 ms'",
                "cluster.silent_after = '25 h'",
                "cluster.silent_after: must be from 1 s to 1 days, and is ",
            ),
            (
                "log.embedded.tombstone_retention_ms = -1",
                "log.embedded.tombstone_retention_ms = 9223372036854775807",
                "log.embedded.tombstone_retention_ms: must be from 0 to ",
            ),
            (
                "log = { kind = 'kafka', kafka.replication = 0 }",
                "log = { kind = 'kafka', kafka.replication = 40000 }",
                "log.kafka.replication: must be from 1 to 32767, and is ",
            ),
            (
                "topics.partitions = 0",
                "topics.partitions = 10001",
                "topics.partitions: must be from 1 to 10000, and is ",
            ),
            ("topics.max_record = 1", "topics.max_record = '2 GiB'", "topics.max_record: must be from 1 KiB to 1 GiB"),
            (
                "topics.max_raw_record = 1",
                "topics.max_raw_record = '2 GiB'",
                "topics.max_raw_record: must be from 1 KiB to 1 GiB",
            ),
            (
                "topics.raw_retention = '0 s'",
                "topics.raw_retention = '99999 days'",
                "topics.raw_retention: must be from 1 s to 36525 days, and is ",
            ),
            (
                "topics.only.'raw.events'.partitions = 0",
                "topics.only.'raw.events'.partitions = 10001",
                "topics.only.\"raw.events\".partitions: must be from 1 to 10000",
            ),
            (
                "engine.epoch_interval = '0 s'",
                "engine.epoch_interval = '2 min'",
                "engine.epoch_interval: must be from 1 ms",
            ),
            (
                "engine.max_epochs_in_flight = 0",
                "engine.max_epochs_in_flight = 10001",
                "engine.max_epochs_in_flight: must be from 1 to 10000, and is ",
            ),
            (
                "engine.max_bytes_in_flight = 1",
                "engine.max_bytes_in_flight = '2 TiB'",
                "engine.max_bytes_in_flight: must be from 64 KiB to 1024 GiB",
            ),
            (
                "engine.look_for_partitions = '1 ms'",
                "engine.look_for_partitions = '2 days'",
                "engine.look_for_partitions: must be from 10 ms to 1 days",
            ),
            (
                "engine.correction_batch = 0",
                "engine.correction_batch = 1000001",
                "engine.correction_batch: must be from 1 to 1000000",
            ),
            (
                "engine.correction_guard = -0.1",
                "engine.correction_guard = 20.0",
                "engine.correction_guard: must be from 0 to 1, and is ",
            ),
            (
                "dead_letters.max_attempts = 0",
                "dead_letters.max_attempts = 1000001",
                "dead_letters.max_attempts: must be from 1 to 1000000",
            ),
            (
                "views.rebuild_after_secs = 0",
                "views.rebuild_after_secs = 9999999999",
                "views.rebuild_after_secs: must be from 1 to ",
            ),
            (
                "views.postgres = { url = 'postgres://h/d', connect_timeout_secs = 0 }",
                "views.postgres = { url = 'postgres://h/d', connect_timeout_secs = 3601 }",
                "views.postgres.connect_timeout_secs: must be from 1 to 3600",
            ),
            (
                "views.sqlite = { path = 'v.db', batch.records = 0 }",
                "views.sqlite = { path = 'v.db', batch.records = 10000001 }",
                "views.sqlite.batch.records: must be from 1 to 10000000",
            ),
            (
                "views.sqlite = { path = 'v.db', batch.bytes = 0 }",
                "views.sqlite = { path = 'v.db', batch.bytes = 9999999999 }",
                "views.sqlite.batch.bytes: must be from 1 to ",
            ),
        ];
        for (below, above, expected) in below_and_above {
            for toml in [below, above] {
                // Waiting for nobody is a choice.
                let found = wrong(toml);
                let right = toml == "cluster.wait = '0 s'";
                assert!(found.len() == usize::from(!right), "{toml}: {found:?}");
                assert!(right || found[0].starts_with(expected), "{toml}: {found:?}");
            }
        }
        assert_eq!(
            wrong("topics.raw_retention = 'forever'\nengine.max_timestamp_lead = 'forever'"),
            Vec::<String>::new()
        );
    }
}
