//! The things of a document: names as schema.org has them, references, and which of them are events.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap, HashSet};

use super::super::json::{Node, Step};
use super::super::words;

/// Levels of super-events that are looked at.
const MAX_PARENTS: usize = 4;

/// Gives the members of a document the names that schema.org has for them: without prefix or address, and
/// `@type` and `@id` where the context lets them be written `type` and `id`.
pub(super) fn normalise(root: &mut Node<'_>, bytes: &[u8]) {
    let context = Context::of(root);
    let holds = |text: &str| memchr::memmem::find(bytes, text.as_bytes()).is_some();
    let prefixed = context.prefixes.iter().any(|prefix| holds(&format!("\"{prefix}")));
    let aliased = context.aliases && (holds("\"type\"") || holds("\"id\""));
    if !prefixed && !aliased {
        return;
    }
    root.rename(&|name| {
        let bare = context.prefixes.iter().find_map(|prefix| name.strip_prefix(prefix.as_str()));
        match bare.unwrap_or(name) {
            "type" if context.aliases => Some("@type".to_owned()),
            "id" if context.aliases => Some("@id".to_owned()),
            _ => bare.map(str::to_owned),
        }
    });
}

/// What the contexts of a document say of names.
struct Context {
    prefixes: Vec<String>,
    aliases: bool,
}

impl Context {
    fn of(root: &Node<'_>) -> Self {
        let mut context = Self {
            prefixes: ["http://schema.org/", "https://schema.org/", "schema:"].map(str::to_owned).into(),
            aliases: false,
        };
        let things = root.items().iter().filter_map(|thing| thing.get("@context"));
        things.flat_map(Node::items).for_each(|item| context.add(item));
        context
    }

    fn add(&mut self, item: &Node<'_>) {
        match item {
            Node::Text(address) => self.aliases |= is_schema(address) || address.contains("activitystreams"),
            Node::Object(members) => {
                for (name, value) in members {
                    let meaning = value.filled().or_else(|| value.get("@id")?.filled()).unwrap_or_default();
                    if name.as_str() == "@vocab" {
                        self.aliases |= is_schema(meaning);
                    } else if meaning == "@type" || meaning == "@id" {
                        self.aliases |= ["type", "id"].contains(&name.as_str());
                    } else if is_schema(meaning) {
                        self.prefixes.push(format!("{}:", name.as_str()));
                    }
                }
            }
            _ => {}
        }
    }
}

fn is_schema(address: &str) -> bool {
    let host = address.strip_prefix("https://").or_else(|| address.strip_prefix("http://")).unwrap_or(address);
    host.strip_prefix("www.").unwrap_or(host).trim_end_matches(['/', '#']) == "schema.org"
}

/// A document, with its things by their ids.
pub(super) struct Graph<'n, 'a> {
    root: &'n Node<'a>,
    by_id: OnceCell<HashMap<&'n str, &'n Node<'a>>>,
}

impl<'n, 'a> Graph<'n, 'a> {
    pub(super) fn new(root: &'n Node<'a>) -> Self {
        Self { root, by_id: OnceCell::new() }
    }

    /// The values of `key`; those that stand elsewhere in the document are looked up there.
    pub(super) fn items(&self, node: &'n Node<'a>, key: &str) -> impl Iterator<Item = &'n Node<'a>> {
        node.get(key).map(Node::items).unwrap_or_default().iter().map(|item| self.follow(item))
    }

    /// What a reference stands for: a node with nothing but an id, or an id as text.
    fn follow(&self, node: &'n Node<'a>) -> &'n Node<'a> {
        let id = match node {
            Node::Object(_) if is_reference(node) => node.get("@id").and_then(Node::filled),
            Node::Text(text) if text.contains(['#', ':']) => Some(text.trim()),
            _ => None,
        };
        id.and_then(|id| self.thing(id)).unwrap_or(node)
    }

    /// The thing with this id, where it is described somewhere.
    pub(super) fn thing(&self, id: &str) -> Option<&'n Node<'a>> {
        let by_id = self.by_id.get_or_init(|| {
            let mut by_id = HashMap::new();
            index(self.root, &mut by_id);
            by_id
        });
        by_id.get(id).copied()
    }
}

/// Notes the things of a document by id; of several descriptions of one, the fullest.
fn index<'n, 'a>(node: &'n Node<'a>, by_id: &mut HashMap<&'n str, &'n Node<'a>>) {
    match node {
        Node::List(items) => items.iter().for_each(|item| index(item, by_id)),
        Node::Object(members) => {
            if let Some(id) = node.get("@id").and_then(Node::filled)
                && !is_reference(node)
            {
                let held = by_id.entry(id).or_insert(node);
                if size(held) < members.len() {
                    *held = node;
                }
            }
            members.iter().for_each(|(_, value)| index(value, by_id));
        }
        _ => {}
    }
}

fn size(node: &Node<'_>) -> usize {
    match node {
        Node::Object(members) => members.len(),
        _ => 0,
    }
}

/// Whether a node says nothing but what it is and which.
fn is_reference(node: &Node<'_>) -> bool {
    match node {
        Node::Object(members) => {
            members.len() <= 2 && members.iter().all(|(name, _)| ["@id", "@type"].contains(&name.as_str()))
        }
        _ => false,
    }
}

/// An event of a document.
pub(super) struct Event<'n, 'a> {
    pub(super) node: &'n Node<'a>,
    /// The way to it.
    pub(super) path: Vec<Step>,
    /// The events and series that it is part of, the nearest first.
    pub(super) parents: Vec<&'n Node<'a>>,
}

/// What a document holds.
#[derive(Default)]
pub(super) struct Found<'n, 'a> {
    pub(super) events: Vec<Event<'n, 'a>>,
    /// Whether any node has a type, as every JSON-LD document about things has.
    pub(super) typed: bool,
    /// Things that seem to be events and are not read as such, each with the way to it: once for each type.
    pub(super) strange: BTreeMap<String, (&'static str, Vec<Step>)>,
}

impl<'n, 'a> Found<'n, 'a> {
    /// Looks through a document.
    pub(super) fn of(graph: &Graph<'n, 'a>) -> Self {
        let mut found = Self::default();
        let mut walk = Walk { found: &mut found, path: Vec::new(), parents: Vec::new(), parts: Vec::new() };
        walk.node(graph.root, true);
        let parts = walk.parts;
        found.drop_references();
        found.join_parents(graph, &parts);
        found
    }

    /// Leaves out events that are named only, and described elsewhere in the document.
    fn drop_references(&mut self) {
        let described: HashSet<&str> = self
            .events
            .iter()
            .filter(|event| !is_reference(event.node))
            .filter_map(|event| event.node.get("@id")?.filled())
            .collect();
        let needless = |node: &Node<'_>| {
            is_reference(node) && node.get("@id").and_then(Node::filled).is_some_and(|id| described.contains(id))
        };
        self.events.retain(|event| !needless(event.node));
    }

    /// Finds what events are part of that stand elsewhere: `superEvent`, or a `subEvent` that refers to them.
    fn join_parents(&mut self, graph: &Graph<'n, 'a>, parts: &[(&'n str, &'n Node<'a>)]) {
        for event in &mut self.events {
            while event.parents.len() < MAX_PARENTS {
                let last = event.parents.last().copied().unwrap_or(event.node);
                let above = graph.items(last, "superEvent").find(|node| matches!(node, Node::Object(_)));
                let id = last.get("@id").and_then(Node::filled);
                let above = above.or_else(|| Some(parts.iter().find(|(part, _)| Some(*part) == id)?.1));
                let Some(above) = above.filter(|above| !std::ptr::eq(*above, last)) else { break };
                event.parents.push(above);
            }
        }
    }
}

struct Walk<'f, 'n, 'a> {
    found: &'f mut Found<'n, 'a>,
    path: Vec<Step>,
    /// The events and series around, the outermost first.
    parents: Vec<&'n Node<'a>>,
    /// Ids of parts, and what they are part of.
    parts: Vec<(&'n str, &'n Node<'a>)>,
}

impl<'n, 'a> Walk<'_, 'n, 'a> {
    /// `listed` tells whether the node stands where documents list their things.
    fn node(&mut self, node: &'n Node<'a>, listed: bool) {
        match node {
            Node::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.step(Step::Index(index), item, listed);
                }
            }
            Node::Object(members) => {
                self.found.typed |= node.get("@type").is_some();
                let (event, series) = (is_event(node), is_series(node));
                if event {
                    let parents = self.parents.iter().rev().take(MAX_PARENTS).copied().collect();
                    self.found.events.push(Event { node, path: self.path.clone(), parents });
                } else if listed {
                    self.note_strange(node, series);
                }
                for (name, value) in members.iter().map(|(name, value)| (name.as_str(), value)) {
                    if name == "superEvent" || (event && !holds_events(name)) {
                        continue;
                    }
                    let part = (event || series) && (name == "subEvent" || name == "subEvents");
                    if part {
                        self.note_parts(node, value);
                        self.parents.push(node);
                    }
                    let depth = self.parents.len();
                    self.step(Step::Name(name.to_owned()), value, listed && lists_things(name));
                    self.parents.truncate(if part { depth - 1 } else { depth });
                }
            }
            _ => {}
        }
    }

    fn step(&mut self, step: Step, node: &'n Node<'a>, listed: bool) {
        if matches!(node, Node::List(_) | Node::Object(_)) {
            self.path.push(step);
            self.node(node, listed);
            self.path.pop();
        }
    }

    fn note_parts(&mut self, whole: &'n Node<'a>, parts: &'n Node<'a>) {
        let ids =
            parts.items().iter().filter_map(|part| part.get("@id").and_then(Node::filled).or_else(|| part.filled()));
        self.parts.extend(ids.map(|id| (id, whole)));
    }

    fn note_strange(&mut self, node: &Node<'_>, series: bool) {
        let filled = |key: &str| node.get(key).is_some_and(|value| !value.items().is_empty());
        let why = if series && !(filled("subEvent") || filled("subEvents") || filled("event")) {
            "a series without subEvent or eventSchedule does not say when it takes place"
        } else if !series && filled("startDate") && filled("name") && !is_no_event(node) {
            "it has a startDate, but this is no type of event"
        } else {
            return;
        };
        let types: Vec<&str> = types(node).collect();
        let path = &self.path;
        self.found.strange.entry(types.join(", ")).or_insert_with(|| (why, path.clone()));
    }
}

/// Where the parts of an event are that are events again.
fn holds_events(name: &str) -> bool {
    ["subEvent", "subEvents", "event", "events", "@graph"].contains(&name)
}

/// Where documents list the things that they are about.
fn lists_things(name: &str) -> bool {
    holds_events(name) || ["itemListElement", "item", "mainEntity"].contains(&name)
}

/// The types of a node, without address or prefix.
pub(super) fn types<'n>(node: &'n Node<'_>) -> impl Iterator<Item = &'n str> {
    node.get("@type").map(Node::items).unwrap_or_default().iter().filter_map(Node::filled).map(words::local_name)
}

/// Whether it is something that takes place. `event` in small letters is one, and so is a series that says when
/// it takes place; what is published or delivered is none.
fn is_event(node: &Node<'_>) -> bool {
    (is_series(node) && node.get("eventSchedule").is_some())
        || types(node).any(|name| {
            let name = name.to_ascii_lowercase();
            let none = ["publicationevent", "ondemandevent", "deliveryevent"].contains(&name.as_str());
            !none
                && (name.ends_with("event")
                    || name.ends_with("festival")
                    || name == "courseinstance"
                    || name == "hackathon")
        })
}

fn is_series(node: &Node<'_>) -> bool {
    types(node).any(|name| name.eq_ignore_ascii_case("EventSeries"))
}

/// Types that have a start and a name, and are no events for certain.
fn is_no_event(node: &Node<'_>) -> bool {
    const ENDINGS: [&str; 7] = ["Event", "Role", "Schedule", "Season", "Series", "Program", "Specification"];
    types(node).any(|name| ENDINGS.iter().any(|ending| name.ends_with(ending)))
}
