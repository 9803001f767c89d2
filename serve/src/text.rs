//! Full text: the words of events, and which of them a query's words find.
//!
//! A query finds an event where each of its words finds a word of the event: the word itself, a word
//! that begins with it (the last word of the query only, which may be half typed), or a word that is
//! spelt alike. Whether it does depends on the query and on the event alone, never on other events, so
//! that one rule holds for a search, for the pages of its result and for a live stream.
//!
//! The score is a sum over the words of the query. Each gives the best product of how well it is met
//! ([`Match`]) and of where the word stands ([`Field`]).

use std::collections::BTreeMap;

use headwater_operators::words::fold;

/// The most words of a query that count.
pub const MOST_WORDS: usize = 16;

/// Longer words are cut: nobody searches for them, and each takes memory.
const LONGEST_WORD: usize = 40;

/// From so many characters on, one typing error is forgiven.
const ONE_ERROR_FROM: usize = 5;
/// From so many characters on, two are.
const TWO_ERRORS_FROM: usize = 9;

/// Where a word stands in an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// In the description.
    Body,
    /// In a name: venue, city, organizer, category, tag.
    Name,
    /// In the title.
    Title,
}

impl Field {
    /// All fields, by weight.
    pub const ALL: [Self; 3] = [Self::Body, Self::Name, Self::Title];

    /// What a word that stands there counts.
    pub const fn weight(self) -> u32 {
        match self {
            Self::Body => 1,
            Self::Name => 2,
            Self::Title => 4,
        }
    }
}

/// How well a word of a query is met by a word of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Match {
    /// Spelt alike but for two errors.
    TwoErrors,
    /// Spelt alike but for one error.
    OneError,
    /// The beginning of it.
    Prefix,
    /// The word itself.
    Exact,
}

impl Match {
    /// What it counts.
    pub const fn weight(self) -> u32 {
        match self {
            Self::TwoErrors => 2,
            Self::OneError => 4,
            Self::Prefix => 7,
            Self::Exact => 10,
        }
    }
}

/// The words of an event, each with the weightiest field in which it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words(BTreeMap<Box<str>, Field>);

impl Words {
    /// Adds the words of `text`, which stands in `field`.
    pub fn add(&mut self, field: Field, text: &str) {
        for word in fold(text).split(' ').filter(|word| !word.is_empty()) {
            let word = cut(word);
            match self.0.get_mut(word) {
                Some(known) => *known = (*known).max(field),
                None => {
                    self.0.insert(word.into(), field);
                }
            }
        }
    }

    /// Each word once.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Field)> {
        self.0.iter().map(|(word, field)| (&**word, *field))
    }
}

/// At most the first [`LONGEST_WORD`] characters.
fn cut(word: &str) -> &str {
    word.char_indices().nth(LONGEST_WORD).map_or(word, |(at, _)| word.get(..at).unwrap_or(word))
}

/// What is searched for: one word or more.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TextQuery {
    words: Vec<QueryWord>,
}

/// A word of a query.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct QueryWord {
    text: Box<str>,
    /// It may be the beginning of a word.
    prefix: bool,
}

impl TextQuery {
    /// The query of this text; `None` where no word is in it. A space after the last word says that it
    /// is whole.
    pub fn new(text: &str) -> Option<Self> {
        let folded = fold(text);
        let half_typed = !text.ends_with(char::is_whitespace);
        let mut words: Vec<QueryWord> = Vec::new();
        for word in folded.split(' ').filter(|word| !word.is_empty()).take(MOST_WORDS) {
            words.push(QueryWord { text: cut(word).into(), prefix: false });
        }
        words.last_mut()?.prefix = half_typed;
        words.sort_by(|a, b| (&a.text, a.prefix).cmp(&(&b.text, b.prefix)));
        words.dedup();
        Some(Self { words })
    }

    /// Its words.
    pub fn words(&self) -> &[QueryWord] {
        &self.words
    }

    /// Whether each of its words finds one of these, which are those of a name, folded.
    pub fn finds<'w>(&self, name: impl Iterator<Item = &'w str> + Clone) -> bool {
        self.words.iter().all(|word| name.clone().any(|other| word.meets(cut(other)).is_some()))
    }

    /// How well `words` answer it; `None` where one of its words finds nothing.
    pub fn score(&self, words: &Words) -> Option<u32> {
        self.words.iter().try_fold(0, |sum, word| Some(sum + word.score(words)?))
    }
}

impl QueryWord {
    /// The word, in lower case and without accents.
    pub fn text(&self) -> &str {
        &self.text
    }

    fn score(&self, words: &Words) -> Option<u32> {
        words.iter().filter_map(|(word, field)| Some(self.meets(word)?.weight() * field.weight())).max()
    }

    /// Whether it finds `word`, and how well.
    pub fn meets(&self, word: &str) -> Option<Match> {
        if word == &*self.text {
            return Some(Match::Exact);
        }
        if self.prefix && word.starts_with(&*self.text) {
            return Some(Match::Prefix);
        }
        match spelt_alike(&self.text, word, errors_forgiven(&self.text))? {
            1 => Some(Match::OneError),
            _ => Some(Match::TwoErrors),
        }
    }

    /// What every word begins with that it can find: nothing is forgiven in the first letter.
    pub fn stem(&self) -> &str {
        if errors_forgiven(&self.text) == 0 {
            return &self.text;
        }
        let first = self.text.chars().next().map_or(0, char::len_utf8);
        self.text.get(..first).unwrap_or_default()
    }
}

/// How many typing errors are forgiven in `word`. None in a number: 2026 is not 2027.
fn errors_forgiven(word: &str) -> usize {
    if word.bytes().any(|byte| byte.is_ascii_digit()) {
        return 0;
    }
    match word.chars().count() {
        TWO_ERRORS_FROM.. => 2,
        ONE_ERROR_FROM.. => 1,
        _ => 0,
    }
}

/// The number of errors between two words that begin with the same letter, where it is 1 to `most`: letters
/// missing, added, wrong, or two neighbours in the wrong order (optimal string alignment).
fn spelt_alike(a: &str, b: &str, most: usize) -> Option<usize> {
    let lengths = a.len().abs_diff(b.len());
    // A letter is at most four bytes.
    if most == 0 || lengths > most * 4 || a.chars().next() != b.chars().next() {
        return None;
    }
    if a.is_ascii() && b.is_ascii() && lengths > most {
        return None;
    }
    let errors = strsim::osa_distance(a, b);
    (1..=most).contains(&errors).then_some(errors)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(title: &str, body: &str) -> Words {
        let mut words = Words::default();
        words.add(Field::Body, body);
        words.add(Field::Title, title);
        words
    }

    fn score(query: &str, words: &Words) -> Option<u32> {
        TextQuery::new(query).unwrap().score(words)
    }

    #[test]
    fn words_are_found_as_they_are_and_half_typed_and_misspelt() {
        let event = words("Café Concert: Beethoven", "An evening at the philharmonic hall");
        assert_eq!(score("cafe ", &event), Some(40));
        assert_eq!(score("concert", &event), Some(40));
        assert_eq!(score("beeth", &event), Some(28), "half typed");
        assert_eq!(score("beeth ", &event), None, "a whole word");
        assert_eq!(score("beethove ", &event), Some(16), "a letter is missing");
        assert_eq!(score("beethoven phil", &event), Some(40 + 7));
        assert_eq!(score("beetohven", &event), Some(16), "two letters in the wrong order");
        assert_eq!(score("filharmonic", &event), None, "nothing is forgiven in the first letter");
        assert_eq!(score("philarmonik", &event), Some(2), "two errors in a long word");
        assert_eq!(score("concert jazz", &event), None, "every word has to be there");
    }

    #[test]
    fn numbers_and_short_words_are_taken_as_they_are() {
        let event = words("Expo 2026 rock", "");
        assert_eq!(score("2027 ", &event), None);
        assert_eq!(score("rick ", &event), None);
        assert_eq!(score("2026 ", &event), Some(40));
    }

    #[test]
    fn the_order_of_words_does_not_matter_but_the_last_may_be_half_typed() {
        assert_eq!(TextQuery::new("jazz night "), TextQuery::new("Night, JAZZ "));
        assert_ne!(TextQuery::new("jazz night"), TextQuery::new("night jazz"));
        assert_eq!(TextQuery::new(" -…"), None);
    }

    #[test]
    fn what_a_word_finds_begins_with_its_stem() {
        for (query, word) in [("jazz", "jazz"), ("concrt ", "concert"), ("2026 ", "2026"), ("ja", "jazz")] {
            let query = TextQuery::new(query).unwrap();
            let query = &query.words()[0];
            assert!(query.meets(word).is_some() && word.starts_with(query.stem()), "{query:?} {word}");
        }
    }
}
