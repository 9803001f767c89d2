//! Designations: what a title or a venue says to tell one of several parts from the others, such as
//! "Program B", "Part II", "Room 3", "U12" or "(EN)".
//!
//! A designation is a sort and a value. Two texts that have a sort in common, and no value of it,
//! name different parts, however much else agrees.

use std::sync::LazyLock;

use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64;

use super::token::{for_each_word, number_of, stem};

/// A part of something: hashes of its sort and of its value.
pub type Designation = (u32, u32);

/// The designations of one text, ascending.
pub(super) type Designations = SmallVec<[Designation; 2]>;

/// Words that a letter or a number after them makes a designation.
const SORTS: &[&str] = &[
    "act",
    "block",
    "chapter",
    "class",
    "cohort",
    "course",
    "court",
    "day",
    "division",
    "episode",
    "field",
    "grade",
    "group",
    "gruppe",
    "gym",
    "hall",
    "heat",
    "kur",
    "lane",
    "lesson",
    "level",
    "module",
    "movement",
    "part",
    "partie",
    "phase",
    "pool",
    "program",
    "programm",
    "programme",
    "raum",
    "room",
    "round",
    "saal",
    "salle",
    "screen",
    "season",
    "section",
    "session",
    "set",
    "slot",
    "stage",
    "step",
    "studio",
    "team",
    "teil",
    "track",
    "unit",
    "vol",
    "volume",
    "wave",
    "week",
    "workshop",
    "zone",
];

/// Languages by what titles call them, with their code.
const LANGUAGES: &[(&str, &str)] = &[
    ("arabic", "ar"),
    ("de", "de"),
    ("deutsch", "de"),
    ("dutch", "nl"),
    ("en", "en"),
    ("eng", "en"),
    ("englisch", "en"),
    ("english", "en"),
    ("es", "es"),
    ("espanol", "es"),
    ("fr", "fr"),
    ("francais", "fr"),
    ("franzosisch", "fr"),
    ("french", "fr"),
    ("ger", "de"),
    ("german", "de"),
    ("it", "it"),
    ("italian", "it"),
    ("italiano", "it"),
    ("italienisch", "it"),
    ("nederlands", "nl"),
    ("nl", "nl"),
    ("pl", "pl"),
    ("polish", "pl"),
    ("polski", "pl"),
    ("portuguese", "pt"),
    ("pt", "pt"),
    ("ru", "ru"),
    ("russian", "ru"),
    ("spanisch", "es"),
    ("spanish", "es"),
    ("tr", "tr"),
    ("turkish", "tr"),
    ("ua", "uk"),
    ("ukrainian", "uk"),
];

/// The hash of each sort.
static SORT_HASHES: LazyLock<foldhash::HashMap<&str, u32>> =
    LazyLock::new(|| SORTS.iter().map(|sort| (*sort, hash(canonical(sort)))).collect());

/// The sort of `(2)`.
const COPY: u32 = 0;

fn hash(text: &str) -> u32 {
    xxh3_64(text.as_bytes()) as u32
}

fn language(word: &str) -> Option<Designation> {
    let found = LANGUAGES.binary_search_by_key(&word, |(name, _)| name).ok()?;
    Some((hash("language"), hash(LANGUAGES.get(found)?.1)))
}

/// The designations in a text.
pub(super) fn designations(text: &str) -> Designations {
    let mut found = Designations::new();
    by_sort(text, &mut found);
    // Most texts have no border, and one look tells.
    if text.bytes().any(may_be_border) {
        by_border(text, &mut found);
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Whether a byte is one of a border, or of the dash between two spaces.
fn may_be_border(byte: u8) -> bool {
    const DASHES: u8 = 0xE2;
    matches!(byte, b'(' | b')' | b'[' | b']' | b'|' | b':' | b',' | b'-' | DASHES)
}

/// Takes in what stands before, between or after borders.
fn by_border(text: &str, found: &mut Designations) {
    // Only what stands by itself is a language: "(EN)", "Tour - English", "Tour | DE".
    let is_border = |c: char| matches!(c, '(' | ')' | '[' | ']' | '|' | '–' | '—' | ':' | ',');
    let parts = text.split(is_border).flat_map(|part| part.split(" - "));
    found.extend(copy_number(text).map(|number| (COPY, number)));
    found.extend(codes(text).map(|code| (hash("code"), hash(code))));
    for part in parts.skip(usize::from(!text.starts_with(['(', '[']))) {
        languages(part, found);
    }
}

/// Takes in the languages that `part` consists of, be it one or several.
fn languages(part: &str, found: &mut Designations) {
    let mut named = Designations::new();
    let mut only = part.len() <= 24;
    if only {
        for_each_word(part, |word, _| match language(word) {
            Some(language) => named.push(language),
            None => only &= matches!(word, "in" | "auf" | "and" | "und" | "en" | "version"),
        });
    }
    if only {
        found.extend(named);
    }
}

fn by_sort(text: &str, found: &mut Designations) {
    let mut sort: Option<u32> = None;
    for_each_word(text, |word, upper| {
        if let Some(sort) = sort {
            found.extend(value_of(word, upper).map(|value| (sort, value)));
        }
        if let Some(age) = age_group(word) {
            found.push((hash("under"), age));
        }
        sort = SORT_HASHES.get(stem(word)).copied();
    });
    if let Some(last) = last_letter(text) {
        found.push((hash("letter"), last));
    }
}

fn canonical(sort: &str) -> &str {
    match sort {
        "programm" | "programme" => "program",
        "gruppe" => "group",
        "teil" | "partie" => "part",
        "raum" => "room",
        "saal" | "salle" => "hall",
        "volume" => "vol",
        _ => sort,
    }
}

/// The value of a single capital letter, a number, or a Roman one up to ten.
fn value_of(word: &str, upper: bool) -> Option<u32> {
    const ROMAN: [&str; 10] = ["i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x"];
    const SPELT: [&str; 10] = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];
    let place = |words: &[&str]| (1..).zip(words).find(|(_, one)| **one == word).map(|(number, _)| number);
    number_of(word)
        .or_else(|| place(&SPELT))
        .or_else(|| place(&ROMAN).filter(|_| upper))
        .or_else(|| letter(word, upper))
}

/// A value for a single capital letter, beside those of numbers.
fn letter(word: &str, upper: bool) -> Option<u32> {
    let byte = word.bytes().next().filter(|byte| word.len() == 1 && upper && byte.is_ascii_alphabetic())?;
    Some(u32::MAX - u32::from(byte))
}

/// The age of `U12` or `12U`.
fn age_group(word: &str) -> Option<u32> {
    let digits = word.strip_prefix('u').or_else(|| word.strip_suffix('u'))?;
    let age = (digits.len() <= 2).then(|| digits.parse::<u32>().ok())??;
    (4..=23).contains(&age).then_some(age)
}

/// A capital letter from A to H by itself at the end of a text: "Gym A".
fn last_letter(text: &str) -> Option<u32> {
    let text = text.trim_end_matches(|c: char| !c.is_alphanumeric());
    let (before, last) = text.rsplit_once(' ')?;
    let before = before.trim_end();
    // "R & B", "Plan A or B": not a letter that follows another one.
    let word_before = before.rsplit(' ').next()?;
    let whole_word = word_before.chars().count() > 1 && word_before.chars().all(char::is_alphanumeric);
    let byte = *last.as_bytes().first().filter(|byte| last.len() == 1 && (b'A'..=b'H').contains(*byte))?;
    whole_word.then(|| letter(last, true).unwrap_or(u32::from(byte)))
}

/// The number of `(2)`, by which a source tells the second of several of one name.
fn copy_number(text: &str) -> Option<u32> {
    let number = |part: &str| part.split_once(')')?.0.trim().parse::<u32>().ok();
    text.split('(').skip(1).filter_map(number).find(|number| (2..=20).contains(number))
}

/// The codes that a text begins with: the rooms of a house that books them, as in "SH - Yoga" and "MR/LIB - Choir".
fn codes(text: &str) -> impl Iterator<Item = &str> {
    let before = text.split_once(" - ").map_or("", |(before, _)| before);
    let is_code = |word: &str| (2..=3).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_uppercase());
    let all = before.split('/').all(is_code);
    before.split('/').filter(move |_| all)
}

/// Whether two texts name different parts of one sort. Of several of one name the first has no number.
pub(super) fn are_other_parts(a: &[Designation], b: &[Designation]) -> bool {
    let copy = |parts: &[Designation]| parts.iter().find(|(sort, _)| *sort == COPY).map(|(_, number)| *number);
    if copy(a) != copy(b) {
        return true;
    }
    let in_common = |sort: u32| a.iter().any(|one| one.0 == sort && b.contains(one));
    a.iter().any(|&(sort, _)| b.iter().any(|other| other.0 == sort) && !in_common(sort))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn other(a: &str, b: &str) -> bool {
        let there = are_other_parts(&designations(a), &designations(b));
        assert_eq!(there, are_other_parts(&designations(b), &designations(a)), "{a} / {b}: not symmetric");
        there
    }

    #[test]
    fn the_tables_are_sorted() {
        assert!(SORTS.is_sorted() && LANGUAGES.is_sorted());
        assert!(SORTS.iter().all(|sort| stem(sort) == *sort));
    }

    #[test]
    fn parts_of_one_sort_are_told_apart() {
        for (a, b) in [
            ("Marionette Shorts: Programme A", "Marionette Shorts, Program B"),
            ("Saga Marathon Part I", "Saga Marathon Part II"),
            ("Saga Marathon Part One", "Saga Marathon Part Two"),
            ("Weaving Level 1", "Weaving, Level 3"),
            ("Futsal U10", "Futsal U12"),
            ("Futsal 10U", "Futsal U12"),
            ("Badminton Halle Teil 2", "Badminton Halle Part 1"),
            ("Harbour Walk (EN)", "Harbour Walk (FR)"),
            ("Harbour Walk - in English", "Harbour Walk | Deutsch"),
            ("Harbour Walk [German]", "Harbour Walk, italiano"),
            ("Open Court Gym A", "Open Court Gym B"),
            ("Dodgeball A", "Dodgeball B"),
            ("Scanner Hour (2)", "Scanner Hour"),
            ("Scanner Hour (2)", "Scanner Hour (3)"),
            ("MR - Choir Practice", "BH - Choir Practice"),
            ("MR/LIB - Choir Practice", "BH - Choir Practice"),
        ] {
            assert!(other(a, b), "{a} / {b}");
        }
    }

    #[test]
    fn what_is_no_part_tells_nothing() {
        for (a, b) in [
            ("Saga Marathon Part II", "Saga Marathon, part 2"),
            ("Weaving Levels 1 and 2", "Weaving Level 1"),
            ("Soul, R & B", "Soul, R & D"),
            ("A Part of Me", "A Room with a View"),
            ("English Breakfast", "German Breakfast"),
            ("Tour de France", "Tour de Ville"),
            ("Harbour Walk (EN/DE)", "Harbour Walk (DE)"),
            ("Studio Night", "Studio A Night"),
            ("Scanner Hour (2026)", "Scanner Hour"),
            ("Scanner Hour (2nd)", "Scanner Hour"),
            ("MR/LIB - Choir Practice", "LIB - Choir Practice"),
            ("MR - Choir Practice", "Choir Practice"),
            ("LIVE - Scanner Hour", "SHOW - Scanner Hour"),
        ] {
            assert!(!other(a, b), "{a} / {b}");
        }
    }
}
