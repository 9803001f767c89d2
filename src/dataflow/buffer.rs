//! The bytes of records: written into buffers that each thread keeps.

use std::cell::Cell;
use std::fmt;
use std::io::{self, Write};

use bytes::{Bytes, BytesMut};
use serde::Serialize;

/// Where the bytes of records are written. Thousands of records leave at once, made on one thread and
/// dropped on another; with an allocation for each they would take fresh memory all the time.
#[derive(Default)]
struct Buffers {
    /// Where one is written before its size is known.
    draft: Draft,
    /// Where it is kept, beside others.
    chunk: BytesMut,
}

thread_local! {
    static BUFFERS: Cell<Buffers> = Cell::default();
}

/// A record that is being written. Of what a JSON writer writes, four pieces of five are single signs,
/// a tenth of all instructions of a new listing if each goes the way of a slice.
#[derive(Default)]
struct Draft(Vec<u8>);

impl Write for Draft {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    #[inline(always)]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match bytes {
            [sign] => self.0.push(*sign),
            bytes => self.0.extend_from_slice(bytes),
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Memory is taken in such pieces; what is larger than a quarter of one gets its own.
const CHUNK_BYTES: usize = 256 << 10;

/// A draft that has become larger than this is dropped.
const KEPT_DRAFT_BYTES: usize = 1 << 20;

impl Buffers {
    fn kept(&mut self) -> Bytes {
        let draft = self.draft.0.as_slice();
        if draft.len() > CHUNK_BYTES / 4 {
            return Bytes::copy_from_slice(draft);
        }
        if self.chunk.capacity() < draft.len() {
            self.chunk = BytesMut::with_capacity(CHUNK_BYTES);
        }
        self.chunk.extend_from_slice(draft);
        self.chunk.split().freeze()
    }
}

/// What `write` writes.
fn written<E>(write: impl FnOnce(&mut Draft) -> Result<(), E>) -> Result<Bytes, E> {
    let mut buffers = BUFFERS.take();
    buffers.draft.0.clear();
    let written = write(&mut buffers.draft).map(|()| buffers.kept());
    if buffers.draft.0.capacity() <= KEPT_DRAFT_BYTES {
        BUFFERS.set(buffers);
    }
    written
}

/// Serialises what cannot fail to serialise: our own types, with string keys and finite numbers.
pub fn json<T: Serialize>(value: &T) -> Bytes {
    written(|draft| serde_json::to_writer(draft, value)).unwrap_or_else(|error| {
        tracing::error!(%error, "a value could not be serialised");
        Bytes::new()
    })
}

/// What `value` is displayed as: a key.
pub fn text(value: impl fmt::Display) -> Bytes {
    written(|draft| write!(draft, "{value}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_stays_whatever_is_written_after_it() {
        let texts: Vec<String> = (0..2_000).map(|n| "x".repeat(n * 37 % 9_000)).collect();
        let large = "y".repeat(2 * CHUNK_BYTES);
        let kept: Vec<Bytes> = texts.iter().chain([&large, &large]).map(json).collect();
        for (text, bytes) in texts.iter().chain([&large, &large]).zip(&kept) {
            assert_eq!(serde_json::from_slice::<String>(bytes).unwrap(), *text);
        }
        assert_eq!((&*text(17), &*text("")), (b"17".as_slice(), b"".as_slice()));
    }
}
