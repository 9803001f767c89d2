//! What is written, counted.

use std::collections::HashMap;

use bytes::Bytes;
use headwater::log::{NewRecord, Transaction};
use headwater_operators::ListingId;

/// What transactions held.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Keys and values.
    pub bytes: u64,
    pub records: u64,
    /// Of the records of `events`.
    pub event_bytes: u64,
    pub commits: u64,
    /// Listing and event, in the order of the links written.
    links: Vec<(u128, u128)>,
}

impl Written {
    /// With room for the links of so many listings, so that its memory is known beforehand.
    pub fn with_room(links: usize) -> Self {
        Self { links: Vec::with_capacity(links), ..Self::default() }
    }

    /// Counts a transaction.
    pub fn add(&mut self, transaction: &Transaction) {
        self.commits += 1;
        transaction.records.iter().for_each(|record| self.add_record(record));
    }

    fn add_record(&mut self, record: &NewRecord) {
        let value = record.value.as_deref().unwrap_or_default();
        let size = (record.key.as_ref().map_or(0, Bytes::len) + value.len()) as u64;
        self.records += 1;
        self.bytes += size;
        if record.topic.ends_with("events") {
            self.event_bytes += size;
        } else if record.topic.ends_with("links") {
            self.links.extend(link(record.key.as_deref().unwrap_or_default(), value));
        }
    }

    /// Begins to count anew. Links stay known.
    pub fn start_counting(&mut self) {
        *self = Self { links: std::mem::take(&mut self.links), ..Self::default() };
    }

    /// Bytes of memory that the counting itself takes.
    pub fn own_bytes(&self) -> u64 {
        (self.links.len() * size_of::<(u128, u128)>()) as u64
    }

    /// The last event that each listing was said to be in.
    pub fn events(&self) -> HashMap<ListingId, u128> {
        self.links.iter().map(|(listing, event)| (ListingId(*listing), *event)).collect()
    }
}

/// Listing and event of a record of `links`. Found without parsing: what a benchmark does beside
/// what it measures should cost next to nothing.
fn link(key: &[u8], value: &[u8]) -> Option<(u128, u128)> {
    const FIELD: &[u8] = b"\"eventId\":\"";
    let at = value.windows(FIELD.len()).position(|window| window == FIELD)? + FIELD.len();
    Some((hexadecimal(key)?, hexadecimal(value.get(at..at + 32)?)?))
}

fn hexadecimal(text: &[u8]) -> Option<u128> {
    u128::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_links_are_counted() {
        let record = |topic: &str, key: String, value: &str| NewRecord {
            topic: topic.into(),
            key: Some(key.into()),
            value: Some(value.to_owned().into()),
            headers: Vec::new(),
            timestamp_ms: None,
        };
        let link = |listing: u8, event: u8| {
            let value = format!("{{\"format\":1,\"source\":\"s\",\"eventId\":\"{event:032x}\",\"via\":null}}");
            record("x.links", format!("{listing:032x}"), &value)
        };
        let mut written = Written::with_room(4);
        let records = vec![link(1, 5), record("x.events", "k".to_owned(), "{}"), link(2, 5), link(1, 6)];
        written.add(&Transaction { records, ..Transaction::default() });
        assert_eq!((written.records, written.commits, written.event_bytes), (4, 1, 3));
        assert_eq!(written.events(), [(ListingId(1), 6), (ListingId(2), 5)].into());
        written.start_counting();
        assert_eq!((written.bytes, written.own_bytes(), written.events().len()), (0, 96, 2));
    }

    #[test]
    fn what_is_no_link_is_left_out() {
        assert_eq!(link(b"1", b""), None);
        assert_eq!(link(b"x", b"\"eventId\":\"00000000000000000000000000000001\""), None);
    }
}
