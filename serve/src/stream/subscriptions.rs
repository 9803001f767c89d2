//! Subscriptions: several streams on one connection, each with a name that the client gave it.

use std::fmt::Write as _;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use memchr::memmem;

use super::body::Streaming;

/// The most bytes of changes in a message, but for one change that is larger. With the name of the subscription and
/// what is around them, a message has at most 1 MiB.
const MOST_BYTES: usize = (1 << 20) - (1 << 10);

/// The streams of one connection.
#[derive(Default)]
pub(crate) struct Subscriptions {
    all: Vec<Subscription>,
    /// Where to look first, so that a busy stream does not keep the others waiting.
    turn: usize,
}

struct Subscription {
    name: String,
    stream: Streaming,
    /// Events that the stream has given, and that are not told yet.
    rest: Bytes,
}

impl Subscriptions {
    /// Number of streams.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether a stream still brings its client up to date.
    pub fn is_catching_up(&self) -> bool {
        self.all.iter().any(|one| one.stream.is_catching_up())
    }

    /// Whether there is a stream of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.all.iter().any(|one| one.name == name)
    }

    /// Adds a stream. It takes the place of one of the same name.
    pub fn put(&mut self, name: String, stream: Streaming) {
        self.remove(&name);
        self.all.push(Subscription { name, stream, rest: Bytes::new() });
    }

    /// Takes a stream away; whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.all.len();
        self.all.retain(|one| one.name != name);
        self.all.len() < before
    }

    /// The next message for the client; pending for ever where there is no stream.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<String> {
        let count = self.all.len();
        for step in 0..count {
            let at = (self.turn + step) % count;
            let Some(one) = self.all.get_mut(at) else { continue };
            let Poll::Ready(message) = one.poll_next(context) else { continue };
            let Some(message) = message else {
                let message = ended(&one.name);
                self.all.remove(at);
                return Poll::Ready(message);
            };
            self.turn = at + 1;
            return Poll::Ready(message);
        }
        Poll::Pending
    }
}

impl Subscription {
    /// The next message; `None` at the end.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<String>> {
        loop {
            while !self.rest.is_empty() {
                let (message, told) = changes(&self.name, &self.rest, MOST_BYTES);
                self.rest.advance(told);
                if message.is_some() {
                    return Poll::Ready(message);
                }
            }
            // What is told is not kept until the next change.
            self.rest = Bytes::new();
            match self.stream.next(context) {
                Poll::Ready(Some(events)) => self.rest = events,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// That a stream has ended.
pub(crate) fn ended(name: &str) -> String {
    format!("{{\"type\":\"ended\",\"subscription\":{}}}", quoted(name))
}

/// Whole server-sent events as one message with at most so many bytes of changes, and how many bytes of the events it
/// tells. There is no message where those tell nothing but when to come back.
///
/// A position is that of all changes before it, so a message ends with the last position that it has room for. Only
/// changes of one commit that is too large come in several messages, of which the last one has the position: who is
/// cut off between them gets the commit again.
fn changes(name: &str, events: &[u8], most: usize) -> (Option<String>, usize) {
    let (mut list, mut told, mut position) = (String::new(), 0, None);
    // How much there was at the last position.
    let mut whole = None;
    while told < events.len() {
        let rest = events.get(told..).unwrap_or_default();
        let length = memmem::find(rest, b"\n\n").map_or(rest.len(), |end| end + 2);
        // The hub and the index make nothing but UTF-8.
        let event = String::from_utf8_lossy(rest.get(..length).unwrap_or_default());
        let (id, change) = change(&event);
        if told > 0 && list.len() + 1 + change.len() > most {
            if let Some((length, bytes)) = whole {
                list.truncate(length);
                told = bytes;
            }
            break;
        }
        if !list.is_empty() && !change.is_empty() {
            list.push(',');
        }
        list.push_str(&change);
        told += length;
        if let Some(id) = id {
            position = Some(id.to_owned());
            whole = Some((list.len(), told));
        }
    }
    if list.is_empty() && position.is_none() {
        return (None, told);
    }
    let position = position.map(|position| format!(",\"id\":\"{position}\"")).unwrap_or_default();
    let name = quoted(name);
    (Some(format!("{{\"type\":\"changes\",\"subscription\":{name}{position},\"changes\":[{list}]}}")), told)
}

/// The position of a server-sent event, if it has one, and what it tells; empty where it tells nothing.
fn change(event: &str) -> (Option<&str>, String) {
    let (mut id, mut kind, mut change) = (None, "", String::new());
    for line in event.lines() {
        match line.split_once(": ") {
            Some(("id", position)) => id = Some(position),
            Some(("event", name)) => kind = name,
            // Writing to a text does not fail.
            Some(("data", data)) => drop(write!(change, "{{\"event\":\"{kind}\",\"data\":{data}}}")),
            _ => {}
        }
    }
    (id, change)
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(message: Option<String>) -> Value {
        serde_json::from_str(&message.unwrap()).unwrap()
    }

    /// All of it in one message.
    fn changes(name: &str, events: &str) -> Option<String> {
        let (message, told) = super::changes(name, events.as_bytes(), MOST_BYTES);
        assert_eq!(told, events.len());
        message
    }

    #[test]
    fn events_become_one_message() {
        let sent = "event: enter\ndata: {\"id\":\"a\",\"title\":\"data: x\"}\n\nid: 2a-7\nevent: leave\ndata: {\"id\":\"b\"}\n\n";
        let told = json!({ "type": "changes", "subscription": "a \"b\"", "id": "2a-7", "changes": [
            { "event": "enter", "data": { "id": "a", "title": "data: x" } },
            { "event": "leave", "data": { "id": "b" } },
        ] });
        assert_eq!(read(changes("a \"b\"", sent)), told);
        let beat = json!({ "type": "changes", "subscription": "x", "id": "2a-8", "changes": [] });
        assert_eq!(read(changes("x", "id: 2a-8\n\n")), beat);
        assert_eq!(changes("x", "retry: 1500\n\n"), None);
        assert_eq!(read(Some(ended("x"))), json!({ "type": "ended", "subscription": "x" }));
    }

    #[test]
    fn what_is_too_large_is_told_in_parts_of_which_the_last_one_has_the_position() {
        let event = |id: &str, name: &str| {
            let id = if id.is_empty() { String::new() } else { format!("id: {id}\n") };
            format!("{id}event: enter\ndata: {{\"id\":\"{name}\",\"text\":\"{}\"}}\n\n", "x".repeat(100))
        };
        // A commit that has room, one that has none, and one change that is larger than all of a message.
        let large = event("", &"l".repeat(900));
        let events = [
            event("", "a"),
            event("2a-7", "b"),
            event("", "c"),
            event("", "d"),
            event("", "e"),
            event("2a-8", "f"),
            large,
            event("2a-9", "g"),
            "id: 2a-10\n\n".to_owned(),
        ]
        .concat();
        let (mut told, mut parts) = (0, Vec::new());
        while told < events.len() {
            let (message, bytes) = super::changes("x", &events.as_bytes()[told..], 500);
            let message = read(message);
            let names: Vec<usize> = message["changes"]
                .as_array()
                .unwrap()
                .iter()
                .map(|change| change["data"]["id"].as_str().unwrap().len())
                .collect();
            parts.push((message["id"].as_str().unwrap_or("-").to_owned(), names));
            told += bytes;
        }
        let part = |id: &str, names: &[usize]| (id.to_owned(), names.to_vec());
        assert_eq!(
            parts,
            [part("2a-7", &[1, 1]), part("-", &[1, 1, 1]), part("2a-8", &[1]), part("-", &[900]), part("2a-10", &[1])]
        );
    }
}
