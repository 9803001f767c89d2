//! An embedded gazetteer: city names to coordinates.
//!
//! The cities are those of [GeoNames](https://www.geonames.org), some 154 000 with at least about
//! a thousand people, as embedded by the crate `cities-json`. GeoNames is licensed under
//! [CC BY 4.0](https://creativecommons.org/licenses/by/4.0/): whoever passes these coordinates on
//! has to name GeoNames as their source.
//!
//! The data hold no populations. So a name that several cities share is resolved by its country
//! and region, or where everyone means the same city by it; otherwise not at all.

use std::collections::HashMap;
use std::sync::LazyLock;

use cities_json::{CITIES, City};
use isocountry::CountryCode;
use xxhash_rust::xxh3::xxh3_64;

use crate::listing::Point;
use crate::words::fold;

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

/// A part of a country, by the country's ISO code and the code of the region in GeoNames.
type Region = (&'static str, &'static str);

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

/// The ISO 3166 two-letter code of a country, by its English name, one of its other usual names,
/// or its two- or three-letter code.
///
/// ```
/// use headwater_operators::gazetteer::country_code;
/// for text in ["U.S.A.", "us", "USA", "United States of America"] {
///     assert_eq!(country_code(text), Some("US"));
/// }
/// assert_eq!(country_code("Atlantis"), None);
/// ```
pub fn country_code(text: &str) -> Option<&'static str> {
    let by_code = code_letters(text).and_then(|letters| COUNTRY_CODES.get(&letters).copied());
    by_code.or_else(|| COUNTRY_NAMES.get(country_name(text).as_str()).copied())
}

/// The two or three capitals of a code; the third is 0 where there are two.
fn code_letters(text: &str) -> Option<[u8; 3]> {
    let mut letters = match *text.as_bytes() {
        [a, b] => [a, b, 0],
        [a, b, c] => [a, b, c],
        _ => return None,
    };
    letters.make_ascii_uppercase();
    Some(letters)
}

/// Codes of two and of three letters. Looked up for every listing, which the list of all countries is too
/// long for.
static COUNTRY_CODES: LazyLock<foldhash::HashMap<[u8; 3], &'static str>> = LazyLock::new(|| {
    let codes =
        |country: &'static CountryCode| [country.alpha2(), country.alpha3()].map(|code| (code, country.alpha2()));
    let all = CountryCode::iter().flat_map(codes);
    all.filter_map(|(code, country)| Some((code_letters(code)?, country))).collect()
});

fn country_name(text: &str) -> String {
    let name = fold(text);
    name.strip_prefix("the ").map(str::to_owned).unwrap_or(name)
}

static COUNTRY_NAMES: LazyLock<HashMap<String, &'static str>> = LazyLock::new(|| {
    let official = CountryCode::iter().flat_map(|country| {
        let name = country.name();
        // "Korea (Republic of)" is no name that anyone uses, but "Bolivia" is.
        let short = name.split_once(" (").map_or(name, |(short, _)| short);
        [name, short].map(|name| (country_name(name), country.alpha2()))
    });
    official.chain(OTHER_COUNTRY_NAMES.iter().map(|(name, code)| ((*name).to_owned(), *code))).collect()
});

/// Usual names that are not the official English ones, folded.
const OTHER_COUNTRY_NAMES: &[(&str, &str)] = &[
    ("america", "US"),
    ("u s", "US"),
    ("u s a", "US"),
    ("united states", "US"),
    ("u k", "GB"),
    ("uk", "GB"),
    ("united kingdom", "GB"),
    ("great britain", "GB"),
    ("britain", "GB"),
    ("england", "GB"),
    ("scotland", "GB"),
    ("wales", "GB"),
    ("northern ireland", "GB"),
    ("republic of ireland", "IE"),
    ("czech republic", "CZ"),
    ("czechia", "CZ"),
    ("slovak republic", "SK"),
    ("macedonia", "MK"),
    ("north macedonia", "MK"),
    ("moldova", "MD"),
    ("russia", "RU"),
    ("turkey", "TR"),
    ("turkiye", "TR"),
    ("south korea", "KR"),
    ("republic of korea", "KR"),
    ("korea", "KR"),
    ("north korea", "KP"),
    ("taiwan", "TW"),
    ("vietnam", "VN"),
    ("laos", "LA"),
    ("burma", "MM"),
    ("brunei", "BN"),
    ("iran", "IR"),
    ("syria", "SY"),
    ("palestine", "PS"),
    ("uae", "AE"),
    ("u a e", "AE"),
    ("tanzania", "TZ"),
    ("ivory coast", "CI"),
    ("congo", "CG"),
    ("dr congo", "CD"),
    ("democratic republic of the congo", "CD"),
    ("cape verde", "CV"),
    ("swaziland", "SZ"),
    ("eswatini", "SZ"),
    ("hong kong sar", "HK"),
    ("macau", "MO"),
    ("deutschland", "DE"),
    ("osterreich", "AT"),
    ("schweiz", "CH"),
    ("suisse", "CH"),
    ("holland", "NL"),
    ("nederland", "NL"),
    ("belgie", "BE"),
    ("belgique", "BE"),
    ("espana", "ES"),
    ("italia", "IT"),
    ("polska", "PL"),
    ("sverige", "SE"),
    ("norge", "NO"),
    ("danmark", "DK"),
    ("suomi", "FI"),
    ("brasil", "BR"),
];

/// The regions that `text` can stand for. Known are those of the countries whose cities are
/// usually told apart by them: Australia, Canada, the United Kingdom, the United States.
fn regions_named(text: &str) -> Vec<Region> {
    let text = fold(text);
    let named = REGIONS.iter().filter(|(_, _, names)| names.iter().any(|name| *name == text));
    named.map(|(country, code, _)| (*country, *code)).collect()
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

/// Names of cities that GeoNames has under another one: name, name in GeoNames, country; folded.
const OTHER_NAMES: &[(&str, &str, &str)] = &[
    ("new york", "new york city", "US"),
    ("nyc", "new york city", "US"),
    ("washington dc", "washington", "US"),
    ("washington d c", "washington", "US"),
    ("sf", "san francisco", "US"),
    ("antwerp", "antwerpen", "BE"),
    ("anvers", "antwerpen", "BE"),
    ("ghent", "gent", "BE"),
    ("gand", "gent", "BE"),
    ("bruges", "brugge", "BE"),
    ("bruxelles", "brussels", "BE"),
    ("brussel", "brussels", "BE"),
    ("geneva", "geneve", "CH"),
    ("genf", "geneve", "CH"),
    ("berne", "bern", "CH"),
    ("basle", "basel", "CH"),
    ("lucerne", "luzern", "CH"),
    ("cologne", "koln", "DE"),
    ("koeln", "koln", "DE"),
    ("munchen", "munich", "DE"),
    ("muenchen", "munich", "DE"),
    ("nuremberg", "nurnberg", "DE"),
    ("nuernberg", "nurnberg", "DE"),
    ("hanover", "hannover", "DE"),
    ("dusseldorf", "dusseldorf", "DE"),
    ("duesseldorf", "dusseldorf", "DE"),
    ("frankfurt", "frankfurt am main", "DE"),
    ("frankfurt main", "frankfurt am main", "DE"),
    ("wien", "vienna", "AT"),
    ("praha", "prague", "CZ"),
    ("warszawa", "warsaw", "PL"),
    ("cracow", "krakow", "PL"),
    ("lisboa", "lisbon", "PT"),
    ("oporto", "porto", "PT"),
    ("seville", "sevilla", "ES"),
    ("roma", "rome", "IT"),
    ("milano", "milan", "IT"),
    ("torino", "turin", "IT"),
    ("firenze", "florence", "IT"),
    ("venezia", "venice", "IT"),
    ("napoli", "naples", "IT"),
    ("genova", "genoa", "IT"),
    ("kobenhavn", "copenhagen", "DK"),
    ("aarhus", "arhus", "DK"),
    ("gothenburg", "goteborg", "SE"),
    ("den haag", "the hague", "NL"),
    ("moskva", "moscow", "RU"),
    ("kiev", "kyiv", "UA"),
    ("kharkov", "kharkiv", "UA"),
    ("lvov", "lviv", "UA"),
    ("odessa", "odesa", "UA"),
    ("bucuresti", "bucharest", "RO"),
    ("beograd", "belgrade", "RS"),
    ("athina", "athens", "GR"),
    ("bangalore", "bengaluru", "IN"),
    ("bombay", "mumbai", "IN"),
    ("calcutta", "kolkata", "IN"),
    ("madras", "chennai", "IN"),
    ("kochi", "cochin", "IN"),
    ("gurgaon", "gurugram", "IN"),
    ("saigon", "ho chi minh city", "VN"),
    ("tel aviv yafo", "tel aviv", "IL"),
    ("ciudad de mexico", "mexico city", "MX"),
    ("cdmx", "mexico city", "MX"),
    ("peking", "beijing", "CN"),
];

/// Cities that are meant when their name is said with no more than the country: at least five
/// times the people of any other of that name in it. Where a name stands here once only, it is
/// meant without the country too. Folded name, country, and the coordinates in full degrees, by
/// which the one is found among its namesakes.
const WELL_KNOWN: &[(&str, &str, i16, i16)] = &[
    ("accra", "GH", 6, 0),
    ("alexandria", "EG", 31, 30),
    ("amsterdam", "NL", 52, 5),
    ("athens", "GR", 38, 24),
    ("atlanta", "US", 34, -84),
    ("auckland", "NZ", -37, 175),
    ("austin", "US", 30, -98),
    ("baltimore", "US", 39, -77),
    ("bangkok", "TH", 14, 101),
    ("belgrade", "RS", 45, 20),
    ("berlin", "DE", 53, 13),
    ("birmingham", "GB", 52, -2),
    ("birmingham", "US", 34, -87),
    ("bogota", "CO", 5, -74),
    ("boston", "US", 42, -71),
    ("bremen", "DE", 53, 9),
    ("brisbane", "AU", -27, 153),
    ("brussels", "BE", 51, 4),
    ("buenos aires", "AR", -35, -58),
    ("buffalo", "US", 43, -79),
    ("cairo", "EG", 30, 31),
    ("calgary", "CA", 51, -114),
    ("cape town", "ZA", -34, 18),
    ("charlotte", "US", 35, -81),
    ("chicago", "US", 42, -88),
    ("cincinnati", "US", 39, -84),
    ("cleveland", "US", 41, -82),
    ("copenhagen", "DK", 56, 13),
    ("dallas", "US", 33, -97),
    ("delhi", "IN", 29, 77),
    ("denver", "US", 40, -105),
    ("detroit", "US", 42, -83),
    ("dresden", "DE", 51, 14),
    ("dubai", "AE", 25, 55),
    ("dublin", "IE", 53, -6),
    ("edinburgh", "GB", 56, -3),
    ("essen", "DE", 51, 7),
    ("florence", "IT", 44, 11),
    ("frankfurt am main", "DE", 50, 9),
    ("genoa", "IT", 44, 9),
    ("glasgow", "GB", 56, -4),
    ("goteborg", "SE", 58, 12),
    ("hamburg", "DE", 54, 10),
    ("hannover", "DE", 52, 10),
    ("helsinki", "FI", 60, 25),
    ("hong kong", "HK", 22, 114),
    ("honolulu", "US", 21, -158),
    ("houston", "US", 30, -95),
    ("indianapolis", "US", 40, -86),
    ("istanbul", "TR", 41, 29),
    ("jakarta", "ID", -6, 107),
    ("johannesburg", "ZA", -26, 28),
    ("lagos", "NG", 6, 3),
    ("las vegas", "US", 36, -115),
    ("leeds", "GB", 54, -2),
    ("lima", "PE", -12, -77),
    ("lisbon", "PT", 39, -9),
    ("liverpool", "GB", 53, -3),
    ("london", "GB", 52, 0),
    ("los angeles", "US", 34, -118),
    ("lyon", "FR", 46, 5),
    ("madrid", "ES", 40, -4),
    ("marseille", "FR", 43, 5),
    ("melbourne", "AU", -38, 145),
    ("memphis", "US", 35, -90),
    ("miami", "US", 26, -80),
    ("milan", "IT", 45, 9),
    ("milwaukee", "US", 43, -88),
    ("minneapolis", "US", 45, -93),
    ("minsk", "BY", 54, 28),
    ("montreal", "CA", 46, -74),
    ("moscow", "RU", 56, 38),
    ("mountain view", "US", 37, -122),
    ("munich", "DE", 48, 12),
    ("nairobi", "KE", -1, 37),
    ("naples", "IT", 41, 14),
    ("nashville", "US", 36, -87),
    ("new delhi", "IN", 29, 77),
    ("new orleans", "US", 30, -90),
    ("new york city", "US", 41, -74),
    ("orlando", "US", 29, -81),
    ("oslo", "NO", 60, 11),
    ("ottawa", "CA", 45, -76),
    ("paris", "FR", 49, 2),
    ("perth", "AU", -32, 116),
    ("philadelphia", "US", 40, -75),
    ("phoenix", "US", 33, -112),
    ("pittsburgh", "US", 40, -80),
    ("portland", "US", 46, -123),
    ("porto", "PT", 41, -9),
    ("prague", "CZ", 50, 14),
    ("quebec", "CA", 47, -71),
    ("raleigh", "US", 36, -79),
    ("reykjavik", "IS", 64, -22),
    ("riga", "LV", 57, 24),
    ("rio de janeiro", "BR", -23, -43),
    ("rome", "IT", 42, 12),
    ("rotterdam", "NL", 52, 4),
    ("sacramento", "US", 39, -121),
    ("saint louis", "US", 39, -90),
    ("saint paul", "US", 45, -93),
    ("saint petersburg", "RU", 60, 30),
    ("salt lake city", "US", 41, -112),
    ("san antonio", "US", 29, -98),
    ("san diego", "US", 33, -117),
    ("san francisco", "US", 38, -122),
    ("san jose", "CR", 10, -84),
    ("san jose", "US", 37, -122),
    ("sao paulo", "BR", -24, -47),
    ("seattle", "US", 48, -122),
    ("seoul", "KR", 38, 127),
    ("sevilla", "ES", 37, -6),
    ("shanghai", "CN", 31, 121),
    ("singapore", "SG", 1, 104),
    ("sofia", "BG", 43, 23),
    ("stockholm", "SE", 59, 18),
    ("stuttgart", "DE", 49, 9),
    ("sydney", "AU", -34, 151),
    ("tampa", "US", 28, -82),
    ("tokyo", "JP", 36, 140),
    ("toronto", "CA", 44, -79),
    ("tucson", "US", 32, -111),
    ("turin", "IT", 45, 8),
    ("utrecht", "NL", 52, 5),
    ("venice", "IT", 45, 12),
    ("vienna", "AT", 48, 16),
    ("warsaw", "PL", 52, 21),
    ("washington", "US", 39, -77),
    ("zagreb", "HR", 46, 16),
    ("zurich", "CH", 47, 9),
];

/// Country, code of the region in GeoNames, and its names and abbreviations, folded.
const REGIONS: &[(&str, &str, &[&str])] = &[
    ("AU", "01", &["act", "australian capital territory"]),
    ("AU", "02", &["nsw", "new south wales"]),
    ("AU", "03", &["nt", "northern territory"]),
    ("AU", "04", &["qld", "queensland"]),
    ("AU", "05", &["sa", "south australia"]),
    ("AU", "06", &["tas", "tasmania"]),
    ("AU", "07", &["vic", "victoria"]),
    ("AU", "08", &["wa", "western australia"]),
    ("CA", "01", &["ab", "alberta"]),
    ("CA", "02", &["bc", "british columbia"]),
    ("CA", "03", &["mb", "manitoba"]),
    ("CA", "04", &["nb", "new brunswick"]),
    ("CA", "05", &["nl", "newfoundland and labrador", "newfoundland"]),
    ("CA", "07", &["ns", "nova scotia"]),
    ("CA", "08", &["on", "ontario"]),
    ("CA", "09", &["pe", "pei", "prince edward island"]),
    ("CA", "10", &["qc", "quebec"]),
    ("CA", "11", &["sk", "saskatchewan"]),
    ("CA", "12", &["yt", "yukon"]),
    ("CA", "13", &["nt", "northwest territories"]),
    ("CA", "14", &["nu", "nunavut"]),
    ("GB", "ENG", &["england"]),
    ("GB", "NIR", &["northern ireland"]),
    ("GB", "SCT", &["scotland"]),
    ("GB", "WLS", &["wales"]),
    ("US", "AL", &["al", "alabama"]),
    ("US", "AK", &["ak", "alaska"]),
    ("US", "AZ", &["az", "arizona"]),
    ("US", "AR", &["ar", "arkansas"]),
    ("US", "CA", &["ca", "california", "calif"]),
    ("US", "CO", &["co", "colorado"]),
    ("US", "CT", &["ct", "connecticut"]),
    ("US", "DC", &["dc", "d c", "district of columbia"]),
    ("US", "DE", &["de", "delaware"]),
    ("US", "FL", &["fl", "florida"]),
    ("US", "GA", &["ga", "georgia"]),
    ("US", "HI", &["hi", "hawaii"]),
    ("US", "IA", &["ia", "iowa"]),
    ("US", "ID", &["id", "idaho"]),
    ("US", "IL", &["il", "illinois"]),
    ("US", "IN", &["in", "indiana"]),
    ("US", "KS", &["ks", "kansas"]),
    ("US", "KY", &["ky", "kentucky"]),
    ("US", "LA", &["la", "louisiana"]),
    ("US", "MA", &["ma", "massachusetts", "mass"]),
    ("US", "MD", &["md", "maryland"]),
    ("US", "ME", &["me", "maine"]),
    ("US", "MI", &["mi", "michigan"]),
    ("US", "MN", &["mn", "minnesota"]),
    ("US", "MO", &["mo", "missouri"]),
    ("US", "MS", &["ms", "mississippi"]),
    ("US", "MT", &["mt", "montana"]),
    ("US", "NC", &["nc", "north carolina"]),
    ("US", "ND", &["nd", "north dakota"]),
    ("US", "NE", &["ne", "nebraska"]),
    ("US", "NH", &["nh", "new hampshire"]),
    ("US", "NJ", &["nj", "new jersey"]),
    ("US", "NM", &["nm", "new mexico"]),
    ("US", "NV", &["nv", "nevada"]),
    ("US", "NY", &["ny", "new york"]),
    ("US", "OH", &["oh", "ohio"]),
    ("US", "OK", &["ok", "oklahoma"]),
    ("US", "OR", &["or", "oregon"]),
    ("US", "PA", &["pa", "pennsylvania", "penna"]),
    ("US", "RI", &["ri", "rhode island"]),
    ("US", "SC", &["sc", "south carolina"]),
    ("US", "SD", &["sd", "south dakota"]),
    ("US", "TN", &["tn", "tennessee"]),
    ("US", "TX", &["tx", "texas"]),
    ("US", "UT", &["ut", "utah"]),
    ("US", "VA", &["va", "virginia"]),
    ("US", "VT", &["vt", "vermont"]),
    ("US", "WA", &["wa", "washington"]),
    ("US", "WI", &["wi", "wisconsin"]),
    ("US", "WV", &["wv", "west virginia"]),
    ("US", "WY", &["wy", "wyoming"]),
];

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
