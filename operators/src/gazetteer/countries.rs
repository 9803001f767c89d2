//! Countries and the regions by which their cities are told apart, by the names that people use.

use std::collections::HashMap;
use std::sync::LazyLock;

use isocountry::CountryCode;

use crate::words::fold;

/// A part of a country, by the country's ISO code and the code of the region in GeoNames.
pub(super) type Region = (&'static str, &'static str);

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
pub(super) fn regions_named(text: &str) -> Vec<Region> {
    let text = fold(text);
    let named = REGIONS.iter().filter(|(_, _, names)| names.iter().any(|name| *name == text));
    named.map(|(country, code, _)| (*country, *code)).collect()
}

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

/// The states in which a ZIP code can lie, by its first digit.
pub(super) fn regions_of_zip(code: &str) -> Vec<Region> {
    const STATES: [&str; 10] = [
        "CT MA ME NH NJ RI VT",
        "DE NY PA",
        "DC MD NC SC VA WV",
        "AL FL GA MS TN",
        "IN KY MI OH",
        "IA MN MT ND SD WI",
        "IL KS MO NE",
        "AR LA OK TX",
        "AZ CO ID NM NV UT WY",
        "AK CA HI OR WA",
    ];
    let first = code.bytes().next().filter(u8::is_ascii_digit).map(|digit| usize::from(digit - b'0'));
    let states = first.filter(|_| code.len() >= 5).and_then(|first| STATES.get(first)).copied().unwrap_or_default();
    states.split_ascii_whitespace().map(|state| ("US", state)).collect()
}

/// What a name means beside a city.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Area {
    /// A country, and one is meant in which no city is looked for.
    Country,
    /// The country in which the city is looked for.
    OwnCountry,
    /// A region.
    Region,
}

/// The area that a folded name stands for, unless `country` says that something in another country is meant.
pub(super) fn area(name: &str, country: Option<&str>) -> Option<Area> {
    let of_country = COUNTRY_NAMES.get(name).copied().or_else(|| COUNTRY_CODES.get(&code_letters(name)?).copied());
    match (of_country, country) {
        (Some(_), None) => return Some(Area::Country),
        (Some(code), Some(country)) if code == country => return Some(Area::OwnCountry),
        (Some(_), Some(_)) => return None,
        (None, _) => {}
    }
    let here = |code: &str| country.is_none_or(|country| country == code);
    let region = REGIONS.iter().any(|(code, _, names)| names.contains(&name) && here(code));
    (region || OTHER_REGIONS.contains(&name)).then_some(Area::Region)
}

/// Regions of other countries that towns elsewhere have their names from, folded.
const OTHER_REGIONS: &[&str] = &[
    "andalucia",
    "andalusia",
    "aquitaine",
    "baden wurttemberg",
    "bavaria",
    "bayern",
    "bohemia",
    "brittany",
    "bretagne",
    "burgundy",
    "catalonia",
    "cataluna",
    "catalunya",
    "corsica",
    "crete",
    "east anglia",
    "flanders",
    "galicia",
    "hesse",
    "hessen",
    "kerala",
    "lombardia",
    "lombardy",
    "lower saxony",
    "maharashtra",
    "moravia",
    "niedersachsen",
    "normandie",
    "normandy",
    "north island",
    "provence",
    "punjab",
    "rajasthan",
    "saarland",
    "sachsen",
    "sardinia",
    "saxony",
    "sicilia",
    "sicily",
    "silesia",
    "south island",
    "tamil nadu",
    "thuringia",
    "thuringen",
    "toscana",
    "transylvania",
    "tuscany",
    "tyrol",
    "tirol",
    "ulster",
    "vlaanderen",
    "wallonia",
];
