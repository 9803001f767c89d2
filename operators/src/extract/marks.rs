//! Marks in titles that say whether an event takes place: "[CANCELLED] Choir", "Canceled: Choir", "Choir –
//! abgesagt", "SOLD OUT! Choir". The title stays as its source gave it.
//!
//! A mark is one where it stands at an end of the title and apart from it: in brackets or asterisks, before a
//! colon, a dash or an exclamation mark, or in capitals beside a title that is not.

use std::sync::LazyLock;

use regex::Regex;

use crate::listing::Status;
use crate::words::fold;

/// What a title says of the event; `None` for nothing.
pub(super) fn status(title: &str) -> Option<Status> {
    static MARK: LazyLock<Option<Regex>> = LazyLock::new(|| {
        let words: Vec<String> = MARKS.iter().flat_map(|(_, words)| words.iter()).map(|word| pattern(word)).collect();
        Regex::new(&format!(r"(?i)(?:^|[^\p{{L}}\p{{N}}])({})(?:$|[^\p{{L}}\p{{N}}])", words.join("|"))).ok()
    });
    let mark = MARK.as_ref()?;
    let mut at = 0;
    while let Some(found) = mark.captures_at(title, at) {
        let word = found.get(1)?;
        let (before, after) = (title.get(..word.start())?, title.get(word.end()..)?);
        let status = of_word(word.as_str())?;
        if stands_apart(before, word.as_str(), after, status) {
            return Some(status);
        }
        at = word.end();
    }
    None
}

/// The status that a word or a few mean by themselves, as in a field for it.
pub(super) fn of_word(text: &str) -> Option<Status> {
    let text = fold(text);
    MARKS.iter().find(|(_, words)| words.iter().any(|word| *word == text)).map(|(status, _)| *status)
}

/// A folded word as it may be written, with accents and other signs between its parts.
fn pattern(word: &str) -> String {
    let letter = |c: char| match c {
        ' ' => r"[\s\-_]+".to_owned(),
        'a' => "[aäàáâå]".to_owned(),
        'e' => "[eéèêë]".to_owned(),
        'i' => "[iíì]".to_owned(),
        'o' => "[oöóòôø]".to_owned(),
        'u' => "[uüúù]".to_owned(),
        's' => "[sš]".to_owned(),
        'l' => "[lł]".to_owned(),
        'n' => "[nñ]".to_owned(),
        c => c.to_string(),
    };
    word.chars().map(letter).collect()
}

fn stands_apart(before: &str, word: &str, after: &str, status: Status) -> bool {
    let (before, after) = (before.trim_end(), after.trim_start());
    let says_not = ["not", "nicht", "un"].iter().any(|no| before.to_lowercase().ends_with(no));
    if says_not {
        return false;
    }
    let bracketed = before.ends_with(['[', '(', '{', '*', '<', '!', '~', '【', '#', '|'])
        && after.starts_with([']', ')', '}', '*', '>', '!', '~', '】', ':', '-', '–', '|', '#']);
    let alone_before = before.chars().all(|c| !c.is_alphanumeric());
    let alone_after = after.chars().all(|c| !c.is_alphanumeric());
    if bracketed && (alone_before || alone_after || before.ends_with(['[', '(', '*'])) {
        return true;
    }
    let capitals = |text: &str| text.chars().any(char::is_uppercase) && !text.chars().any(char::is_lowercase);
    let loud = capitals(word) && !capitals(if alone_before { after } else { before });
    let separated = if alone_before {
        after.is_empty() || after.starts_with([':', '-', '–', '—', '!', '|', '/', ']', ')', '*'])
    } else {
        before.ends_with([':', '-', '–', '—', '!', '|', '/', ','])
    };
    // "Sold Out: A Comedy" may be a title; with an exclamation mark or at the end it is a word of the seller.
    let quiet_start = alone_before && status == Status::SoldOut && after.starts_with([':', '-', '–', '—']);
    (alone_before || alone_after) && (loud || (separated && !quiet_start))
}

/// Words in the languages of feeds, folded.
const MARKS: &[(Status, &[&str])] = &[
    (
        Status::Cancelled,
        &[
            "cancelled",
            "canceled",
            "cancelado",
            "cancelada",
            "cancellato",
            "cancellata",
            "cxl",
            "cxld",
            "cxl d",
            "cnx",
            "canx",
            "abgesagt",
            "entfallt",
            "fallt aus",
            "ausgefallen",
            "fallt leider aus",
            "annule",
            "annulee",
            "annullato",
            "annullata",
            "annullert",
            "afgelast",
            "geannuleerd",
            "installt",
            "installd",
            "avlyst",
            "aflyst",
            "peruttu",
            "peruutettu",
            "odwolane",
            "odwolany",
            "odwolana",
            "zruseno",
            "zrusene",
            "cancelled event",
            "event cancelled",
            "event canceled",
            "called off",
            "suspendido",
            "suspendida",
        ],
    ),
    (
        Status::Postponed,
        &[
            "postponed",
            "event postponed",
            "ppd",
            "verschoben",
            "wird verschoben",
            "reporte",
            "reportee",
            "aplazado",
            "aplazada",
            "pospuesto",
            "rinviato",
            "rinviata",
            "uitgesteld",
            "udsat",
            "utsatt",
            "uppskjutet",
            "adiado",
            "adiada",
            "przelozone",
            "odlozeno",
        ],
    ),
    (
        Status::Rescheduled,
        &["rescheduled", "new date", "neuer termin", "nouvelle date", "nueva fecha", "verlegt", "nachholtermin"],
    ),
    (Status::MovedOnline, &["moved online", "now online", "now virtual", "moved to zoom", "jetzt online"]),
    (
        Status::SoldOut,
        &[
            "sold out",
            "soldout",
            "ausverkauft",
            "ausgebucht",
            "fully booked",
            "complet",
            "agotado",
            "agotadas",
            "esaurito",
            "uitverkocht",
            "udsolgt",
            "utsolgt",
            "slutsalt",
            "loppuunmyyty",
            "wyprzedane",
            "vyprodano",
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_at_the_ends_of_titles() {
        use Status::{Cancelled, MovedOnline, Postponed, Rescheduled, SoldOut};
        for (title, expected) in [
            ("[CANCELLED] Potters' Choir", Cancelled),
            ("Canceled: Potters' Choir", Cancelled),
            ("Cancelled - Potters' Choir", Cancelled),
            ("CXL Potters' Choir", Cancelled),
            ("Potters' Choir (cancelled)", Cancelled),
            ("Potters' Choir *CANCELED*", Cancelled),
            ("Potters' Choir – abgesagt!", Cancelled),
            ("ABGESAGT: Töpferchor", Cancelled),
            ("FÄLLT AUS: Töpferchor", Cancelled),
            ("Töpferchor ABGESAGT", Cancelled),
            ("Annulé : chœur des potiers", Cancelled),
            ("ODWOŁANE Chór", Cancelled),
            ("***POSTPONED*** Potters' Choir", Postponed),
            ("Verschoben: Töpferchor", Postponed),
            ("[Moved online] Potters' Choir", MovedOnline),
            ("Rescheduled: Potters' Choir", Rescheduled),
            ("Potters' Choir - SOLD OUT", SoldOut),
            ("SOLD OUT! Potters' Choir", SoldOut),
            ("Sold-Out: Potters' Choir", Status::Scheduled),
            ("Töpferchor (ausverkauft)", SoldOut),
            ("cancelled", Cancelled),
        ] {
            assert_eq!(status(title).unwrap_or_default(), expected, "{title}");
        }
    }

    #[test]
    fn words_within_titles_are_no_marks() {
        for title in [
            "The Cancelled Wedding",
            "Cancelled Flights and Other Poems",
            "NOT CANCELLED: Potters' Choir",
            "How we were sold out",
            "Sold Out: A Comedy",
            "SOLD OUT FESTIVAL",
            "Talk on postponed dreams",
            "New Date Night",
            "Un complet veston",
            "Cancel Culture (a debate)",
            "Choir",
            "",
        ] {
            assert_eq!(status(title), None, "{title}");
        }
    }

    #[test]
    fn every_word_is_folded_and_found() {
        for (expected, words) in MARKS {
            for word in *words {
                assert_eq!(&fold(word), word);
                assert_eq!(of_word(word), Some(*expected), "{word}");
                assert_eq!(status(&format!("[{}] Choir", word.to_uppercase())), Some(*expected), "{word}");
            }
        }
    }
}
