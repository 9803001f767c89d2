//! The clients of a load: plain sockets that read, and nothing that is allocated for a frame.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use memchr::memmem::{self, Finder};
use openssl::ssl::SslConnector;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio_openssl::SslStream;

use super::load::{Load, Transport};
use super::server::{SENT, now_micros};
use super::{BenchError, certificate};

/// Clients that ask for lists, each its next list when it has the last one.
pub(super) const REST_CLIENTS: u32 = 16;

/// What a client reads at once.
const BUFFER: usize = 8 << 10;

/// Connections that are made at the same time: more would overflow the queue of the server's socket.
const AT_ONCE: u32 = 64;

/// The longest latency that is told apart, in microseconds.
const LONGEST: u64 = 120_000_000;

/// Lists of all kinds that people ask for.
const LISTS: [&str; 8] = [
    "/api/events?limit=20",
    "/api/events?q=heron&limit=20",
    "/api/events?q=lantren&limit=10",
    "/api/events?category=c1&limit=50",
    "/api/events?lat=52.5&lng=13.4&radius=3&sort=distance&limit=20",
    "/api/events?startDate=2027-01-10&endDate=2027-01-12&limit=50&facets=category",
    "/api/events?q=otter+quartet&sort=relevance&limit=20",
    "/api/events?city=berlin&tag=copper&limit=20&fields=title,startTime",
];

/// Where clients connect, and how.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) address: SocketAddr,
    pub(super) transport: Transport,
    pub(super) tls: Option<SslConnector>,
}

/// A connection, encrypted or not.
trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Socket for S {}

impl Target {
    async fn connect(&self) -> io::Result<Box<dyn Socket>> {
        let stream = TcpStream::connect(self.address).await?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let ssl = tls.configure()?.into_ssl(certificate::NAME)?;
        let mut stream = SslStream::new(ssl, stream)?;
        Pin::new(&mut stream).connect().await.map_err(io::Error::other)?;
        Ok(Box::new(stream))
    }

    /// A stream of changes alone. It has begun when this returns.
    async fn subscribe(&self, class: u32) -> io::Result<Box<dyn Socket>> {
        let mut stream = self.connect().await?;
        let filter = format!("snapshot=false&category=c{class}");
        match self.transport {
            Transport::Sse => {
                let request = format!(
                    "GET /api/events/live?{filter} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
                );
                stream.write_all(request.as_bytes()).await?;
                expect(&mut *stream, "HTTP/1.1 200", b"\r\n\r\n").await?;
            }
            Transport::Websocket => {
                stream.write_all(UPGRADE.as_bytes()).await?;
                expect(&mut *stream, "HTTP/1.1 101", b"\r\n\r\n").await?;
                let asked = json!({ "type": "subscribe", "subscription": "s", "filter": filter }).to_string();
                stream.write_all(&text_frame(&asked)).await?;
                expect(&mut *stream, "", b"\"resumed\"").await?;
            }
        }
        Ok(stream)
    }
}

/// Asks for a WebSocket, with the key of RFC 6455, 1.3: what is answered to it is not looked at.
const UPGRADE: &str = "GET /api/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A frame of a client (RFC 6455, 5.2), of less than 64 KiB. Its mask is zero, which changes nothing.
fn text_frame(text: &str) -> Vec<u8> {
    const FINAL_TEXT: u8 = 0x81;
    const MASKED: u8 = 0x80;
    const TWO_BYTES: u8 = 126;
    let mut frame = vec![FINAL_TEXT];
    match u8::try_from(text.len()) {
        Ok(length) if length < TWO_BYTES => frame.push(MASKED | length),
        _ => {
            frame.push(MASKED | TWO_BYTES);
            frame.extend((text.len() as u16).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    frame
}

/// Reads until `last` has come. What was read has to begin with `first`.
async fn expect(stream: &mut dyn Socket, first: &str, last: &[u8]) -> io::Result<()> {
    let mut head = [0; 1_024];
    let mut read = 0;
    while memmem::find(&head[..read], last).is_none() {
        let count = stream.read(&mut head[read..]).await?;
        if count == 0 {
            let said = String::from_utf8_lossy(&head[..read]).into_owned();
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, said));
        }
        read += count;
    }
    if head.starts_with(first.as_bytes()) {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&head[..read]).into_owned()))
}

/// What was seen.
pub(super) struct Seen {
    /// Latencies in microseconds: of frames, or of requests.
    pub(super) latency: Histogram<u64>,
    /// Connections that ended before their time.
    pub(super) ended: u32,
    /// The time over which was counted.
    pub(super) seconds: f64,
}

/// Clients that are connected.
pub(super) struct Clients {
    runtime: Runtime,
    tasks: JoinSet<()>,
    told: Arc<Told>,
}

struct Told {
    latency: Mutex<Histogram<u64>>,
    ended: Mutex<u32>,
}

impl Told {
    fn record(&self, micros: u64) {
        // Longer ones are counted as the longest.
        self.latency.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(micros);
    }

    fn end(&self) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) += 1;
    }
}

/// Connects all clients of a load. Streams have read what there was when this returns.
pub(super) fn connect(load: Load, target: &Target, connections: u32) -> Result<Clients, BenchError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let latency = Histogram::new_with_bounds(1, LONGEST, 3).map_err(|error| super::silent(&error.to_string()))?;
    let told = Arc::new(Told { latency: Mutex::new(latency), ended: Mutex::new(0) });
    let mut tasks = JoinSet::new();
    if load == Load::Rest {
        for client in 0..REST_CLIENTS {
            tasks.spawn_on(ask_for_lists(target.clone(), client as usize, Arc::clone(&told)), runtime.handle());
        }
        return Ok(Clients { runtime, tasks, told });
    }
    let classes = load.classes(connections);
    let streams = runtime.block_on(connect_all(target, connections, classes))?;
    for stream in streams {
        tasks.spawn_on(read_frames(stream, Arc::clone(&told)), runtime.handle());
    }
    Ok(Clients { runtime, tasks, told })
}

async fn connect_all(target: &Target, connections: u32, classes: u32) -> Result<Vec<Box<dyn Socket>>, BenchError> {
    let mut streams = Vec::with_capacity(connections as usize);
    for begin in (0..connections).step_by(AT_ONCE as usize) {
        let mut some = JoinSet::new();
        for number in begin..connections.min(begin + AT_ONCE) {
            let target = target.clone();
            some.spawn(async move { (number, target.subscribe(number % classes).await) });
        }
        while let Some(done) = some.join_next().await {
            let (number, outcome) = done.map_err(|error| super::silent(&error.to_string()))?;
            streams.push(outcome.map_err(|source| BenchError::Connection { number, all: connections, source })?);
        }
    }
    Ok(streams)
}

async fn read_frames(mut stream: Box<dyn Socket>, told: Arc<Told>) {
    let needle = format!("\"{SENT}\":");
    let finder = Finder::new(&needle);
    let mut buffer = [0_u8; BUFFER];
    // What was read and may be the beginning of a time.
    let mut kept = 0;
    loop {
        let count = match stream.read(&mut buffer[kept..]).await {
            Ok(count) if count > 0 => count,
            _ => return told.end(),
        };
        let now = now_micros();
        let filled = kept + count;
        let used = scan(&buffer[..filled], &finder, |sent| told.record(now.saturating_sub(sent)));
        buffer.copy_within(used..filled, 0);
        kept = filled - used;
    }
}

/// Hands on every time that is there whole, and says how much need not be looked at again.
fn scan(bytes: &[u8], finder: &Finder<'_>, mut each: impl FnMut(u64)) -> usize {
    let mut used = 0;
    while let Some(at) = finder.find(&bytes[used..]) {
        let begin = used + at + finder.needle().len();
        let digits = bytes[begin..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if begin + digits == bytes.len() {
            return used + at;
        }
        let number = std::str::from_utf8(&bytes[begin..begin + digits]).ok().and_then(|text| text.parse().ok());
        number.into_iter().for_each(&mut each);
        used = begin + digits;
    }
    used.max(bytes.len().saturating_sub(finder.needle().len() - 1))
}

async fn ask_for_lists(target: Target, first: usize, told: Arc<Told>) {
    let Ok(mut stream) = target.connect().await else { return told.end() };
    let mut buffer = vec![0_u8; 1 << 20];
    for path in LISTS.iter().cycle().skip(first) {
        let began = Instant::now();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        if stream.write_all(request.as_bytes()).await.is_err() || !read_answer(&mut *stream, &mut buffer).await {
            return told.end();
        }
        told.record(began.elapsed().as_micros() as u64);
    }
}

/// Whether an answer with 200 was read whole.
async fn read_answer(stream: &mut dyn Socket, buffer: &mut [u8]) -> bool {
    let mut read = 0;
    let mut whole = None;
    while whole.is_none_or(|whole| read < whole) {
        match stream.read(&mut buffer[read..]).await {
            Ok(count) if count > 0 => read += count,
            _ => return false,
        }
        if whole.is_none()
            && let Some(head) = memmem::find(&buffer[..read], b"\r\n\r\n")
        {
            let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
            let length =
                text.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse::<usize>().ok());
            whole = length.map(|length| head + 4 + length);
        }
    }
    buffer.starts_with(b"HTTP/1.1 200")
}

impl Clients {
    /// Lets them read for so long, and says what they saw.
    pub(super) fn read_for(mut self, time: Duration) -> Seen {
        // What was asked before the load began does not count.
        self.told.latency.lock().unwrap_or_else(PoisonError::into_inner).reset();
        let began = Instant::now();
        std::thread::sleep(time);
        let seconds = began.elapsed().as_secs_f64();
        let latency = self.told.latency.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let ended = *self.told.ended.lock().unwrap_or_else(PoisonError::into_inner);
        self.tasks.abort_all();
        self.runtime.shutdown_background();
        Seen { latency, ended, seconds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_wherever_reads_are_cut() {
        let text = r#"data: {"a":1,"sentMicros":123456,"b":{}}\n\ndata: {"sentMicros":7}"#;
        let needle = format!("\"{SENT}\":");
        let finder = Finder::new(&needle);
        for cut in 0..=text.len() {
            let mut found = Vec::new();
            let mut kept: Vec<u8> = Vec::new();
            for part in [&text[..cut], &text[cut..]] {
                kept.extend_from_slice(part.as_bytes());
                let used = scan(&kept, &finder, |sent| found.push(sent));
                kept.drain(..used);
            }
            assert_eq!(found, [123_456, 7], "cut at {cut}");
        }
    }

    #[test]
    fn frames_of_clients_say_how_long_they_are() {
        for length in [1, 125, 126, 200, 300] {
            let text = "x".repeat(length);
            let frame = text_frame(&text);
            let head = if length < 126 { 6 } else { 8 };
            let told = if length < 126 {
                usize::from(frame[1] & 0x7f)
            } else {
                usize::from(u16::from_be_bytes([frame[2], frame[3]]))
            };
            assert_eq!((frame.len() - head, told, frame[0]), (length, length, 0x81));
        }
    }
}
