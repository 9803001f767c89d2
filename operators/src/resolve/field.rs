//! [`Field`]: what of two listings is compared.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Field {
    /// How unlikely a match is before anything is compared.
    Base,
    /// Words and numbers of the titles.
    Title,
    /// Start and end.
    Time,
    /// Coordinates, venues, addresses, cities.
    Place,
    /// The listing's own web address.
    Url,
    /// The sources.
    Source,
    /// A person's word that outweighs all the others.
    Decision,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Base => "base",
            Self::Title => "title",
            Self::Time => "time",
            Self::Place => "place",
            Self::Url => "address",
            Self::Source => "source",
            Self::Decision => "decision",
        })
    }
}
