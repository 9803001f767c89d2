//! What is wrong with a configuration, and where it was written.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use crate::error::{Domain, Fault};

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Place {
    /// In a file.
    #[serde(rename_all = "camelCase")]
    File {
        /// The file, as it was named.
        path: PathBuf,
        /// Line and column, from 1, columns in characters; `None` for the file as a whole.
        position: Option<Position>,
    },
    /// In an environment variable.
    Environment {
        /// Its name.
        name: String,
    },
    /// In a flag.
    Flag {
        /// The flag, without its value: `--set workers`.
        flag: String,
    },
    /// Nowhere: it was left to its default.
    Default,
}

/// Line and column, both from 1; columns are counted in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

impl Position {
    /// The position of byte `offset` in `text`.
    pub fn of(text: &str, offset: usize) -> Self {
        let before = text.get(..offset.min(text.len())).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let column = before.get(line_start..).unwrap_or("").chars().count() + 1;
        Self { line: before.matches('\n').count() + 1, column }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, position: Some(at) } => write!(f, "{}:{}:{}", path.display(), at.line, at.column),
            Self::File { path, position: None } => write!(f, "{}", path.display()),
            Self::Environment { name } => write!(f, "environment {name}"),
            Self::Flag { flag } => f.write_str(flag),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Where it was written.
    pub place: Place,
    /// The key's path, such as `sources.meetup.timezone`; empty when no key is concerned.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What would mend it.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    /// `place: key: message`, and the hint on a line of its own. A flag that names the key stands for both.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        let named = matches!(&self.place, Place::Flag { flag } if flag.strip_prefix("--set ") == Some(&*self.key));
        if !self.key.is_empty() && !named {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// Something that a section finds wrong with its values, taken together or one by one, after
/// they could all be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// The key's path from the root.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What would mend it.
    pub hint: Option<String>,
}

impl Invalid {
    /// `message` about `key`.
    pub fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { key: key.into(), message: message.into(), hint: None }
    }

    /// That `value` is not from `least` to `most`; `None` where it is.
    ///
    /// ```
    /// use headwater::config::Invalid;
    /// assert_eq!(Invalid::outside("seats", 7, 1, 9), None);
    /// assert_eq!(Invalid::outside("seats", 0, 1, 9).unwrap().message, "must be from 1 to 9, and is 0");
    /// assert!(Invalid::outside("share", f64::NAN, 0.0, 1.0).is_some());
    /// ```
    pub fn outside<T: PartialOrd + fmt::Display>(key: impl Into<String>, value: T, least: T, most: T) -> Option<Self> {
        let inside = (&least..=&most).contains(&&value);
        (!inside).then(|| Self::new(key, format!("must be from {least} to {most}, and is {value}")))
    }

    /// Adds what would mend it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Where each value of a configuration was written, by key path.
#[derive(Debug, Clone, Default)]
pub struct Places(pub(super) BTreeMap<String, Place>);

impl Places {
    /// Where the value at `path` (such as `sources.meetup.timezone`) was written, or the nearest
    /// table around it; [`Place::Default`] when none of them was written anywhere.
    pub fn locate(&self, path: &str) -> Place {
        let mut path = path;
        loop {
            if let Some(place) = self.0.get(path) {
                return place.clone();
            }
            match path.rfind(['.', '[']).and_then(|at| path.get(..at)) {
                Some(parent) => path = parent,
                None => return Place::Default,
            }
        }
    }

    /// `invalid` together with where it was written.
    pub fn problem(&self, invalid: Invalid) -> Problem {
        Problem { place: self.locate(&invalid.key), key: invalid.key, message: invalid.message, hint: invalid.hint }
    }
}

/// Everything that is wrong with a configuration; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<Problem>);

impl fmt::Display for ConfigErrors {
    /// A headline, then one problem a line with its hint below.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("the configuration has a problem")?,
            n => write!(f, "the configuration has {n} problems")?,
        }
        self.0.iter().try_for_each(|problem| write!(f, "\n{problem}"))
    }
}

impl std::error::Error for ConfigErrors {}

impl Fault for ConfigErrors {
    fn domain(&self) -> Domain {
        Domain::User
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let text = "a = 1\nbü = 2\n";
        assert_eq!(Position::of(text, 0), Position { line: 1, column: 1 });
        assert_eq!(Position::of(text, 6), Position { line: 2, column: 1 });
        assert_eq!(Position::of(text, 10), Position { line: 2, column: 4 });
        assert_eq!(Position::of(text, 1000), Position { line: 3, column: 1 });
    }
}
