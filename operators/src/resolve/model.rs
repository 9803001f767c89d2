//! The model: what each thing that a comparison can find counts, in log-odds.
//!
//! A score is a sum. Each *feature* of a comparison (see [`Feature`]) has a parameter; the points
//! of a field are the sum of its features, each times its parameter, and the points of a pair are
//! the sum over the fields, beginning with what speaks against any two listings being one event.
//! Points are natural logarithms of odds: 0 is as likely as not, 3 is twenty to one.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::field::Field;

macro_rules! features {
    ($($(#[doc = $doc:literal])+ $name:ident, $field:ident, $key:literal;)*) => {
        /// Something that a comparison finds.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(usize)]
        pub enum Feature {
            $($(#[doc = $doc])+ $name,)*
        }

        impl Feature {
            /// All of them.
            pub const ALL: [Self; [$($key),*].len()] = [$(Self::$name),*];

            /// Its name in files of parameters.
            pub fn key(self) -> &'static str {
                match self { $(Self::$name => $key,)* }
            }

            /// What it is, in words.
            pub fn describe(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+).trim(),)* }
            }

            /// The field whose points it belongs to.
            pub fn field(self) -> Field {
                match self { $(Self::$name => Field::$field,)* }
            }
        }
    };
}

features! {
    /// Always 1: how unlikely it is that two listings that meet are one event.
    Base, Base, "base";
    /// The same words, or the same letters.
    TitleSame, Title, "title_same";
    /// Weight of the words in common over that of two telling words, at most 1.5.
    TitleCommon, Title, "title_common";
    /// The share of both titles, by weight of their words, that is in common.
    TitleShare, Title, "title_share";
    /// Each has a telling word that the other lacks.
    TitleOtherAny, Title, "title_other_any";
    /// Weight of the words that each has and the other lacks, the smaller of the two.
    TitleOther, Title, "title_other";
    /// Weight of the further words that only one has.
    TitleMore, Title, "title_more";
    /// No word in common.
    TitleNone, Title, "title_none";
    /// All telling words of the one are in the other.
    TitleHeld, Title, "title_held";
    /// The one is an abbreviation of the other.
    TitleAcronym, Title, "title_acronym";
    /// What agrees are common words only.
    TitlePlain, Title, "title_plain";
    /// One names a part of an event, such as a track or an audition, and the other does not.
    TitlePart, Title, "title_part";
    /// A number (edition, part) in common.
    NumberSame, Title, "number_same";
    /// Both have numbers, none in common.
    NumberOther, Title, "number_other";
    /// One has a number that is no ordinal: a part, a room.
    NumberMore, Title, "number_more";
    /// Starts on the clock at most five minutes apart.
    StartSame, Time, "start_same";
    /// The same time on the clock, but of another zone.
    StartClock, Time, "start_clock";
    /// More than five, at most thirty minutes apart.
    StartNear, Time, "start_near";
    /// Farther apart than that, and not another session.
    StartFar, Time, "start_far";
    /// Both end within five minutes of each other.
    EndSame, Time, "end_same";
    /// Both say when they end, and more than thirty minutes apart.
    EndOther, Time, "end_other";
    /// The same day, and at most one has a time.
    DaySame, Time, "day_same";
    /// The same first and last day, of several.
    DaysSame, Time, "days_same";
    /// The same first day, another last day.
    DaysStart, Time, "days_start";
    /// The same last day, another first day.
    DaysEnd, Time, "days_end";
    /// Days in common, but neither end.
    DaysOverlap, Time, "days_overlap";
    /// Points of venues nearer than `same_place_m`, or the same address.
    PlaceSame, Place, "place_same";
    /// The venues' names are the same to the last word, on top of the one holding the other.
    VenueSame, Place, "venue_same";
    /// The one venue's name holds the other's: a room and its building.
    VenueHeld, Place, "venue_held";
    /// Part of the telling words of the venues in common.
    VenuePart, Place, "venue_part";
    /// Venues of one kind with other names: two libraries.
    VenueBranch, Place, "venue_branch";
    /// Other venues, and the title tells what it is.
    VenueOther, Place, "venue_other";
    /// Other venues, and the title is one that many events have.
    VenueOtherPlain, Place, "venue_other_plain";
    /// Common words are all that the titles share, and nothing says that the place is the same.
    PlainNowhere, Place, "plain_nowhere";
    /// Points of venues farther apart than `other_place_m`.
    PlaceFar, Place, "place_far";
    /// The same city, and nothing more is known.
    CitySame, Place, "city_same";
    /// Cities that differ by name, with no distance known.
    CityOther, Place, "city_other";
    /// Countries that differ.
    CountryOther, Place, "country_other";
    /// Both can be attended online.
    OnlineBoth, Place, "online_both";
    /// The one is online, the other has a place.
    OnlineOne, Place, "online_one";
    /// Nothing is known of the place of one of them.
    PlaceUnknown, Place, "place_unknown";
    /// The same web address.
    UrlSame, Url, "url_same";
    /// The same front page of a site.
    UrlFront, Url, "url_front";
    /// The same web address, with no word of the titles in common or with words that differ.
    UrlSameOther, Url, "url_same_other";
    /// Pages of one site of the event's own.
    UrlSite, Url, "url_site";
    /// Pages of one site of the event's own, with no word of the titles in common.
    UrlSiteOther, Url, "url_site_other";
    /// Sites that differ only in the top-level domain or a year.
    UrlFamily, Url, "url_family";
    /// Two pages of one site, each of its own.
    UrlPages, Url, "url_pages";
    /// Other web addresses.
    UrlOther, Url, "url_other";
    /// Two entries of one source.
    SourceSame, Source, "source_same";
}

/// Which way a feature may count. What can only speak for a match never counts against one, and the
/// other way round, whatever a set of examples says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// Only for the two being one event.
    For,
    /// Only against.
    Against,
    /// As the examples say.
    Either,
}

impl Feature {
    /// Which way it may count.
    pub fn sign(self) -> Sign {
        use Feature as F;
        match self {
            F::TitleSame | F::TitleCommon | F::TitleShare | F::TitleHeld | F::TitleAcronym | F::NumberSame => Sign::For,
            F::StartSame | F::StartClock | F::StartNear | F::EndSame | F::DaySame | F::DaysSame => Sign::For,
            F::PlaceSame | F::VenueSame | F::VenueHeld | F::CitySame | F::UrlSame | F::UrlFront | F::UrlSite => {
                Sign::For
            }
            F::Base | F::TitleOtherAny | F::TitleOther | F::TitleMore | F::TitleNone | F::TitlePlain => Sign::Against,
            F::NumberOther
            | F::NumberMore
            | F::EndOther
            | F::PlainNowhere
            | F::VenueBranch
            | F::VenueOtherPlain
            | F::PlaceFar => Sign::Against,
            F::CityOther | F::CountryOther | F::SourceSame | F::UrlSameOther | F::UrlSiteOther | F::TitlePart => {
                Sign::Against
            }
            _ => Sign::Either,
        }
    }
}

/// How many features there are.
pub const FEATURES: usize = Feature::ALL.len();

/// What a comparison found: features with their values.
pub type Found = smallvec::SmallVec<[(Feature, f32); 16]>;

/// A parameter for each feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ModelFile", into = "ModelFile")]
pub struct Model {
    points: [f64; FEATURES],
}

/// A set of parameters as files have it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelFile {
    version: u32,
    /// For people: where they are from.
    #[serde(default)]
    trained_on: String,
    points: BTreeMap<String, f64>,
}

/// The version of the set of features; parameters of another one are refused.
pub const MODEL_VERSION: u32 = 2;

/// Why a file of parameters cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// It is of another version.
    #[error("parameters of version {0}; this build has version {MODEL_VERSION}")]
    Version(u32),
    /// A parameter is missing, unknown or no number.
    #[error("parameter {0:?} is missing, unknown or not finite")]
    Parameter(String),
}

impl TryFrom<ModelFile> for Model {
    type Error = ModelError;

    fn try_from(mut file: ModelFile) -> Result<Self, ModelError> {
        if file.version != MODEL_VERSION {
            return Err(ModelError::Version(file.version));
        }
        let mut points = [0.0; FEATURES];
        for (slot, feature) in points.iter_mut().zip(Feature::ALL) {
            let value = file.points.remove(feature.key()).filter(|value| value.is_finite());
            *slot = value.ok_or_else(|| ModelError::Parameter(feature.key().to_owned()))?;
        }
        match file.points.pop_first() {
            Some((unknown, _)) => Err(ModelError::Parameter(unknown)),
            None => Ok(Self { points }),
        }
    }
}

impl From<Model> for ModelFile {
    fn from(model: Model) -> Self {
        let points = Feature::ALL.map(|feature| (feature.key().to_owned(), model.of(feature)));
        Self { version: MODEL_VERSION, trained_on: String::new(), points: points.into() }
    }
}

impl Default for Model {
    /// The parameters that come with the crate.
    fn default() -> Self {
        static SHIPPED: LazyLock<Model> = LazyLock::new(|| {
            // A test reads the same text, so that no release can be without parameters.
            toml::from_str(include_str!("model.toml")).unwrap_or(Model { points: [0.0; FEATURES] })
        });
        SHIPPED.clone()
    }
}

impl Model {
    /// The parameters at which training starts, set by hand.
    pub fn prior() -> Self {
        // A test reads the same text.
        toml::from_str(include_str!("prior.toml")).unwrap_or(Self { points: [0.0; FEATURES] })
    }

    /// A model with these parameters, in the order of [`Feature::ALL`].
    pub fn new(points: [f64; FEATURES]) -> Self {
        Self { points }
    }

    /// The text of these parameters; `trained_on` says for people where they are from. `table` is
    /// the table of TOML that they are in, such as `resolve.model.`; empty for none.
    pub fn to_toml(&self, table: &str, trained_on: &str) -> String {
        let head = if table.is_empty() { String::new() } else { format!("[{}]\n", table.trim_end_matches('.')) };
        let mut text = format!("{head}version = {MODEL_VERSION}\ntrained_on = {trained_on:?}\n\n[{table}points]\n");
        for feature in Feature::ALL {
            text.push_str(&format!("{} = {:.3}\n", feature.key(), self.of(feature)));
        }
        text
    }

    /// The model with the points of each field multiplied.
    #[must_use]
    pub fn weighted(mut self, weight: impl Fn(Field) -> f64) -> Self {
        for (points, feature) in self.points.iter_mut().zip(Feature::ALL) {
            *points *= weight(feature.field());
        }
        self
    }

    /// The parameter of a feature.
    pub fn of(&self, feature: Feature) -> f64 {
        self.points.get(feature as usize).copied().unwrap_or(0.0)
    }

    /// What a feature of that value counts.
    pub fn points(&self, feature: Feature, value: f32) -> f64 {
        self.of(feature) * f64::from(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_parameters_are_complete_and_keep_to_their_signs() {
        let shipped: Model = toml::from_str(include_str!("model.toml")).unwrap();
        assert_eq!(shipped, Model::default());
        let prior: Model = toml::from_str(include_str!("prior.toml")).unwrap();
        assert_eq!(prior, Model::prior());
        for feature in Feature::ALL {
            let points = shipped.of(feature);
            let holds = match feature.sign() {
                Sign::For => points >= 0.0,
                Sign::Against => points <= 0.0,
                Sign::Either => true,
            };
            assert!(holds, "{} = {points}", feature.key());
            assert!(!feature.describe().is_empty());
        }
    }

    #[test]
    fn parameters_survive_their_text() {
        let text = Model::default().to_toml("", "a \"test\"");
        assert_eq!(toml::from_str::<Model>(&text).unwrap(), Model::default());
        let other = text.replace("version = 2", "version = 99");
        assert!(toml::from_str::<Model>(&other).unwrap_err().to_string().contains("version 99"));
        let unknown = format!("{text}\nnothing = 1.0\n");
        assert!(toml::from_str::<Model>(&unknown).is_err());
        assert!(toml::from_str::<Model>(&text.replace("title_same", "title_sane")).is_err());
    }
}
