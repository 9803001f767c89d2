//! The invented world: cities, venues, days, and the productions that take place in them.
//!
//! Everything here is a function of the seed and a number, so nothing has to be remembered to be
//! told again.

use jiff::ToSpan;
use jiff::civil::{Date, time};
use jiff::tz::TimeZone;

use super::GenerateConfig;
use super::dice::{Dice, Purpose};
use super::text::{Template, push_plain};
use super::vocabulary as words;

/// Days that the table of days reaches beyond the configured ones, on both sides: for what lasts
/// several days, series, postponements, and stamps of modification.
const MARGIN_DAYS: i64 = 64;

/// Minutes in a day.
pub(super) const DAY: i64 = 1440;

/// The most shows that one production has.
pub(super) const MAX_SHOWS: usize = 5;

/// One calendar day, written in advance in the forms that feeds use.
pub(super) struct Day {
    /// `2026-06-01`
    pub iso: String,
    /// `20260601`
    pub compact: String,
    /// `01.06.2026`
    pub dotted: String,
    /// 0 for Monday.
    pub weekday: usize,
}

pub(super) struct City {
    pub words: &'static words::CityWords,
    /// Minutes east of Greenwich at noon, by day of the table. No event begins or ends at an hour
    /// at which clocks change.
    offsets: Vec<i64>,
}

pub(super) struct Venue {
    pub city: usize,
    pub name: String,
    /// What other people call it.
    pub other_name: String,
    pub street: String,
    pub postal: String,
    pub lat_e7: i64,
    pub lon_e7: i64,
}

pub(super) struct World {
    pub seed: u64,
    pub cities: Vec<City>,
    pub venues: Vec<Venue>,
    days: Vec<Day>,
    first_day: i64,
    day_count: u64,
    pub openings: Vec<Vec<Template>>,
    pub bodies: Vec<Template>,
    pub practical: Vec<Template>,
    slot_step: u64,
}

/// How the shows of a production belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    /// One show.
    Single,
    /// The same on several nights.
    Run,
    /// The same twice on one day.
    Matinee,
    /// The same in several cities.
    Tour,
    /// Parts of a festival on one day, under different names.
    Sessions,
    /// The same every week.
    Weekly,
}

/// A kind of event.
pub(super) struct Category {
    /// schema.org type.
    pub schema_type: &'static str,
    /// What sources call it: plural, singular, lower case.
    pub words: [&'static str; 3],
    /// Prefix that some put before the title.
    pub prefix: &'static str,
    weight: u32,
    starts: &'static [i64],
    durations: &'static [i64],
    plans: &'static [(Plan, u32)],
    /// Lowest prices in cents.
    prices: &'static [i64],
}

const fn hm(hour: i64, minute: i64) -> i64 {
    hour * 60 + minute
}

const EVENING: &[i64] = &[hm(19, 0), hm(19, 30), hm(20, 0), hm(20, 30), hm(21, 0), hm(18, 30)];

macro_rules! category {
    ($schema:literal, $words:expr, $prefix:literal, $weight:literal, $starts:expr, $durations:expr, $plans:expr, $prices:expr) => {
        Category {
            schema_type: $schema,
            words: $words,
            prefix: $prefix,
            weight: $weight,
            starts: $starts,
            durations: $durations,
            plans: $plans,
            prices: $prices,
        }
    };
}

/// The kinds of event, in the order of [`words::OPENINGS`]; weights sum to 100.
pub(super) const CATEGORIES: [Category; 12] = [
    category!(
        "MusicEvent",
        ["Concerts", "Concert", "live music"],
        "Live: ",
        24,
        EVENING,
        &[120, 150, 180],
        &[(Plan::Tour, 8), (Plan::Run, 3)],
        &[800, 1200, 1500, 2250, 2800, 3500]
    ),
    category!(
        "ComedyEvent",
        ["Comedy", "Stand-up", "comedy"],
        "Comedy: ",
        8,
        EVENING,
        &[75, 90, 120],
        &[(Plan::Tour, 8), (Plan::Run, 5)],
        &[900, 1400, 1800, 2400]
    ),
    category!(
        "TheaterEvent",
        ["Theatre", "Play", "performing arts"],
        "Theatre: ",
        9,
        &[hm(19, 30), hm(20, 0), hm(18, 0)],
        &[90, 120, 150],
        &[(Plan::Run, 18), (Plan::Matinee, 6)],
        &[1200, 1800, 2600, 3200]
    ),
    category!(
        "EducationEvent",
        ["Talks & Lectures", "Lecture", "talks"],
        "Talk: ",
        9,
        &[hm(12, 30), hm(17, 0), hm(18, 0), hm(19, 0)],
        &[60, 75, 90],
        &[],
        &[0, 0, 500, 800]
    ),
    category!(
        "EducationEvent",
        ["Workshops", "Workshop", "classes"],
        "Workshop: ",
        12,
        &[hm(9, 30), hm(10, 0), hm(14, 0), hm(18, 0)],
        &[120, 180, 240],
        &[(Plan::Weekly, 8)],
        &[2500, 3900, 4500, 6500]
    ),
    category!(
        "SocialEvent",
        ["Meetups", "Meetup", "networking"],
        "Meetup: ",
        10,
        &[hm(18, 0), hm(18, 30), hm(19, 0)],
        &[90, 120, 150],
        &[(Plan::Weekly, 4)],
        &[0, 0, 0, 500]
    ),
    category!(
        "Festival",
        ["Festivals", "Festival", "festivals"],
        "Festival: ",
        4,
        &[hm(11, 0), hm(12, 0), hm(14, 0)],
        &[480, 540],
        &[(Plan::Sessions, 45)],
        &[1500, 2500, 4500, 6900]
    ),
    category!(
        "SaleEvent",
        ["Markets & Fairs", "Market", "markets"],
        "Market: ",
        5,
        &[hm(8, 0), hm(9, 0), hm(10, 0)],
        &[240, 300, 360],
        &[(Plan::Weekly, 12)],
        &[0, 0, 0, 300]
    ),
    category!(
        "SportsEvent",
        ["Sports", "Race", "running"],
        "Race: ",
        4,
        &[hm(8, 0), hm(9, 0), hm(10, 0)],
        &[120, 180, 240],
        &[],
        &[1500, 2000, 3500]
    ),
    category!(
        "ScreeningEvent",
        ["Film", "Screening", "cinema"],
        "Film: ",
        5,
        &[hm(17, 30), hm(19, 0), hm(20, 15)],
        &[95, 110, 130],
        &[(Plan::Run, 5)],
        &[700, 900, 1100]
    ),
    category!(
        "ChildrensEvent",
        ["Family", "Children's show", "kids"],
        "Family: ",
        5,
        &[hm(10, 30), hm(11, 0), hm(15, 0)],
        &[45, 60],
        &[(Plan::Matinee, 14)],
        &[500, 700, 900]
    ),
    category!(
        "ExhibitionEvent",
        ["Exhibitions", "Exhibition", "visual arts"],
        "Exhibition: ",
        5,
        &[hm(10, 0), hm(11, 0)],
        &[420, 480],
        &[],
        &[0, 600, 900]
    ),
];

/// Minutes that a session of a festival lasts.
const SESSION: i64 = 120;

const FESTIVAL: usize = 6;
const EXHIBITION: usize = 11;

/// One show of a production: a real-world event.
#[derive(Debug, Clone)]
pub(super) struct Show {
    pub venue: usize,
    /// Local time in minutes since midnight of the base date.
    pub start: i64,
    /// 0 for an event with times, else how many whole days it lasts.
    pub days: i64,
    /// What it is called beside the production's name; may be empty.
    pub tail: String,
}

/// Something put on once or several times.
pub(super) struct Production {
    pub category: &'static Category,
    pub category_index: usize,
    pub plan: Plan,
    /// Who performs, speaks or teaches.
    pub act: String,
    /// First part of the title.
    pub head: String,
    pub host: String,
    pub host_slug: String,
    /// Lowest and highest price in cents; both 0 when free.
    pub price: (i64, i64),
    pub capacity: i64,
    /// Minutes.
    pub duration: i64,
    pub image: u32,
    pub shows: Vec<Show>,
}

impl World {
    pub fn new(config: &GenerateConfig) -> Self {
        let day_count = u64::from(config.days);
        let last = i64::from(config.first_day) + i64::from(config.days) + MARGIN_DAYS;
        let dates: Vec<Date> =
            (-MARGIN_DAYS..=last).map(|offset| config.base_date.saturating_add(offset.days())).collect();
        let cities: Vec<City> =
            words::CITIES.iter().take(config.cities as usize).map(|city| City::new(city, &dates)).collect();
        let venues = venues(config.seed, &cities, config.venues_per_city as usize);
        let slot_step = coprime_step(venues.len() as u64 * day_count);
        Self {
            seed: config.seed,
            cities,
            venues,
            days: dates.iter().map(Day::new).collect(),
            first_day: i64::from(config.first_day),
            day_count,
            openings: words::OPENINGS.iter().map(|all| templates(all)).collect(),
            bodies: templates(words::BODIES),
            practical: templates(words::PRACTICAL),
            slot_step,
        }
    }

    /// The day on which a local or UTC minute falls; the nearest one of the table beyond its ends.
    pub fn day(&self, minute: i64) -> &Day {
        let index = (minute.div_euclid(DAY) + MARGIN_DAYS).clamp(0, self.days.len() as i64 - 1);
        &self.days[index as usize]
    }

    /// Minutes east of Greenwich in a city on the day of a local minute.
    pub fn offset(&self, city: usize, minute: i64) -> i64 {
        let offsets = &self.cities[city].offsets;
        let index = (minute.div_euclid(DAY) + MARGIN_DAYS).clamp(0, offsets.len() as i64 - 1);
        offsets[index as usize]
    }

    /// Venue and day of the n-th production: every pair is used once before any is used again, so
    /// that rooms are not booked twice more often than the number of productions makes necessary.
    fn slot(&self, number: u64) -> (usize, i64) {
        let slots = self.venues.len() as u64 * self.day_count;
        let place = (u128::from(number % slots) * u128::from(self.slot_step)) % u128::from(slots);
        let venues = self.venues.len() as u128;
        ((place % venues) as usize, self.first_day + (place / venues) as i64)
    }

    /// The n-th production.
    pub fn production(&self, number: u64) -> Production {
        let mut dice = Dice::new(self.seed, Purpose::Production, number, 0);
        let (venue, day) = self.slot(number);
        let category_index = weighted(dice.below(100), CATEGORIES.iter().map(|category| category.weight));
        let category = &CATEGORIES[category_index];
        let (act, head, tail) = name(&mut dice, category_index, self, venue);
        let start = day * DAY + *dice.pick(category.starts);
        let days = match category_index {
            EXHIBITION if dice.percent(70) => dice.between(3, 20),
            FESTIVAL if dice.percent(40) => dice.between(2, 3),
            _ => 0,
        };
        let first = Show { venue, start, days, tail };
        let (plan, shows) = self.plan(&mut dice, category, first);
        let lowest = *dice.pick(category.prices);
        let highest = if lowest > 0 && dice.percent(50) { lowest + 250 * dice.between(2, 12) } else { lowest };
        let host = format!("{} {}", dice.pick(words::VENUE_NAMES), dice.pick(words::HOST_KINDS));
        let mut host_slug = String::with_capacity(host.len());
        push_plain(&mut host_slug, &host, "-");
        Production {
            category,
            category_index,
            plan,
            act,
            head,
            host,
            host_slug,
            price: (lowest, highest),
            capacity: 10 * dice.between(3, 90),
            duration: if plan == Plan::Sessions { SESSION } else { *dice.pick(category.durations) },
            image: dice.below(10_000),
            shows,
        }
    }

    fn plan(&self, dice: &mut Dice, category: &Category, first: Show) -> (Plan, Vec<Show>) {
        let roll = dice.below(100);
        let mut sum = 0;
        let plan = category.plans.iter().find(|(_, percent)| {
            sum += percent;
            roll < sum
        });
        let plan = match plan {
            Some((Plan::Tour, _)) if self.cities.len() < 2 => Plan::Run,
            Some((Plan::Sessions, _)) if first.days > 0 => Plan::Single,
            Some((plan, _)) => *plan,
            None => Plan::Single,
        };
        (plan, self.shows(dice, plan, first))
    }

    fn shows(&self, dice: &mut Dice, plan: Plan, first: Show) -> Vec<Show> {
        let at = |start: i64| Show { start, ..first.clone() };
        let midnight = first.start.div_euclid(DAY) * DAY;
        match plan {
            Plan::Single => vec![first],
            Plan::Run => (0..dice.between(2, 4)).map(|night| at(first.start + night * DAY)).collect(),
            Plan::Matinee => vec![at(midnight + hm(14, 0)), at(midnight + hm(19, 30))],
            Plan::Weekly => (0..dice.between(3, 4)).map(|week| at(first.start + week * 7 * DAY)).collect(),
            Plan::Sessions => {
                let skip = dice.index(words::SESSIONS.len());
                let sessions = words::SESSIONS.iter().cycle().skip(skip);
                let starts = [hm(10, 0), hm(13, 0), hm(16, 30), hm(20, 0)];
                sessions
                    .zip(starts)
                    .map(|(tail, start)| Show { tail: (*tail).into(), ..at(midnight + start) })
                    .collect()
            }
            Plan::Tour => {
                let stops = self.cities.len().min(dice.between(2, 4) as usize);
                let per_city = self.venues.len() / self.cities.len();
                let home = self.venues[first.venue].city;
                let gap = dice.between(1, 3);
                let stop = |index: usize, dice: &mut Dice| {
                    let city = (home + index) % self.cities.len();
                    let venue = if index == 0 { first.venue } else { city * per_city + dice.index(per_city) };
                    Show { venue, ..at(first.start + index as i64 * gap * DAY) }
                };
                (0..stops).map(|index| stop(index, dice)).collect()
            }
        }
    }
}

impl Day {
    fn new(date: &Date) -> Self {
        let (year, month, day) = (date.year(), date.month(), date.day());
        Self {
            iso: format!("{year:04}-{month:02}-{day:02}"),
            compact: format!("{year:04}{month:02}{day:02}"),
            dotted: format!("{day:02}.{month:02}.{year:04}"),
            weekday: date.weekday().to_monday_zero_offset().unsigned_abs() as usize,
        }
    }
}

impl City {
    fn new(city: &'static words::CityWords, dates: &[Date]) -> Self {
        let zone = TimeZone::get(city.zone).unwrap_or(TimeZone::UTC);
        let offset = |date: &Date| {
            let noon = date.to_datetime(time(12, 0, 0, 0)).to_zoned(zone.clone());
            noon.map_or(0, |noon| i64::from(noon.offset().seconds() / 60))
        };
        Self { words: city, offsets: dates.iter().map(offset).collect() }
    }
}

/// `per_city` venues of each city, in the order of the cities. Names differ within a city.
fn venues(seed: u64, cities: &[City], per_city: usize) -> Vec<Venue> {
    let mut all = Vec::with_capacity(cities.len() * per_city);
    for (index, city) in cities.iter().enumerate() {
        let mut dice = Dice::new(seed, Purpose::Venues, index as u64, 0);
        let shift = dice.index(words::VENUE_NAMES.len());
        all.extend((0..per_city).map(|number| venue(&mut dice, index, city.words, number, shift)));
    }
    all
}

fn venue(dice: &mut Dice, city: usize, words: &words::CityWords, number: usize, shift: usize) -> Venue {
    let names = words::VENUE_NAMES.len();
    // Name and kind run through all their pairs; the kind also moves with the name, so that the
    // first venues of a city are of different kinds.
    let name = words::VENUE_NAMES[(number + shift) % names];
    let (kind, other_kind) = words::VENUE_KINDS[(number + number / names) % words::VENUE_KINDS.len()];
    let house = dice.between(1, 180);
    let street = *dice.pick(words.streets);
    let house_first = !matches!(words.code, "DE" | "NL" | "ES" | "SE");
    Venue {
        city,
        name: format!("{name} {kind}"),
        other_name: format!("{name} {other_kind}"),
        street: if house_first { format!("{house} {street}") } else { format!("{street} {house}") },
        postal: format!("{}{:02}", words.postal, dice.below(100)),
        lat_e7: words.lat_e7 + dice.between(-400_000, 400_000),
        lon_e7: words.lon_e7 + dice.between(-500_000, 500_000),
    }
}

/// Act, head and tail of a title.
fn name(dice: &mut Dice, category: usize, world: &World, venue: usize) -> (String, String, String) {
    let adjective = *dice.pick(words::ADJECTIVES);
    let noun = *dice.pick(words::NOUNS);
    let wonder = *dice.pick(words::PLACES_OF_WONDER);
    let topic = *dice.pick(words::TOPICS);
    let ing = *dice.pick(words::VERBS_ING);
    let person = person(dice);
    let other = *dice.pick(words::ADJECTIVES);
    let local = *dice.pick(words::VENUE_NAMES);
    let city = world.cities[world.venues[venue].city].words.name;
    match category {
        0 => {
            let act = match dice.below(4) {
                0 => format!("The {adjective} {noun}"),
                1 => format!("{adjective} {noun}"),
                2 => format!("{person} {}", dice.pick(words::ENSEMBLES)),
                _ => format!("{adjective} {noun} {}", dice.pick(words::ENSEMBLES)),
            };
            let tail = match dice.below(5) {
                0 => format!("{other} {wonder} Tour"),
                1 => format!("{ing} the {wonder}"),
                2 => format!("An Evening of {other} Songs"),
                3 => "Album Release Show".to_owned(),
                _ => String::new(),
            };
            (act.clone(), act, tail)
        }
        1 => (person.clone(), person, format!("{ing} the {wonder}")),
        2 => {
            let head = match dice.below(3) {
                0 => format!("The {wonder} of {adjective} {noun}"),
                1 => format!("{ing} the {adjective} {wonder}"),
                _ => format!("{adjective} {noun} in the {wonder}"),
            };
            let tail = if dice.percent(40) { format!("A Play by {person}") } else { String::new() };
            (format!("{other} {} Theatre Company", dice.pick(words::NOUNS)), head, tail)
        }
        3 => {
            let head = match dice.below(3) {
                0 => format!("{topic} and the {adjective} {wonder}"),
                1 => format!("What {topic} Teaches Us about {noun}"),
                _ => format!("The {adjective} Future of {topic}"),
            };
            (person.clone(), head, format!("A Talk by {person}"))
        }
        4 => {
            let head = match dice.below(3) {
                0 => format!("{topic} for Beginners with {person}"),
                1 => format!("{topic} Workshop with {person}"),
                _ => format!("Introduction to {topic} with {person}"),
            };
            (person, head, String::new())
        }
        5 => (person, format!("{city} {topic} Meetup"), format!("{ing} {adjective} {noun}")),
        6 => (
            format!("{adjective} {noun}"),
            format!("{local} {adjective} {} Festival", dice.pick(words::THEMES)),
            String::new(),
        ),
        7 => {
            let kind = *dice.pick(&["Farmers'", "Flea", "Makers'", "Night", "Vintage", "Plant", "Book", "Record"]);
            (person, format!("{local} {adjective} {kind} Market"), String::new())
        }
        8 => {
            let kind = *dice.pick(&["5K", "10K", "Half Marathon", "Trail Run", "Bike Ride", "Relay"]);
            (person, format!("{adjective} {local} {kind}"), String::new())
        }
        9 => (person.clone(), format!("{ing} the {adjective} {wonder}"), format!("A Film by {person}")),
        10 => {
            let animal = *dice.pick(words::ANIMALS);
            (person.clone(), format!("The {adjective} {animal} and the {wonder}"), format!("Stories with {person}"))
        }
        _ => (person.clone(), person, format!("{adjective} {noun}")),
    }
}

fn person(dice: &mut Dice) -> String {
    format!("{} {}", dice.pick(words::FIRST_NAMES), dice.pick(words::LAST_NAMES))
}

fn templates(all: &[&'static str]) -> Vec<Template> {
    all.iter().map(|text| Template::parse(text)).collect()
}

/// The index into `weights` at which their running sum exceeds `roll`; the last one beyond it.
pub(super) fn weighted(roll: u32, weights: impl ExactSizeIterator<Item = u32>) -> usize {
    let last = weights.len().saturating_sub(1);
    let mut sum = 0;
    for (index, weight) in weights.enumerate() {
        sum += weight;
        if roll < sum {
            return index;
        }
    }
    last
}

/// A step near 0.618 of `size` with no common divisor with it: multiples of it visit every number
/// below `size` once, far from one another.
fn coprime_step(size: u64) -> u64 {
    let start = size / 1000 * 618 + size % 1000 * 618 / 1000;
    (start.max(1)..=size).find(|step| gcd(*step, size) == 1).unwrap_or(1)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn world() -> World {
        World::new(&GenerateConfig { days: 30, venues_per_city: 20, cities: 4, ..GenerateConfig::default() })
    }

    #[test]
    fn every_venue_and_day_is_used_once_before_any_is_used_again() {
        let world = world();
        let slots = 30 * 20 * 4;
        let seen: HashSet<_> = (0..slots).map(|number| world.slot(number)).collect();
        assert_eq!(seen.len() as u64, slots);
        assert!(seen.iter().all(|(venue, day)| *venue < 80 && (1..31).contains(day)));
    }

    #[test]
    fn venues_of_a_city_have_different_names() {
        let config = GenerateConfig { venues_per_city: super::super::MAX_VENUES_PER_CITY, ..GenerateConfig::default() };
        let world = World::new(&config);
        let names: HashSet<_> = world.venues.iter().map(|venue| (venue.city, venue.name.clone())).collect();
        assert_eq!(names.len(), world.venues.len());
    }

    #[test]
    fn weights_and_chances_are_percentages() {
        assert_eq!(CATEGORIES.iter().map(|category| category.weight).sum::<u32>(), 100);
        assert!(
            CATEGORIES.iter().all(|category| category.plans.iter().map(|(_, percent)| percent).sum::<u32>() <= 100)
        );
    }

    #[test]
    fn offsets_follow_the_zone() {
        let config = GenerateConfig { base_date: "2026-03-01".parse().unwrap(), ..GenerateConfig::default() };
        let world = World::new(&config);
        assert_eq!(world.cities[0].words.zone, "Europe/Berlin");
        assert_eq!(world.offset(0, 20 * 60), 60);
        assert_eq!(world.offset(0, 29 * DAY + 20 * 60), 120); // 30 March: summer time since the 29th
        assert_eq!(world.day(29 * DAY + 20 * 60).iso, "2026-03-30");
        assert_eq!(world.day(-1).dotted, "28.02.2026");
    }

    #[test]
    fn the_shows_of_a_production_are_at_different_times() {
        let world = world();
        for number in 0..2000 {
            let production = world.production(number);
            assert!((1..=MAX_SHOWS).contains(&production.shows.len()));
            let starts: HashSet<i64> = production.shows.iter().map(|show| show.start).collect();
            assert_eq!(starts.len(), production.shows.len(), "{}", production.head);
            let ends = starts.iter().map(|start| start.rem_euclid(DAY) + production.duration);
            assert!(ends.max() <= Some(DAY + 60), "clocks may change at the end of {}", production.head);
        }
    }
}
