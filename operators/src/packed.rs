//! Packing: many texts and numbers in one piece of memory.
//!
//! A listing has some twenty short texts, and there are as many listings in memory as are live. A
//! text of its own costs 24 bytes where it is and a piece of memory where it is long; here it costs
//! a byte or two beside its characters. The piece is a text as a whole: first the numbers, lengths
//! of texts among them, as digits of base 64 which are ASCII characters, then the texts one after
//! another. So what is read out of it needs no check beyond that of its length.

use std::fmt;
use std::iter::FusedIterator;

use serde::{Serialize, Serializer};

/// Set in each digit of a number but its last.
const MORE: u8 = 1 << 6;
const DIGIT: u8 = MORE - 1;

/// Puts numbers and texts into one piece, from which an [`Unpacker`] takes them in the same order.
pub(crate) struct Packer {
    numbers: String,
    texts: String,
}

impl Packer {
    pub(crate) fn new() -> Self {
        Self { numbers: String::with_capacity(96), texts: String::with_capacity(1024) }
    }

    pub(crate) fn number(&mut self, number: u64) {
        push_number(&mut self.numbers, number);
    }

    /// A number that may be below 0, or none.
    pub(crate) fn signed(&mut self, number: Option<i64>) {
        self.number(u64::from(number.is_some()));
        if let Some(number) = number {
            // Numbers near 0 are short, whatever their sign.
            self.number(((number << 1) ^ (number >> 63)) as u64);
        }
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.texts.push_str(text);
    }

    pub(crate) fn optional(&mut self, text: Option<&str>) {
        self.number(text.map_or(0, |text| text.len() as u64 + 1));
        self.texts.push_str(text.unwrap_or_default());
    }

    pub(crate) fn list<T: AsRef<str>>(&mut self, texts: &[T]) {
        self.number(texts.len() as u64);
        texts.iter().for_each(|text| self.text(text.as_ref()));
    }

    pub(crate) fn finish(self) -> Box<str> {
        let mut piece = String::with_capacity(digits(self.numbers.len()) + self.numbers.len() + self.texts.len());
        push_number(&mut piece, self.numbers.len() as u64);
        piece.push_str(&self.numbers);
        piece.push_str(&self.texts);
        piece.into_boxed_str()
    }
}

fn push_number(digits: &mut String, mut number: u64) {
    while number > u64::from(DIGIT) {
        digits.push(char::from(number as u8 & DIGIT | MORE));
        number >>= 6;
    }
    digits.push(char::from(number as u8));
}

/// How many digits a number takes.
fn digits(number: usize) -> usize {
    number.checked_ilog2().map_or(1, |bits| bits as usize / 6 + 1)
}

/// Takes out what a [`Packer`] has put in, in the same order.
pub(crate) struct Unpacker<'a> {
    numbers: &'a [u8],
    texts: &'a str,
}

impl<'a> Unpacker<'a> {
    pub(crate) fn new(piece: &'a str) -> Self {
        let mut whole = Self { numbers: piece.as_bytes(), texts: "" };
        let length = whole.number() as usize;
        let begin = piece.len() - whole.numbers.len();
        let (head, texts) = piece.split_at_checked(begin + length).unwrap_or((piece, ""));
        Self { numbers: head.as_bytes().get(begin..).unwrap_or_default(), texts }
    }

    #[inline]
    pub(crate) fn number(&mut self) -> u64 {
        let digit = self.digit();
        if digit & MORE == 0 { u64::from(digit) } else { self.further_digits(digit) }
    }

    fn further_digits(&mut self, first: u8) -> u64 {
        let (mut number, mut digit, mut shift) = (u64::from(first & DIGIT), first, 0);
        while digit & MORE != 0 {
            (digit, shift) = (self.digit(), shift + 6);
            number |= u64::from(digit & DIGIT) << shift;
        }
        number
    }

    #[inline]
    fn digit(&mut self) -> u8 {
        let Some((digit, rest)) = self.numbers.split_first() else { return 0 };
        self.numbers = rest;
        *digit
    }

    pub(crate) fn signed(&mut self) -> Option<i64> {
        if self.number() == 0 {
            return None;
        }
        let number = self.number();
        Some((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    pub(crate) fn text(&mut self) -> &'a str {
        let length = self.number();
        self.next(length)
    }

    pub(crate) fn optional(&mut self) -> Option<&'a str> {
        let length = self.number().checked_sub(1)?;
        Some(self.next(length))
    }

    pub(crate) fn list(&mut self) -> TextList<'a> {
        let count = self.number() as usize;
        let list = TextList { count, numbers: self.numbers, texts: self.texts };
        let length = (0..count).map(|_| self.number()).sum();
        self.next(length);
        list
    }

    #[inline]
    fn next(&mut self, length: u64) -> &'a str {
        let (text, rest) = self.texts.split_at_checked(length as usize).unwrap_or((self.texts, ""));
        self.texts = rest;
        text
    }
}

/// A list of texts, to read.
#[derive(Clone, Copy, Default)]
pub struct TextList<'a> {
    count: usize,
    numbers: &'a [u8],
    texts: &'a str,
}

impl<'a> TextList<'a> {
    /// The texts.
    pub fn iter(&self) -> TextIter<'a> {
        TextIter { left: self.count, from: Unpacker { numbers: self.numbers, texts: self.texts } }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The first one.
    pub fn first(&self) -> Option<&'a str> {
        self.iter().next()
    }
}

impl<'a> IntoIterator for TextList<'a> {
    type Item = &'a str;
    type IntoIter = TextIter<'a>;

    fn into_iter(self) -> TextIter<'a> {
        self.iter()
    }
}

impl fmt::Debug for TextList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(*self).finish()
    }
}

impl Serialize for TextList<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(*self)
    }
}

/// The texts of a [`TextList`].
pub struct TextIter<'a> {
    left: usize,
    from: Unpacker<'a>,
}

impl<'a> Iterator for TextIter<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.left = self.left.checked_sub(1)?;
        Some(self.from.text())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for TextIter<'_> {}
impl FusedIterator for TextIter<'_> {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Item {
        Number(u64),
        Signed(Option<i64>),
        Text(String),
        Optional(Option<String>),
        List(Vec<String>),
    }

    fn any_item() -> impl Strategy<Value = Item> {
        prop_oneof![
            prop_oneof![0..200_u64, any::<u64>()].prop_map(Item::Number),
            proptest::option::of(prop_oneof![-99..99_i64, any::<i64>()]).prop_map(Item::Signed),
            "\\PC{0,80}".prop_map(Item::Text),
            proptest::option::of("\\PC{0,9}").prop_map(Item::Optional),
            prop::collection::vec("\\PC{0,9}", 0..5).prop_map(Item::List),
        ]
    }

    proptest! {
        #[test]
        fn what_is_put_in_comes_out(items in prop::collection::vec(any_item(), 0..60)) {
            let mut packer = Packer::new();
            for item in &items {
                match item {
                    Item::Number(number) => packer.number(*number),
                    Item::Signed(number) => packer.signed(*number),
                    Item::Text(text) => packer.text(text),
                    Item::Optional(text) => packer.optional(text.as_deref()),
                    Item::List(texts) => packer.list(texts),
                }
            }
            let piece = packer.finish();
            let mut unpacker = Unpacker::new(&piece);
            for item in items {
                match item {
                    Item::Number(number) => prop_assert_eq!(unpacker.number(), number),
                    Item::Signed(number) => prop_assert_eq!(unpacker.signed(), number),
                    Item::Text(text) => prop_assert_eq!(unpacker.text(), text),
                    Item::Optional(text) => prop_assert_eq!(unpacker.optional(), text.as_deref()),
                    Item::List(texts) => {
                        let list = unpacker.list();
                        prop_assert_eq!(list.is_empty(), texts.is_empty());
                        prop_assert_eq!(list.first(), texts.first().map(String::as_str));
                        prop_assert_eq!(list.iter().len(), texts.len());
                        prop_assert!(list.iter().eq(texts));
                    }
                }
            }
            prop_assert_eq!((unpacker.numbers, unpacker.texts), (&[][..], ""));
        }

        #[test]
        fn room_for_digits_is_counted(number in prop_oneof![0..9_000_usize, any::<usize>()]) {
            let mut text = String::new();
            push_number(&mut text, number as u64);
            prop_assert_eq!(text.len(), digits(number));
        }
    }
}
