//! Configuration of extraction: sources, formats, limits, mappings.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::listing::Status;

/// What extraction does with which source.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExtractConfig {
    /// Bounds on what one record may cost.
    pub limits: Limits,
    /// What becomes of records of a source that `sources` does not name.
    pub unknown_sources: UnknownSources,
    /// How to read sources that `sources` does not name. Its `format`, `content_type`, `timezone` and
    /// `place` also hold for named sources that leave them out.
    pub defaults: SourceConfig,
    /// The sources, by name.
    pub sources: BTreeMap<String, SourceConfig>,
}

/// What becomes of records of a source that is not configured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownSources {
    /// They are read with `defaults`.
    #[default]
    Accept,
    /// They become dead letters.
    Reject,
}

/// Bounds on what one record may cost. Beyond them there are dead letters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Largest raw record, in bytes.
    pub max_record_bytes: usize,
    /// Deepest nesting of JSON values or iCalendar components, 1..=100.
    pub max_nesting: usize,
    /// Longest text (title, description, names), in bytes of UTF-8. Longer ones are cut.
    pub max_string_bytes: usize,
    /// Longest external id, in bytes. Longer ones are dead letters: cut ids could collide.
    pub max_id_bytes: usize,
    /// Longest web address, in bytes. Longer ones are left out.
    pub max_url_bytes: usize,
    /// Most entries of a list such as tags, images or web addresses. The rest is left out.
    pub max_list_items: usize,
    /// Most events in one record, instances of series and unreadable parts included.
    pub max_listings_per_record: usize,
    /// Most instances of one series within the horizon.
    pub max_instances_per_series: usize,
    /// Most steps that expanding all the series of one record may take. A step is about one
    /// period of a rule (a day of a daily one), whether or not an instance falls on it.
    pub max_recurrence_steps: u64,
    /// How far before the record's timestamp instances of series are given, in days.
    pub horizon_past_days: u32,
    /// How far after the record's timestamp instances of series are given, in days.
    pub horizon_future_days: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_record_bytes: 8 << 20,
            max_nesting: 32,
            max_string_bytes: 64 << 10,
            max_id_bytes: 1024,
            max_url_bytes: 4096,
            max_list_items: 64,
            max_listings_per_record: 20_000,
            max_instances_per_series: 1_000,
            max_recurrence_steps: 1_000_000,
            horizon_past_days: 31,
            horizon_future_days: 400,
        }
    }
}

/// How to read one source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SourceConfig {
    /// The format of its records. Without it the content type decides.
    pub format: Option<Format>,
    /// The content type of records that name none.
    pub content_type: Option<String>,
    /// Zone of times that name none: an IANA name, a Windows name or an offset such as `UTC+2`.
    /// Without it they are in the zone of their place, where that is known, or else taken as UTC.
    pub timezone: Option<String>,
    /// Where its events take place that do not say where. It also gives the zone of times that name none, where
    /// neither `timezone` nor their own place does.
    pub place: Option<SourcePlace>,
    /// How far its word counts where sources disagree, 0..=1. Not used by extraction itself.
    pub trust: f64,
    /// Whether two of its ids are never one event. Not used by extraction itself.
    pub duplicate_free: bool,
    /// Of what a keyed record gave and is still to come, the share that its next version has to give at least. Where
    /// it gives less, nothing is withdrawn until one more version gives as little. 0 for never. Not used by
    /// extraction itself.
    pub hold_back: f64,
    /// Whether it writes 00:00 where it does not know the time. Such a start becomes a day. The same holds,
    /// whatever is configured, for a record nearly all of whose entries begin at 00:00.
    pub midnight_means_unknown: bool,
    /// Overrides `limits.horizon_past_days`.
    pub horizon_past_days: Option<u32>,
    /// Overrides `limits.horizon_future_days`.
    pub horizon_future_days: Option<u32>,
    /// Where the fields are, for the format `mapped`.
    pub mapping: Option<Mapping>,
    /// Words of the source's classification, and what stands in their place. Upper and lower
    /// case are alike.
    pub category_map: BTreeMap<String, String>,
}

impl Default for SourceConfig {
    fn default() -> Self {
        Self {
            format: None,
            content_type: None,
            timezone: None,
            place: None,
            trust: 0.5,
            duplicate_free: false,
            hold_back: 0.5,
            midnight_means_unknown: false,
            horizon_past_days: None,
            horizon_future_days: None,
            mapping: None,
            category_map: BTreeMap::new(),
        }
    }
}

/// The place of a source: of listings that name neither a city nor an address in one.
///
/// ```toml
/// [sources.library.place]
/// city = "Davis"
/// region = "CA"
/// country = "US"
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SourcePlace {
    /// City. It has to be one that the gazetteer knows, unless there are coordinates.
    pub city: Option<String>,
    /// State, province or region.
    pub region: Option<String>,
    /// Country: a name or an ISO 3166 code.
    pub country: Option<String>,
    /// Latitude in degrees, of the city.
    pub latitude: Option<f64>,
    /// Longitude in degrees, of the city.
    pub longitude: Option<f64>,
}

/// A format of raw records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// schema.org `Event` as JSON-LD.
    JsonLd,
    /// iCalendar (RFC 5545).
    ICalendar,
    /// Any JSON, read by a [`Mapping`].
    Mapped,
}

/// Names the fields of a JSON record. Each field is found by a JSON Pointer (RFC 6901), in which
/// a part `*` stands for every element of an array; or by a list of them, of which the first
/// that finds something counts.
///
/// ```toml
/// [sources.city.mapping]
/// records = "/events"
/// id = "/id"
/// title = ["/name", "/headline"]
/// start = "/begin"
/// date_formats = ["%d.%m.%Y %H:%M", "iso8601"]
/// city = { pointer = "/place", capture = '^([^,]+),' }
/// tags = "/labels/*/text"
///
/// [sources.city.mapping.constants]
/// country = "US"
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mapping {
    /// Where the array of events is. Without it the record is one event, or an array of them.
    pub records: Option<String>,
    /// The external id. Without one, a digest of title and start stands in.
    pub id: Field,
    /// The title. Required in the records.
    pub title: Field,
    /// Longer text.
    pub description: Field,
    /// When it begins: a date, or date and time. Required in the records.
    pub start: Field,
    /// The time of day, where `start` is a date only.
    pub start_time: Field,
    /// When it ends; a date alone is the last day.
    pub end: Field,
    /// The time of day of the end, where `end` is a date only.
    pub end_time: Field,
    /// The year of dates that are written without one.
    pub year: Field,
    /// The zone of times that name none.
    pub timezone: Field,
    /// Words of classification.
    pub categories: Field,
    /// Free labels.
    pub tags: Field,
    /// Name of the place.
    pub venue: Field,
    /// Street address.
    pub address: Field,
    /// City.
    pub city: Field,
    /// State or province.
    pub region: Field,
    /// Postal code.
    pub postal_code: Field,
    /// Country.
    pub country: Field,
    /// Latitude in degrees.
    pub latitude: Field,
    /// Longitude in degrees.
    pub longitude: Field,
    /// Whether it can be attended online: a boolean, a number, or a text; any text but `false`,
    /// `no`, `off` and `0` means yes.
    pub online: Field,
    /// Name of the organizer.
    pub organizer: Field,
    /// Web address of the organizer.
    pub organizer_url: Field,
    /// The price, or the lowest price.
    pub price: Field,
    /// The highest price.
    pub price_max: Field,
    /// ISO 4217 code.
    pub currency: Field,
    /// Whether it is free.
    pub free: Field,
    /// How many people it takes.
    pub capacity: Field,
    /// Image addresses.
    pub images: Field,
    /// Web addresses, the listing's own page first: every alternative counts, not only the first.
    pub urls: Field,
    /// Whether it takes place.
    pub status: Field,
    /// Revision number.
    pub sequence: Field,
    /// When the source last changed it.
    pub modified: Field,
    /// How dates are written; the first that fits counts. `iso8601`, `rfc2822`, `epoch-seconds`,
    /// `epoch-millis`, `text-range` (English dates and ranges such as "February 22 - March 1,
    /// 2022", which give the end too), or a strptime pattern such as `%d.%m.%Y %H:%M`.
    pub date_formats: Vec<String>,
    /// Words of the field `status` and what they mean, beside those that are understood anyway
    /// (`cancelled`, `postponed`, `tentative` and the like).
    pub status_map: BTreeMap<String, Status>,
    /// Fields that are the same in every record, by name of the field. They win over the record.
    pub constants: BTreeMap<String, String>,
    /// Fields for records that lack them, by name of the field.
    pub defaults: BTreeMap<String, String>,
}

/// Where a field is: nowhere, in one place, or in the first of several.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a JSON Pointer, a table of `pointer` and `capture`, or a list of these")]
pub enum Field {
    /// In the first of these that is there.
    // NB: before `One`, or a list of two texts would be read as the two fields of a `Capture`.
    FirstOf(Vec<Place>),
    /// In one place.
    One(Place),
    /// Not in the record.
    #[default]
    Nowhere,
}

impl Field {
    /// The places to look at, in order.
    pub fn places(&self) -> &[Place] {
        match self {
            Self::One(place) => std::slice::from_ref(place),
            Self::FirstOf(places) => places,
            Self::Nowhere => &[],
        }
    }
}

/// A place in a JSON record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Place {
    /// What a JSON Pointer finds.
    Pointer(String),
    /// A part of the text that a JSON Pointer finds.
    Capture(Capture),
}

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capture {
    /// JSON Pointer of the text.
    pub pointer: String,
    /// Regular expression. Its first group is the value, or all of it where it has no group;
    /// where it does not match, the field is not there.
    pub capture: String,
}

/// Something in the configuration that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct ConfigProblem {
    /// The key, such as `sources.library.timezone`.
    pub path: String,
    /// What is wrong with its value.
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_are_refused_and_fields_take_three_forms() {
        assert!(serde_json::from_str::<ExtractConfig>(r#"{"sauces": {}}"#).is_err());
        assert!(serde_json::from_str::<Mapping>(r#"{"titel": "/x"}"#).is_err());
        let mapping: Mapping = serde_json::from_str(
            r#"{"title": "/a", "start": ["/b", "/c"], "city": {"pointer": "/d", "capture": "x"}}"#,
        )
        .unwrap();
        assert_eq!(mapping.title.places().len(), 1);
        assert_eq!(mapping.start.places().len(), 2);
        assert!(matches!(mapping.city.places(), [Place::Capture(_)]));
        assert!(mapping.end.places().is_empty());
    }
}
