//! Writing text fast: templates, numbers, JSON strings.

/// What a sentence leaves open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    Act,
    Venue,
    City,
    Host,
}

/// What is filled in.
pub(super) struct Fill<'a> {
    pub act: &'a str,
    pub venue: &'a str,
    pub city: &'a str,
    pub host: &'a str,
}

/// A sentence, split at its slots.
pub(super) struct Template(Vec<(&'static str, Option<Slot>)>);

impl Template {
    /// Splits `text` at `{act}`, `{venue}`, `{city}` and `{host}`; what else is in braces stays.
    pub fn parse(text: &'static str) -> Self {
        const SLOTS: [(&str, Slot); 4] =
            [("{act}", Slot::Act), ("{venue}", Slot::Venue), ("{city}", Slot::City), ("{host}", Slot::Host)];
        let mut pieces = Vec::new();
        let mut rest = text;
        loop {
            let next =
                SLOTS.iter().filter_map(|(mark, slot)| Some((rest.find(mark)?, *mark, *slot))).min_by_key(|m| m.0);
            let Some((before, (mark, slot))) = next.and_then(|(at, mark, slot)| Some((rest.get(..at)?, (mark, slot))))
            else {
                pieces.push((rest, None));
                return Self(pieces);
            };
            pieces.push((before, Some(slot)));
            rest = rest.get(before.len() + mark.len()..).unwrap_or("");
        }
    }

    /// Appends the sentence with its slots filled.
    pub fn push(&self, out: &mut String, fill: &Fill<'_>) {
        for (text, slot) in &self.0 {
            out.push_str(text);
            out.push_str(match slot {
                Some(Slot::Act) => fill.act,
                Some(Slot::Venue) => fill.venue,
                Some(Slot::City) => fill.city,
                Some(Slot::Host) => fill.host,
                None => "",
            });
        }
    }
}

/// Appends a whole number.
pub(super) fn push_int(out: &mut String, number: i64) {
    if number < 0 {
        out.push('-');
    }
    push_digits(out, number.unsigned_abs(), 10, 1);
}

/// Appends a number in `base` (10..=36, lower case) with at least `width` digits (up to 20).
pub(super) fn push_digits(out: &mut String, number: u64, base: u64, width: usize) {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    // u64::MAX has 20 decimal digits.
    let mut digits = [b'0'; 20];
    let mut rest = number;
    let mut first = digits.len();
    while first > 0 && (rest > 0 || digits.len() - first < width) {
        first -= 1;
        digits[first] = DIGITS[(rest % base) as usize];
        rest /= base;
    }
    out.push_str(std::str::from_utf8(&digits[first..]).unwrap_or_default());
}

/// Appends 1e-7 degrees as degrees with six decimals.
pub(super) fn push_degrees(out: &mut String, e7: i64) {
    if e7 < 0 {
        out.push('-');
    }
    let micro = e7.unsigned_abs() / 10;
    push_digits(out, micro / 1_000_000, 10, 1);
    out.push('.');
    push_digits(out, micro % 1_000_000, 10, 6);
}

/// Appends cents as an amount with two decimals.
pub(super) fn push_amount(out: &mut String, cents: i64) {
    push_int(out, cents / 100);
    out.push('.');
    push_digits(out, cents.unsigned_abs() % 100, 10, 2);
}

/// Where the first byte is that a JSON string has to escape.
fn first_special(bytes: &[u8]) -> Option<usize> {
    const STEP: usize = 32;
    let special = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    // Without a way out of a chunk, the compiler looks at all its bytes at once.
    let chunk = bytes.chunks(STEP).position(|chunk| chunk.iter().fold(false, |found, byte| found | special(byte)))?;
    let within = bytes.iter().skip(chunk * STEP).position(special)?;
    Some(chunk * STEP + within)
}

/// Appends `text` as a JSON string, quotes included.
pub(super) fn push_json(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = first_special(rest.as_bytes()) {
        // The byte found is a character of its own, so both cuts are at character boundaries.
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        match from.as_bytes().first() {
            Some(b'\n') => out.push_str("\\n"),
            Some(&byte) if byte < 0x20 => {
                out.push_str("\\u");
                push_digits(out, u64::from(byte), 16, 4);
            }
            Some(&byte) => {
                out.push('\\');
                out.push(char::from(byte));
            }
            None => {}
        }
        rest = from.get(1..).unwrap_or("");
    }
    out.push_str(rest);
    out.push('"');
}

/// Appends `text` in lower case ASCII letters and digits; each run of anything else becomes
/// `between`.
pub(super) fn push_plain(out: &mut String, text: &str, between: &str) {
    let mut gap = false;
    let start = out.len();
    for character in text.chars() {
        let letter = unaccented(character);
        if !letter.is_ascii_alphanumeric() {
            gap = character != '\'';
            continue;
        }
        if gap && out.len() > start {
            out.push_str(between);
        }
        gap = false;
        out.push(letter.to_ascii_lowercase());
    }
}

/// The base letter of those accented letters that the vocabulary uses.
pub(super) fn unaccented(character: char) -> char {
    match character {
        'à' | 'á' | 'ä' | 'å' => 'a',
        'è' | 'é' | 'ë' => 'e',
        'ï' => 'i',
        'ö' | 'ø' | 'ó' => 'o',
        'ü' => 'u',
        'ß' => 's',
        'ñ' => 'n',
        _ => character,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl Fn(&mut String)) -> String {
        let mut out = String::new();
        write(&mut out);
        out
    }

    #[test]
    fn numbers() {
        assert_eq!(written(|out| push_int(out, -1205)), "-1205");
        assert_eq!(written(|out| push_int(out, 0)), "0");
        assert_eq!(written(|out| push_digits(out, 7, 10, 2)), "07");
        assert_eq!(written(|out| push_digits(out, 36 * 36, 36, 1)), "100");
        assert_eq!(written(|out| push_degrees(out, -1_278_000)), "-0.127800");
        assert_eq!(written(|out| push_degrees(out, 525_200_009)), "52.520000");
        assert_eq!(written(|out| push_amount(out, 1205)), "12.05");
    }

    #[test]
    fn strings_are_what_a_json_parser_reads() {
        for text in ["plain", "a \"quoted\" one", "back\\slash", "line\nbreak\ttab\u{1}", "Köln – é", "\"", ""] {
            let json = written(|out| push_json(out, text));
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }

    #[test]
    fn templates_fill_their_slots() {
        let fill = Fill { act: "A", venue: "V", city: "C", host: "H" };
        let sentence = Template::parse("{act} at {venue} in {city}, by {host}.");
        assert_eq!(written(|out| sentence.push(out, &fill)), "A at V in C, by H.");
        assert_eq!(written(|out| Template::parse("No {slot}.").push(out, &fill)), "No {slot}.");
    }

    #[test]
    fn plain_text_is_ascii() {
        assert_eq!(written(|out| push_plain(out, "The Weaver's Café – Köln!", "-")), "the-weavers-cafe-koln");
    }
}
