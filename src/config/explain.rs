//! Turns serde's messages into what a person who writes a configuration needs to read.
//!
//! serde reports to a deserialiser by message alone. Its wording for unknown and missing fields
//! and for wrong types has been the same since 1.0; what is not recognised here is shown as it is.

/// What a message of serde says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Complaint {
    /// A key that nothing is known of.
    UnknownKey {
        /// The key.
        key: String,
        /// What is known there.
        known: Vec<String>,
    },
    /// A key that cannot be left out.
    MissingKey {
        /// The key.
        key: String,
    },
    /// One of a few words was expected.
    UnknownWord {
        /// The word.
        word: String,
        /// What is known there.
        known: Vec<String>,
    },
    /// A value of another kind was expected.
    WrongKind {
        /// What was expected.
        expected: String,
        /// What was found, its value included.
        found: String,
    },
    /// Anything else.
    Other(String),
}

impl Complaint {
    /// Reads one of serde's messages.
    pub fn read(message: &str) -> Self {
        let message = message.trim();
        let quoted = || message.split('`').skip(1).step_by(2).map(str::to_owned);
        let first = || quoted().next().unwrap_or_default();
        if message.starts_with("unknown field `") {
            return Self::UnknownKey { key: first(), known: quoted().skip(1).collect() };
        }
        if message.starts_with("missing field `") {
            return Self::MissingKey { key: first() };
        }
        if message.starts_with("unknown variant `") {
            return Self::UnknownWord { word: first(), known: quoted().skip(1).collect() };
        }
        let mismatch = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "));
        match mismatch.and_then(|rest| rest.rsplit_once(", expected ")) {
            Some((found, expected)) => Self::WrongKind { expected: plain_kind(expected), found: plain_found(found) },
            None => Self::Other(message.to_owned()),
        }
    }

    /// What is wrong. With `secret`, the value found is not shown.
    pub fn message(&self, secret: bool) -> String {
        match self {
            Self::UnknownKey { .. } => "unknown key".to_owned(),
            Self::MissingKey { .. } => "missing".to_owned(),
            Self::UnknownWord { .. } if secret => "not one of the words known here".to_owned(),
            Self::UnknownWord { word, .. } => format!("{word:?} is not known here"),
            Self::WrongKind { expected, .. } if secret => format!("expected {expected}"),
            Self::WrongKind { expected, found } => format!("expected {expected}, found {found}"),
            Self::Other(_) if secret => "the value cannot be used".to_owned(),
            Self::Other(text) => text.clone(),
        }
    }

    /// What would mend it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownKey { key, known } => Some(suggest(key, known).map_or_else(
                || list("known here: ", known).unwrap_or_else(|| "nothing can be set here".to_owned()),
                |name| format!("did you mean `{name}`?"),
            )),
            Self::UnknownWord { word, known } => {
                suggest(word, known).map(|name| format!("did you mean {name:?}?")).or_else(|| list("one of: ", known))
            }
            Self::MissingKey { key } => Some(format!("add `{key} = …`")),
            Self::WrongKind { .. } | Self::Other(_) => None,
        }
    }
}

/// The candidate most like `name`, if one is like it at all.
pub fn suggest<'c>(name: &str, candidates: &'c [String]) -> Option<&'c str> {
    /// Below this Jaro-Winkler similarity (0 to 1) a suggestion is more often wrong than right.
    const ALIKE: f64 = 0.8;
    candidates
        .iter()
        .map(|candidate| (strsim::jaro_winkler(&name.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(similarity, _)| *similarity >= ALIKE)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, candidate)| candidate.as_str())
}

fn list(prefix: &str, known: &[String]) -> Option<String> {
    const MOST: usize = 20;
    let more = if known.len() > MOST { ", …" } else { "" };
    let shown = known.iter().take(MOST).map(String::as_str).collect::<Vec<_>>().join(", ");
    (!known.is_empty()).then(|| format!("{prefix}{shown}{more}"))
}

/// A Rust type's name in plain words.
fn plain_kind(expected: &str) -> String {
    let plain = match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" | "u64" | "u128" | "usize" => "a whole number, 0 or more",
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a borrowed string" | "string" => "a string",
        "a map" => "a table",
        "a sequence" => "a list",
        other if other.starts_with("struct ") => "a table",
        other => other,
    };
    plain.to_owned()
}

/// serde's description of a value in the words of TOML.
fn plain_found(found: &str) -> String {
    match found {
        "map" => "a table".to_owned(),
        "sequence" => "a list".to_owned(),
        other => other.replace('`', ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested_or_none() {
        let known = ["epoch_interval".to_owned(), "max_bytes_in_flight".to_owned()];
        assert_eq!(suggest("epoch_intervall", &known), Some("epoch_interval"));
        assert_eq!(suggest("EpochInterval", &known), Some("epoch_interval"));
        assert_eq!(suggest("zzz", &known), None);
    }

    #[test]
    fn messages_of_serde_are_understood() {
        assert_eq!(
            Complaint::read("unknown field `a`, expected `b` or `c`"),
            Complaint::UnknownKey { key: "a".into(), known: vec!["b".into(), "c".into()] }
        );
        assert_eq!(
            Complaint::read("invalid type: string \"x, expected y\", expected u64").message(false),
            "expected a whole number, 0 or more, found string \"x, expected y\""
        );
        assert_eq!(
            Complaint::read("invalid type: string \"x\", expected u64").message(true),
            "expected a whole number, 0 or more"
        );
        assert_eq!(Complaint::read("whatever").message(false), "whatever");
    }
}
