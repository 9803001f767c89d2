//! Names that are no zones of the tz database, but stand for one: abbreviations, what calendars and
//! operating systems show to people in several languages, cities.

use std::collections::HashMap;
use std::sync::LazyLock;

use jiff::tz::TimeZoneDatabase;

use crate::words::fold;

/// The zone that people mean by a name, in the tz database; `None` where it says too little or several
/// things.
pub(super) fn meant(name: &str) -> Option<&'static str> {
    let name = fold(name);
    let known = |name: &str| NAMES.get(name).copied();
    known(&name).or_else(|| known(&standard_of(&name)?)).or_else(|| CITIES.get(&name).map(String::as_str))
}

/// The zone of a city that gives a zone its name: `zurich` is `Europe/Zurich`.
pub(super) fn of_city(name: &str) -> Option<&'static str> {
    CITIES.get(&fold(name)).map(String::as_str)
}

/// The zone in which these are the offsets in winter and in summer, in minutes: the one with the most
/// people.
pub(super) fn by_offsets(standard_min: i32, daylight_min: i32) -> Option<&'static str> {
    let zones = [
        (-600, -540, "America/Adak"),
        (-540, -480, "America/Anchorage"),
        (-480, -420, "America/Los_Angeles"),
        (-420, -360, "America/Denver"),
        (-360, -300, "America/Chicago"),
        (-300, -240, "America/New_York"),
        (-240, -180, "America/Halifax"),
        (-210, -150, "America/St_Johns"),
        (0, 60, "Europe/London"),
        (60, 120, "Europe/Berlin"),
        (120, 180, "Europe/Athens"),
        (570, 630, "Australia/Adelaide"),
        (600, 660, "Australia/Sydney"),
        (720, 780, "Pacific/Auckland"),
    ];
    zones
        .into_iter()
        .find(|(standard, daylight, _)| (*standard, *daylight) == (standard_min, daylight_min))
        .map(|zone| zone.2)
}

/// The name of standard time for one of summer time: `pacific daylight time` is `pacific standard time`.
fn standard_of(name: &str) -> Option<String> {
    let said = [" daylight time", " summer time", " time"].into_iter().find_map(|end| name.strip_suffix(end))?;
    Some(format!("{said} standard time"))
}

/// Zones by the last part of their names, folded; of several with one city the first.
static CITIES: LazyLock<HashMap<String, String>> = LazyLock::new(|| {
    let database = TimeZoneDatabase::bundled();
    let mut cities = HashMap::new();
    for name in database.available() {
        let name = name.as_str();
        let Some((area, city)) = name.rsplit_once('/') else { continue };
        if ["Etc", "SystemV", "US", "Canada", "Brazil", "Mexico", "Chile"].contains(&area) {
            continue;
        }
        cities.entry(fold(&city.replace('_', " "))).or_insert_with(|| name.to_owned());
    }
    cities
});

static NAMES: LazyLock<HashMap<&'static str, &'static str>> =
    LazyLock::new(|| ZONES.iter().flat_map(|(zone, names)| names.iter().map(|name| (*name, *zone))).collect());

/// Zones and their other names, folded. Abbreviations that stand for several zones in as many countries
/// (IST, CST of China) are left out, but for those of North America.
const ZONES: &[(&str, &[&str])] = &[
    (
        "UTC",
        &[
            "z",
            "zulu",
            "utc",
            "coordinated universal time",
            "universal time",
            "tzone microsoft utc",
            "koordinierte weltzeit",
            "temps universel coordonne",
        ],
    ),
    (
        "Europe/London",
        &[
            "bst",
            "british summer time",
            "british standard time",
            "greenwich mean time",
            "gmt standard time",
            "uk",
            "gmt uk",
            "westeuropaische zeit",
            "westeuropaische standardzeit",
        ],
    ),
    ("Europe/Dublin", &["irish standard time"]),
    ("WET", &["west", "western european time", "western european standard time", "wez", "wesz"]),
    (
        "Europe/Berlin",
        &[
            "w europe",
            "w europe standard time",
            "west europe standard time",
            "mitteleuropaische zeit",
            "mitteleuropaische normalzeit",
            "mitteleuropaische standardzeit",
            "mitteleuropaische sommerzeit",
            "westeuropa",
            "west europa standaardtijd",
        ],
    ),
    (
        "CET",
        &[
            "cest",
            "mez",
            "mesz",
            "mewt",
            "mest",
            "central european standard time",
            "central europe standard time",
            "europa centrale",
            "ora standard europa centrale",
            "hora de europa central",
            "hora estandar de europa central",
            "hora de verano de europa central",
            "midden europese tijd",
            "midden europese standaardtijd",
            "midden europese zomertijd",
            "czas srodkowoeuropejski",
            "stredoevropsky cas",
        ],
    ),
    (
        "Europe/Paris",
        &[
            "romance",
            "romance standard time",
            "paris madrid",
            "paris madrid heure d ete",
            "heure d europe centrale",
            "heure deurope centrale",
            "heure normale deurope centrale",
            "heure dete deurope centrale",
            "europe centrale",
        ],
    ),
    (
        "EET",
        &[
            "eest",
            "oez",
            "oesz",
            "eastern european time",
            "eastern european standard time",
            "osteuropaische zeit",
            "osteuropaische normalzeit",
            "osteuropaische sommerzeit",
        ],
    ),
    ("Europe/Helsinki", &["fle standard time"]),
    ("Europe/Bucharest", &["gtb standard time"]),
    ("Europe/Moscow", &["msk", "msd", "moscow standard time", "russian standard time"]),
    ("Europe/Istanbul", &["trt", "turkey standard time"]),
    (
        "America/New_York",
        &[
            "et",
            "edt",
            "eastern",
            "us eastern",
            "eastern standard time",
            "us eastern standard",
            "eastern time us canada",
            "heure de lest",
            "heure normale de lest",
            "heure avancee de lest",
        ],
    ),
    (
        "America/Chicago",
        &["ct", "cdt", "cst", "central", "us central", "central standard time", "central time us canada"],
    ),
    ("America/Denver", &["mt", "mdt", "mountain", "us mountain", "mountain standard time", "mountain time us canada"]),
    (
        "America/Los_Angeles",
        &["pt", "pst", "pdt", "pacific", "us pacific", "pacific standard time", "pacific time us canada"],
    ),
    ("America/Phoenix", &["arizona", "us mountain standard time"]),
    ("America/Anchorage", &["akt", "akst", "akdt", "alaska", "alaska standard time", "alaskan standard time"]),
    ("Pacific/Honolulu", &["hawaii", "hdt", "hawaii standard time", "hawaiian standard time"]),
    ("America/Halifax", &["adt", "atlantic standard time", "atlantic time canada"]),
    ("America/St_Johns", &["nst", "ndt", "newfoundland", "newfoundland standard time"]),
    ("America/Regina", &["saskatchewan", "canada central standard time"]),
    (
        "America/Sao_Paulo",
        &["brt", "brasilia", "brasilia standard time", "horario de brasilia", "e south america standard time"],
    ),
    ("America/Argentina/Buenos_Aires", &["art", "argentina standard time"]),
    ("Asia/Tokyo", &["jst", "japan standard time", "tokyo standard time"]),
    ("Asia/Seoul", &["kst", "korea standard time"]),
    ("Asia/Kolkata", &["india standard time", "indian standard time", "chennai kolkata mumbai new delhi"]),
    ("Asia/Shanghai", &["china standard time", "beijing"]),
    ("Asia/Hong_Kong", &["hkt"]),
    ("Asia/Singapore", &["sgt", "singapore standard time"]),
    ("Asia/Jerusalem", &["idt", "israel standard time"]),
    ("Asia/Dubai", &["gst", "gulf standard time", "arabian standard time"]),
    ("Africa/Johannesburg", &["sast", "south africa standard time"]),
    ("Australia/Sydney", &["aest", "aedt", "aet", "australian eastern standard time", "aus eastern standard time"]),
    ("Australia/Brisbane", &["e australia standard time"]),
    ("Australia/Adelaide", &["acst", "acdt", "australian central standard time", "cen australia standard time"]),
    ("Australia/Perth", &["awst", "australian western standard time", "w australia standard time"]),
    ("Pacific/Auckland", &["nzst", "nzdt", "nzt", "new zealand standard time"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_zone_of_the_table_is_in_the_database() {
        for (zone, names) in ZONES {
            assert!(jiff::tz::TimeZone::get(zone).is_ok(), "{zone}");
            for name in *names {
                assert_eq!(&fold(name), name, "names stand here folded");
            }
        }
    }

    #[test]
    fn each_name_stands_for_one_zone() {
        let mut names: Vec<&str> = ZONES.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    }
}
