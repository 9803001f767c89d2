//! The catalog: every topic that a topology writes or reads, frozen once it is declared.

use std::fmt;
use std::sync::Arc;

use super::figure::{Figure, GaugeSpec};
use super::spec::{Guard, Spec, WhenLost};
use super::topic_id::TopicId;

/// The topic on which the tool `dead-letters` notes what was replayed.
pub const REPLAYS: &str = "replays";

/// What a topic holds, which decides how the runtime treats it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Rows that follow from the state: compacted, compared at a start.
    Rows,
    /// Rows that are read back at a start: compacted.
    State,
    /// Records that are written once.
    Facts,
    /// The name of each topic is this one's and a name that comes with each record.
    Family,
    /// The progress records of the runtime.
    Progress,
}

/// A topic that a topology writes.
#[derive(Clone)]
pub struct Topic {
    /// Its name, without the prefix; of a family, what the names of its topics begin with.
    pub name: Arc<str>,
    /// What it holds.
    pub kind: Kind,
    /// How it is treated.
    pub spec: Spec,
}

impl Topic {
    /// Whether the rows that it holds are compared at a start with those that the state implies.
    pub fn is_compared(&self) -> bool {
        match self.kind {
            Kind::Rows => true,
            Kind::State => self.spec.compared,
            Kind::Facts | Kind::Family | Kind::Progress => false,
        }
    }

    /// Whether the topology cannot do without it: no other topic tells what it held.
    pub fn is_essential(&self) -> bool {
        self.kind == Kind::State && self.spec.when_lost == WhenLost::Refuse
    }

    /// Whether only the last record of a key is kept.
    pub fn is_compacted(&self) -> bool {
        matches!(self.kind, Kind::Rows | Kind::State | Kind::Progress)
    }
}

/// A topic that a topology reads as a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableTopic {
    /// Its name: without the prefix or, where it is another topology's, its full name.
    pub name: Arc<str>,
    /// Whether another topology writes it, so that it is never created here.
    pub foreign: bool,
}

impl TableTopic {
    /// Its full name under `prefix`.
    pub fn full_name(&self, prefix: &str) -> String {
        if self.foreign { self.name.to_string() } else { format!("{prefix}{}", self.name) }
    }
}

/// Every topic of a topology, and the figures that it shows. Made by [`Schema`](super::Schema).
pub struct Catalog {
    pub(super) topics: Vec<Topic>,
    pub(super) tables: Vec<TableTopic>,
    pub(super) gauges: Vec<GaugeSpec>,
    pub(super) figures: Vec<Figure>,
}

impl Default for Catalog {
    /// The topics of the runtime alone.
    fn default() -> Self {
        let own = |name: &str, kind| Topic { name: name.into(), kind, spec: Spec::default() };
        Self {
            topics: vec![own("dead-letters", Kind::Facts), own("progress", Kind::Progress)],
            tables: Vec::new(),
            gauges: Vec::new(),
            figures: Vec::new(),
        }
    }
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.topics.iter().map(|topic| (&topic.name, topic.kind))).finish()
    }
}

impl Catalog {
    /// Every topic that is written, in the order of their ids.
    pub fn topics(&self) -> impl Iterator<Item = (TopicId, &Topic)> {
        (0..).map(TopicId).zip(&self.topics)
    }

    /// How many topics are written; one more than the greatest index of an id.
    pub fn len(&self) -> usize {
        self.topics.len()
    }

    /// Never: the runtime's own topics are always there.
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// The topic of `id`, which must be of this catalog.
    pub fn topic(&self, id: TopicId) -> &Topic {
        debug_assert!(id.index() < self.topics.len(), "{id:?} is of another catalog");
        &self.topics[id.index().min(self.topics.len() - 1)]
    }

    /// Its name without the prefix.
    pub fn name(&self, id: TopicId) -> &str {
        &self.topic(id).name
    }

    /// The topic of this name (without the prefix), if it is written.
    pub fn find(&self, name: &str) -> Option<TopicId> {
        self.topics().find(|(_, topic)| &*topic.name == name).map(|(id, _)| id)
    }

    /// The topics whose rows are compared at a start with those that the state implies.
    pub fn compared(&self) -> impl Iterator<Item = TopicId> {
        self.topics().filter(|(_, topic)| topic.is_compared()).map(|(id, _)| id)
    }

    /// The topics that are read back at a start.
    pub fn states(&self) -> impl Iterator<Item = (TopicId, &Topic)> {
        self.topics().filter(|(_, topic)| topic.kind == Kind::State)
    }

    /// The topics that are read as tables.
    pub fn tables(&self) -> &[TableTopic] {
        &self.tables
    }

    /// The gauges, in the order of their handles.
    pub fn gauges(&self) -> &[GaugeSpec] {
        &self.gauges
    }

    /// What is shown to people, in this order.
    pub fn figures(&self) -> &[Figure] {
        &self.figures
    }

    /// How far up the topic stands among those that refer to each other: 0 where it refers to none. A row is
    /// written after the rows that it refers to, and leaves before them.
    pub fn depth(&self, id: TopicId) -> usize {
        let (mut depth, mut at) = (0, id);
        while let Some(target) = self.topic(at).spec.refers_to {
            // What a topic refers to was declared before it, so this ends.
            debug_assert!(target < at);
            depth += 1;
            at = target;
        }
        depth
    }

    /// Which changes of the topic's rows at a start need consent.
    pub fn guard(&self, id: TopicId) -> Guard {
        self.topic(id).spec.guard
    }
}
