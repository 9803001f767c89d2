//! The records to measure with, in memory, and the truth about them.
//!
//! Keys and values lie one after the other in large chunks that stay until the end, so that what
//! they take is known to the byte and can be left out of what the pipeline takes.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::generate::{GenerateConfig, Generated, Kind, bench_records};
use headwater_operators::ListingId;
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

use super::BenchError;

/// Bytes are kept in pieces of this size.
const CHUNK_BYTES: usize = 4 << 20;

/// Stands for the length of a value that is not there.
const NO_VALUE: u32 = u32::MAX;

/// Whose record it is and how it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sender {
    pub source: Arc<str>,
    /// Empty where nothing is known of it.
    pub content_type: Arc<str>,
}

/// One record of the input.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'a> {
    pub sender: usize,
    /// Its number among all records, from 0.
    pub order: u32,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    /// Whether it says something that was not said before, as far as is known.
    pub new: bool,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    chunk: u32,
    at: u32,
    key: u32,
    value: u32,
    order: u32,
    sender: u16,
    new: bool,
}

/// The true event of each listing.
pub(super) type Truth = HashMap<ListingId, u64>;

/// All records, dealt to partitions by key.
#[derive(Debug)]
pub(super) struct Input {
    chunks: Vec<Vec<u8>>,
    partitions: Vec<Vec<Entry>>,
    senders: Vec<Sender>,
    /// `None` where nobody knows it.
    pub truth: Option<Truth>,
    /// Of all values.
    pub value_bytes: u64,
}

/// Lines of a file, as records of one source.
#[derive(Debug, Clone)]
pub(super) struct Lines<'a> {
    pub file: &'a Path,
    pub sender: Sender,
    /// JSON Pointer to the key.
    pub key: Option<&'a str>,
    pub limit: u64,
}

impl Input {
    fn new(partitions: usize) -> Self {
        Self {
            chunks: Vec::new(),
            partitions: vec![Vec::new(); partitions.max(1)],
            senders: Vec::new(),
            truth: None,
            value_bytes: 0,
        }
    }

    /// Generated records, with the truth.
    pub fn generated(records: u64, config: GenerateConfig, partitions: usize) -> Result<Self, BenchError> {
        let mut input = Self::new(partitions);
        let mut truth = Truth::new();
        for record in bench_records(records, config)? {
            learn(&mut truth, &record);
            let sender = Sender { source: Arc::clone(&record.source), content_type: record.content_type.into() };
            let new = record.kind != Kind::Repeat;
            input.push(&sender, record.key.as_deref(), record.value.as_deref(), new);
        }
        input.truth = Some(truth);
        Ok(input)
    }

    /// The lines of a file; empty ones are left out.
    pub fn lines(lines: &Lines<'_>, partitions: usize) -> Result<Self, BenchError> {
        let failed = |source| BenchError::File { path: PathBuf::from(lines.file), source };
        let mut input = Self::new(partitions);
        let mut reader = BufReader::new(File::open(lines.file).map_err(failed)?);
        let mut line = Vec::new();
        while input.len() < lines.limit {
            line.clear();
            if reader.read_until(b'\n', &mut line).map_err(failed)? == 0 {
                break;
            }
            let value = line.trim_ascii();
            if !value.is_empty() {
                let key = lines.key.and_then(|pointer| key_in(value, pointer));
                input.push(&lines.sender, key.as_deref(), Some(value), true);
            }
        }
        Ok(input)
    }

    fn push(&mut self, sender: &Sender, key: Option<&[u8]>, value: Option<&[u8]>, new: bool) {
        let (key, size) = (key.unwrap_or_default(), value.map_or(0, <[u8]>::len));
        // Versions of one document stay in one partition, as a producer would keep them. Without a
        // key any will do.
        let spread = if key.is_empty() { self.len() } else { xxh3_64(key) ^ xxh3_64(sender.source.as_bytes()) };
        let order = self.len() as u32;
        let sender = self.number(sender);
        let needed = key.len() + size;
        if self.chunks.last().is_none_or(|chunk| chunk.len() + needed > chunk.capacity()) {
            self.chunks.push(Vec::with_capacity(CHUNK_BYTES.max(needed)));
        }
        let number = self.chunks.len().saturating_sub(1) as u32;
        let Some(chunk) = self.chunks.last_mut() else { return };
        let at = chunk.len() as u32;
        chunk.extend_from_slice(key);
        chunk.extend_from_slice(value.unwrap_or_default());
        self.value_bytes += size as u64;
        let value = value.map_or(NO_VALUE, |value| value.len() as u32);
        let count = self.partitions.len() as u64;
        if let Some(partition) = self.partitions.get_mut((spread % count) as usize) {
            partition.push(Entry { chunk: number, at, key: key.len() as u32, value, order, sender, new });
        }
    }

    fn number(&mut self, sender: &Sender) -> u16 {
        let known = self.senders.iter().position(|known| known == sender);
        known.unwrap_or_else(|| {
            self.senders.push(sender.clone());
            self.senders.len() - 1
        }) as u16
    }

    /// How many records there are.
    pub fn len(&self) -> u64 {
        self.partitions.iter().map(|partition| partition.len() as u64).sum()
    }

    /// Who sends.
    pub fn senders(&self) -> &[Sender] {
        &self.senders
    }

    /// How many records each partition holds.
    pub fn lengths(&self) -> Vec<usize> {
        self.partitions.iter().map(Vec::len).collect()
    }

    /// How many of the first `records` records each partition holds.
    pub fn split(&self, records: u64) -> Vec<usize> {
        let before = |partition: &Vec<Entry>| partition.partition_point(|entry| u64::from(entry.order) < records);
        self.partitions.iter().map(before).collect()
    }

    /// A record by its place in a partition.
    pub fn get(&self, partition: usize, index: usize) -> Option<Record<'_>> {
        let entry = self.partitions.get(partition)?.get(index)?;
        let (at, key) = (entry.at as usize, entry.key as usize);
        let bytes = self.chunks.get(entry.chunk as usize)?.get(at..)?;
        let value = match entry.value {
            NO_VALUE => None,
            size => Some(bytes.get(key..key + size as usize)?),
        };
        let key = bytes.get(..key).filter(|key| !key.is_empty());
        Some(Record { sender: entry.sender as usize, order: entry.order, key, value, new: entry.new })
    }

    /// All records in the order in which they were sent.
    pub fn in_order(&self) -> Vec<(usize, usize)> {
        let places = self.partitions.iter().enumerate();
        let mut all: Vec<(u32, usize, usize)> =
            places.flat_map(|(p, entries)| entries.iter().enumerate().map(move |(i, e)| (e.order, p, i))).collect();
        all.sort_unstable();
        all.into_iter().map(|(_, partition, index)| (partition, index)).collect()
    }
}

fn learn(truth: &mut Truth, record: &Generated) {
    for (external_id, event) in &record.truth {
        let listing = ListingId::of(&record.source, external_id);
        match record.kind {
            Kind::Withdrawal => truth.remove(&listing),
            _ => truth.insert(listing, *event),
        };
    }
}

fn key_in(line: &[u8], pointer: &str) -> Option<Vec<u8>> {
    let line: Value = serde_json::from_slice(line).ok()?;
    match line.pointer(pointer)? {
        Value::String(text) => Some(text.clone().into_bytes()),
        Value::Null => None,
        other => Some(other.to_string().into_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_as_they_were_put_in() {
        let config = GenerateConfig { seed: 4, repeat_share: 0.2, withdraw_share: 0.0, ..GenerateConfig::default() };
        let given: Vec<Generated> = bench_records(3_000, config.clone()).unwrap().collect();
        let input = Input::generated(3_000, config, 3).unwrap();
        assert_eq!((input.len(), input.lengths().len()), (3_000, 3));
        let truth = input.truth.as_ref().unwrap();
        for (given, (partition, index)) in given.iter().zip(input.in_order()) {
            let record = input.get(partition, index).unwrap();
            assert_eq!((record.key, record.value), (given.key.as_deref(), given.value.as_deref()));
            assert_eq!(input.senders()[record.sender].source, given.source);
            assert_eq!(record.new, given.kind != Kind::Repeat);
            for (id, event) in given.truth.iter().filter(|_| given.kind == Kind::New) {
                assert_eq!(truth.get(&ListingId::of(&given.source, id)), Some(event));
            }
        }
        let split = input.split(1_000);
        assert_eq!(split.iter().sum::<usize>(), 1_000);
        assert!(split.iter().zip(input.lengths()).all(|(part, whole)| *part < whole));
    }

    #[test]
    fn lines_of_a_file_are_records_with_keys() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.jsonl");
        std::fs::write(&file, "{\"a\":{\"id\":7}}\n\n{\"a\":{}}\n{\"a\":{\"id\":\"x\"}}\nbeyond\n").unwrap();
        let sender = Sender { source: "s".into(), content_type: "".into() };
        let input = Input::lines(&Lines { file: &file, sender, key: Some("/a/id"), limit: 3 }, 2).unwrap();
        let keys: Vec<_> =
            input.in_order().iter().map(|(p, i)| input.get(*p, *i).unwrap().key.map(<[u8]>::to_vec)).collect();
        assert_eq!(keys, [Some(b"7".to_vec()), None, Some(b"x".to_vec())]);
        assert!(input.truth.is_none());
    }
}
