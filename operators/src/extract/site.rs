//! Where listings take place, as far as their reading depends on it: the zone of times that name none,
//! coordinates the wrong way round, and the place that a source has by its configuration.

use std::cell::RefCell;

use super::config::SourcePlace;
use super::zone::Zone;
use crate::gazetteer::{Gazetteer, Town, country_code};
use crate::listing::{Geo, GeoPrecision, GeoProvenance, Listing, Point, Venue};
use crate::online::{Presence, presence};

/// Answers that each thread remembers: the same venues come up all the time. Each takes some 200 bytes.
const MAX_REMEMBERED: usize = 20_000;

/// Coordinates farther than this from their city are not there, in metres.
const ELSEWHERE_M: f64 = 200_000.0;

/// Coordinates nearer than this to their city are there, in metres.
const THERE_M: f64 = 60_000.0;

/// The place of a source: of listings that name none.
#[derive(Debug)]
pub(crate) struct Site {
    config: SourcePlace,
    point: Option<Point>,
    zone: Option<Zone>,
}

impl Site {
    /// Checks and compiles the place of a source; what is wrong with it comes with its key.
    pub(crate) fn compile(config: &SourcePlace) -> Result<Self, (&'static str, String)> {
        let point =
            match (config.latitude, config.longitude) {
                (Some(latitude), Some(longitude)) => Some(Point::from_degrees(latitude, longitude).ok_or((
                    "latitude",
                    "latitude and longitude must be degrees, -90..=90 and -180..=180".to_owned(),
                ))?),
                (None, None) => None,
                _ => return Err(("latitude", "latitude and longitude go together".to_owned())),
            };
        if let Some(country) = config.country.as_ref().filter(|country| country_code(country).is_none()) {
            return Err(("country", format!("there is no country {country:?}")));
        }
        let (region, country) = (config.region.as_deref(), config.country.as_deref());
        let gazetteer = Gazetteer::embedded();
        let town = config.city.as_ref().and_then(|city| gazetteer.town(city, region, country));
        if let Some(city) = config.city.as_ref().filter(|_| town.is_none() && point.is_none()) {
            let reason = format!(
                "{city:?} is not known, or there are several: give region and country, or latitude and longitude"
            );
            return Err(("city", reason));
        }
        let zone = point.and_then(|point| gazetteer.zone_at(&point)).or(town.map(|town| town.zone));
        let zone = zone.or_else(|| gazetteer.zone_of(region, country));
        Ok(Self { config: config.clone(), point, zone: zone.and_then(Zone::resolve) })
    }

    /// The zone of its clocks.
    pub(crate) fn zone(&self) -> Option<&Zone> {
        self.zone.as_ref()
    }

    fn country(&self) -> Option<&str> {
        self.config.country.as_deref()
    }

    /// Gives a listing what it does not say of where it is.
    pub(crate) fn inherit(&self, listing: &mut Listing) {
        let venue = &listing.venue;
        let nowhere =
            [&venue.name, &venue.address].into_iter().flatten().all(|text| presence(text) == Presence::Online);
        let foreign = venue.country.as_deref().is_some_and(|own| {
            country_code(own).is_some()
                && self.country().is_some_and(|country| country_code(own) != country_code(country))
        });
        if foreign || (listing.online && nowhere) {
            return;
        }
        if let Some(city) = &venue.city {
            let (region, country) = (self.config.region.as_deref(), self.country());
            let gazetteer = Gazetteer::embedded();
            let own = (venue.region.as_deref(), venue.country.as_deref());
            if own == (None, None) && gazetteer.town(city, region, country).is_some() {
                self.fill_area(&mut listing.venue);
            } else if own.1.is_none() && gazetteer.town(city, own.0, country).is_some() {
                listing.venue.country = self.country().map(Into::into);
            }
            return;
        }
        if venue.geo.is_some() || town_of(venue, self.country()).is_some() {
            return;
        }
        listing.venue.city = self.config.city.as_deref().map(Into::into);
        self.fill_area(&mut listing.venue);
        listing.venue.geo =
            self.point.map(|point| Geo { point, precision: GeoPrecision::City, provenance: GeoProvenance::Source });
    }

    fn fill_area(&self, venue: &mut Venue) {
        venue.region = venue.region.take().or_else(|| self.config.region.as_deref().map(Into::into));
        venue.country = venue.country.take().or_else(|| self.country().map(Into::into));
    }
}

/// The zone of the clocks at a venue. `site` is the place of its source.
pub(crate) fn zone_of(venue: &Venue, site: Option<&Site>) -> Option<Zone> {
    let country = site.and_then(Site::country);
    let gazetteer = Gazetteer::embedded();
    let of_town = town_of(venue, country).map(|town| town.zone);
    let name = of_town
        .or_else(|| gazetteer.zone_at(&venue.geo?.point))
        .or_else(|| gazetteer.zone_of(venue.region.as_deref(), venue.country.as_deref()));
    name.and_then(Zone::resolve).or_else(|| site?.zone().cloned())
}

/// The city of a venue. `country` is the one of venues that name none.
fn town_of(venue: &Venue, country: Option<&str>) -> Option<Town> {
    let gazetteer = Gazetteer::embedded();
    let own = venue.country.as_deref();
    if let Some(city) = venue.city.as_deref() {
        let region = venue.region.as_deref();
        let of = |country: Option<&str>| {
            let question = [city, region.unwrap_or_default(), country.unwrap_or_default()];
            remembered(&question, || gazetteer.town(city, region, country))
        };
        let found = of(own.or(country)).or_else(|| of(own));
        if found.is_some() {
            return found;
        }
    }
    let country = own.or(country);
    [venue.address.as_deref(), venue.name.as_deref()].into_iter().flatten().find_map(|text| {
        remembered(&[text, country.unwrap_or_default()], || Some(gazetteer.address(text, country)?.town))
    })
}

fn remembered(question: &[&str], answer: impl FnOnce() -> Option<Town>) -> Option<Town> {
    thread_local! {
        static REMEMBERED: RefCell<foldhash::HashMap<String, Option<Town>>> = RefCell::default();
    }
    let question = question.join("\u{1f}");
    REMEMBERED.with_borrow_mut(|remembered| {
        if let Some(known) = remembered.get(&question) {
            return *known;
        }
        let found = answer();
        if remembered.len() >= MAX_REMEMBERED {
            remembered.clear();
        }
        remembered.insert(question, found);
        found
    })
}

/// Turns round coordinates that are given as longitude and latitude, where the city is known and they are far
/// from it as they stand, but near it the other way round.
pub(crate) fn turn_round(venue: &mut Venue) {
    let Some(geo) = venue.geo else { return };
    let Some(town) = town_of(venue, None).filter(|town| town.point.distance_m(&geo.point) > ELSEWHERE_M) else {
        return;
    };
    let turned = Point::from_degrees(geo.point.longitude(), geo.point.latitude());
    if let Some(point) = turned.filter(|point| town.point.distance_m(point) < THERE_M) {
        venue.geo = Some(Geo { point, ..geo });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(city: Option<&str>, country: Option<&str>, at: Option<(f64, f64)>) -> Result<Site, (&'static str, String)> {
        Site::compile(&SourcePlace {
            city: city.map(Into::into),
            country: country.map(Into::into),
            latitude: at.map(|at| at.0),
            longitude: at.map(|at| at.1),
            ..SourcePlace::default()
        })
    }

    fn listing(name: Option<&str>, city: Option<&str>) -> Listing {
        let mut listing = Listing::new("s", "1", "Kiln", "2026-05-01".parse().unwrap());
        listing.venue.name = name.map(Into::into);
        listing.venue.city = city.map(Into::into);
        listing
    }

    fn inherited(site: &Site, mut listing: Listing) -> (Option<String>, Option<String>) {
        site.inherit(&mut listing);
        (listing.venue.city.map(String::from), listing.venue.country.map(String::from))
    }

    #[test]
    fn a_listing_without_a_place_has_that_of_its_source() {
        let ghent = site(Some("Ghent"), Some("Belgium"), None).unwrap();
        let own = |city: &str, country: &str| {
            let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
            (some(city), some(country))
        };
        assert_eq!(inherited(&ghent, listing(Some("Room 4"), None)), own("Ghent", "Belgium"));
        assert_eq!(inherited(&ghent, listing(None, None)), own("Ghent", "Belgium"));
        assert_eq!(inherited(&ghent, listing(Some("Zaal, Kade 4, 1012 AB Amsterdam, Netherlands"), None)), own("", ""));
        assert_eq!(inherited(&ghent, listing(None, Some("Brugge"))), own("Brugge", "Belgium"));
        assert_eq!(inherited(&ghent, listing(None, Some("Toronto"))), own("Toronto", ""));
        let online = Listing { online: true, ..listing(Some("Zoom"), None) };
        assert_eq!(inherited(&ghent, online), own("", ""));
        let mut abroad = listing(Some("Room 4"), None);
        abroad.venue.country = Some("FR".into());
        assert_eq!(inherited(&ghent, abroad), own("", "FR"));
    }

    #[test]
    fn coordinates_of_the_source_stand_for_the_city() {
        let barn = site(Some("Nowhere by the Sea"), None, Some((51.0, 3.7))).unwrap();
        let mut found = listing(Some("Barn"), None);
        barn.inherit(&mut found);
        assert_eq!(found.venue.geo.unwrap().precision, GeoPrecision::City);
        assert_eq!(barn.zone().unwrap().name().unwrap(), "Europe/Brussels");
    }

    #[test]
    fn what_is_wrong_with_a_place_is_told() {
        for (found, key) in [
            (site(Some("Springfield"), Some("US"), None), "city"),
            (site(None, Some("Atlantis"), None), "country"),
            (site(None, None, Some((91.0, 0.0))), "latitude"),
        ] {
            assert_eq!(found.unwrap_err().0, key);
        }
        let half = SourcePlace { latitude: Some(1.0), ..SourcePlace::default() };
        assert_eq!(Site::compile(&half).unwrap_err().0, "latitude");
    }

    #[test]
    fn coordinates_the_wrong_way_round_are_turned() {
        let turned = |latitude: f64, longitude: f64, city: Option<&str>| {
            let mut venue = listing(None, city).venue;
            venue.geo = super::super::record::source_geo(latitude, longitude);
            turn_round(&mut venue);
            let point = venue.geo.unwrap().point;
            (point.latitude(), point.longitude())
        };
        assert_eq!(turned(3.72, 51.05, Some("Ghent")), (51.05, 3.72));
        assert_eq!(turned(51.05, 3.72, Some("Ghent")), (51.05, 3.72));
        assert_eq!(turned(3.72, 51.05, None), (3.72, 51.05), "nobody knows");
        assert_eq!(turned(10.0, 20.0, Some("Ghent")), (10.0, 20.0), "neither way");
        assert_eq!(turned(-121.74, 38.54, None), (38.54, -121.74), "it cannot be otherwise");
    }

    #[test]
    fn places_have_the_zone_of_their_clocks() {
        let zone = |venue: Venue, site: Option<&Site>| {
            zone_of(&venue, site).and_then(|zone| zone.name().map(|name| name.to_string()))
        };
        let ghent = site(Some("Ghent"), Some("BE"), None).unwrap();
        let venue = |city: &str| listing(Some("Barn"), Some(city)).venue;
        assert_eq!(zone(venue("Denver"), None).as_deref(), Some("America/Denver"));
        assert_eq!(zone(venue("Denver"), Some(&ghent)).as_deref(), Some("America/Denver"));
        assert_eq!(zone(listing(Some("Barn"), None).venue, Some(&ghent)).as_deref(), Some("Europe/Brussels"));
        assert_eq!(zone(listing(Some("Barn"), None).venue, None), None);
        let at = Venue { geo: super::super::record::source_geo(40.7, -74.0), ..Venue::default() };
        assert_eq!(zone(at, None).as_deref(), Some("America/New_York"));
        let land = Venue { country: Some("JP".into()), ..Venue::default() };
        assert_eq!(zone(land, None).as_deref(), Some("Asia/Tokyo"));
    }
}
