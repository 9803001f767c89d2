//! The WebSocket, over real sockets: many live streams on one connection.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use headwater_serve::access::keys::{KeyConfig, Scope, generate};
use headwater_serve::api::Origins;
use headwater_serve::config::{LimitsConfig, ServeConfig};
use headwater_serve::live::Live;
use headwater_serve::server::{Listening, Server};
use headwater_serve::site::Site;
use headwater_serve::stream::Hub;
use headwater_serve::timeline::Timeline;
use serde_json::{Value, json};
use tungstenite::{ClientRequestBuilder, HandshakeError, Message, WebSocket};

use support::http::{Running, get, listening, send};

/// A client that keeps a map for each of its subscriptions, as a page would.
struct Client {
    socket: WebSocket<TcpStream>,
    maps: BTreeMap<String, BTreeMap<String, Value>>,
    ids: BTreeMap<String, String>,
}

/// Connects; the status where the server refuses.
fn connect(address: SocketAddr, query: &str, headers: &[(&str, &str)]) -> Result<Client, u16> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let request = ClientRequestBuilder::new(format!("ws://{address}/api/ws{query}").parse().unwrap());
    let request = headers.iter().fold(request, |request, (name, value)| request.with_header(*name, *value));
    match tungstenite::client(request, stream) {
        Ok((socket, _)) => Ok(Client { socket, maps: BTreeMap::new(), ids: BTreeMap::new() }),
        Err(HandshakeError::Failure(tungstenite::Error::Http(response))) => Err(response.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

impl Client {
    fn ask(&mut self, message: &Value) {
        self.socket.send(Message::text(message.to_string())).unwrap();
    }

    fn subscribe(&mut self, name: &str, filter: &str) {
        self.ask(&json!({ "type": "subscribe", "subscription": name, "filter": filter }));
    }

    /// The next message, which is applied. Heartbeats are messages, too.
    fn next(&mut self) -> Value {
        let message = self.socket.read().unwrap().into_text().unwrap();
        let message: Value = serde_json::from_str(message.as_str()).unwrap();
        let name = message["subscription"].as_str().unwrap_or_default().to_owned();
        for change in message["changes"].as_array().unwrap_or(&Vec::new()) {
            let map = self.maps.entry(name.clone()).or_default();
            let id = change["data"]["id"].as_str().unwrap_or_default().to_owned();
            match change["event"].as_str().unwrap() {
                "reset" => map.clear(),
                "enter" | "update" => drop(map.insert(id, change["data"].clone())),
                "leave" => drop(map.remove(&id)),
                _ => {}
            }
        }
        if let Some(id) = message["id"].as_str() {
            self.ids.insert(name, id.to_owned());
        }
        message
    }

    /// Reads until all subscriptions have a position.
    fn reach(&mut self, position: &str) {
        while self.ids.is_empty() || self.ids.values().any(|id| id != position) {
            self.next();
        }
    }

    /// Reads until a message of this type, which is given.
    fn until(&mut self, kind: &str) -> Value {
        loop {
            let message = self.next();
            if message["type"] == kind {
                return message;
            }
        }
    }
}

fn event(id: &str, city: &str, title: &str) -> Value {
    json!({
        "format": 1, "id": id, "title": title, "startTime": "2026-12-01T20:00:00Z", "venue": {"city": city}, "tags": [],
        "listings": [{"source": "town"}], "status": "scheduled",
    })
}

/// All events of a list, by id.
fn listed(running: &Running, query: &str) -> BTreeMap<String, Value> {
    let json = running.get(&format!("/api/events?limit=200&{query}")).json();
    let events = json["events"].as_array().unwrap().iter();
    events.map(|event| (event["id"].as_str().unwrap().to_owned(), event.clone())).collect()
}

#[test]
fn many_streams_share_a_connection_and_each_resumes() {
    let mut running = Running::start();
    running.commit(&[("a", Some(event("a", "Napa", "Jazz"))), ("b", Some(event("b", "Suva", "Jazz")))]);
    let address = running.server.address();
    let mut client = connect(address, "", &[]).ok().unwrap();
    client.subscribe("napa", "city=Napa");
    client.subscribe("suva", "city=Suva");
    while client.ids.len() < 2 {
        client.next();
    }
    // Each commit moves both: an event changes its city, and one is withdrawn.
    running.commit(&[("a", Some(event("a", "Suva", "Moved"))), ("b", Some(event("b", "Napa", "Moved")))]);
    running.commit(&[("a", None), ("c", Some(event("c", "Napa", "New")))]);
    client.reach(&running.position());
    let cities = [("napa", "city=Napa"), ("suva", "city=Suva")];
    for (name, filter) in cities {
        assert_eq!(client.maps[name], listed(&running, filter), "{name}");
    }
    // A cut, and changes meanwhile: each goes on where it was.
    let Client { maps, ids, .. } = client;
    running.commit(&[("b", Some(event("b", "Suva", "Back"))), ("c", Some(event("c", "Napa", "Newer")))]);
    let mut client = Client { maps, ..connect(address, "", &[]).ok().unwrap() };
    for (name, filter) in cities {
        client.subscribe(name, &format!("{filter}&lastEventId={}", ids[name]));
        let missed = client.next();
        let resumed = missed["changes"].as_array().unwrap().last().unwrap()["data"]["resumed"].clone();
        assert_eq!((missed["subscription"].as_str(), resumed), (Some(name), json!("exact")));
    }
    client.reach(&running.position());
    for (name, filter) in cities {
        assert_eq!(client.maps[name], listed(&running, filter), "{name}");
    }
    client.ask(&json!({ "type": "unsubscribe", "subscription": "napa" }));
    assert_eq!(client.until("ended")["subscription"], "napa");
    running.commit(&[("d", Some(event("d", "Napa", "x"))), ("e", Some(event("e", "Suva", "x")))]);
    assert_eq!(client.until("changes")["subscription"], "suva");
}

#[test]
fn what_is_wrong_is_refused_and_the_connection_goes_on() {
    let running = Running::start();
    let mut client = connect(running.server.address(), "", &[]).ok().unwrap();
    client.subscribe("x", "cty=Napa&lat=high");
    let refused = client.next();
    let errors = refused["problem"]["errors"].as_array().unwrap().len();
    assert_eq!((refused["type"].as_str(), refused["subscription"].as_str()), (Some("refused"), Some("x")));
    assert!(errors >= 2, "{refused}");
    for wrong in [json!({ "type": "shout" }), json!("subscribe"), json!({ "type": "subscribe", "filter": "" })] {
        client.ask(&wrong);
        let refused = client.next();
        assert_eq!(
            (&refused["subscription"], refused["problem"]["code"].as_str()),
            (&Value::Null, Some("invalid-body"))
        );
    }
    client.ask(&json!({ "type": "unsubscribe", "subscription": "x" }));
    assert_eq!(client.next()["problem"]["code"], "not-found");
    for number in 0..65 {
        client.subscribe(&format!("s{number}"), "snapshot=false");
    }
    assert_eq!(client.until("refused")["subscription"], "s64");
    let plain = running.get("/api/ws");
    assert_eq!((plain.status, plain.headers["upgrade"].as_str()), (426, "websocket"));
}

#[test]
fn a_server_that_stops_says_so() {
    let running = Running::start();
    let mut client = connect(running.server.address(), "", &[]).ok().unwrap();
    client.subscribe("all", "");
    client.until("changes");
    let stopping = std::thread::spawn(move || drop(running));
    assert_eq!(client.until("ended")["subscription"], "all");
    assert!(matches!(client.socket.read().unwrap(), Message::Close(Some(frame)) if u16::from(frame.code) == 1012));
    stopping.join().unwrap();
}

#[test]
fn a_socket_counts_as_a_connection_for_as_long_as_it_is_open() {
    let (live, mut writer) = Live::new();
    writer.set_lineage("0000002a".parse().unwrap());
    writer.begin(0, Timeline::default(), 0);
    let only_one = Listening { connections: 1, ..listening(&Origins::None) };
    let server = Server::start(&only_one, Site::of(Hub::new(live))).unwrap();
    let socket = connect(server.address(), "", &[]).ok().unwrap();
    let mut waiting = TcpStream::connect(server.address()).unwrap();
    waiting.write_all(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    waiting.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(waiting.read(&mut [0]).is_err(), "the only connection is taken");
    drop(socket);
    waiting.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(waiting.read(&mut [0]).unwrap(), 1);
}

#[test]
fn a_foreign_page_needs_a_ticket() {
    let (key, hash) = generate().unwrap();
    let reader = KeyConfig { name: "reader".to_owned(), hash, scopes: vec![Scope::Read] };
    let limits = LimitsConfig { connections_per_address: 100, ..LimitsConfig::default() };
    let config = ServeConfig {
        listen: "127.0.0.1:0".to_owned(),
        keys: vec![reader],
        origins: vec!["https://own.example".to_owned()],
        limits,
        ..ServeConfig::default()
    };
    let (live, mut writer) = Live::new();
    writer.set_lineage("0000002a".parse().unwrap());
    writer.begin(0, Timeline::default(), 0);
    let site = Site { access: Arc::new(config.access()), ..Site::of(Hub::new(live)) };
    let server = Server::start(&listening(&Origins::None), site).unwrap();
    let address = server.address();
    let ask = |query: &str, headers: &[(&str, &str)]| connect(address, query, headers).err();
    assert_eq!(ask("", &[]), Some(401), "a key is needed");
    assert_eq!(ask("", &[("X-API-Key", &key)]), None);
    let signed_in = send(address, "POST", "/api/session", &json!({ "key": key }), &[]);
    let cookie = signed_in.headers["set-cookie"].split(';').next().unwrap().to_owned();
    let own = format!("http://{address}");
    assert_eq!(ask("", &[("Cookie", &cookie), ("Origin", &own)]), None);
    assert_eq!(ask("", &[("Cookie", &cookie), ("Origin", "https://own.example")]), None);
    let foreign = ("Origin", "https://foreign.example");
    assert_eq!(ask("", &[("Cookie", &cookie), foreign]), Some(403));
    assert_eq!(ask("?ticket=guessed", &[("Cookie", &cookie), foreign]), Some(401), "the cookie does not help");
    let ticket = send(address, "POST", "/api/ticket", &json!({}), &[("X-API-Key", &key)]).json();
    let query = format!("?ticket={}", ticket["ticket"].as_str().unwrap());
    assert_eq!(ask(&query, &[foreign]), None);
    assert_eq!(ask(&query, &[foreign]), Some(401), "a ticket opens one");
    // Nor is a list shown for the cookie of a page of another origin.
    assert_eq!(get(address, "/api/events", &[("Cookie", &cookie), foreign]).status, 401);
}
