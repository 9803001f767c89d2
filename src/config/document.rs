//! A TOML document put together from several sources, in which every key and value knows where it
//! was written.
//!
//! TOML's own spans are byte offsets into one text, and two nodes may share one. Here each node
//! gets a number, and the number takes the place of the span: whatever deserialisation complains
//! about, its "span" leads straight back to the node. `NB:` so nothing may read spans out of the
//! deserialised configuration.

use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeString, DeTable, DeValue, Deserializer};

/// A piece of text that configuration was read from; indexes a list that the loader keeps.
pub type SourceId = usize;

/// The number of a node; [`ROOT`] is the document itself.
pub type NodeId = usize;

/// The document itself.
pub const ROOT: NodeId = 0;

/// One key or value.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its path from the root, such as `inputs[0].topic`.
    pub path: String,
    /// Which text it was written in; `None` for the root.
    pub source: Option<SourceId>,
    /// Byte offset in that text.
    pub offset: usize,
}

/// Why a value cannot be set at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetError {
    /// What stands at this path is neither a table nor a list.
    NotATable(String),
    /// The list at this path has only so many elements, or the step is no number.
    NoSuchElement(String, usize),
}

/// Documents of several sources merged into one.
#[derive(Debug, Clone)]
pub struct Document<'i> {
    root: DeTable<'i>,
    nodes: Vec<Node>,
}

impl<'i> Document<'i> {
    /// An empty document.
    pub fn new() -> Self {
        let root = Node { path: String::new(), source: None, offset: 0 };
        Self { root: DeTable::new(), nodes: vec![root] }
    }

    /// The node of this number, if there is one.
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id)
    }

    /// All nodes, in the order of their numbers.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Removes and returns the value of a key of the root.
    pub fn take(&mut self, key: &str) -> Option<Spanned<DeValue<'i>>> {
        self.root.remove(key)
    }

    /// The keys of the root, each with its number.
    pub fn root_keys(&self) -> Vec<(String, NodeId)> {
        self.root.keys().map(|key| (key.get_ref().clone().into_owned(), key.span().start)).collect()
    }

    /// Gives what a topology has defaults for of its own where nothing was written: its name, the prefix of
    /// its topics, the topic of an input that does not say, and the address of its admin server. Nothing leads to
    /// where these were written.
    pub fn complete(&mut self, name: &str, prefix: &str, topic: &str, admin: &str) {
        let topic = || text(topic);
        set_missing(&mut self.root, "name", || text(name));
        set_missing(&mut self.root, "prefix", || text(prefix));
        set_missing(&mut self.root, "admin", || DeValue::Table(DeTable::new()));
        if let Some(DeValue::Table(section)) = self.root.get_mut("admin").map(Spanned::get_mut) {
            set_missing(section, "listen", || text(admin));
        }
        set_missing(&mut self.root, "inputs", || {
            let mut input = DeTable::new();
            set_missing(&mut input, "topic", topic);
            let input = Spanned::new(number_span(ROOT), DeValue::Table(input));
            DeValue::Array(std::iter::once(input).collect::<DeArray<'i>>())
        });
        if let Some(inputs) = self.root.get_mut("inputs")
            && let DeValue::Array(inputs) = inputs.get_mut()
        {
            for input in inputs.iter_mut() {
                if let DeValue::Table(input) = input.get_mut() {
                    set_missing(input, "topic", topic);
                }
            }
        }
    }

    /// A deserialiser of the keys that `keep` names, whose errors carry node numbers as spans.
    pub fn deserializer(&self, keep: &dyn Fn(&str) -> bool) -> Deserializer<'i> {
        let kept = self.root.iter().filter(|(key, _)| keep(key.get_ref()));
        let kept: DeTable<'i> = kept.map(|(key, value)| (key.clone(), value.clone())).collect();
        Deserializer::from(Spanned::new(number_span(ROOT), kept))
    }

    /// Lays `table` over what is there: tables merge, everything else is replaced.
    pub fn merge(&mut self, source: SourceId, table: DeTable<'i>) {
        let numbered = Numbering { nodes: &mut self.nodes, source }.table("", table);
        merge(&mut self.root, numbered);
    }

    /// Sets the value at the path `steps`, making tables on the way. Returns the number of the
    /// value, or `None` when there are no steps.
    pub fn set(
        &mut self,
        source: SourceId,
        steps: &[String],
        value: Spanned<DeValue<'i>>,
    ) -> Result<Option<NodeId>, SetError> {
        let mut numbering = Numbering { nodes: &mut self.nodes, source };
        set_in_table(&mut self.root, "", steps, value, &mut numbering)
    }

    /// Removes the key, value or element of this number. False when it is not there any more.
    pub fn remove(&mut self, id: NodeId) -> bool {
        remove_from_table(&mut self.root, id)
    }

    /// Replaces the value of this number. False when it is not there any more.
    pub fn replace(&mut self, id: NodeId, value: DeValue<'i>) -> bool {
        let mut value = Some(value);
        self.visit_mut(&mut |node, place| {
            if node == id
                && let Some(value) = value.take()
            {
                *place = value;
            }
        });
        value.is_none()
    }

    /// Calls `visit` with every value and its number, outer values first.
    pub fn visit_mut(&mut self, visit: &mut dyn FnMut(NodeId, &mut DeValue<'i>)) {
        for (_, value) in self.root.iter_mut() {
            visit_value(value, visit);
        }
    }

    /// Calls `visit` with every value and its number, outer values first.
    pub fn visit(&self, visit: &mut dyn FnMut(NodeId, &DeValue<'i>)) {
        fn value<'i>(spanned: &Spanned<DeValue<'i>>, visit: &mut dyn FnMut(NodeId, &DeValue<'i>)) {
            visit(spanned.span().start, spanned.get_ref());
            match spanned.get_ref() {
                DeValue::Array(array) => array.iter().for_each(|inner| value(inner, visit)),
                DeValue::Table(table) => table.values().for_each(|inner| value(inner, visit)),
                _ => {}
            }
        }
        self.root.values().for_each(|inner| value(inner, visit));
    }

    /// The number of key `key` of the table numbered `table`.
    pub fn key_in(&self, table: NodeId, key: &str) -> Option<NodeId> {
        if table == ROOT {
            return key_number(&self.root, key);
        }
        let mut found = None;
        self.visit(&mut |id, value| {
            if id == table
                && let DeValue::Table(inner) = value
            {
                found = key_number(inner, key);
            }
        });
        found
    }
}

/// `path` with `key` appended, quoted where TOML asks for it.
pub fn join(path: &str, key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let key = if bare { key.to_owned() } else { format!("{key:?}") };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

fn number_span(id: NodeId) -> Range<usize> {
    id..id + 1
}

fn text<'i>(text: &str) -> DeValue<'i> {
    DeValue::String(DeString::Owned(text.to_owned()))
}

/// Sets a key that is not there.
fn set_missing<'i>(table: &mut DeTable<'i>, key: &str, value: impl FnOnce() -> DeValue<'i>) {
    if !table.contains_key(key) {
        let key = Spanned::new(number_span(ROOT), DeString::from(key.to_owned()));
        table.insert(key, Spanned::new(number_span(ROOT), value()));
    }
}

fn key_number(table: &DeTable<'_>, key: &str) -> Option<NodeId> {
    table.get_key_value(key).map(|(key, _)| key.span().start)
}

/// Gives out numbers.
struct Numbering<'n> {
    nodes: &'n mut Vec<Node>,
    source: SourceId,
}

impl Numbering<'_> {
    fn next(&mut self, path: &str, offset: usize) -> Range<usize> {
        self.nodes.push(Node { path: path.to_owned(), source: Some(self.source), offset });
        number_span(self.nodes.len() - 1)
    }

    fn table<'i>(&mut self, path: &str, table: DeTable<'i>) -> DeTable<'i> {
        let mut numbered = DeTable::new();
        for (key, value) in table {
            let path = join(path, key.get_ref());
            let span = self.next(&path, key.span().start);
            let value = self.value(&path, value);
            numbered.insert(Spanned::new(span, key.into_inner()), value);
        }
        numbered
    }

    fn value<'i>(&mut self, path: &str, value: Spanned<DeValue<'i>>) -> Spanned<DeValue<'i>> {
        let span = self.next(path, value.span().start);
        let inner = match value.into_inner() {
            DeValue::Table(table) => DeValue::Table(self.table(path, table)),
            DeValue::Array(array) => DeValue::Array(
                array
                    .into_iter()
                    .enumerate()
                    .map(|(index, element)| self.value(&format!("{path}[{index}]"), element))
                    .collect::<DeArray<'i>>(),
            ),
            scalar => scalar,
        };
        Spanned::new(span, inner)
    }
}

fn merge<'i>(below: &mut DeTable<'i>, above: DeTable<'i>) {
    for (key, value) in above {
        if let Some(existing) = below.get_mut(key.get_ref().as_ref())
            && let DeValue::Table(existing) = existing.get_mut()
            && value.get_ref().is_table()
        {
            if let DeValue::Table(value) = value.into_inner() {
                merge(existing, value);
            }
            continue;
        }
        below.remove(key.get_ref().as_ref());
        below.insert(key, value);
    }
}

/// The key of `table` that `step` means: exactly, or but for case and for `-` in place of `_`,
/// since names of environment variables have neither small letters nor hyphens.
fn matching_key(table: &DeTable<'_>, step: &str) -> String {
    let folded = |key: &str| key.to_ascii_lowercase().replace('-', "_");
    if table.contains_key(step) {
        return step.to_owned();
    }
    let alike = table.keys().find(|key| folded(key.get_ref()) == folded(step));
    alike.map_or_else(|| step.to_owned(), |key| key.get_ref().clone().into_owned())
}

fn set_in_table<'i>(
    table: &mut DeTable<'i>,
    path: &str,
    steps: &[String],
    value: Spanned<DeValue<'i>>,
    numbering: &mut Numbering<'_>,
) -> Result<Option<NodeId>, SetError> {
    let Some((step, rest)) = steps.split_first() else { return Ok(None) };
    let key = matching_key(table, step);
    let path = join(path, &key);
    if rest.is_empty() {
        let key_span = numbering.next(&path, 0);
        let value = numbering.value(&path, value);
        let id = value.span().start;
        table.remove(key.as_str());
        table.insert(Spanned::new(key_span, DeString::from(key)), value);
        return Ok(Some(id));
    }
    if !table.contains_key(key.as_str()) {
        let key_span = numbering.next(&path, 0);
        let span = numbering.next(&path, 0);
        let made = Spanned::new(span, DeValue::Table(DeTable::new()));
        table.insert(Spanned::new(key_span, Cow::Owned(key.clone())), made);
    }
    match table.get_mut(key.as_str()) {
        Some(inner) => set_in_value(inner, &path, rest, value, numbering),
        None => Ok(None),
    }
}

fn set_in_value<'i>(
    place: &mut Spanned<DeValue<'i>>,
    path: &str,
    steps: &[String],
    value: Spanned<DeValue<'i>>,
    numbering: &mut Numbering<'_>,
) -> Result<Option<NodeId>, SetError> {
    let Some((step, rest)) = steps.split_first() else {
        *place = numbering.value(path, value);
        return Ok(Some(place.span().start));
    };
    match place.get_mut() {
        DeValue::Table(table) => set_in_table(table, path, steps, value, numbering),
        DeValue::Array(array) => {
            let length = array.len();
            let element = step.parse::<usize>().ok().and_then(|index| array.get_mut(index));
            let element = element.ok_or_else(|| SetError::NoSuchElement(path.to_owned(), length))?;
            set_in_value(element, &format!("{path}[{step}]"), rest, value, numbering)
        }
        _ => Err(SetError::NotATable(path.to_owned())),
    }
}

fn visit_value<'i>(spanned: &mut Spanned<DeValue<'i>>, visit: &mut dyn FnMut(NodeId, &mut DeValue<'i>)) {
    let id = spanned.span().start;
    visit(id, spanned.get_mut());
    match spanned.get_mut() {
        DeValue::Array(array) => array.iter_mut().for_each(|inner| visit_value(inner, visit)),
        DeValue::Table(table) => table.iter_mut().for_each(|(_, inner)| visit_value(inner, visit)),
        _ => {}
    }
}

fn remove_from_table(table: &mut DeTable<'_>, id: NodeId) -> bool {
    let here = table.iter().find(|(key, value)| key.span().start == id || value.span().start == id);
    match here.map(|(key, _)| key.get_ref().clone().into_owned()) {
        Some(key) => table.remove(key.as_str()).is_some(),
        None => table.iter_mut().any(|(_, value)| remove_from_value(value.get_mut(), id)),
    }
}

fn remove_from_value(value: &mut DeValue<'_>, id: NodeId) -> bool {
    match value {
        DeValue::Table(table) => remove_from_table(table, id),
        DeValue::Array(array) => {
            if !array.iter().any(|element| element.span().start == id) {
                return array.iter_mut().any(|element| remove_from_value(element.get_mut(), id));
            }
            let kept =
                std::mem::replace(array, DeArray::new()).into_iter().filter(|element| element.span().start != id);
            *array = kept.collect();
            true
        }
        _ => false,
    }
}
