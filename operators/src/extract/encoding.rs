//! In which encoding a record is written, and the record as UTF-8.
//!
//! In this order: what the bytes say themselves (a byte order mark, or the zeros of UTF-16); UTF-8 where
//! they are that, whatever a server calls them; the `charset` of the content type; and a guess, which is
//! told. The names are those of the WHATWG Encoding Standard, by the crate `encoding_rs`.

use std::borrow::Cow;

use encoding_rs::{Encoding, ISO_2022_JP, REPLACEMENT, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

use super::problem::Problem;
use super::record::cut;
use crate::raw::DeadLetterCode;

/// A record in UTF-8, as far as its format asks for that.
#[derive(Debug)]
pub(super) struct Decoded<'a> {
    pub(super) bytes: Cow<'a, [u8]>,
    /// The encoding that it was written in, where that is not the one of `bytes`.
    written: Option<&'static Encoding>,
    /// What was assumed without being said, for people.
    pub(super) guess: Option<&'static str>,
}

impl<'a> Decoded<'a> {
    /// Decodes a record. `content_type` may name a charset. With `in_parts` bytes that are not UTF-8 and
    /// of no other known encoding stay as they are: the format decodes each part by itself.
    ///
    /// # Errors
    ///
    /// A dead letter's reason, which names the encoding, where it is one that cannot be read.
    pub(super) fn of(bytes: &'a [u8], content_type: Option<&str>, in_parts: bool) -> Result<Self, Problem> {
        if let Some((encoding, text)) = marked(bytes)? {
            return Ok(Self::in_encoding(text, encoding));
        }
        let charset = content_type.and_then(charset);
        let named = charset.and_then(|name| Encoding::for_label(name.as_bytes()));
        if named == Some(ISO_2022_JP) || (named.is_none() && charset.is_none() && in_parts) {
            return Ok(named.map_or_else(|| Self::parts(bytes), |encoding| Self::in_encoding(bytes, encoding)));
        }
        if std::str::from_utf8(bytes).is_ok() {
            return Ok(Self { bytes: Cow::Borrowed(bytes), written: None, guess: None });
        }
        match (named, charset) {
            (Some(encoding), _) if encoding == REPLACEMENT => Err(unreadable(charset.unwrap_or_default())),
            (None, Some(name)) => Err(unreadable(name)),
            (Some(encoding), _) if encoding != UTF_8 => Ok(Self::in_encoding(bytes, encoding)),
            _ if in_parts => Ok(Self::parts(bytes)),
            _ => {
                let bytes = match guessed(bytes) {
                    Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                    Cow::Owned(text) => Cow::Owned(text.into_bytes()),
                };
                Ok(Self { bytes, written: Some(WINDOWS_1252), guess: Some(GUESS) })
            }
        }
    }

    fn parts(bytes: &'a [u8]) -> Self {
        let guess = std::str::from_utf8(bytes).is_err().then_some(GUESS);
        Self { bytes: Cow::Borrowed(bytes), written: None, guess }
    }

    fn in_encoding(bytes: &'a [u8], encoding: &'static Encoding) -> Self {
        let (text, _) = encoding.decode_without_bom_handling(bytes);
        let bytes = match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        Self { bytes, written: Some(encoding), guess: None }
    }

    /// Whether the bytes are not those of the record.
    pub(super) fn is_rewritten(&self) -> bool {
        self.written.is_some()
    }

    /// A part of the decoded record as it stands in the record itself.
    pub(super) fn as_written<'p>(&self, part: &'p [u8]) -> Cow<'p, [u8]> {
        let (Some(encoding), Ok(text)) = (self.written, std::str::from_utf8(part)) else { return Cow::Borrowed(part) };
        if encoding == UTF_16LE {
            return Cow::Owned(text.encode_utf16().flat_map(u16::to_le_bytes).collect());
        }
        if encoding == UTF_16BE {
            return Cow::Owned(text.encode_utf16().flat_map(u16::to_be_bytes).collect());
        }
        encoding.encode(text).0
    }
}

const GUESS: &str = "the bytes are not UTF-8 and no charset is named: what is not was read as windows-1252";

fn unreadable(charset: &str) -> Problem {
    let name = cut(charset, 40);
    Problem::new(DeadLetterCode::MALFORMED, format!("the bytes are not UTF-8, and the charset {name:?} cannot be read"))
}

/// The encoding that the first bytes show, and what comes after the mark.
fn marked(bytes: &[u8]) -> Result<Option<(&'static Encoding, &[u8])>, Problem> {
    let seen =
        |what: &str| Err(Problem::new(DeadLetterCode::MALFORMED, format!("the bytes are {what}, which is not read")));
    let rest = |at: usize| bytes.get(at..).unwrap_or_default();
    match *bytes {
        [0xFF, 0xFE, 0, 0, ..] | [0, 0, 0xFE, 0xFF, ..] => seen("UTF-32"),
        [0xFF, 0xFE, ..] => Ok(Some((UTF_16LE, rest(2)))),
        [0xFE, 0xFF, ..] => Ok(Some((UTF_16BE, rest(2)))),
        [a, 0, b, 0, ..] if a.is_ascii() && a != 0 && b.is_ascii() && b != 0 => Ok(Some((UTF_16LE, bytes))),
        [0, a, 0, b, ..] if a.is_ascii() && a != 0 && b.is_ascii() && b != 0 => Ok(Some((UTF_16BE, bytes))),
        [0x1F, 0x8B, ..] => seen("compressed by gzip"),
        [b'P', b'K', 3, 4, ..] => seen("a ZIP archive"),
        [b'%', b'P', b'D', b'F', b'-', ..] => seen("a PDF document"),
        _ => Ok(None),
    }
}

/// The charset that a content type names.
fn charset(content_type: &str) -> Option<&str> {
    content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let value = value.trim().trim_matches(['"', '\'']).trim();
        (name.trim().eq_ignore_ascii_case("charset") && !value.is_empty()).then_some(value)
    })
}

/// Text whose bytes are not all UTF-8: damaged UTF-8 where most of what is not ASCII is, or else
/// Windows-1252, which old files are written in.
pub(super) fn guessed(bytes: &[u8]) -> Cow<'_, str> {
    let (mut fine, mut broken) = (0usize, 0usize);
    for chunk in bytes.utf8_chunks() {
        fine += chunk.valid().chars().filter(|c| !c.is_ascii()).count();
        broken += usize::from(!chunk.invalid().is_empty());
    }
    match fine > broken || broken == 0 {
        true => String::from_utf8_lossy(bytes),
        false => WINDOWS_1252.decode_without_bom_handling(bytes).0,
    }
}

/// What stands around the first bytes that are not UTF-8, for people.
pub(super) fn around_broken(bytes: &[u8]) -> &[u8] {
    let at = std::str::from_utf8(bytes).err().map_or(0, |error| error.valid_up_to());
    bytes.get(at.saturating_sub(100)..(at + 100).min(bytes.len())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8], content_type: &str) -> String {
        let decoded = Decoded::of(bytes, Some(content_type), false).unwrap();
        String::from_utf8(decoded.bytes.into_owned()).unwrap()
    }

    #[test]
    fn charsets_of_content_types() {
        for (bytes, content_type, expected) in [
            (&b"\xCF\xF0\xE8\xE2\xE5\xF2"[..], "text/calendar; charset=windows-1251", "Привет"),
            (b"za\xBF\xF3\xB3\xE6", "text/calendar;charset=\"ISO-8859-2\"", "zażółć"),
            (b"\x93\x8C\x8B\x9E", "application/json; Charset=Shift_JIS", "東京"),
            (b"\xB5\xB5", "text/calendar; charset=euc-kr", "도"),
            (b"\x1B$BEl5~\x1B(B", "text/calendar; charset=iso-2022-jp", "東京"),
            ("Fête".as_bytes(), "text/calendar; charset=iso-8859-1", "Fête"),
            ("Fête".as_bytes(), "text/calendar; charset=none-of-ours", "Fête"),
            (b"F\xEAte", "text/calendar; charset=utf-8", "Fête"),
            (b"F\xEAte", "text/calendar", "Fête"),
            (b"\xFF\xFEF\0\xEA\0", "text/calendar; charset=utf-8", "Fê"),
            (b"\xFE\xFF\0F\0\xEA", "text/calendar", "Fê"),
            (b"F\0e\0\xEA\0", "text/calendar", "Feê"),
            (b"\0F\0e", "text/calendar", "Fe"),
        ] {
            assert_eq!(text(bytes, content_type), expected, "{content_type}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (bytes, content_type, named) in [
            (&b"\xE9"[..], "text/calendar; charset=klingon", "\"klingon\""),
            (b"\xE9", "text/calendar; charset=iso-2022-kr", "\"iso-2022-kr\""),
            (b"\xFF\xFE\0\0B\0\0\0", "text/calendar", "UTF-32"),
            (b"\x1F\x8B\x08", "text/calendar", "gzip"),
        ] {
            let problem = Decoded::of(bytes, Some(content_type), true).unwrap_err();
            assert!(problem.code == DeadLetterCode::MALFORMED && problem.reason.contains(named), "{}", problem.reason);
        }
    }

    #[test]
    fn parts_are_found_again_as_they_were_written() {
        let utf16: Vec<u8> = "{ü}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for (bytes, content_type) in [
            (&b"{\xFC}"[..], "a/b; charset=latin1"),
            (b"{\x93\x8C}", "a/b; charset=shift_jis"),
            (&utf16, "a/b"),
            ("{ü}".as_bytes(), "a/b; charset=latin1"),
            (b"{\xFC}", "a/b"),
        ] {
            let decoded = Decoded::of(bytes, Some(content_type), false).unwrap();
            assert_eq!(&*decoded.as_written(&decoded.bytes), bytes, "{content_type}");
        }
    }

    #[test]
    fn a_guess_is_told() {
        assert!(Decoded::of(b"caf\xE9", None, true).unwrap().guess.is_some());
        assert!(Decoded::of(b"caf\xE9", None, false).unwrap().guess.is_some());
        assert!(Decoded::of(b"caf\xE9", Some("a/b; charset=latin1"), false).unwrap().guess.is_none());
        assert!(Decoded::of("café".as_bytes(), None, true).unwrap().guess.is_none());
    }

    #[test]
    fn damaged_text_keeps_what_is_fine() {
        assert_eq!(guessed("Čas é ř".as_bytes()), "Čas é ř");
        assert_eq!(guessed(b"Z\xC3\xBCge nach K\xC3\xB6ln \xF0\x9F"), "Züge nach Köln \u{fffd}");
        assert_eq!(guessed(b"caf\xE9"), "café");
    }
}
