//! Looking up many phrases in a text that is read once.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64;

use crate::words::fold;

/// Hashes of the words of a text, in order.
pub(super) type Words = SmallVec<[u64; 256]>;

/// Stands between texts, so that no phrase reaches from one into the next.
pub(super) const BOUNDARY: u64 = 0;

/// Bytes by which words are told apart; the rest of a longer one is ignored.
const MAX_WORD: usize = 32;

/// Appends the hashes of the words of `text`. Apostrophes vanish, as in [`fold`].
pub(super) fn push_words(text: &str, words: &mut Words) {
    let mut rest = text;
    // What is not ASCII is folded by itself, up to the spaces around it: folding never reaches across one.
    while let Some(at) = rest.bytes().position(|byte| !byte.is_ascii()) {
        let (before, after) = rest.split_at(at);
        let begin = before.rfind(' ').map_or(0, |space| space + 1);
        let end = after.find(' ').map_or(rest.len(), |space| at + space);
        let (folded, after) = rest.split_at(end);
        let (plain, folded) = folded.split_at(begin);
        push_folded_words(plain, words);
        push_folded_words(&fold(folded), words);
        rest = after;
    }
    push_folded_words(rest, words);
}

pub(super) fn push_folded_words(text: &str, words: &mut Words) {
    let mut word = [0u8; MAX_WORD];
    let mut len = 0;
    for byte in text.bytes().chain([b' ']) {
        match LETTERS[usize::from(byte)] {
            APOSTROPHE => {}
            NO_LETTER if len > 0 => {
                words.push(xxh3_64(without_plural(&word[..len], &mut [0; MAX_WORD])));
                len = 0;
            }
            NO_LETTER => {}
            letter if len < MAX_WORD => {
                word[len] = letter;
                len += 1;
            }
            _ => {}
        }
    }
}

/// Not part of a word.
const NO_LETTER: u8 = 0;

/// Ignored within a word.
const APOSTROPHE: u8 = 1;

/// What each byte of UTF-8 is in a word: itself in lower case, or one of the above.
const LETTERS: [u8; 256] = {
    let mut letters = [NO_LETTER; 256];
    let mut byte = 0;
    while byte < 256 {
        if (byte as u8).is_ascii_alphanumeric() || byte >= 0x80 {
            letters[byte] = (byte as u8).to_ascii_lowercase();
        }
        byte += 1;
    }
    letters[b'\'' as usize] = APOSTROPHE;
    letters
};

/// The word without the ending of an English plural, so that `class` and `classes`, `party` and
/// `parties`, `movie` and `movies` each come to the same. The result need not be a word.
fn without_plural<'a>(word: &'a [u8], buffer: &'a mut [u8; MAX_WORD]) -> &'a [u8] {
    match word {
        [stem @ .., b's' | b'x' | b'z' | b'h', b'e', b's'] if stem.len() >= 2 => &word[..word.len() - 2],
        [_, _, .., b's', b's'] | [_, _, .., b'u' | b'i', b's'] => word,
        [_, _, .., _, b's'] if word.len() > 3 => &word[..word.len() - 1],
        [stem @ .., before, b'y'] if stem.len() >= 2 && !b"aeiou".contains(before) && word.len() < MAX_WORD => {
            buffer[..word.len()].copy_from_slice(word);
            buffer[word.len() - 1] = b'i';
            buffer[word.len()] = b'e';
            &buffer[..=word.len()]
        }
        _ => word,
    }
}

/// Finds phrases in a text: a tree of words, with all its steps in one hash table.
#[derive(Debug, Default)]
pub(super) struct Phrases {
    /// From (node, word) to node. The root is 0.
    steps: HashMap<u64, u32, BuildHasherDefault<AlreadyHashed>>,
    /// Bits of the first words: most words of a text begin no phrase, and are told apart here.
    first_words: Filter,
    /// Signals of the phrases that end at each node.
    ends: Vec<Vec<usize>>,
}

#[derive(Debug)]
struct Filter(Box<[u64; 256]>);

impl Default for Filter {
    fn default() -> Self {
        Self(Box::new([0; 256]))
    }
}

impl Filter {
    pub(super) fn insert(&mut self, word: u64) {
        self.0[usize::from(word as u8)] |= 1 << (word >> 58);
    }

    fn may_contain(&self, word: u64) -> bool {
        self.0[usize::from(word as u8)] & (1 << (word >> 58)) != 0
    }
}

impl Phrases {
    pub(super) fn insert(&mut self, words: &[u64], signal: usize) {
        if self.ends.is_empty() {
            self.ends.push(Vec::new());
        }
        let mut node = 0;
        for (position, &word) in words.iter().enumerate() {
            if position == 0 {
                self.first_words.insert(word);
            }
            let fresh = self.ends.len() as u32;
            node = *self.steps.entry(step(node, word)).or_insert(fresh);
            if node == fresh {
                self.ends.push(Vec::new());
            }
        }
        if let Some(end) = self.ends.get_mut(node as usize) {
            end.push(signal);
        }
    }

    pub(super) fn find(&self, words: &[u64], mut found: impl FnMut(usize)) {
        for (start, &first) in words.iter().enumerate() {
            if !self.first_words.may_contain(first) {
                continue;
            }
            let mut node = 0;
            for &word in words.iter().skip(start) {
                let Some(&next) = self.steps.get(&step(node, word)) else { break };
                node = next;
                self.ends.get(node as usize).into_iter().flatten().for_each(|&signal| found(signal));
            }
        }
    }
}

fn step(node: u32, word: u64) -> u64 {
    word ^ u64::from(node).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Takes keys that are hashes already as they are.
#[derive(Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64(bytes);
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}
