//! Words as `resolve` compares them: normalised, hashed, and with what such a word can tell.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use xxhash_rust::xxh3::xxh3_64;

use crate::words::{is_apostrophe, push_plain};

/// More words than this in one text are left out: nobody needs them to recognise a title.
pub(super) const MAX_TOKENS: usize = 32;

/// What a word of a title can tell. The order is that of [`Token::class`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// A name or a subject: says much where it agrees, and much where it differs.
    Telling = 0,
    /// Says little either way: "festival", "night".
    Common = 1,
    /// Says little where it agrees and much where it differs: "toddler", "advanced", "north".
    Kind = 2,
    /// Says nothing: "cancelled", "annual", "presents".
    Noise = 3,
}

/// A word, normalised and hashed, with what such a word can tell in its two lowest bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Token(u32);

impl Token {
    pub(super) fn new(word: &str, class: Class) -> Self {
        Self::of_hash(xxh3_64(word.as_bytes()), class)
    }

    pub(super) fn of_hash(hash: u64, class: Class) -> Self {
        Self(((hash as u32) & !3) | class as u32)
    }

    pub(super) fn with_class(self, class: Class) -> Self {
        Self(self.hash() | class as u32)
    }

    /// What the word can tell.
    pub fn class(self) -> Class {
        match self.0 & 3 {
            0 => Class::Telling,
            1 => Class::Common,
            2 => Class::Kind,
            _ => Class::Noise,
        }
    }

    /// What it counts for where both have it: a telling word as much as four common ones.
    pub fn agreeing(self) -> u32 {
        [4, 1, 1, 0][self.class() as usize]
    }

    /// What it counts for where only one has it.
    pub fn differing(self) -> u32 {
        [4, 1, 4, 0][self.class() as usize]
    }

    /// The word's hash, the same whatever it tells.
    pub fn hash(self) -> u32 {
        self.0 & !3
    }
}

/// Distinct words in ascending order.
pub type Tokens = SmallVec<[Token; 8]>;

/// A number in a title.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Number {
    /// The number.
    pub value: u32,
    /// Whether it is an ordinal, as editions are.
    pub ordinal: bool,
}

/// Calls `visit` with each run of letters and digits, in plain lower-case letters without accents
/// and apostrophes, and with whether it is written in capitals.
pub(super) fn for_each_word(text: &str, mut visit: impl FnMut(&str, bool)) {
    if text.is_ascii() {
        return for_each_ascii_word(text, visit);
    }
    // Decomposition never reaches across a space.
    for part in text.split(' ') {
        match part.is_ascii() {
            true => for_each_ascii_word(part, &mut visit),
            false => for_each_word_of(part.nfkd(), &mut visit),
        }
    }
}

/// The same for characters that are decomposed.
fn for_each_word_of(chars: impl Iterator<Item = char>, mut visit: impl FnMut(&str, bool)) {
    let mut word = String::with_capacity(24);
    let mut upper = true;
    for c in chars.chain([' ']) {
        if c.is_ascii_alphanumeric() {
            upper &= c.is_ascii_uppercase();
            word.push(c.to_ascii_lowercase());
        } else if c.is_alphanumeric() {
            upper &= c.is_uppercase();
            push_plain(c, &mut word);
        } else if !is_apostrophe(c) && c != '`' && !is_combining_mark(c) {
            if !word.is_empty() {
                visit(&word, upper);
                word.clear();
            }
            upper = true;
        }
    }
}

/// The same for nothing but ASCII, word by word. One look at each byte tells where a word ends and whether it has to be
/// written anew.
fn for_each_ascii_word(text: &str, mut visit: impl FnMut(&str, bool)) {
    let mut word = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let mut seen = 0;
        let is_end = |byte: &u8| {
            let kind = BYTES[usize::from(*byte)];
            seen |= kind;
            kind == 0
        };
        let end = rest.as_bytes().iter().position(is_end).unwrap_or(rest.len());
        let (part, after) = rest.split_at(end);
        rest = after.get(1..).unwrap_or_default();
        let upper = seen & (LOWER | DIGIT) == 0;
        if seen & (UPPER | QUOTE) == 0 {
            if seen != 0 {
                visit(part, false);
            }
            continue;
        }
        word.clear();
        word.push_str(part);
        if seen & QUOTE != 0 {
            word.retain(|c| !matches!(c, '\'' | '`'));
        }
        word.make_ascii_lowercase();
        if !word.is_empty() {
            visit(&word, upper);
        }
    }
}

const LOWER: u8 = 1;
const UPPER: u8 = 2;
const DIGIT: u8 = 4;
const QUOTE: u8 = 8;

/// What each byte is in a word; 0 between words.
const BYTES: [u8; 256] = {
    let mut bytes = [0; 256];
    let mut byte = 0;
    while byte < 128 {
        bytes[byte] = match byte as u8 {
            b'a'..=b'z' => LOWER,
            b'A'..=b'Z' => UPPER,
            b'0'..=b'9' => DIGIT,
            b'\'' | b'`' => QUOTE,
            _ => 0,
        };
        byte += 1;
    }
    bytes
};

/// Visits each distinct word of two ascending lists, in the one, the other or both.
pub(super) fn merge_words(a: &[Token], b: &[Token], mut visit: impl FnMut(Option<Token>, Option<Token>)) {
    let (mut a, mut b) = (a.iter().copied().peekable(), b.iter().copied().peekable());
    loop {
        match (a.peek().copied(), b.peek().copied()) {
            (None, None) => return,
            (Some(x), Some(y)) if x.hash() == y.hash() => {
                visit(a.next(), b.next());
            }
            (Some(x), y) if y.is_none_or(|y| x.hash() < y.hash()) => visit(a.next(), None),
            _ => visit(None, b.next()),
        }
    }
}

/// Cuts the plural of English words, the one inflection that listings differ in all the time.
pub(super) fn stem(word: &str) -> &str {
    match word.strip_suffix('s') {
        Some(rest) if rest.len() > 2 && rest.is_ascii() && !rest.ends_with(['s', 'u', 'i']) => rest,
        _ => word,
    }
}

/// `12`, `12th`, `1st`; nothing longer than nine digits.
pub(super) fn number_of(word: &str) -> Option<u32> {
    let digits = word.trim_end_matches(|c: char| c.is_ascii_lowercase());
    let suffix = &word[digits.len()..];
    let is_number = matches!(suffix, "" | "st" | "nd" | "rd" | "th");
    if is_number && !digits.is_empty() && digits.len() <= 9 { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn words_are_those_of_the_decomposed_characters(
            text in prop_oneof!["[A-Ca-c0-9 .'`-]{0,24}", "[A-Ca-c0-9 .'éß日…\u{301}\u{327}\u{a0}\u{a8}\u{345}\u{37a}\u{384}]{0,24}"]
        ) {
            let (mut by_words, mut by_chars) = (Vec::new(), Vec::new());
            for_each_word(&text, |word, upper| by_words.push((word.to_owned(), upper)));
            for_each_word_of(text.nfkd(), |word, upper| by_chars.push((word.to_owned(), upper)));
            prop_assert_eq!(by_words, by_chars);
        }
    }
}
