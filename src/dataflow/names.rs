//! Full names of a topology's topics.

use std::sync::Arc;

use crate::schema::{Catalog, TopicId};

/// Full names of the topics that a topology writes.
#[derive(Debug, Clone)]
pub struct TopicNames {
    prefix: String,
    topics: Vec<Arc<str>>,
}

impl TopicNames {
    /// The names of the topics of `catalog` under `prefix`.
    pub fn new(prefix: &str, catalog: &Catalog) -> Self {
        let topics = catalog.topics().map(|(_, topic)| Arc::from(format!("{prefix}{}", topic.name)));
        Self { prefix: prefix.to_owned(), topics: topics.collect() }
    }

    /// What all names begin with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The full name of a topic; of a family, what the names of its topics begin with.
    pub fn of(&self, topic: TopicId) -> &str {
        self.topics.get(topic.index()).map_or("", |name| name)
    }

    /// The same, shared.
    pub fn shared(&self, topic: TopicId) -> Arc<str> {
        self.topics.get(topic.index()).cloned().unwrap_or_default()
    }

    /// The full name of a topic given without the prefix.
    pub fn full(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}
