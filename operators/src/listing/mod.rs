//! [`Listing`]: one source's current description of one event.

mod packed;
#[cfg(test)]
pub(crate) mod test_support;

use serde::{Deserialize, Serialize, Serializer};
use smallvec::SmallVec;
use smol_str::SmolStr;

use crate::ids::ListingId;
use crate::moment::{Moment, rfc3339_ms};
use crate::shared::Shared;

pub use self::packed::{ListingView, OrganizerView, PackedListing, PricingView};
pub use crate::packed::{TextIter, TextList};

/// A list of texts, of which most listings have one.
pub type Texts = SmallVec<[SmolStr; 1]>;

/// One source's description of one event. Its identity is (`source`, `external_id`).
///
/// Text is as the source gave it until `sanitize` has run, and safe plain text
/// after that. Fields the source did not give are `None` or empty, never invented.
///
/// Most texts in it are short: those of up to 23 bytes take no memory of their own, which makes it
/// cheap to fill in. What is live is kept as a [`PackedListing`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listing {
    /// Which feed it came from.
    pub source: SmolStr,
    /// The source's own id for it.
    pub external_id: SmolStr,
    /// What the event is called.
    pub title: SmolStr,
    /// Longer text.
    pub description: Option<SmolStr>,
    /// The words by which the source classifies it, as given.
    pub source_categories: Texts,
    /// Category in the configured taxonomy; `None` until `categorize` has run
    /// or where nothing fits.
    pub category: Option<SmolStr>,
    /// Confidence of `category`, 0..=1 in steps of 1/10 000.
    pub category_confidence: Ratio,
    /// Free labels, as the source gave them.
    pub tags: Vec<SmolStr>,
    /// Labels of the taxonomy; empty until `categorize` has run.
    pub labels: Vec<SmolStr>,
    /// When it begins.
    pub start: Moment,
    /// When it ends: exclusive for instants, the last day for days.
    pub end: Option<Moment>,
    /// IANA name of the zone of `start` and `end`, where known.
    pub timezone: Option<SmolStr>,
    /// Where it is.
    pub venue: Venue,
    /// Whether it can be attended online.
    pub online: bool,
    /// Who is behind it.
    pub organizer: Option<Organizer>,
    /// What it costs.
    pub pricing: Option<Pricing>,
    /// How many people it takes. As the source says, so it may be nonsense (see the gates).
    pub capacity: Option<i64>,
    /// Image addresses.
    pub images: Texts,
    /// Web addresses; the first one is the listing's own page.
    pub urls: Texts,
    /// Whether it takes place.
    pub status: Status,
}

impl Listing {
    /// A listing with nothing but its identity, title and start.
    pub fn new(source: &str, external_id: &str, title: &str, start: Moment) -> Self {
        Self {
            source: source.into(),
            external_id: external_id.into(),
            title: title.into(),
            description: None,
            source_categories: Texts::new(),
            category: None,
            category_confidence: Ratio::ZERO,
            tags: Vec::new(),
            labels: Vec::new(),
            start,
            end: None,
            timezone: None,
            venue: Venue::default(),
            online: false,
            organizer: None,
            pricing: None,
            capacity: None,
            images: Texts::new(),
            urls: Texts::new(),
            status: Status::Scheduled,
        }
    }

    /// The compact stand-in of its identity.
    pub fn id(&self) -> ListingId {
        ListingId::of(&self.source, &self.external_id)
    }
}

/// Where an event is. In text formats the coordinates stand beside the other fields, as
/// `latitude`, `longitude`, `geoPrecision` and `geoProvenance`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(from = "FlatVenue<SmolStr>")]
pub struct Venue {
    /// Name of the place.
    pub name: Option<SmolStr>,
    /// Street address.
    pub address: Option<SmolStr>,
    /// City.
    pub city: Option<SmolStr>,
    /// State, province or region.
    pub region: Option<SmolStr>,
    /// Postal code.
    pub postal_code: Option<SmolStr>,
    /// Country: a name or an ISO 3166 code, as given.
    pub country: Option<SmolStr>,
    /// Coordinates with their precision and provenance.
    pub geo: Option<Geo>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FlatVenue<S> {
    name: Option<S>,
    address: Option<S>,
    city: Option<S>,
    region: Option<S>,
    postal_code: Option<S>,
    country: Option<S>,
    latitude: Option<f64>,
    longitude: Option<f64>,
    geo_precision: Option<GeoPrecision>,
    geo_provenance: Option<GeoProvenance>,
}

/// A [`Venue`] to read, without texts of its own. It is written as the venue would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "see the fields of Venue")]
pub struct VenueView<'a> {
    pub name: Option<&'a str>,
    pub address: Option<&'a str>,
    pub city: Option<&'a str>,
    pub region: Option<&'a str>,
    pub postal_code: Option<&'a str>,
    pub country: Option<&'a str>,
    pub geo: Option<Geo>,
}

impl Venue {
    /// The venue, to read.
    pub fn view(&self) -> VenueView<'_> {
        VenueView {
            name: self.name.as_deref(),
            address: self.address.as_deref(),
            city: self.city.as_deref(),
            region: self.region.as_deref(),
            postal_code: self.postal_code.as_deref(),
            country: self.country.as_deref(),
            geo: self.geo,
        }
    }
}

impl From<&VenueView<'_>> for Venue {
    fn from(view: &VenueView<'_>) -> Self {
        Self {
            name: view.name.map(SmolStr::from),
            address: view.address.map(SmolStr::from),
            city: view.city.map(SmolStr::from),
            region: view.region.map(SmolStr::from),
            postal_code: view.postal_code.map(SmolStr::from),
            country: view.country.map(SmolStr::from),
            geo: view.geo,
        }
    }
}

impl Serialize for Venue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.view().serialize(serializer)
    }
}

impl Serialize for VenueView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let flat = FlatVenue {
            name: self.name,
            address: self.address,
            city: self.city,
            region: self.region,
            postal_code: self.postal_code,
            country: self.country,
            latitude: self.geo.map(|geo| geo.point.latitude()),
            longitude: self.geo.map(|geo| geo.point.longitude()),
            geo_precision: self.geo.map(|geo| geo.precision),
            geo_provenance: self.geo.map(|geo| geo.provenance),
        };
        flat.serialize(serializer)
    }
}

impl From<FlatVenue<SmolStr>> for Venue {
    fn from(flat: FlatVenue<SmolStr>) -> Self {
        let point = flat.latitude.zip(flat.longitude).and_then(|(lat, lon)| Point::from_degrees(lat, lon));
        let geo = point.map(|point| Geo {
            point,
            precision: flat.geo_precision.unwrap_or(GeoPrecision::Venue),
            provenance: flat.geo_provenance.unwrap_or(GeoProvenance::Source),
        });
        Self {
            name: flat.name,
            address: flat.address,
            city: flat.city,
            region: flat.region,
            postal_code: flat.postal_code,
            country: flat.country,
            geo,
        }
    }
}

/// Coordinates, and how far to trust them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Geo {
    /// Where.
    pub point: Point,
    /// What the point stands for.
    pub precision: GeoPrecision,
    /// Who said so.
    pub provenance: GeoProvenance,
}

/// A point on the globe (WGS 84), in steps of 1e-7 degrees (about a centimetre).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "LatLon", into = "LatLon")]
pub struct Point {
    /// Latitude times 1e7, -900 000 000..=900 000 000.
    pub lat_e7: i32,
    /// Longitude times 1e7, -1 800 000 000..=1 800 000 000.
    pub lon_e7: i32,
}

#[derive(Serialize, Deserialize)]
struct LatLon {
    latitude: f64,
    longitude: f64,
}

impl Point {
    /// A point from degrees; `None` unless both are finite and in range. (0, 0) is refused too:
    /// in listings it means "unknown".
    pub fn from_degrees(latitude: f64, longitude: f64) -> Option<Self> {
        let valid = (-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude);
        if !valid || (latitude == 0.0 && longitude == 0.0) {
            return None;
        }
        Some(Self { lat_e7: (latitude * 1e7).round() as i32, lon_e7: (longitude * 1e7).round() as i32 })
    }

    /// Latitude in degrees.
    pub fn latitude(&self) -> f64 {
        f64::from(self.lat_e7) / 1e7
    }

    /// Longitude in degrees.
    pub fn longitude(&self) -> f64 {
        f64::from(self.lon_e7) / 1e7
    }

    /// Great-circle distance in metres (haversine on a sphere of 6 371 008.8 m, the mean Earth
    /// radius of IUGG).
    pub fn distance_m(&self, other: &Self) -> f64 {
        let (lat1, lat2) = (self.latitude().to_radians(), other.latitude().to_radians());
        let half_dlat = (lat2 - lat1) / 2.0;
        let half_dlon = (other.longitude() - self.longitude()).to_radians() / 2.0;
        let h = half_dlat.sin().powi(2) + lat1.cos() * lat2.cos() * half_dlon.sin().powi(2);
        2.0 * 6_371_008.8 * h.sqrt().min(1.0).asin()
    }
}

impl TryFrom<LatLon> for Point {
    type Error = &'static str;
    fn try_from(at: LatLon) -> Result<Self, Self::Error> {
        Self::from_degrees(at.latitude, at.longitude).ok_or("latitude or longitude out of range")
    }
}

impl From<Point> for LatLon {
    fn from(point: Point) -> Self {
        Self { latitude: point.latitude(), longitude: point.longitude() }
    }
}

/// What coordinates stand for, from coarse to fine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GeoPrecision {
    /// The centre of a city: says nothing about the venue.
    City,
    /// A street or postal code.
    Street,
    /// The venue itself.
    Venue,
}

/// Where coordinates come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GeoProvenance {
    /// The listing itself.
    Source,
    /// The `places` topic.
    Places,
    /// The embedded gazetteer of cities.
    Gazetteer,
}

/// Who is behind an event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Organizer {
    /// Name.
    pub name: SmolStr,
    /// Web address.
    pub url: Option<SmolStr>,
}

/// What an event costs.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pricing {
    /// Lowest price.
    pub min: Option<Amount>,
    /// Highest price.
    pub max: Option<Amount>,
    /// ISO 4217 code.
    pub currency: Option<SmolStr>,
    /// Whether it is free, where the source says so.
    pub free: Option<bool>,
}

/// An amount of money in thousandths of its currency's unit; a decimal number in text formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(from = "f64", into = "f64")]
pub struct Amount(pub i64);

impl From<f64> for Amount {
    /// Saturates; not-a-number becomes 0.
    fn from(units: f64) -> Self {
        Self((units * 1000.0).round() as i64)
    }
}

impl From<Amount> for f64 {
    fn from(amount: Amount) -> Self {
        amount.0 as f64 / 1000.0
    }
}

/// A number in 0..=1 in steps of 1/10 000: ordered and hashable, unlike a float, and the same on
/// every machine. A decimal number in text formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Ratio(u16);

/// A number is no ratio.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("{0} is not between 0 and 1")]
pub struct NoRatio(pub f64);

impl Ratio {
    /// 0.
    pub const ZERO: Self = Self(0);
    /// 1.
    pub const ONE: Self = Self(10_000);

    /// The nearest step; what is outside 0..=1 is clamped, not-a-number becomes 0.
    pub fn new(value: f64) -> Self {
        Self((value.clamp(0.0, 1.0) * 10_000.0).round() as u16)
    }

    /// As a float.
    pub fn get(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }
}

impl TryFrom<f64> for Ratio {
    type Error = NoRatio;

    /// The nearest step.
    fn try_from(value: f64) -> Result<Self, NoRatio> {
        if (0.0..=1.0).contains(&value) { Ok(Self::new(value)) } else { Err(NoRatio(value)) }
    }
}

impl From<Ratio> for f64 {
    fn from(ratio: Ratio) -> Self {
        ratio.get()
    }
}

/// Whether an event takes place, in the words of schema.org's `EventStatusType`, with iCalendar's
/// TENTATIVE and the `SoldOut` of offers beside them. The later ones weigh more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    /// As planned.
    #[default]
    Scheduled,
    /// As planned, and no place is left.
    SoldOut,
    /// Not certain yet.
    Tentative,
    /// Moved to another date.
    Rescheduled,
    /// Moved online.
    MovedOnline,
    /// Put off without a new date.
    Postponed,
    /// Does not take place.
    Cancelled,
}

/// A listing that is live: known, not withdrawn, not past its retention.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LiveListing {
    /// Stand-in of its identity.
    pub id: ListingId,
    /// Record timestamp of its first version, in ms since the Unix epoch.
    #[serde(with = "rfc3339_ms")]
    pub first_seen: i64,
    /// Record timestamp of the version that last changed its content.
    #[serde(with = "rfc3339_ms")]
    pub updated_at: i64,
    /// What the source says now.
    pub listing: Shared<PackedListing>,
    /// Coordinates that were found for it, where the source gave none, or none but those of its city.
    pub located: Option<Geo>,
}

impl LiveListing {
    /// `listing`, first seen and last changed at these times, in ms since the Unix epoch.
    pub fn new(listing: &Listing, first_seen: i64, updated_at: i64) -> Self {
        let packed = Shared::new(PackedListing::from(listing));
        Self { id: listing.id(), first_seen, updated_at, listing: packed, located: None }
    }

    /// The listing to read, with the best coordinates that are known.
    pub fn view(&self) -> ListingView<'_> {
        let mut view = self.listing.view();
        view.venue.geo = self.geo();
        view
    }

    /// The listing, with the best coordinates that are known.
    pub fn described(&self) -> Listing {
        Listing::from(&self.view())
    }

    /// The best coordinates that are known.
    pub fn geo(&self) -> Option<Geo> {
        match (self.listing.geo(), self.located) {
            (Some(own), Some(found)) if found.precision > own.precision => Some(found),
            (own, found) => own.or(found),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coordinates_out_of_range_are_refused() {
        for (lat, lon) in [(f64::NAN, 0.0), (91.0, 0.0), (0.0, 0.0), (1.0, f64::INFINITY), (1.0, -180.1)] {
            assert_eq!(Point::from_degrees(lat, lon), None);
        }
        assert!(serde_json::from_str::<Point>(r#"{"latitude": 100.0, "longitude": 0.0}"#).is_err());
    }

    #[test]
    fn distances_are_in_metres() {
        let paris = Point::from_degrees(48.8566, 2.3522).unwrap();
        let london = Point::from_degrees(51.5074, -0.1278).unwrap();
        assert!((paris.distance_m(&london) - 343_556.0).abs() < 500.0);
    }

    #[test]
    fn ratios_clamp() {
        assert_eq!(Ratio::new(f64::NAN), Ratio::ZERO);
        assert_eq!(Ratio::new(7.0), Ratio::ONE);
        assert_eq!(serde_json::to_string(&Ratio::new(0.8512)).unwrap(), "0.8512");
    }
}
