//! Sources: in which form each one writes, and how it tells of an event.

use std::sync::Arc;

use super::dice::{Dice, Purpose, scatter40};
use super::text::{Fill, push_digits, push_plain, unaccented};
use super::vocabulary as words;
use super::world::{City, DAY, Plan, Production, Show, Venue, World, weighted};
use super::{Form, Shape};

/// Ways to write a title.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TitleWay {
    /// `Head: Tail`
    Plain,
    /// `Live: Head: Tail`
    Prefixed,
    /// `Host presents Head: Tail`
    Presented,
    /// `Head: Tail @ Venue`
    AtVenue,
    /// `Tail – Head`
    Swapped,
    /// `Fest` for `Festival`, `&` for `and`
    Abbreviated,
    /// `HEAD: TAIL`
    Shouted,
    /// `Head – Tail`, without accents
    Dashed,
    /// `Head: Tail (City)`
    InCity,
}

/// How to read the six styles.
const SOURCES_TOML: &str = include_str!("../../../../config/generated-sources.toml");

/// The habits of a source. Percentages are of its listings.
pub(super) struct Style {
    pub name: &'static str,
    pub form: Form,
    titles: &'static [(TitleWay, u32)],
    /// Whether descriptions are HTML.
    pub html: bool,
    /// How often there are coordinates.
    point: u32,
    /// How far coordinates are off, in 1e-7 degrees either way (1800 is 20 m of latitude).
    jitter: i64,
    /// How often the venue is named.
    venue: u32,
    /// How often the venue goes by its other name.
    other_name: u32,
    /// How often a concert's time is that of the doors, half an hour before the show.
    doors: u32,
    /// How often there is an end.
    end: u32,
    /// How often there is a price.
    price: u32,
    /// How often there is an image.
    image: u32,
    /// Whether records have keys. Records without can be upserted but not withdrawn.
    pub keyed: bool,
    /// The only zone whose events it lists, where its times name none.
    pub home_zone: Option<&'static str>,
}

/// The six styles. More sources are copies of these.
pub(super) const STYLES: [Style; 6] = [
    Style {
        name: "city-guide",
        form: Form::JsonLd,
        titles: &[(TitleWay::Plain, 80), (TitleWay::InCity, 10), (TitleWay::Dashed, 10)],
        html: false,
        point: 95,
        jitter: 0,
        venue: 98,
        other_name: 0,
        doors: 0,
        end: 85,
        price: 80,
        image: 95,
        keyed: true,
        home_zone: None,
    },
    Style {
        name: "ticket-office",
        form: Form::Tickets,
        titles: &[(TitleWay::Plain, 60), (TitleWay::Prefixed, 25), (TitleWay::Presented, 5), (TitleWay::Dashed, 10)],
        html: false,
        point: 90,
        jitter: 1800,
        venue: 100,
        other_name: 30,
        doors: 35,
        end: 60,
        price: 100,
        image: 90,
        keyed: true,
        home_zone: None,
    },
    Style {
        name: "venue-calendars",
        form: Form::Calendar,
        titles: &[(TitleWay::Plain, 65), (TitleWay::Abbreviated, 20), (TitleWay::Dashed, 15)],
        html: false,
        point: 60,
        jitter: 900,
        venue: 100,
        other_name: 0,
        doors: 10,
        end: 90,
        price: 0,
        image: 0,
        keyed: true,
        home_zone: None,
    },
    Style {
        name: "meet-circle",
        form: Form::Circle,
        titles: &[(TitleWay::Plain, 60), (TitleWay::AtVenue, 15), (TitleWay::Swapped, 20), (TitleWay::Presented, 5)],
        html: true,
        point: 85,
        jitter: 1800,
        venue: 92,
        other_name: 40,
        doors: 0,
        end: 80,
        price: 70,
        image: 85,
        keyed: true,
        home_zone: None,
    },
    Style {
        name: "town-crier",
        form: Form::JsonLdGraph,
        titles: &[(TitleWay::Shouted, 45), (TitleWay::Plain, 30), (TitleWay::Abbreviated, 20), (TitleWay::Swapped, 5)],
        html: true,
        point: 15,
        jitter: 0,
        venue: 97,
        other_name: 25,
        doors: 0,
        end: 40,
        price: 50,
        image: 30,
        keyed: false,
        home_zone: None,
    },
    Style {
        name: "campus-board",
        form: Form::Campus,
        titles: &[(TitleWay::Plain, 70), (TitleWay::Dashed, 30)],
        html: false,
        point: 70,
        jitter: 1800,
        venue: 95,
        other_name: 10,
        doors: 0,
        end: 90,
        price: 40,
        image: 20,
        keyed: true,
        home_zone: Some("Europe/Berlin"),
    },
];

/// A source: a style under a name.
pub(super) struct Source {
    pub name: Arc<str>,
    pub style: &'static Style,
    /// Its place among the sources; salts its ids and its choices.
    pub index: u64,
}

/// `count` sources that write in one of `shapes`: the styles in turn, the copies numbered from 2.
pub(super) fn sources(count: u32, shapes: &[Shape]) -> Vec<Source> {
    let styles: Vec<&'static Style> = STYLES.iter().filter(|style| shapes.contains(&style.form.shape())).collect();
    let rounds = (1u32..).flat_map(|round| styles.iter().map(move |style| (round, *style)));
    let named = rounds.take(if styles.is_empty() { 0 } else { count as usize });
    named
        .enumerate()
        .map(|(index, (round, style))| Source {
            name: if round == 1 { style.name.into() } else { format!("{}-{round}", style.name).into() },
            style,
            index: index as u64,
        })
        .collect()
}

/// The configuration by which extraction reads the sources that a [`GenerateConfig`] with these
/// values has: TOML with one table `[sources.<name>]` each, and their subtables.
///
/// [`GenerateConfig`]: super::GenerateConfig
pub fn source_config_toml(count: u32, shapes: &[Shape]) -> String {
    let mut out = String::new();
    for source in sources(count, shapes) {
        let (original, copy) = (format!("[sources.{}", source.style.name), format!("[sources.{}", source.name));
        let tables = SOURCES_TOML.split_inclusive('\n').scan(false, |inside, line| {
            if line.starts_with('[') {
                *inside = line.starts_with(&original);
            }
            Some(if *inside { line } else { "" })
        });
        let text: String = tables.collect();
        out.push_str(&text.replace(&original, &copy));
    }
    out
}

impl Source {
    /// Its id for the event of this number; different for every number below 2^40.
    pub fn external_id(&self, event: u64) -> String {
        let scattered = scatter40(event, 2 * self.index + 1);
        let mut id = String::with_capacity(40);
        match self.style.form {
            Form::JsonLd => push_digits(&mut id, scattered, 16, 10),
            Form::Tickets => {
                id.push_str("TK");
                push_digits(&mut id, scattered, 10, 12);
            }
            Form::Calendar => {
                push_digits(&mut id, scattered, 36, 8);
                id.push_str("@cal.");
                id.push_str(&self.name);
                id.push_str(".example");
            }
            Form::Circle => push_digits(&mut id, scattered + 1_000_000, 10, 1),
            Form::JsonLdGraph => {
                id.push_str("crier-");
                push_digits(&mut id, scattered, 36, 8);
            }
            Form::Campus => {
                id.push_str("cb/");
                push_digits(&mut id, scattered, 36, 8);
            }
        }
        id
    }

    /// Whether it would list this production.
    pub fn lists(&self, world: &World, production: &Production) -> bool {
        let Some(zone) = self.style.home_zone else { return true };
        production.shows.iter().all(|show| world.cities[world.venues[show.venue].city].words.zone == zone)
    }
}

/// Whether an event takes place, as a source says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Scheduled,
    Postponed,
    Cancelled,
}

/// One source's words on one event: everything that the writers of the forms need.
pub(super) struct Telling<'a> {
    pub world: &'a World,
    pub source: &'a Source,
    pub production: &'a Production,
    pub venue: &'a Venue,
    pub city: &'a City,
    pub id: String,
    pub title: String,
    pub description: String,
    pub venue_name: Option<&'a str>,
    /// Latitude and longitude in 1e-7 degrees.
    pub point: Option<(i64, i64)>,
    /// Local minutes since midnight of the base date.
    pub start: i64,
    /// Exclusive, like `start`.
    pub end: Option<i64>,
    /// 0 for an event with times, else how many whole days.
    pub days: i64,
    /// Minutes east of Greenwich.
    pub offset: i64,
    /// Lowest and highest price in cents.
    pub price: Option<(i64, i64)>,
    pub image: bool,
    pub status: Told,
    pub revision: u8,
    /// When the source last changed it, in UTC minutes since midnight of the base date.
    pub modified: i64,
    pub url: String,
}

impl<'a> Telling<'a> {
    /// What `source` says about the event `number`, which is `show` of `production`, after
    /// `revision` changes. A pure function: the same again for an unchanged repeat.
    pub fn new(
        world: &'a World,
        source: &'a Source,
        production: &'a Production,
        show: &Show,
        number: u64,
        revision: u8,
    ) -> Self {
        let style = source.style;
        let mut dice = Dice::new(world.seed, Purpose::Telling, number, source.index);
        let venue = &world.venues[show.venue];
        let city = &world.cities[venue.city];
        let timed = show.days == 0;
        let is_concert = production.category_index == 0;
        let doors = dice.percent(style.doors) && timed && is_concert;
        let start = show.start - if doors { 30 } else { 0 };
        let has_end = dice.percent(style.end) || !timed;
        // A listing always says where: without a venue it has at least coordinates or the city.
        let venue_name = dice.percent(style.venue).then_some(());
        let other = dice.percent(style.other_name);
        let point = dice.percent(style.point).then(|| {
            let lat = venue.lat_e7 + dice.between(-style.jitter, style.jitter);
            (lat, venue.lon_e7 + dice.between(-style.jitter, style.jitter))
        });
        let priced = dice.percent(style.price);
        let image = dice.percent(style.image);
        // Long enough ago that 255 changes, an hour apart, all lie before the base date.
        let stamp = dice.between(15, 50);
        let status = if revision > 0 { fate(dice.below(100)) } else { Told::Scheduled };
        let (title, description) = words_of(&mut dice, world, source, production, show, revision);
        let id = source.external_id(number);
        let url = url(source, &id, &title, city);
        let raised = if revision == 0 { 0 } else { 100 * (i64::from(revision) % 5) };
        let (lowest, highest) = production.price;
        Self {
            world,
            source,
            production,
            venue,
            city,
            id,
            title,
            description,
            venue_name: venue_name.map(|()| if other { &*venue.other_name } else { &*venue.name }),
            point,
            start,
            end: has_end.then_some(if timed { show.start + production.duration } else { show.start + show.days * DAY }),
            days: show.days,
            offset: world.offset(venue.city, show.start),
            price: priced.then_some(if lowest == 0 { (0, 0) } else { (lowest, highest + raised) }),
            image,
            status,
            revision,
            modified: -stamp * DAY + 61 * i64::from(revision),
            url,
        }
    }

    /// A UTC time as minutes since midnight of the base date.
    pub fn utc(&self, local: i64) -> i64 {
        local - self.offset
    }
}

/// How a changed listing stands: most still take place.
fn fate(roll: u32) -> Told {
    match roll {
        0..8 => Told::Cancelled,
        8..14 => Told::Postponed,
        _ => Told::Scheduled,
    }
}

fn url(source: &Source, id: &str, title: &str, city: &City) -> String {
    let mut url = String::with_capacity(120);
    url.push_str("https://www.");
    url.push_str(&source.name);
    url.push_str(".example/");
    push_plain(&mut url, city.words.name, "-");
    url.push('/');
    push_plain(&mut url, title, "-");
    url.push('-');
    push_plain(&mut url, id, "");
    url
}

fn words_of(
    dice: &mut Dice,
    world: &World,
    source: &Source,
    production: &Production,
    show: &Show,
    revision: u8,
) -> (String, String) {
    let style = source.style;
    let venue = &world.venues[show.venue];
    let fill = Fill {
        act: &production.act,
        venue: &venue.name,
        city: world.cities[venue.city].words.name,
        host: &production.host,
    };
    let way = style.titles[weighted(dice.below(100), style.titles.iter().map(|(_, weight)| *weight))].0;
    let title = title(way, production, &show.tail, &fill);
    (title, description(dice, world, style, production, &fill, revision))
}

fn title(way: TitleWay, production: &Production, tail: &str, fill: &Fill<'_>) -> String {
    let head = production.head.as_str();
    let mut out = String::with_capacity(96);
    let joined = |out: &mut String, first: &str, between: &str, second: &str| {
        out.push_str(first);
        if !first.is_empty() && !second.is_empty() {
            out.push_str(between);
        }
        out.push_str(second);
    };
    match way {
        TitleWay::Prefixed => out.push_str(production.category.prefix),
        TitleWay::Presented => {
            out.push_str(fill.host);
            out.push_str(" presents ");
        }
        _ => {}
    }
    match way {
        // The parts of a festival keep their order: the part comes last everywhere.
        TitleWay::Swapped if production.plan != Plan::Sessions => joined(&mut out, tail, " – ", head),
        TitleWay::Dashed | TitleWay::Swapped => joined(&mut out, head, " – ", tail),
        _ => joined(&mut out, head, ": ", tail),
    }
    match way {
        TitleWay::AtVenue => {
            out.push_str(" @ ");
            out.push_str(fill.venue);
        }
        TitleWay::InCity => {
            out.push_str(" (");
            out.push_str(fill.city);
            out.push(')');
        }
        TitleWay::Abbreviated => out = abbreviated(&out),
        TitleWay::Shouted => out = out.to_uppercase(),
        TitleWay::Dashed => out = out.chars().map(unaccented).collect(),
        _ => {}
    }
    out
}

fn abbreviated(title: &str) -> String {
    const SHORT: [(&str, &str); 6] = [
        (" and ", " & "),
        (" with ", " w/ "),
        ("Festival", "Fest"),
        ("Orchestra", "Orch."),
        ("Theatre", "Theater"),
        ("Introduction", "Intro"),
    ];
    SHORT.iter().fold(
        title.to_owned(),
        |text, (long, short)| if text.contains(long) { text.replace(long, short) } else { text },
    )
}

/// One opening, some sentences, something practical: each source chooses its own.
fn description(
    dice: &mut Dice,
    world: &World,
    style: &Style,
    production: &Production,
    fill: &Fill<'_>,
    revision: u8,
) -> String {
    let mut out = String::with_capacity(900);
    let (open, close, gap) = if style.html { ("<p>", "</p>\n", "<br>\n") } else { ("", "\n\n", " ") };
    out.push_str(open);
    dice.pick(&world.openings[production.category_index]).push(&mut out, fill);
    let count = dice.between(1, 4);
    let first = dice.index(world.bodies.len());
    let stride = 1 + 2 * dice.index(5); // 1, 3, 5, 7 or 9: sentences of one text do not repeat
    for index in 0..count as usize {
        out.push_str(if index == 2 { close } else { gap });
        if index == 2 {
            out.push_str(open);
        }
        world.bodies[(first + index * stride) % world.bodies.len()].push(&mut out, fill);
    }
    out.push_str(gap);
    dice.pick(&world.practical).push(&mut out, fill);
    if revision > 0 {
        out.push_str(gap);
        out.push_str(words::NOTES[usize::from(revision - 1) % words::NOTES.len()]);
    }
    if style.html {
        push_footer(&mut out, production);
    }
    out
}

/// A list, a link and entities, as editors leave them.
fn push_footer(out: &mut String, production: &Production) {
    out.push_str("</p>\n<ul><li>Presented by <b>");
    out.push_str(&production.host);
    out.push_str("</b></li><li>Info &amp;&nbsp;tickets: <a href=\"https://");
    out.push_str(&production.host_slug);
    out.push_str(".example/\" target=\"_blank\">our website</a></li></ul>");
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};

    use super::*;
    use crate::generate::GenerateConfig;

    /// A plain matcher: title 0.4, time 0.3, place 0.3; what one side lacks is no evidence.
    fn similarity(a: &Telling<'_>, b: &Telling<'_>) -> f64 {
        if a.city.words.name != b.city.words.name || (a.days > 0) != (b.days > 0) {
            return 0.0;
        }
        let title = overlap(&tokens(&a.title), &tokens(&b.title));
        let apart = (a.utc(a.start) - b.utc(b.start)).abs() as f64;
        let time = (1.0 - apart / 120.0).max(0.0);
        let (weighted, weights) = (0.4 * title + 0.3 * time, 0.7);
        let place = match (a.point.zip(b.point), a.venue_name.zip(b.venue_name)) {
            (Some((a, b)), _) => {
                // A step of latitude is 1.11 cm; one of longitude is less.
                let metres = (a.0 - b.0).abs().max((a.1 - b.1).abs()) as f64 * 0.0111;
                Some((1.0 - (metres - 100.0).max(0.0) / 900.0).max(0.0))
            }
            (None, Some((a, b))) => Some(overlap(&tokens(a), &tokens(b))),
            (None, None) => None,
        };
        place.map_or(weighted / weights, |place| (weighted + 0.3 * place) / (weights + 0.3))
    }

    fn tokens(text: &str) -> BTreeSet<String> {
        const COMMON: [&str; 11] = ["the", "a", "an", "of", "and", "with", "w", "in", "at", "by", "presents"];
        let plain: String = text.to_lowercase().chars().map(unaccented).collect();
        let words = plain.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        words.filter(|word| !COMMON.contains(word)).map(str::to_owned).collect()
    }

    /// The mean of the shares that the common tokens have of all and of the smaller set.
    fn overlap(a: &BTreeSet<String>, b: &BTreeSet<String>) -> f64 {
        let both = a.intersection(b).count() as f64;
        let smaller = a.len().min(b.len()).max(1) as f64;
        (both / smaller + both / a.union(b).count().max(1) as f64) / 2.0
    }

    #[test]
    fn a_plain_matcher_finds_the_duplicates_and_little_else() {
        let world =
            World::new(&GenerateConfig { days: 4, cities: 3, venues_per_city: 64, ..GenerateConfig::default() });
        let all = sources(6, &Shape::ALL);
        let productions: Vec<Production> = (0..600).map(|number| world.production(number)).collect();
        let mut by_day: HashMap<i64, Vec<(u64, Telling<'_>)>> = HashMap::new();
        for (number, production) in productions.iter().enumerate() {
            for (index, show) in production.shows.iter().enumerate() {
                let event = 10 * number as u64 + index as u64;
                let day = by_day.entry(show.start / DAY).or_default();
                let tellers = all.iter().filter(|source| source.lists(&world, production));
                day.extend(tellers.map(|source| (event, Telling::new(&world, source, production, show, event, 0))));
            }
        }
        let (mut true_pairs, mut found, mut wrong, mut near) = (0u64, 0u64, 0u64, 0u64);
        for tellings in by_day.values() {
            for (index, (event, telling)) in tellings.iter().enumerate() {
                for (other_event, other) in &tellings[index + 1..] {
                    let similarity = similarity(telling, other);
                    let same = event == other_event;
                    if same != (similarity > 0.85) {
                        println!(
                            "{same} {similarity:.3} {} | {} | {} {} | {:?} {:?}",
                            telling.title,
                            other.title,
                            telling.start,
                            other.start,
                            telling.venue_name,
                            other.venue_name
                        );
                    }
                    true_pairs += u64::from(same);
                    found += u64::from(same && similarity > 0.85);
                    wrong += u64::from(!same && similarity > 0.85);
                    near += u64::from(!same && similarity > 0.6);
                }
            }
        }
        let (recall, precision) = (found as f64 / true_pairs as f64, found as f64 / (found + wrong) as f64);
        assert!(recall > 0.95, "{recall}");
        assert!(recall < 0.999, "too easy: {recall}");
        assert!(precision > 0.99, "{precision}");
        assert!(near * 50 > true_pairs, "too easy: {near} near misses for {true_pairs} pairs");
    }

    #[test]
    fn sources_are_named_and_filtered() {
        let names = |count, shapes: &[Shape]| -> Vec<String> {
            sources(count, shapes).iter().map(|source| source.name.to_string()).collect()
        };
        assert_eq!(names(2, &Shape::ALL), ["city-guide", "ticket-office"]);
        assert_eq!(names(7, &Shape::ALL)[6], "city-guide-2");
        assert_eq!(names(4, &[Shape::Mapped]), ["ticket-office", "meet-circle", "campus-board", "ticket-office-2"]);
        assert!(names(4, &[]).is_empty());
    }

    #[test]
    fn title_ways_are_whole() {
        for style in &STYLES {
            assert_eq!(style.titles.iter().map(|(_, weight)| weight).sum::<u32>(), 100, "{}", style.name);
        }
    }

    #[test]
    fn sentences_of_a_description_do_not_repeat() {
        for stride in [1, 3, 5, 7, 9] {
            for index in 1..4 {
                assert_ne!(index * stride % words::BODIES.len(), 0);
            }
        }
    }

    #[test]
    fn a_revision_changes_the_telling_and_nothing_else_does() {
        let world = World::new(&GenerateConfig::default());
        let all = sources(6, &Shape::ALL);
        for number in 0..200 {
            let production = world.production(number);
            let source = &all[number as usize % 6];
            let tell = |revision| {
                let telling = Telling::new(&world, source, &production, &production.shows[0], number, revision);
                (telling.title, telling.description, telling.start, telling.status)
            };
            assert_eq!(tell(0), tell(0));
            for revision in 0..20 {
                assert_ne!(tell(revision), tell(revision + 1));
            }
        }
    }
}
