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

    /// The centre of the city of a venue.
    pub(super) fn locate(&mut self, venue: &VenueView<'_>) -> Option<Geo> {
        if !self.config.gazetteer {
            return None;
        }
        let question = question(venue)?;
        if let Some(answer) = self.remembered.get(&question) {
            return *answer;
        }
        let answer = self.look_up(venue);
        if self.remembered.len() >= Self::MAX_REMEMBERED {
            self.remembered.clear();
        }
        self.remembered.insert(question, answer);
        answer
    }

    pub(super) fn look_up(&self, venue: &VenueView<'_>) -> Option<Geo> {
        let gazetteer = Gazetteer::embedded();
        let country = venue.country.or(self.config.default_country.as_deref());
        let point = match venue.city {
            Some(city) => gazetteer.city(city, venue.region, country),
            None => [venue.address, venue.name].into_iter().flatten().find_map(|text| gazetteer.address(text)),
        };
        point.map(|point| Geo { point, precision: GeoPrecision::City, provenance: GeoProvenance::Gazetteer })
    }
}

/// Everything on which the city of a venue depends; `None` where nothing can be found.
fn question(venue: &VenueView<'_>) -> Option<String> {
    let parts = match venue.city {
        Some(_) => [venue.city, venue.region, venue.country],
        None => [None, venue.address, venue.name],
    };
    let texts = parts.map(Option::unwrap_or_default);
    texts.iter().any(|text| !text.is_empty()).then(|| texts.join("\u{1f}"))
}
