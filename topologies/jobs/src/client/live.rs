//! Following one job.

use std::io::{BufRead, BufReader, Read};
use std::time::Duration;

use headwater::error::{Backoff, Fault};
use reqwest::Url;

use super::error::ClientError;
use super::http::Client;
use super::seen::Document;
use serde_json::value::RawValue;

/// The longest line of a stream. A document is not larger than a record of the log.
const LONGEST_LINE: u64 = 8 << 20;

/// Pauses before a stream is opened again: from here to there.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// An event of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LiveEvent {
    /// Its name, such as `job`.
    pub event: String,
    /// What it says.
    pub data: String,
    /// Its id, if it has one.
    pub id: Option<String>,
}

/// Events of a stream, read line by line.
#[derive(Debug)]
pub struct Events<R>(BufReader<R>);

impl<R: Read> Events<R> {
    /// Reads events from `source`.
    pub fn new(source: R) -> Self {
        Self(BufReader::new(source))
    }

    /// The next event; `None` at the end. An event that is cut off is none.
    ///
    /// # Errors
    /// When the source fails, or a line is too long or no UTF-8.
    pub fn next_event(&mut self) -> std::io::Result<Option<LiveEvent>> {
        let mut event = LiveEvent::default();
        let mut any_data = false;
        let mut line = String::new();
        loop {
            line.clear();
            let read = (&mut self.0).take(LONGEST_LINE).read_line(&mut line)?;
            if read == 0 {
                return Ok(None);
            }
            if !line.ends_with('\n') {
                let whole = read as u64 == LONGEST_LINE;
                return if whole { Err(std::io::Error::other("a line is too long")) } else { Ok(None) };
            }
            let text = line.trim_end_matches(['\n', '\r']);
            if text.is_empty() {
                if any_data {
                    return Ok(Some(event));
                }
                event = LiveEvent::default();
                continue;
            }
            let (field, value) = text.split_once(':').unwrap_or((text, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut event.event),
                "id" => event.id = Some(value.to_owned()),
                "data" => {
                    if any_data {
                        event.data.push('\n');
                    }
                    event.data.push_str(value);
                    any_data = true;
                }
                // Comments keep the connection.
                _ => {}
            }
        }
    }
}

/// One job as it changes. A connection that breaks is made again.
#[derive(Debug)]
pub struct Live {
    client: Client,
    url: Url,
    events: Option<Events<reqwest::blocking::Response>>,
    last: Option<String>,
    settled: bool,
    backoff: Backoff,
}

impl Client {
    /// Follows a job until it is settled.
    ///
    /// # Errors
    /// When there is none of this id: status 404.
    pub fn follow(&self, id: &str) -> Result<Live, ClientError> {
        let url = self.at(&["api", "jobs", id, "live"]);
        let events = Some(Events::new(self.stream(url.clone(), None)?));
        let backoff = Backoff::new(PAUSES.0, PAUSES.1);
        Ok(Live { client: self.clone(), url, events, last: None, settled: false, backoff })
    }
}

impl Live {
    /// The job after its next change; `None` once it is settled and has been told so. While the server is away, it
    /// waits.
    ///
    /// # Errors
    /// When the server says no, or something that cannot be read.
    pub fn next_document(&mut self) -> Result<Option<Document>, ClientError> {
        while !self.settled {
            let Some(event) = self.next_event()? else { continue };
            match event.event.as_str() {
                "job" => return self.document(&event.data).map(Some),
                "settled" => self.settled = true,
                _ => {}
            }
        }
        Ok(None)
    }

    fn document(&self, data: &str) -> Result<Document, ClientError> {
        let text = RawValue::from_string(data.to_owned());
        text.map(Document).map_err(|error| self.client.unreadable(&error.to_string()))
    }

    /// The next event, or nothing where the connection had to be made again.
    fn next_event(&mut self) -> Result<Option<LiveEvent>, ClientError> {
        let Some(events) = &mut self.events else {
            self.open_again()?;
            return Ok(None);
        };
        match events.next_event() {
            Ok(Some(event)) => {
                self.backoff.reset();
                if event.id.is_some() {
                    self.last.clone_from(&event.id);
                }
                Ok(Some(event))
            }
            Ok(None) | Err(_) => {
                self.events = None;
                std::thread::sleep(self.backoff.pause());
                Ok(None)
            }
        }
    }

    fn open_again(&mut self) -> Result<(), ClientError> {
        match self.client.stream(self.url.clone(), self.last.as_deref()) {
            Ok(response) => self.events = Some(Events::new(response)),
            Err(error) if error.may_pass() => {
                tracing::debug!(%error, "the stream of a job cannot be opened yet");
                std::thread::sleep(self.backoff.pause());
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<LiveEvent> {
        let mut events = Events::new(text.as_bytes());
        std::iter::from_fn(|| events.next_event().unwrap()).collect()
    }

    #[test]
    fn events_are_read_as_the_standard_says() {
        let read =
            all(": hello\n\nevent: job\nid: 7\ndata: {\"a\":\ndata:1}\n\nretry: 5\n\nevent:settled\r\ndata\r\n\r\n");
        let job = LiveEvent { event: "job".to_owned(), data: "{\"a\":\n1}".to_owned(), id: Some("7".to_owned()) };
        let settled = LiveEvent { event: "settled".to_owned(), ..LiveEvent::default() };
        assert_eq!(read, [job, settled]);
    }

    #[test]
    fn what_is_cut_off_is_no_event() {
        assert_eq!(all("event: job\ndata: {}\n"), []);
        assert_eq!(all("event: job\ndata: {}\n\nevent: jo").len(), 1);
    }

    #[test]
    fn lines_without_an_end_are_an_error() {
        let long = "data: ".to_owned() + &"x".repeat(LONGEST_LINE as usize);
        assert!(Events::new(long.as_bytes()).next_event().is_err());
    }
}
