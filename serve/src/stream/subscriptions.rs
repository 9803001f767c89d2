//! Subscriptions: several streams on one connection, each with a name that the client gave it.

use std::fmt::Write as _;
use std::task::{Context, Poll};

use super::body::Streaming;

/// The streams of one connection.
#[derive(Default)]
pub(crate) struct Subscriptions {
    streams: Vec<(String, Streaming)>,
    /// Where to look first, so that a busy stream does not keep the others waiting.
    turn: usize,
}

impl Subscriptions {
    /// Number of streams.
    pub fn len(&self) -> usize {
        self.streams.len()
    }

    /// Whether a stream still brings its client up to date.
    pub fn is_catching_up(&self) -> bool {
        self.streams.iter().any(|(_, stream)| stream.is_catching_up())
    }

    /// Whether there is a stream of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.streams.iter().any(|(other, _)| other == name)
    }

    /// Adds a stream. It takes the place of one of the same name.
    pub fn put(&mut self, name: String, stream: Streaming) {
        self.remove(&name);
        self.streams.push((name, stream));
    }

    /// Takes a stream away; whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.streams.len();
        self.streams.retain(|(other, _)| other != name);
        self.streams.len() < before
    }

    /// The next message for the client; pending for ever where there is no stream.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<String> {
        let count = self.streams.len();
        for step in 0..count {
            let at = (self.turn + step) % count;
            let (name, stream) = &mut self.streams[at];
            while let Poll::Ready(chunk) = stream.next(context) {
                let Some(chunk) = chunk else {
                    let message = ended(name);
                    self.streams.remove(at);
                    return Poll::Ready(message);
                };
                // The hub and the index make nothing but UTF-8.
                if let Some(message) = changes(name, &String::from_utf8_lossy(&chunk)) {
                    self.turn = at + 1;
                    return Poll::Ready(message);
                }
            }
        }
        Poll::Pending
    }
}

/// That a stream has ended.
pub(crate) fn ended(name: &str) -> String {
    format!("{{\"type\":\"ended\",\"subscription\":{}}}", quoted(name))
}

/// Whole server-sent events as one message; `None` where they tell nothing but when to come back.
fn changes(name: &str, events: &str) -> Option<String> {
    let mut list = String::new();
    let (mut position, mut event) = (None, "");
    for line in events.lines() {
        match line.split_once(": ") {
            Some(("id", id)) => position = Some(id),
            Some(("event", name)) => event = name,
            Some(("data", data)) => {
                let comma = if list.is_empty() { "" } else { "," };
                // Writing to a text does not fail.
                let _ = write!(list, "{comma}{{\"event\":\"{event}\",\"data\":{data}}}");
            }
            _ => {}
        }
    }
    if list.is_empty() && position.is_none() {
        return None;
    }
    let position = position.map(|position| format!(",\"id\":\"{position}\"")).unwrap_or_default();
    Some(format!("{{\"type\":\"changes\",\"subscription\":{}{position},\"changes\":[{list}]}}", quoted(name)))
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
}
