//! How processes find each other at the start.
//!
//! Each listens; each calls process 0 for control, and every process of a lower number for data.
//! Process 0 refuses who does not agree with it on what it takes to run together. When all
//! connections stand, every process has said [`Message::Ready`].

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::options::{Agreement, ClusterOptions};
use super::wire::{Hello, Message, Purpose, receive_first, send};
use crate::engine::error::EngineError;

/// The connections of one process.
pub struct Gathered {
    /// Process 0: to all others. The others: to process 0.
    pub control: Vec<(usize, TcpStream)>,
    /// By process; none to itself.
    pub data: Vec<Option<TcpStream>>,
}

/// Pause between attempts.
const PAUSE: Duration = Duration::from_millis(50);
/// How long one attempt to connect may take.
const CONNECT: Duration = Duration::from_secs(2);
/// How long a caller may take to say who it is.
const GREETING: Duration = Duration::from_secs(2);
/// What is waited for is said this often.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Connects this process to all others.
///
/// # Errors
/// See [`Cluster::join`](super::Cluster::join).
pub fn gather(options: &ClusterOptions, agreement: &Agreement) -> Result<Gathered, EngineError> {
    let listen = |error: io::Error| EngineError::Listen { address: options.listen.clone(), reason: error.to_string() };
    let listener = TcpListener::bind(&options.listen).map_err(listen)?;
    listener.set_nonblocking(true).map_err(listen)?;
    let count = options.addresses.len();
    let mut gathering = Gathering {
        options,
        agreement,
        deadline: Instant::now() + options.wait,
        told: Instant::now(),
        session: 0,
        control: (0..count).map(|_| None).collect(),
        data: (0..count).map(|_| None).collect(),
        refused: None,
    };
    gathering.call_lower()?;
    gathering.await_higher(&listener)?;
    gathering.all_ready()
}

struct Gathering<'a> {
    options: &'a ClusterOptions,
    agreement: &'a Agreement,
    deadline: Instant,
    told: Instant,
    session: u64,
    control: Vec<Option<TcpStream>>,
    data: Vec<Option<TcpStream>>,
    /// Why the last caller was refused.
    refused: Option<String>,
}

impl Gathering<'_> {
    fn is_first(&self) -> bool {
        self.options.process == 0
    }

    /// Calls process 0 for control, then all of lower numbers for data.
    fn call_lower(&mut self) -> Result<(), EngineError> {
        if self.is_first() {
            self.session = RandomState::new().hash_one(std::process::id()) | 1;
            return Ok(());
        }
        let control = self.call(0, Purpose::Control)?;
        put(&mut self.control, 0, control);
        for process in 0..self.options.process {
            let data = self.call(process, Purpose::Data)?;
            put(&mut self.data, process, data);
        }
        Ok(())
    }

    fn call(&mut self, process: usize, purpose: Purpose) -> Result<TcpStream, EngineError> {
        let address = self.options.address(process);
        loop {
            let reason = match self.attempt(&address, purpose) {
                Ok(Answer::Taken(stream, session)) => {
                    self.session = session;
                    return Ok(stream);
                }
                Ok(Answer::Refused(reason)) => return Err(EngineError::Refused { process, address, reason }),
                Ok(Answer::None) => "it does not answer".to_owned(),
                Err(error) => error.to_string(),
            };
            self.forget_gone()?;
            self.wait(&[process], &reason)?;
        }
    }

    fn attempt(&self, address: &str, purpose: Purpose) -> io::Result<Answer> {
        let resolved = address.to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?;
        let mut stream = TcpStream::connect_timeout(&resolved, CONNECT)?;
        // Where nobody listens yet, a call to this very machine may reach itself.
        if stream.local_addr()? == stream.peer_addr()? {
            return Ok(Answer::None);
        }
        stream.set_nodelay(true)?;
        let agreement = if purpose == Purpose::Control { self.agreement.clone() } else { Agreement::new() };
        let hello = Hello { process: self.options.process, purpose, session: self.session, agreement };
        send(&mut stream, &Message::Hello(hello))?;
        match receive_first(&mut stream, self.deadline, || self.stopped() || self.is_alone())? {
            Some(Message::Welcome { session }) => Ok(Answer::Taken(stream, session)),
            Some(Message::Refused { reason }) => Ok(Answer::Refused(reason)),
            _ => Ok(Answer::None),
        }
    }

    /// Takes the calls of all others: process 0 those for control, everybody those for data.
    fn await_higher(&mut self, listener: &TcpListener) -> Result<(), EngineError> {
        loop {
            self.forget_gone()?;
            let missing = self.missing();
            if missing.is_empty() {
                return Ok(());
            }
            match listener.accept() {
                Ok((stream, _)) => {
                    if let Err(error) = self.answer(stream) {
                        tracing::debug!(%error, "a call that came to nothing");
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let reason = self.refused.clone().unwrap_or_else(|| "no call from there".to_owned());
                    self.wait(&missing, &reason)?;
                }
                Err(error) => {
                    return Err(EngineError::Listen {
                        address: self.options.listen.clone(),
                        reason: error.to_string(),
                    });
                }
            }
        }
    }

    /// Those whose calls have not come.
    fn missing(&self) -> Vec<usize> {
        let lacks = |links: &[Option<TcpStream>], process: usize| links.get(process).is_none_or(Option::is_none);
        (self.options.process + 1..self.options.addresses.len())
            .filter(|process| lacks(&self.data, *process) || self.is_first() && lacks(&self.control, *process))
            .collect()
    }

    fn answer(&mut self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        let Some(Message::Hello(hello)) = receive_first(&mut stream, Instant::now() + GREETING, || false)? else {
            return Ok(());
        };
        if let Err(reason) = self.judge(&hello) {
            tracing::warn!(process = hello.process, reason, "a process was refused");
            send(&mut stream, &Message::Refused { reason: reason.clone() })?;
            self.refused = Some(reason);
            return Ok(());
        }
        send(&mut stream, &Message::Welcome { session: self.session })?;
        let links = if hello.purpose == Purpose::Control { &mut self.control } else { &mut self.data };
        put(links, hello.process, stream);
        Ok(())
    }

    /// Whether a caller is one who belongs here.
    fn judge(&self, hello: &Hello) -> Result<(), String> {
        let Hello { process, purpose, .. } = *hello;
        let count = self.options.addresses.len();
        if process <= self.options.process || process >= count {
            return Err(format!(
                "there is no place for process {process}: this is process {} of {count}",
                self.options.process
            ));
        }
        if purpose == Purpose::Data {
            return match hello.session == self.session {
                true => Ok(()),
                false => Err("it belongs to another run; restart all processes".to_owned()),
            };
        }
        let differences = differences(self.agreement, &hello.agreement, process);
        if !differences.is_empty() {
            return Err(differences.join("; "));
        }
        match self.control.get(process) {
            Some(Some(_)) => Err(format!("process {process} is there already")),
            _ => Ok(()),
        }
    }

    /// Lets go of processes that went while others were waited for.
    fn forget_gone(&mut self) -> Result<(), EngineError> {
        for process in 0..self.control.len() {
            if !self.control.get(process).and_then(Option::as_ref).is_some_and(is_gone) {
                continue;
            }
            if !self.is_first() {
                return Err(EngineError::PeerGone { process, address: self.options.address(process) });
            }
            tracing::warn!(process, "a process has gone before all were there; it is waited for again");
            for links in [&mut self.control, &mut self.data] {
                links.get_mut(process).and_then(Option::take);
            }
        }
        Ok(())
    }

    /// A pause; says now and then what is missing.
    fn wait(&mut self, missing: &[usize], reason: &str) -> Result<(), EngineError> {
        if self.stopped() {
            return Err(EngineError::Interrupted);
        }
        let process = missing.first().copied().unwrap_or(0);
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(EngineError::PeerMissing {
                process,
                address: self.options.address(process),
                waited: self.options.wait,
                reason: reason.to_owned(),
            });
        }
        if self.told.elapsed() >= TELL_EVERY {
            self.told = Instant::now();
            let names: Vec<String> =
                missing.iter().map(|process| format!("{process} at {}", self.options.address(*process))).collect();
            let names = names.join(", ");
            tracing::warn!(reason, "waiting for process {names}, for {} s at most", left.as_secs() + 1);
        }
        std::thread::sleep(PAUSE);
        Ok(())
    }

    /// Whether process 0 was there and has gone.
    fn is_alone(&self) -> bool {
        !self.is_first() && self.control.first().and_then(Option::as_ref).is_some_and(is_gone)
    }

    fn stopped(&self) -> bool {
        self.options.stop.load(Ordering::Relaxed)
    }

    /// Tells process 0 that all connections stand or, on process 0, waits for that word of all.
    fn all_ready(mut self) -> Result<Gathered, EngineError> {
        let control: Vec<(usize, TcpStream)> =
            self.control.drain(..).enumerate().filter_map(|(process, stream)| Some((process, stream?))).collect();
        for (process, stream) in &control {
            let gone = || EngineError::PeerGone { process: *process, address: self.options.address(*process) };
            let mut stream = stream.try_clone().map_err(|_| gone())?;
            if self.is_first() {
                self.await_ready(*process, stream)?;
            } else {
                send(&mut stream, &Message::Ready).map_err(|_| gone())?;
            }
        }
        for stream in self.data.iter().flatten() {
            stream.set_read_timeout(None).map_err(|error| EngineError::Thread { reason: error.to_string() })?;
        }
        Ok(Gathered { control, data: self.data })
    }

    fn await_ready(&mut self, process: usize, mut stream: TcpStream) -> Result<(), EngineError> {
        let address = self.options.address(process);
        match receive_first(&mut stream, self.deadline, || self.stopped()) {
            Ok(Some(Message::Ready)) => Ok(()),
            Ok(None) if self.stopped() => Err(EngineError::Interrupted),
            Ok(None) => {
                let reason = "it has not reached the others".to_owned();
                Err(EngineError::PeerMissing { process, address, waited: self.options.wait, reason })
            }
            _ => Err(EngineError::PeerGone { process, address }),
        }
    }
}

enum Answer {
    Taken(TcpStream, u64),
    Refused(String),
    None,
}

fn put(links: &mut [Option<TcpStream>], process: usize, stream: TcpStream) {
    if let Some(link) = links.get_mut(process) {
        *link = Some(stream);
    }
}

/// Whether the other side has closed the connection.
fn is_gone(stream: &TcpStream) -> bool {
    let peeked = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
    let _ = stream.set_nonblocking(false);
    match peeked {
        Ok(read) => read == 0,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    }
}

/// In what `theirs` is not as `ours`, in words.
fn differences(ours: &Agreement, theirs: &Agreement, process: usize) -> Vec<String> {
    let names = ours.keys().chain(theirs.keys().filter(|name| !ours.contains_key(*name)));
    let told = |value: Option<&String>| value.map_or("not given", String::as_str).to_owned();
    names
        .filter(|name| ours.get(*name) != theirs.get(*name))
        .map(|name| {
            let (ours, theirs) = (told(ours.get(name)), told(theirs.get(name)));
            format!("{name}: {ours} on process 0, {theirs} on process {process}")
        })
        .collect()
}
