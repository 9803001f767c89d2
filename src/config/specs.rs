//! How the topics of a topology are to be made.

use super::roles::Role;
use super::runtime::Runtime;
use super::values::{Lifetime, Size};
use crate::log::{Cleanup, TopicSpec};

/// What a dead letter may need beyond the raw record that it holds.
const DEAD_LETTER_OVERHEAD: usize = 1 << 20;

impl Runtime {
    /// How a topic should be when it has to be made. `topic` is its name without the prefix; what
    /// is no topic of the topology's own is taken for one of raw records.
    pub fn topic_spec(&self, topic: &str) -> TopicSpec {
        let section = &self.topics;
        let only = section.only.get(topic).cloned().unwrap_or_default();
        let role = self.roles.of(topic);
        let cleanup = match role {
            Role::Raw => delete(only.retention.unwrap_or(section.raw_retention)),
            Role::DeadLetters | Role::Facts | Role::Family => {
                delete(only.retention.unwrap_or(section.dead_letter_retention))
            }
            Role::Compacted | Role::Table | Role::Progress => Cleanup::Compact,
        };
        let max_record = match role {
            Role::Raw => section.max_raw_record.get(),
            Role::DeadLetters => section.max_raw_record.get().saturating_add(DEAD_LETTER_OVERHEAD),
            Role::Compacted | Role::Table | Role::Progress | Role::Facts | Role::Family => section.max_record.get(),
        };
        let partitions = if role == Role::Progress { 1 } else { section.partitions };
        let mut properties = section.properties.clone();
        properties.extend(only.properties);
        TopicSpec {
            name: self.full_name(topic),
            partitions: only.partitions.unwrap_or(partitions),
            replication: None,
            cleanup,
            max_record_bytes: only.max_record.map_or(max_record, Size::get),
            properties,
        }
    }

    /// All topics that the topology reads and writes, as they should be.
    pub fn topic_specs(&self) -> Vec<TopicSpec> {
        let inputs = self.inputs.iter().map(|input| input.topic.as_str());
        self.roles.names().chain(inputs).map(|topic| self.topic_spec(topic)).collect()
    }
}

fn delete(retention: Lifetime) -> Cleanup {
    Cleanup::Delete { retention_ms: retention.as_millis_i64() }
}
