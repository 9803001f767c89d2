//! Text as a sequence of plain words, for keys and look-ups that must not depend on spelling
//! details: case, accents, punctuation, spacing.

use unicode_normalization::UnicodeNormalization;

/// The words of `text` in lower case and without accents, joined by one space.
///
/// Whatever is neither letter nor digit separates words, except apostrophes, which vanish
/// (`St. John's` becomes `st johns`). Letters of other scripts stay as they are.
pub fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    fold_into(text, &mut folded);
    folded
}

/// Appends the words of `text` to `folded`, with a space before each but the first of `folded`.
pub(crate) fn fold_into(text: &str, folded: &mut String) {
    let mut gap = false;
    let mut rest = text;
    while !rest.is_empty() {
        let ascii = rest.bytes().position(|byte| !byte.is_ascii()).unwrap_or(rest.len());
        let (run, after) = rest.split_at(ascii);
        run.chars().for_each(|c| push(c, &mut gap, folded));
        // Decomposition reorders marks, but never across an ASCII character that stays; where an
        // apostrophe goes, marks that it kept apart come together.
        let other = after.bytes().position(|byte| byte.is_ascii() && byte != b'\'').unwrap_or(after.len());
        let (run, after) = after.split_at(other);
        let plain = run.nfkd().filter(|&c| !is_latin_accent(c) && !is_apostrophe(c)).nfkd();
        plain.for_each(|c| push(c, &mut gap, folded));
        rest = after;
    }
}

fn push(c: char, gap: &mut bool, folded: &mut String) {
    if is_apostrophe(c) {
        return;
    }
    if !is_of_word(c) {
        *gap = true;
        return;
    }
    if *gap && !folded.is_empty() && !folded.ends_with(' ') {
        folded.push(' ');
    }
    *gap = false;
    push_plain(c, folded);
}

/// Whether a character belongs to a word: a letter, a number or a mark. Outside of ASCII the standard library searches
/// for that in a list, some thousand instructions long; most such characters of listings are dashes, quotation marks
/// and Latin letters.
fn is_of_word(c: char) -> bool {
    match c {
        '\0'..='\u{7f}' => c.is_ascii_alphanumeric(),
        '\u{c0}'..='\u{24f}' => !matches!(c, '×' | '÷'),
        '\u{2010}'..='\u{205e}' => false,
        _ => c.is_alphanumeric() || is_mark(c),
    }
}

pub(crate) fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '\u{2018}' | '\u{2019}' | '\u{2bb}' | '\u{2bc}')
}

/// Marks that accents decompose into. Those of other scripts carry meaning and stay.
fn is_latin_accent(c: char) -> bool {
    ('\u{300}'..='\u{36f}').contains(&c)
}

fn is_mark(c: char) -> bool {
    !c.is_ascii() && unicode_normalization::char::is_combining_mark(c)
}

/// Lower case, with the Latin letters that have no decomposition spelt out.
pub(crate) fn push_plain(c: char, folded: &mut String) {
    match c {
        'a'..='z' | '0'..='9' => folded.push(c),
        'A'..='Z' => folded.push(c.to_ascii_lowercase()),
        'ß' | 'ẞ' => folded.push_str("ss"),
        'æ' | 'Æ' => folded.push_str("ae"),
        'œ' | 'Œ' => folded.push_str("oe"),
        'þ' | 'Þ' => folded.push_str("th"),
        'ø' | 'Ø' => folded.push('o'),
        'ł' | 'Ł' => folded.push('l'),
        'đ' | 'Đ' | 'ð' | 'Ð' => folded.push('d'),
        'ı' => folded.push('i'),
        _ => folded.extend(c.to_lowercase().filter(|&c| !is_latin_accent(c))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn shortcuts_say_what_the_tables_say() {
        for c in '\0'..=char::MAX {
            assert_eq!(is_of_word(c), c.is_alphanumeric() || is_mark(c), "{c:?}");
        }
    }

    #[test]
    fn case_accents_and_punctuation_do_not_matter() {
        assert_eq!(fold("  Café—Łódź, ST. JOHN'S (Straße) "), "cafe lodz st johns strasse");
        assert_eq!(fold("İstanbul"), "istanbul");
        assert_eq!(fold("東京 タワー"), "東京 タワー");
        assert_eq!(fold("…"), "");
        assert_eq!(fold("\u{10376}'\u{113ce}"), fold("\u{10376}\u{113ce}"), "marks on both sides of an apostrophe");
    }

    proptest! {
        #[test]
        fn folding_twice_is_folding_once(text in "\\PC{0,40}") {
            let once = fold(&text);
            prop_assert_eq!(fold(&once), once);
        }
    }
}
