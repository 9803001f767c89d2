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
    by_channel: HashMap<Arc<str>, Kept>,
    /// All of them, the oldest first, by partition and offset; of some only this is left.
    order: VecDeque<(Arc<str>, usize, i64)>,
    bytes: usize,
    /// Where each partition of the topic is read on.
    next: Read,
    /// What comes before these is not there any more, or was forgotten with its whole channel.
    lost: Read,
}

/// What is kept of a channel.
#[derive(Debug, Default)]
struct Kept {
    notified: VecDeque<Notified>,
    /// What comes before these was forgotten.
    lost: Read,
}

/// What a channel has for who has read up to a position.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// Where there may have been more that is not kept: from where on it is told.
    pub(super) gap: Option<Read>,
    /// Notifications, each with how far one has read with it.
    pub(super) found: Vec<(Read, Bytes)>,
    /// How far one has read with all of it. A channel that is quiet falls behind nobody.
    pub(super) next: Read,
}

/// How far somebody has read: the next offset of each partition of the topic. It means the same to every server of a
/// log, and after a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Read(Vec<i64>);

impl Read {
    fn at(&self, partition: usize) -> i64 {
        self.0.get(partition).copied().unwrap_or(0)
    }

    /// Goes on to an offset of a partition, but not back.
    fn reach(&mut self, partition: usize, offset: i64) {
        if self.0.len() <= partition {
            self.0.resize(partition + 1, 0);
        }
        if let Some(at) = self.0.get_mut(partition) {
            *at = offset.max(*at);
        }
    }
}

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
    /// Takes a notification in; the channel, where it is one. `is_live` is whether it is new, and not what was there at
    /// first.
    pub(super) fn take(
        &mut self,
        channel: &str,
        partition: i32,
        offset: i64,
        document: Option<Bytes>,
        is_live: bool,
    ) -> Option<Arc<str>> {
        let partition = usize::try_from(partition).ok()?;
        if !is_live && self.next.at(partition) == 0 {
            // The log begins here: the rest has been removed.
            self.lost.reach(partition, offset);
        }
        self.next.reach(partition, offset + 1);
        let document = document?;
        self.bytes += document.len();
        let name = match self.by_channel.get_key_value(channel) {
            Some((name, _)) => Arc::clone(name),
            None => channel.into(),
        };
        let kept = self.by_channel.entry(Arc::clone(&name)).or_default();
        kept.notified.push_back(Notified { partition, offset, document });
        if kept.notified.len() > MOST_OF_ONE {
            self.bytes -= kept.forget_oldest();
        }
        self.order.push_back((Arc::clone(&name), partition, offset));
        while self.order.len() > MOST || self.bytes > MOST_BYTES {
            self.forget_oldest();
        }
        Some(name)
    }

    /// The log goes on at `next` in a partition, also where its last records are gone.
    pub(super) fn reach(&mut self, partition: i32, next: i64, is_live: bool) {
        let Ok(partition) = usize::try_from(partition) else { return };
        if !is_live && self.next.at(partition) == 0 {
            self.lost.reach(partition, next);
        }
        self.next.reach(partition, next);
    }

    fn forget_oldest(&mut self) {
        let Some((channel, partition, offset)) = self.order.pop_front() else { return };
        let Some(kept) = self.by_channel.get_mut(&channel) else { return };
        // It may be gone already: a channel keeps so many.
        let is_it = |oldest: &Notified| (oldest.partition, oldest.offset) == (partition, offset);
        if kept.notified.front().is_some_and(is_it) {
            self.bytes -= kept.forget_oldest();
        }
        if kept.notified.is_empty() {
            self.lost.reach(partition, offset + 1);
            self.by_channel.remove(&channel);
        }
    }

    /// How far it is read now.
    pub(super) fn now(&self) -> Read {
        self.next.clone()
    }

    /// Whether it is read up to a position.
    pub(super) fn has_reached(&self, read: &Read) -> bool {
        read.0.iter().enumerate().all(|(partition, offset)| *offset <= self.next.at(partition))
    }

    /// What a channel has that comes after `read`. A position that is farther than the log is of another log: then it is
    /// all that is kept, after a gap.
    pub(super) fn after(&self, channel: &str, read: &Read) -> News {
        let kept = self.by_channel.get(channel);
        let mut so_far = read.clone();
        let mut has_gap = false;
        for partition in 0..self.next.0.len().max(read.0.len()) {
            let lost = kept.map_or(0, |kept| kept.lost.at(partition)).max(self.lost.at(partition));
            let is_foreign = read.at(partition) > self.next.at(partition);
            if is_foreign {
                so_far.0.iter_mut().skip(partition).take(1).for_each(|offset| *offset = 0);
            }
            has_gap |= is_foreign || so_far.at(partition) < lost;
            so_far.reach(partition, lost);
        }
        let gap = has_gap.then(|| so_far.clone());
        let mut found = Vec::new();
        for Notified { partition, offset, document } in kept.iter().flat_map(|kept| &kept.notified) {
            if so_far.at(*partition) <= *offset {
                so_far.reach(*partition, offset + 1);
                found.push((so_far.clone(), document.clone()));
            }
        }
        News { gap, found, next: self.now() }
    }
}

impl Kept {
    /// Forgets the oldest notification; how many bytes it had.
    fn forget_oldest(&mut self) -> usize {
        let Some(Notified { partition, offset, document }) = self.notified.pop_front() else { return 0 };
        self.lost.reach(partition, offset + 1);
        document.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(channels: &mut Channels, channel: &str, partition: i32, offset: i64, body: &str) {
        channels.take(channel, partition, offset, Some(Bytes::copy_from_slice(body.as_bytes())), true);
    }

    fn news(channels: &Channels, channel: &str, read: &str) -> News {
        channels.after(channel, &read.parse().unwrap())
    }

    /// What comes after a position, and whether there is a gap before.
    fn bodies(channels: &Channels, channel: &str, read: &str) -> (bool, Vec<String>) {
        let News { gap, found, .. } = news(channels, channel, read);
        (gap.is_some(), found.iter().map(|(_, body)| String::from_utf8(body.to_vec()).unwrap()).collect())
    }

    #[test]
    fn a_client_reads_on_where_it_was() {
        let mut channels = Channels::default();
        assert_eq!(channels.now().to_string(), "0");
        take(&mut channels, "a", 1, 5, "1");
        take(&mut channels, "b", 0, 3, "2");
        take(&mut channels, "a", 1, 7, "3");
        assert_eq!(channels.now().to_string(), "4-8");
        let told = |gap: bool, bodies: &[&str]| (gap, bodies.iter().map(|body| (*body).to_owned()).collect::<Vec<_>>());
        assert_eq!(bodies(&channels, "a", "0"), told(false, &["1", "3"]));
        assert_eq!(bodies(&channels, "a", "4-6"), told(false, &["3"]));
        assert_eq!(bodies(&channels, "a", "4-8"), told(false, &[]));
        assert_eq!(bodies(&channels, "a", "4-900"), told(true, &["1", "3"]), "of another log");
        let ids: Vec<String> =
            channels.after("a", &Read::default()).found.iter().map(|(read, _)| read.to_string()).collect();
        assert_eq!(ids, ["0-6", "0-8"]);
        assert_eq!(news(&channels, "b", "0").next.to_string(), "4-8");
        let reached = |read: &str| channels.has_reached(&read.parse().unwrap());
        assert_eq!(["0", "4-8", "4-9", "4-8-0", "4-8-1"].map(reached), [true, true, false, true, false]);
        assert!("x".parse::<Read>().is_err() && "".parse::<Read>().is_err());
    }

    #[test]
    fn what_is_not_kept_any_more_is_a_gap() {
        let mut channels = Channels::default();
        // The log has lost what was before 100, and in partition 1 all that there was.
        channels.take("a", 0, 100, Some(Bytes::from_static(b"x")), false);
        channels.take("a", 0, 101, Some(Bytes::from_static(b"x")), false);
        channels.reach(0, 102, false);
        channels.reach(1, 7, false);
        let gap = |channels: &Channels, read: &str| news(channels, "a", read).gap.map(|gap| gap.to_string());
        assert_eq!(gap(&channels, "99-7").as_deref(), Some("100-7"));
        assert_eq!(gap(&channels, "100-6").as_deref(), Some("100-7"));
        assert_eq!([gap(&channels, "100-7"), gap(&channels, "102-7")], [None, None]);
        for offset in 0..MOST_OF_ONE as i64 {
            take(&mut channels, "a", 0, 102 + offset, "x");
        }
        assert_eq!(news(&channels, "a", "101-7").found.len(), MOST_OF_ONE);
        assert_eq!((gap(&channels, "102-7"), gap(&channels, "101-7").as_deref()), (None, Some("102-7")));
        assert_eq!(news(&channels, "b", "101-7").gap, None, "of another channel nothing was forgotten");
        let told = news(&channels, "a", "101-7");
        assert_eq!(channels.after("a", &told.next), News { gap: None, found: Vec::new(), next: told.next.clone() });
        for offset in 0..MOST as i64 {
            take(&mut channels, "c", 0, 2_000 + offset, "x");
        }
        assert!(!channels.by_channel.contains_key("a"));
        assert_eq!(gap(&channels, "1101-7").as_deref(), Some("1102-7"), "it was forgotten whole");
        assert_eq!(gap(&channels, "1102-7"), None);
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut channels = Channels::default();
        for offset in 0..MOST as i64 + 10 {
            let channel = if offset < 1_100 { "long".to_owned() } else { format!("c{offset}") };
            take(&mut channels, &channel, 0, offset, "x");
        }
        assert_eq!(channels.order.len(), MOST);
        assert_eq!(channels.by_channel["long"].notified.len(), MOST_OF_ONE);
        assert_eq!(channels.by_channel["long"].notified.front().map(|first| first.offset), Some(100));
        assert_eq!(channels.bytes, channels.by_channel.values().map(|kept| kept.notified.len()).sum::<usize>());
        for offset in 0..MOST as i64 {
            take(&mut channels, "new", 0, MOST as i64 + 10 + offset, "x");
        }
        assert!(channels.by_channel.len() == 1 && channels.by_channel["new"].notified.len() == MOST_OF_ONE);
    }
}
