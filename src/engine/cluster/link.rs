//! A connection for timely's exchange, whose loss ends the topology with a word instead of a panic.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use timely::communication::allocator::zero_copy::stream::Stream;
use timely::communication::networking::MessageHeader;

use crate::engine::error::EngineError;
use crate::engine::lifecycle::Lifecycle;

/// A connection to one other process.
pub struct Link {
    stream: TcpStream,
    frames: Frames,
    peer: Arc<Peer>,
}

struct Peer {
    process: usize,
    address: String,
    lifecycle: Arc<Lifecycle>,
}

impl Peer {
    fn gone(&self) {
        if !self.lifecycle.failed() {
            self.lifecycle.fail(EngineError::PeerGone { process: self.process, address: self.address.clone() });
        }
    }
}

impl Link {
    /// The connection `stream` to `process`.
    pub fn new(stream: TcpStream, process: usize, address: String, lifecycle: &Arc<Lifecycle>) -> Self {
        let peer = Arc::new(Peer { process, address, lifecycle: Arc::clone(lifecycle) });
        Self { stream, frames: Frames::default(), peer }
    }
}

impl Read for Link {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) if self.frames.ended => return Ok(0),
                Ok(read) if read > 0 => {
                    self.frames.follow(buffer.get(..read).unwrap_or_default());
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => self.peer.gone(),
            }
            // timely would panic on an error, and so would every worker. The engine has been told;
            // there is nothing left to do here until the process ends.
            while self.peer.lifecycle.failed() {
                std::thread::park_timeout(Duration::from_secs(1));
            }
        }
    }
}

impl Write for Link {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.stream.write(bytes) {
            Ok(written) => Ok(written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(_) => {
                self.peer.gone();
                Ok(bytes.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Link {
    fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { stream: self.stream.try_clone()?, frames: Frames::default(), peer: Arc::clone(&self.peer) })
    }

    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.stream.set_nonblocking(nonblocking)
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        // Of no matter where the other side has gone.
        let _ = self.stream.shutdown(how);
        Ok(())
    }
}

/// Follows timely's framing, to tell an orderly end from a broken connection: a header for every
/// message, and a header of length 0 as the last one.
#[derive(Default)]
struct Frames {
    header: Vec<u8>,
    body_left: usize,
    ended: bool,
}

impl Frames {
    fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let part = if self.body_left > 0 { self.body_left } else { HEADER_BYTES - self.header.len() };
            let (now, later) = bytes.split_at(part.min(bytes.len()));
            bytes = later;
            if self.body_left > 0 {
                self.body_left -= now.len();
                continue;
            }
            self.header.extend_from_slice(now);
            if self.header.len() == HEADER_BYTES {
                self.body_left = length(&self.header);
                self.ended = self.body_left == 0;
                self.header.clear();
            }
        }
    }
}

/// Size of a [`MessageHeader`]: six numbers.
const HEADER_BYTES: usize = 6 * size_of::<u64>();

/// The length of the body that a header announces: its fifth number, in network order.
fn length(header: &[u8]) -> usize {
    let field = header.get(4 * size_of::<u64>()..5 * size_of::<u64>());
    let number = field.and_then(|field| field.try_into().ok()).map(u64::from_be_bytes);
    number.and_then(|number| usize::try_from(number).ok()).unwrap_or(0)
}

/// The size that timely itself gives.
const _: fn(&MessageHeader) -> usize = MessageHeader::header_bytes;

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: usize) -> Vec<u8> {
        let header = MessageHeader { channel: 1, source: 0, target_lower: 0, target_upper: 1, length, seqno: length };
        assert_eq!(header.header_bytes(), HEADER_BYTES);
        let mut bytes = Vec::new();
        header.write_to(&mut bytes).unwrap();
        bytes.resize(bytes.len() + length, 0);
        bytes
    }

    #[test]
    fn an_end_is_told_from_a_break_however_bytes_arrive() {
        let whole = [message(100), message(1), message(48), message(0)].concat();
        for step in 1..whole.len() {
            let mut frames = Frames::default();
            let mut seen = 0;
            for part in whole.chunks(step) {
                assert!(!frames.ended, "step {step}, after {seen} bytes");
                frames.follow(part);
                seen += part.len();
            }
            assert!(frames.ended, "step {step}");
        }
    }
}
