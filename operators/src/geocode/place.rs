//! What places are known by, and the records of the topics `places` and `place-requests`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use xxhash_rust::xxh3::xxh3_64;

use crate::gazetteer::country_code;
use crate::listing::{Geo, GeoPrecision, GeoProvenance, Point, Venue, VenueView};
use crate::words::{fold, fold_into};

/// What a place is known by: its venue name, address, city and country in plain words, in the
/// form `name|address|city|country` with the country as an ISO 3166 code where it is known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PlaceKey(pub Arc<str>);

impl PlaceKey {
    /// The key of a venue; `None` for one with neither name nor address, and for what is a place
    /// in name only, such as `Zoom`.
    ///
    /// ```
    /// use headwater_operators::geocode::PlaceKey;
    /// use headwater_operators::listing::Venue;
    ///
    /// let venue = Venue { name: Some("Café Zoë".into()), city: Some("Köln".into()), country: Some("Germany".into()), ..Venue::default() };
    /// assert_eq!(&*PlaceKey::of(&venue.view()).unwrap().0, "cafe zoe||koln|DE");
    /// ```
    pub fn of(venue: &VenueView<'_>) -> Option<Self> {
        let mut key = String::with_capacity(64);
        push_part(venue.name, &mut key);
        if is_virtual(&key) {
            key.clear();
        }
        key.push('|');
        push_part(venue.address, &mut key);
        if key.len() == 1 {
            return None;
        }
        key.push('|');
        push_part(venue.city, &mut key);
        key.push('|');
        match venue.country.and_then(country_code) {
            Some(code) => key.push_str(code),
            None => push_part(venue.country, &mut key),
        }
        Some(Self(key.into()))
    }

    pub(super) fn hash_code(&self) -> u64 {
        xxh3_64(self.0.as_bytes())
    }
}

fn push_part(part: Option<&str>, key: &mut String) {
    let Some(text) = part else { return };
    if key.is_empty() { fold_into(text, key) } else { key.push_str(&fold(text)) }
}

/// Whether a folded venue name stands for no place at all.
fn is_virtual(name: &str) -> bool {
    const VIRTUAL: &[&str] = &[
        "google meet",
        "internet",
        "microsoft teams",
        "online",
        "online event",
        "online meeting",
        "tba",
        "tbd",
        "via zoom",
        "virtual",
        "virtual event",
        "virtual meeting",
        "webinar",
        "youtube",
        "zoom",
        "zoom meeting",
        "zoom video conference",
    ];
    VIRTUAL.contains(&name)
}

/// What is known about the location of a place: a record of the `places` topic.
///
/// As JSON `{"key", "found", "latitude", "longitude", "precision", "provider"}`; without
/// `found: true` and coordinates it says that the place cannot be located.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "FlatPlace", into = "FlatPlace")]
pub struct Place {
    /// Which place.
    pub key: PlaceKey,
    /// Where it is; `None` if it was looked for and not found.
    pub point: Option<Point>,
    /// What the point stands for.
    pub precision: GeoPrecision,
    /// Who located it, for people.
    pub provider: Option<SmolStr>,
}

impl Place {
    pub(super) fn geo(&self) -> Option<Geo> {
        self.point.map(|point| Geo { point, precision: self.precision, provenance: GeoProvenance::Places })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FlatPlace {
    key: PlaceKey,
    found: bool,
    latitude: Option<f64>,
    longitude: Option<f64>,
    precision: Option<GeoPrecision>,
    provider: Option<SmolStr>,
}

impl From<Place> for FlatPlace {
    fn from(place: Place) -> Self {
        Self {
            key: place.key,
            found: place.point.is_some(),
            latitude: place.point.map(|point| point.latitude()),
            longitude: place.point.map(|point| point.longitude()),
            precision: place.point.map(|_| place.precision),
            provider: place.provider,
        }
    }
}

impl TryFrom<FlatPlace> for Place {
    type Error = &'static str;

    fn try_from(flat: FlatPlace) -> Result<Self, Self::Error> {
        let point = flat.latitude.zip(flat.longitude).and_then(|(lat, lon)| Point::from_degrees(lat, lon));
        if flat.found && point.is_none() {
            return Err("a place that is found needs a latitude and a longitude that are in range");
        }
        Ok(Self {
            key: flat.key,
            point: point.filter(|_| flat.found),
            precision: flat.precision.filter(|_| flat.found).unwrap_or(GeoPrecision::Venue),
            provider: flat.provider,
        })
    }
}

/// A place that is to be located: a record of the `place-requests` topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlaceRequest {
    /// The key under which the answer is expected.
    pub key: PlaceKey,
    /// Name of the venue, as one of the listings gives it. So the other fields.
    pub venue: Option<SmolStr>,
    /// Street address.
    pub address: Option<SmolStr>,
    /// City.
    pub city: Option<SmolStr>,
    /// State, province or region.
    pub region: Option<SmolStr>,
    /// Country, as given.
    pub country: Option<SmolStr>,
    /// The centre of the city, which stands in until there is an answer.
    pub fallback: Option<Point>,
}

impl PlaceRequest {
    pub(super) fn new(key: &PlaceKey, venue: &VenueView<'_>) -> Self {
        let Venue { name, address, city, region, postal_code: _, country, geo } = Venue::from(venue);
        Self { key: key.clone(), venue: name, address, city, region, country, fallback: geo.map(|geo| geo.point) }
    }
}
