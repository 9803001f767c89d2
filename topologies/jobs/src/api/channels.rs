//! Channels: the newest notifications of each, and the positions from which clients read on.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;

/// So many notifications of a channel are kept.
const MOST_OF_ONE: usize = 1_000;

/// So many are kept of all.
const MOST: usize = 100_000;

/// So many bytes are kept of all.
const MOST_BYTES: usize = 256 << 20;

/// A notification.
#[derive(Debug, Clone)]
pub(super) struct Notified {
    pub(super) partition: usize,
    pub(super) offset: i64,
    pub(super) document: Bytes,
}

/// The newest notifications of all channels.
#[derive(Debug, Default)]
pub(super) struct Channels {
    by_channel: HashMap<Arc<str>, VecDeque<Notified>>,
    /// All of them, the oldest first; of some only this is left.
    order: VecDeque<(Arc<str>, i64)>,
    bytes: usize,
    /// Where each partition of the topic is read on.
    next: Vec<i64>,
}

/// How far somebody has read: the next offset of each partition of the topic. It means the same to every server of a
/// log, and after a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Read(Vec<i64>);

/// A text is no [`Read`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no id of an event of this stream")]
pub(super) struct NoPosition;

impl FromStr for Read {
    type Err = NoPosition;

    fn from_str(text: &str) -> Result<Self, NoPosition> {
        let offsets: Result<Vec<i64>, _> = text.split('-').map(str::parse).collect();
        offsets.map(Self).map_err(|_| NoPosition)
    }
}

impl fmt::Display for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An empty id would be none to a browser.
        if self.0.is_empty() {
            return f.write_str("0");
        }
        for (number, offset) in self.0.iter().enumerate() {
            write!(f, "{}{offset}", if number == 0 { "" } else { "-" })?;
        }
        Ok(())
    }
}

impl Channels {
    /// Takes a notification in; the channel, where it is one.
    pub(super) fn take(
        &mut self,
        channel: &str,
        partition: i32,
        offset: i64,
        value: Option<Vec<u8>>,
    ) -> Option<Arc<str>> {
        let partition = usize::try_from(partition).ok()?;
        if self.next.len() <= partition {
            self.next.resize(partition + 1, 0);
        }
        if let Some(next) = self.next.get_mut(partition) {
            *next = offset + 1;
        }
        let document = Bytes::from(super::head::without_format(&value?));
        self.bytes += document.len();
        let name = match self.by_channel.get_key_value(channel) {
            Some((name, _)) => Arc::clone(name),
            None => channel.into(),
        };
        let kept = self.by_channel.entry(Arc::clone(&name)).or_default();
        kept.push_back(Notified { partition, offset, document });
        if kept.len() > MOST_OF_ONE
            && let Some(oldest) = kept.pop_front()
        {
            self.bytes -= oldest.document.len();
        }
        self.order.push_back((Arc::clone(&name), offset));
        while self.order.len() > MOST || self.bytes > MOST_BYTES {
            self.forget_oldest();
        }
        Some(name)
    }

    fn forget_oldest(&mut self) {
        let Some((channel, offset)) = self.order.pop_front() else { return };
        let Some(kept) = self.by_channel.get_mut(&channel) else { return };
        // It may be gone already: a channel keeps so many.
        if kept.front().is_some_and(|oldest| oldest.offset <= offset)
            && let Some(oldest) = kept.pop_front()
        {
            self.bytes -= oldest.document.len();
        }
        if kept.is_empty() {
            self.by_channel.remove(&channel);
        }
    }

    /// How far it is read now.
    pub(super) fn now(&self) -> Read {
        Read(self.next.clone())
    }

    /// What a channel has that comes after `read`, each with how far one has read with it. A position that is farther
    /// than the log is of another log: then it is all that is kept.
    pub(super) fn after(&self, channel: &str, read: &Read) -> Vec<(Read, Bytes)> {
        let at = |partition: usize| {
            let next = self.next.get(partition).copied().unwrap_or(0);
            read.0.get(partition).copied().filter(|offset| *offset <= next).unwrap_or(0)
        };
        let mut so_far = Read((0..self.next.len()).map(at).collect());
        let mut found = Vec::new();
        for Notified { partition, offset, document } in self.by_channel.get(channel).into_iter().flatten() {
            let Some(next) = so_far.0.get_mut(*partition).filter(|next| **next <= *offset) else { continue };
            *next = offset + 1;
            found.push((so_far.clone(), document.clone()));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies(channels: &Channels, channel: &str, read: &str) -> Vec<String> {
        let found = channels.after(channel, &read.parse().unwrap());
        found.iter().map(|(_, body)| String::from_utf8(body.to_vec()).unwrap()).collect()
    }

    #[test]
    fn a_client_reads_on_where_it_was() {
        let mut channels = Channels::default();
        assert_eq!(channels.now().to_string(), "0");
        let mut take = |channel: &str, partition, offset, body: &str| {
            channels.take(channel, partition, offset, Some(body.as_bytes().to_vec()));
        };
        take("a", 1, 5, "1");
        take("b", 0, 3, "2");
        take("a", 1, 7, "3");
        assert_eq!(channels.now().to_string(), "4-8");
        assert_eq!(bodies(&channels, "a", "0"), ["1", "3"]);
        assert_eq!(bodies(&channels, "a", "4-6"), ["3"]);
        assert!(bodies(&channels, "a", "4-8").is_empty());
        assert_eq!(bodies(&channels, "a", "4-900"), ["1", "3"], "of another log");
        let ids: Vec<String> = channels.after("a", &Read::default()).iter().map(|(read, _)| read.to_string()).collect();
        assert_eq!(ids, ["0-6", "0-8"]);
        assert!("x".parse::<Read>().is_err() && "".parse::<Read>().is_err());
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut channels = Channels::default();
        for offset in 0..MOST as i64 + 10 {
            let channel = if offset < 1_100 { "long".to_owned() } else { format!("c{offset}") };
            channels.take(&channel, 0, offset, Some(b"x".to_vec()));
        }
        assert_eq!(channels.order.len(), MOST);
        assert_eq!(channels.by_channel["long"].len(), MOST_OF_ONE);
        assert_eq!(channels.by_channel["long"].front().map(|first| first.offset), Some(100));
        assert_eq!(channels.bytes, channels.by_channel.values().map(VecDeque::len).sum::<usize>());
        for offset in 0..MOST as i64 {
            channels.take("new", 0, MOST as i64 + 10 + offset, Some(b"x".to_vec()));
        }
        assert!(channels.by_channel.len() == 1 && channels.by_channel["new"].len() == MOST_OF_ONE);
    }
}
