//! What processes say to each other beside the data: a JSON value a line.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Agreement;
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
            Err(error) if is_pause(&error) => {
                if Instant::now() >= deadline || give_up() {
                    return Ok(None);
                }
            }
            Err(error) => return Err(error),
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
