//! Which words tell events apart, which say next to nothing, and which are other spellings of one.
//!
//! The tables are fixed, not counted from the listings present: one arrival never gives others new
//! blocks. Those of words are sorted, and hold words as [`stem`](super::token::stem) and [`alias`]
//! leave them.

use std::sync::LazyLock;

use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64;

use super::token::{Class, Token};

/// Spellings of one word, and what it is in the languages of neighbours: one event is often listed in two. Words that
/// mean something else in another of these languages are left out (`marche`, `concerto`, `noel`).
pub(super) fn alias(word: &str) -> &str {
    ALIASES.get(word).copied().unwrap_or(word)
}

static ALIASES: LazyLock<foldhash::HashMap<&str, &str>> =
    LazyLock::new(|| SPELLINGS.iter().flat_map(|(word, others)| others.iter().map(|other| (*other, *word))).collect());

/// Words, and their other spellings.
const SPELLINGS: &[(&str, &[&str])] = &[
    ("conf", &["con", "conference", "konferenz", "conferencia", "conferenza"]),
    ("fest", &["festival"]),
    ("center", &["centre"]),
    ("theater", &["theatre", "teatro"]),
    ("dev", &["developer"]),
    ("js", &["javascript"]),
    ("mt", &["mount"]),
    ("st", &["saint"]),
    ("intl", &["international"]),
    ("univ", &["university"]),
    ("meeting", &["meetup"]),
    ("kid", &["children", "kinder", "enfant", "nino", "bambini"]),
    ("concert", &["konzert", "concierto"]),
    ("exhibition", &["ausstellung", "exposition", "exposicion", "mostra", "tentoonstelling"]),
    ("market", &["markt", "mercado", "mercato"]),
    ("reading", &["lesung"]),
    ("lecture", &["vortrag"]),
    ("tour", &["fuhrung"]),
    ("play", &["spielt", "spielen"]),
    ("orchestra", &["orchester", "orchestre", "orquesta"]),
    ("quartet", &["quartett", "quatuor", "cuarteto", "quartetto"]),
    ("quintet", &["quintett", "quintette", "quinteto", "quintetto"]),
    ("choir", &["chor", "choeur", "coro"]),
    ("opera", &["oper"]),
    ("dance", &["tanz", "danse", "danza"]),
    ("organ", &["orgel"]),
    ("piano", &["klavier"]),
    ("music", &["musik", "musique", "musica"]),
    ("museum", &["musee", "museo"]),
    ("symphony", &["sinfonie", "symphonie", "sinfonia"]),
    ("night", &["nacht", "nuit", "noche", "notte"]),
    ("christma", &["weihnachten", "navidad"]),
    ("summer", &["sommer"]),
    ("spring", &["fruhling"]),
    ("evening", &["abend"]),
];

/// What a stemmed word says in a title.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sense {
    /// `None` for a word that has no meaning at all.
    pub(super) class: Option<Class>,
    /// Its bit among those of [`PART`].
    pub(super) part: u32,
}

pub(super) fn sense(word: &str) -> Sense {
    SENSES.get(word).copied().unwrap_or(Sense { class: Some(Class::Telling), part: 0 })
}

static SENSES: LazyLock<foldhash::HashMap<&str, Sense>> = LazyLock::new(|| {
    let mut senses: foldhash::HashMap<&str, Sense> = foldhash::HashMap::default();
    let parts = (0..).zip(PART).map(|(bit, word)| (*word, Sense { class: Some(Class::Telling), part: 1 << bit }));
    senses.extend(parts);
    let tables = [(NOISE, Some(Class::Noise)), (KIND, Some(Class::Kind)), (COMMON, Some(Class::Common)), (STOP, None)];
    for (table, class) in tables {
        table.iter().for_each(|word| senses.entry(word).or_insert(Sense { class, part: 0 }).class = class);
    }
    senses
});

/// What a word means by itself, as it is written in small letters.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Meaning {
    pub(super) month: bool,
    /// Of a number that is spelt out: `first`.
    pub(super) number: Option<u32>,
    /// Of a Roman number from II to XII, where it is written in capitals.
    pub(super) roman: Option<u32>,
    /// Countries by the names that events carry in their titles, in English and in their own tongue.
    pub(super) country: Option<&'static str>,
    /// Of a country's code that is no English word, where it is written in capitals.
    pub(super) code: Option<&'static str>,
}

/// What a word means by itself.
pub(super) fn meaning(word: &str) -> Meaning {
    MEANINGS.get(word).copied().unwrap_or_default()
}

/// Every word of a title is looked up in all tables; this is all of them in one.
static MEANINGS: LazyLock<foldhash::HashMap<&str, Meaning>> = LazyLock::new(|| {
    const MONTHS: [&str; 23] = [
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
    ];
    const SPELT: [&str; 10] =
        ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"];
    // "V" and "X" are more often letters.
    const ROMAN: [(&str, u32); 9] =
        [("ii", 2), ("iii", 3), ("iv", 4), ("vi", 6), ("vii", 7), ("viii", 8), ("ix", 9), ("xi", 11), ("xii", 12)];
    const CODES: [&str; 38] = [
        "ae", "ar", "au", "br", "ch", "cl", "cn", "cz", "de", "dk", "ee", "es", "fi", "fr", "gb", "gr", "hk", "hu",
        "ie", "il", "jp", "ke", "kr", "mx", "my", "ng", "nl", "nz", "ph", "pl", "pt", "ro", "se", "sg", "th", "tw",
        "ua", "za",
    ];
    const OTHER_CODES: [(&str, &str); 6] =
        [("uk", "uk"), ("gb", "uk"), ("eu", "eu"), ("us", "us"), ("usa", "us"), ("uae", "ae")];
    let mut meanings: foldhash::HashMap<&str, Meaning> = foldhash::HashMap::default();
    let mut of = |word: &'static str, set: &dyn Fn(&mut Meaning)| set(meanings.entry(word).or_default());
    MONTHS.iter().chain(&["sept"]).for_each(|word| of(word, &|meaning| meaning.month = true));
    (1..).zip(SPELT).for_each(|(number, word)| of(word, &|meaning| meaning.number = Some(number)));
    ROMAN.iter().for_each(|(word, number)| of(word, &|meaning| meaning.roman = Some(*number)));
    COUNTRIES.iter().for_each(|(word, code)| of(word, &|meaning| meaning.country = Some(code)));
    CODES.iter().for_each(|code| of(code, &|meaning| meaning.code = Some(code)));
    OTHER_CODES.iter().for_each(|(word, code)| of(word, &|meaning| meaning.code = Some(code)));
    meanings
});

pub(super) fn country_of_two(word: &str, next: Option<&str>) -> Option<&'static str> {
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

/// The token of the country with this ISO code, in capitals.
pub(super) fn country_token_of(code: &str) -> Token {
    let code = code.to_ascii_lowercase();
    country_token(if code == "gb" { "uk" } else { &code })
}

/// The token of a country, whatever it is called.
pub(super) fn country_token(code: &str) -> Token {
    let mut name: SmallVec<[u8; 16]> = SmallVec::from_slice(b"country:");
    name.extend_from_slice(code.as_bytes());
    Token::of_hash(xxh3_64(&name), Class::Telling)
}

/// Words that carry no meaning in some kind of text, and words that carry little.
pub(super) type WordTable = LazyLock<foldhash::HashMap<&'static str, Weight>>;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    None,
    Little,
}

fn word_table(stop: &[&'static str], common: &[&'static str]) -> foldhash::HashMap<&'static str, Weight> {
    let little = common.iter().map(|word| (*word, Weight::Little));
    little.chain(stop.iter().map(|word| (*word, Weight::None))).collect()
}

pub(super) static VENUE_WORDS: WordTable = LazyLock::new(|| {
    let common = [
        "arena",
        "auditorium",
        "ave",
        "avenue",
        "bar",
        "branch",
        "building",
        "cafe",
        "campus",
        "center",
        "church",
        "city",
        "club",
        "college",
        "community",
        "conf",
        "convention",
        "county",
        "court",
        "floor",
        "gallery",
        "hall",
        "hotel",
        "house",
        "library",
        "museum",
        "north",
        "park",
        "plaza",
        "public",
        "regional",
        "road",
        "room",
        "school",
        "south",
        "st",
        "stage",
        "street",
        "studio",
        "suite",
        "theater",
        "univ",
    ];
    word_table(STOP, &common)
});

pub(super) static CITY_WORDS: WordTable = LazyLock::new(|| word_table(&["city", "of", "the"], &[]));

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
    "egg",
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
    "hunt",
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
    "christma",
    "easter",
    "elementary",
    "english",
    "evening",
    "fall",
    "family",
    "father",
    "french",
    "gentle",
    "girl",
    "halloween",
    "hanukkah",
    "intermediate",
    "juneteenth",
    "junior",
    "jv",
    "kid",
    "ladie",
    "men",
    "morning",
    "mother",
    "north",
    "passover",
    "preschool",
    "senior",
    "south",
    "spanish",
    "spring",
    "summer",
    "teen",
    "thanksgiving",
    "toddler",
    "tween",
    "valentine",
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

/// Words for what is only a part of an event, or held for it, if the title of the event goes on
/// without one. At most 32.
const PART: &[&str] = &[
    "afterparty",
    "audition",
    "colocated",
    "devroom",
    "miniconf",
    "preconference",
    "preparty",
    "rehearsal",
    "satellite",
    "track",
    "tryout",
    "tutorial",
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
    use super::super::token::stem;
    use super::*;

    #[test]
    fn the_tables_are_sorted_and_hold_stems() {
        for table in [STOP, COMMON, KIND, NOISE, PART] {
            assert!(table.is_sorted(), "{table:?}");
            for word in table {
                assert!(alias(stem(word)) == *word || *word == "series", "{word}");
            }
        }
        assert!(COUNTRIES.is_sorted());
    }
}
