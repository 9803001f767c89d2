//! What processes say to each other beside the data: a JSON value a line.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::options::Agreement;
use crate::engine::lifecycle::Totals;
use crate::engine::orders::Orders;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// The first line on every connection.
    Hello(Hello),
    /// The answer of one who takes the connection, with the number of this run.
    Welcome {
        /// Differs from run to run, so that what is left of an older one is not taken for this one.
        session: u64,
    },
    /// The answer of one who does not.
    Refused {
        /// Why.
        reason: String,
    },
    /// To process 0: all connections of the sender stand.
    Ready,
    /// From process 0: what to read.
    Start(Box<Orders>),
    /// How far the sender has come; several times a second.
    Beat(Beat),
    /// The sender ends because of a failure.
    Failed(Failure),
    /// The sender has ended in order; the last line.
    Ended(Totals),
}

/// Who calls, and what for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The caller's number.
    pub process: usize,
    /// What the connection is for.
    pub purpose: Purpose,
    /// The run that it belongs to; 0 where that is not known yet.
    pub session: u64,
    /// What has to be the same on both sides.
    pub agreement: Agreement,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// These messages.
    Control,
    /// The dataflow's exchange.
    Data,
}

/// How far a process has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// Epochs up to this one are committed, as far as the sender knows.
    pub committed: u64,
    /// Whether the state is restored and the outputs are corrected, as far as the sender knows.
    pub recovered: bool,
    /// Whether an orderly stop was asked for.
    pub stopping: bool,
    /// The sender's clock, in ms since the Unix epoch.
    pub now_ms: u64,
    /// What the sender has counted.
    pub totals: Totals,
}

/// Which process failed, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The process where it began.
    pub process: usize,
    /// Whether it went without a word.
    pub gone: bool,
    /// What it said otherwise.
    pub reason: String,
}

/// Writes one line.
pub fn send(stream: &mut TcpStream, message: &Message) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    stream.write_all(&line)
}

/// Strangers get no further than this.
const LONGEST_GREETING: usize = 1 << 16;

/// Reads one line without taking anything of what follows it. Waits in small steps until `deadline`
/// or `give_up`.
pub fn receive_first(
    stream: &mut TcpStream,
    deadline: Instant,
    give_up: impl Fn() -> bool,
) -> io::Result<Option<Message>> {
    stream.set_read_timeout(Some(STEP))?;
    let mut line = Vec::new();
    let mut byte = [0];
    while line.len() < LONGEST_GREETING {
        match stream.read(&mut byte) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) if byte == [b'\n'] => return Ok(Some(serde_json::from_slice(&line)?)),
            Ok(_) => line.extend(byte),
            Err(error) if is_pause(&error) && give_up() => return Ok(None),
            Err(error) if is_pause(&error) => {}
            Err(error) => return Err(error),
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

/// Reads lines as they come.
pub struct Incoming {
    stream: BufReader<TcpStream>,
    line: Vec<u8>,
}

/// How long reading waits before it gives the caller a moment.
const STEP: Duration = Duration::from_millis(200);

impl Incoming {
    /// Reads from `stream`.
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(STEP))?;
        Ok(Self { stream: BufReader::new(stream), line: Vec::new() })
    }

    /// The next line; `None` when nothing came for a moment.
    pub fn receive(&mut self) -> io::Result<Option<Message>> {
        match self.stream.read_until(b'\n', &mut self.line) {
            Ok(_) if self.line.ends_with(b"\n") => {
                let message = serde_json::from_slice(&self.line)?;
                self.line.clear();
                Ok(Some(message))
            }
            Ok(_) => Err(io::ErrorKind::UnexpectedEof.into()),
            // What came of the line stays.
            Err(error) if is_pause(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn is_pause(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (near, listener.accept().unwrap().0)
    }

    fn messages() -> Vec<Message> {
        let orders = r#"{"restored_epoch":7,"recovery":"Compare","rebuilding":true,"cut":false,"watermark":-1,"behind":[[{"topic":"t","partition":1},9]],
            "shares":[{"state":[],"tables":[[{"topic":"p","partition":0},3]],"raw":[[{"topic":"t","partition":1},{"next":4,"max_timestamp":5,"last":null}]]}],
            "dealt":{"t":2}}"#;
        let agreement = Agreement::from([("workers".to_owned(), "2".to_owned())]);
        let totals = Totals { records: 1, dead_letters: 2, gauges: vec![-3, 4] };
        vec![
            Message::Hello(Hello { process: 1, purpose: Purpose::Data, session: u64::MAX, agreement }),
            Message::Welcome { session: 9 },
            Message::Refused { reason: "a\nb \"c\" \u{1F3B7}".to_owned() },
            Message::Ready,
            Message::Start(serde_json::from_str(orders).unwrap()),
            Message::Beat(Beat { committed: 5, recovered: true, stopping: true, now_ms: 6, totals: totals.clone() }),
            Message::Failed(Failure { process: 2, gone: false, reason: String::new() }),
            Message::Ended(totals),
        ]
    }

    #[test]
    fn messages_arrive_as_they_were_sent_and_the_end_is_an_error() {
        let (mut near, mut far) = pair();
        messages().iter().for_each(|message| send(&mut near, message).unwrap());
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut received = vec![receive_first(&mut far, deadline, || false).unwrap().unwrap()];
        let mut incoming = Incoming::new(far).unwrap();
        while received.len() < messages().len() {
            received.extend(incoming.receive().unwrap());
        }
        assert_eq!(received, messages());
        near.write_all(b"\"Rea").unwrap();
        assert_eq!(incoming.receive().unwrap(), None, "half a line is none yet");
        near.write_all(b"dy\"\n").unwrap();
        let rest = loop {
            if let Some(message) = incoming.receive().unwrap() {
                break message;
            }
        };
        assert_eq!(rest, Message::Ready);
        drop(near);
        assert!(incoming.receive().is_err());
    }

    #[test]
    fn strangers_are_heard_for_a_limited_time_and_length() {
        let (near, mut far) = pair();
        assert_eq!(receive_first(&mut far, Instant::now(), || false).unwrap(), None);
        let (mut other, mut far) = pair();
        let long = std::thread::spawn(move || other.write_all(&vec![b'x'; LONGEST_GREETING + 1]));
        assert!(receive_first(&mut far, Instant::now() + Duration::from_secs(60), || false).is_err());
        drop((near, far));
        let _ = long.join().unwrap();
    }
}
