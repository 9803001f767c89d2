//! A client of live streams: it keeps a map as a browser's page would.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use super::http::{chunk, open_on};

/// One dispatched event.
#[derive(Debug, Clone, PartialEq)]
pub struct Sent {
    pub name: String,
    pub data: Value,
}

/// A client that keeps what it was told.
#[derive(Default)]
pub struct Client {
    /// The events by id.
    pub map: BTreeMap<String, Value>,
    /// What the browser would send as `Last-Event-ID`.
    pub last_id: String,
    stream: Option<BufReader<TcpStream>>,
    unread: String,
}

impl Client {
    /// Connects, as after a cut.
    pub fn connect(&mut self, address: SocketAddr, query: &str) {
        self.connect_on(TcpStream::connect(address).unwrap(), query);
    }

    /// As [`connect`](Self::connect), on a connection.
    pub fn connect_on(&mut self, stream: TcpStream, query: &str) {
        let path = format!("/api/events/live?{query}");
        let id = self.last_id.clone();
        let headers: &[(&str, &str)] = if id.is_empty() { &[] } else { &[("Last-Event-ID", &id)] };
        let (stream, status, headers) = open_on(stream, "GET", &path, headers);
        assert_eq!((status, headers["content-type"].as_str()), (200, "text/event-stream"));
        self.unread.clear();
        self.stream = Some(stream);
    }

    /// Cuts the connection.
    pub fn cut(&mut self) {
        self.stream = None;
    }

    /// What comes next; `None` for a comment, a heartbeat, or the end (`stream` is gone then).
    pub fn step(&mut self) -> Option<Sent> {
        while !self.unread.contains("\n\n") {
            match self.stream.as_mut().and_then(chunk) {
                Some(chunk) => self.unread.push_str(std::str::from_utf8(&chunk).unwrap()),
                None => {
                    self.stream = None;
                    return None;
                }
            }
        }
        let (block, rest) =
            self.unread.split_once("\n\n").map(|(block, rest)| (block.to_owned(), rest.to_owned())).unwrap();
        self.unread = rest;
        self.dispatch(&block)
    }

    pub fn is_connected(&self) -> bool {
        self.stream.is_some()
    }

    fn dispatch(&mut self, block: &str) -> Option<Sent> {
        let (mut name, mut data) = (String::new(), String::new());
        for line in block.lines() {
            let (field, value) = line.split_once(": ").unwrap_or((line, ""));
            match field {
                "id" => self.last_id = value.to_owned(),
                "event" => value.clone_into(&mut name),
                "data" => data.push_str(value),
                "retry" | "" => {}
                other => panic!("unknown field {other:?}"),
            }
        }
        if data.is_empty() {
            return None;
        }
        let data: Value = serde_json::from_str(&data).unwrap();
        let id = data["id"].as_str().unwrap_or_default().to_owned();
        match name.as_str() {
            "reset" => self.map.clear(),
            "enter" | "update" => drop(self.map.insert(id, data.clone())),
            "leave" => drop(self.map.remove(&id)),
            "live" => {}
            other => panic!("unknown event {other:?}"),
        }
        Some(Sent { name, data })
    }

    /// Reads so many events, or until "live" has come.
    pub fn step_until_live_or(&mut self, events: u64) {
        for _ in 0..events {
            if self.step().is_some_and(|sent| sent.name == "live") {
                return;
            }
        }
    }

    /// Reads until an event of this name has come, and returns all that came.
    pub fn until(&mut self, name: &str) -> Vec<Sent> {
        let mut all = Vec::new();
        while self.is_connected() {
            if let Some(sent) = self.step() {
                let last = sent.name == name;
                all.push(sent);
                if last {
                    return all;
                }
            }
        }
        panic!("the stream has ended before {name:?}: {all:?}");
    }
}
