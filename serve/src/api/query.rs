//! Queries: from the text after the question mark to typed values, with everything that is wrong.

use std::borrow::Cow;
use std::collections::BTreeSet;

use headwater::config::suggest;
use headwater::dataflow::{CommitId, Lineage};
use url::form_urlencoded;

use super::parameters::{Kind, Parameter};
use super::problem::{Problem, Wrong};
use crate::filter::Bound;
use crate::geo::Bounds;

/// The longest query in bytes.
pub const LONGEST_QUERY: usize = 8 << 10;

/// The longest value in characters.
const LONGEST_VALUE: usize = 512;

/// The most values of a parameter.
const MOST_VALUES: usize = 64;

/// A query that is being read. Whoever reads it takes its values by name, and then asks whether all was
/// right.
pub struct Query<'q> {
    pairs: Vec<(Cow<'q, str>, Cow<'q, str>)>,
    known: Vec<Parameter>,
    wrong: Vec<Wrong>,
}

impl<'q> Query<'q> {
    /// The query `text`, of which the parameters in `tables` are known.
    ///
    /// # Errors
    /// Where it is too long to be looked at.
    pub fn new(text: &'q str, tables: &[&[Parameter]]) -> Result<Self, Problem> {
        if text.len() > LONGEST_QUERY {
            let detail = format!("The query has {} bytes; {LONGEST_QUERY} are allowed.", text.len());
            return Err(Problem::new(axum::http::StatusCode::URI_TOO_LONG, "query-too-long", detail));
        }
        let known = tables.concat();
        let mut query = Self { pairs: form_urlencoded::parse(text.as_bytes()).collect(), known, wrong: Vec::new() };
        query.check_names();
        Ok(query)
    }

    fn check_names(&mut self) {
        let names: Vec<String> = self.known.iter().map(|parameter| parameter.name.to_owned()).collect();
        let used: BTreeSet<String> = self.pairs.iter().map(|(name, _)| name.clone().into_owned()).collect();
        for name in used {
            let count = self.pairs.iter().filter(|(other, _)| *other == name).count();
            match self.known.iter().find(|parameter| parameter.name == name) {
                None => {
                    let alike = suggest(&name, &names).map(|alike| format!(" Did you mean {alike:?}?"));
                    let detail = format!("There is no such parameter here.{}", alike.unwrap_or_default());
                    self.refuse(&name, "unknown-parameter", detail);
                }
                Some(Parameter { kind: Kind::AnyOf | Kind::SomeOf(_), .. }) => {}
                Some(_) if count > 1 => self.refuse(&name, "repeated-parameter", "It may be given once."),
                Some(_) => {}
            }
        }
        let long: Vec<String> = self
            .pairs
            .iter()
            .filter(|(_, value)| value.chars().count() > LONGEST_VALUE)
            .map(|(name, _)| name.clone().into_owned())
            .collect();
        for name in long {
            self.refuse(&name, "too-long", format!("A value may have {LONGEST_VALUE} characters."));
        }
    }

    /// Notes that a parameter is wrong.
    pub fn refuse(&mut self, parameter: &str, code: &'static str, detail: impl Into<String>) {
        debug_assert!(super::problem::PARAMETER_CODES.contains(&code), "{code}");
        self.wrong.push(Wrong { parameter: parameter.to_owned(), code, detail: detail.into() });
    }

    /// Everything that is wrong, if anything is.
    ///
    /// # Errors
    /// The wrong parameters.
    pub fn finish(self) -> Result<(), Problem> {
        if self.wrong.is_empty() { Ok(()) } else { Err(Problem::parameters(self.wrong)) }
    }

    /// Whether a parameter was given.
    pub fn has(&self, name: &str) -> bool {
        self.pairs.iter().any(|(other, _)| other == name)
    }

    /// The pairs but those of these names, encoded again.
    pub fn without(&self, names: &[&str]) -> String {
        let mut encoded = form_urlencoded::Serializer::new(String::new());
        encoded.extend_pairs(self.pairs.iter().filter(|(name, _)| !names.contains(&&**name)));
        encoded.finish()
    }

    /// The first value of a parameter; an empty one is refused.
    pub fn text(&mut self, name: &str) -> Option<String> {
        debug_assert!(self.known.iter().any(|parameter| parameter.name == name), "{name} is in no table");
        let value = self.pairs.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone().into_owned())?;
        if value.trim().is_empty() {
            self.refuse(name, "empty-value", "It has no value.");
            return None;
        }
        Some(value)
    }

    fn kind(&self, name: &str) -> Kind {
        self.known.iter().find(|parameter| parameter.name == name).map_or(Kind::Text, |parameter| parameter.kind)
    }

    /// All values of a parameter, each once.
    pub fn values(&mut self, name: &str) -> Vec<String> {
        debug_assert!(self.known.iter().any(|parameter| parameter.name == name), "{name} is in no table");
        let given = self.pairs.iter().filter(|(other, _)| other == name);
        let values: BTreeSet<String> = given.flat_map(|(_, value)| split(value)).collect();
        if values.contains("") {
            self.refuse(name, "empty-value", "One of its values is empty.");
        }
        if values.len() > MOST_VALUES {
            self.refuse(name, "too-many-values", format!("It may have {MOST_VALUES} values."));
        }
        let values: Vec<String> = values.into_iter().filter(|value| !value.is_empty()).collect();
        if let Kind::SomeOf(known) = self.kind(name) {
            for value in values.iter().filter(|value| !known.iter().any(|known| known.eq_ignore_ascii_case(value))) {
                self.refuse(name, "unknown-value", format!("{value:?} is none of {}.", known.join(", ")));
            }
            let canonical = |value: String| {
                known.iter().find(|known| known.eq_ignore_ascii_case(&value)).map(|known| (*known).to_owned())
            };
            return values.into_iter().filter_map(canonical).collect();
        }
        values
    }

    /// One of the words that a parameter takes.
    pub fn word(&mut self, name: &str) -> Option<String> {
        let value = self.text(name)?;
        let Kind::OneOf(known) = self.kind(name) else { return Some(value) };
        if known.contains(&value.as_str()) {
            return Some(value);
        }
        self.refuse(name, "unknown-value", format!("{value:?} is none of {}.", known.join(", ")));
        None
    }

    /// A number in the range of a parameter.
    pub fn number(&mut self, name: &str) -> Option<f64> {
        let value = self.text(name)?;
        let Some(number) = value.trim().parse::<f64>().ok().filter(|number| number.is_finite()) else {
            self.refuse(name, "not-a-number", format!("{value:?} is no number."));
            return None;
        };
        if let Kind::Number { least, most } = self.kind(name)
            && !(least..=most).contains(&number)
        {
            self.refuse(name, "out-of-range", format!("{value} is not between {least} and {most}."));
            return None;
        }
        Some(number)
    }

    /// A whole number in the range of a parameter.
    pub fn integer(&mut self, name: &str) -> Option<usize> {
        let value = self.text(name)?;
        let Ok(number) = value.trim().parse::<u64>() else {
            self.refuse(name, "not-a-number", format!("{value:?} is no whole number."));
            return None;
        };
        if let Kind::Integer { least, most } = self.kind(name)
            && !(least..=most).contains(&number)
        {
            self.refuse(name, "out-of-range", format!("{value} is not between {least} and {most}."));
            return None;
        }
        usize::try_from(number).ok()
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, name: &str) -> Option<bool> {
        let value = self.text(name)?;
        match value.as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => {
                self.refuse(name, "not-a-boolean", format!("{value:?} is neither true nor false."));
                None
            }
        }
    }

    /// A day or an instant.
    pub fn time(&mut self, name: &str) -> Option<Bound> {
        let value = self.text(name)?;
        let bound = bound(&value);
        if bound.is_none() {
            let detail =
                format!("{value:?} is neither a day such as 2026-12-01 nor an instant such as 2026-12-01T20:00:00Z.");
            self.refuse(name, "not-a-time", detail);
        }
        bound
    }

    /// A position of `lineage`.
    pub fn position(&mut self, name: &str, lineage: Lineage) -> Option<CommitId> {
        let value = self.text(name)?;
        match value.parse::<CommitId>() {
            Ok(position) if position.lineage == lineage => Some(position),
            Ok(_) => {
                self.refuse(name, "other-lineage", format!("{value:?} is a position of another log."));
                None
            }
            Err(error) => {
                self.refuse(name, "not-a-position", format!("{value:?}: {error}."));
                None
            }
        }
    }

    /// A rectangle.
    pub fn bounds(&mut self, name: &str) -> Option<Bounds> {
        let value = self.text(name)?;
        let numbers: Option<Vec<f64>> = value.split(',').map(|number| number.trim().parse().ok()).collect();
        let bounds = match numbers.as_deref() {
            Some([west, south, east, north]) => Bounds::from_degrees(*west, *south, *east, *north),
            _ => None,
        };
        if bounds.is_none() {
            let detail = "It has to be west, south, east, north in degrees, south at most north.";
            self.refuse(name, "not-a-rectangle", detail);
        }
        bounds
    }
}

/// A day or an instant.
pub fn bound(text: &str) -> Option<Bound> {
    match text.parse::<headwater_operators::Moment>().ok()? {
        day @ headwater_operators::Moment::Day(_) => Some(Bound::Day(day.local_day_number())),
        headwater_operators::Moment::Instant { ms, .. } => Some(Bound::Instant(ms)),
    }
}

/// The values in a text: parted by commas, where `\,` is a comma within one.
fn split(text: &str) -> Vec<String> {
    let mut values = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if chars.peek() == Some(&',') => {
                chars.next();
                push(&mut values, ',');
            }
            ',' => values.push(String::new()),
            c => push(&mut values, c),
        }
    }
    values.into_iter().map(|value| value.trim().to_owned()).collect()
}

fn push(values: &mut [String], c: char) {
    if let Some(last) = values.last_mut() {
        last.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_parted_by_commas() {
        assert_eq!(split("a, b"), ["a", "b"]);
        assert_eq!(split(r"Washington\, D.C.,Napa"), ["Washington, D.C.", "Napa"]);
        assert_eq!(split(""), [""]);
        assert_eq!(split(r"a\b"), [r"a\b"]);
    }
}
