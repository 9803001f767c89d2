//! How a broker is reached, and how each kind of client is set up.

use std::collections::BTreeMap;
use std::fmt;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use serde::Deserialize;

use crate::log::LogError;

/// Group id of readers. They never join it: librdkafka wants one before partitions can be assigned.
const READER_GROUP: &str = "headwater-reader";

/// What a reader fetches ahead, in KiB: all its partitions share it, but each has at least 1 MiB.
const AHEAD_KBYTES: usize = 65_536;

/// What this module needs to be as it is, so that a property of that name is refused.
const FIXED: &[&str] = &[
    "bootstrap.servers",
    "metadata.broker.list",
    "isolation.level",
    "enable.partition.eof",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "auto.offset.reset",
    "transactional.id",
    "enable.idempotence",
    "acks",
    "request.required.acks",
    "partitioner",
];

/// Words that mark a property's value as a secret, wherever they stand in its key.
const SECRET_WORDS: &[&str] = &["password", "secret", "token", "key", "credential", "jaas", "sasl.oauthbearer.config"];

/// Where Kafka is and how to talk to it.
///
/// ```toml
/// brokers = "kafka-1:9093,kafka-2:9093"
/// replication = 3
///
/// [properties]
/// "security.protocol" = "sasl_ssl"
/// "sasl.mechanism" = "SCRAM-SHA-512"
/// "sasl.username" = "headwater"
/// ```
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KafkaConfig {
    /// Bootstrap servers: `host:port`, comma-separated.
    pub brokers: String,
    /// Further librdkafka properties, by librdkafka's names, for every client; `group.id` is the
    /// group in whose name readers ask (they never join it, but access rules may want to know it).
    /// A few on which exactly-once rests (`isolation.level`, `acks`, …) are refused.
    pub properties: BTreeMap<String, String>,
    /// Replicas of each partition of the topics that are created. None leaves it to the broker.
    pub replication: Option<i32>,
}

impl Default for KafkaConfig {
    fn default() -> Self {
        Self { brokers: "127.0.0.1:9092".to_owned(), properties: BTreeMap::new(), replication: None }
    }
}

impl fmt::Debug for KafkaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: BTreeMap<&str, &str> = self
            .properties
            .iter()
            .map(|(key, value)| (key.as_str(), if is_secret(key) { "***" } else { value.as_str() }))
            .collect();
        f.debug_struct("KafkaConfig")
            .field("brokers", &self.brokers)
            .field("properties", &shown)
            .field("replication", &self.replication)
            .finish()
    }
}

/// Whether the value of this property must not be shown.
pub(super) fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| key.contains(word))
}

impl KafkaConfig {
    /// Refuses what can be seen to be wrong without asking librdkafka.
    pub(super) fn validate(&self) -> Result<(), LogError> {
        if self.brokers.trim().is_empty() {
            return Err(LogError::Config { reason: "`brokers` is empty".to_owned() });
        }
        if self.replication.is_some_and(|n| n < 1) {
            return Err(LogError::Config { reason: "`replication` must be at least 1".to_owned() });
        }
        match self.properties.keys().find(|key| FIXED.contains(&key.as_str())) {
            Some(key) => Err(LogError::Config { reason: format!("the property `{key}` cannot be changed") }),
            None => Ok(()),
        }
    }

    /// Settings of every client: `defaults`, over them the user's properties, over them what is fixed.
    fn client(&self, defaults: &[(&str, &str)], fixed: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        let wants_debug = self.properties.contains_key("debug");
        config.set_log_level(if wants_debug { RDKafkaLogLevel::Debug } else { RDKafkaLogLevel::Info });
        config.set("client.id", "headwater");
        config.set("socket.keepalive.enable", "true");
        // Soon back after an outage; librdkafka's own limit is ten seconds.
        config.set("reconnect.backoff.max.ms", "2000");
        for (key, value) in defaults {
            config.set(*key, *value);
        }
        for (key, value) in &self.properties {
            config.set(key, value);
        }
        config.set("bootstrap.servers", &self.brokers);
        for (key, value) in fixed {
            config.set(*key, *value);
        }
        config
    }

    /// A client that asks for metadata and watermarks, and administers topics.
    pub(super) fn asking(&self) -> ClientConfig {
        let mut config = self.client(&[], &[("isolation.level", "read_committed")]);
        // With a group the main queue would have to be polled as a consumer's.
        config.remove("group.id");
        config
    }

    /// A reader of committed records with the partitions dealt by hand.
    pub(super) fn reader(&self, partitions: usize) -> ClientConfig {
        let kbytes = (AHEAD_KBYTES / partitions.max(1)).clamp(1024, 16_384).to_string();
        self.client(
            &[
                ("group.id", READER_GROUP),
                // Per partition, since each has a queue of its own.
                ("queued.min.messages", "100000"),
                ("queued.max.messages.kbytes", &kbytes),
                ("fetch.message.max.bytes", "4194304"),
                // Once the queue has room again, fetch at once instead of after a second.
                ("fetch.queue.backoff.ms", "10"),
                // A partition that is added waits for the end of the fetch that is under way.
                ("fetch.wait.max.ms", "100"),
                ("check.crcs", "true"),
            ],
            &[
                ("isolation.level", "read_committed"),
                ("enable.partition.eof", "true"),
                ("enable.auto.commit", "false"),
                ("enable.auto.offset.store", "false"),
                ("auto.offset.reset", "error"),
                ("allow.auto.create.topics", "false"),
            ],
        )
    }

    /// A producer; idempotent, and placing keys as Java clients do.
    pub(super) fn producer(&self) -> ClientConfig {
        self.client(
            &[
                ("compression.type", "lz4"),
                ("linger.ms", "5"),
                ("batch.size", "1000000"),
                ("queue.buffering.max.messages", "200000"),
                // Copies of what a transaction holds; while it is full, the committer waits.
                ("queue.buffering.max.kbytes", "65536"),
                // The topics' own limits decide, and those are checked per topic.
                ("message.max.bytes", "1000000000"),
                // What Java's clients take: a broker that starts anew does not fail a producer.
                ("message.timeout.ms", "120000"),
            ],
            &[("enable.idempotence", "true"), ("acks", "all"), ("partitioner", "murmur2_random")],
        )
    }

    /// The transactional producer `id`.
    pub(super) fn transactional(&self, id: &str) -> ClientConfig {
        let mut config = self.producer();
        config.set("transactional.id", id);
        // A commit is tried again as a whole.
        if !self.properties.contains_key("message.timeout.ms") {
            config.set("message.timeout.ms", "60000");
        }
        // A stall that is shorter leaves no trace. After a crash the next start ends at once what
        // was left open, whatever this is.
        if !self.properties.contains_key("transaction.timeout.ms") {
            config.set("transaction.timeout.ms", "300000");
        }
        config
    }

    /// A consumer that only lends its group's metadata.
    pub(super) fn group(&self, group: &str) -> ClientConfig {
        self.client(&[], &[("group.id", group), ("enable.auto.commit", "false")])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(properties: &[(&str, &str)]) -> KafkaConfig {
        KafkaConfig {
            properties: properties.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            ..KafkaConfig::default()
        }
    }

    #[test]
    fn debug_hides_secrets_and_shows_the_rest() {
        let config = with(&[
            ("sasl.password", "hunter2"),
            ("ssl.key.pem", "hunter2"),
            ("sasl.oauthbearer.client.secret", "hunter2"),
            ("SSL.KEYSTORE.PASSWORD", "hunter2"),
            ("sasl.username", "headwater"),
        ]);
        let shown = format!("{config:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("\"headwater\""), "{shown}");
    }

    #[test]
    fn what_exactly_once_rests_on_cannot_be_changed() {
        let error = with(&[("isolation.level", "read_uncommitted")]).validate().unwrap_err();
        assert!(error.to_string().contains("isolation.level"), "{error}");
    }

    #[test]
    fn properties_override_defaults_but_not_the_address() {
        let config = with(&[("linger.ms", "50")]);
        assert_eq!(config.producer().get("linger.ms"), Some("50"));
        assert_eq!(config.producer().get("bootstrap.servers"), Some("127.0.0.1:9092"));
    }

    #[test]
    fn unknown_fields_are_refused() {
        assert!(toml::from_str::<KafkaConfig>("broker = \"a:1\"").is_err());
    }
}
