//! Reading a title: which words tell events apart, which say next to nothing, and which numbers
//! are years, editions or parts.

use smallvec::SmallVec;
use xxhash_rust::xxh3::Xxh3Default;

use super::fingerprint::{MAX_TOKENS, Number, Token, for_each_word, number_of, stem};

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

/// A title, read.
#[derive(Debug, Default)]
pub(super) struct Title {
    /// Words in order of appearance, each with its length in characters.
    pub(super) tokens: Vec<(Token, usize)>,
    pub(super) years: Vec<u16>,
    pub(super) numbers: Vec<Number>,
    /// Hashes of the letters in order, as they are written and with codes for countries: "Rails Israel"
    /// and "RailsIsrael" have the same, and so have "PyConZA" and "PyCon South Africa". 0 for none.
    pub(super) letters: [u32; 2],
    /// What the words may be abbreviated to, as tokens.
    pub(super) acronyms: SmallVec<[u32; 3]>,
}

struct Word<'t> {
    text: &'t str,
    upper: bool,
}

/// Reads a title.
pub(super) fn read(title: &str) -> Title {
    let mut buffer = String::with_capacity(title.len() + 8);
    let mut ends: SmallVec<[(usize, bool); 32]> = SmallVec::new();
    let shouting = !title.chars().any(char::is_lowercase);
    for_each_word(title, |word, upper| {
        if ends.len() < MAX_TOKENS {
            buffer.push_str(word);
            ends.push((buffer.len(), upper && !shouting));
        }
    });
    let mut from = 0;
    let words: SmallVec<[Word<'_>; 32]> = ends
        .iter()
        .map(|&(end, upper)| {
            let text = buffer.get(from..end).unwrap_or_default();
            from = end;
            Word { text, upper }
        })
        .collect();
    Reader::default().read(&words)
}

#[derive(Default)]
struct Reader {
    title: Title,
    stopped: Vec<(Token, usize)>,
    initials: [String; 3],
    letters: [Xxh3Default; 2],
    any_letters: [bool; 2],
}

impl Reader {
    fn read(mut self, words: &[Word<'_>]) -> Title {
        let mut at = 0;
        while let Some(word) = words.get(at) {
            let next = words.get(at + 1).map(|word| word.text);
            if let Some(length) = time_of_day(words.get(at..).unwrap_or_default()) {
                at += length;
                continue;
            }
            at += if self.is_date(word.text, next) || country_of_two(word.text, next).is_some() { 2 } else { 1 };
            if self.is_date(word.text, next) {
                continue;
            }
            if let Some(country) = country_of_two(word.text, next) {
                self.country(country, word.text);
                self.letters[0].update(next.unwrap_or_default().as_bytes());
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
        }
        if self.title.tokens.is_empty() {
            // A title of nothing but stop words ("The The") is still a title.
            self.title.tokens = self.stopped;
        }
        for ((slot, letters), any) in self.title.letters.iter_mut().zip(&self.letters).zip(self.any_letters) {
            *slot = if any { (letters.digest() as u32).max(1) } else { 0 };
        }
        for initials in &self.initials {
            if (3..=8).contains(&initials.len()) {
                let token = Token::new(stem(initials), Class::Telling).hash();
                if !self.title.acronyms.contains(&token) {
                    self.title.acronyms.push(token);
                }
            }
        }
        self.title
    }

    /// `April 5` or `5 April`.
    fn is_date(&self, word: &str, next: Option<&str>) -> bool {
        let day = |text: &str| number_of(text).is_some_and(|number| (1..=31).contains(&number));
        next.is_some_and(|next| (is_month(word) && day(next)) || (day(word) && is_month(next)))
    }

    fn country(&mut self, code: &str, spelt: &str) {
        let token = country_token(code);
        self.title.tokens.push((token, 2));
        self.spell(spelt, Some(code));
    }

    /// Adds letters as they are written, and a country as its code.
    fn spell(&mut self, text: &str, code: Option<&str>) {
        let texts = [text, code.unwrap_or(text)];
        for ((letters, any), text) in self.letters.iter_mut().zip(&mut self.any_letters).zip(texts) {
            letters.update(text.as_bytes());
            *any = true;
        }
    }

    fn word(&mut self, word: &Word<'_>, first: bool) {
        let text = word.text;
        if let Some(number) = number_of(text).or_else(|| spelt_number(text, word.upper && !first)) {
            match u16::try_from(number) {
                Ok(year @ 1900..=2100) => self.title.years.push(year),
                _ => {
                    let ordinal = !text.bytes().all(|byte| byte.is_ascii_digit()) && !word.upper;
                    self.title.numbers.push(Number { value: number, ordinal });
                }
            }
            return;
        }
        if let Some(code) = country(text).or_else(|| country_code(text).filter(|_| word.upper)) {
            self.initial(text, Class::Telling);
            return self.country(code, text);
        }
        let (length, spelt) = (text.chars().count(), text);
        let text = alias(stem(text));
        let class = class(text);
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
            }
        }
    }

    /// The first letter goes into the abbreviation of all words, into that without stop words, and,
    /// unless the word is common, into that of what is left ("conference on …").
    fn initial(&mut self, text: &str, class: Class) {
        let Some(letter) = text.chars().next() else { return };
        let kept = if class == Class::Common { 2 } else { 3 };
        self.initials.iter_mut().take(kept).for_each(|initials| initials.push(letter));
    }
}

/// The token of the country with this ISO code, in capitals.
pub(super) fn country_token_of(code: &str) -> Token {
    let code = code.to_ascii_lowercase();
    country_token(if code == "gb" { "uk" } else { &code })
}

/// The token of a country, whatever it is called.
pub(super) fn country_token(code: &str) -> Token {
    let mut hasher = Xxh3Default::new();
    hasher.update(b"country:");
    hasher.update(code.as_bytes());
    Token::of_hash(hasher.digest(), Class::Telling)
}

/// How many words at the beginning are a time of day (`7pm`, `1130am`, `7 pm`, `7:30 pm`): those are
/// compared as times.
fn time_of_day(words: &[Word<'_>]) -> Option<usize> {
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

fn is_month(word: &str) -> bool {
    const MONTHS: [&str; 24] = [
        "april",
        "apr",
        "august",
        "aug",
        "december",
        "dec",
        "february",
        "feb",
        "january",
        "jan",
        "july",
        "jul",
        "june",
        "jun",
        "march",
        "mar",
        "may",
        "november",
        "nov",
        "october",
        "oct",
        "september",
        "sep",
        "sept",
    ];
    MONTHS.contains(&word)
}

/// `first`, and Roman numerals from II to XII written in capitals.
fn spelt_number(word: &str, upper: bool) -> Option<u32> {
    const SPELT: [&str; 10] =
        ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"];
    const ROMAN: [&str; 11] = ["ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x", "xi", "xii"];
    let spelt = SPELT.iter().position(|spelt| *spelt == word).map(|at| at + 1);
    let roman =
        || ROMAN.iter().position(|roman| *roman == word && upper && word != "v" && word != "x").map(|at| at + 2);
    spelt.or_else(roman).and_then(|number| u32::try_from(number).ok())
}

fn country_of_two(word: &str, next: Option<&str>) -> Option<&'static str> {
    Some(match (word, next?) {
        ("south" | "republic", "korea") => "kr",
        ("south", "africa") => "za",
        ("new", "zealand") => "nz",
        ("united", "kingdom") | ("great", "britain") => "uk",
        ("united", "states") => "us",
        ("costa", "rica") => "cr",
        ("sri", "lanka") => "lk",
        ("czech", "republic") => "cz",
        ("hong", "kong") => "hk",
        ("saudi", "arabia") => "sa",
        ("asia", "pacific") => "apac",
        ("latin", "america") => "latam",
        _ => return None,
    })
}

/// Countries by the names that events carry in their titles, in English and in their own tongue.
fn country(word: &str) -> Option<&'static str> {
    let at = COUNTRIES.binary_search_by_key(&word, |(name, _)| name).ok()?;
    COUNTRIES.get(at).map(|(_, code)| *code)
}

/// Codes that are no English words; only where the title has them in capitals.
fn country_code(word: &str) -> Option<&'static str> {
    const CODES: [&str; 38] = [
        "ae", "ar", "au", "br", "ch", "cl", "cn", "cz", "de", "dk", "ee", "es", "fi", "fr", "gb", "gr", "hk", "hu",
        "ie", "il", "jp", "ke", "kr", "mx", "my", "ng", "nl", "nz", "ph", "pl", "pt", "ro", "se", "sg", "th", "tw",
        "ua", "za",
    ];
    match word {
        "uk" | "gb" => Some("uk"),
        "eu" => Some("eu"),
        "us" | "usa" => Some("us"),
        "uae" => Some("ae"),
        _ => CODES.iter().find(|code| **code == word).copied(),
    }
}

/// Spellings of one word.
fn alias(word: &str) -> &str {
    match word {
        "con" | "conference" | "konferenz" | "conferencia" | "conferenza" => "conf",
        "festival" => "fest",
        "centre" => "center",
        "theatre" => "theater",
        "developer" => "dev",
        "javascript" => "js",
        "mount" => "mt",
        "saint" => "st",
        "international" => "intl",
        "university" => "univ",
        "meetup" => "meeting",
        "children" => "kid",
        _ => word,
    }
}

/// The class of a stemmed word; `None` for one that has no meaning at all.
fn class(word: &str) -> Option<Class> {
    if STOP.binary_search(&word).is_ok() {
        return None;
    }
    let tables = [(COMMON, Class::Common), (KIND, Class::Kind), (NOISE, Class::Noise)];
    let found = tables.into_iter().find(|(table, _)| table.binary_search(&word).is_ok());
    Some(found.map_or(Class::Telling, |(_, class)| class))
}

/// Fixed, not counted from the listings present: one arrival never re-keys others. All tables are
/// sorted, and hold words as [`stem`] and [`alias`] leave them.
pub(super) const STOP: &[&str] = &[
    "a",
    "am",
    "an",
    "and",
    "at",
    "au",
    "avec",
    "by",
    "das",
    "de",
    "del",
    "den",
    "der",
    "des",
    "die",
    "du",
    "e",
    "el",
    "en",
    "et",
    "feat",
    "featuring",
    "for",
    "from",
    "ft",
    "il",
    "im",
    "in",
    "into",
    "is",
    "la",
    "las",
    "le",
    "les",
    "los",
    "mit",
    "o",
    "of",
    "on",
    "or",
    "para",
    "pm",
    "por",
    "s",
    "the",
    "to",
    "und",
    "v",
    "von",
    "vs",
    "w",
    "with",
    "y",
    "your",
    "zu",
];
const COMMON: &[&str] = &[
    "art",
    "author",
    "band",
    "benefit",
    "book",
    "camp",
    "celebration",
    "center",
    "chat",
    "class",
    "club",
    "com",
    "community",
    "concert",
    "conf",
    "course",
    "craft",
    "dance",
    "day",
    "dev",
    "dinner",
    "discussion",
    "drink",
    "event",
    "exhibit",
    "exhibition",
    "expo",
    "fair",
    "fest",
    "film",
    "fitness",
    "food",
    "forum",
    "friday",
    "friend",
    "fun",
    "game",
    "group",
    "happy",
    "holiday",
    "hour",
    "intl",
    "jam",
    "karaoke",
    "lecture",
    "library",
    "market",
    "meet",
    "meeting",
    "mic",
    "monday",
    "month",
    "monthly",
    "movie",
    "music",
    "national",
    "new",
    "night",
    "open",
    "opening",
    "out",
    "party",
    "performance",
    "play",
    "program",
    "public",
    "quiz",
    "read",
    "reading",
    "saturday",
    "screening",
    "season",
    "seminar",
    "series",
    "session",
    "show",
    "social",
    "story",
    "storytime",
    "summit",
    "sunday",
    "symposium",
    "talk",
    "tasting",
    "thursday",
    "time",
    "tour",
    "training",
    "trivia",
    "tuesday",
    "webinar",
    "wednesday",
    "week",
    "weekend",
    "weekly",
    "wine",
    "workshop",
    "world",
    "yoga",
];
const KIND: &[&str] = &[
    "adult",
    "advanced",
    "afternoon",
    "autumn",
    "baby",
    "beginner",
    "beginning",
    "boy",
    "elementary",
    "english",
    "evening",
    "fall",
    "family",
    "french",
    "gentle",
    "girl",
    "intermediate",
    "junior",
    "jv",
    "kid",
    "ladie",
    "men",
    "morning",
    "north",
    "preschool",
    "senior",
    "south",
    "spanish",
    "spring",
    "summer",
    "teen",
    "toddler",
    "tween",
    "varsity",
    "west",
    "winter",
    "women",
    "youth",
];
const NOISE: &[&str] = &[
    "annual",
    "annually",
    "cancel",
    "canceled",
    "cancelled",
    "edition",
    "free",
    "full",
    "hybrid",
    "inperson",
    "live",
    "online",
    "person",
    "postponed",
    "present",
    "presented",
    "presenting",
    "register",
    "registration",
    "required",
    "rescheduled",
    "rsvp",
    "sold",
    "special",
    "ticket",
    "updated",
    "virtual",
];
const COUNTRIES: &[(&str, &str)] = &[
    ("apac", "apac"),
    ("argentina", "ar"),
    ("australia", "au"),
    ("austria", "at"),
    ("belgium", "be"),
    ("brasil", "br"),
    ("brazil", "br"),
    ("bulgaria", "bg"),
    ("canada", "ca"),
    ("chile", "cl"),
    ("china", "cn"),
    ("colombia", "co"),
    ("croatia", "hr"),
    ("czechia", "cz"),
    ("denmark", "dk"),
    ("deutschland", "de"),
    ("england", "uk"),
    ("espana", "es"),
    ("estonia", "ee"),
    ("europe", "eu"),
    ("finland", "fi"),
    ("france", "fr"),
    ("germany", "de"),
    ("ghana", "gh"),
    ("greece", "gr"),
    ("hungary", "hu"),
    ("iceland", "is"),
    ("india", "in"),
    ("indonesia", "id"),
    ("iran", "ir"),
    ("ireland", "ie"),
    ("israel", "il"),
    ("italia", "it"),
    ("italy", "it"),
    ("japan", "jp"),
    ("kenya", "ke"),
    ("korea", "kr"),
    ("latam", "latam"),
    ("latvia", "lv"),
    ("lithuania", "lt"),
    ("malaysia", "my"),
    ("mexico", "mx"),
    ("namibia", "na"),
    ("netherland", "nl"),
    ("netherlands", "nl"),
    ("nigeria", "ng"),
    ("norway", "no"),
    ("pakistan", "pk"),
    ("peru", "pe"),
    ("philippine", "ph"),
    ("philippines", "ph"),
    ("poland", "pl"),
    ("polska", "pl"),
    ("portugal", "pt"),
    ("romania", "ro"),
    ("russia", "ru"),
    ("scotland", "uk"),
    ("serbia", "rs"),
    ("singapore", "sg"),
    ("slovakia", "sk"),
    ("slovenia", "si"),
    ("spain", "es"),
    ("suisse", "ch"),
    ("sverige", "se"),
    ("sweden", "se"),
    ("switzerland", "ch"),
    ("taiwan", "tw"),
    ("tanzania", "tz"),
    ("thailand", "th"),
    ("turkey", "tr"),
    ("turkiye", "tr"),
    ("uganda", "ug"),
    ("ukraine", "ua"),
    ("venezuela", "ve"),
    ("vietnam", "vn"),
    ("zambia", "zm"),
    ("zimbabwe", "zw"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_sorted_and_hold_stems() {
        for table in [STOP, COMMON, KIND, NOISE] {
            assert!(table.is_sorted(), "{table:?}");
            for word in table {
                assert!(alias(stem(word)) == *word || *word == "series", "{word}");
            }
        }
        assert!(COUNTRIES.is_sorted());
    }
}
