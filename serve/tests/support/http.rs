//! A small HTTP client, and a server to ask.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use headwater_serve::api::Origins;
use headwater_serve::commit::{Change, Commit, Topic};
use headwater_serve::live::{Live, Writer};
use headwater_serve::server::{Listening, Server};
use headwater_serve::site::Site;
use headwater_serve::stream::Hub;
use headwater_serve::timeline::Timeline;
use serde_json::Value;

/// A server, and the writer of what it serves.
pub struct Running {
    pub server: Server,
    pub hub: Arc<Hub>,
    pub writer: Writer,
    pub commit: u64,
}

impl Running {
    /// Serves nothing yet.
    pub fn start() -> Self {
        Self::start_for(&Origins::None)
    }

    pub fn start_for(origins: &Origins) -> Self {
        Self::start_as(origins, Site::of)
    }

    /// Serves what `site` makes of the events.
    pub fn start_as(origins: &Origins, site: impl FnOnce(Arc<Hub>) -> Site) -> Self {
        let (live, mut writer) = Live::new();
        writer.set_lineage("0000002a".parse().unwrap());
        writer.begin(0, Timeline::default(), 0);
        let hub = Hub::new(live);
        let server = Server::start(&listening(origins), site(Arc::clone(&hub))).unwrap();
        Self { server, hub, writer, commit: 0 }
    }

    pub fn live(&self) -> &Arc<Live> {
        self.hub.live()
    }

    /// Commits records of a topic.
    pub fn commit_to(&mut self, topic: Topic, records: &[(&str, Option<Value>)]) {
        self.commit += 1;
        let commit = self.commit;
        let change = |(key, value): &(&str, Option<Value>)| Change {
            topic,
            key: (*key).into(),
            value: value.as_ref().map(|value| value.to_string().into_bytes()),
            commit,
        };
        let changes =
            self.writer.apply(Commit { number: commit, ms: 0, changes: records.iter().map(change).collect() }).unwrap();
        self.hub.publish(&changes);
    }

    /// Commits events.
    pub fn commit(&mut self, records: &[(&str, Option<Value>)]) {
        self.commit_to(Topic::Events, records);
    }

    pub fn position(&self) -> String {
        self.live().position(self.commit).to_string()
    }

    pub fn get(&self, path: &str) -> Answer {
        get(self.server.address(), path, &[])
    }

    pub fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        get(self.server.address(), path, headers)
    }
}

/// A free port of this machine.
pub fn listening(origins: &Origins) -> Listening {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    Listening { address, origins: origins.clone(), tls: None, connections: 700, connections_per_address: 10 }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The ids of a list.
    pub fn ids(&self) -> Vec<String> {
        let json = self.json();
        let events = json["events"].as_array().unwrap_or_else(|| panic!("{json}"));
        events.iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
    }
}

pub fn get(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Answer {
    request(address, "GET", path, headers)
}

pub fn request(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let (mut reader, status, headers) = open(address, method, path, headers);
    let mut body = Vec::new();
    if headers.get("transfer-encoding").is_some_and(|encoding| encoding == "chunked") {
        while let Some(chunk) = chunk(&mut reader) {
            body.extend(chunk);
        }
    } else {
        reader.read_to_end(&mut body).unwrap();
    }
    Answer { status, headers, body }
}

/// Sends a request with a body in JSON.
pub fn send(address: SocketAddr, method: &str, path: &str, body: &Value, headers: &[(&str, &str)]) -> Answer {
    let typed = [headers, &[("Content-Type", "application/json")]].concat();
    send_bytes(address, method, path, body.to_string().as_bytes(), &typed)
}

/// Sends a request with a body.
pub fn send_bytes(address: SocketAddr, method: &str, path: &str, body: &[u8], headers: &[(&str, &str)]) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
    )
    .unwrap();
    // A server that refuses the body may have ended the connection already.
    let _ = stream.write_all(body);
    let mut whole = Vec::new();
    stream.read_to_end(&mut whole).unwrap();
    let end = whole.windows(4).position(|part| part == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(whole[..end].to_vec()).unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers: BTreeMap<String, String> =
        headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    Answer { status, headers, body: whole[end + 4..].to_vec() }
}

/// Sends a request, and reads the head of its answer.
pub fn open(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> (BufReader<TcpStream>, u16, BTreeMap<String, String>) {
    open_on(TcpStream::connect(address).unwrap(), method, path, headers)
}

/// A connection whose receiving side takes little before somebody reads. Without that, it is for the system to say
/// how much: on some machines 32 MiB.
pub fn narrow(address: SocketAddr) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 << 10).unwrap();
    let stream = runtime.block_on(socket.connect(address)).unwrap().into_std().unwrap();
    stream.set_nonblocking(false).unwrap();
    stream
}

/// As [`open`], on a connection.
pub fn open_on(
    mut stream: TcpStream,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> (BufReader<TcpStream>, u16, BTreeMap<String, String>) {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n").unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let status = line.split(' ').nth(1).unwrap().parse().unwrap();
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line).unwrap();
        match line.trim_end().split_once(": ") {
            Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.to_owned()),
            None => break,
        };
    }
    (reader, status, headers)
}

/// The next chunk of a body; `None` at its end, or when the connection was cut.
pub fn chunk(reader: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let size = usize::from_str_radix(line.trim_end(), 16).ok().filter(|size| *size > 0)?;
    let mut chunk = vec![0; size + 2];
    reader.read_exact(&mut chunk).ok()?;
    chunk.truncate(size);
    Some(chunk)
}
