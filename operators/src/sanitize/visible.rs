//! What is seen of a text: characters that mislead go, whitespace collapses, lengths are bounded.

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// How much of the layout of a text matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// All whitespace is one space.
    Line,
    /// Line breaks stay, with at most one empty line in a row.
    Lines,
}

/// Whether a text is visible ASCII with single spaces in it and holds no markup. Most texts are like that,
/// and it takes vector instructions to tell.
pub(super) fn is_plain_line(text: &str) -> bool {
    let bytes = text.as_bytes();
    let odd = |byte: u8| !matches!(byte, b' '..=b'~') | matches!(byte, b'<' | b'&');
    let spaces = |(a, b): (&u8, &u8)| (*a == b' ') & (*b == b' ');
    let next = bytes.get(1..).unwrap_or_default();
    !bytes.iter().fold(false, |any, byte| any | odd(*byte))
        && !bytes.iter().zip(next).fold(false, |any, pair| any | spaces(pair))
        && ![bytes.first(), bytes.last()].contains(&Some(&b' '))
}

/// Whether [`tidy`] would change nothing, by one look at each character: what most texts are like.
pub(super) fn is_tidy(text: &str, shape: Shape) -> bool {
    if is_plain_line(text) {
        return true;
    }
    let (mut before, mut lines, mut composed) = (' ', 0, true);
    for c in text.chars() {
        let fine = match c {
            ' ' => !matches!(before, ' ' | '\n'),
            '\n' => shape == Shape::Lines && before != ' ' && lines < 2,
            _ if c.is_ascii() => c.is_ascii_graphic(),
            _ => {
                composed &= never_composes(c);
                !(c.is_whitespace() || c.is_control() || is_unwanted(c) || is_joiner(c))
            }
        };
        if !fine {
            return false;
        }
        lines = if c == '\n' { lines + 1 } else { 0 };
        before = c;
    }
    let ends_well = text.is_empty() || !matches!(before, ' ' | '\n');
    ends_well && (composed || is_nfc_quick(text.chars()) == IsNormalized::Yes)
}

/// Of some characters that are in most texts beyond ASCII, that normalisation leaves them as they
/// are next to each other: all before the combining marks, and dashes and quotation marks (Unicode
/// 16, `NFC_Quick_Check` and `Canonical_Combining_Class` in DerivedNormalizationProps and
/// UnicodeData). False for others says nothing.
fn never_composes(c: char) -> bool {
    c < '\u{300}' || ('\u{2010}'..='\u{2027}').contains(&c)
}

/// Whether all characters come before the combining marks. It takes vector instructions to tell: the first
/// of those begins with this byte in UTF-8, and no byte of what comes before is as great.
fn is_latin(text: &str) -> bool {
    !text.bytes().fold(false, |any, byte| any | (byte >= 0xcc))
}

pub(super) fn fits(text: &str, max_chars: usize) -> bool {
    text.len() <= max_chars || text.chars().count() <= max_chars
}

/// Cuts `text` to `max_chars`, the ellipsis included.
pub(super) fn shorten(mut text: String, max_chars: usize) -> String {
    if fits(&text, max_chars) {
        return text;
    }
    let keep = text.char_indices().nth(max_chars.saturating_sub(1)).map_or(text.len(), |(at, _)| at);
    text.truncate(keep);
    text.truncate(text.trim_end_matches(|c: char| c.is_whitespace() || is_joiner(c)).len());
    if max_chars > 0 {
        text.push('…');
    }
    text
}

/// NFC, without unwanted characters, with whitespace collapsed according to `shape`.
pub(super) fn tidy(text: String, shape: Shape) -> String {
    if is_tidy(&text, shape) { text } else { tidied(&text, shape) }
}

pub(super) fn tidied(text: &str, shape: Shape) -> String {
    let mut visible = String::with_capacity(text.len());
    let composed = |text: &str| {
        is_latin(text) || text.chars().all(never_composes) || is_nfc_quick(text.chars()) == IsNormalized::Yes
    };
    if composed(text) {
        push_visible(text, shape, &mut visible);
        if visible.len() == text.len() {
            return visible;
        }
    } else {
        push_visible(&text.nfc().collect::<String>(), shape, &mut visible);
    }
    // Removing a character can bring together what composes.
    if composed(&visible) { visible } else { visible.nfc().collect() }
}

/// Appends what is seen of a text, run by run of what is seen anyway.
pub(super) fn push_visible(text: &str, shape: Shape, out: &mut String) {
    let mut gap = Gap::default();
    let mut rest = text;
    let mut last = ' ';
    loop {
        let (run, after) = rest.split_at(seen_as_is(rest));
        if let Some(byte) = run.bytes().last() {
            gap.write(out);
            out.push_str(run);
            last = char::from(byte);
        }
        let mut chars = after.chars();
        let Some(c) = chars.next() else { return };
        rest = chars.as_str();
        let mut next = || chars.find(|&c| !is_unwanted(c));
        if is_unwanted(c) {
            continue;
        }
        if is_line_break(c) && shape == Shape::Lines {
            gap.lines += usize::from(!(c == '\r' && next() == Some('\n')));
        } else if c.is_whitespace() || c.is_control() {
            gap.spaces += 1;
        } else if !is_joiner(c) || (gap.is_none() && joins(last, next())) {
            gap.write(out);
            out.push(c);
            last = c;
        }
    }
}

/// How much at the beginning of a text is seen as it is: visible ASCII with single spaces inside.
fn seen_as_is(text: &str) -> usize {
    let mut before = b' ';
    for (at, byte) in text.bytes().enumerate() {
        if !(byte.is_ascii_graphic() || (byte == b' ' && before != b' ')) {
            return at.saturating_sub(usize::from(before == b' '));
        }
        before = byte;
    }
    text.len().saturating_sub(usize::from(before == b' '))
}

/// Whitespace seen but not written yet.
#[derive(Default)]
pub(super) struct Gap {
    pub(super) lines: usize,
    pub(super) spaces: usize,
}

impl Gap {
    pub(super) fn is_none(&self) -> bool {
        self.lines == 0 && self.spaces == 0
    }

    /// Writes what the gap collapses to; nothing at the beginning of a text.
    pub(super) fn write(&mut self, out: &mut String) {
        if self.is_none() {
            return;
        }
        let space = match (self.lines, self.spaces) {
            (0, _) => " ",
            (1, _) => "\n",
            _ => "\n\n",
        };
        if !out.is_empty() {
            out.push_str(space);
        }
        *self = Self::default();
    }
}

pub(super) fn is_line_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Characters without a look of their own that change how others are read: bidirectional
/// controls, zero-width and filler characters, tag characters, noncharacters. See Unicode
/// Technical Report 36, section 2.
pub(super) fn is_unwanted(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control() && !c.is_ascii_whitespace() && c != '\u{b}';
    }
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{fffe}' | '\u{ffff}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
        || (c.is_control() && !c.is_whitespace())
}

/// The zero-width joiner and non-joiner: needed inside emoji and in several scripts.
pub(super) fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

/// Whether a joiner between these two can have a purpose.
pub(super) fn joins(before: char, after: Option<char>) -> bool {
    let joinable = |c: char| !c.is_ascii() && !c.is_whitespace() && !is_joiner(c);
    joinable(before) && after.is_some_and(joinable)
}
