//! How a topology uses its topics.

use std::borrow::Cow;

/// Names of the topics that the runtime itself uses, without the prefix.
pub mod topic {
    /// What could not be used.
    pub const DEAD_LETTERS: &str = "dead-letters";
    /// How far the topology has come.
    pub const PROGRESS: &str = "progress";
    /// Which dead letters were replayed. Only the tool `dead-letters` reads and writes it.
    pub const REPLAYS: &str = "replays";
}

/// How a topic is used, which decides how it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Raw records, kept for a time.
    Raw,
    /// A table or a state: the last record of each key counts.
    Compacted,
    /// Dead letters and what tells of them, kept for a time of their own.
    DeadLetters,
    /// The progress of the topology: compacted, with one partition.
    Progress,
}

/// What the runtime uses, whatever the topology.
const OF_THE_RUNTIME: [(&str, Role); 3] = [
    (topic::DEAD_LETTERS, Role::DeadLetters),
    // Kept as long as what it tells of.
    (topic::REPLAYS, Role::DeadLetters),
    (topic::PROGRESS, Role::Progress),
];

/// The topics that a topology uses whatever its inputs are, and how. Names are without the prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicRoles(Vec<(Cow<'static, str>, Role)>);

impl Default for TopicRoles {
    fn default() -> Self {
        Self(OF_THE_RUNTIME.map(|(topic, role)| (Cow::Borrowed(topic), role)).to_vec())
    }
}

impl TopicRoles {
    /// The topics of a topology, and those that the runtime uses itself.
    pub fn new(own: impl IntoIterator<Item = (Cow<'static, str>, Role)>) -> Self {
        let mut roles = Self::default();
        for (topic, role) in own {
            if roles.names().all(|name| name != topic) {
                roles.0.push((topic, role));
            }
        }
        roles
    }

    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(topic, _)| &**topic)
    }

    /// How `topic` is used. What is no topic of the topology's own is taken for one of raw records.
    pub fn of(&self, topic: &str) -> Role {
        self.0.iter().find(|(name, _)| name == topic).map_or(Role::Raw, |(_, role)| *role)
    }
}
