//! The cities of the gazetteer: `data/cities.tsv`, read once.

use std::collections::HashMap;
use std::sync::OnceLock;

use xxhash_rust::xxh3::xxh3_64;

use super::names::OTHER_NAMES;
use crate::listing::Point;
use crate::words::fold;

static DATA: &str = include_str!("../../data/cities.tsv");

/// People of a city of which their number is not known.
const FEW_PEOPLE: u32 = 500;

/// Share of the people of an area that have to live in one time zone for it to be the area's.
const MOST_PEOPLE: f64 = 0.9;

/// A city, or a town, or a village.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Town {
    /// Its centre.
    pub point: Point,
    /// About how many people live there.
    pub people: u32,
    /// ISO 3166 two-letter code of its country.
    pub country: &'static str,
    /// The code of its region in GeoNames; empty where there is none.
    pub region: &'static str,
    /// IANA name of its time zone.
    pub zone: &'static str,
}

/// Cities that have country, region and time zone in common.
#[derive(Debug)]
struct Group {
    country: &'static str,
    region: &'static str,
    zone: &'static str,
}

#[derive(Debug)]
struct City {
    point: Point,
    people: u32,
    group: u16,
}

/// All cities, by name and by place.
#[derive(Debug)]
pub(super) struct Cities {
    groups: Vec<Group>,
    cities: Vec<City>,
    /// Hash of the folded name, then the index into the cities; sorted.
    names: Vec<(u64, u32)>,
    /// Likewise for other names of large cities.
    others: Vec<(u64, u32)>,
    by_degree: OnceLock<HashMap<(i16, i16), Vec<u32>>>,
    zones: OnceLock<Zones>,
}

/// The time zone of each area that has one for nearly all of its people: of countries under an empty region.
type Zones = HashMap<(&'static str, &'static str), &'static str>;

impl Cities {
    pub(super) fn read() -> Self {
        let mut cities = Self {
            groups: Vec::new(),
            cities: Vec::new(),
            names: Vec::new(),
            others: Vec::new(),
            by_degree: OnceLock::new(),
            zones: OnceLock::new(),
        };
        for line in DATA.lines().filter(|line| !line.starts_with('#')) {
            match line.strip_prefix('=') {
                Some(group) => cities.add_group(group),
                None => cities.add_city(line),
            }
        }
        cities.names.sort_unstable();
        cities.others.sort_unstable();
        cities
    }

    fn add_group(&mut self, line: &'static str) {
        let mut fields = line.split('\t');
        let mut next = || fields.next().unwrap_or_default();
        self.groups.push(Group { country: next(), region: next(), zone: next() });
    }

    /// Adds a city; a line that is none adds nothing.
    fn add_city(&mut self, line: &'static str) {
        let mut fields = line.split('\t');
        let Some(name) = fields.next() else { return };
        let mut number = || fields.next().and_then(|text| text.parse::<i32>().ok());
        let (Some(lat), Some(lon), Some(people)) = (number(), number(), number()) else { return };
        let Some(point) = Point::from_degrees(f64::from(lat) / 1e3, f64::from(lon) / 1e3) else { return };
        let Some(group) = self.groups.len().checked_sub(1).and_then(|group| u16::try_from(group).ok()) else { return };
        let Ok(index) = u32::try_from(self.cities.len()) else { return };
        let people = u32::try_from(people).unwrap_or(0).max(FEW_PEOPLE);
        self.cities.push(City { point, people, group });
        self.names.push((name_hash(&city_name(name)), index));
        self.others.extend(fields.map(|other| (name_hash(&city_name(other)), index)));
    }

    fn town(&self, index: u32) -> Option<Town> {
        let city = self.cities.get(index as usize)?;
        let group = self.groups.get(usize::from(city.group))?;
        let Group { country, region, zone } = *group;
        Some(Town { point: city.point, people: city.people, country, region, zone })
    }

    /// The cities of a folded name. Those that are better known by another one are among them with `others`.
    pub(super) fn named(&self, name: &str, others: bool) -> Vec<Town> {
        let hash = name_hash(name);
        let same = |names: &'_ [(u64, u32)]| -> Vec<u32> {
            let start = names.partition_point(|(other, _)| *other < hash);
            let rest = names.get(start..).unwrap_or_default();
            rest.iter().take_while(|(other, _)| *other == hash).map(|(_, index)| *index).collect()
        };
        let mut found = same(&self.names);
        if others {
            found.extend(same(&self.others));
        }
        let mut towns: Vec<Town> = found.into_iter().filter_map(|index| self.town(index)).collect();
        for (_, to, country) in OTHER_NAMES.iter().filter(|(from, ..)| *from == name) {
            let hash = name_hash(to);
            let start = self.names.partition_point(|(other, _)| *other < hash);
            let rest = self.names.get(start..).unwrap_or_default();
            let same = rest.iter().take_while(|(other, _)| *other == hash).filter_map(|(_, index)| self.town(*index));
            towns.extend(same.filter(|town| town.country == *country).max_by_key(|town| town.people));
        }
        towns
    }

    /// The city nearest to a point, within about a degree.
    pub(super) fn nearest(&self, point: &Point, country: Option<&str>) -> Option<Town> {
        let by_degree = self.by_degree.get_or_init(|| {
            let mut cells: HashMap<_, Vec<u32>> = HashMap::new();
            for (index, city) in (0..).zip(&self.cities) {
                cells.entry(cell(&city.point)).or_default().push(index);
            }
            cells
        });
        let (lat, lon) = cell(point);
        let cells = (-1..=1).flat_map(|north| (-1..=1).map(move |east| (lat + north, lon + east)));
        let near = cells.filter_map(|cell| by_degree.get(&cell)).flatten().filter_map(|index| self.town(*index));
        near.filter(|town| country.is_none_or(|country| town.country == country))
            .min_by(|a, b| a.point.distance_m(point).total_cmp(&b.point.distance_m(point)))
    }

    /// The time zone of a country, or of a region of it.
    pub(super) fn zone_of(&self, country: &str, region: &str) -> Option<&'static str> {
        let zones = self.zones.get_or_init(|| self.read_zones());
        zones.iter().find(|((of, part), _)| *of == country && *part == region).map(|(_, zone)| *zone)
    }

    fn read_zones(&self) -> Zones {
        let mut people: HashMap<_, HashMap<&'static str, f64>> = HashMap::new();
        for city in &self.cities {
            let Some(Group { country, region, zone }) = self.groups.get(usize::from(city.group)) else { continue };
            for part in [*region, ""] {
                *people.entry((*country, part)).or_default().entry(*zone).or_default() += f64::from(city.people);
            }
        }
        let most = |zones: HashMap<&'static str, f64>| {
            let all: f64 = zones.values().sum();
            zones.into_iter().find(|(_, people)| *people >= all * MOST_PEOPLE).map(|(zone, _)| zone)
        };
        people.into_iter().filter_map(|(area, zones)| Some((area, most(zones)?))).collect()
    }
}

/// The cell of one degree in which a point lies.
fn cell(point: &Point) -> (i16, i16) {
    (point.latitude().floor() as i16, point.longitude().floor() as i16)
}

/// A folded name, with usual abbreviations spelt out.
pub(super) fn city_name(text: &str) -> String {
    let name = fold(text);
    if !name.split(' ').any(|word| matches!(word, "st" | "ste" | "ft" | "mt")) {
        return name;
    }
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
