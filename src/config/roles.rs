//! How a topology uses its topics.

use std::sync::Arc;

/// Names of the topics that the runtime itself uses, without the prefix.
pub mod topic {
    /// What could not be used.
    pub const DEAD_LETTERS: &str = "dead-letters";
    /// How far the topology has come.
    pub const PROGRESS: &str = "progress";
    /// Which dead letters were replayed. Only the tool `dead-letters` reads and writes it.
    pub const REPLAYS: &str = "replays";
    /// Who has written what over HTTP.
    pub const AUDIT: &str = "audit";
}

/// How a topic is used, which decides how it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Raw records, kept for a time.
    Raw,
    /// Rows or a state that the topology writes: the last record of each key counts.
    Compacted,
    /// A table that others write and the topology reads: the last record of each key counts.
    Table,
    /// Facts: records that are written once, kept as long as dead letters.
    Facts,
    /// The topics whose names begin with this one, which hold facts.
    Family,
    /// Dead letters and what tells of them, kept for a time of their own.
    DeadLetters,
    /// The progress of the topology: compacted, with one partition.
    Progress,
}

impl Role {
    /// Whether the topology alone writes topics of this kind. A record of anyone else would be taken for
    /// its own.
    pub fn is_written_by_the_topology(self) -> bool {
        match self {
            Self::Raw | Self::Table => false,
            Self::Compacted | Self::Facts | Self::Family | Self::DeadLetters | Self::Progress => true,
        }
    }
}

/// A topic that a topology uses, without the prefix, and how.
pub type TopicRole = (Arc<str>, Role);

/// What the runtime uses, whatever the topology.
const OF_THE_RUNTIME: [(&str, Role); 4] = [
    (topic::DEAD_LETTERS, Role::DeadLetters),
    // Kept as long as what it tells of.
    (topic::REPLAYS, Role::DeadLetters),
    (topic::PROGRESS, Role::Progress),
    (topic::AUDIT, Role::Facts),
];

/// The topics that a topology uses whatever its inputs are, and how. Names are without the prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicRoles(Vec<TopicRole>);

impl Default for TopicRoles {
    fn default() -> Self {
        Self(OF_THE_RUNTIME.map(|(topic, role)| (Arc::from(topic), role)).to_vec())
    }
}

impl TopicRoles {
    /// The topics of a topology, and those that the runtime uses itself.
    pub fn new(own: impl IntoIterator<Item = TopicRole>) -> Self {
        let mut roles = Self::default();
        for (topic, role) in own {
            if roles.0.iter().all(|(name, _)| *name != topic) {
                roles.0.push((topic, role));
            }
        }
        roles
    }

    /// The names. Those of families are only stems.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(_, role)| *role != Role::Family).map(|(topic, _)| &**topic)
    }

    /// How `topic` is used. What is no topic of the topology's own is taken for one of raw records.
    pub fn of(&self, topic: &str) -> Role {
        let own = self.0.iter().find(|(name, _)| **name == *topic).map(|(_, role)| *role);
        let member = |(stem, role): &&TopicRole| *role == Role::Family && topic.starts_with(&**stem);
        own.or_else(|| self.0.iter().find(member).map(|_| Role::Facts)).unwrap_or(Role::Raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_and_raw_topics_are_for_anyone_to_write() {
        let own = [("places", Role::Table), ("events", Role::Compacted), ("sold", Role::Facts), ("by.", Role::Family)];
        let roles = TopicRoles::new(own.map(|(topic, role)| (Arc::from(topic), role)));
        for (topic, own) in [
            ("raw.events", false),
            ("places", false),
            ("events", true),
            ("sold", true),
            ("by.city", true),
            (topic::DEAD_LETTERS, true),
            (topic::REPLAYS, true),
            (topic::PROGRESS, true),
            (topic::AUDIT, true),
        ] {
            assert_eq!(roles.of(topic).is_written_by_the_topology(), own, "{topic}");
        }
    }
}
