//! The lines of a calendar, and what they come to when they are joined again.

use std::ops::Range;

use super::super::encoding::guessed;

/// The lines of a text, each with its end: a line feed, a carriage return, or both.
pub(super) fn lines(bytes: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
        let end = match memchr::memchr2(b'\n', b'\r', rest) {
            Some(end) if rest.get(end..end + 2) == Some(b"\r\n") => end + 2,
            Some(end) => end + 1,
            None => rest.len(),
        };
        at += end;
        Some(at - end..at)
    })
}

/// A line without its end.
pub(super) fn without_end(line: &[u8]) -> &[u8] {
    let end = line.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |last| last + 1);
    line.get(..end).unwrap_or_default()
}

/// Text of a component, one line for each property. Lines are joined before they are decoded, since some
/// fold between the bytes of one character. What follows a text without being folded, as some exporters
/// write paragraphs, is part of it.
pub(super) fn joined(bytes: &[u8]) -> String {
    let mut text: Vec<u8> = Vec::with_capacity(bytes.len() + 1);
    let (mut blank, mut last) = (0, Last::Other);
    for line in lines(bytes).map(|range| without_end(bytes.get(range).unwrap_or_default())) {
        let (first, rest) = match line.split_first() {
            Some((first, rest)) => (*first, rest),
            None => {
                blank += 1;
                continue;
            }
        };
        if matches!(first, b' ' | b'\t') && !text.is_empty() {
            text.extend_from_slice(rest);
        } else if let Some(name) = property_name(line) {
            end_line(&mut text);
            text.extend_from_slice(line);
            last = Last::of(name, line);
        } else if last == Last::Text {
            (0..=blank).for_each(|_| text.extend_from_slice(b"\\n"));
            text.extend_from_slice(line);
        } else {
            end_line(&mut text);
            text.extend_from_slice(line);
        }
        blank = 0;
    }
    end_line(&mut text);
    String::from_utf8(text).unwrap_or_else(|error| guessed(error.as_bytes()).into_owned())
}

fn end_line(text: &mut Vec<u8>) {
    if !text.is_empty() {
        text.push(b'\n');
    }
}

/// The property that was begun last.
#[derive(PartialEq)]
enum Last {
    /// A text, that may go on.
    Text,
    /// Another one, or a text in quoted-printable, which goes on in its own way.
    Other,
}

impl Last {
    fn of(name: &[u8], line: &[u8]) -> Self {
        const TEXTS: [&[u8]; 6] = [b"SUMMARY", b"DESCRIPTION", b"LOCATION", b"COMMENT", b"CONTACT", b"NAME"];
        let text = TEXTS.iter().any(|text| name.eq_ignore_ascii_case(text)) || is_extension(name);
        let encoded = line.get(name.len()) == Some(&b';') && memchr::memmem::find(line, b"QUOTED-PRINTABLE").is_some();
        if text && !encoded { Self::Text } else { Self::Other }
    }
}

fn is_extension(name: &[u8]) -> bool {
    name.get(..2).is_some_and(|two| two.eq_ignore_ascii_case(b"X-"))
}

/// The name of the property that a line begins; `None` where it goes on with the text before it. Names are
/// written in capitals, or all in small letters: "Location: see below" is a sentence.
pub(super) fn property_name(line: &[u8]) -> Option<&[u8]> {
    let end = line.iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'-')?;
    let (name, rest) = line.split_at(end);
    let marked = matches!(rest.first(), Some(b':' | b';')) && (1..=80).contains(&end);
    let one_case = !(name.iter().any(u8::is_ascii_lowercase) && name.iter().any(u8::is_ascii_uppercase));
    if !marked || !(one_case || is_extension(name)) {
        return None;
    }
    let known = is_extension(name) || KNOWN.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
    // "PARKING: behind the hall" goes on; `FOO:bar` is some property.
    let foreign = name.first().is_some_and(u8::is_ascii_uppercase) && rest.get(1).is_none_or(|next| *next != b' ');
    (known || foreign).then_some(name)
}

/// The properties of RFC 5545, RFC 7986 and RFC 9073, and the lines around components.
const KNOWN: &[&str] = &[
    "BEGIN",
    "END",
    "DTSTART",
    "DTEND",
    "DTSTAMP",
    "UID",
    "SUMMARY",
    "DESCRIPTION",
    "LOCATION",
    "URL",
    "RRULE",
    "STATUS",
    "SEQUENCE",
    "LAST-MODIFIED",
    "CREATED",
    "CATEGORIES",
    "CLASS",
    "TRANSP",
    "ORGANIZER",
    "ATTENDEE",
    "ATTACH",
    "GEO",
    "DURATION",
    "EXDATE",
    "EXRULE",
    "RDATE",
    "RECURRENCE-ID",
    "COMMENT",
    "CONTACT",
    "PRIORITY",
    "RELATED-TO",
    "RESOURCES",
    "REQUEST-STATUS",
    "IMAGE",
    "CONFERENCE",
    "COLOR",
    "NAME",
    "SOURCE",
    "REFRESH-INTERVAL",
    "STYLED-DESCRIPTION",
    "STRUCTURED-DATA",
    "ACTION",
    "TRIGGER",
    "REPEAT",
    "ACKNOWLEDGED",
    "CALSCALE",
    "METHOD",
    "PRODID",
    "VERSION",
    "COMPLETED",
    "DUE",
    "FREEBUSY",
    "PERCENT-COMPLETE",
    "TZID",
    "TZNAME",
    "TZOFFSETFROM",
    "TZOFFSETTO",
    "TZURL",
    "TIMEZONE-ID",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> String {
        joined(text.as_bytes())
    }

    #[test]
    fn lines_end_in_three_ways() {
        let text = b"A:1\r\nB:2\rC:3\nD:4";
        let found: Vec<&[u8]> = lines(text).map(|range| without_end(&text[range])).collect();
        assert_eq!(found, [b"A:1", b"B:2", b"C:3", b"D:4"]);
    }

    #[test]
    fn a_text_goes_on_without_being_folded() {
        assert_eq!(
            of("SUMMARY:Walk\nDESCRIPTION:Meet here.\nBring: boots\n\nhttps://walk.example/1\nSTATUS:CONFIRMED\n"),
            "SUMMARY:Walk\nDESCRIPTION:Meet here.\\nBring: boots\\n\\nhttps://walk.example/1\nSTATUS:CONFIRMED\n"
        );
        assert_eq!(
            of("LOCATION:Barn\rMill Lane 2\rPARKING: behind it\rUID:1"),
            "LOCATION:Barn\\nMill Lane 2\\nPARKING: behind it\nUID:1\n"
        );
        assert_eq!(of("DTSTART:20260401\nlost words\nUID:1"), "DTSTART:20260401\nlost words\nUID:1\n");
        assert_eq!(of("dtstart:20260401\nsummary:x\nuid:1"), "dtstart:20260401\nsummary:x\nuid:1\n");
    }

    #[test]
    fn folded_lines_are_joined_over_blank_ones() {
        assert_eq!(of("SUMMARY:a\r\r\n b\r\n\tc\r\nUID:1\r\n"), "SUMMARY:abc\nUID:1\n");
        let soft = "DESCRIPTION;ENCODING=QUOTED-PRINTABLE:Gr=C3=BC=\nn\nUID:1\n";
        assert_eq!(of(soft), soft);
    }
}
