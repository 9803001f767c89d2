//! An embedded gazetteer: city names to coordinates.
//!
//! The cities are those of [GeoNames](https://www.geonames.org), some 154 000 with at least about
//! a thousand people, as embedded by the crate `cities-json`. GeoNames is licensed under
//! [CC BY 4.0](https://creativecommons.org/licenses/by/4.0/): whoever passes these coordinates on
//! has to name GeoNames as their source.
//!
//! The data hold no populations. So a name that several cities share is resolved by its country
//! and region, or where everyone means the same city by it; otherwise not at all.

mod countries;
mod names;

use std::sync::LazyLock;

use cities_json::{CITIES, City};
use xxhash_rust::xxh3::xxh3_64;

use self::countries::{Region, regions_named};
use self::names::{OTHER_NAMES, WELL_KNOWN};
use crate::listing::Point;
use crate::words::fold;

pub use self::countries::country_code;

/// Cities of one name that lie within this distance are one: several entries for a city and its
/// parts. In metres.
const SAME_CITY_M: f64 = 25_000.0;

/// How far the rounded coordinates of [`WELL_KNOWN`] may be off, in metres.
const WELL_KNOWN_M: f64 = 120_000.0;

/// Finds cities by name.
#[derive(Debug)]
pub struct Gazetteer {
    /// Hash of the folded name, then the index into the cities; sorted.
    names: Vec<(u64, u32)>,
}

impl Gazetteer {
    /// The gazetteer. It is read when first asked for, which takes about a fifth of a second.
    pub fn embedded() -> &'static Self {
        static EMBEDDED: LazyLock<Gazetteer> = LazyLock::new(|| {
            let entry = |(index, city): (usize, &City)| (name_hash(&city_name(&city.name)), index as u32);
            let mut names: Vec<_> = CITIES.iter().enumerate().map(entry).collect();
            names.sort_unstable();
            Gazetteer { names }
        });
        &EMBEDDED
    }

    /// Where the centre of `city` is; `None` where it is unknown, or where several cities come
    /// into question. What follows a comma in `city` is taken for a region or country.
    ///
    /// A region or country that is not known is ignored.
    ///
    /// ```
    /// use headwater_operators::gazetteer::Gazetteer;
    ///
    /// let gazetteer = Gazetteer::embedded();
    /// let paris = gazetteer.city("Paris", None, Some("France")).unwrap();
    /// assert!((paris.latitude() - 48.85).abs() < 0.1);
    /// let texas = gazetteer.city("Paris, TX", None, Some("US")).unwrap();
    /// assert!((texas.latitude() - 33.66).abs() < 0.1);
    /// assert_eq!(gazetteer.city("Springfield", None, None), None);
    /// ```
    pub fn city(&self, city: &str, region: Option<&str>, country: Option<&str>) -> Option<Point> {
        let mut parts = city.split(',').map(str::trim);
        let name = city_name(parts.next()?);
        let hints: Vec<&str> = parts.chain(region).collect();
        let mut country = country.and_then(country_code);
        let mut regions = Vec::new();
        for hint in &hints {
            let found = regions_named(hint);
            if found.is_empty() {
                country = country.or_else(|| country_code(hint));
            }
            regions.extend(found);
        }
        self.named(&name, &regions, country).or_else(|| {
            // "DE" is Delaware, unless before it stands what everyone knows to be in Germany.
            let code = hints.iter().find_map(|hint| country_code(hint)).filter(|_| country.is_none())?;
            well_known(&name, Some(code))?;
            self.named(&name, &[], Some(code))
        })
    }

    /// Where a place is whose address stands in one text, by its last parts that name a city with
    /// a region or country: `27074 Patwin Rd, Davis, CA 95616, USA`.
    ///
    /// ```
    /// use headwater_operators::gazetteer::Gazetteer;
    ///
    /// let davis = Gazetteer::embedded().address("UU Church, 27074 Patwin Rd, Davis, CA 95616").unwrap();
    /// assert!((davis.longitude() + 121.74).abs() < 0.01);
    /// ```
    pub fn address(&self, address: &str) -> Option<Point> {
        let parts = address.split([',', '\n']).map(|part| without_postal_code(part.trim()));
        let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
        let (mut country, mut regions) = (None, Vec::new());
        for (at, &hint) in parts.iter().enumerate().rev().take(3) {
            let hinted = country.is_some() || !regions.is_empty();
            let found = regions_named(hint);
            if !hinted && found.is_empty() && at > 0 && country_code(hint).is_some() {
                country = country_code(hint);
            } else if regions.is_empty() && !found.is_empty() && at > 0 {
                regions = found;
            } else {
                return hinted.then(|| self.named(&city_name(hint), &regions, country)).flatten();
            }
        }
        None
    }

    fn named(&self, name: &str, regions: &[Region], country: Option<&'static str>) -> Option<Point> {
        if name.is_empty() {
            return None;
        }
        let other =
            OTHER_NAMES.iter().find(|(from, _, cc)| *from == name && country.is_none_or(|country| country == *cc));
        let Some((_, to, other_country)) = other else {
            return decide(name, self.candidates(name), regions, country);
        };
        decide(to, self.candidates(to), regions, Some(other_country))
            .or_else(|| decide(name, self.candidates(name), regions, country))
    }

    fn candidates(&self, name: &str) -> impl Iterator<Item = &'static City> {
        let hash = name_hash(name);
        let start = self.names.partition_point(|(other, _)| *other < hash);
        let same = self.names.iter().skip(start).take_while(move |(other, _)| *other == hash);
        same.filter_map(|(_, index)| CITIES.get(*index as usize))
    }
}

/// The one city that is meant, if any.
fn decide(
    name: &str,
    candidates: impl Iterator<Item = &'static City>,
    regions: &[Region],
    country: Option<&str>,
) -> Option<Point> {
    let mut cities: Vec<&City> = candidates.filter(|city| country.is_none_or(|code| city.country == code)).collect();
    // "CA" stands for California as well as Catalonia: only regions of the country count.
    let applies = |(code, _): &&Region| country.is_none_or(|country| country == *code);
    let regions: Vec<&Region> = regions.iter().filter(applies).collect();
    if !regions.is_empty() {
        cities.retain(|city| regions.iter().any(|(code, admin)| city.country == *code && city.admin1 == *admin));
    }
    let points: Vec<Point> = cities.iter().filter_map(|city| Point::from_degrees(city.lat, city.lng)).collect();
    let first = *points.first()?;
    if points.iter().all(|point| point.distance_m(&first) <= SAME_CITY_M) {
        return Some(first);
    }
    let near = well_known(name, country)?;
    let nearest = points.into_iter().min_by(|a, b| a.distance_m(&near).total_cmp(&b.distance_m(&near)))?;
    (nearest.distance_m(&near) <= WELL_KNOWN_M).then_some(nearest)
}

/// About where the well-known city of that name is; `None` where there is none or more than one.
fn well_known(name: &str, country: Option<&str>) -> Option<Point> {
    let mut known =
        WELL_KNOWN.iter().filter(|(known, cc, ..)| *known == name && country.is_none_or(|code| code == *cc));
    let (_, _, lat, lon) = *known.next()?;
    known.next().is_none().then(|| Point::from_degrees(f64::from(lat), f64::from(lon))).flatten()
}

/// What is left of `CA 95616` or `75001 Paris` without the postal code: digits of five or more.
fn without_postal_code(part: &str) -> &str {
    let is_code = |word: &str| word.len() >= 4 && word.chars().all(|c| c.is_ascii_digit() || c == '-');
    let part = match part.rsplit_once(' ') {
        Some((rest, last)) if is_code(last) => rest.trim_end(),
        _ => part,
    };
    match part.split_once(' ') {
        Some((first, rest)) if is_code(first) => rest.trim_start(),
        _ if is_code(part) => "",
        _ => part,
    }
}

/// A folded name, with usual abbreviations spelt out.
fn city_name(text: &str) -> String {
    let name = fold(text);
    let spelt = name.split(' ').map(|word| match word {
        "st" => "saint",
        "ste" => "sainte",
        "ft" => "fort",
        "mt" => "mount",
        _ => word,
    });
    spelt.collect::<Vec<_>>().join(" ")
}

fn name_hash(name: &str) -> u64 {
    xxh3_64(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: Option<Point>, lat: f64, lon: f64) -> bool {
        let expected = Point::from_degrees(lat, lon).unwrap();
        found.is_some_and(|point| point.distance_m(&expected) < 15_000.0)
    }

    fn city(name: &str, country: Option<&str>) -> Option<Point> {
        Gazetteer::embedded().city(name, None, country)
    }

    #[test]
    fn countries_by_all_their_names() {
        for (text, code) in [
            ("U.K.", "GB"),
            ("The Netherlands", "NL"),
            ("Côte d'Ivoire", "CI"),
            ("Türkiye", "TR"),
            ("Bolivia", "BO"),
            ("Viet Nam", "VN"),
            ("deu", "DE"),
            ("South Korea", "KR"),
            ("Czech Republic", "CZ"),
            ("Hong Kong", "HK"),
            ("Georgia", "GE"),
        ] {
            assert_eq!(country_code(text), Some(code), "{text}");
        }
        assert_eq!(country_code(""), None);
        assert_eq!(country_code("é"), None);
    }

    #[test]
    fn a_country_tells_namesakes_apart() {
        assert!(near(city("Paris", Some("FR")), 48.853, 2.349));
        assert!(near(city("Vienna", Some("Austria")), 48.208, 16.372));
        assert!(near(city("San José", Some("Costa Rica")), 9.93, -84.08));
        assert!(near(city("Cologne", Some("Germany")), 50.93, 6.95));
        assert!(near(city("KÖLN", Some("de")), 50.93, 6.95));
        assert!(near(city("Kraków", Some("Poland")), 50.06, 19.94));
        assert!(near(city("Frankfurt", Some("Germany")), 50.115, 8.684));
        assert_eq!(city("Lancaster", Some("US")), None);
    }

    #[test]
    fn a_region_tells_namesakes_apart() {
        let gazetteer = Gazetteer::embedded();
        assert!(near(gazetteer.city("Davis", Some("California"), None), 38.545, -121.74));
        assert!(near(gazetteer.city("Lancaster", Some("PA"), Some("US")), 40.038, -76.306));
        assert!(near(gazetteer.city("San Francisco, CA", None, Some("U.S.A.")), 37.775, -122.419));
        assert!(near(gazetteer.city("London, Ontario, Canada", None, None), 42.983, -81.233));
        assert!(near(gazetteer.city("St. Louis", Some("MO"), None), 38.627, -90.198));
        assert!(near(gazetteer.city("Munich", Some("Bavaria"), Some("Germany")), 48.137, 11.575));
        assert!(near(gazetteer.city("Berlin, DE", None, None), 52.52, 13.40));
        assert_eq!(gazetteer.city("Davis", Some("CA"), Some("FR")), None);
    }

    #[test]
    fn without_a_country_only_what_is_plain() {
        assert!(near(city("London", None), 51.508, -0.126));
        assert!(near(city("New York", None), 40.714, -74.006));
        assert!(near(city("Petaluma", None), 38.232, -122.637));
        assert!(near(city("Antwerp", None), 51.22, 4.40));
        for ambiguous in ["Springfield", "Santa Rosa", "Birmingham", "San Jose", "Valencia", "Nowhere at all", ""] {
            assert_eq!(city(ambiguous, None), None, "{ambiguous}");
        }
    }

    #[test]
    fn addresses_end_in_their_city() {
        let address = |text| Gazetteer::embedded().address(text);
        assert!(near(
            address("The Big Easy, 128 American Alley, Petaluma, CA, 94952, United States"),
            38.232,
            -122.637
        ));
        assert!(near(address("450A Candlewyck Road\nLancaster, PA  17601"), 40.038, -76.306));
        assert!(near(address("Hauptstr. 1, 50667 Köln, Germany"), 50.93, 6.95));
        for text in ["Rotunda", "CA", "Davis, CA, in the park", "Sonoma County, CA", "Room 4, Library", "", ",,,"] {
            assert_eq!(address(text), None, "{text}");
        }
    }

    #[test]
    fn every_well_known_city_and_other_name_is_in_the_data() {
        let gazetteer = Gazetteer::embedded();
        for (name, country, lat, lon) in WELL_KNOWN {
            let found = gazetteer.city(name, None, Some(country));
            let expected = Point::from_degrees(f64::from(*lat), f64::from(*lon)).unwrap();
            assert!(found.is_some_and(|point| point.distance_m(&expected) < WELL_KNOWN_M), "{name}: {found:?}");
            let only = WELL_KNOWN.iter().filter(|(other, ..)| other == name).count() == 1;
            assert_eq!(gazetteer.city(name, None, None), found.filter(|_| only), "{name}");
        }
        for (from, to, country) in OTHER_NAMES {
            assert!(gazetteer.city(from, None, Some(country)).is_some(), "{from} is {to}");
        }
    }
}
