//! An embedded gazetteer: names of cities to coordinates and time zones.
//!
//! The cities are those of [GeoNames](https://www.geonames.org), some 170 000 with at least about
//! a thousand people. GeoNames is licensed under [CC BY 4.0](https://creativecommons.org/licenses/by/4.0/):
//! whoever passes these coordinates on has to name GeoNames as their source. `scripts/gazetteer.py` makes the
//! data.
//!
//! A name that several cities share is resolved by its country and region, or where everyone means the same
//! city by it, since many more people live there; otherwise not at all. Names of countries and regions are no
//! cities, unless a region is named beside them.

mod address;
mod cities;
mod countries;
mod names;

use std::sync::LazyLock;

use self::address::{Part, parts};
use self::cities::{Cities, city_name};
use self::countries::{Area, Region, area, regions_named};
use crate::listing::Point;

pub use self::address::Parsed;
pub use self::cities::Town;
pub use self::countries::country_code;

/// Cities of one name that lie within this distance are one: several entries for a city and its
/// parts. In metres.
const SAME_CITY_M: f64 = 25_000.0;

/// How many times as many people have to live in the city that is meant as in any other of its name, where
/// its country or region is known, and where it is not.
const MORE_PEOPLE: (f64, f64) = (4.0, 5.0);

/// People of a city that is meant by the name of a country or region alone: Singapore, New York.
const LIKE_A_COUNTRY: u32 = 500_000;

/// People of a city that is meant by the name of its own country: Luxembourg.
const LIKE_ITS_COUNTRY: u32 = 20_000;

/// Finds cities by name.
#[derive(Debug)]
pub struct Gazetteer {
    cities: Cities,
}

/// What is known of a city beside its name.
#[derive(Debug, Default)]
struct Hints {
    regions: Vec<Region>,
    country: Option<&'static str>,
}

impl Gazetteer {
    /// The gazetteer. It is read when first asked for, which takes about a fifth of a second.
    pub fn embedded() -> &'static Self {
        static EMBEDDED: LazyLock<Gazetteer> = LazyLock::new(|| Gazetteer { cities: Cities::read() });
        &EMBEDDED
    }

    /// Where the centre of `city` is; see [`Gazetteer::town`].
    ///
    /// ```
    /// use headwater_operators::gazetteer::Gazetteer;
    ///
    /// let gazetteer = Gazetteer::embedded();
    /// let paris = gazetteer.city("75018 Paris", None, Some("France")).unwrap();
    /// assert!((paris.latitude() - 48.85).abs() < 0.1);
    /// let texas = gazetteer.city("Paris, TX", None, Some("US")).unwrap();
    /// assert!((texas.latitude() - 33.66).abs() < 0.1);
    /// assert_eq!(gazetteer.city("Springfield", None, None), None);
    /// ```
    pub fn city(&self, city: &str, region: Option<&str>, country: Option<&str>) -> Option<Point> {
        self.town(city, region, country).map(|town| town.point)
    }

    /// The city of this name; `None` where it is unknown, or where several cities come into question.
    /// What follows a comma in `city` is taken for a region or country; postal codes are left out.
    ///
    /// A region or country that is not known is ignored.
    pub fn town(&self, city: &str, region: Option<&str>, country: Option<&str>) -> Option<Town> {
        let mut parts = parts(city).map(Part::of).map(|part| part.rest).filter(|part| !part.is_empty());
        let name = parts.next()?;
        let texts: Vec<&str> = parts.chain(region).collect();
        let mut hints = Hints { regions: Vec::new(), country: country.and_then(country_code) };
        if let Some(text) = country.filter(|_| hints.country.is_none()) {
            hints.regions = regions_named(text);
        }
        for text in &texts {
            let found = regions_named(text);
            if found.is_empty() {
                hints.country = hints.country.or_else(|| country_code(text));
            }
            hints.regions.extend(found);
        }
        self.decided(name, &hints, true)
            .or_else(|| {
                // "DE" is Delaware, unless before it stands what everyone knows to be in Germany.
                let code = texts.iter().find_map(|text| country_code(text)).filter(|_| hints.country.is_none())?;
                let hints = Hints { country: Some(code), ..Hints::default() };
                self.decided(name, &hints, true).filter(|town| town.people >= LIKE_A_COUNTRY / 5)
            })
            .or_else(|| self.within_name(name, &hints))
            .or_else(|| self.elsewhere(name, &hints, country))
    }

    /// Where the country is not the one that the gazetteer has for the city: "Hong Kong, China"; or where it is a
    /// state by its abbreviation, which is the code of a country too: "CA".
    fn elsewhere(&self, name: &str, hints: &Hints, country: Option<&str>) -> Option<Town> {
        let parts: &[&'static str] = match hints.country? {
            "CN" => &["HK", "MO", "TW"],
            "US" => &["PR", "GU", "VI"],
            _ => &[],
        };
        let of = |code: &&'static str| self.decided(name, &Hints { country: Some(code), ..Hints::default() }, true);
        parts.iter().find_map(of).or_else(|| {
            let regions = regions_named(country?);
            if regions.is_empty() { None } else { self.decided(name, &Hints { regions, country: None }, true) }
        })
    }

    /// "Petaluma CA", "Berlin-Mitte", "Dublin 2", "Paris 18e", "Tarndanya (Adelaide)", "Taipei City", "Wuerzburg".
    fn within_name(&self, name: &str, hints: &Hints) -> Option<Town> {
        let several = name.contains(['/', '(']).then(|| {
            name.split(['/', '(', ')'])
                .filter(|part| !part.trim().is_empty())
                .find_map(|part| self.decided(part, hints, true))
        });
        let bare = || {
            let folded = city_name(name);
            let bare = [" city", " sar", " municipality"].into_iter().find_map(|end| folded.strip_suffix(end));
            let plain = folded.replace("ae", "a").replace("oe", "o").replace("ue", "u");
            bare.and_then(|bare| self.decided(bare, hints, true))
                .or_else(|| if plain == folded { None } else { self.decided(&plain, hints, true) })
        };
        several.flatten().or_else(bare).or_else(|| self.part_of_name(name, hints))
    }

    fn part_of_name(&self, name: &str, hints: &Hints) -> Option<Town> {
        let (before, last) = name.rsplit_once([' ', '-'])?;
        let regions = regions_named(last);
        if hints.regions.is_empty() && !regions.is_empty() && last.len() <= 3 {
            return self.decided(before, &Hints { regions, country: hints.country }, true);
        }
        let district = last.starts_with(|c: char| c.is_ascii_digit()) || name.contains('-');
        let city = name.split_once('-').map_or(before, |(city, _)| city);
        let large = |town: &Town| town.people >= LIKE_A_COUNTRY / 5;
        district.then(|| self.decided(city.trim(), hints, true)).flatten().filter(large)
    }

    /// The city of a place whose address stands in one text, by its last parts: `27074 Patwin Rd, Davis, CA 95616,
    /// USA`, `Rathaus, 24103 Kiel`, `2 George Court, London`. `country` is the one of places that name none.
    ///
    /// ```
    /// use headwater_operators::gazetteer::Gazetteer;
    ///
    /// let davis = Gazetteer::embedded().address("UU Church, 27074 Patwin Rd, Davis, CA 95616", None).unwrap();
    /// assert!((davis.town.point.longitude() + 121.74).abs() < 0.01);
    /// assert_eq!((davis.city, davis.region), ("Davis", Some("CA")));
    /// ```
    pub fn address<'t>(&self, address: &'t str, country: Option<&str>) -> Option<Parsed<'t>> {
        address::parse(self, address, country.and_then(country_code))
    }

    /// IANA name of the time zone at a point, by the nearest city.
    pub fn zone_at(&self, point: &Point) -> Option<&'static str> {
        self.cities.nearest(point, None).map(|town| town.zone)
    }

    /// IANA name of the time zone in which nearly all people of a region or a country live.
    pub fn zone_of(&self, region: Option<&str>, country: Option<&str>) -> Option<&'static str> {
        let code = country.and_then(country_code);
        let regions = region.map(regions_named).unwrap_or_default();
        let mut regions = regions.iter().filter(|(country, _)| code.is_none_or(|code| code == *country));
        let of_region = regions.next().filter(|_| regions.next().is_none());
        of_region
            .and_then(|(country, region)| self.cities.zone_of(country, region))
            .or_else(|| self.cities.zone_of(code?, ""))
    }

    /// The one city that is meant by a name, if any. With `others` it may be one that is better known by
    /// another name.
    fn decided(&self, name: &str, hints: &Hints, others: bool) -> Option<Town> {
        let name = city_name(name);
        if name.is_empty() {
            return None;
        }
        let Hints { regions, country } = hints;
        // "CA" stands for California as well as Catalonia: only regions of the country count.
        let regions: Vec<&Region> =
            regions.iter().filter(|(code, _)| country.is_none_or(|country| country == *code)).collect();
        let mut towns = self.cities.named(&name, others);
        towns.retain(|town| country.is_none_or(|code| town.country == code));
        if !regions.is_empty() {
            towns.retain(|town| regions.iter().any(|(code, region)| town.country == *code && town.region == *region));
        }
        let largest = *towns.iter().max_by_key(|town| town.people)?;
        let least = match area(&name, *country).filter(|_| regions.is_empty()) {
            Some(Area::OwnCountry) => LIKE_ITS_COUNTRY,
            Some(Area::Country | Area::Region) => LIKE_A_COUNTRY,
            None => 0,
        };
        if largest.people < least {
            return None;
        }
        let elsewhere = towns.iter().filter(|town| town.point.distance_m(&largest.point) > SAME_CITY_M);
        let others = elsewhere.map(|town| town.people).max().unwrap_or(0);
        let known = country.is_some() || !regions.is_empty();
        let factor = if known { MORE_PEOPLE.0 } else { MORE_PEOPLE.1 };
        (f64::from(largest.people) >= f64::from(others) * factor).then_some(largest)
    }
}

#[cfg(test)]
mod tests {
    use super::names::OTHER_NAMES;
    use super::*;

    /// The text before a comma, region and country, and where that is.
    type Case = (&'static str, Option<&'static str>, Option<&'static str>, f64, f64);

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
        for ambiguous in ["Springfield", "Santa Rosa", "Cambridge", "San Jose", "Valencia", "Nowhere at all", ""] {
            assert_eq!(city(ambiguous, None), None, "{ambiguous}");
        }
    }

    #[test]
    fn cities_as_sources_write_them() {
        let cases: &[Case] = &[
            ("75018 Paris", None, Some("France"), 48.853, 2.349),
            ("Petaluma CA 94952", None, None, 38.232, -122.637),
            ("Toronto, ON M6J 0B1", None, None, 43.70, -79.416),
            ("San Sebastián", None, None, 43.313, -1.975),
            ("Columbus", None, Some("US"), 39.961, -82.999),
            ("Goa", None, Some("India"), 15.498, 73.828),
            ("Shibuya", None, Some("Japan"), 35.69, 139.69),
            ("Berlin-Mitte", None, None, 52.52, 13.40),
            ("Dublin 2", None, Some("Ireland"), 53.33, -6.25),
            ("Paris 18e", None, Some("FR"), 48.853, 2.349),
            ("München", None, None, 48.137, 11.575),
            ("London E8 1HN", None, None, 51.508, -0.126),
            ("Singapore", None, Some("Singapore"), 1.29, 103.85),
            ("Luxembourg", None, Some("LU"), 49.61, 6.13),
            ("Lebanon", Some("NH"), Some("US"), 43.64, -72.25),
            ("Ontario", Some("CA"), None, 34.06, -117.65),
            ("Washington", None, Some("US"), 38.895, -77.036),
            ("Hong Kong", None, Some("China"), 22.28, 114.17),
            ("Sacramento", None, Some("CA"), 38.58, -121.49),
            ("Tarndanya (Adelaide)", None, Some("Australia"), -34.93, 138.6),
            ("Narrm / Melbourne", None, Some("Australia"), -37.81, 144.96),
            ("Taipei City", None, Some("Taiwan"), 25.05, 121.53),
            ("Wuerzburg", None, Some("DE"), 49.794, 9.951),
        ];
        for (name, region, country, lat, lon) in cases {
            let found = Gazetteer::embedded().city(name, *region, *country);
            assert!(near(found, *lat, *lon), "{name}: {found:?}");
        }
    }

    #[test]
    fn countries_and_regions_are_no_cities() {
        let areas = [
            "USA",
            "Belgium",
            "Morocco",
            "Cuba",
            "Germany",
            "Bavaria",
            "California",
            "Wales",
            "Ontario",
            "Tuscany",
            "England",
            "Normandy",
            "Holland",
        ];
        for area in areas {
            assert_eq!(city(area, None), None, "{area}");
            assert_eq!(Gazetteer::embedded().address(&format!("Some Hall, {area}"), None), None, "{area}");
        }
    }

    #[test]
    fn places_have_time_zones() {
        let gazetteer = Gazetteer::embedded();
        let zone = |city: &str, region: Option<&str>, country: Option<&str>| {
            gazetteer.town(city, region, country).map(|town| town.zone)
        };
        assert_eq!(zone("New York", Some("NY"), Some("US")), Some("America/New_York"));
        assert_eq!(zone("Las Palmas de Gran Canaria", None, Some("ES")), Some("Atlantic/Canary"));
        let at = |lat, lon| gazetteer.zone_at(&Point::from_degrees(lat, lon).unwrap());
        assert_eq!(at(34.05, -118.24), Some("America/Los_Angeles"));
        assert_eq!(at(-33.9, 151.2), Some("Australia/Sydney"));
        assert_eq!(at(-50.0, -150.0), None, "in the middle of the sea");
        assert_eq!(gazetteer.zone_of(None, Some("Germany")), Some("Europe/Berlin"));
        assert_eq!(gazetteer.zone_of(Some("TX"), Some("US")), Some("America/Chicago"));
        assert_eq!(gazetteer.zone_of(None, Some("US")), None);
        assert_eq!(gazetteer.zone_of(None, None), None);
    }

    #[test]
    fn addresses_end_in_their_city() {
        let address = |text| Gazetteer::embedded().address(text, None).map(|parsed| parsed.town.point);
        for (text, lat, lon) in [
            ("The Big Easy, 128 American Alley, Petaluma, CA, 94952, United States", 38.232, -122.637),
            ("450A Candlewyck Road\nLancaster, PA  17601", 40.038, -76.306),
            ("Hauptstr. 1, 50667 Köln, Germany", 50.93, 6.95),
            ("Weir House, 9 Mill Lane, London, England, WC2N 6HH", 51.508, -0.126),
            ("Weir House, 9 Mill Lane, London WC2N 6HH", 51.508, -0.126),
            ("Barn, 3 Quay St, Toronto, ON M5V 1E3, Canada", 43.70, -79.416),
            ("Barn, 3 Quay St, Halifax NS B3H 4R2", 44.645, -63.575),
            ("9 Mill Lane Petaluma CA 94952", 38.232, -122.637),
            ("Barn, 9 Mill Lane, Toronto", 43.70, -79.416),
            ("Rathaus\nMarktplatz 1\n97070 Würzburg\nDeutschland", 49.794, 9.929),
            ("Rathaus, Marktplatz 1, 97070 Würzburg", 49.794, 9.929),
            ("Salle, 3 rue du Pont, F-69001 Lyon", 45.748, 4.846),
            ("Zaal, Kade 4, 1012 AB Amsterdam", 52.374, 4.889),
            ("Haus, Weg 5, Kiel, Schleswig-Holstein, Deutschland", 54.323, 10.135),
            ("Berlin", 52.52, 13.40),
            ("Club, 585 Mill Rd., Denver, 17517, United States", 40.233, -76.137),
            ("Barn, 9 Mill Lane, Newark 07102, USA", 40.736, -74.172),
        ] {
            assert!(near(address(text), lat, lon), "{text}: {:?}", address(text));
        }
        let city = Gazetteer::embedded().address("Office closed - Lancaster PA 17601", None).map(|parsed| parsed.city);
        assert_eq!(city, Some("Lancaster"));
        for text in [
            "Rotunda",
            "CA",
            "Davis, CA, in the park",
            "Sonoma County, CA",
            "Room 4, Library",
            "",
            ",,,",
            "Hope",
            "Orchard",
            "Main St",
            "Fletcher Hall, Sanctuary",
            "Paris Room, Library",
            "Pizza Shack (Windsor)",
            "Phoenix Bar",
            "Big Apple",
        ] {
            assert_eq!(address(text), None, "{text}");
        }
        let here = |text| Gazetteer::embedded().address(text, Some("DE")).map(|parsed| parsed.city);
        assert_eq!(here("Kulturhaus, Husum"), Some("Husum"));
        assert_eq!(here("Kulturhaus, Erdgeschoss"), None);
    }

    #[test]
    fn every_other_name_is_in_the_data() {
        for (from, to, country) in OTHER_NAMES {
            assert!(city(from, Some(country)).is_some(), "{from} is {to}");
        }
    }
}
