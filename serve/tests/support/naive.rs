//! The oracle: a scan over all documents, as slow and as plain as can be. It shares with serving the folding
//! of words, the reading of times and the distance of points, and nothing else.

use std::collections::BTreeMap;

use headwater_operators::listing::Point;
use headwater_operators::moment::Moment;
use headwater_operators::words::fold;
use jiff::tz::TimeZone;
use serde_json::Value;

/// What is asked for, in plain values.
#[derive(Debug, Clone, Default)]
pub struct Question {
    pub any_of: Vec<(&'static str, Vec<&'static str>)>,
    /// Without events that editors rejected.
    pub shown: bool,
    pub online: Option<bool>,
    pub from: Option<&'static str>,
    pub until: Option<&'static str>,
    /// Latitude, longitude, metres.
    pub circle: Option<(f64, f64, u32)>,
    /// West, south, east, north.
    pub bounds: Option<(f64, f64, f64, f64)>,
    /// `None` inside is "free".
    pub price: Option<Option<u8>>,
    pub quality: Option<u8>,
    pub since: Option<&'static str>,
    pub since_commit: Option<u64>,
    pub text: Option<String>,
}

/// Documents with the commits that wrote them, by id.
pub type Scan = BTreeMap<String, (u64, Value)>;

fn start(event: &Value) -> Moment {
    event["startTime"].as_str().unwrap().parse().unwrap()
}

fn end(event: &Value) -> Option<Moment> {
    event["endTime"].as_str().map(|end| end.parse().unwrap())
}

fn zone(event: &Value) -> Option<TimeZone> {
    event["timezone"].as_str().map(|name| TimeZone::get(name).unwrap())
}

pub fn start_ms(event: &Value) -> i64 {
    start(event).earliest_ms(zone(event).as_ref())
}

fn end_ms(event: &Value) -> i64 {
    end(event).unwrap_or(start(event)).latest_ms(zone(event).as_ref()).max(start_ms(event))
}

pub fn point(event: &Value) -> Option<Point> {
    Point::from_degrees(event["venue"]["latitude"].as_f64()?, event["venue"]["longitude"].as_f64()?)
}

/// The values that an event has of an attribute.
pub fn values(event: &Value, attribute: &str) -> Vec<String> {
    let one = |value: &Value| value.as_str().into_iter().map(str::to_owned).collect();
    let some = |values: &Value, name: Option<&str>| {
        let values = values.as_array().unwrap().iter().map(|value| name.map_or(value, |name| &value[name]));
        values.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    match attribute {
        "category" => one(&event["category"]),
        "tag" => some(&event["tags"], None),
        "source" => some(&event["listings"], Some("source")),
        "place" => place(event).into_iter().collect(),
        "city" => one(&event["venue"]["city"]),
        "country" => one(&event["venue"]["country"]),
        "grade" => one(&event["qualityGrade"]),
        "status" => one(&event["status"]),
        "moderation" => vec![event["moderation"].as_str().unwrap_or("none").to_owned()],
        other => panic!("no attribute {other}"),
    }
}

/// Whether two values of an attribute are the same.
pub fn same(attribute: &str, a: &str, b: &str) -> bool {
    match attribute {
        "category" | "tag" | "city" | "country" => fold(a) == fold(b),
        "grade" => a.eq_ignore_ascii_case(b),
        _ => a == b,
    }
}

fn not_over(event: &Value, from: &str) -> bool {
    if let Ok(day) = from.parse::<jiff::civil::Date>() {
        let last = match end(event) {
            None => start(event).local_date(),
            Some(Moment::Day(date)) => date,
            Some(Moment::Instant { ms, offset_min }) => Moment::Instant { ms: ms - 1, offset_min }.local_date(),
        };
        return last.max(start(event).local_date()) >= day;
    }
    let ms = from.parse::<jiff::Timestamp>().unwrap().as_millisecond();
    end_ms(event) > ms || start_ms(event) >= ms
}

fn begun(event: &Value, until: &str) -> bool {
    match until.parse::<jiff::civil::Date>() {
        Ok(day) => start(event).local_date() <= day,
        Err(_) => start_ms(event) <= until.parse::<jiff::Timestamp>().unwrap().as_millisecond(),
    }
}

fn is_free(event: &Value) -> bool {
    let pricing = &event["pricing"];
    let prices: Vec<f64> = [&pricing["min"], &pricing["max"]].iter().filter_map(|price| price.as_f64()).collect();
    pricing["free"].as_bool().unwrap_or(!prices.is_empty() && prices.iter().all(|price| *price == 0.0))
}

fn costs_at_most(event: &Value, most: u8) -> bool {
    let pricing = &event["pricing"];
    let price = pricing["min"].as_f64().or(pricing["max"].as_f64());
    is_free(event) || price.is_some_and(|price| price <= f64::from(most))
}

fn in_box(point: Point, (west, south, east, north): (f64, f64, f64, f64)) -> bool {
    let (latitude, longitude) = (point.latitude(), point.longitude());
    let across =
        if west <= east { west <= longitude && longitude <= east } else { longitude >= west || longitude <= east };
    across && south <= latitude && latitude <= north
}

pub fn admits(question: &Question, event: &Value, commit: u64) -> bool {
    let any_of = |(attribute, wanted): &(&str, Vec<&str>)| {
        values(event, attribute).iter().any(|value| wanted.iter().any(|wanted| same(attribute, value, wanted)))
    };
    let updated: jiff::Timestamp = event["updatedAt"].as_str().unwrap().parse().unwrap();
    let near = |(latitude, longitude, metres): (f64, f64, u32)| {
        let middle = Point::from_degrees(latitude, longitude).unwrap();
        point(event).is_some_and(|point| middle.distance_m(&point) <= f64::from(metres))
    };
    question.any_of.iter().all(any_of)
        && (!question.shown || event["moderation"] != "rejected")
        && question.online.is_none_or(|online| event["online"] == online)
        && question.from.is_none_or(|from| not_over(event, from))
        && question.until.is_none_or(|until| begun(event, until))
        && question.circle.is_none_or(near)
        && question.bounds.is_none_or(|bounds| point(event).is_some_and(|point| in_box(point, bounds)))
        && question.price.is_none_or(|price| price.map_or(is_free(event), |most| costs_at_most(event, most)))
        && question.quality.is_none_or(|least| event["qualityScore"].as_f64().unwrap() >= f64::from(least) / 10.0)
        && question.since.is_none_or(|since| updated >= since.parse().unwrap())
        && question.since_commit.is_none_or(|since| commit > since)
        && question.text.as_ref().is_none_or(|text| score(text, event).is_some())
}

/// How well an event answers a query: for each word the best of ten for the word itself, seven for its
/// beginning, four and two for one and two errors, times four in the title, two in a name, one elsewhere. A
/// word that stands in several places counts where it counts most.
pub fn score(query: &str, event: &Value) -> Option<u32> {
    let mut words: BTreeMap<String, u32> = BTreeMap::new();
    let mut add = |text: &str, weight: u32| {
        for word in fold(text).split(' ').filter(|word| !word.is_empty()) {
            let known = words.entry(word.to_owned()).or_default();
            *known = (*known).max(weight);
        }
    };
    add(event["title"].as_str().unwrap(), 4);
    add(event["description"].as_str().unwrap(), 1);
    event["venue"]["name"].as_str().into_iter().for_each(|name| add(name, 2));
    for attribute in ["city", "country", "category", "tag"] {
        values(event, attribute).iter().for_each(|value| add(value, 2));
    }
    let folded = fold(query);
    let mut asked: Vec<(&str, bool)> = folded.split(' ').map(|word| (word, false)).collect();
    asked.last_mut().unwrap().1 = !query.ends_with(' ');
    asked.sort_unstable();
    asked.dedup();
    asked.iter().try_fold(0, |sum, (word, half_typed)| {
        let best = words.iter().map(|(other, weight)| weight * meets(word, other, *half_typed)).max();
        best.filter(|best| *best > 0).map(|best| sum + best)
    })
}

fn meets(asked: &str, word: &str, half_typed: bool) -> u32 {
    if asked == word {
        return 10;
    }
    if half_typed && word.starts_with(asked) {
        return 7;
    }
    let number = asked.chars().any(|c| c.is_ascii_digit());
    let (asked, word): (Vec<char>, Vec<char>) = (asked.chars().collect(), word.chars().collect());
    if number || asked[0] != word[0] {
        return 0;
    }
    let forgiven = if asked.len() >= 9 { 2 } else { usize::from(asked.len() >= 5) };
    match errors(&asked, &word, forgiven) {
        Some(1) => 4,
        Some(2) => 2,
        _ => 0,
    }
}

/// The fewest changes from one word to the other, tried out one after the other.
fn errors(a: &[char], b: &[char], most: usize) -> Option<usize> {
    match (a, b) {
        ([], []) => Some(0),
        ([x, a @ ..], [y, b @ ..]) if x == y => errors(a, b, most),
        _ if most == 0 => None,
        _ => {
            let mut tried = Vec::new();
            if let [_, rest @ ..] = a {
                tried.push(errors(rest, b, most - 1));
            }
            if let [_, rest @ ..] = b {
                tried.push(errors(a, rest, most - 1));
            }
            if let ([_, a @ ..], [_, b @ ..]) = (a, b) {
                tried.push(errors(a, b, most - 1));
            }
            if let ([p, q, a @ ..], [r, s, b @ ..]) = (a, b)
                && (p, q) == (s, r)
            {
                tried.push(errors(a, b, most - 1));
            }
            tried.into_iter().flatten().min().map(|errors| errors + 1)
        }
    }
}

/// The key of the place of an event.
pub fn place(event: &Value) -> Option<String> {
    let words = |text: &Value| fold(text.as_str().unwrap_or_default()).replace(' ', "-");
    match (words(&event["venue"]["name"]), words(&event["venue"]["city"])) {
        (name, _) if name.is_empty() => None,
        (name, city) if city.is_empty() => Some(name),
        (name, city) => Some(format!("{name}.{city}")),
    }
}

/// Which places are asked for, in plain values.
#[derive(Debug, Clone)]
pub struct PlaceQuestion {
    pub text: Option<String>,
    pub cities: Vec<&'static str>,
    pub circle: Option<(f64, f64, u32)>,
    pub bounds: Option<(f64, f64, f64, f64)>,
    pub at: &'static str,
}

/// A place, as its events tell it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NaivePlace {
    pub point: Option<Point>,
    /// Ids.
    pub under_way: Vec<String>,
    pub to_come: Vec<String>,
    /// The document whose venue is told.
    pub told_by: Value,
}

/// The places that are asked for, by key.
pub fn places(scan: &Scan, question: &PlaceQuestion) -> BTreeMap<String, NaivePlace> {
    let mut by_key: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for (_, event) in scan.values().filter(|(_, event)| event["moderation"] != "rejected") {
        place(event).into_iter().for_each(|key| by_key.entry(key).or_default().push(event));
    }
    by_key.retain(|_, events| admits_place(question, events));
    let at = question.at.parse::<jiff::Timestamp>().unwrap().as_millisecond();
    by_key.into_iter().map(|(key, events)| (key, told(&events, at))).collect()
}

fn admits_place(question: &PlaceQuestion, events: &[&Value]) -> bool {
    let venue = &events[0]["venue"];
    let city = || fold(venue["city"].as_str().unwrap_or_default());
    let at = most_frequent(events);
    let near = |(latitude, longitude, metres): (f64, f64, u32)| {
        let middle = Point::from_degrees(latitude, longitude).unwrap();
        at.is_some_and(|point| middle.distance_m(&point) <= f64::from(metres))
    };
    let named = |text: &String| {
        let (name, folded) = (fold(venue["name"].as_str().unwrap()), fold(text));
        let words: Vec<&str> = folded.split(' ').collect();
        (1..).zip(&words).all(|(number, word)| {
            let half_typed = number == words.len() && !text.ends_with(' ');
            name.split(' ').any(|other| meets(word, other, half_typed) > 0)
        })
    };
    (question.cities.is_empty() || question.cities.iter().any(|wanted| fold(wanted) == city()))
        && question.circle.is_none_or(near)
        && question.bounds.is_none_or(|bounds| at.is_some_and(|point| in_box(point, bounds)))
        && question.text.as_ref().is_none_or(named)
}

fn most_frequent(events: &[&Value]) -> Option<Point> {
    let points: Vec<Point> = events.iter().filter_map(|event| point(event)).collect();
    let count = |wanted: &Point| points.iter().filter(|point| *point == wanted).count();
    let most = points.iter().map(count).max()?;
    points.iter().filter(|point| count(point) == most).min().copied()
}

fn told(events: &[&Value], at: i64) -> NaivePlace {
    let point_of_place = most_frequent(events);
    let mut best: Vec<&Value> = events.iter().copied().filter(|event| point(event) == point_of_place).collect();
    best.sort_by(|a, b| {
        let quality = |event: &Value| event["qualityScore"].as_f64().unwrap();
        quality(b).total_cmp(&quality(a)).then_with(|| a["id"].as_str().cmp(&b["id"].as_str()))
    });
    let mut on: Vec<&Value> = events.iter().copied().filter(|event| event["status"] == "scheduled").collect();
    on.sort_by_key(|event| (start_ms(event), event["id"].as_str()));
    let id = |event: &&Value| event["id"].as_str().unwrap().to_owned();
    let (under_way, rest): (Vec<&Value>, Vec<&Value>) =
        on.into_iter().partition(|event| start_ms(event) <= at && end_ms(event) > at);
    let to_come = rest.iter().filter(|event| start_ms(event) >= at).map(id).collect();
    NaivePlace {
        point: point_of_place,
        under_way: under_way.iter().map(id).collect(),
        to_come,
        told_by: best[0].clone(),
    }
}
