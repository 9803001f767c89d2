//! The topics of families: named by records, made when the first record of a name is committed.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::dataflow::TopicNames;
use crate::log::TopicSpec;
use crate::schema::TopicId;

/// How a topic of a family should be: given its name without the prefix.
pub type SpecOf = Arc<dyn Fn(&str) -> TopicSpec + Send + Sync>;

/// The topics of families that were written to.
pub struct Members {
    names: Arc<TopicNames>,
    spec_of: SpecOf,
    known: BTreeMap<(TopicId, Box<str>), Arc<str>>,
    new: Vec<TopicSpec>,
}

impl Members {
    /// None yet.
    pub fn new(names: Arc<TopicNames>, spec_of: SpecOf) -> Self {
        Self { names, spec_of, known: BTreeMap::new(), new: Vec::new() }
    }

    /// The full name of the topic `member` of a family.
    pub fn topic(&mut self, family: TopicId, member: &str) -> Arc<str> {
        // Looked up by an owned key: families are written to by few topologies, and keys are short.
        let key = (family, member.into());
        if let Some(known) = self.known.get(&key) {
            return Arc::clone(known);
        }
        let full: Arc<str> = format!("{}{member}", self.names.of(family)).into();
        let name = full.strip_prefix(self.names.prefix()).unwrap_or(&full);
        self.new.push((self.spec_of)(name));
        self.known.insert(key, Arc::clone(&full));
        full
    }

    /// The topics that have to be made, each once.
    pub fn take_new(&mut self) -> Vec<TopicSpec> {
        std::mem::take(&mut self.new)
    }
}
