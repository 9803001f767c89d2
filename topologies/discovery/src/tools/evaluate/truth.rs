//! The truth: what is known to be one event, and what is known not to be.

use std::collections::HashMap;
use std::path::Path;

use headwater::tools::ToolError;
use headwater_operators::ListingId;
use serde::{Deserialize, Serialize};

use super::error::EvaluateError;

/// What a labelled pair is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Label {
    /// One event.
    Positive,
    /// Two events.
    Negative,
    /// One event, but the sources disagree on its date: counted apart.
    DateConflict,
    /// Nobody can tell: left out.
    Ambiguous,
}

/// The name of a listing in the truth: its source and its id there.
pub type Name = (String, String);

/// A labelled pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// Source of the one listing.
    pub source_a: String,
    /// Id of the one listing.
    pub id_a: String,
    /// Source of the other listing.
    pub source_b: String,
    /// Id of the other listing.
    pub id_b: String,
    /// What the two are.
    pub label: Label,
    /// How that came to be known.
    #[serde(default)]
    pub how: String,
    /// Which of several collections of pairs it belongs to.
    #[serde(default)]
    pub group: String,
    /// A remark of the person who labelled it.
    #[serde(default)]
    pub note: String,
}

impl Pair {
    /// The two names.
    pub fn names(&self) -> (Name, Name) {
        ((self.source_a.clone(), self.id_a.clone()), (self.source_b.clone(), self.id_b.clone()))
    }
}

/// A listing and the event that it describes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Source of the listing.
    pub source: String,
    /// Its id there.
    pub external_id: String,
    /// The event; what has the same is one event.
    pub event: String,
}

impl Member {
    /// The listing's name.
    pub fn name(&self) -> Name {
        (self.source.clone(), self.external_id.clone())
    }
}

/// What a file tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Truth {
    /// Labelled pairs. Of other pairs nothing is known.
    Pairs(Vec<Pair>),
    /// Every listing with its event, so that of every two it is known what they are.
    Events(Vec<Member>),
}

/// Reads a CSV file: labelled pairs, with the columns `source_a`, `id_a`, `source_b`, `id_b`, `label`
/// and, if wanted, `how`, `group` and `note`; or listings with their events, with the columns
/// `source`, `external_id` and `event`, as `headwater generate` writes them.
///
/// # Errors
/// When the file cannot be read, or a line is neither.
pub fn read_truth(path: &Path) -> Result<Truth, EvaluateError> {
    let bytes = std::fs::read(path).map_err(|source| ToolError::Reading { path: path.to_owned(), source })?;
    let mut reader = csv::Reader::from_reader(bytes.as_slice());
    let has = |columns: &csv::StringRecord, name| columns.iter().any(|column| column == name);
    let of_events = reader.headers().is_ok_and(|columns| has(columns, "event") && !has(columns, "label"));
    if of_events { rows(reader, path).map(Truth::Events) } else { rows(reader, path).map(Truth::Pairs) }
}

/// Reads labelled pairs alone, see [`read_truth`].
///
/// # Errors
/// As [`read_truth`], and when the file has listings with their events.
pub fn read_pairs(path: &Path) -> Result<Vec<Pair>, EvaluateError> {
    match read_truth(path)? {
        Truth::Pairs(pairs) => Ok(pairs),
        Truth::Events(_) => Err(EvaluateError::Truth {
            place: path.display().to_string(),
            reason: "it has listings with their events; labelled pairs are needed here, negative ones among them"
                .to_owned(),
        }),
    }
}

fn rows<T: serde::de::DeserializeOwned>(mut reader: csv::Reader<&[u8]>, path: &Path) -> Result<Vec<T>, EvaluateError> {
    let wrong = |row: usize, error: &csv::Error| EvaluateError::Truth {
        place: format!("{}, row {}", path.display(), row + 1),
        reason: error.to_string(),
    };
    reader.deserialize().enumerate().map(|(row, found)| found.map_err(|error| wrong(row, &error))).collect()
}

/// Finds listings by the names that a truth calls them.
///
/// A listing answers to its source and external id, and to its external id without the instant,
/// if it is one of a series (`UID/20260328T193000` to `UID`). Where a truth names many feeds as
/// one source, it may call a listing `feed#id`: then the listing's source is `feed` or, if several
/// such sources have a `feed`, `source.feed`.
#[derive(Debug, Default)]
pub struct Names {
    listings: HashMap<Name, Vec<ListingId>>,
}

impl Names {
    /// Makes a listing known.
    pub fn add(&mut self, source: &str, external_id: &str, listing: ListingId) {
        let series = external_id.rsplit_once('/').filter(|(_, instant)| is_instant(instant));
        for id in std::iter::once(external_id).chain(series.map(|(id, _)| id)) {
            self.listings.entry((source.to_owned(), id.to_owned())).or_default().push(listing);
        }
    }

    /// The listings of that name: several for a series, none where it is unknown.
    pub fn find(&self, (source, id): &Name) -> &[ListingId] {
        let known = |source: &str, id: &str| self.listings.get(&(source.to_owned(), id.to_owned()));
        let of_feed = || {
            let (feed, id) = id.split_once('#')?;
            known(&format!("{source}.{feed}"), id).or_else(|| known(feed, id))
        };
        known(source, id).or_else(of_feed).map_or(&[], Vec::as_slice)
    }
}

/// `20260328`, `20260328T193000` or `20260328T193000Z`.
fn is_instant(text: &str) -> bool {
    let (day, time) = text.split_once('T').map_or((text, None), |(day, time)| (day, Some(time)));
    let digits = |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    digits(day, 8) && time.is_none_or(|time| digits(time.strip_suffix('Z').unwrap_or(time), 6))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(source: &str, id: &str) -> Name {
        (source.to_owned(), id.to_owned())
    }

    #[test]
    fn listings_answer_to_the_names_of_the_truth() {
        let mut names = Names::default();
        let id = |number| ListingId(number);
        names.add("confs", "ai/one.yml#0", id(1));
        names.add("library", "77@x/20260328T193000", id(2));
        names.add("library", "77@x/20260404T193000Z", id(3));
        names.add("town.paper", "a/b", id(4));
        assert_eq!(names.find(&name("confs", "ai/one.yml#0")), [id(1)]);
        assert_eq!(names.find(&name("any_town", "library#77@x")), [id(2), id(3)]);
        assert_eq!(names.find(&name("any_town", "library#77@x/20260404T193000Z")), [id(3)]);
        assert_eq!(names.find(&name("town", "paper#a/b")), [id(4)]);
        assert_eq!(names.find(&name("town", "paper#a")), []);
        assert_eq!(names.find(&name("confs", "two")), []);
    }
}
