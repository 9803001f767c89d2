//! The WebSocket, over real sockets: many live streams on one connection.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

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

use support::http::{Running, get, listening, request, send};

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
        self.next_sized().0
    }

    /// The next message, and how many bytes it has.
    fn next_sized(&mut self) -> (Value, usize) {
        let message = self.socket.read().unwrap().into_text().unwrap();
        let bytes = message.len();
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
        (message, bytes)
    }

    /// Reads until the server closes; its code and reason.
    fn closed(&mut self) -> (u16, String) {
        loop {
            if let Message::Close(frame) = self.socket.read().unwrap() {
                let frame = frame.unwrap();
                return (frame.code.into(), frame.reason.as_str().to_owned());
            }
        }
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
fn a_socket_without_a_subscription_does_not_keep_a_server_from_stopping() {
    let running = Running::start();
    let mut client = connect(running.server.address(), "", &[]).ok().unwrap();
    client.subscribe("all", "");
    client.until("changes");
    client.ask(&json!({ "type": "unsubscribe", "subscription": "all" }));
    client.until("ended");
    let began = Instant::now();
    drop(running);
    let took = began.elapsed();
    assert!(took < Duration::from_millis(500), "it took {took:?}, and one second is what is left to others");
    assert_eq!(client.closed(), (1012, "the server stops".to_owned()));
}

#[test]
fn a_large_commit_comes_in_parts_of_which_the_last_one_has_the_position() {
    const MOST: usize = 1 << 20;
    let mut running = Running::start();
    let address = running.server.address();
    let mut client = connect(address, "", &[]).ok().unwrap();
    client.subscribe("all", "");
    client.reach(&running.position());
    let before = client.ids["all"].clone();
    let ids: Vec<String> = (0..5_000).map(|number| format!("e{number}")).collect();
    let long = "Heron ".repeat(150);
    let commit = |title: &str| -> Vec<(&str, Option<Value>)> {
        ids.iter().map(|id| (id.as_str(), Some(event(id, "Napa", &format!("{title} {long}"))))).collect()
    };
    running.commit(&commit("First"));
    let mut parts = Vec::new();
    while client.ids["all"] != running.position() {
        let (message, bytes) = client.next_sized();
        assert!(bytes <= MOST, "{bytes}");
        parts.push((message["id"].is_string(), bytes));
    }
    let (last, others) = parts.split_last().unwrap();
    assert!(last.0 && others.len() >= 4 && others.iter().all(|(has_id, _)| !has_id), "{parts:?}");
    assert!(others.iter().all(|(_, bytes)| *bytes > MOST / 2), "{parts:?}");
    assert_eq!(client.maps["all"].len(), ids.len());
    // Who is cut off between two parts gets the commit again, whole and once.
    let mut client = connect(address, "", &[]).ok().unwrap();
    client.subscribe("all", &format!("lastEventId={before}"));
    client.next();
    drop(client);
    let mut client = connect(address, "", &[]).ok().unwrap();
    client.subscribe("all", &format!("lastEventId={before}"));
    let mut entered = 0;
    while client.ids.get("all") != Some(&running.position()) {
        let message = client.next();
        let changes = message["changes"].as_array().unwrap();
        entered += changes.iter().filter(|change| change["event"] == "enter").count();
    }
    assert_eq!((entered, client.maps["all"].len()), (ids.len(), ids.len()));
    // A part that waits goes with its subscription.
    running.commit(&commit("Second"));
    client.ask(&json!({ "type": "unsubscribe", "subscription": "all" }));
    client.until("ended");
    client.maps.clear();
    client.subscribe("one", "q=second");
    client.until("changes");
    assert!(client.maps.keys().all(|name| name == "one"));
}

/// A server with a key that may read, and the key.
fn guarded() -> (Server, String) {
    let (key, hash) = generate().unwrap();
    let reader = KeyConfig { name: "reader".to_owned(), hash, scopes: vec![Scope::Read] };
    let config = ServeConfig { listen: "127.0.0.1:0".to_owned(), keys: vec![reader], ..ServeConfig::default() };
    (start(&config), key)
}

/// A server of nothing.
fn start(config: &ServeConfig) -> Server {
    let (live, mut writer) = Live::new();
    writer.set_lineage("0000002a".parse().unwrap());
    writer.begin(0, Timeline::default(), 0);
    let site = Site { access: Arc::new(config.access().unwrap()), ..Site::of(Hub::new(live)) };
    Server::start(&listening(&Origins::None), site).unwrap()
}

#[test]
fn a_socket_ends_with_its_session() {
    let (server, key) = guarded();
    let address = server.address();
    let sign_in = || {
        let signed_in = send(address, "POST", "/api/session", &json!({ "key": key }), &[]);
        signed_in.headers["set-cookie"].split(';').next().unwrap().to_owned()
    };
    let (cookie, other) = (sign_in(), sign_in());
    let open = |headers: &[(&str, &str)], query: &str| {
        let mut client = connect(address, query, headers).ok().unwrap();
        client.subscribe("all", "");
        client.until("changes");
        client
    };
    // A ticket stands for the session in which it was asked for.
    let ticket = send(address, "POST", "/api/ticket", &json!({}), &[("Cookie", &cookie)]).json();
    let query = format!("?ticket={}", ticket["ticket"].as_str().unwrap());
    let ending = [open(&[("Cookie", &cookie)], ""), open(&[], &query)];
    let lasting = [open(&[("Cookie", &other)], ""), open(&[("X-API-Key", &key)], "")];
    assert_eq!(request(address, "DELETE", "/api/session", &[("Cookie", &cookie)]).status, 204);
    for mut client in ending {
        assert_eq!(client.closed(), (1008, "the session has ended".to_owned()));
    }
    for mut client in lasting {
        client.ask(&json!({ "type": "unsubscribe", "subscription": "all" }));
        client.until("ended");
    }
}

#[test]
fn a_socket_ends_with_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.toml");
    let (key, hash) = generate().unwrap();
    std::fs::write(&file, format!("[[keys]]\nname = \"kim\"\nhash = {hash:?}\nscopes = [\"read\"]\n")).unwrap();
    let config =
        ServeConfig { listen: "127.0.0.1:0".to_owned(), keys_file: Some(file.clone()), ..ServeConfig::default() };
    let server = start(&config);
    let mut client = connect(server.address(), "", &[("X-API-Key", &key)]).ok().unwrap();
    client.subscribe("all", "");
    client.until("changes");
    std::fs::write(&file, "").unwrap();
    assert_eq!(client.closed(), (1008, "the key is not valid any more".to_owned()));
    assert_eq!(connect(server.address(), "", &[("X-API-Key", &key)]).err(), Some(401));
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
    let server = start(&config);
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
