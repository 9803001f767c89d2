//! JSON values that borrow from the record, pointers into them, and the bytes of their parts.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::problem::Problem;
use crate::raw::DeadLetterCode;

/// A JSON value. Text without escapes is borrowed, and objects are lists: a record is read
/// once and each field is looked up about once, for which maps would cost more than they save.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Cow<'a, str>),
    List(Vec<Node<'a>>),
    Object(Vec<(Name<'a>, Node<'a>)>),
}

/// The name of a member.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Name<'a> {
    text: Cow<'a, str>,
    head: u64,
}

impl<'a> Name<'a> {
    fn new(text: Cow<'a, str>) -> Self {
        Self { head: head(&text), text }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

/// The first eight bytes of a name. Most names in a record differ there, and that takes one look.
fn head(name: &str) -> u64 {
    match name.as_bytes().first_chunk() {
        Some(bytes) => u64::from_be_bytes(*bytes),
        None => name.bytes().fold(0, |head, byte| (head << 8) | u64::from(byte)),
    }
}

impl<'a> Node<'a> {
    /// Reads a whole record, refusing values nested more deeply than `max_nesting`.
    pub(crate) fn parse(bytes: &'a [u8], max_nesting: usize) -> Result<Self, Problem> {
        let malformed =
            |error: &dyn fmt::Display| Problem::new(DeadLetterCode::MALFORMED, format!("not JSON: {error}"));
        let too_deep = Cell::new(false);
        // Checked once as a whole: cheaper than text by text.
        let text = std::str::from_utf8(without_bom(bytes)).map_err(|error| malformed(&error))?;
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let parsed = Seed { room: max_nesting, too_deep: &too_deep }
            .deserialize(&mut deserializer)
            .and_then(|node| deserializer.end().map(|()| node));
        parsed.map_err(|error| match too_deep.get() {
            true => Problem::new(
                DeadLetterCode::NESTED_TOO_DEEPLY,
                format!("the JSON is nested more than limits.max_nesting, {max_nesting}, levels deep"),
            ),
            false => malformed(&error),
        })
    }

    /// Reads values that stand one after the other, as one list; a single value is itself.
    pub(crate) fn parse_all(text: &'a str, max_nesting: usize) -> Option<Self> {
        let too_deep = Cell::new(false);
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let mut values = Vec::new();
        while deserializer.end().is_err() {
            values.push(Seed { room: max_nesting, too_deep: &too_deep }.deserialize(&mut deserializer).ok()?);
        }
        match values.len() {
            0 => None,
            1 => values.pop(),
            _ => Some(Self::List(values)),
        }
    }

    /// Gives members other names, in all objects within.
    pub(crate) fn rename(&mut self, rename: &impl Fn(&str) -> Option<String>) {
        match self {
            Self::List(items) => items.iter_mut().for_each(|item| item.rename(rename)),
            Self::Object(members) => {
                for (name, value) in members {
                    if let Some(other) = rename(name.as_str()) {
                        *name = Name::new(Cow::Owned(other));
                    }
                    value.rename(rename);
                }
            }
            _ => {}
        }
    }

    /// The member `key` of an object. Of members of one name the last counts.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.member(key, head(key))
    }

    fn member(&self, key: &str, head: u64) -> Option<&Self> {
        let Self::Object(members) = self else { return None };
        let found = members.iter().rev().find(|(name, _)| name.head == head && name.text == key);
        found.map(|(_, value)| value)
    }

    /// The text of a text, number or boolean.
    pub(crate) fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::Int(number) => Some(Cow::Owned(number.to_string())),
            Self::Float(number) => Some(Cow::Owned(number.to_string())),
            Self::Bool(flag) => Some(Cow::Borrowed(if *flag { "true" } else { "false" })),
            _ => None,
        }
    }

    /// Text, where it is not blank.
    pub(crate) fn filled(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text.trim()).filter(|text| !text.is_empty()),
            _ => None,
        }
    }

    /// A number, or a text that is one.
    pub(crate) fn number(&self) -> Option<f64> {
        match self {
            Self::Int(number) => Some(*number as f64),
            Self::Float(number) => Some(*number),
            Self::Text(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
            _ => None,
        }
    }

    /// A whole number, or a text that is one.
    pub(crate) fn whole(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            Self::Text(text) => text.trim().parse().ok(),
            Self::Float(number) if number.fract() == 0.0 && number.abs() < 9.0e15 => Some(*number as i64),
            _ => None,
        }
    }

    /// A boolean, or a text that is one.
    pub(crate) fn flag(&self) -> Option<bool> {
        match self {
            Self::Bool(flag) => Some(*flag),
            Self::Text(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Self::Text(text) if text.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        }
    }

    /// The elements of a list, or the value itself; nothing for null.
    pub(crate) fn items(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            Self::Null => &[],
            one => std::slice::from_ref(one),
        }
    }
}

fn without_bom(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes)
}

/// Counts levels while reading, so that nesting costs no pass of its own.
#[derive(Clone, Copy)]
struct Seed<'c> {
    room: usize,
    too_deep: &'c Cell<bool>,
}

impl Seed<'_> {
    fn inner<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.room.checked_sub(1) {
            Some(room) => Ok(Self { room, ..self }),
            None => {
                self.too_deep.set(true);
                Err(E::custom("nested too deeply"))
            }
        }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Node<'de>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Node<'de>, E> {
        Ok(Node::Null)
    }
    fn visit_bool<E>(self, flag: bool) -> Result<Node<'de>, E> {
        Ok(Node::Bool(flag))
    }
    fn visit_i64<E>(self, number: i64) -> Result<Node<'de>, E> {
        Ok(Node::Int(number))
    }
    fn visit_u64<E>(self, number: u64) -> Result<Node<'de>, E> {
        Ok(i64::try_from(number).map_or_else(|_| Node::Text(number.to_string().into()), Node::Int))
    }
    fn visit_f64<E>(self, number: f64) -> Result<Node<'de>, E> {
        Ok(Node::Float(number))
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Borrowed(text)))
    }
    fn visit_str<E>(self, text: &str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Owned(text.to_owned())))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node<'de>, A::Error> {
        let inner = self.inner()?;
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(inner)? {
            items.push(item);
        }
        Ok(Node::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node<'de>, A::Error> {
        let inner = self.inner()?;
        let mut members = Vec::with_capacity(8);
        while let Some(key) = access.next_key_seed(Key)? {
            members.push((key, access.next_value_seed(inner)?));
        }
        Ok(Node::Object(members))
    }
}

/// A member's name, borrowed where it holds no escapes.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Name<'de>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Name<'de>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }
    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Name::new(Cow::Borrowed(name)))
    }
    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Name::new(Cow::Owned(name.to_owned())))
    }
}

/// A JSON Pointer (RFC 6901), in which a part `*` stands for every element of an array.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pointer(Vec<Part>);

#[derive(Debug, Clone, PartialEq)]
struct Part {
    name: String,
    head: u64,
    index: Option<usize>,
}

impl Pointer {
    /// Reads a pointer: nothing, or parts that each begin with a slash.
    pub(crate) fn compile(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let parts =
            text.strip_prefix('/').ok_or_else(|| format!("{text:?} is no JSON Pointer: it must begin with /"))?;
        parts.split('/').map(Part::compile).collect::<Result<_, _>>().map(Self)
    }

    /// What it finds first.
    pub(crate) fn find<'n, 'a>(&self, node: &'n Node<'a>) -> Option<&'n Node<'a>> {
        let mut node = node;
        for (at, part) in self.0.iter().enumerate() {
            if let (Node::List(items), "*") = (node, part.name.as_str()) {
                let rest = Self(self.0.get(at + 1..)?.to_vec());
                return items.iter().find_map(|item| rest.find(item));
            }
            node = part.step(node)?;
        }
        Some(node)
    }

    /// Calls `found` with everything that it finds.
    pub(crate) fn each<'n, 'a>(&self, node: &'n Node<'a>, found: &mut dyn FnMut(&'n Node<'a>)) {
        walk(&self.0, node, found);
    }

    /// The steps, for [`Slices`]; only meaningful for pointers without `*`.
    pub(crate) fn steps(&self) -> Vec<Step> {
        self.0.iter().map(|part| Step::Name(part.name.clone())).collect()
    }
}

fn walk<'n, 'a>(parts: &[Part], node: &'n Node<'a>, found: &mut dyn FnMut(&'n Node<'a>)) {
    match (parts.split_first(), node) {
        (None, node) => found(node),
        (Some((part, rest)), Node::List(items)) if part.name == "*" => {
            items.iter().for_each(|item| walk(rest, item, found));
        }
        (Some((part, rest)), node) => {
            if let Some(next) = part.step(node) {
                walk(rest, next, found);
            }
        }
    }
}

impl Part {
    fn compile(text: &str) -> Result<Self, String> {
        let escapes = text.split('~').skip(1);
        if escapes.into_iter().any(|rest| !rest.starts_with(['0', '1'])) {
            return Err(format!("{text:?} is no part of a JSON Pointer: ~ must be written ~0"));
        }
        let name = text.replace("~1", "/").replace("~0", "~");
        Ok(Self { head: head(&name), index: name.parse().ok(), name })
    }

    fn step<'n, 'a>(&self, node: &'n Node<'a>) -> Option<&'n Node<'a>> {
        match node {
            Node::List(items) => items.get(self.index?),
            object => object.member(&self.name, self.head),
        }
    }
}

/// One step from a JSON value to a part of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    Name(String),
    Index(usize),
}

/// Finds the bytes of parts of a record, for dead letters. Each container on the way is taken
/// apart once, however many of its parts are asked for.
pub(crate) struct Slices<'a> {
    bytes: &'a [u8],
    taken_apart: HashMap<Vec<Step>, Container<'a>>,
}

enum Container<'a> {
    List(Vec<&'a RawValue>),
    Object(HashMap<String, &'a RawValue>),
    Neither,
}

impl<'a> Slices<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes: without_bom(bytes), taken_apart: HashMap::new() }
    }

    /// The bytes at `path`; those of the nearest value around it where there is no such part.
    pub(crate) fn slice(&mut self, path: &[Step]) -> &'a [u8] {
        let mut bytes = self.bytes;
        for (at, step) in path.iter().enumerate() {
            let container = self
                .taken_apart
                .entry(path.get(..at).unwrap_or_default().to_vec())
                .or_insert_with(|| take_apart(bytes));
            let part = match (container, step) {
                (Container::List(items), Step::Index(index)) => items.get(*index).copied(),
                (Container::List(items), Step::Name(name)) => {
                    name.parse::<usize>().ok().and_then(|index| items.get(index).copied())
                }
                (Container::Object(members), Step::Name(name)) => members.get(name).copied(),
                _ => None,
            };
            match part {
                Some(part) => bytes = part.get().as_bytes(),
                None => return bytes,
            }
        }
        bytes
    }
}

fn take_apart(bytes: &[u8]) -> Container<'_> {
    match serde_json::from_slice(bytes) {
        Ok(items) => Container::List(items),
        Err(_) => serde_json::from_slice(bytes).map_or(Container::Neither, Container::Object),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Node<'_> {
        Node::parse(text.as_bytes(), 32).unwrap()
    }

    #[test]
    fn nesting_has_a_limit_and_syntax_errors_are_told_apart() {
        assert!(Node::parse(b"[[1]]", 2).is_ok());
        assert_eq!(Node::parse(b"[[[1]]]", 2).unwrap_err().code, DeadLetterCode::NESTED_TOO_DEEPLY);
        assert_eq!(Node::parse(b"[[1]", 2).unwrap_err().code, DeadLetterCode::MALFORMED);
        assert_eq!(Node::parse(b"{} {}", 2).unwrap_err().code, DeadLetterCode::MALFORMED);
        assert_eq!(Node::parse(b"\"\xFF\"", 2).unwrap_err().code, DeadLetterCode::MALFORMED);
        assert_eq!(
            Node::parse("[".repeat(100_000).as_bytes(), 100).unwrap_err().code,
            DeadLetterCode::NESTED_TOO_DEEPLY
        );
        assert!(Node::parse(b"\xEF\xBB\xBF{}", 2).is_ok());
    }

    #[test]
    fn pointers_find_what_they_name() {
        let node = parse(r#"{"a/b": {"~": [10, {"x": "y"}]}, "l": [{"n": 1}, {}, {"n": 2}], "": 5}"#);
        let find = |pointer: &str| Pointer::compile(pointer).unwrap().find(&node).and_then(Node::text);
        assert_eq!(find("/a~1b/~0/1/x").as_deref(), Some("y"));
        assert_eq!(find("/a~1b/~0/0").as_deref(), Some("10"));
        assert_eq!(find("/").as_deref(), Some("5"));
        assert_eq!(find("/l/*/n").as_deref(), Some("1"));
        assert_eq!(find("/nothing/here"), None);
        let mut all = Vec::new();
        Pointer::compile("/l/*/n").unwrap().each(&node, &mut |found| all.extend(found.whole()));
        assert_eq!(all, [1, 2]);
        assert!(Pointer::compile("a/b").is_err());
        assert!(Pointer::compile("/a~2").is_err());
    }

    #[test]
    fn members_are_told_apart_by_their_whole_names_and_the_last_one_counts() {
        let node = parse(r#"{"location": 1, "locationName": 2, "a": 3, "\u0000a": 4, "a": 5, "": 6}"#);
        for (name, value) in [("location", 1), ("locationName", 2), ("a", 5), ("\0a", 4), ("", 6)] {
            assert_eq!(node.get(name).and_then(Node::whole), Some(value), "{name}");
            let pointer = Pointer::compile(&format!("/{name}")).unwrap();
            assert_eq!(pointer.find(&node).and_then(Node::whole), Some(value), "{name}");
        }
        assert_eq!(node.get("locationNames"), None);
    }

    #[test]
    fn numbers_keep_their_digits() {
        assert_eq!(parse("12345678901234567890").text().as_deref(), Some("12345678901234567890"));
        assert_eq!(parse("7").text().as_deref(), Some("7"));
        assert_eq!(parse("\" 2.5 \"").number(), Some(2.5));
        assert_eq!(parse("\"inf\"").number(), None);
        assert_eq!(parse("3.0").whole(), Some(3));
    }

    #[test]
    fn slices_are_the_original_bytes() {
        let text = r#" {"@graph" : [ {"a": 1.50 } , 7 ], "b":{"c": [ ]}} "#;
        let mut slices = Slices::new(text.as_bytes());
        let graph = |index| vec![Step::Name("@graph".into()), Step::Index(index)];
        assert_eq!(slices.slice(&graph(0)), br#"{"a": 1.50 }"#);
        assert_eq!(slices.slice(&graph(1)), b"7");
        assert_eq!(slices.slice(&graph(9)), br#"[ {"a": 1.50 } , 7 ]"#);
        assert_eq!(slices.slice(&[Step::Name("b".into()), Step::Name("c".into())]), b"[ ]");
    }
}
