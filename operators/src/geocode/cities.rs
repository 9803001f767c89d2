//! The centre of the city of a venue, by the embedded gazetteer.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::gazetteer::Gazetteer;
use crate::listing::{Geo, GeoPrecision, GeoProvenance, VenueView};

/// How listings without coordinates are located.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GeocodeConfig {
    /// Whether to fall back on the centre of the city. Default true.
    pub gazetteer: bool,
    /// The country, by name or ISO 3166 code, of listings that name none. Default none.
    pub default_country: Option<String>,
}

impl Default for GeocodeConfig {
    fn default() -> Self {
        Self { gazetteer: true, default_country: None }
    }
}

/// Where a venue is as far as the gazetteer knows: the centre of its city. For use outside a
/// dataflow, where no places are at hand.
pub fn locate(venue: &VenueView<'_>, config: &GeocodeConfig) -> Option<Geo> {
    venue.geo.or_else(|| Cities::new(config.clone()).locate(venue))
}

/// The gazetteer, with a memory of what was asked lately: the same cities come up all the time.
pub(super) struct Cities {
    config: GeocodeConfig,
    remembered: HashMap<String, Option<Geo>>,
}

impl Cities {
    /// Answers kept; each takes about 100 bytes.
    const MAX_REMEMBERED: usize = 50_000;

    pub(super) fn new(config: GeocodeConfig) -> Self {
        Self { config, remembered: HashMap::new() }
    }

    /// The centre of the city of a venue: of the one that it names, or else of the one in its address or name.
    pub(super) fn locate(&mut self, venue: &VenueView<'_>) -> Option<Geo> {
        if !self.config.gazetteer {
            return None;
        }
        let named = venue.city.map(|city| Question::City(city, venue.region, venue.country));
        let texts = [venue.address, venue.name].into_iter().flatten().map(|text| Question::Text(text, venue.country));
        named.into_iter().chain(texts).find_map(|question| self.answer(question))
    }

    fn answer(&mut self, question: Question<'_>) -> Option<Geo> {
        let asked = question.key();
        if let Some(answer) = self.remembered.get(&asked) {
            return *answer;
        }
        let answer = self.look_up(question);
        if self.remembered.len() >= Self::MAX_REMEMBERED {
            self.remembered.clear();
        }
        self.remembered.insert(asked, answer);
        answer
    }

    fn look_up(&self, question: Question<'_>) -> Option<Geo> {
        let gazetteer = Gazetteer::embedded();
        let default = self.config.default_country.as_deref();
        let town = match question {
            Question::City(city, region, country) => gazetteer.town(city, region, country.or(default)),
            Question::Text(text, country) => gazetteer.address(text, country.or(default)).map(|parsed| parsed.town),
        };
        town.map(|town| Geo { point: town.point, precision: GeoPrecision::City, provenance: GeoProvenance::Gazetteer })
    }
}

/// What the gazetteer is asked.
#[derive(Clone, Copy)]
enum Question<'a> {
    /// A city, with region and country.
    City(&'a str, Option<&'a str>, Option<&'a str>),
    /// An address or the name of a venue, with the country.
    Text(&'a str, Option<&'a str>),
}

impl Question<'_> {
    fn key(self) -> String {
        let or_empty = Option::unwrap_or_default;
        match self {
            Self::City(city, region, country) => ["c", city, or_empty(region), or_empty(country)].join("\u{1f}"),
            Self::Text(text, country) => ["t", text, or_empty(country)].join("\u{1f}"),
        }
    }
}
