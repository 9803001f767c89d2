//! Reading a title: which words tell events apart, which say next to nothing, and which numbers
//! are years, editions or parts.

use std::borrow::Cow;

use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64;

use super::token::{Class, MAX_TOKENS, Number, Token, for_each_word, number_of, stem};
use super::vocabulary::{Meaning, Sense, alias, country_of_two, country_token, meaning, sense};

/// A title, read.
#[derive(Debug, Default)]
pub(super) struct Title {
    /// Words in order of appearance, each with its length in characters.
    pub(super) tokens: Vec<(Token, usize)>,
    pub(super) years: Vec<u16>,
    pub(super) numbers: Vec<Number>,
    /// Hashes of the letters in order, as they are written and with codes for countries: "Rails Israel"
    /// and "RailsIsrael" have the same, and so have "PyConZA" and "PyCon South Africa". 0 for none.
    /// The third is of all words, also those that tell nothing.
    pub(super) letters: [u32; 3],
    /// Hash of the letters of the words that tell events apart: "SwiftBerry Conference" and "Swift Berry"
    /// have the same. 0 for none.
    pub(super) core: u32,
    /// Hash of the letters of all words after the first "and": of "Picnic and Lantern Walk" it is the third of the
    /// letters of "Lantern Walk". 0 for none, or hardly any.
    pub(super) tail: u32,
    /// What the words may be abbreviated to, as tokens.
    pub(super) acronyms: Acronyms,
    /// Which words for a part of an event it has, by bits.
    pub(super) parts: u32,
}

/// What follows an "and" is another offer from so many letters on: "Salt and Pepper" is one.
const TAIL_LETTERS: usize = 10;

/// Hashes of abbreviations.
pub(super) type Acronyms = SmallVec<[u32; 4]>;

#[derive(Clone, Copy)]
struct Word<'t> {
    text: &'t str,
    upper: bool,
    /// What it means by itself.
    meaning: Meaning,
}

impl<'t> Word<'t> {
    fn new(text: &'t str, upper: bool) -> Self {
        Self { text, upper, meaning: meaning(text) }
    }

    fn number(&self) -> Option<u32> {
        number_of(self.text)
    }

    fn is_day(&self) -> bool {
        self.number().is_some_and(|number| (1..=31).contains(&number))
    }
}

/// Reads a title.
pub(super) fn read(title: &str) -> Title {
    let mut buffer = String::with_capacity(title.len() + 8);
    let mut ends: SmallVec<[(usize, bool); 32]> = SmallVec::new();
    let shouting = !title.chars().any(char::is_lowercase);
    let mut letter = false;
    let title = &*with_whole_years(title);
    for_each_word(title, |word, upper| {
        // Letters one by one are one word: "I/O", "U.S.", "R & B".
        let single = word.len() == 1 && word.bytes().all(|byte| byte.is_ascii_alphabetic());
        if let Some((end, _)) = ends.last_mut().filter(|_| single && letter) {
            buffer.push_str(word);
            *end = buffer.len();
        } else if ends.len() < MAX_TOKENS {
            buffer.push_str(word);
            ends.push((buffer.len(), upper && !shouting));
        }
        letter = single;
    });
    let mut from = 0;
    let words: SmallVec<[Word<'_>; 32]> = ends
        .iter()
        .map(|&(end, upper)| {
            let text = buffer.get(from..end).unwrap_or_default();
            from = end;
            Word::new(text, upper)
        })
        .collect();
    Reader::new(words.len(), buffer.len()).read(&words)
}

struct Reader {
    title: Title,
    stopped: Vec<(Token, usize)>,
    initials: [String; 3],
    syllables: String,
    letters: [String; 3],
    /// Where in the third of the letters those after the first "and" begin.
    tail_from: Option<usize>,
    core: String,
}

impl Reader {
    /// With room for so many words and letters.
    fn new(words: usize, letters: usize) -> Self {
        let text = |letters| String::with_capacity(letters);
        Self {
            title: Title { tokens: Vec::with_capacity(words), ..Title::default() },
            stopped: Vec::new(),
            initials: [words; 3].map(text),
            syllables: text(2 * words),
            letters: [letters; 3].map(text),
            tail_from: None,
            core: text(letters),
        }
    }

    fn read(mut self, words: &[Word<'_>]) -> Title {
        let mut at = 0;
        while let Some(word) = words.get(at) {
            if let Some(length) = time_of_day(words.get(at..).unwrap_or_default()) {
                at += length;
                continue;
            }
            if words.get(at + 1).is_some_and(|next| is_date(word, next)) {
                at += 2;
                continue;
            }
            let next = words.get(at + 1).map(|word| word.text);
            let country = country_of_two(word.text, next);
            at += if country.is_some() { 2 } else { 1 };
            if let Some(country) = country {
                self.country(country, word.text);
                self.letters[0].push_str(next.unwrap_or_default());
                continue;
            }
            if matches!(word.text, "present" | "presents" | "presenta" | "presented") && next != Some("by") {
                // What stands before is who presents it, unless nothing follows.
                if next.is_some() {
                    self.title.tokens.iter_mut().for_each(|(token, _)| *token = token.with_class(Class::Noise));
                }
                continue;
            }
            self.word(word, at == 1);
            if self.tail_from.is_none() && matches!(word.text, "and" | "und" | "et" | "y") {
                self.tail_from = Some(self.letters[2].len());
            }
        }
        if self.title.tokens.is_empty() {
            // A title of nothing but stop words ("The The") is still a title.
            self.title.tokens = self.stopped;
        }
        self.title.letters = [0, 1, 2].map(|way| hash_of_letters(&self.letters[way]));
        self.title.core = hash_of_letters(&self.core);
        let tail = self.tail_from.and_then(|from| self.letters[2].get(from..));
        self.title.tail = tail.filter(|tail| tail.len() >= TAIL_LETTERS).map_or(0, hash_of_letters);
        for (initials, range) in self.initials.iter().map(|text| (text, 3..=8)).chain([(&self.syllables, 6..=10)]) {
            if range.contains(&initials.len()) {
                let token = Token::new(stem(initials), Class::Telling).hash();
                if !self.title.acronyms.contains(&token) {
                    self.title.acronyms.push(token);
                }
            }
        }
        self.title
    }

    fn country(&mut self, code: &str, spelt: &str) {
        let token = country_token(code);
        self.title.tokens.push((token, 2));
        self.spell(spelt, Some(code));
        self.letters[2].push_str(spelt);
        self.spell_core(code);
    }

    /// Adds letters as they are written, and a country as its code.
    fn spell(&mut self, text: &str, code: Option<&str>) {
        let [written, coded, _] = &mut self.letters;
        written.push_str(text);
        coded.push_str(code.unwrap_or(text));
    }

    fn spell_core(&mut self, text: &str) {
        self.core.push_str(text);
    }

    fn word(&mut self, word: &Word<'_>, first: bool) {
        if let Some((name, number)) = with_number(word.text) {
            self.word(&Word::new(name, word.upper), first);
            return self.simple_word(&Word::new(number, false), false);
        }
        if let Some((name, sort)) = compound(word.text) {
            self.simple_word(&Word::new(name, false), first);
            return self.simple_word(&Word::new(sort, false), false);
        }
        self.simple_word(word, first);
    }

    fn simple_word(&mut self, word: &Word<'_>, first: bool) {
        let (text, meaning) = (word.text, word.meaning);
        let spelt_number = || meaning.number.or(meaning.roman.filter(|_| word.upper && !first));
        if let Some(number) = word.number().or_else(spelt_number) {
            match u16::try_from(number) {
                Ok(year @ 1900..=2100) => self.title.years.push(year),
                _ => {
                    let ordinal = !text.bytes().all(|byte| byte.is_ascii_digit()) && !word.upper;
                    self.title.numbers.push(Number { value: number, ordinal });
                }
            }
            return;
        }
        if let Some(code) = meaning.country.or(meaning.code.filter(|_| word.upper)) {
            self.initial(text, Class::Telling);
            return self.country(code, text);
        }
        let (length, spelt) = (text.chars().count(), text);
        self.letters[2].push_str(text);
        let text = alias(stem(text));
        let Sense { class, part } = sense(text);
        self.title.parts |= part;
        let initial = if class == Some(Class::Noise) { Some(Class::Common) } else { class };
        match initial {
            Some(class) => self.initial(text, class),
            None => self.initials.iter_mut().take(1).for_each(|initials| initials.extend(text.chars().next())),
        }
        match class {
            None => self.stopped.push((Token::new(text, Class::Noise), length)),
            Some(class) => {
                self.title.tokens.push((Token::new(text, class), length));
                if class != Class::Noise {
                    self.spell(if spelt == "conference" { "conf" } else { spelt }, None);
                }
                if matches!(class, Class::Telling | Class::Kind) {
                    self.spell_core(spelt);
                }
            }
        }
    }

    /// The first letter goes into the abbreviation of all words, into that without stop words, and,
    /// unless the word is common, into that of what is left ("conference on …"). The first two go
    /// into that by syllables ("Silver Coast Jazz Club": "SiCoJaCl").
    fn initial(&mut self, text: &str, class: Class) {
        let Some(letter) = text.chars().next() else { return };
        self.syllables.extend(text.chars().take(2));
        let kept = if class == Class::Common { 2 } else { 3 };
        self.initials.iter_mut().take(kept).for_each(|initials| initials.push(letter));
    }
}

/// `April 5` or `5 April`.
fn is_date(word: &Word<'_>, next: &Word<'_>) -> bool {
    (word.meaning.month && next.is_day()) || (next.meaning.month && word.is_day())
}

/// Hash of the letters of a title's words; 0 for none.
pub(super) fn hash_of_letters(letters: &str) -> u32 {
    if letters.is_empty() { 0 } else { (xxh3_64(letters.as_bytes()) as u32).max(1) }
}

/// A title with "'26" written as "2026".
fn with_whole_years(title: &str) -> Cow<'_, str> {
    let is_quote = |c: char| matches!(c, '\'' | '’' | '‘');
    let Some(at) = title.find(is_quote) else { return Cow::Borrowed(title) };
    let (before, after) = title.split_at(at);
    let digits = after.trim_start_matches(is_quote);
    let is_year = digits.len() >= 2
        && digits.bytes().take(2).all(|byte| byte.is_ascii_digit())
        && !digits.chars().nth(2).is_some_and(char::is_alphanumeric)
        && !before.ends_with(char::is_alphanumeric);
    let rest = with_whole_years(digits);
    match (is_year, rest) {
        (true, rest) => Cow::Owned(format!("{before}20{rest}")),
        (false, Cow::Owned(rest)) => Cow::Owned(format!("{before}'{rest}")),
        (false, Cow::Borrowed(_)) => Cow::Borrowed(title),
    }
}

/// A name with a year or an edition glued to it: "kestrelcon2026".
fn with_number(word: &str) -> Option<(&str, &str)> {
    let name = word.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = word.get(name.len()..)?;
    let letters = name.chars().count() >= 3 && name.chars().all(char::is_alphabetic);
    (letters && (number.len() == 4 || number.len() == 2)).then_some((name, number))
}

/// What a compound of a name and a sort of event is made of: "rubyconf", "jazzfest".
fn compound(word: &str) -> Option<(&str, &str)> {
    let parts = ["conf", "fest"].into_iter().find_map(|sort| word.strip_suffix(sort).map(|name| (name, sort)));
    parts.filter(|(name, _)| name.len() >= 2 && sense(alias(stem(name))).class == Some(Class::Telling))
}

/// How many words at the beginning are a time of day (`7pm`, `1130am`, `7 pm`, `7:30 pm`): those are
/// compared as times.
fn time_of_day(words: &[Word<'_>]) -> Option<usize> {
    // All of them begin with a digit, and few words do.
    words.first().filter(|word| word.text.starts_with(|c: char| c.is_ascii_digit()))?;
    let half = |text: &str| matches!(text, "am" | "pm");
    let digits = |text: &str| (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let text = |at: usize| words.get(at).map_or("", |word| word.text);
    let joined = |text: &str| text.strip_suffix("am").or_else(|| text.strip_suffix("pm")).is_some_and(digits);
    match (text(0), text(1), text(2)) {
        (first, ..) if joined(first) => Some(1),
        (first, second, _) if digits(first) && half(second) => Some(2),
        (first, second, _) if digits(first) && second.len() == 4 && joined(second) => Some(2),
        (first, second, third) if digits(first) && digits(second) && half(third) => Some(3),
        _ => None,
    }
}
